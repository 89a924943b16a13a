r"""Predictions with a known posterior, distorted in known ways (the brief's four settings)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import log_softmax

from loglik.risk.checks import Floats
from loglik.risk.h_calibration.metrics import draw_labels

KINDS = ("calibrated", "temperature", "nonlinear", "classes")


class Simulation(NamedTuple):
    """Logits of a predictor, labels, and the posterior that made them."""

    logits: Floats  # (n, L), what the predictor reports
    y: np.ndarray  # (n,)
    posterior: Floats  # (n, L), P*


def simulate_posterior(
    n: int, n_classes: int, *, kind: str = "calibrated", rng: np.random.Generator
) -> Simulation:
    r"""Labels from a random posterior, with logits that report it wrongly.

    .. math:: \log P^*=\log\mathrm{softmax}(1.2\,N(0,I)+s\,e_k),\quad s\in\{1.5,3,6\}

    Parameters
    ----------
    n, n_classes : int
    kind : {"calibrated", "temperature", "nonlinear", "classes"}
        log P*; twice that (overconfident, one temperature mends it); minus (1.2 x + 1.5 max(x-1, 0)) with
        x = -log P* (no temperature mends it, an elementwise map does); 1.6 log P* plus an offset a class from
        -1 to 1 (no shared elementwise map mends it).
    rng : numpy.random.Generator

    Returns
    -------
    Simulation

    Examples
    --------
    >>> draw = simulate_posterior(1000, 3, rng=np.random.default_rng(0))
    >>> bool(np.allclose(np.exp(draw.logits), draw.posterior))
    True
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}; allowed: {', '.join(KINDS)}")
    v = 1.2 * rng.normal(size=(n, n_classes))
    v[np.arange(n), rng.integers(n_classes, size=n)] += rng.choice([1.5, 3.0, 6.0], n)
    log_p = log_softmax(v, axis=1)
    posterior = np.exp(log_p)
    y = draw_labels(posterior, rng)
    if kind == "temperature":
        logits = 2 * log_p
    elif kind == "nonlinear":
        logits = 1.2 * log_p - 1.5 * np.maximum(-log_p - 1, 0)
    elif kind == "classes":
        logits = 1.6 * log_p + np.linspace(-1, 1, n_classes)
    else:
        logits = log_p
    return Simulation(logits, y, posterior)


def simulate_imbalanced(n: int, n_classes: int, imbalance: float, *, rng: np.random.Generator) -> Simulation:
    """A calibrated predictor with class offsets from 0 down to -`imbalance` (0 is balanced).

    With three classes and an imbalance of 4 the shares are about 0.73, 0.22 and 0.05.
    """
    v = 1.5 * rng.normal(size=(n, n_classes)) - np.linspace(0, imbalance, n_classes)
    log_p = log_softmax(v, axis=1)
    posterior = np.exp(log_p)
    return Simulation(log_p, draw_labels(posterior, rng), posterior)


def opposite_biases(n: int, *, bias: float = 0.1, rng: np.random.Generator) -> Simulation:
    """Pooled calibration without class-wise calibration: two of three classes are off, in opposite directions.

    The reported probabilities of the first two classes are independent and uniform on (0.2, 0.4); the truth is
    `bias` lower for the first and higher for the second. At every level the events of both balance, so the
    pooled events are calibrated and no map that all classes share can help.
    """
    if not 0 <= bias <= 0.2:
        raise ValueError(f"bias must lie between 0 and 0.2, got {bias!r}")
    first, second = rng.uniform(0.2, 0.4, (2, n))
    reported = np.column_stack([first, second, 1 - first - second])
    posterior = reported + bias * np.array([-1.0, 1.0, 0.0])
    return Simulation(np.log(reported), draw_labels(posterior, rng), posterior)
