"""The chapter's experiments on simulated predictors, whose posterior is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from scipy.special import softmax

from loglik.risk.checks import Floats
from loglik.risk.h_calibration.baselines import recalibrate
from loglik.risk.h_calibration.calibrator import PostHocCalibrator
from loglik.risk.h_calibration.loss import (
    LossOptions,
    _pool,
    _window_sum,
    noise_floor,
    subset_losses,
    window_statistic,
)
from loglik.risk.h_calibration.maps import PiecewiseLinearMap
from loglik.risk.h_calibration.metrics import brier, ece, nll
from loglik.risk.h_calibration.simulate import simulate_imbalanced, simulate_posterior

# -- C3: the window statistic --------------------------------------------------------------------------------


def window_study(
    windows: Sequence[int],
    n_rep: int,
    *,
    n: int,
    temperature: float = 1.3,
    n_classes: int = 10,
    seed: int = 0,
) -> pd.DataFrame:
    """Mean |T| against the window, at the truth and for a predictor sharpened by `temperature` (C3).

    Returns
    -------
    DataFrame
        Columns rep, window, predictor ("calibrated", "sharpened"), statistic (mean |T|), floor (mean noise
        floor), gap (mean |T| with outcomes replaced by their true probabilities and a window of 200: the true
        local gap, free of the labels' noise).
    """
    rows = []
    for rep, child in enumerate(np.random.SeedSequence(seed).spawn(n_rep)):
        draw = simulate_posterior(n, n_classes, rng=np.random.default_rng(child))
        for name, factor in (("calibrated", 1.0), ("sharpened", temperature)):
            probs = softmax(factor * draw.logits, axis=1)
            gap = _true_gap(probs, draw.posterior)
            p, r = _sorted_events(probs, draw.y)
            rows += [
                (rep, window, name, _mean_size(r, window), float(noise_floor(p, window).mean()), gap)
                for window in windows
            ]
    return pd.DataFrame(rows, columns=["rep", "window", "predictor", "statistic", "floor", "gap"])


def _sorted_events(probs: Floats, y: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities and residuals (N,) of the pooled events, sorted once for many windows."""
    events = _pool(torch.from_numpy(probs), torch.from_numpy(y))
    return events.p, events.r


def _mean_size(r: torch.Tensor, window: int) -> float:
    return float(_window_sum(r, window).abs().mean() / (window + 1))


def _true_gap(probs: Floats, posterior: Floats, window: int = 200) -> float:
    """Mean absolute local mean of p − p* over the pooled events."""
    order = np.argsort(probs, axis=None)
    residual = (probs - posterior).ravel()[order]
    total = np.concatenate([[0.0], residual.cumsum()])
    return float(np.abs(total[window:] - total[:-window]).mean() / window)


def slopes(table: pd.DataFrame) -> Floats:
    """Slope of log mean |T| on log M at the truth, one a repetition."""
    part = table[table["predictor"] == "calibrated"]
    return np.array(
        [np.polyfit(np.log(g["window"] + 1), np.log(g["statistic"]), 1)[0] for _, g in part.groupby("rep")]
    )


def floor_study(
    classes: Sequence[int] = (3, 10, 50),
    windows: Sequence[int] = (100, 400),
    *,
    n: int = 40_000,
    n_events: int = 4_000_000,
    seed: int = 0,
) -> pd.DataFrame:
    """Mean |T| over its closed-form floor for calibrated predictors (C3).

    One sample of 40000 rows and three classes holds 300 separate windows of 401 events, so its ratio has a
    standard error of 4 %; samples are drawn until every setting has seen `n_events`.

    Returns
    -------
    DataFrame
        Columns classes, window, rep, ratio.
    """
    rows = []
    for L, child in zip(classes, np.random.SeedSequence(seed).spawn(len(classes)), strict=True):
        for rep, rng in enumerate(map(np.random.default_rng, child.spawn(max(2, round(n_events / (n * L)))))):
            draw = simulate_posterior(n, L, rng=rng)
            p, r = _sorted_events(draw.posterior, draw.y)
            rows += [
                (L, window, rep, _mean_size(r, window) / float(noise_floor(p, window).mean()))
                for window in windows
            ]
    return pd.DataFrame(rows, columns=["classes", "window", "rep", "ratio"])


def exceedance_study(
    windows: Sequence[int], epsilons: Floats, n_rep: int, *, n: int, seed: int = 0
) -> pd.DataFrame:
    r"""Share of windows with |T| > epsilon at the truth beside its bounds (C3).

    Returns
    -------
    DataFrame
        Columns rep, window, epsilon, share, bound (:math:`2e^{-(M+1)\epsilon^2/2}`, residuals in [-1, 1]) and
        sharp (:math:`2e^{-2(M+1)\epsilon^2}`, using that each residual's range has length one).
    """
    rows = []
    for rep, child in enumerate(np.random.SeedSequence(seed).spawn(n_rep)):
        draw = simulate_posterior(n, 10, rng=np.random.default_rng(child))
        for window in windows:
            _, T = window_statistic(draw.posterior, draw.y, window)
            size = np.sort(np.abs(T))
            share = 1 - np.searchsorted(size, epsilons, side="right") / len(size)
            exponent = (window + 1) * epsilons**2
            rows += list(
                zip(
                    [rep] * len(epsilons),
                    [window] * len(epsilons),
                    epsilons,
                    share,
                    2 * np.exp(-exponent / 2),
                    2 * np.exp(-2 * exponent),
                    strict=True,
                )
            )
    return pd.DataFrame(rows, columns=["rep", "window", "epsilon", "share", "bound", "sharp"])


# -- C5: proper scores, calibration and refinement -----------------------------------------------------------


def refinement_study(inverse_temperatures: Sequence[float], *, n: int, seed: int = 0) -> pd.DataFrame:
    """Brier score, calibration error to the true posterior, and what is left, along a temperature (C5).

    Returns
    -------
    DataFrame
        Columns t, brier, calibration (mean squared distance to P*), refinement (their difference) and z (the
        change of the refinement from the first row, in standard errors of the paired difference).
    """
    draw = simulate_posterior(n, 10, kind="temperature", rng=np.random.default_rng(seed))
    truth = draw.y[:, None] == np.arange(10)
    rows: list[tuple[float, ...]] = []
    first = np.zeros(n)
    for t in inverse_temperatures:
        probs = softmax(t * draw.logits, axis=1)
        score, calibration = ((probs - truth) ** 2).sum(1), ((probs - draw.posterior) ** 2).sum(1)
        refinement = score - calibration
        first = refinement if not rows else first
        change = refinement - first
        se = change.std(ddof=1) / np.sqrt(n)
        rows.append(
            (t, score.mean(), calibration.mean(), refinement.mean(), change.mean() / se if se else 0.0)
        )
    return pd.DataFrame(rows, columns=["t", "brier", "calibration", "refinement", "z"])


def posterior_study(
    kinds: Sequence[str],
    maps: Sequence[tuple[str, str]],
    n_rep: int,
    *,
    n_cal: int = 2000,
    n_test: int = 20_000,
    epochs: int = 250,
    public: Sequence[str] = (),
    seed: int | Sequence[int] = 0,
) -> pd.DataFrame:
    """True error of recalibrated probabilities where the posterior is known (C5).

    Returns
    -------
    DataFrame
        Columns kind, rep, map, loss ("–" for uncalibrated and for the truth itself), t (fitted inverse
        temperature, NaN for others), error (mean squared distance to P*), ECE, NLL, Brier; on `n_test` rows.
    """
    rows = []
    for kind, child in zip(kinds, np.random.SeedSequence(seed).spawn(len(kinds)), strict=True):
        for rep, rng in enumerate(map(np.random.default_rng, child.spawn(n_rep))):
            cal = simulate_posterior(n_cal, 10, kind=kind, rng=rng)
            test = simulate_posterior(n_test, 10, kind=kind, rng=rng)
            found = {
                ("truth", "–"): (test.posterior, np.nan),
                ("uncalibrated", "–"): (softmax(test.logits, axis=1), np.nan),
            }
            for name, loss in maps:
                fitted = PostHocCalibrator(name, loss, epochs=epochs, leave_one_class_out=True).fit(
                    cal.logits, cal.y
                )
                t = (
                    float(fitted.map_.state_dict()["inverse_temperature"])
                    if name == "temperature"
                    else np.nan
                )
                found[name, loss] = fitted.predict_proba(test.logits), t
            for name in public:
                found[name, "probmetrics"] = recalibrate(name, cal.logits, cal.y, test.logits), np.nan
            rows += [
                {
                    "kind": kind,
                    "rep": rep,
                    "map": name,
                    "loss": loss,
                    "t": t,
                    "error": float(((probs - test.posterior) ** 2).sum(1).mean()),
                    "ECE": ece(probs, test.y),
                    "NLL": nll(probs, test.y),
                    "Brier": brier(probs, test.y),
                }
                for (name, loss), (probs, t) in found.items()
            ]
    return pd.DataFrame(rows)


def paired(table: pd.DataFrame, metric: str, first: tuple[str, str], second: tuple[str, str]) -> Floats:
    """Differences of a metric, `first` minus `second`, one a repetition."""
    wide = table.pivot_table(index="rep", columns=["map", "loss"], values=metric)
    return (wide[first] - wide[second]).to_numpy(dtype=float)


# -- C7: leaving one class out -------------------------------------------------------------------------------


def imbalance_study(
    settings: Sequence[tuple[int, float]],
    inverse_temperatures: Floats,
    n_rep: int,
    *,
    n: int = 100_000,
    window: int = 2000,
    weightings: Sequence[str] = ("kmeans",),
    seed: int = 0,
) -> pd.DataFrame:
    """The loss of a calibrated predictor along the inverse temperature, with and without one class out (C7).

    Parameters
    ----------
    settings : sequence of (classes, imbalance)

    Returns
    -------
    DataFrame
        Columns classes, imbalance, rep, weighting, subsets ("leave one out", "pooled"), t, loss.
    """
    rows = []
    for rep, child in enumerate(np.random.SeedSequence(seed).spawn(n_rep)):
        rng = np.random.default_rng(child)
        for L, imbalance in settings:
            draw = simulate_imbalanced(n, L, imbalance, rng=rng)
            z, y = torch.from_numpy(draw.logits), torch.from_numpy(draw.y)
            for t in inverse_temperatures:
                probs = torch.softmax(t * z, 1)
                for weighting in weightings:
                    options = LossOptions(window, 0.0, weighting, 15)
                    each = subset_losses(probs, y, options, [*range(L), -1]).numpy()
                    found = (("leave one out", each[:-1].mean()), ("pooled", each[-1]))
                    rows += [(L, imbalance, rep, weighting, name, t, value) for name, value in found]
    return pd.DataFrame(rows, columns=["classes", "imbalance", "rep", "weighting", "subsets", "t", "loss"])


def argmins(table: pd.DataFrame) -> pd.DataFrame:
    """The inverse temperature with the smallest loss, one row a setting and repetition."""
    keys = ["classes", "imbalance", "weighting", "subsets", "rep"]
    best = table.loc[table.groupby(keys)["loss"].idxmin()]
    return best[[*keys, "t", "loss"]].reset_index(drop=True)


# -- C2: the released piecewise-linear map -------------------------------------------------------------------


def released_map_study(
    n_draws: int,
    logits: Floats,
    *,
    segments: int = 10,
    bound: float = 100.0,
    spread: float = 0.5,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Predicted classes that change under random slopes, released and corrected map side by side (C2).

    Slopes are lognormal around 1 with log standard deviation `spread`.

    Returns
    -------
    DataFrame
        Columns draw, map ("released", "corrected"), flips (share of rows whose predicted class changed) and
        drop (largest fall of the map along a fine grid of increasing log-probabilities).
    """
    z = torch.from_numpy(logits)
    grid = torch.linspace(-0.999 * bound, 0, 20_001, dtype=torch.float64)
    before = z.argmax(1)
    rows = []
    for draw in range(n_draws):
        slopes_ = torch.from_numpy(np.exp(spread * rng.normal(size=segments + 1)))
        for name, released in (("released", True), ("corrected", False)):
            model = PiecewiseLinearMap(segments, bound=bound, released=released)
            with torch.no_grad():
                model.slopes.copy_(slopes_ if released else slopes_[1:])
                flips = float((model(z).argmax(1) != before).double().mean())
                drop = float((-model.transform(grid).diff()).max().clamp_min(0.0))
            rows.append((draw, name, flips, drop))
    return pd.DataFrame(rows, columns=["draw", "map", "flips", "drop"])
