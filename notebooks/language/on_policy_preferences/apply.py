# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # On-policy preferences: what does it do for me?
# Before a project pays for a sampling loop and a reward model, a bandit can say whether they would be worth it.
# Give a table of actions with their rewards and the reference policy's logits; get which family of methods of
# {cite:t}`tajwar2024preference` wins on it, at your budget of labels, and why. Without a table of your own it runs
# on a real language model: SmolLM2-135M's 100 likeliest next tokens after "The most important thing in life is to
# be", rewarded by their number of letters.
#
# ```
# papermill apply.ipynb out.ipynb -p data actions.csv -p budget 2000
# ```
# The file has columns `reward` and `ref_logit` (any constant may be added to the logits), and `action` for names.

# %% tags=["parameters"]
profile: str = "book"  # smoke | book | full
seed: int = 0  # any integer from 0; all randomness follows from it
data: str = ""  # a CSV file of yours; empty takes the example
n_tokens: int = 10  # independent draws that make up an answer; 1 is a plain bandit
budget = None  # type: Optional[int] answers that may be labelled, a multiple of 100; None takes what the profile says
n_seeds = None  # type: Optional[int] runs of each arm
worth: float = 0.02  # a family counts as good enough within this share of the rewards' range

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
from loglik.language.on_policy_preferences import figures, study, workflow

chapter = Chapter("language/on_policy_preferences/apply", profile=profile, seed=seed)
pd.set_option("display.max_colwidth", None)

# %% tags=["hide-input"]
cfg = chapter.settings(
    smoke=dict(n_seeds=2, n_tuning=1, budget=400),
    book=dict(n_seeds=10, n_tuning=2, budget=2000),
    full=dict(n_seeds=100, n_tuning=10, budget=2000),
    n_seeds=n_seeds,
    budget=budget,
)

# %% [markdown]
# ## The bandit

# %%
bandit, table = workflow.load(data, n_tokens)
table.sort_values("ref_prob", ascending=False).head(8).round(4)

# %%
at_reference = float(bandit.exact_reward(bandit.ref_logits))
span = float(bandit.rewards.max() - bandit.rewards.min())
print(
    f"{len(table)} actions; the reference earns {at_reference:.3g}, the best action {bandit.rewards.max():.3g}"
)

# %% [markdown]
# ## Do the paper's conditions hold here?
# What decides is where the reward's peak lies under the reference. An action is *good* when it is within the top
# tenth of the rewards' range.

# %%
geometry = workflow.geometry(bandit, cfg.budget)
geometry.round(3)

# %% [markdown]
# ## Which family wins?
# Twelve arms at the same budget of labels and gradient steps. Each has sixteen settings, tuned on seeds that are not
# reported.

# %%
seeds = [1000 * seed + i for i in range(cfg.n_seeds)]
tuning = [1000 * seed + 500 + i for i in range(cfg.n_tuning)]
result = study.bandit_study(
    {"yours": bandit}, seeds, tuning, budget=cfg.budget, progress=lambda arms: chapter.progress(arms, "arms")
)
families = workflow.family_table(result)
families.round(3)

# %%
print(workflow.verdict(families, worth, span))

# %% mystnb={"figure": {"caption": "Exact mean reward of every arm on this bandit; bars: 95 % t intervals over seeds. Filled: with a negative gradient; orange: offline, blue: on-policy. Dotted: the reference.", "name": "on-policy-preferences-yours"}, "image": {"alt": "One row for each of twelve arms with its mean reward; arms with a negative gradient lie furthest right on the example, offline or on-policy; offline imitation stays nearest to the reference."}}
scaled = result.final.assign(reward=(result.final.reward - float(bandit.rewards.min())) / span)
figures.arm_rewards(scaled, {"yours": (at_reference - float(bandit.rewards.min())) / span})
plt.xlabel("mean reward, 0 = worst action, 1 = best")
plt.savefig(chapter.output("arms.png"), dpi=150, bbox_inches="tight")

# %% [markdown]
# A family may win by going far from the reference: its KL is in the table. If yours must stay close, compare at the
# KL that you can afford.
#
# ## What to take away
# `families.csv` is the table above, `arms.csv` has every arm and seed with the tuned setting, `grid.csv` the tuning.

# %%
families.to_csv(chapter.output("families.csv"), index=False)
result.final.to_csv(chapter.output("arms.csv"), index=False)
result.grid.to_csv(chapter.output("grid.csv"), index=False)
result.final.groupby("method", sort=False)[["lr", "beta", "reward", "kl"]].mean().round(3)

# %%
chapter.summary()
