"""From executed notebooks to pages: outputs go into jupyter-cache, jupyter-book does the rest.

Nothing in the source tree is touched. The notebooks' ``.py`` files are what Sphinx reads; it finds their
outputs in ``_build/.jupyter_cache``, so it executes nothing, and edit links and run statistics stay right.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat

from loglik.press import files, pairs, sitehash
from loglik.press.project import Project
from loglik.press.runner import Task, is_finished, plan


def render(project: Project, profile: str, *, strict: bool = True, quiet: bool = False) -> int:
    """Render the site from the runs at `profile`; jupyter-book's exit status.

    `strict` turns warnings into errors. A notebook that failed is shown with its partial outputs and a
    banner; one that never ran is shown without outputs.
    """
    prepare(project, profile)
    status = _build(project, strict=strict, quiet=quiet)
    if (project.build / "html" / "book" / "index.html").is_file():
        sitehash.stamp(project.build / "html")
    return status


def _build(project: Project, *, strict: bool, quiet: bool) -> int:
    """Call jupyter-book; with `quiet`, its words go to a log and only warnings and errors are shown."""
    flags = ["-n", "-W", "--keep-going"] if strict else []
    log = project.build / "site" / "jupyter-book.log"
    command = [str(Path(sys.executable).with_name("jupyter-book")), "build", ".", *flags]
    environment = {
        **os.environ,
        "SOURCE_DATE_EPOCH": _commit_time(project.root),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    if not quiet:
        return subprocess.run(command, cwd=project.root, env=environment, check=False).returncode
    with log.open("w") as out:
        status = subprocess.run(
            command, cwd=project.root, env=environment, stdout=out, stderr=subprocess.STDOUT, check=False
        ).returncode
    if status:
        lines = log.read_text(errors="replace").splitlines()
        problems = [line for line in lines if "WARNING" in line or "ERROR" in line] or lines[-20:]
        print("\n".join(problems), file=sys.stderr)
    return status


def _commit_time(root: Path) -> str:
    """Time of the last commit, so that two builds of one revision are equal."""
    found = subprocess.run(
        ["git", "-C", str(root), "log", "-1", "--format=%ct"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "0"


def prepare(project: Project, profile: str) -> dict[str, Any]:
    """Lay out what Sphinx reads: outputs for the cache, notebooks to download, the state of each page."""
    pages = set(project.pages())
    tasks = [
        task
        for address in project.addresses()
        for task in plan(project, project.notebooks(address), profile=profile)
        if task.notebook.page in pages
    ]
    state = {task.notebook.page: _place(project, task) for task in tasks}
    site = project.build / "site"
    files.write_json(site / "state.json", state)
    _fill_cache(project, tasks)
    return state


def _place(project: Project, task: Task) -> dict[str, Any]:
    """Put the executed notebook where the page finds it; what the page should say about it."""
    target = project.build / "site" / task.notebook.address / f"{task.notebook.name}.ipynb"
    state = _state(project, task)
    source = _executed(task)
    if source is None:
        target.unlink(missing_ok=True)
    elif not target.exists() or target.read_bytes() != source.read_bytes():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        _forget_page(project, task)
    return state


def _state(project: Project, task: Task) -> dict[str, Any]:
    if is_finished(task):
        found, state, error = files.read_json(task.folder / "run.json"), "ok", None
    elif (found := files.read_json(task.failed_folder / "failure.json")) is not None:
        state, error = "failed", dict(found["error"])
        if error["notebook"]:
            error["notebook"] = str(Path(error["notebook"]).relative_to(project.root))
    else:
        return {
            "state": "not run",
            "profile": task.profile,
            "wall_seconds": None,
            "peak_memory_mb": None,
            "error": None,
        }
    numbers = {key: found[key] for key in ("wall_seconds", "cpu_seconds", "peak_memory_mb")}
    return {"state": state, "profile": task.profile, **numbers, "error": error}


def _executed(task: Task) -> Path | None:
    for folder in (task.folder, task.failed_folder):
        if (folder / "notebook.ipynb").exists():
            return folder / "notebook.ipynb"
    return None


def _forget_page(project: Project, task: Task) -> None:
    """Make Sphinx read the page again: it sees a changed source, but not changed outputs."""
    (project.build / ".doctrees" / f"{task.notebook.page}.doctree").unlink(missing_ok=True)


def _fill_cache(project: Project, tasks: list[Task]) -> None:
    """Give jupyter-cache every page's outputs. It would execute a page that it doesn't know, so none is left out."""
    from jupyter_cache import get_cache
    from jupyter_cache.base import CacheBundleIn

    folder = project.build / ".jupyter_cache"
    known = project.build / "site" / "cached.json"
    wanted = {task.notebook.page: _fingerprint(task) for task in tasks}
    there = (files.read_json(known) or {}) if folder.is_dir() else {}
    if there == wanted:
        return
    if set(there) != set(wanted):
        there = {}
        shutil.rmtree(folder, ignore_errors=True)
    cache = get_cache(str(folder))
    for task in tasks:
        if there.get(task.notebook.page) == wanted[task.notebook.page]:
            continue
        page = task.source.with_suffix(".py")
        executed = _executed(task)
        notebook = with_outputs(page, executed)
        seconds = (files.read_json(task.folder / "run.json") or {}).get("wall_seconds", 0.0)
        bundle = CacheBundleIn(nb=notebook, uri=str(page), data={"execution_seconds": seconds})
        cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
    files.write_json(known, wanted)


def _fingerprint(task: Task) -> list[Any]:
    executed = _executed(task)
    page = task.source.with_suffix(".py").read_text(encoding="utf-8")
    stamp = [str(executed), executed.stat().st_mtime_ns] if executed else []
    return [page, *stamp]


def with_outputs(page: Path, executed: Path | None) -> Any:
    """The page's notebook with the outputs of an executed one.

    Outputs only: jupyter-cache compares all cell metadata, so papermill's must stay behind.

    Raises
    ------
    ValueError
        When the executed notebook's code isn't the page's.
    """
    notebook = pairs.read(page)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    run = _code_cells(executed) if executed else []
    for number, cell in enumerate(code):
        cell["execution_count"] = number + 1
        if number < len(run):
            if run[number].source.strip() != cell.source.strip():
                raise ValueError(f"{page.name}: code cell {number + 1} isn't the one that was executed")
            cell["outputs"] = run[number].outputs
    return notebook


def _code_cells(path: Path) -> list[Any]:
    """The code cells of a run, without those that papermill added."""
    added = {"injected-parameters", "papermill-error-cell-tag"}
    notebook = nbformat.read(path, as_version=4)
    return [
        cell
        for cell in notebook.cells
        if cell.cell_type == "code" and not added & set(cell.metadata.get("tags", []))
    ]
