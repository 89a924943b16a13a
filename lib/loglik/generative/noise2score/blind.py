"""The level of the noise from one noisy image: the level whose denoised image is smoothest, or fits best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import nn

from loglik.generative.noise2score.inference import network_output
from loglik.generative.noise2score.noise import NoiseModel, noise_model

Floats = NDArray[np.float64]
SMALL = 1e-3  # pixels below it have no part in a logarithm or a quotient

# The official grids: fifty σ, a hundred ζ, eighty k.
GRIDS = {
    "gaussian": np.linspace(5, 55, 50) / 255,
    "poisson": np.linspace(0.001, 0.1, 100),
    "gamma": np.linspace(40, 120, 80),
}
CRITERIA = ("tv", "poisson", "gamma")
_AUTO = {"gaussian": "tv", "poisson": "poisson", "gamma": "gamma"}


@dataclass(frozen=True)
class LevelCurve:
    """The criterion along the grid.

    Attributes
    ----------
    levels, values : ndarray, shape (g,)
    at : int
        Index of the least value.
    identified : bool
        False where the least value lies on an edge of the grid: then the level is not identified.
    """

    levels: Floats
    values: Floats
    at: int
    identified: bool


def total_variation(x: ArrayLike) -> float:
    """``mean |∂_h x| + mean |∂_w x|`` by differences of neighbours."""
    image = np.asarray(x, dtype=np.float64)
    return float(np.abs(np.diff(image, axis=-2)).mean() + np.abs(np.diff(image, axis=-1)).mean())


def level_criterion(estimate: ArrayLike, y: ArrayLike, criterion: str) -> float:
    """What the right level makes small, as in the official code.

    Parameters
    ----------
    estimate, y : array_like of one shape
    criterion : {"tv", "poisson", "gamma"}
        Total variation alone; ``0.1 TV + mean(x - y log x)``; ``TV + mean(log x + y/x + (y/x)²)``, the means over
        pixels where the estimate is positive.

    Raises
    ------
    ValueError
        For an unknown criterion.
    """
    if criterion not in CRITERIA:
        raise ValueError(f"unknown criterion {criterion!r}; allowed: {', '.join(CRITERIA)} or auto")
    x, seen = np.asarray(estimate, dtype=np.float64), np.asarray(y, dtype=np.float64)
    smooth = total_variation(x)
    if criterion == "tv":
        return smooth
    positive = x > SMALL
    x, seen = x[positive], seen[positive]
    if criterion == "poisson":
        return 0.1 * smooth + float((x - seen * np.log(x)).mean())
    ratio = seen / x
    return smooth + float((np.log(x) + ratio + ratio**2).mean())


def estimate_noise_level(
    net: nn.Module, y: ArrayLike, family: str, grid: ArrayLike | None = None, criterion: str = "auto"
) -> tuple[float, LevelCurve]:
    """The level at which Tweedie's estimate is best by :func:`level_criterion`.

    Parameters
    ----------
    net : nn.Module
        A score network trained over a range of levels, blind to them.
    y : array_like, shape (H, W) or (C, H, W)
    family : {"gaussian", "poisson", "gamma"}
    grid : array_like, optional
        Levels to try, increasing; default: the official grid.
    criterion : str
        Default: the official one of the family.

    Returns
    -------
    level : float
    curve : LevelCurve
        Its `identified` is False where the minimum lies on an edge of the grid.

    Raises
    ------
    ValueError
        For an unknown family or criterion, or a grid of fewer than three levels.

    Notes
    -----
    One pass of the network serves the whole grid: it sees the image, and only the unit of its score depends on the
    level.
    """
    (curve,) = level_curves(net, y, family, (criterion,), grid)
    return float(curve.levels[curve.at]), curve


def level_curves(
    net: nn.Module, y: ArrayLike, family: str, criteria: Sequence[str], grid: ArrayLike | None = None
) -> list[LevelCurve]:
    """Several criteria of :func:`estimate_noise_level` on the same estimates: one curve each, in their order."""
    if family not in GRIDS:
        raise ValueError(f"unknown family {family!r}; allowed: {', '.join(GRIDS)}")
    levels = np.asarray(GRIDS[family] if grid is None else grid, dtype=np.float64)
    noises: list[NoiseModel] = [noise_model(family, float(level)) for level in levels]
    if len(levels) < 3 or not (np.diff(levels) > 0).all():
        raise ValueError(f"the grid needs at least three increasing levels, got {levels}")
    rules = [_AUTO[family] if criterion == "auto" else criterion for criterion in criteria]
    distinct, slope = set(rules), network_output(net, y)
    table: dict[str, list[float]] = {rule: [] for rule in distinct}
    for noise in noises:
        estimate = noise.estimate(y, noise.unit * slope)
        for rule in distinct:
            table[rule].append(level_criterion(estimate, y, rule))
    curves = []
    for rule in rules:
        values = np.array(table[rule])
        at = int(values.argmin())
        curves.append(LevelCurve(levels, values, at, 0 < at < len(levels) - 1))
    return curves
