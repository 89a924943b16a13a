"""The chapter's experiments: tables of what was measured in the settings with a known truth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import special

from loglik.information.pn_criterion import datasets
from loglik.information.pn_criterion.autodiff import risk_coefficients_autodiff
from loglik.information.pn_criterion.base import ExponentialFamily, Floats
from loglik.information.pn_criterion.bayes_error import kl_threshold
from loglik.information.pn_criterion.criterion import projection
from loglik.information.pn_criterion.expansion import RiskExpansion, risk_coefficients
from loglik.information.pn_criterion.finite import FiniteFamily
from loglik.information.pn_criterion.mcmc import BoxPolynomial, GibbsFamily, IsingFamily
from loglik.information.pn_criterion.montecarlo import Population, measured, refit, total_variation
from loglik.information.pn_criterion.settings import Setting

Progress = Callable[[Iterable[Any]], Iterable[Any]]
BOX_TIMES = (
    3  # chains of the polynomial density over those of the pairwise model: its tails are hard, its p is small
)


# -- measured risks ------------------------------------------------------------------------------------------


def expansion_study(
    settings: Sequence[Setting],
    reps: int,
    rng: np.random.Generator,
    *,
    n_sizes: int = 6,
    progress: Progress = iter,
) -> pd.DataFrame:
    """Measured risk, optimism and gain of every setting at its sample sizes, beside the expansion.

    Returns
    -------
    DataFrame
        model, right, p, n, dropped; risk, risk_se (control variate), plain, plain_se (none), first, second (the
        expansion to one and two terms), naive (p/2n), ratio (``|A₂|/(A₁n)``), A1, A2; optimism, optimism_se,
        optimism_first, optimism_second.
    """
    jobs = [(s, n) for s in settings for n in _some(s.ns, n_sizes)]
    return pd.DataFrame([_measure(s, n, reps, rng) for s, n in progress(jobs)])


def _some(ns: Sequence[int], count: int) -> list[int]:
    return [ns[i] for i in np.unique(np.linspace(0, len(ns) - 1, count).round().astype(int))]


def _measure(s: Setting, n: int, reps: int, rng: np.random.Generator) -> dict[str, Any]:
    refits = refit(s.family, s.sampler, s.theta, n, reps, rng)
    G = s.family.cov(s.theta)
    risk = measured(refits, G, s.cov)
    plain = measured(refits, None, None)
    # the optimism is δᵀθ̂, whose parts of first and second order are δᵀθ* (mean 0) and δᵀG⁻¹δ
    free = refits.linear - (refits.etas - s.family.mean(s.theta)) @ s.theta
    optimism = measured(refits, G, s.cov, free, times=2.0)
    e = s.expansion
    return {
        "model": s.name, "right": s.right, "p": e.p, "n": n, "dropped": refits.dropped,
        "risk": risk.mean, "risk_se": risk.se, "plain": plain.mean, "plain_se": plain.se,
        "first": e.risk(n, 1), "second": e.risk(n), "naive": e.p / 2 / n, "ratio": e.trust_ratio(n),
        "A1": e.A1, "A2": e.A2, "optimism": optimism.mean, "optimism_se": optimism.se,
        "optimism_first": e.optimism(n, 1), "optimism_second": e.optimism(n),
    }  # fmt: skip


def bayes_study(
    settings: Sequence[Setting],
    deltas: Sequence[float],
    reps: int,
    rng: np.random.Generator,
    *,
    draws: int = 4000,
    multiples: Sequence[float] = (1.0, 1.5, 2.5),
    progress: Progress = iter,
) -> pd.DataFrame:
    """Divergence and total variation of fit and projection at multiples of the required n: one row a sample."""
    jobs = [(s, d, m) for s in settings for d in deltas for m in multiples]
    parts = []
    for s, delta, multiple in progress(jobs):
        required = s.expansion.required_n(kl_threshold(delta))
        n = int(np.ceil(multiple * required))
        refits = refit(s.family, s.sampler, s.theta, n, reps, rng)
        points = None
        if not isinstance(s.family, FiniteFamily):
            points = s.family.suff_stat(s.family.sample(s.theta, draws, rng))
        tv = total_variation(s.family, s.theta, refits.thetas, points)
        parts.append(
            pd.DataFrame(
                {"model": s.name, "delta": delta, "multiple": multiple, "n": n, "kl": refits.kl, "tv": tv}
            )
        )
    return pd.concat(parts, ignore_index=True)


def operating_study(
    s: Setting,
    delta: float,
    multiples: Sequence[float],
    samples: int,
    rng: np.random.Generator,
    *,
    directions: int | None = None,
    progress: Progress = iter,
) -> pd.DataFrame:
    """Run the criterion on samples of n = multiple × the true n*: one row a sample (n, multiple, risk, A1, accept).

    Finite families use pair kernels, others automatic differentiation with `directions` random directions.
    """
    C = kl_threshold(delta)
    required = s.expansion.required_n(C)
    values, weights = s.data
    rows = []
    for multiple in progress(list(multiples)):
        n = round(multiple * required)
        for counts in rng.multinomial(n, weights, size=samples):
            seen = counts > 0
            found = _plug_in(
                s.family, values[seen], counts[seen], directions, int(rng.integers(2**31 - 1)), s.theta
            )
            risk = found.risk(n)
            rows.append((s.name, delta, multiple, n, found.A1, risk, bool(risk <= C)))
    return pd.DataFrame(rows, columns=["model", "delta", "multiple", "n", "A1", "risk", "accept"])


def _plug_in(
    family: ExponentialFamily, values: Floats, counts: Any, directions: int | None, seed: int, start: Floats
) -> RiskExpansion:
    import jax

    weights = counts / counts.sum()
    theta = projection(family, weights @ values, start)
    if isinstance(family, FiniteFamily):
        return risk_coefficients(family.quadrature(theta), (values, weights), method="pairs")
    return risk_coefficients_autodiff(
        family, theta, values, weights, directions=directions, key=jax.random.key(seed)
    )


def ladder_truth(
    settings: Sequence[Setting], n: int, reps: int, deltas: Sequence[float], rng: np.random.Generator
) -> pd.DataFrame:
    """Decisions of the expansion and of the measured risk at n, for every setting and tolerance."""
    rows = []
    for s in settings:
        refits = refit(s.family, s.sampler, s.theta, n, reps, rng)
        risk = measured(refits, s.family.cov(s.theta), s.cov)
        for delta in deltas:
            C = kl_threshold(delta)
            rows.append(
                {
                    "model": s.name, "p": s.family.p, "delta": delta, "C": C, "expansion": s.expansion.risk(n),
                    "measured": risk.mean, "se": risk.se, "dropped": risk.dropped,
                    "accepted": bool(s.expansion.risk(n) <= C), "truth": bool(risk.mean <= C),
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


class Convergence(NamedTuple):
    """Divergences of fits from the projection and from the truth, for growing n."""

    ns: tuple[int, ...]
    to_projection: Floats  # (reps, len(ns)) KL(projection ‖ fit)
    from_truth: Floats  # (reps, len(ns)) KL(truth ‖ fit)
    limit: float  # KL(truth ‖ projection)
    law: Floats  # (states,) the truth


def convergence_study(s: Setting, ns: Sequence[int], reps: int, rng: np.random.Generator) -> Convergence:
    """Fits of a finite family to samples of growing size; needs every sample to have an MLE."""
    law = np.zeros(len(s.family.T))  # type: ignore[attr-defined]
    states = {tuple(row): at for at, row in enumerate(s.family.T)}  # type: ignore[attr-defined]
    law[[states[tuple(row)] for row in s.data[0]]] = s.data[1]
    projected = s.family.probabilities(s.theta)  # type: ignore[attr-defined]
    near, far = [], []
    for n in ns:
        refits = refit(s.family, s.sampler, s.theta, n, reps, rng)
        fitted = s.family.probabilities(refits.thetas)  # type: ignore[attr-defined]
        near.append(refits.kl)
        far.append(special.rel_entr(law, fitted).sum(-1))
    kept = min(map(len, near))
    limit = float(special.rel_entr(law, projected).sum())
    columns = [np.column_stack([values[:kept] for values in series]) for series in (near, far)]
    return Convergence(tuple(ns), columns[0], columns[1], limit, law)


def chain_study(order: int, degree: int, chains: int, sweeps: int, rng: np.random.Generator) -> pd.DataFrame:
    """A₁ and A₂ from chains beside the exact ones: pairwise model of `order` wine variables, box polynomial of two.

    The polynomial is fitted to ranks, and to values scaled by their extremes, where a few rows in a corner carry A₂.

    Returns
    -------
    DataFrame
        model, label, exact, chains, se, z, stationarity (distance of model and sample mean in standard errors of
        independent draws).
    """
    table = datasets.load_wine()
    columns = list(datasets.BINARY_WINE)[:order]
    ising, box = IsingFamily(order), BoxPolynomial(2, degree)
    two = table[["alcohol", "pH"]]
    ranks = ((two.rank() - 0.5) / len(two)).to_numpy()
    scaled = ((two - two.min()) / (two.max() - two.min())).to_numpy()
    binary = datasets.quantile_codes(table.iloc[:, columns], 2)
    cases: list[tuple[str, GibbsFamily, Any, FiniteFamily, int]] = [
        (f"pairwise, {order} wine features", ising, binary, ising.enumerate(), chains),
        (f"polynomial of degree {degree}, ranks", box, ranks, box.on_grid(), BOX_TIMES * chains),
        ("same polynomial, values", box, scaled, box.on_grid(), BOX_TIMES * chains),
    ]
    rows = []
    for name, family, x, exact, many in cases:
        stats = family.suff_stat(x)
        wanted = risk_coefficients(exact.quadrature(projection(exact, stats.mean(0))), (stats, None))
        fitted = family.fit(stats.mean(0), rng=rng, chains=many)
        draws, _ = family.draws(fitted.theta, rng, chains=many, sweeps=sweeps)
        found = risk_coefficients((draws, None), (stats, None), method="tensor")
        drift = np.abs(draws.mean(0) - stats.mean(0)) / (draws.std(0) / np.sqrt(len(draws)))
        for label, value, target, se in (
            ("A₁", found.A1, wanted.A1, found.se_A1),
            ("A₂", found.A2, wanted.A2, found.se),
        ):
            rows.append((name, f"{label}, {name}", target, value, se, abs(value - target) / se, drift.max()))
    return pd.DataFrame(rows, columns=["model", "label", "exact", "chains", "se", "z", "stationarity"])


def bootstrap_study(s: Setting, n: int, reps: int, rng: np.random.Generator) -> pd.DataFrame:
    """One sample's estimates of its risk: the expansion, parametric and nonparametric bootstrap, and the truth."""
    values, weights = s.data
    counts = rng.multinomial(n, weights)
    seen = counts > 0
    sample = (values[seen], counts[seen] / n)
    theta = projection(s.family, sample[1] @ sample[0], s.theta)
    expansion = risk_coefficients(s.family.quadrature(theta), sample)
    rows = [("expansion, one sample", expansion.risk(n), 0.0)]
    for name, law in (
        ("nonparametric bootstrap", sample),
        ("parametric bootstrap", s.family.quadrature(theta)),
    ):
        found = measured(refit(s.family, Population(*law), theta, n, reps, rng), None, None)
        rows.append((f"{name}, {reps} refits", found.mean, found.se))
    truth = measured(refit(s.family, s.sampler, s.theta, n, reps, rng), None, None)
    rows.append((f"truth, {reps} samples", truth.mean, truth.se))
    return pd.DataFrame(rows, columns=["estimate", "risk", "se"]).set_index("estimate")
