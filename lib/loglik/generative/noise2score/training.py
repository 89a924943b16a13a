"""Training: one function for the score whatever the noise, and the baselines with the same network and updates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from loglik import train
from loglik.generative.noise2score import losses
from loglik.generative.noise2score.noise import GaussianNoise, NoiseModel, PoissonNoise

Images = Sequence[NDArray[np.float64]]
Batch = dict[str, Tensor]
Loss = Callable[[nn.Module, Batch, int, torch.Generator], Tensor]


@dataclass(frozen=True)
class SigmaSchedule:
    """σ_a after a number of updates: a straight line from `start` to `stop`, then `stop`.

    Parameters
    ----------
    start, stop : float
        In units of :attr:`NoiseModel.unit`: of the image for Gaussian and Gamma noise, of counts for Poisson noise.
    steps : int
        Updates from one to the other.

    Raises
    ------
    ValueError
        For a σ_a that isn't positive, or no steps.

    Examples
    --------
    >>> schedule = SigmaSchedule(0.1, 0.02, 100)
    >>> round(schedule(0), 3), round(schedule(50), 3), round(schedule(1000), 3)
    (0.1, 0.06, 0.02)
    """

    start: float
    stop: float
    steps: int

    def __post_init__(self) -> None:
        if not (self.start > 0 and self.stop > 0 and self.steps >= 1):
            raise ValueError(f"σ_a must stay positive over at least one step, got {self}")

    def __call__(self, step: int) -> float:
        """σ_a once `step` updates are done."""
        return self.start + (self.stop - self.start) * min(1.0, step / self.steps)


OFFICIAL_STEPS = 22_000  # images, counted within the epoch
DEFAULT_SIGMA = {"gaussian": (0.1, 0.02), "gamma": (0.1, 0.02), "poisson": (1.5, 0.7)}


def default_schedule(noise: NoiseModel, steps: int) -> SigmaSchedule:
    """σ_a from the order of the noise down to a fifth of it: what small budgets need."""
    return SigmaSchedule(*DEFAULT_SIGMA[noise.family], steps)


@dataclass(frozen=True)
class Recipe:
    """What all methods share.

    Attributes
    ----------
    steps, batch_size : int
        Updates, and patches of one.
    patch, stride : int, int or None
        Pixels of a side, and from one patch to the next; None: patches lie side by side.
    lr, betas : float, tuple
        Adam with a cosine down to 0.
    seed : int
        Of the order of patches, of flips and turns, and of the noise that a loss adds: methods with one seed see
        the same patches, turned alike.
    device : str
    precision : {"fp32", "bf16"}
        bf16: convolutions on numbers of 16 bits, sums, weights and updates in single precision. Twice as fast where
        the processor multiplies such numbers (:func:`fast_precision`), much slower where it does not.
    progress : bool
    """

    steps: int = 450
    batch_size: int = 16
    patch: int = 40
    stride: int | None = None
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    seed: int = 0
    device: str = "cpu"
    precision: str = "fp32"
    progress: bool = False

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1 or self.patch < 4:
            raise ValueError(f"need steps, batch_size ≥ 1 and patch ≥ 4, got {self}")


def fast_precision(device: str = "cpu") -> str:
    """The precision that is quickest: "bf16" where the hardware multiplies 16-bit floats, else "fp32"."""
    if device != "cpu":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    known: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return "bf16" if known.get("avx512_bf16") or known.get("amx_bf16") else "fp32"


def cut(images: Images, patch: int, stride: int | None = None) -> Tensor:
    """Patches on a grid, in the order of the images.

    Parameters
    ----------
    images : sequence of arrays (H, W) or (C, H, W)
    patch, stride : int
        Default stride: the patch.

    Returns
    -------
    Tensor of shape (n, C, patch, patch), float32

    Raises
    ------
    ValueError
        For an image smaller than the patch, or images of different channels.
    """
    if not images:
        raise ValueError("no image to cut patches from")
    step = stride or patch
    found = []
    for image in images:
        planes = np.asarray(image)
        planes = planes if planes.ndim == 3 else planes[None]
        if min(planes.shape[1:]) < patch:
            raise ValueError(f"an image of {planes.shape[1:]} pixels is smaller than the patch of {patch}")
        windows = np.lib.stride_tricks.sliding_window_view(planes, (patch, patch), axis=(1, 2))
        grid = windows[:, ::step, ::step]
        found.append(np.moveaxis(grid, 0, 2).reshape(-1, planes.shape[0], patch, patch).astype(np.float32))
    if len({part.shape[1] for part in found}) > 1:
        raise ValueError("grey and colour images cannot be mixed: turn them all to grey, or none")
    return torch.from_numpy(np.concatenate(found))


def symmetry(image: Tensor, which: int) -> Tensor:
    """One of the eight turns and flips of (..., P, P)."""
    turned = torch.rot90(image, which % 4, (-2, -1))
    return turned.flip(-1) if which >= 4 else turned


class _Objective:
    """A method's loss on patches turned at random; a callback tells it the step."""

    def __init__(self, loss: Loss, recipe: Recipe) -> None:
        self.loss, self.step = loss, 0
        self.turns = torch.Generator().manual_seed(2 * recipe.seed)
        self.noise = torch.Generator(recipe.device).manual_seed(2 * recipe.seed + 1)

    def watch(self, run: train.Run) -> None:
        self.step = run.step

    def __call__(self, net: nn.Module, batch: Batch) -> tuple[Tensor, int]:
        which = int(torch.randint(8, (), generator=self.turns))
        turned = {k: symmetry(v, which) if v.shape[-1] > 1 else v for k, v in batch.items()}
        n = len(batch["y"])
        return n * self.loss(net, turned, self.step, self.noise), n


def _fit(net: nn.Module, loss: Loss, recipe: Recipe, **columns: Tensor) -> train.TrainLog:
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    objective = _Objective(loss, recipe)
    cfg = train.TrainConfig(
        steps=recipe.steps,
        batch_size=recipe.batch_size,
        lr=recipe.lr,
        betas=recipe.betas,
        seed=recipe.seed,
        drop_last=True,
        precision=recipe.precision,
        log_every=min(25, recipe.steps),
        progress=recipe.progress,
    )
    data = train.Columns(**{k: v.to(recipe.device) for k, v in columns.items()})
    if len(data) < recipe.batch_size:
        raise ValueError(f"{len(data)} patches do not fill a batch of {recipe.batch_size}")
    context = train.Context(device=torch.device(recipe.device))  # one process: runs, not batches, are spread
    carry = {"turns": objective.turns, "noise": objective.noise}
    return train.fit(net, objective, data, cfg, callbacks=[objective.watch], carry=carry, context=context)


def _units(noise: NoiseModel | Sequence[NoiseModel], images: Images, recipe: Recipe) -> Tensor:
    """One :attr:`NoiseModel.unit` a patch."""
    models = list(noise) if isinstance(noise, Sequence) else [noise] * len(images)
    if len(models) != len(images):
        raise ValueError(f"{len(models)} noise models for {len(images)} images; give one, or one for each")
    step = recipe.stride or recipe.patch
    counts = [np.prod([(s - recipe.patch) // step + 1 for s in np.shape(image)[-2:]]) for image in images]
    values = np.repeat([model.unit for model in models], np.asarray(counts, int))
    return torch.tensor(values, dtype=torch.float32)[:, None, None, None]


def train_score(
    net: nn.Module,
    noisy_images: Images,
    noise: NoiseModel | Sequence[NoiseModel],
    *,
    sigma_schedule: SigmaSchedule | None = None,
    **recipe: Any,
) -> train.TrainLog:
    """Learn the score of noisy images, from noisy images alone (the AR-DAE loss).

    The loss doesn't know the family of the noise; `noise` only says in which units σ_a counts.

    Parameters
    ----------
    net : nn.Module
        Trained in place; its output is the score with respect to the image.
    noisy_images : sequence of arrays (H, W) or (C, H, W)
    noise : NoiseModel, or one for each image
        Several levels make a blind network, which isn't told the level.
    sigma_schedule : SigmaSchedule, optional
        Default: :func:`default_schedule`.
    **recipe
        Fields of :class:`Recipe`: steps, batch_size, patch, lr, seed, device and the others.

    Returns
    -------
    TrainLog
        Look at one minus the loss on a log scale, not at the loss.

    Raises
    ------
    ValueError
        For images smaller than a patch, too few of them, or an unequal number of noise models.
    """
    shared = Recipe(**recipe)
    first = noise[0] if isinstance(noise, Sequence) else noise
    schedule = sigma_schedule or default_schedule(first, shared.steps)
    models = noise if isinstance(noise, Sequence) else [noise] * len(noisy_images)
    seen = [model.to_network(y) for model, y in zip(models, noisy_images, strict=True)]

    def loss(net: nn.Module, batch: Batch, step: int, generator: torch.Generator) -> Tensor:
        return losses.ardae_loss(net, batch["y"], schedule(step) * batch["unit"], generator)

    return _fit(
        net, loss, shared, y=cut(seen, shared.patch, shared.stride), unit=_units(noise, noisy_images, shared)
    )


def train_supervised(
    net: nn.Module, noisy_images: Images, clean_images: Images, **recipe: Any
) -> train.TrainLog:
    """Least squares to the clean images: what all others are measured against."""
    shared = Recipe(**recipe)
    y, x = (cut(images, shared.patch, shared.stride) for images in (noisy_images, clean_images))
    return _fit(net, lambda n, b, _, __: losses.supervised_loss(n, b["y"], b["x"]), shared, y=y, x=x)


def train_noise2noise(
    net: nn.Module, noisy_images: Images, second_images: Images, **recipe: Any
) -> train.TrainLog:
    """Least squares to a second noisy copy of the same images (Lehtinen and others, 2018)."""
    return train_supervised(net, noisy_images, second_images, **recipe)


def train_noise2void(
    net: nn.Module, noisy_images: Images, *, share: float = 0.02, **recipe: Any
) -> train.TrainLog:
    """Predict a few pixels that were replaced by a neighbour (Krull, Buchholz and Jug, 2019)."""
    shared = Recipe(**recipe)
    y = cut(noisy_images, shared.patch, shared.stride)
    return _fit(net, lambda n, b, _, g: losses.noise2void_loss(n, b["y"], g, share), shared, y=y)


def train_noise2self(net: nn.Module, noisy_images: Images, **recipe: Any) -> train.TrainLog:
    """Predict every sixteenth pixel from the others, the grid moving from step to step (Batson and Royer, 2019)."""
    shared = Recipe(**recipe)
    y = cut(noisy_images, shared.patch, shared.stride)
    return _fit(net, lambda n, b, step, _: losses.noise2self_loss(n, b["y"], step % 16), shared, y=y)


def train_sure(net: nn.Module, noisy_images: Images, noise: GaussianNoise, **recipe: Any) -> train.TrainLog:
    """Minimise Stein's unbiased risk estimate (Soltanayev and Chun, 2018)."""
    if noise.family != "gaussian":
        raise ValueError(
            f"SURE holds for Gaussian noise, got {noise.family}; for Poisson noise see train_pure"
        )
    shared = Recipe(**recipe)
    y = cut(noisy_images, shared.patch, shared.stride)
    return _fit(net, lambda n, b, _, g: losses.sure_loss(n, b["y"], noise.sigma, g), shared, y=y)


def train_pure(net: nn.Module, noisy_images: Images, noise: PoissonNoise, **recipe: Any) -> train.TrainLog:
    """Minimise the Poisson unbiased risk estimate, to first order in ζ."""
    if noise.family != "poisson":
        raise ValueError(
            f"PURE holds for Poisson noise, got {noise.family}; for Gaussian noise see train_sure"
        )
    shared = Recipe(**recipe)
    y = cut(noisy_images, shared.patch, shared.stride)
    return _fit(net, lambda n, b, _, g: losses.pure_loss(n, b["y"], noise.zeta, g), shared, y=y)
