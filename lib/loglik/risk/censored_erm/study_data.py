"""The chapter's studies on real durations: artificial censoring with known truth, then real censoring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.model_selection import KFold
from sksurv.ensemble import RandomSurvivalForest  # type: ignore[import-untyped]
from sksurv.linear_model import CoxPHSurvivalAnalysis, IPCRidge  # type: ignore[import-untyped]
from sksurv.metrics import concordance_index_censored  # type: ignore[import-untyped]
from sksurv.util import Surv  # type: ignore[import-untyped]

from loglik.risk.censored_erm.beran import neighbourhood_sizes
from loglik.risk.censored_erm.datasets import SemiReal, SurvivalData
from loglik.risk.censored_erm.inputs import Bools, at_horizon
from loglik.risk.censored_erm.simulate import Draw
from loglik.risk.censored_erm.study import (
    BERAN,
    COX,
    INDEX,
    KM,
    METHODS,
    Progress,
    learners,
    sample_for,
)
from loglik.risk.censored_erm.weights import (
    IPCWResult,
    censored_risk,
    censoring_index,
    ipcw_weights,
    restricted_mean,
)
from loglik.risk.checks import Floats

NAMES = {"beran": BERAN, "index": INDEX, "km": KM, "cox": COX}  # of the weights, as the tables call them
COX_MEAN, RSF_MEAN, AFT = SURVIVAL = ("Cox", "survival forest", "AFT ridge")


def survival_models(random_state: int = 0) -> dict[str, Any]:
    """Survival models of scikit-survival that predict durations.

    Cox and forest give curves, whose restricted mean is the prediction; the accelerated-failure-time ridge
    (marginal Kaplan-Meier weights on log durations) predicts a duration itself.
    """
    return {
        COX_MEAN: CoxPHSurvivalAnalysis(alpha=1e-4),
        RSF_MEAN: RandomSurvivalForest(100, min_samples_leaf=15, random_state=random_state),
        AFT: IPCRidge(alpha=1.0),
    }


def survival_prediction(
    name: str, X: Floats, time: Floats, event: Bools, X_test: Floats, horizon: float, random_state: int
) -> Floats:
    """Predicted ``E min(Y, horizon)`` (m,) of a survival model.

    The forest sees durations on 200 steps to the horizon: its cost grows with the number of distinct times,
    and rounding them moves a prediction by less than it varies with the seed. The AFT ridge predicts a
    typical log duration; its exponential is cut at the horizon.
    """
    if name == RSF_MEAN:
        time = np.ceil(time * (200 / horizon)) * (horizon / 200)
    model = survival_models(random_state)[name].fit(X, Surv.from_arrays(event, time))
    if name == AFT:
        return np.minimum(np.asarray(model.predict(X_test), dtype=float), horizon)
    curves = model.predict_survival_function(X_test, return_array=True)
    return restricted_mean((model.unique_times_, curves), horizon)


# -- artificial censoring: the truth is known ----------------------------------------------------------------


def semi_real_study(
    data: SemiReal,
    n_splits: int,
    *,
    chosen: Sequence[str] = ("linear", "boosting"),
    methods: Sequence[str] = METHODS,
    survival: Sequence[str] = SURVIVAL,
    bandwidth: float = 0.5,
    floor: float = 0.02,
    n_train: int | None = None,
    seed: int | Sequence[int] = 0,
    n_jobs: int = 1,
    progress: Progress = iter,
) -> pd.DataFrame:
    """Test error against the true durations, over random splits with new artificial censoring each time.

    Returns
    -------
    DataFrame
        Columns split, learner, method, rmse, bias (mean prediction minus mean duration), ess, censored.
        Survival models stand as learners of method "survival model".
    """
    seeds = np.random.SeedSequence(seed).spawn(n_splits)
    size = data.n_train if n_train is None else n_train
    work = Parallel(n_jobs=n_jobs, return_as="generator")(
        delayed(_one_split)(
            data, split, child, size, tuple(chosen), tuple(methods), tuple(survival), bandwidth, floor
        )
        for split, child in progress(list(enumerate(seeds)))
    )
    return pd.DataFrame([row for rows in work for row in rows])


def _one_split(
    data: SemiReal,
    split: int,
    seed: Any,
    size: int,
    chosen: Any,
    methods: Any,
    survival: Any,
    bandwidth: float,
    floor: float,
) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(data.y))
    train, test = order[:size], order[size:]
    X, state, rows = data.X.to_numpy(), int(rng.integers(2**31)), []
    draw = censored(data, train, rng)
    for method in methods:
        sample = sample_for(draw, method, floor=floor, bandwidth=bandwidth, random_state=state)
        for name in chosen:
            model = clone(learners(state)[name])
            model.fit(draw.X[sample.rows], sample.target, sample_weight=sample.weights)
            rows.append(_score(split, name, method, model.predict(X[test]), data.y[test], sample.ess, draw))
    for name in survival:
        predicted = survival_prediction(name, draw.X, draw.time, draw.event, X[test], data.horizon, state)
        rows.append(_score(split, name, "survival model", predicted, data.y[test], np.nan, draw))
    return rows


def censored(data: SemiReal, rows: Any, rng: np.random.Generator) -> Draw:
    """Real durations of `rows` under a fresh draw of the artificial censoring."""
    y, mean_c = data.y[rows], data.censoring_mean[rows]
    c = rng.exponential(mean_c)
    time = np.minimum(y, c)
    return Draw(data.X.to_numpy()[rows], time, y <= c, y, y, np.exp(-time / mean_c))


def _score(
    split: int, learner: str, method: str, predicted: Floats, y: Floats, ess: float, draw: Draw
) -> dict[str, Any]:
    gap = predicted - y
    return {
        "split": split,
        "learner": learner,
        "method": method,
        "rmse": float(np.sqrt((gap**2).mean())),
        "bias": float(gap.mean()),
        "ess": ess,
        "censored": float(1 - draw.event.mean()),
    }


# -- real censoring: the truth is hidden ---------------------------------------------------------------------


class _Fold(NamedTuple):
    X: Floats
    time: Floats
    event: Bools


def real_study(
    data: SurvivalData,
    horizon: float,
    n_repeats: int,
    *,
    chosen: Sequence[str] = ("linear", "boosting"),
    methods: Sequence[str] = METHODS[1:5],
    survival: Sequence[str] = (COX_MEAN, RSF_MEAN),
    bandwidth: float | None = None,
    floor: float = 0.02,
    n_splits: int = 5,
    judge: str = "beran",
    seed: int | Sequence[int] = 0,
    n_jobs: int = 1,
    progress: Progress = iter,
) -> pd.DataFrame:
    """Held-out risk and concordance under the data's own censoring, by repeated cross-validation.

    The held-out cases are weighted by curves estimated on *them*, each case left out of its own; observed
    times of censored cases are never taken for durations. Two sets of weights judge: local ones (`judge`) and
    marginal Kaplan-Meier, because no one knows which is right here.

    Parameters
    ----------
    data : SurvivalData
    horizon : float
        Predict ``min(Y, horizon)``.
    judge : {"beran", "index", "cox"}
        The local weights that judge; see :func:`ipcw_weights`.

    Returns
    -------
    DataFrame
        Columns fold (numbered through all repeats), learner, method, risk (local weights, squared units),
        risk_km (marginal weights), concordance (with the observed order of durations), bias (weighted mean of
        prediction minus duration).
        Test cases of one repeat's folds are disjoint, so their spread shows what other patients would change.
    """
    tasks = list(enumerate(np.random.SeedSequence(seed).spawn(n_repeats)))
    X = ((data.X - data.X.mean()) / data.X.std(ddof=0)).to_numpy()
    whole = _Fold(X, data.time, data.event)
    work = Parallel(n_jobs=n_jobs, return_as="generator")(
        delayed(_one_repeat)(
            whole,
            horizon,
            repeat,
            child,
            tuple(chosen),
            tuple(methods),
            tuple(survival),
            bandwidth,
            floor,
            n_splits,
            judge,
        )
        for repeat, child in progress(tasks)
    )
    return pd.DataFrame([row for rows in work for row in rows])


def _one_repeat(
    data: _Fold,
    horizon: float,
    repeat: int,
    seed: Any,
    chosen: Any,
    methods: Any,
    survival: Any,
    bandwidth: float | None,
    floor: float,
    n_splits: int,
    judge: str,
) -> list[dict[str, Any]]:
    state, rows = int(np.random.default_rng(seed).integers(2**31)), []
    splits = KFold(n_splits, shuffle=True, random_state=state).split(data.X)
    for fold, (train, test) in enumerate(splits, repeat * n_splits):
        fit, held = (_Fold(*(part[at] for part in data)) for at in (train, test))
        judges = [
            ipcw_weights(
                *held, method=how, horizon=horizon, floor=floor, bandwidth=bandwidth, random_state=state
            )
            for how in (judge, "km")
        ]
        known = at_horizon(fit.time, fit.event, horizon)
        draw = Draw(fit.X, known.time, known.event, known.time, known.time, np.ones(len(train)))
        for method in methods:
            sample = sample_for(draw, method, floor=floor, bandwidth=bandwidth, random_state=state)
            for name in chosen:
                model = clone(learners(state)[name])
                model.fit(draw.X[sample.rows], sample.target, sample_weight=sample.weights)
                rows.append(_judge(fold, name, method, model.predict(held.X), held, judges))
        for name in survival:
            predicted = survival_prediction(name, *fit, held.X, horizon, state)
            rows.append(_judge(fold, name, "survival model", predicted, held, judges))
    return rows


def _judge(
    fold: int, learner: str, method: str, predicted: Floats, held: _Fold, judges: Any
) -> dict[str, Any]:
    beran, km = judges
    return {
        "fold": fold,
        "learner": learner,
        "method": method,
        "risk": censored_risk(predicted, beran),
        "risk_km": censored_risk(predicted, km),
        "concordance": float(concordance_index_censored(held.event, held.time, -predicted)[0]),
        "bias": float(np.average(predicted - beran.time, weights=beran.weights)),
    }


# -- what a reader's own data say about the assumptions ------------------------------------------------------


def censoring_depends_on_features(data: SurvivalData) -> tuple[float, float]:
    """Likelihood-ratio test of a Cox model of the *censoring* times on all features: (statistic, p-value).

    A small p-value says that censoring depends on X, so the marginal Kaplan-Meier risk is biased. A large
    one says only that no *linear* dependence was seen.
    """
    from scipy import stats
    from statsmodels.duration.hazard_regression import PHReg

    Z = ((data.X - data.X.mean()) / data.X.std(ddof=0).replace(0, 1)).to_numpy()
    model = PHReg(data.time, Z, status=(~data.event).astype(float), ties="efron")
    statistic = 2 * (model.fit(disp=0).llf - model.loglike(np.zeros(Z.shape[1])))
    return float(statistic), float(stats.chi2.sf(statistic, Z.shape[1]))


def follow_up(
    data: SurvivalData, horizons: Sequence[float], floor: float = 0.02, method: str = "beran"
) -> pd.DataFrame:
    """What each horizon costs: cases known, effective cases, least survival, share floored, mean duration."""
    rows = []
    for horizon in horizons:
        found = ipcw_weights(data.X, data.time, data.event, method=method, horizon=horizon, floor=floor)
        rows.append(
            {
                "horizon": horizon,
                "known": int(found.event.sum()),
                "effective": found.ess,
                "least survival": float(np.nanmin(found.survival)),
                "floored": found.n_floored,
                "mean duration": float(np.average(found.time, weights=found.weights)),
            }
        )
    return pd.DataFrame(rows)


def assumption_checks(data: SurvivalData, result: IPCWResult, method: str) -> pd.DataFrame:
    """What the data say about each assumption of the method.

    Parameters
    ----------
    data : SurvivalData
    result : IPCWResult
        The weights to be used.
    method : str
        How they were made, as in :func:`ipcw_weights`.

    Returns
    -------
    DataFrame
        Columns assumption, found, verdict ("holds", "fails", "not needed", "cannot be checked").
    """
    known = int(result.event.sum())
    statistic, p = censoring_depends_on_features(data)
    X = data.X.to_numpy(dtype=float)
    if method == "index":
        X = censoring_index(X, result.time, result.event) if not result.event.all() else X[:, :1]
    sizes = neighbourhood_sizes(X)
    least = float(np.nanmin(result.survival))
    local = "needed" if p < 0.05 else "not needed"
    rows = [
        (
            "every case could have been seen up to the horizon",
            f"least chance {least:.3f}; {result.n_floored} of {known} known cases at the floor",
            "holds" if result.n_floored == 0 else "fails",
        ),
        (
            "the known cases carry enough weight",
            f"{known} known, worth {result.ess:.0f} of equal weight",
            "holds" if result.ess > 0.5 * known else "fails",
        ),
        (
            "censoring ignores the features (then marginal weights suffice)",
            f"Cox model of the censoring: chi² = {statistic:.1f}, p = {p:.2g}; local curves {local}",
            "holds" if p >= 0.05 else "fails",
        ),
        (
            "each case has neighbours for its local curve",
            f"effective neighbours: median {np.median(sizes):.0f}, least tenth below {np.quantile(sizes, 0.1):.0f}",
            "not needed"
            if method in ("km", "cox")
            else ("holds" if np.quantile(sizes, 0.1) >= 20 else "fails"),
        ),
        (
            "nothing unrecorded drives duration and censoring",
            "ask why cases were cut short: an end of study is harmless, a withdrawal may not be",
            "cannot be checked",
        ),
    ]
    return pd.DataFrame(rows, columns=["assumption", "found", "verdict"])
