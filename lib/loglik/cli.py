"""The command ``loglik``: run chapters, print the book, start a new paper."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from loglik import __version__
from loglik.chapter import PROFILES


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 when all went well, 1 when a notebook failed, 2 when the call was wrong."""
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.command(arguments) or 0)
    except (
        ValueError,
        TypeError,
        LookupError,
        FileNotFoundError,
        ModuleNotFoundError,
        ConnectionError,
    ) as error:
        print(f"loglik: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `loglik list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("\nloglik: interrupted; finished notebooks are kept, the same command goes on", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="loglik", description="Likelihood, Reproduced: run chapters, print the book."
    )
    parser.add_argument("--version", action="version", version=f"loglik {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, function: Callable[[Any], int | None], help_text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=help_text, description=help_text)
        command.set_defaults(command=function)
        return command

    add("list", _list, "The catalogue: every paper with its state.")
    run = add("run", _run, "Execute notebooks that are not fresh, in parallel.")
    _add_run_arguments(run)
    book = add("book", _book, "Execute what is not fresh, then render the site.")
    _add_run_arguments(book)
    book.add_argument("--lenient", action="store_true", help="render even where the book has warnings")
    sweep = add("sweep", _sweep, "Execute notebooks over a grid of parameters; one table of their claims.")
    _add_sweep_arguments(sweep)
    explore = add("explore", _explore, "Make the frames of the figures that readers can drag.")
    _add_selection(explore)
    explore.add_argument("--jobs", type=int, metavar="N", help="notebooks at once (default: one a core)")
    collect = add("collect", _collect, "Show the verdicts of finished runs.")
    _add_selection(collect)
    collect.add_argument("--csv", metavar="FILE", help="write them as a table too")
    record = add("record", _record, "Store finished runs as book/results/<part>/<paper>/<profile>.json.")
    _add_selection(record)
    render = add("render", _render, "Render the site from the runs that are there.")
    _add_profile(render)
    render.add_argument("--lenient", action="store_true", help="render even where the book has warnings")
    add("archive", _archive, "Pack site, executed notebooks and sources into one file that opens from disk.")
    new = add("new", _new, "Start a chapter that keeps the contract as a draft.")
    new.add_argument("address", metavar="PART/PAPER")
    check = add("check", _check, "Check the contract of chapters.")
    check.add_argument("chapters", nargs="*", metavar="CHAPTER", help="part/paper; none means all")
    pair = add("pair", _pair, "Make the .ipynb of every notebook from its .py.")
    pair.add_argument("--check", action="store_true", help="change nothing; exit with 1 where a pair differs")
    add("readme", _readme, "Bring the README's table of papers up to date.")
    lock = add("lock", _lock, "Make binder/requirements.txt from requirements.txt.")
    lock.add_argument("--check", action="store_true", help="change nothing; exit with 1 where it differs")
    address = add("address", _address, "Change the repository's address everywhere.")
    address.add_argument("repository", metavar="OWNER/NAME")
    add("doctor", _doctor, "What this machine has, and what each profile would take on it.")
    return parser


def _add_profile(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--profile", choices=PROFILES, default="book", help="how much to compute (default: book)"
    )


def _add_selection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "chapters",
        nargs="*",
        metavar="CHAPTER",
        help="part, part/paper or part/paper/notebook; none means all",
    )
    _add_profile(parser)


def _add_run_arguments(parser: argparse.ArgumentParser) -> None:
    _add_selection(parser)
    _add_limits(parser)
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a notebook parameter; may be repeated",
    )


def _add_sweep_arguments(parser: argparse.ArgumentParser) -> None:
    _add_selection(parser)
    parser.add_argument(
        "--grid",
        action="append",
        required=True,
        metavar="NAME=VALUES",
        help="seed=0..9 or n_reps=50,200; may be repeated, all combinations run",
    )
    _add_limits(parser)
    parser.add_argument(
        "--cluster", metavar="ADDRESS", help="of a Dask scheduler, such as tcp://10.0.0.5:8786"
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=120.0,
        metavar="SECONDS",
        help="how long to wait for a scheduler, also when it was lost (default: 120)",
    )
    parser.add_argument(
        "--out", metavar="FOLDER", help="for the table and the figure (default: _build/sweeps/…)"
    )
    parser.add_argument(
        "--record",
        action="store_true",
        help="store how often each claim held, for the scoreboard (grid of seeds)",
    )


def _add_limits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jobs", type=int, metavar="N", help="notebooks at once (default: one a core)")
    parser.add_argument("--force", action="store_true", help="run also what is fresh")
    parser.add_argument("--time-limit", type=float, metavar="SECONDS", help="stop a notebook after this long")
    parser.add_argument(
        "--memory-limit", type=float, metavar="MB", help="stop a notebook above this much memory"
    )


def _project() -> Any:
    from loglik.press import project

    return project.find()


def _console() -> Any:
    from rich.console import Console

    return Console(highlight=False)


def _values(pairs: list[str]) -> dict[str, Any]:
    """``name=value`` pairs, read by :func:`loglik.parameters.value`."""
    from loglik import parameters

    values = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise ValueError(f"--set takes NAME=VALUE, got {pair!r}")
        values[name] = parameters.value(text)
    return values


def _run(arguments: Any) -> int:
    outcomes = _execute(arguments)
    return int(any(outcome.state == "failed" for outcome in outcomes))


def _execute(arguments: Any) -> Any:
    from loglik import provenance
    from loglik.press import runner, terminal

    project = _project()
    jobs = arguments.jobs or provenance.cores()
    tasks = runner.plan(
        project,
        project.select(arguments.chapters),
        profile=arguments.profile,
        values=_values(arguments.set),
        limits=_limits(arguments),
        threads=max(1, provenance.cores() // jobs),
    )
    console = _console()
    with terminal.Terminal(tasks, jobs, console) as shown:
        outcomes = runner.run(tasks, jobs=jobs, force=arguments.force, watch=shown.watch)
    terminal.report(outcomes, console)
    return outcomes


def _limits(arguments: Any) -> Any:
    from loglik.press.project import LIMITS, Limits

    usual = LIMITS[arguments.profile]
    return Limits(arguments.time_limit or usual.seconds, arguments.memory_limit or usual.memory_mb)


def _sweep(arguments: Any) -> int:
    from pathlib import Path

    from loglik import provenance
    from loglik.press import sweep, terminal

    project, console = _project(), _console()
    jobs = arguments.jobs or provenance.cores()
    points = sweep.grid(arguments.grid)
    if arguments.record:
        sweep.check_recordable(points)
    planned = sweep.plan(
        project,
        project.select(arguments.chapters),
        points,
        profile=arguments.profile,
        limits=_limits(arguments),
        threads=max(1, provenance.cores() // jobs),
    )
    with terminal.Terminal(planned.distinct, jobs, console) as shown:
        outcomes = sweep.run(
            planned,
            jobs=jobs,
            force=arguments.force,
            cluster=arguments.cluster,
            patience=arguments.patience,
            watch=shown.watch,
            tell=console.print,
        )
    terminal.report(outcomes, console)
    found = sweep.table(project, planned, outcomes)
    folder = Path(arguments.out) if arguments.out else project.build / "sweeps" / planned.name
    for path in sweep.write(found, folder):
        console.print(f"wrote {path}", soft_wrap=True)
    if arguments.record:
        for path in sweep.record(project, planned, found):
            console.print(f"recorded {path.relative_to(project.root)}", soft_wrap=True)
    return int(any(outcome.state == "failed" for outcome in outcomes))


def _explore(arguments: Any) -> int:
    from loglik import provenance
    from loglik.press import explore, runner, terminal

    project, console = _project(), _console()
    jobs = arguments.jobs or provenance.cores()
    planned = explore.planned(
        project,
        _addresses(project, arguments.chapters),
        profile=arguments.profile,
        threads=max(1, provenance.cores() // jobs),
    )
    tasks = [task for sweep in planned.values() for task in sweep.distinct]
    with terminal.Terminal(tasks, jobs, console) as shown:
        outcomes = runner.run(tasks, jobs=jobs, watch=shown.watch)
    terminal.report(outcomes, console)
    broken = {outcome.task.notebook.address for outcome in outcomes if outcome.failure}
    for address in planned.keys() - broken:
        stored = explore.store(project, address, planned[address])
        console.print(f"stored {stored.relative_to(project.root)}", soft_wrap=True)
    return int(bool(broken))


def _book(arguments: Any) -> int:
    failed = _run(arguments)
    return max(failed, _render(arguments))


def _render(arguments: Any) -> int:
    from loglik.press import render

    project, console = _project(), _console()
    with console.status("rendering the site"):
        status = render.render(project, arguments.profile, strict=not arguments.lenient, quiet=True)
    page = project.build / "html" / "index.html"
    if status:
        console.print(f"[red]the site has errors[/]; log: {project.build / 'site' / 'jupyter-book.log'}")
    else:
        console.print(f"the site: {page}")
    return int(status != 0)


def _archive(arguments: Any) -> int:
    from loglik.press import archive

    print(archive.archive(_project()))
    return 0


def _collect(arguments: Any) -> int:
    import pandas as pd

    from loglik.press import records

    project, rows = _project(), []
    for address in _addresses(project, arguments.chapters):
        found = records.collect(project, address, arguments.profile)
        print(f"{address} ({arguments.profile}, {found['provenance']['cpu_seconds']:.0f} s CPU)")
        for claim in found["claims"]:
            rows.append({"chapter": address, "profile": arguments.profile, **claim})
            print(f"  {_claim_line(claim)}")
    if arguments.csv:
        pd.json_normalize(rows).to_csv(arguments.csv, index=False)
    return 0


def _claim_line(claim: dict[str, Any]) -> str:
    from loglik.claims import SYMBOLS, number

    ours = number(claim["measured"]) if claim["measured"] is not None else "–"
    if claim["interval"]:
        ours += f" [{', '.join(map(number, claim['interval']))}]"
    return (
        f"{SYMBOLS[claim['verdict']]} {claim['id']:<4} {claim['verdict']:<14} {ours}  ({claim['quantity']})"
    )


def _addresses(project: Any, names: list[str]) -> list[str]:
    return list(dict.fromkeys(notebook.address for notebook in project.select(names)))


def _record(arguments: Any) -> int:
    from loglik.press import records

    project = _project()
    for address in _addresses(project, arguments.chapters):
        print(records.record(project, address, arguments.profile).relative_to(project.root))
    return 0


def _new(arguments: Any) -> int:
    from loglik.press import scaffold

    project = _project()
    for path in scaffold.new(project, arguments.address):
        print(path.relative_to(project.root))
    return 0


def _check(arguments: Any) -> int:
    from loglik.press import contract

    project = _project()
    found = [
        p for address in _addresses(project, arguments.chapters) for p in contract.problems(project, address)
    ]
    print("\n".join(found) or "every chapter keeps the contract")
    return int(bool(found))


def _pair(arguments: Any) -> int:
    from loglik.press import pairs

    project = _project()
    changed = pairs.pair(project, write=not arguments.check)
    for path in changed:
        print(f"{'differs' if arguments.check else 'wrote'}: {path.relative_to(project.root)}")
    return int(arguments.check and bool(changed))


def _readme(arguments: Any) -> int:
    from loglik.press import scaffold

    project = _project()
    print("README.md changed" if scaffold.update_readme(project) else "README.md is up to date")
    return 0


def _lock(arguments: Any) -> int:
    from loglik.press import binder

    project = _project()
    changed = binder.update(project, write=not arguments.check)
    print("binder/requirements.txt " + ("differs" if changed else "is up to date"))
    return int(arguments.check and changed)


def _address(arguments: Any) -> int:
    from loglik.press import scaffold

    project = _project()
    for path in scaffold.change_address(project, arguments.repository):
        print(path.relative_to(project.root))
    return 0


def _list(arguments: Any) -> int:
    from loglik import claims
    from loglik.press import catalogue

    entries = catalogue.entries(_project().root)
    width = max(len(entry.address) for entry in entries)
    for entry in entries:
        score = f"{entry.verdicts()[claims.REPRODUCED]}/{len(entry.claim_ids)}" if entry.claim_ids else ""
        print(f"{entry.address:<{width}}  {entry.state:<8}  {score:>5}  {entry.info['title']}")
    return 0


def _doctor(arguments: Any) -> int:
    from loglik.press import doctor

    doctor.show(_project(), _console())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
