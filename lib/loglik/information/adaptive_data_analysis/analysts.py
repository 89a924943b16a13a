"""Analysts: innocent and hostile ways of asking questions that break a naive holdout."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from loglik.information.adaptive_data_analysis.accounting import (
    Floats,
    Spent,
    check_count,
    gaussian_rho,
    spent_zcdp,
)
from loglik.information.adaptive_data_analysis.mechanisms import (
    DELTA,
    LadderMechanism,
    Mechanism,
    streams,
)
from loglik.information.adaptive_data_analysis.pmw import PMW
from loglik.information.adaptive_data_analysis.thresholdout import ThresholdoutMechanism

CHUNK = 1000  # queries that are held in memory at once
Signs = NDArray[np.int8]


def random_signs(m: int, n: int, rng: np.random.Generator) -> Signs:
    """A table of fair ±1, shape (m, n), from one random bit each."""
    bits = np.unpackbits(np.frombuffer(rng.bytes(m * ((n + 7) // 8)), np.uint8).reshape(m, -1), axis=1)
    return bits[:, :n].astype(np.int8) * np.int8(2) - np.int8(1)


def vote_signs(answers: Floats) -> NDArray[np.float32]:
    """Signs of answers, with +1 for 0: dropping ties would spare the analyst noise and lift the curve."""
    return np.where(answers < 0, np.float32(-1), np.float32(1))


class AttackResult(NamedTuple):
    """The aggregated query after each number of answers."""

    m: NDArray[np.int64]  # (k,) answers used
    answer: Floats  # (k,) what the mechanism says about the aggregated query
    overfit: Floats  # (k,) S[f] − D[f]: its sample mean, as its population mean is 0
    largest_error: float  # max |answer − D[q]| over the m random queries


def sign_aggregation_attack(
    mechanism: Mechanism, m: int, rng: np.random.Generator, checkpoints: Sequence[int] | None = None
) -> AttackResult:
    """Ask m random ±1 queries of population mean 0, then one that adds up the signs of the answers.

    Parameters
    ----------
    mechanism : Mechanism
        Over n rows, with ``query_range`` containing [−1, 1].
    m : int
    rng : numpy.random.Generator
        Draws the queries' values: each row gets a fair sign, so D[q] = 0.
    checkpoints : sequence of int, optional
        Numbers of answers after which f = sign(Σ sign(aᵢ) qᵢ) is asked too, of a copy of the mechanism;
        default m alone.

    Notes
    -----
    Memory O(1000 n); time O(mn). An answer of exactly 0 votes +1. Innocent where the qᵢ are candidate
    predictors and f is their ensemble.
    """
    marks = _marks(checkpoints, m)
    votes = np.zeros(mechanism.n, np.float32)  # exact: sums of signs stay far below 2**24
    answers, overfits, largest = [], [], 0.0
    for start, stop in _pieces(marks):
        table = random_signs(stop - start, mechanism.n, rng)
        heard = mechanism.answer_many(table)
        largest = max(largest, float(np.abs(heard).max()))
        votes += vote_signs(heard) @ table.astype(np.float32)
        if stop in marks:
            final = np.sign(votes).astype(float)
            overfits.append(final.mean())
            answers.append(copy.deepcopy(mechanism).answer(final))
    return AttackResult(np.array(marks), np.array(answers), np.array(overfits), largest)


def _marks(checkpoints: Sequence[int] | None, m: int) -> list[int]:
    marks = sorted({check_count(c, "every checkpoint") for c in checkpoints or [check_count(m, "m")]})
    if marks[-1] > m:
        raise ValueError(f"checkpoints must not pass m = {m}, got {marks[-1]}")
    return marks


def _pieces(marks: Sequence[int], chunk: int = CHUNK) -> list[tuple[int, int]]:
    """Consecutive ranges of at most `chunk` that end at every mark."""
    edges = sorted({*marks, *range(0, marks[-1], chunk)})
    return list(itertools.pairwise(edges))


def aggregation_overfit(
    n: int,
    ms: Sequence[int],
    noises: Sequence[tuple[str, float] | None],
    rng: np.random.Generator,
    *,
    control: bool = False,
) -> Floats:
    """Overfit of the aggregated query for many noise levels at once, on the same queries: (noises, ms).

    The same law as :func:`sign_aggregation_attack` with the mechanism of each noise, by one matrix product
    for all of them. `control` subtracts what the votes of the noise alone would give: that has mean 0, and
    under heavy noise it carries most of the variance.
    """
    marks = _marks(ms, max(ms))
    normal, laplace = rng.spawn(2)
    votes = np.zeros((1 + control, len(noises), n), np.float32)
    found = []
    for start, stop in _pieces(marks):
        table = random_signs(stop - start, n, rng).astype(np.float32)
        exact = (table @ np.ones(n, np.float32)).astype(float) / n
        unit = {"gaussian": normal.normal(size=len(exact)), "laplace": laplace.laplace(size=len(exact))}
        added = np.stack(
            [np.zeros(len(exact)) if noise is None else noise[1] * unit[noise[0]] for noise in noises]
        )
        heard = np.stack([exact + added, added][: 1 + control])
        votes += vote_signs(heard) @ table
        if stop in marks:
            overfit = np.sign(votes).mean(axis=2)
            found.append(overfit[0] - overfit[1] if control else overfit[0])
    return np.asarray(np.stack(found, axis=1), dtype=float)


class UniverseAttack(NamedTuple):
    """One mechanism on a finite universe, after m random queries and the final one."""

    mechanism: str
    m: int
    final_error: float  # |answer − D[f]| of the aggregated query
    final_overfit: float  # |S[f] − D[f]|
    final_noise: float  # |answer − S[f]|
    random_error: float  # largest |answer − D[q]| over the random queries so far
    n_updates: int  # PMW's, else 0


def universe_attack(
    mechanisms: Mapping[str, Mechanism],
    population: ArrayLike,
    sample: ArrayLike,
    ms: Sequence[int],
    rng: np.random.Generator,
) -> list[UniverseAttack]:
    """The aggregation attack on a finite universe of N points, by an analyst who knows the population.

    Parameters
    ----------
    mechanisms : mapping of name to Mechanism
        Each takes queries as arrays of N values; all see the same ones.
    population, sample : array_like of shape (N,)
        D and S, each summing to 1. The analyst votes with sign(aᵢ − D[qᵢ]): validity must hold for every
        analyst, also one who knows the truth.
    ms : sequence of int
    rng : numpy.random.Generator
    """
    D, S = np.asarray(population, dtype=float), np.asarray(sample, dtype=float)
    marks = _marks(ms, max(ms))
    votes = {name: np.zeros(len(D), np.float32) for name in mechanisms}
    largest = dict.fromkeys(mechanisms, 0.0)
    rows = []
    for start, stop in _pieces(marks, max(1, min(CHUNK, 2**26 // len(D)))):
        table = random_signs(stop - start, len(D), rng)
        single = table.astype(np.float32)
        truth = (single @ D.astype(np.float32)).astype(float)
        for name, mechanism in mechanisms.items():
            error = np.nan_to_num(mechanism.answer_many(table) - truth)  # a refusal is no vote
            largest[name] = max(largest[name], float(np.abs(error).max()))
            votes[name] += np.sign(error).astype(np.float32) @ single
            if stop in marks:
                final = np.sign(votes[name]).astype(float)
                answer, on_s, on_d = copy.deepcopy(mechanism).answer(final), final @ S, final @ D
                updates = getattr(mechanism, "n_updates", 0)
                rows.append(
                    UniverseAttack(
                        mechanism=name,
                        m=stop,
                        final_error=float(abs(answer - on_d)),
                        final_overfit=float(abs(on_s - on_d)),
                        final_noise=float(abs(answer - on_s)),
                        random_error=largest[name],
                        n_updates=updates,
                    )
                )
    return rows


def greedy_analyst(mechanism: PMW, population: ArrayLike, pool: ArrayLike, rounds: int) -> Floats:
    """Ask, again and again, the query of a pool on which PMW's public histogram is furthest from the truth.

    Parameters
    ----------
    mechanism : PMW
        Its histogram is public, so this is an analyst's right; nobody can force updates faster.
    population : array_like of shape (N,)
    pool : array_like of shape (queries, N)
        Values in [−1, 1].
    rounds : int

    Returns
    -------
    array of shape (rounds,)
        Error ``|answer − D[q]|`` of each answer.
    """
    D, queries = np.asarray(population, dtype=float), np.asarray(pool, dtype=float)
    truth, errors = queries @ D, np.empty(check_count(rounds, "rounds"))
    for turn in range(rounds):
        worst = int(np.abs(queries @ mechanism.h - truth).argmax())
        errors[turn] = abs(mechanism.answer(queries[worst]) - truth[worst])
    return errors


class HistogramMechanism(Mechanism):
    """Sample means, with Gaussian noise if asked for, of queries on a finite universe: PMW's baselines.

    Parameters
    ----------
    hist : array_like of shape (N,)
        Counts of the sample.
    sigma : float
        0 for the naive mechanism.
    rng : numpy.random.Generator
    """

    def __init__(self, hist: ArrayLike, sigma: float, rng: np.random.Generator) -> None:
        counts = np.asarray(hist, dtype=float)
        super().__init__(counts)
        self.n_rows, self.S, self.sigma = float(counts.sum()), counts / counts.sum(), float(sigma)
        (self._rng,) = streams(rng, 1)
        self.sensitivity = 2 / self.n_rows

    def answer_many(self, values: ArrayLike) -> Floats:
        """Answers to queries of shape (m, N)."""
        table = np.asarray(values)
        exact = (table.astype(np.float32) @ self.S.astype(np.float32)).astype(float)
        self.n_answers += len(table)
        return exact + self._rng.normal(0.0, self.sigma, len(table))

    def _release(self, means: Floats) -> Floats:
        raise TypeError("give the queries' values on the universe: answer or answer_many")

    def budget_spent(self) -> Spent:
        """Sum of ρ over the answers; infinite without noise."""
        rho = gaussian_rho(self.sigma, self.sensitivity) * self.n_answers if self.n_answers else 0.0
        return spent_zcdp(rho, DELTA, 0, self.n_answers)


# -- labels read out ------------------------------------------------------------------------------------------


def reconstruction_attack(mechanism: Mechanism, y: ArrayLike, m: int, rng: np.random.Generator) -> float:
    """Share of the holdout's ±1 labels that least squares recovers from m random linear queries.

    Parameters
    ----------
    mechanism : Mechanism
        Over the n labelled rows.
    y : array_like of shape (n,)
        The labels, ±1, used to build the queries' values r(x)·y (and to count hits); the analyst knows r
        and hears the answers alone.
    m : int
    rng : numpy.random.Generator

    Notes
    -----
    The analyst solves R ŷ = n·a in least squares (minimum norm for m < n), after Dinur and Nissim (2003).
    """
    labels = np.asarray(y, dtype=float)
    if labels.shape != (mechanism.n,) or not np.isin(labels, (-1.0, 1.0)).all():
        raise ValueError(f"y must hold {mechanism.n} labels, each -1 or 1, got shape {labels.shape}")
    R = random_signs(check_count(m, "m"), mechanism.n, rng).astype(float)
    guess = _least_squares(R, mechanism.n * mechanism.answer_many(R * labels))
    return float((np.sign(guess) == labels).mean())


def _least_squares(R: Floats, b: Floats) -> Floats:
    """Solution of least norm by the smaller Gram matrix, several times faster than a singular value one."""
    m, n = R.shape
    try:
        if m == n:
            found = np.linalg.solve(R, b)
        else:
            found = R.T @ np.linalg.solve(R @ R.T, b) if m < n else np.linalg.solve(R.T @ R, R.T @ b)
    except np.linalg.LinAlgError:  # a singular table of signs: only for a handful of rows
        found = np.linalg.lstsq(R, b, rcond=1e-10)[0]
    return np.asarray(found, dtype=float)


def leaderboard_attack(
    mechanism: Mechanism, m: int, rng: np.random.Generator, *, hidden: int
) -> tuple[float, float]:
    """Submit m random ±1 predictions, then the majority of those that the leaderboard liked.

    Parameters
    ----------
    mechanism : Mechanism
        Over the n public points; a query's value is 1 where the submission is right and −1 elsewhere. With
        :class:`ThresholdoutMechanism`, a submission has values on training points too.
    m : int
    rng : numpy.random.Generator
    hidden : int
        Number of private points.

    Returns
    -------
    public, private : float
        Accuracy of the boosted submission on the public and on the private points.

    Notes
    -----
    A submission gets a vote for it when its answer is above one half; on a Ladder, which repeats its best
    score, when the answer rose.
    """
    table = random_signs(m, mechanism.n + check_count(hidden, "hidden"), rng)
    public = table[:, : mechanism.n]
    if isinstance(mechanism, ThresholdoutMechanism):
        train = random_signs(m, mechanism.n_train, rng).mean(axis=1)
        heard = mechanism.answer_differences(train, public.mean(axis=1))[0]
    else:
        heard = mechanism.answer_many(public)
    if isinstance(mechanism, LadderMechanism):
        heard = np.diff(heard, prepend=heard[0]) - 1e-12  # only a rise is a vote for it
    boosted = np.sign(vote_signs(heard) @ table.astype(np.float32))
    right = (boosted + 1) / 2  # a tie is half right
    return float(right[: mechanism.n].mean()), float(right[mechanism.n :].mean())


# -- Freedman's paradox ---------------------------------------------------------------------------------------


class Freedman(NamedTuple):
    """Regressions of noise on noise, before and after screening; one entry a repetition."""

    n_kept: NDArray[np.int64]  # variables that passed the screen
    p_before: Floats  # overall F test of the full model
    p_after: Floats  # … of the refit on the same rows
    p_fresh: Floats  # … of the refit on fresh rows


def freedman(reps: int, rng: np.random.Generator, n: int = 100, p: int = 50, level: float = 0.25) -> Freedman:
    """Freedman's paradox (1983): regress noise on noise, keep what looks promising, regress again.

    Parameters
    ----------
    reps : int
    rng : numpy.random.Generator
    n, p : int
        Rows and candidate variables, all independent standard normal.
    level : float
        A variable stays if its t test has p at most this.
    """
    X, y = rng.normal(size=(2, reps, n, p)), rng.normal(size=(2, reps, n))
    everything = np.ones((reps, p), dtype=bool)
    before, t_p = _regress(X[0], y[0], everything)
    kept = t_p <= level
    kept[~kept.any(axis=1), 0] = True
    after, fresh = (_regress(X[i], y[i], kept)[0] for i in (0, 1))
    return Freedman(kept.sum(axis=1), before, after, fresh)


def _regress(X: Floats, y: Floats, kept: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Overall F test (reps,) and t tests (reps, p) of batched regressions with intercept on kept columns."""
    n, count = X.shape[1], kept.sum(axis=1)
    Xc = (X - X.mean(axis=1, keepdims=True)) * kept[:, None, :]
    yc = y - y.mean(axis=1, keepdims=True)
    gram = Xc.swapaxes(1, 2) @ Xc
    index = np.arange(X.shape[2])
    gram[:, index, index] += ~kept  # a column left out gets weight 0
    inverse = np.linalg.inv(gram)
    moments = np.einsum("rnp,rn->rp", Xc, yc)
    weights = np.einsum("rpq,rq->rp", inverse, moments)
    explained, df = (weights * moments).sum(axis=1), n - 1 - count
    s2 = ((yc**2).sum(axis=1) - explained) / df
    t = weights / np.sqrt(inverse[:, index, index] * s2[:, None])
    return stats.f.sf(explained / count / s2, count, df), 2 * stats.t.sf(np.abs(t), df[:, None])
