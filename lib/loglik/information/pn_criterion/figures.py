"""The chapter's figures. Each draws one talk slide from a tidy table and returns nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.ticker import NullFormatter, PercentFormatter
from numpy.typing import ArrayLike

from loglik.information.pn_criterion.base import Floats
from loglik.information.pn_criterion.bayes_error import kl_threshold, max_tv
from loglik.information.pn_criterion.expansion import RiskExpansion

_COLOURS = sns.color_palette("colorblind")
NAIVE, FIRST, SECOND, MEASURED = _COLOURS[7], _COLOURS[1], _COLOURS[0], "black"


def _sizes(ax: Any, ns: ArrayLike, most: int = 6) -> None:
    ticks = np.unique(np.asarray(ns, dtype=int))
    ticks = ticks[:: -(-len(ticks) // most)]
    ax.set_xticks(ticks, [f"{n:,}" for n in ticks])
    ax.xaxis.set_minor_formatter(NullFormatter())


def _grid(count: int, columns: int, height: float) -> tuple[Any, Any]:
    rows = -(-count // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(3.1 * columns, height * rows), squeeze=False)
    for ax in axes.flat[count:]:
        ax.set_visible(False)
    return figure, axes.flat


def _shared_legend(figure: Any) -> None:
    entries = {
        label: handle
        for ax in figure.axes
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    figure.legend(entries.values(), entries.keys(), ncols=4, loc="outside upper center", fontsize="small")


def risk_curves(table: pd.DataFrame, columns: int = 3) -> None:
    """Measured risk with error bars beside p/2n, the first term, and both terms; one panel a model."""
    models = list(dict.fromkeys(table["model"]))
    figure, axes = _grid(len(models), columns, 2.6)
    for ax, model in zip(axes, models, strict=False):
        part = table[table["model"] == model]
        n = np.geomspace(part["n"].min() * 0.9, part["n"].max() * 1.1, 60)
        A1, A2, p = (float(part[c].iloc[0]) for c in ("A1", "A2", "p"))
        if not part["right"].all():
            ax.plot(n, p / 2 / n, ":", color=NAIVE, lw=1.6, label="p/2n")
        ax.plot(n, A1 / n, "--", color=FIRST, lw=1.6, label="A₁/n")
        ax.plot(n, A1 / n + A2 / n**2, color=SECOND, lw=1.6, label="A₁/n + A₂/n²")
        ax.errorbar(
            part["n"], part["risk"], yerr=3 * part["risk_se"], fmt="o", color=MEASURED, ms=4, capsize=2,
            label="measured",
        )  # fmt: skip
        ax.set(xscale="log", yscale="log", title=model)
        ax.title.set_fontsize("small")
        ax.yaxis.set_minor_formatter(NullFormatter())
        _sizes(ax, part["n"], 3)
        ax.tick_params(labelsize="small")
    figure.supxlabel("sample size n", fontsize="medium")
    figure.supylabel("risk E KL(projection ‖ fit), nats", fontsize="medium")
    _shared_legend(figure)


def second_order(table: pd.DataFrame, columns: int = 3) -> None:
    """The measured risk less its first term against the second, A₂/n²: a line of slope −2; one panel a model."""
    models = list(dict.fromkeys(table["model"]))
    figure, axes = _grid(len(models), columns, 2.6)
    for ax, model in zip(axes, models, strict=False):
        part = table[table["model"] == model]
        n = np.geomspace(part["n"].min() * 0.9, part["n"].max() * 1.1, 60)
        line = float(part["A2"].iloc[0]) / n**2
        ax.plot(n, line, color=SECOND, lw=1.6, label="A₂/n², slope −2")
        ax.errorbar(
            part["n"], part["risk"] - part["first"], yerr=3 * part["risk_se"], fmt="o", color=MEASURED, ms=4, capsize=2,
            label="measured risk less A₁/n",
        )  # fmt: skip
        ax.set(xscale="log", yscale="log", title=model, ylim=(line[-1] / 4, line[0] * 4))
        ax.title.set_fontsize("small")
        ax.yaxis.set_minor_formatter(NullFormatter())
        _sizes(ax, part["n"], 3)
        ax.tick_params(labelsize="small")
    figure.supxlabel("sample size n", fontsize="medium")
    figure.supylabel("risk less its first term, nats", fontsize="medium")
    _shared_legend(figure)


def remainders(table: pd.DataFrame) -> None:
    """Exact risks and what one and two terms leave over: slopes −1, −2 and −3 on log axes."""
    models = list(dict.fromkeys(table["model"]))
    figure, axes = _grid(len(models), len(models), 3.2)
    for ax, model in zip(axes, models, strict=False):
        part = table[table["model"] == model]
        for column, colour, label, slope in (
            ("risk", MEASURED, "exact risk", -1),
            ("after_one", FIRST, "less A₁/n", -2),
            ("after_two", SECOND, "less both terms", -3),
        ):
            ax.plot(part["n"], part[column], "o-", ms=3, lw=1.2, color=colour, label=label)
            end = part.iloc[-1]
            ax.plot(part["n"], end[column] * (part["n"] / end["n"]) ** slope, ":", color=colour, lw=1)
        ax.set(xscale="log", yscale="log", title=model, xlabel="n")
        ax.title.set_fontsize("small")
        _sizes(ax, part["n"], 3)
        ax.tick_params(labelsize="small")
    figure.axes[0].set_ylabel("nats")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=3, loc="outside upper center", fontsize="small")


def tv_scatter(table: pd.DataFrame, each: int = 150) -> None:
    """Pairs (KL, TV) of fit and projection under the three bounds and the local approximation."""
    figure, ax = plt.subplots(figsize=(7.2, 4.2))
    for at, model in enumerate(dict.fromkeys(table["model"])):
        part = table[table["model"] == model]
        part = part.iloc[:: max(1, len(part) // each)]
        ax.plot(part["kl"], part["tv"], "o", ms=2.5, alpha=0.5, color=_COLOURS[(2, 3, 4, 5)[at % 4]], label=model,
                rasterized=True)  # fmt: skip
    kl = np.geomspace(table["kl"].min() * 0.7, max(table["kl"].max() * 3, 1.0), 200)
    ax.plot(kl, max_tv(kl, "sharp"), color="k", lw=1.8, label="sharp bound")
    ax.plot(kl, max_tv(kl, "pinsker"), "--", color=SECOND, lw=1.5, label="Pinsker, √(KL/2)")
    ax.plot(kl, max_tv(kl, "bretagnolle-huber"), "-.", color=FIRST, lw=1.5, label="Bretagnolle–Huber")
    ax.plot(kl, max_tv(kl, "local"), ":", color="0.4", lw=1.5, label="local, √(KL/π)")
    ax.set(
        xscale="log", yscale="log", ylim=(table["tv"].min() * 0.8, 1.1), xlabel="KL(projection ‖ fit), nats",
        ylabel="total variation",
    )  # fmt: skip
    ax.legend(fontsize="small", loc="lower right")
    figure.set_dpi(110)


def operating_curves(table: pd.DataFrame) -> None:
    """Share of samples that the criterion accepts against n over the true requirement."""
    _, ax = plt.subplots(figsize=(7.2, 3.8))
    for at, ((model, delta), part) in enumerate(table.groupby(["model", "delta"], sort=False)):
        groups: Any = part.groupby("multiple")["accept"]
        share, count = groups.mean(), groups.size()
        low, high = _wilson(share.to_numpy(), count.to_numpy())
        shift = share.index.to_numpy() * (1 + 0.004 * (at - 1))
        ax.errorbar(
            shift, share, yerr=np.clip([share - low, high - share], 0, None), fmt="osD^v"[at % 5] + "-", ms=5,
            capsize=2, lw=1.2, color=_COLOURS[at], label=f"{model}, δ = {delta:g}",
        )  # fmt: skip
    ax.axvline(1, color="k", lw=1.2)
    ax.axvspan(0.5, 0.7, color="0.9", zorder=0)
    ax.axvspan(1.3, 2.0, color="0.9", zorder=0)
    low, high = table["multiple"].min(), table["multiple"].max()
    ax.set(
        xscale="log", xlim=(low * 0.96, high * 1.04), xlabel="n over the true requirement n*",
        ylabel="samples accepted",
    )  # fmt: skip
    ticks = sorted(table["multiple"].unique())
    ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.legend(fontsize="small", loc="center left")


def _wilson(share: Floats, count: Any, z: float = 1.96) -> tuple[Floats, Floats]:
    centre = (share + z**2 / 2 / count) / (1 + z**2 / count)
    reach = z * np.sqrt(share * (1 - share) / count + z**2 / 4 / count**2) / (1 + z**2 / count)
    return centre - reach, centre + reach


def chain_agreement(table: pd.DataFrame) -> None:
    """Coefficients from chains with 95 % intervals, over the exact ones."""
    _, ax = plt.subplots(figsize=(7.2, 0.55 * len(table) + 1.2))
    y = -np.arange(len(table))
    reach = 1.96 * table["se"] / table["exact"].abs()
    ax.errorbar(table["chains"] / table["exact"], y, xerr=reach, fmt="o", color=SECOND, ms=6, capsize=3)
    ax.axvline(1, color="k", lw=1.2)
    ax.set_yticks(y, list(table["label"]))
    ax.set(xlabel="coefficient from chains over the exact one", ylim=(y[-1] - 0.6, 0.6))


def ladder_bars(table: pd.DataFrame, n: int, deltas: Sequence[float] = (0.05, 0.1)) -> None:
    """Risk of each model at n against the tolerances: estimate with its interval, measured truth where known."""
    _, ax = plt.subplots(figsize=(7.2, 3.6))
    good = table[table["risk"].notna()]
    p = good["p"].astype(float)
    reach = 1.96 * good["risk_se"].astype(float).fillna(0) if "risk_se" in good else 0.0
    ax.errorbar(p, good["risk"].astype(float), yerr=reach, fmt="o-", color=SECOND, ms=6, capsize=3,
                label="estimated, A₁/n + A₂/n²")  # fmt: skip
    ax.plot(p, p / 2 / n, ":", color=NAIVE, lw=1.6, label="p/2n")
    if "measured" in good:
        ax.errorbar(
            p, good["measured"].astype(float), yerr=1.96 * good["measured_se"].astype(float), fmt="D", ms=6,
            color=MEASURED, mfc="none", capsize=3, label="measured by refitting",
        )  # fmt: skip
    for delta in deltas:
        C = kl_threshold(delta)
        ax.axhline(C, color=FIRST, lw=1.4, ls="--")
        ax.annotate(
            f"tolerated at δ = {delta:g}", (0, C), (4, 3), xycoords=("axes fraction", "data"),
            textcoords="offset points", ha="left", fontsize="small", color=FIRST,
        )  # fmt: skip
    ax.set(xscale="log", yscale="log", xlabel="parameters p", ylabel=f"risk at n = {n:,}, nats")
    ax.set_xticks(p, [f"{int(v)}" for v in p])
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.legend(fontsize="small", loc="lower right")


def optimism(table: pd.DataFrame) -> None:
    """Measured optimism over Takeuchi's first-order penalty, with the second-order formula."""
    models = list(dict.fromkeys(table["model"]))
    figure, axes = _grid(len(models), min(3, len(models)), 2.6)
    for ax, model in zip(axes, models, strict=False):
        part = table[table["model"] == model]
        first = part["optimism_first"]
        ax.axhline(1, color=FIRST, ls="--", lw=1.6, label="TIC/2n, first order")
        if not part["right"].all():
            ax.plot(part["n"], part["p"] / part["n"] / first, ":", color=NAIVE, lw=1.6, label="AIC/2n, p/n")
        ax.plot(part["n"], part["optimism_second"] / first, color=SECOND, lw=1.6, label="second order")
        ax.errorbar(
            part["n"], part["optimism"] / first, yerr=3 * part["optimism_se"] / first, fmt="o", color=MEASURED, ms=4,
            capsize=2, label="measured",
        )  # fmt: skip
        ax.set(xscale="log", title=model)
        ax.title.set_fontsize("small")
        _sizes(ax, part["n"], 3)
        ax.tick_params(labelsize="small")
    figure.supxlabel("sample size n", fontsize="medium")
    figure.supylabel("optimism over TIC/2n", fontsize="medium")
    _shared_legend(figure)


def projections(curves: pd.DataFrame, panels: pd.DataFrame) -> None:
    """Wrong models and their projection: the truth, the projection, and fits for growing n."""
    ns = list(dict.fromkeys(curves["n"]))
    figure, axes = plt.subplots(1, len(ns), figsize=(3.1 * len(ns), 3.3), sharey=True)
    for ax, n in zip(np.atleast_1d(axes), ns, strict=True):
        for _, one in curves[curves["n"] == n].groupby("sample"):
            ax.plot(one["x"], one["density"], color=SECOND, alpha=0.35, lw=1)
        ax.plot(panels["x"], panels["truth"], color="0.55", lw=4, alpha=0.6)
        ax.plot(panels["x"], panels["projection"], color="k", lw=2)
        ax.set(title=f"n = {n:,}", xlabel="x")
    np.atleast_1d(axes)[0].set_ylabel("density")
    handles = [
        plt.Line2D([], [], color="0.55", lw=4, alpha=0.6, label="truth"),
        plt.Line2D([], [], color="k", lw=2, label="information projection"),
        plt.Line2D([], [], color=SECOND, lw=1, alpha=0.6, label="fits"),
    ]
    figure.legend(handles=handles, ncols=3, loc="outside upper center")


def planning(expansion: RiskExpansion, p: int, n: int | None, deltas: Sequence[float]) -> None:
    """The risk curve of one model with tolerances and the sample sizes that they ask for."""
    _, ax = plt.subplots(figsize=(7.2, 3.8))
    required = [expansion.required_n(kl_threshold(d)) for d in deltas]
    known = [*required, *([] if n is None else [n])]
    sizes = np.geomspace(min(known) * 0.6, max(known) * 1.6, 120)
    ax.plot(sizes, p / 2 / sizes, ":", color=NAIVE, lw=1.6, label="p/2n")
    ax.plot(sizes, expansion.risk(sizes, 1), "--", color=FIRST, lw=1.6, label="A₁/n")
    ax.plot(sizes, expansion.risk(sizes), color=SECOND, lw=2, label="A₁/n + A₂/n²")
    if n is not None:
        ax.axvline(n, color="k", lw=1.2, ls="-.", label=f"this sample, n = {n:,}")
    for delta, need in zip(deltas, required, strict=True):
        C = kl_threshold(delta)
        ax.plot([sizes[0], need, need], [C, C, 0], color="0.5", lw=1)
        ax.plot(need, C, "o", color=SECOND)
        ax.annotate(
            f"δ = {delta:g}: n* = {need:,.0f}",
            (need, C),
            (6, 5),
            textcoords="offset points",
            fontsize="small",
        )
    ax.set(xscale="log", yscale="log", xlabel="sample size n", ylabel="risk, nats",
           ylim=(float(expansion.risk(sizes[-1], 1)) * 0.5, None))  # fmt: skip
    ticks = [
        t
        for t in (20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000)
        if sizes[0] < t < sizes[-1]
    ]
    ax.set_xticks(ticks, [f"{t:,}" for t in ticks])
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.legend(fontsize="small")


def breaking(table: pd.DataFrame) -> None:
    """Share of samples that are accepted by mistake against n, for tails of growing weight."""
    _, ax = plt.subplots(figsize=(7.2, 3.8))
    for at, (truth, part) in enumerate(table.groupby("truth", sort=False)):
        groups: Any = part.groupby("n")["share"]
        ax.errorbar(
            groups.mean().index, groups.mean(), yerr=1.96 * groups.sem(), fmt="osD^"[at % 4] + "-", ms=5, capsize=2,
            color=_COLOURS[at], label=str(truth),
        )  # fmt: skip
    ax.set(xscale="log", xlabel="sample size n", ylabel="accepted by mistake", ylim=(0, 1))
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    _sizes(ax, table["n"])
    ax.legend(fontsize="small")


def agreement(table: pd.DataFrame) -> None:
    """Estimated against measured risks with the diagonal; one mark a sample."""
    _, ax = plt.subplots(figsize=(5.6, 4.2))
    for at, (name, part) in enumerate(table.groupby("file", sort=False)):
        ax.errorbar(
            part["measured"], part["estimated"], yerr=1.96 * part["se"].astype(float), xerr=1.96 * part["measured_se"],
            fmt="os"[at % 2], ms=6, capsize=3, color=_COLOURS[(0, 3)[at % 2]], label=str(name),
        )  # fmt: skip
        for _, row in part.iterrows():
            ax.annotate(f"n = {row['n']:,}", (row["measured"], row["estimated"]), (7, -9), fontsize="x-small",
                        textcoords="offset points")  # fmt: skip
    ends = [table["measured"].min() / 1.4, table["measured"].max() * 1.4]
    ax.plot(ends, ends, color="k", lw=1)
    ax.set(xscale="log", yscale="log", xlabel="measured risk, nats", ylabel="estimated from one sample, nats")
    ticks = [t for t in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if ends[0] < t < ends[1]]
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_ticks(ticks, [f"{t:g}" for t in ticks])
        axis.set_minor_formatter(NullFormatter())
    ax.legend()
