"""The catalogue: 28 papers, each once; what is shown follows from manifests and records alone."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from loglik import claims, manifest, sources
from loglik.press import catalogue

ROOT = Path(__file__).resolve().parents[2]
FIRST = catalogue.ADDRESSES[0]


def bib_entries() -> dict[str, str]:
    text = (ROOT / "book" / "references.bib").read_text(encoding="utf-8")
    return dict(re.findall(r"^@\w+\{([^,]+),(.*?)^\}", text, re.MULTILINE | re.DOTALL))


def letters(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


@pytest.fixture
def checkout(tmp_path):
    """A small checkout: our plans, and `risk/demo`'s place taken by a chapter of the table."""
    (tmp_path / "book").mkdir()
    plans = {address: plan(address) for address in catalogue.ADDRESSES}
    chapter = tmp_path / "notebooks" / "risk" / "presto"
    chapter.mkdir(parents=True)
    info = plans.pop("risk/presto")
    claim = {
        "statement": "It is smaller.",
        "quantity": "ratio",
        "paper": {"value": "0.5", "where": "Table 1", "source": "paper"},
        "criterion": {"text": "below 1", "reproduced": "high < 1"},
    }
    found = {"state": "complete", **info, "claims": [{"id": "C1", **claim}, {"id": "C2", **claim}]}
    (chapter / "paper.yml").write_text(yaml.safe_dump(found))
    for name in ("method", "reproduction", "apply"):
        (chapter / f"{name}.py").write_text(f"# %%\nx = {len(name)}\n")
    (tmp_path / "book" / "planned.yml").write_text(yaml.safe_dump(plans))
    (tmp_path / "pyproject.toml").write_text('[project.urls]\nRepository = "https://github.com/Me/book"\n')
    return tmp_path


def plan(address):
    return {
        "title": f"About {address}",
        "authors": ["A. Author"],
        "year": 2020,
        "venue": "ICML 2020",
        "arxiv": "2001.00001",
        "code": None,
        "citation": "author2020about",
        "promise": "It helps.",
        "topics": ["tests"],
        "hardware": {"book": "cpu", "full": "one GPU"},
        "data": [],
    }


def record(root, profile="book", measured=0.5, ids=("C1", "C2"), hashes=None):
    from loglik import sources

    chapter = manifest.load(root / "notebooks/risk/presto/paper.yml")
    cost = {
        "wall_seconds": 2.0,
        "cpu_seconds": 1.0,
        "peak_memory_mb": 200.0,
        "date": "2026-01-02T03:04:05+00:00",
    }
    notebooks = {
        name: {"source_hash": hashes or sources.source_hash(chapter, name), "parameters": {}, **cost}
        for name in chapter.notebooks
    }
    judged = [
        claims.make(
            chapter.claim(claim_id),
            measured=measured,
            interval=(measured - 0.1, measured + 0.1),
            interval_from="95 %",
            evidence={},
            note=None,
        ).to_json()
        for claim_id in ids
    ]
    run = {"profile": profile, "parameters": {}, "seeds": [0], "revision": "abc", "dirty": False}
    run |= {"source_hash": "x", "versions": {"python": "3.11"}, "device": "CPU (test)", "cores": 2, **cost}
    path = root / "book" / "results" / "risk" / "presto" / f"{profile}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {"schema": 1, "chapter": "risk/presto", "profile": profile, "claims": judged}
    path.write_text(json.dumps({**whole, "provenance": {**run, "notebooks": notebooks}}))


# -- the contract of this repository -------------------------------------------------------------------------


def test_there_are_28_papers_each_once():
    assert len(catalogue.ADDRESSES) == 28
    assert len(set(catalogue.ADDRESSES)) == 28
    assert list(catalogue.PAPERS) == list(manifest.PARTS)
    assert [entry.address for entry in catalogue.entries(ROOT)] == list(catalogue.ADDRESSES)


def test_plans_and_chapters_make_up_the_table():
    plans, written = set(catalogue.planned(ROOT)), set(catalogue.chapters(ROOT))
    assert plans | written == set(catalogue.ADDRESSES)
    assert not plans & written, "a chapter that exists is no longer planned: take it out of book/planned.yml"


def test_each_paper_has_its_own_bibtex_entry_and_no_entry_is_idle():
    """Every entry is one of the 28 papers or is cited on some page."""
    keys = [entry.info["citation"] for entry in catalogue.entries(ROOT)]
    assert len(set(keys)) == 28
    assert set(keys) <= set(bib_entries())
    pages = [*ROOT.glob("notebooks/*/*/*.py"), *ROOT.glob("book/*.md")]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    cited = {
        key for found in re.findall(r"\{cite:[a-z]*\}`([^`]+)`", text) for key in re.split(r"[,\s]+", found)
    }
    assert set(bib_entries()) - set(keys) <= cited


def test_titles_years_and_arxiv_numbers_agree_with_the_bibliography():
    for entry in catalogue.entries(ROOT):
        info, bib = entry.info, bib_entries()[entry.info["citation"]]
        title = re.search(r"title = \{(.*)\},?$", bib, re.MULTILINE)[1]
        assert letters(info["title"]).startswith(letters(title)), entry.address
        assert f"year = {{{info['year']}}}" in bib, entry.address
        assert (info["arxiv"] or "") in bib, entry.address
        assert info["citation"].startswith(letters(_last_name(bib))), entry.address


def _last_name(bib):
    plain = bib.translate({ord(c): None for c in "{}\\'`\""})
    return re.search(r"author = ([^,]+),", plain)[1]


def test_every_chapter_is_in_the_table_of_contents_and_no_planned_one():
    toc = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    listed = set(re.findall(r"file: notebooks/(\w+/\w+)/\w+", toc))
    assert listed == set(catalogue.chapters(ROOT))


def test_a_part_has_a_page_exactly_when_it_has_a_chapter():
    toc = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    listed = set(re.findall(r"file: book/part_(\w+)", toc))
    assert listed == {address.split("/")[0] for address in catalogue.chapters(ROOT)}


# -- states, records, counts ---------------------------------------------------------------------------------


def entry_of(root, address="risk/presto"):
    return next(entry for entry in catalogue.entries(root) if entry.address == address)


def test_a_chapter_without_a_record_counts_its_claims_as_not_judged(checkout):
    entry = entry_of(checkout)
    assert (entry.state, entry.record, entry.stale) == ("complete", None, False)
    assert entry.verdicts()[catalogue.UNJUDGED] == 2
    assert {row.verdict for row in catalogue.claims_table(checkout)} == {catalogue.UNJUDGED}
    assert catalogue.statistics_table(checkout) == []


def test_full_is_shown_before_book_before_smoke(checkout):
    for profile in ("smoke", "book", "full"):
        record(checkout, profile)
        assert entry_of(checkout).profile == profile


def test_verdicts_come_from_the_record(checkout):
    record(checkout, measured=1.5)
    assert entry_of(checkout).verdicts()[claims.FAILED] == 2
    record(checkout, measured=0.5, ids=("C1",))
    counts = entry_of(checkout).verdicts()
    assert (counts[claims.REPRODUCED], counts[catalogue.UNJUDGED]) == (1, 1)
    assert catalogue.total(catalogue.entries(checkout)) == counts


def test_a_changed_notebook_makes_its_record_stale(checkout):
    record(checkout)
    assert not entry_of(checkout).stale
    (checkout / "notebooks/risk/presto/method.py").write_text("# %%\nx = 99\n")
    assert entry_of(checkout).stale
    assert all(row.stale for row in catalogue.statistics_table(checkout))
    assert all(row.stale for row in catalogue.claims_table(checkout))


def test_a_failed_page_makes_the_chapter_failed(checkout):
    site = checkout / "_build" / "site"
    site.mkdir(parents=True)
    (site / "state.json").write_text(json.dumps({"notebooks/risk/presto/apply": {"state": "failed"}}))
    assert entry_of(checkout).state == "failed"


def test_claim_rows_link_the_card_and_show_the_interval(checkout):
    record(checkout)
    row = catalogue.claims_table(checkout)[0]
    assert (row.page, row.anchor) == ("notebooks/risk/presto/reproduction", "claim-C1")
    assert row.ours == "0.500 [0.400, 0.600]"
    assert (row.profile, row.seeds, row.device) == ("book", (0,), "CPU (test)")


def test_claim_rows_count_the_seeds_in_which_the_criterion_held(checkout):
    record(checkout)
    found = manifest.load(checkout / "notebooks/risk/presto/paper.yml")
    path = checkout / "book/results/risk/presto/sweep.json"
    path.write_text(
        json.dumps(
            {
                "source_hash": {"reproduction": sources.source_hash(found, "reproduction")},
                "claims": {"C1": {"held": 4, "of": 5}},
            }
        )
    )
    assert [row.swept for row in catalogue.claims_table(checkout)] == [(4, 5), None]
    (checkout / "notebooks/risk/presto/reproduction.py").write_text("# %%\nx = 99\n")
    assert [row.swept for row in catalogue.claims_table(checkout)] == [None, None]


def test_statistics_list_every_notebook_of_every_record(checkout):
    record(checkout, "smoke")
    record(checkout, "book")
    rows = catalogue.statistics_table(checkout)
    assert [(r.profile, r.notebook) for r in rows] == [
        (profile, name) for profile in ("smoke", "book") for name in ("method", "reproduction", "apply")
    ]


# -- what is refused -----------------------------------------------------------------------------------------


def test_a_paper_in_neither_place_is_refused(checkout):
    shutil.rmtree(checkout / "notebooks" / "risk" / "presto")
    with pytest.raises(ValueError, match=r"in neither \['risk/presto'\]"):
        catalogue.entries(checkout)


def test_a_paper_in_both_places_is_refused(checkout):
    path = checkout / "book" / "planned.yml"
    path.write_text(path.read_text() + yaml.safe_dump({"risk/presto": plan("risk/presto")}))
    with pytest.raises(ValueError, match=r"in both \['risk/presto'\]"):
        catalogue.entries(checkout)


def test_a_plan_with_an_unknown_key_is_refused(checkout):
    path = checkout / "book" / "planned.yml"
    plans = yaml.safe_load(path.read_text())
    plans[FIRST]["colour"] = "red"
    path.write_text(yaml.safe_dump(plans))
    with pytest.raises(ValueError, match=f"{FIRST}: unknown 'colour'"):
        catalogue.planned(checkout)


# -- addresses and the README --------------------------------------------------------------------------------


def test_every_address_derives_from_one_setting(checkout):
    found = catalogue.repository(checkout)
    assert found.site == "https://me.github.io/book/"
    notebook = "notebooks/risk/presto/method.ipynb"
    assert found.binder(notebook) == f"https://mybinder.org/v2/gh/Me/book/main?urlpath=lab/tree/{notebook}"
    assert found.colab(notebook) == f"https://colab.research.google.com/github/Me/book/blob/main/{notebook}"
    assert found.source("README.md") == "https://github.com/Me/book/blob/main/README.md"


@pytest.mark.parametrize("url", ["", "github.com/Me/book", "https://github.com/book"])
def test_a_repository_of_another_form_is_refused(checkout, url):
    (checkout / "pyproject.toml").write_text(f'[project.urls]\nRepository = "{url}"\n')
    with pytest.raises(ValueError, match="Repository must be"):
        catalogue.repository(checkout)


def test_no_page_or_setting_repeats_the_address():
    slug = catalogue.repository(ROOT).slug
    owner = slug.split("/")[0].lower()
    for path in [ROOT / "_config.yml", *(ROOT / "book").rglob("*.md"), *(ROOT / "book").rglob("*.py")]:
        text = path.read_text(encoding="utf-8")
        assert slug not in text, path
        assert f"{owner}.github.io" not in text.lower(), path


def test_the_readme_table_has_a_row_for_every_paper(checkout):
    record(checkout)
    table = catalogue.readme_table(checkout)
    lines = table.splitlines()
    assert (lines[0], lines[-1]) == catalogue.MARKERS
    assert len(lines) == 4 + 28
    assert "| [complete](notebooks/risk/presto) | 2 of 2 |" in table


def test_only_what_stands_between_the_markers_is_replaced(checkout):
    table = catalogue.readme_table(checkout)
    begin, end = catalogue.MARKERS
    assert catalogue.with_readme_table(f"a\n{begin}\nold\n{end}\nb", table) == f"a\n{table}\nb"
    assert catalogue.with_readme_table("no markers", table) == "no markers"
