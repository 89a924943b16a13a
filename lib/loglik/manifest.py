"""A chapter's manifest, ``notebooks/<part>/<paper>/paper.yml``: what the paper says and what decides.

The manifest holds what is fixed before a chapter runs: who wrote the paper, where its data come from,
and for each claim the criterion that turns a measurement into a verdict.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import yaml

PARTS = {
    "information": "Likelihood and information",
    "risk": "Classification and risk",
    "optimization": "Optimisation",
    "causal": "Causality",
    "sampling": "Sampling",
    "generative": "Generative models",
    "language": "Language models",
}
STATES = ("draft", "complete")
NOTEBOOKS = ("method", "reproduction", "apply")
SOURCES = ("paper", "abstract", "official code", "recalled", "derived", "ours")

# LibYAML where PyYAML was built with it: ten times as fast, and as safe.
FastLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_text = {"type": "string", "minLength": 1}
_expression = {"type": "string", "minLength": 3}


def _object(properties: Mapping[str, Any], *optional: str) -> dict[str, Any]:
    """A JSON-schema object whose keys are all required, except those named, and no others allowed."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": [key for key in properties if key not in optional],
        "additionalProperties": False,
    }


_claim = _object(
    {
        "id": {"type": "string", "pattern": r"^[A-Z][0-9]+[a-z]?$"},
        "statement": _text,
        "quantity": _text,
        "paper": _object({"value": _text, "where": _text, "source": {"enum": list(SOURCES)}}),
        "criterion": _object(
            {"text": _text, "reproduced": _expression, "partly": _expression},
            "reproduced",
            "partly",
        ),
        "notebook": {"type": "string", "pattern": "^[a-z][a-z0-9_]*$"},
        "at_most": {"enum": ["partly"]},
        "because": _text,
    },
    "notebook",
    "at_most",
    "because",
)
_claim["dependentRequired"] = {"at_most": ["because"], "because": ["at_most"]}

# Which public object computes a numbered equation, algorithm or theorem, and which tests hold it.
_result = _object(
    {
        "label": {"type": "string", "pattern": "^[a-z][a-z0-9-]*$"},
        "code": {"type": "array", "items": {"type": "string", "pattern": r"^loglik(\.\w+)+$"}},
        "tests": {"type": "array", "items": {"type": "string", "pattern": r"^test_\w+$"}},
    }
)

# The figure that a reader can drag: one parameter of one notebook, over a few values.
_explore = _object(
    {
        "notebook": {"type": "string", "pattern": "^[a-z][a-z0-9_]*$"},
        "figure": {"type": "string", "pattern": "^[a-z][a-z0-9-]*$"},
        "parameter": {"type": "string", "pattern": r"^[a-zA-Z_]\w*$"},
        "label": _text,  # what the slider changes, in words
        "values": {"type": "array", "items": {"type": ["number", "string"]}, "minItems": 3, "maxItems": 9},
        "shown": {"type": ["number", "string"]},  # the value that the page's own figure has
    }
)

# What the catalogue needs to know of any paper, whether its chapter exists or is planned.
ENTRY = {
    "title": _text,
    "authors": {"type": "array", "items": _text, "minItems": 1},
    "year": {"type": "integer", "minimum": 1950, "maximum": 2100},
    "venue": _text,
    "arxiv": {"type": ["string", "null"], "pattern": r"^(\d{4}\.\d{4,5}|[a-z-]+/\d{7})$"},
    "code": {"type": ["string", "null"], "pattern": "^https://"},
    "citation": {"type": "string", "pattern": "^[a-z]+[0-9]{4}[a-z]+$"},
    "promise": _text,
    "topics": {"type": "array", "items": _text, "minItems": 1},
    "hardware": _object({"book": {"enum": ["cpu", "gpu"]}, "full": _text}),
    "data": {
        "type": "array",
        "items": _object(
            {"name": _text, "source": _text, "licence": _text, "committed": {"type": "boolean"}}
        ),
    },
}
SCHEMA = _object(
    {
        "state": {"enum": list(STATES)},
        **ENTRY,
        "colab": {"type": "array", "items": _text},
        "no_apply": _text,
        "claims": {"type": "array", "items": _claim},
        "results": {"type": "array", "items": _result},
        "explore": _explore,
    },
    "colab",
    "no_apply",
    "results",
    "explore",
)


@dataclass(frozen=True)
class Criterion:
    """What decides a claim: in words, and as expressions over the measured values."""

    text: str
    reproduced: str | None = None
    partly: str | None = None
    at_most: str | None = None
    because: str | None = None


@dataclass(frozen=True)
class ClaimSpec:
    """One claim of a paper, as the manifest fixes it before anything is run."""

    id: str
    statement: str
    quantity: str  # what `measured` is, with its unit
    paper: Mapping[str, str]  # value, where, source
    criterion: Criterion
    notebook: str


@dataclass(frozen=True)
class NumberedResult:
    """An equation, algorithm or theorem with a number in the chapter, and where it lives in code."""

    label: str
    code: tuple[str, ...]  # dotted names of documented objects; empty for a definition that nothing computes
    tests: tuple[str, ...]  # functions of the chapter's test file

    @property
    def is_held(self) -> bool:
        """Whether it is computed and tested."""
        return bool(self.code and self.tests)


@dataclass(frozen=True)
class Manifest:
    """A parsed and checked ``paper.yml``."""

    address: str  # part/paper
    folder: Path
    claims: tuple[ClaimSpec, ...]
    raw: Mapping[str, Any]

    def __getitem__(self, key: str) -> Any:
        return self.raw[key]

    @property
    def part(self) -> str:
        """The part that the paper stands in."""
        return self.address.split("/")[0]

    @property
    def paper(self) -> str:
        """The paper's name, the same everywhere."""
        return self.address.split("/")[1]

    @property
    def results(self) -> tuple[NumberedResult, ...]:
        """The chapter's numbered equations, algorithms and theorems."""
        listed = self.raw.get("results", ())
        return tuple(NumberedResult(r["label"], tuple(r["code"]), tuple(r["tests"])) for r in listed)

    @property
    def notebooks(self) -> tuple[str, ...]:
        """Names of the chapter's notebooks: method, reproduction, apply, then any others."""
        present = {path.stem for path in self.folder.glob("*.py")}
        return tuple(n for n in NOTEBOOKS if n in present) + tuple(sorted(present - set(NOTEBOOKS)))

    def claim(self, claim_id: str) -> ClaimSpec:
        """The claim of that id; a ``ValueError`` names those that exist."""
        for claim in self.claims:
            if claim.id == claim_id:
                return claim
        known = ", ".join(c.id for c in self.claims) or "none"
        raise ValueError(f"{self.address} has no claim {claim_id!r}; paper.yml lists: {known}")


def validate(value: Any, schema: Mapping[str, Any], where: str) -> None:
    """Raise one ``ValueError`` listing every violation with file, key and what is allowed."""
    validator = jsonschema.Draft202012Validator(dict(schema))
    errors = sorted(validator.iter_errors(value), key=lambda error: list(map(str, error.absolute_path)))
    if errors:
        raise ValueError("\n".join(f"{where}: {_explain(error)}" for error in errors))


def _explain(error: jsonschema.ValidationError) -> str:
    key = "".join(f"[{k}]" if isinstance(k, int) else f".{k}" for k in error.absolute_path).lstrip(".")
    at = f"key '{key}': " if key else ""
    match error.validator:
        case "additionalProperties":
            known = error.schema["properties"]  # type: ignore[index]
            unknown = sorted(set(error.instance) - set(known))  # type: ignore[arg-type]
            return f"{at}unknown {_list(unknown)}; allowed: {_list(known)}"
        case "required":
            missing = sorted(set(error.validator_value) - set(error.instance))  # type: ignore[arg-type]
            return f"{at}missing {_list(missing)}"
        case "dependentRequired":
            return f"{at}'at_most' and 'because' go together"
        case "enum":
            return f"{at}{error.instance!r} is not allowed; allowed: {_list(error.validator_value)}"
        case "type":
            return f"{at}{error.instance!r} is not of type {error.validator_value}"
        case "pattern":
            return f"{at}{error.instance!r} does not have the form {error.validator_value}"
    return f"{at}{error.message}"


def _list(names: Any) -> str:
    return ", ".join(repr(name) for name in names)


def load(path: Path) -> Manifest:
    """Read and check one ``paper.yml``.

    Raises
    ------
    ValueError
        With file, key and what is allowed, for every violation of the schema.
    """
    where = "/".join(path.parts[-4:])
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), FastLoader)
    except yaml.YAMLError as error:
        raise ValueError(f"{where}: not readable as YAML: {error}") from error
    validate(raw, SCHEMA, where)
    claims = tuple(_claim_spec(claim) for claim in raw["claims"])
    _check_claims(claims, path.parent, raw, where)
    address = f"{path.parent.parent.name}/{path.parent.name}"
    return Manifest(address=address, folder=path.parent, claims=claims, raw=raw)


def _claim_spec(raw: Mapping[str, Any]) -> ClaimSpec:
    return ClaimSpec(
        id=raw["id"],
        statement=raw["statement"].strip(),
        quantity=raw["quantity"],
        paper=raw["paper"],
        criterion=Criterion(**raw["criterion"], at_most=raw.get("at_most"), because=raw.get("because")),
        notebook=raw.get("notebook", "reproduction"),
    )


def _check_claims(claims: tuple[ClaimSpec, ...], folder: Path, raw: Mapping[str, Any], where: str) -> None:
    seen: set[str] = set()
    for claim in claims:
        if claim.id in seen:
            raise ValueError(f"{where}: claim id {claim.id!r} is used twice")
        seen.add(claim.id)
        if not (folder / f"{claim.notebook}.py").exists():
            raise ValueError(
                f"{where}: claim {claim.id} names notebook {claim.notebook!r}, which isn't there"
            )
    if raw["state"] == "complete" and not claims:
        raise ValueError(f"{where}: a complete chapter has claims; 'claims' is empty")
    explore = raw.get("explore")
    if explore is not None and explore["shown"] not in explore["values"]:
        raise ValueError(f"{where}: explore.shown is {explore['shown']!r}, which is none of explore.values")
    if not (folder / "apply.py").exists() and "no_apply" not in raw:
        raise ValueError(f"{where}: without an 'apply' notebook, 'no_apply' has to say why")


def read(path: Path) -> Manifest:
    """Like :func:`load`, but read anew only when the file has changed."""
    return _load_cached(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=256)
def _load_cached(path: Path, _modified: int) -> Manifest:
    return load(path)


def find(address: str) -> Manifest:
    """The manifest of ``part/paper``, from the checkout around us or from the installed package."""
    for base in notebook_folders():
        path = base / address / "paper.yml"
        if path.exists():
            return read(path)
    raise FileNotFoundError(
        f"no chapter {address!r}: looked for {address}/paper.yml in "
        + ", ".join(str(base) for base in notebook_folders())
    )


def notebook_folders() -> Iterator[Path]:
    """Where chapters may stand: the working directory's checkout, ours, the installed package."""
    package = Path(__file__).resolve().parent
    seen = set()
    for root in (*_checkouts(Path.cwd()), *_checkouts(package)):
        if root not in seen:
            seen.add(root)
            yield root / "notebooks"
    if (package / "_notebooks").is_dir():
        yield package / "_notebooks"


def _checkouts(start: Path) -> list[Path]:
    return [p for p in (start, *start.parents) if (p / "_toc.yml").exists() and (p / "notebooks").is_dir()]
