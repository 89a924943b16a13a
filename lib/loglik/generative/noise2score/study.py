"""The chapter's experiments on images: one noise, one training set, one table of methods."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from loglik.generative.noise2score import images, inference, training
from loglik.generative.noise2score.blind import LevelCurve, level_curves
from loglik.generative.noise2score.classical import bm3d_denoise
from loglik.generative.noise2score.networks import DnCNN
from loglik.generative.noise2score.noise import NoiseModel, corrupt, noise_model
from loglik.stats import intervals

Floats = NDArray[np.float64]
Progress = Callable[[Sequence[Any]], Iterable[Any]]
LEVELS = {"gaussian": 25 / 255, "poisson": 0.05, "gamma": 50.0}
NETWORK = {"width": 32, "depth": 6, "shuffle": 2}
LEARNING_RATE = 3e-3
# What a network's output is multiplied by: of the size of a score, a residual, an image.
GAINS = {"score": 10.0, "residual": 0.2, "image": 1.0}
OUTPUTS = {
    "Noise2Score": "score",
    "supervised": "residual",
    "Noise2Noise": "residual",
    "Noise2Void": "image",
    "Noise2Self": "image",
    "SURE": "residual",
    "PURE": "residual",
}
METHODS = {
    "gaussian": ("Noise2Score", "Noise2Void", "Noise2Self", "SURE", "Noise2Noise", "supervised"),
    "poisson": ("Noise2Score", "Noise2Void", "Noise2Self", "PURE", "Noise2Noise", "supervised"),
    "gamma": ("Noise2Score", "Noise2Void", "Noise2Self", "Noise2Noise", "supervised"),
}


@dataclass(frozen=True)
class Scene:
    """One noise on the photographs, drawn once.

    Attributes
    ----------
    noise : NoiseModel
    clean, noisy, second : lists of arrays
        Training images; `second` is Noise2Noise's other copy.
    test, test_noisy : dict of arrays
        By name.
    """

    noise: NoiseModel
    clean: list[Floats] = field(repr=False)
    noisy: list[Floats] = field(repr=False)
    second: list[Floats] = field(repr=False)
    test: dict[str, Floats] = field(repr=False)
    test_noisy: dict[str, Floats] = field(repr=False)

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colour."""
        return 1 if self.clean[0].ndim == 2 else 3


def make_scene(
    noise: NoiseModel,
    seed: Any = 0,
    *,
    colour: bool = False,
    n_train: int | None = None,
    n_test: int | None = None,
    test_size: int = 256,
    folders: tuple[str, str] | None = None,
) -> Scene:
    """The photographs, at most 512 pixels a side, with noise from `seed`.

    Parameters
    ----------
    noise : NoiseModel
    seed : int or sequence of int
    colour : bool
    n_train, n_test : int, optional
        How many images; None: all.
    test_size : int
        Pixels of a side of the test crops.
    folders : (str, str), optional
        Training and test images of yours instead, such as CBSD400 and BSD68; whole.
    """
    clean, test = _photographs(colour, test_size) if folders is None else _folders(folders, colour)
    clean, test = clean[:n_train], dict(list(test.items())[:n_test])
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3)]
    return Scene(
        noise,
        clean,
        corrupt(clean, noise, streams[0]),
        corrupt(clean, noise, streams[1]),
        test,
        dict(zip(test, corrupt(list(test.values()), noise, streams[2]), strict=True)),
    )


def _photographs(colour: bool, size: int) -> tuple[list[Floats], dict[str, Floats]]:
    train = [images.centre(image, 512) for image in images.train_images(colour=colour)]
    return train, images.held_out_images(size, colour=colour)


def _folders(folders: tuple[str, str], colour: bool) -> tuple[list[Floats], dict[str, Floats]]:
    train, test = (images.load_folder(path, grey_only=not colour) for path in folders)
    return train, {f"{k + 1}": image for k, image in enumerate(test)}


def make_net(output: str, *, channels: int = 1, seed: int = 0, **network: int) -> DnCNN:
    """The study's network for a kind of output: "score", "residual" or "image"."""
    generator = torch.Generator().manual_seed(1000 + seed)
    return DnCNN(channels, gain=GAINS[output], generator=generator, **{**NETWORK, **network})


def train_method(
    method: str, scene: Scene, *, network: Mapping[str, int] | None = None, **recipe: Any
) -> nn.Module:
    """A network trained by one of :data:`METHODS` on a scene; only "supervised" is given its clean images.

    Raises
    ------
    ValueError
        For a method that the family doesn't have.
    """
    if method not in METHODS[scene.noise.family]:
        raise ValueError(
            f"no method {method!r} for {scene.noise.family} noise; there are {METHODS[scene.noise.family]}"
        )
    shared = {"lr": LEARNING_RATE, **recipe}
    schedule = shared.pop("sigma_schedule", None)
    net = make_net(OUTPUTS[method], channels=scene.channels, seed=shared.get("seed", 0), **(network or {}))
    noisy, noise = scene.noisy, scene.noise
    runs: dict[str, Callable[[], Any]] = {
        "Noise2Score": lambda: training.train_score(net, noisy, noise, sigma_schedule=schedule, **shared),
        "supervised": lambda: training.train_supervised(net, noisy, scene.clean, **shared),
        "Noise2Noise": lambda: training.train_noise2noise(net, noisy, scene.second, **shared),
        "Noise2Void": lambda: training.train_noise2void(net, noisy, **shared),
        "Noise2Self": lambda: training.train_noise2self(net, noisy, **shared),
        "SURE": lambda: training.train_sure(net, noisy, noise, **shared),  # type: ignore[arg-type]
        "PURE": lambda: training.train_pure(net, noisy, noise, **shared),  # type: ignore[arg-type]
    }
    runs[method]()
    return net


def apply_method(method: str, net: nn.Module, y: Floats, noise: NoiseModel) -> Floats:
    """A trained method on one noisy image."""
    if method == "Noise2Score":
        return inference.denoise(net, y, noise)
    if OUTPUTS[method] == "image":
        return inference.network_output(net, y)
    return inference.denoise_residual(net, y)


def judge(method: str, scene: Scene, denoiser: Callable[[Floats], Floats], **columns: Any) -> pd.DataFrame:
    """PSNR and SSIM of a denoiser on every test image: columns family, method, image, psnr, ssim and `columns`."""
    rows = []
    for name, y in scene.test_noisy.items():
        x, estimate = scene.test[name], denoiser(y)
        rows.append({"image": name, "psnr": inference.psnr(x, estimate), "ssim": inference.ssim(x, estimate)})
    return pd.DataFrame(rows).assign(family=scene.noise.family, method=method, **columns)


def compare_methods(
    scene: Scene,
    methods: Sequence[str],
    seeds: Sequence[int],
    *,
    progress: Progress = iter,
    **recipe: Any,
) -> pd.DataFrame:
    """Train every method with every seed on a scene and judge it, beside the noisy images themselves.

    Returns
    -------
    DataFrame
        Columns family, method, seed, image, psnr, ssim.
    """
    tables = [judge("noisy", scene, lambda y: y, seed=seed) for seed in seeds]
    jobs = [(method, seed) for seed in seeds for method in methods]
    for method, seed in progress(jobs):
        net = train_method(method, scene, seed=seed, **recipe)
        tables.append(_judge_net(method, scene, net, seed=seed))
    return pd.concat(tables, ignore_index=True)


def _judge_net(method: str, scene: Scene, net: nn.Module, **columns: Any) -> pd.DataFrame:
    return judge(method, scene, lambda y: apply_method(method, net, y, scene.noise), **columns)


def judge_nets(scene: Scene, nets: Mapping[str, nn.Module], **columns: Any) -> pd.DataFrame:
    """Judge trained networks, by method, beside the noisy images."""
    tables = [judge("noisy", scene, lambda y: y, **columns)]
    tables += [_judge_net(method, scene, net, **columns) for method, net in nets.items()]
    return pd.concat(tables, ignore_index=True)


def judge_bm3d(scene: Scene, progress: Progress = iter) -> pd.DataFrame:
    """BM3D (after Anscombe's transform for counts) on the test images."""
    rows = []
    for name in progress(list(scene.test_noisy)):
        estimate = bm3d_denoise(scene.test_noisy[name], scene.noise)
        x = scene.test[name]
        rows.append({"image": name, "psnr": inference.psnr(x, estimate), "ssim": inference.ssim(x, estimate)})
    return pd.DataFrame(rows).assign(family=scene.noise.family, method="BM3D")


def differences(
    table: pd.DataFrame, others: Sequence[str], *, method: str = "Noise2Score", budget: str = ""
) -> pd.DataFrame:
    """Mean PSNR difference of a method and others with 95 % t intervals over images, seeds averaged first.

    Parameters
    ----------
    table : DataFrame
        Of one family: columns family, method, image, psnr.
    others : sequence of str
    method, budget : str
        `budget` is only carried along.

    Returns
    -------
    DataFrame
        Columns family, other, budget, value, low, high; nothing for methods that the table lacks.
    """
    wide = table.pivot_table(index="image", columns="method", values="psnr")
    rows = [
        {"other": other, **intervals.mean(wide[method] - wide[other])._asdict()}
        for other in others
        if other in wide
    ]
    return pd.DataFrame(rows).drop(columns="se").assign(family=table["family"].iloc[0], budget=budget)


def sigma_sweep(
    scene: Scene, sigmas: Sequence[float], *, progress: Progress = iter, **recipe: Any
) -> pd.DataFrame:
    """Noise2Score with each of several constant σ_a: columns sigma_a, image, psnr and ssim."""
    tables = []
    for sigma in progress(list(sigmas)):
        schedule = training.SigmaSchedule(sigma, sigma, 1)
        net = train_method("Noise2Score", scene, sigma_schedule=schedule, **recipe)
        tables.append(_judge_net("Noise2Score", scene, net, sigma_a=sigma))
    return pd.concat(tables, ignore_index=True)


def blind_table(
    scene: Scene, blind: nn.Module, known: nn.Module, criteria: Sequence[str] = ("auto", "tv")
) -> tuple[pd.DataFrame, dict[str, dict[str, LevelCurve]]]:
    """The level estimated on every test image, and what not knowing it costs.

    Parameters
    ----------
    scene : Scene
    blind, known : nn.Module
        Trained over a range of levels, and for the scene's own.
    criteria : sequence of str
        Of :func:`~loglik.generative.noise2score.blind.level_criterion`; "auto" is the official one.

    Returns
    -------
    table : DataFrame
        Columns family, criterion, image, true, estimated, identified, and PSNR of the known-level network (known), of
        the blind one with the true level (blind, true level) and with the estimated one (blind, estimated).
    curves : dict
        By criterion and image.
    """
    noise, rows = scene.noise, []
    curves: dict[str, dict[str, LevelCurve]] = {criterion: {} for criterion in criteria}
    for name, y in scene.test_noisy.items():
        x = scene.test[name]
        fixed = {
            "known": inference.psnr(x, inference.denoise(known, y, noise)),
            "blind, true level": inference.psnr(x, inference.denoise(blind, y, noise)),
        }
        for criterion, curve in zip(criteria, level_curves(blind, y, noise.family, criteria), strict=True):
            level = float(curve.levels[curve.at])
            curves[criterion][name] = curve
            guessed = inference.denoise(blind, y, noise_model(noise.family, level))
            row = {"image": name, "criterion": criterion, "true": noise.level, "estimated": level}
            found = {"identified": curve.identified, "blind, estimated": inference.psnr(x, guessed)}
            rows.append({**row, **fixed, **found})
    return pd.DataFrame(rows).assign(family=noise.family), curves
