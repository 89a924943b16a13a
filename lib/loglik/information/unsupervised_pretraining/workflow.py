"""Your own table: whether pretraining on rows without labels pays there, and whether one may expect it to."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import FactorAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC, SVR

from loglik.information.unsupervised_pretraining.checks import Floats
from loglik.information.unsupervised_pretraining.datasets import load_images
from loglik.information.unsupervised_pretraining.estimator import TwoPhase
from loglik.information.unsupervised_pretraining.mixture import ClusterMajority
from loglik.information.unsupervised_pretraining.study_digits import mixture_pipeline
from loglik.stats.intervals import Estimate, mean

FACTORS, MIXTURE = "factors + head", "mixture + head"
LINEAR, SVM = "linear, tuned", "support vectors, tuned"
TWO_PHASE, SUPERVISED = (FACTORS, MIXTURE), (LINEAR, SVM)
KINDS, SCALINGS = ("classification", "regression"), ("each", "common")
FLOOR = 0.01  # least noise variance of a scaled column
FEW_VALUES = 20  # whole-number targets with at most so many values are classes
RIDGES = np.geomspace(1e-3, 1e3, 13)


class Table(NamedTuple):
    """The reader's rows."""

    X: Floats  # (n, d) labelled rows
    y: Any  # (n,) classes or numbers
    X_unlab: Floats  # (m, d) further rows without labels, possibly none
    kind: str  # "classification" or "regression"
    names: tuple[str, ...]  # (d,) columns


class Scaler(TransformerMixin, BaseEstimator):
    """Centre, and scale to unit variance: each column, or all by one number (columns in one unit: pixels).

    Columns that never vary become 0.
    """

    def __init__(self, scaling: str = "each") -> None:
        self.scaling = scaling

    def fit(self, X: Any, y: Any = None) -> Scaler:
        """Means and scales of the columns of X (n, d)."""
        array = np.asarray(X, dtype=float)
        self.mean_, spread = array.mean(0), array.std(0)
        common = np.full(len(spread), np.sqrt((spread**2).mean()))
        scale = common if self.scaling == "common" else spread
        self.scale_ = np.where(spread > 1e-12, np.maximum(scale, 1e-300), np.inf)
        return self

    def transform(self, X: Any) -> Floats:
        """Scaled columns."""
        return np.asarray((np.asarray(X, dtype=float) - self.mean_) / self.scale_)


class Factors(FactorAnalysis):
    """scikit-learn's factor analysis, each column with its own noise variance, of at least 1 % of a scaled column.

    It starts at the classical noise variances 1/(S⁻¹)ⱼⱼ; from the default start it can stop near a saddle point.
    The likelihood sees rows through their second moments only, so 2d rows that have them stand in for many.
    """

    noise_variance_: Floats

    def __init__(self, n_components: int = 1) -> None:
        super().__init__(n_components, tol=1e-3, max_iter=300, svd_method="lapack")

    def fit(self, X: Any, y: Any = None) -> Factors:
        """Fit on unlabelled rows X (m, d)."""
        rows = np.asarray(X, dtype=float)
        d = rows.shape[1]
        S = np.cov(rows.T, ddof=0) + 1e-8 * np.eye(d)
        self.noise_variance_init = 1 / np.diag(np.linalg.inv(S + FLOOR * np.eye(d)))
        half = np.sqrt(d) * np.linalg.cholesky(S).T
        with warnings.catch_warnings():  # a capped fit is judged by held-out likelihood like any other
            warnings.simplefilter("ignore", ConvergenceWarning)
            super().fit(np.concatenate([half, -half]))
        self.mean_ = rows.mean(0)
        self.noise_variance_ = np.maximum(self.noise_variance_, FLOOR)
        return self


class Sizes(NamedTuple):
    """Sizes of the latent models, chosen by held-out likelihood."""

    factors: int
    clusters: int
    curve: pd.DataFrame  # columns model, size, log_likelihood (nats a row, held out)
    scaling: str  # of the columns, "each" or "common"


def read_tables(
    data: str,
    target: str,
    unlabelled: str | None = None,
    features: Sequence[str] | None = None,
    kind: str | None = None,
    labelled_digits: int = 500,
    seed: int = 0,
) -> Table:
    """Read labelled rows and, if there are any, further rows without labels.

    Parameters
    ----------
    data : str
        Path or URL of a CSV, or ``"digits"`` for scikit-learn's digits, of which `labelled_digits` keep their
        labels. Rows with an empty target join the unlabelled ones; rows with an empty feature are left out.
    target : str
        Column to predict.
    unlabelled : str, optional
        A second CSV with the same features.
    features : sequence of str, optional
        Columns to use, by default all others. Text columns become dummies.
    kind : {"classification", "regression"}, optional
        By default classes for text, and for whole numbers of at most 20 values.

    Raises
    ------
    ValueError
        For unknown columns or kinds, features that the second file lacks, or too few labelled rows.
    """
    if kind is not None and kind not in KINDS:
        raise ValueError(f"kind must be one of {KINDS} or empty, got {kind!r}")
    if data == "digits":
        images = load_images()
        order = np.random.default_rng(seed).permutation(len(images.X))
        lit, dark = order[:labelled_digits], order[labelled_digits:]
        names = tuple(f"pixel {at}" for at in range(images.X.shape[1]))
        return Table(images.X[lit], images.y[lit], images.X[dark], "classification", names)
    table = pd.read_csv(data)
    unknown = [c for c in (target, *(features or ())) if c not in table]
    if unknown:
        raise ValueError(f"{data} has no column {unknown}; it has {list(table.columns)}")
    chosen = list(features) if features else [str(c) for c in table if c != target]
    extra = _read_extra(unlabelled, chosen)
    rows = pd.concat([table[chosen], extra], ignore_index=True)
    whole = rows.notna().all(axis=1).to_numpy()
    X = pd.get_dummies(rows, drop_first=True, dtype=float).astype(float)
    lit = np.zeros(len(rows), dtype=bool)
    lit[: len(table)] = table[target].notna().to_numpy()
    y = table[target][(lit & whole)[: len(table)]]
    if X.shape[1] < 2:
        raise ValueError(f"a latent model needs at least 2 features, got {list(X.columns)}")
    if len(y) < 20:
        raise ValueError(f"{len(y)} rows of {data} have a target and all features; at least 20 are needed")
    kind = kind or ("classification" if _looks_like_classes(y) else "regression")
    values = y.to_numpy() if kind == "classification" else y.to_numpy(dtype=float)
    array = X.to_numpy(dtype=float)
    return Table(array[lit & whole], values, array[~lit & whole], kind, tuple(map(str, X.columns)))


def _read_extra(path: str | None, columns: list[str]) -> pd.DataFrame:
    if path is None:
        return pd.DataFrame(columns=columns).astype(float)[:0]
    extra = pd.read_csv(path)
    missing = [c for c in columns if c not in extra]
    if missing:
        raise ValueError(f"{path} lacks the features {missing}; it has {list(extra.columns)}")
    return extra[columns]


def _looks_like_classes(y: pd.Series) -> bool:
    if not pd.api.types.is_numeric_dtype(y):
        return True
    return bool((y == y.round()).all() and y.nunique() <= FEW_VALUES)


def label_counts(table: Table, counts: Sequence[int] | None, test_share: float) -> list[int]:
    """Label counts that can be compared: those given, or a few steps up to all training rows.

    Raises
    ------
    ValueError
        For counts below 10 or above the labelled training rows.
    """
    largest = len(table.y) - round(test_share * len(table.y))
    if counts is None:
        steps = [n for n in (20, 50, 100, 200, 500, 1000) if n < 0.8 * largest]
        return [*steps[:4], largest]
    wrong = [n for n in counts if not 10 <= n <= largest]
    if wrong:
        raise ValueError(
            f"label counts must lie between 10 and {largest} (labelled training rows), got {wrong}"
        )
    return sorted(counts)


def choose_sizes(X: Floats, random_state: int, largest: int = 30, scaling: str = "each") -> Sizes:
    """Numbers of factors and of clusters by held-out likelihood (half of the rows fit, half judge).

    The smallest size within one standard error of the best is taken.

    Beside them, `curve` has a single normal with full (shrunk) covariance and one with none, for scale.
    """
    if scaling not in SCALINGS:
        raise ValueError(f"scaling must be one of {SCALINGS}, got {scaling!r}")
    rows = np.random.default_rng(random_state).permutation(len(X))
    scaled = Scaler(scaling).fit(X).transform(X)[rows]
    fit, held = scaled[: len(X) // 2], scaled[len(X) // 2 :]
    d = X.shape[1]
    components = principal_components(d, len(fit))
    levels: dict[tuple[str, int], Floats] = {
        ("factors", k): Factors(k).fit(fit).score_samples(held)
        for k in (1, 2, 3, 5, 8, 12, 20, 30)
        if k <= min(largest, max(d // 2, 1))
    }
    for K in (1, 2, 5, 10, 20, 30):
        if largest >= K and len(fit) >= 5 * K:
            mixture = mixture_pipeline(K, components, random_state).fit(fit)
            levels["clusters", K] = np.asarray(mixture.score_samples(held))
    found = [(*name, float(level.mean())) for name, level in levels.items()]
    found.append(("no latent variable", 0, _independent(fit, held)))
    found.append(("full covariance", d, float(LedoitWolf().fit(fit).score(held))))
    curve = pd.DataFrame(found, columns=["model", "size", "log_likelihood"])
    return Sizes(_smallest(levels, "factors"), max(_smallest(levels, "clusters"), 2), curve, scaling)


def _smallest(levels: dict[tuple[str, int], Floats], model: str) -> int:
    """The smallest size whose held-out log-likelihood is within a standard error of the best (row by row)."""
    sizes = {size: level for (name, size), level in levels.items() if name == model}
    if not sizes:
        return 1
    best = max(sizes.values(), key=lambda level: float(level.mean()))
    for size, level in sorted(sizes.items(), key=lambda item: item[0]):
        short = best - level
        if short.mean() <= short.std() / np.sqrt(len(short)):
            return size
    return max(sizes)


def _independent(fit: Floats, held: Floats) -> float:
    """Mean log-likelihood of independent normal columns."""
    variance = np.maximum(fit.var(0), FLOOR)
    gap = (held - fit.mean(0)) ** 2 / variance
    return float(-0.5 * (gap + np.log(2 * np.pi * variance)).sum(1).mean())


def principal_components(d: int, rows: int) -> int:
    """Components that the mixture works on."""
    return max(1, min(20, d, rows // 5))


def models(
    kind: str, sizes: Sizes, d: int, rows: int, random_state: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(two-phase estimators, supervised estimators), all unfitted; scaling is part of each."""
    factors = make_pipeline(Scaler(sizes.scaling), Factors(sizes.factors))
    mixture = make_pipeline(
        Scaler(sizes.scaling), mixture_pipeline(sizes.clusters, principal_components(d, rows), random_state)
    )
    folds = KFold(3, shuffle=True, random_state=random_state)
    if kind == "classification":
        linear = GridSearchCV(LogisticRegression(max_iter=500), {"C": [1.0, 0.1, 0.01, 10.0]}, cv=folds)
        vectors = GridSearchCV(SVC(), {"C": [1.0, 10.0], "gamma": ["scale", 0.3 / d]}, cv=folds)
        heads = clone(linear), ClusterMajority(soft=True)
    else:
        linear = RidgeCV(RIDGES)
        vectors = GridSearchCV(SVR(), {"C": [1.0, 10.0], "gamma": ["scale", 0.3 / d]}, cv=folds)
        heads = clone(linear), clone(linear)
    two_phase = {FACTORS: TwoPhase(factors, heads[0]), MIXTURE: TwoPhase(mixture, heads[1])}
    supervised = {LINEAR: linear, SVM: vectors}
    return two_phase, {
        name: make_pipeline(Scaler(sizes.scaling), model) for name, model in supervised.items()
    }


def compare_methods(
    table: Table,
    sizes: Sizes,
    counts: Sequence[int],
    n_splits: int,
    rng: np.random.Generator,
    *,
    test_share: float = 0.3,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> pd.DataFrame:
    """Held-out accuracy (classes) or R² (numbers) by split, n and method.

    In each split a share of the labelled rows is held out. Phase one sees all other rows, without labels;
    phase two and the supervised methods see the labels of n of them. Labelled sets are nested in n.
    """
    rows = []
    held_out = round(test_share * len(table.y))
    for split in progress(range(n_splits)):
        order = rng.permutation(len(table.y))
        test, train = order[:held_out], order[held_out:]
        pool = np.concatenate([table.X[train], table.X_unlab])
        state = int(rng.integers(2**31 - 1))
        two_phase, supervised = models(table.kind, sizes, table.X.shape[1], len(pool), state)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.filterwarnings("ignore", message="The least populated class")
            learnt = {name: clone(model.pretrainer).fit(pool) for name, model in two_phase.items()}
            for n in counts:
                few, y, truth = train[:n], table.y[train[:n]], table.y[test]
                if table.kind == "classification" and len(np.unique(y)) < 2:
                    continue
                for name, model in two_phase.items():
                    head = clone(model.head).fit(learnt[name].transform(table.X[few]), y)
                    score = head.score(learnt[name].transform(table.X[test]), truth)
                    rows.append((split, n, name, float(score)))
                for name, model in supervised.items():
                    rows.append(
                        (split, n, name, float(model.fit(table.X[few], y).score(table.X[test], truth)))
                    )
    return pd.DataFrame(rows, columns=["split", "n", "method", "score"])


def differences(scores: pd.DataFrame, test_share: float) -> pd.DataFrame:
    """Each two-phase method minus the better supervised one at the same n, with 95 % intervals.

    The intervals allow for the overlap of the splits (Nadeau and Bengio). Columns n, method, against,
    difference, low, high, verdict.
    """
    inflate, rows = test_share / (1 - test_share), []
    for n, part in scores.groupby("n"):
        wide = part.set_index(["split", "method"])["score"].unstack()  # noqa: PD010
        best = wide[list(SUPERVISED)].mean().idxmax()
        for method in TWO_PHASE:
            d: Estimate = mean(wide[method] - wide[best], inflate)
            verdict = "pays" if d.low > 0 else "costs" if d.high < 0 else "can't tell"
            rows.append((n, method, best, d.value, d.low, d.high, verdict))
    return pd.DataFrame(rows, columns=["n", "method", "against", "difference", "low", "high", "verdict"])


def predict_unlabelled(
    table: Table, sizes: Sizes, scores: pd.DataFrame, random_state: int
) -> tuple[str, pd.DataFrame]:
    """The best method at the largest label count, and its predictions for the rows without labels.

    The method is fitted again on all labels (and phase one on all rows). Without unlabelled rows the table of
    predictions is empty.
    """
    at_most = scores[scores["n"] == scores["n"].max()]
    best = str(at_most.groupby("method")["score"].mean().sort_values().index[-1])
    pool = np.concatenate([table.X, table.X_unlab])
    two_phase, supervised = models(table.kind, sizes, table.X.shape[1], len(pool), random_state)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        if best in two_phase:
            model = two_phase[best].fit(table.X, table.y, X_unlab=pool)
        else:
            model = supervised[best].fit(table.X, table.y)
    values = model.predict(table.X_unlab) if len(table.X_unlab) else []
    return best, pd.DataFrame({"row": np.arange(len(table.X_unlab)), "prediction": values})
