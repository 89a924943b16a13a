"""Exact answers: Kalman and Rauch–Tung–Striebel, and enumeration of small finite models. NumPy, double precision."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from loglik.sampling.parisian_particle_gibbs.gaussian import LinearGaussianModel
from loglik.sampling.parisian_particle_gibbs.models import FiniteHMM
from loglik.sampling.parisian_particle_gibbs.protocol import Functional, Pair

Floats = NDArray[np.float64]


class Smoothed(NamedTuple):
    """Exact smoothing of a linear Gaussian model; leading axes are those of the model's parameters."""

    loglik: Floats  # (...)
    means: Floats  # (..., T, d)
    covs: Floats  # (..., T, d, d)
    lag_one_covs: Floats  # (..., T-1, d, d) Cov(x_{t+1}, x_t | y)
    filter_means: Floats  # (..., T, d)
    filter_covs: Floats  # (..., T, d, d)
    gains: Floats  # (..., T-1, d, d) of the backward pass


def _t(matrix: NDArray[Any]) -> Floats:
    return np.swapaxes(matrix, -1, -2)


def _fields(model: LinearGaussianModel) -> list[Floats]:
    return [np.asarray(f, dtype=float) for f in (model.A, model.B, model.Q, model.R, model.m0, model.P0)]


def kalman_filter(model: LinearGaussianModel, y: ArrayLike) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Kalman filter: log-likelihood, filtered means and covariances, and the last two predicted one step ahead.

    Parameters
    ----------
    model : LinearGaussianModel
        Its fields may carry leading axes: many parameters are then filtered at once.
    y : array_like of shape (T,) or (T, p)
    """
    A, B, Q, R, m, P = _fields(model)
    table = np.asarray(y, dtype=float).reshape(len(np.asarray(y)), -1)
    lead = np.broadcast_shapes(*(f.shape[:-2] for f in (A, B, Q, R, P)), m.shape[:-1])
    m, P = np.broadcast_to(m, (*lead, m.shape[-1])), np.broadcast_to(P, (*lead, *P.shape[-2:]))
    eye, loglik = np.eye(A.shape[-1]), np.zeros(lead)
    means, covs, predicted_means, predicted_covs = [], [], [], []
    for t, row in enumerate(table):
        if t:
            m, P = (A @ m[..., None])[..., 0], A @ P @ _t(A) + Q
        predicted_means.append(m)
        predicted_covs.append(P)
        S, gap = B @ P @ _t(B) + R, row - (B @ m[..., None])[..., 0]
        K = _t(np.linalg.solve(S, B @ P))
        whitened = np.linalg.solve(S, gap[..., None])[..., 0]
        loglik = loglik - 0.5 * (
            (gap * whitened).sum(-1) + np.linalg.slogdet(S)[1] + gap.shape[-1] * np.log(2 * np.pi)
        )
        m = m + (K @ gap[..., None])[..., 0]
        left = eye - K @ B
        P = left @ P @ _t(left) + K @ R @ _t(K)  # Joseph's form stays symmetric
        means.append(m)
        covs.append(P)
    stacked = (np.stack(s, -2) for s in (means, predicted_means))
    stacked_covs = (np.stack(s, -3) for s in (covs, predicted_covs))
    (fm, pm), (fc, pc) = stacked, stacked_covs
    return loglik, fm, fc, pm, pc


def kalman_loglik(model: LinearGaussianModel, y: ArrayLike) -> Floats:
    """Exact log-likelihood, one value for each leading index of the model's parameters."""
    return kalman_filter(model, y)[0]


def kalman_smoother(model: LinearGaussianModel, y: ArrayLike) -> Smoothed:
    """Rauch–Tung–Striebel smoother with lag-one covariances; see :class:`Smoothed`."""
    A = np.asarray(model.A, dtype=float)
    loglik, fm, fc, pm, pc = kalman_filter(model, y)
    steps = fm.shape[-2]
    means, covs, lags, gains = [fm[..., -1, :]], [fc[..., -1, :, :]], [], []
    for t in range(steps - 2, -1, -1):
        G = _t(np.linalg.solve(pc[..., t + 1, :, :], A @ fc[..., t, :, :]))
        change = means[-1] - pm[..., t + 1, :]
        lags.append(covs[-1] @ _t(G))
        means.append(fm[..., t, :] + (G @ change[..., None])[..., 0])
        covs.append(fc[..., t, :, :] + G @ (covs[-1] - pc[..., t + 1, :, :]) @ _t(G))
        gains.append(G)
    smoothed_covs, lag_one, backward_gains = (np.stack(s[::-1], -3) for s in (covs, lags, gains))
    return Smoothed(loglik, np.stack(means[::-1], -2), smoothed_covs, lag_one, fm, fc, backward_gains)


def exact_additive(model: LinearGaussianModel, y: ArrayLike, kind: str) -> Floats:
    """Exact smoothed expectation of an additive functional, shape (H,).

    Parameters
    ----------
    kind : {"cross", "statistics"}
        ``Σ x_t · x_{t+1}``, or :meth:`LinearGaussianModel.score_statistics`.

    Raises
    ------
    ValueError
        For another kind.
    """
    s = kalman_smoother(model, y)
    m, table = s.means, np.asarray(y, dtype=float).reshape(len(s.means), -1)
    moments = s.covs + m[:, :, None] * m[:, None, :]
    cross = s.lag_one_covs + m[1:, :, None] * m[:-1, None, :]
    if kind == "cross":
        return np.array([np.trace(cross.sum(0))])
    if kind != "statistics":
        raise ValueError(f"unknown kind {kind!r}; allowed: cross, statistics")
    seen = table[:, :, None] * m[:, None, :]
    parts = (
        moments[:-1].sum(0),
        cross.sum(0),
        moments[1:].sum(0),
        seen[1:].sum(0),
        seen[0],
        moments[0],
        m[0],
    )
    return np.concatenate([part.ravel() for part in parts])


def posterior_paths(model: LinearGaussianModel, y: ArrayLike, n: int, rng: np.random.Generator) -> Floats:
    """`n` exact draws of the whole path given `y`, shape (n, T, d), by backward sampling."""
    s = kalman_smoother(model, y)
    steps, d = s.means.shape
    A, P = np.asarray(model.A, dtype=float), s.filter_covs
    paths = np.empty((n, steps, d))
    noise = rng.standard_normal((steps, n, d))
    paths[:, -1] = s.filter_means[-1] + noise[-1] @ np.linalg.cholesky(P[-1]).T
    for t in range(steps - 2, -1, -1):
        G = s.gains[t]
        left = P[t] - G @ A @ P[t]
        mean = s.filter_means[t] + (paths[:, t + 1] - s.filter_means[t] @ A.T) @ G.T
        paths[:, t] = mean + noise[t] @ np.linalg.cholesky((left + left.T) / 2).T
    return paths


def volatility_loglik(mu: float, phi: float, sigma: float, y: ArrayLike, n_grid: int = 301) -> float:
    """Log-likelihood of :class:`StochasticVolatility` by the filter on a grid of the one-dimensional state.

    Parameters
    ----------
    mu, phi, sigma : float
        Mean, persistence and volatility of the log variance.
    y : array_like of shape (T,)
        Returns.
    n_grid : int
        Points over six stationary standard deviations on each side. With 301 the error on daily exchange rates
        is below 1e-6 as long as sigma is wider than the grid's steps.
    """
    sd = sigma / np.sqrt(1 - phi**2)
    grid = np.linspace(-6, 6, n_grid) * sd
    move = np.exp(-0.5 * ((grid[None] - phi * grid[:, None]) / sigma) ** 2)
    move /= move.sum(1, keepdims=True)
    law, x = np.exp(-0.5 * (grid / sd) ** 2), mu + grid
    law /= law.sum()
    table = np.asarray(y, dtype=float).ravel()
    seen = np.exp(-0.5 * (x + table[:, None] ** 2 * np.exp(-x) + np.log(2 * np.pi)))
    total = 0.0
    for t, likelihood in enumerate(seen):
        law = (law @ move if t else law) * likelihood
        total += float(np.log(law.sum()))
        law = law / law.sum()
    return total


# -- finite models -----------------------------------------------------------------------------------------


class Enumeration(NamedTuple):
    """One conditional sweep on a finite model, exactly."""

    paths: NDArray[np.int64]  # (S^T, T) all paths
    posterior: Floats  # (S^T,) smoothing distribution phi
    kernel: Floats  # (S^T, S^T) law of the new path given the reference
    functional: Floats  # (S^T, H) the functional of each path

    @property
    def expected_estimate(self) -> Floats:
        """E[estimate | reference], (S^T, H): given the cloud, the estimate's mean is that of the new path's h."""
        return self.kernel @ self.functional

    @property
    def second_eigenvalue(self) -> float:
        """Modulus of the kernel's second eigenvalue: the rate at which a sweep forgets."""
        return float(np.sort(np.abs(np.linalg.eigvals(self.kernel)))[-2])


def enumerate_sweep(model: FiniteHMM, y: ArrayLike, h: Functional, n_particles: int = 2) -> Enumeration:
    """Sum over all clouds and all backward choices of one conditional sweep.

    Parameters
    ----------
    model : FiniteHMM
        S states.
    y : array_like of shape (T,)
        Symbols.
    h : callable
        The additive functional.
    n_particles : int
        N; there are ``S^(T N)`` clouds, so keep all three small.

    Raises
    ------
    ValueError
        For more than two million clouds.
    """
    pi, P, E = (np.asarray(f, dtype=float) for f in (model.pi, model.P, model.emission))
    symbols, S, T, N = np.asarray(y, dtype=int).ravel(), len(pi), np.size(y), n_particles
    if S ** (T * N) > 2_000_000:
        raise ValueError(f"S^(T N) = {S}^{T * N} clouds are too many to enumerate; at most 2,000,000")
    paths = np.array(list(itertools.product(range(S), repeat=T)))
    g = E[:, symbols].T  # (T, S)
    joint = pi[paths[:, 0]] * P[paths[:, :-1], paths[:, 1:]].prod(1)
    joint = joint * g[np.arange(T), paths].prod(1)
    free = np.array(list(itertools.product(range(len(paths)), repeat=N - 1))).reshape(-1, N - 1)
    clouds = np.stack([np.broadcast_to(paths[:, None], (len(paths), len(free), T))]
                      + [np.broadcast_to(paths[free[:, i]][None], (len(paths), len(free), T)) for i in range(N - 1)],
                      axis=-2)  # fmt: skip
    kernel = _path_law(clouds, paths, *_cloud_law(clouds, pi, P, g), P, len(paths))
    return Enumeration(paths, joint / joint.sum(), kernel, _along(h, paths, symbols))


def _cloud_law(clouds: NDArray[Any], pi: Floats, P: Floats, g: Floats) -> tuple[Floats, Floats]:
    """Probability of the free particles of each cloud (refs, free), and normalised weights (..., N, T)."""
    T = clouds.shape[-1]
    w = g[np.arange(T), clouds]
    w = w / w.sum(-2, keepdims=True)
    law = pi[clouds[..., 1:, 0]].prod(-1)
    for t in range(T - 1):
        step = P[clouds[..., None, :, t], clouds[..., 1:, None, t + 1]]  # (..., child, parent)
        law = law * (step * w[..., None, :, t]).sum(-1).prod(-1)
    return law, w


def _path_law(
    clouds: NDArray[Any], paths: NDArray[Any], law: Floats, w: Floats, P: Floats, size: int
) -> Floats:
    """Law of the path traced back, summed over clouds: (S^T references, S^T new paths)."""
    N, T = clouds.shape[-2:]
    powers = paths.max() + 1
    kernel = np.zeros((size, size))
    for index in itertools.product(range(N), repeat=T):
        chance, code = law * w[..., index[-1], -1], np.zeros(clouds.shape[:2], dtype=int)
        for t in range(T - 1):
            back = w[..., t] * P[clouds[..., t], clouds[..., index[t + 1], t + 1][..., None]]
            chance = chance * back[..., index[t]] / back.sum(-1)
        for t in range(T):
            code = code * powers + clouds[..., index[t], t]
        np.add.at(kernel, (np.arange(size)[:, None], code), chance)
    return kernel


def _along(h: Functional, paths: NDArray[Any], symbols: NDArray[Any]) -> Floats:
    with jax.enable_x64(True):
        x, y = jnp.asarray(paths, float)[..., None], jnp.asarray(symbols, float)[:, None]
        steps = range(len(symbols) - 1)
        terms = [h(Pair(jnp.asarray(t), x[:, t], x[:, t + 1], y[t], y[t + 1])) for t in steps]
        return np.asarray(sum(terms), dtype=float)
