"""Clicks drawn from the paper's own model, so that the true probabilities are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import log_softmax

from loglik.generative.vae_cf.data import Seed


@dataclass(frozen=True)
class Clicks:
    """A simulated population.

    Attributes
    ----------
    table : DataFrame
        Columns user and item, both counted from 0.
    log_proba : ndarray, shape (U, I)
        log π*(z_u): every user's true log-probabilities.
    taste : ndarray, shape (U, K)
        z_u.
    """

    table: pd.DataFrame
    log_proba: NDArray[np.float32]
    taste: NDArray[np.float64]


def simulate_clicks(
    n_users: int,
    n_items: int = 2000,
    *,
    latent: int = 8,
    hidden: int = 32,
    strength: float = 2.0,
    median: float = 25.0,
    spread: float = 0.9,
    limits: tuple[int, int] = (5, 300),
    seed: Seed = 0,
) -> Clicks:
    """Draw tastes, probabilities and clicks.

    ``z ~ N(0, I)``; logits are a fixed random tanh network of z plus a popularity that falls as ``-0.8 log rank``;
    the number of clicks is log-normal. A user's items are distinct: Gumbel keys, the largest N_u of them, which draws
    without replacement.

    Parameters
    ----------
    n_users, n_items : int
    latent, hidden : int
        Widths of the true network.
    strength : float
        Standard deviation of an item's logit over users.
    median, spread : float
        Of the log-normal number of clicks (spread on the log scale).
    limits : (int, int)
        Fewest and most clicks of a user.
    seed : int or sequence of int

    Raises
    ------
    ValueError
        For sizes that cannot be.
    """
    fewest, most = limits
    if n_users < 1 or not 1 <= fewest <= most < n_items:
        raise ValueError(
            f"need a user and 1 <= fewest <= most < n_items; got {n_users=}, {limits=}, {n_items=}"
        )
    rng = np.random.default_rng(seed)
    inner = rng.normal(size=(latent, hidden)) / np.sqrt(latent) * 2
    outer = rng.normal(size=(hidden, n_items))
    popularity = -0.8 * np.log(rng.permutation(n_items) + 1)
    taste = rng.normal(size=(n_users, latent))
    features = np.tanh(taste @ inner)
    outer *= strength / np.sqrt(features.var(axis=0) @ outer**2)
    log_proba = log_softmax((features @ outer + popularity).astype(np.float32), axis=1)

    counts = np.clip(np.exp(np.log(median) + spread * rng.normal(size=n_users)), fewest, most).astype(int)
    chosen = [
        _draw(log_proba[i : i + 1000], counts[i : i + 1000], most, rng) for i in range(0, n_users, 1000)
    ]
    table = pd.DataFrame({"user": np.repeat(np.arange(n_users), counts), "item": np.concatenate(chosen)})
    return Clicks(table, log_proba, taste)


def _draw(
    log_proba: NDArray[np.float32], counts: NDArray[np.int64], most: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Items of a block of users, one after another."""
    keys = log_proba + rng.gumbel(size=log_proba.shape).astype(np.float32)
    best = np.argpartition(-keys, most, axis=1)[:, :most]
    order = np.argsort(-np.take_along_axis(keys, best, axis=1), axis=1)
    ranked = np.take_along_axis(best, order, axis=1)
    return ranked[np.arange(most) < counts[:, None]]
