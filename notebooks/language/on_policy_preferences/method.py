# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # On-policy preferences: what is the idea?
# Fine-tuning on preferences comes in three schools: imitate the good answers, follow a reward, or contrast good
# answers with bad ones. {cite:t}`tajwar2024preference` ask what makes them differ, and find two switches. This
# notebook shows both on a bandit whose every number is exact, says why they work, and ends where they break.

# %% tags=["parameters"]
profile: str = "book"  # smoke | book | full
seed: int = 0  # any integer from 0; all randomness follows from it
n_seeds = None  # type: Optional[int] runs of each arm; None takes what the profile says
peak: int = 70  # token at which the reward of R1 peaks, 0 to 99

# %% tags=["hide-input", "setup"]
try:
    import loglik  # noqa: F401
except ModuleNotFoundError:  # Colab, or a kernel without the package
    import sys

    from IPython import get_ipython

    flags = "--no-deps" if "google.colab" in sys.modules else ""
    packages = "git+https://github.com/OWNER/likelihood-reproduced@v0.1.0"
    get_ipython().run_line_magic("pip", f"install -q {flags} {packages}")
import inspect

import numpy as np
import pandas as pd
from IPython.display import Code

from loglik.chapter import Chapter
from loglik.language.on_policy_preferences import (
    PreferenceBandit,
    figures,
    fine_tune_bandit,
    study,
    tabular,
    theory,
)

chapter = Chapter("language/on_policy_preferences/method", profile=profile, seed=seed)

# %% tags=["hide-input"]
cfg = chapter.settings(
    smoke=dict(n_seeds=2, budget=400, steps=500),
    book=dict(n_seeds=5, budget=2000, steps=2000),
    full=dict(n_seeds=50, budget=2000, steps=2000),
    n_seeds=n_seeds,
)

# %% [markdown]
# ## A bandit with a known best answer
# An answer is ten tokens out of 100. The **reference** draws each from the same law, with a mode at token 16, a
# heavy tail and what lies beyond piled up at both ends. The **reward** is the mean over the tokens of a bump. In R1
# the bump sits at token 70, where the reference hardly goes; in R2 at token 20, where it goes anyway. A policy is a
# table of logits, so its expected reward and its KL divergence to the reference are exact sums.

# %%
bandits = {"R1": PreferenceBandit(peak=peak), "R2": PreferenceBandit(peak=20)}
pd.DataFrame(
    {
        name: {
            "mass within ten tokens of the peak": b.ref_logp.exp()[int(b.rewards.argmax()) - 10 :][:21]
            .sum()
            .item(),
            "reward of the reference": float(b.exact_reward(b.ref_logits)),
        }
        for name, b in bandits.items()
    }
).round(3)

# %% mystnb={"figure": {"caption": "The reference (bars, log scale) and both rewards (curves). Exact.", "name": "on-policy-preferences-bandit"}, "image": {"alt": "Bars of the reference fall from a mode near token 16 into a long tail and rise at both ends; one bell-shaped reward sits on the mode, the other in the tail."}}
figures.reference_and_rewards(bandits)

# %% [markdown]
# ## One loop, three axes
# Every method is an instance of one loop:
#
# 1. draw $B$ answers, $N$ to each prompt: from the reference once (**offline**) or from the current policy
#    (**on-policy**); label them;
# 2. take $T$ gradient steps of a loss on them (**reuse**);
# 3. repeat until the budget of $D$ labelled answers is spent.
#
# With $h(y)=\log\pi_\theta(y)-\log\pi_{ref}(y)$, the reference staying what it was at the start, the losses are
#
# $$
# \ell_{\text{Best-of-}N}=-\log\pi(y_{\arg\max r}),\qquad
# \ell_{\text{RWR}}=-e^{r(y)/\beta}\log\pi(y),
# $$ (on-policy-preferences-imitate)
#
# $$
# \ell_{\text{DPO}}=-\log\sigma\big(\beta(h(y_w)-h(y_l))\big),\qquad
# \ell_{\text{IPO}}=\big(h(y_w)-h(y_l)-\tfrac1{2\beta}\big)^2,
# $$ (on-policy-preferences-contrast)
#
# and policy gradients, $-\tfrac{r-b}{s}\log\pi(y)$ (REINFORCE) with its clipped relative (PPO). Imitation
# {eq}`on-policy-preferences-imitate` only ever raises the probability of answers. Contrasts
# {eq}`on-policy-preferences-contrast` and policy gradients with a baseline also push bad answers down: the
# **negative gradient**.

# %%
pd.DataFrame(
    [("Pref-FT, Best-of-N, RWR", "either", "no"), ("DPO, IPO", "either", "yes"),
     ("REINFORCE, PPO", "on-policy", "yes"), ("REINFORCE, rewards shifted to ≥ 0", "on-policy", "no")],
    columns=["method", "samples", "negative gradient"],
)  # fmt: skip

# %% [markdown]
# The loop as the package runs it: runs (seeds, learning rates, betas) are the leading axis of one tensor.

# %% tags=["hide-input"]
Code(inspect.getsource(tabular.fine_tune_bandit).split('"""')[2], language="python")

# %% [markdown]
# ## The smallest example
# Four arms on R1, each with the same budget and the same number of gradient steps. The slider below the picture moves
# the peak of its reward from the reference's mode into the tail.

# %%
corners = {}
for on_policy in (False, True):
    for method, beta in (("best-of-n", 1.0), ("dpo", 0.3)):
        arm = study.Arm(method, on_policy)
        setting = study.arm_config(arm, budget=cfg.budget, batch=100, inner_steps=10)
        seeds = [seed * 1000 + i for i in range(cfg.n_seeds)]
        runs = fine_tune_bandit(bandits["R1"], setting, seeds=seeds, lr=0.1, beta=beta)
        corners[arm.label] = study.history(runs, seeds).assign(bandit="R1", method=arm.label)
curves = pd.concat(corners.values())
near = bandits["R1"].ref_logp.exp()[max(0, peak - 10) : peak + 11].sum().item()
last = curves[curves.step == curves.step.max()].groupby("method", sort=False).reward
chapter.numbers(
    "on-policy-preferences-corners",
    **{"reference's mass within ten tokens of the peak": f"{near:.3f}"},
    **{
        f"final reward, {figures.pretty(str(label))}": f"{part.mean():.3f} ± {2 * part.sem():.3f}"
        for label, part in last
    },
)

# %% mystnb={"figure": {"caption": "R1, one budget of samples and gradient steps. Lines: mean exact reward over seeds; bands: 95 % t intervals. Left against gradient steps, right against the KL divergence to the reference. Solid: on-policy, dashed: offline.", "name": "on-policy-preferences-corners"}, "image": {"alt": "On-policy DPO climbs fastest to one, on-policy Best-of-N and offline DPO come second, offline Best-of-N stays near the reference. Against KL offline DPO leads."}}
figures.courses(curves, "R1", list(corners))

# %% [markdown]
# Offline imitation can't get far: among the reference's answers even the best have few good tokens. Either switch
# mends that, and both together do best. The right panel adds what the left hides: rewards are bought with KL, and
# for the same KL offline DPO is ahead.
#
# ## Why: which KL is followed
# The regularised objective of reinforcement learning is a **reverse** KL divergence to the tilted reference
# $\pi^*\propto\pi_{ref}e^{r/\beta}$,
#
# $$
# E_\pi[r]-\beta\,KL(\pi\|\pi_{ref})=-\beta\,KL(\pi\|\pi^*)+\beta\log Z,
# $$ (on-policy-preferences-lemma)
#
# while reward-weighted imitation of the reference's answers follows the **forward** one, $KL(\pi^*\|\pi)$. On
# logits both gradients are simple: $p_i-q_i$ forward, $p_i[\log(p_i/q_i)-KL]$ reverse. For two bins of equal mass
# $p$ and targets $q_1>q_2$, one step of size $\eta$ moves the log-odds by
#
# $$
# \Delta^{fwd}=\eta\,(q_1-q_2),\qquad\Delta^{rev}=\eta\,p\,\log(q_1/q_2),
# $$ (on-policy-preferences-two-bins)
#
# so reverse KL is the faster one exactly where $p$ exceeds the logarithmic mean $(q_1-q_2)/\log(q_1/q_2)$: where
# the policy has more mass than it should.

# %% mystnb={"figure": {"caption": "One gradient step on two bins of equal mass, targets 0.04 and 0.01. Exact.", "name": "on-policy-preferences-two-bin"}, "image": {"alt": "A horizontal line for forward KL and a rising line for reverse KL cross at 0.022, the logarithmic mean, which lies between the targets."}}
figures.two_bin_law()

# %% [markdown]
# ## Where it breaks
# The factor $p$ in {eq}`on-policy-preferences-two-bins` is also the price: reverse KL puts no force on bins that
# the policy doesn't visit. Cut the reference's tail to a Gaussian and put the target at token 70: exact descent
# on the reverse KL stands still while the forward KL arrives. Negative gradients and fresh samples need a reference
# that goes to the good region now and then.

# %%
tokens = np.arange(100)
settings = {}
for name, bandit in (
    ("R2: likely peak", PreferenceBandit(1, peak=20)),
    ("R1: tail at the peak", PreferenceBandit(1)),
):
    start, target = bandit.ref_logp.numpy(), bandit.tilted(0.1).exp().numpy()
    settings[name] = theory.relocations(start, target, lr=1.0, steps=cfg.steps)
cut = -(((tokens - 20) / 10) ** 2)
bump = np.exp(-(((tokens - 70) / 10) ** 2)) + 1e-300
settings["no tail (step size 10)"] = theory.relocations(cut, bump / bump.sum(), lr=10.0, steps=cfg.steps)

# %% mystnb={"figure": {"caption": "Exact gradient descent from the reference to a target. Total variation 0 is arrival. Deterministic.", "name": "on-policy-preferences-relocation"}, "image": {"alt": "Three panels. With a likely peak reverse KL falls first; with the peak in the tail forward KL is somewhat earlier; without a tail reverse KL stays at one while forward KL reaches zero."}}
figures.relocation(settings)

# %% [markdown]
# Other limits:
#
# - Labels cost nothing here; a reward model can be gamed, and the more so the further a policy goes
#   ({doc}`reproduction <reproduction>` shows it).
# - The reward adds up over tokens, so a table is as good as a transformer. Tasks in which tokens must fit each
#   other are harder for all methods.
# - At matched KL the order changes: who must stay near the reference gains less from fresh samples.

# %%
chapter.summary()
