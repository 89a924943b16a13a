"""The chapter's experiments, as functions of sizes and seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.optimize import minimize
from scipy.special import expit, logit

from loglik.risk.predictive_multiplicity.bounds import fast_bounds, laplace_range
from loglik.risk.predictive_multiplicity.datasets import (
    Synthetic,
    draw_minority,
    draw_outliers,
    draw_separability,
)
from loglik.risk.predictive_multiplicity.integer_program import DiscrepancyResult, discrepancy
from loglik.risk.predictive_multiplicity.levelset import LevelSet, Ranges, moved
from loglik.risk.predictive_multiplicity.loss import (
    Floats,
    check_features,
    derivatives,
    losses,
    with_intercept,
)
from loglik.risk.predictive_multiplicity.pool import candidate_pool, models_measures, target_grid
from loglik.risk.predictive_multiplicity.retrain import refits
from loglik.risk.predictive_multiplicity.solver import forced_fits

Progress = Callable[[Iterable[Any]], Iterable[Any]]


# -- C1: an independent solver -------------------------------------------------------------------------------


def direct_ranges(level_set: LevelSet, people: Floats) -> Floats:
    """Ranges (m, 2) by a general solver (SLSQP) on ``max ±a'w s.t. L(w) <= T``, from the baseline.

    Slow and independent: it shares nothing with the package's solver but the loss.
    """
    rows, A = level_set.rows, with_intercept(people)
    rule = {
        "type": "ineq",
        "fun": lambda w: (level_set.target - losses(rows, w)[0]) / level_set.epsilon,
        "jac": lambda w: -derivatives(rows, w[None]).gradient[0] / level_set.epsilon,
    }
    ends = np.empty((len(A), 2))
    for i, a in enumerate(A):
        for j, sign in enumerate((1.0, -1.0)):
            found = minimize(
                lambda w, a=a, sign=sign: sign * a @ w,
                level_set.w0,
                jac=lambda w, a=a, sign=sign: sign * a,
                constraints=rule,
                method="SLSQP",
                options={"maxiter": 500, "ftol": 1e-12},
            )
            ends[i, j] = expit(a @ found.x)
    return ends


# -- C2: how prevalent ---------------------------------------------------------------------------------------


def share_interval(
    hit: ArrayLike, rng: np.random.Generator, n_boot: int = 2000, level: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap interval of a share over people, the level set held fixed."""
    hit_ = np.asarray(hit, dtype=bool)
    drawn = rng.binomial(len(hit_), hit_.mean(), n_boot) / len(hit_)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


# -- C3: characteristics of the data -------------------------------------------------------------------------

FAMILIES: dict[str, Callable[[int, Any, np.random.Generator], Synthetic]] = {
    "margin": draw_separability,
    "outliers": draw_outliers,
    "minority share": draw_minority,
}


def characteristics_study(
    family: str,
    values: Sequence[float],
    n_seeds: int,
    *,
    n: int = 300,
    epsilon: float = 0.01,
    relative: bool = False,
    seed: int | Sequence[int] = 0,
    progress: Progress = iter,
) -> pd.DataFrame:
    """Mean width of the ranges in drawn data, for the special people and the others (C3).

    Separable draws are drawn again: the paper's measure has no finite answer there, and a claim about widths must not
    rest on limits.

    Returns
    -------
    DataFrame
        Columns value, seed, special, others (mean widths; NaN where there is nobody), redraws.
    """
    draw = FAMILIES[family]
    tasks = [(value, k) for value in values for k in range(n_seeds)]
    seeds = np.random.SeedSequence(seed).spawn(len(tasks))
    table = []
    for (value, k), child in zip(progress(tasks), seeds, strict=True):
        rng, redraws = np.random.default_rng(child), 0
        while True:
            data = draw(n, value, rng)
            near = LevelSet(data.X, data.y, epsilon=epsilon, relative=relative)
            if not near.endless or redraws == 100:
                break
            redraws += 1
        width = near.ranges(data.X).width
        means = [width[part].mean() if part.any() else np.nan for part in (data.special, ~data.special)]
        table.append((value, k, *means, redraws))
    return pd.DataFrame(table, columns=["value", "seed", "special", "others", "redraws"])


def mean_interval(values: ArrayLike) -> tuple[float, float, float]:
    """Mean and 95 % Student interval; the interval is the mean itself for a single value."""
    from scipy.stats import t

    v = np.asarray(values, dtype=float)
    half = t.ppf(0.975, len(v) - 1) * v.std(ddof=1) / np.sqrt(len(v)) if len(v) > 1 else 0.0
    return float(v.mean()), float(v.mean() - half), float(v.mean() + half)


def ratio_interval(top: ArrayLike, bottom: ArrayLike) -> tuple[float, float, float]:
    """Ratio of two positive quantities over the same seeds: geometric mean and 95 % Student interval of the log."""
    middle, low, high = mean_interval(np.log(np.asarray(top) / np.asarray(bottom)))
    return float(np.exp(middle)), float(np.exp(low)), float(np.exp(high))


# -- C4: order -----------------------------------------------------------------------------------------------


def order_violations(
    level_set: LevelSet, X_eval: Any, epsilons: Sequence[float], deltas: Sequence[float]
) -> dict[str, float]:
    """Largest violations over a grid: nesting of ranges (probability), and of monotone ambiguity (share)."""
    found = [level_set.with_epsilon(epsilon).ranges(X_eval) for epsilon in epsilons]
    p0 = level_set.predict(X_eval)
    share = np.array([[moved(p0, r, delta).mean() for delta in deltas] for r in found])
    nested = [max((b.low - a.low).max(), (a.high - b.high).max()) for a, b in pairwise(found)]
    return {
        "nesting": float(max(0.0, *nested)),
        "baseline": float(max(0.0, *(max((r.low - p0).max(), (p0 - r.high).max()) for r in found))),
        "in_epsilon": float(np.maximum(share[:-1] - share[1:], 0).max()),
        "in_delta": float(np.maximum(share[:, 1:] - share[:, :-1], 0).max()),
    }


def discrepancy_grid(
    level_set: LevelSet,
    X_eval: Any,
    pairs: Sequence[tuple[float, float]],
    *,
    progress: Progress = iter,
    **options: Any,
) -> pd.DataFrame:
    """Bounds on the discrepancy for (epsilon, delta) pairs, with the search's figures."""
    table = []
    for epsilon, delta in progress(pairs):
        r: DiscrepancyResult = discrepancy(level_set.with_epsilon(epsilon), X_eval, delta, **options)
        table.append(
            {
                "epsilon": epsilon,
                "delta": delta,
                "lower": r.lower,
                "upper": r.upper,
                "gap": r.gap,
                "ambiguity": r.ambiguity,
                "flips": r.n_flips,
                "conflicts": r.conflict_density,
                "programs": r.n_iter,
                "seconds": r.seconds,
            }
        )
    return pd.DataFrame(table)


# -- C5, C6: candidates, the exact root, leverage ------------------------------------------------------------


def pool_study(
    level_set: LevelSet, X_eval: Any, sizes: Sequence[int], epsilons: Sequence[float]
) -> pd.DataFrame:
    """How much of the exact ranges a grid of candidates finds (C5).

    Returns
    -------
    DataFrame
        Columns steps, epsilon, candidates, found (mean width of the pool), exact, outside (largest excess of the pool
        over the exact range, in probability; negative inside).
    """
    table = []
    exact = {epsilon: level_set.with_epsilon(epsilon).ranges(X_eval) for epsilon in epsilons}
    for size in sizes:
        pool = candidate_pool(level_set, X_eval, target_grid(size))
        for epsilon, r in exact.items():
            m = models_measures(level_set.with_epsilon(epsilon), pool.coefs, X_eval, [0.1])
            outside = max((r.low - m.low).max(), (m.high - r.high).max())
            table.append((size, epsilon, len(pool.loss), (m.high - m.low).mean(), r.width.mean(), outside))
    return pd.DataFrame(table, columns=["steps", "epsilon", "candidates", "found", "exact", "outside"])


def path_thresholds(level_set: LevelSet, people: Floats, found: Ranges) -> Floats:
    """Excess of the forced fits' losses over T (2m,) when people are forced to the ends of their exact ranges.

    Zero says that the one-dimensional root and the threshold of the paper's candidate path are the same number.
    """
    A = np.tile(with_intercept(check_features(people)), (2, 1))
    ends = logit(np.concatenate([found.low, found.high]))
    fits = forced_fits(level_set.rows, A[:, None], ends[:, None], level_set.w0)
    return np.asarray(fits.loss - level_set.target)


def laplace_ratios(level_set: LevelSet, X_eval: Any, epsilons: Sequence[float]) -> pd.DataFrame:
    """Exact width of score ranges over ``2 sqrt(2 epsilon x'H^{-1}x)`` (C6): columns epsilon, low, median, high."""
    people = np.unique(check_features(X_eval), axis=0)
    table = []
    for epsilon in epsilons:
        near = level_set.with_epsilon(epsilon)
        r, q = near.ranges(people), laplace_range(near, people)
        ratio = (logit(r.high) - logit(r.low)) / (logit(q[:, 1]) - logit(q[:, 0]))
        table.append((epsilon, ratio.min(), np.median(ratio), ratio.max()))
    return pd.DataFrame(table, columns=["epsilon", "low", "median", "high"])


def bounds_study(level_set: LevelSet, X_eval: Any, epsilons: Sequence[float]) -> pd.DataFrame:
    """Fast bounds beside exact ranges: mean widths, and the largest breach of either bound (probability)."""
    table = []
    for epsilon in epsilons:
        near = level_set.with_epsilon(epsilon)
        r, f = near.ranges(X_eval), fast_bounds(near, X_eval)
        q = laplace_range(near, X_eval)
        breach = max(
            (r.low - f.inner_low).max(),
            (f.inner_high - r.high).max(),
            (f.outer_low - r.low).max(),
            (r.high - f.outer_high).max(),
        )
        widths = [
            (f.inner_high - f.inner_low).mean(),
            r.width.mean(),
            (q[:, 1] - q[:, 0]).mean(),
            (f.outer_high - f.outer_low).mean(),
        ]
        table.append((epsilon, *widths, breach))
    return pd.DataFrame(table, columns=["epsilon", "inner", "exact", "laplace", "outer", "breach"])


# -- C7: what re-training finds ------------------------------------------------------------------------------


def retraining_study(
    level_set: LevelSet,
    X_eval: Any,
    pairs: Sequence[tuple[float, float]],
    n_seeds: int,
    *,
    n_rows: int,
    n_models: int = 100,
    schemes: Sequence[str] = ("bootstrap", "subsets", "ridge path", "hit-and-run"),
    seed: int | Sequence[int] = 0,
    progress: Progress = iter,
) -> pd.DataFrame:
    """Ambiguity and discrepancy that re-training finds, beside the exact ambiguity (C7).

    Parameters
    ----------
    pairs : sequence of (epsilon, delta)
    n_rows : int
        Rows of the data before equal ones were collapsed.

    Returns
    -------
    DataFrame
        Columns scheme, seed, epsilon, delta, competing (how many of `n_models` models), ambiguity, discrepancy, exact.
    """
    p0 = level_set.predict(X_eval)
    near = {epsilon: level_set.with_epsilon(epsilon) for epsilon, _ in pairs}
    exact = {epsilon: s.ranges(X_eval) for epsilon, s in near.items()}
    tasks = [(s, k) for s in schemes for k in range(1 if s == "ridge path" else n_seeds)]
    seeds = np.random.SeedSequence(seed).spawn(len(tasks))
    table = []
    for (scheme, k), child in zip(progress(tasks), seeds, strict=True):
        rng = np.random.default_rng(child)
        models = refits(level_set, n_models, scheme, n_rows, rng) if scheme != "hit-and-run" else None
        for epsilon, delta in pairs:
            drawn = near[epsilon].sample(n_models, rng) if models is None else models
            m = models_measures(near[epsilon], drawn, X_eval, [delta])
            share = moved(p0, exact[epsilon], delta).mean()
            table.append((scheme, k, epsilon, delta, m.n_competing, m.ambiguity[0], m.discrepancy[0], share))
    return pd.DataFrame(
        table,
        columns=["scheme", "seed", "epsilon", "delta", "competing", "ambiguity", "discrepancy", "exact"],
    )
