"""Intervals and paired comparisons, against scipy and against their own coverage."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from loglik.stats import intervals, paired


def tidy(a, b, names=("a", "b")):
    reps = list(range(len(a)))
    methods = [name for name in names for _ in reps]
    return pd.DataFrame({"rep": reps * 2, "method": methods, "mse": [*a, *b]})


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_mean_is_scipys_t_interval(rng):
    values = rng.normal(size=12)
    found = intervals.mean(values)
    low, high = stats.t.interval(0.95, 11, loc=values.mean(), scale=stats.sem(values))
    np.testing.assert_allclose(found, [values.mean(), low, high, stats.sem(values)])
    assert found.interval == (found.low, found.high)


@pytest.mark.parametrize("bad", [[1.0], [1.0, np.nan], [[1.0, 2.0]]])
def test_mean_refuses(bad):
    with pytest.raises(ValueError, match="at least 2 finite values"):
        intervals.mean(bad)


def test_comparison_matches_scipy(rng):
    a, b = rng.normal(1.0, 0.1, 20), rng.normal(1.1, 0.1, 20)
    found = paired.compare(tidy(a, b), "a", "b", value="mse", unit="rep", rng=rng)
    peer = stats.ttest_rel(a, b, alternative="less")
    assert found.p_value == pytest.approx(peer.pvalue)
    assert found.ratio == pytest.approx(a.mean() / b.mean())
    assert found.ratio_low < found.ratio < found.ratio_high
    assert found.wins == (a < b).mean()
    wider = paired.compare(tidy(a, b), "a", "b", value="mse", unit="rep", rng=rng, inflate=0.25)
    assert wider.se == pytest.approx(found.se * np.sqrt((1 / 20 + 0.25) / (1 / 20)))


def test_pairs_refuse_what_does_not_pair(rng):
    table = tidy([1.0, 2.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="no method 'c' in the table; it has a, b"):
        paired.compare(table, "a", "c", value="mse", unit="rep", rng=rng)
    with pytest.raises(ValueError, match="1 of 2 repetitions lack a value"):
        paired.compare(table.iloc[:-1], "a", "b", value="mse", unit="rep", rng=rng)
    with pytest.raises(ValueError, match="at least 2 repetitions, got 1"):
        paired.compare(tidy([1.0], [2.0]), "a", "b", value="mse", unit="rep", rng=rng)


def test_pairing_removes_what_is_common(rng):
    """Repetitions that differ a hundred times more than the methods do: only a paired interval sees them."""
    common = rng.normal(size=30)
    a, b = common + rng.normal(0, 0.01, 30), common + 0.05 + rng.normal(0, 0.01, 30)
    found = paired.compare(tidy(a, b), "a", "b", value="mse", unit="rep", rng=rng)
    assert found.high < 0
    assert found.se < 0.01


def test_slopes_are_exact_on_a_power_law(rng):
    x = np.array([10.0, 100.0, 1000.0])
    scale = rng.lognormal(size=(6, 1))
    values = scale * x**-0.5
    np.testing.assert_allclose(intervals.log_slope(x, values, rng)[:3], [-0.5] * 3)
    rows = [{"rep": r, "x": a, "y": values[r, i]} for r in range(6) for i, a in enumerate(x)]
    np.testing.assert_allclose(
        intervals.slope_by_repetition(pd.DataFrame(rows), x="x", y="y", unit="rep")[:3], [-0.5] * 3
    )


@pytest.mark.parametrize("kind", ["t", "bootstrap"])
def test_intervals_cover(rng, kind):
    """400 intervals at 95 %: fewer than 356 hits has probability below 1e-6 for the t interval. The bootstrap
    of 30 repetitions covers about 94 %, for which 340 hits stand as far off.
    """
    truth, hits = 1.0, 0
    for _ in range(400):
        values = rng.normal(truth, 1.0, 30)
        found = intervals.mean(values) if kind == "t" else intervals.bootstrap(values, lambda m: m, rng, 400)
        hits += found.low <= truth <= found.high
    assert hits >= (356 if kind == "t" else 340)


def test_comparisons_by_group_keep_their_order(rng):
    table = pd.concat([tidy([1.0, 2.0], [2.0, 4.0]).assign(setting=name) for name in ("second", "first")])
    found = paired.compare_by(table, "setting", "a", ("b",), value="mse", unit="rep", rng=rng)
    assert found.setting.tolist() == ["second", "first"]
    np.testing.assert_allclose(found.ratio, 0.5)
