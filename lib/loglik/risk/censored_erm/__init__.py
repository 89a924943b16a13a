r"""Empirical risk minimisation under random censorship (Ausset, Clémençon and Portier, 2022).

To predict a duration Y from X by least squares when all that is seen is min(Y, C) and whether it is Y: weight
each uncensored case by the inverse of its probability of being uncensored that long, estimated by a kernel
Kaplan-Meier curve of the *censoring* that leaves the case itself out. Any learner that takes weights can then
minimise the risk, at the same rate as without censoring.

- :class:`CensoredRegressor`: any regressor with ``sample_weight``, on censored durations;
- :func:`ipcw_weights`: the weights, with effective sample size and what was floored;
- :func:`beran_censoring_survival`: the conditional Kaplan-Meier (Beran) estimate of the censoring;
- :func:`choose_bandwidth`: its bandwidth by a Brier score for censoring;
- :func:`censored_risk`: the Beran risk of any prediction;
- :func:`restricted_mean`: durations from survival curves, to compare with survival models;
- :func:`load_unempdur`, :func:`load_rotterdam`, :func:`load_gbsg2`, :func:`load_survival_csv`: real data.

The experiments of the chapter stand in :mod:`loglik.risk.censored_erm.study` and ``study_data``.
"""

from loglik.risk.censored_erm.bandwidth import BandwidthChoice, censoring_brier, choose_bandwidth
from loglik.risk.censored_erm.beran import (
    beran_censoring_survival,
    marginal_survival,
    neighbourhood_sizes,
    rule_of_thumb,
)
from loglik.risk.censored_erm.datasets import (
    SurvivalData,
    load_gbsg2,
    load_rotterdam,
    load_survival_csv,
    load_unempdur,
)
from loglik.risk.censored_erm.estimator import CensoredRegressor
from loglik.risk.censored_erm.inputs import Observed, at_horizon, read_survival
from loglik.risk.censored_erm.weights import (
    IPCWResult,
    censored_risk,
    censoring_index,
    ipcw_weights,
    restricted_mean,
)

__all__ = [
    "BandwidthChoice",
    "CensoredRegressor",
    "IPCWResult",
    "Observed",
    "SurvivalData",
    "at_horizon",
    "beran_censoring_survival",
    "censored_risk",
    "censoring_brier",
    "censoring_index",
    "choose_bandwidth",
    "ipcw_weights",
    "load_gbsg2",
    "load_rotterdam",
    "load_survival_csv",
    "load_unempdur",
    "marginal_survival",
    "neighbourhood_sizes",
    "read_survival",
    "restricted_mean",
    "rule_of_thumb",
]
