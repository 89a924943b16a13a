"""Paired comparisons of methods over repetitions: differences, ratios of means, wins, one-sided tests."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from loglik.stats import intervals


class Comparison(NamedTuple):
    """One method against another on the same draws or splits."""

    ratio: float  # mean of the method over mean of the baseline
    ratio_low: float  # 95 % paired bootstrap interval of the ratio
    ratio_high: float
    difference: float  # mean difference, method minus baseline
    low: float  # 95 % t interval of the difference
    high: float
    se: float  # standard error of the difference
    wins: float  # share of repetitions in which the method is strictly lower
    p_value: float  # one-sided paired t-test of "the method is lower"


def pairs(table: pd.DataFrame, methods: tuple[str, ...], *, value: str, unit: str) -> pd.DataFrame:
    """One row a repetition, one column a method.

    Parameters
    ----------
    table : DataFrame
        Columns method, `unit` and `value`.
    methods : tuple of str
        The columns to keep.
    value, unit : str
        The measured column, and the column that pairs the rows (a repetition or a split).

    Raises
    ------
    ValueError
        For a method that the table lacks, a repetition that lacks a method, or fewer than two repetitions.
    """
    wide = table.set_index([unit, "method"])[value].unstack("method")  # noqa: PD010
    unknown = [name for name in methods if name not in wide]
    if unknown:
        raise ValueError(f"no method {unknown[0]!r} in the table; it has {', '.join(map(str, wide.columns))}")
    wide = wide[list(methods)]
    missing = int(wide.isna().any(axis=1).sum())
    if missing:
        raise ValueError(f"{missing} of {len(wide)} repetitions lack a value of {value!r} for some method")
    if len(wide) < 2:
        raise ValueError(f"a paired comparison needs at least 2 repetitions, got {len(wide)}")
    return wide


def compare(
    table: pd.DataFrame,
    method: str,
    baseline: str,
    *,
    value: str,
    unit: str,
    rng: np.random.Generator,
    inflate: float = 0.0,
) -> Comparison:
    """Compare two methods pair by pair; lower values are better.

    Parameters
    ----------
    table : DataFrame
        Columns method, `unit` and `value`.
    method, baseline : str
    value, unit : str
        The measured column, and the column that pairs the rows.
    rng : numpy.random.Generator
        For the bootstrap of the ratio.
    inflate : float
        See :func:`loglik.stats.intervals.mean`; it widens the t interval and weakens the test.

    Raises
    ------
    ValueError
        As :func:`pairs`.
    """
    wide = pairs(table, (method, baseline), value=value, unit=unit).to_numpy(dtype=float)
    d = wide[:, 0] - wide[:, 1]
    difference = intervals.mean(d, inflate)
    ratio = intervals.bootstrap(wide, lambda means: means[:, 0] / means[:, 1], rng)
    t = difference.value / difference.se if difference.se > 0 else np.sign(difference.value) * np.inf
    return Comparison(
        ratio=ratio.value,
        ratio_low=ratio.low,
        ratio_high=ratio.high,
        difference=difference.value,
        low=difference.low,
        high=difference.high,
        se=difference.se,
        wins=float((d < 0).mean()),
        p_value=float(stats.t.cdf(t, len(d) - 1)) if d.any() else 0.5,
    )


def compare_by(
    table: pd.DataFrame,
    by: str,
    method: str,
    baselines: tuple[str, ...],
    *,
    value: str,
    unit: str,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """:func:`compare` for every group and baseline: one row each, columns `by`, baseline and the results."""
    rows = [
        {by: group, "baseline": baseline}
        | compare(part, method, baseline, value=value, unit=unit, rng=rng)._asdict()
        for group, part in table.groupby(by, sort=False)
        for baseline in baselines
    ]
    return pd.DataFrame(rows)
