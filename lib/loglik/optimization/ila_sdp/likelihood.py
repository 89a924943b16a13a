r"""The likelihood without centroids: pairwise costs, its value for a labelling, and the covariance update.

With :math:`Z_k=n_k^{-1}1_{G_k}1_{G_k}'` the classification likelihood with profiled centroids is linear in Z:
:math:`-2\log L=\sum_k\langle C_k,Z_k\rangle` up to :math:`np\log 2\pi`. All functions take leading axes for
many data sets at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from loglik.optimization.ila_sdp.inputs import (
    COVARIANCE_TYPES,
    Floats,
    check_choice,
    check_covariances,
    check_labels,
    check_number,
    check_rows,
)


def _whitened(X: Floats, covariances: Floats) -> tuple[Floats, Floats]:
    r"""Rows in each cluster's metric :math:`L_k^{-1}x` (..., K, n, p), and log-determinants (..., K)."""
    try:
        L = np.linalg.cholesky(covariances)
    except np.linalg.LinAlgError:
        least = float(np.linalg.eigvalsh(covariances).min())
        raise ValueError(
            f"covariances must be positive definite, the least eigenvalue is {least:.3g}; add a ridge (reg > 0)"
        ) from None
    centred = X - X.mean(axis=-2, keepdims=True)  # costs know differences only; this keeps their digits
    rows = np.linalg.solve(L, centred[..., None, :, :].swapaxes(-1, -2)).swapaxes(-1, -2)
    return rows, 2 * np.log(np.diagonal(L, axis1=-2, axis2=-1)).sum(-1)


def pairwise_costs(X: ArrayLike, covariances: ArrayLike) -> Floats:
    r"""Cost of putting two rows into the same cluster.

    :math:`(C_k)_{ij}=\log|\Sigma_k|+\tfrac12\|\Sigma_k^{-1/2}(X_i-X_j)\|^2`.
    The log-determinant stands in every entry because :math:`\langle 11',Z_k\rangle=n_k`. Without it the widest
    cluster would take all rows.

    Parameters
    ----------
    X : array_like of shape (..., n, p)
    covariances : array_like of shape (..., K, p, p)
        Symmetric, positive definite.

    Returns
    -------
    ndarray of shape (..., K, n, n)

    Raises
    ------
    ValueError
        For bad shapes, values that aren't finite, covariances that aren't symmetric positive definite.
    """
    rows = check_rows(X)
    white, logdet = _whitened(rows, check_covariances(covariances, rows.shape[-1]))
    norms = (white**2).sum(-1)
    D = norms[..., :, None] + norms[..., None, :] - 2 * white @ white.swapaxes(-1, -2)
    np.maximum(D, 0, out=D)
    D[..., np.arange(D.shape[-1]), np.arange(D.shape[-1])] = 0
    return np.asarray(logdet[..., None, None] + 0.5 * (D + D.swapaxes(-1, -2)) / 2)


def kmeans_costs(X: ArrayLike) -> Floats:
    r"""Peng and Wei's cost :math:`C_{ij}=\tfrac12\|X_i-X_j\|^2`, of shape (..., n, n)."""
    rows = check_rows(X)
    return pairwise_costs(rows, np.eye(rows.shape[-1])[None])[..., 0, :, :]


def lifted(labels: ArrayLike, n_clusters: int) -> Floats:
    r"""Membership matrices of a labelling: :math:`Z_k=n_k^{-1}1_{G_k}1_{G_k}'`, of shape (..., K, n, n).

    An empty cluster has the zero matrix, which no feasible point has.
    """
    member = _indicators(np.asarray(labels), n_clusters)
    counts = np.maximum(member.sum(-1), 1)[..., None, None]
    return np.asarray(member[..., :, None] * member[..., None, :] / counts)


def _indicators(labels: Any, n_clusters: int) -> Floats:
    return (labels[..., None, :] == np.arange(n_clusters)[:, None]).astype(float)


def labelling_cost(costs: Floats, labels: ArrayLike) -> Floats:
    r"""The objective :math:`\sum_k\langle C_k,Z_k\rangle` of labellings: costs (..., K, n, n), labels (..., n)."""
    member = _indicators(np.asarray(labels), costs.shape[-3])
    sums = ((costs @ member[..., None])[..., 0] * member).sum(-1)
    return np.asarray((sums / np.maximum(member.sum(-1), 1)).sum(-1))


def profile_negloglik(X: ArrayLike, labels: ArrayLike, covariances: ArrayLike) -> float:
    r"""Minus twice the classification log-likelihood at the best centroids, without :math:`np\log2\pi`.

    Computed from centroids, the textbook way; :func:`pairwise_costs` gives the same number without any.

    Parameters
    ----------
    X : array_like of shape (n, p)
    labels : array_like of shape (n,)
        Integers from 0 to K - 1, every cluster occupied.
    covariances : array_like of shape (K, p, p)

    Raises
    ------
    ValueError
        For bad shapes, labels outside 0 to K - 1, an empty cluster, a covariance that isn't positive definite.
    """
    rows = check_rows(X)
    sigma = check_covariances(covariances, rows.shape[-1])
    found = check_labels(labels, len(rows), len(sigma))
    white, logdet = _whitened(rows, sigma)
    member = _indicators(found, len(sigma))
    means = (member[:, None, :] @ white) / member.sum(-1)[:, None, None]
    squares = ((white - means) ** 2).sum(-1)
    return float((member * (squares + logdet[:, None])).sum())


def membership_covariances(
    X: ArrayLike,
    Z: ArrayLike,
    *,
    reg: float = 0.0,
    covariance_type: str = "full",
    shrinkage: float = 0.0,
) -> Floats:
    r"""Each cluster's covariance from its membership matrix, without a centroid.

    :math:`\hat\Sigma_k=n_k^{-1}X'(\operatorname{diag}(Z_k1)-Z_k)X+\rho I` with :math:`n_k=1'Z_k1`, which is the
    within-cluster maximum-likelihood estimate where :math:`Z_k` is integral, and positive semidefinite for
    every symmetric nonnegative :math:`Z_k`.

    Parameters
    ----------
    X : array_like of shape (..., n, p)
    Z : array_like of shape (..., K, n, n)
        Symmetric, nonnegative.
    reg : float
        Ridge :math:`\rho`, in squared units of X. Needed wherever a cluster may hold p rows or fewer.
    covariance_type : {"full", "diag", "spherical", "tied"}
        Free, diagonal, a multiple of the identity, or one for all clusters.
    shrinkage : float
        Weight in [0, 1) of the pooled within-cluster covariance.

    Returns
    -------
    ndarray of shape (..., K, p, p)

    Raises
    ------
    ValueError, TypeError
        For bad shapes or parameters, or negative entries of Z.
    """
    rows = check_rows(X)
    member = np.asarray(Z, dtype=float)
    n, p = rows.shape[-2:]
    if member.ndim < 3 or member.shape[-2:] != (n, n):
        raise ValueError(f"Z must have shape (K, {n}, {n}) for {n} rows, got {member.shape}")
    if member.min() < -1e-8:
        raise ValueError(f"Z must be nonnegative, its least entry is {member.min():.3g}")
    ridge = check_number(reg, "reg", 0)
    weight = check_number(shrinkage, "shrinkage", 0, 1)
    check_choice(covariance_type, "covariance_type", COVARIANCE_TYPES)
    centred = (rows - rows.mean(axis=-2, keepdims=True))[..., None, :, :]
    mass = member.sum(-1)
    scatter = centred.swapaxes(-1, -2) @ (mass[..., None] * centred - member @ centred)
    scatter = (scatter + scatter.swapaxes(-1, -2)) / 2
    sizes = mass.sum(-1)[..., None, None]
    pooled = scatter.sum(-3, keepdims=True) / sizes.sum(-3, keepdims=True)
    share = 1.0 if covariance_type == "tied" else weight
    sigma = (1 - share) * scatter / sizes + share * pooled
    if covariance_type == "diag":
        sigma = sigma * np.eye(p)
    elif covariance_type == "spherical":
        sigma = np.trace(sigma, axis1=-2, axis2=-1)[..., None, None] / p * np.eye(p)
    return np.asarray(sigma + ridge * np.eye(p))
