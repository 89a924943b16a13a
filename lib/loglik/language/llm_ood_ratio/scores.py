"""The scores: ratio of a parent to its child, the likelihoods that it is made of, and the four of a question.

Higher always means *less like the child's training data*.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loglik.language import scoring, tokens
from loglik.language.llm_ood_ratio.products import wide_products

Floats = NDArray[np.float64]
NAMES = ("LR", "NLR", "LH", "NLH", "LH_pre")


class LogLikelihoods(NamedTuple):
    """Log-likelihoods of N texts under both models."""

    parent: Floats  # (N,) nats, summed over the scored tokens
    child: Floats  # (N,)
    n_tokens: Floats  # (N,) number of scored tokens


def ratio_scores(
    logp_pre: ArrayLike, logp_ft: ArrayLike, n_tokens: ArrayLike, *, compat: str | None = None
) -> dict[str, Floats]:
    """Ratio and likelihood scores from two log-likelihoods.

    Parameters
    ----------
    logp_pre, logp_ft : array_like of shape (N,)
        Log-likelihood of each text under the pretrained parent and the fine-tuned child, in nats.
    n_tokens : array_like of shape (N,)
        Number of scored tokens (a first token that is only conditioned on doesn't count).
    compat : {None, "official"}
        ``"official"`` inflates every sum by ``(n + 1) / n`` as the released code does: it multiplies the mean over
        the n predicted tokens by the number of input ids.

    Returns
    -------
    dict of arrays of shape (N,)
        ``LR`` = log parent − log child (the paper's score), ``NLR`` the same a token, ``LH`` = −log child, ``NLH``
        the same a token, ``LH_pre`` = −log parent.

    Raises
    ------
    ValueError
        For shapes that differ, a text without a scored token, or a value that isn't finite, with its index.

    Examples
    --------
    >>> ratio_scores([-10.0], [-8.0], [4])["LR"].tolist()
    [-2.0]
    """
    if compat not in (None, "official"):
        raise ValueError(f"unknown compat {compat!r}; allowed: None, 'official'")
    parent, child, n = (np.asarray(values, dtype=float) for values in (logp_pre, logp_ft, n_tokens))
    if not parent.shape == child.shape == n.shape or parent.ndim != 1:
        raise ValueError(
            f"the three arrays must have one shape (N,), got {parent.shape}, {child.shape}, {n.shape}"
        )
    _check(n > 0, "text {} has no scored token")
    _check(np.isfinite(parent) & np.isfinite(child), "the log-likelihood of text {} is not finite")
    if compat == "official":
        parent, child = parent * (n + 1) / n, child * (n + 1) / n
    ratio = parent - child
    return {"LR": ratio, "NLR": ratio / n, "LH": -child, "NLH": -child / n, "LH_pre": -parent}


def log_likelihoods(
    parent: Any, child: Any, batch: tokens.TokenBatch, *, tokens_per_batch: int | None = None
) -> LogLikelihoods:
    """Both models' log-likelihoods of the same batch of tokens.

    Parameters
    ----------
    parent, child : causal models of `transformers`
        With one vocabulary.
    batch : TokenBatch of N texts
    tokens_per_batch : int, optional
        See :func:`loglik.language.scoring.score`.

    Raises
    ------
    ValueError
        When the vocabularies differ in size, or a text has no scored token.
    """
    check_vocabularies(parent, child)
    out = []
    for model in (parent, child):
        was_training = model.training
        model.eval()  # dropout of an adapter would corrupt the ratio silently
        try:
            out.append(log_likelihood(model, batch, tokens_per_batch=tokens_per_batch))
        finally:
            model.train(was_training)
    return LogLikelihoods(out[0][0], out[1][0], out[0][1])


def log_likelihood(
    model: Any, batch: tokens.TokenBatch, *, tokens_per_batch: int | None = None
) -> tuple[Floats, Floats]:
    """One model's log-likelihoods of texts (N,), nats, and their numbers of scored tokens (N,).

    Parameters
    ----------
    model : causal model of `transformers`
        In evaluation mode.
    batch : TokenBatch of N texts
    tokens_per_batch : int, optional
        See :func:`loglik.language.scoring.score`.
    """
    with wide_products(model):
        found = scoring.score(model, batch, tokens_per_batch=tokens_per_batch)
    return found.logp.numpy(), found.n_tokens.numpy().astype(float)


def qa_scores(
    in_model: Any,
    out_model: Any,
    tokenizer: Any,
    questions: Sequence[str],
    answers: Sequence[str],
    *,
    max_len: int | None = None,
) -> dict[str, Floats]:
    """Ratios on a question, its answer, both, and the answer given the question.

    Each of the three strings is scored as a document of its own, ended by a newline, as in the paper.

    Parameters
    ----------
    in_model, out_model : causal models
        The specialised model and its general sibling.
    tokenizer : tokenizer of both
    questions, answers : sequences of N str
        An answer is what the specialised model said, greedily.
    max_len : int, optional
        Longest document in tokens.

    Returns
    -------
    dict of arrays of shape (N,)
        ``q``, ``a``, ``qa``, and ``a_given_q`` = ``qa`` − ``q``.

    Raises
    ------
    ValueError
        For unequal numbers of questions and answers, or an empty one.
    """
    if len(questions) != len(answers):
        raise ValueError(f"got {len(questions)} questions and {len(answers)} answers")
    documents: Mapping[str, list[str]] = {
        "q": [f"{q}\n" for q in questions],
        "a": [f"{a}\n" for a in answers],
        "qa": [f"{q} {a}\n" for q, a in zip(questions, answers, strict=True)],
    }
    found = {}
    for name, texts in documents.items():
        both = log_likelihoods(out_model, in_model, tokens.encode(tokenizer, texts, max_len=max_len))
        found[name] = both.parent - both.child
    return found | {"a_given_q": found["qa"] - found["q"]}


class Gap(NamedTuple):
    """The two brackets of the identity, with standard errors."""

    ood: float  # KL(Q‖child) − KL(Q‖parent)
    id: float  # KL(P‖parent) − KL(P‖child)
    ood_se: float
    id_se: float


def kl_gap(
    logp_pre_id: ArrayLike, logp_ft_id: ArrayLike, logp_pre_ood: ArrayLike, logp_ft_ood: ArrayLike
) -> Gap:
    """Monte-Carlo estimate of the two differences of Kullback-Leibler divergences behind the ratio's gap of means.

    ``E_Q[LR] − E_P[LR] = (KL(Q‖child) − KL(Q‖parent)) + (KL(P‖parent) − KL(P‖child))``: the texts' own entropies
    cancel, so each bracket is a mean of log-ratios.

    Parameters
    ----------
    logp_pre_id, logp_ft_id : array_like of shape (N,)
        Under parent and child, texts of the known kind P.
    logp_pre_ood, logp_ft_ood : array_like of shape (M,)
        The same for texts of the unknown kind Q.

    Raises
    ------
    ValueError
        For fewer than two texts of a kind, or values that aren't finite.
    """
    known = np.asarray(logp_ft_id, dtype=float) - np.asarray(logp_pre_id, dtype=float)
    unknown = np.asarray(logp_pre_ood, dtype=float) - np.asarray(logp_ft_ood, dtype=float)
    for name, values in (("id", known), ("ood", unknown)):
        if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all():
            raise ValueError(
                f"the {name} log-likelihoods must be at least 2 finite numbers, got {values.shape}"
            )

    def error(values: Floats) -> float:
        return float(values.std(ddof=1) / np.sqrt(len(values)))

    return Gap(float(unknown.mean()), float(known.mean()), error(unknown), error(known))


def check_vocabularies(parent: Any, child: Any) -> None:
    """Raise a ValueError when two models can't share a tokenizer."""
    sizes = parent.config.vocab_size, child.config.vocab_size
    if sizes[0] != sizes[1]:
        raise ValueError(
            f"parent and child must share a vocabulary, theirs have {sizes[0]} and {sizes[1]} types"
        )


def _check(good: NDArray[np.bool_], message: str) -> None:
    bad = np.flatnonzero(~good)
    if len(bad):
        raise ValueError(message.format(bad[0]) + f" ({len(bad)} of {len(good)})")
