"""Adaptive data analysis with a guarantee (Dwork, Feldman, Hardt, Pitassi, Reingold and Roth, 2015).

Questions that depend on earlier answers overfit the data that answered them, even innocently. Answers that
are differentially private can't be overfitted by much, whoever asks.

- :class:`ReusableHoldout`: a holdout set with a budget that refuses when it is spent, and remembers;
- :class:`ThresholdoutMechanism`, :class:`PMW`, :class:`GaussianMechanism`, :class:`LaplaceMechanism`,
  :class:`LadderMechanism`, :class:`SplitMechanism`, :class:`RoundingMechanism`, :class:`EmpiricalMechanism`:
  ways to answer;
- :func:`sparse_vector`, :func:`exponential_mechanism`, :func:`thresholdout`: their building blocks;
- :func:`sign_aggregation_attack`, :func:`reconstruction_attack`, :func:`leaderboard_attack`,
  :func:`freedman`, :func:`variable_selection_experiment`: ways to fool oneself;
- :func:`overfit_curve`, :func:`holdout_curve`, :func:`recovery_curve`, :func:`generalization_bound`,
  :func:`required_n`: what theory says of both;
- :func:`compose_zcdp`, :func:`advanced_composition`, :func:`audit_dp`: accounting, and audits of it.

The experiments stand in ``loglik.information.adaptive_data_analysis.study`` and ``.study_data``.
"""

from loglik.information.adaptive_data_analysis.accounting import (
    Spent,
    advanced_composition,
    compose_zcdp,
    gaussian_rho,
    laplace_epsilon,
)
from loglik.information.adaptive_data_analysis.analysts import (
    AttackResult,
    Freedman,
    HistogramMechanism,
    freedman,
    greedy_analyst,
    leaderboard_attack,
    reconstruction_attack,
    sign_aggregation_attack,
    universe_attack,
)
from loglik.information.adaptive_data_analysis.audit import (
    AuditResult,
    LaplaceLaw,
    SparseVectorLaw,
    audit_dp,
)
from loglik.information.adaptive_data_analysis.holdout import Answer, ReusableHoldout, fingerprint
from loglik.information.adaptive_data_analysis.mechanisms import (
    BudgetExhausted,
    EmpiricalMechanism,
    GaussianMechanism,
    LadderMechanism,
    LaplaceMechanism,
    Mechanism,
    RoundingMechanism,
    SplitMechanism,
)
from loglik.information.adaptive_data_analysis.pmw import PMW
from loglik.information.adaptive_data_analysis.private import (
    SparseVectorResult,
    exponential_log_probabilities,
    exponential_mechanism,
    sparse_vector,
    thresholdout,
)
from loglik.information.adaptive_data_analysis.selection import (
    Selection,
    holdout_on_table,
    variable_selection_experiment,
)
from loglik.information.adaptive_data_analysis.theory import (
    best_sigma,
    crossover,
    density_at_zero,
    generalization_bound,
    holdout_curve,
    overfit_curve,
    recovery_curve,
    required_n,
)
from loglik.information.adaptive_data_analysis.thresholdout import ThresholdoutMechanism

__all__ = [
    "PMW",
    "Answer",
    "AttackResult",
    "AuditResult",
    "BudgetExhausted",
    "EmpiricalMechanism",
    "Freedman",
    "GaussianMechanism",
    "HistogramMechanism",
    "LadderMechanism",
    "LaplaceLaw",
    "LaplaceMechanism",
    "Mechanism",
    "ReusableHoldout",
    "RoundingMechanism",
    "Selection",
    "SparseVectorLaw",
    "SparseVectorResult",
    "Spent",
    "SplitMechanism",
    "ThresholdoutMechanism",
    "advanced_composition",
    "audit_dp",
    "best_sigma",
    "compose_zcdp",
    "crossover",
    "density_at_zero",
    "exponential_log_probabilities",
    "exponential_mechanism",
    "fingerprint",
    "freedman",
    "gaussian_rho",
    "generalization_bound",
    "greedy_analyst",
    "holdout_curve",
    "holdout_on_table",
    "laplace_epsilon",
    "leaderboard_attack",
    "overfit_curve",
    "reconstruction_attack",
    "recovery_curve",
    "required_n",
    "sign_aggregation_attack",
    "sparse_vector",
    "thresholdout",
    "universe_attack",
    "variable_selection_experiment",
]
