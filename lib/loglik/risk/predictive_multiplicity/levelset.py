"""The level set: every model whose loss is within epsilon of the best, and what its models say of a person."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import expit

from loglik.risk.checks import check_column, check_weights
from loglik.risk.predictive_multiplicity.loss import (
    Floats,
    Rows,
    check_features,
    check_labels,
    collapse,
    derivatives,
    fit,
    losses,
    make_rows,
    with_intercept,
)
from loglik.risk.predictive_multiplicity.recession import Recession, recession
from loglik.risk.predictive_multiplicity.solver import Centre, Maxima, pull_in, score_maxima

SLACK = 1e-9  # a risk difference counts as delta from delta - SLACK on, everywhere in this package


class UnboundedLevelSetWarning(UserWarning):
    """Models may grow without end inside the level set, so some ranges are limits that no model reaches."""


class Ranges(NamedTuple):
    """Viable prediction ranges of m people."""

    low: Floats  # (m,) smallest risk, reached by a model of the level set (or its limit)
    high: Floats  # (m,) largest risk
    outer_low: Floats  # (m,) certificate: no model of the level set goes below
    outer_high: Floats  # (m,) certificate: none goes above
    models: Floats  # (m, 2, p) models that reach low and high, intercept first; NaN where only a limit does

    @property
    def width(self) -> Floats:
        """(m,) length of the range, in probability."""
        return np.asarray(self.high - self.low)

    @property
    def gap(self) -> float:
        """Largest distance between what was reached and what was proven, in probability."""
        return float(max((self.low - self.outer_low).max(), (self.outer_high - self.high).max()))


class LevelSet:
    r"""All linear risk models that fit almost as well as the best one.

    .. math:: S_\epsilon = \{w : L(w) \le L(w_0) + \epsilon\}, \qquad
        L(w) = \tfrac1n\sum_i\log(1 + e^{-y_i w^\top\tilde x_i})

    with the *unpenalised* loss (natural logarithm) and the baseline
    :math:`w_0 = \arg\min L(w) + \lambda\lVert w_{1:}\rVert^2`.

    Parameters
    ----------
    X : array or DataFrame of shape (n, d)
        Finite features; the intercept is added.
    y : array of shape (n,)
        Labels in {0, 1} or {-1, 1}.
    epsilon : float
        Tolerance: how much more loss a competing model may have.
    relative : bool
        Whether `epsilon` is a share of the baseline's loss (0.01 is one per cent) instead of nats.
    ridge : float
        lambda of the baseline, on the slopes. The released code's 1e-6 by default. It never enters the level set.
    sample_weight : array of shape (n,), optional
        Non-negative weights of the rows in the loss.
    w0 : array of shape (d + 1,), optional
        Another baseline, intercept first, instead of the fitted one.

    Attributes
    ----------
    rows : Rows
        The unique rows: all that the loss needs.
    w0 : array of shape (d + 1,)
        The baseline, intercept first.
    loss0, epsilon, target : float
        The baseline's loss, the additive tolerance, and their sum T.

    Raises
    ------
    ValueError
        One class only, other labels, NaN (by column), weights that are negative or sum to zero, ``epsilon <= 0``,
        a negative ridge, or a baseline of another shape.

    Notes
    -----
    Duplicate rows are collapsed first, so binary features cost little however many rows there are. A range costs about
    fifteen Newton steps of O(u d²); all of them are taken together.

    Source: definitions 1 to 4 of the paper; baseline from the official code; the ranges' algorithm is derived.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0], [0.0], [0.0], [1.0], [1.0], [1.0]] * 10)
    >>> y = np.array([0, 0, 1, 0, 1, 1] * 10)
    >>> near = LevelSet(X, y, epsilon=0.01, relative=True)
    >>> near.viable_range([[1.0]]).round(2)
    array([[0.59, 0.74]])
    """

    rows: Rows
    w0: Floats
    loss0: float
    epsilon: float
    target: float
    ridge: float
    _centre: Centre
    _recession: Recession | None

    def __init__(
        self,
        X: Any,
        y: ArrayLike,
        *,
        epsilon: float,
        relative: bool = False,
        ridge: float = 1e-6,
        sample_weight: ArrayLike | None = None,
        w0: ArrayLike | None = None,
    ) -> None:
        X_ = check_features(X)
        rows = collapse(X_, check_labels(y, len(X_)), sample_weight)
        self._set_up(rows, epsilon, relative, ridge, w0)

    @classmethod
    def from_rows(
        cls,
        rows: Rows,
        *,
        epsilon: float,
        relative: bool = False,
        ridge: float = 1e-6,
        w0: ArrayLike | None = None,
    ) -> LevelSet:
        """A level set of rows that are collapsed already."""
        self = cls.__new__(cls)
        self._set_up(rows, epsilon, relative, ridge, w0)
        return self

    def _set_up(self, rows: Rows, epsilon: float, relative: bool, ridge: float, w0: ArrayLike | None) -> None:
        _check_positive("epsilon", epsilon)
        if isinstance(ridge, bool) or not isinstance(ridge, Real) or not 0 <= float(ridge) < np.inf:
            raise ValueError(f"ridge must be a finite number of at least 0, got {ridge!r}")
        self.rows, self.ridge = rows, float(ridge)
        self.w0 = fit(rows, self.ridge) if w0 is None else check_column(w0, "w0", rows.p)
        self.loss0 = float(losses(rows, self.w0)[0])
        self.epsilon = float(epsilon * self.loss0 if relative else epsilon)
        self.target = self.loss0 + self.epsilon
        self._centre = centre_of(rows, self.w0, self.epsilon)
        held = np.isfinite(self._centre.radius) and np.linalg.matrix_rank(rows.X) == rows.p
        self._recession = None if held else recession(rows)

    @property
    def endless(self) -> bool:
        """Whether the level set is unbounded: classes (quasi-)separable, or columns linearly dependent."""
        return self._recession is not None

    def endless_direction(self) -> Floats:
        """A direction (p,) along which models may grow without end, intercept first; zeros where there is none.

        Its largest entries name the columns to merge or drop. Zero too where columns are merely dependent.
        """
        return np.zeros(self.rows.p) if self._recession is None else self._recession.direction

    def with_epsilon(self, epsilon: float, relative: bool = False) -> LevelSet:
        """The level set of the same baseline at another tolerance."""
        return LevelSet.from_rows(self.rows, epsilon=epsilon, relative=relative, ridge=self.ridge, w0=self.w0)

    # -- predictions ---------------------------------------------------------------------------------------

    def predict(self, X_eval: Any, w: ArrayLike | None = None) -> Floats:
        """Risks (m,) of people under the baseline, or (b, m) under models w (b, p)."""
        X_ = with_intercept(check_features(X_eval, self.rows.p - 1, "X_eval"))
        return np.asarray(expit(np.asarray(self.w0 if w is None else w) @ X_.T))

    def contains(self, w: ArrayLike, tol: float = 1e-9) -> NDArray[np.bool_]:
        """Whether models w (b, p) belong to the level set, by an evaluation of their loss."""
        return np.asarray(losses(self.rows, np.atleast_2d(np.asarray(w, dtype=float))) <= self.target + tol)

    # -- measures ------------------------------------------------------------------------------------------

    def ranges(self, X_eval: Any) -> Ranges:
        """Viable prediction ranges with their certificates and models (definition 2).

        Parameters
        ----------
        X_eval : array or DataFrame of shape (m, d)
            People; often the training rows.

        Returns
        -------
        Ranges

        Warns
        -----
        UnboundedLevelSetWarning
            When some ranges are limits: their ends are exact, but no model reaches them.
        """
        X_ = check_features(X_eval, self.rows.p - 1, "X_eval")
        unique, place = np.unique(X_, axis=0, return_inverse=True)
        A = with_intercept(unique)
        both = self._maxima(np.vstack([-A, A]))
        m, place = len(A), place.ravel()
        inner, outer = expit(both.score), expit(both.bound)
        found = Ranges(
            1 - inner[:m], inner[m:], 1 - outer[:m], outer[m:], np.stack([both.model[:m], both.model[m:]], 1)
        )
        return Ranges(*(np.asarray(field)[place] for field in found))

    def viable_range(self, X_eval: Any, *, return_models: bool = False) -> Floats | tuple[Floats, Floats]:
        """Smallest and largest risk of each person over the level set (definition 2).

        Parameters
        ----------
        X_eval : array or DataFrame of shape (m, d)
        return_models : bool
            Whether to give the models too.

        Returns
        -------
        array of shape (m, 2), or that and models of shape (m, 2, d + 1), intercept first
        """
        found = self.ranges(X_eval)
        ends = np.column_stack([found.low, found.high])
        return (ends, found.models) if return_models else ends

    def ambiguity(
        self,
        X_eval: Any,
        delta: float,
        *,
        sample_weight: ArrayLike | None = None,
        ranges: Ranges | None = None,
    ) -> float:
        """Share of people whom *some* competing model moves by at least delta (definition 3).

        Parameters
        ----------
        X_eval : array or DataFrame of shape (m, d)
        delta : float
            In (0, 1).
        sample_weight : array of shape (m,), optional
            How many people each row stands for.
        ranges : Ranges, optional
            Those of `X_eval`, if they are at hand.
        """
        _check_delta(delta)
        found = self.ranges(X_eval) if ranges is None else ranges
        hit = moved(self.predict(X_eval), found, delta)
        weight = check_weights(sample_weight, len(hit))
        return float(weight @ hit / weight.sum())

    def discrepancy(self, X_eval: Any, delta: float, **options: Any) -> Any:
        """Share of people whom *one* competing model moves by at least delta (definition 4), in proven bounds.

        See :func:`loglik.risk.predictive_multiplicity.integer_program.discrepancy` for the options and the result.
        """
        from loglik.risk.predictive_multiplicity.integer_program import discrepancy

        return discrepancy(self, X_eval, delta, **options)

    def sample(self, n: int, rng: np.random.Generator, *, n_chains: int = 50, thin: int = 10) -> Floats:
        """Models drawn uniformly from the level set by hit-and-run, shape (n, p).

        Directions are normal in the baseline Hessian's metric; each chord is found by bisection on the loss itself,
        to 1e-6 of its length, then a point on it is drawn. All chains move together.

        Raises
        ------
        ValueError
            For fewer than 1 draw, or an unbounded level set (it has no uniform distribution).
        """
        if self.endless:
            raise ValueError("the level set is unbounded, so no uniform distribution on it exists")
        if n < 1 or n_chains < 1 or thin < 1:
            raise ValueError(f"n, n_chains and thin must be at least 1, got {n}, {n_chains}, {thin}")
        root = np.linalg.cholesky(self._centre.hessian)
        W = np.tile(self.w0, (min(n_chains, n), 1))
        kept: list[Floats] = []
        rounds = -(-n // len(W))
        for step in range((rounds + 5) * thin):  # the first five rounds are left out
            direction = np.linalg.solve(root.T, rng.normal(size=W.T.shape)).T
            direction /= np.linalg.norm(root.T @ direction.T, axis=0)[:, None]
            ahead, behind = self._chord(W, direction), self._chord(W, -direction)
            W = W + (rng.uniform(size=len(W)) * (ahead + behind) - behind)[:, None] * direction
            W = pull_in(self.rows, self._centre, W, self.target)
            if step % thin == thin - 1 and step >= 5 * thin:
                kept.append(W)
        return np.concatenate(kept)[:n]

    def _chord(self, W: Floats, direction: Floats) -> Floats:
        """How far (b,) models can go along unit directions before they leave the level set."""
        scores, pace = W @ self.rows.X.T, direction @ self.rows.X.T

        def outside(length: Floats) -> NDArray[np.bool_]:
            S = scores + length[:, None] * pace
            return np.asarray(np.logaddexp(0, S) @ self.rows.total - S @ self.rows.positive > self.target)

        low, high = np.zeros(len(W)), np.full(len(W), np.sqrt(8 * self.epsilon))
        while not (far := outside(high)).all():
            low, high = np.where(far, low, high), np.where(far, high, 2 * high)
        for _ in range(20):
            middle = (low + high) / 2
            far = outside(middle)
            low, high = np.where(far, low, middle), np.where(far, middle, high)
        return low

    # -- scores --------------------------------------------------------------------------------------------

    def _maxima(self, A: Floats) -> Maxima:
        """Largest scores for directions A (b, p), limits included."""
        if not self.endless:
            return score_maxima(self.rows, self._centre, A, self.target)
        warnings.warn(
            "the classes are separable or columns are linearly dependent, so the level set is unbounded: "
            "ranges are limits, and some of them end at 0 or 1",
            UnboundedLevelSetWarning,
            stacklevel=4,
        )
        return self._limits(A)

    def _limits(self, A: Floats) -> Maxima:
        """One linear program for each kind of direction; then those with the same vanishing rows together."""
        assert self._recession is not None
        score, bound = np.full(len(A), np.inf), np.full(len(A), np.inf)
        model, multiplier = np.full(A.shape, np.nan), np.zeros(len(A))
        seen = (A @ self._recession.basis).round(10)
        _, first, kind = np.unique(seen, axis=0, return_index=True, return_inverse=True)
        ways = [self._recession.escape(A[j]) for j in first]
        groups: dict[bytes, tuple[list[int], Rows]] = {}
        for j, way in enumerate([ways[k] for k in kind.ravel()]):
            if not way.unbounded:
                key = way.kept.tobytes()
                if key not in groups:
                    groups[key] = ([], _keep(self.rows, way.kept))
                groups[key][0].append(j)
        for members, rest in groups.values():
            found = _limit_maxima(rest, A[members], self.target, self.w0)
            score[members], bound[members] = found.score, found.bound
        return Maxima(score, bound, model, multiplier, 0)


def _keep(rows: Rows, kept: NDArray[np.bool_]) -> Rows:
    negative = (rows.total - rows.positive) * kept[:, 0]
    positive = rows.positive * kept[:, 1]
    some = negative + positive > 0
    return make_rows(rows.X[some], (negative + positive)[some], positive[some])


def _limit_maxima(rows: Rows, A: Floats, target: float, start: Floats) -> Maxima:
    """Largest scores where only some rows' losses are left; in the coordinates that those rows see."""
    _, size, axes = np.linalg.svd(rows.X, full_matrices=False)
    seen = axes[size > 1e-9 * size.max()].T  # (p, rank)
    reduced = make_rows(rows.X @ seen, rows.total, rows.positive)
    w = _inside(reduced, target)
    centre = centre_of(reduced, w, target - float(losses(reduced, w)[0]))
    found = score_maxima(reduced, centre, A @ seen, target)
    return found._replace(model=np.full((len(A), len(start)), np.nan))


def _inside(rows: Rows, target: float) -> Floats:
    """A model well inside ``L < target`` whose coefficients are moderate even where the minimum lies at infinity.

    The rows' first column is no intercept here, so an idle one is put before it: all coefficients are penalised.
    """
    padded = make_rows(np.column_stack([np.zeros(len(rows.X)), rows.X]), rows.total, rows.positive)
    ridges = [10.0**-k for k in range(1, 13)]
    best = float(losses(padded, fit(padded, ridges[-1]))[0])
    for ridge in ridges:
        w = fit(padded, ridge)
        if losses(padded, w)[0] <= (best + target) / 2:
            break
    return w[1:]


def centre_of(rows: Rows, w: Floats, epsilon: float) -> Centre:
    """The baseline with a ball that is sure to hold the level set.

    Bach's inequality with ``r <= k q``, q the distance in the Hessian's norm and k² the largest leverage
    ``x'H^{-1}x``, gives ``epsilon >= -g q + (e^{-kq} + kq - 1) / k²``, whose largest root is the radius.
    """
    at = derivatives(rows, w[None])
    hessian = at.hessian[0]
    inverse = np.linalg.solve(hessian, np.column_stack([rows.X.T, at.gradient[0]]))
    k = float(np.sqrt(np.einsum("ij,ji->i", rows.X, inverse[:, :-1]).max()))
    g = float(np.sqrt(max(at.gradient[0] @ inverse[:, -1], 0.0)))
    return Centre(w, float(at.loss[0]), hessian, _radius(k, g, epsilon))


def _radius(k: float, g: float, epsilon: float) -> float:
    def excess(u: float) -> float:
        return float(np.exp(-u) + u - 1 - k * k * epsilon - k * g * u)

    if not np.isfinite(k) or k * g >= 0.5:
        return np.inf
    high = 2 * (k * k * epsilon + 2) / (1 - k * g)
    while excess(high) < 0:
        high *= 2
    least = 2 * k * g + 1e-15  # excess falls until e^{-u} is about 1 - k g
    return float(brentq(excess, least if excess(least) < 0 else 0.0, high, xtol=1e-14)) / k


def moved(p0: Floats, found: Ranges, delta: float) -> NDArray[np.bool_]:
    """Whom (m,) some model moves by at least delta from risks p0 (m,)."""
    return np.asarray(np.maximum(p0 - found.low, found.high - p0) >= delta - SLACK)


def _check_positive(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < float(value) < np.inf:
        raise ValueError(f"{name} must be a finite number above 0, got {value!r}")


def _check_delta(delta: Any) -> None:
    if isinstance(delta, bool) or not isinstance(delta, Real) or not 0 < float(delta) < 1:
        raise ValueError(f"delta must lie strictly between 0 and 1 (a risk difference), got {delta!r}")


def check_deltas(deltas: Iterable[Any]) -> None:
    """Refuse risk differences outside (0, 1)."""
    for delta in deltas:
        _check_delta(delta)
