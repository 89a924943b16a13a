"""Texts that ship with the package: the King James Bible, Austen's novels, SpamAssassin mails, Python's reference.

Each is one xz-compressed file of JSON lines beside this module, made once by
:mod:`loglik.language.corpora.rebuild` from packages that anybody can install; ``CARD.md`` has origin, licence
and figures. A file whose sha256 isn't the one below is refused, because results would silently be others.
"""

from __future__ import annotations

import functools
import hashlib
import json
import lzma
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

HERE = Path(__file__).resolve().parent
SHA256 = {
    "kjv": "780fc781e27ece2671e0d717c34f6564ea2b5e2ed9356dfdb572db5066a5ace4",
    "austen": "ffe60dcedb78813c052afcc41eaf11bee4bdeeda3363d6e7df1ac831cded5f07",
    "spamassassin": "4fde54f6ba0427f2bec0488dd9b82c2bf51dd1d372958ce26f350f6039fe0dc1",
    "pydoc": "f3143b0df7224b41d0d393d411bc592a15bb8cecd7b054cdb2013a99f634d732",
}
_GENRES = {
    "law": "Genesis Exodus Leviticus Numbers Deuteronomy",
    "history": "Joshua Judges Ruth 1_Samuel 2_Samuel 1_Kings 2_Kings 1_Chronicles 2_Chronicles Ezra Nehemiah Esther",
    "wisdom": "Job Psalms Proverbs Ecclesiastes Song_of_Songs",
    "prophets": (
        "Isaiah Jeremiah Lamentations Ezekiel Daniel Hosea Joel Amos Obadiah Jonah Micah Nahum Habakkuk "
        "Zephaniah Haggai Zechariah Malachi"
    ),
    "gospels": "Matthew Mark Luke John Acts",
    "epistles": (
        "Romans 1_Corinthians 2_Corinthians Galatians Ephesians Philippians Colossians 1_Thessalonians "
        "2_Thessalonians 1_Timothy 2_Timothy Titus Philemon Hebrews James 1_Peter 2_Peter 1_John 2_John "
        "3_John Jude Revelation"
    ),
}
#: Genre of each book of the Bible, for near out-of-distribution settings: same language, other topics.
KJV_GENRES = {book.replace("_", " "): genre for genre, books in _GENRES.items() for book in books.split()}


class Doc(NamedTuple):
    """One document."""

    text: str
    source: str  # name of the corpus
    label: str  # book of the Bible, novel, group of mails, topic
    doc_id: str  # unique in its corpus, in the order of the original


def load_corpus(name: str, *, seed: int | None = None, max_docs: int | None = None) -> list[Doc]:
    """The documents of a corpus.

    Parameters
    ----------
    name : {"kjv", "austen", "spamassassin", "pydoc"}
        31,102 verses; paragraphs of six novels; mails (subject and body, cut to 600 characters, addresses
        masked, exact copies dropped); paragraphs of Python's reference.
    seed : int, optional
        Shuffle with this seed; None keeps the original order.
    max_docs : int, optional
        Keep the first so many, after shuffling.

    Raises
    ------
    ValueError
        For an unknown name (says which there are), a `max_docs` below 1, or a file that was changed.
    """
    if name not in SHA256:
        raise ValueError(f"no corpus {name!r}; there are {', '.join(SHA256)}")
    if max_docs is not None and max_docs < 1:
        raise ValueError(f"max_docs must be at least 1, got {max_docs}")
    docs = list(_read(name))
    if seed is not None:
        docs = [docs[i] for i in np.random.default_rng(seed).permutation(len(docs))]
    return docs[:max_docs]


def held_out(doc: Doc) -> bool:
    """Whether the document is one of the fifth that :mod:`loglik.language.base` never saw.

    Decided by its name alone, so that every chapter draws the same line.
    """
    return zlib.crc32(f"{doc.source}:{doc.doc_id}".encode()) % 5 == 0


def texts(docs: Iterable[Doc]) -> list[str]:
    """The texts alone."""
    return [doc.text for doc in docs]


@functools.cache
def _read(name: str) -> tuple[Doc, ...]:
    packed = (HERE / f"{name}.jsonl.xz").read_bytes()
    found = hashlib.sha256(packed).hexdigest()
    if found != SHA256[name]:
        raise ValueError(
            f"the corpus {name!r} was changed: sha256 {found[:12]}…, wanted {SHA256[name][:12]}…"
        )
    lines = lzma.decompress(packed).decode("utf-8").splitlines()
    return tuple(Doc(row["text"], name, row["label"], row["id"]) for row in map(json.loads, lines))
