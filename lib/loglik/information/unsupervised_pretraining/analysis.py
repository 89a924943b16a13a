"""From tables of risks to the numbers that are judged: ratios to the bound, sides of a border, crossings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from loglik.information.unsupervised_pretraining.checks import Floats
from loglik.stats.intervals import Estimate, bootstrap, log_slope

PRETRAINED = "pretrained"


def cells(table: pd.DataFrame, method: str, value: str = "excess") -> tuple[Floats, Floats, Floats]:
    """One method's values as (reps, M, N), with its m (M,) and n (N,)."""
    part = table[table["method"] == method]
    wide = part.set_index(["rep", "m", "n"])[value].sort_index()
    ms, ns = np.unique(part["m"]), np.unique(part["n"])
    return wide.to_numpy(dtype=float).reshape(-1, len(ms), len(ns)), ms.astype(float), ns.astype(float)


def curve(table: pd.DataFrame, x: str, value: str = "excess") -> tuple[Floats, Floats]:
    """Values as (reps, X) of a table with one row a repetition and `x`, with the x (X,)."""
    wide = table.set_index(["rep", x])[value].sort_index()
    xs = np.unique(table[x])
    return wide.to_numpy(dtype=float).reshape(-1, len(xs)), xs.astype(float)


class BoundCheck(NamedTuple):
    """How the theorem's bound, without its constant, sits on measured risks."""

    largest: Estimate  # of excess/bound over all cells
    edge: float  # largest over the cells with the smallest m or n
    others: list[float]  # mean of each other cell
    slope_m: Estimate  # of log(excess/bound) along m, at the largest n
    slope_n: Estimate  # along n, at the largest m
    ratios: Floats  # (reps, M, N) excess/bound
    median: float


def check_bound(table: pd.DataFrame, bound: Any, rng: np.random.Generator) -> BoundCheck:
    """Ratios of measured excess to `bound(m, n)`; intervals from a bootstrap over repetitions."""
    values, ms, ns = cells(table, PRETRAINED)
    ratios = values / bound(ms[:, None], ns)
    means = ratios.mean(0)
    edge = np.zeros(means.shape, dtype=bool)
    edge[0], edge[:, 0] = True, True
    largest = bootstrap(ratios.reshape(len(ratios), -1), lambda draw: draw.max(axis=1), rng, 1000)
    return BoundCheck(
        largest,
        float(means[edge].max()),
        means[~edge].tolist(),
        log_slope(ms, ratios[:, :, -1], rng),
        log_slope(ns, ratios[:, -1], rng),
        ratios,
        float(np.median(means)),
    )


def gaps(table: pd.DataFrame, baselines: Sequence[str]) -> pd.DataFrame:
    """Pretrained against each baseline, cell by cell.

    Columns m, n, baseline, log_ratio (log₂ of mean over mean), difference, low, high (95 % paired t interval),
    z (difference in standard errors, positive where pretraining wins).
    """
    ours, ms, ns = cells(table, PRETRAINED)
    rows = []
    for baseline in baselines:
        theirs = cells(table, baseline)[0][:, 0]  # (reps, N), the same for all m
        for i, m in enumerate(ms):
            for j, n in enumerate(ns):
                d = ours[:, i, j] - theirs[:, j]
                se = d.std(ddof=1) / np.sqrt(len(d))
                reach = stats.t.ppf(0.975, len(d) - 1) * se
                ratio = float(np.log2(max(ours[:, i, j].mean(), 1e-12) / max(theirs[:, j].mean(), 1e-12)))
                rows.append(
                    (m, n, baseline, ratio, d.mean(), d.mean() - reach, d.mean() + reach, -d.mean() / se)
                )
    return pd.DataFrame(rows, columns=["m", "n", "baseline", "log_ratio", "difference", "low", "high", "z"])


def against_best(table: pd.DataFrame, baselines: Sequence[str]) -> pd.DataFrame:
    """As :func:`gaps`, each n against the baseline with the lowest mean there."""
    every = gaps(table, baselines)
    means = table[table["method"].isin(baselines)].groupby(["n", "method"])["excess"].mean().unstack()  # noqa: PD010
    best = means.idxmin(axis=1)
    return every[every["baseline"].to_numpy() == best.loc[every["n"]].to_numpy()].reset_index(drop=True)


class Sides(NamedTuple):
    """On which side of a predicted border the decided cells lie."""

    share: Estimate  # of decided cells on the predicted side; bootstrap over cells
    decided: int
    wrong: list[tuple[float, float]]  # (m, n)


def border_share(found: pd.DataFrame, border: Any, rng: np.random.Generator) -> Sides:
    """Compare cells whose interval leaves out 0 with the prediction "pretraining wins where m > border(n)".

    With no decided cell at all, nothing is confirmed and the share is 0.
    """
    decided = found[(found["low"] > 0) | (found["high"] < 0)]
    wins = decided["difference"].to_numpy() < 0
    predicted = decided["m"].to_numpy() > border(decided["n"].to_numpy(dtype=float))
    right = (wins == predicted).astype(float)
    wrong = decided[right == 0]
    if not len(decided):
        return Sides(Estimate(0.0, 0.0, 0.0, 0.0), 0, [])
    share = bootstrap(right[:, None], lambda means: means[:, 0], rng)
    return Sides(share, len(decided), list(zip(wrong["m"], wrong["n"], strict=True)))


def crossing(ns: Sequence[int], ours: Floats, theirs: Floats, rng: np.random.Generator) -> Estimate:
    """N at which mean curves (reps, N) cross, on log–log lines between grid points; bootstrap.

    Where the curves of a bootstrap draw don't cross, the end of the grid is taken.
    """
    x = np.log(np.asarray(ns, dtype=float))

    def statistic(means: Floats) -> Floats:
        gap = np.log(means[:, 0]) - np.log(means[:, 1])  # below 0 while pretraining wins
        after = np.where((gap > 0).any(1), (gap > 0).argmax(1), len(x) - 1)
        before = np.maximum(after - 1, 0)
        rows = np.arange(len(gap))
        low, high = gap[rows, before], gap[rows, after]
        part = np.clip(np.where(high != low, -low / np.where(high != low, high - low, 1.0), 1.0), 0, 1)
        return np.asarray(np.exp(x[before] + part * (x[after] - x[before])))

    return bootstrap(np.stack([ours, theirs], axis=1), statistic, rng)


def ratio_to(values: Floats, theory: Any, rng: np.random.Generator) -> list[Estimate]:
    """Mean over theory for each column of values (reps, k), with bootstrap intervals."""
    scaled = values / np.asarray(theory, dtype=float)
    return [bootstrap(column[:, None], lambda means: means[:, 0], rng) for column in scaled.T]


def farthest(estimates: Sequence[Estimate], centre: float = 1.0) -> Estimate:
    """The estimate that lies farthest from `centre`."""
    return max(estimates, key=lambda e: abs(e.value - centre))
