# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # iLA-SDP: what is the idea?
#
# K-means wants round clusters of one size, and EM wants a good place to start. {cite:t}`zhuang2023likelihood`
# ask for neither: they write the exact likelihood of the labels without a centroid, and relax it into a convex
# programme.

# %% tags=["parameters"]
profile: str = "book"  # smoke | book | full
seed: int = 0  # any integer from 0; all randomness follows from it
n = None  # type: Optional[int] rows of the examples; None takes what the profile says
ratio: float = 4.0  # standard deviation of a cluster along its long axis, over that along the others

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
import warnings

import pandas as pd
from IPython.display import Code
from sklearn.datasets import make_moons
from sklearn.exceptions import ConvergenceWarning

from loglik.chapter import Chapter
from loglik.optimization.ila_sdp import (
    ILASDP,
    admm,
    alternation,
    baselines,
    figures,
    la_sdp,
    labelling_cost,
    misclustering_error,
    pairwise_costs,
    profile_negloglik,
    simulate,
    study,
    study_theory,
)

chapter = Chapter("optimization/ila_sdp/method", profile=profile, seed=seed)
warnings.simplefilter("ignore", ConvergenceWarning)  # where a solve is stopped early, the text says so

# %% tags=["hide-input"]
cfg = chapter.settings(
    smoke=dict(n=36, steps=10), book=dict(n=90, steps=40), full=dict(n=300, steps=100), n=n
)

# %% [markdown]
# ## The likelihood, twice
# Rows $X_1,\dots,X_n$ in $\mathbb R^p$, clusters $G_1,\dots,G_K$ with $n_k$ rows, each Gaussian with its own covariance
# $\Sigma_k$. For given labels the best centroid is the cluster's mean, and a sum of squares around a mean is a sum
# over *pairs*:
#
# $$
# \sum_{i\in G_k}\|\Sigma_k^{-1/2}(X_i-\bar X_k)\|^2=\frac1{2n_k}\sum_{i,j\in G_k}\|\Sigma_k^{-1/2}(X_i-X_j)\|^2 .
# $$ (ila-sdp-eq-pairs)
#
# So the centroids drop out. Write the labels as matrices $Z_k=n_k^{-1}1_{G_k}1_{G_k}'$ and the likelihood is *linear* in
# them:
#
# $$
# -2\log L=\sum_{k=1}^K\langle C_k,Z_k\rangle+np\log2\pi,\qquad
# (C_k)_{ij}=\log|\Sigma_k|+\tfrac12\|\Sigma_k^{-1/2}(X_i-X_j)\|^2 .
# $$ (ila-sdp-eq-lifted)
#
# The log-determinant stands in every entry, because the entries of $Z_k$ sum to $n_k$. Without it the widest cluster
# would take all rows.
#
# {eq}`ila-sdp-eq-lifted` on random labels, from pairs ({func}`~loglik.optimization.ila_sdp.pairwise_costs`) and
# from centroids ({func}`~loglik.optimization.ila_sdp.profile_negloglik`):

# %%
draw = simulate.crossing_gmm(cfg.n, chapter.rng("picture"))
costs = pairwise_costs(draw.X, draw.covariances)
some = chapter.rng("labels").permutation(draw.labels)
pd.DataFrame(
    {
        "pairs": [float(labelling_cost(costs, labels)) for labels in (draw.labels, some)],
        "centroids": [profile_negloglik(draw.X, labels, draw.covariances) for labels in (draw.labels, some)],
    },
    index=["true labels", "random labels"],
)

# %% [markdown]
# ## The relaxation
# What makes {eq}`ila-sdp-eq-lifted` hard is that $Z_k$ must come from labels. Such matrices are positive
# semidefinite, have no negative entry, have trace one, and together their rows sum to one. Keep these and forget the
# rest:
#
# $$
# \min_{Z_1,\dots,Z_K}\sum_k\langle C_k,Z_k\rangle\quad\text{s.t. } Z_k\succeq0,\quad Z_k\ge0,\quad\operatorname{tr}Z_k=1,\quad
# \Big(\sum_kZ_k\Big)1=1 .
# $$ (ila-sdp-eq-programme)
#
# This is convex: no start, no local minimum. Its optimum is never above the likelihood of any labelling, and where
# its solution happens to be integral, it *is* the maximum-likelihood labelling. With equal covariances
# {eq}`ila-sdp-eq-programme` is Peng and Wei's relaxation of K-means ("plain SDP" below).
#
# Covariances are rarely known. But any feasible $Z$ gives them, again without a centroid:
#
# $$
# \hat\Sigma_k=\frac1{n_k}X'\big(\operatorname{diag}(Z_k1)-Z_k\big)X+\rho I,\qquad n_k=1'Z_k1 .
# $$ (ila-sdp-eq-update)
#
# :::{prf:algorithm} Iterated likelihood-adjusted SDP
# :label: ila-sdp-alg
#
# **Inputs** rows $X$, number of clusters $K$, ridge $\rho$, a cheap partition (Ward's)
#
# **Output** labels, covariances, memberships
#
# 1. Covariances of the cheap partition.
# 2. Solve {eq}`ila-sdp-eq-programme`, starting the solver where it ended last time.
# 3. Covariances from the memberships by {eq}`ila-sdp-eq-update`.
# 4. Back to 2 until the covariances stand still.
# 5. Label each row by its largest mass $(Z_k1)_i$.
# :::
#
# Steps 2 and 3 from the package, for many data sets at once:

# %%
Code(inspect.getsource(alternation._Run.round), language="python")

# %% [markdown]
# ## The picture to remember
# Three thin clusters. K-means cuts the long ones and so does its semidefinite relaxation, which finds the global
# optimum of the wrong likelihood. iLA-SDP starts at Ward's partition, wrong as well, and gets out of it; the Bayes
# rule knows every parameter. Rings mark rows in the wrong cluster.

# %%
model = ILASDP(3, reg=0.01).fit(draw.X)
found = {
    "K-means": baselines.kmeans_labels(draw.X, 3, chapter.random_state("kmeans")),
    "plain SDP": study.plain_sdp_labels(draw.X[None], 3)[0],
    "iLA-SDP": model.labels_,
}
others = {"Ward (the start)": baselines.ward_labels(draw.X, 3), "Bayes rule": draw.bayes_labels()}
pd.Series(
    {name: round(misclustering_error(labels, draw.labels), 3) for name, labels in (found | others).items()},
    name="mis-clustering error",
).to_frame().T

# %% mystnb={"figure": {"caption": "Three partitions of the same rows with 90 % ellipses. Rings: rows in the wrong cluster.", "name": "ila-sdp-shapes"}, "image": {"alt": "Three elongated clusters in different directions. K-means and plain SDP give the tips of long clusters to their neighbours, ringed; iLA-SDP follows the shapes with hardly a ring."}}
figures.partitions(draw.X, found, draw.labels)

# %% [markdown]
# ## How it is solved, and a proof that comes with it
# A general conic solver needs minutes for some hundred rows. The package splits {eq}`ila-sdp-eq-programme` into three
# sets onto which projecting is easy (affine, semidefinite, nonnegative) and goes round them (ADMM). The semidefinite
# projections cost most. But once the matrices are near rank one a handful of eigenvalues is positive, and their
# vectors hardly turn from one iteration to the next: a few products with a thin matrix correct them. Every twentieth
# iteration decomposes the $K$ matrices anew, and nothing counts as converged without.
#
# At any moment the iteration also holds multipliers. From multipliers $u$ of the row sums and $N_k\ge0$ of the
# nonnegativity,
#
# $$
# 1'u+\sum_k\lambda_{\min}\big(C_k-\tfrac12(u1'+1u')-N_k\big)\;\le\;-2\log L(\text{any labels})-np\log 2\pi .
# $$ (ila-sdp-eq-bound)
#
# The left side is a number that anyone can check. When the best rounding met so far reaches it, the search is over: these
# labels are the likeliest, **proven**, and the solver stops. The affine projection and
# {eq}`ila-sdp-eq-bound` in the package:

# %%
Code(inspect.getsource(admm._normal_part) + "\n\n" + inspect.getsource(admm.dual_bound), language="python")

# %%
hard = simulate.stretched_gmm(cfg.n, 3, 3, 4.5, ratio, chapter.rng("hard"))
easy = simulate.stretched_gmm(cfg.n, 3, 3, 9.0, ratio, chapter.rng("easy"))
known = {
    name: pairwise_costs(d.X, d.covariances) for name, d in (("well separated", easy), ("overlapping", hard))
}
paths = {name: study_theory.bound_path(c, cfg.steps) for name, c in known.items()}
chapter.numbers(
    "ila-sdp-bounds",
    **{
        f"gap that stays, {name}": f"{(path['upper'] - path['lower']).iloc[-1]:.2f}"
        for name, path in paths.items()
    },
)

# %% mystnb={"figure": {"caption": "Both bounds as the solver goes on, true covariances; one data set each. The final labels are at zero.", "name": "ila-sdp-bounds"}, "image": {"alt": "Left: lower bound and rounding meet at zero after some dozen iterations. Right: the lower bound levels off below zero and a gap stays."}}
figures.bounds(paths)

# %% [markdown]
# On the right the relaxation is not tight: a gap stays, and rows between two clusters keep mass in both. The
# matrices show it. Left to right, one for each cluster:

# %% mystnb={"figure": {"caption": "Membership matrices of both data sets, rows and columns ordered by the true cluster.", "name": "ila-sdp-matrices"}, "image": {"alt": "Top line: each of three matrices has one uniform block. Bottom line: blocks with paler rows and some mass outside them."}}
solved = {name: la_sdp(c, tol=1e-4) for name, c in known.items()}
figures.memberships({name: result.Z for name, result in solved.items()}, easy.labels)

# %%
pd.DataFrame(
    {
        name: {
            "proven optimal": bool(result.certified),
            "gap at most (−2 log-likelihood)": round(float(result.labels_cost - result.lower_bound), 3),
            "iterations": int(result.n_iter),
            "rows without a mass of 0.99": int((result.masses.max(0) < 0.99).sum()),
            "mis-clustering error": misclustering_error(result.labels, easy.labels),
        }
        for name, result in solved.items()
    }
).T

# %% [markdown]
# ## Where it breaks
# The proof is about the *likelihood*. That clusters are Gaussian is an assumption, and no certificate covers it. Two
# half-moons are no Gaussians: iLA-SDP ends with labels that are close to the likeliest (the gap says how close), and
# wrong. Spectral clustering, which knows no Gaussians but follows neighbours, has little trouble.

# %%
moons, halves = make_moons(2 * cfg.n, noise=0.06, random_state=chapter.random_state("moons"))
wrong = ILASDP(2, reg=0.01).fit(moons)
moon_labels = {
    "iLA-SDP": wrong.labels_,
    "spectral": baselines.spectral_labels(moons, 2, chapter.random_state("spectral")),
}

# %% mystnb={"figure": {"caption": "Curved clusters: the likeliest Gaussian labels are wrong. Rings: rows in the wrong cluster.", "name": "ila-sdp-broken"}, "image": {"alt": "Two interleaved half-moons. iLA-SDP splits them with two ellipses that each take the tip of the other moon; spectral clustering follows the moons."}}
figures.partitions(moons, moon_labels, halves)

# %%
pd.Series(
    {
        "−2 log-likelihood": round(wrong.negloglik_, 1),
        "gap at most (−2 log-likelihood)": round(wrong.gap_, 3),
        "mis-clustering error": round(misclustering_error(wrong.labels_, halves), 3),
    },
    name="half-moons, iLA-SDP",
).to_frame()

# %% [markdown]
# A second thing breaks more quietly. Only step 2 of {prf:ref}`ila-sdp-alg` is convex; the alternation with step 3 has
# fixed points like any other. When a cluster has few rows for its dimension, the covariance of a wrong cluster
# fits that cluster so well that the programme, solved exactly, confirms it at once. {doc}`reproduction <reproduction>` measures
# how often, and finds a cure in a solver that stops early.

# %%
chapter.summary()
