"""The chapter's experiments on testbeds A to D and on the convex hull; each returns tidy tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise, product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom, chi2

from loglik.information.universality_lens import hull
from loglik.information.universality_lens.bernoulli import BernoulliMixture
from loglik.information.universality_lens.boolean import (
    BooleanMixture,
    Bools,
    draw_counts,
    n_parameters,
    named_targets,
    random_boolean_networks,
    unpack,
)
from loglik.information.universality_lens.checks import Floats
from loglik.information.universality_lens.finite import FiniteMixture
from loglik.information.universality_lens.gaussian import LinearGaussianMixture
from loglik.information.universality_lens.product import ProductMixture

Progress = Callable[[Iterable[Any]], Iterable[Any]]


class Study(NamedTuple):
    """Measured regrets and the theorem's curves for the same truths."""

    regrets: pd.DataFrame  # truth, rep, n, regret (nats), and whatever else was measured
    bounds: pd.DataFrame  # truth, n, soft, hard, eps, all in nats

    def worst(self) -> pd.DataFrame:
        """One row for each truth and n: mean regret, its standard error, both bounds, ratio and z-score."""
        mean = self.regrets.groupby(["truth", "n"], sort=False)["regret"].agg(["mean", "sem"]).reset_index()
        both = mean.merge(self.bounds, on=["truth", "n"])
        both["ratio"] = both["mean"] / both["soft"]
        both["z"] = (both["mean"] - both["soft"]) / both["sem"]
        both["hard_over_soft"] = both["hard"] / both["soft"]
        return both


def exact_table(model: Any, truths: Sequence[float], sizes: ArrayLike) -> pd.DataFrame:
    """Exact regret and both bounds of a one-dimensional testbed (A or C): truth, n, regret, soft, hard."""
    n = np.asarray(sizes)
    parts = [
        pd.DataFrame(
            {
                "truth": truth,
                "n": n,
                "regret": model.regret(truth, n),
                "soft": model.soft_bound(truth, n),
                "hard": model.hard_bound(truth, n).value,
            }
        )
        for truth in truths
    ]
    return pd.concat(parts, ignore_index=True)


def coin_study(shapes: Sequence[float], truths: Sequence[float], sizes: ArrayLike) -> pd.DataFrame:
    """Testbed A for several priors Beta(a, a): columns a, truth, n, regret, soft, hard."""
    parts = {a: exact_table(BernoulliMixture(a), truths, sizes) for a in shapes}
    return pd.concat(parts, names=["a"]).reset_index("a")


def product_study(depths: Sequence[int], truths: Sequence[float], sizes: ArrayLike) -> pd.DataFrame:
    """Testbed C for several depths: columns depth, truth, n, regret, soft, hard."""
    parts = {depth: exact_table(ProductMixture(depth), truths, sizes) for depth in depths}
    return pd.concat(parts, names=["depth"]).reset_index("depth")


def equal_signals(lam: Floats, features: Sequence[int]) -> dict[int, Floats]:
    """Truths along single features (counted from 1), all with the same signal variance 1."""
    return {f: np.eye(1, len(lam), f - 1)[0] / np.sqrt(lam[f - 1]) for f in features}


def linear_study(
    d: int, decay: float, features: Sequence[int], sizes: Sequence[int], reps: int, rng: np.random.Generator
) -> Study:
    """Testbed B: features of variance ``j^-decay``; regret over random designs at every size, and the bounds."""
    lam = np.arange(1, d + 1.0) ** -decay
    model, rows, bounds = LinearGaussianMixture(lam), [], []
    truths = equal_signals(lam, features)
    for rep in range(reps):
        X = rng.standard_normal((max(sizes), d)) * np.sqrt(lam)
        for f, theta in truths.items():
            cumulative = np.cumsum(model.regrets(theta, X))
            rows += [(f"feature {f}", rep, n, cumulative[n - 1]) for n in sizes]
    for f, theta in truths.items():
        hard = model.hard_bound(theta, sizes)
        soft = model.soft_bound(theta, sizes)
        bounds += list(zip([f"feature {f}"] * len(sizes), sizes, soft, hard.value, hard.eps, strict=True))
    return Study(
        pd.DataFrame(rows, columns=["truth", "rep", "n", "regret"]),
        pd.DataFrame(bounds, columns=["truth", "n", "soft", "hard", "eps"]),
    )


def regular_slopes(rng: np.random.Generator, designs: int = 4) -> pd.DataFrame:
    """Slopes that theory sets to d/2: of log w on log eps, of soft bound and regret on log n; three models."""
    n, eps = np.array([20_000, 80_000]), np.array([1e-6, 1e-5])
    x = np.log(n[1] / n[0])

    def slope(values: ArrayLike, over: float) -> float:
        return float(np.diff(np.asarray(values))[0] / over)

    coin, single = BernoulliMixture(0.5), ProductMixture(1)
    ten, theta = LinearGaussianMixture(np.ones(10)), rng.standard_normal(10)
    X = [rng.standard_normal((n[1], 10)) for _ in range(designs)]
    regret = np.mean([[ten.regret(theta, part[:size]) for size in n] for part in X], axis=0)
    step = np.log(eps[1] / eps[0])
    rows = [
        ("coin, truth 0.3", 1, slope(coin.log_weight(0.3, eps), step), slope(coin.soft_bound(0.3, n), x),
         slope(coin.regret(0.3, n), x)),
        ("Gaussian mean, d = 1", 1, slope(single.log_weight(0.5, eps), step), slope(single.soft_bound(0.5, n), x),
         slope(single.regret(0.5, n), x)),
        ("linear regression, d = 10", 10, slope(chi2.logcdf(2 * eps, 10), step), slope(ten.soft_bound(theta, n), x),
         slope(regret, x)),
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["model", "d", "log w", "soft bound", "regret"]).set_index("model")


def singular_slopes(depths: Sequence[int], sizes: Sequence[float]) -> pd.DataFrame:
    """Slope of the soft bound on log n at truth 0, raw and with the theorem's (L - 1) log log n added."""
    n = np.array(sizes, dtype=float)
    x, rows = np.log(n), []
    for depth in depths:
        soft = ProductMixture(depth).soft_bound(0.0, n)
        raw = np.diff(soft) / np.diff(x)
        corrected = np.diff(soft + (depth - 1) * np.log(x)) / np.diff(x)
        rows += [
            (depth, low, high, r, c) for (low, high), r, c in zip(pairwise(n), raw, corrected, strict=True)
        ]
    return pd.DataFrame(rows, columns=["depth", "from", "to", "raw", "corrected"])


# -- testbed D -------------------------------------------------------------------------------------------------


def boolean_study(
    mixture: BooleanMixture,
    targets: dict[str, Bools],
    sizes: Sequence[int],
    reps: int,
    rng: np.random.Generator,
    progress: Progress = iter,
) -> Study:
    """Testbed D: regret and posterior mass of the lookup half for each target, with the bounds."""
    rows, bounds = [], []
    for name, target in progress(targets.items()):
        for n, counts in zip(sizes, draw_counts(target, mixture.flip, sizes, reps, rng), strict=True):
            regret, lookup = mixture.regret(target, counts), mixture.lookup_mass(counts)
            rows += [(name, rep, n, regret[rep], lookup[rep]) for rep in range(reps)]
        hard = mixture.hard_bound(target, sizes)
        soft = mixture.soft_bound(target, sizes)
        bounds += list(zip([name] * len(sizes), sizes, soft, hard.value, hard.eps, strict=True))
    return Study(
        pd.DataFrame(rows, columns=["truth", "rep", "n", "regret", "lookup"]),
        pd.DataFrame(bounds, columns=["truth", "n", "soft", "hard", "eps"]),
    )


def _drawn(ends: tuple[int, int]) -> str:
    low, high = ends
    if high > 1e8:
        return f"drawn {low} times or more"
    return "drawn once" if (low, high) == (1, 2) else f"drawn {low} to {high - 1} times"


def concentration_study(
    mixture: BooleanMixture,
    drawn: NDArray[np.int64],
    targets: dict[str, Bools],
    sizes: Sequence[int],
    reps: int,
    edges: Sequence[int],
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Mean posterior mass by how common a function is among random networks: truth, n, and one column a group."""
    names = [*map(_drawn, reversed(list(pairwise(edges)))), "lookup tables"]
    rows = []
    for name, target in targets.items():
        for n, counts in zip(sizes, draw_counts(target, mixture.flip, sizes, reps, rng), strict=True):
            mass = mixture.posterior_by_count(counts, drawn, edges).mean(0)
            rows.append({"truth": name, "n": n, **dict(zip(names, mass, strict=True))})
    return pd.DataFrame(rows)


def spread_over_weights(
    drawn: NDArray[np.int64], per_level: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Functions from common to rare: up to `per_level` of each of a dozen levels of their count."""
    levels = np.unique(np.geomspace(1, drawn.max(), 13).astype(int))
    chosen = [
        rng.permutation(np.flatnonzero((drawn >= a) & (drawn < b)))[:per_level]
        for a, b in pairwise([*levels, drawn.max() + 1])
    ]
    return np.concatenate(chosen)


def class_truth_study(
    functions: Bools,
    drawn: NDArray[np.int64],
    per_level: int,
    sizes: Sequence[int],
    flip: float,
    reps: int,
    rng: np.random.Generator,
    progress: Progress = iter,
) -> pd.DataFrame:
    """Regret of truths that networks compute, under the networks' prior: truth, n, rep, cost (-log w), regret, soft."""
    mixture, rows = BooleanMixture(functions, drawn, flip, lookup_share=0.0), []
    for index in progress(spread_over_weights(drawn, per_level, rng)):
        target = functions[index]
        data = draw_counts(target, flip, sizes, reps, rng)
        for n, counts in zip(sizes, data, strict=True):
            found = {
                "truth": int(index),
                "n": n,
                "rep": range(reps),
                "cost": -mixture.log_prior[index],
                "regret": mixture.regret(target, counts),
                "soft": float(mixture.soft_bound(target, n)),
            }
            rows.append(pd.DataFrame(found))
    return pd.concat(rows, ignore_index=True)


def slope_by_rep(table: pd.DataFrame, x: str, y: str) -> Floats:
    """Least-squares slope of y on x over the truths, for each repetition; shape (reps,)."""
    return np.array([np.polyfit(part[x], part[y], 1)[0] for _, part in table.groupby("rep")])


def switch_points(regrets: pd.DataFrame) -> pd.DataFrame:
    """For each truth: share of data sets that end at the lookup tables, and the median n from which they stay there."""
    rows = []
    for (truth, rep), part in regrets.groupby(["truth", "rep"], sort=False):
        stays = (part.sort_values("n")["lookup"] > 0.5).to_numpy()[::-1].cumprod()[::-1].astype(bool)
        n = np.sort(part["n"].to_numpy())
        rows.append((truth, rep, n[stays].min() if stays.any() else np.nan))
    table = pd.DataFrame(rows, columns=["truth", "rep", "n"])
    groups: Any = table.groupby("truth", sort=False)["n"]
    return pd.DataFrame(
        {"end at the tables": groups.count() / groups.size(), "from n (median)": groups.median()}
    )


def width_study(
    k: int,
    architectures: Sequence[Sequence[int]],
    networks: int,
    batches: int,
    n: int,
    flip: float,
    rng: np.random.Generator,
    progress: Progress = iter,
) -> pd.DataFrame:
    """Regret of the constant truth for several architectures; each batch has its own networks and data set."""
    target, rows = np.ones(2**k, dtype=bool), []
    data = [draw_counts(target, flip, [n], 1, rng)[0] for _ in range(batches)]
    for widths, batch in progress(list(product(architectures, range(batches)))):
        packed, drawn = random_boolean_networks(k, widths, networks, rng)
        mixture = BooleanMixture(unpack(packed, 2**k), drawn, flip)
        regret = float(mixture.regret(target, data[batch])[0])
        soft = float(mixture.soft_bound(target, n))
        name = "–".join(map(str, widths))
        rows.append((name, n_parameters(k, widths), batch, regret, soft))
    return pd.DataFrame(rows, columns=["hidden", "parameters", "batch", "regret", "soft"])


def dilution_study(
    functions: Bools,
    drawn: NDArray[np.int64],
    targets: dict[str, Bools],
    factors: Sequence[int],
    sizes: Sequence[int],
    flip: float,
    reps: int,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Extra regret from adding J junk functions for each one of the class: truth, J, n, rep, extra."""
    base, rows = BooleanMixture(functions, drawn, flip, lookup_share=0.0), []
    for factor in factors:
        junk = rng.random((factor * len(functions), functions.shape[1])) < 0.5
        # the class keeps 1/(1 + J) of the prior, whatever its weights
        weights = np.concatenate([drawn / drawn.sum(), np.full(len(junk), factor / len(junk))])
        large = BooleanMixture(np.concatenate([functions, junk]), weights, flip, lookup_share=0.0)
        for name, target in targets.items():
            for n, counts in zip(sizes, draw_counts(target, flip, sizes, reps, rng), strict=True):
                extra = large.regret(target, counts) - base.regret(target, counts)
                rows += [(name, factor, n, rep, value) for rep, value in enumerate(extra)]
    return pd.DataFrame(rows, columns=["truth", "J", "n", "rep", "extra"])


# -- the chain rule --------------------------------------------------------------------------------------------


def chain_rule(rng: np.random.Generator) -> pd.DataFrame:
    """Online regret beside the sum of the regrets of single predictions, computed apart: three testbeds."""
    coin = BernoulliMixture(0.5)
    rows = [
        (
            "A: coin, n = 200",
            float(coin.regret(0.3, 200)),
            float(coin.batch_regret(0.3, np.arange(1, 201)).sum()),
        )
    ]
    model = LinearGaussianMixture(np.arange(1, 121.0) ** -1)
    theta, X = rng.standard_normal(120), rng.standard_normal((60, 120)) * np.arange(1, 121.0) ** -0.5
    rows.append(
        ("B: regression, d = 120, n = 60", model.regret(theta, X), _sequential_regression(model, theta, X))
    )
    online, supervised = four_cell_regrets(3, 0.1, rng)
    rows.append(("D: four cells, n = 3", online, supervised))
    table = pd.DataFrame(rows, columns=["testbed", "online", "sum of single"]).set_index("testbed")
    return table.assign(difference=(table["online"] / table["sum of single"] - 1).abs())


def _sequential_regression(model: LinearGaussianMixture, theta: Floats, X: Floats) -> float:
    """Sum over t of E D(truth || posterior predictive), with the posterior solved afresh at each t."""
    total = 0.0
    for t in range(len(X)):
        past, x = X[:t], X[t]
        precision = np.eye(model.dim) / model.tau2 + past.T @ past / model.sigma2
        gain = np.linalg.solve(precision, past.T) / model.sigma2  # posterior mean = gain @ y
        variance = model.sigma2 + x @ np.linalg.solve(precision, x)
        bias = x @ (gain @ (past @ theta)) - x @ theta
        error = bias**2 + model.sigma2 * ((x @ gain) ** 2).sum()
        total += (np.log(variance / model.sigma2) + (model.sigma2 + error) / variance - 1) / 2
    return float(total)


def four_cell_regrets(n: int, flip: float, rng: np.random.Generator) -> tuple[float, float]:
    """Online regret and the sum of supervised regrets R_s(0..n-1), over all 8^n data sets of four inputs."""
    tables = ((np.arange(16)[:, None] >> np.arange(4)) & 1).astype(bool)
    prior = rng.dirichlet(np.ones(16))
    truth = tables[rng.integers(16)]

    def loglik(pair: tuple[int, int]) -> Floats:
        return np.log(np.where(tables[:, pair[0]] == pair[1], 1 - flip, flip))

    def own(pair: tuple[int, int]) -> float:
        return float(np.log(1 - flip if truth[pair[0]] == pair[1] else flip))

    mixture, pairs = FiniteMixture(np.log(prior), loglik), list(product(range(4), range(2)))
    online = supervised = 0.0
    for size in range(n + 1):
        for data in product(pairs, repeat=size):
            chance = np.exp(sum(own(pair) for pair in data)) / 4.0**size
            regret = mixture.cumulative_regret(own, data)[-1]
            if size == n:
                online += chance * regret
            else:
                new = sum(np.exp(own(p)) * (own(p) - mixture.predict(p)) for p in pairs) / 4
                supervised += chance * float(new)
    return float(online), float(supervised)


# -- optimality ------------------------------------------------------------------------------------------------


def coin_class(n: int, count: int = 199) -> tuple[Floats, Floats]:
    """Coins 1/(count+1), ..., count/(count+1) and their laws of the number of ones in n tosses, (T, n + 1)."""
    theta = np.arange(1, count + 1) / (count + 1)
    return theta, binom.pmf(np.arange(n + 1), n, theta[:, None])


def learners_outside(n: int, rng: np.random.Generator) -> dict[str, Floats]:
    """Laws of the number of ones under learners: normalised ML, random, lumpy, a normalised two-part code."""
    k = np.arange(n + 1)
    coins = (np.arange(5) + 0.5) / 5
    raw = {
        "normalised ML": binom.pmf(k, n, k / n),
        "random": rng.dirichlet(np.ones(n + 1)),
        "lumpy": np.where(k % 3 == 0, 3.0, 1.0),
        "two-part code": binom.pmf(k, n, coins[:, None]).max(0),
    }
    return {name: law / law.sum() for name, law in raw.items()}


def projection_study(n: int, rng: np.random.Generator, tol: float = 1e-8) -> pd.DataFrame:
    """Learners before and after projection: learner, theta, before, after (nats), distance, gap."""
    theta, P = coin_class(n)
    parts = []
    for name, Q in learners_outside(n, rng).items():
        found = hull.project_on_hull(Q, P, tol)
        distance = float(hull.divergences(found.Q_prime[None], Q)[0])
        parts.append(
            pd.DataFrame(
                {
                    "learner": name, "theta": theta, "before": hull.divergences(P, Q),
                    "after": hull.divergences(P, found.Q_prime), "distance": distance, "gap": found.gap,
                }
            )
        )  # fmt: skip
    table = pd.concat(parts, ignore_index=True)
    return table.assign(gain=table["before"] - table["after"])


class CapacityStudy(NamedTuple):
    """How many truths pay less than the minimax regret."""

    shares: pd.DataFrame  # learner, kappa, share, bound
    capacity: hull.Capacity


def capacity_study(
    n: int, kappas: ArrayLike, specialists: Sequence[float], tol: float = 5e-3
) -> CapacityStudy:
    """Share, under the capacity-achieving prior, of truths that pay at most (1 - kappa) C, for several learners.

    A *specialist* is the capacity mixture restricted to the middle coins of a given prior mass: nothing does
    better for those coins, so it comes close to the bound.
    """
    theta, P = coin_class(n)
    capacity = hull.blahut_arimoto(P, tol)
    prior, C = capacity.prior, capacity.value
    mixtures = {"capacity mixture": prior, "uniform mixture": np.full(len(theta), 1 / len(theta))}
    order = np.argsort(np.abs(theta - 0.5), kind="stable")
    for mass in specialists:
        inside = np.zeros(len(theta), dtype=bool)
        inside[order[np.cumsum(prior[order]) <= mass]] = True
        if prior[inside].sum() > 0:
            mixtures[f"specialist for {mass:.0%}"] = np.where(inside, prior, 0) / prior[inside].sum()
    rows = []
    for name, weights in mixtures.items():
        regrets = hull.divergences(P, weights @ P)
        for kappa in np.asarray(kappas, dtype=float):
            share = float(prior[regrets <= (1 - kappa) * C].sum())
            rows.append((name, kappa, share, float(np.exp(1 - kappa * C))))
    return CapacityStudy(pd.DataFrame(rows, columns=["learner", "kappa", "share", "bound"]), capacity)


def outside_study(
    networks: int, sizes: Sequence[int], reps: int, rng: np.random.Generator, progress: Progress = iter
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Parity on seven bits, which no random network computes: regret with and without lookup tables.

    Returns
    -------
    regrets : DataFrame
        Columns prior, n, rep, regret (nats).
    bounds : DataFrame
        Columns n, soft: the soft bound of the class with lookup tables.
    """
    packed, drawn = random_boolean_networks(7, (40, 40), networks, rng, progress)
    functions, parity = unpack(packed, 128), named_targets(7, rng)["parity"]
    data, rows = draw_counts(parity, 0.1, sizes, reps, rng), []
    mixtures = {
        "networks alone": BooleanMixture(functions, drawn, 0.1, lookup_share=0.0),
        "networks and lookup tables": BooleanMixture(functions, drawn, 0.1),
    }
    for name, mixture in mixtures.items():
        for n, counts in zip(sizes, data, strict=True):
            rows += [(name, n, rep, value) for rep, value in enumerate(mixture.regret(parity, counts))]
    soft = mixtures["networks and lookup tables"].soft_bound(parity, sizes)
    return pd.DataFrame(rows, columns=["prior", "n", "rep", "regret"]), pd.DataFrame(
        {"n": sizes, "soft": soft}
    )
