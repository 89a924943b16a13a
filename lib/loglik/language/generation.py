"""Sampling from a causal model: a thin wrapper over ``generate`` of `transformers` for ragged prompts.

What is added: an explicit generator, and the log-probabilities of what was sampled under the *untempered* model,
which policy gradients need.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import GenerationConfig

from loglik.language.tokens import TokenBatch, pad


class Generation(NamedTuple):
    """Answers, `n` for each prompt, those of one prompt next to each other."""

    ids: Tensor  # (B * n, L) int64, the answer alone, padded on the right
    mask: Tensor  # (B * n, L) bool, True up to and with the first <eos>
    logprobs: Tensor  # (B * n, L) float32, of each token under the model at temperature 1; zero at padding

    @property
    def lengths(self) -> Tensor:
        """Tokens of each answer, its <eos> counted once."""
        return self.mask.sum(1)


@torch.inference_mode()
def generate(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    eos_id: int | None,
    pad_id: int,
    generator: torch.Generator,
    n: int = 1,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
) -> Generation:
    """Sample answers to prompts of different lengths.

    Parameters
    ----------
    model : causal model of `transformers`
    prompts : sequence of B sequences of ids
    max_new_tokens : int
        Longest answer, ``<eos>`` included.
    eos_id : int or None
        Token that ends an answer; None: every answer has `max_new_tokens`.
    pad_id : int
        Fills up rectangles.
    generator : torch.Generator
        Source of randomness.
    n : int
        Answers for each prompt.
    temperature : float
        0 takes the most likely token.
    top_k, top_p
        Keep the `top_k` most likely tokens, or the fewest whose mass reaches `top_p`; default: all.

    Raises
    ------
    ValueError
        For an empty prompt, or one that leaves no room in the model's context.
    """
    shortest, longest = min(map(len, prompts)), max(map(len, prompts))
    context = getattr(model.config, "max_position_embeddings", None)
    if not shortest:
        raise ValueError(
            "a prompt is empty: begin it with the token that the model was trained to begin with"
        )
    if context is not None and longest + max_new_tokens > context:
        raise ValueError(
            f"the longest prompt has {longest} tokens; with {max_new_tokens} new ones it exceeds the context {context}"
        )
    batch = pad(prompts, pad_id=pad_id, left=True)
    device = next(model.parameters()).device
    config = GenerationConfig(
        max_new_tokens=max_new_tokens,
        do_sample=temperature > 0,
        temperature=temperature if temperature > 0 else None,
        top_k=top_k or 0,
        top_p=top_p,
        num_return_sequences=n,
        eos_token_id=eos_id,
        pad_token_id=pad_id,
        return_dict_in_generate=True,
        output_logits=True,
    )
    with _seeded(generator, device):
        found = model.generate(
            batch.ids.to(device), attention_mask=batch.mask.long().to(device), generation_config=config
        )
    ids = found.sequences[:, batch.ids.shape[1] :]
    mask = _until_end(ids, eos_id)
    logits = torch.stack(found.logits, 1).float()
    logprobs = logits.gather(2, ids[:, :, None]).squeeze(2) - logits.logsumexp(2)
    return Generation(ids, mask, logprobs.masked_fill(~mask, 0.0))


def join(prompts: Sequence[Sequence[int]], answers: Generation, *, pad_id: int) -> tuple[TokenBatch, Tensor]:
    """Prompts with their answers, padded on the right, and which tokens are the answer's: ``scored`` for scoring.

    Returns
    -------
    (TokenBatch of shape (B * n, T), Tensor of shape (B * n, T))
    """
    n = len(answers.ids) // len(prompts)
    pairs = [
        (list(prompts[i // n]), ids[mask].tolist())
        for i, (ids, mask) in enumerate(zip(answers.ids.cpu(), answers.mask.cpu(), strict=True))
    ]
    batch = pad([prompt + answer for prompt, answer in pairs], pad_id=pad_id)
    starts = torch.tensor([len(prompt) for prompt, _ in pairs])[:, None]
    return batch, batch.mask & (torch.arange(batch.ids.shape[1]) >= starts)


def _until_end(ids: Tensor, eos_id: int | None) -> Tensor:
    """True up to and with the first <eos>."""
    if eos_id is None:
        return torch.ones_like(ids, dtype=torch.bool)
    ended = (ids == eos_id).cumsum(1)
    return (ended - (ids == eos_id).long()) == 0


@contextmanager
def _seeded(generator: torch.Generator, device: torch.device) -> Iterator[None]:
    """`transformers` draws from torch's own generator: lend it a seed of ours, and give its state back."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator, device=generator.device)))
        yield
