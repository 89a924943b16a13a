"""Which examples make batch k: a pure function of seed and k, so that a run can be resumed, split and audited."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


class Data(Protocol):
    """What :func:`~loglik.train.loop.fit` trains on: a length, and a batch for a vector of indices.

    A tensor, a ``torch.utils.data.TensorDataset`` and the two classes below are such data. ``data[indices]`` is to
    be deterministic: what is random in a batch (noise, augmentation) belongs in the loss function.
    """

    def __len__(self) -> int:
        """How many examples there are."""

    def __getitem__(self, indices: Tensor, /) -> Any:
        """The batch of these examples; `indices` is int64 of shape (batch,)."""


class Columns:
    """Tensors with one row an example, as data whose batches are dictionaries.

    >>> import torch
    >>> data = Columns(x=torch.arange(6).reshape(3, 2), y=torch.tensor([0, 1, 1]))
    >>> data[torch.tensor([2, 0])]["x"].tolist()
    [[4, 5], [0, 1]]
    """

    def __init__(self, **tensors: Tensor) -> None:
        lengths = {name: len(tensor) for name, tensor in tensors.items()}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"columns must have one length each and the same one; got {lengths}")
        self.tensors = tensors
        self.length = next(iter(lengths.values()))

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, indices: Tensor) -> dict[str, Tensor]:
        return {name: tensor[indices] for name, tensor in self.tensors.items()}


class Examples:
    """A sequence of examples, put together by `collate` (padding, say).

    Parameters
    ----------
    items : sequence
        ``items[i]`` is example i.
    collate : callable
        Makes a batch from a list of examples.
    """

    def __init__(self, items: Sequence[Any], collate: Callable[[list[Any]], Any]) -> None:
        self.items, self.collate = items, collate

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, indices: Tensor) -> Any:
        return self.collate([self.items[i] for i in indices.tolist()])


class OrderedSampler:
    """Batch k as a pure function of (seed, k).

    Every epoch is a new permutation of all examples, cut into batches; the last batch of an epoch may be shorter.
    Nothing has to be stored to resume, and :meth:`order` says after the fact what was seen when.

    Parameters
    ----------
    seed : int
    n : int
        Number of examples.
    batch_size : int
        Examples of one optimiser step, over all processes and micro-batches.
    shuffle : bool
        False: the order of the data, in every epoch.
    drop_last : bool
        True: an epoch leaves out what doesn't fill a batch (so all shapes are equal, as ``torch.compile`` likes).

    Raises
    ------
    ValueError
        When an epoch would have no batch.
    """

    def __init__(
        self, seed: int, n: int, batch_size: int, *, shuffle: bool = True, drop_last: bool = False
    ) -> None:
        if n < 1 or batch_size < 1:
            raise ValueError(
                f"need at least one example and a batch of at least one; got {n=}, {batch_size=}"
            )
        if drop_last and batch_size > n:
            raise ValueError(f"drop_last leaves no batch: {n} examples do not fill a batch of {batch_size}")
        self.seed, self.n, self.batch_size = seed, n, batch_size
        self.shuffle, self.drop_last = shuffle, drop_last
        self.batches_per_epoch = n // batch_size if drop_last else -(-n // batch_size)
        self._epoch = (-1, np.empty(0, np.int64))

    def permutation(self, epoch: int) -> NDArray[np.int64]:
        """All example ids in the order of `epoch` (from 0); shape (n,)."""
        if not self.shuffle:
            return np.arange(self.n, dtype=np.int64)
        if self._epoch[0] != epoch:
            rng = np.random.default_rng([self.seed, epoch])
            self._epoch = epoch, rng.permutation(self.n).astype(np.int64)
        return self._epoch[1]

    def batch(self, step: int) -> NDArray[np.int64]:
        """Example ids of optimiser step `step` (from 0)."""
        epoch, k = divmod(step, self.batches_per_epoch)
        return self.permutation(epoch)[k * self.batch_size : (k + 1) * self.batch_size]

    def order(self, steps: int | None = None) -> NDArray[np.int64]:
        """Example ids in training order over the first `steps` steps; default: one epoch."""
        count = self.batches_per_epoch if steps is None else steps
        return np.concatenate([np.empty(0, np.int64), *(self.batch(step) for step in range(count))])

    def fingerprint(self, step: int) -> dict[str, Any]:
        """What must be the same for `step` to mean the same batch; the CRC covers the epoch's permutation."""
        names = ("seed", "n", "batch_size", "shuffle", "drop_last")
        permutation = self.permutation(step // self.batches_per_epoch)
        return {**{name: getattr(self, name) for name in names}, "crc32": zlib.crc32(permutation.tobytes())}


def split(
    indices: NDArray[np.int64], rank: int, world: int, micro_batches: int
) -> list[tuple[NDArray[np.int64], float]]:
    """One process's micro-batches of a step, each with its weight.

    Sizes differ by one example at most. Where there are fewer examples than micro-batches, a process without one
    computes a stand-in of weight 0: every process then takes part in every exchange of gradients.
    """
    mine = np.array_split(indices, world * micro_batches)[rank::world]
    return [(part, 1.0) if len(part) else (indices[:1], 0.0) for part in mine]
