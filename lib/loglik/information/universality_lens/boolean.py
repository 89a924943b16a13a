"""Testbed D: random networks as Boolean functions, beside the lookup tables of all 2^(2^k) functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln, logsumexp

from loglik.information.universality_lens.checks import Floats, check_chance, check_sizes
from loglik.information.universality_lens.weights import HardBound, hard_bound, soft_bound

Bools = NDArray[np.bool_]
BIAS_SD = 0.3  # of every bias; weights are N(0, 1/fan-in)


class Counts(NamedTuple):
    """Sufficient statistics of labelled samples: how often each input came with each label."""

    ones: Floats  # (..., cells)
    zeros: Floats  # (..., cells)


class Symmetries(NamedTuple):
    """Maps of Boolean functions onto each other that leave the law of a random network as it is."""

    cells: NDArray[np.int64]  # (G, cells) where each map moves the inputs
    negated: Bools  # (G,) whether it negates the output


def boolean_inputs(k: int) -> Floats:
    """All 2^k inputs coded as -1 and +1, shape (2^k, k); bit j of the row's number is input j."""
    if not 1 <= k <= 16:
        raise ValueError(f"k must lie between 1 and 16 (2^k inputs are listed), got {k}")
    bits = (np.arange(2**k)[:, None] >> np.arange(k)) & 1
    return np.asarray(2 * bits - 1, dtype=np.float64)


def n_parameters(k: int, widths: Sequence[int]) -> int:
    """Number of weights and biases of a k-widths-1 network."""
    sizes = [k, *widths, 1]
    return sum((a + 1) * b for a, b in pairwise(sizes))


def _outputs(
    inputs: NDArray[np.float32], widths: Sequence[int], draws: int, rng: np.random.Generator
) -> Bools:
    """Signs of `draws` random ReLU networks on all inputs, shape (draws, cells)."""
    hidden: Any = inputs[None]
    for width in widths:
        hidden = np.maximum(_random_layer(hidden, width, draws, rng), 0) * np.float32(np.sqrt(2))
    result: Bools = _random_layer(hidden, 1, draws, rng)[:, :, 0] > 0
    return result


def _random_layer(hidden: Any, width: int, draws: int, rng: np.random.Generator) -> Any:
    fan_in = hidden.shape[-1]
    weights = rng.standard_normal((draws, fan_in, width), dtype=np.float32) / np.float32(np.sqrt(fan_in))
    return hidden @ weights + rng.standard_normal((draws, 1, width), dtype=np.float32) * np.float32(BIAS_SD)


def random_boolean_networks(
    k: int,
    widths: Sequence[int],
    n_draws: int,
    rng: np.random.Generator,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Boolean functions of random ReLU networks, with how often each was drawn.

    Weights are ``N(0, 1/fan-in)``, biases ``N(0, 0.3^2)``, activations are multiplied by the square root of
    2 after each ReLU, inputs are coded as -1 and +1, and the function is 1 where the output is positive.

    Parameters
    ----------
    k : int
        Number of inputs.
    widths : sequence of int
        Hidden units of each layer, at least one layer.
    n_draws : int
    rng : numpy.random.Generator
    progress : callable
        Wraps the batches, for a progress bar.

    Returns
    -------
    functions : array of shape (H, 2^k / 8), uint8
        Distinct functions, packed by :func:`numpy.packbits`; see :func:`unpack`.
    counts : array of shape (H,)
        How many networks compute each; they sum to `n_draws`.
    """
    if not widths or min(widths) < 1:
        raise ValueError(f"widths must list at least one layer of at least one unit, got {list(widths)}")
    if n_draws < 1:
        raise ValueError(f"n_draws must be at least 1, got {n_draws}")
    inputs = boolean_inputs(k).astype(np.float32)
    chunk = max(1, min(n_draws, int(4e6 / (2**k * max(widths)))))
    sizes = [len(part) for part in np.array_split(np.empty(n_draws), -(-n_draws // chunk))]
    packed = [np.packbits(_outputs(inputs, widths, size, rng), axis=1) for size in progress(sizes)]
    whole = np.ascontiguousarray(np.concatenate(packed))
    as_bytes = whole.view(np.dtype((np.void, whole.shape[1]))).ravel()
    _, first, counts = np.unique(as_bytes, return_index=True, return_counts=True)
    return whole[first], counts


def unpack(functions: NDArray[np.uint8], n_cells: int) -> Bools:
    """Functions as truth tables, shape (H, n_cells)."""
    return np.unpackbits(functions, axis=1, count=n_cells).astype(bool)


def flip_divergence(flip: float) -> float:
    """Divergence in nats between the labels of an input on which two functions differ."""
    return (1 - 2 * flip) * float(np.log((1 - flip) / flip))


class LookupTableMixture:
    """Uniform mixture over all Boolean functions of `n_cells` inputs, labels flipped with probability `flip`.

    Its posterior factorises over the cells, so all 2^n_cells hypotheses cost as much as one.

    Parameters
    ----------
    n_cells : int
    flip : float
        Flip rate of the labels, strictly between 0 and 1/2.
    """

    def __init__(self, n_cells: int, flip: float) -> None:
        if n_cells < 1:
            raise ValueError(f"n_cells must be at least 1, got {n_cells}")
        self.n_cells, self.flip = int(n_cells), check_chance(flip, "flip")

    @property
    def log_size(self) -> float:
        """Log number of hypotheses, nats: the class-size bound."""
        return self.n_cells * float(np.log(2))

    def log_marginal(self, counts: Counts) -> Floats:
        """Log probability of the labels given the inputs, shape (...) for counts of shape (..., n_cells)."""
        odds = np.log((1 - self.flip) / self.flip)
        ones, zeros = np.asarray(counts.ones, dtype=float), np.asarray(counts.zeros, dtype=float)
        _check_cells(ones, self.n_cells)
        both = np.logaddexp(ones * odds, zeros * odds) - np.log(2)
        result: Floats = (both + (ones + zeros) * np.log(self.flip)).sum(-1)
        return result

    def predict(self, counts: Counts) -> Floats:
        """Probability of label 1 at each cell after those counts, shape (..., n_cells)."""
        edge = np.asarray(counts.ones, dtype=float) - np.asarray(counts.zeros, dtype=float)
        odds = np.log((1 - self.flip) / self.flip)
        true_one = 1 / (1 + np.exp(-edge * odds))
        result: Floats = self.flip + (1 - 2 * self.flip) * true_one
        return result

    def soft_bound(self, n: ArrayLike) -> Floats:
        """``B2(n)``, the same for every truth: each cell is right or wrong with probability 1/2."""
        kl = flip_divergence(self.flip) / self.n_cells
        result: Floats = -self.n_cells * np.log((1 + np.exp(-check_sizes(n) * kl)) / 2)
        return result

    def level_log_prior(self) -> tuple[Floats, Floats]:
        """Divergence levels j kl / n_cells and the log share of tables at each (a binomial), j = 0 ... n_cells."""
        j = np.arange(self.n_cells + 1)
        m = self.n_cells
        log_share = gammaln(m + 1) - gammaln(j + 1) - gammaln(m - j + 1) - m * np.log(2)
        return j * flip_divergence(self.flip) / m, log_share

    def log_weight(self, eps: ArrayLike) -> Floats:
        """``log w(eps)``: a binomial tail."""
        levels, log_share = self.level_log_prior()
        total = np.concatenate([[-np.inf], np.logaddexp.accumulate(log_share)])
        result: Floats = total[np.searchsorted(levels, np.asarray(eps, dtype=float), side="right")]
        return result


class BooleanMixture:
    """Random networks and lookup tables in one prior.

    The prior gives `lookup_share` to the uniform law on all tables and the rest to the functions in
    proportion to `counts`. Labels are flipped with probability `flip`; inputs are uniform.

    Parameters
    ----------
    functions : array of shape (H, cells), bool
        Truth tables, such as :func:`unpack` gives.
    counts : array_like of shape (H,)
        Prior weights, any scale.
    flip : float
    lookup_share : float
        In [0, 1). At 0 the class is that of the networks alone, and a truth outside it has no bound.
    symmetries : Symmetries, optional
        The prior gives each function's weight to its images in equal parts; see :func:`literal_symmetries`.

    Raises
    ------
    ValueError
        For shapes that don't fit, weights that aren't positive, or shares outside their range.
    """

    def __init__(
        self,
        functions: ArrayLike,
        counts: ArrayLike,
        flip: float,
        lookup_share: float = 0.5,
        symmetries: Symmetries | None = None,
    ) -> None:
        tables = np.asarray(functions, dtype=bool)
        weights = np.asarray(counts, dtype=float)
        if tables.ndim != 2 or weights.shape != (len(tables),):
            raise ValueError(
                f"functions (H, cells) and counts (H,) don't fit: {tables.shape}, {weights.shape}"
            )
        if not (np.isfinite(weights).all() and (weights > 0).all()):
            raise ValueError("counts must be positive: leave out functions that were never drawn")
        if not 0 <= lookup_share < 1:
            raise ValueError(f"lookup_share must lie in [0, 1), got {lookup_share}")
        self.functions, self.lookup_share = tables, float(lookup_share)
        self.log_prior = np.log(weights / weights.sum())
        self.tables = LookupTableMixture(tables.shape[1], flip)
        self.flip = self.tables.flip
        same = Symmetries(np.arange(tables.shape[1])[None], np.zeros(1, dtype=bool))
        self.symmetries = same if symmetries is None else symmetries
        _check_cells(self.symmetries.cells, tables.shape[1])
        self._signs = tables.astype(np.float32)

    @property
    def n_cells(self) -> int:
        """Number of inputs."""
        return self.functions.shape[1]

    # -- bounds ------------------------------------------------------------------------------------------------

    def levels(self, target: ArrayLike) -> tuple[Floats, Floats]:
        """The whole prior by divergence from the target: levels j kl / cells (cells + 1,) and their log prior.

        Two functions that differ in j cells have divergence j kl / cells, nats per sample.
        """
        truth = np.asarray(target, dtype=bool)
        _check_cells(truth, self.n_cells)
        levels, table_share = self.tables.level_log_prior()
        images = truth[self.symmetries.cells] ^ self.symmetries.negated[:, None]
        differing = self._signs @ (1 - 2 * images.T.astype(np.float32)) + images.sum(1).astype(np.float32)
        weights = np.repeat(np.exp(self.log_prior) / len(images), len(images))
        mass = np.bincount(np.rint(differing).astype(int).ravel(), weights=weights, minlength=len(levels))
        with np.errstate(divide="ignore"):
            networks = np.log(mass) + np.log1p(-self.lookup_share)
            tables = table_share + np.log(self.lookup_share)
        return levels, np.logaddexp(networks, tables)

    def soft_bound(self, target: ArrayLike, n: ArrayLike) -> Floats:
        """``B2(n)`` for that target, nats."""
        return soft_bound(*self.levels(target), n)

    def hard_bound(self, target: ArrayLike, n: ArrayLike) -> HardBound:
        """``B1(n)`` for that target, nats."""
        return hard_bound(*self.levels(target), n)

    def weight_curve(self, target: ArrayLike) -> tuple[Floats, Floats]:
        """Radii and ``log w`` at each: the curve whose tangents are the hard bound."""
        levels, log_prior = self.levels(target)
        return levels, np.logaddexp.accumulate(log_prior)

    # -- learning ----------------------------------------------------------------------------------------------

    def _errors(self, counts: Counts) -> tuple[NDArray[np.float32], Floats]:
        """Wrong labels of every network function (H, reps), by one matrix product, and sample sizes (reps,)."""
        ones, zeros = np.atleast_2d(counts.ones), np.atleast_2d(counts.zeros)
        _check_cells(ones, self.n_cells)
        errors = self._signs @ (zeros - ones).T.astype(np.float32) + ones.sum(1).astype(np.float32)
        return errors, (ones + zeros).sum(1)

    def log_likelihoods(self, counts: Counts) -> Floats:
        """Log-likelihood of every network function (not of its images), shape (H, reps)."""
        errors, n = self._errors(counts)
        return errors.astype(float) * np.log(self.flip / (1 - self.flip)) + n * np.log1p(-self.flip)

    def _log_evidence(self, counts: Counts) -> Floats:
        """Log prior mean of the likelihood over the network functions, shape (reps,), block by block."""
        errors, n = self._errors(counts)
        least, odds = errors.min(0), np.log((1 - self.flip) / self.flip)
        prior, total = np.exp(self.log_prior), np.zeros(len(least))
        for start in range(0, len(prior), 8192):  # a block stays in the processor's cache
            block = slice(start, start + 8192)
            total += prior[block] @ np.exp((least - errors[block]) * odds)
        result: Floats = np.log(total) - least * odds + n * np.log1p(-self.flip)
        return result

    def _images(self, counts: Counts) -> Iterable[Counts]:
        """The counts as each symmetry shows them to the functions."""
        for cells, negated in zip(*self.symmetries, strict=True):
            ones, zeros = np.atleast_2d(counts.ones)[:, cells], np.atleast_2d(counts.zeros)[:, cells]
            yield Counts(zeros, ones) if negated else Counts(ones, zeros)

    def log_marginals(self, counts: Counts) -> tuple[Floats, Floats]:
        """Log evidence of the network half and of the lookup half, with their prior shares, shape (reps,) each."""
        parts = [self._log_evidence(image) for image in self._images(counts)]
        networks = logsumexp(parts, axis=0) - np.log(len(parts))
        tables = self.tables.log_marginal(Counts(np.atleast_2d(counts.ones), np.atleast_2d(counts.zeros)))
        with np.errstate(divide="ignore"):
            return networks + np.log1p(-self.lookup_share), tables + np.log(self.lookup_share)

    def regret(self, target: ArrayLike, counts: Counts) -> Floats:
        """Realised cumulative regret of the mixture on those data, nats, shape (reps,).

        By the chain rule it needs the data only through `counts`, whatever their order.
        """
        truth = np.asarray(target, dtype=bool)
        ones, zeros = np.atleast_2d(counts.ones), np.atleast_2d(counts.zeros)
        wrong = np.where(truth, zeros, ones).sum(1)
        own = wrong * np.log(self.flip) + ((ones + zeros).sum(1) - wrong) * np.log1p(-self.flip)
        return own - np.logaddexp(*self.log_marginals(counts))

    def lookup_mass(self, counts: Counts) -> Floats:
        """Posterior probability of the lookup half, shape (reps,)."""
        networks, tables = self.log_marginals(counts)
        result: Floats = np.exp(tables - np.logaddexp(networks, tables))
        return result

    def posterior_by_count(self, counts: Counts, drawn: ArrayLike, edges: Sequence[int]) -> Floats:
        """Posterior mass of the networks' functions by how often each was drawn, and of the lookup half.

        Parameters
        ----------
        counts : Counts
        drawn : array_like of shape (H,)
            How often each function was drawn: the commoner, the simpler.
        edges : sequence of int
            Rising; functions are grouped by ``edges[i] <= drawn < edges[i + 1]``.

        Returns
        -------
        array of shape (reps, len(edges))
            One column for each group from the commonest down, then the lookup tables.
        """
        networks, tables = self.log_marginals(counts)
        total = np.logaddexp(networks, tables)
        group, prior = np.digitize(np.asarray(drawn), edges) - 1, np.exp(self.log_prior)
        share = (1 - self.lookup_share) / len(self.symmetries.negated)
        mass = np.zeros((len(total), len(edges) - 1))
        for image in self._images(counts):
            posterior = np.exp(self.log_likelihoods(image) - total) * (prior * share)[:, None]
            mass += np.stack([posterior[group == g].sum(0) for g in range(len(edges) - 1)], axis=1)
        return np.column_stack([mass[:, ::-1], np.exp(tables - total)])


def _check_cells(values: NDArray[Any], n_cells: int) -> None:
    if values.shape[-1:] != (n_cells,):
        raise ValueError(f"the last axis must be the {n_cells} cells, got shape {values.shape}")


def draw_counts(
    target: ArrayLike, flip: float, sizes: Sequence[int], reps: int, rng: np.random.Generator
) -> list[Counts]:
    """Samples from a Boolean truth: uniform inputs, flipped labels, counted after each of the rising `sizes`.

    Returns
    -------
    list of Counts
        One for each size, arrays of shape (reps, cells); later ones contain the earlier samples.
    """
    truth = np.asarray(target, dtype=bool)
    steps = np.diff([0, *sizes])
    if (steps < 0).any():
        raise ValueError(f"sizes must rise, got {list(sizes)}")
    found, total = [], np.zeros((2, reps, len(truth)))
    for step in steps:
        seen = rng.multinomial(step, np.full(len(truth), 1 / len(truth)), size=reps)
        flipped = rng.binomial(seen, flip)
        total = total + np.stack(
            [np.where(truth, seen - flipped, flipped), np.where(truth, flipped, seen - flipped)]
        )
        found.append(Counts(total[0], total[1]))
    return found


def literal_symmetries(k: int) -> Symmetries:
    """The 2k maps "shift the inputs round, negate the output or not".

    A random network's law has no preferred input or label, so a sample of networks may be used in all its
    images: a prior 2k times finer for the same draws.
    """
    bits = (np.arange(2**k)[:, None] >> np.arange(k)) & 1
    shifts = [np.roll(bits, shift, axis=1) @ (1 << np.arange(k)) for shift in range(k)]
    return Symmetries(np.array(shifts * 2), np.repeat([False, True], k))


def named_targets(k: int, rng: np.random.Generator) -> dict[str, Bools]:
    """Six truths from simple to complex: constant, one input, two inputs, majority, parity, a random table."""
    on = boolean_inputs(k) > 0
    return {
        "constant": np.ones(2**k, dtype=bool),
        "x1": on[:, 0],
        "x1 and x2": on[:, 0] & on[:, 1],
        "majority": on.sum(1) * 2 > k,
        "parity": on.sum(1) % 2 == 1,
        "random": rng.random(2**k) < 0.5,
    }
