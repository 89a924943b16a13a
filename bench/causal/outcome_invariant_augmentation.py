"""IVL's closed form beside the official construction, in one run.

    python bench/causal/outcome_invariant_augmentation.py [--n 2048] [--penalties 10]

The peer is the official code's algebra, written anew from its formula: per penalty it forms the n x n projection
P onto the parameters, K = (sqrt(1 + a) - sqrt(a)) P + sqrt(a) I, and solves (K GX)^+ (K y) by a pseudo-inverse. Ours
factorises once for all penalties. Same data, one thread each, coefficients compared.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from collections.abc import Callable

import numpy as np
from threadpoolctl import threadpool_limits

from loglik.causal.outcome_invariant_augmentation import ivl_path
from loglik.causal.outcome_invariant_augmentation.study import draw_batch


def official(X: np.ndarray, y: np.ndarray, G: np.ndarray, alphas: np.ndarray) -> np.ndarray:
    found = []
    for alpha in alphas:
        projection = G @ np.linalg.pinv(G.T @ G) @ G.T
        K = (np.sqrt(1 + alpha) - np.sqrt(alpha)) * projection + np.sqrt(alpha) * np.eye(len(y))
        found.append(np.linalg.pinv(K @ X) @ (K @ y))
    return np.array(found)


def best_of(repeats: int, work: Callable[[], object]) -> float:
    found = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def peak(work: Callable[[], object]) -> float:
    tracemalloc.start()
    work()
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=2048, help="rows")
    parser.add_argument("--penalties", type=int, default=10, help="penalties on the path")
    args = parser.parse_args()
    batch = draw_batch(1, args.n, 32, seed=0)
    data = batch.X_aug[0], batch.y[0], batch.G[0]
    alphas = np.logspace(-4, 0, args.penalties)
    gap = np.abs(ivl_path(*data, alphas) - official(*data, alphas)).max()
    one = [best_of(5, lambda: ivl_path(*data, alphas[:1])), best_of(2, lambda: official(*data, alphas[:1]))]
    all_ = [best_of(5, lambda: ivl_path(*data, alphas)), best_of(1, lambda: official(*data, alphas))]
    memory = [peak(lambda f=f: f(*data, alphas[:1])) for f in (ivl_path, official)]
    print(f"n = {args.n}, 32 treatments, 31 parameters; coefficients agree to {gap:.0e}")
    print(f"{'CPU seconds':24}{'ours':>10}{'official':>10}{'ratio':>8}")
    for name, (ours, peer) in (("one penalty", one), (f"{args.penalties} penalties", all_)):
        print(f"{name:24}{ours:10.4f}{peer:10.3f}{peer / ours:8.0f}")
    print(f"{'peak memory, MB':24}{memory[0]:10.1f}{memory[1]:10.1f}{memory[1] / memory[0]:8.0f}")


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
