"""Choosing the penalty: cross-validated paths on shared folds and a shared grid.

Every fold's path is kept, so several rules (Brier score, log loss, the released code's rule) can be
compared on the very same fits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.model_selection import StratifiedKFold

from loglik.risk.presto.likelihood import PROBABILITY_FLOOR, Floats, Ints, class_probabilities
from loglik.risk.presto.path import PathSolver, PrestoPath

SCORINGS = ("brier", "log_loss")


class FoldPath(NamedTuple):
    """The path that was fitted without one fold."""

    path: PrestoPath
    center: Floats  # (p,) feature means of the fold's training rows
    test: Ints  # row numbers held out


def path_probabilities(intercepts: Floats, coefs: Floats, X: Floats) -> Floats:
    """Raw class probabilities (m, n, K) of m models; negative where boundaries cross."""
    return class_probabilities(intercepts[:, None, :] + np.einsum("np,mjp->mnj", X, coefs, optimize=True))


def proper(proba: Floats) -> Floats:
    """Probabilities with negative values cut to 0 and rows made to sum to one."""
    cut = np.maximum(proba, 0.0)
    return cut / cut.sum(-1, keepdims=True)


def stratified_folds(codes: Ints, cv: Any, random_state: Any, X: Floats) -> list[tuple[Ints, Ints]]:
    """Training and test rows of each fold.

    An integer `cv` means stratified, shuffled folds, so that no training part loses the rare class (the
    released code doesn't stratify; pass ``KFold(5, shuffle=True)`` for its folds). A class with fewer
    members than folds is missing from some test parts, which the scores here don't mind.

    Raises
    ------
    ValueError
        When `cv` is an integer below 2, a class has a single row, or a training part lacks a class.
    """
    counts = np.bincount(codes)
    if isinstance(cv, (int, np.integer)) and not isinstance(cv, bool):
        if cv < 2:
            raise ValueError(f"cv must be at least 2 folds, a splitter or an iterable of splits; got {cv}")
        if counts.min() < 2:
            raise ValueError(
                f"class number {int(counts.argmin())} has one row: cross-validation can't both train and test on it; "
                "give lam, or merge it with a neighbouring class"
            )
        folds = _spread(codes, int(cv), random_state)
    else:
        folds = list(cv.split(X, codes)) if hasattr(cv, "split") else list(cv)
    for number, (train, _) in enumerate(folds):
        if np.unique(codes[train]).size < counts.size:
            raise ValueError(
                f"the training part of fold {number} lacks a class; use stratified folds (an integer cv)"
            )
    return folds


def _spread(codes: Ints, n_folds: int, random_state: Any) -> list[tuple[Ints, Ints]]:
    """scikit-learn's stratified folds, also where a class is smaller than the number of folds."""
    counts = np.bincount(codes)
    if counts.min() >= n_folds:
        splitter = StratifiedKFold(n_folds, shuffle=True, random_state=random_state)
        return list(splitter.split(codes, codes))
    rng = np.random.RandomState(random_state) if not hasattr(random_state, "shuffle") else random_state
    order = rng.permutation(len(codes))
    order = order[np.argsort(codes[order], kind="stable")]
    fold = np.empty(len(codes), dtype=np.int64)
    fold[order] = np.arange(len(codes)) % n_folds
    rows = np.arange(len(codes))
    return [(rows[fold != f], rows[fold == f]) for f in np.unique(fold)]


def fold_paths(
    X: Floats,
    codes: Ints,
    n_classes: int,
    lambdas: Floats,
    folds: Iterable[tuple[Ints, Ints]],
    weights: Floats | None = None,
    **solver: Any,
) -> list[FoldPath]:
    """Fit the path on every fold's training rows; `solver` goes to :class:`PathSolver`."""
    found = []
    for train, test in folds:
        w = None if weights is None else weights[train]
        fitted = PathSolver(X[train], codes[train], n_classes, weights=w, **solver)
        found.append(FoldPath(fitted.path(lambdas), fitted.center, np.asarray(test)))
    return found


def cv_scores(
    paths: Sequence[FoldPath], X: Floats, codes: Ints, scoring: str = "brier", weights: Floats | None = None
) -> Floats:
    """Held-out score (m, folds) of every penalty; lower is better.

    ``brier`` is the multi-class Brier score, mean of ``sum_k (1[y=k] - p_k)²``; ``log_loss`` the mean
    negative log probability of the observed class, floored at 1e-8 where boundaries cross.
    """
    columns = []
    for path, _, test in paths:
        proba = proper(path_probabilities(path.intercepts, path.coefs, X[test]))
        w = None if weights is None else weights[test]
        columns.append(np.average(row_scores(proba, codes[test], scoring), axis=1, weights=w))
    return np.column_stack(columns)


def row_scores(proba: Floats, codes: Ints, scoring: str) -> Floats:
    """Score (m, n) of each row, from probabilities (m, n, K)."""
    if scoring == "brier":
        return ((proba - np.eye(proba.shape[-1])[codes]) ** 2).sum(-1)
    if scoring == "log_loss":
        return -np.log(np.maximum(proba[:, np.arange(len(codes)), codes], PROBABILITY_FLOOR))
    raise ValueError(f"unknown scoring {scoring!r}; allowed: {', '.join(SCORINGS)}")


def best_lambda(lambdas: Floats, scores: Floats) -> int:
    """Index of the largest penalty with the smallest mean score (`lambdas` decreasing)."""
    return int(scores.mean(1).argmin())
