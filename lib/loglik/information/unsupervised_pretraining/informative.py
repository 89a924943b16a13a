"""The informative constant κ: how much farther apart two models are once the latent variable is seen."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import expm
from scipy.optimize import linear_sum_assignment, minimize
from scipy.special import logsumexp

from loglik.information.unsupervised_pretraining.checks import Floats, matrix, whole

MODELS, METRICS = ("factor", "mixture"), ("hellinger", "tv")


def hellinger_normal(S1: ArrayLike, S2: ArrayLike) -> float:
    r"""Hellinger distance of two normal laws with mean zero.

    :math:`1-H^2=|S_1|^{1/4}|S_2|^{1/4}/|\tfrac12(S_1+S_2)|^{1/2}`, through log-determinants and ``expm1``, so
    that tiny distances keep their digits.

    Raises
    ------
    ValueError
        For matrices of other shapes, or not positive definite.
    """
    a, b = matrix("S1", S1), matrix("S2", S2)
    if a.shape != b.shape or a.shape[0] != a.shape[1]:
        raise ValueError(f"S1 and S2 must be square and alike, got {a.shape} and {b.shape}")
    signs, logs = zip(*(np.linalg.slogdet(S) for S in (a, b, (a + b) / 2)), strict=True)
    if min(signs) <= 0:
        raise ValueError("S1 and S2 must be positive definite")
    return float(np.sqrt(max(-np.expm1(logs[0] / 4 + logs[1] / 4 - logs[2] / 2), 0.0)))


def factor_covariances(loadings: Floats) -> tuple[Floats, Floats]:
    """Covariances of x, and of (x, z), under a factor model with unit noise."""
    d, r = loadings.shape
    observed = loadings @ loadings.T + np.eye(d)
    return observed, np.block([[observed, loadings], [loadings.T, np.eye(r)]])


def best_rotation(loadings: Floats, star: Floats) -> Floats:
    """Orthogonal (r, r) matrix O that brings ``loadings @ O`` closest to `star` (Procrustes)."""
    left, _, right = np.linalg.svd(loadings.T @ star)
    return np.asarray(left @ right)


def _factor_hellinger(params: Floats, star: Floats) -> tuple[float, float]:
    """Hellinger distances of x and of (x, z), the second minimised over rotations of the factors."""
    r = params.shape[1]
    start, target = best_rotation(params, star), factor_covariances(star)
    upper = np.triu_indices(r, 1)

    def joint(angles: Floats) -> float:
        skew = np.zeros((r, r))
        skew[upper] = angles
        turned = params @ start @ expm(skew - skew.T)
        return hellinger_normal(factor_covariances(turned)[1], target[1])

    observed = hellinger_normal(factor_covariances(params)[0], target[0])
    if r == 1:
        return observed, joint(np.zeros(0))
    found = minimize(
        joint, np.zeros(len(upper[0])), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-14}
    )
    return observed, min(float(found.fun), joint(np.zeros(len(upper[0]))))


def _factor_tv(params: Floats, star: Floats, n_mc: int, rng: np.random.Generator) -> tuple[float, float]:
    """Total variations by Monte Carlo at the Procrustes rotation (biased upwards below about 0.01)."""
    turned = params @ best_rotation(params, star)
    pairs = zip(factor_covariances(turned), factor_covariances(star), strict=True)
    observed, joint = (_tv_normal(S1, S2, n_mc, rng) for S1, S2 in pairs)
    return observed, joint


def _tv_normal(S1: Floats, S2: Floats, n_mc: int, rng: np.random.Generator) -> float:
    x = rng.normal(size=(n_mc, len(S1))) @ np.linalg.cholesky(S2).T
    precision = np.linalg.inv(S2) - np.linalg.inv(S1)
    shift = 0.5 * (np.linalg.slogdet(S2)[1] - np.linalg.slogdet(S1)[1])
    ratio = np.exp(shift + 0.5 * np.einsum("nd,de,ne->n", x, precision, x))
    return float(np.maximum(1 - ratio, 0).mean())


def match_centers(centers: Floats, star: Floats) -> np.ndarray:
    """Order (..., K) of `centers` (..., K, d) that brings them closest to `star` (K, d)."""
    batch = centers.reshape(-1, *centers.shape[-2:])
    cost = ((batch[:, None] - star[None, :, None]) ** 2).sum(-1)
    return np.array([linear_sum_assignment(c)[1] for c in cost]).reshape(centers.shape[:-1])


def _log_density(x: Floats, centers: Floats) -> Floats:
    """Log-density of an equal mixture of unit normals, up to its constant."""
    logits = x @ centers.T - 0.5 * (centers**2).sum(1)
    return np.asarray(logsumexp(logits, axis=1) - 0.5 * (x**2).sum(1) - np.log(len(centers)))


def _mixture_distances(
    params: Floats, star: Floats, metric: str, n_mc: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Distances of x and of (x, z) between mixtures, clusters matched; x by Monte Carlo from their middle."""
    matched, K = params[match_centers(params, star)], len(star)
    which, from_star = rng.integers(K, size=n_mc), rng.random(n_mc) < 0.5
    x = np.where(from_star[:, None], star[which], matched[which]) + rng.normal(size=(n_mc, star.shape[1]))
    ratio = 0.5 * (_log_density(x, matched) - _log_density(x, star))
    half = ((matched - star) ** 2).sum(1)
    if metric == "hellinger":
        observed = float(np.mean(1 - 1 / np.cosh(ratio)))  # (√p−√q)²/(p+q), never negative
        return np.sqrt(observed), float(np.sqrt(np.mean(-np.expm1(-half / 8))))
    from scipy.stats import norm

    return float(np.abs(np.tanh(ratio)).mean()), float(np.mean(2 * norm.cdf(np.sqrt(half) / 2) - 1))


def informative_constant(
    params: ArrayLike,
    params_star: ArrayLike,
    model: str = "factor",
    metric: str = "hellinger",
    *,
    n_mc: int = 100_000,
    rng: np.random.Generator | None = None,
) -> float:
    r"""How informative the observed law is: distance of (x, z) over distance of x, between two models.

    The paper's condition asks :math:`TV(P_{T\phi}(x,z),P_{\phi^*}(x,z))\le\kappa\,TV(P_\phi(x),P_{\phi^*}(x))`
    for some transformation T that the head can undo: rotations of factors, permutations of clusters. A
    model's κ is the largest value of this ratio over `params`.

    Parameters
    ----------
    params, params_star : arrays of shape (d, r), or (K, d)
        Loadings with unit noise (``model="factor"``), or centres of unit normals (``model="mixture"``).
    model : {"factor", "mixture"}
    metric : {"hellinger", "tv"}
        Hellinger is exact for factor models and has the digits for close models; total variation is by
        Monte Carlo and biased below about 0.01.
    n_mc : int
        Draws, where Monte Carlo is used.
    rng : numpy.random.Generator, optional
        Needed where Monte Carlo is used.

    Returns
    -------
    float
        At least 1 up to Monte-Carlo error, because forgetting z can't move laws apart.

    Raises
    ------
    ValueError
        For an unknown model or metric, other shapes, equal models, or a missing `rng`.

    Examples
    --------
    >>> B = np.eye(5)[:, :1]
    >>> round(informative_constant(B + 0.01 * np.eye(5)[:, 1:2], B), 3)  # √(1 + 1)/1
    1.414
    """
    if model not in MODELS or metric not in METRICS:
        raise ValueError(f"model must be in {MODELS} and metric in {METRICS}, got {model!r} and {metric!r}")
    here, star = matrix("params", params), matrix("params_star", params_star)
    if here.shape != star.shape:
        raise ValueError(f"params and params_star must have one shape, got {here.shape} and {star.shape}")
    if rng is None and (model, metric) != ("factor", "hellinger"):
        raise ValueError("this distance is by Monte Carlo: give rng")
    if (model, metric) == ("factor", "hellinger"):
        observed, joint = _factor_hellinger(here, star)
    else:
        assert rng is not None
        whole("n_mc", n_mc)
        if model == "factor":
            observed, joint = _factor_tv(here, star, n_mc, rng)
        else:
            observed, joint = _mixture_distances(here, star, metric, n_mc, rng)
    if observed <= 0:
        raise ValueError("the two models have the same observed law, so their ratio is 0/0")
    return joint / observed
