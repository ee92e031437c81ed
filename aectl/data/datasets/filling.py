"""Pictures of a folder, decoded once, in parallel, into the cache, or found there.

The cache goes by the name and the content of every file, and the settings that decide what becomes of them.
"""

import dataclasses
import itertools
import json
import logging
import math
import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from tqdm import tqdm

from aectl import storage
from aectl.data.datasets import cache
from aectl.errors import DataError, brief, one_line
from aectl.files import digests
from aectl.files.listing import Entry
from aectl.files.pictures import decoding, fitting
from aectl.files.pictures.reading import Reading
from aectl.machine import memory

BLOCK = 512  # images decoded ahead of the writer
PILE = 2**28  # bytes of them, beside those that are being decoded

Files = tuple[Entry, ...]  # what an image is made of: a picture, or the clean one of a pair and the noisy one
Hashes = tuple[str | None, ...]  # of those files; None for one that cannot be read

WHOSE = ("", "its noisy picture ")  # a reason begins so where it is about the first file, or the second

S = TypeVar("S")
T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Form:
    """The settings that decide what becomes of pictures, as `aectl.data.datasets.folder.Folder` has them."""

    channels: Literal["auto", 1, 3]
    size: Any
    fit: str
    background: str
    scale: Any
    picture_gb: float

    @property
    def sides(self) -> tuple[int, int] | None:
        """(height, width); None where the pictures say it."""
        if self.size is None:
            return None
        return (self.size, self.size) if isinstance(self.size, int) else tuple(self.size)

    @property
    def grey(self) -> int:
        """The background, 0..255."""
        return 255 if self.background == "white" else 0


def filled(
    images: Sequence[Files], form: Form, roots: Sequence[Path], memory_gb: float
) -> tuple[list[Hashes], cache.Index, np.ndarray]:
    """The hashes of each image's files, and what the cache has of them; made where missing, and again if damaged.

    Args:
        images: with one file or two of each; those of a pair become one image, the noisy one's channels after the
            clean one's.
        form: what they become.
        roots: where the first files of the images lie, and the second ones.
        memory_gb: as in `cache.read`.

    Raises:
        DataError: the storage does not keep it; or the pictures have several sizes and `form` has none.
    """
    # Not where 0.1.0 kept them, without a seal.
    names = [digests.sha256(os.fsencode(root.resolve()))[:32] for root in roots]
    memories = [cache.root() / "hashes" / f"{name}.json" for name in names]
    for attempt in range(3):
        columns = zip(zip(*images, strict=True), memories, strict=False)  # without an image there is no column
        hashes = list(zip(*(digests.hashes(column, known) for column, known in columns), strict=True))
        key = _key(images, hashes, form)
        folder = cache.root() / key
        if not os.path.lexists(folder):
            try:
                _build(images, hashes, form, folder, key, len(roots), doubtful=attempt == 0)
            except StaleError as error:
                for known in memories:
                    log.warning("%s: is out of date (%s); every picture is read again", known, one_line(error))
                    storage.remove(known)
                continue
        try:
            return hashes, *cache.read(folder, key, len(images), memory_gb)
        except ValueError as error:
            log.warning("%s: is a damaged cache (%s); the pictures are decoded again", folder, brief(error))
            storage.remove(folder)
    raise DataError(f"{folder}: is damaged as soon as it is written; name another folder with AECTL_CACHE=<folder>")


def rows(images: Sequence[Files], hashes: Sequence[Hashes]) -> list[list[str | None]]:
    """For each image name and hash of its file, or of both one after the other."""
    return [
        [part for entry, digest in zip(files, found, strict=True) for part in (entry.name, digest)]
        for files, found in zip(images, hashes, strict=True)
    ]


def _key(images: Sequence[Files], hashes: Sequence[Hashes], form: Form) -> str:
    own = [cache.FORMAT, *dataclasses.astuple(form)]
    return digests.sha256(json.dumps([own, rows(images, hashes)]).encode())[:32]


class StaleError(Exception):
    """A picture has another content than was remembered."""


def _build(
    images: Sequence[Files], hashes: Sequence[Hashes], form: Form, folder: Path, key: str, each: int,
    *, doubtful: bool,
) -> None:  # fmt: skip
    """Decode every image, of `each` files, into a cache folder.

    Raises:
        StaleError: a hash is not that of its file, and the hashes are `doubtful`: they may have been remembered.
    """
    reading = Reading(form.scale, form.picture_gb, "dataset.")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        channels, size = _shape(images, form, pool)

        def decoded(entry: Entry, expected: str | None, whose: str) -> np.ndarray:
            try:
                data = entry.read()
                if digests.sha256(data) != expected:
                    if doubtful:
                        raise StaleError(entry.name)
                    raise DataError("has changed while it was read")
                return fitting.with_channels(decoding.decode(data, reading, entry.name), channels, form.grey)
            except DataError as error:
                raise DataError(f"{whose}{error}") from None

        def image(files_and_hashes: tuple[Files, Hashes]) -> np.ndarray | str:
            files, _ = files_and_hashes
            try:
                with memory.FILES.taken(max(entry.weight for entry in files), lambda: files[0].name):
                    return _joined([decoded(*one) for one in zip(*files_and_hashes, WHOSE, strict=False)], form, size)
            except DataError as error:
                return str(error)

        items = list(zip(images, hashes, strict=True))
        found = (values for _, values in _in_order(pool, image, items, "decoding"))
        cache.write(folder, key, [channels * each, *size], form.fit == "patches", found, reading.notes)


def _joined(pictures: Sequence[np.ndarray], form: Form, size: tuple[int, int]) -> np.ndarray:
    """Pictures of one size, (C, H, W) each, as an image of all their channels, brought to `size` if it is not cut.

    Raises:
        DataError: they are of several sizes, or cannot become one of `size`.
    """
    shapes = [f"{values.shape[2]}×{values.shape[1]}" for values in pictures]
    if len(set(shapes)) > 1:
        raise DataError(f"is {shapes[0]}, and its noisy picture {shapes[1]}")
    if form.fit != "patches":
        return np.concatenate([fitting.fitted(values, size, form.fit, form.grey) for values in pictures])
    if pictures[0].shape[1] < size[0] or pictures[0].shape[2] < size[1]:
        raise DataError(f"is {shapes[0]}, smaller than a patch of {size[1]}×{size[0]}")
    return np.concatenate(pictures)


def _in_order(
    pool: ThreadPoolExecutor, work: Callable[[S], T], items: Sequence[S], what: str
) -> Iterator[tuple[S, T]]:
    """Each item with what became of it, in order, with a bar.

    Results that nobody has taken do not pile up: when there is enough of them, only the one whose turn it is goes on.
    """
    changed, pile, turn = threading.Condition(), 0, 0.0

    def heaped(number: int, item: S) -> T:
        nonlocal pile
        with changed:
            changed.wait_for(lambda: pile < PILE or number <= turn)
        found = work(item)
        with changed:
            pile += getattr(found, "nbytes", 0)
        return found

    coming: deque[tuple[S, Future[T]]] = deque()
    rest = enumerate(items)
    try:
        with tqdm(total=len(items), desc=what, unit="picture", disable=None, leave=False) as bar:
            for _ in items:
                for number, item in itertools.islice(rest, BLOCK - len(coming)):
                    coming.append((item, pool.submit(heaped, number, item)))
                item, future = coming.popleft()
                found = future.result()
                with changed:
                    pile -= getattr(found, "nbytes", 0)
                    turn += 1
                    changed.notify_all()
                yield item, found
                del future, found  # or it would stay until the next one is there
                bar.update()
    finally:
        for _, future in coming:
            future.cancel()
        with changed:
            turn = math.inf  # nobody waits for a turn that will not come
            changed.notify_all()


def _shape(images: Sequence[Files], form: Form, pool: ThreadPoolExecutor) -> tuple[int, tuple[int, int]]:
    """Channels and (height, width) of the set: as configured, else what the files' headers say.

    Raises:
        DataError: `size` is null and the pictures have several.
    """
    size = form.sides
    if size is not None and form.channels != "auto":
        return form.channels, size
    found = [
        (files[0].name, [head for head in heads if head is not None])
        for files, heads in _in_order(pool, lambda files: list(map(_header, files)), images, "looking")
    ]
    colour = any(head[0] for _, heads in found for head in heads)
    channels = form.channels
    if channels == "auto":
        channels = 3 if colour else 1
    if size is None:
        # Where the pictures of a pair differ, decoding will say so.
        named = {name: heads[0][1] for name, heads in found if len({head[1] for head in heads}) == 1}
        sizes = Counter(named.values())
        if len(sizes) > 1:
            (common, count), *_ = sizes.most_common(1)
            other = next(name for name, its in named.items() if its != common)
            raise DataError(
                f"dataset.size=null: the pictures have {len(sizes)} sizes ({count} are {common[1]}×{common[0]}, "
                f"{one_line(other)} is not); give one, such as dataset.size=64, and say how with "
                f"dataset.fit=resize, crop or pad"
            )
        size = next(iter(sizes), (1, 1))
    return channels, tuple(size)


def _header(entry: Entry) -> tuple[bool, tuple[int, int]] | None:
    """Whether it has colours, and its (height, width)."""
    try:
        with memory.FILES.taken(entry.weight, lambda: entry.name):
            return decoding.header(entry.read())
    except DataError:
        return None  # decoding will say why
