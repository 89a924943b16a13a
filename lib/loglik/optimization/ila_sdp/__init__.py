r"""Likelihood-adjusted semidefinite programmes for clustering (Zhuang, Chen and Yang, 2023).

Clusters of different shapes by a convex programme: profile the centroids out of the Gaussian classification
likelihood, lift the labels to one membership matrix per cluster, drop the rank constraint, and alternate with
the covariances.

- :class:`ILASDP`: the clusterer, in scikit-learn's conventions;
- :func:`la_sdp`: the programme for known covariances, by a batched first-order method with a rigorous bound;
- :func:`kmeans_sdp`, :func:`kmeans_programme`: Peng and Wei's relaxation of K-means, the baseline it generalises;
- :func:`pairwise_costs`, :func:`membership_covariances`, :func:`profile_negloglik`: the likelihood without
  centroids;
- :func:`round_membership`, :func:`misclustering_error`: from matrices to labels, and their error;
- :func:`load_table`, :func:`load_openml`, :func:`load_csv`: real data.

The experiments of the chapter stand in :mod:`loglik.optimization.ila_sdp.study`.
"""

from loglik.optimization.ila_sdp.admm import State
from loglik.optimization.ila_sdp.datasets import Table, load_csv, load_openml, load_table
from loglik.optimization.ila_sdp.estimator import ILASDP
from loglik.optimization.ila_sdp.likelihood import (
    kmeans_costs,
    labelling_cost,
    lifted,
    membership_covariances,
    pairwise_costs,
    profile_negloglik,
)
from loglik.optimization.ila_sdp.programmes import LaSdpResult, kmeans_programme, kmeans_sdp, la_sdp
from loglik.optimization.ila_sdp.rounding import misclustering_error, round_membership

__all__ = [
    "ILASDP",
    "LaSdpResult",
    "State",
    "Table",
    "kmeans_costs",
    "kmeans_programme",
    "kmeans_sdp",
    "la_sdp",
    "labelling_cost",
    "lifted",
    "load_csv",
    "load_openml",
    "load_table",
    "membership_covariances",
    "misclustering_error",
    "pairwise_costs",
    "profile_negloglik",
    "round_membership",
]
