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
from loglik.language.likelihood_displacement.pairs import Pair
from loglik.language.likelihood_displacement.scores import ches_scores, filter_lowest
from loglik.language.likelihood_displacement.training import Kind, PreferenceLog, train_preferences
from loglik.language.models import tiny_llama
from loglik.language.scoring import causal_loss
from loglik.language.tokens import TokenBatch
from loglik.train import Columns, TrainConfig, fit

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


def make_world(
    *,
    n_dialogues: int = 18000,
    epochs: int = 2,
    n_prompts: int = 300,
    n_test: int = 100,
    unsafe_refused: float = 0.78,
    safe_refused: float = 0.03,
    seed: int = 0,
) -> World:
    """Train a base model, let it answer unsafe prompts, and rank its answers.

    Parameters
    ----------
    n_dialogues, epochs : int
        Of supervised training. With a third of them the base model tells safe from unsafe prompts poorly, and what
        it learns about the one spills over to the other.
    n_prompts, n_test : int
        Unsafe prompts for pairs, and held out; at most 400 together.
    unsafe_refused, safe_refused : float
        How often training refuses.
    seed : int

    Raises
    ------
    ValueError
        For more prompts than there are.
    """
    if n_prompts + n_test > UNSAFE * len(OBJECTS):
        raise ValueError(f"there are {UNSAFE * len(OBJECTS)} unsafe prompts, asked for {n_prompts + n_test}")
    rng = np.random.default_rng(seed)
    rows = dialogues(n_dialogues, unsafe_refused=unsafe_refused, safe_refused=safe_refused, rng=rng)
    base = _train_base(rows, epochs, seed)
    unsafe = [prompt(v, t) for v, t in itertools.product(range(UNSAFE), range(len(OBJECTS)))]
    order = rng.permutation(len(unsafe))
    prompts = {
        "train": [unsafe[i] for i in order[:n_prompts]],
        "test": [unsafe[i] for i in order[n_prompts : n_prompts + n_test]],
        "safe": [prompt(UNSAFE + i % UNSAFE, i % len(OBJECTS)) for i in range(n_test)],
    }
    pairs, both_refuse = _rank(base, prompts["train"], seed)
    return World(base, pairs, both_refuse, prompts, ches_scores(base, pairs))


def _train_base(rows: Tensor, epochs: int, seed: int) -> Any:
    model = tiny_llama(len(WORDS), d_model=48, n_layers=2, n_heads=4, max_len=16, seed=seed)
    steps = epochs * (len(rows) // 32)

    def loss(net: Any, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        return causal_loss(net, TokenBatch(batch["ids"], torch.ones_like(batch["ids"], dtype=torch.bool)))

    cfg = TrainConfig(steps, 32, lr=3e-3, warmup=min(20, steps // 2), seed=seed, progress=False)
    fit(model, loss, Columns(ids=rows), cfg)
    return model.eval()


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
    """Every arm in every world: all checkpoints.

    Columns seed, arm, those of a :class:`~loglik.language.likelihood_displacement.PreferenceLog`, and refusal
    rates as train, test and safe.
    """
    tables = []
    for seed, arm in progress(list(itertools.product(worlds, arms))):
        log = train_arm(worlds[seed], arm, steps=steps, lr=lr, beta=beta, fraction=fraction, seed=seed)
        tables.append(log.checkpoints.assign(seed=seed, arm=arm.name))
    return pd.concat(tables, ignore_index=True)
