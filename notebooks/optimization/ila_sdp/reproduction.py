# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # iLA-SDP: is it true?
#
# Every claim of {cite:t}`zhuang2023likelihood`, measured: what is exact, when the programme recovers the labels,
# and whether iterating it beats EM, K-means and their kin. The paper's own tables could not be sourced; the
# designs are ours and every rival gets the same data, scaling and ridge.

# %% tags=["parameters"]
profile: str = "book"  # smoke | book | full
seed: int = 0  # any integer from 0; all randomness follows from it
n_seeds = None  # type: Optional[int] data sets of the two main designs; None takes the profile's
n_other = None  # type: Optional[int] data sets of the other designs
recovery_grid = None  # type: Optional[list[float]] separations of the recovery curves, in thresholds
recovery_sets = None  # type: Optional[int] data sets of the recovery curves
reg: float = 0.1  # ridge of all covariances, EM's too (noise has variance one)
max_outer: int = 8  # rounds of the iteration at most
admm_iter = None  # type: Optional[int] solver iterations a round at most
device: str = "cpu"  # cpu or cuda, for the largest solve
n_jobs: int = 1  # processes for the grid; results don't depend on it

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
from scipy.stats import binomtest

from loglik.chapter import Chapter
from loglik.optimization.ila_sdp import figures, study, study_data, study_theory
from loglik.optimization.ila_sdp.study import EM, EM_SAME, EM_TEN, ILA, ORACLE, RIVALS, SDP, SOFT, Design
from loglik.stats import intervals

chapter = Chapter("optimization/ila_sdp/reproduction", profile=profile, seed=seed)

# %% tags=["hide-input"]
MAIN = [Design(80, 4, 12, 7, 4), Design(80, 4, 10, 6, 3)]
OTHER = [Design(80, 4, 4, 7, 4), Design(60, 3, 3, 7, 4), Design(60, 3, 6, 7, 4), Design(60, 3, 12, 7, 4)]
FULL = [Design(400, 4, p, 7, 4) for p in (4, 12, 40)] + [Design(300, 3, p, 7, 4) for p in (3, 12, 36)]
TINY = [Design(24, 3, 6, 7, 4), Design(24, 3, 4, 6, 3)]
cfg = chapter.settings(
    smoke=dict(
        main=TINY, other=[Design(24, 3, 3, 7, 4), Design(24, 2, 2, 7, 4), Design(24, 2, 4, 7, 4)], n_seeds=2,
        n_other=2, admm_iter=40, small_n=8, n_small=4, adversarial=(30, 4, 2), recovery_ns=[20, 30],
        recovery_grid=[0.5, 1.2], recovery_sets=4, starts=(2, 2), lengths=[10, 40], n_effort=2, names=["iris"],
        real_rows=36, n_real=2, scaling_ns=[30, 50], n_scaling=2, n_warm=2,
    ),
    book=dict(
        main=MAIN, other=OTHER, n_seeds=20, n_other=12, admm_iter=150, small_n=12, n_small=24,
        adversarial=(60, 40, 4), recovery_ns=[30, 60, 100], recovery_grid=[0.5, 0.65, 0.8, 0.9, 1.0, 1.2],
        recovery_sets=24, starts=(8, 4), lengths=[10, 20, 30, 60], n_effort=8,
        names=["iris", "wine", "breast cancer"], real_rows=90, n_real=5, scaling_ns=[64, 128, 256, 512],
        n_scaling=3, n_warm=6,
    ),
    full=dict(
        main=MAIN, other=OTHER + FULL, n_seeds=100, n_other=100, admm_iter=500, small_n=14, n_small=200,
        adversarial=(120, 200, 20), recovery_ns=[60, 120, 240, 480],
        recovery_grid=[0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0, 1.1, 1.2], recovery_sets=100, starts=(20, 10),
        lengths=[10, 20, 30, 40, 60, 100, 200], n_effort=60, names=["iris", "wine", "breast cancer"],
        real_rows=90, n_real=40, scaling_ns=[100, 200, 400, 800, 1600], n_scaling=3, n_warm=20,
    ),
    n_seeds=n_seeds, n_other=n_other, recovery_grid=recovery_grid, recovery_sets=recovery_sets, admm_iter=admm_iter,
)  # fmt: skip
effort = study.Effort(reg=reg, max_outer=max_outer, solver_iter=cfg.admm_iter)
rng = chapter.rng("bootstrap")

# %% [markdown]
# ## What is exact: C1, C2, C9
# The lifted objective against the textbook likelihood with centroids, for random labels and covariances.

# %%
gaps = study_theory.identity_study(200, seed=chapter.entropy("identity"))
chapter.claim("C1a", measured=gaps.max(), evidence={"median": float(np.median(gaps))})

# %% [markdown]
# On data small enough to try every labelling, the programme's lower bound must lie below the best one, and a
# labelling that the solver certifies must *be* the best one. Two heterogeneous clusters with random centres,
# some overlapping.

# %%
small = study_theory.relaxation_study(cfg.small_n, cfg.n_small, seed=chapter.entropy("relaxation"))
certified = small[small["certified"]]
found = binomtest(int(small["same"].sum()), len(small)).proportion_ci(method="exact")
chapter.claim(
    "C1b",
    measured=small["same"].mean(),
    interval=(found.low, found.high),
    interval_from=f"95 % Clopper-Pearson over {len(small)} data sets",
    evidence={
        "excess": ((small["bound"] - small["best"]) / small["scale"]).tolist(),
        "certified_gaps": [0.0, *((certified["rounded"] - certified["best"]).abs() / certified["scale"])],
        "certified_share": len(certified) / len(small),
    },
    note=f"certified: {len(certified)} of {len(small)}; rounding optimal in {small['same'].sum()}",
)

# %%
moved = study_theory.invariance_study(cfg.n_small, seed=chapter.entropy("invariance"))
chapter.claim(
    "C2", measured=moved["excess"].max(), evidence={"labels_changed": int(moved["labels_changed"].sum())}
)

# %% [markdown]
# With equal covariances the programme is Peng and Wei's, and any split of its solution over the clusters costs
# the same: the masses then say nothing, and labels must come from eigenvectors.

# %%
equal = study_theory.equal_study(max(2, cfg.n_small // 2), seed=chapter.entropy("equal"))
chapter.claim(
    "C9",
    measured=equal["difference"].max(),
    evidence={
        "even_split_cost": equal["even_cost"].max(),
        "even_split_spread": equal["even_spread"].max(),
    },
)

# %% [markdown]
# ## Adversarial centroids: C3
# Three isotropic clusters at 0, 6 and 60. A start with two centroids in the far cluster is a local maximum that
# EM, told that the clusters are isotropic, does not leave. The programmes have no start; iLA-SDP begins at plain
# SDP's labels.

# %%
n, n_sets, n_starts = cfg.adversarial
trapped = study.adversarial_study(n, n_sets, n_starts, seed=chapter.entropy("adversarial"))

# %% mystnb={"figure": {"caption": "Share of runs that fail. EM and Lloyd: random starts. Bars: 95 % intervals over data sets.", "name": "ila-sdp-adversarial"}, "image": {"alt": "Horizontal bars: EM fails in a large share of runs, Lloyd in some, the three semidefinite programmes in none."}}
figures.failures(trapped)

# %%
fails = trapped.assign(fails=(trapped["error"] > study.FAILURE).astype(float))
by_set = fails[fails["method"] == "EM, isotropic"].groupby("set")["fails"].mean()
em_rate = intervals.bootstrap(by_set.to_numpy()[:, None], lambda means: means[:, 0], rng)
chapter.claim(
    "C3a",
    measured=em_rate.value,
    interval=em_rate.interval,
    interval_from=f"95 % bootstrap over {n_sets} data sets of {n_starts} starts each",
    note=f"EM with full covariances: {fails[fails['method'] == 'EM, full']['fails'].mean():.0%}; "
    f"Lloyd: {fails[fails['method'] == 'Lloyd']['fails'].mean():.0%}",
)

# %%
programmes = fails[fails["method"].isin([SDP, ORACLE, ILA])].groupby("set")["fails"].max()
found = binomtest(int(programmes.sum()), n_sets).proportion_ci(method="exact")
chapter.claim(
    "C3b",
    measured=programmes.mean(),
    interval=(found.low, found.high),
    interval_from=f"95 % Clopper-Pearson over {n_sets} data sets; one fails if any of three programmes does",
)

# %% [markdown]
# ## Exact recovery: C4, C5
# Two clusters in four dimensions, ever further apart, in units of the threshold $\bar\Delta$. The dashed curve is the
# Bayes rule, which knows all parameters; on average nothing does better. In the last panel the covariances are
# $\operatorname{diag}(1,1,4,\frac12)$ and $\operatorname{diag}(1,1,\frac12,4)$.

# %%
curves = {
    f"isotropic, n = {n}": study.recovery_study(
        n, 4, cfg.recovery_grid, cfg.recovery_sets, seed=chapter.entropy(f"recovery {n}")
    )
    for n in cfg.recovery_ns
}
stretched = study.recovery_study(
    cfg.recovery_ns[1], 4, cfg.recovery_grid, cfg.recovery_sets, ratio=4.0, seed=chapter.entropy("stretched")
)

# %% mystnb={"figure": {"caption": "Rate of exact recovery against the separation, in thresholds. Bars: 95 % intervals over data sets.", "name": "ila-sdp-recovery"}, "image": {"alt": "Four panels of rising curves. Plain SDP follows the Bayes rule at a small distance in the isotropic panels; with unequal shapes LA-SDP lies between plain SDP and the Bayes rule."}}
figures.recovery({**curves, f"two shapes, n = {cfg.recovery_ns[1]}": stretched})


# %%
def rate_at(table, method, factor):
    part = table[(table["method"] == method) & np.isclose(table["factor"], factor)]["recovered"]
    found = binomtest(int(part.sum()), len(part)).proportion_ci(method="exact")
    return float(part.mean()), (found.low, found.high)


def recovered(table, *methods):
    """Recovery (sets, methods, separations)."""
    wide = table.pivot_table(index="set", columns=["method", "factor"], values="recovered", aggfunc="mean")
    return np.stack([wide[m].to_numpy(float) for m in methods], axis=1)


over_sets = f"95 % Clopper-Pearson over {cfg.recovery_sets} data sets"
middle = curves[f"isotropic, n = {cfg.recovery_ns[1]}"]
rate, interval = rate_at(middle, SDP, 1.2)
at_half = rate_at(middle, SDP, 0.5)[0]
chapter.claim("C4a", measured=rate, interval=interval, interval_from=over_sets, evidence={"at_half": at_half})

# %%
places = {
    name: intervals.bootstrap(
        recovered(table, SDP, study.BAYES),
        lambda m: np.divide(*np.moveaxis(study.halfway(m, cfg.recovery_grid), 1, 0)),
        rng,
    )
    for name, table in curves.items()
}
half = [float(study.halfway(recovered(t, SDP).mean(0), cfg.recovery_grid)[0]) for t in curves.values()]
worst = max(places.values(), key=lambda place: place.value)
chapter.claim(
    "C4b",
    measured=worst.value,
    interval=worst.interval,
    interval_from=f"95 % bootstrap over {cfg.recovery_sets} data sets, worst n",
    evidence={"uppers": [place.high for place in places.values()], "halfway": half},
    note="half-way at "
    + ", ".join(f"{h:.2f} Δ̄ (n = {n})" for h, n in zip(half, cfg.recovery_ns, strict=True)),
)

# %%
rate, interval = rate_at(stretched, ORACLE, 1.2)
at_half = rate_at(stretched, ORACLE, 0.5)[0]
chapter.claim("C5a", measured=rate, interval=interval, interval_from=over_sets, evidence={"at_half": at_half})

# %%
pair = recovered(stretched, ORACLE, SDP).mean(-1)
gain = intervals.mean(pair[:, 0] - pair[:, 1])
shares = (
    stretched[stretched["factor"] == 1.0].groupby("method")["certified"].mean()
    if 1.0 in cfg.recovery_grid
    else {}
)
chapter.claim(
    "C5b",
    measured=gain.value,
    interval=gain.interval,
    interval_from=f"95 % t interval over {cfg.recovery_sets} data sets, paired",
    note="; ".join(
        f"{m}: {shares[m]:.0%} proven optimal at the threshold" for m in (ORACLE, SDP) if m in shares
    ),
)

# %% [markdown]
# ## Covariances unknown: C6, C7, C8
# From here nobody knows the covariances. Clusters are stretched along different axes; iLA-SDP starts at Ward's
# partition. Beside it stand K-means, Ward, self-tuning spectral clustering and plain SDP; EM from its usual
# K-means start, with ten restarts, from random rows, and *from the same Ward labels*; and LA-SDP with the true
# covariances, which nobody has. **iLA-SDP, soft start** is our variant: see below.

# %%
main = study.grid_study(
    cfg.main, cfg.n_seeds, effort=effort, seed=chapter.entropy("main"), n_jobs=n_jobs,
    progress=lambda blocks: chapter.progress(blocks, "main designs"),
)  # fmt: skip
other = study.grid_study(
    cfg.other, cfg.n_other, effort=effort, seed=chapter.entropy("other"), n_jobs=n_jobs,
    progress=lambda blocks: chapter.progress(blocks, "other designs"),
)  # fmt: skip
grid = pd.concat([main, other])
grid.to_csv(chapter.output("errors.csv"), index=False)

# %% mystnb={"figure": {"caption": "Mean mis-clustering error by method and design. Bars: two standard errors over data sets; dotted: iLA-SDP.", "name": "ila-sdp-grid"}, "image": {"alt": "A column of dots for each of six designs. LA-SDP with true shapes is near zero everywhere; iLA-SDP lies near Ward and EM from the same start; the soft-started variant is lower in most designs; EM from random rows is the worst."}}
figures.method_errors(grid, "design", study.METHODS)


# %%
def paired(table, minuend, subtrahend, unit="set"):
    wide = table.pivot_table(index=["design", unit], columns="method", values="error")
    return wide[minuend] - wide[subtrahend]


same = paired(main, EM_SAME, ILA)
pooled = intervals.mean(same.to_numpy())
by_design = same.groupby("design").mean()
soft = intervals.mean(paired(main, EM_SAME, SOFT).to_numpy())
chapter.claim(
    "C6a",
    measured=pooled.value,
    interval=pooled.interval,
    interval_from=f"95 % t interval over {len(same)} data sets, paired",
    evidence={"t": pooled.value / pooled.se if pooled.se > 0 else 0.0, "by_design": by_design.tolist()},
    note=f"with soft start: {soft.value:+.3f} [{soft.low:+.3f}, {soft.high:+.3f}]",
)

# %% mystnb={"figure": {"caption": "Errors of EM and of iLA-SDP from the same Ward labels, one dot a data set: below the line iLA-SDP is better.", "name": "ila-sdp-same-start"}, "image": {"alt": "Two scatters around the diagonal. Left, iLA-SDP: nearly all dots on the line. Right, soft start: many dots far below it."}}
figures.same_start(main, [str(d) for d in cfg.main])

# %% [markdown]
# The lead is small, and not every seed shows it: over five seeds of this page it lay between −0.000 and 0.006, and C6a
# passed in two.
#
# Solved accurately, the programme hardly moves away from Ward's partition, and nor does EM. The reason is
# {eq}`ila-sdp-eq-update`: with a dozen dimensions and twenty rows a cluster, the covariance of a wrong cluster fits
# that cluster so well that the next programme confirms it.
#
# ### A solver that stops early
# We found this by accident, from two trials that disagreed. Cut every solve short, from a cold start, and the
# memberships are still soft: a row at the rim keeps mass in two clusters, the covariances are estimated from
# blurred clusters, and the iteration can leave its start. It acts like a temperature. *Soft start* is eight such
# rounds of 30 iterations, then accurate ones. The length matters: too short, and the clusters blur into one
# another; too long, and nothing is soft.

# %%
lengths = study.effort_study(
    cfg.main[0], cfg.lengths, cfg.n_effort, effort=effort, seed=chapter.entropy("effort")
)

# %% mystnb={"figure": {"caption": "Left: gain of the soft start over EM from the same labels against the length of its solves. Right: softness of the memberships when the soft rounds end. Bars: two standard errors over data sets.", "name": "ila-sdp-effort"}, "image": {"alt": "Left: the gain over EM against the number of solver iterations in each soft round, from ten to sixty. Right: softness falls steeply with the number of iterations and is almost zero at sixty."}}
figures.effort(lengths)

# %% [markdown]
# ### Sensitivity to the start
# The same data from several random centroids; EM and iLA-SDP get the same labels.

# %%
starts = study.start_study(
    [cfg.main[0], cfg.other[1]], *cfg.starts, effort=effort, seed=chapter.entropy("starts")
)
spread = starts.groupby(["design", "set", "method"])["error"].var().unstack()
ratio = intervals.bootstrap(
    spread[[ILA, EM_SAME]].to_numpy(), lambda m: np.sqrt(m[:, 0] / np.maximum(m[:, 1], 1e-12)), rng
)
mean_error = starts.groupby("method")["error"].mean()
chapter.claim(
    "C6b",
    measured=ratio.value,
    interval=ratio.interval,
    interval_from=f"95 % bootstrap over {len(spread)} data sets of {cfg.starts[1]} starts each",
    note="mean error: " + ", ".join(f"{m} {mean_error[m]:.3f}" for m in (EM_SAME, ILA)),
)

# %% [markdown]
# ### Dimension

# %% mystnb={"figure": {"caption": "Error against the dimension at fixed n. Bars: two standard errors over data sets.", "name": "ila-sdp-dimension"}, "image": {"alt": "Two panels for three and four clusters. Errors of EM and iLA-SDP rise with the dimension; the soft start rises less; LA-SDP with true shapes stays near zero."}}
ladder = grid[grid["design"] != str(cfg.main[1])]
figures.dimension(ladder, (EM, EM_TEN, EM_SAME, ILA, SOFT, ORACLE))


# %%
def growth(method, baseline):
    """Differences at the highest minus at the lowest dimension, by number of clusters, unpaired."""
    values, errors = [], []
    for _, part in ladder.groupby("K"):
        ends = [part[part["p"] == p] for p in (part["p"].min(), part["p"].max())]
        if len(part["p"].unique()) > 1:
            low, high = (intervals.mean(paired(end, baseline, method).to_numpy()) for end in ends)
            values.append(high.value - low.value)
            errors.append(np.hypot(high.se, low.se))
    return np.mean(values), np.sqrt(np.square(errors).sum()) / len(errors), values


value, se, by_k = growth(ILA, EM)
soft_value, soft_se, _ = growth(SOFT, EM)
chapter.claim(
    "C7a",
    measured=value,
    interval=(value - 1.96 * se, value + 1.96 * se),
    interval_from="1.96 standard errors over data sets, mean over numbers of clusters",
    evidence={"by_k": by_k},
    note=f"with soft start: {soft_value:+.3f} ± {1.96 * soft_se:.3f}",
)

# %%
top = ladder[ladder["p"] == ladder["p"].max()]
last = intervals.mean(paired(top, EM_TEN, ILA).to_numpy())
soft = intervals.mean(paired(top, EM_TEN, SOFT).to_numpy())
chapter.claim(
    "C7b",
    measured=last.value,
    interval=last.interval,
    interval_from=f"95 % t interval over {len(paired(top, EM_TEN, ILA))} data sets, paired",
    note=f"with soft start: {soft.value:+.3f} [{soft.low:+.3f}, {soft.high:+.3f}]",
)

# %% [markdown]
# ### Against everybody

# %%
duels = {
    (design, rival): intervals.mean(paired(part, ILA, rival).to_numpy())
    for design, part in grid.groupby("design", sort=False)
    for rival in RIVALS
}
z_scores = {key: d.value / d.se if d.se > 0 else 0.0 for key, d in duels.items()}
worst = max(duels, key=lambda key: duels[key].value)
pooled = {rival: float(paired(grid, ILA, rival).mean()) for rival in RIVALS}
soft_pooled = {rival: float(paired(grid, SOFT, rival).mean()) for rival in RIVALS}
chapter.claim(
    "C8a",
    measured=duels[worst].value,
    interval=duels[worst].interval,
    interval_from="95 % t interval over the design's data sets, paired",
    evidence={"z_scores": list(z_scores.values()), "pooled": list(pooled.values())},
    note=f"worst: {worst[1]} at {worst[0]}",
)

# %%
pd.DataFrame({"iLA-SDP minus rival": pooled, "soft start minus rival": soft_pooled}).round(3).rename_axis(
    "all designs pooled"
)

# %% [markdown]
# ## Real data: C8b
# Random 90 rows of three tables, standardised, reduced by PCA to 4, 6 and 6 components, alike for all. Subsamples of
# one table share rows: intervals say how results vary with the sample, not with the population.

# %%
real = study_data.real_study(
    cfg.names, cfg.n_real, rows=cfg.real_rows, effort=effort, seed=chapter.entropy("real"),
    progress=lambda names: chapter.progress(names, "real data"),
)  # fmt: skip

# %% mystnb={"figure": {"caption": "Mean mis-clustering error on subsamples of real tables. Bars: two standard errors over subsamples; dotted: iLA-SDP.", "name": "ila-sdp-real"}, "image": {"alt": "Three panels. On wine and breast cancer K-means and plain SDP have the lowest errors; on iris the methods lie close together."}}
figures.method_errors(real, "data", [m for m in study.METHODS if m != ORACLE])

# %%
chosen = real[real["method"].isin([*RIVALS, ILA])].assign(design=lambda t: t["data"])
means = chosen.pivot_table(index="data", columns="method", values="error")
best_rival = means.drop(columns=ILA).idxmin(axis=1)
gaps = {
    d: intervals.mean(paired(chosen[chosen["data"] == d], ILA, best_rival[d]).to_numpy()) for d in means.index
}
worst = max(gaps, key=lambda d: gaps[d].value)
chapter.claim(
    "C8b",
    measured=gaps[worst].value,
    interval=gaps[worst].interval,
    interval_from=f"95 % t interval over {cfg.n_real} subsamples, paired",
    evidence={"ranks": means.rank(axis=1, method="min")[ILA].tolist()},
    note="; ".join(f"{d}: {gaps[d].value:+.3f} against {best_rival[d]}" for d in means.index),
)

# %% [markdown]
# ## Cost: C10
# One solve with three clusters, true covariances, from scratch to its certificate.

# %%
timing = study.scaling_study(
    cfg.scaling_ns,
    cfg.n_scaling,
    seed=chapter.entropy("scaling"),
    progress=lambda ns: chapter.progress(ns, "sizes"),
)
wide = timing.pivot_table(index="set", columns="n", values="seconds")
slope = intervals.log_slope(wide.columns, wide.to_numpy(), rng)

# %% mystnb={"figure": {"caption": "CPU time of one solve (K = 3) against the number of rows. Bars: two standard errors over data sets.", "name": "ila-sdp-scaling"}, "image": {"alt": "On log axes the measured times rise along a line less steep than the dashed line of slope three."}}
figures.scaling(timing, slope.value)

# %%
chapter.claim(
    "C10a",
    measured=slope.value,
    interval=slope.interval,
    interval_from=f"95 % bootstrap over {cfg.n_scaling} data sets at each n",
    note=f"largest: n = {timing['n'].max()}, {timing['seconds'].iloc[-1]:.1f} s, "
    f"{timing['gigabytes'].iloc[-1]:.2f} GB of arrays",
)

# %%
rounds = study.warm_study(cfg.other[1], cfg.n_warm, effort=effort, seed=chapter.entropy("warm"))
later = rounds[rounds["round"] > 0].pivot_table(index="set", columns="start", values="iterations")
saved = intervals.bootstrap(later[["warm", "cold"]].dropna().to_numpy(), lambda m: m[:, 0] / m[:, 1], rng)
chapter.claim(
    "C10b",
    measured=saved.value,
    interval=saved.interval,
    interval_from=f"95 % bootstrap over {len(later)} data sets",
)

# %% [markdown]
# Small sizes pay a fixed price, so the fitted slope is below three. Beyond the figure (the bench, one core of the
# machine that made this page): 500 rows take about 1 s of CPU, 1000 rows 5 s, both to a proof; from the one to the
# other the slope is two and a half, on its way to three. Against SCS, a general conic solver, at the same accuracy of
# 1e−3, the ratio at n = 60 is 5 to 29 with a median near 11, over six data sets. The rounds after the first profit
# from the state of the round
# before, though by a quarter rather than the half that we had expected (C10b).
#
# ## What stands
# The exact part stands (C1, C2, C9), and so does what it promises for *known* shapes. Where EM was trapped in
# two of five starts, no programme failed (C3). Exact recovery sets in almost where it does for the Bayes rule (C4), and with
# unequal shapes LA-SDP needs less separation than plain SDP and nearly always comes with a proof (C5).
#
# Iterating it is another matter.
#
# - From the same labels iLA-SDP does beat EM, but by less than half a percentage point (C6a), and whether its results
#   vary less from start to start can't be told apart from noise (C6b). Step 2 is solved globally; the alternation is
#   not, and it stays close to where it started.
# - EM's usual K-means start suffers more from dimension than iLA-SDP (C7a). EM with ten restarts does not suffer
#   clearly more (C7b), and in few dimensions it is the better of the two (C8a).
# - On real tables the order of the methods changes from one to the next, and most differences are within the noise
#   (C8b). Where clusters are near round, K-means and plain SDP are as good as anything.
# - Stopping the solver early, with memberships still soft, gains several times what the accurate iteration gains.
#   Our first trials, at a loose tolerance, had credited the programme with it. It is a heuristic without a theorem.
#
# So: with known or well-estimated shapes, or where a *proof* that no likelier labelling exists is worth having, the
# programme is the tool, up to one or two thousand rows. With unknown shapes in few dimensions take EM with many
# restarts; where a cluster has only some rows for each dimension, take the soft start. Everywhere, the oracle's errors near zero
# say how much of the difficulty is the shapes, not the labels.

# %%
chapter.summary()
