"""Noise2Score: denoising from noisy images alone, through Tweedie's formula (Kim and Ye, 2021).

A network learns the score of noisy images by the AR-DAE loss; a closed form for the family of the noise turns noisy
image and score into the denoised image. Images are (H, W) or (C, H, W) on the scale of [0, 1].

- :class:`GaussianNoise`, :class:`PoissonNoise`, :class:`GammaNoise`: sampling and Tweedie's formula of each;
- :func:`ardae_loss`, :class:`SigmaSchedule`, :func:`train_score`: learning the score, whatever the noise;
- :func:`denoise`, :func:`estimate_noise_level`: using it, with the level known or not;
- :func:`train_supervised` and its kin, :func:`bm3d_denoise`: the baselines, with the same network and updates;
- :class:`DnCNN`, :class:`UNetN2N`: networks; :func:`load_pretrained`: trained ones;
- :func:`train_images`, :func:`held_out_images`, :func:`read_image`, :func:`load_folder`: real images.

>>> import numpy as np
>>> noise = GaussianNoise(0.1)
>>> y = np.array([[0.2, 0.7]])
>>> noise.estimate(y, score=-(y - 0.5) / (0.3**2 + 0.1**2)).round(2)  # prior N(0.5, 0.3²)
array([[0.23, 0.68]])
"""

from loglik.generative.noise2score.blind import LevelCurve, estimate_noise_level, total_variation
from loglik.generative.noise2score.classical import anscombe, bm3d_denoise, inverse_anscombe
from loglik.generative.noise2score.images import held_out_images, load_folder, read_image, train_images
from loglik.generative.noise2score.inference import denoise, network_output, psnr, score, ssim
from loglik.generative.noise2score.losses import (
    ardae_loss,
    noise2self_loss,
    noise2void_loss,
    pure_loss,
    sure_loss,
)
from loglik.generative.noise2score.networks import DnCNN, UNetN2N
from loglik.generative.noise2score.noise import (
    GammaNoise,
    GaussianNoise,
    NoiseModel,
    PoissonNoise,
    corrupt,
    noise_model,
)
from loglik.generative.noise2score.pretrained import load_pretrained
from loglik.generative.noise2score.training import (
    Recipe,
    SigmaSchedule,
    train_noise2noise,
    train_noise2self,
    train_noise2void,
    train_pure,
    train_score,
    train_supervised,
    train_sure,
)

__all__ = [
    "DnCNN",
    "GammaNoise",
    "GaussianNoise",
    "LevelCurve",
    "NoiseModel",
    "PoissonNoise",
    "Recipe",
    "SigmaSchedule",
    "UNetN2N",
    "anscombe",
    "ardae_loss",
    "bm3d_denoise",
    "corrupt",
    "denoise",
    "estimate_noise_level",
    "held_out_images",
    "inverse_anscombe",
    "load_folder",
    "load_pretrained",
    "network_output",
    "noise2self_loss",
    "noise2void_loss",
    "noise_model",
    "psnr",
    "pure_loss",
    "read_image",
    "score",
    "ssim",
    "sure_loss",
    "total_variation",
    "train_images",
    "train_noise2noise",
    "train_noise2self",
    "train_noise2void",
    "train_pure",
    "train_score",
    "train_supervised",
    "train_sure",
]
