"""The links between losses, as numbers that must agree."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from loglik.generative.noise2score import losses
from loglik.generative.noise2score.onedim import Prior


def exact_divergence(f: Callable[[Tensor], Tensor], y: Tensor) -> Tensor:
    """``Σ_i ∂f_i/∂y_i`` of one small image (1, C, H, W) through the whole Jacobian."""
    jacobian = torch.autograd.functional.jacobian(f, y, create_graph=False)
    return jacobian.reshape(y.numel(), y.numel()).trace()


def sure_and_score_matching(net: nn.Module, y: Tensor, sigma: float) -> tuple[float, float]:
    """SURE of ``f = y + σ² s`` and ``σ² + 2 σ⁴ J(s)``, J Hyvärinen's objective per pixel; equal for every s.

    Parameters
    ----------
    net : nn.Module
        s, in double precision.
    y : Tensor, shape (1, C, H, W)
    sigma : float

    Returns
    -------
    (sure, score_matching) : tuple of float
    """
    n = y.numel()

    def f(t: Tensor) -> Tensor:
        return t + sigma**2 * net(t)

    with torch.no_grad():
        s, distance = net(y), (f(y) - y).square().mean()
    sure = -(sigma**2) + distance + 2 * sigma**2 * exact_divergence(f, y) / n
    hyvarinen = 0.5 * s.square().mean() + exact_divergence(net, y) / n
    return float(sure), float(sigma**2 + 2 * sigma**4 * hyvarinen)


@torch.no_grad()
def ardae_and_noise2noise(net: nn.Module, y: Tensor, sigma_a: float, seed: int) -> tuple[float, float]:
    """The AR-DAE loss, and Noise2Noise's for the pair (y + σ_a u, y) over σ_a², with ``f = ỹ + σ_a² net(ỹ)``."""
    generator = torch.Generator().manual_seed(seed)
    ours = losses.ardae_loss(net, y, sigma_a, generator)
    u = torch.randn(y.shape, generator=torch.Generator().manual_seed(seed), dtype=y.dtype)
    noisier = y + sigma_a * u
    theirs = (noisier + sigma_a**2 * net(noisier) - y).square().mean() / sigma_a**2
    return float(ours), float(theirs)


def noise2noise_gap(
    prior: Prior, f: Callable[[np.ndarray], np.ndarray], sigma: float, n: int, rng: np.random.Generator
) -> float:
    """How many standard errors Noise2Noise's loss minus the supervised one is from σ², for a denoiser f."""
    x = prior.sample(n, rng)
    first, second = x + sigma * rng.standard_normal((2, n))
    gap = (f(first) - second) ** 2 - (f(first) - x) ** 2 - sigma**2
    return float(gap.mean() / (gap.std(ddof=1) / np.sqrt(n)))
