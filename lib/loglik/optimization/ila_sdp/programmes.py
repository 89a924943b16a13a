"""The two programmes: LA-SDP for known covariances, and Peng and Wei's for K-means."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning

from loglik.optimization.ila_sdp.admm import Settings, Solution, State, solve
from loglik.optimization.ila_sdp.inputs import Floats, Ints, check_costs, check_n_clusters, check_number
from loglik.optimization.ila_sdp.likelihood import kmeans_costs


@dataclass(frozen=True)
class LaSdpResult:
    """A solved programme; with leading axes in the costs, every field has them too.

    Attributes
    ----------
    Z : ndarray of shape (..., K, n, n)
        Membership matrices, nonnegative; one matrix (..., n, n) for the K-means programme. Integral where
        certified.
    objective : ndarray of shape (...,)
        Value at Z.
    lower_bound : ndarray of shape (...,)
        Rigorous: no labelling of these rows into K clusters costs less, whatever the residuals.
    labels, labels_cost : ndarrays of shapes (..., n) and (...,)
        The best rounding that the solver met, and its cost: an upper bound.
    certified : ndarray of bool, shape (...,)
        Whether both bounds meet, so that `labels` is the maximum-likelihood labelling, proven.
    primal_residual, dual_residual : ndarrays of shape (...,)
        Relative.
    n_iter : ndarray of int, shape (...,)
    state : State
        For a warm start.
    """

    Z: Floats
    objective: Floats
    lower_bound: Floats
    labels: Ints
    labels_cost: Floats
    certified: Any
    primal_residual: Floats
    dual_residual: Floats
    n_iter: Ints
    state: State

    @property
    def masses(self) -> Floats:
        """Row masses (..., K, n), which sum to one over the clusters: the soft memberships."""
        return np.asarray(self.Z.sum(-1))


def _settings(max_iter: Any, tol: Any, rho: Any, device: str, gap_tol: Any) -> Settings:
    if isinstance(max_iter, bool) or not isinstance(max_iter, (int, np.integer)) or max_iter < 1:
        raise ValueError(f"max_iter must be an integer of at least 1, got {max_iter!r}")
    accuracy = check_number(tol, "tol", 0, closed=False)
    gap = accuracy if gap_tol is None else check_number(gap_tol, "gap_tol", 0)
    first = None if rho is None else check_number(rho, "rho", 0, closed=False)
    return Settings(int(max_iter), accuracy, gap, first, str(device))


def _as_result(found: Solution, lead: tuple[int, ...], one_matrix: bool) -> LaSdpResult:
    def shape(array: Any) -> Any:
        return array.reshape(*lead, *array.shape[1:]) if lead else array[0]

    Z = found.Z[:, 0] if one_matrix else found.Z
    return LaSdpResult(
        Z=shape(Z),
        **{
            name: shape(getattr(found, name))
            for name in (
                "objective", "lower_bound", "labels", "labels_cost", "certified", "primal_residual",
                "dual_residual", "n_iter",
            )
        },
        state=found.state,
    )  # fmt: skip


def _warn(found: Solution, settings: Settings) -> None:
    late = int((~found.converged).sum())
    if late:
        worst = float(np.maximum(found.primal_residual, found.dual_residual)[~found.converged].max())
        warnings.warn(
            f"{late} of {len(found.n_iter)} programmes stopped at max_iter={settings.max_iter} with a residual of "
            f"{worst:.1e} (tol {settings.tol:.1e}); their lower bounds hold all the same",
            ConvergenceWarning,
            stacklevel=3,
        )


def la_sdp(
    costs: ArrayLike,
    *,
    max_iter: int = 1000,
    tol: float = 1e-5,
    gap_tol: float | None = None,
    rho: float | None = None,
    warm_start: State | None = None,
    device: str = "cpu",
) -> LaSdpResult:
    r"""The likelihood-adjusted semidefinite programme for known covariances.

    .. math:: \min\sum_k\langle C_k,Z_k\rangle\quad\text{s.t. } Z_k\succeq0,\ Z_k\ge0,\ \operatorname{tr}Z_k=1,\
        \big(\textstyle\sum_kZ_k\big)1=1 .

    Parameters
    ----------
    costs : array_like of shape (..., K, n, n)
        From :func:`pairwise_costs`; leading axes are separate problems, solved together.
    max_iter : int
        Iterations of the solver; every twentieth costs K eigendecompositions, O(K n³), the others a fraction.
    tol : float
        Of the relative primal and dual residuals.
    gap_tol : float, optional
        A solve ends early when the gap between its rounding and its lower bound is below this, per row and in
        mean absolute deviations of the costs. `tol` by default; 0 turns it off.
    rho : float, optional
        First penalty of the solver, n by default; it adapts.
    warm_start : State, optional
        ``result.state`` of an earlier call with costs of the same shape.
    device : str
        "cpu", or a torch device such as "cuda".

    Returns
    -------
    LaSdpResult

    Raises
    ------
    ValueError, TypeError
        For bad shapes or parameters, fewer than two clusters, more clusters than rows.

    Warns
    -----
    ConvergenceWarning
        When a problem stops at `max_iter`.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0], [0.2], [9.0], [11.0]])
    >>> result = la_sdp(pairwise_costs(X, np.array([[[0.1]], [[2.0]]])))
    >>> result.labels.tolist(), bool(result.certified)
    ([0, 0, 1, 1], True)
    """
    C = check_costs(costs)
    K = check_n_clusters(C.shape[-3], C.shape[-1])
    settings = _settings(max_iter, tol, rho, device, gap_tol)
    stack = C.reshape(-1, *C.shape[-3:])
    if warm_start is not None and np.shape(warm_start.P) != stack.shape:
        raise ValueError(
            f"warm_start belongs to costs of shape {np.shape(warm_start.P)}, these have {stack.shape}"
        )
    found = solve(stack, np.ones(K), K, settings, warm_start)
    _warn(found, settings)
    return _as_result(found, C.shape[:-3], one_matrix=False)


def kmeans_programme(
    costs: ArrayLike,
    n_clusters: int,
    *,
    max_iter: int = 1000,
    tol: float = 1e-5,
    gap_tol: float | None = None,
    rho: float | None = None,
    device: str = "cpu",
) -> LaSdpResult:
    r"""Peng and Wei's programme: one matrix Z with trace K, from costs (..., n, n).

    Parameters, errors and warnings as for :func:`la_sdp`.
    """
    C = check_costs(costs, axes=2)
    K = check_n_clusters(n_clusters, C.shape[-1])
    settings = _settings(max_iter, tol, rho, device, gap_tol)
    found = solve(C.reshape(-1, 1, *C.shape[-2:]), np.array([float(K)]), K, settings)
    _warn(found, settings)
    return _as_result(found, C.shape[:-2], one_matrix=True)


def kmeans_sdp(X: ArrayLike, n_clusters: int, **options: Any) -> Floats:
    r"""Peng and Wei's relaxation of K-means (2007): Z (..., n, n) for rows X (..., n, p).

    :math:`\min\langle C,Z\rangle` over :math:`Z\succeq0`, :math:`Z\ge0`, :math:`\operatorname{tr}Z=K`, :math:`Z1=1`,
    with :math:`C_{ij}=\frac12\|X_i-X_j\|^2`. `options` are those of :func:`kmeans_programme`; round the result with
    :func:`round_membership`.
    """
    return kmeans_programme(kmeans_costs(X), n_clusters, **options).Z
