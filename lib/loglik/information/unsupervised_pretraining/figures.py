"""The chapter's figures. Each draws one talk slide and returns nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from loglik.information.unsupervised_pretraining.analysis import curve
from loglik.information.unsupervised_pretraining.checks import Floats

_C = sns.color_palette("colorblind")
COLOURS: dict[str, Any] = {
    "pretrained": _C[0],
    "least squares": _C[3],
    "ridge": _C[1],
    "true factors": _C[7],
    "true centres": _C[7],
    "joint ERM": _C[3],
    "mixture discriminant": _C[2],
    "generative EM": _C[4],
    "logistic, L2": _C[1],
    "logistic regression": _C[3],
    "network on labels alone": _C[3],
}
MARKERS = {
    "pretrained": "o",
    "least squares": "s",
    "ridge": "D",
    "true factors": "*",
    "true centres": "*",
    "joint ERM": "s",
    "mixture discriminant": "^",
    "generative EM": "v",
    "logistic, L2": "D",
    "logistic regression": "s",
    "network on labels alone": "s",
}
LIMIT = 6.0  # log₂ ratios beyond are drawn as this


def _plain(value: float, _: Any = None) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def _ticks(axis: Any, values: Sequence[float] | Floats) -> None:
    axis.set_ticks(list(values))
    axis.set_major_formatter(FuncFormatter(_plain))
    axis.set_minor_formatter(NullFormatter())


def _log_labels(ax: Any) -> None:
    """Labels at 1, 2 and 5 on a short logarithmic y axis, at powers of ten on a long one."""
    low, high = ax.get_ylim()
    if high / low < 60:
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())


def _points(ax: Any, xs: Floats, values: Floats, **options: Any) -> Any:
    """Means of values (reps, k) with bars of two standard errors."""
    se = values.std(0, ddof=1) / np.sqrt(len(values))
    style = {"fmt": "o", "capsize": 2, "ms": 5, **options}
    return ax.errorbar(xs, values.mean(0), yerr=2 * se, **style)


# -- curves of risk ------------------------------------------------------------------------------------------


def risk_by_labels(
    table: pd.DataFrame, ms: Sequence[int], theory: Callable[[Floats, Floats], Mapping[str, Floats]], d: int
) -> None:
    """Excess risk against n: pretrained at several m, least squares and ridge, with derived curves."""
    _, ax = plt.subplots(figsize=(7.4, 4.6))
    shades = sns.color_palette("Blues", len(ms) + 2)[2:]
    for m, shade in zip(ms, shades, strict=True):
        values, ns = curve(table[(table["method"] == "pretrained") & (table["m"] == m)], "n")
        _points(ax, ns, values, color=shade, label=f"pretrained, m = {m:,}")
        grid = np.geomspace(ns[0], ns[-1], 200)
        ax.plot(grid, theory(np.full_like(grid, m), grid)["spiked_total"], color=shade, lw=1.6)
    for method in ("least squares", "ridge"):
        values, ns = curve(table[table["method"] == method], "n")
        _points(ax, ns, values, color=COLOURS[method], fmt=MARKERS[method], label=method)
    grid = np.geomspace(d + 3, ns[-1], 200)
    ax.plot(grid, theory(np.full_like(grid, 1e9), grid)["supervised"], color=COLOURS["least squares"], lw=1.6)
    ax.set(xscale="log", yscale="log", xlabel="labelled rows n", ylabel="excess squared risk")
    ax.set_ylim(top=min(ax.get_ylim()[1], 4.0))
    _ticks(ax.xaxis, ns)
    ax.legend(fontsize="small", ncols=2)


class Panel(NamedTuple):
    """One panel of costs on log axes."""

    title: str
    x: str  # column
    xlabel: str
    ylabel: str
    table: pd.DataFrame  # columns rep, x and value
    theory: Callable[[Floats], Floats] | None = None  # derived curve
    value: str = "excess"
    bound: float | None = -0.5  # slope of a dotted guide through the first mean


def cost_panels(panels: Sequence[Panel]) -> None:
    """Costs with bars of two standard errors, each with its derived curve and the slope of the bound."""
    _, axes = plt.subplots(1, len(panels), figsize=(3.3 * len(panels) + 0.8, 3.8), squeeze=False)
    for ax, panel in zip(axes[0], panels, strict=True):
        values, xs = curve(panel.table, panel.x, panel.value)
        _points(ax, xs, values, color=_C[0], label="measured", zorder=3)
        if panel.theory is not None:
            grid = np.geomspace(xs[0], xs[-1], 200)
            ax.plot(grid, panel.theory(grid), color="k", lw=1.5, label="derived")
        if panel.bound is not None:
            top = values.mean(0)[0]
            ax.plot(xs, top * (xs / xs[0]) ** panel.bound, color="0.45", ls=":", lw=1.4, label="slope −1/2")
        ax.set(xscale="log", yscale="log", title=panel.title, xlabel=panel.xlabel, ylabel=panel.ylabel)
        _log_labels(ax)
        _ticks(ax.xaxis, xs[:: max(1, -(-len(xs) // 4))])
    axes[0, 0].legend(fontsize="small")


# -- maps ------------------------------------------------------------------------------------------------------


def win_maps(
    maps: Sequence[tuple[str, pd.DataFrame, Mapping[str, Callable[[Floats], Floats]]]],
) -> None:
    """Maps of (m, n): colour is log₂ of pretrained over supervised risk, lines are predicted borders.

    A map is (title, table from :func:`analysis.gaps`, borders by name: m as a function of n). A dot marks a
    cell whose paired interval holds 0.
    """
    columns = len(maps) if len(maps) < 4 else 2
    lines = -(-len(maps) // columns)
    fig, axes = plt.subplots(
        lines, columns, figsize=(max(3.7 * columns + 1.0, 6.0), 4.0 * lines + 0.3), squeeze=False
    )
    styles = {"derived": {"color": "k", "lw": 2.2}, "theorem's": {"color": "k", "lw": 1.6, "ls": "--"}}
    for ax, (title, table, borders) in zip(axes.flat, maps, strict=False):
        wide = table.pivot_table(index="m", columns="n", values="log_ratio")
        ms, ns = wide.index.to_numpy(dtype=float), wide.columns.to_numpy(dtype=float)
        image = ax.pcolormesh(
            _edges(ns), _edges(ms), np.clip(wide, -LIMIT, LIMIT), cmap="RdBu_r", vmin=-LIMIT, vmax=LIMIT,
            edgecolors="white", linewidth=0.3,
        )  # fmt: skip
        open_cells = table[(table["low"] <= 0) & (table["high"] >= 0)]
        ax.plot(open_cells["n"], open_cells["m"], "o", color="k", ms=3)
        grid = np.geomspace(_edges(ns)[0], _edges(ns)[-1], 200)
        for name, border in borders.items():
            ax.plot(grid, border(grid), label=f"{name} border", **styles[name])
        ax.set(xscale="log", yscale="log", title=title, xlabel="labelled rows n")
        ax.set(xlim=(grid[0], grid[-1]), ylim=(_edges(ms)[0], _edges(ms)[-1]))
        _ticks(ax.xaxis, ns[:: max(1, -(-len(ns) // 4))])
        _ticks(ax.yaxis, ms[:: max(1, len(ms) // 5)])
        ax.tick_params(labelsize="small")
        ax.grid(False)
    for row in axes:
        row[0].set_ylabel("rows without labels m")
    bar = fig.colorbar(image, ax=axes, shrink=0.9, pad=0.02)
    bar.set_label("excess risk, pretrained over supervised")
    bar.set_ticks([-6, -3, 0, 3, 6], labels=["1/64", "1/8", "1", "8", "64"])
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)


def _edges(centres: Floats) -> Floats:
    """Borders of cells around log-spaced centres."""
    logs = np.log(centres)
    middle = (logs[1:] + logs[:-1]) / 2
    return np.exp(np.concatenate([[2 * logs[0] - middle[0]], middle, [2 * logs[-1] - middle[-1]]]))


# -- the informative condition ---------------------------------------------------------------------------------


def informative(
    sigma: Floats, kappa: Floats, table: pd.DataFrame, theory: Callable[[Floats], Floats]
) -> None:
    """κ against the weakest loading, and the cost of learning a factor against its strength."""
    _, (left, right) = plt.subplots(1, 2, figsize=(8.6, 3.7))
    grid = np.geomspace(sigma.min(), sigma.max(), 200)
    left.plot(grid, np.sqrt(1 + grid**2) / grid, "k", lw=1.5, label="√(1+σ²)/σ")
    left.plot(sigma, kappa, "o", color=_C[0], ms=6, label="ratio of Hellinger distances")
    left.set(xscale="log", yscale="log", xlabel="weakest loading σ", ylabel="informative constant κ")
    _ticks(left.xaxis, (0.05, 0.1, 0.25, 0.5, 1, 2))
    _ticks(left.yaxis, (1, 2, 5, 10, 20))
    left.legend(fontsize="small")
    values, strengths = curve(table, "strength")
    price = 1 / (strengths * (1 + strengths))
    _points(right, price, values, color=_C[0], label="measured")
    right.plot(price, theory(strengths), "k", lw=1.5, label="derived")
    right.set(xscale="log", yscale="log", xlabel="1/(λ(1+λ))", ylabel="representation cost A")
    _ticks(right.xaxis, (0.02, 0.1, 0.5, 2))
    right.legend(fontsize="small")


def phase_transition(
    tables: Mapping[str, pd.DataFrame], spiked: Mapping[str, Callable[[Floats], Floats]],
    formulas: Mapping[str, Callable[[Floats], Floats]], change: Mapping[str, float],
) -> None:  # fmt: skip
    """Representation cost against m through the phase transition: measured, 1/m formula, large-d curve."""
    _, ax = plt.subplots(figsize=(7.4, 4.4))
    for at, (name, table) in enumerate(tables.items()):
        values, ms = curve(table, "m")
        grid = np.geomspace(ms[0], ms[-1], 300)
        _points(ax, ms, values, color=_C[at], label=name)
        ax.plot(grid, spiked[name](grid), color=_C[at], lw=1.8)
        ax.plot(grid, formulas[name](grid), color=_C[at], lw=1.2, ls=":")
        ax.axvline(change[name], color=_C[at], lw=1, ls="--", alpha=0.6)
    top = max(float(table["excess"].max()) for table in tables.values())
    ax.set(xscale="log", yscale="log", xlabel="rows without labels m", ylabel="representation cost A")
    ax.set_ylim(top=3 * top)
    _ticks(ax.xaxis, ms[::2])
    ax.plot([], [], "k", lw=1.8, label="derived, large d")
    ax.plot([], [], "k:", lw=1.2, label="derived, 1/m")
    ax.plot([], [], "k--", lw=1, alpha=0.6, label="m = d/λ²")
    ax.legend(fontsize="small")


def controls(
    outside: pd.DataFrame, plateau: float, wrong_r: pd.DataFrame, dropped: float, noise: pd.DataFrame
) -> None:
    """Three ways to break the informative condition."""
    _, axes = plt.subplots(1, 3, figsize=(10.6, 3.7))
    for method in ("pretrained", "least squares", "ridge"):
        values, ns = curve(outside[outside["method"] == method], "n")
        _points(axes[0], ns, values, color=COLOURS[method], fmt=f"{MARKERS[method]}-", label=method)
    axes[0].axhline(plateau, color="k", ls="--", lw=1.2, label="γᵀγ")
    axes[0].set(title="signal outside the model", xlabel="labelled rows n", ylabel="excess squared risk")
    for method in ("pretrained", "least squares"):
        values, ns = curve(wrong_r[wrong_r["method"] == method], "n")
        _points(axes[1], ns, values, color=COLOURS[method], fmt=f"{MARKERS[method]}-", label=method)
    axes[1].axhline(dropped, color="k", ls="--", lw=1.2, label="dropped factor")
    axes[1].set(title="one factor too few", xlabel="labelled rows n")
    for at, (kind, part) in enumerate(noise.groupby("method", sort=False)):
        values, ms = curve(part, "m")
        _points(axes[2], ms, values, color=_C[(0, 2)[at]], fmt="o-", label=str(kind))
    axes[2].set(title="wrong noise model", xlabel="rows without labels m", ylabel="representation cost A")
    for ax, xs in zip(axes, (ns, ns, ms), strict=True):
        ax.set(xscale="log", yscale="log")
        _ticks(ax.xaxis, xs[:: max(1, len(xs) // 3)])
        ax.legend(fontsize="x-small")


# -- mixtures ----------------------------------------------------------------------------------------------------


def mixture_methods(table: pd.DataFrame, ms: Sequence[int], label_cost: Callable[[Floats], Floats]) -> None:
    """Excess 0–1 risk against n: pretraining at several m, the oracle, four supervised methods."""
    _, ax = plt.subplots(figsize=(7.8, 4.8))
    shades = sns.color_palette("Blues", len(ms) + 2)[2:]
    for m, shade in zip(ms, shades, strict=True):
        values, ns = curve(table[(table["method"] == "pretrained") & (table["m"] == m)], "n")
        _points(ax, ns, values, color=shade, fmt="o-", label=f"pretrained, m = {m:,}")
    for method in ("joint ERM", "logistic, L2", "mixture discriminant", "generative EM"):
        values, ns = curve(table[table["method"] == method], "n")
        _points(ax, ns, values, color=COLOURS[method], fmt=f"{MARKERS[method]}--", lw=1.2, label=method)
    whole = np.unique(np.geomspace(ns[0], ns[-1], 60).round())
    ax.plot(whole, label_cost(whole), "k", lw=1.6, label="labels alone (derived)")
    ax.set(xscale="log", yscale="log", xlabel="labelled rows n", ylabel="excess 0–1 risk", ylim=(2e-4, 0.5))
    _ticks(ax.xaxis, ns)
    ax.legend(fontsize="x-small", ncols=2)


def bound_ratios(checks: Mapping[str, tuple[Floats, Floats, Floats]]) -> None:
    """Excess over the theorem's bound: along m for the largest n, along n for the largest m.

    A value is (ratios (reps, M, N), ms, ns); bars of two standard errors.
    """
    _, (left, right) = plt.subplots(1, 2, figsize=(8.6, 3.7), sharey=True)
    for at, (name, (ratios, ms, ns)) in enumerate(checks.items()):
        _points(left, ms, ratios[:, :, -1], color=_C[at], fmt="o-", label=name)
        _points(right, ns, ratios[:, -1], color=_C[at], fmt="o-", label=name)
    left.set(
        xscale="log",
        yscale="log",
        xlabel="rows without labels m (largest n)",
        ylabel="excess risk over bound",
    )
    right.set(xscale="log", xlabel="labelled rows n (largest m)")
    left.legend(fontsize="small")


def network_bars(table: pd.DataFrame) -> None:
    """Excess of networks: each dot a seed, bars the means."""
    _, ax = plt.subplots(figsize=(7.4, 4.0))
    shown = table.assign(
        name=np.where(table["m"] > 0, "pretrained, m = " + table["m"].map("{:,}".format), table["method"])
    )
    names = list(dict.fromkeys(shown.sort_values(["method", "m"])["name"]))
    ns = sorted(shown["n"].unique())
    for at, n in enumerate(ns):
        part = shown[shown["n"] == n]
        for row, name in enumerate(names):
            values = part[part["name"] == name]["excess"].to_numpy()
            y = np.full(len(values), -row + 0.18 * (1 - 2 * at))
            ax.plot(values, y, "o", color=_C[at], ms=4, alpha=0.5)
            ax.plot(
                [values.mean()],
                [y[0]],
                "|",
                color=_C[at],
                ms=18,
                mew=2.5,
                label=f"n = {n}" if row == 0 else None,
            )
    ax.set_yticks([-i for i in range(len(names))], names)
    ax.set(xscale="log", xlabel="excess squared risk", xlim=(1e-4, None))
    ax.legend(title="labelled rows", fontsize="small")


def accuracy_curves(table: pd.DataFrame, value: str = "accuracy", label: str = "test accuracy") -> None:
    """Test scores against n for every method, bars of two standard errors over splits."""
    _, ax = plt.subplots(figsize=(7.8, 4.6))
    order = table.groupby("method")[value].mean().sort_values(ascending=False).index
    for at, method in enumerate(order):
        groups: Any = table[table["method"] == method].groupby("n")[value]
        mean, se = groups.mean(), groups.sem()
        latent = any(word in str(method) for word in ("mixture", "factors", "contrastive"))
        ax.errorbar(
            mean.index * 1.015 ** (at - len(order) / 2), mean, yerr=2 * se, fmt="o-" if latent else "s--",
            color=_C[at % 10], capsize=2, ms=5, lw=1.8 if latent else 1.3, label=str(method),
        )  # fmt: skip
    ax.set(xscale="log", xlabel="labelled rows n", ylabel=label)
    _ticks(ax.xaxis, sorted(table["n"].unique()))
    ax.legend(fontsize="small", title="solid: pretrained; dashed: supervised", title_fontsize="small")


def size_curves(table: pd.DataFrame) -> None:
    """Held-out log-likelihood against the size of the latent model, beside two models without one."""
    _, ax = plt.subplots(figsize=(7.2, 3.8))
    for at, model in enumerate(("factors", "clusters")):
        part = table[table["model"] == model]
        ax.plot(part["size"], part["log_likelihood"], "o-", color=_C[at], label=model)
    for style, model in ((":", "no latent variable"), ("--", "full covariance")):
        level = table[table["model"] == model]["log_likelihood"].iloc[0]
        ax.axhline(level, color="k", ls=style, lw=1.2, label=model)
    ax.set(xscale="log", xlabel="factors, or clusters", ylabel="held-out log-likelihood (nats a row)")
    _ticks(ax.xaxis, (1, 2, 5, 10, 20, 30))
    ax.legend(fontsize="small")


# -- method --------------------------------------------------------------------------------------------------------


def two_phases(
    cloud: Floats,
    few: Floats,
    y: Any,
    surfaces: Sequence[tuple[str, Callable[[Floats], Any]]],
    centers: Floats,
) -> None:
    """A plane twice: what labels alone suggest, and what they suggest once clusters are known.

    A surface is (title, rows to predicted labels 0 and 1); the last panel also shows the cloud and `centers`.
    """
    _, axes = plt.subplots(1, len(surfaces), figsize=(4.2 * len(surfaces), 4.0), sharex=True, sharey=True)
    low, high = cloud.min(0) - 0.5, cloud.max(0) + 0.5
    across, upwards = (np.linspace(low[k], high[k], 160) for k in (0, 1))
    plane = np.stack(np.meshgrid(across, upwards), axis=-1)
    for at, (ax, (title, predict)) in enumerate(zip(axes, surfaces, strict=True)):
        side = np.asarray(predict(plane.reshape(-1, 2)), dtype=float).reshape(plane.shape[:2])
        ax.pcolormesh(across, upwards, side, cmap="RdBu_r", vmin=-1.2, vmax=2.2, alpha=0.5, rasterized=True)
        if at == len(surfaces) - 1:
            ax.plot(*cloud.T, ".", color="0.35", ms=2, alpha=0.35, rasterized=True)
            ax.plot(*centers.T, "k+", ms=12, mew=2)
        for label, marker in ((0, "o"), (1, "s")):
            ax.plot(
                *few[y == label].T,
                marker,
                color=(_C[0], _C[3])[label],
                mec="white",
                ms=9,
                label=f"label {label}",
            )
        ax.set(title=title, xlabel="x₁ (noise standard deviations)")
        ax.grid(False)
    axes[0].set_ylabel("x₂ (noise standard deviations)")
    axes[0].legend(loc="upper left", fontsize="small")


def outside(table: pd.DataFrame, theory: Callable[[Floats], Floats]) -> None:
    """Excess risk against the strength of a signal that the latent model can't carry."""
    _, ax = plt.subplots()
    for method in ("pretrained", "least squares", "ridge"):
        values, xs = curve(table[table["method"] == method], "strength")
        _points(ax, xs, values, color=COLOURS[method], fmt=MARKERS[method], label=method)
    grid = np.linspace(xs[0], xs[-1], 200)
    ax.plot(grid, theory(grid), color=COLOURS["pretrained"], lw=1.5, label="pretrained, derived")
    ax.set(
        yscale="log", xlabel="strength ‖γ‖ of the signal outside the factors", ylabel="excess squared risk"
    )
    ax.legend(fontsize="small")
