"""The weight of a hypothesis, and the two bounds that follow from it, for finite classes and for samples.

For a truth with divergences ``D`` (per sample, in nats) to the hypotheses of a class with prior ``w``:
``n R(n) <= B2(n) <= B1(n)``, with the soft bound ``B2(n) = -log E_w exp(-n D)`` and the hard bound
``B1(n) = min_eps [n eps - log w(eps)]``, ``w(eps) = Pr_w(D <= eps)``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from loglik.information.universality_lens.checks import (
    Floats,
    check_divergences,
    check_log_prior,
    check_sizes,
)


class HardBound(NamedTuple):
    """The hard bound with the radius that attains it."""

    value: Floats  # nats, shape of n
    eps: Floats  # nats per sample, shape of n


class SoftBound(NamedTuple):
    """The soft bound estimated from draws of the prior."""

    value: Floats  # nats, shape of n
    se: Floats  # jackknife standard error


def _levels(divergences: ArrayLike, log_prior: ArrayLike | None) -> tuple[Floats, Floats]:
    """Distinct divergences in rising order, and the log prior mass at each."""
    d = check_divergences(divergences)
    prior = check_log_prior(log_prior, len(d))
    levels, at = np.unique(d, return_inverse=True)
    top = prior.max()
    mass = np.bincount(at, weights=np.exp(prior - top), minlength=len(levels))
    with np.errstate(divide="ignore"):
        return levels, np.log(mass) + top


def log_weight(divergences: ArrayLike, log_prior: ArrayLike | None, eps: ArrayLike) -> Floats:
    """Log prior mass of the hypotheses within `eps` of the truth, the *weight* of the truth.

    Parameters
    ----------
    divergences : array_like of shape (H,)
        Kullback-Leibler divergence from the truth to each hypothesis, nats per sample.
    log_prior : array_like of shape (H,) or None
        Log prior; None for equal weights, as for draws from the prior.
    eps : array_like
        Radii in nats per sample, any shape.

    Returns
    -------
    array of the shape of `eps`
        ``log w(eps)``; minus infinity where no hypothesis is that near.

    Raises
    ------
    ValueError
        For a prior that doesn't sum to one, or divergences below -1e-12.

    Examples
    --------
    >>> import numpy as np
    >>> round(float(np.exp(log_weight([0.0, 0.2, 1.0], np.log([0.2, 0.3, 0.5]), 0.5))), 6)
    0.5
    """
    levels, mass = _levels(divergences, log_prior)
    total = np.concatenate([[-np.inf], np.logaddexp.accumulate(mass)])
    result: Floats = total[np.searchsorted(levels, np.asarray(eps, dtype=float), side="right")]
    return result


def soft_bound(divergences: ArrayLike, log_prior: ArrayLike | None, n: ArrayLike) -> Floats:
    """The soft bound ``B2(n) = -log E_w exp(-n D)`` on the cumulative regret, in nats.

    Exact for a finite class. For draws from the prior use :func:`soft_bound_sampled`, which adds an error.

    Parameters
    ----------
    divergences : array_like of shape (H,)
    log_prior : array_like of shape (H,) or None
    n : array_like
        Sample sizes of at least 0, any shape.

    Raises
    ------
    ValueError
        As :func:`log_weight`, and for n < 0.
    """
    levels, mass = _levels(divergences, log_prior)
    sizes = check_sizes(n)
    result: Floats = -logsumexp(mass - sizes[..., None] * levels, axis=-1)
    return np.maximum(result, 0.0)


def soft_bound_sampled(divergences: ArrayLike, n: ArrayLike) -> SoftBound:
    """The soft bound from draws of the prior, with a jackknife standard error.

    Trust it only while many draws count: once ``n D`` of the nearest draw is large, the estimate is too big
    and its error too small. Thermodynamic integration (:func:`tempered_energy`) has no such limit.

    Parameters
    ----------
    divergences : array_like of shape (H,)
        At least two independent draws.
    n : array_like
    """
    d = check_divergences(divergences)
    if len(d) < 2:
        raise ValueError("a jackknife needs at least 2 draws, got 1")
    sizes = check_sizes(n)
    terms = -sizes[..., None] * d
    whole = logsumexp(terms, axis=-1)
    share = np.exp(terms - whole[..., None])
    with np.errstate(divide="ignore"):
        without = -(whole[..., None] + np.log1p(-np.minimum(share, 1.0)) - np.log(len(d) - 1))
    spread = without - without.mean(-1, keepdims=True)
    se = np.sqrt((len(d) - 1) / len(d) * (spread**2).sum(-1))
    return SoftBound(np.maximum(np.log(len(d)) - whole, 0.0), se)


def hard_bound(divergences: ArrayLike, log_prior: ArrayLike | None, n: ArrayLike) -> HardBound:
    """The hard bound ``B1(n) = min_eps [n eps - log w(eps)]`` and the radius that attains it.

    The minimum over all radii is attained at one of the divergences, so it is exact for a finite class.

    Parameters
    ----------
    divergences : array_like of shape (H,)
    log_prior : array_like of shape (H,) or None
    n : array_like

    Raises
    ------
    ValueError
        As :func:`soft_bound`.
    """
    levels, mass = _levels(divergences, log_prior)
    finite = np.isfinite(levels)
    levels, weight = levels[finite], np.logaddexp.accumulate(mass)[finite]
    sizes = check_sizes(n)
    costs = sizes[..., None] * levels - weight
    best = costs.argmin(-1)
    return HardBound(np.take_along_axis(costs, best[..., None], -1)[..., 0], levels[best])


def hard_from_curve(eps: Floats, log_w: Floats, n: ArrayLike) -> HardBound:
    """The hard bound from a curve of log weights; any grid gives a valid bound, a fine one the best."""
    sizes = check_sizes(n)
    costs = sizes[..., None] * eps - log_w
    best = costs.argmin(-1)
    return HardBound(np.take_along_axis(costs, best[..., None], -1)[..., 0], eps[best])
