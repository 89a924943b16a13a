"""Reading censored targets: durations with event indicators, checked once at the door."""

from __future__ import annotations

from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from loglik.risk.checks import Floats, check_durations, check_events

Bools = NDArray[np.bool_]


class Observed(NamedTuple):
    """What censoring leaves to see: durations and whether each was seen to its end."""

    time: Floats  # (n,) min(Y, C), in any unit above 0
    event: Bools  # (n,) 1{Y <= C}


def read_survival(y: Any, n: int | None = None) -> Observed:
    """Durations and event indicators from any of the usual forms.

    Parameters
    ----------
    y : structured array, DataFrame or array of shape (n, 2)
        A structured array with one boolean and one numeric field, as scikit-survival makes it; a data frame
        or array with the columns *duration, event* in this order.
    n : int, optional
        Rows that X has.

    Raises
    ------
    ValueError
        For another form, durations that aren't above 0, events other than 0 and 1, or no event at all; names
        the column and the count.
    """
    if isinstance(y, Observed):
        time, event, names = y.time, y.event, ("time", "event")
    elif getattr(getattr(y, "dtype", None), "names", None):
        time, event, names = _fields(np.asarray(y))
    else:
        time, event, names = _columns(y)
    seen = check_events(event, names[1], n)
    if len(np.asarray(time)) != len(seen):
        raise ValueError(f"{names[0]} has {len(np.asarray(time))} rows, {names[1]} has {len(seen)}")
    return Observed(check_durations(time, names[0], n), seen)


def _fields(y: NDArray[Any]) -> tuple[Any, Any, tuple[str, str]]:
    fields = y.dtype.names or ()
    flags = [name for name in fields if y.dtype[name].kind == "b"]
    if len(fields) != 2 or len(flags) != 1:
        raise ValueError(
            "a structured y must have one boolean field (event) and one numeric field (duration); "
            f"got {', '.join(f'{name}: {y.dtype[name]}' for name in fields)}"
        )
    time = next(name for name in fields if name != flags[0])
    return y[time], y[flags[0]], (time, flags[0])


def _columns(y: Any) -> tuple[Any, Any, tuple[str, str]]:
    names = tuple(map(str, y.columns)) if hasattr(y, "columns") else ("y[:, 0] (duration)", "y[:, 1] (event)")
    table = np.asarray(y, dtype=float)
    if table.ndim != 2 or table.shape[1] != 2:
        raise ValueError(
            f"y must have the two columns duration and event, or be a structured array; got shape {table.shape}. "
            "If nothing is censored, there is nothing to correct: use the learner itself"
        )
    if np.isin(table[:, 0], (0, 1)).all() and not np.isin(table[:, 1], (0, 1)).all():
        raise ValueError(f"y's columns look swapped: {names[0]} holds only 0 and 1; duration comes first")
    return table[:, 0], table[:, 1], (names[0], names[1])


def at_horizon(time: Floats, event: Bools, horizon: float | None) -> Observed:
    r"""The data of the restricted duration ``min(Y, horizon)``.

    A case that is still under observation at the horizon :math:`\tau` is *not* censored: its restricted
    duration is known to be :math:`\tau`. So :math:`\tilde Y_\tau=\min(\tilde Y,\tau)` and
    :math:`\delta_\tau=1\{\delta=1\ \text{or}\ \tilde Y\ge\tau\}`.

    Raises
    ------
    ValueError
        When the horizon isn't a number above 0.
    """
    if horizon is None:
        return Observed(time, event)
    if not isinstance(horizon, Real) or isinstance(horizon, bool) or not float(horizon) > 0:
        raise ValueError(f"horizon must be None or a duration above 0, got {horizon!r}")
    tau = float(horizon)
    return Observed(np.minimum(time, tau), event | (time >= tau))
