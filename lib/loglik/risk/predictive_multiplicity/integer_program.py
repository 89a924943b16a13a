"""Discrepancy: how many people one competing model can move at once, by mixed-integer programming with proof.

The program has a binary variable for each *flip* (one person, up or down, by at least delta) and the coefficients as
continuous variables; flips are tied to scores by big-M rows and the loss by tangent planes (outer approximation). What
makes it solvable: exact ranges give the smallest valid big-M and rule most flips out; convex programs on pairs show
which two can't happen together; the cutting planes are placed where they bind before any branching starts.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.sparse import csr_matrix, vstack
from scipy.special import expit

from loglik.risk.checks import check_weights
from loglik.risk.predictive_multiplicity.flips import Flips, cliques, conflicts, find_flips, triples
from loglik.risk.predictive_multiplicity.levelset import SLACK, LevelSet, _check_delta, _check_positive
from loglik.risk.predictive_multiplicity.loss import Floats, Ints, check_features, derivatives
from loglik.risk.predictive_multiplicity.solver import forced_fit, pull_in, score_maxima

INWARD = 1e-9  # models are fitted this much (in score) beyond thresholds, so that rounding can't undo a flip


class DiscrepancyResult(NamedTuple):
    """Proven bounds on the discrepancy, and the model that reaches the lower one."""

    lower: float  # share of people that `model` moves; checked by evaluating its loss and risks
    upper: float  # no model of the level set moves a larger share
    model: Floats  # (p,) intercept first
    ambiguity: float  # share of people whom some model moves: the first upper bound
    n_flips: int  # binary variables that were left
    conflict_density: float  # share of the pairs of flips that can't happen together
    n_iter: int  # mixed-integer programs solved
    seconds: float  # wall time
    history: tuple[tuple[float, float, float], ...]  # (seconds, lower, upper) after each step

    @property
    def gap(self) -> float:
        """Relative optimality gap ``(upper - lower) / upper``; 0 where both are 0."""
        return (self.upper - self.lower) / self.upper if self.upper > 0 else 0.0


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """HiGHS prints a line when it polishes a solution, whatever its options say; keep it off the standard output."""
    try:
        kept = os.dup(1)
    except OSError:  # no such descriptor: nothing to keep clean
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


@dataclass
class Master:
    """The linear side of the program: variables are p coefficients, then f binary flips."""

    level_set: LevelSet
    flips: Flips
    low: Floats  # (p,) box of the coefficients over the level set
    high: Floats
    rows: list[Floats] = field(default_factory=list)  # each (p + f,), meaning row @ v <= its bound
    bounds: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        f = self.flips
        big = np.maximum(f.b - f.floor, 0.0)  # A w >= b - big (1 - z)
        for k in range(len(f.b)):
            z = np.zeros(len(f.b))
            z[k] = big[k]
            self.add(np.concatenate([-f.A[k], z]), big[k] - f.b[k])

    def add(self, row: Floats, bound: float) -> None:
        """One more inequality."""
        self.rows.append(row)
        self.bounds.append(float(bound))

    def add_tangents(self, W: Floats) -> None:
        """The loss's tangent planes at models W (k, p): ``L + g'(w - W) <= T``, valid for the whole level set."""
        at = derivatives(self.level_set.rows, np.atleast_2d(W))
        for w, loss, g in zip(np.atleast_2d(W), at.loss, at.gradient, strict=True):
            size = float(np.abs(g).max())
            row = np.concatenate([g, np.zeros(len(self.flips.b))]) / size
            self.add(row, (self.level_set.target - loss + g @ w) / size + 1e-10)

    def add_exclusions(self, sets: list[Ints], at_most: list[int]) -> None:
        """At most so many flips of each set."""
        for members, most in zip(sets, at_most, strict=True):
            row = np.zeros(len(self.level_set.w0) + len(self.flips.b))
            row[len(self.level_set.w0) + members] = 1.0
            self.add(row, most)

    def _program(self) -> tuple[Floats, csr_matrix, Floats, Floats, Floats]:
        p, f = len(self.low), len(self.flips.b)
        goal = np.concatenate([np.zeros(p), -self.flips.weight])
        low, high = np.concatenate([self.low, np.zeros(f)]), np.concatenate([self.high, np.ones(f)])
        return goal, csr_matrix(np.array(self.rows)), np.array(self.bounds), low, high

    def relaxed(self) -> tuple[float, Floats, Floats]:
        """The linear relaxation: its bound, coefficients and fractional flips."""
        goal, A, b, low, high = self._program()
        found = linprog(goal, A_ub=A, b_ub=b, bounds=np.column_stack([low, high]), method="highs")
        if not found.success:
            raise RuntimeError(f"the linear relaxation failed: {found.message}")
        return -found.fun, found.x[: len(self.low)], found.x[len(self.low) :]

    def solve(
        self, at_least: float, seconds: float, nodes: int
    ) -> tuple[float, Floats | None, Floats | None]:
        """The integer program: proven bound, and coefficients and flips where a solution was found in time.

        Only solutions of a share of `at_least` are looked for; when there is none, the bound is just below it.
        """
        goal, A, b, low, high = self._program()
        A, b = vstack([A, csr_matrix(goal)], format="csr"), np.append(b, -at_least)
        kind = np.concatenate([np.zeros(len(self.low)), np.ones(len(self.flips.b))])
        options = {"time_limit": max(seconds, 0.1), "mip_rel_gap": 0.0, "node_limit": nodes}
        with _quiet():
            found = milp(
                goal,
                integrality=kind,
                bounds=Bounds(low, high),
                constraints=LinearConstraint(A, -np.inf, b),
                options=options,
            )
        if found.status == 2:  # infeasible
            return at_least * (1 - 1e-6), None, None
        bound = -found.mip_dual_bound if found.mip_dual_bound is not None else float(self.flips.weight.sum())
        if found.x is None:
            return bound, None, None
        return bound, found.x[: len(self.low)], np.round(found.x[len(self.low) :])


class _Search:
    """Lower and upper bounds as they close in on each other."""

    def __init__(self, level_set: LevelSet, people: Floats, weight: Floats, delta: float) -> None:
        self.level_set, self.delta = level_set, delta
        self.people, self.weight = people, weight
        self.p0 = level_set.predict(people)
        self.lower, self.model = 0.0, level_set.w0
        self.upper = 1.0
        self.started = time.perf_counter()
        self.history: list[tuple[float, float, float]] = []

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.started

    def note(self) -> None:
        self.history.append((self.seconds, self.lower, self.upper))

    def offer(self, W: Floats) -> None:
        """Keep the best of models (k, p), after pulling them into the level set and counting afresh."""
        inside = pull_in(self.level_set.rows, self.level_set._centre, np.atleast_2d(W), self.level_set.target)
        away = np.abs(self.level_set.predict(self.people, inside) - self.p0)
        share = (away >= self.delta - SLACK) @ self.weight
        share[~self.level_set.contains(inside)] = 0.0
        best = int(np.argmax(share))
        if share[best] > self.lower + 1e-12:
            self.lower, self.model = float(share[best]), inside[best]

    def tighten(self, bound: float, unit: float) -> None:
        """Lower the upper bound; shares are whole multiples of `unit`, if there is one."""
        if unit > 0:
            bound = np.floor(bound / unit + 1e-7) * unit
        self.upper = float(max(min(self.upper, bound), self.lower))

    def closed(self, gap: float) -> bool:
        return self.upper - self.lower <= gap * self.upper + 1e-12


def discrepancy(
    level_set: LevelSet,
    X_eval: Any,
    delta: float,
    *,
    sample_weight: ArrayLike | None = None,
    time_limit: float = 60.0,
    gap: float = 0.0,
    max_iter: int = 200,
    node_limit: int = 1_000_000,
    n_starts: int = 150,
) -> DiscrepancyResult:
    r"""The largest share of people whom *one* competing model moves by at least delta (definition 4).

    .. math:: \max_{w\in S_\epsilon}\frac1m\sum_i 1\big[|g_w(x_i)-g_{w_0}(x_i)|\ge\delta\big]

    Parameters
    ----------
    level_set : LevelSet
        Bounded; see Raises.
    X_eval : array or DataFrame of shape (m, d)
        People; equal rows are one variable with their number as weight.
    delta : float
        In (0, 1).
    sample_weight : array of shape (m,), optional
        How many people each row stands for.
    time_limit : float
        Wall seconds after which no new program starts, and which ends the one that runs.
    gap : float
        Relative gap at which to stop. 0 proves the optimum; the released code stops at 0.1.
    max_iter : int
        Integer programs.
    node_limit : int
        Branch-and-bound nodes of each. Limits on nodes and programs stop at the same place on every machine;
        the time limit doesn't.
    n_starts : int
        Starts of the search for good models before the first program. More find better lower bounds.

    Returns
    -------
    DiscrepancyResult
        Always two proven bounds: whatever stopped the search, the truth lies between them.

    Raises
    ------
    ValueError
        For delta outside (0, 1), bad weights, or an unbounded level set (separable classes), where no valid big-M
        exists.

    Notes
    -----
    Source: the program is the official code's (``disc_mip.py``); exact big-M, conflict cliques and the exclusion of
    minimal infeasible sets of flips are derived. Worst case exponential in the number of flips; pairs cost
    O(f² u p²).

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = rng.integers(0, 2, (200, 3)).astype(float)
    >>> near = LevelSet(X, X.sum(1) + rng.logistic(size=200) > 2, epsilon=0.01)
    >>> found = discrepancy(near, X, 0.1)
    >>> found.lower == found.upper <= found.ambiguity
    True
    """
    _check_delta(delta)
    _check_positive("time_limit", time_limit)
    if not 0 <= gap < 1:
        raise ValueError(f"gap must be at least 0 and less than 1, got {gap!r}")
    if n_starts < 1:
        raise ValueError(f"n_starts must be at least 1, got {n_starts!r}")
    if level_set.endless:
        raise ValueError(
            "the level set is unbounded (separable classes or dependent columns), so the integer program has no "
            "valid big-M; drop the columns that separate, or merge their values"
        )
    X_ = check_features(X_eval, level_set.rows.p - 1, "X_eval")
    given = check_weights(sample_weight, len(X_))
    people, place = np.unique(X_, axis=0, return_inverse=True)
    weight = np.bincount(place.ravel(), weights=given) / given.sum()
    unit = 1 / given.sum() if (given == np.round(given)).all() else 0.0
    search = _Search(level_set, people, weight, delta)
    flips = find_flips(level_set, people, weight, delta)
    ambiguity = float(weight[np.unique(flips.person)].sum())
    search.tighten(ambiguity, unit)
    search.note()
    density = 0.0
    n_iter = 0
    if len(flips.b):
        clash, pair_models = conflicts(level_set, flips)
        density = float(clash.sum() / max(1, len(clash) * (len(clash) - 1)))
        search.offer(np.vstack([flips.models, pair_models[level_set.contains(pair_models)]]))
        master = _relaxation(search, flips, clash, unit, n_starts)
        search.note()
        while not search.closed(gap) and n_iter < max_iter and search.seconds < time_limit:
            n_iter += 1
            if not _round(search, master, clash, unit, time_limit - search.seconds, node_limit):
                break
            search.note()
    return DiscrepancyResult(
        search.lower,
        search.upper,
        search.model,
        ambiguity,
        len(flips.b),
        density,
        n_iter,
        search.seconds,
        tuple(search.history),
    )


def _relaxation(
    search: _Search, flips: Flips, clash: NDArray[np.bool_], unit: float, n_starts: int, rounds: int = 15
) -> Master:
    """The program before branching: box, tangents where single flips end, cliques, then tangents where they bind."""
    level_set = search.level_set
    p = level_set.rows.p
    box = score_maxima(
        level_set.rows, level_set._centre, np.vstack([-np.eye(p), np.eye(p)]), level_set.target
    )
    master = Master(level_set, flips, -box.bound[:p], box.bound[p:])
    master.add_tangents(flips.models)
    sets = cliques(clash)
    master.add_exclusions(sets, [1] * len(sets))
    for _ in range(rounds):
        bound, w, z = master.relaxed()
        search.tighten(bound, unit)
        if level_set.contains(w, 1e-7)[0]:
            break
        inside = pull_in(level_set.rows, level_set._centre, w[None], level_set.target)
        master.add_tangents(np.vstack([w, inside]))
        search.offer(inside)
    elite = _climb(search, flips, n_starts)
    _repair(search, master, np.flatnonzero(z > 0.3))
    for model in elite:
        _grow(search, flips, clash, model, max(1, n_starts // 10))
    return master


def _climb(search: _Search, flips: Flips, n_starts: int, n_steps: int = 50, n_best: int = 3) -> list[Floats]:
    """Look for good models by Frank and Wolfe's steps on a smoothed count, many starts together; give the best.

    The smoothed count ``sum weight sigmoid((A w - b) / tau)`` is linearised, its best model over the level set is
    exact (a batch of :func:`score_maxima`), and the best point of the way there is kept; tau falls meanwhile.
    """
    level_set, rng = search.level_set, np.random.default_rng(0)  # fixed: a search, not a statistic
    rows, centre, target = level_set.rows, level_set._centre, level_set.target
    spread = np.maximum(flips.b - flips.floor, 1e-9)
    A, b = flips.A / spread[:, None], flips.b / spread
    push = rng.dirichlet(np.full(len(b), 0.2), n_starts) @ A
    W = score_maxima(rows, centre, push, target, tol=1e-7, max_iter=40).model
    share = np.linspace(0, 1, 16)[1:, None, None]
    for tau in np.geomspace(0.3, 0.005, n_steps):
        slack = np.clip((W @ A.T - b) / tau, -50, 50)
        slope = (flips.weight * expit(slack) * expit(-slack)) @ A + 1e-12 * push
        goal = score_maxima(rows, centre, slope, target, tol=1e-7, max_iter=40).model
        way = W + share * (goal - W)  # convex: the whole way is in the level set
        smooth = expit(np.clip((way @ A.T - b) / tau, -50, 50)) @ flips.weight
        W = way[smooth.argmax(axis=0), np.arange(len(W))]
        search.offer(way.reshape(-1, way.shape[2]))
    makes = W @ flips.A.T - flips.b >= 0
    made = makes @ flips.weight
    return [search.model, *W[np.argsort(made)[::-1][: n_best - 1]]]


def _grow(search: _Search, flips: Flips, clash: NDArray[np.bool_], model: Floats, n_rounds: int) -> None:
    """Local search from a model: leave out up to three of its flips, add others while some model makes them all.

    A round is kept when it isn't worse than the last, so the search can walk along plateaus.
    """
    rng = np.random.default_rng(len(search.history))  # fixed: a search, not a statistic
    members = np.flatnonzero(flips.A @ model >= flips.b)
    for _ in range(n_rounds):
        left = rng.permutation(members)[min(len(members), int(rng.integers(1, 4))) :]
        start = _least(search.level_set, flips, left, model)
        trial, start = _filled(search.level_set, flips, clash, left, start, rng)
        if flips.weight[trial].sum() >= flips.weight[members].sum() - 1e-12:
            members, model = trial, start
            search.offer(start)


def _least(level_set: LevelSet, flips: Flips, members: Ints, start: Floats) -> Floats:
    """The model of least loss that makes these flips."""
    if not len(members):
        return level_set.w0
    return forced_fit(
        level_set.rows, level_set._centre, flips.A[members], flips.b[members] + INWARD, start, max_iter=15
    ).model


def _filled(
    level_set: LevelSet,
    flips: Flips,
    clash: NDArray[np.bool_],
    members: Ints,
    start: Floats,
    rng: np.random.Generator,
) -> tuple[Ints, Floats]:
    """Members with every flip added that still fits, in random order, and a model that makes them."""
    chosen = members
    for k in rng.permutation(len(flips.b)):
        if k in chosen or clash[k, chosen].any():
            continue
        trial = np.append(chosen, k)
        if flips.A[k] @ start >= flips.b[k]:
            chosen = trial
            continue
        model = _least(level_set, flips, trial, start)
        if level_set.contains(model, 0.0)[0] and (flips.A[trial] @ model >= flips.b[trial] - 1e-9).all():
            chosen, start = trial, model
    return chosen, start


def _round(
    search: _Search, master: Master, clash: NDArray[np.bool_], unit: float, seconds: float, nodes: int
) -> bool:
    """One integer program and what follows from it; False when nothing more can be learnt in this time."""
    bound, w, z = master.solve(search.lower + (unit or 1e-9), seconds, nodes)
    search.tighten(bound, unit)
    if w is None or z is None:
        return False
    inside = pull_in(search.level_set.rows, search.level_set._centre, w[None], search.level_set.target)
    search.offer(inside)
    master.add_tangents(np.vstack([w, inside]))
    _grow(search, master.flips, clash, inside[0], 4)
    sets = triples(search.level_set, master.flips, clash, np.flatnonzero(z > 0.5))
    master.add_exclusions(sets, [2] * len(sets))
    return _repair(search, master, np.flatnonzero(z > 0.5)) or not search.level_set.contains(w, 1e-7)[0]


def _repair(search: _Search, master: Master, members: Ints) -> bool:
    """Drop flips until the rest can happen together; exclude each set that can't. True if there was one."""
    level_set, flips = search.level_set, master.flips
    excluded = False
    while len(members):
        found = forced_fit(
            level_set.rows, level_set._centre, flips.A[members], flips.b[members], level_set.w0
        )
        search.offer(_least(level_set, flips, members, found.model))
        if found.bound <= level_set.target:
            break
        tight = members[found.multiplier > 1e-10 * max(found.multiplier.max(), 1e-300)]
        smallest = _smallest(level_set, flips, tight if len(tight) else members)
        master.add_exclusions([smallest], [len(smallest) - 1])
        master.add_tangents(found.model)
        excluded = True
        cost = np.where(np.isin(members, smallest), found.multiplier / flips.weight[members], -1.0)
        members = np.delete(members, int(np.argmax(cost)))
    return excluded


def _smallest(level_set: LevelSet, flips: Flips, members: Ints) -> Ints:
    """A minimal set of flips that can't happen together, by leaving out one at a time."""
    kept = list(members)
    for member in list(members):
        rest = [k for k in kept if k != member]
        if not rest:
            break
        found = forced_fit(level_set.rows, level_set._centre, flips.A[rest], flips.b[rest], level_set.w0)
        if found.bound > level_set.target:
            kept = rest
    return np.array(kept)
