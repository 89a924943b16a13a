# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Predictive multiplicity: what does it do for me?
#
# The viable prediction range of each of your people as a table and a picture, by the paper's method, exactly and by a fast bound, after a check of what the method needs.

# %% tags=["parameters"]
profile: str = "book"  # smoke | book | full
seed: int = 0  # any integer from 0; all randomness follows from it
data = None  # type: Optional[str] path of your CSV; None takes the data set named below
dataset: str = "breastcancer"  # breastcancer | wisconsin | credit, used where data is None
target: str = "event"  # your CSV's column of outcomes
event = None  # type: Optional[str] the value of target that means the event; None takes the rarer one
group = None  # type: Optional[str] column by which to ask who is affected; None takes three bands of risk
epsilon: float = 0.01  # tolerance, as a share of the baseline's loss
delta: float = 0.1  # risk difference that would matter to you
n_programs = None  # type: Optional[int] integer programs for the discrepancy; 0 gives bounds without branching

# %% tags=["hide-input", "setup"]
try:
    import loglik  # noqa: F401
except ModuleNotFoundError:  # Colab, or a kernel without the package
    import sys

    from IPython import get_ipython

    flags = "--no-deps" if "google.colab" in sys.modules else ""
    packages = "git+https://github.com/OWNER/likelihood-reproduced@v0.1.0"
    get_ipython().run_line_magic("pip", f"install -q {flags} {packages}")
import json
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from loglik.chapter import Chapter
from loglik.risk import predictive_multiplicity as pm
from loglik.risk.predictive_multiplicity import report, study
from loglik.risk.predictive_multiplicity.datasets import read_table

chapter = Chapter("risk/predictive_multiplicity/apply", profile=profile, seed=seed)
cfg = chapter.settings(
    smoke=dict(n_programs=0, n_starts=10, n_refits=20, n_people=100),
    book=dict(n_programs=4, n_starts=100, n_refits=100, n_people=1000),
    full=dict(n_programs=300, n_starts=1000, n_refits=1000, n_people=100_000),
    n_programs=n_programs,
)

# %% [markdown]
# ## Data
#
# Text columns become indicators (one level dropped), numbers are standardised; rows with gaps are an error that names
# the column. At most `n_people` people are asked about; the level set rests on all rows.

# %%
loaders = {"breastcancer": pm.load_breastcancer, "wisconsin": pm.load_wisconsin, "credit": pm.load_credit}
table = loaders[dataset]() if data is None else read_table(data, target, event)
near = pm.LevelSet(table.X, table.y, epsilon=epsilon, relative=True)
n, d = table.X.shape
people = table.X.sample(min(n, cfg.n_people), random_state=chapter.random_state("people")).sort_index()
pd.Series(
    {
        "rows": n,
        "columns": d,
        "distinct rows": len(near.rows.X),
        "event": table.event,
        "share of events": f"{table.y.mean():.3f}",
    },
    name="data",
).to_frame()

# %% [markdown]
# ## What the method needs, checked on these data
#
# 1. **A bounded level set.** Separable classes or dependent columns make ranges limits. Decided by a linear program.
# 2. **A tolerance that means something.** With no systematic error, the fitted model's own expected excess loss is
#    about $(d+1)/2n$ nats. A tolerance far below says little that a standard error wouldn't; one far above admits
#    models that the data reject.
# 3. **A linear class that fits.** Ranges speak of linear models only (see the method notebook). If boosting predicts
#    better by cross-validation, they leave something out.

# %%
checks = report.assumption_checks(near, table.X, table.y, random_state=chapter.random_state("boosting"))
checks

# %%
failing = checks[~checks.holds.astype(bool)].assumption.tolist()
print(
    "No longer to be relied on: " + "; ".join(failing) if failing else "Everything that can be checked holds."
)

# %% [markdown]
# ## The ranges, three ways
#
# *Paper*: the pool of candidates, each person forced to 21 risks. *Exact*: the root with its certificate. *Fast*: inner
# and outer bounds from one factorisation. The paper's pool errs inwards, the outer bound outwards.

# %%
clock = {}


def timed(name, work):
    started = time.process_time()
    result = work()
    clock[name] = time.process_time() - started
    return result


found = timed("exact", lambda: near.ranges(people))
fast = timed("fast", lambda: pm.fast_bounds(near, people))
asked = people.iloc[: cfg.n_people if d < 30 else 30]  # candidates of wide tables are costly
pool = timed("paper", lambda: pm.candidate_pool(near, asked))
seen = pm.models_measures(near, pool.coefs, people, [delta])
everyone = report.people_table(near, people, found).assign(
    pool_low=seen.low,
    pool_high=seen.high,
    fast_inner_low=fast.inner_low,
    fast_inner_high=fast.inner_high,
    fast_outer_low=fast.outer_low,
    fast_outer_high=fast.outer_high,
)
everyone.sort_values("width", ascending=False).head(8).style.format(precision=3)

# %%
risk = everyone.risk.to_numpy()


def compared(low, high):
    hit = np.maximum(risk - low, high - risk) >= delta - 1e-9
    return (high - low).mean(), np.quantile(high - low, 0.9), hit.mean()


ways = {
    "paper's pool (found)": compared(seen.low, seen.high),
    "fast inner (proven to exist)": compared(fast.inner_low, fast.inner_high),
    "exact": compared(found.low, found.high),
    "fast outer (proven bound)": compared(fast.outer_low, fast.outer_high),
}
comparison = pd.DataFrame(ways, index=["mean width", "90 % of widths below", f"share moved by {delta}"]).T
comparison["CPU seconds"] = [clock["paper"], clock["fast"], clock["exact"], clock["fast"]]
comparison.style.format(precision=3)

# %%
print(f"Largest distance between a range's end and its proof: {found.gap:.1e} in probability.")

# %% mystnb={"figure": {"caption": "Each person's viable range, sorted by baseline risk (black line). Dark: exact; light: proven outer bound of the fast method; dots: what the paper's pool of candidates found.", "name": "predictive-multiplicity-people"}, "image": {"alt": "Vertical bars around a rising curve of baseline risks, wider in the middle, inside a lighter band."}}
order = np.argsort(risk, kind="stable")
place = np.arange(len(order))
fig, ax = plt.subplots(figsize=(8, 4), layout="constrained")
ax.vlines(
    place,
    fast.outer_low[order],
    fast.outer_high[order],
    color="#c6dbef",
    linewidth=max(1, 400 / len(order)),
    label="outer bound (fast)",
)
ax.vlines(
    place,
    found.low[order],
    found.high[order],
    color="#2171b5",
    linewidth=max(1, 400 / len(order)),
    label="exact",
)
ax.plot(place, seen.low[order], ".", color="C1", markersize=3, label="candidates (paper)")
ax.plot(place, seen.high[order], ".", color="C1", markersize=3)
ax.plot(place, risk[order], color="black", linewidth=1.5, label="baseline")
ax.set(xlabel="people, sorted by baseline risk", ylabel=f"predicted risk ({table.event})", ylim=(-0.01, 1.01))
plt.setp(ax.legend(loc="upper left", fontsize="small").legend_handles[:2], linewidth=5)
plt.show()

# %% [markdown]
# ## How many at once?
#
# Ambiguity counts whom *some* model moves; discrepancy whom *one* model moves. The search gives two bounds; if they are
# far apart, raise `n_programs`. What 100 bootstrap refits find stands beside, as most people would have done it.

# %%
bootstrap = study.retraining_study(
    near,
    people,
    [(near.epsilon, delta)],
    1,
    n_rows=n,
    n_models=cfg.n_refits,
    schemes=("bootstrap",),
    seed=chapter.entropy("bootstrap"),
).iloc[0]
if near.endless:
    solved = None
    print("No valid integer program on an unbounded level set; see the checks.")
else:
    solved = near.discrepancy(
        people, delta, max_iter=cfg.n_programs, time_limit=120, node_limit=4000, n_starts=cfg.n_starts
    )
rows = {
    "ambiguity": (near.ambiguity(people, delta, ranges=found),) * 2,
    "discrepancy": (solved.lower, solved.upper) if solved else (np.nan, np.nan),
    f"bootstrap found, ambiguity ({int(bootstrap.competing)} of {cfg.n_refits} compete)": (
        bootstrap.ambiguity,
    )
    * 2,
    "bootstrap found, discrepancy": (bootstrap.discrepancy,) * 2,
}
pd.DataFrame(rows, index=["proven at least", "proven at most"]).T.style.format("{:.4f}")

# %%
if solved:
    print(
        f"Optimiser's certificate: relative gap {solved.gap:.1%} after {solved.n_iter} integer programs, {solved.n_flips} flips."
    )

# %% [markdown]
# ## Who is affected?
#
# A wide range means that the data don't say. It needn't fall on everybody alike.

# %%
bands = pd.cut(
    everyone.risk, [0, 0.2, 0.8, 1], labels=["risk to 0.2", "0.2 to 0.8", "from 0.8"], include_lowest=True
)
by = bands if group is None else people[group].round(2)
moved = np.maximum(everyone.risk - everyone.low, everyone.high - everyone.risk) >= delta - 1e-9
affected = (
    pd.DataFrame({"width": everyone.width, "moved": moved})
    .groupby(by, observed=True)
    .agg(
        people=("width", "size"),
        mean_width=("width", "mean"),
        se=("width", "sem"),
        share_moved=("moved", "mean"),
    )
)
affected.style.format(precision=3)

# %% [markdown]
# ## Take it with you

# %%
everyone.to_csv(chapter.output("ranges.csv"), index_label="row")
certificate = {
    "epsilon_share": epsilon,
    "epsilon_nats": near.epsilon,
    "delta": delta,
    "baseline_loss": near.loss0,
    "ambiguity": rows["ambiguity"][0],
    "discrepancy": None if solved is None else [solved.lower, solved.upper],
    "largest_certified_gap": found.gap,
    "assumptions_failing": failing,
}
chapter.output("certificate.json").write_text(json.dumps(certificate, indent=1))
pd.Series(near.w0, ["intercept", *table.X.columns], name="baseline").to_csv(chapter.output("baseline.csv"))
fig.savefig(chapter.output("ranges.svg"))
pd.Series(certificate, name="value").to_frame()

# %% [markdown]
# ## Summary

# %%
chapter.summary()
