"""Markov score climbing: variational inference along smoothed gradients of log q."""

from __future__ import annotations

import functools
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from loglik.sampling.parisian_particle_gibbs.learning import (
    Gradient,
    Learner,
    ModelFn,
    Rule,
    Trace,
    as_trace,
    check_finite,
    step_rule,
)
from loglik.sampling.parisian_particle_gibbs.protocol import Array, Pair, as_float, check_model, observations
from loglik.sampling.parisian_particle_gibbs.smoothing import Progress

Floats = NDArray[np.float64]


class MarkovFamily(Hashable, Protocol):
    """Approximations ``q_lambda(x) = q(x_0) Π q(x_{t+1} | x_t)`` of the smoothing distribution."""

    def log_step(self, parameters: Array, t: Array, x: Array, x_next: Array) -> Array:
        """Log density of one step for single states (d,); that of the first state belongs to t = 0."""
        ...

    def precondition(self, parameters: Array, gradient: Array) -> Array:
        """The gradient in a better geometry, such as the natural one."""
        ...


@dataclass(frozen=True)
class GaussianMeanField:
    """Independent Gaussians: parameters (T, 2 d) flattened, means then log standard deviations.

    Parameters
    ----------
    n_steps, dim : int
        T and d.
    """

    n_steps: int
    dim: int = 1

    def start(self, mean: float = 0.0, sd: float = 1.0) -> Floats:
        """Parameters of one mean and standard deviation everywhere."""
        return np.tile([mean] * self.dim + [np.log(sd)] * self.dim, (self.n_steps, 1)).ravel().astype(float)

    def moments(self, parameters: ArrayLike) -> tuple[Floats, Floats]:
        """Means and standard deviations, each (..., T, d)."""
        table = np.asarray(parameters, dtype=float)
        table = table.reshape(*table.shape[:-1], self.n_steps, 2 * self.dim)
        return table[..., : self.dim], np.exp(table[..., self.dim :])

    def log_step(self, parameters: Array, t: Array, x: Array, x_next: Array) -> Array:
        """Log density of the state at t + 1, and at t = 0 also of that at 0."""
        table = parameters.reshape(self.n_steps, 2 * self.dim)

        def one(row: Array, x: Array) -> Array:
            return (-0.5 * ((x - row[: self.dim]) / jnp.exp(row[self.dim :])) ** 2 - row[self.dim :]).sum()

        return one(table[t + 1], x_next) + jnp.where(t == 0, one(table[0], x), 0.0)

    def precondition(self, parameters: Array, gradient: Array) -> Array:
        """Inverse Fisher information: the variance for a mean, 1/2 for a log standard deviation."""
        table = parameters.reshape(self.n_steps, 2 * self.dim)
        inverse = jnp.concatenate(
            [jnp.exp(2 * table[:, self.dim :]), jnp.full((self.n_steps, self.dim), 0.5)], 1
        )
        return inverse.ravel() * gradient


@functools.lru_cache(maxsize=64)
def _climb(family: Any, model_fn: ModelFn) -> Gradient:
    def h(pair: Pair) -> Array:
        def single(x: Array, x_next: Array) -> Array:
            return jax.grad(family.log_step)(pair.params, pair.t, x, x_next)

        result: Array = jnp.vectorize(single, signature="(d),(d)->(p)")(pair.x, pair.x_next)
        return result

    return Gradient(model_fn, h, direct=True)


def markov_score_climbing(
    model: Any,
    y: ArrayLike,
    family: MarkovFamily,
    lambda0: ArrayLike,
    *,
    n_particles: int,
    n_sweeps: int = 2,
    burn_in: int = 0,
    step: float | ArrayLike | Rule = 0.5,
    n_iter: int,
    key: jax.Array,
    n_chains: int = 1,
    n_backward: int = 2,
    estimator: str = "ppg",
    max_move: float = 1.0,
    progress: Progress = iter,
) -> Trace:
    """Minimise KL(smoothing distribution ‖ q_lambda) along smoothed gradients of log q_lambda.

    Parameters
    ----------
    family : MarkovFamily
        Hashable; :class:`GaussianMeanField` for one.
    lambda0 : array_like of shape (p,)
    max_move : float
        Bound of each coordinate of a step.
    model, y, n_particles, n_sweeps, burn_in, step, n_iter, key, n_chains, n_backward, estimator, progress
        As for :func:`score_ascent`; steps are not divided by T.

    Returns
    -------
    Trace
        Its ``theta`` holds the family's parameters.
    """
    check_model(model)
    table = observations(y)
    learner = Learner(
        model, _climb(family, _Fixed(model)), table, lambda0, n_chains, key, n_iter=n_iter,
        n_particles=n_particles, n_sweeps=n_sweeps, burn_in=burn_in, n_backward=n_backward, estimator=estimator,
    )  # fmt: skip
    rule, kept, slopes = step_rule(step), [learner.theta], []
    natural = jax.jit(jax.vmap(family.precondition))
    for n in progress(range(1, n_iter + 1)):
        slope = learner.step(n)[1]
        slopes.append(slope)
        move = np.asarray(rule(n)) * np.asarray(
            natural(as_float(learner.theta), as_float(slope)), dtype=float
        )
        learner.theta = check_finite(learner.theta + np.clip(move, -max_move, max_move), n)
        kept.append(learner.theta)
    return as_trace(learner, kept, slopes)


@dataclass(frozen=True, eq=False)
class _Fixed:
    """A model that no parameter changes."""

    model: Any

    def __call__(self, theta: Array) -> Any:
        return self.model
