"""A tokenizer and small random networks that the tests of the substrate share."""

import pytest
import torch

from loglik.language import corpora, models, tokens


@pytest.fixture(scope="session")
def sentences():
    return corpora.texts(corpora.load_corpus("kjv", seed=0, max_docs=200))


@pytest.fixture(scope="session")
def tokenizer(sentences):
    return tokens.train_bpe(sentences, 400)


@pytest.fixture(scope="session")
def llama(tokenizer):
    return models.tiny_llama(len(tokenizer), d_model=32, n_heads=4, max_len=96, seed=1).eval()


@pytest.fixture(scope="session")
def grouped():
    """Fewer key heads than query heads, in double precision."""
    model = models.tiny_llama(17, d_model=32, n_heads=4, max_len=64, seed=2, num_key_value_heads=2)
    return model.double().eval()


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)
