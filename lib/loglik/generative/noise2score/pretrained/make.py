"""Makes the committed weights: ``python -m loglik.generative.noise2score.pretrained.make``; ``--help`` has more."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

from loglik.generative.noise2score import images, study, training
from loglik.generative.noise2score.noise import corrupt, noise_model
from loglik.generative.noise2score.pretrained import BLIND, HERE, LONGER, LONGER_STEPS, STEPS

NOISE_SEED = 2021  # of the noisy training images
RANGES = {"gaussian": (20 / 255, 55 / 255), "poisson": (0.005, 0.1), "gamma": (40.0, 120.0)}
SIGMA_A = {"gaussian": (0.1, 0.01), "poisson": (1.5, 0.5), "gamma": (0.1, 0.01)}

LONGER_SIGMA_A = {"gaussian": (0.1, 0.02), "poisson": (2.0, 0.7)}


def train_blind(family: str, steps: int) -> nn.Module:
    """Noise2Score over a range of levels, log-uniform, one level and one draw of the noise for each patch."""
    rng = np.random.default_rng([NOISE_SEED, len(family)])
    patches = training.cut([images.centre(i, 512) for i in images.train_images()], 40).numpy()[:, 0]
    low, high = np.log(RANGES[family])
    noises = [noise_model(family, float(np.exp(v))) for v in rng.uniform(low, high, len(patches))]
    noisy = corrupt([p.astype(np.float64) for p in patches], noises, rng)
    net = study.make_net("score")
    schedule = training.SigmaSchedule(*SIGMA_A[family], steps)
    training.train_score(
        net, noisy, noises, sigma_schedule=schedule, steps=steps, lr=study.LEARNING_RATE, progress=True
    )
    return net


def train_family(family: str, steps: int, longer: int) -> dict[str, nn.Module]:
    """All networks of a family, by name."""
    scene = study.make_scene(noise_model(family, study.LEVELS[family]), NOISE_SEED)

    def train(method: str, steps: int, sigma_a: tuple[float, float]) -> nn.Module:
        schedule = training.SigmaSchedule(*sigma_a, steps)
        return study.train_method(method, scene, steps=steps, sigma_schedule=schedule, progress=True)

    nets = {method: train(method, steps, SIGMA_A[family]) for method in study.METHODS[family]}
    chosen = LONGER.get(family, ())
    more = {f"{method}, longer": train(method, longer, LONGER_SIGMA_A[family]) for method in chosen}
    return {**nets, BLIND: train_blind(family, steps), **more}


def save(nets: Mapping[str, nn.Module], path: Path) -> None:
    """All weights in one file, as 16-bit floats."""
    from safetensors.torch import save_file

    tensors = {
        f"{name}/{k}": v.half().contiguous()
        for name, net in nets.items()
        for k, v in net.state_dict().items()
    }
    save_file(tensors, str(path))


def main() -> None:
    """Train every family and save it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", nargs="?", type=Path, default=HERE)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--longer", type=int, default=LONGER_STEPS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for family in study.METHODS:
        started = time.process_time()
        save(train_family(family, arguments.steps, arguments.longer), arguments.out / f"{family}.safetensors")
        print(f"{family}: {time.process_time() - started:.0f} CPU s")


if __name__ == "__main__":
    main()
