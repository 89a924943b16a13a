"""Input checks of this chapter: what was given, what is allowed, and why."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

Floats = NDArray[np.float64]


class SamplingError(RuntimeError):
    """A chain left the finite numbers; the message advises on the step size."""


def check_divergences(divergences: ArrayLike) -> Floats:
    """Divergences of shape (H,), clipped at 0 from below.

    Raises
    ------
    ValueError
        For another shape, NaN, or a divergence below -1e-12.
    """
    d = np.asarray(divergences, dtype=float)
    if d.ndim != 1 or not d.size:
        raise ValueError(f"divergences must have shape (H,) with at least one hypothesis, got {d.shape}")
    if np.isnan(d).any():
        raise ValueError(f"divergences contain {int(np.isnan(d).sum())} NaN; each must be a number or +inf")
    if d.min() < -1e-12:
        raise ValueError(
            f"divergences must be at least 0 (a Kullback-Leibler divergence is), got {d.min():g}"
        )
    return np.maximum(d, 0.0)


def check_log_prior(log_prior: ArrayLike | None, n_hypotheses: int) -> Floats:
    """Log prior of shape (H,), summing to one; None stands for equal weights.

    Raises
    ------
    ValueError
        For another shape, NaN, or a prior whose total differs from 1 by more than 1e-6.
    """
    if log_prior is None:
        return np.full(n_hypotheses, -np.log(n_hypotheses))
    prior = np.asarray(log_prior, dtype=float)
    if prior.shape != (n_hypotheses,):
        raise ValueError(f"log_prior must have shape ({n_hypotheses},) as the hypotheses, got {prior.shape}")
    total = logsumexp(prior)
    if not abs(total) < 1e-6:
        raise ValueError(
            f"the prior sums to {np.exp(total):.6g}, not to 1: subtract scipy.special.logsumexp(log_prior)"
        )
    return prior


def check_sizes(n: ArrayLike, name: str = "n") -> Floats:
    """Sample sizes, or inverse temperatures, of at least 0 and finite; any shape.

    Raises
    ------
    ValueError
        For a negative or non-finite entry.
    """
    sizes = np.asarray(n, dtype=float)
    if not np.isfinite(sizes).all() or (sizes < 0).any():
        raise ValueError(f"{name} must be finite and at least 0, got {sizes.ravel()[:5]}")
    return sizes


def check_positive(value: Any, name: str, why: str) -> float:
    """A finite number above 0, or a ``ValueError`` that says `why`."""
    if not isinstance(value, (int, float, np.number)) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}")
    if not (np.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be finite and above 0 ({why}), got {value}")
    return float(value)


def check_vector(value: ArrayLike, name: str, length: int) -> Floats:
    """A finite vector of shape (length,)."""
    vector = np.asarray(value, dtype=float)
    if vector.shape != (length,) or not np.isfinite(vector).all():
        raise ValueError(f"{name} must have shape ({length},) and be finite, got shape {vector.shape}")
    return vector


def check_chance(value: float, name: str) -> float:
    """A probability of noise strictly between 0 and 1/2."""
    if not 0 < value < 0.5:
        raise ValueError(f"{name} must lie strictly between 0 and 1/2 (a flip rate), got {value}")
    return float(value)
