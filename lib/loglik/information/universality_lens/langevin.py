"""Stochastic gradient Langevin dynamics, many chains at once: gradient descent with the right noise."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from loglik.information.universality_lens.checks import SamplingError

Array = jax.Array
Gradient = Callable[[Array, Any], Array]


class SGLDRun(NamedTuple):
    """Thinned draws of the chains."""

    samples: Array  # (draws, chains, d)
    step_size: np.ndarray  # (steps,) or (steps, chains), as used


def decaying_steps(first: ArrayLike, steps: int) -> np.ndarray:
    """Step sizes ``first (1 + 3 t / steps)^(-0.55)``: Welling and Teh's decay, down to about half the first.

    Parameters
    ----------
    first : float or array_like of shape (chains,)
    steps : int

    Returns
    -------
    array of shape (steps,) or (steps, chains)
    """
    decay = (1 + 3 * np.arange(steps) / steps) ** -0.55
    return np.multiply.outer(decay, np.asarray(first, dtype=float))


def normal_prior_grad(theta: Array) -> Array:
    """Gradient of the log density of ``N(0, I)``."""
    return -theta


def sgld(
    logprior_grad: Callable[[Array], Array],
    loglik_grad: Gradient,
    theta0: ArrayLike,
    data: Any,
    *,
    steps: int,
    batch: int,
    step_size: float | np.ndarray,
    key: Array,
    thin: int = 20,
    burn: float = 0.5,
    sizes: ArrayLike | None = None,
) -> SGLDRun:
    """Run SGLD chains: ``theta += eta/2 (grad log prior + n/b grad log lik of a batch) + sqrt(eta) N(0, I)``.

    Chains advance together in one compiled loop, in single precision. A batch is a window of `batch` rows at
    a random place of the (circular) data, so the rows must be in random order; where a chain has fewer rows
    than `batch`, the window repeats them, and the batch is the full data when `batch` is a multiple.

    Parameters
    ----------
    logprior_grad : callable
        Takes parameters (d,), gives the gradient (d,).
    loglik_grad : callable
        Takes parameters (d,) and a batch (a pytree like `data` with `batch` rows), gives the gradient (d,) of
        the batch's summed log-likelihood.
    theta0 : array_like of shape (chains, d)
        Starting points, such as draws from the prior.
    data : pytree of arrays
        With shape (n, ...), shared by all chains; or (chains, n_max, ...) with `sizes`, padded.
    steps, batch : int
    step_size : float or array of shape (steps,), (steps, chains) or (chains,)
        The step eta; see :func:`decaying_steps`.
    key : jax.Array
        PRNG key.
    thin : int
        Steps from one kept draw to the next.
    burn : float
        Share of the steps to leave out at the start.
    sizes : array_like of shape (chains,), optional
        Rows of each chain's own data set.

    Returns
    -------
    SGLDRun

    Raises
    ------
    ValueError
        For sizes, shapes or step sizes that are not allowed.
    SamplingError
        When a chain diverged; the message says how many and advises on the step.
    """
    start = jnp.asarray(np.asarray(theta0), jnp.float32)
    eta = _check_run(start, data, steps, batch, step_size, thin, burn, sizes)
    rows = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), jnp.float32), data)
    n = jnp.asarray(_rows(data, sizes, len(start)), jnp.int32)
    kept = max(1, int(steps * (1 - burn)) // thin)
    skipped = steps - kept * thin
    samples = _chains(
        logprior_grad, loglik_grad, batch, thin, skipped, sizes is not None, start, rows, n,
        jnp.asarray(eta, jnp.float32), key,
    )  # fmt: skip
    lost = int((~jnp.isfinite(samples[-1]).all(-1)).sum())
    if lost:
        raise SamplingError(
            f"{lost} of {len(start)} SGLD chains diverged at steps up to {eta.max():.3g}; "
            "halve step_size: it must stay below about 4 over the largest curvature of the log posterior"
        )
    return SGLDRun(samples, eta)


def _check_run(
    start: Array, data: Any, steps: int, batch: int, step_size: Any, thin: int, burn: float, sizes: Any
) -> np.ndarray:
    if start.ndim != 2:
        raise ValueError(f"theta0 must have shape (chains, d), got {start.shape}")
    if min(steps, batch, thin) < 1 or not 0 <= burn < 1 or thin > steps:
        raise ValueError(
            f"steps, batch and thin must be at least 1, thin at most steps, burn in [0, 1); "
            f"got {steps}, {batch}, {thin}, {burn}"
        )
    leaves = jax.tree.leaves(data)
    if not leaves:
        raise ValueError("data must hold at least one array")
    lead = {np.shape(leaf)[: 1 if sizes is None else 2] for leaf in leaves}
    if len(lead) != 1 or 0 in next(iter(lead)):
        raise ValueError(
            f"the arrays of data must agree in their number of rows, above 0; got {sorted(lead)}"
        )
    eta = np.asarray(step_size, dtype=float)
    chains = start.shape[0]
    if eta.ndim == 1 and len(eta) == chains != steps:
        eta = np.broadcast_to(eta, (steps, chains))
    elif eta.ndim == 0:
        eta = np.full(steps, float(eta))
    if eta.shape not in {(steps,), (steps, chains)} or not (np.isfinite(eta).all() and (eta > 0).all()):
        raise ValueError(
            f"step_size must be positive, with shape (), ({steps},), ({chains},) or ({steps}, {chains}); "
            f"got shape {eta.shape}"
        )
    return eta


def _rows(data: Any, sizes: Any, chains: int) -> np.ndarray:
    leaf = jax.tree.leaves(data)[0]
    if sizes is None:
        return np.full(chains, np.shape(leaf)[0])
    n = np.asarray(sizes)
    if n.shape != (chains,) or np.shape(leaf)[0] != chains or n.min() < 1 or n.max() > np.shape(leaf)[1]:
        raise ValueError(
            f"sizes must give each of the {chains} chains between 1 and {np.shape(leaf)[1]} rows, got shape {n.shape}"
        )
    return n


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3, 4, 5))
def _chains(
    logprior_grad: Callable[[Array], Array],
    loglik_grad: Gradient,
    batch: int,
    thin: int,
    skipped: int,
    own_data: bool,
    start: Array,
    data: Any,
    n: Array,
    eta: Array,
    key: Array,
) -> Array:
    chains = len(start)

    def pick(index: Array) -> Any:
        if own_data:
            return jax.tree.map(lambda leaf: leaf[jnp.arange(chains)[:, None], index], data)
        return jax.tree.map(lambda leaf: leaf[index], data)

    def step(t: Array, theta: Array) -> Array:
        place, noise = jax.random.split(jax.random.fold_in(key, t))
        first = jax.random.randint(place, (chains,), 0, n)
        index = (first[:, None] + jnp.arange(batch)) % n[:, None]
        gradient = jax.vmap(loglik_grad)(theta, pick(index)) * (n / batch)[:, None]
        size = jnp.broadcast_to(eta[t], (chains,))[:, None]
        drift = jax.vmap(logprior_grad)(theta) + gradient
        return theta + size / 2 * drift + jnp.sqrt(size) * jax.random.normal(noise, theta.shape)

    def keep(theta: Array, block: Array) -> tuple[Array, Array]:
        theta = jax.lax.fori_loop(skipped + block * thin, skipped + (block + 1) * thin, step, theta)
        return theta, theta

    warm = jax.lax.fori_loop(0, skipped, step, start)
    return jax.lax.scan(keep, warm, jnp.arange((len(eta) - skipped) // thin))[1]


@functools.partial(jax.jit, static_argnums=1)
def _mean_prediction(samples: Array, predict: Callable[[Array, Array], Array], x: Array) -> Array:
    def add(total: Array, theta: Array) -> tuple[Array, None]:
        return total + jax.vmap(predict, (0, None))(theta, x), None

    first = jax.vmap(predict, (0, None))(samples[0], x)
    return jax.lax.scan(add, first, samples[1:])[0] / len(samples)


def sgld_predict(
    samples: ArrayLike, predict: Callable[[Array, Array], Array], x: ArrayLike, groups: int | None = None
) -> np.ndarray:
    """The mixture learner: *probabilities* averaged over the draws, never logits or losses.

    Parameters
    ----------
    samples : array of shape (draws, chains, d)
    predict : callable
        Takes parameters (d,) and inputs (n, p), gives probabilities (n,).
    x : array_like of shape (n, p)
    groups : int, optional
        Number of groups of neighbouring chains to average over; None keeps the chains apart.

    Returns
    -------
    array of shape (chains, n) or (groups, n)

    Raises
    ------
    ValueError
        When the chains don't split into that many groups.
    """
    draws = jnp.asarray(samples, jnp.float32)
    if draws.ndim != 3:
        raise ValueError(f"samples must have shape (draws, chains, d), got {draws.shape}")
    inputs = jnp.asarray(np.asarray(x), jnp.float32)
    found = np.asarray(_mean_prediction(draws, predict, inputs), dtype=float)
    if groups is None:
        return found
    if groups < 1 or len(found) % groups:
        raise ValueError(f"{len(found)} chains don't split into {groups} groups of equal size")
    return found.reshape(groups, -1, found.shape[1]).mean(1)
