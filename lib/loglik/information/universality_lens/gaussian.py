"""Testbed B: linear regression with more features than samples; regret, bounds and weights without sampling."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.special import erfcx, log_ndtr

from loglik.information.universality_lens.checks import (
    Floats,
    check_positive,
    check_sizes,
    check_vector,
)
from loglik.information.universality_lens.weights import HardBound, hard_from_curve


class LinearGaussianMixture:
    """Mixture over linear models ``y = x'theta + noise`` with a Gaussian prior on theta.

    Features are independent ``N(0, lam_j)``, noise is ``N(0, sigma2)``, the prior ``N(0, tau2 I)``. The
    divergence of a model from the truth is ``D = sum_j lam_j (theta_j - theta0_j)^2 / (2 sigma2)``.

    Parameters
    ----------
    lam : array_like of shape (d,)
        Variances of the features.
    tau2, sigma2 : float
        Variance of the prior and of the noise.

    Raises
    ------
    ValueError
        For variances that aren't positive.
    """

    def __init__(self, lam: ArrayLike, tau2: float = 1.0, sigma2: float = 1.0) -> None:
        self.lam = np.asarray(lam, dtype=float)
        if self.lam.ndim != 1 or not (np.isfinite(self.lam).all() and (self.lam > 0).all()):
            raise ValueError(
                f"lam must be a vector of positive feature variances, got shape {self.lam.shape}"
            )
        self.tau2 = check_positive(tau2, "tau2", "a variance")
        self.sigma2 = check_positive(sigma2, "sigma2", "a variance")

    @property
    def dim(self) -> int:
        """Number of parameters d."""
        return len(self.lam)

    # -- regret ----------------------------------------------------------------------------------------------

    def _design(self, X: ArrayLike) -> Floats:
        design = np.asarray(X, dtype=float)
        if design.ndim != 2 or design.shape[1] != self.dim or not np.isfinite(design).all():
            raise ValueError(f"X must have shape (n, {self.dim}) and be finite, got shape {design.shape}")
        return design

    def regret(self, theta0: ArrayLike, X: ArrayLike) -> float:
        """Cumulative regret ``n R_o`` in nats, given the design; O(n d min(n, d)).

        It is the divergence from ``N(X theta0, sigma2 I)`` to the mixture ``N(0, sigma2 I + tau2 X X')``,
        computed in n or in d dimensions, whichever is fewer.

        Parameters
        ----------
        theta0 : array_like of shape (d,)
        X : array_like of shape (n, d)
        """
        design = self._design(X)
        mean = design @ check_vector(theta0, "theta0", self.dim)
        n, d = design.shape
        gram = design @ design.T if n <= d else design.T @ design
        grown = np.eye(len(gram)) + self.tau2 / self.sigma2 * gram
        factor = cho_factor(grown, lower=True)
        log_det = 2 * np.log(np.diag(factor[0])).sum()
        lost = np.trace(cho_solve(factor, np.eye(len(gram)))) - len(gram)
        if n <= d:
            fit = mean @ cho_solve(factor, mean)
        else:
            moment = design.T @ mean
            fit = mean @ mean - self.tau2 / self.sigma2 * moment @ cho_solve(factor, moment)
        return float(log_det + lost + fit / self.sigma2) / 2

    def regrets(self, theta0: ArrayLike, X: ArrayLike) -> Floats:
        """Regret of each sample given those before it, shape (n,), from the Cholesky factor.

        Its cumulative sum is the online regret at every n at once.
        """
        design = self._design(X)
        mean = design @ check_vector(theta0, "theta0", self.dim)
        low = np.linalg.cholesky(self.sigma2 * np.eye(len(mean)) + self.tau2 * design @ design.T)
        inverse = solve_triangular(low, np.eye(len(mean)), lower=True)
        error = (inverse @ mean) ** 2 + self.sigma2 * (inverse**2).sum(1)
        result: Floats = np.log(np.diag(low)) - np.log(self.sigma2) / 2 + (error - 1) / 2
        return result

    # -- bounds ------------------------------------------------------------------------------------------------

    def _spectrum(self, theta0: ArrayLike) -> tuple[Floats, Floats]:
        """D = sum_j s_j (z_j + m_j)^2 / 2 with z standard normal: (s, m^2)."""
        theta = check_vector(theta0, "theta0", self.dim)
        return self.lam * self.tau2 / self.sigma2, theta**2 / self.tau2

    def soft_bound(self, theta0: ArrayLike, n: ArrayLike) -> Floats:
        """``B2(n)`` in closed form, nats."""
        s, m2 = self._spectrum(theta0)
        grown = 1 + check_sizes(n)[..., None] * s
        result: Floats = (np.log(grown) + (grown - 1) * m2 / grown).sum(-1) / 2
        return result

    def energy(self, theta0: ArrayLike, beta: ArrayLike) -> Floats:
        """``E[D]`` under the tempered law ``w exp(-beta D)``, the slope of the soft bound at beta."""
        s, m2 = self._spectrum(theta0)
        grown = 1 + check_sizes(beta, "beta")[..., None] * s
        result: Floats = (s / grown + s * m2 / grown**2).sum(-1) / 2
        return result

    def _cumulants(self, theta0: ArrayLike, beta: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """K(beta) = log E exp(-beta D) with its first three derivatives in -beta."""
        s, m2 = self._spectrum(theta0)
        g = 1 + beta[..., None] * s
        k0 = -(np.log(g) + (g - 1) * m2 / g).sum(-1) / 2
        k1 = (s / g + s * m2 / g**2).sum(-1) / 2
        k2 = (s**2 / g**2 + 2 * s**2 * m2 / g**3).sum(-1) / 2
        k3 = (2 * s**3 / g**3 + 6 * s**3 * m2 / g**4).sum(-1) / 2
        return k0, k1, k2, k3

    def _saddlepoint(self, theta0: ArrayLike, beta: Floats) -> tuple[Floats, Floats]:
        """Radii eps = E_beta[D] and the Lugannani-Rice approximation of log w there.

        With r = sign(-beta) sqrt(2 (K* )) and u = -beta sqrt(K''), P(D <= eps) = Phi(r) + phi(r) (1/r - 1/u);
        Phi(r)/phi(r) comes from the scaled complementary error function, so nothing underflows.
        """
        k0, eps, k2, k3 = self._cumulants(theta0, beta)
        u = -beta * np.sqrt(k2)
        r = np.sign(-beta) * np.sqrt(np.maximum(-2 * (beta * eps + k0), 0))
        small = np.abs(u) < 1e-3  # where 1/r - 1/u cancels, its limit is skewness/6
        safe = np.where(small, 1.0, r), np.where(small, 1.0, u)
        bracket = np.where(small, k3 / (6 * k2**1.5), 1 / safe[0] - 1 / safe[1])
        lower = np.sqrt(np.pi / 2) * erfcx(-np.minimum(r, 0) / np.sqrt(2)) + bracket  # Mills' ratio at r <= 0
        log_phi = -(r**2) / 2 - np.log(2 * np.pi) / 2
        upper = np.exp(log_ndtr(np.maximum(r, 0))) + np.exp(log_phi) * bracket
        with np.errstate(divide="ignore", invalid="ignore"):
            log_w = np.where(r > 0, np.log(np.minimum(upper, 1)), log_phi + np.log(lower))
        return eps, log_w

    def _tilt(self, theta0: ArrayLike, eps: Floats) -> Floats:
        """The beta with E_beta[D] = eps, by bisection on log(1 + beta s_max), for every radius at once."""
        top = float(self._spectrum(theta0)[0].max())
        low, high = np.full(eps.shape, -30.0), np.full(eps.shape, 40.0)
        for _ in range(100):
            middle = (low + high) / 2
            above = self._cumulants(theta0, np.expm1(middle) / top)[1] > eps
            low, high = np.where(above, middle, low), np.where(above, high, middle)
        return np.expm1((low + high) / 2) / top

    def log_weight(
        self,
        theta0: ArrayLike,
        eps: ArrayLike,
        method: str = "saddlepoint",
        rng: np.random.Generator | None = None,
        draws: int = 20_000,
    ) -> Floats:
        """``log w(eps)``, the log prior mass of the models within `eps` of the truth.

        Parameters
        ----------
        theta0 : array_like of shape (d,)
        eps : array_like
            Radii in nats per sample, above 0.
        method : {"saddlepoint", "tilted"}
            Lugannani and Rice's approximation, or Monte Carlo from the tilted prior (unbiased; needs `rng`).
        rng : numpy.random.Generator, optional
        draws : int
            Of the tilted Monte Carlo.

        Raises
        ------
        ValueError
            For radii that aren't positive, or an unknown method.
        """
        radii = np.asarray(eps, dtype=float)
        if not (np.isfinite(radii).all() and (radii > 0).all()):
            raise ValueError("eps must be above 0: a single model has no prior mass of its own")
        beta = self._tilt(theta0, radii)
        if method == "saddlepoint":
            return self._saddlepoint(theta0, beta)[1]
        if method != "tilted" or rng is None:
            raise ValueError(f"method is 'saddlepoint', or 'tilted' with an rng; got {method!r}")
        pairs = zip(radii.ravel(), beta.ravel(), strict=True)
        return np.array([self._tilted(theta0, e, b, rng, draws) for e, b in pairs]).reshape(radii.shape)

    def _tilted(
        self, theta0: ArrayLike, eps: float, beta: float, rng: np.random.Generator, draws: int
    ) -> float:
        s, m2 = self._spectrum(theta0)
        g = 1 + beta * s
        d = np.zeros(draws)
        for part in np.array_split(np.arange(self.dim), max(1, self.dim // 100)):
            z = rng.standard_normal((draws, len(part))) / np.sqrt(g[part]) + np.sqrt(m2[part]) / g[part]
            d += z**2 @ s[part] / 2
        inside = np.exp(np.where(d <= eps, beta * (d - eps), -np.inf)).mean()
        k0 = self._cumulants(theta0, np.array(beta))[0]
        return float(beta * eps + k0 + np.log(inside))

    def hard_bound(self, theta0: ArrayLike, n: ArrayLike) -> HardBound:
        """``B1(n)`` by the saddlepoint, over 800 radii that shrink as fast as the largest n asks for."""
        sizes = check_sizes(n)
        top = float(self._spectrum(theta0)[0].max())
        beta = np.expm1(np.linspace(0.01, np.log1p(1e3 * (1 + sizes.max()) * top), 800)) / top
        eps, log_w = self._saddlepoint(theta0, beta)
        return hard_from_curve(eps, log_w, sizes)
