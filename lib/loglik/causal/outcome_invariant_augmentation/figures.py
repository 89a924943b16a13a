"""The chapter's figures: errors with intervals, the paper's values beside them. Each draws one, returns nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from loglik.causal.outcome_invariant_augmentation.inputs import Floats
from loglik.causal.outcome_invariant_augmentation.population import (
    adversarial_risk,
    iv_risk,
    ivl_risk,
    population_estimate,
)
from loglik.stats.intervals import mean

PAPER: dict[str, Any] = {"color": "black", "marker": "x", "s": 46, "linewidths": 1.6, "zorder": 5}
COLOURS = {
    "ERM": "C7", "DA+ERM": "C0", "IVL-CV": "C1", "IVL-CC": "C2", "DA+IV": "C3", "IVL": "C1", "IVL-LCV": "C4",
}  # fmt: skip


def four_risks(f: Floats, Sigma: Floats, b: Floats, variance: float, Sigma_G: Floats, alpha: float) -> None:
    """Contours of four risks over two coefficients, with the truth and each minimiser."""
    span = np.linalg.norm(f) * 1.6
    first, second = np.meshgrid(
        np.linspace(f[0] - span, f[0] + span, 90), np.linspace(f[1] - span, f[1] + span, 90)
    )
    h = np.stack([first, second], -1)
    zero = np.zeros(2)
    outcome = adversarial_risk(zero, f, Sigma, b, variance, Sigma_G)
    risks = {
        "ERM": adversarial_risk(h, f, Sigma, b, variance, 0 * Sigma_G),
        "DA+ERM": adversarial_risk(h, f, Sigma, b, variance, Sigma_G),
        "DA+IV": iv_risk(h, Sigma_G, outcome),
        "IVL": ivl_risk(h, f, Sigma, b, variance, Sigma_G, alpha),
    }
    solutions = {
        "ERM": population_estimate(Sigma, b, Sigma_G, f, "erm"),
        "DA+ERM": population_estimate(Sigma, b, Sigma_G, f, "da"),
        "IVL": population_estimate(Sigma, b, Sigma_G, f, alpha),
    }
    _, axes = plt.subplots(1, 4, figsize=(10.5, 3.1), sharex=True, sharey=True)
    for axis, (name, risk) in zip(axes, risks.items(), strict=True):
        rise = risk - risk.min()
        axis.contour(
            first,
            second,
            rise,
            levels=rise.max() * np.linspace(0.05, 0.95, 7) ** 2,
            colors="0.75",
            linewidths=0.9,
        )
        axis.plot(*f, marker="*", ms=15, color="black", ls="", label="truth f")
        if name in solutions:
            axis.plot(*solutions[name], "o", ms=9, color=COLOURS[name], label="minimiser")
        else:
            direction = f / np.linalg.norm(f) * 2 * span
            axis.plot(
                *np.array([f - direction, f + direction]).T, color=COLOURS[name], lw=2.5, label="all minimise"
            )
        axis.set(
            title=name if name != "IVL" else f"IVL, α = {alpha:g}", xlabel="coefficient 1", aspect="equal"
        )
        axis.set_xlim(f[0] - span, f[0] + span)
        axis.set_ylim(f[1] - span, f[1] + span)
        axis.legend(loc="lower right", fontsize="x-small", frameon=True, framealpha=0.9)
    axes[0].set_ylabel("coefficient 2")


def band(axis: Axes, table: pd.DataFrame, x: str, y: str, label: str, **style: object) -> None:
    """Mean over models along `x` with its 95 % t interval."""
    rows = [(value, *mean(part[y])[:3]) for value, part in table.groupby(x)]
    at, centre, low, high = np.array(rows).T
    line = axis.plot(at, centre, label=label, **style)[0]  # type: ignore[arg-type]
    axis.fill_between(at, low, high, color=line.get_color(), alpha=0.18, lw=0)


def broken(table: pd.DataFrame) -> None:
    """Error against the angle by which the augmentation touches the outcome."""
    _, axis = plt.subplots(figsize=(7.2, 3.8))
    for method, part in table.groupby("method", sort=False):
        band(axis, part, "degrees", "error", str(method), color=COLOURS[str(method)], marker="o", ms=4)
    axis.axhline(0.5, color="0.5", ls=":", lw=1)
    axis.text(table.degrees.max(), 0.505, "h = 0", ha="right", va="bottom", fontsize="small", color="0.35")
    axis.set(
        xlabel="tilt of every augmented direction towards f, degrees",
        ylabel="nCER of the coefficients",
        ylim=0,
    )
    axis.legend(ncols=2, fontsize="small")


def domination(table: pd.DataFrame) -> None:
    """CER and Euclidean error over ERM's along growing amplification, a line a model."""
    _, axes = plt.subplots(1, 2, figsize=(9.2, 3.6), sharex=True)
    for axis, column, name in zip(
        axes, ("cer", "euclidean"), ("causal excess risk", "Euclidean error"), strict=True
    ):
        wide = table.set_index(["amplification", "model"])[column].unstack("model")  # noqa: PD010
        ratio = wide / wide.iloc[0]
        rising = (np.diff(ratio.to_numpy(), axis=0) > 1e-9).any(axis=0)
        at = np.maximum(ratio.index.to_numpy(), 0.3)
        if (~rising).any():
            axis.plot(at, ratio.to_numpy()[:, ~rising], color="C0", alpha=0.12, lw=0.8, rasterized=True)
        if rising.any():
            axis.plot(at, ratio.to_numpy()[:, rising], color="C3", alpha=0.25, lw=0.8, rasterized=True)
        axis.axhline(1, color="black", lw=1, ls="--")
        axis.set(xscale="log", yscale="log", xlabel="factor c on Σ_G", title=name)
        axis.set_ylim(1e-4, 3e2)
        axis.set_xticks([0.3, 1, 1e2, 1e4], ["0", "1", "100", "10⁴"])
        axis.minorticks_off()
        axis.text(
            0.03,
            0.05,
            f"rises somewhere in {rising.mean():.0%} of models",
            transform=axis.transAxes,
            fontsize="small",
        )
    axes[0].set_ylabel("error over that of ERM")


def sweeps(kappa: pd.DataFrame, gamma: pd.DataFrame, curve: pd.DataFrame, methods: pd.DataFrame) -> None:
    """Figure of the simulation: error against confounding, strength and penalty, with the paper's values."""
    _, axes = plt.subplots(1, 3, figsize=(11, 3.7), sharey=True)
    for axis, table, x in ((axes[0], kappa, "kappa"), (axes[1], gamma, "gamma")):
        for method, part in table.groupby("method", sort=False):
            band(axis, part, x, "error", str(method), color=COLOURS[str(method)], marker="o", ms=3.5)
    band(axes[2], curve, "alpha", "error", "IVL", color="C1", marker="o", ms=3.5)
    for method in ("ERM", "DA+ERM"):
        level = methods.loc[methods.method == method, "error"].mean()
        axes[2].axhline(level, color=COLOURS[method], ls="--", lw=1.2, label=method)
    for axis, at in ((axes[0], 1.0), (axes[1], 1.0)):
        axis.scatter([at] * 3, [0.477, 0.080, 0.29], **PAPER)
    axes[2].scatter([1e-5, 1e-2, 1e3], [0.035, 0.012, 0.080], **PAPER, label="paper")
    axes[0].set(xlabel="confounding κ", ylabel="nCER of the coefficients", ylim=0)
    axes[1].set(xscale="log", xlabel="strength γ of the augmentation")
    axes[2].set(xscale="log", xlabel="penalty α")
    axes[0].legend(fontsize="small")
    axes[2].legend(fontsize="small", loc="upper left", bbox_to_anchor=(0.0, 0.9))


def method_panel(columns: Mapping[str, pd.DataFrame], paper: Mapping[str, float], unit: str) -> None:
    """Mean error of each method with its 95 % interval, a column of dots a training, and the paper's crosses.

    Parameters
    ----------
    columns : mapping of str to DataFrame
        Label and table (rows: models, experiments or seeds; columns: methods).
    paper : mapping of str to float
    unit : str
        What the rows are, for the axis.
    """
    methods = list(paper)
    _, axis = plt.subplots(figsize=(9.2, 4.0))
    at = np.arange(len(methods))
    offsets = np.linspace(-0.16, 0.16, len(columns)) if len(columns) > 1 else [0.0]
    for colour, offset, (label, table) in zip(("C0", "C1"), offsets, columns.items(), strict=False):
        found = [mean(table[m]) for m in methods]
        centre = np.array([e.value for e in found])
        reach = np.abs(np.array([e.interval for e in found]).T - centre)
        axis.errorbar(at + offset, centre, reach, fmt="o", ms=6, capsize=2, color=colour, label=label)
    axis.scatter(at, [paper[m] for m in methods], **PAPER, label="paper")
    axis.axhline(0.5, color="0.5", ls=":", lw=1)
    axis.set_xticks(at, methods, rotation=35, ha="right")
    axis.set(ylabel=f"nCER, mean over {unit}", ylim=(0, 1.05 if max(paper.values()) > 0.7 else None))
    axis.legend(fontsize="small")


def kernel_search(table: pd.DataFrame, paper: Mapping[str, float]) -> None:
    """Error against the number of null directions, with the panel's values as horizontal lines."""
    _, axis = plt.subplots(figsize=(7.2, 3.7))
    for method, part in table.groupby("method", sort=False):
        band(axis, part, "kernel", "error", str(method), color=COLOURS[str(method)], marker="o", ms=4)
        axis.axhline(paper[str(method)], color=COLOURS[str(method)], ls=":", lw=1.2)
    axis.set(
        xscale="log",
        xlabel="null directions that the augmentation moves, of 31",
        ylabel="nCER of the coefficients",
        ylim=0,
    )
    axis.set_xticks(sorted(table.kernel.unique()), [str(k) for k in sorted(table.kernel.unique())])
    axis.minorticks_off()
    axis.legend(fontsize="small")


def penalties(table: pd.DataFrame, references: Mapping[str, float]) -> None:
    """Coloured digits: error along α for the loss as meant and as released."""
    _, axis = plt.subplots(figsize=(7.2, 3.6))
    names = {"gmm": "IVL, r′Πr", "official": "IVL as released, 1′Πr²"}
    for (key, label), colour in zip(names.items(), ("C1", "C4"), strict=True):
        part = table[table.weighting == key]
        if len(part):
            band(axis, part, "alpha", "error", label, color=colour, marker="o", ms=4)
    for name, level in references.items():
        axis.axhline(level, color=COLOURS[name], ls="--", lw=1.3, label=name)
    axis.set(xscale="log", xlabel="penalty α", ylabel="nCER on test images")
    axis.set_ylim(top=axis.get_ylim()[1] + 0.06)
    axis.legend(fontsize="small", ncols=2, loc="upper right")


def shifted(table: pd.DataFrame) -> None:
    """Risk against the size of the shift."""
    _, axis = plt.subplots(figsize=(7.2, 3.6))
    for method, part in table.groupby("method", sort=False):
        band(axis, part, "scale", "risk", str(method), color=COLOURS[str(method)], marker="o", ms=4)
    axis.set(
        xlabel="shift of the treatment, in standard deviations of the training augmentation",
        ylabel="mean squared error / E Y²",
        yscale="log",
    )
    axis.legend(fontsize="small")


def estimate_path(table: pd.DataFrame, treatments: Sequence[str], chosen: float, unit: str) -> None:
    """Estimates along the penalty with 95 % bands, and ERM and DA+ERM beside them."""
    columns = min(3, len(treatments))
    rows = -(-len(treatments) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(3.5 * columns, 2.5 * rows + 0.3), squeeze=False)
    for axis, name in zip(axes.flat, treatments, strict=False):
        own = table[(table.treatment == name) & (table.method == "IVL")].sort_values("alpha")
        axis.plot(own.alpha, own.estimate, color="C1", label="IVL")
        axis.fill_between(own.alpha, own.low, own.high, color="C1", alpha=0.2, lw=0)
        for method, x in (("ERM", own.alpha.max() * 12), ("DA+ERM", own.alpha.max() * 3)):
            one = table[(table.treatment == name) & (table.method == method)].iloc[0]
            axis.errorbar(x, one.estimate, [[one.estimate - one.low], [one.high - one.estimate]], fmt="o", ms=5,
                          color=COLOURS[method], capsize=2, label=method)  # fmt: skip
        axis.axvline(chosen, color="0.6", ls=":", lw=1)
        axis.axhline(0, color="black", lw=0.8)
        axis.set(xscale="log", title=name)
    for axis in list(axes.flat)[len(treatments) :]:
        axis.set_visible(False)
    figure.supxlabel("penalty α", fontsize="medium")
    figure.supylabel(unit, fontsize="medium")
    axes.flat[0].legend(fontsize="x-small")


def colour_examples(original: Floats, augmented: Floats, labels: Sequence[int]) -> None:
    """Some coloured digits above their augmentations."""
    _, axes = plt.subplots(2, len(labels), figsize=(1.0 * len(labels), 2.3))
    for column, label in enumerate(labels):
        for row, image in enumerate((original[column], augmented[column])):
            axes[row, column].imshow(image.transpose(1, 2, 0).clip(0, 1), interpolation="nearest")
            axes[row, column].set(xticks=[], yticks=[])
            sns.despine(ax=axes[row, column], left=True, bottom=True)
        axes[0, column].set_title(f"label {label}", fontsize="small")
    axes[0, 0].set_ylabel("coloured", fontsize="small")
    axes[1, 0].set_ylabel("augmented", fontsize="small")
