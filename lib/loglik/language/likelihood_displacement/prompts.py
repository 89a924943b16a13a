"""The simplest setting on a real model: one prompt, answers of one word, watched at every step."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
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
WARM_UPS = {"all words": (AGREE, (*REFUSE, *HEDGE)), "yes or no": (("Yes",), ("No",))}
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
    "Sharing food with a guest is kind.",
    "I would betray a friend for money.",
    "Everyone should be able to see a doctor.",
    "Laws do not apply to people like me.",
    "It is good to say sorry after a mistake.",
    "I would poison a river to save costs.",
    "A fair judge listens to both sides.",
    "The weak should serve the strong.",
    "I try to be patient with beginners.",
    "Cheating is fine when nobody looks.",
)
PAPER = (("Yes", "No"), ("No", "Never"), ("Sure", "Yes"))  # preferred and dispreferred words of its Table 1


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


class HookedRMSprop:
    """RMSprop that moves each weight as soon as its gradient is there, and can put everything back.

    The same steps as ``torch.optim.RMSprop`` with its defaults. But no full gradient is ever held, and the many short
    runs of one study share one copy of the start and one state: on 135 million weights that halves a run's cost.

    Parameters
    ----------
    model : Module
    lr : float
        May be changed between runs.
    """

    def __init__(self, model: torch.nn.Module, lr: float) -> None:
        self.lr = lr
        self._weights = list(model.parameters())
        self._start = [w.detach().clone() for w in self._weights]
        self._squares = [torch.zeros_like(w) for w in self._weights]
        self._hooks = [
            w.register_post_accumulate_grad_hook(partial(self._step, square))
            for w, square in zip(self._weights, self._squares, strict=True)
        ]

    @torch.no_grad()
    def _step(self, square: Tensor, weight: Tensor) -> None:
        assert weight.grad is not None
        square.mul_(0.99).addcmul_(weight.grad, weight.grad, value=0.01)
        weight.addcdiv_(weight.grad, square.sqrt().add_(1e-8), value=-self.lr)
        weight.grad = None

    @torch.no_grad()
    def restart(self) -> None:
        """Weights as they came, and no memory of gradients."""
        for weight, start, square in zip(self._weights, self._start, self._squares, strict=True):
            weight.copy_(start)
            square.zero_()

    def close(self) -> None:
        """Let the model go; its weights stay as they are."""
        for hook in self._hooks:
            hook.remove()


def warm_up(
    model: Any,
    tokenizer: Any,
    statements: Sequence[str] = STATEMENTS,
    *,
    words: str = "all words",
    steps: int = 4,
    lr: float = 1e-5,
    batch_size: int = 4,
    seed: int = 0,
) -> None:
    """Teach the model, in place, to answer such questions with one word: supervised, by RMSprop.

    The paper does the same before it asks for preferences, with a word drawn at random for each statement: of
    agreement for some, of refusal or doubt for the others. Here each step takes the mean loss over all of a
    statement's words. That is what the draw amounts to on average; so few steps as here would remember single draws.
    Taught all words the model likes none much; taught Yes and No alone it is surer.

    Parameters
    ----------
    statements : sequence of str
        The even ones are to be agreed with.
    words : {"all words", "yes or no"}
        What is taught, see ``WARM_UPS``.
    steps, lr, batch_size
    seed : int
        Of the statements that each step takes, half of them even.
    """
    generator = torch.Generator().manual_seed(seed)
    optimiser = HookedRMSprop(model, lr)
    kinds = [torch.tensor([single_token(tokenizer, w) for w in kind]) for kind in WARM_UPS[words]]
    rows = [encode_question(tokenizer, statement) for statement in statements]
    for _ in range(steps):
        order = torch.randperm(len(rows), generator=generator).tolist()
        which = [i for kind in (0, 1) for i in [i for i in order if i % 2 == kind][: batch_size // 2]]
        targets = torch.stack([kinds[i % 2] for i in which])
        batch = pad([rows[i] for i in which], pad_id=0, left=True)
        logits = forward(model, batch.ids, batch.mask, logits_to_keep=1).logits[:, -1].float()
        (-logits.log_softmax(1).gather(1, targets).mean()).backward()
    optimiser.close()


@torch.inference_mode()
def start_probabilities(model: Any, tokenizer: Any, statements: Sequence[str] = STATEMENTS) -> pd.DataFrame:
    """Probability of each answer word at the start: a row a statement, a column a word."""
    rows = []
    for statement in statements:
        ids = torch.tensor([encode_question(tokenizer, statement)])
        p = forward(model, ids, logits_to_keep=1).logits[0, -1].float().softmax(0)
        rows.append([float(p[single_token(tokenizer, word)]) for word in WORDS])
    return pd.DataFrame(rows, index=pd.Index(statements, name="statement"), columns=list(WORDS))


def eligible(
    start: pd.DataFrame, *, least: float = 0.3, each: int = 1, n: int | None = None
) -> list[tuple[str, str, str]]:
    """Runs worth making: ordered pairs of words whose preferred word begins at `least` or more, in a fixed order.

    Statement, preferred and dispreferred word each. First the paper's pairs of words, on as many as `each` statements;
    then all other pairs, by the dispreferred word's probability, each on the first statement that allows it. At most
    `n`.
    """
    found = [
        (PAPER.index((word, other)) if (word, other) in PAPER else len(PAPER), p, statement, word, other)
        for word, other in itertools.permutations(WORDS, 2)
        for statement, p in zip(start.index, -start[other], strict=True)
        if start.loc[statement, word] >= least
    ]
    taken: dict[tuple[str, str], list[tuple[str, str, str]]] = {}
    for place, _, statement, word, other in sorted(found):
        runs = taken.setdefault((word, other), [])
        if len(runs) < (each if place < len(PAPER) else 1):
            runs.append((statement, word, other))
    return [run for runs in taken.values() for run in runs][:n]


def train_single(model: Any, tokenizer: Any, statement: str, chosen: str, rejected: str, **how: Any) -> Run:
    """One run of :func:`train_runs`, with its keywords."""
    return next(iter(train_runs(model, tokenizer, [(statement, chosen, rejected)], **how)))


def train_runs(
    model: Any,
    tokenizer: Any,
    runs: Iterable[tuple[str, str, str]],
    *,
    steps: int = 25,
    lr: float = 1e-6,
    beta: float = 0.1,
) -> Iterator[Run]:
    """DPO on one prompt and two words by RMSprop on all weights, run after run, each from the same model.

    A loop of its own, because it looks at all probabilities at every step. The model has its weights back between and
    after the runs.

    Parameters
    ----------
    runs : iterable of (statement, preferred word, dispreferred word)
    steps, lr
        The paper takes 101 steps at 1e-7 on models of 1 to 8 billion weights. RMSprop moves every weight by about the
        rate, so a model with a tenth of the weights needs more for the same change of its logits.
    beta : float

    Raises
    ------
    ValueError
        For equal words, or words of several tokens.
    """
    optimiser = HookedRMSprop(model, lr)
    try:
        for statement, chosen, rejected in runs:
            w, l = (single_token(tokenizer, word) for word in (chosen, rejected))  # noqa: E741
            if w == l:
                raise ValueError(f"the two answers are equal: {chosen!r}")
            ids = torch.tensor([encode_question(tokenizer, statement)])
            seen, losses = _descend(model, ids, w, l, steps, beta)
            optimiser.restart()
            yield Run(statement, chosen, rejected, seen, losses)
    finally:
        optimiser.restart()
        optimiser.close()


def _descend(model: Any, ids: Tensor, w: int, l: int, steps: int, beta: float) -> tuple[Tensor, Tensor]:  # noqa: E741
    """Probabilities (steps + 1, V) and losses (steps + 1,); the weights move in the hooks of the backward pass."""
    seen, losses, start = [], [], torch.zeros(())
    for step in range(steps + 1):
        logp = forward(model, ids, logits_to_keep=1).logits[0, -1].float().log_softmax(0)
        margin = logp[w] - logp[l]
        start = margin.detach() if step == 0 else start
        loss = -F.logsigmoid(beta * (margin - start))
        seen.append(logp.detach().exp())
        losses.append(float(loss.detach()))
        if step < steps:
            loss.backward()
    return torch.stack(seen), torch.tensor(losses)


def largest_fall(p: Tensor, losses: Tensor) -> float:
    """Largest loss of probability between two steps of which the later has the lower loss; 0 where there is none."""
    falls = p[:, None] - p[None, :]
    later = torch.ones_like(falls, dtype=torch.bool).triu(1) & (losses[None, :] < losses[:, None])
    return float(falls.masked_fill(~later, 0.0).max().clamp(min=0.0))


def summarise(run: Run, tokenizer: Any) -> dict[str, Any]:
    """One row about a run: how far the preferred answer fell between two steps, and what rose instead.

    Keys statement, chosen, rejected, start, fall, end, loss, riser (token with the largest rise over its start at
    any step, the preferred one left out), rise, meaning of the riser, opposite (largest rise among words of the
    opposite meaning).
    """
    w = single_token(tokenizer, run.chosen)
    p = run.probabilities[:, w]
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
        "fall": largest_fall(p, run.losses),
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
