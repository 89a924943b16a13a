"""Why negative gradients and fresh samples move mass: forward and reverse KL on categorical logits, exactly.

Everything is NumPy in float64; p is the softmax of logits z along the last axis, q the target.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax, softmax

Floats = NDArray[np.float64]
Kind = Literal["forward", "reverse"]


def forward_kl_grad(logits: ArrayLike, target: ArrayLike) -> Floats:
    r"""Gradient of KL(q || softmax z) in z: :math:`p_i-q_i`; what imitation follows."""
    p, q = _both(logits, target)
    return p - q


def reverse_kl_grad(logits: ArrayLike, target: ArrayLike) -> Floats:
    r"""Gradient of KL(softmax z || q) in z: :math:`p_i[\log(p_i/q_i)-KL(p\|q)]`; what rewards and contrasts follow."""
    p, q = _both(logits, target)
    ratio = log_softmax(np.asarray(logits, dtype=float), axis=-1) - np.log(q)
    return p * (ratio - (p * ratio).sum(-1, keepdims=True))


def log_odds_step(p: ArrayLike, q1: ArrayLike, q2: ArrayLike, kind: Kind, lr: float = 1.0) -> Floats:
    r"""Shift of the log-odds of two bins of equal mass p in one gradient step.

    Forward: :math:`\eta(q_1-q_2)`. Reverse: :math:`\eta\,p\log(q_1/q_2)`.
    """
    mass, a, b = (np.asarray(x, dtype=float) for x in (p, q1, q2))
    _kind(kind)
    return lr * ((a - b) + 0 * mass) if kind == "forward" else lr * mass * np.log(a / b)


def logarithmic_mean(a: ArrayLike, b: ArrayLike) -> Floats:
    r"""The mean :math:`(a-b)/\log(a/b)`, which lies between a and b: above it, reverse KL moves more."""
    x, y = np.broadcast_arrays(np.asarray(a, dtype=float), np.asarray(b, dtype=float))
    if (x <= 0).any() or (y <= 0).any():
        raise ValueError("masses must be above 0")
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(x == y, x, (x - y) / np.log(x / y))


def relocation_curve(
    logits: ArrayLike, target: ArrayLike, kind: Kind, *, lr: float = 1.0, steps: int = 100
) -> Floats:
    """Total variation to the target along exact gradient descent.

    Parameters
    ----------
    logits : array_like of shape (V,)
        Where to begin.
    target : array_like of shape (V,)
        Masses, positive.
    kind : {"forward", "reverse"}
    lr : float
        Step size.
    steps : int

    Returns
    -------
    ndarray of shape (steps + 1,)
        Entry 0 is the start.

    Raises
    ------
    ValueError
        For an unknown kind, a target that isn't a positive distribution, or shapes that differ.
    """
    _both(logits, target)
    gradient = {"forward": forward_kl_grad, "reverse": reverse_kl_grad}[_kind(kind)]
    z, q = np.array(logits, dtype=float), np.asarray(target, dtype=float)
    curve = np.empty(steps + 1)
    for step in range(steps + 1):
        curve[step] = 0.5 * np.abs(softmax(z) - q).sum()
        z -= lr * gradient(z, q)
    return curve


def steps_to(curve: Floats, level: float) -> float:
    """First step at which a curve is at or below `level`; infinity when it never is."""
    below = np.flatnonzero(curve <= level)
    return float(below[0]) if len(below) else float("inf")


def regularised_reward(logits: ArrayLike, rewards: ArrayLike, ref: ArrayLike, beta: float) -> Floats:
    r"""The objective :math:`J=E_\pi[r]-\beta KL(\pi\|\pi_{ref})` of softmax policies, (..., V) to (...,).

    Equal to :math:`-\beta KL(\pi\|\pi^*)+\beta\log Z` with :math:`\pi^*=\pi_{ref}e^{r/\beta}/Z`.
    """
    p, q = _both(logits, ref)
    ratio = log_softmax(np.asarray(logits, dtype=float), axis=-1) - np.log(q)
    return (p * (np.asarray(rewards) - beta * ratio)).sum(-1)


def tilt(rewards: ArrayLike, ref: ArrayLike, beta: float) -> tuple[Floats, float]:
    """The optimum of :func:`regularised_reward` and its log Z."""
    if not beta > 0:
        raise ValueError(f"beta must be above 0, got {beta}")
    weights = np.log(np.asarray(ref, dtype=float)) + np.asarray(rewards, dtype=float) / beta
    log_z = float(np.logaddexp.reduce(weights))
    return np.exp(weights - log_z), log_z


def _both(logits: ArrayLike, target: ArrayLike) -> tuple[Floats, Floats]:
    z, q = np.asarray(logits, dtype=float), np.asarray(target, dtype=float)
    if z.shape[-1] != q.shape[-1]:
        raise ValueError(f"logits and target must have one number of bins, got {z.shape} and {q.shape}")
    if not (q > 0).all() or not np.allclose(q.sum(-1), 1):
        raise ValueError("the target must be positive masses that sum to one")
    return softmax(z, axis=-1), q


def _kind(kind: str) -> str:
    if kind not in ("forward", "reverse"):
        raise ValueError(f"kind must be 'forward' or 'reverse', got {kind!r}")
    return kind


def lemma_residual(n: int, rng: np.random.Generator, *, bins: int = 20) -> float:
    """Largest deviation from the lemma over `n` random policies, references and rewards.

    Both sides of :func:`regularised_reward`'s identity, and the objective's gradient by a complex step
    against ``-beta`` times :func:`reverse_kl_grad`.
    """
    ref, rewards = rng.dirichlet(np.full(bins, 2.0)), rng.normal(size=bins)
    beta = float(rng.uniform(0.1, 2))
    best, log_z = tilt(rewards, ref, beta)
    z = rng.normal(size=(n, bins))
    logp = log_softmax(z, axis=-1)
    kl = (np.exp(logp) * (logp - np.log(best))).sum(-1)
    value = np.abs(regularised_reward(z, rewards, ref, beta) + beta * kl - beta * log_z).max()
    step = 1e-30j * np.eye(bins)  # a complex step differentiates to machine precision
    moved = z[:, None, :] + step
    log_sum = np.log(np.exp(moved).sum(-1, keepdims=True))
    log_moved = moved - log_sum
    objective = (np.exp(log_moved) * (rewards - beta * (log_moved - np.log(ref)))).sum(-1)
    gradient = objective.imag / 1e-30
    return float(max(value, np.abs(gradient + beta * reverse_kl_grad(z, best)).max()))


def two_bin_residual(n: int, rng: np.random.Generator) -> tuple[float, int]:
    """Largest deviation of :func:`log_odds_step` from a step of the gradients, and wrongly predicted winners.

    Returns
    -------
    (float, int)
        Over `n` random masses and targets; the winner is the KL whose step moves the log-odds more.
    """
    p, q1, q2 = rng.uniform(1e-3, 0.3, (3, n))
    z = np.log(np.stack([p, p, 1 - 2 * p], -1))
    target = np.stack([q1, q2, 1 - q1 - q2], -1)
    steps = [-gradient(z, target) for gradient in (forward_kl_grad, reverse_kl_grad)]
    moves = [step[:, 0] - step[:, 1] for step in steps]
    kinds: tuple[Kind, Kind] = ("forward", "reverse")
    predicted = [log_odds_step(p, q1, q2, kind) for kind in kinds]
    worst = max(float(np.abs(a - b).max()) for a, b in zip(moves, predicted, strict=True))
    wrong = (np.abs(moves[1]) > np.abs(moves[0])) != (p > logarithmic_mean(q1, q2))
    return worst, int(wrong.sum())


def relocations(logits: ArrayLike, target: ArrayLike, *, lr: float, steps: int) -> dict[Kind, Floats]:
    """:func:`relocation_curve` of both kinds."""
    kinds: tuple[Kind, Kind] = ("forward", "reverse")
    return {kind: relocation_curve(logits, target, kind, lr=lr, steps=steps) for kind in kinds}
