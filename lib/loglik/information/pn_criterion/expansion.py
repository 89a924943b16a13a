"""The risk to order n⁻², from moments of the sufficient statistics (engines 1 and 3 of the chapter).

No p⁴ tensor is ever built: the fourth cumulant enters through quadratic forms, the third through one p³ tensor or
through Gram matrices of pairs of draws.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from loglik.information.pn_criterion.base import Floats
from loglik.information.pn_criterion.finite import check_rank

TENSOR_LIMIT = 150  # p: above, the p³ tensor costs more than pairs of draws
TILE = 2048
Contract = Callable[..., tuple[float, float, float]]
Moments = tuple[ArrayLike, ArrayLike | None]


@dataclass(frozen=True)
class RiskExpansion:
    """R(n) = A₁/n + A₂/n² + o(n⁻²) and its companions, all from three scalars.

    Attributes
    ----------
    A1, A2 : float
        Coefficients of the risk E KL(projection ‖ fit), in nats.
    C3, C4 : float
        Third- and fourth-order scalars; A₂ = C₃/3 + 3C₄/8.
    p : int
        Parameters.
    se, se_A1 : float
        Monte-Carlo standard errors of A₂ and A₁ where the model's moments come from draws, else 0.
    """

    A1: float
    A2: float
    C3: float
    C4: float
    p: int
    se: float = 0.0
    se_A1: float = 0.0  # noqa: N815

    @classmethod
    def of(cls, A1: Any, C3: Any, C4: Any, p: int) -> RiskExpansion:
        """From the scalars."""
        return cls(float(A1), float(C3 / 3 + 3 * C4 / 8), float(C3), float(C4), int(p))

    def risk(self, n: Any, order: int = 2) -> Any:
        """E KL(g(·;θ*) ‖ g(·;θ̂)) in nats, to order n⁻¹ or n⁻²."""
        size = _sizes(n)
        return self.A1 / size + (self.A2 / size**2 if _order(order) == 2 else 0.0)

    def likelihood_gain(self, n: Any, order: int = 2) -> Any:
        """E KL(g(·;θ̂) ‖ g(·;θ*)), the expected gain in mean log-likelihood over the projection."""
        size = _sizes(n)
        return self.A1 / size + ((self.C3 / 6 + self.C4 / 8) / size**2 if _order(order) == 2 else 0.0)

    def optimism(self, n: Any, order: int = 2) -> Any:
        """E[mean log-likelihood of the sample − E_g log g(·;θ̂)]; order 1 is Takeuchi's penalty over 2n."""
        size = _sizes(n)
        return 2 * self.A1 / size + ((self.C3 + self.C4) / (2 * size**2) if _order(order) == 2 else 0.0)

    def required_n(self, C: float, order: int = 2) -> float:
        """The n at which the risk equals `C`; a real number, to be rounded up.

        Warns
        -----
        UserWarning
            When A₂ is so negative that the two terms never reach `C`; the answer is then A₁/C.
        """
        if not C > 0:
            raise ValueError(f"C must be a positive risk in nats, got {C}")
        discriminant = self.A1**2 + 4 * C * self.A2
        if _order(order) == 1:
            return self.A1 / C
        if discriminant < 0:
            warnings.warn("the two terms never reach C: n* from order 1 only", stacklevel=2)
            return self.A1 / C
        return (self.A1 + float(np.sqrt(discriminant))) / (2 * C)

    def trust_ratio(self, n: Any) -> Any:
        """Second term over first, ``|A₂|/(A₁n)``. Above ½ the expansion is not yet to be trusted."""
        return abs(self.A2) / (self.A1 * _sizes(n))


def _sizes(n: Any) -> Any:
    size = np.asarray(n, dtype=float)
    if not (size > 0).all():
        raise ValueError(f"n must be positive, got {n}")
    return size if size.ndim else float(size)


def _order(order: int) -> int:
    if order not in (1, 2):
        raise ValueError(f"order must be 1 or 2, got {order}")
    return order


class Data(NamedTuple):
    """Central moments of the statistics under the truth."""

    mean: Floats  # (p,)
    centred: Floats  # (N, p)
    weights: Floats  # (N,), sum one
    cov: Floats  # (p, p)


def moments(stats: ArrayLike, weights: ArrayLike | None = None) -> Data:
    """Check statistics and weights, and centre them.

    Raises
    ------
    ValueError
        For a wrong shape, numbers that aren't finite, or weights that are negative or sum to nothing.
    """
    values = np.asarray(stats, dtype=float)
    if values.ndim != 2 or len(values) < 2 or not np.isfinite(values).all():
        raise ValueError(f"statistics must be finite of shape (N >= 2, p), got shape {values.shape}")
    mass = np.full(len(values), 1.0) if weights is None else np.asarray(weights, dtype=float)
    if mass.shape != (len(values),) or not (mass >= 0).all() or not mass.sum() > 0:
        raise ValueError(f"weights must be {len(values)} non-negative numbers, got shape {mass.shape}")
    mass = mass / mass.sum()
    mean = mass @ values
    centred = values - mean
    return Data(mean, centred, mass, (centred * mass[:, None]).T @ centred)


def risk_coefficients(
    model: Moments,
    data: Moments,
    *,
    method: str = "auto",
    split: bool = True,
    n_blocks: int = 20,
) -> RiskExpansion:
    """Coefficients of the risk from moments of ξ under the projection and under the truth.

    Parameters
    ----------
    model : (stats (N, p), weights (N,) or None)
        ξ under the projection. With weights, an exact law (an enumerated space, a quadrature rule). Without, draws:
        they are first tilted exponentially until their mean is the data's, which is maximum likelihood under their
        own Monte-Carlo log-partition function (Geyer's), and get standard errors from a block jackknife, so keep
        dependent draws together.
    data : (stats (N, p), weights (N,) or None)
        ξ under the truth: the sample, or a population with weights.
    method : {"auto", "tensor", "pairs"}
        Third cumulants as a p³ tensor, O(N p³), or through Gram matrices of pairs, O(N² p). ``auto`` takes what costs
        less.
    split : bool
        For draws: remove the bias of order 1/N by the jackknife. It comes from terms that are quadratic in estimated
        cumulants, and from G, which the same draws estimate.
    n_blocks : int
        Blocks of the jackknife over draws; 0 leaves out errors and bias correction.

    Raises
    ------
    ValueError
        For a rank-deficient G, shapes that don't fit, or an unknown method.
    """
    truth = moments(*data)
    law = moments(*model)
    if law.centred.shape[1] != truth.centred.shape[1]:
        raise ValueError(f"model has {law.centred.shape[1]} statistics, data has {truth.centred.shape[1]}")
    p = law.centred.shape[1]
    names = [f"ξ{i}" for i in range(p)]
    check_rank(law.cov, names)
    drawn = model[1] is None
    if method == "auto":
        cheap = len(law.centred) * p**2 < (len(law.centred) + len(truth.centred)) * len(law.centred)
        method = "tensor" if p <= TENSOR_LIMIT and cheap else "pairs"
    if method not in ("tensor", "pairs"):
        raise ValueError(f"method must be auto, tensor or pairs, got {method!r}")
    factor = np.linalg.cholesky(law.cov)
    s = np.linalg.solve(factor, (law.centred + law.mean - truth.mean).T).T  # 0 is the data's mean
    y = np.linalg.solve(factor, truth.centred.T).T
    contract = _pairs if method == "pairs" else _tensor(y, truth.weights)
    if not drawn:
        return RiskExpansion.of(*contract(s, law.weights, y, truth.weights), p)
    whole = np.array(contract(s, tilt(s, law.weights), y, truth.weights))
    if not n_blocks:
        return RiskExpansion.of(whole[0], whole[1], whole[2], p)
    left_out = []
    for block in np.array_split(np.arange(len(s)), n_blocks):
        kept = np.delete(s, block, axis=0)
        weights = tilt(kept, np.full(len(kept), 1 / len(kept)))
        left_out.append(contract(kept, weights, y, truth.weights))
    return _jackknifed(whole, np.array(left_out), p, split)


def tilt(stats: Floats, weights: Floats, steps: int = 50) -> Floats:
    """Weights ∝ w exp(θ·ξ) under which the statistics have mean zero.

    Raises
    ------
    ValueError
        When zero lies outside the draws' convex hull, so no such weights exist.
    """
    theta = np.zeros(stats.shape[1])
    tilted = weights
    for _ in range(steps):
        energy = stats @ theta
        tilted = weights * np.exp(energy - energy.max())
        tilted = tilted / tilted.sum()
        mean = tilted @ stats
        centred = stats - mean
        step = -np.linalg.solve((centred * tilted[:, None]).T @ centred, mean)
        if -step @ mean < 1e-20:
            return tilted
        theta = theta + step * min(1.0, 1.0 / np.sqrt(-step @ mean))
    raise ValueError("the draws' mean is too far from the data's: draw at a fitted θ, or draw more")


# -- the p³ tensor -------------------------------------------------------------------------------------------


def third_moment(x: Floats, weights: Floats) -> Floats:
    """E x⊗x⊗x, shape (p, p, p); the rows are taken as centred. Half the products, by symmetry."""
    p = x.shape[1]
    row, column = np.triu_indices(p)
    half = np.zeros((len(row), p))
    for part in range(0, len(x), TILE):
        lying = np.ascontiguousarray(
            x[part : part + TILE].T
        )  # whole rows are picked much faster than columns
        half += (lying[row] * lying[column]) @ (lying * weights[part : part + TILE]).T
    full = np.empty((p, p, p))
    full[row, column] = half
    full[column, row] = half
    return full


def _tensor(y: Floats, wy: Floats) -> Contract:
    V, K = (y * wy[:, None]).T @ y, third_moment(y, wy)
    return lambda s, ws, *_: _contract(s, ws, V, K)


def _contract(s: Floats, ws: Floats, V: Floats, K: Floats) -> tuple[float, float, float]:
    """(A₁, C₃, C₄) from model draws with mean zero and the truth's V and K, in any coordinates."""
    G = (s * ws[:, None]).T @ s
    H = np.linalg.inv(G)
    W = H @ V @ H
    T = third_moment(s, ws)
    k = np.einsum("abc,ad,be,cf->def", K, H, H, H, optimize=True)
    forms = np.einsum("na,na->n", s @ W, s)
    fourth = ws @ forms**2 - np.trace(G @ W) ** 2 - 2 * np.trace(G @ W @ G @ W)
    r = np.einsum("abe,ab->e", T, W)
    left = np.tensordot(W, T, axes=(1, 0))  # W_ca T_abe -> c b e
    right = np.tensordot(T, H, axes=(2, 0))  # T_cde H_ef -> c d f
    m = np.einsum("cbe,cde,bd->", left, right, W, optimize=True)
    return 0.5 * np.trace(H @ V), -float(np.sum(T * k)), -float(fourth) + float(r @ H @ r) + 2 * float(m)


# -- pairs of draws ------------------------------------------------------------------------------------------


def _pairs(s: Floats, ws: Floats, y: Floats, wy: Floats) -> tuple[float, float, float]:
    """(A₁, C₃, C₄) as means of kernels over pairs: of model draws, and of a model draw and an observation.

    In whitened coordinates ⟨t, k⟩ = E (sᵀy)³ and ‖t:v‖² + 2m = E (sᵀs′)[(sᵀvs)(s′ᵀvs′) + 2 (sᵀvs′)²].
    """
    factor = np.linalg.cholesky((s * ws[:, None]).T @ s)
    s, y = np.linalg.solve(factor, s.T).T, np.linalg.solve(factor, y.T).T
    v = (y * wy[:, None]).T @ y
    sv = s @ v
    forms = np.einsum("na,na->n", sv, s)
    spans = [slice(a, a + TILE) for a in range(0, len(s), TILE)]
    cross = pairs = 0.0
    for i, a in enumerate(spans):
        for j, b in enumerate(spans[i:], i):
            kernel = 2 * (sv[a] @ s[b].T) ** 2 + np.outer(forms[a], forms[b])
            kernel *= s[a] @ s[b].T
            pairs += (1 if i == j else 2) * float(ws[a] @ kernel @ ws[b])
        for part in range(0, len(y), TILE):
            gram = s[a] @ y[part : part + TILE].T
            cross += float(ws[a] @ (gram * gram * gram) @ wy[part : part + TILE])
    trace = float(np.trace(v))
    fourth = float(ws @ forms**2) - trace**2 - 2 * float(np.sum(v * v))
    return trace / 2, -cross, pairs - fourth


def _jackknifed(whole: Floats, left_out: Floats, p: int, correct: bool) -> RiskExpansion:
    """Delete-a-block jackknife of (A₁, C₃, C₄): standard errors, and the bias taken off where asked."""
    B = len(left_out)
    scalars = B * whole - (B - 1) * left_out.mean(0) if correct else whole
    found = RiskExpansion.of(scalars[0], scalars[1], scalars[2], p)
    A2 = left_out[:, 1] / 3 + 3 * left_out[:, 2] / 8
    se_A1, se = (np.sqrt((B - 1) * np.var(values)) for values in (left_out[:, 0], A2))
    return RiskExpansion(found.A1, found.A2, found.C3, found.C4, p, float(se), float(se_A1))
