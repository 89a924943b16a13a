# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Generative marginalization models: what do they do for me?
# Give a table of categorical columns, with gaps or without; ask for any probability, marginal or conditional;
# get the gaps filled in, and an honest answer whether the method of {cite:t}`liu2024generative` did better than a
# plain regression for each column. Without a table of your own it runs on the American National Election Study of 1996.
#
# Your own file takes one line:
# ```
# papermill apply.ipynb out.ipynb -p data shop.csv -y "questions: ['bought=yes | device=phone', 'device=phone, country=FR']"
# ```

# %% tags=["parameters"]
profile: str = "book"  # smoke | book | full
seed: int = 0  # any integer from 0; all randomness follows from it
data: str = "anes96"  # path or URL of a CSV, or anes96 for the built-in study
columns = None  # type: Optional[list[str]] columns to use; None takes all
questions = None  # type: Optional[list[str]] events with conditions after a bar; None asks the example’s, or the first values
max_levels: int = 12  # numbers with more different values are cut at quantiles
bins: int = 4  # into that many intervals
hidden: int = 96  # width of the networks
layers: int = 2  # hidden layers
steps = None  # type: Optional[int] training steps of the first stage; the second takes five times as many
test_share: float = 0.25  # share of rows held out for the comparison

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
import numpy as np
import pandas as pd
import torch

from loglik.chapter import Chapter
from loglik.generative.marginalization_models import figures, workflow
from loglik.stats import intervals as stats

chapter = Chapter("generative/marginalization_models/apply", profile=profile, seed=seed)
torch.set_num_threads(1)
pd.set_option("display.max_colwidth", None)

# %% tags=["hide-input"]
cfg = chapter.settings(smoke=dict(steps=15), book=dict(steps=300), full=dict(steps=3000), steps=steps)
options = dict(hidden=hidden, layers=layers, steps=cfg.steps, batch=128, lr=2e-3)

# %% [markdown]
# ## The data
# Empty cells are missing values and take part as unknown; rows without any value are left out. In the example,
# PID is the party from 0 (strong Democrat) to 6 (strong Republican), selfLR, ClinLR and DoleLR are seats on
# the left-right scale from 1 to 7 for the voter, Clinton and Dole, TVnews counts days of the week with
# television news. One cell in fifty is emptied on purpose, so that there is something to fill in.

# %%
table = workflow.read_table(data, columns, max_levels=max_levels, bins=bins)
hidden_cells = None
if data == workflow.EXAMPLE:
    table, hidden_cells = workflow.empty_cells(table, 0.02, chapter.rng("gaps"))
workflow.describe(table)

# %% [markdown]
# ## The fit
# First the conditionals of an any-order autoregressive model, then the marginals that agree with them. Both networks
# start at the columns' own frequencies.

# %%
model = workflow.fit_table(table, seed=chapter.random_state("fit"), **options)

# %% [markdown]
# ## Any probability
# One pass for the event and one for the condition. Beside it the same probability by the chain rule of conditionals
# (slower, the model's own check), and the share of the rows that fit, where there are enough of them. Where one pass
# and the chain rule differ, the distillation has not converged for that subset: believe the chain rule.

# %%
asked = questions or workflow.default_questions(table, data)
answers = workflow.answer(model, table, asked)
answers.to_csv(chapter.output("answers.csv"), index=False)
answers.round(3)

# %% mystnb={"figure": {"caption": "Probabilities asked for: by one pass, by the chain rule of conditionals, and the share of fitting rows.", "name": "marginalization-models-answers"}, "image": {"alt": "One row a question with three markers between zero and one, mostly close to each other."}}
figures.answers(answers)
plt.savefig(chapter.output("answers.png"), dpi=150, bbox_inches="tight")

# %% [markdown]
# ## The gaps, filled in
# The most likely value of each empty cell given the rest of its row, with its probability. A low
# probability means the row does not say much about that cell: then draw values rather than take the likeliest.

# %%
filled = workflow.fill_missing(model, table)
filled.to_csv(chapter.output("filled.csv"), index=False)
if hidden_cells is not None:
    right = np.mean(
        [table.labels[j][v - 1] == f for (_, j, v), f in zip(hidden_cells, filled.value, strict=True)]
    )
    usual = workflow.share_of_modes(table, hidden_cells)
    print(f"{len(filled)} cells: {right:.0%} filled in rightly, {usual:.0%} by the most frequent value")
filled.head(8).round(3)

# %% [markdown]
# ## Do the assumptions hold here?
# Rows must be independent draws of one population, cells missing for reasons that the known cells explain, and the two
# networks must agree: *consistency* is the spread of the one-step residual on your rows, in nats.

# %%
workflow.check_assumptions(model, table, chapter.generator("checks"))

# %% [markdown]
# ## Did it help?
# A quarter of the rows is held out. Each of their known cells is hidden in turn and predicted from the rest of
# its row; the score is the **log loss** (nats, lower is better). *Logistic regression* is fitted anew for each column
# and is the peer to beat: it answers one question a column, while the model answers all.

# %%
order = chapter.rng("split").permutation(len(table.x))
cut = round(test_share * len(order))
test, train = table.take(order[:cut]), table.take(order[cut:])
judge = workflow.fit_table(train, seed=chapter.random_state("fit"), **options)
losses = workflow.held_out_loss(judge, train, test)
methods = ("marginals", "conditionals", "frequencies", "logistic regression")
losses.pivot_table(index="column", columns="method", values="loss", sort=False)[list(methods)].round(3)

# %% mystnb={"figure": {"caption": "Mean log loss of a hidden cell given the rest of its row, by column, on held-out rows. Bars: two standard errors over rows.", "name": "marginalization-models-losses"}, "image": {"alt": "For each column four markers with bars; frequencies lie highest for most columns, the others are close to each other."}}
figures.losses(losses, methods)

# %%
by_row = losses.pivot_table(index="row", columns="method", values="loss")
rows = []
for other in ("frequencies", "logistic regression"):
    gap = stats.mean(by_row.marginals - by_row[other])
    verdict = "better" if gap.high < 0 else "worse" if gap.low > 0 else "can't tell"
    rows.append(
        {"marginals minus": other, "log loss": gap[0], "low": gap.low, "high": gap.high, "verdict": verdict}
    )
pd.DataFrame(rows).round(4)

# %% [markdown]
# ## What to take away
# `answers.csv` has the probabilities you asked for, `filled.csv` the empty cells with their likeliest values. When a
# single column is all you want to predict, a regression for it is simpler; the model pays when the questions are many and
# not known beforehand.

# %%
chapter.summary()
