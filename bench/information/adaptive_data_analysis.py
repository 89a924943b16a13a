"""The chapter's hot paths beside the plain way of doing the same.

    python bench/information/adaptive_data_analysis.py [--n 10000] [--d 10000]

1. One repetition of the variable-selection experiment. Peer: the published script's way, three dense n × d tables
   and one size of the classifier at a time (re-implemented here; the original is Python 2 without a licence).
2. The aggregation attack with a batch of answers. Peer: one query at a time.
3. Private multiplicative weights in blocks. Peer: one query at a time.

All on one thread. Both ways of 2 and 3 give the same transcript; those of 1 have the same law.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from threadpoolctl import threadpool_limits

from loglik.information.adaptive_data_analysis import (
    PMW,
    GaussianMechanism,
    thresholdout,
    variable_selection_experiment,
)
from loglik.information.adaptive_data_analysis.analysts import random_signs, vote_signs
from loglik.information.adaptive_data_analysis.selection import KS, ranked
from loglik.information.adaptive_data_analysis.study import biased_bits


def best_of(repeats: int, work: Callable[[], object]) -> float:
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)


def dense_one_k_at_a_time(n: int, d: int, rng: np.random.Generator) -> np.ndarray:
    """Accuracies (method, k, set): the tables are drawn in full, and each classifier runs over them alone."""
    labels = [np.sign(rng.normal(size=n)) for _ in range(3)]
    tables = [rng.normal(size=(n, d)) for _ in range(3)]
    corr = [X.T @ y / n for X, y in zip(tables, labels, strict=True)]
    kept = thresholdout(corr[0], corr[1], 4 / np.sqrt(n), n**-0.5, rng)
    orders = [ranked(corr[0], corr[1], n), ranked(corr[0], kept, n)]
    accuracies = np.full((2, len(KS), 3), 0.5)
    for method, order in enumerate(orders):
        for i, k in enumerate(KS[1:], 1):
            chosen = order[:k]
            weights = np.sign(corr[0][chosen])
            for part in range(3):
                guess = np.sign(tables[part][:, chosen] @ weights)
                accuracies[method, i, part] = (guess == labels[part]).mean()
    return accuracies


def attack(n: int, m: int, batch: bool) -> np.ndarray:
    table = random_signs(m, n, np.random.default_rng(1))
    mechanism = GaussianMechanism(np.empty(n), 0.02, np.random.default_rng(2))
    if batch:
        return vote_signs(mechanism.answer_many(table)) @ table.astype(np.float32)
    votes = np.zeros(n)
    for query in table:
        votes += vote_signs(np.array([mechanism.answer(query)])) * query
    return votes


def weights(bits: int, m: int, batch: bool) -> np.ndarray:
    rng = np.random.default_rng(3)
    D = biased_bits(bits)
    mechanism = PMW(rng.multinomial(4000, D), 0.095, 0.011, 0.05, 5000, rng)
    table = random_signs(m, len(D), rng)
    if batch:
        return mechanism.answer_many(table)
    return np.array([mechanism.answer(query) for query in table])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=10_000, help="rows a set")
    parser.add_argument("--d", type=int, default=10_000, help="variables; the dense peer needs 24 n d bytes")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    fast = best_of(3, lambda: variable_selection_experiment(args.n, args.d, KS, False, rng))
    slow = best_of(1, lambda: dense_one_k_at_a_time(args.n, args.d, rng))
    rows = [(f"variable selection, n = {args.n}, d = {args.d}", fast, slow, "dense, one k at a time")]
    np.testing.assert_allclose(attack(1000, 2000, True), attack(1000, 2000, False))
    rows.append(
        (
            "aggregation attack, n = 1000, m = 2000",
            best_of(3, lambda: attack(1000, 2000, True)),
            best_of(1, lambda: attack(1000, 2000, False)),
            "one query at a time",
        )
    )
    np.testing.assert_allclose(weights(12, 1000, True), weights(12, 1000, False), atol=1e-12)
    rows.append(
        (
            "PMW, 4096 points, m = 2000",
            best_of(3, lambda: weights(12, 2000, True)),
            best_of(1, lambda: weights(12, 2000, False)),
            "one query at a time",
        )
    )
    print(f"{'':42}{'seconds':>10}{'peer':>10}{'ratio':>8}")
    for name, ours, peer, note in rows:
        print(f"{name:42}{ours:10.4f}{peer:10.3f}{peer / ours:8.0f}  {note}")


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
