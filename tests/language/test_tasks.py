"""Puzzles: what is sampled is right, what is solved is rewarded, counts are those of enumeration."""

import numpy as np
import pytest

from loglik.language import tasks

TASKS = [
    tasks.Parity(),
    tasks.Sorting(),
    tasks.ModularChain(),
    tasks.Sudoku4(),
    tasks.Countdown(3),
    tasks.Countdown(4),
]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("task", TASKS, ids=repr)
def test_sampled_answers_are_right_and_random_ones_mostly_are_not(task, rng):
    prompts, answers = task.sample(300, rng)
    assert prompts.shape == (300, task.prompt_len)
    assert answers.shape == (300, task.answer_len)
    assert max(prompts.max(), answers.max()) < task.n_symbols
    assert task.correct(prompts, answers).all()
    noise = rng.integers(task.n_symbols, size=answers.shape)
    rewards = task.reward(prompts, noise)
    assert ((rewards >= 0) & (rewards <= 1)).all()
    assert task.correct(prompts, noise).mean() < 0.6


@pytest.mark.parametrize("task", TASKS, ids=repr)
def test_the_solver_finds_exactly_what_is_rewarded(task, rng):
    prompts, answers = task.sample(20, rng)
    for prompt, answer in zip(prompts, answers, strict=True):
        solutions = task.solve(prompt)
        assert (solutions == answer).all(1).any()
        assert task.correct(np.repeat(prompt[None], len(solutions), 0), solutions).all()
    assert len(task.solve(prompts[0])) < 100


def test_there_are_288_grids_and_puzzles_have_one_solution(rng):
    grids = tasks.sudoku_grids()
    assert len(np.unique(grids, axis=0)) == 288
    boards = grids.reshape(-1, 4, 4)
    boxes = boards.reshape(-1, 2, 2, 2, 2).swapaxes(2, 3).reshape(-1, 4, 4)
    for groups in (boards, boards.swapaxes(1, 2), boxes):
        assert (np.sort(groups, 2) == np.array([1, 2, 3, 4])).all()
    prompts, _ = tasks.Sudoku4(blanks=(8, 12)).sample(200, rng)
    assert all(len(tasks.Sudoku4().solve(prompt)) == 1 for prompt in prompts)
    assert set((prompts == 0).sum(1)) <= set(range(8, 13))


def test_train_and_test_share_no_sudoku_grid(rng):
    train, test = ({row.tobytes() for row in tasks.Sudoku4(part=p).sample(2000, rng)[1]} for p in (0, 1))
    assert not train & test
    assert len(train) + len(test) <= 288


@pytest.mark.parametrize(("numbers", "prompts", "solutions"), [(3, 856, 3.5), (4, 8127, 9.8)])
def test_countdown_has_as_many_prompts_as_enumeration_finds(numbers, prompts, solutions):
    found, expressions, _ = tasks.Countdown(numbers)._index()
    assert len(found) == prompts
    assert len(expressions) / len(found) == pytest.approx(solutions, abs=0.05)


def test_expressions_are_evaluated_as_python_does(rng):
    found = tasks.Countdown(4).sample(200, rng)[1]
    signs = {10: "+", 11: "-", 12: "*"}
    texts = ["".join(signs.get(int(s), str(s)) for s in row) for row in found]
    assert tasks.evaluate(found).tolist() == [eval(text) for text in texts]


def test_partial_rewards(rng):
    task = tasks.Countdown(3)
    prompt = np.array([[2, 3, 4, 1, 4]])  # 2 3 4 make 14
    assert task.reward(prompt, np.array([[2, 10, 3, 12, 4]])) == 1.0
    assert task.reward(prompt, np.array([[2, 10, 3, 10, 4]])) == 0.1
    assert task.reward(prompt, np.array([[2, 10, 2, 12, 4]])) == 0.0
    sudoku = tasks.Sudoku4()
    prompts, answers = sudoku.sample(50, rng)
    blank = prompts == 0
    first = blank.argmax(1)
    spoiled = answers.copy()
    spoiled[np.arange(50), first] = answers[np.arange(50), first] % 4 + 1
    assert np.allclose(sudoku.reward(prompts, spoiled), 1 - 1 / blank.sum(1))


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r"must have shapes \(2, 1\) and \(2, 4\)"):
        tasks.Parity().reward(np.zeros((2, 1), int), np.zeros((2, 5), int))
