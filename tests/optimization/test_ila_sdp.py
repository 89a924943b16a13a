"""iLA-SDP: exact identities, agreement with conic solvers and brute force, invariances, bad input, mutants.

Tests with random data are identities or inequalities that hold for any seed, except those that say their
false-alarm rate.
"""

from __future__ import annotations

import doctest
import importlib
import itertools

import cvxpy
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from loglik.optimization.ila_sdp import (
    ILASDP,
    admm,
    alternation,
    baselines,
    datasets,
    inputs,
    kmeans_costs,
    kmeans_programme,
    kmeans_sdp,
    la_sdp,
    labelling_cost,
    lifted,
    load_csv,
    load_openml,
    load_table,
    membership_covariances,
    misclustering_error,
    pairwise_costs,
    positive,
    profile_negloglik,
    report,
    round_membership,
    simulate,
    study,
    study_theory,
)

LOOSE = {"max_iter": 3000, "tol": 1e-4}
TIGHT = {"max_iter": 20_000, "tol": 1e-7, "gap_tol": 0}


def some(n=18, K=3, p=3, seed=0, separation=4.0):
    """Rows, covariances and a labelling with every cluster occupied."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % K
    root = rng.normal(size=(K, p, p))
    sigma = root @ root.swapaxes(1, 2) + 0.5 * np.eye(p)
    centres = separation * rng.normal(size=(K, p))
    X = centres[truth] + np.einsum("npq,nq->np", np.linalg.cholesky(sigma)[truth], rng.normal(size=(n, p)))
    return X, sigma, truth


def conic(costs, traces, solver="CLARABEL", **options):
    """The programme by a public conic solver: optimum and matrices."""
    M, n, _ = costs.shape
    Z = [cvxpy.Variable((n, n), PSD=True) for _ in range(M)]
    constraints = [z >= 0 for z in Z] + [cvxpy.trace(z) == t for z, t in zip(Z, traces, strict=True)]
    constraints.append(cvxpy.sum([cvxpy.sum(z, axis=1) for z in Z], axis=0) == 1)
    problem = cvxpy.Problem(
        cvxpy.Minimize(sum(cvxpy.trace(c @ z) for c, z in zip(costs, Z, strict=True))), constraints
    )
    problem.solve(solver=solver, **options)
    return float(problem.value), np.stack([z.value for z in Z])


def brute_force(costs):
    """Least cost over all labellings with every cluster occupied, and a labelling that has it."""
    K, n, _ = costs.shape
    everything = np.array([(0, *rest) for rest in itertools.product(range(K), repeat=n - 1)])
    every = np.concatenate([(everything + shift) % K for shift in range(K)])
    every = every[(every[:, None] == np.arange(K)[:, None]).any(-1).all(-1)]
    values = np.concatenate([labelling_cost(costs, part) for part in np.array_split(every, 16)])
    return float(values.min()), every[values.argmin()]


# -- the likelihood without centroids ------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(6, 40), K=st.integers(2, 5), p=st.integers(1, 6))
def test_the_lifted_objective_is_the_profile_likelihood(seed, n, K, p):
    """I1, for any labels and any covariances."""
    X, sigma, _ = some(n, K, p, seed)
    labels = np.random.default_rng(seed).permutation(np.arange(n) % K)
    costs = pairwise_costs(X, sigma)
    textbook = profile_negloglik(X, labels, sigma)
    scale = np.abs(costs).max() * n
    assert abs((costs * lifted(labels, K)).sum() - textbook) <= 1e-12 * scale
    assert abs(labelling_cost(costs, labels) - textbook) <= 1e-12 * scale


def test_the_profile_likelihood_is_scipys_density():
    from scipy.stats import multivariate_normal

    X, sigma, labels = some()
    total = sum(
        multivariate_normal(X[labels == k].mean(0), sigma[k]).logpdf(X[labels == k]).sum() for k in range(3)
    )
    expected = -2 * total - X.size * np.log(2 * np.pi)
    assert profile_negloglik(X, labels, sigma) == pytest.approx(expected, rel=1e-12)


def test_a_pair_costs_what_its_formula_says():
    X, sigma, _ = some(6)
    costs = pairwise_costs(X, sigma)
    d = X[1] - X[4]
    assert costs[2, 1, 4] == pytest.approx(
        np.linalg.slogdet(sigma[2])[1] + d @ np.linalg.solve(sigma[2], d) / 2, rel=1e-12
    )
    stacked = pairwise_costs(np.stack([X, 2 * X]), np.stack([sigma, sigma]))
    np.testing.assert_array_equal(stacked[0], costs)
    np.testing.assert_allclose(kmeans_costs(X)[1, 4], d @ d / 2, rtol=1e-12)


def test_the_covariance_update_is_the_within_cluster_estimate():
    """I2 for integral memberships, against NumPy."""
    X, _, labels = some(20)
    found = membership_covariances(X, lifted(labels, 3), reg=0.25)
    wanted = [np.cov(X[labels == k].T, bias=True) + 0.25 * np.eye(3) for k in range(3)]
    np.testing.assert_allclose(found, wanted, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_covariance_update_is_its_pairwise_form_and_positive(seed):
    """I2 for any symmetric nonnegative matrices."""
    rng = np.random.default_rng(seed)
    X, Z = rng.normal(size=(9, 3)) + 5, rng.exponential(size=(2, 9, 9))
    Z = Z + Z.swapaxes(1, 2)
    d = X[:, None] - X
    pairs = np.einsum("kij,ijp,ijq->kpq", Z, d, d) / 2 / Z.sum((1, 2))[:, None, None]
    found = membership_covariances(X, Z)
    np.testing.assert_allclose(found, pairs, atol=1e-10)
    assert np.linalg.eigvalsh(found).min() > -1e-12


def test_covariance_types_and_shrinkage():
    X, _, labels = some(20)
    Z = lifted(labels, 3)
    full = membership_covariances(X, Z)
    pooled = np.einsum("k,kpq->pq", np.bincount(labels) / 20, full)
    of = {t: membership_covariances(X, Z, covariance_type=t) for t in inputs.COVARIANCE_TYPES}
    np.testing.assert_allclose(of["tied"], np.repeat(pooled[None], 3, 0), atol=1e-12)
    np.testing.assert_allclose(of["diag"], full * np.eye(3), atol=1e-12)
    np.testing.assert_allclose(np.trace(of["spherical"], axis1=1, axis2=2), np.trace(full, axis1=1, axis2=2))
    half = membership_covariances(X, Z, shrinkage=0.5)
    np.testing.assert_allclose(half, (full + pooled) / 2, atol=1e-12)


def test_a_single_row_cluster_keeps_a_positive_covariance():
    """I9."""
    X, _, _ = some(10)
    labels = np.array([0] * 9 + [1])
    np.testing.assert_allclose(
        membership_covariances(X, lifted(labels, 2), reg=0.1)[1], 0.1 * np.eye(3), atol=1e-12
    )


# -- the solver ----------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(2, 9), M=st.integers(1, 4), tau=st.floats(0.5, 3))
def test_the_affine_projection_is_a_projection(seed, n, M, tau):
    """Feasible, idempotent, and orthogonal to every feasible direction."""
    rng = np.random.default_rng(seed)
    A, B = (np.add(x, x.swapaxes(-1, -2)) for x in rng.normal(size=(2, 2, M, n, n)))
    traces = np.full(M, tau)
    P, Q = admm.project_affine(A, traces), admm.project_affine(B, traces)
    np.testing.assert_allclose(np.trace(P, axis1=-2, axis2=-1), tau, atol=1e-10)
    np.testing.assert_allclose(P.sum((1, 3)), 1, atol=1e-10)
    np.testing.assert_allclose(admm.project_affine(P, traces), P, atol=1e-10)
    np.testing.assert_allclose(((A - P) * (P - Q)).sum((1, 2, 3)), 0, atol=1e-8)


@pytest.mark.parametrize("n", [8, admm.BATCHED_BELOW, 60])
def test_the_semidefinite_part_agrees_with_numpy_and_torch(n):
    import torch

    A = np.random.default_rng(0).normal(size=(2, 2, n, n))
    A = A + A.swapaxes(-1, -2)
    values, vectors = np.linalg.eigh(A)
    wanted = (vectors * np.maximum(values, 0)[..., None, :]) @ vectors.swapaxes(-1, -2)
    np.testing.assert_allclose(admm.project_psd(A), wanted, atol=1e-10)
    np.testing.assert_allclose(admm.project_psd(torch.from_numpy(A)).numpy(), wanted, atol=1e-10)
    np.testing.assert_allclose(admm._least_eigenvalues(A), values[..., 0], atol=1e-10)


def drifting(n, ranks, steps, rng):
    """Matrices of some positive eigenvalues whose eigenvectors turn a little from step to step."""
    values = -np.abs(rng.normal(size=(len(ranks), n)))
    for row, rank in enumerate(ranks):
        values[row, :rank] = 0.5 + rng.random(rank)
    vectors = np.linalg.qr(rng.normal(size=(len(ranks), n, n)))[0]
    for _ in range(steps):
        yield (vectors * values[:, None]) @ vectors.swapaxes(-1, -2)
        vectors = np.linalg.qr(vectors + 1e-3 * rng.normal(size=vectors.shape))[0]


def part(M):
    values, vectors = np.linalg.eigh(M)
    return (vectors * np.maximum(values, 0)[..., None, :]) @ vectors.swapaxes(-1, -2)


@pytest.mark.parametrize("n", [12, 60])
def test_positive_parts_are_followed(n):
    follower = positive.Follower(3, n)
    for step, M in enumerate(drifting(n, (2, 5, n // 2), 8, np.random.default_rng(0))):
        found = follower.follow(M) if step else follower.start(M)
        np.testing.assert_allclose(found, part(M), atol=2e-3)  # the turn of a step moves it by 0.02
        if step == 4:
            follower.keep(np.array([True, True, False]))
            break
    M = M[:2]
    np.testing.assert_allclose(follower.start(M), part(M), atol=1e-10)


def test_a_follower_sees_eigenvalues_that_turn_positive_at_the_next_start():
    n, rng = 60, np.random.default_rng(1)
    few, many = next(drifting(n, (2,), 1, rng)), next(drifting(n, (30,), 1, rng))
    follower = positive.Follower(1, n)
    follower.start(few)
    np.testing.assert_allclose(follower.start(many), part(many), atol=1e-10)
    follower.start(few)
    assert (
        np.linalg.eigvalsh(follower.follow(many))[0].min() > -1e-10
    )  # semidefinite, though not yet the nearest


def test_dependent_columns_are_replaced_by_a_decomposition():
    M = next(drifting(60, (3,), 1, np.random.default_rng(2)))
    follower = positive.Follower(1, 60)
    follower.start(M)
    follower.bases[0] = np.ones_like(follower.bases[0])
    np.testing.assert_allclose(follower.follow(M), part(M), atol=1e-10)


def test_a_solve_that_follows_ends_where_an_exact_one_does(monkeypatch):
    draw = simulate.stretched_gmm(60, 3, 4, 6.0, 3.0, np.random.default_rng(0), (2,))
    costs = pairwise_costs(draw.X, np.broadcast_to(draw.covariances, (2, 3, 4, 4)))
    settings = admm.Settings(max_iter=2000, tol=1e-5, gap_tol=0.0)
    followed = admm.solve(costs, np.ones(3), 3, settings)
    monkeypatch.setattr(admm, "EXACT", 1)
    exact = admm.solve(costs, np.ones(3), 3, settings)
    assert followed.converged.all()
    np.testing.assert_allclose(followed.objective, exact.objective, rtol=1e-4)
    assert (np.abs(followed.n_iter - exact.n_iter) <= 0.2 * exact.n_iter).all()


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_an_interior_point_solver(seed):
    """I6, I7: optimum, matrices and feasibility against CLARABEL, with no early end by a certificate."""
    X, sigma, _ = some(18, 3, 3, seed, separation=1.5)
    costs = pairwise_costs(X, sigma)
    value, Z = conic(costs, np.ones(3))
    found = la_sdp(costs, **TIGHT)
    assert found.objective == pytest.approx(value, rel=1e-5)
    np.testing.assert_allclose(found.Z, Z, atol=1e-3)
    assert found.lower_bound <= value + 1e-6 * abs(value)
    assert found.lower_bound == pytest.approx(value, rel=1e-4)
    np.testing.assert_allclose(np.trace(found.Z, axis1=1, axis2=2), 1, atol=1e-4)
    np.testing.assert_allclose(found.Z.sum((0, 2)), 1, atol=1e-4)
    np.testing.assert_allclose(found.masses.sum(0), 1, atol=1e-4)
    assert np.linalg.eigvalsh(found.Z).min() >= -1e-5
    assert found.Z.min() >= 0


def test_the_kmeans_programme_agrees_with_an_interior_point_solver():
    X, _, _ = some(15, 3, 2, 1, separation=1.0)
    value, Z = conic(kmeans_costs(X)[None], [3.0])
    found = kmeans_programme(kmeans_costs(X), 3, **TIGHT)
    assert found.objective == pytest.approx(value, rel=1e-5)
    np.testing.assert_allclose(kmeans_sdp(X, 3, **TIGHT), Z[0], atol=1e-3)


def test_equal_covariances_are_the_kmeans_programme():
    """I5, C9: the same optimum, the split into clusters arbitrary, and the default rounding right all the same."""
    means, sigma = np.array([[0.0, 0.0], [8.0, 0.0], [0.0, 8.0]]), np.repeat(np.eye(2)[None], 3, 0)
    draw = simulate.gaussian_mixture(means, sigma, 15, np.random.default_rng(5))
    X, truth = draw.X, draw.labels
    costs = pairwise_costs(X, sigma)
    value, _ = conic(kmeans_costs(X)[None], [3.0])
    found = la_sdp(costs, **TIGHT)
    assert found.objective == pytest.approx(value, rel=1e-5)
    even = np.repeat(found.Z.mean(0, keepdims=True), 3, 0)
    assert (costs * even).sum() == pytest.approx((costs * found.Z).sum(), rel=1e-10)
    np.testing.assert_allclose(even.sum(-1), 1 / 3, atol=1e-4)
    assert misclustering_error(la_sdp(costs).labels, truth) == 0
    assert misclustering_error(round_membership(even, random_state=0), truth) == 0
    assert misclustering_error(round_membership(even, method="mass"), truth) > 0.3  # the toy (d)


@pytest.mark.parametrize("seed", range(4))
def test_bounds_and_certificates_hold_against_brute_force(seed):
    """I3: the bound is below every labelling; a certified labelling is the best one."""
    X, sigma, _ = some(10, 2, 2, seed, separation=2.0)
    costs = pairwise_costs(X, sigma)
    best, labels = brute_force(costs)
    found = la_sdp(costs, **LOOSE)
    assert found.lower_bound <= best + 1e-9 * abs(best)
    assert found.labels_cost >= best - 1e-9 * abs(best)
    if found.certified:
        assert found.labels_cost == pytest.approx(best, abs=1e-4 * 10 * np.abs(costs - costs.mean()).mean())
        if np.array_equal(found.labels, labels):
            np.testing.assert_allclose(found.Z, lifted(labels, 2), atol=1e-12)


def test_three_iterations_give_a_bound_that_holds():
    """The bound is rigorous at every point of the iteration, not in the limit only."""
    X, sigma, _ = some(10, 2, 2, 7, separation=1.0)
    costs = pairwise_costs(X, sigma)
    best, _ = brute_force(costs)
    with pytest.warns(ConvergenceWarning, match="stopped at max_iter=3"):
        found = la_sdp(costs, max_iter=3)
    assert -np.inf < found.lower_bound <= best


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_affine_equivariance(seed):
    """I4: labels stay, the optimum moves by exactly 2 n log|det B|; c of a million changes nothing."""
    X, sigma, _ = some(12, 2, 2, seed, separation=5.0)
    rng = np.random.default_rng(seed)
    B = rng.normal(size=(2, 2)) + 2 * np.eye(2)
    moved = X @ B.T + 1e6 * rng.normal(size=2)
    a, b = pairwise_costs(X, sigma), pairwise_costs(moved, B @ sigma @ B.T)
    shift = 2 * np.log(abs(np.linalg.det(B)))
    np.testing.assert_allclose(b - a, shift, atol=1e-6 * np.abs(a).max())
    found, other = la_sdp(a, **LOOSE), la_sdp(b, **LOOSE)
    np.testing.assert_array_equal(found.labels, other.labels)
    assert other.lower_bound - found.lower_bound == pytest.approx(12 * shift, abs=1e-3 * np.abs(a).max())


def test_renaming_covariances_renames_the_matrices():
    """I8."""
    X, sigma, _ = some(14, 3, 3, 3, separation=2.0)
    order = [2, 0, 1]
    costs = pairwise_costs(X, sigma)
    a, b = la_sdp(costs, **LOOSE), la_sdp(costs[order], **LOOSE)
    np.testing.assert_allclose(b.Z, a.Z[order], atol=1e-6)
    assert b.objective == pytest.approx(float(a.objective), rel=1e-8)


def test_problems_in_a_stack_are_solved_as_if_alone():
    drawn = [pairwise_costs(*some(12, 2, 2, s)[:2]) for s in range(5)]
    stack = la_sdp(np.stack(drawn).reshape(5, 1, 2, 12, 12), **LOOSE)
    assert stack.Z.shape == (5, 1, 2, 12, 12)
    assert stack.labels.shape == (5, 1, 12)
    for costs, Z, n_iter in zip(drawn, stack.Z[:, 0], stack.n_iter[:, 0], strict=True):
        alone = la_sdp(costs, **LOOSE)
        assert alone.n_iter == n_iter
        np.testing.assert_allclose(Z, alone.Z, atol=1e-9)


def test_a_gpu_would_run_the_same_code():
    """The torch path on the CPU: "cpu:0" is a torch device, "cpu" is NumPy."""
    costs = pairwise_costs(*some(12, 2, 2, 1, separation=1.0)[:2])
    a, b = la_sdp(costs, **LOOSE), la_sdp(costs, device="cpu:0", **LOOSE)
    assert a.n_iter == b.n_iter
    np.testing.assert_allclose(a.Z, b.Z, atol=1e-8)


def test_a_warm_start_at_the_solution_ends_at_once():
    costs = pairwise_costs(*some(16, 2, 2, 2, separation=1.0)[:2])
    cold = la_sdp(costs, gap_tol=0, **LOOSE)
    warm = la_sdp(costs, gap_tol=0, warm_start=cold.state, **LOOSE)
    assert warm.n_iter <= admm.CHECK < cold.n_iter
    assert warm.objective == pytest.approx(float(cold.objective), rel=1e-3)


def test_cut_costs_change_no_optimum():
    """Pairs far apart are cut to keep the scale; the interior-point solver sees the costs as they are."""
    X, sigma, _ = some(14, 2, 2, 4, separation=1.0)
    X[-3:] += 60.0
    costs = pairwise_costs(X, sigma)
    value, _ = conic(costs, np.ones(2))
    cut = admm._first_cap(costs[None], 2)
    assert costs.max() > 10 * cut[0]
    found = la_sdp(costs, max_iter=20_000, tol=1e-6, gap_tol=0)
    assert found.lower_bound <= value + 1e-6 * abs(value)
    assert found.objective == pytest.approx(value, rel=1e-3)


def test_caps_are_raised_where_mass_lies_on_cut_pairs(monkeypatch):
    """A cap so low that it cuts pairs of the solution must give way, or the optimum is wrong."""
    X, sigma, _ = some(14, 2, 2, 0, separation=1.0)
    costs = pairwise_costs(X, sigma)
    value, _ = conic(costs, np.ones(2))
    monkeypatch.setattr(admm, "CAP", 3.0)
    found = la_sdp(costs, max_iter=20_000, tol=1e-6, gap_tol=0)
    assert found.objective == pytest.approx(value, rel=1e-3)
    monkeypatch.setattr(admm._Running, "raise_caps", lambda self, W, finished: finished & False)
    broken = la_sdp(costs, max_iter=20_000, tol=1e-6, gap_tol=0)
    assert broken.lower_bound < value - 1e-2 * abs(value)  # the mutant: never raised


# -- the iteration -------------------------------------------------------------------------------------------


def crossing(n=60, seed=0):
    return simulate.crossing_gmm(n, np.random.default_rng(seed))


def test_the_alternation_descends():
    """Without a ridge both half steps minimise the same function."""
    draw = crossing()
    shape = alternation.Shape(reg=0.0)
    start = alternation.start_covariances(draw.X[None], baselines.ward_labels(draw.X, 3)[None], 3, shape)
    accurate = admm.Settings(max_iter=3000, tol=1e-6, gap_tol=1e-7)
    found = alternation.alternate(draw.X[None], start, shape, max_outer=5, settings=accurate)
    path = np.array(found.objective_path[0])
    assert len(path) >= 4
    assert (np.diff(path) <= 1e-3 * np.abs(path).max()).all()


def test_data_sets_in_a_stack_are_clustered_as_if_alone():
    draw = simulate.crossing_gmm(30, np.random.default_rng(1), (3,))
    shape = alternation.Shape(reg=0.01)
    start = alternation.start_covariances(
        draw.X, np.stack([baselines.ward_labels(x, 3) for x in draw.X]), 3, shape
    )
    together = alternation.alternate(draw.X, start, shape, max_outer=3, soft_rounds=2)
    for b in range(3):
        alone = alternation.alternate(draw.X[[b]], start[[b]], shape, max_outer=3, soft_rounds=2)
        np.testing.assert_array_equal(alone.labels[0], together.labels[b])
        assert alone.iterations[0] == together.iterations[b]


def test_shapes_that_kmeans_cuts_are_found():
    """The seed is fixed, and with it the rows."""
    draw = crossing(90)
    labels = KMeans(3, n_init=10, random_state=0).fit_predict(draw.X)
    model = ILASDP(3, reg=0.01, init="ward").fit(draw.X)
    assert misclustering_error(labels, draw.labels) > 0.1
    assert misclustering_error(model.labels_, draw.labels) < 0.1
    assert 0 <= model.gap_ < 10
    assert model.negloglik_ == pytest.approx(profile_negloglik(draw.X, model.labels_, model.covariances_))


@pytest.mark.parametrize("init", ["ward", "kmeans", "sdp", "labels", "covariances"])
def test_every_start_is_taken(init):
    draw = crossing(30)
    start = {"labels": draw.labels, "covariances": draw.covariances}.get(init, init)
    model = ILASDP(3, init=start, reg=0.05, random_state=0).fit(draw.X)
    assert model.labels_.shape == (30,)
    assert model.membership_.shape == (30, 3)
    assert model.Z_.shape == (3, 30, 30)
    assert model.covariances_.shape == (3, 2, 2)
    np.testing.assert_allclose(model.membership_.sum(1), 1, atol=0.05)
    assert len(model.objective_path_) <= 2 * model.n_outer_


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_unknown_rows_go_to_their_cluster():
    draw, fresh = crossing(60), crossing(60, seed=1)
    model = ILASDP(3, reg=0.01).fit(draw.X)
    assert misclustering_error(model.predict(fresh.X), fresh.labels) < 0.1
    np.testing.assert_array_equal(model.predict(draw.X), model.labels_)
    with pytest.raises(NotFittedError):
        ILASDP().predict(draw.X)


def test_duplicate_rows_are_no_trouble():
    """I9."""
    X = np.repeat(crossing(15).X, 2, axis=0)
    labels = ILASDP(3, reg=0.05).fit_predict(X)
    np.testing.assert_array_equal(labels[::2], labels[1::2])


def test_it_stands_in_a_pipeline_with_a_data_frame():
    frame = pd.DataFrame(crossing(30).X, columns=["a", "b"])
    model = make_pipeline(StandardScaler(), ILASDP(3, reg=0.01))
    assert model.fit_predict(frame).shape == (30,)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks([ILASDP()])
def test_scikit_learn_contract(estimator, check):
    check(estimator)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_every_type_of_covariance_fits():
    draw = crossing(30)
    for kind in inputs.COVARIANCE_TYPES:
        model = ILASDP(3, covariance_type=kind, reg=0.05).fit(draw.X)
        assert np.linalg.eigvalsh(model.covariances_).min() >= 0.05 - 1e-9


# -- labels, data, rivals ------------------------------------------------------------------------------------


def test_the_error_is_free_of_names():
    truth = np.array([0, 0, 1, 1, 2, 2])
    assert misclustering_error(["b", "b", "a", "a", "c", "c"], truth) == 0
    assert misclustering_error([0, 0, 0, 0, 0, 0], truth) == pytest.approx(2 / 3)
    assert misclustering_error([0, 1, 2, 3, 4, 5], truth) == pytest.approx(1 / 2)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=15))
def test_the_error_is_the_best_of_all_permutations(pairs):
    a, b = np.array(pairs).T
    best = max(np.mean(np.array(order)[a] == b) for order in itertools.permutations(range(4)))
    assert misclustering_error(a, b) == pytest.approx(1 - best)


def test_the_threshold_of_the_brief():
    assert simulate.threshold(60, 2, 4) == pytest.approx(5.75, abs=0.005)


def test_simulations_have_the_shapes_they_promise():
    """Bounds of 6 standard errors: false alarms below 1e-7."""
    draw = simulate.stretched_gmm(40_000, 2, 3, 6.0, 4.0, np.random.default_rng(0))
    assert np.linalg.norm(draw.means[0] - draw.means[1]) == pytest.approx(6)
    for k in range(2):
        found = np.cov(draw.X[draw.labels == k].T)
        np.testing.assert_allclose(np.diag(found), np.diag(draw.covariances[k]), rtol=6 * np.sqrt(2 / 20_000))
    assert misclustering_error(draw.bayes_labels(), draw.labels) < 0.1
    pair = simulate.pair_gmm(10, 4, 3.0, np.random.default_rng(0), (2,), ratio=4.0)
    np.testing.assert_allclose(
        np.diagonal(pair.covariances, axis1=1, axis2=2), [[1, 1, 4, 0.5], [1, 1, 0.5, 4]]
    )


def test_em_starts_where_it_is_told():
    draw = crossing(60)
    labels = baselines.em_from_labels(draw.X, draw.labels, reg=0.01)
    assert misclustering_error(labels, draw.labels) < 0.1


def test_tables(tmp_path):
    table = load_table("iris")
    assert table.X.shape == (150, 4)
    assert len(table.names) == 3
    table.X.assign(kind=table.labels, word="x").to_csv(tmp_path / "a.csv", index=False)
    read = load_csv(tmp_path / "a.csv", truth="kind")
    np.testing.assert_allclose(read.X.drop(columns=[], errors="ignore"), table.X)
    np.testing.assert_array_equal(read.labels, table.labels)
    assert load_csv(tmp_path / "a.csv", features=list(table.X.columns[:2])).X.shape == (150, 2)
    assert datasets.prepare(table.X, 2).shape == (150, 2)
    np.testing.assert_allclose(datasets.prepare(table.X).std(0), 1)


def test_tables_that_cannot_be_read(tmp_path, monkeypatch):
    (tmp_path / "b.csv").write_text("a,b,c\n1,x,5\n2,y,5\n,z,5\n", encoding="utf-8")
    with pytest.raises(FileNotFoundError, match="load_table ships iris"):
        load_csv(tmp_path / "none.csv")
    with pytest.raises(ValueError, match=r"lacks columns \['d'\]; it has \['a', 'b', 'c'\]"):
        load_csv(tmp_path / "b.csv", features=["d"])
    with pytest.raises(ValueError, match=r"column 'a': 1"):
        load_csv(tmp_path / "b.csv")
    with pytest.raises(ValueError, match=r"\['b'\] aren't numeric"):
        load_csv(tmp_path / "b.csv", features=["a", "b"])
    with pytest.raises(ValueError, match=r"\['c'\] are constant"):
        datasets.prepare(pd.DataFrame({"a": [1.0, 2.0], "c": [5.0, 5.0]}))
    with pytest.raises(ValueError, match="must be one of iris"):
        load_table("nile")

    def offline(*_, **__):
        raise OSError("no route")

    monkeypatch.setattr(datasets.bundled, "fetch_openml", offline)
    with pytest.raises(ConnectionError, match="load_table ships iris"):
        load_openml("vehicle")


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: pairwise_costs([[1.0, np.nan]], np.eye(2)[None]), "1 values that are NaN"),
        (lambda: pairwise_costs([[1.0, 2.0]], np.eye(3)[None]), r"shape \(K, 2, 2\)"),
        (lambda: pairwise_costs([[1.0, 2.0]], [[[1, 0], [0, -1]]]), "least eigenvalue is -1"),
        (lambda: pairwise_costs([[1.0, 2.0]], [[[1, 0.5], [0, 1]]]), "symmetric"),
        (lambda: la_sdp(np.zeros((1, 4, 4))), "at least 2, got 1"),
        (lambda: la_sdp(np.zeros((5, 4, 4))), "n_clusters=5 clusters need as many rows"),
        (lambda: la_sdp(np.zeros((2, 4, 3))), r"shape \(K, n, n\)"),
        (lambda: la_sdp(np.triu(np.ones((2, 4, 4)))), "symmetric"),
        (lambda: la_sdp(np.full((2, 4, 4), np.inf)), "32 values"),
        (lambda: la_sdp(np.zeros((2, 4, 4)), tol=0.0), r"tol must lie in \(0"),
        (lambda: la_sdp(np.zeros((2, 4, 4)), max_iter=0), "max_iter"),
        (lambda: la_sdp(np.zeros((2, 4, 4)), warm_start=la_sdp(np.zeros((2, 5, 5))).state), "warm_start"),
        (lambda: kmeans_sdp(np.zeros((4, 2)), 5), "n_clusters=5"),
        (lambda: membership_covariances(np.zeros((4, 2)), -np.ones((2, 4, 4))), "nonnegative"),
        (lambda: membership_covariances(np.zeros((4, 2)), np.ones((2, 3, 3))), r"shape \(K, 4, 4\)"),
        (lambda: membership_covariances(np.eye(4), np.ones((2, 4, 4)), shrinkage=1.0), r"\[0, 1\)"),
        (lambda: membership_covariances(np.eye(4), np.ones((2, 4, 4)), covariance_type="round"), "full, diag"),
        (lambda: profile_negloglik(np.eye(3), [0, 0, 2], np.stack([np.eye(3)] * 3)), "no row has label 1"),
        (lambda: profile_negloglik(np.eye(3), [0, 1, 2], np.stack([np.eye(3)] * 2)), "from 0 to 1, got from 0 to 2"),
        (lambda: profile_negloglik(np.eye(3), [0.5, 1, 1], np.stack([np.eye(3)] * 2)), "integers"),
        (lambda: round_membership(np.eye(4), method="mass"), "no masses"),
        (lambda: round_membership(np.eye(4), method="guess"), "auto, mass, spectral"),
        (lambda: round_membership(np.zeros(4)), "got"),
        (lambda: misclustering_error([0, 1], [0]), "equal lengths"),
        (lambda: ILASDP(3).fit(np.zeros((2, 2))), "n_samples=2"),
        (lambda: ILASDP(init="magic").fit(np.eye(4)), "ward, kmeans, sdp"),
        (lambda: ILASDP(init=np.eye(4)[None]).fit(np.eye(4)), "1 covariances for n_clusters=2"),
        (lambda: ILASDP(init=np.zeros(4, dtype=int)).fit(np.eye(4)), "no row has label 1"),
        (lambda: ILASDP(reg=-1.0).fit(np.eye(4)), "reg"),
        (lambda: ILASDP(max_outer=0).fit(np.eye(4)), "max_outer"),
        (lambda: ILASDP(reg=0.0).fit(np.eye(4)), "add a ridge"),
        (lambda: simulate.stretched_gmm(9, 3, 2, 1.0, 1.0, np.random.default_rng(0)), "need p >= 3"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, says):
    with pytest.raises(ValueError, match=says):
        call()


@pytest.mark.parametrize(
    "call", [lambda: ILASDP(2.5).fit(np.eye(4)), lambda: ILASDP(reg="little").fit(np.eye(4))]
)
def test_wrong_types_are_named(call):
    with pytest.raises(TypeError, match="must be"):
        call()


def test_an_unfinished_iteration_says_so():
    with pytest.warns(ConvergenceWarning, match="max_outer=1"):
        ILASDP(3, max_outer=1, reg=0.01).fit(crossing(30).X)


# -- the chapter's studies and reports -----------------------------------------------------------------------


def test_halfway_interpolates():
    rates = np.array([[0.0, 0.25, 0.75, 1.0], [0.6, 0.7, 0.9, 1.0], [0.0, 0.0, 0.1, 0.2]])
    np.testing.assert_allclose(study.halfway(rates, [1, 2, 3, 4]), [2.5, 1.0, 4.0])


def test_trying_all_labellings_agrees_with_the_other_way_of_trying():
    costs = pairwise_costs(*some(8, 2, 2, 3)[:2])
    assert study_theory.best_labelling(costs)[0] == pytest.approx(brute_force(costs)[0], rel=1e-12)


def test_exact_studies_find_what_they_should():
    assert study_theory.identity_study(20).max() < 1e-10
    small = study_theory.relaxation_study(8, 4)
    assert (small["bound"] <= small["best"] + 1e-9 * small["scale"]).all()
    assert (small["rounded"] >= small["best"] - 1e-9 * small["scale"]).all()
    moved = study_theory.invariance_study(2)
    assert moved["excess"].max() < 1e-6
    equal = study_theory.equal_study(1, n=12)
    assert equal["difference"].max() < 1e-4


def test_the_same_seed_gives_the_same_table():
    tiny = [study.Design(24, 2, 2, 7, 4)]
    effort = study.Effort(max_outer=2, solver_iter=30, soft_rounds=1)
    a, b = (study.grid_study(tiny, 2, effort=effort, seed=3) for _ in range(2))
    pd.testing.assert_frame_equal(a, b)
    assert set(a["method"]) == set(study.METHODS)
    assert a["error"].between(0, 0.5).all()


def test_reports_on_clusters_that_are_plain_to_see():
    draw = simulate.gaussian_mixture(
        np.array([[0.0, 0.0], [20.0, 0.0]]),
        np.stack([np.eye(2), 9 * np.eye(2)]),
        40,
        np.random.default_rng(0),
    )
    fit = report.fit_best(draw.X, ILASDP(2, reg=0.01), ("ward", "kmeans"))
    assert misclustering_error(fit.model.labels_, draw.labels) == 0
    assert fit.starts["-2 log-likelihood"].is_monotonic_increasing
    checks = report.check_assumptions(draw.X, fit.model)
    assert checks["holds"].all(), checks
    stable = report.stability(draw.X, fit.model, 2, np.random.default_rng(1))
    np.testing.assert_allclose(stable.agreement, 1)
    assert np.nanmin(stable.kept) == 1
    others = report.rivals(draw.X, fit.model, 0)
    assert all(np.mean(labels == fit.model.labels_) > 0.9 for labels in others.values())


def test_reports_name_what_fails():
    rng = np.random.default_rng(0)
    X = np.r_[rng.standard_t(1.2, size=(30, 2)), rng.standard_t(1.2, size=(30, 2)) + 8]
    model = ILASDP(2, init=np.repeat([0, 1], 30), reg=0.01, max_outer=1)
    with pytest.warns(ConvergenceWarning):
        model.fit(X)
    failing = report.check_assumptions(X, model).set_index("assumption")["holds"]
    assert not failing["clusters are near Gaussian"] or not failing["rows are decided"]
    same = report.shape_contrast(np.repeat(np.eye(2)[None], 3, 0))
    assert same == pytest.approx(1)
    assert report.shape_contrast(np.stack([np.eye(2), np.diag([4.0, 1.0])])) == pytest.approx(4)


# -- mutants: the method broken on purpose -------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_mutant_without_the_log_determinant():
    """(a) Without it the wide cluster takes rows from the tight one."""
    draws = [simulate.nested_gmm(40, np.random.default_rng(seed)) for seed in range(3)]
    sound = np.stack([pairwise_costs(draw.X, draw.covariances) for draw in draws])
    broken = sound - np.linalg.slogdet(draws[0].covariances)[1][:, None, None]
    errors = [
        np.mean(
            [
                misclustering_error(labels, draws[0].labels)
                for labels in la_sdp(costs, max_iter=400, tol=1e-4).labels
            ]
        )
        for costs in (sound, broken)
    ]
    assert errors[0] < 0.1
    assert errors[1] > 0.2


def test_mutant_with_one_common_matrix():
    """(b) Averaged costs know no difference between the clusters, and their optimum is no bound."""
    X, sigma, _ = some(10, 2, 2, 0, separation=2.0)
    costs = pairwise_costs(X, sigma * np.array([1.0, 30.0])[:, None, None])
    best, _ = brute_force(costs)
    mutant = kmeans_programme(costs.mean(0), 2, **LOOSE)
    assert mutant.lower_bound > best + 1


def test_mutant_with_eigenvectors_instead_of_the_programme():
    """(c) Spectral clustering of the costs is no optimum of the programme."""
    X, sigma, _ = some(18, 3, 3, 0, separation=1.5)
    costs = pairwise_costs(X, sigma)
    spectral = KMeans(3, n_init=10, random_state=0).fit_predict(np.linalg.eigh(costs.sum(0))[1][:, :3])
    value, _ = conic(costs, np.ones(3))
    assert labelling_cost(costs, spectral) > value + 1


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_mutant_with_a_projection_that_forgets_the_traces(monkeypatch):
    """Without its trace a cluster may die; the interior-point optimum tells."""
    X, sigma, _ = some(12, 2, 2, 0, separation=1.0)
    costs = pairwise_costs(X, sigma)
    value, _ = conic(costs, np.ones(2))
    sound = admm._normal_part

    def forgetful(M, traces, rows):
        a, u = sound(M, traces, rows)
        return 0 * a, u

    monkeypatch.setattr(admm, "_normal_part", forgetful)
    broken = la_sdp(costs, gap_tol=0, max_iter=500)
    assert abs(float(broken.objective) - value) > 1e-2 * abs(value)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_mutant_with_a_bound_from_another_eigenvalue(monkeypatch):
    """A multiplier that isn't the least eigenvalue gives no bound: brute force tells."""
    X, sigma, _ = some(10, 2, 2, 3, separation=1.0)
    costs = pairwise_costs(X, sigma)
    best, _ = brute_force(costs)
    monkeypatch.setattr(admm, "_least_eigenvalues", lambda M: np.linalg.eigvalsh(M)[..., M.shape[-1] // 2])
    assert la_sdp(costs, max_iter=300).lower_bound > best


@pytest.mark.parametrize("module", ["programmes", "estimator"])
def test_docstring_examples(module):
    package = "loglik.optimization.ila_sdp"
    names = vars(importlib.import_module(package))
    found = doctest.testmod(importlib.import_module(f"{package}.{module}"), extraglobs=dict(names))
    assert found.attempted > 0
    assert not found.failed
