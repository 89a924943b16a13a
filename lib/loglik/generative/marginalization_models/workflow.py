"""A reader's table of categorical columns: questions answered, gaps filled, and an honest comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from loglik.generative.marginalization_models.likelihood import (
    fill,
    log_marginal_any_order,
    random_ranks,
    self_consistency_residual,
)
from loglik.generative.marginalization_models.mle import fit_mle
from loglik.generative.marginalization_models.models import MASK, DualMLP, base_rates
from loglik.generative.marginalization_models.study import make_generator

EXAMPLE = "anes96"


@dataclass(frozen=True)
class Table:
    """A table as states: `x` (n, D) in 0..K with 0 where missing, and the meaning of the values of each column."""

    columns: tuple[str, ...]
    labels: tuple[tuple[str, ...], ...]
    x: Tensor

    @property
    def levels(self) -> list[int]:
        """Number of values of each column."""
        return [len(names) for names in self.labels]

    @property
    def K(self) -> int:  # noqa: N802
        """Largest number of values of a column."""
        return max(2, *self.levels)

    def place(self, column: str) -> int:
        """Position of a column; a ``ValueError`` names those that exist."""
        if column not in self.columns:
            raise ValueError(f"there is no column {column!r}; columns: {', '.join(self.columns)}")
        return self.columns.index(column)

    def take(self, rows: NDArray[np.int64]) -> Table:
        """The table of some rows."""
        return Table(self.columns, self.labels, self.x[torch.as_tensor(rows)])


@dataclass(frozen=True)
class Question:
    """A conditional probability, as two partial rows (1, D): event with condition, and the condition alone."""

    text: str
    event: Tensor
    given: Tensor


def read_table(
    source: str, columns: Sequence[str] | None = None, *, max_levels: int = 12, bins: int = 4
) -> Table:
    """Read a CSV (path or URL), or ``anes96`` for the built-in election study.

    Columns of numbers with more than `max_levels` different values are cut at quantiles into `bins`; columns of text
    with more are refused. Empty cells are missing values and stay so; rows without any value are left out.

    Raises
    ------
    ValueError
        For a column that isn't there, has a single value or too many; for fewer than two columns.
    """
    frame = _anes96() if source == EXAMPLE else pd.read_csv(source)
    wanted = list(frame.columns if columns is None else columns)
    absent = [c for c in wanted if c not in frame.columns]
    if absent:
        raise ValueError(f"no column {', '.join(absent)}; the file has: {', '.join(map(str, frame.columns))}")
    if len(wanted) < 2:
        raise ValueError(f"a joint distribution needs at least two columns, got {wanted}")
    parts = [_encode(frame[c], max_levels, bins) for c in wanted]
    x = torch.as_tensor(np.stack([codes for codes, _ in parts], 1))
    return Table(tuple(map(str, wanted)), tuple(labels for _, labels in parts), x[(x != MASK).any(1)])


def _anes96() -> pd.DataFrame:
    from statsmodels.datasets import anes96

    frame = anes96.load_pandas().data[
        ["PID", "selfLR", "ClinLR", "DoleLR", "TVnews", "age", "educ", "income", "vote"]
    ]
    return frame.assign(vote=frame.vote.map({0.0: "Clinton", 1.0: "Dole"}))


def _encode(column: pd.Series, max_levels: int, bins: int) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    if pd.api.types.is_numeric_dtype(column) and column.nunique() > max_levels:
        edges = np.unique(np.quantile(column.dropna(), np.linspace(0, 1, bins + 1)))
        codes = np.clip(np.searchsorted(edges, column.to_numpy(float), side="left"), 1, len(edges) - 1)
        labels = tuple(f"{a:g}–{b:g}" for a, b in pairwise(edges))
        return np.where(column.isna(), MASK, codes).astype(np.int64), labels
    values = sorted(column.dropna().unique())
    if not 2 <= len(values) <= max_levels:
        raise ValueError(
            f"column {column.name!r} has {len(values)} different values; allowed are 2 to {max_levels} "
            "(raise max_levels, merge rare values, or leave the column out)"
        )
    labels = tuple(f"{v:g}" if isinstance(v, int | float | np.number) else str(v) for v in values)
    return (pd.Categorical(column, categories=values).codes + 1).astype(np.int64), labels


def parse_question(text: str, table: Table) -> Question:
    """Read ``vote=Dole | PID=3, educ=6``: an event, and after a bar what is known.

    Raises
    ------
    ValueError
        For a column or value that the table lacks, or a part that isn't ``column=value``.
    """
    event, _, given = text.partition("|")
    condition = _partial_row(given, table, torch.zeros(1, len(table.columns), dtype=torch.int64))
    return Question(text, _partial_row(event, table, condition), condition)


def _partial_row(text: str, table: Table, start: Tensor) -> Tensor:
    row = start.clone()
    for part in filter(str.strip, text.split(",")):
        column, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise ValueError(f"write column=value, got {part.strip()!r}")
        j = table.place(column)
        if value not in table.labels[j]:
            raise ValueError(f"{column!r} never is {value!r}; its values: {', '.join(table.labels[j])}")
        row[0, j] = table.labels[j].index(value) + 1
    return row


def fit_table(
    table: Table, *, hidden: int, layers: int, steps: int, batch: int, lr: float, seed: int, number: int = 0
) -> DualMLP:
    """Both stages of maximum likelihood on a table; missing cells take part as unknown."""
    generator = make_generator(seed, number)
    model = DualMLP(
        len(table.columns),
        table.K,
        hidden,
        layers,
        levels=table.levels,
        base=base_rates(table.x, table.levels, table.K),
        generator=generator,
    )
    gibbs = min(4, model.D)
    fit_mle(model, table.x, steps=steps, batch=batch, lr=lr, generator=generator)
    fit_mle(
        model, table.x, stage="marginals", steps=5 * steps, batch=batch, lr=lr, gibbs_steps=gibbs,
        generator=generator,
    )  # fmt: skip
    return model


@torch.no_grad()
def answer(model: DualMLP, table: Table, questions: Sequence[str]) -> pd.DataFrame:
    """Each question's probability: by marginals (one pass each side), by the chain rule, and by counting rows.

    Counting leaves out rows that miss a value of the condition or the event; ``rows`` says how many fit the condition.
    """
    rows = []
    for question in (parse_question(text, table) for text in questions):
        both = torch.cat([question.event, question.given])
        one_pass = model.log_probability(both)
        chain = log_marginal_any_order(model, both, torch.arange(model.D))
        asked = (question.event != MASK)[0]
        complete = table.x[(table.x[:, asked] != MASK).all(1)]
        base = ((complete == question.given) | (question.given == MASK)).all(1)
        hits = ((complete == question.event) | (question.event == MASK)).all(1)
        rows.append(
            {
                "question": question.text,
                "probability": min(1.0, float((one_pass[0] - one_pass[1]).exp())),
                "chain rule": float((chain[0] - chain[1]).exp()),
                "counted": float(hits.sum() / base.sum()) if base.any() else np.nan,
                "rows": int(base.sum()),
            }
        )
    return pd.DataFrame(rows)


@torch.no_grad()
def fill_missing(model: DualMLP, table: Table) -> pd.DataFrame:
    """Most likely value of every missing cell given its row, with its probability; one row a cell."""
    proba = model.conditional_logits(table.x).softmax(-1)
    row, column = torch.nonzero(table.x == MASK, as_tuple=True)
    chances, best = proba[row, column].max(-1)
    return pd.DataFrame(
        {
            "row": row.numpy(),
            "column": [table.columns[j] for j in column],
            "value": [table.labels[j][v] for j, v in zip(column, best, strict=True)],
            "probability": chances.numpy(),
        }
    )


@torch.no_grad()
def cell_probabilities(model: DualMLP, x: Tensor, column: int, *, by: str) -> NDArray[np.float64]:
    """Distribution of one column given all other known cells of each row; (n, levels).

    ``by`` is "conditionals" (one pass) or "marginals" (one pass for each value, normalised).
    """
    hidden = x.clone()
    hidden[:, column] = MASK
    levels = int((~model.forbidden[column]).sum())
    if by == "conditionals":
        logits = model.conditional_logits(hidden)[:, column, :levels]
    else:
        filled = hidden[:, None].repeat(1, levels, 1)
        filled[:, :, column] = torch.arange(1, levels + 1)
        logits = model.log_marginal(filled.flatten(0, 1)).view(-1, levels)
    return logits.softmax(-1).double().numpy()


def held_out_loss(model: DualMLP, train: Table, test: Table) -> pd.DataFrame:
    """Log loss (nats) of each known cell of `test` given the rest of its row; long table row, column, method, loss.

    Beside the model's marginals and conditionals stand the column's own frequencies and a logistic regression on the
    other columns (one-hot, missing as a value of its own, L2 penalty 1), fitted for each column anew.
    """
    parts = []
    for j, column in enumerate(test.columns):
        known = (test.x[:, j] != MASK).numpy()
        x, y = test.x[torch.as_tensor(known)], test.x[torch.as_tensor(known), j].numpy() - 1
        methods = {
            "marginals": cell_probabilities(model, x, j, by="marginals"),
            "conditionals": cell_probabilities(model, x, j, by="conditionals"),
            "frequencies": _frequencies(train, j)[None].repeat(len(x), 0),
            "logistic regression": _logistic(train, x, j),
        }
        for name, proba in methods.items():
            loss = -np.log(np.maximum(proba[np.arange(len(y)), y], 1e-12))
            parts.append(
                pd.DataFrame({"row": np.flatnonzero(known), "column": column, "method": name, "loss": loss})
            )
    return pd.concat(parts, ignore_index=True)


def _frequencies(table: Table, column: int) -> NDArray[np.float64]:
    counts = np.bincount(table.x[:, column].numpy(), minlength=table.levels[column] + 1)[1:] + 0.5
    return np.asarray(counts / counts.sum())


def _logistic(train: Table, x: Tensor, column: int) -> NDArray[np.float64]:
    def features(rows: Tensor) -> NDArray[np.float64]:
        others = torch.cat([rows[:, :column], rows[:, column + 1 :]], 1)
        one_hot = torch.nn.functional.one_hot(others, train.K + 1)
        return one_hot.flatten(1).double().numpy()

    known = train.x[:, column] != MASK
    fitted = LogisticRegression(max_iter=1000).fit(
        features(train.x[known]), train.x[known, column].numpy() - 1
    )
    proba = np.full((len(x), train.levels[column]), 1e-4)
    proba[:, fitted.classes_] = fitted.predict_proba(features(x))
    return np.asarray(proba / proba.sum(1, keepdims=True))


def describe(table: Table) -> pd.DataFrame:
    """Each column's values and share of missing cells."""
    return pd.DataFrame(
        {
            "values": [", ".join(names) for names in table.labels],
            "missing": [f"{share:.1%}" for share in (table.x == MASK).double().mean(0).tolist()],
        },
        index=pd.Index(table.columns, name="column"),
    )


def empty_cells(
    table: Table, share: float, rng: np.random.Generator
) -> tuple[Table, list[tuple[int, int, int]]]:
    """The table with a random share of its known cells emptied, and these cells as (row, column, value)."""
    gone = torch.as_tensor(rng.random(tuple(table.x.shape)) < share) & (table.x != MASK)
    gone &= gone.cumsum(1) < table.x.shape[1] - 1
    cells = [(i, j, int(table.x[i, j])) for i, j in torch.nonzero(gone).tolist()]
    return Table(table.columns, table.labels, torch.where(gone, MASK, table.x)), cells


def share_of_modes(table: Table, cells: Sequence[tuple[int, int, int]]) -> float:
    """Share of cells that hold their column's most frequent value."""
    modes = [int(_frequencies(table, j).argmax()) + 1 for j in range(len(table.columns))]
    return float(np.mean([value == modes[j] for _, j, value in cells]))


def default_questions(table: Table, source: str) -> list[str]:
    """Questions of the example; for another table, pairs of neighbouring columns' most frequent values."""
    if source == EXAMPLE:
        return [
            "vote=Dole",
            "vote=Dole | PID=3",
            "vote=Dole | PID=3, selfLR=6",
            "vote=Dole | ClinLR=1",
            "vote=Dole | educ=7",
            "PID=0, vote=Dole",
            "selfLR=4 | TVnews=7",
            "PID=6 | selfLR=6, educ=6",
        ]
    best = [names[int(_frequencies(table, j).argmax())] for j, names in enumerate(table.labels)]
    named = [f"{column}={value}" for column, value in zip(table.columns, best, strict=True)]
    return [named[0], *(f"{b} | {a}" for a, b in pairwise(named))][:8]


@torch.no_grad()
def check_assumptions(model: DualMLP, table: Table, generator: torch.Generator) -> pd.DataFrame:
    """What the method leans on, whether it holds on these rows, and what to do where it doesn't."""
    x = fill(model, table.x, random_ranks(len(table.x), model.D, generator), generator)
    order = random_ranks(len(x), model.D, generator)
    d = torch.randint(1, model.D + 1, (len(x),), generator=generator)
    spread = float(self_consistency_residual(model, x, order, d).square().mean().sqrt())
    copies = 1 - len(table.x.unique(dim=0)) / len(table.x)
    rare = int(min(_counts(table, j).min() for j in range(len(table.columns))))
    missing = float((table.x == MASK).double().mean())
    rows = [
        (
            "marginals and conditionals agree",
            f"residual {spread:.2f} nats",
            spread < 0.3,
            "train longer or wider",
        ),
        ("enough rows for each value", f"rarest value: {rare} rows", rare >= 10, "merge rare values"),
        ("few gaps", f"{missing:.1%} of cells", missing < 0.3, "trust filled cells less"),
        (
            "rows are not copies",
            f"{copies:.0%} repeat another",
            copies < 0.5,
            "check for repeated measurements",
        ),
    ]
    return pd.DataFrame(
        [(a, b, "yes" if ok else "NO", "" if ok else then) for a, b, ok, then in rows],
        columns=["assumption", "seen", "holds", "then"],
    )


def _counts(table: Table, column: int) -> NDArray[np.int64]:
    return np.bincount(table.x[:, column].numpy(), minlength=table.levels[column] + 1)[1:]
