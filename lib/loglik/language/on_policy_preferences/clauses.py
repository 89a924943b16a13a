"""The length problems' text: clauses of the King James Bible as prompts and answers."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

from loglik.language import corpora
from loglik.language.tokens import TokenBatch, encode

PROMPT = 4  # tokens that a prompt has after <bos>
MAX_ANSWER = 20  # longest answer in tokens, <eos> included


def split_clauses(text: str) -> list[str]:
    """A verse cut after each colon, semicolon, full stop and question mark."""
    return [part.strip() for part in re.split(r"(?<=[:;.?])\s+", text) if part.strip()]


def load_clauses(tokenizer: Any, *, held: bool) -> TokenBatch:
    """Clauses of 6 to 24 tokens as ids: <bos>, four tokens of prompt, the answer, <eos>; in the book's order.

    Parameters
    ----------
    tokenizer : tokenizer of `transformers`
        With <bos> and <eos>, such as that of :func:`loglik.language.base.load_base`.
    held : bool
        Those of the fifth of verses that neither the base model nor the parent saw, or those of the other verses.
    """
    docs = [doc for doc in corpora.load_corpus("kjv") if corpora.held_out(doc) is held]
    return _encoded(tokenizer, docs)


def prompts_of(clauses: TokenBatch) -> list[list[int]]:
    """<bos> and the first four tokens of each clause."""
    return clauses.ids[:, : 1 + PROMPT].tolist()


def answer_mask(batch: TokenBatch) -> Tensor:
    """Which tokens of a clause are the answer's, its <eos> included: (N, T) bool."""
    return batch.mask & (torch.arange(batch.ids.shape[1]) > PROMPT)


def _encoded(tokenizer: Any, docs: list[corpora.Doc]) -> TokenBatch:
    batch = encode(tokenizer, [part for doc in docs for part in split_clauses(doc.text)])
    lengths = batch.lengths  # <bos> and <eos> are counted
    keep = (lengths >= PROMPT + 4) & (lengths <= 1 + PROMPT + MAX_ANSWER)
    width = 1 + PROMPT + MAX_ANSWER
    return TokenBatch(batch.ids[keep, :width], batch.mask[keep, :width])
