"""The paper's second bandit: a small transformer writes the tokens one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from loglik.language import models
from loglik.language.on_policy_preferences.bandit import PreferenceBandit
from loglik.language.on_policy_preferences.sequence import Sampler, fine_tune
from loglik.language.on_policy_preferences.study import Arm, arm_config
from loglik.train import Columns, TrainConfig, fit


def reference_transformer(bandit: PreferenceBandit, *, steps: int = 100, seed: int = 0) -> Any:
    """A Llama of the paper's shape (3 blocks, 3 heads, width 48) fitted to the bandit's reference.

    Each step minimises the KL divergence from the reference to the network at every position, over random prefixes.
    """
    model = models.tiny_llama(bandit.vocab, d_model=48, n_layers=3, n_heads=3, max_len=32, seed=seed)
    target = bandit.ref_logp.float().exp()
    g = torch.Generator().manual_seed(seed)
    rows = torch.multinomial(target, steps * 32 * (bandit.n_tokens + 1), replacement=True, generator=g)

    def loss(network: Any, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        logp = models.forward(network, batch["ids"]).logits[:, :-1].log_softmax(-1)
        return -(logp @ target).sum(), torch.tensor(logp[..., 0].numel())

    data = Columns(ids=rows.reshape(-1, bandit.n_tokens + 1))
    fit(model, loss, data, TrainConfig(steps, 32, lr=3e-3, warmup=min(10, steps // 2), seed=seed))
    return model


def transformer_study(
    bandit: PreferenceBandit,
    arms: Sequence[Arm],
    seeds: Sequence[int],
    *,
    lr: float = 3e-3,
    beta: float = 0.1,
    budget: int = 1000,
    batch: int = 100,
    inner_steps: int = 8,
    fit_steps: int = 100,
    progress: Callable[[Sequence[Any]], Iterable[Any]] = iter,
) -> pd.DataFrame:
    """Final rewards of transformer policies: one row an arm and seed, with the reference's own.

    Answers follow one random first token, as in the official code. Rewards are means over fresh answers.
    """
    rows = []
    for seed in seeds:
        start = reference_transformer(bandit, steps=fit_steps, seed=seed)
        sampler = Sampler(None, 0, bandit.n_tokens, n=10)
        g = torch.Generator().manual_seed(seed)
        prompts = torch.randint(bandit.vocab, (budget // 10, 1), generator=g).tolist()

        def label(ids: Tensor, mask: Tensor, scored: Tensor) -> Tensor:
            return bandit.reward(ids[:, 1:]).float()

        ref = sampler(start, start, prompts, label, g)
        for arm in progress(list(arms)):
            cfg = arm_config(arm, budget=budget, batch=batch, inner_steps=inner_steps)
            cfg = type(cfg)(**{**vars(cfg), "lr": lr, "beta": beta})
            course = fine_tune(
                deepcopy(start), prompts, label, cfg, sampler, seed=seed, eval_prompts=prompts[:30]
            )
            rows.append(
                {
                    "seed": seed,
                    "method": arm.label,
                    "reward": course.gold.iloc[-1],
                    "ref": float(ref.rewards.mean()),
                }
            )
    return pd.DataFrame(rows)
