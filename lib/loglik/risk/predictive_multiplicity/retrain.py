"""What naive re-training finds: models that people do get by fitting again, kept if they compete."""

from __future__ import annotations

import numpy as np

from loglik.risk.predictive_multiplicity.levelset import LevelSet
from loglik.risk.predictive_multiplicity.loss import Floats, Rows, derivatives, losses, safe_length

SCHEMES = ("bootstrap", "subsets", "ridge path")


def refits(level_set: LevelSet, n_models: int, scheme: str, n_rows: int, rng: np.random.Generator) -> Floats:
    """Coefficients (n_models, p) of models fitted again; filter them with :meth:`LevelSet.contains`.

    Parameters
    ----------
    scheme : {"bootstrap", "subsets", "ridge path"}
        Rows drawn with replacement; 80 % of the rows without; or all rows with ridges from 1e-6 to 1 (no randomness).
    n_rows : int
        Rows before equal ones were collapsed: how many there are to draw.

    Raises
    ------
    ValueError
        For an unknown scheme or fewer than one model.
    """
    if scheme not in SCHEMES:
        raise ValueError(f"unknown scheme {scheme!r}; allowed: {', '.join(SCHEMES)}")
    if n_models < 1:
        raise ValueError(f"n_models must be at least 1, got {n_models}")
    rows = level_set.rows
    if scheme == "ridge path":
        penalties = np.geomspace(1e-6, 1.0, n_models)
        return np.array([_refit(rows, level_set.w0, penalty) for penalty in penalties])
    cells = np.concatenate([rows.total - rows.positive, rows.positive])
    if scheme == "bootstrap":
        drawn = rng.multinomial(n_rows, cells / cells.sum(), n_models) / n_rows
    else:
        counts = np.round(cells * n_rows).astype(int)
        kept = round(0.8 * n_rows)
        drawn = rng.multivariate_hypergeometric(counts, kept, n_models, method="marginals") / kept
    u = len(rows.X)
    penalty = max(level_set.ridge, 1e-6)
    return np.array(
        [_refit(rows._replace(total=d[:u] + d[u:], positive=d[u:]), level_set.w0, penalty) for d in drawn]
    )


def _refit(rows: Rows, start: Floats, penalty: float, max_iter: int = 50) -> Floats:
    """One penalised fit from a start; a fit that drifts (a separable draw) stops where it is."""
    w = start[None].copy()
    for _ in range(max_iter):
        at = derivatives(rows, w, penalty)
        step: Floats = -np.linalg.solve(at.hessian, at.gradient[..., None])[..., 0].astype(float)
        w = w + safe_length(rows, step)[:, None] * step
        if -(at.gradient * step).sum() < 1e-12:
            break
    return np.asarray(w[0])


def chance_loss(rows: Rows) -> float:
    """Loss of the model that gives everybody the base rate: the scale on which a tolerance should be read."""
    rate = rows.positive.sum()
    return float(losses(rows, np.concatenate([[np.log(rate / (1 - rate))], np.zeros(rows.p - 1)]))[0])
