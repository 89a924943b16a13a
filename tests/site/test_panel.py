"""The run-it panel in a real browser: what a reader types becomes commands that mean it."""

import argparse
import json
import re
import shlex
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "book" / "_ext"))

pytest.importorskip("sphinx", reason="the book's tools (extra: book) are not installed")

from loglik_book import panel  # noqa: E402

from loglik import parameters  # noqa: E402
from loglik.press import catalogue, sweep  # noqa: E402

ADDRESS = "risk/demo"
CELL = """# %% tags=["parameters"]
profile: str = "book"  # smoke | book | full
seed: int = 0  # any integer from 0
data: str = "fair"  # a path, or "fair" <built in>
rate: float = 0.5  # a rate
fast: bool = False  # hurry
n = None  # type: Optional[int] rows; None takes what the profile says
name = None  # type: Optional[str] a name
columns = None  # type: Optional[list[str]] columns
ks: list[int] = [1, 2]  # sizes
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A checkout with one notebook and a record of its book run."""
    folder = tmp_path_factory.mktemp("panel")
    notebook = folder / "notebooks" / ADDRESS / "method.py"
    notebook.parent.mkdir(parents=True)
    notebook.write_text(CELL)
    record = folder / "book/results" / ADDRESS / "book.json"
    record.parent.mkdir(parents=True)
    cost = {"wall_seconds": 83.0, "peak_memory_mb": 1234.0}
    record.write_text(json.dumps({"provenance": {"notebooks": {"method": cost}}}))
    return folder


@pytest.fixture(scope="module")
def page(root):
    """The panel's page alone, with the book's own script and style."""
    made = panel.html(root, ADDRESS, "method", catalogue.Repository("https://github.com/me/book"))
    static = ROOT / "book" / "_static"
    path = root / "page.html"
    path.write_text(
        '<!doctype html><html lang="en" data-theme="light"><meta charset="utf-8"><title>x</title>'
        f"<style>{(static / 'custom.css').read_text()}</style><article class='bd-article'>{made}</article>"
        f"<script>{(static / 'panel.js').read_text()}</script><script>{(static / 'custom.js').read_text()}</script>"
    )
    return path.as_uri()


@pytest.fixture
def tab(chromium, page):
    context = chromium.new_context(permissions=["clipboard-read", "clipboard-write"])
    errors = []
    tab = context.new_page()
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto(page)
    tab.locator("summary", has_text="Run it").click()
    yield tab
    assert errors == []
    context.close()


def fill(tab, **values):
    for name, value in values.items():
        field = tab.locator(f"form [name={name}]")
        if field.evaluate("f => f.tagName") == "SELECT":
            field.select_option(value)
        else:
            field.fill(value)


def output(tab, key):
    return tab.locator(f"[data-output={key}]").inner_text()


def papermill_values(line):
    """The parameters that papermill's own command line would read from a papermill line."""
    import yaml
    from papermill.cli import _resolve_type

    words = shlex.split(line)
    assert words[:3] == ["papermill", f"notebooks/{ADDRESS}/method.ipynb", "out.ipynb"]
    parser = argparse.ArgumentParser()
    for flag in ("-p", "-r"):
        parser.add_argument(flag, nargs=2, action="append", default=[])
    parser.add_argument("-y", action="append", default=[])
    found = parser.parse_args(words[3:])
    values = {name: value for text in found.y for name, value in yaml.safe_load(text).items()}
    return values | {name: _resolve_type(value) for name, value in found.p} | dict(found.r)


CASES = [
    ({}, {}),
    ({"profile": "smoke", "seed": "7"}, {"profile": "smoke", "seed": 7}),
    ({"data": "my file's.csv"}, {"data": "my file's.csv"}),
    ({"data": "12"}, {"data": "12"}),
    ({"data": "1e5"}, {"data": "1e5"}),
    ({"data": "a,b"}, {"data": "a,b"}),
    ({"data": "true"}, {"data": "true"}),
    ({"rate": "1e-3", "fast": "true"}, {"rate": 0.001, "fast": True}),
    ({"n": "500", "name": "x y"}, {"n": 500, "name": "x y"}),
    ({"columns": '["age", "it\'s"]', "ks": "[3]"}, {"columns": ["age", "it's"], "ks": [3]}),
]


@pytest.mark.parametrize(("typed", "meant"), CASES)
def test_the_lines_mean_what_was_typed(tab, root, typed, meant):
    fill(tab, **typed)
    assert tab.locator(".lk-problems").inner_text() == ""
    assert papermill_values(output(tab, "papermill")) == meant

    words = shlex.split(output(tab, "sweep"))
    assert words[:3] == ["loglik", "sweep", f"{ADDRESS}/method"]
    points = sweep.grid(words[i + 1] for i, word in enumerate(words) if word == "--grid")
    others = {name: value for name, value in meant.items() if name not in ("seed", "profile")}
    assert points == [{"seed": seed, **others} for seed in range(10)]
    assert ("--profile" in words) == ("profile" in meant)

    scope = {}
    exec(output(tab, "cell"), scope)
    assert {name: scope[name] for name in meant} == meant
    parameters.check(meant, panel.declared(root, ADDRESS, "method"), "here")


@pytest.mark.parametrize(
    ("name", "typed", "words"),
    [
        ("seed", "1.5", "seed must be an integer"),
        ("rate", "fast", "rate must be a number"),
        ("n", "many", "n must be an integer"),
        ("columns", "a, b", "columns must be a list"),
        ("ks", "[1.5]", "ks must be a list of int"),
    ],
)
def test_what_cannot_be_meant_is_said_beside_the_field(tab, name, typed, words):
    before = output(tab, "papermill")
    fill(tab, **{name: typed})
    assert words in tab.locator(".lk-problems").inner_text()
    assert tab.locator(f"[name={name}]").get_attribute("aria-invalid") == "true"
    assert output(tab, "papermill") == before
    tab.get_by_role("button", name="Reset the form").click()
    tab.wait_for_function("document.querySelector('.lk-problems').textContent === ''")


def test_the_address_brings_the_form_back(tab, page):
    fill(tab, profile="full", data="a & b.csv", ks="[5, 6]")
    tab.locator("[data-sweep]").fill("3,5")
    address, line = output(tab, "address"), output(tab, "sweep")
    assert tab.url == address
    tab.goto("about:blank")
    tab.goto(address)
    assert tab.locator("details.lk-run").get_attribute("open") is not None
    assert output(tab, "sweep") == line
    assert tab.locator("[name=data]").input_value() == "a & b.csv"


def test_keyboard_and_screen_reader_find_every_field(tab):
    for field in tab.locator("form input, form select").all():
        assert field.evaluate("f => f.labels.length") == 1
        hint = field.get_attribute("aria-describedby")
        assert tab.locator(f"[id='{hint}']").count() == 1
    tab.locator("[name=profile]").focus()
    for expected in ("seed", "data", "rate", "fast", "n", "name", "columns", "ks"):
        tab.keyboard.press("Tab")
        assert tab.evaluate("document.activeElement.name") == expected


def test_the_choice_of_profile_says_what_it_costs(tab):
    texts = tab.locator("[name=profile] option").all_inner_texts()
    assert texts == ["smoke (not recorded)", "book (1 min 23 s, 1.2 GB)", "full (not recorded)"]


def test_a_line_is_copied(tab):
    fill(tab, seed="4")
    box = tab.locator(".lk-bib", has=tab.locator("[data-output=papermill]"))
    box.get_by_role("button", name="Copy").click()
    tab.wait_for_function("[...document.querySelectorAll('.lk-copy')].some(b => b.textContent === 'Copied')")
    assert tab.evaluate("navigator.clipboard.readText()").endswith("out.ipynb -p seed 4")


def test_without_scripts_there_is_the_plain_command(chromium, page):
    context = chromium.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(page)
    tab.locator("summary", has_text="Run it").click()
    assert tab.get_by_text(
        f"papermill notebooks/{ADDRESS}/method.ipynb out.ipynb -p profile smoke"
    ).is_visible()
    context.close()


def test_every_notebook_of_the_book_has_a_panel():
    repository = catalogue.Repository("https://github.com/me/book")
    for path in ROOT.glob("notebooks/*/*/*.py"):
        address = f"{path.parent.parent.name}/{path.parent.name}"
        made = panel.html(ROOT, address, path.stem, repository)
        assert re.search(r'name="profile"', made), path
