"""The risk to order n⁻² by automatic differentiation of the log-partition function (engine 2, the chapter's first).

The loss as a function of δ = η̂ − η* is the Bregman divergence of Φ, the dual of Ψ. Its derivatives along a line in the
*mean* parameters follow from Ψ's along a line in the *natural* ones by differentiating the likelihood equation
Ψ̇(θ̂(δ)) = η* + δ implicitly: with w = G⁻¹u,

    θ̂′ = w,   θ̂″ = −G⁻¹ Ψ⃛[w, w],   f‴[u³] = −2 Ψ⃛[w³],   f⁗[u⁴] = 3 (3 Ψ⃛[w, w]ᵀ G⁻¹ Ψ⃛[w, w] − Ψ⁗[w⁴]),

so one Taylor expansion of the gradient of Ψ along θ* + s w gives all that is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from loglik.information.pn_criterion.base import ExponentialFamily, Floats, LogPartition
from loglik.information.pn_criterion.expansion import RiskExpansion, moments
from loglik.information.pn_criterion.finite import check_rank

CHUNK = 512  # directions at a time
EXACT_LIMIT = 128  # p: up to here p² directions give the fourth-order part exactly
RANDOM_DIRECTIONS = 20_000


def along(function: Callable[[Any], Any], order: int) -> Callable[[Any], Any]:
    """The `order`-th derivative of a function of one real variable, by nested forward mode."""
    for _ in range(order):
        function = _derivative(function)
    return function


def _derivative(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda s: jax.jvp(function, (s,), (jnp.ones_like(s),))[1]


def line_derivatives(log_partition: LogPartition) -> Callable[[Any, Any], Any]:
    """Compile the map from θ (p,) and directions w (M, p) to Ψ⃛[w, w, ·] (M, p) and Ψ⁗[w⁴] (M,)."""
    gradient = jax.grad(log_partition)

    def one(theta: Any, w: Any) -> Any:
        second = along(lambda s: gradient(theta + s * w), 2)
        # one jvp gives the second derivative of the gradient and, along w, the third
        vector, change = jax.jvp(second, (jnp.zeros(()),), (jnp.ones(()),))
        return vector, w @ change

    return jax.jit(jax.vmap(one, (None, 0)))


def bregman_derivatives(bregman: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    """Compile the map from directions u (M, p) to the second, third and fourth derivative of f along them at 0."""

    def one(_: Any, u: Any) -> Any:
        third = along(lambda s: bregman(s * u), 3)
        zero = jnp.zeros(())
        three, four = jax.jvp(third, (zero,), (jnp.ones(()),))
        return along(lambda s: bregman(s * u), 2)(zero), three, four

    return jax.jit(jax.vmap(one, (None, 0)))


def _chunked(compiled: Callable[[Any, Any], Any], theta: Any, directions: Any) -> tuple[Floats, ...]:
    """Apply a compiled map in chunks of one shape, so that it compiles once."""
    size = min(CHUNK, 1 << max(3, (len(directions) - 1).bit_length()))
    padded = np.zeros((-(-len(directions) // size) * size, directions.shape[1]))
    padded[: len(directions)] = directions
    parts = [compiled(theta, padded[a : a + size]) for a in range(0, len(padded), size)]
    return tuple(np.concatenate(column)[: len(directions)] for column in zip(*parts, strict=True))


def gaussian_directions(root: Floats) -> tuple[Floats, Floats]:
    """Directions and weights with E F(u) = Σ weight · F(direction) for every quartic form F and u ~ N(0, root rootᵀ).

    Parameters
    ----------
    root : ndarray of shape (p, k)
        k² directions come back: the columns b_i with weight 4 − k, and b_i ± b_j with weight ½ (polarisation).
    """
    columns = root.T
    k = len(columns)
    i, j = np.triu_indices(k, 1)
    directions = np.concatenate([columns, columns[i] + columns[j], columns[i] - columns[j]])
    weights = np.concatenate([np.full(k, 4.0 - k), np.full(2 * len(i), 0.5)])
    return directions, weights


def _directions(
    cov: Floats, count: int | None, key: Any, limit: int = EXACT_LIMIT
) -> tuple[Floats, Floats, bool]:
    """Directions for the fourth-order part, their weights, and whether they are exact."""
    eigenvalues, vectors = np.linalg.eigh(cov)
    root = vectors * np.sqrt(np.clip(eigenvalues, 0, None))
    if count is None and len(cov) <= limit:
        return *gaussian_directions(root), True
    number = RANDOM_DIRECTIONS if count is None else count
    if key is None:
        raise ValueError(f"p = {len(cov)} needs random directions, so give a JAX key")
    normal = np.asarray(jax.random.normal(key, (number, len(cov)), dtype=jnp.float64))
    return normal @ root.T, np.full(number, 1 / number), False


def risk_coefficients_autodiff(
    family: ExponentialFamily,
    theta: ArrayLike,
    stats: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    directions: int | None = None,
    key: Any = None,
) -> RiskExpansion:
    """Coefficients of the risk for any family with a log-partition function.

    Parameters
    ----------
    family : ExponentialFamily
    theta : array_like of shape (p,)
        The projection θ*, where Ψ̇(θ*) is the data's mean.
    stats, weights : array_like of shape (N, p) and (N,)
        ξ under the truth.
    directions : int, optional
        Number of random directions for the fourth-order part. By default p² chosen ones that make it exact, for p up
        to 128; above, 20 000 random ones.
    key : jax.Array, optional
        For random directions.

    Returns
    -------
    RiskExpansion
        Its ``se`` is the error from random directions, 0 where they are exact. Costs N + p² Taylor expansions.

    Raises
    ------
    ValueError
        For a rank-deficient G, or a θ whose mean is not the data's.
    """
    truth = moments(stats, weights)
    with jax.enable_x64(True):
        point = jnp.asarray(np.asarray(theta, dtype=float))
        _, mean, G = family._at(theta)
        check_rank(G, family.names())
        spread = np.sqrt(np.diag(G))
        if not (np.abs(mean - truth.mean) < 1e-5 * spread).all():
            worst = int(np.argmax(np.abs(mean - truth.mean) / spread))
            raise ValueError(
                f"theta is not the projection: the model's mean of {family.names()[worst]} is {mean[worst]:.6g}, "
                f"the data's {truth.mean[worst]:.6g}"
            )
        rows, mass = _merged(truth.centred, truth.weights)
        w = np.linalg.solve(G, rows.T).T
        vector, _ = _chunked(family.line, point, w)
        C3 = -mass @ np.einsum("np,np->n", vector, w)
        u, share, exact = _directions(truth.cov, directions, key)
        vector, fourth = _chunked(family.line, point, np.linalg.solve(G, u.T).T)
    forms = 3 * np.einsum("np,np->n", vector, np.linalg.solve(G, vector.T).T) - fourth
    found = RiskExpansion.of(0.5 * np.trace(np.linalg.solve(G, truth.cov)), C3, share @ forms / 3, len(G))
    se = 0.0 if exact else 3 / 8 / 3 * float(forms.std(ddof=1)) / np.sqrt(len(forms))
    return RiskExpansion(found.A1, found.A2, found.C3, found.C4, found.p, se)


def risk_coefficients_jet(
    bregman: Callable[[Any], Any],
    suff_stats: ArrayLike,
    key: Any = None,
    *,
    weights: ArrayLike | None = None,
    directions: int | None = None,
) -> RiskExpansion:
    """Coefficients of the risk from the loss itself, where the MLE has a closed form.

    Parameters
    ----------
    bregman : callable
        f(δ) = KL(g(·;θ*) ‖ g(·;θ̂)) as a JAX function of δ = η̂ − η* (p,).
    suff_stats, weights : array_like of shape (N, p) and (N,)
        ξ under the truth.
    key, directions
        As for :func:`risk_coefficients_autodiff`.
    """
    truth = moments(suff_stats, weights)
    with jax.enable_x64(True):
        compiled = bregman_derivatives(bregman)
        rows, mass = _merged(truth.centred, truth.weights)
        second, third, _ = _chunked(compiled, None, rows)
        u, share, exact = _directions(truth.cov, directions, key)
        _, _, fourth = _chunked(compiled, None, u)
    found = RiskExpansion.of(0.5 * mass @ second, mass @ third / 2, share @ fourth / 9, rows.shape[1])
    se = 0.0 if exact else float(fourth.std(ddof=1)) / np.sqrt(len(fourth)) / 24
    return RiskExpansion(found.A1, found.A2, found.C3, found.C4, found.p, se)


def _merged(rows: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Equal rows as one, with their weights added: a table of counts has many."""
    found, position = np.unique(rows, axis=0, return_inverse=True)
    return found, np.bincount(position.reshape(-1), weights=weights).astype(float)
