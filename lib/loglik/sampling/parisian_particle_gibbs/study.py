"""The reproduction's computations: errors against exact answers, contraction, learning runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scipy.optimize import minimize

from loglik.sampling.parisian_particle_gibbs.exact import kalman_loglik, volatility_loglik
from loglik.sampling.parisian_particle_gibbs.gaussian import LinearGaussianModel
from loglik.sampling.parisian_particle_gibbs.learning import Trace
from loglik.sampling.parisian_particle_gibbs.models import StochasticVolatility
from loglik.sampling.parisian_particle_gibbs.protocol import Array, Pair
from loglik.stats import intervals

Floats = NDArray[np.float64]
DRAWS = 400  # of a bootstrap over thousands of replicates


def cross(pair: Pair) -> Array:
    """The functional ``x_t · x_{t+1}``, shape (..., 1)."""
    return (pair.x * pair.x_next).sum(-1, keepdims=True)


# -- errors ------------------------------------------------------------------------------------------------


def summarise(errors: Mapping[str, ArrayLike]) -> pd.DataFrame:
    """Bias with its standard error, standard deviation and root mean squared error of each estimator."""
    rows = {}
    for name, values in errors.items():
        e = np.asarray(values, dtype=float)
        rows[name] = {
            "replicates": len(e),
            "bias": e.mean(),
            "s.e.": e.std(ddof=1) / np.sqrt(len(e)),
            "sd": e.std(ddof=1),
            "RMSE": np.sqrt((e**2).mean()),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def log_slope(x: ArrayLike, values: ArrayLike, rng: np.random.Generator) -> intervals.Estimate:
    """Slope of log |mean| on log x; `values` (reps, k), columns independent or paired; bootstrap over rows."""
    centred = np.log(np.asarray(x, dtype=float))
    centred = centred - centred.mean()

    def slope(means: Floats) -> Floats:
        result: Floats = np.log(np.abs(means)) @ centred / (centred @ centred)
        return result

    return intervals.bootstrap(values, slope, rng, DRAWS)


def ratio_of_bias(errors: ArrayLike, baseline: ArrayLike, rng: np.random.Generator) -> intervals.Estimate:
    """|bias| over the baseline's |bias|; both resampled, independently."""
    errors, baseline = np.asarray(errors, dtype=float), np.asarray(baseline, dtype=float)
    draws = [normal_means(e, rng) for e in (errors, baseline)]
    low, high = np.quantile(np.abs(draws[0] / draws[1]), (0.025, 0.975))
    value = abs(np.mean(errors) / np.mean(baseline))
    return intervals.Estimate(float(value), float(low), float(high), float(np.std(draws[0] / draws[1])))


def ratio_of_root(squares: ArrayLike, baseline: ArrayLike, rng: np.random.Generator) -> intervals.Estimate:
    """Root of a mean over the root of another, both resampled independently: RMSE or standard deviation."""
    squares, baseline = np.asarray(squares, dtype=float), np.asarray(baseline, dtype=float)
    draws = [normal_means(e, rng) for e in (squares, baseline)]
    ratios = np.sqrt(draws[0] / draws[1])
    low, high = np.quantile(ratios, (0.025, 0.975))
    value = np.sqrt(np.mean(squares) / np.mean(baseline))
    return intervals.Estimate(float(value), float(low), float(high), float(ratios.std()))


def normal_means(values: ArrayLike, rng: np.random.Generator, draws: int = 2000) -> Floats:
    """Bootstrap means; by the normal law of a mean, which is exact enough for hundreds of replicates."""
    e = np.asarray(values, dtype=float)
    return np.asarray(rng.normal(e.mean(), e.std(ddof=1) / np.sqrt(len(e)), draws))


class Contraction(NamedTuple):
    """Geometric decay of the bias from sweep to sweep."""

    kappa: intervals.Estimate
    r_squared: float
    intercept: float
    used: int  # sweeps 0 to used - 1 entered the fit


def contraction(errors: ArrayLike, rng: np.random.Generator, z: float = 3.0) -> Contraction:
    """Fit ``|bias_l| = c kappa^l`` to the sweeps before the bias sinks below `z` standard errors.

    Parameters
    ----------
    errors : array_like of shape (reps, sweeps)
        Estimate minus truth.
    """
    table = np.asarray(errors, dtype=float)
    means, se = table.mean(0), table.std(0, ddof=1) / np.sqrt(len(table))
    clear = np.abs(means) > z * se
    used = max(3, int(np.argmin(clear)) if not clear.all() else len(clear))
    sweeps = np.arange(used)
    centred = sweeps - sweeps.mean()

    def kappa(rows: Floats) -> Floats:
        return np.asarray(np.exp(np.log(np.abs(rows)) @ centred / (centred @ centred)))

    logs = np.log(np.abs(means[:used]))
    fit = stats.linregress(sweeps, logs)
    estimate = intervals.bootstrap(table[:, :used], kappa, rng, DRAWS)
    return Contraction(estimate, float(fit.rvalue**2), float(np.exp(fit.intercept)), used)


def tails(errors: ArrayLike, multiples: ArrayLike) -> pd.DataFrame:
    """Empirical tails of one half, in units of the other half's root mean square, beside 2 exp(-x²/2)."""
    e = np.asarray(errors, dtype=float)
    half = len(e) // 2
    scale = np.sqrt((e[:half] ** 2).mean())
    rows = []
    for x in np.asarray(multiples, dtype=float):
        test = stats.binomtest(int((np.abs(e[half:]) > x * scale).sum()), len(e) - half)
        high = test.proportion_ci(0.95, method="exact").high
        rows.append({"x": x, "share": test.statistic, "upper": high, "bound": 2 * np.exp(-(x**2) / 2),
                     "Gaussian": 2 * stats.norm.sf(x)})  # fmt: skip
    return pd.DataFrame(rows)


# -- learning ----------------------------------------------------------------------------------------------


def linear_model(theta: Any) -> LinearGaussianModel:
    """Scalar model with ``theta = (a, log q, log r)`` (standard deviations) and start N(0, 1); leading axes allowed."""
    xp: Any = jnp if isinstance(theta, jax.Array) else np
    square = lambda v: v[..., None, None]  # noqa: E731
    one = xp.ones((1, 1))
    variances = xp.exp(2 * theta)
    return LinearGaussianModel(
        square(theta[..., 0]), one, square(variances[..., 1]), square(variances[..., 2]), one[0] * 0, one
    )


def clip_linear(theta: Floats) -> Floats:
    """Projection of (a, log q, log r) into |a| ≤ 0.99 and standard deviations between 0.02 and 7."""
    return np.clip(theta, [-0.99, -4, -4], [0.99, 2, 2])


def clip_level(theta: Floats) -> Floats:
    """The local level model: a = 1 always."""
    clipped = np.clip(theta, -5, 2)
    clipped[..., 0] = 1.0
    return np.asarray(clipped)


def em_linear(y: ArrayLike) -> Callable[[Floats], Floats]:
    """The M step of :func:`linear_model`: statistics (chains, 7) to parameters (chains, 3)."""
    table = np.asarray(y, dtype=float)
    steps, power = len(table), float((table**2).sum())

    def maximise(statistics: Floats) -> Floats:
        s00, s10, s11, sy, sy0, s0, _ = statistics.T
        a = s10 / s00
        q = (s11 - a * s10) / (steps - 1)
        r = (power - 2 * (sy + sy0) + s11 + s0) / steps
        tiny = 1e-8
        return np.stack([a, 0.5 * np.log(np.maximum(q, tiny)), 0.5 * np.log(np.maximum(r, tiny))], axis=-1)

    return maximise


class Optimum(NamedTuple):
    """Exact maximum of the likelihood."""

    theta: Floats
    loglik: float


def exact_mle(y: ArrayLike, start: ArrayLike, projection: Callable[[Floats], Floats]) -> Optimum:
    """Maximum likelihood of :func:`linear_model` by the Kalman filter and a simplex search."""

    def loss(theta: Floats) -> float:
        return -float(kalman_loglik(linear_model(projection(theta.copy())), y))

    options = {"xatol": 1e-6, "fatol": 1e-9, "maxiter": 4000, "maxfev": 4000}
    found = minimize(loss, np.asarray(start, dtype=float), method="Nelder-Mead", options=options)
    return Optimum(projection(found.x.copy()), -float(found.fun))


def gaps(trace: Trace, y: ArrayLike, optimum: Optimum) -> Floats:
    """Log-likelihood below its maximum at each chain's averaged parameters, shape (chains,)."""
    return np.asarray(optimum.loglik - kalman_loglik(linear_model(trace.average()), y))


def squared_scores(theta: Floats, y: ArrayLike, step: float = 1e-4) -> Floats:
    """Exact squared norm of the gradient of the log-likelihood over T, for parameters (..., 3)."""
    total = np.zeros(theta.shape[:-1])
    for direction in step * np.eye(theta.shape[-1]):
        high, low = (kalman_loglik(linear_model(theta + sign * direction), y) for sign in (1, -1))
        total = total + ((high - low) / (2 * step * len(np.asarray(y)))) ** 2
    return total


def volatility_model(theta: Array) -> StochasticVolatility:
    """``theta = (mu, artanh phi, log sigma)``."""
    return StochasticVolatility(theta[0], jnp.tanh(theta[1]), jnp.exp(theta[2]))


def volatility_parameters(theta: Floats) -> Floats:
    """(mu, phi, sigma) from (mu, artanh phi, log sigma)."""
    return np.stack([theta[..., 0], np.tanh(theta[..., 1]), np.exp(theta[..., 2])], axis=-1)


def volatility_mle(y: ArrayLike, start: ArrayLike) -> Optimum:
    """Maximum likelihood of the volatility model by the grid filter; parameters (mu, artanh phi, log sigma)."""

    def loss(theta: Floats) -> float:
        mu, phi, sigma = volatility_parameters(clip_volatility(theta))
        return -volatility_loglik(mu, phi, sigma, y)

    found = minimize(
        loss, np.asarray(start, dtype=float), method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-6}
    )
    return Optimum(clip_volatility(found.x), -float(found.fun))


def clip_volatility(theta: Floats) -> Floats:
    """Projection: |mu| ≤ 10, phi from 0 to 0.995, sigma from 0.02 to 2.7."""
    return np.clip(theta, [-10, 0, -4], [10, 3, 1])
