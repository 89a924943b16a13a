"""Drills: a full disk, a torn file, a kill in the middle of writing. The previous checkpoint always survives."""

from __future__ import annotations

import json
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from loglik.train import (
    CheckpointError,
    Context,
    KeepBest,
    NonFiniteError,
    Run,
    TrainConfig,
    checkpoint,
    fit,
    load_weights,
    save_weights,
    state,
)
from tests.train import problem

ALONE = Context()
CFG = TrainConfig(steps=6, batch_size=6, lr=0.01, progress=False, schedule="constant")


def bundles(step: int, size: int = 50_000) -> dict[str, dict[str, Any]]:
    return {"model": {"w": torch.full((size,), float(step))}, "run": {"step": step}}


def save(folder: Path, step: int, **more: Any) -> Path:
    return checkpoint.save(folder, step, bundles(step), {"generator": torch.ones(3)}, ALONE, **more)


def holds(path: Path | None, step: int) -> bool:
    assert path is not None
    checkpoint.verify(path)
    return (
        bool((checkpoint.read(path, "model")["w"] == step).all())
        and checkpoint.read(path, "run")["step"] == step
    )


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    bundle = {
        "a": torch.randn(3, 2, generator=torch.Generator().manual_seed(0)),
        "b": torch.tensor(2.5),
        "n": None,
    }
    shared = {"x": {**bundle, "list": [1, 2.5, "ü"], "big": 2**120}, "empty": {}}
    path = checkpoint.save(tmp_path, 3, shared, {}, ALONE)
    back = checkpoint.read(path, "x")
    assert torch.equal(back["a"], bundle["a"])
    assert back["b"].shape == ()
    assert (back["n"], back["list"], back["big"]) == (None, [1, 2.5, "ü"], 2**120)
    assert checkpoint.read(path, "empty") == checkpoint.read(path, "rank-0") == {}
    assert {f.suffix for f in path.iterdir()} == {".safetensors", ".json"}


def test_the_last_ones_stay_and_an_abandoned_future_goes(tmp_path: Path) -> None:
    for step in (1, 2, 3, 9):
        save(tmp_path, step, keep=2)
    assert checkpoint.steps_saved(tmp_path) == [3, 9]
    save(tmp_path, 4, keep=2)  # someone went back to 3
    assert checkpoint.steps_saved(tmp_path) == [3, 4]
    save(tmp_path, 4, keep=1)
    assert [f.name for f in tmp_path.iterdir()] == ["step-00000004"], "nothing else is left behind"
    assert holds(checkpoint.latest(tmp_path, ALONE), 4)


def truncate(path: Path) -> None:
    file = path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])


def flip_one_bit(path: Path) -> None:
    content = bytearray((path / "model.safetensors").read_bytes())
    content[-5] ^= 1
    (path / "model.safetensors").write_bytes(content)


def zero_manifest(path: Path) -> None:
    (path / "manifest.json").write_bytes(b"\0" * 64)  # what some file systems leave after a power cut


TEARS = {
    "truncated": truncate,
    "one bit": flip_one_bit,
    "file gone": lambda path: (path / "model.safetensors").unlink(),
    "manifest gone": lambda path: (path / "manifest.json").unlink(),
    "manifest zeroed": zero_manifest,
    "empty folder": lambda path: [f.unlink() for f in path.iterdir()],
}


@pytest.mark.parametrize("tear", TEARS.values(), ids=TEARS)
def test_a_torn_checkpoint_is_passed_over(tmp_path: Path, tear: Any) -> None:
    save(tmp_path, 1)
    torn = save(tmp_path, 2)
    tear(torn)
    with pytest.warns(UserWarning, match="passed over: step-00000002"):
        assert holds(checkpoint.latest(tmp_path, ALONE), 1)
    with pytest.raises(CheckpointError, match="step-00000002"):
        checkpoint.locate(torn, ALONE)  # asked for by name: no silent other
    tear(tmp_path / "step-00000001")
    with (
        pytest.warns(UserWarning, match="passed over"),
        pytest.raises(CheckpointError, match=r"every checkpoint in .* is damaged"),
    ):
        checkpoint.latest(tmp_path, ALONE)


def test_nothing_there(tmp_path: Path) -> None:
    assert checkpoint.latest(tmp_path / "never", ALONE) is None
    with pytest.raises(FileNotFoundError, match="no checkpoint in"):
        checkpoint.locate(tmp_path, ALONE)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """A real limit of the system: writing beyond it fails as on a full disk (Python ignores SIGXFSZ)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_the_previous_one(tmp_path: Path) -> None:
    save(tmp_path, 1, keep=1)
    with largest_file(100_000), pytest.raises(CheckpointError, match=r"step 2 not written: .*File too large"):
        save(tmp_path, 2, keep=1)
    assert [f.name for f in tmp_path.iterdir()] == ["step-00000001"], "no half of it is left"
    assert holds(checkpoint.latest(tmp_path, ALONE), 1)
    save(tmp_path, 2, keep=1)
    assert holds(checkpoint.latest(tmp_path, ALONE), 2)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 300 kB; one checkpoint of 200 kB fits."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    done = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)], capture_output=True
    )
    if not done or done.returncode:
        pytest.skip("needs the right to mount a small file system")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_really_full_disk_leaves_the_previous_one(small_disk: Path) -> None:
    save(small_disk, 1)
    with pytest.raises(CheckpointError, match=r"step 2 not written: .*No space left on device"):
        save(small_disk, 2)
    assert holds(checkpoint.latest(small_disk, ALONE), 1)
    assert [f.name for f in small_disk.iterdir()] == ["step-00000001"]


def test_training_goes_on_when_the_disk_is_full_for_a_while(tmp_path: Path) -> None:
    model, undisturbed = problem.Model(), problem.Model()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)

    def disk(run: Run) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000 if run.step == 3 else limit[0], limit[1]))

    cfg = replace(CFG, save_every=2, out_dir=tmp_path)
    try:
        with pytest.warns(
            UserWarning, match="step 4 not written.*goes on, the last good one is step-00000002"
        ):
            log = fit(model, problem.loss, problem.data(), cfg, callbacks=[disk])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    fit(undisturbed, problem.loss, problem.data(), CFG)
    assert log.checkpoint == tmp_path / "step-00000006"
    assert problem.largest_difference(problem.weights(model), problem.weights(undisturbed)) == 0


def test_the_last_checkpoint_must_be_written(tmp_path: Path) -> None:
    with largest_file(1000), pytest.raises(CheckpointError, match="step 6 not written"):
        fit(problem.Model(), problem.loss, problem.data(), replace(CFG, out_dir=tmp_path))


KILLED_WHILE_WRITING = """
import os, signal, sys, torch
from pathlib import Path
from loglik.train import Context, checkpoint
from tests.train.test_checkpoint import save
folder, moment = Path(sys.argv[1]), sys.argv[2]
save(folder, 1, keep=1)
die = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)
if moment == "half a file":
    checkpoint.save_file = lambda tensors, file: (Path(file).write_bytes(b"half"), die())
elif moment == "no manifest":
    checkpoint._publish = die
elif moment == "not renamed":
    Path.rename = die
elif moment == "not pruned":
    checkpoint._prune = die
save(folder, 2, keep=1)
"""


@pytest.mark.parametrize(
    ("moment", "survivor"), [("half a file", 1), ("no manifest", 1), ("not renamed", 1), ("not pruned", 2)]
)
def test_kill_in_the_middle_of_writing(tmp_path: Path, root: Path, moment: str, survivor: int) -> None:
    command = [sys.executable, "-c", KILLED_WHILE_WRITING, str(tmp_path), moment]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert holds(checkpoint.latest(tmp_path, ALONE), survivor)
    save(tmp_path, 3, keep=1)
    assert [f.name for f in tmp_path.iterdir()] == ["step-00000003"], "what the dead one left is cleared away"


def test_mutant_making_room_first_loses_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Removing the old one before the new one is there: the drill of the full disk must notice."""
    careful = checkpoint.save

    def hasty(folder: Path, *args: Any, **more: Any) -> Path:
        for old in folder.glob("step-*"):
            shutil.rmtree(old)
        return careful(folder, *args, **more)

    monkeypatch.setattr(checkpoint, "save", hasty)
    with pytest.raises(AssertionError):
        test_a_full_disk_leaves_the_previous_one(tmp_path)


# -- what a run saves ---------------------------------------------------------------------------------------------


def test_files_of_a_run(tmp_path: Path) -> None:
    model = problem.Model()
    log = fit(model, problem.loss, problem.data(), replace(CFG, out_dir=tmp_path, ema=0.9))
    assert log.checkpoint is not None
    tensors = load_file(log.checkpoint / "model.safetensors")
    assert set(tensors) == {
        "embed.weight",
        "hidden.weight",
        "hidden.bias",
        "norm.weight",
        "norm.bias",
        "seen",
    }
    slots = load_file(log.checkpoint / "optimizer.safetensors")
    assert {name for name in slots if name.startswith("hidden.bias.")} == {
        f"hidden.bias.{slot}" for slot in ("step", "exp_avg", "exp_avg_sq")
    }
    facts = json.loads((log.checkpoint / "run.json").read_text())
    assert (facts["step"], facts["trajectory"]["batch_size"], facts["order"]["n"]) == (6, 6, 23)


def test_weights_alone(tmp_path: Path) -> None:
    model, copy, average = problem.Model(0), problem.Model(1), problem.Model(2)
    log = fit(model, problem.loss, problem.data(), replace(CFG, out_dir=tmp_path / "run", ema=0.9))
    assert log.checkpoint is not None
    load_weights(copy, log.checkpoint)
    assert problem.largest_difference(problem.weights(copy), problem.weights(model)) == 0
    assert copy.out.weight is copy.embed.weight, "still tied"
    load_weights(average, log.checkpoint, ema=True)
    assert 1e-4 < problem.largest_difference(problem.weights(average), problem.weights(model)) < 1
    save_weights(model, tmp_path / "w.safetensors")
    load_weights(average, tmp_path / "w.safetensors")
    assert problem.largest_difference(problem.weights(average), problem.weights(model)) == 0
    with pytest.raises(ValueError, match="needs a checkpoint's folder"):
        load_weights(model, tmp_path / "w.safetensors", ema=True)
    plain = fit(model, problem.loss, problem.data(), replace(CFG, out_dir=tmp_path / "plain"))
    assert plain.checkpoint is not None
    with pytest.raises(ValueError, match="no averaged weights"):
        load_weights(model, plain.checkpoint, ema=True)


def test_weights_of_another_model(tmp_path: Path) -> None:
    save_weights(nn.Linear(2, 3), tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=r"missing \['0.bias', '0.weight'\], unknown \['bias', 'weight'\]"):
        load_weights(nn.Sequential(nn.Linear(2, 3)), tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=r"\(given, expected\): .*'weight': \(\(3, 2\), \(3, 4\)\)"):
        load_weights(nn.Linear(4, 3), tmp_path / "w.safetensors")


def test_optimiser_state_of_other_parameters() -> None:
    model = problem.Model()
    optimizer = torch.optim.SGD(model.parameters(), momentum=0.9)
    with pytest.raises(ValueError, match="other parameters: \\['stranger'\\]"):
        state.load_optimizer(model, optimizer, {"stranger.momentum_buffer": torch.zeros(1)})


def test_nothing_that_is_not_finite_is_ever_saved(tmp_path: Path) -> None:
    run_of: list[Run] = []
    cfg = replace(CFG, out_dir=tmp_path, save_every=1)
    with pytest.raises(NonFiniteError):
        fit(
            problem.Model(),
            lambda model, x: (problem.loss(model, x)[0] * (float("nan") if run_of[0].step == 3 else 1), 1),
            problem.data(),
            cfg,
            callbacks=[run_of.append],
        )
    assert checkpoint.steps_saved(tmp_path) == [2, 3]


def test_what_cannot_be_carried() -> None:
    with pytest.raises(TypeError, match=r"'carry.thing' is a list; allowed: torch.Generator"):
        state.carried({"carry.thing": []})
    with pytest.raises(ValueError, match=r"no state for 'carry\.noise'"):
        state.load_carried({"carry.noise": torch.Generator()}, {})
    with pytest.raises(ValueError, match=r"no state for 'callback\.KeepBest\.0'"):
        state.load_carried({"callback.KeepBest.0": KeepBest(lambda model: 0.0)}, {})
