"""Notebooks in pairs: the ``.py`` is written by people, the ``.ipynb`` is made from it, always the same bytes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import jupytext
import nbformat

from loglik.press import files
from loglik.press.project import Project

HEADER = """\
# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---
"""
_BOOTSTRAP = re.compile(
    r"^try:\n    import loglik.*?\nexcept ModuleNotFoundError.*?\n(?=\n*^\S)", re.MULTILINE | re.DOTALL
)


def read(path: Path) -> Any:
    """A percent-format notebook as an nbformat notebook, read as the book reads it."""
    return jupytext.reads(path.read_text(encoding="utf-8"), fmt="py:percent")


def ipynb(path: Path) -> str:
    """Text of the ``.ipynb`` that belongs to a ``.py``: no outputs, numbered cell ids, sorted keys."""
    notebook = read(path)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:03d}"
    notebook.metadata = {
        "jupytext": {"formats": "ipynb,py:percent"},
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return str(nbformat.writes(notebook, version=nbformat.NO_CONVERT, indent=1, sort_keys=True)) + "\n"


def bootstrap(repository: str, version: str, packages: tuple[str, ...] = ()) -> str:
    """The first lines of every set-up cell: they install ``loglik`` where it is missing, and only there.

    On Colab without dependencies, because a package that pulls another NumPy under a running kernel asks
    for a restart; `packages` are the few that Colab lacks.
    """
    wanted = " ".join([*packages, f"git+{repository}@v{version}"])
    return f"""\
try:
    import loglik  # noqa: F401
except ModuleNotFoundError:  # Colab, or a kernel without the package
    import sys

    from IPython import get_ipython

    flags = "--no-deps" if "google.colab" in sys.modules else ""
    packages = "{wanted}"
    get_ipython().run_line_magic("pip", f"install -q {{flags}} {{packages}}")
"""


def settings(project: Project) -> dict[str, str]:
    """Repository address and version, from ``pyproject.toml``: the one place where they are set."""
    with (project.root / "pyproject.toml").open("rb") as file:
        data = tomllib.load(file)["project"]
    return {"repository": data["urls"]["Repository"], "version": data["version"]}


def with_bootstrap(text: str, lines: str) -> str:
    """Notebook text with its bootstrap lines replaced by `lines`; unchanged where it has none."""
    return _BOOTSTRAP.sub(lambda _: lines, text, count=1)


def pair(project: Project, *, write: bool = True) -> list[Path]:
    """Bring every pair up to date and give the files that had to change (or would, without `write`)."""
    current = settings(project)
    changed = []
    for address in project.addresses():
        manifest = project.manifest(address)
        lines = bootstrap(current["repository"], current["version"], tuple(manifest.raw.get("colab", ())))
        for name in manifest.notebooks:
            source = manifest.folder / f"{name}.py"
            text = source.read_text(encoding="utf-8")
            changed += _update(source, with_bootstrap(text, lines), write)
            changed += _update(source.with_suffix(".ipynb"), ipynb(source), write)
    return changed


def _update(path: Path, text: str, write: bool) -> list[Path]:
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return []
    if write:
        files.write_text(path, text)
    return [path]
