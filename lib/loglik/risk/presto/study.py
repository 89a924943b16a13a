"""The chapter's experiments, each a function that returns one tidy table.

Repetitions are independent and draw their generators from ``SeedSequence.spawn``, so results don't depend on
`n_jobs` and a longer run repeats a shorter one's first repetitions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from loglik.risk.presto.likelihood import (
    Floats,
    Ints,
    class_probabilities,
    linear_predictors,
    logit_asymptotic_cov,
    po_asymptotic_cov,
    theorem_condition,
)
from loglik.risk.presto.path import PathSolver, PrestoPath, lambda_grid
from loglik.risk.presto.released import released_cv_scores
from loglik.risk.presto.selection import best_lambda, cv_scores, fold_paths, stratified_folds
from loglik.risk.presto.simulate import Draw, simulate_dense, simulate_sparse
from loglik.stats.intervals import Estimate

LOGIT, PO, PRESTO = "logit", "PO", "PRESTO"
L2_LOGIT = "logit, L2"
INVERSE_PENALTIES = np.geomspace(1e-3, 1e2, 6)  # C of the L2-penalised logistic regression
TOL = 1e-6  # optimality violation left in the studies: far below their statistical error, a quarter faster


class Setting(NamedTuple):
    """One simulation setting of the paper."""

    kind: str  # "sparse" or "dense"
    q: float  # sparsity; NaN for dense
    intercepts: tuple[float, ...]

    @property
    def label(self) -> str:
        """Short name, such as ``sparse 1/2 (0, 3, 5)``."""
        share = f" 1/{round(1 / self.q)}" if self.kind == "sparse" else ""
        return f"{self.kind}{share} ({', '.join(f'{a:g}' for a in self.intercepts)})"

    def draw(self, n: int, p: int, rng: np.random.Generator) -> Draw:
        """Simulate one data set with at least two rows of every class, so that folds can be stratified."""
        K = len(self.intercepts) + 1
        if self.kind == "sparse":
            return simulate_sparse(n, p, K, self.intercepts, self.q, rng=rng, min_count=2)
        return simulate_dense(n, p, K, self.intercepts, rng=rng, min_count=2)


SPARSE = tuple(Setting("sparse", q, a) for q in (1 / 2, 1 / 3) for a in ((0, 3, 5), (0, 3.5, 5.5), (0, 4, 6)))
DENSE = tuple(Setting("dense", float("nan"), a) for a in ((0, 2.5, 4.5), (0, 3, 5), (0, 3.5, 5.5), (0, 4, 6)))


# -- baselines -----------------------------------------------------------------------------------------------


def rare_logit(X: Floats, rare: np.ndarray) -> LogisticRegression:
    """Unpenalised logistic regression of "rare class against the rest" (scikit-learn).

    With fewer than about ten rare rows it may be separable and then runs until `max_iter`.
    """
    return LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-8, max_iter=100).fit(X, rare)


def penalised_logit(X: Floats, rare: np.ndarray, folds: Sequence[tuple[Ints, Ints]]) -> LogisticRegression:
    """L2-penalised logistic regression of the rare class, C chosen by cross-validated log loss.

    Not in the paper: it tells how much of a gain is mere shrinkage, without any borrowing.
    """

    def model(C: float) -> LogisticRegression:
        return LogisticRegression(C=C, solver="newton-cholesky", max_iter=100)

    def held_out(C: float) -> float:
        losses = []
        for train, test in folds:
            p = model(C).fit(X[train], rare[train]).predict_proba(X[test])[:, 1]
            losses.append(-np.log(np.where(rare[test], p, 1 - p)).mean())
        return float(np.mean(losses))

    return model(min(INVERSE_PENALTIES, key=held_out)).fit(X, rare)


def po_fit(X: Floats, codes: Ints, n_classes: int) -> tuple[Floats, Floats]:
    """Proportional-odds maximum likelihood (alpha (K-1,), beta (p,)).

    It is the solver's own null model without a penalty on the first boundary; the tests hold it equal to
    statsmodels' ``OrderedModel``, which takes 80 times as long.
    """
    solver = PathSolver(X, codes, n_classes, penalize_first=False)
    beta = solver.null[n_classes - 1 : solver.first] / solver.scale
    return solver.null[: n_classes - 1] - solver.center @ beta, beta


# -- C1: asymptotic variances --------------------------------------------------------------------------------


def variance_study(last_intercepts: Iterable[float], designs: Sequence[Floats], beta: Floats) -> pd.DataFrame:
    """Traces of the asymptotic covariances against P(rare), K = 3, proportional odds true (C1).

    Parameters
    ----------
    last_intercepts : iterable of float
        alpha_2; alpha_1 is 0.
    designs : sequence of arrays (n, p)
        Feature samples; each gives its own curve.
    beta : array of shape (p,)

    Returns
    -------
    DataFrame
        Columns design, alpha, rare (mean P(rare)), logit, po, common (traces; *common* is the logistic
        regression on boundary 1), worst_ratio (largest ratio of variances PO/logit over all directions).
    """
    rows = []
    levels = list(last_intercepts)
    for design, X in enumerate(designs):
        for last in levels:
            alpha = np.array([0.0, last])
            rare = expit(-linear_predictors(alpha, beta, X)[:, -1]).mean()
            po, logit = po_asymptotic_cov(alpha, beta, X), logit_asymptotic_cov(alpha, beta, X)
            common = logit_asymptotic_cov(alpha, beta, X, boundary=0)
            worst = np.linalg.eigvals(np.linalg.solve(logit, po)).real.max()
            rows.append((design, last, rare, np.trace(logit), np.trace(po), np.trace(common), worst))
    return pd.DataFrame(rows, columns=["design", "alpha", "rare", "logit", "po", "common", "worst_ratio"])


def condition_study(
    n: int, p: int, n_rep: int, last_intercept: float, rng: np.random.Generator
) -> pd.DataFrame:
    """The sufficient condition of Theorem 2.3 on uniform features with all weights 1 (appendix E).

    One row a repetition: smallest_eigenvalue, threshold, largest_rare_proba (over the whole cube, not
    only the rows drawn), worst_ratio of variances PO/logit.
    """
    alpha, beta = np.array([0.0, last_intercept]), np.ones(p)
    rows = []
    for _ in range(n_rep):
        X = rng.uniform(-1, 1, (n, p))
        eigenvalue = theorem_condition(alpha, beta, X).smallest_eigenvalue
        ratio = np.linalg.eigvals(
            np.linalg.solve(logit_asymptotic_cov(alpha, beta, X), po_asymptotic_cov(alpha, beta, X))
        ).real.max()
        corner = expit(-(last_intercept - p))
        rows.append((eigenvalue, eigenvalue / (3 * p * (2 + np.sqrt(p))), corner, ratio))
    return pd.DataFrame(
        rows, columns=["smallest_eigenvalue", "threshold", "largest_rare_proba", "worst_ratio"]
    )


# -- C2 to C5, C9: rare-probability error --------------------------------------------------------------------


def rare_probability_study(
    settings: Sequence[Setting],
    n_rep: int,
    *,
    n: int = 2500,
    p: int = 10,
    n_lambda: int = 20,
    seed: int | Sequence[int] = 0,
    ridge: Callable[[Setting], bool] = lambda setting: False,
    n_jobs: int = 1,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> pd.DataFrame:
    """Error of estimated rare probabilities, all methods on the same draws (C2 to C5, C9).

    Parameters
    ----------
    settings : sequence of Setting
    n_rep : int
        Data sets a setting.
    n, p, n_lambda : int
        Rows, features, penalties on the grid (down to a hundredth of the largest).
    seed : int or sequence of int
    ridge : callable
        For which settings to fit the squared-difference variant too (C9): tuned over four decades, and
        only over the two that the released grid spans.
    n_jobs : int
        Processes.
    progress : callable
        Wraps the iterable of tasks, such as ``lambda tasks: chapter.progress(tasks, "…")``.

    Returns
    -------
    DataFrame
        Columns setting, rep, method, mse (mean over the rows of the squared error of P(rare)), rare (share of
        rare rows), redraws, lam (chosen penalty over the largest; NaN without one).
    """
    seeds = np.random.SeedSequence(seed).spawn(len(settings) * n_rep)
    tasks = [(s, rep, seeds[i * n_rep + rep]) for i, s in enumerate(settings) for rep in range(n_rep)]
    work = Parallel(n_jobs=n_jobs, return_as="generator")(
        delayed(_one_draw)(s, rep, child, n, p, n_lambda, ridge(s)) for s, rep, child in progress(tasks)
    )
    return pd.DataFrame([row for rows in work for row in rows])


def _one_draw(
    setting: Setting, rep: int, seed: np.random.SeedSequence, n: int, p: int, n_lambda: int, ridge: bool
) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    draw = setting.draw(n, p, rng)
    folds = stratified_folds(draw.y, 5, int(rng.integers(2**31)), draw.X)
    common = {
        "setting": setting.label,
        "rep": rep,
        "rare": float((draw.y == draw.y.max()).mean()),
        "redraws": draw.redraws,
    }
    return [
        {**common, "method": name, "mse": float(((proba - draw.proba[:, -1]) ** 2).mean()), "lam": lam}
        for name, proba, lam in _estimates(draw, folds, n_lambda, ridge)
    ]


def _estimates(
    draw: Draw, folds: list[tuple[Ints, Ints]], n_lambda: int, ridge: bool
) -> Iterator[tuple[str, Floats, float]]:
    """Estimated rare probabilities (n,) of every method with the relative penalty chosen."""
    X, y, K = draw.X, draw.y, len(draw.alpha) + 1
    yield LOGIT, rare_logit(X, y == K - 1).predict_proba(X)[:, 1], np.nan
    yield L2_LOGIT, penalised_logit(X, y == K - 1, folds).predict_proba(X)[:, 1], np.nan
    alpha, beta = po_fit(X, y, K)
    yield PO, expit(-(alpha[-1] + X @ beta)), np.nan
    solver = PathSolver(X, y, K, tol=TOL)
    lambdas = lambda_grid(solver.lambda_max(), n_lambda, 0.01)
    path, held_out = solver.path(lambdas), fold_paths(X, y, K, lambdas, folds, tol=TOL)
    proba = _rare_along(path, X)
    chosen = {
        PRESTO: best_lambda(lambdas, cv_scores(held_out, X, y, "brier")),
        "PRESTO, log-loss CV": best_lambda(lambdas, cv_scores(held_out, X, y, "log_loss")),
        "PRESTO, released CV": best_lambda(lambdas, released_cv_scores(held_out, X, y)),
        "PRESTO, oracle": int(((proba - draw.proba[:, -1]) ** 2).mean(1).argmin()),
    }
    for name, at in chosen.items():
        yield name, proba[at], lambdas[at] / lambdas[0]
    if ridge:
        solver = PathSolver(X, y, K, l1_ratio=0.0, tol=TOL)
        lambdas = lambda_grid(solver.lambda_max(), n_lambda, 1e-4)
        held_out = fold_paths(X, y, K, lambdas, folds, l1_ratio=0.0, tol=TOL)
        cv, proba = cv_scores(held_out, X, y, "brier"), _rare_along(solver.path(lambdas), X)
        official = int((lambdas >= 0.0099 * lambdas[0]).sum())  # the released grid ends at a hundredth
        for name, upto in (("ridge", n_lambda), ("ridge, released grid", official)):
            at = best_lambda(lambdas[:upto], cv[:upto])
            yield name, proba[at], lambdas[at] / lambdas[0]


def _rare_along(path: PrestoPath, X: Floats) -> Floats:
    """Rare probabilities (m, n) along a path."""
    return expit(-(path.intercepts[:, -1:] + path.coefs[:, -1] @ X.T))


def trend(
    errors: pd.DataFrame, method: str, baseline: str, common: str, rare: str, rng: np.random.Generator
) -> Estimate:
    """How the log ratio of mean errors changes from setting `common` to setting `rare` (C4).

    Negative: the method's gain grows. 95 % bootstrap interval over the data sets of each setting.
    """
    draws = 4000
    log_ratio = []
    for setting in (common, rare):
        part = errors[errors["setting"] == setting].set_index(["rep", "method"])["mse"].unstack()  # noqa: PD010
        a, b = part[method].to_numpy(), part[baseline].to_numpy()
        rows = np.concatenate([np.arange(len(a))[None], rng.integers(len(a), size=(draws, len(a)))])
        log_ratio.append(np.log(a[rows].mean(1) / b[rows].mean(1)))
    change = log_ratio[1] - log_ratio[0]
    low, high = np.quantile(change[1:], (0.025, 0.975))
    return Estimate(float(change[0]), float(low), float(high), float(change[1:].std(ddof=1)))


# -- C6: consistency -----------------------------------------------------------------------------------------


def fixed_truth(p: int = 10) -> tuple[Floats, Floats]:
    """One sparse truth for the consistency study: alpha (3,), beta (3, p), boundaries that never cross.

    Even features have weight 0.5 everywhere; feature 1 enters at the second boundary, feature 3 changes at
    the third. Over the whole cube (-1, 1)^p neighbouring predictors stay apart.
    """
    psi = np.zeros((3, p))
    psi[0, ::2] = 0.5
    psi[1, 1], psi[2, 3], psi[2, 0] = 0.5, -0.5, 0.5
    return np.array([0.0, 2.0, 4.0]), psi.cumsum(0)


def consistency_study(
    ns: Sequence[int],
    n_rep: int,
    *,
    factor: float = 0.15,
    seed: int | Sequence[int] = 0,
    n_jobs: int = 1,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> pd.DataFrame:
    """Error of all boundary weights as n grows with ``lambda_n = factor sqrt(log(p (K-1)) / n)`` (C6).

    Returns
    -------
    DataFrame
        Columns n, rep, method (PRESTO, or PO which has no such limit here), error (L1 distance of all
        (K-1) p weights, raw scale).
    """
    alpha, beta = fixed_truth()
    seeds = np.random.SeedSequence(seed).spawn(len(ns) * n_rep)
    tasks = [(n, rep, seeds[i * n_rep + rep]) for i, n in enumerate(ns) for rep in range(n_rep)]
    work = Parallel(n_jobs=n_jobs, return_as="generator")(
        delayed(_one_error)(n, rep, child, factor, alpha, beta) for n, rep, child in progress(tasks)
    )
    return pd.DataFrame([row for rows in work for row in rows])


def _one_error(
    n: int, rep: int, seed: np.random.SeedSequence, factor: float, alpha: Floats, beta: Floats
) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, (n, beta.shape[1]))
    proba = class_probabilities(linear_predictors(alpha, beta, X))
    y = (proba.cumsum(1)[:, :-1] < rng.random((n, 1))).sum(1)
    lam = factor * np.sqrt(np.log(beta.size) / n)
    coefs = PathSolver(X, y, len(alpha) + 1).path(np.array([lam])).coefs[0]
    _, shared = po_fit(X, y, len(alpha) + 1)
    return [
        {"n": n, "rep": rep, "method": PRESTO, "error": float(np.abs(coefs - beta).sum())},
        {"n": n, "rep": rep, "method": PO, "error": float(np.abs(shared - beta).sum())},
    ]
