"""Tests of language/likelihood_displacement: identities first."""

import copy
import json
import sys
import tracemalloc
import types

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from loglik.language.base import load_base
from loglik.language.likelihood_displacement import (
    copies,
    examples,
    hub,
    prompts,
    refusals,
    scan,
    scores,
    theory,
    training,
    verses,
    workflow,
)
from loglik.language.likelihood_displacement.pairs import Pair, both, check_pairs, read_pairs
from loglik.language.models import tiny_llama
from loglik.language.scoring import causal_loss, token_logprobs
from loglik.language.tokens import TokenBatch
from loglik.train import Columns, TrainConfig, fit

PAIRS = [
    Pair([1, 2, 3], [4, 5], [4, 6, 7]),
    Pair([1, 8], [9], [10]),
    Pair([1, 2, 3, 4, 5], [6, 7, 8, 9], [6, 7, 1]),
]


@pytest.fixture(scope="module")
def model():
    return tiny_llama(20, d_model=16, n_layers=1, n_heads=2, max_len=32, seed=1).double().eval()


def test_single_token_rates_are_exact_and_order_the_others():
    table = theory.check_identities(100, rng=np.random.default_rng(0))
    assert table["error"].max() < 1e-10
    assert table["order"].min() > 0.999


def test_a_small_step_changes_log_probabilities_by_the_rate():
    W, h = (t[0] for t in theory.random_models(1, 0.5, rng=np.random.default_rng(1)))
    change = theory.log_probabilities_after(W, h, 0, 1, 1e-7) - torch.log_softmax(W @ h, 0)
    torch.testing.assert_close(change / 1e-7, theory.ufm_rates(W, h, 0, 1), rtol=1e-5, atol=1e-5)


def test_sequence_rate_is_exact_whatever_the_answers_share():
    table = theory.check_sequences(30, (0, 1, 3), rng=np.random.default_rng(2))
    assert table["error"].max() < 1e-10
    assert table["weight"].max() <= 2


def test_sequence_rate_of_one_token_is_the_single_token_rate():
    W, h = (t[0] for t in theory.random_models(1, 0.5, rng=np.random.default_rng(3)))
    found = theory.ufm_rate_sequence(W, h[None], h[None], [0], [1], 0.05)
    torch.testing.assert_close(found, theory.ufm_rates(W, h, 0, 1, 0.05)[0], rtol=1e-12, atol=0)


def test_mutant_without_the_shared_prefixes_is_caught():
    """Forget that prefixes coincide up to the first difference: no longer the gradient's rate."""
    W, H_plus, H_minus, y_plus, y_minus = theory.random_sequences(1, 1, rng=np.random.default_rng(4))[0]
    exact = theory.sequence_rate_by_gradient(W, H_plus, H_minus, y_plus, y_minus)
    a, b = (theory._residuals(W, H, torch.tensor(y)) @ W for H, y in ((H_plus, y_plus), (H_minus, y_minus)))
    mutant = theory.ufm_rate_sequence(W, H_plus, H_minus, y_plus, y_minus) + (a[:2] * b[:2]).sum()
    assert abs(float(mutant - exact)) > 1e-3


def test_output_matrix_times_hidden_gives_the_logits_that_predict_the_answer(model):
    hidden, mask = scores.response_hidden(model, [p.prompt for p in PAIRS], [p.chosen for p in PAIRS])
    for row, seen, pair in zip(hidden, mask, PAIRS, strict=True):
        logits = model(torch.tensor([[*pair.prompt, *pair.chosen]])).logits[0, len(pair.prompt) - 1 : -1]
        torch.testing.assert_close(row[seen] @ model.lm_head.weight.T, logits)
    found = scores.response_logprobs(model, [p.prompt for p in PAIRS], [p.chosen for p in PAIRS])
    batch = both(PAIRS)
    expected = token_logprobs(model, batch.ids, batch.mask, scored=batch.scored).sum(1)[:3]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("include_last", [False, True])
def test_batched_scores_are_those_of_each_pair_alone(model, include_last):
    table = scores.ches_scores(model, PAIRS, include_last=include_last)
    alone = [scores.ches_scores(model, [p], include_last=include_last) for p in PAIRS]
    for name in scores.SCORES:
        np.testing.assert_allclose(table[name], [t[name][0] for t in alone], rtol=1e-10, atol=1e-10)


def test_ches_of_one_token_is_zero_unless_the_last_token_is_taken(model):
    assert scores.ches_scores(model, [PAIRS[1]])["ches"][0] == pytest.approx(0, abs=1e-12)
    assert abs(scores.ches_scores(model, [PAIRS[1]], include_last=True)["ches"][0]) > 1e-3


@given(st.integers(0, 10**6), st.booleans())
@settings(max_examples=20, deadline=None)
def test_swapped_roles_add_up_to_minus_the_squared_distance(seed, mean):
    g = torch.Generator().manual_seed(seed)
    a, b = (torch.randn(3, n, 4, generator=g, dtype=torch.float64) for n in (5, 2))
    masks = [torch.ones(t.shape[:2], dtype=torch.bool) for t in (a, b)]
    both_ways = scores.ches(a, masks[0], b, masks[1], length_normalize=mean) + scores.ches(
        b, masks[1], a, masks[0], length_normalize=mean
    )
    pool = torch.mean if mean else torch.sum
    torch.testing.assert_close(both_ways, -(pool(a, 1) - pool(b, 1)).square().sum(1))


@given(*[st.lists(st.integers(0, 3), min_size=1, max_size=7)] * 2)
@settings(max_examples=60, deadline=None)
def test_edit_distance_is_the_recursion(a, b):
    def distance(i, j):
        if min(i, j) == 0:
            return max(i, j)
        return min(
            distance(i - 1, j) + 1, distance(i, j - 1) + 1, distance(i - 1, j - 1) + (a[i - 1] != b[j - 1])
        )

    a, b = a[:5], b[:5]
    expected = -distance(len(a), len(b)) / max(len(a), len(b))
    assert scores.edit_distance_similarity(a, b) == pytest.approx(expected)


def test_many_edit_distances_are_those_of_each_pair():
    rng = np.random.default_rng(0)
    a, b = ([rng.integers(3, size=rng.integers(1, 9)).tolist() for _ in range(30)] for _ in range(2))
    alone = [scores.edit_distance_similarity(*pair) for pair in zip(a, b, strict=True)]
    np.testing.assert_array_equal(scores.edit_distance_similarities(a, b), alone)
    with pytest.raises(ValueError, match="an answer is empty"):
        scores.edit_distance_similarities([[1], []], [[1], [2]])


@pytest.mark.parametrize("mean", [False, True])
def test_scores_without_mask_and_logits_are_those_of_the_definition(model, mean, monkeypatch):
    """And they don't depend on how pairs are cut into batches and blocks."""
    hidden = [scores.response_hidden(model, [p.prompt for p in PAIRS], [p[k] for p in PAIRS]) for k in (1, 2)]
    exact = scores.ches(*hidden[0], *hidden[1], length_normalize=mean)
    for tokens, block in ((1, 1024), (30, 2), (1000, 1024)):
        monkeypatch.setattr(scores, "BLOCK", block)
        table = scores.ches_scores(model, PAIRS, tokens_per_batch=tokens)
        np.testing.assert_allclose(
            table["ln_ches" if mean else "ches"], exact.detach(), rtol=1e-9, atol=1e-12
        )


def test_filter_keeps_the_rounded_up_share_and_the_earlier_of_ties():
    assert scores.filter_lowest([2.0, 1.0, 1.0, 1.0], 0.3).tolist() == [1, 2]
    assert scores.select_by_quantile([3.0, 2.0, 1.0, 0.0], 1.0, 2).tolist() == [0, 1]


@pytest.mark.parametrize(("kind", "pull"), [("dpo", 0.05), ("ipo", 10.0)])
def test_gradient_at_the_start_is_the_difference_of_both_answers(kind, pull):
    w, l = (torch.tensor([-2.0, -3.0], requires_grad=True) for _ in range(2))  # noqa: E741
    loss = training.preference_loss(w, l, w.detach(), l.detach(), kind=kind, beta=0.1)
    loss.backward()
    torch.testing.assert_close(w.grad, torch.full((2,), -pull / 2))
    torch.testing.assert_close(l.grad, torch.full((2,), pull / 2))
    if kind == "dpo":
        assert loss.item() == pytest.approx(np.log(2))


def test_dpop_is_dpo_until_a_preferred_answer_falls():
    ref, logp_l = torch.tensor([-2.0, -3.0]), torch.tensor([-2.5, -2.5])
    higher, lower = ref + 0.5, ref - 0.5
    plain = training.preference_loss(higher, logp_l, ref, ref, kind="dpo")
    torch.testing.assert_close(training.preference_loss(higher, logp_l, ref, ref, kind="dpop"), plain)
    by_hand = torch.nn.functional.softplus(-0.1 * (lower - ref - (logp_l - ref) - 7 * 0.5)).mean()
    found = training.preference_loss(lower, logp_l, ref, ref, kind="dpop", penalty=7)
    torch.testing.assert_close(found, by_hand)
    torch.testing.assert_close(
        training.dpop_loss(lower, logp_l, ref, ref, penalty=0),
        training.preference_loss(lower, logp_l, ref, ref, kind="dpo"),
    )
    with pytest.raises(ValueError, match="penalty must be at least 0"):
        training.dpop_loss(lower, logp_l, ref, ref, penalty=-1)


@pytest.mark.filterwarnings("ignore")
def test_loss_and_gradient_are_those_of_trl(tmp_path):
    """DPO on one batch of real text, the model moved away from its reference."""
    trl, datasets = pytest.importorskip("trl"), pytest.importorskip("datasets")
    reference, tokenizer = load_base()
    model = copy.deepcopy(reference)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.02 * torch.randn(weight.shape, generator=generator))
    rows = examples.verse_pairs(3, rng=np.random.default_rng(0))
    table = datasets.table.InMemoryTable.from_pylist([{k: row[k] for k in Pair._fields} for row in rows])
    args = trl.DPOConfig(
        str(tmp_path),
        per_device_train_batch_size=3,
        beta=0.1,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
    )
    trainer = trl.DPOTrainer(
        model,
        reference,
        args=args,
        train_dataset=datasets.Dataset(table, fingerprint="verses"),
        processing_class=tokenizer,
    )
    batch = next(iter(trainer.get_train_dataloader()))
    model.eval()
    theirs = trainer.compute_loss(model, batch)
    theirs.backward()
    slopes = [weight.grad.clone() for weight in model.parameters()]
    model.zero_grad()
    ids, mask, scored = batch["input_ids"], batch["attention_mask"].bool(), batch["completion_mask"].bool()
    with torch.no_grad():
        start = token_logprobs(reference, ids, mask, scored=scored).sum(1).chunk(2)
    logp = token_logprobs(model, ids, mask, scored=scored).sum(1).chunk(2)
    ours = training.preference_loss(*logp, *start, kind="dpo", beta=0.1)
    ours.backward()
    assert abs(float(ours.detach()) - np.log(2)) > 0.01
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    for weight, slope in zip(model.parameters(), slopes, strict=True):
        torch.testing.assert_close(weight.grad, slope, rtol=1e-4, atol=1e-5 * float(slope.abs().max()))


def test_training_widens_the_gap_from_zero_against_a_fixed_reference(model):
    net = copy.deepcopy(model)
    log = training.train_preferences(net, PAIRS, lr=1e-3, steps=8, batch_size=3, check_every=4)
    assert log.checkpoints["gap"][0] == pytest.approx(0, abs=1e-6)
    assert log.last["gap"] > 0.1
    assert log.steps["loss"].iloc[0] == pytest.approx(np.log(2), abs=1e-5)
    assert training.displacement_report(log)["largest_fall"][0] >= 0


def test_the_world_of_refusals_ranks_refusal_over_compliance():
    world = refusals.make_world(n_dialogues=1600, epochs=1, n_prompts=40, n_test=10)
    kept = torch.tensor([list(p.chosen) for p in world.pairs])
    assert bool(refusals.is_refusal(kept).all())
    other = torch.tensor([list(p.rejected) for p in world.pairs])
    np.testing.assert_array_equal(refusals.is_refusal(other).numpy(), world.two_refusals)
    with pytest.raises(ValueError, match="unknown choice 'best'"):
        refusals.chosen(world, "best", 0.5, np.random.default_rng(0))


def test_rank_correlations_are_scipys():
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(40, 5)).round(1), columns=[*scores.SCORES, "change_w"])
    found = verses.rank_correlations(table, draws=50, rng=rng)
    for name in scores.SCORES:
        assert found[name].value == pytest.approx(spearmanr(table[name], table["change_w"]).statistic)
    assert found["ches - edit"].value == pytest.approx(found["ches"].value - found["edit"].value)


def test_a_step_on_a_pair_starts_from_the_same_model_each_time(model):
    once, twice = (verses.step_changes(model, PAIRS[:n], lr=1e-4) for n in (1, 3))
    assert twice["change_w"][0] == pytest.approx(once["change_w"][0], rel=1e-4)
    assert (twice["change_w"] > twice["change_l"]).all()


def test_each_quantile_is_trained_on_its_own_pairs_from_the_same_model(model):
    """And so it is with each pair: what :func:`train_preferences` does to a copy of the model."""
    pool = [Pair([1, 2], [3 + i % 5, 4, 5][: 1 + i % 3], [9, 10 + i]) for i in range(9)]
    how = {"lr": 1e-3, "steps": 2, "batch_size": 3, "check_every": 2}
    order = np.argsort(scores.ches_scores(model, pool)["ches"].to_numpy(), kind="stable")
    table = verses.quantile_changes(
        model, [pool], n=3, quantiles=(0.0, 1.0), scores=("ches",), lr=1e-3, steps=2, batch_size=3
    )
    single = verses.step_changes(model, pool[:1], lr=1e-3, steps=2)
    found = [*table["change_w"], *single["change_w"]]
    for change, rows in zip(found, (sorted(order[:3]), sorted(order[-3:]), [0]), strict=True):
        exact = training.train_preferences(copy.deepcopy(model), [pool[i] for i in rows], **how)
        assert change == pytest.approx(exact.last["change_w"], rel=1e-4)


def test_slopes_are_least_squares_in_each_pool():
    q = np.array([0.0, 0.25, 1.0])
    y = np.array([[1.0, 0.5, -3.0], [0.0, 2.0, 1.0]])
    table = pd.DataFrame(
        [(i, s, x, k * v) for i in range(2) for s, k in (("ches", 1), ("edit", 2)) for x, v in zip(q, y[i], strict=True)],
        columns=["pool", "score", "quantile", "change_w"],
    )  # fmt: skip
    slopes = verses.quantile_slopes(table)
    exact = [np.polyfit(q, row, 1)[0] for row in y]
    np.testing.assert_allclose(slopes["ches"], exact)
    np.testing.assert_allclose(slopes["edit"], 2 * np.array(exact))


def test_verse_pairs_have_every_kind_and_two_answers_that_differ():
    rows = examples.verse_pairs(9, rng=np.random.default_rng(0))
    assert [row["kind"] for row in rows] == list(examples.KINDS) * 3
    assert all(row["chosen"] != row["rejected"] for row in rows)
    with pytest.raises(ValueError, match="n must be at least 1"):
        examples.verse_pairs(0, rng=np.random.default_rng(0))


# -- copies trained at once ---------------------------------------------------------------------------------


def test_packed_pairs_have_the_log_probabilities_of_the_network_of_transformers(model):
    for net in (model, tiny_llama(20, d_model=16, n_heads=4, num_key_value_heads=2, tie_embeddings=True)):
        packed = copies.pack(PAIRS)
        index = torch.tensor([[2, 0, 1], [1, 1, 0]])
        found = copies.pair_logprobs(copies.Copies.of([net] * 2), packed.rows(index))
        for side, logp in zip(("chosen", "rejected"), found, strict=True):
            exact = scores.response_logprobs(
                net, [p.prompt for p in PAIRS], [getattr(p, side) for p in PAIRS]
            )
            torch.testing.assert_close(logp, exact[index].to(logp), rtol=1e-5, atol=1e-5)


def test_what_follows_a_prompt_does_not_see_the_other_answer(model):
    changed = [Pair(p.prompt, p.chosen, [11, 12, 13]) for p in PAIRS]
    rows, stack = torch.arange(3)[None], copies.Copies.of([model])
    ours, other = (copies.pair_logprobs(stack, copies.pack(p).rows(rows)) for p in (PAIRS, changed))
    torch.testing.assert_close(ours[0], other[0])
    assert (ours[1] - other[1]).abs().min() > 1e-3


def test_only_a_llama_without_biases_is_copied():
    with pytest.raises(ValueError, match="copies are of a Llama without biases"):
        copies.Copies.of([tiny_llama(20, d_model=16, n_layers=1, n_heads=2, attention_bias=True)])


@pytest.fixture(scope="module")
def world():
    return refusals.make_worlds([4, 7], n_dialogues=1600, epochs=1, n_prompts=60, n_test=10)[1]


def test_arms_trained_at_once_end_where_each_ends_alone(world):
    """All losses, short batches at an epoch's end, checkpoints and refusal rates drawn alike."""
    how = {"steps": 16, "lr": 3e-5, "beta": 0.1, "fraction": 0.25}
    names = ("highest CHES", "two refusals", "all + SFT", "all, DPOP", "lowest CHES, IPO")
    arms = [arm for arm in refusals.ARMS if arm.name in names]
    table = refusals.compare_arms({7: world}, arms, **how)
    sizes = {len(refusals.chosen(world, arm.choose, 0.25, np.random.default_rng(7))) for arm in arms}
    assert len(sizes) > 2, "so that batches are short at different steps"
    for arm in arms:
        exact = refusals.train_arm(world, arm, seed=7, **how).checkpoints
        found = table.loc[table["arm"] == arm.name, exact.columns].reset_index(drop=True)
        pd.testing.assert_frame_equal(found, exact, check_dtype=False, rtol=1e-4, atol=1e-5)


def test_worlds_trained_at_once_are_those_of_loglik_train(world):
    rows = refusals.dialogues(1600, unsafe_refused=0.78, safe_refused=0.03, rng=np.random.default_rng(7))
    net = tiny_llama(len(refusals.WORDS), d_model=48, n_layers=2, n_heads=4, max_len=16, seed=7)

    def loss(network, batch):
        return causal_loss(network, TokenBatch(batch["ids"], torch.ones_like(batch["ids"], dtype=torch.bool)))

    fit(net, loss, Columns(ids=rows), TrainConfig(50, 32, lr=3e-3, warmup=20, seed=7, progress=False))
    for ours, exact in zip(world.base.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(ours, exact, rtol=1e-4, atol=1e-4)


def test_copies_answer_with_the_draws_of_generate(world):
    asked = world.prompts["train"]
    exact = refusals.sample(world.base, asked, n=2, temperature=0.7, seed=3)
    noise = refusals.answer_noise(asked, n=2, seed=3)
    twice = torch.tensor(asked).repeat_interleave(2, 0)
    found = copies.sample(copies.Copies.of([world.base]), twice, noise, temperature=0.7)
    assert (found == exact).all(1).double().mean() > 0.97  # equal but for ties to rounding


def test_a_training_that_diverges_is_named(model):
    with pytest.raises(FloatingPointError, match="the training diverged"):
        copies.train_copies(model, PAIRS, [copies.Plan([0, 1])], lr=float("inf"), steps=2, check_every=1)


# -- files ---------------------------------------------------------------------------------------------------


class Letters:
    """Text to ids, a letter each."""

    bos_token_id = 1

    def encode(self, text, add_special_tokens):
        return [2 + ord(c) % 18 for c in text]


def written(path, n, bad=()):
    good = (
        json.dumps({"prompt": "say", "chosen": "ab" + "cdef"[i % 4], "rejected": "xyzw"[: 1 + i % 4]})
        for i in range(n)
    )
    lines = list(good)
    for number, text in bad:
        lines[number - 1] = text
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_malformed_lines_are_named_by_number_and_nothing_is_lost(tmp_path, model):
    bad = [(2, "{"), (5, '{"prompt": "a"}'), (6, "[1]"), (9, json.dumps(dict.fromkeys(Pair._fields, "same")))]
    path = written(tmp_path / "pairs.jsonl", 12, bad)
    found = workflow.screen(path, model, Letters(), tmp_path, keep=0.5, chunk=3)
    assert (found.n_pairs, found.n_malformed, found.n_kept) == (8, 4, 4)
    report = found.malformed.read_text().splitlines()[1:]
    assert [int(line.split(",")[0]) for line in report] == [2, 5, 6, 9]
    ended = found.kept.read_text().splitlines() + found.dropped.read_text().splitlines()
    sound = [t for i, t in enumerate(path.read_text().splitlines(), 1) if i not in dict(bad)]
    assert sorted(ended) == sorted(sound)


def test_streaming_gives_the_scores_and_filter_of_all_pairs_at_once(tmp_path, model):
    path = written(tmp_path / "pairs.jsonl", 20)
    found = workflow.screen(path, model, Letters(), tmp_path, keep=0.3, chunk=7)
    pairs = [line.pair for line in read_pairs(path, Letters())]
    all_at_once = scores.ches_scores(model, pairs)["ln_ches"].to_numpy()
    streamed = np.genfromtxt(found.scores, delimiter=",", names=True)["ln_ches"]
    np.testing.assert_allclose(streamed, all_at_once, rtol=1e-9, atol=1e-12)
    lines = path.read_text().splitlines()
    worst = workflow.worst_pairs(path, found, 2)
    assert worst["ln_ches"].tolist() == sorted(streamed, reverse=True)[:2]
    expected = [lines[i] for i in scores.filter_lowest(streamed, 0.3)]
    assert found.kept.read_text().splitlines() == expected


def test_memory_does_not_grow_with_the_number_of_pairs(monkeypatch):
    """A generator of lines stands for a file of any length; the scorer is replaced, its memory is the chunk's."""
    from loglik.language.likelihood_displacement.pairs import Line

    def flat(_, pairs, **__):
        return pd.DataFrame({name: np.zeros(len(pairs)) for name in workflow.COLUMNS[1:]})

    monkeypatch.setattr(workflow, "ches_scores", flat)

    def peak(n):
        lines = (Line(i, "x" * 2000 + str(i), PAIRS[0]) for i in range(n))
        tracemalloc.start()
        total = sum(len(table) for _, table in workflow.score_lines(lines, None, chunk=100))
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert total == n
        return used

    peak(200)  # imports and caches
    assert peak(6000) < 1.5 * peak(1000)  # without streaming: 12 MB more


def test_bad_input_is_named(tmp_path, model):
    with pytest.raises(ValueError, match="two equal answers"):
        check_pairs([Pair([1], [2], [2])])
    with pytest.raises(ValueError, match="empty prompt or answer"):
        check_pairs([Pair([1], [], [2])])
    nothing = torch.zeros(1, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match="no position of an answer"):
        scores.ches(torch.zeros(1, 2, 3), nothing, torch.zeros(1, 2, 3), nothing)
    with pytest.raises(ValueError, match=r"keep must lie in \(0, 1\]"):
        workflow.screen("x", model, Letters(), tmp_path, keep=0)
    with pytest.raises(ValueError, match="unknown loss"):
        training.preference_loss(torch.zeros(1), torch.zeros(1), kind="best")
    with pytest.raises(ValueError, match="beta must be above 0"):
        training.preference_loss(*[torch.zeros(1)] * 4, beta=0)


# -- where the theory breaks, and one prompt of a model ------------------------------------------------------


def test_tied_rate_is_the_change_of_a_small_step():
    W, _ = theory.random_models(1, 0.9, rng=np.random.default_rng(3))
    W = W[0].clone().requires_grad_()

    def logp(table):
        return torch.log_softmax(table @ (table[2] / table.shape[1] ** 0.5), 0)

    (flow,) = torch.autograd.grad(logp(W)[0] - logp(W)[1], W)
    with torch.no_grad():
        change = (logp(W + 1e-6 * flow)[0] - logp(W)[0]) / 1e-6
    assert float(theory._tied_rate(W.detach())) == pytest.approx(float(change), rel=1e-4)


def test_tying_the_prompt_changes_the_verdict_of_the_formula():
    table = theory.wrong_signs((0.99,), 200, rng=np.random.default_rng(0))
    assert table["free"][0] > 0.8  # 200 models: six standard errors from the measured 0.945
    assert table["tied"][0] < 0.1
    assert table["wrong"][0] >= table["free"][0] - table["tied"][0]


class WordTokenizer:
    """One id a word; a question is told apart by its length alone."""

    def encode(self, text, add_special_tokens=False):
        bare = text.strip()
        if bare in prompts.WORDS:
            return [prompts.WORDS.index(bare) + (10 if text.startswith(" ") else 0)]
        return [18, 19] if " " not in bare else [15, 16, 17, 10 + len(bare) % 5]

    def decode(self, ids):
        return [*prompts.WORDS, "x"][min(ids[0] % 10, len(prompts.WORDS))]


def test_one_prompt_is_trained_and_the_weights_are_put_back(model):
    tokenizer, before = WordTokenizer(), {k: v.clone() for k, v in model.state_dict().items()}
    run = prompts.train_single(model, tokenizer, "It rains.", "Yes", "No", steps=5, lr=1e-3)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert run.probabilities.shape == (6, 20)
    np.testing.assert_allclose(run.probabilities.sum(1), 1.0, atol=1e-5)
    assert run.losses[0] == pytest.approx(np.log(2))
    assert run.losses[-1] < run.losses[0]


def test_the_summary_of_a_run_finds_a_fall_on_the_way_and_who_rose():
    p = torch.full((4, 20), 0.01)
    p[:, 0] = torch.tensor([0.4, 0.7, 0.3, 0.5])  # Yes rises, falls, and comes half-way back
    p[:, 4] = torch.tensor([0.1, 0.1, 0.5, 0.3])  # No
    run = prompts.Run("It rains.", "Yes", "Maybe", p, torch.linspace(0.7, 0.1, 4))
    row = prompts.summarise(run, WordTokenizer())
    assert row["fall"] == pytest.approx(0.4)
    assert (row["start"], row["end"]) == pytest.approx((0.4, 0.5))
    assert (row["riser"], row["meaning"], row["opposite"]) == ("No", "refuse", pytest.approx(0.4))


def test_a_fall_counts_only_where_the_loss_is_lower():
    p, losses = torch.tensor([0.4, 0.9, 0.3, 0.5]), torch.tensor([0.7, 0.5, 0.6, 0.1])
    assert prompts.largest_fall(p, losses) == pytest.approx(0.4), (
        "0.9 to 0.3 raises the loss, 0.9 to 0.5 doesn't"
    )
    assert prompts.largest_fall(p.sort()[0], losses) == 0


def test_weights_moved_in_hooks_are_those_of_torchs_rmsprop(model):
    nets = [copy.deepcopy(model) for _ in range(2)]
    ids = torch.tensor([[1, 2, 3, 4]])
    hooked, theirs = prompts.HookedRMSprop(nets[0], 1e-3), torch.optim.RMSprop(nets[1].parameters(), lr=1e-3)
    for _ in range(4):
        for net in nets:
            net(ids, labels=ids).loss.backward()
        theirs.step()
        theirs.zero_grad()
    for ours, exact in zip(*(net.parameters() for net in nets), strict=True):
        torch.testing.assert_close(ours, exact)
    hooked.restart()
    hooked.close()
    for ours, exact in zip(nets[0].parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, exact)


def test_each_run_starts_from_the_same_model(model):
    plan = [("It rains.", "Yes", "No"), ("It rains.", "No", "Yes")]
    both_ways = list(prompts.train_runs(model, WordTokenizer(), plan, steps=3, lr=1e-3))
    alone = prompts.train_single(model, WordTokenizer(), *plan[1], steps=3, lr=1e-3)
    torch.testing.assert_close(both_ways[1].probabilities, alone.probabilities)


def test_warming_up_moves_mass_to_the_words(model):
    net, tokenizer = copy.deepcopy(model), WordTokenizer()
    before = prompts.start_probabilities(net, tokenizer, prompts.STATEMENTS[:4]).sum(axis=1).mean()
    prompts.warm_up(net, tokenizer, prompts.STATEMENTS[:4], steps=5, lr=1e-2, batch_size=2)
    assert (
        prompts.start_probabilities(net, tokenizer, prompts.STATEMENTS[:4]).sum(axis=1).mean() > before + 0.1
    )


def test_meanings_and_runs_worth_making():
    assert [prompts.meaning(w) for w in (" Yes", "NEVER", "perhaps", "cat")] == [
        "agree",
        "refuse",
        "hedge",
        "other",
    ]
    start = pd.DataFrame(0.0, index=["a", "b"], columns=list(prompts.WORDS))
    start.loc["b", "Yes"], start.loc["b", "Sure"] = 0.5, 0.2
    chosen = prompts.eligible(start, n=3)
    assert chosen[0] == ("b", "Yes", "No"), "the paper's pair comes first"
    assert {word for _, word, _ in chosen} == {"Yes"}
    start.loc["a", "Yes"] = 0.4
    assert [run[0] for run in prompts.eligible(start, each=2)[:2]] == ["a", "b"]
    runs = pd.DataFrame({"chosen": ["Yes", "No"], "meaning": ["agree", "agree"]})
    assert prompts.same_meaning(runs) == 0.5
    assert prompts.same_meaning(runs[:0]) == 0.0
    with pytest.raises(ValueError, match="is 2 tokens"):
        prompts.single_token(WordTokenizer(), "Absolutely")


def test_the_committed_study_of_single_prompts_is_whole():
    runs = scan.load_scan()
    assert (runs["start"] >= 0.3).all()
    assert set(prompts.PAPER) <= set(zip(runs["chosen"], runs["rejected"], strict=True))
    for run in runs.itertuples():
        p, losses = torch.tensor(run.p[0]), torch.tensor(run.losses)
        assert len(p) == len(run.p[1]) == len(losses) == run.steps + 1
        assert prompts.largest_fall(p, losses) == pytest.approx(run.fall, abs=2e-4)
        assert run.losses[0] == pytest.approx(np.log(2), abs=1e-4)
    table = scan.by_pair(runs)
    assert table["runs"].sum() == len(runs)
    assert table["fall"].max() == runs["fall"].max()


def test_a_run_made_again_is_compared_with_the_stored_course(model, monkeypatch):
    monkeypatch.setattr(scan, "load_pretrained", lambda name: (copy.deepcopy(model), WordTokenizer()))
    monkeypatch.setattr(prompts, "eligible", lambda start, **_: [("It rains.", "Yes", "No")])
    runs = pd.DataFrame(scan.run_scan("yes or no", 2, 1))
    assert runs["lr"].tolist() == [1e-6, 1e-7]
    assert scan.repeat(runs[:1])["difference"][0] < 1e-4
    with pytest.raises(ValueError, match="one setting"):
        scan.repeat(runs)


# -- the paper's own data, never fetched here ----------------------------------------------------------------


def fake_hub(monkeypatch, folder, files):
    """A hub whose files lie in a folder; what isn't there fails as it would without a network."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")

    def download(repository, name, repo_type):
        assert repo_type == "dataset"
        if name not in files:
            raise OSError("no network")
        return str(folder / name)

    class Api:
        def list_repo_files(self, repository, repo_type):
            if not files:
                raise OSError("no network")
            return list(files)

    hub_module = types.SimpleNamespace(hf_hub_download=download, HfApi=Api)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub_module)


def test_ultrafeedback_is_read_from_the_hubs_files(monkeypatch, tmp_path):
    def talk(question, answer):
        return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]

    answers = [("good", "bad"), ("same", "same"), ("yes", " "), ("long", "short")]
    table = pd.DataFrame(
        {
            "chosen": [talk(f"q{i}", a) for i, (a, _) in enumerate(answers)],
            "rejected": [talk(f"q{i}", b) for i, (_, b) in enumerate(answers)],
        }
    )
    fake_hub(monkeypatch, tmp_path, {"data/train_prefs-0.parquet": "", "data/test_prefs-0.parquet": ""})
    monkeypatch.setattr(pd, "read_parquet", lambda path, columns: table[columns])
    rows = hub.load_ultrafeedback()
    assert [row["prompt"] for row in rows] == ["q0", "q3"], "equal and empty answers are left out"
    assert rows[1] == {"prompt": "q3", "chosen": "long", "rejected": "short"}
    written_rows = examples.write_rows(tmp_path / "pairs.jsonl", rows)
    assert [line.pair is None for line in read_pairs(written_rows, Letters())] == [False, False]
    assert len(hub.load_ultrafeedback(1, rng=np.random.default_rng(1))) <= 1
    with pytest.raises(ValueError, match="no split 'valid'"):
        hub.load_ultrafeedback(split="valid")


def test_parquet_without_a_reader_says_what_to_install(monkeypatch, tmp_path):
    def no_engine(path, columns):
        raise ImportError("Unable to find a usable engine")

    fake_hub(monkeypatch, tmp_path, {"data/train_prefs-0.parquet": ""})
    monkeypatch.setattr(pd, "read_parquet", no_engine)
    with pytest.raises(ImportError, match="pyarrow or fastparquet"):
        hub.load_ultrafeedback()


def test_sorry_bench_and_personas_are_read_from_json_lines(monkeypatch, tmp_path):
    requests = [
        {"turns": ["Do harm."], "category": 7, "prompt_style": "base"},
        {"turns": ["Qb unez."], "category": 7, "prompt_style": "caesar"},
    ]
    persona = {"question": "Is it?", "answer_matching_behavior": " Yes"}
    files = {"question.jsonl": requests, "persona/ends-justify-means.jsonl": [persona]}
    fake_hub(monkeypatch, tmp_path, {k: "\n".join(map(json.dumps, v)) for k, v in files.items()})
    assert hub.load_sorry_bench() == [{"prompt": "Do harm.", "category": "7"}]
    assert hub.load_personas() == [{"question": "Is it?", "agrees": "Yes"}]


@pytest.mark.parametrize("load", ["load_ultrafeedback", "load_sorry_bench", "load_personas"])
def test_without_a_network_the_offline_alternative_is_named(monkeypatch, tmp_path, load):
    fake_hub(monkeypatch, tmp_path, {})
    with pytest.raises(ConnectionError, match=r"examples\.verse_pairs makes pairs of real text") as failed:
        getattr(hub, load)()
    assert ("accept its terms" in str(failed.value)) == (load == "load_sorry_bench")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ConnectionError, match="without a network"):
        getattr(hub, load)()
