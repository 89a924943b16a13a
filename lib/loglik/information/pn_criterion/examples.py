"""Small examples of the method notebook."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import special, stats

from loglik.information.pn_criterion.base import ExponentialFamily, Floats

WEIGHTS, SHAPES, SCALES = np.array([0.7, 0.3]), np.array([3.0, 12.0]), np.array([0.6, 0.5])
TRUTHS = {"normal": np.inf, "t, 9 degrees of freedom": 9.0, "t, 5 degrees of freedom": 5.0}
EXCESS = 1.25  # true risk over tolerated risk


class VonMises(ExponentialFamily):
    """Directions: angles x with density proportional to exp(θ₁ cos x + θ₂ sin x)."""

    p = 2

    def suff_stat(self, x: ArrayLike) -> Floats:
        """Cosine and sine."""
        angles = np.asarray(x, dtype=float)
        return np.column_stack([np.cos(angles), np.sin(angles)])

    def log_partition(self, theta: Any) -> Any:
        """Log of a sum over 400 equally spaced angles, which for a periodic density is exact."""
        angles = jnp.linspace(0.0, 2 * jnp.pi, 401)[:-1]
        return jax.scipy.special.logsumexp(theta[0] * jnp.cos(angles) + theta[1] * jnp.sin(angles))


def projection_curves(
    ns: Sequence[int], fits: int, rng: np.random.Generator
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Normal fits to samples of a gamma mixture: (n, sample, x, density) and (x, truth, projection)."""
    x = np.linspace(-3, 13, 161)
    truth = (WEIGHTS * stats.gamma.pdf(x[:, None], SHAPES, scale=SCALES)).sum(1)
    means, variances = SHAPES * SCALES, SHAPES * SCALES**2
    mean = float(WEIGHTS @ means)
    sd = float(np.sqrt(WEIGHTS @ (variances + means**2) - mean**2))
    rows = []
    for n in ns:
        which = rng.choice(2, (fits, n), p=WEIGHTS)
        samples = rng.gamma(SHAPES[which], SCALES[which])
        density = stats.norm.pdf(x, samples.mean(1)[:, None], samples.std(1)[:, None])
        rows += [pd.DataFrame({"n": n, "sample": i, "x": x, "density": d}) for i, d in enumerate(density)]
    panels = pd.DataFrame({"x": x, "truth": truth, "projection": stats.norm.pdf(x, mean, sd)})
    return pd.concat(rows, ignore_index=True), panels


@lru_cache(maxsize=1)
def _standard_cumulants() -> tuple[Floats, Floats, Floats]:
    """Whitening matrix, and third and fourth cumulants of the whitened statistics of N(0, 1)."""
    z, weights = special.roots_hermitenorm(7)
    weights = weights / weights.sum()
    root = np.diag([1.0, 1 / np.sqrt(2)])
    y = np.column_stack([z, z**2 - 1]) @ root
    t = np.einsum("n,na,nb,nc->abc", weights, y, y, y)
    moment = np.einsum("n,na,nb,nc,nd->abcd", weights, y, y, y, y)
    one = np.eye(2)
    pairings = [np.einsum(f"{p[:2]},{p[2:]}->abcd", one, one) for p in ("abcd", "acbd", "adbc")]
    return root, t, moment - sum(pairings)


def standardised_normal(x: Floats) -> tuple[Floats, Floats]:
    """A₁ and A₂ of the univariate normal model for every row of `x` (samples, n), moments taken from the row.

    After standardisation the projection is N(0, 1) for every sample, so the model's cumulants are constants; only the
    truth's moments v and k vary.
    """
    root, t, q = _standard_cumulants()
    z = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    y = np.stack([z, z**2 - 1], axis=2) @ root.T
    v = np.einsum("sna,snb->sab", y, y) / x.shape[1]
    k = np.einsum("sna,snb,snc->sabc", y, y, y, optimize=True) / x.shape[1]
    tv = np.einsum("abe,sab->se", t, v)
    m = np.einsum("abe,cde,sac,sbd->s", t, t, v, v, optimize=True)
    fourth = np.einsum("abcd,sab,scd->s", q, v, v, optimize=True)
    C3, C4 = -np.einsum("abc,sabc->s", t, k), (tv**2).sum(1) + 2 * m - fourth
    return np.einsum("saa->s", v) / 2, C3 / 3 + 3 * C4 / 8


def heavy_tails(
    ns: Sequence[int],
    samples: int,
    rng: np.random.Generator,
    *,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> pd.DataFrame:
    """Mistaken acceptances of the normal model where the true leading risk is 1.25 times the tolerated one.

    Returns
    -------
    DataFrame
        truth, n, share (0 or 1), one row a sample.
    """
    rows = []
    for truth, n in progress([(truth, n) for truth in TRUTHS for n in ns]):
        freedom = TRUTHS[truth]
        x = rng.normal(size=(samples, n)) if np.isinf(freedom) else rng.standard_t(freedom, (samples, n))
        kurtosis = 3.0 if np.isinf(freedom) else 3 + 6 / (freedom - 4)
        tolerated = (1 + (kurtosis - 1) / 2) / 2 / n / EXCESS
        A1, A2 = standardised_normal(x)
        accepted = A1 / n + A2 / n**2 <= tolerated
        rows.append(pd.DataFrame({"truth": truth, "n": n, "share": accepted.astype(float)}))
    return pd.concat(rows, ignore_index=True)
