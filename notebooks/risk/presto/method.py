# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # PRESTO: what is the idea?
# To estimate how likely a rare event is, look at the common steps on the way to it, and let the data say
# how far their lesson carries. This notebook explains the method of {cite:t}`faletto2023predicting` in one
# picture, four equations and the code that solves them, and ends where it breaks.

# %% tags=["parameters"]
profile: str = "book"  # smoke | book | full
seed: int = 0  # any integer from 0; all randomness follows from it
n = None  # type: Optional[int] rows of the toy data; None takes what the profile says
n_rep = None  # type: Optional[int] data sets a point in the last figure

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

from loglik.chapter import Chapter
from loglik.risk.presto import PrestoClassifier, examples, figures, path, presto_path

chapter = Chapter("risk/presto/method", profile=profile, seed=seed)

# %% tags=["hide-input"]
cfg = chapter.settings(
    smoke=dict(n=1500, n_rep=2, multiples=(1.0, -1.0)),
    book=dict(n=1500, n_rep=16, multiples=(1.0, 0.5, 0.0, -0.5, -1.0)),
    full=dict(n=1500, n_rep=400, multiples=(1.0, 0.5, 0.0, -0.5, -1.0)),
    n=n,
    n_rep=n_rep,
)

# %% [markdown]
# ## A chain of events
# Somebody sees an advertisement, clicks on it, puts the thing into the basket, buys it. Few buy, so a model
# of "bought or not" learns from a handful of rows. But those who clicked went the same way for a while, and
# there are many of them. The steps are *ordered classes* $1,\dots,K$ with the rare one last, and between
# each class and the next lies a **boundary**: who gets past it?
#
# There are two classical answers, and each fails in its own way.
#
# - **Logistic regression** on "rare or not" uses only the last boundary. It is unbiased and has a variance
#   that grows like 1/P(rare).
# - **Proportional odds** (PO) draws all boundaries with *one* weight vector
#   {cite:p}`faletto2023predicting`: each feature multiplies the odds of getting past any boundary by the
#   same factor. That borrows from the common steps without limit, and is wrong wherever a feature matters
#   more for clicking than for buying.
#
# The picture shows one feature and four classes. Its true effect (grey) is strong on the first step and
# weaker from the second on; the last class has about one row in a hundred.

# %%
toy = examples.weakening_effect(cfg.n, chapter.rng("toy"))
fits = examples.three_estimates(toy, random_state=chapter.random_state("folds"))
chapter.numbers(
    "presto-boundaries",
    rows_of_the_rare_class=(toy.y == 3).sum(),
    **{f"rare slope, {name}": beta[-1, 0] for name, (_, beta) in fits.items()},
)
pd.Series(np.bincount(toy.y), ["seen", "clicked", "basket", "bought"]).rename("rows").to_frame().T

# %% mystnb={"figure": {"caption": "Probability of getting past each boundary, given one feature. Grey: truth. Logistic regression sees the last boundary alone; proportional odds forces one slope on all three; PRESTO lets the slope change where the data ask for it. One simulated data set.", "name": "presto-boundaries"}, "image": {"alt": "Three panels on a log scale. Logistic regression misses the slope of the rare boundary, proportional odds has three parallel curves that leave the truth, PRESTO's curves follow the grey truth most closely."}}
figures.three_boundaries(fits, ["past seen", "past clicked", "past basket"])

# %% [markdown]
# One data set proves nothing: {doc}`reproduction <reproduction>` repeats such comparisons hundreds of times.
#
# ## The model
# $$
# P(y\le k\mid x)=\sigma(\alpha_k+x^\top\beta_k),\qquad k=1,\dots,K-1,\qquad \sigma(t)=\frac1{1+e^{-t}}
# $$ (presto-eq-model)
#
# with intercepts $\alpha_k$ and one weight vector $\beta_k\in\mathbb R^p$ a boundary. Mind the sign: a
# *positive* weight raises the chance of stopping early, so it *lowers* the rare class; R's `polr` and
# statsmodels report the opposite. A class's probability is what lies between its two boundaries,
#
# $$
# \pi_k(x)=\sigma(\alpha_k+x^\top\beta_k)-\sigma(\alpha_{k-1}+x^\top\beta_{k-1}),\qquad
# \pi_K(x)=1-\sigma(\alpha_{K-1}+x^\top\beta_{K-1}).
# $$ (presto-eq-proba)
#
# The middle ones can turn negative where two boundaries cross; the rare one in {eq}`presto-eq-proba` never
# can. Proportional odds is $\beta_1=\dots=\beta_{K-1}$.
#
# ## The objective
# PRESTO minimises, on standardised features,
#
# $$
# -\frac1n\sum_i\log\pi_{y_i}(x_i)+\lambda\Big(\sum_j|\beta_{1j}|+\sum_j\sum_{k=2}^{K-1}|\beta_{kj}-\beta_{k-1,j}|\Big).
# $$ (presto-eq-objective)
#
# A penalty on absolute differences (a **fused lasso**) makes many differences *exactly* zero. So each
# feature decides for itself: one effect for all boundaries, or a step at the boundary where it changes. In
# {eq}`presto-eq-objective`, $\lambda\to\infty$ leaves the intercepts alone (the first boundary is penalised
# too; without that, the limit is proportional odds), and $\lambda\to0$ is the unrestricted model.
#
# In the increments
#
# $$
# \psi_1=\beta_1,\qquad \psi_k=\beta_k-\beta_{k-1},\qquad \beta_k=\sum_{l\le k}\psi_l
# $$ (presto-eq-psi)
#
# the penalty is a plain lasso, $\lambda\lVert\psi\rVert_1$. The substitution {eq}`presto-eq-psi` is all the
# trickery there is, and forgetting to undo it is how the released code goes wrong ({doc}`reproduction
# <reproduction>`).
#
# ## The algorithm
# :::{prf:algorithm} PRESTO for one penalty
# :label: presto-alg
#
# **Inputs** standardised $X$, ordered $y$, $\lambda$, a feasible start $(\alpha,\psi)$
#
# **Output** the minimiser of {eq}`presto-eq-objective`
#
# 1. Compute gradient $g$ and Hessian $H$ of the log-likelihood in $(\alpha,\beta_1,\dots,\beta_{K-1})$; $H$ is block tridiagonal.
# 2. Turn them into $(\alpha,\psi)$ by sums over the tail: $\psi_l$ moves every boundary from $l$ on.
# 3. Stop when the optimality conditions hold: $|g_{\psi}|\le\lambda$ where $\psi=0$, $g_\psi=-\lambda\,\mathrm{sign}(\psi)$ elsewhere, $g_\alpha=0$.
# 4. Minimise the quadratic model plus $\lambda\lVert\psi\rVert_1$ exactly, with $\alpha$ profiled out (Schur complement).
# 5. Go there; halve the step until the objective falls and all fitted $\pi_{y_i}(x_i)$ are positive. Back to 1.
# :::
#
# For a whole path, {prf:ref}`presto-alg` starts at the smallest $\lambda$ that leaves no weight and takes
# each solution as the next start: about three steps a penalty. The released code takes the *expected*
# information for $H$ and coordinate descent for step 4. We take the observed one, because for the logistic
# link the log-likelihood is a sum of three concave terms,
# $\log\pi_y=\log\sigma(a)+\log(1-\sigma(b))+\log(1-e^{b-a})$ with $a$ and $b$ the linear predictors above
# and below the class, so Newton's method is safe and converges quadratically. Step 4, the heart, from the
# package:

# %%
Code(inspect.getsource(path.lasso_quadratic), language="python")

# %% [markdown]
# ## The smallest example
# The estimator follows scikit-learn. $\lambda$ is chosen by cross-validated multi-class Brier score,
# $\frac1n\sum_i\sum_k(1[y_i=k]-\hat\pi_k(x_i))^2$.

# %%
model = PrestoClassifier(random_state=chapter.random_state("folds")).fit(toy.X, toy.y)
pd.DataFrame(
    {"true weight": toy.beta[:, 0], "PRESTO": model.coef_[:, 0], "increment": model.coef_diff_[:, 0]},
    index=pd.Index(["seen | clicked", "clicked | basket", "basket | bought"], name="boundary"),
).round(3)

# %% [markdown]
# ## Watching features fuse
# Six features, three boundaries. Read from left (strong penalty) to right: a feature's three lines leave
# zero *together*, as one proportional-odds effect, and part only where the truth (triangles) parts. `x1`
# and `x2` have one effect for all boundaries, `x3` changes at the second and `x4` at the third, `x5` and
# `x6` do nothing.

# %%
six = examples.six_features(6 * cfg.n, chapter.rng("six"))
solutions = presto_path(six.X, six.y, n_lambda=40, lambda_min_ratio=0.003)

# %% mystnb={"figure": {"caption": "Weights of each boundary along the penalty path. Lines on top of each other are fused: exactly equal. Triangles: truth. One simulated data set of 9000 rows.", "name": "presto-path"}, "image": {"alt": "Six panels of three lines each. The lines of features one and two stay together, those of three and four part, those of five and six stay near zero."}}
names = [f"x{j}" for j in range(1, 7)]
figures.coefficient_paths(solutions, names, ["boundary 1", "boundary 2", "boundary 3"], six.beta)

# %% [markdown]
# ## Where it breaks
# The whole argument rests on one assumption: the common steps say something about the rare one. So let us
# break just that. Eight features act on the common boundary; on the rare one each has the same effect times
# a multiple, from 1 (proportional odds is true) over 0 (the rare step has nothing to do with the features)
# to −1 (every effect turns round). Beside the paper's two baselines stands a plain competitor that borrows
# nothing: logistic regression with an $L_2$ penalty chosen by cross-validated log loss.

# %%
errors = examples.rare_step_of_its_own(
    cfg.multiples,
    cfg.n_rep,
    n=cfg.n,
    seed=chapter.entropy("broken"),
    progress=lambda tasks: chapter.progress(tasks, "data sets"),
)

# %% mystnb={"figure": {"caption": "Error of the rare probabilities as the rare step departs from the common one (read from right to left). Bars: two standard errors over simulated data sets; all methods see the same ones.", "name": "presto-broken"}, "image": {"alt": "On a log axis proportional odds and PRESTO are best on the right, where the steps agree. To the left the error of proportional odds climbs steeply, and penalised logistic regression passes PRESTO once the steps disagree."}}
figures.broken(errors)

# %%
wide = errors.groupby(["multiple", "method"]).mse.mean().unstack()
wide.div(wide["PRESTO"], axis=0).round(2).rename_axis(columns="mean error over PRESTO's")

# %% [markdown]
# On the right borrowing pays several times over. Where the rare step is unrelated or reversed, the
# conclusion "PRESTO beats logistic regression" survives at best against the *unpenalised* regression of the
# paper and fails against a penalised one: shrinking towards the wrong target costs more than shrinking
# towards nothing. Proportional odds, with no way out, fails worst. PRESTO is a bet that the last step
# resembles those before; {doc}`apply <apply>` tests that bet on your data before it trusts it.
#
# A smaller breach does it no harm. When we first tried to break the method, one feature alone acted on the
# rare step and on no other; PRESTO lets that one weight change at the last boundary and keeps its lead.

# %%
chapter.summary()
