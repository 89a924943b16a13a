"""Networks, one for each seed and setting, trained side by side: parameters carry a leading axis.

``torch.func`` maps the forward pass over that axis, so ten seeds cost little more than one. Adam works entry
by entry, hence a stack trains exactly as its members would alone.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn.functional import logsigmoid, softplus

from loglik.information.unsupervised_pretraining.checks import Floats

Stack = dict[str, Tensor]
WEIGHT_DECAYS = (0.0, 0.01, 0.1, 1.0)  # of the supervised networks; the held-out fifth chooses


def mlp(widths: Sequence[int], generator: torch.Generator) -> nn.Sequential:
    """A tanh network with linear output, its weights N(0, 1/fan-in) from `generator`."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(widths):
        layer = nn.Linear(fan_in, fan_out)
        with torch.no_grad():
            layer.weight.copy_(torch.randn(fan_out, fan_in, generator=generator) / fan_in**0.5)
            layer.bias.zero_()
        layers += [layer, nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def stacked(modules: Sequence[nn.Module], device: str) -> tuple[Callable[[Stack, Tensor], Tensor], Stack]:
    """Forward pass for a stack, (stack, rows, inputs) to (stack, rows, outputs), and its parameters."""
    state, _ = stack_module_state(list(modules))
    base = copy.deepcopy(modules[0]).to("meta")
    parameters = {name: value.detach().to(device).requires_grad_() for name, value in state.items()}

    def forward(stack: Stack, X: Tensor) -> Tensor:
        return vmap(lambda p, x: functional_call(base, p, (x,)))(stack, X)

    return forward, parameters


def _tensor(array: Any, device: str) -> Tensor:
    return torch.as_tensor(np.asarray(array), dtype=torch.float32, device=device)


def train_contrastive(
    modules: Sequence[nn.Module],
    X: Floats,
    X_pair: Floats,
    t: Floats,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    generator: torch.Generator,
    device: str = "cpu",
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> tuple[Callable[[Floats], Floats], Stack, Floats]:
    """Fit each module of the stack to its own pairs by Adam with cosine decay.

    Parameters
    ----------
    modules : sequence of S torch.nn.Module
        Of one architecture; left as they are.
    X, X_pair : arrays of shape (S, m, d)
    t : array of shape (S, m)
    steps, batch_size, learning_rate : int, int, float
    generator : torch.Generator
        On the CPU; draws the batches.
    device : str
    progress : callable

    Returns
    -------
    (callable, dict, array of shape (S,))
        Features of rows, (S, n, d) to (S, n, r); the parameters; the loss on the last 20 batches.
    """
    forward, stack = stacked(modules, device)
    left, right, sign = _tensor(X, device), _tensor(X_pair, device), 2 * _tensor(t, device) - 1
    optimiser = torch.optim.Adam(stack.values(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    S, m = sign.shape
    rows, last = torch.arange(S, device=device)[:, None], []
    for step in progress(range(steps)):
        at = torch.randint(m, (S, min(batch_size, m)), generator=generator).to(device)
        inner = (forward(stack, left[rows, at]) * forward(stack, right[rows, at])).sum(-1)
        loss = softplus(-sign[rows, at] * inner).mean(1)
        optimiser.zero_grad()
        loss.sum().backward()
        optimiser.step()
        schedule.step()
        if step >= steps - 20:
            last.append(loss.detach())

    def features(rows_: Floats) -> Floats:
        with torch.no_grad():
            return np.asarray(forward(stack, _tensor(rows_, device)).cpu().numpy(), dtype=float)

    return features, stack, torch.stack(last).mean(0).cpu().numpy().astype(float)


def fit_contrastive_module(
    module: nn.Module, X: Floats, X_pair: Floats, t: Floats, r: int, *, seed: int, **options: Any
) -> tuple[nn.Module, float]:
    """A trained copy of one module, and its loss; see :func:`train_contrastive`.

    Raises
    ------
    ValueError
        When the module's output doesn't have r columns.
    """
    fitted = copy.deepcopy(module)
    with torch.no_grad():
        shape = tuple(fitted(_tensor(X[:1], "cpu")).shape)
    if shape != (1, r):
        raise ValueError(f"the network must map {X.shape[1]} inputs to n_features = {r}, got output {shape}")
    generator = torch.Generator().manual_seed(seed)
    _, stack, loss = train_contrastive(
        [fitted], X[None], X_pair[None], t[None], generator=generator, **options
    )
    fitted.load_state_dict({name: value[0].detach().cpu() for name, value in stack.items()}, strict=False)
    return fitted, float(loss[0])


def apply_module(module: nn.Module, X: Floats, device: str) -> Floats:
    """Outputs of a module as float64."""
    with torch.no_grad():
        return np.asarray(module.to(device)(_tensor(X, device)).cpu().numpy(), dtype=float)


def _train_with_stop(
    stack: Stack,
    loss_of: Callable[[Stack, bool], Tensor],
    *,
    steps: int,
    learning_rate: float,
    shrink: Tensor | None = None,
    check_every: int = 5,
) -> tuple[Stack, Tensor]:
    """Adam on a stack; each member keeps the parameters of its lowest held-out loss.

    `loss_of(stack, held_out)` gives the members' losses; `shrink` (members,) is their decoupled weight decay.
    """
    optimiser = torch.optim.Adam(stack.values(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    best, kept = None, {name: value.detach().clone() for name, value in stack.items()}
    for step in range(steps + 1):
        if step % check_every == 0:
            with torch.no_grad():
                now = loss_of(stack, True)
                better = torch.ones_like(now, dtype=torch.bool) if best is None else now < best
                best = now if best is None else torch.minimum(now, best)
                for name, value in stack.items():
                    mask = better.reshape(-1, *[1] * (value.ndim - 1))
                    kept[name] = torch.where(mask, value.detach(), kept[name])
        if step == steps:
            break
        optimiser.zero_grad()
        loss_of(stack, False).sum().backward()
        optimiser.step()
        if shrink is not None:
            with torch.no_grad():
                for value in stack.values():
                    value *= (1 - schedule.get_last_lr()[0] * shrink).reshape(-1, *[1] * (value.ndim - 1))
        schedule.step()
    assert best is not None
    return kept, best


def train_supervised(
    X: Floats,
    y: Floats,
    widths: Sequence[int],
    generator: torch.Generator,
    *,
    steps: int = 1000,
    learning_rate: float = 3e-3,
    weight_decays: Sequence[float] = WEIGHT_DECAYS,
    device: str = "cpu",
) -> Callable[[Floats], Floats]:
    """The composed class trained on labels alone: a network of `widths` ending in one output.

    A fifth of the rows is held out; it stops the training and chooses the weight decay.

    Parameters
    ----------
    X : array of shape (S, n, d)
    y : array of shape (S, n)

    Returns
    -------
    callable
        Predictions, (S, rows, d) to (S, rows).
    """
    S, n, G = len(X), X.shape[1], len(weight_decays)
    forward, stack = stacked([mlp(widths, generator) for _ in range(S * G)], device)
    inputs, target = (_tensor(np.repeat(a, G, axis=0), device) for a in (X, y))
    cut = n - max(n // 5, 1)
    parts = {False: slice(None, cut), True: slice(cut, None)}

    def loss_of(stack: Stack, held_out: bool) -> Tensor:
        rows = parts[held_out]
        return ((forward(stack, inputs[:, rows])[..., 0] - target[:, rows]) ** 2).mean(1)

    shrink = torch.tensor(list(weight_decays) * S, device=device)
    kept, best = _train_with_stop(stack, loss_of, steps=steps, learning_rate=learning_rate, shrink=shrink)
    chosen = best.reshape(S, G).argmin(1) + G * torch.arange(S, device=best.device)
    final = {name: value[chosen] for name, value in kept.items()}

    def predict(rows: Floats) -> Floats:
        with torch.no_grad():
            return np.asarray(forward(final, _tensor(rows, device))[..., 0].cpu().numpy(), dtype=float)

    return predict


def mixture_log_odds(centers: Tensor, names: Tensor, X: Tensor) -> Tensor:
    """Log-odds (B, n) of y=1 when clusters (B, K, d) have label log-odds `names` (B, K)."""
    logits = X @ centers.mT - 0.5 * (centers**2).sum(-1)[:, None]
    ones = torch.logsumexp(logits + logsigmoid(names)[:, None], -1)
    zeros = torch.logsumexp(logits + logsigmoid(-names)[:, None], -1)
    return ones - zeros


def joint_erm(
    X: Floats,
    y: Floats,
    starts: Floats,
    generator: torch.Generator,
    *,
    steps: int = 200,
    learning_rate: float = 0.2,
    device: str = "cpu",
) -> tuple[Floats, Floats]:
    """The theorem's supervised baseline on a mixture: centres and label odds together, by log-loss on labels.

    A fifth of the rows is held out; it stops the training and chooses the restart.

    Parameters
    ----------
    X : array of shape (reps, n, d)
    y : array of shape (reps, n)
    starts : array of shape (reps, S, K, d)
        Centres to start from.

    Returns
    -------
    (array of shape (reps, K, d), array of shape (reps, K))
        Centres, and P(y=1 | cluster).
    """
    reps, S, K, d = starts.shape
    n = X.shape[1]
    first = torch.as_tensor(starts.reshape(reps * S, K, d), dtype=torch.float32, device=device)
    odds = 0.5 * torch.randn(reps * S, K, generator=generator).to(device)
    stack = {"centers": first.clone().requires_grad_(), "names": odds.requires_grad_()}
    data = _tensor(X, device).repeat_interleave(S, 0)
    sign = 2 * _tensor(y, device).repeat_interleave(S, 0) - 1
    cut = n - max(n // 5, 1)
    parts = {False: slice(None, cut), True: slice(cut, None)}

    def loss_of(stack: Stack, held_out: bool) -> Tensor:
        rows = parts[held_out]
        odds = mixture_log_odds(stack["centers"], stack["names"], data[:, rows])
        return softplus(-sign[:, rows] * odds).mean(1)

    kept, best = _train_with_stop(stack, loss_of, steps=steps, learning_rate=learning_rate)
    chosen = best.reshape(reps, S).argmin(1) + S * torch.arange(reps, device=best.device)
    centers = kept["centers"][chosen].cpu().numpy().astype(float)
    return centers, torch.sigmoid(kept["names"][chosen]).cpu().numpy().astype(float)
