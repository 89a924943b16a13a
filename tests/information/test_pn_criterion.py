"""Tests of information/pn_criterion."""

import numpy as np
import pytest

from loglik.information import pn_criterion


def test_standard_error_is_exact_for_two_values():
    assert pn_criterion.standard_error([0.0, 2.0]) == pytest.approx(1.0, abs=1e-15)


@pytest.mark.parametrize("bad", [[1.0], [1.0, np.nan], [[1.0, 2.0]]])
def test_bad_input_is_named(bad):
    with pytest.raises(ValueError, match="at least two finite numbers"):
        pn_criterion.standard_error(bad)
