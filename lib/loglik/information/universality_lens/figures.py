"""The chapter's figures: each has the theorem's curve and the measured one on one pair of axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.ticker import FuncFormatter, NullFormatter, PercentFormatter

from loglik.information.universality_lens.checks import Floats
from loglik.information.universality_lens.study_networks import (
    ENSEMBLE,
    MAP,
    MIXTURE,
    MLE,
    SINGLE,
    STOPPED,
    STUDENT,
)
from loglik.information.universality_lens.tempered import TemperedEnergy

_COLOURS = sns.color_palette("colorblind")
_MARKERS = "osD^vP*X"
METHOD_COLOURS = {
    MIXTURE: _COLOURS[0], STUDENT: _COLOURS[9], SINGLE: _COLOURS[1], MAP: _COLOURS[2], MLE: _COLOURS[3],
    STOPPED: _COLOURS[4], ENSEMBLE: _COLOURS[7],
}  # fmt: skip
METHOD_MARKERS = dict(zip(METHOD_COLOURS, _MARKERS, strict=False))


def _plain_log(axis: Any, ticks: Sequence[float]) -> None:
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axis.set_minor_formatter(NullFormatter())
    axis.set_ticks(ticks)
    axis.set_ticks([], minor=True)


def regret_curves(worst: pd.DataFrame, reference: tuple[Floats, Floats, str] | None = None) -> None:
    """Measured cumulative regret (markers, two standard errors) and both bounds (lines) for each truth.

    `worst` is :meth:`Study.worst`; `reference` adds a black dotted curve (n, nats, label).
    """
    _, ax = plt.subplots(figsize=(7.4, 4.6))
    for i, (truth, part) in enumerate(worst.groupby("truth", sort=False)):
        colour = _COLOURS[i]
        ax.plot(part["n"], part["soft"], "--", color=colour, lw=1.6)
        ax.plot(part["n"], part["hard"], ":", color=colour, lw=1.2)
        ax.errorbar(
            part["n"], part["mean"], yerr=2 * part["sem"], fmt=_MARKERS[i], color=colour, ms=6, capsize=2,
            label=str(truth),
        )  # fmt: skip
    if reference is not None:
        n, value, label = reference
        ax.plot(n, value, color="k", lw=1.2)
        ax.annotate(
            label, (n[-1], value[-1]), (0, -14), textcoords="offset points", fontsize="small", ha="right"
        )
    ax.plot([], [], "--", color="0.4", label="soft bound")
    ax.plot([], [], ":", color="0.4", label="hard bound")
    ax.set(xscale="log", yscale="log", xlabel="samples n", ylabel="cumulative regret, nats")
    _plain_log(ax.xaxis, sorted(worst["n"].unique()))
    ticks = [0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 3000]
    low, high = ax.get_ylim()
    _plain_log(ax.yaxis, [t for t in ticks if low <= t <= high])
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))


def coin_curves(table: pd.DataFrame, panels: Sequence[tuple[float, float]]) -> None:
    """Exact regret and bounds of a coin against log n, one panel for each (prior shape, truth)."""
    _, axes = plt.subplots(1, len(panels), figsize=(3.6 * len(panels), 3.7), sharey=True)
    for ax, (a, truth) in zip(axes, panels, strict=True):
        part = table[(table["a"] == a) & (table["truth"] == truth)]
        ax.plot(part["n"], part["hard"], ":", color=_COLOURS[3], lw=2, label="hard bound")
        ax.plot(part["n"], part["soft"], "--", color=_COLOURS[1], lw=2, label="soft bound")
        ax.plot(part["n"], part["regret"], color=_COLOURS[0], lw=2, label="regret, exact")
        slope = 0.5 if truth > 0 else a
        tail = part[part["n"] >= 30]
        start = tail["regret"].iloc[0] - 0.7
        ax.plot(
            tail["n"], start + slope * np.log(tail["n"] / tail["n"].iloc[0]), color="k", lw=1,
            label="slope of the theorem",
        )  # fmt: skip
        ax.annotate(
            f"slope {slope:g}", (tail["n"].iloc[-1], start + slope * np.log(tail["n"].iloc[-1] / 30)), (0, -14),
            textcoords="offset points", ha="right", fontsize="small",
        )  # fmt: skip
        ax.set(xscale="log", xlabel="tosses n", title=f"truth {truth:g}, prior Beta({a:g}, {a:g})")
    axes[0].set_ylabel("cumulative regret, nats")
    axes[0].legend(loc="upper left", fontsize="small")


def cost_slope(table: pd.DataFrame, slope: float, interval: tuple[float, float]) -> None:
    """Regret of truths of the class against log 1/w, with the theorem's line of slope 1."""
    _, ax = plt.subplots(figsize=(6.4, 4.4))
    line = np.array([0, table["cost"].max() * 1.04])
    ax.plot(line, line, "k--", lw=1.2, label="theorem: log 1/w (slope 1)")
    groups: Any = table.groupby("truth")
    mean = groups[["cost", "regret", "soft"]].mean()
    ax.plot(mean["cost"], mean["soft"], "_", color="k", ms=12, mew=1.4, label="soft bound")
    ax.errorbar(
        mean["cost"], mean["regret"], yerr=2 * groups["regret"].sem(), fmt="o", ms=5, capsize=2, color=_COLOURS[0],
        label="measured regret",
    )  # fmt: skip
    middle = table[["cost", "regret"]].mean()
    ax.plot(
        line, middle["regret"] + slope * (line - middle["cost"]), color=_COLOURS[0], lw=1.2,
        label=f"fit: slope {slope:.2f} [{interval[0]:.2f}, {interval[1]:.2f}]",
    )  # fmt: skip
    ax.set(
        xlabel="log 1/w(truth), nats",
        ylabel=f"cumulative regret at n = {table['n'].iloc[0]}, nats",
        xlim=(0, None),
        ylim=(0, None),
    )
    ax.legend(loc="upper left")


def singular_curves(table: pd.DataFrame, slopes: pd.DataFrame) -> None:
    """Products of Gaussians at zero: regret and soft bound on log n; local slopes beside the theorem's."""
    _, (left, right) = plt.subplots(1, 2, figsize=(9.6, 4.0))
    for i, (depth, part) in enumerate(table[table["truth"] == 0].groupby("depth")):
        left.plot(part["n"], part["soft"], "--", color=_COLOURS[i], lw=1.6)
        left.plot(part["n"], part["regret"], _MARKERS[i], color=_COLOURS[i], ms=5, label=f"depth {depth}")
    left.plot([], [], "--", color="0.4", label="soft bound")
    left.set(xscale="log", xlabel="samples n", ylabel="cumulative regret, nats", title="truth 0")
    left.legend(loc="upper left")
    groups: Any = slopes.groupby("depth")
    for i, (depth, part) in enumerate(groups):
        middle = np.sqrt(part["from"] * part["to"])
        right.plot(middle, part["raw"], _MARKERS[i], color=_COLOURS[i], ms=5)
        n = np.geomspace(middle.min(), middle.max(), 100)
        right.plot(n, 0.5 - (depth - 1) / np.log(n), color=_COLOURS[i], lw=1.4)
    right.axhline(0.5, color="k", lw=1)
    right.plot([], [], "o", color="0.4", label="slope of the soft bound")
    right.plot([], [], color="0.4", label="theorem: 1/2 − (L − 1)/log n")
    right.set(
        xscale="log", xlabel="samples n", ylabel="nats per unit of log n", title="local slope", ylim=(0, 0.6)
    )
    right.legend(loc="lower right")


def size_costs(widths: pd.DataFrame, dilution: pd.DataFrame) -> None:
    """Left: regret of a constant against network size. Right: cost of junk hypotheses against log(1 + J)."""
    _, (left, right) = plt.subplots(1, 2, figsize=(9.6, 4.0))
    groups: Any = widths.groupby("parameters")
    mean, se = groups["regret"].mean(), groups["regret"].sem()
    left.plot(mean.index, groups["soft"].mean(), "--", color=_COLOURS[0], label="soft bound")
    left.errorbar(
        mean.index, mean, yerr=2 * se, fmt="o", color=_COLOURS[0], capsize=3, label="measured regret"
    )
    left.plot(mean.index, mean.index / 2 * np.log(128), color="k", lw=1.2, label="(d/2) log n")
    left.set(
        xscale="log", yscale="log", xlabel="parameters d", ylabel="cumulative regret at n = 128, nats",
        ylim=(1, 3e3), title="constant truth, wider networks",
    )  # fmt: skip
    left.legend(loc="center left", bbox_to_anchor=(0, 0.42))
    for i, (truth, part) in enumerate(dilution.groupby("truth", sort=False)):
        extra: Any = part.groupby("J")["extra"]
        x = np.log1p(extra.mean().index.to_numpy(dtype=float)) * (1 + 0.012 * (i - 1))
        reach = [extra.mean() - extra.min(), extra.max() - extra.mean()]
        right.errorbar(
            x, extra.mean(), yerr=reach, fmt=_MARKERS[i], color=_COLOURS[i], capsize=3, label=str(truth)
        )
    top = np.log1p(dilution["J"].max())
    right.plot([0, top], [0, top], "k--", lw=1.2, label="theorem: log(1 + J)")
    right.set(xlabel="log(1 + J), nats", ylabel="extra regret, nats", title="J junk functions for each one")
    right.legend(loc="upper left")


def concentration(table: pd.DataFrame) -> None:
    """Posterior mass by how common a function is among random networks, as the sample grows; a panel a truth."""
    truths = list(table["truth"].unique())
    names = [c for c in table.columns if c not in ("truth", "n")]
    shades = [*sns.color_palette("Blues_r", len(names)), _COLOURS[1]]
    _, axes = plt.subplots(1, len(truths), figsize=(3.4 * len(truths), 3.8), sharey=True)
    for ax, truth in zip(axes, truths, strict=True):
        part = table[table["truth"] == truth]
        ax.stackplot(
            part["n"], part[names].to_numpy().T, colors=[*shades[: len(names) - 1], shades[-1]], labels=names
        )
        ax.set(
            xscale="log",
            xlabel="samples n",
            title=truth,
            ylim=(0, 1),
            xlim=(part["n"].min(), part["n"].max()),
        )
        _plain_log(ax.xaxis, sorted(part["n"].unique())[::2])
    axes[0].set_ylabel("posterior mass")
    axes[0].yaxis.set_major_formatter(PercentFormatter(1))
    handles, labels = axes[0].get_legend_handles_labels()
    axes[0].figure.legend(handles, labels, loc="outside upper center", ncols=3, fontsize="small")


def sampler_checks(linear: pd.DataFrame, nuts: Floats, sgld: Floats) -> None:
    """Left and middle: SGLD against the exact posterior of a regression. Right: against NUTS on the network."""
    _, axes = plt.subplots(1, 3, figsize=(11, 3.8))
    for i, (step, part) in enumerate(linear.groupby("step")):
        style: dict[str, Any] = {"color": _COLOURS[i], "ms": 5, "label": f"step {step:g}"}
        axes[0].plot(part["direction"], part["mean_error"], _MARKERS[i], **style)
        axes[1].plot(part["direction"], part["sd_ratio"], _MARKERS[i], **style)
    axes[0].axhspan(-0.25, 0.25, color="0.85", zorder=0)
    axes[1].axhspan(0.88, 1.12, color="0.85", zorder=0)
    axes[0].set(xlabel="direction", ylabel="error of the mean, posterior sd", title="regression: mean")
    axes[1].set(xlabel="direction", ylabel="sd of the chain / exact sd", title="regression: spread")
    axes[0].legend()
    axes[2].axline((0, 0), slope=1, color="k", lw=1)
    axes[2].plot(nuts.ravel(), sgld.ravel(), ".", color=_COLOURS[0], ms=2.5, alpha=0.4, rasterized=True)
    axes[2].set(xlabel="probability by NUTS", ylabel="probability by SGLD", title="network, n = 32")


def learning_curves(
    regrets: pd.DataFrame, energies: Mapping[str, TemperedEnergy], methods: Sequence[str]
) -> None:
    """Supervised regret against n for every teacher and learner, beside the theorem's soft bound over n."""
    teachers = list(energies)
    _, axes = plt.subplots(1, len(teachers), figsize=(2.9 * len(teachers), 4.2), sharey=True, squeeze=False)
    for ax, teacher in zip(axes[0], teachers, strict=True):
        found = energies[teacher]
        n = np.geomspace(2, found.betas[-1] / 2, 25)
        ax.plot(n, [found.soft_bounds(v).mean() / v for v in n], "k--", lw=1.4, label="soft bound / n")
        for i, method in enumerate(methods):
            part = regrets[(regrets["teacher"] == teacher) & (regrets["method"] == method)]
            groups: Any = part.groupby("n")["regret"]
            mean, se = groups.mean(), groups.sem()
            ax.errorbar(
                mean.index * (1 + 0.05 * (i - len(methods) / 2)), mean, yerr=2 * se, fmt=f"{METHOD_MARKERS[method]}-",
                color=METHOD_COLOURS[method], ms=4.5, lw=1, capsize=2, label=method,
            )  # fmt: skip
        ax.set(xscale="log", yscale="log", xlabel="samples n", title=f"teacher: {teacher}")
        _plain_log(ax.xaxis, sorted(regrets["n"].unique()))
    axes[0, 0].set_ylabel("supervised regret, nats per sample")
    _plain_log(axes[0, 0].yaxis, [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2])
    handles, labels = axes[0, 0].get_legend_handles_labels()
    axes[0, 0].figure.legend(handles, labels, loc="outside upper center", ncols=4, fontsize="small")


def learning_coefficients(energies: Mapping[str, TemperedEnergy], dim: int) -> None:
    """Effective dimension lambda(beta) against beta, with d/2 above; bars are 95 % over chains."""
    _, ax = plt.subplots(figsize=(6.6, 4.2))
    for i, (name, found) in enumerate(energies.items()):
        beta = found.betas[1:]
        values = [found.learning_coefficient(b) for b in beta]
        middle = np.array([v.value for v in values])
        reach = [middle - [v.low for v in values], [v.high for v in values] - middle]
        ax.errorbar(
            beta, middle, yerr=reach, fmt=f"{_MARKERS[i]}-", color=_COLOURS[i], ms=4, capsize=2, label=name
        )
    ax.axhline(dim / 2, color="k", lw=1.2)
    ax.annotate(
        f"d/2 = {dim / 2:g}", (beta[0], dim / 2), (0, -13), textcoords="offset points", fontsize="small"
    )
    ax.set(xscale="log", yscale="log", xlabel="β (samples)", ylabel="λ(β), nats per unit of log n")
    _plain_log(ax.yaxis, [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200])
    ax.legend(title="truth")


def flat_minima(curvature: pd.DataFrame, soft: Mapping[str, float], exact: pd.DataFrame) -> None:
    """Curvature against the soft bound: at minima trained on samples, at noiseless minima, and at the truth."""
    _, ax = plt.subplots(figsize=(6.6, 4.4))
    modes, truths = exact["volume at mode"], exact["volume at truth"]
    for i, (name, bound) in enumerate(soft.items()):
        part = curvature[curvature["teacher"] == name]["volume"]
        ax.plot(bound + np.linspace(-0.5, 0.5, len(part)), part, ".", color=_COLOURS[i], ms=6, alpha=0.7)
        ax.plot(bound, float(modes[name]), "D", color=_COLOURS[i], ms=7, mec="k")
        ax.plot(bound, float(truths[name]), "^", color=_COLOURS[i], ms=7, mec="k")
        ax.annotate(
            name, (bound, part.max()), (0, 6), textcoords="offset points", ha="center", fontsize="small"
        )
    ax.margins(y=0.1)
    ends = np.array(ax.get_xlim())
    ax.plot(ends, ends, "k--", lw=1, label="equal")
    for marker, label in (
        (".", "minima trained on samples"),
        ("D", "minima without noise"),
        ("^", "the truth itself"),
    ):
        ax.plot([], [], marker, color="0.4", label=label)
    ax.set(
        xlabel=f"soft bound at n = {curvature['n'].iloc[0]}, nats",
        ylabel="½ log det(I + nJ), nats",
        xlim=ends,
    )
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))


def optimality(projection: pd.DataFrame, shares: pd.DataFrame, capacity: float) -> None:
    """Left: regret of learners before and after projection. Right: share of truths that pay little, and its bound."""
    _, (left, right) = plt.subplots(1, 2, figsize=(11.6, 4.0))
    for i, (name, part) in enumerate(projection.groupby("learner", sort=False)):
        left.plot(part["theta"], part["before"], ":", color=_COLOURS[i], lw=1.8)
        left.plot(part["theta"], part["after"], color=_COLOURS[i], lw=1.8, label=str(name))
    left.plot([], [], ":", color="0.4", label="before projection")
    left.set(
        xlabel="truth: chance of a one",
        ylabel="cumulative regret at n = 8, nats",
        title="projection on the hull",
    )
    left.set_ylim(0, 5)
    left.legend(fontsize="small")
    for i, (name, part) in enumerate(shares.groupby("learner", sort=False)):
        positive = part[part["share"] > 0]
        right.plot(
            positive["kappa"], positive["share"], f"{_MARKERS[i]}-", ms=4, color=_COLOURS[i], label=str(name)
        )
    kappa = np.sort(shares["kappa"].unique())
    right.plot(kappa, np.exp(1 - kappa * capacity), "k--", lw=1.4, label="theorem: exp(1 − κC)")
    right.set(
        yscale="log", xlabel="κ", ylabel="share of truths paying at most (1 − κ) C", ylim=(0.005, 3),
        title=f"C = {capacity:.2f} nats",
    )  # fmt: skip
    right.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))


# -- the method and apply notebooks ------------------------------------------------------------------------------


def weight_tangents(curves: Mapping[str, tuple[Floats, Floats]], sizes: Sequence[int]) -> None:
    """Log 1/w against the radius; the tangent of slope -n meets the axis at the hard bound B1(n)."""
    _, ax = plt.subplots(figsize=(7.2, 4.6))
    for i, (name, (eps, log_w)) in enumerate(curves.items()):
        ax.plot(eps, -log_w, color=_COLOURS[i], lw=2.2, label=name)
        for n in sizes:
            costs = n * eps - log_w
            best = int(costs.argmin())
            ax.plot([0, costs[best] / n], [costs[best], 0], ls=(0, (4, 2)), color=_COLOURS[i], lw=1)
            ax.plot(eps[best], -log_w[best], "o", color=_COLOURS[i], ms=5)
            ax.plot(0, costs[best], _MARKERS[1], color=_COLOURS[i], ms=7, clip_on=False, zorder=5)
            ax.annotate(
                f"n = {n}",
                (0, costs[best]),
                (8, 2),
                textcoords="offset points",
                color=_COLOURS[i],
                fontsize="small",
                bbox={"fc": "white", "ec": "none", "pad": 0.5, "alpha": 0.8},
            )
    ax.set(xlabel="radius ε, nats per sample", ylabel="log 1/w(ε), nats", xlim=(0, 1.0), ylim=(0, 42))
    ax.legend(loc="upper right")


def outside_the_class(table: pd.DataFrame, bounds: pd.DataFrame) -> None:
    """Regret of parity with and without the lookup tables in the prior; bars are two standard errors."""
    _, ax = plt.subplots()
    for i, (name, part) in enumerate(table.groupby("prior", sort=False)):
        groups: Any = part.groupby("n")["regret"]
        ax.errorbar(
            groups.mean().index, groups.mean(), yerr=2 * groups.sem(), fmt=f"{_MARKERS[i]}-", color=_COLOURS[i + 2],
            capsize=3, label=str(name),
        )  # fmt: skip
    ax.plot(bounds["n"], bounds["soft"], "k--", lw=1.3, label="soft bound with lookup tables")
    ax.set(xlabel="samples n", ylabel="cumulative regret, nats")
    ax.legend(loc="upper left")


def score_forest(differences: pd.DataFrame) -> None:
    """Mixture minus each other learner in held-out log-loss; 95 % intervals over splits."""
    _, ax = plt.subplots(figsize=(7.0, 0.5 * len(differences) + 1.2))
    y = -np.arange(len(differences))
    reach = np.abs(differences[["low", "high"]].to_numpy().T - differences["difference"].to_numpy())
    ax.errorbar(differences["difference"], y, xerr=reach, fmt="o", color=_COLOURS[0], capsize=3)
    ax.axvline(0, color="k", lw=1)
    ax.set_yticks(y, list(differences.index))
    ax.set_xscale("symlog", linthresh=0.01)
    ax.set_xticks([-1, -0.1, -0.01, 0, 0.01], ["−1", "−0.1", "−0.01", "0", "0.01"])
    ax.set(
        xlabel="held-out log-loss, mixture minus the other, nats per row\n(below 0: the mixture is better)"
    )


def chain_picture(draws: Floats, table: pd.DataFrame) -> None:
    """Left: probability of one row along every chain. Right: split R-hat of all checked rows."""
    _, (left, right) = plt.subplots(1, 2, figsize=(9.6, 3.6), width_ratios=(2, 1))
    at = int(table["r_hat"].to_numpy().argmax())
    left.plot(draws[:, :, at], lw=0.9, alpha=0.8)
    left.set(xlabel="kept draw", ylabel="predicted probability", title="the row that mixes worst")
    right.hist(table["r_hat"], bins=20, color=_COLOURS[0])
    right.axvline(1.05, color="k", ls="--", lw=1)
    right.set(xlabel="split R-hat of the logit", ylabel="rows")


def prediction_spread(mean: Floats, low: Floats, high: Floats, point: Floats) -> None:
    """Mixture probability with the middle 90 % of the draws, beside a point prediction; rows in order."""
    order = np.argsort(mean)
    x = np.arange(len(mean))
    _, ax = plt.subplots()
    ax.fill_between(
        x, low[order], high[order], color=_COLOURS[0], alpha=0.25, lw=0, label="middle 90 % of the draws"
    )
    ax.plot(x, mean[order], color=_COLOURS[0], lw=2, label="mixture")
    ax.plot(x, point[order], ".", color=_COLOURS[2], ms=3, label="student network", rasterized=True)
    ax.set(xlabel="rows, by the mixture's probability", ylabel="probability of the positive class")
    ax.legend(loc="upper left")
