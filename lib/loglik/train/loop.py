"""The training loop: one function for one CPU, one GPU and many, made to be read from top to bottom."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from loglik.train import checkpoint
from loglik.train.config import TrainConfig
from loglik.train.context import Context, accumulating, distributed_context, shard, wrap
from loglik.train.ema import EMA
from loglik.train.meter import Meter, model_flops
from loglik.train.optimizer import MakeOptimizer, parameter_groups, rescale_gradients
from loglik.train.order import Data, OrderedSampler, split
from loglik.train.run import Run, TrainLog
from loglik.train.state import own_generators

LossFunction = Callable[[Any, Any], tuple[Any, ...]]
Callback = Callable[[Run], None]


class Sampler(Protocol):
    """What decides the order of the data: see :class:`~loglik.train.order.OrderedSampler`."""

    def batch(self, step: int) -> NDArray[Any]:
        """Example ids of optimiser step `step` (from 0)."""


def fit(
    model: nn.Module,
    loss_fn: LossFunction,
    data: Data,
    cfg: TrainConfig,
    *,
    callbacks: Sequence[Callback] = (),
    resume: str | Path | None = None,
    branch: bool = False,
    sampler: Sampler | None = None,
    optimizer: MakeOptimizer | None = None,
    carry: Mapping[str, Any] | None = None,
    context: Context | None = None,
) -> TrainLog:
    """Train `model` in place.

    The gradient of a step is that of ``sum of losses / number of units``, over all micro-batches and processes: a
    batch of ragged texts gives the same gradient however it is cut up.

    Parameters
    ----------
    model : nn.Module
    loss_fn : callable
        ``loss_fn(model, batch) -> (sum_loss, n_units)``: the loss *summed* over what it is a mean of (examples,
        tokens), a scalar tensor, and how many of them there are. A third entry, ``{name: sum}``, is logged as means
        over the same units. Under bf16 cast logits to float32 before a log-softmax.
    data : Data
        ``len(data)`` and ``data[indices]``.
    cfg : TrainConfig
    callbacks : sequence of callables
        Each is called as ``callback(run)`` before the first step and after every step. One that has ``state_dict``
        and ``load_state_dict`` travels in the checkpoint.
    resume : path or "auto", optional
        A checkpoint, or a run's folder (its newest whole checkpoint). ``"auto"``: that of ``cfg.out_dir`` where there
        is one, else a fresh start; what a script wants that may be started again.
    branch : bool
        With `resume`: take weights, optimiser and step, but not generators, log and data order; the configuration may
        differ.
    sampler : Sampler, optional
        Default ``OrderedSampler(cfg.seed, len(data), cfg.batch_size)``.
    optimizer : callable, optional
        Makes an optimiser from parameter groups. Default: fused AdamW.
    carry : mapping, optional
        Further things that a checkpoint must carry, by name: generators that `loss_fn` draws from, buffers. Each a
        ``torch.Generator``, a NumPy generator, or an object with ``state_dict`` and ``load_state_dict``. Every
        process carries its own.
    context : Context, optional
        Default :func:`~loglik.train.context.distributed_context`.

    Returns
    -------
    TrainLog

    Raises
    ------
    NonFiniteError
        With the step; the last good checkpoint stays.
    CheckpointError
        When the last checkpoint can't be written (an earlier one only warns).
    ValueError, TypeError
        For a configuration, data or loss function that can't be; for a checkpoint of another run.

    Notes
    -----
    On one machine with one number of processes a resumed run is bit-equal to an undisturbed one. The process's own
    generators are seeded for the run and given back.

    Examples
    --------
    >>> import torch
    >>> from torch.utils.data import TensorDataset
    >>> x = torch.linspace(-1, 1, 64)[:, None]
    >>> line = torch.nn.Linear(1, 1)
    >>> def squared_error(model, batch):
    ...     inputs, targets = batch
    ...     return (model(inputs) - targets).square().sum(), len(inputs)
    >>> cfg = TrainConfig(steps=300, batch_size=16, lr=0.05, progress=False)
    >>> log = fit(line, squared_error, TensorDataset(x, 2 * x + 1), cfg)
    >>> round(line.bias.item(), 2), log.step
    (1.0, 300)
    """
    context = context or distributed_context()
    sampler = sampler or OrderedSampler(cfg.seed, len(data), cfg.batch_size, drop_last=cfg.drop_last)
    ordered = getattr(sampler, "n", len(data))
    if ordered != len(data):
        raise ValueError(f"the sampler orders {ordered} examples, the data has {len(data)}")
    model.to(context.device)
    if cfg.parallel == "fsdp" and context.world > 1:
        shard(model, context)
    run = Run(
        model=model,
        cfg=cfg,
        context=context,
        optimizer=_make_optimizer(model, cfg, optimizer),
        sampler=sampler,
        meter=Meter(context, cfg),
        carry=_carry(carry or {}, callbacks),
        ema=None if cfg.ema is None else EMA(model, cfg.ema),
    )
    was_training = model.training
    with own_generators(cfg.seed, context):
        try:
            model.train()
            if (start := _find_start(resume, cfg, context)) is not None:
                run.restore(start, branch=branch)
            _train(run, _Loss(model, loss_fn), data, callbacks)
        finally:
            model.train(was_training)
    return run.result()


def _train(run: Run, loss: _Loss, data: Data, callbacks: Sequence[Callback]) -> None:
    cfg, context, meter, optimizer = run.cfg, run.context, run.meter, run.optimizer
    if cfg.compile:
        loss.compile()
    module = wrap(loss, context, cfg.parallel)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    batches = _batches(run, data)

    with _progress(run) as bar:
        while run.step < cfg.steps:
            for callback in callbacks:
                callback(run)
            if run.stopped is not None and context.world == 1:
                break

            lr = cfg.learning_rate(run.step)
            for group in optimizer.param_groups:
                group["lr"] = lr
            optimizer.zero_grad()
            totals = torch.zeros((), dtype=torch.float64)
            for micro in range(cfg.grad_accum):
                batch, weight = next(batches)
                with accumulating(module, run.model, last=micro == cfg.grad_accum - 1):
                    totals = totals + _backward(run, module, batch, weight)
            totals = context.all_reduce_sum(totals)  # loss, units, votes to stop, metrics
            norm = rescale_gradients(parameters, context.world / totals[1], cfg.clip)

            meter.add(run.step + 1, lr, totals, norm)
            if meter.due(run.step + 1):
                meter.look(run.checkpoint)  # NaN stops here; on a CPU before the weights move
            optimizer.step()
            if run.ema is not None:
                run.ema.update()
            run.step += 1

            bar.update()
            if meter.row_due(run.step) or run.step == cfg.steps:
                bar.set_postfix_str(meter.row(run.step, run.checkpoint), refresh=False)
            if cfg.save_every and run.step % cfg.save_every == 0 and run.step < cfg.steps:
                _save_or_warn(run)
            if meter.stop_votes:
                run.stopped = "another process asked to" if run.stopped is None else run.stopped
                break
        else:
            for callback in callbacks:
                callback(run)
    if cfg.out_dir is not None and run.step != run.saved_step:
        run.save()


class _Loss(nn.Module):
    """Model and loss as one module: what DDP and ``torch.compile`` wrap, so that `loss_fn` sees the plain model."""

    def __init__(self, model: nn.Module, loss_fn: LossFunction) -> None:
        super().__init__()
        self.model, self.loss_fn = model, loss_fn

    def forward(self, batch: Any) -> tuple[Any, ...]:
        """``(sum_loss, n_units)`` or ``(sum_loss, n_units, metrics)``."""
        return self.loss_fn(self.model, batch)


def _backward(run: Run, module: nn.Module, batch: Any, weight: float) -> Tensor:
    """Add a micro-batch's gradient of the *sum*; dividing by the units comes when all of them are known."""
    meter, device = run.meter, run.context.device

    def work() -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=run.cfg.precision == "bf16"):
            loss, units, metrics = _checked(module(batch))
        (loss * weight).backward()
        meter.names = tuple(sorted(metrics))
        values = [loss.detach(), units, float(run.stopped is not None), *(metrics[k] for k in meter.names)]
        return weight * torch.stack([torch.as_tensor(v, dtype=torch.float64, device=device) for v in values])

    if not meter.counts_flops or run.cfg.compile:
        return work()
    totals: list[Tensor] = []
    flops = model_flops(lambda: totals.append(work()))
    meter.flops_per_unit = flops / max(float(totals[0][1]), 1.0)
    return totals[0]


def _checked(result: Any) -> tuple[Tensor, Any, Mapping[str, Any]]:
    if not isinstance(result, tuple) or len(result) not in (2, 3):
        raise TypeError(
            "loss_fn must return (sum_loss, n_units) or (sum_loss, n_units, metrics): the loss summed over "
            f"n_units examples or tokens, not their mean; got {type(result).__name__}"
        )
    loss, units, *metrics = result
    if not isinstance(loss, Tensor) or loss.ndim != 0:
        shape = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
        raise TypeError(f"the loss must be a scalar tensor, summed over the units; got {shape}")
    return loss, units, metrics[0] if metrics else {}


# -- data ---------------------------------------------------------------------------------------------------------


def _batches(run: Run, data: Data) -> Iterator[tuple[Any, float]]:
    """Micro-batches of this process from the run's step on, each with its weight."""
    cfg, context = run.cfg, run.context
    keys = (
        key
        for step in range(run.step, cfg.steps)
        for key in split(run.sampler.batch(step), context.rank, context.world, cfg.grad_accum)
    )
    fetch = _Fetch(data)
    fetched: Any = map(fetch.__getitem__, keys)
    if cfg.workers:
        fetched = DataLoader(
            fetch,
            sampler=keys,
            batch_size=None,
            num_workers=cfg.workers,
            collate_fn=_as_is,
            pin_memory=context.device.type == "cuda",
            generator=torch.Generator(),
        )
    return ((to_device(batch, context.device), weight) for batch, weight in fetched)


class _Fetch(Dataset[Any]):
    def __init__(self, data: Data) -> None:
        self.data = data

    def __getitem__(self, key: tuple[NDArray[Any], float]) -> tuple[Any, float]:
        indices, weight = key
        return self.data[torch.from_numpy(indices)], weight


def _as_is(batch: Any) -> Any:
    return batch


def to_device(batch: Any, device: torch.device) -> Any:
    """`batch` on `device`: tensors, and tuples, lists and dictionaries of them; what isn't a tensor stays."""
    if hasattr(batch, "to"):
        return batch.to(device, non_blocking=True) if isinstance(batch, Tensor) else batch.to(device)
    if isinstance(batch, Mapping):
        return {key: to_device(value, device) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(to_device(value, device) for value in batch))
    if isinstance(batch, tuple | list):
        return type(batch)(to_device(value, device) for value in batch)
    return batch


# -- setting up -----------------------------------------------------------------------------------------------------


def _make_optimizer(model: nn.Module, cfg: TrainConfig, make: MakeOptimizer | None) -> torch.optim.Optimizer:
    groups = parameter_groups(model, cfg.weight_decay)
    return make(groups) if make else torch.optim.AdamW(groups, lr=cfg.lr, betas=cfg.betas, fused=True)


def _carry(own: Mapping[str, Any], callbacks: Sequence[Callback]) -> dict[str, Any]:
    """Whatever travels in a checkpoint beside the model: the caller's objects, and callbacks with a memory."""
    carry = {f"carry.{name}": thing for name, thing in own.items()}
    for callback in callbacks:
        if hasattr(callback, "load_state_dict"):
            kind = f"callback.{type(callback).__name__}"
            carry[f"{kind}.{sum(name.startswith(kind) for name in carry)}"] = callback
    return carry


def _find_start(resume: str | Path | None, cfg: TrainConfig, context: Context) -> Path | None:
    if resume == "auto":
        if cfg.out_dir is None:
            raise ValueError('resume="auto" needs TrainConfig(out_dir=…) to look in')
        return checkpoint.latest(Path(cfg.out_dir), context)
    if resume is not None:
        return checkpoint.locate(resume, context)
    if cfg.out_dir is not None and checkpoint.steps_saved(Path(cfg.out_dir)):
        raise ValueError(
            f"{cfg.out_dir} holds checkpoints of an earlier run: "
            'resume="auto" goes on with it, another out_dir starts anew'
        )
    return None


def _progress(run: Run) -> Any:
    silent = not (run.cfg.progress and run.context.is_main)
    return tqdm(total=run.cfg.steps, initial=run.step, disable=silent, mininterval=0.5, unit="step")


def _save_or_warn(run: Run) -> None:
    try:
        run.save()
    except checkpoint.CheckpointError as error:
        kept = run.checkpoint.name if run.checkpoint else "none"
        warnings.warn(f"{error}; training goes on, the last good one is {kept}", stacklevel=3)
