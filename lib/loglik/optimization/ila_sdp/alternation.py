"""The iteration: LA-SDP for the labels, the covariance update for the shapes, in turn, many data sets at once."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from loglik.optimization.ila_sdp.admm import Settings, State, solve
from loglik.optimization.ila_sdp.inputs import Floats, Ints
from loglik.optimization.ila_sdp.likelihood import lifted, membership_covariances, pairwise_costs

LOOSE = Settings(max_iter=200, tol=1e-4, gap_tol=1e-4)  # within a round; the next round starts warm


class Shape(NamedTuple):
    """How covariances are estimated; see :func:`membership_covariances`."""

    covariance_type: str = "full"
    reg: float = 1e-3
    shrinkage: float = 0.0

    def fit(self, X: Floats, Z: Floats) -> Floats:
        """Covariances (..., K, p, p) of memberships (..., K, n, n)."""
        return membership_covariances(
            X, Z, reg=self.reg, covariance_type=self.covariance_type, shrinkage=self.shrinkage
        )


class Alternation(NamedTuple):
    """Where the iteration ended, one data set an entry of the first axis."""

    Z: Floats  # (B, K, n, n)
    labels: Ints  # (B, n) best rounding of the last programme
    labels_cost: Floats  # (B,) its -2 log-likelihood under the covariances of the last programme
    lower_bound: Floats  # (B,) no labelling has less, under those covariances
    covariances: Floats  # (B, K, p, p)
    certified: Any  # (B,) bool: the labels are optimal for the covariances of the last programme
    converged: Any  # (B,) bool: the covariances stand still
    objective_path: list[
        list[float]
    ]  # sum of <C_k(Sigma), Z_k> after each of the two steps, accurate rounds only
    iterations: list[list[int]]  # solver iterations of every round


def start_covariances(X: Floats, labels: Ints, n_clusters: int, shape: Shape) -> Floats:
    """Covariances (B, K, p, p) of starting labels (B, n)."""
    return shape.fit(X, lifted(labels, n_clusters))


def alternate(
    X: Floats,
    covariances: Floats,
    shape: Shape,
    *,
    max_outer: int = 15,
    tol: float = 1e-3,
    settings: Settings = LOOSE,
    soft_rounds: int = 0,
    soft_iter: int = 30,
    warm: bool = True,
) -> Alternation:
    """iLA-SDP for data sets X (B, n, p) from covariances (B, K, p, p).

    A data set is done when its covariances move by less than `tol` in a round (relative, Frobenius); the
    others go on together. `warm` hands each round the solver's state of the round before. With `soft_rounds`,
    that many rounds go before in which the solver is stopped after `soft_iter` iterations from a cold start:
    its memberships are then still soft.
    """
    B = len(covariances)
    run = _Run(X, covariances.copy(), shape, tol)
    soft = settings._replace(max_iter=soft_iter)
    for _ in range(soft_rounds):
        if not len(run.active):
            break
        run.round(soft, None)
    run.active, run.state = np.arange(B), None
    run.path = [[] for _ in range(B)]
    for _ in range(max_outer):
        run.round(settings, run.state if warm else None)
        if not len(run.active):
            break
    converged = ~np.isin(np.arange(B), run.active)
    bounds = run.labels_cost, run.lower_bound
    return Alternation(
        run.Z, run.labels, *bounds, run.sigma, run.certified, converged, run.path, run.iterations
    )


class _Run:
    """The data sets of an alternation, and which of them still move."""

    def __init__(self, X: Floats, sigma: Floats, shape: Shape, tol: float) -> None:
        B, n, _ = X.shape
        K = sigma.shape[1]
        self.X, self.sigma, self.shape, self.tol = X, sigma, shape, tol
        self.active = np.arange(B)
        self.state: State | None = None
        self.Z, self.labels = np.zeros((B, K, n, n)), np.zeros((B, n), dtype=int)
        self.labels_cost, self.lower_bound = np.zeros(B), np.zeros(B)
        self.certified = np.zeros(B, dtype=bool)
        self.path: list[list[float]] = [[] for _ in range(B)]
        self.iterations: list[list[int]] = [[] for _ in range(B)]

    def round(self, settings: Settings, state: State | None) -> None:
        """Labels, then shapes, of every data set that still moves."""
        rows, K = self.active, self.sigma.shape[1]
        X, before = self.X[rows], self.sigma[rows]
        found = solve(pairwise_costs(X, before), np.ones(K), K, settings, state)
        after = self.shape.fit(X, found.Z)
        value = (pairwise_costs(X, after) * found.Z).sum((1, 2, 3))
        for name in ("Z", "labels", "labels_cost", "lower_bound", "certified"):
            getattr(self, name)[rows] = getattr(found, name)
        self.sigma[rows] = after
        for row, b in enumerate(rows):
            self.path[b] += [float(found.objective[row]), float(value[row])]
            self.iterations[b].append(int(found.n_iter[row]))
        moving = _norm(after - before) > self.tol * _norm(before)
        self.active = rows[moving]
        self.state = State(*(np.asarray(a)[moving] for a in found.state))


def _norm(sigma: Floats) -> Floats:
    return np.asarray(np.sqrt((sigma**2).sum((-3, -2, -1))))
