"""The h-calibration loss beside its peer: the official implementation, same inputs, one thread each.

    python bench/risk/h_calibration.py [--checkout FOLDER] [--rows 2000] [--classes 10]

Times one loss with its gradient in the probabilities, M of 200, leaving one class out. `FOLDER` is a checkout of
github.com/WenjianHuang93/h-Calibration; its clustering needs faiss (pip install faiss-cpu). Without a checkout the
peer is the same computation written plainly in torch: each subset masked, sorted and convolved anew.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from loglik.risk.h_calibration import h_calibration_loss, simulate_posterior

WEIGHTINGS = {"uniform": "unweighted", "equal_width": "aceweighted", "kmeans": "cluaceweighted"}


def plain(probs: torch.Tensor, y: torch.Tensor, weighting: str) -> torch.Tensor:
    """The textbook form; uniform weighting only."""
    if weighting != "uniform":
        raise NotImplementedError
    found = []
    for c in range(probs.shape[1]):
        keep = y != c
        p, order = torch.sort(probs[keep].flatten())
        r = p - torch.nn.functional.one_hot(y[keep], probs.shape[1]).flatten()[order]
        kernel = torch.full((1, 1, 201), 1 / 201, dtype=r.dtype)
        found.append(
            torch.nn.functional.conv1d(torch.nn.functional.pad(r, (100, 100))[None, None], kernel)
            .abs()
            .mean()
        )
    return torch.stack(found).mean()


def official(checkout: str) -> Callable[[torch.Tensor, torch.Tensor, str], torch.Tensor]:
    """The released loss, without its factor of 1e5."""
    sys.path.insert(0, checkout)
    try:
        module: Any = importlib.import_module("loss.hCalib")
    except ModuleNotFoundError as error:
        raise SystemExit(
            f"the official loss needs {error.name}: pip install faiss-cpu, and give its checkout"
        ) from error

    def loss(probs: torch.Tensor, y: torch.Tensor, weighting: str) -> torch.Tensor:
        return module.hcalibration(
            probs, y, weightingtype=WEIGHTINGS[weighting], num_classes=probs.shape[1], lossweight=1.0
        )

    return loss


def timed(
    loss: Callable[[torch.Tensor, torch.Tensor, str], torch.Tensor],
    probs: torch.Tensor,
    y: torch.Tensor,
    weighting: str,
) -> tuple[float, float]:
    """Value, and the best of nine CPU times in milliseconds."""
    value, best = 0.0, np.inf
    for _ in range(9):
        start = time.process_time()
        result = loss(probs, y, weighting)
        torch.autograd.grad(result, probs)
        best = min(best, time.process_time() - start)
        value = result.item()
    return value, 1e3 * best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--checkout", help="folder of the official code")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--classes", type=int, default=10)
    options = parser.parse_args()
    torch.set_num_threads(1)
    draw = simulate_posterior(options.rows, options.classes, rng=np.random.default_rng(0))
    probs = torch.softmax(1.8 * torch.from_numpy(draw.logits), 1).float().requires_grad_()
    y = torch.from_numpy(draw.y)
    peer = official(options.checkout) if options.checkout else plain
    print(
        f"{options.rows} rows, {options.classes} classes, M = 200, leaving one class out; CPU time, one thread"
    )
    print(f"{'weighting':12s} {'ours':>10s} {'peer':>10s} {'ratio':>7s}   values")
    with threadpool_limits(1):
        for weighting in WEIGHTINGS if options.checkout else ("uniform",):
            ours = timed(lambda p, t, w: h_calibration_loss(p, t, weighting=w), probs, y, weighting)
            theirs = timed(peer, probs, y, weighting)
            print(
                f"{weighting:12s} {ours[1]:7.1f} ms {theirs[1]:7.1f} ms {theirs[1] / ours[1]:6.1f}x   "
                f"{ours[0]:.6f} {theirs[0]:.6f}"
            )


if __name__ == "__main__":
    main()
