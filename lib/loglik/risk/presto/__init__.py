"""PRESTO: predicting rare events by shrinking towards proportional odds (Faletto and Bien, 2023).

A rare event is often the last step of an ordered chain whose earlier steps are common. PRESTO gives every
boundary between neighbouring classes its own logistic weights and penalises the *change* of each weight
from one boundary to the next, so the rare boundary borrows from the common ones wherever data allow.

- :class:`PrestoClassifier`: the estimator, with a cross-validated penalty;
- :func:`presto_path`: solutions for a grid of penalties;
- :func:`ordinal_score_info`: score and Fisher information of the model;
- :func:`po_asymptotic_cov`, :func:`logit_asymptotic_cov`: why logistic regression fails for rare classes;
- :func:`simulate_sparse`, :func:`simulate_dense`: the paper's simulations, with their truth;
- :func:`osce`: the paper's calibration metric, as meant and as released;
- :func:`load_fair`, :func:`load_soup`, :func:`load_prediabetes`: real data.

The experiments of the chapter stand in ``loglik.risk.presto.study``, its audit of the released code in
``loglik.risk.presto.released``.
"""

from loglik.risk.presto.datasets import OrdinalData, load_fair, load_prediabetes, load_soup
from loglik.risk.presto.estimator import BoundaryCrossingWarning, PrestoClassifier, presto_path
from loglik.risk.presto.likelihood import (
    ScoreInfo,
    class_probabilities,
    linear_predictors,
    logit_asymptotic_cov,
    ordinal_score_info,
    po_asymptotic_cov,
    theorem_condition,
)
from loglik.risk.presto.metrics import osce
from loglik.risk.presto.path import PrestoPath
from loglik.risk.presto.simulate import Draw, simulate_dense, simulate_sparse

__all__ = [
    "BoundaryCrossingWarning",
    "Draw",
    "OrdinalData",
    "PrestoClassifier",
    "PrestoPath",
    "ScoreInfo",
    "class_probabilities",
    "linear_predictors",
    "load_fair",
    "load_prediabetes",
    "load_soup",
    "logit_asymptotic_cov",
    "ordinal_score_info",
    "osce",
    "po_asymptotic_cov",
    "presto_path",
    "simulate_dense",
    "simulate_sparse",
    "theorem_condition",
]
