"""Training on preference pairs, watched: both answers' log-probabilities, and what else becomes likely."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
import torch
from torch import Tensor

from loglik.language.likelihood_displacement.pairs import Answers, Pair, both, check_pairs
from loglik.language.preference import Reduction, dpo_loss, ipo_loss, sft_term, simpo_loss, slic_loss
from loglik.language.scoring import token_logprobs
from loglik.train import Columns, Run, TrainConfig, fit

Kind = Literal["dpo", "ipo", "slic", "simpo", "sft", "dpop"]
KINDS = ("dpo", "ipo", "slic", "simpo", "sft", "dpop")
Watch = Callable[[Any], dict[str, float]]


@dataclass(frozen=True)
class PreferenceLog:
    """What :func:`train_preferences` saw.

    Attributes
    ----------
    steps : DataFrame
        A row a step: loss, logp_w, logp_l (means over the batch, nats), lr.
    checkpoints : DataFrame
        A row at the start and at every checkpoint: step, change_w and change_l (mean change of both answers'
        log-probabilities over all pairs since the start), gap (their difference), and what `watch` said.
    """

    steps: pd.DataFrame
    checkpoints: pd.DataFrame

    @property
    def last(self) -> pd.Series:
        """The last checkpoint."""
        return self.checkpoints.iloc[-1]


def dpop_loss(
    logp_w: Tensor,
    logp_l: Tensor,
    ref_w: Tensor,
    ref_l: Tensor,
    *,
    beta: float = 0.1,
    penalty: float = 50.0,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""DPO-positive (Pal et al. 2024, arXiv 2402.13228): DPO whose margin pays for any fall of the preferred answer.

    :math:`-\log\sigma(\beta(h_w-h_l-\lambda\max(0,-h_w)))` with :math:`h=\log\pi-\log\pi_{ref}` and `penalty`
    :math:`\lambda`, by default the mean over the batch. With :math:`\lambda=0` it is DPO.

    Raises
    ------
    ValueError
        For a negative `penalty`, `beta` of zero or less, or log-probabilities of different shapes.
    """
    if penalty < 0:
        raise ValueError(f"penalty must be at least 0, got {penalty}")
    paid = penalty * (ref_w.detach() - logp_w).clamp(min=0)
    return dpo_loss(logp_w - paid, logp_l, ref_w, ref_l, beta=beta, reduction=reduction)


def preference_loss(
    logp_w: Tensor,
    logp_l: Tensor,
    ref_w: Tensor | None = None,
    ref_l: Tensor | None = None,
    *,
    kind: Kind = "dpo",
    beta: float = 0.1,
    sft_coeff: float = 0.0,
    penalty: float = 50.0,
    lengths: tuple[Tensor, Tensor] | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Loss of a batch of pairs, from answers' log-probabilities of shape (B,) in nats.

    Parameters
    ----------
    ref_w, ref_l : Tensors of shape (B,), optional
        Under the reference; DPO, DPOP and IPO need them.
    kind : {"dpo", "ipo", "slic", "simpo", "sft", "dpop"}
    beta : float
        Of DPO, DPOP, IPO and SimPO.
    sft_coeff : float
        Weight of the preferred answers' negative log-likelihood per answer, added to the loss.
    penalty : float
        Of DPOP, see :func:`dpop_loss`.
    lengths : pair of Tensors (B,), optional
        Tokens of both answers; SimPO needs them.
    reduction : {"mean", "sum", "none"}

    Raises
    ------
    ValueError
        For an unknown kind (says which there are), or without what the kind needs.
    """
    needs = {"dpo": ref_w, "ipo": ref_w, "dpop": ref_w, "simpo": lengths}
    if kind not in KINDS:
        raise ValueError(f"unknown loss {kind!r}; allowed: {', '.join(KINDS)}")
    if kind in needs and needs[kind] is None:
        raise ValueError(f"{kind} needs {'lengths' if kind == 'simpo' else 'ref_w and ref_l'}")
    extra = sft_coeff * sft_term(logp_w, reduction=reduction) if sft_coeff else 0.0
    if kind == "sft":
        return sft_term(logp_w, reduction=reduction) + extra
    if kind == "slic":
        return slic_loss(logp_w, logp_l, reduction=reduction) + extra
    if kind == "simpo" and lengths is not None:
        return simpo_loss(logp_w, logp_l, *lengths, reduction=reduction) + extra
    assert ref_w is not None
    assert ref_l is not None
    if kind == "dpop":
        how: Any = {"beta": beta, "penalty": penalty, "reduction": reduction}
        return dpop_loss(logp_w, logp_l, ref_w, ref_l, **how) + extra
    loss = dpo_loss if kind == "dpo" else ipo_loss
    return loss(logp_w, logp_l, ref_w, ref_l, beta=beta, reduction=reduction) + extra


def train_preferences(
    model: Any,
    pairs: Sequence[Pair],
    *,
    kind: Kind = "dpo",
    beta: float = 0.1,
    sft_coeff: float = 0.0,
    lr: float = 3e-5,
    steps: int = 240,
    batch_size: int = 16,
    check_every: int = 40,
    watch: Watch | None = None,
    watch_end: Watch | None = None,
    pad_id: int = 0,
    seed: int = 0,
) -> PreferenceLog:
    """Train `model` in place on pairs, by RMSprop as the official runs do.

    The reference is the model as it comes, its log-probabilities computed once.

    Parameters
    ----------
    model : causal model of `transformers`
    pairs : sequence of Pair
    kind, beta, sft_coeff
        See :func:`preference_loss`.
    lr, steps, batch_size
        Of RMSprop at a constant rate. Adam at the same rate displaces much faster.
    check_every : int
        Steps between checkpoints, at which all pairs are scored; the last step is one in any case.
    watch : callable, optional
        ``watch(model) -> {name: value}`` at each checkpoint, such as a refusal rate.
    watch_end : callable, optional
        The same, at the last checkpoint only: what is costly and needed once.
    seed : int
        Of the data order.

    Raises
    ------
    ValueError
        For pairs with an empty or with two equal answers, or an unknown `kind`.
    """
    check_pairs(pairs)
    batch = both(pairs, pad_id=pad_id)
    start = _scores(model, batch)
    n = len(pairs)
    data = Columns(
        **{f"{name}_{side}": t for name, tensor in batch._asdict().items() for side, t in _halves(tensor, n)},
        ref_w=start[:n],
        ref_l=start[n:],
    )
    rows = [{"step": 0, "change_w": 0.0, "change_l": 0.0, "gap": 0.0, **(watch(model) if watch else {})}]

    def loss(net: Any, b: dict[str, Tensor]) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        width = int(torch.cat([b["mask_w"], b["mask_l"]]).sum(1).max())
        ids, mask, scored = (torch.cat([b[f"{x}_w"], b[f"{x}_l"]])[:, :width] for x in Answers._fields)
        w, l = token_logprobs(net, ids, mask, scored=scored).sum(1).chunk(2)  # noqa: E741
        lengths = (b["scored_w"].sum(1), b["scored_l"].sum(1))
        mean = preference_loss(
            w, l, b["ref_w"], b["ref_l"], kind=kind, beta=beta, sft_coeff=sft_coeff, lengths=lengths
        )
        return mean * len(w), torch.tensor(len(w)), {"logp_w": w.sum(), "logp_l": l.sum()}

    def check(run: Run) -> None:
        if run.step and (run.step % check_every == 0 or run.step == steps):
            rows.append(_checkpoint(run.model, batch, start, run.step, watch))
        if run.step == steps and watch_end is not None:
            rows[-1] |= watch_end(run.model)

    cfg = TrainConfig(
        steps,
        batch_size,
        lr=lr,
        schedule="constant",
        warmup=0,
        weight_decay=0.0,
        clip=None,
        seed=seed,
        log_every=1,
        progress=False,
    )
    log = fit(
        model, loss, data, cfg, callbacks=[check], optimizer=lambda groups: torch.optim.RMSprop(groups, lr=lr)
    )
    return PreferenceLog(log.frame, pd.DataFrame(rows))


def _halves(tensor: Tensor, n: int) -> list[tuple[str, Tensor]]:
    return [("w", tensor[:n]), ("l", tensor[n:])]


@torch.no_grad()
def _scores(model: Any, batch: Answers) -> Tensor:
    was = model.training
    model.eval()
    parts = [
        token_logprobs(
            model, batch.ids[i : i + 256], batch.mask[i : i + 256], scored=batch.scored[i : i + 256]
        ).sum(1)
        for i in range(0, len(batch.ids), 256)
    ]
    model.train(was)
    return torch.cat(parts)


def _checkpoint(
    model: Any, batch: Answers, start: Tensor, step: int, watch: Watch | None
) -> dict[str, float]:
    change = (_scores(model, batch) - start).double()
    w, l = (float(half.mean()) for half in change.chunk(2))  # noqa: E741
    return {"step": step, "change_w": w, "change_l": l, "gap": w - l, **(watch(model) if watch else {})}


def displacement_report(log: PreferenceLog) -> pd.DataFrame:
    """What became of the preferred answers: one row.

    Columns largest_fall (of their mean log-probability between two checkpoints, nats), change_w (at the end), gap.
    Displacement has to be looked for along the way: at the end the preferred answer may have come back.
    """
    w = log.checkpoints["change_w"]
    fall = float((w.cummax() - w).max())
    return pd.DataFrame([{"largest_fall": fall, "change_w": w.iloc[-1], "gap": log.last["gap"]}])
