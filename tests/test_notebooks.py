"""Every notebook at the smoke profile through papermill: what `loglik run` finds fresh isn't run twice."""

from __future__ import annotations

import pytest

from loglik.press import contract, project, records, runner

BOOK = project.find()
NOTEBOOKS = BOOK.select([])


@pytest.fixture(scope="session")
def outcomes():
    tasks = runner.plan(BOOK, NOTEBOOKS, profile="smoke")
    return dict(zip(NOTEBOOKS, runner.run(tasks, jobs=2), strict=True))


@pytest.mark.notebook
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=str)
def test_runs_at_smoke(outcomes, notebook):
    outcome = outcomes[notebook]
    assert outcome.failure is None, outcome.failure
    executed = outcome.task.folder / "notebook.ipynb"
    assert contract.undescribed_figures(executed) == []
    summary = records.summary_of(executed)
    assert summary is not None
    assert summary["profile"] == "smoke"
    mine = [claim.id for claim in BOOK.manifest(notebook.address).claims if claim.notebook == notebook.name]
    assert [claim["id"] for claim in summary["claims"]] == mine
