"""Everything that a run is made of, as named tensors and JSON values, and back."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from loglik.train.context import Context

# -- weights ----------------------------------------------------------------------------------------------------


def full(tensor: Tensor) -> Tensor:
    """`tensor` whole, on the CPU; a sharded one is gathered, so all processes must ask."""
    whole = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return whole.detach().cpu()


def like(value: Tensor, target: Tensor) -> Tensor:
    """`value` on the device of `target`, sharded as `target` is."""
    if not hasattr(target, "full_tensor"):
        return value.to(target.device)
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(target, DTensor)

    return distribute_tensor(
        value.to(target.device), target.device_mesh, target.placements, src_data_rank=None
    )


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers by name, whole; tied ones once, under their first name.

    Raises
    ------
    TypeError
        Where the model keeps extra state that isn't a tensor.
    """
    return {name: full(tensor) for name, tensor in _own_tensors(model).items()}


def load_model(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Put values into a model, in place.

    Raises
    ------
    ValueError
        When names or shapes don't agree; says which.
    """
    own = _own_tensors(model)
    missing, unknown = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    if missing or unknown:
        raise ValueError(f"weights of another model: missing {missing[:3]}, unknown {unknown[:3]}")
    wrong = {
        name: (tuple(tensors[name].shape), tuple(t.shape))
        for name, t in own.items()
        if tensors[name].shape != t.shape
    }
    if wrong:
        raise ValueError(f"weights of another shape, (given, expected): {wrong}")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(like(tensors[name], tensor))


def save_weights(model: nn.Module, file: str | Path) -> None:
    """The model's weights as one safetensors file."""
    tensors = {name: tensor.contiguous() for name, tensor in model_tensors(model).items()}
    save_file(tensors, Path(file))


def load_weights(model: nn.Module, path: str | Path, *, ema: bool = False) -> None:
    """Put saved weights into `model`, in place.

    Parameters
    ----------
    path : path
        A safetensors file of :func:`save_weights`, or a checkpoint's folder.
    ema : bool
        The averaged weights of a checkpoint instead of the last ones.

    Raises
    ------
    ValueError
        For weights of another model; for `ema` where none were kept.
    """
    path = Path(path)
    if path.is_file():
        if ema:
            raise ValueError(f"{path.name} is one set of weights; ema=True needs a checkpoint's folder")
        return load_model(model, load_file(path))
    tensors = load_file(path / "model.safetensors")
    if ema:
        if not (path / "ema.safetensors").is_file():
            raise ValueError(f"{path} has no averaged weights: it was trained without TrainConfig(ema=…)")
        tensors |= load_file(path / "ema.safetensors")
    return load_model(model, tensors)


def _own_tensors(model: nn.Module) -> dict[str, Tensor]:
    seen: set[int] = set()
    own = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if not isinstance(tensor, Tensor):
            raise TypeError(
                f"state {name!r} of the model is a {type(tensor).__name__}; only tensors can be saved"
            )
        if id(tensor) not in seen:
            own[name] = tensor
        seen.add(id(tensor))
    return own


# -- optimiser --------------------------------------------------------------------------------------------------


def optimizer_state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """``{"<parameter>.<slot>": value}`` over all parameters that have state."""
    names: dict[Tensor, str] = {p: name for name, p in model.named_parameters()}
    return {
        f"{names[p]}.{slot}": full(value) if isinstance(value, Tensor) else value
        for p, slots in optimizer.state.items()
        for slot, value in slots.items()
    }


def load_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
    """Give an optimiser the state of :func:`optimizer_state`; its hyperparameters stay as they are.

    Raises
    ------
    ValueError
        When the state is that of other parameters.
    """
    names = {p: name for name, p in model.named_parameters()}
    slots: dict[str, dict[str, Any]] = {}
    for key, value in saved.items():
        name, _, slot = key.rpartition(".")
        slots.setdefault(name, {})[slot] = value
    ordered = [p for group in optimizer.param_groups for p in group["params"]]
    if unknown := slots.keys() - {names[p] for p in ordered}:
        raise ValueError(f"optimiser state of other parameters: {sorted(unknown)[:3]}")
    state = {i: _placed(slots[names[p]], p) for i, p in enumerate(ordered) if names[p] in slots}
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _placed(slots: Mapping[str, Any], parameter: Tensor) -> dict[str, Any]:
    return {
        slot: like(v, parameter) if isinstance(v, Tensor) and v.shape == parameter.shape else v
        for slot, v in slots.items()
    }


# -- generators and the caller's own state ------------------------------------------------------------------------


@contextmanager
def own_generators(seed: int, context: Context) -> Iterator[None]:
    """Inside: the process's generators (torch, NumPy, Python) follow from (seed, rank). After: as they were.

    Dropout and other layers draw from them and take no generator, so a reproducible run needs them; the caller's
    stream must not move.
    """
    before = generators(context)
    first, second = np.random.SeedSequence([seed, context.rank]).generate_state(2)
    torch.manual_seed(int(first))
    np.random.seed(int(second))  # noqa: NPY002 (given back below)
    random.seed(int(second))
    try:
        yield
    finally:
        set_generators(before, context)


def generators(context: Context) -> dict[str, Any]:
    """State of the process's own generators."""
    _, keys, *rest = np.random.get_state()  # noqa: NPY002
    state: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "numpy": torch.from_numpy(np.asarray(keys, dtype=np.int64)),
        "numpy_rest": [float(value) for value in rest],
        "python": [*random.getstate()],
    }
    if context.device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(context.device)
    return state


def set_generators(state: Mapping[str, Any], context: Context) -> None:
    """Put back what :func:`generators` gave."""
    torch.set_rng_state(state["torch"])
    position, has_gauss, cached = state["numpy_rest"]
    keys = state["numpy"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", keys, int(position), int(has_gauss), cached))  # noqa: NPY002
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    if "cuda" in state and context.device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], context.device)


def carried(objects: Mapping[str, Any]) -> dict[str, Any]:
    """State of the caller's own objects, as ``{"<name>/<key>": value}``.

    Raises
    ------
    TypeError
        For an object that is neither a generator nor has ``state_dict`` and ``load_state_dict``.
    """
    state: dict[str, Any] = {}
    for name, thing in objects.items():
        if isinstance(thing, torch.Generator):
            entries: Mapping[str, Any] = {"state": thing.get_state()}
        elif isinstance(thing, np.random.Generator):
            entries = {"state": thing.bit_generator.state}
        elif hasattr(thing, "state_dict") and hasattr(thing, "load_state_dict"):
            entries = {key: full(v) if isinstance(v, Tensor) else v for key, v in thing.state_dict().items()}
        else:
            raise TypeError(
                f"state {name!r} is a {type(thing).__name__}; allowed: torch.Generator, numpy Generator, "
                "and objects with state_dict() and load_state_dict()"
            )
        state |= {f"{name}/{key}": value for key, value in entries.items()}
    return state


def load_carried(objects: Mapping[str, Any], saved: Mapping[str, Any]) -> None:
    """Give the caller's objects their state of :func:`carried` back.

    Raises
    ------
    ValueError
        When the checkpoint has no state for one of them.
    """
    for name, thing in objects.items():
        entries = {key.removeprefix(f"{name}/"): v for key, v in saved.items() if key.startswith(f"{name}/")}
        if not entries and carried({name: thing}):
            raise ValueError(f"the checkpoint has no state for {name!r}")
        if isinstance(thing, torch.Generator):
            thing.set_state(entries["state"])
        elif isinstance(thing, np.random.Generator):
            thing.bit_generator.state = entries["state"]
        else:
            thing.load_state_dict(entries)
