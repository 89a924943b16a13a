"""The scikit-learn clusterer."""

from __future__ import annotations

import warnings
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from loglik.optimization.ila_sdp.admm import Settings
from loglik.optimization.ila_sdp.alternation import Alternation, Shape, alternate, start_covariances
from loglik.optimization.ila_sdp.baselines import kmeans_labels, ward_labels
from loglik.optimization.ila_sdp.inputs import (
    COVARIANCE_TYPES,
    Floats,
    Ints,
    check_choice,
    check_covariances,
    check_labels,
    check_n_clusters,
    check_number,
)
from loglik.optimization.ila_sdp.likelihood import pairwise_costs, profile_negloglik
from loglik.optimization.ila_sdp.programmes import kmeans_sdp
from loglik.optimization.ila_sdp.rounding import round_membership

STARTS = ("ward", "kmeans", "sdp")
ROUNDINGS = ("auto", "mass", "spectral")


class ILASDP(ClusterMixin, BaseEstimator):
    r"""Iterated likelihood-adjusted SDP: clusters of different shapes, without centroids.

    Alternates the programme of :func:`la_sdp` (labels, given covariances) with
    :func:`membership_covariances` (covariances, given memberships). Time O(K n³) and memory O(K n²): for
    some hundred rows it takes seconds, for two thousand minutes. With more, fit a subsample and
    :meth:`predict` the others.

    Parameters
    ----------
    n_clusters : int
        K, from 1 (trivial) to n.
    init : {"ward", "kmeans", "sdp"} or ndarray
        Where the first covariances come from: a cheap partition, the K-means programme's, labels of shape
        (n,), or covariances of shape (K, p, p).
    covariance_type : {"full", "diag", "spherical", "tied"}
    reg : float
        Ridge added to every covariance, in squared units of X: standardise X, or choose it on X's scale. Above
        0 wherever a cluster may hold p rows or fewer.
    shrinkage : float
        Weight in [0, 1) of the pooled within-cluster covariance.
    soft_rounds : int
        Our addition, 0 in the paper. Rounds in which the solver is stopped after `soft_iter` iterations, while
        memberships are still soft, before the accurate rounds begin. Where p is not small against n/K,
        accurate rounds alone rarely leave their start.
    soft_iter : int
    max_outer : int
        Accurate rounds at most.
    tol : float
        The iteration ends when the covariances move by less in a round (relative, Frobenius).
    solver_iter, solver_tol : int, float
        Effort of each programme, see :func:`la_sdp`.
    rounding : {"auto", "mass", "spectral"}
        See :func:`round_membership`; "auto" takes the likeliest rounding that the solver met.
    device : str
        "cpu", or a torch device.
    random_state : int, RandomState or None
        Of K-means, where `init` or `rounding` uses it.

    Attributes
    ----------
    labels_ : ndarray of int, shape (n,)
    covariances_ : ndarray of shape (K, p, p)
        Of the final memberships.
    membership_ : ndarray of shape (n, K)
        Row masses :math:`(Z_k1)_i`; they sum to one up to the solver's tolerance.
    Z_ : ndarray of shape (K, n, n)
    objective_path_ : ndarray
        The objective after each half round.
    n_outer_ : int
    converged_ : bool
    certified_ : bool
        Whether the labels are proven to be the likeliest under the covariances of the last programme.
    gap_ : float
        By how much another labelling could be likelier at most (in -2 log-likelihood), a rigorous bound.
    negloglik_ : float
        -2 log-likelihood of labels and covariances at the best centroids, without the 2π constant: compares
        starts.
    n_features_in_ : int

    Examples
    --------
    >>> import numpy as np
    >>> long, short = np.linspace(-5, 5, 10), np.tile([0, 0.2], 5)
    >>> X = np.r_[np.c_[long, short], np.c_[short, long + 8]]
    >>> labels = ILASDP(n_clusters=2).fit_predict(X)
    >>> misclustering_error(labels, np.repeat([0, 1], 10))
    0.0
    """

    def __init__(
        self,
        n_clusters: int = 2,
        *,
        init: Any = "ward",
        covariance_type: str = "full",
        reg: float = 1e-3,
        shrinkage: float = 0.0,
        soft_rounds: int = 0,
        soft_iter: int = 30,
        max_outer: int = 30,
        tol: float = 1e-3,
        solver_iter: int = 200,
        solver_tol: float = 1e-4,
        rounding: str = "auto",
        device: str = "cpu",
        random_state: Any = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.covariance_type = covariance_type
        self.reg = reg
        self.shrinkage = shrinkage
        self.soft_rounds = soft_rounds
        self.soft_iter = soft_iter
        self.max_outer = max_outer
        self.tol = tol
        self.solver_iter = solver_iter
        self.solver_tol = solver_tol
        self.rounding = rounding
        self.device = device
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Cluster the rows of X (n, p); `y` is ignored.

        Raises
        ------
        ValueError, TypeError
            For X with missing values or too few rows, or a parameter outside its range.

        Warns
        -----
        ConvergenceWarning
            When the covariances still move after `max_outer` rounds, or a cluster ends without rows.
        """
        rows: Floats = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        K = check_n_clusters(
            self.n_clusters, len(rows), least=1
        )  # one cluster: scikit-learn's clusterers allow it
        shape, settings = self._checked()
        rng = check_random_state(self.random_state)
        sigma = self._start(rows, K, shape, rng)
        found = alternate(
            rows[None], sigma[None], shape, max_outer=self.max_outer, tol=self.tol, settings=settings,
            soft_rounds=self.soft_rounds, soft_iter=self.soft_iter,
        )  # fmt: skip
        self._keep(rows, found, rng)
        return self

    def predict(self, X: ArrayLike) -> Ints:
        """The likeliest cluster of new rows (m, p), given the clusters found.

        This is the Gaussian rule with each cluster's mean, which only this method forms.
        """
        check_is_fitted(self)
        rows: Floats = validate_data(self, X, dtype=np.float64, reset=False)
        white = np.linalg.inv(np.linalg.cholesky(self.covariances_))
        gaps = rows[None] - self._means[:, None]
        scores = ((gaps @ white.swapaxes(-1, -2)) ** 2).sum(-1) + np.linalg.slogdet(self.covariances_)[1][
            :, None
        ]
        return np.asarray(np.where(self._occupied[:, None], scores, np.inf).argmin(0), dtype=int)

    def _checked(self) -> tuple[Shape, Settings]:
        check_choice(self.covariance_type, "covariance_type", COVARIANCE_TYPES)
        check_choice(self.rounding, "rounding", ROUNDINGS)
        for name, least in (("soft_rounds", 0), ("soft_iter", 1), ("max_outer", 1), ("solver_iter", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
                raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")
        check_number(self.tol, "tol", 0)
        shape = Shape(
            self.covariance_type,
            check_number(self.reg, "reg", 0),
            check_number(self.shrinkage, "shrinkage", 0, 1),
        )
        accuracy = check_number(self.solver_tol, "solver_tol", 0, closed=False)
        return shape, Settings(int(self.solver_iter), accuracy, accuracy, None, str(self.device))

    def _start(self, X: Floats, K: int, shape: Shape, rng: np.random.RandomState) -> Floats:
        if isinstance(self.init, str):
            labels = start_labels(X, K, check_choice(self.init, "init", STARTS), rng)
        elif np.ndim(self.init) == 1:
            labels = check_labels(self.init, len(X), K)
        else:
            given = check_covariances(self.init, X.shape[1])
            if given.shape[0] != K:
                raise ValueError(f"init has {given.shape[0]} covariances for n_clusters={K}")
            return given
        return start_covariances(X[None], labels[None], K, shape)[0]

    def _keep(self, X: Floats, found: Alternation, rng: np.random.RandomState) -> None:
        K = found.Z.shape[1]
        self.Z_, self.covariances_ = found.Z[0], found.covariances[0]
        self.membership_ = self.Z_.sum(-1).T
        self.labels_ = found.labels[0]
        if self.rounding != "auto":
            costs = pairwise_costs(X, self.covariances_)
            self.labels_ = round_membership(self.Z_, method=self.rounding, costs=costs, random_state=rng)
        self.objective_path_ = np.array(found.objective_path[0])
        self.n_outer_ = len(found.iterations[0])
        self.converged_, self.certified_ = bool(found.converged[0]), bool(found.certified[0])
        self.gap_ = max(0.0, float(found.labels_cost[0] - found.lower_bound[0]))
        member = (self.labels_ == np.arange(K)[:, None]).astype(float)
        self._occupied = member.any(1)
        self._means = member @ X / np.maximum(member.sum(1, keepdims=True), 1)
        self._warn(self._occupied)
        kept, renamed = np.unique(self.labels_, return_inverse=True)
        self.negloglik_ = profile_negloglik(X, renamed, self.covariances_[kept])

    def _warn(self, occupied: Any) -> None:
        if not occupied.all():
            warnings.warn(
                f"{int((~occupied).sum())} of {len(occupied)} clusters ended without rows; their covariances are "
                "those of soft memberships. Fewer clusters or another start may fit better",
                ConvergenceWarning,
                stacklevel=3,
            )
        if not self.converged_:
            warnings.warn(
                f"covariances still move after max_outer={self.max_outer} rounds; the labels may be final all the "
                "same (objective_path_ shows by how much the fit still changed)",
                ConvergenceWarning,
                stacklevel=3,
            )


def start_labels(X: Floats, n_clusters: int, how: str, rng: np.random.RandomState) -> Ints:
    """Labels of a cheap partition: Ward's, K-means', or the K-means programme's."""
    seed = int(rng.randint(2**31 - 1))
    if how == "ward":
        return ward_labels(X, n_clusters)
    if how == "kmeans":
        return kmeans_labels(X, n_clusters, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a start need not be exact
        Z = kmeans_sdp(X, n_clusters, max_iter=300, tol=1e-4)
    return round_membership(Z, n_clusters=n_clusters, random_state=seed)
