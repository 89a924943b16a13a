# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Preference Fine-Tuning of LLMs Should Leverage Suboptimal, On-Policy Data: your data
#
# The method on a file of yours.

# %% tags=["parameters"]
profile: str = "book"  # smoke | book | full
seed: int = 0  # any integer from 0; all randomness follows from it
data: str = ""  # a CSV file of yours; empty takes the example

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

chapter = Chapter("language/on_policy_preferences/apply", profile=profile, seed=seed)

# %% [markdown]
# ## Summary

# %%
chapter.summary()
