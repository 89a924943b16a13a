"""The chapter's simulations, each a function that returns one tidy table.

Repetitions are independent and draw their generators from ``SeedSequence.spawn``, so results don't depend on
`n_jobs` and a longer run repeats a shorter one's first repetitions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LinearRegression

from loglik.risk.censored_erm.simulate import (
    CAP,
    MAIN,
    Draw,
    Scene,
    best_linear,
    duration_mean,
    duration_second_moment,
    linear_moments,
)
from loglik.risk.censored_erm.weights import ipcw_weights
from loglik.risk.checks import Floats

FULL, NAIVE, UNCENSORED, KM, BERAN, ORACLE = METHODS = (
    "full data",
    "naive",
    "uncensored only",
    "marginal KM",
    "Beran",
    "oracle",
)
COX, RSF, INDEX = "Cox for C", "forest for C", "Beran on index"
UNDER = "Beran, undersmoothed"
_WEIGHTS = {
    UNCENSORED: "uncensored",
    KM: "km",
    BERAN: "beran",
    UNDER: "beran",
    COX: "cox",
    RSF: "rsf",
    INDEX: "index",
}
Progress = Callable[[Iterable[Any]], Iterable[Any]]


def uniform_bandwidth(n: int, d: int, factor: float = 0.6) -> float:
    """``0.6 n^(-1/(d+4))`` on features uniform on (0, 1), in standard deviations of those."""
    return float(factor * np.sqrt(12) * n ** (-1 / (d + 4)))


def undersmoothed_bandwidth(n: int, factor: float = 0.6) -> float:
    """``n^(-1/4)`` scaled to meet :func:`uniform_bandwidth` at n = 500, d = 2.

    With two features it is the one exponent for which bias h² and second-order term 1/(n h²) both vanish as
    fast as n^(-1/2).
    """
    return uniform_bandwidth(500, 2, factor) * (500 / n) ** 0.25


def learners(random_state: int = 0) -> dict[str, Any]:
    """The learners of the study, the same settings whatever the weights."""
    return {
        "linear": LinearRegression(),
        "kernel ridge": KernelRidge(alpha=1.0, kernel="rbf", gamma=1.0),
        "forest": RandomForestRegressor(30, min_samples_leaf=30, random_state=random_state),
        "boosting": GradientBoostingRegressor(
            n_estimators=50, max_depth=2, min_samples_leaf=20, subsample=0.5, random_state=random_state
        ),
    }


class Sample(NamedTuple):
    """What a learner is given: rows, targets and weights."""

    rows: Any
    target: Floats
    weights: Floats
    ess: float
    n_floored: int


def sample_for(
    draw: Draw, method: str, *, floor: float, bandwidth: float | None, random_state: int
) -> Sample:
    """Training data of one method of dealing with censoring."""
    n = len(draw.time)
    if method in (FULL, NAIVE):
        target = draw.y if method == FULL else draw.time
        return Sample(np.arange(n), target, np.ones(n), float(n), 0)
    how: Any = (lambda *_: draw.survival) if method == ORACLE else _WEIGHTS[method]
    result = ipcw_weights(
        draw.X, draw.time, draw.event, method=how, floor=floor, normalize=True, bandwidth=bandwidth,
        random_state=random_state,
    )  # fmt: skip
    rows = np.flatnonzero(result.weights)
    return Sample(rows, draw.time[rows], result.weights[rows], result.ess, result.n_floored)


# -- C2: the identity ----------------------------------------------------------------------------------------


def identity_study(n: int, rng: np.random.Generator, scene: Scene = MAIN) -> pd.DataFrame:
    """Weighted means with the true S_C against exact expectations, for three functions of Y (C2).

    Returns
    -------
    DataFrame
        Columns function, weighted, exact, se, z; also *uncensored* and *observed*, the means that come
        from dropping censored cases and from taking min(Y, C) for Y.
    """
    draw = scene.draw(n, rng)
    t, w = np.polynomial.legendre.leggauss(64)
    x, w = (t + 1) / 2, w / 2
    exact = {
        "Y": w @ duration_mean(x),
        "Y²": w @ duration_second_moment(x),
        "1{Y > 2}": w @ np.exp(-((2 / (1 + x)) ** 2)),
    }
    functions: Mapping[str, Callable[[Floats], Any]] = {
        "Y": lambda v: v,
        "Y²": np.square,
        "1{Y > 2}": lambda v: (v > 2) * 1.0,
    }
    rows = []
    for name, phi in functions.items():
        values = draw.event * phi(draw.time) / draw.survival
        se = values.std() / np.sqrt(n)
        means = (phi(draw.time[draw.event]).mean(), phi(draw.time).mean())
        rows.append((name, values.mean(), exact[name], se, (values.mean() - exact[name]) / se, *means))
    return pd.DataFrame(rows, columns=["function", "weighted", "exact", "se", "z", "uncensored", "observed"])


# -- C1, C5: learners and weights ----------------------------------------------------------------------------


def learner_study(
    scene: Scene,
    n: int,
    n_rep: int,
    *,
    chosen: Sequence[str] = ("linear",),
    methods: Sequence[str] = METHODS,
    floor: float = 0.02,
    bandwidth: float | None = None,
    n_test: int = 4000,
    seed: int | Sequence[int] = 0,
    n_jobs: int = 1,
    progress: Progress = iter,
) -> pd.DataFrame:
    """Error of every learner under every way of dealing with censoring, on the same draws.

    Parameters
    ----------
    scene : Scene
    n, n_rep, n_test : int
        Training cases, data sets, test points.
    chosen, methods : sequences of str
        Learners (keys of :func:`learners`) and methods.
    floor, bandwidth : float
        Of the weights; bandwidth None is ``0.6 n^(-1/(d+4))`` on the raw uniform features.

    Returns
    -------
    DataFrame
        Columns rep, learner, method, error (mean of (f - f*)² over test points), bias (mean of f - f*), ess,
        floored (share of uncensored cases), largest (largest weight), censored (share).
    """
    h = uniform_bandwidth(n, scene.d) if bandwidth is None else bandwidth
    seeds = np.random.SeedSequence(seed).spawn(n_rep)
    work = Parallel(n_jobs=n_jobs, return_as="generator")(
        delayed(_one_table)(scene, n, rep, child, tuple(chosen), tuple(methods), floor, h, n_test)
        for rep, child in progress(list(enumerate(seeds)))
    )
    return pd.DataFrame([row for rows in work for row in rows])


def _one_table(
    scene: Scene, n: int, rep: int, seed: Any, chosen: Any, methods: Any, floor: float, h: float, n_test: int
) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    draw, test = scene.draw(n, rng), scene.draw(n_test, rng)
    state, rows = int(rng.integers(2**31)), []
    for method in methods:
        sample = sample_for(draw, method, floor=floor, bandwidth=h, random_state=state)
        for name in chosen:
            model = clone(learners(state)[name])
            model.fit(draw.X[sample.rows], sample.target, sample_weight=sample.weights)
            gap = model.predict(test.X) - test.mean
            rows.append(
                {
                    "rep": rep,
                    "learner": name,
                    "method": method,
                    "error": float((gap**2).mean()),
                    "bias": float(gap.mean()),
                    "ess": sample.ess,
                    "floored": sample.n_floored / max(1, int(draw.event.sum())),
                    "largest": float(sample.weights.max()),
                    "censored": float(1 - draw.event.mean()),
                }
            )
    return rows


# -- C3, C4: uniform deviation and excess risk ---------------------------------------------------------------


def rules(n_rules: int, rng: np.random.Generator, d: int = 2) -> Floats:
    """Random linear rules (n_rules, d + 1): intercepts around 1, slopes around (0.5, 0)."""
    centre = np.array([1.0, 0.5, *[0.0] * (d - 1)])
    return centre + rng.uniform(-1, 1, (n_rules, d + 1))


def deviation_study(
    ns: Sequence[int],
    n_rep: int,
    *,
    scene: Scene = MAIN,
    methods: Sequence[str] = METHODS,
    n_rules: int = 200,
    floor: float = 0.02,
    factor: float = 0.6,
    seed: int | Sequence[int] = 0,
    n_jobs: int = 1,
    progress: Progress = iter,
) -> pd.DataFrame:
    """Largest error of the risk over a class of linear rules, and the minimiser's excess risk, as n grows.

    The estimated risk of every linear rule is a quadratic form in one matrix of weighted moments; the true
    one in exact moments. So the supremum over the class and the excess risk need no test sample.

    Returns
    -------
    DataFrame
        Columns n, rep, method, sup (largest ``|R~_n(f) - R(f)|`` over the rules), excess (R(f_n) minus the
        least risk of a linear rule).
    """
    first, *seeds = np.random.SeedSequence(seed).spawn(1 + len(ns) * n_rep)
    class_ = rules(n_rules, np.random.default_rng(first), scene.d)
    tasks = [(n, rep, seeds[i * n_rep + rep]) for i, n in enumerate(ns) for rep in range(n_rep)]
    work = Parallel(n_jobs=n_jobs, return_as="generator")(
        delayed(_one_deviation)(n, rep, child, scene, tuple(methods), class_, floor, factor)
        for n, rep, child in progress(tasks)
    )
    return pd.DataFrame([row for part in work for row in part])


def _one_deviation(
    n: int, rep: int, seed: Any, scene: Scene, methods: Any, class_: Floats, floor: float, factor: float
) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    draw, state, rows = scene.draw(n, rng), int(rng.integers(2**31)), []
    exact, best = linear_moments(scene.d), best_linear(scene.d)
    for method in methods:
        h = undersmoothed_bandwidth(n, factor) if method == UNDER else uniform_bandwidth(n, scene.d, factor)
        moments = _moments(draw, method, floor, h, state)
        fitted = np.linalg.solve(moments[1:, 1:], moments[0, 1:])
        gap = fitted - best
        signed = np.column_stack([np.ones(len(class_)), -class_])
        sup = np.abs(np.einsum("ij,jk,ik->i", signed, moments - exact, signed)).max()
        excess = float(gap @ exact[1:, 1:] @ gap)
        rows.append({"n": n, "rep": rep, "method": method, "sup": float(sup), "excess": excess})
    return rows


def _moments(draw: Draw, method: str, floor: float, h: float, state: int) -> Floats:
    """Weighted second moments of (Y, 1, X), each case divided by n: the paper's risk, not normalised."""
    n = len(draw.time)
    target, weights = draw.time, np.ones(n)
    if method == FULL:
        target = draw.y
    elif method != NAIVE:
        how: Any = (lambda *_: draw.survival) if method == ORACLE else _WEIGHTS[method]
        weights = ipcw_weights(
            draw.X, draw.time, draw.event, method=how, floor=floor, bandwidth=h, random_state=state
        ).weights
        if method == UNCENSORED:
            weights = weights / weights.mean()
    Z = np.column_stack([target, np.ones(n), draw.X])
    return np.asarray(Z.T @ (Z * weights[:, None]) / n)


def oracle_excess_ratio(nodes: int = 48) -> float:
    r"""Limit of the excess risk with oracle weights over that of full data, from sandwich variances.

    :math:`\operatorname{tr}G^{-1}E[(Y-f)^2\tilde x\tilde x'/S_C(Y|x)]` over
    :math:`\operatorname{tr}G^{-1}E[(Y-f)^2\tilde x\tilde x']`
    with :math:`\tilde x=(1,x)`, :math:`G=E\tilde x\tilde x'` and f the best linear rule, by quadrature.
    """
    t, w = np.polynomial.legendre.leggauss(nodes)
    u, wu = (t + 1) / 2, w / 2
    x1, x2, p = (part.ravel() for part in np.meshgrid(u, u, u, indexing="ij"))
    weight = (wu[:, None, None] * wu[None, :, None] * wu[None, None, :]).ravel()
    Z = np.column_stack([np.ones_like(x1), x1, x2])
    mean_c = MAIN.censoring_mean(np.column_stack([x1, x2]))
    # Y below the cap by its quantile function, and the mass that stands at the cap
    top = -np.expm1(-((CAP / (1 + x1)) ** 2))
    y = (1 + x1) * np.sqrt(-np.log1p(-p * top))
    total = {}
    for name, s in (("oracle", lambda v: np.exp(-v / mean_c)), ("full", lambda v: np.ones_like(v))):
        f = Z @ best_linear()
        inner = top * (y - f) ** 2 / s(y) + (1 - top) * (CAP - f) ** 2 / s(np.full_like(y, CAP))
        B = Z.T @ (Z * (weight * inner)[:, None])
        total[name] = float(np.trace(np.linalg.solve(linear_moments()[1:, 1:], B)))
    return total["oracle"] / total["full"]


# -- where it breaks -----------------------------------------------------------------------------------------


def dependence_study(
    strengths: Sequence[float], n: int, n_rep: int, *, seed: int | Sequence[int] = 0
) -> pd.DataFrame:
    """The assumption violated: an unseen trait shortens both the duration and the time to censoring.

    A trait Z ~ N(0, 1) that nobody records multiplies the duration by exp(0.3 Z) and the mean censoring
    time by exp(strength · Z). With strength 0 the assumption holds.

    Returns
    -------
    DataFrame
        Columns strength, rep, method, bias (mean prediction minus mean duration).
    """
    rows = []
    seeds = np.random.SeedSequence(seed).spawn(n_rep)
    for rep, child in enumerate(seeds):
        for strength in strengths:
            rng = np.random.default_rng(child)  # the same cases, more and more dependent
            X, hidden = rng.uniform(size=(n, 2)), rng.normal(size=n)
            y = np.minimum((1 + X[:, 0]) * rng.weibull(2.0, n) * np.exp(0.3 * hidden), CAP)
            c = rng.exponential(size=n) * MAIN.censoring_mean(X) * np.exp(strength * hidden)
            draw = Draw(X, np.minimum(y, c), y <= c, y, y, np.ones(n))
            for method in (NAIVE, UNCENSORED, BERAN, FULL):
                sample = sample_for(draw, method, floor=0.02, bandwidth=None, random_state=0)
                model = LinearRegression().fit(X[sample.rows], sample.target, sample.weights)
                rows.append((strength, rep, method, float((model.predict(X) - y).mean())))
    return pd.DataFrame(rows, columns=["strength", "rep", "method", "bias"])
