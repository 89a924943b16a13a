"""Sweeps: the same notebooks over a grid of parameters and seeds, as one tidy table of their claims."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loglik import claims, parameters, provenance, sources
from loglik.manifest import ClaimSpec, Manifest
from loglik.press import files, records, runner
from loglik.press.project import Limits, Notebook, Project
from loglik.press.runner import Outcome, Task

if TYPE_CHECKING:
    import pandas as pd

_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)")
Point = Mapping[str, Any]


def grid(texts: Iterable[str]) -> list[Point]:
    """The points that texts such as ``seed=0..9`` and ``n_reps=50,200`` span.

    A value is a range of integers with both its ends, or a list of YAML scalars between commas; lists
    stand in brackets (``ks=[1, 2],[3]``).

    Raises
    ------
    ValueError
        For a text without ``=``, an empty range or list, or a name given twice.
    """
    axes: dict[str, list[Any]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if not equals or not values.strip():
            raise ValueError(f"--grid takes NAME=VALUES, such as seed=0..9 or n_reps=50,200; got {text!r}")
        if name in axes:
            raise ValueError(f"--grid has {name!r} twice")
        axes[name] = _values(values)
    return [dict(zip(axes, point, strict=True)) for point in itertools.product(*axes.values())]


def _values(text: str) -> list[Any]:
    found = _RANGE.fullmatch(text.strip())
    if found is None:
        return list(parameters.value(f"[{text}]"))
    first, last = map(int, found.groups())
    if last < first:
        raise ValueError(f"the range {text} is empty; the first number must not be above the last")
    return list(range(first, last + 1))


@dataclass(frozen=True)
class Sweep:
    """A planned sweep: for each point its tasks; a notebook that lacks a parameter is shared by its points."""

    profile: str
    points: Sequence[Point]
    tasks: Sequence[Sequence[Task]]  # by point

    @property
    def distinct(self) -> list[Task]:
        """Every run once."""
        return list({task.folder: task for tasks in self.tasks for task in tasks}.values())

    @property
    def name(self) -> str:
        """The same for the same chapters, profile and grid."""
        notebooks = sorted({str(task.notebook) for task in self.distinct})
        text = json.dumps([notebooks, self.profile, list(self.points)], sort_keys=True)
        first = notebooks[0].split("/")[1] if notebooks else "empty"
        return f"{first}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def plan(
    project: Project,
    notebooks: Iterable[Notebook],
    points: Sequence[Point],
    *,
    profile: str,
    limits: Limits | None = None,
    threads: int = 1,
) -> Sweep:
    """Tasks of every point; raises like :func:`loglik.press.runner.plan`."""
    notebooks = list(notebooks)
    tasks = [
        runner.plan(project, notebooks, profile=profile, values=point, limits=limits, threads=threads)
        for point in points
    ]
    return Sweep(profile, points, tasks)


def run(
    sweep: Sweep,
    *,
    jobs: int = 1,
    force: bool = False,
    cluster: str | None = None,
    patience: float = 120.0,
    watch: Callable[[Task, str, Any], None] = lambda *_: None,
    tell: Callable[[str], None] = lambda _: None,
) -> list[Outcome]:
    """Run what isn't there yet, here or on a Dask cluster; the outcomes of the distinct tasks."""
    if cluster is None:
        return runner.run(sweep.distinct, jobs=jobs, force=force, watch=watch)
    from loglik.press import cluster as dask

    return dask.run(sweep.distinct, cluster, force=force, patience=patience, watch=watch, tell=tell)


# -- the table -----------------------------------------------------------------------------------------------


def table(project: Project, sweep: Sweep, outcomes: Iterable[Outcome]) -> pd.DataFrame:
    """One row for each claim at each point; a notebook without claims, or that failed, has one row.

    Columns: chapter, notebook, profile, the grid's parameters, state, claim, quantity, measured, low, high,
    verdict, held, wall_seconds, cpu_seconds, peak_memory_mb, key.
    """
    import pandas as pd

    ended = {outcome.task.folder: outcome for outcome in outcomes}
    rows = [
        row
        for point, tasks in zip(sweep.points, sweep.tasks, strict=True)
        for task in tasks
        for row in _rows(project, point, ended[task.folder])
    ]
    return pd.DataFrame(rows)


def _rows(project: Project, point: Point, outcome: Outcome) -> list[dict[str, Any]]:
    task = outcome.task
    shared = {
        "chapter": task.notebook.address,
        "notebook": task.notebook.name,
        "profile": task.profile,
        **{
            name: value if not isinstance(value, list) else json.dumps(value) for name, value in point.items()
        },
        "state": "failed" if outcome.failure else "ok",
    }
    costs = {name: getattr(outcome, name) for name in ("wall_seconds", "cpu_seconds", "peak_memory_mb")}
    judged = _claims_of(project, task) if outcome.failure is None else []
    return [{**shared, **claim, **costs, "key": task.key} for claim in judged or [_no_claim()]]


def _claims_of(project: Project, task: Task) -> list[dict[str, Any]]:
    summary = records.summary_of(task.folder / "notebook.ipynb") or {"claims": []}
    manifest = project.manifest(task.notebook.address)
    return [_claim(manifest.claim(found["id"]), found) for found in summary["claims"]]


def _claim(spec: ClaimSpec, found: Mapping[str, Any]) -> dict[str, Any]:
    low, high = found["interval"] or (None, None)
    numbers = {"measured": found["measured"], "low": low, "high": high}
    return {
        "claim": found["id"],
        "quantity": found["quantity"],
        **{name: None if value is None else float(value) for name, value in numbers.items()},
        "verdict": found["verdict"],
        "held": claims.held(spec, found),
    }


def _no_claim() -> dict[str, Any]:
    return dict.fromkeys(("claim", "quantity", "measured", "low", "high", "verdict", "held"))


# -- the picture ---------------------------------------------------------------------------------------------


def picture(found: pd.DataFrame, path: Path) -> Path | None:
    """Draw the spread of each claim over the sweep and how stable its verdict is; None without claims.

    One line a claim: every run's measurement with its interval, coloured by verdict, on the claim's own
    axis; at the right the share of each verdict.
    """
    import matplotlib.pyplot as plt

    judged = found[found["measured"].notna()] if len(found) else found
    groups = list(judged.groupby(["chapter", "claim"], sort=False))
    if not groups:
        return None
    figure, axes = plt.subplots(
        len(groups),
        2,
        figsize=(9.0, 0.9 + 0.62 * len(groups)),
        width_ratios=(5, 1),
        squeeze=False,
        layout="constrained",
    )
    one = len(set(judged["chapter"])) == 1
    for (spread, share), ((chapter, claim), runs) in zip(axes, groups, strict=True):
        _draw_spread(spread, runs, str(claim) if one else f"{chapter} {claim}")
        _draw_share(share, runs)
    axes[0, 0].set_title("each run's measurement, with its interval", loc="left", fontsize=9)
    axes[0, 1].set_title("verdicts", loc="left", fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    plt.close(figure)
    return path


def _draw_spread(axes: Any, runs: pd.DataFrame, name: str) -> None:
    finite = runs[runs["measured"].abs() < float("inf")]
    for height, (_, run) in enumerate(finite.iterrows()):
        colour = claims.COLOURS[str(run["verdict"])]
        if abs(run["low"]) < float("inf") and abs(run["high"]) < float("inf"):
            axes.plot([run["low"], run["high"]], [height, height], color=colour, alpha=0.5, linewidth=1)
        axes.plot(run["measured"], height, "o", color=colour, markersize=3.5)
    axes.set(yticks=[], ylim=(-1, max(len(finite), 1)))
    axes.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    axes.tick_params(axis="x", labelsize=7, length=2, pad=1)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _draw_share(axes: Any, runs: pd.DataFrame) -> None:
    start, counts = 0, runs["verdict"].value_counts()
    for verdict in claims.VERDICTS:
        count = int(counts.get(verdict, 0))
        axes.barh(0, count, left=start, color=claims.COLOURS[verdict], height=0.5)
        start += count
    held = int(runs["held"].sum())
    axes.set(xlim=(0, max(start, 1)), yticks=[], xticks=[], xlabel="")
    axes.text(
        start, -0.75, f"{held} of {start}", ha="right", va="center", fontsize=7
    )  # how often the criterion held
    axes.set_ylim(-1, 0.4)
    axes.spines[:].set_visible(False)


def write(found: pd.DataFrame, folder: Path) -> list[Path]:
    """Write ``claims.csv`` and, where there are claims, ``claims.svg``; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    files.write_text(folder / "claims.csv", found.to_csv(index=False))
    drawn = picture(found, folder / "claims.svg")
    return [folder / "claims.csv", *([drawn] if drawn else [])]


# -- what the scoreboard shows -------------------------------------------------------------------------------


def path_of(project: Project, address: str) -> Path:
    """Where a chapter's recorded sweep stands."""
    return project.results / address / "sweep.json"


def check_recordable(points: Sequence[Point]) -> None:
    """Refuse a grid over anything but the seed: the scoreboard counts seeds."""
    if any(set(point) != {"seed"} for point in points):
        raise ValueError("--record takes a grid over the seed alone, such as --grid seed=0..9")


def record(project: Project, sweep: Sweep, found: pd.DataFrame) -> list[Path]:
    """Store for each chapter in how many seeds the criterion of each claim held.

    Raises
    ------
    ValueError
        For a grid over anything but the seed, or a sweep in which a notebook failed.
    """
    check_recordable(sweep.points)
    failed = found[found["state"] == "failed"]
    if len(failed):
        raise ValueError(f"--record: {len(failed)} runs failed; a sweep is recorded whole or not at all")
    return [_record(project, sweep, str(address), rows) for address, rows in found.groupby("chapter")]


def _record(project: Project, sweep: Sweep, address: str, rows: pd.DataFrame) -> Path:
    manifest = project.manifest(address)
    judged = rows[rows["claim"].notna()]
    counted = {
        str(claim): {
            "held": int(runs["held"].sum()),
            "of": len(runs),
            "measured": [None if value != value else float(value) for value in runs["measured"]],
            "verdicts": list(runs["verdict"]),
        }
        for claim, runs in judged.groupby("claim", sort=False)
    }
    path = path_of(project, address)
    files.write_json(
        path,
        {
            "schema": records.SCHEMA,
            "chapter": address,
            "profile": sweep.profile,
            "seeds": [point["seed"] for point in sweep.points],
            "claims": claims.jsonable(counted),
            "source_hash": {
                name: sources.source_hash(manifest, name) for name in sorted(set(rows["notebook"]))
            },
            "device": provenance.device(),
            "date": provenance.now(),
        },
    )
    return path


def counts(manifest: Manifest, recorded: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """In how many of the swept seeds each claim held, for notebooks whose code is still the recorded one."""
    fresh = {
        name
        for name, value in recorded["source_hash"].items()
        if name in manifest.notebooks and value == sources.source_hash(manifest, name)
    }
    mine = {claim.id for claim in manifest.claims if claim.notebook in fresh}
    return {name: (run["held"], run["of"]) for name, run in recorded["claims"].items() if name in mine}
