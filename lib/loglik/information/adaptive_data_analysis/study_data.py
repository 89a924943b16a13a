"""The chapter's studies on real data: abalone, breast cancer, red wine."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer

from loglik.information.adaptive_data_analysis import theory
from loglik.information.adaptive_data_analysis.accounting import Floats
from loglik.information.adaptive_data_analysis.analysts import (
    HistogramMechanism,
    greedy_analyst,
    random_signs,
)
from loglik.information.adaptive_data_analysis.mechanisms import Mechanism
from loglik.information.adaptive_data_analysis.pmw import PMW
from loglik.information.adaptive_data_analysis.selection import holdout_on_table
from loglik.information.adaptive_data_analysis.study import (
    GAUSSIAN,
    NAIVE,
    PRIVATE_MW,
    Progress,
    Seed,
    repetitions,
)
from loglik.information.tables import abalone, red_wine


class Labelled(NamedTuple):
    """A table with a label of two kinds."""

    X: pd.DataFrame  # (rows, features), standardised
    y: Floats  # (rows,) ±1


def load_abalone_sex() -> Labelled:
    """Adult abalones, male (1) or female (−1), by seven log sizes and ratios and their products: 35 features.

    Rows of height 0 are dropped.
    """
    table = abalone()
    table = table[(table.sex != "I") & (table.height > 0)].reset_index(drop=True)
    numbers = table.drop(columns="sex")
    L = pd.DataFrame(np.log(numbers.to_numpy()), columns=numbers.columns)
    ratios = pd.DataFrame(
        {
            "length": L.length,
            "diameter": L.diameter - L.length,
            "height": L.height - L.length,
            "whole": L.whole_weight - 3 * L.length,
            "shucked": L.shucked_weight - L.whole_weight,
            "viscera": L.viscera_weight - L.whole_weight,
            "shell": L.shell_weight - L.whole_weight,
        }
    )
    ratios = (ratios - ratios.mean()) / ratios.std(ddof=0)
    pairs = itertools.combinations_with_replacement(ratios.columns, 2)
    products = pd.DataFrame({f"{a} × {b}": ratios[a] * ratios[b] for a, b in pairs})
    X = pd.concat([ratios, products], axis=1)
    return Labelled((X - X.mean()) / X.std(ddof=0), np.where(table.sex == "M", 1.0, -1.0))


def load_cancer() -> Labelled:
    """Breast cancer (569 × 30 from scikit-learn), benign 1, malignant −1."""
    bunch = load_breast_cancer(as_frame=True)
    X = np.log1p(bunch.data)
    return Labelled((X - X.mean()) / X.std(ddof=0), np.where(bunch.target == 1, 1.0, -1.0))


def probe_study(
    data: Labelled,
    probes: int,
    ks: Sequence[int],
    splits: int,
    seed: Seed,
    *,
    permute: bool = False,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Variable selection among real features and noise probes, over random splits into three parts.

    Columns rep, method, k, train, holdout, fresh, selected, bias (reported minus fresh). `permute` shuffles
    the labels first, so that nothing is left to find.
    """
    tables = []
    for rep, rng in repetitions(seed, splits, progress):
        y = rng.permutation(data.y) if permute else data.y
        X = np.hstack([data.X.to_numpy(), rng.normal(size=(len(y), probes))])
        found = pd.DataFrame(holdout_on_table(X, y, ks, rng)._asdict())
        tables.append(found.assign(rep=rep, bias=found.holdout - found.fresh))
    return pd.concat(tables, ignore_index=True)


def wine_universe() -> tuple[Floats, Floats]:
    """Red wine split at its medians: bits of all 2048 cells (2048, 11) and the share of wines in each."""
    wine = red_wine()
    codes = (wine > wine.median()).to_numpy() @ (1 << np.arange(wine.shape[1]))
    cells = (np.arange(2 ** wine.shape[1])[:, None] >> np.arange(wine.shape[1])) & 1
    return cells.astype(float), np.bincount(codes, minlength=len(cells)) / len(wine)


def easy_queries(cells: Floats) -> Floats:
    """Marginals and parities of two bits as ±1 queries, shape (66, cells) for eleven bits."""
    signs = 2 * cells.T - 1
    pairs = [signs[a] * signs[b] for a, b in itertools.combinations(range(len(signs)), 2)]
    return np.vstack([signs, *pairs])


def greedy_study(
    n: int, rounds: int, reps: int, seed: Seed, *, sigma: float = 0.7, T: float = 6.0, eta: float = 0.05
) -> pd.DataFrame:
    """PMW on the wine universe against an analyst who asks what its histogram knows least.

    The pool is the easy queries and 1000 random ones. Columns rep, updates, bound (updates that the potential
    argument allows before KL(S‖h) would be negative, with the true gaps), first, last (mean error over the
    first and last tenth of the rounds).
    """
    cells, D = wine_universe()
    rows = []
    for rep, rng in repetitions(seed, reps):
        hist = rng.multinomial(n, D)
        mechanism = PMW(hist, T / np.sqrt(n), sigma / np.sqrt(n), eta, 10**6, rng)
        start = mechanism.potential
        pool = np.vstack([easy_queries(cells), random_signs(1000, len(D), rng)])
        errors = greedy_analyst(mechanism, D, pool, rounds)
        tenth = max(rounds // 10, 1)
        fall = np.mean([sign * eta * gap - eta**2 / 2 for gap, sign in mechanism.alarms])
        rows.append((rep, mechanism.n_updates, start / fall, errors[:tenth].mean(), errors[-tenth:].mean()))
    return pd.DataFrame(rows, columns=["rep", "updates", "bound", "first", "last"])


def wine_study(
    ns: Sequence[int],
    m: int,
    reps: int,
    seed: Seed,
    *,
    sigma: float = 0.7,
    T: float = 6.0,
    eta: float = 0.05,
    max_updates: int = 5000,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Easy queries first, then m random ones and the aggregated query, on the wine universe.

    Columns rep, n, mechanism, easy (largest error on marginals and parities), random, final, updates.
    """
    cells, D = wine_universe()
    easy = easy_queries(cells)
    rows = []
    for rep, rng in repetitions(seed, reps, progress):
        for n in ns:
            hist = rng.multinomial(n, D)
            noise = float(theory.best_sigma(m, n, width=2.0))
            mechanisms: dict[str, Mechanism] = {
                NAIVE: HistogramMechanism(hist, 0.0, rng),
                GAUSSIAN: HistogramMechanism(hist, noise, rng),
                PRIVATE_MW: PMW(
                    hist, T / np.sqrt(n), sigma / np.sqrt(n), eta, max_updates, rng, on_exhausted="nan"
                ),
            }
            table = random_signs(m, len(D), rng)
            for name, mechanism in mechanisms.items():
                first = np.abs(mechanism.answer_many(easy) - easy @ D).max()
                error = mechanism.answer_many(table) - table.astype(np.float32) @ D.astype(np.float32)
                final = np.sign(np.sign(error).astype(np.float32) @ table.astype(np.float32)).astype(float)
                last = abs(mechanism.answer(final) - final @ D)
                updates = getattr(mechanism, "n_updates", 0)
                rows.append((rep, n, name, first, np.abs(error).max(), last, updates))
    return pd.DataFrame(rows, columns=["rep", "n", "mechanism", "easy", "random", "final", "updates"])
