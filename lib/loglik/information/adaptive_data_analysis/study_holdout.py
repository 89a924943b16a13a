"""Simulations of holdout sets: variable selection, budgets, leaderboards."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from loglik.information.adaptive_data_analysis import theory
from loglik.information.adaptive_data_analysis.accounting import Floats
from loglik.information.adaptive_data_analysis.analysts import leaderboard_attack, random_signs
from loglik.information.adaptive_data_analysis.holdout import ReusableHoldout
from loglik.information.adaptive_data_analysis.mechanisms import (
    BudgetExhausted,
    EmpiricalMechanism,
    GaussianMechanism,
    LadderMechanism,
    Mechanism,
    RoundingMechanism,
)
from loglik.information.adaptive_data_analysis.selection import KS, variable_selection_experiment
from loglik.information.adaptive_data_analysis.study import Progress, Seed, repetitions
from loglik.information.adaptive_data_analysis.thresholdout import ThresholdoutMechanism


def selection_study(
    n: int,
    d: int,
    reps: int,
    seed: Seed,
    *,
    ks: Sequence[int] = KS,
    threshold_mult: float = 4.0,
    tolerance_mult: float = 1.0,
    mistaken: bool = False,
    engine: str = "columns",
    progress: Progress | None = None,
) -> pd.DataFrame:
    """The variable-selection experiment without and with signal.

    Columns rep, signal, method, k, train, holdout, fresh, selected. `mistaken` applies Thresholdout to the
    final accuracies only.
    """
    tables = []
    for rep, rng in repetitions(seed, reps, progress):
        for signal in (False, True):
            found = variable_selection_experiment(
                n, d, ks, signal, rng, engine,  # type: ignore[arg-type]
                threshold=threshold_mult / np.sqrt(n), sigma=tolerance_mult / np.sqrt(n),
                protect_selection=not mistaken,
            )  # fmt: skip
            tables.append(pd.DataFrame(found._asdict()).assign(rep=rep, signal=signal))
    return pd.concat(tables, ignore_index=True)


def honest_study(
    n: int, m: int, multiples: Sequence[float], budget: int, reps: int, seed: Seed
) -> pd.DataFrame:
    """Answers that an honest analyst gets before refusal, by threshold in units of 1/√n.

    Each question is a random ±1 query, so training and holdout means differ by N(0, 2/n) alone. Noise is
    T/100. Columns rep, multiple, answered, paid.
    """
    rows = []
    for rep, rng in repetitions(seed, reps):
        train, holdout = np.clip(rng.normal(0, n**-0.5, (2, m)), -1, 1)
        for multiple in multiples:
            T = multiple / np.sqrt(n)
            mechanism = ThresholdoutMechanism(
                np.empty(n), np.empty(n), T, T / 100, budget, rng, on_exhausted="nan"
            )
            answers, paid = mechanism.answer_differences(train, holdout)
            rows.append((rep, multiple, int(np.isfinite(answers).sum()), int(paid.sum())))
    return pd.DataFrame(rows, columns=["rep", "multiple", "answered", "paid"])


def hostile_study(
    n: int, budgets: Sequence[int], sigma: float, reps: int, seed: Seed, progress: Progress | None = None
) -> pd.DataFrame:
    """An analyst whose every question is 1 on the training rows and a fair sign on the holdout rows.

    They ask until they are refused, then add up the signs of the answers that came from the holdout. Columns
    rep, budget, paid, refused (whether the next question was), overfit (of the aggregated query on the
    holdout), curve.
    """
    rows = []
    for rep, rng in repetitions(seed, reps, progress):
        for budget in budgets:
            mechanism = ThresholdoutMechanism(
                np.empty(n), np.empty(n), 0.25, sigma, budget, rng, on_exhausted="nan"
            )
            table = random_signs(budget + budget // 10 + 50, n, rng).astype(np.float32)
            means = np.asarray(table.mean(axis=1), dtype=float)
            answers, paid = mechanism.answer_differences(np.ones(len(means)), means)
            heard = np.where(paid, answers, 0.0)
            final = np.sign(np.sign(heard).astype(np.float32) @ table)
            curve = float(theory.overfit_curve(budget, n, ("laplace", sigma)))
            rows.append(
                (rep, budget, int(paid.sum()), bool(np.isnan(answers[-1])), float(final.mean()), curve)
            )
    return pd.DataFrame(rows, columns=["rep", "budget", "paid", "refused", "overfit", "curve"])


def restart_study(
    n: int, restarts: Sequence[int], budget: int, sigma: float, reps: int, seed: Seed
) -> pd.DataFrame:
    """A hostile analyst restarts the program: a holdout that forgets what was spent, and one that remembers.

    At each start the questions go on until refused. The forgetting one is a new mechanism each time; the other is a
    :class:`ReusableHoldout` resumed from its file. Columns rep, holdout, restarts, answers (paid ones),
    overfit, curve (closed form for all the answers that a forgetting one gives).
    """
    rows = []
    for rep, rng in repetitions(seed, reps):
        train, hidden = np.ones((n, 1)), rng.normal(size=(n, 1))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "state.json")
            ReusableHoldout(train, hidden, path, budget=budget, threshold=0.25, sigma=sigma, rng=rng)
            votes = {name: np.zeros(n, np.float32) for name in ("forgets", "remembers")}
            answers = dict.fromkeys(votes, 0)
            for start in range(1, max(restarts) + 1):
                keepers: dict[str, ThresholdoutMechanism | ReusableHoldout] = {
                    "forgets": ThresholdoutMechanism(train, hidden, 0.25, sigma, budget, rng),
                    "remembers": ReusableHoldout.resume(train, hidden, path),
                }
                for name, keeper in keepers.items():
                    table, heard = _until_refused(keeper, n, budget, rng)
                    votes[name] += np.sign(heard).astype(np.float32) @ table
                    answers[name] += int((heard != 0).sum())
                    if start in restarts:
                        final = float(np.sign(votes[name]).mean())
                        curve = float(theory.overfit_curve(start * budget, n, ("laplace", sigma)))
                        rows.append((rep, name, start, answers[name], final, curve))
    return pd.DataFrame(rows, columns=["rep", "holdout", "restarts", "answers", "overfit", "curve"])


def _until_refused(
    keeper: ThresholdoutMechanism | ReusableHoldout, n: int, budget: int, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Questions (m, n) on the holdout rows, and the answers that were paid for; 0 for the others."""
    table = random_signs(budget + budget // 5 + 20, n, rng)
    try:
        queries = [(np.ones(n), row.astype(float)) for row in table]
        if isinstance(keeper, ReusableHoldout):
            keeper.ask_many(queries)
        else:
            keeper.answer_pairs(queries)  # type: ignore[arg-type]
    except BudgetExhausted as refusal:
        heard = np.zeros(len(table))
        heard[: len(refusal.partial)] = np.where(refusal.partial == 1.0, 0.0, refusal.partial)
        return table.astype(np.float32), heard
    raise RuntimeError("the analyst stopped before being refused")


def leaderboard_study(
    n: int, m: int, reps: int, seed: Seed, noise_mult: float = 2.0, progress: Progress | None = None
) -> pd.DataFrame:
    """Random submissions boosted by five leaderboards: rep, mechanism, public, private accuracy."""
    rows = []
    for rep, rng in repetitions(seed, reps, progress):
        mechanisms: dict[str, Mechanism] = {
            "exact": EmpiricalMechanism(np.empty(n)),
            "rounded": RoundingMechanism(np.empty(n)),
            "Gaussian": GaussianMechanism(np.empty(n), noise_mult / np.sqrt(n), rng),
            "Ladder": LadderMechanism(np.empty(n)),
            "Thresholdout": ThresholdoutMechanism(
                np.empty(n), np.empty(n), 4 / np.sqrt(n), n**-0.5, None, rng, noise="gaussian"
            ),
        }
        rows += [
            (rep, name, *leaderboard_attack(mechanism, m, rng, hidden=n))
            for name, mechanism in mechanisms.items()
        ]
    return pd.DataFrame(rows, columns=["rep", "mechanism", "public", "private"])
