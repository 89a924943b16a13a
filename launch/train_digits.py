"""The smallest script for ``torchrun``: digits, a plain network, checkpoints, and nothing about the hardware.

    python launch/train_digits.py --out-dir runs/digits
    launch/one_machine.sh launch/train_digits.py --out-dir runs/digits

Stop it as you like and start it again: it goes on where it was. Copy it for a script of your own.
"""

from __future__ import annotations

import argparse

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

from loglik.nn import mlp
from loglik.train import KeepBest, StopOnSignal, TrainConfig, distributed_context, fit


def main() -> None:
    """Train, and say how well it went."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out-dir", required=True, help="folder of the checkpoints")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch-size", type=int, default=128, help="over all processes")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    context = distributed_context()
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(
        torch.tensor(X / 16, dtype=torch.float32), torch.tensor(y), test_size=400, random_state=0, stratify=y
    )
    model = mlp((64, 128, 10), generator=torch.Generator().manual_seed(options.seed), dropout=0.2)

    def loss(model: torch.nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, int]:
        inputs, labels = batch
        return cross_entropy(model(inputs), labels, reduction="sum"), len(labels)

    def accuracy(model: torch.nn.Module) -> float:
        hits = model(X_test.to(context.device)).argmax(1).cpu() == y_test
        return hits.float().mean().item()

    best = KeepBest(accuracy, name="accuracy")
    cfg = TrainConfig(
        steps=options.steps,
        batch_size=options.batch_size,
        lr=3e-3,
        warmup=20,
        weight_decay=0.01,
        clip=1.0,
        ema=0.99,
        seed=options.seed,
        log_every=50,
        save_every=100,
        out_dir=options.out_dir,
    )
    log = fit(
        model,
        loss,
        TensorDataset(X_train, y_train),
        cfg,
        callbacks=[best, StopOnSignal()],
        resume="auto",
        context=context,
    )
    if context.is_main:
        print(log.frame.to_string(index=False, float_format="{:.4g}".format))
        print(f"best accuracy {best.score:.3f} at step {best.step}; checkpoint {log.checkpoint}")


if __name__ == "__main__":
    main()
