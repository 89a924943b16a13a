"""How well a score separates: AUROC, AUPR, false alarms at 95 % detection, and accuracy after refusals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn import metrics

from loglik.stats.intervals import Estimate

Floats = NDArray[np.float64]


def ood_metrics(score: ArrayLike, is_ood: ArrayLike) -> dict[str, float]:
    """Detection metrics; the unknown class is the positive one.

    Parameters
    ----------
    score : array_like of shape (N,)
        Higher = more unknown.
    is_ood : array_like of shape (N,), bool

    Returns
    -------
    dict
        ``auroc``; ``aupr``, the trapezoidal area under the precision-recall curve, as the paper's package
        ``ood-metrics`` has it; ``average_precision``, the step-wise area; ``fpr95``, false alarms at 95 % detection,
        interpolated linearly on the empirical ROC curve.

    Raises
    ------
    ValueError
        For NaN or infinite scores (with the first index), unequal lengths, or one class alone.
    """
    values, positive = np.asarray(score, dtype=float), np.asarray(is_ood, dtype=bool)
    if values.shape != positive.shape or values.ndim != 1:
        raise ValueError(
            f"score and is_ood must have one shape (N,), got {values.shape} and {positive.shape}"
        )
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise ValueError(f"score {bad[0]} is {values[bad[0]]}; a score that isn't finite can't be ranked")
    if positive.all() or not positive.any():
        raise ValueError(f"both classes are needed; all {len(values)} texts are of one")
    precision, recall, _ = metrics.precision_recall_curve(positive, values)
    fpr, tpr, _ = metrics.roc_curve(positive, values)
    return {
        "auroc": float(metrics.roc_auc_score(positive, values)),
        "aupr": float(metrics.auc(recall, precision)),
        "average_precision": float(metrics.average_precision_score(positive, values)),
        "fpr95": float(np.interp(0.95, tpr, fpr)),
    }


def auroc(known: ArrayLike, unknown: ArrayLike) -> float:
    """Probability that a text of the unknown kind scores higher than one of the known kind; ties count half."""
    return float(wins(known, unknown).mean())


def wins(known: ArrayLike, unknown: ArrayLike) -> Floats:
    """Matrix (M, N): 1 where unknown text m scores above known text n, 1/2 at a tie, else 0."""
    a, b = np.asarray(unknown, dtype=float)[:, None], np.asarray(known, dtype=float)[None, :]
    return (a > b) + 0.5 * (a == b)


def bootstrap_means(matrices: ArrayLike, rng: np.random.Generator, draws: int = 2000) -> Floats:
    """Bootstrap draws of a mean of pairwise statistics, over fine-tunings and documents of both kinds.

    Parameters
    ----------
    matrices : array_like of shape (S, M, N)
        Pairwise wins, or differences of wins of two scores, of S fine-tunings on the same documents.
    rng : numpy.random.Generator
    draws : int

    Returns
    -------
    ndarray of shape (draws,)
        Each draws fine-tunings, unknown and known documents with replacement; what stands in one matrix stays
        together, so differences are paired.
    """
    table = np.asarray(matrices, dtype=float)
    S, M, N = table.shape
    rows, columns, chosen = (_shares(n, draws, rng) for n in (M, N, S))
    by_seed = np.stack([((rows @ matrix) * columns).sum(1) for matrix in table], axis=1)
    return (by_seed * chosen).sum(1)


def _shares(n: int, draws: int, rng: np.random.Generator) -> Floats:
    """How often each of `n` things is drawn when `n` are drawn with replacement, over `n`: (draws, n)."""
    places = rng.integers(n, size=(draws, n)) + n * np.arange(draws)[:, None]
    return np.bincount(places.ravel(), minlength=draws * n).reshape(draws, n) / n


def estimate(
    matrices: ArrayLike, rng: np.random.Generator, *, level: float = 0.95, draws: int = 2000
) -> Estimate:
    """Mean of pairwise statistics with its percentile interval; see :func:`bootstrap_means`."""
    sample = bootstrap_means(matrices, rng, draws)
    low, high = np.quantile(sample, ((1 - level) / 2, (1 + level) / 2))
    return Estimate(
        float(np.asarray(matrices, dtype=float).mean()), float(low), float(high), float(sample.std(ddof=1))
    )


def length_matched(
    known: ArrayLike, unknown: ArrayLike, tolerance: float = 0.1
) -> tuple[NDArray[np.int64], ...]:
    """Pairs of texts of about the same length, each used once.

    Parameters
    ----------
    known, unknown : array_like of shape (N,), (M,)
        Lengths.
    tolerance : float
        Largest relative difference within a pair.

    Returns
    -------
    (index into known, index into unknown)
        Greedy, from short to long.
    """
    a, b = np.asarray(known, dtype=float), np.asarray(unknown, dtype=float)
    order_a, order_b = np.argsort(a, kind="stable"), np.argsort(b, kind="stable")
    pairs, i, j = [], 0, 0
    while i < len(a) and j < len(b):  # two pointers: the next pair depends on the last
        x, y = a[order_a[i]], b[order_b[j]]
        if abs(x - y) <= tolerance * max(x, y):
            pairs.append((order_a[i], order_b[j]))
            i, j = i + 1, j + 1
        elif x < y:
            i += 1
        else:
            j += 1
    found = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def selective_accuracy(
    score_id: ArrayLike, correct_id: ArrayLike, score_ood: ArrayLike, alphas: Sequence[float]
) -> Floats:
    """Accuracy on a mixed stream when questions with a high score are refused.

    Parameters
    ----------
    score_id : array_like of shape (N,)
        Of questions of the model's own trade.
    correct_id : array_like of shape (N,), bool
        Whether it answers them right.
    score_ood : array_like of shape (M,)
        Of foreign questions, all of which it is assumed to get wrong.
    alphas : sequence of float in (0, 1]
        Share of known questions that are to be answered: a question is answered if its score is at most that
        empirical quantile of `score_id`.

    Returns
    -------
    ndarray of shape (len(alphas),)
        Right answers over answers given; refused questions are dropped.

    Raises
    ------
    ValueError
        For no questions, or an alpha outside (0, 1].
    """
    known, unknown = np.asarray(score_id, dtype=float), np.asarray(score_ood, dtype=float)
    right, shares = np.asarray(correct_id, dtype=bool), np.asarray(alphas, dtype=float)
    if not len(known) or known.shape != right.shape:
        raise ValueError(
            f"score_id and correct_id must be of one length above 0, got {len(known)}, {len(right)}"
        )
    if not ((shares > 0) & (shares <= 1)).all():
        raise ValueError(f"alphas must lie in (0, 1], got {alphas}")
    limits = np.quantile(known, shares, method="inverted_cdf")[:, None]
    answered = (known <= limits).sum(1) + (unknown <= limits).sum(1)
    return ((known <= limits) & right).sum(1) / answered
