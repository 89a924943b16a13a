"""Callbacks that more than one chapter wants. Any callable that takes the run will do."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from loglik.train.state import load_model, model_tensors

if TYPE_CHECKING:
    from loglik.train.loop import Run


class KeepBest:
    """Evaluates every so often and keeps the weights that were best.

    Parameters
    ----------
    evaluate : callable
        ``evaluate(model) -> float``, called in ``eval()`` mode without gradients, in every process: it is to give
        the same number in each.
    every : int, optional
        Steps between evaluations; default: the end of each epoch.
    largest : bool
        Whether larger is better.
    name : str
        Column of the log.
    patience : int, optional
        Stop after this many evaluations without a better one. (A run that is resumed then goes on.)

    Attributes
    ----------
    score, step : float, int
        The best value and the step that gave it; step -1 before the first evaluation.
    """

    def __init__(
        self,
        evaluate: Callable[[nn.Module], float],
        *,
        every: int | None = None,
        largest: bool = True,
        name: str = "score",
        patience: int | None = None,
    ) -> None:
        self.evaluate, self.every, self.largest = evaluate, every, largest
        self.name, self.patience = name, patience
        self.score, self.step, self.waited = float("-inf") if largest else float("inf"), -1, 0
        self.seen = -1
        self.weights: dict[str, Tensor] = {}

    def __call__(self, run: Run) -> None:
        """Evaluate, when it is time."""
        time_has_come = run.epoch_ended if self.every is None else run.step and run.step % self.every == 0
        if not time_has_come or run.step == self.seen:
            return
        self.seen = run.step
        score = self._score(run.model)
        run.log(**{self.name: score})
        if score > self.score if self.largest else score < self.score:
            self.score, self.step, self.waited = score, run.step, 0
            self.weights = {name: tensor.clone() for name, tensor in model_tensors(run.model).items()}
            return
        self.waited += 1
        if self.patience is not None and self.waited >= self.patience:
            run.stop(f"{self.name} has not improved in {self.patience} evaluations")

    def restore(self, model: nn.Module) -> None:
        """Put the best weights into `model`.

        Raises
        ------
        RuntimeError
            When nothing was evaluated.
        """
        if self.step < 0:
            raise RuntimeError("no evaluation has taken place, so there are no best weights")
        load_model(model, self.weights)

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        facts = {"score": self.score, "step": self.step, "waited": self.waited, "seen": self.seen}
        return {**facts, **{f"weights/{name}": tensor for name, tensor in self.weights.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """From the checkpoint."""
        self.score, self.step = state["score"], state["step"]
        self.waited, self.seen = state["waited"], state["seen"]
        self.weights = {k.removeprefix("weights/"): v for k, v in state.items() if k.startswith("weights/")}

    def _score(self, model: nn.Module) -> float:
        training = model.training
        model.eval()
        try:
            with torch.no_grad():
                return float(self.evaluate(model))
        finally:
            model.train(training)


class StopOnSignal:
    """Ends the run with a checkpoint when the machine is about to be taken away.

    Slurm, spot machines and ``torchrun`` send SIGTERM and kill some time later (``torchrun`` after 30 s).

    Parameters
    ----------
    signum : int
        Default SIGTERM. It is caught from the moment this object is made.
    """

    def __init__(self, signum: int = signal.SIGTERM) -> None:
        self.caught = False
        signal.signal(signum, self._catch)

    def _catch(self, signum: int, _frame: object) -> None:
        self.caught = True

    def __call__(self, run: Run) -> None:
        """Stop, when the signal has come."""
        if self.caught:
            run.stop("signal")
