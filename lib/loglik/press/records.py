"""Records: the claims and the provenance of a chapter's run, small enough for git and made to be diffed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from loglik import claims, provenance, sources
from loglik.manifest import Manifest
from loglik.press import files
from loglik.press.project import Project
from loglik.press.runner import Task, is_finished, plan

SCHEMA = 1


def collect(project: Project, address: str, profile: str) -> dict[str, Any]:
    """The record of a chapter from its finished runs at `profile`.

    Raises
    ------
    LookupError
        When a notebook has no finished run of today's code; names it and the command that makes one.
    """
    tasks = plan(project, project.notebooks(address), profile=profile)
    missing = [str(task.notebook) for task in tasks if not is_finished(task)]
    if missing:
        raise LookupError(
            f"no finished run of {', '.join(missing)}: loglik run {address} --profile {profile}"
        )
    runs = {task.notebook.name: _run(task) for task in tasks}
    manifest = project.manifest(address)
    judged = {claim["id"]: claim for run in runs.values() for claim in run["claims"]}
    return {
        "schema": SCHEMA,
        "chapter": address,
        "profile": profile,
        "claims": [judged[spec.id] for spec in manifest.claims if spec.id in judged],
        "provenance": _provenance(profile, runs),
    }


def _run(task: Task) -> dict[str, Any]:
    """What the notebook's summary said, with the costs that the press measured around it."""
    summary = summary_of(task.folder / "notebook.ipynb")
    if summary is None:
        raise LookupError(f"{task.notebook} does not end with chapter.summary()")
    measured = files.read_json(task.folder / "run.json")
    return {
        **summary,
        **{key: measured[key] for key in ("wall_seconds", "cpu_seconds", "peak_memory_mb", "date")},
    }


def summary_of(path: Path) -> dict[str, Any] | None:
    """The JSON that ``chapter.summary()`` left in an executed notebook; None where there is none."""
    notebook = files.read_json(path) or {}
    for cell in reversed(notebook.get("cells", [])):
        for output in cell.get("outputs", []):
            if provenance.MIME in output.get("data", {}):
                return dict(output["data"][provenance.MIME])
    return None


def _provenance(profile: str, runs: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    last = max(runs.values(), key=lambda run: run["date"])
    each = ("source_hash", "parameters", "wall_seconds", "cpu_seconds", "peak_memory_mb", "date")
    return {
        "profile": profile,
        "parameters": {name: run["parameters"] for name, run in runs.items()},
        "seeds": sorted({run["seed"] for run in runs.values()}),
        "revision": last["revision"],
        "dirty": any(run["dirty"] for run in runs.values()),
        "source_hash": combined_hash(run["source_hash"] for run in runs.values()),
        "versions": dict(sorted({k: v for run in runs.values() for k, v in run["versions"].items()}.items())),
        "device": last["device"],
        "cores": last["cores"],
        "wall_seconds": round(sum(run["wall_seconds"] for run in runs.values()), 2),
        "cpu_seconds": round(sum(run["cpu_seconds"] for run in runs.values()), 2),
        "peak_memory_mb": max(run["peak_memory_mb"] for run in runs.values()),
        "date": last["date"],
        "notebooks": {name: {key: run[key] for key in each} for name, run in runs.items()},
    }


def combined_hash(hashes: Iterable[str]) -> str:
    """One hash for a chapter from those of its notebooks."""
    return hashlib.sha256("".join(hashes).encode()).hexdigest()[:24]


def path_of(project: Project, address: str, profile: str) -> Path:
    """Where a record stands."""
    return project.results / address / f"{profile}.json"


def record(project: Project, address: str, profile: str) -> Path:
    """Store the record of a chapter's finished runs and give its path."""
    path = path_of(project, address, profile)
    files.write_json(path, collect(project, address, profile))
    return path


def problems(manifest: Manifest, found: Mapping[str, Any]) -> list[str]:
    """Why a record doesn't belong to today's chapter; empty when it does.

    The source hash tells whether code, data and criteria are the same. The verdicts are judged again from
    the recorded measurements, so a change in how verdicts are computed can't hide behind an old record.
    """
    where = f"{manifest.address} ({found['profile']})"
    result = [
        f"{where}: {name} has changed since; run it again and `loglik record` it"
        for name in manifest.notebooks
        if found["provenance"]["notebooks"].get(name, {}).get("source_hash")
        != sources.source_hash(manifest, name)
    ]
    recorded = {claim["id"]: claim for claim in found["claims"]}
    for spec in manifest.claims:
        if spec.id not in recorded:
            result.append(f"{where}: claim {spec.id} has no verdict")
        elif claims.verdict_again(spec, recorded[spec.id]) != recorded[spec.id]["verdict"]:
            result.append(f"{where}: the verdict of {spec.id} isn't the one that its criterion gives")
    result += [
        f"{where}: {extra} is no claim of paper.yml"
        for extra in recorded
        if extra not in {c.id for c in manifest.claims}
    ]
    return result
