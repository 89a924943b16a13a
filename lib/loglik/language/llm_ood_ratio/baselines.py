"""What else could flag unfamiliar text: background models, n-grams, representations, compression, classifiers."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.base import clone
from sklearn.covariance import ShrunkCovariance
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import ParameterGrid, StratifiedKFold
from sklearn.naive_bayes import MultinomialNB
from sklearn.neighbors import NearestNeighbors
from sklearn.svm import LinearSVC

from loglik.language.llm_ood_ratio.products import wide_products
from loglik.language.models import forward
from loglik.language.tokens import TokenBatch

Floats = NDArray[np.float64]


def perturb_tokens(
    batch: TokenBatch, rate: float, vocab_size: int, generator: torch.Generator, *, first: int = 4
) -> TokenBatch:
    """Replace tokens at random: training data of the background model of Ren et al. (2019).

    Parameters
    ----------
    batch : TokenBatch
        Special tokens (ids below `first`) and padding stay.
    rate : float
        Probability of a replacement, in [0, 1].
    vocab_size : int
        Replacements are uniform on ``first .. vocab_size - 1``.
    generator : torch.Generator
    first : int
        Lowest id of an ordinary token.

    Raises
    ------
    ValueError
        For a rate outside [0, 1].
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"rate must lie in [0, 1], got {rate}")
    chosen = torch.rand(batch.ids.shape, generator=generator) < rate
    drawn = torch.randint(first, vocab_size, batch.ids.shape, generator=generator)
    change = chosen & batch.mask & (batch.ids >= first)
    return TokenBatch(torch.where(change, drawn, batch.ids), batch.mask)


class Bigram:
    """A bigram model with Dirichlet smoothing towards its unigram; the strength is tuned on known texts.

    Parameters
    ----------
    vocab_size : int
    strength : float
        Pseudo-counts that the unigram adds to a row.
    """

    def __init__(self, vocab_size: int, strength: float = 30.0) -> None:
        self.vocab_size, self.strength = vocab_size, strength

    def fit(self, batch: TokenBatch) -> Bigram:
        """Count tokens and pairs."""
        before, after = _pairs(batch)
        self.pairs = np.bincount(before * self.vocab_size + after, minlength=self.vocab_size**2)
        self.pairs = self.pairs.reshape(self.vocab_size, self.vocab_size)
        unigram = np.bincount(after, minlength=self.vocab_size) + 0.5
        self.unigram = unigram / unigram.sum()
        return self

    def score(self, batch: TokenBatch) -> Floats:
        """Log-likelihood of each text, (N,) nats."""
        before, after = _pairs(batch)
        given = self.pairs.sum(1)[before] + self.strength
        logp = np.log((self.pairs[before, after] + self.strength * self.unigram[after]) / given)
        return np.bincount(_text_of(batch), weights=logp, minlength=len(batch.ids)).astype(float)

    def tune(self, batch: TokenBatch, strengths: Sequence[float] = (3, 10, 30, 100, 300, 1000)) -> Bigram:
        """Take the strength that makes `batch` most likely."""
        totals = []
        for self.strength in strengths:
            totals.append(self.score(batch).sum())
        self.strength = strengths[int(np.argmax(totals))]
        return self


def _pairs(batch: TokenBatch) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    scored = batch.mask[:, 1:]
    return batch.ids[:, :-1][scored].numpy(), batch.ids[:, 1:][scored].numpy()


def _text_of(batch: TokenBatch) -> NDArray[np.int64]:
    scored = batch.mask[:, 1:]
    return torch.arange(len(scored))[:, None].expand_as(scored)[scored].numpy()


@torch.inference_mode()
def embed(model: Any, batch: TokenBatch, *, rows: int = 64) -> Floats:
    """Mean-pooled last hidden layer of each text, (N, d)."""
    out = []
    with wide_products(model):
        for ids, mask in zip(batch.ids.split(rows), batch.mask.split(rows), strict=True):
            width = int(mask.sum(1).max())
            ids, mask = ids[:, :width], mask[:, :width]
            hidden = forward(model, ids, mask, hidden=True, logits_to_keep=1).hidden_states[-1]
            weight = mask[:, :, None].float()
            out.append((hidden * weight).sum(1) / weight.sum(1))
    return torch.cat(out).double().numpy()


class Representations:
    """Distances of representations to known training texts (Uppaal et al., 2023).

    Parameters
    ----------
    train : array_like of shape (N, d)
        Of the known texts.
    shrinkage : float
        Of the covariance towards a multiple of the identity.
    """

    def __init__(self, train: ArrayLike, shrinkage: float = 1e-3) -> None:
        known = np.asarray(train, dtype=float)
        self.shape = ShrunkCovariance(shrinkage=shrinkage).fit(known)
        self.nearest = NearestNeighbors(n_neighbors=1, metric="cosine").fit(known)

    def scores(self, texts: ArrayLike) -> dict[str, Floats]:
        """Scores of texts (M, d), higher = more unknown: (M,) each.

        Returns
        -------
        dict
            ``Mahalanobis`` distance to the mean; ``kNN``, the cosine distance to the nearest training text.
        """
        new = np.asarray(texts, dtype=float)
        return {"Mahalanobis": self.shape.mahalanobis(new), "kNN": self.nearest.kneighbors(new)[0][:, 0]}


def compression_score(texts: Sequence[str], logp_ft: ArrayLike) -> Floats:
    """Bits a byte under the child minus bits a byte under zlib (after Serrà et al., 2020). (N,).

    Parameters
    ----------
    texts : sequence of N str
        What the child scored, no more.
    logp_ft : array_like of shape (N,)
        Nats.
    """
    raw = [text.encode() for text in texts]
    size = np.array([len(b) for b in raw], dtype=float)
    packed = np.array([len(zlib.compress(b, 9)) for b in raw], dtype=float)
    return -np.asarray(logp_ft, dtype=float) / np.log(2) / size - 8 * packed / size


def supervised_scores(
    train: Sequence[str], labels: ArrayLike, texts: Sequence[str], random_state: int
) -> dict[str, Floats]:
    """Five text classifiers on TF-IDF features, each tuned by cross-validated AUROC: higher = more spam.

    Parameters
    ----------
    train : sequence of N str
    labels : array_like of shape (N,), bool
        True for spam.
    texts : sequence of M str
    random_state : int
        Of forests and folds.

    Returns
    -------
    dict of arrays of shape (M,)
    """
    candidates: dict[str, tuple[Any, dict[str, list[Any]]]] = {
        "naive Bayes": (MultinomialNB(), {"alpha": [0.01, 0.1, 1.0]}),
        "logistic": (LogisticRegression(max_iter=1000), {"C": [1.0, 10.0, 100.0]}),
        "linear SVM": (LinearSVC(), {"C": [0.1, 1.0, 10.0]}),
        "random forest": (RandomForestClassifier(100, random_state=random_state), {"max_features": ["sqrt", 0.05]}),
        "boosting": (
            GradientBoostingClassifier(n_estimators=60, subsample=0.5, max_features="sqrt", random_state=random_state),
            {"max_depth": [3, 5]},
        ),
    }  # fmt: skip
    spam = np.asarray(labels, dtype=bool)
    folds = _folds(train, spam, random_state)
    (X, new), y = _features(train, texts), spam
    out = {}
    for name, (model, grid) in candidates.items():
        tried = [
            (
                np.mean([roc_auc_score(yv, _fit(model, options, Xf, yf)(Xv)) for Xf, yf, Xv, yv in folds]),
                options,
            )
            for options in ParameterGrid(grid)
        ]
        best = max(tried, key=lambda pair: pair[0])[1]  # the first of equals
        out[name] = _fit(model, best, X, y)(new)
    return out


def _features(train: Sequence[str], texts: Sequence[str]) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """TF-IDF of words and pairs of words, learnt on `train`."""
    found = TfidfVectorizer(sublinear_tf=True, min_df=2, ngram_range=(1, 2))
    return found.fit_transform(train), found.transform(texts)


def _folds(train: Sequence[str], labels: NDArray[np.bool_], random_state: int) -> list[tuple[Any, ...]]:
    """Three folds as (features, labels, held-out features, held-out labels): what all classifiers share."""
    out = []
    for fit, held in StratifiedKFold(3, shuffle=True, random_state=random_state).split(train, labels):
        X, new = _features([train[i] for i in fit], [train[i] for i in held])
        out.append((X, labels[fit], new, labels[held]))
    return out


def _fit(model: Any, options: dict[str, Any], X: Any, y: Any) -> Callable[[Any], Floats]:
    """A fresh `model` fitted with `options`: its score of rows, higher = more spam."""
    fitted = clone(model).set_params(**options).fit(X, y)
    if hasattr(fitted, "decision_function"):
        return lambda rows: np.asarray(fitted.decision_function(rows))
    return lambda rows: np.asarray(fitted.predict_proba(rows)[:, 1])


def first_tokens(tokenizer: Any, texts: Sequence[str], max_len: int) -> list[str]:
    """What is left of each text after the cut that the language models see, so that nobody reads more."""
    rows = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    return [tokenizer.decode(row[: max_len - 1]) for row in rows]
