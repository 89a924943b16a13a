"""Puzzles with exact verifiers, for learning from rewards: every answer can be checked, every task can be solved.

A task deals in arrays of small integers: prompts (n, P) and answers (n, L), with ``mask_id`` one above its last
symbol. ``sample`` draws prompts with a right answer each, ``reward`` checks answers, and ``solve`` enumerates the
right ones, so that tests need trust nobody.
"""

from __future__ import annotations

import functools
import itertools
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Task(ABC):
    """A family of puzzles.

    Attributes
    ----------
    n_symbols : int
        Symbols 0 to ``n_symbols - 1``.
    prompt_len, answer_len : int
        P and L.
    """

    n_symbols: int
    prompt_len: int
    answer_len: int

    @property
    def mask_id(self) -> int:
        """Id for a symbol that isn't known: the vocabulary has ``mask_id + 1`` entries."""
        return self.n_symbols

    @abstractmethod
    def sample(self, n: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
        """`n` prompts (n, P) with a right answer each (n, L)."""

    @abstractmethod
    def reward(self, prompts: Ints, answers: Ints) -> Floats:
        """Between 0 and 1 for each answer; 1 exactly when it is right. (n,)."""

    @abstractmethod
    def solve(self, prompt: Ints) -> Ints:
        """All right answers to one prompt, by brute force: (m, L)."""

    def correct(self, prompts: Ints, answers: Ints) -> NDArray[np.bool_]:
        """Whether each answer is right: (n,)."""
        return self.reward(prompts, answers) == 1.0

    def _checked(self, prompts: Ints, answers: Ints) -> tuple[Ints, Ints]:
        prompts, answers = np.asarray(prompts), np.asarray(answers)
        wanted = (len(prompts), self.prompt_len), (len(prompts), self.answer_len)
        found = prompts.shape, answers.shape
        if found != wanted:
            raise ValueError(
                f"prompts and answers must have shapes {wanted[0]} and {wanted[1]}, got {found[0]} and {found[1]}"
            )
        return prompts, answers


@dataclass(frozen=True)
class Parity(Task):
    """Bits whose sum is even or odd, as the prompt's bit says; all strings with the right sum are right."""

    answer_len: int = 4
    prompt_len = 1
    n_symbols = 2

    def sample(self, n: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
        """Uniform over bits and right answers."""
        answers = rng.integers(2, size=(n, self.answer_len))
        return answers.sum(1, keepdims=True) % 2, answers

    def reward(self, prompts: Ints, answers: Ints) -> Floats:
        """1 or 0."""
        prompts, answers = self._checked(prompts, answers)
        return (answers.sum(1) % 2 == prompts[:, 0]).astype(float)

    def solve(self, prompt: Ints) -> Ints:
        """Half of all strings."""
        strings = np.array(list(itertools.product(range(2), repeat=self.answer_len)))
        return strings[strings.sum(1) % 2 == prompt[0]]


@dataclass(frozen=True)
class Sorting(Task):
    """Distinct digits in ascending order."""

    length: int = 6
    n_symbols = 10

    @property
    def prompt_len(self) -> int:  # type: ignore[override]
        """As long as the answer."""
        return self.length

    answer_len = prompt_len

    def sample(self, n: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
        """Digits without replacement, in random order."""
        prompts = rng.random((n, 10)).argsort(1)[:, : self.length]
        return prompts, np.sort(prompts, 1)

    def reward(self, prompts: Ints, answers: Ints) -> Floats:
        """1 or 0."""
        prompts, answers = self._checked(prompts, answers)
        return (answers == np.sort(prompts, 1)).all(1).astype(float)

    def solve(self, prompt: Ints) -> Ints:
        """The one right answer."""
        return np.sort(np.asarray(prompt))[None]


@dataclass(frozen=True)
class ModularChain(Task):
    """A running sum modulo m: answer i is the sum of the first i terms of the prompt, so each step needs the last."""

    modulus: int = 7
    length: int = 5

    @property
    def n_symbols(self) -> int:  # type: ignore[override]
        """The residues."""
        return self.modulus

    @property
    def prompt_len(self) -> int:  # type: ignore[override]
        """As long as the answer."""
        return self.length

    answer_len = prompt_len

    def sample(self, n: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
        """Uniform terms."""
        prompts = rng.integers(self.modulus, size=(n, self.length))
        return prompts, prompts.cumsum(1) % self.modulus

    def reward(self, prompts: Ints, answers: Ints) -> Floats:
        """1 or 0."""
        prompts, answers = self._checked(prompts, answers)
        return (answers == prompts.cumsum(1) % self.modulus).all(1).astype(float)

    def solve(self, prompt: Ints) -> Ints:
        """The one right answer."""
        return np.asarray(prompt).cumsum()[None] % self.modulus


@dataclass(frozen=True)
class Sudoku4(Task):
    """Sudoku on a 4 x 4 board: 288 grids, puzzles with one solution.

    Symbols 1 to 4, and 0 for a blank in the prompt. Train and test are kept apart by *grid*: `part` 0 draws from
    the first four fifths of the grids (in a fixed random order), `part` 1 from the rest, None from all.
    """

    blanks: tuple[int, int] = (4, 12)  # fewest and most
    part: int | None = None
    n_symbols = 5
    prompt_len = answer_len = 16

    def sample(self, n: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
        """Grids with random blanks, drawn again until each has one solution."""
        grids = self._grids()
        prompts, answers = np.empty((n, 16), np.int64), np.empty((n, 16), np.int64)
        todo = np.arange(n)
        while len(todo):
            answers[todo] = grids[rng.integers(len(grids), size=len(todo))]
            rank = rng.random((len(todo), 16)).argsort(1).argsort(1)
            hidden = rank < rng.integers(self.blanks[0], self.blanks[1] + 1, size=len(todo))[:, None]
            prompts[todo] = np.where(hidden, 0, answers[todo])
            todo = todo[self._solutions(prompts[todo]) > 1]
        return prompts, answers

    def reward(self, prompts: Ints, answers: Ints) -> Floats:
        """Share of the blanks that are filled as in the solution (given cells don't count)."""
        prompts, answers = self._checked(prompts, answers)
        solutions = np.stack([self.solve(prompt)[0] for prompt in prompts])
        blank = prompts == 0
        return ((answers == solutions) & blank).sum(1) / blank.sum(1)

    def solve(self, prompt: Ints) -> Ints:
        """All grids that agree with the given cells."""
        grids = sudoku_grids()
        return grids[((grids == prompt) | (np.asarray(prompt) == 0)).all(1)]

    @staticmethod
    def _solutions(prompts: Ints) -> Ints:
        grids = sudoku_grids()
        return ((grids[None] == prompts[:, None]) | (prompts[:, None] == 0)).all(2).sum(1)

    def _grids(self) -> Ints:
        grids = sudoku_grids()[np.random.default_rng(0).permutation(288)]
        return {None: grids, 0: grids[:230], 1: grids[230:]}[self.part]


@functools.cache
def sudoku_grids() -> Ints:
    """All 288 filled boards: (288, 16)."""
    rows = np.array(list(itertools.permutations((1, 2, 3, 4))))
    found = []
    for top in itertools.product(rows, repeat=2):
        if _fits(np.stack(top)):
            found += [
                np.stack([*top, *rest]) for rest in itertools.product(rows, repeat=2) if _fits(np.stack(rest))
            ]
    boards = np.stack(found)
    return boards[(np.sort(boards, 1) == np.array([1, 2, 3, 4])[:, None]).all((1, 2))].reshape(-1, 16)


def _fits(half: Ints) -> bool:
    """Two rows whose 2 x 2 boxes hold four symbols each."""
    return all(len(set(half[:, at : at + 2].ravel().tolist())) == 4 for at in (0, 2))


@dataclass(frozen=True)
class Countdown(Task):
    """Reach a target with all given numbers, in any order, and plus, minus and times (times first).

    Symbols 0 to 9 are digits, 10 to 12 the operators ``+ - *``. The prompt is the numbers in ascending order and
    the two digits of the target, 10 to 99; the answer alternates numbers and operators.
    """

    numbers: int = 3
    n_symbols = 13

    @property
    def prompt_len(self) -> int:  # type: ignore[override]
        """Numbers and two digits."""
        return self.numbers + 2

    @property
    def answer_len(self) -> int:  # type: ignore[override]
        """Numbers and operators."""
        return 2 * self.numbers - 1

    def prompts(self) -> Ints:
        """Every prompt that can be solved, in ascending order: 856 for three numbers, 8,127 for four."""
        return self._index()[0]

    def sample(self, n: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
        """Prompts uniform over those that can be solved, answers uniform over their solutions."""
        prompts, expressions, start = self._index()
        which = rng.integers(len(prompts), size=n)
        count = start[which + 1] - start[which]
        return prompts[which], expressions[start[which] + (rng.random(n) * count).astype(int)]

    def reward(self, prompts: Ints, answers: Ints) -> Floats:
        """1 when right, 0.1 when it is an expression that uses exactly the given numbers, else 0."""
        prompts, answers = self._checked(prompts, answers)
        used, signs = answers[:, ::2], answers[:, 1::2]
        formed = (
            (np.sort(used, 1) == prompts[:, : self.numbers]).all(1)
            & (signs >= 10).all(1)
            & (used < 10).all(1)
        )
        target = prompts[:, -2] * 10 + prompts[:, -1]
        return np.where(formed, np.where(evaluate(answers) == target, 1.0, 0.1), 0.0)

    def solve(self, prompt: Ints) -> Ints:
        """All solutions, by trying every order and every operator."""
        orders = np.array(sorted(set(itertools.permutations(np.asarray(prompt)[: self.numbers].tolist()))))
        signs = np.array(list(itertools.product((10, 11, 12), repeat=self.numbers - 1)))
        tried = np.empty((len(orders) * len(signs), self.answer_len), np.int64)
        tried[:, ::2] = np.repeat(orders, len(signs), 0)
        tried[:, 1::2] = np.tile(signs, (len(orders), 1))
        return tried[evaluate(tried) == prompt[-2] * 10 + prompt[-1]]

    def _index(self) -> tuple[Ints, Ints, Ints]:
        return _countdown(self.numbers)


@functools.cache
def _countdown(numbers: int) -> tuple[Ints, Ints, Ints]:
    """Prompts, all solutions sorted by prompt, and where each prompt's begin."""
    pieces = [range(1, 10), range(10, 13)] * numbers
    expressions = np.array(list(itertools.product(*pieces[:-1])))
    value = evaluate(expressions)
    kept = (value >= 10) & (value <= 99)
    expressions, value = expressions[kept], value[kept]
    asked = np.column_stack([np.sort(expressions[:, ::2], 1), value // 10, value % 10])
    order = np.lexsort(asked.T[::-1])
    prompts, start = np.unique(asked[order], axis=0, return_index=True)
    return prompts, expressions[order], np.append(start, len(expressions))


def evaluate(expressions: Ints) -> Ints:
    """Values of alternating numbers and operators, times before plus and minus; symbols that aren't operators add.

    Parameters
    ----------
    expressions : array of shape (n, 2k - 1)
    """
    total, term = np.zeros(len(expressions), np.int64), expressions[:, 0].astype(np.int64)
    for at in range(1, expressions.shape[1], 2):
        sign, number = expressions[:, at], expressions[:, at + 1]
        times = sign == 12
        total = np.where(times, total, total + term)
        term = np.where(times, term * number, np.where(sign == 11, -number, number))
    return total + term
