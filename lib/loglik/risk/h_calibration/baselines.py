"""The public calibration library probmetrics behind one small door: what everybody's maps reach, same splits."""

from __future__ import annotations

import importlib.util
import sys
import types
import warnings
from typing import Any

import numpy as np
from scipy.special import softmax

from loglik.risk.checks import Floats

# Name in our tables: what probmetrics calls it.
PUBLIC = (
    "temperature",
    "ensemble temperature",
    "vector scaling",
    "structured matrix scaling",
    "isotonic",
    "histogram binning",
    "spline",
)


def _library() -> Any:
    """``probmetrics.calibrators``, imported without its noise.

    Two things in version 1.3 need care. It compiles a function with ``torch.jit.script``, which torch 2.13
    calls deprecated: the filter keeps that warning from being an error. And it imports numba at the top for
    solvers that are not the default ones (numba is an optional extra of it): where numba is missing, a
    stand-in that compiles nothing lets the import through and is taken away again at once.
    """
    missing = importlib.util.find_spec("numba") is None and "numba" not in sys.modules
    if missing:
        stand_in: Any = types.ModuleType("numba")
        stand_in.njit = lambda *a, **_: a[0] if a and callable(a[0]) else lambda function: function
        sys.modules["numba"] = stand_in
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*torch.jit.*", category=DeprecationWarning)
            from probmetrics import calibrators  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "the public baselines come from probmetrics: pip install probmetrics (or the extra loglik[risk])"
        ) from error
    finally:
        if missing:
            del sys.modules["numba"]
    return calibrators


def public_calibrator(name: str) -> Any:
    """An unfitted calibrator of probmetrics, with ``fit(probs, y)`` and ``predict_proba(probs)``.

    Raises
    ------
    ValueError
        For a name that isn't in ``PUBLIC``.
    ModuleNotFoundError
        Without probmetrics; says what to install.
    """
    if name not in PUBLIC:
        raise ValueError(f"unknown calibrator {name!r}; allowed: {', '.join(PUBLIC)}")
    library = _library()
    makers = {
        "temperature": lambda: library.get_calibrator("temp-scaling"),
        "ensemble temperature": library.ETSCalibrator,
        "vector scaling": library.VectorScalingCalibrator,
        "structured matrix scaling": lambda: library.get_calibrator("sms"),
        "isotonic": lambda: library.get_calibrator("isotonic"),
        "histogram binning": lambda: library.MulticlassOneVsRestCalibrator(
            library.BinaryHistogramBinningCalibrator()
        ),
        "spline": lambda: library.MulticlassOneVsRestCalibrator(library.CDFSplineCalibrator()),
    }
    return makers[name]()


def recalibrate(name: str, logits_cal: Floats, y_cal: np.ndarray, logits: Floats) -> Floats:
    """Probabilities (m, L) of a public calibrator fitted to one split and applied to other logits (m, L)."""
    calibrator = public_calibrator(name).fit(softmax(logits_cal, axis=1), y_cal)
    found: Floats = np.clip(
        np.asarray(calibrator.predict_proba(softmax(logits, axis=1)), dtype=float), 0.0, 1.0
    )
    total = found.sum(1, keepdims=True)
    return np.where(total > 0, found / np.where(total > 0, total, 1.0), 1 / found.shape[1])
