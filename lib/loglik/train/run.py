"""A run in progress: what callbacks see, what a checkpoint holds, what remains at the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from loglik.train import checkpoint, state
from loglik.train.config import TrainConfig
from loglik.train.context import Context
from loglik.train.ema import EMA
from loglik.train.meter import Meter


@dataclass
class TrainLog:
    """What :func:`fit` returns.

    Attributes
    ----------
    frame : DataFrame
        A row every `log_every` steps: loss and metrics (means over the units since the last row), lr, grad_norm,
        units, units_per_s, on a GPU memory_gb and mfu, and what callbacks logged.
    step : int
        Steps done, those before a resume included.
    stopped : str or None
        Why the run ended early.
    checkpoint : Path or None
        The last one.
    """

    frame: pd.DataFrame
    step: int
    stopped: str | None = None
    checkpoint: Path | None = None


@dataclass
class Run:
    """A run in progress, as callbacks see it.

    Attributes
    ----------
    model : nn.Module
        The caller's own model, never a wrapper.
    cfg, context : TrainConfig, Context
    step : int
        Steps done.
    ema : EMA or None
        ``with run.ema.applied(): …`` computes with the averaged weights.
    checkpoint : Path or None
        The last one.
    """

    model: nn.Module
    cfg: TrainConfig
    context: Context
    optimizer: torch.optim.Optimizer
    sampler: Any
    meter: Meter
    carry: Mapping[str, Any]
    ema: EMA | None = None
    step: int = 0
    checkpoint: Path | None = None
    stopped: str | None = None
    logged: dict[int, dict[str, float]] = field(default_factory=dict)

    @property
    def epoch_ended(self) -> bool:
        """Whether this step was the last of an epoch."""
        batches = getattr(self.sampler, "batches_per_epoch", 0)
        return bool(batches) and self.step > 0 and self.step % batches == 0

    @property
    def saved_step(self) -> int:
        """Steps done at the last checkpoint; -1 before it."""
        return -1 if self.checkpoint is None else int(self.checkpoint.name.removeprefix("step-"))

    def log(self, **values: float) -> None:
        """Add columns to this step's row."""
        self.logged.setdefault(self.step, {"step": self.step}).update(values)

    def stop(self, reason: str) -> None:
        """End the run early, with a checkpoint.

        Alone, before the next step. With other processes, after it: the word travels with that step's totals, so
        that all end together (on GPUs at the next row of the log).
        """
        self.stopped = reason

    def save(self) -> None:
        """Write a checkpoint now; all processes call this together.

        Raises
        ------
        CheckpointError
            When it couldn't be written; the ones before are untouched.
        """
        if self.cfg.out_dir is None:
            raise ValueError("saving needs TrainConfig(out_dir=…)")
        self.meter.look(self.checkpoint)  # raises on NaN: what isn't finite is never saved
        facts = {
            "step": self.step,
            "world": self.context.world,
            "torch": torch.__version__,
            "trajectory": self.cfg.trajectory(),
            "order": self._order(self.step),
            "meter": self.meter.state_dict(),
            "logged": list(self.logged.values()),
        }
        shared: dict[str, Mapping[str, Any]] = {
            "model": state.model_tensors(self.model),
            "optimizer": state.optimizer_state(self.model, self.optimizer),
            "run": facts,
        }
        if self.ema is not None:
            shared["ema"] = {name: state.full(tensor) for name, tensor in self.ema.average.items()}
        own = state.generators(self.context) | state.carried(self.carry)
        folder, keep = Path(self.cfg.out_dir), self.cfg.keep
        self.checkpoint = checkpoint.save(folder, self.step, shared, own, self.context, keep=keep)

    def restore(self, path: Path, *, branch: bool) -> None:
        """Take everything up where the checkpoint left it; with `branch`, weights, optimiser and step only."""
        facts = checkpoint.read(path, "run")
        if not branch:
            self._must_be_the_same_run(facts)
        state.load_model(self.model, checkpoint.read(path, "model"))
        state.load_optimizer(self.model, self.optimizer, checkpoint.read(path, "optimizer"))
        if self.ema is not None:
            self.ema = EMA(self.model, self.ema.decay)
            for name, value in checkpoint.read(path, "ema").items():
                self.ema.average[name].copy_(state.like(value, self.ema.average[name]))
        self.step = facts["step"]
        if branch:
            return
        self.checkpoint = path
        self.meter.load_state_dict(facts["meter"])
        self.logged = {int(row["step"]): row for row in facts["logged"]}
        own = checkpoint.read(path, f"rank-{self.context.rank}")
        if own:  # a process that wasn't there before starts its generators afresh
            state.set_generators(own, self.context)
            state.load_carried(self.carry, own)

    def _order(self, step: int) -> Any:
        fingerprint = getattr(self.sampler, "fingerprint", None)
        return fingerprint(step) if fingerprint else None

    def _must_be_the_same_run(self, facts: Mapping[str, Any]) -> None:
        then, now = facts["trajectory"], self.cfg.trajectory()
        then, now = {**then, "order": facts["order"]}, {**now, "order": self._order(facts["step"])}
        changed = [
            f"{name}: {then[name]} then, {now[name]} now" for name in now if then.get(name) != now[name]
        ]
        if changed:
            raise ValueError(
                f"the checkpoint is of another run ({'; '.join(changed)}). branch=True takes its weights, "
                "optimiser and step into a run of its own"
            )

    def result(self) -> TrainLog:
        """The log as a data frame."""
        steps = sorted({*self.meter.rows, *self.logged})
        rows = [{**self.meter.rows.get(step, {}), **self.logged.get(step, {})} for step in steps]
        frame = pd.DataFrame(rows, columns=None if rows else ["step", "loss"]).astype({"step": int})
        early = self.stopped if self.step < self.cfg.steps else None
        return TrainLog(frame, self.step, early, self.checkpoint)
