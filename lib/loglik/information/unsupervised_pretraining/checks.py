"""What every function of the chapter asks of its input."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def whole(name: str, value: Any, least: int = 1) -> int:
    """`value` as an int of at least `least`."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")
    return int(value)


def number(name: str, value: Any, least: float = 0.0, *, strict: bool = False) -> float:
    """`value` as a finite float, at least (or, if `strict`, above) `least`."""
    fits = isinstance(value, Real) and not isinstance(value, bool) and np.isfinite(float(value))
    if not fits or float(value) < least or (strict and float(value) == least):
        raise ValueError(
            f"{name} must be a finite number {'above' if strict else 'of at least'} {least:g}, got {value!r}"
        )
    return float(value)


def matrix(name: str, value: ArrayLike, columns: int | None = None) -> Floats:
    """`value` as a finite (rows, columns) array."""
    array: Floats = np.asarray(value, dtype=float)
    if array.ndim != 2 or array.size == 0 or not np.isfinite(array).all():
        raise ValueError(f"{name} must be a finite, non-empty matrix of rows, got shape {array.shape}")
    if columns is not None and array.shape[1] != columns:
        raise ValueError(f"{name} must have {columns} columns, got {array.shape[1]}")
    return array


def vector(name: str, value: ArrayLike, length: int | None = None) -> Floats:
    """`value` as a finite (length,) array."""
    array: Floats = np.asarray(value, dtype=float)
    if array.ndim != 1 or not np.isfinite(array).all() or (length is not None and len(array) != length):
        wanted = "a finite vector" if length is None else f"a finite vector of length {length}"
        raise ValueError(f"{name} must be {wanted}, got shape {array.shape}")
    return array


def share(name: str, value: Any, below: float = 1.0) -> float:
    """`value` as a float in [0, `below`)."""
    if not isinstance(value, Real) or isinstance(value, bool) or not 0 <= float(value) < below:
        raise ValueError(f"{name} must lie in [0, {below:g}), got {value!r}")
    return float(value)


def binary(name: str, value: ArrayLike, length: int) -> Ints:
    """`value` as 0/1 integers of shape (length,)."""
    array = np.asarray(value)
    if array.shape != (length,) or not np.isin(array, (0, 1)).all():
        found = np.unique(array)[:4].tolist() if array.ndim else array
        raise ValueError(
            f"{name} must hold {length} values in {{0, 1}} (1: the pair belongs together), "
            f"got shape {array.shape} with values {found}"
        )
    return array.astype(np.int64)
