"""Energy-based training: fit a model to an unnormalised density without any data."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pandas as pd
import torch
from torch import Tensor

from loglik.generative.marginalization_models.likelihood import (
    ao_arm_terms,
    block_gibbs,
    log_marginal_any_order,
    random_ranks,
    sample,
)
from loglik.generative.marginalization_models.mle import consistency_loss
from loglik.generative.marginalization_models.models import DualMLP
from loglik.train import Columns, Run, TrainConfig, fit

LogDensity = Callable[[Tensor], Tensor]
ESTIMATORS = ("mam", "arm", "arm_mc", "fm")


@dataclass
class History:
    """What was evaluated on the way: ``table`` has columns step, seconds (CPU, training alone) and value."""

    rows: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def table(self) -> pd.DataFrame:
        """One row an evaluation."""
        return pd.DataFrame(self.rows, columns=["step", "seconds", "value"])


def advantage(log_p: Tensor, log_f: Tensor) -> Tensor:
    """Standardised log p − log f, without gradient: the weight of ∇log p in the gradient of KL(p‖f/Z).

    Any constant may be taken off, because E∇log p = 0; dividing by the standard deviation rescales the KL's share of
    the step beside the consistency loss.
    """
    a = (log_p - log_f).detach()
    return (a - a.mean()) / (a.std() + 1e-8)


def mam_loss(model: DualMLP, x: Tensor, log_f: Tensor, ranks: Tensor, d: Tensor, alpha: float) -> Tensor:
    """Sum over rows of the KL surrogate plus α times the consistency loss: O(1) passes whatever D is."""
    log_p = model.log_marginal(x)
    surrogate = (advantage(log_p, log_f) * log_p).sum()
    return surrogate + alpha * consistency_loss(model, x, ranks, d)


def fm_loss(model: DualMLP, x: Tensor, log_f: Tensor, ranks: Tensor, d: Tensor, alpha: float) -> Tensor:
    """Sum over rows of ½(log p_θ(x) − log f(x))² plus α·D·residual²; log p_θ(∅) is left free and learns log Z."""
    gap = model.log_marginal(x) - log_f
    free = len(x) * (model.log_z() - model.log_uniform).square()
    return 0.5 * gap.square().sum() + alpha * (consistency_loss(model, x, ranks, d) - free)


def arm_loss(model: DualMLP, x: Tensor, log_f: Tensor, order: Tensor) -> Tensor:
    """Sum over rows of the KL surrogate with exact log p_φ(x): D passes forward and backward.

    `order` must be the one that `x` was drawn in: conditionals of a network in training differ between orders.
    """
    log_p = log_marginal_any_order(model, x, order)
    return (advantage(log_p, log_f) * log_p).sum()


def arm_mc_loss(
    model: DualMLP, x: Tensor, log_f: Tensor, ranks: Tensor, generator: torch.Generator
) -> Tensor:
    """The same with two independent one-pass estimates of log p_φ(x), for weight and gradient."""
    with torch.no_grad():
        weight = one_pass_estimate(model, x, ranks, generator)
    log_p = one_pass_estimate(model, x, ranks, generator)
    return (advantage(weight, log_f) * log_p).sum()


def one_pass_estimate(model: DualMLP, x: Tensor, ranks: Tensor, generator: torch.Generator) -> Tensor:
    """D times the mean log-conditional of the variables hidden after a random number of the given order.

    As in the official code all hidden variables are averaged, which is less noisy than the next one alone; the
    expectation over orders is the same.
    """
    t = torch.randint(model.D, (len(x),), generator=generator, device=x.device)
    return -model.D * ao_arm_terms(model, x, ranks, t)


def fit_energy(
    model: DualMLP,
    log_f: LogDensity,
    *,
    steps: int,
    batch: int = 128,
    alpha: float = 4.0,
    gibbs_steps: int = 4,
    refresh_every: int = 200,
    lr: float = 5e-4,
    estimator: str = "mam",
    clip: float | None = 100.0,
    generator: torch.Generator,
    evaluate: Callable[[DualMLP], float] | None = None,
    evaluate_every: int = 100,
    progress: bool = False,
) -> History:
    """Train `model` in place to minimise KL(model ‖ f/Z).

    Parameters
    ----------
    model : DualMLP
    log_f : callable
        Log of the target up to a constant: (B, D) in 1..K → (B,).
    steps, batch : int
    alpha : float
        Weight of the consistency loss.
    gibbs_steps : int
        Variables of the persistent chain that are drawn again in each step; D samples afresh.
    refresh_every : int
        Steps between full ancestral samples of the chain, which keep it from getting stuck.
    lr : float
        Peak rate of Adam, with a cosine to zero.
    estimator : {"mam", "arm", "arm_mc", "fm"}
        The KL by marginals; by exact autoregressive likelihoods (samples afresh in each step); by one-pass estimates of
        these; or the squared log-ratio with marginals.
    clip : float or None
        Largest norm of the gradient.
    generator : torch.Generator
    evaluate : callable, optional
        Gives a number of the model before the first step, every `evaluate_every` and at the end. Its time
        isn't counted.
    evaluate_every : int
    progress : bool

    Returns
    -------
    History

    Raises
    ------
    ValueError
        For an unknown estimator, a negative alpha, or gibbs_steps outside 1..D.
    """
    if estimator not in ESTIMATORS:
        raise ValueError(f"unknown estimator {estimator!r}; allowed: {', '.join(ESTIMATORS)}")
    if not 1 <= gibbs_steps <= model.D:
        raise ValueError(f"gibbs_steps must lie in 1..{model.D}, got {gibbs_steps}")
    if not alpha >= 0:
        raise ValueError(f"alpha weighs a squared residual and can't be negative, got {alpha}")
    chain = _Chain(model, batch, model.D if estimator == "arm" else gibbs_steps, refresh_every, generator)

    def loss(model: DualMLP, rows: dict[str, Tensor]) -> tuple[Tensor, int]:
        x = chain.move(model)
        target = log_f(x)
        if estimator == "arm":
            return arm_loss(model, x, target, chain.ranks.argsort(1)), batch
        if estimator == "arm_mc":
            return arm_mc_loss(model, x, target, chain.ranks, generator), batch
        d = torch.randint(1, model.D + 1, (batch,), generator=generator, device=x.device)
        ranks = chain.ranks
        return (mam_loss if estimator == "mam" else fm_loss)(model, x, target, ranks, d, alpha), batch

    history = History()
    watch = _Watch(history, evaluate, evaluate_every, steps)
    cfg = TrainConfig(
        steps=steps, batch_size=batch, lr=lr, clip=clip, progress=progress, log_every=max(1, steps // 50),
        seed=int(torch.randint(2**31, (1,), generator=generator)),
    )  # fmt: skip
    model.marginal.requires_grad_(not estimator.startswith("arm"))
    try:
        data = Columns(row=torch.arange(batch))  # no data: every batch is the whole chain
        fit(model, loss, data, cfg, callbacks=[watch], carry={"generator": generator})
    finally:
        model.requires_grad_(True)
    return history


class _Chain:
    """Persistent samples of the model, moved by block Gibbs and refreshed now and then."""

    def __init__(self, model: DualMLP, n: int, moves: int, refresh: int, generator: torch.Generator) -> None:
        self.moves, self.refresh, self.generator, self.step = moves, refresh, generator, 0
        self.x = self.ranks = model.empty(n)

    def move(self, model: DualMLP) -> Tensor:
        self.ranks = random_ranks(len(self.x), model.D, self.generator)
        order = self.ranks.argsort(1)
        if self.step % self.refresh == 0:
            self.x = sample(model, len(self.x), order, generator=self.generator)
        else:
            self.x = block_gibbs(model, self.x, order, self.moves, generator=self.generator)
        self.step += 1
        return self.x


class _Watch:
    """Evaluates on the way and keeps the CPU time of training alone."""

    def __init__(
        self, history: History, evaluate: Callable[[DualMLP], float] | None, every: int, steps: int
    ) -> None:
        self.history, self.evaluate, self.every, self.steps = history, evaluate, every, steps
        self.since: float | None = None

    def __call__(self, run: Run) -> None:
        now = time.process_time()
        self.history.seconds += 0.0 if self.since is None else now - self.since
        if self.evaluate is not None and (run.step % self.every == 0 or run.step == self.steps):
            with torch.no_grad():
                value = float(self.evaluate(run.model))  # type: ignore[arg-type]
            self.history.rows.append({"step": run.step, "seconds": self.history.seconds, "value": value})
        self.since = time.process_time()
