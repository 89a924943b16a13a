"""From a divergence to the Bayes error of telling two densities apart, and back.

With equal priors Er = ½ ∫ min(f₁, f₂) = ½ (1 − TV). Equal densities have Er = ½, so "the fit is practically the
projection" reads Er ≥ ½ − δ, that is TV ≤ 2δ.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import PchipInterpolator
from scipy.optimize import brentq

from loglik.information.pn_criterion.base import Floats

SMALL, LARGE = (
    1e-4,
    4.0,
)  # nats: below, the sharp curve is Pinsker's to a relative KL/9; above, 1 − e^−KL to 1e-20
BOUNDS = ("pinsker", "sharp", "bretagnolle-huber", "local")


class BayesError(NamedTuple):
    """Bayes error with equal priors."""

    estimate: Any
    se: Any  # Monte-Carlo standard error


def bayes_error(
    logp: Callable[[Any], ArrayLike], logq: Callable[[Any], ArrayLike], draws_from_p: ArrayLike
) -> BayesError:
    """Monte-Carlo Bayes error ½ E_p min(1, q/p) of telling `p` from `q`.

    Parameters
    ----------
    logp, logq : callable
        Log densities of draws, shape (N,), with respect to one measure and normalised.
    draws_from_p : array_like of shape (N, ...)
    """
    ratio = np.asarray(logq(draws_from_p), dtype=float) - np.asarray(logp(draws_from_p), dtype=float)
    if ratio.ndim != 1 or len(ratio) < 2 or np.isnan(ratio).any():
        raise ValueError(f"log densities must give one number a draw for at least 2 draws, got {ratio.shape}")
    values = 0.5 * np.exp(np.minimum(ratio, 0))
    return BayesError(float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values))))


def sharp_curve(tau: ArrayLike) -> tuple[Floats, Floats]:
    """The least KL for each total variation: (TV, KL) at τ > 0.

    2 TV = τ[1 − (coth τ − 1/τ)²] and KL = log(τ/sinh τ) + τ coth τ − τ²/sinh²τ (Fedotov, Harremoës and Topsøe).
    """
    t = np.asarray(tau, dtype=float)
    coth = 1 / np.tanh(t)
    squared = (t / np.sinh(t)) ** 2
    log_sinh = t + np.log1p(-np.exp(-2 * t)) - np.log(2)
    return 0.5 * t * (1 - (coth - 1 / t) ** 2), np.log(t) - log_sinh + t * coth - squared


@lru_cache(maxsize=1)
def _inverse_curve() -> PchipInterpolator:
    tau = np.geomspace(0.02, 40.0, 4000)
    tv, kl = sharp_curve(tau)
    return PchipInterpolator(np.log(kl), np.log(tv))


def max_tv(kl: ArrayLike, bound: str = "sharp") -> Any:
    """Largest total variation that a divergence `kl` (nats) allows.

    Parameters
    ----------
    kl : array_like
        KL divergences, at least 0.
    bound : {"sharp", "pinsker", "bretagnolle-huber", "local"}
        ``sharp`` is the best possible; ``pinsker`` is √(KL/2); ``bretagnolle-huber`` √(1 − e^−KL), better than Pinsker
        only for a TV near 1. ``local`` is √(KL/π), what nearby densities have: *no* guarantee.

    Raises
    ------
    ValueError
        For a negative divergence or an unknown bound.
    """
    divergence = np.asarray(kl, dtype=float)
    if not (divergence >= 0).all():
        raise ValueError(f"a KL divergence is at least 0, got {divergence.min():g}")
    if bound == "pinsker":
        found = np.minimum(np.sqrt(divergence / 2), 1.0)
    elif bound == "bretagnolle-huber":
        found = np.sqrt(-np.expm1(-divergence))
    elif bound == "local":
        found = np.minimum(np.sqrt(divergence / np.pi), 1.0)
    elif bound == "sharp":
        clipped = np.clip(divergence, SMALL, LARGE)
        found = np.exp(_inverse_curve()(np.log(clipped)))
        found = np.where(divergence < SMALL, np.sqrt(divergence / 2), found)
        found = np.where(divergence > LARGE, -np.expm1(-divergence), found)
    else:
        raise ValueError(f"bound must be one of {', '.join(BOUNDS)}, got {bound!r}")
    return found if found.ndim else float(found)


def kl_threshold(delta: float, bound: str = "pinsker") -> float:
    """The risk C below which the expected Bayes error is at least ½ − δ.

    Parameters
    ----------
    delta : float
        Tolerance between 0 and ½: the expected total variation may be 2δ.
    bound : str
        See :func:`max_tv`. With ``pinsker`` C = 8δ². ``pinsker`` and ``sharp`` bound TV by a concave function of KL, so
        Jensen's inequality carries them over to expectations.

    Raises
    ------
    ValueError
        For δ outside (0, ½) or an unknown bound.
    """
    if not 0 < delta < 0.5:
        raise ValueError(
            f"delta must lie strictly between 0 and 1/2, got {delta}: the Bayes error of any two densities does"
        )
    tv = 2 * float(delta)
    if bound == "pinsker":
        return 2 * tv**2
    if bound == "bretagnolle-huber":
        return float(-np.log1p(-(tv**2)))
    if bound == "local":
        return float(np.pi * tv**2)
    if bound != "sharp":
        raise ValueError(f"bound must be one of {', '.join(BOUNDS)}, got {bound!r}")
    if tv < 0.02:
        return 2 * tv**2
    if -np.log1p(-tv) > LARGE:
        return float(-np.log1p(-tv))
    tau = brentq(lambda t: float(sharp_curve(t)[0]) - tv, 1e-2, 40.0, xtol=1e-13)
    return float(sharp_curve(tau)[1])
