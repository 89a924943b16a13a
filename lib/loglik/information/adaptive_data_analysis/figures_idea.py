"""Figures of the notebooks method and apply."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from loglik.information.adaptive_data_analysis.accounting import Floats
from loglik.information.adaptive_data_analysis.figures import COLOURS, PALETTE, mean_bars


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


def transcript(table: pd.DataFrame) -> None:
    """Answers of feature questions against fresh rows: naive and reusable side by side."""
    names = list(dict.fromkeys(table.method))
    _, axes = plt.subplots(
        1, len(names), figsize=(4.4 * len(names), 3.9), sharex=True, sharey=True, squeeze=False
    )
    reach = 1.05 * float(np.abs(table[["answer", "fresh"]]).max().max())
    for ax, name in zip(axes[0], names, strict=True):
        part = table[table.method == name]
        for paid, marker, label in ((False, ".", "answer"), (True, "x", "answer that was paid for")):
            chosen = part[part.paid == paid]
            if len(chosen):
                ax.plot(
                    chosen.fresh,
                    chosen.answer,
                    marker,
                    ms=4,
                    alpha=0.6,
                    color=COLOURS[name] if not paid else "k",
                    label=label,
                    rasterized=True,
                )
        ax.plot([-reach, reach], [-reach, reach], color="0.5", lw=1)
        ax.set(title=name, xlabel="association on fresh rows", xlim=(-reach, reach), ylim=(-reach, reach))
        ax.legend(fontsize=8, loc="upper left")
    axes[0, 0].set_ylabel("answer of the holdout")
