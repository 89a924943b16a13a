"""Linear models with a hidden confounder, augmentations, and a check that they leave the outcome alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loglik.causal.outcome_invariant_augmentation.inputs import Floats, check_positive, check_table

NOISE = 0.1  # standard deviation of all independent noise in the paper's simulation


class Draw(NamedTuple):
    """Rows of a confounded model."""

    X: Floats  # (n, m) treatment
    y: Floats  # (n,) outcome
    xi: Floats  # (n,) y - f(x): what the hidden confounder and the noise add


class LinearConfoundedSEM:
    r"""The paper's simulation: x = C W_x + 0.1 ε, y = f'x + κ C w_y + 0.1 ε', with C ~ N(0, I_m) hidden.

    Parameters
    ----------
    m : int
        Number of treatments (32 in the paper); as many hidden confounders.
    seed : int or numpy.random.Generator
        Draws W (m, m + 1) and f (m,), all entries standard normal.

    Attributes
    ----------
    f : array of shape (m,)
        The causal coefficients.
    W : array of shape (m, m + 1)
        From the confounders to the treatments and, in the last column, to the outcome.

    Raises
    ------
    ValueError
        For fewer than 2 treatments: with one, no direction leaves the outcome alone.
    """

    def __init__(self, m: int = 32, seed: int | np.random.Generator = 0) -> None:
        if m < 2:
            raise ValueError(
                f"m must be at least 2, got {m}: with one treatment nothing leaves f'x unchanged"
            )
        rng = np.random.default_rng(seed)
        self.W = rng.standard_normal((m, m + 1))
        self.f = rng.standard_normal(m)

    def sample(self, n: int, kappa: float = 1.0, rng: int | np.random.Generator = 0) -> Draw:
        """`n` independent rows with confounding strength `kappa`."""
        generator = np.random.default_rng(rng)
        m = len(self.f)
        C = generator.standard_normal((n, m))
        noise = NOISE * generator.standard_normal((n, m + 1))
        X = C @ self.W[:, :-1] + noise[:, :-1]
        xi = kappa * (C @ self.W[:, -1]) + noise[:, -1]
        return Draw(X, X @ self.f + xi, xi)

    def population(self, kappa: float = 1.0) -> tuple[Floats, Floats]:
        """Σ = E xx' of shape (m, m) and b = E[x ξ] of shape (m,)."""
        Wx, wy = self.W[:, :-1], self.W[:, -1]
        return Wx.T @ Wx + NOISE**2 * np.eye(len(self.f)), kappa * (Wx.T @ wy)

    def noise_variance(self, kappa: float = 1.0) -> float:
        """E ξ²."""
        return float(kappa**2 * (self.W[:, -1] ** 2).sum() + NOISE**2)


class Augmentation(Protocol):
    """What turns treatments into augmented treatments and says how."""

    def __call__(self, X: ArrayLike, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """(GX, G): augmented rows of shape (n, ...) and their parameters (n, k)."""
        ...


def null_directions(f: ArrayLike) -> Floats:
    """Orthonormal rows (..., m - 1, m) that span the directions along which f'x does not change."""
    row = np.asarray(f, dtype=float)[..., None, :]
    return np.linalg.svd(row)[2][..., 1:, :]


class NullSpaceTranslation:
    r"""Gaussian translation within the null space of f: GX = x + γ N'g with N f = 0 and g ~ N(0, I_k).

    Parameters
    ----------
    f : array_like of shape (m,)
        Causal coefficients.
    kernel_dim : int
        Number k of null directions: -1 takes all m - 1, 0 each with probability 2/3 (at least one).
    gamma : float
        Strength γ, the standard deviation along each direction.
    tilt : float
        Angle in radians by which every direction is turned towards f, so that the outcome is *not*
        invariant; 0 in the paper.
    rng : int or numpy.random.Generator
        Chooses the directions where not all are taken.

    Attributes
    ----------
    N : array of shape (k, m)

    Raises
    ------
    ValueError
        For a kernel_dim outside -1 .. m - 1, or a γ that isn't above 0.
    """

    def __init__(
        self,
        f: ArrayLike,
        kernel_dim: int = -1,
        gamma: float = 1.0,
        tilt: float = 0.0,
        rng: int | np.random.Generator = 0,
    ) -> None:
        coefficients = check_table(f, "f", 1)
        rows = null_directions(coefficients)
        if not -1 <= kernel_dim <= len(rows):
            raise ValueError(
                f"kernel_dim must lie between -1 and {len(rows)} (m - 1 null directions), got {kernel_dim}"
            )
        self.gamma = check_positive(gamma, "gamma", "it is the standard deviation of the translation")
        rows = rows[_choose(len(rows), kernel_dim, np.random.default_rng(rng))]
        towards = coefficients / np.linalg.norm(coefficients) / np.sqrt(len(rows))
        self.N = np.cos(tilt) * rows + np.sin(tilt) * towards

    @property
    def covariance(self) -> Floats:
        """Σ_G = γ² N'N of shape (m, m), what the augmentation adds to the treatment's covariance."""
        return self.gamma**2 * self.N.T @ self.N

    def __call__(self, X: ArrayLike, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """(GX, G) of shapes (n, m) and (n, k)."""
        table = check_table(X, "X")
        G = rng.standard_normal((len(table), len(self.N)))
        return table + self.gamma * G @ self.N, G


def _choose(count: int, kernel_dim: int, rng: np.random.Generator) -> NDArray[np.int64]:
    if kernel_dim == -1:
        return np.arange(count)
    if kernel_dim > 0:
        return rng.permutation(count)[:kernel_dim]
    chosen = np.flatnonzero(rng.random(count) < 2 / 3)
    return chosen if len(chosen) else rng.integers(count, size=1)


class GaussianNoise:
    """The optical device's augmentation: GX = X + √share · std(X) · g, std over all entries.

    Parameters
    ----------
    share : float
        Variance of the noise over the variance of the entries; 0.1 in the paper.
    """

    def __init__(self, share: float = 0.1) -> None:
        self.share = check_positive(share, "share", "it is the variance of the added noise")

    def __call__(self, X: ArrayLike, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """(GX, G), both of shape (n, m)."""
        table = check_table(X, "X")
        G = rng.standard_normal(table.shape)
        return table + np.sqrt(self.share) * table.std() * G, G


class Compose:
    """Augmentations one after the other; their parameters stand side by side.

    Parameters
    ----------
    augmentations : sequence of Augmentation

    Raises
    ------
    ValueError
        For an empty sequence.
    """

    def __init__(self, augmentations: Sequence[Augmentation]) -> None:
        if not augmentations:
            raise ValueError("Compose needs at least one augmentation, got none")
        self.augmentations = tuple(augmentations)

    def __call__(self, X: ArrayLike, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """(GX, G) with G of shape (n, sum of the parameters)."""
        moved, parameters = np.asarray(X, dtype=float), []
        for augmentation in self.augmentations:
            moved, G = augmentation(moved, rng)
            parameters.append(G)
        return moved, np.hstack(parameters)


def check_invariance(
    f: Callable[[Floats], Floats],
    augmentation: Augmentation,
    X: ArrayLike,
    rng: int | np.random.Generator = 0,
    tolerance: float = 1e-8,
) -> float:
    """Refuse an augmentation that changes the outcome function.

    Parameters
    ----------
    f : callable
        From treatments (n, ...) to outcomes (n,).
    augmentation : Augmentation
    X : array_like of shape (n, ...)
        Rows to try it on.
    rng : int or numpy.random.Generator
    tolerance : float
        Allowed change in standard deviations of f over the rows.

    Returns
    -------
    float
        The largest change, in standard deviations of f.

    Raises
    ------
    ValueError
        When some f(gx) differs from f(x) by more; says by how much and in how many rows.
    """
    table = np.asarray(X, dtype=float)
    before = np.asarray(f(table), dtype=float)
    after = np.asarray(f(augmentation(table, np.random.default_rng(rng))[0]), dtype=float)
    change = np.abs(after - before) / (before.std() or 1.0)
    if change.max() > tolerance:
        raise ValueError(
            f"the augmentation is not outcome invariant: f changes by up to {change.max():.3g} standard "
            f"deviations, in {np.count_nonzero(change > tolerance)} of {len(change)} rows; DA+ERM and IVL "
            "would be biased by it"
        )
    return float(change.max())
