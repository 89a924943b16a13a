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


SCORE_NAMES = {"ches": "CHES", "edit": "minus edit distance", "last": "last embeddings' inner product"}


def change_against_scores(table: pd.DataFrame) -> None:
    """Change of each preferred answer by a step on its pair, against the quantile of CHES and of its rivals.

    Quantiles, because single pairs lie so far out that they would squeeze all others together. Squares are means of
    fifths, with 95 % normal intervals.
    """
    _, axes = plt.subplots(1, 3, figsize=(8.8, 3.4), sharey=True)
    low, high = np.quantile(table["change_w"], (0.005, 0.995))
    for ax, (name, label) in zip(axes, SCORE_NAMES.items(), strict=True):
        quantile = table[name].rank() / len(table)
        shown = table["change_w"].clip(low, high)
        ax.plot(quantile, shown, ".", color=_COLOURS[0], alpha=0.4, rasterized=True)
        fifths = table["change_w"].groupby(np.ceil(quantile * 5).clip(1, 5))
        centres = fifths.mean().index.to_numpy() / 5 - 0.1
        ax.errorbar(centres, fifths.mean(), 1.96 * fifths.sem(), fmt="s", color=_COLOURS[3], capsize=3)
        ax.axhline(0, color="k", lw=0.8)
        ax.set(xlabel=f"quantile of\n{label}")
    axes[0].set(ylabel="change of preferred answer (nats)")


def changes_by_quantile(table: pd.DataFrame, slopes: pd.DataFrame) -> None:
    """Change of the preferred answers after training on a subset, against its quantile of each score.

    Thin lines are pools, markers their means with 95 % t intervals.
    """
    from loglik.stats import intervals

    _, axes = plt.subplots(1, 3, figsize=(8.8, 3.4), sharey=True)
    for ax, (name, label) in zip(axes, SCORE_NAMES.items(), strict=True):
        part = table[table["score"] == name]
        for _, pool in part.groupby("pool"):
            ax.plot(pool["quantile"], pool["change_w"], color=_COLOURS[0], lw=0.7, alpha=0.5)
        means = [(q, intervals.mean(g.to_numpy())) for q, g in part.groupby("quantile")["change_w"]]
        reach = np.array([[m.value - m.low, m.high - m.value] for _, m in means]).T
        ax.errorbar([q for q, _ in means], [m.value for _, m in means], reach, fmt="o-", capsize=3)
        ax.axhline(0, color="k", lw=0.8)
        ax.set(xlabel=f"quantile of\n{label}", title=f"slope {slopes[name].mean():+.2f}".replace("-", "−"))
    axes[0].set(ylabel="change of preferred answers (nats)")


def four_words(words: Sequence[str], W: Any, rates: Any) -> None:
    """Unembeddings of four words in the plane, and the rates of their log-probabilities; the first two are the pair."""
    _, (plane, bars) = plt.subplots(1, 2, figsize=(8.4, 3.5))
    for word, (x, y), colour in zip(words, np.asarray(W), _COLOURS, strict=False):
        plane.annotate("", (x, y), (0, 0), arrowprops={"arrowstyle": "->", "color": colour, "lw": 2})
        below = word == words[0]
        plane.text(
            1.12 * x, 1.12 * y - 0.25 * below + 0.05, word, color=colour, ha="right" if below else "center"
        )
    plane.set(xlim=(-2.6, 1.7), ylim=(-0.6, 1.6), xlabel="first coordinate", ylabel="second coordinate")
    plane.set_aspect("equal")
    bars.barh(list(words)[::-1], np.asarray(rates)[::-1], color=_COLOURS[: len(words)][::-1])
    bars.axvline(0, color="k", lw=0.8)
    bars.set(xlabel="rate of ln π (nats per unit of time)", xlim=(-4.5, 3.2))


def free_and_tied(table: pd.DataFrame) -> None:
    """Share of displacing models by the formula and in truth, where the prompt's embedding is tied; and wrong signs."""
    _, ax = plt.subplots(figsize=(6.4, 3.8))
    labels = {
        "free": "falls, says the formula",
        "tied": "falls in truth",
        "wrong": "formula has the wrong sign",
    }
    lines = ("-", "-", "--")  # the third lies on the first wherever nothing falls in truth
    for (column, label), colour, marker, line in zip(labels.items(), _COLOURS, MARKERS, lines, strict=False):
        p, n = table[column].to_numpy(), table["n"].to_numpy()
        reach = 1.96 * np.sqrt(p * (1 - p) / n)
        hollow: dict[str, Any] = {"mfc": "none", "ms": 11, "mew": 1.6} if column == "wrong" else {}
        ax.errorbar(
            table["cosine"], p, reach, marker=marker, color=colour, ls=line, label=label, capsize=2, **hollow
        )
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


def single_prompts(runs: pd.DataFrame) -> None:
    """Probability of the preferred word, step by step: a panel for each of the paper's pairs, one for all others.

    Parameters
    ----------
    runs : DataFrame
        Of :func:`~loglik.language.likelihood_displacement.scan.load_scan`, at one learning rate.
    """
    from loglik.language.likelihood_displacement.prompts import PAPER

    pairs = list(zip(runs["chosen"], runs["rejected"], strict=True))
    panels = {f"{a} over {b}": [p == (a, b) for p in pairs] for a, b in PAPER}
    panels["other pairs"] = [p not in PAPER for p in pairs]
    _, axes = plt.subplots(1, len(panels), figsize=(9.6, 3.1), sharey=True)
    for ax, (title, rows) in zip(axes, panels.items(), strict=True):
        for course, fall in runs.loc[rows, ["p", "fall"]].itertuples(index=False):
            ax.plot(course[0], color=_COLOURS[3] if fall >= 0.1 else _COLOURS[0], lw=1.2, alpha=0.8)
        ax.set(title=title, xlabel="training step", ylim=(-0.02, 1.02))
    axes[0].set(ylabel="probability of preferred word")
