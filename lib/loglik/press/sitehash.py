"""One hash for a rendered site: two cold builds from the same commit, records and runs give the same one.

What a run cost and when it was made differ from run to run and are left out; everything else counts to the
byte. The hash stands in each page's footer, where a placeholder takes its place while it is computed.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from loglik import provenance

STAMP = re.compile(r'(<code class="lk-build">)[^<]*(</code>)')
# What tells of one run: its line under the summary, and time and memory in the page's header.
_RUN_LINE = re.compile(r"""<p class=(['"])loglik-run\1.*?</p>""", re.DOTALL)
_VERSION = re.compile(r"\?v=[0-9a-f]{8}")  # Sphinx adds it to files that an earlier build left there
_INDEX = "searchindex.js"
_RUN_FACTS = re.compile(r"<div><dt>(Run time|Memory)</dt><dd>.*?</dd></div>", re.DOTALL)


def site_hash(folder: Path) -> str:
    """Hash of every file of a rendered site, with what belongs to single runs left out."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        if name == _INDEX or any(piece.startswith(".") for piece in name.split("/")):
            continue  # made from the pages, words of single runs included; and Sphinx's notes, such as .buildinfo
        content = normalised(path)
        digest.update(f"{name}:{len(content)}:".encode())
        digest.update(content)
    return digest.hexdigest()


def normalised(path: Path) -> bytes:
    """A file's bytes without what differs between two equal builds."""
    if path.suffix == ".html":
        text = STAMP.sub(r"\1\2", path.read_text(encoding="utf-8"))
        return _VERSION.sub("", _RUN_FACTS.sub("", _RUN_LINE.sub("", text))).encode()
    if path.suffix == ".ipynb":
        return json.dumps(
            _without_runs(json.loads(path.read_text(encoding="utf-8"))), sort_keys=True
        ).encode()
    return path.read_bytes()


def _without_runs(notebook: dict[str, Any]) -> dict[str, Any]:
    """An executed notebook without its summary's provenance, which tells of cost and date."""
    for cell in notebook.get("cells", []):
        cell["outputs"] = [o for o in cell.get("outputs", []) if provenance.MIME not in o.get("data", {})]
    return notebook


def stamp(folder: Path) -> str:
    """Write the site's hash into every page's footer; the hash."""
    found = site_hash(folder)
    for path in folder.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        stamped = STAMP.sub(rf"\g<1>{found[:12]}\2", text)
        if stamped != text:
            path.write_text(stamped, encoding="utf-8")
    return found
