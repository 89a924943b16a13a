"""Coloured digits: the label and the colour agree by confounding, not because colour makes the digit.

The binary target is "digit below five", flipped with probability 1/4. The colour is the flipped target,
flipped again with a small probability in training and with 1/2 in testing. Jitter of the colour and shifts
of the image leave the digit alone: an outcome-invariant augmentation with known parameters.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.float32]
FLIP = 0.25  # of the target: the least error that anyone can have
COLOUR_FLIPS = (
    0.1,
    0.2,
)  # in training, drawn with weights proportional to themselves, as in the official code
JITTER, SHIFT = 0.5, 0.2
GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)
BETA_SPREAD = np.sqrt(0.05)  # standard deviation of Beta(2, 2)


class Coloured(NamedTuple):
    """Coloured images with their targets."""

    X: Images  # (n, 3, side, side) in [0, 1]
    y: NDArray[np.float32]  # (n,) 0 or 1


def load_digits_images() -> tuple[Images, NDArray[np.int64]]:
    """scikit-learn's 1797 grey digits of 8 × 8 pixels in [0, 1], and which digit each is."""
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    return (bunch.images / 16).astype(np.float32), np.asarray(bunch.target, dtype=np.int64)


def load_mnist_images() -> tuple[Images, NDArray[np.int64]]:
    """MNIST's 70 000 grey digits, every other pixel (14 × 14) in [0, 1], through scikit-learn from openml.org.

    Raises
    ------
    ConnectionError
        Without a network and without a copy in scikit-learn's cache; names the offline alternative.
    """
    from sklearn.datasets import fetch_openml

    try:
        bunch: Any = fetch_openml("mnist_784", version=1, as_frame=False, parser="liac-arff")
    except OSError as error:
        raise ConnectionError(
            "MNIST could not be downloaded from openml.org; offline, load_digits_images() ships with scikit-learn"
        ) from error
    grey = bunch.data.reshape(-1, 28, 28)[:, ::2, ::2] / 255
    return grey.astype(np.float32), bunch.target.astype(np.int64)


def colour(grey: Images, digit: NDArray[np.int64], rng: np.random.Generator, *, train: bool) -> Coloured:
    """Give each image a noisy target and a colour.

    Parameters
    ----------
    grey : array of shape (n, side, side)
    digit : integer array of shape (n,)
    rng : numpy.random.Generator
    train : bool
        Whether the colour follows the target (flipped with probability 0.1 or 0.2) or is a fair coin.

    Returns
    -------
    Coloured
        The image stands in channel 0 or 1, by colour; the other channels are zero.
    """
    n = len(grey)
    y = (digit < 5) ^ (rng.random(n) < FLIP)
    odds = np.array(COLOUR_FLIPS)
    flip = rng.choice(odds, n, p=odds / odds.sum()) if train else 0.5
    channel = (y ^ (rng.random(n) < flip)).astype(int)
    X = np.zeros((n, 3, *grey.shape[1:]), dtype=np.float32)
    X[np.arange(n), channel] = grey
    return Coloured(X, y.astype(np.float32))


class ColourJitterShift:
    """Brightness, contrast, saturation, hue and shift, all with Beta(2, 2) parameters.

    Hue is turned linearly about the grey axis. Pixels shifted in from outside are zero.

    Parameters
    ----------
    jitter : float
        Half the range of each colour change; brightness, contrast and saturation lie in 1 ± jitter, hue in
        ± jitter turns.
    shift : float
        Half the range of the shifts, as a share of the side; rounded to whole pixels. The two directions
        are independent (the official code gives both the first one's).
    """

    def __init__(self, jitter: float = JITTER, shift: float = SHIFT) -> None:
        if not 0 <= jitter <= 1 or not 0 <= shift < 0.5:
            raise ValueError(f"jitter must lie in [0, 1] and shift in [0, 0.5), got {jitter!r} and {shift!r}")
        self.jitter, self.shift = jitter, shift

    def __call__(self, X: Any, rng: np.random.Generator) -> tuple[Images, NDArray[np.float32]]:
        """(GX, G): images (n, 3, side, side) and the six standardised parameters (n, 6)."""
        images = np.asarray(X, dtype=np.float32)
        u = rng.beta(2, 2, (len(images), 6)).astype(np.float32)
        amount = (2 * u - 1) * self.jitter
        coloured = turn_hue(
            saturate(contrast(brighten(images, 1 + amount[:, 0]), 1 + amount[:, 1]), 1 + amount[:, 2]),
            amount[:, 3],
        )
        steps = np.rint((2 * u[:, 4:] - 1) * self.shift * images.shape[-1]).astype(int)
        return translate(coloured, steps), ((u - 0.5) / BETA_SPREAD).astype(np.float32)


def _column(factor: NDArray[Any]) -> NDArray[Any]:
    return factor[:, None, None, None]


def _grey(X: Images) -> Images:
    return np.einsum("c,ncij->nij", GREY, X)[:, None]


def brighten(X: Images, factor: NDArray[Any]) -> Images:
    """Every pixel times the image's factor, cut to [0, 1]."""
    return np.clip(X * _column(factor), 0, 1)


def contrast(X: Images, factor: NDArray[Any]) -> Images:
    """Away from (above 1) or towards (below 1) the image's mean grey."""
    middle = _grey(X).mean((2, 3), keepdims=True)
    return np.clip(middle + _column(factor) * (X - middle), 0, 1)


def saturate(X: Images, factor: NDArray[Any]) -> Images:
    """Away from or towards each pixel's own grey."""
    grey = _grey(X)
    return np.clip(grey + _column(factor) * (X - grey), 0, 1)


def turn_hue(X: Images, turns: NDArray[Any]) -> Images:
    """Colours turned about the grey axis by a share of a full turn."""
    angle = 2 * np.pi * np.asarray(turns, dtype=np.float32)
    axis = np.full(3, 1 / np.sqrt(3), dtype=np.float32)
    skew = np.array(
        [[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]], dtype=np.float32
    )
    rotation = (
        np.cos(angle)[:, None, None] * np.eye(3, dtype=np.float32)
        + np.sin(angle)[:, None, None] * skew
        + (1 - np.cos(angle))[:, None, None] * np.outer(axis, axis)
    )
    return np.clip(np.einsum("ncd,ndij->ncij", rotation, X), 0, 1).astype(np.float32)


def translate(X: Images, steps: NDArray[np.int64]) -> Images:
    """Images moved by whole pixels (rows, columns), steps of shape (n, 2); zeros come in."""
    side = X.shape[-1]
    at = np.arange(side)[None] - steps[:, :1], np.arange(side)[None] - steps[:, 1:]
    inside = [(a >= 0) & (a < side) for a in at]
    rows, columns = (np.clip(a, 0, side - 1) for a in at)
    n = np.arange(len(X))[:, None, None]
    moved = X.transpose(0, 2, 3, 1)[n, rows[:, :, None], columns[:, None, :]]
    return (moved * (inside[0][:, :, None] & inside[1][:, None, :])[..., None]).transpose(0, 3, 1, 2)


def label_error(predictions: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
    """NCER of 0/1 predictions (..., n): c / (c + 1/4) with c the error rate above 1/4, the noise of the target.

    0 is as good as anyone can be, 1/2 a coin. A little below 0 is chance.
    """
    excess = (np.asarray(predictions) != np.asarray(y)).mean(-1) - FLIP
    return np.asarray(excess / (excess + FLIP))
