"""What an exponential family is to this chapter: its sufficient statistics and its log-partition function.

Everything that a family does not know in closed form comes from automatic differentiation of
:meth:`ExponentialFamily.log_partition`, so a family of one's own is two methods.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
LogPartition = Callable[[Any], Any]  # JAX-traceable, (p,) -> scalar


class MLENotFound(ValueError):  # noqa: N818 (the name says it)
    """The mean statistics lie on the boundary of what the family can have, so no MLE exists."""


class FitResult(NamedTuple):
    """A fitted natural parameter."""

    theta: Floats  # (p,), or (R, p) of a batch
    converged: Any  # bool, or (R,) bools
    boundary: Any  # bool or (R,) bools: the iteration ran off, as it does when no MLE exists


class ExponentialFamily(ABC):
    """Densities exp(θ·ξ(x) − Ψ(θ)) with respect to a fixed reference measure.

    A subclass gives :attr:`p`, :meth:`suff_stat` and, where it is known, :meth:`log_partition`; moments, cumulants and
    the MLE follow by automatic differentiation. The statistics must be minimal: no affine relation among them.
    """

    p: int

    @abstractmethod
    def suff_stat(self, x: ArrayLike) -> Floats:
        """Sufficient statistics ξ of the rows of `x`, shape (N, p)."""

    def log_partition(self, theta: Any) -> Any:
        """Ψ(θ), a scalar, in operations that JAX can differentiate.

        Raises
        ------
        NotImplementedError
            When the normalising constant has no form that can be computed; use Markov chains then.
        """
        raise NotImplementedError(f"{type(self).__name__} has no log-partition function; use engine='mcmc'")

    def sample(self, theta: ArrayLike, n: int, rng: np.random.Generator) -> Floats:
        """`n` independent draws of x."""
        raise NotImplementedError(f"{type(self).__name__} does not sample")

    def quadrature(self, theta: ArrayLike) -> tuple[Floats, Floats]:
        """Statistics (S, p) and weights (S,) under which moments of ξ up to order four are exact at θ.

        Raises
        ------
        NotImplementedError
            When there is no such finite set.
        """
        raise NotImplementedError(f"{type(self).__name__} has no exact quadrature")

    def normalise(self, x: ArrayLike) -> Floats:
        """An equivalent data set on which the family is well conditioned; risks are the same. Default: `x`."""
        return np.asarray(x, dtype=float)

    def names(self) -> tuple[str, ...]:
        """Names of the statistics, for messages."""
        return tuple(f"ξ{i}" for i in range(self.p))

    def start(self, eta: Floats) -> Floats:
        """Where the search for the MLE of mean statistics `eta` (…, p) begins."""
        return np.zeros_like(eta)

    def interior(self, eta: Floats) -> Any:
        """Whether mean statistics (…, p) pass the family's cheap test for an existing MLE."""
        return np.isfinite(eta).all(-1)

    @property
    def has_log_partition(self) -> bool:
        """Whether the class gives a log-partition function."""
        return type(self).log_partition is not ExponentialFamily.log_partition

    # -- derivatives of the log-partition function -----------------------------------------------------------

    @cached_property
    def _value(self) -> Callable[..., Any]:
        return jax.jit(jax.vmap(self.log_partition))

    @cached_property
    def _derivatives(self) -> Callable[..., Any]:
        psi = self.log_partition
        return jax.jit(jax.vmap(lambda theta: (psi(theta), jax.grad(psi)(theta), jax.hessian(psi)(theta))))

    @cached_property
    def line(self) -> Callable[..., Any]:
        """Compiled third and fourth derivatives of Ψ along lines; see :func:`autodiff.line_derivatives`."""
        from loglik.information.pn_criterion.autodiff import line_derivatives

        return line_derivatives(self.log_partition)

    def log_partitions(self, thetas: ArrayLike) -> Floats:
        """Ψ of every row of `thetas` (R, p), shape (R,)."""
        with jax.enable_x64(True):
            return np.asarray(self._value(jnp.asarray(np.asarray(thetas, dtype=float))))

    def mean(self, theta: ArrayLike) -> Floats:
        """E ξ at θ, shape (p,): the gradient of Ψ."""
        return self._at(theta)[1]

    def cov(self, theta: ArrayLike) -> Floats:
        """Cov ξ at θ, shape (p, p): the Hessian of Ψ, which is the Fisher information G."""
        return self._at(theta)[2]

    def third(self, theta: ArrayLike) -> Floats:
        """Third cumulants of ξ at θ, shape (p, p, p)."""
        return self._tensor(theta, 1)

    def fourth(self, theta: ArrayLike) -> Floats:
        """Fourth cumulants of ξ at θ, shape (p, p, p, p); meant for small p, the engines never build it."""
        return self._tensor(theta, 2)

    def _at(self, theta: ArrayLike) -> tuple[Floats, Floats, Floats]:
        with jax.enable_x64(True):
            value, gradient, hessian = self._derivatives(jnp.asarray(np.asarray(theta, dtype=float))[None])
            return np.asarray(value[0]), np.array(gradient[0]), np.array(hessian[0])

    def _tensor(self, theta: ArrayLike, more: int) -> Floats:
        function = jax.hessian(self.log_partition)
        for _ in range(more):
            function = jax.jacfwd(function)
        with jax.enable_x64(True):
            return np.array(jax.jit(function)(jnp.asarray(np.asarray(theta, dtype=float))))

    # -- maximum likelihood ----------------------------------------------------------------------------------

    def fit(
        self, eta: ArrayLike, theta0: ArrayLike | None = None, tol: float = 1e-10, max_iter: int = 100
    ) -> FitResult:
        """MLE from mean statistics: the θ with Ψ̇(θ) = η.

        Parameters
        ----------
        eta : array_like of shape (p,)
        theta0 : array_like of shape (p,), optional
        tol : float
            Accuracy of θ in the Fisher metric, where one standard error of n rows is n^(−1/2).
        max_iter : int

        Raises
        ------
        ValueError
            For a wrong shape or numbers that aren't finite.
        """
        mean = self._checked(eta)
        first = None if theta0 is None else np.asarray(theta0, dtype=float)[None]
        found = self.fit_batch(mean[None], first, tol, max_iter)
        return FitResult(found.theta[0], bool(found.converged[0]), bool(found.boundary[0]))

    def fit_batch(
        self, etas: ArrayLike, theta0: ArrayLike | None = None, tol: float = 1e-10, max_iter: int = 100
    ) -> FitResult:
        """:meth:`fit` for every row of `etas` (R, p) at once, by damped Newton steps."""
        means = np.asarray(etas, dtype=float)
        inside = np.asarray(self.interior(means))
        safe = np.where(inside[:, None], means, means[inside][:1] if inside.any() else 0.0)
        if not inside.any():
            return FitResult(np.full_like(means, np.nan), inside, ~inside)
        theta = (
            self.start(safe) if theta0 is None else np.broadcast_to(theta0, means.shape).astype(float).copy()
        )
        theta, converged = newton(self._batch_derivatives, safe, theta, tol, max_iter)
        return FitResult(theta, converged & inside, ~(converged & inside))

    def _batch_derivatives(self, thetas: Floats) -> tuple[Floats, Floats, Floats]:
        with jax.enable_x64(True):
            return tuple(np.asarray(a) for a in self._derivatives(jnp.asarray(thetas)))  # type: ignore[return-value]

    def _checked(self, eta: ArrayLike) -> Floats:
        mean = np.asarray(eta, dtype=float)
        if mean.shape != (self.p,) or not np.isfinite(mean).all():
            raise ValueError(f"eta must be {self.p} finite mean statistics, got shape {mean.shape}")
        return mean


def newton(
    derivatives: Callable[[Floats], tuple[Floats, Floats, Floats]],
    etas: Floats,
    theta: Floats,
    tol: float,
    max_iter: int,
) -> tuple[Floats, NDArray[np.bool_]]:
    """Minimise Ψ(θ) − η·θ for a batch: (thetas (R, p), converged (R,)).

    `derivatives` maps (R, p) to Ψ (R,), its gradients (R, p) and Hessians (R, p, p). A step is halved until the convex
    objective falls enough (Armijo); points where Ψ is not finite lie outside Θ and count as infinite.
    """
    theta = theta.copy()
    value, gradient, hessian = derivatives(theta)
    done = np.zeros(len(theta), dtype=bool)
    for _ in range(max_iter):
        residual = etas - gradient
        step, solvable = _solve(hessian, residual)
        decrement = 0.5 * np.einsum("rp,rp->r", step, residual)
        done = solvable & np.isfinite(decrement) & (decrement < tol**1.5)
        # one more step is taken at convergence, and squares what is left of the error
        scale = np.where(solvable, 1.0, 0.0)
        objective = value - np.einsum("rp,rp->r", etas, theta)
        for _ in range(30):
            trial = theta + scale[:, None] * step
            new, new_gradient, new_hessian = derivatives(trial)
            with np.errstate(invalid="ignore"):
                fell = new - np.einsum("rp,rp->r", etas, trial) <= objective - 0.5 * scale * decrement + 1e-12
            bad = ~(fell & np.isfinite(new)) & ~done & solvable
            if not bad.any():
                break
            scale = np.where(bad, scale / 2, scale)
        usable = np.isfinite(new) & np.isfinite(new_hessian).all((1, 2))
        theta = np.where(usable[:, None], trial, theta)
        value, gradient = np.where(usable, new, value), np.where(usable[:, None], new_gradient, gradient)
        hessian = np.where(usable[:, None, None], new_hessian, hessian)
        if (done | ~solvable).all():
            break
    return theta, done


def _solve(hessian: Floats, residual: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Newton steps, and which systems are positive definite."""
    scale = np.sqrt(np.clip(np.einsum("rpp->rp", hessian), 1e-300, None))
    scaled = hessian / scale[:, :, None] / scale[:, None, :]
    identity = np.eye(hessian.shape[1])
    scaled = np.where(np.isfinite(scaled).all((1, 2))[:, None, None], scaled, -identity)
    solvable = positive_definite(scaled - 1e-13 * identity)
    safe = np.where(solvable[:, None, None], scaled, identity)
    step = np.linalg.solve(safe, (residual / scale)[:, :, None])[:, :, 0] / scale
    return np.where(solvable[:, None], step, 0.0), solvable


def positive_definite(matrices: Floats) -> NDArray[np.bool_]:
    """Which of the matrices (R, p, p) have a Cholesky factor, shape (R,)."""
    try:
        np.linalg.cholesky(matrices)
        return np.ones(len(matrices), dtype=bool)
    except np.linalg.LinAlgError:
        if len(matrices) == 1:
            return np.zeros(1, dtype=bool)
    half = len(matrices) // 2  # LAPACK does not say which matrix of a batch failed
    return np.concatenate([positive_definite(matrices[:half]), positive_definite(matrices[half:])])
