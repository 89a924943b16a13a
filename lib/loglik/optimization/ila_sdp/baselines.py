"""The rivals, each from scikit-learn with the same ridge on covariances and the same scaling of the data."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.cluster import AgglomerativeClustering, KMeans, SpectralClustering
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from loglik.optimization.ila_sdp.alternation import Shape, start_covariances
from loglik.optimization.ila_sdp.inputs import Floats, Ints


def kmeans_labels(X: Floats, n_clusters: int, seed: int, n_init: int = 10) -> Ints:
    """K-means with k-means++ starts."""
    return np.asarray(KMeans(n_clusters, n_init=n_init, random_state=seed).fit_predict(X), dtype=int)


def lloyd_labels(X: Floats, n_clusters: int, seed: int) -> Ints:
    """K-means from one start at random rows."""
    model = KMeans(n_clusters, init="random", n_init=1, random_state=seed)
    return np.asarray(model.fit_predict(X), dtype=int)


def ward_labels(X: Floats, n_clusters: int) -> Ints:
    """Agglomerative clustering with Ward's linkage."""
    return np.asarray(AgglomerativeClustering(n_clusters).fit_predict(X), dtype=int)


def random_centroid_labels(X: Floats, n_clusters: int, rng: np.random.Generator) -> Ints:
    """Every row with the nearest of K random rows: a random start, the same for all who take labels."""
    chosen = X[rng.choice(len(X), n_clusters, replace=False)]
    labels = ((X[:, None] - chosen) ** 2).sum(-1).argmin(1)
    return np.asarray(labels, dtype=int)


def spectral_labels(X: Floats, n_clusters: int, seed: int, neighbour: int = 7) -> Ints:
    """Self-tuning spectral clustering (Zelnik-Manor and Perona, 2004): each row's scale is its 7th neighbour.

    The scale needs no tuning on a truth that a user doesn't have.
    """
    D = ((X[:, None] - X) ** 2).sum(-1)
    scale = np.sqrt(np.sort(D, axis=1)[:, min(neighbour, len(X) - 1)])
    affinity = np.exp(-D / np.maximum(scale[:, None] * scale, 1e-12))
    model = SpectralClustering(n_clusters, affinity="precomputed", n_init=10, random_state=seed)
    return np.asarray(model.fit_predict(affinity), dtype=int)


def em_labels(
    X: Floats,
    n_clusters: int,
    seed: int,
    *,
    reg: float,
    init: str = "kmeans",
    n_init: int = 1,
    covariance_type: str = "full",
) -> Ints:
    """EM for a Gaussian mixture; `init` is "kmeans" or "random_from_data"."""
    return _predict(
        GaussianMixture(
            n_clusters, covariance_type=covariance_type, reg_covar=reg, init_params=init, n_init=n_init,
            max_iter=300, random_state=seed,
        ),
        X,
    )  # fmt: skip


def em_from_labels(X: Floats, labels: Ints, *, reg: float) -> Ints:
    """EM started at the weights, means and covariances of given labels: the start that iLA-SDP has."""
    K = int(labels.max()) + 1
    member = (labels == np.arange(K)[:, None]).astype(float)
    sigma = start_covariances(X[None], labels[None], K, Shape(reg=reg))[0]
    model = GaussianMixture(
        K, reg_covar=reg, max_iter=300, weights_init=member.mean(1), precisions_init=np.linalg.inv(sigma),
        means_init=member @ X / member.sum(1, keepdims=True), random_state=0,
    )  # fmt: skip
    return _predict(model, X)


def _predict(model: Any, X: Floats) -> Ints:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 300 iterations are EM's, as ours are ours
        return np.asarray(model.fit_predict(X), dtype=int)
