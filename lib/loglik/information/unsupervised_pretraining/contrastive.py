"""Contrastive learning: features whose inner products say which pairs belong together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from loglik.information.unsupervised_pretraining.checks import Floats, binary, matrix, number, vector, whole
from loglik.information.unsupervised_pretraining.linear import label_factor
from loglik.information.unsupervised_pretraining.optimise import minimise_batch

if TYPE_CHECKING:
    from torch import nn


def contrastive_loss(W: Floats, X: Floats, X_pair: Floats, t: Floats) -> tuple[Floats, Floats]:
    r"""Mean logistic loss of inner products of linear features, and its gradient.

    .. math:: \frac1m\sum_i\log\big(1+e^{-(2t_i-1)\,l_i}\big),\quad l_i=(Wx_i)^\top Wx_i',\qquad
        \nabla=\frac1m\sum_i(\sigma(l_i)-t_i)\,W(x_i'x_i^\top+x_ix_i'^\top)

    Parameters
    ----------
    W : array of shape (reps, r, d)
    X, X_pair : arrays of shape (reps, m, d)
    t : array of shape (reps, m)

    Returns
    -------
    (array of shape (reps,), array of shape (reps, r, d))
    """
    left, right = X @ W.swapaxes(1, 2), X_pair @ W.swapaxes(1, 2)
    inner = (left * right).sum(-1)
    loss = np.logaddexp(0.0, np.where(t == 1, -inner, inner)).mean(1)
    residual = ((expit(inner) - t) / t.shape[1])[..., None]
    gradient = (right * residual).swapaxes(1, 2) @ X + (left * residual).swapaxes(1, 2) @ X_pair
    return np.asarray(loss), np.asarray(gradient)


def spectral_start(X: Floats, X_pair: Floats, t: Floats, r: int) -> Floats:
    """Start (reps, r, d) from the leading eigenpairs of the symmetrised mean of (2t−1)xx'ᵀ."""
    cross = (X * (2 * t - 1)[..., None]).swapaxes(1, 2) @ X_pair / t.shape[1]
    values, vectors = np.linalg.eigh(cross + cross.swapaxes(1, 2))
    top = np.sqrt(np.maximum(values[:, ::-1][:, :r], 1e-3))
    return np.asarray(top[..., None] * vectors[..., ::-1][..., :r].swapaxes(1, 2))


def fit_linear_contrastive(
    X: Floats, X_pair: Floats, t: Floats, r: int, *, tol: float = 1e-5, max_iter: int = 200
) -> tuple[Floats, Floats]:
    """Maximum-likelihood W (reps, r, d) of every data set, and the losses (reps,)."""
    start = spectral_start(X, X_pair, t, r)
    shape = start.shape[1:]

    def objective(flat: Floats, which: Any) -> tuple[Floats, Floats]:
        everything = len(which) == len(X)
        data = (X, X_pair, t) if everything else (X[which], X_pair[which], t[which])
        loss, gradient = contrastive_loss(flat.reshape(-1, *shape), *data)
        return loss, gradient.reshape(len(flat), -1)

    flat, loss = minimise_batch(objective, start.reshape(len(X), -1), tol=tol, max_iter=max_iter)
    return flat.reshape(-1, *shape), loss


class ContrastivePretrainer(TransformerMixin, BaseEstimator):
    """Phase one by contrast: learn f such that σ(f(x)·f(x')) is the chance that x and x' belong together.

    Parameters
    ----------
    n_features : int
        r, the length of f(x).
    feature : "linear" or torch.nn.Module
        A linear map fitted by L-BFGS from a spectral start, or a network from d inputs to `n_features`
        outputs, fitted by Adam with cosine decay (a copy of it is trained).
    steps, batch_size, learning_rate : int, int, float
        Of Adam; not used by linear features.
    device : str
        Of a network.
    random_state : int, RandomState or None
        For the batches of a network.

    Attributes
    ----------
    weights_ : array of shape (r, d)
        Linear features only; determined up to a rotation of the features.
    module_ : torch.nn.Module
        Networks only.
    loss_ : float
        Mean logistic loss at the end.

    Raises
    ------
    ValueError
        For t outside {0, 1}, pairs that don't fit, or n_features above the number of columns (linear).
    """

    def __init__(
        self,
        n_features: int,
        feature: str | nn.Module = "linear",
        steps: int = 2500,
        batch_size: int = 512,
        learning_rate: float = 3e-3,
        device: str = "cpu",
        random_state: Any = None,
    ) -> None:
        self.n_features = n_features
        self.feature = feature
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.device = device
        self.random_state = random_state

    def fit(self, X: ArrayLike, X_pair: ArrayLike, t: ArrayLike) -> ContrastivePretrainer:
        """Fit on pairs: X (m, d) beside X_pair (m, d), with t (m,) 1 where they belong together."""
        left = validate_data(self, X, dtype=np.float64)
        right = matrix("X_pair", X_pair, left.shape[1])
        if len(right) != len(left):
            raise ValueError(f"X and X_pair must have as many rows, got {len(left)} and {len(right)}")
        label = binary("t", t, len(left)).astype(float)
        r = whole("n_features", self.n_features)
        if isinstance(self.feature, str):
            self._fit_linear(left, right, label, r)
        else:
            self._fit_network(left, right, label, r)
        return self

    def _fit_linear(self, left: Floats, right: Floats, t: Floats, r: int) -> None:
        if self.feature != "linear":
            raise ValueError(f"feature must be 'linear' or a torch module, got {self.feature!r}")
        if r > left.shape[1]:
            raise ValueError(f"n_features must be at most the number of columns, {left.shape[1]}, got {r}")
        weights, loss = fit_linear_contrastive(left[None], right[None], t[None], r)
        self.weights_, self.loss_ = weights[0], float(loss[0])

    def _fit_network(self, left: Floats, right: Floats, t: Floats, r: int) -> None:
        from loglik.information.unsupervised_pretraining import networks

        assert not isinstance(self.feature, str)
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        module, loss = networks.fit_contrastive_module(
            self.feature, left, right, t, r, steps=whole("steps", self.steps),
            batch_size=whole("batch_size", self.batch_size),
            learning_rate=number("learning_rate", self.learning_rate, strict=True), seed=seed, device=self.device,
        )  # fmt: skip
        self.module_, self.loss_ = module, loss

    def transform(self, X: ArrayLike) -> Floats:
        """Features f(x) of shape (n, r)."""
        check_is_fitted(self, "loss_")
        data = validate_data(self, X, dtype=np.float64, reset=False)
        if isinstance(self.feature, str):
            return np.asarray(data @ self.weights_.T)
        from loglik.information.unsupervised_pretraining import networks

        return networks.apply_module(self.module_, data, self.device)


def inner_product_curvature(W: ArrayLike, rng: np.random.Generator, n_mc: int = 200_000) -> Floats:
    """H = E[σ'(f·f') f f'] as an (r, r) matrix, for independent f, f' ~ N(0, WW'), by Monte Carlo."""
    weights = matrix("W", W)
    f, other = rng.normal(size=(2, whole("n_mc", n_mc), weights.shape[1])) @ weights.T
    proba = expit((f * other).sum(1))
    curve = proba * (1 - proba)
    return np.asarray(((f * curve[:, None]).T @ f + (other * curve[:, None]).T @ other) / (2 * len(f)))


def contrastive_theory(
    W: ArrayLike,
    beta: ArrayLike,
    eps: float,
    m: ArrayLike,
    n: ArrayLike,
    n_mc: int = 200_000,
    rng: np.random.Generator | None = None,
) -> dict[str, Floats]:
    r"""Derived risks of linear contrastive learning, for x ~ N(0, I) and y = βᵀWx + ε·noise.

    .. math:: A(m)=\frac{d-r}{2m}\,\beta^\top H^{-1}\beta,\qquad H=E[\sigma'(f^\top f')\,ff^\top]

    from the Fisher information about the part of W outside its own row space.

    Parameters
    ----------
    W : array of shape (r, d)
        True features.
    beta : array of shape (r,)
    eps : float
    m, n : arrays that broadcast
        Pairs and labelled rows; n must exceed r + 1.
    n_mc : int
        Draws for H.
    rng : numpy.random.Generator

    Returns
    -------
    dict of arrays
        ``pretrain_cost`` (A), ``label_cost``, ``total``, ``supervised`` (infinite for n of at most d + 1),
        ``saturation`` (‖Wᵀβ‖², when nothing is learnt).

    Raises
    ------
    ValueError
        For shapes that don't fit, negative eps, n of at most r + 1, or a missing `rng`.
    """
    weights = matrix("W", W)
    r, d = weights.shape
    coefs, noise = vector("beta", beta, r), number("eps", eps)
    if rng is None:
        raise ValueError("H is by Monte Carlo: give rng")
    rows, labels = np.broadcast_arrays(np.asarray(m, dtype=float), np.asarray(n, dtype=float))
    if (rows <= 0).any():
        raise ValueError(f"m must be positive, got {rows.min():g}")
    curvature = inner_product_curvature(weights, rng, n_mc)
    cost = (d - r) / (2 * rows) * float(coefs @ np.linalg.solve(curvature, coefs))
    paid = label_factor(labels, r)
    supervised = np.where(labels > d + 1, noise**2 * d / np.maximum(labels - d - 1, 1e-300), np.inf)
    return {
        "pretrain_cost": cost,
        "label_cost": (noise**2 + cost) * paid,
        "total": cost + (noise**2 + cost) * paid,
        "supervised": supervised,
        "saturation": np.asarray(((weights.T @ coefs) ** 2).sum()),
    }
