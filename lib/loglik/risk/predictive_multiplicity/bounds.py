"""Fast answers: ranges from the baseline's curvature alone, as an approximation and as proven bounds."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit

from loglik.risk.predictive_multiplicity.levelset import LevelSet
from loglik.risk.predictive_multiplicity.loss import Floats, check_features, with_intercept


class FastBounds(NamedTuple):
    """What can be said of viable ranges without an optimisation a person."""

    inner_low: Floats  # (m,) a risk that a model of the level set does give; the minimum is at or under it
    inner_high: Floats  # (m,) likewise; the maximum is at or over it
    outer_low: Floats  # (m,) proven: no model of the level set goes under it
    outer_high: Floats  # (m,) proven: none goes over it


def _rays(level_set: LevelSet, X_eval: Any) -> tuple[Floats, Floats, Floats]:
    """Baseline scores (m,), Newton rays ``H^{-1} x`` (m, p) and leverages ``x'H^{-1}x`` (m,)."""
    A = with_intercept(check_features(X_eval, level_set.rows.p - 1, "X_eval"))
    ray: Floats = np.linalg.solve(level_set._centre.hessian, A.T).T.astype(float)
    return A @ level_set.w0, ray, np.einsum("ij,ij->i", A, ray)


def laplace_range(level_set: LevelSet, X_eval: Any) -> Floats:
    r"""Ranges (m, 2) from the quadratic approximation: multiplicity as leverage.

    .. math:: \sigma\big(s_0 \pm \sqrt{2\epsilon\,\tilde x^\top H^{-1}\tilde x}\big)

    with H the Hessian of the mean loss at the baseline. Exact as epsilon tends to 0; no bound in general. Source:
    derived. Costs one factorisation, O(u p² + m p²).
    """
    s, _, leverage = _rays(level_set, X_eval)
    half = np.sqrt(2 * level_set.epsilon * leverage)
    return np.asarray(expit(np.column_stack([s - half, s + half])))


def fast_bounds(level_set: LevelSet, X_eval: Any) -> FastBounds:
    r"""Ranges from inside and outside, both proven, for the price of one factorisation and line searches.

    *Inside*: on the ray ``w0 ± c H^{-1} x`` the largest c with ``L <= T``, by bisection on the loss: those models
    exist. *Outside*: the level set lies in the ball ``|w - w0|_H <= radius``, where the radius solves Bach's
    inequality for the largest leverage :math:`k^2` of the training rows,

    .. math:: \epsilon = (e^{-kq} + kq - 1)/k^2 - g\,q,

    (g: the baseline's remaining gradient, about the ridge), so scores stay within ``radius * sqrt(x'H^{-1}x)``.

    Returns
    -------
    FastBounds
        The outer ends are 0 and 1 where the baseline's curvature can't hold the level set (near-separable classes).

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 2))
    >>> near = LevelSet(X, X[:, 0] + rng.logistic(size=200) > 0, epsilon=0.005)
    >>> fast, exact = fast_bounds(near, X), near.ranges(X)
    >>> bool((fast.outer_low <= exact.low).all() and (exact.low <= fast.inner_low).all())
    True
    """
    unique, place = np.unique(
        check_features(X_eval, level_set.rows.p - 1, "X_eval"), axis=0, return_inverse=True
    )
    s, ray, leverage = _rays(level_set, unique)
    norm = np.sqrt(np.maximum(leverage, 1e-300))
    unit = ray / norm[:, None]
    start = np.broadcast_to(level_set.w0, unit.shape)
    if level_set.endless:
        reach = np.zeros((2, len(s)))  # a chord may have no end
    else:
        reach = np.stack([level_set._chord(start, -unit), level_set._chord(start, unit)])
    half = level_set._centre.radius * norm
    ends = (s - reach[0] * norm, s + reach[1] * norm, s - half, s + half)
    return FastBounds(*(expit(end)[place.ravel()] for end in ends))
