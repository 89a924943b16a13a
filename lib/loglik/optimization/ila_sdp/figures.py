"""The chapter's figures. Each draws one talk slide from arrays or a tidy table and returns nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.patches import Ellipse
from matplotlib.ticker import FuncFormatter, NullFormatter

from loglik.optimization.ila_sdp import study
from loglik.optimization.ila_sdp.inputs import Floats, Ints

_C = sns.color_palette("colorblind")
COLOURS: dict[str, Any] = {
    study.KMEANS: _C[1],
    study.WARD: _C[5],
    study.SPECTRAL: _C[8],
    study.SDP: _C[3],
    study.EM: _C[2],
    study.EM_TEN: _C[9],
    study.EM_RANDOM: _C[6],
    study.EM_SAME: _C[2],
    study.ILA: _C[0],
    study.SOFT: _C[4],
    study.ORACLE: _C[7],
    study.BAYES: "black",
}
MARKERS = {
    study.KMEANS: "s",
    study.WARD: "X",
    study.SPECTRAL: "v",
    study.SDP: "^",
    study.EM: "D",
    study.EM_TEN: "P",
    study.EM_RANDOM: "h",
    study.EM_SAME: "d",
    study.ILA: "o",
    study.SOFT: "*",
    study.ORACLE: "p",
    study.BAYES: "_",
}
_CLUSTER = [_C[0], _C[1], _C[2], _C[4], _C[3], _C[5], _C[8], _C[9]]
_SHAPE = "o^sDvPX*"


def _plain_ticks(axis: Any, ticks: Sequence[float]) -> None:
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_ticks(list(ticks))
    axis.set_minor_formatter(NullFormatter())


def _ellipse(ax: Any, mean: Floats, sigma: Floats, colour: Any) -> None:
    """The ellipse that holds 90 % of a Gaussian."""
    values, vectors = np.linalg.eigh(sigma)
    angle = float(np.rad2deg(np.arctan2(vectors[1, 1], vectors[0, 1])))
    width, height = 2 * np.sqrt(4.605 * np.maximum(values[::-1], 0))
    ax.add_patch(Ellipse(tuple(mean), width, height, angle=angle, fill=False, ec=colour, lw=2))


def _clusters(ax: Any, X: Floats, labels: Ints, covariances: Floats | None = None) -> None:
    for k in np.unique(labels):
        rows, colour = labels == k, _CLUSTER[k % len(_CLUSTER)]
        ax.plot(*X[rows, :2].T, _SHAPE[k % len(_SHAPE)], ms=5, color=colour, alpha=0.75, mec="none")
        sigma = np.cov(X[rows, :2].T, bias=True) if covariances is None else covariances[k]
        if rows.sum() > 2:
            _ellipse(ax, X[rows, :2].mean(0), sigma, colour)


# -- method --------------------------------------------------------------------------------------------------


def partitions(
    X: Floats, found: Mapping[str, Ints], truth: Ints | None = None, *, wrong: bool = True
) -> None:
    """Scatter of the plane by method, with each cluster's ellipse; rows in the wrong cluster get a ring."""
    from loglik.optimization.ila_sdp.report import rename_like

    _, axes = plt.subplots(1, len(found), figsize=(3.3 * len(found) + 0.4, 3.5), sharex=True, sharey=True)
    for ax, (name, given) in zip(np.atleast_1d(axes), found.items(), strict=True):
        labels, title = given, name
        if truth is not None:
            labels = rename_like(given, truth, int(max(given.max(), truth.max())) + 1)
            bad = labels != truth
            title = f"{name}: {bad.mean():.0%} wrong"
            if wrong:
                ax.plot(*X[bad, :2].T, "o", ms=10, mfc="none", mec="black", mew=1)
        _clusters(ax, X, labels)
        ax.set(title=title, xlabel="x₁ (simulated units)", aspect="equal")
    np.atleast_1d(axes)[0].set_ylabel("x₂ (simulated units)")


def memberships(panels: Mapping[str, Floats], truth: Ints) -> None:
    """Heat maps of Z_1..Z_K (K, n, n), rows ordered by the truth: one line of panels an instance."""
    order = np.argsort(truth, kind="stable")
    K = len(next(iter(panels.values())))
    _, axes = plt.subplots(
        len(panels),
        K,
        figsize=(2.5 * K + 1, 2.5 * len(panels) + 0.3),
        squeeze=False,
        sharex=True,
        sharey=True,
    )
    top = max(float(Z.max()) for Z in panels.values())
    image: Any = None
    for line, (name, Z) in zip(axes, panels.items(), strict=True):
        for k, ax in enumerate(line):
            image = ax.imshow(Z[k][np.ix_(order, order)], cmap="Blues", vmin=0, vmax=top, rasterized=True)
            ax.grid(False)
            ax.set_title(f"Z{'₁₂₃₄₅₆'[k]}" + (f"   {name}" if k == 0 else ""), loc="left", fontsize="medium")
        line[0].set_ylabel("row, ordered by truth")
    for ax in axes[-1]:
        ax.set_xlabel("row, ordered by truth")
    axes[0, 0].figure.colorbar(image, ax=axes, shrink=0.7, label="entry of Z (mass)")


def bounds(paths: Mapping[str, pd.DataFrame]) -> None:
    """Lower bound and best rounding against the solver's iterations, from where the rounding ended."""
    _, axes = plt.subplots(1, len(paths), figsize=(4.6 * len(paths), 3.5), sharey=True)
    for ax, (name, path) in zip(np.atleast_1d(axes), paths.items(), strict=True):
        end = path["upper"].iloc[-1]
        ax.plot(path["iterations"], path["upper"] - end, "s-", ms=4, color=_C[1], label="best rounding")
        ax.plot(path["iterations"], path["lower"] - end, "o-", ms=4, color=_C[0], label="lower bound")
        ax.fill_between(path["iterations"], path["lower"] - end, path["upper"] - end, color=_C[0], alpha=0.15)
        ax.set(title=name, xlabel="iterations", ylim=(-10, 2))
    np.atleast_1d(axes)[0].set_ylabel("−2 log-likelihood\nminus that of the final labels")
    np.atleast_1d(axes)[0].legend()


# -- reproduction --------------------------------------------------------------------------------------------


def failures(table: pd.DataFrame) -> None:
    """Share of runs that fail, by method; bars: 95 % intervals over data sets."""
    methods = list(dict.fromkeys(table["method"]))
    _, ax = plt.subplots(figsize=(7.2, 3.4))
    for row, method in enumerate(methods):
        by_set: Any = (table[table["method"] == method].set_index("set")["error"] > study.FAILURE).groupby(
            "set"
        )
        rates = by_set.mean()
        ax.barh(-row, rates.mean(), color=COLOURS.get(method, _C[7]), height=0.6)
        ax.errorbar(rates.mean(), -row, xerr=1.96 * rates.sem(), color="black", capsize=4, lw=1.5)
        ax.text(rates.mean() + 1.96 * rates.sem() + 0.01, -row, f"{rates.mean():.0%}", va="center")
    ax.set_yticks([-row for row in range(len(methods))], methods)
    ax.set(xlabel="share of runs with a mis-clustering error above 0.1", xlim=(0, None))


def recovery(tables: Mapping[str, pd.DataFrame]) -> None:
    """Rate of exact recovery against separation over the threshold: one panel a table."""
    columns = min(2, len(tables))
    lines = -(-len(tables) // columns)
    _, axes = plt.subplots(
        lines, columns, figsize=(4.4 * columns, 2.9 * lines + 0.4), sharex=True, sharey=True, squeeze=False
    )
    for ax, (name, table) in zip(axes.flat, tables.items(), strict=False):
        for method in (study.BAYES, study.ORACLE, study.SDP):
            part = table[table["method"] == method]
            if not len(part):
                continue
            groups: Any = part.assign(recovered=part["recovered"].astype(float)).groupby("factor")[
                "recovered"
            ]
            mean, count = groups.mean(), groups.count()
            half = 1.96 * np.sqrt(
                (mean * (1 - mean) + 0.25 / count) / count
            )  # never zero, as Wald's is at 0 and 1
            reach = np.stack([np.minimum(half, mean), np.minimum(half, 1 - mean)])
            ax.errorbar(
                mean.index, mean, yerr=reach, color=COLOURS[method], marker=MARKERS[method], ms=7, capsize=3,
                ls="--" if method == study.BAYES else "-", label=method,
            )  # fmt: skip
        ax.axvline(1, color="0.5", lw=1, ls=":")
        ax.set(title=name, ylim=(-0.03, 1.03))
    for ax in axes[-1]:
        ax.set_xlabel("separation / threshold")
    for line in axes:
        line[0].set_ylabel("rate of exact recovery")
    axes.flat[len(tables) - 1].legend(loc="lower right", fontsize="small")
    for ax in axes.flat[len(tables) :]:
        ax.set_visible(False)


def method_errors(table: pd.DataFrame, column: str, methods: Sequence[str]) -> None:
    """Mean error by method, one panel a value of `column`; bars: two standard errors over data sets."""
    panels = list(dict.fromkeys(table[column]))
    lines = -(-len(panels) // 3)
    size = 9.6, lines * (0.26 * len(methods) + 1.1)
    _, axes = plt.subplots(lines, min(3, len(panels)), figsize=size, sharey=True, squeeze=False)
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    for ax, panel in zip(axes.flat, panels, strict=False):
        part = table[table[column] == panel]
        for row, method in enumerate(methods):
            errors = part[part["method"] == method]["error"]
            ax.errorbar(
                errors.mean(), -row, xerr=2 * errors.sem(), color=COLOURS[method], marker=MARKERS[method], ms=8,
                capsize=3,
            )  # fmt: skip
        ours = part[part["method"] == study.ILA]["error"].mean()
        ax.axvline(ours, color=COLOURS[study.ILA], lw=1, ls=":")
        ax.set(
            title=str(panel).replace(", sep", ",\nsep"),
            xlabel="error (share)",
            xlim=(0, None),
        )
        ax.title.set_fontsize("small")
    axes[0, 0].set_yticks([-row for row in range(len(methods))], methods)


def same_start(table: pd.DataFrame, designs: Sequence[str]) -> None:
    """Errors of EM and iLA-SDP from the same labels, one dot a data set; below the line iLA-SDP is better."""
    _, axes = plt.subplots(1, 2, figsize=(8.6, 4.2), sharex=True, sharey=True)
    top = 0.0
    for ax, method in zip(axes, (study.ILA, study.SOFT), strict=True):
        for i, design in enumerate(designs):
            wide = table[table["design"] == design].set_index(["set", "method"])["error"].unstack("method")  # noqa: PD010
            top = max(top, float(wide[[study.EM_SAME, method]].to_numpy().max()))
            ax.plot(
                wide[study.EM_SAME], wide[method], "os"[i % 2], ms=7, alpha=0.6, color=_C[i], label=design
            )
        ax.axline((0, 0), slope=1, color="black", lw=1, ls="--")
        ax.set(title=method, xlabel="error of EM, same Ward start (share)", aspect="equal")
    axes[0].set(xlim=(-0.01, 1.05 * top), ylim=(-0.01, 1.05 * top), ylabel="error of iLA-SDP (share)")
    axes[0].legend(fontsize="x-small", loc="upper left")


def dimension(table: pd.DataFrame, methods: Sequence[str]) -> None:
    """Mean error against the dimension, one panel a number of clusters; bars: two standard errors."""
    panels = sorted(table["K"].unique())
    _, axes = plt.subplots(1, len(panels), figsize=(4.4 * len(panels), 3.8), sharey=True, squeeze=False)
    for ax, K in zip(axes[0], panels, strict=True):
        for method in methods:
            groups: Any = table[(table["K"] == K) & (table["method"] == method)].groupby("p")["error"]
            mean, se = groups.mean(), groups.sem()
            ax.errorbar(
                mean.index, mean, yerr=2 * se, color=COLOURS[method], marker=MARKERS[method], ms=7, capsize=3,
                ls=":" if method == study.ORACLE else "-", label=method,
            )  # fmt: skip
        ax.set(title=f"K = {K}", xlabel="dimension p", ylim=(0, None))
        ax.set_xticks(sorted(table[table["K"] == K]["p"].unique()))
    axes[0, 0].set_ylabel("mis-clustering error (share)")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    axes[0, 0].figure.legend(handles, labels, ncols=3, loc="outside upper center")


def effort(table: pd.DataFrame) -> None:
    """Error and softness against the length of each solve; dashed: EM from the same start."""
    _, axes = plt.subplots(1, 2, figsize=(9, 3.5))
    wide: Any = table.groupby("iterations")
    d: Any = table.assign(gain=table["em"] - table["error"]).groupby("iterations")["gain"]
    axes[0].errorbar(d.mean().index, d.mean(), yerr=2 * d.sem(), color=_C[0], marker="o", ms=7, capsize=3)
    axes[0].axhline(0, color="black", lw=1, ls="--")
    axes[0].set(ylabel="error of EM, same start,\nminus that of iLA-SDP (share)")
    softness = wide["softness"].mean().clip(lower=0)
    axes[1].plot(softness.index, softness, "s-", color=_C[1], ms=6)
    axes[1].set(ylabel="softness: mean of\n1 − largest mass, last soft round", ylim=(0, None))
    for ax in axes:
        ax.set(xscale="log", xlabel="solver iterations in each soft round")
        _plain_ticks(ax.xaxis, sorted(table["iterations"].unique()))


def scaling(table: pd.DataFrame, slope: float) -> None:
    """CPU time of a solve against n on log axes, with the fitted slope and one of three."""
    _, ax = plt.subplots(figsize=(6.4, 3.8))
    groups: Any = table.groupby("n")["seconds"]
    mean = groups.mean()
    n = np.array(sorted(mean.index), dtype=float)
    ax.errorbar(
        mean.index,
        mean,
        yerr=2 * groups.sem(),
        color=_C[0],
        marker="o",
        ms=7,
        capsize=3,
        ls="",
        label="measured",
    )
    centre = np.exp(np.log(n).mean()), np.exp(np.log(mean).mean())
    ax.plot(n, centre[1] * (n / centre[0]) ** slope, color=_C[0], label=f"slope {slope:.2f}")
    ax.plot(n, mean.iloc[-1] * (n / n[-1]) ** 3, color="black", lw=1, ls="--", label="slope 3")
    ax.set(xscale="log", yscale="log", xlabel="rows n", ylabel="CPU time of one solve (seconds)")
    _plain_ticks(ax.xaxis, n.tolist())
    ax.legend()


# -- apply ---------------------------------------------------------------------------------------------------


def cluster_map(X: Floats, labels: Ints, names: Sequence[str]) -> None:
    """Two columns of the table, coloured by cluster, with each cluster's 90 % ellipse."""
    _, ax = plt.subplots(figsize=(6.4, 4.8))
    _clusters(ax, X, labels)
    handles = [
        plt.Line2D([], [], ls="", marker=_SHAPE[k % 8], color=_CLUSTER[k % 8], label=f"cluster {k}: {c} rows")
        for k, c in enumerate(np.bincount(labels))
    ]
    ax.legend(handles=handles, loc="best", fontsize="small")
    ax.set(xlabel=names[0], ylabel=names[1])


def stability(kept: Floats, agreement: Floats) -> None:
    """Rows by the share of refits in which they kept their cluster; agreement of the refits beside it."""
    _, axes = plt.subplots(1, 2, figsize=(9, 3.3))
    axes[0].hist(agreement, bins=np.linspace(min(0.0, float(agreement.min())), 1, 21).tolist(), color=_C[0])
    axes[0].set(xlabel="agreement of a refit with the full fit\n(adjusted Rand index)", ylabel="refits")
    axes[1].hist(kept[np.isfinite(kept)], bins=np.linspace(0, 1, 21).tolist(), color=_C[1])
    axes[1].set(xlabel="share of refits in which a row\nkept its cluster", ylabel="rows")


def gaussian_check(distance: Floats, p: int) -> None:
    """Squared Mahalanobis distances against chi-squared quantiles: a straight line for Gaussian clusters."""
    from scipy.stats import chi2

    expected = chi2.ppf((np.arange(len(distance)) + 0.5) / len(distance), p)
    _, ax = plt.subplots(figsize=(5.2, 3.8))
    ax.plot(expected, np.sort(distance), "o", ms=4, color=_C[0], alpha=0.6)
    ax.axline((0, 0), slope=1, color="black", lw=1, ls="--")
    ax.set(
        xlabel=f"quantile of χ² with {p} degrees of freedom",
        ylabel="squared distance in\nthe cluster's metric",
    )
