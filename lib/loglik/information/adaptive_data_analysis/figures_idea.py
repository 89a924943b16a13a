"""Figures of the notebooks method and apply."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from loglik.information.adaptive_data_analysis import theory
from loglik.information.adaptive_data_analysis.accounting import Floats
from loglik.information.adaptive_data_analysis.figures import PALETTE, mean_bars


def freedman_p_values(before: Floats, after: Floats, fresh: Floats) -> None:
    """Distribution of the overall p-value before screening, after it, and on fresh rows."""
    _, ax = plt.subplots(figsize=(7.2, 3.4))
    for values, label, colour in (
        (before, "all variables", PALETTE[7]),
        (after, "screened, same rows", PALETTE[3]),
        (fresh, "screened, fresh rows", PALETTE[2]),
    ):
        ax.plot(np.sort(values), np.arange(1, len(values) + 1) / len(values), color=colour, lw=2, label=label)
    ax.plot([0, 1], [0, 1], "k:", lw=1, label="what noise should give")
    ax.axvline(0.05, color="0.6", lw=1)
    ax.set(xlabel="p-value of the overall F test", ylabel="share of regressions below")
    ax.legend(fontsize=9)


def forgetful(table: pd.DataFrame) -> None:
    """Overfit against the number of restarts of a holdout that forgets and of one that remembers."""
    _, ax = plt.subplots(figsize=(7.2, 3.6))
    for name, part in table.groupby("holdout", sort=False):
        stats = part.groupby("restarts").overfit.agg(["mean", "sem"])
        mean_bars(
            ax,
            stats.index,
            stats["mean"],
            stats["sem"],
            fmt="o-",
            ms=5,
            color=PALETTE[3] if name == "forgets" else PALETTE[0],
            label=f"a holdout that {name}",
        )
    curve = table.groupby("restarts").curve.first()
    ax.plot(curve.index, curve, "k--", lw=1.2, label="closed form for all answers")
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="times that the analyst starts the program",
        ylabel="overfit to the holdout",
    )
    ax.legend(fontsize=9)


def valley_picture(means: pd.DataFrame, n: int) -> None:
    """Total error over questions and noise, with the best noise of the closed form."""
    grid = means.pivot_table(index="multiple", columns="m", values="total")
    m = np.geomspace(means.m.min(), means.m.max(), 60)
    sigmas = np.geomspace(means.multiple.min(), means.multiple.max(), 400) / np.sqrt(n)
    curves = np.stack([theory.overfit_curve(m, n, ("gaussian", float(s))) for s in sigmas])
    best = sigmas[np.hypot(curves, sigmas[:, None]).argmin(axis=0)] * np.sqrt(n)
    _, ax = plt.subplots(figsize=(7.2, 4.2))
    mesh = ax.pcolormesh(
        grid.columns, grid.index, np.log10(grid), cmap="viridis_r", shading="nearest", rasterized=True
    )
    plt.colorbar(mesh, ax=ax, label="log₁₀ √(overfit² + σ²)")
    ax.plot(m, best, color="white", lw=2.5, label="best noise, closed form")
    ax.plot(m, best[0] * (m / m[0]) ** 0.25, color="white", ls=":", lw=1.5, label="slope 1/4")
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="questions m",
        ylabel="noise σ in units of 1/√n",
        xlim=(m[0], m[-1]),
    )
    legend = ax.legend(fontsize=9, loc="lower right", frameon=True, facecolor="0.3")
    plt.setp(legend.get_texts(), color="white")
