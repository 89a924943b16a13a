"""Does a score tell what training on pairs does to their preferred answers? Pair by pair, and quantile by quantile."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from loglik.language.likelihood_displacement.copies import Plan, train_copies
from loglik.language.likelihood_displacement.pairs import Pair
from loglik.language.likelihood_displacement.scores import (
    SCORES,
    ches_scores,
    select_by_quantile,
)
from loglik.stats.intervals import Estimate, Floats


def tokenise(rows: Sequence[dict[str, str]], tokenizer: Any) -> list[Pair]:
    """Rows with prompt, chosen and rejected as ids; prompts begin with ``<bos>`` where there is one."""
    start = [tokenizer.bos_token_id] if tokenizer.bos_token_id is not None else []
    ids = ([tokenizer.encode(row[key], add_special_tokens=False) for key in Pair._fields] for row in rows)
    return [Pair(start + prompt, chosen, rejected) for prompt, chosen, rejected in ids]


def step_changes(
    model: Any,
    pairs: Sequence[Pair],
    *,
    lr: float = 1e-5,
    steps: int = 1,
    beta: float = 0.1,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> pd.DataFrame:
    """Scores of each pair, and what DPO steps on it alone (RMSprop, from the same model each time) change.

    Columns of :func:`~loglik.language.likelihood_displacement.scores.ches_scores`, and change_w and change_l: of both
    answers' log-probabilities, in nats. `model` is a Llama without biases, see
    :class:`~loglik.language.likelihood_displacement.copies.Copies`.
    """
    table = ches_scores(model, pairs)
    how: Any = {"lr": lr, "steps": steps, "beta": beta, "check_every": steps}
    last = [train_copies(model, [pair], [Plan([0])], **how)[0].iloc[-1] for pair in progress(pairs)]
    return table.assign(**{name: [row[name] for row in last] for name in ("change_w", "change_l")})


def rank_correlations(
    table: pd.DataFrame, *, draws: int = 2000, rng: np.random.Generator
) -> dict[str, Estimate]:
    """Spearman correlation of each score with change_w, and of ``ches`` minus each rival's (``ches - edit``).

    95 % percentile bootstrap over pairs.
    """
    change = table["change_w"].to_numpy()
    rows = rng.integers(len(table), size=(draws, len(table)))
    found = {name: _spearman(table[name].to_numpy(), change, rows) for name in SCORES}
    rivals = {f"ches - {name}": found["ches"] - found[name] for name in ("edit", "last")}
    return {name: _estimate(values) for name, values in (found | rivals).items()}


def _spearman(x: Floats, y: Floats, rows: Any) -> Floats:
    """Of the sample itself, first, and of each resample."""
    a, b = (np.vstack([rankdata(v)[None], rankdata(v[rows], axis=1)]) for v in (x, y))
    a, b = (r - r.mean(1, keepdims=True) for r in (a, b))
    return (a * b).sum(1) / np.sqrt((a**2).sum(1) * (b**2).sum(1))


def _estimate(values: Floats) -> Estimate:
    low, high = np.quantile(values[1:], (0.025, 0.975))
    return Estimate(float(values[0]), float(low), float(high), float(values[1:].std(ddof=1)))


# -- quantile by quantile ------------------------------------------------------------------------------------


def quantile_changes(
    model: Any,
    pools: Sequence[Sequence[Pair]],
    *,
    scores: Sequence[str] = ("ches", "edit", "last"),
    quantiles: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0),
    n: int = 48,
    lr: float = 1e-6,
    steps: int = 12,
    batch_size: int = 16,
    beta: float = 0.1,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> pd.DataFrame:
    """Train on the `n` pairs around each quantile of each score, always from the same model: the paper's Figure 2.

    Parameters
    ----------
    model : LlamaForCausalLM
        Without biases, see :class:`~loglik.language.likelihood_displacement.copies.Copies`.
    pools : sequence of sequences of Pair
        Each is scored and cut into quantiles by itself, so that differences between pools are between draws of data.
    scores, quantiles, n
        At the ends the window of `n` stays inside the pool.
    lr, steps, batch_size, beta
        Of DPO by RMSprop.

    Returns
    -------
    DataFrame
        Columns pool, score, quantile, and change_w and change_l: mean change of both answers' log-probabilities over
        the subset that was trained on (nats).
    """
    tables = [ches_scores(model, pool) for pool in pools]
    rows = []
    for i, score, quantile in progress(list(itertools.product(range(len(pools)), scores, quantiles))):
        picked = [pools[i][j] for j in select_by_quantile(tables[i][score].to_numpy(), quantile, n)]
        how: Any = {"lr": lr, "steps": steps, "batch_size": batch_size, "beta": beta, "check_every": steps}
        last = train_copies(model, picked, [Plan(range(n), seed=i)], **how)[0].iloc[-1]
        rows.append((i, score, quantile, last["change_w"], last["change_l"]))
    return pd.DataFrame(rows, columns=["pool", "score", "quantile", "change_w", "change_l"])


def quantile_slopes(table: pd.DataFrame, *, column: str = "change_w") -> pd.DataFrame:
    """Least-squares slope of a change on the quantile, a row a pool, a column a score: nats from lowest to highest."""
    centred = table.assign(
        x=table["quantile"] - table.groupby(["pool", "score"])["quantile"].transform("mean")
    )
    sums = centred.assign(xy=centred["x"] * centred[column], xx=centred["x"] ** 2)
    total = sums.groupby(["pool", "score"])[["xy", "xx"]].sum()
    slopes = (total["xy"] / total["xx"]).rename("slope").reset_index()
    return slopes.pivot_table(index="pool", columns="score", values="slope")
