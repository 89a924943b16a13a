"""A detector with scikit-learn's manners: two models, a tokenizer, a threshold at a chosen false-alarm rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loglik.language import tokens
from loglik.language.llm_ood_ratio.scores import check_vocabularies, log_likelihoods, ratio_scores

Floats = NDArray[np.float64]


class LikelihoodRatioDetector:
    """Flag texts that a fine-tuned model doesn't know better than its parent does.

    Parameters
    ----------
    pretrained, finetuned : causal models of `transformers`
        Parent and child, with one vocabulary, on the device where each is to compute.
    tokenizer : tokenizer of both
    normalize : bool
        Divide the ratio by the number of scored tokens.
    max_len : int, optional
        Longest text in tokens; longer ones are cut, the same for both models. Default: the parent's context.
    batch_tokens : int, optional
        Padded tokens in a forward pass; see :func:`loglik.language.scoring.score`.

    Attributes
    ----------
    threshold_ : float
        Set by :meth:`fit`: texts with a higher score are flagged.

    Raises
    ------
    ValueError
        When the vocabularies differ, or the tokenizer has more types than the models.

    Notes
    -----
    **Mind the sign**: :meth:`ood_score` is higher for *unknown* texts, as in the paper; :meth:`score_samples` is its
    negative, higher for *normal* ones, as in scikit-learn's outlier detectors.
    """

    threshold_: float

    def __init__(
        self,
        pretrained: Any,
        finetuned: Any,
        tokenizer: Any,
        *,
        normalize: bool = False,
        max_len: int | None = None,
        batch_tokens: int | None = None,
    ) -> None:
        check_vocabularies(pretrained, finetuned)
        if len(tokenizer) > pretrained.config.vocab_size:
            raise ValueError(
                f"the tokenizer has {len(tokenizer)} types, the models {pretrained.config.vocab_size}: "
                "it is not theirs"
            )
        self.pretrained, self.finetuned, self.tokenizer = pretrained, finetuned, tokenizer
        self.normalize, self.batch_tokens = normalize, batch_tokens
        self.max_len = max_len or pretrained.config.max_position_embeddings

    def scores(self, texts: Sequence[str]) -> dict[str, Floats]:
        """All five scores of each text; see :func:`~loglik.language.llm_ood_ratio.scores.ratio_scores`."""
        batch = tokens.encode(self.tokenizer, texts, max_len=self.max_len)
        found = log_likelihoods(self.pretrained, self.finetuned, batch, tokens_per_batch=self.batch_tokens)
        return ratio_scores(*found)

    def ood_score(self, texts: Sequence[str]) -> Floats:
        """The ratio, log parent − log child: higher = more unknown. (N,)."""
        return self.scores(texts)["NLR" if self.normalize else "LR"]

    def score_samples(self, texts: Sequence[str]) -> Floats:
        """The negative of :meth:`ood_score`: higher = more normal. (N,)."""
        return -self.ood_score(texts)

    def fit(self, id_texts: Sequence[str], fpr: float = 0.05) -> LikelihoodRatioDetector:
        """Set the threshold from known texts that neither model was trained on; trains nothing.

        Parameters
        ----------
        id_texts : sequence of N str
        fpr : float
            Share of known texts that may be flagged. The threshold is the smallest score such that a new known text
            is flagged with at most this probability (split-conformal: rank ⌈(N + 1)(1 − fpr)⌉).

        Raises
        ------
        ValueError
            When `fpr` is not between 0 and 1, or so small that N texts can't support it.
        """
        self.threshold_ = conformal_threshold(self.ood_score(id_texts), fpr)
        return self

    def predict(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """1 for texts flagged as unknown, else 0. (N,)."""
        if not hasattr(self, "threshold_"):
            raise ValueError("there is no threshold yet: call fit with known texts first")
        return (self.ood_score(texts) > self.threshold_).astype(np.int64)


def conformal_threshold(scores: Floats, fpr: float) -> float:
    """Threshold that a new exchangeable score exceeds with probability at most `fpr`.

    Parameters
    ----------
    scores : ndarray of shape (N,)
        Of known texts that are not training data.
    fpr : float in (0, 1)

    Raises
    ------
    ValueError
        For an `fpr` outside (0, 1), or one below ``1 / (N + 1)``: then no finite threshold can promise it.
    """
    if not 0 < fpr < 1:
        raise ValueError(f"fpr must lie between 0 and 1, got {fpr}")
    n = len(scores)
    rank = int(np.ceil((n + 1) * (1 - fpr) - 1e-9))
    if rank > n:
        raise ValueError(
            f"{n} known texts can't support a false-alarm rate of {fpr}; "
            f"at least {int(np.ceil(1 / fpr)) - 1} are needed"
        )
    return float(np.sort(scores)[rank - 1])
