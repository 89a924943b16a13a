"""Running notebooks: what is fresh, what is stale, and what happens when things break."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

ADDRESS = "sampling/demo"


def states(small, *arguments: str) -> dict[str, str]:
    """State of each notebook as the command prints it."""
    done = small.loglik("run", "--profile", "smoke", *arguments)
    assert done.returncode in (0, 1), done.stderr
    lines = [line.split("]", 1)[1].split() for line in done.stdout.splitlines() if line.startswith("[")]
    return {line[0]: line[2] for line in lines}


def rerun(small, *arguments: str) -> set[str]:
    """The notebooks that really ran."""
    return {name for name, state in states(small, *arguments).items() if state != "fresh"}


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two chapters of one part, already run once."""
    from tests.conftest import SmallProject

    small = SmallProject(tmp_path_factory.mktemp("two") / "project")
    small.add(ADDRESS)
    small.add("sampling/other")
    assert len(rerun(small)) == 6
    return small


def edit(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def test_nothing_changed_runs_nothing(two):
    assert rerun(two) == set()


def test_a_method_reruns_the_notebooks_that_import_it_and_no_others(two):
    edit(two.root / "lib/loglik/sampling/demo.py", "ddof=1", "ddof=0")
    assert rerun(two) == {f"{ADDRESS}/reproduction"}


def test_prose_reruns_nothing(two):
    edit(two.root / f"notebooks/{ADDRESS}/method.py", "# ## Summary", "# ## What we saw")
    assert two.loglik("pair").returncode == 0
    assert rerun(two) == set()


def test_code_of_one_notebook_reruns_that_notebook(two):
    edit(two.root / f"notebooks/{ADDRESS}/method.py", "chapter.summary()", "assert True\nchapter.summary()")
    assert two.loglik("pair").returncode == 0
    assert rerun(two) == {f"{ADDRESS}/method"}


def test_data_beside_the_notebooks_counts(two):
    (two.root / f"notebooks/{ADDRESS}/table.csv").write_text("a\n1\n")
    assert rerun(two) == {f"{ADDRESS}/{name}" for name in ("method", "reproduction", "apply")}


def test_pins_count_for_everything(two):
    edit(two.root / "requirements.txt", "# Exact pins", "# The exact pins")
    assert len(rerun(two)) == 6


def test_force_reruns_what_is_fresh(two):
    assert rerun(two, f"{ADDRESS}/method", "--force") == {f"{ADDRESS}/method"}


def test_parameters_make_a_run_of_their_own(two):
    assert rerun(two, ADDRESS, "--set", "n_reps=7") == {f"{ADDRESS}/reproduction"}
    assert rerun(two, ADDRESS, "--set", "n_reps=7") == set()
    assert rerun(two, ADDRESS) == set()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "n_rep=7"], "has no parameter 'n_rep'; allowed: "),
        (["--set", "n_reps=many"], "n_reps must be Optional[int], got 'many'"),
        (["--set", "seed=1.5"], "seed must be int"),
        (["--set", "seed"], "--set takes NAME=VALUE"),
        (["nowhere/at_all"], "no chapter 'nowhere/at_all'; chapters: sampling/demo, sampling/other"),
        (["sampling/demo/aply"], "no notebook 'sampling/demo/aply'; it has: sampling/demo/method"),
    ],
)
def test_wrong_calls_say_what_is_allowed(two, arguments, message):
    done = two.loglik("run", "--profile", "smoke", *arguments)
    assert done.returncode == 2
    assert message in done.stderr


def test_the_run_tells_where_it_comes_from(two):
    folder = next(path for path in two.runs(ADDRESS) if path.parent.name == "apply")
    run = json.loads((folder / "run.json").read_text())
    assert run["wall_seconds"] > 0
    assert run["cpu_seconds"] > 0
    assert run["peak_memory_mb"] > 50
    notebook = json.loads((folder / "notebook.ipynb").read_text())
    outputs = [o["data"] for cell in notebook["cells"] for o in cell.get("outputs", []) if "data" in o]
    (summary,) = (
        data["application/vnd.loglik.run+json"]
        for data in outputs
        if "application/vnd.loglik.run+json" in data
    )
    assert summary["profile"] == "smoke"
    assert summary["parameters"] == {"profile": "smoke", "seed": 0, "data": ""}
    assert {"revision", "dirty", "source_hash", "versions", "device", "cores", "date"} <= set(summary)


FAULTS = {
    "raises": "raise ValueError('the sky fell')",
    "hangs": "import time\n\ntime.sleep(600)",
    "grows": "import time\n\nhoard = [bytearray(10**7) for _ in range(70)]\ntime.sleep(600)",
    "dies": "import os\n\nos.kill(os.getpid(), 9)",
}
WORDS = {
    "raises": "ValueError: the sky fell",
    "hangs": "TimeLimit: stopped after 40 s",
    "grows": "MemoryLimit: stopped at",
    "dies": "Kernel died",
}


def test_what_breaks_takes_nobody_with_it(small):
    small.add(ADDRESS)
    for fault, code in FAULTS.items():
        small.add(f"sampling/{fault}", reproduction=code)
    quick = [f"sampling/{fault}/reproduction" for fault in FAULTS if fault != "hangs"]
    done = small.loglik("run", ADDRESS, *quick, "--profile", "smoke", "--memory-limit", "700")
    # The limit of time leaves a busy machine enough to start a kernel.
    hung = small.loglik("run", "sampling/hangs/reproduction", "--profile", "smoke", "--time-limit", "40")
    assert (done.returncode, hung.returncode) == (1, 1)
    for fault, words in WORDS.items():
        report = (done.stdout + hung.stdout).split(f"failed sampling/{fault}/reproduction, cell ")[1]
        cell, line, partial = report.splitlines()[:3]
        assert cell.startswith("4 of 5"), fault
        assert words in line
        path = Path(partial.split("partial notebook: ")[1])
        assert json.loads(path.read_text())["cells"], fault
    finished = [folder for folder in small.runs(ADDRESS) if (folder / "run.json").exists()]
    assert len(finished) == 3


WAITS = "import pathlib\nimport time\n\ntime.sleep(0 if pathlib.Path('../../../go').exists() else 60)"


@pytest.mark.parametrize("victim", ["command", "kernel"])
def test_killed_in_the_middle_goes_on(small, victim):
    small.add(ADDRESS, reproduction=WAITS)
    command = subprocess.Popen(
        small.command("run", "--profile", "smoke", "--jobs", "2"),
        cwd=small.root,
        env=small.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    work = wait_for(lambda: sleeping(small))
    others = wait_for(
        lambda: [f for f in small.runs(ADDRESS) if (f / "run.json").exists() and "." not in f.name]
    )
    family = psutil.Process(command.pid).children(recursive=True)
    if victim == "command":
        os.kill(command.pid, signal.SIGKILL)
    else:
        kernel = next(p for p in family if "ipykernel" in " ".join(p.cmdline()))
        kernel.kill()
    assert command.wait(60) != 0
    wait_for(lambda: all(not p.is_running() or p.status() == "zombie" for p in family))
    reproduction = [f for f in small.runs(ADDRESS) if f.parent.name == "reproduction"]
    assert not [f for f in reproduction if "." not in f.name], "half a run stands where a result should"

    (small.root / "go").touch()
    kept = {f"{ADDRESS}/{folder.parent.name}" for folder in others}
    found = states(small)
    assert found[f"{ADDRESS}/reproduction"] == "ran"
    assert {name: found[name] for name in kept} == dict.fromkeys(kept, "fresh")
    assert not work.exists()


def sleeping(small) -> Path | None:
    for folder in small.runs(ADDRESS):
        progress = folder / "progress.json"
        if (
            folder.parent.name == "reproduction"
            and progress.exists()
            and json.loads(progress.read_text())["cell"] == 4
        ):
            return folder
    return None


def wait_for(condition, seconds: float = 60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError("waited in vain")


def test_plain_papermill_works_from_anywhere(small, tmp_path):
    small.add(ADDRESS)
    out = tmp_path / "out.ipynb"
    source = small.root / f"notebooks/{ADDRESS}/reproduction.ipynb"
    papermill = ["-m", "papermill", str(source), str(out), "-p", "profile", "smoke", "-p", "n_reps", "12"]
    call = [small.command()[0], *papermill]
    done = subprocess.run(
        call, cwd=tmp_path, env=small.environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert '"n_reps": 12' in out.read_text()
    wrong = [*call[:-2], "n_rep", "12"]
    done = subprocess.run(
        wrong, cwd=tmp_path, env=small.environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode != 0
    assert "has no parameter 'n_rep'; allowed: profile, seed, n_reps" in done.stderr
