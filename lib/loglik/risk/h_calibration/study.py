"""The chapter's experiments on real networks, each a function that returns one tidy table.

A table has a row for each network and method. Networks differ in everything random (split, label noise,
weights, batches), so a t interval over them covers all of that; their test sets share some images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from loglik.risk.checks import Floats
from loglik.risk.h_calibration.baselines import PUBLIC, recalibrate
from loglik.risk.h_calibration.calibrator import PostHocCalibrator, proper_loss, train_map
from loglik.risk.h_calibration.datasets import TASKS, Split, load_task
from loglik.risk.h_calibration.loss import LossOptions, _subsets, fast_loss, noise_floor, subset_losses
from loglik.risk.h_calibration.maps import PiecewiseLinearMap
from loglik.risk.h_calibration.metrics import METRICS, classwise_ece, debiased_ece, ece, skce
from loglik.stats.intervals import Estimate, mean

UNCALIBRATED = "uncalibrated"
H, NLL, BRIER, LIBRARY = "h", "NLL", "Brier", "probmetrics"
OURS = (
    ("temperature", "nll"),
    ("temperature", "brier"),
    ("temperature", "h"),
    ("pwl", "nll"),
    ("pwl", "brier"),
    ("pwl", "h"),
    ("ensemble", "nll"),
    ("ensemble", "h"),
    ("monotone", "nll"),
    ("monotone", "h"),
)
_NAMES = {"h": H, "nll": NLL, "brier": BRIER}
Progress = Callable[[Iterable[Any]], Iterable[Any]]


def scores(probs: Floats, y: np.ndarray) -> dict[str, float]:
    """Every metric of the chapter but the kernel one, by name."""
    return {name: metric(probs, y) for name, metric in METRICS.items()}


# -- C1, C2, C5, C8: the main table --------------------------------------------------------------------------


def method_study(
    splits: Sequence[Split],
    ours: Sequence[tuple[str, str]] = OURS,
    public: Sequence[str] = PUBLIC,
    *,
    epochs: int = 250,
    window: int = 200,
    progress: Progress = iter,
) -> pd.DataFrame:
    """Test metrics of every map and loss, and of the public library, on the same splits (C1, C2, C5, C8).

    Returns
    -------
    DataFrame
        Columns network, map, loss ("–" uncalibrated, "probmetrics" for the library), flips (test rows whose
        predicted class changed) and one a metric.
    """
    rows = []
    for network, split in progress(list(enumerate(splits))):
        before = softmax(split.logits_test, axis=1)
        found = {(UNCALIBRATED, "–"): before}
        for kind, loss in ours:
            calibrator = PostHocCalibrator(
                kind, loss, epochs=epochs, window=window, leave_one_class_out=True, random_state=network
            )
            fitted = calibrator.fit(split.logits_cal, split.y_cal)
            found[kind, _NAMES[loss]] = fitted.predict_proba(split.logits_test)
        for name in public:
            found[name, LIBRARY] = recalibrate(name, split.logits_cal, split.y_cal, split.logits_test)
        rows += [
            {"network": network, "map": kind, "loss": loss, "flips": _flips(before, probs)}
            | scores(probs, split.y_test)
            for (kind, loss), probs in found.items()
        ]
    return pd.DataFrame(rows)


def _flips(before: Floats, after: Floats) -> int:
    return int((before.argmax(1) != after.argmax(1)).sum())


def task_ranks(
    tasks: Sequence[str], published: pd.DataFrame, *, epochs: int = 2000, progress: Progress = iter
) -> pd.DataFrame:
    """The paper's tasks: our best map by calibration ECE among the published methods (C1e).

    Parameters
    ----------
    tasks : sequence of str
        Keys of ``datasets.TASKS`` (fetched), or files named as there.
    published : DataFrame
        As :func:`loglik.risk.h_calibration.published_results` gives it.

    Returns
    -------
    DataFrame
        Columns task, map, ECE, rank_ece (1 is best, among the compared methods and ours); empty without tasks.
    """
    rows = []
    for source in progress(list(tasks)):
        name = next(
            (key for key, file in TASKS.items() if source == key or Path(source).name == file), source
        )
        split = load_task(source)
        L = split.logits_cal.shape[1]
        fits = {
            kind: PostHocCalibrator(
                kind,
                epochs=epochs,
                select="debiased_ece",
                classes_per_step=min(L, 20),
                leave_one_class_out=True,
            ).fit(split.logits_cal, split.y_cal)
            for kind in ("ensemble", "pwl", "monotone")
        }
        best = min(
            fits, key=lambda kind: debiased_ece(fits[kind].predict_proba(split.logits_cal), split.y_cal)
        )
        value = ece(fits[best].predict_proba(split.logits_test), split.y_test)
        others = published[(published["task"] == name) & (published["method"] != "none")]["ECE"]
        rows.append((name, best, value, 1 + int((others < value).sum())))
    return pd.DataFrame(rows, columns=["task", "map", "ECE", "rank_ece"])


def column(table: pd.DataFrame, metric: str, kind: str, loss: str) -> Floats:
    """One metric of one method, a value a network (in their order)."""
    rows = table[(table["map"] == kind) & (table["loss"] == loss)].sort_values("network")
    if rows.empty:
        known = sorted(set(zip(table["map"], table["loss"], strict=True)))
        raise ValueError(f"no method ({kind!r}, {loss!r}); the table has {known}")
    return rows[metric].to_numpy(dtype=float)


def difference(table: pd.DataFrame, metric: str, first: tuple[str, str], second: tuple[str, str]) -> Estimate:
    """Paired difference of a metric, `first` minus `second`, with its t interval over networks."""
    return mean(column(table, metric, *first) - column(table, metric, *second))


def summary(table: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """Means over networks with standard errors, as text, one row a method in the table's order."""
    groups = table.groupby(["map", "loss"], sort=False)
    centre, se = groups[list(metrics)].mean(), groups[list(metrics)].sem()
    return pd.DataFrame(
        {m: [f"{a:.4f} ({s:.4f})" for a, s in zip(centre[m], se[m], strict=True)] for m in metrics},
        index=centre.index,
    )


# -- C4: smoothness ------------------------------------------------------------------------------------------


def landscape(split: Split, inverse_temperatures: Floats, window: int = 200) -> pd.DataFrame:
    """NLL, ECE and h loss of a calibration split along the inverse temperature (C4, C5)."""
    y = torch.from_numpy(split.y_cal)
    z = torch.from_numpy(split.logits_cal)
    options, subsets = LossOptions(window, 0.0, "kmeans", 15), _subsets(y, z.shape[1], True, None, None)
    rows = []
    for t in inverse_temperatures:
        probs = torch.softmax(t * z, 1)
        rows.append(
            {
                "t": t,
                "NLL": float(proper_loss(probs, y, "nll")),
                "ECE": ece(probs.numpy(), split.y_cal),
                "h": float(fast_loss(probs, y, options, subsets)),
            }
        )
    return pd.DataFrame(rows)


def largest_jump(
    split: Split, around: float, steps: int = 250, width: float = 2e-3, window: int = 200
) -> dict[str, float]:
    """Largest jump of ECE and of the h loss (plain weighting) along temperatures that hardly differ (C4).

    `width` in relative inverse temperature, wide enough for some predictions to cross a bin's edge, is cut into
    `steps`; second differences take the slope away and leave the jumps.
    """
    y, z = torch.from_numpy(split.y_cal), torch.from_numpy(split.logits_cal)
    options = LossOptions(window, 0.0, "uniform", 15)
    curves: dict[str, list[float]] = {"ECE": [], "h": []}
    for t in around * (1 + width * np.linspace(-0.5, 0.5, steps)):
        probs = torch.softmax(t * z, 1)
        curves["ECE"].append(ece(probs.numpy(), split.y_cal))
        curves["h"].append(float(subset_losses(probs, y, options, [-1])))
    return {name: float(np.abs(np.diff(curve, n=2)).max()) for name, curve in curves.items()}


def gradient_error(split: Split, inverse_temperatures: Sequence[float], window: int = 200) -> Floats:
    """Relative difference of the loss's own slope in temperature from a central one, step 1e-8 (C4).

    With plain weighting, where nothing but the order of events is a constant for the gradient, and on the
    first 60 rows: the number of events that change places within a step grows with the square of the rows.
    """
    y, z = torch.from_numpy(split.y_cal[:60]), torch.from_numpy(split.logits_cal[:60])
    options, subsets = LossOptions(window, 0.0, "uniform", 15), _subsets(y, z.shape[1], True, None, None)

    def value(t: torch.Tensor) -> torch.Tensor:
        return fast_loss(torch.softmax(t * z, 1), y, options, subsets)

    errors = []
    for t in inverse_temperatures:
        at = torch.tensor(float(t), dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(value(at), at)
        with torch.no_grad():
            central = (value(at + 1e-8) - value(at - 1e-8)) / 2e-8
        errors.append(float(abs(slope - central) / abs(central)))
    return np.array(errors)


# -- C6: one training, three selections ----------------------------------------------------------------------


def selection_study(splits: Sequence[Split], *, epochs: int = 250, window: int = 200) -> pd.DataFrame:
    """One training a network, its checkpoint chosen for each notion of calibration (C6).

    Returns
    -------
    DataFrame
        Columns network, selector ("uncalibrated", "loss", "debiased_ece", "classwise_ece", "nll"), top-label
        (ECE), class-wise (ECE) and canonical (SKCE), on the test split.
    """
    rows = []
    for network, split in enumerate(splits):
        y, z = torch.from_numpy(split.y_cal), torch.from_numpy(split.logits_cal)
        options, subsets = LossOptions(window, 0.0, "kmeans", 15), _subsets(y, z.shape[1], True, None, None)
        model = PiecewiseLinearMap()
        _, kept = train_map(
            model,
            z,
            lambda probs, o=options, s=subsets, y=y: fast_loss(probs, y, o, s),  # type: ignore[misc]
            y,
            ("loss", "debiased_ece", "classwise_ece", "nll"),
            epochs=epochs,
        )
        found = {UNCALIBRATED: softmax(split.logits_test, axis=1)}
        for name, state in kept.items():
            model.load_state_dict(state)
            with torch.no_grad():
                found[name] = model(torch.from_numpy(split.logits_test)).numpy()
        rows += [
            {
                "network": network,
                "selector": name,
                "top-label": ece(probs, split.y_test),
                "class-wise": classwise_ece(probs, split.y_test),
                "canonical": skce(probs, split.y_test),
            }
            for name, probs in found.items()
        ]
    return pd.DataFrame(rows)


# -- ablations -----------------------------------------------------------------------------------------------


def ablation_study(
    splits: Sequence[Split], windows: Sequence[int] = (20, 50, 200, 500, 2000)
) -> pd.DataFrame:
    """Temperature by the h loss with one setting changed at a time; test ECE, KS and NLL.

    Returns
    -------
    DataFrame
        Columns network, setting ("window", "epsilon", "weighting", "leave one out"), value, t, ECE, KS, NLL.
    """
    rows = []
    for network, split in enumerate(splits):
        floor = _floor(split)
        changes: list[tuple[str, Any, dict[str, Any]]] = [("window", w, {"window": w}) for w in windows]
        changes += [("epsilon", "1 × floor", {"epsilon": floor})]
        changes += [("weighting", w, {"weighting": w}) for w in ("uniform", "equal_width")]
        changes += [("leave one out", "no", {"leave_one_class_out": False})]
        for setting, value, options in changes:
            calibrator = PostHocCalibrator("temperature", "h", **{"leave_one_class_out": True, **options})
            fitted = calibrator.fit(split.logits_cal, split.y_cal)
            probs = fitted.predict_proba(split.logits_test)
            t = float(fitted.map_.state_dict()["inverse_temperature"])
            found = scores(probs, split.y_test)
            rows.append(
                {"network": network, "setting": setting, "value": str(value), "t": t}
                | {name: found[name] for name in ("ECE", "KS", "NLL")}
            )
    return pd.DataFrame(rows)


def _floor(split: Split, window: int = 200) -> float:
    """Mean noise floor of the split's events at the temperature that the likelihood likes."""
    z, y = split.logits_cal, split.y_cal

    def objective(t: float) -> float:
        return METRICS["NLL"](softmax(t * z, axis=1), y)

    best = minimize_scalar(objective, bounds=(0.05, 5), method="bounded")
    return float(noise_floor(np.sort(softmax(best.x * z, axis=1).ravel()), window).mean())
