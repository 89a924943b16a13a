"""h-calibration: recalibrating a classifier by an error-bounded objective (Huang et al., TPAMI 2025).

A trained network's probabilities are often too bold. A small map from its logits mends that; this paper trains
the map on the calibration gap itself, averaged over windows of neighbouring predictions, where everybody else
uses the likelihood.

==============================================================  =============================================
:func:`calibrate`                                               should these logits be recalibrated at all?
:class:`PostHocCalibrator`                                      the estimator: any map, any of three losses
:func:`h_calibration_loss`                                      the loss, for your own torch training loop
:func:`window_statistic`, :func:`noise_floor`                   what it sees, and what it sees at the truth
:class:`TemperatureMap` and three more                          order-preserving maps (torch modules)
:func:`ece`, :func:`ks_error`, :func:`skce` …                   calibration metrics
:func:`reliability_curve`                                       points, intervals and band of a diagram
:func:`public_calibrator`                                       the same by the library probmetrics
==============================================================  =============================================

The experiments of the chapter stand in :mod:`loglik.risk.h_calibration.study`.
"""

from loglik.risk.h_calibration.baselines import public_calibrator, recalibrate
from loglik.risk.h_calibration.calibrator import PostHocCalibrator
from loglik.risk.h_calibration.datasets import (
    Split,
    TrainingPlan,
    extract_logits,
    load_digits,
    load_mnist,
    load_task,
    published_results,
    train_networks,
)
from loglik.risk.h_calibration.loss import h_calibration_loss, noise_floor, window_statistic
from loglik.risk.h_calibration.maps import (
    EnsembleTemperatureMap,
    MonotoneNetMap,
    PiecewiseLinearMap,
    TemperatureMap,
)
from loglik.risk.h_calibration.metrics import (
    ReliabilityCurve,
    accuracy,
    brier,
    classwise_ece,
    debiased_ece,
    ece,
    ece_equal_mass,
    expected_under_calibration,
    ks_error,
    nll,
    reliability_curve,
    skce,
    thresholded_classwise_ece,
)
from loglik.risk.h_calibration.report import Recalibration, calibrate
from loglik.risk.h_calibration.simulate import (
    Simulation,
    opposite_biases,
    simulate_imbalanced,
    simulate_posterior,
)

__all__ = [
    "EnsembleTemperatureMap",
    "MonotoneNetMap",
    "PiecewiseLinearMap",
    "PostHocCalibrator",
    "Recalibration",
    "ReliabilityCurve",
    "Simulation",
    "Split",
    "TemperatureMap",
    "TrainingPlan",
    "accuracy",
    "brier",
    "calibrate",
    "classwise_ece",
    "debiased_ece",
    "ece",
    "ece_equal_mass",
    "expected_under_calibration",
    "extract_logits",
    "h_calibration_loss",
    "ks_error",
    "load_digits",
    "load_mnist",
    "load_task",
    "nll",
    "noise_floor",
    "opposite_biases",
    "public_calibrator",
    "published_results",
    "recalibrate",
    "reliability_curve",
    "simulate_imbalanced",
    "simulate_posterior",
    "skce",
    "thresholded_classwise_ece",
    "train_networks",
    "window_statistic",
]
