"""Calibration metrics and the reliability curve, each with what it misses.

Every function takes probabilities (n, L) and labels (n,). The binned errors are biased upwards, by the order
of sqrt(bins / n) even at the truth: compare with :func:`expected_under_calibration`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import norm

from loglik.risk.checks import Floats
from loglik.risk.h_calibration.inputs import check_predictions

_BLOCK = 1000  # rows of the kernel matrix held at once


class ReliabilityCurve(NamedTuple):
    """One point a bin (those with samples), for the diagram."""

    confidence: Floats  # mean predicted probability
    frequency: Floats  # share of right predictions
    size: Floats  # samples (weights summed)
    low: Floats  # Wilson interval of the frequency
    high: Floats
    band_low: Floats  # where the frequency of a calibrated predictor would fall
    band_high: Floats


def _top(probs: Floats, y: np.ndarray) -> tuple[Floats, Floats]:
    best = probs.argmax(1)
    return probs[np.arange(len(probs)), best], (best == y).astype(float)


def _equal_width(p: Floats, bins: int) -> np.ndarray:
    """Bin of each value: (0, 1/b], (1/b, 2/b] …; zero goes to the first."""
    return np.clip(np.ceil(p * bins) - 1, 0, bins - 1).astype(np.int64)


def _equal_mass(p: Floats, bins: int) -> np.ndarray:
    rank = np.empty(len(p), dtype=np.int64)
    rank[np.argsort(p, kind="stable")] = np.arange(len(p))
    return rank * bins // len(p)


def _binned(p: Floats, hit: Floats, bin_: np.ndarray, bins: int, w: Floats) -> tuple[Floats, Floats, Floats]:
    """Weights, weighted sums of p and of hits, by bin."""
    n, sum_p, sum_hit = (np.bincount(bin_, values, bins).astype(float) for values in (w, w * p, w * hit))
    return n, sum_p, sum_hit


def _check_bins(n_bins: int, n: int, need: bool = False) -> None:
    if isinstance(n_bins, bool) or not isinstance(n_bins, (int, np.integer)) or n_bins < 1:
        raise ValueError(f"n_bins must be an integer of at least 1, got {n_bins!r}")
    if need and n < n_bins:
        raise ValueError(f"{n_bins} bins of equal mass need at least as many rows, got {n}")


def ece(probs: Any, y: Any, *, n_bins: int = 15, sample_weight: Any = None) -> float:
    """Expected calibration error of the top label: equal-width bins, open to the left.

    Parameters
    ----------
    probs : array of shape (n, L)
    y : array of shape (n,)
    n_bins : int
    sample_weight : array of shape (n,), optional
        Equal to repeating rows.

    Returns
    -------
    float
        In [0, 1]. O(n).

    Examples
    --------
    >>> ece(np.array([[0.9, 0.1], [0.9, 0.1]]), np.array([0, 1]))
    0.4
    """
    table, labels, w = check_predictions(probs, y, sample_weight)
    _check_bins(n_bins, len(table))
    conf, hit = _top(table, labels)
    _, p, h = _binned(conf, hit, _equal_width(conf, n_bins), n_bins, w)
    return float(np.abs(p - h).sum() / w.sum())


def ece_equal_mass(probs: Any, y: Any, *, n_bins: int = 15) -> float:
    """Expected calibration error of the top label with bins of equal size (within one sample)."""
    table, labels, w = check_predictions(probs, y)
    _check_bins(n_bins, len(table), need=True)
    conf, hit = _top(table, labels)
    _, p, h = _binned(conf, hit, _equal_mass(conf, n_bins), n_bins, w)
    return float(np.abs(p - h).sum() / len(conf))


def debiased_ece(probs: Any, y: Any, *, n_bins: int = 15) -> float:
    r"""Equal-mass ECE of the top label, less its bias under a normal approximation.

    A bin with gap g and standard error s contributes ``|g|`` on top of a bias E|N(g, s²)| − ``|g|``, in closed form
    :math:`s\sqrt{2/\pi}e^{-g^2/2s^2}+g(1-2\Phi(-g/s))-g`. The g that it takes is the observed one, so at
    the truth only about two fifths of the bias go. Source: Kumar, Liang and Ma (2019), whose power-1 version
    draws what we integrate.
    """
    table, labels, w = check_predictions(probs, y)
    _check_bins(n_bins, len(table), need=True)
    conf, hit = _top(table, labels)
    n, p, h = _binned(conf, hit, _equal_mass(conf, n_bins), n_bins, w)
    gap, rate = np.abs(p - h) / n, h / n
    s = np.sqrt(rate * (1 - rate) / n)
    z = gap / np.where(s > 0, s, 1.0)
    bias = np.where(s > 0, 2 * s * norm.pdf(z) + gap * (1 - 2 * norm.cdf(-z)) - gap, 0.0)
    return float((n * (gap - bias)).sum() / len(conf))


def ks_error(probs: Any, y: Any, *, sample_weight: Any = None) -> float:
    """Largest absolute mean gap over all sets "confidence at most t": no bins (Gupta et al., 2021).

    It sees a systematic over- or underconfidence and little else: gaps that change sign cancel in it.

    Examples
    --------
    >>> round(ks_error(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 1])), 3)
    0.15
    """
    table, labels, w = check_predictions(probs, y, sample_weight)
    conf, hit = _top(table, labels)
    order = np.argsort(conf, kind="stable")
    running = np.cumsum((w * (conf - hit))[order]) / w.sum()
    last = np.append(np.diff(conf[order]) > 0, True)  # ties belong together
    return float(np.abs(running[last]).max())


def classwise_ece(
    probs: Any, y: Any, *, n_bins: int = 15, reduction: str = "mean", sample_weight: Any = None
) -> float:
    """Expected calibration error of every class against the rest, equal-width bins.

    `reduction` "mean" is the repository's ``CWECE_a``, "sum" its ``CWECE_s``.
    """
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction must be 'mean' or 'sum', got {reduction!r}")
    table, labels, w = check_predictions(probs, y, sample_weight)
    _check_bins(n_bins, len(table))
    L = table.shape[1]
    bin_ = _equal_width(table, n_bins) + n_bins * np.arange(L)
    gap = (table - (labels[:, None] == np.arange(L))) * w[:, None]
    total = float(np.abs(np.bincount(bin_.ravel(), gap.ravel(), n_bins * L)).sum() / w.sum())
    return total / L if reduction == "mean" else total


def thresholded_classwise_ece(probs: Any, y: Any, *, n_bins: int = 15, threshold: float = 0.01) -> float:
    """Class-wise ECE over predictions above `threshold` only, each class by its own count, then the mean.

    Without the threshold, the many predictions near zero drown the rest when classes are many.
    """
    table, labels, _ = check_predictions(probs, y)
    _check_bins(n_bins, len(table))
    L = table.shape[1]
    used = (table > threshold).astype(float)
    bin_ = (_equal_width(table, n_bins) + n_bins * np.arange(L)).ravel()
    gap = ((table - (labels[:, None] == np.arange(L))) * used).ravel()
    each = np.abs(np.bincount(bin_, gap, n_bins * L)).reshape(L, n_bins).sum(1)
    return float((each / np.maximum(used.sum(0), 1)).mean())


def skce(probs: Any, y: Any) -> float:
    r"""Squared kernel calibration error, unbiased: all of the probability vector, no bins.

    .. math:: \binom n2^{-1}\sum_{i<j}e^{-\lVert p_i-p_j\rVert}(Y_i-p_i)^\top(Y_j-p_j)

    Zero on average at the truth, and then below zero about half the time. O(n² L). Widmann et al. (2019).
    """
    table, labels, _ = check_predictions(probs, y)
    residual = (labels[:, None] == np.arange(table.shape[1])) - table
    size, n, total = (table**2).sum(1), len(table), 0.0
    for at in range(0, n, _BLOCK):
        rows = slice(at, at + _BLOCK)
        squared = size[rows, None] + size - 2 * table[rows] @ table.T
        kernel = np.exp(-np.sqrt(squared.clip(0.0)))
        total += float((kernel * (residual[rows] @ residual.T)).sum())
    return (total - float((residual**2).sum())) / (n * (n - 1))


def nll(probs: Any, y: Any, *, sample_weight: Any = None) -> float:
    """Mean negative log-likelihood in nats; probabilities below 1e-15 count as that."""
    table, labels, w = check_predictions(probs, y, sample_weight)
    return float(-(w @ np.log(table[np.arange(len(table)), labels].clip(1e-15))) / w.sum())


def brier(probs: Any, y: Any, *, sample_weight: Any = None) -> float:
    """Mean squared distance of the probability vector from the one-hot outcome, in [0, 2]."""
    table, labels, w = check_predictions(probs, y, sample_weight)
    return float(w @ ((table - (labels[:, None] == np.arange(table.shape[1]))) ** 2).sum(1) / w.sum())


def accuracy(probs: Any, y: Any) -> float:
    """Share of samples whose most probable class is the label."""
    table, labels, _ = check_predictions(probs, y)
    return float(_top(table, labels)[1].mean())


METRICS: dict[str, Callable[[Any, Any], float]] = {
    "ECE": ece,
    "ECE equal mass": ece_equal_mass,
    "debiased ECE": debiased_ece,
    "KS": ks_error,
    "class-wise ECE": classwise_ece,
    "NLL": nll,
    "Brier": brier,
    "accuracy": accuracy,
}


def draw_labels(probs: Floats, rng: np.random.Generator) -> np.ndarray:
    """Labels (n,) drawn from the rows of `probs`: what the world would do if the predictions were true."""
    total = probs.cumsum(1)
    return (total[:, :-1] < rng.random((len(probs), 1)) * total[:, -1:]).sum(1)


def expected_under_calibration(
    probs: Any,
    metric: Callable[[Any, Any], float] = ece,
    *,
    n_draws: int = 200,
    rng: np.random.Generator,
) -> Floats:
    """What a metric gives when these very predictions are true: `n_draws` values with labels drawn from them.

    The reference that a binned error needs; its upper quantiles give an exact Monte-Carlo test of calibration.
    """
    table = np.asarray(probs, dtype=float)
    return np.array([metric(table, draw_labels(table, rng)) for _ in range(n_draws)])


def reliability_curve(
    probs: Any,
    y: Any,
    *,
    n_bins: int = 15,
    strategy: str = "equal_mass",
    target: int | str = "top",
    level: float = 0.95,
    sample_weight: Any = None,
) -> ReliabilityCurve:
    r"""Points, intervals and a consistency band for a reliability diagram.

    Parameters
    ----------
    probs : array of shape (n, L)
    y : array of shape (n,)
    n_bins : int
    strategy : {"equal_mass", "equal_width"}
        Bins of equal size give points of equal precision.
    target : "top" or int
        The most probable class, or one class against the rest.
    level : float
        Of the intervals and of the band, each bin by itself.
    sample_weight : array of shape (n,), optional
        With "equal_width" equal to repeating rows.

    Returns
    -------
    ReliabilityCurve
        Wilson intervals around the observed frequencies, and around the diagonal the band
        :math:`\bar p\pm z\sqrt{\overline{p(1-p)}/n}` in which a calibrated predictor's frequencies fall.

    Raises
    ------
    ValueError
        For an unknown strategy or target, a level outside (0, 1), or bad predictions.
    """
    table, labels, w = check_predictions(probs, y, sample_weight)
    if strategy not in ("equal_mass", "equal_width"):
        raise ValueError(f"strategy must be 'equal_mass' or 'equal_width', got {strategy!r}")
    if not 0 < level < 1:
        raise ValueError(f"level must lie strictly between 0 and 1, got {level!r}")
    _check_bins(n_bins, len(table), need=strategy == "equal_mass")
    p, hit = _target(table, labels, target)
    bin_ = (_equal_mass if strategy == "equal_mass" else _equal_width)(p, n_bins)
    n, sp, sh = _binned(p, hit, bin_, n_bins, w)
    full = n > 0
    n, sp, sh, noise = n[full], sp[full], sh[full], np.bincount(bin_, w * p * (1 - p), n_bins)[full]
    z = float(norm.ppf((1 + level) / 2))
    mean, rate, half = sp / n, sh / n, z * np.sqrt(noise) / n
    centre = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
    wide = z / (1 + z**2 / n) * np.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    return ReliabilityCurve(
        mean,
        rate,
        n,
        np.clip(centre - wide, 0, 1),
        np.clip(centre + wide, 0, 1),
        np.clip(mean - half, 0, 1),
        np.clip(mean + half, 0, 1),
    )


def _target(table: Floats, labels: np.ndarray, target: int | str) -> tuple[Floats, Floats]:
    if target == "top":
        return _top(table, labels)
    if not isinstance(target, (int, np.integer)) or not 0 <= target < table.shape[1]:
        raise ValueError(f"target must be 'top' or a class from 0 to {table.shape[1] - 1}, got {target!r}")
    return table[:, target], (labels == target).astype(float)
