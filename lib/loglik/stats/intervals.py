"""Estimates with 95 % intervals: t over repetitions, or a percentile bootstrap over them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats = NDArray[np.float64]
DRAWS = 4000  # of a bootstrap: the Monte-Carlo error of an end is then some 3 % of the interval's width


class Estimate(NamedTuple):
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float
    se: float  # standard error

    @property
    def interval(self) -> tuple[float, float]:
        """Both ends."""
        return self.low, self.high


def mean(values: ArrayLike, inflate: float = 0.0) -> Estimate:
    """Mean with a t interval over repetitions.

    Parameters
    ----------
    values : array_like of shape (reps,)
    inflate : float
        Ratio of test to training rows when the repetitions are random splits of one data set. The variance
        is then Nadeau and Bengio's ``(1/reps + inflate) s²``, which allows for the splits' overlap; 0
        treats the repetitions as independent.

    Raises
    ------
    ValueError
        For fewer than two values, or values that aren't finite.
    """
    sample = np.asarray(values, dtype=float)
    if sample.ndim != 1 or len(sample) < 2 or not np.isfinite(sample).all():
        raise ValueError(
            f"an interval over repetitions needs at least 2 finite values, got shape {sample.shape}"
        )
    se = float(np.sqrt(sample.var(ddof=1) * (1 / len(sample) + inflate)))
    reach = float(stats.t.ppf(0.975, len(sample) - 1)) * se
    centre = float(sample.mean())
    return Estimate(centre, centre - reach, centre + reach, se)


def bootstrap(
    values: ArrayLike,
    statistic: Callable[[Floats], Floats],
    rng: np.random.Generator,
    draws: int = DRAWS,
) -> Estimate:
    """Percentile bootstrap over repetitions, the first axis.

    Parameters
    ----------
    values : array_like of shape (reps, ...)
        What belongs to one repetition stays together, so comparisons within it are paired.
    statistic : callable
        Takes *means* over repetitions, shape (draws, ...), and gives (draws,).
    rng : numpy.random.Generator
    draws : int
    """
    table = np.asarray(values, dtype=float)
    rows = rng.integers(len(table), size=(draws, len(table)))
    resampled = statistic(table[rows].mean(axis=1))
    low, high = np.quantile(resampled, (0.025, 0.975))
    value = float(statistic(table.mean(axis=0)[None])[0])
    return Estimate(value, float(low), float(high), float(resampled.std(ddof=1)))


def log_slope(x: ArrayLike, values: ArrayLike, rng: np.random.Generator) -> Estimate:
    """Least-squares slope of the log of the mean on log x; bootstrap over repetitions.

    Parameters
    ----------
    x : array_like of shape (k,)
    values : array_like of shape (reps, k)
    rng : numpy.random.Generator
    """
    centred = np.log(np.asarray(x, dtype=float))
    centred = centred - centred.mean()
    return bootstrap(values, lambda means: np.log(means) @ centred / (centred @ centred), rng)


def slope_by_repetition(table: pd.DataFrame, *, x: str, y: str, unit: str) -> Estimate:
    """Slope of log `y` on log `x`, fitted to each repetition's own points; t interval over repetitions.

    Parameters
    ----------
    table : DataFrame
        One row a point, with columns `x`, `y` (both positive) and `unit`, the repetition.
    x, y, unit : str
    """
    slopes = [np.polyfit(np.log(points[x]), np.log(points[y]), 1)[0] for _, points in table.groupby(unit)]
    return mean(slopes)
