"""The chapter's figures. Each draws one talk slide from a tidy table and returns nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.ticker import FormatStrFormatter, NullFormatter, PercentFormatter
from scipy.special import expit

from loglik.risk.presto.likelihood import Floats
from loglik.risk.presto.path import PrestoPath

_COLOURS = sns.color_palette("colorblind")
COLOURS = {
    "logit": _COLOURS[7],
    "PO": _COLOURS[1],
    "PRESTO": _COLOURS[0],
    "PRESTO, log-loss CV": _COLOURS[9],
    "logit, L2": _COLOURS[4],
    "truth": "black",
}
MARKERS = {"logit": "s", "PO": "^", "PRESTO": "o", "PRESTO, log-loss CV": "D", "logit, L2": "v"}


def variance_curves(table: pd.DataFrame) -> None:
    """Asymptotic variances against the rare class's probability, with the predicted constants."""
    mean = table.groupby("alpha", sort=False).mean().sort_values("rare")
    constant = (mean["logit"] * mean["rare"]).iloc[0]
    _, ax = plt.subplots()
    for _, part in table.groupby("design"):
        ax.plot(part["rare"], part["logit"], color=COLOURS["logit"], alpha=0.25, lw=1)
        ax.plot(part["rare"], part["po"], color=COLOURS["PO"], alpha=0.25, lw=1)
    ax.plot(
        mean["rare"],
        mean["logit"],
        "s",
        color=COLOURS["logit"],
        ms=5,
        label="logistic regression, rare class",
    )
    ax.plot(mean["rare"], mean["po"], "^", color=COLOURS["PO"], ms=5, label="proportional odds")
    ax.plot(mean["rare"], constant / mean["rare"], "k:", lw=1.2, label=f"{constant:.1f} / P(rare)")
    ax.axhline(
        mean["common"].iloc[0], color="k", ls="--", lw=1.2, label="logistic regression, common boundary"
    )
    ax.set(
        xscale="log", yscale="log", xlabel="P(rare class)", ylabel="total asymptotic variance of the weights"
    )
    ax.invert_xaxis()
    ax.legend(loc="upper left")


def error_boxes(table: pd.DataFrame, methods: Sequence[str] = ("logit", "PO", "PRESTO")) -> None:
    """Boxes of the rare-probability error of every method and setting, log scale."""
    chosen = table[table["method"].isin(methods)]
    kinds = [k for k in ("sparse", "dense") if chosen["setting"].str.startswith(k).any()]
    _, axes = plt.subplots(len(kinds), 1, figsize=(8, 3.2 * len(kinds)), squeeze=False)
    for ax, kind in zip(axes[:, 0], kinds, strict=True):
        part = chosen[chosen["setting"].str.startswith(kind)]
        part = part.assign(setting=part["setting"].str.replace(f"{kind} ", "").str.replace(" (", "\n("))
        sns.boxplot(
            part, x="setting", y="mse", hue="method", hue_order=list(methods), ax=ax, log_scale=(False, True),
            palette=COLOURS, width=0.7, fliersize=2, linewidth=0.9, legend=ax is axes[0, 0],
        )  # fmt: skip
        ax.set(
            xlabel="",
            ylabel="mean squared error of P(rare)",
            title=f"{kind} departures from proportional odds",
        )
    axes[-1, 0].set_xlabel("sparsity and intercepts; the larger the last intercept, the rarer the class")
    axes[0, 0].legend(title="", ncols=len(methods), loc="upper right")


def ratio_forest(comparisons: pd.DataFrame, method: str = "PRESTO") -> None:
    """Ratios of mean errors with paired bootstrap intervals, one row a setting."""
    settings = list(dict.fromkeys(comparisons["setting"]))
    position = {setting: -i for i, setting in enumerate(settings)}
    _, ax = plt.subplots(figsize=(7.6, 0.42 * len(settings) + 1.4))
    for shift, (baseline, part) in zip(
        (0.22, 0.0, -0.22), comparisons.groupby("baseline", sort=False), strict=False
    ):
        y = part["setting"].map(position) + shift
        reach = np.abs(part[["ratio_low", "ratio_high"]].to_numpy().T - part["ratio"].to_numpy())
        ax.errorbar(
            part["ratio"], y, xerr=reach, fmt=MARKERS.get(str(baseline), "o"), ms=5, capsize=2,
            color=COLOURS.get(str(baseline), "k"), label=f"{method} / {baseline}",
        )  # fmt: skip
    ax.axvline(1, color="k", lw=1)
    ax.set(xscale="log", xlabel=f"ratio of mean squared errors (below 1: {method} is better)")
    ticks = [t for t in (0.25, 0.35, 0.5, 0.7, 1.0, 1.4) if ax.get_xlim()[0] < t < ax.get_xlim()[1]]
    ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_yticks(list(position.values()), settings)
    ax.legend(loc="upper left", bbox_to_anchor=(0, 1.11), ncols=3, borderaxespad=0)


def consistency(table: pd.DataFrame) -> None:
    """Error of the weights against n on log axes, with the slope -1/2 that theory predicts."""
    _, ax = plt.subplots()
    for method, part in table.groupby("method"):
        groups: Any = part.groupby("n")["error"]
        mean, se = groups.mean(), groups.sem()
        ax.errorbar(
            mean.index,
            mean,
            yerr=2 * se,
            fmt=f"{MARKERS[str(method)]}-",
            color=COLOURS[str(method)],
            capsize=3,
            label=str(method),
        )
    presto = table[table["method"] == "PRESTO"].groupby("n")["error"].mean()
    ax.plot(
        presto.index, presto.iloc[-1] * (presto.index / presto.index[-1]) ** -0.5, "k:", label="slope −1/2"
    )
    ax.set(xscale="log", yscale="log", xlabel="rows n", ylabel="L1 error of all boundary weights")
    ax.set_xticks(presto.index, [f"{n:,}" for n in presto.index])
    ax.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    ax.yaxis.set_minor_formatter(FormatStrFormatter("%g"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.legend()


def reliability(curves: pd.DataFrame, methods: Sequence[str] = ("logit", "PO", "PRESTO")) -> None:
    """Observed against predicted frequency of the rare class, averaged over splits bin by bin."""
    _, ax = plt.subplots(figsize=(6, 4.6))
    ax.axline((0, 0), slope=1, color="k", lw=1, ls="--")
    for method in methods:
        bins = curves[curves["method"] == method].groupby("bin")[["predicted", "observed"]]
        mean, sd = bins.mean(), bins.std()
        ax.errorbar(
            mean["predicted"], mean["observed"], yerr=sd["observed"], fmt=f"{MARKERS[str(method)]}-", ms=5, lw=1.2,
            color=COLOURS[str(method)], capsize=2, label=str(method),
        )  # fmt: skip
    ax.set(xlabel="predicted probability of the rare class", ylabel="observed frequency")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.legend()


def score_differences(table: pd.DataFrame, metrics: Mapping[str, str]) -> None:
    """Paired differences PRESTO minus baseline of several scores; each dot is one split."""
    _, axes = plt.subplots(1, len(metrics), figsize=(2.9 * len(metrics), 3.6), squeeze=False)
    for ax, (metric, label) in zip(axes[0], metrics.items(), strict=True):
        wide = table.set_index(["split", "method"])[metric].unstack()  # noqa: PD010
        for at, baseline in enumerate(("logit", "PO")):
            d: Any = wide["PRESTO"] - wide[baseline]
            spread = at + np.linspace(-0.15, 0.15, len(d))
            ax.plot(spread, d, "o", ms=3, alpha=0.45, color=COLOURS[baseline])
            ax.errorbar(at + 0.28, d.mean(), yerr=1.96 * d.sem(), fmt="D", color="k", ms=5, capsize=3)
        ax.axhline(0, color="k", lw=1)
        ax.set(title=label, xlim=(-0.5, 1.6))
        ax.set_xticks([0, 1], ["− logit", "− PO"])
    axes[0, 0].set_ylabel("PRESTO minus baseline, per split")


def audit(table: pd.DataFrame) -> None:
    """Each pipeline's calibration error under the metric as meant and as released."""
    labels = {
        ("logit", "–", "–"): "logit",
        ("PO", "–", "–"): "PO",
        ("PRESTO", "released", "released"): "PRESTO as released (A, B)",
        ("PRESTO", "corrected", "released"): "PRESTO, only B left",
        ("PRESTO", "released", "corrected"): "PRESTO, only A left",
        ("PRESTO", "corrected", "corrected"): "PRESTO corrected",
    }
    groups: Any = table.groupby(["method", "penalty", "intercepts"])
    _, axes = plt.subplots(1, 2, figsize=(8.6, 3.4), sharey=True)
    titles = {"osce": "metric as meant", "osce_released": "metric as released (C)"}
    for ax, (metric, title) in zip(axes, titles.items(), strict=True):
        for row, (key, label) in enumerate(labels.items()):
            values: Any = groups.get_group(key)[metric]
            ax.errorbar(
                values.mean(), -row, xerr=1.96 * values.sem(), fmt=MARKERS[key[0]], color=COLOURS[key[0]],
                mfc=None if "corrected" in label or key[1] == "–" else "white", ms=7, capsize=3,
            )  # fmt: skip
        ax.set(title=title, xlabel="squared calibration error")
        ax.set_xlim(left=0)
    floor = groups.get_group(("PO", "–", "–"))["floor"].mean()
    axes[0].axvline(floor, color="k", ls=":", lw=1.2)
    axes[0].annotate("a perfect\nprediction", (floor * 0.97, 0.35), ha="right", va="top", fontsize="small")
    axes[0].set_ylim(top=0.5)
    axes[0].set_yticks([-i for i in range(len(labels))], list(labels.values()))


def three_boundaries(estimates: Mapping[str, tuple[Floats, Floats]], names: Sequence[str]) -> None:
    """P(y > k | x) of one feature on a log scale: each panel one method beside the truth.

    `estimates` maps a method to (alpha (K-1,), beta (K-1, 1)); its key "truth" is drawn in every panel.
    """
    x = np.linspace(-1, 1, 101)
    methods = [m for m in estimates if m != "truth"]
    _, axes = plt.subplots(1, len(methods), figsize=(3.2 * len(methods), 3.7), sharey=True)
    for ax, method in zip(axes, methods, strict=True):
        for k, name in enumerate(names):
            (a0, b0), (a, b) = estimates["truth"], estimates[method]
            ax.plot(x, expit(-(a0[k] + b0[k, 0] * x)), color="0.55", lw=5, alpha=0.55, solid_capstyle="butt")
            if np.isfinite(a[k]):
                ax.plot(x, expit(-(a[k] + b[k, 0] * x)), color=_COLOURS[(0, 2, 3)[k % 3]], lw=2, label=name)
        ax.set(yscale="log", title=method, xlabel="feature x")
    axes[0].set_ylabel("probability of getting this far")
    handles = [plt.Line2D([], [], color="0.55", lw=5, alpha=0.55, label="truth")]
    handles += [plt.Line2D([], [], color=_COLOURS[(0, 2, 3)[k]], lw=2, label=n) for k, n in enumerate(names)]
    axes[0].figure.legend(handles=handles, ncols=4, loc="outside upper center")


def coefficient_paths(
    path: PrestoPath, names: Sequence[str], boundaries: Sequence[str], truth: Floats
) -> None:
    """Each feature's boundary weights along the path; lines that lie on each other are fused."""
    p = path.coefs.shape[2]
    columns = min(p, 3)
    _, axes = plt.subplots(
        -(-p // columns),
        columns,
        figsize=(2.9 * columns, 2.4 * -(-p // columns)),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    for j, ax in enumerate(axes.flat[:p]):
        for k, boundary in enumerate(boundaries):
            colour = _COLOURS[(0, 2, 3)[k % 3]]
            ax.plot(
                path.lambdas,
                path.coefs[:, k, j],
                color=colour,
                lw=4.5 - 1.5 * k,
                label=boundary if j == 0 else None,
            )
            ax.plot(path.lambdas[-1] * 0.8, truth[k, j], "<", color=colour, ms=7 - k, clip_on=False)
        ax.set(xscale="log", title=names[j])
    axes[0, 0].invert_xaxis()
    for ax in axes[-1]:
        ax.set_xlabel("penalty λ (weaker →)")
    for row in axes:
        row[0].set_ylabel("weight β")
    axes[0, 0].figure.legend(ncols=len(boundaries), loc="outside upper center")


def broken(table: pd.DataFrame) -> None:
    """Errors against how far the rare boundary's effects depart from the common one's."""
    _, ax = plt.subplots()
    for method in ("logit", "logit, L2", "PO", "PRESTO"):
        groups: Any = table[table["method"] == method].groupby("multiple")["mse"]
        mean, se = groups.mean(), groups.sem()
        ax.errorbar(
            mean.index,
            mean,
            yerr=2 * se,
            fmt=f"{MARKERS[method]}-",
            color=COLOURS[method],
            capsize=3,
            label=method,
        )
    ax.set(
        yscale="log",
        xlabel="effects on the rare step, as a multiple of those on the common step",
        ylabel="mean squared error of P(rare)",
    )
    ax.annotate(
        "proportional odds is true",
        (1, 0),
        (1, 4),
        xycoords=("data", "axes points"),
        ha="right",
        fontsize="small",
    )
    ax.annotate(
        "all effects reversed",
        (-1, 0),
        (-1, 4),
        xycoords=("data", "axes points"),
        ha="left",
        fontsize="small",
    )
    ax.legend(ncols=2)


def coefficient_bars(coefs: pd.DataFrame) -> None:
    """Odds ratios per standard deviation for getting past each boundary: one row a feature."""
    _, ax = plt.subplots(figsize=(7.2, 0.42 * len(coefs) + 1.4))
    for k, boundary in enumerate(coefs.columns):
        ax.plot(np.exp(coefs[boundary]), range(len(coefs)), "o", ms=11 - 2 * k, label=boundary, alpha=0.85)
    ax.axvline(1, color="k", lw=1)
    ax.set_yticks(range(len(coefs)), list(coefs.index))
    ax.set(
        xscale="log", xlabel="odds ratio of getting past the boundary, per standard deviation of the feature"
    )
    low, high = ax.get_xlim()
    ticks = [
        t
        for t in (0.05, 0.1, 0.2, 0.33, 0.5, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.4, 2, 3, 5, 10, 20)
        if low < t < high
    ]
    ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.invert_yaxis()
    ax.legend(title="getting past", loc="upper left", bbox_to_anchor=(1, 1))
