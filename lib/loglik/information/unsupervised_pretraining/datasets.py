"""Images with labels: the digits that ship with scikit-learn, or MNIST."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple
from urllib.error import URLError

import numpy as np
from sklearn.datasets import fetch_openml, load_digits

from loglik.information.unsupervised_pretraining.checks import Floats, Ints

NAMES = ("digits", "mnist")


class Images(NamedTuple):
    """Images as rows."""

    X: Floats  # (n, side²), from 0 to 1
    y: Ints  # (n,) 0 to 9
    side: int  # pixels


def load_images(name: str = "digits", folder: str | Path | None = None) -> Images:
    """Handwritten digits.

    Parameters
    ----------
    name : {"digits", "mnist"}
        ``digits``: 1797 images of 8 by 8 pixels, offline (CC BY 4.0). ``mnist``: 70 000 of 28 by 28, from
        OpenML once (15 MB, CC BY-SA 3.0), for the profile *full*.
    folder : path, optional
        Where MNIST is kept; scikit-learn's own folder by default.

    Raises
    ------
    ValueError
        For another name.
    ConnectionError
        When MNIST can't be fetched; names the offline alternative.

    Examples
    --------
    >>> images = load_images()
    >>> images.X.shape, images.side
    ((1797, 64), 8)
    """
    if name not in NAMES:
        raise ValueError(f"unknown images {name!r}; allowed: {', '.join(NAMES)}")
    if name == "digits":
        X, y = load_digits(return_X_y=True)
        return Images(X / 16.0, y.astype(np.int64), 8)
    try:
        X, y = fetch_openml(
            "mnist_784", version=1, return_X_y=True, as_frame=False, data_home=folder, parser="liac-arff"
        )
    except (URLError, OSError) as error:
        raise ConnectionError(
            "MNIST comes from OpenML and needs a network once; without one, load_images('digits') has 1797 "
            "digits that ship with scikit-learn"
        ) from error
    return Images(X / 255.0, y.astype(np.int64), 28)
