"""A reader's own table: read it, augment it, check what can be checked, and estimate with intervals."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from loglik.causal.outcome_invariant_augmentation.inputs import Floats, check_alphas, check_positive
from loglik.causal.outcome_invariant_augmentation.selection import confounding_strength

MODES = ("air", "train", "bus", "car")
COPIES = 20  # augmentations a row: so many that which ones were drawn hardly matters
RULES = ("cv", "confounder")
TERM = re.compile(r"([+-]?)\s*(?:(\d+(?:\.\d+)?)\s*\*?\s*)?([^\s+*-][^+*-]*)")


class Problem(NamedTuple):
    """Treatments, outcome and augmentations of n rows, centred; treatments in standard deviations."""

    names: tuple[str, ...]  # m treatments
    scale: Floats  # (m,) standard deviations of the treatments
    X: Floats  # (n, m)
    y: Floats  # (n,)
    X_aug: Floats  # (copies, n, m)
    G: Floats  # (copies, n, k)
    directions: Floats | None  # (k, m) in standardised treatments, where the augmentation is a translation


class Moments(NamedTuple):
    """Second moments about the mean that every estimate is made of; leading axes are resamples."""

    XX: Floats  # (..., m, m) original treatments
    Xy: Floats  # (..., m)
    AA: Floats  # (..., m, m) augmented treatments
    Ay: Floats  # (..., m)
    PA: Floats  # (..., m, m) augmented treatments projected onto G
    Py: Floats  # (..., m)


def load_modechoice() -> pd.DataFrame:
    """210 trips between Sydney, Canberra and Melbourne (Greene and Hensher 1997), one row a trip.

    Ships with statsmodels; public domain. Columns: air (1 where the traveller flew), the generalised cost of
    each mode (dollars) and the waiting time of air, train and bus (minutes).
    """
    from statsmodels.datasets import modechoice

    long = modechoice.load_pandas().data
    table = pd.DataFrame({"air": long.loc[long["mode"] == 1, "choice"].to_numpy()})
    for number, mode in enumerate(MODES, start=1):
        own = long[long["mode"] == number]
        table[f"cost_{mode}"] = own["gc"].to_numpy()
        if mode != "car":
            table[f"wait_{mode}"] = own["ttme"].to_numpy()
    return table


def parse_direction(text: str, names: Sequence[str]) -> Floats:
    """A direction such as ``cost_air + cost_train`` or ``dose - 2 * weight`` as weights of the treatments.

    Raises
    ------
    ValueError
        For text that isn't a sum of treatments, or a column that isn't a treatment (lists those that are).
    """
    weights = np.zeros(len(names))
    rest = text.strip()
    while rest:
        match = TERM.match(rest)
        if match is None:
            raise ValueError(f"direction {text!r} isn't a sum of treatments, such as 'a + b' or 'a - 2 * b'")
        sign, number, name = match[1], match[2], match[3].strip()
        if name not in names:
            raise ValueError(f"direction {text!r} names {name!r}; the treatments are {', '.join(names)}")
        weights[list(names).index(name)] += (-1 if sign == "-" else 1) * float(number or 1)
        rest = rest[match.end() :].strip()
    if not weights.any():
        raise ValueError(f"direction {text!r} moves nothing")
    return weights


def read_table(data: str) -> pd.DataFrame:
    """The built-in ``modechoice``, or a CSV by path or URL."""
    if data == "modechoice":
        return load_modechoice()
    if "://" not in data and not Path(data).exists():
        raise FileNotFoundError(f"no file {data!r}; 'modechoice' ships with statsmodels and needs none")
    return pd.read_csv(data)


def make_problem(
    table: pd.DataFrame,
    outcome: str,
    treatments: Sequence[str] | None,
    *,
    directions: Sequence[str] | None = None,
    strength: float = 1.0,
    augmented: pd.DataFrame | None = None,
    parameters: Sequence[str] | None = None,
    rng: np.random.Generator,
    copies: int = COPIES,
) -> Problem:
    """Augment a table by translations, or join it with augmented rows of your own.

    Parameters
    ----------
    table : DataFrame
    outcome : str
    treatments : sequence of str, optional
        Numeric columns; all but the outcome by default.
    directions : sequence of str, optional
        Sums of treatments along which the outcome does not change, in the treatments' units.
    strength : float
        Standard deviation of the translation, in units of the treatments' own spread along the direction.
    augmented : DataFrame, optional
        Instead of directions: augmented treatments, the same number of rows in the same order, or that many
        times over (augmentation by augmentation).
    parameters : sequence of str, optional
        Columns of `augmented` with the augmentation's parameters; by default the differences to the original
        treatments stand for them.
    rng : numpy.random.Generator
    copies : int
        Augmentations of each row, for directions.

    Raises
    ------
    ValueError
        For missing or non-numeric columns, missing values (with their count), constant treatments, both or
        neither of directions and augmented rows, or rows that don't match.
    """
    names = list(treatments) if treatments else [c for c in table.columns if c != outcome]
    values = _numeric(table, [outcome, *names])
    X, y = values[:, 1:], values[:, 0]
    scale = X.std(axis=0)
    if (scale == 0).any():
        raise ValueError(f"treatment {names[int((scale == 0).argmax())]!r} is constant")
    Z = (X - X.mean(axis=0)) / scale
    y = y - y.mean()
    if (directions is None) == (augmented is None):
        raise ValueError("give either directions or augmented rows: one says how the treatment was moved")
    if augmented is not None:
        X_aug, G = _given(augmented, names, X, scale, parameters)
        return Problem(tuple(names), scale, Z, y, X_aug, G, None)
    check_positive(strength, "strength", "it is the standard deviation of the translation")
    rows = np.array([parse_direction(text, names) for text in directions or ()]) / scale
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    G = rng.standard_normal((copies, len(y), len(rows)))
    G -= G.mean(axis=1, keepdims=True)
    spread = (Z @ rows.T).std(axis=0)
    return Problem(tuple(names), scale, Z, y, Z + strength * (G * spread) @ rows, G, rows)


def _numeric(table: pd.DataFrame, columns: Sequence[str]) -> Floats:
    missing = [c for c in columns if c not in table]
    if missing:
        raise ValueError(f"the table lacks {missing}; it has {list(table.columns)}")
    chosen = table[list(columns)]
    words = [c for c in columns if not pd.api.types.is_numeric_dtype(chosen[c])]
    if words:
        raise ValueError(f"column {words[0]!r} isn't numeric; turn it into numbers or leave it out")
    gaps = chosen.isna().sum()
    if gaps.any():
        raise ValueError(
            f"column {gaps.idxmax()!r} has {gaps.max()} missing values; impute or drop those rows"
        )
    return chosen.to_numpy(dtype=float)


def _given(
    augmented: pd.DataFrame, names: Sequence[str], X: Floats, scale: Floats, parameters: Sequence[str] | None
) -> tuple[Floats, Floats]:
    values = _numeric(augmented, names)
    copies, rest = divmod(len(values), len(X))
    if rest or not copies:
        raise ValueError(
            f"augmented has {len(values)} rows, which is no multiple of the table's {len(X)}: give each row's "
            "augmentation in the table's order"
        )
    moved = values.reshape(copies, *X.shape)
    if parameters:
        G = _numeric(augmented, parameters).reshape(copies, len(X), -1)
    else:
        G = (moved - X) / scale
        G = G[:, :, G.any(axis=(0, 1))]
    if not G.size or not (G - G.mean(axis=(0, 1))).any():
        raise ValueError("the augmented rows equal the original ones: nothing was augmented")
    return (moved - X.mean(axis=0)) / scale, G


def moments(problem: Problem, weights: NDArray[Any] | None = None) -> Moments:
    """Moments of the rows, or of many weighted versions of them at once.

    Parameters
    ----------
    problem : Problem
    weights : array of shape (B, n), optional
        How often each row counts: resampling counts, or 0 and 1 for folds.

    Returns
    -------
    Moments
        With a leading axis B where weights are given.
    """
    own = np.concatenate([problem.X, problem.y[:, None], np.ones((len(problem.y), 1))], axis=1)[None]
    copies = len(problem.G)
    again = np.broadcast_to(problem.y[:, None], (copies, len(problem.y), 1))
    aug = np.concatenate([problem.X_aug, again, np.ones_like(again), problem.G], axis=2)
    w = np.ones((1, len(problem.y))) if weights is None else np.asarray(weights, dtype=float)
    m = problem.X.shape[1]
    S0, S1 = (_centred(_weighted(rows, w), m + 1) for rows in (own, aug))
    kept = [*range(m + 1), *range(m + 2, S1.shape[-1])]
    S1 = S1[:, kept][:, :, kept]
    S0 = np.delete(np.delete(S0, m + 1, 1), m + 1, 2)
    gg, ga = S1[:, m + 1 :, m + 1 :], S1[:, m + 1 :, : m + 1]
    onto = np.swapaxes(ga, 1, 2) @ np.linalg.pinv(gg, rcond=1e-10, hermitian=True) @ ga
    found = (
        S0[:, :m, :m], S0[:, :m, m], S1[:, :m, :m], S1[:, :m, m], onto[:, :m, :m], onto[:, :m, m]
    )  # fmt: skip
    return Moments(*(a[0] if weights is None else a for a in found))


def _weighted(rows: Floats, weights: Floats) -> Floats:
    """Sums over copies and weighted rows of outer products, (B, p, p), per unit of weight."""
    each = np.einsum("cni,cnj->nij", rows, rows)
    total = weights.sum(axis=1) * len(rows)
    return (weights @ each.reshape(len(each), -1)).reshape(-1, *each.shape[1:]) / total[:, None, None]


def _centred(S: Floats, constant: int) -> Floats:
    """Second moments about the mean, from those about zero with a constant's row and column."""
    mean = S[:, constant]
    return S - mean[:, :, None] * mean[:, None, :]


def estimates(moment: Moments, alphas: Any) -> Floats:
    """ERM, DA+ERM and IVL for each penalty, stacked: shape (..., 2 + A, m)."""
    alpha = check_alphas(alphas)
    left = np.concatenate(
        [moment.XX[..., None, :, :], moment.AA[..., None, :, :],
         moment.PA[..., None, :, :] + alpha[:, None, None] * moment.AA[..., None, :, :]], axis=-3
    )  # fmt: skip
    right = np.concatenate(
        [
            moment.Xy[..., None, :],
            moment.Ay[..., None, :],
            moment.Py[..., None, :] + alpha[:, None] * moment.Ay[..., None, :],
        ],
        axis=-2,
    )
    return np.linalg.solve(left, right[..., None])[..., 0]


def path_table(problem: Problem, alphas: Floats, n_boot: int, rng: np.random.Generator) -> pd.DataFrame:
    """Estimates of every method and penalty with 95 % intervals, in the treatments' own units.

    Returns
    -------
    DataFrame
        Columns method, alpha (NaN for ERM, inf for DA+ERM), treatment, estimate, low, high. Intervals are
        percentiles over resampled rows; they say nothing about bias that is left.
    """
    weights = rng.multinomial(len(problem.y), np.full(len(problem.y), 1 / len(problem.y)), size=n_boot)
    centre = estimates(moments(problem), alphas) / problem.scale
    spread = estimates(moments(problem, weights), alphas) / problem.scale
    low, high = np.quantile(spread, (0.025, 0.975), axis=0)
    labels = [("ERM", np.nan), ("DA+ERM", np.inf), *(("IVL", float(a)) for a in alphas)]
    rows = [
        (method, alpha, name, centre[i, j], low[i, j], high[i, j])
        for i, (method, alpha) in enumerate(labels)
        for j, name in enumerate(problem.names)
    ]
    return pd.DataFrame(rows, columns=["method", "alpha", "treatment", "estimate", "low", "high"])


def choose_alpha(problem: Problem, alphas: Floats, rule: str, folds: int = 10, seed: int = 0) -> float:
    """Penalty by cross-validated squared error on un-augmented rows, or by confounder correction.

    Raises
    ------
    ValueError
        For an unknown rule.
    """
    if rule not in RULES:
        raise ValueError(f"unknown rule {rule!r}; allowed: {', '.join(RULES)}")
    if rule == "confounder":
        moment = moments(problem)
        h = estimates(moment, alphas)
        beta, _ = confounding_strength(moment.AA, h[1])
        wanted = np.sqrt(1 - beta) * np.linalg.norm(h[1])
        return float(alphas[np.abs(np.linalg.norm(h[2:], axis=1) - wanted).argmin()])
    out = np.zeros((folds, len(problem.y)))
    for row, (_, test) in zip(
        out, KFold(folds, shuffle=True, random_state=seed).split(problem.y), strict=True
    ):
        row[test] = 1
    h = estimates(moments(problem, 1 - out), alphas)[:, 2:]
    errors = (problem.y - h @ problem.X.T) ** 2
    return float(alphas[(errors * out[:, None]).sum((0, 2)).argmin()])


def check_assumptions(problem: Problem, rng: np.random.Generator, n_boot: int = 400) -> pd.DataFrame:
    """What can be checked on these rows, what can't, and what to do where something does not hold.

    Returns
    -------
    DataFrame
        Columns assumption, evidence, holds ("yes", "NO", "can't be tested") and then.
    """
    n, m = problem.X.shape
    k = problem.G.shape[2]
    rows = [
        (
            "the outcome does not change under the augmentation",
            "knowledge of the mechanism, not data",
            "can't be tested",
            "ask whoever knows how the outcome comes about",
        ),
        _relevance(problem),
        _irrelevance(problem),
        _something_left(problem, m),
        _violation(problem, rng, n_boot),
        _linearity(problem),
        (
            "rows are many and independent",
            f"{n} rows, {m} treatments, {k} parameters",
            "yes" if n > 10 * (m + k) else "NO",
            "intervals are too narrow: fewer treatments, or resample whole clusters",
        ),
    ]
    return pd.DataFrame(rows, columns=["assumption", "evidence", "holds", "then"])


def _first_copy(problem: Problem) -> tuple[Floats, Floats]:
    G = problem.G[0] - problem.G[0].mean(axis=0)
    return problem.X_aug[0] - problem.X_aug[0].mean(axis=0), G


def _relevance(problem: Problem) -> tuple[str, str, str, str]:
    X_aug, G = _first_copy(problem)
    weakest = np.inf
    if problem.directions is not None:
        for g, direction in zip(G.T, problem.directions, strict=True):
            r = np.corrcoef(g, X_aug @ direction)[0, 1]
            weakest = min(weakest, r**2 / (1 - r**2) * (len(g) - 2))
    else:
        k = G.shape[1]
        fitted = G @ np.linalg.lstsq(G, X_aug, rcond=None)[0]
        share = (fitted**2).sum(0) / (X_aug**2).sum(0)
        weakest = float((share / (1 - share) * (len(G) - k - 1) / k).max())
    return (
        "the augmentation moves the treatment",
        f"first-stage F {weakest:.0f} (one augmentation a row)",
        "yes" if weakest > 10 else "NO",
        "augment more strongly",
    )


def _irrelevance(problem: Problem) -> tuple[str, str, str, str]:
    _, G = _first_copy(problem)
    n, k = G.shape
    residual = problem.y - G @ np.linalg.lstsq(G, problem.y, rcond=None)[0]
    F = ((problem.y @ problem.y - residual @ residual) / k) / (residual @ residual / (n - k - 1))
    p = float(stats.f.sf(F, k, n - k - 1))
    return (
        "its parameters say nothing about the outcome",
        f"F test of the outcome on them: p = {p:.2g}",
        "yes" if p > 0.01 else "NO",
        "the parameters were not drawn independently of the rows: draw them anew",
    )


def _something_left(problem: Problem, m: int) -> tuple[str, str, str, str]:
    rank = int(np.linalg.matrix_rank(problem.X_aug[0] - problem.X, tol=1e-8))
    return (
        "it leaves something to estimate",
        f"moves {rank} of {m} dimensions",
        "yes" if rank < m else "NO",
        "if nothing that is moved matters, no treatment does: IVL tends to zero for small penalties",
    )


def _violation(problem: Problem, rng: np.random.Generator, n_boot: int) -> tuple[str, str, str, str]:
    """Whether the plain fit contradicts the claimed invariance: else augmentation has nothing to correct."""
    shift = problem.X_aug - problem.X
    directions = np.linalg.svd(shift.reshape(-1, shift.shape[2]), full_matrices=False)[2]
    directions = directions[: int(np.linalg.matrix_rank(shift[0], tol=1e-8))]
    weights = rng.multinomial(len(problem.y), np.full(len(problem.y), 1 / len(problem.y)), size=n_boot)
    centre = estimates(moments(problem), [1.0])[0] @ directions.T
    spread = estimates(moments(problem, weights), [1.0])[:, 0] @ directions.T
    cov = np.atleast_2d(np.cov(spread.T))
    wald = float(centre @ np.linalg.pinv(cov, hermitian=True) @ centre)
    p = float(stats.chi2.sf(wald, len(centre)))
    return (
        "the plain fit contradicts the invariance (so there is confounding to see)",
        f"Wald test of no effect along the moved directions: p = {p:.2g}",
        "yes" if p < 0.05 else "NO",
        "nothing to correct was found: expect the same estimates with narrower intervals",
    )


def _linearity(problem: Problem) -> tuple[str, str, str, str]:
    folds = KFold(10, shuffle=True, random_state=0)
    models = [
        make_pipeline(StandardScaler(), LinearRegression()),
        make_pipeline(PolynomialFeatures(2, include_bias=False), StandardScaler(), LinearRegression()),
    ]
    errors = [
        -cross_val_score(model, problem.X, problem.y, cv=folds, scoring="neg_mean_squared_error")
        for model in models
    ]
    gain = errors[0] - errors[1]
    z = float(gain.mean() / (gain.std(ddof=1) / np.sqrt(len(gain))))
    return (
        "a linear outcome does",
        f"squared terms change the held-out error by {-gain.mean() / errors[0].mean():+.0%} (z = {-z:+.1f})",
        "NO" if z > 2 else "yes",
        "add products of the treatments as treatments of their own",
    )


def movement(path: pd.DataFrame, chosen: float) -> pd.DataFrame:
    """How far each estimate moves from ERM: to DA+ERM, to the chosen penalty, to the smallest one.

    Columns: treatment, ERM, its interval's width, and the three moves in those widths.
    """
    wide = path[path.method == "ERM"].set_index("treatment")
    width = wide.high - wide.low
    steps = {
        "to DA+ERM": path[path.method == "DA+ERM"],
        "to the chosen IVL": path[np.isclose(path.alpha, chosen)],
        "to the smallest penalty": path[(path.method == "IVL") & (path.alpha == path.alpha.min())],
    }
    moves = {
        name: (part.set_index("treatment").estimate - wide.estimate) / width for name, part in steps.items()
    }
    return pd.DataFrame({"ERM": wide.estimate, "width of its interval": width, **moves}).reset_index()
