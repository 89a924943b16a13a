"""Factor models: pretraining by maximum likelihood in closed form, and what it costs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from loglik.information.unsupervised_pretraining.checks import Floats, matrix, number, vector, whole
from loglik.information.unsupervised_pretraining.linear import label_factor


class FactorPretrainer(TransformerMixin, BaseEstimator):
    r"""Phase one for the factor model :math:`x = Bz + \mu` with normal z and noise of equal variance.

    Means are zero by assumption: nothing is centred. The maximum likelihood is closed form: with eigenpairs
    :math:`(l_i, v_i)` of the second-moment matrix, :math:`\hat B = V\,\mathrm{diag}\sqrt{\max(l_i-\sigma^2,0)}`.

    Parameters
    ----------
    n_factors : int
        r, below the number of columns.
    noise_variance : float or None
        σ², known in the paper's model. None estimates it too (probabilistic principal components): the mean
        of the eigenvalues that are left.

    Attributes
    ----------
    loadings_ : array of shape (d, r)
        Determined up to a rotation of the factors.
    noise_variance_ : float
    eigenvalues_ : array of shape (d,)
        Of the second-moment matrix, largest first.

    Raises
    ------
    ValueError
        For n_factors of d or more, or a noise variance that isn't above 0.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(500, 5)) * [3, 1, 1, 1, 1]
    >>> FactorPretrainer(1).fit(X).transform(X).shape
    (500, 1)
    """

    def __init__(self, n_factors: int, noise_variance: float | None = 1.0) -> None:
        self.n_factors = n_factors
        self.noise_variance = noise_variance

    def fit(self, X: ArrayLike, y: Any = None) -> FactorPretrainer:
        """Fit on unlabelled rows X (m, d); `y` is ignored."""
        data = validate_data(self, X, dtype=np.float64)
        r, d = whole("n_factors", self.n_factors), data.shape[1]
        if r >= d:
            raise ValueError(f"n_factors must be below the number of columns, {d}, got {r}")
        if self.noise_variance is not None:
            number("noise_variance", self.noise_variance, strict=True)
        values, vectors = np.linalg.eigh(data.T @ data / len(data))
        self.eigenvalues_ = values[::-1]
        rest = float(max(self.eigenvalues_[r:].mean(), 1e-12))
        self.noise_variance_ = rest if self.noise_variance is None else float(self.noise_variance)
        self.loadings_ = loadings_from_eigenpairs(
            self.eigenvalues_[:r], vectors[:, ::-1][:, :r], self.noise_variance_
        )
        return self

    def transform(self, X: ArrayLike) -> Floats:
        """Posterior means (n, r) of the factors."""
        check_is_fitted(self)
        data = validate_data(self, X, dtype=np.float64, reset=False)
        return np.asarray(data @ posterior_map(self.loadings_, self.noise_variance_))

    def score_samples(self, X: ArrayLike) -> Floats:
        """Log-likelihood (n,) of each row."""
        check_is_fitted(self)
        data = validate_data(self, X, dtype=np.float64, reset=False)
        d = data.shape[1]
        covariance = self.loadings_ @ self.loadings_.T + self.noise_variance_ * np.eye(d)
        half = np.linalg.solve(np.linalg.cholesky(covariance), data.T)
        return np.asarray(
            -0.5 * (half**2).sum(0) - 0.5 * np.linalg.slogdet(covariance)[1] - 0.5 * d * np.log(2 * np.pi)
        )

    def score(self, X: ArrayLike, y: Any = None) -> float:
        """Mean log-likelihood of the rows."""
        return float(self.score_samples(X).mean())


def loadings_from_eigenpairs(values: Floats, vectors: Floats, noise_variance: float = 1.0) -> Floats:
    """Maximum-likelihood loadings (..., d, r) from the r leading eigenpairs, (..., r) and (..., d, r)."""
    return np.asarray(vectors * np.sqrt(np.maximum(values - noise_variance, 0.0))[..., None, :])


def posterior_map(loadings: Floats, noise_variance: float | Floats = 1.0) -> Floats:
    r"""The matrix (d, r) that turns x into the posterior mean of z, by Woodbury's identity.

    :math:`\Psi^{-1}B(I+B^\top\Psi^{-1}B)^{-1}`, with Ψ the noise variance, one number or (d,).
    """
    scaled = loadings / np.broadcast_to(noise_variance, (len(loadings),))[:, None]
    inner = np.eye(loadings.shape[1]) + loadings.T @ scaled
    return np.asarray(np.linalg.solve(inner, scaled.T).T)


def principal_directions(moments: Floats, r: int) -> Floats:
    """Leading eigenvectors (reps, d, r) of second moments (reps, d, d): the span of the fitted factors."""
    return np.asarray(np.linalg.eigh(moments)[1][..., ::-1][..., :r])


def spiked_cost(strength: ArrayLike, beta: ArrayLike, aspect: ArrayLike) -> Floats:
    r"""Cost of learning one factor, on both sides of its phase transition.

    With :math:`\gamma=d/m`, the fitted direction has squared cosine
    :math:`c=(1-\gamma/\lambda^2)/(1+\gamma/\lambda)` with the factor, and 0 below :math:`\lambda^2=\gamma`
    (large d; Baik, Ben Arous and Péché; Paul). The cost is
    :math:`\beta^2[\lambda/(1+\lambda)-\lambda c/(1+\lambda c)]`; for large m it is
    :math:`\beta^2\gamma/(\lambda(1+\lambda))`.

    Parameters
    ----------
    strength, beta, aspect : arrays that broadcast
        λ, the target's coefficient on the factor, and γ.
    """
    lam, gamma = np.asarray(strength, dtype=float), np.asarray(aspect, dtype=float)
    cosine = np.maximum(1 - gamma / lam**2, 0.0) / (1 + gamma / lam)
    return np.asarray(np.asarray(beta) ** 2 * (lam / (1 + lam) - lam * cosine / (1 + lam * cosine)))


def factor_theory(
    loadings: ArrayLike, beta: ArrayLike, eps: float, m: ArrayLike, n: ArrayLike
) -> dict[str, Floats]:
    r"""Derived risks of the factor model.

    With :math:`\lambda_i` the eigenvalues of :math:`B^\top B`, :math:`\tilde\beta` the target's coefficients in
    their basis and :math:`s^2=\varepsilon^2+\sum\tilde\beta_i^2/(1+\lambda_i)`.

    Parameters
    ----------
    loadings : array of shape (d, r)
        B, with unit noise.
    beta : array of shape (r,)
    eps : float
        Standard deviation ε of the target's own noise.
    m, n : arrays that broadcast
        Unlabelled and labelled rows; n must exceed r + 1.

    Returns
    -------
    dict of arrays
        ``pretrain_cost`` (A, the large-m formula), ``spiked_cost`` (A on both sides of the phase
        transition), ``label_cost``, ``total`` (with A), ``spiked_total``, ``supervised`` (infinite for n of
        at most d + 1), ``saturation`` (A when nothing is learnt), ``irreducible`` (s²).

    Raises
    ------
    ValueError
        For shapes that don't fit, negative eps, or n of at most r + 1.
    """
    B = matrix("loadings", loadings)
    d, r = B.shape
    coefs, noise = vector("beta", beta, r), number("eps", eps)
    rows, labels = np.broadcast_arrays(np.asarray(m, dtype=float), np.asarray(n, dtype=float))
    if (rows <= 0).any():
        raise ValueError(f"m must be positive, got {rows.min():g}")
    strengths, basis = np.linalg.eigh(B.T @ B)
    turned = basis.T @ coefs
    irreducible = noise**2 + (turned**2 / (1 + strengths)).sum()
    formula = ((d - r) / rows) * (turned**2 / (strengths * (1 + strengths))).sum()
    spiked = spiked_cost(strengths, turned, ((d - r) / rows)[..., None]).sum(-1)
    paid = label_factor(labels, r)
    supervised = np.where(labels > d + 1, irreducible * d / np.maximum(labels - d - 1, 1e-300), np.inf)
    return {
        "pretrain_cost": formula,
        "spiked_cost": spiked,
        "label_cost": (irreducible + formula) * paid,
        "total": formula + (irreducible + formula) * paid,
        "spiked_total": spiked + (irreducible + spiked) * paid,
        "supervised": supervised,
        "saturation": np.asarray((turned**2 * strengths / (1 + strengths)).sum()),
        "irreducible": np.asarray(irreducible),
    }


def strong_enough(loadings: ArrayLike) -> float:
    """8d/λ²_min: the m from which the large-m formula is trusted in this chapter."""
    B = matrix("loadings", loadings)
    return float(8 * len(B) / np.linalg.eigvalsh(B.T @ B)[0] ** 2)
