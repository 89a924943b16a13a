"""On the provable advantage of unsupervised pretraining (Ge, Tang, Fan and Jin, 2024).

Pretrain a latent-variable model on m rows without labels, freeze it, fit a small head on n rows with labels.
If the model is *informative*, excess risk is of order κ√(C_Φ/m) + √(C_Ψ/n), against √(C_ΦΨ/n) for
supervised learning of the composed class.

- :class:`FactorPretrainer`, :class:`GaussianMixturePretrainer`, :class:`ContrastivePretrainer`: phase one of
  the paper's three instances;
- :class:`TwoPhase`, :class:`ClusterMajority`: both phases as one estimator, and a head for clusters;
- :func:`bound_shape`, :func:`theorem_border`: the theorem, without its absolute constants;
- :func:`factor_theory`, :func:`gmm_theory`, :func:`gmm_label_cost`, :func:`contrastive_theory`,
  :func:`win_border`: derived costs with their constants, and where two methods cost the same;
- :func:`excess_risk_linear`: exact risks under Gaussian laws;
- :func:`informative_constant`, :func:`local_informative_constant`: κ;
- :func:`simulate_factor`, :func:`simulate_gmm`, :func:`simulate_contrastive`: the three laws;
- :func:`load_images`: digits, or MNIST.

The experiments of the chapter stand in the modules ``study_…`` and ``workflow``.
"""

from loglik.information.unsupervised_pretraining.contrastive import (
    ContrastivePretrainer,
    contrastive_loss,
    contrastive_theory,
)
from loglik.information.unsupervised_pretraining.datasets import Images, load_images
from loglik.information.unsupervised_pretraining.estimator import TwoPhase
from loglik.information.unsupervised_pretraining.factor import FactorPretrainer, factor_theory
from loglik.information.unsupervised_pretraining.informative import hellinger_normal, informative_constant
from loglik.information.unsupervised_pretraining.linear import draw_moments, excess_risk_linear
from loglik.information.unsupervised_pretraining.mixture import (
    ClusterMajority,
    GaussianMixturePretrainer,
    gmm_theory,
    local_informative_constant,
)
from loglik.information.unsupervised_pretraining.simulate import (
    Draw,
    Pairs,
    simulate_contrastive,
    simulate_factor,
    simulate_gmm,
)
from loglik.information.unsupervised_pretraining.theory import (
    bound_shape,
    gmm_label_cost,
    theorem_border,
    win_border,
)

__all__ = [
    "ClusterMajority",
    "ContrastivePretrainer",
    "Draw",
    "FactorPretrainer",
    "GaussianMixturePretrainer",
    "Images",
    "Pairs",
    "TwoPhase",
    "bound_shape",
    "contrastive_loss",
    "contrastive_theory",
    "draw_moments",
    "excess_risk_linear",
    "factor_theory",
    "gmm_label_cost",
    "gmm_theory",
    "hellinger_normal",
    "informative_constant",
    "load_images",
    "local_informative_constant",
    "simulate_contrastive",
    "simulate_factor",
    "simulate_gmm",
    "theorem_border",
    "win_border",
]
