"""The mixture's experiments: pretraining against five supervised methods, and its costs one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from loglik.information.unsupervised_pretraining.checks import Floats, Ints
from loglik.information.unsupervised_pretraining.em import (
    cluster_logits,
    fit_mixture,
    responsibilities,
    spread_starts,
)
from loglik.information.unsupervised_pretraining.informative import match_centers
from loglik.information.unsupervised_pretraining.linear import fit_logistic
from loglik.information.unsupervised_pretraining.mixture import border_draws

PRETRAINED, ORACLE, JOINT = "pretrained", "true centres", "joint ERM"
MDA, GENERATIVE, LOGISTIC = "mixture discriminant", "generative EM", "logistic, L2"
SUPERVISED = (JOINT, MDA, GENERATIVE, LOGISTIC)
BLOCK = 3_000_000  # responsibilities that are held at once
PENALTIES = (0.01, 0.1, 1.0)  # of logistic regression; the best in hindsight


class Mixture(NamedTuple):
    """A mixture with binary labels, and weighted rows on which excess risks are computed."""

    centers: Floats  # (K, d)
    labels: Ints  # (K,)
    rho: float
    X: Floats  # (rows, d) from the mixture and from around its borders
    weight: Floats  # (rows,) density over proposal
    stake: Floats  # (rows,) weight times |2η−1|: what a wrong decision costs
    right: Any  # (rows,) the best decision

    def excess(self, decisions: Any) -> Floats:
        """Excess 0–1 risk of decisions (..., rows)."""
        return np.asarray((decisions != self.right) @ self.stake / len(self.stake))


def make_mixture(
    d: int, K: int, scale: float, rho: float, rng: np.random.Generator, rows: int = 40_000
) -> Mixture:
    """Centres N(0, scale² I), half of the clusters labelled 1."""
    centers = scale * rng.normal(size=(K, d))
    labels = rng.permutation(np.arange(K) % 2)
    X, weight = border_draws(centers, labels, rows, rng)
    eta = labels @ responsibilities(cluster_logits(X, centers))[0]
    stake = weight * (1 - 2 * rho) * np.abs(2 * eta - 1)
    return Mixture(centers, labels, rho, X, weight, stake, eta > 0.5)


def draw_rows(mixture: Mixture, reps: int, rows: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """X (reps, rows, d) and flipped labels y (reps, rows)."""
    K, d = mixture.centers.shape
    z = rng.integers(K, size=(reps, rows))
    flips = rng.random((reps, rows)) < mixture.rho
    return mixture.centers[z] + rng.normal(size=(reps, rows, d)), (mixture.labels[z] ^ flips).astype(float)


def pretrain(mixture: Mixture, m: int, reps: int, starts: int, rng: np.random.Generator) -> Floats:
    """Centres (reps, K, d) that EM finds on m fresh rows each, a few data sets at a time."""
    K = len(mixture.labels)
    block = max(1, min(reps, BLOCK // (m * starts * K)))
    found = []
    for start in range(0, reps, block):
        X, _ = draw_rows(mixture, min(block, reps - start), m, rng)
        found.append(fit_mixture(X, spread_starts(X, K, starts, rng)).centers)
    return np.concatenate(found)


def majority(centers: Floats, X: Floats, y: Floats, rng: np.random.Generator) -> Floats:
    """Label (reps, K) of each cluster by majority of its hard-assigned rows; ties and empty ones at random."""
    logits = cluster_logits(X, centers)
    own = logits.argmax(-2)[:, None] == np.arange(centers.shape[-2])[:, None]
    votes = (own * (2 * y - 1)[:, None]).sum(-1)
    coin = rng.integers(2, size=votes.shape)
    return np.where(votes == 0, coin, votes > 0).astype(float)


def decide(mixture: Mixture, centers: Floats, names: Floats) -> Floats:
    """Excess (..., reps) of 1{Σ P̂(k|x)ψ̂(k) > 1/2}, for centres (reps, K, d) and ψ̂ (..., reps, K)."""
    found = []
    for rep, u in enumerate(centers):  # one data set at a time: memory
        r = responsibilities(cluster_logits(mixture.X, u))[0]
        found.append(mixture.excess(names[..., rep, :] @ r > 0.5))
    return np.stack(found, axis=-1)


# -- baselines -------------------------------------------------------------------------------------------------


def discriminant(mixture: Mixture, X: Floats, y: Floats, rng: np.random.Generator) -> Floats:
    """Mixture discriminant analysis: EM with K/2 clusters in each class, classes weighted by frequency."""
    K = len(mixture.labels)
    levels = []
    for label in (0, 1):
        mask = (y == label).astype(float)
        fit = fit_mixture(X, spread_starts(X, K // 2, 3, rng, mask), weights=mask)
        top = np.stack([responsibilities(cluster_logits(mixture.X, u))[1] for u in fit.centers])
        levels.append(top + np.log(np.maximum(mask.mean(1), 1e-12))[:, None])
    return mixture.excess(levels[1] > levels[0])


def generative(mixture: Mixture, X: Floats, y: Floats, rng: np.random.Generator) -> Floats:
    """Maximum likelihood of (x, y) on the labelled rows: EM in which labels help to find the clusters."""
    fit = fit_mixture(X, spread_starts(X, len(mixture.labels), 3, rng), labels=y)
    assert fit.label_share is not None
    return decide(mixture, fit.centers, fit.label_share)


def joint(mixture: Mixture, X: Floats, y: Floats, rng: np.random.Generator, steps: int) -> Floats:
    """The theorem's baseline: joint empirical risk minimisation over centres and labels, three restarts."""
    import torch

    from loglik.information.unsupervised_pretraining.networks import joint_erm

    generator = torch.Generator().manual_seed(int(rng.integers(2**31 - 1)))
    starts = spread_starts(X, len(mixture.labels), 3, rng)
    return decide(mixture, *joint_erm(X, y, starts, generator, steps=steps))


def logistic(mixture: Mixture, X: Floats, y: Floats) -> Floats:
    """L2-penalised logistic regression with intercept; the penalty is the best in hindsight."""
    rows = np.concatenate([X, np.ones((*X.shape[:2], 1))], axis=-1)
    test = np.column_stack([mixture.X, np.ones(len(mixture.X))])
    risks = [mixture.excess(fit_logistic(rows, y, penalty) @ test.T > 0) for penalty in PENALTIES]
    return min(risks, key=lambda e: float(e.mean()))


# -- studies ---------------------------------------------------------------------------------------------------


def _tidy(excess: Floats, **columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"rep": np.arange(len(excess)), **columns, "excess": excess})


def risk_grid(
    mixture: Mixture,
    ms: Sequence[int],
    ns: Sequence[int],
    reps: int,
    rng: np.random.Generator,
    *,
    starts: int = 3,
    steps: int = 200,
    baselines: bool = True,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> pd.DataFrame:
    """Excess 0–1 risk by rep, m (0 for supervised methods), n and method.

    The same labelled rows serve all methods and all m. `steps` are those of joint ERM; with
    `baselines=False` only pretraining and the oracle are run.
    """
    K = len(mixture.labels)
    labelled = {n: draw_rows(mixture, reps, n, rng) for n in ns}
    tables = []
    for m in progress([0, *ms]):
        if m:
            centers = pretrain(mixture, m, reps, starts, rng)
        else:
            centers = np.broadcast_to(mixture.centers, (reps, K, mixture.centers.shape[1]))
        names = {n: majority(centers, X, y, rng) for n, (X, y) in labelled.items()}
        risks = decide(mixture, centers, np.stack(list(names.values())))
        method = PRETRAINED if m else ORACLE
        tables += [_tidy(risk, m=m, n=n, method=method) for n, risk in zip(ns, risks, strict=True)]
    for n, (X, y) in progress(labelled.items()) if baselines else ():
        found = {
            MDA: discriminant(mixture, X, y, rng),
            GENERATIVE: generative(mixture, X, y, rng),
            LOGISTIC: logistic(mixture, X, y),
            JOINT: joint(mixture, X, y, rng, steps),
        }
        tables += [_tidy(risk, m=0, n=n, method=method) for method, risk in found.items()]
    return pd.concat(tables, ignore_index=True)


def representation_study(
    mixture: Mixture, ms: Sequence[int], reps: int, rng: np.random.Generator, *, starts: int = 3
) -> pd.DataFrame:
    """What learnt centres cost with true labels of clusters, by rep and m.

    Columns excess (0–1), tv (mean total variation of responsibilities), parameter (Σ‖û−u‖²), lost (whether
    some centre is off by more than half its distance to the nearest other one).
    """
    K = len(mixture.labels)
    gaps = np.linalg.norm(mixture.centers[:, None] - mixture.centers, axis=-1) + 1e300 * np.eye(K)
    truth = responsibilities(cluster_logits(mixture.X, mixture.centers))[0]
    tables = []
    for m in ms:
        fitted = pretrain(mixture, m, reps, starts, rng)
        order = match_centers(fitted, mixture.centers)
        matched = np.take_along_axis(fitted, order[..., None], 1)
        off = np.linalg.norm(matched - mixture.centers, axis=-1)
        tv = [_total_variation(mixture, u, truth) for u in matched]
        names = np.broadcast_to(mixture.labels.astype(float), (reps, K))
        table = _tidy(decide(mixture, matched, names), m=m)
        tables.append(table.assign(tv=tv, parameter=(off**2).sum(1), lost=(off > gaps.min(1) / 2).any(1)))
    return pd.concat(tables, ignore_index=True)


def _total_variation(mixture: Mixture, centers: Floats, truth: Floats) -> float:
    """Mean total variation between the responsibilities of `centers` and the true ones (K, rows)."""
    r = responsibilities(cluster_logits(mixture.X, centers))[0]
    return float((np.abs(r - truth).sum(0) / 2 * mixture.weight).mean())


def label_study(mixture: Mixture, ns: Sequence[int], reps: int, rng: np.random.Generator) -> pd.DataFrame:
    """What labels alone cost: majority votes in the true clusters, by rep and n."""
    K, d = mixture.centers.shape
    r = responsibilities(cluster_logits(mixture.X, mixture.centers))[0]
    tables = []
    for n in ns:
        X, y = draw_rows(mixture, reps, n, rng)
        names = majority(np.broadcast_to(mixture.centers, (reps, K, d)), X, y, rng)
        risk = [mixture.excess(block @ r > 0.5) for block in np.array_split(names, -(-reps // 50))]
        tables.append(_tidy(np.concatenate(risk), n=n))
    return pd.concat(tables, ignore_index=True)
