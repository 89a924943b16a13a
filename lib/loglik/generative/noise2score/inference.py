"""From a network and a noisy image to the denoised one: tiles, the score in its units, Tweedie, the level."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from loglik.generative.noise2score import losses
from loglik.generative.noise2score.noise import NoiseModel

Floats = NDArray[np.float64]


def _planes(y: ArrayLike) -> Floats:
    image = np.asarray(y, dtype=np.float64)
    if image.ndim not in (2, 3):
        raise ValueError(f"an image has the shape (H, W) or (C, H, W), got {image.shape}")
    if not np.isfinite(image).all():
        raise ValueError("the image has NaN or infinite pixels")
    return image[None] if image.ndim == 2 else image


@torch.no_grad()
def network_output(net: nn.Module, y: ArrayLike, tile: int = 512) -> Floats:
    """A network's output on one image, in tiles where it is large.

    Parameters
    ----------
    net : nn.Module
        With the attributes `multiple` (sides must be divisible by it) and `reach` (how far a pixel looks).
    y : array_like, shape (H, W) or (C, H, W)
    tile : int
        Pixels of a tile's side, without the margin of `reach` that tiles share.

    Returns
    -------
    ndarray of the shape of `y`

    Notes
    -----
    Borders are mirrored up to the next multiple. A tile starts at a multiple, so with a margin of at least the
    network's reach tiled and untiled results agree.
    """
    image = _planes(y)
    multiple, reach = int(getattr(net, "multiple", 1)), int(getattr(net, "reach", 32))
    h, w = image.shape[1:]
    pad_h, pad_w = -h % multiple, -w % multiple
    padded = np.pad(image, ((0, 0), (0, pad_h), (0, pad_w)), mode="symmetric")
    device = next(net.parameters()).device
    source = torch.from_numpy(padded).to(device, next(net.parameters()).dtype)[None]
    step, margin = -(-tile // multiple) * multiple, -(-reach // multiple) * multiple
    was_training = net.training
    net.eval()
    result = torch.empty_like(source)
    for top in range(0, source.shape[2], step):
        for left in range(0, source.shape[3], step):
            _one_tile(net, source, result, (top, left), step, margin)
    net.train(was_training)
    return result[0, :, :h, :w].double().cpu().numpy().reshape(np.shape(y))


def _one_tile(
    net: nn.Module, source: Tensor, result: Tensor, corner: tuple[int, int], step: int, margin: int
) -> None:
    (top, left), (high, wide) = corner, source.shape[2:]
    a, b = max(0, top - margin), max(0, left - margin)
    c, d = min(high, top + step + margin), min(wide, left + step + margin)
    part = net(source[:, :, a:c, b:d])
    bottom, right = min(high, top + step), min(wide, left + step)
    result[:, :, top:bottom, left:right] = part[:, :, top - a : bottom - a, left - b : right - b]


def score(net: nn.Module, y: ArrayLike, noise: NoiseModel, tile: int = 512) -> Floats:
    """The learned score with respect to the argument that `noise` counts in: pixels, or photons for Poisson noise.

    No noise is added here: that belongs to training alone.
    """
    return noise.unit * network_output(net, noise.to_network(y), tile)


def denoise(net: nn.Module, y: ArrayLike, noise: NoiseModel, tile: int = 512) -> Floats:
    """Tweedie's formula with the learned score.

    Parameters
    ----------
    net : nn.Module
        From :func:`~loglik.generative.noise2score.train_score`.
    y : array_like, shape (H, W) or (C, H, W)
        Noisy image, about [0, 1]; not clipped.
    noise : NoiseModel
        With the level, known or estimated.
    tile : int
        See :func:`network_output`.

    Returns
    -------
    ndarray of the shape of `y`
        Not clipped.

    Raises
    ------
    ValueError
        For another shape, negative pixels of Poisson or Gamma noise, or a score that isn't finite.
    """
    return noise.estimate(y, score(net, y, noise, tile))


def denoise_residual(net: nn.Module, y: ArrayLike, tile: int = 512) -> Floats:
    """``y + net(y)``: what supervised training, Noise2Noise, SURE and PURE do with their networks."""
    return np.asarray(y, dtype=np.float64) + network_output(net, y, tile)


@torch.no_grad()
def denoise_noise2self(net: nn.Module, y: ArrayLike) -> Floats:
    """Noise2Self's J-invariant prediction: each pixel from the masked input of its own grid (16 passes)."""
    image = torch.from_numpy(_planes(y)).float()[None]
    outputs = torch.empty_like(image)
    for phase in range(16):
        masked, mask = losses.mask_noise2self(image, phase)
        predicted = torch.from_numpy(network_output(net, masked[0].numpy())).float()[None]
        outputs = torch.where(mask, predicted, outputs)
    return outputs[0].double().numpy().reshape(np.shape(y))


def psnr(x: ArrayLike, estimate: ArrayLike) -> float:
    """Peak signal-to-noise ratio in dB, peak 1, the estimate clipped to [0, 1] as in the official code."""
    from skimage.metrics import peak_signal_noise_ratio

    clipped = np.clip(np.asarray(estimate, dtype=np.float64), 0, 1)
    with np.errstate(divide="ignore"):  # no error at all: infinite
        return float(peak_signal_noise_ratio(np.asarray(x, dtype=np.float64), clipped, data_range=1.0))


def ssim(x: ArrayLike, estimate: ArrayLike) -> float:
    """Structural similarity, the estimate clipped to [0, 1]."""
    from skimage.metrics import structural_similarity

    true = np.asarray(x, dtype=np.float64)
    clipped = np.clip(np.asarray(estimate, dtype=np.float64), 0, 1)
    options: dict[str, Any] = {"data_range": 1.0, "channel_axis": 0 if true.ndim == 3 else None}
    return float(structural_similarity(true, clipped, **options))
