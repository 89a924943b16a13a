"""What a recommender has to be compared with: popularity, EASE, and weighted matrix factorisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from threadpoolctl import threadpool_limits

from loglik.generative.vae_cf.data import check_clicks

Floats = NDArray[np.float64]


def popularity(X: Any) -> Floats:
    """Number of training users who clicked an item, shape (I,): the same ranking for everybody."""
    return np.asarray(check_clicks(X).sum(axis=0), dtype=float).ravel()


def ease(X: Any, reg: float) -> Floats:
    """Item-item weights of EASE: ridge regression of every item on all others, in closed form.

    With ``P = (X'X + reg I)^-1``, ``B_ij = -P_ij / P_jj`` off the diagonal and 0 on it; scores are ``X B``.

    Parameters
    ----------
    X : sparse matrix or array, shape (U, I)
    reg : float
        Positive.

    Returns
    -------
    ndarray, shape (I, I)
        Dense: I² numbers, whatever X is.

    Raises
    ------
    ValueError
        For a `reg` that isn't positive, or entries of X out of range.

    References
    ----------
    Steck, H. (2019). Embarrassingly shallow autoencoders for sparse data. WWW.
    """
    if not reg > 0:
        raise ValueError(f"reg must be positive, got {reg}")
    clicks = check_clicks(X).astype(np.float64)
    gram = (clicks.T @ clicks).toarray()
    gram[np.diag_indices_from(gram)] += reg
    inverse = np.linalg.inv(gram)
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return weights


@dataclass(frozen=True)
class WMF:
    """Weighted matrix factorisation: item factors, and what folding in a user takes.

    Attributes
    ----------
    item_factors : ndarray, shape (I, K)
    alpha, reg : float
        A click has confidence 1 + alpha, all else 1; reg multiplies the squared factors.
    """

    item_factors: Floats
    alpha: float
    reg: float

    def fold_in(self, X_new: Any) -> Floats:
        """Factors (B, K) of new users: one regression each, with the items fixed; by the library, in float32.

        :func:`wmf_half_step` is the same in float64 and takes twice the time.
        """
        clicks = check_clicks(X_new, n_items=len(self.item_factors))
        with threadpool_limits(1, user_api="blas"):
            model = _library(self.item_factors.shape[1], self.reg)
            model.item_factors = self.item_factors.astype(np.float32)
            users = model.recalculate_user(np.arange(clicks.shape[0]), _confidence(clicks, self.alpha))
        return np.asarray(users, dtype=float)

    def predict(self, fold_in: Any) -> Floats:
        """Scores (B, I)."""
        return self.fold_in(fold_in) @ self.item_factors.T


def wmf_half_step(item_factors: ArrayLike, X: Any, alpha: float, reg: float, block: int = 64) -> Floats:
    """User factors that minimise the weighted squared error, the items fixed.

    ``u = (V'V + reg I + alpha sum v_i v_i')^-1 (1 + alpha) sum v_i`` over a user's items i.

    Parameters
    ----------
    item_factors : array_like, shape (I, K)
        V.
    X : sparse matrix or array, shape (B, I)
        Clicks; only where they are counts.
    alpha, reg : float
    block : int
        Users solved at once, neighbours by activity so that little is padded.

    Returns
    -------
    ndarray, shape (B, K)
    """
    V = np.asarray(item_factors, dtype=float)
    clicks = check_clicks(X, n_items=len(V))
    counts = np.diff(clicks.indptr)
    base = V.T @ V + reg * np.eye(V.shape[1])
    padded = np.vstack([V, np.zeros(V.shape[1])])  # one row of zeros for padding
    users = np.zeros((clicks.shape[0], V.shape[1]))
    for chosen in np.array_split(np.argsort(counts, kind="stable"), max(1, len(counts) // block)):
        places = np.arange(counts[chosen].max(initial=0))
        inside = places < counts[chosen, None]
        where = np.where(inside, clicks.indptr[chosen, None] + places, 0)
        mine = padded[np.where(inside, clicks.indices[where], len(V))] if clicks.nnz else padded[:0][None]
        system = base + alpha * mine.transpose(0, 2, 1) @ mine
        users[chosen] = np.linalg.solve(system, (1 + alpha) * mine.sum(axis=1)[..., None])[..., 0]
    return users


def wmf(X: Any, factors: int, alpha: float, reg: float, n_iter: int = 15, seed: int = 0) -> WMF:
    """Fit weighted matrix factorisation by alternating least squares, with the library ``implicit``.

    Parameters
    ----------
    X : sparse matrix or array, shape (U, I)
    factors : int
        K.
    alpha, reg : float
        See :class:`WMF`.
    n_iter : int
    seed : int

    Raises
    ------
    ImportError
        Without the package implicit.
    ValueError
        For sizes or weights out of range.

    References
    ----------
    Hu, Y., Koren, Y. and Volinsky, C. (2008). Collaborative filtering for implicit feedback datasets. ICDM.
    """
    if factors < 1 or n_iter < 1 or alpha < 0 or not reg > 0:
        raise ValueError(
            f"need factors and n_iter from 1, alpha from 0 and a positive reg; got {factors}, {n_iter}, {alpha}, {reg}"
        )
    clicks = check_clicks(X)
    with threadpool_limits(1, user_api="blas"):
        model = _library(factors, reg, n_iter, seed)
        model.fit(_confidence(clicks, alpha), show_progress=False)
    return WMF(np.asarray(model.item_factors, dtype=float), alpha, reg)


def _library(factors: int, reg: float, n_iter: int = 15, seed: int = 0) -> Any:
    """Implicit's exact solver on one thread; its own threads and BLAS's would fight, so callers limit BLAS's."""
    from implicit.als import AlternatingLeastSquares

    return AlternatingLeastSquares(
        factors=factors,
        regularization=reg,
        alpha=1.0,
        use_cg=False,
        iterations=n_iter,
        num_threads=1,
        random_state=seed,
    )


def _confidence(clicks: sparse.csr_matrix, alpha: float) -> sparse.csr_matrix:
    ones = np.full(clicks.nnz, 1 + alpha, np.float32)
    return sparse.csr_matrix((ones, clicks.indices, clicks.indptr), shape=clicks.shape)
