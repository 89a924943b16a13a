"""Tests of generative/noise2score."""

import numpy as np
import pytest

from loglik.generative import noise2score


def test_standard_error_is_exact_for_two_values():
    assert noise2score.standard_error([0.0, 2.0]) == pytest.approx(1.0, abs=1e-15)


@pytest.mark.parametrize("bad", [[1.0], [1.0, np.nan], [[1.0, 2.0]]])
def test_bad_input_is_named(bad):
    with pytest.raises(ValueError, match="at least two finite numbers"):
        noise2score.standard_error(bad)
