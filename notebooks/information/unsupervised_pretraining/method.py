# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Unsupervised pretraining: what is the idea?
# Learn what the rows look like from many of them without labels, then learn the labels from a few. This
# notebook explains the theorem of {cite:t}`ge2024provable` in two pictures, three equations and the code of
# its two phases, and ends where it breaks.

# %% tags=["parameters"]
profile: str = "book"  # smoke | book | full
seed: int = 0  # any integer from 0; all randomness follows from it
reps = None  # type: Optional[int] replicates of the simulations; None takes what the profile says
labelled: int = 14  # labelled rows in the first picture

# %% tags=["hide-input", "setup"]
try:
    import loglik  # noqa: F401
except ModuleNotFoundError:  # Colab, or a kernel without the package
    import sys

    from IPython import get_ipython

    flags = "--no-deps" if "google.colab" in sys.modules else ""
    packages = "git+https://github.com/OWNER/likelihood-reproduced@v0.1.0"
    get_ipython().run_line_magic("pip", f"install -q {flags} {packages}")
import inspect

import numpy as np
import pandas as pd
from IPython.display import Code
from sklearn.linear_model import LinearRegression, LogisticRegression
from threadpoolctl import threadpool_limits

from loglik.chapter import Chapter
from loglik.information import unsupervised_pretraining as up
from loglik.information.unsupervised_pretraining import analysis, figures, study_factor

threadpool_limits(1)  # many small problems: threads would only wait for each other
chapter = Chapter("information/unsupervised_pretraining/method", profile=profile, seed=seed)

# %% tags=["hide-input"]
cfg = chapter.settings(
    smoke=dict(reps=10, ms=[128, 1024, 8192], ns=[32, 128, 512]),
    book=dict(reps=200, ms=[2**k for k in range(5, 15)], ns=[2**k for k in range(4, 13)]),
    full=dict(reps=4000, ms=[2**k for k in range(5, 16)], ns=[2**k for k in range(4, 14)]),
    reps=reps,
)

# %% [markdown]
# ## Few labels, many rows
# Six clusters in a plane, each with one label, and a few labelled points, of which one in ten has its label
# flipped. On the left a classifier sees those points and nothing else: it must find the *shape* of the
# classes and their *names* from fourteen labels. On the right the shape comes from 1500 rows without labels,
# and the labels are needed for names only. A cluster in which no labelled point lies is named by a coin: that
# is what labels cost here, and it fades exponentially fast as $n$ grows.

# %%
rng = chapter.rng("plane")
centers = np.array([[-4.0, 2.5], [0.5, 4.0], [4.5, 2.0], [-3.5, -2.5], [0.5, -0.5], [4.0, -3.0]])
names = np.array([0, 1, 0, 1, 0, 1])
cloud = up.simulate_gmm(1500, centers, names, 0.1, rng)
few = up.simulate_gmm(labelled, centers, names, 0.1, rng)
alone = LogisticRegression().fit(few.X, few.y)
both = up.TwoPhase(
    up.GaussianMixturePretrainer(6, random_state=chapter.random_state("starts")),
    up.ClusterMajority(random_state=chapter.random_state("ties")),
)
both.fit(few.X, few.y, X_unlab=cloud.X)
fresh = up.simulate_gmm(20_000, centers, names, 0.0, rng)
chapter.numbers(
    "unsupervised-pretraining-plane",
    accuracy_from_labels_alone=alone.score(fresh.X, fresh.y),
    accuracy_in_two_phases=both.score(fresh.X, fresh.y),
    clusters_without_a_label=6 - len(np.unique(both.pretrainer_.transform(few.X).argmax(1))),
)
pd.Series(
    {"labels alone": alone.score(fresh.X, fresh.y), "two phases": both.score(fresh.X, fresh.y)},
    name="accuracy",
).round(3).to_frame().T

# %% mystnb={"figure": {"caption": "Left: logistic regression on the labelled points. Right: the same points name clusters that were found in 1500 rows without labels (dots; crosses: fitted centres). One simulated data set.", "name": "unsupervised-pretraining-plane"}, "image": {"alt": "Left: a straight border cuts through clusters. Right: the plane is divided into six cells around fitted centres, each coloured by the label of the points in it."}}
figures.two_phases(
    cloud.X,
    few.X,
    few.y,
    [("labels alone", alone.predict), ("two phases", both.predict)],
    both.pretrainer_.centers_,
)

# %% [markdown]
# ## Two phases, two complexities
# $\Phi$ is a class of latent-variable models of $(x,s,z)$: observed $x$, side information $s$ (a second view,
# or nothing), latent $z$. $\Psi$ is a class of heads that predict $y$ from $z$. Given $z$, the target tells
# nothing more about $x$.
#
# :::{prf:algorithm} Unsupervised pretraining, then fitting a head
# :label: unsupervised-pretraining-alg
#
# **Inputs** rows $(x_i,s_i)_{i\le m}$ without labels, labelled rows $(x_j,y_j)_{j\le n}$
#
# **Output** a predictor of $y$ from $x$
#
# 1. $\hat\phi\leftarrow\arg\max_{\phi\in\Phi}\sum_i\log p_\phi(x_i,s_i)$: maximum likelihood, no labels.
# 2. Freeze $\hat\phi$. Let $g_{\hat\phi,\psi}(x)$ be the best prediction of $y$ under $\hat\phi$ and head $\psi$.
# 3. $\hat\psi\leftarrow\arg\min_{\psi\in\Psi}\sum_j\ell\big(g_{\hat\phi,\psi}(x_j),y_j\big)$: empirical risk, few parameters.
# :::
#
# In code, {prf:ref}`unsupervised-pretraining-alg` is a transformer and a head:

# %%
Code(inspect.getsource(up.TwoPhase.fit), language="python")

# %% [markdown]
# :::{prf:theorem} Advantage of pretraining
# :label: unsupervised-pretraining-thm
#
# Let the models be $\kappa^{-1}$-informative: for every $\phi$ there is a transformation $T$, which heads can
# undo, such that
#
# $$
# \mathrm{TV}\big(P_{T\phi}(x,z),P_{\phi^*}(x,z)\big)\le\kappa\,\mathrm{TV}\big(P_\phi(x,s),P_{\phi^*}(x,s)\big).
# $$ (unsupervised-pretraining-eq-informative)
#
# Then, for bounded loss and up to logarithms, the excess risk of {prf:ref}`unsupervised-pretraining-alg` is of
# order $\kappa\sqrt{C_\Phi/m}+\sqrt{C_\Psi/n}$.
# :::
#
# A supervised learner of both classes together pays $\sqrt{C_{\Phi\circ\Psi}/n}$. So pretraining wins when
# rows without labels are plentiful, $m\gg n$, and the composed class is much richer than the heads.
# Condition {eq}`unsupervised-pretraining-eq-informative` is the whole story: what can be seen must pin down
# what matters, up to what does not matter (rotations of factors, the numbering of clusters).
#
# ## The smallest example
# A factor model: 50 columns, driven by 4 hidden factors, and a target that depends on the factors,
#
# $$
# x=Bz+\mu,\qquad y=\beta^\top z+\nu,\qquad z\sim N(0,I_4),\quad\mu\sim N(0,I_{50}),\quad\nu\sim N(0,\varepsilon^2).
# $$ (unsupervised-pretraining-eq-model)
#
# Phase one has a closed form. With eigenpairs $(l_i,v_i)$ of the second moments,
# $\hat B=V\,\mathrm{diag}\sqrt{\max(l_i-1,0)}$, and the representation is the posterior mean of $z$. Phase two is
# least squares on 4 numbers instead of 50.

# %%
d, strengths, beta = 50, study_factor.STRENGTHS, np.full(4, 0.5)
B = up.simulate.orthonormal_loadings(d, strengths, chapter.rng("loadings"))
rows = up.simulate_factor(2000, B, beta, study_factor.EPS, chapter.rng("rows"))
some = up.simulate_factor(80, B, beta, study_factor.EPS, chapter.rng("some"))
test = up.simulate_factor(5000, B, beta, study_factor.EPS, chapter.rng("test"))
model = up.TwoPhase(up.FactorPretrainer(4), LinearRegression(fit_intercept=False))
model.fit(some.X, some.y, X_unlab=rows.X)
direct = LinearRegression(fit_intercept=False).fit(some.X, some.y)
pd.Series(
    {"two phases": model.score(test.X, test.y), "least squares on x": direct.score(test.X, test.y)},
    name="R², 80 labels",
).round(2).to_frame().T

# %% [markdown]
# One draw proves little. Below each point is the mean over many, and the lines are not fits: they are derived
# from {eq}`unsupervised-pretraining-eq-model`, constants included ({doc}`reproduction <reproduction>`). More
# rows without labels lower the level at which the pretrained curves flatten; more labels move along them.

# %%
law = study_factor.factor_law(B, beta, study_factor.EPS)
grid, _ = study_factor.risk_grid(law, 4, cfg.ms, cfg.ns, cfg.reps, chapter.rng("grid"))


def theory(m, n):
    return up.factor_theory(B, beta, study_factor.EPS, m, n)


# %% mystnb={"figure": {"caption": "Excess risk in the factor model against the number of labels. Curves: derived. Bars: two standard errors over replicates. Ridge: penalty best in hindsight. The peak of least squares near n = d is the well-known one.", "name": "unsupervised-pretraining-labels"}, "image": {"alt": "On log axes three pretrained curves fall with slope minus one and flatten at levels set by m; least squares starts far above, ridge between, and both cross below the pretrained curves with small m at large n."}}
figures.risk_by_labels(grid, cfg.ms[1 :: max(1, len(cfg.ms) // 3)], theory, d)

# %% [markdown]
# ## The picture to remember
# All of it in one map. Upwards there are more rows without labels, to the right more with. Above the line
# pretraining wins, below it supervised learning does, and the line is *computed*: it is where the two derived
# risks are equal. Above all, it slopes. No number of rows without labels is enough by itself; what counts is
# how many there are beside the labels.

# %%
cells = analysis.gaps(grid, ["least squares"])
supervised = lambda n: float(theory(1, 100)["irreducible"]) * d / np.maximum(n - d - 1, 1e-9)  # noqa: E731
border = lambda n: up.win_border(lambda m, k: theory(m, k)["spiked_total"], supervised, n)  # noqa: E731

# %% mystnb={"figure": {"caption": "Excess risk of pretraining over that of least squares in the factor model (50 columns, 4 factors). Line: derived border. Black dots: paired 95 % interval over replicates holds 0.", "name": "unsupervised-pretraining-map"}, "image": {"alt": "A colour map over n and m: blue above and red below a rising black line."}}
figures.win_maps([("factor model", cells, {"derived": border})])

# %% [markdown]
# ## Where it breaks
# Let the target also depend on something that no factor carries: $y=\beta^\top z+\gamma^\top x+\nu$ with $\gamma$
# orthogonal to all factors. Then $y$ is not independent of $x$ given $z$. The latent model is as good as ever,
# its likelihood shows nothing, and the head never sees what it needs: a floor of $\gamma^\top\gamma$ that
# neither $m$ nor $n$ lowers. Here with 16 000 rows without labels and 150 with:

# %%
broken = study_factor.outside_study(
    B, beta, [0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0], 16_000, 150, cfg.reps, chapter.rng("broken")
)


def floor(strength):
    total = float(theory(16_000, 150)["pretrain_cost"]) + strength**2
    return total + (law.noise + total) * 4 / (150 - 5)


# %% mystnb={"figure": {"caption": "Excess risk against the strength of a signal that no factor carries. Bars: two standard errors over replicates. Curve: derived.", "name": "unsupervised-pretraining-broken"}, "image": {"alt": "On a log axis the pretrained risk climbs from lowest at zero along its derived curve and crosses ridge regression and then least squares, which stay flat."}}
figures.outside(broken, floor)

# %% [markdown]
# With no outside signal pretraining is several times better than ridge regression, whose penalty is even the
# best in hindsight; with a moderate one it is worse, and no number of unlabelled rows would help. The condition can't be checked without
# labels. {doc}`apply <apply>` checks as much of it as a few labels allow, on your data.

# %%
chapter.summary()
