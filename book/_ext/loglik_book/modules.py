"""Pages of source: found on disk, so that a small edit doesn't import every method with torch and JAX behind it."""

from __future__ import annotations

from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer

from loglik import sources

_imported = ModuleAnalyzer.get_module_source


def find(name: str) -> tuple[str | None, str | None]:
    """File of a module of the package, without importing it; Sphinx reads it. Others as Sphinx finds them."""
    path = sources.module_file(name) if name.split(".")[0] == "loglik" else None
    return (str(path), None) if path else _imported(name)


def connect(app: Sphinx) -> None:
    """Give Sphinx this way to a module's text; it asks for each module at every build."""
    ModuleAnalyzer.get_module_source = staticmethod(find)  # type: ignore[method-assign]
