"""From a numbered equation to the code that computes it, and back.

``paper.yml`` says which documented objects compute a numbered equation, algorithm or theorem, and which tests
hold it. The page links them below the equation; the API reference links the equation from each object.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

from loglik.manifest import Manifest, NumberedResult
from loglik.press import catalogue
from loglik_book import shelf

LOG = logging.getLogger(__name__)


def connect(app: Sphinx) -> None:
    """Register with Sphinx."""
    app.connect("doctree-resolved", link_code)
    app.connect("autodoc-process-docstring", link_equations)


# -- from the equation to the code ---------------------------------------------------------------------------


def link_code(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Put links to code and tests below each numbered result of a chapter page."""
    pieces = page.split("/")
    chapter = shelf.chapters(app).get("/".join(pieces[1:3])) if pieces[0] == "notebooks" else None
    if chapter is None:
        return
    known = {result.label: result for result in chapter.results}
    for node in list(doctree.findall(nodes.Element)):
        result = known.get(_label(node))
        if result is not None and result.code:
            node.parent.insert(node.parent.index(node) + 1, _links(app, page, chapter, result))


def _label(node: nodes.Element) -> str:
    """The label of a numbered equation, or of an algorithm or theorem; empty for any other node."""
    if isinstance(node, nodes.math_block) or "realtype" in node:
        return str(node.get("label") or "")
    return ""


def _links(app: Sphinx, page: str, chapter: Manifest, result: NumberedResult) -> nodes.paragraph:
    line = nodes.paragraph(classes=["lk-code-of"])
    line += nodes.inline("", "computed by ", classes=["lk-quiet"])
    for number, name in enumerate(result.code):
        line += nodes.Text(", " if number else "")
        line += _documented(app, page, name, result.label)
    if result.tests:
        line += nodes.inline("", " · tested by ", classes=["lk-quiet"])
        for number, name in enumerate(result.tests):
            line += nodes.Text(", " if number else "")
            line += _test(app, chapter, name)
    return line


def _documented(app: Sphinx, page: str, name: str, label: str) -> nodes.Node:
    found = app.env.get_domain("py").objects.get(name)  # type: ignore[attr-defined]
    pieces = name.split(".")
    shown = nodes.literal(
        "", ".".join(pieces[-2:] if pieces[-2][0].isupper() else pieces[-1:])
    )  # a method, its class
    if found is None:
        LOG.warning("results, %s: %s is not in the API reference", label, name, location=page)
        return shown
    address = f"{app.builder.get_relative_uri(page, found.docname)}#{found.node_id}"
    return nodes.reference("", "", shown, refuri=address, internal=True, reftitle=name)


def _test(app: Sphinx, chapter: Manifest, name: str) -> nodes.reference:
    root = Path(app.srcdir)
    path = f"tests/{chapter.part}/test_{chapter.paper}.py"
    address = catalogue.repository(root).source(f"{path}#L{_line(root / path, name)}")
    words = name.removeprefix("test_").replace("_", " ")
    return nodes.reference("", words, refuri=address, internal=False)


def _line(path: Path, name: str) -> int:
    """Where a test function begins; a class of tests may hold it."""
    return _functions(path, path.stat().st_mtime_ns).get(name, 1)


@functools.lru_cache(maxsize=256)
def _functions(path: Path, _modified: int) -> dict[str, int]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name: node.lineno for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


# -- and back ------------------------------------------------------------------------------------------------


def link_equations(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """End the docstring of an object with the numbered results that it computes."""
    roles = [_role(chapter, result) for chapter, result in _computed_by(app, name)]
    if roles:
        lines += ["", f"*Computes* {', '.join(roles)}.", ""]


def _computed_by(app: Sphinx, name: str) -> Iterator[tuple[Manifest, NumberedResult]]:
    for chapter in shelf.chapters(app).values():
        for result in chapter.results:
            if name in result.code:
                yield chapter, result


def _role(chapter: Manifest, result: NumberedResult) -> str:
    """A reference in reStructuredText: an equation by its number, an algorithm or theorem by its title."""
    block = re.compile(rf"\{{prf:\w+\}}[^\n]*\n# :label: {re.escape(result.label)}\n")
    texts = ((chapter.folder / f"{name}.py").read_text(encoding="utf-8") for name in chapter.notebooks)
    is_block = any(block.search(text) for text in texts)
    return f":prf:ref:`{result.label}`" if is_block else f"equation :eq:`{result.label}`"
