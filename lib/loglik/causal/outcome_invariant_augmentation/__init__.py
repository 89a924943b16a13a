"""Causal effects by outcome-invariant data augmentation (Akbar, Kilbertus, Shen, Muandet and Dai, 2025).

If augmenting the treatment leaves the outcome function unchanged, then augmentation is a soft intervention:
it dilutes hidden confounding. Its parameters look like instruments without being any; regressing on them
*and* on the augmented data (IV-like regression, IVL) is the worst case over a stronger augmentation.

- :class:`IVLRegressor`, :func:`ivl_path`: linear IVL in closed form, for one penalty or all at once;
- :class:`IVLSearch`: the penalty chosen by cross-validation, level cross-validation or confounder correction;
- :func:`two_stage_least_squares`, :func:`least_squares`, :func:`discretize_parameters`: what it is compared with;
- :func:`confounding_strength`: how much of a coefficient vector is confounding (Janzing 2019);
- :class:`LinearConfoundedSEM`, :class:`NullSpaceTranslation`, :func:`check_invariance`: models, augmentations;
- :func:`population_estimate`, :func:`cer`, :func:`ncer`: what is estimated, and the causal error;
- :class:`ICP`, :class:`KaniaWit`, :func:`corrected_ridge`, :func:`corrected_lasso`: baselines.

The losses for networks and for environments need torch and stand in ``networks`` and ``environments``; the
optical device in ``optical``; the chapter's experiments in ``study``, ``study_theory``, ``study_baselines``
and ``study_digits``.
"""

from loglik.causal.outcome_invariant_augmentation.baselines import (
    ICP,
    KaniaWit,
    corrected_lasso,
    corrected_ridge,
)
from loglik.causal.outcome_invariant_augmentation.linear import (
    CanonicalForm,
    IVLRegressor,
    canonical_form,
    ivl_path,
    least_squares,
    projected,
    two_stage_least_squares,
)
from loglik.causal.outcome_invariant_augmentation.population import (
    adversarial_risk,
    cer,
    iv_risk,
    ivl_risk,
    ncer,
    population_estimate,
    worst_covariance,
)
from loglik.causal.outcome_invariant_augmentation.selection import (
    IVLSearch,
    confounding_strength,
    discretize_parameters,
)
from loglik.causal.outcome_invariant_augmentation.sem import (
    Augmentation,
    Compose,
    Draw,
    GaussianNoise,
    LinearConfoundedSEM,
    NullSpaceTranslation,
    check_invariance,
)

__all__ = [
    "ICP",
    "Augmentation",
    "CanonicalForm",
    "Compose",
    "Draw",
    "GaussianNoise",
    "IVLRegressor",
    "IVLSearch",
    "KaniaWit",
    "LinearConfoundedSEM",
    "NullSpaceTranslation",
    "adversarial_risk",
    "canonical_form",
    "cer",
    "check_invariance",
    "confounding_strength",
    "corrected_lasso",
    "corrected_ridge",
    "discretize_parameters",
    "iv_risk",
    "ivl_path",
    "ivl_risk",
    "least_squares",
    "ncer",
    "population_estimate",
    "projected",
    "two_stage_least_squares",
    "worst_covariance",
]
