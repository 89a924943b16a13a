"""Input checks: errors name the argument, what was given and why it is refused."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def check_table(values: ArrayLike, name: str, ndim: int = 2) -> Floats:
    """Finite numbers with rows and columns; leading axes are problems of the same size.

    Parameters
    ----------
    values : array_like of shape (..., n, d)
    name : str
        What the caller calls it.
    ndim : int
        The least number of axes: 2 for a table, 1 for a column.

    Raises
    ------
    ValueError
        For fewer axes, an empty axis, or values that are NaN or infinite (with their count).
    """
    table = np.asarray(values, dtype=float)
    if table.ndim < ndim or 0 in table.shape:
        wanted = "(n, d)" if ndim == 2 else "(n,)"
        raise ValueError(f"{name} must have shape {wanted} and not be empty, got shape {table.shape}")
    bad = np.count_nonzero(~np.isfinite(table))
    if bad:
        raise ValueError(f"{name} contains {bad} values that are NaN or infinite; impute or drop those rows")
    return table


def check_problem(X_aug: ArrayLike, y: ArrayLike, G: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Augmented treatment, outcome and augmentation parameters that belong together.

    Parameters
    ----------
    X_aug : array_like of shape (..., n, m)
    y : array_like of shape (..., n)
    G : array_like of shape (..., n, k) or (n,)
        One parameter may be given as a column of shape (n,).

    Raises
    ------
    ValueError
        For shapes that don't belong together, NaN and infinities, or parameters that are all zero: without
        a parameter that varies nothing was augmented.
    """
    treatment, outcome = check_table(X_aug, "X_aug"), check_table(y, "y", 1)
    if np.asarray(G, dtype=object).dtype == object and G is None:
        raise ValueError(
            "G is missing: IVL needs the parameters that each row was augmented with, shape (n, k)"
        )
    parameters = check_table(G, "G", 1)
    if parameters.ndim == 1:
        parameters = parameters[:, None]
    if treatment.shape[:-1] != outcome.shape or treatment.shape[:-1] != parameters.shape[:-1]:
        raise ValueError(
            f"X_aug, y and G must have the same rows, got shapes {treatment.shape}, {outcome.shape} and "
            f"{parameters.shape}"
        )
    if not parameters.any(axis=(-2, -1)).all():
        raise ValueError("G has rank 0: every augmentation parameter is zero, so nothing was augmented")
    return treatment, outcome, parameters


def check_alphas(alphas: ArrayLike) -> Floats:
    """Penalties of shape (..., A), all at least 0; infinity means DA+ERM.

    Raises
    ------
    ValueError
        For negative penalties or NaN, naming the smallest.
    """
    values = np.atleast_1d(np.asarray(alphas, dtype=float))
    if values.size == 0 or np.isnan(values).any() or (values < 0).any():
        worst = "an empty list" if values.size == 0 else f"{np.nanmin(values):g}"
        raise ValueError(
            f"alpha must be at least 0, got {worst}: it weighs the risk of DA+ERM, "
            "0 is the limit of vanishing weight and inf is DA+ERM itself"
        )
    return values


def check_positive(value: float, name: str, why: str) -> float:
    """A number above 0, or a ``ValueError`` that says why."""
    if not (np.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be a finite number above 0, got {value!r}: {why}")
    return float(value)
