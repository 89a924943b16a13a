# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Your Finetuned Large Language Model is Already a Powerful Out-of-distribution Detector: the claims
#
# Every claim of the paper beside what we measured.

# %% tags=["parameters"]
profile: str = "book"  # smoke | book | full
seed: int = 0  # any integer from 0; all randomness follows from it
n_reps = None  # type: Optional[int] replicates; None takes what the profile says

# %% tags=["hide-input", "setup"]
try:
    import loglik  # noqa: F401
except ModuleNotFoundError:  # Colab, or a kernel without the package
    import sys

    from IPython import get_ipython

    flags = "--no-deps" if "google.colab" in sys.modules else ""
    packages = "git+https://github.com/OWNER/likelihood-reproduced@v0.1.0"
    get_ipython().run_line_magic("pip", f"install -q {flags} {packages}")

from loglik.chapter import Chapter
from loglik.language import llm_ood_ratio

chapter = Chapter("language/llm_ood_ratio/reproduction", profile=profile, seed=seed)

cfg = chapter.settings(smoke=dict(n_reps=20), book=dict(n_reps=400), full=dict(n_reps=2000), n_reps=n_reps)

# %% [markdown]
# ## Claim 1

# %%
values = chapter.rng("claim-1").normal(size=cfg.n_reps)
error = llm_ood_ratio.standard_error(values)
chapter.claim(
    "C1",
    measured=values.mean(),
    interval=(values.mean() - 2 * error, values.mean() + 2 * error),
    interval_from="two standard errors over replicates",
)

# %% [markdown]
# ## Summary

# %%
chapter.summary()
