"""Losses on preferences: values, gradients, and what they depend on."""

import math

import pytest
import torch

from loglik.language import preference

B = 6


@pytest.fixture
def logps():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(B, dtype=torch.float64, generator=generator) for _ in range(4)]


def test_dpo_at_its_reference_is_log_two_with_half_beta_for_a_slope(logps):
    w, lo = (x.clone().requires_grad_() for x in logps[:2])
    loss = preference.dpo_loss(w, lo, w.detach(), lo.detach(), beta=0.3, reduction="sum")
    loss.backward()
    assert loss.item() == pytest.approx(B * math.log(2), abs=1e-12)
    assert torch.allclose(w.grad, torch.full_like(w, -0.15), atol=1e-12)
    assert torch.allclose(lo.grad, torch.full_like(w, 0.15), atol=1e-12)


def test_ipo_is_least_where_the_margin_is_one_over_two_beta(logps):
    _, lo, rw, rl = logps
    beta = 0.2
    w = (lo - rl + rw + 1 / (2 * beta)).requires_grad_()
    loss = preference.ipo_loss(w, lo, rw, rl, beta=beta)
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-20)
    assert torch.allclose(w.grad, torch.zeros_like(w), atol=1e-10)
    at_reference = preference.ipo_loss(rw, rl, rw, rl, target=10.0)
    assert float(at_reference) == pytest.approx(100.0)


@pytest.mark.parametrize("loss", [preference.dpo_loss, preference.ipo_loss])
def test_only_the_difference_of_log_ratios_counts(loss, logps):
    w, lo, rw, rl = logps
    shift = torch.randn(B, dtype=torch.float64)
    assert torch.allclose(loss(w, lo, rw, rl), loss(w + shift, lo + shift, rw, rl), atol=1e-12)
    assert torch.allclose(loss(w, lo, rw, rl), loss(w + shift, lo, rw + shift, rl), atol=1e-12)


@pytest.mark.parametrize(
    "loss",
    [
        lambda w, lo, rw, rl: preference.dpo_loss(w, lo, rw, rl, beta=0.7),
        lambda w, lo, rw, rl: preference.ipo_loss(w, lo, rw, rl, beta=0.7),
        lambda w, lo, rw, rl: preference.slic_loss(w, lo, delta=0.3),
        lambda w, lo, rw, rl: preference.simpo_loss(w, lo, torch.arange(1, B + 1), torch.full((B,), 3)),
        lambda w, lo, rw, rl: preference.sft_term(w) + 0 * lo.sum(),
    ],
)
def test_gradients_are_finite_differences(loss, logps):
    w, lo = (x.clone().requires_grad_() for x in logps[:2])
    torch.autograd.gradcheck(lambda a, b: loss(a, b, *logps[2:]), (w, lo), atol=1e-7)


def test_the_reference_never_learns(logps):
    w, lo, rw, rl = (x.clone().requires_grad_() for x in logps)
    preference.dpo_loss(w, lo, rw, rl).backward()
    assert w.grad is not None
    assert rw.grad is None
    assert rl.grad is None


def test_all_pairs_that_differ_and_no_others():
    rewards = torch.tensor([[3.0, 1.0, 2.0, 0.0], [1.0, 1.0, 1.0, 2.0]])
    prompt, winner, loser = preference.preference_pairs(rewards)
    assert prompt.bincount().tolist() == [6, 3]
    assert (rewards[prompt, winner] > rewards[prompt, loser]).all()
    assert len(preference.preference_pairs(rewards, threshold=1.5)[0]) == 3


def test_wrong_calls_are_named(logps):
    w, lo, rw, rl = logps
    with pytest.raises(ValueError, match="beta must be above 0"):
        preference.dpo_loss(w, lo, rw, rl, beta=0)
    with pytest.raises(ValueError, match="one shape"):
        preference.dpo_loss(w[:2], lo, rw, rl)
    with pytest.raises(ValueError, match="an answer is empty"):
        preference.simpo_loss(w, lo, torch.zeros(B), torch.ones(B))
    with pytest.raises(ValueError, match="at least 2 answers"):
        preference.preference_pairs(torch.ones(3, 1))
    with pytest.raises(ValueError, match="1 rewards are NaN"):
        preference.preference_pairs(torch.tensor([[1.0, float("nan")]]))
    with pytest.raises(ValueError, match="reduction"):
        preference.sft_term(w, reduction="median")
