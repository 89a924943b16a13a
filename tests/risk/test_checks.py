"""The part's shared checks: errors name the column and the count."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from loglik.risk import checks


def test_columns_are_named():
    frame = pd.DataFrame({"age": [1.0, np.nan, np.inf], "bmi": [1.0, 2.0, np.nan], "ok": 1.0})
    names = checks.column_names(frame, 3)
    with pytest.raises(ValueError, match=r"column 'age': 2, column 'bmi': 1\)"):
        checks.check_finite(frame.to_numpy(), names)
    with pytest.raises(ValueError, match="column 0: 1"):
        checks.check_finite(np.array([[np.nan, 1.0]]), checks.column_names(None, 2))
    with pytest.raises(ValueError, match="and 3 more columns"):
        checks.check_finite(np.full((1, 8), np.nan), checks.column_names(None, 8))
    checks.check_finite(np.ones((2, 2)), ["a", "b"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: checks.check_weights([1, -1, -2], 3), "sample_weight contains 2 negative values"),
        (lambda: checks.check_weights([0, 0], 2), "sums to zero: all 2 rows"),
        (lambda: checks.check_weights([1, 2, 3], 2), r"must have shape \(2,\), got \(3,\)"),
        (lambda: checks.check_weights([1, np.nan], 2), "contains 1 values that are NaN"),
        (
            lambda: checks.check_probabilities([0.5, 1.5, -1]),
            r"p contains 2 values outside \[0, 1\] \(from -1 to 1.5\)",
        ),
        (lambda: checks.check_durations([1, 0, -3], "months"), "months contains 2 durations of zero or less"),
        (lambda: checks.check_events([0, 2, 1, 3]), "event contains 2 values other than 0 and 1"),
        (lambda: checks.check_events([0, 0, 0]), "all 3 rows are censored"),
        (
            lambda: checks.check_classes(np.zeros(4), np.zeros(1)),
            r"y has 1 class \(0.0\) in 4 rows; at least 2",
        ),
        (lambda: checks.check_column([[1.0]], "t"), r"t must have shape \(n,\), got \(1, 1\)"),
    ],
)
def test_bad_input_is_counted(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_good_input_comes_back_as_floats():
    np.testing.assert_array_equal(checks.check_weights(None, 3), np.ones(3))
    np.testing.assert_array_equal(checks.check_probabilities([0, 1]), [0.0, 1.0])
    np.testing.assert_array_equal(checks.check_events([True, False]), [True, False])
    assert checks.check_durations([1, 2]).dtype == float
