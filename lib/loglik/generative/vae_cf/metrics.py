"""Recall and NDCG as the paper defines them, over many users at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from loglik.generative.vae_cf.data import Held

Floats = NDArray[np.float64]
METRICS = ("ndcg@100", "recall@20", "recall@50")


def top_k(scores: ArrayLike, k: int) -> NDArray[np.int64]:
    """Columns of the k best scores of each row, best first; of equal scores the lower column first.

    Parameters
    ----------
    scores : array_like, shape (B, I)
        −inf bars an item.
    k : int

    Returns
    -------
    ndarray, shape (B, k)

    Raises
    ------
    ValueError
        For NaN scores, or a k that isn't between 1 and I.
    """
    values = np.asarray(scores)
    if values.ndim != 2 or np.isnan(values).any():
        raise ValueError(f"scores must be a matrix of users by items without NaN, got shape {values.shape}")
    n_items = values.shape[1]
    if not 1 <= k <= n_items:
        raise ValueError(f"k must lie between 1 and the number of items, {n_items}; got {k}")
    threshold = np.partition(values, n_items - k, axis=1)[:, n_items - k, None]
    above, equal = values > threshold, values == threshold
    room = k - above.sum(axis=1, keepdims=True)
    chosen = above | (equal & (equal.cumsum(axis=1) <= room))
    columns = np.nonzero(chosen)[1].reshape(len(values), k)
    order = np.argsort(-np.take_along_axis(values, columns, axis=1), axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1)


def ndcg_at_k(scores: ArrayLike, target: Any, k: int) -> Floats:
    """Normalised discounted cumulative gain, the ideal cut at ``min(k, |I_u|)``.

    Parameters
    ----------
    scores : array_like, shape (B, I)
        −inf on fold-in items.
    target : sparse matrix or array, shape (B, I)
        Non-zero where an item is relevant.
    k : int

    Returns
    -------
    ndarray, shape (B,)
        NaN for a user without targets, never a silent 0.

    Raises
    ------
    ValueError
        For shapes that differ, NaN scores, or ``k > I``.
    """
    hits, n_target = _hits(scores, target, k)
    return _ndcg(hits, n_target, k)


def recall_at_k(scores: ArrayLike, target: Any, k: int) -> Floats:
    """Share of the targets among the first k, over ``min(k, |I_u|)``: a perfect ranking has 1.

    Parameters, returns and errors as :func:`ndcg_at_k`.
    """
    hits, n_target = _hits(scores, target, k)
    return _recall(hits, n_target, k)


def evaluate(
    predict: Callable[[sparse.csr_matrix], Any],
    held: Held,
    metrics: Sequence[str] = METRICS,
    block: int = 1000,
) -> pd.DataFrame:
    """Metrics of every held-out user.

    Parameters
    ----------
    predict : callable
        Scores (B, I) for fold-in rows (B, I); what was seen is barred here, whatever it says.
    held : Held
    metrics : sequence of str
        Such as ``"ndcg@100"``. A k beyond the catalogue is cut to it.
    block : int
        Users scored at once.

    Returns
    -------
    DataFrame
        A row a user: user, n_fold_in, and a column a metric.

    Raises
    ------
    ValueError
        For an unknown metric, shapes that differ, or targets that overlap the fold-in.
    """
    if held.fold_in.shape != held.target.shape:
        raise ValueError(f"fold-in has shape {held.fold_in.shape}, target {held.target.shape}")
    if held.fold_in.multiply(held.target).nnz:
        raise ValueError("some targets are in the fold-in: a target must not be an input")
    wanted = [_parse(name, held.target.shape[1]) for name in metrics]
    deepest = max(k for _, k in wanted)
    found: list[Floats] = []
    for start in range(0, held.fold_in.shape[0], block):
        seen, target = held.fold_in[start : start + block], held.target[start : start + block]
        hits, n_target = _hits(mask_seen(predict(seen), seen), target, deepest)
        found.append(np.column_stack([measure(hits[:, :k], n_target, k) for measure, k in wanted]))
    table = pd.DataFrame(np.concatenate(found), columns=list(metrics))
    table.insert(0, "n_fold_in", np.diff(held.fold_in.indptr))
    table.insert(0, "user", held.users)
    return table


def mask_seen(scores: Any, seen: sparse.csr_matrix) -> NDArray[Any]:
    """A copy of the scores, shape (B, I), with −inf on what was seen."""
    barred = np.array(scores, copy=True)
    barred[seen.nonzero()] = -np.inf
    return barred


def _parse(name: str, n_items: int) -> tuple[Callable[[NDArray[np.bool_], Floats, int], Floats], int]:
    kind, _, k = name.partition("@")
    if kind not in ("ndcg", "recall") or not k.isdigit() or int(k) < 1:
        raise ValueError(f"unknown metric {name!r}; allowed: ndcg@k and recall@k with a whole k from 1")
    return (_ndcg if kind == "ndcg" else _recall), min(int(k), n_items)


def _hits(scores: ArrayLike, target: Any, k: int) -> tuple[NDArray[np.bool_], Floats]:
    values = np.asarray(scores)
    relevant = sparse.csr_matrix(target)
    if values.shape != relevant.shape:
        raise ValueError(f"scores have shape {values.shape}, targets {relevant.shape}")
    best = top_k(values, k)
    is_target = (relevant != 0).toarray()
    return np.take_along_axis(is_target, best, axis=1), is_target.sum(axis=1).astype(float)


def _ndcg(hits: NDArray[np.bool_], n_target: Floats, k: int) -> Floats:
    discount = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.concatenate([[np.nan], discount.cumsum()])
    return (hits @ discount) / ideal[np.minimum(n_target, k).astype(int)]


def _recall(hits: NDArray[np.bool_], n_target: Floats, k: int) -> Floats:
    return hits.sum(axis=1) / np.where(n_target > 0, np.minimum(n_target, k), np.nan)
