"""The chapter's figures. Each draws one talk slide from a tidy table and returns nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.ticker import NullFormatter, PercentFormatter

from loglik.information.adaptive_data_analysis import theory
from loglik.information.adaptive_data_analysis.study import GAUSSIAN, NAIVE, PRIVATE_MW

PALETTE = sns.color_palette("colorblind")
COLOURS: dict[str, Any] = {
    **dict.fromkeys((NAIVE, "standard", "exact", "rounded", "naive holdout", "forgets"), PALETTE[3]),
    **dict.fromkeys((PRIVATE_MW, "Thresholdout", "reusable holdout", "remembers"), PALETTE[0]),
    **dict.fromkeys((GAUSSIAN, "Gaussian"), PALETTE[1]),
    "Ladder": PALETTE[2],
}


def mean_bars(ax: Any, x: Any, mean: Any, se: Any, **kw: Any) -> None:
    """Markers with bars of two standard errors."""
    ax.errorbar(x, mean, 2 * np.asarray(se), capsize=2, elinewidth=1, **kw)


def rate_triangle(ax: Any, x: float, y: float, slope: float, width: float = 4.0) -> None:
    """A slope to read the rate off, starting at (x, y) on log axes."""
    ax.plot([x, x * width, x * width], [y, y, y * width**slope], color="0.4", lw=1)
    ax.annotate(
        f"slope {slope:g}", (x * width * 1.1, y * width ** (slope / 2)), color="0.3", fontsize=9, va="center"
    )


def attack_curves(cells: pd.DataFrame, crossings: pd.DataFrame) -> None:
    """Overfit against m/n with the closed forms; and m at which it passes one half against n."""
    _, (ax, right) = plt.subplots(1, 2, figsize=(9.6, 4), width_ratios=(1.6, 1))
    for i, (key, part) in enumerate(cells.groupby(["n", "noise"], sort=False)):
        n, noise = int(part.n.iloc[0]), key[1]
        name, _, scale = str(noise).partition(" ")
        law: Any = None if name == "none" else (name, float(scale))
        x = np.geomspace(part.m.min(), part.m.max(), 80)
        label = f"n = {n:,}, " + ("exact answers" if law is None else f"noise σ = {scale}")
        ax.plot(x / n, theory.overfit_curve(x, n, law), color=PALETTE[i % 10], lw=1.3)
        mean_bars(
            ax,
            part.m / n,
            part.overfit,
            part.se,
            color=PALETTE[i % 10],
            fmt="osv^D<>"[i % 7],
            ms=5,
            label=label,
        )
    rate_triangle(ax, 0.6, 0.03, 0.5)
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="questions per data row, m/n",
        ylabel="error of the aggregated query",
    )
    ax.legend(fontsize=8, loc="upper left")
    low, high = crossings.m - crossings.low, crossings.high - crossings.m
    right.errorbar(
        crossings.n, crossings.m, [low, high], fmt="o", color=PALETTE[3], capsize=3, label="measured"
    )
    right.plot(crossings.n, crossings.n * 0.7146, color="0.3", lw=1.3, label="closed form, slope 1")
    right.set(xscale="log", yscale="log", xlabel="rows n", ylabel="questions until the error is 1/2")
    right.xaxis.set_minor_formatter(NullFormatter())
    right.legend(fontsize=8)


def recovery(table: pd.DataFrame, n: int) -> None:
    """Share of labels that least squares reads out of a holdout."""
    _, ax = plt.subplots()
    x = np.linspace(1, table.m.max(), 400)
    ax.plot(x / n, theory.recovery_curve(x, n), color="0.3", lw=1.3, label="Φ(√(m/(n−m))), then all")
    for name, part in table.groupby("mechanism", sort=False):
        shares = part.groupby("m").share.agg(["mean", "sem"])
        kw = {} if name == NAIVE else {"ls": "--", "lw": 0.8}
        mean_bars(
            ax,
            shares.index / n,
            shares["mean"],
            shares["sem"],
            color=COLOURS[str(name)],
            fmt="o",
            ms=5,
            label=name,
            **kw,
        )
    ax.axhline(0.5, color="0.6", lw=0.8)
    ax.set(xlabel="questions per holdout row, m/n", ylabel="share of labels recovered")
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.legend(loc="lower right", fontsize=9)


def pmw_errors(table: pd.DataFrame) -> None:
    """Error of the final attack and largest error of all queries against m, one column for each n."""
    ns = sorted(table.n.unique())
    _, axes = plt.subplots(1, len(ns), figsize=(3.3 * len(ns), 4), sharey=True, squeeze=False)
    for ax, n in zip(axes[0], ns, strict=True):
        for name, part in table[table.n == n].groupby("mechanism", sort=False):
            for column, style in (("final_error", "o-"), ("worst", "s:")):
                stats = part.groupby("m")[column].agg(["mean", "sem"])
                label = f"{name}, " + ("last query" if column == "final_error" else "worst of all")
                mean_bars(
                    ax,
                    stats.index,
                    stats["mean"],
                    stats["sem"],
                    color=COLOURS[str(name)],
                    fmt=style,
                    ms=4,
                    lw=1.2,
                    label=label,
                )
        ax.axvline(n, color="0.7", lw=1)
        ax.set(xscale="log", yscale="log", title=f"n = {n:,}", xlabel="questions m")
    axes[0, 0].set_ylabel("error |answer − truth|")
    axes[0, 0].get_figure().legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8
    )


def potential(trace: pd.DataFrame) -> None:
    """KL(S‖h) after each update under its guaranteed line."""
    _, ax = plt.subplots(figsize=(7.2, 3.4))
    colour = COLOURS[PRIVATE_MW]
    ax.plot(trace["update"], trace.potential, color=colour, lw=5, alpha=0.45, label="measured")
    ax.plot(trace["update"], trace.guaranteed, "k--", lw=1.3, label="guaranteed to stay below")
    ax.set(xlabel="updates of the public histogram", ylabel="KL(S‖h), nats", ylim=(0, None))
    ax.legend()


def privacy_gap(table: pd.DataFrame, n: int) -> None:
    """Selection bias of the exponential mechanism under its three bounds."""
    _, ax = plt.subplots()
    stats = (
        table[np.isfinite(table.epsilon)]
        .groupby("epsilon")
        .agg(gap=("gap", "mean"), se=("gap", "sem"), information=("information", "mean"))
    )
    e = np.geomspace(stats.index.min(), stats.index.max(), 60)
    ax.plot(e, np.expm1(e), color="0.3", ls=":", label="bound e^ε − 1")
    ax.plot(e, e / 2, color="0.3", ls="--", label="bound ε/2")
    ax.plot(
        stats.index,
        np.sqrt(stats.information / (2 * n)),
        color=PALETTE[2],
        lw=1.5,
        label="bound √(I/2n), I measured",
    )
    mean_bars(ax, stats.index, stats.gap, stats.se, color=COLOURS[PRIVATE_MW], fmt="o", label="measured")
    best = table[np.isinf(table.epsilon)].gap.mean()
    ax.axhline(best, color=COLOURS[NAIVE], lw=1, label="the maximum, without privacy")
    rate_triangle(ax, 0.12, 0.002, 1.0, 2.5)
    ax.set(xscale="log", yscale="log", xlabel="privacy ε of the selection", ylabel="gap E S[φ] − D[φ]")
    ax.legend(fontsize=8)


def tightness(table: pd.DataFrame) -> None:
    """Measured gaps of the attack (markers) under the bounds of each mechanism (dashed), slope one half."""
    _, ax = plt.subplots()
    for i, (name, part) in enumerate(table.groupby("mechanism", sort=False)):
        ax.plot(part.m, part.bound, ls="--", color=PALETTE[i], lw=1.2)
        ax.plot(part.m, part.curve, color=PALETTE[i], lw=1)
        mean_bars(ax, part.m, part.gap, part.se, color=PALETTE[i], fmt="osD"[i], ms=5, label=name)
    rate_triangle(ax, table.m.min(), table.gap.min() * 0.9, 0.5)
    ax.plot([], [], "k--", lw=1.2, label="bound")
    ax.set(xscale="log", yscale="log", xlabel="questions m", ylabel="gap S[f] − D[f]")
    ax.legend(fontsize=9)


def audit(table: pd.DataFrame, epsilon: float = 1.0) -> None:
    """Privacy loss of the sparse vector against the length of its output."""
    names = {"per positive": "fresh threshold noise after each positive (correct)", "none": "no threshold noise",
             "per query": "fresh threshold noise at each query"}  # fmt: skip
    _, ax = plt.subplots(figsize=(7.2, 3.6))
    for i, (kind, part) in enumerate(table.groupby("noise", sort=False)):
        ax.plot(
            part.length,
            part.loss,
            "os^"[i] + "-",
            color=(PALETTE[0], PALETTE[3], PALETTE[1])[i],
            label=names[str(kind)],
        )
    ax.axhline(epsilon, color="0.3", ls="--", lw=1.2, label="ε, as promised")
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="questions until the first positive",
        ylabel="largest privacy loss, nats",
    )
    ax.set_xticks(sorted(table.length.unique()), [str(k) for k in sorted(table.length.unique())])
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.legend(fontsize=8)


def valley(means: pd.DataFrame, least: pd.DataFrame, n: int) -> None:
    """Error over (m, σ) with its valley; least error against m with slope one quarter."""
    _, (ax, right) = plt.subplots(1, 2, figsize=(9.8, 4), width_ratios=(1.15, 1))
    grid = means.pivot_table(index="multiple", columns="m", values="total")
    mesh = ax.pcolormesh(
        grid.columns, grid.index, np.log10(grid), cmap="viridis_r", shading="nearest", rasterized=True
    )
    plt.colorbar(mesh, ax=ax, label="log₁₀ √(overfit² + σ²)")
    ax.plot(grid.columns, grid.idxmin(), "wo", mec="k", ms=6, label="least error for each m")
    m = np.asarray(grid.columns, dtype=float)
    ax.plot(m, grid.idxmin().iloc[0] * (m / m[0]) ** 0.25, "w--", lw=1.5, label="slope 1/4")
    ax.set(xscale="log", yscale="log", xlabel="questions m", ylabel="noise σ in units of 1/√n")
    ax.legend(fontsize=8, loc="lower right", frameon=True)
    right.errorbar(
        least.m,
        least.total,
        [least.total - least.low, least.high - least.total],
        fmt="o",
        color=COLOURS[GAUSSIAN],
        capsize=2,
        label="measured",
    )
    right.plot(least.m, least.closed, color="0.3", lw=1.3, label="closed form")
    rate_triangle(right, 300, least.total.min() * 0.95, 0.25, 10)
    right.set(xscale="log", yscale="log", xlabel="questions m", ylabel=f"least error, n = {n:,}")
    right.yaxis.set_minor_formatter(NullFormatter())
    right.legend(fontsize=8)


def selection(table: pd.DataFrame, n: int, d: int) -> None:
    """The 2 × 2 figure of the Science companion: accuracies against the number of variables."""
    _, axes = plt.subplots(2, 2, figsize=(8.6, 6.2), sharex=True, sharey=True)
    looks = {
        "train": (PALETTE[7], "training set"),
        "holdout": (PALETTE[3], "holdout, as reported"),
        "fresh": (PALETTE[2], "fresh data"),
    }
    for row, (signal, part) in zip(axes, table.groupby("signal"), strict=True):
        for ax, (method, lines) in zip(row, part.groupby("method", sort=False), strict=True):
            for column, (colour, label) in looks.items():
                stats = lines.groupby("k")[column].agg(["mean", "std"])
                ax.plot(stats.index, stats["mean"], "o-", ms=3, color=colour, label=label)
                ax.fill_between(
                    stats.index,
                    stats["mean"] - stats["std"],
                    stats["mean"] + stats["std"],
                    color=colour,
                    alpha=0.2,
                    lw=0,
                )
            if method == "standard" and not signal:
                k = np.linspace(0, lines.k.max(), 100)
                ax.plot(k, theory.holdout_curve(k, n, d), "k--", lw=1.2, label="Φ(c√(k/n))")
                ax.legend(fontsize=8, loc="upper left")
            ax.set_title(
                f"{method!s} holdout, {'signal in 20 variables' if signal else 'no signal'}"
                if method == "standard"
                else f"{method}, {'signal' if signal else 'no signal'}"
            )
    for ax in axes[-1]:
        ax.set_xlabel("variables in the classifier, k")
    for ax in axes[:, 0]:
        ax.set_ylabel("accuracy")


def budgets(honest: pd.DataFrame, hostile: pd.DataFrame, m: int) -> None:
    """Answers before refusal by threshold; overfit against the budget with slope one half."""
    _, (ax, right) = plt.subplots(1, 2, figsize=(9.4, 3.9))
    stats = honest.groupby("multiple").answered.agg(["mean", "min", "max"])
    ax.errorbar(
        stats.index,
        stats["mean"],
        [stats["mean"] - stats["min"], stats["max"] - stats["mean"]],
        fmt="o-",
        color=COLOURS["Thresholdout"],
        capsize=3,
        label="honest analyst",
    )
    ax.axhline(m, color="0.4", ls="--", lw=1, label="all questions asked")
    ax.set(yscale="log", xlabel="threshold T in units of 1/√n", ylabel="answers before refusal")
    ax.legend(fontsize=8, loc="lower right")
    cells = hostile.groupby("budget").agg(
        overfit=("overfit", "mean"), se=("overfit", "sem"), curve=("curve", "first")
    )
    right.plot(cells.index, cells.curve, color="0.3", lw=1.3, label="closed form")
    mean_bars(
        right, cells.index, cells.overfit, cells.se, color=COLOURS[NAIVE], fmt="o", label="hostile analyst"
    )
    rate_triangle(right, cells.index.min() * 2, cells.overfit.min(), 0.5)
    right.set(xscale="log", yscale="log", xlabel="budget B, all of it spent", ylabel="overfit to the holdout")
    right.legend(fontsize=8)


def leaderboard(table: pd.DataFrame, predicted: float) -> None:
    """Public and private accuracy of the boosted submission."""
    _, ax = plt.subplots(figsize=(7.2, 3))
    stats = table.groupby("mechanism", sort=False).agg(["mean", "sem"])
    y = np.arange(len(stats))
    for offset, column, marker in ((0.12, "public", "o"), (-0.12, "private", "s")):
        ax.errorbar(
            stats[column]["mean"],
            y + offset,
            xerr=2 * stats[column]["sem"],
            fmt=marker,
            color=PALETTE[3] if column == "public" else PALETTE[2],
            capsize=3,
            label=column,
        )
    ax.axvline(predicted, color="0.3", ls="--", lw=1, label="closed form, exact answers")
    ax.axvline(0.5, color="0.7", lw=1)
    ax.set_yticks(y, stats.index)
    ax.set(xlabel="accuracy of the boosted submission", ylim=(-0.6, len(stats) - 0.4))
    ax.legend(fontsize=9)


def real_bias(tables: dict[str, pd.DataFrame], inflate: float = 0.5) -> None:
    """Bias of the reported accuracy against k, one panel a data set; 95 % intervals over splits."""
    from loglik.stats import intervals

    _, axes = plt.subplots(1, len(tables), figsize=(3.3 * len(tables), 3.8), sharey=True, squeeze=False)
    for ax, (title, table) in zip(axes[0], tables.items(), strict=True):
        for shift, (method, part) in enumerate(table.groupby("method", sort=False)):
            found = [(k, *intervals.mean(p.bias, inflate)[:3]) for k, p in part.groupby("k")]
            k, mean, low, high = np.array(found).T
            ax.errorbar(
                k * (0.97 + 0.06 * shift),
                mean,
                [mean - low, high - mean],
                fmt="o-",
                ms=4,
                capsize=3,
                color=COLOURS[str(method)],
                label=method,
            )
        ax.axhline(0, color="0.6", lw=1)
        ax.set(title=title, xlabel="variables k", xscale="log")
        ax.set_xticks(sorted(table.k.unique()), [str(k) for k in sorted(table.k.unique())])
        ax.xaxis.set_minor_formatter(NullFormatter())
    axes[0, 0].set_ylabel("reported − fresh accuracy")
    axes[0, 0].legend(fontsize=8)


def size_chart(taus: Sequence[float], universe: int, measured: pd.DataFrame | None = None) -> None:
    """Rows that are proved enough for m questions: splitting, noise, PMW."""
    _, axes = plt.subplots(1, len(taus), figsize=(4.4 * len(taus), 3.9), sharey=True, squeeze=False)
    m = np.geomspace(1, 1e8, 200)
    for ax, tau in zip(axes[0], taus, strict=True):
        for name, colour in (
            ("split", PALETTE[2]),
            ("gaussian", COLOURS[GAUSSIAN]),
            ("pmw", COLOURS[PRIVATE_MW]),
        ):
            label = {
                "split": "fresh rows each (slope 1)",
                "gaussian": "Gaussian noise (1/2)",
                "pmw": "PMW (0, up to logs)",
            }[name]
            n = theory.required_n(m, tau, 0.05, name, universe=universe)  # type: ignore[arg-type]
            ax.plot(m, n, color=colour, lw=2, label=label)
        for x in theory.crossover(tau, universe=universe):
            ax.axvline(x, color="0.6", lw=0.8, ls=":")
        ax.set(xscale="log", yscale="log", xlabel="questions m", title=f"accuracy τ = {tau:g}")
    axes[0, 0].set_ylabel("rows n")
    axes[0, 0].legend(fontsize=8)
