"""Families on a finite set of states, where every sum over x is exact: multinomial, log-linear, quadrature grids."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linprog
from scipy.special import logsumexp as np_logsumexp

from loglik.information.pn_criterion.base import (
    ExponentialFamily,
    FitResult,
    Floats,
    newton,
    positive_definite,
)

CHORD_STEPS = 60
NEWTON_STEPS = 25  # an existing MLE takes under fifteen; on the boundary the steps never get short enough


class FiniteFamily(ExponentialFamily):
    """Weights exp(θ·T_s + b_s − Ψ(θ)) on states s: any family whose x runs over a list, or over quadrature nodes.

    Parameters
    ----------
    T : array_like of shape (states, p)
        Sufficient statistics of every state.
    log_base : array_like of shape (states,), optional
        Logarithm of the reference measure; zero by default.

    Raises
    ------
    ValueError
        For a wrong shape, or statistics that are affinely dependent (the message names them).
    """

    def __init__(self, T: ArrayLike, log_base: ArrayLike | None = None) -> None:
        self.T = np.asarray(T, dtype=float)
        if self.T.ndim != 2 or not np.isfinite(self.T).all():
            raise ValueError(f"T must be finite of shape (states, p), got {self.T.shape}")
        self.log_base = np.zeros(len(self.T)) if log_base is None else np.asarray(log_base, dtype=float)
        if self.log_base.shape != (len(self.T),):
            raise ValueError(
                f"log_base must have one entry a state ({len(self.T)}), got {self.log_base.shape}"
            )
        self.p = self.T.shape[1]
        check_rank(np.cov(self.T.T, bias=True).reshape(self.p, self.p), self.names())

    def suff_stat(self, x: ArrayLike) -> Floats:
        """Statistics of the states `x` (N,), integers from 0."""
        return self.T[self.state(x)]

    def state(self, x: ArrayLike) -> NDArray[np.int64]:
        """State numbers of the rows of `x`, shape (N,)."""
        values = np.asarray(x)
        if values.ndim != 1 or values.size == 0 or (values != values.astype(np.int64)).any():
            raise ValueError(
                f"states are whole numbers in one dimension, got shape {values.shape} of {values.dtype}"
            )
        if values.min() < 0 or values.max() >= len(self.T):
            raise ValueError(
                f"states run from 0 to {len(self.T) - 1}, got {values.min():g} to {values.max():g}"
            )
        return values.astype(np.int64)

    def log_partition(self, theta: Any) -> Any:
        """Log of the sum over all states."""
        return logsumexp(jnp.asarray(self.T) @ theta + jnp.asarray(self.log_base))

    def log_partitions(self, thetas: ArrayLike) -> Floats:
        """Ψ of every row, without JAX."""
        return np_logsumexp(np.asarray(thetas) @ self.T.T + self.log_base, axis=1)

    def probabilities(self, theta: ArrayLike) -> Floats:
        """Weights of the states at θ (…, p), shape (…, states)."""
        energy = np.asarray(theta, dtype=float) @ self.T.T + self.log_base
        weights = np.exp(energy - energy.max(-1, keepdims=True))
        return weights / weights.sum(-1, keepdims=True)

    def quadrature(self, theta: ArrayLike) -> tuple[Floats, Floats]:
        """All states with their weights."""
        return self.T, self.probabilities(theta)

    def sample(self, theta: ArrayLike, n: int, rng: np.random.Generator) -> Floats:
        """State numbers."""
        return rng.choice(len(self.T), n, p=self.probabilities(theta))  # type: ignore[return-value]

    def fit_batch(
        self, etas: ArrayLike, theta0: ArrayLike | None = None, tol: float = 1e-10, max_iter: int = 100
    ) -> FitResult:
        """MLEs of a batch: steps with one Fisher matrix for all, then Newton's own for those that lag behind.

        Near a common start the fixed matrix contracts by a factor of order ‖η − η₀‖ a step, at the price of two
        products with T; Newton's matrices cost p times that.
        """
        means = np.asarray(etas, dtype=float)
        centre = np.zeros(self.p) if theta0 is None else np.asarray(theta0, dtype=float).reshape(-1, self.p)
        theta = np.broadcast_to(centre, means.shape).astype(float).copy()
        done = np.zeros(len(means), dtype=bool)
        if theta0 is not None and len(centre) == 1:
            theta, done = self._chord(means, theta, tol)
        steps = min(max_iter, NEWTON_STEPS)
        late = np.flatnonzero(~done)
        for part in np.array_split(late, max(1, -(-len(late) * self.p**2 // 2_000_000))):
            start = np.broadcast_to(centre, means.shape)[part]
            if len(part):
                theta[part], done[part] = newton(self._batch_derivatives, means[part], start, tol, steps)
        return FitResult(theta, done, ~done)

    def _chord(self, means: Floats, theta: Floats, tol: float) -> tuple[Floats, NDArray[np.bool_]]:
        probabilities = self.probabilities(theta[:1])[0]
        centred = self.T - probabilities @ self.T
        fisher = (centred * probabilities[:, None]).T @ centred
        inverse = np.linalg.inv(fisher)
        done = np.zeros(len(means), dtype=bool)
        active = np.arange(len(means))
        for _ in range(CHORD_STEPS):
            residual = means[active] - self.probabilities(theta[active]) @ self.T
            step = residual @ inverse
            theta[active] += step
            small = (
                np.einsum("rp,rp->r", step, residual) < 1e-4 * tol**1.5
            )  # the rate is linear: go well below
            done[active[small]] = True
            active = active[~small & np.isfinite(step).all(1) & (np.abs(theta[active]).max(1) < 50)]
            if not len(active):
                break
        return theta, done

    def _at(self, theta: ArrayLike) -> tuple[Floats, Floats, Floats]:
        value, mean, cov = self._batch_derivatives(np.asarray(theta, dtype=float)[None])
        return value[0], mean[0], cov[0]

    def _batch_derivatives(self, thetas: Floats) -> tuple[Floats, Floats, Floats]:
        weights = self.probabilities(thetas)
        mean = weights @ self.T
        square = np.stack([(self.T * w[:, None]).T @ self.T for w in weights])
        return self.log_partitions(thetas), mean, square - mean[:, :, None] * mean[:, None, :]

    def mle_exists(self, eta: ArrayLike) -> bool:
        """Whether `eta` (p,) is inside the convex hull of the statistics, by linear programming.

        On the boundary there is a direction w with w·(T_s − η) ≤ 0 for all states, not all zero.
        """
        gap = self.T - self._checked(eta)
        scale = np.abs(gap).max(0)
        found = linprog(gap.sum(0) / scale, A_ub=gap / scale, b_ub=np.zeros(len(gap)), bounds=(-1, 1))
        return bool(found.fun > -1e-7 * len(gap))


class MultinomialFamily(FiniteFamily):
    """`k` cells with free probabilities; ξ are the indicators of all but the last."""

    def __init__(self, k: int) -> None:
        if k < 2:
            raise ValueError(f"MultinomialFamily needs k >= 2 cells, got {k}")
        super().__init__(np.eye(k)[:, :-1])


class LogLinear(FiniteFamily):
    """Hierarchical log-linear model of a contingency table: all interactions up to `order`.

    Parameters
    ----------
    levels : sequence of int
        Number of levels of each variable, at least 2.
    order : int
        Largest number of variables in an interaction: 1 is independence, 2 pairwise.
    """

    def __init__(self, levels: Sequence[int], order: int) -> None:
        self.levels, self.order = tuple(int(k) for k in levels), int(order)
        if not self.levels or min(self.levels) < 2:
            raise ValueError(f"every variable needs at least 2 levels, got {self.levels}")
        if not 1 <= self.order <= len(self.levels):
            raise ValueError(f"order must lie between 1 and {len(self.levels)} variables, got {order}")
        cells = np.array(list(product(*map(range, self.levels))))
        columns, self._names = [], []
        for size in range(1, self.order + 1):
            for variables in combinations(range(len(self.levels)), size):
                for values in product(*(range(1, self.levels[v]) for v in variables)):
                    columns.append((cells[:, list(variables)] == values).all(1))
                    self._names.append(" ".join(f"v{v}={k}" for v, k in zip(variables, values, strict=True)))
        super().__init__(np.array(columns, dtype=float).T)

    def names(self) -> tuple[str, ...]:
        """The interactions."""
        return tuple(self._names)

    def state(self, x: ArrayLike) -> NDArray[np.int64]:
        """Cell numbers of rows of level codes, (N, variables) integers from 0."""
        codes = np.asarray(x)
        if codes.ndim != 2 or codes.shape[1] != len(self.levels):
            raise ValueError(f"x must have one column of codes a variable, got shape {codes.shape}")
        if (codes < 0).any() or (codes >= np.array(self.levels)).any():
            raise ValueError(f"codes run from 0 to levels - 1, levels are {self.levels}")
        return np.ravel_multi_index(tuple(codes.astype(np.int64).T), self.levels)


def check_rank(covariance: Floats, names: Sequence[str]) -> None:
    """Raise a ``ValueError`` that names the affinely dependent statistics, if there are any."""
    scale = np.sqrt(np.clip(np.diag(covariance), 0, None))
    if not (scale > 0).all():
        raise ValueError(
            f"the statistic {names[int(np.argmin(scale))]!r} is constant, so its parameter has no meaning; drop it"
        )
    scaled = covariance / np.outer(scale, scale)
    if positive_definite(scaled[None] - 1e-10 * len(scale) * np.eye(len(scale))).all():
        return
    eigenvalues, vectors = np.linalg.eigh(scaled)
    if eigenvalues[0] < 1e-11 * len(scale):
        heavy = [names[int(i)] for i in np.flatnonzero(np.abs(vectors[:, 0]) > 0.05)]
        raise ValueError(f"G is rank deficient: the statistics {heavy} are affinely dependent; drop one")
