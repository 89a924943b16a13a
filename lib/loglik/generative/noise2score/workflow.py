"""Denoising an image of the reader's: reading, guessing the family, the level, checks, and an honest comparison."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import polygamma
from torch import nn

from loglik.generative.noise2score import blind, classical, images, inference, training
from loglik.generative.noise2score.noise import NoiseModel, noise_model
from loglik.generative.noise2score.pretrained.make import RANGES

Floats = NDArray[np.float64]
Denoiser = Callable[[Floats], Floats]
POWERS = {"gaussian": 0, "poisson": 1, "gamma": 2}
MARGIN = 1.5  # brightness above which pixels are surely not on the scale of [0, 1]


@dataclass(frozen=True)
class Noisy:
    """An image to denoise.

    Attributes
    ----------
    y : ndarray, shape (H, W) or (3, H, W)
        On the scale of [0, 1].
    clean : ndarray or None
        The truth, where the example has one.
    """

    y: Floats
    clean: Floats | None = None


def read_noisy(
    data: str,
    family: str,
    level: float,
    rng: np.random.Generator,
    *,
    white: float | None = None,
    size: int = 256,
) -> Noisy:
    """The reader's image, or a photograph with noise added to it.

    Parameters
    ----------
    data : str
        Path of an image, or the name of one of the held-out photographs.
    family, level
        Of the noise that a photograph gets; a file gets none.
    rng : numpy.random.Generator
    white : float, optional
        The pixel value that means 1. Default: the range of an integer format; 1 for floats.
    size : int
        Pixels of a side of the photograph's crop.

    Raises
    ------
    ValueError
        For a white that isn't positive, or pixels far outside [0, 1].
    """
    if data in images.TEST:
        clean = images.centre(images.grey(images.photograph(data)), size)
        return Noisy(noise_model(family, level).sample(clean, rng), clean)
    if white is not None and not white > 0:
        raise ValueError(f"white must be positive, got {white}")
    y = images.read_image(data) if white is None else _rescaled(data, white)
    if float(np.quantile(np.abs(y), 0.99)) > MARGIN:
        raise ValueError(
            f"{Path(data).name}: pixels reach {y.max():.4g}, far above 1; give the value that means white as `white`"
        )
    return Noisy(y)


def _rescaled(data: str, white: float) -> Floats:
    y = images.read_image(data)
    if not data.lower().endswith(".npy"):
        import skimage.io

        pixels = skimage.io.imread(data)
        scale = np.iinfo(pixels.dtype).max if np.issubdtype(pixels.dtype, np.integer) else 1
    else:
        pixels = np.load(data, mmap_mode="r", allow_pickle=False)
        scale = np.iinfo(pixels.dtype).max if np.issubdtype(pixels.dtype, np.integer) else 1
    return y * scale / white


def _mosaic(y: Floats) -> Floats:
    """The channels of the middle of an image, one below the other: what a grey network can take at once."""
    part = images.centre(y, 512)
    return part if part.ndim == 2 else part.reshape(-1, part.shape[-1])


# -- which noise is it? --------------------------------------------------------------------------------------------


def variance_by_brightness(y: Floats, block: int = 8, bins: int = 8) -> pd.DataFrame:
    """Variance of the noise in blocks of like brightness: columns mean, variance.

    A second difference in both directions removes what is smooth; of the blocks of one brightness the flattest
    fifth counts, so that texture doesn't.
    """
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]]) / 6.0
    image = _mosaic(y)
    h, w = (s // block * block for s in image.shape)
    high = ndimage.convolve(image, kernel, mode="mirror")[:h, :w] ** 2

    def averaged(a: Floats) -> Floats:
        return a[:h, :w].reshape(h // block, block, w // block, block).mean(axis=(1, 3)).ravel()

    table = pd.DataFrame({"mean": averaged(image), "variance": averaged(high)})
    table = table[(table["mean"] > 0.02) & (table["variance"] > 1e-9)]
    bins = max(3, min(bins, len(table) // 20))
    by = table.groupby(pd.qcut(table["mean"], bins, duplicates="drop"), observed=True)
    return pd.DataFrame({"mean": by["mean"].median(), "variance": by["variance"].quantile(0.2)}).reset_index(
        drop=True
    )


def likely_family(y: Floats) -> tuple[str, float, pd.DataFrame]:
    """The family whose variance grows with brightness as this image's does: power 0, 1 or 2.

    Returns
    -------
    family : str
    slope : float
        Of log variance on log brightness.
    table : DataFrame
        From :func:`variance_by_brightness`.

    Raises
    ------
    ValueError
        For an image of fewer than three brightnesses.
    """
    table = variance_by_brightness(y)
    if len(table) < 3:
        raise ValueError("too few blocks of different brightness to tell the family; give it by name")
    slope = float(np.polyfit(np.log(table["mean"]), np.log(table["variance"]), 1)[0])
    allowed = POWERS if y.min() >= 0 else {"gaussian": 0}
    return min(allowed, key=lambda name: abs(slope - POWERS[name])), slope, table


def classical_level(y: Floats, family: str) -> float:
    """A level that no network made: the median of the finest wavelet details, on a scale where the noise is even."""
    from skimage.restoration import estimate_sigma

    image = _mosaic(y)
    if family == "gaussian":
        return float(estimate_sigma(image))
    if family == "poisson":  # sd of sqrt(y) is sqrt(ζ)/2
        return float((2 * estimate_sigma(np.sqrt(np.maximum(image, 0) + 1e-12))) ** 2)
    sd = float(estimate_sigma(np.log(np.maximum(image, 1e-3))))
    grid = np.geomspace(2, 1000, 400)
    return float(grid[np.abs(np.sqrt(polygamma(1, grid)) - sd).argmin()])


# -- denoising -----------------------------------------------------------------------------------------------------


def estimate_level(net: nn.Module, y: Floats, family: str) -> tuple[float, blind.LevelCurve]:
    """The level of least total variation, of a grey or colour image (its middle, at most 512 pixels a side).

    Total variation serves for all families; the official criteria for Poisson and Gamma noise find worse levels.
    """
    return blind.estimate_noise_level(net, _mosaic(y), family, criterion="tv")


def denoise_planes(net: nn.Module, y: Floats, noise: NoiseModel) -> Floats:
    """A grey network on every channel by itself."""
    if y.ndim == 2:
        return inference.denoise(net, y, noise)
    return np.stack([inference.denoise(net, plane, noise) for plane in y])


def adapt(net: nn.Module, y: Floats, noise: NoiseModel, steps: int, *, seed: int = 0) -> nn.Module:
    """A copy of the network trained further on this one noisy image: no clean image is needed for that."""
    own = copy.deepcopy(net)
    planes = [y] if y.ndim == 2 else list(y)
    start, stop = training.DEFAULT_SIGMA[noise.family]
    schedule = training.SigmaSchedule((start + stop) / 2, stop, steps)
    training.train_score(
        own, planes, noise, sigma_schedule=schedule, steps=steps, lr=5e-4, stride=8, seed=seed
    )
    return own


def on_planes(denoiser: Denoiser, y: Floats) -> Floats:
    """A grey denoiser on every channel."""
    return denoiser(y) if y.ndim == 2 else np.stack([denoiser(plane) for plane in y])


def competitors(net: nn.Module, noise: NoiseModel) -> dict[str, Denoiser]:
    """Noise2Score and what needs no network, for one noise."""
    found: dict[str, Denoiser] = {
        "Noise2Score, blind": lambda y: denoise_planes(net, y, noise),
        "BM3D": lambda y: on_planes(lambda p: classical.bm3d_denoise(p, noise), y),
    }
    if noise.family == "gaussian":
        for name, f in classical.classical_denoisers(noise.level).items():
            found[name] = lambda y, f=f: on_planes(f, y)  # type: ignore[misc]
    return found


# -- checks --------------------------------------------------------------------------------------------------------


def _noise_sd(x: Floats, noise: NoiseModel) -> Floats:
    mean = np.clip(x, 0.01, None)
    law = {
        "gaussian": np.full_like(mean, noise.level),
        "poisson": np.sqrt(noise.level * mean),
        "gamma": mean / np.sqrt(noise.level),
    }
    return law[noise.family]


def check_assumptions(
    y: Floats, estimate: Floats, noise: NoiseModel, curve: blind.LevelCurve, slope: float
) -> pd.DataFrame:
    """What the method rests on, measured on this image: columns measured, wanted, holds, then."""
    standard = (y - estimate) / _noise_sd(estimate, noise)
    a, b = standard[..., :, 1:].ravel(), standard[..., :, :-1].ravel()
    c, d = standard[..., 1:, :].ravel(), standard[..., :-1, :].ravel()
    neighbours = max(abs(np.corrcoef(a, b)[0, 1]), abs(np.corrcoef(c, d)[0, 1]))
    low, high = RANGES[noise.family]
    other = classical_level(y, noise.family)
    spread = float(np.mean(standard**2))
    rows = [
        (
            "the noise's variance grows like brightness to the family's power",
            f"{slope:.2f}", f"{POWERS[noise.family]} ± 0.5", abs(slope - POWERS[noise.family]) <= 0.5,
            "try another family",
        ),
        (
            "the criterion has its minimum inside the grid",
            f"{noise.level:.3g}", f"{curve.levels[0]:.3g} to {curve.levels[-1]:.3g}", curve.identified,
            "the level is not identified: give it yourself",
        ),
        (
            "the level lies in the range that the network was trained on",
            f"{noise.level:.3g}", f"{low:.3g} to {high:.3g}", low <= noise.level <= high,
            "train a network for this level",
        ),
        (
            "an estimate without a network agrees (ratio of the levels)",
            f"{noise.level / other:.2f}", "0.75 to 1.33", 0.75 <= noise.level / other <= 1.33,
            "look at both results before you choose a level",
        ),
        (
            "what was taken away has the noise's variance (ratio)",
            f"{spread:.2f}", "0.8 to 1.1", 0.8 <= spread <= 1.1,
            "above: detail was taken away; below: noise was left",
        ),
        (
            "the noise of neighbours is independent (correlation)",
            f"{neighbours:.2f}", "below 0.1", neighbours < 0.1,
            "correlated noise (demosaicing, compression): Tweedie’s formula does not hold pixel by pixel",
        ),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["assumption", "measured", "wanted", "holds", "then"])
    return table.set_index("assumption")


def estimated_psnr(
    denoisers: Mapping[str, Denoiser],
    y: Floats,
    noise: NoiseModel,
    rng: np.random.Generator,
    clean: Floats | None,
) -> pd.DataFrame:
    """PSNR of every denoiser without a clean image (SURE, PURE), and with one where there is one.

    SURE and PURE probe each denoiser with one slightly changed image; they hold if the noise is what `noise` says.
    For Gamma noise there is no such estimate here.

    Returns
    -------
    DataFrame
        Index method; columns estimated PSNR, dB and, with `clean`, true PSNR, dB (without clipping, both).
    """
    rows = []
    signs = rng.choice([-1.0, 1.0], size=y.shape)
    for name, denoiser in denoisers.items():
        first = denoiser(y)
        row: dict[str, object] = {"method": name}
        if noise.family != "gamma":
            row["estimated PSNR, dB"] = _risk_psnr(denoiser, first, y, noise, signs)
        if clean is not None:
            row["true PSNR, dB"] = -10 * np.log10(np.mean((first - clean) ** 2))
        rows.append(row)
    return pd.DataFrame(rows).set_index("method")


def _risk_psnr(denoiser: Denoiser, first: Floats, y: Floats, noise: NoiseModel, signs: Floats) -> float:
    epsilon = 0.01
    if noise.family == "gaussian":
        slope = (signs * (denoiser(y + epsilon * signs) - first)).mean() / epsilon
        risk = ((first - y) ** 2).mean() - noise.level**2 + 2 * noise.level**2 * slope
    else:
        moved = np.maximum(y + epsilon * signs, 0)
        slope = (y * signs * (denoiser(moved) - first)).mean() / epsilon
        risk = ((first - y) ** 2 - noise.level * y).mean() + 2 * noise.level * slope
    return float(-10 * np.log10(max(risk, 1e-8)))


def save_image(image: Floats, path: Path) -> None:
    """An image on [0, 1] as an 8-bit PNG (other endings: what scikit-image writes for them)."""
    import skimage.io

    picture = np.clip(np.moveaxis(image, 0, -1) if image.ndim == 3 else image, 0, 1)
    skimage.io.imsave(str(path), np.round(255 * picture).astype(np.uint8), check_contrast=False)
