"""What needs no simulation: exact risks, twins of a truth, and identities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import special, stats

from loglik.information.pn_criterion.autodiff import risk_coefficients_autodiff
from loglik.information.pn_criterion.base import Floats
from loglik.information.pn_criterion.criterion import projection
from loglik.information.pn_criterion.finite import FiniteFamily
from loglik.information.pn_criterion.settings import (
    GAMMA_SHAPE,
    POISSON_RATE,
    Setting,
)

# -- risks that are known exactly ----------------------------------------------------------------------------


def exact_normal_risk(n: ArrayLike, d: int) -> Floats:
    """R(n) of the right normal model: ½[(n+1)d/(n−d−2) − d + Σψ((n−i)/2) + d log(2/n)], n > d + 2."""
    size = np.asarray(n, dtype=float)
    digammas = sum(special.digamma((size - i) / 2) for i in range(1, d + 1))
    return 0.5 * ((size + 1) * d / (size - d - 2) - d + digammas + d * np.log(2 / size))


def exact_gamma_risk(n: ArrayLike, shape: float = GAMMA_SHAPE) -> Floats:
    """R(n) of the exponential model of a gamma truth: ψ(na) − log(na) + na/(na − 1) − 1, na > 1."""
    size = np.asarray(n, dtype=float) * shape
    found: Floats = special.digamma(size) - np.log(size) + 1 / (size - 1)
    return found


def exact_poisson_risk(n: ArrayLike, rate: float = POISSON_RATE) -> Floats:
    """R(n) of the right Poisson model, given that the sample is not all zeros."""

    def one(size: float) -> float:
        mean = size * rate
        total = np.arange(1, int(mean + 40 * np.sqrt(mean) + 60))
        mass = stats.poisson.pmf(total, mean)
        ratio = total / mean
        return float(rate * (mass @ (ratio - 1 - np.log(ratio))) / mass.sum())

    return np.array([one(size) for size in np.atleast_1d(np.asarray(n, dtype=float))])


def remainder_study(ns: ArrayLike, settings: Sequence[Setting]) -> pd.DataFrame:
    """Exact risks beside the expansion: columns model, n, risk, after_one, after_two.

    `settings` are any of the Poisson, normal (1 and 5) and gamma ones.
    """
    size = np.asarray(ns, dtype=float)
    rows = []
    known = {
        "Poisson": exact_poisson_risk(size),
        "normal, d = 1": exact_normal_risk(size, 1),
        "normal, d = 5": exact_normal_risk(size, 5),
        "exponential of gamma": exact_gamma_risk(size),
    }
    for setting in settings:
        exact = known[setting.name]
        e = setting.expansion
        rows.append(
            pd.DataFrame(
                {
                    "model": setting.name,
                    "n": size,
                    "risk": exact,
                    "after_one": np.abs(exact - e.risk(size, 1)),
                    "after_two": np.abs(exact - e.risk(size)),
                }
            )
        )
    return pd.concat(rows, ignore_index=True)


class Twins(NamedTuple):
    """Two truths that share three moments of ξ."""

    ns: Floats
    difference: Floats  # exact risk of one minus that of the other
    gap: float  # relative difference of their A₂
    laws: tuple[Floats, Floats]


def moment_twins(ns: ArrayLike) -> Twins:
    """Exact risks of one lattice model under two truths with equal first three moments and unlike fourth.

    The sample's sum has an n-fold convolution for its law, so no simulation is needed.
    """
    x = np.arange(6.0)
    family = FiniteFamily(x[:, None])
    first = np.array([0.12, 0.22, 0.26, 0.16, 0.14, 0.10])
    second = first + 0.02 * np.array([1, -4, 6, -4, 1, 0])
    laws = (first, second)
    theta = projection(family, [first @ x])
    A2 = [risk_coefficients_autodiff(family, theta, x[:, None], law).A2 for law in laws]
    sizes = np.atleast_1d(np.asarray(ns, dtype=int))
    difference = [
        _lattice_risk(family, theta, laws[0], n) - _lattice_risk(family, theta, laws[1], n) for n in sizes
    ]
    return Twins(sizes.astype(float), np.array(difference), abs(A2[1] / A2[0] - 1), laws)


def _lattice_risk(family: FiniteFamily, theta: Floats, law: Floats, n: int) -> float:
    top = len(law) - 1
    width = top * n + 1
    mass = np.fft.irfft(np.fft.rfft(law, width) ** n, width)
    centre = n * (law @ np.arange(len(law)))
    reach = 14 * np.sqrt(n)
    sums = np.arange(max(1, int(centre - reach)), min(width - 1, int(centre + reach)))
    thetas = family.fit_batch(sums[:, None] / n, theta[None]).theta
    eta = family.mean(theta)
    kl = family.log_partitions(thetas) - family.log_partitions(theta[None]) - (thetas - theta) @ eta
    return float(mass[sums] @ kl / mass[sums].sum())


# -- identities ----------------------------------------------------------------------------------------------


def pythagoras_gap(family: FiniteFamily, theta: ArrayLike, fits: ArrayLike, law: ArrayLike) -> float:
    """Largest error of KL(g‖θ̂) = KL(g‖θ*) + KL(θ*‖θ̂) over `fits` (R, p), each side summed over the states."""
    g, projected = np.asarray(law, dtype=float), family.probabilities(np.asarray(theta, dtype=float))
    fitted = family.probabilities(np.asarray(fits, dtype=float))
    whole = special.rel_entr(g, fitted).sum(-1)
    parts = special.rel_entr(g, projected).sum() + special.rel_entr(projected, fitted).sum(-1)
    return float(np.abs(whole - parts).max())


def sandwich_trace(counts: ArrayLike) -> float:
    """tr(J⁻¹K) of a Poisson model of `counts`, from statsmodels' robust and naive covariances."""
    import statsmodels.api as sm

    y = np.asarray(counts, dtype=float)
    model = sm.GLM(y, np.ones((len(y), 1)), family=sm.families.Poisson())
    robust = model.fit(cov_type="HC0", tol=1e-14).cov_params()
    naive = model.fit(tol=1e-14).cov_params()
    return float(np.trace(np.linalg.solve(np.asarray(naive), np.asarray(robust))))
