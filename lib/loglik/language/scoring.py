"""How likely is a text: log-likelihoods of tokens, texts and files of texts under a causal model.

Log-softmax is computed in float32 whatever the weights are. The first token of a row is conditioned on and never
scored.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm.auto import tqdm

from loglik.language.models import forward
from loglik.language.tokens import TokenBatch


class Scores(NamedTuple):
    """Log-likelihoods of texts."""

    logp: Tensor  # (N,) float64, nats, summed over the scored tokens
    n_tokens: Tensor  # (N,) int64, how many were scored


def token_logprobs(
    model: Any, ids: Tensor, mask: Tensor | None = None, *, scored: Tensor | None = None, **options: Any
) -> Tensor:
    """Log-probability of each token given those before it; differentiable.

    Parameters
    ----------
    model : causal model of `transformers`
    ids, mask : Tensors of shape (B, T)
        Padded on either side; `mask` is True where there is a token (default: everywhere).
    scored : Tensor of shape (B, T), optional
        Which tokens count as predictions, such as those of the answer; default: all but the first.
    **options
        Passed on to the network.

    Returns
    -------
    Tensor of shape (B, T - 1), float32
        Entry t belongs to token t + 1; zero where it isn't scored.
    """
    logits = forward(model, ids, mask, **options).logits[:, :-1].float()
    picked = logits.gather(2, ids[:, 1:, None]).squeeze(2) - logits.logsumexp(2)
    return picked.masked_fill(~_targets(ids, mask, scored), 0.0)


def causal_loss(model: Any, batch: TokenBatch, *, scored: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Summed negative log-likelihood and number of scored tokens: a loss function for :func:`loglik.train.fit`."""
    ids, mask = batch.ids, batch.mask
    logits = forward(model, ids, mask).logits[:, :-1]
    targets = _targets(ids, mask, scored)
    labels = ids[:, 1:].masked_fill(~targets, -100)
    loss = F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), ignore_index=-100, reduction="sum")
    return loss, targets.sum()


@torch.inference_mode()
def score(
    model: Any,
    batch: TokenBatch,
    *,
    scored: Tensor | None = None,
    tokens_per_batch: int | None = None,
    progress: bool = False,
) -> Scores:
    """Log-likelihoods of many texts: sorted by length, in batches of about equal work.

    Parameters
    ----------
    model : causal model of `transformers`
        In evaluation mode, on the device where it is to compute.
    batch : TokenBatch of shape (N, T)
        Padded on the right.
    scored : Tensor of shape (N, T), optional
        As in :func:`token_logprobs`.
    tokens_per_batch : int, optional
        Padded tokens in one forward pass. The default keeps the logits of a pass in a CPU's cache (8 MB; 1,024
        tokens at least), and under 512 MB on a GPU.
    progress : bool
        Show a bar, in texts.

    Raises
    ------
    ValueError
        For a text without a scored token, with its index and the number of them.
    """
    counts = _targets(batch.ids, batch.mask, scored).sum(1)
    empty = (counts == 0).nonzero().flatten()
    if len(empty):
        raise ValueError(
            f"text {int(empty[0])} has no token to score ({len(empty)} of {len(counts)} have none)"
        )
    device = next(model.parameters()).device
    floats = 2**21 if device.type == "cpu" else 2**27
    limit = tokens_per_batch or max(1024, floats // model.config.vocab_size)
    logp = torch.zeros(len(counts), dtype=torch.float64)
    with tqdm(total=len(counts), disable=not progress, unit="text") as bar:
        for rows, width in _buckets(batch.lengths, limit):
            ids, mask = (t[rows, :width].to(device) for t in (batch.ids, batch.mask))
            wanted = None if scored is None else scored[rows, :width].to(device)
            logp[rows] = token_logprobs(model, ids, mask, scored=wanted).double().sum(1).cpu()
            bar.update(len(rows))
    return Scores(logp, counts)


def perplexity(model: Any, batch: TokenBatch, **options: Any) -> float:
    """``exp`` of the total negative log-likelihood over all tokens: never a mean of means."""
    found = score(model, batch, **options)
    return float((-found.logp.sum() / found.n_tokens.sum()).exp())


def _targets(ids: Tensor, mask: Tensor | None, scored: Tensor | None) -> Tensor:
    """Which entries of ``ids[:, 1:]`` are predictions: (B, T - 1) bool."""
    real = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask
    wanted = real if scored is None else real & scored
    return wanted[:, 1:] & real[:, :-1]


def _buckets(lengths: Tensor, limit: int) -> Iterator[tuple[Tensor, int]]:
    """Rows of similar length with the length of the longest, `limit` padded tokens at most (one row at least)."""
    order = lengths.argsort(descending=True, stable=True)
    start = 0
    while start < len(order):
        width = int(lengths[order[start]])
        stop = start + max(1, limit // width)
        yield order[start:stop], width
        start = stop
