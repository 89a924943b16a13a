"""Two cold builds of the same commit, records and runs, in two places, are the same site."""

import os
import re
import shutil
import subprocess
import sys

from loglik.press import sitehash
from tests.site.conftest import ROOT

NOT_SOURCES = (".venv", "_build", ".*_cache", ".hypothesis", "__pycache__", "dist")


def differing(first, second):
    names = {
        p.relative_to(folder).as_posix()
        for folder in (first, second)
        for p in folder.rglob("*")
        if p.is_file()
    }
    return sorted(
        name
        for name in names
        if name != "searchindex.js"
        and not any(piece.startswith(".") for piece in name.split("/"))
        and (
            not ((first / name).is_file() and (second / name).is_file())
            or sitehash.normalised(first / name) != sitehash.normalised(second / name)
        )
    )


def test_a_second_cold_build_elsewhere_has_the_same_hash(site, tmp_path):
    other = tmp_path / "elsewhere"
    shutil.copytree(ROOT, other, ignore=shutil.ignore_patterns(*NOT_SOURCES))
    (other / "_build").mkdir()
    (other / "_build" / "runs").symlink_to(ROOT / "_build" / "runs")
    profile = re.search(r'"profile": "(\w+)"', (ROOT / "_build" / "site" / "state.json").read_text())[1]
    done = subprocess.run(
        [sys.executable, "-m", "loglik.cli", "render", "--profile", profile],
        cwd=other,
        env={**os.environ, "PYTHONPATH": str(other / "lib")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    made = other / "_build" / "html"
    assert differing(site, made) == []
    assert sitehash.site_hash(site) == sitehash.site_hash(made)


def test_the_hash_stands_in_every_footer(site, pages):
    stamp = sitehash.site_hash(site)[:12]
    for page in pages:
        text = (site / f"{page}.html").read_text(encoding="utf-8")
        assert f'<code class="lk-build">{stamp}</code>' in text, page
