r"""The paper's generic loop on tabular bandits: many runs in one tensor program.

Repeat: collect answers (from the reference once, or from the current policy), label them, take gradient steps on one
loss. A run is a row of the leading axis: logits (R, A, V). :func:`loglik.train.fit` trains one model; here seeds and
hyper-parameters are an axis, so the loop and the Adam step are written out, with a learning rate for each run. Random
numbers belong to a run's seed, so a run is the same whoever stands beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from loglik.language.on_policy_preferences import losses
from loglik.language.on_policy_preferences.bandit import PreferenceBandit
from loglik.language.on_policy_preferences.config import PFTConfig


class Runs(NamedTuple):
    """What R runs went through; all tensors on the CPU."""

    logits: Tensor  # (R, A, V) at the end
    steps: Tensor  # (K,) gradient steps at each look
    samples_used: Tensor  # (K,) answers labelled so far
    reward: Tensor  # (R, K) exact
    kl: Tensor  # (R, K) exact, to the reference
    entropy: Tensor  # (R, K) nats an answer
    logp_w: Tensor  # (R, K) mean log-probability of the better halves of pairs: offline those trained on
    logp_l: Tensor  # (R, K) of the worse halves
    logp_other: Tensor  # (R, K) of answers of the reference that were never trained on


@dataclass
class _Batch:
    """Answers in groups, one row a run: N answers to each of G prompts."""

    actions: Tensor  # (R, G, N, A)
    rewards: Tensor  # (R, G, N)
    old: Tensor  # (R, G, N, A) log-probabilities when sampled
    ref: Tensor  # (R, G, N, A) under the reference

    def groups(self, rows: Tensor) -> _Batch:
        """Some prompts, other ones for each run: rows (R, g)."""
        pick = torch.arange(len(rows))[:, None], rows
        return _Batch(self.actions[pick], self.rewards[pick], self.old[pick], self.ref[pick])


def fine_tune_bandit(
    bandit: PreferenceBandit,
    cfg: PFTConfig,
    *,
    seeds: Sequence[int],
    lr: Sequence[float] | float | None = None,
    beta: Sequence[float] | float | None = None,
    looks: int = 20,
) -> Runs:
    """Fine-tune R tabular policies, all beginning at the reference.

    Parameters
    ----------
    bandit : PreferenceBandit
    cfg : PFTConfig
        Method, budget, batch, inner steps; its `lr` and `beta` are used where none are given below.
    seeds : sequence of R ints
        Of the samples; runs of the same seed share their random numbers.
    lr, beta : float or sequence of R floats, optional
        Of each run.
    looks : int
        About how often to look at the policies.

    Raises
    ------
    ValueError
        For no seeds, or sequences of another length than `seeds`.
    """
    if not len(seeds):
        raise ValueError("seeds is empty: give one for each run")
    rates, betas = (
        _each(x, len(seeds), name) for x, name in ((lr or cfg.lr, "lr"), (beta or cfg.beta, "beta"))
    )
    draw = _Draws(seeds)
    logits = bandit.ref_logits.float().expand(len(seeds), -1, -1).clone().requires_grad_()
    adam = _Adam(logits, rates)
    loss = _LOSSES[cfg.method]
    total = cfg.gradient_steps
    every, step = max(1, total // looks), 0
    for refresh in range(cfg.refreshes):
        batch = _collect(bandit, logits, draw, cfg)
        if refresh == 0:  # the policy is still the reference, so these are its answers in either case
            probe = _probe(bandit, draw, batch)
            history = [_look(bandit, logits, probe, 0, 0)]
        orders = draw.orders(cfg.inner_steps, batch.rewards.shape[1], cfg.minibatch // cfg.n_per_prompt)
        for rows in orders:
            part = batch.groups(rows)
            (gradient,) = torch.autograd.grad(loss(logits, part, betas).sum(), logits)
            adam.step(gradient)
            step += 1
            if step % every == 0 or step == total:
                history.append(_look(bandit, logits, probe, step, (refresh + 1) * cfg.batch))
    columns = list(zip(*history, strict=True))
    return Runs(
        logits.detach(),
        torch.tensor(columns[0]),
        torch.tensor(columns[1]),
        *(torch.stack(c, 1) for c in columns[2:]),
    )


def token_logp(logits: Tensor, actions: Tensor) -> Tensor:
    """Log-probabilities of each token: logits (R, A, V) and actions (R, G, N, A) to (R, G, N, A)."""
    R, G, N, A = actions.shape
    index = actions.reshape(R, G * N, A).transpose(1, 2)
    return logits.log_softmax(-1).gather(2, index).transpose(1, 2).reshape(R, G, N, A)


class _Draws:
    """Random numbers of each seed, stacked; equal seeds get equal numbers."""

    def __init__(self, seeds: Sequence[int]) -> None:
        distinct = sorted(set(seeds))
        self.generators = [torch.Generator().manual_seed(int(seed)) for seed in distinct]
        self.row = torch.tensor([distinct.index(seed) for seed in seeds])

    def uniform(self, *shape: int) -> Tensor:
        return torch.stack([torch.rand(shape, generator=g) for g in self.generators])[self.row]

    def orders(self, steps: int, n: int, size: int) -> list[Tensor]:
        """Groups of each inner step, (R, size): whole passes through all n in random order."""
        if size >= n:
            return [torch.arange(n).expand(len(self.row), -1)] * steps
        passes = -(-steps * size // n)
        order = torch.cat([self.uniform(n).argsort(1) for _ in range(passes)], 1)
        return list(order[:, : steps * size].reshape(len(self.row), steps, size).unbind(1))


class _Adam:
    """Adam with a learning rate for each run (torch's has one for all of a tensor)."""

    def __init__(self, weights: Tensor, lr: Tensor) -> None:
        self.weights, self.lr, self.t = weights, lr[:, None, None], 0
        self.m, self.v = torch.zeros_like(weights), torch.zeros_like(weights)

    @torch.no_grad()
    def step(self, gradient: Tensor) -> None:
        self.t += 1
        self.m.mul_(0.9).add_(gradient, alpha=0.1)
        self.v.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        scale = (self.v / (1 - 0.999**self.t)).sqrt_().add_(1e-8)
        self.weights -= self.lr / (1 - 0.9**self.t) * self.m / scale


@torch.no_grad()
def _sample(logits: Tensor, draw: _Draws, n: int) -> Tensor:
    """Answers of each run by inversion, n of them: (R, n, A)."""
    steps = logits.softmax(-1).cumsum(-1)
    u = draw.uniform(logits.shape[1], n) * steps[..., -1:]
    return torch.searchsorted(steps, u).clamp(max=logits.shape[2] - 1).transpose(1, 2)


@torch.no_grad()
def _collect(bandit: PreferenceBandit, logits: Tensor, draw: _Draws, cfg: PFTConfig) -> _Batch:
    reference = bandit.ref_logp.float().expand_as(logits).contiguous()
    source = logits if cfg.on_policy else reference
    actions = _sample(source, draw, cfg.batch).unflatten(1, (-1, cfg.n_per_prompt))
    rewards = bandit.rewards.float()[actions].mean(-1)
    return _Batch(actions, rewards, token_logp(source, actions), token_logp(reference, actions))


def _probe(bandit: PreferenceBandit, draw: _Draws, batch: _Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Winners and losers among the first answers, and answers that nobody trains on: (R, 1, 500, A) at most."""
    reference = bandit.ref_logp.float().expand(len(draw.row), bandit.n_tokens, -1).contiguous()
    other = _sample(reference, draw, 500).unsqueeze(1)
    known = batch.actions.flatten(1, 2)[:, :1000]
    a, b = (half.unsqueeze(1) for half in (known[:, 0::2], known[:, 1::2]))
    n = b.shape[2]
    first = (bandit.rewards[a[:, :, :n]].mean(-1) >= bandit.rewards[b].mean(-1))[..., None]
    return torch.where(first, a[:, :, :n], b), torch.where(first, b, a[:, :, :n]), other


@torch.no_grad()
def _look(
    bandit: PreferenceBandit, logits: Tensor, probe: tuple[Tensor, Tensor, Tensor], step: int, samples: int
) -> tuple[int, int, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    logp = logits.log_softmax(-1)
    entropy = -(logp.exp() * logp).sum((-1, -2))
    winner, loser, other = (token_logp(logits, answers).sum(-1).mean((1, 2)) for answers in probe)
    return step, samples, bandit.exact_reward(logits), bandit.exact_kl(logits), entropy, winner, loser, other


# -- losses of one minibatch: (R,), the mean over answers or pairs of each run -----------------------------------


def _answers(logits: Tensor, batch: _Batch) -> Tensor:
    return token_logp(logits, batch.actions).sum(-1)


def _best(logits: Tensor, batch: _Batch, beta: Tensor) -> Tensor:
    index = losses.best_of(batch.rewards)
    pick = index[..., None, None].expand(-1, -1, 1, batch.actions.shape[3])
    best = token_logp(logits, batch.actions.gather(2, pick)).sum((-1, -2))
    return losses.pref_ft_loss(best, reduction="none").mean(1)


def _pairs(rewards: Tensor) -> Tensor:
    """Weights of ordered pairs (R, G, N, N): 1 / number of pairs of the run where the first is strictly better."""
    better = (rewards[..., :, None] > rewards[..., None, :]).float()
    return better / better.sum((1, 2, 3), keepdim=True).clamp(min=1)


def _pref_ft(logits: Tensor, batch: _Batch, beta: Tensor) -> Tensor:
    wins = _pairs(batch.rewards).sum(3)
    return (wins * losses.pref_ft_loss(_answers(logits, batch), reduction="none")).sum((1, 2))


def _contrast(kind: str) -> Callable[[Tensor, _Batch, Tensor], Tensor]:
    def loss(logits: Tensor, batch: _Batch, beta: Tensor) -> Tensor:
        logp, ref, scale = _answers(logits, batch), batch.ref.sum(-1), beta[:, None, None, None]
        shape = (*logp.shape, logp.shape[2])
        lw, rw = (x[..., :, None].expand(shape) for x in (logp, ref))
        ll, rl = (x[..., None, :].expand(shape) for x in (logp, ref))
        if (
            kind == "dpo"
        ):  # beta multiplies h alone, so scaled log-probabilities at beta one are the same loss
            values = losses.dpo_loss(*(scale * x for x in (lw, ll, rw, rl)), beta=1.0, reduction="none")
        else:  # beta² times IPO: the same minimum, and Adam doesn't see the factor
            values = losses.ipo_loss(*(scale * x for x in (lw, ll, rw, rl)), target=0.5, reduction="none")
        return (_pairs(batch.rewards) * values).sum((1, 2, 3))

    return loss


def _rwr(logits: Tensor, batch: _Batch, beta: Tensor) -> Tensor:
    rewards = losses.standardise(batch.rewards)
    weighted = losses.rwr_loss(_answers(logits, batch), rewards, beta=beta[:, None, None], reduction="none")
    return weighted.mean((1, 2))


def _reinforce(allow_negative: bool) -> Callable[[Tensor, _Batch, Tensor], Tensor]:
    def loss(logits: Tensor, batch: _Batch, beta: Tensor) -> Tensor:
        logp = _answers(logits, batch).flatten(1)
        gain = losses.standardise(batch.rewards.flatten(1))
        plain = losses.reinforce_loss(logp, gain, allow_negative=allow_negative, reduction="none").mean(1)
        return plain + beta * _kl(logits, batch)

    return loss


def _ppo(logits: Tensor, batch: _Batch, beta: Tensor) -> Tensor:
    tokens = token_logp(logits, batch.actions).flatten(1, 2)
    gain = losses.standardise(batch.rewards.flatten(1))
    plain = losses.ppo_loss(tokens, batch.old.flatten(1, 2), gain, reduction="none").mean(1)
    return plain + beta * _kl(logits, batch)


def _kl(logits: Tensor, batch: _Batch) -> Tensor:
    """Half the mean square of h: its gradient on the sampling policy is that of KL(policy || reference)."""
    h = _answers(logits, batch) - batch.ref.sum(-1)
    return 0.5 * h.square().mean((1, 2))


_LOSSES: dict[str, Callable[[Tensor, _Batch, Tensor], Tensor]] = {
    "pref-ft": _pref_ft,
    "best-of-n": _best,
    "rwr": _rwr,
    "dpo": _contrast("dpo"),
    "ipo": _contrast("ipo"),
    "reinforce": _reinforce(True),
    "reinforce-nonneg": _reinforce(False),
    "ppo": _ppo,
}


def _each(value: Sequence[float] | float, n: int, name: str) -> Tensor:
    found = torch.as_tensor(np.broadcast_to(np.asarray(value, dtype=np.float32), (n,)).copy())
    if not bool((found > 0).all()):
        raise ValueError(f"{name} must be above 0 for every run")
    return found
