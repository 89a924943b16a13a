"""Models with a truth that is known: the settings of the chapter's experiments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from loglik.information.pn_criterion import datasets
from loglik.information.pn_criterion.autodiff import risk_coefficients_autodiff
from loglik.information.pn_criterion.base import ExponentialFamily, Floats
from loglik.information.pn_criterion.criterion import projection
from loglik.information.pn_criterion.expansion import RiskExpansion, risk_coefficients
from loglik.information.pn_criterion.families import ExponentialDistribution, PoissonFamily, full_normal
from loglik.information.pn_criterion.finite import FiniteFamily, LogLinear, MultinomialFamily
from loglik.information.pn_criterion.montecarlo import Population, Sampler

GAMMA_SHAPE = 0.5
POISSON_RATE = 3.0
CELLS = np.array([0.1, 0.15, 0.2, 0.25, 0.3])


@dataclass(frozen=True)
class Setting:
    """A model, a truth, and what theory says of the two."""

    name: str
    family: ExponentialFamily
    theta: Floats  # (p,) the projection
    sampler: Sampler
    cov: Floats  # (p, p) of ξ under the truth
    expansion: RiskExpansion
    ns: tuple[int, ...]
    right: bool  # whether the truth is in the model
    data: tuple[Floats, Floats]  # ξ under the truth, with weights


def _setting(
    name: str,
    family: ExponentialFamily,
    law: tuple[Floats, Floats | None],
    ns: Sequence[int],
    right: bool,
    sampler: Sampler | None = None,
) -> Setting:
    values = np.asarray(law[0], dtype=float)
    weights = np.full(len(values), 1 / len(values)) if law[1] is None else np.asarray(law[1], dtype=float)
    population = Population(values, weights)
    theta = projection(family, population.eta)
    found = risk_coefficients_autodiff(family, theta, values, weights)
    return Setting(
        name, family, theta, sampler or population, population.cov, found, tuple(ns), right, (values, weights)
    )


def poisson_setting() -> Setting:
    """Counts with mean 3 under the Poisson model; right."""
    family = PoissonFamily()

    def sampler(n: int, reps: int, rng: np.random.Generator) -> Floats:
        return rng.poisson(n * POISSON_RATE, (reps, 1)) / n

    law = family.quadrature(np.log([POISSON_RATE]))
    return _setting("Poisson", family, law, (5, 10, 20, 40, 80, 160), True, sampler)


def normal_setting(d: int) -> Setting:
    """Standard normal vectors under the full normal model; right."""
    family = full_normal(d)
    standard = np.concatenate([np.zeros(d), np.eye(d)[np.triu_indices(d)]])
    law = family.quadrature(family.fit(standard).theta)

    def sampler(n: int, reps: int, rng: np.random.Generator) -> Floats:
        mean = rng.normal(size=(reps, d)) / np.sqrt(n)
        scatter = np.asarray(stats.wishart.rvs(n - 1, np.eye(d), size=reps, random_state=rng))
        second = scatter.reshape(reps, d, d) / n + mean[:, :, None] * mean[:, None, :]
        return np.concatenate([mean, second[:, family.rows, family.columns]], axis=1)

    ns = tuple(int(k * (d + 7)) for k in (2, 4, 8, 16, 32, 64))
    return _setting(f"normal, d = {d}", family, law, ns, True, sampler)


def gamma_setting() -> Setting:
    """Gamma waiting times of shape ½ under the exponential model; wrong."""
    nodes, weights = special.roots_genlaguerre(8, GAMMA_SHAPE - 1)

    def sampler(n: int, reps: int, rng: np.random.Generator) -> Floats:
        return rng.gamma(n * GAMMA_SHAPE, 1.0, (reps, 1)) / n

    law = (nodes[:, None], weights / weights.sum())
    return _setting(
        "exponential of gamma", ExponentialDistribution(), law, (10, 20, 40, 80, 160, 320), False, sampler
    )


def multinomial_setting() -> Setting:
    """Five free cells; right."""
    family = MultinomialFamily(len(CELLS))
    return _setting("multinomial, 5 cells", family, (family.T, CELLS), (80, 120, 180, 270, 400, 600), True)


def wine_setting(transform: str = "log") -> Setting:
    """The wine file as the population, under the full normal model (p = 77); wrong."""
    family = full_normal(11)
    x = family.normalise(datasets.transform(datasets.load_wine(), transform).to_numpy())
    return _setting(
        f"normal, wine ({transform})",
        family,
        (family.suff_stat(x), None),
        (100, 200, 400, 800, 1599, 3200),
        False,
    )


def binary_wine_setting() -> Setting:
    """Eight wine features cut at their medians as the population, under the pairwise model (p = 36); wrong."""
    family = LogLinear((2,) * len(datasets.BINARY_WINE), 2)
    codes = datasets.quantile_codes(datasets.load_wine().iloc[:, list(datasets.BINARY_WINE)], 2)
    return _setting(
        "pairwise, 8 wine features", family, _shares(family, codes), (200, 300, 450, 675, 1000, 1600), False
    )


def abalone_setting(order: int = 2, levels: int = 3) -> Setting:
    """Six abalone features in terciles as the population, under a log-linear model; wrong."""
    codes = datasets.quantile_codes(datasets.abalone_shape(), levels)
    family = LogLinear((levels,) * codes.shape[1], order)
    ns = {1: (40, 80, 160, 320, 640, 1280)}.get(order, (800, 1200, 1800, 2700, 4172, 8000))
    if order < 3:
        return _setting(f"abalone, order {order}", family, _shares(family, codes), ns, False)
    law = _shares(family, codes)
    population = Population(*law)
    theta = projection(family, population.eta)
    found = risk_coefficients(family.quadrature(theta), law)
    return Setting(
        f"abalone, order {order}", family, theta, population, population.cov, found, ns, False, law
    )


def _shares(family: FiniteFamily, codes: ArrayLike) -> tuple[Floats, Floats]:
    counts = np.bincount(family.state(codes), minlength=len(family.T))
    seen = counts > 0
    return family.T[seen], counts[seen] / counts.sum()
