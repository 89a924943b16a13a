"""What the book says of its papers, as plain rows made from manifests, plans and records.

The catalogue, the scoreboard, the statistics page, every chapter's header and the table in the README are
made from these functions alone, so no number about a result is ever typed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loglik import claims, manifest
from loglik.press import records, sweep
from loglik.press.papers import (
    ADDRESSES,
    PAPERS,
    PROFILES,
    UNJUDGED,
    Entry,
    best_record,
    chapters,
    entries,
    page_states,
    planned,
    record_at,
)
from loglik.press.repository import Repository, repository

__all__ = [
    "ADDRESSES",
    "MARKERS",
    "PAPERS",
    "PROFILES",
    "UNJUDGED",
    "ClaimRow",
    "Entry",
    "Repository",
    "RunRow",
    "best_record",
    "chapters",
    "claims_table",
    "entries",
    "page_states",
    "planned",
    "readme_table",
    "record_at",
    "repository",
    "statistics_table",
    "total",
    "with_readme_table",
]
MARKERS = ("<!-- papers:begin -->", "<!-- papers:end -->")


@dataclass(frozen=True)
class ClaimRow:
    """One line of the scoreboard."""

    address: str
    title: str
    id: str
    statement: str
    quantity: str
    paper: Mapping[str, str]  # value, where, source
    ours: str  # measured value with its interval, for people
    interval_from: str | None
    criterion: str
    verdict: str  # or UNJUDGED
    note: str | None
    profile: str | None
    seeds: tuple[int, ...]
    device: str | None
    stale: bool
    swept: tuple[int, int] | None  # in how many of the swept seeds its criterion held
    page: str  # the page that judges it
    anchor: str


@dataclass(frozen=True)
class RunRow:
    """One line of the statistics page: a notebook of a recorded run."""

    address: str
    title: str
    notebook: str
    profile: str
    wall_seconds: float
    cpu_seconds: float
    peak_memory_mb: float
    device: str
    cores: int
    date: str
    revision: str | None
    dirty: bool
    stale: bool
    page: str


def claims_table(root: Path, found: Iterable[Entry] | None = None) -> list[ClaimRow]:
    """Every claim of every chapter with its verdict, in the order of the book; `found` are its entries, if known."""
    written = chapters(root)
    return [
        row
        for entry in (entries(root) if found is None else found)
        if entry.address in written
        for row in _claim_rows(root, entry, written[entry.address])
    ]


def _claim_rows(root: Path, entry: Entry, found: manifest.Manifest) -> Iterable[ClaimRow]:
    recorded = record_at(root, entry.address, "sweep")
    swept = sweep.counts(found, recorded) if recorded else {}
    return (_claim_row(entry, spec, swept.get(spec.id)) for spec in found.claims)


def _claim_row(entry: Entry, spec: manifest.ClaimSpec, swept: tuple[int, int] | None) -> ClaimRow:
    record = entry.record
    found = next((c for c in record["claims"] if c["id"] == spec.id), None) if record else None
    run = record["provenance"] if record and found else {}
    return ClaimRow(
        address=entry.address,
        title=entry.info["title"],
        id=spec.id,
        statement=spec.statement,
        quantity=spec.quantity,
        paper=spec.paper,
        ours=_ours(found) if found else "–",
        interval_from=found.get("interval_from") if found else None,
        criterion=spec.criterion.text,
        verdict=found["verdict"] if found else UNJUDGED,
        note=found.get("note") if found else None,
        profile=run.get("profile"),
        seeds=tuple(run.get("seeds", ())),
        device=run.get("device"),
        stale=entry.stale,
        swept=swept,
        page=f"notebooks/{entry.address}/{spec.notebook}",
        anchor=f"claim-{spec.id}",
    )


def _ours(found: Mapping[str, Any]) -> str:
    if found["measured"] is None:
        return "–"
    text = claims.number(found["measured"])
    interval = found.get("interval")
    return text + (f" [{claims.number(interval[0])}, {claims.number(interval[1])}]" if interval else "")


def statistics_table(root: Path, found: Iterable[Entry] | None = None) -> list[RunRow]:
    """Cost and provenance of every notebook in every record, in the order of the book; `found` as above."""
    rows: list[RunRow] = []
    written = chapters(root)
    for entry in entries(root) if found is None else found:
        for profile in reversed(PROFILES) if entry.address in written else ():
            record = record_at(root, entry.address, profile)
            if record:
                stale = bool(records.problems(written[entry.address], record))
                rows += list(_run_rows(entry, record, stale))
    return rows


def _run_rows(entry: Entry, record: Mapping[str, Any], stale: bool) -> Iterable[RunRow]:
    run = record["provenance"]
    for name, cost in run["notebooks"].items():
        yield RunRow(
            address=entry.address,
            title=entry.info["title"],
            notebook=name,
            profile=record["profile"],
            **{key: cost[key] for key in ("wall_seconds", "cpu_seconds", "peak_memory_mb", "date")},
            **{key: run[key] for key in ("device", "cores", "revision", "dirty")},
            stale=stale,
            page=f"notebooks/{entry.address}/{name}",
        )


def total(found: Iterable[Entry]) -> dict[str, int]:
    """Claims by verdict over several papers."""
    counts = dict.fromkeys((*claims.VERDICTS, UNJUDGED), 0)
    for entry in found:
        for verdict, count in entry.verdicts().items():
            counts[verdict] += count
    return counts


def readme_table(root: Path) -> str:
    """The papers and their state as a markdown table between the README's markers."""
    lines = ["| part | paper | venue | chapter | claims reproduced |", "| --- | --- | --- | --- | --- |"]
    for entry in entries(root):
        info = entry.info
        title = (
            f"[{info['title']}](https://arxiv.org/abs/{info['arxiv']})" if info["arxiv"] else info["title"]
        )
        state = f"[{entry.state}](notebooks/{entry.address})" if entry.notebooks else entry.state
        held = f"{entry.verdicts()[claims.REPRODUCED]} of {len(entry.claim_ids)}" if entry.claim_ids else "–"
        lines.append(f"| {manifest.PARTS[entry.part]} | {title} | {info['venue']} | {state} | {held} |")
    return "\n".join([MARKERS[0], *lines, MARKERS[1]])


def with_readme_table(text: str, table: str) -> str:
    """`text` with what stands between its markers replaced by `table`; unchanged without markers."""
    begin, end = (text.find(marker) for marker in MARKERS)
    if begin < 0 or end < begin:
        return text
    return text[:begin] + table + text[end + len(MARKERS[1]) :]
