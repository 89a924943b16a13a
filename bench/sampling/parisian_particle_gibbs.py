"""PaRIS particle Gibbs beside the library `particles`: time of one smoothing pass, and accuracy for the same time.

    python bench/sampling/parisian_particle_gibbs.py [--particles 40] [--chains 500] [--peer-runs 5]

Linear Gaussian model (a 0.9, state sd 0.6, observation sd 0.3), 50 steps, functional sum of x_t x_{t+1}; one thread
each, one process, the same series. The peer's collector is `Online_smooth_ON2`, the exact O(N²) forward smoother
(its `Paris` collector fails on numpy 2). Ours runs many independent passes side by side, which is its use.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import jax
import numpy as np

from loglik.sampling.parisian_particle_gibbs import (
    LinearGaussianModel,
    exact_additive,
    paris,
    ppg,
    simulate,
    study,
)

INSTALL = "pip install --no-deps particles==0.4 numba llvmlite"
A, Q, R, T = 0.9, 0.6, 0.3, 50


def peer(y: np.ndarray, n: int) -> Callable[[], float]:
    """One run of the peer on the same model."""
    try:
        warnings.simplefilter("ignore")
        import particles
        from particles import collectors, distributions, state_space_models
    except ModuleNotFoundError as error:
        sys.exit(f"{error}\nthe peer declares numpy<2 but runs with numpy 2; install it beside:\n  {INSTALL}")

    class Line(state_space_models.StateSpaceModel):
        PX0 = staticmethod(lambda: distributions.Normal(scale=Q / np.sqrt(1 - A * A)))
        PX = staticmethod(lambda t, xp: distributions.Normal(loc=A * xp, scale=Q))
        PY = staticmethod(lambda t, xp, x: distributions.Normal(loc=x, scale=R))
        add_func = staticmethod(lambda t, xp, x: np.zeros_like(x) if xp is None else xp * x)
        upper_bound_log_pt = staticmethod(lambda t: -np.log(Q) - 0.5 * np.log(2 * np.pi))

    model = state_space_models.Bootstrap(ssm=Line(), data=y)

    def run() -> float:
        collect = [collectors.Online_smooth_ON2()]
        smc = particles.SMC(fk=model, N=n, collect=collect, resampling="multinomial", ESSrmin=1.0)
        smc.run()
        return float(np.ravel(smc.summaries.online_smooth_ON2[-1])[0])

    return run


def timed(work, repeats: int):
    """Best seconds of `repeats` calls, and the last result."""
    best, result = np.inf, None
    for _ in range(repeats):
        start = time.process_time()
        result = work()
        best = min(best, time.process_time() - start)
    return best, result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--particles", type=int, default=40)
    parser.add_argument("--chains", type=int, default=500, help="independent passes of ours, side by side")
    parser.add_argument("--peer-runs", type=int, default=20)
    args = parser.parse_args()
    model, n = LinearGaussianModel.scalar(A, Q, R), args.particles
    y = simulate(model, T, jax.random.key(0))[1][:, 0]
    exact = exact_additive(model, y, "cross")[0]
    run = peer(y, n)
    run()  # numba compiles
    found = [timed(run, 1) for _ in range(args.peer_runs)]
    peer_seconds = min(seconds for seconds, _ in found)
    peer_errors = np.array([value for _, value in found]) - exact
    rows = [(f"particles, Online_smooth_ON2, N = {n}", peer_seconds, peer_errors)]
    for name, m, method in (
        (f"loglik, PaRIS, N = {n}, M = 2", 2, "exact"),
        (f"loglik, FFBSm, N = {n}", 1, "expectation"),
    ):

        def work(m=m, method=method):
            return paris(
                model, y, study.cross, n, m, key=jax.random.key(1), n_chains=args.chains, method=method
            )

        work()  # XLA compiles
        seconds, estimates = timed(work, 3)
        rows.append((name, seconds / args.chains, estimates[:, 0] - exact))

    def gibbs():
        return ppg(model, y, study.cross, 10, 19, key=jax.random.key(2), n_chains=args.chains)

    gibbs()
    seconds, result = timed(gibbs, 1)
    rows.append(("loglik, PPG, 10 × 20, 10 left out", seconds / args.chains, result.rollout(9)[:, 0] - exact))
    print(f"{'':38}{'ms a run':>10}{'× faster':>10}{'bias':>16}{'sd':>8}{'(bias²+var) × ms':>18}")
    for name, seconds, e in rows:
        ms, ratio = 1e3 * seconds, peer_seconds / seconds
        bias = f"{e.mean():+.2f} ± {e.std(ddof=1) / np.sqrt(len(e)):.2f}"
        print(f"{name:38}{ms:10.3f}{ratio:10.1f}{bias:>16}{e.std(ddof=1):8.2f}{ms * (e**2).mean():18.2f}")


if __name__ == "__main__":
    main()
