"""Any scikit-learn regressor that takes weights, trained on censored durations."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, MetaEstimatorMixin, RegressorMixin, clone
from sklearn.metrics import r2_score
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import check_is_fitted, has_fit_parameter, validate_data

from loglik.risk.censored_erm.inputs import Observed, read_survival
from loglik.risk.censored_erm.weights import IPCWResult, censored_risk, ipcw_weights
from loglik.risk.checks import Floats, check_finite, column_names


class CensoredRegressor(MetaEstimatorMixin, RegressorMixin, BaseEstimator):
    r"""Least squares (or any weighted loss) under right censoring, by minimising the Beran risk.

    Fits `estimator` to the uncensored cases, each weighted by the inverse of its estimated probability of
    having stayed uncensored that long: :math:`W_i=\delta_i/\hat S_C(\tilde Y_i^-\mid X_i)`.

    Parameters
    ----------
    estimator : regressor
        Any scikit-learn regressor whose ``fit`` takes `sample_weight`, or a Pipeline that ends in one.
    weights : {"beran", "index", "km", "cox", "rsf", "uncensored"} or callable
        How the censoring distribution is estimated; see :func:`ipcw_weights`.
    horizon : float, optional
        tau: predict ``min(Y, tau)``.
    floor : float
        Least survival that is divided by; weights are at most 1/floor before they are normalised.
    bandwidth : float, "cv" or None
        Of the Beran estimate, in standard deviations; None is a rule of thumb.
    kernel : {"gaussian", "epanechnikov"}
    standardize : bool
        Whether the kernel sees features in standard deviations.
    normalize : bool
        Whether weights sum to n. On by default, so that the penalty of a ridge or a support vector machine
        means what it means without censoring.
    random_state : int, RandomState or None
        For the weights "cox" and "rsf"; the learner has its own.

    Attributes
    ----------
    estimator_ : regressor
        The fitted clone.
    weights_ : array of shape (n,)
        Weights of the training cases; 0 for censored ones, which the learner never sees.
    ess_ : float
        Effective number of uncensored cases, :math:`(\sum W)^2/\sum W^2`.
    n_floored_, n_fallback_ : int
        Cases whose survival was lifted to the floor, and cases without neighbours.
    bandwidth_ : float
        Used; NaN where the weights have none.
    n_features_in_, feature_names_in_
        As everywhere in scikit-learn.

    Raises
    ------
    TypeError
        When `estimator` takes no `sample_weight`.
    ValueError
        From ``fit``: bad durations or events (naming the column and the count), NaN in X, …

    Notes
    -----
    The target has two columns, *duration, event*, or is a structured array as scikit-survival makes it; so
    ``Pipeline``, ``cross_val_score`` and ``GridSearchCV`` work. Cases of weight 0 are dropped before the
    fit: left in, they would change bootstrap samples and histogram bins. O(n²d) and the learner's own cost.

    Because a case is left out of its own curve, weighting it by 2 isn't the same as listing it twice: twins
    see each other.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> from loglik.risk.censored_erm import simulate
    >>> draw = simulate.MAIN.draw(1000, np.random.default_rng(0))
    >>> y = np.column_stack([draw.time, draw.event])
    >>> model = CensoredRegressor(LinearRegression()).fit(draw.X, y)
    >>> naive = LinearRegression().fit(draw.X, draw.time)
    >>> truth = draw.mean.mean()
    >>> bool(abs(model.predict(draw.X).mean() - truth) < 0.1), bool(naive.predict(draw.X).mean() - truth < -0.2)
    (True, True)
    """

    def __init__(
        self,
        estimator: Any,
        *,
        weights: Any = "beran",
        horizon: float | None = None,
        floor: float = 0.02,
        bandwidth: float | str | None = None,
        kernel: str = "gaussian",
        standardize: bool = True,
        normalize: bool = True,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.weights = weights
        self.horizon = horizon
        self.floor = floor
        self.bandwidth = bandwidth
        self.kernel = kernel
        self.standardize = standardize
        self.normalize = normalize
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> CensoredRegressor:
        """Estimate the weights and fit the learner to the uncensored cases.

        Parameters
        ----------
        X : array or DataFrame of shape (n, d)
            Finite features.
        y : structured array, DataFrame or array of shape (n, 2)
            Durations and event indicators.
        sample_weight : array of shape (n,), optional
            Non-negative weights of the cases, in the curves and in the risk.

        Returns
        -------
        CensoredRegressor
            Itself, fitted.
        """
        name = _weight_parameter(self.estimator)
        table = self._features(X, reset=True)
        seen = self._target(y, len(table))
        result = self._weights(table, seen, sample_weight, normalize=self.normalize)
        rows = np.flatnonzero(result.weights)
        self.estimator_ = clone(self.estimator)
        inputs = _safe_indexing(X, rows) if hasattr(X, "iloc") else table[rows]
        self.estimator_.fit(inputs, result.time[rows], **{name: result.weights[rows]})
        self.weights_, self.ess_, self.bandwidth_ = result.weights, result.ess, result.bandwidth
        self.n_floored_, self.n_fallback_ = result.n_floored, result.n_fallback
        return self

    def predict(self, X: Any) -> Floats:
        """Predicted (restricted) durations (m,)."""
        check_is_fitted(self, "estimator_")
        table = self._features(X, reset=False)
        return np.asarray(self.estimator_.predict(X if hasattr(X, "iloc") else table))

    def censored_risk(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> float:
        """Beran risk on new cases, in squared units of time, lower is better.

        The weights are estimated on *these* cases, each left out of its own curve: those of the training
        cases know nothing of the new ones.
        """
        prediction, result = self._evaluate(X, y, sample_weight)
        return censored_risk(prediction, result)

    def score(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> float:
        """Weighted R² on new cases, higher is better: one minus their Beran risk over that of a constant.

        Without censoring it is the R² of any regressor.
        """
        prediction, result = self._evaluate(X, y, sample_weight)
        rows = result.weights > 0
        return float(r2_score(result.time[rows], prediction[rows], sample_weight=result.weights[rows]))

    def _evaluate(self, X: Any, y: Any, sample_weight: Any) -> tuple[Floats, IPCWResult]:
        prediction = self.predict(X)
        table = self._features(X, reset=False)
        return prediction, self._weights(table, self._target(y, len(table)), sample_weight, normalize=False)

    def _weights(self, X: Floats, seen: Observed, sample_weight: Any, *, normalize: bool) -> IPCWResult:
        return ipcw_weights(
            X,
            seen.time,
            seen.event,
            method=self.weights,
            horizon=self.horizon,
            floor=self.floor,
            normalize=normalize,
            bandwidth=self.bandwidth,
            kernel=self.kernel,
            standardize=self.standardize,
            sample_weight=sample_weight,
            random_state=self.random_state,
        )

    def _features(self, X: Any, *, reset: bool) -> Floats:
        table = validate_data(self, X, dtype=np.float64, ensure_all_finite=False, reset=reset)
        check_finite(table, column_names(X, table.shape[1]))
        return table

    @staticmethod
    def _target(y: Any, n: int) -> Observed:
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        return read_survival(y, n)


def _weight_parameter(estimator: Any) -> str:
    """Name under which the learner's ``fit`` takes weights; a Pipeline passes them to its last step."""
    last, name = estimator, "sample_weight"
    if isinstance(estimator, Pipeline):
        step, last = estimator.steps[-1]
        name = f"{step}__sample_weight"
    if not hasattr(last, "fit") or not has_fit_parameter(last, "sample_weight"):
        raise TypeError(
            f"estimator {type(last).__name__} takes no sample_weight in fit, so it can't minimise a weighted risk"
        )
    return name
