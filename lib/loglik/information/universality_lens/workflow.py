"""The mixture learner on a reader's own table: reading it, comparing honestly, checking what the theory assumes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import logit, xlogy
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import StratifiedShuffleSplit

from loglik.information.universality_lens.checks import Floats
from loglik.information.universality_lens.classifier import SGLDMixtureClassifier
from loglik.information.universality_lens.datasets import load_inputs
from loglik.information.universality_lens.langevin import (
    decaying_steps,
    normal_prior_grad,
    sgld,
    sgld_predict,
)
from loglik.information.universality_lens.learners import fit_networks
from loglik.information.universality_lens.network import TanhNetwork
from loglik.information.universality_lens.study_networks import (
    ENSEMBLE,
    FLOOR,
    MAP,
    MIXTURE,
    MLE,
    SINGLE,
    step_for,
)
from loglik.information.universality_lens.tempered import TemperedEnergy, beta_ladder, tempered_energy
from loglik.stats import intervals

LOGISTIC, CONSTANT = "logistic regression, CV", "constant"


class Table(NamedTuple):
    """A reader's data."""

    X: pd.DataFrame  # (n, p) numbers
    y: NDArray[np.int64]  # (n,) 1 is the positive class
    labels: tuple[str, str]  # negative, positive
    dropped: int  # rows left out for missing values


class Check(NamedTuple):
    """One assumption, looked at in the data."""

    assumption: str
    found: str
    holds: bool
    then: str  # what to do where it doesn't hold


def read_table(
    data: str, target: str, positive: str | None = None, features: Sequence[str] | None = None
) -> Table:
    """Read a CSV with a binary target.

    Parameters
    ----------
    data : str
        Path or URL of a CSV, or ``"cancer"`` for the built-in breast-cancer table (then the rest is ignored).
    target : str
        Column with two classes.
    positive : str, optional
        The class whose probability is predicted; by default the last in sort order.
    features : sequence of str, optional
        Columns to use, by default all others. Text columns become dummies; rows with missing values go.

    Raises
    ------
    ValueError
        For unknown columns, a target that hasn't exactly two classes, an unknown positive class, or no
        feature that varies.
    """
    if data == "cancer":
        inputs = load_inputs("cancer")
        return Table(pd.DataFrame(inputs.X, columns=list(inputs.names)), inputs.y, ("malignant", "benign"), 0)
    table = pd.read_csv(data)
    unknown = [c for c in (target, *(features or ())) if c not in table]
    if unknown:
        raise ValueError(f"{data} has no column {unknown}; it has {list(table.columns)}")
    chosen = list(features) if features else [c for c in table if c != target]
    kept = table[[*chosen, target]].dropna()
    values = kept[target].astype(str)
    labels = sorted(values.unique())
    if len(labels) != 2:
        raise ValueError(f"target {target!r} must have exactly two classes, it has {labels[:6]}")
    if positive is not None and str(positive) not in labels:
        raise ValueError(f"positive is {positive!r}, but {target!r} has the classes {labels}")
    last = labels[1] if positive is None else str(positive)
    first = labels[0] if last == labels[1] else labels[1]
    X = pd.get_dummies(kept[chosen], drop_first=True, dtype=float).astype(float)
    X = X.loc[:, X.std() > 0].reset_index(drop=True)
    if X.shape[1] == 0:
        raise ValueError(f"no feature of {data} varies, so there is nothing to learn from")
    return Table(X, (values == last).to_numpy().astype(np.int64), (first, last), len(table) - len(kept))


def log_loss(y: NDArray[Any], p: Floats) -> float:
    """Mean log-loss in nats per row; probabilities are kept 1e-6 away from 0 and 1, for every method alike."""
    q = np.clip(p, FLOOR, 1 - FLOOR)
    return float(-(xlogy(y, q) + xlogy(1 - y, 1 - q)).mean())


def honest_comparison(
    table: Table,
    n_splits: int,
    *,
    train_rows: int | None,
    test_share: float,
    width: int,
    chains: int,
    steps: int,
    seed: int,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Held-out log-loss over random splits: (loss by split and method, the mixture's paired differences).

    All splits' chains and point estimates run in one loop each. Intervals use Nadeau and Bengio's correction
    for overlapping splits. `train_rows` cuts the training rows of each split, to see a smaller n.
    """
    splitter = StratifiedShuffleSplit(n_splits, test_size=test_share, random_state=seed % (2**31))
    X, y = table.X.to_numpy(dtype=float), table.y
    splits = list(splitter.split(X, y))
    rng = np.random.default_rng(seed)
    train = np.stack([rng.permutation(a) for a, _ in splits])[:, :train_rows]
    center, scale = X[train].mean(1), X[train].std(1)
    scale = np.where(scale > 1e-12, scale, 1.0) * np.sqrt(X.shape[1])
    x = (X[train] - center[:, None]) / scale[:, None]
    everywhere = (X - center[:, None]) / scale[:, None]
    predictions = _fit_all(TanhNetwork(X.shape[1], width), x, y[train], everywhere, chains, steps, rng)
    rows = []
    for s, (_, test) in progress(list(enumerate(splits))):
        single = {name: p[s] for name, p in predictions.items()}
        single[LOGISTIC] = _logistic(x[s], y[train[s]], everywhere[s], seed)
        single[CONSTANT] = np.full(len(X), (y[train[s]].sum() + 0.5) / (train.shape[1] + 1))
        for method, p in single.items():
            loss = np.mean([log_loss(y[test], q[test]) for q in np.atleast_2d(p)])
            rows.append((s, method, loss))
    losses = pd.DataFrame(rows, columns=["split", "method", "log_loss"])
    return losses, _differences(losses, len(splits[0][1]) / train.shape[1])


def _fit_all(
    network: TanhNetwork, x: Floats, y: NDArray[Any], everywhere: Floats, chains: int, steps: int,
    rng: np.random.Generator,
) -> dict[str, Floats]:  # fmt: skip
    """Predictions (splits, rows) on each split's own scale; single draws have shape (splits, chains, rows)."""
    S, n, _ = x.shape
    run = sgld(
        normal_prior_grad, network.loglik_grad, rng.standard_normal((S * chains, network.dim)),
        (np.repeat(x, chains, 0), np.repeat(y, chains, 0)), steps=steps, batch=32,
        step_size=decaying_steps(step_for(n), steps), key=jax.random.key(int(rng.integers(2**31 - 1))),
        thin=max(1, min(40, steps // 20)), sizes=np.full(S * chains, n),
    )  # fmt: skip
    draws = np.asarray(run.samples).reshape(len(run.samples), S, chains, -1)
    full, first = np.ones((S, n)), 0.3 * rng.standard_normal((4, S, network.dim))
    likely = [fit_networks(network, start, x, y, full, steps=500).final for start in first]
    at_map = fit_networks(network, first[0], x, y, full, steps=500, prior=1.0).final

    def predict(theta: Floats, s: int) -> Floats:
        return sgld_predict(theta[None], network.proba, everywhere[s])

    return {
        MIXTURE: np.stack([sgld_predict(draws[:, s], network.proba, everywhere[s], 1)[0] for s in range(S)]),
        SINGLE: np.stack([predict(draws[-1, s], s) for s in range(S)]),
        MAP: np.stack([predict(at_map[s : s + 1], s)[0] for s in range(S)]),
        MLE: np.stack([predict(likely[0][s : s + 1], s)[0] for s in range(S)]),
        ENSEMBLE: np.stack([predict(np.stack([f[s] for f in likely]), s).mean(0) for s in range(S)]),
    }


def _logistic(x: Floats, y: NDArray[Any], everywhere: Floats, seed: int) -> Floats:
    model = LogisticRegressionCV(
        Cs=8, cv=4, scoring="neg_log_loss", l1_ratios=(0.0,), use_legacy_attributes=False, max_iter=2000,
        random_state=seed % (2**31),
    )  # fmt: skip
    root = np.sqrt(x.shape[1])  # back to unit variance, on which its grid of penalties is meant
    found: Floats = model.fit(x * root, y).predict_proba(everywhere * root)[:, 1]
    return found


def _differences(losses: pd.DataFrame, inflate: float) -> pd.DataFrame:
    wide = losses.set_index(["split", "method"])["log_loss"].unstack("method")  # noqa: PD010
    rows = []
    for other in [name for name in losses["method"].unique() if name != MIXTURE]:
        found = intervals.mean(wide[MIXTURE] - wide[other], inflate)
        verdict = "mixture better" if found.high < 0 else "mixture worse" if found.low > 0 else "can't tell"
        rows.append((other, found.value, found.low, found.high, verdict))
    columns = ["against", "difference", "low", "high", "verdict"]
    return pd.DataFrame(rows, columns=columns).set_index("against")


class Complexity(NamedTuple):
    """What a truth like the fitted predictor costs."""

    energy: TemperedEnergy
    table: pd.DataFrame  # n, soft bound (nats, low, high), per sample, lambda
    student: Floats  # (d,) parameters
    distance: float  # mean divergence of the student from the mixture, nats per row


def effective_complexity(
    model: SGLDMixtureClassifier, X: pd.DataFrame, *, chains: int, steps: int, count: int, seed: int
) -> Complexity:
    """Soft bound and effective dimension of the fitted predictor, by thermodynamic integration.

    The mixture is no member of the class, so its distilled student stands for it: if the truth were that
    network, n samples would cost at most the soft bound.
    """
    values = X.to_numpy(dtype=float)
    student, proba = model.distilled(values)
    mixture = model.predict_proba(values)[:, 1]
    p, q = np.clip(mixture, FLOOR, 1 - FLOOR), np.clip(proba, FLOOR, 1 - FLOOR)
    distance = float((p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).mean())
    n = float(len(values))
    energy = tempered_energy(
        model.network_.divergence, model.network_.dim, beta_ladder(n, count), chains=chains, steps=steps,
        key=jax.random.key(seed % (2**31)), data=(model.transform(values), logit(q)),
    )  # fmt: skip
    rows = []
    for beta in energy.betas[2:]:
        soft, lam = energy.soft_bound(beta), energy.learning_coefficient(beta)
        rows.append((beta, soft.value, soft.low, soft.high, soft.value / beta, lam.value, lam.low, lam.high))
    columns = ["n", "soft bound", "low", "high", "per sample", "lambda", "lambda low", "lambda high"]
    return Complexity(energy, pd.DataFrame(rows, columns=columns), student, distance)


def check_assumptions(
    table: Table,
    diagnostics: pd.DataFrame,
    losses: pd.DataFrame,
    calibration: tuple[float, float],
    complexity: Complexity,
) -> pd.DataFrame:
    """What the theory and the sampler ask for, checked on the data; one row each (see :class:`Check`)."""
    n = len(table.X)
    repeated = int(table.X.assign(y=table.y).duplicated().sum())
    worst, least = float(diagnostics["r_hat"].max()), float(diagnostics["ess"].min())
    mean = losses.groupby("method")["log_loss"].mean()
    gap, se = calibration
    soft = complexity.table["soft bound"].iloc[-1]
    classes = int(table.y.sum()), int(n - table.y.sum())
    checks = [
        Check(
            "rows are independent", f"{repeated} of {n} rows repeat another exactly", repeated <= 0.01 * n,
            "drop the repeats, or split by group: held-out losses are too good otherwise",
        ),
        Check(
            "both classes are there", f"{classes[0]} positive, {classes[1]} negative", min(classes) >= 20,
            "with fewer than 20 of a class nothing can be judged",
        ),
        Check(
            "the chains agree on the predictions",
            f"largest split R-hat {worst:.3f}, least effective draws {least:.0f}", worst < 1.1,
            "raise steps (or lower step_size): the mixture isn't the posterior's yet",
        ),
        Check(
            "the class holds something like the truth",
            f"held-out log-loss minus what the mixture expects: {gap:+.4f} ± {2 * se:.4f} nats",
            abs(gap) < 2 * se + 0.01,
            "above 0 the mixture is over-confident, below 0 too cautious: the bound speaks of truths in the class",
        ),
        Check(
            "the features carry information", f"log-loss {mean[MIXTURE]:.3f}, constant {mean[CONSTANT]:.3f}",
            bool(mean[MIXTURE] < mean[CONSTANT]), "nothing is learnt beyond the base rate",
        ),
        Check(
            "a network is needed", f"logistic regression {mean[LOGISTIC]:.4f}, mixture {mean[MIXTURE]:.4f}",
            bool(mean[MIXTURE] < mean[LOGISTIC]), "prefer logistic regression: it is simpler and does as well",
        ),
        Check(
            "the student stands for the mixture", f"{complexity.distance:.4f} nats per row apart",
            complexity.distance < 0.01, "read the complexity as that of the student only",
        ),
        Check(
            "n is large enough for this complexity", f"soft bound {soft:.0f} nats for {n} rows", soft < 0.2 * n,
            "expect to pay more than 0.2 nats a row while learning; gather rows or simplify",
        ),
    ]  # fmt: skip
    return pd.DataFrame(checks).set_index("assumption")


def expected_gap(y: NDArray[Any], p: Floats) -> tuple[float, float]:
    """Log-loss minus the loss that the predictions expect of themselves, with its standard error.

    Zero in expectation when the predictions are the truth's; positive when they are over-confident.
    """
    q = np.clip(p, FLOOR, 1 - FLOOR)
    loss = -(xlogy(y, q) + xlogy(1 - y, 1 - q))
    entropy = -(xlogy(q, q) + xlogy(1 - q, 1 - q))
    gap = loss - entropy
    return float(gap.mean()), float(gap.std(ddof=1) / np.sqrt(len(gap)))
