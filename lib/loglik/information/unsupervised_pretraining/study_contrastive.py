"""Contrastive learning's experiments: linear features with their theory, networks with their baselines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import RidgeCV

from loglik.information.unsupervised_pretraining.checks import Floats
from loglik.information.unsupervised_pretraining.contrastive import fit_linear_contrastive
from loglik.information.unsupervised_pretraining.linear import (
    RIDGES,
    coefficient_risk,
    draw_moments,
    excess_risk_linear,
    fit_on_features,
    fit_ridge,
)
from loglik.information.unsupervised_pretraining.networks import mlp, train_contrastive, train_supervised
from loglik.information.unsupervised_pretraining.simulate import simulate_contrastive
from loglik.information.unsupervised_pretraining.study_factor import (
    PRETRAINED,
    RIDGE,
    SUPERVISED,
    Law,
    tidy,
)

JOINT, ORACLE = "network on labels alone", "true features"
CHUNK = 40_000_000  # floats of pairs that are held at once


def linear_features(d: int, strengths: Sequence[float]) -> Floats:
    """W (r, d) with orthogonal rows of length `strengths`, along the first axes (x is N(0, I))."""
    return np.asarray(np.eye(d)[: len(strengths)] * np.asarray(strengths)[:, None])


def pretrain_linear(W: Floats, m: int, reps: int, rng: np.random.Generator) -> Floats:
    """Fitted features (reps, r, d) on m fresh pairs each."""
    r, d = W.shape
    block = max(1, min(reps, CHUNK // (2 * m * d)))
    found = []
    for start in range(0, reps, block):
        size = min(block, reps - start)
        pairs = simulate_contrastive(size * m, W, d, rng)
        X, X_pair = (side.reshape(size, m, d) for side in (pairs.X, pairs.X_pair))
        found.append(fit_linear_contrastive(X, X_pair, pairs.t.reshape(size, m).astype(float), r)[0])
    return np.concatenate(found)


def risk_grid(
    W: Floats,
    beta: Floats,
    eps: float,
    ms: Sequence[int],
    ns: Sequence[int],
    reps: int,
    rng: np.random.Generator,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Excess by rep, m, n and method, and representation cost A by rep and m; all risks exact."""
    law = Law(np.eye(W.shape[1]), W.T @ beta, eps**2)
    features = {m: pretrain_linear(W, m, reps, rng).swapaxes(1, 2) for m in progress(ms)}
    costs = pd.concat([tidy(excess_risk_linear(F, law.Sigma, law.b), m=m) for m, F in features.items()])
    tables = []
    for n in ns:
        moments = draw_moments(law.joint, n, reps, rng)
        for m, F in features.items():
            risk = coefficient_risk(fit_on_features(moments, F), law.Sigma, law.b)
            tables.append(tidy(risk, m=m, n=n, method=PRETRAINED))
        risks = coefficient_risk(fit_ridge(moments, [0.0, *RIDGES]), law.Sigma, law.b)
        tables.append(tidy(risks[0], m=0, n=n, method=SUPERVISED))
        tables.append(tidy(risks[risks.mean(1).argmin()], m=0, n=n, method=RIDGE))
    return pd.concat(tables, ignore_index=True), costs.reset_index(drop=True)


# -- networks --------------------------------------------------------------------------------------------------


class Teacher:
    """The true features: a tanh network 20 → 8 → 3, scaled so that each feature has standard deviation 1.5."""

    def __init__(self, rng: np.random.Generator, d: int = 20, hidden: int = 8, r: int = 3) -> None:
        self.d, self.r = d, r
        self._first = 1.5 * rng.normal(size=(d, hidden)) / np.sqrt(d)
        self._second = np.linalg.qr(rng.normal(size=(hidden, r)))[0]
        spread = (np.tanh(rng.normal(size=(20_000, d)) @ self._first) @ self._second).std(0)
        self._second = self._second * 1.5 / spread

    def __call__(self, X: Floats) -> Floats:
        """Features (..., r) of rows (..., d)."""
        return np.asarray(np.tanh(X @ self._first) @ self._second)


def least_squares_excess(train: Floats, y: Floats, test: Floats, truth: Floats) -> Floats:
    """Mean squared distance (S,) to the truth of least squares on features (S, n, r), seen at (S, rows, r)."""
    turned = train.swapaxes(1, 2)
    coefs = np.linalg.pinv(turned @ train, rcond=1e-10, hermitian=True) @ (turned @ y[..., None])
    return np.asarray((((test @ coefs)[..., 0] - truth) ** 2).mean(1))


def network_study(
    teacher: Teacher,
    ms: Sequence[int],
    ns: Sequence[int],
    seeds: int,
    rng: np.random.Generator,
    *,
    steps: int = 2500,
    supervised_steps: int = 1000,
    hidden: int = 32,
    eps: float = 0.5,
    device: str = "cpu",
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> pd.DataFrame:
    """Excess of a pretrained network, the same network on labels alone, ridge, and the true features.

    Columns rep (seed), m (0 where no pairs are used), n, method, excess (on 10 000 fresh rows, noise-free).
    """
    d, r = teacher.d, teacher.r
    generator = torch.Generator().manual_seed(int(rng.integers(2**31 - 1)))
    beta = np.ones(r)
    test = rng.normal(size=(seeds, 10_000, d))
    truth = teacher(test) @ beta
    tables = []
    labelled = {}
    for n in ns:
        X = rng.normal(size=(seeds, n, d))
        labelled[n] = X, teacher(X) @ beta + eps * rng.normal(size=(seeds, n))
    for m in ms:
        pairs = simulate_contrastive(seeds * m, teacher, d, rng)
        left, right = (side.reshape(seeds, m, d) for side in (pairs.X, pairs.X_pair))
        t = pairs.t.reshape(seeds, m).astype(float)
        modules = [mlp((d, hidden, r), generator) for _ in range(seeds)]
        learnt, _, _ = train_contrastive(
            modules, left, right, t, steps=steps, batch_size=512, learning_rate=3e-3, generator=generator,
            device=device, progress=progress,
        )  # fmt: skip
        for n, (X, y) in labelled.items():
            excess = least_squares_excess(learnt(X), y, learnt(test), truth)
            tables.append(tidy(excess, m=m, n=n, method=PRETRAINED))
    for n, (X, y) in labelled.items():
        predict = train_supervised(X, y, (d, hidden, r, 1), generator, steps=supervised_steps, device=device)
        tables.append(tidy(((predict(test) - truth) ** 2).mean(1), m=0, n=n, method=JOINT))
        models = [RidgeCV(alphas=n * RIDGES).fit(*pair) for pair in zip(X, y, strict=True)]
        linear = np.array([model.predict(rows) for model, rows in zip(models, test, strict=True)])
        tables.append(tidy(((linear - truth) ** 2).mean(1), m=0, n=n, method=RIDGE))
        excess = least_squares_excess(teacher(X), y, teacher(test), truth)
        tables.append(tidy(excess, m=0, n=n, method=ORACLE))
    return pd.concat(tables, ignore_index=True)
