"""Runs notebooks: what is fresh is kept, what is stale runs, what fails never takes the others with it.

Each run has a folder ``_build/runs/<part>/<paper>/<notebook>/<key>``, named by the hash of everything that
its result depends on. A run works in a folder of another name and is renamed when it is whole, so a folder
named by a key *is* a result: there is no half of one, and an interrupted command goes on where it stopped.
"""

from __future__ import annotations

import itertools
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import psutil

from loglik import parameters, provenance, sources
from loglik.press import files
from loglik.press.project import LIMITS, Limits, Notebook, Project

State = Literal["cached", "ok", "failed"]
_POLL_SECONDS = 0.2
_THREAD_CAPS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)
_MACHINE = platform.node()  # machines of a cluster share the folder
_counter = itertools.count()


@dataclass(frozen=True)
class Task:
    """One notebook to run; plain data, so that any executor on any machine can take it."""

    notebook: Notebook
    profile: str
    parameters: Mapping[str, Any]
    key: str
    source: Path  # the .ipynb
    folder: Path  # where the finished run will stand
    limits: Limits
    threads: int

    @property
    def failed_folder(self) -> Path:
        """Where the latest failed run of this key is kept."""
        return self.folder.with_name(f"{self.key}.failed")


@dataclass(frozen=True)
class Failure:
    """Why a notebook did not finish."""

    line: str
    cell: int | None
    cells: int | None
    notebook: Path | None  # the partial notebook, when there is one


@dataclass(frozen=True)
class Outcome:
    """How one task ended."""

    task: Task
    state: State
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory_mb: float = 0.0
    failure: Failure | None = None


def plan(
    project: Project,
    notebooks: Iterable[Notebook],
    *,
    profile: str,
    values: Mapping[str, Any] | None = None,
    limits: Limits | None = None,
    threads: int = 1,
) -> list[Task]:
    """Tasks for `notebooks` at a profile, with further parameters.

    Each notebook gets those of `values` that it declares; one that none of them declares is an error.

    Raises
    ------
    ValueError, TypeError
        For an unknown profile, or a parameter that a notebook doesn't have or of another type.
    """
    if profile not in LIMITS:
        raise ValueError(f"unknown profile {profile!r}; allowed: {', '.join(LIMITS)}")
    notebooks, values = list(notebooks), dict(values or {})
    declared = {
        n: parameters.declared(sources.notebook_source(project.manifest(n.address), n.name))
        for n in notebooks
    }
    _refuse_unknown(values, declared)
    tasks = []
    for notebook, known in declared.items():
        manifest = project.manifest(notebook.address)
        names = {parameter.name for parameter in known}
        # The notebooks' own default is "book": leaving it out keeps an extra cell off the page.
        given = {} if profile == "book" else {"profile": profile}
        given |= {name: value for name, value in values.items() if name in names}
        parameters.check(given, known, str(notebook))
        key = sources.cache_key(manifest, notebook.name, given, project.requirements)
        tasks.append(
            Task(
                notebook=notebook,
                profile=profile,
                parameters=given,
                key=key,
                source=manifest.folder / f"{notebook.name}.ipynb",
                folder=project.build / "runs" / notebook.address / notebook.name / key,
                limits=limits or LIMITS[profile],
                threads=threads,
            )
        )
    return tasks


def _refuse_unknown(
    values: Mapping[str, Any], declared: Mapping[Notebook, tuple[parameters.Parameter, ...]]
) -> None:
    every = {parameter.name: parameter for known in declared.values() for parameter in known}
    if declared:
        names = ", ".join(map(str, declared)) if len(declared) < 4 else f"{len(declared)} notebooks"
        parameters.check({name: values[name] for name in values if name not in every}, every.values(), names)


def run(
    tasks: Iterable[Task],
    *,
    jobs: int = 1,
    force: bool = False,
    executor: Executor | None = None,
    watch: Callable[[Task, str, Any], None] = lambda *_: None,
) -> list[Outcome]:
    """Run what isn't there yet and give the outcome of every task, in their order.

    Parameters
    ----------
    tasks : iterable of Task
    jobs : int
        How many notebooks at once, with the default executor.
    force : bool
        Run also what has a finished folder.
    executor : concurrent.futures.Executor, optional
        Who runs them. The default is a pool of threads that each wait for a process: a notebook that
        kills its process then breaks nothing, which a pool of processes can't promise.
    watch : callable
        Told ``(task, "started" | "progress" | "finished", detail)``, for the terminal.
    """
    tasks = list(tasks)
    outcomes: dict[int, Outcome] = {}
    pending: dict[Future[Outcome], int] = {}
    own = executor is None
    executor = executor or ThreadPoolExecutor(max(1, jobs))
    try:
        for number in sorted(range(len(tasks)), key=lambda n: -expected_seconds(tasks[n])):
            task = tasks[number]
            if not force and is_finished(task):
                outcomes[number] = cached(task)
                watch(task, "finished", outcomes[number])
            else:
                _sweep(task)
                pending[executor.submit(execute, task, force)] = number
        _collect(tasks, pending, outcomes, watch)
    except BaseException:
        for future in pending:
            future.cancel()
        _stop_all()
        raise
    finally:
        if own:
            executor.shutdown(wait=True, cancel_futures=True)
    return [outcomes[number] for number in range(len(tasks))]


def _collect(
    tasks: list[Task],
    pending: dict[Future[Outcome], int],
    outcomes: dict[int, Outcome],
    watch: Callable[[Task, str, Any], None],
) -> None:
    started: set[int] = set()
    while len(outcomes) < len(tasks):
        for future, number in pending.items():
            if number in outcomes:
                continue
            if future.done():
                outcomes[number] = future.result()
                watch(tasks[number], "finished", outcomes[number])
            elif future.running():
                if number not in started:
                    started.add(number)
                    watch(tasks[number], "started", None)
                watch(tasks[number], "progress", _progress(tasks[number]))
        time.sleep(_POLL_SECONDS)


def _progress(task: Task) -> dict[str, Any]:
    newest = max(_work_folders(task), key=lambda folder: folder.stat().st_mtime, default=None)
    return (files.read_json(newest / "progress.json") or {}) if newest else {}


def is_finished(task: Task) -> bool:
    """Whether the task's result is there, whole."""
    return (task.folder / "run.json").exists()


def cached(task: Task) -> Outcome:
    """The outcome that a finished folder tells of."""
    found = files.read_json(task.folder / "run.json")
    numbers = {name: found[name] for name in ("wall_seconds", "cpu_seconds", "peak_memory_mb")}
    return Outcome(task, "cached", **numbers)


def expected_seconds(task: Task) -> float:
    """How long the task took last time under any key, else a guess; for the order and the bar."""
    siblings = task.folder.parent.glob("*/run.json") if task.folder.parent.is_dir() else []
    found = [files.read_json(path) for path in siblings]
    same = [run["wall_seconds"] for run in found if run and run["profile"] == task.profile]
    return float(same[-1]) if same else {"smoke": 10.0, "book": 40.0}.get(task.profile, 600.0)


# -- one task ------------------------------------------------------------------------------------------------

_children: set[int] = set()


def execute(task: Task, replace_finished: bool = False) -> Outcome:
    """Run one task in a process of its own and watch its limits; never raises for what the notebook does."""
    work = task.folder.with_name(f"{task.key}.work-{_MACHINE}-{os.getpid()}-{next(_counter)}")
    work.mkdir(parents=True)
    files.write_json(
        work / "task.json",
        {"source": str(task.source), "parameters": dict(task.parameters), "cwd": str(task.source.parent)},
    )
    peak, stopped = _supervise(task, work)
    usage = files.read_json(work / "usage.json") or {"wall_seconds": 0.0, "cpu_seconds": 0.0}
    outcome = Outcome(task, "ok", **usage, peak_memory_mb=peak)
    error = files.read_json(work / "error.json")
    if stopped or error or not (work / "usage.json").exists():
        return _keep_failure(outcome, work, stopped, error)
    _finish(outcome, work, replace_finished)
    return outcome


def _supervise(task: Task, work: Path) -> tuple[float, str | None]:
    """Wait for the child; its peak memory (MB) and, where a limit was passed, which."""
    environment = {
        **dict.fromkeys(_THREAD_CAPS, str(task.threads)),
        **os.environ,  # what the caller says of threads wins
        "PYTHONHASHSEED": "0",
        "JUPYTER_PREFER_ENV_PATH": "1",  # the kernel of this interpreter, not one that the user registered
        "LOGLIK_OUTPUT": str(work / "files"),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    environment.pop("MPLBACKEND", None)
    with (work / "log.txt").open("wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "loglik.press.execute", str(work)],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    _children.add(child.pid)
    start, peak, stopped = time.perf_counter(), 0.0, None
    try:
        while child.poll() is None and stopped is None:
            peak = max(peak, _memory_mb(child.pid))
            stopped = _over(task.limits, time.perf_counter() - start, peak)
            time.sleep(_POLL_SECONDS)
    finally:
        _stop(child.pid)
        child.wait()
        _children.discard(child.pid)
    return round(peak, 1), stopped


def _over(limits: Limits, seconds: float, memory_mb: float) -> str | None:
    if limits.seconds is not None and seconds > limits.seconds:
        return f"TimeLimit: stopped after {limits.seconds:,.0f} s, the limit of this profile"
    if limits.memory_mb is not None and memory_mb > limits.memory_mb:
        return f"MemoryLimit: stopped at {memory_mb:,.0f} MB, over the limit of {limits.memory_mb:,.0f} MB"
    return None


def _memory_mb(pid: int) -> float:
    """Resident memory of a process and all its descendants."""
    total = 0
    for process in _family(pid):
        try:
            total += process.memory_info().rss
        except psutil.Error:
            continue
    return total / 1e6


def _family(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def _stop(pid: int) -> None:
    """Kill a process and its descendants; the kernel runs in a session of its own, so a group won't do."""
    for process in _family(pid):
        try:
            process.send_signal(signal.SIGKILL)
        except psutil.Error:
            continue


def _stop_all() -> None:
    for pid in list(_children):
        _stop(pid)


def _finish(outcome: Outcome, work: Path, replace_finished: bool) -> None:
    task = outcome.task
    _normalise(work / "notebook.ipynb")
    for name in ("task.json", "progress.json", "usage.json", "log.txt"):
        (work / name).unlink(missing_ok=True)
    files.write_json(work / "run.json", _run_record(outcome))
    shutil.rmtree(task.failed_folder, ignore_errors=True)
    if replace_finished:
        shutil.rmtree(task.folder, ignore_errors=True)
    files.publish(work, task.folder)


def _run_record(outcome: Outcome) -> dict[str, Any]:
    task = outcome.task
    return {
        "notebook": str(task.notebook),
        "profile": task.profile,
        "parameters": dict(task.parameters),
        "key": task.key,
        "threads": task.threads,
        "wall_seconds": outcome.wall_seconds,
        "cpu_seconds": outcome.cpu_seconds,
        "peak_memory_mb": outcome.peak_memory_mb,
        "date": provenance.now(),
    }


def _normalise(path: Path) -> None:
    """Take out what differs between two equal runs: random ids, papermill's time stamps and paths."""
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.pop("papermill", None)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:03d}"
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if not cell.metadata.get("tags", True):
            cell.metadata.pop("tags")
    nbformat.write(notebook, path)


def _keep_failure(outcome: Outcome, work: Path, stopped: str | None, error: Any) -> Outcome:
    """Put the partial notebook where the report can name it, and tell what happened."""
    task = outcome.task
    progress = files.read_json(work / "progress.json") or {}
    line = stopped or (error or {}).get("line") or _last_line(work / "log.txt")
    shutil.rmtree(task.failed_folder, ignore_errors=True)
    work.rename(task.failed_folder)
    partial = task.failed_folder / "notebook.ipynb"
    failure = Failure(
        line, progress.get("cell"), progress.get("cells"), partial if partial.exists() else None
    )
    report = {**_run_record(outcome), "error": {**asdict(failure), "notebook": str(failure.notebook or "")}}
    files.write_json(task.failed_folder / "failure.json", report)
    return replace(outcome, state="failed", failure=failure)


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1] if lines else "the process ended without a word (killed?)"


def _work_folders(task: Task) -> list[Path]:
    if not task.folder.parent.is_dir():
        return []
    return [path for path in task.folder.parent.iterdir() if path.name.startswith(f"{task.key}.work-")]


def _sweep(task: Task) -> None:
    """Remove what a killed command left of this notebook here; a living one's work and other machines' stay."""
    if not task.folder.parent.is_dir():
        return
    for folder in task.folder.parent.glob(f"*.work-{_MACHINE}-*"):
        owner = int(folder.name.split("-")[-2])
        if owner != os.getpid() and not psutil.pid_exists(owner):
            shutil.rmtree(folder, ignore_errors=True)
