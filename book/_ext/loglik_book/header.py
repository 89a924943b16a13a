"""The header under a chapter page's title: paper, verdicts, cost, links to run it, and how to cite it."""

from __future__ import annotations

import datetime
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

from loglik import manifest
from loglik.press import catalogue
from loglik.press.catalogue import Entry, Repository
from loglik_book import markup, panel, shelf
from loglik_book.markup import escape, href, link

TABS = {
    "method": "What is the idea?",
    "reproduction": "Is it true?",
    "apply": "What does it do for me?",
}


def connect(app: Sphinx) -> None:
    """Register with Sphinx, after the downloads (400) and before the theme (500)."""
    app.connect("html-page-context", insert, priority=450)


def insert(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Put the header under the page's title."""
    pieces = page.split("/")
    if pieces[0] != "notebooks" or len(pieces) != 4 or "body" not in context:
        return
    entry = next((e for e in shelf.entries(app) if e.address == "/".join(pieces[1:3])), None)
    if entry is None:
        return
    made = Header(app, page, entry, context).html()
    head, title, rest = context["body"].partition("</h1>")
    context["body"] = head + title + made + rest if title else made + context["body"]


class Header:
    """One page's header; the parts are methods in the order in which they stand."""

    def __init__(self, app: Sphinx, page: str, entry: Entry, context: dict[str, Any]) -> None:
        self.app, self.page, self.entry, self.context = app, page, entry, context
        self.root = Path(app.srcdir)
        self.name = page.rpartition("/")[2]
        self.repository = catalogue.repository(self.root)
        self.chapter = shelf.chapters(app)[entry.address]
        self.run = catalogue.page_states(self.root).get(page, {})

    def html(self) -> str:
        """The whole header."""
        parts = (
            self._paper(),
            self._banners(),
            self._tabs(),
            self._verdicts(),
            self._facts(),
            self._actions(),
            panel.html(self.root, self.entry.address, self.name, self.repository),
        )
        return f'<div class="lk-head">{"".join(parts)}</div>'

    def _paper(self) -> str:
        info = self.entry.info
        links = [link("arXiv", f"https://arxiv.org/abs/{info['arxiv']}")] if info["arxiv"] else []
        links += [link("official code", info["code"])] if info["code"] else []
        return (
            f'<p class="lk-paper"><cite>{escape(info["title"])}</cite> '
            f'<span class="lk-authors">{escape(", ".join(info["authors"]))}</span> '
            f'<span class="lk-venue">{escape(_venue(info))}</span> '
            f'<span class="lk-links">{" ".join(links)}</span></p>'
        )

    def _banners(self) -> str:
        return "".join(
            f'<div class="lk-banner lk-{kind}" role="note">{text}</div>' for kind, text in self.banners()
        )

    def banners(self) -> list[tuple[str, str]]:
        """What a reader must know before believing the page: (kind, HTML)."""
        entry, run, found = self.entry, self.run, []
        if run.get("state") == "failed":
            error = run.get("error") or {}
            where = f" in cell {error['cell']}" if error.get("cell") is not None else ""
            line = f": <code>{escape(str(error['line']))}</code>" if error.get("line") else ""
            found.append(("bad", f"<b>This notebook failed</b>{where}{line}. What stands below ends there."))
        elif run.get("state") == "not run":
            found.append(("warn", "<b>Not run yet.</b> The page shows the notebook without its results."))
        elif run.get("profile") == "smoke":
            found.append(
                (
                    "warn",
                    "<b>Smoke run.</b> The figures below come from sizes that only prove that the code runs.",
                )
            )
        if entry.state == "draft":
            found.append(("info", "<b>Draft.</b> This chapter is not complete; claims may still be missing."))
        if entry.stale:
            found.append(
                (
                    "warn",
                    "<b>Stale record.</b> The chapter has changed since its verdicts were recorded; "
                    "they stand until it is run again.",
                )
            )
        if entry.profile == "smoke":
            found.append(
                ("warn", "<b>Smoke record.</b> The verdicts come from a run too small to decide the claims.")
            )
        return found

    def _tabs(self) -> str:
        items = []
        for name in self.entry.notebooks:
            question = f"<small>{TABS[name]}</small>" if name in TABS else ""
            label = f"<b>{escape(name.replace('_', ' ').capitalize())}</b>{question}"
            target = f"notebooks/{self.entry.address}/{name}"
            if name == self.name:
                items.append(f'<a href="#" aria-current="page">{label}</a>')
            elif target in self.app.env.found_docs:
                items.append(link(label, href(self.page, target)))
        return f'<nav class="lk-tabs" aria-label="Notebooks of this chapter">{"".join(items)}</nav>'

    def _verdicts(self) -> str:
        counts = self.entry.verdicts()
        whole = sum(counts.values())
        if not whole:
            return ""
        board = href(self.page, "book/scoreboard", f"paper={self.entry.address}")
        title = f"<b>{counts['reproduced']}</b> of {whole} claims reproduced"
        drawn = markup.bar(counts) + markup.legend(counts)
        return f'<div class="lk-verdicts"><p>{link(title, board)}</p>{drawn}{self._stability()}</div>'

    def _stability(self) -> str:
        """Which criteria depend on the seed; nothing where no seeds were swept."""
        mine = [row for row in shelf.claims(self.app) if row.address == self.entry.address]
        swept = {row.id: row.swept for row in mine if row.swept}
        if not swept:
            return ""
        seeds = max(of for _, of in swept.values())
        unsure = [f"{name} in {held}" for name, (held, of) in swept.items() if 0 < held < of]
        text = f"Run with {seeds} seeds, {len(swept) - len(unsure)} of {len(swept)} criteria always gave one answer."
        text += f" The others held: {', '.join(unsure)}." if unsure else ""
        return f'<p class="lk-seeds">{escape(text)}</p>'

    def _facts(self) -> str:
        entry, run = self.entry, self.run
        record = entry.record["provenance"] if entry.record else {}
        cost = record.get("notebooks", {}).get(self.name, {})
        seconds, profile, megabytes = (
            cost.get("wall_seconds"),
            record.get("profile"),
            cost.get("peak_memory_mb"),
        )
        if run.get("wall_seconds") is not None:
            seconds, profile, megabytes = run["wall_seconds"], run["profile"], run.get("peak_memory_mb")
        facts = []
        if seconds is not None:
            facts.append(
                ("Run time", f"{markup.duration(seconds)} at profile <code>{escape(str(profile))}</code>")
            )
            facts.append(("Memory", markup.memory(megabytes)))
        if record:
            facts.append(
                ("Recorded", f"<code>{escape(record['profile'])}</code>, {escape(record['date'][:10])}")
            )
            facts.append(("On", f"{escape(record['device'])}, {_count(record['cores'], 'core')}"))
        whole = len(self.chapter.results)
        if whole:
            held = sum(result.is_held for result in self.chapter.results)
            facts.append(("Numbered results", f"{held} of {whole} computed and tested"))
        facts.append(("Hardware", "a CPU" if entry.info["hardware"]["book"] == "cpu" else "a GPU"))
        facts.append(("Paper's scale", escape(entry.info["hardware"]["full"])))
        items = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts)
        return f'<dl class="lk-facts">{items}</dl>'

    def _actions(self) -> str:
        notebook = f"{self.page}.ipynb"
        up = "../" * self.page.count("/")
        found = [
            link("Binder", self.repository.binder(notebook), "lk-button lk-primary"),
            link("Colab", self.repository.colab(notebook), "lk-button"),
        ]
        if "ipynb_source" in self.context:
            kind = "executed" if self.context.get("loglik_executed") else "without outputs"
            found.append(_download(f"{up}_sources/{notebook}", f".ipynb <small>{kind}</small>"))
        if self.context.get("sourcename"):
            found.append(_download(f"{up}_sources/{self.context['sourcename']}", ".py"))
        return f'<div class="lk-actions">{"".join(found)}{self._cite()}</div>'

    def _cite(self) -> str:
        paper = bibtex(self.root, self.entry.info["citation"])
        chapter = chapter_bibtex(self.entry, self.repository)
        blocks = "".join(
            f'<div class="lk-bib"><p>{title}</p><button type="button" class="lk-copy lk-js-only" '
            f'data-copy="{escape(text)}">Copy</button><pre tabindex="0">{escape(text)}</pre></div>'
            for title, text in (("The paper", paper), ("This chapter", chapter))
            if text
        )
        return f'<details class="lk-cite"><summary class="lk-button">Cite</summary>{blocks}</details>'


def _download(url: str, label: str) -> str:
    return f'<a class="lk-button" href="{escape(url)}" download>{label}</a>'


def _venue(info: Any) -> str:
    return (
        str(info["venue"]) if str(info["year"]) in str(info["venue"]) else f"{info['venue']}, {info['year']}"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def bibtex(root: Path, key: str) -> str:
    """The entry of `key` in ``book/references.bib``; empty where there is none."""
    text = (root / "book" / "references.bib").read_text(encoding="utf-8")
    found = re.search(rf"^@\w+\{{{re.escape(key)},.*?^\}}", text, re.MULTILINE | re.DOTALL)
    return found[0] if found else ""


def chapter_bibtex(entry: Entry, repository: Repository) -> str:
    """A BibTeX entry for the chapter, dated by its record (or by the paper's year where it has none)."""
    date = entry.record["provenance"]["date"] if entry.record else ""
    year = date[:4] or str(datetime.datetime.now(datetime.UTC).year)
    page = f"{repository.site}notebooks/{entry.address}/{entry.notebooks[0]}.html"
    return (
        f"@incollection{{loglik{year}{entry.address.split('/')[1].replace('_', '')},\n"
        f"  title = {{Reproducing ``{entry.info['title']}''}},\n"
        "  author = {{The authors of Likelihood, Reproduced}},\n"
        "  booktitle = {Likelihood, Reproduced},\n"
        f"  note = {{Part: {manifest.PARTS[entry.part]}}},\n"
        f"  year = {{{year}}},\n"
        f"  url = {{{page}}}\n}}"
    )
