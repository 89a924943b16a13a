"""The chapter's experiments on bandits: every arm tuned with the same effort, on seeds that are not reported."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from loglik.language.on_policy_preferences.bandit import PreferenceBandit
from loglik.language.on_policy_preferences.config import PFTConfig
from loglik.language.on_policy_preferences.tabular import Runs, fine_tune_bandit
from loglik.stats import intervals

Progress = Callable[[Sequence[Any]], Iterable[Any]]


class Arm(NamedTuple):
    """A method, with samples from the reference or from the policy."""

    method: str
    on_policy: bool

    @property
    def label(self) -> str:
        """Such as ``offline dpo``; policy gradients are always on-policy."""
        return f"{'on-policy' if self.on_policy else 'offline'} {self.method}"


ARMS = (
    *(Arm(method, False) for method in ("pref-ft", "best-of-n", "rwr", "dpo", "ipo")),
    *(
        Arm(method, True)
        for method in ("best-of-n", "rwr", "dpo", "ipo", "reinforce", "reinforce-nonneg", "ppo")
    ),
)
_RATES = (0.01, 0.03, 0.1, 0.3)
_SIXTEEN = tuple(np.geomspace(0.003, 0.5, 16).round(4))
#: Sixteen settings for every method: learning rates, and betas where the loss has one.
GRID: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "pref-ft": (_SIXTEEN, (1.0,)),
    "best-of-n": (_SIXTEEN, (1.0,)),
    "rwr": (_RATES, (0.1, 0.3, 1.0, 3.0)),
    "dpo": (_RATES, (0.03, 0.1, 0.3, 1.0)),
    "ipo": (_RATES, (0.01, 0.03, 0.1, 0.3)),
    "reinforce": (_RATES, (1e-6, 1e-3, 1e-2, 3e-2)),
    "reinforce-nonneg": (_RATES, (1e-6, 1e-3, 1e-2, 3e-2)),
    "ppo": (_RATES, (1e-6, 1e-3, 1e-2, 3e-2)),
}


def arm_config(arm: Arm, *, budget: int, batch: int, inner_steps: int, n_per_prompt: int = 10) -> PFTConfig:
    """The arm's settings at a budget; offline arms take as many gradient steps as on-policy ones."""
    steps = inner_steps if arm.on_policy else inner_steps * (budget // batch)
    return PFTConfig(arm.method, arm.on_policy, budget, batch, steps, n_per_prompt, minibatch=min(100, batch))


def tune(
    bandit: PreferenceBandit, cfg: PFTConfig, seeds: Sequence[int], grid: Mapping[str, Any] = GRID
) -> pd.DataFrame:
    """Mean exact reward of every setting of the grid, the best first: columns lr, beta, reward, kl."""
    rates, betas = grid[cfg.method]
    cells = list(product(rates, betas, seeds))
    runs = fine_tune_bandit(
        bandit,
        cfg,
        seeds=[c[2] for c in cells],
        lr=[c[0] for c in cells],
        beta=[c[1] for c in cells],
        looks=1,
    )
    table = pd.DataFrame(cells, columns=["lr", "beta", "seed"])
    table = table.assign(reward=runs.reward[:, -1].numpy(), kl=runs.kl[:, -1].numpy())
    means = table.groupby(["lr", "beta"], as_index=False)[["reward", "kl"]].mean()
    return means.sort_values("reward", ascending=False, ignore_index=True)


class BanditStudy(NamedTuple):
    """Results of all arms on several bandits."""

    final: pd.DataFrame  # one row a bandit, arm and seed
    curves: pd.DataFrame  # one row a bandit, arm, seed and look
    grid: pd.DataFrame  # the tuning


def bandit_study(
    bandits: Mapping[str, PreferenceBandit],
    seeds: Sequence[int],
    tuning_seeds: Sequence[int],
    *,
    arms: Sequence[Arm] = ARMS,
    budget: int = 2000,
    batch: int = 100,
    inner_steps: int = 10,
    n_per_prompt: int = 10,
    progress: Progress = iter,
) -> BanditStudy:
    """Every arm on every bandit, at one budget of samples and of gradient steps.

    Raises
    ------
    ValueError
        When a reported seed was tuned on.
    """
    if set(seeds) & set(tuning_seeds):
        raise ValueError(f"seeds {sorted(set(seeds) & set(tuning_seeds))} are both tuned on and reported")
    final, curves, grids = [], [], []
    for (name, bandit), arm in progress(list(product(bandits.items(), arms))):
        cfg = arm_config(arm, budget=budget, batch=batch, inner_steps=inner_steps, n_per_prompt=n_per_prompt)
        grid = tune(bandit, cfg, tuning_seeds)
        best = replace(cfg, lr=float(grid.lr[0]), beta=float(grid.beta[0]))
        course = history(fine_tune_bandit(bandit, best, seeds=seeds), seeds).assign(
            bandit=name, method=arm.label, lr=best.lr, beta=best.beta
        )
        curves.append(course)
        final.append(_final(course))
        grids.append(grid.assign(bandit=name, method=arm.label))
    return BanditStudy(*(pd.concat(tables, ignore_index=True) for tables in (final, curves, grids)))


def history(runs: Runs, seeds: Sequence[int]) -> pd.DataFrame:
    """Runs as a long table: one row a seed and look."""
    n_looks = len(runs.steps)
    columns = {
        name: getattr(runs, name).numpy().ravel()
        for name in ("reward", "kl", "entropy", "logp_w", "logp_l", "logp_other")
    }
    return pd.DataFrame(
        {
            "seed": np.repeat(list(seeds), n_looks),
            "step": np.tile(runs.steps.numpy(), len(seeds)),
            "samples_used": np.tile(runs.samples_used.numpy(), len(seeds)),
            **columns,
        }
    )


def _final(course: pd.DataFrame) -> pd.DataFrame:
    """The last look of each seed, with the changes of the log-probabilities since the first."""
    groups = course.groupby("seed", sort=False)
    first, last = groups.first(), groups.last()
    names = ["logp_w", "logp_l", "logp_other"]
    changes = (last[names] - first[names]).add_prefix("change_")
    return (
        last.join(changes).assign(change_margin=changes.change_logp_w - changes.change_logp_l).reset_index()
    )


def sweep(
    bandit: PreferenceBandit,
    settings: Sequence[tuple[PFTConfig, Mapping[str, Any]]],
    seeds: Sequence[int],
    progress: Progress = iter,
) -> pd.DataFrame:
    """Final exact rewards of many configurations: one row a configuration and seed, with its labels as columns."""
    rows = []
    for cfg, labels in progress(list(settings)):
        runs = fine_tune_bandit(bandit, cfg, seeds=seeds, looks=1)
        rows.append(
            pd.DataFrame({"seed": list(seeds), "reward": runs.reward[:, -1].numpy()}).assign(**labels)
        )
    return pd.concat(rows, ignore_index=True)


def split_settings(
    tuned: pd.DataFrame, methods: Sequence[str], batches: Sequence[int], *, budget: int, steps: int
) -> list[tuple[PFTConfig, dict[str, Any]]]:
    """One budget of samples and gradient steps, drawn in batches of different sizes.

    Parameters
    ----------
    tuned : DataFrame
        Columns method, lr and beta: :attr:`BanditStudy.final` of one bandit.
    """
    return [
        (_with(tuned, method, budget, batch, steps * batch // budget), {"method": method, "batch": batch})
        for method, batch in product(methods, batches)
    ]


def reuse_settings(
    tuned: pd.DataFrame, methods: Sequence[str], inner_steps: Sequence[int], *, budget: int, batch: int
) -> list[tuple[PFTConfig, dict[str, Any]]]:
    """One budget of samples, with more and more gradient steps on each batch."""
    return [
        (_with(tuned, method, budget, batch, T), {"method": method, "T": T})
        for method, T in product(methods, inner_steps)
    ]


def _with(tuned: pd.DataFrame, method: str, budget: int, batch: int, inner_steps: int) -> PFTConfig:
    row = tuned[tuned.method == f"on-policy {method}"].iloc[0]
    return PFTConfig(
        method, True, budget, batch, max(1, inner_steps), minibatch=min(100, batch), lr=row.lr, beta=row.beta
    )


def differences(
    final: pd.DataFrame, method: str, baselines: Sequence[str], *, value: str = "reward"
) -> list[intervals.Estimate]:
    """Mean of a method minus each baseline, paired by seed, with 95 % t intervals."""
    wide = final.pivot(index="seed", columns="method", values=value)  # noqa: PD010
    return [intervals.mean(wide[method] - wide[baseline]) for baseline in baselines]
