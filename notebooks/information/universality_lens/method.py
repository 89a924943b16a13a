# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # The universality lens: what is the idea?
# Why can a model with more parameters than samples learn at all? {cite:t}`feder2025universality` answer with one
# number: how much prior probability lies near the truth. This notebook shows that number as a picture, proves both
# bounds in three lines, runs the learner on the smallest example, and ends where it breaks.

# %% tags=["parameters"]
profile: str = "book"  # smoke | book | full
seed: int = 0  # any integer from 0; all randomness follows from it
n_networks = None  # type: Optional[int] random networks in the last figure; None takes what the profile says
reps = None  # type: Optional[int] data sets a point in the last figure

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
from loglik.information.universality_lens import (
    FiniteMixture,
    LinearGaussianMixture,
    figures,
    hard_bound,
    langevin,
    soft_bound,
    study,
)

chapter = Chapter("information/universality_lens/method", profile=profile, seed=seed)

# %% tags=["hide-input"]
cfg = chapter.settings(
    smoke=dict(n_networks=2_000, reps=3, sizes=[32, 128, 256]),
    book=dict(n_networks=20_000, reps=20, sizes=[16, 32, 64, 128, 192, 256, 384, 512]),
    full=dict(n_networks=1_000_000, reps=200, sizes=[16, 32, 64, 128, 192, 256, 384, 512]),
    n_networks=n_networks,
    reps=reps,
)

# %% [markdown]
# ## The puzzle
# Classical theory charges a learner for the *size* of its class: $\log|\Theta|$ for a finite one, $\tfrac d2\log n$ for $d$
# parameters. A network with a million weights should then need millions of samples, and doesn't.
#
# The information-theoretic view changes the learner. It never picks a hypothesis; it predicts with the **mixture**
# $Q(x^n)=\int w(\theta)P_\theta(x^n)\,d\theta$ over the class, with a prior $w$ that is nearly flat. It pays log-loss,
# $-\log Q$, and is judged by its **regret**, the expected loss in excess of the truth's, in nats:
#
# $$
# nR(n)=\mathbb E_{\theta_0}\log\frac{P_{\theta_0}(X^n)}{Q(X^n)}.
# $$ (universality-lens-eq-regret)
#
# ## One number for a truth
# Let $D_\theta$ be the Kullback–Leibler divergence of one sample from the truth $\theta_0$ to $\theta$. The **weight** of
# the truth at radius $\varepsilon$ is the prior mass that lies within,
#
# $$
# w(\varepsilon)=\Pr_{\theta\sim w}(D_\theta\le\varepsilon).
# $$ (universality-lens-eq-weight)
#
# :::{prf:theorem} Weight of a hypothesis
# :label: universality-lens-theorem
#
# For every truth, every class and every $n$,
#
# $$
# nR(n)\;\le\;B_2(n)=-\log\mathbb E_w e^{-nD_\theta}\;\le\;B_1(n)=\min_{\varepsilon\ge0}\,[\,n\varepsilon-\log w(\varepsilon)\,].
# $$
# :::
#
# :::{prf:proof}
# With $Z_\theta=\log P_\theta(X^n)/P_{\theta_0}(X^n)$ the regret {eq}`universality-lens-eq-regret` is
# $\mathbb E[-\log\mathbb E_we^{Z_\theta}]$. The map $Z\mapsto-\log\mathbb E_we^{Z}$ is concave, so by Jensen the regret
# is at most its value at $\mathbb EZ_\theta=-nD_\theta$: that is $B_2$. And
# $\mathbb E_we^{-nD_\theta}\ge e^{-n\varepsilon}\,w(\varepsilon)$ for every $\varepsilon$: that is $B_1$.
# :::
#
# Neither the number of hypotheses nor the number of parameters occurs in it. We call $B_2$ the **soft** and $B_1$ the **hard**
# bound. (Sources give the form of the result; this proof is ours and complete.)
#
# ## The picture to keep
# Draw $\log1/w(\varepsilon)$ against $\varepsilon$, by {eq}`universality-lens-eq-weight` a falling curve. A line of slope
# $-n$ that touches it from below meets the vertical axis at the hard bound. Few samples: a flat line, which touches far out, where all that
# counts is whether the truth is *roughly* like many hypotheses. Many samples: a steep line, near zero.
#
# Two truths of a regression with 1000 features, whose variances fall like $j^{-2}$. One is strong and lies in the first
# feature; the other is faint and lies in the two-hundredth. The faint one is the simpler truth for 20 samples and the more
# complex one for 100: complexity belongs to a truth *and a sample size*.

# %%
lam = np.arange(1, 1001.0) ** -2
model = LinearGaussianMixture(lam)
strong, faint = 4.5 * np.eye(1, 1000)[0], 110 * np.eye(1, 1000, 199)[0]
eps = np.geomspace(0.004, 1.2, 300)
curves = {
    "strong, feature 1": (eps, model.log_weight(strong, eps)),
    "faint, feature 200": (eps, model.log_weight(faint, eps)),
}

# %% mystnb={"figure": {"caption": "Log inverse weight of two truths against the radius. Dashed: tangents of slope −n; squares: where they meet the axis, the hard bound for n samples. Saddlepoint, no Monte-Carlo error.", "name": "universality-lens-tangents"}, "image": {"alt": "Two falling curves that cross. The tangent for twenty samples meets the axis lower for the faint truth, that for a hundred lower for the strong one."}}
figures.weight_tangents(curves, (20, 100))

# %% [markdown]
# ## The smallest example
# A class of a million and one coins: one million have chances drawn at random, and one is fair. The fair coin has
# prior weight 1/100; each other shares the rest. If the truth is the fair coin, size says 13.8 nats and weight says
# $\log 100=4.6$ at most; coins nearly fair help too.

# %%
rng = chapter.rng("coins")
chances = np.append(rng.uniform(0.01, 0.99, 1_000_000), 0.5)
log_prior = np.append(np.full(1_000_000, np.log(0.99 / 1_000_000)), np.log(0.01))
divergence = -0.5 * np.log(4 * chances * (1 - chances))
sizes = np.array([10, 100, 1000, 10_000])
pd.DataFrame(
    {
        "soft bound": soft_bound(divergence, log_prior, sizes),
        "hard bound": hard_bound(divergence, log_prior, sizes).value,
        "log size": np.log(len(chances)),
    },
    index=pd.Index(sizes, name="n"),
).round(2)

# %% [markdown]
# And the learner itself, twelve data sets at once, on a class of ninety-nine coins:

# %%
coins = np.arange(1, 100) / 100
mixture = FiniteMixture(np.full(99, -np.log(99)), lambda x: np.log(np.where(x[:, None], coins, 1 - coins)))
tosses = chapter.rng("tosses").random((200, 12)) < 0.3
regret = mixture.cumulative_regret(lambda x: np.log(np.where(x, 0.3, 0.7)), tosses)[-1]
ninety_nine = 0.3 * np.log(0.3 / coins) + 0.7 * np.log(0.7 / (1 - coins))
bound = float(soft_bound(ninety_nine, None, 200))
print(
    f"regret {regret.mean():.2f} ± {regret.std(ddof=1) / 12**0.5:.2f}, "
    f"soft bound {bound:.2f}, log size {np.log(99):.2f} nats"
)

# %% [markdown]
# ## Simple truths of a network
# For a network the prior lives on weights, and a truth's weight counts *all* parameter vectors that say nearly the same:
# dead units, symmetric copies, directions that don't matter. Near a truth the log weight falls like
# $-\lambda\log1/\varepsilon$, and the bound grows like $\lambda\log n$. In a regular model $\lambda=d/2$; where the
# parametrisation is redundant it is smaller, often by far. This is the precise sense of a *flat minimum*.
#
# ## The learner you can run
# Nobody can integrate over a network. But gradient descent with the right noise, stochastic gradient **Langevin** dynamics
# (SGLD) {cite:p}`welling2011bayesian`, draws from the posterior, and the average of the draws' predictions is the mixture.
#
# :::{prf:algorithm} SGLD mixture learner
# :label: universality-lens-alg
#
# **Inputs** samples $S$ of size $n$, prior $w$, steps $\eta_t$, batch size $b$, chains $C$
#
# **Output** predictive probabilities $Q(y\mid x;S)$
#
# 1. Start each of the $C$ chains at a draw from the prior.
# 2. At each step $t$ take a batch $B$ and set $\theta\leftarrow\theta+\frac{\eta_t}2\big[\nabla\log w(\theta)+\frac nb\sum_{i\in B}\nabla\log P_\theta(y_i\mid x_i)\big]+\sqrt{\eta_t}\,\xi$ with $\xi\sim N(0,I)$.
# 3. Leave out the first half of the steps; of the rest keep every twentieth.
# 4. Average the *probabilities* $P_\theta(y\mid x)$ over all draws of all chains.
# :::
#
# In {prf:ref}`universality-lens-alg` all chains are one array axis, and the steps one compiled loop:

# %%
Code(inspect.getsource(langevin._chains), language="python")

# %% [markdown]
# Averaging logits, or losses, would not be the mixture. The bound needs no more code: its slope in $n$ is the mean
# divergence under $w\,e^{-\beta D}$, so chains at a ladder of $\beta$ integrate it ({doc}`reproduction <reproduction>`).
#
# ## Where it breaks
# The theorem asks one thing: the truth must have weight, so it must lie in the class or near it. Here we take that away. The class is
# what random ReLU networks of 2001 parameters compute on seven bits, as in {cite:t}`valleperez2019deep`; the truth is parity, which none of them computes, and
# labels are flipped with probability 0.1. The mixture over networks pays for ever: its regret grows in proportion to $n$.
# Adding all $2^{128}$ lookup tables with half of the prior makes the class absurdly larger, costs one $\log 2$, and ends it.

# %%
broken, bounds = study.outside_study(
    cfg.n_networks,
    cfg.sizes,
    cfg.reps,
    chapter.rng("outside"),
    progress=lambda parts: chapter.progress(parts, "random networks"),
)
chapter.numbers(
    "universality-lens-broken",
    **{
        f"nats after {cfg.sizes[-1]} samples, {name}": regret
        for name, regret in broken[broken.n == cfg.sizes[-1]].groupby("prior").regret.mean().items()
    },
)

# %% mystnb={"figure": {"caption": "Cumulative regret under parity, with and without the lookup tables in the prior. Bars: two standard errors over data sets. Dashed: soft bound of the larger class; the smaller one has none.", "name": "universality-lens-broken"}, "image": {"alt": "Without lookup tables the regret climbs along a straight line past two hundred nats; with them it levels off below the dashed bound of eighty-nine."}}
figures.outside_the_class(broken, bounds)

# %%
rates = broken[broken.n >= cfg.sizes[-2]].groupby(["prior", "n"]).regret.mean().unstack("n")
((rates[cfg.sizes[-1]] - rates[cfg.sizes[-2]]) / (cfg.sizes[-1] - cfg.sizes[-2])).rename(
    "nats per further sample"
).to_frame().round(3)

# %% [markdown]
# So the lens explains why a *larger* class can be safer: a truth without weight is a loss for ever, a prior diluted by a factor
# is a loss once. {doc}`reproduction <reproduction>` judges every claim; {doc}`apply <apply>` runs the learner on your table
# and asks first whether the class holds something like your truth.

# %%
chapter.summary()
