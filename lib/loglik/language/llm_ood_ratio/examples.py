"""What the method notebook shows: the course of a fine-tuning, an enumerable world, and noise that nobody has met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loglik.language import tokens
from loglik.language.llm_ood_ratio import theory
from loglik.language.llm_ood_ratio.metrics import auroc
from loglik.language.llm_ood_ratio.scores import log_likelihoods, ratio_scores
from loglik.train import Run

__all__ = ["SmallWorld", "Watch", "auroc", "shuffle_letters", "small_world"]

Floats = NDArray[np.float64]


class Watch:
    """A callback for :func:`loglik.train.fit` that scores test texts at some steps of a fine-tuning.

    Parameters
    ----------
    parent : causal model
    tokenizer : its tokenizer
    texts : mapping of str to list of str
        The first kind is the known one.
    steps : sequence of int
    max_len : int
    """

    def __init__(
        self,
        parent: Any,
        tokenizer: Any,
        texts: Mapping[str, Sequence[str]],
        *,
        steps: Sequence[int],
        max_len: int,
    ) -> None:
        self.parent, self.steps = parent, frozenset(steps)
        self.batches = {kind: tokens.encode(tokenizer, part, max_len=max_len) for kind, part in texts.items()}
        self.rows: list[dict[str, Any]] = []

    def __call__(self, run: Run) -> None:
        """Score, when it is time."""
        if run.step not in self.steps or any(row["step"] == run.step for row in self.rows):
            return
        found = {
            kind: ratio_scores(*log_likelihoods(self.parent, run.model, batch))
            for kind, batch in self.batches.items()
        }
        known, *unknown = found
        self.rows += [
            {
                "step": run.step,
                "unknown": kind,
                "score": name,
                "auroc": auroc(found[known][name], found[kind][name]),
            }
            for kind in unknown
            for name in ("LR", "LH")
        ]

    def table(self) -> pd.DataFrame:
        """Columns step, unknown, score, auroc."""
        return pd.DataFrame(self.rows)


class SmallWorld(NamedTuple):
    """Log-probabilities of all strings under every law."""

    known: Floats  # (N,)
    unknown: Floats  # (N,)
    child: Floats  # (N,)
    parents: dict[str, Floats]  # name -> (N,)

    def brackets(self, parent: str) -> theory.Brackets:
        """Both sides of the identity with that parent."""
        return theory.kl_identity(self.known, self.unknown, self.parents[parent], self.child)

    def auroc(self, parent: str, score: str) -> float:
        """Exact AUROC of LR or LH."""
        value = -self.child if score == "LH" else self.parents[parent] - self.child
        return theory.exact_auroc(value, self.known, self.unknown)


def small_world(rng: np.random.Generator, *, length: int = 8, n_known: int = 200) -> SmallWorld:
    """A noisy known law, an unknown one that always takes its likeliest steps, an estimated child, three parents."""
    even = np.full(3, 1 / 3)
    known = theory.Chain(even, np.array([[0.2, 0.5, 0.3], [0.3, 0.2, 0.5], [0.5, 0.3, 0.2]]))
    unknown = theory.Chain(even, np.array([[0.04, 0.92, 0.04], [0.04, 0.04, 0.92], [0.92, 0.04, 0.04]]))
    x = theory.strings(3, length)
    p, q = theory.log_probability(known, x), theory.log_probability(unknown, x)
    child = theory.fit_chain(theory.sample(known, n_known, length, rng), 3)
    parents = {
        "exact: the unknown law": q,
        "broad: both laws": np.logaddexp(p, q) - np.log(2),
        "narrow: uniform": np.full(len(x), -length * np.log(3)),
    }
    return SmallWorld(p, q, theory.log_probability(child, x), parents)


def shuffle_letters(texts: Sequence[str], rng: np.random.Generator) -> list[str]:
    """Each word's letters in random order: same letters, same lengths, no words."""
    return [" ".join("".join(rng.permutation(list(word))) for word in text.split()) for text in texts]
