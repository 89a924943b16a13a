"""What every function here asks of its arrays: logits or probabilities (n, L), labels (n,)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from loglik.risk.checks import Floats, check_column, check_finite, check_weights, column_names

SIMPLEX_TOLERANCE = (
    1e-4  # rows of float32 softmax sum to one within 1e-6; anything above this isn't a softmax
)


def to_numpy(values: Any) -> np.ndarray:
    """A NumPy view of a tensor, data frame or array."""
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def to_tensor(values: np.ndarray) -> torch.Tensor:
    """A tensor that shares memory with `values` where that may be written to, else a copy."""
    return torch.from_numpy(values if values.flags.writeable else values.copy())


def check_table(values: Any, what: str) -> Floats:
    """A finite float table (n, L) of at least two columns; errors name the column and the count."""
    table = np.asarray(to_numpy(values), dtype=float)
    if table.ndim != 2 or table.shape[1] < 2:
        raise ValueError(f"{what} must have shape (n, L) with at least 2 classes, got {table.shape}")
    if not len(table):
        raise ValueError(f"{what} has no rows")
    check_finite(table, column_names(values, table.shape[1]), what)
    return table


def check_simplex(values: Any) -> Floats:
    """Probabilities (n, L) whose rows lie on the simplex.

    Raises
    ------
    ValueError
        With the number of values outside [0, 1], or of rows that don't sum to one within 1e-4.
    """
    probs = check_table(values, "probs")
    outside = np.count_nonzero((probs < -SIMPLEX_TOLERANCE) | (probs > 1 + SIMPLEX_TOLERANCE))
    if outside:
        raise ValueError(
            f"probs contains {outside} values outside [0, 1] (from {probs.min():g} to {probs.max():g}); "
            "give probabilities, not logits"
        )
    wrong = np.count_nonzero(np.abs(probs.sum(1) - 1) > SIMPLEX_TOLERANCE)
    if wrong:
        raise ValueError(f"{wrong} rows of probs do not sum to one within {SIMPLEX_TOLERANCE:g}")
    return probs


def check_labels(y: ArrayLike | torch.Tensor, n: int, n_classes: int) -> np.ndarray:
    """Labels (n,) as integers 0..L-1, at least two different ones.

    Raises
    ------
    ValueError
        For another length, labels that aren't whole or out of range (with their count), or one class only.
    """
    labels = check_column(to_numpy(y), "y", n)
    wrong = np.count_nonzero((labels < 0) | (labels >= n_classes) | (labels != np.floor(labels)))
    if wrong:
        raise ValueError(f"y contains {wrong} labels that are not integers from 0 to {n_classes - 1}")
    found = np.unique(labels)
    if len(found) < 2:
        raise ValueError(f"y has one class ({found[0]:g}) in {n} rows; calibration needs at least 2 classes")
    return labels.astype(np.int64)


def check_predictions(probs: Any, y: Any, sample_weight: Any = None) -> tuple[Floats, np.ndarray, Floats]:
    """Probabilities, labels and weights of one sample, all checked."""
    table = check_simplex(probs)
    return table, check_labels(y, *table.shape), check_weights(sample_weight, len(table))


def check_window(window: int, n_events: int) -> None:
    """Refuse windows that are odd, below 2, or longer than the list of events."""
    if isinstance(window, bool) or not isinstance(window, (int, np.integer)) or window < 2 or window % 2:
        raise ValueError(f"window must be an even integer of at least 2, got {window!r}")
    if window + 1 > n_events:
        raise ValueError(
            f"window of {window} + 1 events is longer than the list of {n_events} events (samples times classes)"
        )
