"""Testbed E: a small tanh network with a standard normal prior, its teachers and exact divergences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from loglik.information.universality_lens.checks import Floats


@dataclass(frozen=True)
class TanhNetwork:
    """One hidden layer of tanh units and a Bernoulli output, in the parametrisation of a unit prior.

    The logit is ``f(x) = 3 tanh(3 x W + b) a / sqrt(width) + c`` with ``x`` standardised features over the
    square root of their number, and every parameter has prior ``N(0, 1)``.

    Parameters
    ----------
    n_features : int
    width : int
        Hidden units.
    """

    n_features: int
    width: int = 16

    def __post_init__(self) -> None:
        if self.n_features < 1 or self.width < 1:
            raise ValueError(f"a network needs features and units, got {self.n_features} and {self.width}")

    @property
    def dim(self) -> int:
        """Number of parameters d."""
        return (self.n_features + 2) * self.width + 1

    def logits(self, theta: jax.Array, x: jax.Array) -> jax.Array:
        """Logits of shape (n,) for parameters (d,) and inputs (n, p)."""
        p, h = self.n_features, self.width
        W, b, a, c = theta[: p * h].reshape(p, h), theta[p * h : -h - 1], theta[-h - 1 : -1], theta[-1]
        return 3 * jnp.tanh(3 * (x @ W) + b) @ a / np.sqrt(h) + c

    def proba(self, theta: jax.Array, x: jax.Array) -> jax.Array:
        """Probabilities of label 1, shape (n,)."""
        return jax.nn.sigmoid(self.logits(theta, x))

    def loglik(self, theta: jax.Array, batch: tuple[jax.Array, jax.Array]) -> jax.Array:
        """Log-likelihood of a batch (inputs, labels), summed; labels may be probabilities."""
        x, y = batch
        z = self.logits(theta, x)
        return jnp.sum(y * z - jax.nn.softplus(z))

    def loglik_grad(self, theta: jax.Array, batch: tuple[jax.Array, jax.Array]) -> jax.Array:
        """Gradient of :meth:`loglik`, shape (d,)."""
        return jax.grad(self.loglik)(theta, batch)

    def divergence(self, theta: jax.Array, truth: tuple[jax.Array, jax.Array]) -> jax.Array:
        """Mean binary divergence from the truth's logits (n,) on inputs (n, p) to the network, nats."""
        x, z0 = truth
        z = self.logits(theta, x)
        gap = jax.nn.sigmoid(z0) * (z0 - z) - jax.nn.softplus(z0) + jax.nn.softplus(z)
        return jnp.mean(gap)

    def fisher_log_volume(self, theta: ArrayLike, x: ArrayLike, n: float) -> float:
        """``log det(I + n J) / 2`` with J the Fisher information at theta over the inputs, nats.

        It is the Gaussian (Laplace) estimate of minus the log volume of the neighbourhood that n samples
        can't tell apart, relative to the unit prior.
        """
        point = jnp.asarray(np.asarray(theta), jnp.float32)
        jacobian = np.asarray(_jacobian(self, point, jnp.asarray(np.asarray(x), jnp.float32)), dtype=float)
        p = np.asarray(self.proba(point, jnp.asarray(np.asarray(x), jnp.float32)), dtype=float)
        rows = jacobian * np.sqrt(n * p * (1 - p) / len(jacobian))[:, None]
        small = rows @ rows.T if len(rows) < rows.shape[1] else rows.T @ rows
        return float(np.linalg.slogdet(np.eye(len(small)) + small)[1]) / 2

    def teachers(self, rng: np.random.Generator, x: Floats) -> dict[str, Floats]:
        """Four truths in the class: all zero, one unit on one feature, a prior draw, 2.5 times a prior draw.

        The last has its output bias set so that half of the inputs `x` get a positive logit; otherwise a
        draw may say nearly the same everywhere, which is simple.
        """
        zero = np.zeros(self.dim)
        simple = zero.copy()
        simple[0] = simple[-self.width - 1] = 3.0  # weight of feature 0 into unit 0, and that unit's output
        typical = rng.standard_normal(self.dim)
        strong = 2.5 * rng.standard_normal(self.dim)
        strong[-1] -= np.median(
            np.asarray(self.logits(jnp.asarray(strong, jnp.float32), jnp.asarray(x, jnp.float32)))
        )
        return {"zero": zero, "simple": simple, "typical": typical, "complex": strong}


def _jacobian_of(network: TanhNetwork, theta: jax.Array, x: jax.Array) -> jax.Array:
    return jax.vmap(jax.grad(lambda t, row: network.logits(t, row[None])[0]), (None, 0))(theta, x)


_jacobian: Any = jax.jit(_jacobian_of, static_argnums=0)


def scale_inputs(X: ArrayLike) -> Floats:
    """Features standardised and divided by the square root of their number, so that rows have norm about 1."""
    table = np.asarray(X, dtype=float)
    sd = table.std(0)
    return (table - table.mean(0)) / np.where(sd > 0, sd, 1) / np.sqrt(table.shape[1])
