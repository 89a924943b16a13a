"""Convex programs over the level set, thousands at a time: ranges of scores, and fits with forced scores.

Every program here is one of

* the *range* of a score: ``max a'w  subject to  L(w) <= T`` (:func:`score_maxima`), and
* a *forced fit*: ``min L(w)  subject to  A w = b`` (:func:`forced_fits`) or ``A w >= b`` (:func:`forced_fit`).

Steps are Newton's, damped by the loss's own curvature bound
(:func:`~loglik.risk.predictive_multiplicity.loss.safe_length`), and
every answer leaves with a certificate that doesn't rest on the solver's word.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import nnls

from loglik.risk.predictive_multiplicity.loss import Floats, Rows, derivatives, losses, safe_length

CHUNK = 4_000_000  # numbers in the largest temporary array (rows times models)


class Maxima(NamedTuple):
    """Largest scores over the level set, one for each direction."""

    score: Floats  # (b,) reached by a model that is certainly in the level set
    bound: Floats  # (b,) proven: no model of the level set passes it
    model: Floats  # (b, p) the models that reach `score`
    multiplier: Floats  # (b,) t: what one unit of score costs in loss
    steps: int  # Newton steps


class Centre(NamedTuple):
    """The baseline, and a ball in its Hessian's norm that holds the level set."""

    w: Floats  # (p,)
    loss: float
    hessian: Floats  # (p, p)
    radius: float  # largest |w - w0|_H over the level set; infinite where no bound is known


def score_maxima(
    rows: Rows, centre: Centre, A: Floats, target: float, *, tol: float = 1e-11, max_iter: int = 100
) -> Maxima:
    """Maximise ``a'w`` over ``{w: L(w) <= target}`` for each row a of A (b, p).

    Let ``phi(s) = min {L(w): a'w = s}``: convex, increasing beyond the baseline's score, with slope t, the multiplier.
    The answer is the root of ``phi(s) = target``. Newton's method on ``sqrt(phi - L0)`` (linear where the loss is
    quadratic) inside the bracket that convexity gives; the inner minimum by projected Newton steps.

    Parameters
    ----------
    rows : Rows
    centre : Centre
        The baseline; its loss must be under `target`.
    A : array of shape (b, p)
        Directions; those of people's rows, or their negatives for smallest scores.
    target : float
        T, the loss at the level set's edge.
    tol : float
        Allowed distance of the loss from T.
    max_iter : int
        Newton steps, inner ones counted.

    Returns
    -------
    Maxima
        Scores, proven bounds, models. An answer that didn't settle shows as a wide bound, never as a wrong score.
    """
    size = max(1, CHUNK // len(rows.X))
    parts = [
        _chunk_maxima(rows, centre, A[i : i + size], target, tol, max_iter) for i in range(0, len(A), size)
    ]
    fields = [np.concatenate([part[k] for part in parts]) for k in range(4)]
    return Maxima(fields[0], fields[1], fields[2], fields[3], max(part.steps for part in parts))


def _chunk_maxima(rows: Rows, centre: Centre, A: Floats, target: float, tol: float, max_iter: int) -> Maxima:
    epsilon = target - centre.loss
    ray = np.linalg.solve(centre.hessian, A.T).T
    leverage = np.maximum((A * ray).sum(1), 1e-300)
    W = centre.w + ray * np.sqrt(2 * epsilon / leverage)[:, None]
    low, high = A @ centre.w, np.full(len(A), np.inf)
    t, steps = np.ones(len(A)), 0
    active = np.arange(len(A))
    for _ in range(max_iter):
        steps += 1
        a, w = A[active], W[active]
        at = derivatives(rows, w)
        inverse = np.linalg.solve(at.hessian, np.stack([a, at.gradient], axis=2))
        along = np.maximum((a * inverse[..., 0]).sum(1), 1e-300)
        t_now = (a * inverse[..., 1]).sum(1) / along
        step = t_now[:, None] * inverse[..., 0] - inverse[..., 1]
        decrement = -(at.gradient * step).sum(1) / 2
        t[active] = t_now
        settled = decrement < 1e-3 * np.abs(at.loss - target) + tol / 10
        s = (a * w).sum(1)
        moved = _next_score(s, at.loss - decrement, t_now, centre.loss, target, low, high, active, settled)
        shift = np.where(settled, (moved - s) / along, 0.0)
        length = np.where(settled, 1.0, safe_length(rows, step))
        done = settled & (np.abs(at.loss - target) < tol)
        change = length[:, None] * step + shift[:, None] * inverse[..., 0]
        W[active[~done]] = (w + change)[~done]
        active = active[~done]
        if not active.size:
            break
    return _certified(rows, centre, A, W, t, target, steps)


def _next_score(
    s: Floats,
    phi: Floats,
    t: Floats,
    loss0: float,
    target: float,
    low: Floats,
    high: Floats,
    active: np.ndarray,
    settled: np.ndarray,
) -> Floats:
    """Scores to try next: Newton on ``sqrt(phi - L0)``, held inside the bracket, which is tightened in place."""
    rise, epsilon = np.maximum(phi - loss0, 1e-300), target - loss0
    slope = np.maximum(t, 1e-300)
    inside, tangent = phi <= target, s + (target - phi) / slope
    low[active] = np.where(settled & inside, np.maximum(low[active], s), low[active])
    cap = np.where(settled, np.minimum(high[active], tangent), high[active])
    high[active] = np.maximum(cap, low[active])
    wanted = s + 2 * (np.sqrt(epsilon * rise) - rise) / slope
    limit = s + 2 * np.abs(s - low[active]) + 10  # never leap into where all risks are 0 or 1
    bounded = np.minimum(np.minimum(wanted, high[active]), limit)
    return np.where(bounded > low[active], bounded, (low[active] + np.minimum(s, high[active])) / 2)


def _certified(
    rows: Rows, centre: Centre, A: Floats, W: Floats, t: Floats, target: float, steps: int
) -> Maxima:
    """Pull models into the level set, and bound the score by the loss's tangent plane at each.

    For every w' of the level set, ``T >= L(w') >= L(w) + g'(w' - w)``. With ``g = t a - r`` this reads
    ``a'w' <= a'w + (T - L(w)) / t + r'(w' - w) / t``, and ``r'(w' - w)`` is at most
    ``|r| (radius + |w - w0|)`` in the norms of the baseline's Hessian.
    """
    at = derivatives(rows, W)
    residual = t[:, None] * A - at.gradient
    root = np.linalg.cholesky(centre.hessian)
    size = np.linalg.norm(np.linalg.solve(root, residual.T), axis=0)
    away = np.linalg.norm(root.T @ (W - centre.w).T, axis=0)
    slope = np.where(t > 0, t, np.nan)
    with np.errstate(over="ignore", invalid="ignore"):
        slack = (target - at.loss + size * (centre.radius + away)) / slope
    bound = (A * W).sum(1) + np.where(np.isfinite(slack), slack, np.inf)
    models = pull_in(rows, centre, W, target)
    score = (A * models).sum(1)
    return Maxima(score, np.maximum(bound, score), models, t, steps)


def pull_in(rows: Rows, centre: Centre, W: Floats, target: float) -> Floats:
    """Models (b, p) moved towards the baseline, as far as convexity asks for ``L <= target``."""
    for _ in range(3):
        excess = losses(rows, W) - target
        over = excess > 0
        if not over.any():
            break
        share = np.where(over, excess / (excess + target - centre.loss) * (1 + 1e-12) + 1e-16, 0.0)
        W = W + share[:, None] * (centre.w - W)
    return W


# -- forced fits ---------------------------------------------------------------------------------------------


class Fits(NamedTuple):
    """Best models with forced scores."""

    model: Floats  # (b, p)
    loss: Floats  # (b,) mean log loss without the penalty
    multiplier: Floats  # (b, c) what each forced score costs; of the sign of the push
    decrement: Floats  # (b,) Newton decrement at the end: how much loss is still to be had


def forced_fits(
    rows: Rows,
    A: Floats,
    b: Floats,
    start: Floats,
    *,
    penalty: float = 0.0,
    tol: float = 1e-12,
    max_iter: int = 100,
) -> Fits:
    """Minimise ``L(w) + penalty |w[1:]|²`` subject to ``A[j] w = b[j]``, for a batch of programs j.

    Parameters
    ----------
    A : array of shape (b, c, p)
        c directions a program.
    b : array of shape (b, c)
        Their scores.
    start : array of shape (p,) or (b, p)
        Where to begin; better starts need fewer steps.

    Returns
    -------
    Fits
    """
    size = max(1, CHUNK // len(rows.X))
    W = np.broadcast_to(start, (len(A), rows.p)).copy()
    parts = [
        _chunk_fits(rows, A[i : i + size], b[i : i + size], W[i : i + size], penalty, tol, max_iter)
        for i in range(0, len(A), size)
    ]
    return Fits(*(np.concatenate(field) for field in zip(*parts, strict=True)))


def _chunk_fits(
    rows: Rows, A: Floats, b: Floats, W: Floats, penalty: float, tol: float, max_iter: int
) -> Fits:
    multiplier, decrement = np.zeros(b.shape), np.full(len(A), np.inf)
    active = np.arange(len(A))
    for _ in range(max_iter):
        a, w = A[active], W[active]
        at = derivatives(rows, w, penalty)
        inverse = np.linalg.solve(
            at.hessian, np.concatenate([np.swapaxes(a, 1, 2), at.gradient[..., None]], axis=2)
        )
        rays, newton = inverse[..., :-1], inverse[..., -1]
        gram = a @ rays
        gram += 1e-14 * np.trace(gram, axis1=1, axis2=2)[:, None, None] * np.eye(gram.shape[1])
        missing = b[active] - (a @ w[..., None])[..., 0]
        nu = np.linalg.solve(gram, (missing + (a @ newton[..., None])[..., 0])[..., None])
        step = (rays @ nu)[..., 0] - newton
        near = np.abs(missing).max(axis=1) < 1e-10 * (1 + np.abs(b[active]).max(axis=1))
        free = np.linalg.solve(gram, (a @ newton[..., None]))[..., 0]
        multiplier[active] = free
        decrement[active] = ((step[:, None] @ at.hessian @ step[..., None])[:, 0, 0]) / 2
        W[active] = w + safe_length(rows, step)[:, None] * step
        active = active[~(near & (decrement[active] < tol))]
        if not active.size:
            break
    return Fits(W, losses(rows, W), multiplier, decrement)


class Forced(NamedTuple):
    """The best model that pushes all of a set of scores past their thresholds."""

    model: Floats  # (p,)
    loss: float
    bound: float  # proven: no model that pushes them all has a smaller loss
    multiplier: Floats  # (c,) at least 0; the scores with a positive one are what makes it hard


def forced_fit(
    rows: Rows,
    centre: Centre,
    A: Floats,
    b: Floats,
    start: Floats,
    *,
    stop_above: float = np.inf,
    max_iter: int = 60,
) -> Forced:
    """Minimise ``L(w)`` subject to ``A w >= b``, A (c, p), by Newton steps with exact small quadratic programs.

    `stop_above` ends the search early once the *bound* passes it.
    """
    w, nu, bound = start.copy(), np.zeros(len(b)), -np.inf
    for _ in range(max_iter):
        at = derivatives(rows, w[None])
        step, nu = _least_push(at.hessian[0], at.gradient[0], A, b - A @ w)
        w = w + safe_length(rows, step[None])[0] * step
        if np.abs(step @ at.hessian[0] @ step) < 1e-13:
            break
    at = derivatives(rows, w[None])
    residual = at.gradient[0] - A.T @ nu
    root = np.linalg.cholesky(centre.hessian)
    slack = np.linalg.norm(np.linalg.solve(root, residual)) * (
        centre.radius + np.linalg.norm(root.T @ (w - centre.w))
    )
    bound = float(at.loss[0] + nu @ (b - A @ w) - slack)
    return Forced(w, float(at.loss[0]), bound, nu)


def _least_push(hessian: Floats, gradient: Floats, A: Floats, missing: Floats) -> tuple[Floats, Floats]:
    """The step h and multipliers of ``min g'h + h'Hh/2  s.t.  A h >= missing``.

    In coordinates ``z = R h + R^{-T} g`` with ``H = R'R`` this is the point of a polyhedron nearest to the origin
    (Lawson and Hanson's least-distance program), which non-negative least squares solves.
    """
    root = np.linalg.cholesky(hessian)  # R' of the docstring
    centre = np.linalg.solve(root, gradient)
    G = np.linalg.solve(root, A.T).T
    k = missing + G @ centre
    scale = max(1.0, float(np.abs(k).max()))
    system = np.vstack([G.T, k[None] / scale])
    goal = np.zeros(len(system))
    goal[-1] = 1.0
    solution, _ = nnls(system, goal, maxiter=50 * system.shape[1])
    gap = goal - system @ solution
    if gap[-1] <= 1e-14:  # the thresholds contradict each other: no step reaches them all
        return np.linalg.solve(root.T, -centre), np.zeros(len(missing))
    z = -gap[:-1] / gap[-1] * scale
    return np.linalg.solve(root.T, z - centre), solution / gap[-1] * scale
