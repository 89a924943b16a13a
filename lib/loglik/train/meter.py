"""What a run says about itself: loss by units, speed, memory, model-FLOP utilisation; and the alarm for NaN."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from loglik.train.config import TrainConfig
from loglik.train.context import Context

# Dense bf16 peak in FLOP/s, from the makers' data sheets. The first name that the device's name contains counts.
PEAK_BF16 = {
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "H200": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L40": 181e12,
    "L4": 121e12,
}


class NonFiniteError(FloatingPointError):
    """Loss or gradient became NaN or infinite.

    Attributes
    ----------
    step : int
        The step (from 1) in which it happened; the steps before it were finite.
    checkpoint : Path or None
        The last checkpoint; it was written before.
    """

    def __init__(self, step: int, what: str, value: float, checkpoint: Any) -> None:
        self.step, self.checkpoint = step, checkpoint
        kept = f"the last good checkpoint is {checkpoint}" if checkpoint else "there is no checkpoint"
        super().__init__(f"{what} is {value} in step {step}; {kept}")


class Meter:
    """Collects the totals of each step on the device, and looks at them when it is cheap to.

    On a CPU that is every step. On a GPU looking means waiting, so totals queue up until a row is due.
    """

    def __init__(self, context: Context, cfg: TrainConfig) -> None:
        self.device, self.log_every = context.device, cfg.log_every
        self.peak_flops = (peak_flops(context.device, cfg.precision) or 0.0) * context.world
        self.flops_per_unit = cfg.flops_per_unit or 0.0
        self.names: tuple[str, ...] = ()
        self.rows: dict[int, dict[str, float]] = {}
        self.stop_votes = 0.0
        self._queue: list[tuple[int, float, Tensor]] = []
        self._since: list[float] = []
        self._clock = time.perf_counter()
        self._units_since_clock = 0.0

    def add(self, step: int, lr: float, totals: Tensor, norm: Tensor) -> None:
        """`totals`: loss, units, votes to stop, then the metrics, summed over the whole step and all processes."""
        self._queue.append((step, lr, torch.cat([totals, norm.reshape(1).to(totals)])))

    def due(self, step: int) -> bool:
        """Whether it is time to look."""
        return self.device.type == "cpu" or self.row_due(step)

    def row_due(self, step: int) -> bool:
        """Whether `step` ends a row of the log."""
        return step % self.log_every == 0

    def look(self, checkpoint: Any) -> None:
        """Take in what has queued up.

        Raises
        ------
        NonFiniteError
            Names the first step whose loss or gradient isn't finite.
        ValueError
            For a step without units.
        """
        if not self._queue:
            return
        values = torch.stack([totals for _, _, totals in self._queue]).tolist()
        for (step, lr, _), (loss, units, votes, *metrics, norm) in zip(self._queue, values, strict=True):
            if not math.isfinite(loss):
                raise NonFiniteError(step, "loss", loss, checkpoint)
            if not units > 0:
                raise ValueError(f"the loss function counted {units} units in step {step}; it needs some")
            if not math.isfinite(norm):
                raise NonFiniteError(step, "gradient norm", norm, checkpoint)
            self.stop_votes += votes
            self._units_since_clock += units
            sums = [loss, units, *metrics]
            self._since = [a + b for a, b in zip(self._since or [0.0] * len(sums), sums, strict=True)]
            self._lr, self._norm = lr, norm
        self._queue.clear()

    @property
    def counts_flops(self) -> bool:
        """Whether the FLOPs of a unit are wanted and not yet known."""
        return bool(self.peak_flops) and not self.flops_per_unit

    def row(self, step: int, checkpoint: Any = None) -> str:
        """Close a row at `step`, means over all units since the last one; the row in short, for the bar."""
        self.look(checkpoint)
        loss, units, *metrics = self._since
        means = {name: value / units for name, value in zip(self.names, metrics, strict=True)}
        row = {"step": step, "loss": loss / units, "lr": self._lr, "grad_norm": self._norm, "units": units}
        self.rows[step] = {**row, **means, **self._speed()}
        self._since = []
        shown = {"loss": ".4g", "units_per_s": ".3g", "memory_gb": ".1f", "mfu": ".1%"}
        return ", ".join(
            f"{k}={self.rows[step][k]:{form}}" for k, form in shown.items() if k in self.rows[step]
        )

    def _speed(self) -> dict[str, float]:
        now = time.perf_counter()
        per_second = self._units_since_clock / (now - self._clock)
        self._clock, self._units_since_clock = now, 0.0
        speed = {"units_per_s": per_second}
        if self.device.type == "cuda":
            speed["memory_gb"] = torch.cuda.max_memory_allocated(self.device) / 1e9
        if self.peak_flops and self.flops_per_unit:
            speed["mfu"] = per_second * self.flops_per_unit / self.peak_flops
        return speed

    def state_dict(self) -> dict[str, Any]:
        """Rows and open sums, as JSON."""
        facts = {"names": list(self.names), "flops_per_unit": self.flops_per_unit}
        return {"rows": list(self.rows.values()), "since": self._since, **facts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.rows = {int(row["step"]): row for row in state["rows"]}
        self._since, self.names = list(state["since"]), tuple(state["names"])
        self.flops_per_unit = state["flops_per_unit"]  # counting again would change the last bits of a step


def peak_flops(device: torch.device, precision: str) -> float | None:
    """Peak of a known GPU in bf16, else None."""
    if device.type != "cuda" or precision != "bf16":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak for part, peak in PEAK_BF16.items() if part in name), None)


def model_flops(work: Callable[[], object]) -> float:
    """Floating-point operations of the matrix products and convolutions in ``work()``; a product-sum counts as two."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())
