"""The two-phase algorithm as one scikit-learn estimator."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone
from sklearn.linear_model import LinearRegression
from sklearn.utils.validation import check_is_fitted, check_X_y

from loglik.information.unsupervised_pretraining.checks import matrix


class TwoPhase(MetaEstimatorMixin, BaseEstimator):
    """Pretrain a representation on rows without labels, then fit a head to it on rows with labels.

    Parameters
    ----------
    pretrainer : transformer
        Such as :class:`FactorPretrainer` or :class:`GaussianMixturePretrainer`; any scikit-learn
        transformer or pipeline of transformers will do. It is fitted on unlabelled rows and then frozen.
    head : estimator
        Such as ``LinearRegression(fit_intercept=False)``, ``LogisticRegression()`` or
        :class:`ClusterMajority`.

    Attributes
    ----------
    pretrainer_, head_ : fitted estimators

    Raises
    ------
    ValueError
        When a regression head gets no more labelled rows than features + 1 (its risk is infinite).

    Examples
    --------
    >>> from sklearn.linear_model import LinearRegression
    >>> from loglik.information.unsupervised_pretraining import FactorPretrainer
    >>> X = np.random.default_rng(0).normal(size=(500, 5)) * [3, 1, 1, 1, 1]
    >>> model = TwoPhase(FactorPretrainer(1), LinearRegression(fit_intercept=False))
    >>> model.fit(X[:20], X[:20, 0], X_unlab=X).predict(X[:2]).shape
    (2,)
    """

    def __init__(self, pretrainer: Any, head: Any) -> None:
        self.pretrainer = pretrainer
        self.head = head

    def fit(self, X: ArrayLike, y: ArrayLike, X_unlab: ArrayLike | None = None) -> TwoPhase:
        """Fit on labelled X (n, d), y (n,), and on unlabelled rows (m, d).

        Without `X_unlab` the labelled rows, without their labels, are all that phase one sees. The theory
        asks that the two samples be independent; in practice it does little harm to let phase one see both.
        """
        data, target = check_X_y(X, y, dtype=np.float64, y_numeric=False)
        rows = data if X_unlab is None else matrix("X_unlab", X_unlab, data.shape[1])
        self.n_features_in_ = data.shape[1]
        self.pretrainer_ = clone(self.pretrainer).fit(rows)
        features = self.pretrainer_.transform(data)
        if isinstance(self.head, LinearRegression) and len(data) <= features.shape[1] + 1:
            raise ValueError(
                f"least squares on {features.shape[1]} features needs n above {features.shape[1] + 1} "
                f"labelled rows, else its risk is infinite; got n = {len(data)}"
            )
        self.head_ = clone(self.head).fit(features, target)
        if hasattr(self.head_, "classes_"):
            self.classes_ = self.head_.classes_
        return self

    def predict(self, X: ArrayLike) -> Any:
        """Prediction of the head (n,)."""
        check_is_fitted(self)
        return self.head_.predict(self.pretrainer_.transform(np.asarray(X, dtype=float)))

    def predict_proba(self, X: ArrayLike) -> Any:
        """Class probabilities (n, C), where the head has them."""
        check_is_fitted(self)
        return self.head_.predict_proba(self.pretrainer_.transform(np.asarray(X, dtype=float)))

    def score(self, X: ArrayLike, y: ArrayLike) -> float:
        """Score of the head: accuracy, or R²."""
        check_is_fitted(self)
        return float(self.head_.score(self.pretrainer_.transform(np.asarray(X, dtype=float)), y))
