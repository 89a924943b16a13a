"""Bandits with a known optimum: the paper's, and the reader's own from a table.

An answer is `n_tokens` independent tokens; its reward is the mean over tokens of a table. So the expected reward and
the KL divergence of any product policy are exact, and no evaluation noise blurs a comparison.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

Floats = NDArray[np.float64]


def cauchy_reference(vocab: int = 100, *, centre: float = -0.7, scale: float = 0.4) -> Floats:
    r"""Masses of `vocab` equal bins of :math:`\tanh X`, X Cauchy: one mode and heavy tails.

    The official code takes a histogram of 10,000 draws; this is its limit, from
    :math:`F(e)=\tfrac12+\tfrac1\pi\arctan((\operatorname{artanh}e-c)/s)`.

    Parameters
    ----------
    vocab : int
        Bins on [-1, 1], at least 2.
    centre, scale : float
        Of the Cauchy law.

    Returns
    -------
    ndarray of shape (vocab,)
        Positive, sums to one.

    Raises
    ------
    ValueError
        For fewer than two bins or a scale of zero or less.
    """
    if vocab < 2 or not scale > 0:
        raise ValueError(f"vocab must be at least 2 and scale above 0, got {vocab} and {scale}")
    edges = np.linspace(-1, 1, vocab + 1)[1:-1]
    inner = 0.5 + np.arctan((np.arctanh(edges) - centre) / scale) / np.pi
    return np.diff(np.concatenate([[0.0], inner, [1.0]]))


def peak_rewards(vocab: int = 100, *, peak: float = 70, width: float = 10) -> Floats:
    r"""The paper's reward of a token, :math:`\exp(-((a-peak)/width)^2)`: R1 has its peak at 70, R2 at 20."""
    if not width > 0:
        raise ValueError(f"width must be above 0, got {width}")
    return np.exp(-(((np.arange(vocab) - peak) / width) ** 2))


class PreferenceBandit:
    """Sequences of independent tokens, a reference policy, and a reward that is the mean of a table.

    Parameters
    ----------
    n_tokens : int
        Tokens of an answer; 1 is the plain bandit.
    vocab : int
        Tokens to choose from; ignored where a table is given.
    peak, width : float
        Of :func:`peak_rewards`; ignored where `rewards` are given.
    rewards : array_like of shape (vocab,), optional
        Reward of each token.
    ref_logits : array_like of shape (vocab,), optional
        Of the reference, the same at every position; default :func:`cauchy_reference`.

    Raises
    ------
    ValueError
        For fewer than one token, values that aren't finite, or tables of different lengths.
    """

    def __init__(
        self,
        n_tokens: int = 10,
        vocab: int = 100,
        peak: float = 70,
        width: float = 10,
        *,
        rewards: ArrayLike | None = None,
        ref_logits: ArrayLike | None = None,
    ) -> None:
        if n_tokens < 1:
            raise ValueError(f"n_tokens must be at least 1, got {n_tokens}")
        table = (
            peak_rewards(vocab, peak=peak, width=width) if rewards is None else _finite(rewards, "rewards")
        )
        logits = (
            np.log(cauchy_reference(len(table))) if ref_logits is None else _finite(ref_logits, "ref_logits")
        )
        if len(table) != len(logits) or len(table) < 2:
            raise ValueError(
                f"rewards and ref_logits must have one length of at least 2, got {len(table)} and {len(logits)}"
            )
        self.n_tokens, self.vocab = n_tokens, len(table)
        self.rewards = torch.tensor(table)
        self.ref_logp = torch.tensor(logits).log_softmax(0)

    @property
    def ref_logits(self) -> Tensor:
        """Log-probabilities of the reference at each position, (A, V) float64."""
        return self.ref_logp.expand(self.n_tokens, -1).clone()

    def reward(self, actions: Tensor) -> Tensor:
        """Reward of answers: (..., A) int to (...,) float64.

        Raises
        ------
        ValueError
            For answers of another length or tokens outside the vocabulary.
        """
        if actions.shape[-1] != self.n_tokens:
            raise ValueError(f"an answer has {self.n_tokens} tokens, got shape {tuple(actions.shape)}")
        if actions.numel() and not 0 <= int(actions.min()) <= int(actions.max()) < self.vocab:
            raise ValueError(f"tokens must lie in 0..{self.vocab - 1}")
        return self.rewards[actions].mean(-1)

    def exact_reward(self, logits: Tensor) -> Tensor:
        """Expected reward of product policies: logits (..., A, V) to (...,)."""
        return (logits.double().softmax(-1) @ self.rewards).mean(-1)

    def exact_kl(self, logits: Tensor) -> Tensor:
        """KL(policy || reference) in nats, summed over positions: (..., A, V) to (...,)."""
        logp = logits.double().log_softmax(-1)
        return (logp.exp() * (logp - self.ref_logp)).sum((-1, -2))

    def tilted(self, beta: float) -> Tensor:
        r"""Log-probabilities of the optimum :math:`\pi^*\propto\pi_{ref}\exp(r/\beta)` at one position, (V,).

        With a reward that is the mean over A tokens, each position is tilted by r/(A beta).

        Raises
        ------
        ValueError
            For `beta` of zero or less.
        """
        if not beta > 0:
            raise ValueError(f"beta must be above 0, got {beta}")
        return (self.ref_logp + self.rewards / (self.n_tokens * beta)).log_softmax(0)

    def mass_near_peak(self, share: float = 0.9) -> float:
        """Probability under the reference of a token within the top of the reward's range.

        Parameters
        ----------
        share : float
            A token counts when its reward exceeds the lowest by at least this share of the range.
        """
        low, high = self.rewards.min(), self.rewards.max()
        near = self.rewards >= low + share * (high - low)
        return float(self.ref_logp.exp()[near].sum())


def read_bandit(path: str | Path, *, n_tokens: int = 1) -> tuple[PreferenceBandit, pd.DataFrame]:
    """A bandit from a CSV: one row an action, with columns ``reward`` and ``ref_logit``.

    A column ``action`` with names is optional. Logits needn't be normalised.

    Returns
    -------
    (PreferenceBandit, DataFrame)
        The table carries columns action, reward, ref_logit and ref_prob.

    Raises
    ------
    ValueError
        For missing columns, fewer than two rows, values that aren't finite, or rewards that are all equal.
    """
    table = pd.read_csv(path)
    missing = [name for name in ("reward", "ref_logit") if name not in table]
    if missing:
        raise ValueError(f"{path} lacks column {', '.join(missing)}; it has {', '.join(table.columns)}")
    bandit = PreferenceBandit(n_tokens, rewards=table.reward, ref_logits=table.ref_logit)
    if table.reward.nunique() < 2:
        raise ValueError(f"{path}: all rewards are equal, so no method can prefer anything")
    if "action" not in table:
        table.insert(0, "action", [str(i) for i in range(len(table))])
    return bandit, table.assign(ref_prob=bandit.ref_logp.exp().numpy())


def _finite(values: ArrayLike, name: str) -> Floats:
    found = np.asarray(values, dtype=float)
    if found.ndim != 1 or not np.isfinite(found).all():
        raise ValueError(f"{name} must be one row of finite numbers, got shape {found.shape}")
    return found
