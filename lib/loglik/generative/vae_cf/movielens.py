"""MovieLens: 100K from a package or a folder, 1M and 20M from a folder, a zip file or GroupLens."""

from __future__ import annotations

import importlib.util
import shutil
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from typing import IO, NamedTuple

import pandas as pd

from loglik.generative.vae_cf.data import binarize_interactions

URL = "https://files.grouplens.org/datasets/movielens/{name}.zip"
OPTIONAL = "make optional (or: pip install --no-deps recbole==1.2.1)"


class _Edition(NamedTuple):
    file: str  # inside the folder or zip
    separator: str
    header: bool
    counts: tuple[int, int, int] | None  # users, items, clicks after the filter


EDITIONS = {
    "ml-100k": _Edition("u.data", "\t", False, (938, 1447, 55_361)),
    "ml-1m": _Edition("ratings.dat", "::", False, None),
    "ml-20m": _Edition("ratings.csv", ",", True, (136_677, 20_720, 9_990_682)),
}
COLUMNS = ["user", "item", "rating", "timestamp"]


def find_movielens_100k() -> Path | None:
    """The folder of MovieLens-100K inside the package recbole, which isn't imported; None without it."""
    spec = importlib.util.find_spec("recbole")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "dataset_example" / "ml-100k"
    return folder if (folder / "ml-100k.inter").is_file() else None


def load_movielens(name: str = "ml-100k", root: str | Path = "data", download: bool = False) -> pd.DataFrame:
    """Clicks of MovieLens: ratings of 4 and more, of users with at least 5 of them.

    Parameters
    ----------
    name : {"ml-100k", "ml-1m", "ml-20m"}
    root : path
        Folder that holds ``<name>/`` as GroupLens packs it, or ``<name>.zip``. For ml-100k the package recbole will
        do instead.
    download : bool
        Fetch the zip file from GroupLens into `root` when it isn't there. Their terms forbid passing it on.

    Returns
    -------
    DataFrame
        Columns user and item.

    Raises
    ------
    FileNotFoundError
        When there is no file; names the ways to get it, and what runs without.
    OSError
        When the download fails.
    ValueError
        For an unknown name, or a file whose counts are not those of the paper.
    """
    if name not in EDITIONS:
        raise ValueError(f"unknown data set {name!r}; allowed: {', '.join(EDITIONS)}")
    clicks = binarize_interactions(_ratings(name, Path(root), download), "user", "item", "rating")
    expected = EDITIONS[name].counts
    counts = clicks["user"].nunique(), clicks["item"].nunique(), len(clicks)
    if expected is not None and counts != expected:
        raise ValueError(
            f"{name} has {counts} users, items and clicks of rating 4 and more; {expected} are expected: "
            "the file is another edition or incomplete"
        )
    return clicks


def movie_titles() -> dict[int, str]:
    """Titles of MovieLens-100K with their year, by item id; empty without the package that carries them."""
    folder = find_movielens_100k()
    if folder is None or not (folder / "ml-100k.item").is_file():
        return {}
    table = pd.read_csv(folder / "ml-100k.item", sep="\t", quoting=3, dtype=str)
    names = table["movie_title:token_seq"] + " (" + table["release_year:token"].fillna("?") + ")"
    return dict(zip(table["item_id:token"].astype(int), names, strict=True))


def _ratings(name: str, root: Path, download: bool) -> pd.DataFrame:
    edition = EDITIONS[name]
    file, archive = root / name / edition.file, root / f"{name}.zip"
    packaged = find_movielens_100k() if name == "ml-100k" else None
    if packaged is not None:
        table = pd.read_csv(packaged / "ml-100k.inter", sep="\t")
        return table.set_axis(COLUMNS, axis=1)
    if file.is_file():
        with file.open("rb") as stream:
            return _read(stream, edition)
    if not archive.is_file() and download:
        _download(URL.format(name=name), archive)
    if archive.is_file():
        with zipfile.ZipFile(archive) as packed, packed.open(f"{name}/{edition.file}") as stream:
            return _read(stream, edition)
    package = f", or {OPTIONAL}" if name == "ml-100k" else ""
    raise FileNotFoundError(
        f"no {file} and no {archive}: put GroupLens' {name}.zip there, or load_movielens(..., download=True)"
        f"{package}. Without a network simulate_clicks() gives clicks of the same kind"
    )


def _read(stream: IO[bytes], edition: _Edition) -> pd.DataFrame:
    table = pd.read_csv(
        stream,
        sep=edition.separator,
        header=0 if edition.header else None,
        engine="python" if len(edition.separator) > 1 else "c",
        encoding="latin-1",
    )
    return table.set_axis(COLUMNS, axis=1)


def _download(url: str, archive: Path) -> None:
    """Into a partial file first, so that a broken download is never taken for the data; zip checks its own CRCs."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    partial = archive.with_suffix(".part")
    try:
        with urllib.request.urlopen(url, timeout=60) as source, partial.open("wb") as sink:
            shutil.copyfileobj(source, sink)
    except (urllib.error.URLError, TimeoutError) as error:
        raise OSError(
            f"could not download {url} ({error}); without a network put the zip file at {archive}, "
            "or use simulate_clicks()"
        ) from error
    partial.replace(archive)
