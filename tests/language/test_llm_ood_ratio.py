"""Tests of language/llm_ood_ratio: exact identities, properties of the inputs, and mutants."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import Pipeline

from loglik.language import tokens
from loglik.language.llm_ood_ratio import (
    LikelihoodRatioDetector,
    baselines,
    conformal_threshold,
    data,
    finetune,
    kl_gap,
    log_likelihoods,
    metrics,
    ood_metrics,
    parents,
    products,
    qa_scores,
    questions,
    ratio_scores,
    scores,
    selective_accuracy,
    study,
    theory,
    tuning,
    workflow,
)
from loglik.language.models import tiny_llama

TEXTS = [
    "In the beginning",
    "In the beginning God created the heaven and the earth.",
    "free offer, click here now",
    "x",
]


@pytest.fixture(scope="module")
def tokenizer():
    return tokens.train_bpe(TEXTS, 280)


@pytest.fixture(scope="module")
def pair(tokenizer):
    parent = tiny_llama(len(tokenizer), d_model=16, n_layers=1, n_heads=2, seed=0).eval()
    batch = tokens.encode(tokenizer, TEXTS[:2] * 8)
    return parent, finetune(parent, batch, epochs=4, batch_size=4, lr=1e-2).model


# -- products ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "shape", [(4, 100, 96), (400, 96), (3, 96)]
)  # the last is too small for a convolution
def test_product_and_its_gradients_are_those_of_a_linear_layer(shape, bias):
    g = torch.Generator().manual_seed(0)
    rows, weight, offset = (torch.randn(*s, generator=g) for s in (shape, (80, 96), (80,)))
    inputs = [t.requires_grad_() for t in (rows, weight, offset)[: 2 + bias]]
    out, usual = products.product(*inputs), torch.nn.functional.linear(*inputs)
    assert out.shape == usual.shape
    torch.testing.assert_close(out, usual, rtol=1e-5, atol=1e-4)  # float32 sums of 96 terms, in another order
    direction = torch.randn(*usual.shape, generator=g)
    ours, theirs = (torch.autograd.grad((y * direction).sum(), inputs) for y in (out, usual))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-3)


def test_double_precision_stays_exact():
    rows, weight = (torch.randn(*s, dtype=torch.float64) for s in ((400, 96), (80, 96)))
    torch.testing.assert_close(products.product(rows, weight), rows @ weight.T, rtol=1e-14, atol=1e-13)


def _fail_inside(pair, kinds):
    with products.wide_products(*pair):
        assert [type(module) for model in pair for module in model.modules()] != kinds
        1 / 0  # noqa: B018


def test_models_are_themselves_again_after_an_error(pair):
    kinds = [type(module) for model in pair for module in model.modules()]
    with pytest.raises(ZeroDivisionError):
        _fail_inside(pair, kinds)
    assert [type(module) for model in pair for module in model.modules()] == kinds


# -- likelihoods -------------------------------------------------------------------------------------------


def test_log_likelihood_is_the_models_own_loss_whatever_the_padding(pair, tokenizer):
    batch = tokens.encode(tokenizer, TEXTS)  # mixed lengths; the first text is a prefix of the second
    found = log_likelihoods(*pair, batch)
    for i, (ids, length) in enumerate(zip(batch.ids, batch.lengths.tolist(), strict=True)):
        row = ids[None, :length]
        for model, logp in zip(pair, (found.parent[i], found.child[i]), strict=True):
            loss = float(model(input_ids=row, labels=row).loss.detach())
            assert logp == pytest.approx(-loss * (length - 1), rel=1e-5)
            logits = model(input_ids=row).logits[0].detach().double().log_softmax(-1)
            assert logp == pytest.approx(
                sum(float(logits[t, row[0, t + 1]]) for t in range(length - 1)), rel=1e-5
            )
        assert found.n_tokens[i] == length - 1


def test_a_model_against_itself_gives_zero_and_chance(pair, tokenizer):
    parent = pair[0]
    found = log_likelihoods(parent, copy.deepcopy(parent), tokens.encode(tokenizer, TEXTS))
    ratio = ratio_scores(*found)["LR"]
    assert (ratio == 0).all()
    assert ood_metrics(ratio, [True, False, True, False])["auroc"] == 0.5


def test_ratio_is_antisymmetric_and_ignores_a_bias_on_all_logits(pair, tokenizer):
    batch = tokens.encode(tokenizer, TEXTS)
    there, back = (ratio_scores(*log_likelihoods(*models, batch))["LR"] for models in (pair, pair[::-1]))
    np.testing.assert_allclose(there, -back, atol=1e-12)

    class Shifted(torch.nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model, self.config = model, model.config

        def forward(self, **inputs):
            out = self.model(**inputs)
            out.logits = out.logits + 3.0
            return out

    shifted = ratio_scores(*log_likelihoods(pair[0], Shifted(pair[1]), batch))["LR"]
    np.testing.assert_allclose(shifted, there, atol=1e-4)


def test_dropout_is_off_while_scoring(pair, tokenizer):
    batch = tokens.encode(tokenizer, TEXTS)
    parent = copy.deepcopy(pair[0]).train()
    for layer in parent.model.layers:
        layer.self_attn.attention_dropout = 0.5
    first, second = (log_likelihoods(parent, pair[1], batch).parent for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert parent.training  # and its mode is given back


def test_released_code_multiplies_the_mean_by_the_number_of_ids():
    found = ratio_scores([-12.0], [-8.0], [4], compat="official")
    assert found["LR"][0] == pytest.approx((-12.0 / 4 - -8.0 / 4) * 5)
    assert found["LH"][0] == pytest.approx(8.0 / 4 * 5)


def test_mutant_parent_and_child_swapped_is_caught(pair, tokenizer):
    batch = tokens.encode(tokenizer, TEXTS[:3])
    ratio = ratio_scores(*log_likelihoods(*pair, batch))["LR"]
    mutant = ratio_scores(*log_likelihoods(*pair[::-1], batch))["LR"]
    assert ratio[:2].max() < ratio[2]  # the child was trained on the first two
    assert not mutant[:2].max() < mutant[2]


def test_mutant_mean_for_sum_is_caught(pair, tokenizer):
    batch = tokens.encode(tokenizer, TEXTS)
    found = ratio_scores(*log_likelihoods(*pair, batch))
    n = (batch.lengths - 1).numpy()
    np.testing.assert_allclose(found["NLR"] * n, found["LR"])
    assert not np.allclose(found["NLR"], found["LR"])


# -- questions ---------------------------------------------------------------------------------------------


def test_answer_given_question_is_a_difference(pair, tokenizer):
    found = qa_scores(pair[1], pair[0], tokenizer, TEXTS[:2], ["heaven", "earth"])
    np.testing.assert_array_equal(found["a_given_q"], found["qa"] - found["q"])


def test_selective_accuracy_at_one_drops_no_known_question():
    rng = np.random.default_rng(0)
    known, foreign, right = rng.normal(size=40), rng.normal(1, 1, 30), rng.random(40) < 0.7
    expected = right.sum() / (40 + (foreign < known.max()).sum())
    assert selective_accuracy(known, right, foreign, [1.0])[0] == expected
    everything = selective_accuracy(known, right, known.max() + 1 + np.abs(foreign), [1.0, 0.5])
    assert everything[0] == right.mean()


def test_answers_weigh_as_told(pair, tokenizer):
    batch = tokens.encode(tokenizer, TEXTS[:2])
    loss, units = questions.quiz_loss(1.0)(pair[0], batch)
    plain, n = scores.scoring.causal_loss(pair[0], batch)
    assert float((loss / units).detach()) == pytest.approx(float((plain / n).detach()), rel=1e-5)
    assert float(questions.quiz_loss(8.0)(pair[0], batch)[1]) == float(n) + 2 * 3 * 7


# -- theory ------------------------------------------------------------------------------------------------


def test_kl_identity_and_optimality_over_all_81_strings():
    found = theory.optimality_study(20, np.random.default_rng(0))
    assert found["identity"].max() < 1e-10
    others = np.stack([found[name] for name in ("LH", "LH_pre", "wrong parent", "random", "mixtures")])
    assert (others <= found["LR"] + 1e-12).all()


def test_likelihood_gap_contains_the_entropies():
    rng = np.random.default_rng(5)
    x = theory.strings(3, 4)
    p, q, child = (theory.log_probability(theory.random_chain(3, rng), x) for _ in range(3))
    gap = np.exp(q) @ -child - np.exp(p) @ -child
    entropies = [-float(np.exp(law) @ law) for law in (q, p)]
    assert gap == pytest.approx(
        entropies[0] + theory.kl(q, child) - entropies[1] - theory.kl(p, child), abs=1e-10
    )


def test_chain_is_a_law_and_samples_follow_it():
    chain = theory.random_chain(3, np.random.default_rng(1))
    x = theory.strings(3, 4)
    assert np.exp(theory.log_probability(chain, x)).sum() == pytest.approx(1, abs=1e-12)
    drawn = theory.sample(chain, 40_000, 4, np.random.default_rng(2))
    counts = np.bincount(drawn @ 3 ** np.arange(4), minlength=81)
    expected = np.zeros(81)
    expected[x @ 3 ** np.arange(4)] = 40_000 * np.exp(theory.log_probability(chain, x))
    statistic = ((counts - expected) ** 2 / expected).sum()
    assert statistic < 149.4  # 80 degrees of freedom: false alarm in 1 of 250,000 seeds


def test_estimated_gap_agrees_with_the_exact_brackets():
    rng = np.random.default_rng(3)
    p, q, parent, child = (theory.random_chain(3, rng) for _ in range(4))
    x = theory.strings(3, 4)
    exact = theory.kl_identity(*(theory.log_probability(c, x) for c in (p, q, parent, child)))
    ids, oods = (theory.sample(c, 20_000, 4, rng) for c in (p, q))
    gap = kl_gap(*(theory.log_probability(c, y) for y in (ids, oods) for c in (parent, child)))
    assert abs(gap.ood - exact.ood) < 5 * gap.ood_se  # five standard errors: 6e-7 of seeds
    assert abs(gap.id - exact.id) < 5 * gap.id_se


# -- metrics -----------------------------------------------------------------------------------------------


def test_metrics_are_those_of_ood_metrics():
    rng = np.random.default_rng(0)
    for _ in range(50):
        values = rng.integers(0, 12, 60) / 4.0  # many ties
        label = rng.random(60) < 0.4
        found = ood_metrics(values, label)
        precision, recall, _ = sk.precision_recall_curve(label, values)
        fpr, tpr, _ = sk.roc_curve(label, values)
        assert found["auroc"] == pytest.approx(metrics.auroc(values[~label], values[label]), abs=1e-12)
        assert found["aupr"] == pytest.approx(-np.trapezoid(precision, recall), abs=1e-12)
        assert found["fpr95"] == pytest.approx(np.interp(0.95, tpr, fpr), abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(-20, 20), min_size=6, max_size=30), st.integers(0, 2**31))
def test_auroc_depends_on_ranks_alone(values, seed):
    known, unknown = np.array(values[:3], float), np.array(values[3:], float)
    assert metrics.auroc(known, unknown) == metrics.auroc(np.exp(known / 5), np.exp(unknown / 5))
    assert metrics.auroc(known, unknown) == pytest.approx(1 - metrics.auroc(unknown, known), abs=1e-12)
    draws = metrics.bootstrap_means(metrics.wins(known, unknown)[None], np.random.default_rng(seed), draws=20)
    assert ((draws >= -1e-12) & (draws <= 1 + 1e-12)).all()


def test_bootstrap_is_centred_and_as_wide_as_the_exact_error():
    rng = np.random.default_rng(0)
    table = metrics.wins(rng.normal(size=200), rng.normal(1, 1, 200))[None]
    found = metrics.estimate(table, np.random.default_rng(1))
    rows, columns = table[0].mean(1), table[0].mean(0)
    delong = np.sqrt(rows.var(ddof=1) / 200 + columns.var(ddof=1) / 200)
    assert found.value == table.mean()
    assert found.se == pytest.approx(delong, rel=0.12)  # 2000 draws: se of the sd 1.6 %


def test_matched_pairs_are_of_one_length_and_used_once():
    rng = np.random.default_rng(0)
    a, b = rng.integers(5, 60, 80), rng.integers(20, 90, 80)
    i, j = metrics.length_matched(a, b)
    assert len(i) > 20
    assert len(set(i)) == len(set(j)) == len(i)
    assert (abs(a[i] - b[j]) <= 0.1 * np.maximum(a[i], b[j])).all()


# -- detector ----------------------------------------------------------------------------------------------


def test_threshold_keeps_its_promise_for_exchangeable_scores():
    rng = np.random.default_rng(0)
    flagged = np.mean([rng.normal() > conformal_threshold(rng.normal(size=39), 0.1) for _ in range(4000)])
    assert abs(flagged - 0.1) < 4.5 * np.sqrt(
        0.09 / 4000
    )  # rank 36 of 40 flags exactly 1 in 10; 7e-6 of seeds


def test_detector_agrees_with_its_parts(pair, tokenizer):
    detector = LikelihoodRatioDetector(*pair, tokenizer).fit(TEXTS, fpr=0.3)
    score = detector.ood_score(TEXTS)
    np.testing.assert_array_equal(detector.score_samples(TEXTS), -score)
    np.testing.assert_array_equal(detector.predict(TEXTS), score > detector.threshold_)


def test_output_adapter_is_the_merged_network(tokenizer):
    model = tiny_llama(len(tokenizer), d_model=16, n_layers=1, n_heads=2, seed=0).eval()
    batch = tokens.encode(tokenizer, TEXTS)
    seen = tuning.features(model, batch, rows=2)
    adapter = tuning.finetune_output(model, seen, rank=2, epochs=20, batch_size=16, lr=1e-2)
    merged = copy.deepcopy(model)
    merged.lm_head.weight.data = adapter.merged()
    found = log_likelihoods(model, merged, batch)
    for logp, whole in zip(
        tuning.output_log_likelihoods(seen, adapter), (found.parent, found.child), strict=True
    ):
        np.testing.assert_allclose(logp, whole, rtol=1e-5)
    assert (found.child > found.parent).all()


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of peft's call into transformers
def test_adapters_start_at_the_parent_and_leave_it_alone(tokenizer):
    parent = tiny_llama(len(tokenizer), d_model=16, n_layers=1, n_heads=2, seed=0).eval()
    before = {name: weight.clone() for name, weight in parent.state_dict().items()}
    batch = tokens.encode(tokenizer, TEXTS)
    still = finetune(parent, batch, method="lora", rank=2, epochs=1, lr=1e-12).model
    np.testing.assert_allclose(ratio_scores(*log_likelihoods(parent, still, batch))["LR"], 0, atol=1e-4)
    moved = finetune(parent, batch, method="lora", rank=2, epochs=30, batch_size=4, lr=3e-2).model
    assert ratio_scores(*log_likelihoods(parent, moved, batch))["LR"].mean() < -0.1
    assert all(torch.equal(before[name], weight) for name, weight in parent.state_dict().items())


# -- data and baselines ------------------------------------------------------------------------------------


def test_no_document_is_shared():
    pools = data.load_pools(50)
    ids = [(d.source, d.doc_id) for pool in pools.values() for part in pool for d in part]
    assert len(ids) == len(set(ids))
    keys = [data.near_copy_key(d.text) for pool in pools.values() for part in pool for d in part]
    assert len(keys) == len(set(keys))
    assert all(data.corpora.held_out(d) for pool in pools.values() for d in (*pool.test, *pool.train))
    narrow = set(parents.parent_texts(pools, narrow=True, seed=0))
    assert not narrow & set(data.texts(pools["spam"].parent + pools["gospels"].parent))


def test_a_reading_is_the_front_of_all_texts_packed():
    texts = [f"{word} {number}" for number in range(60) for word in ("verse", "mail", "novel")]
    tokenizer, rows = parents.read(texts, 500, vocab_size=280, block=16)
    assert rows.shape == (31, 16)
    assert rows.equal(tokens.pack(tokenizer, texts, 16)[:31])


def test_shared_folds_choose_what_a_grid_search_chooses():
    rng = np.random.default_rng(0)
    words = {False: ["meeting", "patch", "list", "kernel"], True: ["offer", "free", "money", "list"]}
    labels = np.arange(60) % 3 == 0
    texts = [" ".join(rng.choice(words[bool(spam)], 5)) for spam in labels]
    steps = Pipeline(
        [("t", TfidfVectorizer(sublinear_tf=True, min_df=2, ngram_range=(1, 2))), ("m", MultinomialNB())]
    )
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    search = GridSearchCV(steps, {"m__alpha": [0.01, 0.1, 1.0]}, scoring="roc_auc", cv=folds).fit(
        texts, labels
    )
    found = baselines.supervised_scores(texts, labels, texts[:9], random_state=0)
    np.testing.assert_allclose(found["naive Bayes"], search.predict_proba(texts[:9])[:, 1])


def test_perturbation_rate_and_what_stays():
    batch = tokens.TokenBatch(torch.randint(4, 100, (200, 50)), torch.ones(200, 50, dtype=torch.bool))
    batch.ids[:, 0], batch.mask[:, 40:] = 1, False
    noisy = baselines.perturb_tokens(batch, 0.3, 100, torch.Generator().manual_seed(0))
    changed = (noisy.ids != batch.ids).float()
    assert not changed[:, 0].any()
    assert not changed[:, 40:].any()
    share, expected = float(changed[:, 1:40].mean()), 0.3 * 95 / 96
    assert abs(share - expected) < 5 * np.sqrt(0.21 / 7800)  # five standard errors: 6e-7 of seeds


def test_bigram_is_a_law_and_learns():
    batch = tokens.TokenBatch(torch.tensor([[1, 4, 5, 4, 5, 2]]), torch.ones(1, 6, dtype=torch.bool))
    model = baselines.Bigram(6, strength=2.0).fit(batch)
    pairs = tokens.TokenBatch(torch.tensor([[4, w] for w in range(6)]), torch.ones(6, 2, dtype=torch.bool))
    assert np.exp(model.score(pairs)).sum() == pytest.approx(1)
    assert model.score(pairs).argmax() == 5


def test_released_inflation_and_length_matching_leave_equal_lengths_alone():
    rng = np.random.default_rng(0)
    fit = {
        kind: ratio_scores(-rng.random(30) - shift, -rng.random(30), np.full(30, 9.0))
        | {"n": np.full(30, 9.0), "child": np.zeros(30)}
        for kind, shift in (("ham", 0.5), ("spam", 0.0))
    }
    for found in fit.values():
        found["child"] = -found["LH"]
    assert study.released_effect({"ham": [fit]}, [("ham", "spam")])["ham / spam"] == 0
    assert study.length_effect({"ham": [fit]}, [("ham", "spam")])["ham / spam"] == pytest.approx(0, abs=1e-12)


def test_a_file_of_texts_is_read_or_refused(tmp_path):
    good, bad = tmp_path / "a.csv", tmp_path / "b.txt"
    good.write_text("text,kind\nhello there,x\nwho goes,y\n", encoding="utf-8")
    bad.write_text("hello\n\nworld\n", encoding="utf-8")
    assert workflow.read_texts(str(good), "text", "kind") == (["hello there", "who goes"], ["x", "y"])
    with pytest.raises(ValueError, match="text 2 is empty"):
        workflow.read_texts(str(bad))
    with pytest.raises(ValueError, match="no column 'body'"):
        workflow.read_texts(str(good), "body")


# -- bad input ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ratio_scores([0.0], [0.0], [0]), "text 0 has no scored token"),
        (lambda: ratio_scores([0.0, np.nan], [0.0, 0.0], [1, 1]), "text 1 is not finite"),
        (lambda: ratio_scores([0.0], [0.0, 1.0], [1]), "one shape"),
        (lambda: ratio_scores([0.0], [0.0], [1], compat="else"), "allowed: None, 'official'"),
        (lambda: ood_metrics([0.0, 1.0], [True, True]), "both classes"),
        (lambda: ood_metrics([0.0, np.nan], [True, False]), "score 1 is nan"),
        (lambda: selective_accuracy([1.0], [True], [0.0], [0.0]), "alphas must lie"),
        (lambda: conformal_threshold(np.zeros(10), 0.05), "at least 19 are needed"),
        (lambda: kl_gap([1.0], [1.0], [1.0, 2.0], [1.0, 2.0]), "at least 2 finite"),
        (lambda: data.load_hub_texts("other"), "there are 20ng"),
        (lambda: finetune(None, None, method="prefix"), "allowed: full, lora"),
        (lambda: baselines.perturb_tokens(None, 1.5, 10, None), "rate must lie"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_models_of_different_vocabularies_are_refused(tokenizer, pair):
    other = tiny_llama(300, d_model=16, n_layers=1, n_heads=2)
    with pytest.raises(ValueError, match="share a vocabulary"):
        LikelihoodRatioDetector(pair[0], other, tokenizer)
    with pytest.raises(ValueError, match="call fit"):
        LikelihoodRatioDetector(*pair, tokenizer).predict(TEXTS)
