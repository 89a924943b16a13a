"""The chapter's figures. Each draws one talk slide from a tidy table and returns nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from loglik.risk.censored_erm.study import (
    BERAN,
    COX,
    FULL,
    INDEX,
    KM,
    NAIVE,
    ORACLE,
    RSF,
    UNCENSORED,
    UNDER,
)
from loglik.risk.checks import Floats

_C = sns.color_palette("colorblind")
COLOURS: dict[str, Any] = {
    FULL: "black",
    NAIVE: _C[3],
    UNCENSORED: _C[1],
    KM: _C[2],
    BERAN: _C[0],
    UNDER: _C[9],
    ORACLE: _C[7],
    COX: _C[4],
    RSF: _C[8],
    INDEX: _C[6],
}
MARKERS = {
    FULL: "o",
    NAIVE: "X",
    UNCENSORED: "s",
    KM: "^",
    BERAN: "o",
    UNDER: "D",
    ORACLE: "*",
    COX: "P",
    RSF: "v",
    INDEX: "h",
}
_LINES = {FULL: "--", ORACLE: ":"}


def _short(value: float, _: Any) -> str:
    return f"{value:g}"


def _plain_ticks(axis: Any, ticks: Sequence[float]) -> None:
    axis.set_major_formatter(FuncFormatter(_short))
    axis.set_ticks(list(ticks))
    axis.set_minor_formatter(NullFormatter())


def _series(ax: Any, part: pd.DataFrame, x: str, y: str, method: str, **options: Any) -> None:
    """Means over repetitions with bars of two standard errors."""
    groups: Any = part.groupby(x)[y]
    mean, se = groups.mean(), groups.sem()
    ax.errorbar(
        mean.index, mean, yerr=2 * se, color=COLOURS[method], marker=MARKERS[method], ms=6, capsize=3,
        ls=_LINES.get(method, "-"), label=method, **options,
    )  # fmt: skip


# -- method --------------------------------------------------------------------------------------------------


def speaking_weights(
    x: Floats, time: Floats, event: Any, weights: Floats, lines: Mapping[str, tuple[Floats, Floats]]
) -> None:
    """Cases as dots whose area is their weight, censored ones as ticks, and fitted lines.

    `lines` maps a method to the grid (k,) and its fit (k,).
    """
    _, ax = plt.subplots(figsize=(7.6, 4.8))
    ax.plot(x[~event], time[~event], "_", color="0.55", ms=7, label="censored: lasted longer")
    ax.scatter(
        x[event], time[event], s=14 * weights[event] ** 1.5, facecolor=(*_C[0], 0.35), edgecolor=_C[0], lw=0.6,
        label="seen to the end (area grows with weight)",
    )  # fmt: skip
    for method, (grid, fit) in lines.items():
        ax.plot(grid, fit, color=COLOURS[method], lw=2.6, ls=_LINES.get(method, "-"), label=method)
    ax.set(xlabel="feature x₁", ylabel="duration (simulated units)", ylim=(0, None))
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize="small")


def censoring_curves(
    times: Floats, truth: Floats, beran: Floats, marginal: Floats, names: Sequence[str]
) -> None:
    """True, Beran and marginal curves P(C > t | x) (k, T) at k places."""
    _, axes = plt.subplots(1, len(names), figsize=(3.0 * len(names), 3.4), sharey=True)
    for k, (ax, name) in enumerate(zip(axes, names, strict=True)):
        ax.plot(times, truth[k], color="0.6", lw=5, alpha=0.6, label="truth")
        ax.step(times, beran[k], color=COLOURS[BERAN], lw=2, where="post", label="Beran")
        ax.step(times, marginal, color=COLOURS[KM], lw=2, ls="--", where="post", label="marginal KM")
        ax.set(title=name, xlabel="t (simulated units)", ylim=(0, 1.02))
    axes[0].set_ylabel("P(C > t | x)")
    handles, labels = axes[0].get_legend_handles_labels()
    axes[0].figure.legend(handles, labels, ncols=3, loc="outside upper center")


def broken(table: pd.DataFrame) -> None:
    """Bias of the mean prediction as an unseen trait ties censoring to the duration."""
    _, ax = plt.subplots()
    for method in table["method"].unique():
        _series(ax, table[table["method"] == method], "strength", "bias", method)
    ax.axhline(0, color="k", lw=1)
    ax.axvline(0, color="k", lw=1, ls=":")
    ax.set(
        xlabel="strength of the unseen trait in the censoring (0: assumption holds)",
        ylabel="mean prediction minus mean\nduration (simulated units)",
    )
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))


# -- reproduction --------------------------------------------------------------------------------------------


def learner_errors(
    table: pd.DataFrame, methods: Sequence[str], unit: str = "squared error E(f − f*)²"
) -> None:
    """Error of every way of dealing with censoring, one panel a learner, log scale."""
    names = list(table["learner"].unique())
    _, axes = plt.subplots(1, len(names), figsize=(2.2 * len(names) + 1.6, 3.4), sharey=True, squeeze=False)
    for ax, name in zip(axes[0], names, strict=True):
        for row, method in enumerate(methods):
            part: Any = table.query("learner == @name and method == @method")["error"]
            ax.errorbar(
                part.mean(), -row, xerr=1.96 * part.sem(), color=COLOURS[method], marker=MARKERS[method], ms=8,
                capsize=3,
            )  # fmt: skip
        full = table.query("learner == @name and method == @FULL", local_dict={"name": name, "FULL": FULL})
        ax.axvline(full["error"].mean(), color="k", ls="--", lw=1)
        ax.set(xscale="log", title=name)
        low, high = ax.get_xlim()
        _plain_ticks(ax.xaxis, [t for t in (0.001, 0.003, 0.01, 0.03, 0.1) if low < t < high])
    axes[0, 0].set_yticks([-row for row in range(len(methods))], list(methods))
    axes[0, 0].figure.supxlabel(unit, fontsize="medium")


def uniform_deviation(table: pd.DataFrame) -> None:
    """Largest error of the risk over the class against n, with the slope -1/2 of theory."""
    _, ax = plt.subplots(figsize=(7.6, 4.6))
    for method in table["method"].unique():
        _series(ax, table[table["method"] == method], "n", "sup", method)
    full = table[table["method"] == FULL].groupby("n")["sup"].mean()
    ax.plot(
        full.index, 0.75 * full.iloc[0] * (full.index / full.index[0]) ** -0.5, "k-", lw=1, label="slope −1/2"
    )
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="cases n",
        ylabel="sup over 200 rules of |estimated − true risk|\n(squared units of time)",
    )
    _plain_ticks(ax.xaxis, list(full.index))
    _plain_ticks(ax.yaxis, [0.03, 0.1, 0.3, 1.0])
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))


def excess_ratio(table: pd.DataFrame, limit: float) -> None:
    """Excess risk over that of full data against n, with the oracle's limit."""
    _, axes = plt.subplots(1, 2, figsize=(9.4, 3.9))
    full = table[table["method"] == FULL].groupby("n")["excess"].mean()
    for method in (NAIVE, UNCENSORED, KM, UNDER, BERAN, ORACLE, FULL):
        part = table[table["method"] == method]
        if not len(part):
            continue
        _series(axes[0], part, "n", "excess", method)
        if method not in (FULL, NAIVE, UNCENSORED):
            groups: Any = part.groupby("n")["excess"]
            mean, se = groups.mean() / full, groups.sem() / full
            axes[1].errorbar(
                mean.index, mean, yerr=2 * se, color=COLOURS[method], marker=MARKERS[method], ms=6, capsize=3,
                ls=_LINES.get(method, "-"),
            )  # fmt: skip
    axes[0].plot(full.index, 0.6 * full.iloc[0] * full.index[0] / full.index, "k-", lw=1, label="slope −1")
    axes[1].axhline(limit, color=COLOURS[ORACLE], lw=3, alpha=0.4, label=f"oracle's limit, {limit:.2f}")
    axes[1].axhline(1, color="k", lw=1, ls="--")
    for ax, label in zip(
        axes, ("excess risk (squared units of time)", "excess risk over full data's"), strict=True
    ):
        ax.set(xscale="log", yscale="log", xlabel="cases n", ylabel=label)
        _plain_ticks(ax.xaxis, list(full.index))
    _plain_ticks(axes[1].yaxis, [1, 2, 4, 8, 16, 32])
    axes[1].legend(loc="upper left")
    handles, labels = axes[0].get_legend_handles_labels()
    axes[0].figure.legend(handles, labels, ncols=4, loc="outside upper center")


def bandwidth_curves(tables: Mapping[int, pd.DataFrame], rules: Mapping[int, float]) -> None:
    """Error of the risk against the bandwidth, a line for each dimension; ticks at the rule."""
    _, ax = plt.subplots()
    for d, table in tables.items():
        colour = _C[(0, 1, 2)[list(tables).index(d) % 3]]
        groups: Any = table.assign(relative=table["bandwidth"] / rules[d]).groupby("relative")["sup"]
        mean, se = groups.mean(), groups.sem()
        ax.errorbar(
            mean.index, mean, yerr=2 * se, color=colour, marker="o^s"[list(tables).index(d) % 3], capsize=3,
            label=f"d = {d}",
        )  # fmt: skip
    ax.axvline(1, color="k", lw=1, ls=":")
    ax.set(
        xscale="log",
        xlabel="bandwidth over the rule's",
        ylabel="sup over 200 rules of |estimated − true risk|\n(squared units of time)",
    )
    _plain_ticks(ax.xaxis, [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8])
    ax.set_xticklabels(["1/16", "1/8", "1/4", "1/2", "rule", "2", "4", "8"])
    ax.set_yscale("log")
    _plain_ticks(ax.yaxis, [0.1, 0.3, 1, 3, 10, 30])
    ax.legend()


def bias_and_variance(bias: pd.DataFrame, variance: pd.DataFrame) -> None:
    """Bias of the curve against h with slope 2; variance against neighbours with slope -1."""
    _, axes = plt.subplots(1, 2, figsize=(9.4, 3.9))
    for i, d in enumerate(bias["d"].unique()):
        part = bias[bias["d"] == d]
        reach = np.abs(part[["low", "high"]].to_numpy().T - part["bias"].to_numpy())
        axes[0].errorbar(
            part["h"], part["bias"], yerr=reach, color=_C[i], marker="o^s"[i], capsize=3, label=f"d = {d}"
        )
    first = bias[bias["d"] == bias["d"].iloc[-1]]
    axes[0].plot(
        first["h"],
        0.6 * first["bias"].iloc[0] * (first["h"] / first["h"].iloc[0]) ** 2,
        "k-",
        lw=1,
        label="slope 2",
    )
    axes[0].set(xlabel="bandwidth h (standard deviations)", ylabel="bias of Ŝ (probability)")
    for i, d in enumerate(variance["d"].unique()):
        part = variance[variance["d"] == d]
        axes[1].plot(part["neighbours"], part["variance"], "o^s"[i], color=_C[i], label=f"d = {d}")
    span = np.array([variance["neighbours"].min(), variance["neighbours"].max()])
    level = float(np.exp(np.mean(np.log(variance["variance"] * variance["neighbours"]))))
    axes[1].plot(span, level / span, "k-", lw=1, label="slope −1")
    axes[1].set(xlabel="neighbours (effective number)", ylabel="variance of Ŝ (probability²)")
    for ax in axes:
        ax.set(xscale="log", yscale="log")
        ax.legend()
    _plain_ticks(axes[0].xaxis, sorted(bias["h"].round(2).unique()))
    _plain_ticks(axes[0].yaxis, [0.001, 0.003, 0.01, 0.03])
    _plain_ticks(axes[1].xaxis, [30, 100, 300, 1000])
    _plain_ticks(axes[1].yaxis, [0.0001, 0.0003, 0.001, 0.003, 0.01])


def floor_sweep(table: pd.DataFrame) -> None:
    """Error and bias against the floor under heavy censoring, with the effective sample size."""
    _, axes = plt.subplots(1, 3, figsize=(10, 3.4))
    labels = ("squared error E(f − f*)²", "bias (simulated units)", "effective cases")
    for ax, column, label in zip(axes, ("error", "bias", "ess"), labels, strict=True):
        for method in table["method"].unique():
            _series(ax, table[table["method"] == method], "floor", column, method)
        ax.set(xscale="log", xlabel="floor b", ylabel=label)
        _plain_ticks(ax.xaxis, [0.005, 0.02, 0.1, 0.5])
        ax.set_ylim(bottom=0) if column != "bias" else ax.axhline(0, color="k", lw=1)
    handles, names = axes[0].get_legend_handles_labels()
    axes[0].figure.legend(handles, names, ncols=3, loc="outside upper center")


def semi_real(tables: Mapping[str, pd.DataFrame], units: Mapping[str, str], methods: Sequence[str]) -> None:
    """Test error minus that of full data, paired by split: one panel a data set, survival models below."""
    _, axes = plt.subplots(1, len(tables), figsize=(4.6 * len(tables) + 1.2, 4.2), sharey=True, squeeze=False)
    for ax, (name, table) in zip(axes[0], tables.items(), strict=True):
        wide = table.set_index(["split", "learner", "method"])["rmse"].unstack(["learner", "method"])  # noqa: PD010
        labels = []
        for row, (learner, method) in enumerate(_rows(wide, methods)):
            d: Any = wide[(learner, method)] - wide[("linear", FULL)]
            colour = COLOURS.get(method, _C[5])
            ax.errorbar(
                d.mean(), -row, xerr=1.96 * d.sem(), color=colour, marker=MARKERS.get(method, "d"), ms=7, capsize=3,
                mfc="white" if learner == "boosting" else colour,
            )  # fmt: skip
            labels.append(learner if method == "survival model" else f"{learner}, {method}")
        ax.axvline(0, color="k", lw=1, ls="--")
        ax.set(title=name, xlabel=f"test RMSE minus full data's\n({units[name]})")
        ax.set_yticks([-row for row in range(len(labels))], labels)


def _rows(wide: pd.DataFrame, methods: Sequence[str]) -> list[tuple[str, str]]:
    rows = [
        (learner, method)
        for learner in ("linear", "boosting")
        for method in methods
        if (learner, method) in wide
    ]
    return rows + [(str(pair[0]), str(pair[1])) for pair in wide.columns if pair[1] == "survival model"]


def held_out(table: pd.DataFrame, unit: str) -> None:
    """Held-out risk under both judging weights, and concordance, by method."""
    keys = list(dict.fromkeys(zip(table["learner"], table["method"], strict=True)))
    _, axes = plt.subplots(1, 2, figsize=(9.2, 0.36 * len(keys) + 1.6), sharey=True)
    grouped: Any = table.groupby(["learner", "method"])
    for row, key in enumerate(keys):
        part: Any = grouped.get_group(key)
        colour = COLOURS.get(key[1], _C[5])
        for column, face, shift in (("risk", colour, 0.12), ("risk_km", "white", -0.12)):
            axes[0].errorbar(
                part[column].mean(), -row + shift, xerr=1.96 * part[column].sem(), color=colour, mfc=face,
                marker=MARKERS.get(key[1], "d"), ms=7, capsize=2,
            )  # fmt: skip
        axes[1].errorbar(
            part["concordance"].mean(), -row, xerr=1.96 * part["concordance"].sem(), color=colour,
            marker=MARKERS.get(key[1], "d"), ms=7, capsize=2,
        )  # fmt: skip
    names = [k[0] if k[1] == "survival model" else f"{k[0]}, {k[1]}" for k in keys]
    axes[0].set_yticks([-row for row in range(len(keys))], names)
    axes[0].set(xlabel=f"held-out risk ({unit}²); filled: Beran,\nhollow: marginal weights judge")
    axes[1].set(xlabel="concordance (0.5: chance)")
    axes[1].xaxis.set_major_locator(MaxNLocator(4))


# -- apply ---------------------------------------------------------------------------------------------------


def horizons(table: pd.DataFrame, chosen: float, unit: str) -> None:
    """What each horizon costs in effective cases and least survival; a line at the chosen one."""
    _, axes = plt.subplots(1, 2, figsize=(9, 3.4))
    axes[0].plot(table["horizon"], table["known"], "s-", color=_C[1], label="cases known")
    axes[0].plot(table["horizon"], table["effective"], "o-", color=_C[0], label="effective cases")
    axes[0].set(ylabel="cases", ylim=(0, None))
    axes[0].legend()
    axes[1].plot(table["horizon"], table["least survival"], "o-", color=_C[0])
    axes[1].set(ylabel="least estimated P(C ≥ time | x)", ylim=(0, 1))
    for ax in axes:
        ax.axvline(chosen, color="k", lw=1, ls=":")
        ax.set_xlabel(f"horizon ({unit})")


def weight_picture(time: Floats, weights: Floats, event: Any, unit: str) -> None:
    """Each known case's weight against its duration: who speaks for the censored."""
    _, ax = plt.subplots()
    ax.plot(time[event], weights[event], "o", ms=4, alpha=0.5, color=_C[0])
    ax.axhline(1, color="k", lw=1, ls="--")
    ax.set(xlabel=f"observed duration ({unit})", ylabel="weight (1: speaks for itself)", ylim=(0, None))


def predictions(naive: Floats, beran: Floats, unit: str) -> None:
    """Predictions of the weighted model against those of the naive one."""
    _, ax = plt.subplots(figsize=(5.6, 4.6))
    ax.plot(naive, beran, "o", ms=4, alpha=0.5, color=_C[0])
    ax.axline((float(np.mean(naive)), float(np.mean(naive))), slope=1, color="k", ls="--", lw=1)
    ax.set(xlabel=f"naive prediction ({unit})", ylabel=f"Beran-weighted prediction ({unit})")
