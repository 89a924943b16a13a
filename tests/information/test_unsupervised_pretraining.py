"""Unsupervised pretraining: exact identities, derived constants, agreement with peers, bad input, mutants.

Random tests are identities that hold for any seed, except those that say their false-alarm rate.
"""

from __future__ import annotations

import doctest
import importlib
from urllib.error import URLError

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import approx_fprime, minimize
from scipy.stats import binom, norm
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.mixture import GaussianMixture

from loglik.information import unsupervised_pretraining as up
from loglik.information.unsupervised_pretraining import (
    analysis,
    condition,
    contrastive,
    datasets,
    em,
    factor,
    identities,
    informative,
    linear,
    mixture,
    networks,
    optimise,
    simulate,
    study_contrastive,
    study_digits,
    study_factor,
    study_mixture,
    workflow,
)

STRENGTHS = (2.0, 1.7, 1.4, 1.1)
BETA = np.full(4, 0.5)


def factor_rows(m=400, d=8, r=2, seed=0):
    rng = np.random.default_rng(seed)
    B = simulate.orthonormal_loadings(d, np.linspace(2, 1, r), rng)
    return B, up.simulate_factor(m, B, np.ones(r), 0.5, rng)


@pytest.fixture
def clusters():
    """A small mixture with clear clusters."""
    return study_mixture.make_mixture(8, 4, 1.2, 0.1, np.random.default_rng(3), rows=4000)


# -- laws ----------------------------------------------------------------------------------------------------


def test_rows_of_the_factor_model_are_its_factors_and_unit_noise():
    """Residuals of x and y given the factors: 60 000 rows, every moment within 5.5 standard errors (1e-6)."""
    B, n = simulate.orthonormal_loadings(5, (2.0, 1.0), np.random.default_rng(2)), 60_000
    draw = up.simulate_factor(n, B, [1.0, -0.5], 0.3, np.random.default_rng(0))
    rest = np.column_stack([draw.z, draw.X - draw.z @ B.T, (draw.y - draw.z @ [1.0, -0.5]) / 0.3])
    assert np.abs(rest.mean(0)).max() < 5.5 / np.sqrt(n)
    assert np.abs(rest.T @ rest / n - np.eye(8)).max() < 5.5 * np.sqrt(2 / n)


# -- factor model: exact -------------------------------------------------------------------------------------


def test_closed_form_is_the_maximum_likelihood():
    """Identity 1: L-BFGS over B from five starts reaches no more, and no less, than the eigenvectors."""
    _, draw = factor_rows()
    fit = up.FactorPretrainer(2).fit(draw.X)
    S, d = draw.X.T @ draw.X / len(draw.X), 8

    def loss(flat):
        B = flat.reshape(d, 2)
        C = B @ B.T + np.eye(d)
        inverse = np.linalg.inv(C)
        value = 0.5 * (np.linalg.slogdet(C)[1] + np.trace(inverse @ S) + d * np.log(2 * np.pi))
        return value, ((inverse - inverse @ S @ inverse) @ B).ravel()

    rng = np.random.default_rng(1)
    starts = [
        minimize(loss, rng.normal(size=2 * d), jac=True, method="L-BFGS-B", tol=1e-14) for _ in range(5)
    ]
    assert abs(-min(s.fun for s in starts) - fit.score(draw.X)) < 1e-6


def test_log_likelihood_is_that_of_scikit_learn():
    """With the noise estimated and rows centred, it is PCA's probabilistic model."""
    _, draw = factor_rows()
    X = draw.X - draw.X.mean(0)
    peer = PCA(2).fit(X)
    ours = up.FactorPretrainer(2, None).fit(X)
    # PCA divides second moments by m − 1
    C = peer.components_.T @ np.diag(peer.explained_variance_ - peer.noise_variance_) @ peer.components_
    C = (C + peer.noise_variance_ * np.eye(8)) * (len(X) - 1) / len(X)
    fitted = ours.loadings_ @ ours.loadings_.T + ours.noise_variance_ * np.eye(8)
    np.testing.assert_allclose(fitted, C, atol=1e-10)


def test_posterior_mean_by_woodbury_is_the_direct_one():
    """Identity 2, for equal and for unequal noise."""
    B, draw = factor_rows()
    fit = up.FactorPretrainer(2).fit(draw.X)
    for noise in (1.0, np.linspace(0.5, 2, 8)):
        direct = np.linalg.inv(B @ B.T + np.diag(np.broadcast_to(noise, 8))) @ B
        np.testing.assert_allclose(factor.posterior_map(B, noise), direct, atol=1e-12)
    np.testing.assert_allclose(
        fit.transform(draw.X), draw.X @ factor.posterior_map(fit.loadings_), atol=1e-12
    )


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_groups_leave_predictions_alone(seed):
    """Rotations of factors and of contrastive features, permutations of clusters."""
    assert max(identities.prediction_changes(np.random.default_rng(seed), n=40, m=300).values()) < 1e-8


def test_cost_vanishes_for_true_loadings_turned():
    """Identity 4."""
    B, beta = simulate.orthonormal_loadings(20, STRENGTHS, np.random.default_rng(0)), BETA
    law = study_factor.factor_law(B, beta, 0.5)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0]
    assert up.excess_risk_linear(B @ turn, law.Sigma, law.b) < 1e-12
    assert up.excess_risk_linear(B[:, :3], law.Sigma, law.b) > 1e-2


def test_dropped_factor_costs_its_share():
    B = simulate.orthonormal_loadings(20, STRENGTHS)
    law = study_factor.factor_law(B, BETA, 0.5)
    lam = 1.1**2
    assert up.excess_risk_linear(B[:, :3], law.Sigma, law.b) == pytest.approx(0.25 * lam / (1 + lam))


def test_least_squares_costs_what_the_formula_says():
    """Identity 3: 2000 replicates, 4.5 standard errors (false alarms: 7e-6)."""
    B = simulate.orthonormal_loadings(10, STRENGTHS[:2])
    law = study_factor.factor_law(B, np.ones(2), 0.5)
    moments = up.draw_moments(law.joint, 40, 2000, np.random.default_rng(0))
    risk = linear.coefficient_risk(linear.fit_ridge(moments, [0.0])[0], law.Sigma, law.b)
    wanted = up.factor_theory(B, np.ones(2), 0.5, 100, 40)["supervised"]
    assert abs(risk.mean() - wanted) < 4.5 * risk.std() / np.sqrt(2000)


def test_label_cost_is_exact_for_given_features():
    """A + (s² + A) r/(n−r−1) in expectation: 2000 replicates, 4.5 standard errors (false alarms: 7e-6)."""
    B = simulate.orthonormal_loadings(10, (2.0, 1.0))
    law = study_factor.factor_law(B, np.ones(2), 0.5)
    W = np.eye(10)[:, :2] + 0.2
    moments = up.draw_moments(law.joint, 30, 2000, np.random.default_rng(0))
    risk = linear.coefficient_risk(linear.fit_on_features(moments, W), law.Sigma, law.b)
    wanted = up.excess_risk_linear(W, law.Sigma, law.b, law.noise, 30)
    assert abs(risk.mean() - wanted) < 4.5 * risk.std() / np.sqrt(2000)


@pytest.mark.parametrize("rows", [3, 8, 50])
def test_moments_have_the_law_of_raw_rows(rows):
    """Mean and variance of every entry against Wishart's, below and above n = p; 3000 draws, 6 standard errors
    for 36 + 36 entries (false alarms: under 1e-6)."""
    rng = np.random.default_rng(0)
    root = rng.normal(size=(6, 6))
    C = root @ root.T + np.eye(6)
    S = up.draw_moments(C, rows, 3000, rng)
    variance = (C**2 + np.outer(np.diag(C), np.diag(C))) / rows
    assert (np.abs(S.mean(0) - C) < 6 * np.sqrt(variance / 3000)).all()
    fourth = ((S - C) ** 2).std(0) / np.sqrt(3000)
    assert (np.abs(((S - C) ** 2).mean(0) - variance) < 6 * fourth).all()


def test_fits_from_moments_are_those_from_rows():
    """Least squares, ridge and features, against scikit-learn and NumPy on the rows themselves."""
    _, draw = factor_rows(60)
    rows = np.column_stack([draw.X, draw.y])
    moments = (rows.T @ rows / 60)[None]
    peer = LinearRegression(fit_intercept=False).fit(draw.X, draw.y).coef_
    np.testing.assert_allclose(linear.fit_ridge(moments, [0.0])[0, 0], peer, atol=1e-9)
    few = (rows[:5].T @ rows[:5] / 5)[None]
    np.testing.assert_allclose(
        linear.fit_ridge(few, [0.0])[0, 0], np.linalg.pinv(draw.X[:5]) @ draw.y[:5], atol=1e-8
    )
    W = np.eye(8)[:, :3]
    found = linear.fit_on_features(moments, W)[0]
    np.testing.assert_allclose(found[:3], np.linalg.lstsq(draw.X[:, :3], draw.y, rcond=None)[0], atol=1e-9)
    assert (found[3:] == 0).all()


def test_logistic_agrees_with_scikit_learn():
    _, draw = factor_rows(300)
    y = (draw.y > 0).astype(float)
    ours = linear.fit_logistic(np.stack([draw.X, draw.X]), np.stack([y, 1 - y]), penalty=0.01)
    peer = LogisticRegression(C=1 / (0.01 * 300), fit_intercept=False, tol=1e-10, max_iter=1000).fit(
        draw.X, y
    )
    np.testing.assert_allclose(ours[0], peer.coef_[0], atol=1e-5)
    np.testing.assert_allclose(ours[0], -ours[1], atol=1e-9)


def test_logistic_task_is_exact():
    """Log-loss by quadrature against 400 000 rows: 5 standard errors (false alarms: 6e-7)."""
    B, beta = simulate.orthonormal_loadings(6, (2.0, 1.0)), np.ones(2)
    task = study_factor.LogisticTask(B, beta)
    rng = np.random.default_rng(0)
    z = rng.normal(size=(400_000, 2))
    X = z @ B.T + rng.normal(size=(400_000, 6))
    y = rng.random(400_000) < 1 / (1 + np.exp(-z @ beta))
    w = task.best + 0.3 * np.eye(6)[0] - 0.4 * np.eye(6)[4]

    def loss(v):
        return np.logaddexp(0, X @ v) - y * (X @ v)

    gap = loss(w) - loss(task.best)
    assert abs(gap.mean() - task.excess(w)) < 5 * gap.std() / np.sqrt(len(gap))
    assert task.excess(task.best) == 0
    assert all(task.excess(task.best + 0.01 * e) > 0 for e in np.eye(6))


# -- factor model: derived -----------------------------------------------------------------------------------


def test_pretraining_cost_has_the_derived_constant():
    """400 replicates at m = 20 000: within 10 % (the mean's standard error is 1 %: false alarms under 1e-12,
    after a bias of order d/(λ²m) = 0.2 %)."""
    B = simulate.orthonormal_loadings(50, STRENGTHS)
    law = study_factor.factor_law(B, BETA, 0.5)
    rng = np.random.default_rng(0)
    W = factor.principal_directions(up.draw_moments(law.Sigma, 20_000, 400, rng), 4)
    found = up.excess_risk_linear(W, law.Sigma, law.b).mean()
    assert found == pytest.approx(
        float(up.factor_theory(B, BETA, 0.5, 20_000, 100)["pretrain_cost"]), rel=0.1
    )


def test_spiked_cost_joins_the_formula_and_saturates():
    lam = np.array([0.25, 1.0, 4.0])
    far = factor.spiked_cost(lam, 1.0, 1e-6)
    np.testing.assert_allclose(far, 1e-6 / (lam * (1 + lam)), rtol=1e-3)
    np.testing.assert_allclose(factor.spiked_cost(lam, 1.0, 2 * lam**2), lam / (1 + lam))
    aspects = np.geomspace(1e-4, 10, 50)
    assert (np.diff(factor.spiked_cost(0.5, 1.0, aspects)) >= 0).all()


def test_brief_figures_of_the_factor_model():
    B = simulate.orthonormal_loadings(50, STRENGTHS)
    theory = up.factor_theory(B, BETA, 0.5, [500, 2000, 8000], 150)
    np.testing.assert_allclose(theory["total"], [0.0317, 0.0195, 0.0165], atol=2e-4)
    assert float(theory["supervised"][0]) == pytest.approx(0.2838, abs=1e-4)
    assert up.factor_theory(B, BETA, 0.5, 500, 51)["supervised"] == np.inf


def test_theory_does_not_depend_on_the_basis():
    rng = np.random.default_rng(0)
    B = simulate.orthonormal_loadings(12, STRENGTHS, rng)
    turn = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    here, there = (up.factor_theory(*a, 0.5, 1000, 100) for a in ((B, BETA), (B @ turn, turn.T @ BETA)))
    for name in here:
        np.testing.assert_allclose(here[name], there[name], rtol=1e-9)


# -- the theorem's shape and borders ---------------------------------------------------------------------------


def test_win_border_solves_its_equation():
    """Identity 9."""
    B, ns = simulate.orthonormal_loadings(50, STRENGTHS), np.array([60.0, 100, 1000])
    border = up.win_border(
        lambda m, n: up.factor_theory(B, BETA, 0.5, m, n)["total"],
        lambda n: up.factor_theory(B, BETA, 0.5, 1.0, n)["supervised"],
        ns,
    )
    at = up.factor_theory(B, BETA, 0.5, border, ns)
    np.testing.assert_allclose(at["total"], at["supervised"], rtol=1e-9)
    assert up.win_border(lambda m, n: 1 + 1 / m, lambda n: 0.5 + 0 * n, [5.0])[0] == np.inf
    assert up.win_border(lambda m, n: 1 / m, lambda n: 5 + 0 * n, [5.0])[0] == pytest.approx(1.0)


@given(st.floats(2, 50), st.floats(0.1, 1), st.floats(10, 1e4))
def test_theorem_border_solves_its_equation(composed, head, n):
    m = up.theorem_border(3.0, head, composed, n)
    assert up.bound_shape(3.0, head, m, n) == pytest.approx(np.sqrt(composed / n), rel=1e-9)
    assert np.isinf(up.theorem_border(3.0, composed, head, n))


def test_label_cost_of_a_mixture():
    """Identity 8: the brief's four values, and a direct sum over votes for one of them."""
    np.testing.assert_allclose(
        up.gmm_label_cost([20, 40, 60, 120], 8, 0.1), [0.0739, 0.0202, 0.0061, 0.0002], atol=1e-4
    )
    total = 0.0
    for N in range(6):
        for wrong in range(N + 1):
            loss = 1.0 if 2 * wrong > N else 0.5 if 2 * wrong == N else 0.0
            total += binom.pmf(N, 5, 1 / 3) * binom.pmf(wrong, N, 0.2) * loss
    assert up.gmm_label_cost(5, 3, 0.2) == pytest.approx(0.6 * total, abs=1e-12)


# -- informative constant ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0.05, 0.1, 0.5, 2.0])
def test_informative_constant_of_a_weak_factor(sigma):
    """Identity 7: within 2 % of √(1+σ²)/σ at step 0.01."""
    star = np.eye(10)[:, :2] * [2.0, sigma]
    step = np.zeros((10, 2))
    step[2, 1] = 0.01
    assert up.informative_constant(star + step, star) == pytest.approx(
        np.sqrt(1 + sigma**2) / sigma, rel=0.02
    )


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000))
def test_informative_constant_is_at_least_one(seed):
    rng = np.random.default_rng(seed)
    star, other = rng.normal(size=(2, 6, 2))
    assert up.informative_constant(other, star) >= 1 - 1e-9
    turn = np.linalg.qr(rng.normal(size=(2, 2)))[0]
    turned = up.informative_constant(other @ turn, star)
    assert turned == pytest.approx(up.informative_constant(other, star), rel=1e-3)


def test_hellinger_distance_against_monte_carlo():
    """300 000 draws, 5 standard errors (false alarms: 6e-7)."""
    rng = np.random.default_rng(0)
    S = [root @ root.T + np.eye(3) for root in rng.normal(size=(2, 3, 3))]
    x = rng.normal(size=(300_000, 3)) @ np.linalg.cholesky(S[1]).T
    logs = [
        -0.5 * np.einsum("nd,de,ne->n", x, np.linalg.inv(C), x) - 0.5 * np.linalg.slogdet(C)[1] for C in S
    ]
    affinity = np.exp(0.5 * (logs[0] - logs[1]))
    wanted = 1 - up.hellinger_normal(*S) ** 2
    assert abs(affinity.mean() - wanted) < 5 * affinity.std() / np.sqrt(len(x))


def test_mixture_constant_agrees_with_its_local_form():
    """The direction of least information, at a small step; both by Monte Carlo, 10 % (their errors: 1–2 %)."""
    rng = np.random.default_rng(0)
    centers = np.array([[0.0, 0.0], [2.5, 0.0], [0.0, 3.0]])
    information = mixture.fisher_information(centers, rng, 100_000)
    direction = np.linalg.eigh(information)[1][:, 0].reshape(3, 2)
    local = up.local_informative_constant(centers, rng, 100_000)
    found = up.informative_constant(centers + 0.1 * direction, centers, "mixture", n_mc=200_000, rng=rng)
    assert found == pytest.approx(local, rel=0.1)
    assert local > 1
    order = centers[[2, 0, 1]] + 0.1 * direction[[2, 0, 1]]
    again = up.informative_constant(order, centers, "mixture", n_mc=200_000, rng=rng)
    assert again == pytest.approx(found, rel=0.05)


@pytest.mark.parametrize("model", ["factor", "mixture"])
def test_total_variation_constants_are_at_least_one(model):
    rng = np.random.default_rng(0)
    star = 1.5 * rng.normal(size=(4, 3)) if model == "mixture" else rng.normal(size=(6, 2))
    other = star + 0.3 * rng.normal(size=star.shape)
    assert up.informative_constant(other, star, model, "tv", n_mc=50_000, rng=rng) > 0.98


def test_total_variation_constant_of_a_mixture_is_a_quadrature():
    """Two clusters on a line, moved apart: observed and joint distance by quadrature and in closed form."""
    star, other = np.array([[-1.0], [1.0]]), np.array([[-1.5], [1.5]])
    x = np.linspace(-12, 12, 100_001)
    p, q = (norm.pdf(x[:, None], u[:, 0]).mean(1) for u in (star, other))
    wanted = (2 * norm.cdf(0.25) - 1) / (np.trapezoid(np.abs(p - q), x) / 2)
    found = up.informative_constant(other, star, "mixture", "tv", n_mc=200_000, rng=np.random.default_rng(0))
    assert found == pytest.approx(wanted, rel=0.02)  # Monte-Carlo error: about 0.2 %


# -- mixtures ------------------------------------------------------------------------------------------------------


def test_em_never_loses_likelihood(clusters):
    """Identity 5, first part."""
    X, y = study_mixture.draw_rows(clusters, 3, 200, np.random.default_rng(0))
    u = em.spread_starts(X, 4, 2, np.random.default_rng(1))
    for labels in (None, y):
        centers, share, levels = u, np.full((3, 2, 4), 0.5), []
        for _ in range(15):
            r, level = em.e_step(X, centers, share, labels)
            prior = 0 if labels is None else em.PRIOR * np.log(share * (1 - share)).sum(-1)
            levels.append(level.sum(-1) + prior)
            centers, share = em.m_step(X, r, centers, share, labels)
        assert (np.diff(levels, axis=0) > -1e-9).all()


def test_e_step_is_that_of_scikit_learn(clusters):
    """Identity 5, second part: their mixture with unit precisions and equal weights."""
    X = study_mixture.draw_rows(clusters, 1, 300, np.random.default_rng(0))[0][0]
    peer = GaussianMixture(4, covariance_type="spherical")
    peer.weights_, peer.means_ = np.full(4, 0.25), clusters.centers
    peer.covariances_ = peer.precisions_cholesky_ = np.ones(4)
    ours = up.GaussianMixturePretrainer(4, random_state=0).fit(X)
    ours.centers_ = clusters.centers
    np.testing.assert_allclose(ours.transform(X), peer.predict_proba(X), atol=1e-10)
    np.testing.assert_allclose(ours.score_samples(X), peer.score_samples(X), atol=1e-10)
    assert ours.score(X) == pytest.approx(peer.score(X))


def test_batches_and_weights_do_not_mix_data_sets(clusters):
    X, _ = study_mixture.draw_rows(clusters, 3, 150, np.random.default_rng(0))
    starts = em.spread_starts(X, 4, 2, np.random.default_rng(1))
    together = em.fit_mixture(X, starts)
    for rep in range(3):
        alone = em.fit_mixture(X[rep : rep + 1], starts[rep : rep + 1])
        np.testing.assert_allclose(alone.centers[0], together.centers[rep], atol=1e-10)
    mask = np.ones((3, 150))
    mask[:, 100:] = 0
    weighted = em.fit_mixture(X, starts, weights=mask)
    cut = em.fit_mixture(X[:, :100], starts)
    np.testing.assert_allclose(weighted.centers, cut.centers, atol=1e-8)
    np.testing.assert_allclose(weighted.log_likelihood, cut.log_likelihood, atol=1e-9)


def test_fit_reports_its_own_likelihood(clusters):
    X = study_mixture.draw_rows(clusters, 1, 200, np.random.default_rng(0))[0]
    fit = em.fit_mixture(X, em.spread_starts(X, 4, 3, np.random.default_rng(1)))
    model = up.GaussianMixturePretrainer(4, random_state=0).fit(X[0])
    model.centers_ = fit.centers[0]
    assert model.score(X[0]) == pytest.approx(fit.log_likelihood[0], abs=1e-10)


def test_starts_skip_rows_without_weight():
    X = np.concatenate([np.zeros((1, 20, 2)), np.full((1, 20, 2), 50.0)], axis=1)
    weights = np.repeat([[1.0, 0.0]], 20, axis=1)
    starts = em.spread_starts(
        X + np.random.default_rng(0).normal(size=X.shape), 2, 5, np.random.default_rng(1), weights
    )
    assert np.abs(starts).max() < 10


def test_representation_cost_has_the_derived_constant():
    """30 fits with m = 8000: mean within 5 standard errors and 15 % of a/m (false alarms: 6e-7)."""
    rng = np.random.default_rng(0)
    mix = study_mixture.make_mixture(10, 4, 0.9, 0.1, rng)
    a = up.gmm_theory(mix.centers, mix.labels, 0.1, rng)["pretrain"]
    found = study_mixture.representation_study(mix, [8000], 30, rng).excess.to_numpy() * 8000
    assert abs(found.mean() - a) < 5 * found.std() / np.sqrt(30) + 0.15 * a


def test_border_draws_are_unbiased(clusters):
    """Weighted means of 1, x and x² against the mixture's own: 6 standard errors (false alarms: under 1e-7)."""
    x, weight = mixture.border_draws(clusters.centers, clusters.labels, 40_000, np.random.default_rng(0))
    assert weight.max() <= 2 + 1e-12
    for f, wanted in (
        (np.ones(len(x)), 1.0),
        (x[:, 0], clusters.centers[:, 0].mean()),
        (x[:, 1] ** 2, 1 + (clusters.centers[:, 1] ** 2).mean()),
    ):
        values = f * weight
        assert abs(values.mean() - wanted) < 6 * values.std() / np.sqrt(len(x))


def test_excess_of_the_best_decision_is_zero(clusters):
    names = np.broadcast_to(clusters.labels.astype(float), (1, 4))
    assert study_mixture.decide(clusters, clusters.centers[None], names)[0] == 0
    assert study_mixture.decide(clusters, clusters.centers[None], 1 - names)[0] > 0.3


def test_measured_label_cost_is_the_derived_one(clusters):
    """1000 replicates, clusters far apart: 5 standard errors plus 3 % for overlap (false alarms: 6e-7)."""
    found = study_mixture.label_study(clusters, [12], 1000, np.random.default_rng(0)).excess
    wanted = up.gmm_label_cost(12, 4, 0.1)
    assert abs(found.mean() - wanted) < 5 * found.std() / np.sqrt(1000) + 0.03 * wanted


def test_majority_breaks_ties_at_random(clusters):
    """A cluster without rows: 400 coins, between 140 and 260 (false alarms: 2e-9)."""
    centers = np.broadcast_to(clusters.centers, (400, *clusters.centers.shape))
    X = np.broadcast_to(clusters.centers[:1], (400, 1, 8))
    names = study_mixture.majority(centers, X, np.ones((400, 1)), np.random.default_rng(0))
    assert (names[:, 0] == 1).all()
    assert 140 < names[:, 1].sum() < 260


def test_head_names_clusters():
    R = np.array([[0.9, 0.1, 0.0]] * 3 + [[0.2, 0.8, 0.0]] * 2)
    y = np.array(["a", "a", "b", "b", "b"])
    hard = up.ClusterMajority(random_state=0).fit(R, y)
    assert hard.label_share_[:2].tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert hard.predict(R).tolist() == ["a"] * 3 + ["b"] * 2
    soft = up.ClusterMajority(soft=True).fit(R, y)
    np.testing.assert_allclose(soft.label_share_.sum(1), 1)
    np.testing.assert_allclose(soft.label_share_[0], [(1.8 + 0.25) / 3.6, (0.9 + 0.4 + 0.25) / 3.6])


def test_fisher_information_without_overlap_is_one_over_k():
    centers = 50.0 * np.eye(3)
    information = mixture.fisher_information(centers, np.random.default_rng(0), 60_000)
    assert np.abs(information - np.eye(9) / 3).max() < 0.03  # six standard errors of √(2/3/60 000)


def test_labels_add_information(clusters):
    theory = up.gmm_theory(clusters.centers, clusters.labels, 0.1, np.random.default_rng(0), 40_000)
    assert theory["supervised"] <= theory["pretrain"] * 1.01
    assert theory["parameter"] > theory["parameter_separated"] * 0.98


# -- contrastive ---------------------------------------------------------------------------------------------------


def pairs(m=400, seed=0):
    rng = np.random.default_rng(seed)
    return rng, up.simulate_contrastive(m, np.eye(5)[:2] * [[1.5], [1.0]], 5, rng)


def test_contrastive_gradient_and_invariance():
    """Identity 6."""
    rng, data = pairs()
    W = rng.normal(size=(1, 2, 5))
    args = data.X[None], data.X_pair[None], data.t[None].astype(float)
    loss, gradient = up.contrastive_loss(W, *args)
    numeric = approx_fprime(W.ravel(), lambda w: up.contrastive_loss(w.reshape(1, 2, 5), *args)[0][0], 1e-7)
    np.testing.assert_allclose(gradient.ravel(), numeric, atol=1e-5)
    turn = np.linalg.qr(rng.normal(size=(2, 2)))[0]
    assert up.contrastive_loss(turn @ W, *args)[0] == pytest.approx(loss, abs=1e-12)


def test_contrastive_fit_is_a_minimum_that_convex_fitting_confirms():
    """With r = d the problem is convex in M = W'W: the general symmetric M can do no better unless it needs
    negative eigenvalues, and a positive one is reached."""
    _, data = pairs(3000)
    W, loss = contrastive.fit_linear_contrastive(
        data.X[None], data.X_pair[None], data.t[None].astype(float), 5, tol=1e-8
    )
    gradient = up.contrastive_loss(W, data.X[None], data.X_pair[None], data.t[None].astype(float))[1]
    assert np.abs(gradient).max() < 1e-6
    rows, columns = np.triu_indices(5)
    products = data.X[:, rows] * data.X_pair[:, columns] + data.X[:, columns] * data.X_pair[:, rows]
    products[:, rows == columns] /= 2
    convex = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10, max_iter=2000).fit(products, data.t)
    inner = products @ convex.coef_[0]
    floor = np.logaddexp(0, np.where(data.t == 1, -inner, inner)).mean()
    assert loss[0] >= floor - 1e-9
    M = np.zeros((5, 5))
    M[rows, columns] = convex.coef_[0]
    M = (M + M.T) / 2 + np.diag(np.diag(M)) / 2 - np.diag(np.diag(M)) / 2
    assert loss[0] - floor < 0.5 * max(0.0, -np.linalg.eigvalsh(M)[0]) + 1e-9


def test_features_vanish_when_labels_say_nothing():
    """t independent of x: the fitted inner products are noise of order √(p/m)."""
    rng, data = pairs(40_000)
    coin = rng.integers(2, size=len(data.t))
    fit = up.ContrastivePretrainer(2).fit(data.X, data.X_pair, coin)
    assert np.abs(fit.weights_.T @ fit.weights_).max() < 0.1  # the true law has 2.25


def test_linear_contrastive_cost_has_the_derived_constant():
    """24 fits with m = 8000 pairs: 5 standard errors plus 5 % (false alarms: 6e-7)."""
    W, beta = study_contrastive.linear_features(12, (1.5, 1.0)), np.ones(2)
    F = study_contrastive.pretrain_linear(W, 8000, 24, np.random.default_rng(0)).swapaxes(1, 2)
    found = up.excess_risk_linear(F, np.eye(12), W.T @ beta)
    wanted = up.contrastive_theory(W, beta, 1.0, 8000, 100, rng=np.random.default_rng(1))["pretrain_cost"]
    assert abs(found.mean() - wanted) < 5 * found.std() / np.sqrt(24) + 0.05 * wanted


def test_optimiser_solves_each_problem():
    """Batch of Rosenbrock-like and quadratic bowls, each to its own minimum."""
    rng = np.random.default_rng(0)
    roots = rng.normal(size=(6, 4, 4))
    H = roots @ roots.swapaxes(1, 2) + 0.1 * np.eye(4)
    goal = rng.normal(size=(6, 4))

    def objective(x, which):
        gap = x - goal[which]
        slope = np.einsum("bij,bj->bi", H[which], gap)
        return 0.5 * (gap * slope).sum(1), slope

    x, value = optimise.minimise_batch(objective, np.zeros((6, 4)), tol=1e-10, max_iter=500)
    np.testing.assert_allclose(x, goal, atol=1e-7)
    assert np.abs(value).max() < 1e-12


def test_a_stack_of_networks_trains_as_each_alone():
    rng = np.random.default_rng(0)
    X, X_pair = rng.normal(size=(2, 2, 64, 4))
    t = rng.integers(2, size=(2, 64)).astype(float)
    make = torch.Generator().manual_seed(0)
    modules = [networks.mlp((4, 6, 2), make) for _ in range(2)]
    options = {"steps": 30, "batch_size": 10_000, "learning_rate": 0.01}
    together, _, _ = networks.train_contrastive(
        modules, X, X_pair, t, generator=torch.Generator().manual_seed(1), **options
    )
    for s in range(2):  # full batches drawn with replacement: give both the same rows
        assert together(X)[s].shape == (64, 2)
    first, _, loss = networks.train_contrastive(
        modules[:1] * 2, X[:1].repeat(2, 0), X_pair[:1].repeat(2, 0), t[:1].repeat(2, 0),
        generator=torch.Generator().manual_seed(1), **options,
    )  # fmt: skip
    assert loss.shape == (2,)
    np.testing.assert_allclose(first(X[:1].repeat(2, 0))[0], together(X)[0], atol=1e-5)


def test_network_pretrainer_learns_and_leaves_its_module_alone():
    _, data = pairs(2000)
    module = networks.mlp((5, 8, 2), torch.Generator().manual_seed(0))
    before = [p.clone() for p in module.parameters()]
    fit = up.ContrastivePretrainer(2, module, steps=150, batch_size=128, random_state=0).fit(
        data.X, data.X_pair, data.t
    )
    assert all(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))
    assert fit.loss_ < np.log(2)
    assert fit.transform(data.X).shape == (2000, 2)


def test_joint_risk_minimisation_lowers_its_loss(clusters):
    X, y = study_mixture.draw_rows(clusters, 2, 200, np.random.default_rng(0))
    starts = em.spread_starts(X, 4, 2, np.random.default_rng(1))
    centers, names = networks.joint_erm(X, y, starts, torch.Generator().manual_seed(0), steps=100)
    assert centers.shape == (2, 4, 8)
    assert ((names > 0) & (names < 1)).all()
    assert study_mixture.decide(clusters, centers, names).max() < 0.3


def test_log_odds_of_the_joint_model_are_those_of_the_posterior(clusters):
    X = clusters.X[:50]
    names = torch.full((1, 4), 0.0)
    names[0] = torch.as_tensor(np.where(clusters.labels == 1, np.log(9), -np.log(9)))
    odds = networks.mixture_log_odds(
        torch.as_tensor(clusters.centers)[None].float(), names, torch.as_tensor(X)[None].float()
    )
    wanted = simulate.gmm_posterior(X, clusters.centers, clusters.labels, 0.1)
    np.testing.assert_allclose(torch.sigmoid(odds)[0].numpy(), wanted, atol=1e-4)


# -- two phases ----------------------------------------------------------------------------------------------------


def test_two_phase_freezes_its_representation():
    _, draw = factor_rows()
    model = up.TwoPhase(up.FactorPretrainer(2), LinearRegression(fit_intercept=False))
    model.fit(draw.X[:30], draw.y[:30], X_unlab=draw.X[30:])
    np.testing.assert_allclose(model.pretrainer_.loadings_, up.FactorPretrainer(2).fit(draw.X[30:]).loadings_)
    head = LinearRegression(fit_intercept=False).fit(model.pretrainer_.transform(draw.X[:30]), draw.y[:30])
    np.testing.assert_allclose(model.predict(draw.X), head.predict(model.pretrainer_.transform(draw.X)))
    assert 0 < model.score(draw.X, draw.y) < 1
    assert clone(model).get_params()["pretrainer__n_factors"] == 2


def test_two_phase_classifies(clusters):
    rng = np.random.default_rng(0)
    few = up.simulate_gmm(40, clusters.centers, clusters.labels, 0.0, rng)
    many = up.simulate_gmm(400, clusters.centers, clusters.labels, 0.0, rng)
    model = up.TwoPhase(up.GaussianMixturePretrainer(4, random_state=0), up.ClusterMajority(random_state=0))
    model.fit(few.X, few.y, X_unlab=many.X)
    assert model.score(many.X, many.y) > 0.9
    np.testing.assert_allclose(model.predict_proba(many.X).sum(1), 1)
    assert model.classes_.tolist() == [0, 1]


# -- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda X: up.FactorPretrainer(8).fit(X), "below the number of columns, 8"),
        (lambda X: up.FactorPretrainer(0).fit(X), "at least 1"),
        (lambda X: up.FactorPretrainer(2, -1.0).fit(X), "noise_variance"),
        (lambda X: up.FactorPretrainer(2).fit(np.full((3, 8), np.nan)), "NaN"),
        (lambda X: up.GaussianMixturePretrainer(500).fit(X), "at least 500 unlabelled rows"),
        (lambda X: up.ContrastivePretrainer(2).fit(X, X, np.full(len(X), 2)), r"\{0, 1\}"),
        (lambda X: up.ContrastivePretrainer(2).fit(X, X[:5], np.zeros(len(X))), "as many rows"),
        (lambda X: up.ContrastivePretrainer(9).fit(X, X, np.zeros(len(X))), "at most the number of columns"),
        (
            lambda X: up.ContrastivePretrainer(2, "net").fit(X, X, np.zeros(len(X))),
            "'linear' or a torch module",
        ),
        (
            lambda X: up.TwoPhase(up.FactorPretrainer(3), LinearRegression()).fit(X[:4], X[:4, 0], X_unlab=X),
            "n above 4",
        ),
        (
            lambda X: up.TwoPhase(up.FactorPretrainer(3), LinearRegression()).fit(X, X[:, 0], X[:, :5]),
            "8 columns",
        ),
        (lambda X: up.factor_theory(X[:8, :2], [1, 1], 0.5, 100, 3), "n above 3"),
        (lambda X: up.factor_theory(X[:8, :2], [1, 1], -0.5, 100, 30), "eps"),
        (lambda X: up.factor_theory(X[:8, :2], [1, 1], 0.5, 0, 30), "positive"),
        (lambda X: up.excess_risk_linear(X[:8, :2], np.eye(8), np.ones(7)), r"\(8, 2\)"),
        (lambda X: up.excess_risk_linear(X[:8, :2], np.eye(8), np.ones(8), -1.0), "noise"),
        (lambda X: up.contrastive_theory(np.eye(3)[:2], [1, 1], 1, 100, 50), "give rng"),
        (lambda X: up.gmm_label_cost(10, 1, 0.1), "at least 2"),
        (lambda X: up.gmm_label_cost(10, 4, 0.5), r"\[0, 0.5\)"),
        (lambda X: up.gmm_label_cost(1.5, 4, 0.1), "whole numbers"),
        (lambda X: up.gmm_theory(X[:3], [1, 1, 1], 0.1, np.random.default_rng(0)), "both 0 and 1"),
        (lambda X: up.bound_shape(1, 1, 10, 0), "positive"),
        (lambda X: up.bound_shape(1, 1, 10, 5, kappa=0.5), "kappa"),
        (lambda X: up.win_border(lambda m, n: n, lambda n: n, [1], (5, 2)), "bracket"),
        (lambda X: up.informative_constant(X[:5], X[:5]), "0/0"),
        (lambda X: up.informative_constant(X[:5], X[:4]), "one shape"),
        (lambda X: up.informative_constant(X[:5], X[:5], "mixture"), "give rng"),
        (lambda X: up.informative_constant(X[:5], X[:5], "tree"), "model must be"),
        (lambda X: up.hellinger_normal(-np.eye(2), np.eye(2)), "positive definite"),
        (
            lambda X: up.simulate_factor(0, np.eye(4)[:, :2], [1, 1], 0.5, np.random.default_rng(0)),
            "at least 1",
        ),
        (lambda X: simulate.orthonormal_loadings(2, (1.0, 1.0)), "must exceed"),
        (lambda X: up.load_images("cats"), "digits, mnist"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.random.default_rng(0).normal(size=(40, 8)))


def test_network_of_wrong_width_is_refused():
    _, data = pairs(20)
    with pytest.raises(ValueError, match="n_features = 2"):
        up.ContrastivePretrainer(2, torch.nn.Linear(5, 3)).fit(data.X, data.X_pair, data.t)


def test_mnist_without_network_names_the_alternative(monkeypatch):
    def offline(*args, **kwargs):
        raise URLError("no network")

    monkeypatch.setattr(datasets, "fetch_openml", offline)
    with pytest.raises(ConnectionError, match=r"load_images\('digits'\)"):
        up.load_images("mnist")


# -- what is judged --------------------------------------------------------------------------------------------------


def small_grid():
    law = study_factor.factor_law(simulate.orthonormal_loadings(10, (2.0, 1.5)), np.ones(2), 0.5)
    return law, study_factor.risk_grid(
        law, 2, [40, 4000], [20, 400], 30, np.random.default_rng(0), truth=np.eye(10)[:, :2]
    )


def test_grid_is_paired_and_ordered():
    _, (table, cost) = small_grid()
    values, ms, ns = analysis.cells(table, "pretrained")
    assert values.shape == (30, 2, 2)
    assert ms.tolist() == [40, 4000]
    assert ns.tolist() == [20, 400]
    row = table[(table.method == "pretrained") & (table.m == 4000) & (table.n == 20) & (table.rep == 7)]
    assert values[7, 1, 0] == row.excess.iloc[0]
    assert len(cost) == 60
    means = table.groupby(["method", "n"]).excess.mean()
    assert (means["ridge"] <= means["least squares"]).all()


def test_border_share_counts_sides():
    cells = pd.DataFrame(
        [(10, 10, -1, -2, -0.5), (10, 40, 1, 0.5, 2), (40, 10, 1, 0.5, 2), (40, 40, 0.1, -1, 1)],
        columns=["m", "n", "difference", "low", "high"],
    )
    sides = analysis.border_share(cells, lambda n: n * 0 + 20, np.random.default_rng(0))
    assert sides.decided == 3
    assert sides.share.value == pytest.approx(1 / 3)
    assert sides.wrong == [(10, 10), (40, 10)]
    nothing = analysis.border_share(cells.iloc[3:], lambda n: n, np.random.default_rng(0))
    assert (nothing.decided, nothing.share.value) == (0, 0.0)


def test_bound_check_finds_the_edge():
    table = pd.DataFrame(
        [
            (rep, m, n, "pretrained", 1 / m + 1 / n)
            for rep in range(3)
            for m in (10, 100, 1000)
            for n in (10, 100, 1000)
        ],
        columns=["rep", "m", "n", "method", "excess"],
    )
    check = analysis.check_bound(
        table, lambda m, n: np.sqrt(1 / m) + np.sqrt(1 / n), np.random.default_rng(0)
    )
    assert check.edge == check.largest.value
    assert max(check.others) < check.edge
    assert len(check.others) == 4
    assert check.slope_m.value < 0
    assert check.slope_n.value < 0


def test_crossing_interpolates():
    ns = [10, 100, 1000]
    ours, theirs = np.ones((4, 3)), np.tile([10.0, 0.1, 0.1], (4, 1))
    found = analysis.crossing(ns, ours, theirs, np.random.default_rng(0))
    assert found.value == pytest.approx(np.sqrt(1000))
    assert analysis.crossing(ns, ours, 10 * ours, np.random.default_rng(0)).value == pytest.approx(1000)


def test_studies_run_small():
    rng = np.random.default_rng(0)
    noise = study_factor.noise_model_study(
        simulate.orthonormal_loadings(8, (2.0, 1.0), rng), np.geomspace(0.5, 4, 8), np.ones(2), [500], 2, rng
    )
    assert set(noise.method) == {"unit noise (principal directions)", "factor analysis"}
    logistic = study_factor.logistic_study(
        simulate.orthonormal_loadings(6, (2.0, 1.0)), np.ones(2), 500, [100], 3, rng
    )
    assert (logistic.excess >= 0).all()
    teacher = study_contrastive.Teacher(rng, d=5, hidden=4, r=2)
    nets = study_contrastive.network_study(
        teacher, [200], [40], 2, rng, steps=5, supervised_steps=5, hidden=4
    )
    assert set(nets.method) == {"pretrained", "network on labels alone", "ridge", "true features"}
    distance = study_factor.representation_distance(
        simulate.orthonormal_loadings(6, (2.0, 1.0)), [200], 3, rng
    )
    assert (distance.joint >= distance.observed - 1e-9).all()


def test_factor_analysis_is_fed_the_right_moments():
    """2d rows with the given second moments lead to the same fit as the rows they came from."""
    from sklearn.decomposition import FactorAnalysis

    _, draw = factor_rows(500)
    X = draw.X - draw.X.mean(0)
    half = np.linalg.cholesky(X.T @ X / len(X)).T
    rows = np.sqrt(len(half)) * np.concatenate([half, -half])
    fits = [FactorAnalysis(2, tol=1e-9, max_iter=3000, svd_method="lapack").fit(data) for data in (X, rows)]
    np.testing.assert_allclose(fits[0].get_covariance(), fits[1].get_covariance(), atol=1e-4)


def test_mixture_grid_runs_small(clusters):
    table = study_mixture.risk_grid(clusters, [60], [20], 3, np.random.default_rng(0), steps=10)
    assert set(table.method) == {"pretrained", "true centres", *study_mixture.SUPERVISED}
    found = analysis.against_best(table, study_mixture.SUPERVISED)
    assert len(found) == 1


# -- digits and the reader's table ---------------------------------------------------------------------------------


def test_moved_images_keep_their_ink_or_lose_it_at_the_edge():
    X = np.zeros((2, 16))
    X[:, 5] = 1  # row 1, column 1 of 4 by 4
    moved = study_digits.shifted(np.repeat(X, 50, 0), 4, np.random.default_rng(0))
    assert (moved.sum(1) == 1).all()
    assert set(moved.argmax(1)) == {0, 1, 2, 4, 5, 6, 8, 9, 10}
    left, right, t = study_digits.shifted_pairs(X, 4, 100, np.random.default_rng(0))
    assert left.shape == right.shape == (100, 16)
    assert set(t) == {0.0, 1.0}


def test_digits_study_takes_the_best_setting():
    table = pd.DataFrame(
        [(s, 20, "a", k, v) for s in (0, 1) for k, v in ((0, 0.5), (1, 0.9))],
        columns=["split", "n", "method", "setting", "accuracy"],
    )
    assert study_digits.best_in_hindsight(table).accuracy.tolist() == [0.9, 0.9]


@pytest.fixture
def csv(tmp_path):
    rng = np.random.default_rng(0)
    B = simulate.orthonormal_loadings(6, (3.0, 2.0), rng)
    draw = up.simulate_factor(300, B, np.ones(2), 0.3, rng)
    table = pd.DataFrame(draw.X, columns=list("abcdef")).assign(y=draw.y)
    table.loc[60:200, "y"] = np.nan
    table.loc[[0, 70], "a"] = np.nan
    extra = table.drop(columns="y").iloc[201:]
    table.iloc[:201].to_csv(tmp_path / "few.csv", index=False)
    extra.to_csv(tmp_path / "more.csv", index=False)
    return tmp_path


def test_reads_the_readers_files(csv):
    table = workflow.read_tables(str(csv / "few.csv"), "y", str(csv / "more.csv"))
    assert table.kind == "regression"
    assert table.X.shape == (59, 6)
    assert table.X_unlab.shape == (140 + 99, 6)
    assert workflow.label_counts(table, None, 0.3) == [20, 41]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "price"}, r"no column \['price'\]"),
        ({"features": ["a", "q"]}, r"\['q'\]"),
        ({"features": ["a"]}, "at least 2 features"),
        ({"kind": "ranking"}, "kind"),
    ],
)
def test_reader_is_told_what_is_wrong(csv, options, message):
    with pytest.raises(ValueError, match=message):
        workflow.read_tables(str(csv / "few.csv"), **({"target": "y"} | options))


def test_reader_with_other_columns_or_few_rows_is_told(csv):
    pd.DataFrame({"a": [1.0]}).to_csv(csv / "other.csv", index=False)
    with pytest.raises(ValueError, match="lacks the features"):
        workflow.read_tables(str(csv / "few.csv"), "y", str(csv / "other.csv"))
    pd.DataFrame({"a": [1.0, 2], "b": [1.0, 3], "y": [1, 0]}).to_csv(csv / "tiny.csv", index=False)
    with pytest.raises(ValueError, match="at least 20"):
        workflow.read_tables(str(csv / "tiny.csv"), "y")
    table = workflow.read_tables(str(csv / "few.csv"), "y")
    with pytest.raises(ValueError, match="between 10 and 41"):
        workflow.label_counts(table, [5], 0.3)


def test_workflow_advises_pretraining_where_it_pays(csv):
    """A factor model with few labels: two factors carry the target, and the advice follows the intervals."""
    table = workflow.read_tables(str(csv / "few.csv"), "y", str(csv / "more.csv"))
    sizes = workflow.choose_sizes(np.concatenate([table.X, table.X_unlab]), 0, largest=5, scaling="common")
    assert sizes.factors in (2, 3)
    scores = workflow.compare_methods(table, sizes, [10, 40], 3, np.random.default_rng(0))
    assert set(scores.method) == {*workflow.TWO_PHASE, *workflow.SUPERVISED}
    found = workflow.differences(scores, 0.3)
    checks = condition.check_condition(table, sizes, 10, 0)
    assert checks.loc["many more rows than labels (m at least 20 n)", "holds"]
    text = condition.advice(found, checks)
    assert "retrain" in text or "two-phase" in text


def test_advice_says_each_verdict():
    checks = pd.DataFrame({"found": ["x"], "holds": [False], "then": ["y"]}, index=["a condition"])
    base = {
        "n": [20, 300],
        "method": ["mixture + head"] * 2,
        "against": ["linear, tuned"] * 2,
        "difference": [0.1, -0.1],
    }
    pays = pd.DataFrame(base | {"verdict": ["pays", "costs"]})
    assert "pays here" in condition.advice(pays, checks)
    assert "At n = 300 it costs" in condition.advice(pays, checks)
    assert "Not met: a condition" in condition.advice(pays, checks)
    mixed = pd.concat([pays, pays.assign(method="factors + head", verdict="pays")])
    assert "it costs" not in condition.advice(mixed, checks)  # some method still pays at the largest n
    assert "does not pay" in condition.advice(pays.assign(verdict="costs"), checks)
    assert "clearly" in condition.advice(pays.assign(verdict="can't tell"), checks)


def test_signal_outside_the_latent_space_is_noticed():
    """y depends on a direction without any factor: adding x must help by far more than its interval."""
    rng = np.random.default_rng(0)
    B = np.full((6, 1), 1.2)
    B[5] = 0
    draw = up.simulate_factor(400, B, [1.0], 0.3, rng)
    y = draw.y + 2 * draw.X[:, 5]
    sizes = workflow.Sizes(1, 2, pd.DataFrame(), "common")
    hidden = workflow.Table(draw.X, y, draw.X[:0], "regression", tuple("abcdef"))
    seen = hidden._replace(y=draw.y)
    assert condition.signal_outside(hidden, sizes, 0)["factors + head"].low > 0.2
    assert condition.signal_outside(seen, sizes, 0)["factors + head"].value < 0.05


def test_factors_of_a_readers_table_are_scikit_learns():
    """The same covariance as from all rows, with the mean put back; and no crash on a constant column."""
    from sklearn.decomposition import FactorAnalysis

    rng = np.random.default_rng(0)
    draw = up.simulate_factor(800, simulate.orthonormal_loadings(6, (2.0, 1.5), rng), [1, 1], 0.5, rng)
    X = draw.X + 3.0
    ours, peer = (
        workflow.Factors(2).fit(X),
        FactorAnalysis(2, tol=1e-9, max_iter=3000, svd_method="lapack").fit(X),
    )
    np.testing.assert_allclose(ours.get_covariance(), peer.get_covariance(), atol=0.1)
    assert ours.score(X) == pytest.approx(peer.score(X), abs=1e-3)
    constant = np.column_stack([X, np.zeros(len(X))])
    assert np.isfinite(workflow.Factors(2).fit(constant).transform(constant)).all()


def test_smallest_size_within_a_standard_error_is_taken():
    base = np.random.default_rng(0).normal(size=200)
    levels = {
        ("factors", 1): base - 1,
        ("factors", 3): base + 1e-3 * (-1) ** np.arange(200),
        ("factors", 8): base,
    }
    assert workflow._smallest(levels, "factors") == 3
    assert workflow._smallest(levels, "clusters") == 1


def test_scaler_leaves_constant_columns_at_zero():
    X = np.column_stack([np.ones(10), np.arange(10.0), 5 * np.arange(10.0)])
    for scaling in workflow.SCALINGS:
        Z = workflow.Scaler(scaling).fit(X).transform(X)
        assert (Z[:, 0] == 0).all()
        assert np.isfinite(Z).all()
    assert Z[:, 2].std() > Z[:, 1].std()  # common: the ratio of columns is kept


# -- mutants ---------------------------------------------------------------------------------------------------------


def test_mutant_centred_pca_is_caught(monkeypatch):
    """scikit-learn's habit of centring is not this model's likelihood: the likelihood test must fail."""

    def centred(self, X, y=None):
        X = np.asarray(X)
        values, vectors = np.linalg.eigh(np.cov(X.T + 0.0))
        self.n_features_in_, self.eigenvalues_, self.noise_variance_ = X.shape[1], values[::-1], 1.0
        self.loadings_ = factor.loadings_from_eigenpairs(values[::-1][:2], vectors[:, ::-1][:, :2])
        return self

    monkeypatch.setattr(factor.FactorPretrainer, "fit", centred)
    with pytest.raises(AssertionError):
        test_closed_form_is_the_maximum_likelihood()


def test_mutant_loadings_without_noise_correction_are_caught(monkeypatch):
    """√l in the place of √(l−1): the likelihood test must fail."""
    monkeypatch.setattr(factor, "loadings_from_eigenpairs", lambda values, V, s=1.0: V * np.sqrt(values))
    with pytest.raises(AssertionError):
        test_closed_form_is_the_maximum_likelihood()


def test_mutant_one_sided_gradient_is_caught(monkeypatch):
    """The contrastive gradient must move both members of a pair."""
    honest = contrastive.contrastive_loss

    def half(W, X, X_pair, t):
        loss, _ = honest(W, X, X_pair, t)
        left, right = X @ W.swapaxes(1, 2), X_pair @ W.swapaxes(1, 2)
        residual = (1 / (1 + np.exp(-(left * right).sum(-1))) - t)[..., None] / t.shape[1]
        return loss, (right * residual).swapaxes(1, 2) @ X

    monkeypatch.setattr(up, "contrastive_loss", half)
    with pytest.raises(AssertionError):
        test_contrastive_gradient_and_invariance()


def test_mutant_forgotten_norm_in_em_is_caught(clusters, monkeypatch):
    """Logits without −½‖u‖²: the E-step is another model's."""
    monkeypatch.setattr(mixture, "cluster_logits", lambda X, u: u @ X.swapaxes(-1, -2))
    with pytest.raises(AssertionError):
        test_e_step_is_that_of_scikit_learn(clusters)


def test_mutant_noise_in_the_excess_is_caught(monkeypatch):
    """A toy's risk that includes the target's noise: the cost of the truth must no longer vanish."""
    honest = linear.excess_risk_linear
    monkeypatch.setattr(up, "excess_risk_linear", lambda *a, **k: honest(*a, **k) + 0.56)
    with pytest.raises(AssertionError):
        test_cost_vanishes_for_true_loadings_turned()


MODULES = ("linear", "factor", "theory", "informative", "mixture", "estimator", "datasets")


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings(module):
    """Every runnable example says the truth."""
    where = importlib.import_module(f"loglik.information.unsupervised_pretraining.{module}")
    assert doctest.testmod(where, extraglobs={"np": np}).failed == 0


def test_public_names_exist():
    assert all(hasattr(up, name) for name in up.__all__)
    assert informative.MODELS == ("factor", "mixture")
