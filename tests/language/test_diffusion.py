"""Masked diffusion: exact identities of the ELBO on laws that can be enumerated, and the sampler's law."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats

from loglik.language import diffusion, models

V, L = 3, 4  # symbols and positions of the tables


@pytest.fixture(scope="module")
def joint():
    return np.random.default_rng(0).dirichlet(np.ones(V**L)).reshape((V,) * L)


@pytest.fixture(scope="module")
def table(joint):
    return diffusion.TabularOracle(joint)


@pytest.fixture(scope="module")
def network():
    """Inconsistent conditionals, as those of any network: a prompt of two, answers of L."""
    model = models.tiny_llama(V + 1, d_model=16, n_heads=2, max_len=16, seed=1).double().eval()
    return diffusion.Denoiser(model, mask_id=V)


@pytest.fixture(scope="module")
def chain():
    P = np.full((8, 8), 0.15 / 7) + np.eye(8) * (0.85 - 0.15 / 7)
    return diffusion.MarkovOracle(P)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


ALL = torch.tensor(list(itertools.product(range(V), repeat=L)))
PROMPT = 2


def with_prompt(answers):
    return torch.cat([torch.tensor([[0, 1]]).expand(len(answers), -1), answers], 1)


# -- corruption ----------------------------------------------------------------------------------------------


def test_corruption_masks_at_its_rate_and_never_the_prompt(generator):
    """Four standard errors over 200,000 tokens: a right mask fails one time in 16,000; the seed is fixed."""
    ids = torch.zeros(2000, 105, dtype=torch.long)
    for t in (0.1, 0.5, 0.9):
        noisy, masked = diffusion.corrupt(ids, 5, torch.full((2000,), t), mask_id=V, generator=generator)
        assert not masked[:, :5].any()
        assert torch.equal(noisy == V, masked)
        assert abs(masked[:, 5:].double().mean().item() - t) < 4 * math.sqrt(t * (1 - t) / 200_000)


def test_the_loss_at_time_one_is_the_cross_entropy_of_everything(network):
    ids = with_prompt(ALL[:7])
    plan = diffusion.draw_masks("one_step", 7, L)
    hidden = ids.clone()
    hidden[:, PROMPT:] = V
    with torch.no_grad():
        found = diffusion.elbo(network, ids, PROMPT, plan)
        log_p = network(hidden)[:, PROMPT:]
    wanted = -torch.nn.functional.cross_entropy(
        log_p.flatten(0, 1), ids[:, PROMPT:].flatten(), reduction="none"
    )
    assert torch.allclose(found, wanted.reshape(7, L).sum(1), atol=1e-12)


def test_the_training_loss_is_the_elbo_a_token_in_the_mean(network, generator):
    """Over 32,000 draws, four standard errors; the seed is fixed."""
    ids = with_prompt(ALL[5:6]).expand(800, -1)
    with torch.no_grad():
        exact = diffusion.elbo_exact(network, ids[:1], PROMPT)
        values = [
            diffusion.denoising_loss(network, ids, PROMPT, generator=generator, eps=0.05)[0]
            for _ in range(40)
        ]
        profile = diffusion.time_profile(network, ids[:1], PROMPT)
    nodes, weights = (torch.tensor(x) for x in np.polynomial.legendre.leggauss(20))
    at = 0.05 + 0.95 * (nodes + 1) / 2
    wanted = -float((profile.mean(at)[0] * weights / 2).sum()) / L  # the mean over t in (0.05, 1)
    means = torch.stack(values) / 800
    assert abs(float(means.mean()) - wanted) < 4 * float(means.std()) / math.sqrt(40)
    assert float(exact) / L == pytest.approx(-wanted, rel=0.1)


# -- the identities ------------------------------------------------------------------------------------------


def test_the_bound_is_tight_when_the_conditionals_come_from_one_law(table):
    found = diffusion.elbo_exact(table, ALL, 0)
    assert torch.allclose(found, table.log_prob(ALL), atol=1e-10)


def test_the_chain_s_conditionals_are_those_of_its_joint_law(chain):
    """Brute force over 8^5 strings, every pattern of visible tokens."""
    length = 5
    strings = torch.tensor(list(itertools.product(range(8), repeat=length)))
    joint = chain.log_prob(strings).exp().reshape((8,) * length)
    brute = diffusion.TabularOracle(joint)
    visible = torch.tensor([2, 2, 7, 0, 1])
    patterns = torch.tensor(list(itertools.product([False, True], repeat=length)))
    ids = torch.where(patterns, visible, 8)
    hidden = ids == 8
    assert torch.allclose(chain(ids)[hidden], brute(ids)[hidden], atol=1e-10)
    assert float(joint.sum()) == pytest.approx(1.0, abs=1e-12)


def test_the_elbo_of_the_chain_is_its_log_likelihood(chain, generator):
    ids = torch.randint(8, (3, 8), generator=generator)
    assert torch.allclose(diffusion.elbo_exact(chain, ids, 0), chain.log_prob(ids), atol=1e-10)


@pytest.mark.parametrize("oracle", ["table", "network"])
def test_enumeration_is_the_beta_sum_is_the_quadrature(oracle, request):
    """Facts 1, 2 and 4, for consistent and for inconsistent conditionals."""
    denoise = request.getfixturevalue(oracle)
    prompt = PROMPT if oracle == "network" else 0
    ids = with_prompt(ALL[::9]) if prompt else ALL[::9]
    with torch.no_grad():
        exact = diffusion.elbo_exact(denoise, ids, prompt)
        profile = diffusion.time_profile(denoise, ids, prompt)
    beta_sum = (profile.first / torch.arange(1, L + 1)).sum(1)
    nodes, weights = np.polynomial.legendre.leggauss(math.ceil(L / 2))
    quadrature = profile.mean(torch.tensor((nodes + 1) / 2)) @ torch.tensor(weights / 2)
    assert torch.allclose(exact, beta_sum, atol=1e-10)
    assert torch.allclose(exact, quadrature, atol=1e-10)


def test_the_elbo_is_below_the_log_likelihood_over_orders(network):
    """Jensen: the log of the mean over reveal orders is at least the mean of the logs."""
    ids = with_prompt(ALL[::20])
    orders = list(itertools.permutations(range(L)))
    logs = []
    with torch.no_grad():
        for order in orders:
            total = torch.zeros(len(ids), dtype=torch.float64)
            hidden = ids.clone()
            hidden[:, PROMPT:] = V
            for place in order:
                total += network(hidden)[:, PROMPT + place].gather(1, ids[:, PROMPT + place, None]).squeeze(1)
                hidden[:, PROMPT + place] = ids[:, PROMPT + place]
            logs.append(total)
        bound = diffusion.elbo_exact(network, ids, PROMPT)
    logs = torch.stack(logs)
    assert torch.allclose(bound, logs.mean(0), atol=1e-10)  # fact 2: the mean over orders
    assert (bound <= logs.logsumexp(0) - math.log(len(orders)) + 1e-12).all()


@pytest.mark.parametrize("scheme", ["double_mc", "sdmc", "fixed_count", "sdmc_count"])
def test_every_scheme_has_its_predicted_mean_and_variance(table, scheme, generator):
    """200,000 draws; four standard errors for the mean, 5 % for the variance; the seed is fixed."""
    reps, n, eps = 100_000, 2, 0.05
    answer = ALL[17:18]
    Z = diffusion.masked_log_likelihoods(table, answer, 0, diffusion.draw_masks("exact", 1, L).masks)[:, 0]
    plan = diffusion.draw_masks(scheme, reps, L, n, eps=eps, generator=generator)
    numbers = (plan.masks.long() << torch.arange(L)).sum(2)
    by_number = torch.cat([torch.zeros(1, dtype=Z.dtype), Z])
    values = (plan.weights * by_number[numbers]).sum(0)

    profile = diffusion.time_profile(table, answer, 0)
    nodes, weights = (torch.tensor(x) for x in np.polynomial.legendre.leggauss(40))
    at = eps + (1 - eps) * (nodes + 1) / 2
    mu, var = profile.mean(at)[0], profile.variance(at)[0]
    over_t = weights / 2
    if scheme == "double_mc":
        mean = float((mu * over_t).sum())
        variance = float((mu.square() * over_t).sum() - mean**2 + (var * over_t).sum()) / n
    elif scheme == "sdmc":
        t, w = diffusion._quadrature(n, "gauss-legendre")
        mean = float((profile.mean(t)[0] * w).sum())
        variance = float((profile.variance(t)[0] * w.square()).sum())
    elif scheme == "fixed_count":
        m = torch.arange(1, L + 1)
        mean = float((profile.first[0] / m).sum())
        variance = float((profile.second[0] * L / m.square()).sum() - mean**2) / n
    else:
        mean, variance = None, None
    if mean is not None:
        assert abs(float(values.mean()) - mean) < 4 * math.sqrt(variance / reps)
        assert float(values.var()) == pytest.approx(variance, rel=0.05)
    else:
        t, _ = diffusion._quadrature(n, "gauss-legendre")
        sizes = plan.masks.sum(2).double()
        assert ((sizes - L * t[:, None]).abs() < 1).all()
        assert torch.allclose(sizes.mean(1), L * t, atol=4 * 0.5 / math.sqrt(reps))


def test_the_second_moment_diverges_like_the_log_of_eps(table):
    """Fact 5: its slope on log(1/eps) is the sum of the squared single-token conditionals."""
    answer = ALL[17:18]
    profile = diffusion.time_profile(table, answer, 0)
    singles = diffusion.masked_log_likelihoods(table, answer, 0, torch.eye(L, dtype=torch.bool)[:, None])
    moments = []
    for eps in (1e-3, 1e-5):
        x, w = (torch.tensor(v) for v in np.polynomial.legendre.leggauss(200))
        log_t = math.log(eps) * (1 - (x + 1) / 2)  # t = eps to 1 on a log scale
        t = log_t.exp()
        second = profile.variance(t)[0] + profile.mean(t)[0].square()
        moments.append(float((second * t * w / 2).sum() * -math.log(eps)))
    slope = (moments[1] - moments[0]) / math.log(100)
    assert slope == pytest.approx(float(singles.square().sum()), rel=0.05)


def test_a_micro_batch_changes_nothing(network, generator):
    ids = with_prompt(ALL[:5])
    plan = diffusion.draw_masks("sdmc", 5, L, 3, generator=generator)
    with torch.no_grad():
        whole, parts = (diffusion.elbo(network, ids, PROMPT, plan, micro_batch=m) for m in (None, 4))
    assert torch.allclose(whole, parts, atol=1e-12)


def test_mutant_an_estimator_without_its_weight_is_noticed(table, generator):
    """Z alone, without 1/t: far from the ELBO that the schemes are unbiased for."""
    answer = ALL[17:18].expand(20_000, -1)
    plan = diffusion.draw_masks("fixed_count", 20_000, L, generator=generator)
    right = diffusion.elbo(table, answer, 0, plan)
    wrong = diffusion.elbo(table, answer, 0, plan._replace(weights=torch.full_like(plan.weights, 0.5)))
    exact = float(table.log_prob(ALL[17:18]))
    error = 4 * float(right.std()) / math.sqrt(20_000)
    assert abs(float(right.mean()) - exact) < error
    assert abs(float(wrong.mean()) - exact) > error


# -- sampling ------------------------------------------------------------------------------------------------


def test_random_remasking_one_token_a_step_samples_the_joint_law(generator):
    """Chi-square over 100,000 draws; a right sampler fails one time in a thousand; the seed is fixed."""
    joint = np.random.default_rng(1).dirichlet(np.ones(27)).reshape(3, 3, 3)
    oracle = diffusion.TabularOracle(joint)
    found = diffusion.sample(oracle, torch.zeros(100_000, 0, dtype=torch.long), 3, generator=generator)
    counts = np.bincount((found * torch.tensor([9, 3, 1])).sum(1), minlength=27)
    assert stats.chisquare(counts, joint.flatten() * counts.sum()).pvalue > 1e-3


def test_the_sampler_keeps_prompts_fills_answers_and_goes_block_by_block(network, generator):
    prompts = torch.tensor([[0, 1], [2, 2]])
    for remasking in ("random", "low_confidence"):
        found = diffusion.sample(
            network, prompts, 6, generator=generator, steps=4, block=3, remasking=remasking, temperature=0.7
        )
        assert torch.equal(found[:, :2], prompts)
        assert (found < V).all()
    greedy = [
        diffusion.sample(network, prompts, 4, generator=generator, temperature=0, remasking="low_confidence")
        for _ in range(2)
    ]
    assert torch.equal(*greedy)


def test_wrong_calls_are_named(network, table, generator):
    ids = with_prompt(ALL[:3])
    with pytest.raises(ValueError, match="t must lie in"):
        diffusion.corrupt(ids, 2, torch.tensor([0.5, 0.0, 1.0]), mask_id=V, generator=generator)
    with pytest.raises(ValueError, match="holds the mask"):
        diffusion.elbo_exact(table, torch.full((1, L), V), 0)
    with pytest.raises(ValueError, match="the answer is empty"):
        diffusion.elbo(network, ids, 6, diffusion.draw_masks("one_step", 3, 4))
    with pytest.raises(ValueError, match="masks are for 2 answers"):
        diffusion.elbo(network, ids, 2, diffusion.draw_masks("one_step", 2, 4))
    with pytest.raises(ValueError, match="unknown scheme 'mc'; allowed: double_mc"):
        diffusion.draw_masks("mc", 1, 4)
    with pytest.raises(ValueError, match="16 tokens at most"):
        diffusion.draw_masks("exact", 1, 17)
    with pytest.raises(ValueError, match="pass a generator"):
        diffusion.draw_masks("sdmc", 1, 4)
    with pytest.raises(ValueError, match="multiple of block"):
        diffusion.sample(network, ids, 5, generator=generator, block=2)
    with pytest.raises(ValueError, match="rows that sum to one"):
        diffusion.MarkovOracle(np.ones((2, 2)))
