# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # The p–n criterion: what is the idea?
# Every model is wrong, and maximum likelihood does the best it can: it finds the member of the model that is closest to
# the truth. {cite:t}`sheena2022mle` asks how many rows that takes, and answers with two coefficients. This notebook
# derives them in five lines, computes them by differentiating one function, and ends where they mislead.

# %% tags=["parameters"]
profile: str = "book"  # smoke | book | full
seed: int = 0  # any integer from 0; all randomness follows from it
delta: float = 0.05  # tolerated distance of the Bayes error from one half
n_samples = None  # type: Optional[int] samples a point in the last figure; None takes what the profile says

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
from loglik.information.pn_criterion import (
    PoissonFamily,
    autodiff,
    examples,
    figures,
    pn_criterion,
    risk_coefficients_autodiff,
)
from loglik.information.pn_criterion.families import full_normal

chapter = Chapter("information/pn_criterion/method", profile=profile, seed=seed)

# %% tags=["hide-input"]
cfg = chapter.settings(
    smoke=dict(n_samples=40, fits=4), book=dict(n_samples=1000, fits=12), full=dict(n_samples=20_000, fits=12),
    n_samples=n_samples,
)  # fmt: skip

# %% [markdown]
# ## A wrong model has a right answer
# Waiting times that are really a mixture of two gamma laws, and a normal model. No normal density is the truth, but one
# is closest to it in Kullback–Leibler divergence: the **information projection** (black). Fits to samples scatter around
# *it*, not around the truth, and the more rows, the less.

# %%
curves, panels = examples.projection_curves((20, 100, 1000), cfg.fits, chapter.rng("curves"))

# %% mystnb={"figure": {"caption": "Normal fits to samples from a truth that is not normal. Each thin line is the fit to one sample; their spread is the sampling error, so no bars are drawn.", "name": "pn-criterion-projection"}, "image": {"alt": "Three panels for growing n. A grey skewed truth, a black normal density that does not match it, and blue normal fits that gather around the black one."}}
figures.projections(curves, panels)

# %% [markdown]
# So there are two questions. How far is the projection from the truth? That is about the *model*, and no sample size
# mends it. How far is the fit from the projection? That is about the *sample*, and it is the question here.
#
# ## The model and the loss
# An **exponential family** has densities
#
# $$
# g(x;\theta)=\exp\{\theta^\top\xi(x)-\Psi(\theta)\}
# $$ (pn-criterion-eq-family)
#
# with $p$ sufficient statistics $\xi$ and the **log-partition function** $\Psi$, which makes it integrate to one. Its
# derivatives are the cumulants of $\xi$: $\dot\Psi$ the mean, $\ddot\Psi$ the covariance. Whatever the truth $g$, the
# projection $\theta^*$ and the estimate $\hat\theta$ solve the same equation, one for the truth's mean of $\xi$ and one for the
# sample's:
#
# $$
# \dot\Psi(\theta^*)=\eta^*=\mathrm{E}_g\,\xi,\qquad \dot\Psi(\hat\theta)=\hat\eta=\frac1n\sum_i\xi(x_i).
# $$ (pn-criterion-eq-mle)
#
# The loss is $D=\mathrm{KL}(g(\cdot;\theta^*)\,\|\,g(\cdot;\hat\theta))
# =\Psi(\hat\theta)-\Psi(\theta^*)-\eta^{*\top}(\hat\theta-\theta^*)$: projection first, estimate second. The other
# way round has another second-order term.
#
# ## Two coefficients in five lines
# 1. By {eq}`pn-criterion-eq-mle`, $D$ is a function $f(\delta)$ of $\delta=\hat\eta-\eta^*$ alone, with $f(0)=0$ and $\dot f(0)=0$.
# 2. Taylor: $f=\tfrac12\ddot f[\delta^2]+\tfrac16\dddot f[\delta^3]+\tfrac1{24}\ddddot f[\delta^4]+\dots$
# 3. $\delta$ is a mean of $n$ terms: $\mathrm{E}\delta^2=V/n$, $\mathrm{E}\delta^3=K/n^2$, $\mathrm{E}\delta^4=3V^2/n^2+O(n^{-3})$,
#    with $V$ the covariance and $K$ the third central moment of $\xi$ under the *truth*.
# 4. $\ddot f=G^{-1}$ with $G=\ddot\Psi(\theta^*)$, the covariance under the *projection*.
# 5. Collect orders:
#
# $$
# R(n)=\mathrm{E}D=\frac{A_1}n+\frac{A_2}{n^2}+o(n^{-2}),\qquad
# A_1=\tfrac12\mathrm{tr}(G^{-1}V),\qquad
# A_2=\tfrac16\mathrm{E}_g\dddot f[y^3]+\tfrac1{24}\mathrm{E}_{u\sim N(0,V)}\ddddot f[u^4],
# $$ (pn-criterion-eq-risk)
#
# where $y=\xi-\eta^*$. When the model is right, $G=V$ and $A_1=p/2$.
#
# ## Let the computer differentiate
# There is no closed form for $f$ in most families, because {eq}`pn-criterion-eq-mle` has to be solved. But its *derivatives* follow
# from those of $\Psi$ by differentiating the likelihood equation implicitly. Along a direction $u$, with $w=G^{-1}u$,
#
# $$
# \hat\theta'=w,\qquad \hat\theta''=-G^{-1}\dddot\Psi[w,w],\qquad
# \dddot f[u^3]=-2\dddot\Psi[w^3],\qquad
# \ddddot f[u^4]=3\big(3\,\dddot\Psi[w,w]^\top G^{-1}\dddot\Psi[w,w]-\ddddot\Psi[w^4]\big).
# $$ (pn-criterion-eq-implicit)
#
# Everything on the right is a derivative of $\dot\Psi$ along the straight line $\theta^*+sw$, which forward-mode automatic
# differentiation delivers for any $\Psi$ that can be written down:

# %%
Code(inspect.getsource(autodiff.line_derivatives), language="python")

# %% [markdown]
# :::{prf:algorithm} Coefficients of the risk by automatic differentiation
# :label: pn-criterion-alg
#
# **Inputs** $\Psi$, statistics $\xi(x_i)$ with weights
#
# **Output** $A_1$, $A_2$
#
# 1. Solve {eq}`pn-criterion-eq-mle` for $\theta^*$; $G=\ddot\Psi(\theta^*)$, $V$ = covariance of the $\xi(x_i)$; $A_1=\tfrac12\mathrm{tr}(G^{-1}V)$.
# 2. For every row, $\dddot f[y_i^3]$ by {eq}`pn-criterion-eq-implicit`; average.
# 3. Write $V=\sum_j b_jb_j^\top$. The mean of a fourth-order form over $N(0,V)$ is *exactly* $(4-p)\sum_j\ddddot f[b_j^4]+\tfrac12\sum_{i<j}(\ddddot f[(b_i+b_j)^4]+\ddddot f[(b_i-b_j)^4])$: $p^2$ directions.
# 4. Collect by {eq}`pn-criterion-eq-risk`.
# :::
#
# A tensor of $p^4$ fourth cumulants is never built; for the 77 parameters of a normal model of eleven variables, {prf:ref}`pn-criterion-alg`
# takes a fraction of a second.
#
# ## The smallest example
# Poisson counts with mean 3. The closed forms are $A_1=\tfrac12$ and $A_2=5/12\lambda$.

# %%
poisson = PoissonFamily()
theta = np.log([3.0])
risk_coefficients_autodiff(poisson, theta, *poisson.quadrature(theta))

# %% [markdown]
# A family of one's own is two methods, `suff_stat` and `log_partition`; the package shows it for the von Mises
# distribution of directions, where $\Psi$ is a Bessel function and no cumulant was worked out by hand:

# %%
Code(inspect.getsource(examples.VonMises), language="python")

# %%
x = chapter.rng("angles").vonmises(0.5, 2.0, 300)
found = pn_criterion(examples.VonMises(), x, delta=delta, n_blocks=10)
pd.Series({"p": found.p, "A₁": found.expansion.A1, "A₂": found.expansion.A2, "risk": found.risk}).round(
    4
).to_frame().T

# %% [markdown]
# ## From a risk to a decision
# What risk is small enough? Suppose that somebody sees one draw and has to say whether it came from the projection or from the
# fit. With equal chances the best possible error is $\mathrm{Er}=\tfrac12(1-\mathrm{TV})$: one half when the two are equal.
# A tolerance δ asks for $\mathrm{Er}\ge\tfrac12-\delta$. Pinsker's and Jensen's inequalities give
#
# $$
# \mathrm{E}\,\mathrm{TV}\le\mathrm{E}\sqrt{D/2}\le\sqrt{R/2},\qquad\text{so}\quad R(n)\le C(\delta)=8\delta^2
# \quad\text{suffices.}
# $$ (pn-criterion-eq-threshold)
#
# **The p–n criterion**: accept model and sample when $A_1/n+A_2/n^2\le C(\delta)$. Solved for $n$, it says how many rows a
# model needs; walked up a ladder of models, it says how many parameters a sample supports. Here for a normal model of
# five variables, all moments taken from a right truth:

# %%
family = full_normal(5)
standard = family.fit(np.concatenate([np.zeros(5), np.eye(5)[np.triu_indices(5)]])).theta
five = risk_coefficients_autodiff(family, standard, *family.quadrature(standard))
chapter.numbers(
    "pn-criterion-planning",
    rows_needed=round(five.required_n(8 * delta**2)),
    rows_for_each_parameter=five.required_n(8 * delta**2) / family.p,
    tolerated_risk=f"{8 * delta**2:.2g} nats",
)

# %% mystnb={"figure": {"caption": "Sample sizes that three tolerances ask of a normal model of five variables. Theory: no error bars.", "name": "pn-criterion-planning"}, "image": {"alt": "A falling risk curve on log axes with three horizontal tolerances; each meets the curve at the sample size that it asks for."}}
figures.planning(five, family.p, None, (delta / 2, delta, 2 * delta))

# %% [markdown]
# ## Where it breaks
# The criterion takes $V$ and $K$ from the sample. Break that: let the truth have tails so heavy that the sample does not
# show them. Below, a normal model (p = 2) of Student-t data, standardised, and a tolerance that asks for a little more than the sample has:
# the true leading risk $A_1/n$ is 1.25 times the tolerated one at every $n$, so each acceptance is a mistake.

# %%
broken = examples.heavy_tails(
    (30, 100, 300, 1000),
    cfg.n_samples,
    chapter.rng("broken"),
    progress=lambda j: chapter.progress(j, "tails"),
)

# %% mystnb={"figure": {"caption": "How often the criterion accepts a sample whose true leading risk is 1.25 times the tolerated one. Bars: 95 % intervals over samples.", "name": "pn-criterion-broken"}, "image": {"alt": "Share of mistaken acceptances against n. For normal data it falls quickly towards zero, for t with nine degrees of freedom it falls slowly, for t with five it stays high."}}
figures.breaking(broken)

# %% [markdown]
# For normal data the mistakes die out. With nine degrees of freedom they linger, and with five, where the sixth moments
# that $A_2$ needs do not exist and the fourth one is estimated from a handful of extreme rows, the criterion goes on saying "enough" to
# samples that aren't. {doc}`apply <apply>` reports the jackknife's bias and warns when $A_1$ is far from $p/2$;
# {doc}`reproduction <reproduction>` shows the same on real wine.

# %%
chapter.summary()
