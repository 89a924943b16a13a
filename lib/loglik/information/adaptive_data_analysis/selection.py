"""Variable selection with a holdout set: the experiment of the Science companion, and an engine for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loglik.information.adaptive_data_analysis.accounting import Floats, check_count
from loglik.information.adaptive_data_analysis.private import thresholdout

KS = (0, 10, 20, 30, 45, 70, 100, 150, 200, 250, 300, 400, 500)
STANDARD, THRESHOLDOUT = "standard", "Thresholdout"
SIGNAL_VARIABLES = 20
Engine = Literal["columns", "dense"]


class Selection(NamedTuple):
    """Accuracies of classifiers on the k best variables; every field has one entry a (method, k)."""

    method: NDArray[np.str_]
    k: NDArray[np.int64]
    train: Floats
    holdout: Floats  # as reported to the analyst: by Thresholdout for that method
    fresh: Floats
    selected: NDArray[np.int64]  # variables that passed the holdout check


def ranked(train: Floats, holdout: Floats, n: int) -> NDArray[np.int64]:
    """Variables whose two correlations pass 1/√n with one sign, by ``|training correlation|``, largest first."""
    edge = n**-0.5
    keep = ((train > edge) & (holdout > edge)) | ((train < -edge) & (holdout < -edge))
    chosen = np.flatnonzero(keep)
    return chosen[np.argsort(-np.abs(train[chosen]), kind="stable")]


def variable_selection_experiment(
    n: int,
    d: int,
    ks: Sequence[int] = KS,
    signal: bool = False,
    rng: np.random.Generator | None = None,
    engine: Engine = "columns",
    *,
    threshold: float | None = None,
    sigma: float | None = None,
    protect_selection: bool = True,
) -> Selection:
    """One repetition: pick variables by training and holdout correlation, classify, report accuracies.

    Parameters
    ----------
    n, d : int
        Rows of each of the three sets (training, holdout, fresh), and variables.
    ks : sequence of int
        Sizes of the classifier, sign of the sum of the k best variables with the signs of their training
        correlations; variables beyond the selected ones have weight 0. With none the accuracy is one half.
    signal : bool
        Add 6/√n times the label to the first 20 variables. Otherwise all variables are noise.
    rng : numpy.random.Generator
    engine : {"columns", "dense"}
        ``dense`` draws the three n × d tables: O(nd). ``columns`` draws the d correlations, selects, and
        draws only the sums of columns that a classifier meets: O(d + n · number of ks), equal in law.
    threshold, sigma : float, optional
        Of Thresholdout's experiment form; default 4/√n and 1/√n.
    protect_selection : bool
        False applies Thresholdout to the final accuracies alone, a mistake that leaves the bias in.

    Notes
    -----
    Columns are independent given the label y, and a column x with correlation a = xᵀy/n is
    a·y + (I − yyᵀ/n)z with z standard normal and independent of a. So a signed sum of columns, chosen by
    their correlations, is (Σ s a)·y + (I − yyᵀ/n)·√count·z with one z. Multiplied by y row by row, y drops
    out.
    """
    if rng is None:
        raise TypeError("rng is needed: a numpy.random.Generator")
    if engine not in get_args(Engine):
        raise ValueError(f"engine must be one of {', '.join(get_args(Engine))}, got {engine!r}")
    check_count(n, "n", 2), check_count(d, "d", SIGNAL_VARIABLES if signal else 1)
    sizes = np.unique([check_count(k, "every k", 0) for k in ks])
    shift = np.zeros(d)
    shift[: SIGNAL_VARIABLES if signal else 0] = 6 / np.sqrt(n)
    draw, noise = rng.spawn(2)
    tables = None
    if engine == "dense":  # with y folded into the rows: y·x is standard normal plus the shift
        tables = draw.normal(size=(3, n, d)) + shift
        correlations = tables.mean(axis=1)
    else:
        correlations = shift + draw.normal(size=(3, d)) / np.sqrt(n)
    T, s = (4 / np.sqrt(n) if threshold is None else threshold), (n**-0.5 if sigma is None else sigma)
    seen = (
        thresholdout(correlations[0], correlations[1], T, s, noise) if protect_selection else correlations[1]
    )
    orders = [ranked(correlations[0], correlations[1], n), ranked(correlations[0], seen, n)]
    signs = np.sign(correlations[0])
    if tables is not None:
        margins = [tables @ _weights(order, signs, sizes) for order in orders]
    else:
        margins = _margins_by_sums(orders, signs, correlations, sizes, n, draw)
    accuracy = np.stack([_accuracy(margin) for margin in margins])  # (method, set, k)
    accuracy[1, 1] = thresholdout(accuracy[1, 0], accuracy[1, 1], T, s, noise)
    return _report(accuracy, sizes, orders)


def _report(accuracy: Floats, sizes: NDArray[np.int64], orders: list[NDArray[np.int64]]) -> Selection:
    return Selection(
        method=np.repeat([STANDARD, THRESHOLDOUT], len(sizes)),
        k=np.tile(sizes, 2),
        train=accuracy[:, 0].ravel(),
        holdout=accuracy[:, 1].ravel(),
        fresh=accuracy[:, 2].ravel(),
        selected=np.repeat([len(order) for order in orders], len(sizes)),
    )


def _weights(order: NDArray[np.int64], signs: Floats, sizes: NDArray[np.int64]) -> Floats:
    """Weights of the classifiers, shape (d, k)."""
    rank = np.full(len(signs), np.iinfo(np.int64).max)
    rank[order] = np.arange(len(order))
    return np.asarray(signs[:, None] * (rank[:, None] < sizes), dtype=float)


def _accuracy(margin: Floats) -> Floats:
    """Share of rows with a positive margin over the rows, shape (set, k); a margin of 0 is half right."""
    return np.asarray(((np.sign(margin) + 1) / 2).mean(axis=1))


def _margins_by_sums(
    orders: list[NDArray[np.int64]],
    signs: Floats,
    correlations: Floats,
    sizes: NDArray[np.int64],
    n: int,
    rng: np.random.Generator,
) -> list[Floats]:
    """Margins (set, n, k) of both methods, from one normal vector for each group of columns.

    A group has the columns that enter both methods' classifiers at the same sizes: they are never told
    apart, so their signed sum is all that is needed.
    """
    entry = np.full((2, len(signs)), len(sizes))  # index of the first size that uses a column
    for method, order in enumerate(orders):
        entry[method, order] = np.searchsorted(sizes, np.arange(len(order)), side="right")
    used = np.flatnonzero((entry < len(sizes)).any(axis=0))
    groups, member, count = np.unique(entry[:, used], axis=1, return_inverse=True, return_counts=True)
    pull = np.stack(
        [np.bincount(member, signs[used] * a[used], len(count)) for a in correlations]
    )  # (set, group)
    z = rng.normal(size=(3, n, len(count)))
    sums = pull[:, None, :] + np.sqrt(count) * (z - z.mean(axis=1, keepdims=True))
    return [sums @ (groups[method][:, None] <= np.arange(len(sizes))).astype(float) for method in (0, 1)]


def holdout_on_table(X: ArrayLike, y: ArrayLike, ks: Sequence[int], rng: np.random.Generator) -> Selection:
    """The same analysis on a real table: a random split into three equal parts.

    Parameters
    ----------
    X : array_like of shape (rows, d)
        Standardised here by the training part.
    y : array_like of shape (rows,)
        Labels ±1.
    ks : sequence of int
    rng : numpy.random.Generator
    """
    table, label = np.asarray(X, dtype=float), np.asarray(y, dtype=float)
    if table.ndim != 2 or label.shape != (len(table),) or not np.isin(label, (-1.0, 1.0)).all():
        raise ValueError(f"X must be (rows, d) and y its labels -1 or 1, got {table.shape} and {label.shape}")
    n = len(table) // 3
    split, noise = rng.spawn(2)
    parts = split.permutation(len(table))[: 3 * n].reshape(3, n)
    mean, sd = table[parts[0]].mean(axis=0), table[parts[0]].std(axis=0)
    signed = (table[parts] - mean) / np.where(sd > 0, sd, 1.0) * label[parts][:, :, None]
    correlations = signed.mean(axis=1)
    T, s = 4 / np.sqrt(n), n**-0.5
    sizes = np.unique(list(ks))
    seen = thresholdout(correlations[0], correlations[1], T, s, noise)
    orders = [ranked(correlations[0], correlations[1], n), ranked(correlations[0], seen, n)]
    signs = np.sign(correlations[0])
    accuracy = np.stack([_accuracy(signed @ _weights(order, signs, sizes)) for order in orders])
    accuracy[1, 1] = thresholdout(accuracy[1, 0], accuracy[1, 1], T, s, noise)
    return _report(accuracy, sizes, orders)
