"""Thermodynamic integration: the soft bound of a class that no formula covers, from tempered chains."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import PchipInterpolator

from loglik.information.universality_lens.checks import Floats, SamplingError, check_sizes
from loglik.stats import intervals

Array = jax.Array


class TemperedEnergy(NamedTuple):
    """Mean divergence under the tempered laws ``w exp(-beta D)``, chain by chain."""

    betas: Floats  # (K,) rising, the first one 0
    energy: Floats  # (chains, K) E_beta[D], nats per sample
    acceptance: Floats  # (K,) of the Hamiltonian moves

    def soft_bounds(self, n: float) -> Floats:
        """``B2(n)``, the integral of the energy from 0 to n, of each chain; shape (chains,), nats."""
        return np.array([integrate_energy(self.betas, row, n) for row in self.energy])

    def soft_bound(self, n: float) -> intervals.Estimate:
        """``B2(n)`` with a t interval over chains, nats."""
        return intervals.mean(self.soft_bounds(n))

    def learning_coefficient(self, beta: float) -> intervals.Estimate:
        """``lambda(beta) = beta E_beta[D]`` at the nearest beta of the ladder, t interval over chains."""
        at = int(np.abs(self.betas - beta).argmin())
        return intervals.mean(self.betas[at] * self.energy[:, at])


def integrate_energy(betas: ArrayLike, energy: ArrayLike, n: float) -> float:
    """Integrate E_beta[D] over beta from 0 to n.

    In ``s = log(1 + beta / beta_1)`` the integrand is ``(beta + beta_1) E_beta[D]``, which tends to the
    learning coefficient and so is flat; a monotone cubic through it is accurate on a dozen betas.

    Parameters
    ----------
    betas : array_like of shape (K,)
        Rising from 0.
    energy : array_like of shape (K,)
    n : float
        At most the last beta.
    """
    ladder, values = np.asarray(betas, dtype=float), np.asarray(energy, dtype=float)
    if not 0 <= n <= ladder[-1] * (1 + 1e-9):
        raise ValueError(f"n must lie between 0 and the last beta {ladder[-1]:g}, got {n}")
    unit = ladder[1]
    s = np.log1p(ladder / unit)
    return float(PchipInterpolator(s, (ladder + unit) * values).integrate(0, min(np.log1p(n / unit), s[-1])))


def beta_ladder(n: float, count: int) -> Floats:
    """Zero, then `count` - 1 betas in geometric steps up to n."""
    if count < 4 or n <= 0:
        raise ValueError(f"a ladder needs n above 0 and at least 4 betas, got {n} and {count}")
    return np.concatenate([[0.0], np.geomspace(min(0.25, n / 4), n, count - 1)])


def tempered_energy(
    kl_fn: Callable[[Array, Any], Array],
    dim: int,
    betas: ArrayLike,
    *,
    chains: int,
    steps: int,
    key: Array,
    data: Any = None,
    leapfrog: int = 10,
    first_step: float = 0.3,
) -> TemperedEnergy:
    """Mean divergence along a ladder of temperatures, by Hamiltonian Monte Carlo with a unit normal prior.

    Chains start from the prior at beta = 0 and climb the ladder together; at each rung the first third of
    the moves tunes the step towards 80 % acceptance and is thrown away.

    Parameters
    ----------
    kl_fn : callable
        Takes parameters (d,) and `data`, gives the divergence D from the truth, nats per sample.
    dim : int
        Number of parameters d.
    betas : array_like of shape (K,)
        Rising from 0; see :func:`beta_ladder`.
    chains : int
        At least 2, for the intervals.
    steps : int
        Moves at each rung, at least 6.
    key : jax.Array
    data : pytree of arrays, optional
        Passed on to `kl_fn`; another truth with the same shapes needs no new compilation.
    leapfrog : int
        Gradient evaluations of a move.
    first_step : float
        Leapfrog step at the first rung.

    Returns
    -------
    TemperedEnergy

    Raises
    ------
    ValueError
        For a ladder that doesn't rise from 0, or too few chains or steps.
    SamplingError
        When a divergence is not finite or the moves at some rung are nearly all refused.
    """
    ladder = check_sizes(betas, "betas")
    if ladder.ndim != 1 or len(ladder) < 4 or ladder[0] != 0 or (np.diff(ladder) <= 0).any():
        raise ValueError("betas must rise from 0 over at least 4 values: the integral starts at the prior")
    if chains < 2 or steps < 6 or leapfrog < 1:
        raise ValueError(
            f"at least 2 chains, 6 steps and 1 leapfrog are needed, got {chains}, {steps}, {leapfrog}"
        )
    rows = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), jnp.float32), data)
    start, climb = jax.random.split(key)
    theta = jax.random.normal(start, (chains, dim), jnp.float32)
    energy, accepted = _climb(
        kl_fn, steps, leapfrog, theta, rows, jnp.asarray(ladder, jnp.float32), jnp.float32(first_step), climb
    )
    found, rate = np.asarray(energy, dtype=float).T, np.asarray(accepted, dtype=float)
    if not np.isfinite(found).all() or rate.min() < 0.1:
        raise SamplingError(
            f"tempered chains failed (acceptance down to {rate.min():.2f}); give a smaller first_step or more betas"
        )
    return TemperedEnergy(ladder, found, rate)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _climb(
    kl_fn: Callable[[Array, Any], Array],
    steps: int,
    leapfrog: int,
    theta: Array,
    data: Any,
    betas: Array,
    first_step: Array,
    key: Array,
) -> tuple[Array, Array]:
    burn = steps // 3
    value_grad = jax.vmap(jax.value_and_grad(kl_fn), (0, None))

    def move(carry: Any, t: Array) -> tuple[Any, tuple[Array, Array]]:
        theta, d, g, log_step, beta, rung = carry
        kick, jitter, toss = jax.random.split(jax.random.fold_in(key, rung * steps + t), 3)
        p = jax.random.normal(kick, theta.shape)
        eps = jnp.exp(log_step) * jax.random.uniform(jitter, (), minval=0.7, maxval=1.3)

        def leap(_: Array, state: Any) -> Any:
            x, p, _, gx = state
            p = p - eps / 2 * (x + beta * gx)
            x = x + eps * p
            dx, gx = value_grad(x, data)
            return x, p - eps / 2 * (x + beta * gx), dx, gx

        x, q, dx, gx = jax.lax.fori_loop(0, leapfrog, leap, (theta, p, d, g))
        before = (theta**2 + p**2).sum(-1) / 2 + beta * d
        after = (x**2 + q**2).sum(-1) / 2 + beta * dx
        chance = jnp.nan_to_num(jnp.exp(jnp.minimum(before - after, 0)))
        take = jax.random.uniform(toss, chance.shape) < chance
        theta, g = jnp.where(take[:, None], x, theta), jnp.where(take[:, None], gx, g)
        d = jnp.where(take, dx, d)
        tuned = log_step + jnp.where(t < burn, 2.0 / (t + 4.0) ** 0.6, 0.0) * (chance.mean() - 0.8)
        return (theta, d, g, jnp.minimum(tuned, 0.3), beta, rung), (d, chance.mean())

    def climb(carry: Any, rung: Array) -> tuple[Any, tuple[Array, Array]]:
        theta, d, g, log_step = carry
        start = (theta, d, g, log_step, betas[rung], rung)
        (theta, d, g, log_step, _, _), (energies, rates) = jax.lax.scan(move, start, jnp.arange(steps))
        return (theta, d, g, log_step), (energies[burn:].mean(0), rates[burn:].mean())

    d, g = value_grad(theta, data)
    first = (theta, d, g, jnp.log(first_step))
    return jax.lax.scan(climb, first, jnp.arange(len(betas)))[1]
