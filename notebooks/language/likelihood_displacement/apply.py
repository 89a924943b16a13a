# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Likelihood displacement: what does it do for me?
# Before you train on preference pairs, this notebook scores each of them by CHES {cite:p}`razin2025unintentional`,
# which needs two forward passes and no training, and keeps the pairs that are least likely to push their own
# preferred answers down. Give a JSON-lines file with `prompt`, `chosen` and `rejected`, and the checkpoint that you
# are about to train.
#
# ```
# papermill apply.ipynb out.ipynb -p data pairs.jsonl -p checkpoint path/to/model -p keep 0.8
# ```
# Without a file it runs on pairs of Bible verses and the small base model that the language chapters share. With
# `-p data ultrafeedback` it fetches the paper's own pairs; those are long, so give a checkpoint with them.

# %% tags=["parameters"]
profile: str = "book"  # smoke | book | full
seed: int = 0  # any integer from 0; all randomness follows from it
data: str = ""  # a JSON-lines file of yours, or ultrafeedback (needs a network); empty takes the example
checkpoint: str = ""  # a folder or a name on the hub; empty takes the shared base model
keep: float = 0.5  # share of the pairs to keep, those of lowest score; in (0, 1]
by: str = "ln_ches"  # ln_ches | ches | edit | last
n_pairs = None  # type: Optional[int] pairs of the example; None takes what the profile says

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
from loglik.language.base import load_base
from loglik.language.likelihood_displacement import examples, figures, hub, workflow
from loglik.language.models import load_pretrained

chapter = Chapter("language/likelihood_displacement/apply", profile=profile, seed=seed)
cfg = chapter.settings(
    smoke=dict(n_pairs=60), book=dict(n_pairs=600), full=dict(n_pairs=5000), n_pairs=n_pairs
)

# %% [markdown]
# ## Score and filter
# The file is read as a stream: texts are in memory a few hundred at a time, and of each pair one number stays. The
# example has one broken line, on purpose.

# %%
model, tokenizer = load_pretrained(checkpoint) if checkpoint else load_base()
path = data or examples.write_verse_pairs(
    chapter.output("pairs.jsonl"), cfg.n_pairs, rng=chapter.rng("verses")
)
if data == "ultrafeedback":
    path = examples.write_rows(chapter.output("pairs.jsonl"), hub.load_ultrafeedback(cfg.n_pairs))
screened = workflow.screen(
    path, model, tokenizer, chapter.output("scores.csv").parent, keep=keep, by=by,
    progress=lambda lines: chapter.progress(lines, "lines"),
)  # fmt: skip
pd.Series(screened._asdict()).loc[["n_pairs", "n_malformed", "n_kept"]].to_frame("lines")

# %% [markdown]
# ## What was malformed?
# By line number. Nothing is lost: every line of the file is in exactly one of `kept.jsonl`, `dropped.jsonl` and
# `malformed.csv`.

# %%
pd.read_csv(screened.malformed).head(10)

# %% mystnb={"figure": {"caption": "Scores of all pairs, and where the filter cuts (dotted). The lowest half per cent is gathered in the first bar.", "name": "likelihood-displacement-yours"}, "image": {"alt": "Histogram of the pairs' scores in two colours: kept below the threshold, filtered out above it."}}
scores = pd.read_csv(screened.scores)
threshold = scores[by].sort_values().iloc[screened.n_kept - 1]
figures.score_histogram(scores, threshold, by=by)
plt.savefig(chapter.output("scores.png"), dpi=150, bbox_inches="tight")

# %% [markdown]
# ## Which pairs are the worst?
# Read these first. Two answers that say almost the same are typical.

# %%
workflow.worst_pairs(path, screened, 5, by=by)

# %% [markdown]
# ## What to check on your data
# - *Length.* `ches` grows with the square of the answers' lengths; if its order is mostly that of the length, use
#   `ln_ches`.
# - *Rivals.* If edit distance ranks your pairs as CHES does, the filter mostly removes near-copies.

# %%
scores.assign(tokens=scores.tokens_chosen)[["ches", "ln_ches", "edit", "last", "tokens"]].corr(
    "spearman"
).round(2)

# %% [markdown]
# CHES is a rule of thumb from an analysis at the first step with free embeddings. How much to keep is for a
# validation run to say; the filter says where to begin.

# %%
chapter.summary()
