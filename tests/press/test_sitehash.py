"""One hash for equal sites, and an archive that opens from disk."""

from __future__ import annotations

import json
import subprocess
import zipfile

import pytest

from loglik import provenance
from loglik.press import archive, project, sitehash

PAGE = """<html><dl><div><dt>Run time</dt><dd>{seconds} s</dd></div><div><dt>Hardware</dt><dd>a CPU</dd></div></dl>
<p>{prose}</p><p class='loglik-run' style='x'>a/b · {seconds} s wall</p>
<footer>Build <code class="lk-build">{stamp}</code></footer></html>"""


def site(folder, seconds=1, prose="the same", stamp="", picture="<svg/>"):
    (folder / "_images").mkdir(parents=True)
    (folder / "book").mkdir()
    (folder / "book" / "index.html").write_text(PAGE.format(seconds=seconds, prose=prose, stamp=stamp))
    (folder / "_images" / "a.svg").write_text(picture)
    (folder / ".buildinfo").write_text(str(seconds))
    run = {"data": {provenance.MIME: {"wall_seconds": seconds}}}
    (folder / "a.ipynb").write_text(json.dumps({"cells": [{"outputs": [run, {"text": prose}]}]}))
    return folder


def test_cost_and_stamp_of_a_run_do_not_count(tmp_path):
    first, second = site(tmp_path / "a"), site(tmp_path / "b", seconds=2, stamp="0123456789ab")
    assert sitehash.site_hash(first) == sitehash.site_hash(second)


@pytest.mark.parametrize("change", [{"prose": "another"}, {"picture": "<svg>x</svg>"}])
def test_everything_else_does(tmp_path, change):
    assert sitehash.site_hash(site(tmp_path / "a")) != sitehash.site_hash(site(tmp_path / "b", **change))


def test_a_new_or_renamed_file_counts(tmp_path):
    folder = site(tmp_path / "a")
    before = sitehash.site_hash(folder)
    (folder / "_images" / "a.svg").rename(folder / "_images" / "b.svg")
    assert sitehash.site_hash(folder) != before


def test_the_stamp_stands_in_the_footer_and_changes_nothing(tmp_path):
    folder = site(tmp_path / "a")
    before = sitehash.site_hash(folder)
    assert sitehash.stamp(folder) == before
    assert f'<code class="lk-build">{before[:12]}</code>' in (folder / "book" / "index.html").read_text()
    assert sitehash.stamp(folder) == before


def test_an_archive_holds_site_runs_and_sources_and_is_equal_each_time(small):
    made = project.Project(small.root)
    with pytest.raises(FileNotFoundError, match="no rendered site"):
        archive.archive(made)
    site(small.root / "_build" / "html")
    executed = small.root / "_build" / "site" / "risk" / "demo" / "method.ipynb"
    executed.parent.mkdir(parents=True)
    executed.write_text("{}")
    subprocess.run(["git", "-C", str(small.root), "add", "pyproject.toml", "book"], check=True)
    packed = archive.archive(made)
    first = packed.read_bytes()
    names = {name.removeprefix("likelihood-reproduced/") for name in zipfile.ZipFile(packed).namelist()}
    assert {
        "index.html",
        "site/book/index.html",
        "executed/risk/demo/method.ipynb",
        "source/pyproject.toml",
    } <= names
    assert not [name for name in names if "_build" in name]
    packed.unlink()
    assert archive.archive(made).read_bytes() == first
