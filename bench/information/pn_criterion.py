"""The expansion's coefficients beside their peers: a dense fourth-order tensor, and the bootstrap.

    python bench/information/pn_criterion.py [--refits 1000]

1. A₂ of pairwise and three-way models (p = 36, 72, 232) by pair kernels, automatic differentiation, and the dense
   route that builds the p⁴ tensor of fourth cumulants (only where that fits into memory).
2. The risk at n = 1000 from one sample of binary wine data (p = 36): the expansion against a nonparametric bootstrap,
   which is the honest competitor and needs a refit a resample.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import jax
import numpy as np
from threadpoolctl import threadpool_limits

from loglik.information.pn_criterion import (
    Population,
    projection,
    risk_coefficients,
    risk_coefficients_autodiff,
)
from loglik.information.pn_criterion.montecarlo import measured, refit
from loglik.information.pn_criterion.settings import Setting, abalone_setting, binary_wine_setting

LARGEST_TENSOR = 40  # p⁴ doubles: 20 MB at 40, 23 GB at 232


def timed(work: Callable[[], object], repeats: int = 3) -> tuple[float, object]:
    best, found = np.inf, None
    for _ in range(repeats):
        start = time.perf_counter()
        found = work()
        best = min(best, time.perf_counter() - start)
    return best, found


def dense(s: Setting) -> float:
    """A₂ from the full tensors of third and fourth cumulants, as the formula is written."""
    stats, weights = s.family.quadrature(s.theta)
    values, mass = s.data
    mean = weights @ stats
    factor = np.linalg.cholesky((stats - mean).T * weights @ (stats - mean))
    x, y = (np.linalg.solve(factor, (a - mean).T).T for a in (stats, values))
    pairs = (x[:, :, None] * x[:, None, :]).reshape(len(x), -1)
    t = ((pairs * weights[:, None]).T @ x).reshape([x.shape[1]] * 3)
    fourth = ((pairs * weights[:, None]).T @ pairs).reshape([x.shape[1]] * 4)
    one = np.eye(x.shape[1])
    for pairing in ("abcd", "acbd", "adbc"):
        fourth -= np.einsum(f"{pairing[:2]},{pairing[2:]}->abcd", one, one)
    v = (y.T * mass) @ y
    k = np.einsum("n,na,nb,nc->abc", mass, y, y, y, optimize=True)
    tv = np.einsum("abe,ab->e", t, v)
    m = np.einsum("abe,cde,ac,bd->", t, t, v, v, optimize=True)
    C4 = -np.einsum("abcd,ab,cd->", fourth, v, v, optimize=True) + tv @ tv + 2 * m
    return float(-(t * k).sum() / 3 + 3 * C4 / 8)


def coefficients() -> None:
    print(
        f"{'A₂ of':28}{'p':>5}{'pairs, s':>10}{'autodiff, s':>13}{'dense, s':>10}{'dense/pairs':>13}  agreement"
    )
    for s in (binary_wine_setting(), abalone_setting(2), abalone_setting(3)):
        law = s.family.quadrature(s.theta)
        pairs, found = timed(lambda s=s, law=law: risk_coefficients(law, s.data, method="pairs"))
        key = jax.random.key(0)
        options = {} if s.family.p <= 128 else {"directions": 2000, "key": key}
        auto, other = timed(
            lambda s=s, o=options: risk_coefficients_autodiff(s.family, s.theta, *s.data, **o)
        )
        note = f"autodiff {other.A2 / found.A2 - 1:+.0e}" + (" (2000 random directions)" if options else "")
        tail = f"{'–':>10}{'–':>13}  {note}; p⁴ needs {8 * s.family.p**4 / 2**30:.1f} GiB"
        if s.family.p <= LARGEST_TENSOR:
            seconds, value = timed(lambda s=s: dense(s))
            tail = f"{seconds:10.3f}{seconds / pairs:13.1f}  {note}, dense {value / found.A2 - 1:+.0e}"
        print(f"{s.name:28}{s.family.p:5d}{pairs:10.3f}{auto:13.3f}{tail}")


def bootstrap(refits: int) -> None:
    s, n = binary_wine_setting(), 1000
    values, weights = s.data
    counts = np.random.default_rng(0).multinomial(n, weights)
    sample = (values[counts > 0], counts[counts > 0] / n)

    def expand() -> float:
        theta = projection(s.family, sample[1] @ sample[0], s.theta)
        return risk_coefficients(s.family.quadrature(theta), sample, method="pairs").risk(n)

    def resample() -> object:
        theta = projection(s.family, sample[1] @ sample[0], s.theta)
        return measured(
            refit(s.family, Population(*sample), theta, n, refits, np.random.default_rng(1)), None, None
        )

    ours, risk = timed(expand)
    peer, found = timed(resample, 1)
    print(f"\nrisk at n = {n} from one sample, p = {s.family.p}")
    print(f"expansion                       {ours:8.3f} s   {risk:.5f}")
    print(
        f"bootstrap, {refits:5d} refits         {peer:8.3f} s   {found.mean:.5f} ± {1.96 * found.se:.5f}   ratio {peer / ours:.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--refits", type=int, default=1000, help="refits of the bootstrap")
    args = parser.parse_args()
    coefficients()
    bootstrap(args.refits)


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
