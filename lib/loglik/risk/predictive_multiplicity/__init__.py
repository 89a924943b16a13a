"""Predictive multiplicity in probabilistic classification (Watson-Daniels, Parkes and Ustun, 2023).

Many models fit a data set almost equally well and still disagree about a person. Over the *level set* of all linear
risk models whose loss is within a tolerance of the best one, this package computes how far each person's risk can move,
how many people some model moves, and how many one model can move at once, each with a proof.

==================================================  ========================================================
:class:`LogisticERM`                                the baseline as a classifier, with ``predict_range``
:class:`LevelSet`                                   ranges, ambiguity, discrepancy, uniform samples
:func:`discrepancy`                                 the integer program, as two proven bounds
:func:`fast_bounds`, :func:`laplace_range`          ranges without an optimisation a person
:func:`candidate_pool`, :func:`models_measures`     the paper's algorithm, and what a set of models finds
:func:`multiplicity_report`                         the table that the paper asks for
:func:`load_breastcancer` and others                data, real and drawn
==================================================  ========================================================

The experiments of the chapter stand in :mod:`loglik.risk.predictive_multiplicity.study`.
"""

from loglik.risk.predictive_multiplicity.bounds import FastBounds, fast_bounds, laplace_range
from loglik.risk.predictive_multiplicity.datasets import (
    RiskData,
    draw_minority,
    draw_outliers,
    draw_separability,
    load_breastcancer,
    load_compas,
    load_credit,
    load_wisconsin,
)
from loglik.risk.predictive_multiplicity.estimator import LogisticERM
from loglik.risk.predictive_multiplicity.integer_program import DiscrepancyResult, discrepancy
from loglik.risk.predictive_multiplicity.levelset import LevelSet, Ranges, UnboundedLevelSetWarning
from loglik.risk.predictive_multiplicity.pool import (
    CandidatePool,
    calibration_errors,
    candidate_pool,
    models_measures,
    target_grid,
)
from loglik.risk.predictive_multiplicity.report import multiplicity_report, people_table
from loglik.risk.predictive_multiplicity.retrain import refits

__all__ = [
    "CandidatePool",
    "DiscrepancyResult",
    "FastBounds",
    "LevelSet",
    "LogisticERM",
    "Ranges",
    "RiskData",
    "UnboundedLevelSetWarning",
    "calibration_errors",
    "candidate_pool",
    "discrepancy",
    "draw_minority",
    "draw_outliers",
    "draw_separability",
    "fast_bounds",
    "laplace_range",
    "load_breastcancer",
    "load_compas",
    "load_credit",
    "load_wisconsin",
    "models_measures",
    "multiplicity_report",
    "people_table",
    "refits",
    "target_grid",
]
