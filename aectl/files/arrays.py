"""NumPy's files, .npy and .npz, seen by their headers first, and then read a piece at a time.

`numpy.load` unpacks the whole of an array before anybody can look at its shape.
"""

import contextlib
import math
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from aectl.errors import brief
from aectl.files.unpacked import is_flat
from aectl.machine import memory

PIECE = 2**22  # bytes of values at a time
FLAT = 2**30  # bytes; more of next to nothing are refused
MAX_HEADER = 2**16  # bytes


@dataclass(frozen=True)
class Stored:
    """An array in a file, nothing of it read but its header.

    Attributes:
        shape, dtype: as the header has them.
        packed: bytes that it takes in the file.
        columns_first: whether its first axis is the one that runs fastest (Fortran's order).
        begin: opens the file at the first value.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    packed: int
    columns_first: bool
    begin: Callable[[], contextlib.AbstractContextManager[BinaryIO]]

    @property
    def size(self) -> int:
        """Bytes of its values."""
        return math.prod(self.shape) * self.dtype.itemsize

    def refuse_bomb(self) -> None:
        """Raise ValueError where it is very large, and next to nothing in the file."""
        if self.size > FLAT and is_flat(self.size, self.packed):
            times = self.size // max(1, self.packed)
            raise ValueError(
                f"would unpack to {memory.shown(self.size)}, {times:,} times its size; if that is right, save it "
                "uncompressed, with numpy.savez or numpy.save"
            )

    def parts(self) -> Iterator[np.ndarray]:
        """Its rows, some at a time, in order: (n, *shape[1:]); all at once where columns come first.

        Raises:
            ValueError: the file ends before, or goes on after the last.
        """
        if self.columns_first and len(self.shape) > 1:
            yield self.whole()
            return
        row = math.prod(self.shape[1:]) * self.dtype.itemsize
        count = max(1, PIECE // max(1, row))
        with self.begin() as file:
            for first in range(0, self.shape[0], count):
                rows = min(count, self.shape[0] - first)
                yield np.frombuffer(_exactly(file, rows * row), self.dtype).reshape(rows, *self.shape[1:])
            _refuse_more(file)

    def whole(self) -> np.ndarray:
        """All of it.

        Raises:
            ValueError: the file ends before, or goes on after it.
            MemoryShortError: there is not the memory.
        """
        memory.require(2 * self.size, lambda: f"an array of {self.shape}")
        with self.begin() as file:
            data = _exactly(file, self.size)
            _refuse_more(file)
        order = "F" if self.columns_first else "C"
        return np.frombuffer(data, self.dtype).reshape(self.shape, order=order)


def _exactly(file: BinaryIO, size: int) -> bytearray:
    """So many bytes; their memory is taken as they come, not as a header says."""
    data = bytearray()
    while len(data) < size:
        some = file.read(min(PIECE, size - len(data)))
        if not some:
            raise ValueError(f"ends {size - len(data)} bytes before its last value")
        data += some
    return data


def _refuse_more(file: BinaryIO) -> None:
    """Raise ValueError where something follows; a zip's member is compared with its checksum here."""
    if file.read(1):
        raise ValueError("goes on after its last value")


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Stored | dict[str, Stored]]:
    """The array of an .npy, or those of an .npz by their names, for a block in which they are read.

    Raises:
        ValueError, OSError, BadZipFile: it is no such file; no object is ever unpickled.
    """
    if not zipfile.is_zipfile(path):
        yield _stored(lambda: path.open("rb"), path.stat().st_size)
        return
    with zipfile.ZipFile(path) as archive:
        yield of_archive(archive)


def of_archive(archive: zipfile.ZipFile) -> dict[str, Stored]:
    """The arrays in an open .npz, by their names; other members are passed over.

    Raises:
        ValueError: a name stands there twice, or one is no array.
    """
    found: dict[str, Stored] = {}
    for member in archive.infolist():
        if not member.filename.endswith(".npy"):
            continue
        name = member.filename.removesuffix(".npy")
        if name in found:
            raise ValueError(f"has two arrays called {brief(name, 40)}")
        found[name] = _stored(lambda member=member: archive.open(member), member.compress_size)
        if found[name].size > member.file_size:
            raise ValueError(f"{brief(name, 40)}: would have {found[name].size} bytes, and has {member.file_size}")
    return found


def _stored(start: Callable[[], BinaryIO], packed: int) -> Stored:
    """An array by its header."""

    def header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as of headers that Python 2 wrote
            version = np.lib.format.read_magic(file)
            read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            if version not in read:
                raise ValueError(f"is of NumPy's format {version}, which is not read")
            return read[version](file, max_header_size=MAX_HEADER)

    @contextlib.contextmanager
    def begin() -> Iterator[BinaryIO]:
        with start() as file:
            header(file)
            yield file

    with start() as file:
        shape, columns_first, dtype = header(file)
    if dtype.hasobject:
        raise ValueError("holds Python objects, which are not read")
    return Stored(shape, dtype, packed, columns_first, begin)
