"""The executed notebook beside each page, for the download buttons."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx


def connect(app: Sphinx) -> None:
    """Register with Sphinx, before the theme makes its buttons (500) and the header its own (450)."""
    app.connect("html-page-context", offer_notebook, priority=400)


def offer_notebook(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Copy the notebook that a page was made from into ``_sources`` and tell the theme."""
    if not page.startswith("notebooks/"):
        return
    root = Path(app.srcdir)
    executed = root / "_build" / "site" / f"{page.removeprefix('notebooks/')}.ipynb"
    bare = root / f"{page}.ipynb"
    source = next((path for path in (executed, bare) if path.is_file()), None)
    if source is None:
        return
    target = Path(app.outdir) / "_sources" / f"{page}.ipynb"
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    context["ipynb_source"] = f"{page}.ipynb"
    context["loglik_executed"] = source == executed
