"""Matrix products at the CPU's full width, for as long as a block lasts.

PyTorch hands ``nn.Linear`` in float32 to MKL, which on processors of other makers stays at AVX2; a convolution goes to
oneDNN, which takes AVX-512 wherever there is one. A linear layer *is* a 1×1 convolution over the rows. On an AMD EPYC
(Zen 5) that doubles the speed; where MKL is as wide, nothing is lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SMALL = 20_480  # numbers in the input; below, PyTorch takes its own convolution, which is slow


def product(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``rows @ weight.T + bias`` as a 1×1 convolution where that is faster; differentiable.

    Parameters
    ----------
    rows : Tensor of shape (..., K)
    weight : Tensor of shape (N, K)
    bias : Tensor of shape (N,), optional

    Returns
    -------
    Tensor of shape (..., N)
    """
    usual = rows.device.type != "cpu" or rows.dtype != torch.float32 or min(weight.shape) < 64
    if usual or rows.numel() <= SMALL:
        return F.linear(rows, weight, bias)
    image = rows.reshape(1, -1, 1, weight.shape[1]).permute(0, 3, 1, 2)  # channels last: no copy
    # A dilation changes nothing in a kernel of one place, but it keeps PyTorch from its own convolution.
    out = F.conv2d(image, weight[:, :, None, None], bias, dilation=2)
    return out.permute(0, 2, 3, 1).reshape(*rows.shape[:-1], len(weight))


class _Wide(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the name that nn.Linear gives it)
        """:func:`product`."""
        return product(input, self.weight, self.bias)


@contextmanager
def wide_products(*models: Any) -> Iterator[None]:
    """Let the linear layers of `models` go through :func:`product` inside the block; afterwards they are as before.

    Parameters
    ----------
    *models : nn.Module
        Layers of a subclass of ``nn.Linear`` are left alone.
    """
    layers = [module for model in models for module in model.modules() if type(module) is nn.Linear]
    for layer in layers:
        layer.__class__ = _Wide
    try:
        yield
    finally:
        for layer in layers:
            layer.__class__ = nn.Linear
