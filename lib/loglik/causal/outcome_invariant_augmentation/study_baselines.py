"""All fifteen methods beside each other: the simulation's panel and the optical device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from loglik.causal.outcome_invariant_augmentation import gradient
from loglik.causal.outcome_invariant_augmentation.baselines import (
    ICP,
    KaniaWit,
    corrected_lasso,
    corrected_ridge,
)
from loglik.causal.outcome_invariant_augmentation.inputs import Floats
from loglik.causal.outcome_invariant_augmentation.optical import (
    GroundTruth,
    OpticalDevice,
    expand,
    ground_truth,
)
from loglik.causal.outcome_invariant_augmentation.population import ncer
from loglik.causal.outcome_invariant_augmentation.selection import discretize_parameters, parameter_levels
from loglik.causal.outcome_invariant_augmentation.sem import GaussianNoise
from loglik.causal.outcome_invariant_augmentation.study import Batch, error_table, fit_closed_forms

ENVIRONMENT = ("IRM", "V-REx", "MM-REx", "DRO")
BASELINES = ("IRM", "ICP", "DRO", "RICE", "V-REx", "MM-REx", "lasso", "ridge", "Kania–Wit")
TRAININGS = ("converged", "released")
PAPER_SIMULATION = {
    "ERM": 0.48, "DA+ERM": 0.26, "IVL-CV": 0.22, "IVL-LCV": 0.23, "IVL-CC": 0.18, "DA+IV": 0.53, "IRM": 0.48,
    "ICP": 0.50, "DRO": 0.29, "RICE": 0.37, "V-REx": 0.29, "MM-REx": 0.55, "lasso": 0.24, "ridge": 0.47,
    "Kania–Wit": 0.24,
}  # fmt: skip
PAPER_OPTICAL = {
    "ERM": 0.826, "DA+ERM": 0.705, "IVL-CV": 0.637, "IVL-LCV": 0.654, "IVL-CC": 0.633, "DA+IV": 0.955,
    "IRM": 0.982, "ICP": 0.639, "DRO": 0.982, "RICE": 0.845, "V-REx": 0.980, "MM-REx": 1.0, "lasso": 0.817,
    "ridge": 0.829, "Kania–Wit": 0.744,
}  # fmt: skip
PAPER_DIGITS = {
    "ERM": 0.469, "DA+ERM": 0.324, "IVL-CV": 0.312, "IVL-LCV": 0.319, "DA+IV": 0.469, "IRM": 0.318, "DRO": 0.501,
    "RICE": 0.442, "V-REx": 0.324, "MM-REx": 0.465,
}  # fmt: skip
Augment = Callable[[int, np.random.Generator], Floats]
Progress = Callable[[Sequence[Any]], Iterable[Any]]
Entropy = int | Sequence[int]


def fit_baselines(
    X: Floats,
    y: Floats,
    X_aug: Floats,
    G: Floats,
    again: Augment,
    *,
    training: str,
    seed: Entropy,
    n_draws: int = 10,
    steps: int = gradient.STEPS,
) -> dict[str, Floats]:
    """Coefficients (S, m) of the nine baselines for S samples.

    Parameters
    ----------
    X, X_aug : array of shape (S, n, m)
    y : array of shape (S, n)
    G : array of shape (S, n, k)
    again : callable
        (rows of every sample, rng) -> array (S, rows, 3, m): three fresh augmentations of the first rows.
    training : {"converged", "released"}
        "released": Adam as in the official code, penalties Exp(1) on everybody's own scale. "converged":
        optimised to the end; MM-REx with λ ≤ 0, where its loss is bounded below; lasso and ridge with
        penalties over decades, in units of the outcome's standard deviation and of the rows.
    seed : int or sequence of int
    n_draws : int
        Penalties tried by each method.
    steps : int
        Of the converged training.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    S, n = y.shape
    lams = rng.exponential(1, (S, n_draws))
    env = np.stack([parameter_levels(discretize_parameters(g)) for g in G])
    coefs = {}
    for name in ENVIRONMENT:
        own = -lams if name == "MM-REx" and training == "converged" else lams
        coefs[name] = gradient.choose_environment_penalty(
            name, X_aug, y, env, own, training=training, rng=rng, steps=steps
        )
    third = n // 3
    coefs["RICE"] = gradient.choose_rice_penalty(
        X[:, :third], y[:, :third], again(third, rng), lams, training=training, rng=rng, steps=steps
    )
    rows = zip(X, y, X_aug, env, lams, strict=True)
    found = [_closed_baselines(*row, released=training == "released", seed=i) for i, row in enumerate(rows)]
    return coefs | {name: np.stack([f[name] for f in found]) for name in found[0]}


def _closed_baselines(
    X: Floats, y: Floats, X_aug: Floats, env: np.ndarray, lams: Floats, *, released: bool, seed: int
) -> dict[str, Floats]:
    half = len(X) // 2
    decades = np.logspace(-4, 1, 3 * len(lams))
    slope = np.abs(X.T @ y).max() / len(X)  # a lasso penalty above it leaves nothing
    size = float((X**2).sum(0).mean())
    return {
        "ICP": ICP(random_state=seed).fit(X_aug, y, env).coef_,
        "lasso": corrected_lasso(X, y, lams if released else slope * decades / 10),
        "ridge": corrected_ridge(X, y, lams if released else size * decades),
        "Kania–Wit": KaniaWit(n_draws=len(lams), random_state=seed)
        .fit(X[:half], y[:half], X_aug[half:], y[half:])
        .coef_,
    }


def simulation_panel(
    batch: Batch,
    *,
    seed: Entropy,
    trainings: Sequence[str] = TRAININGS,
    n_draws: int = 10,
    steps: int = gradient.STEPS,
) -> pd.DataFrame:
    """Every method on one batch of models; columns training, method, sem, error, cer.

    Closed-form methods appear under each training, so that each panel is whole.
    """

    def again(rows: int, rng: np.random.Generator) -> Floats:
        return np.stack(
            [
                np.stack([a(x[:rows], rng)[0] for _ in range(3)], axis=1)
                for a, x in zip(batch.augmentations, batch.X, strict=True)
            ]
        )

    own = fit_closed_forms(
        batch.X, batch.y, batch.X_aug, batch.G, seed=seed, levels=True, n_draws=n_draws
    ).coefs
    own.pop("DA+IV, raw G")
    tables = []
    for training in trainings:
        others = fit_baselines(
            batch.X,
            batch.y,
            batch.X_aug,
            batch.G,
            again,
            training=training,
            seed=seed,
            n_draws=n_draws,
            steps=steps,
        )
        tables.append(error_table(own | others, batch, training=training))
    return pd.concat(tables, ignore_index=True)


def optical_study(
    device: OpticalDevice,
    n_reps: int,
    *,
    seed: Entropy,
    n_draws: int = 10,
    trainings: Sequence[str] = TRAININGS,
    experiments: int = 12,
    steps: int = gradient.STEPS,
    progress: Progress = list,
) -> pd.DataFrame:
    """Every method on every experiment; columns training, method, experiment, rep, degree, error.

    Gaussian noise is drawn `n_reps` times for the closed forms, once for the nine baselines. Treatment,
    parameters and augmented treatment go through the same polynomial features, as in the paper.
    """
    truths = {number: ground_truth(table) for number, table in list(device.tables.items())[:experiments]}
    groups = {d: [k for k, t in truths.items() if t.degree == d] for d in (1, 2)}
    jobs = [(d, r) for d, members in groups.items() if members for r in range(n_reps)]
    tables = []
    for degree, rep in progress(jobs):  # the noise of each draw is common to all methods
        numbers = groups[degree]
        members = [truths[k] for k in numbers]
        tables.append(
            _optical_group(members, numbers, degree, rep, trainings if rep == 0 else (), seed, n_draws, steps)
        )
    return pd.concat(tables, ignore_index=True)


def _optical_group(
    members: list[GroundTruth],
    numbers: list[int],
    degree: int,
    rep: int,
    trainings: Sequence[str],
    seed: Entropy,
    n_draws: int,
    steps: int,
) -> pd.DataFrame:
    noise, child = GaussianNoise(), [*np.atleast_1d(seed).tolist(), degree, rep]
    rng = np.random.default_rng(np.random.SeedSequence(child))
    moved = [noise(t.X, rng) for t in members]
    X, y, f = (np.stack([getattr(t, name) for t in members]) for name in ("features", "y", "f"))
    X_aug, G = (np.stack([expand(pair[i], degree) for pair in moved]) for i in (0, 1))

    def again(rows: int, generator: np.random.Generator) -> Floats:
        fresh = [[expand(noise(t.X, generator)[0][:rows], degree) for _ in range(3)] for t in members]
        return np.stack([np.stack(three, axis=1) for three in fresh])

    own = fit_closed_forms(
        X, y, X_aug, G, seed=child, n_draws=n_draws, alpha_range=(1e-3, 1.0), levels=True
    ).coefs
    own.pop("DA+IV, raw G")
    found = {"closed form": own} | {
        training: fit_baselines(
            X, y, X_aug, G, again, training=training, seed=child, n_draws=n_draws, steps=steps
        )
        for training in trainings
    }
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "training": t,
                    "method": m,
                    "experiment": numbers,
                    "rep": rep,
                    "degree": degree,
                    "error": ncer(h, f),
                }
            )
            for t, coefs in found.items()
            for m, h in coefs.items()
        ],
        ignore_index=True,
    )


def by_experiment(table: pd.DataFrame, training: str) -> pd.DataFrame:
    """Error of each method (columns) on each experiment (rows), averaged over draws of the noise."""
    chosen = table[table.training.isin(["closed form", training])]
    return chosen.groupby(["experiment", "method"]).error.mean().unstack("method")  # noqa: PD010
