"""A plain network, and weights that come from the caller's generator."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import nn

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.2),
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


@torch.no_grad()
def initialise(model: nn.Module, generator: torch.Generator) -> nn.Module:
    """Draw all weights of linear and convolutional layers again, from `generator`.

    The law is torch's default: uniform in ``±1/sqrt(fan_in)``, weights and biases. torch itself draws from the
    process's generator, so that a network would depend on what was computed before it was made.

    Parameters
    ----------
    model : nn.Module
        Changed in place and returned. Other layers (norms, embeddings) stay as they are.
    generator : torch.Generator
        On the device of `model`.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
            bound = 1 / math.sqrt(module.weight[0].numel())
            for parameter in module.parameters(recurse=False):
                parameter.uniform_(-bound, bound, generator=generator)
    return model


def mlp(
    sizes: Sequence[int],
    *,
    generator: torch.Generator,
    activation: str = "relu",
    dropout: float = 0.0,
) -> nn.Sequential:
    """Multilayer perceptron: linear layers of the given sizes with an activation between them, none after the last.

    Parameters
    ----------
    sizes : sequence of int
        Input, hidden layers, output: ``(2, 100, 100, 3)``.
    generator : torch.Generator
        Draws the weights; see :func:`initialise`.
    activation : {"relu", "leaky_relu", "silu", "tanh"}
        ``leaky_relu`` has slope 0.2.
    dropout : float
        Probability of dropping a hidden unit, after its activation.

    Raises
    ------
    ValueError
        For fewer than two sizes, a size below one, or an unknown activation.

    Examples
    --------
    >>> net = mlp((2, 8, 1), generator=torch.Generator().manual_seed(0))
    >>> net(torch.zeros(5, 2)).shape
    torch.Size([5, 1])
    """
    if len(sizes) < 2 or min(sizes) < 1:
        raise ValueError(f"sizes must name input and output, each at least 1; got {tuple(sizes)}")
    if activation not in ACTIVATIONS:
        raise ValueError(f"unknown activation {activation!r}; allowed: {', '.join(ACTIVATIONS)}")
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), ACTIVATIONS[activation]()]
        layers += [nn.Dropout(dropout)] if dropout else []
    while not isinstance(layers[-1], nn.Linear):
        layers.pop()
    network = nn.Sequential(*layers)
    return initialise(network, generator)  # type: ignore[return-value]
