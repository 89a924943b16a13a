r"""IV-like regression in closed form: one factorisation, then every penalty for O(m) operations.

The linear IVL estimate solves [GX'(Π + αI)GX] h = GX'(Π + αI) y with Π the projection onto the columns of
the parameters G. Neither Π (n × n) nor its root is formed. With orthonormal bases U of GX and Q of G, the
singular values of Q'U are the cosines of the principal angles between the two column spaces, and in those
coordinates the problem falls apart into one ratio each:

    z_j = (a_j + α b_j) / (cos²_j + α),

where b are the outcome's coordinates in the treatment's space and a those of its projection onto G.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from loglik.causal.outcome_invariant_augmentation.inputs import (
    Floats,
    check_alphas,
    check_problem,
    check_table,
)

MODES = ("penalised", "constrained", "projected")
BLIND = 1e-8  # a cosine below this is rounding: the parameters don't move the direction at all


class Basis(NamedTuple):
    """Orthonormal basis of a table's columns, as a product that isn't multiplied out."""

    q: Floats  # (..., n, d) orthonormal
    u: Floats  # (..., d, d) rotates q's columns; zero where the table has no rank
    inverse: Floats  # (..., d, d) from coordinates in the basis to coefficients of the columns

    def coordinates(self, values: Floats) -> Floats:
        """Coordinates of columns (..., n, c) in the basis, (..., d, c)."""
        return np.swapaxes(self.u, -1, -2) @ (np.swapaxes(self.q, -1, -2) @ values)


class CanonicalForm(NamedTuple):
    """Treatment, parameters and outcome in the coordinates in which IVL is diagonal."""

    cosines: Floats  # (..., m) cosines of the principal angles between the columns of GX and of G
    direct: Floats  # (..., m) b: the outcome's coordinates in the treatment's space
    instrumented: Floats  # (..., m) a / cos²: those of its projection onto G, 2SLS of each coordinate
    back: Floats  # (..., m, m) from these coordinates to coefficients

    def solve(self, alphas: Floats) -> Floats:
        """Coefficients (..., A, m) for penalties (..., A); 0 and inf are the limits."""
        squared = self.cosines[..., None, :] ** 2
        alpha = alphas[..., :, None]
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.where(np.isinf(alpha), 0.0, squared / (squared + np.where(np.isinf(alpha), 1, alpha)))
        share = np.where(squared > BLIND**2, share, 0.0)  # what G doesn't move is plain regression
        z = share * self.instrumented[..., None, :] + (1 - share) * self.direct[..., None, :]
        return z @ np.swapaxes(self.back, -1, -2)


def basis(table: Floats) -> Basis:
    """Orthonormal basis of the columns of (..., n, d); tables of lower rank are allowed."""
    q, r = np.linalg.qr(table)
    u, s, vt = np.linalg.svd(r)
    largest = s.max(axis=-1, keepdims=True)
    keep = s > largest * max(table.shape[-2:]) * np.finfo(float).eps
    width = s.shape[-1]
    inverse = (
        np.swapaxes(vt[..., :width, :], -1, -2) * np.where(keep, 1 / np.where(keep, s, 1), 0)[..., None, :]
    )
    return Basis(q, u[..., :, :width] * keep[..., None, :], inverse)


def canonical_form(X_aug: ArrayLike, y: ArrayLike, G: ArrayLike) -> CanonicalForm:
    """Factorise once what every penalty needs, in O(n (m² + k² + m k)).

    Parameters
    ----------
    X_aug : array_like of shape (..., n, m)
        Augmented treatment GX. Leading axes are problems of the same size, solved together.
    y : array_like of shape (..., n)
        Outcome, centred.
    G : array_like of shape (..., n, k)
        Augmentation parameters; any basis of their columns gives the same estimates.

    Raises
    ------
    ValueError
        As :func:`~loglik.causal.outcome_invariant_augmentation.inputs.check_problem`.
    """
    treatment, outcome, parameters = check_problem(X_aug, y, G)
    return _canonical(basis(treatment), basis(parameters), outcome)


def _canonical(x: Basis, g: Basis, y: Floats) -> CanonicalForm:
    cross = np.swapaxes(g.u, -1, -2) @ (np.swapaxes(g.q, -1, -2) @ x.q) @ x.u
    p, c, rt = np.linalg.svd(cross)
    m, common = x.u.shape[-1], c.shape[-1]
    cosines = np.zeros((*c.shape[:-1], m))
    cosines[..., :common] = np.minimum(c, 1)
    direct = (rt @ x.coordinates(y[..., None]))[..., 0]
    onto_g = (np.swapaxes(p, -1, -2)[..., :common, :] @ g.coordinates(y[..., None]))[..., 0]
    moved = c > BLIND
    instrumented = np.zeros_like(cosines)
    instrumented[..., :common] = np.where(moved, onto_g / np.where(moved, c, 1), 0)
    return CanonicalForm(cosines, direct, instrumented, x.inverse @ np.swapaxes(rt, -1, -2))


def ivl_path(X_aug: ArrayLike, y: ArrayLike, G: ArrayLike, alphas: ArrayLike) -> Floats:
    """IVL coefficients for many penalties from one factorisation.

    Parameters
    ----------
    X_aug : array_like of shape (..., n, m)
        Augmented treatment, centred. Leading axes are problems of the same size.
    y : array_like of shape (..., n)
        Outcome, centred.
    G : array_like of shape (..., n, k)
        Augmentation parameters.
    alphas : array_like of shape (A,) or (..., A)
        Penalties of at least 0: the weight of the DA+ERM risk. 0 is the limit of vanishing weight (least
        squares among the solutions of 2SLS), inf is DA+ERM.

    Returns
    -------
    array of shape (..., A, m)

    Raises
    ------
    ValueError
        For negative penalties, shapes that don't belong together, NaN, or parameters that are all zero.

    Notes
    -----
    Minimises R_IV(h) + α R_DA+ERM(h) of the paper on the sample. No intercept: centre the columns.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X, G = rng.normal(size=(500, 2)), rng.normal(size=(500, 1))
    >>> y = X[:, 0]
    >>> ivl_path(X + G * [0, 3], y, G, [0.01, 1]).round(2).shape
    (2, 2)
    """
    return canonical_form(X_aug, y, G).solve(check_alphas(alphas))


def least_squares(X: ArrayLike, y: ArrayLike) -> Floats:
    """Ordinary least squares without intercept, of least norm where the rank is short.

    Parameters
    ----------
    X : array_like of shape (..., n, m)
    y : array_like of shape (..., n)

    Returns
    -------
    array of shape (..., m)
    """
    treatment, outcome = check_table(X, "X"), check_table(y, "y", 1)
    b = basis(treatment)
    return (b.inverse @ b.coordinates(outcome[..., None]))[..., 0]


def two_stage_least_squares(X: ArrayLike, y: ArrayLike, Z: ArrayLike) -> Floats:
    """2SLS, (ΠX)⁺ y, of least norm where the instruments don't identify the coefficients.

    Parameters
    ----------
    X : array_like of shape (..., n, m)
        Treatment, centred.
    y : array_like of shape (..., n)
        Outcome, centred.
    Z : array_like of shape (..., n, k)
        Instruments.

    Returns
    -------
    array of shape (..., m)

    Raises
    ------
    ValueError
        For shapes that don't belong together, NaN, or instruments that are all zero.
    """
    treatment, outcome, instruments = check_problem(X, y, Z)
    z = basis(instruments)
    first, target = z.coordinates(treatment), z.coordinates(outcome[..., None])
    return (np.linalg.pinv(first, rcond=1e-10) @ target)[..., 0]


def projected(X_aug: ArrayLike, y: ArrayLike, G: ArrayLike) -> Floats:
    """The 2SLS solution that lies closest to DA+ERM (the released variant "IVL-Π").

    Parameters are those of :func:`ivl_path`; returns an array of shape (..., m).
    """
    treatment, outcome, parameters = check_problem(X_aug, y, G)
    z = basis(parameters)
    start = least_squares(treatment, outcome)
    first, target = z.coordinates(treatment), z.coordinates(outcome[..., None])
    step = np.linalg.pinv(first, rcond=1e-10) @ (target - first @ start[..., None])
    return start + step[..., 0]


class IVLRegressor(RegressorMixin, BaseEstimator):
    """IV-like regression: instrumental variables on the augmentation's parameters, plus α times DA+ERM.

    Parameters
    ----------
    alpha : float
        Weight of the DA+ERM risk, at least 0. Small values mimic a stronger augmentation: in the population
        one that is √(1 + 1/α) times as strong. 0 is the limit, inf is DA+ERM.
    mode : {"penalised", "constrained", "projected"}
        "penalised" minimises R_IV + α R_DA+ERM. "constrained" and "projected" are its limits for α → 0,
        and don't use `alpha`: least squares among the 2SLS solutions, or the 2SLS solution closest to
        DA+ERM.

    Attributes
    ----------
    coef_ : array of shape (m,)
    n_features_in_ : int

    Notes
    -----
    There is no intercept: treatment and outcome are taken to be centred, as in the paper.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> hidden, G = rng.normal(size=(2000, 1)), rng.normal(size=(2000, 1))
    >>> X = hidden + 0.5 * rng.normal(size=(2000, 2))
    >>> y = X.sum(axis=1) + hidden[:, 0]  # f(x) = x1 + x2 does not change along (1, -1)
    >>> X_aug = X + 2 * G * [1, -1]
    >>> IVLRegressor(alpha=0.1).fit(X_aug, y, G).coef_.round(1)
    array([1.4, 1.4])
    """

    def __init__(self, alpha: float = 1.0, mode: str = "penalised") -> None:
        self.alpha = alpha
        self.mode = mode

    def fit(self, X: Any, y: Any, G: ArrayLike | None = None) -> IVLRegressor:
        """Fit to the augmented treatment.

        Parameters
        ----------
        X : array_like of shape (n, m)
            Augmented treatment GX.
        y : array_like of shape (n,)
            Outcome: the same as before augmentation.
        G : array_like of shape (n, k)
            What each row was augmented with. Required.

        Raises
        ------
        ValueError
            For an unknown mode, α below 0, a missing G, lengths that differ, or a G of rank 0.
        """
        if self.mode not in MODES:
            raise ValueError(f"unknown mode {self.mode!r}; allowed: {', '.join(MODES)}")
        alphas = check_alphas(self.alpha)
        X, y = validate_data(self, X, y, y_numeric=True, dtype=float)
        parameters = _required(G)
        if self.mode == "projected":
            self.coef_ = projected(X, y, parameters)
        else:
            at = np.zeros(1) if self.mode == "constrained" else alphas
            self.coef_ = ivl_path(X, y, parameters, at)[0]
        return self

    def predict(self, X: ArrayLike) -> Floats:
        """Outcome for treatments of shape (n, m): ``X @ coef_``, shape (n,)."""
        check_is_fitted(self)
        table: Any = validate_data(self, X, reset=False, dtype=float)
        return np.asarray(table @ self.coef_)


def _required(G: ArrayLike | None) -> ArrayLike:
    if G is None:
        raise ValueError("G is missing: give the parameters that each row was augmented with, shape (n, k)")
    return G
