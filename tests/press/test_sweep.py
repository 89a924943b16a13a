"""Sweeps: grids, the table, the picture, and a cluster of real processes that are killed in the middle."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import yaml

from loglik import claims, manifest
from loglik.press import project, sweep
from loglik.sources import source_hash

ADDRESS = "sampling/demo"
CLAIM = {
    "id": "C1",
    "statement": "A seed is small.",
    "quantity": "the seed",
    "paper": {"value": "small", "where": "nowhere", "source": "ours"},
    "criterion": {"text": "the seed is below 2", "reproduced": "measured < 2"},
}
JUDGE = 'chapter.claim("C1", measured=seed, interval=(seed - 0.5, seed + 0.5), interval_from="made up")'
WAITS = f"import pathlib\nimport time\n\nwhile not pathlib.Path('../../../go').exists():\n    time.sleep(0.1)\n{JUDGE}"


@pytest.fixture
def judged(small):
    """A project with one chapter whose one claim holds for seeds 0 and 1."""
    return with_claim(small, JUDGE)


def with_claim(small, code: str):
    path = small.root / "notebooks" / ADDRESS / "paper.yml"
    small.add(ADDRESS)
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"claims": [CLAIM]}, sort_keys=False))
    notebook = path.with_name("reproduction.py")
    before = "# %% [markdown]\n# ## Summary"
    notebook.write_text(notebook.read_text().replace(before, f"# %%\n{code}\n\n{before}"))
    assert small.loglik("pair").returncode == 0
    return small


def arguments(*more: str) -> list[str]:
    return ["sweep", f"{ADDRESS}/reproduction", "--profile", "smoke", "--grid", "seed=0..3", *more]


# -- grids ---------------------------------------------------------------------------------------------------


def test_a_grid_is_every_combination():
    points = sweep.grid(["seed=0..2", "n_reps=50, 200", "ks=[1, 2],[3]", "name=a"])
    assert len(points) == 3 * 2 * 2
    assert points[0] == {"seed": 0, "n_reps": 50, "ks": [1, 2], "name": "a"}
    assert points[-1] == {"seed": 2, "n_reps": 200, "ks": [3], "name": "a"}
    assert [p["x"] for p in sweep.grid(["x=-1..1"])] == [-1, 0, 1]
    assert [p["x"] for p in sweep.grid(["x=0.5,1e-3"])] == [0.5, 0.001]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["seed"], "takes NAME=VALUES"),
        (["seed="], "takes NAME=VALUES"),
        (["seed=3..1"], "is empty"),
        (["seed=1", "seed=2"], "'seed' twice"),
    ],
)
def test_a_wrong_grid_says_so(texts, message):
    with pytest.raises(ValueError, match=message):
        sweep.grid(texts)


def test_a_notebook_without_the_parameter_runs_once(judged):
    found = project.Project(judged.root)
    planned = sweep.plan(found, found.select([ADDRESS]), sweep.grid(["n_reps=5,6,7"]), profile="smoke")
    assert len(planned.distinct) == 2 + 3
    with pytest.raises(ValueError, match="no parameter 'n_rep'"):
        sweep.plan(found, found.select([ADDRESS]), sweep.grid(["n_rep=5"]), profile="smoke")


# -- the command ---------------------------------------------------------------------------------------------


def test_a_sweep_is_one_tidy_table_and_is_kept(judged):
    done = judged.loglik(*arguments("--record"))
    assert done.returncode == 0, done.stderr
    (folder,) = (judged.root / "_build" / "sweeps").iterdir()
    table = pd.read_csv(folder / "claims.csv")
    assert list(table["seed"]) == list(table["measured"]) == [0, 1, 2, 3]
    assert list(table["held"]) == [True, True, False, False]
    np.testing.assert_allclose(table["high"] - table["low"], 1.0)
    assert (folder / "claims.svg").read_text().count("<svg") == 1

    recorded = json.loads((judged.root / "book/results" / ADDRESS / "sweep.json").read_text())
    assert recorded["seeds"] == [0, 1, 2, 3]
    assert (recorded["claims"]["C1"]["held"], recorded["claims"]["C1"]["of"]) == (2, 4)

    again = judged.loglik(*arguments())
    assert again.stdout.count("fresh") == 4, "the same sweep runs nothing twice"
    wider = judged.loglik(*[a.replace("0..3", "0..4") for a in arguments()])
    assert (wider.stdout.count("fresh"), wider.stdout.count("ran")) == (4, 1)


def test_a_sweep_of_changed_code_counts_for_nothing(judged):
    found = manifest.load(judged.root / "notebooks" / ADDRESS / "paper.yml")
    hashes = {"reproduction": source_hash(found, "reproduction")}
    recorded = {"source_hash": hashes, "claims": {"C1": {"held": 2, "of": 4}}}
    assert sweep.counts(found, recorded) == {"C1": (2, 4)}
    notebook = found.folder / "reproduction.py"
    notebook.write_text(notebook.read_text().replace("seed - 0.5", "seed - 0.4"))
    assert sweep.counts(found, recorded) == {}


def test_only_seeds_are_recorded_and_that_is_said_first(judged):
    call = ["sweep", f"{ADDRESS}/reproduction", "--profile", "smoke", "--grid", "n_reps=5,6", "--record"]
    done = judged.loglik(*call)
    assert (done.returncode, "grid over the seed alone" in done.stderr) == (2, True)
    assert judged.runs(ADDRESS) == [], "before anything runs"


def test_a_sweep_with_failures_is_a_table_but_no_record(small):
    failing = with_claim(small, f"assert seed < 1\n{JUDGE}")
    done = failing.loglik(*arguments("--record"))
    assert (done.returncode, "3 runs failed" in done.stderr) == (2, True), done.stderr
    (path,) = (failing.root / "_build" / "sweeps").glob("*/claims.csv")
    table = pd.read_csv(path)
    assert list(table["state"]) == ["ok", "failed", "failed", "failed"]
    assert not (failing.root / "book/results" / ADDRESS / "sweep.json").exists()


def test_a_claim_that_may_only_be_partly_can_hold():
    criterion = manifest.Criterion("small", "measured < 2", at_most="partly", because="a smaller model")
    spec = manifest.ClaimSpec("C1", "…", "…", CLAIM["paper"], criterion, "reproduction")
    found = claims.make(spec, measured=1, interval=None, interval_from=None, evidence={}, note=None)
    assert found.verdict == "partly"
    assert claims.held(spec, found.to_json())
    assert not claims.held(spec, {**found.to_json(), "measured": 2})
    assert not claims.held(spec, claims.unreached(spec, "a ship").to_json())


# -- a cluster of real processes -----------------------------------------------------------------------------


class Cluster:
    """A Dask scheduler with workers, as processes of their own on this machine."""

    def __init__(self, small, scratch) -> None:
        self.small, self.scratch = small, scratch
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.scheduler = self.workers = None
        self.everybody: list[subprocess.Popen[bytes]] = []

    def start(self, workers: int = 2) -> None:
        self.scheduler = self._spawn("scheduler", "--host", "127.0.0.1", "--port", str(self.port))
        options = ["--nthreads", "1", "--no-nanny", "--local-directory", str(self.scratch)]
        self.workers = [self._spawn("worker", self.address, *options) for _ in range(workers)]

    def _spawn(self, kind: str, *options: str) -> subprocess.Popen[bytes]:
        with (self.scratch / f"{kind}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.dask_{kind}", *options, "--no-dashboard"],
                cwd=self.scratch,
                env=self.small.environment,
                stdout=log,
                stderr=log,
            )
        self.everybody.append(process)
        return process

    def stop(self) -> None:
        for process in self.everybody:
            process.kill()
            process.wait()


@pytest.fixture
def cluster(small, tmp_path):
    scratch = tmp_path / "dask"
    scratch.mkdir()
    made = Cluster(with_claim(small, WAITS), scratch)
    made.start()
    yield made
    made.stop()


def sweeping(cluster, *more: str) -> subprocess.Popen[str]:
    command = cluster.small.command(*arguments("--cluster", cluster.address, *more))
    return subprocess.Popen(
        command,
        cwd=cluster.small.root,
        env=cluster.small.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def at_work(small, how_many: int) -> None:
    """Wait until that many notebooks stand at the cell that waits."""

    def told() -> list[int]:
        found = (small.root / "_build/runs").rglob("*.work-*/progress.json")
        return [json.loads(path.read_text())["cell"] for path in found]

    end = time.monotonic() + 120
    while told().count(4) < how_many:
        assert time.monotonic() < end, f"waited in vain: {told()}"
        time.sleep(0.1)


def finish(command: subprocess.Popen[str]) -> str:
    said, _ = command.communicate(timeout=240)
    assert command.returncode == 0, said
    return said


def runs_of(small) -> list[dict]:
    return [json.loads(path.read_text()) for path in (small.root / "_build/runs").rglob("run.json")]


@pytest.mark.xdist_group("cluster")
def test_a_killed_worker_loses_nothing(cluster):
    command = sweeping(cluster)
    at_work(cluster.small, 2)
    os.kill(cluster.workers[0].pid, signal.SIGKILL)
    (cluster.small.root / "go").touch()
    said = finish(command)
    assert said.count("✓ ran") == 4
    assert {run["parameters"]["seed"] for run in runs_of(cluster.small)} == {0, 1, 2, 3}


@pytest.mark.xdist_group("cluster")
def test_a_killed_scheduler_loses_nothing(cluster):
    command = sweeping(cluster)
    at_work(cluster.small, 2)
    for process in (cluster.scheduler, *cluster.workers):
        process.kill()
        process.wait()
    (cluster.small.root / "go").touch()
    cluster.start()
    said = finish(command)
    assert "went away; waiting for one" in said
    assert {run["parameters"]["seed"] for run in runs_of(cluster.small)} == {0, 1, 2, 3}


@pytest.mark.xdist_group("cluster")
def test_without_a_scheduler_it_says_so_and_the_same_command_goes_on(cluster):
    (cluster.small.root / "go").touch()
    assert finish(sweeping(cluster)).count("✓ ran") == 4
    cluster.stop()
    lost = sweeping(cluster, "--patience", "1", "--force")
    said, _ = lost.communicate(timeout=60)
    assert lost.returncode == 2
    assert "no scheduler at" in said
    done = cluster.small.loglik(*arguments())
    assert done.stdout.count("fresh") == 4, "what was finished is kept"
