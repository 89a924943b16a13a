# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # h-Calibration: what does it do for me?
# Give the logits of your classifier on held-out rows, with their labels; get reliability diagrams with intervals,
# an answer whether recalibration by {cite:t}`huang2025hcalibration` is worth it, and if so, the recalibrated
# probabilities and the map. Without a file of your own it takes a small network on handwritten digits.
#
# Your own file takes one line (one column of logits or log-probabilities a class, one of labels):
# ```
# papermill apply.ipynb out.ipynb -p data logits.csv -p target label
# ```

# %% tags=["parameters"]
profile: str = "book"  # smoke | book | full
seed: int = 0  # any integer from 0; all randomness follows from it
data: str = "digits"  # path or URL of a CSV, or digits for the built-in network
target: str = "label"  # column of the labels, names or numbers of the logit columns
logits = None  # type: Optional[list[str]] columns of the logits; None takes all but the target
window: int = 200  # events in a window of the loss (M, even)
n_bins: int = 12  # bins of the reliability diagrams, of equal size
level: float = 0.95  # of the test and of the intervals behind the answer
n_repeats = None  # type: Optional[int] times that the rows are halved for the comparison

# %% tags=["hide-input", "setup"]
try:
    import loglik  # noqa: F401
except ModuleNotFoundError:  # Colab, or a kernel without the package
    import sys

    from IPython import get_ipython

    flags = "--no-deps" if "google.colab" in sys.modules else ""
    packages = "probmetrics pytorch-minimize git+https://github.com/OWNER/likelihood-reproduced@v0.1.0"
    get_ipython().run_line_magic("pip", f"install -q {flags} {packages}")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from scipy.special import softmax

from loglik.chapter import Chapter
from loglik.risk.h_calibration import calibrate, figures, metrics, workflow
from loglik.risk.h_calibration.report import default_candidates

torch.set_num_threads(1)  # the press runs chapters side by side
chapter = Chapter("risk/h_calibration/apply", profile=profile, seed=seed)
pd.set_option("display.max_colwidth", None)

# %% tags=["hide-input"]
cfg = chapter.settings(
    smoke=dict(n_repeats=1, n_draws=39, epochs=10, public=["temperature"]),
    book=dict(n_repeats=3, n_draws=199, epochs=150, public=["temperature", "vector scaling", "isotonic"]),
    full=dict(n_repeats=50, n_draws=1999, epochs=2000, public=["temperature", "vector scaling", "isotonic", "spline"]),
    n_repeats=n_repeats,
)  # fmt: skip

# %% [markdown]
# ## The data
# One row a sample that the classifier was *not* trained on. The built-in network learnt 500 small digits, a fifth
# of them with random labels, and predicts the other 1297.

# %%
given = workflow.read_predictions(data, target, logits, chapter.entropy("digits"))
reported = softmax(given.logits.to_numpy(), axis=1)
counts = pd.Series(np.bincount(given.y, minlength=given.logits.shape[1]), given.logits.columns, name="rows")
counts.to_frame().T

# %% [markdown]
# ## Do the assumptions hold here?
# A row that does not hold says what to do instead.

# %%
checks = workflow.check_assumptions(given, window)
checks.assign(then=checks.then.where(~checks.holds, ""), holds=checks.holds.map({True: "yes", False: "NO"}))

# %% [markdown]
# ## Is it worth it?
# First: were the reported probabilities true, how large would the gaps look on so many rows? Labels are drawn
# from the probabilities themselves; the p-value compares. Second: does a map lower the Brier score on rows that
# it was not fitted to?

# %%
candidates = {
    name: model.set_params(window=window, epochs=cfg.epochs) for name, model in default_candidates().items()
}
answer = calibrate(
    given.logits.to_numpy(), given.y, candidates=candidates, level=level, n_draws=cfg.n_draws,
    random_state=chapter.random_state("folds"),
)  # fmt: skip
print(answer.reason)
answer.table.round(4)

# %% mystnb={"figure": {"caption": "Gain in Brier score of each candidate over the reported probabilities, out of fold. Bars: intervals over rows, at the chosen level for all candidates together. Right of zero: better.", "name": "h-calibration-gain"}, "image": {"alt": "One dot with an interval for each candidate map beside a line at zero."}}
figures.candidates(answer.table)

# %% [markdown]
# ## What changes
# On these same rows, so the right panel is a little too good; the tables above and below are honest.

# %% mystnb={"figure": {"caption": "Reliability as reported, and after the recommended map (as reported again, where none is recommended). Bins of equal size; bars: 95 % Wilson intervals; grey: where a calibrated predictor's points would fall.", "name": "h-calibration-diagram"}, "image": {"alt": "Two reliability diagrams side by side; after recalibration the points lie closer to the diagonal."}}
mended = answer.predict_proba(given.logits.to_numpy())
figures.reliability_panels(
    {"as reported": reported, answer.best if answer.worth_it else "left alone": mended}, given.y, n_bins
)
plt.savefig(chapter.output("reliability.png"), dpi=150, bbox_inches="tight")

# %% [markdown]
# ## An honest comparison
# The rows are halved again and again; every calibrator is fitted to one half and scored on the other, ours and
# those of the public library probmetrics. Differences are from the reported probabilities; intervals are 95 % and
# allow for the overlap of the halves. "Can't tell" means what it says.

# %%
scores, differences = workflow.honest_comparison(
    given,
    [("temperature", "h"), ("temperature", "nll"), ("pwl", "h")],
    cfg.public,
    cfg.n_repeats,
    window=window,
    seed=chapter.random_state("halves"),
    epochs=cfg.epochs,
    progress=lambda repeats: chapter.progress(repeats, "halves"),
)
scores.round(4)

# %%
differences.round(4)

# %% [markdown]
# ## What to take away
# `probabilities.csv` has the probabilities to use (the reported ones where recalibration isn't worth it),
# `reliability.csv` the points of the diagram, `map.json` the fitted map. Apply the map to logits of *new* rows;
# on these it has seen the labels.

# %%
pd.DataFrame(mended, columns=given.logits.columns).to_csv(chapter.output("probabilities.csv"), index=False)
curve = metrics.reliability_curve(mended, given.y, n_bins=n_bins)
pd.DataFrame(curve._asdict()).to_csv(chapter.output("reliability.csv"), index=False)
chapter.output("map.json").write_text(workflow.map_as_json(answer), encoding="utf-8")
pd.DataFrame(curve._asdict()).round(3)

# %%
chapter.summary()
