"""A preference file in; the scores of its pairs, the pairs to keep and what was malformed out, in bounded memory."""

from __future__ import annotations

import csv
import heapq
import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from loglik.language.likelihood_displacement.pairs import Line, read_pairs
from loglik.language.likelihood_displacement.scores import SCORES, ches_scores

Progress = Callable[[Iterable[Any]], Iterable[Any]]
COLUMNS = ("line", *SCORES, "tokens_chosen", "tokens_rejected")


class Screened(NamedTuple):
    """What :func:`screen` wrote."""

    n_pairs: int
    n_malformed: int
    n_kept: int
    scores: Path  # CSV, a row a pair in the file's order: line, ches, ln_ches, edit, last, token counts
    kept: Path  # JSON lines of the pairs kept, as they stood in the file
    dropped: Path  # JSON lines of the pairs that the filter took out
    malformed: Path  # CSV: line, problem, text


def score_lines(
    lines: Iterable[Line], model: Any, *, chunk: int = 256, pad_id: int = 0
) -> Iterator[tuple[list[Line], pd.DataFrame]]:
    """Lines in chunks with the scores of their pairs; malformed lines are in the first, not in the second.

    Only one chunk is in memory. The table has columns line, ches, ln_ches, edit, last and both token counts.
    """
    source = iter(lines)
    while batch := list(itertools.islice(source, chunk)):
        good = [line for line in batch if line.pair is not None]
        table = pd.DataFrame(columns=list(COLUMNS))
        if good:
            table = ches_scores(model, [line.pair for line in good if line.pair is not None], pad_id=pad_id)
            table.insert(0, "line", [line.number for line in good])
        yield batch, table[list(COLUMNS)]


def screen(
    path: str | Path,
    model: Any,
    tokenizer: Any,
    folder: str | Path,
    *,
    keep: float = 0.5,
    by: str = "ln_ches",
    chunk: int = 256,
    max_tokens: int | None = None,
    progress: Progress = iter,
) -> Screened:
    """Score every pair of a file and keep the share with the lowest score.

    The file is read twice, a chunk at a time; of a million pairs only one number each is held, to find the
    threshold. Every line of the file ends in exactly one of `kept`, `dropped` and `malformed`.

    Parameters
    ----------
    path : str or Path
        JSON lines with keys prompt, chosen and rejected.
    model, tokenizer
        Of `transformers`, such as from :func:`~loglik.language.models.load_pretrained`.
    folder : str or Path
        Where the four files go.
    keep : float
        Share of the pairs to keep, in (0, 1]; ``ceil(keep · n)`` pairs, ties go to the earlier one.
    by : {"ln_ches", "ches", "edit", "last"}
        The score; the longer answers are, the more the normalisation of ``ln_ches`` matters.
    chunk : int
        Pairs in memory at a time.
    max_tokens : int, optional
        Longer pairs are malformed; default: the model's context.
    progress : callable
        Wraps the lines.

    Raises
    ------
    ValueError
        For a `keep` outside (0, 1], an unknown score, or a file without a single sound pair.
    """
    if not 0 < keep <= 1:
        raise ValueError(f"keep must lie in (0, 1], got {keep}")
    if by not in SCORES:
        raise ValueError(f"unknown score {by!r}; allowed: {', '.join(SCORES)}")
    limit = max_tokens or getattr(model.config, "max_position_embeddings", None)
    folder = Path(folder)
    found = [folder / name for name in ("scores.csv", "kept.jsonl", "dropped.jsonl", "malformed.csv")]
    scores, malformed = found[0], found[3]
    lines = progress(read_pairs(path, tokenizer, max_tokens=limit))
    n_pairs, n_malformed = _write_scores(lines, model, chunk, scores, malformed)
    if not n_pairs:
        raise ValueError(f"{path} has no sound pair; see {malformed.name} for its {n_malformed} lines")
    threshold, ties = _threshold(scores, by, math.ceil(keep * n_pairs))
    n_kept = _split(path, scores, by, threshold, ties, found[1], found[2])
    return Screened(n_pairs, n_malformed, n_kept, *found)


def _write_scores(
    lines: Iterable[Line], model: Any, chunk: int, scores: Path, malformed: Path
) -> tuple[int, int]:
    n_pairs = n_malformed = 0
    with scores.open("w", newline="") as good, malformed.open("w", newline="", encoding="utf-8") as bad:
        good.write(",".join(COLUMNS) + "\n")
        writer = csv.writer(bad)
        writer.writerow(["line", "problem", "text"])
        for batch, table in score_lines(lines, model, chunk=chunk):
            wrong = [line for line in batch if line.pair is None]
            writer.writerows((line.number, line.problem, line.text) for line in wrong)
            table.to_csv(good, header=False, index=False)
            n_pairs, n_malformed = n_pairs + len(table), n_malformed + len(wrong)
    return n_pairs, n_malformed


def _column(scores: Path, by: str) -> Iterator[tuple[int, float]]:
    """Line number and score of each pair, in the file's order."""
    with scores.open(newline="") as file:
        for row in csv.DictReader(file):
            yield int(row["line"]), float(row[by])


def _threshold(scores: Path, by: str, n: int) -> tuple[float, int]:
    """The `n`-th lowest score, and how many pairs with just this score are kept."""
    values = np.fromiter((value for _, value in _column(scores, by)), dtype=float)
    threshold = float(np.partition(values, n - 1)[n - 1])
    return threshold, n - int((values < threshold).sum())


def _split(
    path: str | Path, scores: Path, by: str, threshold: float, ties: int, kept: Path, dropped: Path
) -> int:
    n_kept = 0
    wanted = _column(scores, by)
    number, value = next(wanted)
    with (
        Path(path).open(encoding="utf-8", errors="replace") as file,
        kept.open("w", encoding="utf-8") as low,
        dropped.open("w", encoding="utf-8") as high,
    ):
        for current, text in enumerate(file, 1):
            if current != number:
                continue
            tied = value == threshold and ties > 0
            ties -= tied
            keep = tied or value < threshold
            (low if keep else high).write(text.rstrip("\n") + "\n")
            n_kept += keep
            number, value = next(wanted, (0, 0.0))
    return n_kept


def worst_pairs(path: str | Path, screened: Screened, n: int = 5, *, by: str = "ln_ches") -> pd.DataFrame:
    """The `n` pairs of highest score with their texts, cut to 80 characters: what to read first."""
    top = heapq.nlargest(n, ((value, line) for line, value in _column(screened.scores, by)))
    scores = {line: value for value, line in top}
    rows = []
    with Path(path).open(encoding="utf-8", errors="replace") as file:
        for number, text in enumerate(file, 1):
            if number in scores:
                row = json.loads(text)
                cut = {key: str(row[key])[-80:] for key in ("prompt", "chosen", "rejected")}
                rows.append({"line": number, by: scores[number], **cut})
    return pd.DataFrame(rows).sort_values(by, ascending=False, ignore_index=True)
