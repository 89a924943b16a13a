# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # On-policy preferences: is it true?
# Every claim of {cite:t}`tajwar2024preference`, measured: on bandits where rewards are exact, on a real model's
# next-token law, and on lengths of real text. Each comparison has one budget of labelled answers *and* one number
# of gradient steps, and each bandit arm is tuned with the same effort on seeds that are not reported.

# %% tags=["parameters"]
profile: str = "book"  # smoke | book | full
seed: int = 0  # any integer from 0; all randomness follows from it
n_seeds = None  # type: Optional[int] runs of each bandit arm; None takes what the profile says
budget = None  # type: Optional[int] labelled answers of a bandit run, D; a multiple of 100
batch: int = 100  # answers of a refresh, B
inner_steps: int = 10  # gradient steps on a refresh, T
n_per_prompt: int = 10  # answers to a prompt, N
label_noise: float = 0.0  # share of turned labels that the reward model sees

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

from loglik.chapter import Chapter
from loglik.language.models import has_bundled
from loglik.language.on_policy_preferences import (
    PreferenceBandit,
    figures,
    lengths,
    real,
    study,
    theory,
    transformer,
)
from loglik.stats import intervals

chapter = Chapter("language/on_policy_preferences/reproduction", profile=profile, seed=seed)

# %% tags=["hide-input"]
cfg = chapter.settings(
    smoke=dict(n_seeds=2, n_tuning=1, budget=400, reuse=(1, 5, 20), n_bins=1000, relocation=500, n_transformer=0,
               length_seeds=2, length=dict(budget=32, batch=16, inner_steps=1, n_eval=8, rm_steps=5)),
    book=dict(n_seeds=10, n_tuning=3, budget=2000, reuse=(1, 2, 5, 10, 30, 100), n_bins=100_000, relocation=2000,
              n_transformer=2, length_seeds=5, length=dict(looks=3)),
    full=dict(n_seeds=10, n_tuning=10, budget=2000, reuse=(1, 2, 5, 10, 30, 100), n_bins=100_000, relocation=2000,
              n_transformer=10, length_seeds=10,
              length=dict(budget=3840, batch=192, inner_steps=6, minibatch=64, n_eval=256, rm_steps=400, looks=20)),
    n_seeds=n_seeds, budget=budget,
)  # fmt: skip
seeds = [1000 * seed + i for i in range(cfg.n_seeds)]
over = f"95 % t interval over {cfg.n_seeds} seeds"

# %% [markdown]
# ## The theory: C8
# {doc}`method <method>` states it: the regularised reward is a reverse KL to the tilted reference, imitation
# follows the forward one, and which of them moves two bins apart faster is decided by the logarithmic mean of their
# targets.

# %%
chapter.claim("C8a", measured=theory.lemma_residual(100, chapter.rng("lemma")))

# %%
deviation, wrong = theory.two_bin_residual(cfg.n_bins, chapter.rng("bins"))
chapter.claim(
    "C8b", measured=deviation, evidence={"wrong": wrong}, note=f"{cfg.n_bins:,} random pairs of bins"
)

# %% [markdown]
# The law says when reverse KL wins: between bins that the policy visits. So "faster" must depend on where the
# target lies. Step size 1, target tilted with $\beta=0.1$, exact descent from the reference.

# %%
bandits = {"R1": PreferenceBandit(peak=70), "R2": PreferenceBandit(peak=20)}
ratios = {}
for name, peak in (("R1", 70), ("R2", 20)):
    single = PreferenceBandit(1, peak=peak)
    curves = theory.relocations(
        single.ref_logp.numpy(), single.tilted(0.1).exp().numpy(), lr=1.0, steps=cfg.relocation
    )
    half = curves["forward"][0] / 2
    ratios[name] = theory.steps_to(curves["reverse"], half) / theory.steps_to(curves["forward"], half)
note = "; ".join(f"{name}: {value:.2f}" for name, value in ratios.items())
chapter.claim("C8c", measured=max(ratios.values()), evidence={"ratios": list(ratios.values())}, note=note)

# %%
tokens = np.arange(100)
bump = np.exp(-(((tokens - 70) / 10) ** 2)) + 1e-300
cut = theory.relocations(-(((tokens - 20) / 10) ** 2), bump / bump.sum(), lr=10.0, steps=cfg.relocation)
chapter.claim("C8d", measured=cut["reverse"][-1], evidence={"forward": cut["forward"][-1]})

# %% [markdown]
# ## The bandits: C1, C4 to C7
# Ten tokens of 100; reference and rewards as in the official code, the reference from its closed form. Policies are
# tables of logits, begun at the reference; Adam; sixteen settings an arm. *Offline* draws the whole budget from the
# reference and goes through it in minibatches of 100.

# %%
sizes = dict(budget=cfg.budget, batch=batch, inner_steps=inner_steps, n_per_prompt=n_per_prompt)
tuning_seeds = [1000 * seed + 500 + i for i in range(cfg.n_tuning)]
everything = study.bandit_study(
    bandits, seeds, tuning_seeds, **sizes, progress=lambda arms: chapter.progress(arms, "bandit arms")
)
final = dict(list(everything.final.groupby("bandit")))
everything.final.to_csv(chapter.output("bandits.csv"), index=False)

# %% mystnb={"figure": {"caption": "Exact mean reward of the tuned arms at one budget of labels and gradient steps; bars: 95 % t intervals over seeds. Filled: negative gradient; orange: offline, blue: on-policy. Dotted: the reference.", "name": "on-policy-preferences-arms"}, "image": {"alt": "Two panels of twelve arms. On R1 offline imitation stays near the reference, offline DPO and IPO reach about 0.9, on-policy DPO and IPO nearly 1. On R2 all arms are higher and closer together."}}
figures.arm_rewards(
    everything.final, {name: float(b.exact_reward(b.ref_logits)) for name, b in bandits.items()}
)

# %%
shown = everything.final[everything.final.bandit.isin(bandits)]
table = shown.groupby(["bandit", "method"], sort=False)[["reward", "kl", "entropy", "lr", "beta"]].mean()
table["sd of reward"] = shown.groupby(["bandit", "method"]).reward.std()
table.round(3)

# %% [markdown]
# ### On-policy sampling: C1


# %%
def worst(found, note=None, **evidence):
    """The smallest of several differences, with all of them as evidence."""
    least = min(found, key=lambda e: e.value)
    return dict(
        measured=least.value, interval=least.interval, interval_from=over, note=note,
        evidence={"differences": [e.value for e in found], "lows": [e.low for e in found], **evidence},
    )  # fmt: skip


def gain(bandit, method, baseline):
    wide = final[bandit].pivot(index="seed", columns="method", values="reward")
    return (wide[method] - wide[baseline]).to_numpy()


bon = ("on-policy best-of-n", "offline best-of-n")
chapter.claim("C1a", **worst([intervals.mean(gain("R1", *bon))]))

# %%
chapter.claim("C1b", **worst([intervals.mean(gain("R1", *bon) - gain("R2", *bon))]))

# %%
both = [
    intervals.mean(gain(name, f"on-policy {m}", f"offline {m}"))
    for name in bandits for m in ("best-of-n", "rwr", "dpo", "ipo")
]  # fmt: skip
chapter.claim("C1c", **worst(both))

# %% [markdown]
# The same with a real reference: the 100 likeliest tokens that SmolLM2-135M puts after a prompt, with the reward's
# bump over their ranks. The table is committed; where the model is installed, it is computed again and compared.

# %%
if profile != "smoke" and has_bundled():
    fresh, kept = real.next_token_table(), real.committed_table()
    print("largest change of a logit:", float(np.abs(fresh.ref_logit - kept.ref_logit).max()))
else:
    print("SmolLM2 is not run here: its committed table is used unchecked")

# %%
at_ranks = {"rank 70": real.real_bandit(70), "rank 1": real.real_bandit(1)}
two = [study.Arm("best-of-n", on_policy) for on_policy in (False, True)]
final |= dict(
    list(study.bandit_study(at_ranks, seeds, tuning_seeds, arms=two, **sizes).final.groupby("bandit"))
)
far = intervals.mean(gain("rank 70", *bon))
note = f"gain at rank 70: {far.value:.3f}, at rank 1: {gain('rank 1', *bon).mean():.3f}"
chapter.claim(
    "C1d", **worst([intervals.mean(gain("rank 70", *bon) - gain("rank 1", *bon))], note, gain_low=far.low)
)

# %% [markdown]
# ### The negative gradient: C4, C7

# %%
contrast = ("offline dpo", "offline best-of-n")
chapter.claim("C4a", **worst([intervals.mean(gain("R1", *contrast))]))

# %%
chapter.claim("C4b", **worst([intervals.mean(gain("R1", *contrast) - gain("R2", *contrast))]))

# %%
imitation = ["offline pref-ft", "offline rwr", "offline best-of-n"]
found = [
    e
    for name in bandits
    for m in ("dpo", "ipo")
    for e in study.differences(final[name], f"offline {m}", imitation)
]
chapter.claim("C4c", **worst(found))

# %%
chapter.claim(
    "C7", **worst([intervals.mean(gain("R1", "on-policy reinforce", "on-policy reinforce-nonneg"))])
)

# %% [markdown]
# ### Both together: C6

# %%
others = [f"on-policy {m}" for m in ("best-of-n", "rwr", "reinforce-nonneg")]
chapter.claim(
    "C6a",
    **worst(study.differences(final["R1"], "on-policy dpo", ["offline dpo", *others, "on-policy reinforce"])),
)

# %%
chapter.claim("C6b", **worst(study.differences(final["R1"], "on-policy ipo", ["offline ipo", *others])))

# %% mystnb={"figure": {"caption": "R1: mean exact reward against gradient steps (left) and against KL to the reference (right). Solid: on-policy, answers drawn along the way; dashed: offline, all drawn before the first step. Bands: 95 % t intervals over seeds.", "name": "on-policy-preferences-courses"}, "image": {"alt": "On-policy arms rise to between 0.7 and 1, offline Best-of-N stays low. Against KL the arms lie closer together and offline DPO leads."}}
figures.courses(
    everything.curves,
    "R1",
    [*contrast, *(f"on-policy {m}" for m in ("best-of-n", "dpo", "reinforce", "ppo"))],
)

# %% [markdown]
# The right panel qualifies all of this section: the winners also go furthest from the reference. At equal KL offline
# DPO is not behind its on-policy version, it is ahead. The paper compares at equal budgets, and so do the claims.
#
# ### Both log-probabilities fall: C5
# Winners and losers are the halves of pairs that the arm trains on; *unseen* are answers of the reference that nobody
# trains on.

# %% mystnb={"figure": {"caption": "R1: mean log-probability of an answer. Offline arms: pairs that are trained on. Bands: 95 % t intervals over seeds.", "name": "on-policy-preferences-logp"}, "image": {"alt": "Under offline DPO winners, losers and unseen answers all fall by tens of nats, losers the most. Under offline Best-of-N they change far less."}}
figures.log_probabilities(everything.curves, "R1", ["offline best-of-n", "offline dpo", "on-policy dpo"])

# %%
fall = {name: final[name][final[name].method == "offline dpo"].set_index("seed") for name in bandits}
winners, margin = (intervals.mean(fall["R1"][c]) for c in ("change_logp_w", "change_margin"))
chapter.claim(
    "C5a", measured=winners.value, interval=winners.interval, interval_from=over,
    evidence={"margin_low": margin.low}, note=f"the margin changes by {margin.value:+.1f} nats",
)  # fmt: skip

# %% [markdown]
# How far they fall depends on the setting too, so C5b runs R1's learning rate and beta on both bandits.

# %%
chosen = study.PFTConfig(
    "dpo", False, cfg.budget, cfg.budget, inner_steps * cfg.budget // batch, n_per_prompt,
    lr=float(fall["R1"].lr.iloc[0]), beta=float(fall["R1"].beta.iloc[0]),
)  # fmt: skip
change = {}
for name, bandit in bandits.items():
    runs = study.fine_tune_bandit(bandit, chosen, seeds=seeds, looks=1)
    change[name] = (runs.logp_w[:, -1] - runs.logp_w[:, 0]).numpy()
chapter.claim("C5b", **worst([intervals.mean(change["R2"] - change["R1"])]))

# %% [markdown]
# ## The budget and its reuse: C2, C3
# Left: the budget of answers and of gradient steps is fixed, the answers come in batches of different size; the
# largest batch is drawn from the reference alone. Right: batches of 100, with more and more gradient steps on each:
# the samples are fixed, the steps are not. Settings as tuned above.

# %%
batches = [b for b in (50, 100, 200, 500, 2000) if cfg.budget % b == 0]
five = ["best-of-n", "rwr", "dpo", "reinforce", "ppo"]
steps = inner_steps * cfg.budget // batch
split = study.sweep(
    bandits["R1"],
    study.split_settings(final["R1"], five, batches, budget=cfg.budget, steps=steps),
    seeds,
    lambda items: chapter.progress(items, "budget splits"),
)

# %%
reuse = study.sweep(
    bandits["R1"],
    study.reuse_settings(
        final["R1"], ["reinforce", "ppo", "best-of-n", "dpo"], cfg.reuse, budget=cfg.budget, batch=batch
    ),
    seeds,
    lambda items: chapter.progress(items, "reuse"),
)

# %% mystnb={"figure": {"caption": "R1. Left: one budget of answers and gradient steps, split into batches. Right: more gradient steps on each batch of 100. Bars: 95 % t intervals over seeds.", "name": "on-policy-preferences-axes"}, "image": {"alt": "Left: PPO falls steeply with the size of the batch, REINFORCE and DPO stay high until the largest, Best-of-N and RWR peak in the middle. Right: REINFORCE rises and falls again with reuse, PPO rises and stays."}}
figures.budget_and_reuse(split, reuse)


# %%
def judged_split(methods):
    means = split.groupby(["method", "batch"]).reward.mean().unstack()
    short = {m: split[(split.method == m) & (split.batch == means.loc[m].idxmax())] for m in methods}
    first = {m: split[(split.method == m) & (split.batch == batches[0])] for m in methods}
    found = {m: short[m].reward.to_numpy() - first[m].reward.to_numpy() for m in methods}
    largest = max(methods, key=lambda m: found[m].mean())
    behind = found[largest].mean()
    half = 2.26 * found[largest].std(ddof=1) / np.sqrt(len(seeds))
    return dict(
        measured=behind, interval=(behind - half, behind + half), interval_from=over,
        evidence={"gains": [means.loc[m, batches[0]] - means.loc[m, batches[-1]] for m in methods]},
        note="best batch: " + ", ".join(f"{figures.NAMES[m]} {means.loc[m].idxmax()}" for m in methods),
    )  # fmt: skip


chapter.claim("C2a", **judged_split(["ppo", "reinforce", "dpo"]))

# %%
chapter.claim("C2b", **judged_split(["best-of-n", "rwr"]))

# %%
by_t = {m: part.pivot(index="seed", columns="T", values="reward") for m, part in reuse.groupby("method")}
low_t, mid_t, high_t = cfg.reuse[0], 5, cfg.reuse[-1]
u = [intervals.mean(by_t["reinforce"][mid_t] - by_t["reinforce"][t]) for t in (low_t, high_t)]
chapter.claim("C3a", **worst(u))

# %%
best_t = by_t["ppo"].mean().idxmax()
lost = by_t["ppo"][best_t] - by_t["ppo"][high_t]
half = 2.26 * lost.std(ddof=1) / np.sqrt(len(lost))
chapter.claim(
    "C3b", measured=lost.mean(), interval=(lost.mean() - half, lost.mean() + half), interval_from=over,
    evidence={"loss_reinforce": by_t["reinforce"].mean().max() - by_t["reinforce"][high_t].mean()},
    note=f"PPO is best at T = {best_t}",
)  # fmt: skip

# %% [markdown]
# ## A transformer policy: C4d
# The paper's second bandit has a small transformer (3 blocks, width 48) that writes the tokens one by one. The
# reward adds up over tokens, so a product policy is best and this mirrors the table; it tests the loop on a real
# network rather than a new effect.

# %%
four = [study.Arm(m, o) for o in (False, True) for m in ("best-of-n", "dpo")]
trans = transformer.transformer_study(
    bandits["R1"], four, seeds[: max(1, cfg.n_transformer)],
    **({} if cfg.n_transformer else dict(budget=100, inner_steps=1, fit_steps=5)),
    progress=lambda arms: chapter.progress(arms, "transformer arms"),
)  # fmt: skip
trans.pivot(index="seed", columns="method", values="reward").round(3)

# %%
wide = trans.pivot(index="seed", columns="method", values="reward")
over_bon = wide[["offline dpo", "on-policy best-of-n"]].sub(wide["offline best-of-n"], axis=0)
chapter.claim(
    "C4d", measured=over_bon.to_numpy().min(), interval=(over_bon.to_numpy().min(), over_bon.to_numpy().max()),
    interval_from=f"range over two arms and {len(wide)} seeds",
    evidence={"differences": over_bon.to_numpy().ravel().tolist(), "measured_mean": over_bon.to_numpy().mean()},
)  # fmt: skip

# %% [markdown]
# ## Lengths of real text: C9
# A prompt is the first four tokens of a clause of the King James Bible that the model never saw; a model of 0.1
# million parameters, trained on the other clauses, writes the rest and plays the part of Pythia. *Min Length*
# rewards short answers, *Mode Length* those as long as the reference's commonest; *Skew Length* is Min with
# preference data tilted to long answers. On-policy arms don't see those data: their row on Skew is that on Min. An
# answer counts its end as one token. Arms learn from the gold reward, as with a perfect reward model; two more on
# Min Length see a learned one.

# %%
course, references = lengths.length_study(
    lengths.LENGTH_ARMS + lengths.MODEL_ARMS, [7000 + 1000 * seed + i for i in range(cfg.length_seeds)],
    label_noise=label_noise, progress=lambda arms: chapter.progress(arms, "length arms"), **cfg.length,
)  # fmt: skip
course.to_csv(chapter.output("lengths.csv"), index=False)
references.groupby("problem").mean().round(2)

# %%
last = course.groupby(["problem", "method", "seed"], sort=False, as_index=False).last()
last.groupby(["problem", "method"], sort=False)[["gold", "length", "kl", "empty"]].mean().round(2)

# %% mystnb={"figure": {"caption": "Gold reward on held-out prompts. Dots: seeds (prompts, data, order); diamonds: their mean. Dotted: the reference. Zero, or minus one on Min and Skew, is the best possible.", "name": "on-policy-preferences-lengths"}, "image": {"alt": "On Min Length on-policy DPO lies near minus one and offline DPO near minus two, offline imitation near minus eight to nine; one run of REINFORCE and two of PPO are far off. On Mode Length the arms lie closer together."}}
figures.length_outcomes(last[~last.method.str.endswith("model")], references)

# %% [markdown]
# `empty` is the share of answers that are an end alone: on Min Length that is the optimum, and no KL term of this
# strength keeps the arms from it.


# %%
def length_difference(a, b, problem="min", value="length"):
    wide = lengths.by_arm(course, problem, value)
    return intervals.mean(wide[a] - wide[b])


three = [
    length_difference("on-policy dpo", "offline dpo"),
    length_difference("on-policy reinforce", "offline dpo"),
    length_difference("offline dpo", "offline pref-ft"),
]
top = max(three, key=lambda e: e.value)
chapter.claim(
    "C9a", measured=top.value, interval=top.interval, interval_from=f"95 % t interval over {cfg.length_seeds} seeds",
    evidence={"differences": [e.value for e in three], "highs": [e.high for e in three]},
    note="differences: " + ", ".join(f"{e.value:+.2f} [{e.low:+.2f}, {e.high:+.2f}]" for e in three),
)  # fmt: skip

# %%
mode = lengths.by_arm(course, "mode", "gold")
start = references[references.problem == "mode"].set_index("seed").gold
share = (mode["on-policy dpo"] - mode["offline dpo"]) / (mode["offline dpo"] - start).mean()
chapter.claim(
    "C9b", measured=abs(share.mean()), interval=(share.min(), share.max()),
    interval_from=f"range over {len(share)} seeds, with its sign",
)  # fmt: skip

# %%
least, skew = lengths.by_arm(course, "min", "length"), lengths.by_arm(course, "skew", "length")
extra = intervals.mean(skew["offline dpo"] - least["offline dpo"])  # the on-policy arm is the same on both
chapter.claim(
    "C9c", measured=extra.value, interval=extra.interval,
    interval_from=f"95 % t interval over {cfg.length_seeds} seeds",
)  # fmt: skip

# %% [markdown]
# ### With a learned reward model
# The reward model is the same network with a scalar head, trained by Bradley and Terry's likelihood on pairs of the
# reference's answers. The policies see only its score. It orders the reference's answers well (column `accuracy`
# above), but was hardly ever shown answers as short as the policies come to write, and there a higher KL buys no
# gold reward any more: the arms end longer than those with the gold reward.

# %% mystnb={"figure": {"caption": "Min Length with a learned reward model: its score (left) and the gold reward (right) along training, means over seeds.", "name": "on-policy-preferences-proxy"}, "image": {"alt": "The reward model's score against KL on the left, the gold reward on the right; the gold reward stays short of the best possible, minus one."}}
figures.over_optimisation(course, ["on-policy dpo, model", "on-policy reinforce, model"])

# %%
chapter.out_of_reach(
    "C10",
    needs="AlpacaFarm and UltraFeedback, a policy of 1 to 7 billion parameters and several GPUs; "
    "load_preferences reads an export of either, and the loop takes any causal model",
)

# %% [markdown]
# ## What stands
# On the bandits the paper's account holds by wide margins: where the peak is unlikely, fresh samples and negative
# gradients each help a lot, both together most, and where it is likely all arms come close. Three statements need a
# condition. Smaller batches are better for policy gradients, not for filtered or weighted imitation, where a small
# batch has poor maxima. Reverse KL is faster between bins that the policy visits, slower where it has to reach into
# the tail, and stands still without one. And all rewards here are bought with KL.
#
# On lengths the two DPO arms and imitation come in the paper's order. REINFORCE doesn't: without clipping, one run
# in a few runs away to the longest answers and takes C9a with it. Tuning its rate and KL weight on two more seeds
# did not stop that, and we left it so. Mode and Skew point where the paper says, too weakly for five seeds.

# %%
chapter.summary()
