"""Questions about texts, with answers that can be checked: a specialised model, its general sibling, and refusals.

A question is the beginning of a real text and the word that asks for its kind; the answer is one word. Four trades
share one template: is a mail ham or spam, a verse from the Old or the New Testament, a paragraph by an early or a late
Austen, a paragraph of Python's reference long or short.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from loglik.language import tokens
from loglik.language.base import load_base
from loglik.language.corpora import KJV_GENRES, Doc
from loglik.language.generation import generate
from loglik.language.llm_ood_ratio import baselines
from loglik.language.llm_ood_ratio.data import Pool
from loglik.language.llm_ood_ratio.scores import qa_scores
from loglik.language.llm_ood_ratio.tuning import finetune
from loglik.language.scoring import token_logprobs
from loglik.language.tokens import TokenBatch

Floats = NDArray[np.float64]
ASK = "\nKind:"
TRADES = {
    "mails": ("ham", "spam"),
    "verses": ("gospels", "prophets", "history"),
    "novels": ("austen",),
    "reference": ("python",),
}
EARLY = ("Sense & Sensibility", "Pride & Prejudice", "Northanger Abbey")


class Quiz(NamedTuple):
    """Questions with their right answers."""

    questions: list[str]
    answers: list[str]


def answer(doc: Doc) -> str:
    """The right answer to the question about a document: one word."""
    if doc.source == "kjv":
        return "new" if KJV_GENRES[doc.label] in ("gospels", "epistles") else "old"
    if doc.source == "spamassassin":
        return "spam" if doc.label.startswith("spam") else "ham"
    if doc.source == "austen":
        return "early" if doc.label in EARLY else "late"
    return "long" if len(doc.text) > 200 else "short"


def make_quiz(documents: Sequence[Doc], tokenizer: Any, max_len: int = 40) -> Quiz:
    """Questions on documents, each cut to `max_len` tokens."""
    begun = baselines.first_tokens(tokenizer, [doc.text for doc in documents], max_len)
    return Quiz([text + ASK for text in begun], [answer(doc) for doc in documents])


def quiz_loss(weight: float) -> Any:
    """Loss of a whole document in which the answer's tokens count `weight` times."""

    def loss(model: Any, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        logp = token_logprobs(model, batch.ids, batch.mask)
        scored = batch.mask[:, 1:]
        ends = scored.sum(1, keepdim=True)
        place = torch.arange(scored.shape[1], device=scored.device)[None, :]
        factor = torch.where((place >= ends - 3) & scored, weight, 1.0) * scored  # answer, newline, end
        return -(logp * factor).sum(), factor.sum()

    return loss


def train_on(
    parent: Any, tokenizer: Any, quiz: Quiz, *, epochs: float, lr: float, seed: int, weight: float = 8.0
) -> Any:
    """A child of `parent` that has learnt questions with their answers."""
    documents = [f"{q} {a}\n" for q, a in zip(quiz.questions, quiz.answers, strict=True)]
    batch = tokens.encode(tokenizer, documents)
    return finetune(parent, batch, epochs=epochs, lr=lr, seed=seed, loss_fn=quiz_loss(weight)).model


def reply(
    model: Any, tokenizer: Any, questions: Sequence[str], *, max_new_tokens: int = 4, rows: int = 64
) -> list[str]:
    """Greedy answers, up to the first newline."""
    prompts = [
        [tokenizer.bos_token_id, *ids]
        for ids in tokenizer(list(questions), add_special_tokens=False)["input_ids"]
    ]
    out: list[str] = []
    for start in range(0, len(prompts), rows):  # ragged prompts in batches
        said = generate(
            model, prompts[start : start + rows], max_new_tokens=max_new_tokens, eos_id=tokenizer.eos_token_id,
            pad_id=tokenizer.pad_token_id, temperature=0.0, generator=torch.Generator().manual_seed(0),
        )  # fmt: skip
        texts = tokens.decode(tokenizer, TokenBatch(said.ids, said.mask))
        out += [text.strip().split("\n")[0].strip() or "?" for text in texts]
    return out


class Exam(NamedTuple):
    """Scores of the specialised model's questions and of foreign ones."""

    known: dict[str, Floats]  # score -> (N,)
    foreign: dict[str, Floats]  # score -> (M,)
    correct: NDArray[np.bool_]  # (N,) whether the specialised model answers right
    general_correct: float  # share of the same questions that the general sibling answers right
    trades: NDArray[np.str_]  # (M,) of the foreign questions


def question_study(
    pools: Mapping[str, Pool],
    seed: int,
    *,
    n_general: int = 120,
    n_special: int = 480,
    n_test: int = 120,
    epochs: float = 3.0,
    lr: float = 2e-3,
    max_len: int = 40,
) -> Exam:
    """Train a general model on all trades and a specialised one on mails; score questions of all trades.

    Parameters
    ----------
    pools : mapping of str to Pool
    seed : int
    n_general : int
        Questions of each trade that the general model learns from.
    n_special : int
        Questions on mails that the specialised model learns from; it starts as the general one.
    n_test : int
        Test questions on mails; as many foreign ones, equally from the other trades.
    epochs, lr, max_len
        Of both trainings; `max_len` cuts the texts, in tokens.
    """
    rng = np.random.default_rng(seed)
    base, tokenizer = load_base()

    def pick(trade: str, part: str, n: int) -> list[Doc]:
        groups = [getattr(pools[name], part) for name in TRADES[trade]]
        chosen = [g[i] for g in groups for i in rng.permutation(len(g))[: -(-n // len(groups))]]
        return [chosen[i] for i in rng.permutation(len(chosen))[:n]]

    lessons = [doc for trade in TRADES for doc in pick(trade, "train", n_general)]
    general = train_on(
        base, tokenizer, make_quiz(lessons, tokenizer, max_len), epochs=epochs, lr=lr, seed=seed
    )
    special_quiz = make_quiz(pick("mails", "train", n_special), tokenizer, max_len)
    special = train_on(general, tokenizer, special_quiz, epochs=epochs, lr=lr / 2, seed=seed)
    mails = make_quiz(pick("mails", "test", n_test), tokenizer, max_len)
    others = {trade: pick(trade, "test", n_test // 3) for trade in TRADES if trade != "mails"}
    foreign = make_quiz([doc for docs in others.values() for doc in docs], tokenizer, max_len)
    said = reply(special, tokenizer, mails.questions)
    marks = [a == b for a, b in zip(said, mails.answers, strict=True)]
    siblings = [
        a == b for a, b in zip(reply(general, tokenizer, mails.questions), mails.answers, strict=True)
    ]
    return Exam(
        known=qa_scores(special, general, tokenizer, mails.questions, said),
        foreign=qa_scores(special, general, tokenizer, foreign.questions, reply(special, tokenizer, foreign.questions)),
        correct=np.array(marks),
        general_correct=float(np.mean(siblings)),
        trades=np.repeat(list(others), [len(docs) for docs in others.values()]),
    )  # fmt: skip
