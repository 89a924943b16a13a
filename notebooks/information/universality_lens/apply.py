# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # The universality lens: what does it do for me?
# Give a table with two classes; get probabilities from a mixture of networks, an honest comparison with single networks and
# logistic regression, diagnostics of the chains, and how complex the learned predictor is by the measure of
# {cite:t}`feder2025universality`. Without a table of your own it runs on the breast-cancer data.
#
# Your own file takes one line:
# ```
# papermill apply.ipynb out.ipynb -p data churn.csv -p target churned -p positive yes
# ```

# %% tags=["parameters"]
profile: str = "book"  # smoke | book | full
seed: int = 0  # any integer from 0; all randomness follows from it
data: str = "cancer"  # path or URL of a CSV, or cancer for the built-in table
target: str = "diagnosis"  # column of the two classes
positive = None  # type: Optional[str] class whose probability is predicted; None takes the last in sort order
features = None  # type: Optional[list[str]] columns to use; None takes all but the target
width: int = 16  # hidden units of the network
train_rows = None  # type: Optional[int] rows to learn from in each split; None takes all that aren't held out
test_share: float = 0.3  # share of rows held out in each split
n_splits = None  # type: Optional[int] random splits of the comparison; None takes what the profile says
sgld_steps = None  # type: Optional[int] steps of a chain
sgld_chains = None  # type: Optional[int] chains

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
from loglik.information.universality_lens import SGLDMixtureClassifier, figures, workflow

chapter = Chapter("information/universality_lens/apply", profile=profile, seed=seed)
pd.set_option("display.max_colwidth", None)

# %% tags=["hide-input"]
cfg = chapter.settings(
    smoke=dict(n_splits=2, sgld_steps=300, fit_steps=300, sgld_chains=2, tempered_chains=2, tempered_steps=6, betas=5),
    book=dict(n_splits=10, sgld_steps=12_000, fit_steps=50_000, sgld_chains=6, tempered_chains=8, tempered_steps=36, betas=11),
    full=dict(n_splits=100, sgld_steps=50_000, fit_steps=200_000, sgld_chains=16, tempered_chains=32, tempered_steps=200, betas=16),
    n_splits=n_splits, sgld_steps=sgld_steps, sgld_chains=sgld_chains,
)  # fmt: skip

# %% [markdown]
# ## The data
# Numbers stay, text columns become dummies, rows with a missing value are left out.

# %%
table = workflow.read_table(data, target, positive, features)
facts = {
    "rows": len(table.y),
    "features": table.X.shape[1],
    f"positive ({table.labels[1]})": f"{table.y.mean():.1%}",
    "rows left out": table.dropped,
}
pd.Series(facts, name="").to_frame().T

# %% [markdown]
# ## Does the mixture help?
# All methods learn from the same random rows and are scored on the rest by log-loss, in nats per row. *Single draw* is one
# noisy training run, *MAP* the network with the prior as weight decay, *maximum likelihood* the one without, *ensemble* the
# average of four of these; *logistic regression* has its penalty chosen by cross-validation. Probabilities are kept $10^{-6}$
# away from 0 and 1, for all alike. Intervals are 95 % and allow for the overlap of the splits.

# %%
losses, differences = workflow.honest_comparison(
    table, cfg.n_splits, train_rows=train_rows, test_share=test_share, width=width, chains=cfg.sgld_chains,
    steps=cfg.sgld_steps, seed=chapter.random_state("splits"),
    progress=lambda splits: chapter.progress(splits, "splits"),
)  # fmt: skip
losses.groupby("method").log_loss.agg(["mean", "std"]).sort_values("mean").round(4).rename_axis(
    "nats per row"
)

# %% mystnb={"figure": {"caption": "The mixture's held-out log-loss minus that of each other learner, with 95 % intervals over splits. The axis is linear within 0.01 and logarithmic outside.", "name": "universality-lens-apply"}, "image": {"alt": "One row for each other learner with its difference and interval; single draws and maximum likelihood lie far on the side where the mixture is better."}}
figures.score_forest(differences)

# %%
differences.to_csv(chapter.output("comparison.csv"))
differences.round(4)

# %% [markdown]
# ## The fit and its chains
# On all rows. Weights of a network may trade places, so convergence is judged by what the chains *predict*: the split $\hat R$
# of the logit at fifty rows should be near one.

# %%
model = SGLDMixtureClassifier(
    width, chains=cfg.sgld_chains, steps=cfg.fit_steps, random_state=chapter.random_state("fit")
)
model.fit(table.X, np.array(table.labels)[table.y])
column = int(np.flatnonzero(model.classes_ == table.labels[1])[0])
draws = model.draws_proba(table.X)
draws = draws if column == 1 else 1 - draws
probability = draws.mean((0, 1))
spread = np.random.default_rng(seed).permutation(len(table.y))[:50]
diagnostics = model.diagnostics(table.X.iloc[spread])

# %% mystnb={"figure": {"caption": "Left: predicted probability along every chain, for the row that mixes worst. Right: split R-hat of fifty rows; dashed: 1.05.", "name": "universality-lens-chains"}, "image": {"alt": "Left: traces of all chains overlap. Right: a histogram of R-hat values close to one."}}
figures.chain_picture(draws[:, :, spread], diagnostics)

# %% [markdown]
# ## How complex is what was learned?
# A single network, the **student**, is trained to imitate the mixture. If the truth were that student, learning it from $n$
# rows would cost at most the *soft bound*, and $\lambda$ is the price of a further unit of $\log n$: the **effective
# dimension**, to be compared with half the number of parameters. Both come from chains at a ladder of temperatures.

# %%
complexity = workflow.effective_complexity(
    model, table.X, chains=cfg.tempered_chains, steps=cfg.tempered_steps, count=cfg.betas, seed=chapter.random_state("ladder")
)  # fmt: skip
complexity.table.round(3)

# %% mystnb={"figure": {"caption": "Effective dimension of the learned predictor. Bars: 95 % over chains. Black: half the number of parameters.", "name": "universality-lens-apply-lambda"}, "image": {"alt": "Effective dimension rises with the number of rows and stays far below half the number of parameters."}}
figures.learning_coefficients({"the student": complexity.energy}, model.network_.dim)
plt.savefig(chapter.output("effective_dimension.png"), dpi=150, bbox_inches="tight")

# %% [markdown]
# ## Do the assumptions hold here?
# The theory speaks of independent rows and of truths that the class holds or nearly holds. The second can be tested: if the
# predictions were the truth's, their log-loss would be what they expect of themselves. The gap is measured on rows that a
# fresh fit has not seen. A row that does not hold says what to do.

# %%
order = chapter.rng("calibration").permutation(len(table.y))
train, test = np.split(order, [round(len(order) * (1 - test_share))])
fresh = SGLDMixtureClassifier(width, chains=cfg.sgld_chains, steps=cfg.sgld_steps, random_state=seed)
held_out = fresh.fit(table.X.iloc[train], table.y[train]).predict_proba(table.X.iloc[test])[:, 1]
gap = workflow.expected_gap(table.y[test], held_out)
checks = workflow.check_assumptions(table, diagnostics, losses, gap, complexity)
checks.assign(then=checks.then.where(~checks.holds, ""), holds=checks.holds.map({True: "yes", False: "NO"}))

# %% [markdown]
# ## What to take away
# `predictions.csv` has the mixture's probability of every row with the middle 90 % of the draws: a wide band is a row about
# which the networks disagree. These rows were learned from; for new rows use `model.predict_proba`.

# %% mystnb={"figure": {"caption": "The mixture's probability of every row, in rising order, with the middle 90 % of the draws and the distilled student.", "name": "universality-lens-predictions"}, "image": {"alt": "A rising curve with a band that is widest in the middle; the student's dots lie on the curve."}}
low, high = np.quantile(draws, (0.05, 0.95), axis=(0, 1))
student = np.asarray(
    model.network_.proba(complexity.student.astype(np.float32), model.transform(table.X).astype(np.float32))
)
student = student if column == 1 else 1 - student
figures.prediction_spread(probability, low, high, student)

# %%
predictions = pd.DataFrame(
    {"probability": probability, "low": low, "high": high, "student": student, "observed": table.y}
)
predictions.to_csv(chapter.output("predictions.csv"), index_label="row")
np.savez(
    chapter.output("student.npz"), theta=complexity.student, mean=model.mean_, scale=model.scale_, width=width
)
complexity.table.to_csv(chapter.output("complexity.csv"), index=False)

# %% [markdown]
# `student.npz` is the whole distilled network, one vector of parameters with the scaling of the features:
# ```
# from loglik.information.universality_lens import TanhNetwork
# s = np.load("student.npz")
# x = (X_new - s["mean"]) / s["scale"] / np.sqrt(X_new.shape[1])
# TanhNetwork(X_new.shape[1], int(s["width"])).proba(s["theta"], x)
# ```

# %%
chapter.summary()
