# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # h-Calibration: what is the idea?
# A network that says "90 %" should be right nine times out of ten; {cite:t}`huang2025hcalibration` teach a small
# map on top of it to be so, by minimising the difference itself.

# %% tags=["parameters"]
profile: str = "book"  # smoke | book | full
seed: int = 0  # any integer from 0; all randomness follows from it
window = None  # type: Optional[int] events in a window of the loss (M, even)
n = None  # type: Optional[int] rows of the simulated data sets
boldness: float = 2.5  # what the logits of the first picture are multiplied by; 1 is calibrated

# %% tags=["hide-input", "setup"]
try:
    import loglik  # noqa: F401
except ModuleNotFoundError:  # Colab, or a kernel without the package
    import sys

    from IPython import get_ipython

    flags = "--no-deps" if "google.colab" in sys.modules else ""
    packages = "probmetrics pytorch-minimize git+https://github.com/OWNER/likelihood-reproduced@v0.1.0"
    get_ipython().run_line_magic("pip", f"install -q {flags} {packages}")
import inspect

import numpy as np
import pandas as pd
import torch
from IPython.display import Code
from scipy.special import softmax

from loglik.chapter import Chapter
from loglik.risk.h_calibration import PostHocCalibrator, calibrate, figures, loss, metrics, simulate

torch.set_num_threads(1)  # the press runs chapters side by side
chapter = Chapter("risk/h_calibration/method", profile=profile, seed=seed)

# %% tags=["hide-input"]
cfg = chapter.settings(
    smoke=dict(window=100, n=600, epochs=20, n_broken=3_000),
    book=dict(window=200, n=2000, epochs=250, n_broken=30_000),
    full=dict(window=200, n=20_000, epochs=2000, n_broken=300_000),
    window=window,
    n=n,
)

# %% [markdown]
# ## The problem
# A classifier gives **logits** $z\in\mathbb R^L$ for each sample; the softmax turns them into probabilities
# $p$ over $L$ classes. It is **calibrated** when among all samples with the same predicted $p$, the classes
# occur with frequencies $p$. Modern networks are not: they are usually too sure.
#
# **Post-hoc recalibration** leaves the network alone and fits a small map $g_\theta$ from logits to
# probabilities, on rows that the network has not seen. The usual way minimises the negative log-likelihood
# (NLL) of the labels. But a likelihood rewards two things at once: being calibrated, and being sharp. If
# $g_\theta$ can't be perfect, it trades one for the other.
#
# The other usual quantity, the expected calibration error (ECE), measures the right thing, by sorting
# predictions into bins and comparing. It can't be trained on: it jumps when a prediction crosses a bin's edge.
#
# ## The idea
# Look at one **event** at a time: a sample, a class, the probability $p$ predicted for it and whether it came
# true, $y\in\{0,1\}$. Put all $N=nL$ events in the order of $p$. Neighbours have almost the same $p$, so the
# share of ones among neighbours *is* the frequency that $p$ should have named.

# %%
toy = simulate.simulate_posterior(150, 3, rng=chapter.rng("toy"))
bold = softmax(boldness * toy.logits, axis=1)  # above one: too sure
chapter.numbers(
    "h-calibration-events",
    mean_gap=np.abs(loss.window_statistic(bold, toy.y, 60)[1]).mean(),
    mean_gap_by_chance_alone=loss.noise_floor(np.sort(bold, axis=None), 60).mean(),
)

# %% mystnb={"figure": {"caption": "All 450 events of 150 samples in order of their predicted probability. The gap between the prediction and the share of ones among 61 neighbours is the window statistic; nothing is binned. One simulated data set.", "name": "h-calibration-events"}, "image": {"alt": "The predicted probabilities rise from zero to one in an S. The share of ones among neighbours lies above it on the left and below it on the right; the shaded difference is the gap."}}
figures.event_strip(bold, toy.y, 60)

# %% [markdown]
# With the events sorted, $p_{(1)}\le\dots\le p_{(N)}$, and an even number $M$,
#
# $$
# T_k=\frac1{M+1}\sum_{|j-k|\le M/2}\big(p_{(j)}-y_{(j)}\big)
# $$ (h-calibration-eq-statistic)
#
# is the **window statistic** ({py:func}`~loglik.risk.h_calibration.window_statistic`): above zero where
# predictions are too high. Terms beyond the ends count as zero. The loss penalises it beyond a tolerance
# $\epsilon$,
#
# $$
# \mathcal L(\theta)=\sum_k w_k\max\big(|T_k|-\epsilon,\,0\big),
# $$ (h-calibration-eq-loss)
#
# with weights $w_k$ that count each of 15 clusters of $p$ alike, so that the many events near zero don't drown
# the rest. $\mathcal L$ is differentiable in the values $p_{(k)}$; order and weights are held constant.
#
# ## The picture to remember
# The same predictor before and after recalibration, 2000 samples with ten classes. The blue area is what
# {eq}`h-calibration-eq-loss` adds up; the grey band is what chance alone does to a calibrated predictor.

# %%
draw = simulate.simulate_posterior(cfg.n, 10, kind="nonlinear", rng=chapter.rng("picture"))
predictions = {"as reported": softmax(draw.logits, axis=1)}
for kind in ("temperature", "pwl"):
    model = PostHocCalibrator(kind, window=cfg.window, epochs=cfg.epochs).fit(draw.logits, draw.y)
    predictions[f"{kind}, h loss"] = model.predict_proba(draw.logits)

# %% mystnb={"figure": {"caption": "Window statistic along all events. Left: as reported, the small probabilities are too low and the large ones too high. Middle: one temperature brings it close to the band of a calibrated predictor (±2 standard errors of a window). Right: so does the piecewise-linear map.", "name": "h-calibration-picture"}, "image": {"alt": "Three panels of a blue wave around zero. Left it swings far out of a thin grey band, in the middle and on the right it stays in the band almost everywhere."}}
figures.window_panels(predictions, draw.y, cfg.window)

# %% [markdown]
# ## The floor
# Even at the truth $T_k$ isn't zero. The residual of an event with probability $p$ has variance $p(1-p)$, so a
# mean of $M+1$ of them has
#
# $$
# \mathrm E|T_k|\approx\sqrt{\frac{2}{\pi}\,\frac{p_k(1-p_k)}{M+1}},\qquad
# P(|T_k|>\epsilon)\le 2e^{-(M+1)\epsilon^2/2}.
# $$ (h-calibration-eq-floor)
#
# The first is {py:func}`~loglik.risk.h_calibration.noise_floor`; the second (Hoeffding) is where the
# "error-bounded" of the title comes from. Two consequences: don't chase a loss of zero, a map that gets there
# has learnt the noise; and $\epsilon$ at about the floor asks for no more than can be known. A larger $M$
# lowers the floor and blurs the gap over $M/N$ of the events.
#
# ## The algorithm
# :::{prf:algorithm} One step of the h loss
# :label: h-calibration-alg
#
# **Inputs** logits $z$ of $n$ samples, labels, a map $g_\theta$, a window $M$, a tolerance $\epsilon$
#
# **Output** loss and gradient
#
# 1. $p=g_\theta(z)$; flatten, sort all $nL$ events by $p$ once.
# 2. For each class $c$ (leaving one out), keep the events of the samples with label other than $c$, in order:
#    1. window sums by differences of one cumulative sum; $T$ by {eq}`h-calibration-eq-statistic`;
#    2. weights from a one-dimensional k-means of $p$, whose clusters are runs of the sorted list;
#    3. add {eq}`h-calibration-eq-loss`; its slope in the residuals is the *same* window sum, of $w_k\,\mathrm{sign}(T_k)$.
# 3. Average over $c$, undo the sort, and let autograd carry the slope through $g_\theta$.
# :::
#
# Step 2 makes {prf:ref}`h-calibration-alg` linear in the number of events; the released code sorts and convolves
# anew for every $c$. From the package:

# %%
Code(inspect.getsource(loss._window_sum) + "\n\n" + inspect.getsource(loss._subset), language="python")

# %% [markdown]
# ## The maps
# Every map increases strictly in each log-probability, so predictions never change; only the confidence does.
# A **temperature** multiplies the logits by one number. An **ensemble** mixes several temperatures.
# A **piecewise-linear** map bends the log-probabilities, and a **monotone network** bends them smoothly.
#
# ## The smallest example
# The estimator follows scikit-learn. The posterior is known here, so we can look at the true error, the squared
# distance to it, on fresh samples. The reported logits are twice the true ones, so the best single temperature
# is 1/2.

# %%
fit, test = (
    simulate.simulate_posterior(cfg.n, 10, kind="temperature", rng=chapter.rng(s)) for s in ("fit", "test")
)
rows = {"as reported": (softmax(test.logits, axis=1), 1.0)}
for objective in ("nll", "h"):
    model = PostHocCalibrator("temperature", objective, window=cfg.window).fit(fit.logits, fit.y)
    rows[objective] = model.predict_proba(test.logits), model.map_.inverse_temperature.item()
pd.DataFrame(
    {
        name: {
            "inverse temperature": t,
            "ECE": metrics.ece(p, test.y),
            "true error": ((p - test.posterior) ** 2).sum(1).mean(),
        }
        for name, (p, t) in rows.items()
    }
).T.round(4)

# %% [markdown]
# Both losses find it, because the family holds the truth. {doc}`reproduction <reproduction>` has the cases in
# which it doesn't.
#
# ## Is it worth it?
# Recalibration costs rows and can do harm. {py:func}`~loglik.risk.h_calibration.calibrate` first asks whether
# the probabilities can be told from true ones at all (labels drawn from them give the reference), then whether
# a map helps on held-out folds. The calibrated predictor below should be left alone, the bold one not.

# %%
fair = simulate.simulate_posterior(min(cfg.n, 1000), 5, rng=chapter.rng("fair"))
quick = {
    f"temperature, {objective}": PostHocCalibrator("temperature", objective, window=cfg.window)
    for objective in ("nll", "h")
}
for factor in (1.0, 1.6):
    found = calibrate(factor * fair.logits, fair.y, candidates=quick, n_draws=99)
    print(f"logits times {factor:g}: {found.reason}")

# %% [markdown]
# ## Where it breaks
# The events of all classes share one list. So the loss sees *pooled*
# calibration: a class that is overrated and one that is underrated at the same level cancel. Below, the first
# class occurs 0.1 less often than predicted and the second 0.1 more often, at every level; the third is right.

# %%
broken = simulate.opposite_biases(cfg.n_broken, rng=chapter.rng("broken"))
reported = np.exp(broken.logits)
model = PostHocCalibrator("pwl", window=cfg.window, epochs=min(cfg.epochs, 60)).fit(
    broken.logits[:4000], broken.y[:4000]
)
after = model.predict_proba(broken.logits)

# %% mystnb={"figure": {"caption": "A predictor whose pooled events are calibrated while two classes are not, before and after recalibration. 8 bins of equal size for each class; bars: 95 % Wilson intervals (often smaller than the markers).", "name": "h-calibration-broken"}, "image": {"alt": "In both panels the first class's points lie 0.1 below the diagonal, the second's 0.1 above it, and the pooled points on it. Recalibration changes nothing."}}
figures.class_panels(
    {
        "as reported": figures.class_curves(reported, broken.y, (0, 1)),
        "after the h loss": figures.class_curves(after, broken.y, (0, 1)),
    }
)

# %%
floor = loss.noise_floor(np.sort(reported, axis=None), cfg.window).mean()
pd.DataFrame(
    {
        name: {
            "mean |T| over its floor": np.abs(loss.window_statistic(p, broken.y, cfg.window)[1]).mean()
            / floor,
            "class-wise ECE": metrics.classwise_ece(p, broken.y),
        }
        for name, p in {"as reported": reported, "after the h loss": after}.items()
    }
).T.round(3)

# %% [markdown]
# The statistic sits at its floor, so the loss is content, and no map that all classes share could help anyway.
# Class-wise ECE sees it at once, and so does `calibrate`, which then says that no map mends it; vector or matrix
# scaling can, at the price of changing predictions. Leaving one class out does not rescue it either, and under
# class imbalance it adds a bias of its own, the subject of C7 in {doc}`reproduction <reproduction>`.

# %%
chapter.summary()
