# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # PaRIS particle Gibbs: what does it do for me?
# Give a time series and a model of what hides behind it; get the model's parameters by maximum likelihood, the
# hidden state at every time with its band, and an honest check of whether the method of {cite:t}`cardoso2023state`
# can be trusted on this series. Without a series of your own it runs on three years of exchange rates, whose
# hidden state is the volatility.
#
# Your own file takes one line:
# ```
# papermill apply.ipynb out.ipynb -p data flows.csv -p column level -p model local_level
# ```

# %% tags=["parameters"]
profile: str = "book"  # smoke | book | full
seed: int = 0  # any integer from 0; all randomness follows from it
data: str = "gbp_usd"  # path or URL of a CSV with one row a time step, or gbp_usd, or nile
column = None  # type: Optional[str] column of the series; None takes the last numeric one
model: str = "stochastic_volatility"  # or local_level, autoregression, or the path of a .py file of yours
n_particles: int = 16  # particles N of each sweep
n_iter = None  # type: Optional[int] iterations of score ascent; None takes what the profile says
step: float = 1.0  # multiplies the model's own step sizes, which shrink like 1/√n
n_chains = None  # type: Optional[int] independent chains of learning
n_sweeps = None  # type: Optional[int] conditional sweeps of each smoothing chain

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
from loglik.sampling import parisian_particle_gibbs as ppgs
from loglik.sampling.parisian_particle_gibbs import figures, workflow

chapter = Chapter("sampling/parisian_particle_gibbs/apply", profile=profile, seed=seed)
pd.set_option("display.max_colwidth", None)

# %% tags=["hide-input"]
cfg = chapter.settings(
    smoke=dict(n_iter=6, n_chains=2, n_sweeps=8, smoothers=4, differences=False),
    book=dict(n_iter=300, n_chains=4, n_sweeps=60, smoothers=20, differences=True),
    full=dict(n_iter=5000, n_chains=16, n_sweeps=200, smoothers=64, differences=True),
    n_iter=n_iter,
    n_chains=n_chains,
    n_sweeps=n_sweeps,
)
burn_in = cfg.n_sweeps // 3

# %% [markdown]
# ## The data
# One row a time step, without gaps. *Stochastic volatility* takes returns: $y_t\sim N(0,e^{x_t})$, with the log
# variance $x_t$ an autoregression. *Local level* is a random walk seen through noise; *autoregression* the same with
# a level that returns to its mean. Both are linear and Gaussian, so that a Kalman filter would do for them: they are
# here to check the method on your series.

# %%
series = workflow.load(data, column)
task = workflow.make_task(series, model)
series.describe().to_frame().T

# %% [markdown]
# A model of your own is a file of three functions that return numpyro distributions. This one counts events whose
# log rate wanders; `-p model counts.py` would run it.
# ```python
# import jax.numpy as jnp
# import numpyro.distributions as dist
#
# theta0, names = [-1.0], ["log sd of the log rate"]
#
# def initial(theta):
#     return dist.Normal(0.0, 2.0)
#
# def transition(theta, t, x):  # x has shape (d,), here (1,)
#     return dist.Normal(x, jnp.exp(theta[0]))
#
# def emission(theta, t, x):
#     return dist.Poisson(jnp.exp(x))
# ```
#
# ## The fit
# Score ascent with PaRIS particle Gibbs: at every step two conditional sweeps, the first pinned to the path that the
# step before left. The estimate is the mean of the second half of the iterates.

# %%
trace = ppgs.score_ascent(
    task.model_fn, task.theta0, task.y, n_particles=n_particles, n_sweeps=2, step=step * task.steps, n_iter=cfg.n_iter,
    n_chains=cfg.n_chains, projection=task.projection, key=chapter.key("learning"),
    progress=lambda steps: chapter.progress(steps, "score ascent"),
)  # fmt: skip
theta = trace.average().mean(0)
shown = task.readable(trace.theta)

# %% mystnb={"figure": {"caption": "Parameters along the iterations of score ascent. Line: median of the independent chains; band: 80 % of them. A curve that still climbs at the right end wants more iterations.", "name": "parisian-particle-gibbs-apply-learning"}, "image": {"alt": "One panel a parameter; the chains' curves move from the start and flatten out together."}}
figures.learning({"PPG": shown}, np.full(shown.shape[-1], np.nan), list(task.names))

# %% [markdown]
# ## The hidden state
# Chains of conditional sweeps at the estimate. Every path that a sweep draws is, after the burn-in, a draw of the
# whole hidden path given all data.

# %%
smooth = workflow.smooth_paths(
    task, theta, n_particles=n_particles, n_sweeps=cfg.n_sweeps, n_chains=cfg.smoothers, key=chapter.key("smoothing"),
    progress=lambda chains: chapter.progress(chains, "smoothing"),
)  # fmt: skip
states = workflow.smoothed_states(task, smooth, series.index, burn_in)
states.to_csv(chapter.output("states.csv"))

# %% mystnb={"figure": {"caption": "The hidden state given all data: median and 90 % band of the smoothing distribution at the estimated parameters, beside the data. The band does not contain the uncertainty of the parameters.", "name": "parisian-particle-gibbs-apply-states"}, "image": {"alt": "A line with a band over time follows the size of the data's swings."}}
volatile = task.name == "stochastic_volatility"
figures.smoothed(
    states, task.y if volatile else series.to_numpy(), state_name=task.state_name, show_y=not volatile
)
plt.savefig(chapter.output("states.png"), dpi=150, bbox_inches="tight")

# %% [markdown]
# ## The parameters
# *Monte-Carlo s.e.* is what another run of this notebook could change. The 95 % interval is about the data: it comes
# from the curvature of the log-likelihood, by differences of smoothed scores on common random numbers, so take it as
# approximate. Where the curvature is not positive there is no interval.

# %%
score, error, information = workflow.observed_information(
    task, theta, n_particles=n_particles, n_sweeps=cfg.n_sweeps // 4, n_chains=cfg.smoothers, key=chapter.key("score"),
    differences=cfg.differences,
)  # fmt: skip
parameters = workflow.parameter_table(task, trace, information)
parameters.to_csv(chapter.output("parameters.csv"))
parameters.round(4)

# %% [markdown]
# ## Can it be trusted here?
# The method needs particles that survive, sweeps that renew the path at *every* time (it is earliest in a series
# that they fail), chains that agree, and iterates that have settled; the model needs noise that looks like the
# data's. A row that does not hold says what to do. The last two rows compare each observation with its law given
# a drawn path; under the model its ranks, and their distances from the middle, have no memory.

# %%
checks = workflow.check_assumptions(task, trace, smooth, score, error, burn_in, chapter.key("checks"))
checks.to_csv(chapter.output("checks.csv"))
checks.assign(then=checks.then.where(~checks.holds, ""), holds=checks.holds.map({True: "yes", False: "NO"}))

# %% mystnb={"figure": {"caption": "Diagnostics at each time. Above: mean effective sample size of the filter, of N particles. Below: share of sweeps whose new path left the pinned one. Low values mean that neighbouring sweeps say the same there.", "name": "parisian-particle-gibbs-apply-diagnostics"}, "image": {"alt": "Two curves over time, both well above zero, with dips where the data jump."}}
figures.diagnostics(series.index, smooth.ess, smooth.renewed[burn_in:].mean(0), n_particles)

# %% [markdown]
# ## Would plain PaRIS have said the same?
# The same learning with one unconditional sweep of twice the particles a step, that is at the same cost. A clear
# difference from the table above is the bias that PaRIS particle Gibbs removes.

# %%
biased = ppgs.score_ascent(
    task.model_fn, task.theta0, task.y, n_particles=2 * n_particles, n_sweeps=1, estimator="paris", step=step * task.steps,
    n_iter=cfg.n_iter, n_chains=cfg.n_chains, projection=task.projection, key=chapter.key("paris"),
    progress=lambda steps: chapter.progress(steps, "PaRIS"),
)  # fmt: skip
rival = workflow.parameter_table(task, biased, None)
pd.concat({"PPG": parameters.iloc[:, :2], "PaRIS": rival}, axis=1).round(4)

# %% [markdown]
# ## What to take away
# `parameters.csv`, `states.csv` (median and 90 % band of the state at each time), `checks.csv` and `states.png`.

# %%
chapter.summary()
