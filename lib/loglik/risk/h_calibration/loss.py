r"""The h-calibration loss: a windowed calibration gap over the pooled events of a classifier.

An *event* is one pair (sample, class) with its predicted probability :math:`p` and its 0/1 outcome :math:`y`.
Sort all n·L events by p, average the residuals :math:`r=p-y` over a window of M+1 neighbours, and penalise
by how much the absolute average exceeds a tolerance. Nothing is binned; the windows follow the data.

The loss has its own gradient (one pass for the value, the same window sum again for the slope), about twice
as fast as automatic differentiation through it and ten times as fast as convolving each subset anew.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from loglik.risk.h_calibration.inputs import check_labels, check_simplex, check_window, to_tensor

WEIGHTINGS = ("kmeans", "uniform", "equal_width", "top1")
EMPTY = 1e-5  # added to each cluster's count, as in the official code, so that empty ones count as zero
_LLOYD_STEPS = 25  # as faiss, which the released code calls


class LossOptions(NamedTuple):
    """How the loss reads its events."""

    window: int  # M: a window holds M + 1 events
    epsilon: float  # tolerance below which a gap is free
    weighting: str
    n_bins: int


class _Events(NamedTuple):
    """Pooled events, sorted by probability."""

    p: Tensor  # (N,) float64, ascending
    r: Tensor  # (N,) residual p - y, float64
    label: Tensor  # (N,) class of the sample that the event belongs to
    order: Tensor  # (N,) position in the flattened (n, L) table


def _pool(probs: Tensor, y: Tensor) -> _Events:
    flat = probs.detach().reshape(-1)
    # NumPy's sort is vectorised on the CPU and twice as fast as torch's
    order = torch.from_numpy(np.argsort(flat.numpy())) if flat.device.type == "cpu" else torch.argsort(flat)
    p = flat[order].double()
    label = y.repeat_interleave(probs.shape[1])[order]
    truth = torch.nn.functional.one_hot(y, probs.shape[1]).reshape(-1)[order]
    return _Events(p, p - truth, label, order)


def _window_sum(values: Tensor, window: int) -> Tensor:
    """Sums over k-M/2 … k+M/2 (zero beyond the ends), by differences of one cumulative sum in float64."""
    half = window // 2
    total = pad(values, (half + 1, half)).cumsum(0)
    return total[window + 1 :] - total[: len(values)]


def window_statistic(probs: Any, y: Any, window: int = 200) -> tuple[Any, Any]:
    r"""Pooled events in order and their windowed residuals.

    .. math:: T_k=\frac1{M+1}\sum_{|j-k|\le M/2}\big(p_{(j)}-y_{(j)}\big)

    Terms beyond the ends count as zero and the divisor stays M+1.

    Parameters
    ----------
    probs : array or tensor of shape (n, L)
        Rows on the simplex.
    y : array or tensor of shape (n,)
        Labels 0..L-1.
    window : int
        M, even; the released code takes 200.

    Returns
    -------
    p_sorted, T : arrays or tensors of shape (n L,)
        NumPy in, NumPy out. Above a probability of ``p_sorted[k]``, T[k] > 0 says "predicted too high".

    Raises
    ------
    ValueError
        For an odd window, one below 2 or longer than the events, labels out of range, rows off the simplex.

    Notes
    -----
    O(N log N) for the sort and O(N) for all windows, N = n L. Source: official code, ``hcalib_subfunc``.

    Examples
    --------
    >>> p, T = window_statistic(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 1]), window=2)
    >>> p.round(1).tolist(), T.round(3).tolist()
    ([0.1, 0.2, 0.8, 0.9], [0.1, 0.033, -0.033, -0.1])
    """
    tensor, labels = _checked(probs, y)
    check_window(window, tensor.numel())
    events = _pool(tensor, labels)
    T = _window_sum(events.r, window) / (window + 1)
    return (events.p, T) if isinstance(probs, Tensor) else (events.p.numpy(), T.numpy())


def noise_floor(p_sorted: Any, window: int = 200) -> Any:
    r"""Mean absolute window statistic of a perfectly calibrated predictor, event by event.

    .. math:: \mathrm{floor}_k=\sqrt{\tfrac{2}{\pi}}\,\frac{1}{M+1}\Big(\sum_{|j-k|\le M/2}p_{(j)}(1-p_{(j)})\Big)^{1/2}

    which is :math:`\sqrt{2p_k(1-p_k)/(\pi(M+1))}` where p hardly changes within a window.

    Parameters
    ----------
    p_sorted : array or tensor of shape (N,)
        Ascending probabilities of the pooled events.
    window : int
        M, even.

    Returns
    -------
    array or tensor of shape (N,)

    Raises
    ------
    ValueError
        For a bad window or probabilities that don't ascend.

    Notes
    -----
    Derived: the residuals of different samples are independent with variance p(1-p), and a mean of M+1 of them
    is close to normal. Events of the same sample are negatively correlated, which lowers the truth by a few
    per cent where a window holds several of them.

    Examples
    --------
    >>> float(noise_floor(np.full(1001, 0.5), window=100)[500].round(4)), (0.25 * 2 / np.pi / 101) ** 0.5
    (0.0397, 0.039...)
    """
    p = torch.as_tensor(p_sorted).double()
    check_window(window, len(p))
    if (p[1:] < p[:-1]).any():
        raise ValueError("p_sorted must ascend: give the first array that window_statistic returns")
    variance = _window_sum(p * (1 - p), window).clamp_min(0.0)
    floor = (2 / np.pi * variance).sqrt() / (window + 1)
    return floor if isinstance(p_sorted, Tensor) else floor.numpy()


def h_calibration_loss(
    probs: Any,
    y: Any,
    *,
    window: int = 200,
    epsilon: float = 0.0,
    weighting: str = "kmeans",
    n_bins: int = 15,
    leave_one_class_out: bool = True,
    classes_per_step: int | None = None,
    generator: torch.Generator | None = None,
) -> Any:
    r"""Differentiable estimate of how far predicted probabilities are from frequencies.

    .. math:: \mathcal L=\sum_k w_k\max(|T_k|-\epsilon,\,0)

    Parameters
    ----------
    probs : tensor (or array) of shape (n, L)
        Rows on the simplex. The gradient flows through their values, not through the order or the weights.
    y : tensor (or array) of shape (n,)
        Labels 0..L-1.
    window : int
        M, even: each gap is an average over M+1 neighbouring events. The released code takes 200.
    epsilon : float
        Tolerance. 0 asks for the smallest gap; about ``noise_floor(…).mean()`` asks for none beyond noise.
    weighting : {"kmeans", "uniform", "equal_width", "top1"}
        The w_k: mean of the means in 15 clusters of p (released default, ``cluaceweighted``); plain mean;
        mean of the means in 15 equal bins, closed on both sides (``aceweighted``); or clusters weighted by
        how many top-1 probabilities lie in each (``clueceweighted``).
    n_bins : int
        Clusters or bins.
    leave_one_class_out : bool
        Average over c of the loss on samples with y != c (on in every released configuration). Under class
        imbalance this moves the optimum away from the truth; take False there.
    classes_per_step : int, optional
        Average over so many random classes instead of all: unbiased, and needed for hundreds of classes.
    generator : torch.Generator, optional
        For `classes_per_step` and for random starting centroids; without it centroids start at quantiles.

    Returns
    -------
    scalar tensor, or float for NumPy input
        Without the factor 1e5 of the released code, which only matters through Adam's eps.

    Raises
    ------
    ValueError
        For a bad window, an unknown weighting, labels out of range, rows off the simplex, a class alone.

    Notes
    -----
    At the truth the loss is the noise floor, not zero. O(N log N + S N) for S subsets and N = n L events;
    memory O(N). First derivatives only. Source: official code, ``hcalibration``, whose values ours are; under
    "kmeans" and "top1" to one or two per cent, because its clusters start at random events.

    Examples
    --------
    >>> p = torch.tensor([[0.9, 0.1], [0.2, 0.8]], dtype=torch.float64, requires_grad=True)
    >>> loss = h_calibration_loss(p, torch.tensor([0, 1]), window=2, weighting="uniform", leave_one_class_out=False)
    >>> round(loss.item(), 4)
    0.0667
    """
    options = _options(window, epsilon, weighting, n_bins)
    tensor, labels = _checked(probs, y)
    check_window(window, tensor.numel())
    subsets = _subsets(labels, tensor.shape[1], leave_one_class_out, classes_per_step, generator)
    loss = fast_loss(tensor, labels, options, subsets, generator)
    return loss if isinstance(probs, Tensor) else float(loss)


def fast_loss(
    probs: Tensor,
    y: Tensor,
    options: LossOptions,
    subsets: list[int],
    generator: torch.Generator | None = None,
) -> Tensor:
    """The loss without its input checks, for training loops; a subset of -1 is all samples, c is "y != c"."""
    value: Tensor = _HLoss.apply(probs, y, options, subsets, generator)
    return value


def _options(window: int, epsilon: float, weighting: str, n_bins: int) -> LossOptions:
    if weighting not in WEIGHTINGS:
        raise ValueError(f"unknown weighting {weighting!r}; allowed: {', '.join(WEIGHTINGS)}")
    if not epsilon >= 0:
        raise ValueError(f"epsilon must be at least 0, got {epsilon!r}")
    if n_bins < 1:
        raise ValueError(f"n_bins must be at least 1, got {n_bins!r}")
    return LossOptions(window, float(epsilon), weighting, n_bins)


def _checked(probs: Any, y: Any) -> tuple[Tensor, Tensor]:
    table = check_simplex(probs)
    labels = torch.from_numpy(check_labels(y, *table.shape))
    if isinstance(probs, Tensor):
        return probs, labels.to(probs.device)
    return to_tensor(table), labels


def _subsets(
    y: Tensor, n_classes: int, leave_out: bool, per_step: int | None, generator: torch.Generator | None
) -> list[int]:
    """Which samples each term of the average takes: -1 for all, c for those with another label than c."""
    if not leave_out:
        return [-1]
    if per_step is None or per_step >= n_classes:
        return list(range(n_classes))
    if per_step < 1:
        raise ValueError(f"classes_per_step must be at least 1, got {per_step!r}")
    device = generator.device if generator is not None else y.device
    chosen: list[int] = torch.randperm(n_classes, generator=generator, device=device)[:per_step].tolist()
    return chosen


def subset_losses(probs: Tensor, y: Tensor, options: LossOptions, subsets: list[int]) -> Tensor:
    """The loss of each subset by itself (S,), without gradient, from one sort."""
    with torch.no_grad():
        events = _pool(probs, y)
        ranges = _ranges(events, probs, y, options, subsets, None)
        return torch.stack([_subset(events, c, ranges, row, options)[0] for row, c in enumerate(subsets)])


class _HLoss(torch.autograd.Function):
    """Value and gradient together: both are window sums over the same order."""

    @staticmethod
    def forward(
        ctx: Any, probs: Tensor, y: Tensor, options: LossOptions, subsets: list[int], generator: Any
    ) -> Tensor:
        events = _pool(probs, y)
        ranges = _ranges(events, probs, y, options, subsets, generator)
        total, slope = probs.new_zeros((), dtype=torch.float64), torch.zeros_like(events.r)
        for row, c in enumerate(subsets):
            value, keep, g = _subset(events, c, ranges, row, options)
            total += value
            slope.scatter_add_(0, keep, _window_sum(g, options.window))
        gradient = torch.empty_like(slope)
        gradient[events.order] = slope / (len(subsets) * (options.window + 1))
        ctx.save_for_backward(gradient.view(probs.shape).to(probs.dtype))
        return (total / len(subsets)).to(probs.dtype)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return upstream * gradient, None, None, None, None


class _Ranges(NamedTuple):
    """Runs of the sorted events, for each subset (S, bins)."""

    start: Tensor  # first event of each run, in the list of all events
    stop: Tensor  # one past its last event
    share: Tensor  # what the mean excess of the run counts for


def _subset(
    events: _Events, c: int, ranges: _Ranges, row: int, options: LossOptions
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss of one subset, the events that it keeps, and its slope in their statistics."""
    keep = torch.nonzero(events.label != c).squeeze(1)
    T = _window_sum(events.r[keep], options.window) / (options.window + 1)
    excess = (T.abs() - options.epsilon).clamp_min(0.0)
    start, stop = torch.searchsorted(keep, torch.stack([ranges.start[row], ranges.stop[row]]))
    weights = _spread(start, stop, ranges.share[row], len(keep))
    return weights @ excess, keep, weights * T.sign() * (excess > 0)


def _spread(start: Tensor, stop: Tensor, share: Tensor, n: int) -> Tensor:
    """Weight of each event, from runs that may overlap (closed bins share events on an edge)."""
    each = share / ((stop - start).double() + EMPTY)
    steps = each.new_zeros(n + 1)
    steps.index_add_(0, start, each)
    steps.index_add_(0, stop, -each)
    return steps[:-1].cumsum(0).clamp_min(0.0)


def _ranges(
    events: _Events, probs: Tensor, y: Tensor, options: LossOptions, subsets: list[int], generator: Any
) -> _Ranges:
    """The weighting of every subset; it is a constant for the gradient."""
    p, rows = events.p, len(subsets)
    if options.weighting == "uniform":
        start = torch.zeros(rows, 1, dtype=torch.long, device=p.device)
        return _Ranges(start, start + len(p), torch.ones(rows, 1).to(p))
    same = torch.full((rows, options.n_bins), 1 / options.n_bins, dtype=p.dtype, device=p.device)
    if options.weighting == "equal_width":
        edges = torch.linspace(0, 1, options.n_bins + 1).to(p)  # float32 edges, as released
        first, last = torch.searchsorted(p, edges[:-1]), torch.searchsorted(p, edges[1:], right=True)
        return _Ranges(first.expand(rows, -1), last.expand(rows, -1), same)
    middles = _kmeans(events, options.n_bins, subsets, generator)
    cuts = pad(pad(torch.searchsorted(p, middles), (1, 0)), (0, 1), value=len(p))
    share = _top_shares(probs, y, p, cuts, subsets) if options.weighting == "top1" else same
    return _Ranges(cuts[:, :-1], cuts[:, 1:], share)


def _kmeans(events: _Events, bins: int, subsets: list[int], generator: Any) -> Tensor:
    """Middles between the centres (S, bins - 1) of Lloyd's algorithm, all subsets at once.

    As released: 25 steps on at most 256 events a centre. The released centres start at random events, ours at
    the quantiles of all events. Both are far from converged and crowd where events do, near zero; run to the
    end, clusters would spread out and the loss double. In one dimension a cluster is a run of the sorted list
    and its sum a difference of prefix sums.
    """
    thin = slice(len(events.p) // (256 * bins) // 2, None, max(1, len(events.p) // (256 * bins)))
    p, label = events.p[thin].cpu().numpy(), events.label[thin].cpu().numpy()
    keep = label != np.array(subsets)[:, None]
    sums = np.zeros((2, len(subsets), len(p) + 1))
    np.cumsum(keep, axis=1, out=sums[0, :, 1:])
    np.cumsum(keep * p, axis=1, out=sums[1, :, 1:])
    jitter = (
        torch.rand(bins, generator=generator, device=generator.device).cpu().numpy() if generator else 0.5
    )
    levels = (np.arange(bins) + 0.4 + 0.2 * jitter) / bins
    centres = np.tile(p[(levels * len(p)).astype(np.int64)], (len(subsets), 1))
    cuts = np.zeros((len(subsets), bins + 1), dtype=np.int64)
    cuts[:, -1] = len(p)
    row = np.arange(len(subsets))[:, None]
    for _ in range(_LLOYD_STEPS):
        cuts[:, 1:-1] = np.searchsorted(p, (centres[:, 1:] + centres[:, :-1]) / 2)
        n, mass = np.diff(sums[:, row, cuts], axis=2)
        centres = np.where(n > 0, mass / np.maximum(n, 1.0), centres)
    return torch.from_numpy((centres[:, 1:] + centres[:, :-1]) / 2).to(events.p.device)


def _top_shares(probs: Tensor, y: Tensor, p: Tensor, cuts: Tensor, subsets: list[int]) -> Tensor:
    """The part of each subset's top-1 probabilities that lies in each cluster (S, bins)."""
    at = torch.searchsorted(p, probs.detach().amax(1).double())
    share = torch.zeros(len(subsets), cuts.shape[1] - 1).to(p)
    for row, (c, inner) in enumerate(zip(subsets, cuts[:, 1:-1].contiguous(), strict=True)):
        cluster = torch.searchsorted(inner, at[y != c], right=True)
        share[row] = torch.bincount(cluster, minlength=share.shape[1]).double() / len(cluster)
    return share
