"""From runs to pages, on a small book: outputs without execution, a failed chapter, prose alone."""

from __future__ import annotations

import shutil
import subprocess

import pytest

ADDRESS = "sampling/demo"
CONFIG = """
title: A small book
only_build_toc_files: true
exclude_patterns: [".*/**", "_build/**", "lib/**", "notebooks/**/*.ipynb"]
execute: {execute_notebooks: cache, timeout: 60, stderr_output: remove}
sphinx:
  recursive_update: true
  config:
    suppress_warnings: [myst.domains, mystnb.unknown_mime_type]
    nb_custom_formats: {.py: [jupytext.reads, {fmt: "py:percent"}]}
"""
SCAR = (
    "import pathlib\n\npathlib.Path('../../../ran').open('a').write('x')\nprint('outputs', 'of', 'a', 'run')"
)


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    from tests.conftest import SmallProject

    small = SmallProject(tmp_path_factory.mktemp("render") / "project")
    (small.root / "_config.yml").write_text(CONFIG)
    small.add(ADDRESS, method=SCAR)
    small.add("sampling/broken", method="print('before')\n\nraise RuntimeError('the sea rose')")
    # The directive that lists a part's papers belongs to the real book.
    (small.root / "book/part_sampling.md").write_text("# Sampling\n")
    done = small.loglik("book", "--profile", "smoke", "--lenient")
    assert done.returncode == 1, "one chapter is broken"
    assert "the site: " in done.stdout, done.stdout + done.stderr
    return small


def page(book, name):
    return (book.root / f"_build/html/notebooks/{name}.html").read_text()


def test_pages_show_the_outputs_and_nothing_ran_again(book):
    assert "outputs of a run" in page(book, f"{ADDRESS}/method")
    assert (book.root / "ran").read_text() == "x"


def test_a_failed_chapter_is_shown_as_far_as_it_came(book):
    text = page(book, "sampling/broken/method")
    assert "before" in text
    assert "the sea rose" in text


def test_prose_renders_anew_without_a_run(book):
    source = book.root / f"notebooks/{ADDRESS}/method.py"
    source.write_text(source.read_text().replace("# ## Summary", "# ## A new heading"))
    assert book.loglik("pair").returncode == 0
    book.loglik("book", "--profile", "smoke", "--lenient")
    assert "A new heading" in page(book, f"{ADDRESS}/method")
    assert (book.root / "ran").read_text() == "x"


def test_a_changed_method_reaches_its_page(book):
    """Sphinx sees only sources; changed outputs of an unchanged page must reach it all the same."""
    before = page(book, f"{ADDRESS}/reproduction")
    module = book.root / "lib/loglik/sampling/demo.py"
    module.write_text(module.read_text().replace("sample.std(ddof=1)", "3 * sample.std(ddof=1)"))
    book.loglik("book", "--profile", "smoke", "--lenient")
    assert page(book, f"{ADDRESS}/reproduction") != before
    assert (book.root / "ran").read_text() == "x"


def test_the_source_tree_stays_clean(book):
    work = shutil.copytree(
        book.root, book.root.parent / "clean", ignore=shutil.ignore_patterns("_build", "__pycache__")
    )
    subprocess.run(["git", "-C", str(work), "add", "-A"], check=True)
    for name in ("notebooks", "book"):
        assert not list((work / name).rglob("*.html"))
        assert not [path for path in (work / name).rglob("*.ipynb") if "output_type" in path.read_text()]
