"""Thresholdout with a budget: a holdout set that pays only where it disagrees with the training set."""

from __future__ import annotations

from typing import Any, Literal, get_args

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
    check_range,
    query_values,
    streams,
)

OnExhausted = Literal["raise", "nan"]
LOOK_AHEAD = 1024  # comparisons that are drawn at once


class ThresholdoutMechanism(Mechanism):
    """Answers from the training set while it agrees with the holdout set, else from the holdout with noise.

    Parameters
    ----------
    train, holdout : array or DataFrame
        Rows of the two sets. The training set is public: the analyst may look at it freely.
    threshold : float
        T, the disagreement that is tolerated; may be infinite.
    sigma : float
        Scale of the noise. ``laplace``: Lap(2σ) on the threshold, drawn anew after each positive, Lap(4σ) on
        each comparison, Lap(σ) on an answer from the holdout. ``gaussian``: N(0, σ²) on comparison and
        answer and none on the threshold, as in the published experiment.
    budget : int or None
        B: answers that may come from the holdout before it refuses. None, for the published experiment, has
        no limit.
    rng : numpy.random.Generator
    noise : {"laplace", "gaussian"}
    query_range : (float, float)
    on_exhausted : {"raise", "nan"}
        What a question gets once the budget is spent: :class:`BudgetExhausted`, or NaN.

    Notes
    -----
    Privacy concerns the holdout. Laplace: each block of the sparse vector costs Δ/σ and each answer from the
    holdout Δ/σ, with Δ the sensitivity, however many questions there are. Gaussian: without a noisy threshold
    every comparison is a release of its own, and costs ρ = Δ²/(2σ²), as does every answer.
    """

    def __init__(
        self,
        train: Any,
        holdout: Any,
        threshold: float,
        sigma: float,
        budget: int | None,
        rng: np.random.Generator,
        *,
        noise: Noise = "laplace",
        query_range: tuple[float, float] = (-1.0, 1.0),
        on_exhausted: OnExhausted = "raise",
    ) -> None:
        super().__init__(holdout, query_range=query_range)
        if len(train) < 1:
            raise ValueError("the training set is empty; Thresholdout answers from it")
        if np.isnan(threshold) or threshold < 0:
            raise ValueError(f"threshold must be at least 0, got {threshold!r}")
        for value, name, allowed in (
            (noise, "noise", get_args(Noise)),
            (on_exhausted, "on_exhausted", get_args(OnExhausted)),
        ):
            if value not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
        self._train, self.noise, self.on_exhausted = train, noise, on_exhausted
        self.threshold, self.sigma = float(threshold), check_positive(sigma, "sigma", zero=True)
        self.budget = None if budget is None else check_count(budget, "budget", 0)
        self.n_positive = 0
        self._in_block = 0  # comparisons since the threshold's noise was last drawn
        self._streams = dict(zip(("compare", "answer", "threshold"), streams(rng, 3), strict=True))
        self._gamma = self._draw_gamma()

    @property
    def n_train(self) -> int:
        """Rows of the training set."""
        return len(self._train)

    @property
    def exhausted(self) -> bool:
        """Whether the budget is spent."""
        return self.budget is not None and self.n_positive >= self.budget

    def answer(self, query: Query | tuple[ArrayLike, ArrayLike]) -> float:
        """Answer a function of rows, or a pair: its values on the training and on the holdout rows."""
        return float(self.answer_pairs([query])[0][0])

    def answer_pairs(
        self, queries: list[Query | tuple[ArrayLike, ArrayLike]]
    ) -> tuple[Floats, NDArray[np.bool_]]:
        """Answer several queries in order: the answers, and which of them came from the holdout."""
        return self.answer_differences(*self.pair_means(queries))

    def pair_means(self, queries: list[Query | tuple[ArrayLike, ArrayLike]]) -> tuple[Floats, Floats]:
        """Exact means on the two sets, each (m,). They are the curator's: the analyst must not see them."""
        means = [self._pair(query) for query in queries]
        return np.array([pair[0] for pair in means]), np.array([pair[1] for pair in means])

    def _pair(self, query: Query | tuple[ArrayLike, ArrayLike]) -> tuple[float, float]:
        on_train, on_holdout = query if isinstance(query, tuple) else (query, query)
        if not isinstance(query, tuple) and not callable(query):
            raise TypeError(
                "Thresholdout needs a query's values on both sets: give a function of rows, or the tuple "
                "(values on the training rows, values on the holdout rows)"
            )
        train = query_values(on_train, self._train, len(self._train), self.query_range)
        holdout = query_values(on_holdout, self._data, self.n, self.query_range)
        return float(train.mean()), float(holdout.mean())

    def answer_differences(
        self, train_means: ArrayLike, holdout_means: ArrayLike
    ) -> tuple[Floats, NDArray[np.bool_]]:
        """Answers from the means on both sets, shape (m,), in order; one turn of the loop for a positive.

        Returns
        -------
        answers : array of shape (m,)
            NaN after the budget is spent, with ``on_exhausted="nan"``.
        paid : array of shape (m,)
            Whether the answer came from the holdout.

        Raises
        ------
        BudgetExhausted
            If the budget doesn't last for all of them: answers up to there are in ``partial``.
        """
        train = check_range(np.asarray(train_means, dtype=float), self.query_range)
        holdout = check_range(np.asarray(holdout_means, dtype=float), self.query_range)
        answers, paid = np.full(len(train), np.nan), np.zeros(len(train), dtype=bool)
        start = 0
        while start < len(train) and not self.exhausted:
            start = self._until_positive(train, holdout, answers, paid, start)
        if start < len(train) and self.on_exhausted == "raise":
            raise BudgetExhausted(
                f"all {self.budget} answers that may come from this holdout set were given; "
                "a further one would not be protected. Collect a new holdout set.",
                answers[:start],
            )
        return answers, paid

    def _until_positive(
        self, train: Floats, holdout: Floats, answers: Floats, paid: NDArray[np.bool_], start: int
    ) -> int:
        """Answer from `start` up to the next positive (or a block), and say where to go on."""
        end = min(len(train), start + LOOK_AHEAD)
        gap = np.abs(train[start:end] - holdout[start:end])
        before = self._streams["compare"].bit_generator.state
        hits = np.flatnonzero(gap > self.threshold + self._gamma + self._draw("compare", 4, gap.shape))
        stop = start + int(hits[0]) + 1 if hits.size else end
        if stop < end:  # the noise of questions beyond goes back, so that batches don't matter
            self._streams["compare"].bit_generator.state = before
            self._draw("compare", 4, (stop - start,))
        answers[start:stop] = train[start:stop]
        self.n_answers += stop - start
        self._in_block += stop - start
        if hits.size:
            answers[stop - 1] = holdout[stop - 1] + float(self._draw("answer", 1, (1,))[0])
            paid[stop - 1] = True
            self.n_positive += 1
            self._in_block = 0
            self._gamma = self._draw_gamma()
        return stop

    def _draw(self, stream: str, times: float, shape: tuple[int, ...]) -> Floats:
        rng = self._streams[stream]
        if self.noise == "gaussian":
            return rng.normal(0.0, self.sigma, shape)
        return rng.laplace(0.0, times * self.sigma, shape)

    def _draw_gamma(self) -> float:
        return float(self._draw("threshold", 2, (1,))[0]) if self.noise == "laplace" else 0.0

    def _release(self, means: Floats) -> Floats:
        raise TypeError("Thresholdout needs means on both sets: call answer_differences")

    def answer_many(self, values: ArrayLike) -> Floats:
        """Not for this mechanism: it needs values on both sets."""
        raise TypeError("Thresholdout needs values on both sets: call answer_pairs or answer_differences")

    def budget_spent(self) -> Spent:
        """Privacy spent on the holdout, positives and answers."""
        step = self.sensitivity / self.sigma if self.sigma > 0 else float("inf")
        if self.noise == "gaussian":
            count = self.n_answers + self.n_positive
            return spent_zcdp(step**2 / 2 * count if count else 0.0, DELTA, self.n_positive, self.n_answers)
        releases = 2 * self.n_positive + (self._in_block > 0)
        total = releases * step if releases else 0.0
        squares = releases * step**2 if releases else 0.0
        return spent_pure(total, squares, DELTA, self.n_positive, self.n_answers)

    # -- state, for a holdout that outlives the process ----------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything that changes, as plain JSON values: counts, the threshold's noise, the generators."""
        return {
            "n_answers": self.n_answers,
            "n_positive": self.n_positive,
            "in_block": self._in_block,
            "gamma": self._gamma,
            "generators": {name: rng.bit_generator.state for name, rng in self._streams.items()},
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state`."""
        self.n_answers, self.n_positive = int(state["n_answers"]), int(state["n_positive"])
        self._in_block, self._gamma = int(state["in_block"]), float(state["gamma"])
        for name, rng in self._streams.items():
            rng.bit_generator.state = state["generators"][name]
