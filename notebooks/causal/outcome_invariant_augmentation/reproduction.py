# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Outcome-invariant augmentation: is it true?
# Every claim of {cite:t}`akbar2025analysis`, measured: the theorems over hundreds of random models, the
# linear simulation, fifteen methods on two data sets, coloured digits, and shifts of the treatment. The
# theory stands. A good part of the lead over the baselines was their training.

# %% tags=["parameters"]
profile: str = "book"  # smoke | book | full
seed: int = 0  # any integer from 0; all randomness follows from it
n = None  # type: Optional[int] rows of a simulated sample; None takes what the profile says
m = None  # type: Optional[int] treatments
n_sems = None  # type: Optional[int] random models
sweep_points = None  # type: Optional[int] points of each sweep
kernel_dim: int = -1  # null directions that the simulation's augmentation moves; -1 takes all
kappa: float = 1.0  # confounding where it is not swept
gamma: float = 1.0  # strength of the augmentation where it is not swept
n_alphas: int = 10  # penalties that each rule may choose from
panel_sems = None  # type: Optional[int] random models of the panel of fifteen methods
optical_reps = None  # type: Optional[int] draws of the augmentation for each optical experiment
optical_data = None  # type: Optional[str] folder or npz with the optical device's data
digit_seeds = None  # type: Optional[int] splits and colourings of the digits
epochs = None  # type: Optional[int] epochs of the digit networks

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
import torch
from IPython.display import Markdown
from threadpoolctl import threadpool_limits

from loglik.causal.outcome_invariant_augmentation import (
    digits,
    figures,
    optical,
    study,
    study_baselines,
    study_digits,
    study_theory,
)
from loglik.chapter import Chapter
from loglik.stats.intervals import bootstrap, mean
from loglik.stats.paired import compare

chapter = Chapter("causal/outcome_invariant_augmentation/reproduction", profile=profile, seed=seed)
rng = chapter.rng("bootstrap")
if profile != "full":  # the matrices are small: further threads would only wait for each other
    threadpool_limits(1)
    torch.set_num_threads(1)

# %% tags=["hide-input"]
cfg = chapter.settings(
    smoke=dict(
        n=256, m=8, n_sems=3, sweep_points=3, n_models=40, moment_rows=4000, moment_sems=2, panel_sems=2, steps=20,
        kernels=[2, 4], optical_reps=1, experiments=2, download=False, digit_seeds=2, n_train=256, colourings=1,
        epochs=2, width=16, digit_draws=2, alphas=[0.1, 1.0],
    ),
    book=dict(
        n=2048, m=32, n_sems=32, sweep_points=8, n_models=400, moment_rows=200_000, moment_sems=4, panel_sems=24, steps=400,
        kernels=[1, 2, 3, 4, 6, 8, 16, 31], optical_reps=4, experiments=12, download=True, digit_seeds=5, n_train=1200,
        colourings=4, epochs=15, width=128, digit_draws=4, alphas=[0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0],
    ),
    full=dict(
        n=2048, m=32, n_sems=200, sweep_points=16, n_models=4000, moment_rows=1_000_000, moment_sems=20, panel_sems=32,
        steps=2000, kernels=[1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 31], optical_reps=50, experiments=12, download=True,
        digit_seeds=10, n_train=60_000, colourings=1, epochs=16, width=256, digit_draws=10,
        alphas=[0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0],
    ),
    n=n, m=m, n_sems=n_sems, sweep_points=sweep_points, panel_sems=panel_sems, optical_reps=optical_reps,
    digit_seeds=digit_seeds, epochs=epochs,
)  # fmt: skip
entropy = chapter.entropy

# %% [markdown]
# Notation as in {doc}`method <method>`: treatment $X$, outcome $Y=f(X)+\xi$ with a hidden confounder in both,
# augmentation $G$ with $f(GX)=f(X)$. **CER** is the causal excess risk $\mathbb E(f(X)-h(X))^2$; **nCER** is
# $e/(e+\lVert f\rVert^2)$ with $e$ the squared Euclidean error of the coefficients, the number in the paper's
# figures (0 is the truth, 0.5 is $h=0$, 1 is pure confounding).
#
# ## A soft intervention: C1
# The simulation: 32 treatments and the outcome load on 32 hidden confounders with random weights; the
# augmentation moves the treatment by Gaussian noise within the null space of $f$. We compare the augmented
# sample with the model in which somebody *intervened* on the treatment that way.

# %%
soft = study.soft_intervention(cfg.moment_sems, cfg.moment_rows, cfg.m, seed=entropy("soft intervention"))
soft.round(17)

# %%
chapter.claim("C1a", measured=soft.residual_change.max())

# %%
errors = mean(soft.moment_error)
chapter.claim(
    "C1b",
    measured=errors.value,
    interval=(soft.moment_error.min(), soft.moment_error.max()),
    interval_from=f"range over {len(soft)} random models",
)

# %% [markdown]
# ## Domination over hundreds of models: C1c, C2, C4
# Now the population, where everything is exact: random models with 2 to 11 treatments and an augmentation of
# a random part of the null space. Along the horizontal axis of the figure stands the factor on $\Sigma_G$,
# so ERM, DA+ERM and IVL with smaller and smaller penalties are points on one line.

# %%
alphas = np.logspace(-5, 5, 11)
exact = study_theory.domination(cfg.n_models, alphas, seed=entropy("domination"))
risk = exact.pivot(index="model", columns="amplification", values="cer").sort_index(axis=1)
after_over_before = risk[1.0] / risk[0.0]

# %% mystnb={"figure": {"caption": "Error over that of ERM as the factor c on the augmentation's covariance grows (0: ERM, 1: DA+ERM, 1 + 1/α: IVL), one line a random model, in the population. Left: the causal excess risk never rises. Right: the Euclidean error of the coefficients, which the official code plots, rises somewhere in many models (red).", "name": "outcome-invariant-augmentation-domination"}, "image": {"alt": "Two panels on log axes. Left, all blue lines fall or stay level. Right, a good part of the lines is red and rises above one."}}
figures.domination(exact)

# %%
explained = exact.pivot(index="model", columns="amplification", values="explained")
chapter.claim("C1c", measured=(explained[1.0] / explained[0.0]).max())

# %%
chapter.claim(
    "C2a",
    measured=after_over_before.max(),
    evidence={"violations": int((after_over_before > 1 + 1e-10).sum())},
)

# %%
blind = study_theory.blind_gap(cfg.n_models // 2, seed=entropy("blind"))
chapter.claim("C2b", measured=after_over_before.max(), evidence={"blind_gap": blind})

# %%
some = exact[exact.amplification.round(6).isin([0, 1, 2, 11, 101])]
share = study_theory.euclidean_violations(some)
chapter.claim(
    "C2c",
    measured=share,
    evidence={"violations": round(share * some.model.nunique())},
    note=f"{share:.0%} of {some.model.nunique()} models, along the factors 0, 1, 2, 11 and 101 alone; the CER rises in "
    "none. The norm of the figures is not the one of the theorems",
)

# %%
penalised = risk.loc[:, risk.columns > 1]
against_da = penalised.div(risk[1.0], axis=0)
chapter.claim(
    "C4a",
    measured=against_da.to_numpy().max(),
    evidence={"violations": int((against_da > 1 + 1e-10).to_numpy().sum())},
    note=f"{risk.shape[0]} models, {penalised.shape[1]} penalties",
)

# %%
steps = risk.to_numpy()[:, 1:] / risk.to_numpy()[:, :-1]
chapter.claim("C4b", measured=steps.max(), evidence={"violations": int((steps > 1 + 1e-10).sum())})

# %% [markdown]
# The right-hand panel matters for reading the paper. Its theorems hold for the CER; its plots show the
# Euclidean error, for which the same statement is false. In the simulation below both agree on the order.
#
# ## Not quite instruments: C3
# In each sample we ask two things of $G$. Does it move the treatment? (First-stage $F$ of the direction
# $N_jGX$ on its own parameter $G_j$.) And does it say anything about the outcome? ($R^2$ of $Y$ on all of
# $G$, over the $k/n$ that pure chance gives.)

# %%
main = study.draw_batch(
    cfg.n_sems, cfg.n, cfg.m, kappa=kappa, gamma=gamma, kernel_dim=kernel_dim, seed=entropy("simulation")
)
checks = study.instrument_checks(main)
checks.describe().loc[["mean", "min", "max"]].round(2)

# %%
relevance = mean(checks.r2_ratio)
chapter.claim(
    "C3a",
    measured=relevance.value,
    interval=relevance.interval,
    interval_from=f"95 % t interval over {cfg.n_sems} models",
    evidence={"smallest_f": checks.direction_f.min(), "mean_f": checks.mean_f.min()},
    note=f"first-stage F along moved directions: {checks.mean_f.mean():.0f} on average, {checks.direction_f.min():.0f} "
    f"the weakest of all; a single treatment on all parameters has F from {checks.first_stage_f.min():.1f}",
)

# %%
spread, dimensions = study_theory.flat_iv_risk(cfg.n_models // 4, seed=entropy("flat"))
chapter.claim("C3b", measured=spread, evidence={"dimensions": dimensions})

# %% [markdown]
# ## A worst case in disguise: C5
# Expanding the squares gives
# $R_{\mathrm{IVL}_\alpha}(h)/\alpha-\mathbb E Y^2/\alpha=\sup_v\mathbb E(Y-h^\top(X+v))^2$ over independent
# shifts $v$ with covariance at most $(1+1/\alpha)\Sigma_G$. We don't trust the algebra: an adversary climbs
# to the best covariance by projected gradient ascent from a random start.

# %%
few = np.array([0.01, 0.1, 1.0, 10.0])
chapter.claim("C5a", measured=study_theory.adversarial_gap(10, few, seed=entropy("adversary")))

# %%
chapter.claim("C5b", measured=study_theory.amplification_gap(100, alphas[2:-2], seed=entropy("amplify")))

# %% [markdown]
# ## The linear simulation: C6, C7, C4c
# Samples of 2048 rows, as in the paper: 32 random models, all methods on the same ones, and the same
# confounders and noise along each sweep. **DA+IV** is two-stage least squares on the discretised $G$ (each
# parameter in two bins), **CV** chooses among ten log-uniform draws of $\alpha$ in $[10^{-4},1]$ by the error on
# held-out rows *without* augmentation, and **CC** by Janzing's estimate of how much of the coefficients'
# length is confounding {cite:p}`janzing2019causal`.

# %%
points = cfg.sweep_points
fixed = dict(kernel_dim=kernel_dim, seed=entropy("simulation"))
watch = lambda what: lambda items: chapter.progress(items, what)  # noqa: E731
by_kappa = study.sweep(
    np.linspace(0, 1, points), "kappa", cfg.n_sems, cfg.n, cfg.m, gamma=gamma, progress=watch("κ"), **fixed
)
by_gamma = study.sweep(
    np.logspace(-2.5, 1, points), "gamma", cfg.n_sems, cfg.n, cfg.m, kappa=kappa, progress=watch("γ"), **fixed
)
fits = study.fit_closed_forms(
    main.X, main.y, main.X_aug, main.G, seed=entropy("simulation"), n_draws=n_alphas, levels=True
)
simulation = study.error_table(fits.coefs, main)
curve = study.penalty_curve(main, alphas)
simulation.to_csv(chapter.output("simulation.csv"), index=False)

# %% mystnb={"figure": {"caption": "Error against confounding, strength of the augmentation and penalty. Bands: 95 % t intervals over the random models. Crosses: values measured off the paper's figures.", "name": "outcome-invariant-augmentation-sweeps"}, "image": {"alt": "Three panels. ERM's error climbs with confounding to about a half while DA+ERM and IVL stay low. All but ERM fall as the augmentation gets stronger. Along the penalty IVL's error has its minimum near one hundredth and joins DA+ERM from ten on. The paper's crosses lie on the curves."}}
figures.sweeps(by_kappa, by_gamma, curve, simulation)

# %%
summary = simulation.groupby("method")[["error", "cer"]].agg(["mean", "sem"])
summary.rename(columns={"error": "nCER (Euclidean)", "cer": "nCER (causal risk)"}).round(4)


# %%
def level(method):
    return mean(simulation[simulation.method == method].error)


def difference(method, baseline, table=simulation, unit="sem"):
    return compare(table, method, baseline, value="error", unit=unit, rng=rng)


over = f"95 % t interval over {cfg.n_sems} models"
chapter.claim(
    "C6a",
    measured=level("DA+ERM").value,
    interval=level("DA+ERM").interval,
    interval_from=over,
    evidence={"se": level("DA+ERM").se, "erm": level("ERM").value},
)

# %%
gap = difference("DA+IV", "DA+ERM")
chapter.claim(
    "C6b",
    measured=level("DA+IV").value,
    interval=level("DA+IV").interval,
    interval_from=over,
    evidence={"z": gap.difference / gap.se},
    note=f"on the raw, not discretised, G: {level('DA+IV, raw G').value:.3f}",
)

# %%
means = curve.groupby("alpha").error.mean()
best = mean(curve[curve.alpha == means.idxmin()].error)
chapter.claim(
    "C6c",
    measured=best.value,
    interval=best.interval,
    interval_from=over,
    evidence={"best_alpha": float(means.idxmin())},
    note=f"at α = {means.idxmin():.0e} of the grid",
)

# %%
smallest = mean(curve[curve.alpha == alphas[0]].error)
chapter.claim(
    "C6d",
    measured=smallest.value,
    interval=smallest.interval,
    interval_from=over,
    evidence={"smallest": best.value},
)

# %%
tail = np.abs(means[means.index >= 9.99] - level("DA+ERM").value)
chapter.claim("C6e", measured=tail.max())

# %%
order = [difference("DA+ERM", "ERM"), difference("IVL-CV", "DA+ERM"), difference("IVL-CC", "IVL-CV")]
scores = [-c.difference / c.se for c in order]
chapter.claim(
    "C6f",
    measured=min(scores[:2]),
    evidence={"cv_minus_cc": -order[2].difference},
    note=f"gaps in standard errors: ERM − DA+ERM {scores[0]:.1f}, DA+ERM − CV {scores[1]:.1f}, CV − CC {scores[2]:.1f}",
)

# %%
chosen = {rule: mean(values) for rule, values in fits.alphas.items()}
chapter.claim(
    "C6g",
    measured=chosen["IVL-CV"].value,
    interval=chosen["IVL-CV"].interval,
    interval_from=over,
    evidence={"cc": chosen["IVL-CC"].value},
    note=f"CC chooses {chosen['IVL-CC'].value:.2f} on average",
)

# %% [markdown]
# In one respect even the best rule falls short: CV prefers penalties some fifty times too large. Held-out
# rows have the confounder too, so they reward a fit that uses it, and the error of a chosen IVL is two to
# three times that of the best fixed penalty.
#
# ### Along the confounding and the strength (C7)


# %%
def growth(method):
    """Growth of the error from no to full confounding over ERM's."""
    ends = by_kappa[by_kappa.kappa.isin([0.0, 1.0])]
    wide = ends[ends.method.isin([method, "ERM"])].pivot(
        index="sem", columns=["method", "kappa"], values="error"
    )
    values = np.stack([wide[method, 1.0] - wide[method, 0.0], wide["ERM", 1.0] - wide["ERM", 0.0]], axis=1)
    return bootstrap(values, lambda means: means[:, 0] / means[:, 1], rng)


grown = {method: growth(method) for method in ("DA+ERM", "IVL-CV", "IVL-CC")}
chapter.claim(
    "C7a",
    measured=grown["DA+ERM"].value,
    interval=grown["DA+ERM"].interval,
    interval_from=f"95 % bootstrap over {cfg.n_sems} models",
    evidence={"uppers": [g.high for g in grown.values()]},
    note=", ".join(f"{name} {g.value:.2f}" for name, g in grown.items()),
)

# %%
strong = by_gamma[by_gamma.gamma > 0.03]
gaps = [
    difference(rule, "DA+ERM", part) for rule in ("IVL-CV", "IVL-CC") for _, part in strong.groupby("gamma")
]
worst = max(gaps, key=lambda c: c.difference)
chapter.claim(
    "C7b",
    measured=worst.difference,
    interval=(worst.low, worst.high),
    interval_from=over + ", at the worst strength",
    evidence={"uppers": [c.high for c in gaps]},
)

# %%
augmented = by_gamma[by_gamma.method == "DA+ERM"].pivot(index="sem", columns="gamma", values="error")
whole = bootstrap(augmented.to_numpy()[:, [0, -1]], lambda means: means[:, 1] / means[:, 0], rng)
falls = augmented.mean().to_numpy()
chapter.claim(
    "C7c",
    measured=whole.value,
    interval=whole.interval,
    interval_from=f"95 % bootstrap over {cfg.n_sems} models",
    evidence={"steps": list(falls[1:] / falls[:-1])},
)

# %%
clean = by_kappa[by_kappa.kappa == 0].groupby("method").error.mean()
chapter.claim("C7d", measured=clean.drop("DA+IV").max(), evidence={"iv": clean["DA+IV"]})

# %%
wide = curve.pivot(index="sem", columns="alpha", values="error")
base = simulation[simulation.method == "DA+ERM"].set_index("sem").error
ratios = [bootstrap(np.stack([wide[a], base], 1), lambda means: means[:, 0] / means[:, 1], rng) for a in wide]
worst = max(ratios, key=lambda r: r.high)
chapter.claim(
    "C4c",
    measured=worst.value,
    interval=worst.interval,
    interval_from=f"95 % bootstrap over {cfg.n_sems} models, at the worst penalty",
)

# %% [markdown]
# ## Fifteen methods on the simulation: C8
# The paper's box plots show DA+ERM at .26, three times its value in the sweeps, so they cannot come from the
# same augmentation. We looked for one that gives the panel: not a weaker $\gamma$ (no single one fits DA+ERM
# and IVL together), but an augmentation along only some of the 31 null directions. Three to five of them
# give it; we judge at four.

# %%
kernels = []
for kernel in cfg.kernels:
    part = study.draw_batch(
        cfg.n_sems, cfg.n, cfg.m, kernel_dim=min(kernel, cfg.m - 1), seed=entropy("kernels")
    )
    fit = study.fit_closed_forms(part.X, part.y, part.X_aug, part.G, seed=entropy("kernels"))
    shown = {name: fit.coefs[name] for name in ("DA+ERM", "IVL-CV", "IVL-CC")}
    kernels.append(study.error_table(shown, part, kernel=kernel))

# %% mystnb={"figure": {"caption": "Error against the number of null directions that the augmentation moves. Dotted: the values of the paper's box plots. Bands: 95 % t intervals over random models, others than those judged below.", "name": "outcome-invariant-augmentation-kernels"}, "image": {"alt": "Three falling curves for DA+ERM, IVL by cross-validation and IVL by confounder correction. They cross their dotted lines between two and five directions."}}
figures.kernel_search(pd.concat(kernels), study_baselines.PAPER_SIMULATION)

# %% [markdown]
# The nine baselines are trained twice. *As released*: Adam with rate .01 for 16 epochs from a random start, and
# penalties drawn from Exp(1) whatever the scale of the data. *To convergence*: in whitened coordinates until
# nothing moves; lasso and ridge with penalties over five decades; MM-REx with its weight $\lambda\le0$, because the
# released draws of $\lambda$ exceed one over the number of environments, where its loss has no minimum.
# **IRM**, **V-REx**, **MM-REx** and **DRO** take the levels of the discretised $G$ as environments, **RICE** penalises
# changes of the prediction under augmentation, **ICP** intersects invariant subsets.

# %%
panel = study_baselines.simulation_panel(
    study.draw_batch(cfg.panel_sems, cfg.n, cfg.m, kernel_dim=4, seed=entropy("panel")),
    seed=entropy("panel"),
    n_draws=n_alphas,
    steps=cfg.steps,
)
panel.to_csv(chapter.output("simulation_panel.csv"), index=False)
by_training = {
    label: panel[panel.training == key].pivot(index="sem", columns="method", values="error")
    for label, key in {"baselines to convergence": "converged", "baselines as released": "released"}.items()
}

# %% mystnb={"figure": {"caption": "Fifteen methods on the simulation with four null directions. Bars: 95 % t intervals over random models. Crosses: the paper's box plots. Dotted: h = 0.", "name": "outcome-invariant-augmentation-panel"}, "image": {"alt": "Dots with intervals for fifteen methods. With the released training most lie on the paper's crosses; trained to convergence, the environment methods come down to DA+ERM's level, close to IVL."}}
figures.method_panel(by_training, study_baselines.PAPER_SIMULATION, "models")


# %%
def against_best(table, method, among, unit):
    """The method against the baseline with the lowest mean."""
    means = table[table.method.isin(among)].groupby("method").error.mean()
    return compare(table, method, means.idxmin(), value="error", unit=unit, rng=rng), means.idxmin()


converged = panel[panel.training == "converged"]
outside = ("ERM", "DA+ERM", *study_baselines.BASELINES)
found, rival = against_best(converged, "IVL-CC", outside, "sem")
over_panel = f"95 % t interval over {cfg.panel_sems} models"
chapter.claim(
    "C8a",
    measured=found.difference,
    interval=(found.low, found.high),
    interval_from=over_panel,
    note=f"the best other is {rival}, trained to convergence",
)

# %%
family = ["DA+ERM", "IVL-CV", "IVL-LCV", "IVL-CC"]
paper = pd.Series(study_baselines.PAPER_SIMULATION)
released_kernel = simulation.groupby("method").error.mean()
distances = (released_kernel[family] - paper[family]).abs()
chapter.claim(
    "C8b",
    measured=distances.max(),
    evidence={"distances": distances.tolist()},
    note="with all 31 directions, as the released configuration says: "
    + ", ".join(f"{name} {released_kernel[name]:.3f}" for name in family),
)

# %%
against = {
    name: compare(converged, "IVL-CV", name, value="error", unit="sem", rng=rng)
    for name in ("IRM", "V-REx", "MM-REx", "DRO", "RICE")
}
closest = min(against.values(), key=lambda c: -c.difference)
chapter.claim(
    "C8c",
    measured=-closest.difference,
    interval=(-closest.high, -closest.low),
    interval_from=over_panel + ", for the closest",
    evidence={"lowers": [-c.high for c in against.values()]},
    note=", ".join(f"{name} {-c.difference:+.3f}" for name, c in against.items()),
)

# %%
released = panel[panel.training == "released"].groupby("method").error.mean()
names = list(study_baselines.BASELINES)
near = (released[names] - paper[names]).abs() < 0.1
chapter.claim(
    "C8d",
    measured=near.mean(),
    note="off: "
    + (", ".join(f"{k} {released[k]:.2f} ({paper[k]:.2f})" for k in names if not near[k]) or "none"),
)

# %%
five = [*family, "DA+IV"]
ours = converged.groupby("method").error.mean()
distances = (ours[five] - paper[five]).abs()
chapter.claim(
    "C8e",
    measured=distances.max(),
    evidence={"distances": distances.tolist()},
    note=", ".join(f"{k} {ours[k]:.3f} ({paper[k]:.2f})" for k in five),
)

# %% [markdown]
# So the picture of environment methods far behind is one of unfinished training. Trained to the end, they
# settle near DA+ERM, which is no surprise: with an outcome-invariant augmentation the environments differ
# in nothing that matters. What is left of IVL's lead over them is small and still there. ICP returns $h=0$, hence exactly 0.5:
# many subsets pass its test, and their intersection is empty. The strongest rival is the plainest: ridge regression with
# Janzing's rule, on the data without any augmentation. It looks hopeless in the panel because its penalties,
# draws of Exp(1), stand beside sums over two thousand rows; on a scale that means something it comes so
# close to IVL that these models cannot tell them apart. Four perturbed directions leave most of the
# confounding out of the augmentation's reach, and shrinking reaches everywhere.
#
# ## The optical device: C9

# %% tags=["hide-input"]
device = optical.find_optical_device(optical_data, download=cfg.download, rng=chapter.rng("look-alike"))
provenance = f"sha256 of the numbers {device.sha256[:16]}…"
told = (
    "These are the paper's twelve experiments, to the last number."
    if device.real
    else "It has the shapes of the real tables and none of their physics. **Nothing below is a result about the "
    "optical device**, and claims C9 get no verdict. With a network the real files are downloaded; offline, set "
    f"`{optical.VARIABLE}` or the parameter `optical_data` to the folder `code/data_from_optical_device` of "
    "github.com/janzing/janzing.github.io. The scoreboard shows the recorded run, which had them."
)
Markdown(f"> **Data of this run: {device.source}** ({provenance}). {told}")

# %% [markdown]
# A laptop shows a 3 × 3 image to a sensor while a light-emitting diode shines into both. Its intensity is
# recorded, so the causal coefficients can be estimated with the confounder in sight; the methods do not see
# it. The augmentation is Gaussian noise on the nine pixels, which is *not* outcome invariant by
# construction. Where the truth is quadratic, pixels, parameters and augmented pixels are all expanded to
# degree two, as in the paper (products of the parameters are no longer independent of each other).

# %%
optical_errors = study_baselines.optical_study(
    device,
    cfg.optical_reps,
    seed=entropy("optical"),
    n_draws=n_alphas,
    experiments=cfg.experiments,
    steps=cfg.steps,
    progress=watch("optical experiments"),
)
optical_errors.to_csv(chapter.output("optical_device.csv"), index=False)
by_device = {
    label: study_baselines.by_experiment(optical_errors, key)
    for label, key in {"baselines to convergence": "converged", "baselines as released": "released"}.items()
}

# %% mystnb={"figure": {"caption": "Fifteen methods on the twelve experiments that the box above names: the optical device, or a simulated look-alike where its data are not at hand. Bars: 95 % t intervals over experiments. Crosses: the paper's values for the real device. Dotted: h = 0.", "name": "outcome-invariant-augmentation-optical"}, "image": {"alt": "Dots with intervals for fifteen methods, with baselines as released and trained to convergence, and the paper's crosses. On the real device ERM, DA+ERM, IVL and DA+IV lie on the crosses, as do most baselines as released; trained to convergence several baselines reach or pass IVL."}}
figures.method_panel(by_device, study_baselines.PAPER_OPTICAL, "experiments")

# %%
table = pd.DataFrame({label: wide.mean() for label, wide in by_device.items()})
table["standard error"] = by_device["baselines to convergence"].sem()
table["paper (real device)"] = pd.Series(study_baselines.PAPER_OPTICAL)
table.reindex(study_baselines.PAPER_OPTICAL).round(3)

# %% [markdown]
# On the real device, look at the dotted line first. An nCER of 0.5 is what $h=0$ gets, and nearly every
# method stands above it: as estimates of the effect, they are worse than none. Among such estimates
# whatever shrinks looks good. IRM, trained to the end, is the best for that reason alone: most of its environments
# hold a single row, where its penalty punishes any prediction that isn't zero or exact.

# %%
NEEDS = (
    "the twelve tables of the optical device (github.com/janzing/janzing.github.io, code/data_from_optical_device): "
    f"a network, or {optical.VARIABLE} set to that folder; a simulated look-alike is never judged"
)
wide = by_device["baselines to convergence"]
long = wide.reset_index().melt("experiment", var_name="method", value_name="error")
real_paper = pd.Series(study_baselines.PAPER_OPTICAL)
of_device = f"95 % t interval over {len(wide)} experiments"
four = ["ERM", "DA+ERM", "IVL-CV", "DA+IV"]
off = (wide[four].mean() - real_paper[four]).abs()
(
    chapter.claim(
        "C9a",
        measured=off.max(),
        evidence={"distances": off.tolist()},
        note=", ".join(f"{k} {wide[k].mean():.3f} ({real_paper[k]:.3f})" for k in four) + f"; {provenance}",
    )
    if device.real
    else chapter.out_of_reach("C9a", NEEDS)
)

# %%
rules = [
    compare(long, rule, "DA+ERM", value="error", unit="experiment", rng=rng) for rule in ("IVL-CV", "IVL-CC")
]
worst = max(rules, key=lambda c: c.difference)
(
    chapter.claim(
        "C9b",
        measured=worst.difference,
        interval=(worst.low, worst.high),
        interval_from=of_device,
        evidence={"uppers": [c.high for c in rules]},
        note=provenance,
    )
    if device.real
    else chapter.out_of_reach("C9b", NEEDS)
)

# %%
found, rival = against_best(long, "IVL-CC", outside, "experiment")
(
    chapter.claim(
        "C9c",
        measured=found.difference,
        interval=(found.low, found.high),
        interval_from=of_device,
        note=f"the best other is {rival}, trained to convergence; h = 0 has nCER 0.5; {provenance}",
    )
    if device.real
    else chapter.out_of_reach("C9c", NEEDS)
)

# %%
as_released = by_device["baselines as released"][names].mean()
near = (as_released - real_paper[names]).abs() < 0.1
misses = ", ".join(f"{k} {as_released[k]:.2f} ({real_paper[k]:.2f})" for k in names if not near[k])
(
    chapter.claim("C9d", measured=near.mean(), note=f"off: {misses or 'none'}; {provenance}")
    if device.real
    else chapter.out_of_reach("C9d", NEEDS)
)

# %% [markdown]
# Why do IRM, V-REx, MM-REx and DRO stand at .98 as released? The coefficients of the device are about a
# thousandth; Adam starts at random values a hundred times larger and has 64 steps of .01 to come down. Those
# numbers measure the start, not the methods.
#
# ## Coloured digits: C10
# The label is "below five", a quarter of the labels are wrong, and the colour follows the *wrong* label: a
# network that reads the colour predicts well and learns nothing about digits. Colour jitter and shifts
# leave the digit alone. Testing gives every digit a random colour; nCER here is $c/(c+1/4)$ with $c$ the error
# rate above the unavoidable quarter.

# %%
if profile == "full":
    grey, digit = digits.load_mnist_images()
else:
    grey, digit = digits.load_digits_images()
sample = study_digits.draw_digits(
    grey, digit, cfg.digit_seeds, n_train=cfg.n_train, colourings=cfg.colourings, seed=entropy("digits"),
).to(chapter.device)  # fmt: skip
training = study_digits.Training(epochs=cfg.epochs, rate=3e-3, width=cfg.width)

# %% mystnb={"figure": {"caption": "Training images, coloured by their noisy label, and one augmentation of each.", "name": "outcome-invariant-augmentation-digits"}, "image": {"alt": "A row of red and green digits and below it the same digits with changed hue, brightness and position."}}
side = grey.shape[-1]
shown = [x[0, :8].reshape(8, 3, side, side).cpu().numpy() for x in (sample.X, sample.X_aug)]
figures.colour_examples(*shown, sample.y[0, :8].int().tolist())

# %%
digit_errors = study_digits.digit_study(
    sample,
    n_draws=cfg.digit_draws,
    training=training,
    seed=entropy("digit training"),
    progress=watch("methods on digits"),
)
by_seed = digit_errors.pivot(index="seed", columns="method", values="error")

# %% mystnb={"figure": {"caption": "Coloured digits: error on test images whose colour says nothing. Bars: 95 % t intervals over splits and colourings. Crosses: the paper's values on coloured MNIST. Dotted: a coin.", "name": "outcome-invariant-augmentation-digit-methods"}, "image": {"alt": "Dots with intervals for ten methods. ERM and DA+IV lie near one half; DA+ERM and IVL are clearly lower."}}
figures.method_panel({"ours, 8 × 8 digits": by_seed}, study_baselines.PAPER_DIGITS, "seeds")

# %%
grid = study_digits.penalty_grid(sample, cfg.alphas, training=training, seed=entropy("digit training"))

# %% mystnb={"figure": {"caption": "IVL on coloured digits along a fixed penalty, for the loss as meant and as released. Bands: 95 % t intervals over seeds. Dashed: means of ERM and DA+ERM.", "name": "outcome-invariant-augmentation-digit-penalty"}, "image": {"alt": "Two curves on a logarithmic axis of penalties. The loss as meant lies below the released one for small penalties; both meet DA+ERM for large penalties."}}
figures.penalties(grid, {name: by_seed[name].mean() for name in ("ERM", "DA+ERM")})

# %%
over_seeds = f"95 % t interval over {cfg.digit_seeds} seeds"
gap = compare(digit_errors, "IVL-CV", "DA+ERM", value="error", unit="seed", rng=rng)
chapter.claim(
    "C10a",
    measured=gap.difference,
    interval=(gap.low, gap.high),
    interval_from=over_seeds,
    evidence={"da": by_seed["DA+ERM"].mean(), "erm": by_seed["ERM"].mean()},
)

# %%
gap = compare(digit_errors, "DA+IV", "DA+ERM", value="error", unit="seed", rng=rng)
chapter.claim("C10b", measured=gap.difference, interval=(gap.low, gap.high), interval_from=over_seeds)

# %%
others = [name for name in study_digits.METHODS if not name.startswith("IVL")]
found, rival = against_best(digit_errors, "IVL-CV", others, "seed")
chapter.claim(
    "C10c",
    measured=found.difference,
    interval=(found.low, found.high),
    interval_from=over_seeds,
    note=f"the best other is {rival}",
)

# %% [markdown]
# ### The released loss
# The neural IV loss of the official code multiplies the projection with the vector of *squared* residuals,
# $\mathbf 1^\top\Pi r^2$, where the IV risk is $r^\top\Pi r$. With centred parameters $\Pi\mathbf 1\approx0$, so the released term
# is noise of either sign, and the released IVL is close to DA+ERM. We take residuals that do depend on $G$,
# the case that the term exists to find, and compare both terms batch by batch.

# %%
ratio = study_digits.weighting_ratio(sample)
low, high = np.quantile(ratio, (0.025, 0.975))
chapter.claim(
    "C10d",
    measured=float(np.mean(ratio)),
    interval=(float(low), float(high)),
    interval_from=f"95 % of {len(ratio)} batches of 256",
    note=f"negative in {np.mean(ratio < 0):.0%} of the batches, where the loss rewards dependence on G",
)

# %% [markdown]
# ## Out of distribution: C11
# Shift the treatment along the directions of the augmentation, further and further. The risk is computed
# exactly from each model's population. Without a shift ERM predicts best, as it must; DA+ERM has the middle;
# IVL pays from shifts of about two training augmentations on.

# %%
scales = [0.0, 0.5, 1.0, 2.0, 4.0, 8.0]
three = {name: fits.coefs[name] for name in ("ERM", "DA+ERM", "IVL-CV")}
moved = study.shifted_risk(three, main, scales)

# %% mystnb={"figure": {"caption": "Mean squared error on shifted treatments over the outcome's variance. Bands: 95 % t intervals over random models.", "name": "outcome-invariant-augmentation-shift"}, "image": {"alt": "On a log axis ERM is best without a shift and worst from a shift of one on; IVL is lowest from a shift of two on."}}
figures.shifted(moved)

# %%
largest = moved[moved.scale == scales[-1]]
ratios = [
    compare(largest, a, b, value="risk", unit="sem", rng=rng)
    for a, b in (("IVL-CV", "DA+ERM"), ("DA+ERM", "ERM"))
]
worst = max(ratios, key=lambda c: c.ratio)
chapter.claim(
    "C11",
    measured=worst.ratio,
    interval=(worst.ratio_low, worst.ratio_high),
    interval_from=f"95 % paired bootstrap over {cfg.n_sems} models",
    evidence={"uppers": [c.ratio_high for c in ratios]},
    note=f"at {scales[-1]:g} standard deviations: IVL/DA {ratios[0].ratio:.3f}, DA/ERM {ratios[1].ratio:.3f}; "
    "without a shift ERM predicts best, as it must",
)

# %% [markdown]
# ## What stands
# The theory stands, every line of it, for the norm in which it is stated; so do the sweeps, value for value.
# What changes is the comparison. Once baselines are trained to the end, environment methods are about
# as good as plain augmentation, and ridge regression with a sensible penalty can't be told from IVL on the
# simulation's panel. On the optical device several baselines reach IVL's error or pass it, nearly all of
# them above what "no effect" would get. On coloured digits the chosen IVL takes a little off DA+ERM, as in the paper; with another
# seed of this notebook (42) it took nothing. The step from ERM to DA+ERM is the large one; the step to IVL is
# real, smaller, and hangs on a penalty that cross-validation chooses too large.

# %%
chapter.summary()
