"""The informative condition on a reader's table, as far as data can tell, and the advice that follows."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import KFold, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline

from loglik.information.unsupervised_pretraining.checks import Floats
from loglik.information.unsupervised_pretraining.workflow import RIDGES, Factors, Scaler, Sizes, Table, models
from loglik.stats.intervals import Estimate, mean


class Check(NamedTuple):
    """One thing that the theorem needs, looked at in the data."""

    needs: str
    found: str
    holds: bool
    then: str  # what to do where it doesn't hold


def signal_outside(table: Table, sizes: Sizes, random_state: int, repeats: int = 3) -> dict[str, Estimate]:
    """What x still tells about y once the representation is known, for each latent model.

    Cross-validated score (five folds, `repeats` times) of a linear head on representation *and* x minus
    that on the representation alone, all labelled rows. Well above 0: the target depends on what the
    latent model throws away, so pretraining has a floor that no number of rows can lower.
    """
    pool = np.concatenate([table.X, table.X_unlab])
    two_phase, _ = models(table.kind, sizes, table.X.shape[1], len(pool), random_state)
    scaled = Scaler(sizes.scaling).fit(pool).transform(table.X)
    head = LogisticRegression(max_iter=500) if table.kind == "classification" else RidgeCV(RIDGES)
    found = {}
    for name, model in two_phase.items():
        latent = clone(model.pretrainer).fit(pool).transform(table.X)
        both = np.column_stack([latent, scaled])
        gains = []
        for repeat in range(repeats):
            folds = KFold(5, shuffle=True, random_state=random_state % 2**30 + repeat)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                alone, wide = (cross_val_score(head, F, table.y, cv=folds) for F in (latent, both))
            gains.append(wide - alone)
        found[name] = mean(np.concatenate(gains), 1 / 4)
    return found


def weakest_factor(X: Floats, sizes: Sizes) -> float:
    """λ of the weakest fitted factor: smallest eigenvalue of B'Ψ⁻¹B."""
    fit = Factors(sizes.factors).fit(Scaler(sizes.scaling).fit(X).transform(X))
    scaled = fit.components_ / np.sqrt(fit.noise_variance_)
    return float(np.linalg.eigvalsh(scaled @ scaled.T)[0])


def same_rows(table: Table, random_state: int) -> float:
    """How well a classifier tells labelled from unlabelled rows: area under its ROC curve, cross-validated."""
    X = np.concatenate([table.X, table.X_unlab])
    origin = np.repeat([0, 1], [len(table.X), len(table.X_unlab)])
    model = make_pipeline(Scaler(), LogisticRegression(C=0.1, max_iter=500))
    folds = KFold(5, shuffle=True, random_state=random_state % 2**30)
    proba = cross_val_predict(model, X, origin, cv=folds, method="predict_proba")[:, 1]
    return float(roc_auc_score(origin, proba))


def check_condition(table: Table, sizes: Sizes, n: int, random_state: int) -> pd.DataFrame:
    """What the theorem needs, checked on the data; one row each (see :class:`Check`).

    Parameters
    ----------
    table : Table
    sizes : Sizes
    n : int
        Labels that the reader can afford: the smallest count of the comparison.
    random_state : int
    """
    pool = np.concatenate([table.X, table.X_unlab])
    m, d = pool.shape
    level = sizes.curve.groupby("model")["log_likelihood"].max()
    single = sizes.curve[(sizes.curve["model"] == "clusters") & (sizes.curve["size"] == 1)][
        "log_likelihood"
    ].max()
    lam = weakest_factor(pool, sizes)
    outside = signal_outside(table, sizes, random_state)
    checks = [
        Check(
            "many more rows than labels (m at least 20 n)",
            f"m = {m} rows for n = {n} labels",
            m >= 20 * n,
            "collect more rows without labels, or expect little",
        ),
        Check(
            f"the factor model fits the rows ({sizes.factors} factors)",
            f"held-out log-likelihood {level['factors']:.1f} a row; full covariance {level['full covariance']:.1f}, "
            f"independent columns {level['no latent variable']:.1f}",
            bool(level["factors"] >= level["full covariance"]),
            "a few factors don't describe these rows: don't use them",
        ),
        Check(
            "the weakest factor is above its phase transition (m at least 8d/λ²)",
            f"λ = {lam:.2g}, 8d/λ² = {8 * d / lam**2:.0f}, m = {m}",
            bool(m >= 8 * d / lam**2),
            "fewer factors, or more rows",
        ),
        Check(
            f"the rows have clusters ({sizes.clusters})",
            f"held-out log-likelihood {level['clusters']:.1f} a row; one cluster {single:.1f}",
            bool(level["clusters"] > single),
            "there are no clusters to name: don't use a mixture",
        ),
        *(
            Check(
                f"no signal outside the latent space: {name}",
                f"adding x to the representation changes the score by {gain.value:+.3f} "
                f"[{gain.low:+.3f}, {gain.high:+.3f}]",
                gain.low <= 0,
                "the representation has a floor: with enough labels supervised learning overtakes it",
            )
            for name, gain in outside.items()
        ),
    ]
    if len(table.X_unlab):
        area = same_rows(table, random_state)
        checks.append(
            Check(
                "rows with and without labels come from one source",
                f"a classifier tells them apart with area {area:.2f} under the ROC curve (chance 0.50)",
                area < 0.6,
                "the representation is learnt on other rows than it is used on: compare with care",
            )
        )
    return pd.DataFrame(checks).set_index("needs")


def advice(found: pd.DataFrame, checks: pd.DataFrame) -> str:
    """One paragraph: whether pretraining pays here, up to how many labels, and which condition fails."""
    pays, costs = found[found["verdict"] == "pays"], found[found["verdict"] == "costs"]
    failed = checks.index[~checks["holds"].to_numpy(dtype=bool)].tolist()
    if len(pays):
        best = pays.sort_values("difference").iloc[-1]
        text = (
            f"Pretraining pays here with few labels: {best['method']} beats {best['against']} by "
            f"{best['difference']:.3f} at n = {best['n']}; the last n at which it pays is {pays['n'].max()}."
        )
    elif len(costs) == len(found):
        text = "Pretraining does not pay here: at every label count a supervised method is better."
    else:
        text = "No two-phase method is clearly better than supervised learning at any of these label counts."
    late = costs[costs["n"] == found["n"].max()]
    if len(pays) and len(late) and pays["n"].max() < found["n"].max():
        text += f" At n = {found['n'].max()} it costs ({', '.join(late['method'])}): use the supervised method there."
    if failed:
        text += " Not met: " + "; ".join(failed) + "."
    return text
