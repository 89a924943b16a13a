"""Denoisers that learn nothing: BM3D, with Anscombe's transform for counts, and three of scikit-image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loglik.generative.noise2score.noise import GammaNoise, NoiseModel, PoissonNoise

Floats = NDArray[np.float64]


def anscombe(z: ArrayLike) -> Floats:
    """``2 sqrt(z + 3/8)``: of variance about 1 for Poisson counts."""
    return np.asarray(2 * np.sqrt(np.asarray(z, dtype=np.float64) + 3 / 8))


def inverse_anscombe(a: ArrayLike) -> Floats:
    """The unbiased inverse in closed form (Mäkitalo and Foi, 2011), 0 below ``2 sqrt(3/8)``."""
    d = np.maximum(np.asarray(a, dtype=np.float64), 2 * np.sqrt(3 / 8))
    root = np.sqrt(1.5)
    inverse = d**2 / 4 + root / 4 / d - 11 / 8 / d**2 + 5 / 8 * root / d**3 - 1 / 8
    return np.maximum(inverse, 0.0)


def _scaled(transformed: Floats, deviation: float, denoiser: Callable[[Floats, float], Floats]) -> Floats:
    low, high = float(transformed.min()), float(transformed.max())
    width = max(high - low, 1e-9)
    return low + width * denoiser((transformed - low) / width, deviation / width)


def _gaussian_bm3d(y: Floats, sigma: float) -> Floats:
    import bm3d

    if y.ndim == 3:
        return np.moveaxis(np.asarray(bm3d.bm3d_rgb(np.moveaxis(y, 0, -1), sigma)), -1, 0)
    return np.asarray(bm3d.bm3d(y, sigma), dtype=np.float64)


def bm3d_denoise(y: ArrayLike, noise: NoiseModel) -> Floats:
    """BM3D of a known noise level (package bm3d).

    Parameters
    ----------
    y : array_like, shape (H, W) or (3, H, W)
    noise : NoiseModel
        Gaussian: as it is. Poisson: after :func:`anscombe`, whose result has variance 1. Gamma: on the logarithm,
        whose variance is ``ψ'(k)``, its mean ``ψ(k) - log k`` taken off.
    """
    image = np.asarray(y, dtype=np.float64)
    if isinstance(noise, PoissonNoise):
        return noise.zeta * inverse_anscombe(_scaled(anscombe(image / noise.zeta), 1.0, _gaussian_bm3d))
    if isinstance(noise, GammaNoise):
        from scipy.special import digamma, polygamma

        logs = np.log(np.maximum(image, 1e-3))
        smooth = _scaled(logs, float(np.sqrt(polygamma(1, noise.k))), _gaussian_bm3d)
        return np.exp(smooth - digamma(noise.k) + np.log(noise.k))
    return _gaussian_bm3d(image, noise.level)


def classical_denoisers(sigma: float) -> dict[str, Callable[[Floats], Floats]]:
    """Three of scikit-image for grey images of Gaussian noise `sigma`, with settings that suit σ = 25/255."""
    from skimage import restoration

    return {
        "total variation": lambda y: restoration.denoise_tv_chambolle(
            y, weight=sigma, eps=0, max_num_iter=60
        ),
        "wavelets": lambda y: restoration.denoise_wavelet(
            y, sigma=sigma, method="BayesShrink", mode="soft", rescale_sigma=False
        ),
        "non-local means": lambda y: restoration.denoise_nl_means(
            y, patch_size=5, patch_distance=6, h=0.8 * sigma, sigma=sigma, fast_mode=True
        ),
    }
