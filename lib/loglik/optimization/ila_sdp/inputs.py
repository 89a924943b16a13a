"""Checks at the door: what was given, what is allowed, and why."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int_]

COVARIANCE_TYPES = ("full", "diag", "spherical", "tied")


def check_rows(X: ArrayLike) -> Floats:
    """Rows as floats of shape (..., n, p).

    Raises
    ------
    ValueError
        For fewer than two axes, no rows or columns, or values that aren't finite (with their count).
    """
    rows = np.asarray(X, dtype=float)
    if rows.ndim < 2 or 0 in rows.shape:
        raise ValueError(f"X must have shape (n, p) with n and p of at least 1, got {rows.shape}")
    bad = int((~np.isfinite(rows)).sum())
    if bad:
        raise ValueError(f"X contains {bad} values that are NaN or infinite; impute or drop those rows")
    return rows


def check_covariances(covariances: ArrayLike, p: int) -> Floats:
    """Covariances of shape (..., K, p, p), symmetric and finite; positive definiteness is Cholesky's to judge.

    Raises
    ------
    ValueError
        For another shape, values that aren't finite, or a matrix that isn't symmetric.
    """
    sigma = np.asarray(covariances, dtype=float)
    if sigma.ndim < 3 or sigma.shape[-2:] != (p, p):
        raise ValueError(f"covariances must have shape (K, {p}, {p}) for p = {p} columns, got {sigma.shape}")
    if not np.isfinite(sigma).all():
        raise ValueError("covariances contain values that are NaN or infinite")
    size = np.abs(sigma).max(axis=(-2, -1), keepdims=True)
    if (np.abs(sigma - sigma.swapaxes(-1, -2)) > 1e-8 * size).any():
        raise ValueError("covariances must be symmetric")
    return sigma


def check_costs(costs: ArrayLike, axes: int = 3) -> Floats:
    """Pairwise costs of shape (..., K, n, n), or (..., n, n) for `axes` of 2: finite and symmetric.

    Raises
    ------
    ValueError
        For another shape, values that aren't finite, or a matrix that isn't symmetric.
    """
    C = np.asarray(costs, dtype=float)
    if C.ndim < axes or C.shape[-1] != C.shape[-2] or C.shape[-1] < 2:
        wanted = "(K, n, n)" if axes == 3 else "(n, n)"
        raise ValueError(f"costs must have shape {wanted} with n of at least 2, got {C.shape}")
    if not np.isfinite(C).all():
        raise ValueError(f"costs contain {int((~np.isfinite(C)).sum())} values that are NaN or infinite")
    if not np.allclose(C, C.swapaxes(-1, -2), rtol=1e-8, atol=1e-8 * float(np.abs(C).max())):
        raise ValueError("costs must be symmetric: the cost of a pair doesn't depend on its order")
    return C


def check_n_clusters(n_clusters: Any, n: int, least: int = 2) -> int:
    """Number of clusters, from `least` to n.

    Raises
    ------
    TypeError, ValueError
        For something that isn't an integer; for fewer clusters than `least` or more than rows.
    """
    if isinstance(n_clusters, bool) or not isinstance(n_clusters, Integral):
        raise TypeError(f"n_clusters must be an integer, got {n_clusters!r}")
    found = int(n_clusters)
    if found < least:
        why = ": one cluster needs no labels" if least == 2 else ""
        raise ValueError(f"n_clusters must be at least {least}, got {n_clusters}{why}")
    if found > n:
        raise ValueError(
            f"n_clusters={n_clusters} clusters need as many rows, got n_samples={n}: every cluster holds a row"
        )
    return found


def check_labels(labels: ArrayLike, n: int, n_clusters: int | None = None) -> Ints:
    """Labels of shape (n,), integers from 0 to K - 1 with every cluster occupied.

    Raises
    ------
    ValueError
        For another shape, other values, or an empty cluster (named).
    """
    given = np.asarray(labels)
    if given.shape != (n,) or given.dtype.kind not in "iub":
        raise ValueError(
            f"labels must be {n} integers, one a row; got shape {given.shape}, type {given.dtype}"
        )
    found = given.astype(int)
    K = int(found.max()) + 1 if n_clusters is None else n_clusters
    if found.min() < 0 or found.max() >= K:
        raise ValueError(f"labels must lie from 0 to {K - 1}, got from {found.min()} to {found.max()}")
    empty = np.flatnonzero(np.bincount(found, minlength=K) == 0)
    if len(empty):
        raise ValueError(f"no row has label {empty[0]}; every one of the {K} clusters needs a row")
    return found


def check_number(value: Any, name: str, low: float, high: float = np.inf, *, closed: bool = True) -> float:
    """A real number in [low, high), or in (low, high) where `closed` is false.

    Raises
    ------
    TypeError, ValueError
        Naming the parameter, what was given and what is allowed.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r}")
    number = float(value)
    if not (low <= number < high) or (not closed and number == low):
        raise ValueError(f"{name} must lie in {'[' if closed else '('}{low:g}, {high:g}), got {value!r}")
    return number


def check_choice(value: Any, name: str, allowed: Sequence[str]) -> str:
    """One of the allowed words.

    Raises
    ------
    ValueError
        Naming the parameter, what was given and what is allowed.
    """
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {value!r}")
    return value
