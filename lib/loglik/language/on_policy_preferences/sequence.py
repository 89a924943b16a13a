"""The generic loop on causal models of `transformers`: sample, label, take gradient steps.

:func:`loglik.train.fit` trains on data that are there beforehand; here the policy makes its own, so the loop is
written out. The reference stays what the policy was at the start.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from loglik.language.generation import generate, join
from loglik.language.on_policy_preferences import losses
from loglik.language.on_policy_preferences.config import PFTConfig
from loglik.language.scoring import token_logprobs

#: Rewards of answers (M,): called with ids and mask of the whole texts (M, T), and which tokens are the answer's.
LabelFunction = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass
class Rollout:
    """Answers to prompts, those of one prompt next to each other: Q prompts, N answers each, M = QN rows."""

    ids: Tensor  # (M, T) prompt and answer, padded on the right
    mask: Tensor  # (M, T)
    scored: Tensor  # (M, T) True on the answer, its end included
    rewards: Tensor  # (Q, N) labels
    old: Tensor  # (M, T - 1) token log-probabilities under the policy that sampled
    ref: Tensor  # (M, T - 1) under the reference

    @property
    def lengths(self) -> Tensor:
        """Tokens of each answer, its end counted once: (M,)."""
        return self.scored.sum(1)

    def prompts(self, rows: Tensor) -> Rollout:
        """The answers to some prompts, cut to the longest of them."""
        n = self.rewards.shape[1]
        pick = (rows[:, None] * n + torch.arange(n)).flatten()
        width = int(self.mask[pick].sum(1).max())
        return Rollout(
            self.ids[pick, :width], self.mask[pick, :width], self.scored[pick, :width],
            self.rewards[rows], self.old[pick, : width - 1], self.ref[pick, : width - 1],
        )  # fmt: skip


@dataclass(frozen=True)
class Sampler:
    """How answers are drawn: always at temperature one, the law that is scored."""

    eos_id: int | None
    pad_id: int
    max_new_tokens: int
    n: int = 4

    def __call__(
        self,
        policy: Any,
        ref: Any,
        prompts: Sequence[Sequence[int]],
        label: LabelFunction,
        generator: torch.Generator,
    ) -> Rollout:
        """Draw, score under policy (which drawing does anyway) and reference, label."""
        found = generate(
            policy, prompts, max_new_tokens=self.max_new_tokens, eos_id=self.eos_id, pad_id=self.pad_id,
            generator=generator, n=self.n,
        )  # fmt: skip
        batch, scored = join(prompts, found, pad_id=self.pad_id)
        old = torch.zeros(scored[:, 1:].shape)
        old[scored[:, 1:]] = found.logprobs[found.mask]
        with torch.no_grad():
            under_ref = token_logprobs(ref, batch.ids, batch.mask, scored=scored)
        rewards = label(batch.ids, batch.mask, scored).reshape(len(prompts), self.n)
        return Rollout(batch.ids, batch.mask, scored, rewards, old, under_ref)


def fine_tune(
    policy: Any,
    prompts: Sequence[Sequence[int]],
    label: LabelFunction,
    cfg: PFTConfig,
    sampler: Sampler,
    *,
    seed: int,
    gold: LabelFunction | None = None,
    data: Rollout | None = None,
    eval_prompts: Sequence[Sequence[int]] | None = None,
    looks: int = 1,
) -> pd.DataFrame:
    """Fine-tune a policy in place; what it was at the start is the reference throughout.

    Parameters
    ----------
    policy : causal model of `transformers`
    prompts : sequence of sequences of ids
        At least as many as the budget needs (``cfg.budget // cfg.n_per_prompt``).
    label : callable
        What the policy is trained on: a reward model, or the truth.
    cfg : PFTConfig
    sampler : Sampler
        With ``n`` equal to ``cfg.n_per_prompt``.
    seed : int
        Of the samples and the order.
    gold : callable, optional
        For evaluation alone; default: `label`.
    data : Rollout, optional
        Offline answers, labelled; default: drawn from the reference.
    eval_prompts : sequence, optional
        For the looks; default: the first 64 prompts.
    looks : int
        How often to look, the end included.

    Returns
    -------
    DataFrame
        One row a look: step, samples_used, gold, proxy, kl, length, empty (share of answers that are an end alone).

    Raises
    ------
    ValueError
        For too few prompts, or a sampler that draws another number of answers a prompt.
    """
    needed = cfg.budget // cfg.n_per_prompt
    if sampler.n != cfg.n_per_prompt or len(prompts) < needed:
        raise ValueError(
            f"want {cfg.n_per_prompt} answers to {needed} prompts, got {sampler.n} and {len(prompts)}"
        )
    generator = torch.Generator().manual_seed(seed)
    ref = copy.deepcopy(policy).eval().requires_grad_(False)
    optimizer = torch.optim.Adam(policy.parameters(), lr=cfg.lr)
    shown, rows, step = list(eval_prompts or prompts[:64]), [], 0
    each, due = cfg.batch // cfg.n_per_prompt, max(1, cfg.gradient_steps // looks)
    for refresh in range(cfg.refreshes):
        batch = data
        if cfg.on_policy or data is None:
            batch = sampler(policy, ref, prompts[refresh * each : (refresh + 1) * each], label, generator)
        assert batch is not None
        for pick in _orders(cfg, len(batch.rewards), generator):
            optimizer.zero_grad(set_to_none=True)
            policy_loss(policy, batch.prompts(pick), cfg).backward()
            torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
            optimizer.step()
            step += 1
            if step % due == 0 or step == cfg.gradient_steps:
                used = (refresh + 1) * cfg.batch
                rows.append(
                    {"step": step, "samples_used": used}
                    | _look(policy, ref, shown, sampler, label, gold, seed)
                )
    return pd.DataFrame(rows)


def policy_loss(policy: Any, batch: Rollout, cfg: PFTConfig) -> Tensor:
    """The loss of one minibatch: log-probabilities are sums over the answer's tokens, its end included."""
    Q, N = batch.rewards.shape
    tokens = token_logprobs(policy, batch.ids, batch.mask, scored=batch.scored)
    logp, ref, rewards = tokens.sum(1).reshape(Q, N), batch.ref.sum(1).reshape(Q, N), batch.rewards
    if cfg.method == "best-of-n":
        return losses.pref_ft_loss(logp.gather(1, losses.best_of(rewards)[:, None]))
    if cfg.method == "rwr":
        return losses.rwr_loss(logp, losses.standardise(rewards), beta=cfg.beta)
    if cfg.method in ("pref-ft", "dpo", "ipo"):
        q, w, l = losses.preference_pairs(rewards)  # noqa: E741
        if not len(q):  # all answers tie: nothing to learn, but a gradient of zero
            return logp.sum() * 0
        if cfg.method == "pref-ft":
            return losses.pref_ft_loss(logp[q, w])
        contrast = losses.dpo_loss if cfg.method == "dpo" else losses.ipo_loss
        return contrast(logp[q, w], logp[q, l], ref[q, w], ref[q, l], beta=cfg.beta)
    gain = losses.standardise(rewards.flatten())
    kl = 0.5 * (logp - ref).square().mean()
    if cfg.method == "ppo":
        return losses.ppo_loss(tokens, batch.old, gain, batch.scored[:, 1:]) + cfg.beta * kl
    plain = losses.reinforce_loss(logp.flatten(), gain, allow_negative=cfg.method == "reinforce")
    return plain + cfg.beta * kl


def _orders(cfg: PFTConfig, n: int, generator: torch.Generator) -> list[Tensor]:
    """Prompts of each inner step: whole passes in random order."""
    size = min(cfg.minibatch // cfg.n_per_prompt, n)
    passes = -(-cfg.inner_steps * size // n)
    order = torch.cat([torch.randperm(n, generator=generator) for _ in range(passes)])
    return list(order[: cfg.inner_steps * size].reshape(cfg.inner_steps, size))


def _look(
    policy: Any,
    ref: Any,
    prompts: Sequence[Sequence[int]],
    sampler: Sampler,
    label: LabelFunction,
    gold: LabelFunction | None,
    seed: int,
) -> dict[str, float]:
    """Fresh answers, always with the same random numbers, so that looks and arms are paired."""
    found = sampler(policy, ref, prompts, label, torch.Generator().manual_seed(10_000 + seed))
    truth = found.rewards.flatten() if gold is None else gold(found.ids, found.mask, found.scored)
    return {
        "gold": float(truth.float().mean()),
        "proxy": float(found.rewards.float().mean()),
        "kl": float((found.old - found.ref).sum(1).mean()),
        "length": float(found.lengths.float().mean()),
        "empty": float((found.lengths == 1).float().mean()),
    }
