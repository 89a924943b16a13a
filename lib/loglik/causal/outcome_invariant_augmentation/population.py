r"""What ERM, DA+ERM and IVL estimate in the linear population, and how large the causal error is.

With Σ = E xx', b = E[x ξ], y = f'x + ξ and an augmentation that adds noise of covariance Σ_G with Σ_G f = 0:

- ERM:      f + Σ⁻¹ b
- DA+ERM:   f + (Σ + Σ_G)⁻¹ b
- IVL_α:    f + (Σ + (1 + 1/α) Σ_G)⁻¹ b

All functions take leading axes, which are models of the same size.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from loglik.causal.outcome_invariant_augmentation.inputs import Floats, check_table


def population_estimate(
    Sigma: ArrayLike, b: ArrayLike, Sigma_G: ArrayLike, f: ArrayLike, alpha: float | str | Floats
) -> Floats:
    """Coefficients that a method tends to as n grows.

    Parameters
    ----------
    Sigma : array_like of shape (..., m, m)
        Second moments of the treatment.
    b : array_like of shape (..., m)
        E[x ξ], the confounding.
    Sigma_G : array_like of shape (..., m, m)
        Covariance that the augmentation adds; Σ_G f = 0 for an outcome-invariant one.
    f : array_like of shape (..., m)
        Causal coefficients.
    alpha : float, array or {"erm", "da"}
        IVL's penalty above 0 (an array broadcasts over leading axes), or the method.

    Returns
    -------
    array of shape (..., m)

    Raises
    ------
    ValueError
        For a penalty that isn't above 0, or another word.

    Notes
    -----
    Where the augmentation is not outcome invariant, DA+ERM solves (Σ + Σ_G) h = Σ f + b and IVL
    α (Σ + Σ_G) h + Σ_G h = α (Σ f + b): the augmented outcome stays y, whatever moved.
    """
    second, extra = check_table(Sigma, "Sigma"), check_table(Sigma_G, "Sigma_G")
    causal, confounding = np.asarray(f, dtype=float), np.asarray(b, dtype=float)
    if isinstance(alpha, str) and alpha not in ("erm", "da"):
        raise ValueError(f"alpha must be a number above 0, 'erm' or 'da', got {alpha!r}")
    strength = _amplification(alpha)
    right = (second @ causal[..., None])[..., 0] + confounding
    left = second + strength[..., None, None] * extra
    return np.linalg.solve(left, np.broadcast_to(right, left.shape[:-1])[..., None])[..., 0]


def _amplification(alpha: float | str | Floats) -> Floats:
    """Factor on Σ_G: 0 for ERM, 1 for DA+ERM, 1 + 1/α for IVL."""
    if isinstance(alpha, str):
        return np.asarray(0.0 if alpha == "erm" else 1.0)
    values = np.asarray(alpha, dtype=float)
    if np.isnan(values).any() or (values <= 0).any():
        raise ValueError(
            f"alpha must be above 0 in the population, got {np.nanmin(values):g}: its limit 0 is ERM "
            "constrained to Σ_G h = 0"
        )
    return 1 + 1 / values


def cer(h: ArrayLike, f: ArrayLike, Sigma: ArrayLike) -> Floats:
    """Causal excess risk E (f'x - h'x)² = (h - f)' Σ (h - f), shape (...)."""
    gap = np.asarray(h, dtype=float) - np.asarray(f, dtype=float)
    return np.einsum("...i,...ij,...j->...", gap, np.asarray(Sigma, dtype=float), gap)


def ncer(h: ArrayLike, f: ArrayLike, metric: str = "euclidean", Sigma: ArrayLike | None = None) -> Floats:
    """Normalised error e / (e + ‖f‖²): 0 is f itself, 0.5 is h = 0, 1 is pure confounding.

    Parameters
    ----------
    h, f : array_like of shape (..., m)
    metric : {"euclidean", "cer"}
        "euclidean" takes e = ‖h - f‖² of the coefficients, as the official code does; "cer" takes the causal
        excess risk over E (f'x)², for which the paper's theorems hold.
    Sigma : array_like of shape (..., m, m)
        For "cer".

    Raises
    ------
    ValueError
        For another metric, or "cer" without Σ.
    """
    hypothesis, causal = np.asarray(h, dtype=float), np.asarray(f, dtype=float)
    if metric == "euclidean":
        error, size = ((hypothesis - causal) ** 2).sum(-1), (causal**2).sum(-1)
    elif metric == "cer" and Sigma is not None:
        error, size = cer(hypothesis, causal, Sigma), cer(np.zeros_like(causal), causal, Sigma)
    else:
        raise ValueError(f"metric must be 'euclidean', or 'cer' with Sigma given; got {metric!r}")
    return np.asarray(error / (error + size))


def iv_risk(h: ArrayLike, Sigma_G: ArrayLike, outcome_variance: ArrayLike) -> Floats:
    """R_IV(h) = E(Y - E[h(GX) | G])² = E y² + h' Σ_G h: nothing in it depends on f."""
    coefficients = np.asarray(h, dtype=float)
    moved = np.einsum("...i,...ij,...j->...", coefficients, np.asarray(Sigma_G, dtype=float), coefficients)
    return np.asarray(np.asarray(outcome_variance, dtype=float) + moved)


def adversarial_risk(
    h: ArrayLike, f: ArrayLike, Sigma: ArrayLike, b: ArrayLike, noise_variance: ArrayLike, cov: ArrayLike
) -> Floats:
    """E (y - h'(x + v))² for an independent v of covariance `cov`, shape (...)."""
    gap = np.asarray(f, dtype=float) - np.asarray(h, dtype=float)
    own = cer(h, f, Sigma) + 2 * (gap * np.asarray(b, dtype=float)).sum(-1) + np.asarray(noise_variance)
    return np.asarray(own + cer(h, np.zeros_like(gap), cov))


def ivl_risk(
    h: ArrayLike,
    f: ArrayLike,
    Sigma: ArrayLike,
    b: ArrayLike,
    noise_variance: ArrayLike,
    Sigma_G: ArrayLike,
    alpha: float,
) -> Floats:
    """R_IVL(h) = R_IV(h) + α R_DA+ERM(h), shape (...)."""
    causal = np.asarray(f, dtype=float)
    outcome = adversarial_risk(np.zeros_like(causal), causal, Sigma, b, noise_variance, Sigma)
    augmented = adversarial_risk(h, f, Sigma, b, noise_variance, Sigma_G)
    return iv_risk(h, Sigma_G, outcome) + alpha * augmented


def worst_covariance(h: ArrayLike, bound: ArrayLike, rng: np.random.Generator, steps: int = 60) -> Floats:
    """The adversary's best covariance among all 0 ≼ C ≼ `bound`, found by projected gradient ascent.

    Parameters
    ----------
    h : array_like of shape (m,)
    bound : array_like of shape (m, m)
        Positive semidefinite.
    rng : numpy.random.Generator
        For a random start inside the set.
    steps : int

    Returns
    -------
    array of shape (m, m)
        C = B K B' with bound = B B' and 0 ≼ K ≼ I. The ascent knows nothing of the solution C = `bound`.
    """
    values, vectors = np.linalg.eigh(np.asarray(bound, dtype=float))
    root = vectors * np.sqrt(np.clip(values, 0, None))
    start = rng.normal(size=root.shape)
    inner = _clip_spectrum(start @ start.T / len(root) ** 2)
    slope = root.T @ np.asarray(h, dtype=float)
    gradient = np.outer(slope, slope) / max(float(slope @ slope), np.finfo(float).tiny)
    for _ in range(steps):
        inner = _clip_spectrum(inner + gradient)
    return root @ inner @ root.T


def _clip_spectrum(matrix: Floats) -> Floats:
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return (vectors * np.clip(values, 0, 1)) @ vectors.T
