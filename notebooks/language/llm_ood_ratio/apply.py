# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Parent-to-child ratio: what does it do for me?
# Give two checkpoints and a file of texts; get a score for every text, a threshold at the false-alarm rate that you
# choose, and flags for what your fine-tuned model doesn't know ({cite:p}`zhang2025your`). Without any of that it
# fine-tunes the collection's small base model on mails and looks for what isn't one.
#
# Your own models and texts take one line:
# ```
# papermill apply.ipynb out.ipynb -p texts inbox.csv -p known tickets.csv -p parent ./base -p child ./tuned
# ```
# Without `child`, half of the known texts fine-tune the parent on the spot; the other half sets the threshold.

# %% tags=["parameters"]
profile: str = "book"  # smoke | book | full
seed: int = 0  # any integer from 0; all randomness follows from it
texts: str = ""  # file to judge: CSV, or one text a line; empty takes the example
known: str = ""  # file of known texts that the child was not trained on
column: str = "text"  # column of the texts in a CSV
kind: str = ""  # column that says what each text is, for a table by kind; empty for none
parent: str = "loglik-base"  # folder or hub name; loglik-base is the small one, smollm2-135m a real one
child: str = ""  # folder or hub name of the fine-tuned model; empty makes one
false_alarms: float = 0.05  # share of known texts that may be flagged
normalize: bool = True  # divide the ratio by the number of tokens: wise where texts differ much in length
max_len: int = 128  # tokens of a text that are looked at
epochs: float = 2.0  # of the fine-tuning, where one is made
n_example = None  # type: Optional[int] texts of a kind in the example; None takes what the profile says

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
from loglik.language.llm_ood_ratio import LikelihoodRatioDetector, figures, workflow

chapter = Chapter("language/llm_ood_ratio/apply", profile=profile, seed=seed)
pd.set_option("display.max_colwidth", 70)

# %% tags=["hide-input"]
cfg = chapter.settings(
    smoke=dict(n_example=20), book=dict(n_example=100), full=dict(n_example=200), n_example=n_example
)

# %% [markdown]
# ## The texts
# Known texts must be fresh: a child has memorised some of its training texts, and a threshold from those would be too
# low.

# %%
table, lessons, calibration = workflow.gather(
    texts, known, column=column, kind=kind, child=child, n_example=cfg.n_example, rng=chapter.rng("texts")
)
lessons = lessons[:64] if profile == "smoke" else lessons
pd.Series({"to judge": len(table.texts), "to fine-tune on": len(lessons), "to calibrate": len(calibration)}, name="texts").to_frame().T  # fmt: skip

# %%
models = workflow.load_pair(
    parent, child, lessons, epochs=epochs, seed=chapter.random_state("fine-tuning"), max_len=max_len
)
detector = LikelihoodRatioDetector(*models, normalize=normalize, max_len=max_len).fit(
    calibration, fpr=false_alarms
)
print(f"threshold {detector.threshold_:.3g}: at most {false_alarms:.0%} of new known texts are flagged")

# %% [markdown]
# ## Do the assumptions hold here?
# A row that does not hold says what to do instead.

# %%
checks = workflow.check_assumptions(detector, calibration, table, lessons)
checks.assign(then=checks.then.where(~checks.holds, ""), holds=checks.holds.map({True: "yes", False: "NO"}))

# %% [markdown]
# ## The scores
# `scored_texts.csv` has every text of the file in its order: flag, the ratio (`LR`, and `NLR` a token), the two
# likelihoods, and the text. The flag goes by the ratio a token: mails are long and verses short, and a sum over few
# tokens rarely passes a threshold that long texts have set. With texts of one length take the sum, as the paper does.

# %%
frame = workflow.judge(detector, table)
frame.to_csv(chapter.output("scored_texts.csv"), index=False)
frame.sort_values("NLR" if normalize else "LR", ascending=False).head(8).round(2)

# %% mystnb={"figure": {"caption": "Scores of the known texts that set the threshold, and of the texts to judge. What lies to the right of the line is flagged.", "name": "llm-ood-ratio-scored"}, "image": {"alt": "Two histograms. The known texts lie mostly below the vertical threshold line; the texts to judge have one hump there and a second, larger one far to the right."}}
score = "NLR" if normalize else "LR"
figures.scored(detector.ood_score(calibration), frame[score].to_numpy(), detector.threshold_)
if normalize:
    plt.xlabel("(log parent − log child) / tokens, nats a token (higher: less known)")

# %% [markdown]
# ## Did it help?
# Where the file says what each text is, here is the share flagged of each kind, with 95 % intervals. The known kind
# should stay near the false-alarm rate that was asked for; the others should be near 1. The last columns say what the
# child's likelihood alone would have flagged at the same false-alarm rate.

# %%
report = workflow.report(detector, frame, calibration, false_alarms)
report.to_csv(chapter.output("flagged.csv"))
report.round(3)

# %% [markdown]
# The promise about false alarms is about the *average* over calibration samples: with few calibration texts the rate
# of one threshold varies, by about $\sqrt{\alpha(1-\alpha)/N}$.

# %%
chapter.summary()
