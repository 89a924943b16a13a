"""Gaussian mixtures: pretraining, the head that names clusters, and what both cost."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit, logsumexp
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from loglik.information.unsupervised_pretraining.checks import Floats, binary, matrix, number, share, whole
from loglik.information.unsupervised_pretraining.em import (
    cluster_logits,
    fit_mixture,
    responsibilities,
    spread_starts,
)


class GaussianMixturePretrainer(TransformerMixin, BaseEstimator):
    """Phase one for equally frequent clusters of unit normals: maximum likelihood by EM.

    Parameters
    ----------
    n_components : int
        K; at most as many as rows.
    n_init : int
        Greedy k-means++ starts; the likeliest result is kept.
    tol : float
        Stop when the mean log-likelihood gains less.
    max_iter : int
    random_state : int, RandomState or None

    Attributes
    ----------
    centers_ : array of shape (K, d)
        Determined up to their order.
    n_iter_ : int

    Raises
    ------
    ValueError
        For fewer rows than clusters.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(300, 2)) + np.repeat([[-4, 0], [4, 0]], 150, axis=0)
    >>> GaussianMixturePretrainer(2, random_state=0).fit(X).transform(X).shape
    (300, 2)
    """

    def __init__(
        self,
        n_components: int,
        n_init: int = 3,
        tol: float = 1e-7,
        max_iter: int = 200,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.n_init = n_init
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: Any = None) -> GaussianMixturePretrainer:
        """Fit on unlabelled rows X (m, d); `y` is ignored."""
        data = validate_data(self, X, dtype=np.float64)
        K, starts = whole("n_components", self.n_components), whole("n_init", self.n_init)
        if len(data) < K:
            raise ValueError(f"{K} clusters need at least {K} unlabelled rows, got m = {len(data)}")
        number("tol", self.tol), whole("max_iter", self.max_iter)
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        first = spread_starts(data[None], K, starts, np.random.default_rng(seed))
        found = fit_mixture(data[None], first, tol=self.tol, max_iter=self.max_iter)
        self.centers_, self.n_iter_ = found.centers[0], int(found.n_iter[0])
        return self

    def transform(self, X: ArrayLike) -> Floats:
        """Responsibilities (n, K)."""
        check_is_fitted(self)
        data = validate_data(self, X, dtype=np.float64, reset=False)
        return np.asarray(responsibilities(cluster_logits(data, self.centers_))[0].T)

    def score_samples(self, X: ArrayLike) -> Floats:
        """Log-likelihood (n,) of each row."""
        check_is_fitted(self)
        data = validate_data(self, X, dtype=np.float64, reset=False)
        K, d = self.centers_.shape
        level = logsumexp(cluster_logits(data, self.centers_), axis=0) - 0.5 * (data**2).sum(1)
        return np.asarray(level - np.log(K) - 0.5 * d * np.log(2 * np.pi))

    def score(self, X: ArrayLike, y: Any = None) -> float:
        """Mean log-likelihood of the rows."""
        return float(self.score_samples(X).mean())


class ClusterMajority(ClassifierMixin, BaseEstimator):
    """Phase two for clusters: each is named after its labelled rows.

    Parameters
    ----------
    soft : bool
        False: the majority label of the rows assigned to the cluster (ties and empty clusters at random).
        True: class shares from responsibilities, with half a pseudo-count for each class.
    random_state : int, RandomState or None
        For ties.

    Attributes
    ----------
    classes_ : array of shape (C,)
    label_share_ : array of shape (K, C)
        P(class | cluster), of zeros and ones unless `soft`.
    """

    def __init__(self, soft: bool = False, random_state: Any = None) -> None:
        self.soft = soft
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike) -> ClusterMajority:
        """Fit on responsibilities X (n, K) and labels y (n,)."""
        r, target = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(target)
        self.classes_, codes = np.unique(target, return_inverse=True)
        one_hot = np.eye(len(self.classes_))[codes]
        if self.soft:
            counts = r.T @ one_hot + 0.5 / len(self.classes_)
            self.label_share_ = counts / counts.sum(1, keepdims=True)
            return self
        votes = np.eye(r.shape[1])[r.argmax(1)].T @ one_hot
        ties = check_random_state(self.random_state).random_sample(votes.shape) / 2
        self.label_share_ = np.eye(len(self.classes_))[(votes + ties).argmax(1)]
        return self

    def predict_proba(self, X: ArrayLike) -> Floats:
        """Class probabilities (n, C)."""
        check_is_fitted(self)
        return np.asarray(validate_data(self, X, dtype=np.float64, reset=False) @ self.label_share_)

    def predict(self, X: ArrayLike) -> Any:
        """Likeliest class of each row."""
        return self.classes_[self.predict_proba(X).argmax(1)]


# -- theory ----------------------------------------------------------------------------------------------------


def fisher_information(
    centers: ArrayLike,
    rng: np.random.Generator,
    n_mc: int = 100_000,
    *,
    labels: ArrayLike | None = None,
    rho: float = 0.0,
) -> Floats:
    """Fisher information (K·d, K·d) about the centres in one row x, or in one pair (x, y), by Monte Carlo.

    Parameters
    ----------
    centers : array of shape (K, d)
    rng : numpy.random.Generator
    n_mc : int
        Rows.
    labels : array of shape (K,), optional
        Labels of the clusters: then y, flipped with probability `rho`, is seen beside x.
    rho : float
    """
    u = matrix("centers", centers)
    K, d = u.shape
    names = None if labels is None else binary("labels", labels, K)
    information = np.zeros((K * d, K * d))
    left = whole("n_mc", n_mc)
    while left > 0:
        rows = min(left, 20_000)
        z = rng.integers(K, size=rows)
        x = u[z] + rng.normal(size=(rows, d))
        logits = cluster_logits(x, u)
        if names is not None:
            agree = names[:, None] == (names[z] ^ (rng.random(rows) < rho))
            logits = logits + np.log(np.where(agree, 1 - rho, max(rho, 1e-300)))
        r = responsibilities(logits)[0]
        scores = (r.T[:, :, None] * (x[:, None] - u)).reshape(rows, K * d)
        information += scores.T @ scores
        left -= rows
    return information / n_mc


def local_informative_constant(centers: ArrayLike, rng: np.random.Generator, n_mc: int = 100_000) -> float:
    r"""κ of a mixture for infinitely close models: :math:`1/\sqrt{K\lambda_{\min}(I_x)}`.

    Hellinger distances of close models are quadratic forms in the Fisher information, which is
    :math:`I/K` for (x, z) and :math:`I_x` for x alone; κ is the largest ratio over all directions.
    """
    information = fisher_information(centers, rng, n_mc)
    K = len(np.asarray(centers))
    return float(1 / np.sqrt(K * np.linalg.eigvalsh(information)[0]))


def border_draws(centers: Floats, labels: Any, rows: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Rows (rows, d) half from the mixture, half from around its decision borders; weights density/proposal.

    The second half is normal around the midpoints of pairs of clusters with different labels, in proportion
    to the density there. Weights are at most 2, so averages with them are safe.
    """
    K, d = centers.shape
    first, second = (axis.ravel() for axis in np.meshgrid(np.arange(K), np.arange(K), indexing="ij"))
    keep = (first < second) & (np.asarray(labels)[first] != np.asarray(labels)[second])
    first, second = first[keep], second[keep]
    middle = (centers[first] + centers[second]) / 2
    log_share = -((centers[first] - centers[second]) ** 2).sum(1) / 8
    chances = np.exp(log_share - logsumexp(log_share))
    near = rng.random(rows) < 0.5
    place = np.where(
        near[:, None], middle[rng.choice(len(middle), rows, p=chances)], centers[rng.integers(K, size=rows)]
    )
    x = place + rng.normal(size=(rows, d))
    own = logsumexp(cluster_logits(x, centers), axis=0) - np.log(K)
    border = logsumexp(cluster_logits(x, middle) + np.log(chances)[:, None], axis=0)
    return x, 1 / (0.5 + 0.5 * np.exp(border - own))


def gmm_theory(
    centers: ArrayLike,
    labels: ArrayLike,
    rho: float,
    rng: np.random.Generator,
    n_mc: int = 100_000,
    bandwidth: float = 0.5,
) -> dict[str, float]:
    r"""Derived constants of a mixture with binary labels.

    With the clusters' true labels, 0–1 excess risk is :math:`a/m` for large m,

    .. math:: a=(1-2\rho)\;E\big[g^\top I_x^{-1}g\;\big|\;\eta=\tfrac12\big]\,f_\eta(\tfrac12),
        \qquad g=\nabla_u\eta,\quad \eta=\sum_k P(k\mid x)\psi_k

    because centres err by :math:`N(0,I_x^{-1}/m)`, which moves the decision border, and risk grows with the
    square of that move. (The density of η and the conditional mean by a kernel of width `bandwidth` in
    log-odds, over rows drawn around the borders.)

    Returns
    -------
    dict
        ``pretrain`` (a), ``supervised`` (the same with the information of (x, y), for a generative fit to
        labelled rows), ``kappa`` (local informative constant), ``parameter`` (tr I_x^{-1}, the limit of
        m·E‖û−u‖²), ``parameter_separated`` (K²d, its value without overlap).

    Raises
    ------
    ValueError
        For labels other than 0 and 1 or all equal, or rho outside [0, 1/2).
    """
    u = matrix("centers", centers)
    K, d = u.shape
    names, flips = binary("labels", labels, K), share("rho", rho, 0.5)
    if names.min() == names.max():
        raise ValueError("labels must hold both 0 and 1, else there is nothing to predict")
    information = fisher_information(u, rng, n_mc)
    with_labels = fisher_information(u, rng, n_mc, labels=names, rho=flips)
    x, weight = border_draws(u, names, n_mc, rng)
    r = responsibilities(cluster_logits(x, u))[0]
    eta = np.clip(names @ r, 1e-300, 1 - 1e-16)
    odds = logit(eta) / bandwidth
    kernel = np.where(np.abs(odds) < 1, 0.75 * (1 - odds**2) / bandwidth, 0.0) * weight
    close = kernel > 0
    moved = r[:, close].T * (names - eta[close, None])
    g = (moved[:, :, None] * (x[close, None] - u)).reshape(-1, K * d)
    kernel = kernel[close] / (expit(odds[close] * bandwidth) * expit(-odds[close] * bandwidth))

    def constant(matrix_: Floats) -> float:
        half = np.linalg.solve(np.linalg.cholesky(matrix_), g.T)
        return float((1 - 2 * flips) * ((half**2).sum(0) * kernel).sum() / n_mc)

    values = np.linalg.eigvalsh(information)
    return {
        "pretrain": constant(information),
        "supervised": constant(with_labels),
        "kappa": float(1 / np.sqrt(K * values[0])),
        "parameter": float((1 / values).sum()),
        "parameter_separated": float(K**2 * d),
    }
