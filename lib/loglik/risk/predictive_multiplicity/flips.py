"""Flips: the ways in which competing models move a person by delta, and which of them exclude one another."""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from loglik.risk.predictive_multiplicity.levelset import SLACK, LevelSet
from loglik.risk.predictive_multiplicity.loss import Floats, Ints, derivatives, with_intercept
from loglik.risk.predictive_multiplicity.solver import forced_fits, score_maxima


class Flips(NamedTuple):
    """Every way in which some model of the level set moves a person by delta."""

    A: Floats  # (f, p) directions: the person's row for up, its negative for down
    b: Floats  # (f,) thresholds: flipped where ``A w >= b``
    floor: Floats  # (f,) smallest value of ``A w`` over the level set
    weight: Floats  # (f,) share of the people
    person: Ints  # (f,) which unique person
    models: Floats  # (f, p) for each flip a model that does it, as far as it goes


def find_flips(level_set: LevelSet, people: Floats, weight: Floats, delta: float) -> Flips:
    """Flips that the exact ranges leave, people (m, d) unique."""
    A = with_intercept(people)
    both = np.vstack([-A, A])
    found = score_maxima(level_set.rows, level_set._centre, both, level_set.target)
    p0 = expit(A @ level_set.w0)
    with np.errstate(invalid="ignore", divide="ignore"):
        b = np.concatenate([-logit(p0 - delta + SLACK), logit(p0 + delta - SLACK)])
    m = len(A)
    opposite = np.roll(found.bound, m)
    kept = np.flatnonzero(np.isfinite(b) & (found.bound >= b))
    return Flips(both[kept], b[kept], -opposite[kept], np.tile(weight, 2)[kept], kept % m, found.model[kept])


def conflicts(level_set: LevelSet, flips: Flips) -> tuple[NDArray[np.bool_], Floats]:
    """Pairs of flips (f, f) that no model of the level set makes together, and the pairs' best models (k, p).

    A pair conflicts when the least loss of a model that makes both is proven to lie above T: the equality-constrained
    minimum with both multipliers positive, less the certificate of its residual.
    """
    first, second = np.triu_indices(len(flips.b), 1)
    same = flips.person[first] == flips.person[second]
    clash = np.zeros((len(flips.b), len(flips.b)), dtype=bool)
    clash[first[same], second[same]] = True
    k, j = first[~same], second[~same]
    A, b = np.stack([flips.A[k], flips.A[j]], axis=1), np.column_stack([flips.b[k], flips.b[j]])
    clash[k, j], models = impossible(level_set, A, b)
    return clash | clash.T, models


def impossible(level_set: LevelSet, A: Floats, b: Floats) -> tuple[NDArray[np.bool_], Floats]:
    """Which sets of c flips, A (k, c, p) and b (k, c), are proven impossible though all their subsets are possible."""
    fits = forced_fits(level_set.rows, A, b, level_set.w0, tol=1e-9, max_iter=40)
    bound = _least_losses(level_set, A, b, fits.model, fits.multiplier)
    return (fits.multiplier > 0).all(axis=1) & (bound > level_set.target), fits.model


def triples(level_set: LevelSet, flips: Flips, clash: NDArray[np.bool_], members: Ints) -> list[Ints]:
    """Sets of which at most two flips can happen, cutting off `members` (pairwise possible, together not).

    Impossible triples {a, b, c} among the members; each then grows by flips j that conflict with c (and with one
    another) and are impossible beside a and b.
    """
    possible = np.array(list(combinations(members.tolist(), 3))).reshape(-1, 3)
    if not len(possible):
        return []
    dead, _ = impossible(level_set, flips.A[possible], flips.b[possible])
    bad = possible[dead]
    if not len(bad):
        return []
    order = np.argsort(np.bincount(bad.ravel(), minlength=len(flips.b))[bad].sum(axis=1))[::-1][:40]
    found = []
    for a, b, c in bad[order]:
        others = np.flatnonzero(clash[c] & ~clash[a] & ~clash[b])
        others = others[(others != a) & (others != b)]
        found.append((a, b, c, others))
    trial = np.array([(a, b, j) for a, b, _, others in found for j in others]).reshape(-1, 3)
    dead = impossible(level_set, flips.A[trial], flips.b[trial])[0] if len(trial) else np.zeros(0, bool)
    sets, at = [], 0
    for a, b, c, others in found:
        grown, allowed = [int(a), int(b), int(c)], others[dead[at : at + len(others)]]
        at += len(others)
        for j in allowed:
            if clash[j, grown[2:]].all():
                grown.append(int(j))
        sets.append(np.array(grown))
    return sets


def _least_losses(level_set: LevelSet, A: Floats, b: Floats, W: Floats, nu: Floats) -> Floats:
    """Proven lower bounds (k,) of the loss where ``A w >= b``, from multipliers nu of at least 0."""
    centre, at = level_set._centre, derivatives(level_set.rows, W)
    nu = np.maximum(nu, 0.0)
    residual = at.gradient - (nu[:, None] @ A)[:, 0]
    root = np.linalg.cholesky(centre.hessian)
    size = np.linalg.norm(np.linalg.solve(root, residual.T), axis=0)
    away = np.linalg.norm(root.T @ (W - centre.w).T, axis=0)
    lacking = b - (A @ W[..., None])[..., 0]
    reach = np.where(size > 0, size * (centre.radius + away), 0.0)
    return np.asarray(at.loss + (nu * lacking).sum(axis=1) - reach)


def cliques(clash: NDArray[np.bool_]) -> list[Ints]:
    """Sets of flips of which at most one can happen, covering every conflicting pair; grown greedily."""
    open_pairs, found = np.triu(clash), []
    degree = clash.sum(axis=0)
    while open_pairs.any():
        k, j = np.unravel_index(np.argmax(open_pairs * (degree[:, None] + degree)), clash.shape)
        members = [int(k), int(j)]
        common = clash[k] & clash[j]
        while common.any():
            best = int(np.argmax(common * (1 + (open_pairs[members] | open_pairs[:, members].T).sum(axis=0))))
            members.append(best)
            common = common & clash[best]
        block = np.ix_(members, members)
        open_pairs[block] = False
        found.append(np.array(sorted(members)))
    return found
