"""Linear prediction under Gaussian laws: exact draws of second moments, exact risks, fits for all replicates at once.

Where everything is Gaussian with mean zero, least squares and principal components see the data only
through second moments, and those of `n` rows have a Wishart law. So a replicate of any size costs one
triangular matrix (Bartlett's decomposition) and no data need to be drawn.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from loglik.information.unsupervised_pretraining.checks import Floats, matrix, number, vector, whole

RIDGES = np.geomspace(1e-3, 1e2, 21)  # penalties of the ridge baseline, on the scale of mean squares


def draw_moments(covariance: Floats, rows: int, reps: int, rng: np.random.Generator) -> Floats:
    r"""Second-moment matrices :math:`\frac1n\sum_i x_ix_i^\top` of `rows` normal rows, exact in law.

    Parameters
    ----------
    covariance : array of shape (p, p)
        Positive definite.
    rows : int
        n. From p on, Bartlett's triangular matrix is drawn; below, the rows themselves.
    reps : int
        Independent replicates.
    rng : numpy.random.Generator

    Returns
    -------
    array of shape (reps, p, p)

    Examples
    --------
    >>> S = draw_moments(np.eye(3), 10_000, 2, np.random.default_rng(0))
    >>> S.shape, bool(np.abs(S - np.eye(3)).max() < 0.1)
    ((2, 3, 3), True)
    """
    rows, reps = whole("rows", rows), whole("reps", reps)
    root = np.linalg.cholesky(matrix("covariance", covariance))
    p = len(root)
    if rows < p:
        data = rng.normal(size=(reps, rows, p)) @ root.T
        return np.asarray(data.swapaxes(1, 2) @ data / rows)
    triangle = np.tril(rng.normal(size=(reps, p, p)), -1)
    triangle[:, range(p), range(p)] = np.sqrt(rng.chisquare(rows - np.arange(p), size=(reps, p)))
    half = root @ triangle
    return np.asarray(half @ half.swapaxes(1, 2) / rows)


def excess_risk_linear(
    W: ArrayLike, Sigma: ArrayLike, b: ArrayLike, noise: float = 0.0, n: int | None = None
) -> Floats:
    r"""Excess squared risk that remains when y is predicted linearly from the features :math:`W^\top x`.

    .. math:: A(W) = b^\top\Sigma b - c^\top(W^\top\Sigma W)^{-1}c,\qquad c=W^\top\Sigma b

    Parameters
    ----------
    W : array of shape (..., d, r)
        Features; columns that depend on each other (or vanish) do no harm.
    Sigma : array of shape (d, d)
        Covariance of x, which has mean zero.
    b : array of shape (d,)
        Best coefficients on x.
    noise : float
        Irreducible variance s² of y given x; used with `n` only.
    n : int, optional
        With `n` labelled normal rows, the *expected* excess of least squares on the features,
        :math:`A+(s^2+A)\,r/(n-r-1)`, instead of A.

    Returns
    -------
    array of shape (...)

    Raises
    ------
    ValueError
        For shapes that don't fit, a negative noise variance, or n of at most r + 1, where least squares has
        no finite risk.

    Examples
    --------
    >>> float(excess_risk_linear(np.eye(3)[:, :1], np.eye(3), [1.0, 2.0, 0.0]))
    4.0
    """
    cov, coefs, s2 = matrix("Sigma", Sigma), vector("b", b), number("noise", noise)
    features: Floats = np.asarray(W, dtype=float)
    if features.ndim < 2 or features.shape[-2] != len(coefs) or cov.shape != (len(coefs),) * 2:
        raise ValueError(
            f"W must be (..., d, r), Sigma (d, d) and b (d,); got {features.shape}, {cov.shape}, {coefs.shape}"
        )
    target = cov @ coefs
    c = np.einsum("...dr,d->...r", features, target)
    inner = features.swapaxes(-1, -2) @ cov @ features
    explained = np.einsum("...r,...rs,...s->...", c, np.linalg.pinv(inner, hermitian=True, rcond=1e-12), c)
    cost: Floats = np.maximum(coefs @ target - explained, 0.0)
    if n is None:
        return cost
    r = features.shape[-1]
    return np.asarray(cost + (s2 + cost) * label_factor(n, r))


def label_factor(n: ArrayLike, p: int) -> Floats:
    """p/(n−p−1): what p coefficients cost with n normal rows, over the noise variance.

    Raises
    ------
    ValueError
        For n of at most p + 1.
    """
    rows: Floats = np.asarray(n, dtype=float)
    if (rows <= p + 1).any():
        raise ValueError(
            f"a regression on {p} features needs n above {p + 1}, else its mean risk is infinite; "
            f"got n = {rows.min():g}"
        )
    return np.asarray(p / (rows - p - 1))


def fit_on_features(moments: Floats, W: Floats) -> Floats:
    """Least squares on features ``W'x``, as coefficients on x.

    Parameters
    ----------
    moments : array of shape (reps, d + 1, d + 1)
        Second moments of (x, y).
    W : array of shape (reps, d, r) or (d, r)

    Returns
    -------
    array of shape (reps, d)
    """
    gram, cross = moments[:, :-1, :-1], moments[:, :-1, -1:]
    turned = W.swapaxes(-1, -2)
    return np.asarray((W @ np.linalg.solve(turned @ gram @ W, turned @ cross))[..., 0])


def fit_ridge(moments: Floats, penalties: ArrayLike) -> Floats:
    """Ridge regression on x for several penalties; 0 is least squares, of minimum norm where n < d.

    Returns
    -------
    array of shape (penalties, reps, d)
    """
    values, vectors = np.linalg.eigh(moments[:, :-1, :-1])
    turned = (vectors.swapaxes(1, 2) @ moments[:, :-1, -1:])[..., 0]
    full = values > 1e-10 * values[:, -1:]
    alpha = np.asarray(penalties, dtype=float)[:, None, None]
    shrunk = np.where(full, turned / np.where(full, values + alpha, 1.0), 0.0)
    return np.asarray(np.einsum("bde,abe->abd", vectors, shrunk))


def coefficient_risk(w: Floats, Sigma: Floats, b: Floats) -> Floats:
    """(w−b)'Σ(w−b): the exact excess squared risk of coefficients w (..., d)."""
    gap = w - b
    return np.asarray(np.einsum("...d,de,...e->...", gap, Sigma, gap))


def fit_logistic(
    X: Floats, y: Floats, penalty: float = 1e-6, max_iter: int = 30, tol: float = 1e-9
) -> Floats:
    """Logistic regressions without intercept, by Newton's method, all replicates at once.

    Parameters
    ----------
    X : array of shape (reps, n, p)
    y : array of shape (reps, n)
        0 and 1.
    penalty : float
        Half of it times the squared norm is added to the *mean* loss.
    max_iter, tol : int, float
        Stop when no step in log-odds is longer than `tol`.

    Returns
    -------
    array of shape (reps, p)

    Notes
    -----
    A step is shortened so that no log-odds move by more than 4, which keeps Newton from diverging on data
    that are nearly separable.
    """
    reps, n, p = X.shape
    w = np.zeros((reps, p))
    for _ in range(max_iter):
        proba = expit((X @ w[..., None])[..., 0])
        slope = ((proba - y)[:, None] @ X)[:, 0] / n + penalty * w
        curve = X.swapaxes(1, 2) @ (X * (proba * (1 - proba))[..., None]) / n + penalty * np.eye(p)
        step = np.linalg.solve(curve, slope[..., None])
        reach = np.abs(X @ step).max(axis=(1, 2))
        w -= step[..., 0] * np.minimum(1.0, 4.0 / np.maximum(reach, 1e-300))[:, None]
        if reach.max() < tol:
            break
    return w
