r"""Simulated durations whose censoring depends on the features, with everything known about them.

:math:`X\sim U(0,1)^d`, :math:`Y=\min((1+X_1)V,3)` with V Weibull (shape 2, scale 1), and C exponential with
a mean that depends on X. Conditional moments have closed forms, so no truth is simulated.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy.special import erf

from loglik.risk.censored_erm.inputs import Bools
from loglik.risk.checks import Floats

CAP = 3.0  # no duration is longer


class Draw(NamedTuple):
    """A simulated data set with its truth."""

    X: Floats  # (n, d) features
    time: Floats  # (n,) min(Y, C)
    event: Bools  # (n,) 1{Y <= C}
    y: Floats  # (n,) the durations themselves, which censoring hides
    mean: Floats  # (n,) E[Y | X]
    survival: Floats  # (n,) P(C >= time | X)


@dataclass(frozen=True)
class Scene:
    """One simulated setting.

    Attributes
    ----------
    d : int
        Features that the learner sees. The duration depends on the first, censoring on the first two; with
        ``d=1`` the second stays hidden, with more than 2 the others are noise. The margins never change.
    level : float
        Log mean of C at the origin; lower means heavier censoring.
    slopes : pair of float
        Change of that log mean along the first two features.
    bend : float
        Adds ``bend * |2 x_1 - 1|`` to it, which no Cox model of the censoring can follow.
    """

    d: int = 2
    level: float = 0.2
    slopes: tuple[float, float] = (1.1, 1.1)
    bend: float = 0.0

    def censoring_mean(self, X: Floats) -> Floats:
        """Mean (n,) of C given the first two features."""
        log_mean = self.level + X[:, :2] @ np.array(self.slopes) + self.bend * np.abs(2 * X[:, 0] - 1)
        return np.exp(log_mean)

    def draw(self, n: int, rng: np.random.Generator) -> Draw:
        """Simulate n cases."""
        X = rng.uniform(size=(n, max(self.d, 2)))
        y = np.minimum((1 + X[:, 0]) * rng.weibull(2.0, n), CAP)
        mean_c = self.censoring_mean(X)
        c = rng.exponential(mean_c)
        time = np.minimum(y, c)
        return Draw(X[:, : self.d], time, y <= c, y, duration_mean(X[:, 0]), np.exp(-time / mean_c))

    def with_share(self, share: float) -> Scene:
        """The same scene with the level moved so that `share` of the cases is censored (by quadrature)."""
        low, high = -6.0, 8.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (
                (middle, high) if replace(self, level=middle).share_censored() > share else (low, middle)
            )
        return replace(self, level=round((low + high) / 2, 6))

    def share_censored(self) -> float:
        """Share of cases censored, P(C < Y) = 1 - E[exp(-Y / mean of C)], by Gauss-Legendre quadrature."""
        (x1, x2), weights = _square(24)
        rate = 1 / self.censoring_mean(np.column_stack([x1, x2]))
        t, w = np.polynomial.legendre.leggauss(48)
        t, w = (t + 1) / 2 * CAP, w / 2 * CAP
        # P(C < Y) is the integral of rate exp(-rate t) P(Y > t)
        inner = (rate[:, None] * np.exp(-rate[:, None] * t - (t / (1 + x1[:, None])) ** 2)) @ w
        return float(weights @ inner)


MAIN = Scene()  # about 29 % censored
INDEPENDENT = Scene(level=1.2780, slopes=(0.0, 0.0))  # as often as in MAIN, whatever X
HEAVY = Scene(level=-0.8914)
BENT = Scene(level=0.1337, slopes=(0.0, 0.0), bend=2.6)


def duration_mean(x1: Floats) -> Floats:
    r"""E[Y | x] :math:`=\int_0^3e^{-(t/(1+x_1))^2}dt=(1+x_1)\frac{\sqrt\pi}2\operatorname{erf}(3/(1+x_1))`."""
    a = 1 + x1
    return np.asarray(a * np.sqrt(np.pi) / 2 * erf(CAP / a))


def duration_second_moment(x1: Floats) -> Floats:
    r"""E[Y² | x] :math:`=\int_0^32te^{-(t/(1+x_1))^2}dt=(1+x_1)^2(1-e^{-9/(1+x_1)^2})`."""
    a = 1 + x1
    return np.asarray(a**2 * -np.expm1(-((CAP / a) ** 2)))


def _square(nodes: int) -> tuple[tuple[Floats, Floats], Floats]:
    """Gauss-Legendre nodes and weights on the unit square."""
    t, w = np.polynomial.legendre.leggauss(nodes)
    t, w = (t + 1) / 2, w / 2
    x1, x2 = (part.ravel() for part in np.meshgrid(t, t, indexing="ij"))
    return (x1, x2), np.outer(w, w).ravel()


def linear_moments(d: int = 2) -> Floats:
    """Exact second moments (d + 2, d + 2) of (Y, 1, x_1, ..., x_d): the risk of every linear rule.

    ``R(a) = (1, -a)' M (1, -a)`` for the rule ``f(x) = a_0 + a_1 x_1 + ...``.
    """
    (x1, _), w = _square(48)
    M = np.full((d + 2, d + 2), 0.25)
    M[1, :] = M[:, 1] = 0.5
    M[1, 1] = 1.0
    M[range(2, d + 2), range(2, d + 2)] = 1 / 3
    mean = w @ duration_mean(x1)
    M[0, 0] = w @ duration_second_moment(x1)
    M[0, 1:] = M[1:, 0] = np.r_[mean, w @ (x1 * duration_mean(x1)), np.full(d - 1, mean / 2)]
    return M


def best_linear(d: int = 2) -> Floats:
    """Coefficients (d + 1,) of the best linear rule."""
    M = linear_moments(d)
    return np.asarray(np.linalg.solve(M[1:, 1:], M[0, 1:]))


def censoring_truth(scene: Scene, X: Floats, times: Floats) -> Floats:
    """P(C > t | the d features seen) (k, T); with one feature seen, averaged over the hidden one."""
    if scene.d > 1:
        return np.asarray(np.exp(-times[None] / scene.censoring_mean(X)[:, None]))
    t, w = np.polynomial.legendre.leggauss(48)
    hidden, w = (t + 1) / 2, w / 2
    pairs = np.column_stack([np.repeat(X[:, 0], 48), np.tile(hidden, len(X))])
    rates = 1 / scene.censoring_mean(pairs).reshape(len(X), 48)
    return np.asarray(np.exp(-rates[:, :, None] * times).transpose(0, 2, 1) @ w)
