"""Three kinds of noise of the exponential family, each with Tweedie's formula for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import digamma

Floats = NDArray[np.float64]


@runtime_checkable
class NoiseModel(Protocol):
    """How an image x becomes y, and how y and its score give x back.

    The *score* is the derivative of the log density of the noisy image, with respect to `to_network(y) / unit`: the
    image itself for Gaussian and Gamma noise, the count ``z = y / ζ`` for Poisson noise.
    """

    family: ClassVar[str]

    @property
    def level(self) -> float:
        """The family's one number: σ, ζ or k."""

    @property
    def unit(self) -> float:
        """Size in y of one unit of the argument of the score: ζ for Poisson noise, else 1."""

    def sample(self, x: ArrayLike, rng: np.random.Generator) -> Floats:
        """A noisy copy of `x`."""

    def to_network(self, y: ArrayLike) -> Floats:
        """What a network sees."""

    def log_base_grad(self, y: ArrayLike) -> Floats:
        """Derivative of the log base measure b."""

    def estimate(self, y: ArrayLike, score: ArrayLike) -> Floats:
        """The denoised image."""


def _clean(x: ArrayLike, family: str, *, positive: bool) -> Floats:
    image = np.asarray(x, dtype=np.float64)
    if not np.isfinite(image).all():
        raise ValueError(f"{family} noise needs finite pixels, got NaN or infinity")
    if positive and image.size and image.min() < 0:
        raise ValueError(f"{family} noise needs pixels of at least 0, got {image.min():.3g}")
    return image


def _pair(y: ArrayLike, score: ArrayLike, family: str, *, positive: bool) -> tuple[Floats, Floats]:
    image = _clean(y, family, positive=positive)
    slope = np.asarray(score, dtype=np.float64)
    if slope.shape != image.shape:
        raise ValueError(f"score and image must have one shape, got {slope.shape} and {image.shape}")
    if not np.isfinite(slope).all():
        raise ValueError("the score has NaN or infinite values; the network has diverged")
    return image, slope


@dataclass(frozen=True)
class GaussianNoise:
    """``y = x + σ ε``.

    Parameters
    ----------
    sigma : float
        Standard deviation on the scale of [0, 1]: 25 of 255 grey values are 25/255.

    Raises
    ------
    ValueError
        For a σ that isn't positive, or above 1 (then it is probably in grey values).
    """

    sigma: float
    family: ClassVar[str] = "gaussian"
    unit: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.sigma <= 1:
            raise ValueError(
                f"sigma must be in (0, 1], the scale of images in [0, 1], got {self.sigma}; divide grey values by 255"
            )

    @property
    def level(self) -> float:
        """σ."""
        return self.sigma

    def sample(self, x: ArrayLike, rng: np.random.Generator) -> Floats:
        """``x + σ ε``; not clipped."""
        image = _clean(x, self.family, positive=False)
        return image + self.sigma * rng.standard_normal(image.shape)

    def to_network(self, y: ArrayLike) -> Floats:
        """The image."""
        return np.asarray(y, dtype=np.float64)

    def log_base_grad(self, y: ArrayLike) -> Floats:
        """``-y / σ²``."""
        return -np.asarray(y, dtype=np.float64) / self.sigma**2

    def estimate(self, y: ArrayLike, score: ArrayLike) -> Floats:
        """``y + σ² score``, the posterior mean of x."""
        image, slope = _pair(y, score, self.family, positive=False)
        return image + self.sigma**2 * slope


@dataclass(frozen=True)
class PoissonNoise:
    """``y = ζ z`` with ``z ~ Poisson(x / ζ)``.

    Parameters
    ----------
    zeta : float
        Brightness of one photon: the larger, the noisier. The variance is ζ x.
    exact : bool
        Use ``ψ(z + 1)`` for the derivative of log z!, and not the paper's ``log(z + 1/2)``.

    Raises
    ------
    ValueError
        For a ζ that isn't positive and finite.
    """

    zeta: float
    exact: bool = False
    family: ClassVar[str] = "poisson"

    def __post_init__(self) -> None:
        if not 0 < self.zeta < np.inf:
            raise ValueError(f"zeta must be positive and finite, got {self.zeta}")

    @property
    def level(self) -> float:
        """ζ."""
        return self.zeta

    @property
    def unit(self) -> float:
        """ζ: the score is taken with respect to the count."""
        return self.zeta

    def sample(self, x: ArrayLike, rng: np.random.Generator) -> Floats:
        """ζ times a Poisson count of mean x / ζ."""
        return np.asarray(
            self.zeta * rng.poisson(_clean(x, self.family, positive=True) / self.zeta), np.float64
        )

    def to_network(self, y: ArrayLike) -> Floats:
        """The image ``ζ z``, so that a network's inputs lie near [0, 1] and not in counts."""
        return np.asarray(y, dtype=np.float64)

    def log_base_grad(self, y: ArrayLike) -> Floats:
        """``-log(z + 1/2)`` at ``z = y / ζ``, or ``-ψ(z + 1)`` where `exact`."""
        z = np.asarray(y, dtype=np.float64) / self.zeta
        return np.asarray(-digamma(z + 1) if self.exact else -np.log(z + 0.5), dtype=np.float64)

    def estimate(self, y: ArrayLike, score: ArrayLike) -> Floats:
        """``(y + ζ/2) exp(score)``: exp of the posterior mean of the log intensity, below that of x."""
        image, slope = _pair(y, score, self.family, positive=True)
        return self.zeta * np.exp(slope - self.log_base_grad(image))


@dataclass(frozen=True)
class GammaNoise:
    """``y = x g`` with g of a Gamma law of shape k and mean 1 (speckle).

    Parameters
    ----------
    k : float
        Shape: the smaller, the noisier. The variance is x² / k.
    rate : float, optional
        Rate of g; default k, so that its mean is 1.

    Raises
    ------
    ValueError
        For k ≤ 1 (no finite mean of 1/g) or a rate that isn't positive.
    """

    k: float
    rate: float | None = None
    family: ClassVar[str] = "gamma"
    unit: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        if not 1 < self.k < np.inf:
            raise ValueError(f"k must be above 1 and finite, got {self.k}")
        if self.rate is not None and not 0 < self.rate < np.inf:
            raise ValueError(f"rate must be positive and finite, got {self.rate}")

    @property
    def level(self) -> float:
        """The shape k."""
        return self.k

    @property
    def _rate(self) -> float:
        return self.k if self.rate is None else self.rate

    def sample(self, x: ArrayLike, rng: np.random.Generator) -> Floats:
        """X times independent Gamma factors."""
        image = _clean(x, self.family, positive=True)
        return np.asarray(image * rng.gamma(self.k, 1 / self._rate, image.shape), dtype=np.float64)

    def to_network(self, y: ArrayLike) -> Floats:
        """The image."""
        return np.asarray(y, dtype=np.float64)

    def log_base_grad(self, y: ArrayLike) -> Floats:
        """``(k - 1) / y``; infinite at 0."""
        image = np.asarray(y, dtype=np.float64)
        return np.divide(self.k - 1, image, out=np.full_like(image, np.inf), where=image > 0)

    def _denominator(self, y: ArrayLike, score: ArrayLike) -> tuple[Floats, Floats]:
        image, slope = _pair(y, score, self.family, positive=True)
        return image, (self.k - 1) - image * slope

    def clamped(self, y: ArrayLike, score: ArrayLike) -> float:
        """Share of pixels whose denominator :meth:`estimate` had to hold at a tenth of the rate."""
        _, below = self._denominator(y, score)
        return float((below < self._rate / 10).mean())

    def estimate(self, y: ArrayLike, score: ArrayLike) -> Floats:
        """``k y / ((k - 1) - y score)``: one over the posterior mean of 1/x.

        The denominator is held at a tenth of the rate from below: no pixel grows more than tenfold.
        """
        image, below = self._denominator(y, score)
        return self._rate * image / np.maximum(below, self._rate / 10)


FAMILIES: dict[str, type[GaussianNoise] | type[PoissonNoise] | type[GammaNoise]] = {
    "gaussian": GaussianNoise,
    "poisson": PoissonNoise,
    "gamma": GammaNoise,
}


def noise_model(family: str, level: float) -> NoiseModel:
    """The noise of a family at a level.

    Raises
    ------
    ValueError
        For an unknown family or a level that the family doesn't allow.
    """
    if family not in FAMILIES:
        raise ValueError(f"unknown family {family!r}; allowed: {', '.join(FAMILIES)}")
    return FAMILIES[family](level)


def corrupt(
    images: Sequence[ArrayLike], noises: NoiseModel | Sequence[NoiseModel], rng: np.random.Generator
) -> list[Floats]:
    """One noisy copy of each image: a noisy data set, whose noise is drawn once and then stays.

    Parameters
    ----------
    images : sequence of arrays
    noises : NoiseModel, or one for each image
    rng : numpy.random.Generator
    """
    models = list(noises) if isinstance(noises, Sequence) else [noises] * len(images)
    return [model.sample(image, rng) for model, image in zip(models, images, strict=True)]
