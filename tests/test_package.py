"""The package as a whole: light to import, and one version everywhere."""

from __future__ import annotations

import subprocess
import sys
import tomllib

import loglik


def test_import_loads_nothing_heavy():
    code = "import sys, loglik; print(*sorted({m.partition('.')[0] for m in sys.modules}))"
    loaded = set(
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
    )
    assert "loglik" in loaded
    assert not loaded & {"torch", "jax", "numpy", "scipy", "pandas", "matplotlib", "sklearn", "IPython"}


def test_chapter_needs_neither_torch_nor_jax():
    code = "import sys, loglik.chapter as c; c.use_style(); print(*sys.modules)"
    loaded = set(
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
    )
    assert not loaded & {"torch", "jax"}


def test_one_version(root):
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert project["version"] == loglik.__version__
    assert f"version: {loglik.__version__}" in (root / "CITATION.cff").read_text()
    assert f"## {loglik.__version__}" in (root / "CHANGELOG.md").read_text()
