# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Mult-VAE: what is the idea?
# Give every user one probability vector over *all* items, let items compete for it, and read the user's taste off
# the clicks with a network instead of solving for it. This notebook explains the method of
# {cite:t}`liang2018variational` in one picture, four equations and the code, and ends where it breaks.

# %% tags=["parameters"]
profile: str = "book"  # smoke | book | full
seed: int = 0  # any integer from 0; all randomness follows from it
n_users = None  # type: Optional[int] users of the plane example; None takes what the profile says
sizes = None  # type: Optional[list[int]] numbers of training users in the last figure
clicks: int = 20  # median number of clicks of a user in the last figure

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
import torch
from IPython.display import Code
from scipy.special import softmax

from loglik.chapter import Chapter
from loglik.generative.vae_cf import (
    MultVAE,
    ease,
    examples,
    figures,
    log_likelihood,
    simulate_clicks,
    strong_generalization_split,
    study,
    workflow,
)

torch.set_num_threads(1)
chapter = Chapter("generative/vae_cf/method", profile=profile, seed=seed)

# %% tags=["hide-input"]
cfg = chapter.settings(
    smoke=dict(n_users=400, epochs=10, movie_epochs=3, sizes=[100, 200], n_held=100),
    book=dict(n_users=1000, epochs=60, movie_epochs=40, sizes=[100, 300, 1000, 3000], n_held=400),
    full=dict(n_users=5000, epochs=60, movie_epochs=50, sizes=[100, 300, 1000, 3000, 10_000, 30_000], n_held=2000),
    n_users=n_users,
    sizes=sizes,
)  # fmt: skip

# %% [markdown]
# ## Clicks as a budget
# Implicit feedback says what somebody took, never what they rejected. A user $u$ with $N_u$ clicks has the row
# $x_u\in\{0,1\}^I$. The paper treats it as $N_u$ draws from one distribution $\pi$ over the items:
#
# $$
# z_u\sim\mathcal N(0,I_K),\qquad \pi(z_u)=\mathrm{softmax}\,f_\theta(z_u),\qquad x_u\sim\mathrm{Mult}(N_u,\pi(z_u)),
# $$ (vae-cf-eq-model)
#
# so that, up to a constant, $\log p_\theta(x_u|z_u)=\sum_i x_{ui}\log\pi_i(z_u)$. The two usual alternatives score each
# item on its own: the **Gaussian** $-\frac12\sum_i c_{ui}(x_{ui}-f_i)^2$ with more weight $c$ on clicks (its linear case
# is the classic WMF {cite:p}`hu2008collaborative`), and the **logistic**
# $\sum_i x_{ui}\log\sigma(f_i)+(1-x_{ui})\log(1-\sigma(f_i))$.
#
# What a click does shows in the gradient. Two science-fiction clicks among six films, all scores equal to start with:

# %%
x = np.array([1.0, 1, 0, 0, 0, 0])
pushes = examples.push_of_a_click(np.zeros(6), x)
log_liks = {
    name: float(log_likelihood(torch.zeros(1, 6), torch.tensor(x[None]).float(), name, 5.0))
    for name in pushes.columns
}
pd.Series(log_liks, name="log-likelihood of this user (nats)").to_frame().T.round(2)

# %% mystnb={"figure": {"caption": "Gradient of one user's log-likelihood in each item's logit; ticks mark what was clicked. The multinomial's pushes cancel: what the clicked films gain, the others lose.", "name": "vae-cf-pushes"}, "image": {"alt": "Three bar charts over six films. The multinomial and the logistic push clicked films up and others down, the multinomial with sum zero; the Gaussian at zero pushes only the clicked films."}}
figures.pushes(pushes, examples.ITEMS, x)

# %% [markdown]
# The multinomial hands out a fixed budget, so raising one item must lower others: close to what a ranking of the top
# few is judged by. It is a *proxy* for that, no more; {doc}`reproduction <reproduction>` finds out how much it buys.
#
# ## Reading the taste off the clicks
# An **encoder** looks at the normalised clicks and answers with a Gaussian,
# $q_\phi(z|x)=\mathcal N\big(\mu_\phi(x),\mathrm{diag}\,\sigma^2_\phi(x)\big)$. Both networks maximise
#
# $$
# \mathcal L_\beta(x)=\mathbb E_{q_\phi(z|x)}\big[\log p_\theta(x|z)\big]-\beta\,\mathrm{KL}\big(q_\phi(z|x)\,\|\,\mathcal N(0,I)\big),
# $$ (vae-cf-eq-objective)
#
# $$
# \mathrm{KL}=\tfrac12\sum_k\big(\mu_k^2+\sigma_k^2-1-\log\sigma_k^2\big).
# $$ (vae-cf-eq-kl)
#
# At $\beta=1$ {eq}`vae-cf-eq-objective` is the evidence lower bound. The paper's second idea is to give that up:
# nobody draws users from the prior, so the KL term {eq}`vae-cf-eq-kl` is only a regulariser, and its strength is
# anybody's choice. The trick for choosing it: let β rise during training and stop where the ranking of validation users
# is best.
#
# ## The picture
# Put users and items on a circle; a user clicks items near by. A VAE with *two* latent dimensions has to rediscover the
# circle, and β decides how it is drawn. Colours are true angles, which the network never sees.

# %%
table, angle = examples.ring_of_tastes(cfg.n_users, seed=chapter.entropy("ring"))
ring = strong_generalization_split(table, cfg.n_users // 10, cfg.n_users // 10, seed=chapter.entropy("split"))
held = {*ring.val.users, *ring.test.users}
drawn = examples.planes(ring, (0.0, 0.2, 1.0), cfg.epochs)

# %% mystnb={"figure": {"caption": "Every training user's posterior in a two-dimensional VAE: a dot is its mean, the ellipse one standard deviation; dashed: two standard deviations of the prior. Colours: the user's true taste, an angle. One network each; the titles have rate and negative log-likelihood.", "name": "vae-cf-planes"}, "image": {"alt": "Three panels. At beta zero the users form a large ring of sharp points far outside the prior; at 0.2 a smaller ring of soft ellipses; at one they lie packed within the prior with wide ellipses. Colours run round the ring."}}
train_users = np.setdiff1d(np.arange(cfg.n_users), list(held))[: ring.train.shape[0]]
figures.latent_planes(drawn, angle[train_users])

# %% [markdown]
# Without the KL term the codes are sharp and spread without limit: an autoencoder. At β = 1 they overlap within the
# prior, and neighbours blur into one another. In between the cloud already fits the prior, at nearly the likelihood
# of β = 0.
#
# ## The algorithm
# :::{prf:algorithm} Training of Mult-VAE
# :label: vae-cf-alg
#
# **Inputs** clicks $X$ of the training users, slope $1/T$ and cap of β, validation users
#
# **Output** weights $\theta,\phi$
#
# 1. Take a batch of users; normalise each row, $x/\lVert x\rVert_2$, *then* drop half of its entries.
# 2. Encode to $\mu,\log\sigma^2$; draw $z=\mu+\sigma\odot\varepsilon$; decode to one logit an item.
# 3. Loss: mean over users of $-\mathcal L_\beta$ with $\beta=\min(\text{cap},t/T)$ at update $t$; one Adam step.
# 4. After each epoch rank the validation users' items from their fold-in clicks; keep the best weights.
#
# To predict for a *new* user: encode, take $z=\mu$, decode, bar what the user has, sort.
# :::
#
# Steps 2 and 3 of {prf:ref}`vae-cf-alg`, from the package. The input is never a dense row: the first layer sums the
# weights of the clicked items.

# %%
Code(inspect.getsource(MultVAE.terms) + "\n" + inspect.getsource(MultVAE.elbo), language="python")

# %% [markdown]
# ## The smallest example
# Films, if the optional MovieLens file is here, and numbers otherwise; the next line says which. One user, ten
# clicks; then one more.

# %%
source = workflow.read_clicks("")
films = strong_generalization_split(source.table, 80, 80, seed=chapter.entropy("films"))
recipe = study.Recipe("Mult-VAE", latent=64, epochs=cfg.movie_epochs, lr=3e-3)
model, history = study.train(recipe, films, seed)
user = int(np.argmin(np.abs(np.diff(films.test.fold_in.indptr) - 10)))
before = films.test.fold_in[user].copy()
scores = model.predict(before).numpy()[0]
likely = np.argsort(-scores)
more = int(likely[min(60, len(likely) - 1)])
after = before.tolil()
after[0, more] = 1
print(f"Data of this run: {source.name}")

# %% mystnb={"figure": {"caption": "Probability of the next click for one user, before and after one more click; the fourteen items that change most. One trained network.", "name": "vae-cf-mass"}, "image": {"alt": "A dumbbell plot of item probabilities before and after one more click; some rise, others fall."}}
name = {i: source.titles.get(item, f"item {item}") for i, item in enumerate(films.item_index)}
old, new = softmax(scores), softmax(model.predict(after.tocsr()).numpy()[0])
old[more] = new[more] = 0
moved = np.argsort(-np.abs(new - old))[:14]
moved = moved[np.argsort((new - old)[moved])]
figures.moving_mass(
    old[moved], new[moved], [name[i][:48] for i in moved], ("before", f"after {name[more][:40]}")
)

# %%
has = ", ".join(name[i] for i in before.indices)
print(f"has: {has}\nclicks: {name[more]}")

# %% [markdown]
# ## Where it breaks
# A network learns item vectors from users, so it wants many of them. EASE {cite:p}`steck2019embarrassingly`, one matrix
# inversion without a single hidden unit, wants few. Here is the same population (drawn from the paper's own model, so
# the VAE is even *right*) with more and more training users. Its updates are the same throughout, so that what changes
# is the data.

# %%
crowd = simulate_clicks(
    max(cfg.sizes) + cfg.n_held * 5 // 4, 800, median=clicks, limits=(5, 150), seed=chapter.entropy("crowd")
)
curve = examples.learning_curve(
    crowd.table, tuple(cfg.sizes),
    study.Recipe("Mult-VAE", hidden=(100,), latent=16, lr=3e-3), cfg.n_held, chapter.entropy("held"),
    progress=lambda tasks: chapter.progress(tasks, "training users"),
)  # fmt: skip
chapter.numbers(
    "vae-cf-users",
    **{
        f"lead of Mult-VAE over EASE, {users:,} users": f"{lead:+.3f}".replace("-", "−")
        for users, lead in curve.pivot(index="users", columns="method", values="ndcg")
        .eval("`Mult-VAE` - EASE")
        .items()
        if users in (min(cfg.sizes), max(cfg.sizes))
    },
)
curve.pivot_table(index="users", columns="method", values="ndcg").round(3)

# %% mystnb={"figure": {"caption": "NDCG@100 of the same held-out users as the number of training users grows; clicks simulated from the paper's model. Bars: two standard errors over users; all methods see the same ones. One network a size.", "name": "vae-cf-users"}, "image": {"alt": "Three curves against the number of training users on a log axis. With a hundred users EASE is ahead of the VAE; both climb, and the VAE is ahead from three hundred on. Popularity stays flat far below."}}
figures.learning_curves(curve)

# %% [markdown]
# With a hundred users the linear model is ahead. With more, the network's curved map from taste to clicks pays, but
# mind where: on clicks that this very model made. On real ones nobody knows the map, and
# {doc}`reproduction <reproduction>` finds EASE no worse than Mult-VAE with 650 training users of MovieLens.
#
# Two more breaches. A user *without* clicks gets the ranking of the bias, near popularity, like every other such user.
# And EASE pays for its ease with a matrix of items by items: here it has the size

# %%
B = ease(films.train, 200.0)
print(
    f"{B.shape[0]:,} × {B.shape[1]:,} numbers; the network has {sum(p.numel() for p in model.parameters()):,}"
)

# %%
chapter.summary()
