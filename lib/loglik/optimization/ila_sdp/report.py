"""What the apply notebook asks of the reader's data: starts compared, assumptions checked, stability measured."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment
from scipy.stats import chi2
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score

from loglik.optimization.ila_sdp import baselines
from loglik.optimization.ila_sdp.estimator import ILASDP, STARTS
from loglik.optimization.ila_sdp.inputs import Floats, Ints
from loglik.optimization.ila_sdp.study import Progress


class Fit(NamedTuple):
    """The likeliest of several starts, and the table that compares them."""

    model: ILASDP
    starts: pd.DataFrame  # start, -2 log-likelihood, certified, gap, rows that differ from the best


def fit_best(X: Floats, model: ILASDP, starts: Sequence[str] = STARTS) -> Fit:
    """Fit from several starts and keep the one with the highest likelihood.

    The likelihood of labels and covariances is the same function whatever the start, so it may choose.
    """
    fits = {}
    for start in starts:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the table below says what happened
            fits[start] = ILASDP(**{**model.get_params(), "init": start}).fit(X)
    best = min(fits.values(), key=lambda fit: fit.negloglik_)
    table = pd.DataFrame(
        {
            "start": list(fits),
            "-2 log-likelihood": [fit.negloglik_ for fit in fits.values()],
            "proven best for its shapes": [fit.certified_ for fit in fits.values()],
            "gap at most": [fit.gap_ for fit in fits.values()],
            "agreement with the kept": [
                adjusted_rand_score(best.labels_, fit.labels_) for fit in fits.values()
            ],
        }
    )
    return Fit(best, table.sort_values("-2 log-likelihood", ignore_index=True))


def mahalanobis(X: Floats, model: ILASDP) -> Floats:
    """Squared distance (n,) of each row from its cluster's mean, in its cluster's metric."""
    out = np.empty(len(X))
    for k, sigma in enumerate(model.covariances_):
        rows = model.labels_ == k
        gaps = X[rows] - X[rows].mean(0) if rows.any() else X[rows]
        out[rows] = (gaps * np.linalg.solve(sigma, gaps.T).T).sum(1)
    return out


def check_assumptions(X: Floats, model: ILASDP) -> pd.DataFrame:
    """What the method takes for granted, and whether these data keep it.

    Returns
    -------
    DataFrame
        Columns assumption, found, holds, then (what to do where it doesn't hold).
    """
    p, sizes = X.shape[1], np.bincount(model.labels_, minlength=model.n_clusters)
    outside = float((mahalanobis(X, model) > chi2.ppf(0.99, p)).mean())
    undecided = float((model.membership_.max(1) < 0.8).mean())
    shapes = shape_contrast(model.covariances_)
    floor = float(np.linalg.eigvalsh(model.covariances_).min() / max(model.reg, 1e-300))
    rows = [
        ("every cluster has rows to estimate its shape", f"smallest: {sizes.min()} rows, {p} columns",
         sizes.min() > 2 * p, "fewer columns (n_components), covariance_type='diag', or shrinkage=0.5"),
        ("clusters are near Gaussian", f"{outside:.1%} of rows beyond the 99 % ellipsoid", outside < 0.05,
         "transform skewed columns (log); look for curved clusters and outliers"),
        ("shapes differ", f"covariances differ by a factor of {shapes:.1f}", shapes > 1.5,
         "K-means or covariance_type='tied' does the same for less"),
        ("rows are decided", f"{undecided:.1%} of rows without a mass of 0.8", undecided < 0.1,
         "read the masses instead of the labels; perhaps fewer clusters"),
        ("the ridge doesn't shape the clusters", f"least variance is {floor:.1f} times the ridge", floor > 2,
         "a smaller reg, or fewer columns"),
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["assumption", "found", "holds", "then"])


def shape_contrast(covariances: Floats) -> float:
    """Geometric mean over pairs of clusters of the largest ratio between their variances in any direction."""
    logs = []
    for i, a in enumerate(covariances):
        for b in covariances[i + 1 :]:
            ratios = np.linalg.eigvals(np.linalg.solve(a, b)).real
            logs.append(np.log(max(ratios.max(), 1 / ratios.min())))
    return float(np.exp(np.mean(logs))) if logs else 1.0


class Stability(NamedTuple):
    """Refits on random parts of the rows."""

    agreement: Floats  # (repeats,) adjusted Rand index with the full fit, on the part's rows
    kept: Floats  # (n,) share of its refits in which a row kept its cluster; NaN where it was never drawn


def stability(
    X: Floats,
    model: ILASDP,
    n_repeats: int,
    rng: np.random.Generator,
    *,
    share: float = 0.8,
    progress: Progress = iter,
) -> Stability:
    """Refit on random parts of the rows and compare labels there: a clustering should not depend on who was sampled."""
    n, K = len(X), model.n_clusters
    kept, seen, agreement = np.zeros(n), np.zeros(n), []
    for _ in progress(range(n_repeats)):
        part = rng.choice(n, max(K + 1, round(share * n)), replace=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            labels = ILASDP(**model.get_params()).fit_predict(X[part])
        agreement.append(adjusted_rand_score(model.labels_[part], labels))
        kept[part] += rename_like(labels, model.labels_[part], K) == model.labels_[part]
        seen[part] += 1
    shares = np.where(seen > 0, kept / np.maximum(seen, 1), np.nan)
    return Stability(np.array(agreement), shares)


def rename_like(labels: Ints, reference: Ints, n_clusters: int) -> Ints:
    """`labels` with the names that agree best with `reference`."""
    table = np.zeros((n_clusters, n_clusters))
    np.add.at(table, (labels, reference), 1)
    _, name = linear_sum_assignment(table, maximize=True)
    return np.asarray(name[labels], dtype=int)


def rivals(X: Floats, model: ILASDP, seed: int) -> dict[str, Ints]:
    """Labels of other methods on the same rows, with names matched to the model's."""
    K = model.n_clusters
    found: dict[str, Any] = {
        "iLA-SDP": model.labels_,
        "K-means": baselines.kmeans_labels(X, K, seed),
        "Ward": baselines.ward_labels(X, K),
        "spectral": baselines.spectral_labels(X, K, seed),
        "EM, 10 restarts": baselines.em_labels(X, K, seed, reg=model.reg, n_init=10),
    }
    return {name: rename_like(labels, model.labels_, K) for name, labels in found.items()}
