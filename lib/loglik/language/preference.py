"""Learning from preferences: the losses that several chapters use, on summed log-probabilities of answers.

All take log-probabilities in nats of shape (B,): of the preferred answer (``w``) and the other one (``l``), under
the model and, fixed, under the reference. They return the mean over pairs unless ``reduction="none"``.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import functional as F

Reduction = Literal["mean", "sum", "none"]


def dpo_loss(
    logp_w: Tensor,
    logp_l: Tensor,
    ref_w: Tensor,
    ref_l: Tensor,
    *,
    beta: float = 0.1,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Direct preference optimisation (Rafailov et al. 2023, eq. 7).

    :math:`-\log\sigma(\beta(h_w-h_l))` with :math:`h=\log\pi-\log\pi_{ref}`; log 2 where the model is its reference.

    Raises
    ------
    ValueError
        For `beta` of zero or less, or log-probabilities of different shapes.
    """
    return _reduced(-F.logsigmoid(_positive(beta) * _margin(logp_w, logp_l, ref_w, ref_l)), reduction)


def ipo_loss(
    logp_w: Tensor,
    logp_l: Tensor,
    ref_w: Tensor,
    ref_l: Tensor,
    *,
    beta: float = 0.1,
    target: float | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Identity preference optimisation (Azar et al. 2024, eq. 17): :math:`(h_w-h_l-1/(2\beta))^2`.

    `target` replaces :math:`1/(2\beta)`, which some codes set directly.
    """
    wanted = 1 / (2 * _positive(beta)) if target is None else target
    return _reduced((_margin(logp_w, logp_l, ref_w, ref_l) - wanted).square(), reduction)


def slic_loss(logp_w: Tensor, logp_l: Tensor, *, delta: float = 1.0, reduction: Reduction = "mean") -> Tensor:
    r"""Sequence likelihood calibration (Zhao et al. 2023): :math:`\max(0,\delta-\log\pi_w+\log\pi_l)`."""
    return _reduced((delta - (logp_w - logp_l)).clamp(min=0), reduction)


def simpo_loss(
    logp_w: Tensor,
    logp_l: Tensor,
    length_w: Tensor,
    length_l: Tensor,
    *,
    beta: float = 2.0,
    gamma: float = 1.0,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Simple preference optimisation (Meng et al. 2024): no reference, log-probabilities per token, a margin.

    :math:`-\log\sigma(\beta\log\pi_w/|y_w|-\beta\log\pi_l/|y_l|-\gamma)`.

    Raises
    ------
    ValueError
        For an empty answer or `beta` of zero or less.
    """
    if min(int(length_w.min()), int(length_l.min())) < 1:
        raise ValueError("an answer is empty: lengths must be at least 1")
    margin = _positive(beta) * (logp_w / length_w - logp_l / length_l) - gamma
    return _reduced(-F.logsigmoid(margin), reduction)


def sft_term(logp_w: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """The negative log-likelihood of the preferred answer, to be added to any of the losses with a weight."""
    return _reduced(-logp_w, reduction)


def preference_pairs(rewards: Tensor, *, threshold: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
    """All pairs of answers to one prompt whose rewards differ.

    Parameters
    ----------
    rewards : Tensor of shape (Q, N)
        Of N answers to each of Q prompts.
    threshold : float
        Pairs whose rewards differ by no more than this are dropped; ties always are.

    Returns
    -------
    prompt, winner, loser : Tensors of shape (P,), int64
        Indices into Q and N.

    Raises
    ------
    ValueError
        For fewer than two answers a prompt, NaN rewards or a negative threshold.
    """
    if rewards.ndim != 2 or rewards.shape[1] < 2:
        raise ValueError(
            f"pairs need at least 2 answers a prompt: rewards (Q, N), got {tuple(rewards.shape)}"
        )
    if rewards.isnan().any():
        raise ValueError(f"{int(rewards.isnan().sum())} rewards are NaN")
    if threshold < 0:
        raise ValueError(f"threshold must be at least 0, got {threshold}")
    prompt, winner, loser = (rewards[:, :, None] - rewards[:, None, :] > threshold).nonzero(as_tuple=True)
    return prompt, winner, loser


def _margin(logp_w: Tensor, logp_l: Tensor, ref_w: Tensor, ref_l: Tensor) -> Tensor:
    shapes = {tuple(t.shape) for t in (logp_w, logp_l, ref_w, ref_l)}
    if len(shapes) != 1:
        raise ValueError(f"log-probabilities must have one shape, got {sorted(shapes)}")
    return (logp_w - ref_w.detach()) - (logp_l - ref_l.detach())


def _positive(beta: float) -> float:
    if not beta > 0:
        raise ValueError(f"beta must be above 0, got {beta}")
    return beta


def _reduced(values: Tensor, reduction: Reduction) -> Tensor:
    if reduction == "none":
        return values
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}")
    return values.mean() if reduction == "mean" else values.sum()
