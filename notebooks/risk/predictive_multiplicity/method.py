# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Predictive multiplicity: what is the idea?
#
# How far one person's predicted risk can move among models that fit the data almost equally well, and how to compute it with a proof.

# %% tags=["parameters"]
profile: str = "book"  # smoke | book | full
seed: int = 0  # any integer from 0; all randomness follows from it
n_rows = None  # type: Optional[int] rows of the two-feature example
tolerance: float = 0.01  # by how much the loss of a competing model may exceed the best one, as a share of it

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
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Code
from scipy.special import expit

from loglik.chapter import Chapter
from loglik.risk import predictive_multiplicity as pm
from loglik.risk.predictive_multiplicity import flips, loss, solver

chapter = Chapter("risk/predictive_multiplicity/method", profile=profile, seed=seed)
cfg = chapter.settings(
    smoke=dict(n_rows=120, n_drawn=200),
    book=dict(n_rows=120, n_drawn=2000),
    full=dict(n_rows=120, n_drawn=20000),
    n_rows=n_rows,
)

# %% [markdown]
# ## One patient, two models
#
# A clinic has 683 biopsies with nine binary findings. Logistic regression fits them well. So do many other weights:
# here is the patient for whom it matters most. Both models lose at most one per cent more than the best one.

# %%
cancer = pm.load_breastcancer()
near = pm.LevelSet(cancer.X, cancer.y, epsilon=tolerance, relative=True)
found = near.ranges(cancer.X)
patient = int(found.width.argmax())
models = found.models[patient]
pd.DataFrame(
    {
        "risk of this patient": near.predict(cancer.X.iloc[[patient]], np.vstack([near.w0, models]))[:, 0],
        "mean log loss": loss.losses(near.rows, np.vstack([near.w0, models])),
        "right at 0.5": [((near.predict(cancer.X, w) > 0.5) == cancer.y).mean() for w in (near.w0, *models)],
    },
    index=["best fit", "lowest risk", "highest risk"],
).style.format("{:.3f}").format("{:.5f}", subset=["mean log loss"])

# %% [markdown]
# Nothing in the data prefers one of the three, yet the patient's treatment might depend on it. The paper
# {cite:p}`watsondaniels2023predictive` calls this *predictive multiplicity* and measures it for probabilities, not for
# labels: a label flips only near the threshold, a risk can move anywhere.
#
# ## Notation and measures
#
# Rows $(x_i, y_i)$ with $y_i\in\{-1,+1\}$, $\tilde x=(1,x)$, risks $g_w(x)=\sigma(w^\top\tilde x)$ and the mean log loss
# $L(w)=\frac1n\sum_i\log(1+e^{-y_iw^\top\tilde x_i})$. Around the baseline $w_0$ lies the *level set* of competing models,
#
# ```{math}
# :label: predictive-multiplicity-level-set
# S_\epsilon=\{w: L(w)\le T\},\qquad T=L(w_0)+\epsilon .
# ```
#
# The tolerance is on the plain loss; a ridge may steady the baseline but never enters {eq}`predictive-multiplicity-level-set`.
# Three measures follow. The *viable prediction range* of a person, the *ambiguity* (whom can some model move?) and the
# *discrepancy* (how many can one model move at once?):
#
# ```{math}
# :label: predictive-multiplicity-measures
# V_\epsilon(x)=\Big[\min_{w\in S_\epsilon}g_w(x),\max_{w\in S_\epsilon}g_w(x)\Big],\quad
# \alpha=\frac1n\sum_i\max_{w\in S_\epsilon}1[|g_w(x_i)-g_{w_0}(x_i)|\ge\delta],\quad
# \max_{w\in S_\epsilon}\frac1n\sum_i1[|g_w(x_i)-g_{w_0}(x_i)|\ge\delta].
# ```
#
# ## The level set, drawn
#
# With one feature a model is a point in the plane: intercept and slope. A person is a direction in it: all models on
# a line $w^\top\tilde x=s$ give her the same risk. Slide the line outwards; where it last touches the level set is the
# end of her range. That is all that a range is. People with other features have lines of other slopes, and touch
# elsewhere: the extreme models of two people are not the same model.

# %%
rng = chapter.rng("picture")
X = rng.normal(size=(cfg.n_rows, 1))
y = (1.2 * X[:, 0] + rng.logistic(size=cfg.n_rows) > 0).astype(int)
picture = pm.LevelSet(X, y, epsilon=0.02)
two = np.array([[0.0], [1.5]])
touching = picture.ranges(two).models
grid = [picture.w0[k] + np.linspace(-1.5, 1.5, 121) for k in range(2)]
plane = np.stack(np.meshgrid(*grid), -1).reshape(-1, 2)
surface = loss.losses(picture.rows, plane).reshape(121, 121) - picture.loss0

# %% mystnb={"figure": {"caption": "The whole level set of a model with one feature: excess loss of every intercept and slope (outlined: within the tolerance of 0.02 nats; cross: the baseline). Each pair of dashed lines joins models that give one person the same risk, and just touches the level set: at the ends of her viable range.", "name": "predictive-multiplicity-level-set"}, "image": {"alt": "An egg-shaped region of intercepts and slopes between two pairs of parallel dashed tangent lines, one pair vertical and one oblique, labelled with risks."}}
fig, ax = plt.subplots(figsize=(6.6, 5), layout="constrained")
shades = ax.contourf(*grid, surface, levels=[0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4], cmap="Blues_r")
ax.contour(*grid, surface, levels=[0.02], colors="black", linewidths=2)
fig.colorbar(shades, label="excess loss (nats)")
style = dict(textcoords="offset points", backgroundcolor="white", fontsize="small", ha="center")
for x, models, colour in zip(two, touching, ("C1", "C3"), strict=True):
    for w, down in zip(models, (-1, 1), strict=True):
        ax.plot(w @ [1, x[0]] - grid[1] * x[0], grid[1], "--", color=colour)
        ax.plot(*w, "o", color=colour)
        risk = picture.predict([x], w[None])[0, 0]
        ax.annotate(f"x = {x[0]}: {risk:.2f}", w, xytext=(48 * down, 22 * down), color=colour, **style)
ax.plot(*picture.w0, "x", color="black", markersize=9, markeredgewidth=2)
ax.set(xlabel="intercept", ylabel="slope", xlim=grid[0][[0, -1]], ylim=grid[1][[0, -1]])
plt.show()

# %% [markdown]
# ## The exact range is a root in one dimension
#
# Let $\varphi(s)=\min\{L(w): w^\top\tilde x=s\}$ be the price of giving a person the score $s$. It is convex with its
# minimum at the baseline's score, its slope is the multiplier $t$ of the constraint, and the range's end solves
# $\varphi(s)=T$. Newton's method on $\sqrt{\varphi-L(w_0)}$, which is a straight line where the loss is quadratic, needs
# a handful of steps; all people and both ends are taken together. The paper instead forces each person to each risk of
# a grid, which is the same $\varphi$ sampled at 21 points.
#
# ```{prf:algorithm} Viable prediction range
# :label: predictive-multiplicity-algorithm
#
# **Input** rows, baseline, tolerance; a person's $a=\pm\tilde x$
#
# 1. Start at $w_0+\sqrt{2\epsilon/a^\top H^{-1}a}\,H^{-1}a$, the answer if the loss were quadratic.
# 2. Newton steps within $\{w: a^\top w=s\}$ until the loss settles at $\varphi(s)$; read off the slope $t$.
# 3. The tangent of $\varphi$ bounds the root from above, the last $s$ with $\varphi(s)\le T$ from below; step to the root of the secant of $\sqrt{\varphi-L(w_0)}$ inside that bracket.
# 4. Repeat until $|\varphi(s)-T|$ is below $10^{-11}$; pull the model into the level set, and prove a bound by {eq}`predictive-multiplicity-certificate`.
# ```
#
# The step from one score to the next, as the package has it:

# %%
Code(inspect.getsource(solver._next_score), language="python")

# %% [markdown]
# ### The certificate
#
# Nobody has to believe the solver. The loss is convex, so for *every* model $w'$ of the level set
# $T\ge L(w')\ge L(w)+\nabla L(w)^\top(w'-w)$. Write $\nabla L(w)=ta-r$; then
#
# ```{math}
# :label: predictive-multiplicity-certificate
# a^\top w'\;\le\;a^\top w+\frac{T-L(w)}{t}+\frac{\lVert r\rVert_{H^{-1}}\,(q+\lVert w-w_0\rVert_H)}{t},
# ```
#
# where $q$ is the radius of a ball that holds the level set. The last term vanishes as the solver converges; if it
# didn't, the gap would show it. The ball is also worth having for itself. With $k^2$ the largest leverage
# $\tilde x_i^\top H^{-1}\tilde x_i$ of the training rows, the logistic loss obeys Bach's inequality, so that $q$ solves
#
# ```{math}
# :label: predictive-multiplicity-ball
# \epsilon=\frac{e^{-kq}+kq-1}{k^2},\qquad |w^\top\tilde x-w_0^\top\tilde x|\le q\sqrt{\tilde x^\top H^{-1}\tilde x},
# ```
#
# a bound for everybody from one factorisation. As $\epsilon\to0$, $q\to\sqrt{2\epsilon}$, and the bound becomes exact:
# multiplicity is leverage.

# %%
quick, exact = pm.fast_bounds(near, cancer.X), near.ranges(cancer.X)
pd.DataFrame(
    {
        "mean width": [
            (quick.inner_high - quick.inner_low).mean(),
            exact.width.mean(),
            (quick.outer_high - quick.outer_low).mean(),
        ],
        "our patient, low": [quick.inner_low[patient], exact.low[patient], quick.outer_low[patient]],
        "our patient, high": [quick.inner_high[patient], exact.high[patient], quick.outer_high[patient]],
    },
    index=["inner bound (ray)", f"exact, proven to {exact.gap:.0e}", "outer bound (ball)"],
).style.format("{:.4f}")

# %% [markdown]
# ## One model for many people: an integer program
#
# Ranges belong to different models, so they can't be had all at once. Discrepancy asks for one model; each *flip*
# (a person moved by $\delta$, up or down) gets a binary variable $b_k$, tied to the score by
# $a_k^\top w\ge\theta_k-M_k(1-b_k)$, and the loss enters by tangent planes. Left like that, the linear relaxation is
# useless: half a flip is free. Three facts about the level set change that, and all are convex programs.
#
# 1. Exact ranges give the smallest valid $M_k$, and rule most flips out at once.
# 2. Two flips whose cheapest common model costs more than $T$ exclude one another. Cliques of such pairs are single
#    inequalities: at most one of thirteen, say.
# 3. A set of flips that the integer program proposes and the loss forbids is shrunk to a minimal impossible set, and
#    that is cut off, rather than the one solution.

# %%
unique, count = np.unique(cancer.X, axis=0, return_counts=True)
possible = flips.find_flips(near, unique, count / count.sum(), 0.1)
clash, _ = flips.conflicts(near, possible)
sets = flips.cliques(clash)
pd.Series(
    {
        "flips imaginable (people, up or down)": 2 * len(unique),
        "flips that some model makes": len(possible.b),
        "pairs that exclude one another": f"{clash.mean():.0%}",
        "cliques that cover these pairs": len(sets),
        "flips in the largest clique": max(map(len, sets)),
    },
    name=f"breastcancer, {tolerance:.1%}, delta 0.1",
).to_frame()

# %% [markdown]
# How pairs are proven impossible, without taking the solver's word for it:

# %%
Code(inspect.getsource(flips.impossible), language="python")

# %% [markdown]
# ## What sampling misses
#
# It is tempting to draw models from the level set, or to train again on bootstrap samples, and to call the spread the
# range. In ten dimensions almost all of the level set's volume lies far from the one model that is extreme for *this*
# person. Uniform draws make that visible.

# %% mystnb={"figure": {"caption": "Risk of one patient under models drawn uniformly from the level set (hit-and-run, histogram), and the exact range (lines, with the baseline dashed). Sampling sees the bulk; the ends are what the person may care about.", "name": "predictive-multiplicity-sampling"}, "image": {"alt": "A histogram of risks that occupies the middle of a wider interval marked by two vertical lines."}}
drawn = near.sample(cfg.n_drawn, chapter.rng("draws"))
risks = near.predict(cancer.X.iloc[[patient]], drawn)[:, 0]
chapter.numbers(
    "predictive-multiplicity-sampling",
    models_drawn=f"{risks.min():.2f} to {risks.max():.2f}",
    exact_range=f"{found.low[patient]:.2f} to {found.high[patient]:.2f}",
    share_of_the_range_that_was_seen=f"{np.ptp(risks) / found.width[patient]:.0%}",
)
fig, ax = plt.subplots(figsize=(7, 3.2), layout="constrained")
ax.hist(risks, bins=40, color="C0", alpha=0.7)
for end in (found.low[patient], found.high[patient]):
    ax.axvline(end, color="C3", linewidth=2)
ax.axvline(near.predict(cancer.X.iloc[[patient]])[0], color="black", linestyle="--")
ax.set(xlabel="risk of one patient", ylabel=f"models out of {cfg.n_drawn}", xlim=(0, 1))
plt.show()

# %% [markdown]
# ## Where it breaks
#
# **No edge.** The theory needs a bounded level set. Let a feature separate the classes and the best model lies at
# infinity; ranges become limits that no model reaches. The package decides this by linear programs, warns, and names
# the direction. A ridge in the constraint would hide it, and answer another question.

# %%
rng = chapter.rng("breaks")
rows = []
for margin in (1.0, 3.0, 8.0):
    z = np.repeat([0, 1], 40)
    features = np.column_stack([rng.normal(size=80) + margin * (2 * z - 1), rng.normal(size=80)])
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        broken = pm.LevelSet(features, z, epsilon=0.01)
        ends = broken.viable_range([[0.0, 0.0]])[0]
    rows.append((margin, broken.endless, len(heard), broken.loss0, *ends))
pd.DataFrame(
    rows, columns=["margin", "unbounded", "warnings", "baseline loss", "low at the origin", "high"]
).style.format(precision=4).hide()

# %% [markdown]
# **Another class of models.** A range speaks of *linear* models only. Let the truth have an interaction that the linear
# model can't see, and a competitor from outside, which fits better than all of them, gives risks outside the ranges.
# Narrow ranges are then no sign of agreement: they say that a wrong class agrees with itself.

# %% mystnb={"figure": {"caption": "Truth with an interaction of two binary features (4000 rows). Bars: viable ranges of the linear class at 1 % tolerance, for the four kinds of people; dots: a model with the interaction, whose loss is lower than that of every linear model. All four dots lie outside.", "name": "predictive-multiplicity-breaks"}, "image": {"alt": "Four short bars near one half and four dots far above or below them."}}
bits = rng.integers(0, 2, (4000, 2)).astype(float)
z = (rng.uniform(size=4000) < expit(3 * (bits[:, 0] != bits[:, 1]) - 1.5)).astype(int)
linear = pm.LevelSet(bits, z, epsilon=0.01, relative=True)
richer = pm.LogisticERM().fit(np.column_stack([bits, bits.prod(1)]), z)
kinds = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=float)
ends, outside = (
    linear.viable_range(kinds),
    richer.predict_proba(np.column_stack([kinds, kinds.prod(1)]))[:, 1],
)
fig, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
ax.vlines(range(4), *ends.T, color="C0", linewidth=8, label=f"linear class (loss {linear.loss0:.3f} at best)")
ax.plot(range(4), outside, "o", color="C3", label=f"with the interaction (loss {richer.loss_:.3f})")
ax.set_xticks(range(4), ["00", "01", "10", "11"])
ax.set(xlabel="the two features", ylabel="risk", ylim=(0, 1))
ax.legend(fontsize="small", loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
plt.show()

# %%
(outside < ends[:, 0]) | (outside > ends[:, 1])

# %% [markdown]
# ## Summary

# %%
chapter.summary()
