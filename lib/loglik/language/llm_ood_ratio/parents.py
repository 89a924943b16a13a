"""What the parent must know: small parents of several sizes and educations, trained from scratch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from loglik.language import tokens
from loglik.language.llm_ood_ratio import baselines, data
from loglik.language.llm_ood_ratio.data import Pool
from loglik.language.llm_ood_ratio.products import wide_products
from loglik.language.llm_ood_ratio.scores import log_likelihood, ratio_scores
from loglik.language.llm_ood_ratio.study import Progress, Scores, Study, draw
from loglik.language.llm_ood_ratio.tuning import finetune
from loglik.language.models import forward, tiny_llama
from loglik.train import TrainConfig, fit

TARGETS = ("gospels", *data.NEAR)


class Education(NamedTuple):
    """What a parent reads, and how wide it is."""

    name: str
    width: int
    narrow: bool  # never sees the Bible or spam


EDUCATIONS = (
    Education("broad, width 64", 64, False),
    Education("broad, width 32", 32, False),
    Education("narrow, width 64", 64, True),
)


def parent_texts(pools: Mapping[str, Pool], *, narrow: bool, seed: int) -> list[str]:
    """Texts to pretrain on, shuffled: everything, or Austen, ham and Python's reference alone."""
    kinds = ("austen", "ham", "python") if narrow else data.DOMAINS
    found = [doc.text for kind in kinds for doc in pools[kind].parent]
    if not narrow:
        found += data.texts(data.other_verses(dict(pools)))
    return [found[i] for i in np.random.default_rng(seed).permutation(len(found))]


class Reading(NamedTuple):
    """What a parent reads, in tokens."""

    tokenizer: Any
    rows: Tensor  # (M, block) int64


def read(texts: Sequence[str], n_tokens: int, *, vocab_size: int = 512, block: int = 64) -> Reading:
    """Train a tokenizer on texts, and cut them into full rows.

    Parameters
    ----------
    texts : sequence of str
        Shuffled; taken from the front.
    n_tokens : int
        Tokens that are wanted; fewer come when the texts don't suffice.
    vocab_size : int
    block : int
        Tokens of a row.
    """
    tokenizer = tokens.train_bpe(texts[: min(4000, n_tokens // 25)], vocab_size)
    wanted = take = n_tokens // block
    while True:  # encode no more texts than fill the rows
        rows = tokens.pack(tokenizer, texts[:take], block)
        if len(rows) >= wanted or take >= len(texts):
            return Reading(tokenizer, rows[:wanted])
        take *= 2


def pretrain(reading: Reading, *, width: int, batch: int = 12, lr: float = 6e-3, seed: int = 0) -> Any:
    """A small parent from scratch.

    Parameters
    ----------
    reading : Reading
        Seen once.
    width : int
        Of the residual stream; two blocks.
    batch : int
        Rows in a step.
    lr : float
    seed : int
        Of the initial weights and the order of the rows.
    """
    rows = reading.rows
    vocab_size = len(reading.tokenizer)
    model = tiny_llama(vocab_size, d_model=width, n_layers=2, max_len=rows.shape[1], seed=seed)
    steps = max(1, len(rows) // batch)
    cfg = TrainConfig(
        steps=steps, batch_size=batch, lr=lr, warmup=max(1, steps // 20), final=0.05, betas=(0.9, 0.98),
        weight_decay=0.1, clip=1.0, seed=seed, progress=False,
    )  # fmt: skip
    with wide_products(model):
        fit(model, _full_rows_loss, TensorDataset(rows), cfg)
    return model.eval()


def _full_rows_loss(model: Any, batch: tuple[Tensor]) -> tuple[Tensor, int]:
    """Summed loss of rows without padding: no mask, no positions to count."""
    (ids,) = batch
    logits = forward(model, ids[:, :-1]).logits.flatten(0, 1)
    return F.cross_entropy(logits, ids[:, 1:].flatten(), reduction="sum"), ids[:, 1:].numel()


def parent_study(
    pools: Mapping[str, Pool],
    seeds: Sequence[int],
    *,
    n_tokens: int,
    n_train: int = 400,
    epochs: float = 2.0,
    lr: float = 3e-3,
    background_epochs: float = 4.0,
    rates: Sequence[float] = (0.1, 0.3),
    educations: Sequence[Education] = EDUCATIONS,
    progress: Progress = iter,
) -> Study:
    """Parents of each education, a Gospels child of each, and scores of Gospels, Prophets and History.

    Under the first education stand also the background ratios of Ren et al.: the background is a network of the
    child's size, trained from scratch on perturbed texts of the child's training set. The foreground is the child, or
    (``scratch``) a network trained from scratch on the texts as they are, as in that paper.

    Returns
    -------
    Study
        By the education's name; a seed draws texts, initial weights and order anew.
    """
    study: Study = {education.name: [] for education in educations}
    readings: dict[tuple[int, bool], Reading] = {}
    for seed, education in progress([(seed, education) for seed in seeds for education in educations]):
        key = seed, education.narrow
        if key not in readings:
            readings[key] = read(parent_texts(pools, narrow=education.narrow, seed=seed), n_tokens)
        tokenizer = readings[key].tokenizer
        parent = pretrain(readings[key], width=education.width, seed=seed)
        train, validation = draw(pools["gospels"].train, n_train, seed, tokenizer, 64)
        child = finetune(parent, train, validation=validation, epochs=epochs, lr=lr, seed=seed).model
        found: Scores = {}
        tests = {name: tokens.encode(tokenizer, data.texts(pools[name].test), max_len=64) for name in TARGETS}
        for name, batch in tests.items():
            logp, n = log_likelihood(child, batch)
            found[name] = ratio_scores(log_likelihood(parent, batch)[0], logp, n)
        for rate in (0.0, *rates) if education == educations[0] else ():
            noisy = background_model(
                train,
                rate,
                width=education.width,
                vocab_size=len(tokenizer),
                epochs=background_epochs,
                seed=seed,
            )
            for name, batch in tests.items():
                own = log_likelihood(noisy, batch)[0]
                found[name][f"own {rate}"] = own
                found[name][f"background {rate}"] = own + found[name]["LH"]
                found[name][f"background {rate}, scratch"] = own - found[name]["own 0.0"]
        study[education.name].append(found)
    return study


def background_model(
    train: tokens.TokenBatch, rate: float, *, width: int, vocab_size: int, epochs: float, seed: int
) -> Any:
    """The background model of Ren et al. (2019): from scratch, on perturbed texts of the known kind.

    Parameters
    ----------
    train : TokenBatch
    rate : float
        Share of tokens replaced at random.
    width, vocab_size, epochs, seed
    """
    fresh = tiny_llama(vocab_size, d_model=width, n_layers=2, max_len=64, seed=seed + 1)
    noisy = baselines.perturb_tokens(train, rate, vocab_size, torch.Generator().manual_seed(seed))
    return finetune(fresh, noisy, epochs=epochs, lr=6e-3, weight_decay=0.1, seed=seed).model
