# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # PaRIS particle Gibbs: what is the idea?
# To learn what a hidden path did, run a small crowd of particles again and again, and let each run lean on one
# path that the last run found. This notebook explains the method of {cite:t}`cardoso2023state` in one picture,
# five equations and the code that does them, and ends where it breaks.

# %% tags=["parameters"]
profile: str = "book"  # smoke | book | full
seed: int = 0  # any integer from 0; all randomness follows from it
n_particles: int = 5  # particles N in the picture
T: int = 10  # time steps in the picture
n_chains = None  # type: Optional[int] independent chains in the bias figures; None takes what the profile says
n_sweeps = None  # type: Optional[int] conditional sweeps of each chain

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
from loglik.sampling import parisian_particle_gibbs as ppgs
from loglik.sampling.parisian_particle_gibbs import datasets, figures, kernel, study

chapter = Chapter("sampling/parisian_particle_gibbs/method", profile=profile, seed=seed)

# %% tags=["hide-input"]
cfg = chapter.settings(
    smoke=dict(n_chains=40, n_sweeps=4),
    book=dict(n_chains=1200, n_sweeps=12),
    full=dict(n_chains=20_000, n_sweeps=40),
    n_chains=n_chains,
    n_sweeps=n_sweeps,
)

# %% [markdown]
# ## A hidden path
# Something moves, and we see it through noise. A **state-space model** says how: the state starts as
# $x_0\sim\chi$, moves by a density $m_t(x_t,x_{t+1})$, and gives an observation $y_t$ with likelihood
# $g_t(x_t)=p(y_t\mid x_t)$. Given all of $y_{0:T-1}$, the path has the **joint smoothing distribution**
#
# $$
# \varphi(\mathrm dx_{0:T-1})\;\propto\;\chi(x_0)\prod_{t=0}^{T-2}m_t(x_t,x_{t+1})\prod_{t=0}^{T-1}g_t(x_t)\,\mathrm dx_{0:T-1}.
# $$ (parisian-particle-gibbs-eq-target)
#
# What learning needs are expectations under {eq}`parisian-particle-gibbs-eq-target` of **additive functionals**
#
# $$
# h(x_{0:T-1})=\sum_{t=0}^{T-2}h_t(x_t,x_{t+1}).
# $$ (parisian-particle-gibbs-eq-additive)
#
# The gradient of the log-likelihood is one of them (Fisher's identity):
# $\nabla\log p_\theta(y)=\mathbb E_\varphi\big[\sum_t\nabla\log m_\theta(x_t,x_{t+1})+\sum_t\nabla\log g_\theta(x_t)\big]$
# plus the term of the first state; so are the statistics of EM, and the gradient of an inclusive
# Kullback–Leibler divergence.
#
# ## PaRIS: one pass, and a bias
# A particle filter carries $N$ particles $\xi_t^i$ with weights $w_t^i=g_t(\xi_t^i)$. PaRIS
# {cite:p}`olsson2017efficient` gives each of them
# a running statistic $\beta_t^i$, its estimate of the sum {eq}`parisian-particle-gibbs-eq-additive` so far. When the
# filter moves on, every new particle $\xi_{t+1}^i$ asks $M$ times "who may have been my parent?",
#
# $$
# J\sim\operatorname{Cat}_l\big(w_t^l\,m_t(\xi_t^l,\xi_{t+1}^i)\big),\qquad
# \beta_{t+1}^i=\frac1M\sum_{j=1}^M\Big(\beta_t^{J^{i,j}}+h_t\big(\xi_t^{J^{i,j}},\xi_{t+1}^i\big)\Big),
# $$ (parisian-particle-gibbs-eq-update)
#
# and at the end $\sum_iW^i\beta_{T-1}^i$ estimates $\mathbb E_\varphi h$, with $W$ the normalised last
# weights. Memory is $O(N)$, nothing has to be stored. With $M\ge2$ draws the statistics stay apart; with
# $M=1$ they coalesce onto one path's. But the weights are normalised, and a ratio of unbiased things is
# biased: the error has a mean of order $1/N$. Used as a gradient thousands of times, that mean does not
# average out.
#
# ## Pin a path
# Particle Gibbs {cite:p}`andrieu2010particle` has a cure for the bias of particle smoothers. Give index 0 of the crowd to a **reference
# path** $\zeta$: it takes part in everything but is never resampled or moved. Let the crowd choose a new path
# $\zeta'$ by following the first backward draws home, and pin that one next time.
#
# :::{prf:algorithm} One sweep of PaRIS particle Gibbs
# :label: parisian-particle-gibbs-alg
#
# **Inputs** a path $\zeta$, the model, $N\ge2$, $M\ge1$
#
# **Output** an estimate of $\mathbb E_\varphi h$, and a new path $\zeta'$
#
# 1. $\xi_0^0=\zeta_0$; draw $\xi_0^i\sim\chi$ for $i\ge1$; $\beta_0=0$.
# 2. For $t=0,\dots,T-2$: $\xi_{t+1}^0=\zeta_{t+1}$; for $i\ge1$ draw an ancestor $A\sim\operatorname{Cat}(w_t)$ and $\xi_{t+1}^i\sim m_t(\xi_t^A,\cdot)$.
# 3. For *every* $i$, the pinned one too: $M$ backward draws and the update {eq}`parisian-particle-gibbs-eq-update`; remember the first draw as the parent $B_{t+1}^i$.
# 4. Return $\sum_iW^i\beta_{T-1}^i$. Draw $j\sim\operatorname{Cat}(W)$, follow $B$ back from $j$: that is $\zeta'$.
# :::
#
# Sweep 0 pins nothing: it is plain PaRIS, and finds the first path. The estimator averages over sweeps,
# the first $k_0$ left out (the **roll-out**):
#
# $$
# \Pi_{(k_0,k)}=\frac1{k-k_0}\sum_{l=k_0+1}^{k}\Big(\sum_iW^i\beta_{T-1}^i\Big)_{\text{sweep }l}.
# $$ (parisian-particle-gibbs-eq-rollout)
#
# ## The picture

# %%
model = ppgs.LinearGaussianModel.scalar(0.9, 0.6, 0.3)
truth, y = ppgs.simulate(model, T, chapter.key("picture"))
first = ppgs.sweep_cloud(model, y, n_particles, zeta=None, key=chapter.key("sweep 0"))
second = ppgs.sweep_cloud(model, y, n_particles, zeta=first[1], key=chapter.key("sweep 1"))
chapter.numbers(
    "parisian-particle-gibbs-sweeps",
    times_at_which_the_new_path_leaves_the_pinned_one=f"{(first[1] != second[1]).any(1).sum()} of {T}",
)

# %% mystnb={"figure": {"caption": "Two sweeps with few particles, five by default. Grey dots: particles, larger where the weight is larger; grey lines: each particle's first backward draw; crosses: observations. The new path (orange) follows the backward draws home from a particle at the end. In sweep 1 the path of sweep 0 is pinned (dashed), and the new path joins it and leaves it.", "name": "parisian-particle-gibbs-sweeps"}, "image": {"alt": "Two panels over ten time steps. Above, a few grey particles a step and one orange path through them. Below, a dashed pinned path and an orange new path that runs partly on it, partly elsewhere."}}
figures.sweeps(first, second, y[:, 0])

# %% [markdown]
# ## Why it is exact
# Two facts carry everything, for every $N\ge2$. {prf:ref}`parisian-particle-gibbs-exact` is derived here and checked by
# enumeration in {doc}`reproduction <reproduction>`.
#
# :::{prf:theorem} Invariance and unbiasedness
# :label: parisian-particle-gibbs-exact
#
# If $\zeta\sim\varphi$, then $\zeta'\sim\varphi$, and $\mathbb E\big[\sum_iW^i\beta_{T-1}^i\big]=\mathbb E_\varphi h$.
# :::
#
# :::{prf:proof}
# Let index $0$ stand for a uniformly drawn index at each time; by exchangeability nothing changes. Write
# $\psi$ for the law of all particles of an *unconditional* sweep, and $\hat Z=\prod_t\frac1N\sum_iw_t^i$.
# Given a cloud, let $\pi(\cdot\mid\text{cloud})$ be the law of a path drawn by $j\sim\operatorname{Cat}(W)$ and backward draws.
# Its density at an index sequence $b_{0:T-1}$ is
# $W^{b_{T-1}}\prod_t w_t^{b_t}m_t(\xi_t^{b_t},\xi_{t+1}^{b_{t+1}})/\sum_lw_t^lm_t(\xi_t^l,\xi_{t+1}^{b_{t+1}})$. In $\psi$, a particle at
# $t+1$ has density $\sum_lw_t^lm_t(\xi_t^l,\cdot)/\sum_lw_t^l$. Multiply $\psi\,\hat Z$ by the path's probability: the sums cancel, and
# what is left is $N^{-T}\chi\prod m_t\prod g_t$ along the path, times the law of the other particles given that path
# pinned. So under $\psi\,\hat Z/p(y)$, drawing a path from $\pi(\cdot\mid\text{cloud})$ gives $(\zeta,\text{cloud})$ with
# $\zeta\sim\varphi$ and the cloud from a *conditional* sweep. Read the other way round: if $\zeta\sim\varphi$ and the cloud is
# drawn around it, then given the cloud, $\zeta$ itself is one more draw from $\pi(\cdot\mid\text{cloud})$, and so is $\zeta'$. They have
# the same law, which is $\varphi$. Last, given the cloud, the mean of $\sum_iW^i\beta_{T-1}^i$ over the backward draws is the mean
# of $h$ under $\pi(\cdot\mid\text{cloud})$, because each step of {eq}`parisian-particle-gibbs-eq-update` averages over a backward draw. Hence it is the
# mean of $h(\zeta')$, that is $\mathbb E_\varphi h$.
# :::
#
# The proof says also what it needs: multinomial resampling at every step (else $\psi$ has another form),
# backward draws for the pinned particle too (else the last sentence fails), and the path from the *same*
# draws. $M$ appears nowhere in it: it changes variance only.
#
# From any other start, each sweep forgets its reference at a geometric rate, so the bias of sweep $l$ is at most of order
# $\kappa^l/N$ with $\kappa<1$ smaller for larger $N$; the theory is in {cite:t}`cardoso2022particle` and in the paper.
#
# ## The code
# The sweep is a `lax.scan` over time; `vmap` runs chains and replicates side by side. One compiled sweep serves
# PaRIS, all conditional sweeps, and learning, because "pinned" is a value and not a branch. The two steps that
# differ from a particle filter:

# %%
Code(
    "\n\n".join(inspect.getsource(f) for f in (kernel.draw_exact, kernel.update_statistics)),
    language="python",
)

# %% [markdown]
# A categorical draw is an inverse of cumulative weights. On a CPU those cumulative sums cost more than the
# densities; as a product with a triangular matrix they are cheap:

# %%
Code("\n\n".join(inspect.getsource(f) for f in (kernel.cumulative, kernel.inverse_cdf)), language="python")

# %% [markdown]
# ## The smallest example
# A functional is a function of a pair of states. Here it is $\sum_tx_tx_{t+1}$ on a series of 50 steps, whose
# smoothed value the Kalman smoother knows exactly. Ten particles, many independent chains:

# %%
_, series = ppgs.simulate(model, 50, chapter.key("series"))
exact = ppgs.exact_additive(model, series, "cross")[0]
chains = ppgs.ppg(
    model, series, study.cross, 10, cfg.n_sweeps, cfg.n_sweeps // 2, key=chapter.key("chains"), n_chains=cfg.n_chains,
    progress=lambda items: chapter.progress(items, "chains"),
)  # fmt: skip
errors = np.column_stack([chains.initial, chains.estimates[..., 0]]) - exact
parts = {"sweep 0 (PaRIS)": errors[:, 0], "last sweep": errors[:, -1]}
parts["roll-out"] = chains.rollout(cfg.n_sweeps // 2)[:, 0] - exact
study.summarise(parts).round(3).assign(exact=round(exact, 2))

# %% [markdown]
# ## Learning with it
# Score ascent is $\theta_{n+1}=\theta_n+\gamma_n\,\widehat{\nabla\log p_{\theta_n}}(y)$ with the roll-out {eq}`parisian-particle-gibbs-eq-rollout` of a *few* sweeps
# as gradient. The trick: the last path of step $n$ is the first reference of step $n+1$. As the steps shrink,
# $\theta$ moves less than the chain forgets, so that one long chain runs through the whole of learning, and the
# burn-in is paid once. {doc}`reproduction <reproduction>` takes this luxury away and watches the bias return.
# Markov score climbing is the same with $\nabla_\lambda\log q_\lambda(x)$ in the place of the score.
#
# ## Where it breaks
# Everything rests on the sweep forgetting its reference. Break just that, in three ways. *Genealogy*: let $\zeta'$
# follow the ancestors that the filter used instead of fresh backward draws; the kernel is still invariant, but far
# back all particles descend from the pinned path, so nothing is ever renewed. *Dimension 5*: five states at once, all
# observed; particles move before they see $y$, and in five dimensions few land where the likelihood is. The third,
# *N = 2*, leaves the method as it is and gives it one free particle.

# %%
space = datasets.rotating_model(5, rng=chapter.rng("space"))
_, series5 = ppgs.simulate(space, 50, chapter.key("series 5"))
cases = {
    "N = 10": (model, series, 10, "exact"),
    "N = 10, genealogy": (model, series, 10, "genealogy"),
    "N = 10, dimension 5": (space, series5, 10, "exact"),
    "N = 2": (model, series, 2, "exact"),
}
rows = []
for name, (m, data, n, method) in cases.items():
    r = ppgs.ppg(
        m, data, study.cross, n, cfg.n_sweeps, key=chapter.key(name), n_chains=cfg.n_chains, method=method
    )
    e = np.column_stack([r.initial, r.estimates[..., 0]]) - ppgs.exact_additive(m, data, "cross")[0]
    share, scale = e.mean(0) / e[:, 0].mean(), np.abs(e[:, 0].mean()) * np.sqrt(len(e))
    rows += [
        {"case": name, "sweep": k, "share": share[k], "s.e.": e[:, k].std() / scale}
        for k in range(len(share))
    ]
broken = pd.DataFrame(rows)

# %% mystnb={"figure": {"caption": "Bias that is left after each sweep, as a share of sweep 0's bias. Bars: 95 % over independent chains. With the genealogy in the place of backward draws, in five dimensions or with one free particle, sweeps hardly help.", "name": "parisian-particle-gibbs-broken"}, "image": {"alt": "The curve for ten particles falls to near zero within ten sweeps. The other three fall much more slowly, the genealogy's least."}}
figures.broken(broken)

# %%
broken.pivot(index="sweep", columns="case", values="share").round(2).iloc[[0, 1, -1]][list(cases)]

# %% [markdown]
# Where the sweep does not forget, "geometric" is true and useless: the rate is near one. Then a single large
# cloud of PaRIS is the better use of a small budget, or a proposal that looks at the observation. {doc}`apply
# <apply>` measures the forgetting on your series, at every time, before it trusts the method.

# %%
chapter.summary()
