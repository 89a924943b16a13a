"""Manifests: a violation names file, key and what is allowed."""

from __future__ import annotations

import copy

import pytest
import yaml

from loglik import manifest

GOOD = {
    "state": "draft",
    "title": "A title",
    "authors": ["A. Author"],
    "year": 2023,
    "venue": "A venue",
    "arxiv": "2301.00001",
    "code": None,
    "citation": "author2023title",
    "promise": "A promise.",
    "topics": ["a topic"],
    "hardware": {"book": "cpu", "full": "one core"},
    "data": [{"name": "fair", "source": "statsmodels", "licence": "public domain", "committed": False}],
    "claims": [
        {
            "id": "C1",
            "statement": "It is smaller.",
            "quantity": "ratio",
            "paper": {"value": "0.7", "where": "Table 1", "source": "paper"},
            "criterion": {"text": "Below one.", "reproduced": "high < 1"},
        }
    ],
}


@pytest.fixture
def write(tmp_path):
    folder = tmp_path / "notebooks" / "risk" / "demo"
    folder.mkdir(parents=True)
    for name in manifest.NOTEBOOKS:
        (folder / f"{name}.py").write_text("# %%\n")

    def write(change=lambda raw: None):
        raw = copy.deepcopy(GOOD)
        change(raw)
        (folder / "paper.yml").write_text(yaml.safe_dump(raw))
        return folder / "paper.yml"

    return write


def test_a_good_one_is_read(write):
    found = manifest.load(write())
    assert (found.address, found.part, found.paper) == ("risk/demo", "risk", "demo")
    assert found.notebooks == manifest.NOTEBOOKS
    assert found.claim("C1").notebook == "reproduction"
    with pytest.raises(ValueError, match=r"no claim .C9.; paper\.yml lists: C1"):
        found.claim("C9")


def claim(raw):
    return raw["claims"][0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw.update(titel="x"), "unknown 'titel'; allowed: 'state', 'title'"),
        (lambda raw: raw.pop("venue"), "missing 'venue'"),
        (
            lambda raw: raw.update(state="done"),
            "key 'state': 'done' is not allowed; allowed: 'draft', 'complete'",
        ),
        (lambda raw: raw.update(year="2023"), "key 'year': '2023' is not of type integer"),
        (lambda raw: raw.update(arxiv="23"), "key 'arxiv': '23' does not have the form"),
        (lambda raw: claim(raw).update(id="claim one"), r"key 'claims\[0\].id'"),
        (
            lambda raw: claim(raw)["criterion"].update(reproduce="x"),
            r"key 'claims\[0\].criterion': unknown 'reproduce'",
        ),
        (
            lambda raw: claim(raw)["paper"].update(source="rumour"),
            r"'rumour' is not allowed; allowed: 'paper', 'abstract'",
        ),
        (lambda raw: claim(raw).update(at_most="partly"), "'at_most' and 'because' go together"),
        (lambda raw: claim(raw).update(notebook="proof"), "names notebook 'proof', which isn't there"),
        (lambda raw: raw["claims"].append(claim(raw)), "claim id 'C1' is used twice"),
        (lambda raw: raw.update(state="complete", claims=[]), "a complete chapter has claims"),
    ],
)
def test_violations_name_file_key_and_what_is_allowed(write, change, message):
    with pytest.raises(ValueError, match=message) as caught:
        manifest.load(write(change))
    assert str(caught.value).startswith("notebooks/risk/demo/paper.yml: ")


def test_every_violation_is_told_at_once(write):
    with pytest.raises(ValueError, match="venue") as caught:
        manifest.load(write(lambda raw: (raw.pop("venue"), raw.update(year=1))))
    assert len(str(caught.value).splitlines()) == 2


def test_without_apply_a_reason_is_due(write):
    path = write()
    (path.parent / "apply.py").unlink()
    with pytest.raises(ValueError, match="'no_apply' has to say why"):
        manifest.load(path)
    assert manifest.load(write(lambda raw: raw.update(no_apply="takes no data"))).notebooks == (
        "method",
        "reproduction",
    )


def test_unreadable_yaml_is_named(write):
    path = write()
    path.write_text("a: [1,\n")
    with pytest.raises(ValueError, match="not readable as YAML"):
        manifest.load(path)


def test_an_unknown_chapter_says_where_it_was_looked_for():
    with pytest.raises(FileNotFoundError, match="no chapter 'risk/nothing'"):
        manifest.find("risk/nothing")
