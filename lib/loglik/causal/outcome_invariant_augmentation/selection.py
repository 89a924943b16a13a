"""Choosing the penalty: held-out rows, held-out levels of the parameters, or confounder correction."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from loglik.causal.outcome_invariant_augmentation.inputs import (
    Floats,
    check_alphas,
    check_problem,
    check_table,
)
from loglik.causal.outcome_invariant_augmentation.linear import (
    IVLRegressor,
    canonical_form,
    ivl_path,
    least_squares,
)

SELECTORS = ("cv", "level", "confounder")
FLOOR = 1e-3  # the released code adds it to θ̂ · mean(1/l), so that β̂ is never exactly 0


def discretize_parameters(G: ArrayLike, n_bins: int = 2) -> Floats:
    """Parameters in `n_bins` bins of equal width a column, standardised and rounded to two decimals.

    The released code turns continuous parameters into levels this way, for DA+IV, for level
    cross-validation and for all baselines that need environments. A constant column becomes zeros.

    Parameters
    ----------
    G : array_like of shape (n, k)
    n_bins : int
        At least 2.

    Returns
    -------
    array of shape (n, k)

    Raises
    ------
    ValueError
        For fewer than 2 bins, NaN or an empty table.
    """
    if n_bins < 2:
        raise ValueError(f"n_bins must be at least 2, got {n_bins}: one bin has no levels to tell apart")
    table = check_table(G, "G")
    low, span = table.min(-2, keepdims=True), np.ptp(table, axis=-2, keepdims=True)
    share = (table - low) / np.where(span > 0, span, 1)
    codes = np.minimum((share * n_bins).astype(int), n_bins - 1)
    spread = codes.std(-2, keepdims=True)
    return np.round((codes - codes.mean(-2, keepdims=True)) / np.where(spread > 0, spread, 1), 2)


def parameter_levels(G: ArrayLike) -> np.ndarray:
    """Number of the level that each row of (discretised) parameters belongs to, shape (n,)."""
    return np.unique(np.asarray(G), axis=0, return_inverse=True)[1].reshape(-1)


def confounding_strength(cov: ArrayLike, coef: ArrayLike) -> tuple[Floats, Floats]:
    r"""How much of a regression vector is confounding, from its direction alone (Janzing 2019).

    Confounding by a generic hidden vector tilts the coefficients towards the eigenvectors of small
    eigenvalues. θ ≥ 0 minimises ½ Σ_j log(1 + θ/l_j) + (m/2) log Σ_j a_j / (1 + θ/l_j), where l_j are the
    eigenvalues of the covariance and a_j the squared coordinates of w/‖w‖ along its eigenvectors.

    Parameters
    ----------
    cov : array_like of shape (..., m, m)
        Covariance of the treatment; positive definite.
    coef : array_like of shape (..., m)
        Least-squares coefficients w.

    Returns
    -------
    beta : array of shape (...)
        Estimated share of ‖w‖² that confounding adds, strictly between 0 and 1: 1 − 1/(1 + 0.001 + θ mean(1/l)).
    theta : array of shape (...)

    Raises
    ------
    ValueError
        For a singular covariance or coefficients that are all zero: then no direction is defined.
    """
    values, vectors = np.linalg.eigh(check_table(cov, "cov"))
    w = check_table(coef, "coef", 1)
    if (values[..., 0] <= values[..., -1] * values.shape[-1] * np.finfo(float).eps).any():
        raise ValueError("cov is singular: the eigenvalues must be above 0; drop duplicated columns")
    norm = (w**2).sum(-1, keepdims=True)
    if (norm == 0).any():
        raise ValueError("coef is zero: without a direction there is no confounding to estimate")
    shares = np.einsum("...ij,...i->...j", vectors, w) ** 2 / norm
    theta = _minimise_theta(values, shares)
    inflation = FLOOR + theta * (1 / values).mean(-1)
    return 1 / (1 + 1 / inflation), theta


def _misfit(theta: Floats, values: Floats, shares: Floats) -> Floats:
    """Negative log density of the direction; theta (..., T) against eigenvalues (..., m)."""
    grown = 1 + theta[..., :, None] / values[..., None, :]
    fit = (shares[..., None, :] / grown).sum(-1)
    return 0.5 * np.log(grown).sum(-1) + values.shape[-1] / 2 * np.log(fit)


def _minimise_theta(values: Floats, shares: Floats, rounds: int = 4) -> Floats:
    """Grid over many decades, then finer grids around the best point; all problems at once."""
    scale = values.max(-1, keepdims=True)
    grid = scale * np.concatenate([[0.0], np.logspace(-9, 5, 141)])
    for _ in range(rounds):
        best = _misfit(grid, values, shares).argmin(-1)[..., None]
        low = np.take_along_axis(grid, np.maximum(best - 1, 0), -1)
        high = np.take_along_axis(grid, np.minimum(best + 1, grid.shape[-1] - 1), -1)
        centre = np.take_along_axis(grid, best, -1)
        grid = np.concatenate([centre, low + (high - low) * np.linspace(0, 1, 41)], -1)
        grid.sort(-1)
    best = _misfit(grid, values, shares).argmin(-1)[..., None]
    return np.take_along_axis(grid, best, -1)[..., 0]


def target_norm(X_aug: ArrayLike, y: ArrayLike) -> Floats:
    """√(1 − β̂) ‖w‖ with w of DA+ERM: the length that confounder correction wants, shape (...)."""
    table = check_table(X_aug, "X_aug")
    centred = table - table.mean(-2, keepdims=True)
    cov = np.swapaxes(centred, -1, -2) @ centred / (table.shape[-2] - 1)
    w = least_squares(table, y)
    beta, _ = confounding_strength(cov, w)
    return np.sqrt(1 - beta) * np.linalg.norm(w, axis=-1)


def draw_alphas(
    rng: np.random.Generator, n: int = 10, low: float = 1e-4, high: float = 1.0, batch: tuple[int, ...] = ()
) -> Floats:
    """Penalties drawn log-uniformly between `low` and `high`, sorted, shape (*batch, n)."""
    return np.sort(np.exp(rng.uniform(np.log(low), np.log(high), (*batch, n))), axis=-1)


def held_out_rows(n: int, share: float, rng: Any) -> np.ndarray:
    """A random `share` of the rows, shape (round(share n),)."""
    return rng.choice(n, size=round(n * share), replace=False)


def held_out_levels(levels: np.ndarray, share: float, rng: Any) -> np.ndarray:
    """Rows of a random `share` of the levels, drawn with probability proportional to 1 − frequency."""
    names, counts = np.unique(levels, return_counts=True)
    if len(names) < 2:
        raise ValueError("level cross-validation needs at least 2 levels of the parameters, got 1")
    weights = 1 - counts / counts.sum()
    size = min(max(1, round(len(names) * share)), len(names) - 1)
    chosen = rng.choice(names, size=size, replace=False, p=weights / weights.sum())
    return np.flatnonzero(np.isin(levels, chosen))


class IVLSearch(RegressorMixin, BaseEstimator):
    """IVL with its penalty chosen from data.

    Parameters
    ----------
    selector : {"cv", "level", "confounder"}
        "cv" fits on a random share of the rows and scores the squared error of the *un-augmented* others.
        "level" does so with whole levels of the discretised parameters. "confounder" takes the penalty whose
        coefficients have the length that Janzing's estimate of confounding asks for; it holds nothing out.
    alphas : array_like, optional
        Candidates; by default `n_draws` are drawn.
    n_draws : int
        Number of candidates, log-uniform over `alpha_range`.
    alpha_range : (float, float)
        (1e-4, 1) in the paper's simulation, (1e-3, 1) for the optical device.
    test_share : float
        Share of rows or levels held out, between 0 and 1.
    random_state : int, RandomState or None

    Attributes
    ----------
    alpha_ : float
    estimator_ : IVLRegressor
        Fitted to all rows with that penalty.
    coef_ : array of shape (m,)
    table_ : DataFrame
        One row a candidate: alpha, score (lower is better) and the coefficients' norm.
    """

    def __init__(
        self,
        selector: str = "cv",
        alphas: ArrayLike | None = None,
        n_draws: int = 10,
        alpha_range: tuple[float, float] = (1e-4, 1.0),
        test_share: float = 0.2,
        random_state: Any = None,
    ) -> None:
        self.selector = selector
        self.alphas = alphas
        self.n_draws = n_draws
        self.alpha_range = alpha_range
        self.test_share = test_share
        self.random_state = random_state

    def fit(self, X: Any, y: Any, G: ArrayLike | None = None, X_aug: ArrayLike | None = None) -> IVLSearch:
        """Choose the penalty and fit.

        Parameters
        ----------
        X : array_like of shape (n, m)
            Treatment before augmentation; held-out rows are scored on it.
        y : array_like of shape (n,)
        G : array_like of shape (n, k)
        X_aug : array_like of shape (n, m)
            The augmented treatment.

        Raises
        ------
        ValueError
            For an unknown selector, a missing G or X_aug, lengths that differ, or a share outside (0, 1).
        """
        X, y = validate_data(self, X, y, y_numeric=True, dtype=float)
        if X_aug is None or G is None:
            raise ValueError("fit needs both X_aug and G: the augmented treatment and its parameters")
        self._check(X, X_aug)
        rng = check_random_state(self.random_state)
        candidates = self._candidates(rng)
        scores = self._scores(X, y, X_aug, G, candidates, rng)
        self.alpha_ = float(candidates[np.argmin(scores)])
        self.estimator_ = IVLRegressor(alpha=self.alpha_).fit(X_aug, y, G)
        self.coef_ = self.estimator_.coef_
        norms = np.linalg.norm(ivl_path(X_aug, y, G, candidates), axis=-1)
        self.table_ = pd.DataFrame({"alpha": candidates, "score": scores, "norm": norms})
        return self

    def predict(self, X: ArrayLike) -> Floats:
        """Outcome for treatments of shape (n, m), shape (n,)."""
        check_is_fitted(self)
        table: Any = validate_data(self, X, reset=False, dtype=float)
        return np.asarray(table @ self.coef_)

    def _check(self, X: Floats, X_aug: ArrayLike) -> None:
        if self.selector not in SELECTORS:
            raise ValueError(f"unknown selector {self.selector!r}; allowed: {', '.join(SELECTORS)}")
        if not 0 < self.test_share < 1:
            raise ValueError(f"test_share must lie between 0 and 1, got {self.test_share!r}")
        if np.shape(X_aug) != X.shape:
            raise ValueError(f"X_aug must have the shape of X, {X.shape}, got {np.shape(X_aug)}")

    def _candidates(self, rng: Any) -> Floats:
        if self.alphas is not None:
            return check_alphas(self.alphas)
        low, high = self.alpha_range
        if not 0 < low < high:
            raise ValueError(f"alpha_range must be two increasing numbers above 0, got {self.alpha_range!r}")
        return np.sort(np.exp(rng.uniform(np.log(low), np.log(high), self.n_draws)))

    def _scores(
        self, X: Floats, y: Floats, X_aug: ArrayLike, G: ArrayLike, alphas: Floats, rng: Any
    ) -> Floats:
        augmented, outcome, parameters = check_problem(X_aug, y, G)
        if self.selector == "confounder":
            norms = np.linalg.norm(ivl_path(augmented, outcome, parameters, alphas), axis=-1)
            return (norms - target_norm(augmented, outcome)) ** 2
        if self.selector == "level":
            parameters = discretize_parameters(parameters)
            out = held_out_levels(parameter_levels(parameters), self.test_share, rng)
        else:
            out = held_out_rows(len(X), self.test_share, rng)
        kept = np.setdiff1d(np.arange(len(X)), out)
        paths = canonical_form(augmented[kept], outcome[kept], parameters[kept]).solve(alphas)
        return ((outcome[out] - paths @ X[out].T) ** 2).mean(-1)
