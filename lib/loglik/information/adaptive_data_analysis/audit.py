"""Exact audits of privacy: the probability of what a mechanism puts out, by quadrature, on two neighbours."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, Protocol, get_args, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import beta as beta_law

from loglik.information.adaptive_data_analysis.accounting import Floats, check_positive, check_share

ThresholdNoise = Literal["per positive", "none", "per query"]
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(40)


class AuditResult(NamedTuple):
    """The largest privacy loss found."""

    loss: float  # |log P(event on S) / P(event on S′)|; for Monte Carlo the lower confidence bound
    event: Any  # where it was found
    exact: bool


@runtime_checkable
class Law(Protocol):
    """A mechanism whose output probabilities are known."""

    def log_probability(self, data: Any, event: Any) -> float:
        """Log probability (or density) of an output on `data`."""
        ...


class LaplaceLaw:
    """Density of an answer with Laplace noise: `data` is the exact answer, an event is an output."""

    def __init__(self, scale: float) -> None:
        self.scale = check_positive(scale, "scale")

    def log_probability(self, data: float, event: float) -> float:
        """Log density of the output `event` when the exact answer is `data`."""
        return float(-np.log(2 * self.scale) - abs(event - data) / self.scale)


class SparseVectorLaw:
    """Probabilities of the sparse vector technique's outputs, by quadrature to about 1e-12.

    Parameters
    ----------
    threshold, epsilon : float
        As in :func:`~loglik.information.adaptive_data_analysis.sparse_vector`.
    threshold_noise : {"per positive", "none", "per query"}
        The first is the correct mechanism. The others are the two classical mistakes.

    Notes
    -----
    Events are sequences of booleans, the answers to the first queries. Within a block (up to and with a
    positive) the answers are independent given the noisy threshold, so its probability is one integral
    over that; blocks are independent.
    """

    def __init__(
        self, threshold: float, epsilon: float, threshold_noise: ThresholdNoise = "per positive"
    ) -> None:
        if threshold_noise not in get_args(ThresholdNoise):
            raise ValueError(
                f"threshold_noise must be one of {', '.join(get_args(ThresholdNoise))}, got {threshold_noise!r}"
            )
        self.threshold, self.threshold_noise = float(threshold), threshold_noise
        self.epsilon = check_positive(epsilon, "epsilon")

    def log_probability(self, data: ArrayLike, event: Sequence[bool]) -> float:
        """Log probability that the first len(event) answers on values `data` are `event`."""
        values, above = np.asarray(data, dtype=float)[: len(event)], np.asarray(event, dtype=bool)
        if values.shape != above.shape or values.size == 0:
            raise ValueError(f"an event of length {len(above)} needs as many values, got {values.shape}")
        if self.threshold_noise == "none":
            return float(self._log_answers(values, above, np.zeros(1)).sum())
        if self.threshold_noise == "per query":
            return sum(self._log_block(values[i : i + 1], above[i : i + 1]) for i in range(len(above)))
        edges = [0, *(np.flatnonzero(above) + 1).tolist()]
        edges += [len(above)] if edges[-1] < len(above) else []
        return sum(self._log_block(values[a:b], above[a:b]) for a, b in itertools.pairwise(edges))

    def _log_answers(self, values: Floats, above: np.ndarray, z: Floats) -> Floats:
        """Log probability of each answer at each value of the threshold's noise, shape (values, z)."""
        x = (self.threshold + z[None, :] - values[:, None]) * self.epsilon / 4
        x = np.where(above[:, None], -x, x)  # P(noise ≤ x) below, P(noise > x) above
        lower = np.minimum(x, 0.0) - np.log(2)
        return np.where(x < 0, lower, np.log1p(-0.5 * np.exp(-np.abs(x))))

    def _log_block(self, values: Floats, above: np.ndarray) -> float:
        """Log of the integral over the threshold's noise, panel by panel between the kinks."""
        scale = 2 / self.epsilon
        kinks = np.unique(np.concatenate([[0.0], values - self.threshold]))
        reach = 45 * scale  # beyond, e^-45 of the mass
        left, right = kinks[0] - reach, kinks[-1] + reach
        edges = np.unique(np.concatenate([kinks, np.linspace(left, right, 121)]))
        half = np.diff(edges)[:, None] / 2
        z = (edges[:-1, None] + half * (1 + _NODES)).ravel()
        weights = (half * _WEIGHTS).ravel()
        log_f = self._log_answers(values, above, z).sum(axis=0) - np.abs(z) / scale - np.log(2 * scale)
        top = log_f.max()
        return float(top + np.log(weights @ np.exp(log_f - top)))


def audit_dp(
    mechanism: Law | Callable[[Any, np.random.Generator], Any],
    S: Any,
    S_neighbour: Any,
    events: Sequence[Any],
    *,
    n_runs: int = 20_000,
    confidence: float = 0.99,
    rng: np.random.Generator | None = None,
) -> AuditResult:
    """The largest privacy loss over events, on a sample and a neighbour of it.

    Parameters
    ----------
    mechanism : Law or callable
        A law (:class:`LaplaceLaw`, :class:`SparseVectorLaw`) is audited exactly. A callable
        ``(data, rng) -> output`` is run `n_runs` times on both.
    S, S_neighbour
        Data that differ in one row.
    events : sequence
        For a law, its outputs. For a callable, predicates of an output.
    n_runs : int
    confidence : float
        For a callable: probability that no event's loss is overstated.
    rng : numpy.random.Generator
        For a callable.

    Returns
    -------
    AuditResult
        A loss above ε refutes ε-DP; one below proves it only for a law and these events.
    """
    if not len(events):
        raise ValueError("an audit needs at least one event")
    if isinstance(mechanism, Law):
        losses = [
            abs(mechanism.log_probability(S, e) - mechanism.log_probability(S_neighbour, e)) for e in events
        ]
        worst = int(np.argmax(losses))
        return AuditResult(float(losses[worst]), events[worst], True)
    if rng is None:
        raise ValueError("auditing a callable is done by Monte Carlo and needs rng")
    outputs = [[mechanism(data, rng) for _ in range(n_runs)] for data in (S, S_neighbour)]
    hits = np.array([[sum(map(bool, map(event, runs))) for event in events] for runs in outputs])
    level = (1 - check_share(confidence, "confidence")) / (4 * len(events))
    low = np.where(hits > 0, beta_law.ppf(level, hits, n_runs - hits + 1), 0.0)
    high = np.where(hits < n_runs, beta_law.ppf(1 - level, hits + 1, n_runs - hits), 1.0)
    with np.errstate(divide="ignore"):
        bounds = np.maximum(np.log(low[0] / high[1]), np.log(low[1] / high[0]))
    worst = int(np.argmax(bounds))
    return AuditResult(float(max(bounds[worst], 0.0)), events[worst], False)
