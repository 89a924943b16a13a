"""An exponential moving average of the weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class EMA:
    """Weights averaged over the steps: ``average = decay * average + (1 - decay) * weights``.

    Parameters
    ----------
    model : nn.Module
        Its trainable parameters are averaged, whole or sharded; buffers are not.
    decay : float
        In [0, 1). About ``1 / (1 - decay)`` steps are remembered.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"ema decay must be in [0, 1), got {decay}")
        self.decay = decay
        self._weights = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.average: dict[str, Tensor] = {name: p.detach().clone() for name, p in self._weights.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights of one more step."""
        torch._foreach_lerp_(list(self.average.values()), list(self._weights.values()), 1 - self.decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model computes with the average inside the block, with its own weights after it."""
        own = {name: p.detach().clone() for name, p in self._weights.items()}
        self._put(self.average)
        try:
            yield
        finally:
            self._put(own)

    @torch.no_grad()
    def _put(self, values: dict[str, Tensor]) -> None:
        torch._foreach_copy_(list(self._weights.values()), [values[name] for name in self._weights])
