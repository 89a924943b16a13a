"""Figures that a reader can drag: frames are made by a sweep, stored whole, and known to be stale."""

from __future__ import annotations

import json
import shutil

import pytest
import yaml

from loglik import manifest
from loglik.press import explore
from tests.press.test_chapter_contract import ADDRESS, change, folder

EXPLORE = {
    "notebook": "method",
    "figure": "demo-line",
    "parameter": "height",
    "label": "Height of the line",
    "values": [1, 2, 4],
    "shown": 2,
}
FIGURE = """# %% mystnb={"figure": {"name": "demo-line", "caption": "A."}, "image": {"alt": "A."}}
import matplotlib.pyplot as plt

figure, axes = plt.subplots()
axes.axhline(height)
chapter.numbers("demo-line", twice_the_height=2 * height, kind="a line")
figure

"""


@pytest.fixture(scope="module")
def explored(tmp_path_factory):
    from tests.conftest import SmallProject

    small = SmallProject(tmp_path_factory.mktemp("explore") / "project")
    small.add(ADDRESS)
    path = folder(small) / "paper.yml"
    path.write_text(path.read_text() + yaml.safe_dump({"explore": EXPLORE}))
    method = folder(small) / "method.py"
    change(method, "# %% [markdown]\n# ## Summary", FIGURE + "# %% [markdown]\n# ## Summary")
    change(method, "follows from it\n", "follows from it\nheight: int = 2  # of the line\n")
    assert small.loglik("pair").returncode == 0
    done = small.loglik("explore", ADDRESS, "--profile", "smoke")
    assert done.returncode == 0, done.stdout + done.stderr
    return small


@pytest.fixture
def stored(explored):
    return json.loads((explored.root / "book/results" / ADDRESS / "explore" / "frames.json").read_text())


def test_there_is_a_picture_and_its_numbers_for_each_value(explored, stored):
    assert [frame["value"] for frame in stored["frames"]] == [1, 2, 4]
    assert [frame["numbers"]["twice the height"] for frame in stored["frames"]] == [2, 4, 8]
    assert {frame["numbers"]["kind"] for frame in stored["frames"]} == {"a line"}
    place = explored.root / "book/results" / ADDRESS / "explore"
    pictures = [(place / frame["file"]).read_text() for frame in stored["frames"]]
    assert all("<svg" in picture for picture in pictures)
    assert len(set(pictures)) == 3


def test_nothing_runs_twice(explored):
    assert explored.loglik("explore", ADDRESS, "--profile", "smoke").stdout.count("fresh") == 3


def copy_of(explored, tmp_path):
    copy = tmp_path / "project"
    shutil.copytree(explored.root, copy)
    return type("Copy", (), {"root": copy})


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("method.py", "axes.axhline(height)", "axes.axhline(height + 1)"),
        ("method.py", "2 * height", "3 * height"),
        ("paper.yml", "- 4", "- 5"),
        ("paper.yml", "demo-line", "demo-other"),
    ],
)
def test_frames_of_another_notebook_figure_or_grid_are_stale(explored, stored, tmp_path, name, before, after):
    copy = copy_of(explored, tmp_path)
    today = manifest.load(folder(copy) / "paper.yml")
    stored["source_hash"] = explore._hash(today)  # as this process sees it, whose package isn't the project's
    assert not explore.stale(today, stored)
    change(folder(copy) / name, before, after)
    assert explore.stale(manifest.load(folder(copy) / "paper.yml"), stored)


def test_prose_does_not_make_them_stale(explored, stored, tmp_path):
    copy = copy_of(explored, tmp_path)
    stored["source_hash"] = explore._hash(manifest.load(folder(copy) / "paper.yml"))
    change(folder(copy) / "method.py", "# ## Summary", "# ## What we saw")
    change(folder(copy) / "paper.yml", "Height of the line", "How high")
    assert not explore.stale(manifest.load(folder(copy) / "paper.yml"), stored)


def test_a_slider_starts_at_a_value_of_its_grid(explored, tmp_path):
    copy = copy_of(explored, tmp_path)
    change(folder(copy) / "paper.yml", "shown: 2", "shown: 3")
    with pytest.raises(ValueError, match=r"explore.shown is 3, which is none of explore.values"):
        manifest.load(folder(copy) / "paper.yml")


def test_a_figure_that_is_not_there_is_named(explored, tmp_path):
    copy = copy_of(explored, tmp_path)
    change(folder(copy) / "paper.yml", "demo-line", "demo-nothing")
    small = type("Moved", (type(explored),), {"__init__": lambda self, root: setattr(self, "root", root)})(
        copy.root
    )
    done = small.loglik("explore", ADDRESS, "--profile", "smoke")
    assert done.returncode == 2
    assert "shows no SVG named 'demo-nothing'" in done.stderr
    assert (copy.root / "book/results" / ADDRESS / "explore" / "frames.json").exists(), (
        "the old ones are kept"
    )
