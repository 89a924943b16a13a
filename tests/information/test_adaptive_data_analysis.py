"""Adaptive data analysis: exact identities, audits by quadrature, a holdout that never refunds, mutants.

Tests with random data hold for every seed, except those that say their false-alarm rate; these have fixed seeds.
Peers: diffprivlib and opendp are not installed, so privacy is audited by exact quadrature instead.
"""

from __future__ import annotations

import doctest
import importlib
import itertools
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from loglik.information import adaptive_data_analysis as ada
from loglik.information.adaptive_data_analysis import (
    analysts,
    holdout,
    mechanisms,
    pmw,
    selection,
    study,
    study_data,
    study_holdout,
    theory,
    workflow,
)

MODULES = ("accounting", "audit", "holdout", "pmw", "private", "theory", "thresholdout")


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_docstrings(name):
    module = importlib.import_module(f"loglik.information.adaptive_data_analysis.{name}")
    assert doctest.testmod(module).failed == 0


# -- theory ----------------------------------------------------------------------------------------------------


def test_curve_in_closed_form_for_no_and_gaussian_noise():
    m, n, sigma = 700.0, 900.0, 0.04
    naive = 2 * stats.norm.cdf(np.sqrt(2 * m / (np.pi * n))) - 1
    noisy = 2 * stats.norm.cdf(np.sqrt(2 * m / (np.pi * n * (1 + n * sigma**2)))) - 1
    np.testing.assert_allclose(ada.overfit_curve(m, n), naive, rtol=1e-13)
    np.testing.assert_allclose(ada.overfit_curve(m, n, ("gaussian", sigma)), noisy, rtol=1e-13)


def test_laplace_density_is_the_convolution():
    n, b = 400, 0.07
    x = np.linspace(-1, 1, 2_000_001)
    direct = np.trapezoid(stats.norm.pdf(x, 0, n**-0.5) * stats.laplace.pdf(x, 0, b), x)
    np.testing.assert_allclose(ada.density_at_zero(n, ("laplace", b)), direct, rtol=1e-8)


@pytest.mark.parametrize("kind", ["gaussian", "laplace"])
def test_curve_limits(kind):
    assert ada.overfit_curve(0, 100, (kind, 0.1)) == 0
    assert ada.overfit_curve(1e12, 100, (kind, 0.1)) == pytest.approx(1)
    np.testing.assert_allclose(
        ada.overfit_curve(50, 100, (kind, 1e-12)), ada.overfit_curve(50, 100), rtol=1e-9
    )
    assert ada.overfit_curve(50, 100, (kind, 0)) == ada.overfit_curve(50, 100)


def test_curve_is_the_exact_binomial_expectation_up_to_1_over_n():
    n, m = 501, 301  # odd, so there are no ties
    sums = 2 * np.arange(n + 1) - n
    vote = (stats.binom.pmf(np.arange(n + 1), n, 0.5) * np.abs(sums)).sum() / n  # E[q sign(a)]
    exact = 1 - 2 * stats.binom.cdf(m // 2, m, (1 + vote) / 2)
    assert ada.overfit_curve(m, n) == pytest.approx(exact, abs=1 / n)


def test_holdout_curve_constants():
    z = np.linspace(1, 12, 2_000_001)
    tail = np.trapezoid(stats.norm.pdf(z), z)
    assert pytest.approx(np.trapezoid(z * stats.norm.pdf(z), z) / tail, rel=1e-9) == theory.PULL
    assert pytest.approx(2 * tail**2, rel=1e-9) == theory.SELECTED
    assert ada.holdout_curve(500, 10_000, 10_000) == pytest.approx(0.63346, abs=1e-5)
    assert ada.holdout_curve(0, 100, 100) == 0.5


def test_recovery_curve():
    np.testing.assert_allclose(ada.recovery_curve([100, 200, 400], 200), [stats.norm.cdf(1), 1, 1])


def test_bounds():
    assert ada.generalization_bound(epsilon=0.1) == pytest.approx(0.05)
    assert ada.generalization_bound(epsilon=0.1, width=2) == pytest.approx(0.1)
    assert ada.generalization_bound(rho=0.02) == pytest.approx(0.1)
    assert ada.generalization_bound(200, information=4.0) == pytest.approx(0.1)
    assert ada.generalization_bound(epsilon=800.0) == 1  # never above the width, and no overflow
    m, n, sigma = 50, 1000, 0.2  # m ±1 answers with N(0, σ²) noise: 2√m/(nσ)
    rho = m * ada.gaussian_rho(sigma, 2 / n)
    assert ada.generalization_bound(rho=rho, width=2) == pytest.approx(2 * np.sqrt(m) / (n * sigma))


def test_composition():
    assert ada.advanced_composition(100, 0.1, 1e-6) == pytest.approx(6.3082, abs=5e-5)
    assert ada.compose_zcdp(0.5, 1e-6) == pytest.approx(5.7565, abs=5e-5)
    assert ada.compose_zcdp([0.2, 0.3], 1e-6) == pytest.approx(ada.compose_zcdp(0.5, 1e-6))
    assert ada.advanced_composition(0, 0.1, 0.1) == 0


def test_required_n_is_what_its_inequalities_say():
    m, tau, beta = 1000, 0.1, 0.05
    n = float(ada.required_n(m, tau, beta))
    tail = np.sqrt(2 * np.log(4 * m / beta))
    sigma = np.linspace(1e-4, 0.1, 400_001)
    assert (sigma * tail + np.sqrt(m) / (2 * n * sigma)).min() == pytest.approx(tau, rel=1e-6)
    assert sigma[(sigma * tail + np.sqrt(m) / (2 * n * sigma)).argmin()] == pytest.approx(
        float(ada.best_sigma(m, n, beta)), rel=1e-3
    )
    split = float(ada.required_n(m, tau, beta, "split"))
    assert 2 * m * np.exp(-2 * (split / m) * tau**2) == pytest.approx(beta)  # Hoeffding, blocks of n/m
    n, N = float(ada.required_n(m, tau, beta, "pmw", universe=4096)), 4096
    sigma = tau / 4 / tail
    rho = 2 * (4 * np.log(N) / tau**2) / (2 * n**2 * sigma**2)
    assert np.sqrt(rho / 2) == pytest.approx(tau / 4)
    noise, weights = ada.crossover(tau, universe=N)
    assert weights == pytest.approx(128 * np.log(N) / tau**2, rel=2e-3)
    assert ada.required_n(noise * 1.01, tau) < ada.required_n(noise * 1.01, tau, mechanism="split")
    assert ada.required_n(noise * 0.99, tau) > ada.required_n(noise * 0.99, tau, mechanism="split")


def test_width_scales_accuracy():
    np.testing.assert_allclose(ada.required_n(50, 0.2, width=2.0), ada.required_n(50, 0.1))


# -- audits ----------------------------------------------------------------------------------------------------


def test_laplace_log_ratio_is_at_most_epsilon_with_equality_in_the_tails():
    n, epsilon = 50, 0.7
    law = ada.LaplaceLaw(1 / (n * epsilon))
    outputs = np.linspace(-1, 2, 301)
    ratios = [abs(law.log_probability(0.4, o) - law.log_probability(0.4 + 1 / n, o)) for o in outputs]
    assert max(ratios) <= epsilon + 1e-12
    assert ratios[0] == pytest.approx(epsilon, abs=1e-12)
    assert ratios[-1] == pytest.approx(epsilon, abs=1e-12)
    assert ada.audit_dp(law, 0.4, 0.4 + 1 / n, outputs).loss == pytest.approx(epsilon, abs=1e-12)


@pytest.mark.parametrize("kind", ["per positive", "none", "per query"])
def test_sparse_vector_law_sums_to_one(kind):
    law = ada.SparseVectorLaw(0.3, 0.8, kind)
    events = itertools.product([False, True], repeat=4)
    total = sum(np.exp(law.log_probability([0.1, 0.9, -2.0, 0.3], e)) for e in events)
    assert total == pytest.approx(1, abs=1e-11)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-5, 5), st.floats(-1, 1), st.booleans()), min_size=1, max_size=8),
    st.floats(-3, 3),
    st.floats(0.1, 3),
)
def test_sparse_vector_never_loses_more_than_epsilon_a_block(rows, threshold, epsilon):
    values, moves, event = map(list, zip(*rows, strict=True))
    law = ada.SparseVectorLaw(threshold, epsilon)
    blocks = sum(event) + (not event[-1])
    loss = ada.audit_dp(law, values, np.add(values, moves), [event]).loss
    assert loss <= blocks * epsilon + 1e-8


def test_broken_sparse_vectors_are_detected():
    losses = study.audit_study((9, 21, 61)).pivot_table(index="length", columns="noise", values="loss")
    assert (losses["per positive"] <= 1 + 1e-9).all()
    assert losses["per positive"].iloc[-1] > 0.999  # tight
    assert (losses["none"] > 1).all()
    assert (losses["per query"] > 1).all()
    assert (losses.diff().dropna()[["none", "per query"]] > 0).all().all()  # grows with the length


def test_sparse_vector_follows_its_law():
    """A chi-squared test of 20,000 runs with a fixed seed; false alarms: 1 in 10^4 seeds."""
    values, law = np.array([0.0, 2.0, 1.0]), ada.SparseVectorLaw(1.0, 1.5)
    generator = rng(1)
    runs = [tuple(ada.sparse_vector(values, 1.0, 1.5, 3, generator).above.tolist()) for _ in range(20_000)]
    events = list(itertools.product([False, True], repeat=3))
    expected = np.array([np.exp(law.log_probability(values, e)) for e in events])
    counts = np.array([runs.count(e) for e in events])
    assert stats.chisquare(counts, expected * len(runs)).pvalue > 1e-4


def test_audit_by_monte_carlo_finds_a_mechanism_that_leaks():
    """False alarms for the honest one: at most 1 in 100 seeds by construction; the seed is fixed."""
    events = [lambda out: out > 0.5, lambda out: out <= 0.5]
    leaky = ada.audit_dp(lambda d, g: d + g.laplace(0, 0.1), 0.0, 1.0, events, n_runs=4000, rng=rng())
    honest = ada.audit_dp(lambda d, g: d + g.laplace(0, 1.0), 0.0, 1.0, events, n_runs=4000, rng=rng())
    assert leaky.loss > 3
    assert 0 < honest.loss <= 1
    assert not leaky.exact


# -- building blocks -------------------------------------------------------------------------------------------


def test_exponential_mechanism_probabilities():
    scores, epsilon, sensitivity = np.array([0.1, 0.5, 0.45]), 2.0, 0.05
    weights = [np.exp(epsilon * s / (2 * sensitivity)) for s in scores]
    found = np.exp(ada.exponential_log_probabilities(scores, epsilon, sensitivity))
    np.testing.assert_allclose(found, np.array(weights) / sum(weights), atol=1e-12)
    shifted = np.exp(ada.exponential_log_probabilities(scores + 7, epsilon, sensitivity))
    np.testing.assert_allclose(found, shifted, atol=1e-12)
    assert np.isfinite(ada.exponential_log_probabilities([0, 1e6], 5.0, 1e-3)).all()


@given(st.lists(st.floats(0, 1), min_size=2, max_size=20), st.floats(0.01, 5), st.data())
def test_exponential_mechanism_is_private(scores, epsilon, data):
    n = 40
    moved = [s + data.draw(st.floats(-1 / n, 1 / n)) for s in scores]
    one, other = (ada.exponential_log_probabilities(s, epsilon, 1 / n) for s in (scores, moved))
    assert np.abs(one - other).max() <= epsilon + 1e-9


def test_exponential_mechanism_samples_its_law():
    """A chi-squared test with a fixed seed; false alarms: 1 in 10^4 seeds."""
    scores, generator = [0.0, 0.02, 0.05], rng(3)
    counts = np.bincount([ada.exponential_mechanism(scores, 1.0, 0.02, generator) for _ in range(5000)])
    expected = np.exp(ada.exponential_log_probabilities(scores, 1.0, 0.02)) * 5000
    assert stats.chisquare(counts, expected).pvalue > 1e-4


def test_sparse_vector_stops_and_accounts():
    found = ada.sparse_vector(np.full(50, 1e9), 0.0, 1.0, 3, rng())
    assert found.above.sum() == 3
    assert (found.n_answered, found.epsilon) == (3, 3.0)
    found = ada.sparse_vector(np.full(50, -1e9), 0.0, 1.0, 3, rng())
    assert (found.above.sum(), found.n_answered, found.epsilon) == (0, 50, 1.0)


def test_thresholdout_without_noise():
    train, hold = np.array([0.1, 0.2, 0.9]), np.array([0.15, 0.5, 0.1])
    np.testing.assert_array_equal(ada.thresholdout(train, hold, 0.3, 0.0, rng()), [0.1, 0.2, 0.1])


# -- mechanisms ------------------------------------------------------------------------------------------------


def all_mechanisms(n, m, seed=0):
    data = np.zeros(n)
    return {
        "empirical": ada.EmpiricalMechanism(data),
        "rounding": ada.RoundingMechanism(data),
        "gaussian": ada.GaussianMechanism(data, 0.1, rng(seed)),
        "laplace": ada.LaplaceMechanism(data, 0.1, rng(seed)),
        "split": ada.SplitMechanism(data, m),
        "ladder": ada.LadderMechanism(data),
    }


@pytest.mark.parametrize("name", list(all_mechanisms(60, 12)))
def test_batches_change_nothing_and_seeds_repeat(name):
    values = rng(5).uniform(-1, 1, (12, 60))
    together = all_mechanisms(60, 12)[name].answer_many(values)
    single = all_mechanisms(60, 12)[name]
    np.testing.assert_allclose(together, [single.answer(v) for v in values], atol=1e-12)
    assert single.n_answers == 12
    assert single.budget_spent()["rho"] >= 0


def test_answers_are_means_plus_the_noise_that_was_asked_for():
    values = rng(2).uniform(0, 1, (4, 50))
    data = np.zeros(50)
    exact = values.mean(axis=1)
    np.testing.assert_allclose(ada.EmpiricalMechanism(data).answer_many(values), exact)
    np.testing.assert_allclose(ada.GaussianMechanism(data, 0.0, rng()).answer_many(values), exact)
    rounded = ada.RoundingMechanism(data).answer_many(values)
    assert np.abs(rounded - exact).max() <= 0.5 / np.sqrt(50) + 1e-12
    blocks = values.reshape(4, 5, 10)
    np.testing.assert_allclose(
        ada.SplitMechanism(data, 5).answer_many(values), blocks.mean(axis=2)[range(4), range(4)]
    )


def test_budgets_add_up():
    n, sigma, epsilon = 200, 0.05, 0.1
    gaussian = ada.GaussianMechanism(np.zeros(n), sigma, rng(), query_range=(0, 1))
    gaussian.answer_many(np.zeros((7, n)))
    assert gaussian.budget_spent()["rho"] == pytest.approx(7 / (2 * n**2 * sigma**2))
    laplace = ada.LaplaceMechanism(np.zeros(n), 1 / (n * epsilon), rng(), query_range=(0, 1))
    laplace.answer_many(np.zeros((3, n)))
    assert laplace.budget_spent()["epsilon"] == pytest.approx(min(0.3, ada.compose_zcdp(0.015, 1e-6)))
    assert ada.EmpiricalMechanism(np.zeros(3)).budget_spent()["rho"] == 0
    wide = ada.GaussianMechanism(np.zeros(n), sigma, rng())
    wide.answer_many(np.zeros((7, n)))
    assert wide.budget_spent()["rho"] == pytest.approx(4 * gaussian.budget_spent()["rho"])


def test_split_refuses_when_its_blocks_are_used():
    split = ada.SplitMechanism(np.zeros(10), 2)
    split.answer_many(np.zeros((2, 10)))
    with pytest.raises(ada.BudgetExhausted, match="all blocks are used"):
        split.answer(np.zeros(10))


def test_ladder_reveals_only_improvements():
    ladder = ada.LadderMechanism(np.zeros(100), step=0.1)
    means = np.array([0.12, 0.05, 0.19, 0.31, 0.30, 0.48])
    np.testing.assert_allclose(ladder.answer_means(means), [0.1, 0.1, 0.1, 0.3, 0.3, 0.5])
    assert ladder.n_revealed == 3


@settings(deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=30), st.floats(0, 1), st.integers(0, 5))
def test_thresholdout_without_noise_answers_train_iff_they_agree(diffs, threshold, budget):
    gaps = np.array(diffs)
    core = ada.ThresholdoutMechanism(
        np.zeros(1), np.zeros(1), threshold, 0.0, budget, rng(), on_exhausted="nan"
    )
    answers, paid = core.answer_differences(np.zeros(len(gaps)), gaps)
    positives = np.abs(gaps) > threshold
    live = np.concatenate([[0], np.cumsum(positives)[:-1]]) < budget
    np.testing.assert_array_equal(paid, positives & live)
    np.testing.assert_array_equal(np.isnan(answers), ~live)
    np.testing.assert_allclose(answers[live], np.where(positives, gaps, 0.0)[live])
    assert core.n_positive == min(positives.sum(), budget)
    assert core.exhausted == (positives.sum() >= budget)


def test_thresholdout_draws_the_noise_of_its_steps():
    """4000 first questions at a gap of 5σ over T: how many are paid (Lap(2σ) + Lap(4σ) below 5σ), and the mean size
    of the paid answers' noise, Lap(σ). Both within 5 standard errors (false alarms: 1e-6); fixed seed."""
    sigma, generator = 0.1, rng(11)
    gap = np.array([0.2 + 5 * sigma])
    first = [
        ada.ThresholdoutMechanism(np.zeros(1), np.zeros(1), 0.2, sigma, 1, generator).answer_differences(
            np.zeros(1), gap
        )
        for _ in range(4000)
    ]
    paid = np.array([p[0] for _, p in first])
    share = 1 - (16 * np.exp(-5 / 4) - 4 * np.exp(-5 / 2)) / 24
    assert abs(paid.mean() - share) < 5 * np.sqrt(share * (1 - share) / 4000)
    noise = np.array([answer[0] for answer, p in first if p[0]]) - gap
    assert abs(np.abs(noise).mean() - sigma) < 5 * sigma / np.sqrt(len(noise))
    assert all(answer[0] == 0 for answer, p in first if not p[0])


def test_thresholdout_refuses_when_spent():
    core = ada.ThresholdoutMechanism(np.zeros((5, 1)), np.ones((5, 1)), 0.5, 0.0, 2, rng())
    question = (lambda rows: rows[:, 0]).__call__
    assert [core.answer(question) for _ in range(2)] == [1.0, 1.0]
    with pytest.raises(ada.BudgetExhausted, match="Collect a new holdout") as refusal:
        core.answer(question)
    assert len(refusal.value.partial) == 0
    again = ada.ThresholdoutMechanism(np.zeros((5, 1)), np.ones((5, 1)), 0.5, 0.0, 2, rng())
    with pytest.raises(ada.BudgetExhausted) as refusal:
        again.answer_pairs([question] * 4)
    assert refusal.value.partial.tolist() == [1.0, 1.0]


def test_an_infinite_threshold_never_touches_the_holdout():
    train = rng(1).uniform(-1, 1, (40, 1))
    answers = []
    for hidden in (np.zeros((30, 1)), np.ones((30, 1))):
        core = ada.ThresholdoutMechanism(train, hidden, np.inf, 0.3, 5, rng(9))
        answers.append([core.answer(lambda r, p=p: np.sign(r[:, 0] - p)) for p in np.linspace(-1, 1, 9)])
        assert core.budget_spent()["n_positive"] == 0
    assert answers[0] == answers[1]


@pytest.mark.parametrize("noise", ["laplace", "gaussian"])
def test_thresholdout_batches_change_nothing(noise):
    train, hold = rng(1).uniform(-0.3, 0.3, (2, 3000))
    make = lambda: ada.ThresholdoutMechanism(np.zeros(9), np.zeros(9), 0.2, 0.05, 2000, rng(4), noise=noise)  # noqa: E731
    whole, paid = make().answer_differences(train, hold)
    pieces, core = [], make()
    for part in np.array_split(np.arange(3000), 700):
        pieces.append(core.answer_differences(train[part], hold[part])[0])
    np.testing.assert_array_equal(whole, np.concatenate(pieces))
    assert 100 < paid.sum() < 2000


def test_thresholdout_accounts_for_its_noise():
    n, sigma = 1000, 0.01
    core = ada.ThresholdoutMechanism(np.zeros(n), np.zeros(n), 0.5, sigma, 10, rng())
    core.answer_differences(np.zeros(50), np.zeros(50))
    step = 2 / n / sigma
    assert core.budget_spent()["rho"] == pytest.approx(step**2 / 2)  # one block, however many questions
    core.answer_differences([1.0], [-1.0])
    assert core.budget_spent()["rho"] == pytest.approx(2 * step**2 / 2)  # the block and its answer
    plain = ada.ThresholdoutMechanism(np.zeros(n), np.zeros(n), 0.5, sigma, None, rng(), noise="gaussian")
    plain.answer_differences(np.zeros(50), np.zeros(50))
    assert plain.budget_spent()["rho"] == pytest.approx(
        50 * step**2 / 2
    )  # no noisy threshold: each one costs


# -- private multiplicative weights ----------------------------------------------------------------------------


def small_pmw(seed=0, N=32, n=300, **changes):
    generator = rng(seed)
    hist = generator.multinomial(n, generator.dirichlet(np.full(N, 0.5)))
    options = {"threshold": 0.05, "sigma": 0.0, "eta": 0.05, "max_updates": 10**6} | changes
    return ada.PMW(hist, rng=generator, **options), generator


@given(st.integers(0, 10**6), st.floats(0.01, 1))
@settings(max_examples=40, deadline=None)
def test_an_update_lowers_the_potential_as_guaranteed(seed, eta):
    mechanism, generator = small_pmw(seed, eta=eta)
    for query in generator.uniform(-1, 1, (20, 32)):
        before, updates = mechanism.potential, mechanism.n_updates
        mechanism.answer(query)
        assert mechanism.h.min() >= 0
        assert mechanism.h.sum() == pytest.approx(1)
        if mechanism.n_updates > updates:
            gap, right = mechanism.alarms[-1]
            assert right == 1
            assert before - mechanism.potential >= eta * gap - eta**2 / 2 - 1e-12
        else:
            assert mechanism.potential == before


def test_many_passes_learn_all_queries():
    mechanism, generator = small_pmw(threshold=0.0, eta=0.01)
    queries = generator.choice([-1.0, 1.0], (10, 32))
    for eta in (0.1, 0.03, 0.01, 0.003, 0.001):
        mechanism.eta = eta
        for _ in range(60):
            mechanism.answer_many(queries)
    assert np.abs(queries @ (mechanism.S - mechanism.h)).max() < 0.005


def test_updates_are_bounded_whoever_asks():
    """Without noise every update has the right sign and a gap above T, so KL(S‖h) ≤ log N bounds their number."""
    T, eta, N = 0.08, 0.05, 64
    generator = rng(6)
    hist = generator.multinomial(400, generator.dirichlet(np.full(N, 0.3)))
    mechanism = ada.PMW(hist, T, 0.0, eta, 10**6, rng())
    pool = analysts.random_signs(300, N, generator).astype(float)
    start = mechanism.potential
    errors = ada.greedy_analyst(mechanism, mechanism.S, pool, 600)
    assert 0 < mechanism.n_updates <= start / (eta * T - eta**2 / 2)
    assert start <= np.log(N)
    assert errors[-50:].max() <= T  # nothing is left to complain about


def test_a_wrong_sign_is_noticed(monkeypatch):
    """Mutant: an update in the wrong direction raises the potential, and the test above would fail."""
    right = pmw.PMW._update
    monkeypatch.setattr(pmw.PMW, "_update", lambda self, query, sign: right(self, query, -sign))
    mechanism, generator = small_pmw()
    before = mechanism.potential
    mechanism.answer_many(generator.choice([-1.0, 1.0], (20, 32)))
    assert mechanism.potential > before


def test_pmw_batches_change_nothing():
    first, generator = small_pmw(3, sigma=0.02)
    queries = generator.choice([-1.0, 1.0], (600, 32))
    second, _ = small_pmw(3, sigma=0.02)
    np.testing.assert_allclose(first.answer_many(queries), [second.answer(q) for q in queries], atol=1e-12)
    assert first.n_updates == second.n_updates > 0


def test_pmw_refuses_when_its_updates_are_used():
    mechanism, generator = small_pmw(max_updates=2, threshold=0.0)
    with pytest.raises(ada.BudgetExhausted, match="updates are used"):
        mechanism.answer_many(generator.choice([-1.0, 1.0], (50, 32)))
    quiet, generator = small_pmw(max_updates=2, threshold=0.0, on_exhausted="nan")
    answers = quiet.answer_many(generator.choice([-1.0, 1.0], (50, 32)))
    assert np.isnan(answers).any()
    assert np.isfinite(answers).any()
    assert quiet.n_updates == 2


def test_pmw_takes_functions_of_its_universe():
    universe = np.arange(4.0)
    mechanism = ada.PMW([5, 0, 0, 5], 0.0, 0.0, 0.5, 100, rng(), universe=universe)
    assert mechanism.answer(lambda x: np.where(x < 1, 1.0, 0.0)) == pytest.approx(0.5)
    with pytest.raises(TypeError, match="given no universe"):
        small_pmw()[0].answer(np.cos)


# -- a holdout that outlives the process -----------------------------------------------------------------------


@pytest.fixture
def sets():
    generator = rng(7)
    return generator.normal(size=(100, 2)), generator.normal(size=(120, 2))


def costly(sets):
    """A question on which the sets disagree completely."""
    return np.ones(len(sets[0])), -np.ones(len(sets[1]))


def free(rows):
    return np.zeros(len(rows))


def make(sets, path, **changes):
    options = {"budget": 3, "threshold": 0.3, "sigma": 0.01, "rng": rng(11)} | changes
    return ada.ReusableHoldout(*sets, path, **options)


def test_holdout_pays_refuses_and_stays_refused(sets, tmp_path):
    path = tmp_path / "state.json"
    keeper = make(sets, path)
    assert [keeper.ask(free).remaining for _ in range(5)] == [3] * 5
    assert [keeper.ask(costly(sets)).remaining for _ in range(3)] == [2, 1, 0]
    for _ in range(2):
        with pytest.raises(ada.BudgetExhausted):
            keeper.ask(free)
    with pytest.raises(ada.BudgetExhausted):
        ada.ReusableHoldout.resume(*sets, path).ask(free)


def test_a_resumed_session_equals_an_uninterrupted_one(sets, tmp_path):
    questions = [free, costly(sets), free, costly(sets), free, costly(sets)]
    whole = make(sets, tmp_path / "a.json")
    expected = [whole.ask(q) for q in questions]
    make(sets, tmp_path / "b.json")
    found = [ada.ReusableHoldout.resume(*sets, tmp_path / "b.json").ask(q) for q in questions]
    assert found == expected
    batch = make(sets, tmp_path / "c.json")
    assert batch.ask_many(questions) == expected
    assert json.loads((tmp_path / "a.json").read_text())["mechanism"]["n_positive"] == 3


def test_answers_of_a_batch_beyond_the_budget_are_written_before_they_are_given(sets, tmp_path):
    keeper = make(sets, tmp_path / "s.json", budget=2)
    with pytest.raises(ada.BudgetExhausted) as refusal:
        keeper.ask_many([costly(sets)] * 5)
    assert len(refusal.value.partial) == 2
    assert ada.ReusableHoldout.resume(*sets, tmp_path / "s.json").remaining == 0


def test_another_holdout_set_is_refused(sets, tmp_path):
    path = tmp_path / "s.json"
    make(sets, path)
    train, hidden = sets
    for other in (hidden + 1e-12, hidden[::-1], hidden[:-1], hidden.astype(np.float32)):
        with pytest.raises(ValueError, match="another holdout set"):
            ada.ReusableHoldout.resume(train, other, path)
    assert ada.ReusableHoldout.resume(train, hidden.copy(), path).remaining == 3


def test_fingerprint_sees_names_types_and_text():
    table = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]})
    variants = [
        table.rename(columns={"a": "c"}),
        table.assign(a=[1, 2]),
        table.assign(b=["x", "z"]),
        table.iloc[::-1],
        table[["b", "a"]],
    ]
    prints = {ada.fingerprint(t) for t in [table, *variants]}
    assert len(prints) == 6
    assert ada.fingerprint(table.copy()) == ada.fingerprint(table)


def test_a_new_state_over_an_old_one_is_refused(sets, tmp_path):
    make(sets, tmp_path / "s.json")
    with pytest.raises(FileExistsError, match="refund"):
        make(sets, tmp_path / "s.json")
    with pytest.raises(FileNotFoundError):
        ada.ReusableHoldout.resume(*sets, tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{", encoding="utf-8")
    (tmp_path / "other.json").write_text("[1]", encoding="utf-8")
    for name in ("bad.json", "other.json"):
        with pytest.raises(ValueError, match="not a state"):
            ada.ReusableHoldout.resume(*sets, tmp_path / name)


def test_two_objects_on_one_state_can_not_spend_twice(sets, tmp_path):
    one = make(sets, tmp_path / "s.json")
    two = ada.ReusableHoldout.resume(*sets, tmp_path / "s.json")
    one.ask(costly(sets))
    with pytest.raises(RuntimeError, match="another process"):
        two.ask(costly(sets))
    assert ada.ReusableHoldout.resume(*sets, tmp_path / "s.json").remaining == 2


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_no_answer_without_a_state_on_disk(sets, tmp_path, monkeypatch, step):
    keeper = make(sets, tmp_path / "s.json")
    before = (tmp_path / "s.json").read_text()

    def fail(*_):
        raise OSError("no space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(holdout.os, step, fail)
        with pytest.raises(OSError, match="no space"):
            keeper.ask(costly(sets))
    assert (tmp_path / "s.json").read_text() == before  # whole, and as before
    assert keeper.remaining == 2  # this object counts it as spent, although it gave nothing
    assert keeper.ask(costly(sets)).remaining == 1
    assert ada.ReusableHoldout.resume(*sets, tmp_path / "s.json").remaining == 1


KILLED = """
import os, signal, sys
import numpy as np
from loglik.information.adaptive_data_analysis import ReusableHoldout, holdout

path, moment = sys.argv[1:]
rng = np.random.default_rng(7)
sets = rng.normal(size=(100, 2)), rng.normal(size=(120, 2))
keeper = ReusableHoldout.resume(*sets, path)
real = os.replace

def killed(*args):
    if moment == "after":
        real(*args)
    os.kill(os.getpid(), signal.SIGKILL)

holdout.os.replace = killed
answer = keeper.ask((np.ones(100), -np.ones(120)))
print("answered", answer)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize(("moment", "left"), [("before", 3), ("after", 2)])
def test_a_kill_never_refunds(sets, tmp_path, moment, left):
    """Killed just before or just after the state moves into place; either way no answer has left the process."""
    path = tmp_path / "state.json"
    make(sets, path)
    run = subprocess.run(
        [sys.executable, "-c", KILLED, str(path), moment],
        capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert run.returncode == -signal.SIGKILL, run.stderr
    assert "answered" not in run.stdout
    keeper = ada.ReusableHoldout.resume(*sets, path)
    assert keeper.remaining == left
    assert keeper.ask(costly(sets)).remaining == left - 1


def test_a_refunding_mutant_is_noticed(sets, tmp_path, monkeypatch):
    """Mutant: the state is written only after the answer is out, so a crash in between refunds it."""
    keeper = make(sets, tmp_path / "s.json")
    monkeypatch.setattr(holdout, "_write", lambda *_: None)  # the crash comes before the late write
    keeper.ask(costly(sets))
    monkeypatch.undo()
    assert ada.ReusableHoldout.resume(*sets, tmp_path / "s.json").remaining == 3  # refunded: what must not be


def test_resumed_noise_is_never_used_twice(sets, tmp_path):
    values = {make(sets, tmp_path / "s.json", budget=20).ask(costly(sets)).value}
    for _ in range(19):
        values.add(ada.ReusableHoldout.resume(*sets, tmp_path / "s.json").ask(costly(sets)).value)
    assert len(values) == 20


# -- attacks ---------------------------------------------------------------------------------------------------


def test_random_signs_are_signs():
    table = analysts.random_signs(7, 13, rng())
    assert table.shape == (7, 13)
    assert set(np.unique(table)) == {-1, 1}


def test_ties_vote_too():
    """With an even n one answer in √(πn/2) is 0. Dropped votes lift the overfit by a factor of about 1.01.

    The mean of 600 repetitions within 3.5 standard errors: 1 false alarm in 2000 seeds; fixed seed.
    """
    found = np.array(
        [analysts.aggregation_overfit(400, [400], [None], rng([8, s]))[0, 0] for s in range(600)]
    )
    curve = float(ada.overfit_curve(400, 400))
    assert abs(found.mean() - curve) < 3.5 * found.std(ddof=1) / np.sqrt(600)
    assert analysts.vote_signs(np.array([-0.5, 0.0, 2.0])).tolist() == [-1, 1, 1]


def test_a_bootstrap_interval_does_not_help():
    table = study.aggregation_study([400], [0.05, 1.0], [None], 20, 3)
    cover = study.bootstrap_coverage(table, rng()).set_index("m").coverage
    assert cover[400] == 0  # the truth is 23 standard errors away


@pytest.mark.parametrize("name", ["exact", "rounded", "Gaussian", "Ladder", "Thresholdout"])
def test_leaderboards(name):
    """Public accuracy above or near one half; private within 5 standard errors of it; fixed seed."""
    found = study_holdout.leaderboard_study(500, 100, 20, 1)
    mine = found[found.mechanism == name]
    assert abs(mine.private.mean() - 0.5) < 5 * 0.5 / np.sqrt(500 * 20)
    high = name in ("exact", "rounded")
    assert (mine.public.mean() > 0.6) == high


def test_least_squares_agrees_with_numpy():
    generator = rng(3)
    for shape in ((5, 9), (9, 9), (14, 9)):
        R, b = generator.normal(size=shape), generator.normal(size=shape[0])
        np.testing.assert_allclose(analysts._least_squares(R, b), np.linalg.lstsq(R, b)[0], atol=1e-10)
    singular = analysts._least_squares(np.ones((2, 2)), np.ones(2))
    np.testing.assert_allclose(singular, [0.5, 0.5])


def test_attack_stays_on_its_curve():
    """Nine cells within 4 standard errors of 30 repetitions (t law): 1 false alarm in 280 seeds; fixed seed."""
    noises = [None, ("gaussian", 0.03), ("laplace", 0.1)]
    table = study.aggregation_study([1000], [0.2, 1.0, 3.0], noises, 30, 5)
    cells = study.cell_summary(table)
    assert len(cells) == 9
    assert cells.z.abs().max() < 4


def test_attack_through_a_mechanism_has_the_law_of_the_fast_form():
    """Two-sample z below 4 for two checkpoints: 1 false alarm in 8000 seeds; fixed seed."""
    slow = [ada.sign_aggregation_attack(ada.EmpiricalMechanism(np.zeros(200)), 200, rng(s), [50, 200]) for s in range(40)]  # fmt: skip
    fast = np.array(
        [analysts.aggregation_overfit(200, [50, 200], [None], rng(100 + s))[0] for s in range(40)]
    )
    one = np.array([r.overfit for r in slow])
    z = (one.mean(0) - fast.mean(0)) / np.sqrt((one.var(0, ddof=1) + fast.var(0, ddof=1)) / 40)
    assert np.abs(z).max() < 4
    np.testing.assert_allclose([r.answer for r in slow], one)  # the naive holdout confirms its own overfit


def test_exact_answers_give_all_labels_away():
    y = analysts.random_signs(1, 60, rng(2))[0].astype(float)
    assert ada.reconstruction_attack(ada.EmpiricalMechanism(y), y, 60, rng()) == 1
    assert ada.reconstruction_attack(ada.GaussianMechanism(y, 0.5, rng()), y, 60, rng()) < 0.9


def test_freedman_agrees_with_ordinary_regression():
    import statsmodels.api as sm

    generator = rng(4)
    X, y = generator.normal(size=(3, 40, 5)), generator.normal(size=(3, 40))
    kept = np.array([[1, 1, 1, 1, 1], [1, 0, 1, 0, 0], [0, 0, 0, 0, 1]], dtype=bool)
    overall, single = analysts._regress(X, y, kept)
    for i in range(3):
        fit = sm.OLS(y[i], sm.add_constant(X[i][:, kept[i]])).fit()
        assert overall[i] == pytest.approx(fit.f_pvalue, rel=1e-8)
        np.testing.assert_allclose(single[i][kept[i]], fit.pvalues[1:], rtol=1e-8)


def test_freedman_fools_on_the_same_rows_only():
    """With 200 repetitions: binomial limits far beyond five standard errors on both sides; fixed seed."""
    found = ada.freedman(200, rng(0))
    assert (found.p_after < 0.05).mean() > 0.7
    assert (found.p_fresh < 0.05).mean() < 0.13


# -- variable selection ----------------------------------------------------------------------------------------


def run_selection(engine, reps, signal, n=200, d=300, ks=(0, 5, 20), seed=0):
    runs = [ada.variable_selection_experiment(n, d, ks, signal, rng([seed, i]), engine) for i in range(reps)]
    return np.array([[r.train, r.holdout, r.fresh] for r in runs])


@pytest.mark.parametrize("signal", [False, True])
def test_engines_agree(signal):
    """|z| < 4.2 in all 30 cells of 150 repetitions: 1 false alarm in 1200 seeds; fixed seed."""
    dense, fast = run_selection("dense", 150, signal), run_selection("columns", 150, signal, seed=1)
    spread = np.sqrt((dense.var(0, ddof=1) + fast.var(0, ddof=1)) / 150)
    z = (dense.mean(0) - fast.mean(0)) / np.where(spread > 0, spread, 1)
    assert np.abs(z).max() < 4.2
    ratio = dense.std(0)[spread > 0] / fast.std(0)[spread > 0]
    assert (np.abs(np.log(ratio)) < 0.35).all()


def test_nothing_selected_is_a_coin():
    found = ada.variable_selection_experiment(100, 50, [0], False, rng())
    assert (found.train == 0.5).all()
    np.testing.assert_array_equal(found.fresh, [0.5, 0.5])


def test_thresholdout_on_the_report_alone_is_noticed():
    """Mutant: leaving the selection unprotected keeps the bias. At n = d = 4000 it is some 0.08; 5 repetitions."""
    right = study_holdout.selection_study(4000, 4000, 5, 0, ks=(100, 200))
    wrong = study_holdout.selection_study(4000, 4000, 5, 0, ks=(100, 200), mistaken=True)

    def bias(table):
        part = table[(table.method == "Thresholdout") & ~table.signal]
        return (part.holdout - part.fresh).groupby(part.k).mean().max()

    assert bias(right) < 0.04 < bias(wrong)


def test_ranking():
    train = np.array([0.5, -0.6, 0.05, 0.9, 0.4])
    hold = np.array([0.3, -0.2, 0.5, -0.5, 0.11])
    assert selection.ranked(train, hold, 100).tolist() == [1, 0, 4]


# -- studies and workflow --------------------------------------------------------------------------------------


def test_exponential_study_obeys_its_bounds():
    """The gap's mean has a relative error under 1 %; the bound ε/2 is four times as large. Fixed seed."""
    means = study.exponential_study(300, 200, [0.1, 0.5, np.inf], 400, 0).groupby("epsilon").mean()
    assert means.gap[0.1] < ada.generalization_bound(epsilon=0.1)
    assert means.gap[0.5] < ada.generalization_bound(epsilon=0.5)
    assert means.gap.is_monotonic_increasing
    assert means.gap[0.1] == pytest.approx(0.1 / 8, rel=0.1)  # first order: ε n Var/2
    assert (means.failures <= np.exp(-3)).all()


def test_hostile_analyst_gets_the_budget_and_no_more():
    found = study_holdout.hostile_study(200, [1, 7, 40], 0.05, 3, 0)
    assert (found.paid == found.budget).all()
    assert found.refused.all()


def test_forgetting_refunds_and_remembering_does_not():
    found = study_holdout.restart_study(100, (1, 4), 5, 0.05, 2, 0)
    last = found[found.restarts == 4].groupby("holdout").answers.mean()
    assert last["forgets"] == 20
    assert last["remembers"] == 5


def test_pmw_study_starts_off_the_truth():
    D = study.biased_bits(6)
    assert D.sum() == pytest.approx(1)
    assert D.max() / D.min() > 20  # h is uniform at first, so D must not be
    found = study.pmw_study(6, [2000], [10, 200], 2, 0)
    assert set(found.mechanism) == {study.NAIVE, study.GAUSSIAN, study.PRIVATE_MW}
    trace = study.potential_trace(6, 2000, 100, rng())
    assert (trace.potential <= trace.guaranteed + 1e-9).all()


def test_crossing_is_exact_on_a_line():
    ratios = np.array([0.5, 0.7, 1.0])
    means = 0.5 + 0.3 * np.log(ratios / 0.8)
    assert study.crossing(means[None], ratios)[0] == pytest.approx(0.8)


def test_real_tables():
    data = study_data.load_abalone_sex()
    assert data.X.shape == (2833, 35)  # both rows of height 0 are infants
    assert set(np.unique(data.y)) == {-1, 1}
    cells, D = study_data.wine_universe()
    assert (cells.shape, int((D > 0).sum())) == ((2048, 11), 494)
    assert D.sum() == pytest.approx(1)
    assert study_data.easy_queries(cells).shape == (66, 2048)


@pytest.fixture
def csv(tmp_path):
    generator = rng(1)
    X = generator.normal(size=(300, 4))
    table = pd.DataFrame(X, columns=list("abcd")).assign(
        kind=generator.choice(["u", "v"], 300), out=np.where(X[:, 0] + generator.normal(size=300) > 0, "yes", "no")
    )  # fmt: skip
    path = tmp_path / "mine.csv"
    table.to_csv(path, index=False)
    return str(path)


def test_workflow_on_a_readers_file(csv, tmp_path):
    table = workflow.read_table(csv, "out")
    assert table.meaning == "out is yes"
    sets = workflow.make_sets(table, rng(), probes=20)
    assert [len(s) for s in sets[1:]] == [100, 100, 100]
    assert len(sets.names) == 25
    assert {"yes", "NO"} >= set(workflow.check_assumptions(sets, 10).holds.map({True: "yes", False: "NO"}))
    keeper = ada.ReusableHoldout(sets.train, sets.holdout, tmp_path / "s.json", budget=40, rng=rng())
    found = workflow.reusable_session(sets, (1, 3), keeper)
    assert found.accuracy.k.tolist() == [1, 3]
    assert keeper.budget_spent()["n_positive"] == found.transcript.paid.sum()
    naive = workflow.naive_session(sets, (1, 3))
    assert naive.transcript.answer.notna().all()
    best = workflow.strongest(naive, found, 4)
    assert best.training.abs().is_monotonic_decreasing
    assert list(best) == ["training", "naive holdout", "reusable holdout", "paid", "fresh"]
    both = workflow.compare_sessions(table, (1, 3), 2, 0, probes=5, budget=30)
    assert len(workflow.bias_table(both)) == 4


def test_workflow_splits_a_separate_holdout_file(csv):
    table = workflow.read_table(csv, "out", features=["a", "b"])
    sets = workflow.make_sets(table, rng(), holdout=table)
    assert [len(s) for s in sets[1:]] == [300, 200, 100]
    other = workflow.read_table(csv, "out", features=["a", "c"])
    with pytest.raises(ValueError, match="differ from"):
        workflow.make_sets(table, rng(), holdout=other)


def test_workflow_names_what_is_wrong(csv, tmp_path):
    with pytest.raises(ValueError, match="has no column"):
        workflow.read_table(csv, "missing")
    with pytest.raises(ValueError, match="positive must be one of"):
        workflow.read_table(csv, "out", positive="maybe")
    assert workflow.read_table(csv, "a").meaning.startswith("a above its median")
    small = workflow.Table(pd.DataFrame({"a": np.arange(20.0)}), np.ones(20), "")
    with pytest.raises(ValueError, match="too few"):
        workflow.make_sets(small, rng())


# -- bad input -------------------------------------------------------------------------------------------------

BAD = [
    (lambda: ada.EmpiricalMechanism(np.zeros(3)).answer([0, 0, 2]), ValueError, r"must lie in \[-1, 1\]"),
    (lambda: ada.EmpiricalMechanism(np.zeros(3)).answer([0, 0]), ValueError, "one value for each of the 3 rows"),
    (lambda: ada.EmpiricalMechanism(np.zeros(3)).answer([0, 0, np.nan]), ValueError, "must lie in"),
    (lambda: ada.EmpiricalMechanism(np.zeros(0)), ValueError, "empty"),
    (lambda: ada.EmpiricalMechanism(np.zeros(2), query_range=(1, 1)), ValueError, "in order"),
    (lambda: ada.GaussianMechanism(np.zeros(2), -1, rng()), ValueError, "sigma must be"),
    (lambda: ada.GaussianMechanism(np.zeros(2), 1, 0), TypeError, "numpy.random.Generator"),
    (lambda: ada.SplitMechanism(np.zeros(2), 3), ValueError, "can't be split"),
    (lambda: ada.PMW([0, 0], 0, 0, 0.1, 5, rng()), ValueError, "counts"),
    (lambda: ada.PMW([1, 2], 0, 0, 2.0, 5, rng()), ValueError, "at most 1"),
    (lambda: ada.PMW([1, 2], 0, 0, 0.1, 5, rng()).answer([3, 0]), ValueError, "must lie in"),
    (lambda: ada.PMW([1, 2], 0, 0, 0.1, 5, rng(), noise="pink"), ValueError, "noise must be one of"),
    (lambda: ada.sparse_vector([np.nan], 0, 1, 1, rng()), ValueError, "finite"),
    (lambda: ada.sparse_vector([1.0], 0, 0, 1, rng()), ValueError, "epsilon must be"),
    (lambda: ada.sparse_vector([1.0], 0, 1, 1.5, rng()), TypeError, "integer"),
    (lambda: ada.exponential_mechanism([], 1, 1, rng()), ValueError, "at least one candidate"),
    (lambda: ada.thresholdout([1.0], [1.0, 2.0], 1, 1, rng()), ValueError, "differ in shape"),
    (lambda: ada.ThresholdoutMechanism([0], [0], -1, 1, 1, rng()), ValueError, "threshold"),
    (lambda: ada.ThresholdoutMechanism([0], [0], 1, 1, 1, rng()).answer([0.0]), TypeError, "both sets"),
    (lambda: ada.ThresholdoutMechanism([0], [0], 1, 1, 1, rng()).answer_many([[0.0]]), TypeError, "both sets"),
    (lambda: ada.ThresholdoutMechanism([0], [0], 1, 1, 1, rng(), noise="x"), ValueError, "noise must be"),
    (lambda: ada.generalization_bound(), ValueError, "exactly one"),
    (lambda: ada.generalization_bound(information=1.0), ValueError, "needs n"),
    (lambda: ada.generalization_bound(rho=-1.0), ValueError, "at least 0"),
    (lambda: ada.required_n(0, 0.1), ValueError, "at least 1"),
    (lambda: ada.required_n(5, 1.5), ValueError, "strictly between"),
    (lambda: ada.required_n(5, 0.1, mechanism="pmw"), ValueError, "needs universe"),
    (lambda: ada.required_n(5, 0.1, mechanism="hope"), ValueError, "one of split"),
    (lambda: ada.overfit_curve(1, 1, ("cauchy", 1.0)), ValueError, "noise must be"),
    (lambda: ada.compose_zcdp(-1.0, 0.1), ValueError, "at least 0"),
    (lambda: ada.compose_zcdp(1.0, 1.0), ValueError, "strictly between"),
    (lambda: ada.audit_dp(ada.LaplaceLaw(1), 0, 1, []), ValueError, "at least one event"),
    (lambda: ada.audit_dp(lambda d, g: d, 0, 1, [bool]), ValueError, "needs rng"),
    (lambda: ada.SparseVectorLaw(0, 1).log_probability([1.0], [True, False]), ValueError, "as many values"),
    (lambda: ada.variable_selection_experiment(10, 30), TypeError, "rng is needed"),
    (lambda: ada.variable_selection_experiment(10, 5, (1,), True, rng()), ValueError, "d must be at least 20"),
    (lambda: ada.variable_selection_experiment(10, 5, (1,), False, rng(), "gpu"), ValueError, "engine"),
    (lambda: ada.holdout_on_table(np.zeros((9, 2)), np.zeros(9), (1,), rng()), ValueError, "labels -1 or 1"),
    (lambda: ada.sign_aggregation_attack(ada.EmpiricalMechanism([0]), 5, rng(), [9]), ValueError, "pass m"),
    (lambda: ada.reconstruction_attack(ada.EmpiricalMechanism([0]), [0.5], 1, rng()), ValueError, "labels"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "words"), BAD)
def test_bad_input_is_named(call, kind, words):
    with pytest.raises(kind, match=words):
        call()


def test_import_is_light():
    code = "import sys, loglik.information.adaptive_data_analysis; print('torch' in sys.modules, 'jax' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False"]
    assert mechanisms.DELTA == 1e-6
