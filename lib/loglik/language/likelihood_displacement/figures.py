"""The chapter's figures. Each draws one talk slide from a tidy table and returns nothing."""

from __future__ import annotations

from collections.abc import Sequence
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


def arms_at_the_end(last: pd.DataFrame) -> None:
    """Change of the preferred answers and refusal rate of every arm, a dot a seed, at the last checkpoint."""
    names = list(dict.fromkeys(last["arm"]))
    _, axes = plt.subplots(1, 2, figsize=(8.4, 0.36 * len(names) + 1.4), sharey=True)
    for ax, column, label in zip(
        axes,
        ("change_w", "test"),
        ("preferred answers (nats)", "refusal rate, held-out prompts"),
        strict=True,
    ):
        y = -last["arm"].map(names.index)
        ax.plot(last[column], y, "o", color=_COLOURS[0], alpha=0.7)
        ax.set(xlabel=label, yticks=[-i for i in range(len(names))], yticklabels=names)
    axes[0].axvline(0, color="k", lw=0.8)


def change_against_scores(table: pd.DataFrame) -> None:
    """Change of each preferred answer by a step on its pair, against CHES and its rivals."""
    _, axes = plt.subplots(1, 3, figsize=(8.8, 3.4), sharey=True)
    names = {"ches": "CHES", "edit": "minus edit distance", "last": "last embeddings' inner product"}
    for ax, (name, label) in zip(axes, names.items(), strict=True):
        ax.plot(table[name], table["change_w"], ".", color=_COLOURS[0], alpha=0.5, rasterized=True)
        ax.set(xlabel=label)
    axes[0].set(ylabel="change of preferred answer (nats)")


def free_and_tied(table: pd.DataFrame) -> None:
    """Share of displacing models by the formula and in truth, where the prompt's embedding is tied; and wrong signs."""
    _, ax = plt.subplots(figsize=(6.4, 3.8))
    labels = {
        "free": "falls, says the formula",
        "tied": "falls in truth",
        "wrong": "formula has the wrong sign",
    }
    for (column, label), colour, marker in zip(labels.items(), _COLOURS, MARKERS, strict=False):
        p, n = table[column].to_numpy(), table["n"].to_numpy()
        reach = 1.96 * np.sqrt(p * (1 - p) / n)
        ax.errorbar(table["cosine"], p, reach, marker=marker, color=colour, label=label, capsize=2)
    ax.set(
        xlabel="cosine between the two answers' unembeddings", ylabel="share of models", ylim=(-0.02, 1.02)
    )
    ax.legend()


def courses(checkpoints: pd.DataFrame, arms: Sequence[str], *, column: str = "train") -> None:
    """How the refusal rate on unsafe prompts moves during training, arm by arm: thin lines are seeds."""
    _, ax = plt.subplots(figsize=(6.8, 3.9))
    for name, colour, marker in zip(arms, _COLOURS, MARKERS, strict=False):
        part = checkpoints[checkpoints["arm"] == name]
        for _, seed in part.groupby("seed"):
            ax.plot(seed["step"], seed[column], color=colour, lw=0.7, alpha=0.5)
        mean = part.groupby("step")[column].mean()
        ax.plot(mean.index, mean, color=colour, marker=marker, lw=2, label=name)
    ax.set(xlabel="training step", ylabel="refusal rate, unsafe prompts", ylim=(-0.02, 1.04))
    ax.legend(fontsize=9)


def single_prompts(runs: Sequence[Any], chosen: Sequence[int]) -> None:
    """Probability of the preferred word, step by step, in each run on one prompt."""
    _, ax = plt.subplots(figsize=(6.4, 3.7))
    for run, token, colour, marker in zip(runs, chosen, _COLOURS, MARKERS, strict=False):
        p = run.probabilities[:, token].numpy()
        ax.plot(p, color=colour, marker=marker, markevery=5, label=f"{run.chosen} over {run.rejected}")
    ax.set(xlabel="training step", ylabel="probability of the preferred word", ylim=(-0.02, 1.02))
    ax.legend()
