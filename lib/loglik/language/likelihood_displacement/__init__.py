"""Likelihood displacement: preference optimisation that makes the preferred answer less likely.

Razin et al. (ICLR 2025). :mod:`~loglik.language.likelihood_displacement.theory` has the rates of the
unconstrained-features analysis, :mod:`~loglik.language.likelihood_displacement.scores` CHES and its rivals,
:mod:`~loglik.language.likelihood_displacement.training` watched preference training,
:mod:`~loglik.language.likelihood_displacement.refusals` a small world in which refusals unlearn themselves, and
:mod:`~loglik.language.likelihood_displacement.workflow` the filter for a file of yours.
"""
