"""What the paper asks every modeller to report: one table of multiplicity for a data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import expit
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import cross_val_predict

from loglik.risk.predictive_multiplicity.estimator import LogisticERM
from loglik.risk.predictive_multiplicity.integer_program import discrepancy
from loglik.risk.predictive_multiplicity.levelset import LevelSet, Ranges, moved
from loglik.risk.predictive_multiplicity.loss import Floats, check_features, check_labels, with_intercept


def multiplicity_report(
    level_set: LevelSet,
    X_eval: Any,
    *,
    epsilons: Sequence[float] = (0.01, 0.05, 0.1),
    deltas: Sequence[float] = (0.05, 0.1, 0.2, 0.3),
    relative: bool = True,
    with_discrepancy: bool = True,
    **options: Any,
) -> pd.DataFrame:
    """Ranges, ambiguity and discrepancy over tolerances and risk differences.

    Parameters
    ----------
    level_set : LevelSet
        Gives data and baseline; its own epsilon plays no part.
    X_eval : array or DataFrame of shape (m, d)
        People.
    epsilons, deltas : sequences of float
    relative : bool
        Whether `epsilons` are shares of the baseline's loss.
    with_discrepancy : bool
        Whether to solve the integer programs. Without, the bounds are 0 and the ambiguity.
    **options
        For :func:`~loglik.risk.predictive_multiplicity.integer_program.discrepancy`.

    Returns
    -------
    DataFrame
        One row for each pair: epsilon (as given), nats, delta, width_mean, width_median, width_90, width_max,
        ambiguity, discrepancy_low, discrepancy_high (proven bounds), certified (largest distance between the ranges
        reached and proven, in probability).
    """
    table = []
    for epsilon in epsilons:
        near = level_set.with_epsilon(epsilon, relative)
        found = near.ranges(X_eval)
        for delta in deltas:
            ambiguity = near.ambiguity(X_eval, delta, ranges=found)
            bounds = (0.0, ambiguity)
            if with_discrepancy and ambiguity:
                solved = discrepancy(near, X_eval, delta, **options)
                bounds = (solved.lower, solved.upper)
            table.append(_row(near, found, epsilon, delta, ambiguity, bounds))
    return pd.DataFrame(table)


def _row(
    near: LevelSet,
    found: Ranges,
    epsilon: float,
    delta: float,
    ambiguity: float,
    bounds: tuple[float, float],
) -> dict[str, float]:
    middle, upper = np.quantile(found.width, [0.5, 0.9])
    return {
        "epsilon": epsilon,
        "nats": near.epsilon,
        "delta": delta,
        "width_mean": found.width.mean(),
        "width_median": middle,
        "width_90": upper,
        "width_max": found.width.max(),
        "ambiguity": ambiguity,
        "discrepancy_low": bounds[0],
        "discrepancy_high": bounds[1],
        "certified": found.gap,
    }


def ambiguity_curve(
    level_set: LevelSet, X_eval: Any, epsilons: Sequence[float], deltas: Sequence[float]
) -> pd.DataFrame:
    """Exact ambiguity over additive tolerances: columns epsilon, delta, ambiguity."""
    rows = []
    p0 = level_set.predict(X_eval)
    for epsilon in epsilons:
        found = level_set.with_epsilon(epsilon).ranges(X_eval)
        rows += [(epsilon, delta, moved(p0, found, delta).mean()) for delta in deltas]
    return pd.DataFrame(rows, columns=["epsilon", "delta", "ambiguity"])


def held_out_losses(models: Floats, X: Any, y: ArrayLike) -> Floats:
    """Mean log loss (b,) of models (b, p) on other rows: what a level set of the training rows says nothing about."""
    S = np.atleast_2d(models) @ with_intercept(check_features(X)).T
    positive = check_labels(y, S.shape[1])
    return np.asarray(np.logaddexp(0, np.where(positive, -S, S)).mean(axis=1))


def people_table(level_set: LevelSet, X_eval: pd.DataFrame, found: Ranges) -> pd.DataFrame:
    """One row for each person: risk, low, high, width, and the proven outer ends."""
    risk = expit(with_intercept(X_eval) @ level_set.w0)
    return pd.DataFrame(
        {
            "risk": risk,
            "low": found.low,
            "high": found.high,
            "width": found.width,
            "proven_low": found.outer_low,
            "proven_high": found.outer_high,
        },
        index=X_eval.index,
    )


def assumption_checks(
    level_set: LevelSet, X: pd.DataFrame, y: ArrayLike, *, random_state: int | None = None
) -> pd.DataFrame:
    """What the ranges rest on, checked on the data: columns assumption, holds, seen.

    A bounded level set (by linear program); a tolerance between a fifth of and five times the fitted model's own
    expected excess loss ``(d + 1) / 2n``; and a linear class that gradient boosting doesn't beat by more than 2 % of
    the held-out loss in three folds.

    Parameters
    ----------
    X : DataFrame of shape (n, d)
        The rows of the level set; its columns name an endless direction.
    y : array of shape (n,)
    random_state : int, optional
        For the boosting.
    """
    features, labels = X.to_numpy(), check_labels(y, len(X)).astype(int)
    boosting = HistGradientBoostingClassifier(
        max_iter=40, learning_rate=0.08, max_leaf_nodes=8, random_state=random_state
    )
    linear, boosted = (
        log_loss(labels, cross_val_predict(model, features, labels, cv=3, method="predict_proba"))
        for model in (LogisticERM(ridge=1e-4), boosting)
    )
    noise = level_set.rows.p / (2 * len(X))
    size = pd.Series(np.abs(level_set.endless_direction()[1:]), X.columns)
    culprits = ", ".join(map(str, size[size > 0].nlargest(3).index)) or "linearly dependent columns"
    tolerance = f"{level_set.epsilon:.4f} against {noise:.4f} nats"
    rows = [
        ("level set bounded", not level_set.endless, f"no: {culprits}" if level_set.endless else "yes"),
        ("tolerance not below a fifth of sampling noise", level_set.epsilon > noise / 5, tolerance),
        ("tolerance not above five times sampling noise", level_set.epsilon < 5 * noise, tolerance),
        (
            "linear class not clearly beaten",
            linear < 1.02 * boosted,
            f"held-out loss {linear:.4f}, boosting {boosted:.4f}",
        ),
    ]
    return pd.DataFrame(rows, columns=["assumption", "holds", "seen"])
