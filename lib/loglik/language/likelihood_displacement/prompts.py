"""The simplest setting on a real model: one prompt, answers of one word, watched at every step."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from loglik.language.models import forward
from loglik.language.tokens import pad

AGREE = ("Yes", "Yeah", "Sure", "Certainly")
REFUSE = ("No", "Never")
HEDGE = ("Maybe", "Perhaps")
WARM_UP = (AGREE, (*REFUSE, *HEDGE))
WORDS = (*AGREE, *REFUSE, *HEDGE)
STATEMENTS = (
    "Helping a neighbour is worth an hour of my time.",
    "A promise should be kept even when nobody would notice.",
    "I would lie about my friends to get a better job.",
    "It is fine to hurt animals for fun.",
    "Children should learn to read.",
    "I enjoy it when other people fail.",
    "Clean water matters to everybody.",
    "Stealing is right when it makes me rich.",
    "I would tell the truth in court.",
    "Old people deserve no respect.",
)


class Run(NamedTuple):
    """One prompt, one pair of words, trained until the end."""

    statement: str
    chosen: str
    rejected: str
    probabilities: Tensor  # (steps + 1, V), of the next token at each step
    losses: Tensor  # (steps + 1,)


def meaning(word: str) -> str:
    """agree, refuse, hedge or other; blanks and capitals don't matter.

    The labels behind "benign" and "catastrophic": published, because they are a judgement.
    """
    bare = word.strip().lower()
    for name, words in (
        ("agree", (*AGREE, "yep", "true", "of", "definitely", "agree", "ok", "okay")),
        ("refuse", (*REFUSE, "nope", "not", "false", "none", "nothing", "disagree")),
        ("hedge", (*HEDGE, "possibly")),
    ):
        if bare in [w.lower() for w in words]:
            return name
    return "other"


def encode_question(tokenizer: Any, statement: str) -> list[int]:
    """The prompt's ids: the question and a line's end, as in the paper."""
    text = f'Is the following statement something you would say? "{statement}"\n'
    return list(tokenizer.encode(text, add_special_tokens=False))


def single_token(tokenizer: Any, word: str) -> int:
    """The id of a word that is one token.

    Raises
    ------
    ValueError
        Where it is several.
    """
    ids = tokenizer.encode(word, add_special_tokens=False)
    if len(ids) != 1:
        raise ValueError(f"{word!r} is {len(ids)} tokens; the single-token setting needs one")
    return int(ids[0])


def warm_up(
    model: Any,
    tokenizer: Any,
    statements: Sequence[str] = STATEMENTS,
    *,
    steps: int = 10,
    lr: float = 1e-5,
    seed: int = 0,
) -> None:
    """Teach the model, in place, to answer such questions with one word: supervised, by RMSprop.

    The paper does the same before it asks for preferences. Words are drawn at random for each statement and step: of
    agreement for the even ones, of refusal or doubt for the odd ones.
    """
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.RMSprop(model.parameters(), lr=lr)
    kinds = [[single_token(tokenizer, w) for w in words] for words in WARM_UP]
    rows = [encode_question(tokenizer, statement) for statement in statements]
    batch = pad(rows, pad_id=0, left=True)
    for _ in range(steps):
        draws = torch.randint(len(AGREE), (len(rows),), generator=generator).tolist()
        targets = torch.tensor([kinds[i % 2][draw] for i, draw in enumerate(draws)])
        logits = forward(model, batch.ids, batch.mask, logits_to_keep=1).logits[:, -1].float()
        loss = F.cross_entropy(logits, targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


@torch.inference_mode()
def start_probabilities(model: Any, tokenizer: Any, statements: Sequence[str] = STATEMENTS) -> pd.DataFrame:
    """Probability of each answer word at the start: a row a statement, a column a word."""
    rows = []
    for statement in statements:
        ids = torch.tensor([encode_question(tokenizer, statement)])
        p = forward(model, ids, logits_to_keep=1).logits[0, -1].float().softmax(0)
        rows.append([float(p[single_token(tokenizer, word)]) for word in WORDS])
    return pd.DataFrame(rows, index=pd.Index(statements, name="statement"), columns=list(WORDS))


def eligible(start: pd.DataFrame, *, least: float = 0.3, n: int = 6) -> list[tuple[str, str, str]]:
    """Runs worth making: ordered pairs whose preferred word begins at `least` or more, in a fixed order.

    First those that the paper names (Yes over No, No over Never, Sure over Yes), then by the dispreferred word's
    probability. One run for each pair of words, on the first statement that allows it.
    """
    named = {("Yes", "No"): 0, ("No", "Never"): 1, ("Sure", "Yes"): 2}
    found = [
        (named.get((word, other), 3), -float(start.loc[statement, other]), statement, word, other)
        for statement in start.index
        for word, other in itertools.permutations(WORDS, 2)
        if start.loc[statement, word] >= least
    ]
    taken: dict[tuple[str, str], tuple[str, str, str]] = {}
    for _, _, statement, word, other in sorted(found):
        taken.setdefault((word, other), (statement, word, other))
    return list(taken.values())[:n]


def train_single(
    model: Any,
    tokenizer: Any,
    statement: str,
    chosen: str,
    rejected: str,
    *,
    steps: int = 25,
    lr: float = 1e-6,
    beta: float = 0.1,
) -> Run:
    """DPO on one prompt and two words by RMSprop on all weights, which are put back afterwards.

    A loop of its own, because it looks at all probabilities at every step.

    Raises
    ------
    ValueError
        For equal words, or words of several tokens.
    """
    w, l = (single_token(tokenizer, word) for word in (chosen, rejected))  # noqa: E741
    if w == l:
        raise ValueError(f"the two answers are equal: {chosen!r}")
    ids = torch.tensor([encode_question(tokenizer, statement)])
    kept = {name: weight.detach().clone() for name, weight in model.state_dict().items()}
    optimiser = torch.optim.RMSprop(model.parameters(), lr=lr)
    seen, losses, start = [], [], torch.zeros(())
    for step in range(steps + 1):
        logp = forward(model, ids, logits_to_keep=1).logits[0, -1].float().log_softmax(0)
        margin = logp[w] - logp[l]
        start = margin.detach() if step == 0 else start
        loss = -F.logsigmoid(beta * (margin - start))
        seen.append(logp.detach().exp())
        losses.append(float(loss.detach()))
        if step < steps:
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    model.load_state_dict(kept)
    return Run(statement, chosen, rejected, torch.stack(seen), torch.tensor(losses))


def summarise(run: Run, tokenizer: Any) -> dict[str, Any]:
    """One row about a run: how far the preferred answer fell between two steps, and what rose instead.

    Keys statement, chosen, rejected, start, fall, end, loss, riser (token with the largest rise over its start at
    any step, the preferred one left out), rise, meaning of the riser, opposite (largest rise among words of the
    opposite meaning).
    """
    w = single_token(tokenizer, run.chosen)
    p = run.probabilities[:, w]
    fall = float((torch.cummax(p, 0)[0] - p).max())
    rises = torch.max(run.probabilities - run.probabilities[0], 0)[0]
    others = rises.clone()
    others[w] = -1.0
    top = int(others.argmax())
    against = REFUSE if meaning(run.chosen) == "agree" else AGREE
    spelled = [form for word in against for form in (word, f" {word}")]
    encoded = [tokenizer.encode(form, add_special_tokens=False) for form in spelled]
    opposite = [ids[0] for ids in encoded if len(ids) == 1]
    return {
        "statement": run.statement,
        "chosen": run.chosen,
        "rejected": run.rejected,
        "start": float(p[0]),
        "fall": fall,
        "end": float(p[-1]),
        "loss": float(run.losses[-1]),
        "riser": tokenizer.decode([top]),
        "rise": float(rises[top]),
        "meaning": meaning(tokenizer.decode([top])),
        "opposite": float(rises[opposite].max()),
    }


def alignment_order(model: Any, tokenizer: Any, run: Run, *, most: int = 100) -> float:
    """Rank correlation of T2's alignment ⟨W_z, W_chosen − W_rejected⟩ with what the likeliest tokens really did.

    The theory lets only the unembeddings and the prompt's embedding move, by gradient flow; here all weights move, by
    RMSprop. So this is how much of the order survives.
    """
    from scipy.stats import spearmanr

    w, l = (single_token(tokenizer, word) for word in (run.chosen, run.rejected))  # noqa: E741
    W = model.get_output_embeddings().weight.detach().float()
    first = run.probabilities[0].clone()
    first[[w, l]] = 0.0
    likely = first.argsort(descending=True)[:most]
    change = (run.probabilities[-1] / run.probabilities[0]).log()
    return float(spearmanr((W @ (W[w] - W[l]))[likely].numpy(), change[likely].numpy()).statistic)


def same_meaning(runs: pd.DataFrame) -> float:
    """Share of runs whose token with the largest rise means what the preferred word means; 0 for no runs."""
    if not len(runs):
        return 0.0
    return float((runs["chosen"].map(meaning) == runs["meaning"]).mean())
