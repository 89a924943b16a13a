"""Measured risks: refit the family to many samples of n rows and average the loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loglik.information.pn_criterion.base import ExponentialFamily, Floats, MLENotFound
from loglik.information.pn_criterion.expansion import moments

Sampler = Callable[[int, int, np.random.Generator], Floats]  # (n, reps, rng) -> mean statistics (reps, p)
CELLS = 8_000_000  # counts held at a time
BATCH = 5000  # fits held at a time


class Population:
    """A truth that is a weighted list of rows: a data file taken whole, or a finite law.

    Parameters
    ----------
    stats : array_like of shape (N, p)
        Sufficient statistics of the rows.
    weights : array_like of shape (N,), optional
        Their probabilities; equal by default.
    """

    def __init__(self, stats: ArrayLike, weights: ArrayLike | None = None) -> None:
        found = moments(stats, weights)
        rows, position = np.unique(found.centred, axis=0, return_inverse=True)
        self.weights = np.bincount(position.reshape(-1), weights=found.weights)
        self.eta, self.cov = found.mean, found.cov
        self.stats = rows + found.mean

    def __call__(self, n: int, reps: int, rng: np.random.Generator) -> Floats:
        """Mean statistics of `reps` samples of `n` rows with replacement, shape (reps, p)."""
        step = max(1, CELLS // len(self.weights))
        centred = self.stats - self.eta
        parts = [
            rng.multinomial(n, self.weights, size=min(step, reps - a)) @ centred / n
            for a in range(0, reps, step)
        ]
        return np.concatenate(parts) + self.eta


class Refits(NamedTuple):
    """Fits to many samples of one truth, those without an MLE left out."""

    n: int
    etas: Floats  # (R, p) mean statistics
    thetas: Floats  # (R, p) MLEs
    kl: Floats  # (R,) KL(projection ‖ fit), nats
    quadratic: Floats  # (R,) ½ δᵀG⁻¹δ, the loss to second order
    linear: Floats  # (R,) δᵀθ̂, the optimism
    dropped: float  # share of samples without an MLE


def refit(
    family: ExponentialFamily,
    sampler: Sampler,
    theta_star: ArrayLike,
    n: int,
    reps: int,
    rng: np.random.Generator,
) -> Refits:
    """Fit `family` to `reps` samples of `n` rows.

    Raises
    ------
    MLENotFound
        When no sample has an MLE.
    """
    theta = np.asarray(theta_star, dtype=float)
    _, eta, G = family._at(theta)
    etas = np.asarray(sampler(int(n), int(reps), rng), dtype=float)
    parts = [family.fit_batch(etas[a : a + BATCH], theta) for a in range(0, len(etas), BATCH)]
    kept: NDArray[np.bool_] = np.concatenate([np.asarray(part.converged) for part in parts])
    if not kept.any():
        raise MLENotFound(f"none of {reps} samples of n = {n} has an MLE: take a larger n or a smaller model")
    etas, thetas = etas[kept], np.concatenate([part.theta for part in parts])[kept]
    delta = etas - eta
    psi = np.concatenate([family.log_partitions(thetas[a : a + BATCH]) for a in range(0, len(thetas), BATCH)])
    kl = psi - family.log_partitions(theta[None]) - (thetas - theta) @ eta
    quadratic = 0.5 * np.einsum("rp,rp->r", delta, np.linalg.solve(G, delta.T).T)
    linear = np.einsum("rp,rp->r", delta, thetas)
    return Refits(int(n), etas, thetas, np.maximum(kl, 0), quadratic, linear, float(1 - kept.mean()))


class MCRisk(NamedTuple):
    """A measured risk."""

    mean: float  # nats
    se: float
    dropped: float  # share of samples without an MLE; the mean is over the others


def mc_risk(
    family: ExponentialFamily,
    sampler: Sampler,
    theta_star: ArrayLike,
    n: int,
    reps: int,
    control_variate: bool = True,
    rng: np.random.Generator | None = None,
    *,
    cov: ArrayLike | None = None,
) -> MCRisk:
    """Measured E KL(projection ‖ fit) over samples of `n` rows.

    Parameters
    ----------
    family : ExponentialFamily
    sampler : callable
        (n, reps, rng) -> mean statistics (reps, p); a :class:`Population` is one.
    theta_star : array_like of shape (p,)
        The projection.
    n, reps : int
    control_variate : bool
        Subtract ½ δᵀG⁻¹δ, whose mean ½ tr(G⁻¹V)/n is known: about a third of the standard error at large n. Never use
        it to measure A₁.
    rng : numpy.random.Generator
    cov : array_like of shape (p, p), optional
        V, the covariance of ξ under the truth, for the control variate; a Population knows its own.

    Raises
    ------
    ValueError
        For fewer than 2 repetitions, no generator, or a control variate without V.
    MLENotFound
        When no sample has an MLE.
    """
    if reps < 2 or rng is None:
        raise ValueError(f"mc_risk needs at least 2 repetitions and a generator rng, got {reps} and {rng}")
    V = cov if cov is not None else getattr(sampler, "cov", None)
    if control_variate and V is None:
        raise ValueError("the control variate needs cov, the covariance of the statistics under the truth")
    return measured(
        refit(family, sampler, theta_star, n, reps, rng),
        family.cov(theta_star) if control_variate else None,
        V,
    )


def measured(
    refits: Refits, G: Floats | None, V: Any, values: Floats | None = None, times: float = 1.0
) -> MCRisk:
    """Mean and standard error of the losses of `refits`, with the control variate where G is given.

    `values` replaces the loss by another quantity whose second-order part is `times` the loss's.
    """
    losses = refits.kl if values is None else values
    if G is not None:
        known = 0.5 * float(np.trace(np.linalg.solve(G, np.asarray(V)))) / refits.n
        losses = losses - times * (refits.quadratic - known)
    return MCRisk(float(losses.mean()), float(losses.std(ddof=1) / np.sqrt(len(losses))), refits.dropped)


def total_variation(
    family: ExponentialFamily, theta_star: ArrayLike, thetas: ArrayLike, draws: ArrayLike | None = None
) -> Floats:
    """TV of the projection and each fit (R,): exact on a finite space, else over draws of the projection.

    Parameters
    ----------
    draws : array_like of shape (N, p), optional
        Statistics of draws from the projection; needed where there is no exact quadrature of the densities.
    """
    theta, fits = np.asarray(theta_star, dtype=float), np.asarray(thetas, dtype=float)
    probabilities = getattr(family, "probabilities", None)
    if probabilities is not None:
        return 0.5 * np.abs(probabilities(fits) - probabilities(theta)).sum(1)
    if draws is None:
        raise ValueError(
            f"{type(family).__name__} needs draws of the projection to measure a total variation"
        )
    shift = family.log_partitions(fits) - family.log_partitions(theta[None])
    ratio = np.asarray(draws) @ (fits - theta).T - shift
    return 1 - np.exp(np.minimum(ratio, 0)).mean(0)
