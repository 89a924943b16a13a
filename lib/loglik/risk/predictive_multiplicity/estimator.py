"""The paper's baseline as a scikit-learn classifier that also says how far each of its risks could move."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

from loglik.risk.checks import check_classes, check_finite, column_names
from loglik.risk.predictive_multiplicity.levelset import LevelSet
from loglik.risk.predictive_multiplicity.loss import Floats, collapse


class LogisticERM(ClassifierMixin, BaseEstimator):
    r"""Logistic regression by empirical risk minimisation, with viable prediction ranges.

    Parameters
    ----------
    epsilon : float
        Tolerance of the level set that :meth:`predict_range` speaks of.
    relative : bool
        Whether `epsilon` is a share of the baseline's loss (the default: 0.01 is one per cent) or nats.
    ridge : float
        Weight of the squared slopes; the released code's 1e-6. It never enters the level set.

    Attributes
    ----------
    classes_ : array of shape (2,)
        Labels; the second is the event.
    coef_ : array of shape (1, d)
    intercept_ : array of shape (1,)
    loss_ : float
        Mean log loss of the baseline, no penalty.
    level_set_ : LevelSet
        Everything else: certificates, ambiguity, discrepancy.
    n_features_in_, feature_names_in_
        As everywhere in scikit-learn.

    Raises
    ------
    ValueError
        From ``fit``: other than two classes, NaN (by column, with counts), bad weights, ``epsilon <= 0``.

    Examples
    --------
    >>> from loglik.risk.predictive_multiplicity import load_breastcancer
    >>> data = load_breastcancer()
    >>> model = LogisticERM(epsilon=0.01).fit(data.X, data.y)
    >>> model.predict_range(data.X.iloc[:2]).round(2)
        low  high
    0  0.00  0.02
    1  0.88  0.96
    """

    def __init__(self, epsilon: float = 0.01, *, relative: bool = True, ridge: float = 1e-6) -> None:
        self.epsilon = epsilon
        self.relative = relative
        self.ridge = ridge

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> LogisticERM:
        """Fit the baseline and set up its level set.

        Parameters
        ----------
        X : array or DataFrame of shape (n, d)
        y : array of shape (n,)
            Two classes, of any type.
        sample_weight : array of shape (n,), optional

        Returns
        -------
        LogisticERM
            Itself, fitted.
        """
        given = X
        X, y = validate_data(self, X, y, dtype=np.float64, ensure_all_finite=False)
        check_finite(X, column_names(given, X.shape[1]))
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        check_classes(y, self.classes_)
        if type_of_target(y) != "binary" or len(self.classes_) > 2:
            raise ValueError(
                f"Only binary classification is supported. The type of the target is {type_of_target(y)}."
            )
        rows = collapse(X, codes == 1, sample_weight)
        self.level_set_ = LevelSet.from_rows(
            rows, epsilon=self.epsilon, relative=self.relative, ridge=self.ridge
        )
        w = self.level_set_.w0
        self.intercept_, self.coef_ = w[:1], w[None, 1:]
        self.loss_ = self.level_set_.loss0
        return self

    def _features(self, X: Any) -> Floats:
        check_is_fitted(self)
        checked = validate_data(self, X, dtype=np.float64, reset=False, ensure_all_finite=False)
        check_finite(checked, column_names(X, checked.shape[1]))
        return np.asarray(checked)

    def decision_function(self, X: Any) -> Floats:
        """Scores (m,), the log odds of the event."""
        return np.asarray(self._features(X) @ self.coef_[0] + self.intercept_[0])

    def predict_proba(self, X: Any) -> Floats:
        """Probabilities (m, 2) of the classes under the baseline."""
        p = expit(self.decision_function(X))
        return np.column_stack([1 - p, p])

    def predict(self, X: Any) -> np.ndarray:
        """Labels (m,) of the more probable class."""
        likely = (self.decision_function(X) > 0).astype(int)
        return np.asarray(self.classes_[likely])

    def predict_range(self, X: Any) -> Floats | pd.DataFrame:
        """Smallest and largest risk (m, 2) over all models within the tolerance; a data frame for a data frame."""
        features = self._features(X)
        found = self.level_set_.ranges(features)
        ends = np.column_stack([found.low, found.high])
        return pd.DataFrame(ends, index=X.index, columns=["low", "high"]) if hasattr(X, "index") else ends
