"""Private multiplicative weights: answer queries from a public histogram, and mend it where it is wrong."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loglik.information.adaptive_data_analysis.accounting import (
    Floats,
    Noise,
    Spent,
    check_count,
    check_positive,
    spent_pure,
    spent_zcdp,
)
from loglik.information.adaptive_data_analysis.mechanisms import (
    DELTA,
    BudgetExhausted,
    Mechanism,
    Query,
    query_values,
    streams,
)
from loglik.information.adaptive_data_analysis.thresholdout import OnExhausted

BLOCK = 256  # queries that are screened by one matrix product; fewer on a large universe


class PMW(Mechanism):
    """Online private multiplicative weights (Hardt and Rothblum 2010).

    Parameters
    ----------
    hist : array_like of shape (N,)
        Counts of the sample over a finite universe of N points.
    threshold : float
        T: answers of the public histogram are let stand up to this difference from the sample's.
    sigma : float
        Scale of the noise of threshold (anew after each update), comparison and answer. ``gaussian``: all
        N(0, σ²). ``laplace``: 2σ, 4σ and σ, as in the sparse vector technique; then T must grow like
        σ log m, or false alarms use up the updates.
    eta : float
        η, the step of an update; at most 1.
    max_updates : int
        U: further updates are refused.
    rng : numpy.random.Generator
    noise : {"gaussian", "laplace"}
    universe : array or DataFrame of N rows, optional
        The points, for queries that are functions.
    on_exhausted : {"raise", "nan"}

    Attributes
    ----------
    h : array of shape (N,)
        The public histogram, uniform at first. Everything about it may be published.
    n_updates : int
    alarms : list of (float, float)
        For each update: the true gap ``|S[q] − h[q]|`` before it and whether its sign was right (1 or −1). The
        curator's, for study.

    Notes
    -----
    Queries are arrays of N values in [−1, 1]. Time O(N) a query, in blocks by one matrix product. An update
    with the right sign lowers KL(S‖h) by at least ``η |S[q] − h[q]| − η²/2``, and KL(S‖h) ≤ log N at the start.
    """

    def __init__(
        self,
        hist: ArrayLike,
        threshold: float,
        sigma: float,
        eta: float,
        max_updates: int,
        rng: np.random.Generator,
        *,
        noise: Noise = "gaussian",
        universe: Any = None,
        on_exhausted: OnExhausted = "raise",
    ) -> None:
        counts = np.asarray(hist, dtype=float)
        if counts.ndim != 1 or not np.isfinite(counts).all() or (counts < 0).any() or counts.sum() <= 0:
            raise ValueError("hist must be counts of shape (N,), none negative and not all zero")
        if universe is not None and len(universe) != len(counts):
            raise ValueError(f"the universe has {len(universe)} points, the histogram {len(counts)}")
        super().__init__(counts, query_range=(-1.0, 1.0))
        if noise not in get_args(Noise):
            raise ValueError(f"noise must be one of {', '.join(get_args(Noise))}, got {noise!r}")
        self.n = len(counts)  # of the universe: what a query has values for
        self.n_rows = float(counts.sum())
        self.sensitivity = 2 / self.n_rows
        self.S: Floats = counts / counts.sum()
        self.h: Floats = np.full(self.n, 1 / self.n)
        self.threshold = check_positive(threshold, "threshold", zero=True)
        self.sigma = check_positive(sigma, "sigma", zero=True)
        self.eta = check_positive(eta, "eta")
        if self.eta > 1:
            raise ValueError(f"eta must be at most 1, got {eta!r}: the guarantee is void beyond")
        self.max_updates = check_count(max_updates, "max_updates", 0)
        self.noise, self.on_exhausted, self._universe = noise, on_exhausted, universe
        self.n_updates = 0
        self.alarms: list[tuple[float, float]] = []
        self._streams = dict(zip(("compare", "answer", "threshold"), streams(rng, 3), strict=True))
        self._gamma = float(self._draw("threshold", 2, 1)[0])

    @property
    def exhausted(self) -> bool:
        """Whether all updates are used up."""
        return self.n_updates >= self.max_updates

    @property
    def potential(self) -> float:
        """KL(S‖h) in nats, the curator's measure of how much there is still to learn."""
        seen = self.S > 0
        return float(self.S[seen] @ np.log(self.S[seen] / self.h[seen]))

    def answer(self, query: Query) -> float:
        """Answer a function of the universe's points, or an array of N values."""
        if callable(query) and self._universe is None:
            raise TypeError("PMW was given no universe, so a query must be an array of values on its points")
        values = query_values(query, self._universe, self.n, self.query_range)
        return float(self.answer_many(values[None])[0])

    def answer_means(self, means: ArrayLike) -> Floats:
        """Not for this mechanism: it needs a query's values on the universe."""
        raise TypeError("PMW needs a query's values on every point: call answer or answer_many")

    def answer_many(self, values: ArrayLike) -> Floats:
        """Answers to m queries, shape (m, N), in order. See :meth:`Mechanism.answer_many`."""
        table = np.asarray(values)
        if table.ndim != 2 or table.shape[1] != self.n:
            raise ValueError(f"values must have shape (m, {self.n}), got {table.shape}")
        if len(table) and not (table.min() >= -1 - 1e-9 and table.max() <= 1 + 1e-9):
            raise ValueError(
                f"query values must lie in [-1, 1], got values from {table.min():g} to {table.max():g}"
            )
        answers = np.full(len(table), np.nan)
        block = max(1, min(BLOCK, 2**24 // self.n))
        for start in range(0, len(table), block):
            stop = start + block
            self._answer_block(table[start:stop].astype(float), answers[start:stop])
        return answers

    def _answer_block(self, queries: Floats, answers: Floats) -> None:
        exact = queries @ self.S
        start = 0
        while start < len(queries):
            if self.exhausted and self.on_exhausted == "nan":
                return
            if self.exhausted:
                raise BudgetExhausted(f"all {self.max_updates} updates are used; take a larger sample")
            start = self._until_update(queries, exact, answers, start)

    def _until_update(self, queries: Floats, exact: Floats, answers: Floats, start: int) -> int:
        """Answer from `start` up to the next update, and say where to go on."""
        guess = queries[start:] @ self.h
        before = self._streams["compare"].bit_generator.state
        gap = np.abs(exact[start:] - guess)
        hits = np.flatnonzero(gap + self._draw("compare", 4, len(gap)) > self.threshold + self._gamma)
        stop = start + int(hits[0]) + 1 if hits.size else len(queries)
        if stop < len(queries):
            self._streams["compare"].bit_generator.state = before
            self._draw("compare", 4, stop - start)
        answers[start:stop] = guess[: stop - start]
        self.n_answers += stop - start
        if hits.size:
            noisy = float(exact[stop - 1] + self._draw("answer", 1, 1)[0])
            answers[stop - 1] = noisy
            self._update(queries[stop - 1], float(np.sign(noisy - guess[stop - 1 - start])))
        return stop

    def _update(self, query: Floats, sign: float) -> None:
        gap = float(query @ (self.S - self.h))
        self.alarms.append((abs(gap), 1.0 if sign * gap > 0 else -1.0))
        weights = self.h * np.exp(self.eta * sign * query)
        self.h = weights / weights.sum()
        self.n_updates += 1
        self._gamma = float(self._draw("threshold", 2, 1)[0])

    def _draw(self, stream: str, times: float, size: int) -> NDArray[np.float64]:
        rng = self._streams[stream]
        if self.noise == "laplace":
            return rng.laplace(0.0, times * self.sigma, size)
        return rng.normal(0.0, self.sigma, size)

    def _release(self, means: Floats) -> Floats:
        raise TypeError("PMW needs a query's values on every point")

    def budget_spent(self) -> Spent:
        """Privacy spent. With Gaussian noise ρ is nominal: each update is charged two releases.

        One for its answer, one for the comparisons before it. For Laplace noise that is the sparse vector's
        theorem; for Gaussian noise it is the convention of sample-size calculators, not a theorem here.
        """
        begun = self.n_answers > 0 and not self.exhausted
        releases = 2 * self.n_updates + begun
        step = self.sensitivity / self.sigma if self.sigma > 0 else float("inf")
        if self.noise == "laplace":
            total = releases * step if releases else 0.0
            return spent_pure(
                total, releases * step**2 if releases else 0.0, DELTA, self.n_updates, self.n_answers
            )
        rho = releases * step**2 / 2 if releases else 0.0
        return spent_zcdp(rho, DELTA, self.n_updates, self.n_answers)
