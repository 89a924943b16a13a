"""The ``parameters`` cell of a notebook, read in the same form as papermill reads it.

papermill itself only warns about an unknown parameter and never checks a type, so a typo would run
the defaults and look like a success. :func:`check` refuses both.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

_PERCENT_CELL = re.compile(r"^# %%(?P<head>.*)$", re.MULTILINE)
_TYPE_COMMENT = re.compile(r"#\s*type:\s*(?P<type>[\w\[\], .]+?\]|\w+)\s+(?P<help>.*)$")
_HELP_COMMENT = re.compile(r"#\s*(?P<help>.*)$")
_TYPES: dict[str, type | tuple[type, ...]] = {
    "str": str,
    "int": int,
    "float": (int, float),
    "bool": bool,
    "list": (list, tuple),
    "dict": dict,
}


@dataclass(frozen=True)
class Parameter:
    """One line of the ``parameters`` cell."""

    name: str
    type: str  # as written: str, int, Optional[int], list[int], …
    default: Any
    help: str

    def accepts(self, value: Any) -> bool:
        """Whether `value` has the declared type (an int passes for a float, a bool never for an int)."""
        return _accepts(self.type, value)


def _accepts(type_name: str, value: Any) -> bool:
    outer, _, inner = type_name.partition("[")
    inner = inner.removesuffix("]")
    if outer == "Optional":
        return value is None or _accepts(inner, value)
    if isinstance(value, bool) and outer in ("int", "float"):
        return False
    if not isinstance(value, _TYPES.get(outer, object)):
        return False
    if isinstance(value, (list, tuple)) and inner:
        return all(_accepts(inner, item) for item in value)
    return True


def cells(source: str) -> list[tuple[str, str]]:
    """Split percent-format text into (head, body) pairs; what stands before the first cell is dropped."""
    marks = list(_PERCENT_CELL.finditer(source))
    ends = [*(mark.start() for mark in marks), len(source)][1:]
    return [
        (m["head"].strip(), source[m.end() : end].strip("\n")) for m, end in zip(marks, ends, strict=False)
    ]


def code_cells(source: str) -> list[str]:
    """The code cells of percent-format text, in order."""
    return [body for head, body in cells(source) if not head.startswith("[markdown]")]


def declared(source: str) -> tuple[Parameter, ...]:
    """Parameters that percent-format text declares; empty when it has no ``parameters`` cell."""
    for head, body in cells(source):
        if re.search(r"tags=\[[^\]]*\"parameters\"", head):
            return tuple(_parse(body))
    return ()


def _parse(body: str) -> Iterable[Parameter]:
    lines = body.splitlines()
    for node in ast.parse(body).body:
        line = lines[node.lineno - 1]
        comment = line[_end(node) :]
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            found = _HELP_COMMENT.search(comment)
            yield Parameter(
                node.target.id,
                ast.unparse(node.annotation),
                ast.literal_eval(node.value),
                found["help"] if found else "",
            )
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            typed = _TYPE_COMMENT.search(comment)
            default = ast.literal_eval(node.value)
            yield Parameter(
                node.targets[0].id,
                typed["type"] if typed else type(default).__name__,
                default,
                typed["help"] if typed else "",
            )
        else:
            raise ValueError(f"the parameters cell may only assign literals; found: {line!r}")


def _end(node: ast.stmt) -> int:
    return node.end_col_offset or 0


def check(given: Mapping[str, Any], known: Iterable[Parameter], where: str) -> None:
    """Refuse parameters that `where` does not declare or whose value has another type.

    Raises
    ------
    ValueError
        For an unknown name; names those allowed.
    TypeError
        For a value of the wrong type; names the declared one.
    """
    by_name = {parameter.name: parameter for parameter in known}
    unknown = sorted(set(given) - set(by_name))
    if unknown:
        raise ValueError(
            f"{where} has no parameter {', '.join(map(repr, unknown))}; allowed: {', '.join(by_name) or 'none'}"
        )
    for name, value in given.items():
        if not by_name[name].accepts(value):
            raise TypeError(
                f"{where}: {name} must be {by_name[name].type}, got {value!r} ({type(value).__name__})"
            )


def value(text: str) -> Any:
    """A value as a person types it: YAML, as papermill's ``-p`` reads it, and ``1e-3`` as the number it is."""
    return yaml.load(text, _Loader)


class _Loader(yaml.SafeLoader):
    """YAML 1.1 takes 1e-3, which has no point, for text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+$"), list("+-0123456789")
)


def injected(history: Iterable[str]) -> dict[str, Any]:
    """Values that papermill injected, found among the cells that a kernel has executed so far."""
    for cell in history:
        if not cell.startswith("# Parameters\n"):
            continue
        try:
            assignments = [node for node in ast.parse(cell).body if isinstance(node, ast.Assign)]
            return {
                a.targets[0].id: _literal(a.value) for a in assignments if isinstance(a.targets[0], ast.Name)
            }
        except SyntaxError:
            return {}
    return {}


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:  # papermill writes float('nan') and float('inf') as calls
        return float(ast.unparse(node).split("'")[1])
