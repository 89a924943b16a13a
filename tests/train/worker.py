"""What the drills start under torchrun: scenarios by name, results as safetensors and JSON in a folder.

torchrun tests/train/worker.py FOLDER SCENARIO [SCENARIO …]
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from loglik.train import (
    Context,
    NonFiniteError,
    Run,
    StopOnSignal,
    TrainConfig,
    TrainLog,
    distributed_context,
    fit,
    save_weights,
)
from tests.train import problem

FIVE = TrainConfig(
    steps=5, batch_size=8, lr=0.01, clip=1.0, ema=0.9, weight_decay=0.1, progress=False, log_every=1
)
LONG = replace(FIVE, steps=12, precision="bf16", grad_accum=2, log_every=4)


def first_restart() -> bool:
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"


def five(folder: Path, context: Context, **changes: Any) -> TrainLog:
    """23 texts in steps of 8: the third step has 7, one process 4 and the other 3."""
    model = problem.Model()
    log = fit(model, problem.loss, problem.data(), replace(FIVE, **changes), context=context)
    save(model, context, folder / "weights.safetensors")
    return log


def ddp(folder: Path, context: Context) -> TrainLog:
    return five(folder, context, out_dir=folder / "run")


def accumulating(folder: Path, context: Context) -> TrainLog:
    """Three micro-batches in each of two processes: with 8 or 7 texts some have one more than others."""
    return five(folder, context, grad_accum=3)


def stand_ins(folder: Path, context: Context) -> TrainLog:
    """More micro-batches than texts: some processes compute a stand-in of weight 0."""
    return five(folder, context, grad_accum=5)


def fetched_ahead(folder: Path, context: Context) -> TrainLog:
    return five(folder, context, workers=1)


def fsdp(folder: Path, context: Context) -> TrainLog:
    return five(folder, context, parallel="fsdp", out_dir=folder / "run")


def fsdp_resumed(folder: Path, context: Context) -> TrainLog:
    cfg = replace(FIVE, parallel="fsdp", out_dir=folder / "run")
    stop: Callable[[Run], None] = lambda run: run.stop("") if run.step == 2 else None  # noqa: E731
    first = fit(problem.Model(), problem.loss, problem.data(), cfg, callbacks=[stop], context=context)
    model = problem.Model(seed=4)
    log = fit(model, problem.loss, problem.data(), cfg, resume="auto", context=context)
    save(model, context, folder / "weights.safetensors")
    assert first.step == 3, "all processes end after the step that carried the word"
    return log


def sharded_and_copied_checkpoints_are_one_format(folder: Path, context: Context) -> TrainLog:
    """Begin in shards, go on with copies."""
    cfg = replace(FIVE, out_dir=folder / "run")
    stop: Callable[[Run], None] = lambda run: run.stop("") if run.step == 2 else None  # noqa: E731
    begun = replace(cfg, parallel="fsdp")
    fit(problem.Model(), problem.loss, problem.data(), begun, callbacks=[stop], context=context)
    model = problem.Model(seed=4)
    log = fit(model, problem.loss, problem.data(), cfg, resume="auto", context=context)
    save(model, context, folder / "weights.safetensors")
    return log


def long(folder: Path, context: Context, *callbacks: Callable[[Run], None]) -> TrainLog:
    """Dropout, averages, bf16, accumulation: with and without a disturbance."""
    model = problem.Model(dropout=0.2)
    cfg = replace(LONG, save_every=3, out_dir=folder / "run")
    return fit(model, problem.loss, problem.data(), cfg, callbacks=callbacks, resume="auto", context=context)


def undisturbed(folder: Path, context: Context) -> TrainLog:
    return long(folder, context)


def killed(folder: Path, context: Context) -> TrainLog:
    """Process 1 dies by SIGKILL in step 8, two steps after a checkpoint; torchrun starts both again."""

    def kill(run: Run) -> None:
        if run.step == 8 and run.context.rank == 1 and first_restart():
            os.kill(os.getpid(), signal.SIGKILL)

    (folder / f"started-{os.environ['TORCHELASTIC_RESTART_COUNT']}").touch()
    return long(folder, context, kill)


def stopped_by_one(folder: Path, context: Context) -> TrainLog:
    def stop(run: Run) -> None:
        if run.context.rank == 1 and run.step == 2:
            run.stop("process 1 had enough")

    return fit(problem.Model(), problem.loss, problem.data(), FIVE, callbacks=[stop], context=context)


def nan_in_one(folder: Path, context: Context) -> dict[str, Any]:
    """Only process 1 sees the NaN; both must stop, and say the same."""
    calls = iter(range(1, 99))

    def loss(model: nn.Module, tokens: Tensor) -> tuple[Any, ...]:
        summed, units, _ = problem.loss(model, tokens)
        return summed * (float("nan") if context.rank == 1 and next(calls) == 3 else 1.0), units

    try:
        fit(
            problem.Model(),
            loss,
            problem.data(),
            replace(FIVE, out_dir=folder / "run", save_every=1),
            context=context,
        )
    except NonFiniteError as error:
        return {"step": error.step, "checkpoint": Path(error.checkpoint).name}
    raise AssertionError("no error")


def full_disk_in_one(folder: Path, context: Context) -> dict[str, Any]:
    """Process 1 cannot write at step 2: both give that checkpoint up together, and go on."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)

    def disk(run: Run) -> None:
        full = run.context.rank == 1 and run.step == 1
        resource.setrlimit(resource.RLIMIT_FSIZE, (100 if full else limit[0], limit[1]))

    cfg = replace(FIVE, out_dir=folder / "run", save_every=1, keep=9)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        log = fit(problem.Model(), problem.loss, problem.data(), cfg, callbacks=[disk], context=context)
    said = [str(w.message) for w in caught if "not written" in str(w.message)]
    return {
        "step": log.step,
        "warnings": said,
        "kept": sorted(p.name for p in (folder / "run").glob("step-*")),
    }


def preempted(folder: Path, context: Context) -> TrainLog:
    """Train for long, until someone sends SIGTERM to torchrun."""
    (folder / f"started-{context.rank}").touch()
    cfg = replace(FIVE, steps=1_000_000, schedule="constant", out_dir=folder / "run")
    ready: Callable[[Run], None] = lambda run: (folder / "training").touch() if run.step == 20 else None  # noqa: E731
    return fit(
        problem.Model(), problem.loss, problem.data(), cfg, callbacks=[StopOnSignal(), ready], context=context
    )


def save(model: nn.Module, context: Context, file: Path) -> None:
    """Whole weights from process 0; a sharded model is gathered by all."""
    save_weights(model, file if context.is_main else file.with_suffix(f".{context.rank}"))


def main() -> None:
    torch.set_num_threads(1)
    context = distributed_context(timeout_s=120)
    for name in sys.argv[2:]:
        folder = Path(sys.argv[1]) / name
        folder.mkdir(parents=True, exist_ok=True)
        result = globals()[name](folder, context)
        if isinstance(result, TrainLog):
            result = {"step": result.step, "stopped": result.stopped, "rows": result.frame.to_dict("records")}
        (folder / f"result-{context.rank}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
