"""Baselines with a closed form: invariant causal prediction, Kania and Wit, and Janzing's corrected norms."""

from __future__ import annotations

from itertools import combinations
from math import comb
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse, stats
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import LassoLars, Ridge
from sklearn.model_selection import KFold
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from loglik.causal.outcome_invariant_augmentation.inputs import Floats, check_positive, check_table
from loglik.causal.outcome_invariant_augmentation.linear import least_squares
from loglik.causal.outcome_invariant_augmentation.selection import target_norm

MOST_SUBSETS = 1024


class ICP(RegressorMixin, BaseEstimator):
    """Invariant causal prediction on given environments (Peters et al. 2016, with the released tests).

    Accepts each subset of treatments whose pooled least-squares residuals have, in every environment, the
    mean (Welch's t) and the variance (two-sided F) of the rest; fits the intersection of the accepted.

    Parameters
    ----------
    level : float
        Significance level, Bonferroni-corrected over environments.
    max_subsets : int
        Subsets tried; all of them where there are no more, else random ones.
    random_state : int, RandomState or None

    Attributes
    ----------
    coef_ : array of shape (m,)
        Zero outside the intersection; all zero where no subset was accepted.
    accepted_ : int
        Number of accepted subsets.
    tested_environments_ : int
        Environments with at least two rows; the others can't be tested.
    """

    def __init__(self, level: float = 0.1, max_subsets: int = MOST_SUBSETS, random_state: Any = None) -> None:
        self.level = level
        self.max_subsets = max_subsets
        self.random_state = random_state

    def fit(self, X: Any, y: Any, environments: ArrayLike | None = None) -> ICP:
        """Fit to treatments (n, m), outcomes (n,) and environment numbers (n,).

        Raises
        ------
        ValueError
            For a missing `environments`, lengths that differ, or a level outside (0, 1).
        """
        X, y = validate_data(self, X, y, y_numeric=True, dtype=float)
        if environments is None:
            raise ValueError("environments is missing: give the number of each row's environment, shape (n,)")
        if not 0 < self.level < 1:
            raise ValueError(f"level must lie between 0 and 1, got {self.level!r}")
        numbers, counts = np.unique(np.asarray(environments), return_inverse=True, return_counts=True)[1:]
        if numbers.shape != y.shape:
            raise ValueError(f"environments must have shape {y.shape}, got {numbers.shape}")
        self.tested_environments_ = int((counts > 1).sum())
        masks = _subsets(X.shape[1], self.max_subsets, check_random_state(self.random_state))
        p = invariance_p_values(_residuals(X, y, masks), numbers, counts)
        accepted = masks[p * len(counts) > self.level]
        self.accepted_ = len(accepted)
        self.coef_ = np.zeros(X.shape[1])
        kept = accepted.all(axis=0) if len(accepted) else np.zeros(X.shape[1], dtype=bool)
        if kept.any():
            self.coef_[kept] = least_squares(X[:, kept], y)
        return self

    def predict(self, X: ArrayLike) -> Floats:
        """Outcome for treatments of shape (n, m), shape (n,)."""
        check_is_fitted(self)
        table: Any = validate_data(self, X, reset=False, dtype=float)
        return np.asarray(table @ self.coef_)


def _subsets(m: int, most: int, rng: Any) -> np.ndarray:
    """Masks (s, m) of non-empty subsets: all where there are at most `most`, else random sizes and members."""
    if 2**m - 1 <= most:
        rows = [c for r in range(1, m + 1) for c in combinations(range(m), r)]
        masks = np.zeros((len(rows), m), dtype=bool)
        for mask, row in zip(masks, rows, strict=True):
            mask[list(row)] = True
        return masks
    sizes = rng.choice(np.arange(1, m + 1), size=most, p=_size_weights(m))
    order = rng.random((most, m)).argsort(1).argsort(1)
    return np.unique(order < sizes[:, None], axis=0)


def _size_weights(m: int) -> Floats:
    """Every size alike, except that a size can't ask for more subsets than it has."""
    weights = np.array([min(comb(m, r), MOST_SUBSETS) for r in range(1, m + 1)], dtype=float)
    return weights / weights.sum()


def _residuals(X: Floats, y: Floats, masks: np.ndarray) -> Floats:
    """Residuals (n, s) of least squares on each subset, from one Gram matrix."""
    gram, target = X.T @ X, X.T @ y
    off = ~masks
    blocks = np.where(masks[:, :, None] & masks[:, None, :], gram, 0.0)
    blocks[:, np.arange(X.shape[1]), np.arange(X.shape[1])] += off  # an identity where a column is left out
    coefs = np.linalg.solve(blocks, np.where(masks, target, 0.0)[..., None])[..., 0]
    return y[:, None] - X @ coefs.T


def invariance_p_values(residuals: Floats, numbers: np.ndarray, counts: np.ndarray) -> Floats:
    """Smallest p-value over environments for each column of residuals (n, s), shape (s,).

    Twice the smaller of Welch's t-test and the two-sided F-test, each environment against all other rows.
    Environments of one row can't be tested; where none has two, the p-value is 0 and nothing is accepted,
    as in the released code.
    """
    tested = counts > 1
    n = len(residuals)
    if not tested.any() or n - counts.max() < 2:
        return np.zeros(residuals.shape[1])
    rows = sparse.csr_matrix((np.ones(n), (numbers, np.arange(n))), shape=(len(counts), n))
    inside = counts[tested][:, None].astype(float)
    total, squares = residuals.sum(0), (residuals**2).sum(0)
    sums, sums2 = (rows @ residuals)[tested], (rows @ residuals**2)[tested]
    mean_in, mean_out = sums / inside, (total - sums) / (n - inside)
    var_in = (sums2 - inside * mean_in**2) / (inside - 1)
    var_out = (squares - sums2 - (n - inside) * mean_out**2) / (n - inside - 1)
    a, b = var_in / inside, var_out / (n - inside)
    degrees = (a + b) ** 2 / (a**2 / (inside - 1) + b**2 / (n - inside - 1))
    p_mean = 2 * stats.t.sf(np.abs(mean_in - mean_out) / np.sqrt(a + b), degrees)
    upper = stats.f.sf(var_in / var_out, inside - 1, n - inside - 1)
    p_var = 2 * np.minimum(upper, 1 - upper)
    return (2 * np.minimum(p_mean, p_var)).min(axis=0)


class KaniaWit(RegressorMixin, BaseEstimator):
    """Causal regularisation from two environments (Kania and Wit 2023): original and augmented rows.

    Solves [(1 + λ) C_A + (1 − λ) C_0] h = (1 + λ) c_A + (1 − λ) c_0 with the second moments C and c of the
    augmented (A) and the original (0) rows.

    Parameters
    ----------
    lam : float or None
        λ ≥ 0; None chooses among `n_draws` draws of Exp(1) by the smallest difference of the two risks in
        `folds`-fold cross-validation.
    n_draws, folds : int
    random_state : int, RandomState or None

    Attributes
    ----------
    coef_ : array of shape (m,)
    lam_ : float
    """

    def __init__(
        self, lam: float | None = None, n_draws: int = 10, folds: int = 5, random_state: Any = None
    ) -> None:
        self.lam = lam
        self.n_draws = n_draws
        self.folds = folds
        self.random_state = random_state

    def fit(
        self,
        X: Any,
        y: Any,
        X_aug: ArrayLike | None = None,
        y_aug: ArrayLike | None = None,
    ) -> KaniaWit:
        """Fit to original rows (n, m), (n,) and augmented rows (n_a, m), (n_a,).

        Raises
        ------
        ValueError
            For missing augmented rows, another number of columns, or λ below 0.
        """
        X, y = validate_data(self, X, y, y_numeric=True, dtype=float)
        if X_aug is None or y_aug is None:
            raise ValueError("fit needs X_aug and y_aug, the rows of the augmented environment")
        augmented, outcome = check_table(X_aug, "X_aug"), check_table(y_aug, "y_aug", 1)
        if augmented.shape[1] != X.shape[1] or len(augmented) != len(outcome):
            raise ValueError(
                f"X_aug must have {X.shape[1]} columns and as many rows as y_aug, got shapes "
                f"{augmented.shape} and {outcome.shape}"
            )
        rng = check_random_state(self.random_state)
        if self.lam is not None and self.lam < 0:
            raise ValueError(f"lam must be at least 0, got {self.lam!r}")
        lams = np.array([self.lam]) if self.lam is not None else np.sort(rng.exponential(1, self.n_draws))
        lam = (
            lams[0]
            if len(lams) == 1
            else lams[self._risk_differences(X, y, augmented, outcome, lams, rng).argmin()]
        )
        self.lam_ = float(lam)
        self.coef_ = _kania_wit(X, y, augmented, outcome, np.array([self.lam_]))[0]
        return self

    def _risk_differences(
        self, X: Floats, y: Floats, X_aug: Floats, y_aug: Floats, lams: Floats, rng: Any
    ) -> Floats:
        seed = rng.randint(2**31 - 1)
        pairs = zip(
            KFold(self.folds, shuffle=True, random_state=seed).split(X),
            KFold(self.folds, shuffle=True, random_state=seed).split(X_aug),
            strict=True,
        )
        total = np.zeros(len(lams))
        for (train, test), (train_aug, test_aug) in pairs:
            h = _kania_wit(X[train], y[train], X_aug[train_aug], y_aug[train_aug], lams)
            risk = ((y[test] - h @ X[test].T) ** 2).mean(1)
            total += np.abs(((y_aug[test_aug] - h @ X_aug[test_aug].T) ** 2).mean(1) - risk)
        return total

    def predict(self, X: ArrayLike) -> Floats:
        """Outcome for treatments of shape (n, m), shape (n,)."""
        check_is_fitted(self)
        table: Any = validate_data(self, X, reset=False, dtype=float)
        return np.asarray(table @ self.coef_)


def _kania_wit(X: Floats, y: Floats, X_aug: Floats, y_aug: Floats, lams: Floats) -> Floats:
    """Coefficients (L, m)."""
    C0, c0 = X.T @ X / len(X), X.T @ y / len(X)
    CA, cA = X_aug.T @ X_aug / len(X_aug), X_aug.T @ y_aug / len(X_aug)
    lam = lams[:, None]
    right = (1 + lam) * cA + (1 - lam) * c0
    left = (1 + lam)[..., None] * CA + (1 - lam)[..., None] * C0
    return (np.linalg.pinv(left, rcond=1e-12, hermitian=True) @ right[..., None])[..., 0]


def corrected_ridge(X: ArrayLike, y: ArrayLike, penalties: ArrayLike) -> Floats:
    """Ridge with the penalty whose coefficients have Janzing's corrected length, shape (m,).

    Parameters
    ----------
    X : array_like of shape (n, m)
    y : array_like of shape (n,)
    penalties : array_like of shape (L,)
        Candidates in scikit-learn's scale (sum of squares plus penalty times ‖h‖²); all above 0.
    """
    fits = [Ridge(alpha=p, fit_intercept=False).fit(X, y).coef_ for p in _penalties(penalties)]
    return _closest(np.array(fits), target_norm(X, y))


def corrected_lasso(X: ArrayLike, y: ArrayLike, penalties: ArrayLike) -> Floats:
    """Lasso with the penalty whose coefficients have Janzing's corrected length, shape (m,).

    Parameters are those of :func:`corrected_ridge`, in scikit-learn's scale for the lasso (mean of squares
    over two plus penalty times ‖h‖₁).
    """
    fits = [LassoLars(alpha=p, fit_intercept=False).fit(X, y).coef_ for p in _penalties(penalties)]
    return _closest(np.array(fits), target_norm(X, y))


def _penalties(values: ArrayLike) -> Floats:
    return np.array([check_positive(float(v), "penalty", "0 is least squares") for v in np.ravel(values)])


def _closest(coefs: Floats, length: Floats) -> Floats:
    return coefs[np.abs(np.linalg.norm(coefs, axis=1) - length).argmin()]
