"""Small examples of the method notebook: a budget of probability, tastes in a plane, and too few users."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.special import expit, log_softmax, softmax

from loglik.generative.vae_cf.baselines import ease
from loglik.generative.vae_cf.data import Seed, Split, strong_generalization_split
from loglik.generative.vae_cf.metrics import evaluate
from loglik.generative.vae_cf.models import MultVAE
from loglik.generative.vae_cf.study import Progress, Recipe, popular, train
from loglik.generative.vae_cf.training import predictor

ITEMS = ("Alien", "Aliens", "Blade Runner", "Emma", "Persuasion", "Sense and Sensibility")


def push_of_a_click(logits: NDArray[Any], x: NDArray[Any], pos_weight: float = 5.0) -> pd.DataFrame:
    """Gradient of each log-likelihood in the logits at one user's clicks `x`, both of shape (I,).

    The multinomial's pushes sum to zero: what one item gains others lose.
    """
    return pd.DataFrame(
        {
            "multinomial": x - x.sum() * softmax(logits),
            "logistic": x - expit(logits),
            "gaussian": (1 + (pos_weight - 1) * x) * (x - logits),
        }
    )


@dataclass(frozen=True)
class Plane:
    """A VAE with two latent dimensions, and its users' posteriors.

    Attributes
    ----------
    beta : float
    mean, scale : ndarray, shape (U, 2)
    rate : float
        Mean KL in nats.
    log_lik : float
        Mean log-likelihood a click in nats, at the posterior mean.
    """

    beta: float
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    rate: float
    log_lik: float


def ring_of_tastes(
    n_users: int, n_items: int = 120, width: float = 3.0, seed: Seed = 0
) -> tuple[pd.DataFrame, Any]:
    """Users and items on a circle; users click near themselves. Clicks, and each user's angle in radians."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi, n_users)
    places = 2 * np.pi * np.arange(n_items) / n_items
    log_proba = log_softmax(width * np.cos(angle[:, None] - places), axis=1)
    counts = rng.integers(5, 25, n_users)
    keys = log_proba + rng.gumbel(size=log_proba.shape)
    ranked = np.argsort(-keys, axis=1)[:, :25]
    chosen = ranked[np.arange(25) < counts[:, None]]
    return pd.DataFrame({"user": np.repeat(np.arange(n_users), counts), "item": chosen}), angle


def planes(split: Split, betas: tuple[float, ...], epochs: int, seed: int = 0) -> list[Plane]:
    """A two-dimensional VAE for each β, and where it puts the training users."""
    found = []
    for beta in betas:
        recipe = Recipe("plane", beta=beta, hidden=(32,), latent=2, epochs=epochs, lr=5e-3)
        model, _ = train(recipe, split, seed)
        assert isinstance(model, MultVAE)
        model.eval()
        with torch.no_grad():
            mu, logvar = (part.double() for part in model.encode(split.train))
            log_lik, kl = model.terms(split.train, generator=torch.Generator().manual_seed(seed))
        found.append(
            Plane(
                beta,
                mu.numpy(),
                (logvar / 2).exp().numpy(),
                float(kl.double().mean()),
                float(log_lik.double().sum()) / float(split.train.sum()),
            )
        )
    return found


def learning_curve(
    table: pd.DataFrame,
    sizes: tuple[int, ...],
    recipe: Recipe,
    n_held: int,
    seed: Seed,
    progress: Progress = iter,
) -> pd.DataFrame:
    """NDCG@100 of VAE, EASE and popularity as the training users grow; the held-out users stay the same.

    Columns users, method, ndcg, se.
    """
    whole = strong_generalization_split(table, n_held // 4, n_held, seed=seed)
    updates = 30 * -(-max(sizes) // recipe.batch_size)
    rows = []
    for n in progress(sizes):
        split = Split(whole.train[:n], whole.val, whole.test, whole.item_index)
        sized = replace(recipe, epochs=max(1, min(60, updates // -(-n // recipe.batch_size))))
        model, _ = train(sized, split)
        weights = ease(split.train, 100.0 + n / 20)
        predictions: dict[str, Callable[[Any], Any]] = {
            "Mult-VAE": predictor(model),
            "EASE": partial(_times, weights),
            "popularity": popular(split),
        }
        for name, predict in predictions.items():
            score = evaluate(predict, split.test, ["ndcg@100"])["ndcg@100"]
            rows.append((n, name, score.mean(), score.sem()))
    return pd.DataFrame(rows, columns=["users", "method", "ndcg", "se"])


def _times(weights: NDArray[Any], x: Any) -> NDArray[Any]:
    return np.asarray(x @ weights)
