"""Inputs of the network experiments: real features from scikit-learn, and MNIST for the full scale."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import fetch_openml, load_breast_cancer, load_digits

from loglik.information.universality_lens.checks import Floats
from loglik.information.universality_lens.network import scale_inputs

INPUTS = ("cancer", "digits", "mnist")


class Inputs(NamedTuple):
    """A population of inputs with its real labels."""

    X: Floats  # (n, p) standardised, over the square root of p
    y: NDArray[np.int64]  # (n,) 0 or 1
    names: tuple[str, ...]


def load_inputs(name: str, rows: int | None = None) -> Inputs:
    """Inputs with a binary label.

    Parameters
    ----------
    name : {"cancer", "digits", "mnist"}
        Breast cancer (569 rows, 30 features; 1 is benign), digits (1797 images of 64 pixels; 1 is an even
        digit), or MNIST (70,000 images of 784 pixels, downloaded from OpenML; 1 is an even digit).
    rows : int, optional
        Keep the first `rows` rows.

    Raises
    ------
    ValueError
        For another name.
    OSError
        When MNIST can't be downloaded; names the offline alternative.
    """
    if name == "cancer":
        table = load_breast_cancer()
        X, y, names = table.data, table.target, tuple(table.feature_names)
    elif name == "digits":
        X, label = load_digits(return_X_y=True)
        y, names = (label % 2 == 0).astype(int), tuple(f"pixel {j}" for j in range(X.shape[1]))
    elif name == "mnist":
        X, y = _mnist()
        names = tuple(f"pixel {j}" for j in range(X.shape[1]))
    else:
        raise ValueError(f"unknown inputs {name!r}; allowed: {', '.join(INPUTS)}")
    return Inputs(scale_inputs(X[:rows]), np.asarray(y[:rows], dtype=np.int64), names)


def _mnist() -> tuple[Floats, NDArray[np.int64]]:
    try:
        X, label = fetch_openml("mnist_784", version=1, as_frame=False, return_X_y=True, parser="liac-arff")
    except OSError as error:
        raise OSError(
            "MNIST could not be downloaded from OpenML; without a network use inputs 'digits', which ships "
            "with scikit-learn"
        ) from error
    return np.asarray(X, dtype=float), (np.asarray(label, dtype=int) % 2 == 0).astype(np.int64)
