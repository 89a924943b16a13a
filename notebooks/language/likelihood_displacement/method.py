# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Likelihood displacement: what is the idea?
# Preference optimisation widens the gap between a preferred answer and another one. Nothing in its loss says that
# the preferred answer must become more likely, and often it becomes less likely: *likelihood displacement*
# {cite:p}`razin2025unintentional`. The mass has to go somewhere. This notebook shows which answers are at risk and
# where the mass goes, in a model that is small enough for exact formulas.

# %% tags=["parameters"]
profile: str = "book"  # smoke | book | full
seed: int = 0  # any integer from 0; all randomness follows from it
n_models = None  # type: Optional[int] random models a point; None takes what the profile says
angle: float = 3.0  # degrees between the unembeddings of No and Never in the first figure

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
import torch
from IPython.display import Code

from loglik.chapter import Chapter
from loglik.language.likelihood_displacement import figures, scores, theory

chapter = Chapter("language/likelihood_displacement/method", profile=profile, seed=seed)
cfg = chapter.settings(
    smoke=dict(n_models=100), book=dict(n_models=1000), full=dict(n_models=20_000), n_models=n_models
)

# %% [markdown]
# ## One prompt, answers of one word
# A model gives word $z$ the logit $\langle W_z,h\rangle$: $W_z$ is the word's unembedding, $h$ the prompt's hidden
# embedding. Train on a loss $\ell(\ln\pi(y^+)-\ln\pi(y^-))$ and let gradient flow move $W$ and $h$ freely. With
# $m=-\ell'>0$ and $\bar W=\sum_z\pi_zW_z$, every word's log-probability changes at the rate
#
# $$
# \frac{d\ln\pi(z)}{dt}=m\Big[\langle W_z-\bar W,\,W_{y^+}-W_{y^-}\rangle
# +\big(1[z{=}y^+]-1[z{=}y^-]-\pi_{y^+}+\pi_{y^-}\big)\lVert h\rVert^2\Big].
# $$ (likelihood-displacement-rate)
#
# The second term never lowers $y^+$. The first one may: if $y^+$ and $y^-$ are embedded alike, pushing $y^-$ down
# pulls $y^+$ along.
#
# Four words in two dimensions are enough. *No* is preferred over *Never*; the two lie close together, and *Never* is
# the longer one, so that their difference points at *Yes*.

# %%
words = ["No", "Never", "Maybe", "Yes"]
turn = np.deg2rad(166 - angle)  # Never points at 166 degrees
no = [1.04 * np.cos(turn), 1.04 * np.sin(turn)]
W = torch.tensor([no, [-2.0, 0.5], [0.2, 1.0], [1.2, -0.1]], dtype=torch.float64)
h = torch.tensor([-0.1, 0.2], dtype=torch.float64)
rates = theory.ufm_rates(W, h, 0, 1)
chapter.numbers(
    "likelihood-displacement-words",
    **{
        f"rate of {word}": f"{rate:+.2f}".replace("-", "−")
        for word, rate in zip(words, rates.tolist(), strict=True)
    },
)

# %% mystnb={"figure": {"caption": "Left: unembeddings of four words. Right: rates of their log-probabilities when No is preferred over Never. No error bars: the rates are exact.", "name": "likelihood-displacement-words"}, "image": {"alt": "Arrows: No and Never point almost the same way, Never twice as far, Yes the opposite way, Maybe up. Bars: Yes rises most, Maybe rises, No falls a little, Never falls most."}}
figures.four_words(words, W, rates)

# %% [markdown]
# *No* is what we asked for, and it falls; *Yes*, its opposite, rises most. Turn *No* away from *Never*, by 45 degrees
# or more, and it rises. The formula as code:

# %% tags=["hide-input"]
Code(inspect.getsource(theory.ufm_rates).split('"""')[2], language="python")

# %% [markdown]
# ## When does it happen?
# Random models of thirty words in sixteen dimensions, by the angle between the two answers and their lengths.

# %% mystnb={"figure": {"caption": "Share of random models in which preferring one answer lowers it, by the cosine between the answers' unembeddings and the ratio of their lengths. Bands: 95 % Wilson intervals.", "name": "likelihood-displacement-chances"}, "image": {"alt": "Curves near zero for small cosines that rise steeply as the cosine nears one; the shorter the preferred answer's unembedding, the more often it is displaced."}}
chances = theory.displacement_chance(
    (0.0, 0.3, 0.6, 0.8, 0.9, 0.95, 0.99), (0.7, 0.85, 1.0), cfg.n_models, rng=chapter.rng("chances")
)
figures.displacement_chances(chances)

# %% [markdown]
# ## Longer answers, and a score
# For answers of several words let $h^\pm_k$ be the embedding that predicts the $k$-th word of an answer,
# $a^\pm_k$ that word's one-hot vector minus the probabilities there, and $k^*$ the first place where the answers
# differ. The preferred answer's log-probability changes at the rate
#
# $$
# m\Big[\sum_{k,k'}\alpha^+_{kk'}\langle h^+_k,h^+_{k'}\rangle-\sum_{k,k'}\alpha^-_{kk'}\langle h^+_k,h^-_{k'}\rangle
# +\sum_k\lVert W^\top a^+_k\rVert^2-\sum_{k\le k^*}\langle W^\top a^+_k,W^\top a^-_k\rangle\Big],
# $$ (likelihood-displacement-sequence)
#
# with $\alpha^\pm_{kk'}=\langle a^+_k,a^\pm_{k'}\rangle\in[-2,2]$. Dropping weights and the terms of $W$ leaves a score
# for which a forward pass of each answer is enough, the **centred hidden embedding similarity**:
#
# $$
# \mathrm{CHES}(y^+,y^-)=\Big\langle\sum_kh^+_k,\sum_kh^-_k\Big\rangle-\Big\lVert\sum_kh^+_k\Big\rVert^2 .
# $$ (likelihood-displacement-ches)
#
# The higher, the more a pair displaces. Divided by the lengths (means in place of sums) it compares answers of
# different lengths.
#
# :::{prf:algorithm} Filtering by CHES
# :label: likelihood-displacement-alg
#
# **Input** a model, pairs $(x,y^+,y^-)$, a share $q$ to keep
#
# 1. For each pair, run the model on $(x,y^+)$ and on $(x,y^-)$ and keep the sums of the hidden embeddings from the
#    prompt's last word to the answer's last but one, after the final norm.
# 2. Score each pair by {eq}`likelihood-displacement-ches`, with means in place of sums.
# 3. Keep the $\lceil qn\rceil$ pairs of lowest score; train on them.
# :::

# %% tags=["hide-input"]
Code("".join(inspect.getsource(f) for f in (scores.ches, scores.filter_lowest)), language="python")

# %% [markdown]
# ## Where it breaks
# The formulas let the prompt's embedding move freely. In a real network it is made of weights that also make other
# words, so moving it moves them. Tie it on purpose: the prompt is one word of the same table. The formula still
# announces displacement between answers that are alike, and in truth there is next to none: the tied word's own
# pull on the preferred answer outweighs it. So the rate's sign is no forecast for a network; the *order* of pairs is
# what {doc}`reproduction <reproduction>` puts to the test.

# %%
broken = theory.wrong_signs((0.0, 0.3, 0.6, 0.8, 0.9, 0.99), cfg.n_models, rng=chapter.rng("tied"))

# %% mystnb={"figure": {"caption": "Random models whose prompt is a word of the same table: share in which the preferred answer falls by the formula (circles) and in truth (squares), and in which the two disagree (hollow triangles, dashed). Where nothing falls in truth, the first and the last are the same number and lie on one another. Bars: 95 % normal intervals.", "name": "likelihood-displacement-tied"}, "image": {"alt": "By the formula the share rises from near zero to more than nine in ten as the cosine nears one; in truth it stays near zero, so the disagreement rises as well."}}
figures.free_and_tied(broken)

# %% [markdown]
# More of the same kind:
#
# - The analysis moves embeddings freely. In a network they share weights, and an optimiser that rescales gradients
#   changes the direction: the sign of {eq}`likelihood-displacement-rate` does not predict what a full network does.
# - It is about the first step. Later, embeddings have moved.
# - CHES drops the weights $\alpha$ and all terms of $W$. Two answers of one word have CHES exactly 0, whatever the
#   rate is.
# - Sums over embeddings grow with length. Compare answers of different lengths by the normalised score.

# %%
chapter.summary()
