"""Binder's pins: those of ``requirements.txt`` that a reader's kernel needs, and no others."""

from __future__ import annotations

import importlib.metadata
import re

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from loglik.press import files
from loglik.press.project import Project

# What a chapter needs in a kernel: methods, frameworks, papermill. The book's tools and the tests stay out.
EXTRAS = ("torch", "jax", "data", "risk", "generative", "language", "run")
CPU_INDEX = "--extra-index-url https://download.pytorch.org/whl/cpu"


def pins(project: Project) -> dict[str, str]:
    """The exact pins of ``requirements.txt`` by canonical name."""
    lines = project.requirements.read_text(encoding="utf-8").splitlines()
    found = (re.match(r"^([A-Za-z0-9._-]+)==(\S+)", line) for line in lines)
    return {str(canonicalize_name(m[1])): m[2] for m in found if m}


def needed(extras: tuple[str, ...] = EXTRAS) -> set[str]:
    """Canonical names of everything that ``loglik`` with `extras` needs, directly or through others.

    Read from the metadata of the environment, which is the one that ``requirements.txt`` made.
    """
    seen: set[str] = set()
    todo: list[tuple[str, tuple[str, ...]]] = [("loglik", extras)]
    while todo:
        name, wanted = todo.pop()
        for line in importlib.metadata.requires(name) or []:
            requirement = Requirement(line)
            applies = requirement.marker is None or any(
                requirement.marker.evaluate({"extra": extra}) for extra in (*wanted, "")
            )
            dependency = str(canonicalize_name(requirement.name))
            if applies and dependency not in seen:
                seen.add(dependency)
                todo.append((dependency, tuple(requirement.extras)))
    return seen - {"loglik"}


def text(project: Project) -> str:
    """``binder/requirements.txt``: pins only.

    A line that names a local file would make Binder install everything again for each commit.
    """
    known = pins(project)
    missing = sorted(needed() - set(known))
    if missing:
        raise LookupError(f"requirements.txt has no pin for {', '.join(missing)}: make lock")
    lines = [f"{name}=={known[name]}" for name in sorted(needed())]
    return (
        "\n".join(
            ["# Made from ../requirements.txt by `loglik lock`; torch is the CPU build.", CPU_INDEX, *lines]
        )
        + "\n"
    )


def update(project: Project, *, write: bool = True) -> bool:
    """Bring ``binder/requirements.txt`` up to date; whether it had to change."""
    path = project.root / "binder" / "requirements.txt"
    wanted = text(project)
    if path.exists() and path.read_text(encoding="utf-8") == wanted:
        return False
    if write:
        files.write_text(path, wanted)
    return True
