"""What a notebook's result depends on, and a hash of it.

Two hashes, for two questions. *Must it run again?* is asked of the exact bytes of everything
(:func:`cache_key`). *Does a recorded result still belong to today's code?* is asked of the science alone
(:func:`source_hash`): comments, docstrings, prose and the house's own modules don't make a record stale.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from loglik import parameters
from loglik.manifest import Manifest

PACKAGE = Path(__file__).resolve().parent
# Modules that present results and never make one: their verdicts are recomputed from each record by a test.
HOUSE = ("chapter", "claims", "manifest", "parameters", "provenance", "sources", "cli", "press")
_NOT_DATA = {".py", ".pyc", ".pyi", ".typed", ".ipynb", ".yml"}


def module_file(name: str, package: Path = PACKAGE) -> Path | None:
    """File of a ``loglik`` module, or None where `name` isn't a module (a function, say)."""
    base = package.joinpath(*name.split(".")[1:])
    for candidate in (base / "__init__.py", base.with_suffix(".py")):
        if candidate.is_file():
            return candidate
    return None


def defines(name: str, package: Path = PACKAGE) -> bool:
    """Whether the dotted name of an object exists in the package's text; nothing is imported.

    The longest prefix that is a module is read; the rest has to be bound in it: by ``def``, ``class``, import or
    assignment, and within a class for a method.
    """
    pieces = name.split(".")
    for end in range(len(pieces), 1, -1):
        path = module_file(".".join(pieces[:end]), package)
        if path is not None:
            return _binds(ast.parse(path.read_text(encoding="utf-8")).body, pieces[end:])
    return False


def _binds(body: list[ast.stmt], rest: list[str]) -> bool:
    if not rest:
        return True
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == rest[0]:
            return _binds(node.body, rest[1:]) if isinstance(node, ast.ClassDef) else len(rest) == 1
        bound: list[str] = []
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            bound = [alias.asname or alias.name for alias in node.names]
        elif isinstance(node, ast.Assign):
            bound = [target.id for target in node.targets if isinstance(target, ast.Name)]
        if rest[0] in bound:
            return True
    return False


def imported_names(source: str, module: str = "") -> Iterator[str]:
    """Dotted names under ``loglik`` that Python text imports, wherever in it the import stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, module)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _absolute(node: ast.ImportFrom, module: str) -> str:
    if not node.level:
        return node.module or ""
    parents = module.split(".")[: -node.level]
    return ".".join([*parents, node.module or ""]).rstrip(".")


def reached(source: str, package: Path = PACKAGE) -> dict[str, Path]:
    """Every ``loglik`` module that Python text imports, directly or through others, with its file."""
    found: dict[str, Path] = {}
    todo = [*_modules(imported_names(source), package)]
    while todo:
        name, path = todo.pop()
        if name in found:
            continue
        found[name] = path
        own = name if path.name == "__init__.py" else name.rpartition(".")[0]
        todo += _modules(_imports_of(path, path.stat().st_mtime_ns, f"{own}.x"), package)
    return dict(sorted(found.items()))


@functools.lru_cache(maxsize=1024)
def _imports_of(path: Path, _modified: int, module: str) -> tuple[str, ...]:
    return tuple(imported_names(path.read_text(encoding="utf-8"), module))


def _modules(names: Iterable[str], package: Path) -> list[tuple[str, Path]]:
    """Existing modules among dotted names, with the packages that contain them."""
    result = []
    for name in names:
        pieces = name.split(".")
        if pieces[0] != "loglik":
            continue
        for end in range(1, len(pieces) + 1):
            dotted = ".".join(pieces[:end])
            path = module_file(dotted, package)
            if path is not None:
                result.append((dotted, path))
    return result


def notebook_source(manifest: Manifest, notebook: str) -> str:
    """Text of a notebook's ``.py``; a ``ValueError`` names the notebooks that the chapter has."""
    path = manifest.folder / f"{notebook}.py"
    if not path.exists():
        raise ValueError(
            f"{manifest.address} has no notebook {notebook!r}; it has: {', '.join(manifest.notebooks)}"
        )
    return path.read_text(encoding="utf-8")


def data_files(manifest: Manifest, modules: Mapping[str, Path]) -> list[Path]:
    """Data beside the notebooks, and beside those reached modules that are packages of their own.

    A part (``loglik.risk``) holds many papers, so what lies in its folder belongs to none of them:
    a paper with data is a package, ``loglik/<part>/<paper>/``.
    """
    folders = [manifest.folder] + [
        path.parent for name, path in modules.items() if path.name == "__init__.py" and name.count(".") >= 2
    ]
    files = {file for folder in folders for file in folder.rglob("*") if file.is_file()}
    return sorted(
        f
        for f in files
        if f.suffix not in _NOT_DATA and "__pycache__" not in f.parts and ".ipynb_checkpoints" not in f.parts
    )


def cache_key(
    manifest: Manifest,
    notebook: str,
    values: Mapping[str, Any],
    requirements: Path | None,
    package: Path = PACKAGE,
) -> str:
    """Hash of everything that an executed notebook depends on, to the byte.

    Code cells (not prose), parameters, the transitive ``loglik`` modules, data files, the manifest's
    claims, the pinned requirements and the Python version.
    """
    source = "\n".join(parameters.code_cells(notebook_source(manifest, notebook)))
    modules = reached(source, package)
    digest = hashlib.sha256()
    _feed(digest, "python", ".".join(map(str, sys.version_info[:3])).encode())
    _feed(digest, "code", source.encode())
    _feed(digest, "parameters", json.dumps(values, sort_keys=True).encode())
    _feed(digest, "claims", json.dumps(manifest["claims"], sort_keys=True).encode())
    for name, path in modules.items():
        _feed(digest, name, path.read_bytes())
    for path in data_files(manifest, modules):
        _feed(digest, path.name, path.read_bytes())
    if requirements is not None and requirements.exists():
        _feed(digest, "requirements", requirements.read_bytes())
    return digest.hexdigest()[:24]


def source_hash(manifest: Manifest, notebook: str, package: Path = PACKAGE) -> str:
    """Hash of the science behind a notebook: its code, the methods that it reaches, data, criteria."""
    source = "\n".join(parameters.code_cells(notebook_source(manifest, notebook)))
    modules = {
        name: path
        for name, path in reached(source, package).items()
        if name.split(".")[1:2] != [] and name.split(".")[1] not in HOUSE
    }
    digest = hashlib.sha256()
    _feed(digest, "code", _essence(source).encode())
    for name, path in modules.items():
        _feed(digest, name, _essence_of(path, path.stat().st_mtime_ns).encode())
    for path in data_files(manifest, modules):
        _feed(digest, path.name, path.read_bytes())
    rules = [(c.id, c.criterion.reproduced, c.criterion.partly, c.criterion.at_most) for c in manifest.claims]
    _feed(digest, "criteria", json.dumps(rules).encode())
    return digest.hexdigest()[:24]


def caption_hash(manifest: Manifest, notebook: str) -> str:
    """Hash of what a notebook only shows: the numbers beside its figures, which make no record stale."""
    source = "\n".join(parameters.code_cells(notebook_source(manifest, notebook)))
    said = [ast.unparse(node) for node in ast.walk(ast.parse(source)) if _is_caption(node)]
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:24]


def _feed(digest: Any, name: str, content: bytes) -> None:
    digest.update(f"{name}:{len(content)}:".encode())
    digest.update(content)


@functools.lru_cache(maxsize=4096)
def _essence_of(path: Path, _modified: int) -> str:
    """The essence of a module, read once: a rendered book asks for each of them hundreds of times."""
    return _essence(path.read_text(encoding="utf-8"))


def _essence(source: str) -> str:
    """Python text reduced to what it finds out: no comments, no docstrings, no layout, no numbers of captions.

    Written out by hand because ``ast.dump`` changes its form between Python versions.
    """
    return _dump(ast.parse(source))


def _dump(node: Any) -> str:
    if isinstance(node, list):
        kept = (item for item in node if not _is_docstring(item) and not _is_caption(item))
        return "[" + ",".join(map(_dump, kept)) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = ((name, value) for name, value in ast.iter_fields(node) if value is not None and value != [])
    inner = ",".join(f"{name}={_dump(value)}" for name, value in fields if name not in ("kind", "ctx"))
    return f"{type(node).__name__}({inner})"


def _is_docstring(node: Any) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _is_caption(node: Any) -> bool:
    """A statement ``chapter.numbers(…)``: it shows what was computed, and computes nothing that counts."""
    if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        return False
    return ast.unparse(node.value.func) == "chapter.numbers"
