"""The paper's two simulations: sparse and dense departures from proportional odds (its sections 4.1, 4.2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from loglik.risk.presto.likelihood import Floats, Ints, class_probabilities, linear_predictors


class Draw(NamedTuple):
    """One simulated data set with its truth."""

    X: Floats  # (n, p) features, uniform on (-1, 1)
    y: Ints  # (n,) class codes 0..K-1; the last is the rare class
    alpha: Floats  # (K-1,) true intercepts
    beta: Floats  # (K-1, p) true weights of each boundary
    proba: Floats  # (n, K) true class probabilities
    redraws: int  # how often a draw with crossing boundaries or a class with too few rows was thrown away


def simulate_sparse(
    n: int,
    p: int,
    K: int,
    intercepts: Sequence[float],
    q: float,
    *,
    rng: np.random.Generator,
    size: float = 0.5,
    min_count: int = 1,
    max_redraws: int = 1000,
) -> Draw:
    """Draw from a model whose boundaries differ in a few features only.

    Parameters
    ----------
    n, p, K : int
        Rows, features, classes (K >= 3).
    intercepts : sequence of K-1 increasing floats
        The larger the last, the rarer the last class.
    q : float
        Probability that a first-boundary weight is `size` (else 0), and that a difference between
        neighbouring boundaries is ±`size` with random sign (else 0).
    rng : numpy.random.Generator
    size : float
        0.5 in the paper.
    min_count : int
        Rows that every class must have; 1 in the official code, 2 where folds are to be stratified.
    max_redraws : int
        Give up after this many.

    Raises
    ------
    ValueError
        For arguments out of range.
    RuntimeError
        When `max_redraws` draws in a row had crossing boundaries or a class with too few rows.

    Notes
    -----
    A draw in which any class of any row has a negative probability is thrown away as a whole, weights
    included (official code). Without that step there is no true probability to estimate.

    Examples
    --------
    >>> draw = simulate_sparse(500, 4, 3, (0, 3), 0.5, rng=np.random.default_rng(0))
    >>> draw.X.shape, draw.proba.shape, bool(draw.proba.min() >= 0)
    ((500, 4), (500, 3), True)
    """
    if not 0 <= q <= 1:
        raise ValueError(f"q is a probability between 0 and 1, got {q}")

    def weights() -> Floats:
        psi = size * (rng.random((K - 1, p)) < q)
        psi[1:] *= rng.choice([-1.0, 1.0], (K - 2, p))
        return psi.cumsum(0)

    return _draw(n, p, K, intercepts, weights, rng, min_count, max_redraws)


def simulate_dense(
    n: int,
    p: int,
    K: int,
    intercepts: Sequence[float],
    *,
    rng: np.random.Generator,
    size: float = 0.5,
    min_count: int = 1,
    max_redraws: int = 1000,
) -> Draw:
    """Draw from a model whose boundaries differ in every feature: all increments are U(-size, size).

    Parameters and errors as in :func:`simulate_sparse`.
    """
    return _draw(
        n,
        p,
        K,
        intercepts,
        lambda: rng.uniform(-size, size, (K - 1, p)).cumsum(0),
        rng,
        min_count,
        max_redraws,
    )


def _draw(
    n: int,
    p: int,
    K: int,
    intercepts: Sequence[float],
    weights: Callable[[], Floats],
    rng: np.random.Generator,
    min_count: int,
    max_redraws: int,
) -> Draw:
    alpha = np.asarray(intercepts, dtype=float)
    if K < 3 or n < K or p < 1:
        raise ValueError(f"need K >= 3 classes, n >= K rows and p >= 1 features; got n={n}, p={p}, K={K}")
    if alpha.shape != (K - 1,) or (np.diff(alpha) <= 0).any():
        raise ValueError(f"intercepts must be K-1={K - 1} increasing numbers, got {alpha.tolist()}")
    for redraws in range(max_redraws):
        beta, X = weights(), rng.uniform(-1, 1, (n, p))
        proba = class_probabilities(linear_predictors(alpha, beta, X))
        if (proba < 0).any():
            continue
        y = (proba.cumsum(1)[:, :-1] < rng.random((n, 1))).sum(1)
        if np.bincount(y, minlength=K).min() >= min_count:
            return Draw(X, y, alpha, beta, proba, redraws)
    raise RuntimeError(
        f"{max_redraws} draws in a row had crossing boundaries or a class with too few rows; "
        "spread the intercepts, lower the size of the differences, or take more rows"
    )
