"""Example preference files: pairs of Bible verses, alike in all but two words or in nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from loglik.language.corpora import Doc, held_out, load_corpus

KINDS = ("few words changed", "neighbouring verse", "another book")


def verse_pairs(n: int, *, rng: np.random.Generator) -> list[dict[str, str]]:
    """Prompts are first halves of verses, preferred answers their true second halves.

    The dispreferred answer is, in turn, the same with two words replaced by words of other verses, the second half
    of the next verse, or that of a verse of another book. Verses are those that the shared base model never saw.

    Returns
    -------
    list of dicts with keys prompt, chosen, rejected, kind

    Raises
    ------
    ValueError
        For `n` below 1.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    verses = load_corpus("kjv")
    fit = [i for i, d in enumerate(verses[:-1]) if held_out(d) and 12 <= len(d.text.split()) <= 24]
    rows: list[dict[str, str]] = []
    for i in rng.permutation(fit):
        if len(rows) == n:
            break
        kind = KINDS[len(rows) % 3]
        other = _other(verses, int(i), kind, rng)
        prompt, chosen = _halves(verses[int(i)].text)
        rejected = _changed(chosen, other.text, rng) if kind == KINDS[0] else _halves(other.text)[1]
        if chosen != rejected and rejected.strip():
            rows.append({"prompt": prompt, "chosen": chosen, "rejected": rejected, "kind": kind})
    return rows


def _other(verses: list[Doc], i: int, kind: str, rng: np.random.Generator) -> Doc:
    if kind == "neighbouring verse":
        return verses[i + 1]
    while True:
        other = verses[int(rng.integers(len(verses)))]
        if other.label != verses[i].label and 8 <= len(other.text.split()) <= 24:
            return other


def _halves(text: str) -> tuple[str, str]:
    words = text.split()
    cut = (len(words) + 1) // 2
    return " ".join(words[:cut]), " " + " ".join(words[cut:])


def _changed(text: str, other: str, rng: np.random.Generator) -> str:
    """Two words replaced by words of another text."""
    words, pool = text.split(), other.split()
    for place in rng.choice(len(words), size=min(2, len(words)), replace=False):
        words[int(place)] = pool[int(rng.integers(len(pool)))]
    return " " + " ".join(words)


def write_rows(path: str | Path, rows: Iterable[Mapping[str, str]]) -> Path:
    """Rows as JSON lines: the form that the chapter's tools read."""
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return Path(path)


def write_verse_pairs(path: str | Path, n: int, *, rng: np.random.Generator, malformed: bool = True) -> Path:
    """A file of :func:`verse_pairs`; with `malformed` its third line is broken, to show what becomes of it."""
    lines = [json.dumps(row) for row in verse_pairs(n, rng=rng)]
    if malformed:
        lines.insert(2, '{"prompt": "In the beginning", "chosen": "God created')
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Path(path)
