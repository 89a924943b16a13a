"""Losses over environments (IRM, V-REx, MM-REx, group DRO) and over augmentations (RICE), in torch.

Environments may be many and tiny: levels of discretised parameters often hold a single row. So risks are
segment sums over all environments at once, and every loss takes leading axes: models trained side by side.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

KINDS = ("squared", "logistic")


def row_losses(output: Tensor, y: Tensor, kind: str = "squared") -> Tensor:
    """Loss of each row, shape of `output`: squared error, or log loss of a logit."""
    if kind == "squared":
        return (output - y) ** 2
    if kind == "logistic":
        target = y.expand_as(output)
        return functional.binary_cross_entropy_with_logits(output, target, reduction="none")
    raise ValueError(f"unknown kind {kind!r}; allowed: {', '.join(KINDS)}")


def environment_means(values: Tensor, env: Tensor, n_env: int) -> tuple[Tensor, Tensor]:
    """Means of row values over environments, and which environments have rows.

    Parameters
    ----------
    values : Tensor of shape (..., n)
    env : integer Tensor of shape (..., n)
        Environment numbers from 0; broadcasts against `values`.
    n_env : int

    Returns
    -------
    means, present : Tensors of shape (..., n_env)
        `present` is 1 where an environment has rows, else 0 (and its mean is 0).
    """
    index = env.expand_as(values)
    shape = (*values.shape[:-1], n_env)
    sums = values.new_zeros(shape).scatter_add(-1, index, values)
    counts = values.new_zeros(shape).scatter_add(-1, index, torch.ones_like(values))
    return sums / counts.clamp(min=1), (counts > 0).to(values.dtype)


def _mean(values: Tensor, present: Tensor) -> Tensor:
    return (values * present).sum(-1) / present.sum(-1)


def irm_loss(
    output: Tensor, y: Tensor, env: Tensor, n_env: int, lam: Tensor, kind: str = "squared"
) -> Tensor:
    """IRMv1 (Arjovsky et al. 2019): mean over environments of risk + λ (d risk / dw at w = 1)².

    Parameters
    ----------
    output : Tensor of shape (..., n)
        Predictions, or logits for kind "logistic".
    y : Tensor, broadcasts against `output`
    env : integer Tensor, broadcasts against `output`
    n_env : int
    lam : Tensor of shape (...)
    kind : {"squared", "logistic"}

    Returns
    -------
    Tensor of shape (...)
    """
    slope = 2 * (output - y) * output if kind == "squared" else (torch.sigmoid(output) - y) * output
    risk, present = environment_means(row_losses(output, y, kind), env, n_env)
    gradient, _ = environment_means(slope, env, n_env)
    return _mean(risk + lam[..., None] * gradient**2, present)


def vrex_loss(
    output: Tensor, y: Tensor, env: Tensor, n_env: int, lam: Tensor, kind: str = "squared"
) -> Tensor:
    """V-REx (Krueger et al. 2021): λ times the variance of the environments' risks, plus their sum.

    Parameters and result are those of :func:`irm_loss`.
    """
    risk, present = environment_means(row_losses(output, y, kind), env, n_env)
    count = present.sum(-1)
    gap = (risk - _mean(risk, present)[..., None]) * present
    return lam * (gap**2).sum(-1) / (count - 1).clamp(min=1) + (risk * present).sum(-1)


def mmrex_loss(
    output: Tensor, y: Tensor, env: Tensor, n_env: int, lam: Tensor, kind: str = "squared"
) -> Tensor:
    """MM-REx (Krueger et al. 2021): (1 − E λ) times the largest risk plus λ times the sum, E environments.

    λ is the least weight of an environment. It must be at most 1/E: at 1/E this is the mean risk, at 0 group
    DRO, and below 0 it extrapolates. Above 1/E, as in the released draws of Exp(1), the weight of the largest
    risk is negative and the loss is unbounded below.

    Parameters and result are those of :func:`irm_loss`.
    """
    risk, present = environment_means(row_losses(output, y, kind), env, n_env)
    return (1 - present.sum(-1) * lam) * risk.amax(-1) + lam * (risk * present).sum(-1)


def group_dro_loss(
    output: Tensor, y: Tensor, env: Tensor, n_env: int, lam: Tensor, kind: str = "squared"
) -> Tensor:
    """Group DRO (Sagawa et al. 2020): the largest risk of an environment; `lam` isn't used.

    Parameters and result are those of :func:`irm_loss`.
    """
    risk, _ = environment_means(row_losses(output, y, kind), env, n_env)
    return risk.amax(-1)


def rice_loss(output: Tensor, augmented: Tensor, y: Tensor, lam: Tensor, kind: str = "squared") -> Tensor:
    """RICE (Wang et al. 2022): risk plus λ times the mean of the largest squared change of the prediction.

    Parameters
    ----------
    output : Tensor of shape (..., n)
        Predictions (logits for kind "logistic") on the original rows.
    augmented : Tensor of shape (T, ..., n)
        The same on T augmentations of them.
    y : Tensor, broadcasts against `output`
    lam : Tensor of shape (...)
    kind : {"squared", "logistic"}
        For "logistic" the change is that of the probability.

    Returns
    -------
    Tensor of shape (...)
    """
    link = torch.sigmoid if kind == "logistic" else (lambda value: value)
    change = ((link(output) - link(augmented)) ** 2).amax(0)
    return row_losses(output, y, kind).mean(-1) + lam * change.mean(-1)
