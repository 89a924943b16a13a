# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Unsupervised pretraining: what does it do for me?
# Give a table with a few labels, and if you have one a second table without; get an answer whether
# pretraining in the sense of {cite:t}`ge2024provable` pays, up to how many labels, and why. Without files of
# your own it runs on scikit-learn's digits, of which most labels are hidden.
#
# Your own files take one line:
# ```
# papermill apply.ipynb out.ipynb -p data labelled.csv -p target price -p unlabelled more.csv
# ```

# %% tags=["parameters"]
profile: str = "book"  # smoke | book | full
seed: int = 0  # any integer from 0; all randomness follows from it
data: str = "digits"  # path or URL of a CSV with labels, or digits for the built-in example
target: str = "digit"  # column to predict; rows where it is empty count as unlabelled
unlabelled = None  # type: Optional[str] path or URL of a CSV without labels, same features
features = None  # type: Optional[list[str]] columns to use; None takes all but the target
kind = None  # type: Optional[str] classification or regression; None looks at the target
scaling = None  # type: Optional[str] each column by itself, or common for columns in one unit
label_counts = None  # type: Optional[list[int]] label counts to compare; None takes a few steps
test_share: float = 0.3  # share of the labelled rows held out in each split
n_splits = None  # type: Optional[int] random splits; None takes what the profile says

# %% tags=["hide-input", "setup"]
try:
    import loglik  # noqa: F401
except ModuleNotFoundError:  # Colab, or a kernel without the package
    import sys

    from IPython import get_ipython

    flags = "--no-deps" if "google.colab" in sys.modules else ""
    packages = "git+https://github.com/OWNER/likelihood-reproduced@v0.1.0"
    get_ipython().run_line_magic("pip", f"install -q {flags} {packages}")
import numpy as np
import pandas as pd
from IPython.display import Markdown
from threadpoolctl import threadpool_limits

from loglik.chapter import Chapter
from loglik.information.unsupervised_pretraining import condition, figures, workflow

chapter = Chapter("information/unsupervised_pretraining/apply", profile=profile, seed=seed)
threadpool_limits(1)  # many small problems: threads would only wait for each other
pd.set_option("display.max_colwidth", None)

# %% tags=["hide-input"]
cfg = chapter.settings(
    smoke=dict(n_splits=2), book=dict(n_splits=20), full=dict(n_splits=200), n_splits=n_splits
)

# %% [markdown]
# ## The data
# Text columns become dummy variables; rows with an empty feature are left out; rows with an empty target
# join the unlabelled ones.

# %%
table = workflow.read_tables(data, target, unlabelled, features, kind, seed=chapter.random_state("digits"))
pool = np.concatenate([table.X, table.X_unlab])
how = scaling or ("common" if data == "digits" else "each")
counts = workflow.label_counts(table, label_counts, test_share)
pd.Series(
    {
        "labelled": len(table.y),
        "unlabelled": len(table.X_unlab),
        "features": pool.shape[1],
        "kind": table.kind,
    },
    name="rows",
).to_frame().T

# %% [markdown]
# ## How large a latent model?
# Sizes are chosen by the likelihood of held-out rows, the smallest within a standard error of the best: that
# is phase one, and it needs no labels. Factors have a noise variance of their own for each column. Two lines for
# scale: independent columns (a latent model below that is useless) and one normal with full covariance. The
# two curves can't be compared with each other: the mixture works on up to 20 principal components.

# %%
sizes = workflow.choose_sizes(pool, chapter.random_state("sizes"), scaling=how)

# %% mystnb={"figure": {"caption": "Held-out log-likelihood of factor models and mixtures of several sizes; half of all rows fit, the other half judge. Mixtures are judged on principal components, the rest on all columns.", "name": "unsupervised-pretraining-sizes"}, "image": {"alt": "Two curves of log-likelihood against size with two horizontal lines for models without latent variables."}}
figures.size_curves(sizes.curve)

# %% [markdown]
# ## Does it help?
# Two two-phase methods, *factors + head* and *mixture + head*, against a tuned linear model and tuned support
# vectors. In each split some labelled rows are held out. Phase one sees all other rows without their labels;
# phase two and the supervised methods see the first $n$ labels. The score is accuracy for classes and R² for
# numbers: higher is better for both.

# %%
scores = workflow.compare_methods(
    table, sizes, counts, cfg.n_splits, chapter.rng("splits"), test_share=test_share,
    progress=lambda splits: chapter.progress(splits, "splits"),
)  # fmt: skip
scores.to_csv(chapter.output("scores.csv"), index=False)

# %% mystnb={"figure": {"caption": "Held-out score against the number of labels. Bars: two standard errors over random splits, which share rows.", "name": "unsupervised-pretraining-scores"}, "image": {"alt": "Curves of held-out score for two pretrained and two supervised methods; on the digits the mixture leads at few labels and support vectors at many."}}
figures.accuracy_curves(
    scores, "score", "held-out accuracy" if table.kind == "classification" else "held-out R²"
)

# %% [markdown]
# Each two-phase method minus the better supervised one, with 95 % intervals that allow for the overlap of the
# splits, so they are wider than the bars above.

# %%
found = workflow.differences(scores, test_share)
found.to_csv(chapter.output("differences.csv"), index=False)
found.round(3)

# %% [markdown]
# ## Does the theorem's condition hold here?
# Informativeness itself can't be tested: it speaks of a latent variable that nobody saw. What can be looked at
# are its consequences. Does the latent model fit the rows? Are the factors strong enough to be found? And,
# with the labels at hand, does $x$ still tell something about $y$ once the representation is known?

# %%
checks = condition.check_condition(table, sizes, counts[0], chapter.random_state("checks"))
checks.assign(then=checks.then.where(~checks.holds, ""), holds=checks.holds.map({True: "yes", False: "NO"}))

# %% [markdown]
# ## Advice

# %%
text = condition.advice(found, checks)
chapter.output("advice.txt").write_text(text + "\n", encoding="utf-8")
Markdown(f"> {text}")

# %% [markdown]
# "Can't tell" means what it says. A condition that is not met is a warning for *more* labels than you have: the
# representation then has a floor, and a supervised method will overtake it.
#
# ## What to take away
# `predictions.csv` has predictions for the rows without labels, by the method with the best mean score at the
# largest label count, fitted again on all labels; `scores.csv` and `differences.csv` hold the comparison.

# %%
best, predictions = workflow.predict_unlabelled(table, sizes, scores, chapter.random_state("final"))
predictions.to_csv(chapter.output("predictions.csv"), index=False)
print(f"predicted {len(predictions)} rows with: {best}")

# %%
chapter.summary()
