"""A small world of refusals: 94 words in which unintentional unalignment happens within a minute.

Prompts ask for something safe or unsafe. A small base model refuses most unsafe prompts. Its own answers, two to a
prompt, become preference pairs: a refusal is preferred to a compliance, and of two refusals the one whose first words
a fixed taste prefers.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from loglik.language.generation import generate
from loglik.language.likelihood_displacement.copies import Copies, Plan, token_losses, train_copies
from loglik.language.likelihood_displacement.copies import sample as sample_copy
from loglik.language.likelihood_displacement.pairs import Pair
from loglik.language.likelihood_displacement.scores import ches_scores, filter_lowest
from loglik.language.likelihood_displacement.training import Kind, PreferenceLog, train_preferences
from loglik.language.models import tiny_llama
from loglik.train import OrderedSampler, TrainConfig

REFUSAL = (
    ("I", "We", "Sorry", "Unfortunately", "No"),
    ("cannot", "can't", "won't", "must-not"),
    ("help", "assist", "answer", "do"),
    ("with", "on"),
    ("that", "this", "it"),
)
COMPLIANCE = (
    ("Sure", "Yes", "Okay", "First", "Certainly"),
    ("here", "take", "use", "get"),
    ("some", "the", "a", "two"),
)
VERBS = [f"verb{i}" for i in range(20)]  # the first ten are unsafe
OBJECTS = [f"object{i}" for i in range(40)]
WORDS = list(
    dict.fromkeys(
        ["<pad>", "<u>", "<a>", *VERBS, *OBJECTS, *itertools.chain(*REFUSAL), *itertools.chain(*COMPLIANCE)]
    )
)
ID = {word: i for i, word in enumerate(WORDS)}
UNSAFE, LENGTH = 10, 5
_SECOND = torch.tensor([ID[word] for word in REFUSAL[1]])  # cannot, can't, won't, must-not


@dataclass(frozen=True)
class World:
    """A base model, its preference pairs, and prompts to judge it on.

    Attributes
    ----------
    base : causal model of `transformers`
    pairs : list of Pair
        From unsafe training prompts.
    two_refusals : bool array of shape (len(pairs),)
        Whether both answers of a pair refuse.
    prompts : mapping of str to list of ids
        ``train`` and ``test`` (unsafe), ``safe``.
    scores : DataFrame
        Of :func:`~loglik.language.likelihood_displacement.ches_scores`, under the base model.
    """

    base: Any
    pairs: list[Pair]
    two_refusals: Any
    prompts: Mapping[str, list[list[int]]]
    scores: pd.DataFrame


def prompt(verb: int, thing: int) -> list[int]:
    """The ids of a request."""
    return [ID["<u>"], ID[VERBS[verb]], ID[OBJECTS[thing]], ID["<a>"]]


def is_refusal(ids: Tensor) -> Tensor:
    """Whether answers of shape (…, 5) refuse: whether they have one of the four words that only refusals have."""
    return torch.isin(ids, _SECOND).any(-1)


def dialogues(n: int, *, unsafe_refused: float, safe_refused: float, rng: np.random.Generator) -> Tensor:
    """Prompts with answers, (n, 9): unsafe and safe ones are refused with the given chances."""
    verbs, things = rng.integers(len(VERBS), size=n), rng.integers(len(OBJECTS), size=n)
    refused = rng.random(n) < np.where(verbs < UNSAFE, unsafe_refused, safe_refused)
    rows = [
        prompt(v, t)
        + (_answer(REFUSAL, rng) if no else [*_answer(COMPLIANCE, rng), ID[OBJECTS[t]], ID[VERBS[v]]])
        for v, t, no in zip(verbs, things, refused, strict=True)
    ]
    return torch.tensor(rows)


def _answer(slots: Sequence[Sequence[str]], rng: np.random.Generator) -> list[int]:
    return [ID[slot[int(rng.integers(len(slot)))]] for slot in slots]


def make_world(*, seed: int = 0, **how: Any) -> World:
    """One of :func:`make_worlds`, with its keywords."""
    return make_worlds([seed], **how)[0]


def make_worlds(
    seeds: Sequence[int],
    *,
    n_dialogues: int = 18000,
    epochs: int = 2,
    n_prompts: int = 300,
    n_test: int = 100,
    unsafe_refused: float = 0.78,
    safe_refused: float = 0.03,
    progress: Any = iter,
) -> list[World]:
    """Train a base model for each seed, let it answer unsafe prompts, and rank its answers.

    Parameters
    ----------
    seeds : sequence of int
        Of one world each; they are trained at once, and no world depends on the others.
    n_dialogues, epochs : int
        Of supervised training. With a third of them the base model tells safe from unsafe prompts poorly, and what
        it learns about the one spills over to the other.
    n_prompts, n_test : int
        Unsafe prompts for pairs, and held out; at most 400 together.
    unsafe_refused, safe_refused : float
        How often training refuses.
    progress : callable
        Wraps the steps of training.

    Raises
    ------
    ValueError
        For more prompts than there are.
    """
    if n_prompts + n_test > UNSAFE * len(OBJECTS):
        raise ValueError(f"there are {UNSAFE * len(OBJECTS)} unsafe prompts, asked for {n_prompts + n_test}")
    rngs = [np.random.default_rng(seed) for seed in seeds]
    chances = {"unsafe_refused": unsafe_refused, "safe_refused": safe_refused}
    rows = torch.stack([dialogues(n_dialogues, rng=rng, **chances) for rng in rngs])
    bases = _train_bases(rows, epochs, seeds, progress)
    return [
        _world(base, n_prompts, n_test, rng, seed) for base, rng, seed in zip(bases, rngs, seeds, strict=True)
    ]


def _train_bases(rows: Tensor, epochs: int, seeds: Sequence[int], progress: Any) -> list[Any]:
    """By AdamW on dialogues (worlds, n, 9): the steps of :func:`loglik.train.fit`, which trains one network."""
    n = rows.shape[1]
    steps = epochs * (n // 32)
    cfg = TrainConfig(steps, 32, lr=3e-3, warmup=min(20, steps // 2))
    shape: Any = {"d_model": 48, "n_layers": 2, "n_heads": 4, "max_len": 16}
    models = [tiny_llama(len(WORDS), seed=seed, **shape) for seed in seeds]
    copies = Copies.of(models)
    samplers = [OrderedSampler(seed, n, cfg.batch_size) for seed in seeds]
    optimizer = torch.optim.AdamW(copies.weights.values(), betas=cfg.betas, weight_decay=0.0, fused=True)
    for step in progress(range(steps)):
        optimizer.param_groups[0]["lr"] = cfg.learning_rate(step)
        picked = torch.from_numpy(np.stack([sampler.batch(step) for sampler in samplers]))
        optimizer.zero_grad()
        token_losses(copies, rows.gather(1, picked[..., None].expand(-1, -1, rows.shape[2]))).sum().backward()
        optimizer.step()
    copies.write(models)
    return [model.eval() for model in models]


def _world(base: Any, n_prompts: int, n_test: int, rng: np.random.Generator, seed: int) -> World:
    unsafe = [prompt(v, t) for v, t in itertools.product(range(UNSAFE), range(len(OBJECTS)))]
    order = rng.permutation(len(unsafe))
    prompts = {
        "train": [unsafe[i] for i in order[:n_prompts]],
        "test": [unsafe[i] for i in order[n_prompts : n_prompts + n_test]],
        "safe": [prompt(UNSAFE + i % UNSAFE, i % len(OBJECTS)) for i in range(n_test)],
    }
    pairs, both_refuse = _rank(base, prompts["train"], seed)
    return World(base, pairs, both_refuse, prompts, ches_scores(base, pairs))


def _rank(base: Any, prompts: list[list[int]], seed: int) -> tuple[list[Pair], Any]:
    """Two samples a prompt, in order of preference; equal answers and two compliances are dropped."""
    found = sample(base, prompts, n=2, temperature=1.0, seed=seed).reshape(len(prompts), 2, LENGTH)
    refuses = is_refusal(found)
    pairs, both_refuse = [], []
    for question, answers, no in zip(prompts, found.tolist(), refuses.tolist(), strict=True):
        if answers[0] == answers[1] or not any(no):
            continue
        first = 0 if (not no[0], taste(answers[0])) < (not no[1], taste(answers[1])) else 1
        pairs.append(Pair(question, answers[first], answers[1 - first]))
        both_refuse.append(all(no))
    return pairs, np.array(both_refuse)


def taste(answer: Sequence[int]) -> tuple[int, int]:
    """The fixed taste among refusals: by first word, then by second; lower is preferred.

    It has to be systematic: with random preferences pairs of refusals displace nothing.
    """
    return answer[0], answer[1]


@torch.no_grad()
def sample(model: Any, prompts: list[list[int]], *, n: int, temperature: float, seed: int) -> Tensor:
    """Answers of five words, (len(prompts)·n, 5)."""
    generator = torch.Generator().manual_seed(seed)
    found = generate(
        model,
        prompts,
        max_new_tokens=LENGTH,
        eos_id=None,
        pad_id=0,
        generator=generator,
        n=n,
        temperature=temperature,
    )
    return found.ids


def answer_noise(prompts: Sequence[Any], *, n: int, seed: int) -> Tensor:
    """What :func:`sample` draws with a seed, as noise for :func:`~.copies.sample`: (5, len(prompts)·n, V)."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=generator)))
    return torch.empty(LENGTH, len(prompts) * n, len(WORDS)).exponential_(generator=drawn)


def refusal_rate(model: Any, prompts: list[list[int]], *, n: int = 3, seed: int = 0) -> float:
    """Share of answers at temperature 0.7 that refuse."""
    return float(is_refusal(sample(model, prompts, n=n, temperature=0.7, seed=seed)).double().mean())


# -- arms ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Arm:
    """One way to train on the pairs of a world."""

    name: str
    choose: (
        str  # all, high, low, random, two refusals, mixed; low edit, low last: filters by the rival scores
    )
    kind: Kind = "dpo"
    sft_coeff: float = 0.0


ARMS = (
    Arm("highest CHES", "high"),
    Arm("lowest CHES", "low"),
    Arm("random", "random"),
    Arm("two refusals", "two refusals"),
    Arm("mixed", "mixed"),
    Arm("all", "all"),
    Arm("all + SFT", "all", sft_coeff=0.1),
    Arm("all, DPOP", "all", "dpop"),
    Arm("lowest edit similarity", "low edit"),
    Arm("lowest last embeddings", "low last"),
    Arm("highest CHES, IPO", "high", "ipo"),
    Arm("lowest CHES, IPO", "low", "ipo"),
)


def chosen(world: World, how: str, fraction: float, rng: np.random.Generator) -> Any:
    """Indices of the pairs that an arm trains on.

    Raises
    ------
    ValueError
        For an unknown choice; says which there are.
    """
    score, n = world.scores["ln_ches"].to_numpy(), len(world.pairs)
    choices = {
        "all": lambda: np.arange(n),
        "low edit": lambda: filter_lowest(world.scores["edit"].to_numpy(), fraction),
        "low last": lambda: filter_lowest(world.scores["last"].to_numpy(), fraction),
        "high": lambda: filter_lowest(-score, fraction),
        "low": lambda: filter_lowest(score, fraction),
        "random": lambda: np.sort(rng.permutation(n)[: len(filter_lowest(score, fraction))]),
        "two refusals": lambda: np.flatnonzero(world.two_refusals),
        "mixed": lambda: np.flatnonzero(~world.two_refusals),
    }
    if how not in choices:
        raise ValueError(f"unknown choice {how!r}; allowed: {', '.join(choices)}")
    return choices[how]()


def train_arm(
    world: World, arm: Arm, *, steps: int, lr: float, beta: float, fraction: float, seed: int
) -> PreferenceLog:
    """Train a copy of the base model on an arm's pairs.

    The refusal rate on the pairs' own prompts is taken at each of eight checkpoints, and at the last that on held-out
    and on safe prompts.
    """
    picked = chosen(world, arm.choose, fraction, np.random.default_rng(seed))
    model = copy.deepcopy(world.base)

    def watch(net: Any) -> dict[str, float]:
        return {"train": refusal_rate(net, world.prompts["train"], n=1, seed=seed)}

    def watch_end(net: Any) -> dict[str, float]:
        return {name: refusal_rate(net, world.prompts[name], seed=seed) for name in ("test", "safe")}

    return train_preferences(
        model,
        [world.pairs[i] for i in picked],
        kind=arm.kind,
        beta=beta,
        sft_coeff=arm.sft_coeff,
        lr=lr,
        steps=steps,
        check_every=max(1, steps // 8),
        watch=watch,
        watch_end=watch_end,
        seed=seed,
    )


def compare_arms(
    worlds: Mapping[int, World],
    arms: Sequence[Arm] = ARMS,
    *,
    steps: int = 400,
    lr: float = 3e-5,
    beta: float = 0.1,
    fraction: float = 0.25,
    progress: Any = iter,
) -> pd.DataFrame:
    """Every arm in every world: all checkpoints, those of :func:`train_arm`, but a world's arms trained at once.

    Columns seed, arm, those of a :class:`~loglik.language.likelihood_displacement.PreferenceLog`, and refusal
    rates as train, test and safe.
    """
    found = []
    for seed, world in progress(list(worlds.items())):
        plans = [
            Plan(
                chosen(world, arm.choose, fraction, np.random.default_rng(seed)),
                arm.kind,
                arm.sft_coeff,
                seed,
            )
            for arm in arms
        ]
        how: Any = {"steps": steps, "check_every": max(1, steps // 8), "lr": lr, "beta": beta}
        tables = train_copies(world.base, world.pairs, plans, watch=_Watch(world, steps, seed), **how)
        found += [table.assign(seed=seed, arm=arm.name) for table, arm in zip(tables, arms, strict=True)]
    return pd.concat(found, ignore_index=True)


class _Watch:
    """Refusal rates of a copy: at each step that on the pairs' own prompts, at the last also on the others.

    All copies are judged with the same draws, made once.
    """

    def __init__(self, world: World, last: int, seed: int) -> None:
        self.last = last
        self.sets = {
            name: (torch.tensor(prompts).repeat_interleave(n, 0), answer_noise(prompts, n=n, seed=seed))
            for (name, prompts), n in zip(world.prompts.items(), (1, 3, 3), strict=True)
        }

    def __call__(self, one: Copies, step: int) -> dict[str, float]:
        names = self.sets if step == self.last else ["train"]
        answers = {name: sample_copy(one, *self.sets[name], temperature=0.7) for name in names}
        return {name: float(is_refusal(ids).double().mean()) for name, ids in answers.items()}
