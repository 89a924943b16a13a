"""Mechanisms that answer statistical queries about a sample, with or without protection.

A *query* is a function of one row with values in a known range; its true answer is the mean over the
population, D[φ], and the empirical one the mean over the sample, S[φ]. A mechanism sees the sample and
gives answers; an analyst sees the answers alone.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from loglik.information.adaptive_data_analysis.accounting import (
    Floats,
    Spent,
    check_count,
    check_positive,
    gaussian_rho,
    laplace_epsilon,
    spent_pure,
    spent_zcdp,
)

Query = Callable[[Any], ArrayLike] | ArrayLike
DELTA = 1e-6  # at which budgets are reported
_SLACK = 1e-9  # rounding in a query's values is no breach of its range


class BudgetExhausted(RuntimeError):  # noqa: N818 (a state of affairs, not a mistake)
    """The mechanism has answered all it can afford; further answers would not be protected.

    Parameters
    ----------
    message : str
    partial : array of shape (k,), optional
        Answers to the first k questions of a batch that the budget did last for.
    """

    def __init__(self, message: str, partial: Floats | None = None) -> None:
        super().__init__(message)
        self.partial: Floats = np.empty(0) if partial is None else partial


def query_values(query: Query, rows: Any, n: int, query_range: tuple[float, float]) -> Floats:
    """A query's values on `rows`, shape (n,).

    Parameters
    ----------
    query : callable or array_like
        A function of all rows that gives one number a row, or those numbers.
    rows : array or DataFrame of n rows
    n : int
    query_range : (float, float)
        What the values must lie in: sensitivity, and so privacy, depends on it.

    Raises
    ------
    ValueError
        For another shape, NaN, or values outside the range.
    """
    values = np.asarray(query(rows) if callable(query) else query, dtype=float)
    if values.shape != (n,):
        raise ValueError(f"a query must give one value for each of the {n} rows, got shape {values.shape}")
    return check_range(values, query_range)


def check_range(values: Floats, query_range: tuple[float, float]) -> Floats:
    """Refuse values outside the range, and NaN; returns `values`."""
    low, high = query_range
    if not (values.min() >= low - _SLACK and values.max() <= high + _SLACK):
        raise ValueError(
            f"query values must lie in [{low:g}, {high:g}], since the noise is scaled to that range; "
            f"got values from {values.min():g} to {values.max():g}"
        )
    return values


def streams(rng: np.random.Generator, number: int) -> list[np.random.Generator]:
    """Independent PCG64 generators from one; asking in a batch or one by one then gives equal answers."""
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng must be a numpy.random.Generator, got {type(rng).__name__}")
    seeds = rng.integers(2**63, size=(number, 2))
    return [np.random.Generator(np.random.PCG64(np.random.SeedSequence(pair.tolist()))) for pair in seeds]


class Mechanism(abc.ABC):
    """Answers statistical queries about one sample.

    Parameters
    ----------
    data : array or DataFrame of n rows
        The sample; only its rows' query values are ever used.
    query_range : (float, float)
        Range of every query's values. An answer's sensitivity is its width over n.
    """

    def __init__(self, data: Any, *, query_range: tuple[float, float] = (-1.0, 1.0)) -> None:
        self._data, self.n = data, len(data)
        if self.n < 1:
            raise ValueError("the sample is empty; a mechanism needs at least one row")
        low, high = map(float, query_range)
        if not (np.isfinite([low, high]).all() and low < high):
            raise ValueError(f"query_range must be two finite numbers in order, got {query_range!r}")
        self.query_range = (low, high)
        self.sensitivity = (high - low) / self.n
        self.n_answers = 0

    def answer(self, query: Query) -> float:
        """Answer one query, a function of the rows or an array of its n values.

        Raises
        ------
        ValueError
            For values of another shape or outside ``query_range``.
        BudgetExhausted
            From mechanisms with a budget, when it is spent.
        """
        values = query_values(query, self._data, self.n, self.query_range)
        return float(self.answer_many(values[None])[0])

    def answer_many(self, values: ArrayLike) -> Floats:
        """Answers to m queries given by their values on the sample, shape (m, n), in order."""
        table = np.asarray(values)
        if table.ndim != 2 or table.shape[1] != self.n:
            raise ValueError(f"values must have shape (m, {self.n}), got {table.shape}")
        if len(table) == 0:
            return np.empty(0)
        check_range(table, self.query_range)
        return self.answer_means(_row_means(table))

    def answer_means(self, means: ArrayLike) -> Floats:
        """Answers from the queries' sample means, shape (m,): for simulations that know them already."""
        exact = np.asarray(means, dtype=float)
        answers = self._release(exact)
        self.n_answers += len(exact)
        return answers

    @abc.abstractmethod
    def _release(self, means: Floats) -> Floats:
        """What the analyst gets to see of sample means."""

    @abc.abstractmethod
    def budget_spent(self) -> Spent:
        """Privacy spent so far: rho, epsilon at delta, positives, answers."""


def _row_means(table: np.ndarray) -> Floats:
    """Means over the columns; small integers go through single precision, which holds them exactly."""
    if table.dtype == np.int8:
        sums = table.astype(np.float32) @ np.ones(table.shape[1], np.float32)
        return np.asarray(sums, dtype=float) / table.shape[1]
    return np.asarray(table.mean(axis=1), dtype=float)


class EmpiricalMechanism(Mechanism):
    """The naive holdout: sample means as they are, S[φ]."""

    def _release(self, means: Floats) -> Floats:
        return means

    def budget_spent(self) -> Spent:
        """No privacy: infinite after the first answer."""
        rho = float("inf") if self.n_answers else 0.0
        return spent_zcdp(rho, DELTA, 0, self.n_answers)


class RoundingMechanism(EmpiricalMechanism):
    """Sample means rounded to multiples of `step` (default 1/√n): few bits, but no differential privacy."""

    def __init__(
        self, data: Any, step: float | None = None, *, query_range: tuple[float, float] = (-1.0, 1.0)
    ) -> None:
        super().__init__(data, query_range=query_range)
        self.step = check_positive(self.n**-0.5 if step is None else step, "step")

    def _release(self, means: Floats) -> Floats:
        return np.round(means / self.step) * self.step


class GaussianMechanism(Mechanism):
    """S[φ] + N(0, σ²). Each answer costs ρ = sensitivity²/(2σ²) of zero-concentrated DP."""

    def __init__(
        self,
        data: Any,
        sigma: float,
        rng: np.random.Generator,
        *,
        query_range: tuple[float, float] = (-1.0, 1.0),
    ) -> None:
        super().__init__(data, query_range=query_range)
        self.sigma = check_positive(sigma, "sigma", zero=True)
        (self._rng,) = streams(rng, 1)

    def _release(self, means: Floats) -> Floats:
        return means + self._rng.normal(0.0, self.sigma, means.shape)

    def budget_spent(self) -> Spent:
        """Sum of ρ over the answers."""
        rho = gaussian_rho(self.sigma, self.sensitivity) * self.n_answers if self.n_answers else 0.0
        return spent_zcdp(rho, DELTA, 0, self.n_answers)


class LaplaceMechanism(Mechanism):
    """S[φ] + Laplace noise of `scale`. Each answer costs ε = sensitivity/scale."""

    def __init__(
        self,
        data: Any,
        scale: float,
        rng: np.random.Generator,
        *,
        query_range: tuple[float, float] = (-1.0, 1.0),
    ) -> None:
        super().__init__(data, query_range=query_range)
        self.scale = check_positive(scale, "scale", zero=True)
        (self._rng,) = streams(rng, 1)

    def _release(self, means: Floats) -> Floats:
        return means + self._rng.laplace(0.0, self.scale, means.shape)

    def budget_spent(self) -> Spent:
        """Sum of ε, or the bound through zCDP where that is smaller."""
        if not self.n_answers:
            return spent_pure(0.0, 0.0, DELTA, 0, 0)
        epsilon = laplace_epsilon(self.scale, self.sensitivity)
        return spent_pure(self.n_answers * epsilon, self.n_answers * epsilon**2, DELTA, 0, self.n_answers)


class SplitMechanism(Mechanism):
    """A fresh block of n/m rows for each of m queries: safe, and wasteful.

    Parameters
    ----------
    data : array or DataFrame of n rows
        In random order.
    m : int
        How many queries will be answered; the next one raises :class:`BudgetExhausted`.
    """

    def __init__(self, data: Any, m: int, *, query_range: tuple[float, float] = (-1.0, 1.0)) -> None:
        super().__init__(data, query_range=query_range)
        self.m = check_count(m, "m")
        if self.m > self.n:
            raise ValueError(f"{self.n} rows can't be split over {self.m} queries; each needs at least one")
        self._edges = np.linspace(0, self.n, self.m + 1).astype(int)

    def answer_many(self, values: ArrayLike) -> Floats:
        """Means over the next blocks; :class:`BudgetExhausted` before any answer if too few are left."""
        table = np.asarray(values, dtype=float)
        if table.ndim != 2 or table.shape[1] != self.n:
            raise ValueError(f"values must have shape (m, {self.n}), got {table.shape}")
        if self.n_answers + len(table) > self.m:
            raise BudgetExhausted(f"the sample was split for {self.m} queries; all blocks are used")
        if len(table) == 0:
            return np.empty(0)
        check_range(table, self.query_range)
        first = self._edges[self.n_answers : self.n_answers + len(table)]
        last = self._edges[self.n_answers + 1 : self.n_answers + len(table) + 1]
        sums = np.pad(np.cumsum(table, axis=1), ((0, 0), (1, 0)))
        rows = np.arange(len(table))
        self.n_answers += len(table)
        return np.asarray((sums[rows, last] - sums[rows, first]) / (last - first), dtype=float)

    def _release(self, means: Floats) -> Floats:
        raise TypeError("a split sample has no common mean to answer from; give the values on its rows")

    def budget_spent(self) -> Spent:
        """No noise, so no privacy; validity comes from using every row once."""
        rho = float("inf") if self.n_answers else 0.0
        return spent_zcdp(rho, DELTA, self.n_answers, self.n_answers)


class LadderMechanism(Mechanism):
    """The Ladder (Blum and Hardt 2015): reveals a score only when it beats the best by more than `step`.

    Parameters
    ----------
    data : array or DataFrame of n rows
    step : float, optional
        Least improvement, and the grid to which a revealed score is rounded; default 1/√n.

    Notes
    -----
    Higher answers are better. Until a submission improves, the answer is the best score so far. It protects
    the reported best, not the answers to all queries.
    """

    def __init__(
        self, data: Any, step: float | None = None, *, query_range: tuple[float, float] = (-1.0, 1.0)
    ) -> None:
        super().__init__(data, query_range=query_range)
        self.step = check_positive(self.n**-0.5 if step is None else step, "step")
        self.best = -float("inf")
        self.n_revealed = 0

    def _release(self, means: Floats) -> Floats:
        answers = np.empty(len(means))
        start = 0
        while start < len(means):  # one turn for each improvement, not for each query
            above = np.flatnonzero(means[start:] > self.best + self.step)
            stop = start + int(above[0]) if above.size else len(means)
            answers[start:stop] = self.best
            if stop < len(means):
                self.best = float(np.round(means[stop] / self.step) * self.step)
                self.n_revealed += 1
                answers[stop] = self.best
            start = stop + 1
        return answers

    def budget_spent(self) -> Spent:
        """No differential privacy: its protection is that few scores are revealed."""
        rho = float("inf") if self.n_revealed else 0.0
        return spent_zcdp(rho, DELTA, self.n_revealed, self.n_answers)
