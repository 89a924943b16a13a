"""The paper's algorithm: a pool of candidate models, each forced to give one person one risk.

The pool is fitted once. Every measure is then an extremum over those of its models that count as competing, for any
tolerance and for *any* performance metric, which is what a pool can do and exact ranges can't.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit
from sklearn.metrics import roc_auc_score

from loglik.risk.checks import check_probabilities
from loglik.risk.predictive_multiplicity.levelset import SLACK, LevelSet, check_deltas
from loglik.risk.predictive_multiplicity.loss import (
    Floats,
    Ints,
    check_features,
    check_labels,
    with_intercept,
)
from loglik.risk.predictive_multiplicity.solver import forced_fits

METRICS = ("log_loss", "auc", "ece")


def target_grid(size: int = 20) -> Floats:
    """The released grid of risks: `size` equal steps from 0 to 1, the ends replaced by 0.01 and 0.99.

    Raises
    ------
    ValueError
        For fewer than 2 or more than 99 steps (the ends would no longer be the smallest and largest).
    """
    if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or not 2 <= size <= 99:
        raise ValueError(f"the grid has 2 to 99 steps, got {size!r}")
    grid = np.linspace(0, 1, size + 1)
    grid[0], grid[-1] = 0.01, 0.99
    return grid


class CandidatePool(NamedTuple):
    """Candidate models, the baseline first."""

    coefs: Floats  # (k, p) intercept first
    loss: Floats  # (k,) mean log loss, no penalty
    target_index: Ints  # (k,) the row of the targets that was forced; -1 for the baseline
    target_prob: Floats  # (k,) to which risk; NaN for the baseline

    def competing(self, epsilon: float) -> NDArray[np.bool_]:
        """Which candidates (k,) have a loss within `epsilon` (additive) of the baseline's."""
        return np.asarray(self.loss <= self.loss[0] + epsilon)

    def metric(self, X: Any, y: ArrayLike, name: str) -> Floats:
        """A performance metric (k,) of every candidate; see :func:`measures` for the names."""
        positive = check_labels(y, len(X))
        if name not in METRICS:
            raise ValueError(f"unknown metric {name!r}; allowed: {', '.join(METRICS)}")
        if name == "log_loss":
            return self.loss
        risks = expit(self.coefs @ with_intercept(check_features(X)).T)
        if name == "auc":
            return np.array([roc_auc_score(positive, p) for p in risks])
        return calibration_errors(positive, risks)


class PoolMeasures(NamedTuple):
    """What a pool finds; each from below, because a pool is a sample of the level set."""

    low: Floats  # (m,)
    high: Floats  # (m,)
    ambiguity: Floats  # (k_delta,) one for each delta
    discrepancy: Floats  # (k_delta,)
    n_competing: int


def candidate_pool(level_set: LevelSet, X_targets: Any, grid: ArrayLike | None = None) -> CandidatePool:
    r"""Fit one candidate for each person and each target risk (the paper's algorithm).

    .. math:: \min_w L(w) + \lambda\lVert w_{1:}\rVert^2 \quad\text{s.t.}\quad
        w^\top\tilde x_i \le \mathrm{logit}(p)\ \text{if}\ p \le g_{w_0}(x_i),\ \ge\ \text{otherwise}

    The baseline violates (or just meets) every such constraint, so at the solution it holds with equality.

    Parameters
    ----------
    level_set : LevelSet
        Gives the rows, the baseline and the ridge; its epsilon plays no part.
    X_targets : array or DataFrame of shape (m, d)
        People; equal rows are fitted once.
    grid : array, optional
        Target risks strictly between 0 and 1; by default the released one, :func:`target_grid`.

    Returns
    -------
    CandidatePool
        1 + (unique people) x (targets) models. `target_index` counts the *unique* rows in the order of
        ``numpy.unique(X_targets, axis=0)``.

    Raises
    ------
    ValueError
        For targets outside (0, 1), or separable classes with no ridge.

    Notes
    -----
    All programs are solved together: O(u p²) a model and Newton step, about eight steps. Source: official code
    (``path_classifier.py``), there one cvxpy solve each.
    """
    X_ = np.unique(check_features(X_targets, level_set.rows.p - 1, "X_targets"), axis=0)
    risks = target_grid() if grid is None else check_probabilities(grid, "grid")
    if not ((risks > 0) & (risks < 1)).all():
        raise ValueError(
            "target risks of 0 or 1 are infeasible: a logistic model gives risks strictly between them"
        )
    if level_set.endless and level_set.ridge == 0:
        raise ValueError("candidates have no minimum on separable classes without a ridge; use ridge > 0")
    A = np.repeat(with_intercept(X_), len(risks), axis=0)
    b = np.tile(logit(risks), len(X_))
    fits = forced_fits(level_set.rows, A[:, None], b[:, None], level_set.w0, penalty=level_set.ridge)
    return CandidatePool(
        np.vstack([level_set.w0, fits.model]),
        np.concatenate([[level_set.loss0], fits.loss]),
        np.concatenate([[-1], np.repeat(np.arange(len(X_)), len(risks))]),
        np.concatenate([[np.nan], np.tile(risks, len(X_))]),
    )


def models_measures(
    level_set: LevelSet,
    coefs: Floats,
    X_eval: Any,
    deltas: ArrayLike,
    *,
    competing: NDArray[np.bool_] | None = None,
) -> PoolMeasures:
    """Ranges, ambiguity and discrepancy that a set of models (k, p) shows: what it finds, not what exists.

    Parameters
    ----------
    competing : array of shape (k,), optional
        Which models count; by default those in the level set, by an evaluation of their loss.
    """
    delta = np.atleast_1d(np.asarray(deltas, dtype=float))
    check_deltas(delta.tolist())
    inside = level_set.contains(coefs) if competing is None else competing
    p0 = level_set.predict(X_eval)
    p = level_set.predict(X_eval, np.vstack([level_set.w0, coefs[inside]]))
    away = np.abs(p - p0)
    return PoolMeasures(
        p.min(axis=0),
        p.max(axis=0),
        np.array([(away.max(axis=0) >= d - SLACK).mean() for d in delta]),
        np.array([(away >= d - SLACK).mean(axis=1).max() for d in delta]),
        int(inside.sum()),
    )


def calibration_errors(y: ArrayLike, risks: Floats, n_bins: int = 10, *, released: bool = False) -> Floats:
    """The official calibration metric of each row of risks (k, m): root of the sum over bins of squared error.

    Ten bins of equal width; within each, (mean risk - share of positives)². The sum is over bins, not weighted by how
    many people stand in them, as in the official code.

    Parameters
    ----------
    y : array of shape (m,)
        0/1 or True/False.
    released : bool
        Drop risks of exactly 1, as the released half-open bins do; they belong to the last bin.
    """
    y_ = np.asarray(y, dtype=float)
    p = np.atleast_2d(risks)
    place = np.minimum((p * n_bins).astype(int), n_bins - (0 if released else 1))
    cell = place + (n_bins + 1) * np.arange(len(p))[:, None]
    size = (n_bins + 1) * len(p)
    count = np.bincount(cell.ravel(), minlength=size)
    error = np.bincount(cell.ravel(), weights=(p - y_).ravel(), minlength=size) / np.maximum(count, 1)
    return np.asarray(np.sqrt((error.reshape(len(p), -1)[:, :n_bins] ** 2).sum(axis=1)))
