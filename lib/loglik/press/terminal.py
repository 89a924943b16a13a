"""What a person sees while notebooks run: one line each, and a bar with the time left."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from loglik.press.runner import Outcome, Task, expected_seconds

_MARKS = {"ok": "[green]✓[/] ran", "cached": "[dim]· fresh[/]", "failed": "[red]✗ failed[/]"}


class Terminal:
    """Shows a run. On a terminal lines move; in a log each notebook gets one line when it is done."""

    def __init__(self, tasks: list[Task], jobs: int, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self._width = max((len(str(task.notebook)) for task in tasks), default=0)
        self._expected = {task.folder: expected_seconds(task) for task in tasks}
        self._done: dict[Any, float] = dict.fromkeys(self._expected, 0.0)
        self._jobs = max(1, jobs)
        self._count, self._total = 0, len(tasks)
        self._lines: dict[Any, Any] = {}
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self._overall = self._bar.add_task("all notebooks", total=1.0, detail="")

    def __enter__(self) -> Terminal:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def watch(self, task: Task, event: str, detail: Any) -> None:
        """Told by the runner what happens to a task."""
        if event == "started":
            self._lines[task.folder] = self._bar.add_task(str(task.notebook), total=1.0, detail="starting")
        elif event == "progress" and detail:
            share = (detail["cell"] - 1) / detail["cells"]
            self._done[task.folder] = share
            text = f"cell {detail['cell']}/{detail['cells']}"
            self._bar.update(self._lines[task.folder], completed=share, detail=text)
        elif event == "finished":
            self._finished(task, detail)
        self._refresh()

    def _finished(self, task: Task, outcome: Outcome) -> None:
        self._done[task.folder] = 1.0
        self._count += 1
        if task.folder in self._lines:
            self._bar.remove_task(self._lines.pop(task.folder))
        self.console.print(
            f"[{self._count}/{self._total}] {task.notebook!s:<{self._width}}  {_MARKS[outcome.state]:<20} "
            f"{outcome.wall_seconds:6.1f} s {outcome.peak_memory_mb:7,.0f} MB"
            + (f"  [red]{_escape(outcome.failure.line)}[/]" if outcome.failure else ""),
            soft_wrap=True,
        )

    def _refresh(self) -> None:
        total = sum(self._expected.values()) or 1.0
        done = sum(self._expected[folder] * share for folder, share in self._done.items())
        left = (total - done) / self._jobs
        detail = f"{self._count}/{self._total}, about {_duration(left)} left"
        self._bar.update(self._overall, completed=done / total, detail=detail)


def _escape(text: str) -> str:
    return text.replace("[", r"\[")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def report(outcomes: list[Outcome], console: Console | None = None) -> None:
    """The failures, with everything needed to find and mend them; nothing when there are none."""
    console = console or Console(highlight=False)
    for outcome in outcomes:
        failure = outcome.failure
        if failure is None:
            continue
        cell = f"cell {failure.cell} of {failure.cells}" if failure.cell else "before the first cell"
        console.print(f"[bold red]failed[/] {outcome.task.notebook}, {cell}", soft_wrap=True)
        console.print(f"  {_escape(failure.line)}", soft_wrap=True)
        if failure.notebook is not None:
            console.print(f"  partial notebook: {_escape(str(failure.notebook))}", soft_wrap=True)
