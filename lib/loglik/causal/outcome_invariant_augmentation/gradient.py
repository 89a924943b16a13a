"""Linear models trained by gradient descent on the losses over environments, many side by side.

Two ways of training. "converged" optimises in whitened coordinates from the least-squares solution with a
decaying rate until nothing moves. "released" does what the official code does: Adam at rate 0.01 from a
random start, 16 epochs in batches of 256, environments within each batch only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from loglik.causal.outcome_invariant_augmentation import environments
from loglik.causal.outcome_invariant_augmentation.inputs import Floats
from loglik.causal.outcome_invariant_augmentation.linear import basis
from loglik.causal.outcome_invariant_augmentation.selection import held_out_levels, held_out_rows

STEPS = 400  # of the converged training; a test holds it to scipy's optimum
LOSSES: dict[str, Callable[..., Tensor]] = {
    "IRM": environments.irm_loss,
    "V-REx": environments.vrex_loss,
    "MM-REx": environments.mmrex_loss,
    "DRO": environments.group_dro_loss,
}


def fit_environments(
    name: str,
    X: Floats,
    y: Floats,
    env: np.ndarray,
    lams: Floats,
    *,
    training: str = "converged",
    rng: np.random.Generator,
    steps: int = STEPS,
) -> Floats:
    """Linear predictors that minimise a loss over environments.

    Parameters
    ----------
    name : {"IRM", "V-REx", "MM-REx", "DRO"}
    X : array of shape (S, n, m)
        S problems, trained side by side.
    y : array of shape (S, n)
    env : integer array of shape (S, n)
        Environment numbers from 0.
    lams : array of shape (S, L)
        Penalties of each problem.
    training : {"converged", "released"}
    rng : numpy.random.Generator
        For the random start and the batches of the released training.
    steps : int
        Of the converged training.

    Returns
    -------
    array of shape (S, L, m)

    Raises
    ------
    ValueError
        For an unknown loss or training.
    """
    if name not in LOSSES:
        raise ValueError(f"unknown loss {name!r}; allowed: {', '.join(LOSSES)}")
    loss, n_env = LOSSES[name], int(env.max()) + 1
    lam = torch.as_tensor(np.broadcast_to(lams, (len(X), np.shape(lams)[-1])).copy())

    def objective(h: Tensor, table: Tensor, target: Tensor, rows: Tensor) -> Tensor:
        output = h @ table.transpose(-1, -2)
        return loss(output, target[:, None], rows[:, None], n_env, lam)

    return train(objective, X, y, [env], lam.shape[1], training=training, rng=rng, steps=steps)


def fit_rice(
    X: Floats,
    y: Floats,
    augmented: Floats,
    lams: Floats,
    *,
    training: str = "converged",
    rng: np.random.Generator,
    steps: int = STEPS,
) -> Floats:
    """Linear predictors that minimise RICE's loss.

    Parameters
    ----------
    X : array of shape (S, n, m)
    y : array of shape (S, n)
    augmented : array of shape (S, n, T, m)
        T augmentations of every row.
    lams : array of shape (S, L)
    training, rng, steps
        As in :func:`fit_environments`.

    Returns
    -------
    array of shape (S, L, m)
    """
    lam = torch.as_tensor(np.broadcast_to(lams, (len(X), np.shape(lams)[-1])).copy())

    def objective(h: Tensor, table: Tensor, target: Tensor, moved: Tensor) -> Tensor:
        changed = torch.einsum("slm,sntm->tsln", h, moved)
        return environments.rice_loss(h @ table.transpose(-1, -2), changed, target[:, None], lam)

    return train(objective, X, y, [augmented], lam.shape[1], training=training, rng=rng, steps=steps)


def train(
    objective: Callable[..., Tensor],
    X: Floats,
    y: Floats,
    extras: list[np.ndarray],
    n_lam: int,
    *,
    training: str,
    rng: np.random.Generator,
    steps: int = STEPS,
) -> Floats:
    """Minimise `objective(h, X, y, *extras)` of shape (S, L) over coefficients h of shape (S, L, m)."""
    tensors = [torch.as_tensor(np.ascontiguousarray(a)) for a in (X, y, *extras)]
    if training == "converged":
        b = basis(X)
        whiten = torch.as_tensor(b.inverse * np.sqrt(X.shape[1]))  # h = whiten @ z: outputs of unit scale
        start = np.swapaxes(b.u, -1, -2) @ (np.swapaxes(b.q, -1, -2) @ y[..., None]) / np.sqrt(X.shape[1])
        z = torch.as_tensor(np.repeat(start.transpose(0, 2, 1), n_lam, axis=1)).requires_grad_()
        scale = float(np.abs(start).max())
        _descend(lambda: objective(z @ whiten.transpose(-1, -2), *tensors), z, 0.05 * scale, steps)
        return np.asarray((z @ whiten.transpose(-1, -2)).detach())
    if training != "released":
        raise ValueError(f"unknown training {training!r}; allowed: converged, released")
    reach = 1 / np.sqrt(X.shape[2])
    h = torch.as_tensor(rng.uniform(-reach, reach, (len(X), n_lam, X.shape[2]))).requires_grad_()
    optimiser = torch.optim.Adam([h], lr=0.01)
    for _ in range(16):
        for rows in np.array_split(rng.permutation(X.shape[1]), max(1, round(X.shape[1] / 256))):
            batch = [t[:, torch.as_tensor(rows)] for t in tensors]
            optimiser.zero_grad()
            objective(h, *batch).sum().backward()
            optimiser.step()
    return np.asarray(h.detach())


def _descend(loss: Callable[[], Tensor], z: Tensor, rate: float, steps: int) -> None:
    """Adam with a rate that decays to a thousandth; each problem's gradient is scaled by Adam itself."""
    optimiser = torch.optim.Adam([z], lr=rate, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, 1e-3 ** (1 / steps))
    for _ in range(steps):
        optimiser.zero_grad()
        loss().sum().backward()
        optimiser.step()
        schedule.step()


def choose_environment_penalty(
    name: str,
    X: Floats,
    y: Floats,
    env: np.ndarray,
    lams: Floats,
    *,
    training: str,
    rng: np.random.Generator,
    test_share: float = 0.2,
    steps: int = STEPS,
) -> Floats:
    """Level cross-validation of the penalty, as the paper does for these baselines, then a fit to all rows.

    Parameters are those of :func:`fit_environments`; returns an array of shape (S, m). Group DRO has no
    penalty and is fitted at once. Held-out levels are scored on the augmented rows.
    """
    if name == "DRO":
        return fit_environments(name, X, y, env, lams[:, :1], training=training, rng=rng, steps=steps)[:, 0]
    out = [held_out_levels(e, test_share, rng) for e in env]
    size = min(map(len, out))  # problems are stacked, so all hold out equally many rows
    out = [rng.permutation(o)[:size] for o in out]
    best = _best_on_held_out(
        lambda x, t, e: fit_environments(name, x, t, e, lams, training=training, rng=rng, steps=steps),
        X,
        y,
        [env],
        out,
    )
    chosen = np.take_along_axis(lams, best[:, None], 1)
    return fit_environments(name, X, y, env, chosen, training=training, rng=rng, steps=steps)[:, 0]


def choose_rice_penalty(
    X: Floats,
    y: Floats,
    augmented: Floats,
    lams: Floats,
    *,
    training: str,
    rng: np.random.Generator,
    test_share: float = 0.2,
    steps: int = STEPS,
) -> Floats:
    """Cross-validation of RICE's penalty on held-out rows, then a fit to all; shape (S, m)."""
    out = [held_out_rows(X.shape[1], test_share, rng) for _ in X]
    best = _best_on_held_out(
        lambda x, t, a: fit_rice(x, t, a, lams, training=training, rng=rng, steps=steps),
        X,
        y,
        [augmented],
        out,
    )
    chosen = np.take_along_axis(lams, best[:, None], 1)
    return fit_rice(X, y, augmented, chosen, training=training, rng=rng, steps=steps)[:, 0]


def _best_on_held_out(
    fit: Callable[..., Floats], X: Floats, y: Floats, extras: list[Any], out: list[np.ndarray]
) -> np.ndarray:
    rows = np.arange(X.shape[1])
    kept = np.stack([np.setdiff1d(rows, o) for o in out])
    at = np.arange(len(X))[:, None]
    h = fit(X[at, kept], y[at, kept], *(e[at, kept] for e in extras))
    held = np.stack(out)
    residuals = y[at, held][:, None] - h @ np.swapaxes(X[at, held], -1, -2)
    return (residuals**2).mean(-1).argmin(1)
