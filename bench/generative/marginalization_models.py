"""A marginal by one pass beside the chain rule, and a training step beside autoregressive ones.

    python bench/generative/marginalization_models.py [--hidden 256] [--batch 128]

One thread, CPU seconds, all in one run. The peers are this package's any-order autoregressive model with all prefixes
stacked into large passes (the fair form of D passes), and its training step with exact likelihoods.
"""

from __future__ import annotations

import argparse

import torch

from loglik.generative.marginalization_models import DualMLP, log_prob_any_order, study
from loglik.generative.marginalization_models.study import cpu_seconds, make_generator, step_costs


@torch.no_grad()
def scoring(D: int, n: int, hidden: int) -> tuple[float, float]:
    """CPU seconds of D passes and of one, for `n` complete rows."""
    generator = make_generator(0, D)
    model = DualMLP(D, 2, hidden, 3, generator=generator)
    x = torch.randint(1, 3, (n, D), generator=generator)
    slow = cpu_seconds(lambda: log_prob_any_order(model, x, generator=generator), 3)
    return slow, cpu_seconds(lambda: model.log_probability(x), 10)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--batch", type=int, default=128)
    args = parser.parse_args()
    print(f"{'scoring, ms a row':28}{'D passes':>10}{'one pass':>10}{'ratio':>8}")
    for D, n in ((16, 512), (64, 256), (196, 64), (784, 8)):
        slow, fast = scoring(D, n, args.hidden)
        print(f"D = {D:<24}{1e3 * slow / n:10.4f}{1e3 * fast / n:10.4f}{slow / fast:8.0f}")
    costs = step_costs((4, 6, 8, 10), batch=args.batch, hidden=args.hidden, layers=3, repeats=3, seed=0)
    table = costs.pivot(index="D", columns="estimator", values="seconds") * 1e3
    table = table.rename(columns=study.NAMES).assign(ratio=table["arm"] / table["mam"])
    print("\ntraining step, ms\n" + table.round(2).to_string())


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
