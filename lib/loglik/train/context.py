"""Who am I among the processes: one on a laptop, many under ``torchrun``, and the same code for both."""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class Context:
    """Place of a process in the run.

    Attributes
    ----------
    rank : int
        Number of this process, from 0.
    world : int
        How many processes train together.
    device : torch.device
        Where this process computes.
    """

    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_main(self) -> bool:
        """True in the one process that writes files and shows progress."""
        return self.rank == 0

    def all_reduce_sum(self, x: Tensor) -> Tensor:
        """`x` added up over all processes, in place; every process gets the sum."""
        if self.world > 1:
            dist.all_reduce(x)
        return x

    def broadcast(self, x: Tensor) -> Tensor:
        """`x` as process 0 has it, in place."""
        if self.world > 1:
            dist.broadcast(x, src=0)
        return x

    def barrier(self) -> None:
        """Wait until every process is here."""
        self.all_reduce_sum(torch.zeros(1, device=self.device))


def distributed_context(device: str | torch.device | None = None, *, timeout_s: float = 1800) -> Context:
    """The :class:`Context` of this process; joins the others when ``torchrun`` started it.

    Parameters
    ----------
    device : str or torch.device, optional
        Default: the process's own GPU where there is one, else the CPU.
    timeout_s : float
        Seconds after which a process that waits for a dead one gives up.

    Notes
    -----
    Backend NCCL on GPUs, gloo on CPUs. Without the environment of ``torchrun`` nothing is started, so a notebook
    and a script share this line.
    """
    if device is None:
        local_rank = os.environ.get("LOCAL_RANK", "0")
        device = f"cuda:{local_rank}" if torch.cuda.is_available() else "cpu"
    device = torch.device(device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
            return Context(device=device)
        _join("nccl" if device.type == "cuda" else "gloo", timedelta(seconds=timeout_s))
        atexit.register(_leave)
    return Context(dist.get_rank(), dist.get_world_size(), device)


def _join(backend: str, timeout: timedelta) -> None:
    """``init_process_group``, except that processes which were started again don't read the dead ones' addresses.

    ``torchrun`` keeps one store over its restarts (pytorch issue 135712). On one machine the restart count tells
    old addresses from new ones. Machines may disagree about it; there ``TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1`` gives
    each restart a store of its own, as the launch files do.
    """
    store, rank, world = next(rendezvous("env://", timeout=timeout))
    if os.environ.get("LOCAL_WORLD_SIZE") == os.environ["WORLD_SIZE"]:
        store = dist.PrefixStore(f"attempt-{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
    dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=timeout)


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def all_reduce_sum(x: Tensor) -> Tensor:
    """`x` added up over all processes, in place; `x` itself where there is only one process."""
    if dist.is_initialized() and dist.get_world_size() > 1:
        dist.all_reduce(x)
    return x


def shard(model: nn.Module, context: Context, blocks: Iterable[type[nn.Module]] | None = None) -> None:
    """Split parameters, gradients and optimiser state over the processes, in place (``fully_shard``).

    Parameters
    ----------
    model : nn.Module
        Each process gets process 0's values.
    context : Context
    blocks : iterable of module classes, optional
        Layers that are gathered one at a time. Default: those that the model names in ``_no_split_modules``
        (every network of `transformers` does); without any, the model is gathered as a whole.

    Notes
    -----
    Parameters are whole only while ``model(...)`` runs: other methods of `model` see their shards.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    names = set(getattr(model, "_no_split_modules", None) or ())
    classes = tuple(blocks or ())
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            context.broadcast(tensor)
    mesh = init_device_mesh(context.device.type, (context.world,))
    for module in model.modules():
        if module is not model and (isinstance(module, classes) or type(module).__name__ in names):
            fully_shard(module, mesh=mesh)
    fully_shard(model, mesh=mesh)


def wrap(module: nn.Module, context: Context, mode: str = "ddp") -> nn.Module:
    """`module` with gradients averaged over the processes; `module` itself where that needs no wrapper."""
    if context.world == 1 or mode == "fsdp":  # fully_shard has put its hooks into the model
        return module
    devices = [context.device] if context.device.type == "cuda" else None
    return DistributedDataParallel(module, device_ids=devices, gradient_as_bucket_view=True)


@contextmanager
def accumulating(wrapped: nn.Module, model: nn.Module, *, last: bool) -> Iterator[None]:
    """Gradients stay in this process until the last micro-batch of a step; then they travel once."""
    sync = getattr(model, "set_requires_gradient_sync", None)  # a sharded model
    if sync is not None:
        sync(last)
    silent = isinstance(wrapped, DistributedDataParallel) and not last
    with wrapped.no_sync() if silent else nullcontext():  # type: ignore[operator]
        yield
