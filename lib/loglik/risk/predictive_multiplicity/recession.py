"""Directions in which a level set has no end: separable classes, or columns that say the same.

Where a direction u raises no row's loss (``y x'u >= 0`` for all rows), models may move along it for ever. A score that
grows on the way has no maximum, so its risk reaches 1 (or 0) in the limit. Linear programs decide this exactly; no
threshold on the size of coefficients is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import null_space
from scipy.optimize import linprog

from loglik.risk.predictive_multiplicity.loss import Floats, Rows

Bools = NDArray[np.bool_]


class Escape(NamedTuple):
    """What happens to the score ``a'w`` along the level set's endless directions."""

    unbounded: bool  # whether the score grows without end
    kept: Bools  # (u, 2) rows (negative, positive part) whose loss does not vanish on the way


@dataclass(frozen=True)
class Recession:
    """The endless directions of a level set: ``u = basis c`` with ``left @ c >= 0``."""

    basis: Floats  # (p, q) spans the directions that leave the other rows' scores alone
    left: Floats  # (k, q) signed rows whose loss can vanish, in that basis
    has: Bools  # (u, 2) which parts (negative, positive) rows have
    vanishing: Bools  # (u, 2) which parts can vanish
    direction: Floats  # (p,) one direction in which all of them do

    def escape(self, a: Floats) -> Escape:
        """Follow ``a'w`` along endless directions: a linear program in q + k + 1 unknowns.

        It maximises ``a'u`` and the number of rows that a direction with ``a'u >= 0`` leaves behind, each capped at 1.
        All solutions put every cap at 0 or 1, because endless directions can be scaled.
        """
        _, caught, gain = _most(self.left, a @ self.basis)
        kept = self.has.copy()
        kept[self.vanishing] = ~caught
        return Escape(gain, kept)


def _most(left: Floats, goal: Floats) -> tuple[Floats, Bools, bool]:
    """Coordinates c with ``left @ c >= 0`` and ``goal @ c >= 0`` that make as many of them positive as can be."""
    k, q = left.shape
    scale = max(float(np.abs(goal).max(initial=0.0)), 1e-300)
    goal = np.zeros(q) if scale < 1e-9 else goal / scale
    upper = np.block([[-left, np.eye(k), np.zeros((k, 1))], [-goal[None], np.zeros((1, k)), np.ones((1, 1))]])
    cost = np.concatenate([np.zeros(q), -np.ones(k), [-float(k + 1)]])
    bounds = [(None, None)] * q + [(0, 1)] * (k + 1)
    found = linprog(cost, A_ub=upper, b_ub=np.zeros(k + 1), bounds=bounds, method="highs")
    if not found.success:
        raise RuntimeError(f"the linear program on endless directions failed: {found.message}")
    return found.x[:q], found.x[q : q + k] > 0.5, bool(found.x[-1] > 0.5)


def recession(rows: Rows) -> Recession | None:
    """The endless directions, or None where the level set is bounded.

    One linear program over all rows (Konis 2007), then everything happens in the few dimensions that are endless.
    """
    has = np.column_stack([rows.total - rows.positive > 1e-15, rows.positive > 1e-15])
    signed = np.concatenate([-rows.X[has[:, 0]], rows.X[has[:, 1]]])
    u, caught, _ = _most(signed, np.zeros(rows.p))
    others = signed[~caught]
    basis = null_space(others, rcond=1e-10) if len(others) else np.eye(rows.p)
    if not basis.shape[1]:
        return None
    vanishing = np.zeros_like(has)
    negatives = int(has[:, 0].sum())
    vanishing[has[:, 0], 0], vanishing[has[:, 1], 1] = caught[:negatives], caught[negatives:]
    # boolean indexing reads (u, 2) row by row, so the signed rows are put in that order
    signs = np.stack([-rows.X, rows.X], axis=1)
    return Recession(basis, signs[vanishing] @ basis, has, vanishing, u)
