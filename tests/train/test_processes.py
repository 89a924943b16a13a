"""Real processes under torchrun: two are one, a killed one comes back, none is left waiting."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from loglik.train import checkpoint, fit
from tests.train import problem, worker

pytestmark = pytest.mark.xdist_group("train-processes")  # one start of torchrun serves many tests
EQUAL_TO_ONE_PROCESS = [
    "ddp",
    "accumulating",
    "stand_ins",
    "fetched_ahead",
    "fsdp",
    "fsdp_resumed",
    "sharded_and_copied_checkpoints_are_one_format",
]
OTHERS = ["undisturbed", "stopped_by_one", "nan_in_one", "full_disk_in_one"]


def environment(root: Path) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(root), "PROCESSES": "2", "RESTARTS": "1"}


def launch(root: Path, folder: Path, *scenarios: str) -> None:
    """Through the launch file that people use."""
    command = [root / "launch" / "one_machine.sh", root / "tests" / "train" / "worker.py", folder, *scenarios]
    done = subprocess.run(
        command, env=environment(root), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-6000:]


@pytest.fixture(scope="module")
def two(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of two processes, one folder a scenario."""
    folder = tmp_path_factory.mktemp("two")
    launch(root, folder, *EQUAL_TO_ONE_PROCESS, *OTHERS)
    return folder


def results(folder: Path) -> list[dict[str, Any]]:
    return [json.loads((folder / f"result-{rank}.json").read_text()) for rank in range(2)]


@pytest.fixture(scope="module")
def alone() -> tuple[dict[str, torch.Tensor], np.ndarray]:
    """Weights and losses of one process with the whole batch."""
    model = problem.Model()
    log = fit(model, problem.loss, problem.data(), worker.FIVE)
    own = problem.weights(model)
    del own["out.weight"]  # tied: saved once
    return own, log.frame["loss"].to_numpy()


@pytest.mark.parametrize("scenario", EQUAL_TO_ONE_PROCESS)
def test_two_processes_are_one_with_the_whole_batch(two: Path, alone: Any, scenario: str) -> None:
    weights, losses = alone
    assert problem.largest_difference(load_file(two / scenario / "weights.safetensors"), weights) < 1e-6
    for result in results(two / scenario):
        np.testing.assert_allclose([row["loss"] for row in result["rows"]], losses, rtol=1e-6)


def test_mutant_mean_of_the_processes_means_is_noticed(alone: Any) -> None:
    """What DDP alone would give (here two micro-batches stand for the processes): far beyond the 1e-6 above."""
    model = problem.Model()
    fit(model, problem.loss_of_means, problem.data(), replace(worker.FIVE, grad_accum=2))
    weights = problem.weights(model)
    del weights["out.weight"]
    assert problem.largest_difference(weights, alone[0]) > 1e-4


def test_a_sharded_run_leaves_whole_weights(two: Path) -> None:
    for file in ("model", "optimizer", "ema"):
        copied = load_file(two / "ddp" / "run" / "step-00000005" / f"{file}.safetensors")
        sharded = load_file(two / "fsdp" / "run" / "step-00000005" / f"{file}.safetensors")
        assert problem.largest_difference(copied, sharded) < 1e-6


def newest(folder: Path) -> Path:
    found = checkpoint.latest(folder / "run", checkpoint.Context())
    assert found is not None
    return found


def test_a_killed_process_changes_no_bit(two: Path, root: Path, tmp_path: Path) -> None:
    launch(root, tmp_path, "killed")
    assert (tmp_path / "killed" / "started-1").exists(), "it was really started again"
    there, here = newest(two / "undisturbed"), newest(tmp_path / "killed")
    assert there.name == here.name == "step-00000012"
    names = [file.name for file in sorted(there.glob("*.safetensors"))]
    assert names == [f"{name}.safetensors" for name in ("ema", "model", "optimizer", "rank-0", "rank-1")]
    for name in names:
        a, b = load_file(there / name), load_file(here / name)
        assert a.keys() == b.keys()
        assert all(torch.equal(a[key], b[key]) for key in a), name


def test_processes_have_streams_of_their_own(two: Path) -> None:
    states = [
        load_file(newest(two / "undisturbed") / f"rank-{rank}.safetensors")["torch"] for rank in range(2)
    ]
    assert not torch.equal(*states), "the same dropout mask in both halves of a batch"


def test_one_word_stops_all_at_the_same_step(two: Path) -> None:
    first, second = results(two / "stopped_by_one")
    assert (first["step"], second["step"]) == (3, 3)
    assert (first["stopped"], second["stopped"]) == ("another process asked to", "process 1 had enough")


def test_nan_in_one_process_stops_all(two: Path) -> None:
    assert results(two / "nan_in_one") == [{"step": 3, "checkpoint": "step-00000002"}] * 2


def test_a_full_disk_in_one_process_leaves_none_waiting(two: Path) -> None:
    for result in results(two / "full_disk_in_one"):
        assert result["step"] == 5
        assert len(result["warnings"]) == 1
        assert "checkpoint of step 2 not written" in result["warnings"][0]
        assert result["kept"] == [f"step-{step:08d}" for step in (1, 3, 4, 5)]


def test_sigterm_to_torchrun_saves(root: Path, tmp_path: Path) -> None:
    command = [
        root / "launch" / "one_machine.sh",
        root / "tests" / "train" / "worker.py",
        tmp_path,
        "preempted",
    ]
    with subprocess.Popen(
        command, env=environment(root), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as torchrun:
        patience = time.monotonic() + 120
        while not (tmp_path / "preempted" / "training").exists():
            assert torchrun.poll() is None, torchrun.communicate()[0]
            assert time.monotonic() < patience
            time.sleep(0.05)
        torchrun.send_signal(signal.SIGTERM)
        torchrun.communicate(timeout=120)
    assert int(newest(tmp_path / "preempted").name.removeprefix("step-")) >= 20


@pytest.mark.parametrize("script", ["one_machine.sh", "slurm.sbatch"])
def test_launch_files_are_bash(root: Path, script: str) -> None:
    subprocess.run(["bash", "-n", str(root / "launch" / script)], check=True)
