r"""Positive parts of symmetric matrices, and of matrices that change little from one call to the next.

Of a matrix :math:`P=Y+U` near a solution a handful of eigenvalues are positive. A full decomposition wastes most
of its work, and half of one still reduces the whole matrix to tridiagonal form. Started anew, a
:class:`Follower` does that; in between it corrects the leading eigenvectors of the call before: three steps of
Chebyshev's recurrence, which shrinks what belongs to negative eigenvalues, then Rayleigh and Ritz. That is a few
products of the matrix with a thin block, for all matrices at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import lapack

from loglik.optimization.ila_sdp.inputs import Floats, Ints

BATCHED_BELOW = 48  # rows; one batched full decomposition is fastest there
PAD = 5  # eigenvectors kept beyond the positive ones, at least: what may turn positive next
WIDTH = 8  # they are kept in multiples of this, so that matrices of one width go through as one stack
DEGREE = 3  # of Chebyshev's polynomial: products with the matrix in a correction, but one
FEW = 0.3  # share of positive eigenvalues above which a full decomposition costs less than half of one
FOLLOWED = 0.4  # share of columns above which correcting them costs more than starting anew

Array = Any  # numpy.ndarray or torch.Tensor


def project_psd(M: Array) -> Array:
    """Positive semidefinite part of symmetric matrices (..., n, n)."""
    if isinstance(M, np.ndarray):
        return Follower(M.reshape(-1, *M.shape[-2:]).shape[0], M.shape[-1]).start(M)
    import torch

    return _from_spectrum(*torch.linalg.eigh(M))


def _from_spectrum(values: Array, vectors: Array) -> Array:
    return (vectors * values.clip(min=0)[..., None, :]) @ vectors.swapaxes(-1, -2)


def spectrum(matrix: Floats, first: int, last: int, *, vectors: bool = True) -> tuple[Floats, Floats]:
    """Eigenvalues number `first` to `last` of a symmetric matrix, counted from 1 upwards, and their vectors.

    LAPACK's routine itself: the checks around it cost as much as the work on small matrices.
    """
    n = len(matrix)
    w, z, found, _, status = lapack.dsyevr(
        matrix.T, vectors, "I", il=first, iu=last, lower=1, lwork=40 * n, liwork=10 * n
    )
    if status:
        w, z = np.linalg.eigh(matrix)
        return w[first - 1 : last], z[:, first - 1 : last]
    return w[:found], z[:, :found]


def _leading(matrix: Floats, columns: int) -> tuple[Floats, Floats]:
    """The largest eigenvalues and their vectors: `columns` of them if that holds all positive ones, else all."""
    n = len(matrix)
    if columns <= FEW * n:
        values, vectors = spectrum(matrix, n - columns + 1, n)
        if values[0] <= 0:
            return values, vectors
    return np.linalg.eigh(matrix)


def _width(rank: Any) -> Any:
    """Columns kept for that many positive eigenvalues."""
    return -(-(rank + PAD) // WIDTH) * WIDTH


class Follower:
    """The positive parts of `count` matrices of n rows, from call to call.

    From 48 rows on; smaller ones are decomposed in one batched call every time.
    """

    def __init__(self, count: int, n: int) -> None:
        self.n, self.ranks = n, np.full(count, n)
        self.bases: list[Floats | None] = [None] * count

    def start(self, M: Floats) -> Floats:
        """Exact positive parts of M (..., n, n); the eigenvectors are kept."""
        if self.n < BATCHED_BELOW:
            return np.asarray(_from_spectrum(*np.linalg.eigh(M)))
        out, stack = np.empty_like(M), M.reshape(-1, self.n, self.n)
        self._decompose(stack, out.reshape(stack.shape), np.arange(len(stack)))
        return out

    def follow(self, M: Floats) -> Floats:
        """Positive parts of matrices close to those of the call before, nearly exact."""
        if self.n < BATCHED_BELOW:
            return self.start(M)
        out, stack = np.empty_like(M), M.reshape(-1, self.n, self.n)
        target = out.reshape(stack.shape)
        near = _width(self.ranks) <= FOLLOWED * self.n
        self._decompose(stack, target, np.flatnonzero(~near))
        self._correct(stack, target, np.flatnonzero(near))
        return out

    def keep(self, rows: Any) -> None:
        """Go on with these matrices only: bool, one a matrix."""
        self.ranks = self.ranks[rows]
        self.bases = [b for b, wanted in zip(self.bases, rows, strict=True) if wanted]

    def _decompose(self, stack: Floats, out: Floats, which: Ints) -> None:
        for i in which:
            values, vectors = _leading(stack[i], _width(int(self.ranks[i])))
            rank = int((values > 0).sum())
            top = vectors[:, len(values) - rank :]
            np.matmul(top * values[len(values) - rank :], top.T, out=out[i])
            self.ranks[i], self.bases[i] = rank, vectors[:, -_width(rank) :]

    def _correct(self, stack: Floats, out: Floats, which: Ints) -> None:
        """In groups of one width, so that a group is one stack."""
        widths = np.array([self.bases[i].shape[1] for i in which])
        for width in np.unique(widths):
            group = which[widths == width]
            basis = np.stack([self.bases[i] for i in group])
            whole = len(group) == len(stack)
            try:
                values, basis = _ritz(stack if whole else stack[group], basis)
            except np.linalg.LinAlgError:  # the columns have become dependent
                self._decompose(stack, out, group)
                continue
            if whole:
                np.matmul(basis * values.clip(min=0)[:, None, :], basis.swapaxes(-1, -2), out=out)
            else:
                out[group] = _from_spectrum(values, basis)
            for i, b, w in zip(group, basis, values, strict=True):
                full = w[1] > 0  # there may be more positive ones than columns: a decomposition comes next
                self.bases[i], self.ranks[i] = b, self.n if full else (w > 0).sum()


def _ritz(S: Floats, V: Floats) -> tuple[Floats, Floats]:
    """Ritz values and vectors of S (g, n, n) in the span of Chebyshev's polynomial of S, times V.

    The polynomial is between -1 and 1 on ``[-size, 0]``, where the negative eigenvalues are, and grows above.
    """
    flat = S.reshape(len(S), 1, -1)
    size = np.sqrt(flat @ flat.swapaxes(-1, -2))
    before, V = V, (2 / size) * (S @ V) + V
    for _ in range(DEGREE - 1):
        before, V = V, (4 / size) * (S @ V) + 2 * V - before
    gram = V.swapaxes(-1, -2) @ V
    lengths = np.sqrt(np.einsum("gjj->gj", gram))
    gram /= lengths[:, :, None] * lengths[:, None, :]
    turn = np.linalg.inv(np.linalg.cholesky(gram)) / lengths[:, None, :]
    small = turn @ (V.swapaxes(-1, -2) @ (S @ V)) @ turn.swapaxes(-1, -2)
    values, vectors = np.linalg.eigh(small)
    return values, V @ (turn.swapaxes(-1, -2) @ vectors)
