"""What all tests share: a small project of its own, so that no test touches the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# Before NumPy is imported: two test processes on two cores must not fight for threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout under test."""
    return ROOT


class SmallProject:
    """A copy of the package with chapters of a test's own, driven by the real command in a real process."""

    def __init__(self, folder: Path) -> None:
        self.root = folder
        shutil.copytree(ROOT / "lib", folder / "lib", ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "requirements.txt"):
            shutil.copy(ROOT / name, folder / name)
        (folder / "book" / "results").mkdir(parents=True)
        (folder / "notebooks").mkdir()
        (folder / "_toc.yml").write_text("format: jb-book\nroot: book/index\nparts: []\n")
        (folder / "book" / "index.md").write_text("# A small book\n")
        subprocess.run(["git", "init", "-q", str(folder)], check=True)

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": str(self.root / "lib"),
            "COLUMNS": "200",
            "PYTHONWARNINGS": "ignore",
        }

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "loglik.cli", *arguments]

    def loglik(self, *arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def add(self, address: str, **cells: str) -> None:
        """A draft chapter; each keyword replaces the last code cell before the summary of that notebook."""
        done = self.loglik("new", address)
        assert done.returncode == 0, done.stderr
        for name, code in cells.items():
            path = self.root / "notebooks" / address / f"{name}.py"
            text = path.read_text()
            summary = "# %% [markdown]\n# ## Summary"
            assert summary in text
            path.write_text(text.replace(summary, f"# %%\n{code}\n\n{summary}"))
        assert self.loglik("pair").returncode == 0

    def runs(self, address: str) -> list[Path]:
        return sorted((self.root / "_build" / "runs" / address).glob("*/*"))


@pytest.fixture
def small(tmp_path: Path) -> SmallProject:
    """A project without chapters."""
    return SmallProject(tmp_path / "project")
