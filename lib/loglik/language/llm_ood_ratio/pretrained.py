"""The real thing on one core: SmolLM2-135M with a low-rank update of its output matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from loglik.language import tokens
from loglik.language.llm_ood_ratio import data
from loglik.language.llm_ood_ratio.data import Pool
from loglik.language.llm_ood_ratio.scores import ratio_scores
from loglik.language.llm_ood_ratio.study import Scores
from loglik.language.llm_ood_ratio.tuning import features, finetune_output, output_log_likelihoods
from loglik.language.models import SMOLLM2, load_pretrained


def pretrained_study(
    pools: Mapping[str, Pool],
    *,
    name: str = SMOLLM2,
    known: str = "ham",
    unknown: Sequence[str] = ("spam", "gospels", "austen"),
    n_train: int = 96,
    n_test: int = 48,
    max_len: int = 32,
    rank: int = 16,
    epochs: float = 2.0,
    lr: float = 2e-3,
    seed: int = 0,
) -> Scores:
    """Fine-tune a pretrained model's output matrix on one kind of text, and score test texts of several kinds.

    Parameters
    ----------
    pools : mapping of str to Pool
    name : str
        See :func:`loglik.language.models.load_pretrained`.
    known, unknown : str, sequence of str
        Domains.
    n_train, n_test : int
        Texts to fine-tune on, and test texts of each kind.
    max_len : int
        Texts are cut to so many tokens.
    rank, epochs, lr, seed
        Of the update; see :func:`~loglik.language.llm_ood_ratio.tuning.finetune_output`.
    """
    model, tokenizer = load_pretrained(name)
    chosen = np.random.default_rng(seed).permutation(len(pools[known].train))[:n_train]
    lessons = tokens.encode(tokenizer, [pools[known].train[i].text for i in chosen], max_len=max_len)
    adapter = finetune_output(
        model, features(model, lessons), rank=rank, epochs=epochs, lr=lr, batch_size=128, seed=seed
    )
    out: Scores = {}
    for kind in (known, *unknown):
        batch = tokens.encode(tokenizer, data.texts(pools[kind].test[:n_test]), max_len=max_len)
        before, after = output_log_likelihoods(features(model, batch), adapter)
        out[kind] = ratio_scores(before.numpy(), after.numpy(), (batch.lengths - 1).numpy())
    return out
