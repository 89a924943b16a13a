"""PaRIS particle Gibbs: enumeration, exact Gaussian answers, properties, bad input, and mutants that must be caught.

Keys are fixed, so a passing test passes always; the false-alarm rate beside a statistical test is the chance
that another key would fail it. Compilation takes most of the time, so tests share sizes.
"""

from __future__ import annotations

import dataclasses
import doctest
from functools import partial

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.tsa.statespace.mlemodel import MLEModel

from loglik.sampling.parisian_particle_gibbs import (
    ChaoticRNN,
    DistributionModel,
    FiniteHMM,
    GaussianMeanField,
    LinearGaussianModel,
    Pair,
    StateSpaceModel,
    StochasticVolatility,
    compiling,
    conditional_paris,
    datasets,
    enumerate_sweep,
    exact_additive,
    figures,
    kalman_loglik,
    kalman_smoother,
    kernel,
    markov_score_climbing,
    models,
    paris,
    particle_em,
    posterior_paths,
    power_steps,
    ppg,
    score_ascent,
    score_functional,
    simulate,
    smoothing,
    study,
    sweep_cloud,
    workflow,
)
from loglik.sampling.parisian_particle_gibbs.exact import volatility_loglik

COIN = FiniteHMM([0.6, 0.4], [[0.7, 0.3], [0.2, 0.8]], [[0.8, 0.2], [0.3, 0.7]])
SYMBOLS = [0, 1, 1]
RUNS = 10_000  # chains an enumeration test spends on each reference path


def weighted(pair):
    """A functional that no symmetry of the coin helps."""
    return pair.x * pair.x_next + 0.3 * pair.x_next - 0.1 * pair.x


@pytest.fixture(scope="module")
def line():
    model = LinearGaussianModel.scalar(0.9, 0.6, 0.3)
    return model, simulate(model, 30, jax.random.key(3))[1]


@pytest.fixture(scope="module")
def plane():
    rng = np.random.default_rng(0)
    A, B, L = rng.normal(size=(2, 2)) * 0.4, rng.normal(size=(3, 2)), rng.normal(size=(2, 2))
    model = LinearGaussianModel(
        A, B, L @ L.T + np.eye(2), np.diag([0.5, 1.0, 2.0]), rng.normal(size=2), 2 * np.eye(2)
    )
    return model, rng.normal(size=(12, 3))


@pytest.fixture(scope="module")
def enumerated():
    return enumerate_sweep(COIN, SYMBOLS, weighted, 2)


# -- the sweep against enumeration -------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3])
def test_the_enumerated_kernel_is_exact(n):
    e = enumerate_sweep(COIN, SYMBOLS, weighted, n)
    np.testing.assert_allclose(e.kernel.sum(1), 1, atol=1e-12)
    np.testing.assert_allclose(e.posterior @ e.kernel, e.posterior, atol=1e-12)
    np.testing.assert_allclose(e.posterior @ e.expected_estimate, e.posterior @ e.functional, atol=1e-12)
    assert e.second_eigenvalue < 0.7


def laws(e, sweep=None, runs=RUNS):
    """z-scores of the law of the new path and of the mean estimate, for every reference path."""
    zeta = np.repeat(e.paths[:, :, None].astype(float), runs, axis=0)
    estimate, new = (sweep or library_sweep)(zeta, jax.random.key(0))
    codes = (new[..., 0].round().astype(int) @ [4, 2, 1]).reshape(8, runs)
    shares = np.stack([np.bincount(c, minlength=8) for c in codes]) / runs
    estimate = estimate.reshape(8, runs)
    z_mean = (estimate.mean(1) - e.expected_estimate[:, 0]) / (estimate.std(1) / np.sqrt(runs))
    return (shares - e.kernel) / np.sqrt(e.kernel * (1 - e.kernel) / runs), z_mean


def library_sweep(zeta, key):
    return conditional_paris(COIN, SYMBOLS, weighted, zeta, 2, key=key)


def test_monte_carlo_sweeps_follow_the_enumerated_law(enumerated):
    """64 probabilities and 8 means, 4.5 standard errors each (false alarms: 5e-4)."""
    z_law, z_mean = laws(enumerated)
    assert np.abs(z_law).max() < 4.5
    assert np.abs(z_mean).max() < 4.5


def raw_sweep(zeta, key):
    """The kernel compiled anew, so that a patched function takes effect."""
    y = jnp.asarray(SYMBOLS, float)[:, None]

    def one(key, path):
        out = kernel.sweep(
            key,
            COIN,
            y,
            path,
            jnp.asarray(True),
            None,
            h=weighted,
            n_particles=2,
            n_backward=2,
            method="exact",
        )
        return out.estimate, out.path

    fast = jax.jit(jax.vmap(one), compiler_options=compiling.effort(0))
    estimate, path = fast(jax.random.split(key, len(zeta)), jnp.asarray(zeta, jnp.float32))
    return np.asarray(estimate, float), np.asarray(path, float)


def _skip_pinned_draw(h, pair, statistics, draws):
    """Toy error: the pinned particle's statistic follows its own path."""
    right = RIGHT["update_statistics"](h, pair, statistics, draws)
    own = statistics[0] + h(pair._replace(x=pair.x[0], x_next=pair.x_next[0]))
    return jnp.where((jnp.arange(len(right)) == 0)[:, None], own, right)


def _systematic(model, key, t, x, ancestors):
    """Toy error: the pinned slot takes part in a deterministic resampling of the others."""
    return model.sample_transition(key, t, x[(jnp.arange(len(x)) + 1) % len(x)])


def _resample_reference(particles, reference, pinned):
    """Toy error: the reference survives only at the start."""
    return jnp.where(reference[0] == reference[0], particles, particles)


RIGHT = {name: getattr(kernel, name) for name in ("update_statistics", "move", "pin", "unlog")}


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("update_statistics", _skip_pinned_draw),
        ("move", _systematic),
        ("pin", _resample_reference),
        ("unlog", lambda log_weights: jnp.ones_like(log_weights)),
    ],
    ids=["pinned draw skipped", "not multinomial", "reference resampled away", "weights forgotten"],
)
def test_enumeration_kills_mutants(name, wrong, enumerated, monkeypatch):
    monkeypatch.setattr(kernel, name, wrong)
    with np.errstate(divide="ignore"):
        z_law, z_mean = laws(enumerated, raw_sweep, 4000)
    assert max(np.abs(z_law).max(), np.abs(z_mean).max()) > 6


def test_the_unpatched_kernel_survives_the_mutants_test(enumerated):
    z_law, z_mean = laws(enumerated, raw_sweep, 4000)
    assert max(np.abs(z_law).max(), np.abs(z_mean).max()) < 4.5


def test_the_pinned_path_stays_at_index_zero_and_parents_make_the_path(line):
    model, y = line
    zeta = simulate(model, 30, jax.random.key(8))[0]
    cloud, path = sweep_cloud(model, y, 6, zeta=zeta, key=jax.random.key(0))
    np.testing.assert_allclose(cloud.particles[:, 0], zeta, rtol=1e-6)
    assert np.ptp(cloud.particles[:, 1:], axis=1).min() > 0
    distance = np.abs(cloud.particles[..., 0] - path[None, :, 0].T)
    assert distance.min(axis=1).max() < 1e-6
    index = distance.argmin(1)
    assert (cloud.parents[np.arange(29), index[1:]] == index[:-1]).all()


def test_forward_ancestors_hardly_move_the_path(line):
    """Toy error: a path built from the genealogy keeps its past; backward draws renew it at every time."""
    model, y = line
    results = {
        method: ppg(model, y, study.cross, 6, 6, key=jax.random.key(2), n_chains=200, method=method)
        for method in ("exact", "genealogy")
    }
    renewed = {method: r.renewed.mean(0) for method, r in results.items()}
    assert renewed["exact"][:3].mean() > 0.3
    assert renewed["genealogy"][:3].max() < 0.05


# -- backward draws ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cloud():
    """A fixed cloud of 40 particles, with its weights, and 40 children."""
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(5), 3)
        x, log_w = jax.random.normal(keys[0], (40, 1)), jax.random.normal(keys[1], (40,))
        return (
            np.asarray(x),
            np.asarray(0.9 * x + 0.6 * jax.random.normal(keys[2], (40, 1))),
            np.asarray(log_w),
        )


def test_expectation_is_ffbsm(cloud):
    """M infinite equals the explicit double loop, to 1e-10."""
    model = LinearGaussianModel.scalar(0.9, 0.6, 0.3)
    x, child, log_w = cloud
    statistics = np.linspace(-1, 1, 40)[:, None]
    wanted = []
    for c in child[:, 0]:
        p = np.exp(log_w) * stats.norm.pdf(c, 0.9 * x[:, 0], 0.6)
        wanted.append((p / p.sum()) @ (statistics[:, 0] + x[:, 0] * c))
    with jax.enable_x64(True):
        u, t = jnp.full((40, 1), 0.5), jnp.asarray(0)
        arrays = [jnp.asarray(v) for v in (x, child, log_w)]
        draws = kernel.draw_exact(model.prepare(), t, *arrays, u, keep=True)
        pair = Pair(t, arrays[0], arrays[1], None, None)
        found = kernel.update_statistics(study.cross, pair, jnp.asarray(statistics), draws)
    np.testing.assert_allclose(np.asarray(found)[:, 0], wanted, atol=1e-10)


@pytest.mark.parametrize("method", ["exact", "rejection"])
def test_backward_indices_have_their_law(cloud, method):
    """Chi-square of 20000 draws for each of 40 children, least of 40 p-values above 1e-5 (false alarms: 4e-4)."""
    model, n = LinearGaussianModel.scalar(0.9, 0.6, 0.3).prepare(), 20_000
    x, child, log_w = (jnp.asarray(v, jnp.float32) for v in cloud)
    key, other = jax.random.split(jax.random.key(1))
    u = jax.random.uniform(key, (40, n))
    if method == "exact":
        draws = kernel.draw_exact(model, jnp.asarray(0), x, child, log_w, u, keep=False)
    else:
        draws = kernel.draw_rejection(model, jnp.asarray(0), x, child, log_w, u, other)
    p = np.exp(np.asarray(kernel.backward_log_weights(model, jnp.asarray(0), x, child, log_w), float))
    p /= p.sum(1, keepdims=True)
    p_values = []
    for row, index in zip(p, np.asarray(draws.parents), strict=True):
        rare = row * n < 5
        counts = np.bincount(index, minlength=40)
        seen = np.append(counts[~rare], counts[rare].sum())
        wanted = np.append(row[~rare], row[rare].sum()) * n
        kept = wanted > 0
        p_values.append(stats.chisquare(seen[kept], wanted[kept] * seen.sum() / wanted[kept].sum()).pvalue)
    assert min(p_values) > 1e-5


def test_rejection_and_exact_agree_and_both_reach_the_truth(line):
    """100 runs of N = 64: means within 4.5 standard errors of each other and of Kalman plus the known bias."""
    model, y = line
    exact = exact_additive(model, y, "cross")[0]
    found = [
        paris(model, y, study.cross, 64, key=jax.random.key(i), n_chains=100, method=m)[:, 0]
        for i, m in enumerate(("exact", "rejection"))
    ]
    means, errors = [f.mean() for f in found], [f.std() / 10 for f in found]
    assert abs(means[0] - means[1]) < 4.5 * np.hypot(*errors)
    assert abs(means[0] - exact) < 2.5  # the bias of order 1/N
    assert abs(means[0] - exact) < abs(
        paris(model, y, study.cross, 6, key=jax.random.key(9), n_chains=200).mean() - exact
    )


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([1, 2, 63, 64, 65, 200]), st.integers(0, 2**31 - 1))  # few sizes: each compiles anew
def test_cumulative_sums_and_inverse_cdf(n, seed):
    rng = np.random.default_rng(seed)
    w = rng.exponential(size=n) * (rng.random(n) < 0.7) + (np.arange(n) == 0)
    np.testing.assert_allclose(kernel.cumulative(jnp.asarray(w, jnp.float32)), np.cumsum(w), rtol=2e-5)
    u = np.append(rng.random(20), [0.0, np.nextafter(np.float32(1), np.float32(0))]).astype(np.float32)
    index = np.asarray(kernel.inverse_cdf(jnp.asarray(w, jnp.float32), jnp.asarray(u)))
    assert ((index >= 0) & (index < n)).all()
    assert (w[index[:-1]] > 0).all()


# -- exact answers -----------------------------------------------------------------------------------------


def test_kalman_agrees_with_statsmodels(plane):
    model, y = plane
    peer = MLEModel(y, k_states=2, k_posdef=2)
    peer["design"], peer["transition"], peer["selection"] = model.B, model.A, np.eye(2)
    peer["state_cov"], peer["obs_cov"] = model.Q, model.R
    peer.ssm.initialize_known(model.m0, model.P0)
    theirs, ours = peer.ssm.smooth(), kalman_smoother(model, y)
    assert ours.loglik == pytest.approx(theirs.llf, abs=1e-8)
    np.testing.assert_allclose(ours.means, theirs.smoothed_state.T, atol=1e-8)
    np.testing.assert_allclose(ours.covs, np.moveaxis(theirs.smoothed_state_cov, -1, 0), atol=1e-8)
    lag_one = np.moveaxis(theirs.smoothed_state_autocov, -1, 0)[:-1]
    assert min(np.abs(ours.lag_one_covs - s).max() for s in (lag_one, np.swapaxes(lag_one, 1, 2))) < 1e-8


def test_kalman_takes_many_parameters_at_once():
    theta = np.array([[0.9, -0.5, -1.2], [0.3, 0.1, -0.4], [-0.5, 0.0, 0.0]])
    y = np.random.default_rng(0).normal(size=25)
    together = kalman_smoother(study.linear_model(theta), y)
    for i, one in enumerate(theta):
        alone = kalman_smoother(study.linear_model(one), y)
        assert together.loglik[i] == pytest.approx(alone.loglik, abs=1e-10)
        np.testing.assert_allclose(together.means[i], alone.means, atol=1e-10)


def test_score_is_the_slope_of_the_log_likelihood(plane):
    """Fisher's identity with exact moments against central differences, in every field."""
    model, y = plane
    with jax.enable_x64(True):
        gradient = model.score(jnp.asarray(exact_additive(model, y, "statistics")), y)
    for field in dataclasses.fields(model):
        value = np.asarray(getattr(model, field.name), float)
        for index in np.ndindex(value.shape):
            e = np.zeros_like(value)
            e[index] = 1e-5
            if field.name in ("Q", "R", "P0"):
                e = (e + e.T) / 2  # stay symmetric
            ends = [
                kalman_loglik(dataclasses.replace(model, **{field.name: value + s * e}), y) for s in (1, -1)
            ]
            g = np.asarray(getattr(gradient, field.name), float)
            wanted = (g * e).sum() / 1e-5
            assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(wanted, rel=1e-5, abs=1e-6), field.name


@partial(jax.jit, static_argnums=0, compiler_options=compiling.effort(0))
def two_scores(model_fn, theta, path, y):
    """Along one path: each step differentiated, and the gradient of the complete likelihood at the statistics."""
    by_step = kernel.path_terms(score_functional(model_fn), path, y, theta).sum(0)
    statistics = kernel.path_terms(model_fn(theta).score_statistics, path, y, None).sum(0)
    return by_step, jax.grad(lambda th: model_fn(th).complete_log_likelihood(statistics, y))(theta)


def test_both_ways_to_a_score_agree(line):
    """Statistics first or automatic differentiation of each step: the same number along any path, t = 0 included."""
    model, y = line
    theta = jnp.array([0.9, -0.5, -1.2])
    path = jnp.asarray(simulate(model, 30, jax.random.key(1))[0], jnp.float32)
    by_step, by_statistics = two_scores(study.linear_model, theta, path, jnp.asarray(y, jnp.float32))
    np.testing.assert_allclose(by_step, by_statistics, rtol=2e-4)


def test_volatility_statistics_give_the_complete_score():
    theta, y = jnp.array([-1.0, 1.2, -1.0]), jax.random.normal(jax.random.key(0), (20, 1))
    path = jnp.asarray(simulate(study.volatility_model(theta), 20, jax.random.key(1))[0], jnp.float32)
    by_step, by_statistics = two_scores(study.volatility_model, theta, path, y)
    np.testing.assert_allclose(by_step, by_statistics, rtol=2e-3, atol=2e-3)


def test_finite_score_is_the_slope_of_the_log_likelihood(enumerated):
    """Expected counts over the exact posterior, against differences of the enumerated likelihood."""
    y = jnp.asarray(SYMBOLS, float)[:, None]

    def loglik(P):
        moves = P[enumerated.paths[:, :-1], enumerated.paths[:, 1:]].prod(1)
        seen = np.array(COIN.emission)[enumerated.paths, SYMBOLS].prod(1)
        return np.log((np.array(COIN.pi)[enumerated.paths[:, 0]] * moves * seen).sum())

    counts = [
        kernel.path_terms(COIN.score_statistics, jnp.asarray(p, float)[:, None], y, None).sum(0)
        for p in enumerated.paths
    ]
    gradient = COIN.score(jnp.asarray(enumerated.posterior @ np.asarray(counts)), y)
    e = np.array([[0.0, 1e-5], [0.0, 0.0]])
    slope = (loglik(np.array(COIN.P) + e) - loglik(np.array(COIN.P) - e)) / 2e-5
    assert float(gradient.P[0][1]) == pytest.approx(slope, rel=1e-4)


def test_the_grid_filter_agrees_with_particles():
    """Mean of the likelihood estimate over 400 filters of 64 particles: unbiased, within 4.5 standard errors."""
    model, y = StochasticVolatility(-1.0, 0.8, 0.5), np.random.default_rng(0).normal(0, 0.7, 12)

    def one(key):
        out = kernel.sweep(
            key, model, jnp.asarray(y)[:, None], jnp.zeros((12, 1)), jnp.asarray(False), None, h=study.cross,
            n_particles=64, n_backward=1, method="genealogy",
        )  # fmt: skip
        return out.log_means.sum()

    found = np.exp(np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), 400)), float))
    wanted = np.exp(volatility_loglik(-1.0, 0.8, 0.5, y))
    assert abs(found.mean() - wanted) < 4.5 * found.std() / 20
    assert volatility_loglik(-1.0, 0.8, 0.5, y, 601) == pytest.approx(np.log(wanted), abs=1e-8)


def test_posterior_paths_have_the_smoothers_moments(line):
    """40000 exact draws: means, variances and lag-one covariances within 5 standard errors (false alarms: 1e-4)."""
    model, y = line
    draws, s = posterior_paths(model, y, 40_000, np.random.default_rng(0))[..., 0], kalman_smoother(model, y)
    sd = np.sqrt(s.covs[:, 0, 0])
    assert (np.abs(draws.mean(0) - s.means[:, 0]) < 5 * sd / 200).all()
    np.testing.assert_allclose(draws.var(0), sd**2, rtol=5 * np.sqrt(2 / 40_000))
    lag_one = np.mean((draws[:, 1:] - s.means[1:, 0]) * (draws[:, :-1] - s.means[:-1, 0]), axis=0)
    np.testing.assert_allclose(lag_one, s.lag_one_covs[:, 0, 0], atol=5 * (sd**2).max() * 1.5 / 200)


@pytest.mark.parametrize("n", [2, 32, 33, 160, 400])
def test_draws_by_groups_are_those_of_the_plain_cumulative_sums(n):
    """And no rounding, not even a uniform of 1, draws an index of weight zero."""
    rng = np.random.default_rng(n)
    weights, uniforms = rng.gamma(0.3, size=(20, n)), rng.random((20, 30)).astype("f")
    weights[:, rng.random(n) < 0.3], weights[:, 1] = 0.0, 0.5
    weights, uniforms[:, -1] = weights.astype("f"), 1.0
    drawn = np.asarray(kernel.inverse_cdf(jnp.asarray(weights), jnp.asarray(uniforms)))
    sums = np.cumsum(weights.astype(float), axis=1)
    plain = (sums[:, None] <= uniforms[..., None] * sums[:, None, -1:]).sum(-1)
    np.testing.assert_array_equal(drawn[:, :-1], plain[:, :-1])
    assert np.take_along_axis(weights, drawn, 1).min() > 0


@pytest.mark.parametrize(
    "model",
    [StochasticVolatility(-1.0, 0.9, 0.2), ChaoticRNN(np.eye(3), np.ones((2, 3))),
     LinearGaussianModel.scalar(0.5, 1, 1).prepare()],
    ids=lambda m: type(m).__name__,
)  # fmt: skip
def test_noise_drawn_ahead_moves_the_states_as_before(model):
    """The numbers of all times at once are those that each time would draw from its own key."""
    t, keys = jnp.asarray(0), jax.random.split(jax.random.key(0), 3)
    x = model.sample_init(jax.random.key(1), 8)
    ahead = jnp.stack([model.advance(t, x, noise) for noise in kernel.noises(model, keys, 8)])
    inside = jnp.stack([model.sample_transition(key, t, x) for key in keys])
    np.testing.assert_allclose(ahead, inside, rtol=1e-5)


# -- smoothing ---------------------------------------------------------------------------------------------


def test_from_exact_draws_a_sweep_is_unbiased_and_rao_blackwellised(line):
    """6000 chains at N = 6: |z| < 4 (false alarms: 6e-5), and the estimate spreads less than its path alone."""
    model, y = line
    exact = exact_additive(model, y, "cross")[0]
    starts = posterior_paths(model, y, 6000, np.random.default_rng(1))
    r = ppg(model, y, study.cross, 6, 1, init_path=starts, key=jax.random.key(4), n_chains=6000)
    error = r.estimates[:, 0, 0] - exact
    assert abs(error.mean()) < 4 * error.std() / np.sqrt(6000)
    assert error.std() < 0.85 * r.path_estimates.std()
    one = ppg(model, y, study.cross, 6, 1, 0, 1, init_path=starts, key=jax.random.key(4), n_chains=6000)
    assert one.estimates.std() > 0.95 * one.path_estimates.std()


def test_the_bias_falls_geometrically_and_sweep_zero_stays_out(line):
    """2000 chains at N = 6: the contraction is between 0.7 and 0.9; a roll-out with sweep 0 would be far off."""
    model, y = line
    exact = exact_additive(model, y, "cross")[0]
    r = ppg(model, y, study.cross, 6, 12, 6, key=jax.random.key(6), n_chains=2000)
    errors = np.column_stack([r.initial, r.estimates[..., 0]]) - exact
    fit = study.contraction(errors, np.random.default_rng(0))
    assert 0.7 < fit.kappa.value < 0.9
    assert fit.r_squared > 0.9
    np.testing.assert_allclose(r.rollout(6), r.estimates[:, 6:].mean(1))
    assert abs(r.rollout(6).mean() - exact) < 0.2 * abs(errors[:, 0].mean())
    assert r.cost == 6 * 13


def test_a_chain_does_not_depend_on_its_neighbours(line, monkeypatch):
    model, y = line
    many = ppg(model, y, study.cross, 6, 2, key=jax.random.key(0), n_chains=4)
    np.testing.assert_allclose(
        ppg(model, y, study.cross, 6, 2, key=jax.random.key(0), n_chains=2).estimates,
        many.estimates[:2],
        rtol=1e-5,
    )
    monkeypatch.setattr(smoothing, "CHUNK", 72)  # two groups of two chains
    monkeypatch.setattr(smoothing, "LEAST", 1)
    np.testing.assert_allclose(
        ppg(model, y, study.cross, 6, 2, key=jax.random.key(0), n_chains=4).estimates,
        many.estimates,
        rtol=1e-5,
    )


def test_own_distributions_give_the_same_densities(line):
    """And 200 runs the same mean within 4.5 standard errors (false alarms: 7e-6)."""
    model, y = line
    mine = DistributionModel(
        jnp.array([0.9, 0.6, 0.3]),
        initial=lambda p: dist.Normal(0.0, p[1] / jnp.sqrt(1 - p[0] ** 2)),
        transition=lambda p, t, x: dist.Normal(p[0] * x, p[1]),
        emission=lambda p, t, x: dist.Normal(x, p[2]),
    )
    assert isinstance(mine, StateSpaceModel)
    x = jax.random.normal(jax.random.key(0), (5, 1, 1))
    x_next = jax.random.normal(jax.random.key(1), (1, 4, 1))
    t = jnp.asarray(0)
    np.testing.assert_allclose(
        mine.log_transition(t, x, x_next), model.log_transition(t, x, x_next), rtol=1e-4
    )
    np.testing.assert_allclose(
        mine.log_potential(t, x, jnp.ones(1)), model.log_potential(t, x, jnp.ones(1)), rtol=1e-4
    )
    np.testing.assert_allclose(mine.log_init(x), model.log_init(x), rtol=1e-4)
    both = [
        paris(m, y, study.cross, 6, key=jax.random.key(i), n_chains=200) for i, m in enumerate((mine, model))
    ]
    assert abs(both[0].mean() - both[1].mean()) < 4.5 * np.hypot(both[0].std(), both[1].std()) / np.sqrt(200)


@pytest.mark.parametrize(
    "model",
    [
        StochasticVolatility(-1.0, 0.9, 0.2),
        ChaoticRNN(np.eye(3), np.ones((2, 3))),
        COIN,
        LinearGaussianModel.scalar(0.5, 1, 1),
    ],
    ids=lambda m: type(m).__name__,
)
def test_models_keep_the_protocol(model):
    """Shapes broadcast, the density integrates to one where it is easy, and its bound holds."""
    assert isinstance(model, StateSpaceModel)
    t, key = jnp.asarray(0), jax.random.key(0)
    x = model.sample_init(key, 50)
    x_next = model.sample_transition(key, t, x)
    assert x.shape == x_next.shape == (50, model.dim)
    table = model.log_transition(t, x[None], x_next[:, None])
    assert table.shape == (50, 50)
    assert float(table.max()) <= float(model.log_transition_bound(t)) + 1e-5
    y = model.sample_observation(key, t, x)
    assert model.log_potential(t, x, y[0]).shape == model.log_init(x).shape == (50,)


# -- learning ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def learned():
    y = simulate(study.linear_model(np.array([0.9, -0.5, -1.2])), 60, jax.random.key(11))[1][:, 0]
    best = study.exact_mle(y, [0.9, -0.5, -1.2], study.clip_linear)
    how = {
        "step": 2.0,
        "n_iter": 200,
        "n_chains": 20,
        "projection": study.clip_linear,
        "key": jax.random.key(0),
    }
    sizes = {"n_particles": 8, "n_sweeps": 2}
    runs = {
        "warm": score_ascent(study.linear_model, [0.5, 0.0, -0.5], y, **how, **sizes),
        "cold": score_ascent(study.linear_model, [0.5, 0.0, -0.5], y, **how, **sizes, warm=False),
        "em": particle_em(
            study.linear_model,
            study.em_linear(y),
            [0.5, 0.0, -0.5],
            y,
            n_iter=150,
            n_chains=20,
            key=jax.random.key(1),
            **sizes,
        ),
    }
    return {name: study.gaps(trace, y, best).mean() for name, trace in runs.items()}, runs


def test_score_ascent_reaches_the_maximum_only_with_a_warm_start(learned):
    gaps, runs = learned
    assert 0 <= gaps["warm"] < 0.2
    assert gaps["em"] < 0.8
    assert gaps["cold"] > 5 * gaps["warm"]  # the mutant: the reference path isn't carried
    assert runs["warm"].theta.shape == (20, 201, 3)
    assert runs["warm"].cost == 16


def test_mean_field_climbing_matches_the_smoothers_moments():
    model = LinearGaussianModel.scalar(0.8, 0.6, 0.5)
    y = simulate(model, 10, jax.random.key(2))[1]
    family = GaussianMeanField(10)
    trace = markov_score_climbing(
        model,
        y,
        family,
        family.start(),
        n_particles=8,
        n_iter=600,
        step=power_steps(0.7, 0.6),
        key=jax.random.key(0),
        n_chains=4,
    )
    mean, sd = family.moments(trace.average().mean(0))
    s = kalman_smoother(model, y)
    exact_sd = np.sqrt(s.covs[:, 0, 0])
    assert np.abs((mean[:, 0] - s.means[:, 0]) / exact_sd).max() < 0.1
    assert np.abs(sd[:, 0] ** 2 / exact_sd**2 - 1).max() < 0.1


# -- bad input ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_particles": 1}, "n_particles must be an integer of at least 2"),
        ({"n_backward": 0}, "n_backward must be an integer of at least 1"),
        ({"n_sweeps": 0}, "n_sweeps must be an integer of at least 1"),
        ({"burn_in": 3}, "burn_in must be from 0 to n_sweeps - 1 = 2, got 3"),
        ({"n_chains": 0}, "n_chains must be"),
        ({"method": "systematic"}, "unknown method 'systematic'; allowed: auto, exact, rejection"),
        ({"y": [1.0]}, "T of at least 2"),
        ({"y": [1.0, np.nan, 2.0]}, "1 rows that aren't finite numbers, the first at t = 1"),
        ({"init_path": np.zeros((29, 1))}, r"must have shape \(T, d\) = \(30, 1\)"),
        ({"init_path": np.full((30, 1), np.inf)}, "aren't finite"),
    ],
)
def test_bad_input_is_named(line, change, message):
    model, y = line
    arguments = {"y": y, "n_particles": 5, "n_sweeps": 3, "key": jax.random.key(0)} | change
    with pytest.raises(ValueError, match=message):
        ppg(model, h=study.cross, **arguments)


def test_vanishing_weights_name_the_time(line):
    y = line[1]
    silent = FiniteHMM([0.5, 0.5], [[0.5, 0.5], [0.5, 0.5]], [[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]])
    with pytest.raises(ValueError, match=r"every particle has weight zero \(or NaN\) at t = 2"):
        paris(silent, [0, 1, 2, 0], weighted, 6, key=jax.random.key(0))
    with pytest.raises(ValueError, match="the parameters left the finite numbers at iteration 1"):
        score_ascent(
            study.linear_model,
            [0.5, 0.0, 0.0],
            y,
            n_particles=5,
            n_iter=1,
            step=np.inf,
            key=jax.random.key(0),
        )


def test_other_bad_input_is_named(line, tmp_path):
    model, y = line
    key = jax.random.key(0)
    boundless = DistributionModel(None, lambda p: None, lambda p, t, x: None, lambda p, t, x: None)
    with pytest.raises(ValueError, match="needs an upper bound"):
        paris(boundless, y, study.cross, 5, key=key, method="rejection")
    with pytest.raises(TypeError, match="it lacks dim, sample_init"):
        paris(object(), y, study.cross, 5, key=key)
    with pytest.raises(ValueError, match="allowed: ppg, paris"):
        score_ascent(study.linear_model, [0.5, 0, 0], y, n_particles=5, n_iter=1, estimator="em", key=key)
    with pytest.raises(ValueError, match="n_sweeps must be 1"):
        score_ascent(study.linear_model, [0.5, 0, 0], y, n_particles=5, n_iter=1, estimator="paris", key=key)
    with pytest.raises(TypeError, match="has no score_statistics"):
        particle_em(
            lambda th: ChaoticRNN(np.eye(1), np.eye(1)),
            lambda s: s,
            [0.0],
            y,
            n_particles=5,
            n_iter=1,
            key=key,
        )
    with pytest.raises(ValueError, match="allowed: cross, statistics"):
        exact_additive(model, y, "mean")
    with pytest.raises(ValueError, match="too many to enumerate"):
        enumerate_sweep(COIN, [0] * 12, weighted, 2)
    with pytest.raises(ValueError, match="n_steps must be at least 2"):
        simulate(model, 1, key)


def test_series_are_read_and_refused(tmp_path):
    rates, nile = datasets.gbp_usd(), datasets.nile()
    assert (len(rates), len(nile)) == (750, 100)
    assert rates.std(ddof=0) == pytest.approx(0.4668, abs=1e-4)
    file = tmp_path / "series.csv"
    pd.DataFrame({"day": ["a"] * 12, "flow": np.arange(12.0)}).to_csv(file, index=False)
    assert datasets.read_series(file).tolist() == list(range(12))
    for column, message in (("depth", "no column 'depth'; it has day, flow"), ("day", "is text")):
        with pytest.raises(ValueError, match=message):
            datasets.read_series(file, column)
    pd.DataFrame({"flow": [1.0, np.nan] * 6}).to_csv(file, index=False)
    with pytest.raises(ValueError, match="6 missing or infinite values, the first in row 2"):
        datasets.read_series(file)
    with pytest.raises(FileNotFoundError, match="one of: gbp_usd, nile"):
        datasets.read_series(tmp_path / "nowhere.csv")
    with pytest.raises(
        ValueError, match="allowed: stochastic_volatility, local_level, autoregression, or the path"
    ):
        workflow.make_task(nile, "arma")
    with pytest.raises(ValueError, match="constant"):
        workflow.make_task(nile * 0, "local_level")


OWN = """
import jax.numpy as jnp
import numpyro.distributions as dist
theta0, names = [-1.0], ["log sd"]
def initial(theta): return dist.Normal(0.0, 2.0)
def transition(theta, t, x): return dist.Normal(x, jnp.exp(theta[0]))
def emission(theta, t, x): return dist.Poisson(jnp.exp(x))
"""


def test_a_readers_own_file_goes_the_whole_way(tmp_path):
    """Counts, a numpyro model of one parameter, learning, smoothing, checks and the figure: shapes and sense."""
    file = tmp_path / "counts.py"
    file.write_text("theta0 = [0.0]", encoding="utf-8")
    series = pd.Series(np.random.default_rng(0).poisson(3.0, 12), name="n")
    with pytest.raises(ValueError, match="lacks initial, transition, emission"):
        workflow.make_task(series, str(file))
    file.write_text(OWN, encoding="utf-8")
    task = workflow.make_task(series, str(file))
    key = jax.random.key(0)
    trace = score_ascent(task.model_fn, task.theta0, task.y, n_particles=6, n_iter=5, n_chains=2, key=key)
    smooth = workflow.smooth_paths(
        task, trace.average().mean(0), n_particles=6, n_sweeps=4, n_chains=3, key=key, progress=iter
    )
    states = workflow.smoothed_states(task, smooth, series.index, 1)
    assert (states["5 %"] <= states["median"]).all()
    assert np.abs(states["median"] - np.log(3.0)).max() < 2
    checks = workflow.check_assumptions(task, trace, smooth, np.zeros(1), np.ones(1), 1, key)
    assert len(checks) == 8
    table = workflow.parameter_table(task, trace, np.eye(1))
    assert (
        table.loc["log sd", "95 % low"] < table.loc["log sd", "estimate"] < table.loc["log sd", "95 % high"]
    )
    figures.learning({"PPG": trace.theta}, np.array([np.nan]), task.names)
    plt.close("all")


def test_examples_in_docstrings_hold():
    assert doctest.testmod(models, extraglobs={"jax": jax, "jnp": jnp}).failed == 0
