"""Figures that a reader can drag: a slider below a figure switches its picture and the numbers of its caption."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

from loglik import claims
from loglik.press import explore
from loglik_book import shelf
from loglik_book.markup import escape


def connect(app: Sphinx) -> None:
    """Register with Sphinx."""
    app.connect("doctree-resolved", add_slider)


def add_slider(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Put the slider below its figure, and the frames where the page finds them."""
    pieces = page.split("/")
    chapter = shelf.chapters(app).get("/".join(pieces[1:3])) if pieces[0] == "notebooks" else None
    found = explore.frames(Path(app.srcdir), chapter) if chapter else None
    if chapter is None or found is None or found["notebook"] != pieces[3]:
        return
    for figure in list(doctree.findall(nodes.figure)):
        if found["figure"] in figure["ids"] + figure["names"]:
            up = "../" * page.count("/")
            address = f"{up}_static/explore/{chapter.address}/"
            made = slider(chapter["explore"], found["frames"], address)
            figure.parent.insert(figure.parent.index(figure) + 1, nodes.raw("", made, format="html"))
            _copy(app, chapter.address)


def _copy(app: Sphinx, address: str) -> None:
    source = Path(app.srcdir) / "book" / "results" / address / "explore"
    target = Path(app.outdir) / "_static" / "explore" / address
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.json"))


def slider(wanted: dict[str, Any], frames: list[dict[str, Any]], address: str) -> str:
    """The slider's HTML; the script finds frames and numbers in its data."""
    name, at = wanted["figure"], [frame["value"] for frame in frames].index(wanted["shown"])
    data = [
        {"src": address + frame["file"], "value": written(frame["value"]), "numbers": said(frame["numbers"])}
        for frame in frames
    ]
    ticks = "".join(f"<span>{escape(item['value'])}</span>" for item in data)
    return (
        f'<div class="lk-slider lk-js-only" data-figure="{escape(name)}" data-frames="{escape(json.dumps(data))}">'
        f'<label for="{name}-slider">{escape(wanted["label"])}</label>'
        f'<input type="range" id="{name}-slider" min="0" max="{len(data) - 1}" step="1" value="{at}" '
        f'aria-valuetext="{escape(data[at]["value"])}"><div class="lk-ticks" aria-hidden="true">{ticks}</div>'
        f'<p aria-live="polite">{escape(sentence(data[at]))}</p></div>'
    )


def written(value: Any) -> str:
    """A value of the grid, as one would write it: it was chosen, not measured."""
    return value if isinstance(value, str) else f"{value:,}" if isinstance(value, int) else f"{value:g}"


def shown(value: Any) -> str:
    """A number of a frame, for people."""
    return value if isinstance(value, str) else claims.number(value)


def said(numbers: dict[str, Any]) -> str:
    """The numbers of a frame, for people."""
    return "; ".join(f"{name}: {shown(value)}" for name, value in numbers.items())


def sentence(item: dict[str, str]) -> str:
    """What stands below the slider at one value."""
    return f"{item['value']} · {item['numbers']}" if item["numbers"] else item["value"]
