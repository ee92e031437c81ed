"""MNIST and those made like it: grey images of 28×28 in IDX files."""

import functools
import gzip
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch

from aectl import storage
from aectl.data.datasets import idx
from aectl.data.datasets.official import FAILED, Official, damaged, fetch
from aectl.data.images import Images
from aectl.errors import DataError

SIDE = 28


def _either(path: Path) -> Path:
    """The file, or where it is missing, the compressed one that it comes in."""
    packed = path.with_name(f"{path.name}.gz")
    return packed if packed.exists() and not path.exists() else path


def _images_like_mnist(images: Path, labels: Path, classes: int, source: str, *, transposed: bool) -> Images:
    """Any number of images of 28×28, with as many labels of its classes."""
    arrays = []
    for path, sides in ((images, (SIDE, SIDE)), (labels, ())):
        try:
            arrays.append(idx.read(path, *sides))
        except ValueError as error:
            raise damaged(path, str(error), source) from None
    pixels, numbers = (torch.from_numpy(one) for one in arrays)
    if len(numbers) != len(pixels):
        raise DataError(
            f"{labels}: has {len(numbers)} labels, and {images.name} {len(pixels)} images; delete whichever is wrong "
            f"and it is downloaded again, from {source}"
        )
    if numbers.max() >= classes:
        raise damaged(labels, f"has the label {numbers.max()}, and there are {classes} classes, from 0", source)
    return Images((pixels.mT if transposed else pixels)[:, None].contiguous(), numbers.long())


def _mnist_files(kind: Any, missing: Sequence[Path], temporary: Path) -> None:
    from aectl.data.datasets._torchvision import datasets

    checksums = dict(kind.resources)
    for path in missing:
        name = f"{path.name}.gz"
        for url in kind.mirrors:
            try:
                datasets.utils.download_url(url + name, str(temporary), name, checksums[name])
                break
            except FAILED:
                if url == kind.mirrors[-1]:
                    raise
        storage.replace(path, gzip.decompress((temporary / name).read_bytes()))


def _emnist_files(kind: Any, missing: Sequence[Path], temporary: Path) -> None:
    from aectl.data.datasets._torchvision import datasets

    del temporary  # half a gigabyte is kept, and what is whole of it used
    folder = missing[0].parent
    datasets.utils.download_url(kind.url, str(folder), md5=kind.md5)
    with zipfile.ZipFile(folder / Path(kind.url).name) as archive:
        for path in missing:
            storage.replace(path, gzip.decompress(archive.read(f"gzip/{path.name}.gz")))


@dataclass(frozen=True, kw_only=True)
class LikeMnist(Official):
    """Grey images of 28×28 in IDX files.

    Attributes:
        transposed: whether the files hold each image transposed.
    """

    transposed: ClassVar[bool] = False

    def parts(self, kind: Any, root: Path) -> tuple[Images, Images]:
        """Training and test part."""
        folder = root / kind.__name__ / "raw"
        pairs = [
            (folder / f"{prefix}-images-idx3-ubyte", folder / f"{prefix}-labels-idx1-ubyte")
            for prefix in self.prefixes()
        ]
        missing = [path for pair in pairs for path in pair if not _either(path).exists()]
        if missing:
            fetch(self.name, folder, missing, functools.partial(self.download, kind))
        classes, source = len(self.classes(kind)), self.source(kind)
        train, test = (
            _images_like_mnist(*map(_either, pair), classes, source, transposed=self.transposed) for pair in pairs
        )
        return train, test

    def prefixes(self) -> tuple[str, str]:
        """How the names of the two parts' files begin."""
        return "train", "t10k"

    def classes(self, kind: Any) -> Sequence[str]:
        """Its classes by label."""
        return kind.classes

    def source(self, kind: Any) -> str:
        """Where it comes from."""
        return kind.mirrors[0]

    def download(self, kind: Any, missing: Sequence[Path], temporary: Path) -> None:
        """Bring what is missing."""
        _mnist_files(kind, missing, temporary)


@dataclass(frozen=True, kw_only=True)
class Mnist(LikeMnist):
    """Digits."""

    name: ClassVar[str] = "mnist"
    torchvision: ClassVar[str] = "MNIST"


@dataclass(frozen=True, kw_only=True)
class FashionMnist(LikeMnist):
    """Pieces of clothing."""

    name: ClassVar[str] = "fashion_mnist"
    torchvision: ClassVar[str] = "FashionMNIST"


@dataclass(frozen=True, kw_only=True)
class Kmnist(LikeMnist):
    """Cursive characters."""

    name: ClassVar[str] = "kmnist"
    torchvision: ClassVar[str] = "KMNIST"


@dataclass(frozen=True, kw_only=True)
class Emnist(LikeMnist):
    """Handwritten characters, split and labelled in several ways."""

    name: ClassVar[str] = "emnist"
    torchvision: ClassVar[str] = "EMNIST"
    transposed: ClassVar[bool] = True
    emnist_split: Literal["byclass", "bymerge", "balanced", "letters", "digits", "mnist"]

    def prefixes(self) -> tuple[str, str]:
        """Those of its split."""
        return f"emnist-{self.emnist_split}-train", f"emnist-{self.emnist_split}-test"

    def classes(self, kind: Any) -> Sequence[str]:
        """Those of its split."""
        return kind.classes_split_dict[self.emnist_split]

    def source(self, kind: Any) -> str:
        """One archive of all splits."""
        return kind.url

    def download(self, kind: Any, missing: Sequence[Path], temporary: Path) -> None:
        """Bring the archive, and unpack what is missing."""
        _emnist_files(kind, missing, temporary)
