"""Decoded pictures on the disk, with checksums, so that damage is noticed before anything is trained on it.

A cache folder holds `pixels.bin`, the pictures one after another, and `index.json`: their shape, the CRC-32 of each,
and which files could not be used and why. The index is sealed with its own SHA-256 and says whose it is. CRC-32 finds
every flipped bit and runs as fast as a file is read from memory, so that all pixels are checked each time.
"""

import math
import os
import shutil
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from aectl import sealed, storage
from aectl.errors import brief
from aectl.settings import typed

FORMAT = 4  # another number is another cache
INDEX, PIXELS = "index.json", "pixels.bin"
MAX_SIDE = 2**31  # of a picture


def root() -> Path:
    """$AECTL_CACHE, else a folder in the user's cache folder."""
    if os.environ.get("AECTL_CACHE"):
        return storage.expanded(os.environ["AECTL_CACHE"])
    return storage.cache_home() / "aectl/pictures"


@dataclass(frozen=True)
class Index:
    """What `index.json` holds.

    Attributes:
        key: of the files and settings that the cache is of.
        shape: channels (of pairs those of both pictures), height and width.
        sizes: height and width of each usable picture, one after another, where they differ; else empty.
        checksums: CRC-32 of each usable picture's values.
        bad, reasons: the numbers of the files that cannot be used, and why.
        notes: lines that say how the pictures were read.
    """

    key: str
    shape: list[int]
    sizes: list[int]
    checksums: list[int]
    bad: list[int]
    reasons: list[str]
    notes: list[str]


def write(
    folder: Path,
    key: str,
    shape: Sequence[int],
    several: bool,
    found: Iterable[np.ndarray | str],
    notes: Callable[[], list[str]],
) -> None:
    """Make a cache folder of each file's values, (C, H, W), uint8, or the reason why it has none.

    `several`: the pictures are of several sizes; `notes` is asked when all of them have been read. The folder appears
    when it is whole; one that another process has made meanwhile stays.
    """
    index = Index(key, list(shape), [], [], [], [], [])
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = storage.temporary_for(folder)
    temporary.mkdir()
    try:
        with storage.growing(temporary / PIXELS) as add:
            for number, values in enumerate(found):
                if isinstance(values, str):
                    index.bad.append(number)
                    index.reasons.append(values)
                    continue
                data = values.tobytes()
                add(data)
                index.checksums.append(zlib.crc32(data))
                if several:
                    index.sizes.extend(values.shape[1:])
        index.notes.extend(notes())
        storage.write(temporary / INDEX, sealed.seal(vars(index)))
        storage.flush_folder(temporary)
        try:
            temporary.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def read(folder: Path, key: str, files: int, memory_gb: float) -> tuple[Index, np.ndarray]:
    """The index and the pixels of a cache of `files` files, every byte checked.

    Returns:
        The pixels, uint8: (N, C, H, W), or flat where the pictures are of several sizes; mapped from the file where
        they are larger than `memory_gb`.

    Raises:
        ValueError: it is damaged; says how.
    """
    document = sealed.unseal(storage.read(folder / INDEX, sealed.LIMITS.size))
    index = _checked(typed.from_dict(Index, document, INDEX), key, files)
    areas = _areas(index)
    path, total = folder / PIXELS, sum(areas)
    try:
        if not path.is_file() or path.stat().st_size != total:
            raise ValueError(f"{PIXELS} is not a file of {total} bytes")
        if not total:
            pixels = np.zeros(0, np.uint8)
        elif total > memory_gb * 2**30:
            # Copy on write: torch wants an array that it may write to, and nothing is ever written.
            pixels = np.memmap(path, np.uint8, mode="c", shape=(total,))
        else:
            pixels = np.fromfile(path, np.uint8)
    except OSError as error:
        raise ValueError(f"{PIXELS} cannot be read ({brief(error.strerror)})") from None
    data, start = memoryview(pixels), 0
    with tqdm(total=len(areas), desc="checking", unit="picture", disable=None, leave=False) as bar:
        for area, checksum in zip(areas, index.checksums, strict=True):
            if zlib.crc32(data[start : start + area]) != checksum:
                raise ValueError(f"{PIXELS} does not match its checksums")
            start += area
            bar.update()
    return index, pixels if index.sizes else pixels.reshape(-1, *index.shape)


def _checked(index: Index, key: str, files: int) -> Index:
    if index.key != key:
        raise ValueError(f"{INDEX} is that of other pictures")
    if len(index.bad) != len(index.reasons) or index.bad != sorted(set(index.bad)):
        raise ValueError(f"{INDEX}: its lists of unusable files do not fit")
    if len(index.bad) + len(index.checksums) != files or any(not 0 <= number < files for number in index.bad):
        raise ValueError(f"{INDEX} is not of {files} files")
    if index.sizes and len(index.sizes) != 2 * len(index.checksums):
        raise ValueError(f"{INDEX}: has sizes of other pictures")
    if len(index.shape) != 3 or not all(1 <= side <= MAX_SIDE for side in (*index.shape, *index.sizes)):
        raise ValueError(f"{INDEX}: has a size that is none")
    return index


def _areas(index: Index) -> list[int]:
    """Bytes of each picture."""
    if index.sizes:
        pairs = zip(index.sizes[::2], index.sizes[1::2], strict=True)
        return [index.shape[0] * height * width for height, width in pairs]
    return [math.prod(index.shape)] * len(index.checksums)
