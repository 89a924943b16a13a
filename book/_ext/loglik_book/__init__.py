"""The book's own Sphinx extension: tables from the records, chapter headers, downloads, local mathematics.

Everything that it shows comes from :mod:`loglik.press.catalogue`. It also works where nothing has been run
or recorded, so a plain ``jupyter-book build .`` in a fresh clone gives a whole site.
"""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

_LIB = str(Path(__file__).resolve().parents[3] / "lib")
if _LIB not in sys.path:  # the checkout's own package, also where another version is installed
    sys.path.insert(0, _LIB)

from loglik_book import assets, directives, downloads, freshness, header, modules, results, sliders  # noqa: E402


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect the parts; Sphinx calls this once."""
    gc.disable()  # what a build makes lives to its end: looking for garbage in it took half of the time
    for part in (assets, directives, downloads, freshness, header, modules, results, sliders):
        part.connect(app)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
