"""IVL by outcome-invariant augmentation: exact identities, theorems, baselines, bad input, and mutants.

Tests with random data are identities that hold for any seed, except those that say their false-alarm rate.
"""

from __future__ import annotations

import doctest
import importlib
import tracemalloc

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize
from sklearn.datasets import make_regression
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import KBinsDiscretizer, StandardScaler
from sklearn.utils import check_array
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

from loglik.causal import outcome_invariant_augmentation as oia
from loglik.causal.outcome_invariant_augmentation import (
    baselines,
    digits,
    environments,
    figures,
    gradient,
    linear,
    networks,
    optical,
    population,
    selection,
    study,
    study_baselines,
    study_digits,
    study_theory,
    workflow,
)

ALPHAS = np.array([1e-3, 0.1, 1.0, 30.0])
PACKAGE = "loglik.causal.outcome_invariant_augmentation"


@pytest.fixture(scope="module")
def batch():
    """Two models with 6 treatments of which 3 null directions are moved."""
    return study.draw_batch(2, 300, 6, kernel_dim=3, seed=1)


@pytest.fixture(scope="module")
def problem(batch):
    return batch.X_aug[0], batch.y[0], batch.G[0]


def projection(G):
    """The slow, obvious reference: the n x n projection onto the columns of G."""
    return G @ np.linalg.pinv(G.T @ G) @ G.T


# -- the closed form ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", ALPHAS)
def test_closed_form_solves_the_normal_equations(problem, alpha):
    X, y, G = problem
    weight = projection(G) + alpha * np.eye(len(y))
    h = oia.ivl_path(X, y, G, [alpha])[0]
    np.testing.assert_allclose(
        X.T @ weight @ X @ h, X.T @ weight @ y, rtol=1e-9, atol=1e-9 * np.abs(X.T @ y).max()
    )


@pytest.mark.parametrize("alpha", ALPHAS)
def test_closed_form_equals_the_released_construction(problem, alpha):
    """lstsq(K GX, K y) with K = (sqrt(1 + a) - sqrt(a)) P + sqrt(a) I, whose square is P + a I."""
    X, y, G = problem
    P = projection(G)
    K = (np.sqrt(1 + alpha) - np.sqrt(alpha)) * P + np.sqrt(alpha) * np.eye(len(y))
    np.testing.assert_allclose(K @ K, P + alpha * np.eye(len(y)), atol=1e-10)
    wanted = np.linalg.lstsq(K @ X, K @ y, rcond=None)[0]
    np.testing.assert_allclose(oia.ivl_path(X, y, G, [alpha])[0], wanted, rtol=1e-8, atol=1e-10)


def test_large_penalties_are_augmented_least_squares(problem):
    X, y, G = problem
    wanted = np.linalg.lstsq(X, y, rcond=None)[0]
    np.testing.assert_allclose(oia.ivl_path(X, y, G, [1e8])[0], wanted, atol=1e-6)
    np.testing.assert_allclose(oia.ivl_path(X, y, G, [np.inf])[0], wanted, atol=1e-10)


def test_small_penalties_are_constrained_least_squares(problem):
    """min ||y - X h|| subject to X'PX h = X'Py, by a null-space parametrisation."""
    X, y, G = problem
    A, a = X.T @ projection(G) @ X, X.T @ projection(G) @ y
    start = np.linalg.lstsq(A, a, rcond=1e-10)[0]
    free = np.linalg.svd(A)[2][3:].T  # three directions are moved
    wanted = start + free @ np.linalg.lstsq(X @ free, y - X @ start, rcond=None)[0]
    np.testing.assert_allclose(oia.ivl_path(X, y, G, [0.0])[0], wanted, atol=1e-8)
    np.testing.assert_allclose(oia.ivl_path(X, y, G, [1e-10])[0], wanted, atol=1e-4)
    model = oia.IVLRegressor(mode="constrained").fit(X, y, G)
    np.testing.assert_allclose(model.coef_, wanted, atol=1e-8)


def test_projected_mode_is_the_closest_2sls_solution(problem):
    X, y, G = problem
    h = oia.IVLRegressor(mode="projected").fit(X, y, G).coef_
    A, a = X.T @ projection(G) @ X, X.T @ projection(G) @ y
    np.testing.assert_allclose(A @ h, a, atol=1e-8 * np.abs(a).max())
    step = h - oia.least_squares(X, y)
    free = np.linalg.svd(A)[2][3:]
    np.testing.assert_allclose(free @ step, 0, atol=1e-8)  # no part of the step could be saved


def test_two_stage_least_squares_equals_its_definition(problem):
    X, y, G = problem
    wanted = np.linalg.pinv(projection(G) @ X, rcond=1e-10) @ y
    np.testing.assert_allclose(oia.two_stage_least_squares(X, y, G), wanted, atol=1e-8)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_only_the_span_of_the_parameters_matters(seed):
    rng = np.random.default_rng(seed)
    X, y, G = rng.normal(size=(40, 4)), rng.normal(size=40), rng.normal(size=(40, 3))
    mixed = G @ (rng.normal(size=(3, 3)) + 3 * np.eye(3))
    doubled = np.column_stack([G, G[:, 0], G[:, 1] - G[:, 2]])
    wanted = oia.ivl_path(X, y, G, ALPHAS)
    np.testing.assert_allclose(oia.ivl_path(X, y, mixed, ALPHAS), wanted, atol=1e-7)
    np.testing.assert_allclose(oia.ivl_path(X, y, doubled, ALPHAS), wanted, atol=1e-7)


def test_path_is_the_loop_over_penalties_and_problems(batch):
    whole = oia.ivl_path(batch.X_aug, batch.y, batch.G, ALPHAS)
    assert whole.shape == (2, 4, 6)
    for s in range(2):
        for i, alpha in enumerate(ALPHAS):
            one = oia.IVLRegressor(alpha=alpha).fit(batch.X_aug[s], batch.y[s], batch.G[s]).coef_
            np.testing.assert_allclose(whole[s, i], one, atol=1e-10)
    own = np.stack([ALPHAS, 2 * ALPHAS])  # penalties of each problem
    np.testing.assert_allclose(
        oia.ivl_path(batch.X_aug, batch.y, batch.G, own)[1],
        oia.ivl_path(batch.X_aug[1], batch.y[1], batch.G[1], own[1]),
        atol=1e-12,
    )


def test_doubled_treatments_get_the_least_norm():
    rng = np.random.default_rng(0)
    X, y, G = rng.normal(size=(60, 2)), rng.normal(size=60), rng.normal(size=(60, 1))
    one = oia.ivl_path(X, y, G, [0.3])[0]
    two = oia.ivl_path(np.column_stack([X, X[:, 0]]), y, G, [0.3])[0]
    np.testing.assert_allclose(two, [one[0] / 2, one[1], one[0] / 2], atol=1e-10)


def test_memory_stays_far_below_the_n_by_n_projection():
    rng = np.random.default_rng(0)
    n = 20_000  # n x n of doubles would be 3200 MB
    X, y, G = rng.normal(size=(n, 4)), rng.normal(size=n), rng.normal(size=(n, 3))
    tracemalloc.start()
    oia.ivl_path(X, y, G, ALPHAS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6


class Instrumented(oia.IVLRegressor):
    """IVL with the treatment's first column as its parameter: scikit-learn's checks know no third argument."""

    def fit(self, X, y):
        try:
            G = check_array(X, dtype=float)[:, :1]
        except (TypeError, ValueError):
            G = np.ones((1, 1))  # the estimator's own check comes first and says what is wrong
        return super().fit(X, y, G)


@parametrize_with_checks([Instrumented(), Instrumented(mode="projected")])
def test_the_estimator_follows_scikit_learn(estimator, check):
    check(estimator)


def test_predicting_before_fitting_is_an_error():
    for model in (oia.IVLRegressor(), oia.IVLSearch(), oia.ICP(), oia.KaniaWit()):
        with pytest.raises(NotFittedError):
            model.predict(np.ones((2, 2)))


# -- the population ----------------------------------------------------------------------------------------


def test_population_formulas_meet_a_large_sample():
    """n = 2e5 within 2 %. The relative standard error is below 0.2 %, so false alarms are beyond 10 sigma."""
    sem = oia.LinearConfoundedSEM(5, seed=3)
    augment = oia.NullSpaceTranslation(sem.f, gamma=1.5)
    draw = sem.sample(200_000, kappa=1.0, rng=4)
    X_aug, G = augment(draw.X, np.random.default_rng(5))
    Sigma, b = sem.population()
    found = {
        "erm": oia.least_squares(draw.X, draw.y),
        "da": oia.least_squares(X_aug, draw.y),
        0.5: oia.ivl_path(X_aug, draw.y, G, [0.5])[0],
    }
    for alpha, h in found.items():
        wanted = oia.population_estimate(Sigma, b, augment.covariance, sem.f, alpha)
        assert np.linalg.norm(h - wanted) < 0.02 * np.linalg.norm(wanted)
    assert abs(draw.xi.var() / sem.noise_variance() - 1) < 0.02


def test_amplification_law():
    assert study_theory.amplification_gap(50, np.array([1e-3, 0.1, 1, 100]), seed=0) < 1e-10


def along(table, column):
    """One row a model, one column an amplification."""
    indexed = table.set_index(["model", "amplification"])[column]
    return indexed.unstack("amplification").sort_index(axis=1).to_numpy()  # noqa: PD010


def test_the_causal_risk_never_rises_but_the_euclidean_error_does():
    """200 random models: no violation of the theorem, and many in the norm of the released code."""
    table = study_theory.domination(200, np.array([1.0, 0.1, 0.01]), seed=7)
    risk = along(table, "cer")
    assert (np.diff(risk, axis=1) <= 1e-10 * risk[:, :-1]).all()
    assert study_theory.euclidean_violations(table) > 0.1


def test_augmentation_blind_to_the_confounding_changes_nothing():
    assert study_theory.blind_gap(30, seed=1) < 1e-8


def test_the_adversary_reaches_the_ivl_risk_and_no_more():
    assert study_theory.adversarial_gap(5, np.array([0.05, 1.0]), seed=2) < 1e-6
    rng = np.random.default_rng(0)
    Sigma, b, Sigma_G, f, variance = (a[0] for a in study_theory.random_models(1, 5, rng))
    h = rng.normal(size=5)
    best = oia.adversarial_risk(h, f, Sigma, b, variance, oia.worst_covariance(h, Sigma_G, rng))
    root = np.linalg.cholesky(Sigma_G + 1e-12 * np.eye(5))
    for _ in range(50):
        q = np.linalg.qr(rng.normal(size=(5, 5)))[0] * np.sqrt(rng.random(5))
        assert oia.adversarial_risk(h, f, Sigma, b, variance, root @ q @ q.T @ root.T) <= best + 1e-8


def test_iv_risk_knows_nothing_of_the_effect():
    spread, dimensions = study_theory.flat_iv_risk(20, seed=3)
    assert spread < 1e-10
    assert min(dimensions) >= 1


def test_shifted_risk_is_what_a_shifted_sample_shows():
    """4e5 rows within 2 %, standard error about 0.25 %: false alarms beyond 7 sigma."""
    batch = study.draw_batch(1, 500, 4, seed=9)
    h = {"ERM": oia.least_squares(batch.X, batch.y)}
    found = study.shifted_risk(h, batch, [3.0]).risk.iloc[0]
    rng = np.random.default_rng(0)
    child = np.random.SeedSequence(9).spawn(1)[0].spawn(4)
    sem = oia.LinearConfoundedSEM(4, np.random.default_rng(child[0]))
    draw = sem.sample(400_000, rng=rng)
    moved = draw.X + 3 * rng.normal(size=(400_000, 3)) @ batch.augmentations[0].N
    wanted = ((draw.xi + moved @ (sem.f - h["ERM"][0])) ** 2).mean() / (draw.y**2).mean()
    assert abs(found / wanted - 1) < 0.02


def test_normalised_error_has_its_anchors():
    f = np.array([1.0, -2.0])
    assert oia.ncer(f, f) == 0
    assert oia.ncer(0 * f, f) == 0.5
    assert oia.ncer(0 * f, f, "cer", np.diag([1.0, 4.0])) == 0.5
    assert oia.cer(f + np.ones(2), f, np.diag([1.0, 4.0])) == 5.0


def test_population_of_a_tilted_augmentation_is_that_of_its_sample():
    """Where f is not invariant the outcome stays the old one: h = (S + S_G)^-1 (S f + b)."""
    sem = oia.LinearConfoundedSEM(4, seed=1)
    augment = oia.NullSpaceTranslation(sem.f, tilt=0.5)
    draw = sem.sample(200_000, rng=2)
    X_aug, _ = augment(draw.X, np.random.default_rng(3))
    wanted = oia.population_estimate(*sem.population(), augment.covariance, sem.f, "da")
    assert np.linalg.norm(oia.least_squares(X_aug, draw.y) - wanted) < 0.02 * np.linalg.norm(wanted)


# -- augmentations -----------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 9), st.integers(0, 1000), st.sampled_from([-1, 0, 1]))
def test_translation_leaves_the_outcome_alone(m, seed, kernel_dim):
    sem = oia.LinearConfoundedSEM(m, seed)
    augment = oia.NullSpaceTranslation(sem.f, kernel_dim=kernel_dim, gamma=2.0, rng=seed)
    np.testing.assert_allclose(augment.N @ augment.N.T, np.eye(len(augment.N)), atol=1e-10)
    draw = sem.sample(30, rng=seed)
    X_aug, _ = augment(draw.X, np.random.default_rng(seed))
    np.testing.assert_allclose(draw.y - X_aug @ sem.f, draw.xi, atol=1e-10)
    oia.check_invariance(lambda X: X @ sem.f, augment, draw.X)


def test_composed_augmentations_line_up_their_parameters():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(10, 3))
    f = np.array([1.0, 2.0, 3.0])
    both = oia.Compose([oia.NullSpaceTranslation(f, kernel_dim=1), oia.GaussianNoise(0.1)])
    moved, G = both(X, rng)
    assert moved.shape == (10, 3)
    assert G.shape == (10, 4)
    with pytest.raises(ValueError, match="not outcome invariant"):
        oia.check_invariance(lambda x: x @ f, both, X)


def test_same_seed_same_models_along_a_sweep():
    here, there = (study.draw_batch(2, 50, 4, gamma=g, seed=3) for g in (0.1, 2.0))
    np.testing.assert_array_equal(here.X, there.X)
    np.testing.assert_array_equal(here.G, there.G)
    np.testing.assert_allclose((there.X_aug - there.X), 20 * (here.X_aug - here.X), atol=1e-10)


# -- choosing the penalty ----------------------------------------------------------------------------------


def test_confounding_strength_reads_the_direction():
    """Top eigenvector: no confounding (theta 0, beta at its floor); bottom one: much; always in (0, 1)."""
    rng = np.random.default_rng(0)
    cov = np.cov(rng.normal(size=(200, 6)) @ rng.normal(size=(6, 6)), rowvar=False)
    vectors = np.linalg.eigh(cov)[1]
    beta, theta = oia.confounding_strength(cov, vectors[:, -1])
    assert theta == 0
    assert beta == pytest.approx(0.001 / 1.001)
    beta, theta = oia.confounding_strength(cov, vectors[:, 0])
    assert theta > 0
    assert 0.5 < beta < 1
    many, _ = oia.confounding_strength(np.stack([cov] * 50), rng.normal(size=(50, 6)))
    assert ((many > 0) & (many < 1)).all()


def test_theta_is_the_minimiser():
    """Beside scipy's bounded search on the released likelihood, written out with a matrix square root."""
    rng = np.random.default_rng(4)
    for _ in range(5):
        A = rng.normal(size=(5, 5))
        cov, w = A @ A.T + 0.1 * np.eye(5), rng.normal(size=5)

        def misfit(theta, cov=cov, w=w):
            T2 = np.eye(5) + theta * np.linalg.inv(cov)
            inside = w / np.linalg.norm(w)
            return 0.5 * np.linalg.slogdet(T2)[1] + 2.5 * np.log(inside @ np.linalg.solve(T2, inside))

        theta = float(oia.confounding_strength(cov, w)[1])
        grid = np.concatenate([[0.0], np.logspace(-6, 5, 4000)])
        assert misfit(theta) <= min(misfit(t) for t in grid) + 1e-6


def test_discretised_parameters_are_scikit_learns():
    G = np.random.default_rng(0).normal(size=(100, 3))
    codes = KBinsDiscretizer(2, encode="ordinal", strategy="uniform").fit_transform(G)
    np.testing.assert_allclose(
        oia.discretize_parameters(G), StandardScaler().fit_transform(codes).round(2), atol=1e-12
    )
    assert (oia.discretize_parameters(np.ones((5, 1))) == 0).all()


def test_search_scores_unaugmented_rows(batch):
    """Each score is the error, on the held-out original rows, of a fit to the other augmented rows."""
    X, y, X_aug, G = batch.X[0], batch.y[0], batch.X_aug[0], batch.G[0]
    model = oia.IVLSearch(alphas=ALPHAS, random_state=3).fit(X, y, G=G, X_aug=X_aug)
    out = selection.held_out_rows(len(y), 0.2, np.random.RandomState(3))
    kept = np.setdiff1d(np.arange(len(y)), out)
    for alpha, score in zip(model.table_.alpha, model.table_.score, strict=True):
        h = oia.IVLRegressor(alpha=alpha).fit(X_aug[kept], y[kept], G[kept]).coef_
        assert score == pytest.approx(((y[out] - X[out] @ h) ** 2).mean())
    assert model.alpha_ == model.table_.alpha[model.table_.score.idxmin()]
    np.testing.assert_allclose(model.predict(X), X @ model.coef_)


def test_confounder_correction_takes_the_closest_length(batch):
    X, y, X_aug, G = batch.X[1], batch.y[1], batch.X_aug[1], batch.G[1]
    model = oia.IVLSearch("confounder", random_state=0).fit(X, y, G=G, X_aug=X_aug)
    wanted = float(selection.target_norm(X_aug, y))
    assert (
        np.abs(model.table_.norm - wanted).argmin()
        == model.table_.index[model.table_.alpha == model.alpha_][0]
    )


def test_levels_are_held_out_whole():
    levels = np.repeat(np.arange(10), 7)
    out = selection.held_out_levels(levels, 0.2, np.random.default_rng(0))
    assert len(out) == 14
    assert not set(levels[out]) & set(np.delete(levels, out))


def test_the_study_and_the_search_choose_alike(batch):
    """The batched rules of the study are those of the estimator: same draws, same choice by CC."""
    fits = study.fit_closed_forms(batch.X, batch.y, batch.X_aug, batch.G, seed=5, levels=True)
    rng = np.random.default_rng(np.random.SeedSequence(5))
    draws = selection.draw_alphas(rng, 10, batch=(2,))
    for s in range(2):
        model = oia.IVLSearch("confounder", alphas=draws[s]).fit(
            batch.X[s], batch.y[s], G=batch.G[s], X_aug=batch.X_aug[s]
        )
        assert fits.alphas["IVL-CC"][s] == pytest.approx(model.alpha_)
        np.testing.assert_allclose(fits.coefs["IVL-CC"][s], model.coef_, atol=1e-10)


def test_the_order_of_the_simulation():
    """24 models of the paper's size in rows: ERM > DA+ERM > IVL, DA+IV > DA+ERM, by more than 3 standard errors.

    Differences are some 8 standard errors, so 3 is missed with probability below 1e-6 for another seed.
    """
    batch = study.draw_batch(24, 2048, 16, seed=11)
    fits = study.fit_closed_forms(batch.X, batch.y, batch.X_aug, batch.G, seed=12)
    error = {name: oia.ncer(h, batch.f) for name, h in fits.coefs.items()}

    def z(a, b):
        d = error[a] - error[b]
        return d.mean() / (d.std(ddof=1) / np.sqrt(len(d)))

    assert min(z("ERM", "DA+ERM"), z("DA+ERM", "IVL-CC"), z("DA+IV", "DA+ERM")) > 3


def test_without_confounding_only_instruments_pay():
    batch = study.draw_batch(6, 2048, 16, kappa=0.0, seed=13)
    fits = study.fit_closed_forms(batch.X, batch.y, batch.X_aug, batch.G, seed=1)
    error = {name: oia.ncer(h, batch.f).mean() for name, h in fits.coefs.items()}
    assert max(error[name] for name in ("ERM", "DA+ERM", "IVL-CV", "IVL-CC")) < 0.005


# -- baselines ---------------------------------------------------------------------------------------------


def test_invariance_p_values_are_scipys():
    from scipy import stats

    rng = np.random.default_rng(0)
    residuals, numbers = rng.normal(size=(60, 3)), rng.integers(0, 4, 60)
    counts = np.bincount(numbers)
    wanted = []
    for r in residuals.T:
        each = []
        for e in range(4):
            a, b = r[numbers == e], r[numbers != e]
            F = stats.f.cdf(a.var(ddof=1) / b.var(ddof=1), len(a) - 1, len(b) - 1)
            p_var = 2 * min(F, 1 - F)
            each.append(2 * min(stats.ttest_ind(a, b, equal_var=False).pvalue, p_var))
        wanted.append(min(each))
    np.testing.assert_allclose(baselines.invariance_p_values(residuals, numbers, counts), wanted, rtol=1e-8)


def test_icp_finds_the_parents_of_a_clear_case():
    """Two environments shift x1 and a child of y by ten standard deviations: only {x1} can be invariant.

    ICP's coverage is 90 %, but here every set without x1 fails by tens of sigma; with x1 alone the test
    accepts with probability about 0.9: the seed is fixed where it does.
    """
    rng = np.random.default_rng(1)
    env = np.repeat([0, 1], 500)
    x1 = rng.normal(size=1000) + 10 * env
    y = 2 * x1 + rng.normal(size=1000)
    child = y + 10 * env * rng.choice([-1, 1], 1000) + rng.normal(size=1000)
    model = oia.ICP(level=0.05, random_state=0).fit(
        np.column_stack([x1, child]), y - y.mean() + x1.mean() * 0, env
    )
    assert model.tested_environments_ == 2
    assert model.coef_[1] == 0


def test_icp_accepts_nothing_where_no_environment_can_be_tested(batch):
    model = oia.ICP(random_state=0).fit(batch.X[0], batch.y[0], np.arange(300))
    assert model.tested_environments_ == 0
    assert (model.coef_ == 0).all()


def test_kania_wit_spans_its_limits(batch):
    X, y, X_aug = batch.X[0], batch.y[0], batch.X_aug[0]
    augmented = oia.KaniaWit(lam=1.0).fit(X, y, X_aug, y).coef_
    np.testing.assert_allclose(augmented, oia.least_squares(X_aug, y), atol=1e-8)  # only C_A is left
    pooled = oia.KaniaWit(lam=0.0).fit(X, y, X_aug, y).coef_
    np.testing.assert_allclose(pooled, oia.least_squares(np.vstack([X, X_aug]), np.tile(y, 2)), atol=1e-8)
    assert oia.KaniaWit(random_state=0).fit(X, y, X_aug, y).lam_ >= 0


def test_corrected_penalties_approach_the_wanted_length(batch):
    X, y = batch.X[0], batch.y[0]
    length = float(selection.target_norm(X, y))
    for h in (
        oia.corrected_ridge(X, y, np.logspace(-3, 4, 300)),
        oia.corrected_lasso(X, y, np.logspace(-6, 1, 300)),
    ):
        assert abs(np.linalg.norm(h) - length) < 0.05 * length


def loop_losses(output, y, env, lam):
    """The slow, obvious reference: a Python loop over environments."""
    risks, slopes = [], []
    for e in env.unique():
        at = env == e
        risks.append(((output[at] - y[at]) ** 2).mean())
        w = torch.ones(1, requires_grad=True, dtype=output.dtype)
        inner = ((w * output[at].detach() - y[at]) ** 2).mean()
        slopes.append(torch.autograd.grad(inner, w)[0] ** 2)
    r = torch.stack(risks)
    return {
        "IRM": (r + lam * torch.stack(slopes)[:, 0]).mean(),
        "V-REx": lam * r.var() + r.sum(),
        "MM-REx": (1 - len(r) * lam) * r.max() + lam * r.sum(),
        "DRO": r.max(),
    }


@pytest.mark.parametrize("name", list(gradient.LOSSES))
def test_environment_losses_equal_the_loop(name):
    rng = torch.Generator().manual_seed(0)
    output = torch.randn(40, generator=rng, dtype=torch.float64)
    y = torch.randn(40, generator=rng, dtype=torch.float64)
    env = torch.randint(0, 7, (40,), generator=rng)
    env[env == 3] = 2  # an empty environment must not count
    lam = torch.tensor(0.05, dtype=torch.float64)
    found = gradient.LOSSES[name](output, y, env, 7, lam)
    assert found.item() == pytest.approx(loop_losses(output, y, env, 0.05)[name].item(), rel=1e-12)


def test_rice_takes_the_worst_augmentation_of_each_row():
    output, y = torch.tensor([1.0, 2.0]), torch.tensor([0.0, 2.0])
    moved = torch.tensor([[1.5, 2.0], [1.0, 4.0]])
    found = environments.rice_loss(output, moved, y, torch.tensor(2.0))
    assert found.item() == pytest.approx(0.5 + 2 * (0.25 + 4) / 2)


def small_environments(seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(1, 60, 3)) * [1, 5, 0.2]
    y = X @ [1.0, 0.3, 2.0] + rng.normal(size=(1, 60))
    return X, y, rng.integers(0, 5, (1, 60))


@pytest.mark.parametrize("name", ["IRM", "V-REx"])
def test_converged_training_reaches_scipys_optimum(name):
    X, y, env = small_environments()
    lam = torch.tensor([0.7], dtype=torch.float64)

    def objective(h):
        output = torch.as_tensor(X[0] @ h)[None]
        return gradient.LOSSES[name](output, torch.as_tensor(y), torch.as_tensor(env), 5, lam).item()

    h = gradient.fit_environments(name, X, y, env, np.array([[0.7]]), rng=np.random.default_rng(0))[0, 0]
    best = minimize(objective, oia.least_squares(X[0], y[0]), method="BFGS", options={"gtol": 1e-9})
    assert objective(h) <= best.fun * (1 + 1e-4)


def test_converged_group_dro_is_the_chebyshev_fit_for_single_rows():
    """With a row an environment, the largest squared residual is a linear programme's."""
    X, y, _ = small_environments(1)
    env = np.arange(60)[None]
    h = gradient.fit_environments(
        "DRO", X, y, env, np.zeros((1, 1)), rng=np.random.default_rng(0), steps=1500
    )
    A = np.block([[X[0], -np.ones((60, 1))], [-X[0], -np.ones((60, 1))]])
    best = linprog([0, 0, 0, 1], A, np.concatenate([y[0], -y[0]]), bounds=[(None, None)] * 4).fun
    assert best**2 <= ((y[0] - X[0] @ h[0, 0]) ** 2).max() <= 1.05 * best**2


def test_unknown_losses_and_trainings_are_named():
    X, y, env = small_environments()
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="unknown loss 'SGD'; allowed: IRM"):
        gradient.fit_environments("SGD", X, y, env, np.ones((1, 1)), rng=rng)
    with pytest.raises(ValueError, match="unknown training"):
        gradient.fit_environments("DRO", X, y, env, np.ones((1, 1)), training="fast", rng=rng)
    with pytest.raises(ValueError, match="unknown kind"):
        environments.row_losses(torch.ones(2), torch.ones(2), "hinge")


def test_fifteen_methods_make_one_table():
    small = study.draw_batch(2, 128, 5, kernel_dim=2, seed=0)
    table = study_baselines.simulation_panel(small, seed=0, n_draws=2, steps=3)
    assert set(table.method) == set(study_baselines.PAPER_SIMULATION)
    assert table.error.between(0, 1).all()
    assert len(table) == 2 * 2 * 15


# -- the optical device ------------------------------------------------------------------------------------


def test_the_look_alike_never_passes_for_the_device(monkeypatch, tmp_path):
    monkeypatch.delenv(optical.VARIABLE, raising=False)
    device = optical.find_optical_device(download=False, rng=np.random.default_rng(0))
    assert not device.real
    assert "SIMULATED" in device.source
    assert {t.shape for t in device.tables.values()} == {(1000, 11)}
    file = tmp_path / "tables.npz"
    np.savez(file, **{f"exp{k}": t for k, t in device.tables.items()})
    monkeypatch.setenv(optical.VARIABLE, str(file))
    with pytest.raises(ValueError, match="does not hold the paper's twelve experiments"):
        optical.find_optical_device(download=False, rng=np.random.default_rng(0))


def test_a_path_that_is_given_must_exist(tmp_path):
    with pytest.raises(FileNotFoundError, match="look_alike"):
        optical.load_optical_device(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="lacks 12 of 12 files"):
        optical.load_optical_device(tmp_path / "empty")


def test_files_and_arrays_have_one_digest(tmp_path, monkeypatch):
    """Text files and an npz of the same numbers are the same data."""
    device = optical.look_alike(np.random.default_rng(1))
    monkeypatch.setattr(optical, "CONTENT", device.sha256)
    for number, name in optical.file_names().items():
        np.savetxt(tmp_path / name, device.tables[number], fmt="%d")
    np.savez(tmp_path / "all.npz", **{f"exp{k}": t for k, t in device.tables.items()})
    for path in (tmp_path, tmp_path / "all.npz"):
        found = optical.load_optical_device(path)
        assert found.real
        assert found.sha256 == device.sha256


def test_without_a_network_the_error_names_the_alternative(monkeypatch, tmp_path):
    import pooch

    def unplugged(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(pooch, "retrieve", unplugged)
    with pytest.raises(ConnectionError, match="LOGLIK_OPTICAL_DEVICE"):
        optical.download_optical_device(tmp_path)


def test_ground_truth_recovers_a_known_device():
    rng = np.random.default_rng(0)
    led = rng.normal(size=1000)
    X = rng.normal(size=(1000, 9)) + led[:, None]
    y = X @ np.arange(9) + 5 * led + 0.1 * rng.normal(size=1000)
    truth = optical.ground_truth(np.column_stack([X, led, y]))
    assert truth.degree == 1
    np.testing.assert_allclose(truth.f, np.arange(9), atol=0.05)


def test_optical_study_has_every_method_on_every_experiment():
    device = optical.look_alike(np.random.default_rng(0))
    table = study_baselines.optical_study(device, 1, seed=0, n_draws=2, experiments=2, steps=2)
    for training in study_baselines.TRAININGS:
        wide = study_baselines.by_experiment(table, training)
        assert set(wide) == set(study_baselines.PAPER_OPTICAL)
        assert len(wide) == 2
        assert wide.notna().all().all()


# -- coloured digits and networks --------------------------------------------------------------------------


def test_colours_follow_the_target_in_training_only():
    """20 000 labels: shares within 5 standard errors (false alarms below 1e-5)."""
    rng = np.random.default_rng(0)
    grey, digit = np.ones((20_000, 2, 2), dtype=np.float32), rng.integers(0, 10, 20_000)
    for train, wanted in ((True, 1 - (0.1**2 + 0.2**2) / 0.3), (False, 0.5)):
        found = digits.colour(grey, digit, rng, train=train)
        channel = found.X[:, 1].any(axis=(1, 2))
        assert abs((channel == (found.y > 0)).mean() - wanted) < 5 * 0.5 / np.sqrt(20_000)
        assert (found.X.sum((1, 2, 3)) == 4).all()
        assert abs(((digit < 5) == (found.y > 0)).mean() - 0.75) < 5 * 0.5 / np.sqrt(20_000)


def test_colour_changes_have_their_identities():
    X = np.random.default_rng(0).random((4, 3, 5, 5)).astype(np.float32)
    one, zero = np.ones(4), np.zeros(4)
    for change in (digits.brighten, digits.contrast, digits.saturate):
        np.testing.assert_allclose(change(X, one), X, atol=1e-6)
    np.testing.assert_allclose(digits.turn_hue(X, zero), X, atol=1e-6)
    np.testing.assert_allclose(digits.turn_hue(X, one), X, atol=1e-5)  # a whole turn
    np.testing.assert_allclose(digits.turn_hue(X, one / 3), X[:, [2, 0, 1]], atol=1e-5)  # red becomes green
    grey = digits.saturate(X, zero)
    np.testing.assert_allclose(grey[:, 0], grey[:, 2], atol=1e-6)


def test_images_move_by_whole_pixels():
    X = np.arange(2 * 3 * 4 * 4, dtype=np.float32).reshape(2, 3, 4, 4) + 1
    moved = digits.translate(X, np.array([[1, 0], [0, -2]]))
    np.testing.assert_array_equal(moved[0, :, 1:], X[0, :, :-1])
    assert (moved[0, :, 0] == 0).all()
    np.testing.assert_array_equal(moved[1, :, :, :-2], X[1, :, :, 2:])
    assert (moved[1, :, :, -2:] == 0).all()


def test_jitter_gives_standardised_parameters():
    """5000 draws: mean and variance of Beta(2, 2) within 6 standard errors (false alarms below 1e-7)."""
    X = np.random.default_rng(0).random((5000, 3, 8, 8)).astype(np.float32)
    moved, G = digits.ColourJitterShift()(X, np.random.default_rng(1))
    assert moved.shape == X.shape
    assert 0 <= moved.min() <= moved.max() <= 1
    assert np.abs(G.mean(0)).max() < 6 / np.sqrt(5000)
    assert np.abs(G.var(0) - 1).max() < 6 * 1.07 / np.sqrt(5000)


def test_the_iv_term_is_a_projection():
    rng = torch.Generator().manual_seed(0)
    G = torch.randn(50, 4, generator=rng, dtype=torch.float64)
    for _ in range(20):
        r = torch.randn(50, generator=rng, dtype=torch.float64)
        assert 0 <= networks.iv_term(r, G) <= (r**2).mean()
    inside = G @ torch.randn(4, generator=rng, dtype=torch.float64)
    assert networks.iv_term(inside, G).item() == pytest.approx((inside**2).mean().item())
    P = projection(G.numpy())
    assert networks.iv_term(r, G).item() == pytest.approx(r.numpy() @ P @ r.numpy() / 50)
    assert networks.iv_term(r, G, "official").item() == pytest.approx((P @ r.numpy() ** 2).mean())


def test_the_loss_has_the_gradient_of_finite_differences():
    rng = torch.Generator().manual_seed(1)
    G, y = (torch.randn(s, generator=rng, dtype=torch.float64) for s in ((30, 3), (30,)))
    h = torch.randn(30, generator=rng, dtype=torch.float64, requires_grad=True)
    for weighting in networks.WEIGHTINGS:
        assert torch.autograd.gradcheck(lambda v, w=weighting: networks.ivl_loss(v, y, G, 0.3, w), (h,))


def test_a_linear_network_finds_the_closed_form(problem):
    X, y, G = (torch.as_tensor(a) for a in problem)
    y = y / y.std()
    model = nn.Linear(6, 1, bias=False, dtype=torch.float64)
    Q, R = torch.linalg.qr(X)
    networks.train_ivl_network(model, [(Q * 17.3, y, G)], alpha=0.4, epochs=600, rate=0.02)
    found = torch.linalg.solve(R, model.weight[0].detach() * 17.3)
    wanted = oia.ivl_path(X.numpy(), y.numpy(), G.numpy(), [0.4])[0]
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-3 * np.abs(wanted).max())


def test_an_ensemble_is_its_members():
    torch.manual_seed(0)
    models = [networks.mlp(5, 4) for _ in range(3)]
    shared, own = torch.randn(7, 5), torch.randn(3, 7, 5)
    ensemble = networks.Ensemble(models)
    for k, model in enumerate(models):
        torch.testing.assert_close(ensemble.logits(shared)[k], model(shared)[:, 0])
        torch.testing.assert_close(ensemble.logits(own)[k], model(own[k])[:, 0])


def test_digit_study_is_reproducible_and_whole():
    grey, digit = digits.load_digits_images()
    sample = study_digits.draw_digits(grey[:400], digit[:400], 2, n_train=300, colourings=1, seed=0)
    training = study_digits.Training(epochs=1, width=8)
    here, there = (study_digits.digit_study(sample, n_draws=2, training=training, seed=1) for _ in range(2))
    pd.testing.assert_frame_equal(here, there)
    assert set(here.method) == set(study_digits.METHODS)
    assert (here.penalty[here.method == "MM-REx"] < 0).all()
    ratios = study_digits.weighting_ratio(sample, batch=100, strength=2.0)
    assert abs(ratios.mean()) < 0.5  # the released term misses what it should find: about k / batch of it


def test_label_error_has_its_anchors():
    y = np.tile([0, 1, 0, 1], 25)
    assert digits.label_error(1 - y, y) == pytest.approx(0.75)
    wrong = y.copy()
    wrong[:25] = 1 - wrong[:25]
    assert digits.label_error(wrong, y) == 0


# -- a reader's own table ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trips():
    table = workflow.load_modechoice()
    rows = ["cost_air + cost_train + cost_bus + cost_car"]
    return workflow.make_problem(table, "air", None, directions=rows, rng=np.random.default_rng(0))


def test_moment_estimates_equal_the_stacked_closed_form(trips):
    stacked = trips.X_aug.reshape(-1, trips.X.shape[1])
    wanted = oia.ivl_path(
        stacked - stacked.mean(0), np.tile(trips.y, len(trips.G)), trips.G.reshape(-1, 1), ALPHAS
    )
    found = workflow.estimates(workflow.moments(trips), ALPHAS)
    np.testing.assert_allclose(found[2:], wanted, atol=1e-8)
    np.testing.assert_allclose(found[0], oia.least_squares(trips.X, trips.y), atol=1e-8)


def test_resampling_counts_repeat_rows(trips):
    counts = np.random.default_rng(0).multinomial(210, np.full(210, 1 / 210))
    at = np.repeat(np.arange(210), counts)
    again = trips._replace(X=trips.X[at], y=trips.y[at], X_aug=trips.X_aug[:, at], G=trips.G[:, at])
    weighted = workflow.estimates(workflow.moments(trips, counts[None]), ALPHAS)[0]
    np.testing.assert_allclose(weighted, workflow.estimates(workflow.moments(again), ALPHAS), atol=1e-8)


def test_path_and_checks_of_the_built_in_table(trips):
    rng = np.random.default_rng(0)
    path = workflow.path_table(trips, ALPHAS, 50, rng)
    assert (path.low <= path.high).all()
    assert len(path) == 7 * 6
    checks = workflow.check_assumptions(trips, rng, n_boot=50)
    assert checks.holds.iloc[0] == "can't be tested"
    assert workflow.choose_alpha(trips, ALPHAS, "cv") in ALPHAS
    assert workflow.choose_alpha(trips, ALPHAS, "confounder") in ALPHAS
    moved = workflow.movement(path, 0.1)
    assert (moved["to the smallest penalty"].abs() > 0).any()


def test_augmented_rows_of_your_own_give_the_same(trips):
    table = workflow.load_modechoice()
    names = list(trips.names)
    raw = trips.X_aug[0] * trips.scale + table[names].mean().to_numpy()
    moved = pd.DataFrame(raw, columns=names).assign(g=trips.G[0, :, 0])
    problem = workflow.make_problem(
        table, "air", None, augmented=moved, parameters=["g"], rng=np.random.default_rng(0)
    )
    one = trips._replace(X_aug=trips.X_aug[:1], G=trips.G[:1])
    found, wanted = (workflow.estimates(workflow.moments(p), ALPHAS) for p in (problem, one))
    np.testing.assert_allclose(found, wanted, atol=1e-8)
    differences = workflow.make_problem(table, "air", None, augmented=moved, rng=np.random.default_rng(0))
    np.testing.assert_allclose(workflow.estimates(workflow.moments(differences), ALPHAS), wanted, atol=1e-6)


def test_directions_are_sums_of_columns():
    np.testing.assert_array_equal(workflow.parse_direction("a - 2 * b + 0.5c", ["a", "b", "c"]), [1, -2, 0.5])
    np.testing.assert_array_equal(workflow.parse_direction(" -b", ["a", "b"]), [0, -1])
    for text, said in (("a + z", "names 'z'"), ("a - a", "moves nothing"), ("+ *", "isn't a sum")):
        with pytest.raises(ValueError, match=said):
            workflow.parse_direction(text, ["a", "b"])


def test_bad_tables_are_named():
    table = pd.DataFrame(
        {"y": [1.0, 2, 3], "a": [1.0, 2, 4], "b": [2.0, np.nan, 1], "c": [1, 1, 1], "w": list("xyz")}
    )
    rng = np.random.default_rng(0)
    cases = [
        ({"treatments": ["a", "q"], "directions": ["a"]}, "lacks \\['q'\\]"),
        ({"treatments": ["a", "b"], "directions": ["a"]}, "column 'b' has 1 missing"),
        ({"treatments": ["a", "w"], "directions": ["a"]}, "column 'w' isn't numeric"),
        ({"treatments": ["a", "c"], "directions": ["a"]}, "treatment 'c' is constant"),
        ({"treatments": ["a"]}, "either directions or augmented"),
        (
            {"treatments": ["a"], "directions": ["a"], "strength": 0.0},
            "strength must be a finite number above 0",
        ),
        ({"treatments": ["a"], "augmented": table[["a"]]}, "nothing was augmented"),
        ({"treatments": ["a"], "augmented": table[["a"]].iloc[:2]}, "no multiple of the table's 3"),
    ]
    for arguments, said in cases:
        with pytest.raises(ValueError, match=said):
            workflow.make_problem(table, "y", rng=rng, **arguments)
    with pytest.raises(FileNotFoundError, match="modechoice"):
        workflow.read_table("no_such_file.csv")


# -- bad input ---------------------------------------------------------------------------------------------


def test_bad_input_says_what_and_why():
    X, y = make_regression(20, 3, random_state=0)
    G = np.random.default_rng(0).normal(size=(20, 1))
    cases = [
        (lambda: oia.IVLRegressor(alpha=-1).fit(X, y, G), "alpha must be at least 0, got -1"),
        (lambda: oia.IVLRegressor().fit(X, y), "G is missing"),
        (lambda: oia.IVLRegressor(mode="fast").fit(X, y, G), "unknown mode 'fast'; allowed: penalised"),
        (lambda: oia.ivl_path(X, y, 0 * G, [1]), "G has rank 0"),
        (lambda: oia.ivl_path(X, y[:5], G, [1]), "must have the same rows"),
        (lambda: oia.ivl_path(X, y, G * np.nan, [1]), "20 values that are NaN"),
        (lambda: oia.ivl_path(X, y, G, []), "an empty list"),
        (lambda: oia.IVLSearch("best").fit(X, y, G=G, X_aug=X), "unknown selector"),
        (lambda: oia.IVLSearch().fit(X, y, G=G), "needs both X_aug and G"),
        (lambda: oia.IVLSearch(test_share=1.0).fit(X, y, G=G, X_aug=X), "test_share"),
        (lambda: oia.IVLSearch(alpha_range=(1, 0.1)).fit(X, y, G=G, X_aug=X), "alpha_range"),
        (lambda: oia.IVLSearch().fit(X, y, G=G, X_aug=X[:, :2]), "X_aug must have the shape of X"),
        (lambda: oia.LinearConfoundedSEM(1), "m must be at least 2"),
        (lambda: oia.NullSpaceTranslation([1.0, 2.0], kernel_dim=2), "kernel_dim must lie between -1 and 1"),
        (lambda: oia.NullSpaceTranslation([1.0, 2.0], gamma=0.0), "gamma must be a finite number above 0"),
        (lambda: oia.Compose([]), "at least one augmentation"),
        (lambda: oia.population_estimate(np.eye(2), [0, 0], np.eye(2), [1, 1], 0.0), "alpha must be above 0"),
        (lambda: oia.population_estimate(np.eye(2), [0, 0], np.eye(2), [1, 1], "iv"), "'erm' or 'da'"),
        (lambda: oia.ncer([1.0], [1.0], "cer"), "'cer' with Sigma given"),
        (lambda: oia.confounding_strength(np.ones((2, 2)), [1.0, 0.0]), "cov is singular"),
        (lambda: oia.confounding_strength(np.eye(2), [0.0, 0.0]), "coef is zero"),
        (lambda: oia.discretize_parameters(G, 1), "n_bins must be at least 2"),
        (
            lambda: selection.held_out_levels(np.zeros(5, int), 0.2, np.random.default_rng(0)),
            "at least 2 levels",
        ),
        (lambda: oia.ICP().fit(X, y), "environments is missing"),
        (lambda: oia.ICP(level=2).fit(X, y, np.zeros(20)), "level must lie between 0 and 1"),
        (lambda: oia.KaniaWit().fit(X, y), "needs X_aug and y_aug"),
        (lambda: oia.KaniaWit(lam=-1).fit(X, y, X, y), "lam must be at least 0"),
        (lambda: oia.corrected_ridge(X, y, [0.0]), "penalty must be a finite number above 0"),
        (lambda: networks.iv_term(torch.ones(3), torch.ones(3, 3)), "take larger batches"),
        (lambda: networks.iv_term(torch.ones(3), torch.ones(3, 1), "mean"), "unknown weighting"),
        (lambda: networks.train_ivl_network(nn.Linear(1, 1), [], alpha=-1), "alpha must be at least 0"),
        (lambda: networks.train_ivl_network(nn.Linear(1, 1), [], alpha=1), "loader gave no batch"),
        (lambda: digits.ColourJitterShift(jitter=2), "jitter must lie in"),
        (lambda: workflow.choose_alpha(None, ALPHAS, "best"), "unknown rule"),
    ]
    for call, said in cases:
        with pytest.raises(ValueError, match=said):
            call()


# -- mutants -----------------------------------------------------------------------------------------------


def test_mutant_original_treatment_in_the_ivl_risk_is_caught(batch):
    """X in the place of GX: the limit of large penalties must no longer be DA+ERM."""
    problem = batch.X_aug[0], batch.y[0], batch.G[0]
    mutant = oia.ivl_path(batch.X[0], batch.y[0], batch.G[0], [1e8])[0]
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(mutant, oia.least_squares(*problem[:2]), atol=1e-6)


def test_mutant_augmentation_that_touches_the_outcome_is_caught():
    sem = oia.LinearConfoundedSEM(4, seed=0)
    mutant = oia.NullSpaceTranslation(sem.f, tilt=0.05)
    with pytest.raises(ValueError, match=r"not outcome invariant: f changes by up to .* in .* of 50 rows"):
        oia.check_invariance(lambda X: X @ sem.f, mutant, sem.sample(50).X)


def test_mutant_scoring_on_augmented_rows_is_caught(batch, monkeypatch):
    honest = linear.CanonicalForm.solve

    def score_on_augmented(self, X, y, X_aug, G, alphas, rng):
        return honest_scores(self, X_aug, y, X_aug, G, alphas, rng)

    honest_scores = oia.IVLSearch._scores
    monkeypatch.setattr(oia.IVLSearch, "_scores", score_on_augmented)
    with pytest.raises(AssertionError):
        test_search_scores_unaugmented_rows(batch)
    assert linear.CanonicalForm.solve is honest


def test_mutant_weights_of_the_wrong_order_are_caught(problem, monkeypatch):
    """z = (a + alpha b) / (cos + alpha) with the cosine not squared: the normal equations must fail."""
    honest = linear.CanonicalForm.solve
    monkeypatch.setattr(
        linear.CanonicalForm,
        "solve",
        lambda self, alphas: honest(self._replace(cosines=np.sqrt(self.cosines)), alphas),
    )
    with pytest.raises(AssertionError):
        test_closed_form_solves_the_normal_equations(problem, 0.1)


def test_mutant_released_loss_is_caught(monkeypatch):
    """Squared residuals under the projection: the linear network must miss the closed form."""
    batch = study.draw_batch(1, 300, 6, kernel_dim=3, seed=1)
    honest = networks.iv_term
    monkeypatch.setattr(networks, "iv_term", lambda r, G, weighting="gmm": honest(r, G, "official"))
    with pytest.raises(AssertionError):
        test_a_linear_network_finds_the_closed_form((batch.X_aug[0], batch.y[0], batch.G[0]))


def test_mutant_euclidean_proof_is_caught():
    """Domination read off in the Euclidean norm: the theorem's test must fail on it."""
    table = study_theory.domination(200, np.array([1.0, 0.1, 0.01]), seed=7)
    wrong = along(table, "euclidean")
    assert not (np.diff(wrong, axis=1) <= 1e-10 * wrong[:, :-1]).all()


MODULES = ("linear", "population", "selection", "sem", "baselines", "workflow", "digits", "optical")


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings(module):
    """Every runnable example says the truth."""
    assert doctest.testmod(importlib.import_module(f"{PACKAGE}.{module}")).failed == 0


def test_public_names_exist():
    assert all(hasattr(oia, name) for name in oia.__all__)
    assert callable(figures.sweeps)
    assert callable(population.cer)
