"""From a table of interactions to training users and held-out users whose clicks are cut in two."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

Seed = int | Sequence[int]


class Held(NamedTuple):
    """Held-out users: what the model may see of them, and what it is asked for.

    Both matrices are CSR of shape (B, I) with ones, and share no entry. Every user has at least one target.
    """

    fold_in: sparse.csr_matrix
    target: sparse.csr_matrix
    users: NDArray[Any]  # (B,) ids


@dataclass(frozen=True)
class Split:
    """Strong generalisation: no user stands in two parts, and only items of training users exist.

    Attributes
    ----------
    train : csr_matrix, shape (U, I)
    val, test : Held
    item_index : Index
        Item id of each column.
    """

    train: sparse.csr_matrix
    val: Held
    test: Held
    item_index: pd.Index

    @property
    def n_items(self) -> int:
        """Number of columns."""
        return int(self.train.shape[1])


def binarize_interactions(
    df: pd.DataFrame,
    user: str,
    item: str,
    rating: str | None = None,
    threshold: float = 3.5,
    min_user_count: int = 5,
    min_item_count: int = 0,
) -> pd.DataFrame:
    """Clicks from ratings, counts or plain pairs: section 4 of the paper.

    Parameters
    ----------
    df : DataFrame
        One row an interaction.
    user, item : str
        Columns of ids.
    rating : str, optional
        Column of ratings; rows of at most `threshold` are left out. None takes every row.
    threshold : float
    min_user_count, min_item_count : int
        Items with fewer users go first, then users with fewer items; once each, as in the official code
        (MovieLens 5 and 0; Netflix 5 and 0; Million Song Dataset 20 and 200).

    Returns
    -------
    DataFrame
        Columns user and item, without duplicates.

    Raises
    ------
    ValueError
        For a missing column, missing ids, ratings that aren't numbers, or when nothing is left.
    """
    wanted = [user, item] + ([rating] if rating is not None else [])
    missing = [name for name in wanted if name not in df]
    if missing:
        raise ValueError(f"no column {missing[0]!r} in the table; it has {', '.join(map(str, df.columns))}")
    if df[[user, item]].isna().to_numpy().any():
        raise ValueError(f"columns {user!r} and {item!r} must name a user and an item in every row")
    if rating is not None:
        values = pd.to_numeric(df[rating], errors="coerce")
        if values.isna().any():
            raise ValueError(
                f"column {rating!r} must hold numbers; {int(values.isna().sum())} rows do not have one"
            )
        df = df[values > threshold]
    pairs = pd.DataFrame({"user": df[user].to_numpy(), "item": df[item].to_numpy()}).drop_duplicates()
    if min_item_count > 0:
        pairs = pairs[pairs.groupby("item")["user"].transform("size") >= min_item_count]
    pairs = pairs[pairs.groupby("user")["item"].transform("size") >= min_user_count]
    if pairs.empty:
        raise ValueError(
            f"no interaction is left of {len(df)}: no user has {min_user_count} items "
            f"(of items with at least {min_item_count} users)"
        )
    return pairs.reset_index(drop=True)


def strong_generalization_split(
    df: pd.DataFrame, n_val: int, n_test: int, test_prop: float = 0.2, seed: Seed = 98765
) -> Split:
    """Hold out whole users; the catalogue is what the training users clicked.

    Parameters
    ----------
    df : DataFrame
        Columns user and item, as from :func:`binarize_interactions`.
    n_val, n_test : int
        Users held out; those left without a target (fewer than ``1 / test_prop`` items) are dropped.
    test_prop : float
        Of a held-out user's n items, ``floor(test_prop n)`` at random are targets; the rest is fold-in.
    seed : int or sequence of int
        The official seed is 98765 (its generator is NumPy's old one, so its very users are not ours).

    Raises
    ------
    ValueError
        For sizes that leave no training user, or a `test_prop` outside (0, 1).
    """
    rng = np.random.default_rng(seed)
    users = rng.permutation(np.sort(df["user"].unique()))
    if n_val < 1 or n_test < 1 or n_val + n_test >= len(users):
        raise ValueError(
            f"{len(users)} users cannot be cut into {n_val} for validation, {n_test} for test and some to train"
        )
    train, val, test = np.split(users, [len(users) - n_val - n_test, len(users) - n_test])
    return _split(df, train, val, test, test_prop, rng)


def user_kfold(
    df: pd.DataFrame, n_splits: int, n_val: int, seed: Seed, test_prop: float = 0.2
) -> Iterator[Split]:
    """Cross-validation over users: each user is a test user once.

    Parameters
    ----------
    df : DataFrame
        Columns user and item.
    n_splits : int
    n_val : int
        Validation users of each fold, drawn from those that don't test it.
    seed : int or sequence of int
    test_prop : float
        As in :func:`strong_generalization_split`.

    Raises
    ------
    ValueError
        As :func:`strong_generalization_split`, and for fewer than two folds.
    """
    if n_splits < 2:
        raise ValueError(f"cross-validation needs at least 2 folds, got {n_splits}")
    rng = np.random.default_rng(seed)
    users = rng.permutation(np.sort(df["user"].unique()))
    parts = np.array_split(users, n_splits)
    if n_val < 1 or len(users) - len(parts[0]) - n_val < 1:
        raise ValueError(
            f"{len(users)} users in {n_splits} folds leave none to train beside {n_val} for validation"
        )
    for k, child in enumerate(rng.spawn(n_splits)):
        rest = child.permutation(np.concatenate([part for j, part in enumerate(parts) if j != k]))
        yield _split(df, rest[n_val:], rest[:n_val], parts[k], test_prop, child)


def _split(
    df: pd.DataFrame,
    train: NDArray[Any],
    val: NDArray[Any],
    test: NDArray[Any],
    test_prop: float,
    rng: np.random.Generator,
) -> Split:
    if not 0 < test_prop < 1:
        raise ValueError(f"test_prop must lie between 0 and 1, got {test_prop}")
    seen = df[df["user"].isin(train)]
    items = pd.Index(np.sort(seen["item"].unique()), name="item")
    known = df[df["item"].isin(items)]
    return Split(
        _matrix(seen, pd.Index(np.sort(train)), items),
        _held(known, np.sort(val), items, test_prop, rng),
        _held(known, np.sort(test), items, test_prop, rng),
        items,
    )


def _held(
    df: pd.DataFrame, users: NDArray[Any], items: pd.Index, test_prop: float, rng: np.random.Generator
) -> Held:
    """Shuffle once, rank within the user, cut: no loop over users."""
    mine = df[df["user"].isin(users)]
    mine = mine.iloc[rng.permutation(len(mine))]
    by_user = mine.groupby("user", sort=False)["item"]
    n_target = np.floor(test_prop * by_user.transform("size") + 1e-9)
    is_target = by_user.cumcount() < n_target
    kept = pd.Index(np.sort(mine.loc[is_target, "user"].unique()))
    if len(kept) == 0:
        raise ValueError(
            f"none of {len(users)} held-out users has {1 / test_prop:.0f} items of the catalogue"
        )
    mine = mine.assign(target=is_target)[mine["user"].isin(kept)]
    return Held(
        _matrix(mine[~mine["target"]], kept, items),
        _matrix(mine[mine["target"]], kept, items),
        kept.to_numpy(),
    )


def _matrix(df: pd.DataFrame, users: pd.Index, items: pd.Index) -> sparse.csr_matrix:
    rows, columns = users.get_indexer(pd.Index(df["user"])), items.get_indexer(pd.Index(df["item"]))
    ones = np.ones(len(df), np.float32)
    matrix = sparse.csr_matrix((ones, (rows, columns)), shape=(len(users), len(items)))
    matrix.sort_indices()
    return matrix


def check_clicks(X: Any, name: str = "X", n_items: int | None = None) -> sparse.csr_matrix:
    """`X` as CSR in float32, with its entries checked.

    Raises
    ------
    TypeError
        For what isn't a matrix.
    ValueError
        For negative, NaN or infinite entries, or another number of columns than `n_items`.
    """
    if not sparse.issparse(X):
        X = np.asarray(X)
        if X.ndim != 2 or X.dtype.kind not in "biuf":
            raise TypeError(f"{name} must be a matrix of users by items, got {X.dtype} of shape {X.shape}")
    matrix = sparse.csr_matrix(X, dtype=np.float32)
    if not np.isfinite(matrix.data).all() or (matrix.data < 0).any():
        raise ValueError(f"{name} holds negative, NaN or infinite entries; clicks are 0, 1 or counts")
    if n_items is not None and matrix.shape[1] != n_items:
        raise ValueError(f"{name} has {matrix.shape[1]} columns, the model {n_items} items")
    if not matrix.has_canonical_format:
        matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix
