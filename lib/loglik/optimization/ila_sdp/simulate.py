"""Gaussian mixtures whose clusters differ in shape, with their true labels and covariances."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from loglik.optimization.ila_sdp.inputs import Floats, Ints


class Draw(NamedTuple):
    """Data sets from one design, the first axis (or none for a single one) counting them."""

    X: Floats  # (..., n, p)
    labels: Ints  # (n,) true, balanced
    means: Floats  # (K, p)
    covariances: Floats  # (K, p, p)

    def bayes_labels(self) -> Ints:
        """The rule that knows every parameter: the most likely component of each row, (..., n)."""
        white = np.linalg.inv(np.linalg.cholesky(self.covariances))
        gaps = self.X[..., None, :, :] - self.means[:, None, :]
        squares = ((gaps @ white.swapaxes(-1, -2)) ** 2).sum(-1)
        scores = squares + np.linalg.slogdet(self.covariances)[1][:, None]
        return np.asarray(scores.argmin(-2), dtype=int)


def gaussian_mixture(
    means: Floats, covariances: Floats, n: int, rng: np.random.Generator, size: tuple[int, ...] = ()
) -> Draw:
    """Balanced draws from given components: row i belongs to component i mod K."""
    labels = np.arange(n) % len(means)
    noise = rng.normal(size=(*size, n, means.shape[1]))
    roots = np.linalg.cholesky(covariances)[labels]
    X = means[labels] + np.einsum("npq,...nq->...np", roots, noise)
    return Draw(X, labels, means, covariances)


def stretched_gmm(
    n: int,
    n_clusters: int,
    p: int,
    separation: float,
    ratio: float,
    rng: np.random.Generator,
    size: tuple[int, ...] = (),
) -> Draw:
    r"""Clusters with the same distance between all centres, each stretched along another axis.

    Centre k is :math:`(\text{separation}/\sqrt2)e_k`; cluster k has standard deviation `ratio` along axis
    (k + 1) mod K and one along all others. K-means cuts the long clusters.

    Raises
    ------
    ValueError
        When p is below K: the centres need K axes.
    """
    if p < n_clusters:
        raise ValueError(f"{n_clusters} centres on axes of their own need p >= {n_clusters}, got p={p}")
    axes = np.arange(n_clusters)
    means = np.zeros((n_clusters, p))
    means[axes, axes] = separation / np.sqrt(2)
    scales = np.ones((n_clusters, p))
    scales[axes, (axes + 1) % n_clusters] = ratio
    return gaussian_mixture(means, scales[:, :, None] ** 2 * np.eye(p), n, rng, size)


def crossing_gmm(n: int, rng: np.random.Generator, size: tuple[int, ...] = ()) -> Draw:
    """Three long thin clusters in the plane, each in another direction: the picture of the shape problem."""
    means = np.array([[0.0, 0.0], [5.0, 4.2], [10.0, -1.0]])
    angles, long, short = np.deg2rad([70.0, 0.0, 110.0]), 3.4, 0.35
    turn = np.stack([[np.cos(angles), -np.sin(angles)], [np.sin(angles), np.cos(angles)]]).transpose(2, 0, 1)
    covariances = turn @ np.diag([long**2, short**2]) @ turn.swapaxes(-1, -2)
    return gaussian_mixture(means, covariances, n, rng, size)


def adversarial_gmm(n: int, rng: np.random.Generator, size: tuple[int, ...] = ()) -> Draw:
    """Three isotropic clusters, two of them close together and one far away (C3).

    A start with two centroids in the far cluster is a local maximum that EM can't leave.
    """
    means = np.array([[0.0, 0.0], [6.0, 0.0], [60.0, 0.0]])
    return gaussian_mixture(means, np.repeat(np.eye(2)[None], 3, axis=0), n, rng, size)


def nested_gmm(n: int, rng: np.random.Generator, size: tuple[int, ...] = ()) -> Draw:
    """A tight cluster beside a wide one (standard deviations 1 and 5): what the log-determinant is for."""
    means = np.array([[0.0, 0.0], [7.0, 0.0]])
    return gaussian_mixture(means, np.stack([np.eye(2), 25 * np.eye(2)]), n, rng, size)


def threshold(n: int, n_clusters: int, p: int, sigma: float = 1.0) -> float:
    r"""Separation at which exact recovery of an isotropic balanced mixture becomes possible (Chen and Yang, 2021).

    :math:`\bar\Delta^2=4\sigma^2\big(1+\sqrt{1+Kp/(n\log n)}\big)\log n`, as recalled; the chapter tests it.
    """
    log_n = np.log(n)
    return float(2 * sigma * np.sqrt((1 + np.sqrt(1 + n_clusters * p / (n * log_n))) * log_n))


def pair_gmm(
    n: int,
    p: int,
    separation: float,
    rng: np.random.Generator,
    size: tuple[int, ...] = (),
    *,
    ratio: float = 1.0,
) -> Draw:
    r"""Two clusters for recovery curves (C4, C5): centres on two axes, `separation` apart.

    `ratio` of 1 gives two isotropic clusters. Otherwise the covariances are
    :math:`\operatorname{diag}(1,1,r,1/\sqrt r,1,\dots)` and the same with axes 3 and 4
    swapped (p of at least 4): along the line between the centres both keep variance one, so the separation is
    also the Mahalanobis one.
    """
    means = np.zeros((2, p))
    means[[0, 1], [0, 1]] = separation / np.sqrt(2)
    covariances = np.repeat(np.eye(p)[None], 2, axis=0)
    if ratio != 1:
        covariances[0, [2, 3], [2, 3]] = ratio, ratio**-0.5
        covariances[1, [2, 3], [2, 3]] = ratio**-0.5, ratio
    return gaussian_mixture(means, covariances, n, rng, size)
