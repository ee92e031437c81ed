"""A folder of pictures as training data: decoded once, in parallel, into a cache, and read from there.

The cache goes by the name and the content of every file, and the settings that decide what becomes of them.
"""

import json
import logging
import os
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

from aectl import storage
from aectl.data.datasets import cache
from aectl.data.datasets.arrangement import Arrangement, arrange
from aectl.errors import DataError, brief, one_line
from aectl.files import digests, listing, unusable
from aectl.files.listing import Entry
from aectl.files.pictures import decoding, fitting
from aectl.files.pictures.reading import PICTURE_GB, Reading
from aectl.settings.config import BACKGROUNDS, DatasetConfig

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
        parts: train, val, test or None for each, by its folder; None where there are no such folders.
        labels: (N,), int64, classes in the order of their names, -1 for a picture of none; None where there are none.
        bad: name and reason of each file that cannot be used.
        notes: what was found, in lines.
    """

    pixels: Tensor
    mapped: bool
    channels: int
    sizes: Tensor | None
    names: list[str]
    hashes: list[str]
    parts: list[str | None] | None
    labels: Tensor | None
    bad: list[tuple[str, str]]
    notes: list[str]


def cache_root() -> Path:
    """$AECTL_CACHE, else a folder in the user's cache folder."""
    if os.environ.get("AECTL_CACHE"):
        return Path(os.environ["AECTL_CACHE"]).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "aectl/pictures"


def _lost_parts(names: Sequence[str], used: Arrangement) -> list[str]:
    """A line for each part whose folder is there and has not a single picture that can be used."""
    lost = set(arrange(names).parts or ()) - set(used.parts or ()) - {None}
    return [
        f"of the folder {part} no picture can be used: that part is drawn from the others" for part in sorted(lost)
    ]


def load(config: DatasetConfig, root: Path, memory_gb: float) -> Library:
    """The pictures below `root`, from the cache if they are there, else decoded into it.

    Raises:
        DataError: there are none; or some cannot be used and `on_bad` is `stop`: each is then listed with its reason.
    """
    found = listing.below(root)
    hashes, index, values = _cached(found.entries, config, root, memory_gb)
    bad = dict(zip(index.bad, index.reasons, strict=True))
    used = [number for number in range(len(found.entries)) if number not in bad]
    names = [found.entries[number].name for number in used]
    named_bad = [(found.entries[number].name, reason) for number, reason in bad.items()]
    unusable.settle(named_bad, len(found.entries), f"dataset.root={root}", "dataset.on_bad", config.on_bad)
    arranged = arrange(names)
    notes = [f"{len(names)} pictures in {brief(root, 200)}; {arranged.describe()}"]
    if found.rest():
        notes.append(f"passed over: {found.rest()}")
    notes += _lost_parts([entry.name for entry in found.entries], arranged) if bad else []
    notes += index.notes
    numbers = arranged.numbers()
    labels = None if arranged.classes is None else torch.tensor([numbers.get(name, -1) for name in arranged.classes])
    return Library(
        pixels=torch.from_numpy(values),
        mapped=isinstance(values, np.memmap),
        channels=index.shape[0],
        sizes=torch.tensor(index.sizes).view(-1, 2) if config.fit == "patches" else None,
        names=names,
        hashes=[hashes[number] for number in used],
        parts=arranged.parts,
        labels=labels,
        bad=named_bad,
        notes=notes,
    )


def _cached(
    entries: Sequence[Entry], config: DatasetConfig, root: Path, memory_gb: float
) -> tuple[list[str | None], cache.Index, np.ndarray]:
    """The hash of each file, and what the cache has of them; it is made where it is missing, and again if damaged.

    Raises:
        DataError: the storage does not keep it.
    """
    # Not where 0.1.0 kept them, without a seal.
    memory = cache_root() / "hashes" / f"{digests.sha256(os.fsencode(root.resolve()))[:32]}.json"
    for attempt in range(3):
        hashes = digests.hashes(entries, memory)
        key = _key(entries, hashes, config)
        folder = cache_root() / key
        if not os.path.lexists(folder):
            try:
                _build(entries, hashes, config, folder, key, doubtful=attempt == 0)
            except StaleError as error:
                log.warning("%s: is out of date (%s); every picture is read again", memory, one_line(error))
                storage.remove(memory)
                continue
        try:
            return hashes, *cache.read(folder, key, len(entries), memory_gb)
        except ValueError as error:
            log.warning("%s: is a damaged cache (%s); the pictures are decoded again", folder, brief(error))
            storage.remove(folder)
    raise DataError(f"{folder}: is damaged as soon as it is written; name another folder with AECTL_CACHE=<folder>")


def _key(entries: Sequence[Entry], hashes: Sequence[str | None], config: DatasetConfig) -> str:
    settings = [
        cache.FORMAT, config.channels, config.size, config.fit, config.background, config.scale, config.picture_gb,
    ]  # fmt: skip
    files = [[entry.name, value] for entry, value in zip(entries, hashes, strict=True)]
    return digests.sha256(json.dumps([settings, files]).encode())[:32]


# ---------------------------------------------------------------------------------------- decoding


class StaleError(Exception):
    """A picture has another content than was remembered."""


def _build(
    entries: Sequence[Entry], hashes: Sequence[str | None], config: DatasetConfig, folder: Path, key: str,
    *, doubtful: bool,
) -> None:  # fmt: skip
    """Decode every entry into a cache folder.

    Raises:
        StaleError: a hash is not that of its file, and the hashes are `doubtful`: they may have been remembered.
    """
    expected = dict(zip(entries, hashes, strict=True))
    reading = Reading(config.scale, config.picture_gb or PICTURE_GB, "dataset.")
    background = BACKGROUNDS.index(config.background) * 255
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        channels, size = _shape(entries, config, pool)

        def read(entry: Entry) -> np.ndarray | str:
            try:
                data = entry.read()
                if digests.sha256(data) != expected[entry]:
                    if doubtful:
                        raise StaleError(entry.name)
                    return "has changed while it was read"
                values = fitting.with_channels(decoding.decode(data, reading, entry.name), channels, background)
                if config.fit != "patches":
                    values = fitting.fitted(values, size, config.fit, background)
                elif values.shape[1] < size[0] or values.shape[2] < size[1]:
                    return f"is {values.shape[2]}×{values.shape[1]}, smaller than a patch of {size[1]}×{size[0]}"
                return values
            except DataError as error:
                return str(error)

        found = (values for _, values in _in_order(pool, read, entries, "decoding"))
        cache.write(folder, key, [channels, *size], config.fit == "patches", found, reading.notes)


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
