"""The pictures that codecs are compared on: whole ones, as people keep them, or else a run's own images."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aectl.data.datasets import array
from aectl.data.images import Images, Split
from aectl.errors import DataError, counted
from aectl.files import listing
from aectl.files.listing import Entry
from aectl.files.pictures import decoding, fitting
from aectl.files.pictures.reading import Reading
from aectl.runs.opening import Run

MOST = 100  # pictures, evenly spread over those that there are
SMALL = 128  # pixels of a side, below which headers are much of a file


@dataclass(frozen=True)
class Pictures:
    """Pictures in their own sizes, (C, H, W), uint8, each read when its turn comes.

    Attributes:
        words: how many of what.
        readers: one for each, by its name.
    """

    words: str
    readers: Mapping[str, Callable[[], np.ndarray]]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (read() for read in self.readers.values())

    def __len__(self) -> int:
        return len(self.readers)


def at(place: Path, run: Run) -> Pictures:
    """Those in a folder, a zip, a file or a NumPy file, with the run's channels.

    Raises:
        DataError: there are none; or, when its turn comes, one cannot be used.
    """
    if place.suffix.lower() in listing.ARRAYS:
        return _of_images(array.read(place, "input"), place.name, "image")
    entries = listing.at(place, "input").entries
    return _of_entries(entries, run, f"input={place}", f"{place.name}, {{}}")


def of_part(run: Run, data: Split, images: Images, part: str, root: str | None) -> Pictures:
    """Those of a part of its data: where that was made of picture files, the files themselves.

    Args:
        run: whose.
        data: its own.
        images: the part, as it is trained on.
        part: train, val or test.
        root: where the files lie now; None: where they lay.
    """
    if not data.manifest or run.config.dataset.binarize != "none":
        return _of_images(images, run.config.dataset.words, f"{part} image")
    place = run.config.dataset.place(root if root is not None else run.config.data.root)
    wanted = {row[0] for row in data.manifest[part]}
    entries = [entry for entry in listing.below(place).entries if entry.name in wanted]
    return _of_entries(entries, run, str(place), f"{place.name}, {{}} of the {part} part, whole")


def _of_entries(entries: Sequence[Entry], run: Run, where: str, words: str) -> Pictures:
    reading = Reading(run.config.dataset.own_scale)
    channels, (_, background) = run.shape[0], run.config.dataset.own_fit

    def reader(entry: Entry) -> Callable[[], np.ndarray]:
        def read() -> np.ndarray:
            try:
                return fitting.with_channels(decoding.decode(entry.read(), reading, entry.name), channels, background)
            except DataError as error:
                raise DataError(f"{where}: {entry.name}: {error}") from None

        return read

    few = _few(len(entries))
    chosen = [entries[index] for index in few]
    return Pictures(
        words.format(_counted(few, len(entries), "picture")), {entry.name: reader(entry) for entry in chosen}
    )


def _of_images(images: Images, words: str, what: str) -> Pictures:
    few = _few(len(images))

    def reader(index: int) -> Callable[[], np.ndarray]:
        return lambda: images[index : index + 1].pixels[0].numpy()

    return Pictures(
        f"{words}, {_counted(few, len(images), what)}", {f"{what} {index}": reader(index) for index in few}
    )


def _few(count: int) -> list[int]:
    """Places of at most `MOST` of so many, evenly spread."""
    return sorted(set(np.linspace(0, count - 1, min(MOST, count)).round().astype(int).tolist()))


def _counted(few: Sequence[int], count: int, what: str) -> str:
    return counted(count, what) if len(few) == count else f"{len(few)} of {counted(count, what)}"
