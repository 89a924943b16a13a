r"""Masked diffusion of text: corruption, estimators of the ELBO, exact oracles, and the sampler.

At time :math:`t\in(0,1]` every token of the answer :math:`y` is replaced by a mask with probability :math:`t`, the
prompt never. A *denoiser* gives :math:`\log p(y^i\mid y_t,q)` for all positions in one pass, and

.. math::
    \mathcal L(y\mid q)=\mathbb E_{t}\,\mathbb E_{y_t}\Big[\tfrac1t Z_S\Big]\le\log\pi(y\mid q),\qquad
    Z_S=\sum_{i\in S}\log p(y^i\mid y_{\bar S},q),

with :math:`S` the masked positions. Every estimator here is a list of masks with weights, a :class:`MaskPlan`, so
that a loss needs not know which one it uses.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from loglik.language import models

SCHEMES = ("double_mc", "sdmc", "fixed_count", "sdmc_count", "one_step", "exact")
RULES = ("gauss-legendre", "midpoint")
LONGEST_EXACT = 16
Denoise = Callable[[Tensor], Tensor]
"""Ids (B, T), some of them masked, to log-probabilities (B, T, V) with none on the mask itself."""


class Denoiser(nn.Module):
    """A network of `transformers` as a denoiser: every token sees every other, the mask is never predicted.

    Parameters
    ----------
    model : causal model of `transformers`
    mask_id : int
        Token that stands for "not known".
    """

    def __init__(self, model: Any, mask_id: int) -> None:
        super().__init__()
        self.model, self.mask_id = model, mask_id

    def forward(self, ids: Tensor) -> Tensor:
        """Log-probabilities (B, T, V), in float32 at least."""
        logits = models.bidirectional(self.model, ids)
        logits = logits if logits.dtype == torch.float64 else logits.float()
        forbidden = torch.arange(logits.shape[-1], device=logits.device) == self.mask_id
        return logits.masked_fill(forbidden, -torch.inf).log_softmax(-1)


class MarkovOracle(nn.Module):
    r"""The exact denoiser of a stationary Markov chain: its ELBO *is* the log-likelihood.

    A hidden token depends on its nearest visible neighbours alone, at distances :math:`d_1,d_2` with values
    :math:`a,b`: :math:`p(v)\propto P^{d_1}[a,v]\,P^{d_2}[v,b]`, the stationary law in place of a missing left
    neighbour and 1 in place of a missing right one.

    Parameters
    ----------
    transition : array of shape (K, K)
        Rows sum to one. The mask's id is K.
    longest : int
        Longest sequence.
    """

    def __init__(self, transition: Any, longest: int = 256) -> None:
        super().__init__()
        P = torch.as_tensor(np.asarray(transition), dtype=torch.float64)
        if (
            P.ndim != 2
            or P.shape[0] != P.shape[1]
            or not torch.allclose(P.sum(1), torch.ones(len(P)).double())
        ):
            raise ValueError(
                f"transition must be square with rows that sum to one, got shape {tuple(P.shape)}"
            )
        self.mask_id = len(P)
        values, vectors = torch.linalg.eig(P.T)
        stationary = vectors[:, (values - 1).abs().argmin()].real
        self.stationary: Tensor
        self.powers: Tensor
        self.register_buffer("stationary", stationary / stationary.sum())
        powers = [torch.eye(len(P), dtype=torch.float64)]
        for _ in range(longest):
            powers.append(powers[-1] @ P)
        self.register_buffer("powers", torch.stack(powers))

    def forward(self, ids: Tensor) -> Tensor:
        """Log-probabilities (B, T, K + 1)."""
        K, T = self.mask_id, ids.shape[1]
        place = torch.arange(T, device=ids.device)
        visible = ids != K
        left = _shifted(torch.where(visible, place, -1).cummax(1).values, -1)
        right = _shifted(torch.where(visible, place, T).flip(1).cummin(1).values, T).flip(1)
        a, b = (ids.gather(1, where.clamp(0, T - 1)).clamp(max=K - 1) for where in (left, right))
        before = torch.where(
            (left >= 0)[:, :, None], self.powers[(place - left).clamp(0), a], self.stationary
        )
        after = self.powers[(right - place).clamp(max=len(self.powers) - 1)]
        after = after.gather(3, b[:, :, None, None].expand(-1, -1, K, 1)).squeeze(3)
        p = before * torch.where((right < T)[:, :, None], after, torch.ones_like(after))
        log_p = (p / p.sum(2, keepdim=True)).log()
        return torch.cat([log_p, torch.full_like(log_p[:, :, :1], -torch.inf)], 2)

    def log_prob(self, ids: Tensor) -> Tensor:
        """Log-likelihood (B,) of whole sequences."""
        steps = self.powers[1][ids[:, :-1], ids[:, 1:]].log().sum(1)
        return self.stationary[ids[:, 0]].log() + steps


class TabularOracle(nn.Module):
    """The exact denoiser of any joint law over short sequences, by enumeration.

    Parameters
    ----------
    joint : array of shape (K, ..., K), one axis a position
        Probabilities. The mask's id is K.
    """

    def __init__(self, joint: Any) -> None:
        super().__init__()
        table = torch.as_tensor(np.asarray(joint), dtype=torch.float64)
        self.mask_id = table.shape[0]
        axes = [torch.arange(self.mask_id)] * table.ndim
        self.outcomes: Tensor
        self.p: Tensor
        self.register_buffer("outcomes", torch.cartesian_prod(*axes).reshape(-1, table.ndim))
        self.register_buffer("p", table.flatten() / table.sum())

    def forward(self, ids: Tensor) -> Tensor:
        """Log-probabilities (B, T, K + 1)."""
        fits = (ids[:, None] == self.outcomes) | (ids[:, None] == self.mask_id)
        weights = self.p * fits.all(2)
        at = nn.functional.one_hot(self.outcomes, self.mask_id).double()
        log_p = (torch.einsum("bm,mtk->btk", weights, at) / weights.sum(1)[:, None, None]).log()
        return torch.cat([log_p, torch.full_like(log_p[:, :, :1], -torch.inf)], 2)

    def log_prob(self, ids: Tensor) -> Tensor:
        """Log-likelihood (B,) of whole sequences."""
        K, T = self.mask_id, ids.shape[1]
        return self.p[(ids * K ** torch.arange(T - 1, -1, -1)).sum(1)].log()


# -- corruption ----------------------------------------------------------------------------------------------


def corrupt(
    ids: Tensor, prompt_len: int, t: Tensor, *, mask_id: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Mask each token of the answer with probability `t`.

    Parameters
    ----------
    ids : Tensor of shape (B, P + L)
    prompt_len : int
        P; the prompt is never masked.
    t : Tensor of shape (B,)
        In (0, 1].
    mask_id : int
    generator : torch.Generator

    Returns
    -------
    noisy, masked : Tensors of shape (B, P + L), int64 and bool

    Raises
    ------
    ValueError
        For `t` outside (0, 1], an empty answer, or a mask among the ids.
    """
    _check_answer(ids, prompt_len, mask_id)
    if not bool(((t > 0) & (t <= 1)).all()):
        raise ValueError(f"t must lie in (0, 1], got {float(t.min()):g} to {float(t.max()):g}")
    drawn = torch.rand(ids.shape, generator=generator, device=generator.device).to(ids.device)
    masked = (drawn < t[:, None]) & (torch.arange(ids.shape[1], device=ids.device) >= prompt_len)
    return ids.masked_fill(masked, mask_id), masked


def denoising_loss(
    denoise: Any, ids: Tensor, prompt_len: int, *, generator: torch.Generator, eps: float = 1e-3
) -> tuple[Tensor, int]:
    r"""Summed :math:`\frac1{tL}Z_S` with t uniform on (eps, 1), and the number of texts: LLaDA's training loss."""
    t = eps + (1 - eps) * torch.rand(len(ids), generator=generator, device=generator.device).to(ids.device)
    noisy, masked = corrupt(ids, prompt_len, t, mask_id=denoise.mask_id, generator=generator)
    picked = denoise(noisy).gather(2, ids[:, :, None]).squeeze(2).masked_fill(~masked, 0.0)
    return -(picked.sum(1) / t).sum() / (ids.shape[1] - prompt_len), len(ids)


# -- estimators of the ELBO ----------------------------------------------------------------------------------


class MaskPlan(NamedTuple):
    """J weighted masks for each of B answers: the estimate is the weighted sum of the Z of the masks."""

    masks: Tensor  # (J, B, L) bool, True where masked
    weights: Tensor  # (J, B) float64
    t: Tensor  # (J, B) float64, the times that they were drawn at (NaN where a scheme has none)


def draw_masks(
    scheme: str,
    batch: int,
    length: int,
    n: int = 2,
    k: int = 1,
    *,
    eps: float = 1e-3,
    rule: str = "gauss-legendre",
    generator: torch.Generator | None = None,
) -> MaskPlan:
    r"""Masks and weights of an estimator of the ELBO.

    Parameters
    ----------
    scheme : {"double_mc", "sdmc", "fixed_count", "sdmc_count", "one_step", "exact"}
        ``double_mc``: `n` times uniform on (eps, 1), `k` masks each. ``sdmc``: the times are the nodes of a
        quadrature `rule`, so that no variance comes from them and the end at t = 0 is never met. ``fixed_count``:
        `n` · `k` numbers of masked tokens, uniform on 1..L, unbiased. ``sdmc_count``: nodes as ``sdmc``, with L·t
        tokens masked, rounded at random to a neighbour. ``one_step``: everything masked, once. ``exact``: all
        subsets, for answers of 16 tokens at most.
    batch, length : int
        B answers of L tokens.
    n, k : int
        Times, and masks at each.
    eps : float
        Least time of ``double_mc``. Its second moment grows like ``log(1/eps)``.
    rule : {"gauss-legendre", "midpoint"}
    generator : torch.Generator
        Needed by all schemes but the last two.

    Raises
    ------
    ValueError
        For an unknown scheme or rule, sizes below one, or an answer too long for ``exact``.
    """
    if scheme not in SCHEMES:
        raise ValueError(f"unknown scheme {scheme!r}; allowed: {', '.join(SCHEMES)}")
    if min(batch, length, n, k) < 1:
        raise ValueError(f"batch, length, n and k must be at least 1, got {batch}, {length}, {n}, {k}")
    if scheme == "one_step":
        ones = torch.ones(1, batch, dtype=torch.float64)
        return MaskPlan(torch.ones(1, batch, length, dtype=torch.bool), ones, ones)
    if scheme == "exact":
        return _all_subsets(batch, length)
    if generator is None:
        raise ValueError(f"scheme {scheme!r} draws at random: pass a generator")
    uniform = torch.rand(n * k, batch, length, dtype=torch.float64, generator=generator)
    if scheme == "fixed_count":
        counts = torch.randint(1, length + 1, (n * k, batch), generator=generator)
        nowhere = torch.full((n * k, batch), torch.nan, dtype=torch.float64)
        return MaskPlan(_smallest(uniform, counts), length / counts.double() / (n * k), nowhere)
    if scheme == "double_mc":
        t = eps + (1 - eps) * torch.rand(n, batch, dtype=torch.float64, generator=generator)
        w = torch.full_like(t, 1 / n)
    else:
        nodes, node_weights = _quadrature(n, rule)
        t, w = (x[:, None].expand(n, batch) for x in (nodes, node_weights))
    t, w = (x.repeat_interleave(k, 0) for x in (t, w))
    if scheme == "sdmc_count":
        rounded = (length * t + torch.rand(t.shape, dtype=torch.float64, generator=generator)).floor().long()
        masks = _smallest(uniform, rounded)
    else:
        masks = uniform < t[:, :, None]
    return MaskPlan(masks, w / (k * t), t)


def elbo(
    denoise: Denoise, ids: Tensor, prompt_len: int, plan: MaskPlan, *, micro_batch: int | None = None
) -> Tensor:
    """The plan's estimate of the ELBO of each answer, (B,); differentiable.

    Parameters
    ----------
    denoise : Denoiser or oracle
    ids : Tensor of shape (B, P + L)
    prompt_len : int
    plan : MaskPlan
        Two policies that are compared must share it: else their ratio is noise.
    micro_batch : int, optional
        Rows in one forward pass; default: all J · B.

    Raises
    ------
    ValueError
        For a plan of another shape, an empty answer, or a mask in an answer.
    """
    Z = masked_log_likelihoods(denoise, ids, prompt_len, plan.masks, micro_batch=micro_batch)
    return (plan.weights.to(Z) * Z).sum(0)


def masked_log_likelihoods(
    denoise: Denoise, ids: Tensor, prompt_len: int, masks: Tensor, *, micro_batch: int | None = None
) -> Tensor:
    """Z of every mask: (J, B).

    Parameters
    ----------
    denoise, ids, prompt_len, micro_batch
        As in :func:`elbo`.
    masks : Tensor of shape (J, B, L)
    """
    mask_id = denoise.mask_id  # type: ignore[attr-defined]
    _check_answer(ids, prompt_len, mask_id)
    J, B, L = masks.shape
    if (len(ids), ids.shape[1] - prompt_len) != (B, L):
        wanted = (len(ids), ids.shape[1] - prompt_len)
        raise ValueError(
            f"the masks are for {B} answers of {L} tokens, the ids hold {wanted[0]} of {wanted[1]}"
        )
    rows = ids.repeat(J, 1)
    hidden = torch.zeros_like(rows, dtype=torch.bool)
    hidden[:, prompt_len:] = masks.reshape(J * B, L).to(ids.device)
    parts = []
    for clean, where in _chunks(rows, hidden, micro_batch or J * B):
        log_p = denoise(clean.masked_fill(where, mask_id))
        parts.append(log_p.gather(2, clean[:, :, None]).squeeze(2).masked_fill(~where, 0.0).sum(1))
    return torch.cat(parts).reshape(J, B)


def elbo_exact(denoise: Denoise, ids: Tensor, prompt_len: int, *, micro_batch: int | None = 4096) -> Tensor:
    """The ELBO without any randomness, over all subsets; answers of 16 tokens at most."""
    plan = draw_masks("exact", len(ids), ids.shape[1] - prompt_len)
    return elbo(denoise, ids, prompt_len, plan, micro_batch=micro_batch)


class TimeProfile(NamedTuple):
    r"""How an estimator's mean and spread depend on the time, exactly.

    With :math:`g_m` the mean of :math:`Z_S` over subsets of size m,
    :math:`\mu(t)=E[Z_S/t\mid t]=\sum_m\binom Lm t^{m-1}(1-t)^{L-m}g_m`, and the ELBO is
    :math:`\int_0^1\mu=\sum_m g_m/m`.
    """

    first: Tensor  # (B, L), g_m
    second: Tensor  # (B, L), mean of Z squared over subsets of size m

    def mean(self, t: Tensor) -> Tensor:
        """The mean of Z/t at times (N,): (B, N)."""
        return self._moment(self.first, t, 1)

    def variance(self, t: Tensor) -> Tensor:
        """Its variance over masks at times (N,): (B, N)."""
        return self._moment(self.second, t, 2) - self.mean(t).square()

    @staticmethod
    def _moment(g: Tensor, t: Tensor, power: int) -> Tensor:
        L = g.shape[1]
        m = torch.arange(1, L + 1, dtype=torch.float64)
        choose = torch.tensor([math.comb(L, int(i)) for i in m], dtype=torch.float64)
        at = t.double()[:, None]
        return g.double() @ (choose * at ** (m - power) * (1 - at) ** (L - m)).T


def time_profile(denoise: Denoise, ids: Tensor, prompt_len: int, *, micro_batch: int = 4096) -> TimeProfile:
    """The exact profile over all subsets; answers of 16 tokens at most."""
    plan = draw_masks("exact", len(ids), ids.shape[1] - prompt_len)
    Z = masked_log_likelihoods(denoise, ids, prompt_len, plan.masks, micro_batch=micro_batch).double()
    sizes = plan.masks[:, 0].sum(1)
    means = [
        [power[sizes == m].mean(0) for m in range(1, plan.masks.shape[2] + 1)] for power in (Z, Z.square())
    ]
    return TimeProfile(*(torch.stack(rows, 1) for rows in means))


# -- sampling ------------------------------------------------------------------------------------------------


@torch.inference_mode()
def sample(
    denoise: Any,
    prompts: Tensor,
    length: int,
    *,
    generator: torch.Generator,
    steps: int | None = None,
    block: int | None = None,
    temperature: float = 1.0,
    remasking: str = "random",
) -> Tensor:
    """Fill answers in, block by block from left to right (LLaDA's semi-autoregressive sampler).

    Parameters
    ----------
    denoise : Denoiser or oracle
    prompts : Tensor of shape (B, P)
    length : int
        L tokens of answer.
    generator : torch.Generator
    steps : int, optional
        Passes in all, spread evenly over the blocks; default: one a token.
    block : int, optional
        Tokens of a block, a divisor of L; default: L.
    temperature : float
        Of the tokens' laws; 0 takes the most likely.
    remasking : {"random", "low_confidence"}
        Which of a step's predictions stay. ``random`` with one token a step draws exactly from the any-order
        model; ``low_confidence`` keeps the surest and does not.

    Returns
    -------
    Tensor of shape (B, P + L)

    Raises
    ------
    ValueError
        For a block that doesn't divide the length, fewer steps than blocks, or an unknown remasking.
    """
    block, steps = block or length, steps or length
    blocks = length // block
    if block * blocks != length or steps < blocks:
        raise ValueError(f"length {length} must be a multiple of block {block}, with at least {blocks} steps")
    if remasking not in ("random", "low_confidence"):
        raise ValueError(f"remasking must be 'random' or 'low_confidence', got {remasking!r}")
    B, P = prompts.shape
    ids = torch.full((B, P + length), denoise.mask_id, dtype=torch.long, device=prompts.device)
    ids[:, :P] = prompts
    for b, passes in enumerate(_even(steps, blocks)):
        here = slice(P + b * block, P + (b + 1) * block)
        for keep in _even(block, passes):
            log_p = denoise(ids)[:, here].double()
            drawn = _draw(log_p, temperature, generator)
            sure = log_p.gather(2, drawn[:, :, None]).squeeze(2)
            rank = (
                torch.rand(sure.shape, dtype=torch.float64, generator=generator)
                if remasking == "random"
                else sure
            )
            rank = rank.masked_fill(ids[:, here] != denoise.mask_id, -torch.inf)
            stays = torch.zeros_like(drawn, dtype=torch.bool).scatter_(1, rank.topk(keep, 1).indices, True)
            ids[:, here] = torch.where(stays, drawn, ids[:, here])
    return ids


# -- how -----------------------------------------------------------------------------------------------------


def _shifted(x: Tensor, fill: int) -> Tensor:
    """Every row moved one place to the right: what stands strictly before."""
    return torch.cat([torch.full_like(x[:, :1], fill), x[:, :-1]], 1)


def _check_answer(ids: Tensor, prompt_len: int, mask_id: int) -> None:
    if ids.shape[1] <= prompt_len:
        raise ValueError(f"the answer is empty: rows have {ids.shape[1]} tokens, the prompt {prompt_len}")
    if bool((ids[:, prompt_len:] == mask_id).any()):
        raise ValueError(f"an answer holds the mask (id {mask_id})")


def _quadrature(n: int, rule: str) -> tuple[Tensor, Tensor]:
    """Nodes and weights on [0, 1], none of them at an end."""
    if rule not in RULES:
        raise ValueError(f"unknown rule {rule!r}; allowed: {', '.join(RULES)}")
    if rule == "midpoint":
        return (torch.arange(n, dtype=torch.float64) + 0.5) / n, torch.full((n,), 1 / n, dtype=torch.float64)
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return torch.from_numpy((nodes + 1) / 2), torch.from_numpy(weights / 2)


def _smallest(uniform: Tensor, counts: Tensor) -> Tensor:
    """A uniformly drawn subset of `counts` positions in each row: those with the smallest numbers."""
    return uniform.argsort(-1).argsort(-1) < counts[..., None]


def _all_subsets(batch: int, length: int) -> MaskPlan:
    if length > LONGEST_EXACT:
        raise ValueError(f"exact enumeration takes answers of {LONGEST_EXACT} tokens at most, got {length}")
    numbers = torch.arange(1, 2**length)
    masks = (numbers[:, None] >> torch.arange(length)) & 1 == 1
    sizes = masks.sum(1)
    choose = torch.tensor([math.comb(length, m) for m in range(length + 1)], dtype=torch.float64)
    weights = 1 / (sizes * choose[sizes])
    shape = (len(numbers), batch)
    return MaskPlan(
        masks[:, None].expand(-1, batch, -1),
        weights[:, None].expand(shape),
        torch.full(shape, torch.nan, dtype=torch.float64),
    )


def _chunks(rows: Tensor, hidden: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    yield from zip(rows.split(size), hidden.split(size), strict=True)


def _even(whole: int, parts: int) -> list[int]:
    """`whole` in `parts` as even as can be, the remainder on the first ones."""
    return [whole // parts + (i < whole % parts) for i in range(parts)]


def _draw(log_p: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """One token a position, by the Gumbel maximum."""
    if temperature == 0:
        return log_p.argmax(-1)
    noise = torch.rand(log_p.shape, dtype=torch.float64, generator=generator, device=generator.device)
    return (log_p / temperature - (-noise.to(log_p.device).log()).log()).argmax(-1)
