"""The chapter's figures: one talk slide each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.dates as mdates
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.ticker import MaxNLocator, NullFormatter
from numpy.typing import NDArray

from loglik.sampling.parisian_particle_gibbs.kernel import Cloud
from loglik.sampling.parisian_particle_gibbs.study import Contraction

Floats = NDArray[np.float64]
_C = sns.color_palette("colorblind")
BLUE, ORANGE, GREEN, RED, GREY = _C[0], _C[1], _C[2], _C[3], _C[7]


def _draw_sweep(ax: Any, cloud: Cloud, zeta: Floats | None, path: Floats) -> None:
    x, steps = cloud.particles[..., 0], np.arange(len(cloud.particles))
    weights = np.exp(cloud.log_weights - cloud.log_weights.max(1, keepdims=True))
    for t in steps[1:]:
        for i, parent in enumerate(cloud.parents[t - 1]):
            ax.plot([t - 1, t], [x[t - 1, parent], x[t, i]], color=GREY, lw=0.8, alpha=0.6)
    ax.scatter(np.repeat(steps, x.shape[1]), x.ravel(), s=10 + 70 * (weights / weights.sum(1, keepdims=True)).ravel(),
               color=GREY, zorder=3, label="particles (area: weight)")  # fmt: skip
    if zeta is not None:
        ax.plot(steps, zeta[:, 0], color="k", ls="--", lw=1.6, zorder=4, label="pinned path")
    ax.plot(steps, path[:, 0], color=ORANGE, lw=2.4, zorder=5, label="new path")


def sweeps(first: tuple[Cloud, Floats], second: tuple[Cloud, Floats], y: Floats) -> None:
    """Sweep 0 and the first conditional sweep: particles, backward draws, pinned and new path."""
    _, axes = plt.subplots(2, 1, figsize=(7.6, 5.6), sharex=True, sharey=True)
    _draw_sweep(axes[0], *_ordered(first, None))
    _draw_sweep(axes[1], *_ordered(second, first[1]))
    for ax, title in zip(
        axes, ("sweep 0: plain PaRIS", "sweep 1: the path of sweep 0 is pinned"), strict=True
    ):
        ax.plot(np.arange(len(y)), y, "x", color=BLUE, ms=6, mew=1.6, zorder=6, label="observations")
        ax.set(title=title, ylabel="state (arbitrary units)")
    axes[1].set_xlabel("time t (steps)")
    axes[1].legend(ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.22))


def _ordered(sweep: tuple[Cloud, Floats], zeta: Floats | None) -> tuple[Cloud, Floats | None, Floats]:
    return sweep[0], zeta, sweep[1]


def bias_by_particles(table: pd.DataFrame, fitted: float) -> None:
    """|bias| of PaRIS against N with the fitted slope; `table` has columns N, bias, s.e."""
    _, ax = plt.subplots(figsize=(6.4, 3.8))
    size = table["bias"].abs()
    ax.errorbar(table["N"], size, yerr=1.96 * table["s.e."], fmt="o", color=BLUE, capsize=3, label="PaRIS")
    line = size.iloc[0] * (table["N"] / table["N"].iloc[0]) ** -1.0
    ax.plot(table["N"], line, "k:", label="slope −1")
    ax.set(xscale="log", yscale="log", xlabel="particles N", ylabel="|bias| of the smoothed sum",
           title=f"fitted slope up to N = 64: {fitted:.2f}".replace("-", "−"))  # fmt: skip
    ax.set_xticks(table["N"], [str(n) for n in table["N"]])
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.legend()


def bias_by_sweep(errors: Mapping[str, Floats], fits: Mapping[str, Contraction]) -> None:
    """|bias| of each sweep on a log axis, with the fitted geometric decay."""
    _, ax = plt.subplots(figsize=(7.2, 4.2))
    for (name, e), colour, marker in zip(errors.items(), (ORANGE, BLUE, GREEN, RED), "so^D", strict=False):
        mean, se = np.abs(e.mean(0)), e.std(0, ddof=1) / np.sqrt(len(e))
        sweep = np.arange(len(mean))
        low = np.minimum(1.96 * se, mean * 0.95)
        ax.errorbar(sweep, mean, yerr=[low, 1.96 * se], fmt=marker, ms=4, color=colour, capsize=2, label=name)
        fit = fits[name]
        ax.plot(sweep, fit.intercept * fit.kappa.value**sweep, color=colour, lw=1.2, alpha=0.8)
    floor = max(np.abs(e.mean(0)).max() for e in errors.values()) / 1000
    ax.set(
        yscale="log",
        xlabel="sweep (0 is plain PaRIS)",
        ylabel="|bias| of the smoothed sum",
        ylim=(floor, None),
    )
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend()


def budget(table: pd.DataFrame) -> None:
    """Bias and RMSE of estimators at equal cost; `table` is indexed by name with bias, s.e., RMSE and panel."""
    panels = list(dict.fromkeys(table["panel"]))
    _, axes = plt.subplots(1, len(panels), figsize=(7.8, 3.8), squeeze=False)
    for ax, panel in zip(axes[0], panels, strict=True):
        part = table[table["panel"] == panel]
        y = -np.arange(len(part))
        ax.errorbar(part["bias"], y, xerr=1.96 * part["s.e."], fmt="o", color=BLUE, capsize=3, label="bias")
        ax.plot(part["RMSE"], y, "D", color=ORANGE, label="root mean squared error")
        ax.axvline(0, color="k", lw=1)
        ax.set_yticks(y, part.index)
        ax.set(xlabel="error of the smoothed sum", title=panel, ylim=(-len(part) + 0.4, 0.6))
    axes[0, 0].legend(loc="upper center", bbox_to_anchor=(0.4, -0.2), ncols=2)


def kernel_pictures(kernels: Mapping[str, Floats], labels: Sequence[str]) -> None:
    """Transition matrices of one sweep between all paths of a finite model."""
    _, axes = plt.subplots(1, len(kernels), figsize=(8.4, 4.0))
    for ax, (name, K) in zip(np.atleast_1d(axes), kernels.items(), strict=True):
        sns.heatmap(K, ax=ax, cmap="viridis", vmin=0, vmax=1, square=True, xticklabels=labels, yticklabels=labels,
                    cbar=ax is np.atleast_1d(axes)[-1], cbar_kws={"label": "probability"})  # fmt: skip
        ax.set(title=name, xlabel="new path")
        ax.tick_params(axis="x", rotation=90)
        ax.tick_params(axis="y", rotation=0)
    np.atleast_1d(axes)[0].set_ylabel("pinned path")


def tail_curves(table: pd.DataFrame) -> None:
    """Empirical tail of the roll-out with exact limits beside the Gaussian and its sub-Gaussian bound."""
    _, ax = plt.subplots(figsize=(6.4, 3.8))
    x = table["x"].to_numpy()
    rate = table["share"].to_numpy()
    ax.plot(x, table["bound"], "k--", label=r"bound $2\exp(-x^2/2)$")
    ax.plot(x, table["Gaussian"], color=GREY, label="Gaussian tail")
    ax.errorbar(
        x, rate, yerr=[0 * rate, table["upper"] - rate], fmt="o", color=BLUE, capsize=3, label="roll-out"
    )
    ax.set(yscale="log", xlabel="x (standard deviations)", ylabel="P(|error| > x)")
    ax.legend()


def learning(traces: Mapping[str, Floats], target: Floats, names: Sequence[str]) -> None:
    """Parameter trajectories of all chains (mean and range of 80 %) with the exact maximum."""
    _, grid = plt.subplots(1, len(names), figsize=(max(5.0, 2.8 * len(names)), 3.2), squeeze=False)
    axes = grid[0]
    for j, ax in enumerate(axes):
        for (name, theta), colour in zip(traces.items(), (BLUE, ORANGE, GREEN), strict=False):
            low, middle, high = np.quantile(theta[..., j], (0.1, 0.5, 0.9), axis=0)
            n = np.arange(theta.shape[1])
            ax.plot(n, middle, color=colour, label=name)
            ax.fill_between(n, low, high, color=colour, alpha=0.2, lw=0)
        if np.isfinite(target[j]):
            ax.axhline(target[j], color="k", ls="--", lw=1.2, label="exact maximum")
        ax.set(xlabel="iteration n", title=names[j])
    axes[0].set_ylabel("parameter")
    handles, labels = axes[0].get_legend_handles_labels()
    axes[0].figure.legend(handles, labels, loc="outside lower center", ncols=4)


def gradients(squares: Mapping[str, Floats]) -> None:
    """Running mean over iterates of the exact squared gradient, chains averaged."""
    _, ax = plt.subplots(figsize=(6.8, 3.8))
    for (name, s), colour in zip(squares.items(), (BLUE, ORANGE, GREEN), strict=False):
        n = np.arange(1, s.shape[1] + 1)
        running = s.cumsum(1) / n
        mean, se = running.mean(0), running.std(0, ddof=1) / np.sqrt(len(s))
        ax.plot(n, mean, color=colour, label=name)
        ax.fill_between(n, mean - 1.96 * se, mean + 1.96 * se, color=colour, alpha=0.25, lw=0)
    top = max(s[:, 0].mean() for s in squares.values())
    ax.plot(n, top / np.sqrt(n), "k:", label="slope −1/2")
    ax.set(xscale="log", yscale="log", xlabel="iterations n", ylabel="mean of the squared gradient of V/T")
    ax.legend()


def volatility_runs(runs: Mapping[str, Floats], parameter: str) -> None:
    """One learned parameter over iterations for estimators of several sizes."""
    _, ax = plt.subplots(figsize=(7.2, 3.8))
    styles = [(BLUE, "-"), (BLUE, "--"), (ORANGE, "-"), (ORANGE, "--")]
    for (name, values), (colour, line) in zip(runs.items(), styles, strict=False):
        n = np.arange(values.shape[1])
        ax.plot(n, values.mean(0), color=colour, ls=line, label=name)
        ax.fill_between(n, values.min(0), values.max(0), color=colour, alpha=0.15, lw=0)
    ax.set(xlabel="iteration n", ylabel=parameter)
    ax.legend(ncols=2)


def mean_field(time: Floats, exact: tuple[Floats, Floats], learned: tuple[Floats, Floats]) -> None:
    """Learned means and bands beside the exact smoother's."""
    _, axes = plt.subplots(2, 1, figsize=(7.2, 4.6), sharex=True, height_ratios=[2, 1])
    axes[0].fill_between(time, exact[0] - 1.96 * exact[1], exact[0] + 1.96 * exact[1], color=GREY, alpha=0.35, lw=0,
                         label="exact smoother, 95 %")  # fmt: skip
    axes[0].plot(time, exact[0], color="k", lw=1)
    axes[0].errorbar(
        time, learned[0], yerr=1.96 * learned[1], fmt="o", ms=3, color=ORANGE, lw=0.9, label="learned, 95 %"
    )
    axes[0].set_ylabel("state")
    axes[0].legend(ncols=2)
    axes[1].plot(time, 100 * (learned[1] ** 2 / exact[1] ** 2 - 1), "o-", ms=3, color=ORANGE)
    axes[1].axhline(0, color="k", lw=1)
    axes[1].set(xlabel="time t (steps)", ylabel="error of the\nvariance (%)")


def _dates(ax: Any, index: pd.Index) -> None:
    """Few short labels where the index holds dates."""
    if isinstance(index, pd.DatetimeIndex):
        locator = mdates.AutoDateLocator(maxticks=8)
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator))


def smoothed(table: pd.DataFrame, y: Floats, *, state_name: str, show_y: bool) -> None:
    """Smoothed state with its band over the reader's index."""
    _, ax = plt.subplots(figsize=(7.6, 3.8))
    ax.fill_between(table.index, table["5 %"], table["95 %"], color=BLUE, alpha=0.25, lw=0, label="90 % band")
    ax.plot(table.index, table["median"], color=BLUE, lw=1.4, label=f"{state_name}, median")
    values = y if show_y else np.abs(y)
    ax.plot(table.index, values, ".", color=GREY, ms=3, rasterized=len(values) > 500, zorder=0,
            label="data" if show_y else "|data − mean|")  # fmt: skip
    ax.set(xlabel=table.index.name or "row", ylabel=state_name)
    _dates(ax, table.index)
    ax.legend(ncols=3)


def broken(table: pd.DataFrame) -> None:
    """|bias| per sweep where paths descend by forward ancestry, or the observations outrun the particles."""
    _, ax = plt.subplots(figsize=(7.2, 4.0))
    for (name, part), colour, marker in zip(table.groupby("case", sort=False), (BLUE, ORANGE, RED, GREEN), "os^D",
                                            strict=False):  # fmt: skip
        ax.errorbar(part["sweep"], part["share"], yerr=1.96 * part["s.e."], fmt=f"{marker}-", ms=4, color=colour,
                    capsize=2, label=str(name))  # fmt: skip
    ax.axhline(0, color="k", lw=1)
    ax.set(xlabel="sweep (0 is plain PaRIS)", ylabel="bias, as a share of sweep 0's")
    ax.legend()


def diagnostics(index: pd.Index, ess: Floats, renewed: Floats, n_particles: int) -> None:
    """Effective sample size and renewal of the path at each time."""
    _, axes = plt.subplots(2, 1, figsize=(7.6, 4.2), sharex=True)
    axes[0].plot(index, ess, color=BLUE, lw=0.9)
    axes[0].axhline(n_particles, color="k", lw=1, ls="--")
    axes[0].set(ylabel="effective\nsample size", ylim=(0, None))
    axes[1].plot(index, renewed, color=ORANGE, lw=0.9)
    axes[1].set(ylabel="share of\npaths renewed", ylim=(0, 1), xlabel=index.name or "row")
    _dates(axes[1], index)
