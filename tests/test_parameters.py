"""The parameters cell: read as papermill reads it, checked as papermill doesn't."""

from __future__ import annotations

import math

import pytest

from loglik import parameters

SOURCE = """
# %% [markdown]
# # Title

# %% tags=["parameters"]
profile: str = "book"  # smoke | book | full
seed: int = 0  # any integer
n = None  # type: Optional[int] how many
rate: float = 0.5  # a share
sizes: list[int] = [1, 2]  # sizes
on: bool = True  # a switch

# %%
x = 1
"""


@pytest.fixture
def known():
    return parameters.declared(SOURCE)


def test_names_types_defaults_and_help(known):
    assert [(p.name, p.type, p.default, p.help) for p in known] == [
        ("profile", "str", "book", "smoke | book | full"),
        ("seed", "int", 0, "any integer"),
        ("n", "Optional[int]", None, "how many"),
        ("rate", "float", 0.5, "a share"),
        ("sizes", "list[int]", [1, 2], "sizes"),
        ("on", "bool", True, "a switch"),
    ]


def test_code_cells_leave_prose_out():
    assert parameters.code_cells(SOURCE)[1] == "x = 1"
    assert len(parameters.code_cells(SOURCE)) == 2


@pytest.mark.parametrize(
    "given",
    [{"n": 3}, {"n": None}, {"rate": 1}, {"rate": 0.1}, {"sizes": [3]}, {"on": False}, {"profile": "full"}],
)
def test_right_types_pass(known, given):
    parameters.check(given, known, "here")


@pytest.mark.parametrize(
    "given",
    [{"n": 1.5}, {"n": "3"}, {"seed": True}, {"rate": "x"}, {"sizes": [1, "a"]}, {"sizes": 3}, {"on": 1}],
)
def test_wrong_types_are_refused(known, given):
    with pytest.raises(TypeError, match=f"here: {next(iter(given))} must be"):
        parameters.check(given, known, "here")


def test_unknown_names_are_refused(known):
    with pytest.raises(
        ValueError, match="here has no parameter 'rates'; allowed: profile, seed, n, rate, sizes, on"
    ):
        parameters.check({"rates": 1}, known, "here")


def test_only_literals_may_stand_there():
    with pytest.raises(ValueError, match="may only assign literals"):
        parameters.declared('# %% tags=["parameters"]\nimport os\n')


def test_injected_values_are_found_in_the_history():
    assert parameters.injected(["", "x = 1", '# Parameters\nn = 5\nname = "a"\n']) == {"n": 5, "name": "a"}
    assert math.isinf(parameters.injected(["# Parameters\nn = float('inf')\n"])["n"])
    assert parameters.injected(["n = 5"]) == {}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7),
        ("1e-3", 0.001),
        ("-2E4", -20000.0),
        ("1.5e3", 1500.0),
        ("[1e-3, 2]", [0.001, 2]),
        ("'1e-3'", "1e-3"),
        ("e3", "e3"),
        ("null", None),
        ("true", True),
        ("a b", "a b"),
    ],
)
def test_values_are_read_as_people_mean_them(text, value):
    found = parameters.value(text)
    assert (found, type(found)) == (value, type(value))
