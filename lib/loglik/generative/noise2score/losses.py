"""Losses of all methods: one image batch in, one number per pixel out. None but `supervised` sees a clean pixel."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Net = Callable[[Tensor], Tensor]
EPSILON = 1e-3  # step of the directional derivative in SURE and PURE


def residual(net: Net, y: Tensor) -> Tensor:
    """The denoiser ``y + net(y)`` of the baselines that may see a pixel when they predict it."""
    return y + net(y)


def ardae_loss(
    net: Net, y: Tensor, sigma_a: float | Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """``mean (u + σ_a net(y + σ_a u))²``: its minimiser is the score of the law of ``y + σ_a u``.

    Parameters
    ----------
    net : callable
        Images (B, C, H, W) to scores of that shape, with respect to y.
    y : Tensor
        Noisy images, and nothing else.
    sigma_a : float or Tensor broadcastable to `y`
        Standard deviation of the added noise.
    generator : torch.Generator, optional
        For u.

    Returns
    -------
    Tensor
        A scalar. 1 for a score of zero; at the optimum ``s² / (s² + σ_a²)`` for Gaussian data of variance s².
    """
    u = torch.randn(y.shape, generator=generator, device=y.device, dtype=y.dtype)
    return (u + sigma_a * net(y + sigma_a * u)).square().mean()


def supervised_loss(net: Net, y: Tensor, x: Tensor) -> Tensor:
    """``mean (f(y) - x)²``; with a second noisy copy in the place of x it is Noise2Noise's."""
    return (residual(net, y) - x).square().mean()


def _shifted(y: Tensor, rows: int, cols: int) -> Tensor:
    return torch.roll(y, (rows, cols), (-2, -1))


_NEIGHBOURS = [(r, c) for r in range(-2, 3) for c in range(-2, 3) if (r, c) != (0, 0)]


def mask_noise2void(
    y: Tensor, generator: torch.Generator | None = None, share: float = 0.02
) -> tuple[Tensor, Tensor]:
    """The input of Noise2Void: a few pixels replaced by a random one of the 24 around them (edges wrap around).

    Returns
    -------
    masked, mask : Tensors of the shape of `y`
        Input, and where it differs (all channels of a pixel at once).
    """
    place = y[:, :1]
    mask = torch.rand(place.shape, generator=generator, device=y.device) < share
    which = torch.randint(len(_NEIGHBOURS), place.shape, generator=generator, device=y.device)
    b, _, i, j = torch.nonzero(mask, as_tuple=True)
    offsets = torch.tensor(_NEIGHBOURS, device=y.device)[which[b, 0, i, j]]
    rows, cols = (i + offsets[:, 0]) % y.shape[-2], (j + offsets[:, 1]) % y.shape[-1]
    masked = y.clone()
    masked[b, :, i, j] = y[b, :, rows, cols]
    return masked, mask.expand_as(y)


def noise2void_loss(
    net: Net, y: Tensor, generator: torch.Generator | None = None, share: float = 0.02
) -> Tensor:
    """Squared error of ``net`` on the masked pixels alone, whose own value it never saw.

    There is no ``y +`` here: the value that stands in a masked pixel is a neighbour's.
    """
    masked, mask = mask_noise2void(y, generator, share)
    error = (net(masked) - y).square() * mask
    return error.sum() / mask.sum().clamp(min=1)


def mask_noise2self(y: Tensor, phase: int) -> tuple[Tensor, Tensor]:
    """The input of Noise2Self: every sixteenth pixel (a 4×4 grid) replaced by the mean of its four neighbours.

    Parameters
    ----------
    y : Tensor
    phase : int
        Which of the 16 grids.
    """
    if not 0 <= phase < 16:
        raise ValueError(f"phase must be in 0..15, got {phase}")
    mask = torch.zeros(y.shape[-2:], dtype=torch.bool, device=y.device)
    mask[phase // 4 :: 4, phase % 4 :: 4] = True
    around = sum(_shifted(y, r, c) for r, c in ((1, 0), (-1, 0), (0, 1), (0, -1))) / 4
    return torch.where(mask, around, y), mask.expand_as(y)


def noise2self_loss(net: Net, y: Tensor, phase: int) -> Tensor:
    """Squared error of ``net`` on one grid of pixels, predicted from the others."""
    masked, mask = mask_noise2self(y, phase)
    error = (net(masked) - y).square() * mask
    return error.sum() / mask.sum()


def _random_signs(y: Tensor, generator: torch.Generator | None) -> Tensor:
    bits = torch.randint(2, y.shape, generator=generator, device=y.device)
    return (2 * bits - 1).to(y.dtype)


def monte_carlo_divergence(
    f: Net,
    y: Tensor,
    weight: Tensor | float,
    generator: torch.Generator | None = None,
    epsilon: float = EPSILON,
) -> tuple[Tensor, Tensor]:
    """``f(y)`` and an unbiased estimate of ``mean_i weight_i ∂f_i/∂y_i`` along one random direction of signs.

    Parameters
    ----------
    f : callable
    y : Tensor
    weight : Tensor or float
        One for SURE, y for PURE.
    generator : torch.Generator, optional
    epsilon : float
        Length of the difference quotient; exact for a linear f.
    """
    signs = _random_signs(y, generator)
    output = f(y)
    return output, (weight * signs * (f(y + epsilon * signs) - output)).mean() / epsilon


def sure_loss(net: Net, y: Tensor, sigma: float, generator: torch.Generator | None = None) -> Tensor:
    """Stein's unbiased estimate of ``mean (f(y) - x)²`` under Gaussian noise of standard deviation `sigma`."""
    output, divergence = monte_carlo_divergence(lambda t: residual(net, t), y, 1.0, generator)
    return (output - y).square().mean() - sigma**2 + 2 * sigma**2 * divergence


def pure_loss(
    net: Net, y: Tensor, zeta: float, generator: torch.Generator | None = None, epsilon: float = 1e-2
) -> Tensor:
    """The Poisson analogue, to first order in ζ: ``mean (f² - 2 y f) + 2 ζ mean(y ∂f) + mean x²``.

    The last term doesn't depend on f; its unbiased estimate ``mean(y² - ζ y)`` makes the value a squared error.
    """
    output, divergence = monte_carlo_divergence(lambda t: residual(net, t), y, y, generator, epsilon)
    return (output.square() - 2 * y * output + y.square() - zeta * y).mean() + 2 * zeta * divergence
