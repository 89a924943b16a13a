"""From parent to child: full fine-tuning, low-rank adapters, and a low-rank update of the output matrix alone.

The last needs one forward pass for both models, because parent and child share every layer below the output. That
brings a real pretrained model within reach of one CPU core.
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from loglik.language import scoring
from loglik.language.llm_ood_ratio.products import product, wide_products
from loglik.language.models import forward
from loglik.language.tokens import TokenBatch
from loglik.train import Columns, KeepBest, TrainConfig, TrainLog, fit

METHODS = ("full", "lora")


class Rows:
    """Encoded texts as data for the training loop; a batch is cut to its longest text."""

    def __init__(self, batch: TokenBatch) -> None:
        self.batch = batch

    def __len__(self) -> int:
        return len(self.batch.ids)

    def __getitem__(self, indices: Tensor) -> TokenBatch:
        ids, mask = self.batch.ids[indices], self.batch.mask[indices]
        width = int(mask.sum(1).max())
        return TokenBatch(ids[:, :width], mask[:, :width])


class FineTuned(NamedTuple):
    """A child with the course of its training."""

    model: Any
    log: TrainLog


def finetune(
    parent: Any,
    batch: TokenBatch,
    *,
    validation: TokenBatch | None = None,
    method: str = "full",
    rank: int = 16,
    epochs: float = 2.0,
    batch_size: int = 32,
    lr: float = 1e-3,
    weight_decay: float = 0.01,
    clip: float | None = 1.0,
    dropout: float = 0.05,
    seed: int = 0,
    loss_fn: Any = scoring.causal_loss,
    callbacks: Any = (),
) -> FineTuned:
    """Train a copy of `parent` on texts of the known kind; the parent stays as it is.

    Parameters
    ----------
    parent : causal model of `transformers`
    batch : TokenBatch of N texts
    validation : TokenBatch, optional
        Known texts that aren't trained on: the weights of the best epoch on them are kept.
    method : {"full", "lora"}
        All weights, or low-rank adapters of the attention's query and value matrices (through `peft`; merged at the
        end, so that scoring costs what the parent's does).
    rank, dropout : int, float
        Of the adapters; their scale is ``alpha = 2 * rank`` as in the paper.
    epochs, batch_size, lr, weight_decay, clip
        AdamW with a cosine and a tenth of warm-up.
    seed : int
        Of data order, adapters and dropout.
    loss_fn : callable
        See :func:`loglik.train.fit`.
    callbacks : sequence of callables
        Passed to :func:`loglik.train.fit`.

    Returns
    -------
    FineTuned
        The child in evaluation mode.

    Raises
    ------
    ValueError
        For an unknown method.
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; allowed: {', '.join(METHODS)}")
    child = copy.deepcopy(parent)
    if method == "lora":
        child = _with_adapters(child, rank, dropout, seed)
    steps = max(1, round(epochs * len(batch.ids) / batch_size))
    cfg = TrainConfig(
        steps=steps, batch_size=min(batch_size, len(batch.ids)), lr=lr, warmup=max(1, steps // 10),
        weight_decay=weight_decay, clip=clip, seed=seed, log_every=1, progress=False,
    )  # fmt: skip
    keep = (
        None
        if validation is None
        else KeepBest(_validation_loss(validation), largest=False, name="validation")
    )
    with wide_products(child):
        log = fit(child, loss_fn, Rows(batch), cfg, callbacks=[*callbacks, *([keep] if keep else [])])
    if keep and keep.weights:
        keep.restore(child)
    if method == "lora":
        child = child.merge_and_unload()
    return FineTuned(child.eval(), log)


def _validation_loss(batch: TokenBatch) -> Any:
    def loss(model: nn.Module) -> float:
        found = scoring.score(model, batch)
        return float(-found.logp.sum() / found.n_tokens.sum())

    return loss


def _with_adapters(model: Any, rank: int, dropout: float, seed: int) -> Any:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, lora_dropout=dropout, target_modules=["q_proj", "v_proj"], bias="none",
        task_type="CAUSAL_LM",
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):  # `peft` draws the adapters from torch's own generator
        torch.manual_seed(seed)
        return get_peft_model(model, config)


# -- the output matrix alone -------------------------------------------------------------------------------


class Features(NamedTuple):
    """What the output matrix sees: one row for each scored token."""

    hidden: Tensor  # (M, d) after the final norm
    targets: Tensor  # (M,) the token that comes next
    text: Tensor  # (M,) index of the text
    n_texts: int


@torch.inference_mode()
def features(model: Any, batch: TokenBatch, *, rows: int = 16) -> Features:
    """Final hidden states of every scored token: the one forward pass that parent and child share.

    Parameters
    ----------
    model : causal model of `transformers`
    batch : TokenBatch of N texts
    rows : int
        Texts in a pass, taken in order of length.
    """
    order = batch.lengths.argsort(stable=True)
    hidden, targets, text = [], [], []
    with wide_products(model):
        for chunk in order.split(rows):
            width = int(batch.lengths[chunk].max())
            ids, mask = batch.ids[chunk, :width], batch.mask[chunk, :width]
            read = forward(model, ids[:, :-1], mask[:, :-1], hidden=True, logits_to_keep=1)
            scored = mask[:, 1:]
            hidden.append(read.hidden_states[-1][scored].float().clone())
            targets.append(ids[:, 1:][scored])
            text.append(chunk[:, None].expand_as(scored)[scored])
    return Features(torch.cat(hidden), torch.cat(targets), torch.cat(text), len(batch.ids))


class OutputAdapter(nn.Module):
    """An output matrix with a low-rank update: logits ``W h + 2 B A h``.

    Parameters
    ----------
    weight : Tensor of shape (V, d)
        The parent's output matrix W; not trained.
    rank : int
    generator : torch.Generator
        Of the start: A is N(0, 1/d), B is zero, so the child starts as its parent.
    """

    def __init__(self, weight: Tensor, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        V, d = weight.shape
        self.weight: Tensor
        self.register_buffer("weight", weight.detach().float())
        self.down = nn.Parameter(torch.randn(rank, d, generator=generator) / d**0.5)
        self.up = nn.Parameter(torch.zeros(V, rank))

    def forward(self, hidden: Tensor) -> Tensor:
        """Logits (M, V)."""
        return torch.addmm(product(hidden, self.weight), hidden @ self.down.T, self.up.T, alpha=2)

    def merged(self) -> Tensor:
        """The child's output matrix (V, d)."""
        return (self.weight + 2 * self.up @ self.down).detach()


def finetune_output(
    model: Any,
    known: Features,
    *,
    rank: int = 16,
    epochs: float = 4.0,
    batch_size: int = 256,
    lr: float = 1e-3,
    seed: int = 0,
) -> OutputAdapter:
    """Fit a low-rank update of the output matrix on cached features; the layers below don't move.

    Parameters
    ----------
    model : causal model of `transformers`
    known : Features of the training texts
    rank, epochs, batch_size, lr, seed
        `batch_size` is in tokens.
    """
    weight = model.get_output_embeddings().weight
    adapter = OutputAdapter(weight, rank, torch.Generator().manual_seed(seed))
    steps = max(1, round(epochs * len(known.targets) / batch_size))
    cfg = TrainConfig(
        steps=steps, batch_size=min(batch_size, len(known.targets)), lr=lr, warmup=max(1, steps // 10), clip=1.0,
        seed=seed, progress=False,
    )  # fmt: skip

    def loss(module: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, int]:
        total = F.cross_entropy(module(batch["hidden"]), batch["targets"], reduction="sum")
        return total, len(batch["targets"])

    fit(adapter, loss, Columns(hidden=known.hidden, targets=known.targets), cfg)
    return adapter.eval()


@torch.inference_mode()
def output_log_likelihoods(
    found: Features, adapter: OutputAdapter, *, chunk: int = 512
) -> tuple[Tensor, Tensor]:
    """Log-likelihood of each text under parent and child: (N,) float64 each, nats.

    The child's logits are the parent's plus a product of rank r, so the large product is made once for both.

    Parameters
    ----------
    found : Features
    adapter : OutputAdapter
        It carries the parent's output matrix.
    chunk : int
        Tokens whose logits are in memory together.
    """
    parts: tuple[list[Tensor], list[Tensor]] = ([], [])
    for hidden, targets in zip(found.hidden.split(chunk), found.targets.split(chunk), strict=True):
        logits = product(hidden, adapter.weight)
        parts[0].append(-F.cross_entropy(logits, targets, reduction="none"))
        logits.addmm_(hidden @ adapter.down.T, adapter.up.T, alpha=2)
        parts[1].append(-F.cross_entropy(logits, targets, reduction="none"))
    start = torch.zeros(found.n_texts, dtype=torch.float64)
    before, after = (start.index_add(0, found.text, torch.cat(part).double()) for part in parts)
    return before, after
