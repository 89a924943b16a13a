# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Parent-to-child ratio: what is the idea?
# Whoever fine-tunes a language model owns two: the child and the parent it came from. Text that the child knows
# better than its parent is familiar; all other text isn't. {cite:t}`zhang2025your` need no more than that
# difference of two log-likelihoods. This notebook shows why the child's likelihood alone won't do, why the ratio
# does, and where it stops.

# %% tags=["parameters"]
profile: str = "book"  # smoke | book | full
seed: int = 0  # any integer from 0; all randomness follows from it
n_train = None  # type: Optional[int] texts to fine-tune on; None takes what the profile says
n_test = None  # type: Optional[int] test texts of a kind

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
from loglik.language import tokens
from loglik.language.base import load_base
from loglik.language.llm_ood_ratio import (
    LikelihoodRatioDetector,
    data,
    examples,
    figures,
    kl_gap,
    scores,
    tuning,
)

chapter = Chapter("language/llm_ood_ratio/method", profile=profile, seed=seed)

# %% tags=["hide-input"]
cfg = chapter.settings(
    smoke=dict(n_train=48, n_test=30, course=(0, 1, 2)),
    book=dict(n_train=300, n_test=120, course=(0, 1, 2, 4, 8, 16, 32)),
    full=dict(n_train=700, n_test=200, course=(0, 1, 2, 4, 8, 16, 32, 64)),
    n_train=n_train,
    n_test=n_test,
)
pools = data.load_pools(200)
parent, tokenizer = load_base()

# %% [markdown]
# ## A likelihood isn't familiarity
# Take the collection's small base model as parent, fine-tune it on technical mails (*ham*), and hand it verses of
# the Gospels and paragraphs by Jane Austen. Neither is anything like a mail. Yet on the left of the picture the
# child finds verses *more* likely than most mails: they are short and plain, and a mail is full of surprises. A
# likelihood mixes how familiar a text is with how complicated it is.
#
# The parent has the same bias, for the same texts. On the right it is divided out. The slider below the picture
# changes how many mails the child was fine-tuned on: with ten or forty the ratio is near chance, with all 570 its
# AUROC exceeds 0.95 for both kinds, while the likelihood gains little.

# %%
lessons = [doc.text for doc in pools["ham"].train[: cfg.n_train]]
seen = tokens.encode(tokenizer, lessons, max_len=64)
tests = {kind: [doc.text for doc in pools[kind].test[: cfg.n_test]] for kind in ("ham", "gospels", "austen")}
watch = examples.Watch(parent, tokenizer, tests, steps=cfg.course, max_len=64)
child = tuning.finetune(
    parent, seen, epochs=4, lr=1e-3, seed=chapter.random_state("order"), callbacks=[watch]
).model
detector = LikelihoodRatioDetector(parent, child, tokenizer, max_len=64)
found = {kind: detector.scores(texts) for kind, texts in tests.items()}
shown = {"LH": "AUROC of the likelihood", "LR": "AUROC of the ratio"}
chapter.numbers(
    "llm-ood-ratio-paradox",
    **{
        f"{words}, {kind}": f"{examples.auroc(found['ham'][name], found[kind][name]):.3f}"
        for name, words in shown.items()
        for kind in ("gospels", "austen")
    },
)

# %% mystnb={"figure": {"caption": "Scores of mails (known) and of two unknown kinds of text after fine-tuning on mails. Higher is flagged. Left: by the child's likelihood the verses look more familiar than mails. Right: the ratio to the parent.", "name": "llm-ood-ratio-paradox"}, "image": {"alt": "Two panels of histograms. On the left the verses lie to the left of the mails and Austen among them. On the right the mails lie below zero and both unknown kinds well above it."}}
figures.paradox(found, "ham", ("gospels", "austen"))

# %% [markdown]
# ## The score
# Let $\ell_\theta(x)=\sum_{t\ge1}\log p_\theta(x_t\mid x_{<t})$ be the log-likelihood of a text under the parent
# $\theta$, and $\ell_{\theta'}(x)$ that under the child $\theta'$. The token that begins every text is conditioned
# on and never scored. A text is flagged when
#
# $$
# \mathrm{LR}(x)=\ell_\theta(x)-\ell_{\theta'}(x)
# $$ (llm-ood-ratio-eq-lr)
#
# is large. Beside it stand $\mathrm{NLR}=\mathrm{LR}/n$ with $n$ the number of scored tokens, and the likelihoods
# $\mathrm{LH}=-\ell_{\theta'}$ and $\mathrm{NLH}=\mathrm{LH}/n$.
#
# :::{prf:algorithm} Flag unfamiliar text
# :label: llm-ood-ratio-alg
#
# **Inputs** parent, child, their tokenizer; known texts for calibration that neither was trained on; a
# false-alarm rate $\alpha$
#
# **Output** a flag for each new text
#
# 1. Encode each text once, cut at one length for both models.
# 2. Sum the log-probabilities of its tokens under both, dropout off.
# 3. Take the difference {eq}`llm-ood-ratio-eq-lr`.
# 4. Threshold: the $\lceil(N+1)(1-\alpha)\rceil$-th smallest score of the $N$ calibration texts.
# 5. Flag what exceeds it. A new known text is flagged with probability at most $\alpha$.
# :::

# %%
Code(
    inspect.getsource(scores.ratio_scores).split('"""')[0]
    + inspect.getsource(scores.ratio_scores).split('"""')[2],
    language="python",
)

# %% [markdown]
# ## Why it works
# Write $P$ for the law of known texts and $Q$ for that of unknown ones. If the parent were $Q$ and the child $P$,
# then {eq}`llm-ood-ratio-eq-lr` would be the log-likelihood ratio of Neyman and Pearson, and no score could have a
# higher AUROC. They never are. What holds always is
#
# $$
# \mathbb E_Q[\mathrm{LR}]-\mathbb E_P[\mathrm{LR}]
# =\underbrace{\mathrm{KL}(Q\Vert\theta')-\mathrm{KL}(Q\Vert\theta)}_{\text{the child got worse on } Q}
# +\underbrace{\mathrm{KL}(P\Vert\theta)-\mathrm{KL}(P\Vert\theta')}_{\text{the child got better on } P},
# $$ (llm-ood-ratio-eq-kl)
#
# because $\mathbb E_Q\log(p_\theta/p_{\theta'})$ is a difference of two divergences from $Q$ in which the
# entropy of $Q$ cancels. Fine-tuning makes the second bracket positive. The first is what the *parent's knowledge*
# buys: a parent that is bad on $Q$ has a large $\mathrm{KL}(Q\Vert\theta)$. For the likelihood alone the gap is
#
# $$
# \mathbb E_Q[\mathrm{LH}]-\mathbb E_P[\mathrm{LH}]
# =\big(H(Q)+\mathrm{KL}(Q\Vert\theta')\big)-\big(H(P)+\mathrm{KL}(P\Vert\theta')\big),
# $$ (llm-ood-ratio-eq-lh)
#
# and the entropies stay. Where unknown texts are simpler than known ones, $H(Q)<H(P)$, the sign may turn.
#
# ## The smallest example
# Markov chains over three symbols and strings of length eight, so that all 6561 strings can be enumerated. The known
# law is noisy; the unknown one nearly always takes the step that is likeliest under the known law, so the child
# finds its strings *more* likely than known ones. The child is estimated from 200 known strings. The parent is the
# unknown law itself, or *broad*, the even mixture of both laws, or *narrow*: uniform, it knows neither.

# %%
world = examples.small_world(chapter.rng("chains"))
rows = {name: world.brackets(name) for name in world.parents}
small = pd.DataFrame({name: r._asdict() for name, r in rows.items()}).T
small.assign(**{f"AUROC {k}": [world.auroc(name, k) for name in small.index] for k in ("LR", "LH")}).round(3)

# %% mystnb={"figure": {"caption": "The two brackets of the identity, exact, for three parents of the same child. Diamonds: the gap of mean scores, which they must add up to.", "name": "llm-ood-ratio-brackets"}, "image": {"alt": "Stacked bars for three parents. With the exact and the broad parent the brackets add up to a positive gap; with the narrow one the gap is negative. Diamonds sit at the ends."}}
figures.brackets(small)

# %% [markdown]
# ## The same brackets on text
# Their entropies are unknown, but the brackets are means of log-ratios, so a sample estimates them.


# %%
def on_text(kind):
    logp = [-found[k][name] for k in ("ham", kind) for name in ("LH_pre", "LH")]
    gap = kl_gap(*logp)
    return {
        "child worse on unknown": gap.ood,
        "± SE": gap.ood_se,
        "child better on known": gap.id,
        "± SE ": gap.id_se,
    }


pd.DataFrame({f"ham | {kind}": on_text(kind) for kind in ("gospels", "austen")}).T.round(1)

# %% [markdown]
# ## How much fine-tuning does it take?
# At step 0 the child *is* the parent: the ratio is zero for every text and its AUROC exactly one half. A child
# made from fresh weights would not start there. A handful of steps is enough.

# %% mystnb={"figure": {"caption": "AUROC of ratio (LR) and likelihood (LH) along the fine-tuning on mails, one run.", "name": "llm-ood-ratio-course"}, "image": {"alt": "The ratio starts at exactly one half and climbs above nine tenths within a few steps for both unknown kinds; the likelihood stays below or near one half and rises slowly."}}
figures.course(watch.table())

# %% [markdown]
# ## Where it breaks
# The parent must know what is unknown to the child. Take that away: let the unknown text be one that *neither*
# model has met. Below, mails are known and the unknown texts are other test texts with their letters shuffled
# within each word. Fine-tuning changes what the child says of such noise almost at random.

# %%
broken = {
    kind: examples.shuffle_letters(tests[kind], chapter.rng(f"noise {kind}")) for kind in ("ham", "gospels")
}
noise = {kind: detector.scores(texts) for kind, texts in broken.items()}
pd.DataFrame(
    {
        f"{kind}, shuffled": {name: examples.auroc(found["ham"][name], noise[kind][name]) for name in ("LR", "LH", "NLR", "NLH")}
        for kind in broken
    }
).round(3)  # fmt: skip

# %%
assert np.isclose(watch.table().query("step == 0 and score == 'LR'").auroc, 0.5).all()
pd.Series({"log parent on shuffled mails, nats a token": -(noise["ham"]["LH_pre"] / (noise["ham"]["LH"] / noise["ham"]["NLH"])).mean(), "on mails": -(found["ham"]["LH_pre"] / (found["ham"]["LH"] / found["ham"]["NLH"])).mean()}).round(2)  # fmt: skip

# %% [markdown]
# Shuffled text is blatantly not a mail, and the plain likelihood says so almost without error. The ratio is the weaker
# detector here, and for shuffled verses it is close to chance, because the parent is as surprised as the child. What {doc}`reproduction <reproduction>` calls a *narrow*
# parent is the same failure on real text. In practice: keep an eye on the parent's own likelihood as well, and
# distrust the ratio on text that the parent finds absurd.

# %%
chapter.summary()
