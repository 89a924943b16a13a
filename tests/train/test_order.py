from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import TensorDataset

from loglik.train import Columns, Examples, OrderedSampler, split

sizes = st.integers(1, 60)


@given(n=sizes, batch=sizes, seed=st.integers(0, 9), epoch=st.integers(0, 3))
@settings(max_examples=50, deadline=None)
def test_an_epoch_is_a_permutation(n: int, batch: int, seed: int, epoch: int) -> None:
    sampler = OrderedSampler(seed, n, batch)
    per_epoch = sampler.batches_per_epoch
    batches = [sampler.batch(epoch * per_epoch + k) for k in range(per_epoch)]
    assert sorted(np.concatenate(batches)) == list(range(n))
    assert all(len(b) == batch for b in batches[:-1])


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    forwards = [OrderedSampler(3, 23, 6).batch(k) for k in range(20)]
    one = OrderedSampler(3, 23, 6)
    backwards = [one.batch(k) for k in reversed(range(20))][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(forwards, backwards, strict=True))
    assert not np.array_equal(OrderedSampler(4, 23, 6).batch(0), forwards[0])
    assert not np.array_equal(forwards[0], forwards[4]), "two epochs in the same order"


def test_order_is_what_was_seen() -> None:
    sampler = OrderedSampler(0, 10, 4)
    assert sorted(sampler.order()) == list(range(10))
    assert np.array_equal(sampler.order(5), np.concatenate([sampler.batch(k) for k in range(5)]))
    assert sampler.order(0).shape == (0,)
    assert np.array_equal(OrderedSampler(0, 10, 4, shuffle=False).order(), np.arange(10))


def test_drop_last() -> None:
    sampler = OrderedSampler(0, 10, 4, drop_last=True)
    assert sampler.batches_per_epoch == 2
    assert [len(sampler.batch(k)) for k in range(5)] == [4] * 5


@pytest.mark.parametrize("bad", [{"n": 0}, {"batch_size": 0}, {"n": 3, "drop_last": True}])
def test_no_batches_is_an_error(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"batch"):
        OrderedSampler(**{"seed": 0, "n": 10, "batch_size": 4, **bad})


def test_fingerprint_tells_runs_apart() -> None:
    here = OrderedSampler(0, 10, 4).fingerprint(7)
    assert here == OrderedSampler(0, 10, 4).fingerprint(7)
    for other in (OrderedSampler(1, 10, 4), OrderedSampler(0, 11, 4), OrderedSampler(0, 10, 5)):
        assert other.fingerprint(7) != here


@given(n=sizes, world=st.integers(1, 5), micro=st.integers(1, 5))
@settings(max_examples=100, deadline=None)
def test_split_deals_out_every_example_once(n: int, world: int, micro: int) -> None:
    indices = np.random.default_rng(n).permutation(n)
    parts = [split(indices, rank, world, micro) for rank in range(world)]
    assert all(len(own) == micro and all(len(part) for part, _ in own) for own in parts)
    real = [part for own in parts for part, weight in own if weight]
    assert sorted(np.concatenate(real)) == list(range(n))
    assert max(map(len, real)) - min(map(len, real)) <= 1
    assert len(real) == min(n, world * micro)


def test_data_that_fit_takes() -> None:
    x, y = torch.arange(12.0).reshape(6, 2), torch.arange(6)
    index = torch.tensor([4, 1])
    assert Columns(x=x, y=y)[index]["y"].tolist() == [4, 1]
    assert TensorDataset(x, y)[index][1].tolist() == [4, 1]
    assert Examples(["a", "bc", "", "d", "ef", "g"], "".join)[index] == "efbc"
    with pytest.raises(ValueError, match="'x': 6, 'y': 5"):
        Columns(x=x, y=y[:5])
