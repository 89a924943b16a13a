"""Convolutional networks of a score or a residual: a small one for a CPU and the official U-Net."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from loglik.nn import initialise


class DnCNN(nn.Module):
    """Convolutions and ReLU without batch normalisation, at half resolution where asked.

    Parameters
    ----------
    channels : int
        Of the image: 1 or 3.
    width, depth : int
        Feature maps, and convolutions of 3×3 in all.
    shuffle : int
        Pixels of a side that are folded into channels first, so that a layer costs ``shuffle**2`` times less and
        sees as much more. 1 is the classical network.
    gain : float
        What the output is multiplied by; of the order of one over the noise for a score, 1 for a residual of an
        image. A network whose targets are of size 10 learns slowly towards them.
    generator : torch.Generator, optional
        For the weights; default: seed 0.

    Notes
    -----
    The last layer's weights start a tenth as large, because the first steps explode otherwise.
    """

    def __init__(
        self,
        channels: int = 1,
        width: int = 32,
        depth: int = 7,
        *,
        shuffle: int = 1,
        gain: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if depth < 2 or width < 1 or channels < 1 or shuffle < 1:
            raise ValueError(
                f"need depth ≥ 2 and width, channels, shuffle ≥ 1; got {depth=}, {width=}, {channels=}, {shuffle=}"
            )
        self.channels, self.multiple, self.gain = channels, shuffle, gain
        self.reach = depth * shuffle  # pixels that an output pixel looks away from itself
        sizes = [channels * shuffle**2, *[width] * (depth - 1), channels * shuffle**2]
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(sizes))
        initialise(self, generator or torch.Generator().manual_seed(0))
        with torch.no_grad():
            for layer in self.convolutions[:-1]:
                layer.weight.mul_(6**0.5)  # He's variance for ReLU
            self.convolutions[-1].weight.mul_(0.1)
            nn.init.zeros_(self.convolutions[-1].bias)  # type: ignore[arg-type]

    @property
    def convolutions(self) -> list[nn.Conv2d]:
        """The layers from first to last."""
        return [layer for layer in self.layers if isinstance(layer, nn.Conv2d)]

    def forward(self, y: Tensor) -> Tensor:
        """Images (B, C, H, W) to outputs of that shape; H and W multiples of `shuffle`."""
        h = nn.functional.pixel_unshuffle(y, self.multiple)
        for layer in self.convolutions[:-1]:
            h = torch.relu(layer(h))
        last = self.convolutions[-1](h).to(
            y.dtype
        )  # under autocast the sums of a loss stay in single precision
        return self.gain * nn.functional.pixel_shuffle(last, self.multiple)


def _block(*sizes: int) -> nn.Sequential:
    pairs = list(pairwise(sizes))
    layers = [part for a, b in pairs for part in (nn.Conv2d(a, b, 3, padding=1), nn.LeakyReLU(0.1))]
    return nn.Sequential(*layers)


class UNetN2N(nn.Module):
    """The official network: Noise2Noise's U-Net with five levels of 48 channels.

    Parameters
    ----------
    channels : int
    shared : bool
        Use one block for the four inner levels of the encoder and one for the inner three of the decoder, as the
        released listing does (by accident, it seems).
    generator : torch.Generator, optional
        For the weights (He's law); default: seed 0.
    """

    multiple, reach = 32, 96

    def __init__(
        self, channels: int = 3, *, shared: bool = False, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.channels, self.shared = channels, shared
        self.first = _block(channels, 48, 48)
        self.down = nn.ModuleList(_block(48, 48) for _ in range(1 if shared else 4))
        self.deepest = _block(48, 48)
        self.up_first = _block(96, 96, 96)
        self.up = nn.ModuleList(_block(144, 96, 96) for _ in range(1 if shared else 3))
        self.last = nn.Sequential(_block(96 + channels, 64, 32), nn.Conv2d(32, channels, 3, padding=1))
        random = generator or torch.Generator().manual_seed(0)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, a=0.1, generator=random)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, y: Tensor) -> Tensor:
        """Images (B, C, H, W) to outputs of that shape; H and W multiples of 32."""
        pool = nn.functional.max_pool2d
        levels = [y, pool(self.first(y), 2)]
        for k in range(4):
            levels.append(pool(self.down[0 if self.shared else k](levels[-1]), 2))
        h = self.deepest(levels.pop())
        for k in range(4):
            h = torch.cat([nn.functional.interpolate(h, scale_factor=2.0), levels.pop()], dim=1)
            h = self.up_first(h) if k == 0 else self.up[0 if self.shared else k - 1](h)
        return self.last(torch.cat([nn.functional.interpolate(h, scale_factor=2.0), levels.pop()], dim=1))
