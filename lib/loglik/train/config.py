"""How to train: everything that a run depends on besides model, loss and data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loglik.train.schedule import SCHEDULES, learning_rate_factor


@dataclass(frozen=True)
class TrainConfig:
    """How to train. Nothing here depends on the hardware except `grad_accum`, `compile`, `parallel` and `workers`.

    Attributes
    ----------
    steps : int
        Optimiser steps.
    batch_size : int
        Examples of one step, over all processes and micro-batches: more GPUs make a step faster, not larger.
    grad_accum : int
        Micro-batches of a step in each process; more of them take less memory.
    lr, schedule, warmup, decay, final
        Peak learning rate and its course: see :func:`~loglik.train.schedule.learning_rate_factor`.
    betas, weight_decay : tuple, float
        Of AdamW; only matrices decay.
    clip : float or None
        Largest gradient norm.
    precision : {"fp32", "bf16"}
        ``bf16`` is autocast: weights, gradients and optimiser stay in float32.
    ema : float or None
        Decay of an exponential average of the weights.
    seed : int
        Of the data order, and of the generators that layers such as dropout draw from.
    drop_last : bool
        Leave out the short batch at the end of an epoch.
    compile : bool
        ``torch.compile`` model and loss together.
    parallel : {"ddp", "fsdp"}
        With several processes: a copy of the model in each, or shards of it.
    workers : int
        Processes that fetch batches ahead; 0 fetches in line.
    log_every, save_every : int, int or None
        Steps between rows of the log, and between checkpoints (None: only the last).
    out_dir : path or None
        Where checkpoints go; None: nowhere.
    keep : int
        Checkpoints that stay.
    flops_per_unit : float or None
        Model FLOPs of a unit, forward and backward. None: counted in the first step on a GPU, unless compiled.
    progress : bool
        Show a bar.
    """

    steps: int
    batch_size: int
    grad_accum: int = 1
    lr: float = 1e-3
    schedule: str = "cosine"
    warmup: int = 0
    decay: float = 0.2
    final: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    clip: float | None = None
    precision: str = "fp32"
    ema: float | None = None
    seed: int = 0
    drop_last: bool = False
    compile: bool = False
    parallel: str = "ddp"
    workers: int = 0
    log_every: int = 10
    save_every: int | None = None
    out_dir: str | Path | None = None
    keep: int = 2
    flops_per_unit: float | None = None
    progress: bool = True

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "grad_accum", "log_every", "keep"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.save_every is not None and (self.save_every < 1 or self.out_dir is None):
            raise ValueError("save_every needs at least 1 and an out_dir to save to")
        if self.clip is not None and not self.clip > 0:
            raise ValueError(f"clip must be positive or None, got {self.clip}")
        allowed = {"schedule": SCHEDULES, "precision": ("fp32", "bf16"), "parallel": ("ddp", "fsdp")}
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise ValueError(f"unknown {name} {getattr(self, name)!r}; allowed: {', '.join(values)}")

    def learning_rate(self, step: int) -> float:
        """At `step`, from 0."""
        course = {"schedule": self.schedule, "warmup": self.warmup, "decay": self.decay, "final": self.final}
        return self.lr * learning_rate_factor(step, self.steps, **course)  # type: ignore[arg-type]

    def trajectory(self) -> dict[str, Any]:
        """What a resumed run must agree on to be the same run."""
        free = {
            "grad_accum", "compile", "parallel", "workers", "log_every", "save_every", "out_dir", "keep",
            "flops_per_unit", "progress",
        }  # fmt: skip
        if self.schedule == "constant":
            free.add("steps")
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items() if k not in free}
