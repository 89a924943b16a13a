"""Pages that show records are read again when those change, and only then."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from loglik.press import catalogue

TABLES = (
    "{catalogue}",
    "{scoreboard}",
    "{statistics}",
    "{versions}",
    "{part-cards}",
    "{part-papers}",
    "{book-state}",
)


def connect(app: Sphinx) -> None:
    """Register with Sphinx."""
    app.connect("env-get-outdated", outdated)
    app.connect("source-read", remember)
    app.connect("env-merge-info", merge)


def seen(env: BuildEnvironment) -> dict[str, str]:
    """What each page's data looked like when it was last read; kept with Sphinx's environment."""
    if not hasattr(env, "loglik_seen"):
        env.loglik_seen = {}  # type: ignore[attr-defined]
    return env.loglik_seen  # type: ignore[attr-defined]


def outdated(
    app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]
) -> list[str]:
    """Pages whose records, manifest, plan or run state differ from those that they were read with."""
    root = Path(app.srcdir)
    known = seen(env)
    return [page for page in env.found_docs if page in known and known[page] != fingerprint(root, page)]


def remember(app: Sphinx, page: str, source: list[str]) -> None:
    """Note what a page that shows data is read with; an API page links the results of the manifests."""
    if page.startswith(("notebooks/", "book/api_")) or any(f"```{name}" in source[0] for name in TABLES):
        seen(app.env)[page] = fingerprint(Path(app.srcdir), page)


def merge(app: Sphinx, env: BuildEnvironment, pages: set[str], other: BuildEnvironment) -> None:
    """Bring in what a parallel reader noted."""
    seen(env).update({page: print_ for page, print_ in seen(other).items() if page in pages})


def fingerprint(root: Path, page: str) -> str:
    """Hash of the data that a page shows: its own chapter's, or all of it for the book's tables."""
    pieces = page.split("/")
    if pieces[0] == "notebooks" and len(pieces) == 4:
        address = "/".join(pieces[1:3])
        patterns = [f"notebooks/{address}/paper.yml", f"book/results/{address}/**/*.json"]
        state: Any = catalogue.page_states(root).get(page)
    else:
        patterns = ["notebooks/*/*/paper.yml", "book/results/*/*/*.json", "book/planned.yml"]
        state = catalogue.page_states(root)
    digest = hashlib.sha256(json.dumps(state, sort_keys=True).encode())
    for path in sorted(path for pattern in [*patterns, "pyproject.toml"] for path in root.glob(pattern)):
        digest.update(path.as_posix().encode() + path.read_bytes())
    return digest.hexdigest()
