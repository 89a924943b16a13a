"""Checkpoints on disk: whole or not there.

A checkpoint is a folder ``step-00000100`` of safetensors and JSON files; nothing is ever pickled. It is written
beside its place, forced to the disk, given a manifest of sizes and SHA-256, and renamed: so whatever happens
(kill, power, full disk), a reader finds the new one whole or the previous one untouched. A checkpoint that was
damaged later is noticed by its manifest, and the one before it is used.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from loglik.train.context import Context

MANIFEST = "manifest.json"
Bundle = Mapping[str, Any]
"""Named values: tensors go into a safetensors file, everything else must be what JSON can hold."""


class CheckpointError(OSError):
    """A checkpoint could not be written, or is damaged."""


def save(
    folder: Path, step: int, shared: Mapping[str, Bundle], own: Bundle, context: Context, *, keep: int = 2
) -> Path:
    """Write the checkpoint of `step` and remove old ones; all processes call this together.

    Parameters
    ----------
    folder : Path
        The run's folder; every process must see the same one.
    step : int
        Steps done.
    shared : mapping of bundles
        What all processes have in common; process 0 writes it, one or two files a bundle.
    own : bundle
        What only this process has (its generators); each process writes its own.
    keep : int
        How many checkpoints to leave, this one included. Older ones go, and so do those of later steps, which
        belong to a future that this run has left.

    Raises
    ------
    CheckpointError
        In every process, when one of them couldn't write. The checkpoints before are untouched.
    """
    work, place = folder / f".step-{step:08d}.part", _place(folder, step)
    bundles = {**(shared if context.is_main else {}), f"rank-{context.rank}": own}

    def make_folder() -> None:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)

    def write_files() -> None:
        for name, bundle in bundles.items():
            _write(work, name, bundle)

    try:
        _together(context, make_folder, only_main=True)
        _together(context, write_files)
        _together(context, lambda: _publish(work, place), only_main=True)
    except CheckpointError as error:
        if context.is_main:
            shutil.rmtree(work, ignore_errors=True)
        raise CheckpointError(f"checkpoint of step {step} not written: {error}") from error
    if context.is_main:
        _prune(folder, step, keep)
    return place


def latest(folder: Path, context: Context) -> Path | None:
    """The newest whole checkpoint in a run's folder, or None where there has never been one.

    A damaged one is passed over with a warning that names it.

    Raises
    ------
    CheckpointError
        When there are checkpoints and all are damaged: starting anew without a word would hide that.
    """
    found = torch.tensor(-1, device=context.device)
    if context.is_main:
        found.fill_(_newest_whole(folder))
    step = int(context.broadcast(found))
    if step == -2:
        raise CheckpointError(f"every checkpoint in {folder} is damaged")
    return None if step == -1 else _place(folder, step)


def locate(path: str | Path, context: Context) -> Path:
    """The checkpoint that `path` means: itself, or the newest whole one of a run's folder.

    Raises
    ------
    FileNotFoundError
        When there is none.
    CheckpointError
        When `path` is itself a checkpoint and damaged.
    """
    path = Path(path)
    if re.fullmatch(r"step-\d+", path.name) and path.is_dir():
        verify(path)
        return path
    found = latest(path, context)
    if found is None:
        raise FileNotFoundError(f"no checkpoint in {path}: give a run's folder or one of its step-… folders")
    return found


def verify(path: Path) -> None:
    """Compare every file with the manifest.

    Raises
    ------
    CheckpointError
        Names the first file that is missing or isn't what was written.
    """
    try:
        files = json.loads((path / MANIFEST).read_text())["files"]
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path.name} has no readable {MANIFEST}: {error}") from error
    for name, expected in files.items():
        file = path / name
        if not file.is_file():
            raise CheckpointError(f"{path.name}: {name} is missing")
        if _facts(file) != expected:
            raise CheckpointError(f"{path.name}: {name} is not what was written")


def read(path: Path, name: str) -> dict[str, Any]:
    """A bundle as it was saved, tensors on the CPU; empty where the checkpoint has none of that name."""
    tensors, facts = path / f"{name}.safetensors", path / f"{name}.json"
    loaded: dict[str, Any] = load_file(tensors) if tensors.is_file() else {}
    return loaded | (json.loads(facts.read_text()) if facts.is_file() else {})


# -- how --------------------------------------------------------------------------------------------------------


def _together(context: Context, work: Callable[[], None], *, only_main: bool = False) -> None:
    """Do `work` and learn whether it went well in every process: an error in one must not leave the rest waiting."""
    error: Exception | None = None
    try:
        if context.is_main or not only_main:
            work()
    except (OSError, SafetensorError) as caught:
        error = caught
    failed = context.all_reduce_sum(torch.tensor(float(error is not None), device=context.device))
    if failed:
        raise CheckpointError(str(error or "another process could not write")) from error


def _write(folder: Path, name: str, bundle: Bundle) -> None:
    tensors = {key: value.contiguous() for key, value in bundle.items() if isinstance(value, Tensor)}
    facts = {key: value for key, value in bundle.items() if key not in tensors}
    if tensors:
        file = folder / f"{name}.safetensors"
        save_file(tensors, file)
        _force_to_disk(file)
    if facts:
        _write_json(folder / f"{name}.json", facts)


def _write_json(file: Path, value: Any) -> None:
    file.write_text(json.dumps(value, indent=1) + "\n")
    _force_to_disk(file)


def _publish(work: Path, place: Path) -> None:
    files = {file.name: _facts(file) for file in sorted(work.iterdir())}
    _write_json(work / MANIFEST, {"format": 1, "files": files})
    _force_to_disk(work)
    if place.exists():  # of an earlier attempt
        _remove(place)
    work.rename(place)
    _force_to_disk(place.parent)


def _facts(file: Path) -> dict[str, Any]:
    with file.open("rb") as stream:
        return {"bytes": file.stat().st_size, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}


def _force_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _place(folder: Path, step: int) -> Path:
    return folder / f"step-{step:08d}"


def steps_saved(folder: Path) -> list[int]:
    """Steps of the checkpoints in a run's folder, ascending; not verified."""
    names = (re.fullmatch(r"step-(\d+)", path.name) for path in folder.glob("step-*"))
    return sorted(int(match[1]) for match in names if match)


def _newest_whole(folder: Path) -> int:
    """Its step; -1 where there is no checkpoint, -2 where none is whole."""
    steps = steps_saved(folder)
    for step in reversed(steps):
        try:
            verify(_place(folder, step))
        except CheckpointError as error:
            warnings.warn(f"damaged checkpoint passed over: {error}", stacklevel=2)
        else:
            return step
    return -2 if steps else -1


def _prune(folder: Path, step: int, keep: int) -> None:
    steps = steps_saved(folder)
    past = [s for s in steps if s <= step]
    for old in (*past[:-keep], *(s for s in steps if s > step)):
        _remove(_place(folder, old))
    for leftover in folder.glob(".step-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _remove(place: Path) -> None:
    """A checkpoint goes as it came, in one rename: half a checkpoint never bears a checkpoint's name."""
    grave = place.with_name(f".{place.name}.old")
    shutil.rmtree(grave, ignore_errors=True)
    place.rename(grave)
    shutil.rmtree(grave, ignore_errors=True)
