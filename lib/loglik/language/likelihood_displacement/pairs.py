"""Preference pairs: prompts with a preferred and a dispreferred answer, as ids; and files of them, streamed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from loglik.language.tokens import pad

Ids = Sequence[int]


class Pair(NamedTuple):
    """One prompt with two answers, as token ids."""

    prompt: Ids
    chosen: Ids
    rejected: Ids


class Answers(NamedTuple):
    """Prompts with one answer each, as a rectangle."""

    ids: Tensor  # (B, T) int64, prompt and answer, padded on the right
    mask: Tensor  # (B, T) bool, True where there is a token
    scored: Tensor  # (B, T) bool, True at the answer's tokens


def check_pairs(pairs: Sequence[Pair]) -> None:
    """Refuse pairs that teach nothing.

    Raises
    ------
    ValueError
        For no pairs, an empty prompt or answer, or two equal answers; names the first pair and the count.
    """
    if not len(pairs):
        raise ValueError("there are no pairs")
    for what, wrong in (
        ("has an empty prompt or answer", [i for i, p in enumerate(pairs) if not all(map(len, p))]),
        ("has two equal answers", [i for i, p in enumerate(pairs) if list(p.chosen) == list(p.rejected)]),
    ):
        if wrong:
            raise ValueError(f"pair {wrong[0]} {what} ({len(wrong)} of {len(pairs)} do)")


def answers(prompts: Sequence[Ids], responses: Sequence[Ids], *, pad_id: int = 0) -> Answers:
    """Prompts and answers end to end, padded on the right.

    Raises
    ------
    ValueError
        For an empty prompt or answer.
    """
    if not all(map(len, prompts)) or not all(map(len, responses)):
        raise ValueError("a prompt or an answer is empty")
    batch = pad([[*p, *r] for p, r in zip(prompts, responses, strict=True)], pad_id=pad_id)
    starts = torch.tensor([len(p) for p in prompts])[:, None]
    return Answers(batch.ids, batch.mask, batch.mask & (torch.arange(batch.ids.shape[1]) >= starts))


def both(pairs: Sequence[Pair], *, pad_id: int = 0) -> Answers:
    """Chosen answers first, then rejected ones, in one rectangle of 2B rows."""
    prompts = [p.prompt for p in pairs] * 2
    return answers(prompts, [p.chosen for p in pairs] + [p.rejected for p in pairs], pad_id=pad_id)


# -- files ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """One line of a preference file: its pair, or why it is none."""

    number: int  # from 1
    text: str
    pair: Pair | None
    problem: str | None = None


def read_pairs(path: str | Path, tokenizer: Any, *, max_tokens: int | None = None) -> Iterator[Line]:
    """The lines of a JSON-lines file with keys ``prompt``, ``chosen`` and ``rejected``, one at a time.

    A malformed line comes with its number and what is wrong with it; nothing is raised and nothing dropped.
    Blank lines are skipped.

    Parameters
    ----------
    path : str or Path
    tokenizer : tokenizer of `transformers`
        Prompts begin with its ``<bos>`` where it has one.
    max_tokens : int, optional
        Longest prompt and answer together; longer pairs are malformed.
    """
    start = [tokenizer.bos_token_id] if tokenizer.bos_token_id is not None else []
    with Path(path).open(encoding="utf-8", errors="replace") as file:
        for number, text in enumerate(file, 1):
            if text.strip():
                yield _line(number, text.rstrip("\n"), tokenizer, start, max_tokens)


def _line(number: int, text: str, tokenizer: Any, start: list[int], max_tokens: int | None) -> Line:
    try:
        row = json.loads(text)
    except json.JSONDecodeError as error:
        return Line(number, text, None, f"not JSON: {error.msg} at column {error.colno}")
    problem = _problem(row)
    if problem:
        return Line(number, text, None, problem)
    ids = [tokenizer.encode(row[key], add_special_tokens=False) for key in Pair._fields]
    pair = Pair(start + ids[0], ids[1], ids[2])
    longest = len(pair.prompt) + max(len(pair.chosen), len(pair.rejected))
    if not all(map(len, pair)):
        return Line(number, text, None, "a prompt or an answer has no token")
    if list(pair.chosen) == list(pair.rejected):
        return Line(number, text, None, "chosen and rejected are equal")
    if max_tokens is not None and longest > max_tokens:
        return Line(number, text, None, f"{longest} tokens, more than {max_tokens}")
    return Line(number, text, pair)


def _problem(row: Any) -> str | None:
    if not isinstance(row, dict):
        return f"a line is a mapping with prompt, chosen and rejected; this is {type(row).__name__}"
    missing = [key for key in Pair._fields if key not in row]
    if missing:
        return f"lacks {', '.join(missing)}"
    wrong = [key for key in Pair._fields if not isinstance(row[key], str) or not row[key].strip()]
    return f"{', '.join(wrong)}: not a text, or empty" if wrong else None
