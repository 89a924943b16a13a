"""The solver: PRESTO's regularisation path by proximal Newton with an exact active-set inner step.

In the increments ``psi_1 = beta_1``, ``psi_k = beta_k - beta_{k-1}`` the fused penalty is a plain lasso.
Each Newton step minimises the quadratic model of the likelihood plus that lasso **exactly**
(:func:`lasso_quadratic`), so a path point satisfies its optimality conditions to ``tol``, and a path of
twenty points takes some sixty Newton steps.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.special import expit
from sklearn.exceptions import ConvergenceWarning

from loglik.risk.presto.likelihood import Floats, Ints, alphas_first, alphas_first_index

JITTER = 1e-10  # on the curvature only: it steers steps, while the exact gradient decides when to stop
HALVINGS = 40


class PrestoPath(NamedTuple):
    """Solutions along a grid of penalties, on the raw scale of the features."""

    lambdas: Floats  # (m,) penalties, decreasing
    intercepts: Floats  # (m, K-1) alpha
    coefs: Floats  # (m, K-1, p) beta, one row a boundary
    objective: Floats  # (m,) mean negative log-likelihood plus penalty (of the standardised weights)
    kkt: Floats  # (m,) largest violation of the optimality conditions, standardised scale
    n_iter: Ints  # (m,) Newton steps
    scale: Floats  # (p,) standard deviations that the penalty's scale refers to; ones without `standardize`


class Point(NamedTuple):
    """The likelihood at one theta = (alpha, psi), with what its derivatives need of every row."""

    theta: Floats  # (P,)
    value: float  # mean negative log-likelihood
    above: Floats  # (n,) F(a), a the linear predictor on the upper side of the row's class
    below: Floats  # (n,) 1 - F(b), b that on the lower side
    gap: Floats  # (n,) 1 - exp(b - a)


class Derivatives(NamedTuple):
    """First two derivatives of the mean negative log-likelihood in theta = (alpha, psi)."""

    gradient: Floats  # (P,)
    hessian: Floats  # (P, P) observed information: the likelihood is concave, so it is positive semi-definite


class CumulativeLogit:
    """The likelihood over one data set, its rows sorted by class.

    Sorting makes every boundary's rows one slice: only the classes on its two sides bear on it, so each
    row costs two linear predictors instead of K-1, and each Gram matrix is one BLAS call on a slice.

    Parameters
    ----------
    X : array of shape (n, p)
        Features, standardised by the caller.
    codes : int array of shape (n,)
        Class codes 0..K-1, every class present.
    n_classes : int
        K.
    weights : array of shape (n,)
        Weights of the rows, summing to one.
    """

    def __init__(self, X: Floats, codes: Ints, n_classes: int, weights: Floats) -> None:
        order = np.argsort(codes, kind="stable")
        self.Xt = np.column_stack([np.ones(len(X)), X[order]])
        self.weights = weights[order]
        self.starts = np.searchsorted(codes[order], np.arange(n_classes + 1))
        self.boundaries, self.p = n_classes - 1, X.shape[1]
        self.index = alphas_first_index(self.boundaries, self.p + 1)

    def null(self) -> Floats:
        """Theta without features: logits of the cumulative class frequencies, psi = 0."""
        share = np.add.reduceat(self.weights, self.starts[:-1]).cumsum()[:-1]
        return np.concatenate([np.log(share / (1 - share)), np.zeros(self.boundaries * self.p)])

    def _gamma(self, theta: Floats) -> Floats:
        """(K-1, 1+p): each boundary's (alpha_k, beta_k), from theta = (alpha, psi)."""
        psi = theta[self.boundaries :].reshape(self.boundaries, self.p)
        return np.column_stack([theta[: self.boundaries], psi.cumsum(0)])

    def _sides(self, theta: Floats) -> tuple[Floats, Floats]:
        """Upper and lower linear predictor of every row's own class; ±inf at the ends."""
        n, gamma, at = len(self.Xt), self._gamma(theta), self.starts
        upper, lower = np.full(n, np.inf), np.full(n, -np.inf)
        for k in range(self.boundaries):
            eta = self.Xt[at[k] : at[k + 2]] @ gamma[k]
            upper[at[k] : at[k + 1]] = eta[: at[k + 1] - at[k]]
            lower[at[k + 1] : at[k + 2]] = eta[at[k + 1] - at[k] :]
        return upper, lower

    def at(self, theta: Floats) -> Point:
        """The likelihood at `theta`; its value is +inf where some row's own class has no positive probability."""
        upper, lower = self._sides(theta)
        above, below = expit(upper), expit(-lower)
        gap = -np.expm1(np.minimum(lower - upper, 0.0))
        proba = above * below * gap
        value = float(-(self.weights @ np.log(proba))) if (proba > 0).all() else np.inf
        return Point(theta, value, above, below, gap)

    def derivatives(self, at: Point) -> Derivatives:
        """Gradient and Hessian at a feasible point.

        With F the sigmoid, ``log P(y) = log F(a) + log(1 - F(b)) + log(1 - exp(b - a))`` for upper side a
        and lower side b: three concave terms whose derivatives need no floor (derived here).
        """
        odds = (1 - at.gap) / at.gap
        coupling = self.weights * odds / at.gap
        u_up = -self.weights * (1 - at.above + odds)
        u_low = self.weights * (1 - at.below + odds)
        w_up = self.weights * at.above * (1 - at.above) + coupling
        w_low = self.weights * at.below * (1 - at.below) + coupling
        return Derivatives(*self._assemble(u_up, u_low, w_up, w_low, coupling))

    def _assemble(
        self, u_up: Floats, u_low: Floats, w_up: Floats, w_low: Floats, coupling: Floats
    ) -> tuple[Floats, Floats]:
        J, q, at = self.boundaries, self.p + 1, self.starts
        g, H = np.empty((J, q)), np.zeros((J, q, J, q))
        for k in range(J):
            rows, middle = self.Xt[at[k] : at[k + 2]], slice(at[k + 1], at[k + 2])
            g[k] = np.concatenate([u_up[at[k] : at[k + 1]], u_low[middle]]) @ rows
            w = np.concatenate([w_up[at[k] : at[k + 1]], w_low[middle]])
            H[k, :, k] = rows.T @ (w[:, None] * rows)
            if k + 1 < J:
                H[k, :, k + 1] = -self.Xt[middle].T @ (coupling[middle, None] * self.Xt[middle])
                H[k + 1, :, k] = H[k, :, k + 1]
        for k in range(J - 2, -1, -1):  # psi_k moves every boundary from k on: sums over the tail
            g[k, 1:] += g[k + 1, 1:]
            H[k, 1:] += H[k + 1, 1:]
        for k in range(J - 2, -1, -1):
            H[:, :, k, 1:] += H[:, :, k + 1, 1:]
        return alphas_first(g), H.reshape(J * q, J * q)[self.index]


class Penalty(NamedTuple):
    """``lam * sum(l1_ratio |psi| + (1 - l1_ratio)/2 psi²)`` over theta[first:]; what stands before is free."""

    lam: float
    l1_ratio: float
    first: int

    def value(self, theta: Floats) -> float:
        """The penalty of theta."""
        psi = theta[self.first :]
        return self.lam * float(self.l1_ratio * np.abs(psi).sum() + (1 - self.l1_ratio) / 2 * (psi @ psi))

    def violation(self, theta: Floats, gradient: Floats) -> float:
        """Largest violation of the optimality conditions, given the likelihood's gradient."""
        psi, at = theta[self.first :], self.lam * self.l1_ratio
        g = gradient[self.first :] + self.lam * (1 - self.l1_ratio) * psi
        worst = np.where(psi != 0, np.abs(g + at * np.sign(psi)), np.maximum(np.abs(g) - at, 0.0))
        return float(max(np.abs(gradient[: self.first]).max(), worst.max(initial=0.0)))


def lasso_quadratic(S: Floats, r: Floats, lam: float, start: Floats, max_iter: int = 10_000) -> Floats:
    """Minimise ``x'Sx/2 - r'x + lam |x|_1`` exactly, by an active set of signs.

    Parameters
    ----------
    S : array of shape (P, P)
        Positive definite.
    r, start : arrays of shape (P,)
        The linear term, and where to start (a solution of a similar problem saves most of the work).
    lam : float
        At least 0.

    Returns
    -------
    array of shape (P,)

    Raises
    ------
    RuntimeError
        When `max_iter` sign patterns do not suffice (none has ever taken more than a few dozen).

    Notes
    -----
    Feature-sign search: solve the linear system of the current signs; where a coordinate would change
    its sign on the way, stop at the best such point and drop it; else let in the coordinates that violate
    optimality. Every pattern lowers the objective, so it ends after finitely many. Cost O(|active|³) each.

    Examples
    --------
    >>> import numpy as np
    >>> lasso_quadratic(np.eye(3), np.array([2.0, -0.3, -5.0]), 1.0, np.zeros(3))
    array([ 1.,  0., -4.])
    """
    x = start.copy()
    signs = np.sign(x)
    slack = 1e-11 * (lam + np.abs(r).max(initial=0.0)) + 1e-15
    one_by_one = False
    for _ in range(max_iter):
        active = np.flatnonzero(signs)
        if active.size:
            target = np.zeros_like(x)
            target[active] = np.linalg.solve(S[np.ix_(active, active)], r[active] - lam * signs[active])
            if (target[active] * signs[active] <= 0).any():
                moved = _best_on_segment(S, r, lam, x, target)
                one_by_one = moved is None
                x = x if moved is None else moved
                signs = np.sign(x)
                if not one_by_one:
                    continue
            else:
                x, one_by_one = target, False
        slope = r - S @ x
        slope[signs != 0] = 0.0
        excess = np.abs(slope) - lam
        if excess.max(initial=-np.inf) <= slack:
            return x
        entering = np.array([excess.argmax()]) if one_by_one else np.flatnonzero(excess > slack)
        signs[entering] = np.sign(slope[entering])
    raise RuntimeError(f"the inner lasso needs more than {max_iter} sign patterns: is its matrix finite?")


def _best_on_segment(S: Floats, r: Floats, lam: float, x: Floats, target: Floats) -> Floats | None:
    """The lowest point among the sign changes from `x` to `target`; None when none is below `x`."""
    step = target - x
    crossing = x * target < 0
    times = np.append(x[crossing] / (x[crossing] - target[crossing]), 1.0)
    which = np.append(np.flatnonzero(crossing), -1)
    Sx, Ss = S @ x, S @ step
    smooth = times * (step @ (Sx - r)) + times**2 / 2 * (step @ Ss)
    total = smooth + lam * np.abs(x + times[:, None] * step).sum(1)
    best = int(total.argmin())
    if not total[best] < lam * np.abs(x).sum():
        return None
    point = x + times[best] * step
    if which[best] >= 0:
        point[which[best]] = 0.0
    return point


def _direction(theta: Floats, at: Derivatives, penalty: Penalty) -> Floats:
    """Proximal Newton step: the free coordinates profiled out, the rest by :func:`lasso_quadratic`."""
    f = penalty.first
    H, g = at.hessian.copy(), at.gradient
    H[np.diag_indices_from(H)] += JITTER * max(1.0, float(H.diagonal().mean()))
    factor = cho_factor(H[:f, :f])
    if f == len(theta):
        return -cho_solve(factor, g)
    solved = cho_solve(factor, np.column_stack([H[:f, f:], g[:f]]))
    S = H[f:, f:] - H[f:, :f] @ solved[:, :-1]
    psi = theta[f:]
    r = S @ psi - (g[f:] - H[f:, :f] @ solved[:, -1])
    S[np.diag_indices_from(S)] += penalty.lam * (1 - penalty.l1_ratio)
    at_l1 = penalty.lam * penalty.l1_ratio
    new = lasso_quadratic(S, r, at_l1, psi) if at_l1 > 0 else np.linalg.solve(S, r)
    step = new - psi
    return np.concatenate([-solved[:, -1] - solved[:, :-1] @ step, step])


def minimise(
    model: CumulativeLogit, theta: Floats, penalty: Penalty, tol: float, max_iter: int
) -> tuple[Floats, float, float, int]:
    """Proximal Newton from a feasible `theta`: (theta, objective, violation, steps)."""
    at, step = model.at(theta), 0
    while True:
        derivatives = model.derivatives(at)
        violation = penalty.violation(at.theta, derivatives.gradient)
        moved = None
        if violation > tol and step < max_iter:
            moved = _line_search(model, at, derivatives, penalty)
        if moved is None:  # optimal, out of steps, or no descent left in floating point
            return at.theta, at.value + penalty.value(at.theta), violation, step
        at, step = moved, step + 1


def _line_search(
    model: CumulativeLogit, at: Point, derivatives: Derivatives, penalty: Penalty
) -> Point | None:
    """Halve the step until the true objective falls enough (an infeasible point counts as +inf)."""
    theta, d = at.theta, _direction(at.theta, derivatives, penalty)
    before = penalty.value(theta)
    expected = derivatives.gradient @ d + penalty.value(theta + d) - before
    rounding = 4 * np.finfo(float).eps * max(1.0, abs(at.value + before))
    enough, t = min(float(expected), 0.0), 1.0
    for _ in range(HALVINGS):
        new = theta + t * d
        if t == 1.0 and penalty.first < len(theta):
            new[penalty.first :][np.abs(new[penalty.first :]) < 1e-14] = 0.0  # exact zeros, not theta - theta
        there = model.at(new)
        if there.value + penalty.value(new) <= at.value + before + 1e-4 * t * enough + rounding:
            return there
        t /= 2
    return None


def lambda_grid(lambda_max: float, n_lambda: int, ratio: float) -> Floats:
    """Geometric grid from `lambda_max` down to ``ratio * lambda_max``."""
    return lambda_max * np.geomspace(1.0, ratio, n_lambda)


class PathSolver:
    """One data set made ready for any penalties: standardised, sorted, with its null model.

    The null model is the limit of an infinite penalty: intercepts only, or, without a penalty on the first
    boundary, the proportional-odds maximum-likelihood fit.
    """

    def __init__(
        self,
        X: Floats,
        codes: Ints,
        n_classes: int,
        *,
        weights: Floats | None = None,
        l1_ratio: float = 1.0,
        penalize_first: bool = True,
        standardize: bool = True,
        tol: float = 1e-8,
        max_iter: int = 100,
    ) -> None:
        if weights is not None:  # a weight of 0 is the same as no row
            X, codes, weights = X[weights > 0], codes[weights > 0], weights[weights > 0]
        if np.bincount(codes, minlength=n_classes).min() == 0:
            raise ValueError(
                f"a class has no rows (of positive weight): counts {np.bincount(codes).tolist()}"
            )
        w = np.full(len(X), 1 / len(X)) if weights is None else weights / weights.sum()
        self.center = w @ X
        spread = np.sqrt(w @ (X - self.center) ** 2)
        constant = spread <= 10 * np.finfo(float).eps * np.abs(X).max(0, initial=0.0)
        self.scale = np.where(constant, 1.0, spread) if standardize else np.ones(X.shape[1])
        Z = (X - self.center) / self.scale
        Z[:, constant] = 0.0
        self.model = CumulativeLogit(Z, codes, n_classes, w)
        self.first = (n_classes - 1) + (0 if penalize_first else X.shape[1])
        self.l1_ratio, self.tol, self.max_iter = l1_ratio, tol, max_iter
        self.null = self._null()

    def _null(self) -> Floats:
        theta = self.model.null()
        if self.first == self.model.boundaries:
            return theta
        small = _SharedWeights(self.model)
        shared, *_ = minimise(
            small, theta[: self.first], Penalty(0.0, 1.0, self.first), self.tol, self.max_iter
        )
        theta[: self.first] = shared
        return theta

    def lambda_max(self) -> float:
        """The smallest penalty whose solution is the null model (for a ridge, a hundredth of l1_ratio 1's)."""
        gradient = self.model.derivatives(self.model.at(self.null)).gradient[self.first :]
        return float(np.abs(gradient).max(initial=0.0)) / max(self.l1_ratio, 0.01)

    def path(self, lambdas: Floats) -> PrestoPath:
        """Solve for every penalty, from the largest, each starting at the one before."""
        J, p, theta = self.model.boundaries, self.model.p, self.null
        found, unconverged = [], []
        for lam in lambdas:
            penalty = Penalty(float(lam), self.l1_ratio, self.first)
            theta, objective, violation, steps = minimise(self.model, theta, penalty, self.tol, self.max_iter)
            found.append((theta, objective, violation, steps))
            if violation > max(100 * self.tol, 1e-6):
                unconverged.append(f"{lam:.3g}")
        if unconverged:
            warnings.warn(
                f"no convergence in max_iter={self.max_iter} Newton steps at lambda = {', '.join(unconverged)}: "
                "the classes may be separable there; take a larger lambda or lambda_min_ratio",
                ConvergenceWarning,
                stacklevel=3,
            )
        thetas = np.array([f[0] for f in found])
        beta = thetas[:, J:].reshape(-1, J, p).cumsum(1) / self.scale
        alpha = thetas[:, :J] - beta @ self.center  # with the *cumulated* weights
        objectives, kkt = (np.array([f[i] for f in found]) for i in (1, 2))
        n_iter = np.array([f[3] for f in found], dtype=np.int64)
        return PrestoPath(np.asarray(lambdas, dtype=float), alpha, beta, objectives, kkt, n_iter, self.scale)


class _SharedWeights(CumulativeLogit):
    """The same likelihood on theta = (alpha, psi_1) alone: proportional odds."""

    def __init__(self, model: CumulativeLogit) -> None:
        self.__dict__.update(model.__dict__)

    def _full(self, theta: Floats) -> Floats:
        return np.concatenate([theta, np.zeros((self.boundaries - 1) * self.p)])

    def at(self, theta: Floats) -> Point:
        return super().at(self._full(theta))._replace(theta=theta)

    def derivatives(self, at: Point) -> Derivatives:
        found, m = super().derivatives(at), len(at.theta)
        return Derivatives(found.gradient[:m], found.hessian[:m, :m])
