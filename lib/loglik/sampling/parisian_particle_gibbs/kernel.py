"""One sweep of (conditional) PaRIS for one chain: a scan over time, traced by JAX.

:mod:`~loglik.sampling.parisian_particle_gibbs.smoothing` puts ``vmap`` around it for chains and replicates.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from loglik.sampling.parisian_particle_gibbs.protocol import Array, Functional, Pair, Params

METHODS = ("exact", "rejection", "expectation", "genealogy")
BLOCK = 64  # length of the cumulative sums that are one product with a triangular matrix
TRIALS = 4  # rejection rounds over all draws; what is left goes through the exact draw in small groups


class Cloud(NamedTuple):
    """All particles of a sweep."""

    particles: Array  # (T, N, d)
    parents: Array  # (T-1, N) index at t of the backward draw of particle i at t + 1
    ancestors: Array  # (T-1, N) index at t from which particle i at t + 1 was moved
    log_weights: Array  # (T, N)


class Sweep(NamedTuple):
    """What one sweep gives."""

    estimate: Array  # (H,) of the smoothed additive functional
    path: Array  # (T, d) the new path
    path_estimate: Array  # (H,) the functional of the new path alone
    log_means: Array  # (T,) log of the mean weight; -inf or NaN where every weight vanished
    ess: Array  # (T,) effective sample size of the filter's weights
    renewed: Array  # (T,) whether the new path left the reference at t
    cloud: Cloud | None


class Draws(NamedTuple):
    """Backward indices, or all their probabilities."""

    parents: Array  # (N, M)
    first: Array  # (N,) the one that the path follows
    weights: Array | None = None  # (N, N) for the exact expectation


def cumulative(weights: Array) -> Array:
    """Cumulative sums over the last axis, as products with triangular matrices, which a CPU does fastest."""
    n = weights.shape[-1]
    if n <= BLOCK:
        return weights @ jnp.triu(jnp.ones((n, n), weights.dtype))
    blocks = -(-n // BLOCK)
    padded = jnp.pad(weights, [(0, 0)] * (weights.ndim - 1) + [(0, blocks * BLOCK - n)])
    within = cumulative(padded.reshape(*weights.shape[:-1], blocks, BLOCK))
    before = cumulative(within[..., -1]) - within[..., -1]
    return (within + before[..., None]).reshape(padded.shape)[..., :n]


def inverse_cdf(weights: Array, uniforms: Array) -> Array:
    """Indices drawn with probability proportional to `weights` (..., N), one for each of `uniforms` (..., M).

    Many weights are cut into groups: first a group is found, then the index within it, so that no pass over
    all weights is needed but their sum.
    """
    n = weights.shape[-1]
    size = 16 if n <= 256 else 32
    if n <= 2 * size:
        sums = cumulative(weights)
        return reached(sums[..., None, :], uniforms * sums[..., -1:])
    groups = -(-n // size)
    padded = jnp.pad(weights, [(0, 0)] * (weights.ndim - 1) + [(0, groups * size - n)])
    padded = padded.reshape(*weights.shape[:-1], groups, size)
    sums = cumulative(padded.sum(-1))
    target = uniforms * sums[..., -1:]
    group = reached(sums[..., None, :], target)
    before = jnp.take_along_axis(jnp.pad(sums, [(0, 0)] * (sums.ndim - 1) + [(1, 0)]), group, -1)
    inside = cumulative(jnp.take_along_axis(padded, group[..., None], -2))
    return group * size + reached(inside, target - before)


def reached(sums: Array, target: Array) -> Array:
    """How many of the cumulative `sums` (..., N) are at most `target` (...), which rounding may put at the end."""
    last = sums[..., -1] * (1 - jnp.finfo(sums.dtype).eps)  # below it lies an index of positive weight
    return (sums <= jnp.minimum(target, last)[..., None]).sum(-1)


def largest(values: Array) -> Array:
    """Maximum over the last axis, kept as an axis of length 1.

    Written as a reduction that XLA's CPU library of fused kernels doesn't recognise: those kernels made the
    whole sweep five times slower.
    """
    least = jnp.asarray(-jnp.inf, values.dtype)
    return lax.reduce(values, least, lambda a, b: lax.select(a > b, a, b), (values.ndim - 1,))[..., None]


def unlog(log_weights: Array) -> Array:
    """Weights with largest value 1 over the last axis."""
    return jnp.exp(log_weights - largest(log_weights))


def pin(particles: Array, reference: Array, pinned: Array) -> Array:
    """Put the reference at index 0 where `pinned`."""
    return particles.at[0].set(jnp.where(pinned, reference, particles[0]))


def noises(model: Any, keys: jax.Array, n: int) -> Array:
    """Noise of the moves at all times, drawn in one call; the keys themselves for a model that draws it inside.

    Drawn inside the loop over time, the random numbers of a small cloud took most of a sweep.
    """
    return jax.vmap(lambda key: model.sample_noise(key, n))(keys) if hasattr(model, "sample_noise") else keys


def move(model: Any, noise: Array, t: Array, x: Array, ancestors: Array) -> Array:
    """Multinomial resampling and the model's transition, from its noise or from a key."""
    if hasattr(model, "sample_noise"):
        return model.advance(t, x[ancestors], noise)
    return model.sample_transition(noise, t, x[ancestors])


def backward_log_weights(model: Any, t: Array, x: Array, x_next: Array, log_w: Array) -> Array:
    """Unnormalised log probability of each parent l (last axis) for each particle of `x_next`."""
    return log_w + model.log_transition(t, x[None, :, :], x_next[:, None, :])


def draw_exact(
    model: Any, t: Array, x: Array, x_next: Array, log_w: Array, uniforms: Array, *, keep: bool
) -> Draws:
    """Categorical draws over all N parents: O(N²)."""
    weights = unlog(backward_log_weights(model, t, x, x_next, log_w))
    index = inverse_cdf(weights, uniforms)
    return Draws(index, index[:, 0], weights if keep else None)


def draw_rejection(
    model: Any, t: Array, x: Array, x_next: Array, log_w: Array, uniforms: Array, key: jax.Array
) -> Draws:
    """Propose from the filter's weights, accept by the transition density over its bound.

    After ``TRIALS`` rounds over all draws, those still open go through the exact draw in groups.
    """
    shape, n = uniforms.shape, x.shape[0]
    child = jnp.repeat(jnp.arange(n), shape[1])
    sums, bound = jnp.cumsum(unlog(log_w)), model.log_transition_bound(t)
    u = jax.random.uniform(key, (TRIALS, 2, child.size), x.dtype)

    def trial(state: tuple[Array, Array], u: Array) -> tuple[tuple[Array, Array], None]:
        index, open_ = state
        proposal = jnp.minimum(jnp.searchsorted(sums, u[0] * sums[-1], side="right"), n - 1)
        accepted = jnp.log(u[1]) < model.log_transition(t, x[proposal], x_next[child]) - bound
        return (jnp.where(open_ & accepted, proposal, index), open_ & ~accepted), None

    start = (jnp.zeros(child.size, int), jnp.ones(child.size, bool))
    tried, _ = lax.scan(trial, start, u)
    size = max(1, child.size // 8)

    def finish(state: tuple[Array, Array]) -> tuple[Array, Array]:
        index, open_ = state
        rows = jnp.nonzero(open_, size=size, fill_value=child.size)[0]
        weights = unlog(backward_log_weights(model, t, x, x_next[child.at[rows].get(mode="clip")], log_w))
        drawn = inverse_cdf(weights, uniforms.ravel().at[rows].get(mode="clip")[:, None])[:, 0]
        return index.at[rows].set(drawn, mode="drop"), open_.at[rows].set(False, mode="drop")

    index, _ = lax.while_loop(lambda state: state[1].any(), finish, tried)
    index = index.reshape(shape)
    return Draws(index, index[:, 0])


def draw_genealogy(ancestors: Array, pinned: Array) -> Draws:
    """The forward ancestors; the pinned particle descends from the pinned one."""
    index = ancestors.at[0].set(jnp.where(pinned, 0, ancestors[0]))
    return Draws(index[:, None], index)


def update_statistics(h: Functional, pair: Pair, statistics: Array, draws: Draws) -> Array:
    """Mean over the backward draws of the parents' statistics plus the step's term; `pair.x` has all parents."""
    x, x_next = pair.x, pair.x_next[:, None, :]
    if draws.weights is not None:
        p = draws.weights / draws.weights.sum(-1, keepdims=True)
        terms = h(pair._replace(x=x[None, :, :], x_next=x_next))
        return p @ statistics + jnp.einsum(
            "il,ilh->ih", p, jnp.broadcast_to(terms, (*p.shape, terms.shape[-1]))
        )
    terms = h(pair._replace(x=x[draws.parents], x_next=x_next))
    return (statistics[draws.parents] + terms).mean(1)


def trace_back(particles: Array, parents: Array, last: Array) -> tuple[Array, Array]:
    """Follow the parents from particle `last` at the end: the path (T, d) and its indices (T,)."""

    def back(j: Array, level: Array) -> tuple[Array, Array]:
        return level[j], level[j]

    _, earlier = lax.scan(back, last, parents, reverse=True)
    index = jnp.append(earlier, last)
    return particles[jnp.arange(particles.shape[0]), index], index


def sweep(
    key: jax.Array,
    model: Any,
    y: Array,
    reference: Array,
    pinned: Array,
    params: Params,
    *,
    h: Functional,
    n_particles: int,
    n_backward: int,
    method: str,
    keep_cloud: bool = False,
) -> Sweep:
    """One sweep of conditional PaRIS, or of PaRIS where `pinned` is false.

    Parameters
    ----------
    key : PRNG key
    model : StateSpaceModel
    y : array of shape (T, p)
    reference : array of shape (T, d)
        The path at index 0; ignored where `pinned` is false.
    pinned : bool array
    params : pytree
        Passed to `h`.
    h : callable
        Term of the additive functional, see :class:`~.protocol.Pair`.
    n_particles, n_backward : int
        N and M.
    method : {"exact", "rejection", "expectation", "genealogy"}
        Backward draws: categorical over all parents; accept-reject; none, but their exact expectation;
        or the forward ancestors.
    keep_cloud : bool
        Whether to return all particles.
    """
    model = model.prepare() if hasattr(model, "prepare") else model
    n, steps = n_particles, y.shape[0] - 1
    keys = jax.random.split(key, 2 * steps + 1)  # one split: each use of the generator costs compile time
    x0 = pin(model.sample_init(keys[-1], n), reference[0], pinned)
    log_w0 = model.log_potential(jnp.asarray(0), x0, y[0])
    size = jax.eval_shape(h, Pair(jnp.asarray(0), x0, x0, y[0], y[0], params)).shape[-1]

    def step(state: tuple[Array, ...], inputs: Any) -> tuple[Any, Any]:
        x, statistics, log_w, _ = state
        t, noise, k_u, drawn, y_t, y_next, ref = inputs
        u, spare = drawn[:-1].reshape(n, -1), drawn[-1:]
        ancestors = inverse_cdf(unlog(log_w), u[:, 0])
        x_next = pin(move(model, noise, t, x, ancestors), ref, pinned)
        if method == "rejection":
            draws = draw_rejection(model, t, x, x_next, log_w, u[:, 1:], jax.random.fold_in(k_u, 1))
        elif method == "genealogy":
            draws = draw_genealogy(ancestors, pinned)
        else:
            draws = draw_exact(model, t, x, x_next, log_w, u[:, 1:], keep=method == "expectation")
        statistics = update_statistics(h, Pair(t, x, x_next, y_t, y_next, params), statistics, draws)
        log_next = model.log_potential(t + 1, x_next, y_next)
        return (x_next, statistics, log_next, spare), (x_next, log_next, draws.first, ancestors)

    times = jnp.arange(steps)
    draw = jax.vmap(lambda key: jax.random.uniform(key, (n * (1 + n_backward) + 1,), x0.dtype))
    uniforms = draw(keys[steps:-1])
    noise = noises(model, keys[:steps], n)
    start = (x0, jnp.zeros((n, size), x0.dtype), log_w0, jnp.zeros(1, x0.dtype))
    (_, statistics, log_w, spare), (later, log_later, parents, ancestors) = lax.scan(
        step, start, (times, noise, keys[steps:-1], uniforms, y[:-1], y[1:], reference[1:])
    )
    final = unlog(log_w)
    last = inverse_cdf(final, spare)[0]
    particles = jnp.concatenate([x0[None], later])
    log_weights = jnp.concatenate([log_w0[None], log_later])
    path, index = trace_back(particles, parents, last)
    terms = path_terms(h, path, y, params)
    weights = unlog(log_weights)
    return Sweep(
        estimate=final @ statistics / final.sum(),
        path=path,
        path_estimate=terms.sum(0),
        log_means=jnp.log(weights.mean(-1)) + largest(log_weights)[:, 0],
        ess=weights.sum(-1) ** 2 / (weights**2).sum(-1),
        renewed=(index != 0) | ~pinned,
        cloud=Cloud(particles, parents, ancestors, log_weights) if keep_cloud else None,
    )


def path_terms(h: Functional, path: Array, y: Array, params: Params) -> Array:
    """The functional's terms along one path, shape (T - 1, H)."""

    def term(t: Array, x: Array, x_next: Array, y: Array, y_next: Array) -> Array:
        return h(Pair(t, x, x_next, y, y_next, params))

    return jax.vmap(term)(jnp.arange(path.shape[0] - 1), path[:-1], path[1:], y[:-1], y[1:])
