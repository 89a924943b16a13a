# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # PRESTO: is it true?
# Every claim of {cite:t}`faletto2023predicting`, measured: what borrowing from common events buys for a
# rare one, where it buys nothing, and what happens to the paper's real-data result when three faults of the
# released pipeline are mended.

# %% tags=["parameters"]
profile: str = "book"  # smoke | book | full
seed: int = 0  # any integer from 0; all randomness follows from it
n_rep = None  # type: Optional[int] simulated data sets a setting; None takes what the profile says
n = None  # type: Optional[int] rows of a simulated data set
n_lambda = None  # type: Optional[int] penalties on the grid of the simulations
fair_splits = None  # type: Optional[int] random splits of the fair data
soup_splits = None  # type: Optional[int] random splits of the soup data
consistency_ns = None  # type: Optional[list[int]] sample sizes of the consistency study
n_jobs: int = 1  # processes for repetitions; results don't depend on it

# %% tags=["hide-input", "setup"]
try:
    import loglik  # noqa: F401
except ModuleNotFoundError:  # Colab, or a kernel without the package
    import sys

    from IPython import get_ipython

    flags = "--no-deps" if "google.colab" in sys.modules else ""
    packages = "git+https://github.com/OWNER/likelihood-reproduced@v0.1.0"
    get_ipython().run_line_magic("pip", f"install -q {flags} {packages}")
import numpy as np
import pandas as pd

from loglik.chapter import Chapter
from loglik.risk.presto import datasets, figures, study, study_data
from loglik.stats.intervals import slope_by_repetition
from loglik.stats.paired import compare, compare_by

chapter = Chapter("risk/presto/reproduction", profile=profile, seed=seed)

# %% tags=["hide-input"]
cfg = chapter.settings(
    smoke=dict(
        n_rep=2, n=600, n_lambda=8, designs=3, eigen_n=2_000, fair_splits=2, soup_splits=2, soup_lambdas=10,
        consistency_ns=[500, 1000], consistency_reps=3, scenes=slice(0, 10, 3),
    ),
    book=dict(
        n_rep=40, n=2500, n_lambda=20, designs=10, eigen_n=100_000, fair_splits=30, soup_splits=30, soup_lambdas=40,
        consistency_ns=[1000, 4000, 16_000], consistency_reps=20, scenes=slice(None),
    ),
    full=dict(
        n_rep=700, n=2500, n_lambda=20, designs=50, eigen_n=1_000_000, fair_splits=200, soup_splits=350, soup_lambdas=100,
        consistency_ns=[1000, 4000, 16_000, 64_000], consistency_reps=100, scenes=slice(None),
    ),
    n_rep=n_rep, n=n, n_lambda=n_lambda, fair_splits=fair_splits, soup_splits=soup_splits, consistency_ns=consistency_ns,
)  # fmt: skip

# %% [markdown]
# Throughout, class $K$ (the last) is the rare one, $\pi_K(x)$ its probability, and *boundary* $k$ the
# logistic model of "class at most $k$". A **proportional-odds** model (PO) has one weight vector for all
# boundaries; **logit** is the plain logistic regression of "rare or not"; {doc}`method <method>` explains
# what PRESTO does between the two.
#
# ## Why rare classes are hard: C1
# The **asymptotic covariance** of an estimator is $n$ times its covariance as $n$ grows; it is the inverse
# of the Fisher information, which we compute exactly for a given sample of features. Proportional odds is
# *true* here (three features, all weights 1), so the comparison is about variance alone. If the rare class
# vanishes, only the common boundary still carries information, which tells us both constants in advance:
# the PO variance must tend to that of a logistic regression on the common boundary.

# %%
designs = [chapter.rng(f"design {i}").uniform(-1, 1, (5000, 3)) for i in range(cfg.designs)]
variances = study.variance_study(np.linspace(0.5, 12, 24), designs, np.ones(3))

# %% mystnb={"figure": {"caption": "Total asymptotic variance of the weights as the last of three classes gets rarer (to the right). Thin lines: feature samples; markers: their mean; dotted and dashed: the predicted limits.", "name": "presto-variance"}, "image": {"alt": "On log axes the logistic regression's variance climbs along a straight line of slope minus one while the proportional-odds variance levels off at the dashed limit."}}
figures.variance_curves(variances)

# %% [markdown]
# The intervals of this section are over feature samples.

# %%
rare_end = variances[variances.rare < 1e3 * variances.rare.min()]
slopes = [np.polyfit(np.log(d.rare), np.log(d.logit), 1)[0] for _, d in rare_end.groupby("design")]
chapter.claim(
    "C1a",
    measured=np.mean(slopes),
    interval=(min(slopes), max(slopes)),
    interval_from=f"range over {cfg.designs} feature samples",
    evidence={"slopes": slopes},
)

# %%
ratios = variances.po / variances.common
at_end = ratios[variances.alpha == variances.alpha.max()]
chapter.claim(
    "C1b",
    measured=at_end.mean(),
    interval=(at_end.min(), at_end.max()),
    interval_from=f"range over {cfg.designs} feature samples",
    evidence={"largest": ratios.max()},
)

# %% [markdown]
# Theorem 2.3 states how rare is rare enough. Its condition needs a certain matrix to have a positive
# smallest eigenvalue $\lambda_{\min}$; then PO wins wherever every $\pi_3(x)\le\lambda_{\min}/(3M^2(2+M))$
# with $M\ge\lVert x\rVert$. Appendix E checks it for ten features, all weights 1 and intercepts $(0, 20)$.

# %%
condition = study.condition_study(cfg.eigen_n, 10, min(cfg.designs, 25), 20.0, chapter.rng("appendix E"))
condition.agg(["mean", "min", "max"])

# %%
chapter.claim(
    "C1c",
    measured=condition.worst_ratio.max(),
    interval=(condition.worst_ratio.min(), condition.worst_ratio.max()),
    interval_from=f"range over {len(condition)} feature samples",
    evidence={
        "eigenvalues": condition.smallest_eigenvalue.tolist(),
        "condition_met": bool((condition.largest_rare_proba <= condition.threshold).all()),
    },
)

# %% [markdown]
# ## The simulations: C2 to C5
# Four classes, ten features uniform on $(-1,1)$, 2500 rows, with 4 to 40 rare ones among them. In the
# *sparse* settings a difference between neighbouring boundaries' weights is $\pm0.5$ with probability $q$
# and else zero; in the *dense* ones every difference is uniform on $(-0.5,0.5)$. A draw in which some true
# probability would be negative is thrown away as a whole, as in the official code. All methods see the same
# draws and folds, so every comparison is paired. The error is that of the *probability* of the rare class,
# over the rows of the data set: accuracy would tell nothing, because no method ever predicts the rare
# class.

# %%
scenes = (study.SPARSE + study.DENSE)[cfg.scenes]
errors = study.rare_probability_study(
    scenes,
    cfg.n_rep,
    n=cfg.n,
    n_lambda=cfg.n_lambda,
    seed=chapter.entropy("simulations"),
    ridge=lambda scene: scene.q == 1 / 2,
    n_jobs=n_jobs,
    progress=lambda tasks: chapter.progress(tasks, "simulated data sets"),
)
errors.to_csv(chapter.output("simulations.csv"), index=False)

# %% mystnb={"figure": {"caption": "Error of the estimated rare probabilities. Box: quartiles over simulated data sets; whiskers: 1.5 interquartile ranges; dots: data sets beyond.", "name": "presto-errors"}, "image": {"alt": "Box plots on a log scale for ten settings. PRESTO's boxes lie lowest in nearly all; the gap to logit widens and the gap to proportional odds closes as the class gets rarer."}}
figures.error_boxes(errors)

# %%
rng = chapter.rng("bootstrap")
versus = compare_by(
    errors, "setting", "PRESTO", ("logit", "PO", "logit, L2"), value="mse", unit="rep", rng=rng
)
versus.to_csv(chapter.output("comparisons.csv"), index=False)

# %% mystnb={"figure": {"caption": "Ratio of mean errors, PRESTO over each baseline. Bars: 95 % intervals from a bootstrap of the pairs.", "name": "presto-ratios"}, "image": {"alt": "Ratios with intervals for ten settings. Against logit all are below one and fall as the class gets rarer; against proportional odds they rise towards one; against penalised logit they lie between."}}
figures.ratio_forest(versus)

# %% [markdown]
# The table adds what a ratio hides: the rarity itself, how often draws were thrown away, and how far PRESTO
# stays behind an *oracle* that picks the best penalty on its own path by looking at the truth. *Log-loss
# CV* and *released CV* are the same paths with the penalty chosen by another rule; the last is fault A of
# the audit below.

# %%
means = errors.groupby(["setting", "method"], sort=False).mse.agg(["mean", "sem"]) * 1e5
table = means["mean"].map("{:.2f}".format) + " ± " + means["sem"].map("{:.2f}".format)
table = table.unstack().reindex([scene.label for scene in scenes])
shares = errors.groupby("setting")[["rare", "redraws"]].mean()
table.insert(0, "rare, %", (100 * shares.rare).round(2))
table.insert(1, "redraws", shares.redraws.round(1))
table.rename_axis(columns="MSE × 10⁵, mean ± SE").fillna("")

# %% [markdown]
# The third row of marks in {numref}`presto-ratios` is a caution: beside a logistic regression that is
# merely penalised, PRESTO's lead is much smaller than beside the paper's unpenalised baseline. A good part
# of "PRESTO beats logit" is shrinkage as such; what borrowing adds is what remains.
#
# ### Against logistic regression and proportional odds (C2, C3)
# Intervals of C2 to C5 come from a paired bootstrap over the simulated data sets; $p$-values are one-sided
# paired $t$-tests, as in the paper.


# %%
def against(baseline, *settings):
    rows = versus[(versus.baseline == baseline) & versus.setting.isin(settings)]
    return rows if len(rows) else versus[versus.baseline == baseline]  # smoke has fewer settings


def judged(rows):
    worst = rows.loc[rows.ratio.idxmax()]
    return dict(
        measured=worst.ratio,
        interval=(worst.ratio_low, worst.ratio_high),
        interval_from=f"95 % paired bootstrap over {cfg.n_rep} data sets, in the worst setting",
        evidence={
            "ratios": list(rows.ratio),
            "wins": list(rows.wins),
            "p_values": list(rows.p_value),
        },
        note="wins " + ", ".join(f"{w:.0%}" for w in rows.wins) + f"; largest p {rows.p_value.max():.1g}",
    )


chapter.claim("C2a", **judged(against("logit", "sparse 1/2 (0, 3, 5)", "sparse 1/2 (0, 4, 6)")))

# %%
chapter.claim("C2b", **judged(against("logit", "dense (0, 3, 5)")))

# %%
chapter.claim("C3a", **judged(against("PO", "sparse 1/2 (0, 3, 5)")))

# %%
chapter.claim("C3b", **judged(against("PO", "dense (0, 3, 5)")))

# %% [markdown]
# ### At every rarity and sparsity (C4, C5)
# The two baselines fail at opposite ends. Logistic regression pays in variance, which grows as rare rows
# become few; proportional odds pays in bias, which shrinks in absolute terms because a rarer class has
# smaller probabilities to get wrong.

# %%
chapter.claim("C4a", **judged(against("logit", *(scene.label for scene in study.SPARSE))))

# %%
chapter.claim("C4b", **judged(against("PO", *(scene.label for scene in study.SPARSE))))

# %%
trends = {
    baseline: study.trend(
        errors, "PRESTO", baseline, scenes[0].label, scenes[min(2, len(scenes) - 1)].label, rng
    )
    for baseline in ("logit", "PO")
}
over = f"95 % bootstrap over {cfg.n_rep} data sets of each setting"
chapter.claim("C4c", measured=trends["logit"].value, interval=trends["logit"].interval, interval_from=over)

# %%
chapter.claim("C4d", measured=trends["PO"].value, interval=trends["PO"].interval, interval_from=over)

# %%
chapter.claim("C5a", **judged(against("logit", *(scene.label for scene in study.DENSE))))

# %%
chapter.claim("C5b", **judged(against("PO", *(scene.label for scene in study.DENSE))))

# %% [markdown]
# ## Does the weights' error vanish? C6
# One fixed sparse truth; $\lambda_n = 0.15\sqrt{\log(p(K-1))/n}$, the order that the theorem asks for. PO
# is shown beside it because its error can't vanish: it has the wrong model.

# %%
growth = study.consistency_study(
    cfg.consistency_ns,
    cfg.consistency_reps,
    seed=chapter.entropy("consistency"),
    n_jobs=n_jobs,
    progress=lambda tasks: chapter.progress(tasks, "growing samples"),
)

# %% mystnb={"figure": {"caption": "L1 error of all thirty boundary weights as n grows. Bars: two standard errors over data sets.", "name": "presto-consistency"}, "image": {"alt": "On log axes PRESTO's error falls at least as steeply as the dotted line of slope minus one half; the proportional-odds error levels off."}}
figures.consistency(growth)

# %%
presto = growth[growth.method == "PRESTO"]
slope = slope_by_repetition(presto, x="n", y="error", unit="rep")
by_n = presto.groupby("n").error.mean().to_numpy()
fourfold = np.log(4) / np.log(np.array(cfg.consistency_ns[1:]) / np.array(cfg.consistency_ns[:-1]))
chapter.claim(
    "C6",
    measured=slope.value,
    interval=slope.interval,
    interval_from=f"95 % t interval over {cfg.consistency_reps} repetitions",
    evidence={"factors": list((by_n[:-1] / by_n[1:]) ** fourfold)},
)

# %% [markdown]
# ## Absolute or squared differences? C9
# Squaring the penalised terms (an $L_2$ or *ridge* penalty) shrinks towards proportional odds too, but
# never fuses anything. The released grid spans two decades below a $\lambda_{\max}$ that is, for the ridge,
# a hundred times larger than for the lasso: its smallest penalty may still be far too strong. We therefore
# judge twice, on the released grid and on one of four decades.


# %%
def against_ridge(name):
    found = compare_by(
        errors[errors.setting.str.startswith("sparse 1/2")],
        "setting",
        "PRESTO",
        (name,),
        value="mse",
        unit="rep",
        rng=rng,
    )
    worst = found.loc[found.ratio.idxmax()]
    return dict(
        measured=worst.ratio,
        interval=(worst.ratio_low, worst.ratio_high),
        interval_from=f"95 % paired bootstrap over {cfg.n_rep} data sets, in the worst setting",
        evidence={"ratios": list(found.ratio), "uppers": list(found.ratio_high)},
    )


chapter.claim("C9a", **against_ridge("ridge, released grid"))

# %%
chapter.claim("C9b", **against_ridge("ridge"))

# %% [markdown]
# With half of all differences non-zero, "sparse" is a generous word, and the rare probability depends on
# all ten weights at once: shrinking each a little can serve it better than selecting.
#
# ## A real survey: C10
# `fair` asks 6366 women how they rate their marriage; 99 say "very poor" (1.56 %). We train on 1000 rows,
# with about fifteen of those among them, and test on the rest. Splits share rows, so the standard errors
# hold for *this* population of answers: they say how the result varies with the training sample, not how it
# would vary in another survey.

# %%
fair = datasets.load_fair()
results, curves = {}, {}
for size in (1000, 3000):
    results[size], curves[size] = study_data.fair_study(
        fair, size, cfg.fair_splits, seed=chapter.entropy(f"fair {size}"), n_jobs=n_jobs,
        progress=lambda tasks, size=size: chapter.progress(tasks, f"fair, {size} training rows"),
    )  # fmt: skip

# %% mystnb={"figure": {"caption": "Paired differences in test score, 1000 training rows. Dots: splits; diamonds: mean with 95 % interval over splits. Below zero is better for Brier score and log loss, above zero for AUC.", "name": "presto-fair"}, "image": {"alt": "Three panels of paired differences for Brier score, log loss and AUC against both baselines."}}
figures.score_differences(results[1000], {"brier": "Brier score", "log_loss": "log loss", "auc": "AUC"})

# %% mystnb={"figure": {"caption": "Reliability of the rare class on held-out rows, 1000 training rows, ten bins of equal count. Bars: standard deviation over splits.", "name": "presto-reliability"}, "image": {"alt": "Observed against predicted frequencies by method with the diagonal; logistic regression bends furthest below it at the top."}}
figures.reliability(curves[1000])

# %%
scored = pd.concat(
    {rows: t.groupby("method")[["brier", "log_loss", "auc", "mean_p"]].mean() for rows, t in results.items()}
)
scored.rename_axis(["training rows", "method"]).style.format(
    {"brier": "{:.5f}", "log_loss": "{:.4f}", "auc": "{:.3f}"}
)

# %% [markdown]
# Two more baselines that practitioners reach for: an $L_2$ penalty helps logistic regression; *class weights*
# ruin it as a probability: the ranking (AUC) stays, but the mean prediction `mean_p` is many times the true
# 1.6 %, and Brier score and log loss are off accordingly.


# %%
def judged_fair(metric, sign):
    found = [
        compare(results[1000], "PRESTO", baseline, value=metric, unit="split", rng=rng)
        for baseline in ("logit", "PO")
    ]
    closest = max(found, key=lambda c: sign * c.difference)
    return dict(
        measured=closest.difference,
        interval=(closest.low, closest.high),
        interval_from=f"95 % t interval over {cfg.fair_splits} splits of this data set",
        evidence={"z_scores": [c.difference / c.se for c in found]},
        note="against logit and PO: "
        + ", ".join(f"{c.difference / c.se:+.1f} standard errors" for c in found),
    )


chapter.claim("C10a", **judged_fair("brier", 1))

# %%
chapter.claim("C10b", **judged_fair("log_loss", 1))

# %%
chapter.claim("C10c", **judged_fair("auc", -1))

# %% [markdown]
# ## The paper's own data and an audit: C7
# The paper's real-data evidence is `soup`: 1847 tastings, six answers, 22 dummy variables. It measures the
# squared calibration error (OSCE): sort the predictions into ten bins of equal count and average the
# squared distance of each prediction to its bin's observed frequency. Reading and running the released
# code, we found three faults:
#
# - **A**: cross-validation predicts with the increments $\psi_k=\beta_k-\beta_{k-1}$ in the place of the
#   weights $\beta_k$, so the penalty is chosen on wrong predictions;
# - **B**: undoing the centring of the features uses $\psi_k$ for $\beta_k$ too, which shifts every later
#   boundary by $\bar x^\top(\beta_k-\psi_k)$: next to nothing for features centred at zero as in the
#   simulations, a lot for dummies;
# - **C**: the bins are made from *sorted* predictions, but their frequencies are subtracted from the
#   *unsorted* ones, so the metric mostly rewards predictions that vary little.
#
# Each fault can be switched on alone, on the same fits: `released_cv_scores`, `released_intercepts` and
# `osce(released=True)`. The splits share their rows, so the intervals here are about splits of this data set,
# not about new tasters.

# %%
soup = datasets.load_soup()
audit = study_data.audit_study(
    soup,
    cfg.soup_splits,
    n_lambda=cfg.soup_lambdas,
    lambda_min_ratio=1e-4 if profile == "full" else 1e-3,
    seed=chapter.entropy("soup"),
    n_jobs=n_jobs,
    progress=lambda tasks: chapter.progress(tasks, "soup splits"),
)

# %% mystnb={"figure": {"caption": "The soup comparison with each fault on or off. Hollow: a fault is left. Bars: 95 % intervals over random 90/10 splits. Dotted: what a perfectly calibrated prediction would score.", "name": "presto-audit"}, "image": {"alt": "Two panels of calibration errors for two baselines and four versions of PRESTO. Under the released metric the released PRESTO has the lowest error; under the corrected metric the methods' intervals overlap."}}
figures.audit(audit)

# %%
summary = audit.groupby(["method", "penalty", "intercepts"])[
    ["lam", "osce", "floor", "osce_released", "brier", "mean_p"]
].mean()
summary.round(4)

# %% [markdown]
# Three columns give it away. `mean_p`: the rare answer makes up 12.3 %, and the released intercepts predict
# far less; a metric that doesn't punish that does not measure calibration. `floor`: with ten bins of
# eighteen tasters, even a perfect prediction scores that much, because a bin's frequency is itself a guess.
# The corrected methods stand at that floor, so this metric on this data set couldn't tell them apart,
# whoever is best. `lam`: the penalty over the largest one; fault A chooses a far larger one, and predictions
# that vary less look better under metric C.


# %%
def judged_soup(metric, penalty, intercepts):
    version = audit[
        (audit.method != "PRESTO") | ((audit.penalty == penalty) & (audit.intercepts == intercepts))
    ]
    found = [compare(version, "PRESTO", b, value=metric, unit="split", rng=rng) for b in ("logit", "PO")]
    closest = max(found, key=lambda c: c.difference)
    return dict(
        measured=closest.difference,
        interval=(closest.low, closest.high),
        interval_from=f"95 % t interval over {cfg.soup_splits} splits of this data set",
        evidence={"differences": [c.difference for c in found], "uppers": [c.high for c in found]},
        note="; ".join(
            f"{c.difference:+.4f} [{c.low:+.4f}, {c.high:+.4f}] against {b}"
            for c, b in zip(found, ("logit", "PO"), strict=True)
        ),
    )


chapter.claim("C7a", **judged_soup("osce", "corrected", "corrected"))

# %%
chapter.claim("C7b", **judged_soup("osce_released", "released", "released"))

# %%
chapter.out_of_reach(
    "C8",
    needs="the PreDiabetes table of the R package MLDataR, which ships with no Python package; "
    "export it from R once and give the file to load_prediabetes, which builds the eight cut-offs",
)

# %% [markdown]
# ## What stands
# Some of these verdicts sit close to their criterion, and a sweep over five seeds shows it. Against logit the
# largest ratio of errors in the sparse settings lay between 0.58 and 0.88, below one in every seed; the whole
# criterion, which also asks for three quarters of the draws, held in two of five (C2a, C4a). Against proportional
# odds in the dense settings the largest ratio lay between 0.86 and 1.01, and the criterion held in one (C5b): at
# this size that advantage is not settled.
#
# The idea stands: where the boundaries differ somewhat and the class is rare, shrinking towards
# proportional odds beats both extremes, and the price of choosing the penalty by cross-validation is
# modest. What does not stand is the evidence from `soup`, which came from the pipeline's faults.

# %%
chapter.summary()
