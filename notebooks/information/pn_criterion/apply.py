# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # The p–n criterion: what does it do for me?
# Give a table and a family of models; get an answer to "is n enough for this model?", the largest model that your
# sample supports, and the n that a larger one would need, after {cite:t}`sheena2022mle`. Without a table of your own it
# asks whether 1599 red wines are enough for a normal model of eleven features.
#
# Your own file takes one line:
# ```
# papermill apply.ipynb out.ipynb -p data survey.csv -p family loglinear -p delta 0.05
# ```

# %% tags=["parameters"]
profile: str = "book"  # smoke | book | full
seed: int = 0  # any integer from 0; all randomness follows from it
data: str = "wine"  # path or URL of a CSV, or wine or abalone for the built-in tables
family: str = "gaussian"  # gaussian | loglinear | ising | box | poisson | gamma | exponential
columns = None  # type: Optional[list[str]] columns to use; None takes all
wine_transform: str = "log"  # none | log, for numeric columns
ladder_levels: int = 3  # classes that loglinear cuts a numeric column into
ladder_max_order: int = 3  # largest order of interactions, or degree of a polynomial
delta: float = 0.05  # tolerated distance of the Bayes error from one half, between 0 and 0.5
bound: str = "pinsker"  # pinsker | sharp, both guarantees; bretagnolle-huber; local, an approximation
max_models = None  # type: Optional[int] models on the ladder; None takes what the profile says
reps = None  # type: Optional[int] refits of the check

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
from loglik.information.pn_criterion import dimension_ladder, figures, kl_threshold, pn_criterion, workflow

chapter = Chapter("information/pn_criterion/apply", profile=profile, seed=seed)
pd.set_option("display.max_colwidth", None)

# %% tags=["hide-input"]
cfg = chapter.settings(
    smoke=dict(max_models=2, n_blocks=2, reps=20, sizes=(400,)),
    book=dict(max_models=5, n_blocks=10, reps=300, sizes=(400, 1200, 3200)),
    full=dict(max_models=12, n_blocks=50, reps=5000, sizes=(400, 800, 1600, 3200, 6400)),
    max_models=max_models,
    reps=reps,
)

# %% [markdown]
# ## The data
# Rows with a missing value are left out. Numeric columns are transformed as asked; the log-linear family cuts them at
# their quantiles.

# %%
sample = workflow.read_sample(data, family, columns, wine_transform, ladder_levels)
print(
    f"{len(sample.x)} rows, {len(sample.columns)} columns, {sample.dropped} rows left out for missing values"
)

# %% [markdown]
# ## Is n enough?
# One row a model, smallest first. `risk` is the expected divergence (nats) from the best member of the model to the fit;
# `threshold` the one that δ tolerates; `n_required` the rows at which the two meet. The standard errors come from a jackknife over
# groups of rows. *can't tell* means that the threshold lies inside the risk's 95 % interval.

# %%
ladder = workflow.ladder(sample, ladder_max_order, cfg.max_models)
table = dimension_ladder(
    ladder, sample.x, delta, bound, n_blocks=cfg.n_blocks, rng=chapter.rng("chains"),
    progress=lambda jobs: chapter.progress(jobs, "models"),
)  # fmt: skip
table.to_csv(chapter.output("criterion.csv"))
shown = [
    c
    for c in ("p", "A1", "p/2", "A2", "risk", "risk_se", "threshold", "n_required", "n_required_se", "answer")
    if c in table
]
table[shown].round(4)

# %%
best = workflow.largest_accepted(table)
top = table.index[-1]
print(workflow.verdict(table, len(sample.x), delta))

# %% [markdown]
# ## Do the assumptions hold here?
# A row that does not hold says what to do instead.

# %%
checks = workflow.check_assumptions(sample, table, delta)
checks.assign(then=checks.then.where(~checks.holds, ""), holds=checks.holds.map({True: "yes", False: "NO"}))

# %% [markdown]
# ## A check without any expansion
# Take the file as the truth, draw samples of the same size from it, refit, and measure the risk. It is slow and needs no
# theory. If it disagrees with `risk` by more than its bars, the sample is too small for the expansion: trust this
# column.

# %%
measured = workflow.measured_risks(
    ladder,
    table,
    sample.x,
    cfg.reps,
    chapter.rng("refits"),
    progress=lambda jobs: chapter.progress(jobs, "refits"),
)
table = table.assign(measured=measured.measured, measured_se=measured.se)
table[["p", "risk", "measured", "measured_se"]].assign(naive=table["p"] / 2 / len(sample.x)).astype(
    float
).round(5)

# %% mystnb={"figure": {"caption": "Risk of each model at this sample's size: estimated (95 % jackknife bars), measured by refitting (95 % bars over refits), and tolerated.", "name": "pn-criterion-apply"}, "image": {"alt": "Estimated and measured risks against the number of parameters on log axes, with dashed lines of tolerance and the dotted line p over 2n below."}}
figures.ladder_bars(table, len(sample.x), (delta, min(2 * delta, 0.49)))
plt.savefig(chapter.output("risks.png"), dpi=150, bbox_inches="tight")

# %% [markdown]
# ## How many rows would be enough?
# For the largest model with an MLE, over a range of tolerances.

# %%
chosen = table.index[table.answer != "no MLE"][-1]
found = pn_criterion(ladder[chosen], sample.x, delta, bound, rng=chapter.rng("chains"), n_blocks=0)
deltas = np.array([0.02, 0.05, 0.1, 0.2])
plan = pd.DataFrame({"delta": deltas, "tolerated risk": [kl_threshold(d, bound) for d in deltas]})
plan["n required"] = [np.ceil(found.expansion.required_n(c)) for c in plan["tolerated risk"]]
plan["n by p/2"] = np.ceil(found.p / 2 / plan["tolerated risk"])
plan.to_csv(chapter.output("plan.csv"), index=False)
plan

# %% mystnb={"figure": {"caption": "The risk curve of the largest model and the sample sizes that three tolerances ask for. An estimate from this sample; its error stands in the table above.", "name": "pn-criterion-plan"}, "image": {"alt": "A falling risk curve on log axes with three tolerances and the sample size that each asks for, and a vertical line at this sample's size."}}
figures.planning(found.expansion, found.p, found.n, (delta / 2, delta, min(2 * delta, 0.49)))
plt.savefig(chapter.output("plan.png"), dpi=150, bbox_inches="tight")

# %% [markdown]
# ## Can the answer be trusted?
# Two files whose truth is known, because the file itself is taken for it: red wine under a normal model of the logarithms (77 parameters) and
# abalone under a pairwise log-linear model (72 parameters). We draw *one* sample of each size, run the tool on it as
# above, and compare its risk with the true one, measured by refitting fresh samples.

# %%
agreement = workflow.agreement(
    cfg.sizes, cfg.reps, cfg.n_blocks, chapter.rng("agreement"), delta,
    progress=lambda jobs: chapter.progress(jobs, "samples"),
)  # fmt: skip
agreement.round(4)

# %% mystnb={"figure": {"caption": "Estimated from one sample against measured risk, two files. Vertical bars: 95 % jackknife; horizontal: 95 % over refits, mostly smaller than the marks.", "name": "pn-criterion-agreement"}, "image": {"alt": "Six points with bars along the diagonal on log axes, three for each data file; those of the wine file have the longer bars and lie slightly below the diagonal."}}
figures.agreement(agreement)

# %% [markdown]
# ## What to take away
# `criterion.csv` has a row a model with coefficients, risks, requirements and information criteria; `plan.csv` the sample
# sizes. Mind what the answer is about: a model that is accepted is fitted about as well as it can be. Whether it is a good
# model is another question (`misfit`, AIC, a look at the residuals).

# %%
chapter.summary()
