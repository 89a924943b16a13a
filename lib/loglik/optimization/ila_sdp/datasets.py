"""Real tables: three that ship with scikit-learn, any of OpenML, and the reader's CSV."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn import datasets as bundled
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from loglik.optimization.ila_sdp.inputs import Floats, Ints, check_choice

BUNDLED = {"iris": bundled.load_iris, "wine": bundled.load_wine, "breast cancer": bundled.load_breast_cancer}
OFFLINE = f"load_table ships {', '.join(BUNDLED)} and needs no network"


class Table(NamedTuple):
    """Features, and classes where they are known."""

    X: pd.DataFrame  # (n, p) numeric
    labels: Ints | None  # (n,) codes of the classes
    names: tuple[str, ...]  # of the classes


def load_table(name: str) -> Table:
    """A data set that ships with scikit-learn: "iris", "wine" or "breast cancer".

    Raises
    ------
    ValueError
        For another name.
    """
    found = BUNDLED[check_choice(name, "name", tuple(BUNDLED))](as_frame=True)
    return Table(found.data, found.target.to_numpy(int), tuple(map(str, found.target_names)))


def load_openml(name: str, version: int = 1, **options: Any) -> Table:
    """Numeric columns and classes of an OpenML data set, through ``sklearn.datasets.fetch_openml``.

    Raises
    ------
    ConnectionError
        Without a network; names the offline alternative.
    ValueError
        When no column is numeric, or values are missing.
    """
    try:
        found = bundled.fetch_openml(name, version=version, as_frame=True, **options)
    except OSError as error:
        raise ConnectionError(
            f"OpenML's {name!r} couldn't be fetched ({error}); without a network, {OFFLINE}"
        ) from error
    codes, names = (None, ()) if found.target is None else pd.factorize(found.target)
    return Table(_numeric(found.data, f"OpenML's {name}"), codes, tuple(map(str, names)))


def load_csv(path: str | Path, features: Sequence[str] | None = None, truth: str | None = None) -> Table:
    """A table of your own.

    Parameters
    ----------
    path : path
        A CSV with a header.
    features : sequence of str, optional
        Columns to cluster on; all numeric ones but `truth` by default.
    truth : str, optional
        A column with known classes, used only to score the result.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        For missing columns (lists those that there are), columns that aren't numeric, or missing values: names
        the column and the count.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"no file {str(path)!r}; without one, {OFFLINE}")
    table = pd.read_csv(path)
    wanted = [*(features or ()), *([truth] if truth else [])]
    missing = [column for column in wanted if column not in table]
    if missing:
        raise ValueError(f"{Path(path).name} lacks columns {missing}; it has {list(table.columns)}")
    chosen = table[list(features)] if features else table.drop(columns=[truth] if truth else [])
    words = [c for c in chosen.columns if not pd.api.types.is_numeric_dtype(chosen[c])]
    if features and words:
        raise ValueError(f"{Path(path).name}: columns {words} aren't numeric; distances need numbers")
    codes, names = (None, ()) if truth is None else pd.factorize(table[truth], sort=True)
    return Table(_numeric(chosen, Path(path).name), codes, tuple(map(str, names)))


def _numeric(X: pd.DataFrame, where: str) -> pd.DataFrame:
    numbers = X.select_dtypes("number").astype(float)
    if not numbers.shape[1]:
        raise ValueError(f"{where} has no numeric column to cluster on; it has {list(X.columns)}")
    gaps = (~np.isfinite(numbers)).sum()
    if gaps.any():
        found = ", ".join(f"column '{name}': {count}" for name, count in gaps[gaps > 0].items())
        raise ValueError(f"{where} has missing or infinite values ({found}); impute or drop those rows")
    return numbers


def prepare(X: pd.DataFrame, n_components: int | None = None) -> Floats:
    """Standardised columns, or their leading principal components: the same for every method.

    Raises
    ------
    ValueError
        For constant columns (named), which have no scale.
    """
    constant = [str(c) for c in X.columns if X[c].nunique() < 2]
    if constant:
        raise ValueError(f"columns {constant} are constant: they tell no rows apart; leave them out")
    scaled = StandardScaler().fit_transform(X.to_numpy(float))
    if n_components is not None and n_components < scaled.shape[1]:
        scaled = PCA(n_components, svd_solver="full").fit_transform(scaled)
    return np.asarray(scaled)
