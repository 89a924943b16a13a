"""The run-it panel of a notebook page: a form made from the parameters cell, which writes commands.

Everything is in the page: ``panel.js`` needs no server. Without scripts a reader sees the plain command.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loglik import parameters
from loglik.parameters import Parameter
from loglik.press import catalogue
from loglik.press.catalogue import PROFILES, Repository
from loglik_book import markup
from loglik_book.markup import escape, link

OUTPUTS = (
    ("papermill", "Once, with papermill"),
    ("sweep", "For many seeds"),
    ("cell", "In Colab or Binder: the parameters cell"),
    ("address", "This form, as a link"),
)


def declared(root: Path, address: str, name: str) -> tuple[Parameter, ...]:
    """The parameters of a chapter's notebook, from its source in the checkout."""
    source = root / "notebooks" / address / f"{name}.py"
    return parameters.declared(source.read_text(encoding="utf-8")) if source.is_file() else ()


def costs(root: Path, address: str, name: str) -> dict[str, str]:
    """For each profile what the notebook took, in words; "not recorded" where there is no record."""
    found = {}
    for profile in reversed(PROFILES):
        record = catalogue.record_at(root, address, profile) or {"provenance": {"notebooks": {}}}
        cost = record["provenance"]["notebooks"].get(name)
        found[profile] = (
            f"{markup.duration(cost['wall_seconds'])}, {markup.memory(cost['peak_memory_mb'])}"
            if cost
            else "not recorded"
        )
    return found


def html(root: Path, address: str, name: str, repository: Repository) -> str:
    """The panel; empty for a notebook without parameters."""
    known = declared(root, address, name)
    if not known:
        return ""
    path = f"notebooks/{address}/{name}.ipynb"
    spent = costs(root, address, name)
    fields = "".join(_field(parameter, spent) for parameter in known)
    outputs = "".join(_output(key, label) for key, label in OUTPUTS)
    links = link("Open in Binder", repository.binder(path), "lk-button")
    links += link("Open in Colab", repository.colab(path), "lk-button")
    plain = f"papermill {path} out.ipynb -p profile smoke"
    return (
        '<details class="lk-run" id="run"><summary>Run it with your own parameters</summary>'
        f'<pre class="lk-line lk-no-js">{escape(plain)}</pre>'
        f'<form class="lk-js-only" data-notebook="{escape(path)}" data-chapter="{escape(f"{address}/{name}")}"'
        ' aria-label="Parameters of this notebook" autocomplete="off">'
        f'<div class="lk-fields">{fields}{_seeds(known)}</div>'
        '<p class="lk-problems" role="alert"></p>'
        f'<div class="lk-outputs" aria-live="polite">{outputs}</div>'
        f'<div class="lk-launch">{links}<button type="reset" class="lk-button">Reset the form</button></div>'
        "</form></details>"
    )


def _field(parameter: Parameter, spent: Mapping[str, str]) -> str:
    """One labelled field; its type and default travel as data for the script."""
    hint = f"lk-hint-{parameter.name}"
    attributes = (
        f'name="{escape(parameter.name)}" data-type="{escape(parameter.type)}" aria-describedby="{hint}"'
        f' data-default="{escape(json.dumps(parameter.default))}"'
    )
    return (
        f"<label><span><b>{escape(parameter.name)}</b> <small>{escape(parameter.type)}</small></span>"
        f'{_control(parameter, attributes, spent)}</label><small id="{hint}">{escape(parameter.help)}</small>'
    )


def _control(parameter: Parameter, attributes: str, spent: Mapping[str, str]) -> str:
    if parameter.name == "profile":
        return _choice(attributes, {p: f"{p} ({cost})" for p, cost in spent.items()}, parameter.default)
    if parameter.type == "bool":
        return _choice(attributes, {"false": "False", "true": "True"}, json.dumps(parameter.default))
    keyboard = {"int": "numeric", "float": "decimal"}.get(_inner(parameter.type), "text")
    return (
        f'<input type="text" inputmode="{keyboard}" spellcheck="false" {attributes} '
        f'value="{escape(written(parameter.default))}" placeholder="{escape(_placeholder(parameter.type))}">'
    )


def _choice(attributes: str, options: Mapping[str, str], chosen: Any) -> str:
    items = "".join(
        f'<option value="{escape(value)}"{" selected" if value == chosen else ""}>{escape(text)}</option>'
        for value, text in options.items()
    )
    return f"<select {attributes}>{items}</select>"


def written(value: Any) -> str:
    """A default as a person would type it: nothing for None, text without quotes, lists as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _inner(type_name: str) -> str:
    return type_name.removeprefix("Optional[").removesuffix("]") if "[" in type_name else type_name


def _placeholder(type_name: str) -> str:
    inner = _inner(type_name)
    example = "[1, 2]" if "int" in inner or "float" in inner else '["a", "b"]'
    shown = example if "list" in inner else {"int": "an integer", "float": "a number"}.get(inner, "")
    return f"None, or {shown or 'text'}" if type_name.startswith("Optional") else shown


def _seeds(known: tuple[Parameter, ...]) -> str:
    if not any(parameter.name == "seed" for parameter in known):
        return ""
    return (
        "<label><span><b>seeds of the sweep</b></span>"
        '<input type="text" data-sweep value="0..9" aria-describedby="lk-hint-sweep" spellcheck="false"></label>'
        '<small id="lk-hint-sweep">a range with both ends, or a list: 0..9 or 1,2,3</small>'
    )


def _output(key: str, label: str) -> str:
    return (
        f'<div class="lk-bib"><p id="lk-out-{key}">{label}</p>'
        '<button type="button" class="lk-copy">Copy</button>'
        f'<pre class="lk-line" tabindex="0" aria-labelledby="lk-out-{key}" data-output="{key}"></pre></div>'
    )
