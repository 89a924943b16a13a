"""The experiments of the chapter: recipes for networks, tuned baselines, a table with a row a user and method."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from loglik.generative.vae_cf.baselines import WMF, ease, popularity, wmf
from loglik.generative.vae_cf.data import Held, Split
from loglik.generative.vae_cf.information import information_plane
from loglik.generative.vae_cf.metrics import METRICS, evaluate
from loglik.generative.vae_cf.models import MultDAE, MultVAE
from loglik.generative.vae_cf.training import History, LinearAnneal, Model, fit, predictor
from loglik.stats import intervals

Progress = Callable[[Any], Iterable[Any]]
EASE_GRID = (50.0, 100.0, 200.0, 400.0, 800.0)
WMF_GRID = tuple((k, alpha, 5.0) for k in (10, 20, 50) for alpha in (2.0, 5.0, 10.0))
GAUSSIAN_GRID = (2.0, 5.0, 10.0, 30.0)


@dataclass(frozen=True)
class Recipe:
    """A network and how it is trained.

    Attributes
    ----------
    name : str
    kind : {"vae", "dae"}
    beta : float
        Cap of the ramp (VAE).
    annealed : bool
        False: `beta` from the first update on.
    hidden, latent : tuple of int, int
    likelihood, pos_weight : str, float
    popular_start : bool
        Start the output bias of a logistic network at the items' popularity.
    epochs, batch_size, lr, weight_decay
    """

    name: str
    kind: str = "vae"
    beta: float = 0.2
    annealed: bool = True
    hidden: tuple[int, ...] = ()
    latent: int = 200
    likelihood: str = "multinomial"
    pos_weight: float = 1.0
    popular_start: bool = False
    epochs: int = 100
    batch_size: int = 100
    lr: float = 1e-3
    weight_decay: float = 0.0

    def build(self, split: Split, seed: int) -> Model:
        """The network with its first weights."""
        kind = {"vae": MultVAE, "dae": MultDAE}[self.kind]
        model: Model = kind(
            split.n_items,
            self.hidden,
            self.latent,
            likelihood=self.likelihood,
            pos_weight=self.pos_weight,
            generator=torch.Generator().manual_seed(seed),
        )
        if self.popular_start:
            model.start_at(torch.from_numpy(popularity(split.train) / split.train.shape[0]))
        return model

    def schedule(self, split: Split) -> LinearAnneal | float:
        """β by update: the ramp reaches 1 after 80 % of the updates, whatever its cap."""
        if not self.annealed:
            return self.beta
        steps = self.epochs * -(-split.train.shape[0] // self.batch_size)
        return LinearAnneal(max(1, round(0.8 * steps)), self.beta)


def train(
    recipe: Recipe, split: Split, seed: int = 0, device: str = "cpu", progress: bool = False
) -> tuple[Model, History]:
    """Build and fit; the model has its best epoch's weights. Recipes of one seed share what can be shared."""
    torch_seed = zlib.crc32(f"{seed}".encode())
    model = recipe.build(split, torch_seed)
    history = fit(
        model,
        split,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        lr=recipe.lr,
        anneal=recipe.schedule(split),
        weight_decay=recipe.weight_decay,
        seed=torch_seed,
        device=device,
        progress=progress,
    )
    return model, history


def popular(split: Split) -> Callable[[Any], NDArray[Any]]:
    """Scores by popularity, for every user alike."""
    counts = popularity(split.train)
    return lambda fold_in: np.broadcast_to(counts, (fold_in.shape[0], len(counts)))


def tuned_ease(split: Split, grid: Sequence[float] = EASE_GRID) -> tuple[Callable[[Any], Any], float]:
    """EASE with the ridge that ranks the validation users best; predictor and ridge."""
    best, score = grid[0], -np.inf
    for reg in grid:  # only the best matrix is kept: on MovieLens-20M it has 1.6 GB
        weights = ease(split.train, reg).astype(np.float32)
        found = _validate(partial(_times, weights), split) if len(grid) > 1 else 0.0
        if found > score:
            best, score, chosen = reg, found, weights
    return partial(_times, chosen), best


def tuned_wmf(
    split: Split, grid: Sequence[tuple[int, float, float]] = WMF_GRID, seed: int = 0
) -> tuple[WMF, tuple[int, float, float]]:
    """WMF with the factors, confidence and penalty that rank the validation users best."""
    fits = {cell: wmf(split.train, *cell, seed=seed) for cell in grid}
    best = max(grid, key=lambda cell: _validate(fits[cell].predict, split))
    return fits[best], best


def tuned_gaussian(
    recipe: Recipe, split: Split, grid: Sequence[float] = GAUSSIAN_GRID, seed: int = 0
) -> float:
    """Weight of clicks at which the Gaussian network ranks the validation users best."""
    scores = {c: train(replace(recipe, pos_weight=c), split, seed)[1].best_val for c in grid}
    return max(grid, key=scores.__getitem__)


def _times(weights: NDArray[Any], x: Any) -> NDArray[Any]:
    return np.asarray(x @ weights)


def _validate(predict: Callable[[Any], Any], split: Split, metric: str = "ndcg@100") -> float:
    return float(evaluate(predict, split.val, [metric])[metric].mean())


@dataclass(frozen=True)
class Results:
    """What a study leaves.

    Attributes
    ----------
    scores : DataFrame
        A row a test user and method: method, fold, user, n_fold_in and the metrics.
    histories : dict
        (method, fold) to History.
    models : dict
        (method, fold) to the trained network.
    """

    scores: pd.DataFrame
    histories: dict[tuple[str, int], History]
    models: dict[tuple[str, int], Model]


def run(
    recipes: Sequence[Recipe],
    folds: Mapping[int, Split],
    *,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress = iter,
) -> Results:
    """Train every recipe on every fold and score its test users."""
    tasks = [(fold, recipe) for fold in folds for recipe in recipes]
    tables, histories, models = [], {}, {}
    for fold, recipe in progress(tasks):
        key = recipe.name, fold
        models[key], histories[key] = train(recipe, folds[fold], seed + fold, device)
        tables.append(_scored(recipe.name, fold, predictor(models[key]), folds[fold].test))
    return Results(pd.concat(tables, ignore_index=True), histories, models)


def shallow(
    folds: Mapping[int, Split],
    *,
    seed: int = 0,
    ease_grid: Sequence[float] = EASE_GRID,
    wmf_grid: Sequence[tuple[int, float, float]] = WMF_GRID,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Popularity, EASE and WMF on every fold: EASE tuned in each, WMF in the first.

    Returns the scores, and what was chosen: the ridges, and (factors, alpha, reg).
    """
    tables, grid, ridges = [], wmf_grid, []
    with threadpool_limits(1, user_api="blas"):
        for fold, split in folds.items():
            linear, ridge = tuned_ease(split, ease_grid)
            ridges.append(ridge)
            factors, cell = tuned_wmf(split, grid, seed)
            grid = (cell,)
            for name, predict in (("popularity", popular(split)), ("EASE", linear), ("WMF", factors.predict)):
                tables.append(_scored(name, fold, predict, split.test))
    return pd.concat(tables, ignore_index=True), {"EASE": ridges, "WMF": grid[0]}


def _scored(name: str, fold: int, predict: Callable[[Any], Any], held: Held) -> pd.DataFrame:
    table = evaluate(predict, held)
    table.insert(0, "fold", fold)
    table.insert(0, "method", name)
    return table


def table_of(scores: pd.DataFrame, metrics: Sequence[str] = METRICS) -> pd.DataFrame:
    """Mean and standard error over test users of every method, best first; seeds are averaged by user first."""
    grouped = scores.groupby(["method", "user"])[list(metrics)].mean().groupby("method")
    both = pd.concat({"mean": grouped.mean(), "SE": grouped.sem()}, axis=1)
    return both.sort_values(("mean", metrics[0]), ascending=False)


def paired(
    scores: pd.DataFrame,
    method: str,
    baseline: str,
    rng: np.random.Generator,
    value: str = "ndcg@100",
    draws: int = 2000,
) -> intervals.Estimate:
    """Mean difference over the users that both methods scored, with a bootstrap over users.

    Raises
    ------
    ValueError
        When they share no user.
    """
    difference = differences(scores, method, baseline, value)
    return intervals.bootstrap(difference.to_numpy()[:, None], lambda means: means[:, 0], rng, draws)


def differences(scores: pd.DataFrame, method: str, baseline: str, value: str = "ndcg@100") -> pd.Series:
    """`method` minus `baseline` by user, each a mean over seeds where a user was scored more than once."""
    both = [scores[scores["method"] == name].groupby("user")[value].mean() for name in (method, baseline)]
    difference = (both[0] - both[1]).dropna()
    if difference.empty:
        raise ValueError(f"{method!r} and {baseline!r} share no test user")
    return difference


def forest(
    scores: pd.DataFrame,
    pairs: Sequence[tuple[str, str]],
    rng: np.random.Generator,
    metrics: Sequence[str] = METRICS,
) -> pd.DataFrame:
    """Paired differences of many pairs: a row a pair and metric."""
    rows = [
        {"pair": f"{a} − {b}", "method": a, "baseline": b, "metric": metric}
        | paired(scores, a, b, rng, metric)._asdict()
        for a, b in pairs
        for metric in metrics
    ]
    return pd.DataFrame(rows)


def by_activity(
    scores: pd.DataFrame, method: str, baseline: str, value: str = "ndcg@100", parts: int = 5
) -> pd.DataFrame:
    """`method` minus `baseline` in equal parts of users by number of fold-in clicks, with standard errors."""
    activity = scores[scores["method"] == method].groupby("user")["n_fold_in"].first()
    table = pd.DataFrame(
        {"difference": differences(scores, method, baseline, value), "clicks": activity}
    ).dropna()
    table["part"] = pd.qcut(table["clicks"].rank(method="first"), parts, labels=False)
    found = table.groupby("part").agg(
        difference=("difference", "mean"), se=("difference", "sem"), clicks=("clicks", "median")
    )
    return found.reset_index()


def first_minus_last(parts: pd.DataFrame) -> intervals.Estimate:
    """Difference between the least and the most active part, which share no user, with a normal 95 % interval."""
    low, high = parts.iloc[0], parts.iloc[-1]
    value = float(low["difference"] - high["difference"])
    se = float(np.hypot(low["se"], high["se"]))
    return intervals.Estimate(value, value - 1.96 * se, value + 1.96 * se, se)


def information_table(
    results: Results, names: Mapping[str, float], folds: Mapping[int, Split]
) -> pd.DataFrame:
    """:func:`information_plane` of several methods and folds on the training users.

    Parameters
    ----------
    results : Results
    names : mapping
        Method to its β.
    folds : mapping
        Those whose networks are measured.

    Returns
    -------
    DataFrame
        Columns beta, fold, rate, mutual_information, marginal_kl, distortion, mc_se and z, the gap of the identity in
        Monte-Carlo standard errors.
    """
    rows = [
        {"beta": beta, "fold": fold}
        | information_plane(cast(MultVAE, results.models[name, fold]), split.train, seed=fold)
        for name, beta in names.items()
        for fold, split in folds.items()
    ]
    table = pd.DataFrame(rows).sort_values(["fold", "beta"], ignore_index=True)
    table["z"] = (table["mutual_information"] + table["marginal_kl"] - table["rate"]) / table["mc_se"]
    return table


def cost_table(
    model: Model, split: Split, train_seconds: float, factors: Sequence[int] = (20, 200), repeats: int = 5
) -> tuple[pd.DataFrame, NDArray[np.float64]]:
    """CPU time to train and a new user's, for a network, WMF and EASE, on one thread.

    Returns
    -------
    DataFrame
        Index method; columns train_s, user_us (best of the repeats), numbers (parameters to store).
    ndarray, shape (repeats,)
        WMF's fold-in over the network's prediction, both with the largest number of factors; the repeats alternate.
    """
    fold_in, rows = split.test.fold_in, {}
    with threadpool_limits(1):
        times: dict[str, list[float]] = {}
        jobs: dict[str, Callable[[Any], Any]] = {"network": model.predict}
        for k in factors:
            started = time.process_time()
            found = wmf(split.train, k, 5.0, 5.0)
            rows[f"WMF, {k} factors"] = (time.process_time() - started, found.item_factors.size)
            jobs[f"WMF, {k} factors"] = found.predict
        started = time.process_time()
        weights = ease(split.train, 200.0).astype(np.float32)
        rows["EASE"] = (time.process_time() - started, weights.size)
        jobs["EASE"] = partial(_times, weights)
        for _ in range(repeats):
            for name, predict in jobs.items():
                started = time.process_time()
                predict(fold_in)
                times.setdefault(name, []).append(time.process_time() - started)
    rows["network"] = (train_seconds, sum(p.numel() for p in model.parameters()))
    table = pd.DataFrame(
        [
            (name, *rows[name][:1], min(t) / fold_in.shape[0] * 1e6, rows[name][1])
            for name, t in times.items()
        ],
        columns=["method", "train_s", "user_us", "numbers"],
    )
    ratio = np.array(times[f"WMF, {max(factors)} factors"]) / np.array(times["network"])
    return table.set_index("method"), ratio


def excess_log_loss(model: Model, held: Held, log_proba: NDArray[Any]) -> NDArray[np.float64]:
    """KL from the truth to the prediction of the next item, in nats, by user, shape (B,).

    Both distributions are restricted to the items that the user hasn't got and scaled to sum to one.

    Parameters
    ----------
    model : MultVAE or MultDAE
        Its softmax is the prediction, whatever its likelihood; only a multinomial one is trained for that.
    held : Held
    log_proba : ndarray, shape (B, I)
        True log-probabilities of these users, columns as in `held`.
    """
    predicted = torch.log_softmax(model.predict(held.fold_in).double(), dim=1).cpu().numpy()
    truth = np.array(log_proba, dtype=float)
    truth[held.fold_in.nonzero()] = -np.inf
    truth -= np.logaddexp.reduce(truth, axis=1, keepdims=True)
    left = np.isfinite(truth)
    gap = np.where(left, truth, 0) - np.where(left, predicted, 0)
    return np.asarray((np.exp(np.where(left, truth, -np.inf)) * gap).sum(axis=1))
