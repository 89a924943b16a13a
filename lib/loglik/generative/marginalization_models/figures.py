"""The chapter's figures. Each draws one talk slide from a tidy table and returns nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.ticker import ScalarFormatter
from torch import Tensor

from loglik.generative.marginalization_models.study import NAMES

PALETTE = sns.color_palette("colorblind")
COLOURS = {"mam": PALETTE[0], "arm": PALETTE[1], "arm_mc": PALETTE[3], "fm": PALETTE[2]}


def lattice(table: pd.DataFrame) -> None:
    """All 27 partial states of three spins in columns by number of known spins; width of an edge: conditional."""
    _, ax = plt.subplots(figsize=(8.6, 4.6))
    symbol = {0: "?", 1: "↓", 2: "↑"}
    place = {}
    for known in range(4):
        part = table[table.known == known]
        heights = np.linspace(1, -1, len(part)) if len(part) > 1 else [0.0]
        for (_, row), y in zip(part.iterrows(), heights, strict=True):
            place[row.state] = (float(known), y)
    for state, (x0, y0) in place.items():
        for other, (x1, y1) in place.items():
            step = [(a, b) for a, b in zip(state, other, strict=True) if a != b]
            if len(step) == 1 and step[0][0] == 0:
                ratio = np.exp(table.set_index("state").loc[[other, state], "log_p"].diff().iloc[1] * -1)
                ax.plot([x0 + 0.14, x1 - 0.14], [y0, y1], color="0.55", lw=2.2 * ratio, alpha=0.6, zorder=1)
    for _, row in table.iterrows():
        x, y = place[row.state]
        label = "".join(symbol[v] for v in row.state)
        box = {"boxstyle": "round,pad=0.2", "fc": "white", "ec": PALETTE[0]}
        ax.text(x, y, f"{label}  {np.exp(row.log_p):.2f}", ha="center", va="center", fontsize=8.5, bbox=box)
    ax.set(xticks=range(4), xlabel="number of known spins", yticks=[], xlim=(-0.35, 3.35), ylim=(-1.12, 1.12))
    ax.grid(False)
    sns.despine(left=True)


def agreement(
    panels: Mapping[str, tuple[Any, Any]],
    x_label: str,
    y_label: str,
    colours: Mapping[str, Any] | None = None,
) -> None:
    """Scatter panels of one log-probability against another, with the diagonal."""
    _, axes = plt.subplots(1, len(panels), figsize=(max(4.4, 3.1 * len(panels)), 3.6), squeeze=False)
    for ax, (title, (x, y)) in zip(axes[0], panels.items(), strict=True):
        ends = [min(np.min(x), np.min(y)), max(np.max(x), np.max(y))]
        ax.plot(ends, ends, color="0.6", lw=1, zorder=1)
        colour = None if colours is None else colours[title]
        shade = {"color": PALETTE[0]} if colour is None else {"c": colour, "cmap": "viridis"}
        points = ax.scatter(x, y, s=9, alpha=0.6, linewidths=0, rasterized=True, **shade)
        ax.set(title=title, xlabel=x_label)
        if colour is not None:
            ax.figure.colorbar(points, ax=ax, label="number of known variables")
    axes[0][0].set_ylabel(y_label)


def training_curves(curves: pd.DataFrame) -> None:
    """KL against CPU time, one panel a lattice, one line a run."""
    sides = sorted(curves.L.unique())
    _, axes = plt.subplots(1, len(sides), figsize=(4.4 * len(sides), 3.8), squeeze=False, sharey=False)
    for ax, L in zip(axes[0], sides, strict=True):
        for key, part in curves[curves.L == L].groupby(["estimator", "run"]):
            estimator, run = str(key[0]), int(key[1])
            label = NAMES[estimator] if run == 0 else None
            ax.plot(
                part.seconds,
                part.value.clip(lower=1e-3),
                "o-",
                ms=3,
                lw=1.4,
                color=COLOURS[estimator],
                label=label,
            )
        ax.set(yscale="log", xlabel="CPU time of training (s)", title=f"{L}×{L} torus")
    axes[0][0].set_ylabel("KL(model ‖ target), nats")
    axes[0][-1].legend(fontsize=9)


def step_costs(costs: pd.DataFrame) -> None:
    """CPU time of a training step against the number of variables."""
    _, ax = plt.subplots(figsize=(6.4, 3.9))
    for estimator in ("arm", "arm_mc", "mam"):
        part = costs[costs.estimator == estimator]
        ax.loglog(part.D, 1e3 * part.seconds, "o-", color=COLOURS[estimator], label=NAMES[estimator])
    ax.set(xlabel="number of variables D", ylabel="CPU time of a step (ms)", xticks=sorted(costs.D.unique()))
    ax.xaxis.set_major_formatter(ScalarFormatter())
    ax.minorticks_off()
    ax.legend()


def images(rows: Mapping[str, Tensor], side: int, known: Tensor | None = None) -> None:
    """Rows of binary images; unknown pixels grey, a line where the known part ends."""
    count = max(len(x) for x in rows.values())
    _, axes = plt.subplots(len(rows), count, figsize=(0.75 * count + 1.2, 0.85 * len(rows)), squeeze=False)
    for line, (name, x) in zip(axes, rows.items(), strict=True):
        for ax in line:
            ax.axis("off")
        for ax, image in zip(line, x, strict=False):
            shade = np.array([0.55, 1.0, 0.0])[image.numpy()].reshape(side, side)
            ax.imshow(shade, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            ax.add_patch(plt.Rectangle((-0.5, -0.5), side, side, fill=False, ec="0.7", lw=0.5))
            if known is not None:
                ax.axvline(side / 2 - 0.5, color=PALETTE[1], lw=1)
        line[0].text(-0.15, 0.5, name, transform=line[0].transAxes, ha="right", va="center", fontsize=9)


def spins(rows: Mapping[str, Tensor], side: int) -> None:
    """Rows of lattice configurations: dark is up."""
    images(rows, side)


def bars(table: pd.DataFrame, value: str, low: str, high: str, label: str, x_label: str) -> None:
    """Horizontal points with intervals, one row a label."""
    _, ax = plt.subplots(figsize=(7, 0.45 * len(table) + 1.3))
    y = np.arange(len(table))[::-1]
    ax.hlines(y, table[low], table[high], color=PALETTE[0], lw=2)
    ax.plot(table[value], y, "o", color=PALETTE[0])
    ax.axvline(0, color="0.6", lw=1)
    ax.set(yticks=y, yticklabels=table[label], xlabel=x_label)


def answers(table: pd.DataFrame) -> None:
    """Each question's probability by the model beside the share of rows that fit."""
    _, ax = plt.subplots(figsize=(7.4, 0.5 * len(table) + 1.3))
    y = np.arange(len(table))[::-1]
    ax.hlines(y, table.probability, table.counted, color="0.75", lw=1.5)
    ax.plot(table.counted, y, "o", color="0.45", label="share of fitting rows", ms=6)
    ax.plot(table.probability, y, "D", color=PALETTE[0], label="one pass")
    ax.plot(table["chain rule"], y, "|", color=PALETTE[1], ms=13, mew=2, label="chain rule")
    ax.set(yticks=y, yticklabels=table.question, xlabel="probability", xlim=(-0.02, 1.02))
    ax.legend(fontsize=9)


def losses(table: pd.DataFrame, methods: Sequence[str]) -> None:
    """Mean log loss of a hidden cell, by column and method."""
    _, ax = plt.subplots(figsize=(7.4, 4))
    columns = list(table.column.unique())
    for i, method in enumerate(methods):
        part = table[table.method == method].groupby("column").loss.agg(["mean", "sem"]).loc[columns]
        ax.errorbar(
            np.arange(len(columns)) + 0.15 * (i - 1.5),
            part["mean"],
            2 * part["sem"],
            fmt="o",
            ms=5,
            color=PALETTE[i],
            capsize=2,
            label=method,
        )
    ax.set(xticks=range(len(columns)), xticklabels=columns, ylabel="log loss of a hidden cell (nats)")
    ax.legend(fontsize=9)


def molecules(
    logp: Mapping[str, Any], drawn: Mapping[str, Sequence[Any]], means: Mapping[str, float]
) -> None:
    """Histograms of logP by the wanted value with the targets' own means, and a row of drawn molecules for each."""
    count = max(map(len, drawn.values()))
    figure = plt.figure(figsize=(10.4, 2.0 * len(drawn)))
    grid = figure.add_gridspec(len(drawn), count + 4, wspace=0.05, hspace=0.25)
    ax = figure.add_subplot(grid[:, :4])
    bins = np.linspace(-7, 7, 36).tolist()
    colours = dict(zip(logp, ("0.55", PALETTE[0], PALETTE[1]), strict=False))
    for name, values in logp.items():
        filled = name not in drawn
        ax.hist(
            values,
            bins,
            density=True,
            histtype="stepfilled" if filled else "step",
            alpha=0.35 if filled else 1.0,
            lw=2,
            color=colours[name],
            label=name,
        )
    for name, mean in means.items():
        ax.axvline(mean, color=colours[name], ls="--", lw=1.4)
    ax.set(xlabel="logP (Crippen)", ylabel="density", ylim=(0, 1.45 * ax.get_ylim()[1]))
    ax.legend(fontsize=8, loc="upper left")
    for line, (name, pictures) in enumerate(drawn.items()):
        for column, picture in enumerate(pictures):
            cell = figure.add_subplot(grid[line, column + 4])
            cell.imshow(picture, interpolation="antialiased")
            cell.axis("off")
            if column == 0:
                cell.set_title(name, fontsize=9, loc="left", color=colours[name], fontweight="normal")
