"""Privacy accounting: what releases cost, and what that cost says about overfitting."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Noise = Literal["laplace", "gaussian"]


class Spent(TypedDict):
    """What a mechanism has spent so far."""

    rho: float  # zero-concentrated differential privacy; infinite where the mechanism gives none
    epsilon: float  # the smallest of the bounds known for it, at `delta`
    delta: float
    n_positive: int  # answers that were paid for from the holdout
    n_answers: int


def check_positive(value: float, name: str, *, zero: bool = False) -> float:
    """`value` as a float, or a ``ValueError`` that says that it must be finite and positive."""
    number = float(value)
    if not np.isfinite(number) or number < 0 or (number == 0 and not zero):
        raise ValueError(f"{name} must be finite and {'at least' if zero else 'above'} 0, got {value!r}")
    return number


def check_count(value: int, name: str, least: int = 1) -> int:
    """`value` as an int of at least `least`, or an error that says so."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    return int(value)


def check_share(value: float, name: str) -> float:
    """`value` strictly between 0 and 1, or a ``ValueError``."""
    if not 0 < value < 1:
        raise ValueError(f"{name} must lie strictly between 0 and 1, got {value!r}")
    return float(value)


def gaussian_rho(sigma: float, sensitivity: float) -> float:
    """ρ of zero-concentrated DP for one answer with N(0, σ²): sensitivity²/(2σ²); infinite at σ = 0.

    The mean of n values in [0, 1] has sensitivity 1/n, of values in [−1, 1] it has 2/n.
    """
    check_positive(sigma, "sigma", zero=True)
    return float(sensitivity**2 / (2 * sigma**2)) if sigma > 0 else float("inf")


def laplace_epsilon(scale: float, sensitivity: float) -> float:
    """ε of one answer with Laplace noise: sensitivity/scale; infinite at scale 0."""
    check_positive(scale, "scale", zero=True)
    return float(sensitivity / scale) if scale > 0 else float("inf")


def compose_zcdp(rhos: float | Iterable[float], delta: float) -> float:
    """ε at δ of releases whose ρ add up: ``ρ + 2 sqrt(ρ ln(1/δ))``.

    Parameters
    ----------
    rhos : float or iterable of float
        ρ of each release.
    delta : float
        In (0, 1).

    Examples
    --------
    >>> round(compose_zcdp(0.5, 1e-6), 4)
    5.7565
    """
    check_share(delta, "delta")
    parts = np.atleast_1d(np.asarray(list(rhos) if isinstance(rhos, Iterable) else rhos, dtype=float))
    if (parts < 0).any() or np.isnan(parts).any():
        raise ValueError(f"every rho must be at least 0, got a smallest of {parts.min()!r}")
    rho = float(parts.sum())
    return rho + 2 * float(np.sqrt(rho * np.log(1 / delta)))


def advanced_composition(k: int, epsilon: float, delta: float) -> float:
    """ε at δ of `k` releases of `epsilon` each: ``sqrt(2k ln(1/δ)) ε + k ε (e^ε − 1)``.

    Examples
    --------
    >>> round(advanced_composition(100, 0.1, 1e-6), 4)
    6.3082
    """
    check_count(k, "k", 0)
    check_positive(epsilon, "epsilon", zero=True)
    check_share(delta, "delta")
    return float(np.sqrt(2 * k * np.log(1 / delta)) * epsilon + k * epsilon * np.expm1(epsilon))


def spent_pure(epsilons: float, squares: float, delta: float, n_positive: int, n_answers: int) -> Spent:
    """Bounds for pure-ε releases, from the sum of their ε and of their ε².

    Each is ε²/2-zCDP too, so the better of the plain sum and the zCDP bound counts.
    """
    rho = squares / 2
    epsilon = min(epsilons, compose_zcdp(rho, delta)) if np.isfinite(epsilons) else float("inf")
    return Spent(rho=rho, epsilon=epsilon, delta=delta, n_positive=n_positive, n_answers=n_answers)


def spent_zcdp(rho: float, delta: float, n_positive: int, n_answers: int) -> Spent:
    """Bounds for zCDP releases whose ρ sum up to `rho`."""
    epsilon = compose_zcdp(rho, delta) if np.isfinite(rho) else float("inf")
    return Spent(rho=rho, epsilon=epsilon, delta=delta, n_positive=n_positive, n_answers=n_answers)
