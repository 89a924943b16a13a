"""CHES and its rivals: which pairs will push their own preferred answer down, told before training on them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm.auto import tqdm

from loglik.language.likelihood_displacement.pairs import Ids, Pair, answers, both, check_pairs
from loglik.language.models import forward
from loglik.language.scoring import token_logprobs
from loglik.stats.intervals import Floats

SCORES = ("ches", "ln_ches", "edit", "last")
BLOCK = 1024  # pairs whose sums are in memory at a time


def response_hidden(
    model: Any,
    prompts: Sequence[Ids],
    responses: Sequence[Ids],
    *,
    include_last: bool = False,
    pad_id: int = 0,
) -> tuple[Tensor, Tensor]:
    """Hidden embeddings that predict an answer's tokens: of the prompt and of each proper prefix of the answer.

    Parameters
    ----------
    model : causal model of `transformers`
    prompts, responses : sequences of B sequences of ids
    include_last : bool
        Also the embedding of the last token, which predicts what comes after the answer; the official script for
        data sets takes it, the paper's definition doesn't.
    pad_id : int

    Returns
    -------
    hidden : Tensor of shape (B, L, d)
        After the final norm: the output matrix times it gives the logits.
    mask : Tensor of shape (B, L), bool

    Raises
    ------
    ValueError
        For an empty prompt or answer.
    """
    batch = answers(prompts, responses, pad_id=pad_id)
    device = next(model.parameters()).device
    found = forward(model, batch.ids.to(device), batch.mask.to(device), hidden=True, logits_to_keep=1)
    lengths = torch.tensor([len(r) for r in responses]) + int(include_last)
    at = torch.arange(int(lengths.max()))
    places = torch.tensor([len(p) - 1 for p in prompts])[:, None] + at
    mask = at < lengths[:, None]
    hidden = found.hidden_states[-1]
    places = places.clamp(max=hidden.shape[1] - 1).to(device)
    return hidden.gather(1, places[..., None].expand(-1, -1, hidden.shape[2])), mask.to(device)


def response_logprobs(
    model: Any, prompts: Sequence[Ids], responses: Sequence[Ids], *, pad_id: int = 0
) -> Tensor:
    """Log-probability of each answer given its prompt, in nats, summed over its tokens: (B,); differentiable."""
    batch = answers(prompts, responses, pad_id=pad_id)
    device = next(model.parameters()).device
    ids, mask, scored = (t.to(device) for t in batch)
    return token_logprobs(model, ids, mask, scored=scored).sum(1)


def ches(
    h_plus: Tensor, mask_plus: Tensor, h_minus: Tensor, mask_minus: Tensor, *, length_normalize: bool = False
) -> Tensor:
    r"""Centered hidden embedding similarity: :math:`\langle s^+,s^-\rangle-\lVert s^+\rVert^2`.

    :math:`s` is the sum of an answer's hidden embeddings, or their mean when normalised by length. The higher, the
    more a pair pushes its own preferred answer down.

    Parameters
    ----------
    h_plus, h_minus : Tensors of shapes (B, L⁺, d), (B, L⁻, d)
        From :func:`response_hidden`.
    mask_plus, mask_minus : bool Tensors of shapes (B, L⁺), (B, L⁻)
    length_normalize : bool

    Returns
    -------
    Tensor of shape (B,)

    Raises
    ------
    ValueError
        For a mask without support.
    """
    plus, minus = (_pooled(h, m, length_normalize) for h, m in ((h_plus, mask_plus), (h_minus, mask_minus)))
    return (plus * minus).sum(1) - plus.square().sum(1)


def _pooled(h: Tensor, mask: Tensor, mean: bool) -> Tensor:
    counts = mask.sum(1)
    if not bool((counts > 0).all()):
        raise ValueError(f"row {int((counts == 0).nonzero()[0])} of a mask has no position of an answer")
    total = (h * mask[..., None]).sum(1)
    return total / counts[:, None] if mean else total


@torch.inference_mode()
def ches_scores(
    model: Any,
    pairs: Sequence[Pair],
    *,
    tokens_per_batch: int = 1024,
    include_last: bool = False,
    pad_id: int = 0,
    progress: bool = False,
) -> pd.DataFrame:
    """All scores of all pairs, in batches of answers of similar length; only sums over positions are kept.

    Parameters
    ----------
    model : causal model of `transformers`
        In evaluation mode.
    pairs : sequence of Pair
    tokens_per_batch : int
        Padded tokens in one forward pass. The default keeps a pass within a CPU's cache; a GPU wants more.
    include_last : bool
        See :func:`response_hidden`.

    Returns
    -------
    DataFrame
        One row a pair, in their order: ches, ln_ches (normalised by length), edit (minus the normalised edit
        distance), last (inner product of the answers' last hidden embeddings), tokens_chosen, tokens_rejected.

    Raises
    ------
    ValueError
        For an empty prompt or answer, or two equal answers.
    """
    check_pairs(pairs)
    tables = []
    with tqdm(total=len(pairs), disable=not progress, unit="pair") as bar:
        for start in range(0, len(pairs), BLOCK):
            block = pairs[start : start + BLOCK]
            tables.append(_block_scores(model, block, tokens_per_batch, include_last, pad_id))
            bar.update(len(block))
    return pd.concat(tables, ignore_index=True)


def _block_scores(
    model: Any, pairs: Sequence[Pair], tokens: int, include_last: bool, pad_id: int
) -> pd.DataFrame:
    prompts = [p.prompt for p in pairs for _ in range(2)]
    responses = [answer for p in pairs for answer in (p.chosen, p.rejected)]
    sums, last = _sums(model, prompts, responses, tokens, include_last, pad_id)
    counts = torch.tensor([len(r) + include_last for r in responses], device=sums.device)[:, None]
    columns = {}
    for name, pooled in (("ches", sums), ("ln_ches", sums / counts)):
        plus, minus = pooled[0::2], pooled[1::2]
        columns[name] = (plus * minus).sum(1) - plus.square().sum(1)
    columns["last"] = (last[0::2] * last[1::2]).sum(1)
    table = pd.DataFrame({name: column.double().cpu().numpy() for name, column in columns.items()})
    table["edit"] = edit_distance_similarities([p.chosen for p in pairs], [p.rejected for p in pairs])
    table["tokens_chosen"] = [len(p.chosen) for p in pairs]
    table["tokens_rejected"] = [len(p.rejected) for p in pairs]
    return table


def _sums(
    model: Any,
    prompts: Sequence[Ids],
    responses: Sequence[Ids],
    tokens: int,
    include_last: bool,
    pad_id: int,
) -> tuple[Tensor, Tensor]:
    """Sums of the hidden embeddings that predict each answer, and the last one of each, (N, d) each.

    Without an attention mask: padding stands on the right, and what comes later changes nothing in a causal model.
    And without logits, which the scores don't need.
    """
    body = model.base_model
    device = next(model.parameters()).device
    lengths = np.array([len(p) + len(r) for p, r in zip(prompts, responses, strict=True)])
    parts, order = [], []
    for rows in _by_length(lengths, tokens):
        batch = answers([prompts[i] for i in rows], [responses[i] for i in rows], pad_id=pad_id)
        hidden = forward(body, batch.ids.to(device)).last_hidden_state
        wanted = torch.nn.functional.pad(
            batch.scored[:, 1:], (0, 1)
        )  # the position before each of its tokens
        ends = torch.from_numpy(lengths[rows] - 1)
        if include_last:
            wanted = wanted.scatter(1, ends[:, None], True)
        total = torch.bmm(wanted.to(device, hidden.dtype)[:, None], hidden).squeeze(1)
        parts.append(torch.stack([total, hidden[torch.arange(len(rows)), ends.to(device)]]))
        order += rows
    found = torch.cat(parts, 1)[:, np.argsort(order)]
    return found[0], found[1]


def _by_length(lengths: Any, tokens: int) -> Iterator[list[int]]:
    """Indices of rows of similar length, so many that they stay within `tokens` when padded (one at least)."""
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        stop = start + max(1, int(tokens // lengths[order[start]]))
        yield order[start:stop].tolist()
        start = stop


def last_hidden_inner_product(model: Any, pairs: Sequence[Pair], *, pad_id: int = 0) -> Floats:
    """Inner product of the answers' last hidden embeddings, (N,): a rival of CHES."""
    return ches_scores(model, pairs, pad_id=pad_id)["last"].to_numpy()


def edit_distance_similarity(a: Ids, b: Ids) -> float:
    """Minus the Levenshtein distance over the longer length, in [−1, 0]: a rival of CHES.

    Raises
    ------
    ValueError
        For an empty answer.
    """
    return float(edit_distance_similarities([a], [b])[0])


def edit_distance_similarities(a: Sequence[Ids], b: Sequence[Ids]) -> Floats:
    """:func:`edit_distance_similarity` of many pairs, (N,), a token of all of them at a time.

    Raises
    ------
    ValueError
        For an empty answer.
    """
    lengths = np.array([[len(x), len(y)] for x, y in zip(a, b, strict=True)])
    if lengths.min() < 1:
        raise ValueError("an answer is empty")
    left, right = (_rectangle(rows) for rows in (a, b))
    steps = np.arange(right.shape[1] + 1)
    row = np.tile(steps, (len(a), 1))
    for i, tokens in enumerate(left.T, 1):
        free = np.minimum(
            row[:, :-1] + (right != tokens[:, None]), row[:, 1:] + 1
        )  # replace, or drop one of `a`
        first = np.full((len(a), 1), i)
        # Inserting tokens of `b` costs one each, so the best way is a running minimum of cost minus place.
        best = np.minimum.accumulate(np.concatenate([first, free], 1) - steps, axis=1) + steps
        row = np.where(lengths[:, :1] >= i, best, row)
    return -row[np.arange(len(a)), lengths[:, 1]] / lengths.max(1)


def _rectangle(rows: Sequence[Ids]) -> Any:
    """Ids padded on the right with −1: (N, L)."""
    table = np.full((len(rows), max(map(len, rows))), -1)
    for line, ids in zip(table, rows, strict=True):
        line[: len(ids)] = ids
    return table


# -- choosing pairs ------------------------------------------------------------------------------------------


def filter_lowest(scores: Sequence[float] | Floats, fraction: float) -> Floats:
    """Indices of the ``ceil(fraction · n)`` lowest scores, in their order; ties go to the earlier pair.

    Raises
    ------
    ValueError
        For a fraction outside (0, 1], or scores that are NaN.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction must lie in (0, 1], got {fraction}")
    order = _ranked(scores)
    return np.sort(order[: math.ceil(fraction * len(order))])


def select_by_quantile(scores: Sequence[float] | Floats, quantile: float, n: int) -> Floats:
    """Indices of `n` pairs around a quantile of the score; at the ends the window stays inside.

    Raises
    ------
    ValueError
        For a quantile outside [0, 1], `n` outside 1..len(scores), or scores that are NaN.
    """
    order = _ranked(scores)
    if not 0 <= quantile <= 1 or not 1 <= n <= len(order):
        raise ValueError(f"quantile must lie in [0, 1] and n in 1..{len(order)}; got {quantile} and {n}")
    start = int(np.clip(round(quantile * len(order) - n / 2), 0, len(order) - n))
    return np.sort(order[start : start + n])


def _ranked(scores: Sequence[float] | Floats) -> Any:
    values = np.asarray(scores, dtype=float)
    if np.isnan(values).any():
        raise ValueError(f"{int(np.isnan(values).sum())} scores are NaN")
    return np.argsort(values, kind="stable")


__all__ = [
    "SCORES",
    "both",
    "ches",
    "ches_scores",
    "edit_distance_similarities",
    "edit_distance_similarity",
    "filter_lowest",
    "last_hidden_inner_product",
    "response_hidden",
    "response_logprobs",
    "select_by_quantile",
]
