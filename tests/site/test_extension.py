"""The book's Sphinx extension in parts: banners, small pieces of HTML, and when a page is read again."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "book" / "_ext"))

pytest.importorskip("sphinx", reason="the book's tools (extra: book) are not installed")

from loglik_book import assets, directives, freshness, header, markup, results  # noqa: E402

from loglik import manifest  # noqa: E402
from loglik.press import catalogue  # noqa: E402

PAGE = "notebooks/risk/presto/reproduction"


def made(entry, run=None):
    found = header.Header.__new__(header.Header)
    found.entry, found.run = entry, run or {}
    return {text.split("</b>")[0].removeprefix("<b>"): kind for kind, text in found.banners()}


def entry(state="complete", profile=None, stale=False):
    record = {"profile": profile, "claims": []} if profile else None
    return catalogue.Entry("risk/presto", {}, state, ("method",), (), record, stale)


@pytest.mark.parametrize(
    ("found", "run", "banners"),
    [
        (entry(), {}, {}),
        (entry(profile="book"), {"state": "ok", "profile": "book"}, {}),
        (entry("draft"), {}, {"Draft.": "info"}),
        (entry(profile="book", stale=True), {}, {"Stale record.": "warn"}),
        (entry(profile="smoke"), {}, {"Smoke record.": "warn"}),
        (entry(profile="book"), {"state": "ok", "profile": "smoke"}, {"Smoke run.": "warn"}),
        (entry(), {"state": "not run"}, {"Not run yet.": "warn"}),
        (entry("failed"), {"state": "failed", "error": None}, {"This notebook failed": "bad"}),
    ],
)
def test_a_banner_says_what_a_reader_must_know(found, run, banners):
    assert made(found, run) == banners


def test_an_error_line_is_shown_as_text():
    head = header.Header.__new__(header.Header)
    head.entry = entry("failed")
    head.run = {"state": "failed", "error": {"cell": 0, "line": "ValueError: <script>"}}
    (_, text), *_ = head.banners()
    assert "in cell 0" in text
    assert "&lt;script&gt;" in text
    assert "<script>" not in text


def test_links_are_relative_from_any_depth():
    assert markup.href("book/scoreboard", PAGE, "claim-C1") == f"../{PAGE}.html#claim-C1"
    assert markup.href(PAGE, "notebooks/risk/presto/apply") == "apply.html"
    assert markup.href("index", "book/api") == "book/api.html"


def test_a_chart_links_only_to_chapters_that_are_there():
    rows = [
        {"trouble": "rare & costly", "paper": "risk/presto", "name": "PRESTO", "answer": "borrow"},
        {"trouble": "none yet", "paper": "risk/unwritten", "name": "Later", "answer": "wait"},
    ]
    chart = directives.which_paper("book/part_risk", {"notebooks/risk/presto/method"}, rows)
    assert "rare &amp; costly" in chart
    assert 'href="../notebooks/risk/presto/method.html"' in chart
    assert chart.count("href=") == 1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (0.84, "0.8 s"), (41.6, "42 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_run_times_are_readable(seconds, text):
    assert markup.duration(seconds) == text


def test_a_bar_reads_out_its_counts():
    counts = {**dict.fromkeys(markup.ORDER, 0), "reproduced": 2, "partly": 1}
    assert 'aria-label="Claims: 2 reproduced, 1 partly"' in markup.bar(counts)
    assert markup.bar(dict.fromkeys(markup.ORDER, 0)) == ""


def test_the_paper_s_bibtex_is_its_own_entry():
    text = header.bibtex(ROOT, "faletto2023predicting")
    assert text.startswith("@inproceedings{faletto2023predicting,")
    assert text.count("@") == 1
    assert text.endswith("}")
    assert header.bibtex(ROOT, "nobody2020nothing") == ""


def test_an_equation_is_linked_back_by_its_number_and_an_algorithm_by_its_title(tmp_path):
    (tmp_path / "method.py").write_text(
        "# $$\n# x\n# $$ (demo-eq)\n# ```{math}\n# :label: demo-math\n# y\n# ```\n"
        "# :::{prf:algorithm} Steps\n# :label: demo-alg\n# :::\n"
    )
    chapter = manifest.Manifest("risk/demo", tmp_path, (), {})
    roles = {
        label: results._role(chapter, manifest.NumberedResult(label, (), ()))
        for label in ("demo-eq", "demo-math", "demo-alg")
    }
    assert roles == {
        "demo-eq": "equation :eq:`demo-eq`",
        "demo-math": "equation :eq:`demo-math`",
        "demo-alg": ":prf:ref:`demo-alg`",
    }


@pytest.fixture
def data(tmp_path):
    for path in ("notebooks/risk/presto/paper.yml", "notebooks/risk/other/paper.yml", "book/planned.yml"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("one")
    return tmp_path


def outdated(root, pages):
    env = SimpleNamespace(
        found_docs=set(pages), loglik_seen={page: freshness.fingerprint(root, page) for page in pages}
    )

    def after():
        return set(freshness.outdated(SimpleNamespace(srcdir=root), env, set(), set(), set()))

    return after


@pytest.mark.parametrize(
    ("path", "read_again"),
    [
        ("notebooks/risk/presto/paper.yml", {PAGE, "book/scoreboard"}),
        ("book/results/risk/presto/book.json", {PAGE, "book/scoreboard"}),
        ("notebooks/risk/other/paper.yml", {"book/scoreboard"}),
        ("book/planned.yml", {"book/scoreboard"}),
        ("pyproject.toml", {PAGE, "book/scoreboard"}),
        ("book/index.md", set()),
    ],
)
def test_a_page_is_read_again_when_its_data_change_and_only_then(data, path, read_again):
    after = outdated(data, [PAGE, "book/scoreboard"])
    assert after() == set()
    (data / path).parent.mkdir(parents=True, exist_ok=True)
    (data / path).write_text("two")
    assert after() == read_again


def test_a_page_is_read_again_when_its_run_changes(data):
    after = outdated(data, [PAGE, "notebooks/risk/presto/method", "book/scoreboard"])
    (data / "_build" / "site").mkdir(parents=True)
    (data / "_build/site/state.json").write_text(json.dumps({PAGE: {"state": "ok"}}))
    assert after() == {PAGE, "book/scoreboard"}


def test_the_second_copy_of_the_icons_is_left_out(tmp_path):
    page = tmp_path / "a.html"
    page.write_text(
        '<p>x</p>\n  <script defer src="_static/scripts/fontawesome.js?digest=1"></script><p>y</p>'
    )
    app = SimpleNamespace(builder=SimpleNamespace(format="html"), outdir=tmp_path)
    assets.drop_icon_script(app, None)
    assert page.read_text() == "<p>x</p><p>y</p>"
