"""Sparse batches: a user's clicks as a bag of items, never a dense row of the whole matrix."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from loglik.generative.vae_cf.data import check_clicks


class Rows(NamedTuple):
    """Clicks of B users, one entry for each."""

    offsets: Tensor  # (B,), where each user's entries begin
    users: Tensor  # (nnz,), row of each entry, users in order
    items: Tensor  # (nnz,), its column
    values: Tensor  # (nnz,)
    n_items: int

    @property
    def n_users(self) -> int:
        """B."""
        return int(self.offsets.numel())

    def dense(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """The batch as a matrix of shape (B, I)."""
        flat = torch.zeros(self.n_users * self.n_items, dtype=dtype, device=self.items.device)
        flat[self.users * self.n_items + self.items] = self.values.to(dtype)
        return flat.view(self.n_users, self.n_items)

    def to(self, device: torch.device) -> Rows:
        """The same rows on another device."""
        offsets, users, items, values = (part.to(device) for part in self[:4])
        return Rows(offsets, users, items, values, self.n_items)

    def unit_values(self) -> Tensor:
        """Entries of ``x / ||x||``, shape (nnz,); a user without clicks has no entry."""
        squares = torch.zeros(self.n_users, dtype=self.values.dtype, device=self.values.device)
        squares.index_add_(0, self.users, self.values.square())
        return self.values / squares.sqrt()[self.users]


class ClickRows:
    """A click matrix as data for :func:`loglik.train.fit`: ``data[indices]`` is a :class:`Rows`.

    Parameters
    ----------
    X : csr_matrix, shape (U, I)
    device : str or torch.device
        Where the whole matrix stays; batches are cut there (10 million clicks are 120 MB).
    """

    def __init__(self, X: Any, device: str | torch.device = "cpu") -> None:
        matrix = check_clicks(X)
        self.n_items = int(matrix.shape[1])
        self.starts = torch.from_numpy(matrix.indptr.astype(np.int64)).to(device)
        self.items = torch.from_numpy(matrix.indices.astype(np.int64)).to(device)
        self.values = torch.from_numpy(matrix.data).to(device)

    def __len__(self) -> int:
        return int(self.starts.numel()) - 1

    def __getitem__(self, indices: Tensor) -> Rows:
        indices = indices.to(self.starts.device)
        first = self.starts[indices]
        counts = self.starts[indices + 1] - first
        offsets = counts.cumsum(0) - counts
        users = torch.arange(len(indices), device=counts.device).repeat_interleave(counts)
        where = torch.arange(len(users), device=counts.device) + (first - offsets)[users]
        return Rows(offsets, users, self.items[where], self.values[where], self.n_items)


def rows_of(x: Any) -> Rows:
    """`x` as :class:`Rows`: a tensor of shape (B, I), a sparse matrix, an array, or rows already.

    Raises
    ------
    ValueError, TypeError
        As :func:`~loglik.generative.vae_cf.data.check_clicks`.
    """
    if isinstance(x, Rows):
        return x
    if not isinstance(x, Tensor):
        data = ClickRows(x)
        return data[torch.arange(len(data))]
    if x.ndim != 2 or not torch.isfinite(x).all() or (x < 0).any():
        raise ValueError(f"clicks must be a matrix of finite numbers from 0, got shape {tuple(x.shape)}")
    users, items = x.nonzero(as_tuple=True)
    counts = torch.bincount(users, minlength=len(x))
    return Rows(counts.cumsum(0) - counts, users, items, x[users, items], x.shape[1])
