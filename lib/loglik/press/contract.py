"""The chapter contract: what every chapter owes its reader, as checks that name what is wrong.

Each check takes the project and a manifest and gives sentences; none means that the promise is kept.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

from loglik import parameters, sources
from loglik.manifest import Manifest
from loglik.press import explore, files, pairs, records
from loglik.press.project import Project

LONGEST_CELL = 30
_OWN_PATH = re.compile(r"""["'(\s](/(home|root|work|tmp|Users|mnt|content)/|[A-Z]:\\)""")


def problems(project: Project, address: str) -> list[str]:
    """Everything that is wrong with a chapter; empty when the contract is kept."""
    manifest = project.manifest(address)
    return [f"{address}: {problem}" for check in CHECKS for problem in check(project, manifest)]


def _cells(manifest: Manifest, notebook: str) -> list[tuple[str, str]]:
    return parameters.cells((manifest.folder / f"{notebook}.py").read_text(encoding="utf-8"))


def has_its_notebooks(project: Project, manifest: Manifest) -> Iterator[str]:
    """The three notebooks are there and stand in the table of contents."""
    for name in ("method", "reproduction"):
        if name not in manifest.notebooks:
            yield f"{name}.py is missing"
    pages = set(project.pages())
    for notebook in project.notebooks(manifest.address):
        if notebook.page not in pages:
            yield f"_toc.yml does not list {notebook.page}"


def has_one_address(project: Project, manifest: Manifest) -> Iterator[str]:
    """Module, tests and bench stand at the paper's address, and import-linter knows the module."""
    part, paper = manifest.part, manifest.paper
    module = project.root / "lib" / "loglik" / part / paper
    if not module.is_dir() and not module.with_suffix(".py").exists():
        yield f"lib/loglik/{part}/{paper}.py (or a package of that name) is missing"
    for path in (f"tests/{part}/test_{paper}.py", f"bench/{part}/{paper}.py"):
        if not (project.root / path).exists():
            yield f"{path} is missing"
    api = project.root / "book" / f"api_{part}.md"
    if not api.exists() or f"loglik.{part}.{paper}\n" not in api.read_text(encoding="utf-8"):
        yield f"book/api_{part}.md does not document loglik.{part}.{paper}"
    with (project.root / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    independent = next(c["modules"] for c in contracts if c["type"] == "independence")
    if f"loglik.{part}.{paper}" not in independent:
        yield f"pyproject.toml: the independence contract of import-linter lacks loglik.{part}.{paper}"


def pairs_are_equal(project: Project, manifest: Manifest) -> Iterator[str]:
    """Each ``.ipynb`` is, to the byte, what its ``.py`` gives."""
    for name in manifest.notebooks:
        path = manifest.folder / f"{name}.ipynb"
        if not path.exists() or path.read_text(encoding="utf-8") != pairs.ipynb(path.with_suffix(".py")):
            yield f"{name}.ipynb isn't what {name}.py gives: run `loglik pair`"


def starts_as_agreed(project: Project, manifest: Manifest) -> Iterator[str]:
    """Header, title with a promise, parameters, then the set-up cell with the bootstrap lines."""
    current = pairs.settings(project)
    lines = pairs.bootstrap(current["repository"], current["version"], tuple(manifest.raw.get("colab", ())))
    for name in manifest.notebooks:
        text = (manifest.folder / f"{name}.py").read_text(encoding="utf-8")
        cells = parameters.cells(text)
        if not text.startswith(pairs.HEADER):
            yield f"{name}.py does not start with the house's header (loglik.press.pairs.HEADER)"
        if not cells or not re.match(r"# # \S.*\n(#\n)?# \w", cells[0][1]):
            yield f"{name}.py: the first cell is not a title with a one-sentence promise below it"
        setup = [body for head, body in cells if '"setup"' in head]
        if len(setup) != 1 or not setup[0].startswith(lines):
            yield f"{name}.py: the set-up cell does not start with the bootstrap lines: run `loglik pair`"


def declares_parameters(project: Project, manifest: Manifest) -> Iterator[str]:
    """Parameters are typed and explained, and papermill reads the same ones."""
    for name in manifest.notebooks:
        text = (manifest.folder / f"{name}.py").read_text(encoding="utf-8")
        declared = {parameter.name: parameter for parameter in parameters.declared(text)}
        for needed, default in (("profile", "book"), ("seed", 0)):
            if needed not in declared or declared[needed].default != default:
                yield f"{name}.py: the parameters cell must declare {needed} with default {default!r}"
        for parameter in declared.values():
            if not parameter.help:
                yield f"{name}.py: parameter {parameter.name} has no comment that explains it"
        yield from _papermill_agrees(manifest.folder / f"{name}.ipynb", declared)


def _papermill_agrees(path: Path, declared: dict[str, parameters.Parameter]) -> Iterator[str]:
    """Papermill reads the cell with a regular expression of its own, and drops what it doesn't understand."""
    import papermill

    if not path.exists():
        return
    seen = papermill.inspect_notebook(str(path))
    for parameter in declared.values():
        if not seen.get(parameter.name, {}).get("help"):
            yield (
                f"{path.name}: papermill does not read parameter {parameter.name}; "
                "an equals sign in its comment or a type such as 'int | None' makes it vanish"
            )


def judges_every_claim(project: Project, manifest: Manifest) -> Iterator[str]:
    """Each notebook ends with its summary; each claim is judged by name in its notebook, but a draft may owe some.

    Criteria are fixed before the first run, so a draft has claims before it has verdicts.
    """
    code = {
        name: "\n".join(b for h, b in _cells(manifest, name) if not h.startswith("[markdown]"))
        for name in manifest.notebooks
    }
    for claim in manifest.claims if manifest["state"] == "complete" else ():
        called = rf"chapter\.(claim|out_of_reach)\(\s*[\"']{claim.id}[\"']"
        if not re.search(called, code[claim.notebook]):
            yield f"{claim.notebook}.py gives claim {claim.id} no verdict"
    for name, text in code.items():
        if not text.rstrip().endswith("chapter.summary()"):
            yield f"{name}.py does not end with chapter.summary()"


def keeps_cells_short(project: Project, manifest: Manifest) -> Iterator[str]:
    """A cell over about 25 lines is a function that wants to move into the package."""
    for name in manifest.notebooks:
        for number, (head, body) in enumerate(_cells(manifest, name), 1):
            if head.startswith("[markdown]") or '"parameters"' in head or '"setup"' in head:
                continue
            lines = [line for line in body.splitlines() if line.strip() and not line.lstrip().startswith("#")]
            if len(lines) > LONGEST_CELL:
                yield f"{name}.py: cell {number} has {len(lines)} lines, more than {LONGEST_CELL}"


def names_no_own_path(project: Project, manifest: Manifest) -> Iterator[str]:
    """No absolute path of anybody's machine."""
    for name in manifest.notebooks:
        found = _OWN_PATH.search((manifest.folder / f"{name}.py").read_text(encoding="utf-8"))
        if found:
            yield f"{name}.py names an absolute path ({found[0].strip()}…)"


def describes_its_figures(project: Project, manifest: Manifest) -> Iterator[str]:
    """A cell that labels a figure gives it a caption and an alternative text, and the label names the paper."""
    for name in manifest.notebooks:
        for head, _ in _cells(manifest, name):
            found = re.search(r"mystnb=(\{.*\})\s*(tags=|$)", head)
            if not found:
                continue
            options = ast.literal_eval(found[1].replace("true", "True").replace("false", "False"))
            figure = options.get("figure")
            if figure is None:
                continue
            label = figure.get("name", "")
            if not label.startswith(f"{manifest.paper.replace('_', '-')}-"):
                yield f"{name}.py: figure label {label!r} does not start with {manifest.paper.replace('_', '-')}-"
            if not figure.get("caption") or not options.get("image", {}).get("alt"):
                yield f"{name}.py: figure {label!r} lacks a caption or an alternative text (image.alt)"


_LABELS = re.compile(r"^# (?:\$\$ \(([\w-]+)\)|:label: ([\w-]+))$", re.MULTILINE)


def ties_results_to_code(project: Project, manifest: Manifest) -> Iterator[str]:
    """Each numbered equation, algorithm or theorem is in paper.yml with the code that computes it and its tests."""
    if manifest["state"] == "draft":
        return
    texts = [(manifest.folder / f"{name}.py").read_text(encoding="utf-8") for name in manifest.notebooks]
    labels = {a or b for text in texts for a, b in _LABELS.findall(text)}
    listed = {result.label for result in manifest.results}
    for label in sorted(labels - listed):
        yield f"paper.yml: results lacks {label}, which has a number in the chapter"
    for label in sorted(listed - labels):
        yield f"paper.yml: results has {label}, which is no label of the chapter"
    tests = project.root / "tests" / manifest.part / f"test_{manifest.paper}.py"
    written = set(re.findall(r"^\s*def (test_\w+)", tests.read_text(encoding="utf-8"), re.MULTILINE))
    for result in manifest.results:
        for name in result.code:
            if not sources.defines(name, project.root / "lib" / "loglik"):
                yield f"paper.yml: results, {result.label}: there is no {name}"
        for name in set(result.tests) - written:
            yield f"paper.yml: results, {result.label}: {tests.name} has no {name}"


def has_fresh_frames(project: Project, manifest: Manifest) -> Iterator[str]:
    """The figure that a reader can drag was made by today's notebook, for today's values."""
    wanted = manifest.raw.get("explore")
    if wanted is None or manifest["state"] == "draft":
        return
    declared = {p.name for p in parameters.declared(sources.notebook_source(manifest, wanted["notebook"]))}
    if wanted["parameter"] not in declared:
        yield f"paper.yml: explore: {wanted['notebook']}.py has no parameter {wanted['parameter']}"
    found = files.read_json(explore.folder(project, manifest.address) / "frames.json")
    if found is None or explore.stale(manifest, found):
        yield f"the frames of {wanted['figure']} aren't today's: loglik explore {manifest.address}"


def has_a_fresh_record(project: Project, manifest: Manifest) -> Iterator[str]:
    """A complete chapter has a record at ``book`` that belongs to today's code; other records may be stale."""
    if manifest["state"] == "draft":
        return
    found = files.read_json(records.path_of(project, manifest.address, "book"))
    if found is None:
        yield f"book/results/{manifest.address}/book.json is missing: loglik run, then loglik record"
        return
    yield from records.problems(manifest, found)


CHECKS: tuple[Callable[[Project, Manifest], Iterator[str]], ...] = (
    has_its_notebooks,
    has_one_address,
    pairs_are_equal,
    starts_as_agreed,
    declares_parameters,
    judges_every_claim,
    keeps_cells_short,
    names_no_own_path,
    describes_its_figures,
    ties_results_to_code,
    has_fresh_frames,
    has_a_fresh_record,
)


def undescribed_figures(executed: Path) -> list[str]:
    """Cells of an executed notebook that show a picture without caption or alternative text."""
    notebook = files.read_json(executed) or {"cells": []}
    found = []
    for number, cell in enumerate(notebook["cells"], 1):
        shown = {kind for output in cell.get("outputs", []) for kind in output.get("data", {})}
        options = cell["metadata"].get("mystnb", {})
        described = options.get("figure", {}).get("caption") and options.get("image", {}).get("alt")
        if shown & {"image/png", "image/svg+xml", "image/jpeg"} and not described:
            found.append(f"cell {number} shows a figure without caption or alternative text")
    return found
