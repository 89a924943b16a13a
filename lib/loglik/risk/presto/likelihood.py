"""The cumulative-logit model: its probabilities, score, information and asymptotic variances.

The model has one logistic boundary between each class and the next,
``P(y <= k | x) = sigmoid(alpha_k + x' beta_k)`` for ``k = 1..K-1``. Proportional odds (PO) is the special
case of one ``beta`` for all boundaries. **Sign**: a positive weight raises ``P(y <= k)``, so it *lowers*
the chance of the last class; R's ``polr`` and statsmodels' ``OrderedModel`` report the opposite sign.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PROBABILITY_FLOOR = 1e-8  # inside the expected information only, as in the official code


class ScoreInfo(NamedTuple):
    """Score and expected information of the whole sample, alphas first, then beta_1, …, beta_{K-1}."""

    score: Floats  # (P,) gradient of the total log-likelihood, P = (K-1) (1+p)
    info: Floats  # (P, P) expected (Fisher) information of the total log-likelihood


class BoundaryInformation(NamedTuple):
    """What the paper's sufficient condition (its Theorem 2.3) asks of a K = 3 proportional-odds model."""

    smallest_eigenvalue: float  # of I_bb - 2 I_ba1 I_ba1' / I_a1a1
    threshold: float  # the condition holds where every P(y = 3 | x) is at most this
    largest_rare_proba: float  # over the rows of X


def linear_predictors(alpha: ArrayLike, beta: ArrayLike, X: ArrayLike) -> Floats:
    """Boundaries' linear predictors ``eta`` of shape (n, K-1).

    `alpha` has shape (K-1,); `beta` is (K-1, p), or (p,) for proportional odds.
    """
    alpha_, beta_, X_ = (np.asarray(v, dtype=float) for v in (alpha, beta, X))
    if alpha_.ndim != 1 or alpha_.size < 2:
        raise ValueError(f"alpha must have shape (K-1,) with K >= 3 classes, got shape {alpha_.shape}")
    if X_.ndim != 2:
        raise ValueError(f"X must have shape (n, p), got shape {X_.shape}")
    wanted = (alpha_.size, X_.shape[1])
    if beta_.shape not in (wanted, wanted[1:]):
        raise ValueError(
            f"beta must have shape {wanted} or, for proportional odds, {wanted[1:]}; got {beta_.shape}"
        )
    return alpha_ + X_ @ np.broadcast_to(beta_, wanted).T


def class_probabilities(eta: ArrayLike) -> Floats:
    """Class probabilities (…, K) of linear predictors (…, K-1): differences of neighbouring sigmoids.

    Where two boundaries cross, the class between them gets a *negative* value: the model is not a
    probability there, and hiding that is left to the caller. The first and the last column never cross.
    Differences are taken as ``F(a) (1-F(b)) (1-exp(b-a))``, which keeps tiny probabilities exact.
    """
    eta_ = np.asarray(eta, dtype=float)
    upper, lower = eta_[..., 1:], eta_[..., :-1]
    middle = -expit(upper) * expit(-lower) * np.expm1(np.minimum(lower - upper, 0.0))
    middle = np.where(upper >= lower, middle, expit(upper) - expit(lower))
    return np.concatenate([expit(eta_[..., :1]), middle, expit(-eta_[..., -1:])], axis=-1)


def ordinal_score_info(alpha: ArrayLike, beta: ArrayLike, X: ArrayLike, y: ArrayLike) -> ScoreInfo:
    r"""Score and expected information of the cumulative-logit model at given parameters.

    Parameters
    ----------
    alpha : array of shape (K-1,)
        Intercepts.
    beta : array of shape (K-1, p) or (p,)
        Weights of each boundary, or one weight vector for all (the result is for K-1 vectors in either case).
    X : array of shape (n, p)
        Features.
    y : int array of shape (n,)
        Class codes 0..K-1, in their order.

    Returns
    -------
    ScoreInfo
        Of the *total* log-likelihood: ``score`` (P,), ``info`` (P, P) with P = (K-1)(1+p).

    Raises
    ------
    ValueError
        For wrong shapes, codes outside 0..K-1, or a non-positive probability of an observed class.

    Notes
    -----
    In :math:`\eta`, the score is :math:`f_k (1[y=k]/\pi_k - 1[y=k+1]/\pi_{k+1})` and the information
    tridiagonal: :math:`f_k^2 (1/\pi_k + 1/\pi_{k+1})` and :math:`-f_k f_{k+1}/\pi_{k+1}` (official code;
    derived). Cost O(n p² K).

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0], [1.0], [2.0]])
    >>> found = ordinal_score_info([0.0, 2.0], [0.5], X, [0, 1, 2])
    >>> found.score.shape, found.info.shape
    ((4,), (4, 4))
    """
    eta = linear_predictors(alpha, beta, X)
    n, boundaries = eta.shape
    codes = _codes(y, n, boundaries + 1)
    proba = class_probabilities(eta)
    observed = proba[np.arange(n), codes]
    if not (observed > 0).all():
        raise ValueError(
            f"{int((observed <= 0).sum())} rows have a non-positive probability of their own class: "
            "boundaries cross there"
        )
    slope = expit(eta) * expit(-eta)  # f, the derivative of the sigmoid
    step = (codes[:, None] == np.arange(boundaries)) * 1.0 - (codes[:, None] == np.arange(1, boundaries + 1))
    u = slope * step / observed[:, None]
    Xt = np.column_stack([np.ones(n), np.asarray(X, dtype=float)])
    score = u.T @ Xt
    blocks = _expected_blocks(slope, proba, Xt)
    return ScoreInfo(alphas_first(score), alphas_first_matrix(blocks))


def _expected_blocks(slope: Floats, proba: Floats, Xt: Floats) -> Floats:
    """Expected information as blocks (K-1, 1+p, K-1, 1+p); only the tridiagonal ones are not zero."""
    boundaries, q = slope.shape[1], Xt.shape[1]
    floored = np.maximum(proba, PROBABILITY_FLOOR)
    inverse = floored.sum(1, keepdims=True) / floored
    blocks = np.zeros((boundaries, q, boundaries, q))
    for k in range(boundaries):
        w = slope[:, k] ** 2 * (inverse[:, k] + inverse[:, k + 1])
        blocks[k, :, k] = Xt.T @ (w[:, None] * Xt)
        if k + 1 < boundaries:
            w = -slope[:, k] * slope[:, k + 1] * inverse[:, k + 1]
            blocks[k, :, k + 1] = Xt.T @ (w[:, None] * Xt)
            blocks[k + 1, :, k] = blocks[k, :, k + 1]
    return blocks


def alphas_first(by_boundary: Floats) -> Floats:
    """(K-1, 1+p) values, one row (alpha_k, beta_k) a boundary, as one vector with the alphas first."""
    return np.concatenate([by_boundary[:, 0], by_boundary[:, 1:].ravel()])


def alphas_first_matrix(blocks: Floats) -> Floats:
    """(K-1, 1+p, K-1, 1+p) blocks as a matrix whose rows and columns have the alphas first."""
    boundaries, q = blocks.shape[:2]
    return blocks.reshape(boundaries * q, boundaries * q)[alphas_first_index(boundaries, q)]


def alphas_first_index(boundaries: int, q: int) -> tuple[Ints, Ints]:
    """Index that reorders a matrix over (boundary, coefficient) so that the alphas come first."""
    order = alphas_first(np.arange(boundaries * q, dtype=float).reshape(boundaries, q)).astype(np.int64)
    return order[:, None], order[None, :]


def _codes(y: ArrayLike, n: int, n_classes: int) -> Ints:
    codes = np.asarray(y)
    if codes.shape != (n,):
        raise ValueError(f"y must have shape ({n},), one class code a row of X; got {codes.shape}")
    if codes.dtype.kind not in "iu" or codes.min() < 0 or codes.max() >= n_classes:
        raise ValueError(
            f"y must hold integer class codes 0..{n_classes - 1} (alpha has {n_classes - 1} entries)"
        )
    return codes.astype(np.int64)


def po_information(alpha: ArrayLike, beta: ArrayLike, X: ArrayLike) -> Floats:
    """Expected information per observation of the PO model, (K-1+p, K-1+p), alphas first.

    The weights of all boundaries move together, so their block is the sum over all pairs of boundaries.
    Exact for the empirical distribution of the rows of `X`.
    """
    eta = linear_predictors(alpha, beta, X)
    if np.ndim(beta) != 1:
        raise ValueError(f"proportional odds has one weight vector: beta must be (p,), got {np.shape(beta)}")
    Xt = np.column_stack([np.ones(len(eta)), np.asarray(X, dtype=float)])
    blocks = _expected_blocks(expit(eta) * expit(-eta), class_probabilities(eta), Xt) / len(eta)
    alpha_alpha, alpha_beta = blocks[:, 0, :, 0], blocks[:, 0, :, 1:].sum(1)
    beta_beta = blocks[:, 1:, :, 1:].sum((0, 2))
    return np.block([[alpha_alpha, alpha_beta], [alpha_beta.T, beta_beta]])


def po_asymptotic_cov(alpha: ArrayLike, beta: ArrayLike, X: ArrayLike) -> Floats:
    """Asymptotic covariance (p, p) of the PO weights: n Cov(beta_hat) as n grows.

    Parameters
    ----------
    alpha : array of shape (K-1,)
    beta : array of shape (p,)
    X : array of shape (n, p)
        Its rows are taken as the feature distribution.

    Returns
    -------
    array of shape (p, p)
        The weights' block of the inverse of the full information, intercepts estimated too.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).uniform(-1, 1, (1000, 2))
    >>> bool(np.trace(po_asymptotic_cov([0, 9], [1, 1], X)) < np.trace(logit_asymptotic_cov([0, 9], [1, 1], X)))
    True
    """
    boundaries = np.size(alpha)
    return np.asarray(np.linalg.inv(po_information(alpha, beta, X))[boundaries:, boundaries:])


def logit_asymptotic_cov(alpha: ArrayLike, beta: ArrayLike, X: ArrayLike, boundary: int = -1) -> Floats:
    """Asymptotic covariance (p, p) of a logistic regression on one boundary, the rare one by default.

    `beta` is (p,) or (K-1, p); ``boundary=-1`` is "last class against the rest", ``boundary=0`` the first.
    Its entries grow like 1 / P(rare): that is the paper's starting point (C1).
    """
    eta = linear_predictors(alpha, beta, X)[:, boundary]
    Xt = np.column_stack([np.ones(len(eta)), np.asarray(X, dtype=float)])
    info = Xt.T @ ((expit(eta) * expit(-eta))[:, None] * Xt) / len(eta)
    return np.asarray(np.linalg.inv(info)[1:, 1:], dtype=np.float64)


def theorem_condition(alpha: ArrayLike, beta: ArrayLike, X: ArrayLike) -> BoundaryInformation:
    """The paper's sufficient condition for PO to beat the rare logit (Theorem 2.3), for K = 3.

    Notes
    -----
    As computed in the official appendix-E study: with ``M >= |x|``, the rare probabilities must stay
    below ``lambda_min / (3 M² (2 + M))``.
    """
    eta = linear_predictors(alpha, beta, X)
    if eta.shape[1] != 2:
        raise ValueError(f"the condition is stated for K = 3 classes, alpha has {eta.shape[1]} entries (K-1)")
    X_ = np.asarray(X, dtype=float)
    p1, p2, p3 = class_probabilities(eta).T
    bb = X_.T @ (((1 - p1) * (1 - p2) * (1 - p3))[:, None] * X_) / len(X_)
    w = (1 - p3) * p1 * (1 - p1)
    ba, aa = (w @ X_) / len(X_), w.mean()
    smallest = float(np.linalg.eigvalsh(bb - 2 * np.outer(ba, ba) / aa)[0])
    bound = float(np.sqrt((X_**2).sum(1).max()))
    return BoundaryInformation(smallest, smallest / (3 * bound**2 * (2 + bound)), float(p3.max()))
