"""Families whose normalising constant is out of reach: draws from Gibbs chains stand in for it (engine 3)."""

from __future__ import annotations

from abc import abstractmethod
from itertools import combinations, product

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import eval_legendre, expit, roots_legendre

from loglik.information.pn_criterion.base import ExponentialFamily, FitResult, Floats
from loglik.information.pn_criterion.expansion import tilt
from loglik.information.pn_criterion.finite import FiniteFamily

CHAINS = 1000
BURN_IN = 20
SWEEPS = 20


class GibbsFamily(ExponentialFamily):
    """A family that can update one coordinate given the others, on many chains at once."""

    @abstractmethod
    def sweep(self, theta: Floats, x: Floats, rng: np.random.Generator) -> Floats:
        """One Gibbs sweep over the coordinates of every chain; `x` has shape (chains, d)."""

    @abstractmethod
    def scatter(self, chains: int, rng: np.random.Generator) -> Floats:
        """Starting points, shape (chains, d)."""

    def draws(
        self,
        theta: ArrayLike,
        rng: np.random.Generator,
        *,
        chains: int = CHAINS,
        sweeps: int = SWEEPS,
        burn_in: int = BURN_IN,
        x: Floats | None = None,
    ) -> tuple[Floats, Floats]:
        """Statistics of `chains` × `sweeps` draws, chain by chain, and the chains' last states.

        Parameters
        ----------
        theta : array_like of shape (p,)
        chains, sweeps, burn_in : int
        x : ndarray of shape (chains, d), optional
            Where the chains go on; scattered afresh by default.
        """
        parameter = np.asarray(theta, dtype=float)
        state = self.scatter(chains, rng) if x is None else x
        for _ in range(burn_in):
            state = self.sweep(parameter, state, rng)
        kept = np.empty((len(state), sweeps, self.p))
        for at in range(sweeps):
            state = self.sweep(parameter, state, rng)
            kept[:, at] = self.suff_stat(state)
        return kept.reshape(-1, self.p), state

    def sample(self, theta: ArrayLike, n: int, rng: np.random.Generator) -> Floats:
        """`n` nearly independent draws: the last states of as many chains."""
        return self.draws(theta, rng, chains=n, sweeps=1, burn_in=3 * BURN_IN)[1]

    def fit(
        self,
        eta: ArrayLike,
        theta0: ArrayLike | None = None,
        tol: float = 1e-10,
        max_iter: int = 100,
        *,
        rng: np.random.Generator | None = None,
        chains: int = CHAINS,
        sweeps: int = SWEEPS,
    ) -> FitResult:
        """Monte-Carlo maximum likelihood: Newton steps whose moments come from chains that go on running.

        The last step tilts the last draws until their mean is η exactly (Geyer), so the error left is that of those
        draws; `tol` is not reached and plays no part.

        Raises
        ------
        ValueError
            Without a generator, or for a wrong shape.
        """
        if rng is None:
            raise ValueError(f"{type(self).__name__}.fit needs rng, a numpy.random.Generator")
        mean = self._checked(eta)
        theta = np.zeros(self.p) if theta0 is None else np.asarray(theta0, dtype=float).copy()
        x: Floats | None = None
        for _ in range(max_iter):
            stats, x = self.draws(theta, rng, chains=chains, sweeps=sweeps, burn_in=BURN_IN, x=x)
            gap, spread = mean - stats.mean(0), np.cov(stats.T, bias=True).reshape(self.p, self.p)
            spread = spread + 1e-9 * np.trace(spread) / self.p * np.eye(self.p)
            step = np.linalg.solve(spread, gap)
            length = float(np.sqrt(max(gap @ step, 0.0)))
            if length < 0.3:
                theta = theta + self._last_step(stats, mean)
                return FitResult(theta, True, False)
            theta = theta + step * min(1.0, 1.0 / length)
            if not np.abs(theta).max() < 1e3:
                return FitResult(theta, False, True)
        return FitResult(theta, False, False)

    @staticmethod
    def _last_step(stats: Floats, mean: Floats) -> Floats:
        weights = tilt(stats - mean, np.full(len(stats), 1 / len(stats)))
        # the tilt's θ from its weights: log w is affine in ξ
        centred = stats - stats.mean(0)
        logs = np.log(weights)
        solution: Floats = np.linalg.lstsq(centred, logs - logs.mean(), rcond=None)[0]
        return solution


class IsingFamily(GibbsFamily):
    """Binary variables with main effects and all pairwise products (p = k(k+1)/2), fitted without the constant.

    Parameters
    ----------
    k : int
        Variables with values 0 and 1, at least 2.
    """

    def __init__(self, k: int) -> None:
        if k < 2:
            raise ValueError(f"IsingFamily needs k >= 2 variables, got {k}")
        self.k = k
        self.rows, self.columns = np.array(list(combinations(range(k), 2))).T
        self.p = k + len(self.rows)

    def suff_stat(self, x: ArrayLike) -> Floats:
        """Values and pairwise products, shape (N, p)."""
        values = np.asarray(x, dtype=float)
        if values.ndim != 2 or values.shape[1] != self.k or not np.isin(values, (0, 1)).all():
            raise ValueError(
                f"IsingFamily({self.k}) takes rows of {self.k} zeros and ones, got {values.shape}"
            )
        return np.concatenate([values, values[:, self.rows] * values[:, self.columns]], axis=1)

    def scatter(self, chains: int, rng: np.random.Generator) -> Floats:
        """Fair coins."""
        return rng.integers(0, 2, (chains, self.k)).astype(float)

    def sweep(self, theta: Floats, x: Floats, rng: np.random.Generator) -> Floats:
        """Each variable from its logistic conditional."""
        coupling = np.zeros((self.k, self.k))
        coupling[self.rows, self.columns] = coupling[self.columns, self.rows] = theta[self.k :]
        uniform = rng.random(x.shape)
        x = x.copy()
        for i in range(self.k):
            x[:, i] = uniform[:, i] < expit(theta[i] + x @ coupling[:, i])
        return x

    def names(self) -> tuple[str, ...]:
        """x1, …, then the products."""
        single = [f"x{i}" for i in range(self.k)]
        return (*single, *(f"x{i}*x{j}" for i, j in zip(self.rows, self.columns, strict=True)))

    def enumerate(self) -> FiniteFamily:
        """The same family with all 2^k states written out, to check the chains against."""
        if self.k > 16:
            raise ValueError(f"2^{self.k} states are too many to write out")
        return FiniteFamily(self.suff_stat(np.array(list(product((0.0, 1.0), repeat=self.k)))))


class BoxPolynomial(GibbsFamily):
    """Densities exp(polynomial) on the unit cube: products of shifted Legendre polynomials up to a total degree.

    Parameters
    ----------
    d : int
        Variables, each between 0 and 1.
    degree : int
        Largest total degree; p = C(d + degree, d) − 1.
    grid : int
        Cells on which a conditional density is taken as constant.
    """

    def __init__(self, d: int, degree: int, grid: int = 128) -> None:
        if d < 1 or degree < 1:
            raise ValueError(f"BoxPolynomial needs d >= 1 and degree >= 1, got {d} and {degree}")
        self.d, self.degree, self.grid = d, degree, grid
        powers = [a for a in product(range(degree + 1), repeat=d) if 1 <= sum(a) <= degree]
        self.powers = np.array(sorted(powers, key=lambda a: (sum(a), a)))
        self.p = len(self.powers)
        centres = (np.arange(grid) + 0.5) / grid
        self._on_grid = self._legendre(centres)  # (grid, degree + 1)

    def _legendre(self, x: Floats) -> Floats:
        orders = np.arange(self.degree + 1)
        return eval_legendre(orders, 2 * x[..., None] - 1) * np.sqrt(2 * orders + 1)

    def suff_stat(self, x: ArrayLike) -> Floats:
        """Products of orthonormal Legendre polynomials, shape (N, p)."""
        values = np.asarray(x, dtype=float)
        values = values[:, None] if values.ndim == 1 else values
        if values.ndim != 2 or values.shape[1] != self.d or not ((values >= 0) & (values <= 1)).all():
            raise ValueError(f"BoxPolynomial({self.d}) takes rows of {self.d} numbers in [0, 1]")
        basis = self._legendre(values)
        return np.prod([basis[:, i, self.powers[:, i]] for i in range(self.d)], axis=0)

    def scatter(self, chains: int, rng: np.random.Generator) -> Floats:
        """Uniform points."""
        return rng.random((chains, self.d))

    def sweep(self, theta: Floats, x: Floats, rng: np.random.Generator) -> Floats:
        """Each variable by inverting the distribution function of its conditional on the grid."""
        x = x.copy()
        basis = self._legendre(x)  # (chains, d, degree + 1)
        for i in range(self.d):
            others = np.prod(
                [basis[:, j, self.powers[:, j]] for j in range(self.d) if j != i]
                or [np.ones((len(x), self.p))],
                axis=0,
            )
            coefficients = (others * theta) @ (self.powers[:, i][:, None] == np.arange(self.degree + 1))
            energy = coefficients @ self._on_grid.T
            mass = np.exp(energy - energy.max(1, keepdims=True)).cumsum(1)
            level = rng.random(len(x)) * mass[:, -1]
            cell = np.minimum((mass < level[:, None]).sum(1), self.grid - 1)
            x[:, i] = (cell + rng.random(len(x))) / self.grid
            basis[:, i] = self._legendre(x[:, i])
        return x

    def on_grid(self, nodes: int = 24) -> FiniteFamily:
        """The same family on Gauss–Legendre nodes, practically exact for d ≤ 3, to check the chains against."""
        if nodes**self.d > 100_000:
            raise ValueError(f"{nodes}^{self.d} nodes are too many")
        points, weights = roots_legendre(nodes)
        grid = np.array(list(product((points + 1) / 2, repeat=self.d)))
        mass = np.array(list(product(weights / 2, repeat=self.d))).prod(1)
        return FiniteFamily(self.suff_stat(grid), np.log(mass))
