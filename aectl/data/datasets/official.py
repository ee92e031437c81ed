"""The official data sets that torchvision knows: fetched where they are missing, checked before they are used.

They lie as torchvision lays them out. A file that is there is never written over: where it is damaged, that is said.
"""

import functools
import gzip
import http.client
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aectl import storage
from aectl.data.datasets import idx
from aectl.data.images import Images
from aectl.errors import DataError, brief
from aectl.settings.config import DatasetConfig

NEED_NO_FILES = "mnist5k, digits, synthetic"
SIDE = 28  # of MNIST's images and of those made like it

# What a download fails with.
FAILED = (
    OSError, RuntimeError, ValueError, EOFError, KeyError, http.client.HTTPException, zlib.error, zipfile.BadZipFile,
    tarfile.TarError,
)  # fmt: skip

Download = Callable[[Sequence[Path], Path], Any]  # gets what is missing, and a folder for what is not whole yet


def load(class_name: str, config: DatasetConfig, root: Path) -> tuple[Images, Images]:
    """The official training and test part of torchvision's class, from `root`, downloaded there where missing.

    Raises:
        DataError: a file is damaged, or missing and cannot be downloaded.
    """
    from aectl.data.datasets._torchvision import datasets

    kind = getattr(datasets, class_name)
    if class_name == "SVHN":
        return _svhn(kind, config, root)
    if class_name == "CIFAR10":
        return _cifar10(kind, config, root)
    return _like_mnist(kind, config, root)


def _fetch(config: DatasetConfig, folder: Path, missing: Sequence[Path], download: Download) -> None:
    """Have `download` bring what is missing below `folder`.

    Raises:
        DataError: it fails.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as temporary:
            download(missing, Path(temporary))
    except FAILED as error:
        raise DataError(
            f"dataset={config.name}: {missing[0].name} not found in {folder}, and the download failed "
            f"({brief(error)}); put the files there as torchvision lays them out, or name their folder with "
            f"data.root=<folder>; these data sets need none: {NEED_NO_FILES}"
        ) from None


def _damaged(path: Path, reason: str, source: str) -> DataError:
    return DataError(f"{path}: {reason}; delete it and it is downloaded again, from {source}")


# ---------------------------------------------------------------------------------- like MNIST: IDX


def _like_mnist(kind: Any, config: DatasetConfig, root: Path) -> tuple[Images, Images]:
    """MNIST, Fashion-MNIST, KMNIST, EMNIST: any number of images of 28×28, with as many labels of its classes."""
    folder = root / kind.__name__ / "raw"
    emnist = config.emnist_split is not None
    prefixes = [f"emnist-{config.emnist_split}-{part}" for part in ("train", "test")] if emnist else ["train", "t10k"]
    pairs = [(folder / f"{prefix}-images-idx3-ubyte", folder / f"{prefix}-labels-idx1-ubyte") for prefix in prefixes]
    missing = [path for pair in pairs for path in pair if not _either(path).exists()]
    if missing:
        _fetch(config, folder, missing, functools.partial(_emnist_files if emnist else _mnist_files, kind))
    classes = kind.classes_split_dict[config.emnist_split] if emnist else kind.classes
    source = kind.url if emnist else kind.mirrors[0]
    return tuple(_part(*map(_either, pair), len(classes), source, transposed=emnist) for pair in pairs)


def _either(path: Path) -> Path:
    """The file, or where it is missing, the compressed one that it comes in."""
    packed = path.with_name(f"{path.name}.gz")
    return packed if packed.exists() and not path.exists() else path


def _part(images: Path, labels: Path, classes: int, source: str, *, transposed: bool) -> Images:
    arrays = []
    for path, sides in ((images, (SIDE, SIDE)), (labels, ())):
        try:
            arrays.append(idx.read(path, *sides))
        except ValueError as error:
            raise _damaged(path, str(error), source) from None
    pixels, numbers = (torch.from_numpy(array) for array in arrays)
    if len(numbers) != len(pixels):
        raise DataError(
            f"{labels}: has {len(numbers)} labels, and {images.name} {len(pixels)} images; delete whichever is wrong "
            f"and it is downloaded again, from {source}"
        )
    if numbers.max() >= classes:
        raise _damaged(labels, f"has the label {numbers.max()}, and there are {classes} classes, from 0", source)
    # EMNIST's files hold each picture transposed.
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


# ------------------------------------------------------------------------------- with known checksums


def _svhn(kind: Any, config: DatasetConfig, root: Path) -> tuple[Images, Images]:
    from aectl.data.datasets._torchvision import datasets

    parts = ("train", "test")
    urls = {root / name: url for url, name, _ in map(kind.split_list.get, parts)}
    checksums = {root / name: md5 for _, name, md5 in map(kind.split_list.get, parts)}

    def download(missing: Sequence[Path], temporary: Path) -> None:
        for path in missing:
            datasets.utils.download_url(urls[path], str(temporary), path.name, checksums[path])
            (temporary / path.name).replace(path)

    _verify(checksums, config, root, download, urls[root / "train_32x32.mat"].rpartition("/")[0])
    found = [kind(str(root), split=part) for part in parts]
    return tuple(_images(data.data, data.labels) for data in found)


def _cifar10(kind: Any, config: DatasetConfig, root: Path) -> tuple[Images, Images]:
    lists = [*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])]
    checksums = {root / kind.base_folder / name: md5 for name, md5 in lists}
    # torchvision unpickles these files, and compares their checksums first, as is done here.
    _verify(checksums, config, root, lambda missing, temporary: kind(str(root), download=True), kind.url)
    found = [kind(str(root), train=train) for train in (True, False)]
    return tuple(_images(data.data.transpose(0, 3, 1, 2), data.targets) for data in found)


def _verify(sums: Mapping[Path, str], config: DatasetConfig, root: Path, download: Download, source: str) -> None:
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
        _fetch(config, root, missing, download)


def _images(pixels: np.ndarray, labels: Any) -> Images:
    return Images(torch.from_numpy(np.ascontiguousarray(pixels)), torch.as_tensor(labels).long())
