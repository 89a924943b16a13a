"""What the parent must know: small parents of several sizes and educations, trained from scratch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from loglik.language import tokens
from loglik.language.llm_ood_ratio import baselines, data
from loglik.language.llm_ood_ratio.data import Pool
from loglik.language.llm_ood_ratio.scores import ratio_scores
from loglik.language.llm_ood_ratio.study import Progress, Scores, Study, draw
from loglik.language.llm_ood_ratio.tuning import Rows, finetune
from loglik.language.models import tiny_llama
from loglik.language.scoring import causal_loss, score
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


def pretrain(
    texts: Sequence[str],
    *,
    width: int,
    n_tokens: int,
    vocab_size: int = 512,
    block: int = 64,
    batch: int = 12,
    lr: float = 6e-3,
    seed: int = 0,
) -> tuple[Any, Any]:
    """A small parent from scratch, and its tokenizer, trained on the same texts and no others.

    Parameters
    ----------
    texts : sequence of str
        Shuffled; read once, from the front, and again where they don't suffice.
    width : int
        Of the residual stream; two blocks.
    n_tokens : int
        Tokens to train on.
    vocab_size, block, batch, lr, seed

    Returns
    -------
    (model, tokenizer)
    """  # fmt: skip
    tokenizer = tokens.train_bpe(texts[:4000], vocab_size)
    rows = tokens.pack(tokenizer, texts[: n_tokens // 25], block)[: max(batch, n_tokens // block)]
    model = tiny_llama(len(tokenizer), d_model=width, n_layers=2, max_len=block, seed=seed)
    steps = max(1, n_tokens // (block * batch))
    cfg = TrainConfig(
        steps=steps, batch_size=batch, lr=lr, warmup=max(1, steps // 20), final=0.05, betas=(0.9, 0.98),
        weight_decay=0.1, clip=1.0, seed=seed, progress=False,
    )  # fmt: skip
    full = tokens.TokenBatch(rows, torch.ones_like(rows, dtype=torch.bool))
    fit(model, causal_loss, Rows(full), cfg)
    return model.eval(), tokenizer


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
    for seed, education in progress([(seed, education) for seed in seeds for education in educations]):
        texts = parent_texts(pools, narrow=education.narrow, seed=seed)
        parent, tokenizer = pretrain(texts, width=education.width, n_tokens=n_tokens, seed=seed)
        train, validation = draw(pools["gospels"].train, n_train, seed, tokenizer, 64)
        child = finetune(parent, train, validation=validation, epochs=epochs, lr=lr, seed=seed).model
        found: Scores = {}
        tests = {name: tokens.encode(tokenizer, data.texts(pools[name].test), max_len=64) for name in TARGETS}
        for name, batch in tests.items():
            logp, n = score(child, batch)
            found[name] = ratio_scores(score(parent, batch).logp.numpy(), logp.numpy(), n.numpy())
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
                own = score(noisy, batch).logp.numpy()
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
