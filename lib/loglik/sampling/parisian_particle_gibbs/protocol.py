"""What a state-space model and an additive functional have to be."""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array
ArrayLike = jax.typing.ArrayLike
Params = Any  # any JAX pytree


class Pair(NamedTuple):
    """Two neighbouring states, as an additive functional sees them."""

    t: Array  # time of the first, from 0 to T - 2
    x: Array  # (..., d) state at t
    x_next: Array  # (..., d) state at t + 1; broadcasts against x
    y: Array  # (p,) observation at t
    y_next: Array  # (p,) observation at t + 1
    params: Params = None  # whatever the caller passed along: parameters to differentiate by


Functional = Callable[[Pair], Array]  # one step's term h_t(x_t, x_{t+1}), shape (..., H)


@runtime_checkable
class StateSpaceModel(Protocol):
    """A hidden Markov model on R^d: what every smoother here takes.

    The functions broadcast over leading axes: states have shape (..., d). They are traced by JAX, so `t`
    is an integer array. A model is a JAX pytree (a registered dataclass or a NamedTuple); its leaves may
    change without compiling anew.

    Optional: ``log_transition_bound(t)``, an upper bound of `log_transition` over all pairs (for rejection
    sampling); ``log_init(x)``, the log density of the first state (for learning its parameters);
    ``sample_noise(key, n)`` and ``advance(t, x, noise)``, which part `sample_transition` into its random numbers,
    drawn for all times at once, and the move given them (much faster with few particles);
    ``prepare()``, called once a sweep, returns the object whose functions the loop over time calls;
    ``score_statistics`` and ``complete_log_likelihood`` for exponential families (see
    :class:`LinearGaussianModel`).
    """

    @property
    def dim(self) -> int:
        """Dimension d of the state."""
        ...

    def sample_init(self, key: jax.Array, n: int) -> Array:
        """Draw `n` first states, shape (n, d)."""
        ...

    def sample_transition(self, key: jax.Array, t: Array, x: Array) -> Array:
        """Draw the state at t + 1 for each state `x` at t."""
        ...

    def log_transition(self, t: Array, x: Array, x_next: Array) -> Array:
        """Log density of the move from `x` at t to `x_next`, shape (...)."""
        ...

    def log_potential(self, t: Array, x: Array, y: Array) -> Array:
        """Log density of the observation `y` (p,) at t given the state `x`, shape (...)."""
        ...


def as_float(value: ArrayLike) -> Array:
    """A JAX array of the default floating type (single precision unless ``jax.enable_x64``)."""
    kind = jnp.result_type(float)
    # NumPy converts its own arrays: JAX would compile a conversion for each shape
    return jnp.asarray(value.astype(kind) if isinstance(value, np.ndarray) else value, dtype=kind)


def float_fields(model: Any) -> Any:
    """The dataclass `model` with every field as a float array, lists included: what derivatives are taken at."""
    fields = {field.name: as_float(getattr(model, field.name)) for field in dataclasses.fields(model)}
    return dataclasses.replace(model, **fields)


def squared_norm(vector: Array) -> Array:
    """Sum of squares over the last axis; short ones term by term, which XLA fuses best."""
    if vector.shape[-1] > 16:
        return (vector * vector).sum(-1)
    return functools.reduce(operator.add, (vector[..., i] ** 2 for i in range(vector.shape[-1])))


def check_model(model: Any) -> None:
    """``TypeError`` naming the functions that `model` lacks."""
    needed = ("dim", "sample_init", "sample_transition", "log_transition", "log_potential")
    missing = [name for name in needed if not hasattr(model, name)]
    if missing:
        raise TypeError(
            f"{type(model).__name__} is no state-space model: it lacks {', '.join(missing)} "
            "(see StateSpaceModel, or wrap distributions with DistributionModel)"
        )


def observations(y: Any) -> Array:
    """Observations as a float array (T, p); one dimension becomes one column.

    Raises
    ------
    ValueError
        For fewer than two time steps, more than two dimensions, or values that aren't finite.
    """
    table = np.asarray(y, dtype=float)
    table = table[:, None] if table.ndim == 1 else table
    if table.ndim != 2 or len(table) < 2:
        raise ValueError(f"y must be (T,) or (T, p) with T of at least 2, got shape {np.shape(y)}")
    bad = ~np.isfinite(table).all(axis=1)
    if bad.any():
        raise ValueError(
            f"y has {int(bad.sum())} rows that aren't finite numbers, the first at t = {int(bad.argmax())}; "
            "fill or drop them, or give a model whose potential handles a code for 'missing'"
        )
    return as_float(table)
