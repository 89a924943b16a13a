"""Training: the ramp of β, the selection by validation users, and the β at which the ramp peaks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from loglik import train
from loglik.generative.vae_cf.data import Split
from loglik.generative.vae_cf.metrics import evaluate
from loglik.generative.vae_cf.models import MultDAE, MultVAE
from loglik.generative.vae_cf.rows import ClickRows, Rows

Model = MultVAE | MultDAE


@dataclass(frozen=True)
class LinearAnneal:
    """β after a number of updates: ``min(cap, step / total_steps)``; the slope doesn't depend on the cap.

    Parameters
    ----------
    total_steps : int
        Updates after which β would reach 1 (the official code's is 200,000).
    cap : float
        Where the ramp stops (0.2 on MovieLens-20M).

    Raises
    ------
    ValueError
        For a ramp without length, or a cap that is negative or not finite.

    Examples
    --------
    >>> anneal = LinearAnneal(200_000, 0.2)
    >>> anneal(20_000), anneal(40_000), anneal(1_000_000)
    (0.1, 0.2, 0.2)
    """

    total_steps: int
    cap: float

    def __post_init__(self) -> None:
        if self.total_steps < 1:
            raise ValueError(f"the ramp needs at least one step, got {self.total_steps}")
        if not 0 <= self.cap < np.inf:
            raise ValueError(f"cap must be a finite number from 0, got {self.cap}")

    def __call__(self, step: int) -> float:
        """β once `step` updates are done."""
        return float(min(self.cap, step / self.total_steps))


@dataclass(frozen=True)
class History:
    """A training run, epoch by epoch.

    Attributes
    ----------
    step, beta, val : ndarray, shape (epochs,)
        Updates done, β then, and the validation metric.
    best_state : dict of Tensors
        Weights of the best epoch; the model has them too.
    best_val : float
    seconds : float
        CPU time of this process.
    """

    step: NDArray[np.int64]
    beta: NDArray[np.float64]
    val: NDArray[np.float64]
    best_state: dict[str, Tensor]
    best_val: float
    seconds: float


class _Objective:
    """The loss of a batch under the β of the moment; a callback tells it the step."""

    def __init__(self, anneal: Callable[[int], float], weight_decay: float) -> None:
        self.anneal, self.weight_decay, self.step = anneal, weight_decay, 0

    def watch(self, run: train.Run) -> None:
        self.step = run.step

    def __call__(self, model: Model, batch: Rows) -> tuple[Tensor, int]:
        log_lik, kl = model.terms(batch)
        loss = (self.anneal(self.step) * kl - log_lik).sum()
        if self.weight_decay:
            penalty = torch.stack([w.square().sum() for w in model.matrices()]).sum()
            loss = loss + batch.n_users * self.weight_decay * penalty
        return loss, batch.n_users


def fit(
    model: Model,
    split: Split,
    *,
    epochs: int = 200,
    batch_size: int = 500,
    lr: float = 1e-3,
    anneal: Callable[[int], float] | float = 0.2,
    weight_decay: float = 0.0,
    patience: int | None = None,
    metric: str = "ndcg@100",
    seed: int = 0,
    device: str | torch.device = "cpu",
    precision: str = "fp32",
    progress: bool = False,
) -> History:
    """Train `model` in place and leave it with the weights of its best epoch on the validation users.

    Adam on the mean over users of ``-L_β + weight_decay * sum of squared weights``. Targets of validation and test
    users are never an input.

    Parameters
    ----------
    model : MultVAE or MultDAE
    split : Split
    epochs, batch_size, lr
        The official values are the defaults.
    anneal : callable or float
        β from the number of updates done, such as :class:`LinearAnneal`; a number is a constant β. A DAE has no KL
        term and isn't concerned.
    weight_decay : float
        λ; the official Mult-DAE has 0.01 / 500.
    patience : int, optional
        Epochs without a better one after which to stop.
    metric : str
        As in :func:`~loglik.generative.vae_cf.evaluate`.
    seed : int
        Of the order of users, of dropout and of the sampled z.
    device : str or torch.device
    precision : {"fp32", "bf16"}
    progress : bool

    Raises
    ------
    ValueError
        When model and split differ in their items; for sizes out of range.
    """
    if model.n_items != split.n_items:
        raise ValueError(f"the model has {model.n_items} items, the split {split.n_items}")
    if epochs < 1 or weight_decay < 0:
        raise ValueError(
            f"epochs must be at least 1 and weight_decay not negative; got {epochs}, {weight_decay}"
        )
    schedule: Callable[[int], float] = anneal if callable(anneal) else _constant(float(anneal))
    data = ClickRows(split.train, device)
    context = train.Context(device=torch.device(device))  # one process: runs, not batches, are spread
    cfg = train.TrainConfig(
        steps=epochs * -(-len(data) // batch_size),
        batch_size=batch_size,
        lr=lr,
        schedule="constant",
        seed=seed,
        precision=precision,
        log_every=-(-len(data) // batch_size),
        progress=progress,
    )
    objective = _Objective(schedule, weight_decay)
    best = train.KeepBest(
        lambda m: evaluate(predictor(m), split.val, [metric])[metric].mean(), name="val", patience=patience
    )
    started = time.process_time()
    log = train.fit(model, objective, data, cfg, callbacks=[objective.watch, best], context=context)
    best.restore(model)
    epoch = log.frame.dropna(subset="val")
    return History(
        step=epoch["step"].to_numpy(),
        beta=np.array([schedule(step) for step in epoch["step"]]),
        val=epoch["val"].to_numpy(),
        best_state=best.weights,
        best_val=best.score,
        seconds=time.process_time() - started,
    )


def _constant(beta: float) -> Callable[[int], float]:
    if not 0 <= beta < np.inf:
        raise ValueError(f"β must be a finite number from 0, got {beta}")
    return lambda _step: beta


def predictor(model: Any) -> Callable[[Any], NDArray[Any]]:
    """What :func:`~loglik.generative.vae_cf.evaluate` wants: fold-in rows to a NumPy array of scores."""
    return lambda fold_in: model.predict(fold_in).float().cpu().numpy()


def annealed_peak(history: History, width: int = 5) -> float:
    """β at which the validation metric of a ramp from 0 to 1 peaks.

    Parameters
    ----------
    history : History
        Of a run with ``LinearAnneal(..., cap=1)``.
    width : int
        Epochs of the running mean that smooths the noise of few validation users.
    """
    width = min(width, len(history.val))
    smooth = np.convolve(history.val, np.ones(width) / width, "valid")
    return float(history.beta[int(smooth.argmax()) + width // 2])
