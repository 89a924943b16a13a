"""A world small enough to enumerate: Markov chains over a few symbols, where every likelihood is known."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Chain(NamedTuple):
    """A Markov chain: P(x) = initial[x_1] · ∏ transition[x_{t-1}, x_t]."""

    initial: Floats  # (V,)
    transition: Floats  # (V, V), rows sum to one


def random_chain(n_symbols: int, rng: np.random.Generator, concentration: float = 1.0) -> Chain:
    """A chain with Dirichlet rows; a small `concentration` makes it predictable."""
    rows = rng.dirichlet(np.full(n_symbols, concentration), size=n_symbols + 1)
    rows = (rows + 1e-3) / (1 + 1e-3 * n_symbols)  # every string keeps a positive probability
    return Chain(rows[0], rows[1:])


def strings(n_symbols: int, length: int) -> Ints:
    """All strings, (n_symbols ** length, length)."""
    return np.array(list(itertools.product(range(n_symbols), repeat=length)))


def log_probability(chain: Chain, x: Ints) -> Floats:
    """Exact log-probability of strings x (N, L): (N,) nats."""
    steps = np.log(chain.transition)[x[:, :-1], x[:, 1:]].sum(1)
    return np.log(chain.initial)[x[:, 0]] + steps


def sample(chain: Chain, n: int, length: int, rng: np.random.Generator) -> Ints:
    """`n` strings of the chain, (n, length)."""
    x = np.empty((n, length), dtype=np.int64)
    cumulative = chain.transition.cumsum(1)
    x[:, 0] = np.minimum(np.searchsorted(chain.initial.cumsum(), rng.random(n)), len(chain.initial) - 1)
    for t in range(1, length):  # a chain has to be walked
        x[:, t] = (rng.random(n)[:, None] > cumulative[x[:, t - 1]]).sum(1).clip(max=len(chain.initial) - 1)
    return x


def fit_chain(x: Ints, n_symbols: int, prior: float = 1.0) -> Chain:
    """Estimate a chain from strings x (N, L), with `prior` pseudo-counts a cell."""
    first = np.bincount(x[:, 0], minlength=n_symbols) + prior
    pairs = np.bincount((x[:, :-1] * n_symbols + x[:, 1:]).ravel(), minlength=n_symbols**2)
    counts = pairs.reshape(n_symbols, n_symbols) + prior
    return Chain(first / first.sum(), counts / counts.sum(1, keepdims=True))


def exact_auroc(score: Floats, logp_id: Floats, logp_ood: Floats) -> float:
    """AUROC of a score when the laws are known: strings weigh as much as their probability.

    Parameters
    ----------
    score : ndarray of shape (N,)
        Of every string; higher = more unknown.
    logp_id, logp_ood : ndarray of shape (N,)
        Log-probabilities of all strings under the known and the unknown law.
    """
    above = (score[:, None] > score[None, :]) + 0.5 * (score[:, None] == score[None, :])
    return float(np.exp(logp_ood) @ above @ np.exp(logp_id))


class Brackets(NamedTuple):
    """Both sides of the identity, in nats."""

    gap: float  # E_Q[LR] − E_P[LR]
    ood: float  # KL(Q‖child) − KL(Q‖parent)
    id: float  # KL(P‖parent) − KL(P‖child)


def kl_identity(logp_id: Floats, logp_ood: Floats, logp_pre: Floats, logp_ft: Floats) -> Brackets:
    """The gap of mean ratios, and the divergences that it is made of, each computed from its own definition.

    Parameters
    ----------
    logp_id, logp_ood, logp_pre, logp_ft : ndarray of shape (N,)
        Log-probabilities of all strings under known law P, unknown law Q, parent and child.
    """
    p, q, ratio = np.exp(logp_id), np.exp(logp_ood), logp_pre - logp_ft
    return Brackets(
        gap=float(q @ ratio - p @ ratio),
        ood=kl(logp_ood, logp_ft) - kl(logp_ood, logp_pre),
        id=kl(logp_id, logp_pre) - kl(logp_id, logp_ft),
    )


def kl(logp: Floats, logq: Floats) -> float:
    """Kullback-Leibler divergence between two laws on the same strings, in nats."""
    return float(np.exp(logp) @ (logp - logq))


def optimality_study(
    n_pairs: int, rng: np.random.Generator, *, n_symbols: int = 3, length: int = 4
) -> dict[str, Floats]:
    """Random pairs of chains: the exact ratio's AUROC beside that of other scores, and the identity's error.

    Returns
    -------
    dict of arrays of shape (n_pairs,)
        ``LR``, ``LH``, ``LH_pre``, ``wrong parent`` (the ratio to a chain that is not the unknown law), ``random``
        (the best of ten random scores), ``mixtures`` (the best of ten random mixtures of both log-likelihoods), and
        ``identity``, the absolute difference of its sides in nats.
    """
    x = strings(n_symbols, length)
    rows = [_one_pair(x, n_symbols, rng) for _ in range(n_pairs)]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _one_pair(x: Ints, n_symbols: int, rng: np.random.Generator) -> dict[str, float]:
    p, q, other, child = (log_probability(random_chain(n_symbols, rng), x) for _ in range(4))
    weights = rng.normal(size=(10, 2))
    sides = kl_identity(p, q, other, child)
    scores = {"LR": q - p, "LH": -p, "LH_pre": -q, "wrong parent": other - p}
    found = {name: exact_auroc(score, p, q) for name, score in scores.items()}
    found["random"] = max(exact_auroc(rng.normal(size=len(x)), p, q) for _ in range(10))
    found["mixtures"] = max(exact_auroc(a * q + b * p, p, q) for a, b in weights)
    return found | {"identity": abs(sides.gap - sides.ood - sides.id)}
