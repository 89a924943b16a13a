"""The optical device: real images shown to a sensor, confounded by a light-emitting diode on purpose.

Janzing (2019) showed a laptop's 3 × 3 image to a photo sensor and let an LED shine on both the camera's
picture and the sensor; the LED's intensity is recorded, so the truth can be estimated although no method may
see it. The data are looked for at a path, then downloaded, and else replaced by a simulated look-alike that
says so. The look-alike has the shapes, not the physics: nothing about the device follows from it.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import cross_val_score
from sklearn.preprocessing import PolynomialFeatures

from loglik.causal.outcome_invariant_augmentation.inputs import Floats

VARIABLE = "LOGLIK_OPTICAL_DEVICE"
COMMIT = "84fc87a525e6c24ffa5447c2d031f3e1e87132e8"
FOLDER = f"https://raw.githubusercontent.com/janzing/janzing.github.io/{COMMIT}/code/data_from_optical_device"
# The twelve experiments of the paper: number, day, brightness factor, end of the name, sha256 of the file.
_FILES = (
    (69, "13", "80.0", "", "a3d8408c364bd9d4257f94401603f1058dcfa0c14a54dd4d87e6cbed06089770"),
    (70, "14", "96.0", "", "1c772681ed3301f495de3f84b9d13d984b42e421a432a95376542199e0073329"),
    (71, "14", "70.0", "", "f280b0d13a45f2fcc13a2362a3078a6a14fbc065baef4454794f9fe2de4181bc"),
    (72, "14", "20.0", "", "77625b9e8b34fcc6495286f5ab3ea823d71551542e9725ce8484936a38c1a48b"),
    (73, "14", "95.0", "", "b9a5d1b1dc8ca29e360f385e4524cbcf83c80eae14523f3ee5d34082ec529d57"),
    (74, "15", "95.0", "", "be91e9068fb672d5547084dfc77a974bcb405ce1afc89684aebdcb62a952ca9d"),
    (75, "15", "0", "", "3801d9f530919124d76dd3ac348a480f8700b5e784d5f0713a812a1ac7191620"),
    (77, "15", "40.0", "", "b7e5f5f4e3fda9c859845c4431ea598919b15efc92a82688297210287790fcf3"),
    (78, "15", "60.0", "", "32457fab15bd33ec2b516187656ea1a74602969aef179d79b31df11bed55a3d5"),
    (79, "15", "80.0", "", "f7679972a5bb016f99cc9cdf2009971642224c93cb4912c4e3abb816e72f573d"),
    (80, "15", "99.0", "", "9a5cf51c144e4174c676455b5c67ccf505b769b30506db482dd64d311864825e"),
    (
        82,
        "16",
        "99.0",
        "pure_confounding",
        "9fc92ecf4898028d855cc70f85a6888b4b1636d26113b50b38aaf349709ecdd0",
    ),
)
ROWS, COLUMNS = 1000, 11
CONTENT = "a805b5e28301c4113a47b3d8c695a21277b410f764ac08af171152923f83d696"  # of the numbers, see digest()


class OpticalDevice(NamedTuple):
    """Experiments of the optical device, or a look-alike that must not be taken for it."""

    tables: dict[int, np.ndarray]  # number -> (1000, 11): nine pixels, LED intensity, sensor
    real: bool  # the paper's twelve experiments, to the last number
    source: str  # for a reader: where this run's numbers came from
    sha256: str  # of the numbers: the same for every file format


class GroundTruth(NamedTuple):
    """What the recorded confounder says about one experiment."""

    X: Floats  # (n, 9) centred pixels
    y: Floats  # (n,) centred sensor
    features: Floats  # (n, m) centred pixels, with their products where the degree is 2
    f: Floats  # (m,) coefficients of the features once the LED's part is taken out
    degree: int  # 1 or 2, by five-fold cross-validation


def file_names() -> dict[int, str]:
    """Number of each experiment and the name of its text file in the original folder."""
    return {
        number: f"LED_as_confounder11-{day}-2016_dim=9_exp_no_{number}_brfactor_{factor}_sample_size=1000_{end}.txt"
        for number, day, factor, end, _ in _FILES
    }


def digest(tables: dict[int, np.ndarray]) -> str:
    """sha256 of the numbers: experiments in order, rows as little-endian 16-bit integers."""
    total = hashlib.sha256()
    for number in sorted(tables):
        total.update(f"{number}:".encode())
        total.update(np.ascontiguousarray(tables[number], dtype="<i2").tobytes())
    return total.hexdigest()


def load_optical_device(path: str | Path) -> OpticalDevice:
    """Read the twelve experiments from a folder of the original text files or from one ``.npz``.

    Parameters
    ----------
    path : path
        The folder ``code/data_from_optical_device`` of github.com/janzing/janzing.github.io, or an ``.npz``
        with arrays named ``exp69`` … ``exp82``. Nothing is unpickled.

    Raises
    ------
    FileNotFoundError
        When there is nothing at `path`, or the folder lacks an experiment.
    ValueError
        When the numbers are not the paper's (their sha256 differs).
    """
    place = Path(path)
    if not place.exists():
        raise FileNotFoundError(
            f"no file or folder {place.name!r}: give the folder code/data_from_optical_device of "
            "github.com/janzing/janzing.github.io; without it, look_alike() has the shapes but not the physics"
        )
    tables = _read_folder(place) if place.is_dir() else _read_npz(place)
    found = digest(tables)
    if found != CONTENT:
        raise ValueError(
            f"{place.name} does not hold the paper's twelve experiments: sha256 of the numbers is {found[:12]}…, "
            f"expected {CONTENT[:12]}…; other data go through the apply notebook"
        )
    return OpticalDevice(tables, True, "the optical device, from a local copy", found)


def _read_folder(folder: Path) -> dict[int, np.ndarray]:
    missing = [name for name in file_names().values() if not (folder / name).exists()]
    if missing:
        raise FileNotFoundError(f"{folder.name} lacks {len(missing)} of 12 files, such as {missing[0]}")
    return {number: _table(np.loadtxt(folder / name)) for number, name in file_names().items()}


def _read_npz(file: Path) -> dict[int, np.ndarray]:
    with np.load(file, allow_pickle=False) as stored:
        return {int(name.removeprefix("exp")): _table(stored[name]) for name in stored.files}


def _table(values: ArrayLike) -> np.ndarray:
    table = np.asarray(values)
    if table.shape != (ROWS, COLUMNS):
        raise ValueError(f"an experiment has shape ({ROWS}, {COLUMNS}), got {table.shape}")
    return table.astype("<i2")


def download_optical_device(folder: str | Path | None = None, timeout: float = 10) -> OpticalDevice:
    """Fetch the twelve files (each checked by its sha256) and read them.

    Parameters
    ----------
    folder : path, optional
        Where to keep them; by default the user's cache.
    timeout : float
        Seconds to wait for an answer.

    Raises
    ------
    ConnectionError
        Without a network; names the offline alternatives.
    """
    import pooch

    keep = Path(folder) if folder is not None else Path(pooch.os_cache("loglik")) / "optical_device"
    names, hashes = file_names(), {row[0]: row[4] for row in _FILES}
    get = pooch.HTTPDownloader(timeout=timeout)
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("ERROR")  # pooch would print each address
    try:
        for number, name in names.items():
            pooch.retrieve(
                f"{FOLDER}/{name}", f"sha256:{hashes[number]}", fname=name, path=keep, downloader=get
            )
    except OSError as error:
        raise ConnectionError(
            "the optical-device data could not be downloaded; offline, set "
            f"{VARIABLE} to the folder code/data_from_optical_device of github.com/janzing/janzing.github.io, "
            "or use look_alike(), which has the shapes but not the physics"
        ) from error
    finally:
        logger.setLevel(level)
    return load_optical_device(keep)._replace(source="the optical device, downloaded")


def find_optical_device(
    path: str | Path | None = None, *, download: bool = True, rng: np.random.Generator
) -> OpticalDevice:
    """The data from `path` or the environment variable LOGLIK_OPTICAL_DEVICE, else a download, else a look-alike.

    Parameters
    ----------
    path : path, optional
        As for :func:`load_optical_device`; a path that is given must exist.
    download : bool
        Whether to try the network.
    rng : numpy.random.Generator
        Draws the look-alike.
    """
    given = path if path is not None else os.environ.get(VARIABLE)
    if given:
        return load_optical_device(given)
    if download:
        try:
            return download_optical_device()
        except ConnectionError:
            pass
    return look_alike(rng)


def look_alike(rng: np.random.Generator) -> OpticalDevice:
    """Twelve simulated tables with the shapes and ranges of the real ones, and none of their physics.

    A hidden LED lights all nine pixels and the sensor; a third of the sensors respond linearly to the
    picture, the others with a quadratic part.
    """
    tables = {}
    for at, number in enumerate(sorted(file_names())):
        led = rng.uniform(0, 255, ROWS)
        scene = rng.normal(130, 45, (ROWS, 1)) + rng.normal(0, 35, (ROWS, 9))
        picture = np.clip(scene + 0.25 * (led - 127)[:, None] * rng.uniform(0.3, 1, 9), 0, 255).round()
        centred = (picture - 127) / 128
        light = centred @ rng.uniform(0, 6, 9)
        bend = 0.0 if at % 3 == 0 else 4 * (centred**2 @ rng.normal(0, 1, 9))
        sensor = 40 + light + bend + 0.06 * (led - 127) + rng.normal(0, 2, ROWS)
        tables[number] = np.column_stack([picture, led, sensor]).round().clip(0, 255).astype("<i2")
    return OpticalDevice(
        tables, False, "a SIMULATED LOOK-ALIKE, because the device's data are not at hand", digest(tables)
    )


def ground_truth(table: ArrayLike, max_degree: int = 2) -> GroundTruth:
    """Estimate one experiment's causal coefficients with the confounder in sight, as the official code does.

    Parameters
    ----------
    table : array_like of shape (n, 11)
        Nine pixels, LED, sensor.
    max_degree : int
        Largest polynomial degree that cross-validation may choose.

    Notes
    -----
    The degree is that of the least five-fold squared error of OLS of the sensor on [features, LED]; ε is the
    LED's coefficient and f the OLS of (sensor − ε LED) on the features.
    """
    centred = np.asarray(table, dtype=float)
    centred = centred - centred.mean(axis=0)
    X, led, y = centred[:, :9], centred[:, 9:10], centred[:, 10]
    designs = {d: expand(X, d) for d in range(1, max_degree + 1)}
    errors = {
        d: -cross_val_score(
            LinearRegression(), np.hstack([F, led]), y, cv=5, scoring="neg_mean_squared_error"
        ).mean()
        for d, F in designs.items()
    }
    degree = min(errors, key=lambda d: errors[d])
    features = designs[degree]
    epsilon = LinearRegression().fit(np.hstack([features, led]), y).coef_[-1]
    f = LinearRegression().fit(features, y - epsilon * led[:, 0]).coef_
    return GroundTruth(X, y, features, f, degree)


def expand(X: Floats, degree: int) -> Floats:
    """Polynomial features without the constant, not centred again: as the paper does with X, GX and G alike."""
    if degree == 1:
        return X
    return np.asarray(PolynomialFeatures(degree, include_bias=False).fit_transform(X))
