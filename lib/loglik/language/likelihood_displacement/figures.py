"""The chapter's figures. Each draws one talk slide from a tidy table and returns nothing."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

_COLOURS = sns.color_palette("colorblind")
MARKERS = ("o", "s", "^", "D", "v", "P")


def displacement_chances(table: pd.DataFrame) -> None:
    """Share of random models that displace, against the cosine of the answers, with 95 % Wilson intervals."""
    _, ax = plt.subplots(figsize=(6.4, 3.8))
    for (ratio, part), colour, marker in zip(table.groupby("ratio"), _COLOURS, MARKERS, strict=False):
        p, n = part["chance"].to_numpy(), part["n"].to_numpy()
        centre = (p + 1.92 / n) / (1 + 3.84 / n)
        reach = 1.96 / (1 + 3.84 / n) * np.sqrt(p * (1 - p) / n + 0.96 / n**2)
        ax.fill_between(part["cosine"], centre - reach, centre + reach, color=colour, alpha=0.25, lw=0)
        ax.plot(part["cosine"], p, marker=marker, color=colour, label=f"{ratio:g}")
    ax.set(xlabel="cosine between the two answers' unembeddings", ylabel="share of models that displace")
    ax.legend(title="length of preferred / other")


def gap_and_answers(checkpoints: pd.DataFrame) -> None:
    """Both answers' mean log-probability during training, and the gap between them."""
    _, ax = plt.subplots(figsize=(6.4, 3.8))
    for (column, label), colour, marker in zip(
        (("gap", "gap"), ("change_w", "preferred answer"), ("change_l", "other answer")),
        _COLOURS, MARKERS, strict=False,
    ):  # fmt: skip
        ax.plot(checkpoints["step"], checkpoints[column], marker=marker, color=colour, label=label)
    ax.axhline(0, color="k", lw=0.8)
    ax.set(xlabel="training step", ylabel="change of mean log-probability (nats)")
    ax.legend()


def score_histogram(scores: pd.DataFrame, threshold: float, *, by: str = "ln_ches") -> None:
    """How the pairs' scores are spread, and where the filter cuts."""
    _, ax = plt.subplots(figsize=(6.4, 3.6))
    values = scores[by].to_numpy(dtype=float)
    low, high = np.quantile(values, (0.005, 1.0))
    edges: Any = np.linspace(low, high, 41)
    ax.hist(np.clip(values[values <= threshold], low, high), edges, color=_COLOURS[0], label="kept")
    ax.hist(np.clip(values[values > threshold], low, high), edges, color=_COLOURS[3], label="filtered out")
    ax.axvline(threshold, color="k", ls=":")
    ax.set(xlabel=f"{by} (higher: displaces more)", ylabel="pairs")
    ax.legend()
