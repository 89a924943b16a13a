"""The p–n criterion: is n enough for a model of p parameters? (Sheena, 2022).

Maximum likelihood converges to the member of the model that is closest to the truth, the *information projection*.
The expected divergence from that projection to the fit is A₁/n + A₂/n² + o(n⁻²); a tolerated Bayes error between the
two turns into a bound on it; the model is accepted at n where the expansion stays below the bound.

- :func:`pn_criterion`, :func:`dimension_ladder`: the criterion for one model, and for a ladder of them;
- :func:`risk_coefficients_autodiff`: A₁ and A₂ of any family with a log-partition function, by differentiating it;
- :func:`risk_coefficients`: the same from moments (enumeration, quadrature, Markov chains);
- :func:`risk_coefficients_jet`: the same from the loss in closed form;
- :class:`ExponentialFamily` and its kin: normal, Poisson, gamma, exponential, multinomial, log-linear, and two families
  without a computable constant, :class:`IsingFamily` and :class:`BoxPolynomial`;
- :func:`kl_threshold`, :func:`max_tv`, :func:`bayes_error`: from a divergence to the Bayes error and back;
- :func:`mc_risk`, :class:`Population`: measured risks;
- :func:`load_wine`, :func:`load_abalone`, :func:`fetch_uci`: data.

The experiments of the chapter stand in ``loglik.information.pn_criterion.study``, their settings and exact risks in
``settings`` and ``exact`` beside it.
"""

from loglik.information.pn_criterion.autodiff import risk_coefficients_autodiff, risk_coefficients_jet
from loglik.information.pn_criterion.base import ExponentialFamily, FitResult, MLENotFound
from loglik.information.pn_criterion.bayes_error import BayesError, bayes_error, kl_threshold, max_tv
from loglik.information.pn_criterion.criterion import PNResult, dimension_ladder, pn_criterion, projection
from loglik.information.pn_criterion.datasets import fetch_uci, load_abalone, load_wine
from loglik.information.pn_criterion.expansion import RiskExpansion, risk_coefficients
from loglik.information.pn_criterion.families import (
    ExponentialDistribution,
    GammaFamily,
    GaussianFamily,
    PoissonFamily,
)
from loglik.information.pn_criterion.finite import FiniteFamily, LogLinear, MultinomialFamily
from loglik.information.pn_criterion.mcmc import BoxPolynomial, GibbsFamily, IsingFamily
from loglik.information.pn_criterion.montecarlo import (
    MCRisk,
    Population,
    Refits,
    mc_risk,
    refit,
    total_variation,
)

__all__ = [
    "BayesError",
    "BoxPolynomial",
    "ExponentialDistribution",
    "ExponentialFamily",
    "FiniteFamily",
    "FitResult",
    "GammaFamily",
    "GaussianFamily",
    "GibbsFamily",
    "IsingFamily",
    "LogLinear",
    "MCRisk",
    "MLENotFound",
    "MultinomialFamily",
    "PNResult",
    "PoissonFamily",
    "Population",
    "Refits",
    "RiskExpansion",
    "bayes_error",
    "dimension_ladder",
    "fetch_uci",
    "kl_threshold",
    "load_abalone",
    "load_wine",
    "max_tv",
    "mc_risk",
    "pn_criterion",
    "projection",
    "refit",
    "risk_coefficients",
    "risk_coefficients_autodiff",
    "risk_coefficients_jet",
    "total_variation",
]
