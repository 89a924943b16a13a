"""Texts that are made from settings: notebooks in pairs, the bootstrap, Binder's pins, the address."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import types

import nbformat
import pytest

from loglik.press import binder, pairs, project, scaffold

BOOK = project.find()
ADDRESS = "sampling/demo"


def test_every_pair_is_equal():
    assert pairs.pair(BOOK, write=False) == []


def test_a_pair_is_always_the_same_bytes_and_holds_no_output(small):
    small.add(ADDRESS)
    source = small.root / f"notebooks/{ADDRESS}/reproduction.py"
    first = pairs.ipynb(source)
    assert first == pairs.ipynb(source)
    notebook = nbformat.reads(first, as_version=4)
    nbformat.validate(notebook)
    assert all(not cell.get("outputs") for cell in notebook.cells)
    assert [cell["id"] for cell in notebook.cells] == [f"cell-{i:03d}" for i in range(len(notebook.cells))]


def bootstrap_lines() -> str:
    current = pairs.settings(BOOK)
    return pairs.bootstrap(current["repository"], current["version"], ("numpyro",))


@pytest.mark.parametrize(("colab", "flags"), [(True, "--no-deps"), (False, "")])
def test_bootstrap_installs_the_pinned_revision_where_the_package_is_missing(monkeypatch, colab, flags):
    calls = []
    shell = types.SimpleNamespace(run_line_magic=lambda *words: calls.append(words))
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    monkeypatch.setitem(sys.modules, "loglik", None)  # importing it now raises ModuleNotFoundError
    if colab:
        monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    exec(compile(bootstrap_lines(), "set-up cell", "exec"), {})
    current = pairs.settings(BOOK)
    ((magic, arguments),) = calls
    assert magic == "pip"
    wanted = [
        "install",
        "-q",
        *flags.split(),
        "numpyro",
        f"git+{current['repository']}@v{current['version']}",
    ]
    assert arguments.split() == wanted


def test_bootstrap_costs_nothing_where_the_package_is_there(monkeypatch):
    monkeypatch.setattr("IPython.get_ipython", lambda: pytest.fail("asked for a shell"))
    exec(compile(bootstrap_lines(), "set-up cell", "exec"), {})


def test_binder_has_the_same_pins_and_nothing_local():
    assert not binder.update(BOOK, write=False), "binder/requirements.txt differs: loglik lock"
    lines = (BOOK.root / "binder/requirements.txt").read_text().splitlines()
    known = binder.pins(BOOK)
    pinned = [line for line in lines if "==" in line]
    assert {name: known[name] for name in (line.split("==")[0] for line in pinned)} == dict(
        line.split("==") for line in pinned
    )
    assert {"torch", "jax", "ipykernel", "papermill"} <= {line.split("==")[0] for line in pinned}
    assert not {"jupyter-book", "sphinx", "pytest"} & {line.split("==")[0] for line in pinned}
    assert all(re.match(r"^(#|--extra-index-url |[a-z0-9-]+==\S+$)", line) for line in lines), lines
    assert (BOOK.root / "binder/runtime.txt").read_text().strip() == "python-3.11"


def test_torch_is_pinned_to_the_release_that_has_a_cpu_build():
    assert binder.pins(BOOK)["torch"] == "2.13.0"
    assert binder.pins(BOOK)["jupyter-book"].startswith("1.")


def test_binders_script_does_its_work(tmp_path):
    """As far as it goes without Docker: run here, with a stand-in for pip and this environment's Python."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "pip").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/pip.log\n')
    (tools / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    for tool in tools.iterdir():
        tool.chmod(0o755)
    script = BOOK.root / "binder/postBuild"
    assert os.access(script, os.X_OK)
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    done = subprocess.run(
        [script], cwd=BOOK.root, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "pip.log").read_text().strip() == "install --no-cache-dir --no-deps -e ."


@pytest.fixture
def copy(tmp_path):
    """The tracked files of the book in a git repository of their own."""
    target = tmp_path / "copy"
    target.mkdir()
    listed = subprocess.run(
        ["git", "-C", str(BOOK.root), "ls-files", "-z"], capture_output=True, text=True, check=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (BOOK.root / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(BOOK.root / name, target / name)
    for words in (["init", "-q"], ["add", "-A"]):
        subprocess.run(["git", "-C", str(target), *words], check=True)
    return project.Project(target)


def test_the_address_is_one_setting(copy):
    old = pairs.settings(copy)["repository"].removeprefix("https://github.com/")
    changed = scaffold.change_address(copy, "someone/their-book")
    assert copy.root / "pyproject.toml" in changed
    left = [path for path in scaffold.tracked_texts(copy) if old in path.read_text(encoding="utf-8")]
    assert left == []
    assert pairs.pair(copy, write=False) == []
    for name in ("CITATION.cff", "README.md"):
        assert "someone/their-book" in (copy.root / name).read_text()
    assert "someone.github.io/their-book" in (copy.root / "CITATION.cff").read_text()
    with pytest.raises(ValueError, match="must be OWNER/NAME"):
        scaffold.change_address(copy, "nonsense")


def test_the_readme_table_is_todays():
    assert not scaffold.update_readme(BOOK, write=False), "the README's table differs: loglik readme"


def test_no_notebook_in_git_holds_outputs():
    for path in BOOK.root.glob("notebooks/*/*/*.ipynb"):
        assert not any(cell.get("outputs") for cell in json.loads(path.read_text())["cells"]), path
