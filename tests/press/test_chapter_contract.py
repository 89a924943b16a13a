"""The contract of every chapter in the book, and proof that each check can fail."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
import yaml

from loglik.press import contract, pairs, project, records
from loglik.press import files as press_files

BOOK = project.find()
ADDRESS = "sampling/demo"


@pytest.mark.parametrize("address", BOOK.addresses())
def test_every_chapter_keeps_the_contract(address):
    assert contract.problems(BOOK, address) == []


@pytest.mark.parametrize("address", BOOK.addresses())
def test_every_record_belongs_to_a_chapter_of_today(address):
    """Only the ``book`` record must be fresh; the verdicts of every record must be those of its criteria."""
    manifest = BOOK.manifest(address)
    for path in map((BOOK.results / address).joinpath, ("full.json", "book.json", "smoke.json")):
        if not path.exists():
            continue
        found = press_files.read_json(path)
        wrong = [
            p for p in records.problems(manifest, found) if "isn't the one that its criterion gives" in p
        ]
        assert not wrong or path.stem != "book"


def test_no_page_is_missing_from_the_contents():
    pages = {str(p.relative_to(BOOK.root).with_suffix("")) for p in BOOK.root.glob("notebooks/*/*/*.py")}
    pages |= {str(p.relative_to(BOOK.root).with_suffix("")) for p in BOOK.root.glob("book/*.md")}
    assert pages == set(BOOK.pages())


def test_a_scaffold_keeps_the_contract_and_runs(small):
    small.add(ADDRESS)
    done = small.loglik("check", ADDRESS)
    assert (done.returncode, done.stdout.strip()) == (0, "every chapter keeps the contract")


def test_a_scaffold_is_tidy_in_every_place(small):
    """In parts that come before and behind `chapter` in the alphabet, for papers known and unknown."""
    shutil.copy(BOOK.root / "tests" / "press" / "planned.yml", small.root / "book" / "planned.yml")
    for address in ("causal/many_authors", ADDRESS):
        small.add(address)
    modules = [f"lib/loglik/{address}.py" for address in ("causal/many_authors", ADDRESS)]
    for command in (["check", "--quiet"], ["format", "--check", "--quiet"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "notebooks", "tests", "bench", *modules],
            cwd=small.root,
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stdout) == (0, "")


def test_a_scaffold_lists_its_parts_api_page_once(small):
    """Also where the part had an API page before it had a chapter."""
    api = small.root / "book" / "api_causal.md"
    api.write_text("# API: causality\n")
    toc = small.root / "_toc.yml"
    page = {"file": "book/api", "sections": [{"file": "book/api_causal"}]}
    reference = [{"caption": "Reference", "chapters": [page]}]
    toc.write_text(yaml.safe_dump(yaml.safe_load(toc.read_text()) | {"parts": reference}))
    small.add("causal/many_authors")
    assert toc.read_text().count("book/api_causal") == 1


@pytest.fixture
def demo(small):
    small.add(ADDRESS)
    return small


def folder(demo):
    return demo.root / "notebooks" / ADDRESS


def change(path, before, after):
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))


def number_an_equation(d, **listed):
    """Give the finished chapter an equation with a number, and paper.yml what is said of it."""
    change(folder(d) / "method.py", "# ## Summary", "# $$\n# x = 1\n# $$ (demo-eq)\n#\n# ## Summary")
    change(folder(d) / "paper.yml", "state: draft", "state: complete")
    if listed:
        said = {
            "label": "demo-eq",
            "code": ["loglik.sampling.demo.standard_error"],
            "tests": ["test_standard_error_is_exact_for_two_values"],
        }
        path = folder(d) / "paper.yml"
        path.write_text(path.read_text() + yaml.safe_dump({"results": [said | listed]}))


BREAKS = {
    "results lacks demo-eq": number_an_equation,
    "results has demo-nothing, which is no label": lambda d: number_an_equation(d, label="demo-nothing"),
    "there is no loglik.sampling.demo.average": lambda d: number_an_equation(
        d, code=["loglik.sampling.demo.average"]
    ),
    "has no test_nothing": lambda d: number_an_equation(d, tests=["test_nothing"]),
    "is missing": lambda d: (d.root / "bench" / f"{ADDRESS}.py").unlink(),
    "does not document loglik.sampling.demo": lambda d: (d.root / "book/api_sampling.md").unlink(),
    "does not list notebooks/sampling/demo/apply": lambda d: change(
        d.root / "_toc.yml", "- file: notebooks/sampling/demo/apply\n", "- file: book/elsewhere\n"
    ),
    "independence contract": lambda d: change(d.root / "pyproject.toml", '  "loglik.sampling.demo",\n', ""),
    "method.ipynb isn't what method.py gives": lambda d: change(folder(d) / "method.ipynb", "Summary", "End"),
    "first cell is not a title": lambda d: change(folder(d) / "method.py", "# #", "# ##"),
    "bootstrap lines": lambda d: change(
        folder(d) / "method.py", "import loglik  #", "import loglik as ll  #"
    ),
    "house's header": lambda d: change(folder(d) / "method.py", "format_name: percent", "format_name: light"),
    "must declare seed": lambda d: change(folder(d) / "method.py", "seed: int = 0", "seed: int = 1"),
    "no comment that explains": lambda d: change(
        folder(d) / "method.py", "  # any integer from 0; all randomness follows from it", ""
    ),
    "papermill does not read parameter": lambda d: change(
        folder(d) / "method.py", "any integer from 0", "n = an integer"
    ),
    "gives claim C1 no verdict": lambda d: (
        change(folder(d) / "reproduction.py", "chapter.claim(", "print("),
        change(folder(d) / "paper.yml", "state: draft", "state: complete"),
    ),
    "does not end with chapter.summary()": lambda d: change(
        folder(d) / "method.py", "chapter.summary()", "1"
    ),
    "has 31 lines": lambda d: change(
        folder(d) / "method.py",
        "# %% [markdown]\n# ## Summary",
        "# %%\n" + "x = 1\n" * 31 + "\n# %% [markdown]\n# ## Summary",
    ),
    "names an absolute path": lambda d: change(
        folder(d) / "method.py", "# ## Summary", '# ## Summary\n# of "/home/me/data.csv"'
    ),
    "lacks a caption or an alternative text": lambda d: change(
        folder(d) / "method.py",
        "# %%\nchapter",
        '# %% mystnb={"figure": {"name": "demo-a", "caption": "A."}}\nchapter',
    ),
    "does not start with demo-": lambda d: change(
        folder(d) / "method.py",
        "# %%\nchapter",
        '# %% mystnb={"figure": {"name": "a", "caption": "A."}, "image": {"alt": "A."}}\nchapter',
    ),
    "book.json is missing": lambda d: change(folder(d) / "paper.yml", "state: draft", "state: complete"),
}
PAIRED = ("method.ipynb isn't",)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    from tests.conftest import SmallProject

    small = SmallProject(tmp_path_factory.mktemp("contract") / "project")
    small.add(ADDRESS)
    return small


@pytest.mark.parametrize("problem", BREAKS)
def test_each_promise_can_be_broken(pristine, problem, tmp_path):
    copy = tmp_path / "project"
    shutil.copytree(pristine.root, copy)
    broken = type("Copy", (), {"root": copy})
    assert contract.problems(project.Project(copy), ADDRESS) == []
    BREAKS[problem](broken)
    if not problem.startswith(PAIRED):
        for name in ("method", "reproduction", "apply"):
            source = folder(broken) / f"{name}.py"
            source.with_suffix(".ipynb").write_text(pairs.ipynb(source))
    found = contract.problems(project.Project(copy), ADDRESS)
    assert any(problem in line for line in found), found


def test_a_result_that_is_tied_to_code_is_fine(pristine, tmp_path):
    copy = tmp_path / "project"
    shutil.copytree(pristine.root, copy)
    broken = type("Copy", (), {"root": copy})
    number_an_equation(broken, tests=["test_standard_error_is_exact_for_two_values"])
    found = contract.problems(project.Project(copy), ADDRESS)
    assert not [line for line in found if "demo-eq" in line], found


def test_a_figure_without_words_is_found(tmp_path):
    cell = {"cell_type": "code", "metadata": {}, "outputs": [{"data": {"image/png": ""}}]}
    path = tmp_path / "executed.ipynb"
    path.write_text(json.dumps({"cells": [cell]}))
    assert contract.undescribed_figures(path) == ["cell 1 shows a figure without caption or alternative text"]
    cell["metadata"] = {"mystnb": {"figure": {"caption": "A."}, "image": {"alt": "A line."}}}
    path.write_text(json.dumps({"cells": [cell]}))
    assert contract.undescribed_figures(path) == []
