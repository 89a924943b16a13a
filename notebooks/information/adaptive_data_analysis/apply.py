# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Adaptive data analysis: what does it do for me?
# Give a table and a target. An analyst screens every feature and builds classifiers, asking a holdout set
# at each step: once naively, once through a `ReusableHoldout` {cite:p}`dwork2015generalization`. Rows that
# nobody asked say who was fooled. Without a table of your own it runs on abalone shells, with 1500 noise
# features added.
#
# Your own file takes one line; a second file can be the holdout:
# ```
# papermill apply.ipynb out.ipynb -p data mine.csv -p target sold -p positive yes
# ```

# %% tags=["parameters"]
profile: str = "book"  # smoke | book | full
seed: int = 0  # any integer from 0; all randomness follows from it
data: str = ""  # path or URL of a CSV; empty takes the abalone example
holdout_data: str = ""  # a second CSV for holdout and fresh rows; empty splits the first in three
target: str = ""  # column to predict, of two classes, or numeric and then cut at its median
positive: str = ""  # the class that counts as 1; empty takes the last one of two
features = None  # type: Optional[list[str]] columns to use; None takes all but the target
probes = None  # type: Optional[int] noise features to add; None adds 1500 to the example and 100 to your data
budget: int = 100  # answers that may come from the holdout set
sizes = None  # type: Optional[list[int]] features in the classifiers; None takes 5, 10, 20, 40 and 80
n_splits = None  # type: Optional[int] random splits of the comparison; None takes what the profile says

# %% tags=["hide-input", "setup"]
try:
    import loglik  # noqa: F401
except ModuleNotFoundError:  # Colab, or a kernel without the package
    import sys

    from IPython import get_ipython

    flags = "--no-deps" if "google.colab" in sys.modules else ""
    packages = "git+https://github.com/OWNER/likelihood-reproduced@v0.1.0"
    get_ipython().run_line_magic("pip", f"install -q {flags} {packages}")

import matplotlib.pyplot as plt
import pandas as pd

from loglik.chapter import Chapter
from loglik.information.adaptive_data_analysis import ReusableHoldout, figures, workflow

chapter = Chapter("information/adaptive_data_analysis/apply", profile=profile, seed=seed)
pd.set_option("display.max_colwidth", None)

# %% tags=["hide-input"]
cfg = chapter.settings(
    smoke=dict(n_splits=2), book=dict(n_splits=20), full=dict(n_splits=200), n_splits=n_splits
)

# %% [markdown]
# ## The data
# Three sets: *training* rows, which the analyst may look at freely; *holdout* rows, of which they hear answers
# only; *fresh* rows, which nobody asks until the end. Features are standardised by the training rows and
# cut at three standard deviations, so that every question has a known range. The target counts ±1.

# %%
table = workflow.read_table(data, target, features, positive or None)
second = workflow.read_table(holdout_data, target, features, positive or None) if holdout_data else None
noise = (100 if data else 1500) if probes is None else probes
ks = [k for k in sizes or [5, 10, 20, 40, 80] if k <= table.X.shape[1] + noise]
sets = workflow.make_sets(table, chapter.rng("split"), probes=noise, holdout=second)
counts = pd.DataFrame(
    {name: [len(s), (s[:, -1] > 0).mean()] for name, s in zip(sets._fields[1:], sets[1:], strict=True)},
    index=["rows", f"share: {table.meaning}"],
)
counts.round(3)

# %% [markdown]
# ## Do the paper's assumptions hold here?
# The theory asks for independent rows from one population, for questions of a known range, and for a budget
# that the number of rows can carry. A row that does not hold says what to do about it.

# %%
checks = workflow.check_assumptions(sets, budget)
checks.assign(then=checks.then.where(~checks.holds, ""), holds=checks.holds.map({True: "yes", False: "NO"}))

# %% [markdown]
# ## One session
# The questions: *does feature j go with the target?* for each feature, strongest on the training rows first;
# then *how accurate is the vote of the k best?* for each k. The state of the reusable holdout is kept in
# `holdout.json`, written before each answer; run it again with the same file by `ReusableHoldout.resume` and
# it goes on with what is left. The file holds the noise, so it belongs beside the holdout rows, away from
# the analyst.

# %%
state = chapter.output("holdout.json")
state.unlink(missing_ok=True)  # a new session of this notebook; in your work, never delete it: resume
keeper = ReusableHoldout(
    sets.train,
    sets.holdout,
    state,
    budget=budget,
    threshold=workflow.default_threshold(len(sets.holdout)),
    rng=chapter.rng("noise"),
)
heard = workflow.reusable_session(sets, ks, keeper)
naive = workflow.naive_session(sets, ks)
spent = keeper.budget_spent()
print(f"{spent['n_answers']} questions answered, {spent['n_positive']} of {budget} paid answers used")
print(f"privacy spent on the holdout rows: epsilon {spent['epsilon']:.0f} at delta {spent['delta']:g}")

# %% [markdown]
# An epsilon this large guarantees nothing by the theorem; the check above says so. What the mechanism does
# nevertheless, only fresh rows can tell.

# %%
workflow.strongest(naive, heard).round(3)

# %% [markdown]
# Read single answers with care. One that was not paid for repeats the *training* value, and is right only up
# to the tolerance T. In the example that holds for nearly all of the strongest: the naive holdout says that
# they are chance, the reusable one lets them pass, because the difference is just below T. So it does not
# pick better features here. What it does is to leak nothing about the holdout into the choice, which is why
# its *accuracies* below can be believed.

# %%
both = pd.concat(
    {workflow.NAIVE: naive.transcript, workflow.REUSABLE: heard.transcript}, names=["method"]
).reset_index(level=0)
both.to_csv(chapter.output("transcript.csv"), index=False)
pd.concat(
    {
        workflow.NAIVE: naive.accuracy.set_index("k")[["reported", "fresh"]],
        workflow.REUSABLE: heard.accuracy.set_index("k")[["reported", "fresh"]],
    },
    axis=1,
).round(3)

# %% [markdown]
# ## Who was fooled?
# The same session over random splits. **Bias** is the reported accuracy minus that on fresh rows, for the
# analyst's own classifier. Intervals allow for the overlap of the splits.

# %%
sessions = workflow.compare_sessions(
    table, ks, cfg.n_splits, chapter.entropy("splits"), probes=noise, budget=budget, holdout=second,
    progress=lambda tasks: chapter.progress(tasks, "splits"),
)  # fmt: skip
bias = workflow.bias_table(sessions)
bias.to_csv(chapter.output("bias.csv"), index=False)
bias.round(3)

# %% mystnb={"figure": {"caption": "Reported minus fresh accuracy against the number of features in the classifier. Bars: 95 % intervals over random splits.", "name": "adaptive-data-analysis-bias"}, "image": {"alt": "The naive holdout's bias grows with the number of features; that of the reusable holdout stays near zero with wider bars."}}
figures.real_bias({table.meaning: sessions.dropna()})
plt.savefig(chapter.output("bias.png"), dpi=150, bbox_inches="tight")

# %% [markdown]
# ## What to take away
# `transcript.csv` has every question with the answers and the fresh value, `bias.csv` the comparison,
# `holdout.json` the state of the holdout. Read the table so: where the naive interval lies above 0, your way
# of working overfits the holdout, and its accuracies must not be reported. Where the reusable interval covers 0
# and the naive one doesn't, it helped. Where neither does, you ask few questions or have many rows, and a
# plain holdout is enough. The noise features matter: if a classifier made of them scores above one half
# anywhere but on fresh rows, that is bias and nothing else.

# %%
chapter.summary()
