"""Losses of the paper that :mod:`loglik.language.preference` lacks; that module's are passed on.

Log-probabilities are sums over the tokens of an answer, its end included. Each loss takes tensors with any number of
leading dimensions and returns the mean over all entries unless ``reduction="none"``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from loglik.language.preference import Reduction, dpo_loss, ipo_loss, preference_pairs, sft_term

__all__ = [
    "best_of",
    "dpo_loss",
    "ipo_loss",
    "ppo_loss",
    "pref_ft_loss",
    "preference_pairs",
    "push_down_loss",
    "reinforce_loss",
    "rwr_loss",
    "standardise",
    "standardised_advantage",
]

pref_ft_loss = sft_term


def best_of(rewards: Tensor) -> Tensor:
    """Index of the best answer to each prompt: (..., N) to (...,).

    Raises
    ------
    ValueError
        For NaN rewards.
    """
    return _checked(rewards).argmax(-1)


def standardise(rewards: Tensor, eps: float = 1e-6) -> Tensor:
    """Rewards minus their mean over their standard deviation, along the last axis (the answers to a prompt)."""
    _checked(rewards)
    centred = rewards - rewards.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True).sqrt() + eps)


def rwr_loss(
    logp: Tensor,
    rewards: Tensor,
    *,
    beta: float | Tensor = 1.0,
    clip: float | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Reward-weighted regression: :math:`-\log\pi(y_i)\,w_i`, with :math:`w=\exp(r/\beta)` of mean one over answers.

    Dividing the weights by their mean changes the step size alone. It gives both limits: Best-of-N as beta vanishes,
    plain fine-tuning on all answers as it grows.

    Parameters
    ----------
    logp, rewards : Tensors of shape (..., N)
        Of N answers to a prompt.
    beta : float or Tensor
        Temperature; a tensor must broadcast against `rewards`.
    clip : float, optional
        Largest weight.

    Raises
    ------
    ValueError
        For `beta` of zero or less, shapes that differ, or NaN rewards.
    """
    _positive(beta, "beta")
    _same(logp, rewards)
    weights = (_checked(rewards) / beta).softmax(-1) * rewards.shape[-1]
    if clip is not None:
        weights = weights.clamp(max=clip)
    return _reduced(-logp * weights.detach(), reduction)


def standardised_advantage(rewards: Tensor, *, allow_negative: bool = True) -> Tensor:
    """Advantages for policy gradients: rewards of a batch, standardised along the last axis.

    Parameters
    ----------
    rewards : Tensor of shape (..., B)
    allow_negative : bool
        False subtracts the batch's minimum, so that no answer is pushed down (official code,
        ``remove_negative_gradients``).
    """
    found = standardise(rewards)
    return found if allow_negative else found - found.amin(-1, keepdim=True)


def reinforce_loss(
    logp: Tensor,
    rewards: Tensor,
    *,
    baseline: float | Tensor = 0.0,
    scale: float | Tensor = 1.0,
    allow_negative: bool = True,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""REINFORCE: :math:`-\log\pi(y)\,(r-b)/s`; its gradient is that of :math:`-E[r]` for on-policy answers.

    Parameters
    ----------
    logp, rewards : Tensors of shape (..., B)
    baseline, scale : float or Tensor
        b and s.
    allow_negative : bool
        False shifts the advantages of the batch to be at least zero.

    Raises
    ------
    ValueError
        For shapes that differ, NaN rewards or a scale of zero or less.
    """
    _same(logp, rewards)
    _positive(scale, "scale")
    advantage = (_checked(rewards) - baseline) / scale
    if not allow_negative:
        advantage = advantage - advantage.amin(-1, keepdim=True)
    return _reduced(-logp * advantage.detach(), reduction)


def ppo_loss(
    logp_tokens: Tensor,
    old_tokens: Tensor,
    advantages: Tensor,
    mask: Tensor | None = None,
    *,
    clip: float | Tensor = 0.2,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""PPO's clipped surrogate, token by token, summed over an answer (Schulman et al. 2017, eq. 7).

    Parameters
    ----------
    logp_tokens, old_tokens : Tensors of shape (..., B, A)
        Of each token, under the policy and under the one that sampled.
    advantages : Tensor of shape (..., B)
        Of each answer.
    mask : Tensor of shape (..., B, A), optional
        True where a token belongs to the answer.
    clip : float or Tensor
        Half-width of the interval around one in which the ratio has a gradient.

    Raises
    ------
    ValueError
        For shapes that differ, NaN advantages or a `clip` of zero or less.
    """
    _positive(clip, "clip")
    if logp_tokens.shape != old_tokens.shape or logp_tokens.shape[:-1] != advantages.shape:
        raise ValueError(
            f"want log-probabilities (..., B, A) twice and advantages (..., B), got {tuple(logp_tokens.shape)}, "
            f"{tuple(old_tokens.shape)} and {tuple(advantages.shape)}"
        )
    ratio = (logp_tokens - old_tokens.detach()).exp()
    gain = _checked(advantages).detach()[..., None]
    one = torch.ones((), dtype=ratio.dtype)
    clipped = torch.minimum(torch.maximum(ratio, one - clip), one + clip)
    surrogate = torch.minimum(ratio * gain, clipped * gain)
    if mask is not None:
        surrogate = surrogate.masked_fill(~mask, 0.0)
    return _reduced(-surrogate.sum(-1), reduction)


def push_down_loss(
    logp_best: Tensor,
    logp_worse: Tensor,
    *,
    beta: float = 0.1,
    kind: str = "mean",
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Best-of-N with an explicit negative gradient: the ablations of the official code.

    Parameters
    ----------
    logp_best : Tensor of shape (...,)
    logp_worse : Tensor of shape (..., M)
        Of the other answers; for ``worst``, put the worst first.
    kind : {"worst", "mean", "sum", "unlikelihood"}
        Plus `beta` times the worst's, the mean or the sum of the others' log-probabilities, or minus `beta` times
        the mean of :math:`\log(1-\pi(y_l))`.

    Raises
    ------
    ValueError
        For an unknown kind or `beta` of zero or less.
    """
    _positive(beta, "beta")
    kinds = {
        "worst": lambda: logp_worse[..., 0],
        "mean": lambda: logp_worse.mean(-1),
        "sum": lambda: logp_worse.sum(-1),
        "unlikelihood": lambda: -torch.log(-torch.expm1(logp_worse.clamp(max=-1e-6))).mean(-1),
    }
    if kind not in kinds:
        raise ValueError(f"kind must be one of {', '.join(kinds)}, got {kind!r}")
    return _reduced(-logp_best + beta * kinds[kind](), reduction)


def _positive(value: float | Tensor, name: str) -> None:
    if not bool(torch.as_tensor(value > 0).all()):
        raise ValueError(f"{name} must be above 0, got {value}")


def _checked(rewards: Tensor) -> Tensor:
    if bool(rewards.isnan().any()):
        raise ValueError(f"{int(rewards.isnan().sum())} rewards are NaN")
    return rewards


def _same(logp: Tensor, rewards: Tensor) -> None:
    if logp.shape != rewards.shape:
        raise ValueError(
            f"logp and rewards must have one shape, got {tuple(logp.shape)} and {tuple(rewards.shape)}"
        )


def _reduced(values: Tensor, reduction: Reduction) -> Tensor:
    if reduction == "none":
        return values
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}")
    return values.mean() if reduction == "mean" else values.sum()
