"""Tests of language/on_policy_preferences: identities first, then the loop, then what the paper rests on."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from loglik.language import models
from loglik.language.on_policy_preferences import (
    PFTConfig,
    PreferenceBandit,
    cauchy_reference,
    fine_tune_bandit,
    lengths,
    losses,
    read_bandit,
    real,
    sequence,
    study,
    tabular,
    theory,
    workflow,
)
from loglik.language.on_policy_preferences.clauses import split_clauses
from loglik.language.on_policy_preferences.parent import load_parent
from loglik.language.scoring import token_logprobs


def numeric_gradient(function, x, eps=1e-6):
    grad = torch.zeros_like(x)
    for i in itertools.product(*map(range, x.shape)):
        up, down = x.clone(), x.clone()
        up[i] += eps
        down[i] -= eps
        grad[i] = (function(up) - function(down)) / (2 * eps)
    return grad


def random64(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


REWARDS = random64(2, 3, seed=5)
LOSSES = {
    "rwr": lambda x: losses.rwr_loss(x, REWARDS, beta=0.7),
    "reinforce": lambda x: losses.reinforce_loss(x, REWARDS, baseline=0.2, scale=1.5),
    "non-negative": lambda x: losses.reinforce_loss(x, REWARDS, allow_negative=False),
    "ppo": lambda x: losses.ppo_loss(x, 0.9 * x.detach() - 0.03, REWARDS[:, 0], clip=0.2),
    "worst": lambda x: losses.push_down_loss(x[:, 0], x[:, 1:], kind="worst"),
    "unlikelihood": lambda x: losses.push_down_loss(x[:, 0], -x[:, 1:].abs() - 0.1, kind="unlikelihood"),
    "dpo": lambda x: losses.dpo_loss(x[:, 0], x[:, 1], x[:, 0] * 0, x[:, 1] * 0, beta=0.3),
    "ipo": lambda x: losses.ipo_loss(x[:, 0], x[:, 1], x[:, 0] * 0, x[:, 1] * 0, beta=0.3),
}


@pytest.mark.parametrize("name", [n for n in LOSSES if n != "ppo"])
def test_gradients_are_those_of_finite_differences(name):
    x = random64(2, 3, seed=1).requires_grad_()
    (gradient,) = torch.autograd.grad(LOSSES[name](x), x)
    torch.testing.assert_close(gradient, numeric_gradient(LOSSES[name], x.detach()), atol=1e-7, rtol=0)


def test_ppo_at_ratio_one_is_reinforce():
    x = random64(4, 3, seed=2).requires_grad_()
    gain = random64(4, seed=3)
    (ppo,) = torch.autograd.grad(losses.ppo_loss(x, x.detach(), gain), x)
    (plain,) = torch.autograd.grad(losses.reinforce_loss(x.sum(1), gain), x)
    torch.testing.assert_close(ppo, plain, atol=1e-14, rtol=0)


@pytest.mark.parametrize(
    ("ratio", "gain", "moves"), [(1.5, 1, False), (1.5, -1, True), (0.5, 1, True), (0.5, -1, False)]
)
def test_ppo_clips_on_the_right_side_only(ratio, gain, moves):
    x = torch.tensor([[math.log(ratio)]], dtype=torch.float64, requires_grad=True)
    loss = losses.ppo_loss(x, torch.zeros(1, 1, dtype=torch.float64), torch.tensor([float(gain)]).double())
    (gradient,) = torch.autograd.grad(loss, x)
    assert (gradient.item() != 0) is moves


def test_reinforce_enumerated_is_the_gradient_of_the_expected_reward():
    """All nine answers of two tokens, each weighted by its probability."""
    bandit = PreferenceBandit(2, rewards=[0.1, 0.9, -0.4], ref_logits=[0.0, 0.0, 0.0])
    z = random64(2, 3, seed=4).requires_grad_()
    answers = torch.tensor(list(itertools.product(range(3), repeat=2)))
    logp = tabular.token_logp(z[None], answers[None, None]).sum(-1)[0, 0]
    loss = losses.reinforce_loss(logp, bandit.reward(answers), baseline=0.3, reduction="none")
    (found,) = torch.autograd.grad((logp.detach().exp() * loss).sum(), z)
    (exact,) = torch.autograd.grad(-bandit.exact_reward(z), z)
    torch.testing.assert_close(found, exact, atol=1e-14, rtol=0)


def test_rwr_lies_between_best_of_n_and_plain_fine_tuning():
    logp, rewards = random64(5, 4, seed=6), random64(5, 4, seed=7)
    best = losses.pref_ft_loss(logp.gather(1, losses.best_of(rewards)[:, None]))
    torch.testing.assert_close(losses.rwr_loss(logp, rewards, beta=1e-4), best, atol=1e-9, rtol=0)
    torch.testing.assert_close(losses.rwr_loss(logp, rewards, beta=1e9), -logp.mean(), atol=1e-7, rtol=0)


@given(st.integers(0, 1000), st.floats(0.05, 3))
@settings(max_examples=25, deadline=None)
def test_the_lemma(seed, beta):
    """J + beta KL(pi || pi*) is the same for all policies, and J's gradient is reverse KL's times -beta."""
    rng = np.random.default_rng(seed)
    ref, rewards, z = rng.dirichlet(np.ones(6) * 3) + 1e-9, rng.normal(size=6), rng.normal(size=(20, 6))
    ref /= ref.sum()
    best, log_z = theory.tilt(rewards, ref, beta)
    p = np.exp(z - np.logaddexp.reduce(z, axis=1)[:, None])
    kl = (p * np.log(p / best)).sum(1)
    J = theory.regularised_reward(z, rewards, ref, beta)
    np.testing.assert_allclose(J + beta * kl, beta * log_z, atol=1e-11)


@pytest.mark.parametrize("kind", ["forward", "reverse"])
def test_kl_gradients(kind):
    z, q = random64(5, seed=8), random64(5, seed=9).softmax(0)

    def kl(x):
        p = x.softmax(0)
        return (q * (q / p).log()).sum() if kind == "forward" else (p * (p / q).log()).sum()

    found = {"forward": theory.forward_kl_grad, "reverse": theory.reverse_kl_grad}[kind](z.numpy(), q.numpy())
    np.testing.assert_allclose(found, numeric_gradient(kl, z).numpy(), atol=1e-9)


@given(st.floats(1e-3, 0.3), st.floats(1e-3, 0.3), st.floats(1e-3, 0.3))
@settings(max_examples=50, deadline=None)
def test_two_bin_law_and_its_crossing(p, q1, q2):
    target = np.array([q1, q2, 1 - q1 - q2])
    z = np.log([p, p, 1 - 2 * p])
    for kind, gradient in (("forward", theory.forward_kl_grad), ("reverse", theory.reverse_kl_grad)):
        step = -gradient(z, target)
        assert step[0] - step[1] == pytest.approx(float(theory.log_odds_step(p, q1, q2, kind)), abs=1e-12)
    middle = float(theory.logarithmic_mean(q1, q2))
    assert min(q1, q2) * (1 - 1e-9) <= middle <= max(q1, q2) * (1 + 1e-9)
    if abs(p - middle) > 1e-6 and abs(q1 - q2) > 1e-6:
        moves = [abs(float(theory.log_odds_step(p, q1, q2, kind))) for kind in ("forward", "reverse")]
        assert (moves[1] > moves[0]) is (p > middle)


def test_reverse_kl_stalls_without_a_tail():
    grid = np.arange(100)
    start = -(((grid - 20) / 10.0) ** 2)
    target = np.exp(-(((grid - 70) / 10.0) ** 2)) + 1e-300
    target /= target.sum()
    curves = {k: theory.relocation_curve(start, target, k, lr=10, steps=1500) for k in ("forward", "reverse")}
    assert curves["reverse"][-1] > 0.99
    assert curves["forward"][-1] < 0.01


def test_reference_masses():
    p = cauchy_reference()
    assert p.sum() == pytest.approx(1, abs=1e-14)
    assert p[1:-1].argmax() + 1 in (15, 16, 17)  # the highest of all is bin 0, where the left tail piles up
    assert -(p * np.log(p)).sum() == pytest.approx(4.117, abs=1e-3)
    assert p[60:81].sum() == pytest.approx(0.046, abs=5e-4)
    draws = np.tanh(-0.7 + 0.4 * np.random.default_rng(0).standard_cauchy(200_000))
    counts = np.histogram(draws, bins=100, range=(-1, 1))[0]
    assert stats.chisquare(counts, p * counts.sum()).pvalue > 1e-4  # fails 1 time in 10,000 for another seed


def test_exact_reward_and_kl_against_samples():
    bandit = PreferenceBandit(3, 6, peak=4, width=2)
    z = random64(3, 6, seed=10)
    n = 200_000
    g = torch.Generator().manual_seed(0)
    answers = torch.stack([torch.multinomial(row.softmax(0), n, True, generator=g) for row in z], 1)
    logp = tabular.token_logp(z[None], answers[None, None])[0, 0].sum(1)
    ratio = logp - bandit.ref_logp[answers].sum(1)
    for sample, exact in ((bandit.reward(answers), bandit.exact_reward(z)), (ratio, bandit.exact_kl(z))):
        assert abs(sample.mean() - exact) < 5 * sample.std() / n**0.5  # 6e-7 of false alarms


def test_pairs_drop_ties():
    assert len(losses.preference_pairs(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))[0]) == 6
    assert len(losses.preference_pairs(torch.tensor([[1.0, 1.0, 2.0]]))[0]) == 2
    weights = tabular._pairs(torch.tensor([[[1.0, 1.0, 2.0]]]))
    assert weights.sum() == pytest.approx(1)
    assert weights[0, 0, 0, 1] == 0


@pytest.mark.parametrize("method", ["dpo", "ipo"])
def test_batched_contrasts_are_the_shared_losses(method):
    """On one run, up to beta² for IPO, the batched loss is the one of loglik.language.preference."""
    bandit = PreferenceBandit(2, 5, peak=3, width=1)
    z, actions = (
        random64(1, 2, 5, seed=11),
        torch.randint(5, (1, 2, 3, 2), generator=torch.Generator().manual_seed(1)),
    )
    rewards = random64(1, 2, 3, seed=12)
    ref = tabular.token_logp(bandit.ref_logits[None], actions)
    batch = tabular._Batch(actions, rewards, ref, ref)
    beta = 0.4
    found = tabular._contrast(method)(z, batch, torch.tensor([beta], dtype=torch.float64))
    q, w, l = losses.preference_pairs(rewards[0])  # noqa: E741
    logp, under = tabular.token_logp(z, actions).sum(-1)[0], ref.sum(-1)[0]
    loss = losses.dpo_loss if method == "dpo" else losses.ipo_loss
    wanted = loss(logp[q, w], logp[q, l], under[q, w], under[q, l], beta=beta)
    assert found.item() == pytest.approx(wanted.item() * (1 if method == "dpo" else beta**2), abs=1e-6)


def test_a_run_is_the_same_in_any_company():
    bandit = PreferenceBandit(4, 20, peak=14, width=3)
    cfg = PFTConfig("dpo", budget=200, batch=50, inner_steps=3, n_per_prompt=5)
    alone = fine_tune_bandit(bandit, cfg, seeds=[3])
    company = fine_tune_bandit(bandit, cfg, seeds=[1, 3, 3], lr=[0.1, 0.1, 0.01])
    torch.testing.assert_close(alone.logits[0], company.logits[1])
    assert company.reward[2, -1] != company.reward[1, -1]


@pytest.mark.parametrize("arm", study.ARMS, ids=lambda arm: arm.label)
def test_every_arm_learns_within_its_budget(arm):
    bandit = PreferenceBandit(3, 20, peak=8, width=3)
    cfg = study.arm_config(arm, budget=400, batch=100, inner_steps=10)
    runs = fine_tune_bandit(bandit, cfg, seeds=[0, 1], beta=1e-3 if "re" in arm.method else 0.3)
    assert (runs.reward[:, -1] > runs.reward[:, 0] + 0.02).all()
    assert runs.samples_used[-1] == 400
    assert runs.steps[-1] == 40
    assert runs.kl[:, 0].abs().max() < 1e-5  # every run begins at the reference


def reference_is_fixed():
    """Whether an on-policy batch carries the initial reference's log-probabilities."""
    bandit = PreferenceBandit(3, 20, peak=14, width=3)
    z = random64(1, 3, 20, seed=13).float()
    batch = tabular._collect(bandit, z, tabular._Draws([0]), PFTConfig("dpo", budget=100))
    return torch.allclose(batch.ref, bandit.ref_logp.float()[batch.actions])


def test_reference_stays_put_on_policy():
    assert reference_is_fixed()


def test_mutant_that_moves_the_reference_is_killed(monkeypatch):
    """The previous iterate as reference: h starts at zero after each refresh, whatever the KL."""
    collect = tabular._collect

    def mutant(*arguments):
        batch = collect(*arguments)
        batch.ref = batch.old
        return batch

    monkeypatch.setattr(tabular, "_collect", mutant)
    assert not reference_is_fixed()


def test_paper_in_small():
    """R1: offline Best-of-N far behind offline DPO and on-policy Best-of-N (gaps of over 10 standard errors)."""
    bandit = PreferenceBandit()
    reward = {}
    for arm, lr, beta in (("best-of-n", 0.1, 1.0), ("dpo", 0.1, 0.3)):
        for on_policy in (False, True):
            cfg = study.arm_config(study.Arm(arm, on_policy), budget=2000, batch=100, inner_steps=10)
            reward[arm, on_policy] = float(
                fine_tune_bandit(bandit, cfg, seeds=[0, 1], lr=lr, beta=beta, looks=1).reward[:, -1].mean()
            )
    assert reward["dpo", False] > reward["best-of-n", False] + 0.3
    assert reward["best-of-n", True] > reward["best-of-n", False] + 0.3
    assert reward["dpo", True] > max(reward["dpo", False], reward["best-of-n", True])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "sft"}, "no method"),
        ({"method": "ppo", "on_policy": False}, "current policy"),
        ({"beta": 0.0}, "beta must be above 0"),
        ({"n_per_prompt": 1}, "at least 2"),
        ({"budget": 250}, "not a multiple of batch"),
        ({"minibatch": 55}, "multiples of"),
    ],
)
def test_bad_configurations_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        PFTConfig(**options)


def test_bad_input_is_named(tmp_path):
    with pytest.raises(ValueError, match="NaN"):
        losses.best_of(torch.tensor([[float("nan"), 1.0]]))
    with pytest.raises(ValueError, match="beta must be above 0"):
        losses.rwr_loss(torch.zeros(1, 2), torch.zeros(1, 2), beta=0)
    with pytest.raises(ValueError, match="both tuned on and reported"):
        study.bandit_study({}, [1], [1])
    file = tmp_path / "bandit.csv"
    file.write_text("reward,logit\n1,0\n")
    with pytest.raises(ValueError, match="lacks column ref_logit"):
        read_bandit(file)
    file.write_text("reward,ref_logit\n1,0\n1,2\n")
    with pytest.raises(ValueError, match="all rewards are equal"):
        read_bandit(file)


def test_a_table_is_normalised(tmp_path):
    file = tmp_path / "bandit.csv"
    file.write_text("action,reward,ref_logit\na,1,3\nb,0,3\n")
    bandit, table = read_bandit(file)
    assert table.ref_prob.tolist() == pytest.approx([0.5, 0.5])
    assert float(bandit.exact_reward(bandit.ref_logits)) == pytest.approx(0.5)


def test_theory_studies():
    assert theory.lemma_residual(20, np.random.default_rng(1)) < 1e-12
    assert theory.two_bin_residual(500, np.random.default_rng(1)) == (pytest.approx(0, abs=1e-12), 0)
    assert theory.steps_to(np.array([1.0, 0.4, 0.2]), 0.4) == 1
    assert theory.steps_to(np.array([1.0]), 0.4) == math.inf


def test_the_committed_table_makes_a_bandit():
    bandit = real.real_bandit(70)
    assert bandit.vocab == 100
    assert bandit.mass_near_peak() < 0.1 < real.real_bandit(1).mass_near_peak()
    geometry = workflow.geometry(bandit, 2000)
    assert geometry.says[0].startswith("unlikely")


def test_families_and_verdict():
    bandit = PreferenceBandit(3, 20, peak=14, width=3)
    found = study.bandit_study({"b": bandit}, [0, 1], [9], budget=200, inner_steps=4)
    table = workflow.family_table(found)
    assert list(table.family) == list(workflow.FAMILIES)
    assert table.wins.sum() == pytest.approx(1)
    assert "is enough" in workflow.verdict(table, 1.0, 1.0)
    assert set(found.grid.groupby("method").size()) == {16}  # the same effort for each arm


def test_preferences_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="stand in"):
        workflow.load_preferences(tmp_path / "none.jsonl")
    file = tmp_path / "pairs.jsonl"
    file.write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n')
    assert workflow.load_preferences(file).chosen.tolist() == ["b"]
    file.write_text('{"prompt": "a"}\n')
    with pytest.raises(ValueError, match="line 1"):
        workflow.load_preferences(file)


# -- beside TRL ------------------------------------------------------------------------------------------------

ROWS = [
    {"prompt": "In the", "chosen": " beginning", "rejected": " end of all these days"},
    {"prompt": "And God", "chosen": " said unto them, Go", "rejected": " rested"},
    {"prompt": "Blessed", "chosen": " are the meek", "rejected": " are they that mourn"},
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["sigmoid", "ipo"])
def test_contrasts_on_text_are_those_of_trl(tmp_path, kind):
    """One batch, the policy moved away from its reference. TRL divides by length in IPO, but not in DPO."""
    trl, datasets = pytest.importorskip("trl"), pytest.importorskip("datasets")
    reference, tokenizer = load_parent()
    policy, g = copy.deepcopy(reference), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in policy.parameters():
            weight.add_(0.02 * torch.randn(weight.shape, generator=g))
    args = trl.DPOConfig(
        str(tmp_path), per_device_train_batch_size=3, beta=0.3, loss_type=[kind], use_cpu=True, bf16=False,
        gradient_checkpointing=False, report_to="none",
    )  # fmt: skip
    table = datasets.table.InMemoryTable.from_pylist(ROWS)
    rows = datasets.Dataset(table, fingerprint="verses")
    trainer = trl.DPOTrainer(policy, reference, args=args, train_dataset=rows, processing_class=tokenizer)
    batch = next(iter(trainer.get_train_dataloader()))
    theirs = trainer.compute_loss(policy.eval(), batch)
    ids, mask, scored = batch["input_ids"], batch["attention_mask"].bool(), batch["completion_mask"].bool()
    length = scored.sum(1) if kind == "ipo" else torch.ones(len(ids))
    logp, ref = (
        (token_logprobs(m, ids, mask, scored=scored).sum(1) / length).chunk(2) for m in (policy, reference)
    )
    contrast = {"sigmoid": losses.dpo_loss, "ipo": losses.ipo_loss}[kind]
    ours = contrast(*logp, *ref, beta=0.3)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    slopes = [torch.autograd.grad(loss, list(policy.parameters())) for loss in (ours, theirs)]
    for a, b in zip(*slopes, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5 * float(b.abs().max()))


# -- causal models ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small():
    return models.tiny_llama(8, d_model=16, n_layers=1, n_heads=2, max_len=16, seed=0)


SAMPLER = sequence.Sampler(eos_id=2, pad_id=0, max_new_tokens=6)
MIN = lengths.gold_reward("min")


def test_rollout_counts_the_end_once_and_the_ratio_starts_at_one(small):
    found = SAMPLER(small, small, [[1, 3]] * 5, MIN, torch.Generator().manual_seed(0))
    ends = ((found.ids == 2) & found.scored).sum(1)
    assert set(ends.tolist()) <= {0, 1}
    assert (-found.rewards.flatten()).tolist() == found.lengths.tolist()
    torch.testing.assert_close(found.old, found.ref)


def test_the_end_has_a_gradient(small):
    """Without the end in log p, length couldn't be learned; sums, not means, over tokens of unequal answers."""
    found = SAMPLER(small, small, [[1, 3]] * 8, MIN, torch.Generator().manual_seed(1))
    assert found.lengths.unique().numel() > 1
    cfg = PFTConfig("dpo", budget=32, batch=32, n_per_prompt=4, beta=0.5)
    policy = copy.deepcopy(small)
    loss = sequence.policy_loss(policy, found, cfg)
    assert loss.item() == pytest.approx(math.log(2), abs=1e-6)  # at the reference
    loss.backward()
    assert policy.lm_head.weight.grad[2].norm() > 0
    assert policy.lm_head.weight.grad[2].norm() > policy.lm_head.weight.grad[5].norm()


@pytest.mark.parametrize(
    "method", ["best-of-n", "pref-ft", "rwr", "ipo", "reinforce", "reinforce-nonneg", "ppo"]
)
def test_every_loss_runs_on_a_causal_model(small, method):
    cfg = PFTConfig(method, True, 32, 16, 2, 4, 16, lr=1e-2)
    policy = copy.deepcopy(small)
    course = sequence.fine_tune(policy, [[1, 3]] * 8, MIN, cfg, SAMPLER, seed=0)
    assert course.samples_used.iloc[-1] == 32
    assert course.step.iloc[-1] == 4
    assert np.isfinite(course.to_numpy()).all()
    assert not torch.equal(policy.lm_head.weight, small.lm_head.weight)


def test_on_policy_dpo_shortens(small):
    cfg = PFTConfig("dpo", True, 256, 32, 4, 4, 32, lr=2e-2)
    course = sequence.fine_tune(copy.deepcopy(small), [[1, 3]] * 64, MIN, cfg, SAMPLER, seed=0, looks=8)
    assert course.length.iloc[-1] < 2 < course.length.iloc[0]


def test_reward_model_orders_a_count(small):
    g = torch.Generator().manual_seed(3)
    found = SAMPLER(small, small, [[1, 3]] * 96, lengths.gold_reward("count", token=5), g)
    model = lengths.RewardModel(small).fit(found, steps=80, lr=1e-2)
    assert model.accuracy(found) > 0.95


def test_tilted_answers_are_longer(small):
    wide = sequence.Sampler(2, 0, 6, n=12)
    pool = wide(small, small, [[1, 3]] * 64, MIN, torch.Generator().manual_seed(2))
    tilted = lengths.tilt_lengths(pool, 4, 1.0, torch.Generator().manual_seed(0))
    assert tilted.rewards.shape == (64, 4)
    assert tilted.lengths.float().mean() > pool.lengths.float().mean() + 0.5
    assert (-tilted.rewards.flatten()).tolist() == tilted.lengths.tolist()


def test_gold_rewards():
    ids = torch.tensor([[7, 5, 5, 2, 0]])
    mask, scored = ids > 0, torch.tensor([[False, True, True, True, False]])
    wanted = {"min": -3.0, "mode": -2.0, "distinct": 2 / 3, "count": 2.0}
    for name, value in wanted.items():
        found = lengths.gold_reward(name, mode=5, token=5)(ids, mask, scored)
        assert found.item() == pytest.approx(value)
    with pytest.raises(ValueError, match="no gold reward"):
        lengths.gold_reward("max")


def test_clauses():
    assert split_clauses("In the beginning: God created; and it was so.") == [
        "In the beginning:",
        "God created;",
        "and it was so.",
    ]
