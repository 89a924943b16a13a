"""Claims: the criterion decides, and nothing else does."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loglik import claims
from loglik.manifest import ClaimSpec, Criterion

finite = st.floats(-1e6, 1e6)


def spec(**criterion) -> ClaimSpec:
    return ClaimSpec(
        id="C1",
        statement="Ours is smaller than theirs.",
        quantity="ratio of mean squared errors",
        paper={"value": "0.7", "where": "Table 1", "source": "paper"},
        criterion=Criterion(text="The whole interval is below one.", **criterion),
        notebook="reproduction",
    )


def judged(criterion: dict, measured: float = 0.7, **given_values) -> claims.Claim:
    values = {"interval": None, "interval_from": None, "evidence": {}, "note": None, **given_values}
    return claims.make(spec(**criterion), measured=measured, **values)


@given(finite, finite)
def test_comparison_agrees_with_python(a, b):
    for symbol, truth in (("<", a < b), ("<=", a <= b), (">", a > b), (">=", a >= b), ("==", a == b)):
        assert claims.evaluate(f"a {symbol} b", {"a": a, "b": b}) is truth


@given(st.lists(finite, min_size=1), finite)
def test_sequences_go_through_min_and_max(values, bound):
    assert claims.evaluate("max(v) < bound", {"v": values, "bound": bound}) is all(v < bound for v in values)
    assert claims.evaluate("not min(v) < bound", {"v": values, "bound": bound}) is all(
        v >= bound for v in values
    )


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("0.9 <= a <= 1.1", True),
        ("abs(a - 2) < 0.5", False),
        ("a / 2 + 1 == 1.5 and len(v) > 1", True),
        ("-a < 0", True),
    ],
)
def test_the_language_of_criteria(expression, value):
    assert claims.evaluate(expression, {"a": 1.0, "v": [1, 2]}) is value


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os')",
        "a.real > 0",
        "open('x')",
        "[a][0] > 0",
        "a if a else 1",
        "(lambda: 1)() > 0",
        "'x' == 'x'",
    ],
)
def test_nothing_else_is_understood(expression):
    with pytest.raises(ValueError, match="not allowed"):
        claims.evaluate(expression, {"a": 1.0})


def test_a_missing_name_shows_even_where_and_would_stop():
    with pytest.raises(ValueError, match="needs 'b', but the claim gave: a"):
        claims.evaluate("a > 5 and b > 0", {"a": 1.0})


def test_nan_decides_nothing():
    with pytest.raises(ValueError, match="measured is NaN"):
        judged({"reproduced": "not measured > 1"}, measured=math.nan)
    with pytest.raises(ValueError, match="not ordered"):
        judged({"reproduced": "not low > 1"}, interval=(math.nan, math.nan), interval_from="seeds")


def test_a_number_is_no_truth_value():
    with pytest.raises(ValueError, match="not true or false"):
        claims.evaluate("a + 1", {"a": 1.0})


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [((0.6, 0.8), "reproduced"), ((0.6, 1.2), "partly"), ((1.1, 1.2), "not reproduced")],
)
def test_verdicts_follow_from_the_interval(interval, verdict):
    criterion = {"reproduced": "high < 1", "partly": "low < 1"}
    claim = judged(criterion, interval=interval, interval_from="95 % bootstrap over 24 draws")
    assert claim.verdict == verdict
    assert claims.verdict_again(spec(**criterion), claim.to_json()) == verdict


def test_a_weaker_setting_caps_the_verdict_and_says_why():
    claim = judged({"reproduced": "measured < 1", "at_most": "partly", "because": "three seeds, not thirty"})
    assert (claim.verdict, claim.note) == ("partly", "three seeds, not thirty")


def test_an_interval_says_where_it_is_from():
    with pytest.raises(ValueError, match="interval_from"):
        judged({"reproduced": "high < 1"}, interval=(0.6, 0.8))
    with pytest.raises(ValueError, match="not ordered"):
        judged({"reproduced": "high < 1"}, interval=(0.8, 0.6), interval_from="seeds")


def test_out_of_reach_needs_no_number():
    claim = claims.unreached(spec(), "the authors' data")
    assert claim.verdict == "out of reach"
    assert claims.verdict_again(spec(), claim.to_json()) == "out of reach"


def test_a_claim_is_plain_json_whatever_it_was_given():
    evidence = {
        "wins": np.array([1, 2]),
        "best": np.float64(0.5),
        "sure": True,
        "far": math.inf,
        "pair": (np.float32(1), 2),
    }
    claim = judged({"reproduced": "far > 1 and min(wins) == 1"}, measured=np.float64(0.7), evidence=evidence)
    text = json.dumps(claim.to_json(), allow_nan=False)
    assert (
        claims.verdict_again(spec(reproduced="far > 1 and min(wins) == 1"), json.loads(text)) == "reproduced"
    )


def test_a_claim_shows_the_same_everywhere():
    claim = judged(
        {"reproduced": "high < 1"}, interval=(0.6, 0.8), interval_from="95 % bootstrap over 24 draws"
    )
    bundle = claim._repr_mimebundle_()
    assert set(bundle) == {claims.MIME, "text/html", "text/plain"}
    for text in (bundle["text/html"], bundle["text/plain"]):
        for piece in (
            "C1",
            "0.700 [0.600, 0.800]",
            "Table 1",
            "95 % bootstrap",
            "The whole interval is below one.",
        ):
            assert piece in text


def test_html_is_escaped():
    claim = claims.unreached(spec(), "<script>alert(1)</script> & more")
    assert "<script>" not in claim._repr_mimebundle_()["text/html"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.7123, "0.712"),
        (1.2e-5, "1.20e−05"),
        (1847, "1,847"),
        (0, "0"),
        (12.345, "12.3"),
        (-0.05, "−0.0500"),
        (True, "yes"),
    ],
)
def test_numbers_for_people(value, text):
    assert claims.number(value) == text


def relative_luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("verdict", claims.VERDICTS)
def test_badges_can_be_read(verdict):
    luminance = relative_luminance(claims.COLOURS[verdict])
    assert 1.05 / (luminance + 0.05) >= 4.5
