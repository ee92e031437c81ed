"""Official sets whose files have published checksums: CIFAR-10 and SVHN, colour pictures of 32×32."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from aectl import leads
from aectl.data.datasets.base import from_numpy
from aectl.data.datasets.official import Download, Official, damaged, fetch
from aectl.data.images import Images
from aectl.errors import DataError


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
            raise damaged(path, "is not the official file, as its MD5 shows", source)
    if missing := [path for path in sums if not path.exists()]:
        fetch(name, root, missing, download)


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
        return tuple(from_numpy(data.data.transpose(0, 3, 1, 2), np.asarray(data.targets)) for data in found)


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
                leads.refuse_odd(path)
                (temporary / path.name).replace(path)

        _verify(self.name, checksums, root, download, urls[root / "train_32x32.mat"].rpartition("/")[0])
        found = [kind(str(root), split=name) for name in names]
        return tuple(from_numpy(data.data, np.asarray(data.labels)) for data in found)
