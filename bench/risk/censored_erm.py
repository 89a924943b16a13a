"""The leave-one-out Beran curve beside its peers: ``python bench/risk/censored_erm.py [--n 1000 4000 20000]``.

No survival library for Python takes kernel weights in its Kaplan-Meier estimate, so the peers are the literal double
loop over cases and risk sets, a loop over cases with NumPy inside, and (where R has it) prodlim's conditional curve,
which uses nearest neighbours instead of a kernel and one feature instead of two. CPU seconds, one thread each, same data,
checked to give the same numbers.
"""

from __future__ import annotations

import argparse
import math
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from loglik.risk.censored_erm import beran_censoring_survival, simulate
from loglik.risk.censored_erm.study import uniform_bandwidth

LOOP_UP_TO = 1000  # the double loop takes minutes beyond
R_SCRIPT = """
args <- commandArgs(trailingOnly = TRUE)
if (!requireNamespace("prodlim", quietly = TRUE)) { cat("missing"); quit() }
library(prodlim)
d <- read.csv(args[1])
seconds <- system.time({
  fit <- prodlim(Hist(time, event) ~ x1, data = d, reverse = TRUE)
  s <- predictSurvIndividual(fit, lag = 1)
})[["elapsed"]]
cat(seconds)
"""


def double_loop(X: np.ndarray, times: np.ndarray, event: np.ndarray, h: float) -> list[float]:
    """Case by case, time by time, in plain Python; risk sets by a running sum, which is as kind as a loop can be."""
    order = sorted(range(len(times)), key=lambda j: (-times[j], event[j]))
    rows, t, e = X.tolist(), times.tolist(), event.tolist()
    out = []
    for i in range(len(t)):
        at_risk, survival = 0.0, 1.0
        for j in order:
            if j == i:
                continue
            distance = sum((a - b) ** 2 for a, b in zip(rows[i], rows[j], strict=True))
            before, at_risk = at_risk, at_risk + math.exp(-distance / (2 * h * h))
            if not e[j] and t[j] < t[i] and at_risk > 0:
                survival *= before / at_risk
        out.append(survival)
    return out


def row_loop(X: np.ndarray, times: np.ndarray, event: np.ndarray, h: float) -> np.ndarray:
    """A loop over cases with NumPy inside."""
    order = np.lexsort((event, -times))
    Z, t, e = X[order], times[order], event[order]
    out = np.empty(len(t))
    for i in range(len(t)):
        w = np.exp(-((Z - Z[i]) ** 2).sum(1) / (2 * h * h))
        w[i] = 0.0
        mass = np.cumsum(w)
        use = ~e & (t < t[i]) & (mass > 0)
        out[i] = np.prod((mass[use] - w[use]) / mass[use])
    result = np.empty_like(out)
    result[order] = out
    return result


def seconds_of(work: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    found, result = [], None
    for _ in range(repeats):
        start = time.process_time()
        result = work()
        found.append(time.process_time() - start)
    return min(found), result


def r_prodlim(draw: simulate.Draw) -> str | float:
    """Seconds that R's prodlim takes, or what to install."""
    if shutil.which("Rscript") is None:
        return "R is left out: install R (Rscript) and its package prodlim"
    with tempfile.TemporaryDirectory() as folder:
        table = np.column_stack([draw.time, draw.event, draw.X[:, 0]])
        np.savetxt(Path(folder, "d.csv"), table, delimiter=",", header="time,event,x1", comments="")
        Path(folder, "run.R").write_text(R_SCRIPT, encoding="utf-8")
        command = ["Rscript", str(Path(folder, "run.R")), str(Path(folder, "d.csv"))]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return "R has no prodlim: install.packages('prodlim')" if said == "missing" else float(said)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, nargs="+", default=[1000, 4000], help="numbers of cases")
    args = parser.parse_args()
    print(f"{'n':>7}  {'what':26}{'CPU s':>10}{'× ours':>9}  largest difference")
    for n in args.n:
        draw = simulate.MAIN.draw(n, np.random.default_rng(0))
        h = uniform_bandwidth(n, 2) / np.sqrt(12)
        given = (draw.X, draw.time, draw.event)
        ours, S = seconds_of(
            lambda given=given, h=h: beran_censoring_survival(*given, bandwidth=h, standardize=False),
            7 if n <= 4000 else 1,
        )
        print(f"{n:7}  {'loglik':26}{ours:10.4f}")
        peers: dict[str, Callable[[], Any]] = {"loop over cases, NumPy": lambda g=given, h=h: row_loop(*g, h)}
        if n <= LOOP_UP_TO:
            peers["double loop, Python"] = lambda g=given, h=h: double_loop(*g, h)
        for name, work in peers.items():
            seconds, result = seconds_of(work, 1)
            print(f"{n:7}  {name:26}{seconds:10.4f}{seconds / ours:9.0f}  {np.abs(result - S).max():.0e}")
        said = r_prodlim(draw)
        print(
            f"{n:7}  {'R prodlim, 1 feature':26}{said:10.4f}{said / ours:9.0f}"
            if isinstance(said, float)
            else said
        )


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
