"""PRESTO on a reader's own table: reading it, checking the paper's assumptions on it, comparing honestly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import chi2

from loglik.risk.presto.datasets import OrdinalData, load_fair
from loglik.risk.presto.estimator import PrestoClassifier
from loglik.risk.presto.likelihood import Floats, Ints, class_probabilities
from loglik.risk.presto.path import CumulativeLogit, PathSolver
from loglik.risk.presto.study import LOGIT, PO, PRESTO, rare_logit
from loglik.risk.presto.study_data import fair_study
from loglik.stats.paired import compare

ENOUGH_RARE = 10  # rare rows a feature: the usual rule of thumb for plain logistic regression


class Check(NamedTuple):
    """One assumption, looked at in the data."""

    assumption: str
    found: str
    holds: bool
    then: str  # what to do where it doesn't hold


def read_table(
    data: str, target: str, order: Sequence[str] | None = None, features: Sequence[str] | None = None
) -> OrdinalData:
    """Read a CSV with an ordered target.

    Parameters
    ----------
    data : str
        Path or URL of a CSV, or ``"fair"`` for the built-in survey (then the rest is ignored).
    target : str
        Column of the ordered classes.
    order : sequence of str, optional
        Classes from common to rare; by default the sort order of a numeric target.
    features : sequence of str, optional
        Columns to use, by default all others. Text columns become dummies; rows with missing values go.

    Raises
    ------
    ValueError
        For unknown columns, classes missing from `order`, or a text target without `order`.
    """
    if data == "fair":
        return load_fair()
    table = pd.read_csv(data)
    unknown = [c for c in (target, *(features or ())) if c not in table]
    if unknown:
        raise ValueError(f"{data} has no column {unknown}; it has {list(table.columns)}")
    chosen = list(features) if features else [c for c in table if c != target]
    table = table[[*chosen, target]].dropna()
    if order is None and not pd.api.types.is_numeric_dtype(table[target]):
        raise ValueError(
            f"the classes of {target!r} are text: give order, from common to rare; "
            f"they are {sorted(table[target].unique())}"
        )
    labels = [str(c) for c in (order or sorted(table[target].unique()))]
    values = table[target].astype(str)
    strange = sorted(set(values) - set(labels))
    if strange or len(set(labels)) < len(labels):
        raise ValueError(
            f"order must name every class of {target!r} once; got {labels}, not in it: {strange}"
        )
    codes = pd.Categorical(values, categories=labels, ordered=True).codes.astype(np.int64)
    X = pd.get_dummies(table[chosen], drop_first=True, dtype=float).astype(float)
    return OrdinalData(X.reset_index(drop=True), codes, tuple(labels))


def proportional_odds_test(X: Floats, codes: Ints) -> tuple[float, int, float]:
    """Likelihood-ratio test of one weight vector against one for each boundary: (statistic, df, p-value)."""
    K, p = int(codes.max()) + 1, X.shape[1]
    shared = PathSolver(X, codes, K, penalize_first=False)
    free = PathSolver(X, codes, K).path(np.array([1e-7]))
    restricted = shared.model.at(_padded(shared, K, p)).value
    model: CumulativeLogit = shared.model
    psi = np.diff(free.coefs[0] * free.scale, axis=0, prepend=0.0)
    alpha = free.intercepts[0] + free.coefs[0] @ shared.center
    unrestricted = model.at(np.concatenate([alpha, psi.ravel()])).value
    statistic, df = 2 * len(X) * (restricted - unrestricted), (K - 2) * p
    return float(statistic), df, float(chi2.sf(statistic, df))


def _padded(solver: PathSolver, K: int, p: int) -> Floats:
    theta: Floats = np.zeros((K - 1) * (1 + p))
    theta[: len(solver.null)] = solver.null
    return theta


def check_assumptions(data: OrdinalData, model: PrestoClassifier) -> pd.DataFrame:
    """The paper's assumptions, checked on data and a fitted model; one row each (see :class:`Check`)."""
    X, codes = data.X.to_numpy(dtype=float), data.y
    counts, n, p = np.bincount(codes), len(codes), X.shape[1]
    eta = model.intercept_ + X @ model.coef_.T
    crossed = int((class_probabilities(eta) < 0).any(1).sum())
    logit = rare_logit((X - X.mean(0)) / np.where(X.std(0) > 0, X.std(0), 1), codes == codes.max())
    statistic, df, p_value = proportional_odds_test(X, codes)
    flat = bool((np.abs(model.coef_[:-1]) > 1e-12).any())
    biggest = float(np.abs(logit.coef_).max())
    checks = [
        Check(
            "the last class is the rare one",
            f"{counts[-1]} of {n} rows ({counts[-1] / n:.2%}); classes {', '.join(map(str, counts))}",
            bool(counts[-1] == counts.min() and counts[-1] < 0.2 * n),
            "reverse the order, or use another method: nothing is gained for a common class",
        ),
        Check(
            f"too few rare rows for plain logistic regression (under {ENOUGH_RARE} a feature)",
            f"{counts[-1] / p:.1f} rare rows a feature",
            bool(counts[-1] < ENOUGH_RARE * p),
            "logistic regression may do as well: see the comparison",
        ),
        Check(
            "at least 20 rare rows, to choose a penalty and to judge",
            f"{counts[-1]} rare rows",
            bool(counts[-1] >= 20),
            "merge the last two classes, or trust no comparison below",
        ),
        Check(
            "the classes are ordered along the features",
            "some feature acts on a common boundary" if flat else "no feature acts on any common boundary",
            flat,
            "there is nothing to borrow: use penalised logistic regression",
        ),
        Check(
            "boundaries don't cross",
            f"{crossed} of {n} rows have a negative middle probability",
            crossed == 0,
            "the rare probability stays valid; don't read the middle ones of those rows",
        ),
        Check(
            "proportional odds fails (otherwise it is simpler)",
            f"likelihood ratio {statistic:.0f} on {df} degrees of freedom, p = {p_value:.1g}",
            p_value < 0.05,
            "the plain proportional-odds model fits: prefer it",
        ),
        Check(
            "the rare class is not separable",
            f"largest standardised logit weight {biggest:.1f}",
            biggest < 10,
            "logistic regression diverges; PRESTO's penalty keeps it finite",
        ),
    ]
    return pd.DataFrame(checks).set_index("assumption")


def honest_comparison(
    data: OrdinalData,
    n_splits: int,
    *,
    test_share: float = 0.2,
    seed: int | Sequence[int] = 0,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Held-out Brier score and log loss of the rare class: (scores by method, PRESTO's paired differences).

    The 95 % intervals use Nadeau and Bengio's correction for splits that overlap, so they speak of new rows
    from the same source and not of these rows only.
    """
    n_train = round((1 - test_share) * len(data.y))
    table, _ = fair_study(data, n_train, n_splits, seed=seed, progress=progress)
    rows = []
    for metric in ("brier", "log_loss"):
        for baseline in (LOGIT, PO, "logit, L2"):
            found = compare(
                table, PRESTO, baseline, value=metric, unit="split", inflate=test_share / (1 - test_share),
                rng=np.random.default_rng(0),
            )  # fmt: skip
            verdict = "PRESTO better" if found.high < 0 else "PRESTO worse" if found.low > 0 else "can't tell"
            rows.append((metric, f"PRESTO − {baseline}", found.difference, found.low, found.high, verdict))
    differences = pd.DataFrame(rows, columns=["score", "comparison", "difference", "low", "high", "verdict"])
    scores = table.groupby("method")[["brier", "log_loss", "auc", "mean_p"]].mean()
    return scores, differences.set_index(["score", "comparison"])
