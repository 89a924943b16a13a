"""Curves and bounds: how much an attack overfits, how much privacy allows, how many rows that takes."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import erfcx, ndtr
from scipy.stats import norm

from loglik.information.adaptive_data_analysis.accounting import (
    Floats,
    check_count,
    check_positive,
    check_share,
)

SELECTED = float(ndtr(-1)) ** 2 * 2  # share of null variables whose two correlations pass 1/√n together
PULL = float(norm.pdf(1) / ndtr(-1))  # c: mean of |N(0, 1)| beyond 1, so of √n |a_j| among the selected

CurveNoise = tuple[Literal["gaussian", "laplace"], float] | None
Sizes = Literal["split", "gaussian", "pmw"]


def density_at_zero(n: ArrayLike, noise: CurveNoise = None) -> Floats:
    """h(0): density at 0 of N(0, 1/n) plus the noise of an answer.

    Parameters
    ----------
    n : array_like
        Sample size.
    noise : None, ("gaussian", sigma) or ("laplace", scale)
    """
    s = 1 / np.sqrt(np.asarray(n, dtype=float))
    if noise is None:
        return np.asarray(1 / (s * np.sqrt(2 * np.pi)))
    kind, scale = noise
    check_positive(scale, "the noise's scale", zero=True)
    if kind == "gaussian":
        return np.asarray(1 / np.sqrt(2 * np.pi * (s**2 + scale**2)))
    if kind != "laplace":
        raise ValueError(f"noise must be None, ('gaussian', sigma) or ('laplace', scale), got {noise!r}")
    if scale == 0:
        return density_at_zero(n)
    return np.asarray(erfcx(s / (scale * np.sqrt(2))) / (2 * scale))


def overfit_curve(m: ArrayLike, n: ArrayLike, noise: CurveNoise = None) -> Floats:
    """Error of the aggregated query after m answers: ``2Φ(2 √m h(0)/n) − 1``.

    Parameters
    ----------
    m : array_like
        Number of ±1 queries of population mean 0.
    n : array_like
        Sample size.
    noise : None, ("gaussian", sigma) or ("laplace", scale)
        Of the answers. With none it is ``2Φ(√(2m/(πn))) − 1``; with N(0, σ²) it is
        ``2Φ(√(2m/(πn(1 + nσ²)))) − 1``.

    Notes
    -----
    Exact up to O(1/n) where no two rows are equal for every query. On a finite universe with repeated rows
    it is an upper envelope.
    """
    x = 2 * np.sqrt(np.asarray(m, dtype=float)) * density_at_zero(n, noise) / np.asarray(n, dtype=float)
    return np.asarray(2 * ndtr(x) - 1)


def holdout_curve(k: ArrayLike, n: int, d: int) -> Floats:
    """Accuracy that the standard holdout reports for k of d null variables: ``Φ(c √(min(k, K)/n))``.

    K = 2Φ(−1)²d variables are selected on average, and c = φ(1)/Φ(−1) is their mean correlation times √n.
    """
    used = np.minimum(np.asarray(k, dtype=float), SELECTED * d)
    return np.asarray(ndtr(PULL * np.sqrt(used / n)))


def recovery_curve(m: ArrayLike, n: int) -> Floats:
    """Share of labels that least squares recovers from m exact random linear queries: ``Φ(√(m/(n−m)))``."""
    count = np.asarray(m, dtype=float)
    with np.errstate(divide="ignore"):
        odds = np.where(count < n, count / np.maximum(n - count, 0), np.inf)
    return np.asarray(ndtr(np.sqrt(odds)))


def generalization_bound(
    n: int | None = None,
    *,
    epsilon: float | None = None,
    rho: float | None = None,
    information: float | None = None,
    width: float = 1.0,
) -> float:
    """Bound on the mean gap ``|E S[φ] − E D[φ]|`` of a query that was chosen from private answers.

    Parameters
    ----------
    n : int, optional
        Sample size; only `information` needs it.
    epsilon : float, optional
        Pure ε-DP: the smaller of e^ε − 1 and ε/2 (the latter by ε²/2-zCDP).
    rho : float, optional
        ρ-zCDP: √(ρ/2), since i.i.d. rows carry at most ρn nats.
    information : float, optional
        Mutual information of sample and query in nats: √(I/2n).
    width : float
        Width of the queries' range: 1 for [0, 1], 2 for [−1, 1].

    Returns
    -------
    float
        Never above `width`. It bounds a mean, not the largest of many queries.
    """
    given = [
        name
        for name, x in (("epsilon", epsilon), ("rho", rho), ("information", information))
        if x is not None
    ]
    if len(given) != 1:
        raise ValueError(f"give exactly one of epsilon, rho and information, got {given or 'none'}")
    check_positive(width, "width")
    if not min(x for x in (epsilon, rho, information) if x is not None) >= 0:
        raise ValueError(f"{given[0]} must be at least 0")
    if epsilon is not None:
        bound = min(float(np.expm1(min(epsilon, 50.0))), epsilon / 2)
    elif rho is not None:
        bound = float(np.sqrt(rho / 2))
    else:
        if n is None:
            raise ValueError("the information bound needs n, the sample size")
        bound = float(np.sqrt(float(information or 0.0) / (2 * check_count(n, "n"))))
    return width * min(bound, 1.0)


def best_sigma(m: ArrayLike, n: ArrayLike, beta: float = 0.05, width: float = 1.0) -> Floats:
    """σ that balances the largest noise of m answers and the bound on the gap: of order m^(1/4)/√n."""
    tail = np.sqrt(2 * np.log(4 * np.asarray(m, dtype=float) / check_share(beta, "beta")))
    return np.asarray(np.sqrt(width**2 * np.sqrt(m) / (2 * np.asarray(n, dtype=float) * tail)))


def required_n(
    m: ArrayLike,
    tau: float,
    beta: float = 0.05,
    mechanism: Sizes = "gaussian",
    *,
    universe: int | None = None,
    width: float = 1.0,
) -> Floats:
    """Rows that are enough for m adaptive queries to accuracy `tau`, by what can be proved here.

    Parameters
    ----------
    m : array_like
    tau : float
        Accuracy, in (0, width).
    beta : float
        Failure probability: of all answers for ``split``, of the noise alone for the others.
    mechanism : {"split", "gaussian", "pmw"}
        ``split``: m ln(2m/β)/(2τ²), Hoeffding on fresh blocks. ``gaussian``: least n with
        min over σ of σ√(2 ln(4m/β)) + √m/(2nσ) ≤ τ. ``pmw``: U = 4 ln N/τ² updates, each charged 2ρ₀ with
        ρ₀ = 1/(2n²σ²), noise and gap at most τ/4 each.
    universe : int
        N, for ``pmw``.
    width : float
        Width of the queries' range.

    Returns
    -------
    array like m
        Not rounded. For ``gaussian`` and ``pmw`` the gap is bounded in the mean, not with high probability,
        so the comparison with ``split`` flatters them.
    """
    count = np.asarray(m, dtype=float)
    if (count < 1).any():
        raise ValueError(f"m must be at least 1, got a smallest of {count.min():g}")
    check_share(beta, "beta")
    check_positive(width, "width")
    relative = check_share(
        tau / width, "tau relative to the width"
    )  # a query of width w is w times a [0, 1] one
    tail = np.sqrt(2 * np.log(4 * count / beta))
    if mechanism == "split":
        return np.asarray(count * np.log(2 * count / beta) / (2 * relative**2))
    if mechanism == "gaussian":
        return np.asarray(2 * tail * np.sqrt(count) / relative**2)
    if mechanism != "pmw":
        raise ValueError(f"mechanism must be one of {', '.join(get_args(Sizes))}, got {mechanism!r}")
    if universe is None or universe < 2:
        raise ValueError(f"pmw needs universe, the number of its points (at least 2), got {universe!r}")
    updates = 4 * np.log(universe) / relative**2
    sigma = relative / (4 * tail)
    return np.asarray(np.sqrt(8 * updates) / (relative * sigma))


def crossover(tau: float, beta: float = 0.05, *, universe: int) -> tuple[float, float]:
    """Numbers of questions beyond which noise needs fewer rows than splitting, and PMW fewer than noise.

    For [0, 1] queries by :func:`required_n`. The second is close to 128 ln N/τ²: the logarithms of m cancel.
    """
    m = np.logspace(0, 9, 20_001)
    sizes = {name: required_n(m, tau, beta, name, universe=universe) for name in get_args(Sizes)}
    noise = np.flatnonzero(sizes["gaussian"] > sizes["split"])
    pmw = np.flatnonzero(sizes["pmw"] > sizes["gaussian"])
    return tuple(float(m[min(i[-1] + 1, len(m) - 1)]) if i.size else 1.0 for i in (noise, pmw))  # type: ignore[return-value]
