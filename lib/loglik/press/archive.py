"""An offline archive: the site, the executed notebooks and the sources in one file that opens from disk."""

from __future__ import annotations

import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

from loglik.press import sitehash
from loglik.press.project import Project

FOLDER = "likelihood-reproduced"
_DATE = (1980, 1, 1, 0, 0, 0)  # zip's first day, so that two archives of one site are equal
_OPENING = """<!doctype html>
<meta charset="utf-8">
<title>Likelihood, Reproduced</title>
<meta http-equiv="refresh" content="0; url=site/book/index.html">
<a href="site/book/index.html">Open the book</a>
"""


def archive(project: Project) -> Path:
    """Pack the rendered site, the executed notebooks and every committed file.

    Returns
    -------
    Path
        ``_build/likelihood-reproduced-<hash>.zip``, whose ``index.html`` opens the book without a server.

    Raises
    ------
    FileNotFoundError
        Before the site has been rendered.
    """
    site = project.build / "html"
    if not (site / "book" / "index.html").is_file():
        raise FileNotFoundError("there is no rendered site to archive: loglik book")
    target = project.build / f"{FOLDER}-{sitehash.site_hash(site)[:12]}.zip"
    temporary = target.with_suffix(".tmp")
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as packed:
        _add(packed, "index.html", _OPENING.encode())
        for name, path in sorted(
            {**_tree(site, "site"), **_executed(project), **_committed(project)}.items()
        ):
            _add(packed, name, path.read_bytes())
    temporary.replace(target)
    return target


def _add(packed: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(f"{FOLDER}/{name}", _DATE)
    entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
    packed.writestr(entry, content)


def _tree(folder: Path, name: str) -> dict[str, Path]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {f"{name}/{path.relative_to(folder).as_posix()}": path for path in files}


def _executed(project: Project) -> dict[str, Path]:
    site = project.build / "site"
    return {f"executed/{path.relative_to(site).as_posix()}": path for path in site.rglob("*.ipynb")}


def _committed(project: Project) -> dict[str, Path]:
    """Every file that git knows: sources, notebooks, package data and records."""
    return {
        f"source/{name}": project.root / name for name in _names(project) if (project.root / name).is_file()
    }


def _names(project: Project) -> Iterator[str]:
    done = subprocess.run(
        ["git", "-C", str(project.root), "ls-files", "-z"], capture_output=True, text=True, check=True
    )
    return (name for name in done.stdout.split("\0") if name)
