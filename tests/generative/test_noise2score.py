"""Tests of generative/noise2score: exact identities first, then properties, then what only holds on average."""

import inspect

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import digamma, gammaln

from loglik.generative import noise2score as n2s
from loglik.generative.noise2score import (
    blind,
    classical,
    identities,
    images,
    inference,
    losses,
    onedim,
    pretrained,
    study,
    training,
    workflow,
)

SEEDS = st.integers(0, 2**32 - 1)


def double_net(seed=0, **sizes):
    generator = torch.Generator().manual_seed(seed)
    return n2s.DnCNN(1, **{"width": 6, "depth": 3, **sizes}, generator=generator).double()


# -- Tweedie's formula, exactly ---------------------------------------------------------------------------------


@given(st.floats(-1, 1), st.floats(0.05, 2), st.floats(0.01, 1), st.floats(-2, 2))
def test_gaussian_prior_gives_the_linear_posterior_mean(m, s, sigma, y):
    score = -(y - m) / (s**2 + sigma**2)
    expected = (s**2 * y + sigma**2 * m) / (s**2 + sigma**2)
    assert n2s.GaussianNoise(sigma).estimate([y], [score])[0] == pytest.approx(expected, abs=1e-10)


def negative_binomial_score(z, a, b):
    """Derivative of log p(z), z continuous, for rate ~ Gamma(a, rate b)."""
    return digamma(a + z) - digamma(z + 1) - np.log1p(b)


@given(st.floats(0.2, 20), st.floats(0.05, 5), st.integers(0, 60), st.floats(0.001, 0.5))
def test_gamma_prior_gives_the_poisson_posterior_mean_of_the_log(a, b, z, zeta):
    score = negative_binomial_score(float(z), a, b)
    exact = n2s.PoissonNoise(zeta, exact=True).estimate([zeta * z], [score])[0]
    assert exact == pytest.approx(zeta * np.exp(digamma(a + z) - np.log1p(b)), rel=1e-10)


def test_negative_binomial_score_is_the_derivative_of_its_log_density():
    a, b, z, h = 2.5, 0.7, 4.0, 1e-5

    def log_p(t):
        return gammaln(a + t) - gammaln(t + 1) - t * np.log1p(b)

    assert negative_binomial_score(z, a, b) == pytest.approx(
        (log_p(z + h) - log_p(z - h)) / (2 * h), abs=1e-8
    )


def test_half_approximation_of_digamma_is_positive_and_vanishes():
    shift = onedim.half_shift([0, 1, 6])
    assert shift == pytest.approx([0.1159315, 0.0173192, 0.000982], abs=1e-6)
    assert (np.diff(onedim.half_shift(np.arange(50))) < 0).all()


def test_score_of_y_in_the_place_of_the_score_of_z_is_a_mutant_that_fails():
    a, b, z, zeta = 3.0, 0.5, 7.0, 0.05
    score_z = negative_binomial_score(z, a, b)
    noise = n2s.PoissonNoise(zeta, exact=True)
    right = zeta * np.exp(digamma(a + z) - np.log1p(b))
    assert noise.estimate([zeta * z], [score_z])[0] == pytest.approx(right, rel=1e-12)
    mutant = noise.estimate([zeta * z], [score_z / zeta])[0]
    assert abs(mutant / right - 1) > 0.5


@given(st.floats(0.5, 20), st.floats(0.1, 5), st.floats(2, 200), st.floats(0.01, 3))
def test_inverse_gamma_prior_gives_the_reciprocal_of_the_posterior_mean(a, b, k, y):
    score = (k - 1) / y - k * (a + k) / (b + k * y)
    expected = (b + k * y) / (a + k)
    noise = n2s.GammaNoise(k)
    if (k - 1) - y * score >= k / 10:
        assert noise.estimate([y], [score])[0] == pytest.approx(expected, rel=1e-9)
        assert noise.clamped([y], [score]) == 0
    else:
        assert noise.estimate([y], [score])[0] == pytest.approx(10 * y)
        assert noise.clamped([y], [score]) == 1


def test_gamma_of_another_rate_scales_the_estimate():
    y, score = np.array([0.4]), np.array([1.5])
    assert n2s.GammaNoise(20, rate=10).estimate(y, score) == pytest.approx(10 * y / (19 - y * score))


@pytest.mark.parametrize(
    ("noise", "y"),
    [
        (n2s.GaussianNoise(0.1), np.linspace(-0.2, 1.3, 50)),
        (n2s.PoissonNoise(0.05, exact=True), 0.05 * np.arange(30)),
        (n2s.GammaNoise(30.0), np.linspace(0.05, 2, 50)),
    ],
    ids=["gaussian", "poisson", "gamma"],
)
def test_tweedie_agrees_with_quadrature(noise, y):
    assert onedim.tweedie_errors(onedim.mixture_prior(), noise, y).max() < 1e-10


def test_poisson_estimate_is_below_the_posterior_mean():
    noise = n2s.PoissonNoise(0.05)
    truth = onedim.exact(onedim.mixture_prior(), noise, 0.05 * np.arange(30))
    assert (noise.estimate(truth.y, truth.score) < truth.mean).all()


# -- links between losses ---------------------------------------------------------------------------------------


@settings(max_examples=10, deadline=None)
@given(SEEDS, st.floats(0.02, 0.5))
def test_sure_is_score_matching(seed, sigma):
    y = torch.rand(1, 1, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    a, b = identities.sure_and_score_matching(double_net(seed % 1000, gain=5.0), y, sigma)
    assert a == pytest.approx(b, abs=1e-9)


@settings(max_examples=10, deadline=None)
@given(SEEDS, st.floats(0.01, 1))
def test_ardae_is_noise2noise_with_noise_of_its_own(seed, sigma_a):
    y = torch.rand(3, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    a, b = identities.ardae_and_noise2noise(double_net(seed % 1000), y, sigma_a, seed % 99)
    assert a == pytest.approx(b, rel=1e-10)


def test_ardae_optimum_on_gaussian_data():
    """Loss s²/(s² + σ_a²) and gradient 0 at R = -y/(s² + σ_a²); four standard errors: a false alarm in 8,000 runs."""
    s, sigma_a, n = 0.7, 0.4, 200_000
    y = s * torch.randn(1, 1, n // 100, 100, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    slope = torch.tensor(-1 / (s**2 + sigma_a**2), dtype=torch.float64, requires_grad=True)
    loss = losses.ardae_loss(lambda t: slope * t, y, sigma_a, torch.Generator().manual_seed(2))
    (gradient,) = torch.autograd.grad(loss, slope)
    variance = s**2 / (s**2 + sigma_a**2)  # residuals are normal with this variance
    assert loss.item() == pytest.approx(variance, abs=4 * variance * (2 / n) ** 0.5)
    # gradient per sample 2 σ_a e y~ with e and y~ independent
    assert abs(gradient.item()) < 4 * 2 * sigma_a * variance**0.5 * (s**2 + sigma_a**2) ** 0.5 / n**0.5


def test_ardae_of_a_zero_score_is_the_mean_square_of_u():
    y = torch.zeros(4, 1, 50, 50)
    loss = losses.ardae_loss(torch.zeros_like, y, 0.1, torch.Generator().manual_seed(0))
    assert loss.item() == pytest.approx(1, abs=4 * (2 / 10_000) ** 0.5)


def test_monte_carlo_divergence_is_unbiased():
    """Against the Jacobian's trace, four standard errors of 400 draws (a false alarm in 15,000 runs)."""
    net = double_net(3, gain=3.0)
    y = torch.rand(1, 1, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    exact = identities.exact_divergence(net, y).item() / 36
    generator = torch.Generator().manual_seed(6)
    with torch.no_grad():
        draws = [losses.monte_carlo_divergence(net, y, 1.0, generator, 1e-5)[1].item() for _ in range(400)]
    assert abs(np.mean(draws) - exact) < 4 * np.std(draws) / 20


def test_sure_and_pure_estimate_the_true_error_of_a_linear_denoiser():
    """Unbiased for f(y) = 0.7 y + 0.1 (net(y) = f(y) - y); four standard errors over 400 images."""

    def net(y):
        return 0.1 - 0.3 * y

    rng = np.random.default_rng(0)
    x = rng.uniform(0.2, 0.9, (1, 1, 24, 24))
    gaps = {"sure": [], "pure": []}
    for k in range(400):
        generator = torch.Generator().manual_seed(k)
        for name, noise, estimate, level in (
            ("sure", n2s.GaussianNoise(0.15), losses.sure_loss, 0.15),
            ("pure", n2s.PoissonNoise(0.04), losses.pure_loss, 0.04),
        ):
            y = torch.from_numpy(noise.sample(x, rng))
            truth = (losses.residual(net, y) - torch.from_numpy(x)).square().mean()
            gaps[name].append(float(estimate(net, y, level, generator) - truth))
    for values in gaps.values():
        assert abs(np.mean(values)) < 4 * np.std(values) / 20


def test_noise2noise_exceeds_the_supervised_loss_by_the_noise_variance():
    """Four standard errors: a false alarm in 15,000 runs."""
    rng = np.random.default_rng(4)
    z = identities.noise2noise_gap(onedim.mixture_prior(), lambda y: 0.5 * y + 0.3, 0.1, 100_000, rng)
    assert abs(z) < 4


# -- masks -------------------------------------------------------------------------------------------------------


def test_noise2self_never_sees_the_pixel_that_it_predicts():
    y = torch.rand(1, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    net = double_net(1)
    for phase in (0, 5, 15):
        _, mask = losses.mask_noise2self(y, phase)
        jacobian = torch.autograd.functional.jacobian(
            lambda t, phase=phase: net(losses.mask_noise2self(t, phase)[0]), y
        ).reshape(64, 64)
        assert jacobian.diagonal()[mask.reshape(-1)].abs().max() == 0
        assert jacobian.abs().max() > 0


def test_noise2void_replaces_pixels_by_another_of_the_neighbourhood():
    y = torch.arange(400.0).reshape(1, 1, 20, 20)
    masked, mask = losses.mask_noise2void(y, torch.Generator().manual_seed(0), share=0.2)
    assert 0.1 < mask.float().mean() < 0.3
    assert (masked[~mask] == y[~mask]).all()
    assert (masked[mask] != y[mask]).all()
    place, source = torch.nonzero(mask[0, 0]), masked[mask].long()
    away = torch.stack([source // 20 - place[:, 0], source % 20 - place[:, 1]], 1)
    away = (away + 10) % 20 - 10  # edges wrap around
    assert away.abs().max() == 2


# -- noise ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["gaussian", "poisson", "gamma"])
def test_samplers_have_the_right_mean_and_variance(family):
    """Mean by a z test, variance against four standard errors of it (false alarm below 1 in 5,000 each)."""
    noise, x, n = n2s.noise_model(family, study.LEVELS[family]), 0.6, 200_000
    y = noise.sample(np.full(n, x), np.random.default_rng(1))
    wanted = {"gaussian": noise.level**2, "poisson": noise.level * x, "gamma": x**2 / noise.level}[family]
    assert abs(y.mean() - x) < 4 * (wanted / n) ** 0.5
    fourth = stats.kurtosis(y, fisher=False)
    assert abs(y.var() - wanted) < 4 * wanted * ((fourth - 1) / n) ** 0.5


def test_the_noisy_data_set_is_drawn_once():
    a = study.make_scene(n2s.GaussianNoise(0.1), 3, n_train=2, n_test=1)
    b = study.make_scene(n2s.GaussianNoise(0.1), 3, n_train=2, n_test=1)
    assert all((p == q).all() for p, q in zip(a.noisy, b.noisy, strict=True))
    assert (
        abs(np.corrcoef((a.noisy[0] - a.clean[0]).ravel(), (a.second[0] - a.clean[0]).ravel())[0, 1]) < 0.02
    )
    seen = []

    def spy(net, batch, step, generator):
        seen.append(batch["y"].clone())
        return net(batch["y"]).square().mean()

    patches = training.cut(a.noisy, 256)
    net = n2s.DnCNN(1, 4, 2)
    training._fit(net, spy, training.Recipe(steps=4, batch_size=len(patches), patch=256), y=patches)
    totals = [sorted(batch.double().sum((1, 2, 3)).tolist()) for batch in seen]  # turns don't change a sum
    assert all(t == pytest.approx(totals[0], rel=1e-9) for t in totals)


def test_score_training_is_given_no_clean_image():
    assert not {"clean", "clean_images", "x"} & set(inspect.signature(n2s.train_score).parameters)
    scene = study.make_scene(n2s.GaussianNoise(0.1), 0, n_train=2, n_test=1)
    before = study.train_method("Noise2Score", scene, steps=2, network={"width": 4, "depth": 2})
    for image in scene.clean:
        image[...] = np.nan  # whoever looked at it would have NaN now
    after = study.train_method("Noise2Score", scene, steps=2, network={"width": 4, "depth": 2})
    assert all(torch.equal(p, q) for p, q in zip(before.parameters(), after.parameters(), strict=True))


def test_the_training_loss_knows_no_family():
    source = inspect.getsource(n2s.train_score) + inspect.getsource(losses.ardae_loss)
    assert "family" not in source.split('"""')[-1]
    assert not any(name in source for name in ("GaussianNoise", "PoissonNoise", "GammaNoise"))


def test_methods_of_one_seed_see_the_same_patches_turned_alike():
    def record(log):
        def loss(net, batch, step, generator):
            torch.rand(step + 1, generator=generator)  # however much noise a method draws
            log.append(batch["y"].clone())
            return net(batch["y"]).square().mean()

        return loss

    y = training.cut([np.random.default_rng(0).random((80, 80))], 8)
    logs = [[], []]
    for log in logs:
        training._fit(n2s.DnCNN(1, 4, 2), record(log), training.Recipe(steps=3, patch=8, seed=5), y=y)
    assert all(torch.equal(a, b) for a, b in zip(*logs, strict=True))


def test_default_schedule_falls():
    schedule = training.default_schedule(n2s.PoissonNoise(0.05), 100)
    assert schedule(0) == 1.5
    assert schedule(100) == schedule(5000) == pytest.approx(0.7)


# -- denoising -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shuffle", [1, 2])
def test_tiled_and_whole_agree(shuffle):
    net = n2s.DnCNN(1, 6, 4, shuffle=shuffle, generator=torch.Generator().manual_seed(2)).double()
    y = np.random.default_rng(0).random((61, 75))
    whole, tiled = inference.network_output(net, y), inference.network_output(net, y, tile=24)
    assert np.abs(whole - tiled).max() < 1e-12


def test_estimate_is_equivariant_to_flips():
    rng = np.random.default_rng(0)
    y, score = rng.random((7, 9)), rng.normal(size=(7, 9))
    for noise in (n2s.GaussianNoise(0.1), n2s.PoissonNoise(0.05), n2s.GammaNoise(50.0)):
        assert (noise.estimate(y[:, ::-1], score[:, ::-1]) == noise.estimate(y, score)[:, ::-1]).all()


def test_the_score_of_poisson_noise_counts_photons():
    net, y = double_net(), np.random.default_rng(0).random((8, 8))
    plain = inference.network_output(net, y)
    assert inference.score(net, y, n2s.PoissonNoise(0.05)) == pytest.approx(0.05 * plain, abs=1e-12)
    assert inference.score(net, y, n2s.GaussianNoise(0.05)) == pytest.approx(plain, abs=1e-12)


def test_colour_and_odd_sizes_keep_their_shape():
    y = np.random.default_rng(0).random((3, 33, 40))
    assert n2s.denoise(n2s.DnCNN(3, 4, 2, shuffle=2), y, n2s.GaussianNoise(0.1)).shape == y.shape
    unet = n2s.UNetN2N(3)
    assert n2s.denoise(unet, y, n2s.GaussianNoise(0.1)).shape == y.shape


def test_shared_unet_has_fewer_weights_and_one_shape():
    sizes = [sum(p.numel() for p in n2s.UNetN2N(1, shared=s).parameters()) for s in (False, True)]
    assert sizes[0] > sizes[1]
    with torch.no_grad():
        assert n2s.UNetN2N(1, shared=True)(torch.zeros(1, 1, 32, 64)).shape == (1, 1, 32, 64)


def test_psnr_clips():
    x = np.full((16, 16), 1.0)
    assert n2s.psnr(x, x + 0.1) == np.inf
    assert n2s.psnr(x, x - 0.1) == pytest.approx(20)


# -- levels ---------------------------------------------------------------------------------------------------------


class ExactScore(torch.nn.Module):
    """Score of a constant image under Gaussian noise: the estimate is constant at the true level alone."""

    def __init__(self, mean, sigma):
        super().__init__()
        self.mean, self.sigma = mean, torch.nn.Parameter(torch.tensor(sigma, dtype=torch.float64))

    def forward(self, y):
        return -(y - self.mean) / self.sigma**2


def test_total_variation_finds_the_level_of_a_constant_image():
    sigma = blind.GRIDS["gaussian"][20]
    y = n2s.GaussianNoise(sigma).sample(np.full((32, 32), 0.5), np.random.default_rng(0))
    level, curve = n2s.estimate_noise_level(ExactScore(0.5, sigma), y, "gaussian")
    assert level == pytest.approx(sigma)
    assert curve.identified
    edge, curve = n2s.estimate_noise_level(ExactScore(0.5, sigma), y, "gaussian", grid=[0.01, 0.02, 0.03])
    assert edge == 0.03
    assert not curve.identified


def test_official_poisson_data_term_asks_for_no_denoising():
    rng = np.random.default_rng(0)
    y = rng.uniform(0.2, 0.8, (30, 30))
    flat = blind.level_criterion(y, y, "poisson") - 0.1 * n2s.total_variation(y)
    for other in (0.9 * y, 1.1 * y, np.full_like(y, 0.5)):
        assert flat < blind.level_criterion(other, y, "poisson") - 0.1 * n2s.total_variation(other)


@pytest.mark.parametrize("family", ["gaussian", "poisson", "gamma"])
def test_family_and_level_are_told_from_the_image(family):
    """A ramp with noise: the family's own power of brightness, and the classical level within 15 %."""
    ramp = np.tile(np.linspace(0.15, 0.95, 256), (256, 1))
    noise = n2s.noise_model(family, study.LEVELS[family])
    y = noise.sample(ramp, np.random.default_rng(0))
    y = np.abs(y) if family != "gaussian" else y
    guess, slope, _ = workflow.likely_family(y)
    assert guess == family
    assert abs(slope - workflow.POWERS[family]) < 0.35
    assert workflow.classical_level(y, family) == pytest.approx(noise.level, rel=0.15)


# -- classical ------------------------------------------------------------------------------------------------------


def test_anscombe_and_its_inverse():
    z = np.random.default_rng(0).poisson(12.0, 200_000)
    assert classical.anscombe(z).var() == pytest.approx(1, abs=0.03)
    assert classical.inverse_anscombe(classical.anscombe(z).mean()) == pytest.approx(12, abs=0.05)


def test_bm3d_gets_sigma_on_the_right_scale():
    scene = study.make_scene(n2s.GaussianNoise(25 / 255), 0, n_train=1, n_test=1)
    assert n2s.psnr(scene.test["camera"], n2s.bm3d_denoise(scene.test_noisy["camera"], scene.noise)) > 28.5


@pytest.mark.parametrize("family", ["poisson", "gamma"])
def test_bm3d_of_a_flat_image_finds_its_brightness(family):
    noise = n2s.noise_model(family, study.LEVELS[family])
    y = noise.sample(np.full((48, 48), 0.5), np.random.default_rng(2))
    assert n2s.bm3d_denoise(y, noise).mean() == pytest.approx(0.5, abs=0.015)


# -- images and weights -----------------------------------------------------------------------------------------------


def test_no_photograph_is_in_both_sets():
    assert not set(images.TRAIN) & set(images.TEST)
    assert set(images.COLOUR) <= set(images.TRAIN)
    assert set(images.COLOUR_TEST) <= set(images.TEST)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy"])
def test_an_image_survives_the_file(tmp_path, suffix):
    import skimage.io

    pixels = (np.random.default_rng(0).random((20, 30, 3)) * 255).astype(np.uint8)
    path = tmp_path / f"image{suffix}"
    if suffix == ".npy":
        np.save(path, pixels)
    else:
        skimage.io.imsave(path, pixels, check_contrast=False)
    assert n2s.read_image(path) == pytest.approx(np.moveaxis(pixels, -1, 0) / 255)
    assert n2s.load_folder(tmp_path)[0].shape == (20, 30)


def test_what_is_no_image_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="give the path"):
        n2s.read_image(tmp_path / "none.png")
    with pytest.raises(FileNotFoundError, match="need no download"):
        n2s.load_folder(tmp_path / "BSD68")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(ValueError, match="unknown format"):
        n2s.read_image(tmp_path / "a.txt")
    np.save(tmp_path / "b.npy", np.zeros(5))
    with pytest.raises(ValueError, match="has the shape"):
        n2s.read_image(tmp_path / "b.npy")
    np.save(tmp_path / "c.npy", 4095 * np.ones((20, 20)))
    with pytest.raises(ValueError, match="white"):
        workflow.read_noisy(str(tmp_path / "c.npy"), "gaussian", 0.1, np.random.default_rng(0))
    known = workflow.read_noisy(
        str(tmp_path / "c.npy"), "gaussian", 0.1, np.random.default_rng(0), white=4095
    )
    assert known.y == pytest.approx(1.0)


@pytest.mark.parametrize("family", ["gaussian", "poisson", "gamma"])
def test_committed_weights_denoise(family):
    scene = study.make_scene(
        n2s.noise_model(family, study.LEVELS[family]), 7, n_train=1, n_test=1, test_size=128
    )
    clean, y = scene.test["camera"], scene.test_noisy["camera"]
    for name in ("Noise2Score", pretrained.BLIND):
        net = n2s.load_pretrained(family, name)
        assert n2s.psnr(clean, n2s.denoise(net, y, scene.noise)) > n2s.psnr(clean, y) + 2.5


# -- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: n2s.GaussianNoise(25), "divide grey values by 255"),
        (lambda: n2s.GaussianNoise(0.0), "sigma must be"),
        (lambda: n2s.PoissonNoise(-1.0), "zeta must be"),
        (lambda: n2s.GammaNoise(1.0), "k must be above 1"),
        (lambda: n2s.GammaNoise(5.0, rate=0.0), "rate must be"),
        (lambda: n2s.noise_model("salt", 0.1), "unknown family"),
        (lambda: n2s.PoissonNoise(0.1).sample([-0.1], np.random.default_rng(0)), "at least 0"),
        (lambda: n2s.GaussianNoise(0.1).estimate([0.1], [np.nan]), "diverged"),
        (lambda: n2s.GaussianNoise(0.1).estimate([0.1, 0.2], [0.0]), "one shape"),
        (lambda: n2s.SigmaSchedule(0.1, 0.0, 10), "positive"),
        (lambda: training.cut([np.zeros((10, 10))], 16), "smaller than the patch"),
        (lambda: training.cut([], 16), "no image"),
        (lambda: training.cut([np.zeros((20, 20)), np.zeros((3, 20, 20))], 16), "cannot be mixed"),
        (lambda: n2s.DnCNN(1, depth=1), "depth"),
        (lambda: inference.network_output(double_net(), np.zeros(5)), "an image has the shape"),
        (lambda: n2s.estimate_noise_level(double_net(), np.zeros((8, 8)), "salt"), "unknown family"),
        (
            lambda: n2s.estimate_noise_level(double_net(), np.zeros((8, 8)), "gaussian", [0.1]),
            "three increasing",
        ),
        (lambda: blind.level_criterion(np.ones((2, 2)), np.ones((2, 2)), "least"), "unknown criterion"),
        (lambda: losses.mask_noise2self(torch.zeros(1, 1, 8, 8), 16), "phase"),
        (lambda: n2s.load_pretrained("salt"), "unknown family"),
        (lambda: n2s.load_pretrained("gamma", "SURE"), "no network"),
        (lambda: n2s.train_sure(double_net(), [], n2s.PoissonNoise(0.1)), "SURE holds"),
        (lambda: n2s.train_pure(double_net(), [], n2s.GaussianNoise(0.1)), "PURE holds"),
        (lambda: training.Recipe(steps=0), "need steps"),
        (lambda: images.photograph("lena"), "no photograph"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_unequal_numbers_of_noise_models_are_named():
    with pytest.raises(ValueError, match=r"zip|noise models"):
        n2s.train_score(n2s.DnCNN(1, 4, 2), [np.zeros((40, 40))], [n2s.GaussianNoise(0.1)] * 2, steps=1)


# -- the reader's workflow --------------------------------------------------------------------------------------------


def test_risk_without_a_clean_image_is_the_true_one():
    """SURE and PURE of a smoothing filter on 96 x 96 pixels, within 0.5 dB (about four standard deviations)."""
    from scipy.ndimage import uniform_filter

    clean = images.centre(images.grey(images.photograph("coins")), 96)
    for family in ("gaussian", "poisson"):
        noise = n2s.noise_model(family, study.LEVELS[family])
        y = noise.sample(clean, np.random.default_rng(5))
        table = workflow.estimated_psnr(
            {"filter": lambda t: uniform_filter(t, 3)}, y, noise, np.random.default_rng(6), clean
        )
        assert abs(table.iloc[0, 0] - table.iloc[0, 1]) < 0.5


def test_checks_tell_good_noise_from_correlated_noise():
    from scipy.ndimage import gaussian_filter

    noise = n2s.GaussianNoise(0.1)
    clean = np.full((96, 96), 0.5)
    rng = np.random.default_rng(0)
    curve = n2s.LevelCurve(np.array([0.05, 0.1, 0.15]), np.array([2.0, 1.0, 2.0]), 1, True)
    white = noise.sample(clean, rng)
    soft = gaussian_filter(rng.standard_normal(clean.shape), 0.8)
    row = "the noise of neighbours is independent (correlation)"
    good = workflow.check_assumptions(white, clean, noise, curve, 0.0)
    bad = workflow.check_assumptions(clean + 0.1 * soft / soft.std(), clean, noise, curve, 0.0)
    assert good.holds.all()
    assert not bad.holds[row]


def test_adapting_leaves_the_network_as_it_was():
    net = n2s.load_pretrained("gaussian")
    before = {k: v.clone() for k, v in net.state_dict().items()}
    y = n2s.GaussianNoise(0.1).sample(np.full((96, 96), 0.5), np.random.default_rng(0))
    own = workflow.adapt(net, y, n2s.GaussianNoise(0.1), 2)
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    assert any(not torch.equal(before[k], v) for k, v in own.state_dict().items())


def test_every_method_trains_and_denoises():
    for family, methods in study.METHODS.items():
        scene = study.make_scene(
            n2s.noise_model(family, study.LEVELS[family]), 1, n_train=1, n_test=2, test_size=64
        )
        table = study.compare_methods(scene, methods, [0], steps=2, network={"width": 4, "depth": 2})
        assert set(table.method) == {"noisy", *methods}
        assert np.isfinite(table[["psnr", "ssim"]].to_numpy()).all()
        gaps = study.differences(table, ["supervised", "not there"])
        assert list(gaps.other) == ["supervised"]
    with pytest.raises(ValueError, match="no method"):
        study.train_method("SURE", scene)


def test_sweep_and_blind_table_have_a_row_for_each_image():
    scene = study.make_scene(n2s.GaussianNoise(0.1), 1, n_train=1, n_test=2, test_size=64)
    table = study.sigma_sweep(scene, [0.05, 0.1], steps=1, network={"width": 4, "depth": 2})
    assert len(table) == 4
    blind_net, known = (n2s.load_pretrained("gaussian", name) for name in (pretrained.BLIND, "Noise2Score"))
    rows, curves = study.blind_table(scene, blind_net, known)
    assert len(rows) == 4
    assert set(curves["tv"]) == set(scene.test)


def test_one_dimensional_scores_are_learnt_by_both_losses():
    """After 300 steps the relative error is below a half for AR-DAE and SURE (0.2 in trials)."""
    prior, sigma = onedim.mixture_prior(points=300), 0.1
    learned = onedim.train_scores(
        prior, sigma, [onedim.ardae(0.1), onedim.sure(sigma)], 1, steps=300, batch=256, hidden=24, lr=1e-2
    )
    y = np.linspace(-0.2, 1.3, 200)
    for values, law in zip(
        learned(y),
        (onedim.smoothed(prior, sigma, 0.1, y), onedim.exact(prior, n2s.GaussianNoise(sigma), y)),
        strict=True,
    ):
        error = ((values[0] - law.score) ** 2 * law.density).sum() / (law.score**2 * law.density).sum()
        assert error < 0.25


def test_folders_make_a_scene(tmp_path):
    for part in ("train", "test"):
        (tmp_path / part).mkdir()
        for k in range(2):
            np.save(tmp_path / part / f"{k}.npy", np.random.default_rng(k).random((48, 50)))
    scene = study.make_scene(
        n2s.GaussianNoise(0.1), 0, folders=(str(tmp_path / "train"), str(tmp_path / "test"))
    )
    assert scene.channels == 1
    assert list(scene.test) == ["1", "2"]


def test_a_denoised_image_survives_its_file(tmp_path):
    image = np.random.default_rng(0).random((3, 20, 24))
    workflow.save_image(image, tmp_path / "a.png")
    assert np.abs(n2s.read_image(tmp_path / "a.png") - image).max() <= 0.5 / 255 + 1e-9


def test_figures_of_smallest_inputs_draw():
    import matplotlib.pyplot as plt
    import pandas as pd

    from loglik.generative.noise2score import figures

    image = np.random.default_rng(0).random((3, 16, 16))
    figures.gallery(image, {"a": image, "b": image}, (slice(0, 8), slice(0, 8)))
    figures.before_after(image, 0.9 * image)
    figures.variance_law(pd.DataFrame({"mean": [0.2, 0.5], "variance": [0.01, 0.02]}), 1.0)
    curve = n2s.LevelCurve(np.array([0.05, 0.1, 0.15]), np.array([np.inf, 1.0, 2.0]), 1, False)
    figures.level_curves({"gaussian": {"a": curve}}, {})
    plt.close("all")


def test_training_on_16_bit_numbers_ends_close_to_single_precision():
    scene = study.make_scene(n2s.GaussianNoise(25 / 255), 0, n_train=2, n_test=1, test_size=64)
    how = {"steps": 25, "network": {"width": 8, "depth": 3}}
    single, half = (study.train_method("supervised", scene, precision=p, **how) for p in ("fp32", "bf16"))
    y = scene.test_noisy["camera"]
    a, b = (study.apply_method("supervised", net, y, scene.noise) for net in (single, half))
    assert all(w.dtype == torch.float32 for w in half.parameters())
    assert np.abs(a - b).max() > 0
    assert np.sqrt(np.mean((a - b) ** 2)) < 0.1 * np.sqrt(np.mean((a - y) ** 2))  # of what training did


@pytest.mark.parametrize(("known", "wanted"), [({"avx512_bf16": True}, "bf16"), ({"avx2": True}, "fp32")])
def test_16_bit_numbers_are_for_processors_that_multiply_them(monkeypatch, known, wanted):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
    assert training.fast_precision() == wanted
