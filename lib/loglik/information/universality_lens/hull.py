"""Divergence projection on the convex hull of a class, and the capacity of a class."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp, rel_entr

from loglik.information.universality_lens.checks import Floats


class Projection(NamedTuple):
    """The nearest mixture to a learner."""

    Q_prime: Floats  # (K,) the projection
    weights: Floats  # (T,) its mixture weights
    gap: float  # nats: no mixture is nearer by more than this


class Capacity(NamedTuple):
    """The capacity of a class and the prior that attains it."""

    value: float  # nats: mutual information under the prior, a lower bound of the minimax regret
    prior: Floats  # (T,)
    worst: float  # nats: largest regret of that prior's mixture, an upper bound of the minimax regret


def _check_rows(P: ArrayLike, name: str) -> Floats:
    rows = np.asarray(P, dtype=float)
    if rows.ndim != 2 or (rows < 0).any() or not np.allclose(rows.sum(1), 1, atol=1e-8):
        raise ValueError(
            f"{name} must hold one distribution a row, non-negative and summing to 1; got shape {rows.shape}"
        )
    return rows


def project_on_hull(Q: ArrayLike, P: ArrayLike, tol: float = 1e-7, max_iter: int = 500) -> Projection:
    """Project a learner on the convex hull of a class: minimise ``D(Q' || Q)`` over mixtures Q' of its rows.

    Fully corrective: the member with the steepest gradient joins a small active set, whose weights Newton's
    method then makes optimal. It stops when the Frank-Wolfe gap ``g'w - min g`` is below `tol`, with
    ``g_theta = sum_k P_theta(k) [log Q'(k)/Q(k) + 1]``. First-order optimality gives, for every member,
    ``D(P_theta || Q) >= D(P_theta || Q') + D(Q' || Q) - gap``: the projection is better everywhere.

    Parameters
    ----------
    Q : array_like of shape (K,)
        Positive wherever some member of the class is.
    P : array_like of shape (T, K)
    tol : float
        Gap at which to stop, nats.
    max_iter : int

    Raises
    ------
    ValueError
        For rows that are no distributions, or a Q that is zero where a member of the class is not.
    RuntimeError
        When the gap is still above `tol` after `max_iter` rounds.
    """
    rows = _check_rows(P, "P")
    q = _check_rows(np.asarray(Q, dtype=float)[None], "Q")[0]
    if rows.shape[1] != len(q) or (rows[:, q == 0] > 0).any():
        raise ValueError(
            "Q must have the outcomes of P and be positive where P is: else every regret is infinite"
        )
    keep = q > 0
    rows, log_q = rows[:, keep], np.log(q[keep])
    w = np.zeros(len(rows))
    w[rel_entr(rows, np.exp(log_q)).sum(1).argmin()] = 1.0
    for _ in range(max_iter):
        g = _gradient(w, rows, log_q)
        gap = float(w @ g - g.min())
        if gap < tol:
            break
        w = _correct(w, int(g.argmin()), rows, log_q)
    else:
        raise RuntimeError(f"the projection's gap is {gap:.2g} after {max_iter} rounds, wanted {tol:.2g}")
    full = np.zeros(len(q))
    full[keep] = w @ rows
    return Projection(full, w, gap)


def _gradient(w: Floats, rows: Floats, log_q: Floats) -> Floats:
    mixed = w @ rows
    return rows @ (np.log(np.maximum(mixed, 1e-300)) - log_q) + 1


def _correct(w: Floats, fresh: int, rows: Floats, log_q: Floats, rounds: int = 40) -> Floats:
    """Newton steps on the weights of the active members and a fresh one; a weight that reaches zero leaves."""

    def value(v: Floats) -> float:
        return float(rel_entr(v @ rows, np.exp(log_q)).sum())

    live = np.union1d(np.flatnonzero(w), fresh)
    for _ in range(rounds):
        g = _gradient(w, rows, log_q)[live]
        step = _newton(rows[live] / np.sqrt(np.maximum(w @ rows, 1e-300)), g)
        slope = float(g @ step)
        falling = step < 0
        if slope > -1e-16:
            break
        ratios = np.where(falling, w[live] / np.where(falling, -step, 1.0), np.inf)
        t, first = min(1.0, float(ratios.min())), int(ratios.argmin())
        if t == 0:  # a member at zero wants to go below: it leaves
            live = np.delete(live, first)
            continue
        trial, leaves = w.copy(), t == ratios[first]
        while True:
            trial[live] = np.maximum(w[live] + t * step, 0)
            if value(trial) <= value(w) + 1e-4 * t * slope or t < 1e-12:
                break
            t, leaves = t / 2, False
        if leaves:
            trial[live[first]] = 0.0
            live = np.delete(live, first)
        w = trial / trial.sum()
    return w


def _newton(half: Floats, g: Floats) -> Floats:
    """Minimise ``g'd + |half' d|^2 / 2`` over directions that sum to zero."""
    n = len(g)
    hessian = half @ half.T
    hessian[np.diag_indices(n)] += 1e-10 * np.trace(hessian) / n
    system = np.block([[hessian, np.ones((n, 1))], [np.ones((1, n)), np.zeros((1, 1))]])
    step = np.linalg.solve(system, np.append(-g, 0.0))[:n]
    result: Floats = step - step.mean()
    return result


def blahut_arimoto(P: ArrayLike, tol: float = 1e-3, max_iter: int = 100_000) -> Capacity:
    """Capacity of a class by Blahut and Arimoto's iteration.

    Parameters
    ----------
    P : array_like of shape (T, K)
        One distribution a row.
    tol : float
        Stop when worst regret minus mutual information is below this, nats.

    Raises
    ------
    ValueError
        For rows that are no distributions.
    RuntimeError
        When `tol` isn't reached.
    """
    rows = _check_rows(P, "P")
    log_prior = np.full(len(rows), -np.log(len(rows)))
    for _ in range(max_iter):
        regrets = divergences(rows, np.exp(log_prior) @ rows)
        value, worst = float(np.exp(log_prior) @ regrets), float(regrets.max())
        if worst - value < tol:
            return Capacity(value, np.exp(log_prior), worst)
        log_prior = log_prior + regrets
        log_prior = log_prior - logsumexp(log_prior)
    raise RuntimeError(
        f"capacity known only to {worst - value:.2g} nats after {max_iter} steps, wanted {tol:.2g}"
    )


def divergences(P: Floats, Q: Floats) -> Floats:
    """``D(P_theta || Q)`` for every row of P, nats, shape (T,): the regrets of learner Q."""
    result: Floats = rel_entr(P, Q).sum(1)
    return result
