"""Records: what they hold, and that they can't outlive what they were measured on."""

from __future__ import annotations

import json

import pytest

from loglik.press import project, records

ADDRESS = "sampling/demo"
CLAIM_KEYS = {"id", "statement", "paper", "measured", "interval", "criterion", "verdict", "notebook"}
PROVENANCE_KEYS = {
    "profile",
    "parameters",
    "seeds",
    "revision",
    "dirty",
    "source_hash",
    "versions",
    "device",
    "cores",
    "wall_seconds",
    "cpu_seconds",
    "peak_memory_mb",
    "date",
}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    from tests.conftest import SmallProject

    small = SmallProject(tmp_path_factory.mktemp("records") / "project")
    small.add(ADDRESS)
    early = small.loglik("record", ADDRESS, "--profile", "smoke")
    assert early.returncode == 2
    assert f"no finished run of {ADDRESS}/method" in early.stderr
    assert f"loglik run {ADDRESS} --profile smoke" in early.stderr
    assert small.loglik("run", "--profile", "smoke").returncode == 0
    done = small.loglik("record", ADDRESS, "--profile", "smoke")
    assert done.stdout.strip() == f"book/results/{ADDRESS}/smoke.json"
    return small


def load(small):
    return json.loads((small.root / f"book/results/{ADDRESS}/smoke.json").read_text())


def problems(small, found):
    """Judged by the small project's own package, which a test may have changed."""
    path = small.root / "found.json"
    path.write_text(json.dumps(found))
    code = (
        "import json, sys; from loglik.press import project, records; p = project.find();"
        f"print(*records.problems(p.manifest('{ADDRESS}'), json.load(open('found.json'))), sep='\\n')"
    )
    import subprocess

    done = subprocess.run(
        [small.command()[0], "-c", code],
        cwd=small.root,
        env=small.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_a_record_holds_what_was_agreed(recorded):
    found = load(recorded)
    (claim,) = found["claims"]
    assert set(claim) >= CLAIM_KEYS
    assert claim["verdict"] == "reproduced"
    assert set(found["provenance"]) >= PROVENANCE_KEYS
    assert found["provenance"]["seeds"] == [0]
    assert found["provenance"]["parameters"]["reproduction"]["n_reps"] is None
    assert found["provenance"]["cpu_seconds"] > 0


def test_a_fresh_record_has_no_problem(recorded):
    assert problems(recorded, load(recorded)) == ""


def test_a_typed_verdict_is_found(recorded):
    found = load(recorded)
    found["claims"][0]["measured"] = 5.0
    assert "the verdict of C1 isn't the one that its criterion gives" in problems(recorded, found)


def test_a_missing_claim_is_found(recorded):
    found = load(recorded)
    found["claims"] = []
    assert "claim C1 has no verdict" in problems(recorded, found)


@pytest.mark.parametrize(
    ("file", "before", "after", "stale"),
    [
        ("lib/loglik/sampling/demo.py", "ddof=1", "ddof=0", True),
        ("lib/loglik/sampling/demo.py", "At least two finite numbers.", "Two or more finite numbers.", False),
        ("lib/loglik/sampling/demo.py", "    sample =", "    # a comment\n    sample =", False),
        ("lib/loglik/chapter.py", "class Settings", "class Sizes:\n    pass\n\n\nclass Settings", False),
        (f"notebooks/{ADDRESS}/reproduction.py", "n_reps=400", "n_reps=500", True),
        (f"notebooks/{ADDRESS}/reproduction.py", "# ## Claim 1", "# ## The first claim", False),
        (f"notebooks/{ADDRESS}/paper.yml", "measured < 1", "measured < 2", True),
        (f"notebooks/{ADDRESS}/paper.yml", "Say what decides", "Say clearly what decides", False),
    ],
)
def test_only_the_science_makes_a_record_stale(recorded, file, before, after, stale):
    path = recorded.root / file
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    try:
        assert ("has changed since" in problems(recorded, load(recorded))) is stale
    finally:
        path.write_text(text)


def test_collect_shows_verdicts_and_writes_a_table(recorded, tmp_path):
    done = recorded.loglik("collect", ADDRESS, "--profile", "smoke", "--csv", str(tmp_path / "claims.csv"))
    assert "✓ C1   reproduced" in done.stdout
    assert "reproduced" in (tmp_path / "claims.csv").read_text()


def test_a_record_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    from loglik.press import files

    path = tmp_path / "record.json"
    files.write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(path, {"a": float("nan")})
    assert files.read_json(path) == {"a": 1}
    path.write_text('{"a": ')
    assert files.read_json(path) is None


def test_the_book_has_records_in_their_places():
    book = project.find()
    for path in book.results.glob("*/*/*.json"):
        found = json.loads(path.read_text())
        address = f"{path.parent.parent.name}/{path.parent.name}"
        assert (found["chapter"], found["schema"]) == (address, records.SCHEMA)
        assert path.stem in (found["profile"], "sweep")
