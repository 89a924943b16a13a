"""The base model that the language chapters share."""

import pytest
import torch

from loglik.language import base, corpora, scoring, tokens
from loglik.language.base import pretrain


@pytest.fixture(scope="module")
def shared():
    return base.load_base()


def test_it_has_the_shape_of_its_card(shared):
    model, tokenizer = shared
    assert sum(p.numel() for p in model.parameters()) == 865_152
    assert len(tokenizer) == model.config.vocab_size == pretrain.VOCAB
    assert not model.training
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (
        model.config.bos_token_id,
        model.config.eos_token_id,
    )


@pytest.mark.parametrize(("name", "perplexity"), [("kjv", 18.5), ("spamassassin", 25.6)])
def test_it_predicts_what_it_never_saw_as_well_as_its_card_says(shared, name, perplexity):
    """A shuffled vocabulary, another tokenizer or weights of another run would be far off."""
    model, tokenizer = shared
    _, unseen = pretrain.split()
    batch = tokens.encode(tokenizer, unseen[name], max_len=pretrain.BLOCK)
    assert scoring.perplexity(model, batch) == pytest.approx(perplexity, rel=0.02)


def test_a_fifth_of_every_corpus_is_held_out_and_not_among_the_training_texts():
    seen, unseen = pretrain.split()
    for name in corpora.SHA256:
        docs = corpora.load_corpus(name)
        share = sum(map(corpora.held_out, docs)) / len(docs)
        assert share == pytest.approx(0.2, abs=0.03)
        only_there = set(unseen[name]) - {d.text for d in docs if not corpora.held_out(d)}
        assert only_there.isdisjoint(seen)


def test_packing_wastes_no_token_and_marks_every_text(shared):
    _, tokenizer = shared
    texts = ["And God said, Let there be light", "Amen."]
    stream = tokens.pack(tokenizer, texts * 40, 16).flatten()
    row = tokens.encode(tokenizer, texts)
    wanted = torch.cat([row.ids[i][row.mask[i]] for i in (0, 1)] * 40)
    assert torch.equal(stream, wanted[: len(stream)])
    assert len(wanted) - len(stream) < 16
