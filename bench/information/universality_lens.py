"""Hot paths beside their peers, one thread: ``python bench/information/universality_lens.py [--seed 0] [--steps 4000]``.

Times are CPU seconds; XLA_FLAGS="--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1" keeps JAX to one thread.

1. Predictive probabilities of the network posterior for 32 and 512 samples: SGLD chains side by side against numpyro's
   NUTS, in effective draws of the predicted logits for each CPU second (compilation left out), with their agreement.
2. Cumulative regret over 20,000 random networks: one matrix product on counts against the sequential mixture.
3. Projection on the hull: active-set Newton against plain exponentiated gradient, to the same duality gap.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.diagnostics import effective_sample_size
from scipy.special import expit
from threadpoolctl import threadpool_limits

from loglik.information import universality_lens as ul
from loglik.information.universality_lens import study


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """The result and CPU seconds of a second call: the first one compiles."""
    jax.block_until_ready(work())
    start = time.process_time()
    found = jax.block_until_ready(work())
    return found, time.process_time() - start


def logits(network: ul.TanhNetwork, samples: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Logits of every draw at 40 inputs, shape (chains, draws, 40)."""
    evaluate = jax.jit(jax.vmap(jax.vmap(network.logits, (0, None)), (0, None)))
    found = evaluate(jnp.asarray(samples), jnp.asarray(X[:40], jnp.float32))
    return np.swapaxes(np.asarray(found), 0, 1)


def samplers(seed: int, steps: int, n: int) -> None:
    rng, X = np.random.default_rng(seed), ul.load_inputs("cancer").X
    network = ul.TanhNetwork(30)
    truth = rng.standard_normal(network.dim).astype(np.float32)
    x = X[rng.integers(len(X), size=n)]
    y = (rng.random(n) < expit(np.asarray(network.logits(truth, x.astype(np.float32))))).astype(np.float32)
    start = rng.standard_normal((16, network.dim))
    schedule = ul.decaying_steps(0.04 / (1 + 0.05 * n), steps)

    def ours() -> np.ndarray:
        return ul.sgld(
            ul.normal_prior_grad, network.loglik_grad, start, (x, y), steps=steps, batch=32, step_size=schedule,
            key=jax.random.key(seed), thin=10,
        ).samples  # fmt: skip

    def nuts() -> np.ndarray:
        return ul.nuts(network, x[None], y[None], warmup=200, draws=500, chains=4, key=jax.random.key(seed))[
            0
        ]

    rows = {}
    for name, work in (
        ("SGLD, 16 chains", ours),
        ("numpyro NUTS, 4 chains", nuts),
    ):
        found, seconds = timed(work)
        draws = logits(network, np.asarray(found), X)
        rows[name] = (
            float(np.mean(effective_sample_size(draws))) / seconds,
            seconds,
            expit(draws).mean((0, 1)),
        )
    base = rows["SGLD, 16 chains"]
    print(f"\nn = {n}\n{'sampler':26}{'CPU s':>8}{'ESS/s':>9}{'ours/peer':>11}{'mean |dp|':>11}")
    for name, (rate, seconds, p) in rows.items():
        print(f"{name:26}{seconds:8.2f}{rate:9.0f}{base[0] / rate:11.2f}{np.abs(p - base[2]).mean():11.4f}")


def regrets(seed: int) -> None:
    rng = np.random.default_rng(seed)
    packed, drawn = ul.random_boolean_networks(7, (40, 40), 20_000, rng)
    functions, target, flip = ul.unpack(packed, 128), np.ones(128, dtype=bool), 0.1
    mixture = ul.BooleanMixture(functions, drawn, flip, lookup_share=0.0)
    x, y = rng.integers(128, size=(128, 4)), rng.random((128, 4)) > flip
    cells = np.arange(128)[:, None, None]
    counts = ul.Counts(((x == cells) & y).sum(1).T, ((x == cells) & ~y).sum(1).T)
    table = np.where(functions, 1 - flip, flip).T  # (cells, H): probability of label 1
    log_one, log_zero = np.log(table), np.log1p(-table)
    sequential = ul.FiniteMixture(
        mixture.log_prior, lambda p: np.where(p[1][:, None], log_one[p[0]], log_zero[p[0]])
    )

    def own(pair: Any) -> np.ndarray:
        return np.log(np.where(pair[1], 1 - flip, flip))

    fast, seconds = timed(lambda: mixture.regret(target, counts))
    slow, peer = timed(lambda: sequential.cumulative_regret(own, list(zip(x, y, strict=True)))[-1])
    print(
        f"\nregret at n = 128, {len(drawn):,} functions, 4 data sets: counts {seconds:.4f} s, sequential {peer:.3f} s"
    )
    print(f"ratio {peer / seconds:.0f}; largest difference {np.abs(fast - slow).max():.1e} nats")


def exponentiated_gradient(Q: np.ndarray, P: np.ndarray, tol: float) -> tuple[float, int]:
    log_w, step = np.full(len(P), -np.log(len(P))), 1.0
    value = np.inf
    for count in range(200_000):
        mixed = np.exp(log_w) @ P
        ratio = np.log(mixed / Q)
        value, g = mixed @ ratio, P @ ratio + 1
        gap = np.exp(log_w) @ g - g.min()
        if gap < tol:
            return value, count
        while True:
            trial = log_w - step * g
            trial -= np.logaddexp.reduce(trial)
            moved = np.exp(trial) @ P
            if moved @ np.log(moved / Q) <= value or step < 1e-12:
                break
            step /= 2
        log_w, step = trial, step * 1.3
    return value, count


def projections(seed: int) -> None:
    _, P = study.coin_class(8)
    Q = np.random.default_rng(seed).dirichlet(np.ones(9))
    found, seconds = timed(lambda: ul.project_on_hull(Q, P, 4e-6))
    (value, count), peer = timed(lambda: exponentiated_gradient(Q, P, 4e-6))
    ours = float(found.Q_prime @ np.log(found.Q_prime / Q))
    print(
        f"\nprojection, 199 members: ours {seconds:.4f} s, exponentiated gradient {peer:.2f} s ({count:,} steps)"
    )
    print(f"ratio {peer / seconds:.0f}; objectives differ by {value - ours:.1e} nats")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=4000, help="SGLD steps")
    arguments = parser.parse_args()
    with threadpool_limits(1):
        for size in (32, 512):
            samplers(arguments.seed, arguments.steps, size)
        regrets(arguments.seed)
        projections(arguments.seed)
