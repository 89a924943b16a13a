"""Learning with smoothed gradients: score ascent and particle EM."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from loglik.sampling.parisian_particle_gibbs import kernel
from loglik.sampling.parisian_particle_gibbs.compiling import compile_once
from loglik.sampling.parisian_particle_gibbs.protocol import (
    Array,
    Functional,
    Pair,
    as_float,
    check_model,
    observations,
)
from loglik.sampling.parisian_particle_gibbs.smoothing import Progress, check_sizes, check_weights

Floats = NDArray[np.float64]
ModelFn = Callable[[Array], Any]
Rule = Callable[[int], ArrayLike]
ESTIMATORS = ("ppg", "paris")


class Trace(NamedTuple):
    """Iterates of a stochastic approximation; chains are independent."""

    theta: Floats  # (chains, n_iter + 1, p)
    gradients: Floats  # (chains, n_iter, p) the noisy gradients, before step and clipping
    paths: Floats  # (chains, T, d) last reference path of each chain
    cost: int  # particles × sweeps of one iteration

    def average(self, share: float = 0.5) -> Floats:
        """Mean of the last `share` of the iterates, shape (chains, p)."""
        if not 0 < share <= 1:
            raise ValueError(f"share must be in (0, 1], got {share}")
        first = round((1 - share) * self.theta.shape[1])
        return self.theta[:, first:].mean(axis=1)


def power_steps(size: ArrayLike, power: float = 0.5) -> Rule:
    """Step sizes ``size * n^(-power)``, n = 1, 2, …; `size` may differ by coordinate."""
    sizes = np.asarray(size, dtype=float)
    return lambda n: sizes * n ** (-power)


def score_functional(model_fn: ModelFn) -> Functional:
    """The score as an additive functional of a pair of states, by automatic differentiation (Fisher's identity).

    It takes the parameters from ``pair.params``. The model needs ``log_init`` where `theta` enters it.
    """

    def step(theta: Array, pair: Pair) -> Array:
        model = model_fn(theta)
        start = model.log_init(pair.x) if hasattr(model, "log_init") else 0.0
        first = start + model.log_potential(jnp.asarray(0), pair.x, pair.y)
        move = model.log_transition(pair.t, pair.x, pair.x_next)
        seen = model.log_potential(pair.t + 1, pair.x_next, pair.y_next)
        return move + seen + jnp.where(pair.t == 0, first, 0.0)

    def score(pair: Pair) -> Array:
        def single(x: Array, x_next: Array) -> Array:
            return jax.grad(step)(pair.params, pair._replace(x=x, x_next=x_next))

        result: Array = jnp.vectorize(single, signature="(d),(d)->(p)")(pair.x, pair.x_next)
        return result

    return score


@dataclass(frozen=True)
class Gradient:
    """How a gradient comes from smoothed statistics: static, so that one compilation serves all iterations."""

    model_fn: ModelFn
    h: Functional
    direct: bool  # the smoothed functional is the gradient itself

    def __call__(self, theta: Array, stats: Array, y: Array) -> Array:
        """Gradient at `theta` from the smoothed statistics."""
        if self.direct:
            return stats
        return jax.grad(lambda th: self.model_fn(th).complete_log_likelihood(stats, y))(theta)


@functools.lru_cache(maxsize=64)
def _score_of(model_fn: ModelFn, exponential: bool) -> Gradient:
    if exponential:
        return Gradient(model_fn, _Statistics(model_fn), direct=False)
    return Gradient(model_fn, score_functional(model_fn), direct=True)


@dataclass(frozen=True)
class _Statistics:
    model_fn: ModelFn

    def __call__(self, pair: Pair) -> Array:
        statistics: Array = self.model_fn(pair.params).score_statistics(pair)
        return statistics


def _smooth_chains(
    keys: jax.Array,
    number: Array,
    thetas: Array,
    y: Array,
    paths: Array,
    pinned: Array,
    *,
    gradient: Gradient,
    burn_in: int,
    **static: Any,
) -> tuple[Array, Array, Array, Array]:
    """Statistics, gradient, new path and log mean weights of every chain at its own parameters.

    `pinned` (sweeps,) says which sweeps follow the reference; the others are plain PaRIS.
    """

    def one(key: jax.Array, theta: Array, path: Array) -> tuple[Array, Array, Array, Array]:
        model = gradient.model_fn(theta)

        def sweep(path: Array, inputs: tuple[jax.Array, Array]) -> tuple[Array, tuple[Array, Array]]:
            out = kernel.sweep(inputs[0], model, y, path, inputs[1], theta, h=gradient.h, **static)
            return out.path, (out.estimate, out.log_means)

        split = jax.random.split(jax.random.fold_in(key, number), pinned.shape[0])
        path, (estimates, log_means) = jax.lax.scan(sweep, path, (split, pinned))
        stats = estimates[burn_in:].mean(0)
        return stats, gradient(theta, stats, y), path, log_means

    return jax.vmap(one)(keys, thetas, paths)


_smooth = compile_once(_smooth_chains, "gradient", "burn_in", "n_particles", "n_backward", "method")


class Learner:
    """Chains of a stochastic approximation: parameters, reference paths, and their compiled update."""

    def __init__(
        self, model: Any, gradient: Gradient, y: Array, theta0: ArrayLike, n_chains: int, key: jax.Array,
        *, n_iter: int, n_particles: int, n_sweeps: int, burn_in: int, n_backward: int, estimator: str,
        warm: bool = True,
    ) -> None:  # fmt: skip
        if estimator not in ESTIMATORS:
            raise ValueError(f"unknown estimator {estimator!r}; allowed: {', '.join(ESTIMATORS)}")
        free = estimator == "paris"
        if free and n_sweeps != 1:
            raise ValueError(
                f"estimator 'paris' makes one sweep a step, so n_sweeps must be 1, got {n_sweeps}"
            )
        if not 0 <= burn_in < n_sweeps:
            raise ValueError(f"burn_in must be from 0 to n_sweeps - 1 = {n_sweeps - 1}, got {burn_in}")
        method = check_sizes(model, n_particles, n_backward, "auto")
        self.gradient, self.y, self.warm, self.free = gradient, y, warm, free
        self.sizes = {"n_particles": n_particles, "n_backward": n_backward, "method": method}
        self.sweeps, self.burn_in, self.cost = n_sweeps, burn_in, n_particles * n_sweeps
        start = np.atleast_1d(np.asarray(theta0, dtype=float))
        if start.ndim > 2 or (start.ndim == 2 and len(start) != n_chains):
            raise ValueError(f"theta0 must be (p,) or (n_chains, p) = ({n_chains}, p), got {start.shape}")
        self.theta = np.broadcast_to(start, (n_chains, start.shape[-1])).copy()
        self.keys = jax.random.split(key, n_chains)
        self.paths = jnp.zeros((n_chains, len(y), model.dim), y.dtype)
        self.smooth = _smooth(_at_least_one(n_iter) * n_chains * len(y) * n_particles**2 * n_sweeps)
        if not free:
            self._run(0, restart=True)

    def _run(self, number: int, restart: bool = False) -> tuple[Floats, Floats]:
        pinned = jnp.full(self.sweeps, not self.free).at[0].set(not (self.free or restart))
        stats, slope, self.paths, log_means = self.smooth(
            self.keys, number, as_float(self.theta), self.y, self.paths, pinned,
            gradient=self.gradient, burn_in=self.burn_in, **self.sizes,
        )  # fmt: skip
        check_weights(np.asarray(log_means).reshape(-1, len(self.y)))
        return np.asarray(stats, dtype=float), np.asarray(slope, dtype=float)

    def step(self, n: int) -> tuple[Floats, Floats]:
        """Statistics and gradient of iteration `n` at the present parameters."""
        return self._run(n, restart=not self.warm)


def score_ascent(
    model_fn: ModelFn,
    theta0: ArrayLike,
    y: ArrayLike,
    *,
    n_particles: int,
    n_sweeps: int = 2,
    burn_in: int = 0,
    step: float | ArrayLike | Rule = 0.5,
    n_iter: int,
    estimator: str = "ppg",
    projection: Callable[[Floats], Floats] | None = None,
    key: jax.Array,
    n_chains: int = 1,
    n_backward: int = 2,
    clip: float = 0.5,
    warm: bool = True,
    progress: Progress = iter,
) -> Trace:
    """Maximum likelihood by stochastic ascent along smoothed scores.

    ``theta_{n+1} = projection(theta_n + step(n) * score_n / T)``, where the score is the roll-out of `n_sweeps`
    conditional sweeps whose first reference is the path that step n - 1 left.

    Parameters
    ----------
    model_fn : callable
        ``model_fn(theta)`` makes the model from an array (p,), in JAX. Models with ``score_statistics`` have their
        sufficient statistics smoothed; others are differentiated (:func:`score_functional`).
    theta0 : array_like of shape (p,) or (n_chains, p)
    y : array_like of shape (T,) or (T, p)
    n_particles, n_sweeps, burn_in, n_backward : int
        N, k, k0 and M of each step.
    step : float, array_like or callable
        A number or vector c means ``c / sqrt(n)``; a callable gives the step of n = 1, 2, …
    n_iter : int
    estimator : {"ppg", "paris"}
        "paris" takes one unconditional sweep (`n_sweeps` 1), the biased rival.
    projection : callable, optional
        Maps parameters (n_chains, p) into the allowed set.
    key : PRNG key
    n_chains : int
        Independent runs.
    clip : float
        Bound of each coordinate of score / T.
    warm : bool
        Whether to carry the reference path; False starts each step from plain PaRIS and brings the bias back.
    progress : callable
        Wraps the iterations.

    Returns
    -------
    Trace

    Raises
    ------
    ValueError
        For sizes that can't be, a parameter that leaves the finite numbers, or observations that no particle explains.
    """
    table = observations(y)
    model = model_fn(
        as_float(np.atleast_1d(np.asarray(theta0, dtype=float)).reshape(-1, np.shape(theta0)[-1])[0])
    )
    check_model(model)
    gradient = _score_of(model_fn, hasattr(model, "score_statistics"))
    learner = Learner(
        model, gradient, table, theta0, n_chains, key, n_iter=n_iter, n_particles=n_particles, n_sweeps=n_sweeps,
        burn_in=burn_in, n_backward=n_backward, estimator=estimator, warm=warm,
    )  # fmt: skip
    rule, kept, slopes = step_rule(step), [learner.theta], []
    for n in progress(range(1, n_iter + 1)):
        slope = learner.step(n)[1]
        slopes.append(slope)
        moved = learner.theta + np.asarray(rule(n)) * np.clip(slope / len(table), -clip, clip)
        learner.theta = check_finite(moved if projection is None else projection(moved), n)
        kept.append(learner.theta)
    return as_trace(learner, kept, slopes)


def particle_em(
    model_fn: ModelFn,
    maximise: Callable[[Floats], Floats],
    theta0: ArrayLike,
    y: ArrayLike,
    *,
    n_particles: int,
    n_sweeps: int = 2,
    burn_in: int = 0,
    power: float = 0.6,
    n_iter: int,
    estimator: str = "ppg",
    key: jax.Array,
    n_chains: int = 1,
    n_backward: int = 2,
    progress: Progress = iter,
) -> Trace:
    """Stochastic-approximation EM on the same smoothed statistics: a baseline for :func:`score_ascent`.

    Parameters
    ----------
    maximise : callable
        The M step: statistics (n_chains, H) to parameters (n_chains, p).
    power : float
        The running statistics move by ``n^(-power)``.
    model_fn, theta0, y, n_particles, n_sweeps, burn_in, n_iter, estimator, key, n_chains, n_backward, progress
        As for :func:`score_ascent`; the model needs ``score_statistics``.
    """
    table = observations(y)
    model = model_fn(
        as_float(np.atleast_1d(np.asarray(theta0, dtype=float)).reshape(-1, np.shape(theta0)[-1])[0])
    )
    if not hasattr(model, "score_statistics"):
        raise TypeError(
            f"particle EM needs sufficient statistics; {type(model).__name__} has no score_statistics"
        )
    learner = Learner(
        model, _score_of(model_fn, True), table, theta0, n_chains, key, n_iter=n_iter, n_particles=n_particles,
        n_sweeps=n_sweeps, burn_in=burn_in, n_backward=n_backward, estimator=estimator,
    )  # fmt: skip
    kept, slopes, running = [learner.theta], [], None
    for n in progress(range(1, n_iter + 1)):
        stats, slope = learner.step(n)
        running = stats if running is None else running + n ** (-power) * (stats - running)
        learner.theta = check_finite(maximise(running), n)
        kept.append(learner.theta)
        slopes.append(slope)
    return as_trace(learner, kept, slopes)


# -- shared ------------------------------------------------------------------------------------------------


def step_rule(step: Any) -> Rule:
    """Steps by n: a callable as it is, a number or vector over the root of n."""
    return step if callable(step) else power_steps(step)


def _at_least_one(n_iter: int) -> int:
    if isinstance(n_iter, bool) or not isinstance(n_iter, (int, np.integer)) or n_iter < 1:
        raise ValueError(f"n_iter must be an integer of at least 1, got {n_iter!r}")
    return int(n_iter)


def check_finite(theta: Floats, n: int) -> Floats:
    """Return `theta`, or ``ValueError`` naming the iteration at which it left the finite numbers."""
    if not np.isfinite(theta).all():
        raise ValueError(
            f"the parameters left the finite numbers at iteration {n}; use smaller steps or a projection"
        )
    return np.asarray(theta, dtype=float)


def as_trace(learner: Learner, kept: list[Floats], slopes: list[Floats]) -> Trace:
    """Collect the iterates."""
    paths = np.asarray(learner.paths, dtype=float)
    return Trace(np.stack(kept, 1), np.stack(slopes, 1), paths, learner.cost)
