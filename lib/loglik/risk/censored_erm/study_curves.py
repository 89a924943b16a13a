"""Bandwidth and dimension (C6): bias and variance of the local curves, and what they do to the risk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from loglik.risk.censored_erm.beran import beran_on_grid
from loglik.risk.censored_erm.compare import Estimate, bootstrap
from loglik.risk.censored_erm.simulate import Scene, best_linear, censoring_truth, linear_moments
from loglik.risk.censored_erm.study import Progress, rules
from loglik.risk.censored_erm.weights import ipcw_weights
from loglik.risk.checks import Floats

_FEWER = 1000  # bootstrap draws of whole curves


def curve_study(
    d: int,
    n: int,
    bandwidths: Sequence[float],
    n_rep: int,
    *,
    times: Sequence[float] = (0.5, 1.0, 1.5),
    steep: bool = False,
    seed: int | Sequence[int] = 0,
) -> tuple[Floats, Floats]:
    """Repeated estimates of the censoring curves at fixed inner points, with their truth (C6).

    Parameters
    ----------
    d, n, n_rep : int
    bandwidths : sequence of float
        In standard deviations.
    times : sequence of float
    steep : bool
        Whether log mean censoring times change 2.3 times as fast, so that bias stands out of the noise.

    Returns
    -------
    estimates : array of shape (n_rep, m, k, T)
        For m bandwidths, k points and T times.
    truth : array of shape (k, T)
    """
    scene = Scene(d, level=-1.2, slopes=(2.5, 2.5)) if steep else Scene(d)
    corners = np.array([[0.4, 0.4], [0.6, 0.5], [0.5, 0.6]])
    points = np.full((3, max(d, 2)), 0.5)
    points[:, :2] = corners
    t = np.asarray(times, dtype=float)
    estimates = []
    for child in np.random.SeedSequence(seed).spawn(n_rep):
        draw = scene.draw(n, np.random.default_rng(child))
        estimates.append(
            [
                beran_on_grid(draw.X, draw.time, draw.event, points[:, :d], t, bandwidth=h).survival
                for h in bandwidths
            ]
        )
    return np.array(estimates), censoring_truth(scene, points, t)


def bias_by_bandwidth(
    estimates: Floats, truth: Floats, bandwidths: Sequence[float], rng: np.random.Generator
) -> tuple[pd.DataFrame, Estimate]:
    """Root mean square bias over points and times for each bandwidth, and its slope on log axes.

    The squared mean deviation is freed of its own sampling noise, variance over repetitions.

    Parameters
    ----------
    estimates, truth : arrays of shape (reps, m, k, T) and (k, T)
        From :func:`curve_study`.

    Returns
    -------
    table : DataFrame
        Columns h, bias, low, high (95 % bootstrap interval).
    slope : Estimate
    """
    reps = len(estimates)
    both = np.stack([estimates - truth, (estimates - truth) ** 2], axis=1).reshape(
        reps, 2, estimates.shape[1], -1
    )
    log_h = np.log(bandwidths) - np.log(bandwidths).mean()

    def bias(means: Floats) -> Floats:
        noise = (means[:, 1] - means[:, 0] ** 2) / (reps - 1)
        return np.asarray(np.sqrt(np.maximum((means[:, 0] ** 2 - noise).mean(-1), 1e-12)))

    rows = []
    for i, h in enumerate(bandwidths):
        found = bootstrap(both, lambda m, i=i: bias(m)[:, i], rng, _FEWER)  # type: ignore[misc]
        rows.append((h, found.value, found.low, found.high))
    slope = bootstrap(both, lambda m: np.log(bias(m)) @ log_h / (log_h @ log_h), rng, _FEWER)
    return pd.DataFrame(rows, columns=["h", "bias", "low", "high"]), slope


def neighbours(n: int, d: int, bandwidths: Sequence[float]) -> Floats:
    r"""Effective number of neighbours of an inner point, :math:`n(2\sqrt\pi h/\sqrt{12})^d` (m,).

    For a Gaussian kernel on features uniform on (0, 1), h in standard deviations.
    """
    return np.asarray(n * (2 * np.sqrt(np.pi) * np.asarray(bandwidths) / np.sqrt(12)) ** d)


def variance_study(
    n: int, bandwidths: Mapping[int, Sequence[float]], n_rep: int, *, seed: int | Sequence[int] = 0
) -> tuple[pd.DataFrame, Floats]:
    """Variance of the local curves in several dimensions, averaged over points and times.

    Returns
    -------
    table : DataFrame
        Columns d, h, neighbours, variance.
    moments : array of shape (n_rep, 2, rows, k T)
        Estimates and their squares, for the bootstrap.
    """
    rows, moments = [], []
    for d, hs in bandwidths.items():
        estimates, truth = curve_study(d, n, hs, n_rep, seed=seed)
        deviations = (estimates - truth).reshape(n_rep, len(hs), -1)
        moments.append(np.stack([deviations, deviations**2], axis=1))
        variance = deviations.var(axis=0, ddof=1).mean(-1)
        rows += list(zip([d] * len(hs), hs, neighbours(n, d, hs), variance, strict=True))
    return pd.DataFrame(rows, columns=["d", "h", "neighbours", "variance"]), np.concatenate(moments, axis=2)


def variance_slope(table: pd.DataFrame, moments: Floats, x: str, rng: np.random.Generator) -> Estimate:
    """Slope of log variance on log `x` over the rows of `table`; bootstrap over repetitions."""
    log_x = np.log(table[x].to_numpy())
    log_x = log_x - log_x.mean()

    def slope(means: Floats) -> Floats:
        variance = (means[:, 1] - means[:, 0] ** 2).mean(-1)
        return np.asarray(np.log(variance) @ log_x / (log_x @ log_x))

    return bootstrap(moments, slope, rng, _FEWER)


def bandwidth_study(
    scene: Scene,
    n: int,
    bandwidths: Sequence[float],
    n_rep: int,
    *,
    n_rules: int = 200,
    floor: float = 0.02,
    seed: int | Sequence[int] = 0,
    progress: Progress = iter,
) -> pd.DataFrame:
    """Error of the risk (supremum over the linear rules) and of the minimiser, bandwidth by bandwidth.

    Returns
    -------
    DataFrame
        Columns bandwidth (standard deviations), rep, sup, excess, fallback (cases without neighbours).
    """
    first, *seeds = np.random.SeedSequence(seed).spawn(1 + n_rep)
    class_ = rules(n_rules, np.random.default_rng(first), scene.d)
    signed = np.column_stack([np.ones(len(class_)), -class_])
    exact, best = linear_moments(scene.d), best_linear(scene.d)
    rows = []
    for rep, child in progress(list(enumerate(seeds))):
        draw = scene.draw(n, np.random.default_rng(child))
        for h in bandwidths:
            found = ipcw_weights(draw.X, draw.time, draw.event, floor=floor, bandwidth=h)
            Z = np.column_stack([draw.time, np.ones(n), draw.X])
            moments = Z.T @ (Z * found.weights[:, None]) / n
            gap = np.linalg.solve(moments[1:, 1:], moments[0, 1:]) - best
            sup = np.abs(np.einsum("ij,jk,ik->i", signed, moments - exact, signed)).max()
            rows.append((h, rep, float(sup), float(gap @ exact[1:, 1:] @ gap), found.n_fallback))
    return pd.DataFrame(rows, columns=["bandwidth", "rep", "sup", "excess", "fallback"])
