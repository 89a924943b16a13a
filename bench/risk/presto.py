"""PRESTO's path beside its peers: the released R code, and a general-purpose optimiser in scipy.

    python bench/risk/presto.py [--r-checkout FOLDER] [--r-lambdas 5]

Times one path of 20 penalties (2500 rows, 10 features, 4 classes, 33 parameters), one thread each, on the same data.
`FOLDER` is a checkout of github.com/gregfaletto/presto; R needs no further packages. `--r-lambdas 5` stops
R's path early and compares with our time for the same penalties. At its default threshold R stops about 1e-3
short of the solution in some coefficients; `--r-threshold 1e-14` brings it to 1e-5 of ours and takes longer.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from loglik.risk.presto import (
    PrestoPath,
    class_probabilities,
    linear_predictors,
    presto_path,
    simulate_sparse,
)
from loglik.risk.presto.released import increments, released_intercepts

R_SCRIPT = """
args <- commandArgs(trailingOnly = TRUE)
setwd(args[1]); folder <- args[2]
for (f in c("cdIn", "cdOut", "links", "mirlsNet", "misc", "ordinalNet-methods", "ordinalNet"))
  source(file.path("ordinalNet modified", paste0(f, ".R")))
d <- as.matrix(read.csv(file.path(folder, "data.csv"), header = FALSE))
X <- d[, -ncol(d)]; colnames(X) <- paste0("x", seq_len(ncol(X)))
y <- factor(d[, ncol(d)], ordered = TRUE)
lambdas <- scan(file.path(folder, "lambdas.csv"), quiet = TRUE)
seconds <- system.time(fit <- ordinalNetMod(X, y, family = "cumulative", link = "logit", lambdaVals = lambdas,
  threshOut = as.numeric(args[3]), threshIn = as.numeric(args[3]), maxiterOut = 500, warn = FALSE))[["elapsed"]]
write.table(rbind(c(seconds, rep(0, ncol(fit$coefs) - 1)), fit$coefs), file.path(folder, "out.csv"), sep = ",",
  row.names = FALSE, col.names = FALSE)
"""


def best_of(repeats: int, work: Callable[[], object]) -> float:
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)


def scipy_path(X: np.ndarray, y: np.ndarray, lambdas: np.ndarray) -> list[float]:
    """The same objective by L-BFGS-B on psi split into positive and negative parts; objective values."""
    Z = (X - X.mean(0)) / X.std(0)
    n, p, J = *Z.shape, int(y.max())
    v = np.concatenate([presto_path(X, y, lambdas[:1]).intercepts[0], np.zeros(2 * J * p)])
    bounds = [(None, None)] * J + [(0, None)] * (2 * J * p)
    rows, values = np.arange(n), []

    def objective(v, lam):
        psi = (v[J : J + J * p] - v[J + J * p :]).reshape(J, p)
        eta = linear_predictors(v[:J], psi.cumsum(0), Z)
        own = class_probabilities(eta)[rows, y]
        if (own <= 0).any():
            return 1e10, np.zeros_like(v)
        F = 1 / (1 + np.exp(-eta))
        step = (y[:, None] == np.arange(J)) * 1.0 - (y[:, None] == np.arange(1, J + 1))
        u = -F * (1 - F) * step / own[:, None] / n
        g = (u.T @ Z)[::-1].cumsum(0)[::-1].ravel()
        return -np.log(own).mean() + lam * v[J:].sum(), np.concatenate([u.sum(0), g + lam, lam - g])

    for lam in lambdas:
        found = minimize(
            objective, v, (lam,), "L-BFGS-B", True, bounds=bounds, options={"maxiter": 5000, "ftol": 1e-13}
        )
        v = found.x
        values.append(float(found.fun))
    return values


def run_r(
    checkout: Path, X: np.ndarray, y: np.ndarray, lambdas: np.ndarray, threshold: float
) -> tuple[float, np.ndarray]:
    """Seconds and coefficients (m, P) of the released R code."""
    with tempfile.TemporaryDirectory() as folder:
        np.savetxt(Path(folder, "data.csv"), np.column_stack([X, y + 1]), delimiter=",", fmt="%.17g")
        np.savetxt(Path(folder, "lambdas.csv"), lambdas, fmt="%.17g")
        script = Path(folder, "run.R")
        script.write_text(R_SCRIPT, encoding="utf-8")
        alone = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        subprocess.run(["Rscript", str(script), str(checkout), folder, str(threshold)], check=True, env=alone)
        out = np.loadtxt(Path(folder, "out.csv"), delimiter=",")
    return float(out[0, 0]), out[1:]


def largest_difference(path: PrestoPath, coefs: np.ndarray, X: np.ndarray) -> float:
    """Largest difference of any coefficient after giving ours the released intercepts (fault B) and psi."""
    J = path.intercepts.shape[1]
    alpha = released_intercepts(path.intercepts, path.coefs, X.mean(0))
    ours = np.column_stack([alpha, increments(path.coefs).reshape(len(alpha), -1)])
    assert ours.shape[1] == coefs.shape[1], (ours.shape, coefs.shape, J)
    return float(np.abs(ours - coefs).max())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--r-checkout", type=Path, help="checkout of github.com/gregfaletto/presto")
    parser.add_argument("--r-lambdas", type=int, default=20, help="penalties that R fits, from the largest")
    parser.add_argument(
        "--r-threshold", type=float, default=1e-8, help="R's convergence threshold; its default"
    )
    args = parser.parse_args()
    draw = simulate_sparse(2500, 10, 4, (0, 3, 5), 0.5, rng=np.random.default_rng(0))
    lambdas = presto_path(draw.X, draw.y).lambdas
    ours = presto_path(draw.X, draw.y, lambdas)
    rows = [("loglik, 20 penalties", best_of(5, lambda: presto_path(draw.X, draw.y, lambdas)), None, "")]
    start = time.perf_counter()
    peer = np.array(scipy_path(draw.X, draw.y, lambdas))
    gap = f"objective at most {(peer - ours.objective).max():.0e} above ours"
    rows.append(("scipy L-BFGS-B, 20 penalties", time.perf_counter() - start, rows[0][1], gap))
    if shutil.which("Rscript") is None or args.r_checkout is None:
        print(
            "R is left out: install R (Rscript) and give --r-checkout, a checkout of github.com/gregfaletto/presto"
        )
    else:
        some = lambdas[: args.r_lambdas]
        same = best_of(5, lambda: presto_path(draw.X, draw.y, some))
        seconds, coefs = run_r(args.r_checkout.resolve(), draw.X, draw.y, some, args.r_threshold)
        difference = largest_difference(presto_path(draw.X, draw.y, some), coefs, draw.X)
        rows.append(
            (
                f"released R, {len(some)} penalties",
                seconds,
                same,
                f"coefficients within {difference:.0e} of ours",
            )
        )
    print(f"{'':32}{'seconds':>10}{'× ours':>10}")
    for name, seconds, base, note in rows:
        print(f"{name:32}{seconds:10.3f}{'' if base is None else f'{seconds / base:10.0f}'}  {note}")


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
