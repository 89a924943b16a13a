"""The p–n criterion: closed forms, three engines that agree, invariances, thresholds, and mutants that must be caught.

Tests with random data are identities that hold for any seed, except those that say their false-alarm rate.
"""

from __future__ import annotations

import doctest
import importlib
import urllib.request

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, special

from loglik.information import pn_criterion as pn
from loglik.information.pn_criterion import (
    autodiff,
    datasets,
    exact,
    examples,
    expansion,
    montecarlo,
    workflow,
)
from loglik.information.pn_criterion.bayes_error import sharp_curve
from loglik.information.pn_criterion.criterion import pn_criterion
from loglik.information.pn_criterion.families import full_normal

SHARP = {0.1: 0.020045, 0.3: 0.183785, 0.5: 0.532298, 0.7: 1.130892, 0.9: 2.302183}


def normal_eta(d, seed=0):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(d, d))
    mean, cov = rng.normal(size=d), root @ root.T + np.eye(d)
    return np.concatenate([mean, (cov + np.outer(mean, mean))[np.triu_indices(d)]])


@pytest.fixture(scope="module")
def wrong():
    """A pairwise model of four binary variables under a truth that is none: (family, theta, states' law)."""
    family = pn.LogLinear((2, 2, 2, 2), 2)
    law = np.random.default_rng(0).dirichlet(np.full(16, 2.0))
    return family, family.fit(law @ family.T).theta, law


@pytest.fixture(scope="module")
def by_autodiff(wrong):
    family, theta, law = wrong
    return pn.risk_coefficients_autodiff(family, theta, family.T, law)


def close(found, wanted, rtol=1e-8):
    for name in ("A1", "A2", "C3", "C4"):
        assert getattr(found, name) == pytest.approx(getattr(wanted, name), rel=rtol, abs=rtol), name


# -- closed forms ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.7, 3.0, 20.0])
def test_poisson(rate):
    family = pn.PoissonFamily()
    stats, weights = family.quadrature(np.log([rate]))
    for found in (
        pn.risk_coefficients_autodiff(family, np.log([rate]), stats, weights),
        pn.risk_coefficients((stats, weights), (stats, weights)),
    ):
        assert pytest.approx(0.5, rel=1e-8) == found.A1
        assert pytest.approx(5 / (12 * rate), rel=1e-8) == found.A2


@given(st.lists(st.floats(0.05, 1.0), min_size=2, max_size=6))
@settings(max_examples=10, deadline=None)
def test_multinomial(raw):
    p = np.array(raw) / np.sum(raw)
    k, family = len(p), pn.MultinomialFamily(len(p))
    found = pn.risk_coefficients((family.T, p), (family.T, p))
    assert pytest.approx((k - 1) / 2, rel=1e-8) == found.A1
    assert pytest.approx(5 / 12 * np.sum(1 / p) - k / 2 + 1 / 12, rel=1e-8) == found.A2


def test_log_partitions_normalise_their_densities():
    """exp Ψ is the integral of exp(θ·ξ) over the reference measure: 1/x!, dx/x, dx/√(2π)."""
    x = np.arange(120)
    poisson, gamma, normal = pn.PoissonFamily(), pn.GammaFamily(), pn.GaussianFamily(1)
    total = special.logsumexp(poisson.suff_stat(x) @ [1.3] - special.gammaln(x + 1))
    halves = integrate.quad(lambda v: np.exp(gamma.suff_stat([v])[0] @ [2.5, -0.7]) / v, 0, np.inf)[0]
    line = integrate.quad(
        lambda v: np.exp(normal.suff_stat([v])[0] @ [0.4, -0.8]) / np.sqrt(2 * np.pi), -np.inf, np.inf
    )[0]
    with jax.enable_x64(True):
        found = [
            float(jax.jit(family.log_partition)(jnp.asarray(theta)))
            for family, theta in ((poisson, [1.3]), (gamma, [2.5, -0.7]), (normal, [0.4, -0.8]))
        ]
    np.testing.assert_allclose(found, [total, np.log(halves), np.log(line)], rtol=1e-8)


@pytest.mark.parametrize("d", [1, 2, 3, 4, 5])
def test_normal_by_quadrature(d):
    family = pn.GaussianFamily(d)
    stats, weights = family.quadrature(family.fit(normal_eta(d)).theta)
    found = pn.risk_coefficients((stats, weights), (stats, weights), method="tensor")
    assert pytest.approx(d * (d + 3) / 4, rel=1e-8) == found.A1
    assert pytest.approx(d * (10 * d**2 + 51 * d + 61) / 24, rel=1e-8) == found.A2


@pytest.mark.parametrize("d", [1, 3])
def test_normal_by_automatic_differentiation(d):
    family = full_normal(d)
    theta = family.fit(normal_eta(d)).theta
    found = pn.risk_coefficients_autodiff(family, theta, *family.quadrature(theta))
    assert pytest.approx(d * (d + 3) / 4, rel=1e-8) == found.A1
    assert pytest.approx(d * (10 * d**2 + 51 * d + 61) / 24, rel=1e-8) == found.A2


@pytest.mark.parametrize("shape", [0.6, 1.0, 4.0])
def test_exponential_model_of_a_gamma_truth(shape):
    """The exact risk is digamma(na) − log(na) + na/(na−1) − 1; its expansion gives both coefficients."""
    family = pn.ExponentialDistribution()
    nodes, weights = special.roots_genlaguerre(8, shape - 1)
    found = pn.risk_coefficients_autodiff(family, [-1 / shape], nodes[:, None], weights)
    assert pytest.approx(1 / (2 * shape), rel=1e-8) == found.A1
    assert pytest.approx(11 / (12 * shape**2), rel=1e-8) == found.A2
    n = 200
    rest = exact.exact_gamma_risk(n, shape) - found.risk(n)
    assert abs(rest) < 20 / (shape * n) ** 3


@pytest.mark.parametrize("d", [1, 3, 11])
def test_exact_normal_risk_has_this_expansion(d):
    n = np.array([2000.0, 4000.0])
    first, second = d * (d + 3) / 4, d * (10 * d**2 + 51 * d + 61) / 24
    rest = exact.exact_normal_risk(n, d) - first / n - second / n**2
    assert (rest > 0).all()
    assert np.log2(rest[0] / rest[1]) == pytest.approx(3, abs=0.1)


def test_normal_right_model_has_these_scalars():
    """Fourth cumulants, not moments: ⟨q, I⊗I⟩ is 20, with moments it would be 28."""
    family = pn.GaussianFamily(1)
    theta = family.fit([0.0, 1.0]).theta
    G = family.cov(theta)
    t = np.einsum("abc,ai,bj,ck->ijk", family.third(theta), *[np.linalg.inv(np.linalg.cholesky(G)).T] * 3)
    q = np.einsum("abcd,ab,cd->", family.fourth(theta), np.linalg.inv(G), np.linalg.inv(G))
    assert np.sum(t**2) == pytest.approx(14, rel=1e-8)
    assert np.sum(np.einsum("abe,ab->e", t, np.eye(2)) ** 2) == pytest.approx(18, rel=1e-8)
    assert q == pytest.approx(20, rel=1e-8)


def test_cumulants_of_quadratic_forms():
    """κ(x_i, x_j, Q_A) = 2A_ij, κ(Q_A, Q_B, Q_C) = 8 tr ABC, κ(Q⁴) = 48 tr A⁴ of a standard normal vector."""
    d = 2
    family = pn.GaussianFamily(d)
    theta = family.fit(np.concatenate([np.zeros(d), np.eye(d)[np.triu_indices(d)]])).theta
    rng = np.random.default_rng(1)

    def form(matrix):  # coefficients of xᵀAx in the family's statistics
        return np.concatenate([np.zeros(d), (matrix * (2 - np.eye(d)))[np.triu_indices(d)]])

    A, B, C = (m + m.T for m in rng.normal(size=(3, d, d)))
    third, fourth = family.third(theta), family.fourth(theta)
    assert third[0, 1] @ form(A) == pytest.approx(2 * A[0, 1])
    mixed = np.einsum("abc,a,b,c->", third, form(A), form(B), form(C))
    assert mixed == pytest.approx(8 * np.trace(A @ B @ C), rel=1e-8)
    assert np.einsum("abcd,a,b,c,d->", fourth, *[form(A)] * 4) == pytest.approx(
        48 * np.trace(A @ A @ A @ A), rel=1e-8
    )
    pair = np.einsum("abcd,c,d->ab", fourth, form(A), form(B))[:d, :d]
    np.testing.assert_allclose(pair, 4 * (A @ B + B @ A), atol=1e-8)


def test_mardia_kurtosis_gives_the_leading_term():
    """Normal model, any truth: A₁ = ¼ (d + E‖y‖⁴) with y the whitened observation."""
    family = full_normal(3)
    y = family.normalise(datasets.transform(pn.load_wine()).to_numpy()[:, :3])
    stats = family.suff_stat(y)
    found = pn.risk_coefficients_autodiff(family, family.fit(stats.mean(0)).theta, stats)
    assert pytest.approx((3 + ((y**2).sum(1) ** 2).mean()) / 4, rel=1e-10) == found.A1


def test_one_variable_in_standardised_moments():
    x = np.random.default_rng(20).gamma(2.0, size=(3, 60))
    family = full_normal(1)
    A1, A2 = examples.standardised_normal(x)
    for row, first, second in zip(x, A1, A2, strict=True):
        stats = family.suff_stat(row)
        found = pn.risk_coefficients_autodiff(family, family.fit(stats.mean(0)).theta, stats)
        assert (first, second) == (pytest.approx(found.A1, rel=1e-8), pytest.approx(found.A2, rel=1e-7))


# -- engines agree -----------------------------------------------------------------------------------------


def test_three_engines_agree_where_the_model_is_wrong(wrong, by_autodiff):
    family, theta, law = wrong
    assert abs(by_autodiff.A1 - family.p / 2) > 1e-3  # errors that cancel for g = model would show
    for method in ("tensor", "pairs"):
        found = pn.risk_coefficients(family.quadrature(theta), (family.T, law), method=method)
        close(found, by_autodiff, 1e-9)


def test_implicit_route_equals_the_loss_in_closed_form():
    """Through Ψ alone, and through the Bregman divergence of the dual, for gamma data under a wrong law."""
    family = pn.PoissonFamily()
    x = np.random.default_rng(2).negative_binomial(3, 0.4, 300).astype(float)
    mean = x.mean()
    theta = family.fit([mean]).theta
    through = pn.risk_coefficients_autodiff(family, theta, x[:, None])

    def loss(delta):
        fit = mean + delta[0]
        return delta[0] - mean * jnp.log(fit / mean)

    close(pn.risk_coefficients_jet(loss, x[:, None]), through, 1e-9)


def test_random_directions_surround_the_exact_value(wrong, by_autodiff):
    """4000 directions: within 5 standard errors (false alarm 6e-7)."""
    family, theta, law = wrong
    found = pn.risk_coefficients_autodiff(
        family, theta, family.T, law, directions=4000, key=jax.random.key(0)
    )
    assert 0 < found.se < 0.1 * found.A2
    assert abs(found.A2 - by_autodiff.A2) < 5 * found.se


def test_polarisation_is_exact_for_quartic_forms():
    rng = np.random.default_rng(3)
    root, form = rng.normal(size=(3, 4)), rng.normal(size=(3, 3, 3, 3))
    directions, weights = autodiff.gaussian_directions(root)
    found = weights @ np.einsum("abcd,na,nb,nc,nd->n", form, *[directions] * 4)
    V = root @ root.T
    wanted = sum(np.einsum(f"abcd,{p[:2]},{p[2:]}->", form, V, V) for p in ("abcd", "acbd", "adbc"))
    assert found == pytest.approx(wanted, rel=1e-10)


@pytest.mark.parametrize("method", ["tensor", "pairs"])
def test_draws_give_the_coefficients_without_bias(method):
    """100 repeats of 300 draws: the mean within 4 standard errors of the exact A₂ (false alarm 6e-5)."""
    family = pn.LogLinear((2, 2, 2), 1)
    law = np.random.default_rng(4).dirichlet(np.full(8, 3.0))
    theta = family.fit(law @ family.T).theta
    wanted = pn.risk_coefficients(family.quadrature(theta), (family.T, law))
    rng = np.random.default_rng(5)
    found = [
        pn.risk_coefficients(
            (family.T[family.sample(theta, 300, rng)], None), (family.T, law), method=method, n_blocks=6
        )
        for _ in range(100)
    ]
    values = np.array([f.A2 for f in found])
    assert abs(values.mean() - wanted.A2) < 4 * values.std() / 10
    assert np.median([f.se for f in found]) == pytest.approx(values.std(), rel=0.5)


# -- invariances -------------------------------------------------------------------------------------------


@given(st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_affine_changes_of_the_statistics_change_nothing(seed):
    rng = np.random.default_rng(seed)
    T, law = rng.normal(size=(12, 3)), rng.dirichlet(np.full(12, 2.0))
    M, c = rng.normal(size=(3, 3)) + 3 * np.eye(3), rng.normal(size=3)
    results = []
    for stats in (T, T @ M.T + c):
        family = pn.FiniteFamily(stats)
        theta = family.fit(law @ stats).theta
        results.append(pn.risk_coefficients(family.quadrature(theta), (stats, law)))
    close(results[1], results[0], 1e-7)


def test_independent_models_add():
    one, two = np.random.default_rng(6).dirichlet(np.full(3, 2.0)), np.array([0.3, 0.7])
    parts = [
        pn.risk_coefficients((f.T, law), (f.T, law))
        for f, law in ((pn.MultinomialFamily(3), one), (pn.MultinomialFamily(2), two))
    ]
    both = pn.LogLinear((3, 2), 1)
    law = np.outer(one, two).ravel()
    found = pn.risk_coefficients((both.T, law), (both.T, law))
    for name in ("A1", "A2", "C3", "C4"):
        assert getattr(found, name) == pytest.approx(sum(getattr(part, name) for part in parts), rel=1e-8)


def test_pythagoras(wrong):
    family, theta, law = wrong
    fits = theta + 0.3 * np.random.default_rng(7).normal(size=(20, family.p))
    assert exact.pythagoras_gap(family, theta, fits, law) < 1e-10


def test_optimism_minus_risk_is_the_gain(by_autodiff):
    n = np.array([50.0, 500.0])
    np.testing.assert_allclose(
        by_autodiff.optimism(n) - by_autodiff.risk(n), by_autodiff.likelihood_gain(n), rtol=1e-12
    )


def test_normal_gain_has_its_closed_form():
    """E KL(fit ‖ projection) = −½ [Σ ψ((n−i)/2) + d log(2/n)] for the right normal model."""
    family = pn.GaussianFamily(2)
    theta = family.fit(normal_eta(2)).theta
    found = pn.risk_coefficients(family.quadrature(theta), family.quadrature(theta))
    n = 4000
    known = -0.5 * (sum(special.digamma((n - i) / 2) for i in (1, 2)) + 2 * np.log(2 / n))
    assert known == pytest.approx(found.likelihood_gain(n), abs=40 / n**3)


def test_truths_with_three_equal_moments_differ_beyond_the_second_order():
    found = exact.moment_twins(np.array([200, 400]))
    assert found.gap < 1e-9
    assert np.log2(abs(found.difference[0] / found.difference[1])) == pytest.approx(3, abs=0.2)


# -- thresholds --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tv", "kl"), SHARP.items())
def test_sharp_bound_has_the_known_values(tv, kl):
    assert pn.kl_threshold(tv / 2, "sharp") == pytest.approx(kl, abs=1e-6)
    assert pn.max_tv(pn.kl_threshold(tv / 2, "sharp")) == pytest.approx(tv, abs=1e-6)


def test_sharp_bound_is_the_minimum_over_two_points():
    tv = 0.3
    p = np.linspace(1e-6, 1 - tv - 1e-6, 200_001)
    q = p + tv
    kl = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    assert kl.min() == pytest.approx(SHARP[tv], abs=1e-6)


def test_sharp_bound_joins_its_two_ends():
    kl = np.array([0.99e-4, 1.01e-4, 3.999, 4.001])
    tv = pn.max_tv(kl)
    assert tv[1] / tv[0] == pytest.approx(np.sqrt(1.01 / 0.99), rel=1e-4)
    assert tv[3] - tv[2] == pytest.approx(0.002 * np.exp(-4), rel=1e-2)
    assert pn.max_tv(pn.kl_threshold(0.4999, "sharp")) == pytest.approx(0.9998, abs=1e-9)


@given(st.floats(1e-8, 30.0))
def test_sharp_is_never_worse_than_the_others(kl):
    for other in ("pinsker", "bretagnolle-huber"):
        assert pn.max_tv(kl) <= pn.max_tv(kl, other) * (1 + 1e-7)


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_no_pair_of_coins_violates_the_sharp_bound(a, b):
    p, q = np.array([a, 1 - a]), np.array([b, 1 - b]) * (1 - 1e-9) + 5e-10
    kl = float(special.rel_entr(p, q).sum())
    assert 0.5 * np.abs(p - q).sum() <= pn.max_tv(max(kl, 0.0)) + 1e-6


def test_sharp_curve_lies_above_pinsker():
    tv, kl = sharp_curve(np.geomspace(0.05, 100, 200))
    assert (kl >= 2 * tv**2).all()


@given(st.floats(0.001, 0.498), st.floats(0.0005, 0.0015))
def test_tolerating_more_asks_for_less(delta, more):
    for bound in ("pinsker", "sharp", "local", "bretagnolle-huber"):
        assert pn.kl_threshold(delta + more, bound) > pn.kl_threshold(delta, bound)


@given(st.floats(0.1, 100), st.floats(-5, 5000), st.floats(1e-4, 1))
def test_required_n_inverts_the_risk(A1, A2, C):
    found = expansion.RiskExpansion(A1, A2, 0, 0, 1)
    if A1**2 + 4 * C * A2 > 0:
        n = found.required_n(C)
        assert found.risk(n) == pytest.approx(C, rel=1e-10)
        assert found.required_n(1.1 * C) < n
    assert found.risk(found.required_n(C, order=1), order=1) == pytest.approx(C, rel=1e-12)


def test_an_expansion_that_never_reaches_c_says_so():
    with pytest.warns(UserWarning, match="order 1 only"):
        assert expansion.RiskExpansion(1.0, -100.0, 0, 0, 1).required_n(0.1) == pytest.approx(10)


def test_bayes_error_of_two_normals():
    """Φ(−Δ/2) with Δ = 1: within 5 standard errors over 40 000 draws (false alarm 6e-7)."""
    x = np.random.default_rng(8).normal(size=40_000)
    found = pn.bayes_error(lambda x: -(x**2) / 2, lambda x: -((x - 1) ** 2) / 2, x)
    assert abs(found.estimate - special.ndtr(-0.5)) < 5 * found.se


# -- fitting -----------------------------------------------------------------------------------------------


def test_gamma_fit_solves_the_likelihood_equation():
    family = pn.GammaFamily()
    x = np.random.default_rng(9).gamma(2.5, 3.0, 500)
    eta = family.suff_stat(x).mean(0)
    found = family.fit(eta)
    assert found.converged
    np.testing.assert_allclose(family.mean(found.theta), eta, rtol=1e-9)


def test_graphical_model_keeps_its_moments_and_its_zeros():
    x = pn.GaussianFamily(4, []).normalise(datasets.transform(pn.load_wine()).to_numpy()[:, :4])
    family = pn.GaussianFamily(4, [(0, 1), (2, 3)])
    eta = family.suff_stat(x).mean(0)
    found = family.fit(eta)
    np.testing.assert_allclose(family.mean(found.theta), eta, atol=1e-8)
    assert family.precision(found.theta)[0, 2] == 0
    every = [(i, j) for i in range(4) for j in range(i + 1, 4)]
    full, edged = pn.GaussianFamily(4), pn.GaussianFamily(4, every)
    mean = full.suff_stat(x).mean(0)
    np.testing.assert_allclose(edged.fit(mean).theta, full.fit(mean).theta, atol=1e-8)


def test_common_matrix_steps_find_newtons_solution(wrong):
    family, theta, law = wrong
    etas = montecarlo.Population(family.T, law)(300, 40, np.random.default_rng(10))
    shared, own = family.fit_batch(etas, theta), family.fit_batch(etas)
    both = shared.converged & own.converged
    assert both.sum() > 30
    np.testing.assert_allclose(shared.theta[both], own.theta[both], atol=1e-8)


def test_boundary_is_found_by_the_fit_and_by_linear_programming(wrong):
    family, _, _ = wrong
    eta = family.T[[3, 5, 9]].mean(0)  # three states of sixteen
    assert not family.mle_exists(eta)
    assert family.fit(eta).boundary
    assert family.mle_exists(family.T.mean(0))
    x = np.array([[0, 0, 0, 1], [0, 1, 1, 0], [1, 0, 1, 0]] * 4)
    with pytest.raises(pn.MLENotFound, match="boundary"):
        pn_criterion(family, x)


def test_small_samples_without_an_mle_are_told_apart(wrong):
    """Newton's verdict on 150 samples of 12 rows is that of linear programming, sample by sample."""
    family, theta, law = wrong
    etas = pn.Population(family.T, law)(12, 150, np.random.default_rng(19))
    exists = np.array([family.mle_exists(eta) for eta in etas])
    assert 5 < exists.sum() < 145
    np.testing.assert_array_equal(family.fit_batch(etas, theta).converged, exists)


def test_zeros_have_no_poisson_fit():
    with pytest.raises(pn.MLENotFound, match="no MLE"):
        pn_criterion(pn.PoissonFamily(), np.zeros(10))


# -- chains ------------------------------------------------------------------------------------------------


def test_chains_agree_with_enumeration():
    """A₁ and A₂ of the pairwise model on four wine variables within 5 jackknife errors (false alarm 1e-5)."""
    x = datasets.quantile_codes(pn.load_wine().iloc[:, [0, 1, 8, 10]], 2)
    family = pn.IsingFamily(4)
    stats, written_out = family.suff_stat(x), family.enumerate()
    theta = written_out.fit(stats.mean(0)).theta
    wanted = pn.risk_coefficients(written_out.quadrature(theta), (stats, None))
    rng = np.random.default_rng(11)
    fitted = family.fit(stats.mean(0), rng=rng)
    assert fitted.converged
    draws, _ = family.draws(fitted.theta, rng, chains=500, sweeps=10)
    found = pn.risk_coefficients((draws, None), (stats, None))
    assert abs(found.A1 - wanted.A1) < 5 * found.se_A1
    assert abs(found.A2 - wanted.A2) < 5 * found.se


def test_polynomial_chains_have_the_moments_of_the_quadrature():
    """5 standard errors, 5 statistics (false alarm 3e-6)."""
    family = pn.BoxPolynomial(2, 2)
    theta = np.array([0.5, -0.4, 0.3, -0.3, 0.2])
    draws, _ = family.draws(theta, np.random.default_rng(12), chains=4000, sweeps=1, burn_in=15)
    wanted = family.on_grid().mean(theta)
    assert (np.abs(draws.mean(0) - wanted) < 5 * draws.std(0) / np.sqrt(len(draws))).all()
    with pytest.raises(NotImplementedError, match="mcmc"):
        family.log_partition(theta)


# -- measured risks ----------------------------------------------------------------------------------------


def test_measured_risk_is_the_expansion(wrong, by_autodiff):
    """n = 800: within 4.5 standard errors plus a tenth of the second term (false alarm under 1e-5)."""
    family, theta, law = wrong
    population = pn.Population(family.T, law)
    found = pn.mc_risk(family, population, theta, 800, 1500, rng=np.random.default_rng(13))
    assert found.dropped < 1e-2
    assert abs(found.mean - by_autodiff.risk(800)) < 4.5 * found.se + 0.1 * by_autodiff.A2 / 800**2
    plain = pn.mc_risk(family, population, theta, 800, 1500, False, np.random.default_rng(13))
    assert found.se < 0.6 * plain.se


def test_takeuchi_penalty_is_twice_the_leading_term():
    """Against statsmodels' sandwich covariance of a Poisson regression on a constant."""
    x = np.random.default_rng(14).negative_binomial(2, 0.3, 400).astype(float)
    family = pn.PoissonFamily()
    found = pn.risk_coefficients_autodiff(family, family.fit([x.mean()]).theta, x[:, None])
    assert pytest.approx(exact.sandwich_trace(x), rel=1e-6) == 2 * found.A1


def test_information_criteria_agree_with_statsmodels():
    """AIC differences of log-linear models are those of Poisson regressions on the table of counts."""
    x = datasets.quantile_codes(pn.load_wine().iloc[:, [0, 1, 10]], 2)
    ladder = {f"order {k}": pn.LogLinear((2, 2, 2), k) for k in (1, 2)}
    table = pn.dimension_ladder(ladder, x)
    counts = np.bincount(ladder["order 1"].state(x), minlength=8)
    peers = [
        sm.GLM(counts, sm.add_constant(f.T), family=sm.families.Poisson()).fit().aic for f in ladder.values()
    ]
    assert table.AIC.iloc[0] - table.AIC.iloc[1] == pytest.approx(peers[0] - peers[1], rel=1e-8)
    assert table.misfit.iloc[0] > table.misfit.iloc[1] > 0


# -- the criterion -----------------------------------------------------------------------------------------


def test_criterion_fields_fit_together():
    x = datasets.transform(pn.load_wine()).to_numpy()[:, :3]
    found = pn_criterion(full_normal(3), x, delta=0.02, n_blocks=5)
    assert found.accept == (found.risk <= found.threshold) == (found.n >= found.n_required)
    assert found.threshold == pytest.approx(8 * 0.02**2)
    assert found.risk_se > 0
    assert found.expansion.risk(found.n_required) == pytest.approx(found.threshold)
    assert found.answer in ("yes", "no", "can't tell")
    assert pn_criterion(full_normal(3), 5 * x - 2, delta=0.02, n_blocks=0).risk == pytest.approx(
        found.risk, rel=1e-8
    )


def test_few_rows_get_warnings():
    x = np.random.default_rng(15).normal(size=(9, 3))
    found = pn_criterion(full_normal(3), x, n_blocks=0)
    assert "exceed p" in found.warnings[0]


@pytest.mark.parametrize("delta", [0.0, 0.5, -1.0, np.nan])
def test_tolerances_outside_are_refused(delta):
    with pytest.raises(ValueError, match="between 0 and 1/2"):
        pn.kl_threshold(delta)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="bound must be"):
        pn.kl_threshold(0.1, "hoeffding")
    with pytest.raises(ValueError, match="affinely dependent"):
        pn.FiniteFamily(np.column_stack([np.arange(4.0), np.arange(4.0) * 2 + 1]))
    with pytest.raises(ValueError, match=r"columns \[0, 1\] are linearly dependent"):
        pn_criterion(pn.GaussianFamily(2), np.column_stack([np.arange(9.0), 2 * np.arange(9.0)]))
    with pytest.raises(ValueError, match="rows of 2 numbers"):
        pn.GaussianFamily(2).suff_stat(np.zeros((4, 3)))
    with pytest.raises(ValueError, match="engine must be"):
        pn_criterion(pn.PoissonFamily(), [1, 2, 3], engine="laplace")
    with pytest.raises(ValueError, match="counts"):
        pn.PoissonFamily().suff_stat([0.5, 1])
    with pytest.raises(ValueError, match="not the projection"):
        pn.risk_coefficients_autodiff(pn.PoissonFamily(), [0.0], [[3.0], [5.0]])
    with pytest.raises(ValueError, match="at least 0"):
        pn.max_tv(-1.0)
    with pytest.raises(ValueError, match="chains need rng"):
        pn_criterion(pn.IsingFamily(2), [[0, 1], [1, 0], [1, 1], [0, 0]])
    with pytest.raises(ValueError, match="needs cov"):
        pn.mc_risk(
            pn.PoissonFamily(), lambda n, r, g: np.ones((r, 1)), [0.0], 5, 5, rng=np.random.default_rng()
        )


# -- data and the reader's file ----------------------------------------------------------------------------


def test_wine_is_the_original():
    table = pn.load_wine()
    assert table.iloc[0].tolist() == [7.4, 0.7, 0, 1.9, 0.076, 11, 34, 0.9978, 3.51, 0.56, 9.4]
    means = [8.3196, 0.5278, 0.2710, 2.5388, 0.08747, 15.8749, 46.4678, 0.99675, 3.3111, 0.6581, 10.4230]
    np.testing.assert_allclose(table.mean(), means, rtol=2e-4)
    assert pn.load_abalone().shape == (4172, 8)


def test_without_a_network_the_loader_names_the_way_out(monkeypatch):
    def offline(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", offline)
    monkeypatch.setattr(pd, "read_csv", offline)
    with pytest.raises(OSError, match="load_wine"):
        pn.fetch_uci("wine")
    with pytest.raises(ValueError, match="fetch_uci knows"):
        pn.fetch_uci("iris")


@pytest.mark.parametrize(
    "family", ["gaussian", "loglinear", "gamma", "exponential", "poisson", "ising", "box"]
)
def test_every_family_answers_for_a_file(family, tmp_path):
    path = tmp_path / "mine.csv"
    rng = np.random.default_rng(16)
    table = pd.DataFrame(rng.gamma(3.0, 2.0, (400, 3)), columns=["a", "b", "c"])
    table.loc[0, "a"] = np.nan
    (table.round() if family == "poisson" else table).to_csv(path, index=False)
    columns = ["b"] if family in ("gamma", "exponential", "poisson") else None
    sample = workflow.read_sample(str(path), family, columns=columns, levels=2)
    ladder = workflow.ladder(sample, max_models=2)
    table = pn.dimension_ladder(ladder, sample.x, 0.1, rng=rng)
    assert table.p.is_monotonic_increasing
    assert workflow.largest_accepted(table) in {*ladder, None}
    assert set(workflow.check_assumptions(sample, table, 0.1).columns) == {"found", "holds", "then"}


def test_unreadable_files_are_named(tmp_path):
    path = tmp_path / "mine.csv"
    pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": ["x", "y", "z"]}).to_csv(path, index=False)
    with pytest.raises(ValueError, match="no column"):
        workflow.read_sample(str(path), "gaussian", columns=["nope"])
    with pytest.raises(ValueError, match="not numbers"):
        workflow.read_sample(str(path), "gaussian", columns=["a", "b"])
    with pytest.raises(ValueError, match="family must be"):
        workflow.read_sample(str(path), "cauchy")
    with pytest.raises(ValueError, match="one column"):
        workflow.read_sample("wine", "gamma")


@pytest.mark.parametrize("module", ["datasets", "exact", "workflow", "expansion"])
def test_examples_in_docstrings(module):
    found = doctest.testmod(importlib.import_module(f"loglik.information.pn_criterion.{module}"))
    assert found.failed == 0


# -- mutants -----------------------------------------------------------------------------------------------


def rejected(check, error=AssertionError):
    with pytest.raises(error):
        check()


def test_mutant_fourth_moment_in_the_place_of_the_cumulant(monkeypatch):
    """Dropping the products of covariances must break the normal closed form."""

    def moment(s, ws, V, K):
        A1, C3, C4 = original(s, ws, V, K)
        W = np.linalg.inv((s * ws[:, None]).T @ s)
        W = W @ V @ W
        G = (s * ws[:, None]).T @ s
        return A1, C3, C4 - np.trace(G @ W) ** 2 - 2 * np.trace(G @ W @ G @ W)

    original = expansion._contract
    test_normal_by_quadrature(1)
    monkeypatch.setattr(expansion, "_contract", moment)
    rejected(lambda: test_normal_by_quadrature(1))


def test_mutant_reversed_divergence(monkeypatch):
    """KL(fit ‖ projection) has A₂ = C₃/6 + C₄/8, for Poisson 1/(12λ): five times too small."""
    monkeypatch.setattr(
        expansion.RiskExpansion,
        "of",
        classmethod(lambda cls, A1, C3, C4, p: cls(A1, C3 / 6 + C4 / 8, C3, C4, p)),
    )
    rejected(lambda: test_poisson(3.0))


def test_mutant_likelihood_equation_not_differentiated(monkeypatch, wrong, by_autodiff):
    """Holding θ̂ to its straight line (θ̂″ = 0) loses the T̃T̃ terms."""
    family, theta, law = wrong

    def straight(compiled, point, directions):
        vector, fourth = original(compiled, point, directions)
        return 0 * vector if len(directions) > 16 else vector, fourth

    original = autodiff._chunked
    monkeypatch.setattr(autodiff, "_chunked", straight)
    found = pn.risk_coefficients_autodiff(family, theta, family.T, law)
    rejected(lambda: close(found, by_autodiff, 1e-6))


def test_mutant_p_over_two_on_skewed_data():
    """p/2n for everything: the wine data must tell it from ½ tr(G⁻¹V)."""
    family = full_normal(3)
    stats = family.suff_stat(family.normalise(pn.load_wine().to_numpy()[:, [3, 4, 6]]))
    population = pn.Population(stats)
    theta = family.fit(population.eta).theta
    right = pn.risk_coefficients_autodiff(family, theta, stats)
    found = pn.mc_risk(family, population, theta, 2000, 1000, False, np.random.default_rng(17))
    assert abs(found.mean - right.risk(2000)) < 4.5 * found.se + 0.1 * abs(right.A2) / 2000**2
    assert found.mean - family.p / 2 / 2000 > 20 * found.se
