"""Weights that make a risk over uncensored cases estimate the risk over all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.model_selection import KFold

from loglik.risk.censored_erm.bandwidth import choose_bandwidth
from loglik.risk.censored_erm.beran import _marginal, _table, beran_at_own_times
from loglik.risk.censored_erm.inputs import Bools, Observed, at_horizon, read_survival
from loglik.risk.checks import Floats, check_column, check_finite, check_weights

METHODS = ("beran", "index", "km", "cox", "rsf", "uncensored")
NO_SKSURV = (
    "{what} need scikit-survival (pip install 'loglik[risk]'); method='beran' and method='km' need nothing"
)


class IPCWResult(NamedTuple):
    """Inverse probability of censoring weights with what they rest on."""

    weights: Floats  # (n,) W_i: 0 for censored cases
    survival: Floats  # (n,) estimated P(C >= time | X), not floored; NaN for censored cases
    time: Floats  # (n,) durations, restricted to the horizon
    event: Bools  # (n,) whether the restricted duration is known
    ess: float  # (sum W)^2 / sum W^2: uncensored cases of equal weight that would be as good
    n_floored: int  # uncensored cases whose survival was lifted to the floor
    n_fallback: int  # cases without neighbours, given the marginal estimate
    bandwidth: float  # of the Beran estimate; NaN for other methods


class _Task(NamedTuple):
    """What a method of estimating the censoring distribution gets."""

    X: Floats
    time: Floats
    event: Bools
    rows: Any  # uncensored rows, where survival is needed
    masses: Floats
    bandwidth: float | str | None
    kernel: str
    standardize: bool
    random_state: Any


def ipcw_weights(
    X: ArrayLike,
    time: ArrayLike,
    event: ArrayLike,
    *,
    method: str | Callable[[Floats, Floats, Bools], ArrayLike] = "beran",
    horizon: float | None = None,
    floor: float = 0.02,
    normalize: bool = False,
    bandwidth: float | str | None = None,
    kernel: str = "gaussian",
    standardize: bool = True,
    sample_weight: ArrayLike | None = None,
    random_state: Any = None,
) -> IPCWResult:
    r"""Weights :math:`W_i=\delta_i/\max(\hat S_C(\tilde Y_i^-\mid X_i),b)` of the Kaplan-Meier (Beran) risk.

    If duration and censoring are independent given X, :math:`E[W\varphi(\tilde Y,X)]=E[\varphi(Y,X)]` for any
    :math:`\varphi`: minimise any loss with these weights on the uncensored cases.

    Parameters
    ----------
    X : array or DataFrame of shape (n, d)
        Finite features.
    time, event : arrays of shape (n,)
        Durations above 0 and event indicators (1 seen to the end, 0 censored).
    method : {"beran", "index", "km", "cox", "rsf", "uncensored"} or callable
        How the censoring survival function is estimated. *beran*: kernel Kaplan-Meier given X, each case
        left out (the paper). *index*: the same on one dimension, the linear predictor of a Cox model of the
        censoring; for more than about four features (ours). *km*: Kaplan-Meier, right only when censoring does
        not depend on X. *cox*, *rsf*: scikit-survival's Cox model or random survival forest, fitted on four
        fifths of the cases to predict the rest. *uncensored*: 1, so that censored cases are merely dropped.
        A callable gets (X, time, event) and gives :math:`S_C(\tilde Y^-\mid X)` of shape (n,).
    horizon : float, optional
        tau: estimate for ``min(Y, tau)``. Cases observed beyond it count as uncensored. Needed when durations
        can outlast the study.
    floor : float
        b, the least survival that is divided by. Theory assumes such a bound; in practice it trades a little
        bias for weights of at most 1/b.
    normalize : bool
        Whether weights are divided by ``sum(W)/n`` (Hájek), for learners whose penalty sees their scale.
    bandwidth : float, "cv" or None
        Of the Beran estimate; see :func:`beran_censoring_survival`. "cv" takes the best of a grid by
        :func:`choose_bandwidth`.
    kernel : {"gaussian", "epanechnikov"}
    standardize : bool
        Whether the kernel sees features in standard deviations.
    sample_weight : array of shape (n,), optional
        Non-negative weights of the cases: in the curves of *beran*, *index* and *km*, and multiplied into the
        result. *cox* and *rsf* don't take any.
    random_state : int, RandomState or None
        For the folds of *cox* and *rsf* and for the forest.

    Returns
    -------
    IPCWResult

    Raises
    ------
    ValueError
        For bad input (durations, events, NaN, horizon, floor, bandwidth) or an unknown method.
    ImportError
        When a method needs scikit-survival and it is missing.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(size=(500, 1))
    >>> Y, C = rng.exponential(1 + X[:, 0]), rng.exponential(3, size=500)
    >>> result = ipcw_weights(X, np.minimum(Y, C), Y <= C, horizon=4.0)
    >>> bool(abs(result.weights.mean() - 1) < 0.1), result.weights[result.event].min() >= 1
    (True, np.True_)
    """
    table, names = _table(X)
    check_finite(table, names)
    seen = read_survival(Observed(np.asarray(time), np.asarray(event)), len(table))
    time_, event_ = at_horizon(seen.time, seen.event, horizon)
    masses = check_weights(sample_weight, len(table))
    if not 0 < floor <= 1:
        raise ValueError(f"floor must be above 0 and at most 1, got {floor!r}")
    rows = np.flatnonzero(event_)
    task = _Task(table, time_, event_, rows, masses, bandwidth, kernel, standardize, random_state)
    found, n_fallback, h = _survival(task, method)
    survival = np.full(len(table), np.nan)
    survival[rows] = found
    weights = np.zeros(len(table))
    weights[rows] = masses[rows] / np.maximum(found, floor)
    if not weights.any():
        raise ValueError(f"all {len(weights)} rows are censored or have sample_weight 0")
    if normalize:
        weights *= masses.sum() / weights.sum()
    ess = float(weights.sum() ** 2 / (weights**2).sum())
    return IPCWResult(weights, survival, time_, event_, ess, int((found < floor).sum()), n_fallback, h)


def _survival(task: _Task, method: Any) -> tuple[Floats, int, float]:
    """Censoring survival at the uncensored rows, number of fallbacks, bandwidth."""
    if callable(method):
        given = check_column(method(task.X, task.time, task.event), "the method's survival", len(task.X))
        return _probabilities(given[task.rows]), 0, np.nan
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; allowed: {', '.join(METHODS)}, or a callable")
    if method == "uncensored" or task.event.all():
        return np.ones(len(task.rows)), 0, np.nan
    if method == "km":
        return _marginal(task.time, task.event, task.time[task.rows], True, task.masses), 0, np.nan
    if method in ("cox", "rsf"):
        return _cross_fitted(task, method), 0, np.nan
    X = censoring_index(task.X, task.time, task.event) if method == "index" else task.X
    h = task.bandwidth
    if isinstance(h, str):
        if h != "cv":
            raise ValueError(f"bandwidth must be None, 'cv' or a number above 0, got {h!r}")
        choice = choose_bandwidth(X, task.time, task.event, kernel=task.kernel, standardize=task.standardize)
        h = choice.bandwidth
    return beran_at_own_times(
        X, task.time, task.event, bandwidth=h, kernel=task.kernel, rows=task.rows,
        sample_weight=task.masses, standardize=task.standardize,
    )  # fmt: skip


def _probabilities(survival: Floats) -> Floats:
    outside = np.count_nonzero((survival < 0) | (survival > 1))
    if outside:
        raise ValueError(f"the method's survival contains {outside} values outside [0, 1]")
    return survival


def _ranks(time: Floats, event: Bools) -> Floats:
    """Times 1, 2, ... of the distinct (time, censored) pairs: ties broken so that events come first.

    Survival models that look at order only can then be asked for left limits at ties.
    """
    pairs = np.stack([time, ~event], axis=1)
    position = np.unique(pairs, axis=0, return_inverse=True)[1]
    return np.asarray(1.0 + position.reshape(-1), dtype=float)


def _cross_fitted(task: _Task, method: str, n_splits: int = 5) -> Floats:
    """Censoring survival of uncensored rows from a model that didn't see them."""
    if not (task.masses == 1).all():
        raise ValueError(f"method={method!r} takes no sample_weight; use 'beran', 'index' or 'km'")
    ranks, survival = _ranks(task.time, task.event), np.ones(len(task.time))
    target = np.array(list(zip(~task.event, ranks, strict=True)), dtype=[("censored", "?"), ("rank", "f8")])
    for train, test in KFold(n_splits, shuffle=True, random_state=task.random_state).split(task.X):
        if not target["censored"][train].any():
            continue
        model = _censoring_model(method, task.random_state, task.X.shape[1]).fit(task.X[train], target[train])
        test = test[task.event[test]]
        if not len(test):
            continue
        curves = model.predict_survival_function(task.X[test], return_array=True)
        step = np.searchsorted(model.unique_times_, ranks[test], side="left")
        survival[test] = np.c_[np.ones(len(test)), curves][np.arange(len(test)), step]
    return survival[task.rows]


def _censoring_model(method: str, random_state: Any, n_features: int) -> Any:
    try:
        from sksurv.ensemble import RandomSurvivalForest  # type: ignore[import-untyped]
        from sksurv.linear_model import CoxPHSurvivalAnalysis  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        raise ImportError(NO_SKSURV.format(what="the methods 'cox', 'rsf' and 'index'")) from error
    if method == "cox":
        return CoxPHSurvivalAnalysis(alpha=1e-6)
    return RandomSurvivalForest(100, min_samples_leaf=15, random_state=random_state)


def censoring_index(X: Floats, time: Floats, event: Bools) -> Floats:
    """Linear predictor (n, 1) of a Cox model of the *censoring* times: the direction that censoring follows.

    A kernel on this single index keeps neighbours when there are many features. It is right when censoring
    depends on X through one linear combination. Features are standardised for the fit.
    """
    sd = X.std(axis=0)
    Z = (X - X.mean(axis=0)) / np.where(sd > 0, sd, 1.0)
    ranks = _ranks(time, event)
    target = np.array(list(zip(~event, ranks, strict=True)), dtype=[("censored", "?"), ("rank", "f8")])
    index = _censoring_model("cox", None, X.shape[1]).fit(Z, target).predict(Z)
    return np.asarray(index, dtype=float)[:, None]


def censored_risk(prediction: ArrayLike, result: IPCWResult) -> float:
    r"""The Beran risk :math:`\tilde R_n(f)=\frac1n\sum_iW_i(\tilde Y_i-f(X_i))^2`, in squared units of time.

    Parameters
    ----------
    prediction : array of shape (n,)
        f(X_i).
    result : IPCWResult
        From :func:`ipcw_weights` on *these* cases, not on those that f was trained on.
    """
    predicted = check_column(prediction, "prediction", len(result.time))
    return float(np.mean(result.weights * (result.time - predicted) ** 2))


def restricted_mean(surv_fn: Any, tau: float) -> Floats:
    r"""Restricted mean duration :math:`\int_0^\tau\hat S_Y(t\mid x)\,dt` of survival step functions.

    Parameters
    ----------
    surv_fn : pair of arrays, or sequence of step functions
        Times (T,) ascending with curves (n, T) that are right-continuous and 1 before the first time; or
        scikit-survival's ``StepFunction`` objects.
    tau : float
        Horizon above 0. Beyond the last time a curve keeps its last value.

    Returns
    -------
    array of shape (n,)

    Raises
    ------
    ValueError
        For a horizon of zero or less, or curves whose shape doesn't fit the times.

    Examples
    --------
    >>> restricted_mean((np.array([1.0, 2.0]), np.array([[0.5, 0.0], [1.0, 1.0]])), tau=3.0).tolist()
    [1.5, 3.0]
    """
    if not tau > 0:
        raise ValueError(f"tau must be above 0, got {tau!r}")
    if not isinstance(surv_fn, tuple):
        functions = list(surv_fn)
        surv_fn = functions[0].x, np.array([f.y for f in functions])
    times, curves = np.asarray(surv_fn[0], dtype=float), np.atleast_2d(np.asarray(surv_fn[1], dtype=float))
    if times.ndim != 1 or curves.shape[1] != len(times):
        raise ValueError(f"times have shape {times.shape}, curves {curves.shape}: a column for each time")
    edges = np.r_[0.0, np.minimum(times, tau), tau]
    return np.asarray(np.c_[np.ones(len(curves)), curves] @ np.diff(edges), dtype=float)
