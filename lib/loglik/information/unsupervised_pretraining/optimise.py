"""L-BFGS for many problems of one shape at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from loglik.information.unsupervised_pretraining.checks import Floats


def minimise_batch(
    objective: Callable[[Floats, Any], tuple[Floats, Floats]],
    start: Floats,
    *,
    max_iter: int = 200,
    tol: float = 1e-6,
    memory: int = 10,
) -> tuple[Floats, Floats]:
    """Minimise B smooth functions of p variables, each with its own L-BFGS history and step.

    Parameters
    ----------
    objective : callable
        Takes the positions (A, p) and the indices (A,) of the problems that are still running; gives values
        (A,) and gradients (A, p).
    start : array of shape (B, p)
    max_iter : int
    tol : float
        A problem stops when its largest gradient entry is below `tol`, or no step lowers it any more.
    memory : int
        Pairs kept.

    Returns
    -------
    (array of shape (B, p), array of shape (B,))
        Positions and values.
    """
    x, active = start.astype(float).copy(), np.arange(len(start))
    value, slope = objective(x, active)
    pairs: list[tuple[Floats, Floats]] = []
    for _ in range(max_iter):
        active = active[np.abs(slope[active]).max(1) > tol]
        if not len(active):
            break
        direction = _two_loop(slope, pairs)
        steep = (direction * slope).sum(1)
        uphill = steep >= 0
        direction[uphill], steep[uphill] = -slope[uphill], -(slope[uphill] ** 2).sum(1)
        step = np.ones(len(x))
        if not pairs:
            step = 1 / np.maximum(np.linalg.norm(slope, axis=1), 1.0)
        new_x, new_value, new_slope = x.copy(), value.copy(), slope.copy()
        waiting = active
        for _ in range(30):  # halve until Armijo's condition holds
            trial = x[waiting] + step[waiting, None] * direction[waiting]
            v, g = objective(trial, waiting)
            good = v <= value[waiting] + 1e-4 * step[waiting] * steep[waiting]
            at = waiting[good]
            new_x[at], new_value[at], new_slope[at] = trial[good], v[good], g[good]
            waiting = waiting[~good]
            if not len(waiting):
                break
            step[waiting] /= 2
        active = np.setdiff1d(active, waiting)
        pairs = [*pairs[-(memory - 1) :], (new_x - x, new_slope - slope)]
        x, value, slope = new_x, new_value, new_slope
    return x, value


def _two_loop(slope: Floats, pairs: list[tuple[Floats, Floats]]) -> Floats:
    """Minus the approximate inverse Hessian times the slope; pairs without positive curvature are skipped."""
    q, kept = slope.copy(), []
    for s, y in reversed(pairs):
        curvature = (s * y).sum(1)
        rho = np.where(curvature > 1e-14, 1 / np.where(curvature > 1e-14, curvature, 1.0), 0.0)
        alpha = rho * (s * q).sum(1)
        q -= alpha[:, None] * y
        kept.append((s, y, rho, alpha))
    if pairs:
        s, y = pairs[-1]
        scale = (s * y).sum(1) / np.maximum((y * y).sum(1), 1e-300)
        q *= np.where(scale > 0, scale, 1.0)[:, None]
    for s, y, rho, alpha in reversed(kept):
        beta = rho * (y * q).sum(1)
        q += (alpha - beta)[:, None] * s
    return -q
