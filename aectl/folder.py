"""A folder of pictures as training data: decoded once, in parallel, into a cache, and read from there.

A cache holds `pixels.bin`, the pictures one after another, and `index.json`: their shape, names, hashes and labels,
and which files could not be used and why. Its key is the name and the content of every file, and the settings that
decide what becomes of them.
"""

import json
import logging
import math
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from aectl import contents, decoding, fitting, storage, unusable
from aectl.config import BACKGROUNDS, DatasetConfig
from aectl.decoding import Entry
from aectl.errors import DataError, brief, one_line
from aectl.reading import PICTURE_GB, Reading

FORMAT = 3  # of the cache; another number is another cache
MAX_INDEX = 2**30  # bytes
BLOCK = 512  # pictures decoded ahead of the writer

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Library:
    """Decoded pictures.

    Attributes:
        pixels: (N, C, H, W), uint8; or flat, one picture after another, where `sizes` says how large each is. Mapped
            from the cache where it is larger than the budget.
        mapped: whether it is.
        channels: C.
        sizes: (N, 2), height and width of each picture, for `fit=patches`; else None.
        names: of the files, in the order of the pixels.
        hashes: sha256 of each file's bytes.
        labels: (N,), int64, by `label_names`; None unless all pictures are in sub-folders, two at least.
        bad: name and reason of each file that cannot be used.
        notes: lines that say how the pictures were read.
    """

    pixels: Tensor
    mapped: bool
    channels: int
    sizes: Tensor | None
    names: list[str]
    hashes: list[str]
    labels: Tensor | None
    label_names: list[str]
    bad: list[tuple[str, str]]
    notes: list[str]


def cache_root() -> Path:
    """$AECTL_CACHE, else a folder in the user's cache folder."""
    if os.environ.get("AECTL_CACHE"):
        return Path(os.environ["AECTL_CACHE"]).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "aectl/pictures"


def load(config: DatasetConfig, root: Path, memory_gb: float) -> Library:
    """The pictures below `root`, from the cache if they are there, else decoded into it.

    Raises:
        DataError: there are none; or some cannot be used and `on_bad` is `stop`: each is then listed with its reason.
    """
    entries = decoding.listing(root)
    memory = cache_root() / "contents" / f"{contents.sha256(str(root.resolve()).encode())[:32]}.json"
    hashes = contents.hashes(entries, memory)
    folder = cache_root() / _key(entries, hashes, config)
    if not (folder / "index.json").is_file():
        _build(entries, hashes, config, folder)
    library = _open(folder, memory_gb)
    for line in library.notes:
        log.info("%s", line)
    unusable.settle(library.bad, len(entries), f"dataset.root={root}", "dataset.on_bad", config.on_bad)
    return library


def _key(entries: Sequence[Entry], hashes: Sequence[str | None], config: DatasetConfig) -> str:
    settings = [FORMAT, config.channels, config.size, config.fit, config.background, config.scale, config.picture_gb]
    files = [[entry.name, value] for entry, value in zip(entries, hashes, strict=True)]
    return contents.sha256(json.dumps([settings, files]).encode())[:32]


# ---------------------------------------------------------------------------------------- decoding


def _build(entries: Sequence[Entry], hashes: Sequence[str | None], config: DatasetConfig, folder: Path) -> None:
    """Decode every entry into a cache folder, which appears when it is whole."""
    expected = dict(zip(entries, hashes, strict=True))
    reading = Reading(config.scale, config.picture_gb or PICTURE_GB, "dataset.")
    temporary = folder.with_name(f".tmp-{folder.name}-{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            channels, size = _shape(entries, config, pool)
            background = BACKGROUNDS.index(config.background) * 255

            def read(entry: Entry) -> np.ndarray | str:
                try:
                    data = entry.read()
                    if contents.sha256(data) != expected[entry]:
                        return "has changed while it was read"
                    values = fitting.with_channels(decoding.decode(data, reading, entry.name), channels, background)
                    if config.fit != "patches":
                        values = fitting.fitted(values, size, config.fit, background)
                    elif values.shape[1] < size[0] or values.shape[2] < size[1]:
                        return f"is {values.shape[2]}×{values.shape[1]}, smaller than a patch of {size[1]}×{size[0]}"
                    return values
                except DataError as error:
                    return str(error)

            used, sizes, bad = [], [], []
            with (temporary / "pixels.bin").open("wb") as file:
                for entry, found in _in_order(pool, read, entries, "decoding"):
                    if isinstance(found, str):
                        bad.append([entry.name, found])
                    else:
                        used.append(entry)
                        sizes.append(found.shape[1:])
                        file.write(found.tobytes())
                file.flush()
                os.fsync(file.fileno())
        index = {
            "shape": [channels, *size],
            "names": [entry.name for entry in used],
            "hashes": [expected[entry] for entry in used],
            "bad": bad,
            "notes": reading.notes(),
        }
        if config.fit == "patches":
            index["sizes"] = sizes
        storage.write(temporary / "index.json", json.dumps(index).encode())
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _in_order(
    pool: ThreadPoolExecutor, work: Callable[[Entry], T], entries: Sequence[Entry], what: str
) -> Iterator[tuple[Entry, T]]:
    """Each entry with what became of it, in order, with a bar; a block at a time, so that results do not pile up."""
    with tqdm(total=len(entries), desc=what, unit="picture", disable=None, leave=False) as bar:
        for start in range(0, len(entries), BLOCK):
            block = entries[start : start + BLOCK]
            for entry, found in zip(block, pool.map(work, block), strict=True):
                yield entry, found
                bar.update()


def _shape(entries: Sequence[Entry], config: DatasetConfig, pool: ThreadPoolExecutor) -> tuple[int, tuple[int, int]]:
    """Channels and (height, width) of the set: as configured, else what the files' headers say.

    Raises:
        DataError: `size` is null and the pictures have several.
    """
    size = config.size
    if isinstance(size, int):
        size = [size, size]
    if size is not None and config.channels != "auto":
        return config.channels, tuple(size)

    def header(entry: Entry) -> tuple[bool, tuple[int, int]] | None:
        try:
            return decoding.header(entry.read())
        except DataError:
            return None  # decoding will say why

    found = [(entry, head) for entry, head in _in_order(pool, header, entries, "looking") if head is not None]
    colour = any(head[0] for _, head in found)
    channels = config.channels if config.channels != "auto" else 3 if colour else 1
    if size is None:
        sizes = Counter(head[1] for _, head in found)
        if len(sizes) > 1:
            (common, count), *_ = sizes.most_common(1)
            other = next(entry.name for entry, head in found if head[1] != common)
            raise DataError(
                f"dataset.size=null: the pictures have {len(sizes)} sizes ({count} are {common[1]}×{common[0]}, "
                f"{one_line(other)} is not); give one, such as dataset.size=64, and say how with "
                f"dataset.fit=resize, crop or pad"
            )
        size = next(iter(sizes), (1, 1))
    return channels, tuple(size)


# -------------------------------------------------------------------------------------- the cache


def _open(folder: Path, memory_gb: float) -> Library:
    """The library in a cache folder; its pixels are mapped where they are larger than the budget.

    Raises:
        DataError: it is damaged.
    """
    try:
        index = json.loads(storage.read(folder / "index.json", MAX_INDEX))
        channels = index["shape"][0]
        sizes = torch.tensor(index["sizes"], dtype=torch.long).view(-1, 2) if "sizes" in index else None
        shape = (len(index["names"]), *index["shape"]) if sizes is None else (channels * int(sizes.prod(1).sum()),)
        path = folder / "pixels.bin"
        if path.stat().st_size != math.prod(shape):
            raise ValueError("pixels.bin has another size than index.json says")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder}: is a damaged cache ({brief(error)}); remove it, it is made again") from None
    mapped = math.prod(shape) > memory_gb * 2**30
    if not shape[0]:
        pixels = torch.zeros(shape, dtype=torch.uint8)
    elif mapped:
        # Copy on write: torch wants an array that it may write to, and nothing is ever written.
        pixels = torch.from_numpy(np.memmap(path, np.uint8, mode="c", shape=shape))
    else:
        pixels = torch.from_numpy(np.fromfile(path, np.uint8).reshape(shape))
    labels, label_names = _labels(index["names"])
    bad = [tuple(item) for item in index["bad"]]
    return Library(
        pixels, mapped, channels, sizes, index["names"], index["hashes"], labels, label_names, bad, index["notes"]
    )


def _labels(names: Sequence[str]) -> tuple[Tensor | None, list[str]]:
    """Labels by the first folder of each name, numbered in alphabetical order."""
    folders = [name.partition("/")[0] if "/" in name else None for name in names]
    if None in folders or len(set(folders)) < 2:
        return None, []
    known = sorted(set(folders))
    number = {folder: index for index, folder in enumerate(known)}
    return torch.tensor([number[folder] for folder in folders]), known
