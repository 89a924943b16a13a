"""Pretrain the shared base model: ``python -m loglik.language.base.pretrain RUN`` (20 CPU minutes, or one on a GPU).

RUN is the run's folder: started again, it goes on from its last checkpoint. The result replaces the files beside
this module: weights as safetensors, configuration, tokenizer, and the course of the loss.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from loglik.language import corpora, models, scoring, tokens
from loglik.language.base import HERE
from loglik.train import TrainConfig, distributed_context, fit
from loglik.train.run import Run

VOCAB, BLOCK = 1024, 128
SHAPE: dict[str, Any] = {"d_model": 128, "n_layers": 3, "n_heads": 4, "max_len": BLOCK}


class Blocks:
    """Rows of packed text as data for the training loop."""

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, indices: Tensor) -> tokens.TokenBatch:
        ids = self.rows[indices]
        return tokens.TokenBatch(ids, torch.ones_like(ids, dtype=torch.bool))


def split() -> tuple[list[str], dict[str, list[str]]]:
    """Texts to train on, shuffled, and held-out ones of each corpus (200 each) to look at on the way."""
    docs = {name: corpora.load_corpus(name, seed=0) for name in corpora.SHA256}
    unseen = {name: [d.text for d in found if corpora.held_out(d)][:200] for name, found in docs.items()}
    seen = sorted(
        (d for found in docs.values() for d in found if not corpora.held_out(d)), key=lambda d: d.doc_id
    )
    order = torch.randperm(len(seen), generator=torch.Generator().manual_seed(0))
    return [seen[i].text for i in order.tolist()], unseen


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, or go on, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder of the run's checkpoints")
    parser.add_argument("--epochs", type=float, default=2.0)
    parser.add_argument("--out", type=Path, default=HERE, help="where the result goes")
    options = parser.parse_args(arguments)

    texts, unseen = split()
    tokenizer = tokens.train_bpe(texts, VOCAB)
    rows = tokens.pack(tokenizer, texts, BLOCK)
    ends = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")}
    model = models.tiny_llama(len(tokenizer), **SHAPE, **ends)
    steps = int(options.epochs * len(rows) / 64)
    cfg = TrainConfig(
        steps=steps, batch_size=64, lr=4e-3, warmup=50, final=0.05, betas=(0.9, 0.98), weight_decay=0.1, clip=1.0,
        log_every=10, save_every=50, out_dir=options.run,
    )  # fmt: skip
    looks = {name: tokens.encode(tokenizer, found, max_len=BLOCK) for name, found in unseen.items()}

    def look(run: Run) -> None:
        if run.step % 100 == 0 or run.step == steps:
            run.model.eval()
            run.log(
                **{
                    f"perplexity_{name}": scoring.perplexity(run.model, batch)
                    for name, batch in looks.items()
                }
            )
            run.model.train()

    log = fit(model, scoring.causal_loss, Blocks(rows), cfg, callbacks=[look], resume="auto")
    if distributed_context().is_main:
        model.save_pretrained(options.out)
        tokenizer.save_pretrained(options.out)
        log.frame.drop(columns="units_per_s").round(4).to_csv(options.out / "course.csv", index=False)


if __name__ == "__main__":
    main()
