"""The texts that ship with the package."""

import collections

import pytest

from loglik.language import corpora

COUNTS = {"kjv": 31_102, "austen": 9_413, "spamassassin": 5_844, "pydoc": 1_970}


@pytest.mark.parametrize("name", COUNTS)
def test_a_corpus_is_whole(name):
    docs = corpora.load_corpus(name)
    assert len(docs) == COUNTS[name]
    assert len({doc.doc_id for doc in docs}) == len(docs)
    assert all(doc.source == name and doc.text == " ".join(doc.text.split()) for doc in docs)


def test_the_texts_are_those_that_everybody_knows():
    assert corpora.load_corpus("kjv")[0].text == "In the beginning God created the heaven and the earth."
    assert any(
        d.text.startswith("It is a truth universally acknowledged") for d in corpora.load_corpus("austen")
    )


def test_every_book_of_the_bible_has_one_genre():
    books = collections.Counter(doc.label for doc in corpora.load_corpus("kjv"))
    assert set(books) == set(corpora.KJV_GENRES)
    assert len(books) == 66


def test_mails_are_cut_masked_and_without_copies():
    docs = corpora.load_corpus("spamassassin")
    assert max(len(doc.text) for doc in docs) <= 600
    assert not any("@spamassassin.taint.org" in doc.text for doc in docs)
    assert len(set(corpora.texts(docs))) == len(docs)


def test_a_seed_shuffles_and_the_same_seed_repeats():
    first, again = (corpora.load_corpus("pydoc", seed=3, max_docs=50) for _ in range(2))
    assert first == again
    assert first != corpora.load_corpus("pydoc", seed=4, max_docs=50)
    assert corpora.load_corpus("pydoc", max_docs=50) == corpora.load_corpus("pydoc")[:50]


def test_wrong_calls_say_what_is_allowed():
    with pytest.raises(ValueError, match="kjv, austen, spamassassin, pydoc"):
        corpora.load_corpus("pile")
    with pytest.raises(ValueError, match="at least 1"):
        corpora.load_corpus("kjv", max_docs=0)


def test_a_changed_file_is_refused(monkeypatch):
    monkeypatch.setitem(corpora.SHA256, "pydoc", "0" * 64)
    corpora._read.cache_clear()
    with pytest.raises(ValueError, match="was changed"):
        corpora.load_corpus("pydoc")
    corpora._read.cache_clear()
