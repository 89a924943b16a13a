"""The chapter's figures. Each draws one talk slide and returns nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from numpy.typing import NDArray

from loglik.generative.noise2score.blind import LevelCurve
from loglik.generative.noise2score.images import centre
from loglik.generative.noise2score.inference import psnr
from loglik.generative.noise2score.onedim import Exact

Floats = NDArray[np.float64]
_C = sns.color_palette("colorblind")
COLOURS = {
    "Noise2Score": _C[0],
    "supervised": "black",
    "Noise2Noise": _C[7],
    "Noise2Void": _C[1],
    "Noise2Self": _C[2],
    "SURE": _C[3],
    "PURE": _C[3],
    "BM3D": _C[4],
    "noisy": _C[8],
}
FAMILY_TITLES = {
    "gaussian": "Gaussian, σ = 25/255",
    "poisson": "Poisson, ζ = 0.05",
    "gamma": "Gamma, k = 50",
}


def tweedie_panels(cases: Mapping[str, tuple[Exact, Floats]]) -> None:
    """Posterior mean by quadrature and Tweedie's estimate for one-dimensional noises, by title."""
    _, axes = plt.subplots(
        2, len(cases), figsize=(9.6, 4.9), sharex="col", height_ratios=(3, 1), squeeze=False
    )
    lowest = 100 * min((estimate - truth.mean).min() for truth, estimate in cases.values())
    for (ax, gap), (title, (truth, estimate)) in zip(axes.T, cases.items(), strict=True):
        dots = "." if len(truth.y) < 60 else ""
        ax.plot(truth.y, truth.y, color=_C[7], lw=1.2, ls="--", label="the noisy value itself")
        ax.plot(truth.y, truth.mean, color="black", lw=3, alpha=0.35, label="posterior mean (quadrature)")
        ax.plot(truth.y, estimate, color=_C[0], lw=1.3, marker=dots, ms=4, label="Tweedie’s estimate")
        ax.fill_between(truth.y, 0, 0.3 * truth.density / truth.density.max(), color=_C[9], alpha=0.35, lw=0)
        ax.set(title=title, ylim=(0, 1.1))
        gap.axhline(0, color="black", lw=0.8)
        gap.plot(truth.y, 100 * (estimate - truth.mean), color=_C[3], lw=1.3, marker=dots, ms=4)
        gap.set(xlabel="noisy value y", ylim=(min(-3.8, 1.1 * lowest), 0.8))
    axes[0, 0].set_ylabel("estimate of x")
    axes[1, 0].set_ylabel("gap × 100")
    axes[0, 0].legend(loc="upper left", fontsize="x-small")


def learned_scores(
    y: Floats, sigmas: Sequence[float], learned: Floats, truths: Sequence[Exact], plain: Exact
) -> None:
    """Learned scores of all seeds beside the exact smoothed and the exact plain score, one panel a σ_a."""
    _, axes = plt.subplots(1, len(sigmas), figsize=(9.6, 3.1), sharex=True, sharey=True)
    for ax, sigma_a, curves, truth in zip(axes, sigmas, learned, truths, strict=True):
        ax.plot(y, plain.score, color=_C[1], lw=1.4, ls="--", label="score of y")
        ax.plot(y, truth.score, color="black", lw=3, alpha=0.35, label="score of y + σₐu")
        for k, curve in enumerate(curves):
            ax.plot(y, curve, color=_C[0], lw=1, label=None if k else "learned")
        ax.set(title=f"σₐ = {sigma_a:g}", xlabel="y", ylim=(-28, 28))
    axes[0].set_ylabel("score, per unit of y")
    axes[0].legend(fontsize="x-small", loc="lower left")


def smoothing(sigmas: Floats, distances: Floats, slope: float) -> None:
    """Distance of the smoothed score from the score against σ_a, log axes."""
    _, ax = plt.subplots(figsize=(5.6, 3.6))
    ax.plot(sigmas, distances, "o", color=_C[0])
    middle = len(sigmas) // 2
    ax.plot(sigmas, distances[middle] * (sigmas / sigmas[middle]) ** 2, color="black", lw=1, label="slope 2")
    ax.set(xscale="log", yscale="log", xlabel="σₐ", ylabel="RMS distance of the scores")
    ax.set_title(f"fitted slope {slope:.2f}")
    ax.legend()


def _show(ax: Any, image: Floats, low: float = 0.0, high: float = 1.0, **options: Any) -> None:
    picture = np.clip(np.moveaxis(image, 0, -1) if image.ndim == 3 else image, low, high)
    if picture.ndim == 2:
        options = {"cmap": "gray", "vmin": low, "vmax": high, **options}
    ax.imshow(picture, interpolation="none", **options)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.grid(visible=False)
    for spine in ax.spines.values():
        spine.set_visible(False)


def gallery(
    clean: Floats, pictures: Mapping[str, Floats], box: tuple[slice, slice], columns: int = 4
) -> None:
    """One crop of every picture, with its PSNR over the whole image.

    Parameters
    ----------
    clean : ndarray
        Shown first; PSNR is against it.
    pictures : mapping
        Title to image.
    box : two slices
        Rows and columns of the crop.
    """
    shown = {"clean": clean, **pictures}
    rows = -(-len(shown) // columns)
    _, axes = plt.subplots(rows, columns, figsize=(2.35 * columns, 2.95 * rows), squeeze=False)
    for ax in axes.flat[len(shown) :]:
        ax.set_axis_off()
    for ax, (title, image) in zip(axes.flat, shown.items(), strict=False):
        _show(ax, image[(..., *box)])
        label = title if title == "clean" else f"{title}\n{psnr(clean, image):.2f} dB"
        ax.set_title(label, fontsize="small")


def residuals(
    clean: Floats, pictures: Mapping[str, Floats], box: tuple[slice, slice], reach: float = 0.2
) -> None:
    """Estimate minus truth of every picture in a crop; grey is no error."""
    _, axes = plt.subplots(1, len(pictures), figsize=(2.35 * len(pictures), 2.7), squeeze=False)
    for ax, (title, image) in zip(axes.flat, pictures.items(), strict=True):
        _show(ax, (image - clean)[(..., *box)], -reach, reach)
        ax.set_title(title, fontsize="small")


def differences(table: pd.DataFrame) -> None:
    """Mean PSNR differences with intervals, one panel a family; columns family, other, value, low, high, budget."""
    families = [f for f in FAMILY_TITLES if (table["family"] == f).any()]
    budgets = list(dict.fromkeys(table["budget"]))
    figure, axes = plt.subplots(1, len(families), figsize=(9.6, 3.9), squeeze=False)
    for ax, family in zip(axes[0], families, strict=True):
        part = table[table["family"] == family]
        others = list(dict.fromkeys(part["other"]))[::-1]
        for k, budget in enumerate(budgets):
            rows = part[part["budget"] == budget]
            height = np.array([others.index(o) for o in rows["other"]]) + 0.13 * (len(budgets) - 1 - 2 * k)
            reach = np.abs(rows[["low", "high"]].to_numpy().T - rows["value"].to_numpy())
            ax.errorbar(
                rows["value"],
                height,
                xerr=reach,
                fmt="os^"[k % 3],
                color=_C[k],
                ms=5,
                capsize=2,
                label=budget,
            )
        ax.axvline(0, color="black", lw=0.8)
        ax.set_yticks(range(len(others)), others)
        ax.set(title=FAMILY_TITLES.get(family, family), xlabel="Noise2Score minus it, dB")
        ax.set_ylim(-0.6, len(others) - 0.4)
    handles = {label: h for ax in axes[0] for h, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=3, fontsize="small")


def budgets(table: pd.DataFrame) -> None:
    """Mean PSNR of Noise2Score and supervised training against updates; columns family, method, updates, psnr."""
    families = list(dict.fromkeys(table["family"]))
    _, axes = plt.subplots(1, len(families), figsize=(9.6, 3.3), squeeze=False)
    for ax, family in zip(axes[0], families, strict=True):
        for method in ("supervised", "Noise2Score"):
            part = table[(table["family"] == family) & (table["method"] == method)]
            mean = part.groupby("updates")["psnr"].mean()
            ax.plot(mean.index, mean, "o-", color=COLOURS[method], label=method)
        for name, style in (("Noise2Void", ":"), ("BM3D", "--")):
            found = table[(table["family"] == family) & (table["method"] == name)]
            if len(found):
                level = found[found["updates"] == found["updates"].max()]["psnr"].mean()
                ax.axhline(level, color=COLOURS[name], ls=style, lw=1.4, label=name)
        ticks = sorted(table["updates"].unique())
        ax.set(xscale="log", xlabel="updates", title=FAMILY_TITLES.get(family, family))
        ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
        ax.minorticks_off()
    axes[0, 0].set_ylabel("mean PSNR, dB")
    axes[0, 0].legend(fontsize="x-small", loc="lower right")


def sweep(table: pd.DataFrame) -> None:
    """PSNR against a constant σ_a, one thin line an image, their mean in bold."""
    wide = table.pivot_table(index="sigma_a", columns="image", values="psnr")
    gain = wide - wide.iloc[0]
    _, ax = plt.subplots(figsize=(6.4, 3.8))
    for k, name in enumerate(gain):
        ax.plot(gain.index, gain[name], color=_C[k % 10], lw=1, alpha=0.7, label=name)
    ax.plot(gain.index, gain.mean(axis=1), "o-", color="black", lw=2, label="mean")
    ax.set(xscale="log", xlabel="σₐ (units of the image)", ylabel="PSNR minus that at the smallest σₐ, dB")
    ax.set_xticks(list(gain.index), [f"{s:g}" for s in gain.index])
    ax.minorticks_off()
    ax.legend(fontsize="x-small", ncols=2)


LEVEL_LABELS = {"gaussian": "assumed σ × 255", "poisson": "assumed ζ", "gamma": "assumed k"}
LEVEL_SCALE = {"gaussian": 255.0, "poisson": 1.0, "gamma": 1.0}


def level_curves(curves: Mapping[str, Mapping[str, LevelCurve]], true: Mapping[str, float]) -> None:
    """The criterion against the assumed level, a panel a family, a line an image, scaled to [0, 1]."""
    _, axes = plt.subplots(1, len(curves), figsize=(3.2 * max(2, len(curves)), 3.4), squeeze=False)
    for ax, (family, by_image) in zip(axes[0], curves.items(), strict=True):
        scale = LEVEL_SCALE[family]
        for k, (name, curve) in enumerate(by_image.items()):
            values = np.where(np.isfinite(curve.values), curve.values, np.nan)
            span = np.nanquantile(values, 0.9) - np.nanmin(values)
            height = (values - np.nanmin(values)) / max(span, 1e-12)
            ax.plot(curve.levels * scale, height, color=_C[k % 10], lw=1.2, label=name)
            marker = "o" if curve.identified else "x"
            ax.plot(curve.levels[curve.at] * scale, height[curve.at], marker, color=_C[k % 10], ms=6)
        if family in true:
            ax.axvline(true[family] * scale, color="black", ls="--", lw=1)
        ax.set(xlabel=LEVEL_LABELS[family], title=family.capitalize(), ylim=(-0.08, 1.3))
    axes[0, 0].set_ylabel("criterion, scaled")
    axes[0, -1].legend(fontsize="x-small", loc="upper right")


def before_after(y: Floats, estimate: Floats, clean: Floats | None = None, size: int = 160) -> None:
    """The noisy image, the denoised one, what was taken away, and the truth where it is known: the middle of each.

    PSNR is over the whole images; `size` is the side of what is shown, in pixels.
    """
    pictures = {"noisy": y, "denoised": estimate}
    if clean is not None:
        pictures["clean"] = clean
    _, axes = plt.subplots(1, len(pictures) + 1, figsize=(2.5 * (len(pictures) + 1), 2.9))
    for ax, (title, image) in zip(axes, pictures.items(), strict=False):
        _show(ax, centre(image, size))
        label = title if clean is None or title == "clean" else f"{title}, {psnr(clean, image):.2f} dB"
        ax.set_title(label, fontsize="small")
    away = y - estimate
    reach = 3 * float(away.std())
    _show(axes[-1], centre(0.5 + away / (2 * reach), size))
    axes[-1].set_title(f"taken away, ±{reach:.2f}", fontsize="small")


def variance_law(table: pd.DataFrame, slope: float) -> None:
    """Noise variance against brightness with the laws of the three families; columns mean, variance."""
    _, ax = plt.subplots(figsize=(5.6, 3.6))
    ax.plot(table["mean"], table["variance"], "o", color=_C[0], label=f"this image, slope {slope:.2f}")
    x = np.geomspace(table["mean"].min(), table["mean"].max(), 20)
    centre = np.exp(np.log(table["mean"]).mean()), np.exp(np.log(table["variance"]).mean())
    for power, name, style in ((0, "Gaussian", "-"), (1, "Poisson", "--"), (2, "Gamma", ":")):
        ax.plot(x, centre[1] * (x / centre[0]) ** power, style, color="black", lw=1, label=name)
    ax.set(xscale="log", yscale="log", xlabel="brightness of a block", ylabel="variance of the noise")
    ticks = np.geomspace(table["mean"].min(), table["mean"].max(), 4)
    ax.set_xticks(ticks, [f"{t:.2f}" for t in ticks])
    ax.minorticks_off()
    ax.legend(fontsize="small")


def assumed_level(levels: Floats, values: Mapping[str, Floats], true: float) -> None:
    """PSNR against the assumed σ for several images of noise."""
    _, ax = plt.subplots(figsize=(6.4, 3.8))
    for k, (name, curve) in enumerate(values.items()):
        ax.plot(255 * levels, curve, color=_C[k], lw=1.8, ls=("-", "--", ":")[k % 3], label=name)
    ax.axvline(255 * true, color="black", lw=0.8)
    ax.set(xlabel="σ × 255 put into Tweedie’s formula", ylabel="PSNR, dB")
    ax.legend(fontsize="small")
