"""Tests of the tables that papers of part information share, against the figures known from elsewhere."""

import numpy as np
import pytest

from loglik.information.tables import abalone, red_wine


def test_red_wine_is_the_known_table():
    wine = red_wine()
    assert wine.shape == (1599, 11)
    first = [7.4, 0.7, 0, 1.9, 0.076, 11, 34, 0.9978, 3.51, 0.56, 9.4]
    assert wine.iloc[0].tolist() == first
    means = [8.3196, 0.5278, 0.2710, 2.5388, 0.08747, 15.8749, 46.4678, 0.99675, 3.3111, 0.6581, 10.4230]
    np.testing.assert_allclose(wine.mean(), means, rtol=2e-4)


def test_abalone_is_the_known_table():
    table = abalone()
    assert table.shape == (4174, 8)
    assert (table.height == 0).sum() == 2
    assert table.sex.value_counts().to_dict() == {"M": 1526, "I": 1341, "F": 1307}


@pytest.mark.parametrize("read", [red_wine, abalone])
def test_each_call_gives_a_table_of_its_own(read):
    mine = read()
    mine.iloc[:, 1] = 0.0
    assert (read().iloc[:, 1] != 0).any()
    assert not read().isna().to_numpy().any()
