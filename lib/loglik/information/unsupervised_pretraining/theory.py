"""The theorem's shape, and where pretraining and supervision cost the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from loglik.information.unsupervised_pretraining.checks import Floats, number, share, whole


def bound_shape(
    C_phi: float, C_psi: float, m: ArrayLike, n: ArrayLike, kappa: float = 1.0, L: float = 1.0
) -> Floats:
    r"""The main theorem's bound without its absolute constants, :math:`L(\kappa\sqrt{C_\Phi/m}+\sqrt{C_\Psi/n})`.

    Parameters
    ----------
    C_phi, C_psi : float
        Complexities of the latent models and of the predictors.
    m, n : arrays that broadcast
        Unlabelled and labelled rows.
    kappa : float
        Informative constant, at least 1.
    L : float
        Bound of the loss.

    Examples
    --------
    >>> float(bound_shape(4.0, 1.0, 400, 100))
    0.2
    """
    number("C_phi", C_phi)
    number("C_psi", C_psi)
    number("kappa", kappa, 1.0)
    number("L", L)
    rows, labels = np.asarray(m, dtype=float), np.asarray(n, dtype=float)
    if (rows <= 0).any() or (labels <= 0).any():
        raise ValueError("m and n must be positive")
    return np.asarray(L * (kappa * np.sqrt(C_phi / rows) + np.sqrt(C_psi / labels)))


def theorem_border(C_phi: float, C_psi: float, C_composed: float, n: ArrayLike, kappa: float = 1.0) -> Floats:
    """Unlabelled rows from which the theorem's bound is below the supervised one, all constants taken as 1.

    Solves κ√(C_Φ/m) + √(C_Ψ/n) = √(C_ΦΨ/n), which gives a straight line in n; infinite unless C_ΦΨ > C_Ψ.
    """
    room = np.sqrt(number("C_composed", C_composed)) - np.sqrt(number("C_psi", C_psi))
    labels: Floats = np.asarray(n, dtype=float)
    factor = kappa**2 * number("C_phi", C_phi) / room**2 if room > 0 else np.inf
    return labels * factor


def win_border(
    pretrained: Callable[[Floats, Floats], Floats],
    supervised: Callable[[Floats], Floats],
    n: ArrayLike,
    bracket: tuple[float, float] = (1.0, 1e12),
) -> Floats:
    """Unlabelled rows m at which both methods have the same derived risk, for each n.

    Parameters
    ----------
    pretrained : callable
        Risk at (m, n), falling in m; takes and gives arrays.
    supervised : callable
        Risk at n.
    n : array_like of shape (k,)
    bracket : (float, float)
        Where to look for m.

    Returns
    -------
    array of shape (k,)
        ``inf`` where pretraining loses even at the upper end, the lower end where it wins even there.

    Examples
    --------
    >>> win_border(lambda m, n: 10 / m + 1 / n, lambda n: 6 / n, [50.0]).round(6)
    array([100.])
    """
    labels: Floats = np.atleast_1d(np.asarray(n, dtype=float))
    if not 0 < bracket[0] < bracket[1]:
        raise ValueError(f"bracket must be two increasing positive numbers, got {bracket}")
    goal = supervised(labels)
    low, high = (np.full(labels.shape, np.log(end)) for end in bracket)
    loses_at_top = pretrained(np.exp(high), labels) > goal
    for _ in range(200):
        middle = (low + high) / 2
        loses = pretrained(np.exp(middle), labels) > goal
        low, high = np.where(loses, middle, low), np.where(loses, high, middle)
    return np.where(loses_at_top, np.inf, np.exp(high))


def gmm_label_cost(n: ArrayLike, K: int, rho: float) -> Floats:
    r"""Excess 0–1 risk from labels alone when clusters are apart: majority votes that go wrong.

    :math:`(1-2\rho)\,E_N[\Pr(\text{most of }N\text{ labels are flipped})]` with
    :math:`N\sim\mathrm{Bin}(n,1/K)` labels in a cluster; ties and empty clusters count one half.

    Parameters
    ----------
    n : array_like of int
        Labelled rows.
    K : int
        Clusters, equally frequent.
    rho : float
        Share of flipped labels, below 1/2.

    Examples
    --------
    >>> gmm_label_cost([20, 40, 60, 120], 8, 0.1).round(4)
    array([0.0739, 0.0201, 0.0061, 0.0002])
    """
    whole("K", K, 2)
    flips = share("rho", rho, 0.5)
    labels = np.asarray(n)
    if (labels < 0).any() or (labels != np.floor(labels)).any():
        raise ValueError(f"n must hold whole numbers of at least 0, got {labels}")
    votes = np.arange(int(labels.max()) + 1)
    tied = np.where(votes % 2 == 0, stats.binom.pmf(votes // 2, votes, flips), 0.0)
    wrong = stats.binom.sf(votes // 2, votes, flips) + tied / 2
    return np.asarray((1 - 2 * flips) * stats.binom.pmf(votes, labels[..., None], 1 / K) @ wrong)
