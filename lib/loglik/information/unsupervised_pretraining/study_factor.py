"""The factor model's experiments: each gives tidy tables, all replicates at once, every risk exact."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar
from scipy.special import expit
from sklearn.decomposition import FactorAnalysis

from loglik.information.unsupervised_pretraining.checks import Floats
from loglik.information.unsupervised_pretraining.factor import (
    loadings_from_eigenpairs,
    posterior_map,
    principal_directions,
)
from loglik.information.unsupervised_pretraining.informative import (
    best_rotation,
    factor_covariances,
    hellinger_normal,
)
from loglik.information.unsupervised_pretraining.linear import (
    RIDGES,
    coefficient_risk,
    draw_moments,
    excess_risk_linear,
    fit_logistic,
    fit_on_features,
    fit_ridge,
)

PRETRAINED, SUPERVISED, RIDGE, ORACLE = "pretrained", "least squares", "ridge", "true factors"
STRENGTHS = (2.0, 1.7, 1.4, 1.1)
EPS = 0.5


class Law(NamedTuple):
    """A linear Gaussian law of (x, y): covariance of x, best coefficients, irreducible variance."""

    Sigma: Floats  # (d, d)
    b: Floats  # (d,)
    noise: float

    @property
    def joint(self) -> Floats:
        """Covariance of (x, y), shape (d + 1, d + 1)."""
        cross = (self.Sigma @ self.b)[:, None]
        return np.block([[self.Sigma, cross], [cross.T, np.array([[self.noise + self.b @ cross[:, 0]]])]])


def factor_law(
    loadings: Floats, beta: Floats, eps: float, gamma: Floats | None = None, psi: ArrayLike = 1.0
) -> Law:
    """The law of x = Bz + μ, y = βᵀz + γᵀx + ν, with noise variances `psi` (a number or (d,))."""
    d = len(loadings)
    Sigma: Floats = loadings @ loadings.T + np.diag(np.broadcast_to(psi, d))
    inner: Floats = np.asarray(np.linalg.solve(Sigma, loadings @ beta))
    noise = eps**2 + beta @ beta - (loadings @ beta) @ inner
    return Law(Sigma, inner if gamma is None else inner + gamma, float(noise))


def tidy(values: ArrayLike, **columns: Any) -> pd.DataFrame:
    """One row a replicate: columns rep, those given, and excess."""
    array = np.asarray(values)
    return pd.DataFrame({"rep": np.arange(len(array)), **columns, "excess": array})


def risk_grid(
    law: Law,
    r: int,
    ms: Sequence[int],
    ns: Sequence[int],
    reps: int,
    rng: np.random.Generator,
    *,
    truth: Floats | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Excess risks of pretraining, least squares and ridge on a grid of (m, n).

    The same labelled draws serve all methods and all m, so comparisons are paired.

    Parameters
    ----------
    law : Law
    r : int
        Factors that are fitted.
    ms, ns : sequences of int
    reps : int
    rng : numpy.random.Generator
    truth : array of shape (d, k), optional
        Features that an oracle would use.

    Returns
    -------
    (DataFrame, DataFrame)
        Excess by rep, m (0 for supervised methods), n and method; representation cost A by rep and m. The
        ridge penalty is the best in hindsight, by mean true risk at each n.
    """
    W = {m: principal_directions(draw_moments(law.Sigma, m, reps, rng), r) for m in ms}
    costs = pd.concat([tidy(excess_risk_linear(W[m], law.Sigma, law.b), m=m) for m in ms])
    tables = []
    for n in ns:
        moments = draw_moments(law.joint, n, reps, rng)
        for m in ms:
            risk = coefficient_risk(fit_on_features(moments, W[m]), law.Sigma, law.b)
            tables.append(tidy(risk, m=m, n=n, method=PRETRAINED))
        if truth is not None:
            risk = coefficient_risk(fit_on_features(moments, truth), law.Sigma, law.b)
            tables.append(tidy(risk, m=0, n=n, method=ORACLE))
        risks = coefficient_risk(fit_ridge(moments, [0.0, *RIDGES]), law.Sigma, law.b)
        tables.append(tidy(risks[0], m=0, n=n, method=SUPERVISED))
        tables.append(tidy(risks[risks.mean(1).argmin()], m=0, n=n, method=RIDGE))
    return pd.concat(tables, ignore_index=True), costs.reset_index(drop=True)


def outside_study(
    loadings: Floats,
    beta: Floats,
    strengths: Sequence[float],
    m: int,
    n: int,
    reps: int,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Excess when y also depends on a direction without any factor: columns rep, strength, method, excess."""
    r = loadings.shape[1]
    away = np.linalg.svd(loadings)[0][:, -1]  # orthogonal to all factors
    tables = []
    for strength in strengths:
        law = factor_law(loadings, beta, EPS, gamma=strength * away)
        tables.append(risk_grid(law, r, [m], [n], reps, rng)[0].assign(strength=strength))
    return pd.concat(tables, ignore_index=True)


def cost_by_size(
    ds: Sequence[int], m: int, strengths: Sequence[float], beta: Floats, reps: int, rng: np.random.Generator
) -> pd.DataFrame:
    """Representation cost at one m for several dimensions: columns rep, d, excess."""
    tables = []
    for d in ds:
        law = factor_law(np.eye(d)[:, : len(strengths)] * strengths, beta, EPS)
        W = principal_directions(draw_moments(law.Sigma, m, reps, rng), len(strengths))
        tables.append(tidy(excess_risk_linear(W, law.Sigma, law.b), d=d))
    return pd.concat(tables, ignore_index=True)


def cost_by_strength(
    lambdas: Sequence[float], d: int, m: int, reps: int, rng: np.random.Generator
) -> pd.DataFrame:
    """Representation cost of one factor at one m for several λ: columns rep, strength, excess."""
    tables = []
    for lam in lambdas:
        law = factor_law(np.eye(d)[:, :1] * np.sqrt(lam), np.ones(1), EPS)
        W = principal_directions(draw_moments(law.Sigma, m, reps, rng), 1)
        tables.append(tidy(excess_risk_linear(W, law.Sigma, law.b), strength=lam))
    return pd.concat(tables, ignore_index=True)


def representation_distance(
    loadings: Floats, ms: Sequence[int], reps: int, rng: np.random.Generator
) -> pd.DataFrame:
    """Hellinger distance of the fitted from the true law of (x, z) and of x, factors turned to fit.

    Columns rep, m, joint, observed. (The rotation is Procrustes', within a per mille of the best one.)
    """
    r = loadings.shape[1]
    Sigma, joint = factor_covariances(loadings)
    rows = []
    for m in ms:
        values, vectors = np.linalg.eigh(draw_moments(Sigma, m, reps, rng))
        fitted = loadings_from_eigenpairs(values[:, ::-1][:, :r], vectors[..., ::-1][..., :r])
        for rep, B in enumerate(fitted):
            observed, both = factor_covariances(B @ best_rotation(B, loadings))
            rows.append((rep, m, hellinger_normal(both, joint), hellinger_normal(observed, Sigma)))
    return pd.DataFrame(rows, columns=["rep", "m", "joint", "observed"])


def noise_model_study(
    loadings: Floats, psi: Floats, beta: Floats, ms: Sequence[int], reps: int, rng: np.random.Generator
) -> pd.DataFrame:
    """Unequal noise: representation cost of the unit-noise model and of scikit-learn's factor analysis.

    Factor analysis gets 2d rows with exactly the drawn second moments (its likelihood sees nothing else), and
    starts at the classical noise variances 1/(S⁻¹)ⱼⱼ: from its default start, 1, it stays near a saddle point for
    thousands of iterations, and stops there. Columns rep, m, method, excess.
    """
    law = factor_law(loadings, beta, EPS, psi=psi)
    r, tables = loadings.shape[1], []
    for m in ms:
        moments = draw_moments(law.Sigma, m, reps, rng)
        W = principal_directions(moments, r)
        tables.append(
            tidy(excess_risk_linear(W, law.Sigma, law.b), m=m, method="unit noise (principal directions)")
        )
        maps = []
        starts = 1 / np.diagonal(np.linalg.inv(moments), axis1=1, axis2=2)
        for half, start in zip(np.linalg.cholesky(moments).swapaxes(1, 2), starts, strict=True):
            rows = np.sqrt(len(half)) * np.concatenate([half, -half])
            fit = FactorAnalysis(
                r, tol=1e-8, max_iter=3000, svd_method="lapack", noise_variance_init=start
            ).fit(rows)
            maps.append(posterior_map(fit.components_.T, fit.noise_variance_))
        tables.append(
            tidy(excess_risk_linear(np.array(maps), law.Sigma, law.b), m=m, method="factor analysis")
        )
    return pd.concat(tables, ignore_index=True)


# -- a yes-or-no target --------------------------------------------------------------------------------------


class LogisticTask:
    """P(y=1|z) = σ(βᵀz): exact log-loss of any linear log-odds w'x, by one-dimensional quadrature.

    x is normal, so the loss depends on w through var(w'x) and cov(w'x, T), T the posterior mean of βᵀz.
    """

    def __init__(self, loadings: Floats, beta: Floats) -> None:
        self.Sigma = factor_covariances(loadings)[0]
        self.b = np.linalg.solve(self.Sigma, loadings @ beta)  # T = b'x
        nodes, weights = np.polynomial.hermite_e.hermegauss(80)
        self._nodes, self._weights = nodes, weights / weights.sum()
        scale = np.sqrt(self.b @ self.Sigma @ self.b)
        left = np.sqrt(beta @ beta - scale**2)
        proba = expit(scale * nodes[:, None] + left * nodes) @ self._weights  # P(y=1 | T at the node)
        self._slope = float((proba * nodes * self._weights).sum() / scale)  # E[yS] = slope·cov(S, T)
        self.best = (
            minimize_scalar(lambda c: float(self._loss(c * self.b)), bounds=(0, 3), method="bounded").x
            * self.b
        )

    def _loss(self, w: Floats) -> Floats:
        scale = np.sqrt(np.einsum("...d,de,...e->...", w, self.Sigma, w))
        inner = np.logaddexp(0, scale[..., None] * self._nodes) @ self._weights
        return np.asarray(inner - self._slope * (w @ self.Sigma @ self.b))

    def excess(self, w: Floats) -> Floats:
        """Log-loss (nats) above that of the best linear log-odds, for w of shape (..., d)."""
        return np.asarray(self._loss(w) - self._loss(self.best))


def logistic_study(
    loadings: Floats, beta: Floats, m: int, ns: Sequence[int], reps: int, rng: np.random.Generator
) -> pd.DataFrame:
    """Excess log-loss of logistic regression on fitted factors, on true ones, and on x (plain and penalised).

    The L2 penalty of the last is the best in hindsight. Columns rep, n, method, excess.
    """
    task = LogisticTask(loadings, beta)
    d, r = loadings.shape
    W = principal_directions(draw_moments(task.Sigma, m, reps, rng), r)
    tables = []
    for n in ns:
        z = rng.normal(size=(reps, n, r))
        X = z @ loadings.T + rng.normal(size=(reps, n, d))
        y = (rng.random((reps, n)) < expit(z @ beta)).astype(float)
        for method, directions in ((PRETRAINED, W), (ORACLE, np.broadcast_to(loadings, W.shape))):
            w = np.einsum("adr,ar->ad", directions, fit_logistic(X @ directions, y))
            tables.append(tidy(task.excess(w), n=n, method=method))
        tables.append(tidy(task.excess(fit_logistic(X, y)), n=n, method="logistic regression"))
        penalised = [task.excess(fit_logistic(X, y, penalty)) for penalty in (0.003, 0.01, 0.03, 0.1, 0.3)]
        best = min(penalised, key=lambda e: float(e.mean()))
        tables.append(tidy(best, n=n, method="logistic, L2"))
    return pd.concat(tables, ignore_index=True)
