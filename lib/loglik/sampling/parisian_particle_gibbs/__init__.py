"""PaRIS particle Gibbs: smoothing a hidden path, and learning from it, with few particles and little bias.

Smoothers: :func:`paris`, :func:`conditional_paris`, :func:`ppg`. Learning: :func:`score_ascent`,
:func:`particle_em`, :func:`markov_score_climbing`. Models: :class:`LinearGaussianModel`,
:class:`StochasticVolatility`, :class:`ChaoticRNN`, :class:`FiniteHMM`, and :class:`DistributionModel` for
one's own in numpyro's terms. Exact answers: :func:`kalman_smoother`, :func:`exact_additive`,
:func:`enumerate_sweep`.

Everything follows JAX's floating type: single precision, or double inside ``jax.enable_x64``. Results
are NumPy arrays.
"""

from loglik.sampling.parisian_particle_gibbs.exact import (
    enumerate_sweep,
    exact_additive,
    kalman_loglik,
    kalman_smoother,
    posterior_paths,
)
from loglik.sampling.parisian_particle_gibbs.gaussian import LinearGaussianModel
from loglik.sampling.parisian_particle_gibbs.learning import (
    Trace,
    particle_em,
    power_steps,
    score_ascent,
    score_functional,
)
from loglik.sampling.parisian_particle_gibbs.models import (
    ChaoticRNN,
    DistributionModel,
    FiniteHMM,
    StochasticVolatility,
    simulate,
)
from loglik.sampling.parisian_particle_gibbs.protocol import Pair, StateSpaceModel
from loglik.sampling.parisian_particle_gibbs.smoothing import (
    PPGResult,
    conditional_paris,
    paris,
    ppg,
    sweep_cloud,
)
from loglik.sampling.parisian_particle_gibbs.variational import (
    GaussianMeanField,
    MarkovFamily,
    markov_score_climbing,
)

__all__ = [
    "ChaoticRNN",
    "DistributionModel",
    "FiniteHMM",
    "GaussianMeanField",
    "LinearGaussianModel",
    "MarkovFamily",
    "PPGResult",
    "Pair",
    "StateSpaceModel",
    "StochasticVolatility",
    "Trace",
    "conditional_paris",
    "enumerate_sweep",
    "exact_additive",
    "kalman_loglik",
    "kalman_smoother",
    "markov_score_climbing",
    "paris",
    "particle_em",
    "posterior_paths",
    "power_steps",
    "ppg",
    "score_ascent",
    "score_functional",
    "simulate",
    "sweep_cloud",
]
