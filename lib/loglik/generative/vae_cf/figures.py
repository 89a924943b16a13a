"""The chapter's figures. Each draws one talk slide from tidy numbers and returns nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.collections import EllipseCollection
from matplotlib.patches import Circle
from matplotlib.ticker import MaxNLocator, NullFormatter, PercentFormatter
from numpy.typing import NDArray
from scipy import sparse

from loglik.generative.vae_cf.examples import Plane
from loglik.generative.vae_cf.training import History

_COLOURS = sns.color_palette("colorblind")
COLOURS = {
    "Mult-VAE": _COLOURS[0],
    "Mult-DAE": _COLOURS[1],
    "EASE": _COLOURS[2],
    "WMF": _COLOURS[3],
    "popularity": _COLOURS[7],
}
METRIC_NAMES = {"ndcg@100": "NDCG@100", "recall@20": "Recall@20", "recall@50": "Recall@50"}


def interactions(X: sparse.csr_matrix) -> None:
    """The click matrix, sorted both ways, beside popularity and activity."""
    activity, counts = np.diff(X.indptr), np.asarray(X.sum(axis=0)).ravel()
    ordered = sparse.coo_matrix(X[np.argsort(-activity)][:, np.argsort(-counts)])
    _, (left, middle, right) = plt.subplots(1, 3, figsize=(10, 3.4), width_ratios=(1.3, 1, 1))
    left.plot(ordered.col, ordered.row, ",", color=_COLOURS[0], alpha=0.6, rasterized=True)
    left.set(xlabel="item, by popularity", ylabel="user, by activity")
    left.invert_yaxis()
    left.grid(False)
    middle.loglog(np.arange(1, len(counts) + 1), np.sort(counts)[::-1], color=_COLOURS[0])
    middle.set(xlabel="rank of item", ylabel="users who clicked it")
    right.hist(activity, bins=np.geomspace(activity.min(), activity.max(), 25), color=_COLOURS[0])
    right.set(xscale="log", xlabel="clicks of a user", ylabel="users")


def pushes(table: pd.DataFrame, items: Sequence[str], x: NDArray[Any]) -> None:
    """Gradients of the three log-likelihoods in the logits of one user."""
    _, axes = plt.subplots(1, 3, figsize=(10, 3.2), sharey=True)
    places = np.arange(len(items))[::-1]
    for ax, name in zip(axes, table, strict=True):
        push = table[name].to_numpy()
        ax.barh(places, push, color=[_COLOURS[2] if c else _COLOURS[3] for c in x], height=0.7)
        ax.axvline(0, color="k", lw=0.8)
        ax.set(xlabel="push on the logit", title=f"{name}: sum {push.sum():+.1f}")
        ax.set_yticks(places, [f"{i} ✓" if c else i for i, c in zip(items, x, strict=True)])
    axes[0].grid(axis="y", visible=False)


def moving_mass(
    before: NDArray[Any], after: NDArray[Any], titles: Sequence[str], clicked: Sequence[str]
) -> None:
    """Probability of the items that change most when one more item is clicked."""
    _, ax = plt.subplots(figsize=(8, 0.36 * len(titles) + 1.2))
    places = np.arange(len(titles))[::-1]
    ax.hlines(places, before, after, color="0.7", lw=3, zorder=1)
    ax.scatter(before, places, color=_COLOURS[7], s=36, label=clicked[0], zorder=2)
    ax.scatter(after, places, color=_COLOURS[0], s=36, label=clicked[1], zorder=3)
    ax.set_yticks(places, titles)
    ax.set(xlabel="probability of being the next click")
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)


def latent_planes(planes: Sequence[Plane], angle: NDArray[Any]) -> None:
    """Posteriors of all users in the plane, one panel a β, coloured by true taste; the prior is the dashed circle."""
    _, axes = plt.subplots(1, len(planes), figsize=(3.5 * len(planes), 3.9))
    for ax, plane in zip(np.atleast_1d(axes), planes, strict=True):
        sizes = 2 * plane.scale
        ellipses = EllipseCollection(
            sizes[:, 0], sizes[:, 1], np.zeros(len(sizes)), units="xy", offsets=plane.mean,
            offset_transform=ax.transData, facecolors=plt.get_cmap("twilight")(angle / (2 * np.pi)),
            edgecolors="none", alpha=0.35, rasterized=True,
        )  # fmt: skip
        ax.add_collection(ellipses)
        ax.scatter(*plane.mean.T, c=angle, cmap="twilight", s=5, rasterized=True)
        ax.add_patch(Circle((0, 0), 2, fill=False, ls="--", color="k", lw=1))
        reach = max(2.6, 1.05 * float(np.abs(plane.mean).max()))
        ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xlabel="$z_1$", ylabel="$z_2$")
        ax.set_title(f"β = {plane.beta:g}: rate {plane.rate:.1f} nats\n{-plane.log_lik:.2f} nats a click")


def learning_curves(table: pd.DataFrame) -> None:
    """NDCG against the number of training users."""
    _, ax = plt.subplots()
    for method, part in table.groupby("method", sort=False):
        ax.errorbar(
            part["users"], part["ndcg"], yerr=2 * part["se"], fmt="o-", capsize=3,
            color=COLOURS[str(method)], label=str(method),
        )  # fmt: skip
    ax.set(xscale="log", xlabel="training users", ylabel="NDCG@100 of held-out users")
    ticks = sorted(table["users"].unique())
    ax.set_xticks(ticks, [f"{t:,}" for t in ticks])
    ax.minorticks_off()
    ax.legend()


def annealing(runs: Mapping[str, History], peak: float) -> None:
    """Validation NDCG by epoch for each schedule, and along the ramp against β."""
    _, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.8), sharey=True)
    for colour, (name, history) in zip((_COLOURS[3], _COLOURS[7], _COLOURS[0]), runs.items(), strict=False):
        left.plot(np.arange(1, len(history.val) + 1), history.val, color=colour, label=name)
    left.set(xlabel="epoch", ylabel="validation NDCG@100")
    left.legend(loc="lower right")
    ramp = list(runs.values())[1]
    right.plot(ramp.beta, ramp.val, ".", color=_COLOURS[7], label="an epoch of the ramp")
    smooth = pd.Series(ramp.val).rolling(5, center=True, min_periods=1).mean()
    right.plot(ramp.beta, smooth, color="k", lw=1.5, label="running mean of 5")
    right.axvline(peak, color=_COLOURS[0], ls="--", label=f"peak, β = {peak:.2f}")
    right.set(xlabel="β along the ramp to 1")
    right.set_ylim(np.nanmin(smooth) - 0.05, None)
    right.legend(loc="lower right")


def scoreboard(table: pd.DataFrame, reference: str) -> None:
    """Mean metric of every method with two standard errors; `reference` as a band."""
    order = table.index[::-1]
    _, axes = plt.subplots(1, 3, figsize=(10.5, 0.34 * len(table) + 1.3), sharey=True)
    for ax, (metric, label) in zip(axes, METRIC_NAMES.items(), strict=True):
        mean, se = table["mean"][metric], table["SE"][metric]
        ax.axvspan(mean[reference] - 2 * se[reference], mean[reference] + 2 * se[reference], color="0.92")
        colours = [COLOURS.get(str(name), _COLOURS[9]) for name in order]
        for place, (name, colour) in enumerate(zip(order, colours, strict=True)):
            ax.errorbar(mean[name], place, xerr=2 * se[name], fmt="o", color=colour, capsize=3)
        ax.set_xlabel(label)
    axes[0].set_yticks(np.arange(len(order)), order)


def forest(table: pd.DataFrame, xlabel: str = "difference in NDCG@100") -> None:
    """Paired differences with 95 % intervals, one row a pair."""
    part = table[table["metric"] == "ndcg@100"][::-1]
    _, ax = plt.subplots(figsize=(8, 0.36 * len(part) + 1.2))
    for place, (value, low, high) in enumerate(part[["value", "low", "high"]].to_numpy()):
        colour = _COLOURS[0] if low > 0 or high < 0 else _COLOURS[7]
        ax.errorbar(value, place, xerr=[[value - low], [high - value]], fmt="o", capsize=3, color=colour)
    ax.axvline(0, color="k", lw=1)
    ax.set_yticks(np.arange(len(part)), part["pair"])
    ax.set(xlabel=xlabel)


def activity(panels: Mapping[str, tuple[pd.DataFrame, str]]) -> None:
    """Differences by activity, one panel a data set: title to table and label of the axis."""
    _, axes = plt.subplots(1, len(panels), figsize=(4.8 * len(panels), 3.6), squeeze=False)
    for ax, (title, (table, label)) in zip(axes[0], panels.items(), strict=True):
        ax.errorbar(
            table["clicks"],
            table["difference"],
            yerr=1.96 * table["se"],
            fmt="o-",
            capsize=3,
            color=_COLOURS[0],
        )
        ax.axhline(0, color="k", lw=1)
        ax.set(xscale="log", xlabel="fold-in clicks (median of the fifth)", ylabel=label, title=title)
        ticks = table["clicks"].to_numpy()
        ax.set_xticks(ticks, [f"{t:.0f}" for t in ticks])
        ax.minorticks_off()


def plane_of_information(table: pd.DataFrame) -> None:
    """Rate, its two parts and the distortion against β; points are folds."""
    _, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.9))
    mean = table.groupby("beta").mean(numeric_only=True)
    places = np.arange(len(mean))
    folds = table["beta"].map(dict(zip(mean.index, places, strict=True)))
    for column, label, colour, marker in (
        ("rate", "rate (exact)", "k", "o"),
        ("marginal_kl", "divergence KL(q(z) ‖ p(z))", _COLOURS[1], "s"),
        ("mutual_information", "mutual information I(x; z)", _COLOURS[0], "^"),
    ):
        left.plot(folds, table[column], marker, color=colour, ms=4, alpha=0.6)
        left.plot(places, mean[column], "-", color=colour, label=label)
    left.set_xticks(places, [f"{b:g}" for b in mean.index])
    left.set(xlabel="β", ylabel="nats a user", yscale="log")
    left.legend(loc="lower left", bbox_to_anchor=(0, 1), fontsize="small")
    right.plot(mean["rate"], mean["distortion"], "-", color="0.7")
    for beta, part in table.groupby("beta"):
        right.plot(part["rate"], part["distortion"], "o", ms=5, label=f"β = {beta:g}")
    right.set(xscale="log", xlabel="rate (nats a user)", ylabel="distortion (nats a user)")
    right.xaxis.set_minor_formatter(NullFormatter())
    right.legend()


def costs(table: pd.DataFrame) -> None:
    """CPU time to train and for a new user."""
    _, axes = plt.subplots(1, 2, figsize=(9, 0.36 * len(table) + 1.4), sharey=True)
    places = np.arange(len(table))[::-1]
    for ax, column, label in zip(
        axes,
        ("train_s", "user_us"),
        ("training (CPU seconds)", "prediction (CPU µs a new user)"),
        strict=True,
    ):
        ax.plot(table[column], places, "o", color=_COLOURS[0])
        ax.set(xscale="log", xlabel=label)
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set_xlim(float(table[column].min()) / 3, float(table[column].max()) * 3)
    axes[0].set_yticks(places, table.index)


def recommendation_cards(cards: Mapping[str, tuple[Sequence[str], Sequence[str]]]) -> None:
    """What some users have (left) and what they are recommended (right)."""
    _, axes = plt.subplots(len(cards), 1, figsize=(9, 2.0 * len(cards)), squeeze=False)
    for ax, (name, (has, gets)) in zip(axes[:, 0], cards.items(), strict=True):
        ax.axis("off")
        ax.set_title(name, loc="left")
        for x, head, lines, colour in (
            (0.0, "has", has, "0.25"),
            (0.5, "recommended", gets, _COLOURS[0]),
        ):
            ax.text(x, 1.0, head, va="top", weight="bold", color=colour, transform=ax.transAxes, size="small")
            ax.text(x, 0.84, "\n".join(lines), va="top", color=colour, transform=ax.transAxes, size="small")
