"""PaRIS and the Parisian particle Gibbs sampler, vectorised over chains."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
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
    Params,
    as_float,
    check_model,
    observations,
)

Floats = NDArray[np.float64]
Progress = Callable[[Iterable[Any]], Iterable[Any]]
CHUNK = 50_000  # pairs of particles in flight: chains are run in groups that fit a core's cache
LEAST = 16  # chains of a group, so that calls are few
EXACT_UP_TO = 128  # where "auto" turns to rejection: below it one vectorised draw over all parents is faster


class PPGResult(NamedTuple):
    """Estimates of the Parisian particle Gibbs sampler; chains are independent."""

    initial: Floats  # (chains, H) sweep 0, plain PaRIS, NaN after an init_path; never part of the roll-out
    estimates: Floats  # (chains, k, H) estimator of conditional sweeps 1 to k
    path_estimates: Floats  # (chains, k, H) functional of the sampled path alone
    paths: Floats  # (chains, T, d) last path of each chain, or (chains, k, T, d) all with keep_paths
    renewed: (
        Floats  # (k, T) share of chains whose path left its reference at t; small early in time: slow mixing
    )
    ess: Floats  # (T,) mean effective sample size of the filter
    cost: int  # particles × sweeps, sweep 0 included

    def rollout(self, burn_in: int) -> Floats:
        """Mean of sweeps ``burn_in + 1`` to k, shape (chains, H): the paper's roll-out estimator."""
        k = self.estimates.shape[1]
        if not 0 <= burn_in < k:
            raise ValueError(f"burn_in must be from 0 to n_sweeps - 1 = {k - 1}, got {burn_in}")
        return self.estimates[:, burn_in:].mean(axis=1)


def paris(
    model: Any,
    y: ArrayLike,
    h: Functional,
    n_particles: int,
    n_backward: int = 2,
    *,
    key: jax.Array,
    method: str = "auto",
    n_chains: int | None = None,
    params: Params = None,
    progress: Progress = iter,
) -> Floats:
    """PaRIS: smoothed expectation of an additive functional in one pass.

    Parameters
    ----------
    model : StateSpaceModel
    y : array_like of shape (T,) or (T, p)
    h : callable
        ``h(pair)`` gives one step's term, shape (..., H), from ``pair.t, pair.x, pair.x_next, pair.y,
        pair.y_next, pair.params``; states have shape (..., d). Pass the same function object again and
        nothing is compiled anew.
    n_particles : int
        N, at least 2.
    n_backward : int
        M, backward draws a particle. With 1 all statistics coalesce onto one path's.
    key : PRNG key
    method : {"auto", "exact", "rejection", "expectation", "genealogy"}
        Backward draws: over all parents, O(N²); accept-reject (needs ``log_transition_bound``); their exact
        expectation (forward-filtering backward-smoothing, M infinite); or none, the genealogy of the
        filter (degenerates with T). "auto" takes exact draws up to 128 particles.
    n_chains : int, optional
        Independent repetitions; None gives one without the leading axis.
    params : pytree, optional
        Passed to `h`.
    progress : callable
        Wraps the groups of chains, such as tqdm.

    Returns
    -------
    array of shape (H,) or (n_chains, H)

    Raises
    ------
    ValueError
        For N below 2, M below 1, an unknown method, rejection without a bound, y that isn't finite, or
        observations that give every particle weight zero (it names the time).
    TypeError
        For a model that lacks a function.
    """
    run = _Run(model, y, h, n_particles, n_backward, method, params)
    chains = _count(n_chains, "n_chains")
    run.expect(chains)
    parts = [run.sweep(keys, None)[0] for keys in progress(run.chunks(key, chains))]
    estimate = np.concatenate([np.asarray(part.estimate, dtype=float) for part in parts])[:chains]
    return estimate[0] if n_chains is None else estimate


def conditional_paris(
    model: Any,
    y: ArrayLike,
    h: Functional,
    zeta: ArrayLike,
    n_particles: int,
    n_backward: int = 2,
    *,
    key: jax.Array,
    method: str = "auto",
    params: Params = None,
) -> tuple[Floats, Floats]:
    """One sweep with the path `zeta` pinned at index 0: the estimate and the new path.

    Parameters
    ----------
    zeta : array_like of shape (T, d) or (chains, T, d)
        Reference path; a leading axis runs one chain for each.
    model, y, h, n_particles, n_backward, key, method, params
        As for :func:`paris`.

    Returns
    -------
    estimate : array of shape (H,) or (chains, H)
    path : array of the shape of `zeta`

    Raises
    ------
    ValueError
        Also for a path whose length or dimension isn't the model's.
    """
    result = ppg(
        model, y, h, n_particles, 1, 0, n_backward, init_path=zeta, key=key, method=method, params=params,
        n_chains=None if np.ndim(zeta) == 2 else len(np.asarray(zeta)),
    )  # fmt: skip
    estimates, paths = result.estimates[:, 0], result.paths
    return (estimates[0], paths[0]) if np.ndim(zeta) == 2 else (estimates, paths)


def ppg(
    model: Any,
    y: ArrayLike,
    h: Functional,
    n_particles: int,
    n_sweeps: int,
    burn_in: int = 0,
    n_backward: int = 2,
    *,
    init_path: ArrayLike | None = None,
    key: jax.Array,
    n_chains: int | None = 1,
    method: str = "auto",
    params: Params = None,
    keep_paths: bool = False,
    progress: Progress = iter,
) -> PPGResult:
    """Parisian particle Gibbs: `n_sweeps` conditional sweeps, each pinned to the path that the last one drew.

    Parameters
    ----------
    n_sweeps : int
        k, conditional sweeps. Sweep 0, which finds the first path, comes on top unless `init_path` is given.
    burn_in : int
        k0, checked here and used by :meth:`PPGResult.rollout`; below `n_sweeps`.
    init_path : array_like of shape (T, d) or (chains, T, d), optional
        First reference.
    n_chains : int
        Independent chains, run side by side by ``vmap``; a chain's numbers don't depend on how many.
    keep_paths : bool
        Keep all paths, not only the last.
    model, y, h, n_particles, n_backward, key, method, params, progress
        As for :func:`paris`.

    Returns
    -------
    PPGResult

    Raises
    ------
    ValueError
        As :func:`paris`, and for a burn-in of `n_sweeps` or more, or an `init_path` of the wrong shape.
    """
    run = _Run(model, y, h, n_particles, n_backward, method, params)
    chains = _count(n_chains, "n_chains")
    _count(n_sweeps, "n_sweeps")
    if not 0 <= burn_in < n_sweeps:
        raise ValueError(f"burn_in must be from 0 to n_sweeps - 1 = {n_sweeps - 1}, got {burn_in}")
    run.expect(chains * n_sweeps)
    starts = None if init_path is None else run.reference(init_path, chains)
    groups = []
    for i, keys in enumerate(progress(run.chunks(key, chains))):
        size = len(keys)
        start = (
            None if starts is None else np.take(starts, np.arange(i * size, (i + 1) * size) % chains, axis=0)
        )
        groups.append(run.gibbs(keys, start, n_sweeps, keep_paths))
    joined = [np.concatenate(parts)[:chains] for parts in zip(*groups, strict=True)]
    initial, estimates, path_estimates, paths, renewed, ess = joined
    cost = n_particles * (n_sweeps + (init_path is None))
    return PPGResult(initial, estimates, path_estimates, paths, renewed.mean(0), ess.mean((0, 1)), cost)


class _Run:
    """Checked arguments and the compiled sweep."""

    def __init__(
        self,
        model: Any,
        y: ArrayLike,
        h: Functional,
        n_particles: int,
        n_backward: int,
        method: str,
        params: Any,
    ) -> None:
        check_model(model)
        self.model, self.y, self.params = model, observations(y), params
        self.static = {"h": h, "n_particles": n_particles, "n_backward": n_backward, "method": method}
        self.static["method"] = check_sizes(model, n_particles, n_backward, method)
        self.n, self.run = n_particles, run_chains(0)

    def expect(self, sweeps: int) -> None:
        """Choose the compiled sweep for that many sweeps of one chain."""
        self.run = run_chains(sweeps * len(self.y) * self.n**2)

    def chunks(self, key: jax.Array, chains: int) -> list[jax.Array]:
        """Keys of the chains in groups of one size, the last filled up."""
        fits = max(LEAST, CHUNK // self.n**2)
        groups = math.ceil(chains / fits)
        size = math.ceil(chains / groups)
        numbers = np.arange(groups * size, dtype=np.uint32).reshape(groups, size)
        return [chain_keys(key, group) for group in numbers]

    def sweep(
        self, keys: jax.Array, reference: ArrayLike | None, number: int = 0
    ) -> tuple[kernel.Sweep, Array]:
        """One sweep of every chain; plain PaRIS without a reference."""
        pinned = reference is not None
        if reference is None:
            reference = np.zeros((len(keys), self.y.shape[0], self.model.dim), self.y.dtype)
        out = self.run(
            keys, number, self.model, self.y, reference, np.asarray(pinned), self.params, **self.static
        )
        check_weights(np.asarray(out.log_means))
        return out, out.path

    def gibbs(
        self, keys: jax.Array, start: Floats | None, sweeps: int, keep_paths: bool
    ) -> tuple[Floats, ...]:
        """All sweeps of one group of chains."""
        if start is None:
            first, path = self.sweep(keys, None)
            initial = np.asarray(first.estimate, dtype=float)
        else:
            path, initial = as_float(start), None
        kept = []
        for number in range(1, sweeps + 1):
            out, path = self.sweep(keys, path, number)
            record = (out.estimate, out.path_estimate, out.renewed, out.ess, *([path] if keep_paths else []))
            kept.append([np.asarray(part, dtype=float) for part in record])
        estimates, path_estimates, renewed, ess, *paths = (
            np.stack(p, axis=1) for p in zip(*kept, strict=True)
        )
        if initial is None:
            initial = np.full_like(estimates[:, 0], np.nan)
        last = paths[0] if keep_paths else np.asarray(path, dtype=float)
        return initial, estimates, path_estimates, last, renewed, ess

    def reference(self, path: ArrayLike, chains: int) -> Floats:
        """`path` for every chain, checked."""
        given = np.asarray(path, dtype=float)
        wanted = (self.y.shape[0], self.model.dim)
        allowed = (wanted, (chains, *wanted))
        if given.shape not in allowed:
            raise ValueError(
                f"the reference path must have shape (T, d) = {wanted} or (chains, T, d) = {allowed[1]}, "
                f"got {given.shape}"
            )
        if not np.isfinite(given).all():
            raise ValueError("the reference path has values that aren't finite")
        return np.broadcast_to(given, allowed[1])


def _chains(
    keys: jax.Array,
    number: Array,
    model: Any,
    y: Array,
    reference: Array,
    pinned: Array,
    params: Params,
    **static: Any,
) -> kernel.Sweep:
    """Sweep `number` of every chain: ``vmap`` of :func:`.kernel.sweep`."""

    def one(key: jax.Array, reference: Array) -> kernel.Sweep:
        key = jax.random.fold_in(key, number)
        return kernel.sweep(key, model, y, reference, pinned, params, **static)

    return jax.vmap(one)(keys, reference)


chain_keys = compile_once(jax.vmap(jax.random.fold_in, in_axes=(None, 0)))(0)
run_chains = compile_once(_chains, "h", "n_particles", "n_backward", "method", "keep_cloud")


def check_sizes(model: Any, n_particles: int, n_backward: int, method: str) -> str:
    """The method that "auto" stands for; ``ValueError`` for sizes or methods that can't be."""
    for name, value, least, why in (
        ("n_particles", n_particles, 2, "one is pinned to the reference, at least one has to be free"),
        ("n_backward", n_backward, 1, "each particle needs a parent"),
    ):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise ValueError(f"{name} must be an integer of at least {least} ({why}), got {value!r}")
    bounded = hasattr(model, "log_transition_bound")
    if method == "auto":
        return "rejection" if n_particles > EXACT_UP_TO and bounded else "exact"
    if method not in kernel.METHODS:
        raise ValueError(f"unknown method {method!r}; allowed: auto, {', '.join(kernel.METHODS)}")
    if method == "rejection" and not bounded:
        raise ValueError(
            f"method 'rejection' needs an upper bound of the transition density, but {type(model).__name__} has no "
            "log_transition_bound(t); use method='exact'"
        )
    return method


def check_weights(log_means: NDArray[Any]) -> None:
    """``ValueError`` naming the first time at which every particle's weight vanished."""
    bad = ~np.isfinite(log_means).all(axis=0)
    if bad.any():
        t = int(bad.argmax())
        raise ValueError(
            f"every particle has weight zero (or NaN) at t = {t}: no particle can explain y[{t}]; use more particles, "
            "a wider observation or transition density, or check the data there"
        )


def _count(value: int | None, name: str) -> int:
    if value is None:
        return 1
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")
    return int(value)


def sweep_cloud(
    model: Any, y: ArrayLike, n_particles: int, n_backward: int = 2, *, zeta: ArrayLike | None, key: jax.Array
) -> tuple[kernel.Cloud, Floats]:
    """All particles of one sweep, to look at, and the path that it drew.

    Parameters
    ----------
    zeta : array_like of shape (T, d), optional
        Pinned path; None runs plain PaRIS.
    model, y, n_particles, n_backward, key
        As for :func:`paris`.
    """
    run = _Run(model, y, _nothing, n_particles, n_backward, "exact", None)
    reference = np.zeros((1, len(run.y), model.dim)) if zeta is None else run.reference(zeta, 1)
    pinned = jnp.asarray(zeta is not None)
    out = run.run(
        key[None], 0, model, run.y, as_float(reference), pinned, None, **run.static, keep_cloud=True
    )
    cloud: kernel.Cloud = jax.tree.map(lambda part: np.asarray(part[0]), out.cloud)
    return cloud, np.asarray(out.path[0], dtype=float)


def _nothing(pair: Pair) -> Array:
    return 0.0 * pair.x[..., :1]
