"""The private building blocks: exponential mechanism, sparse vector, and Thresholdout's experiment form."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax

from loglik.information.adaptive_data_analysis.accounting import Floats, check_count, check_positive
from loglik.information.adaptive_data_analysis.mechanisms import streams


def exponential_log_probabilities(scores: ArrayLike, epsilon: float, sensitivity: float) -> Floats:
    """Log probabilities ∝ ``epsilon · scores / (2 · sensitivity)`` over the last axis.

    Parameters
    ----------
    scores : array_like of shape (..., k)
        Quality of each candidate; only differences matter.
    epsilon : float
        Privacy; 0 chooses uniformly.
    sensitivity : float
        Most that one row can change a score by: 1/n for means of [0, 1] values.
    """
    check_positive(epsilon, "epsilon", zero=True)
    check_positive(sensitivity, "sensitivity")
    table = np.asarray(scores, dtype=float)
    if table.ndim == 0 or table.shape[-1] == 0 or not np.isfinite(table).all():
        raise ValueError(f"scores must be finite, with at least one candidate; got shape {table.shape}")
    return np.asarray(log_softmax(epsilon * table / (2 * sensitivity), axis=-1))


def exponential_mechanism(
    scores: ArrayLike, epsilon: float, sensitivity: float, rng: np.random.Generator
) -> int:
    """Index of a candidate, ε-DP: better ones are exponentially more likely (McSherry and Talwar 2007).

    See :func:`exponential_log_probabilities` for the parameters; `scores` has shape (k,).
    """
    log_p = exponential_log_probabilities(scores, epsilon, sensitivity)
    if log_p.ndim != 1:
        raise ValueError(f"scores must have shape (k,), got {log_p.shape}")
    return int(np.argmax(log_p + rng.gumbel(size=log_p.shape)))


class SparseVectorResult(NamedTuple):
    """What the sparse vector technique gives out."""

    above: NDArray[np.bool_]  # (m,) False after it has stopped
    n_answered: int  # comparisons made before it stopped
    epsilon: float  # spent: `epsilon` for each positive, and for the block that was begun after the last


def sparse_vector(
    values: ArrayLike, threshold: float, epsilon: float, max_positives: int, rng: np.random.Generator
) -> SparseVectorResult:
    """Which values are above a threshold, paying only for those that are (AboveThreshold, repeated).

    Parameters
    ----------
    values : array_like of shape (m,)
        Each of sensitivity 1: one row changes it by at most 1 (a mean times n).
    threshold : float
    epsilon : float
        Privacy of each block, which ends with a positive. The threshold's noise is Lap(2/ε) and *drawn anew
        after each positive*; each comparison's is Lap(4/ε).
    max_positives : int
        It stops after that many.

    Raises
    ------
    ValueError
        For values that aren't finite, or an `epsilon` that isn't above 0.
    """
    noisy = np.asarray(values, dtype=float)
    if noisy.ndim != 1 or not np.isfinite(noisy).all():
        raise ValueError(f"values must be finite numbers in one dimension, got shape {noisy.shape}")
    check_positive(epsilon, "epsilon")
    check_count(max_positives, "max_positives")
    compare, thresholds = streams(rng, 2)
    noisy = noisy + compare.laplace(0.0, 4 / epsilon, noisy.shape)
    above = np.zeros(len(noisy), dtype=bool)
    start = 0
    for _ in range(max_positives):
        hits = np.flatnonzero(noisy[start:] > threshold + thresholds.laplace(0.0, 2 / epsilon))
        if not hits.size:
            begun = start < len(noisy)
            return SparseVectorResult(above, len(noisy), epsilon * (int(above.sum()) + begun))
        start += int(hits[0]) + 1
        above[start - 1] = True
    return SparseVectorResult(above, start, epsilon * max_positives)


def thresholdout(
    train_values: ArrayLike,
    holdout_values: ArrayLike,
    threshold: float,
    sigma: float,
    rng: np.random.Generator,
) -> Floats:
    """Thresholdout in the form of the published experiment: Gaussian noise, no budget, all at once.

    Parameters
    ----------
    train_values, holdout_values : array_like of equal shape
        The same statistics on the two sets.
    threshold : float
        T: differences up to T plus N(0, σ²) are answered with the training value.
    sigma : float
        σ of both noises: that of the comparison and that of an answer from the holdout.
    rng : numpy.random.Generator

    Notes
    -----
    The theory has Laplace noise, a noisy threshold and a budget: that is
    :class:`~loglik.information.adaptive_data_analysis.ThresholdoutMechanism`. This form has no guarantee of
    its own, so don't quote the theorem for it.
    """
    train, holdout = np.asarray(train_values, dtype=float), np.asarray(holdout_values, dtype=float)
    if train.shape != holdout.shape:
        raise ValueError(f"train and holdout values differ in shape: {train.shape}, {holdout.shape}")
    if np.isnan(threshold) or threshold < 0:
        raise ValueError(f"threshold must be at least 0, got {threshold!r}")
    check_positive(sigma, "sigma", zero=True)
    compare, noise = rng.normal(0.0, sigma, (2, *train.shape))
    apart = np.abs(train - holdout) > threshold + compare
    return np.where(apart, holdout + noise, train)
