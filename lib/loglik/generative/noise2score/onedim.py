"""One dimension, where everything can be computed: a prior on a grid, exact scores, posterior means, learned scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import digamma
from torch import Tensor

from loglik.generative.noise2score.noise import GaussianNoise, NoiseModel, PoissonNoise

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Prior:
    """A law of x on grid points.

    Attributes
    ----------
    x, weight : ndarray, shape (g,)
        Positive points and their probabilities, which sum to 1.
    """

    x: Floats
    weight: Floats

    def sample(self, n: int, rng: np.random.Generator) -> Floats:
        """Draws of x; shape (n,)."""
        return rng.choice(self.x, size=n, p=self.weight)


def mixture_prior(
    means: Sequence[float] = (0.25, 0.55, 0.8),
    sds: Sequence[float] = (0.05, 0.04, 0.03),
    shares: Sequence[float] = (0.4, 0.35, 0.25),
    points: int = 1200,
) -> Prior:
    """Three bumps in (0, 1): dark, middle and bright pixels."""
    x = np.linspace(0.02, 1.0, points)
    bumps = np.exp(-0.5 * ((x[:, None] - np.array(means)) / np.array(sds)) ** 2) / np.array(sds)
    density = bumps @ np.array(shares)
    return Prior(x, density / density.sum())


@dataclass(frozen=True)
class Exact:
    """What a noisy value says, by quadrature over the prior.

    Attributes
    ----------
    y : ndarray, shape (n,)
    density : ndarray
        Of the noisy value (of the count for Poisson noise).
    score : ndarray
        Derivative of the log density in the argument that the noise counts in, by automatic differentiation.
    canonical : ndarray
        Posterior mean of the canonical parameter: ``x/σ²``, ``log(x/ζ)`` or ``-k/x``.
    mean, variance : ndarray
        Posterior mean and variance of x.
    """

    y: Floats
    density: Floats
    score: Floats
    canonical: Floats
    mean: Floats
    variance: Floats


def log_likelihood(noise: NoiseModel, argument: Tensor, x: Tensor) -> Tensor:
    """Log density of the noisy value at its argument (y, or the count), given x."""
    if isinstance(noise, GaussianNoise):
        return -((argument - x) ** 2) / (2 * noise.sigma**2) - np.log(noise.sigma * np.sqrt(2 * np.pi))
    if isinstance(noise, PoissonNoise):
        rate = x / noise.zeta
        return argument * rate.log() - rate - torch.lgamma(argument + 1)
    k = torch.tensor(noise.level, dtype=torch.float64)
    return k * torch.log(k / x) + (k - 1) * argument.log() - k * argument / x - torch.lgamma(k)


def exact(prior: Prior, noise: NoiseModel, y: ArrayLike) -> Exact:
    """Density, score and posterior means at noisy values `y` (multiples of ζ for Poisson noise)."""
    values = np.asarray(y, dtype=np.float64)
    argument = torch.from_numpy(values / noise.unit).requires_grad_(True)
    x = torch.from_numpy(prior.x)
    joint = log_likelihood(noise, argument[:, None], x) + torch.from_numpy(prior.weight).log()
    log_density = joint.logsumexp(1)
    (slope,) = torch.autograd.grad(log_density.sum(), argument)
    posterior = torch.softmax(joint.detach(), dim=1).numpy()
    mean = posterior @ prior.x
    if isinstance(noise, GaussianNoise):
        canonical = mean / noise.sigma**2
    elif isinstance(noise, PoissonNoise):
        canonical = posterior @ np.log(prior.x / noise.zeta)
    else:
        canonical = posterior @ (-noise.level / prior.x)
    return Exact(
        values,
        log_density.detach().exp().numpy(),
        slope.numpy(),
        canonical,
        mean,
        posterior @ prior.x**2 - mean**2,
    )


def tweedie_errors(prior: Prior, noise: NoiseModel, y: ArrayLike) -> Floats:
    """Relative error of E[η | y] = score − (log b)' against quadrature; η the canonical parameter."""
    truth = exact(prior, noise, y)
    formula = truth.score - noise.log_base_grad(truth.y)
    return np.abs(formula - truth.canonical) / np.maximum(np.abs(truth.canonical), 1.0)


def smoothed(prior: Prior, sigma: float, sigma_a: float, y: ArrayLike) -> Exact:
    """As :func:`exact` for Gaussian noise, at the total variance ``σ² + σ_a²`` that AR-DAE sees."""
    return exact(prior, GaussianNoise(float(np.hypot(sigma, sigma_a))), y)


def half_shift(z: ArrayLike) -> Floats:
    """``ψ(z + 1) - log(z + 1/2)``: how far the paper's approximation moves the log of a Poisson estimate."""
    counts = np.asarray(z, dtype=np.float64)
    return np.asarray(digamma(counts + 1) - np.log(counts + 0.5))


# -- many small networks at once ---------------------------------------------------------------------------------

Weights = list[Tensor]


def _forward(weights: Weights, y: Tensor) -> Tensor:
    """Stacked networks (m of them) of one input: (m, n) to (m, n)."""
    h = (y - 0.5)[:, :, None] * 4
    for matrix, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        h = torch.nn.functional.silu(torch.baddbmm(bias, h, matrix))
    return 10 * torch.baddbmm(weights[-1], h, weights[-2])[:, :, 0]


def _initial(members: int, hidden: int, generator: torch.Generator) -> Weights:
    sizes = (1, hidden, hidden, 1)
    weights: Weights = []
    for a, b in pairwise(sizes):
        scale = (2 / a) ** 0.5 * (0.1 if b == 1 else 1.0)
        weights += [torch.randn(members, a, b, generator=generator) * scale, torch.zeros(members, 1, b)]
        if a == 1:
            weights[-1] = torch.randn(members, 1, b, generator=generator)
    return weights


def train_scores(
    prior: Prior,
    sigma: float,
    losses: Sequence[Callable[[Callable[[Tensor], Tensor], Tensor, torch.Generator], Tensor]],
    seeds: int,
    *,
    steps: int,
    batch: int = 512,
    hidden: int = 48,
    lr: float = 5e-3,
    seed: int = 0,
    progress: Callable[[range], object] = iter,
) -> Callable[[ArrayLike], Floats]:
    """Small networks for the score of Gaussian noise in one dimension, one for each loss and seed, trained together.

    Parameters
    ----------
    prior : Prior
    sigma : float
        Standard deviation of the noise.
    losses : sequence of callables
        ``loss(score, y, generator)`` with y of shape (seeds, batch) gives one number a network, shape (seeds,).
    seeds : int
    steps, batch, hidden, lr, seed
        Every network sees fresh noisy values in every step (the population's optimum is what is asked for).
    progress : callable
        Wraps the range of steps.

    Returns
    -------
    callable
        Values (n,) to scores (losses, seeds, n).

    Notes
    -----
    The loop is its own, not :func:`loglik.train.fit`, because all networks live in one stack of matrices.
    """
    generator = torch.Generator().manual_seed(seed)
    rng = np.random.default_rng(seed)
    weights = [w.requires_grad_(True) for w in _initial(len(losses) * seeds, hidden, generator)]
    optimizer = torch.optim.Adam(weights, lr=lr, fused=True)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in progress(range(steps)):  # type: ignore[attr-defined]
        x = prior.sample(batch * seeds, rng)
        y = torch.from_numpy(x + sigma * rng.standard_normal(x.size)).float().reshape(seeds, batch)
        values = [loss(_member(weights, k, seeds), y, generator) for k, loss in enumerate(losses)]
        optimizer.zero_grad()
        torch.stack(values).sum().backward()
        optimizer.step()
        rate.step()

    @torch.no_grad()
    def scores(points: ArrayLike) -> Floats:
        grid = torch.as_tensor(np.asarray(points), dtype=torch.float32)
        out = _forward([w.detach() for w in weights], grid.expand(len(losses) * seeds, -1))
        return out.double().numpy().reshape(len(losses), seeds, -1)

    return scores


def _member(weights: Weights, k: int, seeds: int) -> Callable[[Tensor], Tensor]:
    part = [w[k * seeds : (k + 1) * seeds] for w in weights]
    return lambda y: _forward(part, y)


def ardae(sigma_a: float) -> Callable[[Callable[[Tensor], Tensor], Tensor, torch.Generator], Tensor]:
    """The AR-DAE loss of a stack of networks."""

    def loss(score: Callable[[Tensor], Tensor], y: Tensor, generator: torch.Generator) -> Tensor:
        u = torch.randn(y.shape, generator=generator)
        return (u + sigma_a * score(y + sigma_a * u)).square().mean(1)

    return loss


def sure(sigma: float) -> Callable[[Callable[[Tensor], Tensor], Tensor, torch.Generator], Tensor]:
    """SURE of ``y + σ² score``, over σ², with the exact derivative."""

    def loss(score: Callable[[Tensor], Tensor], y: Tensor, _: torch.Generator) -> Tensor:
        points = y.detach().requires_grad_(True)
        value = score(points)
        (slope,) = torch.autograd.grad(value.sum(), points, create_graph=True)
        return (sigma**2 * value.square() + 2 * sigma**2 * slope).mean(1)

    return loss
