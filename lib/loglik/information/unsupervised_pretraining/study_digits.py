"""Handwritten digits with few labels: mixtures, factors and contrastive features against supervised methods."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from loglik.information.unsupervised_pretraining.checks import Floats
from loglik.information.unsupervised_pretraining.datasets import Images
from loglik.information.unsupervised_pretraining.mixture import ClusterMajority
from loglik.information.unsupervised_pretraining.networks import mlp, train_contrastive

LOGISTIC, SVM, NEIGHBOUR = "logistic regression", "support vectors", "nearest neighbour"
MIXTURE, MIXTURE_30 = "mixture of 20", "mixture of 30"
FACTORS, CONTRASTIVE = "12 factors", "contrastive"
SUPERVISED = (LOGISTIC, SVM, NEIGHBOUR)


class Responsibilities(GaussianMixture):
    """scikit-learn's mixture as a transformer: responsibilities (n, K)."""

    def transform(self, X: Any) -> Any:
        """Responsibilities of rows."""
        return self.predict_proba(X)


def mixture_pipeline(K: int, components: int, random_state: int) -> Any:
    """Principal components, then a mixture of K normals with one covariance matrix."""
    return make_pipeline(
        PCA(components, random_state=random_state),
        Responsibilities(K, covariance_type="tied", n_init=3, random_state=random_state),
    )


def supervised_models() -> dict[str, list[Any]]:
    """The supervised baselines with all their settings; the study keeps the best in hindsight."""
    return {
        LOGISTIC: logistic_heads(),
        SVM: [SVC(C=C, gamma=gamma) for C in (1.0, 10.0) for gamma in (0.03, 0.1, 0.3)],
        NEIGHBOUR: [KNeighborsClassifier(1)],
    }


def logistic_heads() -> list[Any]:
    """Logistic regressions with penalties over four decades."""
    return [LogisticRegression(C=C, max_iter=500) for C in (0.1, 1.0, 10.0, 100.0)]


def shifted(X: Floats, side: int, rng: np.random.Generator) -> Floats:
    """Images (..., side²), each moved by up to one pixel in both directions; what moves in is empty."""
    frames = np.pad(X.reshape(-1, side, side), ((0, 0), (1, 1), (1, 1)))
    down, right = rng.integers(3, size=(2, len(frames)))
    rows = down[:, None, None] + np.arange(side)[:, None]
    columns = right[:, None, None] + np.arange(side)
    return np.asarray(frames[np.arange(len(frames))[:, None, None], rows, columns].reshape(X.shape))


def shifted_pairs(X: Floats, side: int, m: int, rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """M pairs of moved images, t = 1 for two views of one image and 0 for two images."""
    first, second = rng.integers(len(X), size=(2, m))
    t = (rng.random(m) < 0.5).astype(float)
    second = np.where(t == 1, first, second)
    return shifted(X[first], side, rng), shifted(X[second], side, rng), t


def contrastive_features(
    pools: Floats,
    side: int,
    m: int,
    steps: int,
    rng: np.random.Generator,
    progress: Callable[..., Any] = iter,
) -> Callable[[Floats], Floats]:
    """A network of 64–128–16 (for digits) for each pool (splits, rows, side²), trained side by side."""
    generator = torch.Generator().manual_seed(int(rng.integers(2**31 - 1)))
    drawn = [shifted_pairs(pool, side, m, rng) for pool in pools]
    X, X_pair, t = (np.stack(part) for part in zip(*drawn, strict=True))
    modules = [mlp((side * side, 128, 16), generator) for _ in pools]
    return train_contrastive(
        modules, X, X_pair, t, steps=steps, batch_size=256, learning_rate=3e-3, generator=generator,
        progress=progress,
    )[0]  # fmt: skip


def digits_study(
    images: Images,
    ns: Sequence[int],
    splits: int,
    rng: np.random.Generator,
    *,
    test_rows: int = 500,
    pairs: int = 10_000,
    steps: int = 500,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> pd.DataFrame:
    """Test accuracy by split, n and method.

    In each split the images that are not test images are the pool: all of them are seen without labels,
    and n of them with. Labelled sets are nested in n. Penalties and widths are the best in hindsight, by mean
    test accuracy at each n: with 20 labels no method can choose them itself, and the choice is kind to the
    baselines, which have more of them.
    """
    orders = np.array([rng.permutation(len(images.X)) for _ in range(splits)])
    pools, tests = orders[:, test_rows:], orders[:, :test_rows]
    learnt = contrastive_features(images.X[pools], images.side, pairs, steps, rng)
    features = learnt(images.X[orders])  # (splits, rows, 16), in each split's order
    rows = []
    for split in progress(range(splits)):
        pool, test = pools[split], tests[split]
        seed = int(rng.integers(2**31 - 1))
        table = _representations(images, pool, test, seed)
        table[CONTRASTIVE] = features[split][test_rows:], features[split][:test_rows]
        for n in ns:
            rows += [(split, n, *score) for score in _scores(images, table, pool[:n], test)]
    return best_in_hindsight(pd.DataFrame(rows, columns=["split", "n", "method", "setting", "accuracy"]))


def best_in_hindsight(table: pd.DataFrame) -> pd.DataFrame:
    """For every n and method, the rows of the setting with the best mean accuracy."""
    means = table.groupby(["n", "method", "setting"])["accuracy"].mean()
    best = means.groupby(["n", "method"]).idxmax()
    keep = pd.MultiIndex.from_tuples(best.tolist(), names=means.index.names)
    chosen = table.set_index(["n", "method", "setting"]).loc[keep].reset_index()
    return chosen[["split", "n", "method", "accuracy"]]


def _representations(images: Images, pool: Any, test: Any, seed: int) -> dict[str, tuple[Floats, Floats]]:
    """What each pretrainer, fitted on the pool, makes of the pool and of the test images."""
    pretrainers = {
        MIXTURE: mixture_pipeline(20, 20, seed),
        MIXTURE_30: mixture_pipeline(30, 20, seed),
        FACTORS: FactorAnalysis(12, random_state=seed),
    }
    fitted = {name: model.fit(images.X[pool]) for name, model in pretrainers.items()}
    return {
        name: (model.transform(images.X[pool]), model.transform(images.X[test]))
        for name, model in fitted.items()
    }


def _scores(
    images: Images, table: dict[str, tuple[Floats, Floats]], labelled: Any, test: Any
) -> list[tuple[str, int, float]]:
    """Test accuracy of every method and setting from the labelled rows, the first of the pool."""
    y, truth, n = images.y[labelled], images.y[test], len(labelled)
    jobs = [
        (name, at, model, images.X[labelled], images.X[test])
        for name, models in supervised_models().items()
        for at, model in enumerate(models)
    ]
    for name, (train, held) in table.items():
        heads = [ClusterMajority(soft=True)] if "mixture" in name else logistic_heads()
        jobs += [(name, at, head, train[:n], held) for at, head in enumerate(heads)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return [
            (name, at, float((model.fit(X, y).predict(held) == truth).mean()))
            for name, at, model, X, held in jobs
        ]
