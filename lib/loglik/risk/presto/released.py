"""Three faults of the released pipeline, each as the smallest change to the corrected one.

They were found by reading and running the official R code; the fits themselves agree with ours.

A. *Choice of the penalty*: cross-validation predicts with the increments psi_k where the weights beta_k
   belong, so only the first boundary is right and lambda is chosen on wrong predictions.
B. *Intercepts*: undoing the centring uses psi_k instead of beta_k, so every later boundary is shifted by
   ``mean(x)' (beta_k - psi_k)``: nothing for centred features, a lot for dummies.
C. *Metric*: see ``osce(released=True)``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from loglik.risk.presto.likelihood import Floats, Ints
from loglik.risk.presto.selection import FoldPath, path_probabilities, row_scores


def increments(coefs: Floats) -> Floats:
    """Increments psi (…, K-1, p) from beta: the first boundary's weights, then what each boundary adds."""
    return np.diff(coefs, axis=-2, prepend=0.0)


def released_intercepts(intercepts: Floats, coefs: Floats, center: Floats) -> Floats:
    """Fault B: the intercepts (…, K-1) that the released code reports for a fit.

    Parameters
    ----------
    intercepts, coefs : arrays of shape (…, K-1) and (…, K-1, p)
        The correct ones, raw scale.
    center : array of shape (p,)
        Means of the training features.

    Examples
    --------
    >>> released_intercepts(np.array([0.0, 3.0]), np.array([[1.0], [1.0]]), np.array([0.5]))
    array([0. , 3.5])
    """
    return intercepts + (coefs - increments(coefs)) @ center


def released_cv_scores(paths: Sequence[FoldPath], X: Floats, codes: Ints) -> Floats:
    """Fault A: Brier scores (m, folds) of predictions that take psi_k for beta_k."""
    columns = []
    for path, center, test in paths:
        alpha = released_intercepts(path.intercepts, path.coefs, center)
        wrong = path_probabilities(alpha, increments(path.coefs), X[test])
        columns.append(row_scores(wrong, codes[test], "brier").mean(1))
    return np.column_stack(columns)
