"""Claims and verdicts: a measurement meets the criterion that was fixed before it.

A criterion is a small expression over the measured values, such as ``high < 1`` or
``min(wins) >= 0.75``. It stands in the manifest, so no notebook can type a verdict.
"""

from __future__ import annotations

import ast
import html
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from loglik.manifest import ClaimSpec, Criterion

MIME = "application/vnd.loglik.claim+json"
REPRODUCED, PARTLY, FAILED, UNREACHED = VERDICTS = (
    "reproduced",
    "partly",
    "not reproduced",
    "out of reach",
)
SYMBOLS = {REPRODUCED: "✓", PARTLY: "◐", FAILED: "✗", UNREACHED: "–"}

Number = float | int
Evidence = Mapping[str, Number | bool | Sequence[Number]]

_BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_COMPARE: dict[type, Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "min": min,
    "max": max,
    "sum": sum,
    "len": len,
}


def evaluate(expression: str, values: Mapping[str, Any]) -> bool:
    """Decide a criterion's expression.

    Parameters
    ----------
    expression : str
        Comparisons joined by ``and``/``or``/``not`` over numbers, the names in `values`, ``+ - * / **``
        and ``abs, min, max, sum, len``. Nothing else is understood.
    values : mapping
        Numbers, or sequences of numbers for ``min`` and its kin.

    Raises
    ------
    ValueError
        For a name that `values` lacks, a NaN, syntax outside the above, or a result that isn't a truth value.
    """
    result = _value(ast.parse(expression, mode="eval").body, values, expression)
    if not isinstance(result, bool):
        raise ValueError(f"criterion {expression!r} gives {result!r}, not true or false")
    return result


def _value(node: ast.expr, values: Mapping[str, Any], whole: str) -> Any:
    def visit(child: ast.expr) -> Any:
        return _value(child, values, whole)

    match node:
        case ast.Constant(value=bool() | int() | float()):
            return node.value
        case ast.Name(id=name):
            return _look_up(name, values, whole)
        case ast.BoolOp(op=ast.And()):
            return all(list(map(visit, node.values)))  # every term is read, so a missing name always shows
        case ast.BoolOp(op=ast.Or()):
            return any(list(map(visit, node.values)))
        case ast.UnaryOp(op=ast.Not()):
            return not visit(node.operand)
        case ast.UnaryOp(op=ast.USub()):
            return -visit(node.operand)
        case ast.BinOp() if type(node.op) in _BINARY:
            return _BINARY[type(node.op)](visit(node.left), visit(node.right))
        case ast.Compare() if all(type(op) in _COMPARE for op in node.ops):
            terms = [visit(n) for n in (node.left, *node.comparators)]
            pairs = zip(node.ops, terms[:-1], terms[1:], strict=True)
            return all(bool(_COMPARE[type(op)](a, b)) for op, a, b in pairs)
        case ast.Call(func=ast.Name(id=name), keywords=[]) if name in _FUNCTIONS:
            return _FUNCTIONS[name](*map(visit, node.args))
    raise ValueError(f"criterion {whole!r}: {ast.unparse(node)!r} is not allowed; see loglik.claims.evaluate")


def _look_up(name: str, values: Mapping[str, Any], whole: str) -> Any:
    if name not in values:
        given = ", ".join(sorted(values)) or "nothing"
        raise ValueError(f"criterion {whole!r} needs {name!r}, but the claim gave: {given}")
    value = values[name]
    if any(math.isnan(v) for v in (value if isinstance(value, Sequence) else [value])):
        raise ValueError(f"criterion {whole!r}: {name} is NaN, so nothing can be decided")
    return value


def judge(criterion: Criterion, values: Mapping[str, Any]) -> str:
    """The verdict that a criterion gives to measured values."""
    if criterion.reproduced is None:
        raise ValueError("a criterion without a 'reproduced' expression can only be 'out of reach'")
    if evaluate(criterion.reproduced, values):
        return criterion.at_most or REPRODUCED
    if criterion.partly is not None and evaluate(criterion.partly, values):
        return PARTLY
    return FAILED


@dataclass(frozen=True)
class Claim:
    """A judged claim, as it travels in a notebook's outputs and in a record."""

    id: str
    statement: str
    quantity: str
    paper: Mapping[str, str]
    measured: Number | None
    interval: tuple[Number, Number] | None
    criterion: str
    verdict: str
    notebook: str
    interval_from: str | None = None  # seeds, bootstrap, Monte-Carlo error …
    evidence: Mapping[str, Any] = field(default_factory=dict)
    note: str | None = None  # why only partly, what was seen, or what it would take

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; an infinite number becomes a string, because JSON has none."""
        return jsonable(asdict(self))

    def ours(self) -> str:
        """The measured value with its interval, for people."""
        if self.measured is None:
            return "–"
        text = number(self.measured)
        if self.interval is not None:
            text += f" [{number(self.interval[0])}, {number(self.interval[1])}]"
        return text

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {MIME: self.to_json(), "text/html": self._html(), "text/plain": self._text()}

    def _text(self) -> str:
        lines = [
            f"{SYMBOLS[self.verdict]} {self.id} {self.verdict.upper()}: {self.statement}",
            f"  paper: {self.paper['value']} ({self.paper['where']}; {self.paper['source']})",
            f"  ours:  {self.ours()}  ({self.quantity}{self._interval_from()})",
            f"  criterion: {self.criterion}",
        ]
        return "\n".join(lines + ([f"  note: {self.note}"] if self.note else []))

    def _interval_from(self) -> str:
        return f"; interval: {self.interval_from}" if self.interval_from else ""

    def _html(self) -> str:
        e = html.escape
        rows = [
            (
                "Paper",
                f"{e(self.paper['value'])} <small>({e(self.paper['where'])}; {e(self.paper['source'])})</small>",
            ),
            (
                "Ours",
                f"<b>{e(self.ours())}</b> <small>{e(self.quantity + self._interval_from())}</small>",
            ),
            ("Criterion", e(self.criterion)),
        ]
        rows += [("Note", e(self.note))] if self.note else []
        body = "".join(
            f'<div style="display:flex;gap:.8em"><span style="flex:0 0 5em;opacity:.7">{k}</span><span>{v}</span></div>'
            for k, v in rows
        )
        return (
            f'<div class="loglik-claim" id="claim-{e(self.id)}" data-verdict="{e(self.verdict)}" style="'
            "border:1px solid rgba(128,128,128,.35);border-radius:.3em;padding:.7em 1em;margin:.6em 0;"
            f'border-left:.4em solid {COLOURS[self.verdict]}">{badge(self.verdict)} '
            f"<b>{e(self.id)}</b> {e(self.statement)}"
            f'<div style="margin-top:.5em;font-size:.92em">{body}</div></div>'
        )


# Dark enough for white text on them, light enough to be seen on a dark page (contrast ≥ 4.5 and ≥ 3).
COLOURS = {REPRODUCED: "#1a7f4b", PARTLY: "#9a6700", FAILED: "#c0392b", UNREACHED: "#6b7280"}


def badge(verdict: str) -> str:
    """A small coloured label, readable in light and dark and without any style sheet."""
    return (
        f'<span class="loglik-verdict" style="background:{COLOURS[verdict]};color:#fff;border-radius:.3em;'
        f'padding:.1em .5em;font-size:.85em;white-space:nowrap">{SYMBOLS[verdict]} {verdict}</span>'
    )


def make(
    spec: ClaimSpec,
    *,
    measured: Number,
    interval: tuple[Number, Number] | None,
    interval_from: str | None,
    evidence: Evidence,
    note: str | None,
) -> Claim:
    """Judge `spec` by its criterion; the names an expression may use are measured, low, high, evidence."""
    values: dict[str, Any] = {
        "measured": plain(measured),
        **{k: plain(v) for k, v in evidence.items()},
    }
    if interval is not None:
        low, high = (plain(v) for v in interval)
        if not low <= high:
            raise ValueError(f"{spec.id}: interval ({low}, {high}) is not ordered")
        if interval_from is None:
            raise ValueError(
                f"{spec.id}: say where the interval comes from (interval_from='95 % bootstrap over …')"
            )
        values |= {"low": low, "high": high}
    verdict = judge(spec.criterion, values)
    return _claim(
        spec,
        verdict,
        measured=values["measured"],
        interval=(values["low"], values["high"]) if interval is not None else None,
        interval_from=interval_from,
        evidence={k: v for k, v in values.items() if k not in ("measured", "low", "high")},
        note=note or (spec.criterion.because if verdict == PARTLY else None),
    )


def unreached(spec: ClaimSpec, needs: str) -> Claim:
    """A claim that needs what could not be had here; `needs` says what it would take."""
    return _claim(spec, UNREACHED, measured=None, interval=None, note=needs)


def _claim(spec: ClaimSpec, verdict: str, **measured: Any) -> Claim:
    return Claim(
        id=spec.id,
        statement=spec.statement,
        quantity=spec.quantity,
        paper=dict(spec.paper),
        criterion=spec.criterion.text,
        verdict=verdict,
        notebook=spec.notebook,
        **measured,
    )


def verdict_again(spec: ClaimSpec, record: Mapping[str, Any]) -> str:
    """The verdict that today's manifest gives to a recorded claim's measurements."""
    return UNREACHED if record["measured"] is None else judge(spec.criterion, _recorded(record))


def held(spec: ClaimSpec, record: Mapping[str, Any]) -> bool:
    """Whether a recorded claim's measurements meet its criterion, whatever the verdict may be at most."""
    expression = spec.criterion.reproduced
    if record["measured"] is None or expression is None:
        return False
    return evaluate(expression, _recorded(record))


def _recorded(record: Mapping[str, Any]) -> dict[str, Any]:
    """The values that a criterion may use, from a claim's JSON."""
    low, high = record["interval"] or (None, None)
    bounds = {} if low is None else {"low": low, "high": high}
    stored = {"measured": record["measured"], **bounds, **record.get("evidence", {})}
    return {key: _from_json(value) for key, value in stored.items()}


def plain(value: Any) -> Any:
    """NumPy, torch and JAX numbers and arrays as plain Python."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (bool, int, float)):
        return value
    if (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and all(isinstance(v, (bool, int, float)) for v in value)
    ):
        return list(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(v) for v in value]
    raise TypeError(f"a claim takes numbers or sequences of numbers, got {value!r}")


def jsonable(value: Any) -> Any:
    """`value` with tuples as lists and infinities as strings."""
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _from_json(value: Any) -> Any:
    if isinstance(value, list):
        return [_from_json(item) for item in value]
    return float(value) if isinstance(value, str) else value


def number(value: Any) -> str:
    """Three significant digits, without noise and with a true minus sign: 0.712, 1.20e−05, 1,847."""
    value = _from_json(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value == 0 or not math.isfinite(value):
        text = f"{value:g}"
    elif float(value).is_integer() and abs(value) < 1e6:
        text = f"{int(value):,}"
    elif 1e-3 <= abs(value) < 1e5:
        text = f"{value:,.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"
    else:
        text = f"{value:.2e}"
    return text.replace("-", "−")
