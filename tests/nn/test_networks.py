from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from loglik.nn import initialise, mlp


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_weights_come_from_the_generator_alone() -> None:
    before = torch.get_rng_state()
    first = mlp((3, 8, 2), generator=generator())
    torch.rand(5)
    again = mlp((3, 8, 2), generator=generator())
    other = mlp((3, 8, 2), generator=generator(1))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first[0].weight, other[0].weight)
    torch.set_rng_state(before)


@pytest.mark.parametrize("layer", [nn.Linear(50, 400), nn.Conv2d(3, 400, 5)])
def test_the_law_is_torchs(layer: nn.Module) -> None:
    """Same bound; a mean within 4 standard errors: a false alarm in 1 of 16,000 for each layer, of a fixed seed."""
    bound = 1 / math.sqrt(layer.weight[0].numel())
    initialise(layer, generator())
    for values in (layer.weight, layer.bias):
        assert values.abs().max() <= bound
        assert values.abs().max() > 0.97 * bound
        assert abs(values.mean().item()) < 4 * bound / math.sqrt(3 * values.numel())


def test_shapes_activations_dropout() -> None:
    net = mlp((3, 8, 8, 2), generator=generator(), activation="leaky_relu", dropout=0.5)
    kinds = [type(layer).__name__ for layer in net]
    assert kinds == ["Linear", "LeakyReLU", "Dropout"] * 2 + ["Linear"]
    assert net[1].negative_slope == 0.2
    assert net(torch.zeros(5, 3)).shape == (5, 2)
    assert len(mlp((3, 2), generator=generator())) == 1
    with pytest.raises(ValueError, match="allowed: relu"):
        mlp((3, 2), generator=generator(), activation="gelu")
    for sizes in ((3,), (3, 0, 2)):
        with pytest.raises(ValueError, match="sizes"):
            mlp(sizes, generator=generator())
