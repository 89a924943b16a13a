"""From membership matrices to labels, and how well labels agree with a truth."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import qr, svd
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans

from loglik.optimization.ila_sdp.inputs import Floats, Ints, check_choice
from loglik.optimization.ila_sdp.likelihood import labelling_cost
from loglik.optimization.ila_sdp.positive import spectrum

FLAT = 1e-2  # masses closer than this to 1/K for every row say nothing


def _leading(Z: Floats, n_clusters: int) -> Floats:
    """The K leading eigenvectors (n, K) of a membership matrix."""
    return spectrum(Z, len(Z) - n_clusters + 1, len(Z))[1]


def pivot_labels(Z: Floats, n_clusters: int) -> Ints:
    """Labels from the leading eigenvectors by column-pivoted QR, which needs no start (Damle, Minden and Ying, 2019).

    Cheap and deterministic, so the solver uses it to look for a certificate; :func:`round_membership` uses K-means.
    """
    V = _leading(Z, n_clusters)
    chosen = qr(V.T, mode="r", pivoting=True)[1][:n_clusters]
    left, _, right = svd(V[chosen].T)
    return np.asarray(np.abs(V @ (left @ right)).argmax(1), dtype=int)


def masses_are_flat(masses: Floats) -> bool:
    """Whether masses (K, n) leave every row undecided between all clusters, as with equal covariances."""
    return bool(np.abs(masses - 1 / len(masses)).max() < FLAT)


def match_clusters(costs: Floats, labels: Ints) -> Ints:
    """Rename clusters so that each stands under the covariance that suits it best.

    Costs (K, n, n), labels (n,); the assignment of names that has the least cost is found exactly.
    """
    K = len(costs)
    member = (labels[None] == np.arange(K)[:, None]).astype(float)
    table = ((costs @ member.T) * member.T).sum(1).T  # (clusters, covariances)
    table = table / np.maximum(member.sum(1), 1)[:, None]
    _, name = linear_sum_assignment(table)
    return np.asarray(name[labels], dtype=int)


def round_membership(
    Z: ArrayLike,
    *,
    method: str = "auto",
    costs: Floats | None = None,
    n_clusters: int | None = None,
    random_state: int | np.random.RandomState | None = None,
) -> Ints:
    r"""Labels from membership matrices.

    Parameters
    ----------
    Z : array_like of shape (K, n, n), or (n, n) for the K-means programme
    method : {"auto", "mass", "spectral"}
        "mass": the cluster with the largest mass :math:`(Z_k1)_i`. "spectral": K-means (ten starts) on the K
        leading eigenvectors of :math:`\sum_kZ_k`. With equal covariances the split into :math:`Z_k` is
        arbitrary and masses are meaningless, so "auto" takes whichever labelling is the more likely where
        `costs` are given; without them, "spectral" where Z is one matrix or every mass is near 1/K, else "mass".
    costs : ndarray of shape (K, n, n), optional
    n_clusters : int, optional
        For one matrix; its trace by default.
    random_state : int, RandomState or None
        Of K-means.

    Returns
    -------
    ndarray of int, shape (n,)

    Raises
    ------
    ValueError
        For a bad shape or method, or "mass" with one matrix.
    """
    check_choice(method, "method", ("auto", "mass", "spectral"))
    given = np.asarray(Z, dtype=float)
    if given.ndim not in (2, 3) or given.shape[-1] != given.shape[-2]:
        raise ValueError(f"Z must have shape (K, n, n) or (n, n), got {given.shape}")
    if given.ndim == 2 and method == "mass":
        raise ValueError("one matrix has no masses by cluster; use method='spectral'")
    K = n_clusters or (len(given) if given.ndim == 3 else round(float(np.trace(given))))
    total = given.sum(0) if given.ndim == 3 else given
    masses = given.sum(-1) if given.ndim == 3 else np.full((K, len(total)), 1 / K)
    by_mass = masses.argmax(0)
    if method == "mass" or (method == "auto" and costs is None and not masses_are_flat(masses)):
        return by_mass
    embedded = _leading(total, K)
    spectral: Ints = KMeans(K, n_init=10, random_state=random_state).fit_predict(embedded).astype(int)
    if costs is None:
        return spectral
    spectral = match_clusters(costs, spectral)
    better = method == "spectral" or labelling_cost(costs, spectral) < labelling_cost(costs, by_mass)
    return spectral if better else by_mass


def misclustering_error(labels: ArrayLike, truth: ArrayLike) -> float:
    """Share of rows in the wrong cluster under the best matching of names (Hungarian algorithm).

    Parameters
    ----------
    labels, truth : array_like of shape (n,)
        Any hashable names; numbers of clusters may differ.

    Raises
    ------
    ValueError
        For arrays of unequal length or no rows.
    """
    a, b = np.asarray(labels), np.asarray(truth)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise ValueError(f"labels and truth must be two equal lengths, got shapes {a.shape} and {b.shape}")
    a, b = np.unique(a, return_inverse=True)[1], np.unique(b, return_inverse=True)[1]
    table = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(table, (a, b), 1)
    rows, columns = linear_sum_assignment(table, maximize=True)
    return float(1 - table[rows, columns].sum() / len(a))
