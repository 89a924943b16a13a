# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # PRESTO: what does it do for me?
# Give a table whose target is an ordered chain with a rare last step; get the probability of that step for
# every row, the weights behind it, and an honest answer whether the method of
# {cite:t}`faletto2023predicting` helped. Without a table of your own it runs on Fair's marriage survey,
# where 1.6 % answer "very poor".
#
# Your own file takes one line:
# ```
# papermill apply.ipynb out.ipynb -p data shop.csv -p target stage -y "order: [seen, clicked, bought]"
# ```

# %% tags=["parameters"]
profile: str = "book"  # smoke | book | full
seed: int = 0  # any integer from 0; all randomness follows from it
data: str = "fair"  # path or URL of a CSV, or fair for the built-in survey
target: str = "rate_marriage"  # column of the ordered classes
order = None  # type: Optional[list[str]] classes from common to rare; None sorts a numeric target
features = None  # type: Optional[list[str]] columns to use; None takes all but the target
scoring: str = "brier"  # brier as in the paper, or log_loss, which listens more to the rare class
test_share: float = 0.2  # share of rows held out in each split
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
import numpy as np
import pandas as pd

from loglik.chapter import Chapter
from loglik.risk.presto import PrestoClassifier, figures, workflow

chapter = Chapter("risk/presto/apply", profile=profile, seed=seed)
pd.set_option("display.max_colwidth", None)

# %% tags=["hide-input"]
cfg = chapter.settings(
    smoke=dict(n_splits=2), book=dict(n_splits=15), full=dict(n_splits=200), n_splits=n_splits
)

# %% [markdown]
# ## The data
# Classes stand in their order, the rare one last. Text columns become dummy variables; rows with a missing
# value are left out.

# %%
table = workflow.read_table(data, target, order, features)
pd.Series(np.bincount(table.y), pd.Index(table.labels, name="class"), name="rows").to_frame().T

# %% [markdown]
# ## The fit
# The penalty is chosen by cross-validation within these rows; the features are standardised for it and the
# weights handed back on their own scale.

# %%
model = PrestoClassifier(scoring=scoring, random_state=chapter.random_state("folds"))
model.fit(table.X, pd.Categorical.from_codes(table.y, categories=list(table.labels), ordered=True))
steps = [f"{a} | {b}" for a, b in zip(table.labels[:-1], table.labels[1:], strict=True)]
fused = (model.coef_diff_[1:] == 0).mean()
print(f"penalty {model.lambda_:.2g}; {fused:.0%} of all steps from one boundary to the next are exactly zero")

# %% [markdown]
# ## Do the paper's assumptions hold here?
# PRESTO is made for a rare last class, with too few rows for logistic regression, at the end of a chain
# whose earlier steps depend on the same features in a similar but not identical way. A row that does not
# hold says what to do instead. The likelihood-ratio test compares proportional odds (one weight vector for
# all boundaries) with one vector for each.

# %%
checks = workflow.check_assumptions(table, model)
checks.assign(then=checks.then.where(~checks.holds, ""), holds=checks.holds.map({True: "yes", False: "NO"}))

# %% [markdown]
# ## What drives each step
# Odds ratios of getting *past* a boundary, for one standard deviation more of a feature. Dots on top of
# each other are fused: the feature acts alike on both steps. There are no confidence intervals here on
# purpose: after a penalty, the usual ones are wrong.

# %% mystnb={"figure": {"caption": "Odds ratios of getting past each boundary, per standard deviation of the feature, on all rows. Larger dots: earlier boundaries. Point estimates after penalisation.", "name": "presto-odds"}, "image": {"alt": "One row for each feature with a dot for each boundary on a logarithmic axis of odds ratios around one; many dots coincide."}}
weights = pd.DataFrame(
    -model.coef_.T * table.X.std(ddof=0).to_numpy()[:, None], index=table.X.columns, columns=steps
)
figures.coefficient_bars(weights)
plt.savefig(chapter.output("odds_ratios.png"), dpi=150, bbox_inches="tight")

# %% [markdown]
# ## Did it help?
# Every method learns from the same random training rows and is scored on the rest: the rare class's **Brier
# score** (mean squared error of its probability) and **log loss**, lower is better for both. Intervals are
# 95 % and allow for the overlap of the splits, so they are wider than a naive
# standard error. *logit* is plain logistic regression of "rare or not", *PO* the proportional-odds model,
# *logit, L2* a penalised logistic regression.

# %%
scores, differences = workflow.honest_comparison(
    table,
    cfg.n_splits,
    test_share=test_share,
    seed=chapter.entropy("splits"),
    progress=lambda splits: chapter.progress(splits, "splits"),
)
scores.round(5)

# %%
differences.assign(**differences[["difference", "low", "high"]].map("{:+.2e}".format))

# %% [markdown]
# "Can't tell" means what it says: on this many rare rows the methods are not distinguishable. Then prefer
# the simplest whose assumptions hold.
#
# ## What to take away
# `predictions.csv` has the class probabilities of every row, `coefficients.csv` the weights and intercepts
# of every boundary on the features' own scale (positive lowers the chance of getting past it).

# %%
proba = pd.DataFrame(model.predict_proba(table.X), columns=[f"P({label})" for label in table.labels])
proba.assign(rare=model.predict_rare_proba(table.X)).to_csv(chapter.output("predictions.csv"), index=False)
coefficients = pd.DataFrame(model.coef_, columns=table.X.columns, index=pd.Index(steps, name="boundary"))
coefficients.insert(0, "intercept", model.intercept_)
coefficients.to_csv(chapter.output("coefficients.csv"))
coefficients.T.round(3)

# %%
chapter.summary()
