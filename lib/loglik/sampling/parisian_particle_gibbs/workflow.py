"""The apply notebook's road: a series and a model in; parameters, smoothed states and diagnostics out."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loglik.sampling.parisian_particle_gibbs import datasets
from loglik.sampling.parisian_particle_gibbs.gaussian import LinearGaussianModel
from loglik.sampling.parisian_particle_gibbs.learning import Trace, score_functional
from loglik.sampling.parisian_particle_gibbs.models import DistributionModel
from loglik.sampling.parisian_particle_gibbs.protocol import Array, Pair
from loglik.sampling.parisian_particle_gibbs.smoothing import PPGResult, Progress, ppg
from loglik.sampling.parisian_particle_gibbs.study import (
    clip_volatility,
    volatility_model,
    volatility_parameters,
)

Floats = NDArray[np.float64]
MODELS = ("stochastic_volatility", "local_level", "autoregression")


@dataclass(frozen=True)
class Task:
    """A model to learn from a series."""

    name: str
    y: Floats  # (T,) as the model sees it
    model_fn: Callable[[Array], Any]
    theta0: Floats
    steps: Floats  # of score ascent at n = 1, one a parameter
    names: tuple[str, ...]  # of the parameters that people read
    readable: Callable[[Floats], Floats]
    projection: Callable[[Floats], Floats]
    state_name: str
    state: Callable[[Floats], Floats]  # from the model's scale to the reader's


def load(data: str, column: str | None) -> pd.Series:
    """``gbp_usd``, ``nile``, or a column of a CSV; see :func:`.datasets.read_series`."""
    built_in = {"gbp_usd": datasets.gbp_usd, "nile": datasets.nile}
    return built_in[data]() if data in built_in else datasets.read_series(data, column)


def make_task(series: pd.Series, model: str) -> Task:
    """The chosen model, made for `series`.

    Parameters
    ----------
    series : Series
    model : str
        One of ``stochastic_volatility``, ``local_level``, ``autoregression``, or the path of a Python file that
        defines ``theta0`` (list of floats), ``initial(theta)``, ``transition(theta, t, x)`` and
        ``emission(theta, t, x)`` as numpyro distributions, and if wanted ``names`` and ``dim``.

    Raises
    ------
    ValueError
        For another name, a constant series, or a file that lacks a definition.
    """
    y = series.to_numpy(float)
    if y.std() == 0:
        raise ValueError("the series is constant; there is nothing to smooth")
    if model == "stochastic_volatility":
        return _volatility(y - y.mean())
    if model in ("local_level", "autoregression"):
        return _linear(y, level=model == "local_level")
    if model.endswith(".py"):
        return _own(y, Path(model))
    raise ValueError(f"unknown model {model!r}; allowed: {', '.join(MODELS)}, or the path of a .py file")


def _volatility(y: Floats) -> Task:
    start = np.array([np.log(y.var()), 0.8, -0.8])
    return Task(
        "stochastic_volatility", y, volatility_model, start, np.array([2.0, 4.0, 8.0]), ("mu", "phi", "sigma"),
        volatility_parameters, clip_volatility, "volatility (standard deviation)", lambda x: np.exp(x / 2),
    )  # fmt: skip


def level_model(theta: Array) -> LinearGaussianModel:
    """Random walk plus noise on the standardised scale; ``theta = (log sd of the level, log sd of the noise)``."""
    one = jnp.ones((1, 1))
    return LinearGaussianModel(
        one, one, jnp.exp(2 * theta[0]) * one, jnp.exp(2 * theta[1]) * one, one[0] * 0, 4 * one
    )


def autoregressive_model(theta: Array) -> LinearGaussianModel:
    """Stationary autoregression plus noise; ``theta = (artanh a, log sd of its steps, log sd of the noise)``."""
    return LinearGaussianModel.scalar(jnp.tanh(theta[0]), jnp.exp(theta[1]), jnp.exp(theta[2]))


def _linear(y: Floats, *, level: bool) -> Task:
    centre, scale = y.mean(), y.std()
    if level:

        def readable(theta: Floats) -> Floats:
            return scale * np.exp(theta)

        names: tuple[str, ...] = ("sd of the level's steps", "sd of the noise")
        function, start = level_model, np.array([-1.5, -0.3])
        lower, upper = np.array([-5.0, -5.0]), np.array([1.0, 1.0])
    else:

        def readable(theta: Floats) -> Floats:
            return np.concatenate([np.tanh(theta[..., :1]), scale * np.exp(theta[..., 1:])], axis=-1)

        names = ("autoregression", "sd of the state's noise", "sd of the noise")
        function, start = autoregressive_model, np.array([1.0, -0.5, -0.7])
        lower, upper = np.array([-3.0, -5.0, -5.0]), np.array([3.0, 1.0, 1.0])
    return Task(
        "local_level" if level else "autoregression", (y - centre) / scale, function, start, np.full(len(start), 3.0),
        names, readable, lambda theta: np.clip(theta, lower, upper), "level", lambda x: centre + scale * x,
    )  # fmt: skip


def _own(y: Floats, path: Path) -> Task:
    if not path.exists():
        raise ValueError(f"no file {path}; give a Python file with theta0, initial, transition and emission")
    scope = runpy.run_path(str(path))
    missing = [name for name in ("theta0", "initial", "transition", "emission") if name not in scope]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}")
    start = np.atleast_1d(np.asarray(scope["theta0"], dtype=float))
    names = tuple(scope.get("names", [f"theta[{i}]" for i in range(len(start))]))
    functions = {name: scope[name] for name in ("initial", "transition", "emission")}
    dim = int(scope.get("dim", 1))

    def model_fn(theta: Array) -> DistributionModel:
        return DistributionModel(theta, dim=dim, **functions)

    return Task(
        path.stem,
        y,
        model_fn,
        start,
        np.full(len(start), 3.0),
        names,
        lambda t: t,
        lambda t: t,
        "state",
        lambda x: x,
    )


# -- after the fit -----------------------------------------------------------------------------------------


def parameter_table(task: Task, trace: Trace, information: Floats | None) -> pd.DataFrame:
    """Estimates with Monte-Carlo error over chains and an approximate standard error from the data."""
    averages = trace.average()
    centre = averages.mean(0)
    shown = task.readable(averages)
    table = pd.DataFrame({"estimate": task.readable(centre)}, index=pd.Index(task.names, name="parameter"))
    table["Monte-Carlo s.e."] = shown.std(0, ddof=1) / np.sqrt(len(shown)) if len(shown) > 1 else np.nan
    if information is not None and np.linalg.eigvalsh(information).min() > 0:
        sd = np.sqrt(np.diag(np.linalg.inv(information)))
        ends = [np.array([task.readable(centre + sign * 1.96 * s * unit)[i] for i, (s, unit) in
                          enumerate(zip(sd, np.eye(len(sd)), strict=True))]) for sign in (-1, 1)]  # fmt: skip
        table["95 % low"], table["95 % high"] = np.minimum(*ends), np.maximum(*ends)
    return table


class _Score:
    """The score of a task as a functional, the same object for the same model function."""

    cache: dict[Any, Any] = {}  # noqa: RUF012

    @classmethod
    def of(cls, model_fn: Any) -> Callable[[Pair], Array]:
        function: Callable[[Pair], Array] = cls.cache.setdefault(model_fn, score_functional(model_fn))
        return function


def observed_information(
    task: Task,
    theta: Floats,
    *,
    n_particles: int,
    n_sweeps: int,
    n_chains: int,
    key: jax.Array,
    step: float = 0.15,
    differences: bool = True,
) -> tuple[Floats, Floats, Floats | None]:
    """Score at `theta` with its Monte-Carlo error, and minus its slope by differences on common random numbers.

    Returns
    -------
    score, error : arrays of shape (p,)
    information : array of shape (p, p)
        Symmetrised; noisy, so its inverse gives *approximate* variances. None without `differences`.
    """

    def score(at: Floats) -> Floats:
        params = jnp.asarray(at, jnp.result_type(float))
        run = ppg(
            task.model_fn(params), task.y, _Score.of(task.model_fn), n_particles, n_sweeps, n_sweeps // 3,
            key=key, n_chains=n_chains, params=params,
        )  # fmt: skip
        return run.rollout(n_sweeps // 3)

    centre = score(theta)
    error = centre.std(0, ddof=1) / np.sqrt(n_chains)
    if not differences:
        return centre.mean(0), error, None
    slopes = [(score(theta - e) - score(theta + e)).mean(0) / (2 * step) for e in step * np.eye(len(theta))]
    information = np.array(slopes)
    return centre.mean(0), error, (information + information.T) / 2


def smoothed_states(task: Task, smooth: PPGResult, index: pd.Index, burn_in: int) -> pd.DataFrame:
    """Median and 90 % band of the state at each time, over chains and sweeps after `burn_in`; first coordinate."""
    draws = task.state(smooth.paths[:, burn_in:, :, 0])
    low, middle, high = np.quantile(draws, (0.05, 0.5, 0.95), axis=(0, 1))
    return pd.DataFrame({"median": middle, "5 %": low, "95 %": high}, index=index)


def check_assumptions(
    task: Task, trace: Trace, smooth: PPGResult, score: Floats, error: Floats, burn_in: int, key: jax.Array
) -> pd.DataFrame:
    """What the method needs, measured on this series: one row a check with what to do where it fails."""
    averages = trace.average()
    spread = averages.std(0, ddof=1).max() if len(averages) > 1 else 0.0
    drift = np.abs(trace.average(0.25).mean(0) - trace.average(0.5).mean(0)).max()
    renewed = float(smooth.renewed[burn_in:].mean(0).min())
    between, within = _between(smooth.paths[:, burn_in:, :, 0])
    inside, correlation = _replicated(task, trace, smooth, burn_in, key)
    z = float(np.abs(score / np.maximum(error, 1e-12)).max())
    size = float(np.abs(score).max() / np.sqrt(len(task.y)))
    rows = [
        ("the filter keeps enough particles", f"smallest mean ESS {smooth.ess.min():.1f}", smooth.ess.min() >= 2,
         "use more particles, or a model with wider noise"),
        ("sweeps renew the path at every time", f"smallest share {renewed:.2f}", renewed > 0.3,
         "use more particles; else neighbouring sweeps say the same"),
        ("chains agree on the states", f"largest R-hat {np.sqrt(1 + (between / within).max()):.2f}",
         bool(np.sqrt(1 + (between / within).max()) < 1.1), "run more sweeps, leave more of them out"),
        ("chains agree on the parameters", f"largest sd over chains {spread:.3f}", spread < 0.2,
         "more iterations or smaller steps; a flat likelihood shows here, too"),
        ("the iterates have settled", f"largest late drift {drift:.3f}", drift < 0.1, "run more iterations"),
        ("the score vanishes at the estimate", f"largest |score|/√T {size:.2f} ({z:.1f} s.e.)",
         size < 0.25 or z < 3, "run more iterations"),
        ("the model's noise explains the data", f"{inside:.1%} of y in its 90 % band",
         abs(inside - 0.9) < 0.8 / np.sqrt(len(task.y)),
         "choose another emission, such as one with heavier tails"),
        ("residuals have no memory", f"largest lag-one correlation {correlation:+.2f}",
         abs(correlation) < 2.8 / np.sqrt(len(task.y)), "choose another transition, such as more lags"),
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["check", "measured", "holds", "then"]).set_index("check")


def _between(draws: Floats) -> tuple[Floats, Floats]:
    """Variance of the chains' means (less what sampling explains) and within chains, at each time."""
    within = draws.var(axis=1, ddof=1).mean(0) + 1e-12
    between = draws.mean(axis=1).var(axis=0, ddof=1) if len(draws) > 1 else np.zeros_like(within)
    return np.maximum(between - within / draws.shape[1], 0.0), within


def _replicated(
    task: Task, trace: Trace, smooth: PPGResult, burn_in: int, key: jax.Array
) -> tuple[float, float]:
    """Share of y in the central 90 % of its law given the path; lag-one correlation of ranks or sizes.

    Given a path drawn from the smoothing distribution, and under the model, the ranks of y are independent and
    uniform; so both numbers are averaged over paths.
    """
    model = task.model_fn(jnp.asarray(trace.average().mean(0), jnp.result_type(float)))
    paths = smooth.paths[:, burn_in:].reshape(-1, *smooth.paths.shape[2:])
    paths = paths[:: max(1, len(paths) // 40)]

    @jax.jit
    def draw(key: jax.Array, x: Array) -> Array:
        def one(key: jax.Array, t: Array, x: Array) -> Array:
            copies: Array = model.sample_observation(key, t, jnp.repeat(x, 100, axis=0))
            return copies

        return jax.vmap(one)(jax.random.split(key, x.shape[0]), jnp.arange(x.shape[0]), x)

    states = jnp.asarray(np.swapaxes(paths, 0, 1), jnp.result_type(float))
    again = np.asarray(draw(key, states))[..., 0].reshape(len(task.y), len(paths), 100)
    given = task.y[:, None, None]
    rank = (again < given).mean(-1) + 0.5 * (again == given).mean(-1)
    memory = max((_lag_one(rank), _lag_one(np.abs(rank - 0.5))), key=abs)
    return float(((rank > 0.05) & (rank < 0.95)).mean()), memory


def _lag_one(values: Floats) -> float:
    """Lag-one correlation of each column of (T, paths), averaged."""
    centred = values - values.mean(0)
    return float(((centred[1:] * centred[:-1]).sum(0) / (centred**2).sum(0)).mean())


def no_functional(pair: Pair) -> Array:
    """A functional that costs nothing, where only paths are wanted."""
    return 0.0 * (pair.x + pair.x_next)[..., :1]


def smooth_paths(
    task: Task,
    theta: Floats,
    *,
    n_particles: int,
    n_sweeps: int,
    n_chains: int,
    key: jax.Array,
    progress: Progress,
) -> PPGResult:
    """Chains of conditional sweeps at `theta`, all paths kept."""
    model = task.model_fn(jnp.asarray(theta, jnp.result_type(float)))
    return ppg(
        model, task.y, no_functional, n_particles, n_sweeps, 0, 1, key=key, n_chains=n_chains, keep_paths=True,
        progress=progress,
    )  # fmt: skip
