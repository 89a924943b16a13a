"""The chapter's simulations: each returns a tidy table, one row a repetition and a setting."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import entr

from loglik.information.adaptive_data_analysis import theory
from loglik.information.adaptive_data_analysis.accounting import Floats
from loglik.information.adaptive_data_analysis.analysts import (
    HistogramMechanism,
    aggregation_overfit,
    random_signs,
    reconstruction_attack,
    sign_aggregation_attack,
    universe_attack,
)
from loglik.information.adaptive_data_analysis.audit import SparseVectorLaw, ThresholdNoise, audit_dp
from loglik.information.adaptive_data_analysis.mechanisms import (
    EmpiricalMechanism,
    GaussianMechanism,
    Mechanism,
)
from loglik.information.adaptive_data_analysis.pmw import PMW
from loglik.information.adaptive_data_analysis.private import exponential_log_probabilities

Seed = int | Sequence[int]
Progress = Callable[[Iterable[Any]], Iterable[Any]]
NAIVE, GAUSSIAN, PRIVATE_MW = "sample means", "Gaussian noise", "PMW"


def repetitions(
    seed: Seed, reps: int, progress: Progress | None = None
) -> Iterable[tuple[int, np.random.Generator]]:
    """Numbers and independent generators of the repetitions."""
    children = enumerate(np.random.SeedSequence(seed).spawn(reps))
    pairs = [(rep, np.random.default_rng(child)) for rep, child in children]
    return pairs if progress is None else progress(pairs)


# -- attacks ---------------------------------------------------------------------------------------------------


def aggregation_study(
    ns: Sequence[int],
    ms: Sequence[float],
    noises: Sequence[tuple[str, float] | None],
    reps: int,
    seed: Seed,
    *,
    relative: bool = True,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Overfit of the aggregated query beside the closed form.

    Parameters
    ----------
    ns : sequence of int
    ms : sequence of float
        Numbers of queries, as multiples of n when `relative`.
    noises : sequence of None or (kind, scale)
    reps : int
    seed : int or sequence of int
    relative : bool
    progress : callable, optional

    Returns
    -------
    DataFrame
        Columns rep, n, m, noise (label), overfit, curve.
    """
    rows = []
    for rep, rng in repetitions(seed, reps, progress):
        for n in ns:
            counts = [max(1, round(m * n if relative else m)) for m in ms]
            found = aggregation_overfit(n, counts, noises, rng)
            for noise, line in zip(noises, found, strict=True):
                rows += [
                    (rep, n, m, noise_label(noise), value, float(theory.overfit_curve(m, n, noise)))  # type: ignore[arg-type]
                    for m, value in zip(counts, line, strict=True)
                ]
    return pd.DataFrame(rows, columns=["rep", "n", "m", "noise", "overfit", "curve"])


def noise_label(noise: tuple[str, float] | None) -> str:
    """``none``, or the kind with its scale."""
    return "none" if noise is None else f"{noise[0]} {noise[1]:g}"


def cell_summary(table: pd.DataFrame) -> pd.DataFrame:
    """Mean, standard error, curve, ratio and z of each cell of :func:`aggregation_study`."""
    cells = table.groupby(["n", "m", "noise"], sort=False).agg(
        overfit=("overfit", "mean"), se=("overfit", "sem"), curve=("curve", "first")
    )
    return cells.assign(
        ratio=cells.overfit / cells.curve, z=(cells.overfit - cells.curve) / cells.se
    ).reset_index()


def crossing(means: Floats, relative_ms: Sequence[float], level: float = 0.5) -> Floats:
    """Where a line through (log m/n, overfit) meets `level`: relative m, shape (...,) of means (..., k)."""
    x = np.log(np.asarray(relative_ms))
    centred = x - x.mean()
    slope = means @ centred / (centred @ centred)
    return np.asarray(np.exp(x.mean() + (level - means.mean(axis=-1)) / slope))


def bootstrap_coverage(table: pd.DataFrame, rng: np.random.Generator, draws: int = 2000) -> pd.DataFrame:
    """Share of 95 % percentile-bootstrap intervals of the aggregated query that hold its truth, 0.

    The analyst's safety belt: resampling the rows that answered can't know that they chose the query. Takes
    the naive rows of :func:`aggregation_study`; columns n, m, coverage.
    """
    naive = table[table.noise == "none"]
    n = naive.n.to_numpy()[:, None]
    share = (1 + naive.overfit.to_numpy()[:, None]) / 2
    means = 2 * rng.binomial(n, share, (len(naive), draws)) / n - 1
    low, high = np.quantile(means, (0.025, 0.975), axis=1)
    covered = naive.assign(coverage=(low <= 0) & (high >= 0))
    return covered.groupby(["n", "m"])["coverage"].mean().reset_index()


def reconstruction_study(
    n: int,
    relative_ms: Sequence[float],
    sigma: float,
    reps: int,
    seed: Seed,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Share of labels recovered, with exact answers and with Gaussian noise: rep, m, mechanism, share."""
    rows = []
    for rep, rng in repetitions(seed, reps, progress):
        y = random_signs(1, n, rng)[0].astype(float)
        for m in (max(1, round(r * n)) for r in relative_ms):
            pair = {NAIVE: EmpiricalMechanism(y), GAUSSIAN: GaussianMechanism(y, sigma, rng)}
            rows += [(rep, m, name, reconstruction_attack(mech, y, m, rng)) for name, mech in pair.items()]
    return pd.DataFrame(rows, columns=["rep", "m", "mechanism", "share"])


def best_noise_study(
    n: int,
    ms: Sequence[int],
    multiples: Sequence[float],
    reps: int,
    seed: Seed,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Overfit and total error √(overfit² + σ²) over (m, σ); σ in multiples of 1/√n.

    Columns rep, m, multiple, sigma, overfit, total.
    """
    sigmas = np.asarray(multiples) / np.sqrt(n)
    rows = []
    for rep, rng in repetitions(seed, reps, progress):
        found = aggregation_overfit(n, ms, [("gaussian", float(s)) for s in sigmas], rng)
        rows += [
            (rep, m, multiple, s, found[i, j])
            for i, (multiple, s) in enumerate(zip(multiples, sigmas, strict=True))
            for j, m in enumerate(ms)
        ]
    table = pd.DataFrame(rows, columns=["rep", "m", "multiple", "sigma", "overfit"])
    return table.assign(total=np.hypot(table.overfit, table.sigma))


def least_total(overfits: Floats, sigmas: Floats) -> Floats:
    """Least √(overfit² + σ²) over σ for each m, from mean overfits (..., σ, m): shape (..., m)."""
    return np.asarray(np.hypot(overfits, sigmas[:, None]).min(axis=-2))


def size_study(
    ms: Sequence[int], tau: float, beta: float, reps: int, seed: Seed, progress: Progress | None = None
) -> pd.DataFrame:
    """The attack on Gaussian answers with the n and σ that the bound asks for: m, n, rep, error over τ."""
    rows = []
    for rep, rng in repetitions(seed, reps, progress):
        for m in ms:
            n = int(np.ceil(theory.required_n(m, tau, beta, "gaussian", width=2.0)))
            sigma = float(theory.best_sigma(m, n, beta, width=2.0))
            mechanism = GaussianMechanism(np.empty(n), sigma, rng)
            result = sign_aggregation_attack(mechanism, m, rng)
            rows.append((m, n, rep, max(result.largest_error, abs(float(result.answer[-1]))) / tau))
    return pd.DataFrame(rows, columns=["m", "n", "rep", "error"])


# -- private multiplicative weights --------------------------------------------------------------------------


def biased_bits(bits: int) -> Floats:
    """D over 2**bits points: independent bits with probabilities from .15 to .45. Not uniform, as h is at first."""
    D = np.ones(1)
    for p in np.linspace(0.15, 0.45, bits):
        D = np.concatenate([D * (1 - p), D * p])
    return D


def pmw_study(
    bits: int,
    ns: Sequence[int],
    ms: Sequence[int],
    reps: int,
    seed: Seed,
    *,
    sigma: float = 0.7,
    T: float = 6.0,
    eta: float = 0.05,
    max_updates: int = 5000,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """PMW, sample means and best Gaussian noise under the aggregation attack on a finite universe.

    Parameters
    ----------
    bits : int
        The universe has 2**bits points.
    ns, ms : sequence of int
    reps : int
    seed : int or sequence of int
    sigma, T : float
        Noise and threshold of PMW in units of 1/√n.
    eta, max_updates
        See :class:`~loglik.information.adaptive_data_analysis.PMW`.
    progress : callable, optional

    Returns
    -------
    DataFrame
        The fields of ``UniverseAttack``, with rep and n.
    """
    D = biased_bits(bits)
    rows = []
    for rep, rng in repetitions(seed, reps, progress):
        for n in ns:
            hist = rng.multinomial(n, D)
            noise = float(theory.best_sigma(max(ms), n, width=2.0))
            mechanisms: dict[str, Mechanism] = {
                NAIVE: HistogramMechanism(hist, 0.0, rng),
                GAUSSIAN: HistogramMechanism(hist, noise, rng),
                PRIVATE_MW: PMW(
                    hist, T / np.sqrt(n), sigma / np.sqrt(n), eta, max_updates, rng, on_exhausted="nan"
                ),
            }
            found = universe_attack(mechanisms, D, hist / n, ms, rng)
            rows += [{"rep": rep, "n": n, **line._asdict()} for line in found]
    return pd.DataFrame(rows)


def potential_trace(
    bits: int,
    n: int,
    m: int,
    rng: np.random.Generator,
    *,
    sigma: float = 0.7,
    T: float = 6.0,
    eta: float = 0.05,
) -> pd.DataFrame:
    """KL(S‖h) after each update, beside the line that it must stay under: update, potential, guaranteed."""
    D = biased_bits(bits)
    hist = rng.multinomial(n, D)
    mechanism = PMW(hist, T / np.sqrt(n), sigma / np.sqrt(n), eta, 10**6, rng)
    potentials, done = [mechanism.potential], 0
    while done < m:
        mechanism.answer_many(random_signs(1, len(D), rng))
        done += 1
        if mechanism.n_updates > len(potentials) - 1:
            potentials.append(mechanism.potential)
    falls = [sign * eta * gap - eta**2 / 2 for gap, sign in mechanism.alarms]
    line = potentials[0] - np.cumsum([0.0, *falls])
    return pd.DataFrame({"update": range(len(potentials)), "potential": potentials, "guaranteed": line})


# -- privacy and generalisation ------------------------------------------------------------------------------


def exponential_study(
    n: int, k: int, epsilons: Sequence[float], reps: int, seed: Seed, t: float = 3.0
) -> pd.DataFrame:
    """Selection by the exponential mechanism among k fair-coin queries; exact means over its choice.

    Parameters
    ----------
    n, k : int
        Rows and candidate queries, all with D[φ] = ½.
    epsilons : sequence of float
        ``inf`` picks the maximum.
    reps : int
        Samples.
    seed : int or sequence of int
    t : float
        The utility guarantee: below max − (2/(nε))(ln k + t) with probability at most e^−t.

    Returns
    -------
    DataFrame
        Columns rep, epsilon, gap (mean S[φ] − ½ over the choice), information (nats; its mean over rep is
        I(S; φ), since by symmetry φ is uniform over samples), failures (probability of missing the utility),
        off (probability that ``|S[φ] − ½|`` exceeds 0.2).
    """
    rng = np.random.default_rng(seed)
    scores = rng.binomial(n, 0.5, (reps, k)) / n
    tables = []
    for epsilon in epsilons:
        if np.isinf(epsilon):
            best = scores == scores.max(axis=1, keepdims=True)
            p = best / best.sum(axis=1, keepdims=True)
        else:
            p = np.exp(exponential_log_probabilities(scores, epsilon, 1 / n))
        cut = scores.max(axis=1, keepdims=True) - 2 / (n * epsilon) * (np.log(k) + t)
        tables.append(
            pd.DataFrame(
                {
                    "rep": range(reps),
                    "epsilon": epsilon,
                    "gap": (p * scores).sum(axis=1)
                    - scores.mean(axis=1),  # the mean score has mean ½: less noise
                    "information": np.log(k) - entr(p).sum(axis=1),
                    "failures": (p * (scores < cut)).sum(axis=1),
                    "off": (p * (np.abs(scores - 0.5) > 0.2)).sum(axis=1),
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def audit_study(
    lengths: Sequence[int],
    epsilon: float = 1.0,
    thresholds: Sequence[float] = (-6, -3, -1, 0, 0.5, 1, 2, 3, 6),
) -> pd.DataFrame:
    """Exact privacy loss of the sparse vector and its two broken variants, by length of the output.

    Neighbours move every query by the full sensitivity: all but the last up, the last down. The event is
    "only the last is above", and the worst threshold counts. Columns noise, length, loss.
    """
    kinds: tuple[ThresholdNoise, ...] = ("per positive", "none", "per query")
    rows = []
    for kind in kinds:
        for length in lengths:
            S, neighbour = np.zeros(length), np.ones(length)
            S[-1], neighbour[-1] = 1.0, 0.0
            event = [False] * (length - 1) + [True]
            losses = [
                audit_dp(SparseVectorLaw(T, epsilon, kind), S, neighbour, [event]).loss for T in thresholds
            ]
            rows.append((kind, length, max(losses)))
    return pd.DataFrame(rows, columns=["noise", "length", "loss"])


def tightness_study(
    reps: int, seed: Seed, scale: float = 4.0, progress: Progress | None = None
) -> pd.DataFrame:
    """The attack beside the bound of three mechanisms, where the gap is small and linear in √m.

    Gaussian and Laplace noise of `scale` on n = 100 rows, so that n·scale² is large, with the information
    bound 2√m/(n·scale); exact answers of which one bit is used on n = 2000 rows, with the bound √(2m ln 2/n)
    for a transcript of m bits. Columns rep, mechanism, m, gap, bound, curve.
    """
    few, many = (625, 2500, 10_000), (50, 100, 200)
    cases: list[tuple[str, int, Sequence[int], tuple[str, float] | None]] = [
        (f"Gaussian noise, σ = {scale:g}", 100, few, ("gaussian", scale)),
        (f"Laplace noise, b = {scale:g}", 100, few, ("laplace", scale)),
        ("one bit an answer", 2000, many, None),
    ]
    rows = []
    for rep, rng in repetitions(seed, reps, progress):
        for name, n, ms, noise in cases:
            found = aggregation_overfit(n, ms, [noise], rng, control=noise is not None)[0]
            for m, gap in zip(ms, found, strict=True):
                bound = np.sqrt(2 * m * np.log(2) / n) if noise is None else 2 * np.sqrt(m) / (n * scale)
                rows.append((rep, name, m, gap, bound, float(theory.overfit_curve(m, n, noise))))  # type: ignore[arg-type]
    return pd.DataFrame(rows, columns=["rep", "mechanism", "m", "gap", "bound", "curve"])
