"""Schedules, gradients, averages and counts beside torch's own."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from loglik.nn import mlp
from loglik.train import (
    EMA,
    TrainConfig,
    learning_rate_factor,
    model_flops,
    parameter_groups,
    rescale_gradients,
    to_device,
)
from loglik.train.meter import peak_flops
from tests.train import problem


def test_cosine_is_torchs_cosine() -> None:
    steps, warmup = 40, 7
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    up = LinearLR(optimizer, start_factor=1 / warmup, total_iters=warmup - 1)
    down = CosineAnnealingLR(optimizer, T_max=steps - warmup, eta_min=0.1)
    theirs = SequentialLR(optimizer, [up, down], milestones=[warmup])
    for step in range(steps):
        ours = learning_rate_factor(step, steps, schedule="cosine", warmup=warmup, final=0.1)
        assert ours == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        optimizer.step()
        theirs.step()


def test_wsd_stays_and_comes_down_in_a_line() -> None:
    rates = [learning_rate_factor(k, 20, schedule="wsd", warmup=2, decay=0.25, final=0.0) for k in range(20)]
    assert rates[:2] == [0.5, 1.0]
    assert rates[2:16] == [1.0] * 14
    assert rates[16:] == pytest.approx([0.8, 0.6, 0.4, 0.2])


@given(
    step=st.integers(0, 99),
    warmup=st.integers(0, 120),
    schedule=st.sampled_from(["cosine", "wsd", "constant"]),
    final=st.floats(0, 1),
)
@settings(max_examples=100, deadline=None)
def test_no_step_is_wasted_and_none_passes_the_peak(
    step: int, warmup: int, schedule: str, final: float
) -> None:
    assert 0 < learning_rate_factor(step, 100, schedule=schedule, warmup=warmup, final=final) <= 1 + 1e-12


def test_only_matrices_decay() -> None:
    model = problem.Model()
    decaying, rest = parameter_groups(model, 0.1)
    names = {id(p): name for name, p in model.named_parameters()}
    assert [names[id(p)] for p in decaying["params"]] == ["hidden.weight"]
    assert {names[id(p)] for p in rest["params"]} == {
        "embed.weight",
        "hidden.bias",
        "norm.weight",
        "norm.bias",
    }
    assert (decaying["weight_decay"], rest["weight_decay"]) == (0.1, 0.0)
    with pytest.raises(ValueError, match="nothing to train"):
        parameter_groups(model.requires_grad_(False), 0.1)


@pytest.mark.parametrize("clip", [None, 0.3, 1e6])
def test_rescaling_is_dividing_then_clipping(clip: float | None) -> None:
    generator = torch.Generator().manual_seed(0)
    parameters = [nn.Parameter(torch.zeros(shape)) for shape in ((3, 4), (5,))]
    for p in parameters:
        p.grad = torch.randn(p.shape, generator=generator)
    theirs = [nn.Parameter(torch.zeros_like(p)) for p in parameters]
    for p, q in zip(parameters, theirs, strict=True):
        q.grad = p.grad.clone() / 7
    norm = rescale_gradients(parameters, torch.tensor(1 / 7, dtype=torch.float64), clip)
    expected = torch.nn.utils.clip_grad_norm_(theirs, math.inf if clip is None else clip)
    assert norm.item() == pytest.approx(expected.item(), rel=1e-6)
    for p, q in zip(parameters, theirs, strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-5, atol=1e-7)


def test_ema_is_torchs_ema() -> None:
    model = problem.Model()
    theirs = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    theirs.update_parameters(model)  # the first call copies, which is where ours starts
    ours = EMA(model, 0.9)
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        for p in model.parameters():
            p.data += torch.randn(p.shape, generator=generator)
        theirs.update_parameters(model)
        ours.update()
    own = problem.weights(model)
    with ours.applied():
        assert problem.largest_difference(problem.weights(model), problem.weights(theirs.module)) < 1e-6
    assert problem.largest_difference(problem.weights(model), own) == 0
    with pytest.raises(ValueError, match=r"\[0, 1\)"):
        EMA(model, 1.0)


def test_model_flops_of_a_perceptron() -> None:
    """Two a weight forwards, four backwards, less the gradient that the input doesn't need."""
    sizes, batch = (7, 5, 3), 11
    net = mlp(sizes, generator=torch.Generator().manual_seed(0))
    weights = 7 * 5 + 5 * 3
    assert model_flops(lambda: net(torch.zeros(batch, 7)).sum().backward()) == batch * (
        6 * weights - 2 * 7 * 5
    )


@pytest.mark.parametrize(
    ("name", "tera"),
    [
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA L40", 181),
        ("NVIDIA L4", 121),
        ("Voodoo2", None),
    ],
)
def test_peak_of_a_card_by_its_name(monkeypatch: pytest.MonkeyPatch, name: str, tera: float | None) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    card = torch.device("cuda")
    assert peak_flops(card, "bf16") == (tera and tera * 1e12)
    assert peak_flops(card, "fp32") is None
    assert peak_flops(torch.device("cpu"), "bf16") is None


@pytest.mark.parametrize(
    "bad",
    [
        {"steps": 0},
        {"grad_accum": 0},
        {"save_every": 5},
        {"clip": 0.0},
        {"schedule": "linear"},
        {"precision": "fp16"},
        {"parallel": "dp"},
    ],
)
def test_a_configuration_that_cannot_be(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        TrainConfig(**{"steps": 1, "batch_size": 1, **bad})


def test_to_device_reaches_into_containers() -> None:
    device = torch.device("meta")
    moved = to_device(
        {"x": torch.zeros(2), "more": [torch.zeros(1), "text"], "pair": (torch.zeros(1), 3)}, device
    )
    assert moved["x"].device == moved["more"][0].device == moved["pair"][0].device == device
    assert moved["more"][1] == "text"
    assert moved["pair"][1] == 3
