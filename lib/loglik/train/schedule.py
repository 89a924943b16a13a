"""The learning rate as a pure function of the step: there is no scheduler whose state could be lost."""

from __future__ import annotations

import math

SCHEDULES = ("cosine", "wsd", "constant")


def learning_rate_factor(
    step: int,
    steps: int,
    *,
    schedule: str = "cosine",
    warmup: int = 0,
    decay: float = 0.2,
    final: float = 0.0,
) -> float:
    """What the peak learning rate is multiplied by at `step` (from 0) of `steps`.

    Parameters
    ----------
    schedule : {"cosine", "wsd", "constant"}
        ``cosine``: half a cosine from 1 down to `final`. ``wsd`` (warm up, stay, decay): 1, then a straight line to
        `final` over the last `decay` of all steps. ``constant``: 1. Each after the warm-up.
    warmup : int
        Steps of a straight line up to 1; its first step is ``1 / warmup``, not 0.
    decay : float
        Share of `steps` in which ``wsd`` comes down.
    final : float
        Share of the peak that would be reached one step after the last, so no step is wasted at 0.

    Examples
    --------
    >>> [round(learning_rate_factor(k, 4, warmup=2), 2) for k in range(4)]
    [0.5, 1.0, 1.0, 0.5]
    """
    if step < warmup:
        return (step + 1) / warmup
    if schedule == "cosine":
        share = (step - warmup) / max(steps - warmup, 1)
        return final + (1 - final) * (1 + math.cos(math.pi * min(share, 1.0))) / 2
    if schedule == "wsd":
        left = (steps - step) / max(decay * steps, 1)
        return final + (1 - final) * min(max(left, 0.0), 1.0)
    if schedule == "constant":
        return 1.0
    raise ValueError(f"unknown schedule {schedule!r}; allowed: {', '.join(SCHEDULES)}")
