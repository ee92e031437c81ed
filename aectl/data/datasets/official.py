"""The official data sets that torchvision knows: fetched where they are missing, checked before they are used.

They lie as torchvision lays them out. A file that is there is never written over: where it is damaged, that is said.
"""

import contextlib
import http.client
import os
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from aectl import storage
from aectl.data.datasets.base import Dataset, Found
from aectl.data.images import Images
from aectl.errors import DataError, brief

NEED_NO_FILES = "mnist5k, digits, synthetic"

# What a download fails with.
FAILED = (
    OSError, RuntimeError, ValueError, EOFError, KeyError, http.client.HTTPException, zlib.error, zipfile.BadZipFile,
    tarfile.TarError,
)  # fmt: skip

Download = Callable[[Sequence[Path], Path], Any]  # gets what is missing, and a folder for what is not whole yet


_FETCHES: ContextVar[bool] = ContextVar("fetches", default=True)


@contextlib.contextmanager
def fetching(may: bool) -> Iterator[None]:
    """Whether `fetch` may bring anything while the block runs."""
    before = _FETCHES.set(may)
    try:
        yield
    finally:
        _FETCHES.reset(before)


def data_root(root: str | None) -> Path:
    """Where downloaded data sets live: `root`, else $AECTL_DATA, else the user's cache folder."""
    if root is not None:
        return storage.expanded(root)
    if os.environ.get("AECTL_DATA"):
        return storage.expanded(os.environ["AECTL_DATA"])
    return storage.cache_home() / "aectl"


def fetch(name: str, folder: Path, missing: Sequence[Path], download: Download) -> None:
    """Have `download` bring what the data set `name` misses below `folder`.

    Raises:
        DataError: it fails, or nothing is to be fetched.
    """
    if not _FETCHES.get():
        raise DataError(
            f"dataset={name}: {missing[0].name} not found in {folder}, and nothing is downloaded for a run that was "
            "not made here; name the folder that has the set with data.root=<folder>, or train on it yourself once: "
            f"aectl train dataset={name} epochs=1"
        )
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


def damaged(path: Path, reason: str, source: str) -> DataError:
    """The refusal of a file that is there and not what it should be."""
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
