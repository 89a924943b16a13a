r"""The conditional Kaplan-Meier (Beran) estimate of the censoring survival function, leaving each case out.

Everything here turns on one observation: with cases in descending order of time, censored ones first among
ties, the mass at risk *for censoring* at every time is a running sum of kernel weights. Numerator and
denominator of every Kaplan-Meier factor are two columns of that running sum.
"""

from __future__ import annotations

from numbers import Real
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loglik.risk.censored_erm.inputs import Bools
from loglik.risk.checks import (
    Floats,
    check_column,
    check_durations,
    check_events,
    check_finite,
    check_weights,
    column_names,
)

KERNELS = ("gaussian", "epanechnikov")
RULE = 1.5  # constant of the rule of thumb, in standard deviations
_CHUNK = 2**16  # elements of a block of kernel weights: 512 kB stay in a core's cache
_EMPTY = 1e-290  # a neighbourhood lighter than this has no case in it
Ints = NDArray[np.int64]


class Beran(NamedTuple):
    """Conditional censoring survival with what went into it."""

    survival: Floats  # at the times asked for
    n_fallback: int  # rows without a neighbour, given the marginal estimate
    bandwidth: float  # in the units of the scaled features


class _Layout(NamedTuple):
    """Cases in descending time, censored first among ties, and where the censorings stand."""

    order: Ints  # (n,)
    times: Floats  # (m,) distinct censoring times, ascending
    first: Ints  # (m,) where the run of cases censored at times[k] begins
    end: Ints  # (m,) and where it ends


def rule_of_thumb(n: int, d: int) -> float:
    """Bandwidth ``1.5 n^(-1/(d+4))`` in standard deviations of the features.

    The exponent balances squared bias h^4 and variance 1/(n h^d) of the curve itself. The risk averages over
    cases, so it tolerates a wide range; the constant was set between two that worked in pilot runs.
    """
    return float(RULE * n ** (-1 / (d + 4)))


def _layout(time: Floats, event: Bools) -> _Layout:
    order = np.lexsort((event, -time))
    at = np.flatnonzero(~event[order])
    times, first, counts = np.unique(-time[order][at], return_index=True, return_counts=True)
    first = at[first]
    return _Layout(order, -times[::-1], first[::-1], (first + counts)[::-1])


def _curves(cumulative: Floats, layout: _Layout, upto: int | None = None) -> Floats:
    """Survival after 0, 1, ..., m distinct censoring times (rows, m + 1) from running sums (rows, n + 1)."""
    at_risk = cumulative.take(layout.end[:upto], axis=1)
    factors = np.ones((len(cumulative), at_risk.shape[1] + 1))
    left = cumulative.take(layout.first[:upto], axis=1)
    np.divide(left, at_risk, out=factors[:, 1:], where=at_risk > 0)
    return np.cumprod(factors, axis=1, out=factors)


def _running(weights: Floats) -> Floats:
    out = np.empty((weights.shape[0], weights.shape[1] + 1))
    out[:, 0] = 0.0
    np.cumsum(weights, axis=1, out=out[:, 1:])
    return out


def marginal_survival(
    time: ArrayLike,
    event: ArrayLike,
    t: ArrayLike | None = None,
    *,
    left_limit: bool = True,
    sample_weight: ArrayLike | None = None,
) -> Floats:
    r"""Kaplan-Meier estimate of :math:`P(C\ge t)` (or ``P(C > t)``), ignoring the features.

    Parameters
    ----------
    time, event : arrays of shape (n,)
        Durations and event indicators. Events precede censorings at ties.
    t : array of shape (m,), optional
        Where to evaluate; the cases' own times by default.
    left_limit : bool
        ``P(C >= t)``, as weights need it, or ``P(C > t)``.
    sample_weight : array of shape (n,), optional

    Returns
    -------
    array of shape (m,)

    Notes
    -----
    O(n log n). Equal to scikit-survival's ``kaplan_meier_estimator(reverse=True)``.
    """
    time, event = _checked(time, event)
    masses = check_weights(sample_weight, len(time))
    return _marginal(time, event, time if t is None else check_column(t, "t"), left_limit, masses)


def _marginal(time: Floats, event: Bools, t: Floats, left_limit: bool, masses: Floats) -> Floats:
    layout = _layout(time, event)
    curve = _curves(_running(masses[layout.order][None]), layout)[0]
    return curve[np.searchsorted(layout.times, t, side="left" if left_limit else "right")]


def _checked(time: ArrayLike, event: ArrayLike, n: int | None = None) -> tuple[Floats, Bools]:
    time = check_durations(time, "time", n)
    return time, check_events(event, "event", len(time))


class _Kernel:
    """Kernel weights of blocks of rows against all cases, as one matrix product and one ufunc.

    With ``a = (x, |x|^2, 1)`` and ``b = (-2 z, 1, |z|^2)`` the product ``a b'`` is the squared distance.
    """

    def __init__(self, X: Floats, masses: Floats, bandwidth: float, kernel: str) -> None:
        if kernel not in KERNELS:
            raise ValueError(f"unknown kernel {kernel!r}; allowed: {', '.join(KERNELS)}")
        self.centre, self.kernel, self.masses = X.mean(axis=0), kernel, masses
        factor = -0.5 if kernel == "gaussian" else -1.0
        self.scale = factor / bandwidth**2
        Z = X - self.centre
        self.right = np.column_stack([-2 * Z, np.ones(len(Z)), (Z**2).sum(1)]).T * self.scale
        self.plain = bool((masses == 1).all())

    def __call__(self, X: Floats) -> Floats:
        Z = X - self.centre
        weights = np.column_stack([Z, (Z**2).sum(1), np.ones(len(Z))]) @ self.right
        if self.kernel == "gaussian":
            np.exp(weights, out=weights)
        else:
            weights += 1.0
            np.maximum(weights, 0.0, out=weights)
        return weights if self.plain else np.multiply(weights, self.masses, out=weights)


def scaled(X: Floats, *others: Floats, standardize: bool = True) -> tuple[Floats, ...]:
    """Features in units of their standard deviation in `X`; constant ones are left as they are."""
    if not standardize:
        return (X, *others)
    sd = X.std(axis=0)
    sd[sd <= 1e-12 * np.abs(X).max(axis=0, initial=1e-300)] = 1.0
    return tuple(part / sd for part in (X, *others))


def check_bandwidth(bandwidth: float | None, n: int, d: int) -> float:
    """The bandwidth, or the rule of thumb for None; refuses what isn't a number above 0."""
    if bandwidth is None:
        return rule_of_thumb(n, d)
    if not isinstance(bandwidth, Real) or isinstance(bandwidth, bool) or not float(bandwidth) > 0:
        raise ValueError(f"bandwidth must be None (rule of thumb) or a number above 0, got {bandwidth!r}")
    return float(bandwidth)


def beran_at_own_times(
    X: Floats,
    time: Floats,
    event: Bools,
    *,
    bandwidth: float | None = None,
    kernel: str = "gaussian",
    leave_one_out: bool = True,
    left_limit: bool = True,
    rows: Ints | None = None,
    sample_weight: Floats | None = None,
    standardize: bool = True,
    chunk_size: int | None = None,
) -> Beran:
    """The estimate at the own time of each case of `rows` (all by default), on checked arrays.

    The work behind :func:`beran_censoring_survival` and :func:`loglik.risk.censored_erm.ipcw_weights`, which
    asks only for uncensored rows because the others get weight 0 anyway.
    """
    n, d = X.shape
    h = check_bandwidth(bandwidth, n, d)
    (Z,) = scaled(X, standardize=standardize)
    masses = np.ones(n) if sample_weight is None else sample_weight
    rows = np.arange(n) if rows is None else rows
    layout = _layout(time, event)
    kernel_ = _Kernel(Z[layout.order], masses[layout.order], h, kernel)
    place = np.empty(n, dtype=np.int64)
    place[layout.order] = np.arange(n)
    step = np.searchsorted(layout.times, time, side="left" if left_limit else "right")
    survival, empty = np.empty(len(rows)), np.zeros(len(rows), dtype=bool)
    by_time = np.argsort(step[rows], kind="stable")  # early cases need only the first factors
    size = chunk_size or max(4, _CHUNK // (n + 1))
    for start in range(0, len(rows), size):
        block = by_time[start : start + size]
        at = rows[block]
        weights = kernel_(Z[at])
        if leave_one_out:
            weights[np.arange(len(at)), place[at]] = 0.0
        cumulative = _running(weights)
        empty[block] = cumulative[:, -1] < _EMPTY
        curves = _curves(cumulative, layout, int(step[at[-1]]))
        survival[block] = curves[np.arange(len(at)), step[at]]
    if empty.any():
        survival[empty] = _marginal(time, event, time[rows][empty], left_limit, masses)
    return Beran(survival, int(empty.sum()), h)


def beran_on_grid(
    X: Floats,
    time: Floats,
    event: Bools,
    X_eval: Floats | None,
    t_eval: Floats,
    *,
    bandwidth: float | None = None,
    kernel: str = "gaussian",
    left_limit: bool = True,
    sample_weight: Floats | None = None,
    standardize: bool = True,
    chunk_size: int | None = None,
) -> Beran:
    """The estimate for every row of `X_eval` at every time of `t_eval` (m, T), on checked arrays.

    With ``X_eval=None`` the cases themselves are taken, each left out of its own curve.
    """
    n, d = X.shape
    h = check_bandwidth(bandwidth, n, d)
    Z, E = scaled(X, X if X_eval is None else X_eval, standardize=standardize)
    masses = np.ones(n) if sample_weight is None else sample_weight
    layout = _layout(time, event)
    kernel_ = _Kernel(Z[layout.order], masses[layout.order], h, kernel)
    place = np.argsort(layout.order) if X_eval is None else None
    step = np.searchsorted(layout.times, t_eval, side="left" if left_limit else "right")
    survival, empty = np.empty((len(E), len(t_eval))), np.zeros(len(E), dtype=bool)
    size = chunk_size or max(4, _CHUNK // (n + 1))
    for start in range(0, len(E), size):
        block = slice(start, start + size)
        weights = kernel_(E[block])
        if place is not None:
            weights[np.arange(len(weights)), place[block]] = 0.0
        cumulative = _running(weights)
        empty[block] = cumulative[:, -1] < _EMPTY
        survival[block] = _curves(cumulative, layout)[:, step]
    if empty.any():
        survival[empty] = _marginal(time, event, t_eval, left_limit, masses)
    return Beran(survival, int(empty.sum()), h)


def beran_censoring_survival(
    X: ArrayLike,
    time: ArrayLike,
    event: ArrayLike,
    *,
    bandwidth: float | None = None,
    kernel: str = "gaussian",
    X_eval: ArrayLike | None = None,
    t_eval: ArrayLike | None = None,
    leave_one_out: bool = True,
    left_limit: bool = True,
    sample_weight: ArrayLike | None = None,
    standardize: bool = True,
    chunk_size: int | None = None,
) -> Floats:
    r"""Probability of being uncensored that long, given the features: :math:`\hat S_C(t^-\mid x)`.

    .. math:: \hat S^{(i)}_C(\tilde Y_i^-\mid X_i)=\prod_{t<\tilde Y_i}\Big(1-
        \frac{\sum_{j\ne i}w_{ij}1\{\tilde Y_j=t,\delta_j=0\}}
             {\sum_{j\ne i}w_{ij}1\{\tilde Y_j>t\text{ or }(\tilde Y_j=t,\delta_j=0)\}}\Big),
        \qquad w_{ij}=K\big((X_i-X_j)/h\big)

    Parameters
    ----------
    X : array or DataFrame of shape (n, d)
        Finite features on which censoring may depend. For d above about 4 use an index of them (see
        ``method="index"`` of :func:`ipcw_weights`): neighbours become few.
    time, event : arrays of shape (n,)
        Durations above 0 and event indicators (1 seen to the end, 0 censored).
    bandwidth : float, optional
        h, in standard deviations of the features (with ``standardize``). By default
        ``1.5 n^(-1/(d+4))``. ``inf`` weighs all cases alike.
    kernel : {"gaussian", "epanechnikov"}
        Radial. The second has bounded support, as theory likes it; a case without neighbours then gets the
        marginal estimate.
    X_eval, t_eval : arrays of shape (m, d) and (T,), optional
        Evaluate at all pairs instead of at the cases' own times. Both or none.
    leave_one_out : bool
        Whether a case is left out of its own curve; without effect with `X_eval`.
    left_limit : bool
        ``P(C >= t | x)``, which is the weight's denominator, or ``P(C > t | x)``.
    sample_weight : array of shape (n,), optional
        Non-negative weights of the cases in the curves.
    standardize : bool
        Whether features are divided by their standard deviations.
    chunk_size : int, optional
        Rows of kernel weights held at once; by default blocks of 512 kB.

    Returns
    -------
    array of shape (n,), or (m, T) with `X_eval`

    Raises
    ------
    ValueError
        For durations of zero or less, events other than 0 and 1, all cases censored, NaN in X (naming the
        columns), or a bandwidth that isn't above 0.

    Notes
    -----
    O(n²d) time and O(n) memory for each row of a block: a matrix product gives squared distances, one
    running sum along descending time gives every risk set. Events precede censorings at ties.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0], [0.1], [0.2], [5.0], [5.1]])
    >>> time, event = np.array([1.0, 2.0, 3.0, 1.0, 3.0]), np.array([0, 1, 1, 1, 1])
    >>> S = beran_censoring_survival(X, time, event, bandwidth=0.5, kernel="epanechnikov", standardize=False)
    >>> S.round(3).tolist()  # only the first group knows censoring
    [1.0, 0.5, 0.533, 1.0, 1.0]
    """
    table, names = _table(X)
    check_finite(table, names)
    seen = _checked(time, event, len(table))
    weights = None if sample_weight is None else check_weights(sample_weight, len(table))
    if (X_eval is None) != (t_eval is None):
        raise ValueError("give X_eval and t_eval together: the estimate is wanted at all pairs of them")
    options = {
        "bandwidth": bandwidth,
        "kernel": kernel,
        "left_limit": left_limit,
        "sample_weight": weights,
        "standardize": standardize,
        "chunk_size": chunk_size,
    }
    if X_eval is None or t_eval is None:
        return beran_at_own_times(table, *seen, leave_one_out=leave_one_out, **options).survival  # type: ignore[arg-type]
    wanted, names = _table(X_eval)
    check_finite(wanted, names, "X_eval")
    if wanted.shape[1] != table.shape[1]:
        raise ValueError(f"X_eval has {wanted.shape[1]} columns, X has {table.shape[1]}")
    return beran_on_grid(table, *seen, wanted, check_column(t_eval, "t_eval"), **options).survival  # type: ignore[arg-type]


def _table(X: ArrayLike) -> tuple[Floats, list[str]]:
    table = np.asarray(X, dtype=float)
    if table.ndim != 2 or not table.size:
        raise ValueError(f"X must have shape (n, d) with at least one row and column, got {table.shape}")
    return table, column_names(X, table.shape[1])


def neighbourhood_sizes(
    X: ArrayLike, *, bandwidth: float | None = None, kernel: str = "gaussian", standardize: bool = True
) -> Floats:
    r"""How many cases each local estimate really rests on: :math:`(\sum_jw_{ij})^2/\sum_jw_{ij}^2` (n,).

    Zero where a case has no neighbour. A handful means that the local curve is noise: widen the bandwidth
    or use fewer features.
    """
    table, names = _table(X)
    check_finite(table, names)
    h = check_bandwidth(bandwidth, *table.shape)
    (Z,) = scaled(table, standardize=standardize)
    kernel_ = _Kernel(Z, np.ones(len(Z)), h, kernel)
    sizes = np.empty(len(Z))
    size = max(4, _CHUNK // len(Z))
    for start in range(0, len(Z), size):
        at = np.arange(start, min(start + size, len(Z)))
        weights = kernel_(Z[at])
        weights[np.arange(len(at)), at] = 0.0
        total, squares = weights.sum(1), (weights**2).sum(1)
        sizes[at] = np.divide(total**2, squares, out=np.zeros(len(at)), where=squares > _EMPTY)
    return sizes
