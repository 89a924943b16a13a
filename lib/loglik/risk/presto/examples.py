"""Small examples for the method notebook: a weakening effect, six features, and a rare step of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from loglik.risk.presto.estimator import PrestoClassifier
from loglik.risk.presto.likelihood import Floats, class_probabilities, linear_predictors
from loglik.risk.presto.selection import stratified_folds
from loglik.risk.presto.simulate import Draw
from loglik.risk.presto.study import L2_LOGIT, LOGIT, PO, PRESTO, penalised_logit, po_fit, rare_logit


def draw_from(n: int, alpha: Sequence[float], beta: Floats, rng: np.random.Generator) -> Draw:
    """A data set with given weights (K-1, p), features uniform on (-1, 1), two rows or more of every class.

    Raises
    ------
    RuntimeError
        When 1000 draws had crossing boundaries or a class with fewer than two rows.
    """
    for redraws in range(1000):
        X = rng.uniform(-1, 1, (n, beta.shape[1]))
        proba = class_probabilities(linear_predictors(alpha, beta, X))
        y = (proba.cumsum(1)[:, :-1] < rng.random((n, 1))).sum(1)
        if (proba >= 0).all() and np.bincount(y, minlength=len(alpha) + 1).min() >= 2:
            return Draw(X, y, np.asarray(alpha, dtype=float), beta, proba, redraws)
    raise RuntimeError("1000 draws had crossing boundaries or a class with fewer than two rows")


def weakening_effect(n: int, rng: np.random.Generator) -> Draw:
    """One feature, four classes: its weight is -1.8 at the first boundary and -0.6 from the second on."""
    return draw_from(n, (0.0, 3.0, 5.0), np.array([[-1.8], [-0.6], [-0.6]]), rng)


def six_features(n: int, rng: np.random.Generator) -> Draw:
    """Six features: two with one effect, one that changes at boundary 2, one at boundary 3, two without."""
    beta = np.array([[1.0, -0.7, 0.6, 0.0, 0, 0], [1.0, -0.7, -0.2, 0.0, 0, 0], [1.0, -0.7, -0.2, 0.8, 0, 0]])
    return draw_from(n, (-0.5, 1.5, 3.5), beta, rng)


def three_estimates(draw: Draw, random_state: int) -> dict[str, tuple[Floats, Floats]]:
    """(alpha, beta) of the truth, logit (its one boundary; the others NaN), PO and PRESTO."""
    K = len(draw.alpha) + 1
    logit = rare_logit(draw.X, draw.y == K - 1)
    alone, weights = np.full(K - 1, np.nan), np.full_like(draw.beta, np.nan)
    alone[-1], weights[-1] = -logit.intercept_[0], -logit.coef_[0]
    alpha, beta = po_fit(draw.X, draw.y, K)
    model = PrestoClassifier(random_state=random_state).fit(draw.X, draw.y)
    return {
        "truth": (draw.alpha, draw.beta),
        "logistic regression": (alone, weights),
        "proportional odds": (alpha, np.tile(beta, (K - 1, 1))),
        PRESTO: (model.intercept_, model.coef_),
    }


def rare_step_of_its_own(
    multiples: Sequence[float],
    n_rep: int,
    *,
    n: int,
    p: int = 8,
    seed: int | Sequence[int] = 0,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> pd.DataFrame:
    """Error of P(rare) when every effect on the rare boundary is a multiple of that on the common one.

    Three classes, `p` features with weights ±0.6 on the common boundary. Multiple 1 is proportional odds, 0
    leaves the rare step without effects, -1 turns all of them round.

    Columns multiple, rep, method, mse. Repetition r starts from the same seed for every multiple.
    """
    seeds = np.random.SeedSequence(seed).spawn(n_rep)
    common = np.resize([0.6, -0.6], p)
    rows = []
    for multiple, rep in progress([(m, r) for m in multiples for r in range(n_rep)]):
        rng = np.random.default_rng(seeds[rep])
        draw = draw_from(n, (-0.5, 4.8), np.vstack([common, multiple * common]), rng)
        found = _errors(draw, int(rng.integers(2**31)))
        rows += [{"multiple": multiple, "rep": rep, **row} for row in found]
    return pd.DataFrame(rows)


def _errors(draw: Draw, random_state: int) -> list[dict[str, Any]]:
    X, y, K = draw.X, draw.y, len(draw.alpha) + 1
    folds = stratified_folds(y, 5, random_state, X)
    alpha, beta = po_fit(X, y, K)
    estimates = {
        LOGIT: rare_logit(X, y == K - 1).predict_proba(X)[:, 1],
        L2_LOGIT: penalised_logit(X, y == K - 1, folds).predict_proba(X)[:, 1],
        PO: expit(-(alpha[-1] + X @ beta)),
        PRESTO: PrestoClassifier(cv=folds, tol=1e-6).fit(X, y).predict_rare_proba(X),
    }
    return [{"method": m, "mse": float(((p - draw.proba[:, -1]) ** 2).mean())} for m, p in estimates.items()]
