"""Families on the line and the multivariate normal family, each given by ξ and Ψ."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from loglik.information.pn_criterion.base import ExponentialFamily, FitResult, Floats, positive_definite


def _column(x: ArrayLike, name: str, lowest: float, *, strict: bool = False, whole: bool = False) -> Floats:
    values = np.asarray(x, dtype=float)
    values = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError(
            f"{name} takes one column of finite numbers, got shape {np.shape(x)} or a missing value"
        )
    if (values < lowest).any() or (strict and (values <= lowest).any()):
        raise ValueError(
            f"{name} takes values {'>' if strict else '>='} {lowest:g}, the smallest given is {values.min():g}"
        )
    if whole and (values != np.round(values)).any():
        raise ValueError(f"{name} takes counts, got {values[values != np.round(values)][0]:g}")
    return values


class PoissonFamily(ExponentialFamily):
    """Counts: ξ = x, Ψ = exp θ."""

    p = 1

    def suff_stat(self, x: ArrayLike) -> Floats:
        """The counts, shape (N, 1)."""
        return _column(x, "PoissonFamily", 0, whole=True)[:, None]

    def log_partition(self, theta: Any) -> Any:
        """The rate, exp θ."""
        return jnp.exp(theta[0])

    def start(self, eta: Floats) -> Floats:
        """The MLE itself."""
        return np.log(eta)

    def interior(self, eta: Floats) -> Any:
        """A positive mean; a sample of zeros has no MLE."""
        return eta[..., 0] > 0

    def sample(self, theta: ArrayLike, n: int, rng: np.random.Generator) -> Floats:
        """Poisson draws."""
        return rng.poisson(np.exp(np.asarray(theta)[0]), n).astype(float)

    def quadrature(self, theta: ArrayLike) -> tuple[Floats, Floats]:
        """The counts that have any weight in double precision."""
        rate = float(np.exp(np.asarray(theta)[0]))
        x = np.arange(int(rate + 40 * np.sqrt(rate) + 60), dtype=float)
        return x[:, None], stats.poisson.pmf(x, rate)


class ExponentialDistribution(ExponentialFamily):
    """Waiting times: ξ = x, Ψ = −log(−θ), θ the negative rate."""

    p = 1

    def suff_stat(self, x: ArrayLike) -> Floats:
        """The times, shape (N, 1)."""
        return _column(x, "ExponentialDistribution", 0)[:, None]

    def log_partition(self, theta: Any) -> Any:
        """Log of the mean."""
        return -jnp.log(-theta[0])

    def start(self, eta: Floats) -> Floats:
        """The MLE itself."""
        return -1.0 / eta

    def interior(self, eta: Floats) -> Any:
        """A positive mean."""
        return eta[..., 0] > 0

    def sample(self, theta: ArrayLike, n: int, rng: np.random.Generator) -> Floats:
        """Exponential draws."""
        return rng.exponential(-1.0 / np.asarray(theta)[0], n)

    def quadrature(self, theta: ArrayLike) -> tuple[Floats, Floats]:
        """Gauss–Laguerre nodes."""
        nodes, weights = special.roots_laguerre(8)
        return nodes[:, None] / -np.asarray(theta)[0], weights


class GammaFamily(ExponentialFamily):
    """Positive numbers: ξ = (log x, x) with respect to dx/x, θ = (shape, −rate)."""

    p = 2

    def suff_stat(self, x: ArrayLike) -> Floats:
        """Logarithm and value, shape (N, 2)."""
        values = _column(x, "GammaFamily", 0, strict=True)
        return np.column_stack([np.log(values), values])

    def log_partition(self, theta: Any) -> Any:
        """The log-gamma function and a scale."""
        return jax.scipy.special.gammaln(theta[0]) - theta[0] * jnp.log(-theta[1])

    def start(self, eta: Floats) -> Floats:
        """Minka's starting value for the shape, and the rate that fits the mean."""
        gap = np.log(eta[..., 1]) - eta[..., 0]
        shape = (3 - gap + np.sqrt((gap - 3) ** 2 + 24 * gap)) / (12 * gap)
        return np.stack([shape, -shape / eta[..., 1]], axis=-1)

    def interior(self, eta: Floats) -> Any:
        """Jensen's inequality, strictly: the values are not all equal."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.log(eta[..., 1]) - eta[..., 0] > 1e-12

    def sample(self, theta: ArrayLike, n: int, rng: np.random.Generator) -> Floats:
        """Gamma draws."""
        shape, rate = np.asarray(theta)[0], -np.asarray(theta)[1]
        return rng.gamma(shape, 1 / rate, n)

    def normalise(self, x: ArrayLike) -> Floats:
        """Divided by the mean."""
        values = _column(x, "GammaFamily", 0, strict=True)
        return values / values.mean()

    def names(self) -> tuple[str, ...]:
        """Both statistics."""
        return ("log x", "x")


@jax.custom_jvp
def _inverse(matrix: Any) -> Any:
    return jnp.linalg.inv(matrix)


@_inverse.defjvp
def _(primals: Any, tangents: Any) -> Any:
    found = _inverse(primals[0])
    return found, -found @ tangents[0] @ found


@jax.custom_jvp
def _log_det(matrix: Any) -> Any:
    sign, value = jnp.linalg.slogdet(matrix)
    return jnp.where(sign > 0, value, jnp.nan)


@_log_det.defjvp
def _(primals: Any, tangents: Any) -> Any:
    return _log_det(primals[0]), jnp.sum(_inverse(primals[0]).T * tangents[0])


class GaussianFamily(ExponentialFamily):
    """Normal vectors: ξ = (x_i; x_i x_j for i ≤ j), or only the products of chosen pairs.

    Parameters
    ----------
    d : int
        Variables.
    edges : sequence of (int, int), optional
        Pairs i < j whose product is a statistic: the edges of a Gaussian graphical model. All pairs by default
        (p = d(d+3)/2); an empty sequence makes the variables independent (p = 2d). Without an edge the partial
        correlation of the pair is zero.

    Raises
    ------
    ValueError
        For d below 1, or an edge that is not a pair of different variables.

    Notes
    -----
    The derivatives of inverse and log-determinant are given to JAX as matrix products: differentiating a Cholesky
    factor four times compiles for minutes.
    """

    def __init__(self, d: int, edges: Sequence[tuple[int, int]] | None = None) -> None:
        if d < 1:
            raise ValueError(f"GaussianFamily needs d >= 1 variables, got {d}")
        self.d, self.full = d, edges is None
        pairs = (
            [(i, j) for i in range(d) for j in range(i, d)]
            if edges is None
            else sorted({(i, i) for i in range(d)} | {(int(i), int(j)) for i, j in edges})
        )
        bad = [pair for pair in pairs if not 0 <= pair[0] <= pair[1] < d]
        if bad:
            raise ValueError(f"edges are pairs i < j of variables 0..{d - 1}, got {bad[0]}")
        self.rows, self.columns = np.array(pairs).T
        self.p = d + len(pairs)

    def suff_stat(self, x: ArrayLike) -> Floats:
        """Values and chosen products, shape (N, p)."""
        values = np.asarray(x, dtype=float)
        values = values[:, None] if values.ndim == 1 else values
        if values.ndim != 2 or values.shape[1] != self.d or not np.isfinite(values).all():
            raise ValueError(
                f"GaussianFamily({self.d}) takes finite rows of {self.d} numbers, got shape {np.shape(x)}"
            )
        return np.concatenate([values, values[:, self.rows] * values[:, self.columns]], axis=1)

    def log_partition(self, theta: Any) -> Any:
        """½ aᵀP⁻¹a − ½ log det P without the constant, P the precision matrix."""
        half = jnp.zeros((self.d, self.d)).at[self.rows, self.columns].set(theta[self.d :])
        precision = -(half + half.T)
        linear = theta[: self.d]
        return 0.5 * linear @ _inverse(precision) @ linear - 0.5 * _log_det(precision)

    def log_partitions(self, thetas: ArrayLike) -> Floats:
        """Ψ of every row, without JAX."""
        parameters = np.asarray(thetas, dtype=float)
        linear = parameters[:, : self.d]
        half = np.zeros((len(parameters), self.d, self.d))
        half[:, self.rows, self.columns] = parameters[:, self.d :]
        precision = -(half + half.transpose(0, 2, 1))
        solved = np.linalg.solve(precision, linear[:, :, None])[:, :, 0]
        return 0.5 * np.einsum("rd,rd->r", linear, solved) - 0.5 * np.linalg.slogdet(precision)[1]

    def fit_batch(
        self, etas: ArrayLike, theta0: ArrayLike | None = None, tol: float = 1e-10, max_iter: int = 100
    ) -> FitResult:
        """Closed form for the full family, Newton steps otherwise."""
        if not self.full:
            return super().fit_batch(etas, theta0, tol, max_iter)
        means = np.asarray(etas, dtype=float)
        inside = np.asarray(self.interior(means))
        covariance = np.where(inside[:, None, None], self._covariance(means), np.eye(self.d))
        precision = np.linalg.inv(covariance)
        theta = self._natural(means[:, : self.d], precision)
        return FitResult(np.where(inside[:, None], theta, np.nan), inside, ~inside)

    def start(self, eta: Floats) -> Floats:
        """Independent variables with the right means and variances."""
        mean = eta[..., : self.d]
        variance = eta[..., self.d :][..., self.rows == self.columns] - mean**2
        precision = np.eye(self.d) / variance[..., None]
        return self._natural(mean, precision)

    def interior(self, eta: Floats) -> Any:
        """A positive definite covariance (full), positive variances (otherwise: the fit itself tells)."""
        if self.full:
            return np.isfinite(eta).all(-1) & positive_definite(
                np.nan_to_num(self._covariance(eta), nan=-1.0) - 1e-12 * np.eye(self.d)
            )
        return (eta[..., self.d :][..., self.rows == self.columns] > eta[..., : self.d] ** 2).all(-1)

    def sample(self, theta: ArrayLike, n: int, rng: np.random.Generator) -> Floats:
        """Normal draws, shape (n, d)."""
        parameter = np.asarray(theta, dtype=float)
        covariance = np.linalg.inv(self.precision(parameter))
        return rng.multivariate_normal(covariance @ parameter[: self.d], covariance, n, method="cholesky")

    def precision(self, theta: ArrayLike) -> Floats:
        """Precision matrix of θ, shape (d, d)."""
        half = np.zeros((self.d, self.d))
        half[self.rows, self.columns] = np.asarray(theta)[self.d :]
        return -(half + half.T)

    def quadrature(self, theta: ArrayLike) -> tuple[Floats, Floats]:
        """Gauss–Hermite nodes, five an axis: exact to degree nine, and ξ to the fourth power has degree eight."""
        if self.d > 6:
            raise NotImplementedError(
                f"5^{self.d} nodes are too many; automatic differentiation is exact for any d"
            )
        nodes, weights = special.roots_hermitenorm(5)
        grid = np.array(list(product(nodes, repeat=self.d)))
        mass = np.array(list(product(weights / weights.sum(), repeat=self.d))).prod(1)
        parameter = np.asarray(theta, dtype=float)
        covariance = np.linalg.inv(self.precision(parameter))
        x = covariance @ parameter[: self.d] + grid @ np.linalg.cholesky(covariance).T
        return self.suff_stat(x), mass

    def normalise(self, x: ArrayLike) -> Floats:
        """Standardised columns; for the full family rotated and scaled to unit covariance as well."""
        values = np.asarray(x, dtype=float)
        values = values[:, None] if values.ndim == 1 else values
        centred = values - values.mean(0)
        scale = centred.std(0)
        if not (scale > 0).all():
            raise ValueError(
                f"column {int(np.argmin(scale))} is constant: a normal model needs every variance positive"
            )
        standard = centred / scale
        if not self.full:
            return standard
        eigenvalues, vectors = np.linalg.eigh(standard.T @ standard / len(standard))
        if eigenvalues[0] < 1e-10:
            heavy = np.flatnonzero(np.abs(vectors[:, 0]) > 0.1)
            raise ValueError(
                f"columns {heavy.tolist()} are linearly dependent: drop one of them, the covariance has no inverse"
            )
        return standard @ vectors / np.sqrt(eigenvalues)

    def names(self) -> tuple[str, ...]:
        """x1, …, then the products."""
        single = [f"x{i}" for i in range(self.d)]
        return (*single, *(f"x{i}*x{j}" for i, j in zip(self.rows, self.columns, strict=True)))

    def _covariance(self, eta: Floats) -> Floats:
        mean = eta[..., : self.d]
        second = np.zeros((*mean.shape, self.d))
        second[..., self.rows, self.columns] = eta[..., self.d :]
        second[..., self.columns, self.rows] = eta[..., self.d :]
        return second - mean[..., :, None] * mean[..., None, :]

    def _natural(self, mean: Floats, precision: Floats) -> Floats:
        half = np.where(self.rows == self.columns, -0.5, -1.0) * precision[..., self.rows, self.columns]
        return np.concatenate([np.einsum("...ij,...j->...i", precision, mean), half], axis=-1)


@lru_cache(maxsize=32)
def full_normal(d: int) -> GaussianFamily:
    """The full family of `d` variables; one object for all, so that its derivatives compile once."""
    return GaussianFamily(d)
