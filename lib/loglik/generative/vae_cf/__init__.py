"""Variational autoencoders for collaborative filtering (Liang, Krishnan, Hoffman and Jebara, 2018).

A user's clicks are one draw from a multinomial over all items, whose probabilities come from a latent taste through a
network. A second network reads the taste off the clicks. The weight β of the KL term is turned down on purpose.

- :class:`MultVAE`, :class:`MultDAE`: the two models, with multinomial, Gaussian and logistic likelihoods;
- :func:`fit`, :class:`LinearAnneal`, :func:`annealed_peak`: training, the ramp of β, and the β where it peaks;
- :func:`ease`, :func:`wmf`, :func:`popularity`: what every recommender has to be compared with;
- :func:`ndcg_at_k`, :func:`recall_at_k`, :func:`evaluate`: the paper's metrics on held-out users;
- :func:`information_plane`: rate, mutual information, marginal divergence, distortion;
- :func:`binarize_interactions`, :func:`strong_generalization_split`, :func:`user_kfold`: from a table to a split;
- :func:`load_movielens`, :func:`simulate_clicks`: real clicks, and clicks with a known truth.

The experiments of the chapter stand in ``loglik.generative.vae_cf.study``.
"""

from loglik.generative.vae_cf.baselines import WMF, ease, popularity, wmf, wmf_half_step
from loglik.generative.vae_cf.data import (
    Held,
    Split,
    binarize_interactions,
    strong_generalization_split,
    user_kfold,
)
from loglik.generative.vae_cf.information import information_plane
from loglik.generative.vae_cf.metrics import evaluate, ndcg_at_k, recall_at_k, top_k
from loglik.generative.vae_cf.models import MultDAE, MultVAE, log_likelihood
from loglik.generative.vae_cf.movielens import find_movielens_100k, load_movielens
from loglik.generative.vae_cf.rows import ClickRows, Rows, rows_of
from loglik.generative.vae_cf.simulate import Clicks, simulate_clicks
from loglik.generative.vae_cf.training import History, LinearAnneal, annealed_peak, fit

__all__ = [
    "WMF",
    "ClickRows",
    "Clicks",
    "Held",
    "History",
    "LinearAnneal",
    "MultDAE",
    "MultVAE",
    "Rows",
    "Split",
    "annealed_peak",
    "binarize_interactions",
    "ease",
    "evaluate",
    "find_movielens_100k",
    "fit",
    "information_plane",
    "load_movielens",
    "log_likelihood",
    "ndcg_at_k",
    "popularity",
    "recall_at_k",
    "rows_of",
    "simulate_clicks",
    "strong_generalization_split",
    "top_k",
    "user_kfold",
    "wmf",
    "wmf_half_step",
]
