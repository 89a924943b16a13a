# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Mult-VAE: what does it do for me?
# Give a table of who took what; get new items for everybody, ranked, and an honest answer whether the network of
# {cite:t}`liang2018variational` was worth it over EASE {cite:p}`steck2019embarrassingly`, a linear model that trains
# in a second. Without a table of your own it runs on MovieLens-100K {cite:p}`harper2015movielens`, or on simulated
# clicks where that optional file is missing.
#
# Your own file takes one line:
# ```
# papermill apply.ipynb out.ipynb -p data purchases.csv -p user customer -p item product
# ```

# %% tags=["parameters"]
profile: str = "book"  # smoke | book | full
seed: int = 0  # any integer from 0; all randomness follows from it
data: str = ""  # path of a CSV with a row an interaction; empty takes MovieLens or simulated clicks
user: str = "user"  # column of user ids
item: str = "item"  # column of item ids
rating = None  # type: Optional[str] column of ratings; only rows above the threshold count
threshold: float = 3.5  # ratings above it are clicks
min_user_count: int = 5  # users with fewer items are left out
n_recommend: int = 10  # items to recommend to each user
latent = None  # type: Optional[int] latent dimensions; None takes what the profile says
hidden = None  # type: Optional[list[int]] tanh layers; empty is the shallow network
epochs = None  # type: Optional[int] passes over the training users

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
from loglik.generative.vae_cf import annealed_peak, figures, strong_generalization_split, study, workflow
from loglik.generative.vae_cf.study import Recipe

torch.set_num_threads(1)
chapter = Chapter("generative/vae_cf/apply", profile=profile, seed=seed)
pd.set_option("display.max_colwidth", None)

# %% tags=["hide-input"]
cfg = chapter.settings(
    smoke=dict(latent=32, hidden=[], epochs=4, batch_size=100, lr=3e-3, n_simulated=300, wmf_grid=[(10, 5.0, 5.0)]),
    book=dict(latent=200, hidden=[], epochs=50, batch_size=100, lr=3e-3, n_simulated=1000, wmf_grid=study.WMF_GRID[::2]),
    full=dict(latent=200, hidden=[600], epochs=200, batch_size=500, lr=1e-3, n_simulated=20_000, wmf_grid=study.WMF_GRID),
    latent=latent, hidden=hidden, epochs=epochs,
)  # fmt: skip
device = str(chapter.device)

# %% [markdown]
# ## The data

# %%
source = workflow.read_clicks(data, user, item, rating, threshold, min_user_count, cfg.n_simulated)
n_users = source.table.user.nunique()
print(
    f"Data of this run: {source.name}; {n_users:,} users, {source.table.item.nunique():,} items, {len(source.table):,} clicks"
)

# %% [markdown]
# ## Do the paper's assumptions hold here?
# Mult-VAE is made for many users, enough clicks each to read a taste off, and items that enough people have. A row
# that does not hold says what to do instead.

# %%
checks = workflow.check_assumptions(source)
checks.assign(
    holds=checks.holds.map({True: "yes", False: "NO"}),
    **{"if not": checks["if not"].where(~checks.holds, "")},
)

# %% [markdown]
# ## The fit
# Some users are held out twice: one part to choose everything by, one to compare on. The paper finds β by letting it rise
# from 0 to 1 in a first run and stopping where validation NDCG@100 peaks. On few users that peak says more about when
# training has converged than about β ({doc}`reproduction <reproduction>`), so two fixed caps compete with it. EASE and
# WMF are tuned on the same validation users.

# %%
held = workflow.split_sizes(n_users)
split = strong_generalization_split(source.table, held, 2 * held, seed=chapter.entropy("split"))
common = dict(
    latent=cfg.latent, hidden=tuple(cfg.hidden), epochs=cfg.epochs, batch_size=cfg.batch_size, lr=cfg.lr
)
ramp = study.run([Recipe("ramp", beta=1.0, **common)], {0: split}, seed=seed, device=device)
caps = sorted({0.0, 0.2, round(annealed_peak(ramp.histories["ramp", 0]), 2)})
dae = Recipe("Mult-DAE", kind="dae", weight_decay=0.01 / 500, **dict(common, hidden=()))
networks = study.run(
    [dae, *(Recipe(f"β = {cap:g}", beta=cap, **common) for cap in caps)],
    {0: split}, seed=seed, device=device, progress=lambda tasks: chapter.progress(tasks, "networks"),
)  # fmt: skip
cap = max(caps, key=lambda c: networks.histories[f"β = {c:g}", 0].best_val)
pd.Series(
    {c: networks.histories[f"β = {c:g}", 0].best_val for c in caps}, name="validation NDCG@100"
).rename_axis("β")

# %%
linear, chosen = study.shallow({0: split}, seed=seed, wmf_grid=cfg.wmf_grid)
mine = networks.scores[networks.scores.method.isin(["Mult-DAE", f"β = {cap:g}"])]
scores = pd.concat([mine.replace({"method": {f"β = {cap:g}": "Mult-VAE"}}), linear], ignore_index=True)
print(f"β = {cap:g}; ridge of EASE {chosen['EASE'][0]:g}; WMF (factors, alpha, reg) {chosen['WMF']}")

# %% [markdown]
# ## Did it help?
# Every method ranks the same held-out users' items from 80 % of their clicks; the other 20 % are what it should find.
# Recall@k is over min(k, number of targets), NDCG@100 weighs early places more.

# %%
board = study.table_of(scores)
board.to_csv(chapter.output("comparison.csv"))
board.round(4)

# %%
verdicts = workflow.honest_comparison(scores, "Mult-VAE", chapter.rng("bootstrap"))
verdicts[verdicts.metric == "ndcg@100"].round(4)

# %% [markdown]
# Differences are paired by user, with 95 % bootstrap intervals. "Can't tell" means what it says: then take the
# simplest, which is EASE as long as its matrix fits into memory, and popularity if even that ties.

# %% mystnb={"figure": {"caption": "Mean of each metric over the test users, with two standard errors; grey band: Mult-VAE. Methods see the same users, so the paired table above decides.", "name": "vae-cf-apply-board"}, "image": {"alt": "Three panels of dots with error bars by method; popularity is lowest."}}
figures.scoreboard(board, "Mult-VAE")
plt.savefig(chapter.output("comparison.png"), dpi=150, bbox_inches="tight")

# %% mystnb={"figure": {"caption": "Mult-VAE minus Mult-DAE in NDCG@100 by activity of the test users. Bars: 95 % intervals over the users of a fifth. Above 0 the prior helps.", "name": "vae-cf-apply-activity"}, "image": {"alt": "Five points with error bars against the number of fold-in clicks, and a line at zero."}}
figures.activity(
    {"whom the prior helps": (study.by_activity(scores, "Mult-VAE", "Mult-DAE"), "VAE − DAE, NDCG@100")}
)

# %% [markdown]
# ## What to take away
# `recommendations.csv` has the best new items of *every* user, held out or not, from all their clicks; `score` is a
# log-probability of the next click. For somebody new, one call is enough: `model.predict(clicks)`.

# %%
model = networks.models[f"β = {cap:g}", 0]
rows, users = workflow.all_rows(split, source.table)
blocks = [
    slice(i, i + 2000) for i in range(0, len(users), 2000)
]  # a dense row an item only for so many at once
k = min(n_recommend, split.n_items)
picks = pd.concat(
    [workflow.recommend(model, rows[b], users[b], split.item_index, k, source.titles) for b in blocks]
)
picks.to_csv(chapter.output("recommendations.csv"), index=False)
picks.groupby("user").head(3).head(9).round(3)

# %% mystnb={"figure": {"caption": "Three test users: some of what they have (fold-in), and the first recommendations; a star marks one that is among their held-out clicks.", "name": "vae-cf-apply-cards"}, "image": {"alt": "Three cards with a list of items that a user has and a list of recommended items, some of them starred."}}
few = np.argsort(np.abs(np.diff(split.test.fold_in.indptr) - 40), kind="stable")[:3]
label = lambda i: source.titles.get(i, f"item {i}")[:44]  # noqa: E731
cards = {}
for u in few:
    mine = workflow.recommend(model, split.test.fold_in[u], split.test.users[[u]], split.item_index, 7)
    hidden_items = set(split.item_index[split.test.target[u].indices])
    gets = [("★ " if i in hidden_items else "   ") + label(i) for i in mine.item]
    cards[f"user {split.test.users[u]}"] = (
        [label(split.item_index[i]) for i in split.test.fold_in[u].indices[:7]],
        gets,
    )
figures.recommendation_cards(cards)

# %%
torch.save(model.state_dict(), chapter.output("mult_vae.pt"))
pd.Series(split.item_index, name="item").to_csv(chapter.output("items.csv"), index_label="column")
chapter.summary()
