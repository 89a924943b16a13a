"""What a step of the loop computes, and when it refuses to go on."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from loglik.train import (
    KeepBest,
    NonFiniteError,
    OrderedSampler,
    Run,
    StopOnSignal,
    TrainConfig,
    fit,
    load_weights,
)
from tests.train import problem

CFG = TrainConfig(steps=6, batch_size=6, lr=0.01, progress=False, log_every=2)


def plain_sgd(groups: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, lr=1.0)


def gradient(loss_fn: Callable[..., Any], grad_accum: int) -> Tensor:
    """Of one step over 8 ragged texts: what plain SGD subtracts."""
    model = problem.Model()
    before = torch.cat([p.detach().flatten().clone() for p in model.parameters()])
    cfg = TrainConfig(
        steps=1, batch_size=8, grad_accum=grad_accum, lr=1.0, schedule="constant", progress=False
    )
    fit(model, loss_fn, problem.data(8), cfg, optimizer=plain_sgd)
    return before - torch.cat([p.detach().flatten() for p in model.parameters()])


def relative_error(loss_fn: Callable[..., Any], grad_accum: int) -> float:
    whole = gradient(problem.loss, 1)
    return ((gradient(loss_fn, grad_accum) - whole).norm() / whole.norm()).item()


@pytest.mark.parametrize("grad_accum", [2, 4, 5, 8])
def test_accumulation_is_the_big_batch(grad_accum: int) -> None:
    assert relative_error(problem.loss, grad_accum) < 1e-5


def test_mutant_mean_of_means_is_noticed() -> None:
    assert relative_error(problem.loss_of_means, 4) > 0.05


def test_mutant_units_forgotten_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in that counts: more micro-batches than texts must not add one."""
    assert relative_error(problem.loss, 16) < 1e-5
    from loglik.train import loop, split

    monkeypatch.setattr(loop, "split", lambda *a: [(part, 1.0) for part, _ in split(*a)])
    assert relative_error(problem.loss, 16) > 0.05


def test_the_loop_is_the_loop_that_one_would_write() -> None:
    cfg = replace(CFG, steps=8, warmup=2, weight_decay=0.1, clip=0.5)
    ours, theirs, data = problem.Model(), problem.Model(), problem.data()
    log = fit(ours, problem.loss, data, cfg)
    decaying = [theirs.hidden.weight]
    rest = [theirs.embed.weight, theirs.hidden.bias, theirs.norm.weight, theirs.norm.bias]
    groups = [{"params": decaying, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1.0, betas=cfg.betas)
    sampler, losses = OrderedSampler(0, 23, 6), []
    for step in range(8):
        for group in optimizer.param_groups:
            group["lr"] = cfg.learning_rate(step)
        optimizer.zero_grad()
        summed, units, _ = problem.loss(theirs, data[torch.from_numpy(sampler.batch(step))])
        (summed / units).backward()
        nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
        optimizer.step()
        losses.append((summed.item(), units.item()))
    assert problem.largest_difference(problem.weights(ours), problem.weights(theirs)) < 1e-5
    for row, k in zip(log.frame.itertuples(), (0, 2, 4, 6), strict=True):
        (a, n), (b, m) = losses[k : k + 2]
        assert row.loss == pytest.approx((a + b) / (n + m), rel=1e-5), (
            "a row is a mean over units, not over steps"
        )
        assert row.units == n + m
    assert log.frame["accuracy"].between(0, 1).all()


def test_log_of_the_optimal_loss() -> None:
    """The mean of a Gaussian with known spread: the loss at the end is its entropy-like minimum, by hand."""
    x = torch.tensor([[1.0], [2.0], [6.0]])
    model = nn.Linear(1, 1)
    nn.init.zeros_(model.weight)

    def loss(model: nn.Module, batch: Tensor) -> tuple[Tensor, int]:
        return (model(torch.zeros_like(batch)) - batch).square().sum(), len(batch)

    log = fit(model, loss, x, TrainConfig(steps=600, batch_size=3, lr=0.05, progress=False))
    assert model.bias.item() == pytest.approx(3.0, abs=1e-4)
    assert log.frame["loss"].iloc[-1] == pytest.approx(14 / 3, abs=1e-4)


def test_generators_of_the_process_are_left_alone() -> None:
    first, again = problem.Model(dropout=0.3), problem.Model(dropout=0.3)
    state = torch.get_rng_state()
    numbers = np.random.get_state()[1].copy()  # noqa: NPY002
    python = random.getstate()
    fit(first, problem.loss, problem.data(), CFG)
    assert torch.equal(state, torch.get_rng_state())
    assert np.array_equal(numbers, np.random.get_state()[1])  # noqa: NPY002
    assert python == random.getstate()
    torch.rand(7)  # what the process drew before must not matter
    fit(again, problem.loss, problem.data(), CFG)
    torch.set_rng_state(state)
    assert problem.largest_difference(problem.weights(first), problem.weights(again)) == 0


def test_bf16_keeps_weights_in_float32_and_comes_close() -> None:
    full, half = problem.Model(), problem.Model()
    kinds: set[torch.dtype] = set()

    def loss(model: nn.Module, tokens: Tensor) -> tuple[Any, ...]:
        kinds.add(model.hidden(model.embed(tokens.clamp_min(0))).dtype)
        return problem.loss(model, tokens)

    a = fit(full, problem.loss, problem.data(), replace(CFG, steps=40))
    b = fit(half, loss, problem.data(), replace(CFG, steps=40, precision="bf16"))
    assert kinds == {torch.bfloat16}
    assert {p.dtype for p in half.parameters()} == {torch.float32}
    assert b.frame["loss"].iloc[-1] == pytest.approx(a.frame["loss"].iloc[-1], rel=0.01)


def poisoned_at(step: int) -> Callable[..., Any]:
    calls = iter(range(1, 1000))

    def loss(model: nn.Module, tokens: Tensor) -> tuple[Any, ...]:
        summed, units, more = problem.loss(model, tokens)
        return summed * (float("nan") if next(calls) == step else 1.0), units, more

    return loss


def test_nan_stops_with_the_step_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    model, sane = problem.Model(), problem.Model()
    cfg = replace(CFG, schedule="constant", save_every=2, out_dir=tmp_path)
    with pytest.raises(NonFiniteError, match="loss is nan in step 4; the last good checkpoint is") as caught:
        fit(model, poisoned_at(4), problem.data(), cfg)
    assert caught.value.step == 4
    assert caught.value.checkpoint == tmp_path / "step-00000002"
    fit(sane, problem.loss, problem.data(), replace(cfg, steps=3, save_every=None, out_dir=None))
    assert problem.largest_difference(problem.weights(model), problem.weights(sane)) == 0, "weights of step 3"
    load_weights(model, caught.value.checkpoint)
    assert all(tensor.isfinite().all() for tensor in problem.weights(model).values())


def test_an_infinite_gradient_stops_too() -> None:
    def loss(model: nn.Module, x: Tensor) -> tuple[Tensor, int]:
        return model.weight.square().sum().sqrt(), len(x)  # derivative at 0: 0/0

    model = nn.Linear(1, 1)
    nn.init.zeros_(model.weight)
    with pytest.raises(NonFiniteError, match="gradient norm is nan in step 1; there is no checkpoint"):
        fit(model, loss, torch.zeros(6, 1), CFG)


@pytest.mark.parametrize(
    ("result", "error", "message"),
    [
        (lambda x: x.mean(), TypeError, "not their mean"),
        (lambda x: (x, 3), TypeError, r"scalar tensor, .*\(6, 1\)"),
        (lambda x: (1.0, 3), TypeError, "float"),
        (lambda x: (x.sum(), 0), ValueError, "counted 0.0 units in step 1"),
    ],
)
def test_a_loss_function_that_cannot_be(result: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        fit(nn.Linear(1, 1), lambda model, x: result(model(x)), torch.ones(6, 1), CFG)


def test_data_and_sampler_must_agree() -> None:
    with pytest.raises(ValueError, match="orders 24 examples, the data has 23"):
        fit(problem.Model(), problem.loss, problem.data(), CFG, sampler=OrderedSampler(0, 24, 6))


def test_callbacks_see_every_step_once_before_it_is_made() -> None:
    seen: list[int] = []

    def beta(run: Run) -> None:
        seen.append(run.step)
        run.log(beta=run.step / 10)
        if run.step == 4:
            run.stop("enough")

    model = problem.Model()
    log = fit(model, problem.loss, problem.data(), CFG, callbacks=[beta])
    assert seen == [0, 1, 2, 3, 4]
    assert (log.step, log.stopped) == (4, "enough")
    assert log.frame["beta"].tolist() == [0, 0.1, 0.2, 0.3, 0.4]
    assert log.frame.set_index("step")["loss"].notna().tolist() == [False, False, True, False, True]
    short = problem.Model()
    fit(
        short,
        problem.loss,
        problem.data(),
        CFG,
        callbacks=[lambda run: run.stop("") if run.step == 4 else None],
    )
    assert problem.largest_difference(problem.weights(model), problem.weights(short)) == 0
    full = fit(
        problem.Model(), problem.loss, problem.data(), CFG, callbacks=[lambda run: seen.append(run.step)]
    )
    assert seen[5:] == list(range(7))
    assert full.stopped is None


def test_keep_best_keeps_the_best_and_stops_when_patience_ends() -> None:
    scores = iter([0.1, 0.5, 0.4, 0.3, 0.9])
    snapshots = []

    def evaluate(model: nn.Module) -> float:
        assert not model.training
        assert not torch.is_grad_enabled()
        snapshots.append(problem.weights(model))
        return next(scores)

    best = KeepBest(evaluate, every=2, patience=2, name="ndcg")
    model = problem.Model()
    with pytest.raises(RuntimeError, match="no evaluation"):
        best.restore(model)
    log = fit(model, problem.loss, problem.data(), replace(CFG, steps=30), callbacks=[best])
    assert (best.score, best.step, log.step) == (0.5, 4, 8)
    assert log.frame.set_index("step")["ndcg"].tolist() == [0.1, 0.5, 0.4, 0.3]
    assert "ndcg has not improved in 2 evaluations" in str(log.stopped)
    best.restore(model)
    del snapshots[1]["out.weight"]  # tied: saved once
    own = problem.weights(model)
    assert all(torch.equal(own[name], value) for name, value in snapshots[1].items())


def test_keep_best_goes_by_epochs_and_can_minimise() -> None:
    steps: list[int] = []
    best = KeepBest(lambda model: float(len(steps)), largest=False)
    fit(
        problem.Model(),
        problem.loss,
        problem.data(),
        replace(CFG, steps=12),
        callbacks=[best, lambda r: steps.append(r.step)],
    )
    assert best.step == 4, (
        "23 texts in batches of 6: an epoch is 4 steps, and the first value is the smallest"
    )


def test_a_signal_ends_the_run_with_a_checkpoint(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        stop = StopOnSignal()

        def preempted(run: Run) -> None:
            if run.step == 3:
                os.kill(os.getpid(), signal.SIGTERM)

        cfg = replace(CFG, out_dir=tmp_path)
        log = fit(problem.Model(), problem.loss, problem.data(), cfg, callbacks=[preempted, stop])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (log.step, log.stopped) == (3, "signal")
    assert log.checkpoint == tmp_path / "step-00000003"
    again = problem.Model()
    assert fit(again, problem.loss, problem.data(), cfg, resume="auto").step == 6
    straight = problem.Model()
    fit(straight, problem.loss, problem.data(), CFG)
    assert problem.largest_difference(problem.weights(again), problem.weights(straight)) == 0


def test_utilisation_is_model_flops_over_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    from loglik.train import meter

    monkeypatch.setattr(meter, "peak_flops", lambda device, precision: 1e12)

    def loss(model: nn.Module, x: Tensor) -> tuple[Tensor, int]:
        return model(x).sum(), len(x)

    log = fit(nn.Linear(4, 3), loss, torch.ones(12, 4), CFG)
    flops_per_unit = 2 * 2 * 4 * 3  # forwards, and backwards to the weights; the input needs no gradient
    np.testing.assert_allclose(log.frame["mfu"], log.frame["units_per_s"] * flops_per_unit / 1e12)
    plain, counted = problem.Model(dropout=0.2), problem.Model(dropout=0.2)
    fit(counted, problem.loss, problem.data(), CFG)
    monkeypatch.undo()
    log = fit(plain, problem.loss, problem.data(), CFG)
    assert "mfu" not in log.frame
    assert problem.largest_difference(problem.weights(plain), problem.weights(counted)) < 1e-5


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@needs_gpu
def test_on_a_gpu_memory_is_told_and_nan_is_found() -> None:
    log = fit(problem.Model(), problem.loss, problem.data(), replace(CFG, precision="bf16", steps=20))
    assert (log.frame["memory_gb"] > 0).all()
    with pytest.raises(NonFiniteError, match="step 5"):
        fit(problem.Model(), poisoned_at(5), problem.data(), replace(CFG, steps=20, log_every=10))


@needs_gpu
def test_on_a_gpu_compiled_and_eager_agree() -> None:
    losses = [
        fit(problem.Model(), problem.loss, problem.data(), replace(CFG, steps=20, compile=compiled)).frame[
            "loss"
        ]
        for compiled in (False, True)
    ]
    np.testing.assert_allclose(*losses, atol=1e-4)


def test_a_module_that_draws_without_a_generator_is_reproducible_by_seed() -> None:
    """Dropout takes no generator: the run's seed decides, and another seed gives other weights."""
    results = []
    for seed in (0, 0, 1):
        model = problem.Model(dropout=0.5)
        order = OrderedSampler(0, 23, 6)
        fit(model, problem.loss, problem.data(), replace(CFG, seed=seed), sampler=order)
        results.append(problem.weights(model))
    assert problem.largest_difference(results[0], results[1]) == 0
    assert problem.largest_difference(results[0], results[2]) > 1e-4
