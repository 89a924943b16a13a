"""The linear Gaussian state-space model, the one with an exact answer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

from loglik.sampling.parisian_particle_gibbs.protocol import (
    Array,
    ArrayLike,
    Pair,
    as_float,
    float_fields,
    squared_norm,
)

LOG_2PI = math.log(2 * math.pi)


class _Gauss(NamedTuple):
    """Lower factor of a covariance, its inverse, and the log of the normalising constant."""

    factor: Array
    white: Array
    log_norm: Array

    @classmethod
    def of(cls, covariance: ArrayLike) -> _Gauss:
        factor = jnp.linalg.cholesky(jnp.asarray(covariance))
        diagonal = jnp.diagonal(factor, axis1=-2, axis2=-1)
        white = jax.scipy.linalg.solve_triangular(factor, jnp.eye(factor.shape[-1]), lower=True)
        return cls(factor, white, -jnp.log(diagonal).sum(-1) - 0.5 * factor.shape[-1] * LOG_2PI)

    def sample(self, key: jax.Array, mean: Array) -> Array:
        return mean + jax.random.normal(key, mean.shape, mean.dtype) @ self.factor.T

    def log_prob(self, value: Array, mean: Array) -> Array:
        """Whiten first, then subtract: on all pairs of particles this costs only the subtraction."""
        gap = value @ self.white.T - mean @ self.white.T
        return self.log_norm - 0.5 * squared_norm(gap)


class _Prepared(NamedTuple):
    """The factors, computed once before the loop over time."""

    A: Array
    B: Array
    m0: Array
    state: _Gauss
    noise: _Gauss
    start: _Gauss

    def sample_init(self, key: jax.Array, n: int) -> Array:
        return self.start.sample(key, jnp.broadcast_to(self.m0, (n, self.m0.shape[-1])))

    def log_init(self, x: Array) -> Array:
        return self.start.log_prob(x, self.m0)

    def sample_noise(self, key: jax.Array, n: int) -> Array:
        return jax.random.normal(key, (n, self.A.shape[-1]), self.A.dtype)

    def advance(self, t: Array, x: Array, noise: Array) -> Array:
        return x @ self.A.T + noise @ self.state.factor.T

    def sample_transition(self, key: jax.Array, t: Array, x: Array) -> Array:
        return self.advance(t, x, jax.random.normal(key, x.shape, x.dtype))

    def log_transition(self, t: Array, x: Array, x_next: Array) -> Array:
        gap = x_next @ self.state.white.T - x @ (self.state.white @ self.A).T
        return self.state.log_norm - 0.5 * squared_norm(gap)

    def log_potential(self, t: Array, x: Array, y: Array) -> Array:
        return self.noise.log_prob(y, x @ self.B.T)

    def log_transition_bound(self, t: Array) -> Array:
        return self.state.log_norm


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class LinearGaussianModel:
    """``x_0 ~ N(m0, P0)``, ``x_{t+1} = A x_t + N(0, Q)``, ``y_t = B x_t + N(0, R)``.

    Parameters
    ----------
    A : array of shape (d, d)
        Transition matrix.
    B : array of shape (p, d)
        Observation matrix.
    Q, R : arrays of shape (d, d) and (p, p)
        *Covariances* of the state's and the observation's noise (the paper writes factors of them).
    m0, P0 : arrays of shape (d,) and (d, d)
        Mean and covariance of the first state.

    Notes
    -----
    All fields are leaves of a JAX pytree, so a model may be made inside ``jit``, ``grad`` or ``vmap``.
    """

    A: ArrayLike
    B: ArrayLike
    Q: ArrayLike
    R: ArrayLike
    m0: ArrayLike
    P0: ArrayLike

    @classmethod
    def scalar(
        cls, a: ArrayLike, q: ArrayLike, r: ArrayLike, m0: ArrayLike = 0.0, p0: ArrayLike | None = None
    ) -> LinearGaussianModel:
        """One-dimensional model with *standard deviations* `q` and `r`; `p0` None starts stationary.

        Parameters
        ----------
        a, q, r : float
            Autoregression, standard deviation of the state's noise, of the observation's noise.
        m0 : float
            Mean of the first state.
        p0 : float, optional
            Its standard deviation; None takes the stationary ``q / sqrt(1 - a²)``, which needs ``|a| < 1``.
        """
        a, q, r = as_float(a), as_float(q), as_float(r)
        p0 = q / jnp.sqrt(1 - a * a) if p0 is None else as_float(p0)
        one = jnp.ones((1, 1))
        return cls(a * one, one, q * q * one, r * r * one, as_float(m0) * one[0], p0 * p0 * one)

    @property
    def dim(self) -> int:
        """Dimension of the state."""
        return int(as_float(self.A).shape[-1])

    def prepare(self) -> _Prepared:
        """Factor the covariances; the sweep calls this once, outside its loop over time."""
        A, B, m0 = as_float(self.A), as_float(self.B), as_float(self.m0)
        Q, R, P0 = _Gauss.of(as_float(self.Q)), _Gauss.of(as_float(self.R)), _Gauss.of(as_float(self.P0))
        return _Prepared(A, B, m0, Q, R, P0)

    def sample_init(self, key: jax.Array, n: int) -> Array:
        """Draw `n` first states, shape (n, d)."""
        return self.prepare().sample_init(key, n)

    def log_init(self, x: Array) -> Array:
        """Log density of the first state."""
        return self.prepare().log_init(x)

    def sample_transition(self, key: jax.Array, t: Array, x: Array) -> Array:
        """Draw ``x_{t+1}`` for each of `x` (..., d)."""
        return self.prepare().sample_transition(key, t, x)

    def log_transition(self, t: Array, x: Array, x_next: Array) -> Array:
        """Log density of `x_next` (..., d) given `x` (..., d), broadcast."""
        return self.prepare().log_transition(t, x, x_next)

    def log_potential(self, t: Array, x: Array, y: Array) -> Array:
        """Log density of the observation `y` (p,) given `x` (..., d)."""
        return self.prepare().log_potential(t, x, y)

    def log_transition_bound(self, t: Array) -> Array:
        """Log density at the mode."""
        return self.prepare().log_transition_bound(t)

    def sample_observation(self, key: jax.Array, t: Array, x: Array) -> Array:
        """Draw an observation for each of `x`."""
        return self.prepare().noise.sample(key, x @ as_float(self.B).T)

    # -- learning ------------------------------------------------------------------------------------------

    @staticmethod
    def score_statistics(pair: Pair) -> Array:
        """Sufficient statistics of one step, shape (..., 4 d² + 2 p d + d), additive over t.

        In this order: ``x x'``, ``x⁺ x'``, ``x⁺ x⁺'``, ``y⁺ x⁺'``, and at t = 0 also ``y x'``, ``x x'``, ``x``.
        """
        first = jnp.where(pair.t == 0, 1.0, 0.0)
        x, x_next = pair.x, pair.x_next
        shape = jnp.broadcast_shapes(x.shape, x_next.shape)
        x, x_next = jnp.broadcast_to(x, shape), jnp.broadcast_to(x_next, shape)
        parts = [
            _outer(x, x), _outer(x_next, x), _outer(x_next, x_next), _outer(pair.y_next, x_next),
            first * _outer(pair.y, x), first * _outer(x, x), first * x,
        ]  # fmt: skip
        return jnp.concatenate(parts, axis=-1)

    def complete_log_likelihood(self, stats: Array, y: Array) -> Array:
        """Log density of states and observations, with `stats` in place of the states' sums.

        It is linear in `stats`, so at the smoothed statistics it is EM's function Q, and its gradient in
        the parameters is the score (Fisher's identity).

        Parameters
        ----------
        stats : array of shape (H,)
            Sum over t of :meth:`score_statistics`, or its smoothed expectation.
        y : array of shape (T, p)
        """
        d, p, steps = self.dim, as_float(self.B).shape[0], y.shape[0]
        sizes = [d * d, d * d, d * d, p * d, p * d, d * d]
        s00, s10, s11, sy, sy0, s0, m = jnp.split(stats, list(_running(sizes)))
        model = self.prepare()
        s00, s10, s11, s0 = (s.reshape(d, d) for s in (s00, s10, s11, s0))
        A, B, m0 = model.A, model.B, model.m0
        moves = s11 - A @ s10.T - s10 @ A.T + A @ s00 @ A.T
        cross = B @ (sy + sy0).reshape(p, d).T
        seen = y.T @ y - cross - cross.T + B @ (s11 + s0) @ B.T
        start = s0 - jnp.outer(m0, m) - jnp.outer(m, m0) + jnp.outer(m0, m0)
        return (
            _expected(model.state, moves, steps - 1)
            + _expected(model.noise, seen, steps)
            + _expected(model.start, start, 1)
        )

    def score(self, stats: Array, y: Array) -> LinearGaussianModel:
        """Gradient of the log-likelihood in every field, as a model whose fields are the derivatives."""
        y = as_float(y).reshape(len(y), -1)
        exact = float_fields(self)
        gradient: LinearGaussianModel = jax.grad(lambda m: m.complete_log_likelihood(stats, y))(exact)
        return gradient


def _outer(u: Array, v: Array) -> Array:
    product = u[..., :, None] * v[..., None, :]
    return product.reshape(*product.shape[:-2], -1)


def _running(sizes: list[int]) -> list[int]:
    return [sum(sizes[: i + 1]) for i in range(len(sizes))]


def _expected(gauss: _Gauss, scatter: Array, count: int) -> Array:
    """Sum of `count` log densities whose gaps have the summed outer product `scatter`."""
    return count * gauss.log_norm - 0.5 * jnp.trace(gauss.white @ scatter @ gauss.white.T)
