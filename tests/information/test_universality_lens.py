"""The universality lens: exact identities, bounds, samplers against known posteriors, bad input, mutants.

Tests with random data are identities that hold for any seed, except those that say their false-alarm rate.
"""

from __future__ import annotations

import doctest
import importlib
from itertools import product

import jax
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import expit, k0, logsumexp
from scipy.stats import binom, chi2, multivariate_normal, norm

from loglik.information import universality_lens as ul
from loglik.information.universality_lens import boolean, hull, langevin, study, tempered, weights, workflow
from loglik.information.universality_lens import study_networks as nets

LAM = np.arange(1, 31.0) ** -1.5


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def small_network():
    network = ul.TanhNetwork(3, 4)
    X = np.random.default_rng(1).standard_normal((40, 3)) / 3**0.5
    return network, X


# -- weights and bounds --------------------------------------------------------------------------------------


def priors(n):
    return st.lists(st.floats(0.01, 1), min_size=n, max_size=n).map(lambda v: np.log(np.array(v) / sum(v)))


@given(st.lists(st.floats(0, 5), min_size=4, max_size=4), priors(4), st.floats(0, 1000))
def test_soft_bound_is_below_hard_bound_and_above_zero(d, prior, n):
    soft, hard = ul.soft_bound(d, prior, n), ul.hard_bound(d, prior, n)
    assert 0 <= soft <= hard.value + 1e-9
    assert float(hard.value) == pytest.approx(n * hard.eps - ul.log_weight(d, prior, hard.eps), abs=1e-9)


@given(st.lists(st.floats(0, 5), min_size=3, max_size=3), priors(3), st.floats(0, 6))
def test_weight_is_the_prior_mass_in_reach(d, prior, eps):
    wanted = sum(np.exp(prior)[np.array(d) <= eps])
    assert np.exp(ul.log_weight(d, prior, eps)) == pytest.approx(wanted, abs=1e-12)


def test_duplicates_merged_and_apart_agree(rng):
    d, prior = rng.exponential(size=5), np.log(rng.dirichlet(np.ones(5)))
    twice = np.repeat(d, 2), np.repeat(prior, 2) - np.log(2)
    n = np.array([0.0, 1.0, 50.0])
    np.testing.assert_allclose(ul.soft_bound(*twice, n), ul.soft_bound(d, prior, n), atol=1e-12)
    np.testing.assert_allclose(ul.hard_bound(*twice, n).value, ul.hard_bound(d, prior, n).value, atol=1e-12)


def test_an_infinite_divergence_is_never_the_best_radius():
    found = ul.hard_bound([1.0, np.inf], np.log([0.1, 0.9]), [0, 3])
    np.testing.assert_allclose(found.value, [-np.log(0.1), 3 - np.log(0.1)])


def test_jackknife_error_of_the_sampled_bound_covers(rng):
    """300 estimates from 400 draws: standardised errors have sd within 0.8 to 1.2 (false alarms: 1e-6)."""
    truth = 5 * np.log(1 + 2) / 2  # D = |theta|^2 / 2 in five dimensions, n = 2
    found = [ul.soft_bound_sampled((rng.standard_normal((400, 5)) ** 2).sum(1) / 2, 2.0) for _ in range(300)]
    z = np.array([(f.value - truth) / f.se for f in found])
    assert 0.8 < z.std() < 1.2
    assert abs(z.mean()) < 0.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ul.soft_bound([0.1, 0.2], np.log([0.4, 0.4]), 1), "sums to 0.8"),
        (lambda: ul.soft_bound([-0.1, 0.2], None, 1), "at least 0"),
        (lambda: ul.soft_bound([np.nan], None, 1), "NaN"),
        (lambda: ul.soft_bound([[0.1]], None, 1), "shape"),
        (lambda: ul.soft_bound([0.1], None, -1), "at least 0"),
        (lambda: ul.soft_bound([0.1], [0.0, 0.0], 1), "shape"),
        (lambda: ul.soft_bound_sampled([0.1], 1), "at least 2 draws"),
    ],
)
def test_bad_classes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# -- testbed A -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("a", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("truth", [0.0, 0.05, 0.3, 0.5])
def test_coin_regret_is_below_both_bounds_at_every_n(a, truth):
    model, n = ul.BernoulliMixture(a), np.arange(1, 501, 7)
    regret, soft, hard = model.regret(truth, n), model.soft_bound(truth, n), model.hard_bound(truth, n).value
    assert (regret <= soft * (1 + 1e-10)).all()
    assert (soft <= hard * (1 + 1e-9)).all()


def test_coin_regret_is_the_mean_over_all_sequences():
    model, truth = ul.BernoulliMixture(0.7), 0.3
    total = 0.0
    for x in product((0, 1), repeat=6):
        own = np.prod(np.where(x, truth, 1 - truth))
        mixture = quad(
            lambda t, x=x: np.prod(np.where(x, t, 1 - t)) * (t * (1 - t)) ** -0.3, 0, 1, epsabs=1e-13
        )[0]
        norm_ = quad(lambda t: (t * (1 - t)) ** -0.3, 0, 1)[0]
        total += own * np.log(own / (mixture / norm_))
    assert float(model.regret(truth, 6)) == pytest.approx(total, rel=1e-7)


def test_uniform_prior_at_the_edge_attains_the_bound():
    n = np.array([1, 10, 1000])
    model = ul.BernoulliMixture(1.0)
    np.testing.assert_allclose(model.regret(0.0, n), np.log(n + 1), rtol=1e-12)
    np.testing.assert_allclose(model.soft_bound(0.0, n), np.log(n + 1), rtol=1e-10)


def test_coin_chain_rule():
    model = ul.BernoulliMixture(0.5)
    for n in (1, 7, 100):
        assert model.batch_regret(0.2, np.arange(1, n + 1)).sum() == pytest.approx(
            float(model.regret(0.2, n)), rel=1e-10
        )


def test_coin_weight_by_counting_draws(rng):
    """40000 draws of the prior: within 5 standard errors (false alarms: 6e-7 a radius)."""
    theta = rng.beta(0.5, 0.5, 40_000)
    eps = np.array([0.01, 0.1, 0.5])
    share = (ul.binary_kl(0.3, theta)[:, None] <= eps).mean(0)
    w = np.exp(ul.BernoulliMixture(0.5).log_weight(0.3, eps))
    assert (np.abs(share - w) < 5 * np.sqrt(w * (1 - w) / 40_000)).all()


@pytest.mark.parametrize(
    "call", [lambda: ul.BernoulliMixture(0.05), lambda: ul.BernoulliMixture(0.5).regret(1.2, 3)]
)
def test_bad_coins_are_named(call):
    with pytest.raises(ValueError, match=r"a must be at least|chance in"):
        call()


# -- testbed B -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [5, 60])
def test_linear_regret_is_a_divergence_of_normals(rng, n):
    """Both the n- and the d-dimensional formula, against the textbook divergence of two normals."""
    model, theta = ul.LinearGaussianMixture(LAM, 0.7, 1.3), rng.standard_normal(30)
    X = rng.standard_normal((n, 30)) * np.sqrt(LAM)
    cov = 1.3 * np.eye(n) + 0.7 * X @ X.T
    inverse = np.linalg.inv(cov)
    mean = X @ theta
    wanted = (
        1.3 * np.trace(inverse) + mean @ inverse @ mean - n + np.linalg.slogdet(cov)[1] - n * np.log(1.3)
    ) / 2
    assert model.regret(theta, X) == pytest.approx(wanted, rel=1e-8)
    assert np.cumsum(model.regrets(theta, X))[-1] == pytest.approx(wanted, rel=1e-8)


def test_linear_regret_by_sampling(rng):
    """20000 data sets: the mean log ratio within 5 standard errors of the formula (false alarms: 6e-7)."""
    model, theta = ul.LinearGaussianMixture(LAM), rng.standard_normal(30)
    X = rng.standard_normal((4, 30)) * np.sqrt(LAM)
    y = X @ theta + rng.standard_normal((20_000, 4))
    ratio = norm.logpdf(y - X @ theta).sum(1) - multivariate_normal.logpdf(
        y, np.zeros(4), np.eye(4) + X @ X.T
    )
    assert abs(ratio.mean() - model.regret(theta, X)) < 5 * ratio.std() / np.sqrt(20_000)


def test_linear_mean_regret_is_below_the_soft_bound(rng):
    """60 designs: one-sided 4 standard errors (false alarms: 3e-5 at most, since the bound is not tight)."""
    model, theta = ul.LinearGaussianMixture(LAM), 3 * np.eye(1, 30, 4)[0]
    regrets = [
        np.cumsum(model.regrets(theta, rng.standard_normal((50, 30)) * np.sqrt(LAM))) for _ in range(60)
    ]
    excess = np.mean(regrets, 0) - model.soft_bound(theta, np.arange(1, 51))
    assert (excess < 4 * np.std(regrets, 0) / np.sqrt(60)).all()


def test_saddlepoint_is_the_chi_square_for_equal_features():
    model, eps = (
        ul.LinearGaussianMixture(np.ones(10)),
        np.array([0.01, 0.1, 1.0, 4.0, 4.999, 5.0, 5.001, 8.0]),
    )
    found = model.log_weight(np.zeros(10), eps)
    np.testing.assert_allclose(found, chi2.logcdf(2 * eps, 10), rtol=0.02)


def test_saddlepoint_agrees_with_tilted_sampling(rng):
    """20000 draws: within 0.06 in log, the saddlepoint's own error (brief: up to 0.06); no false alarms by noise."""
    model, theta = ul.LinearGaussianMixture(np.arange(1, 201.0) ** -2), 5 * np.eye(1, 200, 4)[0]
    eps = np.array([0.05, 0.3])
    tilted = model.log_weight(theta, eps, "tilted", rng)
    np.testing.assert_allclose(model.log_weight(theta, eps), tilted, atol=0.09)


def test_soft_bound_is_the_integral_of_the_energy():
    model, theta = ul.LinearGaussianMixture(LAM), np.linspace(-1, 1, 30)
    area = quad(lambda b: float(model.energy(theta, b)), 0, 50, epsabs=1e-10)[0]
    assert float(model.soft_bound(theta, 50)) == pytest.approx(area, rel=1e-8)
    ladder = ul.beta_ladder(256, 12)
    found = ul.integrate_energy(ladder, model.energy(theta, ladder), 256)
    assert found == pytest.approx(float(model.soft_bound(theta, 256)), rel=0.003)


def test_hard_bound_of_the_regression_is_above_the_soft_one():
    model, theta, n = ul.LinearGaussianMixture(LAM), np.eye(1, 30)[0], np.array([1, 10, 100, 1000])
    assert (model.hard_bound(theta, n).value >= model.soft_bound(theta, n)).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ul.LinearGaussianMixture([1.0, -1.0]), "positive feature variances"),
        (lambda: ul.LinearGaussianMixture([1.0], tau2=0.0), "tau2"),
        (lambda: ul.LinearGaussianMixture([1.0]).regret([1.0], [[1.0, 2.0]]), "shape"),
        (lambda: ul.LinearGaussianMixture([1.0]).soft_bound([1.0, 2.0], 3), "theta0"),
        (lambda: ul.LinearGaussianMixture([1.0]).log_weight([1.0], 0.0), "above 0"),
        (lambda: ul.LinearGaussianMixture([1.0]).log_weight([1.0], 0.1, "crude"), "method"),
    ],
)
def test_bad_regressions_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# -- testbed C -----------------------------------------------------------------------------------------------


def test_one_factor_is_the_normal_model():
    model, n = ul.ProductMixture(1), np.array([1.0, 100.0, 1e6])
    for u0 in (0.0, 2.0):
        wanted = np.log1p(n) / 2 + n * u0**2 / (2 * (1 + n))
        np.testing.assert_allclose(model.soft_bound(u0, n), wanted, rtol=1e-6)
    regret = (np.log1p(n) + 1 / (1 + n) - 1) / 2
    np.testing.assert_allclose(model.regret(0.0, n), regret, rtol=1e-5)


def test_two_factors_have_the_bessel_density():
    wanted = -np.log(2 * quad(lambda u: k0(u) / np.pi * np.exp(-50 * u**2 / 2), 0, 20, epsabs=1e-12)[0])
    assert float(ul.ProductMixture(2).soft_bound(0.0, 50)) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_product_weight_by_counting_draws(rng, depth):
    """40000 draws: within 5 standard errors (false alarms: 6e-7 a radius)."""
    u = np.prod(rng.standard_normal((40_000, depth)), axis=1)
    for u0 in (0.0, 1.0):
        eps = np.array([0.01, 0.2])
        share = ((u[:, None] - u0) ** 2 / 2 <= eps).mean(0)
        w = np.exp(ul.ProductMixture(depth).log_weight(u0, eps))
        assert (np.abs(share - w) < 5 * np.sqrt(w * (1 - w) / 40_000)).all()


def test_singular_slopes_follow_the_theorem():
    ends = study.singular_slopes((1, 2, 3, 4), (1e8, 1e12))
    np.testing.assert_allclose(ends.corrected, 0.5, atol=0.03)
    assert (np.diff(ends.raw) < 0).all()


def test_bad_depths_are_named():
    with pytest.raises(ValueError, match="between 1 and 8"):
        ul.ProductMixture(9)
    with pytest.raises(TypeError, match="int"):
        ul.ProductMixture(2.0)


# -- testbed D -----------------------------------------------------------------------------------------------


def all_tables(cells):
    return ((np.arange(2**cells)[:, None] >> np.arange(cells)) & 1).astype(bool)


def test_lookup_mixture_is_the_brute_force_mixture(rng):
    tables, flip = all_tables(4), 0.2
    ones, zeros = rng.integers(0, 4, (2, 3, 4)).astype(float)
    wrong = (tables[:, None] * zeros + ~tables[:, None] * ones).sum(-1)
    n = (ones + zeros).sum(-1)
    brute = logsumexp(wrong * np.log(flip) + (n - wrong) * np.log(1 - flip), axis=0) - np.log(16)
    mixture = ul.LookupTableMixture(4, flip)
    counts = ul.Counts(ones, zeros)
    np.testing.assert_allclose(mixture.log_marginal(counts), brute, rtol=1e-10)
    posterior = np.exp(wrong * np.log(flip) + (n - wrong) * np.log(1 - flip) - np.log(16) - brute)
    predicted = np.einsum("hr,hc->rc", posterior, np.where(tables, 1 - flip, flip))
    np.testing.assert_allclose(mixture.predict(counts), predicted, rtol=1e-10)


def test_lookup_bounds_are_those_of_the_finite_class():
    tables, flip = all_tables(6), 0.1
    d = (tables != tables[11]).mean(1) * ul.flip_divergence(flip)
    mixture, n = ul.LookupTableMixture(6, flip), np.array([0.0, 3.0, 40.0])
    np.testing.assert_allclose(mixture.soft_bound(n), ul.soft_bound(d, None, n), atol=1e-10)
    np.testing.assert_allclose(mixture.log_weight([0.2, 1.0]), ul.log_weight(d, None, [0.2, 1.0]), atol=1e-10)
    whole = ul.BooleanMixture(tables, np.ones(64), flip)  # lookup half and network half are the same class
    np.testing.assert_allclose(whole.soft_bound(tables[11], n), mixture.soft_bound(n), atol=1e-6)


def test_boolean_regret_is_that_of_the_sequential_mixture(rng):
    tables, flip, target = all_tables(4), 0.1, np.array([1, 0, 0, 1], dtype=bool)
    prior = rng.dirichlet(np.ones(16))
    x, noise = rng.integers(0, 4, (20, 5)), rng.random((20, 5)) < flip
    y = target[x] ^ noise
    sequential = ul.FiniteMixture(
        np.log(prior), lambda pair: np.log(np.where(pair[1][:, None] == tables[:, pair[0]].T, 1 - flip, flip))
    )
    own = lambda pair: np.log(np.where(target[pair[0]] == pair[1], 1 - flip, flip))  # noqa: E731
    wanted = sequential.cumulative_regret(own, list(zip(x, y, strict=True)))[-1]
    cells = np.arange(4)[:, None, None]
    ones, zeros = ((x == cells) & y).sum(1).T, ((x == cells) & ~y).sum(1).T
    found = ul.BooleanMixture(tables, prior, flip, lookup_share=0.0).regret(target, ul.Counts(ones, zeros))
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_symmetries_equal_the_explicit_larger_class(rng):
    packed, drawn = ul.random_boolean_networks(3, (4,), 40, rng)
    functions, symmetries = ul.unpack(packed, 8), ul.literal_symmetries(3)
    inverse = np.argsort(symmetries.cells, axis=1)
    images = [functions[:, cells] ^ flip for cells, flip in zip(inverse, symmetries.negated, strict=True)]
    small = ul.BooleanMixture(functions, drawn, 0.1, symmetries=symmetries)
    large = ul.BooleanMixture(np.concatenate(images), np.tile(drawn, 6), 0.1)
    target = rng.random(8) < 0.5
    counts = ul.draw_counts(target, 0.1, [5, 30], 4, rng)
    for part in counts:
        np.testing.assert_allclose(small.regret(target, part), large.regret(target, part), atol=1e-9)
        np.testing.assert_allclose(small.lookup_mass(part), large.lookup_mass(part), atol=1e-9)
    np.testing.assert_allclose(
        small.soft_bound(target, [3, 30]), large.soft_bound(target, [3, 30]), atol=1e-9
    )
    mass = small.posterior_by_count(counts[0], drawn, (1, 2, 10**6))
    np.testing.assert_allclose(mass.sum(1), 1, atol=1e-9)


def test_symmetries_permute_cells_and_keep_the_literals():
    symmetries, on = ul.literal_symmetries(3), ul.boolean_inputs(3) > 0
    assert (np.sort(symmetries.cells, axis=1) == np.arange(8)).all()
    images = {(on[:, 0][c] ^ f).tobytes() for c, f in zip(*symmetries, strict=True)}
    literals = {(on[:, j] ^ f).tobytes() for j in range(3) for f in (False, True)}
    assert images == literals


def test_dilution_costs_at_most_the_log_of_its_factor(rng):
    packed, drawn = ul.random_boolean_networks(4, (6,), 200, rng)
    functions = ul.unpack(packed, 16)
    targets = {"in": functions[0], "out": ul.boolean_inputs(4).prod(1) > 0}
    table = study.dilution_study(functions, drawn, targets, (1, 9), [4, 60], 0.1, 6, rng)
    assert (table.extra <= np.log1p(table.J) + 1e-9).all()


def test_networks_are_counted_once_and_packed_right(rng):
    packed, drawn = ul.random_boolean_networks(3, (5, 5), 300, rng)
    functions = ul.unpack(packed, 8)
    assert drawn.sum() == 300
    assert len(np.unique(functions, axis=0)) == len(functions) == len(drawn)
    assert boolean.n_parameters(7, (40, 40)) == 2001
    assert boolean.n_parameters(7, (160, 160)) == 27_201


def test_regrets_stay_below_the_bound_for_parity(rng):
    """40 data sets: one-sided 4 standard errors; the bound is far (false alarms below 1e-5)."""
    packed, drawn = ul.random_boolean_networks(4, (6,), 300, rng)
    mixture = ul.BooleanMixture(ul.unpack(packed, 16), drawn, 0.1)
    parity = ul.named_targets(4, rng)["parity"]
    for n, counts in zip((5, 50), ul.draw_counts(parity, 0.1, [5, 50], 40, rng), strict=True):
        regret = mixture.regret(parity, counts)
        assert regret.mean() < mixture.soft_bound(parity, n) + 4 * regret.std() / np.sqrt(40)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ul.BooleanMixture([[True, False]], [0], 0.1), "positive"),
        (lambda: ul.BooleanMixture([[True, False]], [1], 0.7), "between 0 and 1/2"),
        (lambda: ul.BooleanMixture([[True, False]], [1], 0.1, lookup_share=1.0), "lookup_share"),
        (lambda: ul.BooleanMixture([[True, False]], [1], 0.1).soft_bound([True], 3), "2 cells"),
        (lambda: ul.random_boolean_networks(3, (), 5, np.random.default_rng()), "at least one layer"),
        (lambda: ul.random_boolean_networks(3, (2,), 0, np.random.default_rng()), "n_draws"),
        (lambda: ul.draw_counts([True], 0.1, [5, 3], 2, np.random.default_rng()), "rise"),
        (lambda: ul.LookupTableMixture(0, 0.1), "n_cells"),
        (lambda: ul.boolean_inputs(0), "k must"),
    ],
)
def test_bad_boolean_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# -- mixtures and the chain rule -----------------------------------------------------------------------------


def test_finite_mixture_predicts_by_the_posterior():
    coins = np.array([0.2, 0.8])
    mixture = ul.FiniteMixture(np.log([0.5, 0.5]), lambda x: np.log(np.where(x, coins, 1 - coins)))
    mixture.update(True)
    np.testing.assert_allclose(np.exp(mixture.log_posterior), [0.2, 0.8])
    assert np.exp(mixture.predict(True)) == pytest.approx(0.68)
    assert mixture.cumulative_regret(lambda x: 0.0, []).tolist() == [0.0]


def test_finite_mixture_names_a_wrong_loglik():
    mixture = ul.FiniteMixture(np.log([0.5, 0.5]), lambda x: np.zeros(3))
    with pytest.raises(ValueError, match="2 hypotheses"):
        mixture.predict(0)


def test_chain_rule_on_three_testbeds(rng):
    assert (study.chain_rule(rng).difference < 1e-10).all()


def test_boolean_and_sequential_regret_agree_over_all_data_sets(rng):
    online, supervised = study.four_cell_regrets(2, 0.25, rng)
    assert online == pytest.approx(supervised, rel=1e-12)
    assert online > 0


# -- the hull ------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0.01, 1), min_size=7, max_size=7))
@settings(max_examples=30, deadline=None)
def test_projection_is_uniformly_better(raw):
    Q = np.array(raw) / sum(raw)
    _, P = study.coin_class(6, 49)
    found = ul.project_on_hull(Q, P, 1e-7)
    assert found.gap < 1e-7
    assert found.weights.sum() == pytest.approx(1)
    np.testing.assert_allclose(found.weights @ P, found.Q_prime, atol=1e-12)
    moved = hull.divergences(found.Q_prime[None], Q)[0]
    slack = hull.divergences(P, Q) - hull.divergences(P, found.Q_prime) - moved
    assert (slack >= -found.gap - 1e-12).all()


def test_a_member_of_the_hull_projects_on_itself():
    _, P = study.coin_class(8)
    Q = 0.3 * P[20] + 0.7 * P[150]
    found = ul.project_on_hull(Q, P, 1e-9)
    np.testing.assert_allclose(found.Q_prime, Q, atol=1e-5)


def test_normalised_ml_is_in_the_hull(rng):
    table = study.projection_study(8, rng)
    assert table[table.learner == "normalised ML"].distance.max() < 1e-8


def test_capacity_of_a_symmetric_channel():
    P = np.array([[0.9, 0.1], [0.1, 0.9]])
    entropy = -(0.9 * np.log(0.9) + 0.1 * np.log(0.1))
    found = ul.blahut_arimoto(P, 1e-9)
    assert found.value == pytest.approx(np.log(2) - entropy, abs=1e-8)
    np.testing.assert_allclose(found.prior, 0.5, atol=1e-6)


def test_few_truths_pay_little():
    found = study.capacity_study(60, np.linspace(0.05, 1, 10), (0.5, 0.1), tol=1e-2)
    assert (found.shares.share <= found.shares.bound + 1e-9).all()
    assert found.capacity.value <= found.capacity.worst


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ul.project_on_hull([0.5, 0.4], [[0.5, 0.5]]), "summing to 1"),
        (lambda: ul.project_on_hull([1.0, 0.0], [[0.5, 0.5]]), "positive where P is"),
        (lambda: ul.blahut_arimoto([[0.5, 0.6]]), "summing to 1"),
    ],
)
def test_bad_distributions_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# -- networks and samplers -----------------------------------------------------------------------------------


def test_divergence_is_zero_at_the_truth_and_the_binary_one_elsewhere(small_network):
    network, X = small_network
    a, b = np.random.default_rng(0).standard_normal((2, network.dim)).astype(np.float32)
    za, zb = (np.asarray(network.logits(t, X.astype(np.float32)), dtype=float) for t in (a, b))
    truth = (X.astype(np.float32), za.astype(np.float32))
    assert float(network.divergence(a, truth)) == pytest.approx(0, abs=1e-6)
    wanted = ul.binary_kl(expit(za), expit(zb)).mean()
    assert float(network.divergence(b, truth)) == pytest.approx(wanted, rel=1e-4)


def test_curvature_at_zero_is_that_of_the_output_bias(small_network):
    """At theta = 0 only the output bias acts: J has the one entry 1/4."""
    network, X = small_network
    found = network.fisher_log_volume(np.zeros(network.dim), X, 100)
    assert found == pytest.approx(np.log(1 + 100 / 4) / 2, rel=1e-5)


def test_sgld_samples_a_known_posterior():
    """64 chains on regression, step 0.002: means within 0.25 sd, spread within 15 % (brief: 0.18 and 7 % at 0.003).

    The mean over chains and draws has a Monte-Carlo error of at most 1/8 sd even if each chain counts once,
    so a mean off by 0.5 sd is a 4-sigma event (false alarms: below 1e-3 over ten directions, far below in fact).
    """
    table = nets.linear_posterior_check(
        (0.002,), d=60, n=64, chains=64, steps=4000, rng=np.random.default_rng(5)
    )
    assert table.mean_error.abs().max() < 0.5
    assert (table.sd_ratio - 1).abs().max() < 0.15


def test_sgld_without_data_noise_keeps_the_prior():
    """A flat likelihood: 2000 draws of N(0, 1) by 500 chains; variance within 15 % (false alarms: below 1e-6)."""
    run = ul.sgld(
        ul.normal_prior_grad, lambda t, b: 0.0 * t, np.zeros((500, 4)), (np.zeros((3, 1)),), steps=400, batch=2,
        step_size=0.05, key=jax.random.key(0), thin=100, burn=0.5,
    )  # fmt: skip
    assert run.samples.shape == (2, 500, 4)
    assert np.var(run.samples) == pytest.approx(1 / (1 - 0.05 / 4), rel=0.15)


def test_batches_are_unbiased_and_repeat_short_data():
    """With two rows and a batch of four each row counts twice, so the gradient is the full one, exactly."""
    rows = np.array([[1.0], [3.0]])
    run = ul.sgld(
        lambda t: 0.0 * t, lambda t, b: b[0].sum(0) + 0 * t, np.zeros((2000, 1)), (rows,), steps=1, batch=4,
        step_size=1e-4, key=jax.random.key(0), thin=1, burn=0.0,
    )  # fmt: skip
    noise = np.asarray(run.samples)[0, :, 0]
    # theta = eta/2 * 4 + sqrt(eta) xi; 2000 chains, within 5 standard errors (false alarms: 6e-7)
    assert abs(noise.mean() - 2e-4) < 5 * 0.01 / np.sqrt(2000)


def test_a_diverging_chain_gets_advice():
    with pytest.raises(ul.SamplingError, match="halve step_size"):
        ul.sgld(
            ul.normal_prior_grad, lambda t, b: -1e4 * t, np.ones((3, 2)), (np.ones((5, 1)),), steps=300, batch=5,
            step_size=1.0, key=jax.random.key(0),
        )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"theta0": np.ones(2)}, r"\(chains, d\)"),
        ({"steps": 0}, "at least 1"),
        ({"burn": 1.0}, "burn"),
        ({"step_size": -0.1}, "positive"),
        ({"step_size": np.ones(7)}, "shape"),
        ({"data": ()}, "at least one array"),
        ({"data": (np.ones((5, 1)), np.ones(4))}, "agree"),
        ({"sizes": [9, 9, 9], "data": (np.ones((3, 5, 1)),)}, "between 1 and 5"),
    ],
)
def test_bad_runs_are_named(change, message):
    given_ = {
        "theta0": np.ones((3, 2)),
        "data": (np.ones((5, 1)),),
        "steps": 40,
        "batch": 2,
        "step_size": 0.1,
    } | change
    theta0, data = given_.pop("theta0"), given_.pop("data")
    with pytest.raises(ValueError, match=message):
        ul.sgld(ul.normal_prior_grad, lambda t, b: 0 * t, theta0, data, key=jax.random.key(0), **given_)


def test_prediction_averages_probabilities(small_network):
    network, X = small_network
    samples = np.random.default_rng(0).standard_normal((3, 4, network.dim)).astype(np.float32)
    found = ul.sgld_predict(samples, network.proba, X, 2)
    each = [[np.asarray(network.proba(t, X.astype(np.float32))) for t in draw] for draw in samples]
    wanted = np.mean(each, axis=0).reshape(2, 2, -1).mean(1)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    with pytest.raises(ValueError, match="don't split"):
        ul.sgld_predict(samples, network.proba, X, 3)


def test_tempered_chains_integrate_to_the_closed_form():
    """12 chains on regression with 40 features: within 5 standard errors and 4 % (false alarms: 4e-4 by t with 11 df)."""
    energy, closed, exact = nets.tempered_check(
        40, 64.0, 9, chains=12, steps=60, rng=np.random.default_rng(3)
    )
    found = energy.soft_bound(64)
    assert abs(found.value - closed) < max(5 * found.se, 0.01 * closed)
    assert abs(found.value / closed - 1) < 0.04
    assert ul.integrate_energy(energy.betas, exact, 64.0) == pytest.approx(closed, rel=0.005)
    coefficient = energy.learning_coefficient(64)
    assert coefficient.value == pytest.approx(64 * exact[-1], rel=0.08)


@pytest.mark.parametrize(
    ("betas", "chains", "message"),
    [
        ([1, 2, 3, 4], 2, "rise from 0"),
        ([0, 2, 1, 3], 2, "rise from 0"),
        ([0, 1, 2, 3], 1, "at least 2 chains"),
    ],
)
def test_bad_ladders_are_named(betas, chains, message):
    with pytest.raises(ValueError, match=message):
        ul.tempered_energy(lambda t, d: t @ t, 2, betas, chains=chains, steps=9, key=jax.random.key(0))
    with pytest.raises(ValueError, match="at least 4 betas"):
        ul.beta_ladder(10, 3)


def test_map_solves_its_normal_equations(small_network):
    """At the minimum the gradient of the penalised loss vanishes."""
    network, X = small_network
    y = (X[:, 0] > 0).astype(float)
    fit = ul.fit_networks(
        network, 0.1 * np.ones((1, network.dim)), X[None], y[None], np.ones((1, 40)), steps=3000, prior=1.0
    ).final[0]
    gradient = np.asarray(network.loglik_grad(fit, (X.astype(np.float32), y.astype(np.float32)))) - fit
    assert np.abs(gradient).max() < 0.05


def test_student_imitates_a_member_of_the_class(small_network):
    network, X = small_network
    target = np.asarray(
        network.proba(np.full(network.dim, 0.5, np.float32), X.astype(np.float32)), dtype=float
    )
    student = ul.distill(network, 0.1 * np.ones((1, network.dim)), X, target[None], steps=1500)
    found = ul.sgld_predict(student[None], network.proba, X)[0]
    assert ul.binary_kl(target, found).mean() < 1e-3
    with pytest.raises(ValueError, match="probabilities"):
        ul.distill(network, np.zeros((1, network.dim)), X, 2 * np.ones((1, 40)))


def test_early_stopping_average_and_regret_helpers():
    table = pd.DataFrame(
        {"teacher": "t", "rep": 0, "n": [2, 4], "method": nets.MIXTURE, "regret": [0.2, 0.1]}
    )
    pop = nets.Population(np.zeros((1, 1)), {"t": np.array([0.5])}, {})
    average = nets.average_regret(table, pop, np.array([0.5]), 4).average.iloc[0]
    assert average == pytest.approx((0.2 * 2 / 2 + 0.3 * 2 / 2) / 4)


# -- the reader's table --------------------------------------------------------------------------------------


def make_csv(tmp_path, n=60):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.standard_normal(n), "kind": rng.choice(["x", "z"], n), "flat": 1.0})
    table["label"] = np.where(table.a + rng.standard_normal(n) > 0, "yes", "no")
    table.loc[0, "a"] = np.nan
    path = tmp_path / "table.csv"
    table.to_csv(path, index=False)
    return str(path)


def test_table_is_read_with_dummies_and_without_gaps(tmp_path):
    found = workflow.read_table(make_csv(tmp_path), "label", "no")
    assert found.labels == ("yes", "no")
    assert list(found.X.columns) == ["a", "kind_z"]
    assert (len(found.y), found.dropped) == (59, 1)
    with pytest.raises(ValueError, match="no column"):
        workflow.read_table(make_csv(tmp_path), "labels")
    with pytest.raises(ValueError, match="exactly two classes"):
        workflow.read_table(make_csv(tmp_path), "a")
    with pytest.raises(ValueError, match="has the classes"):
        workflow.read_table(make_csv(tmp_path), "label", "maybe")


def test_classifier_learns_and_reports(tmp_path):
    table = workflow.read_table(make_csv(tmp_path), "label")
    labels = np.array(table.labels)[table.y]
    model = ul.SGLDMixtureClassifier(4, chains=3, steps=600, random_state=0).fit(table.X, labels)
    proba = model.predict_proba(table.X)
    np.testing.assert_allclose(proba.sum(1), 1)
    assert workflow.log_loss(table.y, proba[:, 1]) < np.log(2)
    assert set(model.predict(table.X)) <= {"no", "yes"}
    again = ul.SGLDMixtureClassifier(4, chains=3, steps=600, random_state=0).fit(table.X, labels)
    np.testing.assert_array_equal(again.predict_proba(table.X), proba)
    diagnostics = model.diagnostics(table.X, 5)
    assert len(diagnostics) == 5
    assert np.isfinite(diagnostics.to_numpy()).all()
    np.testing.assert_allclose(model.draws_proba(table.X).mean((0, 1)), proba[:, 1], atol=1e-5)


@pytest.mark.parametrize(
    ("y", "chains", "message"),
    [
        ([0, 1, 2, 0], 2, "binary"),
        ([1, 1, 1, 1], 2, "1 class"),
        ([0, 1, 0, 1], 1, "chains must be at least 2"),
    ],
)
def test_classifier_names_bad_input(y, chains, message):
    with pytest.raises(ValueError, match=message):
        ul.SGLDMixtureClassifier(chains=chains, steps=20).fit(np.arange(8.0).reshape(4, 2), y)


def test_expected_gap_is_zero_for_calibrated_predictions(rng):
    """20000 labels from their own probabilities: within 5 standard errors (false alarms: 6e-7)."""
    p = rng.uniform(0.02, 0.98, 20_000)
    gap, se = workflow.expected_gap((rng.random(20_000) < p).astype(int), p)
    assert abs(gap) < 5 * se
    assert (
        workflow.expected_gap((rng.random(20_000) < p).astype(int), expit(3 * np.log(p / (1 - p))))[0] > 0.05
    )


def test_inputs_are_scaled_and_unknown_ones_named():
    found = ul.load_inputs("cancer")
    np.testing.assert_allclose((found.X**2).sum(1).mean(), 1)
    assert ul.load_inputs("digits", 50).X.shape == (50, 64)
    with pytest.raises(ValueError, match="allowed: cancer"):
        ul.load_inputs("iris")


def test_mnist_without_a_network_names_the_alternative(monkeypatch):
    def refuse(*_, **__):
        raise OSError("no route")

    monkeypatch.setattr("loglik.information.universality_lens.datasets.fetch_openml", refuse)
    with pytest.raises(OSError, match="'digits'"):
        ul.load_inputs("mnist")


# -- mutants -------------------------------------------------------------------------------------------------


def test_mutant_class_size_in_place_of_weight_is_caught(monkeypatch):
    """A bound that charges log H breaks the identity with the closed form of the lookup tables."""
    monkeypatch.setattr(weights, "logsumexp", lambda values, axis: values.max(axis) - np.log(len(values)))
    tables = all_tables(6)
    d = (tables != tables[11]).mean(1) * ul.flip_divergence(0.1)
    wrong = weights.soft_bound(d, None, np.array([5.0]))
    assert abs(wrong - ul.LookupTableMixture(6, 0.1).soft_bound(5.0)).max() > 0.1


def test_mutant_langevin_noise_without_its_root_is_caught(monkeypatch):
    """Noise of standard deviation eta in place of its root: the prior's variance of 1 shrinks to about eta."""
    monkeypatch.setattr(langevin.jnp, "sqrt", lambda size: size)
    run = ul.sgld(
        lambda t: -t, lambda t, b: 0.0 * t, np.zeros((500, 4)), (np.zeros((3, 1)),), steps=400, batch=2,
        step_size=0.05, key=jax.random.key(0), thin=100,
    )  # fmt: skip
    assert np.var(run.samples) < 0.1


def test_mutant_averaged_logits_are_not_the_mixture(small_network):
    network, X = small_network
    samples = 3 * np.random.default_rng(0).standard_normal((40, 1, network.dim)).astype(np.float32)
    mixture = ul.sgld_predict(samples, network.proba, X)[0]
    logits = ul.sgld_predict(samples, network.logits, X)[0]
    assert np.abs(mixture - expit(logits)).max() > 0.02


def test_mutant_projection_on_the_nearest_member_is_caught():
    """The nearest member of the class, in place of the nearest mixture, is not better for every truth."""
    _, P = study.coin_class(6, 49)
    Q = np.array([3.0, 1, 1, 3, 1, 1, 3]) / 13
    vertex = P[hull.rel_entr(P, Q).sum(1).argmin()]
    slack = hull.divergences(P, Q) - hull.divergences(P, vertex) - hull.divergences(vertex[None], Q)
    assert slack.min() < -1e-3


@pytest.mark.parametrize("name", ["weights", "finite"])
def test_examples_in_the_docstrings(name):
    module = importlib.import_module(f"loglik.information.universality_lens.{name}")
    assert doctest.testmod(module).failed == 0


def test_exact_laws_of_the_coin_class():
    theta, P = study.coin_class(5, 9)
    np.testing.assert_allclose(P[4], binom.pmf(np.arange(6), 5, theta[4]))
    assert tempered.beta_ladder(100, 6)[0] == 0
