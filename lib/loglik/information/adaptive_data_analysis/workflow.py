"""A reader's own data behind a reusable holdout: reading, checking, asking, comparing."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import ks_2samp

from loglik.information.adaptive_data_analysis.accounting import Floats, check_count
from loglik.information.adaptive_data_analysis.holdout import ReusableHoldout
from loglik.information.adaptive_data_analysis.mechanisms import BudgetExhausted
from loglik.information.adaptive_data_analysis.selection import ranked
from loglik.information.adaptive_data_analysis.study import Progress, Seed, repetitions
from loglik.information.adaptive_data_analysis.study_data import load_abalone_sex
from loglik.stats import intervals

CLIP = 3.0  # standard deviations at which a feature is cut off, so that every question has a known range
NAIVE, REUSABLE = "naive holdout", "reusable holdout"


class Sets(NamedTuple):
    """Features (standardised by the training rows, clipped) and ±1 labels of the three sets."""

    names: tuple[str, ...]
    train: Floats  # (n, features + 1), the label in the last column
    holdout: Floats
    fresh: Floats


class Table(NamedTuple):
    """A reader's table as numbers."""

    X: pd.DataFrame
    y: Floats  # ±1
    meaning: str  # what label 1 stands for


def read_table(
    data: str, target: str = "", features: Sequence[str] | None = None, positive: str | None = None
) -> Table:
    """Read a CSV with a target of two classes, or a numeric one that is cut at its median.

    Parameters
    ----------
    data : str
        Path or URL of a CSV, or ``""`` for the abalone example (then the rest is ignored).
    target : str
        Column to predict.
    features : sequence of str, optional
        Default: all other columns. Text becomes dummies; rows with missing values are left out.
    positive : str, optional
        The class that counts as 1; needed for a target that is text with more than two classes.

    Raises
    ------
    ValueError
        For unknown columns or classes, or a target with fewer than two values.
    """
    if not data:
        example = load_abalone_sex()
        return Table(example.X, example.y, "male (of adult abalones)")
    table = pd.read_csv(data)
    unknown = [c for c in (target, *(features or ())) if c not in table]
    if unknown:
        raise ValueError(f"{data} has no column {unknown}; it has {list(table.columns)}")
    chosen = list(features) if features else [c for c in table if c != target]
    table = table[[*chosen, target]].dropna()
    values = table[target]
    if values.nunique() < 2:
        raise ValueError(f"target {target!r} has fewer than two values, so there is nothing to predict")
    if positive is not None or values.nunique() == 2 or not pd.api.types.is_numeric_dtype(values):
        classes = sorted(values.astype(str).unique())
        if positive is None and len(classes) > 2:
            raise ValueError(f"target {target!r} has classes {classes}: say which one is positive")
        one = classes[-1] if positive is None else str(positive)
        if one not in classes:
            raise ValueError(f"positive must be one of {classes}, got {positive!r}")
        y, meaning = np.where(values.astype(str) == one, 1.0, -1.0), f"{target} is {one}"
    else:
        middle = float(values.median())
        y, meaning = np.where(values > middle, 1.0, -1.0), f"{target} above its median {middle:g}"
    X = pd.get_dummies(table[chosen], drop_first=True, dtype=float).astype(float)
    return Table(X.reset_index(drop=True), y, meaning)


def make_sets(
    table: Table, rng: np.random.Generator, *, probes: int = 0, holdout: Table | None = None
) -> Sets:
    """Training, holdout and fresh rows: three random thirds, or the second table split 2 : 1.

    Parameters
    ----------
    table : Table
    rng : numpy.random.Generator
        For the split and the probes.
    probes : int
        Noise features that are added: whatever is reported about them is bias.
    holdout : Table, optional
        A table of its own for holdout and fresh rows, with the same columns.

    Raises
    ------
    ValueError
        If a set would have fewer than 30 rows, or the tables' columns differ.
    """
    check_count(probes, "probes", 0)
    if holdout is not None and list(holdout.X.columns) != list(table.X.columns):
        raise ValueError(
            f"the holdout file's features {list(holdout.X.columns)} differ from {list(table.X.columns)}"
        )
    both = table.X if holdout is None else pd.concat([table.X, holdout.X], ignore_index=True)
    y = table.y if holdout is None else np.concatenate([table.y, holdout.y])
    order = rng.permutation(len(both)) if holdout is None else np.concatenate(
        [np.arange(len(table.X)), len(table.X) + rng.permutation(len(holdout.X))]
    )  # fmt: skip
    first = len(both) // 3 if holdout is None else len(table.X)
    second = 2 * (len(both) // 3) if holdout is None else first + 2 * len(holdout.X) // 3
    if min(first, second - first, len(both) - second) < 30:
        raise ValueError(f"{len(both)} rows are too few for three sets of at least 30")
    X = np.hstack([both.to_numpy(dtype=float), rng.normal(size=(len(both), probes))])[order]
    mean, sd = X[:first].mean(axis=0), X[:first].std(axis=0)
    Z = np.clip((X - mean) / np.where(sd > 0, sd, 1.0), -CLIP, CLIP)
    parts = np.split(np.column_stack([Z, y[order]]), [first, second])
    names = (*map(str, both.columns), *(f"probe {j + 1}" for j in range(probes)))
    return Sets(names, *parts)


# -- questions ------------------------------------------------------------------------------------------------


def feature_values(rows: Floats, j: int) -> Floats:
    """Question "does feature j go with the label?": z_j · y / 3, in [−1, 1]."""
    return np.asarray(rows[:, j] * rows[:, -1] / CLIP)


def right_values(rows: Floats, weights: Floats) -> Floats:
    """Question "is the classifier right?": 1 or 0 a row, one half for a tie."""
    return np.asarray((np.sign(rows[:, :-1] @ weights * rows[:, -1]) + 1) / 2)


def default_threshold(n: int) -> float:
    """T = 4/(3√n): four standard errors of a feature question, which is one third of a standardised product."""
    return 4 / (CLIP * np.sqrt(n))


class Session(NamedTuple):
    """What an analyst heard."""

    transcript: pd.DataFrame  # question, kind, train, answer, paid, fresh
    accuracy: pd.DataFrame  # k, train, reported, fresh
    refused: int  # questions that the holdout would not answer


def naive_session(sets: Sets, ks: Sequence[int]) -> Session:
    """Screen every feature, then report accuracies, on a holdout that answers exactly."""
    train, holdout, fresh = (s[:, :-1].T @ s[:, -1] / len(s) / CLIP for s in sets[1:])
    order = ranked(train * CLIP, holdout * CLIP, len(sets.holdout))
    means = zip(sets.names, train, holdout, fresh, strict=True)
    rows = [_row(f"is {name} useful?", "feature", t, h, f, False) for name, t, h, f in means]
    for k in ks:
        w = _classifier(order, train, k)
        t, h, f = (float(right_values(s, w).mean()) for s in sets[1:])
        rows.append(_row(f"accuracy with {k} features?", "accuracy", t, h, f, False))
    return _session(rows, ks)


def reusable_session(sets: Sets, ks: Sequence[int], holdout: ReusableHoldout) -> Session:
    """The same questions through a :class:`ReusableHoldout`, strongest training features first.

    Features are asked about in batches until too little budget is left for the accuracies; those that were
    not asked about are not used.
    """
    train = sets.train[:, :-1].T @ sets.train[:, -1] / len(sets.train) / CLIP
    fresh = sets.fresh[:, :-1].T @ sets.fresh[:, -1] / len(sets.fresh) / CLIP
    queue, rows, heard = np.argsort(-np.abs(train), kind="stable"), [], np.zeros(len(train))
    for batch in np.array_split(queue, max(1, len(queue) // 50)):
        if holdout.remaining <= len(ks) + len(batch):  # a batch can cost at most one for each question
            break
        answers = holdout.ask_many([lambda r, j=j: feature_values(r, j) for j in batch])  # type: ignore[misc]
        for j, answer in zip(batch, answers, strict=True):
            heard[j] = answer.value
            rows.append(
                _row(f"is {sets.names[j]} useful?", "feature", train[j], answer.value, fresh[j], answer.paid)
            )
    order = ranked(train * CLIP, heard * CLIP, len(sets.holdout))
    for k in ks:
        weights = _classifier(order, train, k)
        on_train, on_fresh = (float(right_values(s, weights).mean()) for s in (sets.train, sets.fresh))
        try:
            answer = holdout.ask(lambda r, w=weights: right_values(r, w))
            value, paid = answer.value, answer.paid
        except BudgetExhausted:
            value, paid = np.nan, False
        rows.append(_row(f"accuracy with {k} features?", "accuracy", on_train, value, on_fresh, paid))
    return _session(rows, ks)


def _classifier(order: np.ndarray, train: Floats, k: int) -> Floats:
    weights = np.zeros(len(train))
    weights[order[:k]] = np.sign(train[order[:k]])
    return weights


def _row(
    question: str, kind: str, train: float, answer: float, fresh: float, paid: bool
) -> dict[str, object]:
    return {
        "question": question,
        "kind": kind,
        "train": train,
        "answer": answer,
        "fresh": fresh,
        "paid": paid,
    }


def _session(rows: list[dict[str, object]], ks: Sequence[int]) -> Session:
    transcript = pd.DataFrame(rows)
    last = transcript[transcript.kind == "accuracy"].reset_index(drop=True)
    accuracy = pd.DataFrame(
        {"k": list(ks), "train": last.train, "reported": last.answer, "fresh": last.fresh}
    )
    return Session(transcript, accuracy, int(transcript.answer.isna().sum()))


def strongest(naive: Session, reusable: Session, number: int = 10) -> pd.DataFrame:
    """The features that look best on the training rows, with what both holdouts and the fresh rows say."""
    both = naive.transcript.drop(columns="paid").merge(
        reusable.transcript[["question", "answer", "paid"]], "left", on="question", suffixes=("", "_reusable")
    )
    features = both[both.kind == "feature"]
    best = features.loc[features.train.abs().sort_values(ascending=False).index[:number]]
    columns = {"train": "training", "answer": NAIVE, "answer_reusable": REUSABLE}
    chosen = best.set_index("question").rename(columns=columns)
    return chosen[["training", NAIVE, REUSABLE, "paid", "fresh"]]


def compare_sessions(
    table: Table,
    ks: Sequence[int],
    splits: int,
    seed: Seed,
    *,
    probes: int = 0,
    budget: int = 200,
    holdout: Table | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Bias of both holdouts over random splits: rep, method, k, reported, fresh, bias. Refused ones are NaN."""
    tables = []
    for rep, rng in repetitions(seed, splits, progress):
        sets = make_sets(table, rng, probes=probes, holdout=holdout)
        with tempfile.TemporaryDirectory() as folder:
            keeper = ReusableHoldout(
                sets.train, sets.holdout, Path(folder, "state.json"), budget=budget,
                threshold=default_threshold(len(sets.holdout)), rng=rng,
            )  # fmt: skip
            sessions = {NAIVE: naive_session(sets, ks), REUSABLE: reusable_session(sets, ks, keeper)}
        tables += [s.accuracy.assign(rep=rep, method=name) for name, s in sessions.items()]
    joined = pd.concat(tables, ignore_index=True)
    return joined.assign(bias=joined.reported - joined.fresh)


def bias_table(sessions: pd.DataFrame, inflate: float = 0.5) -> pd.DataFrame:
    """Mean bias with a 95 % interval that allows for the overlap of the splits: method, k, bias, low, high."""
    rows = []
    for (method, k), part in sessions.dropna().groupby(["method", "k"], sort=False):
        if len(part) > 1:
            found = intervals.mean(part.bias, inflate)
            rows.append(
                (method, k, part.reported.mean(), part.fresh.mean(), found.value, found.low, found.high)
            )
    return pd.DataFrame(rows, columns=["method", "k", "reported", "fresh", "bias", "low", "high"])


# -- assumptions ----------------------------------------------------------------------------------------------


class Check(NamedTuple):
    """One assumption, looked at in the data."""

    assumption: str
    found: str
    holds: bool
    then: str  # what to do where it doesn't hold


def check_assumptions(sets: Sets, budget: int) -> pd.DataFrame:
    """What the theory asks of the rows, the questions and the budget; one row each (see :class:`Check`)."""
    n = len(sets.holdout)
    T = default_threshold(n)
    step = (2 / n) / (T / 16)  # privacy of one release: sensitivity over noise scale
    bound = 2 * min(1.0, float(np.sqrt(2 * budget * step**2 / 4)))  # width 2 times sqrt(rho/2)
    real = [j for j, name in enumerate(sets.names) if not name.startswith("probe ")]
    known = {row.tobytes() for row in np.ascontiguousarray(sets.train[:, [*real, -1]])}
    repeats = sum(row.tobytes() in known for row in np.ascontiguousarray(sets.holdout[:, [*real, -1]]))
    drift = [ks_2samp(sets.train[:, j], sets.holdout[:, j]).pvalue for j in [*real, -1]]
    strongest = float(np.abs(sets.train[:, :-1].T @ sets.train[:, -1]).max() / len(sets.train) / CLIP)
    cut = float((np.abs(sets.train[:, real]) >= CLIP).mean())
    checks = [
        Check("no holdout row repeats a training row", f"{repeats} of {n} do", repeats == 0,
              "remove repeats, or put all rows of one unit into one set"),
        Check("both sets come from one population", f"smallest p {min(drift):.2g} of {len(drift)} two-sample tests",
              bool(min(drift) * len(drift) > 0.01), "differences cost budget; split at random"),
        Check("questions have a bounded range", f"{cut:.2%} of the feature values are cut off, at {CLIP:g} SD",
              cut < 0.02, "transform skewed features first"),
        Check("the tolerance is small enough to be useful", f"T is {T:.3f} with {n} holdout rows", T <= 0.05,
              "more rows: T falls like 1/√n; answers off by up to T are within the contract"),
        Check("there is a signal above the tolerance", f"strongest training association {strongest:.3f}, T is {T:.3f}",
              strongest > T, "weak features pass as training values, uncorrected"),
        Check("the budget is covered by the theorem", f"mean bias at most {bound:.2g} for questions of width 2",
              bound <= 0.2, "the protection is then empirical: compare with fresh rows, as below"),
    ]  # fmt: skip
    return pd.DataFrame(checks)
