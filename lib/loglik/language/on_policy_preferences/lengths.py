"""The length problems: gold rewards, a reward model, tilted data, and the study over arms and seeds."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor, nn

from loglik.language.models import forward
from loglik.language.on_policy_preferences.clauses import MAX_ANSWER, load_clauses, prompts_of
from loglik.language.on_policy_preferences.config import PFTConfig
from loglik.language.on_policy_preferences.losses import preference_pairs
from loglik.language.on_policy_preferences.parent import load_parent
from loglik.language.on_policy_preferences.sequence import LabelFunction, Rollout, Sampler, fine_tune
from loglik.train import Columns, TrainConfig, fit

GOLD = ("min", "mode", "distinct", "count")


def gold_reward(name: str, *, mode: int = 0, token: int = -1) -> LabelFunction:
    """A known reward of answers: ids and mask of whole texts (M, T), and which tokens are the answer's.

    Parameters
    ----------
    name : {"min", "mode", "distinct", "count"}
        Minus the length; minus the distance of the length to `mode`; the share of distinct tokens; how often
        `token` occurs. A length counts the answer's end once.

    Raises
    ------
    ValueError
        For an unknown name.
    """
    if name not in GOLD:
        raise ValueError(f"no gold reward {name!r}; there are {', '.join(GOLD)}")

    def reward(ids: Tensor, mask: Tensor, scored: Tensor) -> Tensor:
        length = scored.sum(1).float()
        if name == "min":
            return -length
        if name == "mode":
            return -(length - mode).abs()
        if name == "count":
            return ((ids == token) & scored).sum(1).float()
        kinds = [len(set(row[m].tolist())) for row, m in zip(ids, scored, strict=True)]
        return torch.tensor(kinds) / length

    return reward


class RewardModel(nn.Module):
    """A causal model's body with a scalar head on the last token, trained by Bradley and Terry's likelihood.

    Parameters
    ----------
    body : causal model of `transformers`
        Copied, so the policy's weights stay what they are.
    seed : int
        Of the head.
    """

    def __init__(self, body: Any, *, seed: int = 0) -> None:
        super().__init__()
        self.body = copy.deepcopy(body).requires_grad_(True)
        width = body.config.hidden_size
        self.head = nn.Parameter(torch.randn(width, generator=torch.Generator().manual_seed(seed)) / width)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Rewards of texts padded on the right: (B, T) twice to (B,)."""
        hidden = forward(self.body, ids, mask, hidden=True).hidden_states[-1]
        last = mask.sum(1) - 1
        return hidden[torch.arange(len(ids)), last] @ self.head

    def fit(
        self,
        data: Rollout,
        *,
        steps: int = 60,
        batch_size: int = 32,
        lr: float = 2e-3,
        label_noise: float = 0.0,
        seed: int = 0,
    ) -> RewardModel:
        """Train on all pairs of answers to one prompt whose labels differ.

        Parameters
        ----------
        data : Rollout
            Its rewards are the gold labels.
        steps, batch_size, lr
            Of AdamW.
        label_noise : float
            Share of pairs whose label is turned round.

        Raises
        ------
        ValueError
            When no labels differ, or `label_noise` lies outside [0, 0.5).
        """
        if not 0 <= label_noise < 0.5:
            raise ValueError(f"label_noise must lie in [0, 0.5), got {label_noise}")
        q, w, l = preference_pairs(data.rewards)  # noqa: E741
        if not len(q):
            raise ValueError(
                "no two answers to a prompt have different rewards, so there is nothing to learn from"
            )
        flip = torch.rand(len(q), generator=torch.Generator().manual_seed(seed)) < label_noise
        n = data.rewards.shape[1]
        pairs = Columns(winner=q * n + torch.where(flip, l, w), loser=q * n + torch.where(flip, w, l))

        def loss(model: Any, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
            rows = torch.cat([batch["winner"], batch["loser"]])
            good, bad = model(data.ids[rows], data.mask[rows]).chunk(2)
            return -nn.functional.logsigmoid(good - bad).sum(), torch.tensor(len(good))

        fit(self, loss, pairs, TrainConfig(steps, batch_size, lr=lr, warmup=min(10, steps // 2), seed=seed))
        return self

    @torch.no_grad()
    def accuracy(self, data: Rollout) -> float:
        """Share of pairs of answers to one prompt that the model orders as their labels do."""
        q, w, l = preference_pairs(data.rewards)  # noqa: E741
        scores = self(data.ids, data.mask).reshape(data.rewards.shape)
        return float((scores[q, w] > scores[q, l]).float().mean())

    @torch.no_grad()
    def score(self, ids: Tensor, mask: Tensor, scored: Tensor | None = None) -> Tensor:
        """Rewards of texts, in chunks: what ``sequence.fine_tune`` takes as a label."""
        return torch.cat([self(a, b) for a, b in zip(ids.split(512), mask.split(512), strict=True)])


def tilt_lengths(pool: Rollout, n: int, rate: float, generator: torch.Generator) -> Rollout:
    """`n` of each prompt's answers, drawn without replacement in proportion to exp(rate * length).

    With a positive rate long answers are common and short ones scarce: the data of Skew Length.

    Raises
    ------
    ValueError
        For more answers than the pool has.
    """
    Q, have = pool.rewards.shape
    if not 1 <= n <= have:
        raise ValueError(f"n must lie in 1..{have} (answers in the pool), got {n}")
    u = torch.rand(Q, have, generator=generator)
    keys = rate * pool.lengths.reshape(Q, have) - (-u.log()).log()  # Gumbel: the n largest are such a draw
    chosen, _ = keys.topk(n, 1).indices.sort(1)
    pick = (torch.arange(Q)[:, None] * have + chosen).flatten()
    return Rollout(
        pool.ids[pick], pool.mask[pick], pool.scored[pick], pool.rewards.gather(1, chosen),
        pool.old[pick], pool.ref[pick],
    )  # fmt: skip


class LengthArm(NamedTuple):
    """An arm of the length study."""

    problem: str  # min, mode or skew
    method: str
    on_policy: bool
    lr: float = 4e-3
    beta: float = 0.1
    model: bool = False  # whether it learns from a reward model instead of from the gold reward

    @property
    def label(self) -> str:
        """Such as ``offline dpo``."""
        name = f"{'on-policy' if self.on_policy else 'offline'} {self.method}"
        return f"{name}, model" if self.model else name


#: Learning rates are the best of 7e-4, 2e-3 and 6e-3 for each arm on seed 900, which is not reported. REINFORCE on
#: Min got more: betas 0.005, 0.02 and 0.05 on seeds 900 and 901, because it runs away at some.
LENGTH_ARMS = (
    LengthArm("min", "pref-ft", False, 6e-3),
    LengthArm("min", "rwr", False, 6e-3, 0.3),
    LengthArm("min", "dpo", False, 2e-3),
    LengthArm("min", "dpo", True, 6e-3),
    LengthArm("min", "reinforce", True, 6e-3, 0.02),
    LengthArm("min", "ppo", True, 6e-3, 0.05),
    LengthArm("mode", "pref-ft", False, 6e-3),
    LengthArm("mode", "dpo", False, 6e-3),
    LengthArm("mode", "dpo", True, 2e-3),
    LengthArm("mode", "reinforce", True, 7e-4, 0.05),
    LengthArm("skew", "dpo", False, 2e-3),
)
#: On-policy arms that see a reward model alone.
MODEL_ARMS = (
    LengthArm("min", "dpo", True, 6e-3, model=True),
    LengthArm("min", "reinforce", True, 6e-3, 0.02, model=True),
)


def length_study(
    arms: Sequence[LengthArm],
    seeds: Sequence[int],
    *,
    budget: int = 512,
    batch: int = 64,
    inner_steps: int = 6,
    minibatch: int = 32,
    rm_steps: int = 90,
    n_eval: int = 64,
    tilt: float = 0.4,
    label_noise: float = 0.0,
    looks: int = 1,
    progress: Callable[[Sequence[Any]], Iterable[Any]] = iter,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every arm on every seed; arms with ``model=True`` see a reward model's labels alone, the others gold ones.

    Parameters
    ----------
    arms : sequence of LengthArm
    seeds : sequence of int
        Each has its own prompts, offline answers and reward models.
    budget, batch, inner_steps, minibatch : int
        Answers in all, of a refresh, gradient steps on it, answers of a step; 4 answers a prompt.
    rm_steps, n_eval : int
        Steps of a reward model; held-out prompts of an evaluation (4 answers each).
    tilt : float
        Rate of :func:`tilt_lengths` for the skewed problem, whose reward is that of ``min``.
    label_noise : float
        Share of the reward model's pairs whose label is turned round.
    looks : int
        Looks at each policy.

    Returns
    -------
    (DataFrame, DataFrame)
        One row an arm, seed and look; and one a problem and seed: the reference's gold reward, length and mode,
        and the reward model's accuracy on held-out answers.
    """
    parent, tokenizer = load_parent()
    clauses = load_clauses(tokenizer, held=True)
    prompts = prompts_of(clauses)
    end, fill = tokenizer.eos_token_id, tokenizer.pad_token_id
    sampler = Sampler(end, fill, MAX_ANSWER)
    problems = list(dict.fromkeys(arm.problem for arm in arms))
    rows, references = [], []
    need = budget // sampler.n
    for seed in seeds:
        g = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(prompts), generator=g).tolist()
        mine, shown = ([prompts[i] for i in order[a:b]] for a, b in ((0, need), (need, need + n_eval)))
        wide = Sampler(end, fill, MAX_ANSWER, n=12 if "skew" in problems else sampler.n)
        flat = gold_reward("min")
        pool, held = wide(parent, parent, mine, flat, g), sampler(parent, parent, shown, flat, g)
        mode = int(torch.bincount(pool.lengths[pool.lengths < MAX_ANSWER]).argmax())
        for problem in problems:
            gold = gold_reward("mode" if problem == "mode" else "min", mode=mode)
            data = tilt_lengths(_relabelled(pool, gold), sampler.n, tilt if problem == "skew" else 0.0, g)
            test, todo = _relabelled(held, gold), [a for a in arms if a.problem == problem]
            model = None
            if any(arm.model for arm in todo):
                model = RewardModel(parent, seed=seed)
                model.fit(_relabelled(pool, gold), steps=rm_steps, label_noise=label_noise, seed=seed)
            references.append(
                {
                    "problem": problem, "seed": seed, "gold": float(test.rewards.mean()), "mode": mode,
                    "length": float(held.lengths.float().mean()), "data_length": float(data.lengths.float().mean()),
                    "accuracy": float("nan") if model is None else model.accuracy(test),
                }
            )  # fmt: skip
            for arm in progress(todo):
                label = model.score if model is not None and arm.model else gold
                steps = inner_steps if arm.on_policy else inner_steps * (budget // batch)
                cfg = PFTConfig(
                    arm.method, arm.on_policy, budget, batch, steps, sampler.n, minibatch, arm.lr, arm.beta
                )
                course = fine_tune(
                    copy.deepcopy(parent), mine, label, cfg, sampler, seed=seed, gold=gold, eval_prompts=shown,
                    looks=looks, data=None if arm.on_policy else data,
                )  # fmt: skip
                rows.append(course.assign(problem=problem, method=arm.label, seed=seed))
    return pd.concat(rows, ignore_index=True), pd.DataFrame(references)


def _relabelled(pool: Rollout, gold: LabelFunction) -> Rollout:
    new = copy.copy(pool)
    new.rewards = gold(pool.ids, pool.mask, pool.scored).reshape(pool.rewards.shape)
    return new


def by_arm(course: pd.DataFrame, problem: str, value: str) -> pd.DataFrame:
    """Last look of a problem's arms: seeds by method."""
    last = course[course.problem == problem].groupby(["seed", "method"], as_index=False).last()
    return last.pivot(index="seed", columns="method", values=value)  # noqa: PD010
