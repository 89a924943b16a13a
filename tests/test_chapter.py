"""What a notebook imports: settings, seeds, claims, summary."""

from __future__ import annotations

import types

import numpy as np
import pytest
import yaml

from loglik import chapter as chapter_module
from loglik.chapter import Chapter
from tests.test_manifest import GOOD

NOTEBOOK = '# %% tags=["parameters"]\nprofile: str = "book"  # how much\nseed: int = 0  # any\nn = None  # type: Optional[int] size\n'
SIZES = {"smoke": {"n": 10, "m": 1}, "book": {"n": 100, "m": 2}, "full": {"n": 1000, "m": 3}}


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    folder = tmp_path / "notebooks" / "risk" / "demo"
    folder.mkdir(parents=True)
    for name in ("method", "reproduction", "apply"):
        (folder / f"{name}.py").write_text(NOTEBOOK)
    (folder / "paper.yml").write_text(yaml.safe_dump({**GOOD, "state": "complete"}))
    (tmp_path / "_toc.yml").write_text("root: index\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def chapter(checkout):
    return Chapter("risk/demo/reproduction", profile="smoke", seed=3)


def test_the_profile_gives_sizes_and_a_parameter_wins(chapter):
    assert vars(chapter.settings(**SIZES)) == {"n": 10, "m": 1}
    assert vars(chapter.settings(**SIZES, n=None, m=7)) == {"n": 10, "m": 7}
    assert chapter.settings(**SIZES, n=0).n == 0


def test_unknown_sizes_are_refused(chapter):
    with pytest.raises(ValueError, match="unknown setting k; allowed: m, n"):
        chapter.settings(**SIZES, k=1)
    with pytest.raises(ValueError, match="profile 'full' names"):
        chapter.settings(smoke={"n": 1}, book={"n": 1}, full={"m": 1})


@pytest.mark.parametrize("profile", ["Smoke", "quick", ""])
def test_unknown_profiles_are_refused(checkout, profile):
    with pytest.raises(ValueError, match="allowed: smoke, book, full"):
        Chapter("risk/demo/method", profile=profile)


@pytest.mark.parametrize("seed", [-1, 1.0, True, "3", None])
def test_bad_seeds_are_refused(checkout, seed):
    with pytest.raises(TypeError, match="seed must be an int"):
        Chapter("risk/demo/method", seed=seed)


def test_unknown_notebooks_are_refused(checkout):
    with pytest.raises(ValueError, match="no notebook 'methods'; it has: method, reproduction, apply"):
        Chapter("risk/demo/methods")


def test_streams_repeat_with_the_seed_and_differ_by_name(checkout, chapter):
    again, other = Chapter("risk/demo/apply", seed=3), Chapter("risk/demo/apply", seed=4)
    draws = chapter.rng("a").normal(size=50)
    np.testing.assert_array_equal(draws, again.rng("a").normal(size=50))
    for different in (chapter.rng("b"), other.rng("a")):
        assert not np.isclose(draws, different.normal(size=50)).any()
    assert chapter.random_state("a") == again.random_state("a") != chapter.random_state("b")


def test_streams_of_the_frameworks_follow_too(chapter):
    jax = pytest.importorskip("jax")
    torch = pytest.importorskip("torch")
    assert jax.random.normal(chapter.key("a")) == jax.random.normal(chapter.key("a"))
    assert jax.random.normal(chapter.key("a")) != jax.random.normal(chapter.key("b"))
    first, second = (torch.randn(3, generator=chapter.generator("a")) for _ in range(2))
    assert torch.equal(first, second)


def test_papermills_injected_cell_is_checked(checkout, monkeypatch):
    def shell(cell):
        found = types.SimpleNamespace(
            user_ns={"In": ["", "x = 1", cell], "n": 5, "profile": "smoke", "seed": 0}
        )
        monkeypatch.setattr(chapter_module, "_shell", lambda: found)
        monkeypatch.setattr(chapter_module, "use_style", lambda: None)

    shell("# Parameters\nn = 5\n")
    assert Chapter("risk/demo/method").provenance()["parameters"] == {"profile": "smoke", "seed": 0, "n": 5}
    shell("# Parameters\nm = 5\n")
    with pytest.raises(ValueError, match="has no parameter 'm'; allowed: profile, seed, n"):
        Chapter("risk/demo/method")
    shell('# Parameters\nn = "5"\n')
    with pytest.raises(TypeError, match=r"n must be Optional\[int\], got '5'"):
        Chapter("risk/demo/method")


def test_no_summary_without_every_verdict(chapter):
    with pytest.raises(RuntimeError, match="risk/demo/reproduction: no verdict for C1"):
        chapter.summary()
    claim = chapter.claim("C1", measured=0.7, interval=(0.6, 0.8), interval_from="seeds")
    assert claim.verdict == "reproduced"
    bundle = chapter.summary()._repr_mimebundle_()
    found = bundle["application/vnd.loglik.run+json"]
    assert [c["id"] for c in found["claims"]] == ["C1"]
    assert found["seed"] == 3
    assert "reproduced" in bundle["text/plain"]
    assert "reproduced" in bundle["text/html"]


def test_a_draft_may_owe_verdicts(checkout):
    (checkout / "notebooks/risk/demo/paper.yml").write_text(yaml.safe_dump({**GOOD, "state": "draft"}))
    draft = Chapter("risk/demo/reproduction", profile="smoke")
    assert draft.summary().claims == ()


def test_a_claim_is_judged_in_its_own_notebook(checkout, chapter):
    with pytest.raises(ValueError, match=r"no claim 'C2'; paper\.yml lists: C1"):
        chapter.claim("C2", measured=1.0)
    with pytest.raises(ValueError, match="judged in 'reproduction', not in 'method'"):
        Chapter("risk/demo/method").claim("C1", measured=1.0)
    assert Chapter("risk/demo/method").summary().claims == ()


def test_output_goes_where_it_is_sent(checkout, chapter, monkeypatch):
    assert chapter.output("a.csv").as_posix() == "demo-reproduction/a.csv"
    monkeypatch.setenv("LOGLIK_OUTPUT", str(checkout / "elsewhere"))
    chapter.output("a.csv").write_text("x")
    assert (checkout / "elsewhere" / "a.csv").exists()
