"""The three laws of the chapter."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from loglik.information.unsupervised_pretraining.checks import (
    Floats,
    Ints,
    binary,
    matrix,
    number,
    share,
    vector,
    whole,
)


class Draw(NamedTuple):
    """Rows with their target and what generated them."""

    X: Floats  # (n, d)
    y: Floats  # (n,)
    z: Floats  # (n, r) factors, or (n,) cluster numbers


class Pairs(NamedTuple):
    """Pairs of rows with what a contrastive learner sees."""

    X: Floats  # (m, d)
    X_pair: Floats  # (m, d)
    t: Ints  # (m,) 1 where the pair belongs together


def orthonormal_loadings(d: int, strengths: ArrayLike, rng: np.random.Generator | None = None) -> Floats:
    """Loadings (d, r) with orthogonal columns of length `strengths`; turned at random if `rng` is given.

    Raises
    ------
    ValueError
        For d not above r, or strengths that aren't above 0.
    """
    sigma = vector("strengths", strengths)
    if whole("d", d) <= len(sigma) or (sigma <= 0).any():
        raise ValueError(
            f"d must exceed the {len(sigma)} strengths, which must be above 0; got d={d}, {sigma}"
        )
    if rng is None:
        return np.asarray(np.eye(d)[:, : len(sigma)] * sigma)
    return np.asarray(np.linalg.qr(rng.normal(size=(d, len(sigma))))[0] * sigma)


def simulate_factor(
    n: int, loadings: ArrayLike, beta: ArrayLike, eps: float, rng: np.random.Generator
) -> Draw:
    """X = Bz + μ with z ~ N(0, I_r), μ ~ N(0, I_d), and y = βᵀz + N(0, ε²). No means, no intercept."""
    B = matrix("loadings", loadings)
    coefs, noise = vector("beta", beta, B.shape[1]), number("eps", eps)
    z = rng.normal(size=(whole("n", n), B.shape[1]))
    X = z @ B.T + rng.normal(size=(n, len(B)))
    return Draw(X, z @ coefs + noise * rng.normal(size=n), z)


def simulate_gmm(n: int, centers: ArrayLike, labels: ArrayLike, rho: float, rng: np.random.Generator) -> Draw:
    """Z uniform on K clusters, x|z ~ N(u_z, I), and y the cluster's label, flipped with probability ρ."""
    u = matrix("centers", centers)
    names, flips = binary("labels", labels, len(u)), share("rho", rho, 0.5)
    z = rng.integers(len(u), size=whole("n", n))
    X = u[z] + rng.normal(size=(n, u.shape[1]))
    return Draw(X, (names[z] ^ (rng.random(n) < flips)).astype(float), z.astype(float))


def gmm_posterior(X: Floats, centers: Floats, labels: ArrayLike, rho: float) -> Floats:
    """P(y = 1 | x) (n,) under :func:`simulate_gmm`."""
    from loglik.information.unsupervised_pretraining.em import cluster_logits, responsibilities

    eta = np.asarray(labels, dtype=float) @ responsibilities(cluster_logits(X, centers))[0]
    return np.asarray(rho + (1 - 2 * rho) * eta)


def simulate_contrastive(
    m: int, feature: ArrayLike | Callable[[Floats], Floats], d: int, rng: np.random.Generator
) -> Pairs:
    """Independent x, x' ~ N(0, I_d) and t with P(t=1) = σ(f(x)ᵀf(x')).

    Parameters
    ----------
    m : int
        Pairs.
    feature : array of shape (r, d) or callable
        Linear features, or f from (m, d) to (m, r).
    d : int
    rng : numpy.random.Generator
    """
    X, X_pair = rng.normal(size=(2, whole("m", m), whole("d", d)))
    if callable(feature):
        left, right = feature(X), feature(X_pair)
    else:
        W = matrix("feature", feature, d)
        left, right = X @ W.T, X_pair @ W.T
    return Pairs(X, X_pair, (rng.random(m) < expit((left * right).sum(1))).astype(np.int64))
