# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Noise2Score: what is the idea?
# To denoise an image, no clean image is needed: the noisy ones know their own density, and the slope of its logarithm
# says where the clean image lies. This notebook explains the method of {cite:t}`kim2021noisescore` in five equations,
# in one dimension where everything can be checked, then on a photograph, and ends where it breaks.

# %% tags=["parameters"]
profile: str = "book"  # smoke | book | full
seed: int = 0  # any integer from 0; all randomness follows from it
steps_1d = None  # type: Optional[int] training steps in one dimension; None takes what the profile says
steps = None  # type: Optional[int] training steps of the image network
variance: float = 1.0  # of the noise of the first figure, in units of what its titles say at 1

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

from loglik.chapter import Chapter
from loglik.generative.noise2score import (
    GammaNoise,
    GaussianNoise,
    PoissonNoise,
    ardae_loss,
    denoise,
    figures,
    inference,
    load_pretrained,
    onedim,
    pretrained,
    study,
    train_score,
    training,
)

chapter = Chapter("generative/noise2score/method", profile=profile, seed=seed)
torch.set_num_threads(1)

# %% tags=["hide-input"]
cfg = chapter.settings(
    smoke=dict(steps_1d=30, steps=10, sigmas=(0.05, 0.2), n_train=3),
    book=dict(steps_1d=800, steps=300, sigmas=(0.03, 0.05, 0.1, 0.2), n_train=None),
    full=dict(steps_1d=10_000, steps=6000, sigmas=(0.02, 0.03, 0.05, 0.1, 0.2), n_train=None),
    steps_1d=steps_1d,
    steps=steps,
)

# %% [markdown]
# ## A formula from 1956
# A clean pixel $x$ comes from a law that nobody knows, and noise makes a $y$ of it. For noise of the exponential family
#
# $$
# p(y\mid\eta)=b(y)\,e^{\eta y-\varphi(\eta)},\qquad \eta=\eta(x),
# $$ (noise2score-eq-family)
#
# the density of the noisy pixel is $p(y)=b(y)\int e^{\eta y-\varphi(\eta)}\,d\pi(\eta)$. Take the logarithm and its
# derivative: under the integral $e^{\eta y}$ gives a factor $\eta$, so
#
# $$
# \mathbb E[\eta\mid y]=\underbrace{\nabla\log p(y)}_{\text{score}}-\nabla\log b(y).
# $$ (noise2score-eq-tweedie)
#
# That is **Tweedie's formula**. The prior $\pi$ has gone: what is left is the *score* of the noisy law, and noisy
# pixels can be had. Three kinds of noise, with $\ell'$ for the score at the noisy value:
#
# | noise | $y$ | $\eta$ | estimate of $x$ |
# |---|---|---|---|
# | Gaussian, $\sigma$ | $x+\sigma\varepsilon$ | $x/\sigma^2$ | $y+\sigma^2\ell'(y)$ |
# | Poisson, $\zeta$ | $\zeta z$, $z\sim$ Poisson$(x/\zeta)$ | $\log(x/\zeta)$ | $(y+\zeta/2)\,e^{\ell'(z)}$ |
# | Gamma, $k$ | $x g$, $g\sim$ Gamma$(k,1/k)$ | $-k/x$ | $ky\,/\,((k-1)-y\,\ell'(y))$ |
#
# ## One dimension, no network
# A prior with three bumps (dark, middle, bright pixels); densities, scores and posterior means by quadrature. In the
# upper row the estimate lies on the posterior mean. The lower row magnifies what is left: nothing for Gaussian noise. For
# the other two the formula gives the mean of *another* parameter, $\log x$ or $1/x$, and undoing the logarithm or the
# reciprocal of a mean falls below the mean of $x$ (Jensen's inequality). For Poisson noise $\log(z+\frac12)$ in the
# place of $\psi(z+1)$ adds a little.

# %%
prior = onedim.mixture_prior()
spread, zeta, k = 0.1 * variance**0.5, 0.05 * variance, 50.0 / variance
noises = {
    f"Gaussian, σ = {spread:.2g}": (GaussianNoise(spread), np.linspace(-2 * spread, 1.05 + 2 * spread, 300)),
    f"Poisson, ζ = {zeta:.2g}": (PoissonNoise(zeta), zeta * np.arange(round(1.25 / zeta) + 1)),
    f"Gamma, k = {k:.3g}": (GammaNoise(k), np.linspace(0.08, 1.25, 300)),
}
truths = {title: onedim.exact(prior, noise, y) for title, (noise, y) in noises.items()}
cases = {
    title: (truths[title], noise.estimate(y, truths[title].score)) for title, (noise, y) in noises.items()
}
chapter.numbers(
    "noise2score-tweedie",
    **{
        f"furthest below the posterior mean, {title}": f"{(truth.mean - estimate).max():.4f}"
        for title, (truth, estimate) in cases.items()
    },
)

# %% mystnb={"figure": {"caption": "Above: posterior mean of x given the noisy value, Tweedie's estimate from the exact score, and the noisy value itself; shaded: density of the noisy values. Below: estimate minus posterior mean, times 100. No randomness.", "name": "noise2score-tweedie"}, "image": {"alt": "Three panels. In each the blue estimate lies on the grey posterior mean, a staircase that pulls noisy values to three bumps. The gap below is zero for Gaussian noise and slightly negative for Poisson and Gamma noise, most between the bumps."}}
figures.tweedie_panels(cases)

# %% [markdown]
# ## Learning the score
# Add a little noise of your own to noisy data, $\tilde y=y+\sigma_a u$ with $u\sim N(0,I)$, and let a network $R$ guess it
# (AR-DAE, a residual denoising autoencoder):
#
# $$
# \min_R\ \mathbb E\,\lVert u+\sigma_a R(y+\sigma_a u)\rVert^2 .
# $$ (noise2score-eq-ardae)
#
# The best guess of $u$ is $\mathbb E[u\mid\tilde y]$, so the minimiser is $R(\tilde y)=-\mathbb E[u\mid\tilde y]/\sigma_a$,
# and by {eq}`noise2score-eq-tweedie` for *our* noise that is exactly
#
# $$
# R(\tilde y)=\nabla\log p_{\sigma_a}(\tilde y),\qquad p_{\sigma_a}=p_Y * N(0,\sigma_a^2 I).
# $$ (noise2score-eq-optimum)
#
# As $\sigma_a\to0$ that becomes the score we want. The loss {eq}`noise2score-eq-ardae` knows nothing of the noise in $y$,
# and no clean pixel enters it. The whole of it:

# %%
Code(inspect.getsource(ardae_loss), language="python")

# %% [markdown]
# Here are small networks on the Gaussian case, three seeds for each $\sigma_a$. A large $\sigma_a$ is learnt well, and is
# the wrong score (too flat). A small one is the right score, learnt from gradients of variance $1/\sigma_a^2$.

# %%
ladder = [onedim.ardae(s) for s in cfg.sigmas]
learned = onedim.train_scores(
    prior, 0.1, ladder, 3, steps=cfg.steps_1d, batch=256, hidden=32, lr=1e-2, seed=chapter.random_state("1d")
)
points = np.linspace(-0.25, 1.3, 200)
smooth = [onedim.smoothed(prior, 0.1, s, points) for s in cfg.sigmas]

# %% mystnb={"figure": {"caption": "Learned scores (blue, three training seeds) beside the exact score of the data with the added noise (grey) and without it (dashed). Data: the three bumps with Gaussian noise of 0.1.", "name": "noise2score-learned"}, "image": {"alt": "Panels for growing added noise. The blue curves lie on the grey ones; with small added noise both follow the dashed wave of the true score, with large added noise they are nearly a straight line."}}
figures.learned_scores(
    points, cfg.sigmas, learned(points), smooth, onedim.exact(prior, GaussianNoise(0.1), points)
)

# %% [markdown]
# ## The algorithm
# :::{prf:algorithm} Noise2Score
# :label: noise2score-alg
#
# **Inputs** noisy images, the family of their noise; for the last two steps one noisy image $y$, the level or a grid
#
# **Output** the denoised image
#
# 1. Take a batch of noisy patches (turned and flipped at random); $\sigma_a$ from a schedule that falls from the order
#    of the noise to a fraction of it.
# 2. Draw $u\sim N(0,I)$; one step of Adam on {eq}`noise2score-eq-ardae`. Repeat 1 and 2.
# 3. For the image to denoise: $s=R(y)$, **without** added noise, one pass.
# 4. Level known: put $s$ into the row of the family. Level unknown: try every level of a grid on the same $s$ and take
#    the one whose estimate has the least total variation (plus a data term for Poisson and Gamma).
# :::
#
# Steps 3 and 4 of {prf:ref}`noise2score-alg` in the package; `noise.unit` is $\zeta$ for Poisson noise, because that
# score is meant with respect to the count $z$ and the network sees $\zeta z$:

# %%
Code(inspect.getsource(inference.score) + "\n\n" + inspect.getsource(denoise), language="python")

# %% [markdown]
# ## The smallest example
# A few hundred steps on fourteen noisy photographs and textures, then a photograph that the network never saw. The network
# has 39,000 weights; the clean image serves for the numbers above the pictures and for nothing else.

# %%
noise = GaussianNoise(25 / 255)
scene = study.make_scene(noise, chapter.entropy("scene"), n_train=cfg.n_train)
net = study.make_net("score", seed=seed)
train_score(net, scene.noisy, noise, steps=cfg.steps, lr=3e-3, seed=seed, precision=training.fast_precision())
clean, y = scene.test["camera"], scene.test_noisy["camera"]

# %% [markdown]
# Beside it the same network after ten times as many steps: a run made once, whose weights come with the package.

# %%
longer = load_pretrained("gaussian", "Noise2Score")
pictures = {
    "noisy": y,
    f"{cfg.steps} steps": denoise(net, y, noise),
    f"{pretrained.STEPS} steps": denoise(longer, y, noise),
}

# %% mystnb={"figure": {"caption": "A held-out photograph (crop), with Gaussian noise of 25 grey values, and denoised by Noise2Score trained for two budgets on noisy images alone. PSNR over the whole 256 by 256 image.", "name": "noise2score-camera"}, "image": {"alt": "Four crops of the cameraman: clean, noisy, and two denoised ones in which the man and his camera are visible again, the second smoother."}}
figures.gallery(clean, pictures, (slice(0, 128), slice(0, 128)))

# %% [markdown]
# ## Where it breaks
# **The level enters at the end, squared.** The network's score is the same whatever level you claim, so a wrong $\sigma$ is
# a wrong step along it: too short leaves noise, too long turns edges inside out.
#
# **The noise must be independent from pixel to pixel.** Demosaicing, scaling and compression spread the noise of a pixel
# over its neighbours. Below, the same photograph with noise of the same standard deviation, once white and once blurred by
# half a pixel and more. The formula for correlated noise needs the covariance, $x\approx y+\Sigma\,\ell'(y)$, and a network that
# was trained on it.


# %%
def blurred_noise(width, rng):
    """Noise of the scene's standard deviation, correlated over `width` pixels."""
    from scipy.ndimage import gaussian_filter

    raw = (
        gaussian_filter(rng.standard_normal(clean.shape), width)
        if width
        else rng.standard_normal(clean.shape)
    )
    return clean + noise.sigma * raw / raw.std()


assumed = np.linspace(5, 50, 19) / 255
curves = {}
for width in (0, 0.5, 0.8):
    bad = blurred_noise(width, chapter.rng("broken"))
    slope = inference.network_output(longer, bad)
    name = f"blurred over {width} pixels" if width else "independent noise"
    curves[name] = np.array([inference.psnr(clean, bad + s**2 * slope) for s in assumed])

# %% mystnb={"figure": {"caption": "PSNR on the photograph against the level that is put into the formula, for white noise and for blurred noise of the same standard deviation (line: the true level, 25). One image, one draw of the noise.", "name": "noise2score-broken"}, "image": {"alt": "For independent noise PSNR peaks near the true level and falls on both sides. For blurred noise the peaks are lower, by more than one and more than four decibels."}}
figures.assumed_level(assumed, curves, noise.sigma)

# %%
pd.DataFrame(
    {name: {"noisy": curve[0], "best level": curve.max(), "true level": curve[np.abs(assumed - noise.sigma).argmin()]} for name, curve in curves.items()}
).round(2).rename_axis(index="PSNR, dB (noisy: at σ = 5/255)")  # fmt: skip

# %% [markdown]
# A third weakness doesn't show in a picture: one score is learnt for *all* the noise, and where the noise is much weaker
# than $\sigma_a$ (dark pixels under Gamma noise) the smoothed score of {eq}`noise2score-eq-optimum` is not the score any
# more. {doc}`reproduction <reproduction>` measures what that costs against a network that has seen clean images;
# {doc}`apply <apply>` tests both weaknesses on your image before you trust the result.

# %%
chapter.summary()
