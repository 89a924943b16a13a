"""Should these logits be recalibrated at all, and if so with what: ``calibrate``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import softmax
from scipy.stats import norm
from sklearn.base import clone
from sklearn.model_selection import StratifiedKFold

from loglik.risk.checks import Floats
from loglik.risk.h_calibration.calibrator import PostHocCalibrator
from loglik.risk.h_calibration.inputs import check_labels, check_table
from loglik.risk.h_calibration.metrics import (
    METRICS,
    classwise_ece,
    ece,
    expected_under_calibration,
    ks_error,
)

UNCALIBRATED = "uncalibrated"
TESTS = {"KS": ks_error, "class-wise ECE": classwise_ece}


@dataclass(frozen=True)
class Recalibration:
    """What :func:`calibrate` found."""

    worth_it: bool  # a gap beyond noise, and a map that lowers the out-of-sample error
    reason: str  # one sentence for people
    best: str  # the candidate with the largest gain, whether worth it or not
    calibrator: PostHocCalibrator | None  # fitted to all rows; None where it isn't worth it
    p_value: float  # of the hypothesis that the reported probabilities are the true ones
    noise: float  # 95 % of calibrated predictors with these probabilities have an ECE below this
    table: pd.DataFrame  # out-of-fold metrics of every candidate; gain in Brier score with its interval

    def predict_proba(self, logits: Any) -> Floats:
        """Probabilities (m, L): recalibrated where that was worth it, else the softmax."""
        if self.calibrator is not None:
            return self.calibrator.predict_proba(logits)
        return np.asarray(softmax(check_table(logits, "logits"), axis=1))


def default_candidates() -> dict[str, PostHocCalibrator]:
    """One temperature and the piecewise-linear map, each by likelihood and by the h loss."""
    return {
        f"{name}, {loss}": PostHocCalibrator(name, loss)
        for name in ("temperature", "pwl")
        for loss in ("nll", "h")
    }


def calibrate(
    logits: Any,
    labels: Any,
    *,
    candidates: Mapping[str, PostHocCalibrator] | None = None,
    n_folds: int = 5,
    level: float = 0.95,
    n_draws: int = 200,
    random_state: int = 0,
) -> Recalibration:
    r"""Recalibrate where it is worth it, and say so where it isn't.

    Two questions, both on data that the network was not trained on:

    1. *Is there anything to mend?* Labels are drawn `n_draws` times from the reported probabilities; were
       those true, the observed gap would look like the drawn ones. The p-value (top-label KS error and
       class-wise ECE, Bonferroni) is exact for that hypothesis, whatever n is.
    2. *Does mending help out of sample?* Each candidate is fitted in `n_folds` folds; its gain is the mean
       decrease of the Brier score on held-out rows, paired row by row with the uncalibrated predictions.

    It is worth it when p < 1 − level and the best candidate's whole interval lies above zero.

    Parameters
    ----------
    logits : array of shape (n, L)
        Of rows that the classifier was not trained on. Log-probabilities do as well.
    labels : array of shape (n,)
        Column numbers 0..L-1.
    candidates : mapping of str to PostHocCalibrator, optional
        By default :func:`default_candidates`.
    n_folds : int
        Stratified folds.
    level : float
        Of the test and (Bonferroni over the candidates) of the intervals.
    n_draws : int
        Simulated label sets; the smallest p-value is 2 / (n_draws + 1).
    random_state : int
        For the draws and the folds.

    Returns
    -------
    Recalibration

    Raises
    ------
    ValueError
        For NaN (column and count), labels out of range, one class only, too few rows a fold, no candidates.

    Notes
    -----
    "Not worth it" is about *these* rows: with few of them a real gap may hide in the noise, and `noise` says how
    large. Cost: n_folds + 1 fits of each candidate (seconds for 2000 rows and 10 classes).

    Examples
    --------
    >>> from loglik.risk.h_calibration import simulate_posterior
    >>> fine = simulate_posterior(600, 3, rng=np.random.default_rng(2))
    >>> quick = {"temperature, nll": PostHocCalibrator("temperature", "nll")}
    >>> calibrate(fine.logits, fine.y, candidates=quick).worth_it
    False
    >>> calibrate(3 * fine.logits, fine.y, candidates=quick).worth_it
    True
    """
    table = check_table(logits, "logits")
    y = check_labels(labels, *table.shape)
    maps = dict(default_candidates() if candidates is None else candidates)
    if not maps:
        raise ValueError("candidates is empty: give at least one PostHocCalibrator")
    if not 0 < level < 1 or n_draws < 1:
        raise ValueError(
            f"level must lie between 0 and 1 and n_draws be at least 1, got {level} and {n_draws}"
        )
    rng = np.random.default_rng(random_state)
    probs = softmax(table, axis=1)
    p_value = _p_value(probs, y, n_draws, rng)
    noise = float(np.quantile(expected_under_calibration(probs, ece, n_draws=n_draws, rng=rng), 0.95))
    held_out = {UNCALIBRATED: probs} | _out_of_fold(table, y, maps, n_folds, random_state)
    results = _table(held_out, y, level, len(maps))
    best = str(results.loc[list(maps), "gain"].idxmax())
    worth_it, reason = _verdict(results.T[best], best, p_value, noise, ece(probs, y), level)
    fitted = clone(maps[best]).fit(table, y) if worth_it else None
    return Recalibration(worth_it, reason, best, fitted, p_value, noise, results)


def _p_value(probs: Floats, y: np.ndarray, n_draws: int, rng: np.random.Generator) -> float:
    """Monte-Carlo test that labels were drawn from the rows of `probs`: the smallest of two, Bonferroni."""
    found = []
    for metric in TESTS.values():
        drawn = expected_under_calibration(probs, metric, n_draws=n_draws, rng=rng)
        found.append((1 + (drawn >= metric(probs, y)).sum()) / (n_draws + 1))
    return float(min(1.0, len(found) * min(found)))


def _out_of_fold(
    logits: Floats, y: np.ndarray, maps: Mapping[str, PostHocCalibrator], n_folds: int, seed: int
) -> dict[str, Floats]:
    least = np.bincount(y)[np.unique(y)].min()
    if not 2 <= n_folds <= least:
        raise ValueError(
            f"n_folds must lie between 2 and the rows of the smallest class ({least}), got {n_folds}"
        )
    folds = list(StratifiedKFold(n_folds, shuffle=True, random_state=seed).split(logits, y))
    result = {}
    for name, calibrator in maps.items():
        probs = np.empty_like(logits)
        for train, test in folds:
            probs[test] = clone(calibrator).fit(logits[train], y[train]).predict_proba(logits[test])
        result[name] = probs
    return result


def _table(held_out: dict[str, Floats], y: np.ndarray, level: float, n_candidates: int) -> pd.DataFrame:
    L = held_out[UNCALIBRATED].shape[1]
    z = norm.ppf(1 - (1 - level) / (2 * n_candidates))
    truth = y[:, None] == np.arange(L)
    before = ((held_out[UNCALIBRATED] - truth) ** 2).sum(1)
    rows = {}
    for name, probs in held_out.items():
        gain = before - ((probs - truth) ** 2).sum(1)
        se = gain.std(ddof=1) / np.sqrt(len(y))
        scores = {metric: of(probs, y) for metric, of in METRICS.items()}
        rows[name] = scores | {
            "gain": gain.mean(),
            "low": gain.mean() - z * se,
            "high": gain.mean() + z * se,
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def _verdict(
    row: pd.Series[Any], best: str, p_value: float, noise: float, observed: float, level: float
) -> tuple[bool, str]:
    gap = f"ECE {observed:.3f}, and up to {noise:.3f} is noise with so many rows; p {p_value:.2g}"
    gain = f"{row['gain']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}] in Brier score out of fold"
    if p_value >= 1 - level:
        return False, f"Not worth it: the probabilities can't be told from true ones ({gap})."
    if row["low"] <= 0:
        return False, f"Not worth it: there is a gap ({gap}), but no map clearly mends it ({best}: {gain})."
    return True, f"Worth it: {best} gains {gain} ({gap})."
