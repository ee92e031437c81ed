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
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import numpy as np
import torch
from tqdm import tqdm

from aectl import storage
from aectl.data.datasets import cache
from aectl.data.datasets.arrangement import Arrangement, arrange
from aectl.data.datasets.base import Found, Own
from aectl.data.images import Images, TrainImages
from aectl.data.patches import Patches, Pictures
from aectl.errors import DataError, brief, one_line
from aectl.files import digests, listing, unusable
from aectl.files.listing import Entry
from aectl.files.pictures import decoding, fitting
from aectl.files.pictures.reading import Reading
from aectl.settings import ranges
from aectl.settings.choices import Checked, OneOf, Range
from aectl.settings.common import ON_BAD

BLOCK = 512  # pictures decoded ahead of the writer

T = TypeVar("T")

log = logging.getLogger(__name__)


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


def _cached(
    entries: Sequence[Entry], settings: "Folder", root: Path, memory_gb: float
) -> tuple[list[str | None], cache.Index, np.ndarray]:
    """The hash of each file, and what the cache has of them; it is made where it is missing, and again if damaged.

    Raises:
        DataError: the storage does not keep it.
    """
    # Not where 0.1.0 kept them, without a seal.
    memory = cache_root() / "hashes" / f"{digests.sha256(os.fsencode(root.resolve()))[:32]}.json"
    for attempt in range(3):
        hashes = digests.hashes(entries, memory)
        key = _key(entries, hashes, settings)
        folder = cache_root() / key
        if not os.path.lexists(folder):
            try:
                _build(entries, hashes, settings, folder, key, doubtful=attempt == 0)
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


def _key(entries: Sequence[Entry], hashes: Sequence[str | None], settings: "Folder") -> str:
    own = [
        cache.FORMAT, settings.channels, settings.size, settings.fit, settings.background, settings.scale,
        settings.picture_gb,
    ]  # fmt: skip
    files = [[entry.name, value] for entry, value in zip(entries, hashes, strict=True)]
    return digests.sha256(json.dumps([own, files]).encode())[:32]


# ---------------------------------------------------------------------------------------- decoding


class StaleError(Exception):
    """A picture has another content than was remembered."""


def _build(
    entries: Sequence[Entry], hashes: Sequence[str | None], settings: "Folder", folder: Path, key: str,
    *, doubtful: bool,
) -> None:  # fmt: skip
    """Decode every entry into a cache folder.

    Raises:
        StaleError: a hash is not that of its file, and the hashes are `doubtful`: they may have been remembered.
    """
    expected = dict(zip(entries, hashes, strict=True))
    reading = Reading(settings.scale, settings.picture_gb, "dataset.")
    fit, background = settings.own_fit
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        channels, size = _shape(entries, settings, pool)

        def read(entry: Entry) -> np.ndarray | str:
            try:
                data = entry.read()
                if digests.sha256(data) != expected[entry]:
                    if doubtful:
                        raise StaleError(entry.name)
                    return "has changed while it was read"
                values = fitting.with_channels(decoding.decode(data, reading, entry.name), channels, background)
                if settings.fit != "patches":
                    values = fitting.fitted(values, size, fit, background)
                elif values.shape[1] < size[0] or values.shape[2] < size[1]:
                    return f"is {values.shape[2]}×{values.shape[1]}, smaller than a patch of {size[1]}×{size[0]}"
                return values
            except DataError as error:
                return str(error)

        found = (values for _, values in _in_order(pool, read, entries, "decoding"))
        cache.write(folder, key, [channels, *size], settings.fit == "patches", found, reading.notes)


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


def _shape(entries: Sequence[Entry], settings: "Folder", pool: ThreadPoolExecutor) -> tuple[int, tuple[int, int]]:
    """Channels and (height, width) of the set: as configured, else what the files' headers say.

    Raises:
        DataError: `size` is null and the pictures have several.
    """
    size = settings.sides
    if size is not None and settings.channels != "auto":
        return settings.channels, size

    def header(entry: Entry) -> tuple[bool, tuple[int, int]] | None:
        try:
            return decoding.header(entry.read())
        except DataError:
            return None  # decoding will say why

    found = [(entry, head) for entry, head in _in_order(pool, header, entries, "looking") if head is not None]
    colour = any(head[0] for _, head in found)
    channels = settings.channels
    if channels == "auto":
        channels = 3 if colour else 1
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


# ---------------------------------------------------------------------------------------- the choice


def _pair(size: Any) -> Any:
    """(height, width) of a setting that may also be one side, or null."""
    return [size, size] if isinstance(size, int) else size


def _check_size(key: str, size: Any) -> None:
    sides = _pair(size)
    if sides is None:
        return
    plain = isinstance(sides, list) and len(sides) == 2
    if not plain or not all(type(side) is int and 1 <= side <= 4096 for side in sides):
        ranges.fail(key, size, "give one side, or [height, width], from 1 to 4096")


@dataclass(frozen=True, kw_only=True)
class Folder(Own):
    """A folder of pictures, nested or not, or a zip of one.

    `size` is n, [height, width], or null where all pictures have one size; `fit` says how the others are brought to
    it, over `background`; or `patches`: `patches` random crops of each picture in an epoch. `on_bad`, `scale` and
    `picture_gb` are as in `aectl encode`.
    """

    name: ClassVar[str] = "folder"
    channels: Literal["auto", 1, 3]
    size: Annotated[Any, Checked(_check_size)]
    fit: Literal["resize", "crop", "pad", "patches"]
    patches: Annotated[int, Range(1, 1_000_000)]
    background: Literal["black", "white"]
    on_bad: Annotated[str, OneOf(ON_BAD)]
    scale: Annotated[Any, Checked(ranges.scale)]
    picture_gb: Annotated[float, Range(0, open_low=True)]

    def check(self) -> None:
        """Patches are cut to a size, and stay grey."""
        if self.fit != "patches":
            return
        if self.size is None:
            ranges.fail(
                "dataset.size", None, "dataset.fit=patches needs the size of a patch, such as dataset.size=64"
            )
        if self.binarize != "none":
            ranges.fail("dataset.binarize", self.binarize, "patches are not binarized; choose another dataset.fit")

    @property
    def sides(self) -> tuple[int, int] | None:
        """(height, width); None where the pictures say it."""
        return None if self.size is None else tuple(_pair(self.size))

    @property
    def own_scale(self) -> Any:
        """As its pictures are read."""
        return self.scale

    @property
    def own_fit(self) -> tuple[str, int]:
        """As its pictures are fitted; where it cuts patches, others are stretched to the size of one."""
        fit = "resize" if self.fit == "patches" else self.fit
        return fit, 255 if self.background == "white" else 0

    def find(self, root: str | None, memory_gb: float) -> Found:
        """The pictures, from the cache if they are there, else decoded into it.

        Raises:
            DataError: there are none; or some cannot be used and `on_bad` is `stop`: each is then listed with its
                reason.
        """
        place = self.place(root)
        listed = listing.below(place)
        hashes, index, values = _cached(listed.entries, self, place, memory_gb)
        bad = dict(zip(index.bad, index.reasons, strict=True))
        used = [number for number in range(len(listed.entries)) if number not in bad]
        names = [listed.entries[number].name for number in used]
        named_bad = [(listed.entries[number].name, reason) for number, reason in bad.items()]
        unusable.settle(named_bad, len(listed.entries), f"dataset.root={place}", "dataset.on_bad", self.on_bad)
        arranged = arrange(names)
        notes = [f"{len(names)} pictures in {brief(place, 200)}; {arranged.describe()}"]
        if listed.rest():
            notes.append(f"passed over: {listed.rest()}")
        notes += _lost_parts([entry.name for entry in listed.entries], arranged) if bad else []
        notes += index.notes
        return Found(
            self._stored(values, index, arranged),
            root=place,
            names=names,
            hashes=[hashes[number] for number in used],
            parts=arranged.parts,
            bad=named_bad,
            notes=notes,
        )

    def _stored(self, values: np.ndarray, index: cache.Index, arranged: Arrangement) -> Images | Pictures:
        """What the cache holds, with labels: classes in the order of their names, -1 for a picture of none."""
        numbers = arranged.numbers()
        labels = None
        if arranged.classes is not None:
            labels = torch.tensor([numbers.get(name, -1) for name in arranged.classes])
        pixels = torch.from_numpy(values)
        if self.fit == "patches":
            sizes = torch.tensor(index.sizes).view(-1, 2)
            areas = index.shape[0] * sizes.prod(1)
            table = torch.cat([(areas.cumsum(0) - areas)[:, None], sizes], dim=1)
            return Pictures(pixels, table, index.shape[0], labels)
        mapped = isinstance(values, np.memmap)
        return Images(pixels, labels, rows=torch.arange(len(pixels)) if mapped else None)

    def prepared(self, images: Images | Pictures) -> TrainImages:
        """Images, or patches of pictures."""
        if self.fit == "patches":
            return Patches(images, self.sides, self.patches)
        return super().prepared(images)
