"""Directives for the book's pages: tables and cards made from the records."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from loglik import claims, manifest
from loglik.press import catalogue
from loglik.press.catalogue import UNJUDGED, ClaimRow, Entry, RunRow
from loglik_book import markup, shelf
from loglik_book.markup import escape, href, link

BLURBS = {
    "information": "How much data a model needs, and what a likelihood can promise.",
    "risk": "Probabilities that people act on: rare, calibrated, censored, contested.",
    "optimization": "Fits that climb the right objective, and know when they have arrived.",
    "causal": "Effects, where the usual assumptions fail.",
    "sampling": "Posteriors that are out of reach of a formula.",
    "generative": "Models that draw new data, and what they learn by it.",
    "language": "What the likelihood of a text tells about the model that wrote it.",
}


def connect(app: Sphinx) -> None:
    """Register with Sphinx."""
    for name, directive in DIRECTIVES.items():
        app.add_directive(name, directive)


class FromRecords(SphinxDirective):
    """A directive without content whose HTML comes from a function of the checkout and the page."""

    make: ClassVar[Callable[..., str]]
    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The table, and its text for search engines and the book's own search."""
        known = set(self.env.found_docs)
        made = type(self).make(self.env.app, self.env.docname, known, *self.arguments)
        return [nodes.raw("", made, format="html")]


def _table(kind: str, filters: str, heads: Iterable[tuple[str, str]], rows: Iterable[str], noun: str) -> str:
    """A table that custom.js sorts and filters; without JavaScript, the whole table."""
    rows = list(rows)
    head = "".join(
        f'<th scope="col" data-sort="{key}">{label}</th>' if key else f'<th scope="col">{label}</th>'
        for key, label in heads
    )
    return (
        f'<div class="lk-explore" data-kind="{kind}">'
        f'<form class="lk-filters lk-js-only" role="search" aria-label="Filter the table">'
        f'<label class="lk-grow">Search<input type="search" name="q" autocomplete="off"></label>{filters}'
        f'<button type="reset" class="lk-button">Reset</button></form>'
        f'<p class="lk-count lk-js-only" aria-live="polite" data-noun="{noun}"></p>'
        f'<div class="lk-scroll" tabindex="0" role="region" aria-label="{noun}"><table class="lk-table">'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
        f'<p class="lk-none" hidden>Nothing fits these filters.</p></div>'
    )


def _row(data: dict[str, str], cells: Iterable[tuple[str, str, str]]) -> str:
    """A table row; each cell is (label, sort value, HTML)."""
    attributes = "".join(f' data-{key}="{escape(value)}"' for key, value in data.items())
    body = "".join(
        f'<td data-label="{escape(label)}"'
        + (f' data-v="{escape(value)}"' if value else "")
        + f">{content}</td>"
        for label, value, content in cells
    )
    return f"<tr{attributes}>{body}</tr>"


# -- the catalogue -------------------------------------------------------------------------------------------


def catalogue_table(app: Sphinx, page: str, known: set[str]) -> str:
    """All papers, to sort and filter."""
    found = shelf.entries(app)
    filters = (
        markup.options("part", "Part", manifest.PARTS)
        + markup.options("data", "Data", {"real": "real and simulated", "simulated": "simulated only"})
        + markup.options("hardware", "Paper's scale", {"cpu": "CPU is enough", "gpu": "needs a GPU"})
        + markup.options("state", "Chapter", {s: s for s in ("complete", "draft", "failed", "planned")})
    )
    heads = [("title", "Paper"), ("part", "Part"), ("year", "Year"), ("data", "Data")]
    heads += [("hardware", "Paper's scale"), ("state", "Chapter"), ("claims", "Reproduced")]
    rows = (_paper_row(number, entry, page, known) for number, entry in enumerate(found))
    return _table("catalogue", filters, heads, rows, "papers")


def _paper_row(number: int, entry: Entry, page: str, known: set[str]) -> str:
    info, counts = entry.info, entry.verdicts()
    title = escape(info["title"])
    if entry.page in known:
        title = link(title, href(page, str(entry.page)))
    elif info["arxiv"]:
        title = link(title, f"https://arxiv.org/abs/{info['arxiv']}")
    paper = (
        f'<span class="lk-title">{title}</span><span class="lk-by">{markup.authors(info["authors"])} · '
        f'{escape(info["venue"])}</span><span class="lk-promise">{escape(info["promise"])}</span>'
    )
    data = ", ".join(escape(item["name"]) for item in info["data"]) or "simulated"
    whole, held = sum(counts.values()), counts[claims.REPRODUCED]
    judged = f'<span class="lk-num">{held} of {whole}</span>{markup.bar(counts)}' if whole else "–"
    texts = [
        info["title"],
        *info["authors"],
        info["venue"],
        info["promise"],
        *info["topics"],
        data,
        entry.address,
    ]
    return _row(
        {
            "part": entry.part,
            "data": entry.data,
            "hardware": entry.hardware,
            "state": entry.state,
            "text": " ".join(texts).lower(),
        },
        [
            ("Paper", info["title"].lower(), paper),
            ("Part", f"{number:02d}", escape(manifest.PARTS[entry.part])),
            ("Year", str(info["year"]), f'<span class="lk-num">{info["year"]}</span>'),
            ("Data", f"{entry.data} {data}", data),
            ("Paper's scale", entry.hardware, escape(info["hardware"]["full"])),
            ("Chapter", entry.state, markup.state(entry)),
            ("Reproduced", f"{held / whole if whole else -1:.4f}", judged),
        ],
    )


STABILITY = ("every seed", "some seeds", "no seed")


# -- the scoreboard ------------------------------------------------------------------------------------------


def scoreboard(app: Sphinx, page: str, known: set[str]) -> str:
    """Every claim of every chapter."""
    found = shelf.claims(app)
    if not found:
        return '<p class="lk-empty">No chapter has claims yet; they appear here with the first one.</p>'
    papers = {row.address: row.title for row in found}
    parts = {p: name for p, name in manifest.PARTS.items() if any(a.startswith(f"{p}/") for a in papers)}
    verdicts = {v: v for v in markup.ORDER if any(row.verdict == v for row in found)}
    stable = {held: held for held in STABILITY if any(_stability(row) == held for row in found)}
    filters = (
        markup.options("verdict", "Verdict", verdicts)
        + markup.options("seeds", "Its criterion held in", stable)
        + markup.options("part", "Part", parts)
        + markup.options("paper", "Paper", papers)
    )
    heads = [
        ("claim", "Claim"),
        ("", "Paper says"),
        ("", "We measured"),
        ("verdict", "Verdict"),
        ("run", "Run"),
    ]
    return _table("scoreboard", filters, heads, (_claim_row(row, page, known) for row in found), "claims")


def _stability(row: ClaimRow) -> str:
    """How often the criterion held over swept seeds, in words; nothing where none were swept."""
    if row.swept is None:
        return ""
    held, of = row.swept
    return STABILITY[0] if held == of else STABILITY[1] if held else STABILITY[2]


def _claim_row(row: ClaimRow, page: str, known: set[str]) -> str:
    where = href(page, row.page, row.anchor if row.verdict != UNJUDGED else "")  # a card comes with a verdict
    name = link(f"{escape(row.id)}", where, "lk-id") if row.page in known else escape(row.id)
    note = f'<span class="lk-note">{escape(row.note)}</span>' if row.note else ""
    quantity = escape(row.quantity) + (
        f"; interval: {escape(row.interval_from)}" if row.interval_from else ""
    )
    said = f"{row.paper['where']}; {row.paper['source']}"
    swept = f"<small>held in {row.swept[0]} of {row.swept[1]} seeds</small>" if row.swept else ""
    run = "–"
    if row.profile:
        seeds = ", ".join(map(str, row.seeds))
        run = f"<span><code>{escape(row.profile)}</code> · seed {seeds}</span><small>{escape(row.device or '')}</small>"
        run += '<small class="lk-stale">stale record</small>' if row.stale else ""
    return _row(
        {
            "part": row.address.split("/")[0],
            "paper": row.address,
            "verdict": row.verdict,
            "seeds": _stability(row),
            "text": f"{row.title} {row.id} {row.statement} {row.address}".lower(),
        },
        [
            (
                "Claim",
                f"{catalogue.ADDRESSES.index(row.address):02d}-{row.id}",
                f"{name} {escape(row.statement)}<small>{escape(row.title)}</small>",
            ),
            (
                "Paper says",
                "",
                f"{escape(row.paper['value'])}<small>{escape(said)}</small>",
            ),
            ("We measured", "", f'<b class="lk-num">{escape(row.ours)}</b><small>{quantity}</small>'),
            ("Verdict", str(markup.ORDER.index(row.verdict)), markup.badge(row.verdict) + swept + note),
            ("Run", row.profile or "", run),
        ],
    )


# -- statistics ----------------------------------------------------------------------------------------------


def statistics(app: Sphinx, page: str, known: set[str]) -> str:
    """Cost of every recorded notebook."""
    found = shelf.runs(app)
    if not found:
        return '<p class="lk-empty">No run has been recorded yet.</p>'
    filters = markup.options("profile", "Profile", {p: p for p in reversed(catalogue.PROFILES)})
    filters += markup.options("paper", "Paper", {row.address: row.title for row in found})
    heads = [("notebook", "Notebook"), ("profile", "Profile"), ("wall", "Wall time"), ("cpu", "CPU time")]
    heads += [("memory", "Peak memory"), ("date", "Date"), ("device", "On"), ("", "Revision")]
    return _table("statistics", filters, heads, (_run_row(row, page, known) for row in found), "runs")


def _run_row(row: RunRow, page: str, known: set[str]) -> str:
    name = escape(f"{row.address}/{row.notebook}")
    stale = '<small class="lk-stale">stale record</small>' if row.stale else ""
    revision = (row.revision or "–")[:10] + (" + changes" if row.dirty else "")
    number = '<span class="lk-num">{}</span>'.format
    return _row(
        {"profile": row.profile, "paper": row.address, "text": f"{name} {row.title} {row.device}".lower()},
        [
            ("Notebook", name, (link(name, href(page, row.page)) if row.page in known else name) + stale),
            ("Profile", row.profile, f"<code>{escape(row.profile)}</code>"),
            ("Wall time", f"{row.wall_seconds:012.2f}", number(markup.duration(row.wall_seconds))),
            ("CPU time", f"{row.cpu_seconds:012.2f}", number(markup.duration(row.cpu_seconds))),
            ("Peak memory", f"{row.peak_memory_mb:012.1f}", number(markup.memory(row.peak_memory_mb))),
            ("Date", row.date, number(escape(row.date[:10]))),
            ("On", row.device, f"{escape(row.device)}, {row.cores} cores"),
            ("Revision", "", f"<code>{escape(revision)}</code>"),
        ],
    )


def versions(app: Sphinx, page: str, known: set[str]) -> str:
    """Versions of the libraries behind the shown records."""
    found: dict[str, set[str]] = {}
    for entry in shelf.entries(app):
        for name, version in (entry.record["provenance"]["versions"] if entry.record else {}).items():
            found.setdefault(name, set()).add(version)
    if not found:
        return ""
    items = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(', '.join(sorted(found[name])))}</dd></div>"
        for name in sorted(found, key=lambda n: (n != "python", n))
    )
    return f'<dl class="lk-versions">{items}</dl>'


# -- the landing page and the parts --------------------------------------------------------------------------


def part_cards(app: Sphinx, page: str, known: set[str]) -> str:
    """One card per part, with the state of its papers."""
    found = shelf.entries(app)
    cards = (_card(part, [e for e in found if e.part == part], page, known) for part in manifest.PARTS)
    return f'<div class="lk-cards">{"".join(cards)}</div>'


def _card(part: str, papers: list[Entry], page: str, known: set[str]) -> str:
    name = escape(manifest.PARTS[part])
    if f"book/part_{part}" in known:
        name = link(name, href(page, f"book/part_{part}"))
    else:
        name = link(name, href(page, "book/catalogue", f"part={part}"))
    items = "".join(f"<li>{_short(entry, page, known)}<small>{entry.state}</small></li>" for entry in papers)
    counts = catalogue.total(papers)
    whole = sum(counts.values())
    held = f"{counts[claims.REPRODUCED]} of {whole} claims reproduced" if whole else "no claims judged yet"
    return (
        f'<section class="lk-card"><h3>{name}</h3><p>{BLURBS[part]}</p><ul>{items}</ul>'
        f"<footer>{markup.bar(counts)}<span>{held}</span></footer></section>"
    )


def _short(entry: Entry, page: str, known: set[str]) -> str:
    title = escape(entry.info["title"].split(": ")[0])
    mark = f'<span class="lk-dot lk-state-{entry.state}" aria-hidden="true"></span>'
    return mark + (
        link(title, href(page, str(entry.page))) if entry.page in known else f"<span>{title}</span>"
    )


def book_state(app: Sphinx, page: str, known: set[str]) -> str:
    """Where the book stands, in numbers."""
    found = shelf.entries(app)
    written = sum(entry.state == "complete" for entry in found)
    counts = catalogue.total(found)
    judged = sum(counts.values()) - counts[UNJUDGED]
    numbers = [(len(found), "papers"), (written, "complete chapters"), (judged, "claims judged")]
    numbers += [(counts[claims.REPRODUCED], "reproduced")]
    tiles = "".join(f"<div><b>{number}</b><span>{label}</span></div>" for number, label in numbers)
    board = link("Every claim, with its numbers", href(page, "book/scoreboard"))
    shown = (
        f"{markup.bar(counts, 'Claims of the book')}{markup.legend(counts)}" if sum(counts.values()) else ""
    )
    return f'<div class="lk-book-state"><div class="lk-tiles">{tiles}</div>{shown}<p>{board}</p></div>'


def part_papers(app: Sphinx, page: str, known: set[str], part: str) -> str:
    """The papers of one part with their promises."""
    if part not in manifest.PARTS:
        raise ValueError(f"no part {part!r}; parts: {', '.join(manifest.PARTS)}")
    return "".join(_paper_card(entry, page, known) for entry in shelf.entries(app) if entry.part == part)


def _paper_card(entry: Entry, page: str, known: set[str]) -> str:
    info, counts = entry.info, entry.verdicts()
    title = escape(info["title"])
    title = link(title, href(page, str(entry.page))) if entry.page in known else title
    arxiv = link("arXiv", f"https://arxiv.org/abs/{info['arxiv']}") if info["arxiv"] else ""
    bar = markup.bar(counts) + markup.legend(counts) if sum(counts.values()) else ""
    return (
        f'<section class="lk-card lk-wide">{markup.state(entry)}<h3>{title}</h3>'
        f'<p class="lk-by">{escape(", ".join(info["authors"]))} · {escape(info["venue"])} {arxiv}</p>'
        f"<p>{escape(info['promise'])}</p>{bar}</section>"
    )


class WhichPaper(SphinxDirective):
    """A decision chart: a list of troubles, each with the paper that answers it.

    The content is a YAML list of mappings with keys ``trouble``, ``paper`` (part/paper), ``name``, ``answer``.
    """

    has_content = True

    def run(self) -> list[nodes.Node]:
        """The chart, as a list that a screen reader reads row by row."""
        rows = yaml.safe_load("\n".join(self.content))
        wanted = {"trouble", "paper", "name", "answer"}
        for row in rows:
            if set(row) != wanted:
                raise self.error(f"which-paper: a row has {sorted(row)}, wanted {sorted(wanted)}")
        chart = which_paper(self.env.docname, set(self.env.found_docs), rows)
        return [nodes.raw("", chart, format="html")]


def which_paper(page: str, known: set[str], rows: list[dict[str, str]]) -> str:
    """Troubles on the left, the papers that answer them on the right; a paper without a chapter has no link."""
    items = "".join(
        f'<li><span class="lk-trouble">{escape(row["trouble"])}</span>'
        f'<span class="lk-arrow" aria-hidden="true"></span>{_answer(row, page, known)}</li>'
        for row in rows
    )
    left, right = "What troubles you", "What to reach for"
    heads = f'<p class="lk-which-heads" aria-hidden="true"><span>{left}</span><span>{right}</span></p>'
    return f'<div class="lk-which">{heads}<ul aria-label="{left}: {right}">{items}</ul></div>'


def _answer(row: dict[str, str], page: str, known: set[str]) -> str:
    text = f"<b>{escape(row['name'])}</b><small>{escape(row['answer'])}</small>"
    target = f"notebooks/{row['paper']}/method"
    return (
        link(text, href(page, target), "lk-answer")
        if target in known
        else f'<span class="lk-answer">{text}</span>'
    )


def _directive(make: Callable[..., str], arguments: int = 0) -> type[FromRecords]:
    attributes: dict[str, Any] = {
        "make": staticmethod(make),
        "required_arguments": arguments,
        "optional_arguments": 0,
        "__doc__": make.__doc__,
    }
    return type(f"{make.__name__}_directive", (FromRecords,), attributes)


DIRECTIVES = {
    "catalogue": _directive(catalogue_table),
    "scoreboard": _directive(scoreboard),
    "statistics": _directive(statistics),
    "versions": _directive(versions),
    "part-cards": _directive(part_cards),
    "part-papers": _directive(part_papers, arguments=1),
    "book-state": _directive(book_state),
    "which-paper": WhichPaper,
}
