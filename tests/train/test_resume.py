"""A resumed run is the undisturbed run, bit for bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from loglik.train import KeepBest, OrderedSampler, Run, TrainConfig, checkpoint, fit, state
from tests.train import problem

# 23 texts in batches of 6: an epoch is 4 steps, so step 5 lies inside the second one.
CFG = TrainConfig(
    steps=12,
    batch_size=6,
    lr=0.01,
    warmup=3,
    weight_decay=0.1,
    clip=1.0,
    ema=0.9,
    progress=False,
    log_every=4,
)
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "bf16": {"precision": "bf16"},
    "accumulating": {"grad_accum": 3},
    "bf16 accumulating": {"precision": "bf16", "grad_accum": 2, "schedule": "wsd"},
}


class Buffer:
    """A replay buffer as energy models have: it changes with every step, and noise is drawn into it."""

    def __init__(self) -> None:
        self.samples = torch.zeros(4)

    def state_dict(self) -> dict[str, Any]:
        return {"samples": self.samples, "size": 4}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self.samples = saved["samples"]
        assert saved["size"] == 4


class Everything:
    """A run with all that a checkpoint must remember."""

    def __init__(self, cfg: TrainConfig, **how: Any) -> None:
        self.model = problem.Model(dropout=0.2)
        self.noise = torch.Generator().manual_seed(5)
        self.rng = np.random.default_rng(6)
        self.buffer = Buffer()
        self.best = KeepBest(lambda model: float(model.hidden.weight.sum()), every=3)
        second = KeepBest(lambda model: float(model.hidden.bias.sum()), largest=False, name="second")
        carry = {"noise": self.noise, "rng": self.rng, "buffer": self.buffer}
        self.optimizers: list[Any] = []

        def keep(run: Run) -> None:
            self.run = run

        callbacks = [self.best, keep, second, *how.pop("callbacks", ())]
        self.log = fit(self.model, self.loss, problem.data(), cfg, callbacks=callbacks, carry=carry, **how)

    def loss(self, model: nn.Module, tokens: Tensor) -> tuple[Any, ...]:
        summed, units, metrics = problem.loss(model, tokens)
        self.buffer.samples = self.buffer.samples + torch.randn(4, generator=self.noise)
        own = self.buffer.samples.tanh().mean() + self.rng.normal()
        jitter = 1 + 0.01 * own + 0.01 * np.random.rand()  # noqa: NPY002 (the process's generator travels too)
        return summed * jitter, units, metrics

    def tensors(self) -> dict[str, Tensor]:
        assert self.run.ema is not None
        slots = state.optimizer_state(self.model, self.run.optimizer)
        parts = {
            "model": problem.weights(self.model),
            "optimizer": slots,
            "ema": self.run.ema.average,
            "best": self.best.weights,
            "carry": {"noise": self.noise.get_state(), "buffer": self.buffer.samples},
            "facts": {
                "best": torch.tensor([self.best.score, self.best.step, self.best.waited], dtype=torch.float64)
            },
        }
        return {f"{part}.{name}": tensor for part, named in parts.items() for name, tensor in named.items()}


def unequal(a: Everything, b: Everything) -> list[str]:
    """What differs in any bit."""
    x, y = a.tensors(), b.tensors()
    assert x.keys() == y.keys()
    names = [name for name in x if not torch.equal(x[name], y[name])]
    names += ["rng"] if a.rng.bit_generator.state != b.rng.bit_generator.state else []
    exact = [frame.drop(columns="units_per_s") for frame in (a.log.frame, b.log.frame)]
    return names + ([] if exact[0].equals(exact[1]) else ["log"])


def stopped_at(step: int) -> Any:
    return lambda run: run.stop("lunch") if run.step == step else None


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_stopped_in_the_middle_of_an_epoch(tmp_path: Path, variant: dict[str, Any]) -> None:
    cfg = replace(CFG, out_dir=tmp_path, **variant)
    straight = Everything(replace(cfg, out_dir=None))
    stopped = Everything(cfg, callbacks=[stopped_at(5)])
    assert (stopped.log.step, stopped.log.stopped) == (5, "lunch")
    resumed = Everything(cfg, resume="auto")
    assert resumed.log.step == 12
    assert unequal(straight, resumed) == []


def test_resumed_twice_and_from_a_periodic_checkpoint(tmp_path: Path) -> None:
    """The crash comes two steps after the checkpoint; what was computed in between is computed again."""
    straight = Everything(CFG)
    cfg = replace(CFG, out_dir=tmp_path, save_every=3, keep=1)

    def crash(run: Run) -> None:
        if run.step in (5, 11) and run.step not in crashed:
            crashed.add(run.step)
            raise KeyboardInterrupt

    crashed: set[int] = set()
    for expected in (["step-00000003"], ["step-00000009"]):
        with pytest.raises(KeyboardInterrupt):
            Everything(cfg, callbacks=[crash], resume="auto")
        assert [path.name for path in tmp_path.iterdir()] == expected
    assert unequal(straight, Everything(cfg, callbacks=[crash], resume="auto")) == []


def test_resume_of_a_finished_run_changes_nothing(tmp_path: Path) -> None:
    cfg = replace(CFG, out_dir=tmp_path)
    done = Everything(cfg)
    assert unequal(done, Everything(cfg, resume="auto")) == []


@pytest.mark.parametrize(
    ("forgotten", "noticed"),
    [
        ("set_generators", "model.hidden.weight"),
        ("load_carried", "carry.noise"),
        ("load_optimizer", "optimizer.hidden.bias.exp_avg"),
        ("position", "model.hidden.weight"),
    ],
)
def test_mutants_forget_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgotten: str, noticed: str
) -> None:
    cfg = replace(CFG, out_dir=tmp_path)
    straight = Everything(CFG)
    Everything(cfg, callbacks=[stopped_at(5)])
    if forgotten == "position":
        real_batch = OrderedSampler.batch
        monkeypatch.setattr(OrderedSampler, "batch", lambda self, step: real_batch(self, step - 5))
    else:
        real = getattr(state, forgotten)
        first = iter([lambda *a: None])  # the resume's; later calls give generators back to the process
        monkeypatch.setattr(state, forgotten, lambda *a: next(first, real)(*a))
    assert noticed in unequal(straight, Everything(cfg, resume="auto"))


def test_another_configuration_is_refused(tmp_path: Path) -> None:
    cfg = replace(CFG, out_dir=tmp_path)
    Everything(cfg, callbacks=[stopped_at(5)])
    for change, message in (
        ({"lr": 0.02}, "lr: 0.01 then, 0.02 now"),
        ({"seed": 1}, "order: "),
        ({"steps": 20}, "steps: 12 then, 20 now"),
        ({"precision": "bf16"}, "precision: fp32 then, bf16 now"),
    ):
        with pytest.raises(ValueError, match=message):
            Everything(replace(cfg, **change), resume="auto")
    with pytest.raises(ValueError, match="holds checkpoints of an earlier run"):
        Everything(cfg)
    with pytest.raises(ValueError, match="out_dir"):
        Everything(CFG, resume="auto")


def test_hardware_may_change_and_rounding_is_all_that_does(tmp_path: Path) -> None:
    cfg = replace(CFG, out_dir=tmp_path)
    start, straight = problem.Model(), problem.Model()
    fit(straight, problem.loss, problem.data(), CFG)
    fit(start, problem.loss, problem.data(), cfg, callbacks=[stopped_at(5)])
    fit(start, problem.loss, problem.data(), replace(cfg, grad_accum=3, keep=5), resume="auto")
    assert problem.largest_difference(problem.weights(start), problem.weights(straight)) < 1e-5


def test_a_constant_schedule_can_be_prolonged(tmp_path: Path) -> None:
    cfg = replace(CFG, out_dir=tmp_path, schedule="constant", log_every=6)
    Everything(replace(cfg, steps=6))
    assert unequal(Everything(replace(cfg, out_dir=None)), Everything(cfg, resume=tmp_path)) == []


def test_a_branch_takes_weights_and_optimiser_into_another_order(tmp_path: Path) -> None:
    """What a test of data order needs: the same start, the last phase again in other orders, or in the true one."""
    cfg = replace(CFG, ema=None, out_dir=tmp_path / "alice")
    alice = problem.Model()
    fit(alice, problem.loss, problem.data(), replace(cfg, save_every=5, keep=9))
    start = tmp_path / "alice" / "step-00000005"

    def last_phase(seed: int) -> dict[str, Tensor]:
        model = problem.Model(seed=9)
        sampler = OrderedSampler(seed, 23, 6)
        log = fit(
            model,
            problem.loss,
            problem.data(),
            replace(cfg, out_dir=None),
            resume=start,
            branch=True,
            sampler=sampler,
        )
        assert log.step == 12
        assert log.frame["step"].tolist() == [8, 12], "a log of its own"
        return problem.weights(model)

    assert problem.largest_difference(last_phase(0), problem.weights(alice)) == 0, (
        "the true order, to the bit"
    )
    assert problem.largest_difference(last_phase(1), problem.weights(alice)) > 1e-4


def test_a_branch_may_begin_an_average(tmp_path: Path) -> None:
    cfg = replace(CFG, ema=None, out_dir=tmp_path)
    model, other = problem.Model(), problem.Model(seed=3)
    fit(model, problem.loss, problem.data(), cfg, callbacks=[stopped_at(5)])
    averages: list[dict[str, Tensor]] = []

    def first(run: Run) -> None:
        if run.step == 5 and run.ema is not None:
            averages.append({name: t.clone() for name, t in run.ema.average.items()})

    fit(other, problem.loss, problem.data(), replace(CFG), resume=tmp_path, branch=True, callbacks=[first])
    assert all(torch.equal(averages[0][name], p) for name, p in model.named_parameters())


def test_the_log_goes_on(tmp_path: Path) -> None:
    cfg = replace(CFG, out_dir=tmp_path)
    Everything(cfg, callbacks=[stopped_at(6)])
    frame = Everything(cfg, resume="auto").log.frame
    assert frame["step"].tolist() == [3, 4, 6, 8, 9, 12], (
        "rows every 4 steps, scores every 3 and at each epoch's end"
    )
    pd.testing.assert_series_equal(
        frame["score"].notna(), pd.Series([True, False, True, False, True, True]), check_names=False
    )
    path = checkpoint.latest(tmp_path, state.Context())
    assert path is not None
    assert path.name == "step-00000012"
