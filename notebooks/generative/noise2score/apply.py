# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Noise2Score: what does it do for me?
# Give a noisy image; get the denoised one, the family and level of its noise, a check of everything that the method of
# {cite:t}`kim2021noisescore` rests on, and an honest comparison with denoisers that need no network. Without an image of your
# own it takes a photograph of old coins and adds noise whose level it then has to find.
#
# Your own file takes one line:
# ```
# papermill apply.ipynb out.ipynb -p data scan.tif -p own_steps 300
# ```

# %% tags=["parameters"]
profile: str = "book"  # smoke | book | full
seed: int = 0  # any integer from 0; all randomness follows from it
data: str = "coins"  # path of a PNG, TIFF, JPEG, BMP or NPY file, or a test photograph such as coins
white = None  # type: Optional[float] pixel value that means 1; None takes the range of the file's integers
family: str = "auto"  # gaussian, poisson or gamma; auto lets the image decide
level = None  # type: Optional[float] σ or ζ on the scale of [0, 1], or k; None estimates it
added_family: str = "gaussian"  # noise that a built-in photograph gets; a file of yours gets none
added_level: float = 0.1  # and its level
own_steps = None  # type: Optional[int] updates on your noisy image itself; None takes what the profile says
size = None  # type: Optional[int] pixels of a side of a built-in photograph

# %% tags=["hide-input", "setup"]
try:
    import loglik  # noqa: F401
except ModuleNotFoundError:  # Colab, or a kernel without the package
    import sys

    from IPython import get_ipython

    flags = "--no-deps" if "google.colab" in sys.modules else ""
    packages = "git+https://github.com/OWNER/likelihood-reproduced@v0.1.0"
    get_ipython().run_line_magic("pip", f"install -q {flags} {packages}")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

from loglik.chapter import Chapter
from loglik.generative.noise2score import figures, load_pretrained, noise_model, workflow

chapter = Chapter("generative/noise2score/apply", profile=profile, seed=seed)
torch.set_num_threads(1)
pd.set_option("display.max_colwidth", None)

# %% tags=["hide-input"]
cfg = chapter.settings(
    smoke=dict(own_steps=3, size=96),
    book=dict(own_steps=150, size=256),
    full=dict(own_steps=1000, size=256),
    own_steps=own_steps,
    size=size,
)

# %% [markdown]
# ## The image
# Grey (H, W) or colour (H, W, 3); a colour image is denoised channel by channel, so its channels must be noisy
# independently of each other. Give the file as it left the camera or microscope: a denoised, scaled or compressed image
# has correlated noise, and the checks below will say so.

# %%
image = workflow.read_noisy(data, added_family, added_level, chapter.rng("noise"), white=white, size=cfg.size)
image.y.shape

# %% [markdown]
# ## Which noise?
# In flat blocks the variance of the noise is told from its second differences. Against the brightness it is constant
# for Gaussian noise, proportional to it for Poisson noise (photons), to its square for Gamma noise (speckle).

# %%
guess, slope, law = workflow.likely_family(image.y)
kind = guess if family == "auto" else family
print(f"variance grows like brightness to the power {slope:.2f}: {guess}; used here: {kind}")

# %% mystnb={"figure": {"caption": "Variance of the noise in the flattest blocks against their brightness, with the laws of the three families through the middle.", "name": "noise2score-law"}, "image": {"alt": "Eight points of the image and three lines of slope 0, 1 and 2. For the coins the points follow the flat line."}}
figures.variance_law(law, slope)

# %% [markdown]
# ## The level
# The network was trained on noisy photographs over a range of levels and isn't told which; one pass gives the score,
# and every level of a grid is tried on it. The best has the least total variation (without the data terms of the official
# code, which lead astray for Poisson noise: see {doc}`reproduction <reproduction>`). If the minimum lies on the edge of the grid, the level is not identified and you have to give it.

# %%
net = load_pretrained(kind)
estimated, curve = workflow.estimate_level(net, image.y, kind)
chosen = noise_model(kind, estimated if level is None else level)
given = {kind: added_level} if image.clean is not None and kind == added_family else {}
pd.Series(
    {
        "estimated level": estimated,
        "on the scale of 255 grey values": 255 * estimated if kind == "gaussian" else np.nan,
        "identified": curve.identified,
        "without a network": workflow.classical_level(image.y, kind),
        "truth (example)": given.get(kind, np.nan),
        "used": chosen.level,
    },
    name=kind,
).to_frame()

# %% mystnb={"figure": {"caption": "The criterion against the assumed level; marker: the estimate (a cross where it is on the edge); dashed, for the example: the truth.", "name": "noise2score-level"}, "image": {"alt": "A valley with a marker at its lowest point, close to the dashed line of the true level."}}
figures.level_curves({kind: {"your image": curve}}, given)

# %% [markdown]
# ## The denoised image
# Twice: with the network as it comes, and after some updates on *your noisy image itself*. That needs no clean image, and
# adapts the network to pictures that don't look like photographs.

# %%
own = workflow.adapt(net, image.y, chosen, cfg.own_steps, seed=seed)
denoised = workflow.denoise_planes(net, image.y, chosen)
adapted = workflow.denoise_planes(own, image.y, chosen)

# %% mystnb={"figure": {"caption": "The middle 160 by 160 pixels of the noisy image, the denoised one (network as it comes), the truth where it is known, and what was taken away, stretched around grey; PSNR over the whole image. In the last there should be noise and nothing that you recognise.", "name": "noise2score-result"}, "image": {"alt": "Coins under noise, the denoised coins with clear edges, the clean photograph, and a grey field of noise with faint outlines of the coins."}}
figures.before_after(image.y, denoised, image.clean)
plt.savefig(chapter.output("before_after.png"), dpi=150, bbox_inches="tight")

# %% [markdown]
# ## Do the assumptions hold here?
# A row that does not hold says what to do instead.

# %%
checks = workflow.check_assumptions(image.y, denoised, chosen, curve, slope)
checks.assign(then=checks.then.where(~checks.holds, ""), holds=checks.holds.map({True: "yes", False: "NO"}))

# %% [markdown]
# ## Did it help?
# Every denoiser gets the same level. Where there is no clean image, SURE (Gaussian) or PURE (Poisson) estimates the PSNR
# from the noisy image alone, by looking how strongly the output follows the input. It is right on average if the noise
# is what the checks say. An error of the level shifts all its values together (3 % of σ by about a decibel here), so
# read the order and not the height. For Gamma noise there is no such estimate here.

# %%
rivals = workflow.competitors(net, chosen)
rivals["Noise2Score, adapted to this image"] = lambda y: workflow.denoise_planes(own, y, chosen)
rivals["noisy image itself"] = lambda y: y
scores = workflow.estimated_psnr(rivals, image.y, chosen, chapter.rng("probe"), image.clean)
scores.sort_values(scores.columns[0], ascending=False).round(2) if len(scores.columns) else scores

# %% [markdown]
# The estimate for the adapted network is too kind: it has seen this image's noise in training, which the formula does not
# know. Where BM3D leads, take BM3D; the network's advantage is time (the {doc}`reproduction <reproduction>` has the
# quality in detail): one pass takes a fraction of a second where BM3D takes several.
#
# ## What to take away
# `denoised.npy` has the numbers, `denoised.png` the picture, `adapted.png` that of the adapted network; `noise.csv` the
# noise model with its checks.

# %%
np.save(chapter.output("denoised.npy"), denoised)
workflow.save_image(denoised, chapter.output("denoised.png"))
workflow.save_image(adapted, chapter.output("adapted.png"))
model = pd.Series({"family": kind, "level": chosen.level, "identified": curve.identified, "slope": slope})
model.to_csv(chapter.output("noise.csv"), header=["value"], index_label="quantity")
checks.to_csv(chapter.output("checks.csv"))
model.to_frame("value").T

# %%
chapter.summary()
