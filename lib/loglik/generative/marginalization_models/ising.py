"""Ising models on an L×L torus, with their exact partition function and exact samples by transfer matrices.

States are 1 (spin down) and 2 (spin up). As in the official code the symmetric adjacency counts every edge twice:
``log f(x) = σ xᵀA x + b Σ x_i``, so that the coupling of an edge is 2σ.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logsumexp
from torch import Tensor

Floats = NDArray[np.float64]


def ising_log_density(L: int, sigma: float, bias: float) -> Callable[[Tensor], Tensor]:
    """Unnormalised log-density of L×L spins; the returned function takes (B, L²) in {1, 2} and gives (B,), nats.

    Raises
    ------
    ValueError
        For L below 3 (two spins would be neighbours twice).
    """
    _check(L)

    def log_f(x: Tensor) -> Tensor:
        spin = (2 * x - 3).to(torch.get_default_dtype()).view(-1, L, L)
        pairs = (spin * (spin.roll(1, 1) + spin.roll(1, 2))).sum((1, 2))
        return 2 * sigma * pairs + bias * spin.sum((1, 2))

    return log_f


def ising_log_z(L: int, sigma: float, bias: float) -> float:
    """Log partition function, ``log tr T^L`` (L up to 12), nats."""
    T, shift = _transfer(L, sigma, bias)
    return float(np.log(np.trace(np.linalg.matrix_power(T, L))) + L * shift)


def ising_row_marginals(L: int, sigma: float, bias: float) -> Floats:
    """Probability of each of the 2^L states of one row; bit j of the index is the spin of column j (1 is up)."""
    T, _ = _transfer(L, sigma, bias)
    weight = np.diag(np.linalg.matrix_power(T, L))
    return np.asarray(weight / weight.sum())


def ising_samples(n: int, L: int, sigma: float, bias: float, *, rng: np.random.Generator) -> Tensor:
    """Exact independent samples (n, L²) in {1, 2}: a row from its marginal, the others given it and the one above."""
    T, _ = _transfer(L, sigma, bias)
    powers = [np.linalg.matrix_power(T, k) for k in range(L + 1)]
    first = _draw(np.diag(powers[L])[None].repeat(n, 0), rng)
    rows = [first]
    for done in range(1, L):
        rows.append(_draw(T[rows[-1]] * powers[L - done][:, first].T, rng))
    bits = (np.stack(rows, 1)[..., None] >> np.arange(L)) & 1
    return torch.as_tensor(bits.reshape(n, L * L) + 1)


def enumerate_states(D: int, K: int = 2) -> Tensor:
    """All K^D configurations, (K^D, D) in 1..K."""
    if K**D > 2**20:
        raise ValueError(f"{K}^{D} configurations are too many to enumerate")
    return torch.cartesian_prod(*[torch.arange(1, K + 1)] * D).view(-1, D)


def exact_log_marginals(log_f: Callable[[Tensor], Tensor], x_partial: Tensor, K: int = 2) -> Floats:
    """Log-probabilities of partial configurations by enumeration; (B, D) → (B,), nats."""
    states = enumerate_states(x_partial.shape[1], K)
    weights = log_f(states).double().numpy()
    weights = weights - logsumexp(weights)
    out = [
        logsumexp(weights[((states == row) | (row == 0)).all(1).numpy()]) for row in x_partial
    ]  # a row at a time keeps memory small
    return np.array(out)


def _transfer(L: int, sigma: float, bias: float) -> tuple[Floats, float]:
    """T_ss' = exp(h(s)/2 + K s·s' + h(s')/2 − shift) over the 2^L states of a row, K = 2σ."""
    _check(L)
    if L > 12:
        raise ValueError(f"the transfer matrix has 2^L rows; L must be at most 12, got {L}")
    spin = 2.0 * ((np.arange(2**L)[:, None] >> np.arange(L)) & 1) - 1
    K = 2 * sigma
    h = K * (spin * np.roll(spin, 1, axis=1)).sum(1) + bias * spin.sum(1)
    log_t = h[:, None] / 2 + K * spin @ spin.T + h[None] / 2
    shift = float(log_t.max())
    return np.exp(log_t - shift), shift


def _draw(weights: Floats, rng: np.random.Generator) -> NDArray[np.int64]:
    cdf = weights.cumsum(1)
    u = rng.random((len(weights), 1)) * cdf[:, -1:]
    return np.minimum((cdf < u).sum(1), weights.shape[1] - 1)


def _check(L: int) -> None:
    if L < 3:
        raise ValueError(f"a torus needs L of at least 3, got {L}: with two, neighbours meet twice")
