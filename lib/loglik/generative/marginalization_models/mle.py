"""Maximum likelihood in two stages: any-order conditionals, then the marginals that agree with them."""

from __future__ import annotations

import torch
from torch import Tensor

from loglik.generative.marginalization_models.likelihood import (
    ao_arm_loss,
    block_gibbs,
    fill,
    log_conditional,
    random_ranks,
    reveal,
)
from loglik.generative.marginalization_models.models import MASK, DualMLP, check_states
from loglik.train import Columns, TrainConfig, TrainLog, fit

STAGES = ("conditionals", "marginals", "joint")


def consistency_loss(model: DualMLP, x: Tensor, ranks: Tensor, d: Tensor) -> Tensor:
    """Sum over rows of D·residual² + (log p_θ(∅) − log of the number of configurations)².

    One marginal pass for both sides and the empty set, one conditional pass.
    """
    before, after = reveal(x, ranks, d - 1), reveal(x, ranks, d)
    values = model.log_marginal(torch.cat([before, after, model.empty(1)]))
    low, high = values[:-1].chunk(2)
    which = ranks.argsort(1).gather(1, d[:, None] - 1)[:, 0]
    value = x.gather(1, which[:, None])[:, 0]
    residual = low + log_conditional(model, before, which, value) - high
    return model.D * residual.square().sum() + len(x) * (values[-1] - model.log_uniform).square()


def fit_mle(
    model: DualMLP,
    X: Tensor,
    *,
    stage: str = "conditionals",
    steps: int,
    batch: int = 128,
    lr: float = 1e-3,
    clip: float | None = 100.0,
    on_policy: float = 0.5,
    gibbs_steps: int | None = None,
    generator: torch.Generator,
    progress: bool = False,
) -> TrainLog:
    """Train `model` in place on complete or partly observed configurations.

    Parameters
    ----------
    model : DualMLP
    X : Tensor, shape (n, D)
        Values 1..K, 0 where missing. Rows with missing values train the conditionals; the marginals are then distilled
        on rows completed by the conditionals.
    stage : {"conditionals", "marginals", "joint"}
        ``conditionals``: the any-order autoregressive loss. ``marginals``: with frozen conditionals, D times the
        squared residual of the one-step condition, plus the empty set's. ``joint``: both at once, for all weights.
    steps, batch : int
    lr : float
        Peak rate of Adam with a cosine to zero.
    clip : float or None
        Largest norm of the gradient; squared residuals have heavy tails in the first steps.
    on_policy : float
        Share of the batch from a persistent chain of the model instead of the data, in 0..1.
    gibbs_steps : int, optional
        Variables that the chain draws again in each step; default 4, or D where that is less.
    generator : torch.Generator
    progress : bool

    Raises
    ------
    ValueError
        For an unknown stage, a share outside 0..1, more Gibbs steps than variables, or a row without any value.
    """
    check_states(X, model.D, model.K)
    if stage not in STAGES:
        raise ValueError(f"unknown stage {stage!r}; allowed: {', '.join(STAGES)}")
    if not 0 <= on_policy <= 1:
        raise ValueError(f"on_policy is a share of the batch, in 0..1; got {on_policy}")
    gibbs_steps = min(4, model.D) if gibbs_steps is None else gibbs_steps
    if not 1 <= gibbs_steps <= model.D:
        raise ValueError(f"gibbs_steps must lie in 1..{model.D}, got {gibbs_steps}")
    if bool((X == MASK).all(1).any()):
        raise ValueError("a row without any known value teaches nothing; leave such rows out")
    batch = min(batch, len(X))
    loss = _Loss(model, X, stage, round(batch * on_policy), gibbs_steps, generator)
    cfg = TrainConfig(
        steps=steps, batch_size=batch, lr=lr, clip=clip, drop_last=True, progress=progress,
        log_every=max(1, steps // 50), seed=int(torch.randint(2**31, (1,), generator=generator)),
    )  # fmt: skip
    model.conditional.requires_grad_(stage != "marginals")
    model.marginal.requires_grad_(stage != "conditionals")
    try:
        return fit(model, loss, Columns(x=X), cfg, carry={"generator": generator})
    finally:
        model.requires_grad_(True)


class _Loss:
    """Loss of a stage; holds the persistent chain."""

    def __init__(
        self,
        model: DualMLP,
        X: Tensor,
        stage: str,
        n_chain: int,
        gibbs_steps: int,
        generator: torch.Generator,
    ) -> None:
        self.stage, self.gibbs_steps, self.generator = stage, gibbs_steps, generator
        self.chain = None
        if n_chain and stage != "conditionals":
            rows = torch.randint(len(X), (n_chain,), generator=generator, device=X.device)
            self.chain = self._complete(model, X[rows])

    def _complete(self, model: DualMLP, x: Tensor) -> Tensor:
        if not bool((x == MASK).any()):
            return x
        return fill(model, x, random_ranks(len(x), model.D, self.generator), self.generator)

    def __call__(self, model: DualMLP, batch: dict[str, Tensor]) -> tuple[Tensor, int]:
        x = batch["x"]
        total = x.new_zeros((), dtype=torch.get_default_dtype())
        if self.stage != "marginals":
            total = total + len(x) * ao_arm_loss(model, x, self.generator) * model.D
        if self.stage != "conditionals":
            total = total + self._consistency(model, x)
        return total, len(x)

    def _consistency(self, model: DualMLP, x: Tensor) -> Tensor:
        x = self._complete(model, x)
        if self.chain is not None:
            self.chain = block_gibbs(model, self.chain, None, self.gibbs_steps, generator=self.generator)
            x = torch.cat([x[len(self.chain) :], self.chain])
        ranks = random_ranks(len(x), model.D, self.generator)
        d = torch.randint(1, model.D + 1, (len(x),), generator=self.generator, device=x.device)
        return consistency_loss(model, x, ranks, d)
