"""Starting a chapter, and the texts that are made from the project's settings."""

from __future__ import annotations

import re
import subprocess
import textwrap
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

import yaml

from loglik.manifest import PARTS
from loglik.press import catalogue, files, pairs
from loglik.press.project import Project

_ADDRESS = re.compile(r"^[a-z]+/[a-z][a-z0-9_]*$")
_ENTRY = {
    "title": "The paper's title",
    "authors": ["First Author"],
    "year": 2026,
    "venue": "arXiv preprint",
    "arxiv": None,
    "code": None,
    "citation": "author2026title",
    "promise": "One sentence: what a reader gets.",
    "topics": ["a topic"],
    "hardware": {"book": "cpu", "full": "what the paper's scale takes"},
    "data": [],
}
_CHAPTER = "from loglik.chapter import Chapter"
_PARAMETERS = "n_reps = None  # type: Optional[int] replicates; None takes what the profile says\n"
_APPLY_PARAMETERS = 'data: str = ""  # a CSV file of yours; empty takes the example\n'
_SETTINGS = """
cfg = chapter.settings(smoke=dict(n_reps=20), book=dict(n_reps=400), full=dict(n_reps=2000), n_reps=n_reps)
"""
_JUDGE = """
# %% [markdown]
# ## Claim 1

# %%
values = chapter.rng("claim-1").normal(size=cfg.n_reps)
error = {paper}.standard_error(values)
chapter.claim(
    "C1",
    measured=values.mean(),
    interval=(values.mean() - 2 * error, values.mean() + 2 * error),
    interval_from="two standard errors over replicates",
)
"""
_PROMISES = {
    "method": (
        "the idea",
        "What the method does, shown on the smallest example, and where it breaks.",
        "",
        "",
        "",
    ),
    "reproduction": (
        "the claims",
        "Every claim of the paper beside what we measured.",
        _PARAMETERS,
        _SETTINGS,
        _JUDGE,
    ),
    "apply": ("your data", "The method on a file of yours.", _APPLY_PARAMETERS, "", ""),
}


def new(project: Project, address: str) -> list[Path]:
    """Make a draft chapter: manifest, three notebooks, module, tests, bench, its place in the contents.

    Raises
    ------
    ValueError
        For an address that isn't ``part/paper``, an unknown part, or a chapter that exists.
    """
    part, _, paper = address.partition("/")
    if not _ADDRESS.match(address) or part not in PARTS:
        raise ValueError(
            f"an address is part/paper in lower case with a part among {', '.join(PARTS)}; got {address!r}"
        )
    folder = project.root / "notebooks" / address
    if folder.exists():
        raise ValueError(f"notebooks/{address} exists already")
    entry = _take_planned(project, address) or _ENTRY
    written = _write_chapter(project, part, paper, entry)
    written += _write_code(project, part, paper, entry)
    written += [_into_contents(project, part, paper), _into_contracts(project, part, paper)]
    pairs.pair(project)
    return [*written, *(path.with_suffix(".ipynb") for path in sorted(folder.glob("*.py")))]


def _template(name: str, **values: Any) -> str:
    text = (resources("loglik.press") / "templates" / f"{name}.txt").read_text(encoding="utf-8")
    return text.format(**values)


def _take_planned(project: Project, address: str) -> dict[str, Any] | None:
    """What the list of planned papers knows of the paper; it leaves that list."""
    path = project.root / "book" / "planned.yml"
    planned = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}
    entry = planned.pop(address, None)
    if entry is not None:
        files.write_text(path, _yaml(planned))
    return dict(entry) if entry is not None else None


class _Indented(yaml.SafeDumper):
    """YAML as people write it: the items of a list stand further in than its key."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _yaml(value: Any) -> str:
    return str(yaml.dump(value, Dumper=_Indented, sort_keys=False, allow_unicode=True, width=110))


def _write_chapter(project: Project, part: str, paper: str, entry: dict[str, Any]) -> list[Path]:
    folder = project.root / "notebooks" / part / paper
    current = pairs.settings(project)
    manifest = folder / "paper.yml"
    files.write_text(manifest, _template("paper.yml", entry=_yaml(entry)))
    written = [manifest]
    for name, (what, promise, parameters, settings, body) in _PROMISES.items():
        text = _template(
            "notebook.py",
            header=pairs.HEADER,
            title=f"{entry['title']}: {what}",
            promise=promise,
            parameters=parameters,
            bootstrap=pairs.bootstrap(current["repository"], current["version"]),
            imports="\n".join(sorted([_CHAPTER, *([f"from loglik.{part} import {paper}"] if body else [])])),
            address=f"{part}/{paper}",
            notebook=name,
            body=settings + body.format(paper=paper),
        )
        files.write_text(folder / f"{name}.py", text)
        written.append(folder / f"{name}.py")
    return written


def _write_code(project: Project, part: str, paper: str, entry: dict[str, Any]) -> list[Path]:
    root = project.root
    values = {
        "part": part,
        "paper": paper,
        "caption": PARTS[part],
        "title": entry["title"],
        "authors": ", ".join(entry["authors"]),
        "year": entry["year"],
    }
    what = f"What {values['authors']} ({entry['year']}) add, and only that; baselines come from the well-kept"
    values["docstring"] = textwrap.fill(f"{what} library of the field.", 108)
    wanted = {
        root / "lib" / "loglik" / part / "__init__.py": f'"""{PARTS[part]}."""\n',
        root / "lib" / "loglik" / part / f"{paper}.py": _template("module.py", **values),
        root / "tests" / part / f"test_{paper}.py": _template("test.py", **values),
        root / "bench" / part / f"{paper}.py": _template("bench.py", **values),
        root / "book" / f"part_{part}.md": _template("part.md", **values),
    }
    missing = {path: text for path, text in wanted.items() if not path.exists()}
    for path, text in missing.items():
        files.write_text(path, text)
    api = root / "book" / f"api_{part}.md"
    before = api.read_text(encoding="utf-8") if api.exists() else f"# API: {PARTS[part].lower()}\n"
    files.write_text(api, before + _template("api.md", **values))
    return [*missing, api]


def _into_contents(project: Project, part: str, paper: str) -> Path:
    """Add the chapter to ``_toc.yml`` below its part's opening page, which comes in the order of the parts."""
    path = project.root / "_toc.yml"
    text = path.read_text(encoding="utf-8")
    comments = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
    toc = yaml.safe_load(text)
    parts = _chapters_of(toc)
    pages = [{"file": f"notebooks/{part}/{paper}/{name}"} for name in _PROMISES]
    opening = next((entry for entry in parts if entry["file"] == f"book/part_{part}"), None)
    if opening is None:
        opening = {"file": f"book/part_{part}", "sections": []}
        _insert_in_order(parts, opening, [f"book/part_{name}" for name in PARTS])
        _insert_in_order(
            _api_pages(toc), {"file": f"book/api_{part}"}, [f"book/api_{name}" for name in PARTS]
        )
    _list_at(opening, "sections").extend(pages)
    files.write_text(path, comments + _yaml(toc))
    return path


def _insert_in_order(pages: list[dict[str, Any]], page: dict[str, Any], order: list[str]) -> None:
    """Put a page behind those that come before it in `order`, unless it is there; other pages stay put."""
    if page in pages:
        return
    place = order.index(page["file"])
    pages.insert(sum(p["file"] in order and order.index(p["file"]) < place for p in pages), page)


def _api_pages(toc: dict[str, Any]) -> list[dict[str, Any]]:
    """The list of pages below the API's own; a book without one gets the parts' pages at its end."""
    for entry in toc["parts"]:
        for page in entry["chapters"]:
            if page["file"] == "book/api":
                return _list_at(page, "sections")
    toc["parts"].append({"caption": "Reference"})
    return _list_at(toc["parts"][-1], "chapters")


def _list_at(entry: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """The list below a key of the contents, made when it isn't there."""
    found: list[dict[str, Any]] = entry.setdefault(key, [])
    return found


def _chapters_of(toc: dict[str, Any]) -> list[dict[str, Any]]:
    """The list of the parts' opening pages in the contents."""
    found = next((entry for entry in toc["parts"] if entry["caption"] == "Chapters"), None)
    if found is None:
        found = {"caption": "Chapters", "numbered": 1}
        toc["parts"].append(found)
    return _list_at(found, "chapters")


def _into_contracts(project: Project, part: str, paper: str) -> Path:
    """Tell import-linter of the paper (independent of the others) and of its part (below the house)."""
    path = project.root / "pyproject.toml"
    text = path.read_text(encoding="utf-8")
    text = _add_to_list(text, 'type = "independence"\nmodules', f"loglik.{part}.{paper}")
    text = _add_to_list(text, "source_modules", f"loglik.{part}")
    files.write_text(path, text)
    return path


def _add_to_list(text: str, key: str, item: str) -> str:
    """Add `item` to the one-line or many-line TOML list after `key`, unless it is in it."""
    found = re.search(rf"{re.escape(key)} = \[(?P<items>[^\]]*)\]", text)
    if found is None:
        raise ValueError(f"pyproject.toml has no list {key.splitlines()[-1]!r} for import-linter")
    items = re.findall(r'"([^"]+)"', found["items"])
    lines = "".join(f'  "{name}",\n' for name in sorted({*items, item}))
    return text[: found.start()] + f"{key} = [\n{lines}]" + text[found.end() :]


# -- texts made from settings --------------------------------------------------------------------------------


def update_readme(project: Project, *, write: bool = True) -> bool:
    """Bring the README's table of papers up to date; whether it had to change."""
    path = project.root / "README.md"
    text = path.read_text(encoding="utf-8")
    updated = catalogue.with_readme_table(text, catalogue.readme_table(project.root))
    if write and updated != text:
        files.write_text(path, updated)
    return updated != text


def change_address(project: Project, repository: str) -> list[Path]:
    """Replace the repository's address in every tracked text file; the files that changed.

    Raises
    ------
    ValueError
        For an address that isn't OWNER/NAME.
    """
    if not re.match(r"^[A-Za-z0-9][\w.-]*/[\w.-]+$", repository):
        raise ValueError(f"the address must be OWNER/NAME, got {repository!r}")
    old = pairs.settings(project)["repository"].removeprefix("https://github.com/")
    replacements = {
        old: repository,
        _site(old): _site(repository),
        f"/{old.split('/')[1]}/": f"/{repository.split('/')[1]}/",
    }
    changed = []
    for path in tracked_texts(project):
        text = updated = path.read_text(encoding="utf-8")
        for before, after in replacements.items():
            updated = updated.replace(before, after)
        if updated != text:
            files.write_text(path, updated)
            changed.append(path)
    return changed


def _site(repository: str) -> str:
    owner, name = repository.split("/")
    return f"{owner}.github.io/{name}"


def tracked_texts(project: Project) -> list[Path]:
    """Every file in git that is text."""
    listed = subprocess.run(
        ["git", "-C", str(project.root), "ls-files", "-z"], capture_output=True, text=True, check=True
    ).stdout.split("\0")
    paths = [project.root / name for name in listed if name]
    return [path for path in paths if path.is_file() and b"\0" not in path.read_bytes()[:4096]]
