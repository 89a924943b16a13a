"""Real photographs that come with Python packages, split once into training and test images, and folders of yours."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
TRAIN = (
    "astronaut", "coffee", "rocket", "motorcycle", "immunohistochemistry", "retina", "hubble", "flower",
    "brick", "grass", "gravel", "ascent", "page", "text",
)  # fmt: skip
TEST = ("camera", "aero", "coins", "moon", "clock", "china", "chelsea")
COLOUR = ("astronaut", "coffee", "rocket", "motorcycle", "immunohistochemistry", "retina", "hubble", "flower")
COLOUR_TEST = ("china", "chelsea")
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".npy")


@lru_cache(maxsize=32)
def photograph(name: str) -> Floats:
    """One of the photographs, as it ships: (H, W) grey or (3, H, W) colour, in [0, 1].

    Raises
    ------
    ValueError
        For an unknown name; says which there are.
    """
    if name not in TRAIN + TEST:
        raise ValueError(f"no photograph {name!r}; there are {', '.join(TRAIN + TEST)}")
    return _as_image(_reader(name)())


def _reader(name: str) -> Callable[[], NDArray[np.uint8]]:
    if name in ("ascent", "aero"):
        import pywt.data  # type: ignore[import-untyped]

        return lambda: getattr(pywt.data, name)()
    if name in ("china", "flower"):
        from sklearn.datasets import load_sample_image

        return lambda: load_sample_image(f"{name}.jpg")
    import skimage.data

    if name == "motorcycle":
        return lambda: skimage.data.stereo_motorcycle()[0]
    return getattr(skimage.data, {"hubble": "hubble_deep_field"}.get(name, name))


def _as_image(pixels: NDArray[Any]) -> Floats:
    """Pixels of a file as float (H, W) or (3, H, W) in [0, 1]; an alpha channel goes."""
    scale = np.iinfo(pixels.dtype).max if np.issubdtype(pixels.dtype, np.integer) else 1
    image = pixels.astype(np.float64) / scale
    if image.ndim == 3:
        image = np.moveaxis(image[..., :3], -1, 0) if image.shape[-1] > 2 else image[..., 0]
    return image


def grey(image: Floats) -> Floats:
    """Luminance of a colour image (3, H, W), as scikit-image's ``rgb2gray``; a grey one stays as it is."""
    if image.ndim == 2:
        return image
    return np.tensordot(np.array([0.2125, 0.7154, 0.0721]), image, 1)


def centre(image: Floats, size: int) -> Floats:
    """The middle of an image, at most `size` pixels a side."""
    h, w = image.shape[-2:]
    top, left = max(0, (h - size) // 2), max(0, (w - size) // 2)
    return image[..., top : top + size, left : left + size]


def train_images(*, colour: bool = False) -> list[Floats]:
    """The training photographs, grey (14 of them) or in colour (8)."""
    return [photograph(n) for n in COLOUR] if colour else [grey(photograph(n)) for n in TRAIN]


def tiles(image: Floats, size: int) -> list[Floats]:
    """Square crops of an image side by side, from its upper left corner."""
    h, w = image.shape[-2:]
    corners = [(i, j) for i in range(0, h - size + 1, size) for j in range(0, w - size + 1, size)]
    return [image[..., i : i + size, j : j + size] for i, j in corners]


def held_out_images(size: int = 256, *, colour: bool = False) -> dict[str, Floats]:
    """Test images by name: central crops of seven photographs in grey, or all crops of two in colour."""
    if not colour:
        return {name: centre(grey(photograph(name)), size) for name in TEST}
    crops = {name: tiles(photograph(name), size) for name in COLOUR_TEST}
    return {f"{name} {k + 1}": crop for name, found in crops.items() for k, crop in enumerate(found)}


def read_image(path: str | Path) -> Floats:
    """An image file as (H, W) or (3, H, W) in [0, 1].

    PNG, TIFF, JPEG or BMP of 8 or 16 bits; NPY as (H, W) or (H, W, 3), integers by their range, floats as they are.

    Raises
    ------
    FileNotFoundError, ValueError
        For a path that isn't there, a format that isn't known, or an array that is no image.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"no image at {file}; give the path of a PNG, TIFF, JPEG, BMP or NPY file")
    if file.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{file.name}: unknown format {file.suffix!r}; allowed: {', '.join(SUFFIXES)}")
    if file.suffix.lower() == ".npy":
        pixels = np.load(file, allow_pickle=False)
    else:
        import skimage.io

        pixels = skimage.io.imread(file)
    if pixels.ndim not in (2, 3) or min(pixels.shape[:2]) < 16 or (pixels.ndim == 3 and pixels.shape[-1] > 4):
        raise ValueError(
            f"{file.name}: an image has the shape (H, W) or (H, W, 3), 16 pixels or more a side; got {pixels.shape}"
        )
    image = _as_image(pixels)
    if not np.isfinite(image).all():
        raise ValueError(f"{file.name}: some pixels are NaN or infinite")
    return image


def load_folder(path: str | Path, *, grey_only: bool = True) -> list[Floats]:
    """All images of a folder in the order of their names: CBSD400, BSD68, Set12, Kodak24 or your own.

    Parameters
    ----------
    path : str or Path
    grey_only : bool
        Turn colour into luminance, as the official data script does.

    Raises
    ------
    FileNotFoundError
        Where there is no such folder or no image in it; names the photographs that need no download.
    """
    folder = Path(path)
    files = sorted(f for f in folder.glob("*") if f.suffix.lower() in SUFFIXES) if folder.is_dir() else []
    if not files:
        raise FileNotFoundError(
            f"no images in {folder}; put the set's files there, or use train_images() and held_out_images(), "
            "which need no download"
        )
    loaded = [read_image(f) for f in files]
    return [grey(image) for image in loaded] if grey_only else loaded
