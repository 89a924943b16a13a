"""A small language model on ragged texts: enough to go wrong in every way that a large one can."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from loglik.nn import initialise
from loglik.train import Examples

VOCABULARY, PAD = 17, -100


class Model(nn.Module):
    """Next token from the last one; an embedding, a matrix, a norm, dropout, a tied output."""

    def __init__(self, seed: int = 0, dropout: float = 0.0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.embed = nn.Embedding(VOCABULARY, 16)
        nn.init.normal_(self.embed.weight, generator=generator)
        self.hidden = nn.Linear(16, 16)
        self.norm = nn.LayerNorm(16)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(16, VOCABULARY, bias=False)
        initialise(self, generator)
        self.out.weight = self.embed.weight
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = nn.functional.silu(self.hidden(self.embed(tokens.clamp_min(0))))
        return self.out(self.dropout(self.norm(hidden)))


def collate(texts: list[Tensor]) -> Tensor:
    return nn.utils.rnn.pad_sequence(texts, batch_first=True, padding_value=PAD)


def data(n: int = 23, seed: int = 1) -> Examples:
    """`n` texts of 3 to 40 tokens."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(3, 41, (n,), generator=generator).tolist()
    texts = [torch.randint(VOCABULARY, (length,), generator=generator) for length in lengths]
    return Examples(texts, collate)


def loss(model: Any, tokens: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Cross entropy summed over real tokens, their number, and how many were guessed."""
    logits, targets = model(tokens[:, :-1]).float(), tokens[:, 1:]
    real = targets != PAD
    summed = cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=PAD, reduction="sum")
    return summed, real.sum(), {"accuracy": ((logits.argmax(-1) == targets) & real).sum()}


def loss_of_means(model: Any, tokens: Tensor) -> tuple[Tensor, int]:
    """The classical mistake: each micro-batch's own mean."""
    summed, units, _ = loss(model, tokens)
    return summed / units, 1


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def largest_difference(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    assert a.keys() == b.keys()
    return max((a[name] - b[name]).abs().max().item() for name in a)
