"""The chapter's figures. Each draws one talk slide from arrays or a tidy table and returns nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.ticker import NullFormatter

from loglik.risk.checks import Floats
from loglik.risk.h_calibration.loss import noise_floor, window_statistic
from loglik.risk.h_calibration.maps import PiecewiseLinearMap
from loglik.risk.h_calibration.metrics import ReliabilityCurve, ece, reliability_curve
from loglik.stats.intervals import Estimate, mean

_COLOURS = sns.color_palette("colorblind")
COLOURS = {
    "h": _COLOURS[0],
    "NLL": _COLOURS[1],
    "Brier": _COLOURS[2],
    "probmetrics": _COLOURS[7],
    "–": "black",
}
MARKERS = {"h": "o", "NLL": "s", "Brier": "^", "probmetrics": "D", "–": "X"}
BAND = {"color": "0.6", "alpha": 0.35, "lw": 0}


# -- reliability and the statistic ---------------------------------------------------------------------------


def draw_reliability(curve: ReliabilityCurve, ax: Any, colour: Any = _COLOURS[0]) -> None:
    """One reliability diagram: points with Wilson intervals, and the band of a calibrated predictor."""
    ends = np.r_[curve.confidence[0], curve.confidence, curve.confidence[-1]]
    ax.fill_between(curve.confidence, curve.band_low, curve.band_high, label="calibrated: 95 % band", **BAND)
    ax.plot([0, 1], [0, 1], "k--", lw=1)
    bars = np.abs(np.array([curve.low, curve.high]) - curve.frequency)
    ax.errorbar(
        curve.confidence,
        curve.frequency,
        bars,
        fmt="o",
        color=colour,
        ms=5,
        capsize=2,
        label="observed, 95 %",
    )
    ax.set(xlim=(min(ends.min() - 0.03, 0.97), 1.01), xlabel="predicted probability of the top class")


def reliability_panels(predictions: Mapping[str, Floats], y: np.ndarray, n_bins: int = 15) -> None:
    """Reliability diagrams side by side, each with its ECE."""
    _, axes = plt.subplots(
        1, len(predictions), figsize=(3.6 * len(predictions), 3.6), sharey=True, squeeze=False
    )
    for ax, (name, probs) in zip(axes[0], predictions.items(), strict=True):
        draw_reliability(reliability_curve(probs, y, n_bins=n_bins), ax)
        ax.set(title=f"{name}: ECE {ece(probs, y):.3f}", xlim=(0.15, 1.02), ylim=(0.1, 1.03))
    axes[0, 0].set_ylabel("share of right predictions")
    axes[0, 0].legend(loc="lower right", fontsize="small")


def window_panels(predictions: Mapping[str, Floats], y: np.ndarray, window: int = 200) -> None:
    """The window statistic along the sorted events, in the noise band of a calibrated predictor."""
    _, axes = plt.subplots(
        1, len(predictions), figsize=(3.9 * len(predictions), 3.7), sharey=True, squeeze=False
    )
    for ax, (name, probs) in zip(axes[0], predictions.items(), strict=True):
        p, T = window_statistic(probs, y, window)
        sd = noise_floor(p, window) * np.sqrt(np.pi / 2)
        # a running mean of `window` events moves little between neighbours: a tenth of it is drawn
        some = np.unique(np.linspace(0, len(p) - 1, 10 * len(p) // window + 2).astype(int))
        x = some / len(p)
        ax.fill_between(x, -2 * sd[some], 2 * sd[some], label="calibrated: ±2 standard errors", **BAND)
        ax.fill_between(x, 0, T[some], color=_COLOURS[0], alpha=0.35, lw=0)
        ax.plot(x, T[some], color=_COLOURS[0], lw=1.2, label=f"mean of {window + 1} residuals")
        ax.axhline(0, color="k", lw=0.8)
        ticks = [0.001, 0.01, 0.1, 0.5, 0.9, 0.99]
        shown = [t for t in ticks if p[0] < t < p[-1]]
        at = np.searchsorted(p, shown) / len(p)
        keep = np.r_[True, np.diff(at) > 0.07]
        ax.set(xticks=at[keep], title=f"{name}: mean |T| {np.abs(T).mean():.3f}")
        ax.set_xticklabels([f"{t:g}" for t, k in zip(shown, keep, strict=True) if k])
        ax.set_xlabel("predicted p of the events, in rank order")
    axes[0, 0].set_ylabel("predicted minus observed, $T_k$")
    axes[0, 0].legend(loc="upper left", fontsize="small")


def event_strip(probs: Floats, y: np.ndarray, window: int) -> None:
    """A few events one by one: outcomes, the running mean of outcomes, predicted probabilities."""
    order = np.argsort(probs, axis=None)
    p = probs.ravel()[order]
    hit = (y[:, None] == np.arange(probs.shape[1])).ravel()[order]
    _, T = window_statistic(probs, y, window)
    inside = slice(window // 2, len(p) - window // 2)
    rank = np.arange(len(p))
    _, ax = plt.subplots(figsize=(7.2, 3.6))
    ax.plot(rank[hit], np.full(hit.sum(), 1.03), "|", color=_COLOURS[1], ms=9, label="outcome 1")
    ax.plot(rank[~hit], np.full((~hit).sum(), -0.03), "|", color="0.6", ms=9, label="outcome 0")
    ax.plot(rank, p, color="k", lw=1.8, label="predicted p")
    ax.plot(
        rank[inside],
        (p - T)[inside],
        color=_COLOURS[0],
        lw=1.8,
        label=f"share of 1 among {window + 1} neighbours",
    )
    ax.fill_between(
        rank[inside], p[inside], (p - T)[inside], color=_COLOURS[0], alpha=0.25, lw=0, label="gap: $T_k$"
    )
    ax.set(xlabel="events (sample, class), sorted by predicted p", ylabel="probability")
    ax.legend(loc="center left", fontsize="small", bbox_to_anchor=(0.0, 0.62))


# -- C3, C4 --------------------------------------------------------------------------------------------------


def window_convergence(table: pd.DataFrame) -> None:
    """Mean |T| against the window: the floor's line at the truth, the true gap for the sharpened predictor."""
    _, ax = plt.subplots()
    styles = {"calibrated": (_COLOURS[0], "o"), "sharpened": (_COLOURS[1], "s")}
    for name, (colour, marker) in styles.items():
        part = table[table["predictor"] == name].groupby("window")
        centre, spread = part["statistic"].mean(), part["statistic"].std()
        ax.errorbar(
            centre.index,
            centre,
            2 * spread,
            fmt=marker,
            color=colour,
            ms=5,
            capsize=2,
            label=f"{name}: mean |T|",
        )
    fair, sharp = (table[table["predictor"] == name] for name in styles)
    floor = fair.groupby("window")["floor"].mean()
    ax.plot(floor.index, floor, "--", color=_COLOURS[0], lw=1.2, label="noise floor (closed form)")
    ax.axhline(
        sharp["gap"].mean(), color=_COLOURS[1], ls=":", lw=1.6, label="true gap of the sharpened predictor"
    )
    ax.set(xscale="log", yscale="log", xlabel="window M (events)", ylabel="mean |T| (probability)")
    ax.legend(fontsize="small")


def exceedances(table: pd.DataFrame) -> None:
    """Share of windows beyond epsilon at the truth, below both exponential bounds."""
    _, ax = plt.subplots(figsize=(8.6, 3.8))
    for colour, window in zip(_COLOURS, sorted(set(table["window"].tolist())), strict=False):
        part = table[table["window"] == window]
        share = part.groupby("epsilon")[["share", "bound", "sharp"]].mean()
        x, seen = share.index * np.sqrt(window + 1), share["share"] > 0
        ax.plot(
            x[seen], share["share"][seen], "o-", color=colour, ms=4, lw=1, label=f"observed, M = {window}"
        )
    x = np.linspace(0, (table["epsilon"] * np.sqrt(table["window"] + 1)).max(), 200)
    ax.plot(x, np.minimum(2 * np.exp(-(x**2) / 2), 1), "k--", lw=1.2, label="Hoeffding, residuals in [−1, 1]")
    ax.plot(x, np.minimum(2 * np.exp(-2 * x**2), 1), "k:", lw=1.6, label="Hoeffding, residuals of range 1")
    ax.set(
        yscale="log",
        ylim=(1e-5, 1.5),
        xlim=(0, 4),
        xlabel=r"$\epsilon\,\sqrt{M+1}$",
        ylabel=r"share of windows with $|T_k|>\epsilon$",
    )
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize="small")


def loss_landscape(table: pd.DataFrame, close: pd.DataFrame) -> None:
    """Three objectives along one temperature, each scaled to [0, 1]; two of them once more from close by."""
    _, (ax, near) = plt.subplots(1, 2, figsize=(8.4, 3.8), width_ratios=[3, 2])
    styles = {"NLL": ("NLL", _COLOURS[1]), "h": ("h loss", _COLOURS[0]), "ECE": ("ECE", "0.45")}
    for name, (label, colour) in styles.items():
        value = table[name] - table[name].min()
        best = table["t"][value.idxmin()]
        ax.plot(table["t"], value / value.max(), color=colour, lw=1.6, label=f"{label}, lowest at {best:.3f}")
        ax.plot(best, 0, "v", color=colour, ms=8, clip_on=False)
        if name != "NLL":
            near.plot(
                close["t"], 1e3 * (close[name] - close[name].iloc[0]), color=colour, lw=1.2, label=label
            )
    ax.set(xlabel="inverse temperature t", ylabel="objective, scaled to [0, 1]", ylim=(0, None))
    ax.legend(loc="upper center", fontsize="small")
    near.set(title="from close by", xlabel="inverse temperature t", ylabel="change × 1000")
    near.locator_params(axis="x", nbins=3)


# -- C1, C5, C8 ----------------------------------------------------------------------------------------------


def method_dots(table: pd.DataFrame, metrics: Sequence[str] = ("ECE", "KS", "class-wise ECE", "NLL")) -> None:
    """Mean of each metric with its t interval over networks; one row a method, sorted by the first metric."""
    groups = table[table["map"] != "uncalibrated"].groupby(["map", "loss"])
    order = groups[metrics[0]].mean().sort_values(ascending=False).index
    height = 0.28 * len(order) + 1.2
    _, axes = plt.subplots(1, len(metrics), figsize=(2.6 * len(metrics), height), sharey=True)
    for ax, metric in zip(axes, metrics, strict=True):
        for row, method in enumerate(order):
            found = mean(groups.get_group(method)[metric])
            colour, marker = COLOURS[method[1]], MARKERS[method[1]]
            ax.errorbar(
                found.value, row, xerr=found.value - found.low, fmt=marker, color=colour, ms=5, capsize=2
            )
        ax.set(xlabel=f"{metric}" + (" (nats)" if metric == "NLL" else ""))
        ax.grid(axis="y", alpha=0.3)
        ax.tick_params(axis="x", labelsize="small")
        ax.locator_params(axis="x", nbins=3)
    axes[0].set_yticks(range(len(order)), [f"{kind} · {loss}" for kind, loss in order], fontsize="small")


def differences(rows: Mapping[str, Mapping[str, Estimate]], unit: str = "h minus NLL") -> None:
    """Paired differences with intervals: one panel a metric, one row a map."""
    metrics = list(next(iter(rows.values())))
    _, axes = plt.subplots(1, len(metrics), figsize=(2.9 * len(metrics), 0.45 * len(rows) + 1.3), sharey=True)
    for ax, metric in zip(np.atleast_1d(axes), metrics, strict=True):
        ax.axvline(0, color="k", lw=1)
        for row, found in enumerate(each[metric] for each in rows.values()):
            ax.plot(found.low, row, alpha=0)
            ax.errorbar(
                found.value, row, xerr=found.value - found.low, fmt="o", color=_COLOURS[0], ms=6, capsize=3
            )
        ax.set(xlabel=f"{metric}, {unit}")
        ax.locator_params(axis="x", nbins=4)
        ax.margins(y=0.25)
    np.atleast_1d(axes)[0].set_yticks(range(len(rows)), list(rows))


def posterior_dots(table: pd.DataFrame) -> None:
    """Squared distance to the true posterior: one panel a distortion, one row a method, log scale."""
    kinds = list(dict.fromkeys(table["kind"]))
    methods = [m for m in dict.fromkeys(zip(table["map"], table["loss"], strict=True)) if m[0] != "truth"][
        ::-1
    ]
    _, axes = plt.subplots(1, len(kinds), figsize=(3.4 * len(kinds), 0.28 * len(methods) + 1.3), sharey=True)
    for ax, kind in zip(axes, kinds, strict=True):
        part = table[table["kind"] == kind].groupby(["map", "loss"])["error"]
        for row, method in enumerate(methods):
            values = part.get_group(method)
            ax.plot(values, np.full(len(values), row), "|", color=COLOURS[method[1]], ms=8, alpha=0.7)
            ax.plot(values.mean(), row, MARKERS[method[1]], color=COLOURS[method[1]], ms=6)
        ax.set(xscale="log", title=kind, xlabel=r"$\mathrm{E}\,\|P-P^*\|^2$")
        ax.xaxis.set_minor_formatter(NullFormatter())
    axes[0].set_yticks(range(len(methods)), [f"{kind} · {loss}" for kind, loss in methods], fontsize="small")


# -- C2, C6, C7, ablations -----------------------------------------------------------------------------------


def jump_of_released_map(slopes: Sequence[float] = (1, 1.5, *[1.0] * 9), bound: float = 100.0) -> None:
    """The released piecewise-linear map beside the corrected one with the same slopes."""
    grid = torch.linspace(-35, 0, 3501, dtype=torch.float64)
    _, ax = plt.subplots()
    for released, colour, label in ((False, _COLOURS[0], "corrected"), (True, _COLOURS[1], "released")):
        given = torch.tensor(slopes if released else slopes[1:], dtype=torch.float64)
        model = PiecewiseLinearMap(len(slopes) - 1, bound=bound, released=released)
        with torch.no_grad():
            model.slopes.copy_(given)
            value = model.transform(grid).numpy()
        value[np.r_[False, np.abs(np.diff(value)) > 1]] = np.nan
        ax.plot(grid, value, color=colour, lw=2, label=label)
    for knot in (-30, -20, -10):
        ax.axvline(knot, color="0.7", lw=0.8, ls=":")
    ax.set(xlabel=r"log-probability $\ell$ (nats)", ylabel=r"$h(\ell)$ (nats)")
    ax.legend(loc="upper left")


def imbalance_curves(table: pd.DataFrame) -> None:
    """The h loss of a calibrated predictor along the inverse temperature, with and without leaving out."""
    settings = list(dict.fromkeys(zip(table["classes"], table["imbalance"], strict=True)))
    _, axes = plt.subplots(1, len(settings), figsize=(3.3 * len(settings), 3.4), sharex=True)
    for ax, (classes, imbalance) in zip(np.atleast_1d(axes), settings, strict=True):
        part = table[(table["classes"] == classes) & (table["imbalance"] == imbalance)]
        for name, colour, marker in (("leave one out", _COLOURS[1], "s"), ("pooled", _COLOURS[0], "o")):
            curve = part[part["subsets"] == name].groupby("t")["loss"]
            centre, se = curve.mean(), curve.sem()
            line = "-" if name == "leave one out" else "--"
            ax.errorbar(centre.index, centre, 2 * se, color=colour, ls=line, lw=1.6, elinewidth=1, label=name)
            ax.plot(centre.idxmin(), centre.min(), marker, color=colour, ms=8)
        ax.axvline(1, color="k", ls=":", lw=1)
        what = "balanced" if imbalance == 0 else f"imbalance {imbalance:g}"
        ax.set(title=f"{classes} classes, {what}", xlabel="inverse temperature t", ylim=(0, None))
        ax.set_xticks([0.8, 1.0, 1.2])
    np.atleast_1d(axes)[0].set_ylabel("h loss (probability)")
    np.atleast_1d(axes)[-2].legend(loc="center", fontsize="small")


def ablation_panels(table: pd.DataFrame) -> None:
    """Test ECE and KS error of one temperature against the window and the other settings."""
    labels = (table["setting"] + " " + table["value"]).to_numpy()
    order = list(dict.fromkeys(labels))[::-1]
    base = order.index("window 200")
    _, axes = plt.subplots(1, 2, figsize=(7.6, 0.3 * len(order) + 1.2), sharey=True)
    for ax, metric in zip(axes, ("ECE", "KS"), strict=True):
        for row, name in enumerate(order):
            found = mean(table[metric][labels == name])
            colour = _COLOURS[1] if row == base else _COLOURS[0]
            ax.errorbar(
                found.value, row, xerr=found.value - found.low, fmt="o", color=colour, ms=5, capsize=2
            )
        ax.set(xlabel=f"test {metric}", xlim=(0, None))
    axes[0].set_yticks(range(len(order)), order, fontsize="small")


def published_ranks(table: pd.DataFrame, metrics: Sequence[str] = ("ECE", "KS", "CWECE_a", "NLL")) -> None:
    """Mean rank of each compared method over the 15 tasks, from the repository's stored results."""
    part = table[table["method"] != "none"]
    ranks = pd.DataFrame({m: part.groupby("task")[m].rank().groupby(part["method"]).mean() for m in metrics})
    order = ranks[metrics[0]].sort_values(ascending=False).index
    _, ax = plt.subplots(figsize=(7.2, 0.25 * len(order) + 1))
    for metric, colour, marker in zip(metrics, _COLOURS, "osD^", strict=False):
        ax.plot(ranks.loc[order, metric], range(len(order)), marker, color=colour, ms=6, label=metric)
    ax.set_yticks(range(len(order)), order, fontsize="small")
    ax.set(xlabel="mean rank over 15 tasks (1 is best)", xlim=(1, None))
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize="small")


# -- method: where it breaks ---------------------------------------------------------------------------------


def class_curves(
    probs: Floats, y: np.ndarray, classes: Sequence[int], n_bins: int = 8
) -> dict[str, ReliabilityCurve]:
    """Reliability of single classes against the rest, and of their events pooled."""
    curves = {f"class {c + 1}": reliability_curve(probs, y, n_bins=n_bins, target=c) for c in classes}
    p, hit = probs[:, list(classes)].ravel(), (y[:, None] == np.array(classes)).ravel()
    both = np.column_stack([1 - p, p])
    return curves | {"both pooled": reliability_curve(both, hit.astype(int), n_bins=n_bins, target=1)}


def class_panels(curves: Mapping[str, Mapping[str, ReliabilityCurve]]) -> None:
    """Reliability of single classes and of all events pooled, before (first) and after (second)."""
    _, axes = plt.subplots(1, len(curves), figsize=(3.9 * len(curves), 3.6), sharey=True, sharex=True)
    for ax, (name, lines) in zip(np.atleast_1d(axes), curves.items(), strict=True):
        for (label, curve), colour, marker in zip(lines.items(), _COLOURS, "os^D", strict=False):
            bars = np.abs(np.array([curve.low, curve.high]) - curve.frequency)
            ax.errorbar(
                curve.confidence,
                curve.frequency,
                bars,
                fmt=marker,
                color=colour,
                ms=5,
                capsize=2,
                label=label,
            )
        ax.plot([0.1, 0.5], [0.1, 0.5], "k--", lw=1)
        ax.set(title=name, xlabel="predicted probability", xlim=(0.18, 0.42), ylim=(0.05, 0.55))
    np.atleast_1d(axes)[0].set_ylabel("observed frequency")
    np.atleast_1d(axes)[0].legend(loc="upper left", fontsize="small")


def candidates(table: pd.DataFrame) -> None:
    """Out-of-fold gain in Brier score of each candidate with its interval."""
    rows = table.drop(index="uncalibrated")
    _, ax = plt.subplots(figsize=(7.2, 0.4 * len(rows) + 1.2))
    bars = np.array([rows["gain"] - rows["low"], rows["high"] - rows["gain"]])
    ax.errorbar(rows["gain"], range(len(rows)), xerr=bars, fmt="o", color=_COLOURS[0], ms=6, capsize=3)
    ax.axvline(0, color="k", lw=1)
    ax.set_yticks(range(len(rows)), list(rows.index))
    ax.margins(y=0.3)
    ax.set(xlabel="gain in Brier score over the uncalibrated probabilities, out of fold")
