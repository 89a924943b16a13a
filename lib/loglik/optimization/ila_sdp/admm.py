r"""The solver: over-relaxed ADMM over three simple sets, many problems at once.

Z is affine (traces and row sums), Y positive semidefinite, W nonnegative. With scaled duals U and V the points
:math:`P=Y+U`, :math:`Q=W+V` are all the state there is: the projections split P into :math:`Y=P_+` and
:math:`U=P_-`, Q into :math:`W=Q_+` and :math:`V=Q_-`, so that one iteration reads

.. math:: Z=\Pi_{\rm aff}\big((|P|+|Q|)/2-C/2\rho\big),\quad P\mathrel{+}=\alpha(Z-Y),\quad Q\mathrel{+}=\alpha(Z-W).

Arrays are NumPy's on the CPU and torch's on a GPU; the code is the same. Axes: problem, matrix, row, row.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from loglik.optimization.ila_sdp.inputs import Floats, Ints
from loglik.optimization.ila_sdp.likelihood import labelling_cost
from loglik.optimization.ila_sdp.positive import BATCHED_BELOW, Follower, project_psd, spectrum
from loglik.optimization.ila_sdp.rounding import masses_are_flat, match_clusters, pivot_labels

RELAX = 1.8  # over-relaxation; 1.6 to 1.9 need about the same number of iterations
SETTLE = 60  # iterations after which changes of the penalty begin to fade
CHECK = 10  # iterations between looks at residuals and bounds
EXACT = 20  # iterations between exact projections, at which residuals count and the penalty moves
CAP = 20.0  # costs are cut at this many times the cost of a near pair, while no mass lies where they are cut
ONE_THREAD_BELOW = (
    2000  # rows; threads that wait for each other cost more than they bring on smaller matrices
)
CACHE = (
    2**18
)  # numbers a chunk may hold: few enough for a cache, and enough for stacks that hide the cost of a call

Array = Any  # numpy.ndarray or torch.Tensor


class State(NamedTuple):
    """Where the iteration stands, for a warm start: primal and dual variables in the units of scaled costs."""

    P: Floats  # (B, M, n, n) Y + U
    Q: Floats  # (B, M, n, n) W + V
    rho: Floats  # (B,) penalty


class Solution(NamedTuple):
    """Solved problems, one an entry of the first axis."""

    Z: Floats  # (B, M, n, n) nonnegative; integral where certified
    objective: Floats  # (B,)
    lower_bound: Floats  # (B,) rigorous: no feasible point lies below
    labels: Ints  # (B, n) the best rounding seen
    labels_cost: Floats  # (B,) its objective, an upper bound
    primal_residual: Floats  # (B,)
    dual_residual: Floats  # (B,)
    n_iter: Ints  # (B,)
    certified: Any  # (B,) bool: the rounding is optimal within the gap tolerance
    converged: Any  # (B,) bool: certified, or both residuals below tol
    state: State


class Settings(NamedTuple):
    """Accuracy and effort of :func:`solve`."""

    max_iter: int = 1000
    tol: float = 1e-5  # relative residuals
    gap_tol: float = 1e-5  # of a certificate: gap per row, in mean absolute deviations of the costs
    rho: float | None = None  # first penalty; None takes the number of rows
    device: str = "cpu"


def few_threads(n: int) -> AbstractContextManager[Any]:
    """One thread for linear algebra on matrices of n rows, where n is small."""
    return threadpool_limits(1) if n < ONE_THREAD_BELOW else nullcontext()


# -- projections ---------------------------------------------------------------------------------------------


def _diagonal(M: Array) -> Array:
    """A writable view of the diagonals (..., n) of contiguous matrices."""
    n = M.shape[-1]
    return M.reshape(*M.shape[:-2], n * n)[..., :: n + 1]


def _normal_part(M: Array, traces: Array, rows: float) -> tuple[Array, Array]:
    """Multipliers a (B, M), u (B, n) whose ``a I + (u 1' + 1 u')/2`` takes M to given traces and total row sums."""
    K, n = M.shape[-3], M.shape[-1]
    t = _diagonal(M).sum(-1)
    R = M.sum(-1).sum(-2)
    s = (R.sum(-1) - t.sum(-1) + traces.sum() - rows * n) / (K * (n - 1))
    a = (t - traces - s[:, None]) / n
    u = 2 * (R - a.sum(-1)[:, None] - rows) / (K * n) - s[:, None] / n
    return a, u


def _less_normal(M: Array, a: Array | None, u: Array) -> Array:
    out = M - 0.5 * (u[:, None, :, None] + u[:, None, None, :])
    if a is not None:
        diagonal = _diagonal(out)
        diagonal -= a[..., None]
    return out


def project_affine(M: Array, traces: Array) -> Array:
    r"""Nearest point with :math:`\operatorname{tr}Z_k=\tau_k` and :math:`(\sum_kZ_k)1=1`, in closed form.

    M (B, K, n, n) symmetric, traces (K,).
    """
    return _less_normal(M, *_normal_part(M, traces, 1.0))


def _least_eigenvalues(M: Array) -> Array:
    """Smallest eigenvalue of each matrix (B, K)."""
    if isinstance(M, np.ndarray) and M.shape[-1] >= BATCHED_BELOW:
        stack = M.reshape(-1, *M.shape[-2:])
        least = [spectrum(m, 1, 1, vectors=False)[0][0] for m in stack]
        return np.array(least).reshape(M.shape[:-2])
    return _namespace(M).linalg.eigvalsh(M)[..., 0]


def _namespace(M: Array) -> Any:
    if isinstance(M, np.ndarray):
        return np
    import torch

    return torch


# -- bounds --------------------------------------------------------------------------------------------------


def dual_bound(C: Array, S: Array, N: Array, traces: Array) -> Array:
    r"""A rigorous lower bound (B,) from any slacks S and any :math:`N\ge0`.

    The multipliers :math:`u` of the row sums come from the least-squares fit of :math:`C-S-N`; then
    :math:`\lambda_k=\lambda_{\min}(C_k-\frac12(u1'+1u')-N_k)` makes :math:`(\lambda,u,N)` dual feasible whatever
    S was, with value :math:`\sum_k\tau_k\lambda_k+1'u`.
    """
    _, u = _normal_part(C - S - N, 0 * traces, 0.0)
    least = _least_eigenvalues(_less_normal(C - N, None, u))
    return (traces * least).sum(-1) + u.sum(-1)


def _round(Z: Floats, C: Floats, n_clusters: int) -> tuple[Ints, Floats]:
    """A labelling of each problem and its cost: by mass, or by eigenvectors where masses say nothing."""
    labels = np.empty((len(Z), Z.shape[-1]), dtype=int)
    one = C.shape[-3] != n_clusters  # matrix for all clusters: names don't matter
    costs = np.broadcast_to(C, (len(C), n_clusters, *C.shape[-2:]))
    for b, masses in enumerate(Z.sum(-1)):
        if not one and not masses_are_flat(masses):
            labels[b] = masses.argmax(0)
        else:
            found = pivot_labels(Z[b].sum(0), n_clusters)
            labels[b] = found if one else match_clusters(costs[b], found)
    value = labelling_cost(costs, labels)
    occupied = (labels[:, None] == np.arange(n_clusters)[:, None]).any(-1).all(-1)
    return labels, np.where(occupied, value, np.inf)  # an empty cluster is no feasible point


# -- the iteration -------------------------------------------------------------------------------------------


def solve(
    costs: Floats, traces: Floats, n_clusters: int, settings: Settings, state: State | None = None
) -> Solution:
    """Solve a stack of problems (B, M, n, n) with traces (M,).

    On the CPU in chunks that fit a core's cache, on a GPU all at once. A problem is done when its rounding is
    certified, or when both residuals are below the tolerance; it then leaves the chunk.
    """
    B, M, n, _ = costs.shape
    size = B if settings.device != "cpu" else max(1, CACHE // (M * n * n))
    parts = []
    for first in range(0, B, size):
        part = slice(first, first + size)
        warm = None if state is None else State(*(np.asarray(a)[part] for a in state))
        with few_threads(n):
            parts.append(_solve_chunk(costs[part], traces, n_clusters, settings, warm))
    states = State(*(np.concatenate(column) for column in zip(*(p.state for p in parts), strict=True)))
    whole: Any = {name: np.concatenate([getattr(p, name) for p in parts]) for name in Solution._fields[:-1]}
    return Solution(**whole, state=states)


class _Running:
    """Arrays of the problems of a chunk that aren't done."""

    def __init__(self, costs: Floats, n_clusters: int, settings: Settings, state: State | None) -> None:
        B, _, n, _ = costs.shape
        self.send = _sender(settings.device)
        self.index = np.arange(B)
        cap = _first_cap(costs, n_clusters)
        cut = np.minimum(costs, cap[:, None, None, None])
        self.centre = cut.mean(axis=(1, 2, 3))
        spread = np.abs(cut - self.centre[:, None, None, None]).mean(axis=(1, 2, 3))
        self.scale = np.where(spread > 0, spread, 1.0)
        self.full = self.send((costs - self.centre[:, None, None, None]) / self.scale[:, None, None, None])
        self.cap = (cap - self.centre) / self.scale
        self.cut()
        start = settings.rho if settings.rho is not None else float(n)
        self.P = self.send(np.zeros_like(costs) if state is None else np.array(state.P))
        self.Q = self.send(np.zeros_like(costs) if state is None else np.array(state.Q))
        self.rho = self.send(np.full(B, start) if state is None else np.array(state.rho))
        self.follower: Follower | None = None
        self.weigh()
        self.labels = np.zeros((B, n), dtype=int)
        self.upper = np.full(B, np.inf)
        self.lower = np.full(B, -np.inf)

    def cut(self) -> None:
        """The costs that the iteration works with: cut where pairs are so far apart that they never meet."""
        cap = self.send(self.cap)[:, None, None, None]
        self.C = self.full.clip(max=cap)

    def weigh(self) -> None:
        """How far the costs pull Z in an iteration."""
        self.pull = self.C * (0.5 / self.rho[:, None, None, None])

    def positive_part(self, *, exact: bool) -> Array:
        """Y; on the CPU followed from iteration to iteration unless `exact`."""
        if self.send is not np.asarray:
            return project_psd(self.P)
        if self.follower is None:
            self.follower = Follower(self.P.shape[0] * self.P.shape[1], self.P.shape[-1])
            exact = True
        return self.follower.start(self.P) if exact else self.follower.follow(self.P)

    def raise_caps(self, W: Array, finished: Any) -> Any:
        """Raise the caps of finished problems (B,) whose solution has mass where costs are cut; which they are."""
        lost = _host(((self.full - self.C) * W).sum((-3, -2, -1)))
        wrong = finished & (lost > 1e-6 * W.shape[-1])
        if wrong.any():
            self.cap = np.where(wrong, 4 * np.maximum(self.cap, 1.0), self.cap)
            self.cut()
            self.weigh()
        return wrong

    def keep(self, rows: Any) -> None:
        """Go on with these problems only."""
        for name in ("full", "C", "pull", "P", "Q", "rho"):
            setattr(self, name, getattr(self, name)[self.send(rows)])
        if self.follower is not None:
            self.follower.keep(np.repeat(rows, self.P.shape[1]))
        for name in ("index", "centre", "scale", "cap", "labels", "upper", "lower"):
            setattr(self, name, getattr(self, name)[rows])


def _first_cap(costs: Floats, n_clusters: int) -> Floats:
    """Where costs are cut at first (B,).

    A near pair costs the 1/(2K) quantile above its cluster's least cost. Costs far above only make the problem
    badly scaled. Cutting them keeps the lower bound valid, because Z is nonnegative, and the solution too,
    where it has no mass on a pair that was cut; :meth:`_Running.raise_caps` sees to that.
    """
    B, M, n, _ = costs.shape
    flat = costs.reshape(B, M, n * n)
    near = np.quantile(flat[..., :: max(1, n // 400)], 1 / (2 * n_clusters), axis=-1)
    least = flat.min(-1)
    return np.asarray(least.max(1) + CAP * (near - least).max(1))


def _sender(device: str) -> Any:
    if device == "cpu":
        return np.asarray
    import torch

    return lambda array: torch.as_tensor(array, device=device)


def _host(array: Array) -> Any:
    return array if isinstance(array, np.ndarray) else array.cpu().numpy()


def _solve_chunk(
    costs: Floats, traces: Floats, n_clusters: int, settings: Settings, state: State | None
) -> Solution:
    run = _Running(costs, n_clusters, settings, state)
    tau = run.send(traces)
    found: list[tuple[Any, ...]] = [()] * len(costs)
    for iteration in range(1, settings.max_iter + 1):
        last = iteration == settings.max_iter
        exact = iteration % EXACT == 0 or last
        Y, W, Z = _points(run, tau, exact)
        if iteration % CHECK == 0 or last:
            residuals = _look(run, Y, W, Z, tau, n_clusters)
            certified = (run.upper - run.lower) / Z.shape[-1] <= settings.gap_tol
            settled = np.maximum(*residuals) <= settings.tol
            if not exact and (settled & ~certified).any():  # nearly exact points prove nothing
                Y, W, Z = _points(run, tau, True)
                residuals = _residuals(run, Y, W, Z)
                settled = np.maximum(*residuals) <= settings.tol
            converged = certified | settled
            converged &= ~run.raise_caps(W, converged & ~certified)
            done = converged | last
            for row in np.flatnonzero(done):
                found[run.index[row]] = _result(run, int(row), W, residuals, iteration, certified, converged)
            if done.all():
                break
            if iteration % EXACT == 0:
                _balance(run, Y, W, residuals, iteration)
            run.P += RELAX * (Z - Y)
            run.Q += RELAX * (Z - W)
            if done.any():
                run.keep(~done)
        else:
            run.P += RELAX * (Z - Y)
            run.Q += RELAX * (Z - W)
    return _collect(found)


def _points(run: _Running, tau: Array, exact: bool) -> tuple[Array, Array, Array]:
    """The three projections of an iteration: Y, W and Z."""
    Y, W = run.positive_part(exact=exact), run.Q.clip(min=0)
    M = run.P + run.Q
    M *= -0.5
    M += Y
    M += W
    M -= run.pull
    return Y, W, project_affine(M, tau)


def _look(run: _Running, Y: Array, W: Array, Z: Array, tau: Array, n_clusters: int) -> tuple[Floats, Floats]:
    """Update the bounds; relative primal and dual residuals (B,)."""
    rho = run.rho[:, None, None, None]
    lower = _host(dual_bound(run.C, rho * (Y - run.P), rho * (W - run.Q), tau))
    run.lower = np.maximum(run.lower, lower)
    labels, value = _round(_host(W), _host(run.full), n_clusters)
    better = value < run.upper
    run.labels[better], run.upper = labels[better], np.minimum(run.upper, value)
    return _residuals(run, Y, W, Z)


def _residuals(run: _Running, Y: Array, W: Array, Z: Array) -> tuple[Floats, Floats]:
    size = 1 + _host(_norm(Z))
    primal = _host(_norm(Y - W)) / size
    dual = _host(run.rho * _norm(2 * Z - Y - W)) / (1 + _host(_norm(run.C)))
    return primal, dual


def _norm(M: Array) -> Array:
    return (M * M).sum((-3, -2, -1)) ** 0.5


def _balance(run: _Running, Y: Array, W: Array, residuals: tuple[Floats, Floats], iteration: int) -> None:
    """Move each penalty towards equal residuals, ever more gently: steady moves can end in a cycle.

    The scaled duals P - Y and Q - W shrink as the penalty grows.
    """
    primal, dual = (np.maximum(r, 1e-12) for r in residuals)
    factor = run.send(np.clip((primal / dual) ** (0.5 * min(1.0, SETTLE / iteration)), 0.5, 2.0))
    run.rho = run.rho * factor
    by = factor[:, None, None, None]
    run.P = Y + (run.P - Y) / by
    run.Q = W + (run.Q - W) / by
    run.weigh()


def _result(
    run: _Running, row: int, W: Array, residuals: Any, iteration: int, certified: Any, converged: Any
) -> tuple[Any, ...]:
    scale, centre, n = run.scale[row], run.centre[row], run.labels.shape[-1]
    Z, C = _host(W[row]), _host(run.full[row])
    labels, upper = run.labels[row], float(run.upper[row])
    value = float((C * Z).sum())
    if certified[row]:
        Z = _integral(labels, len(Z))
        value = upper
    bounds = [scale * v + centre * n for v in (value, float(run.lower[row]), upper)]
    return (
        Z, bounds[0], bounds[1], labels, bounds[2], residuals[0][row], residuals[1][row], iteration,
        certified[row], converged[row], _host(run.P[row]), _host(run.Q[row]), float(_host(run.rho)[row]),
    )  # fmt: skip


def _integral(labels: Ints, M: int) -> Floats:
    """The membership matrices of a labelling, summed into one where the problem has one."""
    member = (labels[None] == np.arange(labels.max() + 1)[:, None]).astype(float)
    Z: Floats = member[:, :, None] * member[:, None, :] / member.sum(1)[:, None, None]
    return Z if M > 1 else Z.sum(0, keepdims=True)


def _collect(found: list[tuple[Any, ...]]) -> Solution:
    columns: Any = [np.stack([np.asarray(row[i]) for row in found]) for i in range(13)]
    fields: Any = dict(zip(Solution._fields, columns[:10], strict=False))
    return Solution(**fields, state=State(*columns[10:]))
