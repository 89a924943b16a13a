"""Methods against each other over repetitions, and slopes on log axes, each with its 95 % interval."""

from __future__ import annotations

import numpy as np
import pandas as pd

from loglik.stats import intervals
from loglik.stats.intervals import Estimate, bootstrap, log_slope

__all__ = ["Estimate", "bootstrap", "difference", "log_slope", "pairs", "ratio"]


def pairs(table: pd.DataFrame, column: str, value: str, unit: str) -> pd.DataFrame:
    """One row a repetition, one column a method; a ``ValueError`` where they don't pair."""
    wide = table.set_index([unit, column])[value].unstack(column)  # noqa: PD010
    if wide.isna().to_numpy().any() or len(wide) < 2:
        raise ValueError(f"{value!r} doesn't pair by {unit!r}: {len(wide)} repetitions, some may be missing")
    return wide


def ratio(wide: pd.DataFrame, method: str, baseline: str, rng: np.random.Generator) -> Estimate:
    """Ratio of mean values, method over baseline; paired bootstrap interval."""
    return bootstrap(wide[[method, baseline]].to_numpy(), lambda m: m[:, 0] / m[:, 1], rng)


def difference(wide: pd.DataFrame, method: str, baseline: str) -> Estimate:
    """Mean difference, method minus baseline; paired t interval."""
    return intervals.mean((wide[method] - wide[baseline]).to_numpy())
