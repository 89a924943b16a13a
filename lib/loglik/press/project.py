"""The checkout that the press works on: where things stand, and what a profile may cost."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import yaml

from loglik import manifest
from loglik.chapter import PROFILES


@dataclass(frozen=True)
class Limits:
    """What one notebook may use at a profile before the press stops it."""

    seconds: float | None
    memory_mb: float | None


# Generous: a limit is for what hangs or runs away, never for what is merely slow on a busy machine.
LIMITS = {
    "smoke": Limits(seconds=300, memory_mb=4_000),
    "book": Limits(seconds=1_800, memory_mb=10_000),
    "full": Limits(seconds=None, memory_mb=None),
}
assert tuple(LIMITS) == PROFILES


@dataclass(frozen=True, order=True)
class Notebook:
    """One notebook of a chapter."""

    address: str  # part/paper
    name: str  # method, reproduction, apply …

    def __str__(self) -> str:
        return f"{self.address}/{self.name}"

    @property
    def page(self) -> str:
        """Its page in the book: a path from the root without suffix."""
        return f"notebooks/{self.address}/{self.name}"


@dataclass(frozen=True)
class Project:
    """A checkout of the book."""

    root: Path

    @property
    def build(self) -> Path:
        """Everything that is made and never committed."""
        return self.root / "_build"

    @property
    def requirements(self) -> Path:
        """The exact pins, the one source of versions."""
        return self.root / "requirements.txt"

    @property
    def results(self) -> Path:
        """Recorded runs."""
        return self.root / "book" / "results"

    def addresses(self) -> list[str]:
        """Addresses of all chapters, in the order of the parts, then by the table of contents."""
        found = {f"{p.parent.parent.name}/{p.parent.name}" for p in self.root.glob("notebooks/*/*/paper.yml")}
        order = {page: number for number, page in enumerate(self.pages())}
        parts = {part: number for number, part in enumerate(manifest.PARTS)}

        def place(address: str) -> tuple[int, int, str]:
            part = address.split("/")[0]
            return parts.get(part, len(parts)), order.get(f"notebooks/{address}/method", len(order)), address

        return sorted(found, key=place)

    def manifest(self, address: str) -> manifest.Manifest:
        """The checked manifest of a chapter; a ``ValueError`` names the chapters that exist."""
        if address not in self.addresses():
            raise ValueError(f"no chapter {address!r}; chapters: {', '.join(self.addresses()) or 'none yet'}")
        return manifest.read(self.root / "notebooks" / address / "paper.yml")

    def notebooks(self, address: str) -> list[Notebook]:
        """The notebooks of a chapter, in reading order."""
        return [Notebook(address, name) for name in self.manifest(address).notebooks]

    def select(self, names: list[str]) -> list[Notebook]:
        """Notebooks that `names` mean: chapters (part/paper), parts, or single notebooks; none means all.

        Raises
        ------
        ValueError
            For a name that is none of these; lists what exists.
        """
        if not names:
            return [notebook for address in self.addresses() for notebook in self.notebooks(address)]
        chosen = [notebook for name in names for notebook in self._meant(name.strip("/"))]
        return list(dict.fromkeys(chosen))

    def _meant(self, name: str) -> list[Notebook]:
        name = name.removeprefix("notebooks/").removesuffix(".ipynb").removesuffix(".py")
        pieces = name.split("/")
        if len(pieces) == 1:
            of_part = [a for a in self.addresses() if a.startswith(f"{name}/")]
            if not of_part:
                parts = sorted({a.split("/")[0] for a in self.addresses()})
                raise ValueError(f"no part {name!r} with chapters; parts with chapters: {', '.join(parts)}")
            return [notebook for address in of_part for notebook in self.notebooks(address)]
        notebooks = self.notebooks("/".join(pieces[:2]))
        if len(pieces) == 2:
            return notebooks
        if name not in map(str, notebooks):
            raise ValueError(f"no notebook {name!r}; it has: {', '.join(map(str, notebooks))}")
        return [notebook for notebook in notebooks if str(notebook) == name]

    def pages(self) -> list[str]:
        """Every page that the table of contents names, in its order."""
        path = self.root / "_toc.yml"
        return list(_contents(path, path.stat().st_mtime_ns))


@functools.lru_cache(maxsize=16)
def _contents(path: Path, _modified: int) -> tuple[str, ...]:
    """The pages of a table of contents, read once: every manifest asks for them."""
    return tuple(_files(yaml.safe_load(path.read_text(encoding="utf-8"))))


def _files(node: object) -> list[str]:
    if isinstance(node, list):
        return [page for item in node for page in _files(item)]
    if not isinstance(node, dict):
        return []
    own = [str(node[key]) for key in ("root", "file") if key in node]
    return own + [page for key in ("parts", "chapters", "sections") for page in _files(node.get(key, []))]


def find(start: Path | None = None) -> Project:
    """The checkout around `start` (the working directory), or the one that this package is installed from.

    Raises
    ------
    FileNotFoundError
        Outside a checkout; says how to get one.
    """
    here = (start or Path.cwd()).resolve()
    package = Path(__file__).resolve()
    for folder in (here, *here.parents, *package.parents):
        if (folder / "_toc.yml").exists() and (folder / "notebooks").is_dir():
            return Project(folder)
    raise FileNotFoundError(
        "not inside a checkout of the book: clone the repository and run this command in it"
    )
