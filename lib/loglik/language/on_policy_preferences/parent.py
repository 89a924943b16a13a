"""The parent of the length problems: a causal model of 0.1 million parameters, made once and committed.

``python -m loglik.language.on_policy_preferences.parent`` makes ``parent.safetensors`` beside this module again,
in about two CPU minutes; ``--steps 5 --out FILE`` tries it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from loglik.language import models
from loglik.language.base import load_base
from loglik.language.on_policy_preferences.clauses import load_clauses
from loglik.language.scoring import causal_loss
from loglik.language.tokens import TokenBatch
from loglik.train import Columns, TrainConfig, fit, load_weights, save_weights

WEIGHTS = Path(__file__).resolve().parent / "parent.safetensors"


def new_parent(vocab_size: int, *, seed: int = 0) -> Any:
    """The parent's network with random weights: width 48, two blocks, three heads, tied matrices, context 32."""
    return models.tiny_llama(
        vocab_size, d_model=48, n_layers=2, n_heads=3, max_len=32, tie_embeddings=True, seed=seed
    )


def load_parent() -> tuple[Any, Any]:
    """The committed parent, in evaluation mode, and the tokenizer that it shares with the base model."""
    _, tokenizer = load_base()
    model = new_parent(len(tokenizer))
    load_weights(model, WEIGHTS)
    return model.eval(), tokenizer


def train_parent(*, steps: int = 1500, batch_size: int = 64, seed: int = 0, progress: bool = False) -> Any:
    """Train a parent on the clauses of the four fifths of verses, with their ends."""
    _, tokenizer = load_base()
    clauses = load_clauses(tokenizer, held=False)
    model = new_parent(len(tokenizer), seed=seed)
    config = TrainConfig(
        steps=steps, batch_size=batch_size, lr=6e-3, warmup=min(50, steps // 2), seed=seed, progress=progress
    )
    fit(model, _loss, Columns(ids=clauses.ids, mask=clauses.mask), config)
    return model


def _loss(model: Any, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    width = int(batch["mask"].sum(1).max())
    return causal_loss(model, TokenBatch(batch["ids"][:, :width], batch["mask"][:, :width]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    save_weights(train_parent(steps=options.steps, progress=True), options.out)
