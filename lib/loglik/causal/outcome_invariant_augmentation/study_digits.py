"""Coloured digits: every method on the same colourings, all seeds and penalties trained side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from loglik.causal.outcome_invariant_augmentation import digits, environments, networks
from loglik.causal.outcome_invariant_augmentation.selection import (
    discretize_parameters,
    held_out_levels,
    held_out_rows,
    parameter_levels,
)

METHODS = ("ERM", "DA+ERM", "IVL-CV", "IVL-LCV", "DA+IV", "IRM", "DRO", "RICE", "V-REx", "MM-REx")
Progress = Callable[[Sequence[Any]], Iterable[Any]]


class DigitSample(NamedTuple):
    """Training and test images of S seeds, flattened."""

    X: Tensor  # (S, n, d) coloured
    X_aug: Tensor  # (S, n, d) and augmented
    more: Tensor  # (2, S, n, d) two further augmentations, for RICE
    y: Tensor  # (S, n)
    G: Tensor  # (S, n, 6)
    env: Tensor  # (S, n) levels of the discretised parameters
    X_test: Tensor  # (S, n_test, d) colours are fair coins
    y_test: Tensor  # (S, n_test)

    def to(self, device: torch.device | str) -> DigitSample:
        """The same sample on another device; networks are trained where their sample is."""
        return DigitSample(*(tensor.to(device) for tensor in self))


class Training(NamedTuple):
    """How the networks are trained."""

    epochs: int = 15
    rate: float = 1e-3
    batch: int = 256
    width: int = 128


def draw_digits(
    grey: digits.Images,
    digit: np.ndarray,
    n_seeds: int,
    *,
    n_train: int = 1200,
    colourings: int = 4,
    seed: int | Sequence[int],
) -> DigitSample:
    """For each seed: split the images, colour the training ones `colourings` times, augment them once.

    Parameters
    ----------
    grey : array of shape (N, side, side)
    digit : array of shape (N,)
    n_seeds : int
    n_train : int
        Training images; the others are for testing and never coloured by the target.
    colourings : int
    seed : int or sequence of int
    """
    found: list[tuple[np.ndarray, ...]] = []
    jitter = digits.ColourJitterShift()
    for child in np.random.SeedSequence(seed).spawn(n_seeds):
        rng = np.random.default_rng(child)
        order = rng.permutation(len(grey))
        train = np.tile(order[:n_train], colourings)
        test = np.tile(order[n_train:], colourings)
        seen = digits.colour(grey[train], digit[train], rng, train=True)
        fair = digits.colour(grey[test], digit[test], rng, train=False)
        X_aug, G = jitter(seen.X, rng)
        more = np.stack([jitter(seen.X, rng)[0] for _ in range(2)])
        env = parameter_levels(discretize_parameters(G))
        found.append((seen.X, X_aug, more, seen.y, G, env, fair.X, fair.y))
    X, X_aug, more, y, G, env, X_test, y_test = (np.stack(column) for column in zip(*found, strict=True))
    return DigitSample(
        X=_flat(X),
        X_aug=_flat(X_aug),
        more=_flat(more.swapaxes(0, 1)),
        y=torch.as_tensor(y),
        G=torch.as_tensor(G),
        env=torch.as_tensor(env),
        X_test=_flat(X_test),
        y_test=torch.as_tensor(y_test),
    )


def _flat(images: np.ndarray) -> Tensor:
    return torch.as_tensor(images.reshape(*images.shape[:-3], -1))


class _Run:
    """One training of S × L networks: S seeds, L penalties each."""

    def __init__(self, sample: DigitSample, method: str, lams: Tensor, training: Training) -> None:
        self.sample, self.method, self.training = sample, method, training
        self.device = sample.y.device
        self.lams = lams.to(self.device)
        self.S, self.L = lams.shape
        self.n_env = int(sample.env.max()) + 1

    def fit(self, keep: Tensor, rng: np.random.Generator) -> networks.Ensemble:
        """Train on rows `keep` (S, n_kept)."""
        torch_rng = torch.Generator().manual_seed(int(rng.integers(2**31)))
        with torch.random.fork_rng():
            torch.manual_seed(torch_rng.initial_seed())
            width = self.training.width
            models = [networks.mlp(self.sample.X.shape[-1], width) for _ in range(self.S * self.L)]
        ensemble = networks.Ensemble(models, self.device)
        n = keep.shape[1] - keep.shape[1] % self.training.batch or keep.shape[1]
        order = torch.as_tensor(np.stack([rng.permutation(keep.shape[1])[:n] for _ in range(self.S)]))
        rows = torch.gather(keep, 1, order).to(self.device)
        ensemble.train(
            lambda at: self._loss(ensemble, at),
            rows.split(self.training.batch, dim=1),
            epochs=self.training.epochs,
            rate=self.training.rate,
        )
        return ensemble

    def _take(self, values: Tensor, rows: Tensor) -> Tensor:
        return values[torch.arange(self.S, device=self.device)[:, None], rows]

    def _spread(self, values: Tensor) -> Tensor:
        """(S, B, ...) to (S L, B, ...): penalties share their seed's rows."""
        return values.repeat_interleave(self.L, 0)

    def _loss(self, ensemble: networks.Ensemble, rows: Tensor) -> Tensor:
        s, method = self.sample, self.method
        y, lam = self._spread(self._take(s.y, rows)), self.lams.reshape(-1)
        if method in ("ERM", "RICE"):
            logits = ensemble.logits(self._spread(self._take(s.X, rows)))
            if method == "ERM":
                return networks.bce(logits, y)
            moved = [s.X_aug, *s.more]
            changed = torch.stack([ensemble.logits(self._spread(self._take(m, rows))) for m in moved])
            return environments.rice_loss(logits, changed, y, lam, "logistic")
        logits = ensemble.logits(self._spread(self._take(s.X_aug, rows)))
        if method == "DA+ERM":
            return networks.bce(logits, y)
        if method in ("IVL", "IVL, official"):
            G = self._take(s.G, rows)
            weighting = "official" if method.endswith("official") else "gmm"
            output, target = (t.reshape(self.S, self.L, -1) for t in (torch.sigmoid(logits), y))
            return networks.ivl_loss(output, target, G[:, None], self.lams, weighting).reshape(-1)
        env = self._spread(self._take(s.env, rows))
        loss = {
            "IRM": environments.irm_loss,
            "V-REx": environments.vrex_loss,
            "MM-REx": environments.mmrex_loss,
            "DRO": environments.group_dro_loss,
        }[method]
        return loss(logits, y, env, self.n_env, lam, "logistic")


def _test_error(ensemble: networks.Ensemble, sample: DigitSample, L: int = 1) -> np.ndarray:
    """NCER (S, L) on test images whose colour says nothing."""
    with torch.no_grad():
        logits = ensemble.logits(sample.X_test.repeat_interleave(L, 0)).reshape(len(sample.y_test), L, -1)
    return digits.label_error((logits > 0).cpu().numpy(), sample.y_test[:, None].cpu().numpy() > 0)


def _validation(
    method: str, sample: DigitSample, lams: Tensor, training: Training, rng: np.random.Generator, levels: bool
) -> Tensor:
    """Penalty (S, 1) with the fewest errors on held-out rows or levels (as in the paper: by accuracy)."""
    n = sample.y.shape[1]
    out = [
        held_out_levels(e.cpu().numpy(), 0.2, rng) if levels else held_out_rows(n, 0.2, rng)
        for e in sample.env
    ]
    size = min(map(len, out))
    out = [rng.permutation(o)[:size] for o in out]
    keep = torch.as_tensor(np.stack([np.setdiff1d(np.arange(n), o) for o in out]))
    ensemble = _Run(sample, method, lams, training).fit(keep, rng)
    held = torch.as_tensor(np.stack(out), device=sample.y.device)
    at = torch.arange(len(held), device=sample.y.device)[:, None]
    scored = sample.X if method in ("IVL", "RICE") else sample.X_aug
    L = lams.shape[1]
    with torch.no_grad():
        logits = ensemble.logits(scored[at, held].repeat_interleave(L, 0)).reshape(len(held), L, -1)
    wrong = ((logits > 0).float() != sample.y[at, held][:, None]).float().mean(-1)
    return torch.gather(lams, 1, wrong.argmin(1, keepdim=True).cpu())


def digit_study(
    sample: DigitSample,
    *,
    n_draws: int,
    training: Training,
    seed: int | Sequence[int],
    methods: Sequence[str] = METHODS,
    progress: Progress = list,
) -> pd.DataFrame:
    """Train every method on every seed; columns method, seed, error (nCER) and penalty.

    Penalties are `n_draws` draws of Exp(1) a seed, the same for all methods; MM-REx takes them negative, so
    that its loss is bounded below.
    """
    S, n = sample.y.shape
    everything = torch.arange(n).expand(S, n)
    tables = []
    for method in progress(methods):
        rng = np.random.default_rng(np.random.SeedSequence(seed))
        lams = torch.as_tensor(rng.exponential(1, (S, n_draws)), dtype=torch.float32)
        lams = -lams if method == "MM-REx" else lams
        fitted = "IVL" if method.startswith(("IVL-", "DA+IV")) else method
        if method in ("ERM", "DA+ERM", "DRO"):
            chosen = lams[:, :1]
        elif method == "DA+IV":
            chosen = torch.zeros(S, 1)
        else:
            levels = method not in ("IVL-CV", "RICE")
            chosen = _validation(fitted, sample, lams, training, rng, levels)
        ensemble = _Run(sample, fitted, chosen, training).fit(everything, rng)
        error = _test_error(ensemble, sample)[:, 0]
        tables.append(
            pd.DataFrame(
                {"method": method, "seed": range(S), "error": error, "penalty": chosen[:, 0].numpy()}
            )
        )
    return pd.concat(tables, ignore_index=True)


def penalty_grid(
    sample: DigitSample,
    alphas: Sequence[float],
    *,
    training: Training,
    seed: int | Sequence[int],
    weightings: Sequence[str] = ("gmm", "official"),
) -> pd.DataFrame:
    """Error of IVL along a grid of penalties for both weightings; columns weighting, alpha, seed, error."""
    S, n = sample.y.shape
    lams = torch.tensor(alphas, dtype=torch.float32).expand(S, len(alphas))
    rows = []
    for weighting in weightings:
        rng = np.random.default_rng(np.random.SeedSequence(seed))
        method = "IVL" if weighting == "gmm" else "IVL, official"
        ensemble = _Run(sample, method, lams, training).fit(torch.arange(n).expand(S, n), rng)
        for (s, at), error in np.ndenumerate(_test_error(ensemble, sample, len(alphas))):
            rows.append({"weighting": weighting, "alpha": alphas[at], "seed": s, "error": error})
    return pd.DataFrame(rows)


def weighting_ratio(sample: DigitSample, batch: int = 256, strength: float = 0.3) -> np.ndarray:
    """The released IV term over r'Πr / B, for residuals that depend on G, one number a batch.

    Residuals are `strength` times the mean of the standardised parameters plus noise of standard deviation
    0.4 (a confounded label's): the case that the IV term exists to find.
    """
    rows = sample.G.reshape(-1, sample.G.shape[-1]).cpu()
    G = rows[: len(rows) // batch * batch].reshape(-1, batch, rows.shape[-1])
    noise = torch.randn(G.shape[:2], generator=torch.Generator().manual_seed(0))
    residual = strength * G.mean(-1) + 0.4 * noise
    ratio = networks.iv_term(residual, G, "official") / networks.iv_term(residual, G, "gmm")
    return np.asarray(ratio)
