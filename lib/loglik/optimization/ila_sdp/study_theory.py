"""The chapter's exact checks (C1, C2, C9): identities and bounds, each over many small data sets."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from loglik.optimization.ila_sdp import simulate
from loglik.optimization.ila_sdp.admm import Settings, solve
from loglik.optimization.ila_sdp.inputs import Floats, Ints
from loglik.optimization.ila_sdp.likelihood import (
    kmeans_costs,
    labelling_cost,
    lifted,
    pairwise_costs,
    profile_negloglik,
)

Seed = int | Sequence[int]
ACCURATE = Settings(max_iter=4000, tol=1e-6, gap_tol=1e-5)


def random_mixtures(
    n: int, K: int, p: int, n_sets: int, separation: float, rng: np.random.Generator
) -> simulate.Draw:
    """Data sets with random centres and random covariances (n_sets, K, p, p), conditioned not too badly."""
    root = rng.normal(size=(n_sets, K, p, p))
    sigma = root @ root.swapaxes(-1, -2) / p + 0.3 * np.eye(p)
    labels = np.arange(n) % K
    centres = separation * rng.normal(size=(n_sets, K, p))
    noise = np.einsum("bnpq,bnq->bnp", np.linalg.cholesky(sigma)[:, labels], rng.normal(size=(n_sets, n, p)))
    return simulate.Draw(centres[:, labels] + noise, labels, centres, sigma)


def identity_study(n_sets: int, *, seed: Seed = 0) -> Floats:
    """Relative differences (n_sets,) of the lifted objective from the textbook likelihood, random labels (C1a)."""
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    draw = random_mixtures(40, 4, 5, n_sets, 3.0, rng)
    labels = rng.permuted(np.broadcast_to(draw.labels, (n_sets, 40)), axis=1)
    costs = pairwise_costs(draw.X, draw.covariances)
    inner = (costs * lifted(labels, 4)).sum((1, 2, 3))
    textbook = [profile_negloglik(x, y, s) for x, y, s in zip(draw.X, labels, draw.covariances, strict=True)]
    return np.asarray(np.abs(inner - textbook) / np.abs(textbook))


def best_labelling(costs: Floats) -> tuple[float, Ints]:
    """The least cost over all labellings into two occupied clusters, by trying all of them: costs (2, n, n)."""
    n = costs.shape[-1]
    every = np.array(list(itertools.product((0, 1), repeat=n))[1:-1])
    values = labelling_cost(costs, every)
    return float(values.min()), every[values.argmin()]


def relaxation_study(n: int, n_sets: int, *, separation: float = 2.0, seed: Seed = 0) -> pd.DataFrame:
    """The programme against brute force on small data sets (C1b).

    Returns
    -------
    DataFrame
        Columns set, bound, rounded, best (costs of the lower bound, the rounding and the brute-force
        optimum), scale (mean absolute deviation of the costs, times n), certified, same (the rounding is
        optimal).
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    draw = random_mixtures(n, 2, 2, n_sets, separation, rng)
    costs = pairwise_costs(draw.X, draw.covariances)
    found = solve(costs, np.ones(2), 2, ACCURATE)
    best = np.array([best_labelling(c)[0] for c in costs])
    spread = np.abs(costs - costs.mean((1, 2, 3), keepdims=True)).mean((1, 2, 3)) * n
    return pd.DataFrame(
        {
            "set": np.arange(n_sets),
            "bound": found.lower_bound,
            "rounded": found.labels_cost,
            "best": best,
            "scale": spread,
            "certified": found.certified,
            "same": found.labels_cost <= best + 1e-6 * spread,
        }
    )


def invariance_study(n_sets: int, *, seed: Seed = 0) -> pd.DataFrame:
    """Rows moved by X -> XB' + c with c of size a million: what happens to optimum and labels (C2).

    Returns
    -------
    DataFrame
        Columns set, excess (change of the rounded optimum beyond 2 n log|det B|, over the spread of the
        costs), labels_changed.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    n, p = 24, 3
    draw = random_mixtures(n, 2, p, n_sets, 3.0, rng)
    B = rng.normal(size=(n_sets, p, p)) + 2 * np.eye(p)
    c = 1e6 * rng.normal(size=(n_sets, 1, p))
    a = pairwise_costs(draw.X, draw.covariances)
    b = pairwise_costs(
        draw.X @ B.swapaxes(-1, -2) + c, B[:, None] @ draw.covariances @ B[:, None].swapaxes(-1, -2)
    )
    shift = 2 * np.linalg.slogdet(B)[1]
    first, second = (solve(x, np.ones(2), 2, ACCURATE) for x in (a, b))
    spread = np.abs(a - a.mean((1, 2, 3), keepdims=True)).mean((1, 2, 3)) * n
    excess = np.abs(second.lower_bound - first.lower_bound - n * shift) / spread
    changed = (first.labels != second.labels).sum(1)
    return pd.DataFrame({"set": np.arange(n_sets), "excess": excess, "labels_changed": changed})


def equal_study(n_sets: int, *, n: int = 24, K: int = 3, seed: Seed = 0) -> pd.DataFrame:
    """Equal covariances: LA-SDP's optimum against the K-means programme's, and what an even split costs (C9).

    Returns
    -------
    DataFrame
        Columns set, difference (relative), even_cost (relative change of the objective when every cluster
        gets Z/K), even_spread (largest distance of an even split's masses from 1/K).
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    draw = simulate.stretched_gmm(n, K, K, 4.0, 1.0, rng, (n_sets,))
    costs = pairwise_costs(draw.X, np.broadcast_to(draw.covariances, (n_sets, K, K, K)))
    tight = Settings(max_iter=20_000, tol=1e-7, gap_tol=0.0)
    adjusted = solve(costs, np.ones(K), K, tight)
    plain = solve(kmeans_costs(draw.X)[:, None], np.array([float(K)]), K, tight)
    even = np.repeat(adjusted.Z.mean(1, keepdims=True), K, axis=1)
    value, split = ((costs * Z).sum((1, 2, 3)) for Z in (adjusted.Z, even))
    rows = even.sum(-1) / even.sum((1, 3))[:, None]  # masses, as shares of each row's whole
    return pd.DataFrame(
        {
            "set": np.arange(n_sets),
            "difference": np.abs(adjusted.objective / plain.objective - 1),
            "even_cost": np.abs(split / value - 1),
            "even_spread": np.abs(rows - 1 / K).max((1, 2)),
        }
    )


def bound_path(costs: Floats, steps: int) -> pd.DataFrame:
    """Both bounds as the solver goes on, ten iterations a step: costs (K, n, n).

    Returns
    -------
    DataFrame
        Columns iterations, lower, upper (best so far), ranks (eigenvalues above 1e-3 in all matrices).
    """
    K = len(costs)
    state, rows, lower, upper = None, [], -np.inf, np.inf
    for step in range(1, steps + 1):
        found = solve(costs[None], np.ones(K), K, Settings(max_iter=10, tol=1e-9, gap_tol=0.0), state)
        lower = max(lower, float(found.lower_bound[0]))
        upper = min(upper, float(found.labels_cost[0]))
        ranks = int((np.linalg.eigvalsh(found.Z[0]) > 1e-3).sum())
        rows.append((10 * step, lower, upper, ranks))
        state = found.state
    return pd.DataFrame(rows, columns=["iterations", "lower", "upper", "ranks"])
