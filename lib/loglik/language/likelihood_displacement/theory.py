r"""Which probabilities rise when an answer is preferred: the paper's unconstrained-features analysis.

Unembeddings and hidden embeddings are free parameters under gradient flow on a preference loss
:math:`\ell(\ln\pi(y^+)-\ln\pi(y^-))`. Everything is linear in ``pull``, the loss's slope with its sign turned;
for DPO at its start that is β/2.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor


def ufm_rates(W: Tensor, h: Tensor, y_plus: int, y_minus: int, pull: float = 1.0) -> Tensor:
    r"""Rate of change of every log-probability for answers of one token (T1 and T2 of the chapter).

    :math:`m[\langle W_z-\bar W,W_{y^+}-W_{y^-}\rangle+(1[z=y^+]-1[z=y^-]-\pi_{y^+}+\pi_{y^-})\lVert h\rVert^2]`.

    Parameters
    ----------
    W : Tensor of shape (V, d)
        Unembeddings; logits are ``W @ h``.
    h : Tensor of shape (d,)
        Hidden embedding of the prompt.
    y_plus, y_minus : int
        Preferred and dispreferred token.
    pull : float
        Above 0.

    Returns
    -------
    Tensor of shape (V,)
        Entry `y_plus` below zero means displacement.

    Raises
    ------
    ValueError
        For equal answers, tokens outside the vocabulary, or shapes that don't fit.
    """
    _check_model(W, h[None], [y_plus], [y_minus])
    pi = torch.softmax(W @ h, 0)
    difference = W[y_plus] - W[y_minus]
    own = torch.zeros_like(pi)
    own[y_plus], own[y_minus] = 1.0, -1.0
    aligned = (W - pi @ W) @ difference
    return pull * (aligned + (own - pi[y_plus] + pi[y_minus]) * (h @ h))


def shared_positions(y_plus: Sequence[int], y_minus: Sequence[int]) -> int:
    """How many positions see the same prefix in both answers: those up to and with the first difference."""
    shortest = min(len(y_plus), len(y_minus))
    equal = (a == b for a, b in zip(y_plus, y_minus, strict=False))
    first = next((k for k, same in enumerate(equal) if not same), shortest)
    return min(first + 1, shortest)


def ufm_weights(
    W: Tensor, H_plus: Tensor, H_minus: Tensor, y_plus: Tensor, y_minus: Tensor
) -> tuple[Tensor, Tensor]:
    """The weights α⁺ of shape (L⁺, L⁺) and α⁻ of shape (L⁺, L⁻) of T3; all lie in [−2, 2]."""
    a_plus, a_minus = _residuals(W, H_plus, y_plus), _residuals(W, H_minus, y_minus)
    return a_plus @ a_plus.T, a_plus @ a_minus.T


def ufm_rate_sequence(
    W: Tensor,
    H_plus: Tensor,
    H_minus: Tensor,
    y_plus: Sequence[int],
    y_minus: Sequence[int],
    pull: float = 1.0,
) -> Tensor:
    """Rate of change of the preferred answer's log-probability, for answers of any length (T3 of the chapter).

    Parameters
    ----------
    W : Tensor of shape (V, d)
    H_plus, H_minus : Tensors of shapes (L⁺, d), (L⁻, d)
        Embeddings that predict each token of an answer: of the prompt and of its prefixes. Where the answers share
        a prefix the rows are equal.
    y_plus, y_minus : sequences of int
    pull : float

    Raises
    ------
    ValueError
        For empty or equal answers, or shared prefixes whose embeddings differ.
    """
    _check_model(W, H_plus, y_plus, y_minus)
    shared = shared_positions(y_plus, y_minus)
    if not torch.equal(H_plus[:shared], H_minus[:shared]):
        raise ValueError(f"the answers share {shared} prefixes, but their hidden embeddings differ there")
    plus, minus = torch.as_tensor(y_plus), torch.as_tensor(y_minus)
    alpha_plus, alpha_minus = ufm_weights(W, H_plus, H_minus, plus, minus)
    from_w = (alpha_plus * (H_plus @ H_plus.T)).sum() - (alpha_minus * (H_plus @ H_minus.T)).sum()
    b_plus, b_minus = _residuals(W, H_plus, plus) @ W, _residuals(W, H_minus, minus) @ W
    from_h = b_plus.square().sum() - (b_plus[:shared] * b_minus[:shared]).sum()
    return pull * (from_w + from_h)


def _residuals(W: Tensor, H: Tensor, y: Tensor) -> Tensor:
    """One-hot minus probabilities at each position, (L, V)."""
    return torch.nn.functional.one_hot(y, len(W)).to(W.dtype) - torch.softmax(H @ W.T, 1)


def _check_model(W: Tensor, H: Tensor, y_plus: Sequence[int], y_minus: Sequence[int]) -> None:
    if W.ndim != 2 or H.ndim != 2 or H.shape[1] != W.shape[1]:
        raise ValueError(f"W must be (V, d) and h (d,) or (L, d); got {tuple(W.shape)} and {tuple(H.shape)}")
    if not len(y_plus) or not len(y_minus):
        raise ValueError("an answer is empty")
    if list(y_plus) == list(y_minus):
        raise ValueError("the two answers are equal, so neither is preferred")
    if not all(0 <= y < len(W) for y in (*y_plus, *y_minus)):
        raise ValueError(f"tokens must lie in 0..{len(W) - 1}")


# -- random models -------------------------------------------------------------------------------------------


def random_models(
    n: int, cosine: float, *, ratio: float = 0.7, V: int = 30, d: int = 16, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Unembeddings (n, V, d) and hidden embeddings (n, d), standard normal, whose first two tokens are alike.

    Token 0 (preferred) is made anew with the given cosine to token 1 and `ratio` times its norm.
    """
    if not -1 <= cosine <= 1:
        raise ValueError(f"a cosine lies in [-1, 1], got {cosine}")
    W, h = rng.normal(size=(n, V, d)), rng.normal(size=(n, d)) / np.sqrt(d)
    towards = W[:, 1] / np.linalg.norm(W[:, 1], axis=1, keepdims=True)
    other = W[:, 0] - (W[:, 0] * towards).sum(1, keepdims=True) * towards
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    length = ratio * np.linalg.norm(W[:, 1], axis=1, keepdims=True)
    W[:, 0] = length * (cosine * towards + np.sqrt(1 - cosine**2) * other)
    return torch.from_numpy(W), torch.from_numpy(h)


def is_displaced(W: Tensor, h: Tensor) -> Tensor:
    """Whether preferring token 0 over token 1 lowers it, for a batch of models: (n,) bool."""
    return torch.vmap(lambda w, x: _batched_rate(w, x))(W, h) < 0


def _batched_rate(W: Tensor, h: Tensor) -> Tensor:
    """T1 without checks, for ``vmap``."""
    pi = torch.softmax(W @ h, 0)
    return (W[0] - pi @ W) @ (W[0] - W[1]) + (1 - pi[0] + pi[1]) * (h @ h)


def displacement_chance(
    cosines: Sequence[float], ratios: Sequence[float], n: int, *, rng: np.random.Generator
) -> pd.DataFrame:
    """Share of random models that displace, by cosine and by ratio of the two answers' unembeddings.

    Columns cosine, ratio, chance, n.
    """
    rows = [
        (
            cosine,
            ratio,
            float(is_displaced(*random_models(n, cosine, ratio=ratio, rng=rng)).double().mean()),
            n,
        )
        for ratio in ratios
        for cosine in cosines
    ]
    return pd.DataFrame(rows, columns=["cosine", "ratio", "chance", "n"])


def check_identities(
    n: int, *, V: int = 30, d: int = 16, step: float = 1e-4, rng: np.random.Generator
) -> pd.DataFrame:
    """T1 and T2 against automatic differentiation and against a finite step, for `n` random models.

    Columns error (largest relative error of the rates against autograd) and order (rank correlation between the
    alignment ⟨W_z, W_{y⁺} − W_{y⁻}⟩ of the other tokens and their change after a step of gradient descent).
    """
    from scipy.stats import spearmanr

    rows = []
    for W, h in zip(*random_models(n, 0.9, V=V, d=d, rng=rng), strict=True):
        rates = ufm_rates(W, h, 0, 1)
        exact = gradient_rates(W, h, 0, 1)
        error = float(((rates - exact).abs() / exact.abs().max()).max())
        change = log_probabilities_after(W, h, 0, 1, step) - torch.log_softmax(W @ h, 0)
        aligned = W @ (W[0] - W[1])
        rows.append((error, float(spearmanr(aligned[2:], change[2:]).statistic)))
    return pd.DataFrame(rows, columns=["error", "order"])


def gradient_rates(W: Tensor, h: Tensor, y_plus: int, y_minus: int) -> Tensor:
    """The rates by automatic differentiation: each log-probability's derivative along the flow, (V,)."""
    W, h = W.clone().requires_grad_(), h.clone().requires_grad_()
    logp = torch.log_softmax(W @ h, 0)
    flow = torch.autograd.grad(logp[y_plus] - logp[y_minus], (W, h), retain_graph=True)
    rates = []
    for z in range(len(W)):
        slope = torch.autograd.grad(logp[z], (W, h), retain_graph=True)
        rates.append(sum((a * b).sum() for a, b in zip(slope, flow, strict=True)))
    return torch.stack([torch.as_tensor(rate) for rate in rates]).detach()


def log_probabilities_after(W: Tensor, h: Tensor, y_plus: int, y_minus: int, step: float) -> Tensor:
    """All log-probabilities after one step of gradient descent on the preference loss with slope −1."""
    W, h = W.clone().requires_grad_(), h.clone().requires_grad_()
    logp = torch.log_softmax(W @ h, 0)
    flow = torch.autograd.grad(logp[y_plus] - logp[y_minus], (W, h))
    with torch.no_grad():
        return torch.log_softmax((W + step * flow[0]) @ (h + step * flow[1]), 0)


def sequence_rate_by_gradient(
    W: Tensor, H_plus: Tensor, H_minus: Tensor, y_plus: Sequence[int], y_minus: Sequence[int]
) -> Tensor:
    """T3 by automatic differentiation, with unembeddings and all distinct prefix embeddings as leaves."""
    shared = shared_positions(y_plus, y_minus)
    W = W.clone().requires_grad_()
    common = H_plus[:shared].clone().requires_grad_()
    tails = [H[shared:].clone().requires_grad_() for H in (H_plus, H_minus)]
    plus, minus = (
        (torch.cat([common, tail]) @ W.T).log_softmax(1)[torch.arange(len(y)), torch.as_tensor(y)].sum()
        for tail, y in zip(tails, (y_plus, y_minus), strict=True)
    )
    leaves = (W, common, *tails)
    flow = torch.autograd.grad(plus - minus, leaves, retain_graph=True, allow_unused=True)
    slope = torch.autograd.grad(plus, leaves, allow_unused=True)
    pairs = ((a, b) for a, b in zip(slope, flow, strict=True) if a is not None and b is not None)
    return torch.stack([(a * b).sum() for a, b in pairs]).sum().detach()


def random_sequences(
    n: int, shared: int, *, V: int = 30, d: int = 16, rng: np.random.Generator
) -> list[tuple[Tensor, Tensor, Tensor, list[int], list[int]]]:
    """Random models with answers of random lengths whose first `shared` tokens agree: (W, H⁺, H⁻, y⁺, y⁻) each."""
    found = []
    for _ in range(n):
        extra = rng.integers(1, 5, size=2)
        start = rng.integers(V, size=shared).tolist()
        y_plus, y_minus = (start + rng.integers(V, size=k).tolist() for k in extra)
        y_minus[shared] = (y_plus[shared] + 1 + int(rng.integers(V - 1))) % V
        W = torch.from_numpy(rng.normal(size=(V, d)))
        H = [torch.from_numpy(rng.normal(size=(len(y), d)) / np.sqrt(d)) for y in (y_plus, y_minus)]
        H[1][: shared + 1] = H[0][: shared + 1]
        found.append((W, H[0], H[1], y_plus, y_minus))
    return found


def check_sequences(n: int, shared: Sequence[int], *, rng: np.random.Generator) -> pd.DataFrame:
    """T3 against automatic differentiation. Columns shared, error (relative), weight (largest absolute α)."""
    rows: list[tuple[int, float, float]] = []
    for k in shared:
        for W, H_plus, H_minus, y_plus, y_minus in random_sequences(n, k, rng=rng):
            exact = sequence_rate_by_gradient(W, H_plus, H_minus, y_plus, y_minus)
            ours = ufm_rate_sequence(W, H_plus, H_minus, y_plus, y_minus)
            weights = ufm_weights(W, H_plus, H_minus, torch.as_tensor(y_plus), torch.as_tensor(y_minus))
            largest = max(float(alpha.abs().max()) for alpha in weights)
            rows.append((k, float((ours - exact).abs() / exact.abs()), largest))
    return pd.DataFrame(rows, columns=["shared", "error", "weight"])


def wrong_signs(
    cosines: Sequence[float], n: int, *, ratio: float = 0.7, rng: np.random.Generator
) -> pd.DataFrame:
    """How often T1 gets the sign wrong once the prompt's embedding isn't free but made of the same table.

    In these models the prompt is one word (token 2), tied: ``h = W[2] / sqrt(d)``, so that the flow moves h only by
    moving that row of W, and tokens near it move along.

    Returns
    -------
    DataFrame
        Columns cosine, free (share of displacing models by T1, which takes h for free), tied (by the gradient of the
        tied model), wrong (share in which the two differ), n.
    """
    rows = []
    for cosine in cosines:
        W, _ = random_models(n, cosine, ratio=ratio, rng=rng)
        h = W[:, 2] / np.sqrt(W.shape[2])
        free = is_displaced(W, h)
        tied = torch.vmap(_tied_rate)(W) < 0
        rows.append((cosine, *(float(x.double().mean()) for x in (free, tied, free != tied)), n))
    return pd.DataFrame(rows, columns=["cosine", "free", "tied", "wrong", "n"])


def _tied_rate(W: Tensor) -> Tensor:
    """Rate of the preferred token's log-probability where the prompt's embedding is a row of W."""

    def logp(table: Tensor) -> Tensor:
        return torch.log_softmax(table @ (table[2] / table.shape[1] ** 0.5), 0)

    up = torch.func.grad(lambda table: logp(table)[0])(W)
    flow = torch.func.grad(lambda table: logp(table)[0] - logp(table)[1])(W)
    return (up * flow).sum()
