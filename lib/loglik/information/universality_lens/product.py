"""Testbed C: a product of L Gaussian weights as the mean of a Gaussian; singular at zero, one dimension."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import CubicSpline
from scipy.signal import fftconvolve
from scipy.special import logsumexp

from loglik.information.universality_lens.checks import Floats, check_sizes
from loglik.information.universality_lens.weights import HardBound, hard_from_curve

STEP, START, STOP = 1 / 256, -60.0, 9.0  # grid of log|u|
_LOG_2PI = float(np.log(2 * np.pi))


@functools.lru_cache(maxsize=16)
def _log_density(depth: int) -> tuple[Floats, Floats]:
    """Log density of log|a_1 ... a_L| on the grid: one Gaussian's, convolved L times."""
    t = np.arange(START, STOP, STEP)
    one = np.exp(np.log(2) + t - np.exp(2 * t) / 2 - _LOG_2PI / 2)
    density, shift = one, round(-START / STEP)
    for _ in range(depth - 1):
        density = fftconvolve(density, one)[shift : shift + len(t)] * STEP
    # each factor gives the density a tail e^t times a polynomial; below this the convolution is rounding
    return t, np.log(np.maximum(density, 1e-40))


class ProductMixture:
    """Mixture over ``y = a_1 ... a_L + N(0, 1)`` with independent ``N(0, 1)`` weights.

    ``D = (u - u0)^2 / 2`` with ``u`` the product. Depth 1 is the regular model; deeper products are
    singular at zero, where their prior density diverges.

    Parameters
    ----------
    depth : int
        Number L of factors, from 1 to 8.
    """

    def __init__(self, depth: int) -> None:
        if isinstance(depth, bool) or not isinstance(depth, (int, np.integer)):
            raise TypeError(f"depth must be an int, got {type(depth).__name__}")
        if not 1 <= depth <= 8:
            raise ValueError(f"depth must lie between 1 and 8 (the grid covers such products), got {depth}")
        self.depth = int(depth)

    def _nodes(self, u0: float, n: float) -> tuple[Floats, Floats]:
        """Nodes u - u0 and log weights of the prior, good for integrands of width 1/sqrt(n) around u0."""
        t, log_p = _log_density(self.depth)
        if abs(u0) * np.sqrt(n) > 40:  # far from the singularity: a local grid on a smooth density
            d = np.linspace(-14, 14, 1401) / np.sqrt(n)
            where = np.log(np.abs(u0 + d))
            value = CubicSpline(t, log_p)(where) - where - np.log(2)
            return d, value + np.log(d[1] - d[0])
        u = np.exp(t)
        log_w = log_p + np.log(STEP / 2)
        return np.concatenate([u - u0, -u - u0]), np.concatenate([log_w, log_w])

    def soft_bound(self, u0: float, n: ArrayLike) -> Floats:
        """``B2(n)`` in nats by quadrature; n up to 1e12 at zero."""
        sizes = check_sizes(n)
        found = [self._soft_at(float(u0), size) for size in sizes.ravel()]
        return np.array(found).reshape(sizes.shape)

    def _soft_at(self, u0: float, n: float) -> float:
        d, log_w = self._nodes(u0, n)
        return -float(logsumexp(log_w - n * d**2 / 2))

    def regret(self, u0: float, n: ArrayLike) -> Floats:
        """Cumulative regret ``n R_o(n)`` in nats, by quadrature over the sample mean (Gauss-Hermite) and u."""
        sizes = check_sizes(n)
        found = [self._regret_at(float(u0), size) for size in sizes.ravel()]
        return np.array(found).reshape(sizes.shape)

    def _regret_at(self, u0: float, n: float) -> float:
        if n == 0:
            return 0.0
        z, w = np.polynomial.hermite_e.hermegauss(40)
        d, log_w = self._nodes(u0, n)
        scaled = np.sqrt(n) * d
        near = np.abs(scaled) < np.abs(z).max() + 12
        exponent = (log_w[near] - scaled[near] ** 2 / 2)[:, None] + scaled[near][:, None] * z
        return -float(w @ logsumexp(exponent, axis=0)) / float(w.sum())

    def log_weight(self, u0: float, eps: ArrayLike) -> Floats:
        """``log w(eps)``: mass of the product law within ``sqrt(2 eps)`` of u0."""
        reach = np.sqrt(2 * check_sizes(eps, "eps"))
        with np.errstate(divide="ignore"):
            result: Floats = np.log(self._cdf(u0 + reach) - self._cdf(u0 - reach))
        return result

    def _cdf(self, u: Floats) -> Floats:
        """P(product <= u) minus 1/2, odd in u; linear in the density between grid points."""
        t, log_p = _log_density(self.depth)
        p = np.exp(log_p)
        mass = np.concatenate([[0.0], np.cumsum((p[1:] + p[:-1]) / 2)]) * STEP
        inside = CubicSpline(t, mass)(np.log(np.maximum(np.abs(u), np.exp(START))))
        return np.sign(u) * inside / 2

    def hard_bound(self, u0: float, n: ArrayLike) -> HardBound:
        """``B1(n)`` over 800 radii from 1e-9 to 50 nats per sample (n up to about 1e8)."""
        eps = np.geomspace(1e-9, 50, 800)
        return hard_from_curve(eps, self.log_weight(u0, eps), n)
