"""The paper's calibration metric, as written and as computed by the released code."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def default_bins(n_test: int) -> int:
    """The official number of bins: one per hundred rows, at least ten."""
    return max(round(n_test / 100), 10)


def osce(y_rare: ArrayLike, p: ArrayLike, n_bins: int | None = None, *, released: bool = False) -> float:
    """Observed squared calibration error: mean squared distance of predictions to their bin's frequency.

    Parameters
    ----------
    y_rare : array of shape (n,)
        1 or True where the rare class occurred.
    p : array of shape (n,)
        Predicted probabilities of the rare class.
    n_bins : int, optional
        Bins of (nearly) equal count; by default ``default_bins``.
    released : bool
        Compute what the released code computes: the bins are those of the *sorted* predictions, but each
        bin's frequency is subtracted from the *unsorted* ones. It then measures the spread of the
        predictions more than their calibration.

    Returns
    -------
    float
        In squared probability; lower is better.

    Raises
    ------
    ValueError
        For unequal or empty shapes, labels other than 0/1, predictions outside [0, 1], or too many bins.

    Notes
    -----
    Equal predictions keep their order in the data, as in R's ``order``, so that a constant prediction is binned at
    random and not flattered. Even a perfect prediction scores about ``noise_floor``, because a bin's
    frequency is itself uncertain: with ten bins of eighteen rows that floor hides most differences.

    Examples
    --------
    >>> osce([0, 0, 1, 1], [0.1, 0.1, 0.9, 0.9], n_bins=2)  # off by 0.1 everywhere
    0.01
    """
    y_, p_ = np.asarray(y_rare, dtype=float), np.asarray(p, dtype=float)
    if y_.shape != p_.shape or y_.ndim != 1 or not y_.size:
        raise ValueError(f"y_rare and p must have the same shape (n,), got {y_.shape} and {p_.shape}")
    if not np.isin(y_, (0, 1)).all():
        raise ValueError("y_rare must hold 0 and 1 only: whether the rare class occurred")
    if not ((p_ >= 0) & (p_ <= 1)).all():
        raise ValueError("p must hold probabilities between 0 and 1")
    bins = default_bins(len(p_)) if n_bins is None else n_bins
    if not 1 <= bins <= len(p_):
        raise ValueError(f"n_bins must be between 1 and n={len(p_)}, got {bins}")
    order = np.argsort(p_, kind="stable")
    parts = np.array_split(y_[order], bins)
    frequency = np.repeat([part.mean() for part in parts], [len(part) for part in parts])
    compared = p_ if released else p_[order]
    return float(np.round(((compared - frequency) ** 2).mean(), 15))


def noise_floor(p: ArrayLike, n_bins: int | None = None) -> float:
    """What :func:`osce` gives on average if the outcomes really have the probabilities `p` (n,).

    The variance of each bin's frequency plus the spread of the predictions inside it.

    Examples
    --------
    >>> round(noise_floor([0.1] * 180, n_bins=10), 6)  # 0.1 * 0.9 / 18
    0.005
    """
    p_ = np.sort(np.asarray(p, dtype=float))
    parts = np.array_split(p_, default_bins(len(p_)) if n_bins is None else n_bins)
    return float(sum(len(b) * b.var() + (b * (1 - b)).mean() for b in parts) / len(p_))
