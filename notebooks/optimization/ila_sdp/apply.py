# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # iLA-SDP: what does it do for me?
#
# Give a table of numbers and a number of clusters; get labels, each cluster's covariance, how stable they are,
# and a word on whether the method of {cite:t}`zhuang2023likelihood` suits your data. Without a table of your
# own it runs on 150 irises.
#
# Your own file takes one line:
# ```
# papermill apply.ipynb out.ipynb -p data shops.csv -p n_clusters 4 -p truth segment
# ```

# %% tags=["parameters"]
profile: str = "book"  # smoke | book | full
seed: int = 0  # any integer from 0; all randomness follows from it
data: str = "iris"  # path of a CSV with a header, or iris, wine, breast cancer
n_clusters: int = 3  # number of clusters
features = None  # type: Optional[list[str]] columns to cluster on; None takes all numeric ones
truth = None  # type: Optional[str] column with known classes, only to score the result
n_components = None  # type: Optional[int] principal components to keep; None keeps all columns
covariance_type: str = "full"  # full, diag, spherical or tied
reg: float = 0.005  # ridge of the covariances, columns being standardised
soft_rounds: int = 8  # soft rounds before the accurate ones; 0 is the paper's method
max_rows: int = 300  # rows to cluster, a random part of a larger table whose others are assigned after
n_repeats = None  # type: Optional[int] refits of the stability check; None takes what the profile says

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
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score

from loglik.chapter import Chapter
from loglik.optimization.ila_sdp import (
    ILASDP,
    datasets,
    figures,
    load_csv,
    load_table,
    misclustering_error,
    report,
)

chapter = Chapter("optimization/ila_sdp/apply", profile=profile, seed=seed)

# %% tags=["hide-input"]
cfg = chapter.settings(
    smoke=dict(n_repeats=2, rows=60, starts=["ward"]),
    book=dict(n_repeats=6, rows=max_rows, starts=["ward", "kmeans", "sdp"]),
    full=dict(n_repeats=100, rows=max_rows, starts=["ward", "kmeans", "sdp"]),
    n_repeats=n_repeats,
)

# %% [markdown]
# ## The data
# Columns are standardised, because Ward's and K-means' starts depend on their units (the likelihood itself does
# not). Text columns are left out; a column with gaps or without variation is named.

# %%
table = load_table(data) if data in datasets.BUNDLED else load_csv(data, features, truth)
rows = datasets.prepare(table.X, n_components)
chosen = np.sort(chapter.rng("rows").permutation(len(rows))[: min(cfg.rows, len(rows))])
X = rows[chosen]
pd.Series(
    {
        "rows": len(rows),
        "rows clustered": len(X),
        "columns": table.X.shape[1],
        "dimensions": X.shape[1],
        "clusters": n_clusters,
        "rows a cluster and dimension": round(len(X) / n_clusters / X.shape[1], 1),
    },
    name="",
).to_frame().T

# %% [markdown]
# ## The fit
# The iteration runs from several starts, and the likelihood of labels and covariances, the same function for
# all of them, chooses. "Proven" says that no other labelling is likelier *for the covariances of the last
# round*; where it is not, the gap bounds by how much one could be (in −2 log-likelihood).

# %%
fit = report.fit_best(
    X,
    ILASDP(
        n_clusters, covariance_type=covariance_type, reg=reg, soft_rounds=soft_rounds, max_outer=10,
        random_state=chapter.random_state("fit"),
    ),
    cfg.starts,
)  # fmt: skip
model = fit.model
fit.starts.round(3).style.hide(axis="index").format(precision=2)

# %% mystnb={"figure": {"caption": "The rows on their first two principal axes, with each cluster's 90 % ellipse.", "name": "ila-sdp-map"}, "image": {"alt": "Scatter of the rows in clusters of different colours and markers with ellipses of different shapes."}}
axes2 = PCA(2, svd_solver="full").fit_transform(X) if X.shape[1] > 2 else X
figures.cluster_map(axes2, model.labels_, ("first principal axis", "second principal axis"))
plt.savefig(chapter.output("clusters.png"), dpi=150, bbox_inches="tight")

# %% [markdown]
# ## Do the assumptions hold?

# %%
checks = report.check_assumptions(X, model)
checks.assign(
    then=checks["then"].where(~checks["holds"], ""), holds=checks["holds"].map({True: "yes", False: "NO"})
)

# %%
failing = checks[~checks["holds"]]
if len(failing):
    print("No longer holds on these data:", "; ".join(failing["assumption"]))
else:
    print("Nothing that can be checked here fails.")

# %% mystnb={"figure": {"caption": "Squared distance of each row from its cluster's mean in the cluster's metric, sorted. Dashed: what Gaussian clusters would give.", "name": "ila-sdp-gaussian"}, "image": {"alt": "Sorted distances against chi-squared quantiles, close to the dashed diagonal with deviations at the upper end."}}
figures.gaussian_check(report.mahalanobis(X, model), X.shape[1])

# %% [markdown]
# ## Is it stable?
# Refits on random 80 % of the rows. A clustering that is there does not depend on who was sampled: agreement
# near one, and few rows that change sides.

# %%
stable = report.stability(
    X,
    model,
    cfg.n_repeats,
    chapter.rng("parts"),
    progress=lambda repeats: chapter.progress(repeats, "refits"),
)
print(
    f"agreement with the full fit: median {np.median(stable.agreement):.2f}, least {stable.agreement.min():.2f}"
)
print(f"{np.nanmean(stable.kept < 0.8):.0%} of the rows changed cluster in more than a fifth of their refits")

# %% mystnb={"figure": {"caption": "Left: refits by their agreement with the full fit. Right: rows by the share of refits in which they kept their cluster.", "name": "ila-sdp-stability"}, "image": {"alt": "Two histograms: agreement of refits with the full fit, and the share of refits in which rows kept their cluster, most near one."}}
figures.stability(stable.kept, stable.agreement)

# %% [markdown]
# ## What would others say?
# Agreement (adjusted Rand index) with other methods on the same rows and, where classes are known, every method's
# mis-clustering error. Where all agree, take the simplest.

# %%
others = report.rivals(X, model, chapter.random_state("rivals"))
board = pd.DataFrame(
    {"agreement with iLA-SDP": {m: adjusted_rand_score(model.labels_, y) for m, y in others.items()}}
)
if table.labels is not None:
    board["mis-clustering error"] = [misclustering_error(y, table.labels[chosen]) for y in others.values()]
board.to_csv(chapter.output("comparison.csv"), index_label="method")
board.round(3)

# %% [markdown]
# ## What you take away
# `labels.csv` has every row's cluster, its masses where it was clustered, and the share of refits in which it
# kept its cluster; rows beyond `max_rows` get the likeliest cluster. `covariances.csv` has each cluster's
# covariance, `clusters.png` the picture.

# %%
result = pd.DataFrame({"cluster": model.predict(rows), "clustered": False})
result.loc[chosen, "cluster"] = model.labels_
result.loc[chosen, "clustered"] = True
for k in range(n_clusters):
    result.loc[chosen, f"mass {k}"] = model.membership_[:, k]
result.loc[chosen, "kept"] = stable.kept
result.to_csv(chapter.output("labels.csv"), index_label="row")
result.head(4).round(3)

# %%
reduced = X.shape[1] < table.X.shape[1]
names = [f"component {j}" for j in range(X.shape[1])] if reduced else list(table.X.columns)
covariances = pd.concat(
    {f"cluster {k}": pd.DataFrame(S, index=names, columns=names) for k, S in enumerate(model.covariances_)}
)
covariances.to_csv(chapter.output("covariances.csv"), index_label=["cluster", "column"])
covariances.round(2)

# %% [markdown]
# In your own code:
# ```
# from loglik.optimization.ila_sdp import ILASDP
# model = ILASDP(n_clusters=3, reg=0.005, soft_rounds=8).fit(X)   # X standardised
# model.labels_, model.covariances_, model.certified_, model.predict(X_new)
# ```

# %%
chapter.summary()
