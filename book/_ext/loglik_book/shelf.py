"""What a build reads once: whether a record is stale takes a hash of every notebook and all that it reaches."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from sphinx.application import Sphinx

from loglik.manifest import Manifest
from loglik.press import catalogue
from loglik.press.catalogue import ClaimRow, Entry, RunRow

T = TypeVar("T")


def _once(read: Callable[[Sphinx], T]) -> Callable[[Sphinx], T]:
    """Keep what `read` gives with the application, so with the build."""
    name = f"loglik_{read.__name__}"

    @functools.wraps(read)
    def kept(app: Sphinx) -> T:
        if not hasattr(app, name):
            setattr(app, name, read(app))
        found: Any = getattr(app, name)
        return found

    return kept


@_once
def entries(app: Sphinx) -> list[Entry]:
    """All papers in the order of the book."""
    return catalogue.entries(Path(app.srcdir))


@_once
def chapters(app: Sphinx) -> dict[str, Manifest]:
    """Manifests of the chapters by address."""
    return catalogue.chapters(Path(app.srcdir))


@_once
def claims(app: Sphinx) -> list[ClaimRow]:
    """Every claim of the book."""
    return catalogue.claims_table(Path(app.srcdir), entries(app))


@_once
def runs(app: Sphinx) -> list[RunRow]:
    """Every recorded run of a notebook."""
    return catalogue.statistics_table(Path(app.srcdir), entries(app))
