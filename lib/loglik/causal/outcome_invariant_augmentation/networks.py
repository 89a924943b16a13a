"""IVL for networks, and small networks trained side by side.

The IV part of the loss is the squared length of the residuals' projection onto the parameters, r'Πr / B.
The official code multiplies Π with the *squared* residuals, 1'Πr² / B, which is not a moment condition:
for centred parameters 1'Π is nearly zero, so hardly anything is penalised. Both are here, by name.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state
from torch.nn import functional

WEIGHTINGS = ("gmm", "official")


def projection_basis(G: Tensor) -> Tensor:
    """Orthonormal basis (..., B, k) of a batch's parameters (..., B, k).

    Raises
    ------
    ValueError
        When the batch isn't longer than the parameters: the projection would be the identity and the IV part
        another ERM.
    """
    if G.shape[-2] <= G.shape[-1]:
        raise ValueError(
            f"a batch of {G.shape[-2]} rows can't be projected onto {G.shape[-1]} parameters: take larger batches"
        )
    return torch.linalg.qr(G)[0]


def iv_term(residual: Tensor, G: Tensor, weighting: str = "gmm") -> Tensor:
    """The IV part of the loss, shape (...).

    Parameters
    ----------
    residual : Tensor of shape (..., B)
    G : Tensor of shape (..., B, k)
        Parameters of the batch; broadcasts over leading axes.
    weighting : {"gmm", "official"}
        r'Πr / B, or 1'Πr² / B as released.

    Raises
    ------
    ValueError
        For another weighting, or a batch that isn't longer than the parameters.
    """
    if weighting not in WEIGHTINGS:
        raise ValueError(f"unknown weighting {weighting!r}; allowed: {', '.join(WEIGHTINGS)}")
    Q = projection_basis(G)
    if weighting == "gmm":
        return ((residual[..., None, :] @ Q) ** 2).sum((-2, -1)) / residual.shape[-1]
    weights = Q @ Q.sum(-2, keepdim=True).transpose(-1, -2)  # Π1
    return (weights[..., 0] * residual**2).mean(-1)


def ivl_loss(output: Tensor, y: Tensor, G: Tensor, alpha: Tensor | float, weighting: str = "gmm") -> Tensor:
    """r'Πr / B + α ‖r‖² / B with r = y − output, shape (...)."""
    residual = y - output
    return iv_term(residual, G, weighting) + alpha * (residual**2).mean(-1)


def train_ivl_network(
    model: nn.Module,
    loader: Iterable[tuple[Tensor, Tensor, Tensor]],
    *,
    alpha: float,
    weighting: str = "gmm",
    epochs: int = 16,
    rate: float = 0.01,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> list[float]:
    """Train any network with the IVL loss.

    Parameters
    ----------
    model : torch.nn.Module
        From a batch of augmented treatments to outputs of shape (B,) or (B, 1); trained in place.
    loader : iterable of (X_aug, y, G)
        Batches of shapes (B, ...), (B,) and (B, k), with B > k.
    alpha : float
        At least 0; 0 is the IV loss alone.
    weighting : {"gmm", "official"}
        See :func:`iv_term`.
    epochs : int
    rate : float
        Of Adam; 0.01 in the paper.
    progress : callable
        Wraps the epochs, for a progress bar.

    Returns
    -------
    list of float
        Mean loss of each epoch.

    Raises
    ------
    ValueError
        For α below 0, an unknown weighting, or an empty loader.
    """
    if alpha < 0:
        raise ValueError(f"alpha must be at least 0, got {alpha!r}: it weighs the risk of DA+ERM")
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)
    history = []
    for _ in progress(range(epochs)):
        losses = []
        for X, y, G in loader:
            optimiser.zero_grad()
            loss = ivl_loss(model(X).reshape(len(y)), y, G, alpha, weighting)
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        if not losses:
            raise ValueError("loader gave no batch")
        history.append(sum(losses) / len(losses))
    return history


def mlp(inputs: int, width: int = 256) -> nn.Sequential:
    """The paper's network without its sigmoid: two hidden layers of ReLU and one logit."""
    return nn.Sequential(
        nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1)
    )


class Ensemble:
    """Networks of one shape whose parameters are stacked, so that one call runs them all.

    Parameters
    ----------
    models : sequence of torch.nn.Module
        K networks.
    device : torch.device or str
        Where they are trained and run.
    """

    def __init__(self, models: Sequence[nn.Module], device: torch.device | str = "cpu") -> None:
        self.parameters, self._buffers = stack_module_state([model.to(device) for model in models])
        self._skeleton = copy.deepcopy(models[0]).to("meta")
        self.size = len(models)

    def logits(self, X: Tensor) -> Tensor:
        """Outputs (K, n) for inputs (K, n, d), one set a network, or (n, d) shared by all."""

        def one(parameters: Any, buffers: Any, x: Tensor) -> Tensor:
            return functional_call(self._skeleton, (parameters, buffers), (x,))[..., 0]

        shared = None if X.dim() == 2 else 0
        return torch.vmap(one, in_dims=(0, 0, shared))(self.parameters, self._buffers, X)

    def train(
        self,
        loss: Callable[[Tensor], Tensor],
        batches: Iterable[Tensor],
        *,
        epochs: int,
        rate: float,
        progress: Callable[[Iterable[int]], Iterable[int]] = iter,
    ) -> None:
        """Minimise `loss(rows)` of shape (K,) over batches of row numbers; Adam treats each network alone.

        The rate decays to a twentieth along a cosine, so that the last epochs settle.
        """
        leaves = [p.requires_grad_() for p in self.parameters.values()]
        optimiser = torch.optim.Adam(leaves, lr=rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs, eta_min=rate / 20)
        batches = list(batches)
        for _ in progress(range(epochs)):
            for rows in batches:
                optimiser.zero_grad()
                loss(rows).sum().backward()
                optimiser.step()
            schedule.step()


def bce(logits: Tensor, y: Tensor) -> Tensor:
    """Mean log loss, shape (...), of logits (..., B)."""
    return functional.binary_cross_entropy_with_logits(logits, y.expand_as(logits), reduction="none").mean(-1)
