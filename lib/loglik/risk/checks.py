"""Input checks that the papers of this part share: errors name the column and the count.

They run after scikit-learn's own validation of shapes and types (``validate_data`` with
``ensure_all_finite=False``), which knows nothing of names of columns, weights or durations.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def column_names(X: Any, n_features: int) -> list[str]:
    """Names of the columns for error messages: those of a data frame, else ``0``, ``1`` and so on."""
    columns = getattr(X, "columns", None)
    return [f"'{name}'" for name in columns] if columns is not None else [str(j) for j in range(n_features)]


def check_finite(X: Floats, names: list[str], what: str = "X") -> None:
    """Refuse NaN and infinities.

    Parameters
    ----------
    X : array of shape (n, p)
    names : list of p str
        As :func:`column_names` gives them.
    what : str
        What the caller calls the table.

    Raises
    ------
    ValueError
        Naming each column with its number of values that are NaN or infinite.
    """
    bad = (~np.isfinite(X)).sum(axis=0)
    if bad.any():
        found = ", ".join(f"column {names[j]}: {bad[j]}" for j in np.flatnonzero(bad)[:5])
        more = f" and {np.count_nonzero(bad) - 5} more columns" if np.count_nonzero(bad) > 5 else ""
        raise ValueError(
            f"{what} contains NaN or infinite (inf) values ({found}{more}); impute or drop those rows"
        )


def check_column(values: ArrayLike, name: str, n: int | None = None) -> Floats:
    """One finite number a row, as a float array of shape (n,).

    Raises
    ------
    ValueError
        For another shape or length, or for NaN and infinities (with their count).
    """
    column = np.asarray(values, dtype=float)
    if column.ndim != 1 or (n is not None and len(column) != n):
        wanted = f"({n},)" if n is not None else "(n,)"
        raise ValueError(f"{name} must have shape {wanted}, got {column.shape}")
    bad = np.count_nonzero(~np.isfinite(column))
    if bad:
        raise ValueError(f"{name} contains {bad} values that are NaN or infinite")
    return column


def check_weights(sample_weight: ArrayLike | None, n: int, name: str = "sample_weight") -> Floats:
    """Weights of shape (n,); ones where None is given.

    Raises
    ------
    ValueError
        For negative weights (with their count) or weights that sum to zero.
    """
    if sample_weight is None:
        return np.ones(n)
    weights = check_column(sample_weight, name, n)
    negative = np.count_nonzero(weights < 0)
    if negative:
        raise ValueError(f"{name} contains {negative} negative values; weights must be at least 0")
    if weights.sum() == 0:
        raise ValueError(f"{name} sums to zero: all {n} rows have weight 0")
    return weights


def check_classes(y: NDArray[Any], classes: NDArray[Any], at_least: int = 2, name: str = "y") -> None:
    """Refuse a target with too few classes, naming those that it has."""
    if len(classes) < at_least:
        shown = ", ".join(map(str, classes[:5].tolist()))
        number = f"{len(classes)} class{'es' if len(classes) != 1 else ''}"
        raise ValueError(f"{name} has {number} ({shown}) in {len(y)} rows; at least {at_least} are needed")


def check_probabilities(p: ArrayLike, name: str = "p", n: int | None = None) -> Floats:
    """Probabilities of shape (n,) in [0, 1].

    Raises
    ------
    ValueError
        With the number of values outside [0, 1], and the smallest and largest of them.
    """
    column = check_column(p, name, n)
    outside = column[(column < 0) | (column > 1)]
    if outside.size:
        raise ValueError(
            f"{name} contains {outside.size} values outside [0, 1] (from {outside.min():g} to {outside.max():g}); "
            "give probabilities, not scores"
        )
    return column


def check_durations(time: ArrayLike, name: str = "time", n: int | None = None) -> Floats:
    """Durations of shape (n,), all above zero.

    Raises
    ------
    ValueError
        With the number of durations that are zero or negative.
    """
    column = check_column(time, name, n)
    wrong = np.count_nonzero(column <= 0)
    if wrong:
        raise ValueError(f"{name} contains {wrong} durations of zero or less; durations must be above 0")
    return column


def check_events(event: ArrayLike, name: str = "event", n: int | None = None) -> NDArray[np.bool_]:
    """Event indicators of shape (n,): True (1) where the event was seen, False (0) where censored.

    Raises
    ------
    ValueError
        For values other than 0 and 1 (with their count), or when every row is censored.
    """
    column = check_column(event, name, n)
    other = np.count_nonzero((column != 0) & (column != 1))
    if other:
        raise ValueError(f"{name} contains {other} values other than 0 and 1")
    seen = column == 1
    if not seen.any():
        raise ValueError(f"{name}: all {len(column)} rows are censored, so nothing can be learnt")
    return seen
