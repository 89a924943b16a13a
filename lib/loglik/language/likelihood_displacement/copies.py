"""Copies of one small Llama, trained at once: weights stacked along a first axis, both answers behind one prompt.

Networks this small cost more in bookkeeping than in arithmetic, one at a time through `transformers`. So this module
has the same forward pass again: for several copies, each prompt once for its two answers, and logits only where an
answer is predicted. Tests hold it to the network of `transformers` and to
:func:`~loglik.language.likelihood_displacement.training.train_preferences`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from loglik.language.likelihood_displacement.pairs import Pair, check_pairs
from loglik.language.likelihood_displacement.training import Kind, preference_loss
from loglik.language.tokens import pad
from loglik.train import OrderedSampler

CHUNK = 32  # pairs scored at a time
Cache = dict[str, tuple[Tensor, Tensor]]  # keys and values so far, by the layer's name


@dataclass(frozen=True)
class Copies:
    """C copies of a Llama, each with weights of its own.

    Attributes
    ----------
    model : LlamaForCausalLM
        Gives configuration and rotary embedding; its own weights aren't used.
    weights : mapping of str to Tensor of shape (C, …)
        By their names in `model`.
    """

    model: Any
    weights: dict[str, Tensor]

    @classmethod
    def of(cls, models: Sequence[Any]) -> Copies:
        """Copies of networks of one shape, to be trained; the networks stay as they are.

        Raises
        ------
        ValueError
            For any other network than a Llama without biases.
        """
        c = models[0].config
        if c.model_type != "llama" or c.hidden_act != "silu" or c.attention_bias or c.mlp_bias:
            raise ValueError(
                f"copies are of a Llama without biases; this is a {c.model_type}, {c.hidden_act}"
            )
        named = [dict(model.named_parameters()) for model in models]
        return cls(
            models[0],
            {k: torch.stack([w[k].detach() for w in named]).requires_grad_() for k in named[0]},
        )

    @torch.no_grad()
    def write(self, models: Sequence[Any]) -> None:
        """Give each copy's weights to a network."""
        for i, model in enumerate(models):
            for name, weight in model.named_parameters():
                weight.copy_(self.weights[name][i])

    def one(self, i: int) -> Copies:
        """Copy `i` alone, on the same memory."""
        return Copies(self.model, {name: w[i : i + 1] for name, w in self.weights.items()})

    def hidden(
        self, ids: Tensor, positions: Tensor, bias: Tensor | None = None, *, cache: Cache | None = None
    ) -> Tensor:
        """Hidden embeddings after the final norm, (C, B, T, d).

        Parameters
        ----------
        ids, positions : int64 Tensors of shape (C, B, T)
        bias : Tensor of shape (C, B, T, S), optional
            Added to the attention's scores: minus infinity where a token isn't seen. Default: all S are.
        cache : dict, optional
            Keys and values of earlier tokens; those of these tokens are added to it.
        """
        table = self.weights["model.embed_tokens.weight"]
        first = table.shape[1] * torch.arange(len(ids))[:, None, None]
        x = F.embedding((ids + first).flatten(1), table.flatten(0, 1))
        turn = [t[:, None] for t in self.model.model.rotary_emb(x, positions.flatten(0, 1))]
        for layer in range(self.model.config.num_hidden_layers):
            name = f"model.layers.{layer}."
            x = x + self._attention(name, self._norm(name + "input_layernorm", x), turn, bias, cache)
            x = x + self._mlp(name + "mlp.", self._norm(name + "post_attention_layernorm", x))
        return self._norm("model.norm", x).view(*ids.shape, -1)

    def logits(self, hidden: Tensor) -> Tensor:
        """Of hidden embeddings (C, …, d): (C, …, V)."""
        head = "lm_head" if "lm_head.weight" in self.weights else "model.embed_tokens"  # tied
        return self._linear(head, hidden.flatten(1, -2)).view(*hidden.shape[:-1], -1)

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return torch.bmm(x, self.weights[name + ".weight"].transpose(1, 2))

    def _norm(self, name: str, x: Tensor) -> Tensor:
        scale = torch.rsqrt(x.square().mean(-1, keepdim=True) + self.model.config.rms_norm_eps)
        return x * scale * self.weights[name + ".weight"][:, None]

    def _mlp(self, name: str, x: Tensor) -> Tensor:
        gate, up = (self._linear(name + part, x) for part in ("gate_proj", "up_proj"))
        return self._linear(name + "down_proj", F.silu(gate) * up)

    def _attention(
        self, name: str, x: Tensor, turn: list[Tensor], bias: Tensor | None, cache: Cache | None
    ) -> Tensor:
        rows, _, length, width = turn[0].shape
        q, k, v = (
            self._linear(f"{name}self_attn.{part}_proj", x).view(rows, length, -1, width).transpose(1, 2)
            for part in "qkv"
        )
        q, k = (_turned(t, *turn) for t in (q, k))
        if cache is not None:
            if name in cache:
                k, v = (torch.cat([old, new], 2) for old, new in zip(cache[name], (k, v), strict=True))
            cache[name] = k, v
        mask = None if bias is None else bias.flatten(0, 1)[:, None].to(x.dtype)
        shared = q.shape[1] != k.shape[1]
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=shared).transpose(1, 2)
        return self._linear(name + "self_attn.o_proj", seen.reshape(*x.shape[:2], -1))


def causal(B: int, T: int) -> Tensor:
    """The bias, (1, B, T, T), by which each token of a full row sees itself and what is before it."""
    return torch.full((T, T), -torch.inf).triu(1).expand(1, B, T, T)


def token_losses(copies: Copies, ids: Tensor) -> Tensor:
    """Mean negative log-likelihood a token of each copy's full rows (C, B, T); their first tokens aren't scored."""
    C, B, T = ids[..., :-1].shape
    hidden = copies.hidden(ids[..., :-1], torch.arange(T).expand(C, B, T), causal(B, T).expand(C, B, T, T))
    losses = F.cross_entropy(copies.logits(hidden).flatten(0, 2), ids[..., 1:].flatten(), reduction="none")
    return losses.view(C, -1).mean(1)


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions."""
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat([-b, a], -1) * sin


# -- both answers behind one prompt --------------------------------------------------------------------------


class Packed(NamedTuple):
    """Pairs as one row each: prompt, preferred answer, other answer, without the answers' last tokens.

    The prompt is computed once for its two answers, which don't see each other. T is the longest row, A the longest
    answer; padding stands on the right.
    """

    lengths: Tensor  # (B,) int64
    ids: Tensor  # (B, T) int64
    positions: Tensor  # (B, T) int64, both answers going on from the prompt
    part: Tensor  # (B, T) int64, 0 in the prompt, 1 and 2 in the answers
    places: Tensor  # (B, 2, A) int64, where in the row each token of both answers is predicted
    targets: Tensor  # (B, 2, A) int64, those tokens
    scored: Tensor  # (B, 2, A) bool, False at padding

    def rows(self, index: Tensor) -> Packed:
        """Some pairs, cut to the longest of them; `index` may have any shape, which takes the place of B."""
        some = Packed(*(t[index] for t in self))
        width, longest = int(some.lengths.max()), int(some.scored.sum(-1).max())
        cut = {name: getattr(some, name)[..., :width] for name in ("ids", "positions", "part")}
        return some._replace(**cut, **{name: getattr(some, name)[..., :longest] for name in self._fields[4:]})

    def bias(self) -> Tensor:
        """(B, T, T), zero where a token is seen, else minus infinity."""
        key, query = self.part[..., None, :], self.part[..., None]
        seen = ((key == 0) | (key == query)).tril()
        return torch.zeros(seen.shape).masked_fill(~seen, -torch.inf)


def pack(pairs: Sequence[Pair], *, pad_id: int = 0) -> Packed:
    """Pairs as rows, see :class:`Packed`.

    Raises
    ------
    ValueError
        For pairs with an empty or with two equal answers.
    """
    check_pairs(pairs)
    ids, positions, part, places = [], [], [], []
    for prompt, chosen, rejected in pairs:
        n, w, l = len(prompt), len(chosen) - 1, len(rejected) - 1  # noqa: E741
        ids.append([*prompt, *chosen[:-1], *rejected[:-1]])
        positions.append([*range(n + w), *range(n, n + l)])
        part.append([0] * n + [1] * w + [2] * l)
        places += [[n - 1, *range(n, n + w)], [n - 1, *range(n + w, n + w + l)]]
    targets = pad([list(answer) for p in pairs for answer in (p.chosen, p.rejected)], pad_id=pad_id)
    rows = pad(ids, pad_id=pad_id)
    flat = [rows.ids, *(pad(t, pad_id=0).ids for t in (positions, part))]
    sides = (pad(places, pad_id=0).ids, targets.ids, targets.mask)
    return Packed(rows.lengths, *flat, *(t.view(len(pairs), 2, -1) for t in sides))


def pair_logprobs(copies: Copies, packed: Packed) -> tuple[Tensor, Tensor]:
    """Log-probabilities of preferred and other answers under each copy: (C, B) each, in nats.

    Parameters
    ----------
    copies : Copies
    packed : Packed
        With shapes (C, B, …): each copy has its own pairs.
    """
    hidden = copies.hidden(packed.ids, packed.positions, packed.bias())
    places = packed.places.flatten(2)[..., None]
    logits = copies.logits(hidden.gather(2, places.expand(-1, -1, -1, hidden.shape[3])))
    targets = packed.targets.flatten(2)[..., None]
    logp = (logits.gather(3, targets).squeeze(3) - logits.logsumexp(3)).view(packed.scored.shape)
    w, l = logp.masked_fill(~packed.scored, 0.0).sum(3).unbind(2)  # noqa: E741
    return w, l


# -- training ------------------------------------------------------------------------------------------------


class Plan(NamedTuple):
    """What one copy is trained on, and how."""

    rows: Any  # indices of its pairs
    kind: Kind = "dpo"
    sft_coeff: float = 0.0
    seed: int = 0  # of the data order


def train_copies(
    model: Any,
    pairs: Sequence[Pair],
    plans: Sequence[Plan],
    *,
    beta: float = 0.1,
    lr: float = 3e-5,
    steps: int = 240,
    batch_size: int = 16,
    check_every: int = 40,
    watch: Callable[[Copies, int], dict[str, float]] | None = None,
    pad_id: int = 0,
) -> list[pd.DataFrame]:
    """Train a copy of `model` for each plan, all of them a step at a time.

    The same steps as those of :func:`~loglik.language.likelihood_displacement.training.train_preferences`, in the
    same order of pairs; a loop of its own, because :func:`loglik.train.fit` trains one network.

    Parameters
    ----------
    model : LlamaForCausalLM
        The start of every copy, and the reference; left as it is.
    pairs : sequence of Pair
    plans : sequence of Plan
    beta, lr, steps, batch_size, check_every, pad_id
        As there. SimPO isn't among the losses.
    watch : callable, optional
        ``watch(copy, step) -> {name: value}`` of each copy at each checkpoint.

    Returns
    -------
    list of DataFrame
        The checkpoints of each plan: step, change_w, change_l, gap, and what `watch` said.

    Raises
    ------
    ValueError
        For pairs with an empty or with two equal answers, or another network than a Llama without biases.
    FloatingPointError
        When a log-probability is no longer finite.
    """
    packed = pack(pairs, pad_id=pad_id)
    copies = Copies.of([model] * len(plans))
    start = _scores(copies.one(0), packed)
    samplers = [OrderedSampler(plan.seed, len(plan.rows), batch_size) for plan in plans]
    optimizer = torch.optim.RMSprop(copies.weights.values(), lr=lr)
    found: list[list[dict[str, float]]] = [[] for _ in plans]
    for step in range(steps + 1):
        if step % check_every == 0 or step == steps:
            for i, plan in enumerate(plans):
                one, rows = copies.one(i), torch.as_tensor(plan.rows)
                changes = _changes(one, packed.rows(rows), [ref[rows] for ref in start], moved=step > 0)
                found[i].append({"step": step} | changes | (watch(one, step) if watch else {}))
        if step < steps:
            optimizer.zero_grad()
            for rows, weight in _alike(packed.lengths, *_batch(plans, samplers, step)):
                refs = [ref[rows] for ref in start]
                losses = _losses(plans, pair_logprobs(copies, packed.rows(rows)), refs, beta)
                (losses * weight).sum().backward()
            optimizer.step()
    return [pd.DataFrame(rows) for rows in found]


def _batch(plans: Sequence[Plan], samplers: Sequence[OrderedSampler], step: int) -> tuple[Tensor, Tensor]:
    """Indices of each copy's pairs, (C, B), and their weights in its mean loss: zero where its batch is shorter."""
    batches = [np.asarray(plan.rows)[s.batch(step)] for plan, s in zip(plans, samplers, strict=True)]
    width = max(map(len, batches))
    rows = torch.tensor(np.stack([np.resize(b, width) for b in batches]))
    sizes = torch.tensor([len(b) for b in batches])[:, None]
    return rows, (torch.arange(width) < sizes) / sizes


def _alike(lengths: Tensor, rows: Tensor, weight: Tensor) -> list[tuple[Tensor, Tensor]]:
    """The batch in two parts, short rows and long ones, which saves padding; in one where all are of one length."""
    order = lengths[rows].argsort(1)
    halves = order.chunk(1 if bool((lengths == lengths[0]).all()) else 2, 1)
    return [(rows.gather(1, half), weight.gather(1, half)) for half in halves]


def _losses(
    plans: Sequence[Plan], logp: tuple[Tensor, Tensor], refs: Sequence[Tensor], beta: float
) -> Tensor:
    """Of each copy's pairs, (C, B), by its own loss."""
    ways = [(plan.kind, plan.sft_coeff) for plan in plans]
    losses = torch.zeros_like(logp[0])
    for way in dict.fromkeys(ways):
        own = torch.tensor([way == other for other in ways])
        w, l, ref_w, ref_l = (t[own] for t in (*logp, *refs))  # noqa: E741
        how: Any = {"kind": way[0], "sft_coeff": way[1], "beta": beta, "reduction": "none"}
        losses[own] = preference_loss(w, l, ref_w, ref_l, **how)
    return losses


@torch.no_grad()
def _scores(one: Copies, packed: Packed) -> list[Tensor]:
    """Log-probabilities of preferred and other answers of all pairs, (B,) each, those of like length together."""
    order = packed.lengths.argsort()
    parts = [pair_logprobs(one, packed.rows(some[None])) for some in order.split(CHUNK)]
    return [torch.cat(side, 1)[0, order.argsort()] for side in zip(*parts, strict=True)]


def _changes(one: Copies, packed: Packed, start: list[Tensor], *, moved: bool) -> dict[str, float]:
    """Mean change of both answers' log-probabilities: none before the weights have moved."""
    now = _scores(one, packed) if moved else start
    w, l = (float((a - b).double().mean()) for a, b in zip(now, start, strict=True))  # noqa: E741
    if not np.isfinite(w + l):
        raise FloatingPointError(f"log-probabilities changed by {w} and {l}: the training diverged")
    return {"change_w": w, "change_l": l, "gap": w - l}


# -- sampling ------------------------------------------------------------------------------------------------


@torch.no_grad()
def sample(one: Copies, prompts: Tensor, noise: Tensor, *, temperature: float) -> Tensor:
    """Answers of a single copy to prompts of one length, (B, L).

    Parameters
    ----------
    one : Copies
        With one copy.
    prompts : Tensor of shape (B, T)
    noise : Tensor of shape (L, B, V)
        Exponential; the token of least noise over probability is a draw from the probabilities.
    temperature : float
    """
    B, T = prompts.shape
    at = torch.arange(T + len(noise)).expand(1, B, -1)
    cache: Cache = {}
    hidden, drawn = one.hidden(prompts[None], at[..., :T], causal(B, T), cache=cache), []
    for i, draws in enumerate(noise):
        p = (one.logits(hidden[:, :, -1])[0] / temperature).softmax(1)
        drawn.append((p / draws).argmax(1))
        if i + 1 < len(noise):
            hidden = one.hidden(drawn[-1][None, :, None], at[..., T + i : T + i + 1], cache=cache)
    return torch.stack(drawn, 1)
