"""The official data sets that torchvision knows: fetched where they are missing, checked before they are used.

They lie as torchvision lays them out. A file that is there is never written over: where it is damaged, that is said.
"""

import functools
import gzip
import http.client
import os
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from aectl import storage
from aectl.data.datasets import idx
from aectl.data.datasets.base import Dataset, Found
from aectl.data.images import Images
from aectl.errors import DataError, brief

NEED_NO_FILES = "mnist5k, digits, synthetic"
SIDE = 28  # of MNIST's images and of those made like it

# What a download fails with.
FAILED = (
    OSError, RuntimeError, ValueError, EOFError, KeyError, http.client.HTTPException, zlib.error, zipfile.BadZipFile,
    tarfile.TarError,
)  # fmt: skip

Download = Callable[[Sequence[Path], Path], Any]  # gets what is missing, and a folder for what is not whole yet


def data_root(root: str | None) -> Path:
    """Where downloaded data sets live: `root`, else $AECTL_DATA, else the user's cache folder."""
    if root is not None:
        return storage.expanded(root)
    if os.environ.get("AECTL_DATA"):
        return Path(os.environ["AECTL_DATA"]).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "aectl"


def _fetch(name: str, folder: Path, missing: Sequence[Path], download: Download) -> None:
    """Have `download` bring what the data set `name` misses below `folder`.

    Raises:
        DataError: it fails.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as temporary:
            download(missing, Path(temporary))
    except FAILED as error:
        raise DataError(
            f"dataset={name}: {missing[0].name} not found in {folder}, and the download failed "
            f"({brief(error)}); put the files there as torchvision lays them out, or name their folder with "
            f"data.root=<folder>; these data sets need none: {NEED_NO_FILES}"
        ) from None


def _damaged(path: Path, reason: str, source: str) -> DataError:
    return DataError(f"{path}: {reason}; delete it and it is downloaded again, from {source}")


@dataclass(frozen=True, kw_only=True)
class Official(Dataset):
    """One with an official test part, which is never trained on.

    Attributes:
        torchvision: the name of torchvision's class.
    """

    torchvision: ClassVar[str]

    def find(self, root: str | None, memory_gb: float) -> Found:
        """The official training and test part, from `root`, downloaded there where missing."""
        from aectl.data.datasets._torchvision import datasets

        return Found(*self.parts(getattr(datasets, self.torchvision), data_root(root)))

    def parts(self, kind: Any, root: Path) -> tuple[Images, Images]:
        """Training and test part from below `root`; `kind` is torchvision's class."""
        raise NotImplementedError


# ---------------------------------------------------------------------------------- like MNIST: IDX


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
            raise _damaged(path, str(error), source) from None
    pixels, numbers = (torch.from_numpy(one) for one in arrays)
    if len(numbers) != len(pixels):
        raise DataError(
            f"{labels}: has {len(numbers)} labels, and {images.name} {len(pixels)} images; delete whichever is wrong "
            f"and it is downloaded again, from {source}"
        )
    if numbers.max() >= classes:
        raise _damaged(labels, f"has the label {numbers.max()}, and there are {classes} classes, from 0", source)
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
            _fetch(self.name, folder, missing, functools.partial(self.download, kind))
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


# ------------------------------------------------------------------------------- with known checksums


def _verify(name: str, sums: Mapping[Path, str], root: Path, download: Download, source: str) -> None:
    """Have what is missing downloaded; of what is there the MD5 must be right.

    Raises:
        DataError: it is not, or the download fails.
    """
    from aectl.data.datasets._torchvision import datasets

    for path, md5 in sums.items():
        try:
            whole = datasets.utils.check_integrity(str(path), md5)
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror})") from None
        if path.exists() and not whole:
            raise _damaged(path, "is not the official file, as its MD5 shows", source)
    if missing := [path for path in sums if not path.exists()]:
        _fetch(name, root, missing, download)


def _images(pixels: np.ndarray, labels: Any) -> Images:
    return Images(torch.from_numpy(np.ascontiguousarray(pixels)), torch.as_tensor(labels).long())


@dataclass(frozen=True, kw_only=True)
class Cifar10(Official):
    """Colour pictures of ten kinds of things, 32×32."""

    name: ClassVar[str] = "cifar10"
    torchvision: ClassVar[str] = "CIFAR10"

    def parts(self, kind: Any, root: Path) -> tuple[Images, Images]:
        """Training and test part."""
        lists = [*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])]
        checksums = {root / kind.base_folder / file: md5 for file, md5 in lists}
        # torchvision unpickles these files, and compares their checksums first, as is done here.
        _verify(self.name, checksums, root, lambda missing, temporary: kind(str(root), download=True), kind.url)
        found = [kind(str(root), train=train) for train in (True, False)]
        return tuple(_images(data.data.transpose(0, 3, 1, 2), data.targets) for data in found)


@dataclass(frozen=True, kw_only=True)
class Svhn(Official):
    """Colour pictures of house numbers' digits, 32×32."""

    name: ClassVar[str] = "svhn"
    torchvision: ClassVar[str] = "SVHN"

    def parts(self, kind: Any, root: Path) -> tuple[Images, Images]:
        """Training and test part."""
        from aectl.data.datasets._torchvision import datasets

        names = ("train", "test")
        urls = {root / file: url for url, file, _ in map(kind.split_list.get, names)}
        checksums = {root / file: md5 for _, file, md5 in map(kind.split_list.get, names)}

        def download(missing: Sequence[Path], temporary: Path) -> None:
            for path in missing:
                datasets.utils.download_url(urls[path], str(temporary), path.name, checksums[path])
                (temporary / path.name).replace(path)

        _verify(self.name, checksums, root, download, urls[root / "train_32x32.mat"].rpartition("/")[0])
        found = [kind(str(root), split=name) for name in names]
        return tuple(_images(data.data, data.labels) for data in found)
