"""The universality lens: why over-parametrised models learn (Feder, Urbanke and Fogel, 2025).

A Bayesian mixture over a class of any size pays for a truth what the prior mass near that truth says, its
*weight*, and not for the size of the class. Here are the weights and the two bounds that follow from them,
exactly where a formula or a finite sum exists and by tempered chains elsewhere; mixture learners, from coins
to networks sampled by SGLD; and what they are compared with.

- :func:`log_weight`, :func:`soft_bound`, :func:`hard_bound`: finite classes; :func:`soft_bound_sampled`: draws;
- :class:`FiniteMixture`, :class:`BernoulliMixture`, :class:`LinearGaussianMixture`, :class:`ProductMixture`,
  :class:`LookupTableMixture`, :class:`BooleanMixture`: mixture learners with their exact regrets and bounds;
- :func:`random_boolean_networks`: random networks as Boolean functions;
- :class:`TanhNetwork`, :func:`sgld`, :func:`sgld_predict`, :func:`distill`: the network learner and its student;
- :func:`tempered_energy`: the soft bound and the effective dimension by thermodynamic integration;
- :func:`project_on_hull`, :func:`blahut_arimoto`: optimality of mixtures;
- :class:`SGLDMixtureClassifier`: the learner for a reader's own table, with diagnostics.

The experiments stand in ``loglik.information.universality_lens.study`` and ``.study_networks``.
"""

from loglik.information.universality_lens.bernoulli import BernoulliMixture, binary_kl
from loglik.information.universality_lens.boolean import (
    BooleanMixture,
    Counts,
    LookupTableMixture,
    Symmetries,
    boolean_inputs,
    draw_counts,
    flip_divergence,
    literal_symmetries,
    named_targets,
    random_boolean_networks,
    unpack,
)
from loglik.information.universality_lens.checks import SamplingError
from loglik.information.universality_lens.classifier import SGLDMixtureClassifier
from loglik.information.universality_lens.datasets import Inputs, load_inputs
from loglik.information.universality_lens.finite import FiniteMixture
from loglik.information.universality_lens.gaussian import LinearGaussianMixture
from loglik.information.universality_lens.hull import Capacity, Projection, blahut_arimoto, project_on_hull
from loglik.information.universality_lens.langevin import (
    SGLDRun,
    decaying_steps,
    normal_prior_grad,
    sgld,
    sgld_predict,
)
from loglik.information.universality_lens.learners import Fits, distill, fit_networks, nuts
from loglik.information.universality_lens.network import TanhNetwork, scale_inputs
from loglik.information.universality_lens.product import ProductMixture
from loglik.information.universality_lens.tempered import (
    TemperedEnergy,
    beta_ladder,
    integrate_energy,
    tempered_energy,
)
from loglik.information.universality_lens.weights import (
    HardBound,
    SoftBound,
    hard_bound,
    log_weight,
    soft_bound,
    soft_bound_sampled,
)

__all__ = [
    "BernoulliMixture",
    "BooleanMixture",
    "Capacity",
    "Counts",
    "FiniteMixture",
    "Fits",
    "HardBound",
    "Inputs",
    "LinearGaussianMixture",
    "LookupTableMixture",
    "ProductMixture",
    "Projection",
    "SGLDMixtureClassifier",
    "SGLDRun",
    "SamplingError",
    "SoftBound",
    "Symmetries",
    "TanhNetwork",
    "TemperedEnergy",
    "beta_ladder",
    "binary_kl",
    "blahut_arimoto",
    "boolean_inputs",
    "decaying_steps",
    "distill",
    "draw_counts",
    "fit_networks",
    "flip_divergence",
    "hard_bound",
    "integrate_energy",
    "literal_symmetries",
    "load_inputs",
    "log_weight",
    "named_targets",
    "normal_prior_grad",
    "nuts",
    "project_on_hull",
    "random_boolean_networks",
    "scale_inputs",
    "sgld",
    "sgld_predict",
    "soft_bound",
    "soft_bound_sampled",
    "tempered_energy",
    "unpack",
]
