"""The p–n criterion, which answers whether n is enough for a model of p parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from loglik.information.pn_criterion.autodiff import EXACT_LIMIT, risk_coefficients_autodiff
from loglik.information.pn_criterion.base import ExponentialFamily, Floats, MLENotFound
from loglik.information.pn_criterion.bayes_error import kl_threshold
from loglik.information.pn_criterion.expansion import RiskExpansion, risk_coefficients
from loglik.information.pn_criterion.finite import FiniteFamily
from loglik.information.pn_criterion.mcmc import GibbsFamily

ENGINES = ("auto", "autodiff", "exact", "mcmc")
TRUST = 0.5  # |A₂|/(A₁n) above which the answer carries a warning


@dataclass(frozen=True)
class PNResult:
    """The criterion's answer for one sample and one family.

    Attributes
    ----------
    n, p : int
        Rows and parameters.
    risk : float
        Estimated E KL(projection ‖ fit) at n, in nats, to order n⁻².
    threshold : float
        C(δ): the risk that is tolerated.
    accept : bool
        Whether risk ≤ threshold.
    n_required : float
        The n at which the two terms equal the threshold.
    trust_ratio : float
        ``|A₂|/(A₁n)``.
    warnings : tuple of str
        What speaks against the answer.
    expansion : RiskExpansion
    theta : ndarray of shape (p,)
        The MLE, on the family's normalised data.
    delta : float
    bound : str
    engine : str
        Where the model's cumulants came from.
    risk_se, n_required_se : float or None
        Standard errors from the sample (jackknife over groups of rows) and from draws; None where not asked for.
    risk_bias : float or None
        The jackknife's estimate of the bias of `risk`; heavy tails make it negative.
    """

    n: int
    p: int
    risk: float
    threshold: float
    accept: bool
    n_required: float
    trust_ratio: float
    warnings: tuple[str, ...]
    expansion: RiskExpansion
    theta: Floats
    delta: float
    bound: str
    engine: str
    risk_se: float | None = None
    n_required_se: float | None = None
    risk_bias: float | None = None

    @property
    def risk_interval(self) -> tuple[float, float]:
        """95 % interval of the risk; no wider than a point where no error was computed."""
        reach = 1.96 * (self.risk_se or 0.0)
        return max(self.risk - reach, 0.0), self.risk + reach

    @property
    def n_required_interval(self) -> tuple[float, float]:
        """95 % interval of the required n."""
        reach = 1.96 * (self.n_required_se or 0.0)
        return max(self.n_required - reach, 1.0), self.n_required + reach

    @property
    def answer(self) -> str:
        """``yes``, ``no``, or ``can't tell`` where the threshold lies inside the risk's interval."""
        low, high = self.risk_interval
        if low <= self.threshold < high:
            return "can't tell"
        return "yes" if self.accept else "no"


def pn_criterion(
    family: ExponentialFamily,
    x: ArrayLike,
    delta: float = 0.05,
    bound: str = "pinsker",
    engine: str = "auto",
    rng: np.random.Generator | None = None,
    *,
    n_blocks: int = 20,
) -> PNResult:
    """Decide whether a sample is large enough for a family.

    Parameters
    ----------
    family : ExponentialFamily
    x : array_like of shape (n, ...)
        The sample, in the form that ``family.suff_stat`` takes.
    delta : float
        How far from ½ the expected Bayes error of telling fit from projection may be; see :func:`kl_threshold`.
    bound : {"pinsker", "sharp", "bretagnolle-huber", "local"}
    engine : {"auto", "autodiff", "exact", "mcmc"}
        ``autodiff`` differentiates the log-partition function; ``exact`` sums over states or quadrature nodes; ``mcmc``
        runs Gibbs chains. ``auto`` takes the first where Ψ is known (the second above 128 parameters on a finite
        space), else chains.
    rng : numpy.random.Generator, optional
        For chains.
    n_blocks : int
        Groups of rows of the jackknife behind the standard errors; 0 leaves them out.

    Raises
    ------
    ValueError
        For δ outside (0, ½), an unknown bound or engine, dependent statistics, or chains without `rng`.
    MLENotFound
        When the sample's mean statistics lie on the boundary of what the family can have.
    """
    threshold = kl_threshold(delta, bound)
    stats = family.suff_stat(family.normalise(x))
    n, p = stats.shape
    compute, chosen = _engine(family, stats, engine, rng)
    expansion, theta = compute(stats, None)
    notes = _notes(n, p, expansion)
    errors = _jackknife(compute, stats, theta, expansion, threshold, n_blocks) if n_blocks else None
    if n_blocks and errors is None:
        notes.append(
            "no standard errors: some group of rows, left out, has no MLE, so the fit hangs on few rows"
        )
    risk = float(expansion.risk(n))
    return PNResult(
        n, p, risk, threshold, bool(risk <= threshold), expansion.required_n(threshold),
        float(expansion.trust_ratio(n)), tuple(notes), expansion, theta, float(delta), bound, chosen,
        *(errors or (None, None, None)),
    )  # fmt: skip


def _notes(n: int, p: int, expansion: RiskExpansion) -> list[str]:
    notes = []
    if n <= p:
        notes.append(f"n = {n} rows for p = {p} parameters: n has to exceed p before any of this means much")
    ratio = expansion.trust_ratio(n)
    if ratio > TRUST:
        notes.append(f"the second term is {ratio:.0%} of the first: n is too small for the expansion")
    if expansion.risk(n) <= 0:
        notes.append("the two terms give a negative risk: n is too small for the expansion")
    return notes


Compute = Callable[[Floats, Floats | None], tuple[RiskExpansion, Floats]]


def _engine(
    family: ExponentialFamily, stats: Floats, engine: str, rng: np.random.Generator | None
) -> tuple[Compute, str]:
    """A function from statistics (and a start) to (expansion, θ̂), and the engine's name."""
    if engine not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(ENGINES)}, got {engine!r}")
    if engine == "auto":
        large = isinstance(family, FiniteFamily) and family.p > EXACT_LIMIT
        engine = "mcmc" if not family.has_log_partition else "exact" if large else "autodiff"
    if engine == "mcmc":
        return _by_chains(family, stats, rng), engine

    def compute(rows: Floats, start: Floats | None) -> tuple[RiskExpansion, Floats]:
        theta = projection(family, rows.mean(0), start)
        if engine == "autodiff":
            return risk_coefficients_autodiff(family, theta, rows), theta
        return risk_coefficients(family.quadrature(theta), (rows, None)), theta

    return compute, engine


def projection(family: ExponentialFamily, eta: ArrayLike, start: Floats | None = None) -> Floats:
    """The natural parameter whose mean statistics are `eta`.

    Raises
    ------
    MLENotFound
        When there is none.
    """
    found = family.fit(eta, start)
    if not found.converged:
        where = (
            "they lie on the boundary of the statistics' convex hull"
            if isinstance(family, FiniteFamily) and not family.mle_exists(eta)
            else "the search ran off"
        )
        raise MLENotFound(
            f"{type(family).__name__} (p = {family.p}) has no MLE for these mean statistics: {where}. "
            "Some statistic takes its extreme value in every row; merge levels, drop terms, or collect more rows"
        )
    return found.theta


def _by_chains(family: ExponentialFamily, stats: Floats, rng: np.random.Generator | None) -> Compute:
    if not isinstance(family, GibbsFamily):
        raise ValueError(f"{type(family).__name__} has no Gibbs chains; its log-partition function is known")
    if rng is None:
        raise ValueError("chains need rng, a numpy.random.Generator")
    found = family.fit(stats.mean(0), rng=rng)
    if not found.converged:
        raise MLENotFound(f"{type(family).__name__} (p = {family.p}): the chains' search for the MLE ran off")
    draws, _ = family.draws(found.theta, rng)

    def compute(rows: Floats, start: Floats | None) -> tuple[RiskExpansion, Floats]:
        blocks = 0 if start is not None else 20
        return risk_coefficients((draws, None), (rows, None), n_blocks=blocks), found.theta

    return compute


def _jackknife(
    compute: Compute, stats: Floats, theta: Floats, whole: RiskExpansion, C: float, n_blocks: int
) -> tuple[float, float, float] | None:
    """Standard errors of risk and required n, and the risk's bias, by leaving out every n_blocks-th row."""
    n = len(stats)
    group = np.arange(n) % n_blocks
    found = []
    for b in range(n_blocks):
        try:
            part, _ = compute(stats[group != b], theta)
        except ValueError:
            return None
        found.append((part.risk(n), part.required_n(C)))
    values = np.array(found)
    center = np.array([whole.risk(n), whole.required_n(C)])
    se = np.sqrt((n_blocks - 1) * values.var(0))
    drawn = np.array([np.hypot(whole.se_A1 / n, whole.se / n**2), whole.se_A1 / C])
    bias = (n_blocks - 1) * (values.mean(0) - center)
    return float(np.hypot(se[0], drawn[0])), float(np.hypot(se[1], drawn[1])), float(bias[0])


def dimension_ladder(
    families: Mapping[str, ExponentialFamily],
    x: ArrayLike,
    delta: float = 0.05,
    bound: str = "pinsker",
    *,
    n_blocks: int = 0,
    rng: np.random.Generator | None = None,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> pd.DataFrame:
    """The criterion for nested families, smallest first, beside the information criteria.

    Parameters
    ----------
    families : mapping of str to ExponentialFamily
    x : array_like
        One sample that all families take.
    delta, bound, n_blocks, rng
        See :func:`pn_criterion`.
    progress : callable
        Wraps the loop, for a progress bar.

    Returns
    -------
    DataFrame
        One row a family: p, A1, p/2, A2, risk, its standard error, threshold, n_required, its standard error, accept,
        answer, trust_ratio, log-likelihood a row, AIC, TIC, BIC, the rules n ≥ 5p and n ≥ 10p, and for finite families
        the divergence of the sample's own distribution from the fit (``misfit``). A family without an MLE, or without
        a log-partition function for the information criteria, has NaN there.
    """
    if not families:
        raise ValueError("dimension_ladder needs at least one family")
    common = next(iter(families.values())).normalise(x)
    rows = {}
    for name, family in progress(list(families.items())):
        try:
            found = pn_criterion(family, x, delta, bound, rng=rng, n_blocks=n_blocks)
        except MLENotFound as error:
            rows[name] = {"p": family.p, "accept": False, "answer": "no MLE", "note": str(error)}
            continue
        rows[name] = _row(found) | _information(family, common, found.expansion, found.n)
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def _row(found: PNResult) -> dict[str, Any]:
    return {
        "p": found.p,
        "A1": found.expansion.A1,
        "p/2": found.p / 2,
        "A2": found.expansion.A2,
        "risk": found.risk,
        "risk_se": found.risk_se,
        "threshold": found.threshold,
        "n_required": found.n_required,
        "n_required_se": found.n_required_se,
        "accept": found.accept,
        "answer": found.answer,
        "trust_ratio": found.trust_ratio,
        "n>=5p": found.n >= 5 * found.p,
        "n>=10p": found.n >= 10 * found.p,
        "note": "; ".join(found.warnings),
    }


def _information(
    family: ExponentialFamily, x: ArrayLike, expansion: RiskExpansion, n: int
) -> dict[str, float]:
    """Mean log-likelihood (reference measure of the family) and the criteria built on it."""
    if not family.has_log_partition:
        return {}
    eta = family.suff_stat(x).mean(0)
    theta = projection(family, eta)
    mean = float(theta @ eta - family.log_partitions(theta[None])[0])
    found = {
        "loglik": mean,
        "AIC": -2 * n * mean + 2 * family.p,
        "TIC": -2 * n * mean + 4 * expansion.A1,
        "BIC": -2 * n * mean + np.log(n) * family.p,
    }
    if isinstance(family, FiniteFamily):
        share = np.bincount(family.state(x), minlength=len(family.T)) / n
        positive = share > 0
        found["misfit"] = (
            float(share[positive] @ (np.log(share[positive]) - family.log_base[positive])) - mean
        )
    return found
