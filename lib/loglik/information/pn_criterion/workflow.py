"""The criterion on a reader's own file: reading it, a ladder of models, the assumptions, a check by refitting."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loglik.information.pn_criterion import datasets
from loglik.information.pn_criterion.base import ExponentialFamily, MLENotFound
from loglik.information.pn_criterion.bayes_error import kl_threshold
from loglik.information.pn_criterion.criterion import pn_criterion, projection
from loglik.information.pn_criterion.families import (
    ExponentialDistribution,
    GammaFamily,
    GaussianFamily,
    PoissonFamily,
    full_normal,
)
from loglik.information.pn_criterion.finite import LogLinear
from loglik.information.pn_criterion.mcmc import BoxPolynomial, IsingFamily
from loglik.information.pn_criterion.montecarlo import Population, mc_risk
from loglik.information.pn_criterion.settings import abalone_setting, wine_setting

FAMILIES = ("gaussian", "loglinear", "ising", "box", "poisson", "gamma", "exponential")
SINGLE: dict[str, Callable[[], ExponentialFamily]] = {
    "poisson": PoissonFamily,
    "gamma": GammaFamily,
    "exponential": ExponentialDistribution,
}
LARGEST = 400  # parameters of a model that the ladder still offers


class Sample(NamedTuple):
    """A table as the families take it."""

    family: str
    x: NDArray[Any]  # (n, variables), or (n,) for families of one variable
    columns: tuple[str, ...]
    dropped: int  # rows with a missing value


class Check(NamedTuple):
    """One assumption, looked at in the data."""

    assumption: str
    found: str
    holds: bool
    then: str


def read_sample(
    data: str,
    family: str,
    columns: Sequence[str] | None = None,
    transform: str = "none",
    levels: int = 3,
) -> Sample:
    """Read a CSV and bring it into the form that `family` takes.

    Parameters
    ----------
    data : str
        Path or URL of a CSV, or ``wine`` or ``abalone`` for the built-in tables.
    family : {"gaussian", "loglinear", "ising", "box", "poisson", "gamma", "exponential"}
        ``loglinear`` and ``ising`` cut numeric columns at quantiles (`levels`, or the median) and take text columns as
        they are; ``box`` scales columns to [0, 1]; the last three take one column.
    columns : sequence of str, optional
        All by default.
    transform : {"none", "log"}
    levels : int

    Raises
    ------
    ValueError
        For an unknown family or column, text where numbers are needed, or too few rows.
    """
    if family not in FAMILIES:
        raise ValueError(f"family must be one of {', '.join(FAMILIES)}, got {family!r}")
    built_in = {"wine": datasets.load_wine, "abalone": datasets.abalone_shape}
    table = built_in[data]() if data in built_in else pd.read_csv(data, comment="#")
    unknown = [c for c in columns or () if c not in table]
    if unknown:
        raise ValueError(f"{data} has no column {unknown}; it has {list(table.columns)}")
    chosen = table[list(columns)] if columns else table
    whole = chosen.dropna()
    if len(whole) < 3:
        raise ValueError(f"{data} has {len(whole)} rows without a missing value; at least 3 are needed")
    discrete = family in ("loglinear", "ising")
    text = [c for c in whole if not pd.api.types.is_numeric_dtype(whole[c])]
    if text and not discrete:
        raise ValueError(f"the columns {text} are not numbers; choose others, or the family loglinear")
    if family in SINGLE and whole.shape[1] != 1:
        raise ValueError(
            f"the family {family} takes one column; choose one of {list(whole.columns)} with columns"
        )
    numbers = whole.drop(columns=text)
    numbers = datasets.transform(numbers, transform) if len(numbers.columns) else numbers
    dropped = len(chosen) - len(whole)
    names = tuple(str(c) for c in whole)
    if discrete:
        return Sample(family, _codes(whole, numbers, 2 if family == "ising" else levels), names, dropped)
    values = numbers.to_numpy(dtype=float)
    if family == "box":
        span = np.ptp(values, axis=0)
        if not (span > 0).all():
            raise ValueError(f"the column {names[int(np.argmin(span))]!r} is constant")
        return Sample(family, (values - values.min(0)) / span, names, dropped)
    return Sample(family, values[:, 0] if family in SINGLE else values, names, dropped)


def _codes(whole: pd.DataFrame, numbers: pd.DataFrame, levels: int) -> NDArray[np.int64]:
    """Level codes of every column: quantile classes of many-valued numbers, categories of everything else."""
    codes = []
    for name in whole:
        many = name in numbers and numbers[name].nunique() > levels
        codes.append(
            datasets.quantile_codes(numbers[[name]], levels)[:, 0]
            if many
            else pd.factorize(whole[name], sort=True)[0]
        )
    found = np.column_stack(codes).astype(np.int64)
    short = [str(name) for name, top in zip(whole, found.max(0), strict=True) if top < 1]
    if short:
        raise ValueError(f"the columns {short} have one level only; drop them")
    return found


def ladder(sample: Sample, max_order: int = 3, max_models: int = 6) -> dict[str, ExponentialFamily]:
    """Nested models for a sample, smallest first.

    Log-linear models grow by the order of their interactions, polynomials by degree, normal models by edges: from
    independence over the pairs with the strongest partial correlations to all pairs. The edges are chosen on the same
    data, which the criterion does not know.
    """
    x, d = sample.x, 1 if sample.x.ndim == 1 else sample.x.shape[1]
    if sample.family in SINGLE:
        return {sample.family: SINGLE[sample.family]()}
    if sample.family == "ising":
        return {"pairwise, without the constant": IsingFamily(d)}
    found: dict[str, ExponentialFamily] = {}
    if sample.family == "loglinear":
        counts = (x.max(0) + 1).tolist()
        if np.prod([float(c) for c in counts]) > 20_000:
            raise ValueError(f"a table of {counts} levels has too many cells; take fewer columns or levels")
        for order in range(1, min(max_order, d) + 1):
            family = LogLinear(counts, order)
            if family.p <= LARGEST:
                found[f"interactions up to order {order}"] = family
    elif sample.family == "box":
        for degree in range(1, max_order + 1):
            found[f"degree {degree}"] = BoxPolynomial(d, degree)
    else:
        found = _gaussian_ladder(x, d, max_models)
    return dict(list(found.items())[: max(max_models, 1)])


def _gaussian_ladder(x: NDArray[Any], d: int, max_models: int) -> dict[str, ExponentialFamily]:
    if d == 1:
        return {"normal": GaussianFamily(1)}
    GaussianFamily(d).normalise(x)  # raises where columns depend on each other
    precision = np.linalg.inv(np.corrcoef(x.T))
    i, j = np.triu_indices(d, 1)
    strength = np.abs(precision[i, j]) / np.sqrt(precision[i, i] * precision[j, j])
    best = np.argsort(-strength, kind="stable")
    total = len(best)
    counts = np.unique(np.linspace(0, total, max(2, max_models)).round().astype(int))
    found: dict[str, ExponentialFamily] = {}
    for count in counts:
        name = {0: "independent", total: f"all {total} pairs"}.get(int(count), f"strongest {count} pairs")
        edges = [(int(i[k]), int(j[k])) for k in best[:count]]
        found[name] = full_normal(d) if count == total else GaussianFamily(d, edges)
    return found


def largest_accepted(table: pd.DataFrame) -> str | None:
    """Name of the accepted model with most parameters, or None."""
    accepted = table[table["accept"].astype(bool)]
    return None if accepted.empty else str(accepted["p"].astype(float).idxmax())


def check_assumptions(sample: Sample, table: pd.DataFrame, delta: float) -> pd.DataFrame:
    """What the expansion and the criterion take for granted, looked at in the data; one row each."""
    n = len(sample.x)
    top = table.iloc[-1]
    unique = len(np.unique(sample.x, axis=0)) / n
    trust = table["trust_ratio"].astype(float).max() if "trust_ratio" in table else np.inf
    missing = [str(name) for name, answer in table["answer"].items() if answer == "no MLE"]
    heavy = float(top.get("A1", np.nan)) / (float(top["p"]) / 2)
    discrete = sample.family in ("loglinear", "ising", "poisson")
    checks = [
        Check(
            "rows are independent draws of one truth",
            f"{n} rows, {unique:.0%} of them distinct",
            discrete or unique > 0.9,
            "repeated rows suggest repeated measurements: n overstates what was observed",
        ),
        Check(
            "every model of the ladder has an MLE",
            "all have" if not missing else f"none for {', '.join(missing)}",
            not missing,
            "some statistic takes its extreme value in every row: merge levels or drop terms",
        ),
        Check(
            "n exceeds the parameters",
            f"n = {n}, p up to {int(table['p'].max())}",
            bool(n > table["p"].max()),
            "the largest models can't be judged at this n",
        ),
        Check(
            "the second term is small beside the first (below ½)",
            f"ratio up to {trust:.2f}",
            bool(trust < 0.5),
            "n is too small for the expansion: trust a rejection, not the number",
        ),
        Check(
            "tails are light enough for moments of order six",
            f"A₁ is {heavy:.2f} times p/2 in the largest model",
            bool(abs(heavy - 1) < 0.2),
            "plug-in moments of heavy tails are biased downwards: transform the columns, or add a margin",
        ),
        Check(
            "the tolerance is one that matters",
            f"δ = {delta}: telling fit from projection may succeed in {0.5 + delta:.0%} of trials instead of 50 %",
            0.005 <= delta <= 0.25,
            "below 0.005 hardly any n is enough, above 0.25 hardly any is too small",
        ),
    ]
    return pd.DataFrame(checks).set_index("assumption")


def verdict(table: pd.DataFrame, n: int, delta: float) -> str:
    """The answer in words: the largest model that passes, and what the largest one would need."""
    best, top = largest_accepted(table), str(table.index[-1])
    rows: dict[Any, dict[Any, Any]] = table.to_dict("index")
    last = rows[top]
    lines = [f"n = {n:,}, tolerance δ = {delta:g}"]
    if best is None:
        lines.append("No model passes: this sample is too small for each of them.")
    else:
        lines.append(f"Largest model that passes: {best} (p = {rows[best]['p']:.0f}).")
    if last["answer"] == "no MLE":
        lines.append(f"{top} has no MLE on this sample.")
    elif best != top:
        se = last.get("n_required_se")
        spread = f" ± {1.96 * se:,.0f}" if se is not None and np.isfinite(se) else ""
        lines.append(
            f"{top} (p = {last['p']:.0f}) would need n = {np.ceil(last['n_required']):,.0f}{spread}."
        )
    close = [str(name) for name, answer in table["answer"].items() if answer == "can't tell"]
    if close:
        lines.append(f"Too close to call: {', '.join(close)}.")
    return "\n".join(lines)


def measured_risks(
    ladder: Mapping[str, ExponentialFamily],
    table: pd.DataFrame,
    x: NDArray[Any],
    reps: int,
    rng: np.random.Generator,
    *,
    largest: int = 100,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> pd.DataFrame:
    """The file as the truth: risk of samples of its size, measured by refitting each model.

    Returns
    -------
    DataFrame
        measured, se, dropped by model; NaN where the family has no log-partition function, no sample had an MLE, or a
        search by Newton steps for more than `largest` parameters would take too long.
    """
    rows = {}
    for name, family in progress(list(ladder.items())):
        rows[name] = (np.nan, np.nan, np.nan)
        slow = family.p > largest and not (isinstance(family, GaussianFamily) and family.full)
        if not family.has_log_partition or slow or table.loc[name, "answer"] == "no MLE":
            continue
        population = Population(family.suff_stat(family.normalise(x)))
        try:
            rows[name] = mc_risk(
                family, population, projection(family, population.eta), len(x), reps, rng=rng
            )
        except MLENotFound:
            continue
    return pd.DataFrame.from_dict(rows, orient="index", columns=["measured", "se", "dropped"])


def agreement(
    sizes: Sequence[int],
    reps: int,
    n_blocks: int,
    rng: np.random.Generator,
    delta: float = 0.05,
    *,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> pd.DataFrame:
    """One sample of each size from each built-in file: the tool's answer beside the truth.

    Returns
    -------
    DataFrame
        file, n, estimated, se, measured, measured_se, required, true_required, answer, truth.
    """
    C = kl_threshold(delta)
    codes = datasets.quantile_codes(datasets.abalone_shape(), 3)
    wine = datasets.transform(datasets.load_wine()).to_numpy()
    cases = [("wine", wine_setting(), wine, "auto"), ("abalone", abalone_setting(2), codes, "exact")]
    rows = []
    for (name, s, x, engine), n in progress([(case, n) for case in cases for n in sizes]):
        sample = x[rng.integers(len(x), size=n)]
        found = pn_criterion(s.family, sample, delta, engine=engine, n_blocks=n_blocks)
        truth = mc_risk(s.family, s.sampler, s.theta, n, reps, rng=rng)
        rows.append(
            (name, n, found.risk, found.risk_se, truth.mean, truth.se, found.n_required,
             s.expansion.required_n(C), found.answer, "yes" if truth.mean <= C else "no")
        )  # fmt: skip
    names = [
        "file",
        "n",
        "estimated",
        "se",
        "measured",
        "measured_se",
        "required",
        "true_required",
        "answer",
        "truth",
    ]
    return pd.DataFrame(rows, columns=names)
