"""Texts of known and unknown kinds: the domains of the corpora, split so that nothing is shared.

Documents that the shared base model never saw (:func:`loglik.language.corpora.held_out`) are cut, once and for
all, into test texts and texts to fine-tune on; parents are trained on the rest.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from loglik.language import corpora
from loglik.language.corpora import Doc

DOMAINS = ("gospels", "prophets", "history", "austen", "ham", "spam", "python")
BIBLE = ("gospels", "prophets", "history")
FAR = ("austen", "ham", "spam", "python")
NEAR = ("prophets", "history")
HUB = {  # name: (data set on the Hugging Face hub, configuration, split, text column)
    "20ng": ("SetFit/20_newsgroups", None, "test", "text"),
    "sst2": ("nyu-mll/glue", "sst2", "validation", "sentence"),
    "rte": ("nyu-mll/glue", "rte", "validation", "sentence1"),
    "mnli": ("nyu-mll/glue", "mnli", "validation_matched", "premise"),
    "imdb": ("stanfordnlp/imdb", None, "test", "text"),
    "clinc150": ("clinc/clinc_oos", "plus", "test", "text"),
    "sms": ("ucirvine/sms_spam", None, "train", "sms"),
}


class Pool(NamedTuple):
    """The documents of one domain."""

    test: tuple[Doc, ...]  # seen by no model
    train: tuple[Doc, ...]  # to fine-tune on; never seen by the shared base model
    parent: tuple[Doc, ...]  # for pretraining


def domain(doc: Doc) -> str | None:
    """Which domain a document belongs to; None for books that belong to none (law, wisdom, epistles)."""
    if doc.source == "kjv":
        genre = corpora.KJV_GENRES[doc.label]
        return genre if genre in BIBLE else None
    if doc.source == "spamassassin":
        return "spam" if doc.label.startswith("spam") else "ham"
    return {"austen": "austen", "pydoc": "python"}[doc.source]


@functools.cache
def load_pools(n_test: int = 200) -> dict[str, Pool]:
    """Every domain's documents: test, fine-tuning, pretraining; disjoint, and without near copies across them.

    Parameters
    ----------
    n_test : int
        Largest number of test documents of a domain; at most half of what the base model never saw.

    Returns
    -------
    dict of str to Pool
        The split doesn't depend on any seed.
    """
    found: dict[str, list[list[Doc]]] = {name: [[], []] for name in DOMAINS}
    seen: set[str] = set()
    order = np.random.default_rng(0)
    documents = [doc for name in corpora.SHA256 for doc in corpora.load_corpus(name)]
    for i in order.permutation(len(documents)):
        doc = documents[i]
        name, key = domain(doc), near_copy_key(doc.text)
        if name is None or key in seen:
            continue
        seen.add(key)
        found[name][int(corpora.held_out(doc))].append(doc)
    pools = {}
    for name, (old, fresh) in found.items():
        n = min(n_test, len(fresh) // 2)
        pools[name] = Pool(tuple(fresh[:n]), tuple(fresh[n:]), tuple(old))
    return pools


def near_copy_key(text: str) -> str:
    """Letters of a text's beginning: newsletters that differ in a date or a link share it."""
    return re.sub(r"[^a-z]", "", text.lower())[:60]


def other_verses(pools: dict[str, Pool]) -> list[Doc]:
    """Verses of the books that belong to no domain: pretraining text of a broad parent."""
    return [d for d in corpora.load_corpus("kjv", seed=0) if domain(d) is None and not corpora.held_out(d)]


def texts(documents: Iterable[Doc]) -> list[str]:
    """The texts alone."""
    return [doc.text for doc in documents]


def load_hub_texts(name: str, *, split: str | None = None, max_docs: int | None = None) -> list[str]:
    """Texts of the paper's own data sets, from the Hugging Face hub.

    Parameters
    ----------
    name : str
        One of ``HUB``: 20ng, sst2, rte, mnli, imdb, clinc150, sms.
    split : str, optional
        Default: the test or validation split.
    max_docs : int, optional

    Raises
    ------
    ValueError
        For an unknown name.
    ModuleNotFoundError, ConnectionError
        Without the package ``datasets`` or without a network; names the offline alternative.
    """
    if name not in HUB:
        raise ValueError(f"no data set {name!r}; there are {', '.join(HUB)}")
    path, config, default, column = HUB[name]
    offline = "offline, loglik.language.llm_ood_ratio.data.load_pools() has far, near and spam texts"
    try:
        from datasets import load_dataset  # type: ignore[import-not-found,unused-ignore]
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{name} needs the package datasets (pip install datasets); {offline}"
        ) from error
    try:
        rows = load_dataset(path, config, split=split or default)
    except Exception as error:
        raise ConnectionError(f"{path} can't be fetched ({error}); {offline}") from error
    return [row[column] for row in rows][:max_docs]
