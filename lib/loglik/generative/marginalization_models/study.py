"""Measurements that the notebooks share: distances to targets, costs of steps, noise of gradients, agreement."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from loglik.generative.marginalization_models import energy, ising
from loglik.generative.marginalization_models.data import decode_words
from loglik.generative.marginalization_models.energy import fit_energy
from loglik.generative.marginalization_models.likelihood import (
    block_gibbs,
    log_conditional,
    log_marginal_any_order,
    log_prob_any_order,
    random_ranks,
    reveal,
    sample,
    self_consistency_residual,
)
from loglik.generative.marginalization_models.models import (
    MASK,
    DualMLP,
    MarginalModel,
    TableModel,
    check_states,
)

Floats = NDArray[np.float64]
NAMES = {
    "mam": "marginalization model",
    "arm": "exact autoregressive",
    "arm_mc": "one-pass autoregressive",
    "fm": "squared log-ratio",
}


def make_generator(seed: int, number: int = 0) -> torch.Generator:
    """A torch generator of `seed` and a repetition's number."""
    words = np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(words[0] >> np.uint64(1)))


@torch.no_grad()
def kl_terms(
    model: MarginalModel, log_f: energy.LogDensity, log_z: float, n: int, generator: torch.Generator
) -> Floats:
    """Log p_φ(x) − log f(x) + log Z of `n` samples of the model: their mean estimates KL(p_φ‖p); (n,), nats."""
    order = random_ranks(n, model.D, generator)  # a random order for each sample, which is also scored in it
    x = sample(model, n, order, generator=generator)
    values = log_prob_any_order(model, x, order) - log_f(x) + log_z
    return values.double().numpy()


def ising_run(
    L: int,
    estimator: str,
    steps: int,
    *,
    seed: int,
    number: int = 0,
    sigma: float = 0.1,
    bias: float = 0.2,
    hidden: int = 128,
    layers: int = 3,
    n_eval: int = 2000,
    n_curve: int = 500,
    curve_points: int = 0,
    **options: Any,
) -> tuple[DualMLP, dict[str, Any], pd.DataFrame]:
    """Train one model on the L×L torus; the model, what came out of it, and its curve of KL against CPU time."""
    generator, fresh = make_generator(seed, number), make_generator(seed + 1, number)
    log_f, log_z = ising.ising_log_density(L, sigma, bias), ising.ising_log_z(L, sigma, bias)
    model = DualMLP(L * L, 2, hidden, layers, generator=generator)

    def evaluate(m: MarginalModel) -> float:
        return float(kl_terms(m, log_f, log_z, n_curve, fresh).mean())

    history = fit_energy(
        model, log_f, steps=steps, estimator=estimator, generator=generator,
        evaluate=evaluate if curve_points else None,
        evaluate_every=max(1, steps // max(1, curve_points)), **options,
    )  # fmt: skip
    terms = kl_terms(model, log_f, log_z, n_eval, fresh)
    row = {
        "L": L, "estimator": estimator, "run": number, "steps": steps, "kl": terms.mean(),
        "se": terms.std(ddof=1) / np.sqrt(n_eval), "seconds": history.seconds,
    }  # fmt: skip
    return model, row, history.table.assign(L=L, estimator=estimator, run=number)


@torch.no_grad()
def subset_marginals(
    model: MarginalModel, L: int, n: int, *, sigma: float, bias: float, seed: int
) -> pd.DataFrame:
    """Log-marginals of random subsets of exact samples: by the model's one pass, and exact by enumeration."""
    rng, generator = np.random.default_rng([seed, L]), make_generator(seed, L)
    x = ising.ising_samples(n, L, sigma, bias, rng=rng)
    size = torch.randint(1, L * L + 1, (n,), generator=generator)
    partial = reveal(x, random_ranks(n, L * L, generator), size)
    exact = ising.exact_log_marginals(ising.ising_log_density(L, sigma, bias), partial)
    return pd.DataFrame(
        {"size": size.numpy(), "exact": exact, "model": model.log_probability(partial).double().numpy()}
    )


def cpu_seconds(work: Callable[[], object], repeats: int) -> float:
    """Smallest CPU time of `work` over some repeats, after one that doesn't count."""
    work()
    found = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def step_costs(
    Ls: Sequence[int],
    *,
    batch: int,
    hidden: int,
    layers: int,
    repeats: int,
    seed: int,
    gibbs_steps: int = 4,
    sigma: float = 0.1,
    bias: float = 0.2,
) -> pd.DataFrame:
    """CPU seconds of a training step (sampling, forward, backward) for each side L and estimator."""
    rows = []
    for L in Ls:
        log_f, D = ising.ising_log_density(L, sigma, bias), L * L
        generator = make_generator(seed, L)
        model = DualMLP(D, 2, hidden, layers, generator=generator)
        x = sample(model, batch, generator=generator)
        for estimator in ("mam", "arm", "arm_mc"):
            draws = D if estimator == "arm" else gibbs_steps

            def work(
                estimator: str = estimator,
                draws: int = draws,
                model: DualMLP = model,
                x: Tensor = x,
                generator: torch.Generator = generator,
                log_f: energy.LogDensity = log_f,
            ) -> None:
                order = random_ranks(len(x), model.D, generator)
                moved = block_gibbs(model, x, order, draws, generator=generator)
                _surrogate(estimator, model, moved, log_f(moved), order, generator).backward()

            rows.append({"D": D, "estimator": estimator, "seconds": cpu_seconds(work, repeats)})
    return pd.DataFrame(rows)


def _surrogate(
    estimator: str, model: DualMLP, x: Tensor, log_f: Tensor, order: Tensor, generator: torch.Generator
) -> Tensor:
    if estimator == "arm":
        return energy.arm_loss(model, x, log_f, order) / len(x)
    if estimator == "arm_mc":
        return energy.arm_mc_loss(model, x, log_f, order.argsort(1), generator) / len(x)
    d = torch.randint(1, model.D + 1, (len(x),), generator=generator)
    return energy.mam_loss(model, x, log_f, order.argsort(1), d, 4.0) / len(x)


def gradient_noise(
    model: DualMLP, log_f: energy.LogDensity, *, batch: int, draws: int, seed: int
) -> dict[str, Floats]:
    """Squared deviations of the KL gradient from its mean over fresh batches, for each estimator; (draws,) each.

    The weight log p − log f is centred but not standardised, as any baseline is free. The
    gradient of the marginalization model is that of its KL surrogate in its own network.
    """
    out = {}
    for estimator in ("mam", "arm", "arm_mc"):
        generator = make_generator(seed, 7)
        gradients = [_kl_gradient(estimator, model, log_f, batch, generator) for _ in range(draws)]
        stacked = torch.stack(gradients).double()
        out[estimator] = ((stacked - stacked.mean(0)).square().sum(1) * draws / (draws - 1)).numpy()
    return out


def _kl_gradient(
    estimator: str, model: DualMLP, log_f: energy.LogDensity, batch: int, generator: torch.Generator
) -> Tensor:
    order = random_ranks(batch, model.D, generator)
    x = sample(model, batch, order, generator=generator)
    network = model.marginal if estimator == "mam" else model.conditional
    if estimator == "mam":
        log_p = weight = model.log_marginal(x)
    elif estimator == "arm":
        log_p = weight = log_marginal_any_order(model, x, order)
    else:
        weight = energy.one_pass_estimate(model, x, order.argsort(1), generator)
        log_p = energy.one_pass_estimate(model, x, order.argsort(1), generator)
    r = (weight - log_f(x)).detach()
    gradients = torch.autograd.grad(((r - r.mean()) * log_p).mean(), list(network.parameters()))
    return torch.cat([g.flatten() for g in gradients])


@torch.no_grad()
def likelihoods(model: DualMLP, x: Tensor, n_orders: int, seed: int) -> pd.DataFrame:
    """Log-likelihoods of complete rows (nats): one pass, two single orders, and an ensemble of orders."""
    generator = make_generator(seed, 11)
    orders = torch.stack([log_prob_any_order(model, x, generator=generator) for _ in range(n_orders)])
    ensemble = orders.logsumexp(0) - np.log(n_orders)
    columns = {"one pass": model.log_probability(x), "order 1": orders[0], "order 2": orders[1]}
    return pd.DataFrame({k: v.double().numpy() for k, v in {**columns, "ensemble": ensemble}.items()})


@torch.no_grad()
def partial_agreement(model: DualMLP, x: Tensor, shares: Sequence[float], seed: int) -> pd.DataFrame:
    """Log-marginals of `x` with random shares revealed: one pass beside the average of two chains of |S| passes."""
    generator = make_generator(seed, 13)
    parts = []
    for share in shares:
        partial = reveal(x, random_ranks(len(x), model.D, generator), round(share * model.D))
        chains = [log_marginal_any_order(model, partial, generator=generator) for _ in range(2)]
        slow = torch.stack(chains).logsumexp(0) - np.log(2)
        parts.append(
            pd.DataFrame(
                {
                    "share": share,
                    "one pass": model.log_probability(partial).double().numpy(),
                    "chain": slow.double().numpy(),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


@torch.no_grad()
def scoring_times(model: DualMLP, x: Tensor, repeats: int, seed: int) -> pd.DataFrame:
    """CPU seconds of scoring `x` by one order's D passes and by one pass; one row a repeat."""
    generator = make_generator(seed, 17)
    rows = []
    for _ in range(repeats):
        slow = cpu_seconds(lambda: log_prob_any_order(model, x, generator=generator), 1)
        fast = cpu_seconds(lambda: [model.log_probability(x) for _ in range(5)], 2) / 5
        rows.append({"D passes": slow, "one pass": fast, "ratio": slow / fast})
    return pd.DataFrame(rows)


def partial_correlation(a: Floats, b: Floats, given: Floats) -> float:
    """Correlation of `a` and `b` after a straight line in `given` is taken off both."""
    line = np.column_stack([np.ones_like(given), given])
    rest = [v - line @ np.linalg.lstsq(line, v, rcond=None)[0] for v in (a, b)]
    return float(np.corrcoef(*rest)[0, 1])


@torch.no_grad()
def pattern_table(
    model: DualMLP, words: Tensor, sizes: Sequence[int], n: int, least: int, seed: int
) -> pd.DataFrame:
    """Patterns of a few letters at random places, drawn from words: log-marginal beside log share of `words`.

    Parameters
    ----------
    model : DualMLP
    words : Tensor, shape (N, length)
        All words to count in.
    sizes : sequence of int
        Numbers of known letters.
    n : int
        Patterns of each size that are drawn; those fitting fewer than `least` words are left out.
    least : int
    seed : int
    """
    generator = make_generator(seed, 19)
    rows = torch.randint(len(words), (n * len(sizes),), generator=generator)
    size = torch.tensor(list(sizes)).repeat_interleave(n)
    pattern = reveal(words[rows], random_ranks(len(rows), words.shape[1], generator), size)
    pattern = pattern.unique(dim=0)
    fits = torch.stack([((words == row) | (row == MASK)).all(1).sum() for row in pattern])
    keep = fits >= least
    table = pd.DataFrame(
        {
            "letters": (pattern != MASK).sum(1).numpy(),
            "count": fits.numpy(),
            "counted": (fits / len(words)).double().log().numpy(),
            "model": model.log_probability(pattern).double().numpy(),
        }
    )
    return table.assign(pattern=decode_words(pattern))[keep.numpy()].reset_index(drop=True)


@torch.no_grad()
def left_half_gain(model: DualMLP, x: Tensor, seed: int) -> Floats:
    """Log p(right | own left) − log p(right | another image's left), by marginals alone; (n,), nats."""
    side = int(np.sqrt(model.D))
    left = (torch.arange(model.D) % side) < side // 2
    shift = 1 + int(torch.randint(len(x) - 1, (1,), generator=make_generator(seed, 23)))
    other = torch.where(left, x.roll(shift, 0), x)

    def conditional(full: Tensor) -> Tensor:
        return model.log_probability(full) - model.log_probability(torch.where(left, full, MASK))

    return (conditional(x) - conditional(other)).double().numpy()


def inpaint(model: DualMLP, x: Tensor, known: Tensor, generator: torch.Generator) -> Tensor:
    """`x` with the variables outside `known` (D,) drawn again given the rest."""
    return sample(model, len(x), given=torch.where(known, x, MASK), generator=generator)


def detailed_balance_residual(model: MarginalModel, x: Tensor, order: Tensor, d: Tensor) -> Tensor:
    """A GFlowNet's detailed-balance residual on the lattice of partial states; (B,), nats.

    Flow ``log F(x_S) = log p_θ(x_S) − log C(D, |S|)``; forward, one of the D − |S| unknown variables uniformly and its
    value by p_φ; backward, one of the known variables uniformly.
    """
    check_states(x, model.D, model.K, complete=True)
    ranks = order.argsort(1)
    before, after = reveal(x, ranks, d - 1), reveal(x, ranks, d)
    which = order.gather(1, d[:, None] - 1)[:, 0]
    value = x.gather(1, which[:, None])[:, 0]

    def log_flow(state: Tensor) -> Tensor:
        known = (state != MASK).sum(1).double()
        log_binomial = torch.lgamma(torch.tensor(model.D + 1.0).double()) - torch.lgamma(known + 1)
        return model.log_marginal(state) - log_binomial + torch.lgamma(model.D - known + 1)

    forward = log_conditional(model, before, which, value) - (model.D - d + 1).double().log()
    backward = -d.double().log()
    return log_flow(before) + forward - log_flow(after) - backward


def all_steps(D: int, K: int) -> tuple[Tensor, Tensor, Tensor]:
    """Every configuration with every order and every step: x (N, D), order (N, D), d (N,)."""
    orders = torch.tensor(list(permutations(range(D))))
    states = ising.enumerate_states(D, K)
    i, j, d = torch.cartesian_prod(
        torch.arange(len(states)), torch.arange(len(orders)), torch.arange(1, D + 1)
    ).T
    return states[i], orders[j], d


class _Moved(TableModel):
    """A table of marginals of which one is moved; the conditionals stay."""

    def __init__(self, table: TableModel, state: Tensor, delta: float) -> None:
        MarginalModel.__init__(self, table.D, table.K)
        self.table, self.place = table.table, table.place
        self.state, self.delta = state, delta

    def log_marginal(self, x_partial: Tensor) -> Tensor:
        return super().log_marginal(x_partial) + self.delta * (x_partial == self.state).all(1).double()


@torch.no_grad()
def moved_marginal_gap(table: TableModel, state: Tensor, delta: float) -> tuple[int, float]:
    """Move the marginal of `state` by `delta`: how many residuals change, and the largest gap to ±delta or 0, nats."""
    x, order, d = all_steps(table.D, table.K)
    ranks = order.argsort(1)
    before = (reveal(x, ranks, d - 1) == state).all(1).double()
    after = (reveal(x, ranks, d) == state).all(1).double()
    residual = self_consistency_residual(_Moved(table, state, delta), x, order, d)
    return int((before + after).sum()), float((residual - delta * (before - after)).abs().max())


def kl_difference(table: pd.DataFrame, ours: str, other: str) -> dict[str, Any]:
    """What ``Chapter.claim`` takes: the difference of two KL estimates with its Monte-Carlo interval."""
    a, b = (table.loc[name].to_dict() for name in (ours, other))
    gap, reach = float(a["kl"] - b["kl"]), 1.96 * float(np.hypot(a["se"], b["se"]))
    return {
        "measured": gap,
        "interval": (gap - reach, gap + reach),
        "interval_from": "95 % Monte-Carlo interval over samples of one trained model each",
        "note": f"{a['kl']:.3f} nats after {a['seconds']:.1f} CPU seconds, "
        f"against {b['kl']:.3f} after {b['seconds']:.1f}",
    }


def _bootstrap(
    statistic: Callable[[Any], float], n: int, rng: np.random.Generator
) -> tuple[float, float, float]:
    draws = [statistic(rng.integers(n, size=n)) for _ in range(400)]
    low, high = np.quantile(draws, [0.025, 0.975])
    return statistic(np.arange(n)), float(low), float(high)


def correlation_interval(a: Any, b: Any, rng: np.random.Generator) -> tuple[float, float, float]:
    """Pearson correlation with the ends of a 95 % bootstrap interval over pairs."""
    u, v = np.asarray(a, float), np.asarray(b, float)
    return _bootstrap(lambda i: float(np.corrcoef(u[i], v[i])[0, 1]), len(u), rng)


def ratio_interval(a: Floats, b: Floats, rng: np.random.Generator) -> tuple[float, float, float]:
    """Ratio of means with the ends of a 95 % bootstrap interval; both resampled by the same indices."""
    return _bootstrap(lambda i: float(a[i].mean() / b[i].mean()), len(a), rng)
