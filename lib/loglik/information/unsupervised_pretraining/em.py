"""Expectation–maximisation for equal mixtures of unit normals: all data sets and all starts at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from loglik.information.unsupervised_pretraining.checks import Floats, Ints

PRIOR = 0.5  # pseudo-counts of each label in a cluster, where labels take part


class MixtureFit(NamedTuple):
    """Best of several starts, for every data set of a batch."""

    centers: Floats  # (reps, K, d)
    log_likelihood: Floats  # (reps,) mean a row
    n_iter: Ints  # (reps,)
    label_share: Floats | None = None  # (reps, K) P(y=1 | cluster), where labels took part


def cluster_logits(X: Floats, centers: Floats) -> Floats:
    """Log-densities (..., K, rows) of rows (..., rows, d), up to what no cluster changes."""
    return np.asarray(centers @ X.swapaxes(-1, -2) - 0.5 * (centers**2).sum(-1)[..., None])


def responsibilities(logits: Floats) -> tuple[Floats, Floats]:
    """Softmax over the cluster axis (−2), and the log of its normaliser (..., rows)."""
    top = logits.max(axis=-2, keepdims=True)
    weights = np.exp(logits - top)
    total = weights.sum(axis=-2, keepdims=True)
    weights /= total
    return weights, (top + np.log(total))[..., 0, :]


def spread_starts(
    X: Floats, K: int, starts: int, rng: np.random.Generator, weights: Floats | None = None
) -> Floats:
    """Greedy k-means++ centres (reps, starts, K, d) for data sets X (reps, m, d).

    Each further centre is the best of 2 + log K candidates, drawn with probability proportional to the
    squared distance from the centres so far (and to the rows' `weights`).
    """
    reps, m, d = X.shape
    rows = np.arange(reps)[:, None, None]
    given = np.ones((reps, 1, m)) if weights is None else weights[:, None]
    norms = (X**2).sum(-1)
    chance = np.broadcast_to(given, (reps, starts, m))
    nearest = np.full((reps, starts, m), np.inf)
    centers = np.empty((reps, starts, K, d))
    for k in range(K):
        trials = 1 if k == 0 else 2 + int(np.log(K))
        cumulated = chance.cumsum(-1)
        marks = rng.random((reps, starts, trials)) * cumulated[..., -1:]
        picked = np.minimum((cumulated[..., None, :] < marks[..., None]).sum(-1), m - 1)
        new = X[rows, picked]  # (reps, starts, trials, d)
        gaps = new.reshape(reps, -1, d) @ X.swapaxes(1, 2)
        gaps = norms[:, None, None] - 2 * gaps.reshape(reps, starts, trials, m) + (new**2).sum(-1)[..., None]
        candidate = np.minimum(nearest[:, :, None], np.maximum(gaps, 0))
        best = (candidate * given[:, :, None]).sum(-1).argmin(-1)[..., None]
        nearest = np.take_along_axis(candidate, best[..., None], 2)[:, :, 0]
        centers[:, :, k] = np.take_along_axis(new, best[..., None], 2)[:, :, 0]
        chance = nearest * given
    return centers


def fit_mixture(
    X: Floats,
    centers: Floats,
    *,
    weights: Floats | None = None,
    labels: Floats | None = None,
    tol: float = 1e-7,
    max_iter: int = 200,
) -> MixtureFit:
    """Run EM from every start of every data set, and keep the likeliest.

    Parameters
    ----------
    X : array of shape (reps, m, d)
    centers : array of shape (reps, starts, K, d)
        Where to start.
    weights : array of shape (reps, m), optional
        Rows with weight 0 don't exist, so data sets of several sizes fit into one batch.
    labels : array of shape (reps, m), optional
        0 and 1. Then (x, y) is modelled: each cluster has its own share of ones.
    tol, max_iter : float, int
        A data set stops when no start gains more than `tol` in mean log-likelihood.

    Notes
    -----
    The E-step is one matrix product for all starts. Data sets that have stopped leave the batch.
    """
    reps, starts, K, d = centers.shape
    mass = np.ones(X.shape[:2]) if weights is None else weights
    constant = -0.5 * ((X**2).sum(-1) * mass).sum(1) / mass.sum(1) - 0.5 * d * np.log(2 * np.pi) - np.log(K)
    where, rows = np.arange(reps), np.arange(reps)
    u, share = centers, np.full((reps, starts, K), 0.5)
    before = np.full((reps, starts), -np.inf)
    found_u, found_share, found_level = np.empty_like(u), np.empty_like(share), np.empty_like(before)
    n_iter = np.zeros(reps, dtype=np.int64)
    for iteration in range(1, max_iter + 1):
        r, level = e_step(X, u, share, labels)
        after = (level * mass[:, None]).sum(-1) / mass.sum(-1)[:, None]
        stop = (after - before <= tol).all(1) | (iteration == max_iter)
        at = where[stop]
        found_u[at], found_share[at], found_level[at] = u[stop], share[stop], after[stop]
        n_iter[at] = iteration
        if stop.all():
            break
        if stop.any():
            keep = ~stop
            X, mass, where, r, after = X[keep], mass[keep], where[keep], r[keep], after[keep]
            u, share = u[keep], share[keep]
            labels = None if labels is None else labels[keep]
        r *= mass[:, None, None]
        u, share = m_step(X, r, u, share, labels)
        before = after
    best = found_level.argmax(1)
    level = found_level[rows, best] + constant
    return MixtureFit(found_u[rows, best], level, n_iter, None if labels is None else found_share[rows, best])


def e_step(X: Floats, u: Floats, share: Floats, labels: Floats | None) -> tuple[Floats, Floats]:
    """Responsibilities (reps, starts, K, m) and each row's log-likelihood (reps, starts, m)."""
    reps, starts, K, d = u.shape
    logits = cluster_logits(X, u.reshape(reps, starts * K, d)).reshape(reps, starts, K, -1)
    if labels is not None:
        odds, zero = np.log(share / (1 - share)), np.log1p(-share)
        logits = logits + zero[..., None] + odds[..., None] * labels[:, None, None]
    return responsibilities(logits)


def m_step(X: Floats, r: Floats, u: Floats, share: Floats, labels: Floats | None) -> tuple[Floats, Floats]:
    """New centres and label shares; a cluster without rows stays where it is."""
    total = r.sum(-1)
    sums = (r.reshape(len(X), -1, X.shape[1]) @ X).reshape(u.shape)
    centers = np.where(total[..., None] > 1e-10, sums / np.maximum(total, 1e-10)[..., None], u)
    if labels is None:
        return centers, share
    ones = (r @ labels[:, None, :, None])[..., 0]
    return centers, (ones + PRIOR) / (total + 2 * PRIOR)
