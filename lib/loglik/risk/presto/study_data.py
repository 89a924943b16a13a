"""The chapter's experiments on real data: `fair`, and `soup` with the audit of the released pipeline."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from loglik.risk.presto.datasets import OrdinalData
from loglik.risk.presto.likelihood import Floats, Ints
from loglik.risk.presto.metrics import noise_floor, osce
from loglik.risk.presto.path import PathSolver, lambda_grid
from loglik.risk.presto.released import released_cv_scores, released_intercepts
from loglik.risk.presto.selection import best_lambda, cv_scores, fold_paths, stratified_folds
from loglik.risk.presto.study import L2_LOGIT, LOGIT, PO, PRESTO, TOL, penalised_logit, po_fit, rare_logit

WEIGHTED_LOGIT = "logit, class weights"
METRICS = ("brier", "log_loss", "auc", "osce", "osce_released")


def scores(y_rare: np.ndarray, p: Floats) -> dict[str, float]:
    """Test scores of rare probabilities: Brier, log loss, AUC, OSCE (as meant, as released, its floor), mean."""
    clipped = np.clip(p, 1e-12, 1 - 1e-12)
    return {
        "brier": float(((p - y_rare) ** 2).mean()),
        "log_loss": float(-np.log(np.where(y_rare, clipped, 1 - clipped)).mean()),
        "auc": float(roc_auc_score(y_rare, p)),
        "osce": osce(y_rare, p),
        "osce_released": osce(y_rare, p, released=True),
        "floor": noise_floor(p),
        "mean_p": float(p.mean()),
    }


def random_split(codes: Ints, n_train: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Training and test rows, drawn until every class occurs in both (as the official code does)."""
    K = int(codes.max()) + 1
    for _ in range(1000):
        order = rng.permutation(len(codes))
        train, test = order[:n_train], order[n_train:]
        if np.unique(codes[train]).size == K == np.unique(codes[test]).size:
            return train, test
    raise RuntimeError(f"1000 random splits with {n_train} training rows all lacked a class in one part")


def _repeat(
    work: Callable[..., Any], n_rep: int, seed: Any, n_jobs: int, progress: Callable[..., Any]
) -> list[Any]:
    seeds = np.random.SeedSequence(seed).spawn(n_rep)
    return list(
        Parallel(n_jobs=n_jobs, return_as="generator")(
            delayed(work)(i, s) for i, s in enumerate(progress(seeds))
        )
    )


# -- fair ----------------------------------------------------------------------------------------------------


def fair_study(
    data: OrdinalData,
    n_train: int,
    n_splits: int,
    *,
    seed: int | Sequence[int] = 0,
    n_bins: int = 10,
    n_jobs: int = 1,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Random splits of a real data set: test scores, and the points of reliability curves (C10).

    Returns
    -------
    (DataFrame, DataFrame)
        Scores: split, method and one column a metric. Reliability: split, method, bin (of equal count),
        predicted, observed.
    """
    X, codes = data.X.to_numpy(dtype=float), data.y

    def one(split: int, seed: np.random.SeedSequence) -> list[tuple[int, str, np.ndarray, Floats]]:
        rng = np.random.default_rng(seed)
        train, test = random_split(codes, n_train, rng)
        estimates = _estimates(X[train], codes[train], X[test], int(rng.integers(2**31)))
        return [(split, name, codes[test] == codes.max(), p) for name, p in estimates.items()]

    found = [item for items in _repeat(one, n_splits, seed, n_jobs, progress) for item in items]
    table = pd.DataFrame([{"split": s, "method": m} | scores(y, p) for s, m, y, p in found])
    curves = [_reliability(s, m, y, p, n_bins) for s, m, y, p in found]
    return table, pd.concat(curves, ignore_index=True)


def _estimates(X: Floats, codes: Ints, new: Floats, fold_seed: int) -> dict[str, Floats]:
    """Rare probabilities of new rows by the baselines and PRESTO (penalty by Brier and by log loss)."""
    K = int(codes.max()) + 1
    center, scale = X.mean(0), X.std(0)
    Z, new_z, rare = (X - center) / scale, (new - center) / scale, codes == K - 1
    folds = stratified_folds(codes, 5, fold_seed, X)
    logits = {
        LOGIT: rare_logit(Z, rare),
        L2_LOGIT: penalised_logit(Z, rare, folds),
        WEIGHTED_LOGIT: LogisticRegression(C=np.inf, class_weight="balanced", solver="newton-cholesky").fit(
            Z, rare
        ),
    }
    result = {name: model.predict_proba(new_z)[:, 1] for name, model in logits.items()}
    alpha, beta = po_fit(X, codes, K)
    result[PO] = expit(-(alpha[-1] + new @ beta))
    solver = PathSolver(X, codes, K, tol=TOL)
    lambdas = lambda_grid(solver.lambda_max(), 20, 0.01)
    held_out = fold_paths(X, codes, K, lambdas, folds, tol=TOL)
    path = solver.path(lambdas)
    for name, scoring in ((PRESTO, "brier"), ("PRESTO, log-loss CV", "log_loss")):
        at = best_lambda(lambdas, cv_scores(held_out, X, codes, scoring))
        result[name] = expit(-(path.intercepts[at, -1] + new @ path.coefs[at, -1]))
    return result


def _reliability(split: int, method: str, y: np.ndarray, p: Floats, n_bins: int) -> pd.DataFrame:
    order = np.argsort(p, kind="stable")
    parts = np.array_split(order, n_bins)
    return pd.DataFrame(
        {
            "split": split,
            "method": method,
            "bin": range(n_bins),
            "predicted": [p[part].mean() for part in parts],
            "observed": [y[part].mean() for part in parts],
        }
    )


# -- soup ----------------------------------------------------------------------------------------------------


def audit_study(
    data: OrdinalData,
    n_splits: int,
    *,
    n_lambda: int = 40,
    lambda_min_ratio: float = 1e-3,
    test_share: float = 0.1,
    seed: int | Sequence[int] = 0,
    n_jobs: int = 1,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> pd.DataFrame:
    """The paper's real-data comparison with each fault of the released pipeline on or off (C7).

    Returns
    -------
    DataFrame
        Columns split, method, penalty, intercepts ("released" or "corrected"; "–" for the baselines), lam
        (penalty over the largest), and one column a metric. ``osce`` and ``osce_released`` are the third factor.
    """
    X, codes = data.X.to_numpy(dtype=float), data.y
    K, n_train = int(codes.max()) + 1, len(codes) - round(test_share * len(codes))

    def one(split: int, seed: np.random.SeedSequence) -> list[dict[str, Any]]:
        rng = np.random.default_rng(seed)
        train, test = random_split(codes, n_train, rng)
        rare = codes[test] == K - 1
        fits = _audited(X[train], codes[train], X[test], n_lambda, lambda_min_ratio, int(rng.integers(2**31)))
        return [
            {"split": split, "method": m, "penalty": a, "intercepts": b, "lam": lam} | scores(rare, p)
            for m, a, b, lam, p in fits
        ]

    return pd.DataFrame([row for rows in _repeat(one, n_splits, seed, n_jobs, progress) for row in rows])


def _audited(
    X: Floats, codes: Ints, new: Floats, n_lambda: int, ratio: float, fold_seed: int
) -> list[tuple[str, str, str, float, Floats]]:
    """(method, penalty rule, intercepts, relative penalty, rare probabilities) of all six versions."""
    K = int(codes.max()) + 1
    alpha, beta = po_fit(X, codes, K)
    found = [
        (LOGIT, "–", "–", np.nan, rare_logit(X, codes == K - 1).predict_proba(new)[:, 1]),
        (PO, "–", "–", np.nan, expit(-(alpha[-1] + new @ beta))),
    ]
    solver = PathSolver(X, codes, K, tol=TOL)
    lambdas = lambda_grid(solver.lambda_max(), n_lambda, ratio)
    held_out = fold_paths(X, codes, K, lambdas, stratified_folds(codes, 5, fold_seed, X), tol=TOL)
    path = solver.path(lambdas)
    rules = {"released": released_cv_scores(held_out, X, codes), "corrected": cv_scores(held_out, X, codes)}
    for rule, held_out_scores in rules.items():
        at = best_lambda(lambdas, held_out_scores)
        wrong = released_intercepts(path.intercepts[at], path.coefs[at], solver.center)
        for name, intercepts in (("released", wrong), ("corrected", path.intercepts[at])):
            p = expit(-(intercepts[-1] + new @ path.coefs[at, -1]))
            found.append((PRESTO, rule, name, float(lambdas[at] / lambdas[0]), p))
    return found
