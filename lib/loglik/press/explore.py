"""Figures that a reader can drag: one key figure of a chapter over a grid of one parameter.

``paper.yml`` names notebook, figure, parameter and values. :func:`make` sweeps them at a profile and stores
what the page needs beside the chapter's record: an SVG a value, and the numbers that its caption shows.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loglik import provenance, sources
from loglik.manifest import Manifest
from loglik.press import files, records
from loglik.press.project import Notebook, Project
from loglik.press.runner import Task
from loglik.press.sweep import Sweep, plan

SVG = "image/svg+xml"


def planned(project: Project, addresses: list[str], *, profile: str, threads: int = 1) -> dict[str, Sweep]:
    """The sweep of every chapter of `addresses` whose manifest has a figure to drag."""
    found = {}
    for address in addresses:
        wanted = project.manifest(address).raw.get("explore")
        if wanted is not None:
            points = [{wanted["parameter"]: value} for value in wanted["values"]]
            notebooks = [Notebook(address, wanted["notebook"])]
            found[address] = plan(project, notebooks, points, profile=profile, threads=threads)
    return found


def folder(project: Project, address: str) -> Path:
    """Where the frames of a chapter's figure stand."""
    return project.results / address / "explore"


def store(project: Project, address: str, sweep: Sweep) -> Path:
    """Store the frames of a finished sweep; the old ones are there until the new ones are whole.

    Raises
    ------
    LookupError
        When a run shows no such figure.
    """
    manifest = project.manifest(address)
    target = folder(project, address)
    work = target.with_name("explore.new")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    frames = [_frame(manifest, tasks[0], work, number) for number, tasks in enumerate(sweep.tasks)]
    files.write_json(
        work / "frames.json",
        {
            "schema": records.SCHEMA,
            "chapter": address,
            "profile": sweep.profile,
            **{key: manifest["explore"][key] for key in ("notebook", "figure", "parameter")},
            "frames": frames,
            "source_hash": _hash(manifest),
            "date": provenance.now(),
        },
    )
    shutil.rmtree(target, ignore_errors=True)
    work.rename(target)
    return target


def _frame(manifest: Manifest, task: Task, work: Path, number: int) -> dict[str, Any]:
    wanted = manifest["explore"]
    notebook = files.read_json(task.folder / "notebook.ipynb")
    svg = figure_of(notebook, wanted["figure"])
    if svg is None:
        raise LookupError(f"{task.notebook} shows no SVG named {wanted['figure']!r} in its outputs")
    name = f"{number}.svg"
    files.write_text(work / name, svg)
    summary = records.summary_of(task.folder / "notebook.ipynb") or {}
    numbers = summary.get("numbers", {}).get(wanted["figure"], {})
    return {"value": task.parameters[wanted["parameter"]], "file": name, "numbers": numbers}


def figure_of(notebook: Mapping[str, Any], name: str) -> str | None:
    """The SVG that the cell with that figure name shows; None where there is none."""
    for cell in notebook["cells"]:
        if cell["metadata"].get("mystnb", {}).get("figure", {}).get("name") != name:
            continue
        for output in cell.get("outputs", []):
            if SVG in output.get("data", {}):
                return "".join(output["data"][SVG])
    return None


def frames(root: Path, manifest: Manifest) -> dict[str, Any] | None:
    """The stored frames of a chapter, where they belong to today's notebook and manifest; else None."""
    found = files.read_json(root / "book" / "results" / manifest.address / "explore" / "frames.json")
    return None if found is None or stale(manifest, found) else dict(found)


def stale(manifest: Manifest, found: Mapping[str, Any]) -> bool:
    """Whether stored frames belong to another code, figure or grid than today's."""
    wanted = manifest.raw.get("explore")
    return (
        wanted is None
        or any(found[key] != wanted[key] for key in ("notebook", "figure", "parameter"))
        or [frame["value"] for frame in found["frames"]] != list(wanted["values"])
        or found["source_hash"] != _hash(manifest)
    )


def _hash(manifest: Manifest) -> str:
    """Of the notebook's science and of the numbers that it shows."""
    name = manifest["explore"]["notebook"]
    return f"{sources.source_hash(manifest, name)}-{sources.caption_hash(manifest, name)[:8]}"
