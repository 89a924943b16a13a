"""The experiment on real data (C8b), and the checks that the apply notebook makes on the reader's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from loglik.optimization.ila_sdp.datasets import load_table, prepare
from loglik.optimization.ila_sdp.study import Effort, Progress, Seed, compare_methods

COMPONENTS: Mapping[str, int] = {"iris": 4, "wine": 6, "breast cancer": 6}


def real_study(
    names: Sequence[str],
    n_sets: int,
    *,
    rows: int = 90,
    effort: Effort | None = None,
    seed: Seed = 0,
    progress: Progress = iter,
) -> pd.DataFrame:
    """Random subsamples of real tables, standardised and reduced by PCA alike for every method.

    Returns
    -------
    DataFrame
        Columns data, set, method, error.
    """
    parts = []
    for name, child in zip(
        progress(list(names)), np.random.SeedSequence(seed).spawn(len(names)), strict=True
    ):
        rng = np.random.default_rng(child)
        table = load_table(name)
        features, truth = prepare(table.X, COMPONENTS[name]), np.asarray(table.labels)
        chosen = np.stack([rng.choice(len(features), rows, replace=False) for _ in range(n_sets)])
        seeds = rng.integers(2**31 - 1, size=n_sets).tolist()
        found = compare_methods(features[chosen], truth[chosen], len(table.names), effort or Effort(), seeds)
        parts.append(found.assign(data=name))
    return pd.concat(parts, ignore_index=True)
