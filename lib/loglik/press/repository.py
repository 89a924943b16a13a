"""Where the sources live: one setting, from which every launch, edit and download link derives."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote


@dataclass(frozen=True)
class Repository:
    """Where the sources live; every launch, edit and download link derives from it."""

    url: str
    branch: str = "main"

    @property
    def slug(self) -> str:
        """``owner/name``."""
        return "/".join(self.url.rstrip("/").removesuffix(".git").split("/")[-2:])

    @property
    def site(self) -> str:
        """Address of the rendered book, with a slash at its end."""
        owner, name = self.slug.split("/")
        return f"https://{owner.lower()}.github.io/{name}/"

    def source(self, path: str) -> str:
        """A file or folder at the head of the branch."""
        return f"{self.url}/blob/{self.branch}/{path}"

    def binder(self, path: str) -> str:
        """Launch link of mybinder.org for a notebook."""
        target = quote(f"lab/tree/{path}", safe="/")
        return f"https://mybinder.org/v2/gh/{self.slug}/{self.branch}?urlpath={target}"

    def colab(self, path: str) -> str:
        """Launch link of Google Colab for a notebook."""
        return f"https://colab.research.google.com/github/{self.slug}/blob/{self.branch}/{path}"


def repository(root: Path) -> Repository:
    """The repository that ``pyproject.toml`` names under ``[project.urls]``: the one setting.

    Raises
    ------
    ValueError
        When there is none, or it isn't of the form ``https://host/owner/name``.
    """
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    url = str(project.get("urls", {}).get("Repository", "")).rstrip("/")
    if not url.startswith("https://") or len(url.split("/")) != 5:
        raise ValueError(
            f"pyproject.toml: [project.urls] Repository must be https://host/owner/name, got {url!r}"
        )
    return Repository(url)
