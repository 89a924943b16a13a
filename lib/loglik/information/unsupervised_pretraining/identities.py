"""What the group of a model may change, and what it may not: predictions."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LinearRegression

from loglik.information.unsupervised_pretraining.contrastive import ContrastivePretrainer
from loglik.information.unsupervised_pretraining.factor import FactorPretrainer
from loglik.information.unsupervised_pretraining.mixture import ClusterMajority, GaussianMixturePretrainer
from loglik.information.unsupervised_pretraining.simulate import (
    orthonormal_loadings,
    simulate_contrastive,
    simulate_factor,
    simulate_gmm,
)


def prediction_changes(rng: np.random.Generator, n: int = 100, m: int = 2000) -> dict[str, float]:
    """Largest change of a two-phase prediction when the representation is turned, or its clusters renumbered.

    The group's element is applied between the phases: factors and contrastive features are multiplied by a
    random orthogonal matrix, clusters are permuted; then the head is fitted again.
    """
    loadings = orthonormal_loadings(10, (2.0, 1.5, 1.0), rng)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    few = simulate_factor(n, loadings, np.ones(3), 0.5, rng)
    fresh = rng.normal(size=(200, 10))
    changes = {}
    factors = FactorPretrainer(3).fit(simulate_factor(m, loadings, np.ones(3), 0.5, rng).X)
    pairs = simulate_contrastive(m, loadings.T, 10, rng)
    contrast = ContrastivePretrainer(3).fit(pairs.X, pairs.X_pair, pairs.t)
    for name, pretrainer, weights in (
        ("factors", factors, "loadings_"),
        ("contrastive", contrast, "weights_"),
    ):
        before = _linear(pretrainer, few.X, few.y, fresh)
        value = getattr(pretrainer, weights)
        setattr(pretrainer, weights, value @ turn if name == "factors" else turn @ value)
        changes[name] = float(np.abs(_linear(pretrainer, few.X, few.y, fresh) - before).max())
    centers, labels = 2.0 * rng.normal(size=(4, 10)), np.array([0, 1, 0, 1])
    mixture = GaussianMixturePretrainer(4, random_state=0).fit(simulate_gmm(m, centers, labels, 0.1, rng).X)
    named = simulate_gmm(n, centers, labels, 0.1, rng)
    before = _clusters(mixture, named.X, named.y, fresh)
    mixture.centers_ = mixture.centers_[[2, 0, 3, 1]]
    changes["mixture"] = float(np.abs(_clusters(mixture, named.X, named.y, fresh) - before).max())
    return changes


def _linear(
    pretrainer: FactorPretrainer | ContrastivePretrainer, X: np.ndarray, y: np.ndarray, new: np.ndarray
) -> np.ndarray:
    head = LinearRegression(fit_intercept=False).fit(pretrainer.transform(X), y)
    return np.asarray(head.predict(pretrainer.transform(new)))


def _clusters(
    pretrainer: GaussianMixturePretrainer, X: np.ndarray, y: np.ndarray, new: np.ndarray
) -> np.ndarray:
    head = ClusterMajority(soft=True).fit(pretrainer.transform(X), y)
    return np.asarray(head.predict_proba(pretrainer.transform(new)))
