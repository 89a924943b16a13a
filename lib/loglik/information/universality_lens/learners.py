"""What the mixture is compared with: point estimates by Adam, ensembles, NUTS; and the student that imitates it."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike
from numpyro.infer import NUTS
from numpyro.optim import Adam

from loglik.information.universality_lens.checks import SamplingError
from loglik.information.universality_lens.network import TanhNetwork

Array = jax.Array


class Fits(NamedTuple):
    """Networks trained side by side."""

    final: np.ndarray  # (fits, d)
    snapshots: np.ndarray  # (K, fits, d), evenly over the training


def fit_networks(
    network: TanhNetwork,
    theta0: ArrayLike,
    x: ArrayLike,
    y: ArrayLike,
    weights: ArrayLike,
    *,
    steps: int,
    rate: float = 0.02,
    prior: float = 0.0,
    snapshots: int = 20,
) -> Fits:
    """Minimise ``sum_i weights_i nll_i + prior |theta|^2 / 2`` by full-batch Adam, all fits in one loop.

    Parameters
    ----------
    network : TanhNetwork
    theta0 : array_like of shape (fits, d)
    x : array_like of shape (fits, n, p)
    y : array_like of shape (fits, n)
        Labels, or probabilities to imitate.
    weights : array_like of shape (fits, n)
        0 for padding.
    steps : int
    rate : float
        Adam's first step size; it decays to a tenth.
    prior : float
        1 gives the maximum a posteriori (MAP) network, 0 the maximum likelihood one.
    snapshots : int
        How many times to keep the networks on the way, for early stopping.

    Raises
    ------
    ValueError
        For shapes that don't fit.
    SamplingError
        When a fit is not finite.
    """
    start = jnp.asarray(np.asarray(theta0), jnp.float32)
    rows = [jnp.asarray(np.asarray(v), jnp.float32) for v in (x, y, weights)]
    if (
        start.ndim != 2
        or rows[0].ndim != 3
        or rows[1].shape != rows[0].shape[:2]
        or rows[2].shape != rows[1].shape
    ):
        raise ValueError(
            "shapes must be theta0 (fits, d), x (fits, n, p), y and weights (fits, n); got "
            + ", ".join(str(v.shape) for v in (start, *rows))
        )
    each = max(1, steps // snapshots)
    path = _adam(network, each, max(1, steps // each), float(rate), start, *rows, jnp.float32(prior))
    found = np.asarray(path)
    if not np.isfinite(found[-1]).all():
        raise SamplingError(f"Adam diverged at rate {rate}; halve it")
    return Fits(found[-1], found)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _adam(
    network: TanhNetwork,
    each: int,
    count: int,
    rate: float,
    start: Array,
    x: Array,
    y: Array,
    w: Array,
    prior: Array,
) -> Array:
    optimiser = Adam(lambda t: rate * 0.1 ** (t / (each * count)))

    def loss(theta: Array, x: Array, y: Array, w: Array) -> Array:
        z = network.logits(theta, x)
        nll = jax.nn.softplus(z) - y * z
        return w @ nll + prior * theta @ theta / 2

    gradient = jax.vmap(jax.grad(loss))

    def step(_: Array, state: Any) -> Any:
        return optimiser.update(gradient(optimiser.get_params(state), x, y, w), state)

    def keep(state: Any, _: Array) -> tuple[Any, Array]:
        state = jax.lax.fori_loop(0, each, step, state)
        return state, optimiser.get_params(state)

    return jax.lax.scan(keep, optimiser.init(start), jnp.arange(count))[1]


def distill(
    network: TanhNetwork,
    student_init: ArrayLike,
    inputs: ArrayLike,
    soft_targets: ArrayLike,
    *,
    steps: int = 800,
    rate: float = 0.03,
) -> np.ndarray:
    """Train one network to imitate a mixture: cross-entropy on its probabilities over unlabelled inputs.

    Parameters
    ----------
    network : TanhNetwork
    student_init : array_like of shape (fits, d)
    inputs : array_like of shape (m, p)
        Unlabelled.
    soft_targets : array_like of shape (fits, m)
        The mixture's probabilities at the inputs.
    steps : int
    rate : float

    Returns
    -------
    array of shape (fits, d)

    Raises
    ------
    ValueError
        For targets outside [0, 1].
    """
    targets = np.asarray(soft_targets, dtype=float)
    if not (np.isfinite(targets).all() and targets.min() >= 0 and targets.max() <= 1):
        raise ValueError("soft_targets must be probabilities in [0, 1]")
    shared = np.broadcast_to(np.asarray(inputs, dtype=np.float32), (len(targets), *np.shape(inputs)))
    weights = np.full(targets.shape, 1.0 / targets.shape[1])
    return fit_networks(
        network, student_init, shared, targets, weights, steps=steps, rate=rate, snapshots=1
    ).final


def nuts(
    network: TanhNetwork,
    x: ArrayLike,
    y: ArrayLike,
    *,
    warmup: int,
    draws: int,
    chains: int,
    key: Array,
    tree_depth: int = 6,
) -> np.ndarray:
    """Posterior draws of numpyro's no-U-turn sampler for several data sets at once: the reference for SGLD.

    Parameters
    ----------
    network : TanhNetwork
    x : array_like of shape (S, n, p)
    y : array_like of shape (S, n)
    warmup, draws, chains : int
        Of each data set.
    key : jax.Array
    tree_depth : int
        Trajectories have up to 2^tree_depth gradient evaluations.

    Returns
    -------
    array of shape (S, draws, chains, d)
    """
    rows = [jnp.asarray(np.asarray(v), jnp.float32) for v in (x, y)]
    if rows[0].ndim != 3 or rows[1].shape != rows[0].shape[:2]:
        raise ValueError(f"shapes must be x (S, n, p) and y (S, n); got {rows[0].shape} and {rows[1].shape}")
    keys = jax.random.split(key, (len(rows[0]), chains))
    samples = _nuts(network, warmup, draws, tree_depth, *rows, keys)
    return np.swapaxes(np.asarray(samples), 1, 2)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _nuts(
    network: TanhNetwork, warmup: int, draws: int, tree_depth: int, x: Array, y: Array, keys: Array
) -> Array:
    def chain(job: tuple[Array, Array, Array]) -> Array:
        x, y, key = job

        def energy(theta: Array) -> Array:
            return theta @ theta / 2 - network.loglik(theta, (x, y))

        begin, place = jax.random.split(key)
        kernel = NUTS(potential_fn=energy, max_tree_depth=tree_depth)
        start = kernel.init(begin, warmup, jax.random.normal(place, (network.dim,)), (), {})

        def step(state: Any, _: Array) -> tuple[Any, Array]:
            state = kernel.sample(state, (), {})
            return state, state.z

        return jax.lax.scan(step, start, jnp.arange(warmup + draws))[1][warmup:]

    # chain after chain, because trees of unequal depth would wait for the deepest
    return jax.lax.map(lambda job: jax.lax.map(lambda key: chain((*job[:2], key)), job[2]), (x, y, keys))
