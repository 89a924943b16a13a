"""The chapter's figures; colours say which axis a method uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

from loglik.language.on_policy_preferences import theory
from loglik.language.on_policy_preferences.bandit import PreferenceBandit
from loglik.stats import intervals

NAMES = {
    "pref-ft": "Pref-FT",
    "best-of-n": "Best-of-N",
    "rwr": "RWR",
    "dpo": "DPO",
    "ipo": "IPO",
    "reinforce": "REINFORCE",
    "reinforce-nonneg": "REINFORCE ≥ 0",
    "ppo": "PPO",
}
NEGATIVE = ("dpo", "ipo", "reinforce", "ppo")
FRESH, FIXED = "#0173b2", "#de8f05"  # on-policy, offline


def pretty(label: str) -> str:
    """A label of :class:`~loglik.language.on_policy_preferences.study.Arm` for people."""
    where, _, rest = label.partition(" ")
    method, comma, more = rest.partition(",")
    return f"{NAMES.get(method, method)}{comma}{more} ({where})"


def reference_and_rewards(bandits: Mapping[str, PreferenceBandit]) -> None:
    """The reference's masses with each bandit's reward above them."""
    _, axis = plt.subplots(figsize=(7.2, 3.4))
    first = next(iter(bandits.values()))
    axis.bar(np.arange(first.vocab), first.ref_logp.exp().numpy(), width=0.9, color="0.6", label="reference")
    axis.set(xlabel="token", ylabel="probability under the reference", yscale="log")
    twin = axis.twinx()
    for (name, bandit), colour in zip(bandits.items(), ("#d55e00", "#029e73"), strict=False):
        twin.plot(bandit.rewards.numpy(), color=colour, lw=2, label=f"reward {name}")
    twin.set(ylabel="reward", ylim=(0, 1.25))
    twin.grid(visible=False)
    twin.legend(loc="upper right", ncols=2)


def arm_rewards(final: pd.DataFrame, references: Mapping[str, float]) -> None:
    """Mean reward of every arm, one panel a bandit, with 95 % intervals; filled marks have a negative gradient."""
    names = list(references)
    _, axes = plt.subplots(1, len(names), figsize=(8.6, 4.4), sharey=True, squeeze=False)
    ticks = np.linspace(0, 1, 5)
    labels = list(dict.fromkeys(final.method))[::-1]
    for axis, name in zip(axes[0], names, strict=True):
        part = final[final.bandit == name]
        for y, label in enumerate(labels):
            found = intervals.mean(part[part.method == label].reward)
            colour = FIXED if label.startswith("offline") else FRESH
            filled = label.split(" ")[1] in NEGATIVE
            error = [[found.value - found.low], [found.high - found.value]]
            axis.errorbar(
                found.value, y, xerr=error, fmt="o", ms=7, color=colour, mfc=colour if filled else "white"
            )
        axis.axvline(references[name], color="0.4", ls=":", lw=1.2)
        axis.set(xlabel="mean reward", title=name, xlim=(0, 1.03), xticks=ticks)
        axis.set_xticklabels([f"{tick:g}" for tick in ticks])
    axes[0, 0].set_yticks(range(len(labels)), [pretty(label) for label in labels])


def courses(curves: pd.DataFrame, name: str, labels: Sequence[str]) -> None:
    """Reward against labelled answers and against KL, means over seeds with 95 % bands."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.8, 4.3), sharey=True)
    for label, colour in zip(labels, sns.color_palette("colorblind", len(labels)), strict=True):
        part = curves[(curves.bandit == name) & (curves.method == label)]
        means = part.groupby("step")[["reward", "kl"]].mean()
        half = 2.26 * part.groupby("step").reward.sem()
        style = "--" if label.startswith("offline") else "-"
        left.plot(means.index, means.reward, style, color=colour, label=pretty(label))
        left.fill_between(
            means.index, means.reward - half, means.reward + half, color=colour, alpha=0.2, lw=0
        )
        right.plot(means.kl, means.reward, style, color=colour)
    left.set(xlabel="gradient steps", ylabel="mean reward")
    right.set(xlabel="KL to the reference, nats")
    figure.legend(loc="outside lower center", ncols=2 if len(labels) == 4 else 3, fontsize="small")


def budget_and_reuse(split: pd.DataFrame, reuse: pd.DataFrame) -> None:
    """Reward against the size of a batch at a fixed budget, and against the reuse of each batch."""
    _, axes = plt.subplots(1, 2, figsize=(8.6, 3.8), sharey=True)
    palette = dict(zip(NAMES, sns.color_palette("colorblind", len(NAMES)), strict=True))
    for axis, table, x, label in (
        (axes[0], split, "batch", "answers of a batch, B (fewer is more on-policy)"),
        (axes[1], reuse, "T", "gradient steps on a batch, T"),
    ):
        for method, part in table.groupby("method", sort=False):
            points = part.groupby(x).reward.agg(["mean", "sem", "count"])
            half = 2.26 * points["sem"]
            axis.errorbar(
                points.index, points["mean"], yerr=half, fmt="o-", ms=4, capsize=2, color=palette[str(method)],
                label=NAMES[str(method)],
            )  # fmt: skip
        axis.set(xscale="log", xlabel=label)
        axis.legend(fontsize="small")
    axes[0].set_ylabel("mean reward")


def log_probabilities(curves: pd.DataFrame, name: str, labels: Sequence[str]) -> None:
    """Winners, losers and unseen answers of the reference, one panel an arm."""
    _, axes = plt.subplots(1, len(labels), figsize=(8.6, 3.4))
    shown = {
        "logp_w": ("winners", "#029e73"),
        "logp_l": ("losers", "#d55e00"),
        "logp_other": ("unseen", "0.4"),
    }
    for axis, label in zip(np.ravel(axes), labels, strict=True):
        part = curves[(curves.bandit == name) & (curves.method == label)].groupby("step")
        for column, (what, colour) in shown.items():
            means, half = part[column].mean(), 2.26 * part[column].sem()
            axis.plot(means.index, means, color=colour, label=what)
            axis.fill_between(means.index, means - half, means + half, color=colour, alpha=0.2, lw=0)
        axis.set(title=pretty(label), xlabel="gradient steps")
    np.ravel(axes)[0].set_ylabel("mean log-probability, nats")
    np.ravel(axes)[0].legend(fontsize="small")


def two_bin_law(q1: float = 0.04, q2: float = 0.01) -> None:
    """The shift of the log-odds in one step by the bins' mass: the curves cross at the logarithmic mean."""
    figure, axis = plt.subplots(figsize=(6.4, 4.0))
    p = np.linspace(0.001, 0.08, 200)
    axis.plot(
        p, theory.log_odds_step(p, q1, q2, "forward"), color=FIXED, lw=2, label="forward KL (imitation)"
    )
    axis.plot(p, theory.log_odds_step(p, q1, q2, "reverse"), color=FRESH, lw=2, label="reverse KL (rewards)")
    middle = float(theory.logarithmic_mean(q1, q2))
    axis.axvline(middle, color="0.3", ls=":", label="logarithmic mean of the targets")
    axis.axvspan(q2, q1, color="0.9", zorder=0, label="between the targets")
    axis.set(xlabel="present mass p of each of two bins", ylabel="shift of the log-odds, step size 1")
    figure.legend(loc="outside lower center", ncols=2, fontsize="small")


def relocation(curves: Mapping[str, Mapping[str, Any]]) -> None:
    """Total variation to the target along exact descent, one panel a setting."""
    _, axes = plt.subplots(1, len(curves), figsize=(8.8, 3.4), sharey=True)
    for axis, (title, found) in zip(np.ravel(axes), curves.items(), strict=True):
        for kind, colour in (("forward", FIXED), ("reverse", FRESH)):
            points = np.unique(np.geomspace(1, len(found[kind]), 150).astype(int)) - 1
            axis.plot(points + 1, found[kind][points], color=colour, lw=2, label=f"{kind} KL")
        axis.set(xscale="log", xlabel="gradient steps", title=title, ylim=(0, 1.03))
    np.ravel(axes)[0].set_ylabel("total variation to the target")
    np.ravel(axes)[0].legend(fontsize="small")


def length_outcomes(last: pd.DataFrame, references: pd.DataFrame) -> None:
    """Gold reward of every arm of the length problems, dots are seeds, one panel a problem."""
    problems = list(dict.fromkeys(last.problem))
    _, axes = plt.subplots(1, len(problems), figsize=(9.2, 3.8), squeeze=False)
    for axis, problem in zip(axes[0], problems, strict=True):
        part = last[last.problem == problem]
        labels = list(dict.fromkeys(part.method))[::-1]
        for y, label in enumerate(labels):
            values = part[part.method == label].gold
            colour = FIXED if label.startswith("offline") else FRESH
            axis.plot(values, [y] * len(values), "o", ms=4, alpha=0.6, color=colour)
            axis.plot(values.mean(), y, "D", ms=7, color=colour)
        axis.axvline(references[references.problem == problem].gold.mean(), color="0.4", ls=":")
        axis.set_yticks(range(len(labels)), [pretty(label) for label in labels], fontsize="small")
        axis.set(title=f"{problem.capitalize()} Length", xlabel="gold reward, tokens")


def over_optimisation(course: pd.DataFrame, labels: Sequence[str]) -> None:
    """What the reward model thinks and what is true, against KL, on Min Length."""
    _, (left, right) = plt.subplots(1, 2, figsize=(8.2, 3.4))
    for label, colour in zip(labels, sns.color_palette("colorblind", len(labels)), strict=True):
        means = course[course.method == label].groupby("step")[["gold", "proxy", "kl"]].mean()
        left.plot(means.kl, means.proxy, "o-", ms=4, color=colour, label=pretty(label))
        right.plot(means.kl, means.gold, "o-", ms=4, color=colour)
    left.set(xlabel="KL to the reference, nats", ylabel="reward model's score")
    right.set(xlabel="KL to the reference, nats", ylabel="gold reward, tokens")
    left.legend(fontsize="small")
