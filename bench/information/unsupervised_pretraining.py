"""EM for a mixture beside scikit-learn's, one iteration at a time, and a cell of a map beside raw rows.

    python bench/information/unsupervised_pretraining.py [--rows 16000] [--clusters 8] [--columns 30]

One thread each, the same data and the same start. scikit-learn also fits weights and covariances, which our
model knows; `spherical` does the least of that. The last two lines time what the maps are made of: the second
moments of many data sets, drawn as Wishart matrices and from raw rows.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits

from loglik.information.unsupervised_pretraining import draw_moments, simulate_gmm
from loglik.information.unsupervised_pretraining.em import fit_mixture, spread_starts
from loglik.information.unsupervised_pretraining.informative import match_centers

ITERATIONS = 20


def best_of(repeats: int, work: Callable[[], object]) -> float:
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=16_000)
    parser.add_argument("--clusters", type=int, default=8)
    parser.add_argument("--columns", type=int, default=30)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    K, d = args.clusters, args.columns
    X = simulate_gmm(args.rows, 0.6 * rng.normal(size=(K, d)), np.arange(K) % 2, 0.1, rng).X
    start = spread_starts(X[None], K, 1, rng)
    ours = best_of(7, lambda: fit_mixture(X[None], start, tol=-np.inf, max_iter=ITERATIONS)) / ITERATIONS
    print(f"{'':44}{'ms an iteration':>16}{'× ours':>9}")
    print(f"{'loglik (identity covariance)':44}{1e3 * ours:16.2f}")
    warnings.simplefilter("ignore", ConvergenceWarning)
    fitted = fit_mixture(X[None], start)
    for kind in ("spherical", "diag", "tied"):

        def peer(iterations: int, kind: str = kind) -> GaussianMixture:
            model = GaussianMixture(
                K, covariance_type=kind, means_init=start[0, 0], tol=0, max_iter=iterations,
                weights_init=np.full(K, 1 / K), init_params="random_from_data", random_state=0,
            )  # fmt: skip
            return model.fit(X)

        spent = best_of(5, lambda: peer(ITERATIONS)) - best_of(5, lambda: peer(1))
        each = spent / (ITERATIONS - 1)
        note = ""
        if kind == "spherical":
            means = peer(200).means_
            gap = np.abs(means[match_centers(means, fitted.centers[0])] - fitted.centers[0]).max()
            note = f"   centres within {gap:.0e} of ours"
        print(f"{'scikit-learn, ' + kind:44}{1e3 * each:16.2f}{each / ours:9.1f}{note}")
    wishart = best_of(5, lambda: draw_moments(np.eye(50), 4096, 20, rng))

    def raw() -> object:
        rows = rng.normal(size=(20, 4096, 50))
        return rows.swapaxes(1, 2) @ rows

    print(f"\n{'second moments of 20 × 4096 rows, 50 columns':44}{'ms':>16}{'× ours':>9}")
    print(f"{'Wishart (Bartlett)':44}{1e3 * wishart:16.2f}")
    slow = best_of(3, raw)
    print(f"{'raw rows':44}{1e3 * slow:16.2f}{slow / wishart:9.0f}")


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
