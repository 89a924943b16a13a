"""Series to smooth: exchange rates, the Nile, the paper's simulations, and the reader's CSV."""

from __future__ import annotations

import importlib.resources
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loglik.sampling.parisian_particle_gibbs.gaussian import LinearGaussianModel
from loglik.sampling.parisian_particle_gibbs.models import ChaoticRNN

Floats = NDArray[np.float64]
FILE = "gbp_usd_1997_1999.csv"


def gbp_usd() -> pd.Series:
    """750 daily log-returns of pounds per dollar in percent, 1997-01-03 to 1999-12-31, indexed by day.

    The series that the package ``particles`` ships as ``GBP_vs_USD_9798`` (MIT licence; rates by the PACIFIC
    Exchange Rate Service, © W. Antweiler, University of British Columbia). Its name says 1997–98, its dates
    run to the end of 1999. The mean, 0.006, is not removed.
    """
    file = importlib.resources.files("loglik.sampling.parisian_particle_gibbs").joinpath(FILE)
    with file.open(encoding="utf-8") as stream:
        table = pd.read_csv(stream, parse_dates=["date"])
    return table.set_index("date")["log_return_percent"]


def nile() -> pd.Series:
    """Annual flow of the Nile at Aswan in 10⁸ m³, 1871 to 1970, from statsmodels (public domain)."""
    from statsmodels.datasets import nile as data

    table = data.load_pandas().data
    return pd.Series(
        table["volume"].to_numpy(float), pd.Index(table["year"].astype(int), name="year"), name="flow"
    )


def read_series(path: str | Path, column: str | None = None) -> pd.Series:
    """One column of a CSV as a series of finite numbers.

    Parameters
    ----------
    path : str or Path
        File or URL.
    column : str, optional
        None takes the last numeric column.

    Raises
    ------
    FileNotFoundError
        For a path that isn't there.
    ValueError
        For an unknown column, text in it, missing values (with the first row), or fewer than ten rows.
    """
    if "://" not in str(path) and not Path(path).exists():
        raise FileNotFoundError(
            f"no file {path}; give a CSV with one row a time step, or one of: gbp_usd, nile"
        )
    table = pd.read_csv(path)
    numeric = [str(name) for name in table.columns if pd.api.types.is_numeric_dtype(table[name])]
    if column is None and not numeric:
        raise ValueError(f"{path} has no numeric column; it has {', '.join(map(str, table.columns))}")
    name = numeric[-1] if column is None else column
    if name not in table:
        raise ValueError(f"{path} has no column {name!r}; it has {', '.join(map(str, table.columns))}")
    if name not in numeric:
        raise ValueError(f"column {name!r} of {path} is text; it must hold numbers")
    values = table[name].astype(float)
    bad = ~np.isfinite(values.to_numpy())
    if bad.any():
        raise ValueError(
            f"column {name!r} has {int(bad.sum())} missing or infinite values, the first in row "
            f"{int(bad.argmax()) + 1}; fill them or cut the series: a gap would be read as two neighbouring steps"
        )
    if len(values) < 10:
        raise ValueError(f"column {name!r} has {len(values)} rows; a state-space model needs at least 10")
    return values.rename(name)


def rotating_model(
    dim: int = 5,
    noise_sd: float = 0.3,
    state_sd: float = 0.6,
    radius: float = 0.9,
    *,
    rng: np.random.Generator,
) -> LinearGaussianModel:
    """Linear Gaussian model whose transition is a random rotation times `radius`; stationary start.

    Parameters
    ----------
    dim : int
        d; the paper's experiment has 5.
    noise_sd, state_sd : float
        Standard deviations of observation and state noise; small `noise_sd` makes bootstrap proposals hard.
    radius : float
        Modulus of all eigenvalues of A, below 1.
    """
    rotation = np.linalg.qr(rng.standard_normal((dim, dim)))[0]
    eye = np.eye(dim)
    stationary = state_sd**2 / (1 - radius**2) * eye
    return LinearGaussianModel(
        radius * rotation, eye, state_sd**2 * eye, noise_sd**2 * eye, np.zeros(dim), stationary
    )


def chaotic_network(
    dim: int, rng: np.random.Generator, *, state_sd: float = 0.3, noise_sd: float = 0.3
) -> ChaoticRNN:
    """Chaotic recurrent network of `dim` units, all observed, with weights N(0, 1/dim)."""
    W = rng.standard_normal((dim, dim)) / np.sqrt(dim)
    return ChaoticRNN(W, np.eye(dim), state_sd=state_sd, noise_sd=noise_sd)


def key_of(rng: np.random.Generator) -> Any:
    """A JAX key from a NumPy generator."""
    return jax.random.key(int(rng.integers(2**31 - 1)))
