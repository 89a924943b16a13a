# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Adaptive data analysis: what is the idea?
# Ask the same data many questions, each depending on the last answer, without fooling yourself. This
# notebook shows how quickly honest work overfits a holdout set, why noise that protects single rows stops
# it {cite:p}`dwork2015preserving`, the algorithms with their code, and where they break.

# %% tags=["parameters"]
profile: str = "book"  # smoke | book | full
seed: int = 0  # any integer from 0; all randomness follows from it
n_rep = None  # type: Optional[int] repetitions of the figures; None takes what the profile says
budget: int = 20  # answers from the holdout that each start of the last figure may pay for

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
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import Code

from loglik.chapter import Chapter
from loglik.information.adaptive_data_analysis import (
    PMW,
    BudgetExhausted,
    ReusableHoldout,
    ThresholdoutMechanism,
    figures,
    figures_idea,
    freedman,
    generalization_bound,
    study,
    study_holdout,
)
from loglik.information.adaptive_data_analysis.study_data import load_abalone_sex

chapter = Chapter("information/adaptive_data_analysis/method", profile=profile, seed=seed)

# %% tags=["hide-input"]
cfg = chapter.settings(
    smoke=dict(n_rep=4, n_freedman=60, n=1000), book=dict(n_rep=40, n_freedman=500, n=10_000), full=dict(n_rep=400, n_freedman=5000, n=10_000), n_rep=n_rep,
)  # fmt: skip

# %% [markdown]
# ## An innocent afternoon
# A hundred rows, fifty variables, all pure noise. Regress, keep what looks promising ($p\le.25$), regress
# again on the same rows. Each step is in the textbooks. The second regression is "significant" nine times
# out of ten, because the question *which variables?* was answered by the rows that are now asked *how
# good?*

# %%
paradox = freedman(cfg.n_freedman, chapter.rng("freedman"))

# %% mystnb={"figure": {"caption": "Overall p-values of regressions of noise on noise. The vertical line marks 0.05. One step of a curve is one repetition; there is no further error bar.", "name": "adaptive-data-analysis-freedman"}, "image": {"alt": "The p-values of the first regression and of the refit on fresh rows follow the diagonal; those of the refit on the same rows rise steeply near zero."}}
figures_idea.freedman_p_values(paradox.p_before, paradox.p_after, paradox.p_fresh)

# %% [markdown]
# A **holdout set** that is used once would expose this. But nobody uses it once: scores come back, models
# are changed, and the holdout has become training data.
#
# ## Questions, answers, two kinds of error
# A **statistical query** is a function $\phi$ of one row with values in a known range. Its truth is the
# population mean $D[\phi]$; a sample $S$ of $n$ rows has the mean $S[\phi]$. A mechanism sees $S$ and gives
# an answer $a$; the analyst sees answers only, and chooses the next query by them. The error has two parts:
#
# $$
# a-D[\phi]=\underbrace{(a-S[\phi])}_{\text{noise}}+\underbrace{(S[\phi]-D[\phi])}_{\text{overfit}} .
# $$ (adaptive-data-analysis-eq-error)
#
# For queries fixed beforehand the second part is about $1/\sqrt n$. For adaptive ones it can be anything.
# Ask $m$ random queries $q_i$ with values ±1 and $D[q_i]=0$, and build
#
# $$
# f=\mathrm{sign}\Big(\sum_{i\le m}\mathrm{sign}(a_i)\,q_i\Big),\qquad
# S[f]\approx 2\Phi\!\Big(\frac{2\sqrt m\,h(0)}{n}\Big)-1,\qquad D[f]=0,
# $$ (adaptive-data-analysis-eq-curve)
#
# with $h(0)$ the density of an answer at zero. Where it comes from: $a_i$ is a mean to which each row
# contributes $\pm1/n$, so a row's sign agrees with that of $a_i$ a little more often than not, by
# $h(0)/n$; over $m$ votes this adds up to a shift of $2\sqrt m\,h(0)/n$ standard deviations. Exact answers have
# $h(0)=\sqrt{n/2\pi}$, and the curve reaches one half at $m\approx0.71\,n$: as many questions as rows, and
# the holdout has lost its meaning. `overfit_curve` computes {eq}`adaptive-data-analysis-eq-curve`.
#
# ## Noise that hides rows
# The curve already shows the cure: a smaller $h(0)$. Noise in the answers makes each less accurate and all
# of them together more so. **Differential privacy** {cite:p}`dwork2015preserving` says it for every analyst
# at once. A mechanism $M$ is ε-DP if for samples $S,S'$ that differ in one row and every event $E$
#
# $$
# P(M(S)\in E)\le e^{\varepsilon}\,P(M(S')\in E).
# $$ (adaptive-data-analysis-eq-dp)
#
# Now let $M$ put out a query $\phi$ with values in [0, 1], and swap a row of $S$ for a fresh one. The swapped
# row is to $\phi$ like any row of the population; by {eq}`adaptive-data-analysis-eq-dp` the swap changes
# expectations by at most a factor $e^\varepsilon$. Averaged over rows:
#
# $$
# \big|\mathbb E\,S[\phi]-\mathbb E\,D[\phi]\big|\le\min\big(e^{\varepsilon}-1,\ \varepsilon/2\big),\qquad
# \text{or}\quad\le\sqrt{I/2n}\ \text{ with } I \text{ the information of } \phi \text{ about } S.
# $$ (adaptive-data-analysis-eq-bound)
#
# Nothing about the analyst entered. Privacy composes: budgets of many answers add up, in
# $\rho$ (**zero-concentrated DP**; $N(0,\sigma^2)$ on a query of sensitivity Δ costs
# $\rho=\Delta^2/2\sigma^2$, and the bound is $\sqrt{\rho/2}$). So the least error is a balance, and the
# picture of this chapter:

# %%
noise = list(np.geomspace(1, 24, 12).round(2))
ms = list(np.geomspace(100, 10_000, 9).astype(int).tolist())
valley = study.best_noise_study(cfg.n, ms, noise, max(cfg.n_rep // 8, 2), chapter.entropy("valley"))
means = valley.groupby(["multiple", "m"], as_index=False).overfit.mean()
sigmas = np.asarray(noise) / np.sqrt(cfg.n)
means["total"] = np.hypot(means.overfit, means.multiple / np.sqrt(cfg.n))

# %% mystnb={"figure": {"caption": "Total error of Gaussian answers after an attack of m questions. Too little noise overfits, too much drowns the answer; the best noise grows like the fourth root of m. Means over simulated attacks; {doc}`reproduction <reproduction>` has the error bars.", "name": "adaptive-data-analysis-picture"}, "image": {"alt": "A heat map over questions and noise with a valley along a white dashed line of slope one quarter."}}
figures_idea.valley_picture(means, cfg.n)

# %% [markdown]
# ## Pay only for disagreement
# Most questions don't overfit, so why pay for all? **Thresholdout** {cite:p}`dwork2015generalization,dwork2015reusable`
# gives the analyst the training set and keeps the holdout set. It answers from the training set as long as both agree; only a
# disagreement is paid for. Its core is the *sparse vector technique*: telling for any number of numbers
# whether they pass a noisy threshold costs no more than one answer, until one does.
#
# :::{prf:algorithm} Thresholdout
# :label: adaptive-data-analysis-alg
#
# **Inputs** training set, holdout set, threshold $T$, noise $\sigma$, budget $B$
#
# 1. Draw $\gamma\sim\mathrm{Lap}(2\sigma)$.
# 2. For each query $\phi$: if $B<1$, refuse. Draw $\eta\sim\mathrm{Lap}(4\sigma)$.
# 3. If $|E_{\text{holdout}}\phi-E_{\text{train}}\phi|\le T+\gamma+\eta$, answer $E_{\text{train}}\phi$.
# 4. Else answer $E_{\text{holdout}}\phi+\mathrm{Lap}(\sigma)$, set $B\leftarrow B-1$ and draw $\gamma$ anew.
# :::
#
# Step 4's fresh $\gamma$ is where implementations go wrong; the audit in {doc}`reproduction <reproduction>`
# computes what that costs. The package runs {prf:ref}`adaptive-data-analysis-alg` in blocks, one turn of the
# loop for each *paid* answer:

# %%
Code(inspect.getsource(ThresholdoutMechanism._until_positive), language="python")

# %% [markdown]
# In use it is a `ReusableHoldout`. It keeps its state in a file that is written *before* an answer is given
# out, so a crash can lose an answer and never refund one. The smallest example: half of the abalones are
# training rows, half are hidden, and we ask for the share of males, then for something that only
# the training set says.

# %%
shells = load_abalone_sex()
rows = np.column_stack([shells.X["length"], shells.y])[chapter.rng("split").permutation(len(shells.y))]
train, hidden = np.array_split(rows, 2)
with tempfile.TemporaryDirectory() as folder:
    holdout = ReusableHoldout(train, hidden, Path(folder, "state.json"), budget=1, rng=chapter.rng("noise"))
    print("share of males:    ", holdout.ask(lambda r: r[:, 1] > 0))
    overfit = (np.ones(len(train)), np.zeros(len(hidden)))  # right on every training row, nowhere else
    print("a memorised answer:", holdout.ask(overfit))
    try:
        holdout.ask(lambda r: r[:, 1] > 0)
    except BudgetExhausted as refusal:
        print("one more question: ", refusal)

# %% [markdown]
# ## Exponentially many questions
# Noise lasts for about $n^2$ questions. **Private multiplicative weights** (PMW) lasts exponentially longer
# by *coordinating* its answers: it keeps a public histogram $h$ over a finite universe of $N$ points, answers
# $h[q]$, and only where the sample disagrees noisily with it does it pay and learn,
#
# $$
# h(x)\ \propto\ h(x)\,e^{\eta\,\mathrm{sign}(a-h[q])\,q(x)},\qquad
# \mathrm{KL}(S\Vert h)\ \text{falls by at least}\ \eta\,|S[q]-h[q]|-\eta^2/2 .
# $$ (adaptive-data-analysis-eq-pmw)
#
# KL starts below $\log N$ and can't fall below 0, so {eq}`adaptive-data-analysis-eq-pmw` allows only about
# $\log N/\alpha^2$ updates to accuracy α, *whatever is asked and however often*. The rest of the answers are
# free. The price: time $O(N)$ a question, and on easy questions an error up to the threshold. In the
# figure the guarantee is nearly tight: random ±1 queries leave it little to give away.

# %%
Code(inspect.getsource(PMW._update), language="python")

# %%
trace = study.potential_trace(8, 4000, 500, chapter.rng("potential"))

# %% mystnb={"figure": {"caption": "What the histogram still has to learn after each update (256 points, 4000 rows, 500 random questions, one run), under the line that adds up the guaranteed falls.", "name": "adaptive-data-analysis-learns"}, "image": {"alt": "The divergence falls step by step below the dashed guaranteed line."}}
figures.potential(trace)

# %% [markdown]
# ## Where it breaks
# The guarantee is about *all* answers that were ever given from a holdout set. So let us break just that: a
# hostile analyst restarts the program at every refusal. One holdout keeps its budget in memory and
# forgets; the other resumes from its file.

# %%
restarts = (1, 2, 4, 8, 16, 32)
broken = study_holdout.restart_study(
    1000, restarts, budget, 0.03, max(cfg.n_rep // 4, 2), chapter.entropy("restarts")
)
chapter.numbers(
    "adaptive-data-analysis-broken",
    **{
        f"overfit after {restarts[-1]} starts, a holdout that {name}": f"{part.mean():.2f} ± {2 * part.sem():.2f}"
        for name, part in broken[broken.restarts == restarts[-1]].groupby("holdout").overfit
    },
)

# %% mystnb={"figure": {"caption": "Overfit to a holdout of 1000 rows with a fixed budget of answers, against the number of restarts. Bars: two standard errors over repetitions. Dashed: closed form for all the answers that were given.", "name": "adaptive-data-analysis-broken"}, "image": {"alt": "With a holdout that forgets, overfit climbs along the dashed curve; with one that remembers it stays where the first session left it."}}
figures_idea.forgetful(broken)

# %% [markdown]
# Forgetting turns a bounded overfit into the naive curve. The same happens with copies of the holdout in two
# projects, or with colleagues who each start their own count: the budget belongs to the *rows*. (Resuming
# with other rows is refused by their hash; a new count for old rows in another file is something no program
# can see.)
#
# It breaks in a quieter way too. The bound in {eq}`adaptive-data-analysis-eq-bound` is about privacy, and
# privacy is dear: with $n$ rows, $\sigma=1/(4\sqrt n)$ and ten paid ±1 answers it promises

# %%
pd.Series(
    {
        f"n = {rows:,}": generalization_bound(rho=20 * (2 / rows * 4 * rows**0.5) ** 2 / 2, width=2)
        for rows in (1000, 100_000, 10_000_000)
    },
    name="guaranteed mean gap, queries of width 2",
).round(3).to_frame()

# %% [markdown]
# which says nothing at a thousand rows, although in practice the mechanism works there. And a threshold
# of $4/\sqrt n$ means just that: differences below it are answered with the training value. On small data
# that is every difference; {doc}`reproduction <reproduction>` shows real cases where the plain holdout did
# better, and {doc}`apply <apply>` checks yours.

# %%
chapter.summary()
