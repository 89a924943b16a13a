"""The method of language/on_policy_preferences.

What Fahim Tajwar, Anikait Singh, Archit Sharma, Rafael Rafailov, Jeff Schneider, Tengyang Xie, Stefano
Ermon, Chelsea Finn, Aviral Kumar (2024) add, and only that; baselines come from the well-kept library of
the field.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def standard_error(values: ArrayLike) -> float:
    """Standard error of a mean. Replace it by the paper's first function.

    Parameters
    ----------
    values : array_like, shape (n,)
        At least two finite numbers.

    Raises
    ------
    ValueError
        For fewer than two values, or values that aren't finite.
    """
    sample = np.asarray(values, dtype=float)
    if sample.ndim != 1 or sample.size < 2 or not np.isfinite(sample).all():
        raise ValueError(f"values must be at least two finite numbers in a row, got shape {sample.shape}")
    return float(sample.std(ddof=1) / np.sqrt(sample.size))
