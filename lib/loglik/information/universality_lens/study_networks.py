"""The chapter's experiments with SGLD: it is checked against exact posteriors, then used as the learner."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import expit, rel_entr

from loglik.information.universality_lens.bernoulli import binary_kl
from loglik.information.universality_lens.checks import Floats
from loglik.information.universality_lens.gaussian import LinearGaussianMixture
from loglik.information.universality_lens.langevin import (
    decaying_steps,
    normal_prior_grad,
    sgld,
    sgld_predict,
)
from loglik.information.universality_lens.learners import distill, fit_networks, nuts
from loglik.information.universality_lens.network import TanhNetwork
from loglik.information.universality_lens.study import equal_signals
from loglik.information.universality_lens.tempered import TemperedEnergy, beta_ladder, tempered_energy

Progress = Callable[[Iterable[Any]], Iterable[Any]]
MIXTURE, SINGLE, STUDENT, MAP, MLE = "SGLD mixture", "single draw", "student", "MAP", "maximum likelihood"
STOPPED, ENSEMBLE, CONSTANT = "early stopping", "ensemble of ML networks", "constant"
FLOOR = 1e-6  # predictions are kept this far from 0 and 1, so that an over-confident one has a finite regret


class Population(NamedTuple):
    """Inputs with equal weights, and what each teacher says there."""

    X: Floats  # (m, p)
    proba: dict[str, Floats]  # teacher: probabilities of label 1, (m,)
    logits: dict[str, Floats]


def population(network: TanhNetwork, X: Floats, teachers: dict[str, Floats]) -> Population:
    """Evaluate every teacher on the inputs."""
    logits = {name: _logits(network, theta, X) for name, theta in teachers.items()}
    return Population(X, {name: expit(z) for name, z in logits.items()}, logits)


def _logits(network: TanhNetwork, theta: Floats, X: Floats) -> Floats:
    return np.asarray(
        network.logits(jnp.asarray(theta, jnp.float32), jnp.asarray(X, jnp.float32)), dtype=np.float64
    )


def step_for(n: ArrayLike) -> Floats:
    """First SGLD step for n samples: 0.04 / (1 + 0.05 n), tuned once against NUTS at n = 32."""
    return 0.04 / (1 + 0.05 * np.asarray(n, dtype=float))


def mean_kl(truth: Floats, prediction: Floats) -> Floats:
    """Regret of predictions (..., m) against the truth (m,): mean binary divergence, nats per sample."""
    result: Floats = binary_kl(truth, np.clip(prediction, FLOOR, 1 - FLOOR)).mean(-1)
    return result


class Sample(NamedTuple):
    """Data sets of one size from several teachers, teacher by teacher."""

    teacher: list[str]  # (S,)
    rep: list[int]  # (S,)
    x: Floats  # (S, n, p)
    y: Floats  # (S, n)


def draw_samples(pop: Population, n: int, reps: int, rng: np.random.Generator) -> Sample:
    """`reps` data sets of n i.i.d. pairs from each teacher; smaller ones are the heads of larger ones."""
    names = list(pop.proba)
    index = rng.integers(len(pop.X), size=(len(names) * reps, n))
    chance = np.concatenate(
        [pop.proba[name][index[i * reps : (i + 1) * reps]] for i, name in enumerate(names)]
    )
    labels = (rng.random(index.shape) < chance).astype(float)
    return Sample(
        [t for t in names for _ in range(reps)], list(range(reps)) * len(names), pop.X[index], labels
    )


class NetworkStudy(NamedTuple):
    """Regrets of every learner, and the curvature at its point estimates."""

    regrets: pd.DataFrame  # teacher, rep, n, method, regret (nats per sample)
    curvature: pd.DataFrame  # teacher, rep, n, volume = log det(I + n J) / 2 at the MAP network


def network_study(
    network: TanhNetwork,
    pop: Population,
    sizes: Sequence[int],
    baselines_at: Sequence[int],
    reps: int,
    *,
    chains: int,
    steps: int,
    fit_steps: int,
    rng: np.random.Generator,
    progress: Progress = iter,
) -> NetworkStudy:
    """Supervised regret against n for the SGLD mixture and every baseline, exact over the population.

    All teachers, data sets and chains of one size advance in one loop; smaller data sets are the heads of
    larger ones, so curves over n are paired.
    """
    whole = draw_samples(pop, max(sizes), reps, rng)
    tables, curvature = [], []
    for n in progress(sizes):
        found = _bayes(network, pop, whole, n, chains, steps, rng)
        part = Sample(whole.teacher, whole.rep, whole.x[:, :n], whole.y[:, :n])
        if n in baselines_at:
            points, at_map = _points(network, pop, part, found[MIXTURE], fit_steps, rng)
            found |= points
            volume = [network.fisher_log_volume(theta, pop.X, n) for theta in at_map]
            curvature.append(
                pd.DataFrame({"teacher": part.teacher, "rep": part.rep, "n": n, "volume": volume})
            )
        for method, prediction in found.items():
            regret = _by_teacher(pop, part, prediction)
            tables.append(
                pd.DataFrame(
                    {"teacher": part.teacher, "rep": part.rep, "n": n, "method": method, "regret": regret}
                )
            )
    return NetworkStudy(pd.concat(tables, ignore_index=True), pd.concat(curvature, ignore_index=True))


def _by_teacher(pop: Population, part: Sample, prediction: Floats) -> Floats:
    """Regret of each data set's prediction; with an extra leading axis, the mean over it."""
    truth = np.stack([pop.proba[name] for name in part.teacher])
    per = mean_kl(truth, prediction)
    return per if per.ndim == 1 else per.mean(0)


def _bayes(
    network: TanhNetwork,
    pop: Population,
    part: Sample,
    n: int,
    chains: int,
    steps: int,
    rng: np.random.Generator,
) -> dict[str, Floats]:
    """Mixture (S, m) and single draws (chains, S, m) by SGLD from the first n rows of each data set."""
    S = len(part.x)
    run = sgld(
        normal_prior_grad, network.loglik_grad, rng.standard_normal((S * chains, network.dim)),
        (np.repeat(part.x, chains, 0), np.repeat(part.y, chains, 0)), steps=steps, batch=32,
        step_size=decaying_steps(step_for(n), steps), key=_key(rng), thin=max(1, min(40, steps // 20)),
        sizes=np.full(S * chains, n),
    )  # fmt: skip
    last = sgld_predict(run.samples[-1:], network.proba, pop.X)
    return {
        MIXTURE: sgld_predict(run.samples, network.proba, pop.X, S),
        SINGLE: np.swapaxes(last.reshape(S, chains, -1), 0, 1),
    }


def _points(
    network: TanhNetwork, pop: Population, part: Sample, mixture: Floats, steps: int, rng: np.random.Generator
) -> tuple[dict[str, Floats], Floats]:
    """Predictions (S, m) of the point estimates and the student; the MAP networks (S, d)."""
    S, n, _ = part.x.shape
    full, held = np.ones((S, n)), np.tile(np.arange(n) % 4 == 3, (S, 1))
    first = 0.3 * rng.standard_normal((4, S, network.dim))

    def train(start: Floats, weights: Floats, prior: float = 0.0) -> Any:
        return fit_networks(network, start, part.x, part.y, weights, steps=steps, prior=prior)

    likely = [train(start, full).final for start in first]
    at_map = train(first[0], full, 1.0).final
    path = train(first[0], 1.0 * ~held).snapshots
    best = _least_held_out(network, path, part, held)
    stopped = path[best, np.arange(S)]
    student = distill(network, rng.standard_normal((S, network.dim)), pop.X, mixture, steps=steps)
    rate = (part.y.sum(1) + 0.5) / (n + 1)
    predictions = {
        MAP: _proba(network, at_map, pop.X),
        MLE: _proba(network, likely[0], pop.X),
        STOPPED: _proba(network, stopped, pop.X),
        ENSEMBLE: np.mean([_proba(network, theta, pop.X) for theta in likely], axis=0),
        STUDENT: _proba(network, student, pop.X),
        CONSTANT: np.repeat(rate[:, None], len(pop.X), 1),
    }
    return predictions, at_map


def _proba(network: TanhNetwork, theta: Floats, X: Floats) -> Floats:
    return sgld_predict(theta[None], network.proba, X)


def _least_held_out(network: TanhNetwork, path: Floats, part: Sample, held: Floats) -> Any:
    """Index (S,) of the snapshot with the least log-loss on the held-out rows."""
    losses = []
    for theta in path:
        p = np.asarray(_own_proba(network, theta, np.float32(part.x)), dtype=float)
        p = np.clip(p, FLOOR, 1 - FLOOR)
        losses.append(-(held * np.log(np.where(part.y == 1, p, 1 - p))).sum(1))
    return np.argmin(losses, axis=0)


def _own_rows(network: TanhNetwork, theta: Any, x: Any) -> Any:
    return jax.vmap(network.proba)(theta, x)


_own_proba: Any = jax.jit(_own_rows, static_argnums=0)


def _key(rng: np.random.Generator) -> Any:
    return jax.random.key(int(rng.integers(2**31 - 1)))


# -- bounds and volumes ----------------------------------------------------------------------------------------


def tempered_study(
    network: TanhNetwork,
    pop: Population,
    n: float,
    count: int,
    *,
    chains: int,
    steps: int,
    rng: np.random.Generator,
    progress: Progress = iter,
) -> dict[str, TemperedEnergy]:
    """Tempered energies of every teacher up to beta = n."""
    ladder = beta_ladder(n, count)
    return {
        name: tempered_energy(
            network.divergence,
            network.dim,
            ladder,
            chains=chains,
            steps=steps,
            key=_key(rng),
            data=(pop.X, z0),
        )
        for name, z0 in progress(pop.logits.items())
    }


def _gaussian_divergence(theta: Any, data: Any) -> Any:
    lam, theta0 = data
    return (lam * (theta - theta0) ** 2).sum() / 2


def tempered_check(
    d: int, n: float, count: int, *, chains: int, steps: int, rng: np.random.Generator
) -> tuple[TemperedEnergy, float, Floats]:
    """Thermodynamic integration where the answer is known: (chains' energies, closed-form B2, exact energies)."""
    lam = 1.0 / np.arange(1, d + 1)
    theta0 = equal_signals(lam, [3])[3]
    model = LinearGaussianMixture(lam)
    found = tempered_energy(
        _gaussian_divergence,
        d,
        beta_ladder(n, count),
        chains=chains,
        steps=steps,
        key=_key(rng),
        data=(lam, theta0),
    )
    return found, float(model.soft_bound(theta0, n)), model.energy(theta0, found.betas)


def average_regret(regrets: pd.DataFrame, pop: Population, prior_mean: Floats, n: int) -> pd.DataFrame:
    """Mean supervised regret over t < n from a grid of t, by the trapezoid rule: teacher, rep, average.

    At t = 0 the mixture predicts with the prior's mean, which needs no data. Between grid points the curve
    is taken as straight in t; a convex falling curve lies below, so the average errs upwards.
    """
    mine = regrets[(regrets["method"] == MIXTURE) & (regrets["n"] <= n)]
    rows = []
    for (teacher, rep), part in mine.groupby(["teacher", "rep"], sort=False):
        t = np.array([0, *part["n"]])
        r = np.array([mean_kl(pop.proba[str(teacher)], prior_mean), *part["regret"]])
        rows.append((teacher, rep, float(np.trapezoid(r, t)) / n))
    return pd.DataFrame(rows, columns=["teacher", "rep", "average"])


def prior_mean(network: TanhNetwork, X: Floats, draws: int, rng: np.random.Generator) -> Floats:
    """Mean probability (m,) over draws of the prior: the mixture before any data."""
    return sgld_predict(rng.standard_normal((draws, 1, network.dim)), network.proba, X)[0]


# -- is it the posterior? --------------------------------------------------------------------------------------


def _linear_grad(theta: Any, batch: Any) -> Any:
    x, y = batch
    return (y - x @ theta) @ x


def linear_posterior_check(
    step_sizes: Sequence[float], *, d: int, n: int, chains: int, steps: int, rng: np.random.Generator
) -> pd.DataFrame:
    """SGLD on linear regression beside the exact posterior, in its ten best-determined directions.

    Columns: step, direction, mean_error (posterior standard deviations), sd_ratio.
    """
    lam = np.arange(1, d + 1.0) ** -2
    X = rng.standard_normal((n, d)) * np.sqrt(lam)
    y = X @ equal_signals(lam, [5])[5] + rng.standard_normal(n)
    value, vectors = np.linalg.eigh(np.eye(d) + X.T @ X)
    mean = np.linalg.solve(np.eye(d) + X.T @ X, X.T @ y)
    top, sd = vectors[:, ::-1][:, :10], 1 / np.sqrt(value[::-1][:10])
    rows = []
    for step in step_sizes:
        run = sgld(
            normal_prior_grad, _linear_grad, rng.standard_normal((chains, d)), (X, y), steps=steps, batch=32,
            step_size=step, key=_key(rng), thin=20,
        )  # fmt: skip
        along = (np.asarray(run.samples, dtype=float) - mean) @ top
        error, ratio = along.mean((0, 1)) / sd, along.std((0, 1)) / sd
        rows += [(step, j + 1, error[j], ratio[j]) for j in range(10)]
    return pd.DataFrame(rows, columns=["step", "direction", "mean_error", "sd_ratio"])


class Agreement(NamedTuple):
    """Two samplers on the same posteriors."""

    table: pd.DataFrame  # rep, SGLD − NUTS, NUTS − NUTS: mean absolute differences of probabilities
    nuts: Floats  # (reps, m) predictive probabilities
    sgld: Floats  # (reps, m)


def nuts_check(
    network: TanhNetwork,
    pop: Population,
    teacher: str,
    n: int,
    reps: int,
    *,
    chains: int,
    steps: int,
    warmup: int,
    draws: int,
    rng: np.random.Generator,
) -> Agreement:
    """Predictive probabilities by SGLD and by NUTS on the same data sets, n samples each."""
    one = Population(pop.X, {teacher: pop.proba[teacher]}, {})
    part = draw_samples(one, n, reps, rng)
    ours = _bayes(network, one, part, n, chains, steps, rng)[MIXTURE]
    samples = nuts(network, part.x, part.y, warmup=warmup, draws=draws, chains=4, key=_key(rng))
    halves = np.stack([sgld_predict(one, network.proba, pop.X, 2) for one in samples])
    theirs = halves.mean(1)
    table = pd.DataFrame(
        {
            "SGLD − NUTS": np.abs(ours - theirs).mean(1),
            "NUTS − NUTS": np.abs(halves[:, 0] - halves[:, 1]).mean(1),
        }
    )
    return Agreement(table.rename_axis("rep").reset_index(), theirs, ours)


def flatness(
    network: TanhNetwork,
    pop: Population,
    teachers: dict[str, Floats],
    n: int,
    steps: int,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Curvature ``log det(I + n J) / 2`` of each teacher at the truth and at the mode of ``exp(-n D) w``.

    The mode is trained on the teacher's probabilities over the whole population: a minimum without the noise
    of a sample.
    """
    start = 0.3 * rng.standard_normal((len(teachers), network.dim))
    shared = np.broadcast_to(np.float32(pop.X), (len(teachers), *pop.X.shape))
    targets = np.stack([pop.proba[name] for name in teachers])
    weights = np.full(targets.shape, n / targets.shape[1])
    modes = fit_networks(network, start, shared, targets, weights, steps=steps, prior=1.0).final
    rows = []
    for (name, theta), mode in zip(teachers.items(), modes, strict=True):
        gap = n * rel_entropy(pop.proba[name], _proba(network, mode[None], pop.X)[0])
        rows.append(
            (name, network.fisher_log_volume(theta, pop.X, n), network.fisher_log_volume(mode, pop.X, n),
             float(theta @ theta) / 2, float(mode @ mode) / 2 + gap)
        )  # fmt: skip
    columns = ["teacher", "volume at truth", "volume at mode", "cost of truth", "cost of mode"]
    return pd.DataFrame(rows, columns=columns).set_index("teacher")


def rel_entropy(p: Floats, q: Floats) -> float:
    """Mean binary divergence of q from p over the population, nats."""
    return float((rel_entr(p, q) + rel_entr(1 - p, 1 - q)).mean())
