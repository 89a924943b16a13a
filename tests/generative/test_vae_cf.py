"""Mult-VAE: exact identities, bad input, the real data's form, and mutants that must be caught.

Tests with random data are identities that hold for any seed, except those that say their false-alarm rate.
"""

from __future__ import annotations

import doctest
import importlib
import zipfile

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse, stats
from sklearn.metrics import ndcg_score
from threadpoolctl import threadpool_limits

from loglik.generative import vae_cf
from loglik.generative.vae_cf import (
    Held,
    LinearAnneal,
    MultDAE,
    MultVAE,
    binarize_interactions,
    ease,
    evaluate,
    fit,
    information_plane,
    log_likelihood,
    movielens,
    ndcg_at_k,
    recall_at_k,
    rows_of,
    simulate_clicks,
    strong_generalization_split,
    study,
    top_k,
    user_kfold,
    wmf,
    wmf_half_step,
    workflow,
)
from loglik.generative.vae_cf import data as data_module
from loglik.generative.vae_cf import metrics as metrics_module
from loglik.generative.vae_cf import models as models_module
from loglik.generative.vae_cf.metrics import mask_seen
from loglik.generative.vae_cf.models import gaussian_kl
from loglik.generative.vae_cf.training import History, annealed_peak, predictor


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def clicks(users=12, items=20, density=0.3, seed=0):
    """Every user has an item."""
    matrix = (np.random.default_rng(seed).random((users, items)) < density).astype(np.float32)
    matrix[:, 0] = 1
    return matrix


@pytest.fixture(scope="module")
def population():
    return simulate_clicks(300, 80, median=12, limits=(5, 40), seed=1)


@pytest.fixture(scope="module")
def split(population):
    return strong_generalization_split(population.table, 50, 60, seed=2)


# -- likelihoods and objective -------------------------------------------------------------------------------------


def test_kl_is_torchs():
    mu, logvar = torch.randn(2, 5, 7, generator=seeded(), dtype=torch.float64)
    q = torch.distributions.Normal(mu, (logvar / 2).exp())
    wanted = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum(-1)
    torch.testing.assert_close(gaussian_kl(mu, logvar), wanted, rtol=1e-6, atol=1e-6)


def test_multinomial_term_is_scipys_without_the_coefficient():
    x = torch.tensor(clicks(4, 6), dtype=torch.float64)
    logits = torch.randn(4, 6, generator=seeded(), dtype=torch.float64)
    wanted = [
        stats.multinomial.logpmf(row, int(row.sum()), p)
        - stats.multinomial.logpmf(row, int(row.sum()), np.full(6, 1 / 6))
        + row.sum() * np.log(1 / 6)
        for row, p in zip(x.numpy(), torch.softmax(logits, 1).numpy(), strict=True)
    ]
    np.testing.assert_allclose(log_likelihood(logits, x).numpy(), wanted, atol=1e-10)


def test_gaussian_and_logistic_terms_are_their_densities():
    x = torch.tensor(clicks(4, 6), dtype=torch.float64)
    f = torch.randn(4, 6, generator=seeded(), dtype=torch.float64)
    c = np.where(x.numpy() > 0, 3.0, 1.0)
    normal = stats.norm.logpdf(x.numpy(), f.numpy(), c**-0.5) + 0.5 * np.log(2 * np.pi / c)
    np.testing.assert_allclose(log_likelihood(f, x, "gaussian", 3.0).numpy(), normal.sum(1), atol=1e-10)
    bernoulli = stats.bernoulli.logpmf(x.numpy(), torch.sigmoid(f).numpy()).sum(1)
    np.testing.assert_allclose(log_likelihood(f, x, "logistic").numpy(), bernoulli, atol=1e-10)


@pytest.mark.parametrize("hidden", [(), (9,)])
def test_beta_multiplies_the_mean_kl_exactly(hidden):
    """Mean over users; a mean over items or dimensions would give β another meaning."""
    model, x = MultVAE(20, hidden, 4, generator=seeded()).double().eval(), clicks()
    free, full = (model.elbo(x, beta, generator=seeded(3)) for beta in (0.0, 1.0))
    mu, logvar = model.encode(x)
    torch.testing.assert_close(full["loss"] - free["loss"], gaussian_kl(mu, logvar).mean())
    torch.testing.assert_close(free["loss"], -free["log_lik"])


def test_encoder_forgets_the_scale_of_the_clicks():
    model, x = MultVAE(20, (9,), 4, generator=seeded()).double().eval(), torch.tensor(clicks()).double()
    torch.testing.assert_close(model.encode(x), model.encode(7.3 * x))


def test_dropout_comes_after_normalisation():
    """With dropout, a kept entry is x/||x||/(1-p): dropping first and normalising then gives unit rows."""
    model, x = MultDAE(20, (), 20, dropout=0.5, squash=False), torch.tensor(clicks())
    with torch.no_grad():
        model.first.weight.copy_(torch.eye(20))
        model.first.bias.zero_()
        torch.manual_seed(0)
        code = model.train().latent_mean(x)
    wanted = 2 * x / x.norm(dim=1, keepdim=True)
    kept = code != 0
    torch.testing.assert_close(code[kept], wanted[kept])
    assert 0.3 < float(kept.sum() / (x > 0).sum()) < 0.7


def test_prediction_is_the_decoded_mean_and_bars_what_was_seen():
    model, x = MultVAE(20, (9,), 4, generator=seeded()), clicks()
    first, second = model.predict(x), model.predict(x)
    assert model.training
    model.eval()
    wanted = model.decode(model.encode(x)[0])
    seen = torch.tensor(x) > 0
    assert torch.equal(first, second)
    assert torch.isneginf(first[seen]).all()
    torch.testing.assert_close(first[~seen], wanted[~seen].detach())


@pytest.mark.parametrize("hidden", [(), (9,)])
def test_vae_without_noise_and_kl_is_the_dae(hidden):
    vae = MultVAE(20, hidden, 4, generator=seeded()).double().eval()
    dae = MultDAE(20, hidden, 4, squash=False).double().eval()
    state = vae.state_dict()
    last = [name for name in state if name.startswith(("first", "encoder"))][
        -2:
    ]  # the layer that gives mu, logvar
    with torch.no_grad():
        for name in last:
            part = state[name]
            half = part[:, :4] if name == "first.weight" else part[:4]
            (part[:, 4:] if name == "first.weight" else part[4:]).zero_()
            dae.get_parameter(name).copy_(half)
            if name.endswith("bias"):
                part[4:] = -200  # σ = exp(-100)
        for name, value in state.items():
            if name not in last:
                dae.get_parameter(name).copy_(value)
    x = clicks()
    torch.testing.assert_close(vae.elbo(x, 0.0)["loss"], dae.elbo(x)["loss"], rtol=1e-12, atol=1e-12)


def test_bag_of_items_is_the_dense_product():
    model, x = MultDAE(20, (9,), 4, generator=seeded()).double().eval(), torch.tensor(clicks()).double()
    unit = x / x.norm(dim=1, keepdim=True)
    wanted = torch.tanh(unit @ model.first.weight + model.first.bias)
    wanted = torch.tanh(model.encoder[0](wanted))
    torch.testing.assert_close(model.latent_mean(x), wanted)


def test_rows_of_every_kind_are_alike_and_batches_are_rows():
    x = clicks()
    x[3] = 0
    kinds = [rows_of(x), rows_of(torch.tensor(x)), rows_of(sparse.csr_matrix(x)), rows_of(rows_of(x))]
    for rows in kinds:
        np.testing.assert_array_equal(rows.dense().numpy(), x)
    some = torch.tensor([7, 3, 3, 0])
    np.testing.assert_array_equal(vae_cf.ClickRows(x)[some].dense().numpy(), x[some])


def test_permuted_items_permute_scores():
    model, x, order = (
        MultVAE(20, (9,), 4, generator=seeded()),
        clicks(),
        torch.randperm(20, generator=seeded()),
    )
    twin = MultVAE(20, (9,), 4)
    twin.load_state_dict(model.state_dict())
    with torch.no_grad():
        twin.first.weight.copy_(model.first.weight[order])
        for mine, theirs in zip(twin.decoder[-1].parameters(), model.decoder[-1].parameters(), strict=True):
            mine.copy_(theirs[order])
    torch.testing.assert_close(twin.predict(x[:, order]), model.predict(x)[:, order])


def test_more_samples_lower_the_noise_of_the_elbo_and_keep_its_mean():
    """Means over 400 draws agree within 5 standard errors (false alarms: under 1e-6)."""
    model, x = MultVAE(20, (), 4, generator=seeded()).double().eval(), clicks()
    one = torch.stack([model.elbo(x, 1.0, generator=seeded(i))["loss"] for i in range(400)])
    many = model.elbo(x, 1.0, n_samples=2000, generator=seeded(999))["loss"]
    assert abs(one.mean() - many) < 5 * one.std() * np.sqrt(1 / 400 + 1 / 2000)


def test_popularity_start_predicts_popularity():
    model, x = MultVAE(20, (), 4, likelihood="logistic", generator=seeded()), clicks()
    share = torch.tensor(x.mean(0)).clamp(1e-4, 1 - 1e-4)
    model.start_at(torch.tensor(x.mean(0)))
    torch.testing.assert_close(torch.sigmoid(model.decoder[-1].bias.detach()), share)


# -- annealing -----------------------------------------------------------------------------------------------------


def test_anneal_is_capped_not_scaled():
    anneal = LinearAnneal(200_000, 0.2)
    assert [anneal(s) for s in (0, 20_000, 40_000, 1_000_000)] == pytest.approx([0, 0.1, 0.2, 0.2], abs=1e-15)


def test_peak_of_a_ramp():
    beta = np.linspace(0, 1, 41)
    history = History(np.arange(41), beta, -((beta - 0.3) ** 2), {}, 0.0, 0.0)
    assert annealed_peak(history) == pytest.approx(0.3)


@pytest.mark.parametrize(("steps", "cap"), [(0, 0.2), (10, -0.1), (10, np.inf), (10, np.nan)])
def test_bad_ramps(steps, cap):
    with pytest.raises(ValueError, match=r"ramp|cap"):
        LinearAnneal(steps, cap)


# -- metrics -------------------------------------------------------------------------------------------------------


def test_metrics_by_hand():
    scores = np.array([[5.0, 4, 3, 2, 1]] * 4)
    target = np.array([[1, 0, 0, 0, 0], [0, 1, 0, 1, 0], [1, 1, 1, 1, 0], [0, 0, 0, 0, 0]])
    d = 1 / np.log2(np.arange(2, 7))
    ndcg = [1, (d[1] + 0) / (d[0] + d[1]), 1, np.nan]
    np.testing.assert_allclose(ndcg_at_k(scores, target, 3), ndcg)
    np.testing.assert_allclose(recall_at_k(scores, target, 3), [1, 1 / 2, 1, np.nan])
    np.testing.assert_allclose(recall_at_k(scores, target, 1), [1, 0, 1, np.nan])


def test_ties_go_to_the_lower_column():
    np.testing.assert_array_equal(top_k([[1.0, 2, 1, 1, 2]], 3), [[1, 4, 0]])
    np.testing.assert_array_equal(top_k(np.zeros((1, 4)), 2), [[0, 1]])


@given(st.integers(0, 10_000), st.integers(1, 12))
@settings(max_examples=40, deadline=None)
def test_top_k_is_the_sorted_start(seed, k):
    scores = np.random.default_rng(seed).integers(0, 6, (3, 12)).astype(float)
    np.testing.assert_array_equal(top_k(scores, k), np.argsort(-scores, axis=1, kind="stable")[:, :k])


@given(st.integers(0, 10_000), st.integers(3, 15))
@settings(max_examples=40, deadline=None)
def test_ndcg_is_sklearns_where_k_covers_the_targets(seed, k):
    rng = np.random.default_rng(seed)
    scores, target = rng.normal(size=(1, 15)), np.zeros((1, 15))
    target[0, rng.choice(15, rng.integers(1, 4), replace=False)] = 1
    assert ndcg_at_k(scores, target, k)[0] == pytest.approx(ndcg_score(target, scores, k=k), abs=1e-12)


@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 12))
@settings(max_examples=40, deadline=None)
def test_ndcg_is_one_only_where_the_first_are_all_relevant(seed, k, relevant):
    rng = np.random.default_rng(seed)
    scores, target = rng.normal(size=(1, 12)), np.zeros((1, 12))
    target[0, rng.choice(12, relevant, replace=False)] = 1
    perfect = target[0, top_k(scores, k)[0]][: min(k, relevant)].all()
    assert (ndcg_at_k(scores, target, k)[0] > 1 - 1e-12) == perfect


def test_seen_items_cannot_take_places(split):
    """A model that scores the fold-in highest: without the mask its ranking is full of what the user has."""
    held = split.test
    oracle = lambda x: held.target.toarray() + 100 * x.toarray()  # noqa: E731
    assert evaluate(oracle, held, ["ndcg@20"])["ndcg@20"].min() == pytest.approx(1)
    assert np.nanmean(ndcg_at_k(oracle(held.fold_in), held.target, 20)) < 0.6
    masked = mask_seen(oracle(held.fold_in), held.fold_in)
    assert np.nanmin(ndcg_at_k(masked, held.target, 20)) == pytest.approx(1)


def test_blocks_do_not_matter(split):
    whole, parts = (evaluate(study.popular(split), split.test, block=block) for block in (1000, 7))
    pd.testing.assert_frame_equal(whole, parts)


@pytest.mark.parametrize(
    ("scores", "k", "message"),
    [
        (np.zeros((2, 5)), 6, "number of items"),
        (np.zeros((2, 5)), 0, "between 1"),
        (np.full((2, 5), np.nan), 2, "NaN"),
        (np.zeros((2, 4)), 2, "shape"),
    ],
)
def test_bad_rankings(scores, k, message):
    with pytest.raises(ValueError, match=message):
        ndcg_at_k(scores, np.ones((2, 5)), k)


def test_evaluate_refuses_leaks_and_unknown_metrics(split):
    leaky = Held(split.test.fold_in, split.test.fold_in, split.test.users)
    with pytest.raises(ValueError, match="must not be an input"):
        evaluate(lambda x: x.toarray(), leaky)
    with pytest.raises(ValueError, match="unknown metric"):
        evaluate(lambda x: x.toarray(), split.test, ["map@10"])


# -- data ----------------------------------------------------------------------------------------------------------


def users_of(table, column="user"):
    return set(table[column])


def test_split_parts_share_nothing(population, split):
    n = population.table.user.nunique()
    held = set(split.val.users) | set(split.test.users)
    assert not set(split.val.users) & set(split.test.users)
    assert split.train.shape[0] == n - 110
    assert len(held) <= 110
    assert (split.train.sum(0) > 0).all()  # the catalogue is the training users' items
    for part in (split.val, split.test):
        assert not part.fold_in.multiply(part.target).nnz
        total = np.diff(part.fold_in.indptr) + np.diff(part.target.indptr)
        np.testing.assert_array_equal(np.diff(part.target.indptr), np.floor(0.2 * total + 1e-9))
        known = population.table[population.table.item.isin(split.item_index)]
        sizes = known.groupby("user").size()
        np.testing.assert_array_equal(total, sizes[part.users])


def test_split_follows_its_seed(population):
    a, b, c = (strong_generalization_split(population.table, 50, 60, seed=s) for s in (5, 5, 6))
    assert (a.train != b.train).nnz == 0
    assert (a.test.target != b.test.target).nnz == 0
    assert set(a.test.users) != set(c.test.users)


def test_every_user_is_tested_once(population):
    folds = list(user_kfold(population.table, 4, 30, seed=0))
    tested = np.concatenate([fold.test.users for fold in folds])
    assert len(tested) == len(set(tested)) >= 0.95 * population.table.user.nunique()
    for fold in folds:
        assert not set(fold.test.users) & set(fold.val.users)


def test_popular_items_are_counted_on_training_users_only(population, split):
    counts = pd.Series(vae_cf.popularity(split.train), split.item_index)
    held = population.table[~population.table.user.isin([*split.val.users, *split.test.users])]
    wanted = held.groupby("item").size()
    dropped = 110 - len(split.val.users) - len(split.test.users)
    if dropped == 0:
        pd.testing.assert_series_equal(counts.sort_index(), wanted.astype(float), check_names=False)
    assert counts.sum() == split.train.nnz


def test_binarize_keeps_what_it_says():
    table = pd.DataFrame(
        {
            "u": [1] * 6 + [2] * 5 + [3],
            "i": [0, 1, 2, 3, 4, 4, 0, 1, 2, 3, 4, 0],
            "r": [4, 5, 4, 4, 4, 4, 4, 4, 4, 4, 3.5, 5],
        }
    )
    found = binarize_interactions(table, "u", "i", "r")
    assert found.user.unique().tolist() == [1]  # user 2's fifth rating is 3.5
    assert len(found) == 5  # the double is gone
    assert len(binarize_interactions(table, "u", "i")) == 10
    assert users_of(binarize_interactions(table, "u", "i", min_user_count=1, min_item_count=3), "item") == {0}


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        ({}, ("u", "x"), "no column 'x'"),
        ({"u": [1, np.nan]}, ("u", "i"), "every row"),
        ({"r": ["a", "5"]}, ("u", "i", "r"), "numbers"),
        ({}, ("u", "i", "r"), "no interaction is left"),
    ],
)
def test_bad_tables(change, arguments, message):
    table = pd.DataFrame({"u": [1, 2], "i": [1, 2], "r": [4, 5]} | change)
    with pytest.raises(ValueError, match=message):
        binarize_interactions(table, *arguments)


def test_bad_splits(population):
    with pytest.raises(ValueError, match="cannot be cut"):
        strong_generalization_split(population.table, 200, 100)
    with pytest.raises(ValueError, match="between 0 and 1"):
        strong_generalization_split(population.table, 20, 20, test_prop=1.0)
    with pytest.raises(ValueError, match="at least 2 folds"):
        next(user_kfold(population.table, 1, 20, 0))


def ratings_file(name):
    """A small table in the form of GroupLens' file."""
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"userId": np.repeat(np.arange(1, 41), 12), "movieId": rng.integers(1, 200, 480)})
    rows = rows.drop_duplicates().assign(rating=lambda t: rng.choice([3.5, 4, 4.5, 5], len(t)), timestamp=0)
    if name == "ml-20m":
        return rows, rows.to_csv(index=False)
    separator = {"ml-1m": "::", "ml-100k": "\t"}[name]
    return rows, "\n".join(separator.join(map(str, row)) for row in rows.to_numpy()) + "\n"


@pytest.mark.parametrize("name", ["ml-100k", "ml-1m", "ml-20m"])
@pytest.mark.parametrize("packed", [False, True])
def test_movielens_path_from_file_to_metrics(tmp_path, monkeypatch, name, packed):
    """The whole road of ML-20M on a small file of its form: read, filter, split, train, evaluate."""
    monkeypatch.setattr(movielens, "find_movielens_100k", lambda: None)
    rows, text = ratings_file(name)
    edition = movielens.EDITIONS[name]
    if packed:
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            archive.writestr(f"{name}/{edition.file}", text)
    else:
        (tmp_path / name).mkdir()
        (tmp_path / name / edition.file).write_text(text)
    if edition.counts is not None:
        with pytest.raises(ValueError, match="another edition or incomplete"):
            movielens.load_movielens(name, tmp_path)
    liked = binarize_interactions(rows, "userId", "movieId", "rating")
    counts = liked.user.nunique(), liked.item.nunique(), len(liked)
    monkeypatch.setitem(movielens.EDITIONS, name, edition._replace(counts=counts))
    found = movielens.load_movielens(name, tmp_path)
    pd.testing.assert_frame_equal(found, liked, check_dtype=False)
    split = strong_generalization_split(found, 8, 8)
    model = MultVAE(split.n_items, (16,), 8)
    fit(model, split, epochs=2, batch_size=10, anneal=LinearAnneal(200_000, 0.2))
    assert evaluate(predictor(model), split.test)["ndcg@100"].between(0, 1).all()


def test_movielens_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(movielens, "find_movielens_100k", lambda: None)
    with pytest.raises(FileNotFoundError, match="make optional"):
        movielens.load_movielens("ml-100k", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"ml-20m\.zip.*simulate_clicks"):
        movielens.load_movielens("ml-20m", tmp_path)
    with pytest.raises(ValueError, match="allowed: ml-100k"):
        movielens.load_movielens("ml-25m", tmp_path)

    def unplugged(*_, **__):
        raise movielens.urllib.error.URLError("no network")

    monkeypatch.setattr(movielens.urllib.request, "urlopen", unplugged)
    with pytest.raises(OSError, match="without a network put"):
        movielens.load_movielens("ml-20m", tmp_path, download=True)
    assert not list(tmp_path.glob("*.zip"))


def test_real_movielens_has_the_counts_of_the_brief():
    if movielens.find_movielens_100k() is None:
        pytest.skip("MovieLens-100K comes with `make optional`")
    found = movielens.load_movielens()
    per_user = found.groupby("user").size()
    assert (len(found), found.user.nunique(), found.item.nunique()) == (55_361, 938, 1447)
    assert per_user.describe()[["min", "25%", "50%", "75%", "max"]].tolist() == [5, 19.25, 40, 81, 378]
    assert "Toy Story (1995)" in movielens.movie_titles().values()


def test_simulated_clicks_follow_their_probabilities():
    """First clicks of 4000 users of equal taste: chi-square over the 8 items, p above 1e-6."""
    found = simulate_clicks(4000, 8, strength=1e-9, median=1, spread=1e-9, limits=(1, 2), seed=3)
    first = found.table.groupby("user").item.first()
    expected = 4000 * np.exp(found.log_proba[0].astype(float))
    observed = np.bincount(first, minlength=8)
    assert stats.chisquare(observed, expected * observed.sum() / expected.sum()).pvalue > 1e-6


def test_simulated_users_have_distinct_items_and_counts_in_limits(population):
    assert not population.table.duplicated().any()
    assert population.table.groupby("user").size().between(5, 40).all()
    np.testing.assert_allclose(np.exp(population.log_proba).sum(1), 1, rtol=1e-5)
    with pytest.raises(ValueError, match="fewest"):
        simulate_clicks(10, 20, limits=(5, 20))


# -- baselines -----------------------------------------------------------------------------------------------------


def test_ease_meets_its_optimality_conditions():
    X = clicks(60, 15)
    B = ease(X, 7.0)
    assert (np.diag(B) == 0).all()
    slope = X.T @ X @ (B - np.eye(15)) + 7.0 * B
    off = ~np.eye(15, dtype=bool)
    assert np.abs(slope[off]).max() < 1e-8 * np.abs(X.T @ X).max()


def test_wmf_half_step_is_implicits():
    from implicit.als import AlternatingLeastSquares

    X = sparse.csr_matrix(clicks(70, 30))
    with threadpool_limits(1, user_api="blas"):
        peer = AlternatingLeastSquares(
            factors=6,
            regularization=2.0,
            alpha=1.0,
            use_cg=False,
            iterations=3,
            num_threads=1,
            random_state=0,
        )
        confidence = X.copy()
        confidence.data[:] = 6.0
        peer.fit(confidence, show_progress=False)
        wanted = peer.recalculate_user(np.arange(70), confidence)
    found = wmf_half_step(peer.item_factors, X, 5.0, 2.0)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    folded = vae_cf.WMF(peer.item_factors, 5.0, 2.0).fold_in(X)
    np.testing.assert_allclose(folded, found, rtol=1e-4, atol=1e-5)


def test_wmf_half_step_minimises_the_weighted_error():
    V, x, alpha, reg = np.random.default_rng(0).normal(size=(9, 3)), clicks(1, 9), 4.0, 1.5
    u = wmf_half_step(V, x, alpha, reg)[0]
    gradient = V.T @ ((1 + alpha * x[0]) * (V @ u - x[0])) + reg * u
    assert np.abs(gradient).max() < 1e-10
    assert not wmf_half_step(V, np.zeros((2, 9)), alpha, reg).any()


def test_bad_baselines():
    with pytest.raises(ValueError, match="reg must be positive"):
        ease(clicks(), 0.0)
    with pytest.raises(ValueError, match="factors"):
        wmf(clicks(), 0, 1.0, 1.0)
    with pytest.raises(ValueError, match="negative, NaN"):
        ease(-clicks(), 1.0)
    with pytest.raises(TypeError, match="matrix"):
        ease(["a"], 1.0)


# -- models' input -------------------------------------------------------------------------------------------------


def test_bad_models_and_clicks(split):
    model = MultVAE(20, (), 4)
    for bad in (clicks(3, 19), -clicks(3, 20), np.full((3, 20), np.nan, np.float32)):
        with pytest.raises(ValueError, match=r"columns|negative"):
            model.predict(bad)
    for change in ({"likelihood": "poisson"}, {"dropout": 1.0}, {"latent": 0}, {"pos_weight": 0.5}):
        with pytest.raises(ValueError, match=r"unknown likelihood|dropout|sizes|pos_weight"):
            MultVAE(20, **change)
    with pytest.raises(ValueError, match="the split"):
        fit(model, split, epochs=1)
    fitting = MultVAE(split.n_items, (), 4)
    with pytest.raises(ValueError, match="β must"):
        fit(fitting, split, epochs=1, anneal=-1.0)
    with pytest.raises(ValueError, match="epochs"):
        fit(fitting, split, epochs=0)


def test_users_without_clicks_are_warned_about_and_alike():
    x = clicks()
    x[[2, 5]] = 0
    with pytest.warns(UserWarning, match="2 of 12 users have no click"):
        scores = MultVAE(20, (), 4).predict(x)
    assert torch.equal(scores[2], scores[5])


# -- training ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(split):
    model = MultVAE(split.n_items, (), 16, generator=seeded())
    return model, fit(model, split, epochs=40, batch_size=50, lr=5e-3, anneal=LinearAnneal(120, 0.2))


def test_training_beats_popularity_and_keeps_the_best(split, trained):
    """NDCG@20 by at least .05 on 60 users; over 8 seeds the gain was .13 to .19."""
    model, history = trained
    popular = evaluate(study.popular(split), split.test, ["ndcg@20"])["ndcg@20"].mean()
    assert evaluate(predictor(model), split.test, ["ndcg@20"])["ndcg@20"].mean() > popular + 0.05
    again = evaluate(predictor(model), split.val, ["ndcg@100"])["ndcg@100"].mean()
    assert again == pytest.approx(history.best_val) == pytest.approx(history.val.max())
    assert history.beta[-1] == 0.2
    np.testing.assert_array_equal(history.step, 4 * np.arange(1, 41))


def test_training_follows_its_seed(split):
    def weights(seed):
        model = MultVAE(split.n_items, (), 4, generator=seeded())
        fit(model, split, epochs=2, batch_size=50, seed=seed)
        return model.decoder[-1].weight.detach()

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_weight_decay_is_on_matrices_and_the_batch_mean(split):
    """One step of the objective: its gradient is that of the mean loss plus 2 λ W."""
    from loglik.generative.vae_cf.training import _Objective

    model = MultDAE(split.n_items, (), 4, generator=seeded()).eval()
    batch = vae_cf.ClickRows(split.train)[torch.arange(10)]
    grads = []
    for decay in (0.0, 0.3):
        model.zero_grad()
        loss, units = _Objective(lambda _: 0.0, decay)(model, batch)
        (loss / units).backward()
        grads.append([p.grad.clone() for p in model.parameters()])
    for p, plain, decayed in zip(model.parameters(), *grads, strict=True):
        extra = 0.6 * p.detach() if p.ndim == 2 else torch.zeros_like(p)
        torch.testing.assert_close(decayed - plain, extra, rtol=1e-4, atol=1e-5)


# -- information ---------------------------------------------------------------------------------------------------


def test_rate_is_information_plus_divergence(split, trained):
    """Within 5 Monte-Carlo standard errors (false alarms: under 1e-6)."""
    plane = information_plane(trained[0], split.train, n_mc=20)
    gap = plane["mutual_information"] + plane["marginal_kl"] - plane["rate"]
    assert abs(gap) < 5 * plane["mc_se"]
    assert 0 <= plane["mutual_information"] <= np.log(split.train.shape[0]) + 5 * plane["mc_se"]
    assert plane["marginal_kl"] >= 0
    with pytest.raises(ValueError, match="2 draws"):
        information_plane(trained[0], split.train, n_mc=1)


def test_one_user_carries_no_information():
    """q(z) is then q(z|x): information 0, and the divergence is the rate."""
    model = MultVAE(20, (), 4, generator=seeded())
    plane = information_plane(model, clicks(1, 20), n_mc=4000)
    assert plane["mutual_information"] == pytest.approx(0, abs=1e-6)
    assert abs(plane["marginal_kl"] - plane["rate"]) < 5 * plane["mc_se"]


# -- the chapter's studies -----------------------------------------------------------------------------------------


def test_excess_log_loss_is_zero_for_the_truth_and_positive_else(population, split):
    held = split.test
    truth = population.log_proba[held.users][:, split.item_index]

    class Oracle:
        def __init__(self, log_proba):
            self.log_proba = torch.tensor(log_proba).double()

        def predict(self, fold_in):
            scores = self.log_proba.clone()
            scores[fold_in.nonzero()] = -torch.inf
            return scores

    assert np.abs(study.excess_log_loss(Oracle(truth), held, truth)).max() < 1e-6
    assert study.excess_log_loss(Oracle(0 * truth), held, truth).min() > 0.01


def test_paired_differences_are_by_user():
    scores = pd.DataFrame(
        {
            "method": ["a"] * 3 + ["b"] * 3,
            "user": [1, 2, 3, 3, 2, 1],
            "ndcg@100": [0.5, 0.4, 0.3, 0.1, 0.2, 0.3],
        }
    )
    found = study.paired(scores, "a", "b", np.random.default_rng(0))
    assert found.value == pytest.approx(0.2)
    assert found.low == pytest.approx(found.high) == pytest.approx(0.2)
    with pytest.raises(ValueError, match="share no test user"):
        study.paired(scores, "a", "c", np.random.default_rng(0))


def test_recommendations_are_new_and_ranked(split, trained):
    table = workflow.recommend(trained[0], split.test.fold_in, split.test.users, split.item_index, 5)
    assert table.groupby("user").size().eq(5).all()
    assert table.groupby("user").score.apply(lambda s: s.is_monotonic_decreasing).all()
    rows = pd.Index(split.test.users).get_indexer(table.user)
    columns = split.item_index.get_indexer(table.item)
    assert not np.asarray(split.test.fold_in[rows, columns]).any()


def test_workflow_reads_a_table_and_says_what_is_wrong(tmp_path):
    path = tmp_path / "clicks.csv"
    simulate_clicks(60, 40, median=10, limits=(5, 20), seed=0).table.to_csv(path, index=False)
    source = workflow.read_clicks(str(path), "user", "item")
    assert source.real
    assert source.table.columns.tolist() == ["user", "item"]
    with pytest.raises(ValueError, match="no column 'film'"):
        workflow.read_clicks(str(path), "user", "film")
    with pytest.raises(FileNotFoundError):
        workflow.read_clicks(str(tmp_path / "nowhere.csv"), "user", "item")


# -- mutants -------------------------------------------------------------------------------------------------------


def test_mutant_recall_over_all_targets(monkeypatch):
    mutant = lambda hits, n, k: hits.sum(axis=1) / np.where(n > 0, n, np.nan)  # noqa: E731
    monkeypatch.setattr(metrics_module, "_recall", mutant)
    with pytest.raises(AssertionError):
        test_metrics_by_hand()


def test_mutant_kl_as_a_mean_over_dimensions(monkeypatch):
    mutant = lambda mu, logvar: gaussian_kl(mu, logvar) / mu.shape[-1]  # noqa: E731
    monkeypatch.setattr(models_module, "gaussian_kl", mutant)
    with pytest.raises(AssertionError):
        test_beta_multiplies_the_mean_kl_exactly(())


def test_mutant_sampling_at_prediction(monkeypatch):
    def sampled(self, x):
        mu, logvar = self.encode(x)
        return mu + (logvar / 2).exp() * torch.randn_like(mu)

    monkeypatch.setattr(MultVAE, "latent_mean", sampled)
    with pytest.raises(AssertionError):
        test_prediction_is_the_decoded_mean_and_bars_what_was_seen()


def test_mutant_normalising_after_dropout(monkeypatch):
    def swapped(self, x):
        kept = torch.nn.functional.dropout(x.values, self.dropout, self.training)
        return self.first(x, x._replace(values=kept).unit_values())

    monkeypatch.setattr(MultDAE, "_code", swapped)
    with pytest.raises(AssertionError):
        test_dropout_comes_after_normalisation()


def test_mutant_ideal_not_cut_at_the_targets(monkeypatch):
    def mutant(hits, n, k):
        discount = 1 / np.log2(np.arange(2, k + 2))
        return hits @ discount / discount.sum()

    monkeypatch.setattr(metrics_module, "_ndcg", mutant)
    with pytest.raises(AssertionError):
        test_metrics_by_hand()


def test_mutant_targets_that_stay_in_the_fold_in(monkeypatch, population):
    def leaky(df, users, items, test_prop, rng):
        held = real_held(df, users, items, test_prop, rng)
        return held._replace(fold_in=held.fold_in + held.target)

    real_held = data_module._held
    monkeypatch.setattr(data_module, "_held", leaky)
    broken = strong_generalization_split(population.table, 50, 60, seed=2)
    with pytest.raises(AssertionError):
        test_split_parts_share_nothing(population, broken)


@pytest.mark.parametrize("module", ["training"])
def test_examples_in_docstrings(module):
    found = doctest.testmod(importlib.import_module(f"loglik.generative.vae_cf.{module}"))
    assert found.attempted > 0
    assert found.failed == 0
