"""PRESTO as a scikit-learn classifier, and its path as a function."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_array, check_consistent_length, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from loglik.risk.presto.likelihood import Floats, Ints
from loglik.risk.presto.path import PathSolver, PrestoPath, lambda_grid
from loglik.risk.presto.selection import (
    SCORINGS,
    best_lambda,
    cv_scores,
    fold_paths,
    path_probabilities,
    proper,
    stratified_folds,
)

MIN_CLASSES = 3  # two classes have one boundary and nothing to borrow from


class BoundaryCrossingWarning(UserWarning):
    """Some rows lie where two fitted boundaries cross, so a middle class has no probability there."""


def ordered_codes(y: Any) -> tuple[np.ndarray, Ints]:
    """Ordered class labels and the code 0..K-1 of every row.

    The order is that of an ordered pandas Categorical, else the sort order of the labels. Text labels are
    sorted alphabetically, which is rarely meant, so that warns.

    Raises
    ------
    ValueError
        For labels that can't be compared, missing labels, fewer than three classes, or a category without rows.
    """
    dtype = getattr(y, "dtype", None)
    if isinstance(dtype, pd.CategoricalDtype) and dtype.ordered:
        return _categorical_codes(pd.Categorical(y))
    y = column_or_1d(y, warn=True)
    try:
        classes, codes = np.unique(y, return_inverse=True)
        check_classification_targets(y)
    except TypeError as error:
        raise ValueError(
            f"y must hold labels that can be ordered, but they can't be compared: {error}"
        ) from error
    _enough_classes(classes)
    if classes.dtype.kind in "OUS":
        warnings.warn(
            f"text labels are ordered alphabetically: {' < '.join(map(str, classes))}; "
            "pass integers or an ordered pandas Categorical to say another order",
            UserWarning,
            stacklevel=3,
        )
    return classes, codes.astype(np.int64)


def _categorical_codes(y: pd.Categorical) -> tuple[np.ndarray, Ints]:
    classes, codes = np.asarray(y.categories), np.asarray(y.codes, dtype=np.int64)
    if (codes < 0).any():
        raise ValueError(f"y has {int((codes < 0).sum())} missing labels; drop those rows first")
    _enough_classes(classes)
    empty = classes[np.bincount(codes, minlength=len(classes)) == 0]
    if empty.size:
        raise ValueError(
            f"class {', '.join(map(repr, empty.tolist()))} has no rows, so its boundary can't be placed; "
            "remove the category or merge it with a neighbour"
        )
    return classes, codes


def _enough_classes(classes: np.ndarray) -> None:
    if len(classes) < MIN_CLASSES:
        raise ValueError(
            f"PRESTO needs at least {MIN_CLASSES} ordered classes, got {len(classes)} class(es): {classes.tolist()}. "
            "With two there is one boundary and nothing to borrow from: use LogisticRegression"
        )


def presto_path(
    X: ArrayLike,
    y: ArrayLike,
    lambdas: ArrayLike | None = None,
    *,
    l1_ratio: float = 1.0,
    penalize_first: bool = True,
    n_lambda: int = 20,
    lambda_min_ratio: float = 0.01,
    standardize: bool = True,
    sample_weight: ArrayLike | None = None,
    tol: float = 1e-8,
    max_iter: int = 100,
) -> PrestoPath:
    r"""Solve PRESTO for a grid of penalties.

    .. math:: \min_{\alpha,\beta}\; -\tfrac1n\sum_i\log\pi_{y_i}(x_i)
        + \lambda\Big(\sum_j|\beta_{1j}|+\sum_j\sum_{k\ge2}|\beta_{kj}-\beta_{k-1,j}|\Big)

    on features centred and scaled to unit standard deviation (ddof 0).

    Parameters
    ----------
    X : array of shape (n, p)
        Finite features.
    y : array of shape (n,)
        Ordered labels of K >= 3 classes; the last is the rare one.
    lambdas : array of shape (m,), optional
        Penalties, taken from the largest down. By default `n_lambda` values from the smallest penalty that
        leaves no weight, down to `lambda_min_ratio` times it.
    l1_ratio : float
        1 is PRESTO; 0 replaces absolute values by half squares (the paper's ridge variant).
    penalize_first : bool
        Whether the first boundary's weights are penalised (the released code does).
    n_lambda, lambda_min_ratio : int, float
        The default grid; the paper's simulations use 20 and 0.01, its data sets 100 and 1e-4.
    standardize : bool
        Whether the penalty sees standardised features. Without it, features are only centred.
    sample_weight : array of shape (n,), optional
        Non-negative weights of the rows, in the likelihood and in the standardisation.
    tol : float
        Largest violation of the optimality conditions that is left (standardised scale).
    max_iter : int
        Newton steps for each penalty.

    Returns
    -------
    PrestoPath
        Coefficients on the raw scale, with objective, optimality violation and Newton steps.

    Raises
    ------
    ValueError
        For fewer than 3 classes, non-finite X, a negative penalty, `l1_ratio` outside [0, 1], …

    Notes
    -----
    Proximal Newton with the observed information (the released code takes the expected one: same solution,
    more steps). Each step costs O(n p² K) for 2(K-1)-1 Gram matrices. The likelihood is that of the observed
    classes; a row's *other* classes may get a negative value where boundaries cross, so that the problem
    stays convex (the released code also forbids those on training rows).

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 2))
    >>> y = (X[:, 0] + rng.logistic(size=300) > 0).astype(int) + (X[:, 0] + rng.logistic(size=300) > 3)
    >>> path = presto_path(X, y, n_lambda=5)
    >>> path.coefs.shape, bool((path.coefs[0] == 0).all()), bool(path.kkt.max() < 1e-6)
    ((5, 2, 2), True, True)
    """
    X_ = check_array(X, dtype=np.float64)
    check_consistent_length(X_, y)
    classes, codes = ordered_codes(y)
    _check_options(l1_ratio, n_lambda, lambda_min_ratio, tol, max_iter)
    weights = _checked_weights(X_, codes, classes, sample_weight)
    solver = PathSolver(
        X_,
        codes,
        len(classes),
        weights=weights,
        l1_ratio=l1_ratio,
        penalize_first=penalize_first,
        standardize=standardize,
        tol=tol,
        max_iter=max_iter,
    )
    if lambdas is None:
        return solver.path(lambda_grid(solver.lambda_max(), n_lambda, lambda_min_ratio))
    given = np.atleast_1d(np.asarray(lambdas, dtype=float))
    if given.ndim != 1 or not np.isfinite(given).all() or (given < 0).any():
        raise ValueError(f"lambdas must be finite and at least 0, got {given.tolist()}")
    return solver.path(np.sort(given)[::-1])


def _check_options(l1_ratio: float, n_lambda: int, ratio: float, tol: float, max_iter: int) -> None:
    rules = [
        ("l1_ratio", l1_ratio, Real, 0 <= l1_ratio <= 1, "between 0 (ridge) and 1 (PRESTO)"),
        ("n_lambda", n_lambda, Integral, n_lambda >= 1, "an integer of at least 1"),
        ("lambda_min_ratio", ratio, Real, 0 < ratio < 1, "strictly between 0 and 1"),
        ("tol", tol, Real, tol > 0, "positive"),
        ("max_iter", max_iter, Integral, max_iter >= 1, "an integer of at least 1"),
    ]
    for name, value, kind, holds, allowed in rules:
        if not isinstance(value, kind) or isinstance(value, bool) or not holds:
            raise ValueError(f"{name} must be {allowed}, got {value!r}")


def _checked_weights(
    X: Floats, codes: Ints, classes: np.ndarray, sample_weight: ArrayLike | None
) -> Floats | None:
    """Weights (n,) of the rows, every class with some; None for equal ones."""
    if sample_weight is None:
        return None
    weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    if not weights.any():
        raise ValueError("every sample weight is zero, so no row is left to fit")
    lost = classes[np.bincount(codes, weights=weights, minlength=len(classes)) == 0]
    if lost.size:
        raise ValueError(f"every row of class {', '.join(map(repr, lost.tolist()))} has sample_weight 0")
    return weights


class PrestoClassifier(ClassifierMixin, BaseEstimator):
    """Ordinal classifier for a rare last class: cumulative logits with fused boundary weights.

    Each boundary between neighbouring classes has its own weights; an L1 penalty on the differences from
    one boundary to the next lets rare boundaries borrow from common ones, feature by feature.

    Parameters
    ----------
    lam : float, optional
        Penalty on the standardised scale; by default chosen by cross-validation.
    l1_ratio : float
        1 is PRESTO, 0 its ridge variant, between them an elastic net.
    penalize_first : bool
        Whether the first boundary's weights are penalised too (the released code does). Without, an
        infinite penalty gives proportional odds.
    n_lambda, lambda_min_ratio : int, float
        Grid for the cross-validation; see :func:`presto_path`.
    cv : int, splitter or iterable
        Folds; an integer means stratified and shuffled, so that every fold trains on the rare class.
    scoring : {"brier", "log_loss"}
        Multi-class score that chooses the penalty. The paper takes Brier; the log loss listens more to the
        rare class.
    standardize : bool
        Whether the penalty sees standardised features.
    tol : float
        Largest violation of the optimality conditions that is left (standardised scale).
    max_iter : int
        Newton steps for each penalty.
    random_state : int, RandomState or None
        For shuffling the folds.

    Attributes
    ----------
    classes_ : array of shape (K,)
        Labels in their order; the last is the rare class.
    intercept_ : array of shape (K-1,)
        alpha, raw scale.
    coef_ : array of shape (K-1, p)
        beta, one row a boundary, raw scale. Positive weights *lower* the rare class.
    coef_diff_ : array of shape (K-1, p)
        psi: the first boundary's weights, then what each boundary adds; exact zeros are fused features.
    lambda_ : float
        The penalty used.
    lambdas_ : array of shape (m,)
        The grid, decreasing; only `lambda_` when `lam` was given.
    cv_scores_ : array of shape (m, folds)
        Held-out scores, lower is better; only after cross-validation.
    n_iter_ : int
        Newton steps of the final fit (its whole path).
    n_features_in_, feature_names_in_
        As everywhere in scikit-learn.

    Raises
    ------
    ValueError
        From ``fit``: fewer than 3 classes, a category without rows, labels that can't be ordered, non-finite
        X, or a parameter out of its range.

    Notes
    -----
    ``predict_rare_proba`` is always a probability. The middle classes' ones are differences of sigmoids and
    turn negative where two boundaries cross; ``predict_proba`` cuts those to 0, rescales the row and says so
    in a :class:`BoundaryCrossingWarning`.

    Examples
    --------
    >>> import numpy as np
    >>> from loglik.risk.presto import PrestoClassifier, simulate_sparse
    >>> draw = simulate_sparse(1000, 5, 3, (0, 3), 0.5, rng=np.random.default_rng(0))
    >>> model = PrestoClassifier(random_state=0).fit(draw.X, draw.y)
    >>> model.coef_.shape
    (2, 5)
    >>> bool(((model.predict_rare_proba(draw.X) - draw.proba[:, -1]) ** 2).mean() < 1e-3)
    True
    """

    def __init__(
        self,
        lam: float | None = None,
        *,
        l1_ratio: float = 1.0,
        penalize_first: bool = True,
        n_lambda: int = 20,
        lambda_min_ratio: float = 0.01,
        cv: Any = 5,
        scoring: str = "brier",
        standardize: bool = True,
        tol: float = 1e-8,
        max_iter: int = 100,
        random_state: Any = None,
    ) -> None:
        self.lam = lam
        self.l1_ratio = l1_ratio
        self.penalize_first = penalize_first
        self.n_lambda = n_lambda
        self.lambda_min_ratio = lambda_min_ratio
        self.cv = cv
        self.scoring = scoring
        self.standardize = standardize
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> PrestoClassifier:
        """Fit the path, choose a penalty and keep that model.

        Parameters
        ----------
        X : array or DataFrame of shape (n, p)
            Finite features.
        y : array of shape (n,)
            Ordered labels; integers, or an ordered pandas Categorical to name the order.
        sample_weight : array of shape (n,), optional
            Non-negative weights, in the likelihood, the standardisation and the cross-validated score.

        Returns
        -------
        PrestoClassifier
            Itself, fitted.
        """
        self._check()
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        X = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        check_consistent_length(X, y)
        self.classes_, codes = ordered_codes(y)
        weights = _checked_weights(X, codes, self.classes_, sample_weight)
        options: dict[str, Any] = {
            "l1_ratio": self.l1_ratio,
            "penalize_first": self.penalize_first,
            "standardize": self.standardize,
            "tol": self.tol,
            "max_iter": self.max_iter,
        }
        solver = PathSolver(X, codes, len(self.classes_), weights=weights, **options)
        best, path = self._select(solver, X, codes, weights, options)
        self.lambda_ = float(path.lambdas[best])
        self.intercept_, self.coef_ = path.intercepts[best], path.coefs[best]
        self.coef_diff_ = np.diff(self.coef_, axis=0, prepend=0.0)
        self.coef_diff_[np.abs(self.coef_diff_) < 1e-12 * (1 + np.abs(self.coef_))] = 0.0
        self.n_iter_ = max(1, int(path.n_iter.sum()))
        return self

    def _select(
        self, solver: PathSolver, X: Floats, codes: Ints, weights: Floats | None, options: dict[str, Any]
    ) -> tuple[int, PrestoPath]:
        if self.lam is not None:
            self.lambdas_ = np.array([float(self.lam)])
            return 0, solver.path(np.array([float(self.lam)]))
        folds = stratified_folds(codes, self.cv, self.random_state, X)
        lambdas = lambda_grid(solver.lambda_max(), self.n_lambda, self.lambda_min_ratio)
        self.lambdas_ = lambdas
        paths = fold_paths(X, codes, len(self.classes_), lambdas, folds, weights, **options)
        self.cv_scores_ = cv_scores(paths, X, codes, self.scoring, weights)
        best = best_lambda(lambdas, self.cv_scores_)
        return best, solver.path(lambdas[: best + 1])

    def _check(self) -> None:
        lam = self.lam
        if lam is not None and (not isinstance(lam, Real) or not np.isfinite(float(lam)) or lam < 0):
            raise ValueError(
                f"lam must be None (cross-validation) or a finite number of at least 0, got {lam!r}"
            )
        _check_options(self.l1_ratio, self.n_lambda, self.lambda_min_ratio, self.tol, self.max_iter)
        if self.scoring not in SCORINGS:
            raise ValueError(f"unknown scoring {self.scoring!r}; allowed: {', '.join(SCORINGS)}")

    def _features(self, X: Any) -> Floats:
        check_is_fitted(self)
        return validate_data(self, X, dtype=np.float64, reset=False)

    def _raw_proba(self, X: Any) -> Floats:
        features = self._features(X)
        return path_probabilities(self.intercept_[None], self.coef_[None], features)[0]

    def predict_proba(self, X: Any) -> Floats:
        """Class probabilities (m, K) in the order of ``classes_``; rows sum to one.

        Warns
        -----
        BoundaryCrossingWarning
            With the number of rows whose negative middle probabilities were cut to 0.
        """
        raw = self._raw_proba(X)
        crossed = int((raw < 0).any(1).sum())
        if crossed:
            warnings.warn(
                f"boundaries cross for {crossed} of {len(raw)} rows; their negative middle probabilities are cut to 0",
                BoundaryCrossingWarning,
                stacklevel=2,
            )
        return proper(raw)

    def predict_rare_proba(self, X: Any) -> Floats:
        """Probability (m,) of the last class, ``1 - sigmoid(alpha_{K-1} + x' beta_{K-1})``; never cut."""
        features = self._features(X)
        return expit(-(self.intercept_[-1] + features @ self.coef_[-1]))

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class (m,). For a rare class, look at the probabilities instead."""
        raw = self._raw_proba(X)
        return self.classes_[raw.argmax(1)]
