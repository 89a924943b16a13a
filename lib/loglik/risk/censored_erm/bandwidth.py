"""Choosing the bandwidth by how well the local curves predict censoring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from loglik.risk.censored_erm.beran import _table, beran_on_grid, rule_of_thumb
from loglik.risk.censored_erm.inputs import Bools, Observed, read_survival
from loglik.risk.checks import Floats, check_finite

GRID = (0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0)  # multiples of the rule of thumb


class BandwidthChoice(NamedTuple):
    """A bandwidth with the scores that chose it."""

    bandwidth: float
    grid: Floats  # (m,)
    scores: Floats  # (m,) integrated Brier scores for censoring, lower is better


def censoring_brier(
    X: Floats,
    time: Floats,
    event: Bools,
    bandwidth: float | None,
    times: Floats,
    *,
    kernel: str = "gaussian",
    standardize: bool = True,
) -> float:
    r"""Integrated Brier score of the leave-one-out curves as predictions of *censoring*, roles swapped.

    .. math:: \frac1n\sum_i\Big[\frac{(1-\hat S_C(t|X_i))^21\{\tilde Y_i>t\}}{\hat S_Y(t)}
        +\frac{\hat S_C(t|X_i)^21\{\tilde Y_i\le t,\delta_i=0\}}{\hat S_Y(\tilde Y_i)}\Big]

    averaged over `times`, with the marginal Kaplan-Meier :math:`\hat S_Y` of the duration. A censoring at t
    was seen because Y > t, so no left limit here.

    Notes
    -----
    One curve of Y for all x is an approximation; it blurs the score, not the curves that it chooses between.
    O(n²d).
    """
    curves = beran_on_grid(
        X,
        time,
        event,
        None,
        times,
        bandwidth=bandwidth,
        kernel=kernel,
        left_limit=False,
        standardize=standardize,
    ).survival
    # events of Y precede censorings at ties, which is Kaplan-Meier with the roles and the tie order swapped
    at_times, at_own = (_duration_survival(time, event, t) for t in (times, time))
    later = time[:, None] > times[None]
    gone = ~later & ~event[:, None]
    score = np.divide((1 - curves) ** 2, at_times[None], out=np.zeros_like(curves), where=later)
    score += np.divide(curves**2, at_own[:, None], out=np.zeros_like(curves), where=gone)
    return float(score.mean())


def _duration_survival(time: Floats, event: Bools, t: Floats) -> Floats:
    """Kaplan-Meier estimate of P(Y > t), cases censored at t being at risk at t."""
    moments, position = np.unique(time, return_inverse=True)
    events = np.bincount(position, weights=event, minlength=len(moments))
    at_risk = np.bincount(position, minlength=len(moments))[::-1].cumsum()[::-1]
    curve = np.r_[1.0, np.cumprod(1 - events / at_risk)]
    return curve[np.searchsorted(moments, t, side="right")]


def choose_bandwidth(
    X: ArrayLike,
    time: ArrayLike,
    event: ArrayLike,
    *,
    grid: Sequence[float] | None = None,
    n_times: int = 20,
    kernel: str = "gaussian",
    standardize: bool = True,
) -> BandwidthChoice:
    """Take the bandwidth whose leave-one-out curves have the least integrated Brier score for censoring.

    Parameters
    ----------
    X, time, event : arrays of shape (n, d), (n,) and (n,)
    grid : sequence of float, optional
        Bandwidths; by default 0.35 to 3 times the rule of thumb, and infinity (no dependence on X).
    n_times : int
        Times at quantiles 5 % to 90 % of the observed durations.

    Returns
    -------
    BandwidthChoice

    Notes
    -----
    Leave-one-out replaces the usual folds: the curves leave each case out anyway, so it costs one pass a
    bandwidth. Minimising the held-out risk of a learner instead would be circular: the bandwidth decides
    what that risk is.
    """
    table, names = _table(X)
    check_finite(table, names)
    seen = read_survival(Observed(np.asarray(time), np.asarray(event)), len(table))
    if grid is None:
        grid = (*(factor * rule_of_thumb(*table.shape) for factor in GRID), np.inf)
    times = np.unique(np.quantile(seen.time, np.linspace(0.05, 0.9, n_times)))
    scores = np.array(
        [censoring_brier(table, *seen, h, times, kernel=kernel, standardize=standardize) for h in grid]
    )
    return BandwidthChoice(float(grid[int(scores.argmin())]), np.asarray(grid, dtype=float), scores)
