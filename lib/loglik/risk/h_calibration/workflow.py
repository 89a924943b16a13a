"""From a reader's file to an answer: reading logits, checking assumptions, an honest comparison."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import softmax
from sklearn.model_selection import StratifiedKFold

from loglik.risk.checks import Floats, check_finite
from loglik.risk.h_calibration.baselines import recalibrate
from loglik.risk.h_calibration.calibrator import PostHocCalibrator
from loglik.risk.h_calibration.datasets import TrainingPlan, load_digits, train_networks
from loglik.risk.h_calibration.inputs import check_labels
from loglik.risk.h_calibration.metrics import METRICS
from loglik.risk.h_calibration.report import Recalibration
from loglik.stats.intervals import mean

DIGITS = TrainingPlan(hidden=(64,), n_train=500, n_cal=600, epochs=60)


class Predictions(NamedTuple):
    """What a trained classifier said about rows that it wasn't trained on."""

    logits: pd.DataFrame  # (n, L), one column a class, named
    y: np.ndarray  # (n,) column numbers


def read_predictions(
    source: str, target: str, logits: Sequence[str] | None = None, seed: Sequence[int] | int = 0
) -> Predictions:
    """Logits and labels from a CSV, or from a network trained here on the digits.

    Parameters
    ----------
    source : str
        Path or URL of a CSV with one column a class (logits or log-probabilities) and one of labels; or
        "digits": a small network is trained on 500 digits, 20 % of them with random labels and predicts 1297 others.
    target : str
        Column of the labels: names of the logit columns, or their numbers from 0.
    logits : sequence of str, optional
        Columns of the logits; by default all but `target`.
    seed : int or sequence of int
        For the digits network.

    Raises
    ------
    ValueError
        For missing columns, values that aren't numbers (column and count), or labels that name no column.
    """
    if source == "digits":
        (split,) = train_networks(*load_digits(), DIGITS, np.random.SeedSequence(seed).spawn(1))
        z = np.concatenate([split.logits_cal, split.logits_test])
        names = [f"digit {k}" for k in range(z.shape[1])]
        return Predictions(pd.DataFrame(z, columns=names), np.concatenate([split.y_cal, split.y_test]))
    if not source.startswith(("http://", "https://")) and not Path(source).exists():
        raise ValueError(f"no file {source!r}; give the path or URL of a CSV, or 'digits'")
    table = pd.read_csv(source)
    columns = [c for c in table.columns if c != target] if logits is None else list(logits)
    absent = [c for c in (target, *columns) if c not in table.columns]
    if absent:
        raise ValueError(f"{source} has no column {absent[0]!r}; it has {', '.join(map(str, table.columns))}")
    numbers = table[columns].apply(pd.to_numeric, errors="coerce")
    check_finite(numbers.to_numpy(dtype=float), [f"'{c}'" for c in columns], "the logits")
    return Predictions(numbers.astype(float), _codes(table[target], columns))


def _codes(labels: pd.Series[Any], columns: Sequence[str]) -> np.ndarray:
    if labels.astype(str).isin(columns).all():
        return np.asarray(pd.Index(columns).get_indexer(pd.Index(labels.astype(str))), dtype=np.int64)
    numbers = pd.to_numeric(labels, errors="coerce")
    wrong = int(numbers.isna().sum())
    if wrong:
        raise ValueError(
            f"column '{labels.name}' has {wrong} labels that are neither a logit column's name nor its number"
        )
    return check_labels(numbers.to_numpy(dtype=float), len(numbers), len(columns))


def check_assumptions(given: Predictions, window: int = 200) -> pd.DataFrame:
    """What the method takes for granted, on these rows: one row an assumption.

    Returns
    -------
    DataFrame
        Columns found, needed, holds, then (what to do where it doesn't hold).
    """
    y, L = given.y, given.logits.shape[1]
    z = given.logits.to_numpy()
    counts = np.bincount(y, minlength=L)
    probs = softmax(z, axis=1)
    share = (window + 1) / z.size
    top = z.max(1)
    tied = int(((z == top[:, None]).sum(1) > 1).sum())
    bias = (probs.mean(0) - counts / len(y)) / np.sqrt(
        probs.var(0) / len(y) + (probs * (1 - probs)).mean(0) / len(y)
    )
    hits = float((probs.argmax(1) == y).mean())
    rows = {
        "held-out rows: accuracy below 100 %": (
            f"{hits:.1%}",
            "< 100 %",
            hits < 1,
            "were these rows used for training?",
        ),
        "rows enough for the window": (
            f"{share:.1%} of events",
            "≤ 10 %",
            share <= 0.1,
            "take a smaller window, or NLL",
        ),
        "classes exchangeable (for leaving one out)": (
            f"largest over smallest {counts.max() / max(counts.min(), 1):.1f}",
            "≤ 2",
            bool(counts.max() <= 2 * max(counts.min(), 1)),
            'leave_one_class_out "auto" pools all classes instead',
        ),
        "every class seen": (
            f"{int((counts == 0).sum())} absent",
            "0",
            bool((counts > 0).all()),
            "its probability can't be checked",
        ),
        "no class off as a whole (a shared map can't mend it)": (
            f"largest mean bias {np.abs(bias).max():.1f} standard errors",
            "≤ 3",
            bool(np.abs(bias).max() <= 3),
            "look at vector or matrix scaling",
        ),
        "top class unique": (f"{tied} ties", "0", tied == 0, "predictions on ties are arbitrary"),
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=["found", "needed", "holds", "then"])


def honest_comparison(
    given: Predictions,
    ours: Sequence[tuple[str, str]],
    public: Sequence[str],
    n_repeats: int,
    *,
    n_folds: int = 2,
    window: int = 200,
    epochs: int = 250,
    seed: int = 0,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every calibrator fitted on one part of the rows and scored on the other, repeatedly.

    Returns
    -------
    (DataFrame, DataFrame)
        Mean test scores of each method; and the difference of its Brier score and ECE from the uncalibrated
        ones with 95 % intervals that allow for the splits' overlap (Nadeau and Bengio) and a verdict.
    """
    z, y = given.logits.to_numpy(), given.y
    rows = []
    for repeat in progress(range(n_repeats)):
        folds = StratifiedKFold(n_folds, shuffle=True, random_state=seed + repeat).split(z, y)
        for fold, (fit, test) in enumerate(folds):
            models = {
                f"{kind}, {loss}": PostHocCalibrator(kind, loss, window=window, epochs=epochs)
                for kind, loss in ours
            }
            for name, probs in _recalibrated(z[fit], y[fit], z[test], models, public):
                scores = {
                    m: METRICS[m](probs, y[test]) for m in ("ECE", "KS", "class-wise ECE", "NLL", "Brier")
                }
                rows.append({"split": (repeat, fold), "method": name} | scores)
    table = pd.DataFrame(rows)
    means = table.groupby("method", sort=False)[["ECE", "KS", "class-wise ECE", "NLL", "Brier"]].mean()
    return means, _against_nothing(table, inflate=1 / (n_folds - 1))


def _recalibrated(
    fit: Floats, y: np.ndarray, test: Floats, models: dict[str, PostHocCalibrator], public: Sequence[str]
) -> Iterable[tuple[str, Floats]]:
    yield "uncalibrated", softmax(test, axis=1)
    for name, model in models.items():
        yield name, model.fit(fit, y).predict_proba(test)
    for name in public:
        yield f"{name} (probmetrics)", recalibrate(name, fit, y, test)


def _against_nothing(table: pd.DataFrame, inflate: float) -> pd.DataFrame:
    rows = []
    for metric in ("Brier", "ECE"):
        wide = table.set_index(["split", "method"])[metric].unstack("method")  # noqa: PD010
        for name in dict.fromkeys(table["method"]):
            if name == "uncalibrated":
                continue
            found = mean(wide[name] - wide["uncalibrated"], inflate)
            verdict = "better" if found.high < 0 else "worse" if found.low > 0 else "can't tell"
            rows.append((metric, name, found.value, found.low, found.high, verdict))
    return pd.DataFrame(rows, columns=["score", "method", "difference", "low", "high", "verdict"])


def map_as_json(answer: Recalibration) -> str:
    """The recommended map as JSON: its kind, settings and parameters; ``{"map": null}`` where there is none."""
    calibrator = answer.calibrator
    if calibrator is None:
        return json.dumps({"map": None, "reason": answer.reason})
    parameters = {name: value.tolist() for name, value in calibrator.map_.state_dict().items()}
    settings = {"map": calibrator.map, "loss": calibrator.loss, "bound": calibrator.bound}
    return json.dumps({**settings, "parameters": parameters, "reason": answer.reason}, indent=2)
