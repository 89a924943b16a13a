"""The log loss of linear risk models on weighted, de-duplicated rows, for one model or for thousands at once.

Axis names of this package: ``n`` rows as given, ``u`` unique rows, ``p = d + 1`` coefficients (intercept first),
``b`` models of a batch, ``m`` people whose risk is asked for.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loglik.risk.checks import check_finite, check_weights, column_names

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DAMPING = 1e-13  # share of the Hessian's mean diagonal that is added when solving, never to the loss itself


class Rows(NamedTuple):
    """Training rows, collapsed to unique feature vectors: the loss needs no more than these."""

    X: Floats  # (u, p) unique rows, a column of ones first
    total: Floats  # (u,) share of the weight at each unique row; sums to 1
    positive: Floats  # (u,) the part of it with y = +1
    products: Floats  # (u, p (p + 1) / 2) products of the columns, for Hessians of many models
    upper: tuple[Ints, Ints]  # which columns were multiplied

    @property
    def p(self) -> int:
        """Coefficients, the intercept included."""
        return self.X.shape[1]


def with_intercept(X: ArrayLike) -> Floats:
    """Rows (m, d) with a column of ones first."""
    X_ = np.asarray(X, dtype=float)
    return np.column_stack([np.ones(len(X_)), X_])


def check_features(X: Any, d: int | None = None, name: str = "X") -> Floats:
    """Finite features of shape (n, d).

    Raises
    ------
    ValueError
        For another number of dimensions or columns, for no rows, or for NaN and infinities (by column, with counts).
    """
    try:
        X_ = np.asarray(X, dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} must be numeric, of shape (n, d); encode text columns first: {error}"
        ) from error
    wanted = f"(n, {d})" if d is not None else "(n, d)"
    if X_.ndim != 2 or not len(X_) or (d is not None and X_.shape[1] != d):
        raise ValueError(f"{name} must have shape {wanted} with at least one row, got {X_.shape}")
    check_finite(X_, column_names(X, X_.shape[1]), name)
    return X_


def check_labels(y: ArrayLike, n: int) -> NDArray[np.bool_]:
    """Labels (n,) in {0, 1} or {-1, 1} as True for the positive class.

    Raises
    ------
    ValueError
        For another shape, other values (with their count), or one class only.
    """
    y_ = np.asarray(y)
    if y_.shape != (n,):
        raise ValueError(f"y must have shape ({n},), one label a row, got {y_.shape}")
    if not (np.isin(y_, (0, 1)).all() or np.isin(y_, (-1, 1)).all()):
        other = np.count_nonzero(~np.isin(y_, (-1, 0, 1)))
        raise ValueError(
            f"y must hold 0 and 1, or -1 and 1, only; it has {other} other values, or mixes the two"
        )
    positive = y_ == 1
    if positive.all() or not positive.any():
        raise ValueError(f"y has one class only ({y_[0]}) in {n} rows; both are needed")
    return np.asarray(positive, dtype=bool)


def collapse(X: Floats, positive: NDArray[np.bool_], sample_weight: ArrayLike | None = None) -> Rows:
    """Unique rows with their weights; the loss of the result equals the weighted mean loss of what was given.

    Raises
    ------
    ValueError
        For negative weights or weights that sum to zero, or a class that has no weight.
    """
    weight = check_weights(sample_weight, len(X))
    for name, mask in (("positive", positive), ("negative", ~positive)):
        if weight[mask].sum() == 0:
            raise ValueError(f"every row of the {name} class ({mask.sum()} rows) has sample_weight 0")
    kept = weight > 0
    unique, place = np.unique(X[kept], axis=0, return_inverse=True)
    weight, place = weight[kept] / weight.sum(), place.ravel()
    total: Floats = np.bincount(place, weights=weight, minlength=len(unique)).astype(float)
    events: Floats = np.bincount(place, weights=weight * positive[kept], minlength=len(unique)).astype(float)
    return make_rows(with_intercept(unique), total, events)


def make_rows(X: Floats, total: Floats, positive: Floats) -> Rows:
    """Rows with the products of their columns computed once."""
    first, second = np.triu_indices(X.shape[1])
    return Rows(X, total, positive, X[:, first] * X[:, second], (first, second))


def losses(rows: Rows, W: Floats) -> Floats:
    """Mean log loss of each model: W (b, p) gives (b,); natural logarithm, no penalty."""
    S = np.atleast_2d(W) @ rows.X.T
    softplus = np.log1p(np.exp(-np.abs(S))) + np.maximum(S, 0)
    return np.asarray(softplus @ rows.total - S @ rows.positive)


class Derivatives(NamedTuple):
    """Loss, slope and curvature of a batch of models."""

    loss: Floats  # (b,)
    gradient: Floats  # (b, p)
    hessian: Floats  # (b, p, p), damped for solving


def derivatives(rows: Rows, W: Floats, penalty: float = 0.0) -> Derivatives:
    """Loss, gradient and Hessian of ``L(w) + penalty |w[1:]|²`` for W (b, p); O(b u p²)."""
    S = W @ rows.X.T
    small = np.exp(-np.abs(S))  # one exponential for loss, risk and curvature; it can't overflow
    loss = (np.log1p(small) + np.maximum(S, 0)) @ rows.total - S @ rows.positive
    risk = np.where(S >= 0, 1.0, small) / (1 + small)
    gradient = (risk * rows.total - rows.positive) @ rows.X
    packed = (small / (1 + small) ** 2 * rows.total) @ rows.products
    hessian = np.empty((len(W), rows.p, rows.p))
    hessian[:, rows.upper[0], rows.upper[1]] = packed
    hessian[:, rows.upper[1], rows.upper[0]] = packed
    if penalty:
        slopes = W.copy()
        slopes[:, 0] = 0
        loss, gradient = loss + penalty * (slopes**2).sum(1), gradient + 2 * penalty * slopes
        hessian[:, np.arange(1, rows.p), np.arange(1, rows.p)] += 2 * penalty
    diagonal = np.arange(rows.p)
    size = np.trace(hessian, axis1=1, axis2=2) / rows.p
    hessian[:, diagonal, diagonal] += DAMPING * size[:, None] + np.finfo(float).tiny
    return Derivatives(loss, gradient, hessian)


def safe_length(rows: Rows, step: Floats) -> Floats:
    """Lengths (b,) at which Newton steps (b, p) are sure to descend.

    With ``r`` the largest change of any row's score, the loss along a Newton step h obeys
    ``L(w + a h) <= L(w) - a l² + l² (e^{a r} - a r - 1) / r²`` (generalised self-concordance of the logistic
    loss; Bach 2010, proposition 1), which is least at ``a = log(1 + r) / r``. So no line search is needed.
    """
    reach = np.abs(step @ rows.X.T).max(axis=1)
    return np.where(reach > 1e-12, np.log1p(reach) / np.maximum(reach, 1e-300), 1.0)


def fit(rows: Rows, penalty: float, max_iter: int = 200, tol: float = 1e-13) -> Floats:
    """The baseline ``argmin L(w) + penalty |w[1:]|²``, shape (p,), by damped Newton steps.

    Raises
    ------
    RuntimeError
        When `max_iter` steps don't bring the Newton decrement under `tol`: the minimum may not exist
        (separable classes and no penalty).
    """
    w = np.zeros((1, rows.p))
    for _ in range(max_iter):
        at = derivatives(rows, w, penalty)
        step: Floats = -np.linalg.solve(at.hessian, at.gradient[..., None])[..., 0].astype(float)
        if -(at.gradient * step).sum() / 2 < tol:
            return np.asarray(w[0] + step[0])
        w = w + safe_length(rows, step)[:, None] * step
    raise RuntimeError(
        f"no minimum after {max_iter} Newton steps: the classes may be separable; use a positive ridge"
    )
