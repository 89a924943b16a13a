"""LA-SDP beside general conic solvers: ``python bench/optimization/ila_sdp.py [--n 30 60] [--largest 1000]``.

The same programmes (K = 3, unequal covariances, some data sets overlapping) by the package and, through cvxpy, by SCS
and CLARABEL. The reference optimum is SCS's at 1e-7. Each first-order solver gets a ladder of tolerances, and the
time that counts is that of the loosest one whose own optimum is within 1e-3 of the reference. CPU seconds, one
thread each, without cvxpy's modelling. Then time, iterations and memory of ours against n, on well-separated data
that end with a certificate.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import cvxpy
import numpy as np
from threadpoolctl import threadpool_limits

from loglik.optimization.ila_sdp import la_sdp, misclustering_error, pairwise_costs, simulate

CLARABEL_UP_TO = 40  # rows; an interior-point step factorises a matrix of order n² and more


def conic_problem(costs: np.ndarray) -> cvxpy.Problem:
    K, n, _ = costs.shape
    Z = [cvxpy.Variable((n, n), PSD=True) for _ in range(K)]
    constraints = [z >= 0 for z in Z] + [cvxpy.trace(z) == 1 for z in Z]
    constraints.append(cvxpy.sum([cvxpy.sum(z, axis=1) for z in Z], axis=0) == 1)
    objective = sum(cvxpy.sum(cvxpy.multiply(c, z)) for c, z in zip(costs, Z, strict=True))
    return cvxpy.Problem(cvxpy.Minimize(objective), constraints)


def conic_seconds(costs: np.ndarray, solver: str, **options: Any) -> tuple[float, float, float]:
    """CPU seconds of the solver, CPU seconds of cvxpy's modelling before it, and the optimum."""
    problem = conic_problem(costs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = time.process_time()
        problem.get_problem_data(solver)  # cached, so solve() below doesn't do it again
        modelled = time.process_time()
        problem.solve(solver=solver, **options)
        solved = time.process_time()
    return solved - modelled, modelled - start, float(problem.value)


def ours_seconds(costs: np.ndarray, repeats: int = 3, **options: Any) -> tuple[float, Any]:
    found, result = [], None
    for _ in range(repeats):
        start = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = la_sdp(costs, **options)
        found.append(time.process_time() - start)
    return min(found), result


def ladder(
    rungs: Sequence[float], solve: Callable[[float], tuple[float, float]], optimum: float
) -> tuple[float, float, float]:
    """Seconds, tolerance and relative error at the first rung whose optimum is within 1e-3."""
    for rung in rungs:
        seconds, value = solve(rung)
        error = abs(value / optimum - 1)
        if error <= 1e-3:
            return seconds, rung, error
    raise RuntimeError(f"no tolerance down to {rungs[-1]} reached 1e-3: {error:.1e}")


def beside_peers(n: int, seeds: int) -> None:
    print(
        f"{'n':>4}{'sep':>5}{'seed':>5}  {'solver':12}{'CPU s':>9}{'tolerance':>11}{'error':>9}{'x ours':>8}"
    )
    ratios = []
    for separation, seed in itertools.product((6.0, 9.0), range(seeds)):
        draw = simulate.stretched_gmm(n, 3, 4, separation, 3.0, np.random.default_rng(seed))
        costs = pairwise_costs(draw.X, draw.covariances)
        reference = conic_seconds(costs, "SCS", eps_abs=1e-7, eps_rel=1e-7, max_iters=50_000)[2]

        def ours(tol: float, costs: np.ndarray = costs) -> tuple[float, float]:
            seconds, result = ours_seconds(costs, tol=tol, gap_tol=1e-4, max_iter=3000)
            return seconds, float(result.objective)

        def scs(eps: float, costs: np.ndarray = costs) -> tuple[float, float]:
            found = [
                conic_seconds(costs, "SCS", eps_abs=eps, eps_rel=eps, max_iters=50_000) for _ in range(3)
            ]
            return min(f[0] for f in found), found[0][2]

        table = {
            "loglik": ladder((1e-3, 3e-4, 1e-4, 3e-5, 1e-5), ours, reference),
            "SCS": ladder((1e-2, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5), scs, reference),
        }
        if n <= CLARABEL_UP_TO:
            seconds, _, value = conic_seconds(costs, "CLARABEL")
            table["CLARABEL"] = seconds, np.nan, abs(value / reference - 1)
        for name, (seconds, tol, error) in table.items():
            ratio = seconds / table["loglik"][0]
            print(
                f"{n:4}{separation:5.0f}{seed:5}  {name:12}{seconds:9.3f}{tol:11.0e}{error:9.0e}{ratio:8.1f}",
                flush=True,
            )
        ratios.append(table["SCS"][0] / table["loglik"][0])
    print(
        f"n = {n}: SCS over loglik, median {np.median(ratios):.1f}, from {min(ratios):.1f} to {max(ratios):.1f}\n"
    )


def against_n(largest: int) -> None:
    print(
        f"\n{'n':>6}{'CPU s':>10}{'iterations':>12}{'proven':>8}{'error':>8}{'peak MB':>10}   slope from the line above"
    )
    before = None
    n = 125
    while n <= largest:
        draw = simulate.stretched_gmm(n, 3, 4, 9.0, 3.0, np.random.default_rng(0))
        costs = pairwise_costs(draw.X, draw.covariances)
        seconds, result = ours_seconds(costs, 1, tol=1e-4, max_iter=400)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        slope = "" if before is None else f"{np.log(seconds / before) / np.log(2):.2f}"
        error = misclustering_error(result.labels, draw.labels)
        print(
            f"{n:6}{seconds:10.2f}{int(result.n_iter):12}{result.certified!s:>8}{error:8.3f}{memory:10.0f}   {slope}",
            flush=True,
        )
        before, n = seconds, 2 * n


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, nargs="+", default=[30, 60], help="rows beside the peers")
    parser.add_argument(
        "--largest", type=int, default=1000, help="rows up to which ours is timed; 0 leaves it out"
    )
    parser.add_argument("--seeds", type=int, default=3, help="data sets at each separation")
    args = parser.parse_args()
    for n in args.n:
        beside_peers(n, args.seeds)
    against_n(args.largest)


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
