"""The chapter's experiments on simulated data, each a function that returns one tidy table.

The programmes of a block of data sets are solved together; the rivals are scikit-learn's and take one data set
at a time. Generators come from ``SeedSequence.spawn``, so results don't depend on `n_jobs`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from loglik.optimization.ila_sdp import baselines, simulate
from loglik.optimization.ila_sdp.admm import Settings, few_threads, solve
from loglik.optimization.ila_sdp.alternation import LOOSE, Alternation, Shape, alternate, start_covariances
from loglik.optimization.ila_sdp.inputs import Floats, Ints
from loglik.optimization.ila_sdp.likelihood import kmeans_costs, pairwise_costs
from loglik.optimization.ila_sdp.rounding import misclustering_error, round_membership

KMEANS, WARD, SPECTRAL, SDP = "K-means", "Ward", "spectral", "plain SDP"
EM, EM_RANDOM, EM_TEN, EM_SAME = "EM, K-means start", "EM, random start", "EM, 10 restarts", "EM, same start"
ILA, SOFT, ORACLE = "iLA-SDP", "iLA-SDP, soft start", "LA-SDP, true shapes"
RIVALS = (KMEANS, WARD, SPECTRAL, SDP, EM, EM_TEN)
METHODS = (*RIVALS, EM_RANDOM, EM_SAME, ILA, SOFT, ORACLE)
FAILURE = 0.1  # mis-clustering error above which a run has failed
Progress = Callable[[Iterable[Any]], Iterable[Any]]
Seed = int | Sequence[int]


class Design(NamedTuple):
    """A simulation of :func:`simulate.stretched_gmm`."""

    n: int
    n_clusters: int
    p: int
    separation: float
    ratio: float

    def __str__(self) -> str:
        return f"K={self.n_clusters}, p={self.p}, n={self.n}, sep {self.separation:g}, ratio {self.ratio:g}"


class Effort(NamedTuple):
    """How iLA-SDP is run in the study: the same for every design and data set."""

    reg: float = 0.1  # the ridge, and EM's reg_covar
    max_outer: int = 8
    solver_iter: int = 150
    soft_rounds: int = 8
    soft_iter: int = 30

    def shape(self) -> Shape:
        """Full covariances with the ridge."""
        return Shape(reg=self.reg)

    def run(self, X: Floats, labels: Ints, n_clusters: int, *, soft: bool = False) -> Alternation:
        """iLA-SDP on data sets X (B, n, p) from labels (B, n)."""
        start = start_covariances(X, labels, n_clusters, self.shape())
        return alternate(
            X, start, self.shape(), max_outer=self.max_outer, soft_rounds=self.soft_rounds if soft else 0,
            soft_iter=self.soft_iter, settings=LOOSE._replace(max_iter=self.solver_iter),
        )  # fmt: skip


def _errors(labels: Iterable[Ints], truth: Ints) -> list[float]:
    return [misclustering_error(found, truth) for found in labels]


def plain_sdp_labels(X: Floats, n_clusters: int, seed: int = 0, max_iter: int = 300) -> Ints:
    """Peng and Wei's programme with spectral rounding, for data sets X (B, n, p)."""
    found = solve(
        kmeans_costs(X)[:, None], np.array([float(n_clusters)]), n_clusters, LOOSE._replace(max_iter=max_iter)
    )
    return np.stack([round_membership(Z, n_clusters=n_clusters, random_state=seed) for Z in found.Z[:, 0]])


# -- C6, C7, C8: the grid of designs -------------------------------------------------------------------------


def compare_methods(
    X: Floats,
    truth: Ints,
    n_clusters: int,
    effort: Effort,
    seeds: Sequence[int],
    covariances: Floats | None = None,
) -> pd.DataFrame:
    """Every method on the same data sets X (B, n, p); columns set, method, error.

    `covariances` (K, p, p) are the true ones, for the oracle; without them it is left out. `truth` is (n,) or (B, n).
    """
    with few_threads(X.shape[1]):
        labels = _all_labels(X, n_clusters, effort, seeds, covariances)
    truths = np.broadcast_to(truth, X.shape[:2])
    rows = [
        (b, method, misclustering_error(found, truths[b]))
        for method, all_labels in labels.items()
        for b, found in enumerate(all_labels)
    ]
    return pd.DataFrame(rows, columns=["set", "method", "error"])


def _all_labels(
    X: Floats, K: int, effort: Effort, seeds: Sequence[int], covariances: Floats | None
) -> dict[str, Iterable[Ints]]:
    reg = effort.reg
    ward = np.stack([baselines.ward_labels(x, K) for x in X])
    labels: dict[str, Iterable[Ints]] = {
        KMEANS: [baselines.kmeans_labels(x, K, s) for x, s in zip(X, seeds, strict=True)],
        WARD: ward,
        SPECTRAL: [baselines.spectral_labels(x, K, s) for x, s in zip(X, seeds, strict=True)],
        SDP: plain_sdp_labels(X, K),
        EM: [baselines.em_labels(x, K, s, reg=reg) for x, s in zip(X, seeds, strict=True)],
        EM_RANDOM: [
            baselines.em_labels(x, K, s, reg=reg, init="random_from_data")
            for x, s in zip(X, seeds, strict=True)
        ],
        EM_TEN: [baselines.em_labels(x, K, s, reg=reg, n_init=10) for x, s in zip(X, seeds, strict=True)],
        EM_SAME: _same_start(X, ward, reg),
        ILA: effort.run(X, ward, K).labels,
        SOFT: effort.run(X, ward, K, soft=True).labels,
    }
    if covariances is not None:
        costs = pairwise_costs(X, np.broadcast_to(covariances, (len(X), *covariances.shape)))
        labels[ORACLE] = solve(costs, np.ones(K), K, LOOSE).labels
    return labels


def _same_start(X: Floats, labels: Ints, reg: float) -> list[Ints]:
    """EM from given labels (B, n), without threads that wait for each other."""
    with few_threads(X.shape[1]):
        return [baselines.em_from_labels(x, start, reg=reg) for x, start in zip(X, labels, strict=True)]


def grid_study(
    designs: Sequence[Design],
    n_sets: int,
    *,
    effort: Effort | None = None,
    block: int = 5,
    seed: Seed = 0,
    n_jobs: int = 1,
    progress: Progress = iter,
) -> pd.DataFrame:
    """Every method on every design, the same data sets for all.

    Returns
    -------
    DataFrame
        Columns design, K, p, set, method, error.
    """
    how = effort or Effort()
    blocks = [(d, first) for d in designs for first in range(0, n_sets, block)]
    children = np.random.SeedSequence(seed).spawn(len(blocks))
    tasks = [
        (d, first, min(block, n_sets - first), s) for (d, first), s in zip(blocks, children, strict=True)
    ]
    work = Parallel(n_jobs=n_jobs, return_as="generator")(
        delayed(_grid_block)(*task, how) for task in progress(tasks)
    )
    return pd.concat(list(work), ignore_index=True)


def _grid_block(design: Design, first: int, size: int, seed: Any, effort: Effort) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    draw = simulate.stretched_gmm(*design, rng, (size,))
    seeds = rng.integers(2**31 - 1, size=size).tolist()
    table = compare_methods(draw.X, draw.labels, design.n_clusters, effort, seeds, draw.covariances)
    table["set"] += first
    return table.assign(design=str(design), K=design.n_clusters, p=design.p)


def start_study(
    designs: Sequence[Design], n_sets: int, n_starts: int, *, effort: Effort | None = None, seed: Seed = 0
) -> pd.DataFrame:
    """The same data from several random centroids: errors of EM and iLA-SDP from the same labels (C6b).

    Returns
    -------
    DataFrame
        Columns design, set, start, method, error.
    """
    how, parts = effort or Effort(), []
    for design, child in zip(designs, np.random.SeedSequence(seed).spawn(len(designs)), strict=True):
        rng = np.random.default_rng(child)
        K = design.n_clusters
        draw = simulate.stretched_gmm(*design, rng, (n_sets,))
        X = np.repeat(draw.X, n_starts, axis=0)
        start = np.stack([baselines.random_centroid_labels(x, K, rng) for x in X])
        found: dict[str, Iterable[Ints]] = {
            EM_SAME: _same_start(X, start, how.reg),
            ILA: how.run(X, start, K).labels,
        }
        index = {"set": np.repeat(np.arange(n_sets), n_starts), "start": np.tile(np.arange(n_starts), n_sets)}
        parts += [
            pd.DataFrame({**index, "method": m, "error": _errors(f, draw.labels), "design": str(design)})
            for m, f in found.items()
        ]
    return pd.concat(parts, ignore_index=True)


def effort_study(
    design: Design, lengths: Sequence[int], n_sets: int, *, effort: Effort | None = None, seed: Seed = 0
) -> pd.DataFrame:
    """The soft start with solves of another length: what stopping the solver early does to the iteration.

    Returns
    -------
    DataFrame
        Columns iterations, set, error, em (error of EM from the same Ward start), softness (mean over rows of one
        minus the largest mass, at the end of the soft rounds).
    """
    how, K = effort or Effort(), design.n_clusters
    draw = simulate.stretched_gmm(*design, np.random.default_rng(np.random.SeedSequence(seed)), (n_sets,))
    ward = np.stack([baselines.ward_labels(x, K) for x in draw.X])
    em = _errors(_same_start(draw.X, ward, how.reg), draw.labels)
    start, parts = start_covariances(draw.X, ward, K, how.shape()), []
    for length in lengths:
        soft = alternate(
            draw.X, start, how.shape(), max_outer=how.soft_rounds, warm=False,
            settings=LOOSE._replace(max_iter=length),
        )  # fmt: skip
        settings = LOOSE._replace(max_iter=how.solver_iter)
        found = alternate(draw.X, soft.covariances, how.shape(), max_outer=how.max_outer, settings=settings)
        columns = {
            "iterations": length,
            "set": np.arange(n_sets),
            "error": _errors(found.labels, draw.labels),
            "em": em,
            "softness": 1 - soft.Z.sum(-1).max(1).mean(-1),
        }
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


# -- C3: adversarial centroids -------------------------------------------------------------------------------


def adversarial_study(n: int, n_sets: int, n_starts: int, *, seed: Seed = 0) -> pd.DataFrame:
    """Three isotropic clusters, one far away: EM and Lloyd from random starts against programmes without any.

    Returns
    -------
    DataFrame
        Columns set, start, method, error; a programme has one start.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    draw = simulate.adversarial_gmm(n, rng, (n_sets,))
    rows: list[tuple[int, int, str, float]] = []
    with few_threads(n):
        for b, X in enumerate(draw.X):
            for start, s in enumerate(rng.integers(2**31 - 1, size=n_starts).tolist()):
                found = _from_random(X, s)
                rows += [(b, start, m, misclustering_error(f, draw.labels)) for m, f in found.items()]
    plain = plain_sdp_labels(draw.X, 3)
    known = solve(
        pairwise_costs(draw.X, np.broadcast_to(draw.covariances, (n_sets, 3, 2, 2))), np.ones(3), 3, LOOSE
    )
    programmes = {SDP: plain, ORACLE: known.labels, ILA: Effort(reg=1e-3).run(draw.X, plain, 3).labels}
    rows += [(b, 0, m, e) for m, f in programmes.items() for b, e in enumerate(_errors(f, draw.labels))]
    return pd.DataFrame(rows, columns=["set", "start", "method", "error"])


def _from_random(X: Floats, seed: int) -> dict[str, Ints]:
    """Three clusters from random rows."""
    options: Any = {"reg": 1e-3, "init": "random_from_data"}
    return {
        "EM, isotropic": baselines.em_labels(X, 3, seed, covariance_type="spherical", **options),
        "EM, full": baselines.em_labels(X, 3, seed, **options),
        "Lloyd": baselines.lloyd_labels(X, 3, seed),
    }


# -- C4, C5: recovery curves ---------------------------------------------------------------------------------

BAYES = "Bayes rule"


def recovery_study(
    n: int,
    p: int,
    factors: Sequence[float],
    n_sets: int,
    *,
    ratio: float = 1.0,
    max_iter: int = 300,
    seed: Seed = 0,
) -> pd.DataFrame:
    """Exact recovery of two clusters against their separation in units of the isotropic threshold.

    The noise of a data set is the same at every separation, so curves are paired. Methods: plain SDP, LA-SDP
    with the true covariances (where `ratio` isn't 1), and the Bayes rule that knows every parameter.

    Returns
    -------
    DataFrame
        Columns n, factor, set, method, recovered, certified.
    """
    parts = []
    for factor in factors:
        rng = np.random.default_rng(np.random.SeedSequence(seed))
        draw = simulate.pair_gmm(n, p, factor * simulate.threshold(n, 2, p), rng, (n_sets,), ratio=ratio)
        settings = LOOSE._replace(max_iter=max_iter)
        plain = solve(kmeans_costs(draw.X)[:, None], np.array([2.0]), 2, settings)
        found = {
            SDP: (plain.labels, plain.certified),
            BAYES: (draw.bayes_labels(), np.zeros(n_sets, dtype=bool)),
        }
        if ratio != 1:
            costs = pairwise_costs(draw.X, np.broadcast_to(draw.covariances, (n_sets, 2, p, p)))
            adjusted = solve(costs, np.ones(2), 2, settings)
            found[ORACLE] = adjusted.labels, adjusted.certified
        parts += [
            pd.DataFrame(
                {
                    "n": n, "factor": factor, "set": np.arange(n_sets), "method": method,
                    "recovered": np.array(_errors(labels, draw.labels)) == 0, "certified": certified,
                }
            )
            for method, (labels, certified) in found.items()
        ]  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def halfway(rates: Floats, factors: Sequence[float]) -> Floats:
    """Factor at which curves of rates (..., F) first reach one half, by linear interpolation.

    A curve that never does has the last factor, one that starts above has the first.
    """
    curve = np.maximum.accumulate(rates, axis=-1)
    x = np.asarray(factors, dtype=float)
    after = np.minimum((curve < 0.5).sum(-1), len(x) - 1)
    before = np.maximum(after - 1, 0)
    low, high = (np.take_along_axis(curve, i[..., None], -1)[..., 0] for i in (before, after))
    share = np.clip((0.5 - low) / np.where(high > low, high - low, 1.0), 0, 1)
    return np.asarray(x[before] + share * (x[after] - x[before]))


# -- cost ----------------------------------------------------------------------------------------------------


def scaling_study(
    ns: Sequence[int], n_sets: int, *, seed: Seed = 0, progress: Progress = iter
) -> pd.DataFrame:
    """CPU time of one LA-SDP solve (K = 3, p = 4, true covariances) against the number of rows (C10a).

    Returns
    -------
    DataFrame
        Columns n, set, seconds (CPU), n_iter, certified, error, gigabytes (of the arrays that a solve holds:
        seven of K n² numbers).
    """
    rows = []
    children = np.random.SeedSequence(seed).spawn(n_sets)
    settings = Settings(max_iter=400, tol=1e-4, gap_tol=1e-4)
    solve(np.stack([np.eye(8)] * 3)[None], np.ones(3), 3, settings)  # the first call loads libraries
    for n in progress(list(ns)):
        for b, child in enumerate(children):
            draw = simulate.stretched_gmm(n, 3, 4, 9.0, 3.0, np.random.default_rng(child))
            costs = pairwise_costs(draw.X, draw.covariances)
            start = time.process_time()
            found = solve(costs[None], np.ones(3), 3, settings)
            seconds = time.process_time() - start
            error = misclustering_error(found.labels[0], draw.labels)
            size = 7 * costs.nbytes / 2**30
            rows.append((n, b, seconds, int(found.n_iter[0]), bool(found.certified[0]), error, size))
    return pd.DataFrame(rows, columns=["n", "set", "seconds", "n_iter", "certified", "error", "gigabytes"])


def warm_study(design: Design, n_sets: int, *, effort: Effort | None = None, seed: Seed = 0) -> pd.DataFrame:
    """Solver iterations of each round with and without the state of the round before (C10b).

    Returns
    -------
    DataFrame
        Columns set, start ("warm" or "cold"), round, iterations.
    """
    how = effort or Effort()
    draw = simulate.stretched_gmm(*design, np.random.default_rng(np.random.SeedSequence(seed)), (n_sets,))
    K = design.n_clusters
    ward = np.stack([baselines.ward_labels(x, K) for x in draw.X])
    start, rows = start_covariances(draw.X, ward, K, how.shape()), []
    for name in ("warm", "cold"):
        found = alternate(
            draw.X, start, how.shape(), max_outer=how.max_outer, warm=name == "warm",
            settings=LOOSE._replace(max_iter=how.solver_iter),
        )  # fmt: skip
        rows += [(b, name, r, n) for b, spent in enumerate(found.iterations) for r, n in enumerate(spent)]
    return pd.DataFrame(rows, columns=["set", "start", "round", "iterations"])
