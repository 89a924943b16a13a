# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Generative marginalization models: what is the idea?
# Ask a network for the probability of *part* of an object and get it in one pass, instead of multiplying one
# conditional for each part. The method of {cite:t}`liu2024generative` in one picture, four equations and the code.

# %% tags=["parameters"]
profile: str = "book"  # smoke | book | full
seed: int = 0  # any integer from 0; all randomness follows from it
steps = None  # type: Optional[int] training steps of the smallest example; None takes what the profile says

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

import pandas as pd
import torch
from IPython.display import Code

from loglik.chapter import Chapter
from loglik.generative.marginalization_models import (
    TableModel,
    energy,
    figures,
    mle,
    study,
)

chapter = Chapter("generative/marginalization_models/method", profile=profile, seed=seed)
torch.set_num_threads(1)

# %% tags=["hide-input"]
cfg = chapter.settings(
    smoke=dict(steps=20, alphas=(4.0,), n_eval=100),
    book=dict(steps=500, alphas=(0.05, 4.0, 100.0), n_eval=2000),
    full=dict(steps=5000, alphas=(0.05, 0.5, 4.0, 20.0, 100.0), n_eval=20_000),
    steps=steps,
)

# %% [markdown]
# ## What a marginal costs
# Let $x\in\{1,\dots,K\}^D$ be a word, an image, a table row. Write $x_S$ for the part on a set of variables $S$; the
# rest is unknown and written "?". An autoregressive model that was trained for all orders knows any
# conditional $p_\phi(x_j\mid x_S)$, and the probability of a part follows by the chain rule: $|S|$ passes
# through the network. A **marginalization model** has a second network that returns
#
# $$
# \log p_\theta(x_S),\qquad S\subseteq\{1,\dots,D\},
# $$ (marginalization-models-eq-marginal)
#
# in one pass. The trouble: nothing in {eq}`marginalization-models-eq-marginal` keeps such numbers from contradicting each other. With
# three spins there are 27 partial states, and the probability of each must be the sum of those it splits into.

# %% mystnb={"figure": {"caption": "All 27 partial states of three spins with their probabilities, from a joint distribution in which neighbours like to agree. An edge reveals one spin; its width is the conditional probability. Consistency: along every edge, left times conditional is right.", "name": "marginalization-models-lattice"}, "image": {"alt": "Four columns of labelled boxes, from three question marks with probability one to eight complete states, joined by edges of different widths."}}
spins = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3)
weight = torch.exp(0.6 * (spins[:, 0] * spins[:, 1] + spins[:, 1] * spins[:, 2]) + 0.2 * spins.sum(1))
table = TableModel((weight / weight.sum()).view(2, 2, 2))
states = torch.cartesian_prod(*[torch.arange(3)] * 3)
log_p = table.log_marginal(states).detach().numpy()
lattice = pd.DataFrame({"state": [tuple(s) for s in states.tolist()], "log_p": log_p})
figures.lattice(lattice.assign(known=(states != 0).sum(1).numpy()))

# %% [markdown]
# ## The one-step condition
# Let $\sigma$ be an order of the variables and $x_{\sigma(<d)}$ the part that is known before step $d$. Then
#
# $$
# \log p_\theta(x_{\sigma(<d)})+\log p_\phi(x_{\sigma(d)}\mid x_{\sigma(<d)})=\log p_\theta(x_{\sigma(\le d)})
# \quad\text{for all }\sigma,d,x
# $$ (marginalization-models-eq-consistency)
#
# holds if and only if all marginals agree under summation: exponentiate, sum over $x_{\sigma(d)}$, and the
# conditionals, which sum to one by their softmax, drop out. So it is enough to draw $\sigma$, $d$ and $x$ at random and
# to square the difference of both sides: two passes of one network and one of the other, whatever $D$ is.

# %%
Code(inspect.getsource(mle.consistency_loss), language="python")

# %% [markdown]
# The last term holds $\log p_\theta(\emptyset)$ at a constant $c$, the log of the number of configurations: it
# fixes the scale, and everything is compared after subtracting it. Our networks add their output to the
# log-probability of independent variables; the released code starts from zero instead.
#
# ## Two ways to train
# **From data**: fit $p_\phi$ with the loss of an any-order autoregressive model, freeze it, and make
# $p_\theta$ agree with it by {eq}`marginalization-models-eq-consistency`. The autoregressive model stays what it was; marginals get fast.
#
# **From an energy**: given only $\log f=\log p+\log Z$, minimise
#
# $$
# \mathrm{KL}(p_\theta\,\|\,p)+\alpha\,D\,\mathbb E\big[r_{\sigma,d}(x)^2\big]+\alpha\,(\log p_\theta(\emptyset)-c)^2
# $$ (marginalization-models-eq-energy)
#
# with $r$ the difference of both sides of {eq}`marginalization-models-eq-consistency`. Its first gradient is
#
# $$
# \nabla\,\mathrm{KL}=\mathbb E_{x\sim p_\theta}\big[(\log p_\theta(x)-\log f(x)-b)\,\nabla\log p_\theta(x)\big]
# $$ (marginalization-models-eq-gradient)
#
# for any constant $b$, because $\mathbb E\,\nabla\log p_\theta=0$. An autoregressive model needs $D$ passes, forward
# and backward, for $\log p(x)$ in {eq}`marginalization-models-eq-gradient`. Here it is one.
#
# :::{prf:algorithm} A step of energy-based training
# :label: marginalization-models-alg
#
# **Inputs** $\log f$, persistent samples $x$, weight $\alpha$, number of moves $G$
#
# 1. Draw an order $\sigma$ for each sample; erase its last $G$ variables and draw them again by $p_\phi$.
# 2. $a=\log p_\theta(x)-\log f(x)$, standardised over the batch, without gradient.
# 3. Draw $d$ uniformly from $1,\dots,D$ for each sample; $r$ is the difference in {eq}`marginalization-models-eq-consistency`.
# 4. Minimise $\overline{a\log p_\theta(x)}+\alpha\,(D\,\overline{r^2}+(\log p_\theta(\emptyset)-c)^2)$ by one step of Adam.
# 5. Now and then, draw all samples afresh.
# :::
#
# Steps 2 to 4 of {prf:ref}`marginalization-models-alg`, as in the package:

# %%
Code(inspect.getsource(energy.advantage) + "\n\n" + inspect.getsource(energy.mam_loss), language="python")

# %% [markdown]
# ## The smallest example
# Nine spins on a 3×3 torus that prefer to agree. The target has 512 states, so every marginal can be computed
# exactly and compared. We train with weak, usual and strong consistency.

# %%
runs, panels = [], {}
for weight_of in chapter.progress(cfg.alphas, "consistency weights"):
    model, row, _ = study.ising_run(
        3, "mam", cfg.steps, seed=seed, alpha=weight_of, lr=2e-3, hidden=64, layers=2, n_eval=cfg.n_eval
    )
    subsets = study.subset_marginals(model, 3, 200, sigma=0.1, bias=0.2, seed=seed)
    panels[f"α = {weight_of:g}"] = (subsets.exact, subsets.model)
    error = float(((subsets.model - subsets.exact) ** 2).mean() ** 0.5)
    runs.append({"α": weight_of, "KL (nats)": row["kl"], "± se": row["se"], "RMSE of log-marginals": error})
chapter.numbers(
    "marginalization-models-alpha",
    **{
        "error at α = " + ", ".join(f"{run['α']:g}" for run in runs): (
            ", ".join(f"{run['RMSE of log-marginals']:.2f}" for run in runs) + " nats"
        )
    },
)
pd.DataFrame(runs).round(3)

# %% mystnb={"figure": {"caption": "Log-marginals of 200 random subsets of the 3×3 torus: one pass against the exact value, for three weights of the consistency loss. Grey: equality.", "name": "marginalization-models-alpha"}, "image": {"alt": "Three panels of points about the diagonal; how closely they keep to it depends on the weight."}}
figures.agreement(panels, "exact log-marginal (nats)", "one pass (nats)")

# %% [markdown]
# Samples come from $p_\phi$, but the weight in {eq}`marginalization-models-eq-gradient` uses $p_\theta$: the KL gradient is only as good
# as the consistency. A small $\alpha$ lets the two drift apart, a large one leaves little for the KL.
#
# ## Where it breaks
# - **Small D.** An exact autoregressive gradient costs $D$ passes and is unbiased; with a few dozen variables it is
#   often the better use of a minute ({doc}`reproduction <reproduction>`).
# - **Loose consistency.** The numbers are probabilities only as far as {eq}`marginalization-models-eq-consistency` holds. Nothing
#   warns at a subset of a size that training never saw: draw $d$ from all of $1,\dots,D$.
# - **Several modes.** A persistent chain that moves a few variables stays in its mode (σ above 0.22 without field);
#   samples must be refreshed, and the KL in this direction does not notice a mode that was lost.
# - **Unnormalised outputs.** Compare $\log p_\theta(x_S)-\log p_\theta(\emptyset)$, never the raw output.

# %%
chapter.summary()
