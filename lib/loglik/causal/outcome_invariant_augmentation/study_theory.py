"""The paper's theorems over many random models in the population, all models of a size at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from loglik.causal.outcome_invariant_augmentation.inputs import Floats
from loglik.causal.outcome_invariant_augmentation.population import (
    adversarial_risk,
    cer,
    iv_risk,
    ivl_risk,
    population_estimate,
    worst_covariance,
)
from loglik.causal.outcome_invariant_augmentation.sem import NOISE, null_directions

SIZES = tuple(range(2, 12))
Entropy = int | Sequence[int]


class Models(tuple[Floats, Floats, Floats, Floats, Floats]):
    """(Sigma, b, Sigma_G, f, noise_variance) of S random models with m treatments, arrays of leading axis S."""

    __slots__ = ()


def random_models(n_models: int, m: int, rng: np.random.Generator, *, blind: bool = False) -> Models:
    """The simulation's population with a random part of the null space perturbed, at strength γ = 1.

    Parameters
    ----------
    n_models, m : int
    rng : numpy.random.Generator
    blind : bool
        Whether to take only directions that are orthogonal to Σ⁻¹ b too: then the augmentation doesn't see
        the confounding. Needs m ≥ 3.
    """
    W, f = rng.standard_normal((n_models, m, m + 1)), rng.standard_normal((n_models, m))
    Wx, wy = W[..., :-1], W[..., -1]
    Sigma = np.swapaxes(Wx, -1, -2) @ Wx + NOISE**2 * np.eye(m)
    b = (np.swapaxes(Wx, -1, -2) @ wy[..., None])[..., 0]
    if blind:
        seen = np.stack([f, np.linalg.solve(Sigma, b[..., None])[..., 0]], axis=-2)
        N = np.linalg.svd(seen)[2][..., 2:, :]
    else:
        N = null_directions(f)
    keep = rng.random(N.shape[:2]) < rng.uniform(0.2, 1, (n_models, 1))
    keep[np.arange(n_models), rng.integers(N.shape[1], size=n_models)] = True
    N = N * keep[..., None]
    variance = (wy**2).sum(-1) + NOISE**2
    return Models((Sigma, b, np.swapaxes(N, -1, -2) @ N, f, variance))


def domination(n_models: int, alphas: Floats, *, seed: Entropy, sizes: Sequence[int] = SIZES) -> pd.DataFrame:
    """CER and Euclidean error of ERM, DA+ERM and IVL for random models.

    Returns
    -------
    DataFrame
        Columns model, m, amplification (0 for ERM, 1 for DA+ERM, 1 + 1/α), cer and euclidean, the share of
        ξ's variance that the treatment explains (explained), and the number of null directions left out.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    tables = []
    each = -(-n_models // len(sizes))
    for m in sizes:
        Sigma, b, Sigma_G, f, variance = random_models(each, m, rng)
        for amplification in (0.0, 1.0, *(1 + 1 / np.sort(alphas)[::-1])):
            left = Sigma + amplification * Sigma_G
            gap = np.linalg.solve(left, b[..., None])[..., 0]
            tables.append(
                pd.DataFrame(
                    {
                        "model": np.arange(each) + 1000 * m,
                        "m": m,
                        "amplification": amplification,
                        "cer": cer(f + gap, f, Sigma),
                        "euclidean": (gap**2).sum(-1),
                        "explained": (b * gap).sum(-1) / variance,
                    }
                )
            )
    return pd.concat(tables, ignore_index=True)


def blind_gap(n_models: int, *, seed: Entropy, sizes: Sequence[int] = SIZES[1:]) -> float:
    """Largest |CER(DA+ERM) / CER(ERM) − 1| where the augmentation doesn't see the confounding."""
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    largest = 0.0
    for m in sizes:
        Sigma, b, Sigma_G, f, _ = random_models(-(-n_models // len(sizes)), m, rng, blind=True)
        erm, da = (cer(population_estimate(Sigma, b, Sigma_G, f, word), f, Sigma) for word in ("erm", "da"))
        largest = max(largest, float(np.abs(da / erm - 1).max()))
    return largest


def amplification_gap(n_models: int, alphas: Floats, *, seed: Entropy, m: int = 8) -> float:
    """Largest relative difference between IVL_α and DA+ERM with an augmentation √(1 + 1/α) times as strong.

    IVL is taken from the normal equations of its risk, [α (Σ + Σ_G) + Σ_G] h = α (Σ f + b), and DA+ERM from
    those of its own.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    Sigma, b, Sigma_G, f, _ = random_models(n_models, m, rng)
    right = (Sigma @ f[..., None])[..., 0] + b
    largest = 0.0
    for alpha in alphas:
        left = alpha * (Sigma + Sigma_G) + Sigma_G
        ivl = np.linalg.solve(left, alpha * right[..., None])[..., 0]
        da = population_estimate(Sigma, b, (1 + 1 / alpha) * Sigma_G, f, "da")
        gap = np.linalg.norm(ivl - da, axis=-1) / np.linalg.norm(da, axis=-1)
        largest = max(largest, float(gap.max()))
    return largest


def flat_iv_risk(n_models: int, *, seed: Entropy, sizes: Sequence[int] = SIZES) -> tuple[float, list[int]]:
    """Largest relative spread of R_IV over h = 0, f, 2f, and the dimensions of its sets of minimisers."""
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    spread, dimensions = 0.0, []
    for m in sizes:
        Sigma, b, Sigma_G, f, variance = random_models(-(-n_models // len(sizes)), m, rng)
        outcome = adversarial_risk(np.zeros_like(f), f, Sigma, b, variance, Sigma_G)
        risks = np.stack([iv_risk(t * f, Sigma_G, outcome) for t in (0, 1, 2)])
        spread = max(spread, float((np.ptp(risks, axis=0) / risks.min(axis=0)).max()))
        dimensions += (m - np.linalg.matrix_rank(Sigma_G, tol=1e-8, hermitian=True)).tolist()
    return spread, dimensions


def adversarial_gap(n_models: int, alphas: Floats, *, seed: Entropy, m: int = 6) -> float:
    """Largest relative gap between the maximised adversarial risk and R_IVL(h)/α − E y²/α, at random h."""
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    Sigma, b, Sigma_G, f, variance = random_models(n_models, m, rng)
    outcome = adversarial_risk(np.zeros_like(f), f, Sigma, b, variance, Sigma_G)
    largest = 0.0
    for at in range(n_models):
        for alpha in alphas:
            h = rng.standard_normal(m)
            model = (f[at], Sigma[at], b[at], variance[at])
            worst = worst_covariance(h, (1 + 1 / alpha) * Sigma_G[at], rng)
            found = adversarial_risk(h, *model, worst)
            closed = (ivl_risk(h, *model, Sigma_G[at], alpha) - outcome[at]) / alpha
            largest = max(largest, float(abs(found / closed - 1)))
    return largest


def euclidean_violations(table: pd.DataFrame) -> float:
    """Share of models whose Euclidean error rises somewhere along growing amplification (beyond 1e−9)."""
    indexed = table.set_index(["model", "amplification"])["euclidean"]
    wide = indexed.unstack("amplification").sort_index(axis=1)  # noqa: PD010
    rises = np.diff(wide.to_numpy(), axis=1) > 1e-9 * wide.to_numpy()[:, :-1]
    return float(rises.any(axis=1).mean())
