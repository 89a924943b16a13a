"""The chapter's experiments on the linear simulation, sample and population, as tidy tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from loglik.causal.outcome_invariant_augmentation import selection
from loglik.causal.outcome_invariant_augmentation.inputs import Floats
from loglik.causal.outcome_invariant_augmentation.linear import (
    basis,
    canonical_form,
    least_squares,
    two_stage_least_squares,
)
from loglik.causal.outcome_invariant_augmentation.population import adversarial_risk, cer, ncer
from loglik.causal.outcome_invariant_augmentation.sem import LinearConfoundedSEM, NullSpaceTranslation

Progress = Callable[[Sequence[Any]], Iterable[Any]]
MAIN = ("ERM", "DA+ERM", "IVL-CV", "IVL-CC", "DA+IV")
Entropy = int | Sequence[int]


class Batch(NamedTuple):
    """Samples of S random models of the same size, with their truth."""

    X: Floats  # (S, n, m)
    y: Floats  # (S, n)
    X_aug: Floats  # (S, n, m)
    G: Floats  # (S, n, k)
    f: Floats  # (S, m)
    Sigma: Floats  # (S, m, m)
    b: Floats  # (S, m)
    noise_variance: Floats  # (S,)
    Sigma_G: Floats  # (S, m, m)
    augmentations: tuple[NullSpaceTranslation, ...]


def draw_batch(
    n_sems: int,
    n: int,
    m: int,
    *,
    kappa: float = 1.0,
    gamma: float = 1.0,
    kernel_dim: int = -1,
    tilt: float = 0.0,
    seed: Entropy,
) -> Batch:
    """Samples of `n_sems` random models; the same `seed` gives the same models, confounders and noise.

    So sweeps over κ, γ or the tilt compare like with like.
    """
    rows = []
    for child in np.random.SeedSequence(seed).spawn(n_sems):
        model, sample, kernel, shift = (np.random.default_rng(s) for s in child.spawn(4))
        sem = LinearConfoundedSEM(m, model)
        augmentation = NullSpaceTranslation(sem.f, kernel_dim, gamma, tilt, kernel)
        X, y, _ = sem.sample(n, kappa, sample)
        X_aug, G = augmentation(X, shift)
        variance = np.array(sem.noise_variance(kappa))
        Sigma, b = sem.population(kappa)
        Sigma_G = augmentation.covariance
        rows.append(Batch(X, y, X_aug, G, sem.f, Sigma, b, variance, Sigma_G, (augmentation,)))
    arrays = {name: np.stack([getattr(r, name) for r in rows]) for name in Batch._fields[:-1]}
    return Batch(**arrays, augmentations=tuple(r.augmentations[0] for r in rows))


class Fits(NamedTuple):
    """Coefficients of the closed-form methods and the penalties chosen."""

    coefs: dict[str, Floats]  # method -> (S, m)
    alphas: dict[str, Floats]  # rule -> (S,)


def fit_closed_forms(
    X: Floats,
    y: Floats,
    X_aug: Floats,
    G: Floats,
    *,
    seed: Entropy,
    n_draws: int = 10,
    alpha_range: tuple[float, float] = (1e-4, 1.0),
    levels: bool = False,
) -> Fits:
    """ERM, DA+ERM, DA+IV (raw and discretised G) and IVL by each rule, for S samples at once.

    Parameters
    ----------
    X, X_aug : array of shape (S, n, m)
    y : array of shape (S, n)
    G : array of shape (S, n, k)
    seed : int or sequence of int
        For the penalties drawn and the rows held out.
    n_draws : int
        Penalties drawn for each sample and shared by the rules.
    alpha_range : (float, float)
    levels : bool
        Whether to choose by held-out levels too.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    S, n = y.shape
    draws = selection.draw_alphas(rng, n_draws, *alpha_range, batch=(S,))
    paths = canonical_form(X_aug, y, G).solve(draws)
    D = selection.discretize_parameters(G)
    picks = {
        "IVL-CV": _held_out_best(X, y, X_aug, G, draws, [selection.held_out_rows(n, 0.2, rng) for _ in y])
    }
    if levels:
        out = [selection.held_out_levels(selection.parameter_levels(d), 0.2, rng) for d in D]
        picks["IVL-LCV"] = _held_out_best(X, y, X_aug, D, draws, out)
    picks["IVL-CC"] = _cc_best(paths, X_aug, y)
    coefs = {"ERM": least_squares(X, y), "DA+ERM": least_squares(X_aug, y)}
    coefs |= {rule: np.take_along_axis(paths, at[:, None, None], 1)[:, 0] for rule, at in picks.items()}
    coefs |= {
        "DA+IV": two_stage_least_squares(X_aug, y, D),
        "DA+IV, raw G": two_stage_least_squares(X_aug, y, G),
    }
    if levels:  # the refit of level cross-validation sees the discretised parameters too
        chosen = np.take_along_axis(draws, picks["IVL-LCV"][:, None], 1)
        coefs["IVL-LCV"] = canonical_form(X_aug, y, D).solve(chosen)[:, 0]
    alphas = {rule: np.take_along_axis(draws, at[:, None], 1)[:, 0] for rule, at in picks.items()}
    return Fits(coefs, alphas)


def _held_out_best(
    X: Floats, y: Floats, X_aug: Floats, G: Floats, draws: Floats, out: list[np.ndarray]
) -> np.ndarray:
    size = min(map(len, out))
    held = np.stack([o[:size] for o in out])
    kept = np.stack([np.setdiff1d(np.arange(y.shape[1]), h) for h in held])
    at = np.arange(len(y))[:, None]
    paths = canonical_form(X_aug[at, kept], y[at, kept], G[at, kept]).solve(draws)
    residuals = y[at, held][:, None] - paths @ np.swapaxes(X[at, held], -1, -2)
    return (residuals**2).mean(-1).argmin(-1)


def _cc_best(paths: Floats, X_aug: Floats, y: Floats) -> np.ndarray:
    norms = np.linalg.norm(paths, axis=-1)
    return np.abs(norms - selection.target_norm(X_aug, y)[:, None]).argmin(-1)


def error_table(coefs: dict[str, Floats], batch: Batch, **labels: Any) -> pd.DataFrame:
    """One row a model and method: nCER of the coefficients (the paper's) and of the causal risk."""
    return pd.concat(
        [
            pd.DataFrame(
                {
                    **labels,
                    "method": method,
                    "sem": np.arange(len(h)),
                    "error": ncer(h, batch.f),
                    "cer": ncer(h, batch.f, "cer", batch.Sigma),
                }
            )
            for method, h in coefs.items()
        ],
        ignore_index=True,
    )


def sweep(
    values: Sequence[float],
    name: str,
    n_sems: int,
    n: int,
    m: int,
    *,
    seed: Entropy,
    progress: Progress = list,
    **fixed: Any,
) -> pd.DataFrame:
    """The main methods along a grid of κ or γ (`name`), all on the same models and noise."""
    tables = []
    for value in progress(values):
        batch = draw_batch(n_sems, n, m, seed=seed, **{name: value, **fixed})
        fits = fit_closed_forms(batch.X, batch.y, batch.X_aug, batch.G, seed=seed)
        coefs = {method: fits.coefs[method] for method in MAIN}
        tables.append(error_table(coefs, batch, **{name: value}))
    return pd.concat(tables, ignore_index=True)


def penalty_curve(batch: Batch, alphas: Floats) -> pd.DataFrame:
    """Error of IVL along a grid of penalties: one row a model and penalty."""
    paths = canonical_form(batch.X_aug, batch.y, batch.G).solve(alphas)
    tables = [
        error_table({"IVL": paths[:, at]}, batch, alpha=alpha) for at, alpha in enumerate(alphas.tolist())
    ]
    return pd.concat(tables, ignore_index=True)


def shifted_risk(coefs: dict[str, Floats], batch: Batch, scales: Sequence[float]) -> pd.DataFrame:
    """Expected squared error when the treatment is shifted by `scale` times the augmentation, in units of E y²."""
    rows = []
    outcome = _outcome_variance(batch)
    for method, h in coefs.items():
        for scale in scales:
            extra = scale**2 * batch.Sigma_G
            risk = adversarial_risk(h, batch.f, batch.Sigma, batch.b, batch.noise_variance, extra)
            rows.append(
                pd.DataFrame(
                    {"method": method, "scale": scale, "sem": np.arange(len(h)), "risk": risk / outcome}
                )
            )
    return pd.concat(rows, ignore_index=True)


def _outcome_variance(batch: Batch) -> Floats:
    zero = np.zeros_like(batch.f)
    return adversarial_risk(zero, batch.f, batch.Sigma, batch.b, batch.noise_variance, batch.Sigma_G)


def instrument_checks(batch: Batch) -> pd.DataFrame:
    """For each model, what an instrument should show.

    Columns: first_stage_f (the weakest F of a treatment on all of G), direction_f (the weakest F of a moved
    direction N_j GX on its own parameter) and r2_ratio (R² of y on G over k/n, its value by chance).
    """
    g = basis(batch.G)
    n, k = batch.G.shape[1:]
    explained = (g.coordinates(batch.X_aug) ** 2).sum(-2)
    total = (batch.X_aug**2).sum(-2)
    F = (explained / k) / ((total - explained) / (n - k))
    own = np.stack([x @ a.N.T for x, a in zip(batch.X_aug, batch.augmentations, strict=True)])
    squared = (own * batch.G).sum(-2) ** 2 / ((own**2).sum(-2) * (batch.G**2).sum(-2))
    direction_f = squared / (1 - squared) * (n - 1)
    r2 = (g.coordinates(batch.y[..., None]) ** 2).sum((-2, -1)) / (batch.y**2).sum(-1)
    columns = {"first_stage_f": F.min(-1), "direction_f": direction_f.min(-1), "mean_f": direction_f.mean(-1)}
    return pd.DataFrame({**columns, "r2_ratio": r2 / (k / n)})


def soft_intervention(n_sems: int, n: int, m: int, *, seed: Entropy) -> pd.DataFrame:
    """For each model: how far residuals move, and the error of the second moments of (GX, Y).

    Columns: residual_change (largest, in standard deviations of the residual), moment_error (relative,
    Frobenius, against the model whose treatment was moved by noise of covariance Σ_G).
    """
    rows = []
    for child in np.random.SeedSequence(seed).spawn(n_sems):
        batch = draw_batch(1, n, m, seed=int(child.generate_state(1)[0]))
        X, y, X_aug, f = batch.X[0], batch.y[0], batch.X_aug[0], batch.f[0]
        xi = y - X @ f
        table = np.column_stack([X_aug, y])
        moved = batch.Sigma[0] + batch.Sigma_G[0]
        cross = moved @ f + batch.b[0]
        outcome = f @ moved @ f + 2 * f @ batch.b[0] + batch.noise_variance[0]
        theory = np.block([[moved, cross[:, None]], [cross[None], np.array([[outcome]])]])
        rows.append(
            {
                "residual_change": np.abs(y - X_aug @ f - xi).max() / xi.std(),
                "moment_error": np.linalg.norm(table.T @ table / n - theory) / np.linalg.norm(theory),
            }
        )
    return pd.DataFrame(rows)


def mean_cer_ratio(batch: Batch, coefs: dict[str, Floats]) -> dict[str, float]:
    """Mean causal excess risk of each method over that of ERM."""
    erm = cer(coefs["ERM"], batch.f, batch.Sigma).mean()
    return {method: float(cer(h, batch.f, batch.Sigma).mean() / erm) for method, h in coefs.items()}
