# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Outcome-invariant augmentation: what is the idea?
# Augment the treatment in ways that cannot change the outcome, and hidden confounding is diluted; treat the
# augmentation's parameters a little as if they were instruments, and it is diluted further. This notebook
# explains the method of {cite:t}`akbar2025analysis` in one picture and a few equations, and ends where it
# breaks.

# %% tags=["parameters"]
profile: str = "book"  # smoke | book | full
seed: int = 0  # any integer from 0; all randomness follows from it
n = None  # type: Optional[int] rows of a simulated sample; None takes what the profile says
n_sems = None  # type: Optional[int] random models of the last figure
alpha: float = 0.1  # the penalty of the picture

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
from threadpoolctl import threadpool_limits

from loglik.causal import outcome_invariant_augmentation as oia
from loglik.causal.outcome_invariant_augmentation import figures, linear, study
from loglik.chapter import Chapter

threadpool_limits(1)  # the matrices are small: further threads would only wait for each other
chapter = Chapter("causal/outcome_invariant_augmentation/method", profile=profile, seed=seed)

# %% tags=["hide-input"]
cfg = chapter.settings(
    smoke=dict(n=400, n_sems=3, m=8, degrees=[0, 20, 60]),
    book=dict(n=2048, n_sems=24, m=16, degrees=[0, 2, 5, 10, 15, 20, 30, 45, 60, 75, 85]),
    full=dict(n=2048, n_sems=200, m=32, degrees=[0, 1, 2, 3, 5, 7, 10, 15, 20, 30, 45, 60, 75, 85]),
    n=n,
    n_sems=n_sems,
)

# %% [markdown]
# ## The problem
# An outcome $Y$ depends on a treatment $X\in\mathbb R^m$ and on things that nobody measured,
#
# $$
# Y=f(X)+\xi,\qquad \mathbb E[\xi\mid X]\neq 0 .
# $$ (outcome-invariant-augmentation-eq-model)
#
# The last part is the trouble: a hidden **confounder** moves both $X$ and $\xi$. Regressing $Y$ on $X$ (ERM,
# empirical risk minimisation) then learns $f$ plus whatever the treatment betrays about $\xi$. The error
# that matters is that of the *effect*,
#
# $$
# \mathrm{CER}(h)=\mathbb E\big(f(X)-h(X)\big)^2,
# $$ (outcome-invariant-augmentation-eq-cer)
#
# the **causal excess risk**. It cannot be seen in held-out predictions, which reward a model for using the
# confounder.
#
# ## Augmentation as an intervention
# Often one knows changes of the treatment that leave the outcome alone: a digit stays the digit when the
# colour changes; a choice between trains and planes stays when all fares rise by the same amount. Let $G$ be
# random, drawn independently of everything, and $GX$ the changed treatment with $f(GX)=f(X)$. Then
# {eq}`outcome-invariant-augmentation-eq-model` still holds,
#
# $$
# Y=f(GX)+\xi ,
# $$ (outcome-invariant-augmentation-eq-soft)
#
# with the *same* $\xi$: as if somebody had intervened on the treatment, softly. Its correlation with $\xi$ is
# diluted, so ERM on augmented data (**DA+ERM**) has a smaller causal error.
#
# ## Instruments that aren't
# An **instrument** moves the treatment, is independent of $\xi$, touches $Y$ through the treatment only, and
# *does* change $Y$ that way. $G$ has the first three properties and lacks the last by design. IV regression
# minimises $R_{\mathrm{IV}}(h)=\mathbb E\big(Y-\mathbb E[h(GX)\mid G]\big)^2$, which on $G$ says only
# "don't react to the augmentation". That is true of $f$, and of much else, such as $h=0$. So add a little of
# the other risk:
#
# $$
# R_{\mathrm{IVL}_\alpha}(h)=R_{\mathrm{IV}}(h)+\alpha\,R_{\mathrm{DA+ERM}}(h),\qquad \alpha>0 .
# $$ (outcome-invariant-augmentation-eq-ivl)
#
# In the picture two treatments share one confounder, and $f$ does not change along the direction across the
# arrow from 0 to the star.

# %% tags=["hide-input"]
f = np.array([1.0, 0.6])
loading = np.array([-0.5, 0.95])
Sigma, b, variance = np.outer(loading, loading) + 0.6 * np.eye(2), 1.2 * loading, 1.2**2 + 0.1
Sigma_G = oia.NullSpaceTranslation(f, gamma=0.9).covariance

# %% mystnb={"figure": {"caption": "Four risks over the two coefficients (lines of equal risk) in the population. Star: the truth. ERM lands far off. Augmentation narrows the valley along f and pulls the minimiser towards it. The IV risk is a valley without a lowest point. A little of one and a little of the other, IVL, comes closest.", "name": "outcome-invariant-augmentation-risks"}, "image": {"alt": "Four contour plots. ERM's minimum lies away from the truth, that of DA+ERM nearer, the IV risk is a straight valley through the truth, and IVL's minimum lies nearest to the truth inside that valley."}}
chapter.numbers(
    "outcome-invariant-augmentation-risks",
    **{
        f"causal excess risk, {name}": float((h - f) @ Sigma @ (h - f))
        for name, h in (
            ("ERM", oia.population_estimate(Sigma, b, Sigma_G, f, "erm")),
            ("DA+ERM", oia.population_estimate(Sigma, b, Sigma_G, f, "da")),
            ("IVL", oia.population_estimate(Sigma, b, Sigma_G, f, alpha)),
        )
    },
)
figures.four_risks(f, Sigma, b, variance, Sigma_G, alpha)

# %% [markdown]
# ## What exactly is gained
# Let $f(x)=f^\top x$, $\Sigma=\mathbb E XX^\top$, $b=\mathbb E X\xi$, and let the augmentation add noise of covariance $\Sigma_G$ with
# $\Sigma_Gf=0$. Setting the gradients to zero gives everything at once:
#
# $$
# h-f=\big(\Sigma+c\,\Sigma_G\big)^{-1}b,\qquad
# c=\begin{cases}0&\text{ERM}\\1&\text{DA+ERM}\\1+1/\alpha&\text{IVL}_\alpha.\end{cases}
# $$ (outcome-invariant-augmentation-eq-population)
#
# So in the linear world IVL *is* augmentation, $\sqrt{1+1/\alpha}$ times as strong as the one that was used
# ({func}`~loglik.causal.outcome_invariant_augmentation.population_estimate`).
#
# :::{prf:theorem} Domination
# :label: outcome-invariant-augmentation-thm-domination
#
# $\mathrm{CER}$ of {eq}`outcome-invariant-augmentation-eq-population` does not rise with $c$, and falls unless $\Sigma_G\Sigma^{-1}b=0$.
# :::
#
# :::{prf:proof}
# With $u=\Sigma^{-1/2}b$ and $A=\Sigma^{-1/2}\Sigma_G\Sigma^{-1/2}\succeq0$ the risk is
# $u^\top(I+cA)^{-2}u=\sum_j u_j^2/(1+ca_j)^2$ in the eigenvectors of $A$: no term rises with $c$, and one falls unless $Au=0$.
# :::
#
# Mind the norm. {prf:ref}`outcome-invariant-augmentation-thm-domination` is about
# {eq}`outcome-invariant-augmentation-eq-cer`; the Euclidean error of the coefficients, which the paper's
# code plots, *can* rise ({doc}`reproduction <reproduction>` counts how often).
#
# ## The algorithm
# On a sample, {eq}`outcome-invariant-augmentation-eq-ivl` asks for
# $[\,GX^\top(\Pi+\alpha I)\,GX\,]\,h=GX^\top(\Pi+\alpha I)\,y$ with $\Pi$ the projection onto the columns of $G$. The
# official code builds that $n\times n$ matrix. There is no need:
#
# :::{prf:algorithm} IVL for all penalties
# :label: outcome-invariant-augmentation-alg
#
# **Inputs** centred $GX$ $(n\times m)$, $y$, parameters $G$ $(n\times k)$, penalties $\alpha_1,\dots,\alpha_A$
#
# **Output** a coefficient vector for each penalty
#
# 1. Take orthonormal bases: $GX=U\,S\,V^\top$ and $Q$ of $G$ (thin).
# 2. $Q^\top U=P\,\mathrm{diag}(\cos\theta)\,R^\top$: the $\theta_j$ are the principal angles between the two column spaces.
# 3. $b=R^\top U^\top y$ and $a=\cos\theta\cdot P^\top Q^\top y$: the outcome seen directly, and through $G$.
# 4. For each penalty $z_j=(a_j+\alpha b_j)/(\cos^2\theta_j+\alpha)$ and $h=V S^{-1}R\,z$.
# :::
#
# Steps 1 to 3 cost $O(n(m^2+k^2+mk))$ once; step 4 costs $O(m)$ a coordinate. Where $G$ does not move a
# direction, $\cos\theta_j=0$ and regression is left alone; where it moves it a lot, a small penalty trusts
# what is seen through $G$, and that is zero up to noise. Step 4 of
# {prf:ref}`outcome-invariant-augmentation-alg`, from the package:

# %%
Code(inspect.getsource(linear.CanonicalForm.solve), language="python")

# %% [markdown]
# ## The smallest example
# The paper's simulation in small: hidden confounders, an augmentation along all directions that leave
# $f^\top x$ unchanged, checked to do so, and the penalty chosen by cross-validation. **nCER** is
# $e/(e+\lVert f\rVert^2)$ with $e$ the squared error of the coefficients: 0 is the truth, 0.5 is as good as
# $h=0$, 1 is pure confounding.

# %%
sem = oia.LinearConfoundedSEM(cfg.m, seed=chapter.random_state("model"))
augment = oia.NullSpaceTranslation(sem.f, gamma=1.0)
draw = sem.sample(cfg.n, rng=chapter.rng("sample"))
oia.check_invariance(lambda X: X @ sem.f, augment, draw.X)
X_aug, G = augment(draw.X, chapter.rng("augmentation"))
search = oia.IVLSearch(selector="cv", random_state=0).fit(draw.X, draw.y, G=G, X_aug=X_aug)
coefs = {
    "ERM": oia.least_squares(draw.X, draw.y),
    "DA+ERM": oia.least_squares(X_aug, draw.y),
    "DA+IV": oia.two_stage_least_squares(X_aug, draw.y, G),
    f"IVL, α = {search.alpha_:.2g}": search.coef_,
}
pd.Series({name: float(oia.ncer(h, sem.f)) for name, h in coefs.items()}, name="nCER").round(3).to_frame().T

# %% [markdown]
# ## Where it breaks
# Everything rests on $f(GX)=f(X)$. So let us break just that: tilt every direction of the augmentation by an
# angle towards $f$. The outcome recorded for the augmented row is then wrong, and the method learns that the
# treatment does not matter.

# %%
tables = []
for degrees in cfg.degrees:
    batch = study.draw_batch(
        cfg.n_sems, cfg.n, cfg.m, tilt=np.deg2rad(degrees), seed=chapter.entropy("tilted")
    )
    fits = study.fit_closed_forms(batch.X, batch.y, batch.X_aug, batch.G, seed=chapter.entropy("draws"))
    chosen = {name: fits.coefs[name] for name in ("ERM", "DA+ERM", "IVL-CV", "IVL-CC")}
    tables.append(study.error_table(chosen, batch, degrees=degrees))
tilted = pd.concat(tables)

# %% mystnb={"figure": {"caption": "Error as the augmentation stops leaving the outcome alone. Bands: 95 % t intervals over random models; all methods and angles see the same ones.", "name": "outcome-invariant-augmentation-broken"}, "image": {"alt": "At zero degrees IVL has the lowest error, then DA+ERM, then ERM. With growing tilt the errors of IVL and DA+ERM climb, cross that of ERM near seventy degrees and end at about three quarters."}}
figures.broken(tilted)

# %%
tilted.groupby(["degrees", "method"]).error.mean().unstack().round(3)

# %% [markdown]
# Read the price from the left. Up to some ten degrees the invariance may be slightly wrong without harm. Then the
# price rises, and the harder a method leans on the invariance, the sooner it pays: IVL loses its lead over
# DA+ERM on the way. Far to the right the augmentation perturbs $f$ itself and little else. The augmented rows
# then say that the treatment can change while the outcome doesn't, so the effect is shrunk away; the confounding along
# all other directions is back; and both methods end far above ERM, IVL highest.
#
# The second limit is in {prf:ref}`outcome-invariant-augmentation-thm-domination`: confounding along
# directions that the augmentation does not move stays untouched. {doc}`apply <apply>` therefore reports what
# moved, and not that the bias is gone.

# %%
chapter.summary()
