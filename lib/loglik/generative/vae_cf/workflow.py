"""What the reader's own clicks go through: reading, checks, an honest comparison, ranked recommendations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from loglik.generative.vae_cf.data import Split, binarize_interactions
from loglik.generative.vae_cf.metrics import METRICS, mask_seen, top_k
from loglik.generative.vae_cf.movielens import find_movielens_100k, load_movielens, movie_titles
from loglik.generative.vae_cf.simulate import simulate_clicks
from loglik.generative.vae_cf.study import paired
from loglik.generative.vae_cf.training import Model


@dataclass(frozen=True)
class Source:
    """Clicks and where they come from.

    Attributes
    ----------
    table : DataFrame
        Columns user and item.
    name : str
        For a reader: which data this run used.
    real : bool
        False for simulated clicks.
    titles : dict
        Item id to a name; may be empty.
    """

    table: pd.DataFrame
    name: str
    real: bool
    titles: Mapping[Any, str]


def read_clicks(
    data: str,
    user: str = "user",
    item: str = "item",
    rating: str | None = None,
    threshold: float = 3.5,
    min_user_count: int = 5,
    n_simulated: int = 1000,
) -> Source:
    """The reader's CSV; without one MovieLens-100K, and where that is missing, simulated clicks.

    Parameters
    ----------
    data : str
        Path of a CSV, or an empty string.
    user, item, rating, threshold, min_user_count
        As in :func:`~loglik.generative.vae_cf.binarize_interactions`; for a CSV only.
    n_simulated : int
        Users to simulate.

    Raises
    ------
    FileNotFoundError
        For a path without a file.
    ValueError
        As :func:`~loglik.generative.vae_cf.binarize_interactions`.
    """
    if data:
        if not Path(data).is_file():
            raise FileNotFoundError(f"no file {data}; give the path of a CSV with a user and an item column")
        table = binarize_interactions(pd.read_csv(data), user, item, rating, threshold, min_user_count)
        return Source(table, Path(data).name, True, {})
    if find_movielens_100k() is not None:
        return Source(load_movielens(), "MovieLens-100K (ratings of 4 and 5)", True, movie_titles())
    made = simulate_clicks(n_simulated, 600, median=25, limits=(5, 120), seed=0).table
    return Source(made, f"{n_simulated} simulated users (MovieLens-100K: make optional)", False, {})


def check_assumptions(source: Source) -> pd.DataFrame:
    """What the method supposes of clicks, checked on these: a row an assumption with what to do if it fails."""
    per_user = source.table.groupby("user").size()
    per_item = source.table.groupby("item").size().sort_values(ascending=False)
    n_users, n_items = len(per_user), len(per_item)
    head = float(per_item.head(max(1, n_items // 10)).sum() / per_item.sum())
    rare = float((per_item < 3).mean())
    rows = [
        (
            "enough users to train networks on",
            f"{n_users:,} users",
            n_users >= 5000,
            "expect EASE to win or tie; take the shallow network (hidden of length 0)",
        ),
        (
            "users with enough clicks to read a taste off",
            f"median {per_user.median():.0f} a user",
            per_user.median() >= 10,
            "recommendations lean on popularity; the VAE's prior matters more",
        ),
        (
            "few items that hardly anybody has",
            f"{rare:.0%} of {n_items:,} items have fewer than 3 users",
            rare < 0.5,
            "drop rare items (min_item_count): nothing can be learnt of them",
        ),
        (
            "popularity does not decide all",
            f"the top tenth of items has {head:.0%} of clicks",
            head < 0.8,
            "compare with popularity first; it may be enough",
        ),
        (
            "an item-item matrix fits into memory",
            f"EASE needs {n_items**2 * 8 / 1e9:.2f} GB",
            n_items**2 * 8 < 8e9,
            "EASE is out; the networks' memory grows with the items, not with their square",
        ),
    ]
    return pd.DataFrame(rows, columns=["assumption", "here", "holds", "if not"])


def split_sizes(n_users: int, share: float = 0.15, most: int = 10_000) -> int:
    """Held-out users of either kind: a share of all, at most as many as in the paper."""
    return int(min(most, max(2, round(share * n_users))))


def honest_comparison(scores: pd.DataFrame, method: str, rng: np.random.Generator) -> pd.DataFrame:
    """`method` against every other, paired by user, with a verdict in words.

    Parameters
    ----------
    scores : DataFrame
        As :class:`~loglik.generative.vae_cf.study.Results` has them.
    method : str
    rng : numpy.random.Generator
    """
    rows = []
    for baseline in scores["method"].unique():
        if baseline == method:
            continue
        for metric in METRICS:
            found = paired(scores, method, baseline, rng, metric)
            word = "better" if found.low > 0 else "worse" if found.high < 0 else "can't tell"
            rows.append((baseline, metric, found.value, found.low, found.high, word))
    return pd.DataFrame(rows, columns=["against", "metric", "difference", "low", "high", method])


def recommend(
    model: Model,
    fold_in: sparse.csr_matrix,
    users: NDArray[Any],
    items: pd.Index,
    k: int,
    titles: Mapping[Any, str] | None = None,
) -> pd.DataFrame:
    """The k best new items of every user, best first.

    Parameters
    ----------
    model : MultVAE or MultDAE
    fold_in : csr_matrix, shape (B, I)
    users : ndarray, shape (B,)
    items : Index, length I
    k : int
    titles : mapping, optional

    Returns
    -------
    DataFrame
        user, rank from 1, item, title (where there are any), score (log-probability under a multinomial model).
    """
    scores = model.predict(fold_in).log_softmax(dim=1).double().cpu().numpy()
    best = top_k(mask_seen(scores, fold_in), k)
    table = pd.DataFrame(
        {
            "user": np.repeat(users, k),
            "rank": np.tile(np.arange(1, k + 1), len(users)),
            "item": items.to_numpy()[best].ravel(),
            "score": np.take_along_axis(scores, best, axis=1).ravel(),
        }
    )
    if titles:
        table.insert(3, "title", table["item"].map(titles))
    return table


def all_rows(split: Split, table: pd.DataFrame) -> tuple[sparse.csr_matrix, NDArray[Any]]:
    """Everything every user has, as rows over the split's items, and the users' ids."""
    known = table[table["item"].isin(split.item_index)]
    codes, users = pd.factorize(known["user"], sort=True)
    columns = split.item_index.get_indexer(pd.Index(known["item"]))
    ones = np.ones(len(known), np.float32)
    matrix = sparse.csr_matrix((ones, (codes, columns)), shape=(len(users), split.n_items))
    return matrix, np.asarray(users)
