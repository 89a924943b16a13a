"""Marginalization models: networks that give the probability of any subset of discrete variables in one pass.

States are int64 tensors (B, D) in 0..K, where ``MASK = 0`` means unknown. Two networks are tied to each other:
``log_marginal`` (one number) and ``conditional_logits`` (D×K numbers).

>>> import torch
>>> from loglik.generative.marginalization_models import DualMLP
>>> model = DualMLP(3, 2, hidden=8, layers=1, generator=torch.Generator().manual_seed(0))
>>> model.log_marginal(torch.tensor([[0, 1, 2], [0, 0, 0]])).shape
torch.Size([2])
"""

from loglik.generative.marginalization_models.energy import ESTIMATORS, History, fit_energy
from loglik.generative.marginalization_models.ising import (
    ising_log_density,
    ising_log_z,
    ising_row_marginals,
    ising_samples,
)
from loglik.generative.marginalization_models.likelihood import (
    ao_arm_loss,
    block_gibbs,
    log_marginal_any_order,
    log_prob_any_order,
    sample,
    self_consistency_residual,
)
from loglik.generative.marginalization_models.mle import STAGES, fit_mle
from loglik.generative.marginalization_models.models import (
    MASK,
    DualMLP,
    MarginalModel,
    TableModel,
    base_rates,
)
from loglik.generative.marginalization_models.molecules import (
    CachedScore,
    MoleculeRun,
    fit_molecules,
    load_chembl,
    log_reward,
    molecule_states,
)

__all__ = [
    "ESTIMATORS",
    "MASK",
    "STAGES",
    "CachedScore",
    "DualMLP",
    "History",
    "MarginalModel",
    "MoleculeRun",
    "TableModel",
    "ao_arm_loss",
    "base_rates",
    "block_gibbs",
    "fit_energy",
    "fit_mle",
    "fit_molecules",
    "ising_log_density",
    "ising_log_z",
    "ising_row_marginals",
    "ising_samples",
    "load_chembl",
    "log_marginal_any_order",
    "log_prob_any_order",
    "log_reward",
    "molecule_states",
    "sample",
    "self_consistency_residual",
]
