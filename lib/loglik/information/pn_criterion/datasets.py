"""The chapter's data: red wine and abalone, committed beside this module with their licence (CC BY 4.0)."""

from __future__ import annotations

from importlib import resources
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

UCI = {"wine": 186, "abalone": 1}
UCI_URL = "https://archive.ics.uci.edu/static/public/{id}/data.csv"
OFFLINE = "load_wine() and load_abalone() need no network"
BINARY_WINE = (0, 1, 2, 3, 4, 6, 9, 10)  # the eight features of the pairwise model
TRANSFORMS = ("none", "log")


def _table(name: str) -> pd.DataFrame:
    with resources.files(__package__).joinpath(name).open(encoding="utf-8") as file:
        return pd.read_csv(file, comment="#")


def load_wine() -> pd.DataFrame:
    """Red "vinho verde" (Cortez et al. 2009): 1599 wines, 11 physico-chemical features; UCI, CC BY 4.0.

    Examples
    --------
    >>> load_wine().shape
    (1599, 11)
    """
    return _table("wine.csv")


def load_abalone() -> pd.DataFrame:
    """Abalone (Nash et al. 1994): 4172 animals, sex and 7 measurements; UCI, CC BY 4.0.

    Two rows with height 0 are dropped, and three of UCI's 4177 rows are not in the file.

    Examples
    --------
    >>> load_abalone().shape
    (4172, 8)
    """
    table = _table("abalone.csv")
    return table[table["height"] > 0].reset_index(drop=True)


def abalone_shape(table: pd.DataFrame | None = None) -> pd.DataFrame:
    """Six features of size and shape: the log of the length, and five logs of ratios.

    The seven measurements are nearly one number (size); their ratios are not, so interactions can be fitted.
    """
    t = load_abalone() if table is None else table
    return pd.DataFrame(
        {
            "log length": np.log(t["length"]),
            "log diameter/length": np.log(t["diameter"] / t["length"]),
            "log height/length": np.log(t["height"] / t["length"]),
            "log whole/length³": np.log(t["whole_weight"] / t["length"] ** 3),
            "log shucked/whole": np.log(t["shucked_weight"] / t["whole_weight"]),
            "log shell/whole": np.log(t["shell_weight"] / t["whole_weight"]),
        }
    )


def fetch_uci(name: str) -> pd.DataFrame:
    """The full original table from UCI: ``wine`` (red and white, with grades) or ``abalone`` (4177 rows, with rings).

    Raises
    ------
    ValueError
        For another name.
    OSError
        Without a network; names the offline alternative.
    """
    if name not in UCI:
        raise ValueError(f"fetch_uci knows {', '.join(UCI)}, got {name!r}")
    url = UCI_URL.format(id=UCI[name])
    try:
        return pd.read_csv(url)
    except OSError as error:
        raise OSError(f"could not download {url} ({error}); offline, {OFFLINE}") from error


def transform(table: pd.DataFrame, how: str = "log") -> pd.DataFrame:
    """Logarithms of every column, or nothing; a column with zeros gets 0.01 added first.

    Raises
    ------
    ValueError
        For negative values under ``log``, or an unknown transform.
    """
    if how not in TRANSFORMS:
        raise ValueError(f"transform must be one of {', '.join(TRANSFORMS)}, got {how!r}")
    if how == "none":
        return table
    if not (table >= 0).all().all():
        raise ValueError(f"logarithms need values of at least 0; below is {table.min().idxmin()!r}")
    shifted: Any = table + 0.01 * (table == 0).any()
    return np.log(shifted)


def quantile_codes(table: pd.DataFrame | ArrayLike, levels: int = 3) -> NDArray[np.int64]:
    """Codes 0..levels−1 of every column, cut at its own quantiles, shape (n, columns).

    Ties at a cut make the classes only nearly equal in size.

    Raises
    ------
    ValueError
        For fewer than 2 levels, or a column that does not reach all of them.
    """
    values = np.asarray(table, dtype=float)
    if levels < 2 or values.ndim != 2 or not np.isfinite(values).all():
        raise ValueError(
            f"quantile_codes needs levels >= 2 and a finite table, got {levels} and shape {values.shape}"
        )
    cuts = np.quantile(values, np.arange(1, levels) / levels, axis=0)
    codes = (values[None] > cuts[:, None]).sum(0)
    for column in range(values.shape[1]):
        if len(np.unique(codes[:, column])) < levels:
            raise ValueError(
                f"column {column} has too few values for {levels} classes: ties fill whole classes"
            )
    return codes
