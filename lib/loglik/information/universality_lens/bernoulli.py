"""Testbed A: a coin with a beta prior (Krichevsky and Trofimov's estimator at a = 1/2), all by finite sums."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaln, gammaln, logsumexp, rel_entr, xlog1py, xlogy
from scipy.stats import beta

from loglik.information.universality_lens.checks import Floats, check_positive, check_sizes
from loglik.information.universality_lens.weights import HardBound, hard_from_curve


def binary_kl(p: ArrayLike, q: ArrayLike) -> Floats:
    """Divergence from a coin of chance `p` to one of chance `q`, nats."""
    p, q = np.asarray(p, dtype=float), np.asarray(q, dtype=float)
    result: Floats = rel_entr(p, q) + rel_entr(1 - p, 1 - q)
    return result


@functools.lru_cache(maxsize=16)
def _nodes(a: float) -> tuple[Floats, Floats]:
    """Nodes and log weights for the expectation over Beta(a, a), fine towards both ends."""
    inner = np.linspace(0, np.pi / 4, 201)[1:]
    edges = np.unique(np.r_[0, np.geomspace(1e-9, inner[0], 30), inner])
    x, w = np.polynomial.legendre.leggauss(16)
    half = np.diff(edges)[:, None] / 2
    phi = (edges[:-1, None] + half * (1 + x)).ravel()
    log_w = np.log((half * w).ravel()) + (2 * a - 1) * np.log(np.sin(phi) * np.cos(phi)) + np.log(2)
    theta = np.sin(phi) ** 2
    both = np.concatenate([theta, 1 - theta])
    twice = np.concatenate([log_w, log_w])
    return both, twice - logsumexp(twice)


class BernoulliMixture:
    """Mixture over all coins with a Beta(a, a) prior.

    Parameters
    ----------
    a : float
        Prior shape: 1/2 is Jeffreys' prior, 1 the uniform one. At least 0.1, so that quadrature is exact.

    Raises
    ------
    ValueError
        For a below 0.1.
    """

    def __init__(self, a: float = 0.5) -> None:
        self.a = check_positive(a, "a", "the shape of a beta prior")
        if self.a < 0.1:
            raise ValueError(f"a must be at least 0.1, where the quadrature still resolves the ends, got {a}")

    def log_marginal(self, ones: ArrayLike, n: ArrayLike) -> Floats:
        """Log probability of one sequence with that many ones among `n` tosses."""
        k, sizes = np.asarray(ones, dtype=float), np.asarray(n, dtype=float)
        result: Floats = betaln(k + self.a, sizes - k + self.a) - betaln(self.a, self.a)
        return result

    def regret(self, theta0: float, n: ArrayLike) -> Floats:
        """Cumulative regret ``n R_o(n)`` in nats: a finite sum over counts, O(n) each.

        Parameters
        ----------
        theta0 : float
            Chance of a one under the truth, in [0, 1].
        n : array_like of int

        Returns
        -------
        array of the shape of `n`
        """
        theta0 = _check_chance(theta0)
        sizes = check_sizes(n)
        found = [self._regret_at(theta0, int(size)) for size in sizes.ravel()]
        return np.array(found).reshape(sizes.shape)

    def _regret_at(self, theta0: float, n: int) -> float:
        k = np.arange(n + 1)
        own = xlogy(k, theta0) + xlog1py(n - k, -theta0)
        chance = np.exp(own + gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))
        gain = np.where(chance > 0, own - self.log_marginal(k, n), 0.0)
        return float(chance @ gain)

    def batch_regret(self, theta0: float, t: ArrayLike) -> Floats:
        """Regret ``R_b`` of predicting toss t from the t - 1 before it, by a sum over their counts."""
        theta0 = _check_chance(theta0)
        times = check_sizes(t)
        if (times < 1).any():
            raise ValueError("t counts tosses from 1")
        found = [self._batch_at(theta0, int(time) - 1) for time in times.ravel()]
        return np.array(found).reshape(times.shape)

    def _batch_at(self, theta0: float, past: int) -> float:
        k = np.arange(past + 1)
        chance = np.exp(
            xlogy(k, theta0)
            + xlog1py(past - k, -theta0)
            + gammaln(past + 1)
            - gammaln(k + 1)
            - gammaln(past - k + 1)
        )
        return float(chance @ binary_kl(theta0, (k + self.a) / (past + 2 * self.a)))

    def soft_bound(self, theta0: float, n: ArrayLike) -> Floats:
        """``B2(n)`` in nats, by quadrature over the prior."""
        nodes, log_w = _nodes(self.a)
        d = binary_kl(_check_chance(theta0), nodes)
        result: Floats = -logsumexp(log_w - check_sizes(n)[..., None] * d, axis=-1)
        return result

    def log_weight(self, theta0: float, eps: ArrayLike) -> Floats:
        """``log w(eps)``: the beta distribution's mass on the interval of coins within `eps`."""
        theta0, radius = _check_chance(theta0), check_sizes(eps, "eps")
        low = _bisect(theta0, radius, 0.0)
        high = _bisect(theta0, radius, 1.0)
        prior = beta(self.a, self.a)
        with np.errstate(divide="ignore"):
            result: Floats = np.log(prior.cdf(high) - prior.cdf(low))
        return result

    def hard_bound(self, theta0: float, n: ArrayLike) -> HardBound:
        """``B1(n)`` over a grid of 600 radii from 1e-9 to 20 nats."""
        eps = np.geomspace(1e-9, 20, 600)
        return hard_from_curve(eps, self.log_weight(theta0, eps), n)


def _check_chance(theta0: float) -> float:
    if not 0 <= theta0 <= 1:
        raise ValueError(f"theta0 is a chance in [0, 1], got {theta0}")
    return float(theta0)


def _bisect(theta0: float, radius: Floats, end: float) -> Floats:
    """The coin between theta0 and `end` whose divergence from theta0 is `radius` (or `end` itself)."""
    inner, outer = np.full(radius.shape, theta0), np.full(radius.shape, end)
    for _ in range(80):
        middle = (inner + outer) / 2
        near = binary_kl(theta0, middle) <= radius
        inner, outer = np.where(near, middle, inner), np.where(near, outer, middle)
    return inner
