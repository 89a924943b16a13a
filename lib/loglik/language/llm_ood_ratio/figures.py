"""The chapter's figures. Each draws one talk slide from tidy numbers and returns nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

_COLOURS = sns.color_palette("colorblind")
NAMES = {
    "LR": "ratio (LR)",
    "NLR": "ratio a token (NLR)",
    "LH": "child's likelihood (LH)",
    "NLH": "LH a token (NLH)",
    "LH_pre": "parent's likelihood",
    "double": "ratio of both children",
}
SCORE_COLOURS = {
    "LR": _COLOURS[0],
    "NLR": _COLOURS[9],
    "LH": _COLOURS[3],
    "NLH": _COLOURS[1],
    "LH_pre": _COLOURS[7],
}


def paradox(scores: Mapping[str, Mapping[str, NDArray[Any]]], known: str, unknown: Sequence[str]) -> None:
    """Histograms of the likelihood score and of the ratio, for known and unknown texts."""
    _, axes = plt.subplots(1, 2, figsize=(9.6, 3.6))
    labels = {
        "LH": "−log child, nats (higher: flagged)",
        "LR": "log parent − log child, nats (higher: flagged)",
    }
    for ax, (name, label) in zip(axes, labels.items(), strict=True):
        everything = np.concatenate([scores[kind][name] for kind in (known, *unknown)])
        bins = np.linspace(np.quantile(everything, 0.002), np.quantile(everything, 0.998), 36)
        for colour, kind in zip((_COLOURS[0], _COLOURS[1], _COLOURS[2]), (known, *unknown), strict=False):
            ax.hist(scores[kind][name], bins, density=True, histtype="stepfilled", alpha=0.35, color=colour)
            ax.hist(scores[kind][name], bins, density=True, histtype="step", lw=1.6, color=colour, label=kind)
        ax.set(xlabel=label, ylabel="density of texts")
        ax.set_yticks([])
    axes[0].set_title("the child's likelihood")
    axes[1].set_title("ratio of parent to child")
    axes[1].legend(title=f"known: {known}")


def brackets(table: pd.DataFrame) -> None:
    """The two brackets of the identity, stacked, beside the measured gap of means."""
    _, ax = plt.subplots(figsize=(7.2, 0.55 * len(table) + 1.4))
    places = np.arange(len(table))[::-1]
    ax.barh(places, table["id"], color=_COLOURS[0], label="KL(P‖parent) − KL(P‖child)")
    left = np.where(np.sign(table["ood"]) == np.sign(table["id"]), table["id"], 0)
    ax.barh(places, table["ood"], left=left, color=_COLOURS[1], label="KL(Q‖child) − KL(Q‖parent)")
    ax.plot(table["gap"], places, "D", color="k", ms=6, label="gap of mean scores")
    ax.axvline(0, color="k", lw=0.8)
    ax.set_yticks(places, table.index)
    ax.set(xlabel="nats a string")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25), ncols=3, fontsize="small")


def course(table: pd.DataFrame) -> None:
    """AUROC of ratio and likelihood along the fine-tuning."""
    styles = dict(zip(table.unknown.unique(), ("-", "--", ":"), strict=False))
    _, ax = plt.subplots()
    for (unknown, name), line in table.groupby(["unknown", "score"], sort=False):
        style = styles[str(unknown)]
        ax.plot(
            line.step,
            line.auroc,
            style,
            color=SCORE_COLOURS[str(name)],
            marker="o",
            ms=4,
            label=f"{name}, {unknown}",
        )
    ax.axhline(0.5, color="k", lw=0.8)
    ax.set(xlabel="steps of fine-tuning (32 texts each)", ylabel="AUROC", ylim=(None, 1.01))
    ax.set_xscale("symlog", linthresh=1)
    ticks = table.step.unique()
    ax.set_xticks(ticks, [str(t) for t in ticks])
    ax.minorticks_off()
    ax.legend(ncols=2, fontsize="small")


def heat(table: pd.DataFrame, columns: Sequence[str]) -> None:
    """Mean AUROC of every score (columns) on every pair (rows)."""
    table = table.assign(pair=table.known + " | " + table.unknown)
    wide = table.pivot_table(index="pair", columns="score", values="auroc", sort=False)[list(columns)]
    wide = wide.rename(columns=NAMES)
    _, ax = plt.subplots(figsize=(9.2, 0.36 * len(wide) + 1.3))
    look: dict[str, Any] = {
        "fmt": ".2f",
        "cmap": "RdBu",
        "center": 0.5,
        "vmin": 0,
        "vmax": 1,
        "linewidths": 0.5,
    }
    sns.heatmap(wide, annot=True, ax=ax, cbar_kws={"label": "AUROC"}, **look)
    ax.set(xlabel="", ylabel="known | unknown")
    ax.tick_params(axis="x", rotation=30)
    for label in ax.get_xticklabels():
        label.set_horizontalalignment("right")


def false_alarms(table: pd.DataFrame, scores: Sequence[str] = ("LH", "NLH", "LR", "NLR")) -> None:
    """False alarms at 95 % detection on a log axis; every fine-tuning a dot."""
    _, ax = plt.subplots(figsize=(8, 4.6))
    pairs = list(dict.fromkeys(zip(table.known, table.unknown, strict=True)))
    for shift, name in zip(np.linspace(-0.24, 0.24, len(scores)), scores, strict=True):
        part = table[table.score == name]
        place = [
            len(pairs) - 1 - pairs.index(pair) - shift for pair in zip(part.known, part.unknown, strict=True)
        ]
        ax.plot(part.fpr95.clip(lower=1e-3), place, "o", ms=4.5, color=SCORE_COLOURS[name], label=NAMES[name])
    ax.set_yticks(range(len(pairs)), [f"{a} | {b}" for a, b in pairs[::-1]])
    ax.set(
        xscale="log",
        xlabel="false alarms at 95 % detection (at most 0.1 % at the left edge)",
        xlim=(8e-4, 1.3),
    )
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, 1.12), ncols=4, fontsize="small")


def knowledge(table: pd.DataFrame) -> None:
    """AUROC of ratio and likelihood by the parent's education; a dot for each parent."""
    unknown = list(table.unknown.unique())
    _, axes = plt.subplots(1, len(unknown), figsize=(9.2, 3.6), sharey=True)
    for ax, kind in zip(np.atleast_1d(axes), unknown, strict=True):
        part = table[table.unknown == kind]
        educations = list(part.education.unique())
        for shift, name in zip((-0.1, 0.1), ("LH", "LR"), strict=True):
            rows = part[part.score == name]
            place = [educations.index(e) + shift for e in rows.education]
            ax.plot(place, rows.auroc, "o", color=SCORE_COLOURS[name], alpha=0.6)
            means = rows.groupby("education", sort=False).auroc.mean()
            left = np.arange(len(means)) + shift - 0.09
            ax.hlines(means, left, left + 0.18, color=SCORE_COLOURS[name], lw=3, label=NAMES[name])
        ax.set_xticks(range(len(educations)), [e.replace(", ", ",\n") for e in educations])
        ax.set(title=f"gospels against {kind}", ylabel="AUROC" if ax is np.atleast_1d(axes)[0] else "")
    np.atleast_1d(axes)[-1].legend(fontsize="small")


def roc(curves: Mapping[str, tuple[NDArray[Any], NDArray[Any]]]) -> None:
    """ROC curves of spam detectors: name -> (scores of ham, scores of spam)."""
    _, ax = plt.subplots(figsize=(6.4, 4.6))
    for i, (name, (ham, spam)) in enumerate(curves.items()):
        fpr, tpr, _ = roc_curve(np.repeat([0, 1], [len(ham), len(spam)]), np.concatenate([ham, spam]))
        ax.plot(fpr.clip(min=2e-3), tpr, color=_COLOURS[i % 10], ls="-" if i < 5 else "--", label=name)
    ax.set(xscale="log", xlabel="ham flagged", ylabel="spam flagged", xlim=(2e-3, 1), ylim=(0, 1.02))
    ax.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))


def refusals(tables: Mapping[str, NDArray[Any]], alphas: Sequence[float], without: float) -> None:
    """Accuracy on the mixed stream against the share of known questions answered; a line a score."""
    _, ax = plt.subplots()
    for i, (name, rows) in enumerate(tables.items()):
        ax.plot(alphas, rows.mean(0), "o-", color=_COLOURS[i], label=name)
        if len(rows) > 1:
            ax.fill_between(alphas, rows.min(0), rows.max(0), color=_COLOURS[i], alpha=0.15)
    ax.axhline(without, color="k", lw=1, ls=":", label="no refusal")
    ax.set(xlabel="share of known questions answered", ylabel="accuracy of the answers given")
    ax.invert_xaxis()
    ax.legend()


def scored(known: NDArray[Any], texts: NDArray[Any], threshold: float) -> None:
    """Scores of calibration texts and of the file's, with the threshold."""
    _, ax = plt.subplots(figsize=(7.2, 3.4))
    everything = np.concatenate([known, texts])
    bins = np.linspace(everything.min(), everything.max(), 40).tolist()
    ax.hist(known, bins, density=True, color=_COLOURS[0], alpha=0.5, label="known texts (calibration)")
    ax.hist(texts, bins, density=True, color=_COLOURS[1], alpha=0.5, label="texts of the file")
    ax.axvline(threshold, color="k", lw=1.5, label="threshold")
    ax.set(xlabel="log parent − log child, nats (higher: less known)", ylabel="density of texts")
    ax.legend()
