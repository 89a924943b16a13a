"""Small pieces of HTML that several tables and the chapter header share."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from html import escape

from loglik import claims
from loglik.press.catalogue import UNJUDGED, Entry

__all__ = ["authors", "badge", "bar", "duration", "escape", "href", "legend", "link", "memory", "options"]

ORDER = (*claims.VERDICTS, UNJUDGED)
SLUGS = {verdict: verdict.replace(" ", "-") for verdict in ORDER}
SYMBOLS = {**claims.SYMBOLS, UNJUDGED: "○"}


def href(page: str, target: str, anchor: str = "") -> str:
    """Relative address of one page of the book from another."""
    relative = posixpath.relpath(f"{target}.html", posixpath.dirname(page) or ".")
    return f"{relative}#{anchor}" if anchor else relative


def link(text: str, url: str, css: str = "") -> str:
    """A link; `text` is HTML already."""
    attribute = f' class="{css}"' if css else ""
    return f'<a{attribute} href="{escape(url)}">{text}</a>'


def badge(verdict: str) -> str:
    """A verdict as a coloured label."""
    return f'<span class="lk-verdict lk-{SLUGS[verdict]}">{SYMBOLS[verdict]} {verdict}</span>'


def state(entry: Entry) -> str:
    """How far a chapter has come, as a label."""
    return f'<span class="lk-state lk-state-{entry.state}">{entry.state}</span>'


def bar(counts: Mapping[str, int], label: str = "Claims") -> str:
    """Verdicts as a bar of proportional pieces, read out as a sentence."""
    whole = sum(counts.values())
    if not whole:
        return ""
    spoken = ", ".join(f"{counts[v]} {v}" for v in ORDER if counts[v])
    pieces = "".join(
        f'<span class="lk-{SLUGS[v]}" style="flex:{counts[v]}" title="{counts[v]} {v}"></span>'
        for v in ORDER
        if counts[v]
    )
    return f'<span class="lk-bar" role="img" aria-label="{escape(label)}: {spoken}">{pieces}</span>'


def legend(counts: Mapping[str, int]) -> str:
    """The same numbers in words."""
    items = "".join(
        f'<li><span class="lk-dot lk-{SLUGS[v]}" aria-hidden="true"></span><b>{counts[v]}</b> {v}</li>'
        for v in ORDER
        if counts[v]
    )
    return f'<ul class="lk-legend">{items}</ul>'


def authors(names: list[str], most: int = 3) -> str:
    """Authors for a table: all of a few, else the first and "et al."."""
    shown = names if len(names) <= most else [names[0], "et al."]
    return escape(", ".join(shown).replace(", et al.", " et al."))


def duration(seconds: float | None) -> str:
    """A run time for people: 0.8 s, 42 s, 3 min 20 s, 2 h 5 min."""
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def memory(megabytes: float | None) -> str:
    """Peak memory for people."""
    if megabytes is None:
        return "–"
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes:.0f} MB"


def options(name: str, label: str, values: Mapping[str, str]) -> str:
    """A labelled choice for a table's filter; the empty value means all."""
    items = "".join(f'<option value="{escape(v)}">{escape(text)}</option>' for v, text in values.items())
    return (
        f'<label>{escape(label)}<select name="{name}"><option value="">all</option>{items}</select></label>'
    )
