# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Unsupervised pretraining: is it true?
# The theorem of {cite:t}`ge2024provable`, measured in its own three models: each cost on axes where a rate is
# a slope, each advantage as a map with its border drawn in, and the condition broken on purpose.

# %% tags=["parameters"]
profile: str = "book"  # smoke | book | full
seed: int = 0  # any integer from 0; all randomness follows from it
reps = None  # type: Optional[int] replicates of the factor model; None takes what the profile says
d = None  # type: Optional[int] dimension of the factor model
strengths: list[float] = [2.0, 1.7, 1.4, 1.1]  # lengths of the columns of the loadings
m_grid = None  # type: Optional[list[int]] rows without labels of the factor model's map
n_grid = None  # type: Optional[list[int]] labelled rows of the factor model's map
K = None  # type: Optional[int] clusters of the mixture
separation = None  # type: Optional[float] scale of the mixture's centres
rho: float = 0.1  # share of flipped labels in the mixture
contrastive_steps = None  # type: Optional[int] Adam steps of the contrastive networks
digits_splits = None  # type: Optional[int] random splits of the digits
images: str = "digits"  # digits, or mnist (fetched once; then take digits_splits of 4 or fewer: memory)

# %% tags=["hide-input", "setup"]
try:
    import loglik  # noqa: F401
except ModuleNotFoundError:  # Colab, or a kernel without the package
    import sys

    from IPython import get_ipython

    flags = "--no-deps" if "google.colab" in sys.modules else ""
    packages = "git+https://github.com/OWNER/likelihood-reproduced@v0.1.0"
    get_ipython().run_line_magic("pip", f"install -q {flags} {packages}")
import numpy as np
import pandas as pd
import torch
from scipy.linalg import qr
from threadpoolctl import threadpool_limits

from loglik.chapter import Chapter
from loglik.information import unsupervised_pretraining as up
from loglik.information.unsupervised_pretraining import (
    analysis,
    factor,
    figures,
    identities,
    study_contrastive,
    study_digits,
    study_factor,
    study_mixture,
)
from loglik.stats.intervals import bootstrap, log_slope, mean

chapter = Chapter("information/unsupervised_pretraining/reproduction", profile=profile, seed=seed)
threadpool_limits(1)  # many small problems: threads would only wait for each other
torch.set_num_threads(1)

# %% tags=["hide-input"]
cfg = chapter.settings(
    smoke=dict(
        d=20, reps=10, m_grid=[128, 1024, 8192], n_grid=[32, 128, 512], logistic_reps=4, noise_reps=2, noise_ms=[4000, 16_000],
        K=4, separation=0.8, mixture_d=10, mixture_reps=4, mixture_ms=[100, 1000], mixture_ns=[20, 120],
        cost_ms=[500, 2000], test_rows=3000, n_mc=10_000, contrastive_d=12, contrastive_reps=3, contrastive_ms=[4000, 8000], contrastive_ns=[40, 160], contrastive_steps=60, network_ms=[1000], seeds=2,
        digits_splits=2, digits_ns=[20, 50, 300], digits_pairs=1000, digits_steps=20,
    ),
    book=dict(
        d=50, reps=400, m_grid=[2**k for k in range(5, 15)], n_grid=[2**k for k in range(4, 13)], logistic_reps=60,
        noise_reps=12, noise_ms=[1000, 4000, 16_000, 64_000], K=8, separation=0.6, mixture_d=30, mixture_reps=60,
        mixture_ms=[60, 125, 250, 500, 1000, 2000, 4000], mixture_ns=[20, 40, 60, 120, 240, 480, 960],
        cost_ms=[500, 1000, 2000, 4000, 8000, 16_000], test_rows=20_000, n_mc=200_000, contrastive_d=30,
        contrastive_reps=60, contrastive_ms=[500, 1000, 2000, 4000, 8000, 16_000],
        contrastive_ns=[40, 80, 160, 320, 640, 1280, 2560], contrastive_steps=2000, network_ms=[5000, 20_000], seeds=5, digits_splits=16, digits_ns=[20, 50, 100, 300], digits_pairs=10_000, digits_steps=500,
    ),
    full=dict(
        d=200, reps=1000, m_grid=[2**k for k in range(7, 17)], n_grid=[2**k for k in range(4, 15)],
        logistic_reps=400, noise_reps=100, noise_ms=[1000, 4000, 16_000, 64_000, 256_000], K=8, separation=0.6, mixture_d=30, mixture_reps=400,
        mixture_ms=[60, 125, 250, 500, 1000, 2000, 4000, 8000], mixture_ns=[20, 40, 60, 120, 240, 480, 960, 1920],
        cost_ms=[500, 1000, 2000, 4000, 8000, 16_000, 64_000], test_rows=100_000, n_mc=500_000, contrastive_d=30,
        contrastive_reps=400, contrastive_ms=[500, 1000, 2000, 4000, 8000, 16_000, 64_000],
        contrastive_ns=[40, 80, 160, 320, 640, 1280, 2560, 5120], contrastive_steps=5000,
        network_ms=[5000, 20_000, 100_000], seeds=20, digits_splits=50, digits_ns=[20, 50, 100, 300], digits_pairs=20_000, digits_steps=5000,
    ),
    d=d, reps=reps, m_grid=m_grid, n_grid=n_grid, K=K, separation=separation, contrastive_steps=contrastive_steps, digits_splits=digits_splits,
)  # fmt: skip
r = len(strengths)
over_reps = "95 % bootstrap over {} replicates".format

# %% [markdown]
# ## What the theorem says, and what can be compared
# Phase one fits a latent-variable model to $m$ rows without labels, phase two a head to $n$ rows with them
# ({doc}`method <method>`). With complexities $C_\Phi$ of the latent models, $C_\Psi$ of the heads and
# $C_{\Phi\circ\Psi}$ of both composed,
#
# $$
# \underbrace{\tilde O\Big(\kappa\sqrt{C_\Phi/m}+\sqrt{C_\Psi/n}\Big)}_{\text{pretrained}}
# \qquad\text{against}\qquad \underbrace{\tilde O\Big(\sqrt{C_{\Phi\circ\Psi}/n}\Big)}_{\text{supervised}} .
# $$ (unsupervised-pretraining-eq-bound)
#
# The proof has two lines. Maximum likelihood makes the fitted law of the *observed* rows close in total
# variation, at rate $\sqrt{C_\Phi/m}$; the informative condition carries that over to the joint law with the
# latent variable, at the price $\kappa$; a bounded loss turns it into risk, and the rest is empirical risk
# minimisation over heads. The constants in {eq}`unsupervised-pretraining-eq-bound` are absolute and not
# stated. So exponents, borders and the additive form can be compared, and the numbers in front cannot.
#
# We do more than compare exponents. In the three models the costs can be *derived* with their constants, and
# every figure shows the derived curve beside the measured points. All risks of the factor model and of linear
# contrastive learning are exact quadratic forms, not averages over test rows: the excess would drown in noise.

# %% [markdown]
# ## Factor models: C5
# $x=Bz+\mu$ in $d$ dimensions with $r=4$ factors, $y=\beta^\top z+\nu$. Phase one is closed form, phase two is
# least squares on $r$ posterior means; the supervised class is all linear functions of $x$. With $\lambda_i$
# the strengths of the factors, $\tilde\beta$ the target in their basis and
# $s^2=\varepsilon^2+\sum_i\tilde\beta_i^2/(1+\lambda_i)$,
#
# $$
# A(m)\approx\frac{d-r}{m}\sum_i\frac{\tilde\beta_i^2}{\lambda_i(1+\lambda_i)},\qquad
# \text{pretrained}\approx A+(s^2+A)\frac{r}{n-r-1},\qquad
# \text{least squares}=s^2\frac{d}{n-d-1}.
# $$ (unsupervised-pretraining-eq-factor)
#
# Second moments of normal rows are Wishart, so a replicate with any number of rows costs one triangular
# matrix; tests hold this against raw rows.

# %%
B, beta = up.simulate.orthonormal_loadings(cfg.d, strengths), np.ones(r) / np.sqrt(r)
law = study_factor.factor_law(B, beta, study_factor.EPS)
strong = factor.strong_enough(B)  # 8d/λ² of the weakest factor
grid, cost = study_factor.risk_grid(law, r, cfg.m_grid, cfg.n_grid, cfg.reps, chapter.rng("factor"), truth=B)
grid.groupby(["method", "m", "n"]).excess.agg(["mean", "sem"]).to_csv(chapter.output("factor_map.csv"))
sizes = [r + (cfg.d - r) * share // 8 for share in (2, 4, 8, 16)]
m_sizes = 8 * int(strong)
by_size = study_factor.cost_by_size(sizes, m_sizes, strengths, beta, cfg.reps, chapter.rng("sizes"))


def theory(m, n=100):
    return up.factor_theory(B, beta, study_factor.EPS, m, n)


irreducible = float(theory(1)["irreducible"])

# %% mystnb={"figure": {"caption": "Costs of the factor model with their derived curves. Left: the representation against m. Middle: the labels, on the true factors. Right: the representation against d−r, at one m. Bars: two standard errors over replicates, mostly smaller than their dots. Dotted: the slope −1/2 of the bound.", "name": "unsupervised-pretraining-factor"}, "image": {"alt": "Three log-log panels. In the first two the measured dots follow derived lines of slope minus one, well below the dotted line of slope minus one half; in the third they rise with slope one."}}
oracle = grid[grid.method == "true factors"]
per_size = sum(b**2 / (s**2 * (1 + s**2)) for b, s in zip(beta, strengths, strict=True)) / m_sizes
figures.cost_panels([
    figures.Panel("representation", "m", "rows without labels m", "cost A", cost, lambda m: theory(m)["spiked_cost"]),
    figures.Panel("labels", "n", "labelled rows n", "excess squared risk", oracle, lambda n: irreducible * r / (n - r - 1)),
    figures.Panel("dimension", "free", "d − r", "cost A", by_size.assign(free=by_size.d - r), lambda k: per_size * k, bound=None),
])  # fmt: skip

# %%
rng = chapter.rng("intervals")
A, ms = analysis.curve(cost, "m")
trusted = ms >= strong
slope_factor = log_slope(ms[trusted], A[:, trusted], rng)
chapter.claim(
    "C5a", measured=slope_factor.value, interval=slope_factor.interval, interval_from=over_reps(cfg.reps),
    note=f"m from {ms[trusted][0]:,.0f} to {ms[-1]:,.0f}",
)  # fmt: skip

# %%
found = analysis.ratio_to(A[:, trusted], theory(ms[trusted])["pretrain_cost"], rng)
worst = analysis.farthest(found)
chapter.claim(
    "C5b", measured=worst.value, interval=worst.interval, interval_from=over_reps(cfg.reps),
    evidence={"ratios": [e.value for e in found]},
)  # fmt: skip

# %%
paid, ns = analysis.curve(oracle, "n")
slope_labels = log_slope(ns - r - 1, paid, rng)
ols, _ = analysis.curve(grid[grid.method == "least squares"], "n")
enough = ns > cfg.d + 10
slope_ols = log_slope(ns[enough] - cfg.d - 1, ols[:, enough], rng)
chapter.claim(
    "C5c", measured=slope_labels.value, interval=slope_labels.interval, interval_from=over_reps(cfg.reps),
    evidence={"supervised": slope_ols.value},
    note=f"least squares: {slope_ols.value:.3f} [{slope_ols.low:.3f}, {slope_ols.high:.3f}]",
)  # fmt: skip

# %%
by_d, ds = analysis.curve(by_size, "d")
slope_d = log_slope(ds - r, by_d, rng)
chapter.claim("C5d", measured=slope_d.value, interval=slope_d.interval, interval_from=over_reps(cfg.reps))

# %% [markdown]
# ### Weak factors are lost: a phase transition
# The formula $A\propto1/m$ presumes that the factors are found at all. Below $m\approx d/\lambda^2$ the
# leading eigenvectors are noise, and pretraining learns nothing, whatever one does with the labels. The
# theory of spiked eigenvectors in large dimension {cite:p}`paul2007asymptotics` gives one curve for both
# sides, and we use that curve for all borders below.

# %%
weak, weak_ms = {"σ = 1": 1.0, "σ = 0.5": 0.5}, [200, 400, 800, 1600, 4000, 8000, 16_000]
phases, weak_theory = {}, {}
for name, sigma in weak.items():
    column = up.simulate.orthonormal_loadings(50, [sigma])
    weak_law = study_factor.factor_law(column, np.ones(1), study_factor.EPS)
    phases[name] = study_factor.risk_grid(weak_law, 1, weak_ms, [150], cfg.reps, chapter.rng(name))[1]
    weak_theory[name] = lambda m, L=column: up.factor_theory(L, [1.0], study_factor.EPS, m, 150)

# %% mystnb={"figure": {"caption": "Cost of learning one factor in 50 dimensions, through its phase transition. Solid: derived for large d; dotted: the formula 1/m; dashed: m = d/λ². Bars: two standard errors over replicates.", "name": "unsupervised-pretraining-phase"}, "image": {"alt": "On log axes the stronger factor's cost follows slope minus one. The weak factor's cost is flat up to the dashed line and joins the dotted line of slope minus one several times beyond it."}}
figures.phase_transition(
    phases,
    {k: lambda m, f=f: f(m)["spiked_cost"] for k, f in weak_theory.items()},
    {k: lambda m, f=f: f(m)["pretrain_cost"] for k, f in weak_theory.items()},
    {k: 50 / s**4 for k, s in weak.items()},
)

# %%
values, weak_m = analysis.curve(phases["σ = 0.5"], "m")
here = weak_theory["σ = 0.5"](weak_m)
held = bootstrap(values[:, :1] / float(here["saturation"]), lambda means: means[:, 0], rng)
chapter.claim(
    "C5e", measured=held.value, interval=held.interval, interval_from=over_reps(cfg.reps),
    evidence={
        "formula": float(here["pretrain_cost"][0] / values[:, 0].mean()),
        "far": float(values[:, -1].mean() / here["pretrain_cost"][-1]),
    },
)  # fmt: skip

# %% [markdown]
# ### A yes-or-no target
# The same representation with a logistic head, $P(y=1\mid z)=\sigma(\beta^\top z)$. The log-loss is exact
# here too (a one-dimensional integral), and the price of $p$ free coefficients is $p/(2n)$ nats. Beside the
# paper's kind of baseline, logistic regression on all of $x$, stands one with the $L_2$ penalty that is best
# in hindsight.

# %%
yes_no = study_factor.logistic_study(
    up.simulate.orthonormal_loadings(30, (2.0, 1.7, 1.4)), np.ones(3), 10_000, [200, 400, 800, 1600],
    cfg.logistic_reps, chapter.rng("logistic"),
)  # fmt: skip
wide = yes_no.groupby(["method", "n"]).excess.agg(["mean", "sem"])
(wide["mean"].map("{:.5f}".format) + " ± " + wide["sem"].map("{:.5f}".format)).unstack()

# %%
pretrained, logistic_ns = analysis.curve(yes_no[yes_no.method == "pretrained"], "n")
plain, _ = analysis.curve(yes_no[yes_no.method == "logistic regression"], "n")
last = bootstrap(pretrained[:, -1:] * 2 * logistic_ns[-1] / 3, lambda means: means[:, 0], rng)
chapter.claim(
    "C5f", measured=last.value, interval=last.interval, interval_from=over_reps(cfg.logistic_reps),
    evidence={"versus": pretrained.mean(0) / plain.mean(0)},
)  # fmt: skip

# %% [markdown]
# ## Gaussian mixtures: C6
# $K$ equally frequent clusters of unit normals, each with a binary label that is flipped with probability
# $\rho$. Phase one is EM, phase two a majority vote in each cluster. The two costs are of different kinds.
#
# - *Labels*: a cluster is named wrongly when most of its labels are flipped,
#   $(1-2\rho)\,E_N\big[\Pr(\text{wrong majority of }N)\big]$ with $N\sim\mathrm{Bin}(n,1/K)$. That is exponential in
#   $n/K$.
# - *Representation*: centres err by $N(0,I_x^{-1}/m)$ with $I_x$ the Fisher information of one row. That moves
#   the decision border, and risk grows with the *square* of the move:
#
# $$
# \text{excess 0–1 risk}\approx\frac am,\qquad
# a=(1-2\rho)\,E\big[g^\top I_x^{-1}g\mid\eta=\tfrac12\big]\,f_\eta(\tfrac12),\qquad g=\nabla_u\eta .
# $$ (unsupervised-pretraining-eq-mixture)
#
# Neither is the $\sqrt{\cdot}$ of the theorem. What does fall like $m^{-1/2}$ is the total variation between
# learnt and true responsibilities, the quantity that the proof goes through.

# %%
apart = study_mixture.make_mixture(20, 6, 0.7, rho, chapter.rng("apart"), cfg.test_rows)
apart_theory = up.gmm_theory(apart.centers, apart.labels, rho, chapter.rng("apart theory"), cfg.n_mc)
costs = study_mixture.representation_study(apart, cfg.cost_ms, cfg.mixture_reps, chapter.rng("apart fits"))
label_ns = [10, 20, 40, 60, 90, 120]
far_apart = study_mixture.make_mixture(20, 6, 1.4, rho, chapter.rng("far apart"), cfg.test_rows)
label_costs, overlapping = (
    study_mixture.label_study(which, label_ns, 25 * cfg.mixture_reps, chapter.rng("label costs"))
    for which in (far_apart, apart)
)
pd.Series(apart_theory).rename("derived").to_frame().T.round(3).assign(lost_runs=costs.lost.mean())

# %% mystnb={"figure": {"caption": "Costs of a mixture of six clusters in 20 dimensions. Left: 0–1 excess risk with the clusters' true labels, and the derived a/m. Middle: total variation of responsibilities. Right: labels alone, clusters twice as far apart, and the derived majority vote. Bars: two standard errors over replicates. Dotted: slope −1/2.", "name": "unsupervised-pretraining-mixture-costs"}, "image": {"alt": "Three log-log panels: the excess falls with slope minus one along the derived line; the total variation falls with slope minus one half along the dotted line; the label cost bends down exponentially along the derived curve."}}
figures.cost_panels([
    figures.Panel("representation", "m", "rows without labels m", "excess 0–1 risk", costs, lambda m: apart_theory["pretrain"] / m),
    figures.Panel("responsibilities", "m", "rows without labels m", "total variation", costs, value="tv"),
    figures.Panel("labels", "n", "labelled rows n", "excess 0–1 risk", label_costs, lambda n: up.gmm_label_cost(n.round(), 6, rho)),
])  # fmt: skip

# %%
risk, cost_ms = analysis.curve(costs, "m")
slope_mixture = log_slope(cost_ms, risk, rng)
over_fits = over_reps(cfg.mixture_reps)
chapter.claim("C6a", measured=slope_mixture.value, interval=slope_mixture.interval, interval_from=over_fits)

# %%
ratio = analysis.ratio_to(risk[:, -1:], apart_theory["pretrain"] / cost_ms[-1:], rng)[0]
chapter.claim("C6b", measured=ratio.value, interval=ratio.interval, interval_from=over_fits)

# %%
votes, vote_ns = analysis.curve(label_costs, "n")
derived = up.gmm_label_cost(vote_ns.astype(int), 6, rho)
pooled = bootstrap(votes, lambda means: means.sum(1) / derived.sum(), rng)
shape = votes.mean(0) / np.sqrt(6 / vote_ns)
with_overlap = analysis.curve(overlapping, "n")[0].mean(0).sum() / derived.sum()
chapter.claim(
    "C6c", measured=pooled.value, interval=pooled.interval, interval_from=over_reps(25 * cfg.mixture_reps),
    evidence={"steps": shape[1:] / np.maximum(shape[:-1], 1e-12)},
    note=f"clusters far apart, as derived; with the overlap of the other panels the ratio is {with_overlap:.2f}, "
    "because rows near a border vote in the wrong cluster",
)  # fmt: skip

# %%
errors, _ = analysis.curve(costs, "m", "parameter")
ratio = analysis.ratio_to(errors[:, -1:], apart_theory["parameter_separated"] / cost_ms[-1:], rng)[0]
limit = apart_theory["parameter"] / apart_theory["parameter_separated"]
chapter.claim(
    "C6d", measured=ratio.value, interval=ratio.interval, interval_from=over_fits,
    note=f"Fisher information with these overlaps predicts {limit:.2f}; {costs.lost.mean():.1%} of the runs lost a cluster",
)  # fmt: skip

# %% [markdown]
# ## Contrastive learning: C7
# Pairs $(x,x')$ with $P(t=1)=\sigma(f(x)^\top f(x'))$; phase one is logistic regression on inner products,
# phase two least squares on the learnt features. For linear features $f(x)=Wx$ the Fisher information of the
# part of $W$ outside its row space gives
#
# $$
# A(m)\approx\frac{d-r}{2m}\,\beta^\top H^{-1}\beta,\qquad H=E\big[\sigma'(f^\top f')\,ff^\top\big].
# $$ (unsupervised-pretraining-eq-contrastive)

# %%
W = study_contrastive.linear_features(cfg.contrastive_d, (1.5, 1.2, 1.0))
target = np.ones(3) / np.sqrt(3)
contrast, contrast_cost = study_contrastive.risk_grid(
    W, target, 1.0, cfg.contrastive_ms, cfg.contrastive_ns, cfg.contrastive_reps, chapter.rng("contrastive"),
    progress=lambda sizes: chapter.progress(sizes, "contrastive fits"),
)  # fmt: skip
constants = up.contrastive_theory(W, target, 1.0, 1.0, 100, cfg.n_mc, chapter.rng("curvature"))


def contrastive_risk(m, n):
    A = np.minimum(constants["pretrain_cost"] / m, constants["saturation"])
    return A + (1 + A) * 3 / (n - 4)


# %% mystnb={"figure": {"caption": "Linear contrastive learning with its derived curves. Left: the representation against the number of pairs. Right: the pretrained method at the largest m against n. Bars: two standard errors over replicates. Dotted: slope −1/2.", "name": "unsupervised-pretraining-contrastive"}, "image": {"alt": "Two log-log panels whose dots follow derived curves; the left one has slope minus one from four thousand pairs on, steeper than the dotted line."}}
at_most = contrast[(contrast.method == "pretrained") & (contrast.m == cfg.contrastive_ms[-1])]
figures.cost_panels([
    figures.Panel("representation", "m", "pairs m", "cost A", contrast_cost, lambda m: constants["pretrain_cost"] / m),
    figures.Panel("pretrained, largest m", "n", "labelled rows n", "excess squared risk", at_most, lambda n: contrastive_risk(cfg.contrastive_ms[-1], n)),
])  # fmt: skip

# %%
A_pairs, pair_ms = analysis.curve(contrast_cost, "m")
late = pair_ms >= 4000
found = analysis.ratio_to(A_pairs[:, late], constants["pretrain_cost"] / pair_ms[late], rng)
worst, over_pairs = analysis.farthest(found), over_reps(cfg.contrastive_reps)
chapter.claim(
    "C7a", measured=worst.value, interval=worst.interval, interval_from=over_pairs,
    evidence={"ratios": [e.value for e in found]},
)  # fmt: skip

# %%
slope_pairs = log_slope(pair_ms[late], A_pairs[:, late], rng)
chapter.claim("C7b", measured=slope_pairs.value, interval=slope_pairs.interval, interval_from=over_pairs)

# %% [markdown]
# ### Networks
# The same with networks: a teacher 20–8–3 makes the pairs, a student 20–32–3 learns them. The baseline is
# the student with one more layer, trained on the labels alone (early stopping and weight decay chosen on a
# held-out fifth). All seeds are trained side by side.

# %%
networks = study_contrastive.network_study(
    study_contrastive.Teacher(chapter.rng("teacher")), cfg.network_ms, [100, 400], cfg.seeds, chapter.rng("networks"),
    steps=cfg.contrastive_steps, supervised_steps=min(1000, cfg.contrastive_steps),
    device=str(chapter.device), progress=lambda steps: chapter.progress(steps, "steps"),
)  # fmt: skip

# %% mystnb={"figure": {"caption": "Excess risk of networks. Dots: seeds; strokes: their means.", "name": "unsupervised-pretraining-networks"}, "image": {"alt": "On a log axis the network pretrained on twenty thousand pairs lies an order of magnitude left of the network trained on labels alone and of ridge regression; true features lie farthest left."}}
figures.network_bars(networks)

# %%
few = networks[networks.n == 100].set_index(["method", "m"])
ours = few.loc[("pretrained", cfg.network_ms[-1])].excess.to_numpy()
alone, ridge = (few.loc[(name, 0)].excess.to_numpy() for name in (study_contrastive.JOINT, "ridge"))
ratio = bootstrap(np.column_stack([ours, alone]), lambda means: means[:, 0] / means[:, 1], rng)
chapter.claim(
    "C7c", measured=ratio.value, interval=ratio.interval, interval_from=f"95 % bootstrap over {cfg.seeds} seeds",
    evidence={"share": float((ours / alone < 0.25).mean())},
    note=f"over ridge regression, the better supervised method here: {ours.mean() / ridge.mean():.3f}",
)  # fmt: skip

# %% [markdown]
# ## Where pretraining wins: C3
# The promise of the theorem is a region: pretraining wins when $m\gg n$ and the composed class is much
# richer than the head. Each map below has two predicted borders. The **theorem's** sets the two sides of
# {eq}`unsupervised-pretraining-eq-bound` equal with all constants 1, which gives the line
# $m=n\,C_\Phi/(\sqrt{C_{\Phi\circ\Psi}}-\sqrt{C_\Psi})^2$. The **derived** one sets the derived risks equal.
# The supervised side is least squares for the factor model and for linear contrastive learning, then, for the
# factor model again, ridge regression with the penalty that is best in hindsight, and the best of *four*
# methods for the mixture: joint empirical risk minimisation over centres and labels (the theorem's
# baseline), mixture discriminant analysis, EM on $(x,y)$ together, and logistic regression with the penalty
# that is best in hindsight. The mixture's derived border compares $a/m$ with the same constant for a fit to
# labelled rows.

# %%
clusters = study_mixture.make_mixture(
    cfg.mixture_d, cfg.K, cfg.separation, rho, chapter.rng("clusters"), cfg.test_rows
)
cluster_theory = up.gmm_theory(
    clusters.centers, clusters.labels, rho, chapter.rng("cluster theory"), cfg.n_mc
)
mixture = study_mixture.risk_grid(
    clusters, cfg.mixture_ms, cfg.mixture_ns, cfg.mixture_reps, chapter.rng("mixture"),
    progress=lambda sizes: chapter.progress(sizes, "mixtures"),
)  # fmt: skip
mixture.groupby(["method", "m", "n"]).excess.agg(["mean", "sem"]).to_csv(chapter.output("mixture_map.csv"))

# %%
cd, Kd = cfg.contrastive_d, cfg.K * cfg.mixture_d
supervised = {
    "factor": lambda n: irreducible * cfg.d / np.maximum(n - cfg.d - 1, 1e-9),
    "contrastive": lambda n: cd / np.maximum(n - cd - 1, 1e-9),
}
borders = {
    "factor": {
        "derived": lambda n: up.win_border(
            lambda m, k: theory(m, k)["spiked_total"], supervised["factor"], n
        ),
        "theorem's": lambda n: up.theorem_border(cfg.d * r, r, cfg.d, n),
    },
    "mixture": {
        "derived": lambda n: n * cluster_theory["pretrain"] / cluster_theory["supervised"],
        "theorem's": lambda n: up.theorem_border(Kd, cfg.K, Kd, n),
    },
    "contrastive": {
        "derived": lambda n: up.win_border(contrastive_risk, supervised["contrastive"], n),
        "theorem's": lambda n: up.theorem_border(3 * cd, 3, cd, n),
    },
}
maps = {
    "factor": analysis.gaps(grid, ["least squares"]),
    "mixture": analysis.against_best(mixture, study_mixture.SUPERVISED),
    "contrastive": analysis.gaps(contrast, ["least squares"]),
}
versus_ridge = analysis.gaps(grid, ["ridge"])

# %% mystnb={"figure": {"caption": "Excess risk of pretraining over that of supervised learning; blue: pretraining wins. Solid: the derived border; dashed: the theorem's with all constants 1. The ridge panel repeats the border of least squares. Black dots: undecided cells, whose paired 95 % interval over replicates holds 0. Ratios beyond 64 are drawn as 64.", "name": "unsupervised-pretraining-maps"}, "image": {"alt": "Four colour maps of m against n. Blue fills the upper left, red the lower right. Against least squares and for the mixture the change of colour follows the solid border; against ridge it also bends to the left at about a hundred rows. The dashed border lies above the solid one."}}
figures.win_maps([
    ("factor model, least squares", maps["factor"], borders["factor"]),
    ("factor model, ridge", versus_ridge, borders["factor"]),
    ("contrastive, least squares", maps["contrastive"], borders["contrastive"]),
    ("mixture, best of four", maps["mixture"], borders["mixture"]),
])  # fmt: skip

# %%
regular = maps["factor"][maps["factor"].n > cfg.d + 1]
sides = analysis.border_share(regular, borders["factor"]["derived"], rng)


def judged(sides):
    wrong = ", ".join(f"({m:,.0f}, {n:,.0f})" for m, n in sides.wrong[:6]) or "none"
    return dict(
        measured=sides.share.value, interval=sides.share.interval, interval_from="95 % bootstrap over decided cells",
        note=f"{sides.decided} decided cells; on the wrong side: {wrong}{' …' if len(sides.wrong) > 6 else ''}",
    )  # fmt: skip


chapter.claim("C3a", **judged(sides))

# %%
sides = analysis.border_share(regular, borders["factor"]["theorem's"], rng)
beyond = regular[regular.m > borders["factor"]["theorem's"](regular.n.to_numpy())]
safe = (beyond.difference < 0).mean()
chapter.claim(
    "C3b",
    **(
        judged(sides)
        | {"note": f"above its line pretraining wins in {safe:.0%} of the cells; it wins in many below too"}
    ),
)

# %% [markdown]
# Least squares is a weak opponent when $n$ is not much above $d$. Ridge regression is a stronger one, and here
# its penalty is the best in hindsight at each $n$, by true risk: better than anybody could do in practice.

# %%
ours, grid_ms, grid_ns = analysis.cells(grid, "pretrained")
ridge = analysis.cells(grid, "ridge")[0][:, 0]
chosen = [
    (i, j)
    for i, m in enumerate(grid_ms)
    for j, n in enumerate(grid_ns)
    if n <= 10 * r and m >= max(64 * n, strong)
]
found = [
    bootstrap(np.column_stack([ours[:, i, j], ridge[:, j]]), lambda means: means[:, 0] / means[:, 1], rng)
    for i, j in chosen
]
worst = max(found, key=lambda e: e.value)
chapter.claim(
    "C3c", measured=worst.value, interval=worst.interval, interval_from=over_reps(cfg.reps),
    evidence={"uppers": [e.high for e in found]},
)  # fmt: skip

# %% mystnb={"figure": {"caption": "Excess 0–1 risk on the mixture of the maps. Solid: pretraining at several m; dashed: supervised methods; black: what labels alone cost, derived. Bars: two standard errors over replicates.", "name": "unsupervised-pretraining-mixture-methods"}, "image": {"alt": "On log axes the pretrained curves fall with the label cost until they flatten at a level that depends on m. Supervised curves start higher; EM on labelled rows and discriminant analysis come down at several hundred labels, joint risk minimisation and logistic regression hardly at all."}}
figures.mixture_methods(mixture, cfg.mixture_ms[1::2], lambda n: up.gmm_label_cost(n.astype(int), cfg.K, rho))


# %%
def smallest_z(baselines, largest_n=np.inf):
    rows = analysis.gaps(mixture, baselines)
    rows = rows[(rows.m >= 1000) & (rows.n <= largest_n)]
    low = rows.loc[rows.z.idxmin()]
    return dict(measured=low.z, note=f"closest: m = {low.m:,.0f}, n = {low.n:,.0f}, against {low.baseline}")


chapter.claim("C3d", **smallest_z(["joint ERM", "logistic, L2"]))

# %%
chapter.claim("C3e", **smallest_z(["mixture discriminant"], 120))

# %%
chapter.claim("C3f", **judged(analysis.border_share(maps["mixture"], borders["mixture"]["derived"], rng)))

# %%
chapter.claim(
    "C3g", **judged(analysis.border_share(maps["contrastive"], borders["contrastive"]["derived"], rng))
)

# %% [markdown]
# Contrastive learning sits at the criterion's edge: over five seeds the share was 0.949 or 0.974 where 0.95 is asked
# for, and C3g passed in two.
#
# ## Supervised learning alone: C2
# The right-hand side of {eq}`unsupervised-pretraining-eq-bound`. For least squares it is an exact formula,
# far below the bound and with slope −1. Joint risk minimisation on the mixture is another matter: its
# loss has many local minima, and it stays far above what the labels could buy.

# %%
enough = grid_ns > cfg.d + 10
ols = analysis.cells(grid, "least squares")[0][:, 0, enough]


def exact(values, sizes, dimension, noise):
    ratios = values / (noise * dimension / (sizes - dimension - 1))
    shape = values.mean(0) / np.sqrt(dimension / sizes)
    pooled = bootstrap(ratios, lambda means: means.mean(1), rng)
    return dict(
        measured=pooled.value, interval=pooled.interval, evidence={"edge": shape[0], "others": shape[1:]}
    )


chapter.claim("C2a", **exact(ols, grid_ns[enough], cfg.d, irreducible), interval_from=over_reps(cfg.reps))

# %%
joint, _, joint_ns = analysis.cells(mixture, "joint ERM")
scaled = joint[:, 0] / np.sqrt(Kd / joint_ns)
largest = bootstrap(scaled, lambda means: means.max(1), rng)
slope_joint = log_slope(joint_ns, joint[:, 0], rng)
chapter.claim(
    "C2b", measured=largest.value, interval=largest.interval, interval_from=over_fits,
    evidence={"slope_high": slope_joint.high},
    note=f"slope of the excess in n: {slope_joint.value:.2f} [{slope_joint.low:.2f}, {slope_joint.high:.2f}]; −1/2 is not reached",
)  # fmt: skip

# %%
linear, _, linear_ns = analysis.cells(contrast, "least squares")
ok = linear_ns > cd + 10
chapter.claim("C2c", **exact(linear[:, 0, ok], linear_ns[ok], cd, 1.0), interval_from=over_pairs)

# %% [markdown]
# ## The bound itself: C1
# A bound with an unknown constant is checked by fitting that constant where it is largest, on the cells with
# the smallest $m$ or $n$, and seeing whether any other cell crosses it. It is not crossed, and more than that:
# the ratio falls along both axes, because the true rates are faster than the theorem's.

# %%
weakest = min(strengths)
bounds = {
    "factor model": lambda m, n: up.bound_shape(cfg.d * r, r, m, n, kappa=np.sqrt(1 + weakest**2) / weakest),
    "mixture": lambda m, n: up.bound_shape(Kd, cfg.K, m, n, kappa=cluster_theory["kappa"]),
    "contrastive": lambda m, n: up.bound_shape(3 * cd, 3, m, n),
}
tables = {"factor model": grid, "mixture": mixture, "contrastive": contrast}
checks = {name: analysis.check_bound(tables[name], bounds[name], rng) for name in tables}

# %% mystnb={"figure": {"caption": "Mean excess risk over the theorem's bound without its constant, along the upper and the right edge of each map. A rate of −1/2 would be flat.", "name": "unsupervised-pretraining-bound"}, "image": {"alt": "Two log-log panels; all curves fall from left to right, in both m and n."}}
figures.bound_ratios({
    name: (check.ratios, *analysis.cells(tables[name], "pretrained")[1:]) for name, check in checks.items()
})  # fmt: skip


# %%
def judged_bound(check, reps):
    return dict(
        measured=check.largest.value, interval=check.largest.interval, interval_from=over_reps(reps),
        evidence={
            "edge": check.edge, "others": check.others,
            "slope_m_high": check.slope_m.high, "slope_n_high": check.slope_n.high,
        },
        note=f"median ratio {check.median:.2g}; slopes of the ratio {check.slope_m.value:.2f} in m, {check.slope_n.value:.2f} in n",
    )  # fmt: skip


chapter.claim("C1a", **judged_bound(checks["factor model"], cfg.reps))

# %%
chapter.claim("C1b", **judged_bound(checks["mixture"], cfg.mixture_reps))

# %%
chapter.claim("C1c", **judged_bound(checks["contrastive"], cfg.contrastive_reps))

# %%
valid = grid_ms >= strong
wanted = theory(grid_ms[valid][:, None], grid_ns)["total"]
found = analysis.ratio_to(ours[:, valid].reshape(len(ours), -1), wanted.ravel(), rng)
worst = analysis.farthest(found)
chapter.claim(
    "C1d", measured=worst.value, interval=worst.interval, interval_from=over_reps(cfg.reps),
    evidence={"ratios": [e.value for e in found]},
)  # fmt: skip

# %% [markdown]
# ## The informative condition: C4
# κ compares two distances between models: with the latent variable seen, and without. For a factor model in
# Hellinger distance, turning the weakest column $\sigma$ into a new direction gives
# $\kappa=\sqrt{1+\sigma^2}/\sigma$, which blows up as the factor fades. The same strength decides what
# pretraining costs: $A\propto1/(\lambda(1+\lambda))$.

# %%
sigmas = np.array([0.05, 0.1, 0.25, 0.5, 1.0, 2.0])
step = np.zeros((10, 2))
step[2, 1] = 0.01
pairs = [np.eye(10)[:, :2] * [2.0, sigma] for sigma in sigmas]
kappas = np.array([up.informative_constant(pair + step, pair) for pair in pairs])
lambdas = [0.25, 0.5, 1.0, 2.0, 4.0, 8.0]
by_strength = study_factor.cost_by_strength(lambdas, 30, 40_000, cfg.reps, chapter.rng("strengths"))

# %% mystnb={"figure": {"caption": "Left: the informative constant of a factor model against its weakest loading. Right: cost of learning one factor (30 dimensions, 40 000 rows) against 1/(λ(1+λ)). Bars: two standard errors over replicates.", "name": "unsupervised-pretraining-kappa"}, "image": {"alt": "Left: dots on the curve from twenty at weak loadings down to one. Right: dots on a straight line of slope one on log axes."}}
figures.informative(sigmas, kappas, by_strength, lambda lam: 29 / 40_000 / (lam * (1 + lam)))

# %%
ratios = kappas / (np.sqrt(1 + sigmas**2) / sigmas)
chapter.claim("C4a", measured=ratios[np.abs(ratios - 1).argmax()], evidence={"ratios": ratios})

# %%
changes = identities.prediction_changes(chapter.rng("group"))
chapter.claim(
    "C4b",
    measured=max(changes.values()),
    note=", ".join(f"{name} {change:.0e}" for name, change in changes.items()),
)

# %%
values, at = analysis.curve(by_strength, "strength")
slope = log_slope(1 / (at * (1 + at)), values, rng)
chapter.claim("C4c", measured=slope.value, interval=slope.interval, interval_from=over_reps(cfg.reps))

# %% [markdown]
# ### Breaking it
# Three controls in which the theorem promises nothing. *Signal outside*: $y$ also depends on a direction
# $\gamma$ that no factor touches. *One factor too few*: phase one fits $r-1$. *Wrong noise*: the noise
# variances of the columns differ by a factor of 50, but phase one believes that they are equal; the repair is
# scikit-learn's factor analysis, started at the classical noise variances (from its default start it stops
# near a saddle point). All in 30 dimensions.

# %%
control_ns, control_m, control_d = [60, 80, 100, 150, 200, 400, 800, 1600, 3200], 16_000, 30
loadings = up.simulate.orthonormal_loadings(control_d, strengths)
gamma = 0.5 * np.eye(control_d)[r]
broken = study_factor.factor_law(loadings, beta, study_factor.EPS, gamma=gamma)
kept = study_factor.factor_law(loadings, beta, study_factor.EPS)
outside = study_factor.risk_grid(broken, r, [control_m], control_ns, cfg.reps, chapter.rng("outside"))[0]
too_few = study_factor.risk_grid(kept, r - 1, [control_m], control_ns, cfg.reps, chapter.rng("too few"))[0]
turned = qr(chapter.rng("turn").normal(size=(control_d, r)), mode="economic")[0] * strengths
psi = chapter.rng("psi").permutation(np.geomspace(0.2, 10, control_d))
noise = study_factor.noise_model_study(turned, psi, beta, cfg.noise_ms, cfg.noise_reps, chapter.rng("noise"))
dropped = float(beta[-1] ** 2 * weakest**2 / (1 + weakest**2))

# %% mystnb={"figure": {"caption": "Three ways to break the informative condition. Dashed: the floor that the derivation predicts. Bars: two standard errors over replicates.", "name": "unsupervised-pretraining-controls"}, "image": {"alt": "Three log-log panels. In the first two the pretrained curve flattens at a dashed floor and least squares crosses below it. In the third the unit-noise model's cost is flat in m while factor analysis falls."}}
figures.controls(outside, 0.25, too_few, dropped, noise)

# %%
floor, control = analysis.curve(outside[outside.method == "pretrained"], "n")
ratio = bootstrap(floor[:, -1:] / 0.25, lambda means: means[:, 0], rng)
chapter.claim("C4d", measured=ratio.value, interval=ratio.interval, interval_from=over_reps(cfg.reps))

# %%
rival, _ = analysis.curve(outside[outside.method == "least squares"], "n")
crossed = analysis.crossing(control, floor, rival, rng)
chapter.claim("C4e", measured=crossed.value, interval=crossed.interval, interval_from=over_reps(cfg.reps))

# %%
floor, _ = analysis.curve(too_few[too_few.method == "pretrained"], "n")
ratio = bootstrap(floor[:, -1:] / dropped, lambda means: means[:, 0], rng)
chapter.claim("C4f", measured=ratio.value, interval=ratio.interval, interval_from=over_reps(cfg.reps))

# %%
unit, noise_ms = analysis.curve(noise[noise.method != "factor analysis"], "m")
repaired, _ = analysis.curve(noise[noise.method == "factor analysis"], "m")
ratio = bootstrap(
    np.column_stack([repaired[:, -1], unit[:, -1]]), lambda means: means[:, 0] / means[:, 1], rng
)
chapter.claim(
    "C4g", measured=ratio.value, interval=ratio.interval, interval_from=over_reps(cfg.noise_reps),
    evidence={"fall": float(unit[:, -1].mean() / unit[:, -2].mean())},
)  # fmt: skip

# %% [markdown]
# A mixture breaks it by degrees. As centres move together (by the factor *scale*), κ grows and $m=1000$ rows
# leave a wider gap to the true centres.

# %%
gaps, kappa = {}, {}
for scale in (cfg.separation, 0.75 * cfg.separation, 0.5 * cfg.separation):
    closer = study_mixture.make_mixture(
        cfg.mixture_d, cfg.K, scale, rho, chapter.rng("clusters"), cfg.test_rows
    )
    gaps[scale] = study_mixture.representation_study(closer, [1000], cfg.mixture_reps, chapter.rng("overlap"))
    kappa[scale] = up.local_informative_constant(closer.centers, chapter.rng("kappa"), cfg.n_mc)
pd.DataFrame({"κ": kappa, "gap at m = 1000": {k: t.excess.mean() for k, t in gaps.items()}}).rename_axis(
    "scale"
).round(4)

# %%
tight, loose = (gaps[scale].excess.to_numpy() for scale in (min(gaps), max(gaps)))
wider, growth = mean(tight - loose), np.array(list(kappa.values()))
chapter.claim(
    "C4h", measured=wider.value, interval=wider.interval, interval_from=f"95 % t interval over {cfg.mixture_reps} replicates",
    evidence={"growth": growth[1:] / growth[:-1]},
)  # fmt: skip

# %% [markdown]
# ## Fast rates: C8
# The theorem bounds risk by a *distance* between representations, $\kappa\sqrt{C_\Phi/m}$. Near the optimum,
# risk is quadratic in that distance. So the bound holds, the slope in all three models is −1, and a slope of −1/2
# is what one finds for the distance itself.

# %%
distance = study_factor.representation_distance(
    B, [int(m) for m in ms[trusted]], min(cfg.reps, 40), chapter.rng("distance")
)
hellinger, far_ms = analysis.curve(distance, "m", "joint")
slopes = [log_slope(far_ms, hellinger, rng), log_slope(cost_ms, analysis.curve(costs, "m", "tv")[0], rng)]
fast = {"factor model": slope_factor, "mixture": slope_mixture, "contrastive": slope_pairs}
slowest = max(fast.values(), key=lambda e: e.value)
pd.DataFrame(
    fast | {"Hellinger, factors": slopes[0], "total variation, mixture": slopes[1]}, index=slopes[0]._fields
).T.round(3)

# %%
chapter.claim(
    "C8a", measured=slowest.value, interval=slowest.interval, interval_from="95 % bootstrap over replicates",
    evidence={"uppers": [e.high for e in fast.values()]},
)  # fmt: skip

# %%
worst = analysis.farthest(slopes, -0.5)
chapter.claim(
    "C8b", measured=worst.value, interval=worst.interval, interval_from="95 % bootstrap over replicates",
    evidence={"slopes": [e.value for e in slopes]},
)  # fmt: skip

# %% [markdown]
# ## Real images: C9
# Digits: 500 test images, all others without labels, $n$ of them with. Here nothing is a mixture of unit
# normals, so the mixtures have one common covariance, after 20 principal components; contrastive pairs are
# two slightly moved copies of one image, or two images. Every penalty and width is the best in hindsight,
# which favours the methods that have more to choose: the supervised ones.

# %%
pictures = up.load_images(images)
digits = study_digits.digits_study(
    pictures, cfg.digits_ns, cfg.digits_splits, chapter.rng("digits"), pairs=cfg.digits_pairs, steps=cfg.digits_steps,
    progress=lambda splits: chapter.progress(splits, "splits"),
)  # fmt: skip
digits.to_csv(chapter.output("digits.csv"), index=False)

# %% mystnb={"figure": {"caption": "Test accuracy on digits. Bars: two standard errors over random splits, which share images. Solid: pretrained; dashed: supervised.", "name": "unsupervised-pretraining-digits"}, "image": {"alt": "Accuracy against the number of labels. Mixtures lead at twenty and fifty labels; at three hundred, support vectors and nearest neighbours are clearly above them. Factors and contrastive features stay below."}}
figures.accuracy_curves(digits)


# %%
def against(baselines, n):
    part = digits[digits.n == n].pivot_table(index="split", columns="method", values="accuracy")
    best = part[list(baselines)].mean().idxmax()
    gap = part[study_digits.MIXTURE] - part[best]
    found = mean(gap)
    return dict(
        measured=found.value, interval=found.interval, interval_from=f"95 % t interval over {cfg.digits_splits} splits of this data set",
        evidence={"wins": float((gap > 0).mean())}, note=f"against {best}; ahead on {(gap > 0).mean():.0%} of the splits",
    )  # fmt: skip


chapter.claim("C9a", **against([study_digits.LOGISTIC], 50))

# %%
chapter.claim("C9b", **against([study_digits.LOGISTIC], 300))

# %%
chapter.claim("C9c", **against(study_digits.SUPERVISED, 50))

# %% [markdown]
# ## What stands
# The theorem's picture is right: two costs that add, one falling with $m$ and one with $n$, a condition that
# decides everything, and a wide region in which pretraining wins. Its rates are not those of its three models,
# which are parametric and fast. Its border with constants 1 is safe and careful: in the factor model pretraining
# wins with some 25 times fewer rows than that. And a weak baseline makes the gain look larger than it is. Against
# ridge regression tuned in hindsight it shrinks at few labels from a factor of up to 64 to single digits, and
# disappears where there are too few rows to find the factors; against EM that uses the labels the border lies
# where there are about as many labelled rows as rows without.

# %%
chapter.summary()
