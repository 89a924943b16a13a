"""Models beside the linear Gaussian one: stochastic volatility, chaotic network, finite, and the reader's own."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from loglik.sampling.parisian_particle_gibbs.compiling import compile_once
from loglik.sampling.parisian_particle_gibbs.protocol import (
    Array,
    ArrayLike,
    Pair,
    Params,
    as_float,
    float_fields,
    squared_norm,
)

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def _log_normal(gap: Array, sd: Array) -> Array:
    """Log density of N(0, sd²) at `gap`, elementwise."""
    return -0.5 * (gap / sd) ** 2 - jnp.log(sd) - _HALF_LOG_2PI


def _columns(*parts: Array) -> Array:
    return jnp.stack(jnp.broadcast_arrays(*parts), axis=-1)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class StochasticVolatility:
    """``x_{t+1} = mu + phi (x_t - mu) + sigma e_t``, ``y_t ~ N(0, exp(x_t))``; stationary start.

    Parameters
    ----------
    mu : float
        Mean of the log variance (of `y` in its own units squared).
    phi : float
        Persistence, in (-1, 1).
    sigma : float
        Volatility of the log variance, positive.
    """

    mu: ArrayLike
    phi: ArrayLike
    sigma: ArrayLike

    @property
    def dim(self) -> int:
        """Dimension of the state: 1."""
        return 1

    def _start_sd(self) -> Array:
        return as_float(self.sigma) / jnp.sqrt(1 - as_float(self.phi) ** 2)

    def sample_init(self, key: jax.Array, n: int) -> Array:
        """Draw `n` states from the stationary law, shape (n, 1)."""
        return as_float(self.mu) + self._start_sd() * jax.random.normal(key, (n, 1))

    def log_init(self, x: Array) -> Array:
        """Log density of the stationary law."""
        return _log_normal(x[..., 0] - as_float(self.mu), self._start_sd())

    def sample_transition(self, key: jax.Array, t: Array, x: Array) -> Array:
        """Draw the next log variance."""
        return self.advance(t, x, jax.random.normal(key, x.shape, x.dtype))

    def sample_noise(self, key: jax.Array, n: int) -> Array:
        """Draw the noise of `n` moves, shape (n, 1)."""
        return jax.random.normal(key, (n, 1))

    def advance(self, t: Array, x: Array, noise: Array) -> Array:
        """The next log variance, given its noise."""
        mean = as_float(self.mu) + as_float(self.phi) * (x - as_float(self.mu))
        return mean + as_float(self.sigma) * noise

    def log_transition(self, t: Array, x: Array, x_next: Array) -> Array:
        """Log density of the move."""
        gap = x_next[..., 0] - (self.mu + self.phi * (x[..., 0] - self.mu))
        return _log_normal(gap, as_float(self.sigma))

    def log_potential(self, t: Array, x: Array, y: Array) -> Array:
        """Log density of the return ``y[0]``."""
        return -0.5 * (x[..., 0] + y[0] ** 2 * jnp.exp(-x[..., 0])) - _HALF_LOG_2PI

    def log_transition_bound(self, t: Array) -> Array:
        """The density's height at its mode."""
        return -jnp.log(as_float(self.sigma)) - _HALF_LOG_2PI

    def sample_observation(self, key: jax.Array, t: Array, x: Array) -> Array:
        """Draw a return for each log variance."""
        return jnp.exp(x / 2) * jax.random.normal(key, x.shape, x.dtype)

    @staticmethod
    def score_statistics(pair: Pair) -> Array:
        """``(x, x⁺, x², x x⁺, x⁺²)`` and, at t = 0, ``(x, x²)``; shape (..., 7)."""
        x, x_next, first = pair.x[..., 0], pair.x_next[..., 0], jnp.where(pair.t == 0, 1.0, 0.0)
        return _columns(x, x_next, x * x, x * x_next, x_next * x_next, first * x, first * x * x)

    def complete_log_likelihood(self, stats: Array, y: Array) -> Array:
        """The part of the complete log-likelihood that depends on (mu, phi, sigma); linear in `stats`."""
        sx, sn, sxx, sxn, snn, f, ff = stats
        mu, phi, sigma = self.mu, self.phi, as_float(self.sigma)
        n, c = y.shape[0] - 1, mu * (1 - phi)
        gaps = snn + phi**2 * sxx + n * c**2 - 2 * phi * sxn - 2 * c * sn + 2 * phi * c * sx
        start = (ff - 2 * mu * f + mu**2) * (1 - phi**2)
        return -0.5 * (gaps + start) / sigma**2 - (n + 1) * jnp.log(sigma) + 0.5 * jnp.log(1 - phi**2)

    def score(self, stats: Array, y: Array) -> StochasticVolatility:
        """Gradient of the log-likelihood in (mu, phi, sigma), as a model."""
        exact = float_fields(self)
        gradient: StochasticVolatility = jax.grad(lambda m: m.complete_log_likelihood(stats, y))(exact)
        return gradient


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class ChaoticRNN:
    """Chaotic recurrent network, Euler steps of its differential equation, seen through ``B``.

    ``x_{t+1} = x_t + (delta/tau)(-x_t + gain W tanh(x_t)) + state_sd e_t``, ``y_t = B x_t + noise_sd z_t``.

    Parameters
    ----------
    W : array of shape (d, d)
        Weights between the units.
    B : array of shape (p, d)
        Observation matrix.
    state_sd, noise_sd : float
        Standard deviations of the two noises.
    delta, tau, gain : float
        Step and time constant in seconds, and the gain (delta 0.001, tau 0.025, gain 2.5 as in the paper).
    start_sd : float
        Standard deviation of the first state around 0.
    """

    W: ArrayLike
    B: ArrayLike
    state_sd: ArrayLike = 0.1
    noise_sd: ArrayLike = 0.1
    delta: ArrayLike = 0.001
    tau: ArrayLike = 0.025
    gain: ArrayLike = 2.5
    start_sd: ArrayLike = 1.0

    @property
    def dim(self) -> int:
        """Number of units."""
        return int(as_float(self.W).shape[-1])

    def _mean(self, x: Array) -> Array:
        pull = as_float(self.delta) / self.tau
        return x + pull * (-x + as_float(self.gain) * jnp.tanh(x) @ as_float(self.W).T)

    def sample_init(self, key: jax.Array, n: int) -> Array:
        """Draw `n` first states, shape (n, d)."""
        return as_float(self.start_sd) * jax.random.normal(key, (n, self.dim))

    def log_init(self, x: Array) -> Array:
        """Log density of the first state."""
        return _log_normal(x, as_float(self.start_sd)).sum(-1)

    def sample_transition(self, key: jax.Array, t: Array, x: Array) -> Array:
        """Draw the next activations."""
        return self.advance(t, x, jax.random.normal(key, x.shape, x.dtype))

    def sample_noise(self, key: jax.Array, n: int) -> Array:
        """Draw the noise of `n` moves, shape (n, d)."""
        return jax.random.normal(key, (n, self.dim))

    def advance(self, t: Array, x: Array, noise: Array) -> Array:
        """The next activations, given their noise."""
        return self._mean(x) + as_float(self.state_sd) * noise

    def log_transition(self, t: Array, x: Array, x_next: Array) -> Array:
        """Log density of the move."""
        gap = squared_norm(x_next - self._mean(x))
        return -0.5 * gap / as_float(self.state_sd) ** 2 + self.log_transition_bound(t)

    def log_potential(self, t: Array, x: Array, y: Array) -> Array:
        """Log density of the observation."""
        return _log_normal(y - x @ as_float(self.B).T, as_float(self.noise_sd)).sum(-1)

    def log_transition_bound(self, t: Array) -> Array:
        """The density's height at its mode."""
        return -self.dim * (jnp.log(as_float(self.state_sd)) + _HALF_LOG_2PI)

    def sample_observation(self, key: jax.Array, t: Array, x: Array) -> Array:
        """Draw an observation for each state."""
        mean = x @ as_float(self.B).T
        return mean + as_float(self.noise_sd) * jax.random.normal(key, mean.shape, mean.dtype)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class FiniteHMM:
    """Hidden Markov model on states 0, …, S-1 and symbols 0, …, Y-1; states travel as floats (..., 1).

    Parameters
    ----------
    pi : array of shape (S,)
        Law of the first state.
    P : array of shape (S, S)
        Transition matrix, rows sum to 1.
    emission : array of shape (S, Y)
        Law of the symbol in each state, rows sum to 1.
    """

    pi: ArrayLike
    P: ArrayLike
    emission: ArrayLike

    @property
    def dim(self) -> int:
        """Dimension of the state: 1, holding its number."""
        return 1

    def sample_init(self, key: jax.Array, n: int) -> Array:
        """Draw `n` first states, shape (n, 1)."""
        draws = jax.random.categorical(key, jnp.log(as_float(self.pi)), shape=(n,))
        return as_float(draws)[:, None]

    def log_init(self, x: Array) -> Array:
        """Log probability of the first state."""
        return jnp.log(as_float(self.pi))[_index(x)]

    def sample_transition(self, key: jax.Array, t: Array, x: Array) -> Array:
        """Draw the next state."""
        return as_float(jax.random.categorical(key, jnp.log(as_float(self.P))[_index(x)]))[..., None]

    def log_transition(self, t: Array, x: Array, x_next: Array) -> Array:
        """Log probability of the move."""
        return jnp.log(as_float(self.P))[_index(x), _index(x_next)]

    def log_potential(self, t: Array, x: Array, y: Array) -> Array:
        """Log probability of the symbol ``y[0]``."""
        return jnp.log(as_float(self.emission))[_index(x), y[0].astype(int)]

    def log_transition_bound(self, t: Array) -> Array:
        """Log of the largest transition probability."""
        return jnp.log(as_float(self.P).max())

    def sample_observation(self, key: jax.Array, t: Array, x: Array) -> Array:
        """Draw a symbol for each state."""
        return as_float(jax.random.categorical(key, jnp.log(as_float(self.emission))[_index(x)]))[..., None]

    def score_statistics(self, pair: Pair) -> Array:
        """Indicators of the pair of states, then of (state, symbol) and the first state; additive over t."""
        states, symbols = as_float(self.emission).shape
        x, x_next = jnp.broadcast_arrays(_index(pair.x), _index(pair.x_next))
        first = jnp.where(pair.t == 0, 1.0, 0.0)

        def seen(x: Array, y: Array) -> Array:
            return jax.nn.one_hot(x * symbols + y[0].astype(int), states * symbols)

        moves = jax.nn.one_hot(x * states + x_next, states * states)
        emitted = seen(x_next, pair.y_next) + first * seen(x, pair.y)
        return jnp.concatenate([moves, emitted, first * jax.nn.one_hot(x, states)], axis=-1)

    def complete_log_likelihood(self, stats: Array, y: Array) -> Array:
        """Log probability of states and symbols, with `stats` as counts."""
        tables = (as_float(self.P).ravel(), as_float(self.emission).ravel(), as_float(self.pi))
        table = jnp.concatenate(tables)
        return jnp.where(stats > 0, stats * jnp.log(jnp.where(stats > 0, table, 1.0)), 0.0).sum()

    def score(self, stats: Array, y: Array) -> FiniteHMM:
        """Gradient of the log-likelihood in every probability (unconstrained), as a model."""
        exact = float_fields(self)
        gradient: FiniteHMM = jax.grad(lambda m: m.complete_log_likelihood(stats, y))(exact)
        return gradient


def _index(x: Array) -> Array:
    return x[..., 0].astype(int)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class DistributionModel:
    """A model written as numpyro writes one: three functions that return distributions.

    Parameters
    ----------
    params : pytree
        Handed to the three functions; the leaves may be learned.
    initial : callable
        ``initial(params)``: the law of the first state, a distribution over R^d.
    transition : callable
        ``transition(params, t, x)``: the law of the next state given *one* state `x` of shape (d,).
    emission : callable
        ``emission(params, t, x)``: the law of the observation given one state.
    dim : int
        Dimension d of the state. With d = 1 the distributions may be scalar.

    Notes
    -----
    Anything with numpyro's ``sample(key, shape)`` and ``log_prob(value)`` will do.

    Examples
    --------
    >>> import numpyro.distributions as dist
    >>> walk = DistributionModel(
    ...     {"sd": 0.5},
    ...     initial=lambda p: dist.Normal(0.0, 1.0),
    ...     transition=lambda p, t, x: dist.Normal(x, p["sd"]),
    ...     emission=lambda p, t, x: dist.Poisson(jnp.exp(x)),
    ... )
    >>> walk.sample_init(jax.random.key(0), 3).shape
    (3, 1)
    """

    params: Params
    initial: Callable[[Params], Any] = field(metadata={"static": True})
    transition: Callable[[Params, Array, Array], Any] = field(metadata={"static": True})
    emission: Callable[[Params, Array, Array], Any] = field(metadata={"static": True})
    dim: int = field(default=1, metadata={"static": True})

    def sample_init(self, key: jax.Array, n: int) -> Array:
        """Draw `n` first states, shape (n, d)."""
        return self.initial(self.params).sample(key, (n,)).reshape(n, self.dim)

    def log_init(self, x: Array) -> Array:
        """Log density of the first state."""
        return self._each(lambda s: self.initial(self.params).log_prob(s).sum(), x)

    def sample_transition(self, key: jax.Array, t: Array, x: Array) -> Array:
        """Draw the next states, one key for each."""
        flat = x.reshape(-1, self.dim)
        keys = jax.random.split(key, flat.shape[0])
        draws = jax.vmap(lambda k, s: self.transition(self.params, t, s).sample(k).reshape(self.dim))(
            keys, flat
        )
        return draws.reshape(x.shape).astype(x.dtype)

    def log_transition(self, t: Array, x: Array, x_next: Array) -> Array:
        """Log density of the move."""
        return self._each(lambda s, n: self.transition(self.params, t, s).log_prob(n).sum(), x, x_next)

    def log_potential(self, t: Array, x: Array, y: Array) -> Array:
        """Log density of the observation."""
        return self._each(lambda s: self.emission(self.params, t, s).log_prob(y).sum(), x)

    def sample_observation(self, key: jax.Array, t: Array, x: Array) -> Array:
        """Draw an observation for each state."""
        flat = x.reshape(-1, self.dim)
        keys = jax.random.split(key, flat.shape[0])
        draws = jax.vmap(lambda k, s: jnp.ravel(self.emission(self.params, t, s).sample(k)))(keys, flat)
        return as_float(draws.reshape(*x.shape[:-1], -1))

    @staticmethod
    def _each(function: Callable[..., Array], *states: Array) -> Array:
        """`function` of single states, over all leading axes."""
        signature = ",".join("(d)" for _ in states) + "->()"
        result: Array = jnp.vectorize(function, signature=signature)(*states)
        return result


def simulate(model: Any, n_steps: int, key: jax.Array) -> tuple[np.ndarray, np.ndarray]:
    """States (T, d) and observations (T, p) drawn from `model`, as float64 arrays."""
    if n_steps < 2:
        raise ValueError(f"n_steps must be at least 2, got {n_steps}")
    x, y = _simulate(n_steps)(model, key, n_steps)
    return np.asarray(x, dtype=float), np.asarray(y, dtype=float)


def _simulate_path(model: Any, key: jax.Array, n_steps: int) -> tuple[Array, Array]:
    start, moves, noise = jax.random.split(key, 3)
    first = model.sample_init(start, 1)[0]

    def step(x: Array, inputs: tuple[Array, jax.Array]) -> tuple[Array, Array]:
        x = model.sample_transition(inputs[1], inputs[0], x[None])[0]
        return x, x

    _, later = jax.lax.scan(step, first, (jnp.arange(n_steps - 1), jax.random.split(moves, n_steps - 1)))
    states = jnp.concatenate([first[None], later])
    observe = jax.vmap(lambda k, t, x: model.sample_observation(k, t, x[None])[0])
    return states, observe(jax.random.split(noise, n_steps), jnp.arange(n_steps), states)


_simulate = compile_once(_simulate_path, "n_steps")
