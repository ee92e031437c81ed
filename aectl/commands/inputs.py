"""What a command works on: pictures of a folder, a zip, a file or a NumPy file, or a run's own test images.

They come in batches of the run's shape, as its own data set would have them.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from aectl.data.datasets import array
from aectl.data.datasets.arrangement import arrange
from aectl.data.images import Images, Split
from aectl.errors import DataError, counted
from aectl.files import listing
from aectl.files.pictures import decoding, fitting
from aectl.files.pictures.reading import Picture, Reading
from aectl.runs.opening import Run

BATCH = 500  # pictures held at a time

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """One picture: its name, its label or None, and how it is read."""

    name: str
    label: str | None
    read: Callable[[], Picture]


@dataclass
class Inputs:
    """Pictures for a run.

    Attributes:
        bad: name and reason of each that could not be used, known once the batches have been taken.
        stretched: names of those whose proportions were changed.
    """

    run: Run
    sources: list[Source]
    reading: Reading
    bad: list[tuple[str, str]] = field(default_factory=list)
    stretched: list[str] = field(default_factory=list)

    def batches(self) -> Iterator[tuple[list[Source], Tensor]]:
        """The pictures that can be used, and their pixels, (N, C, H, W), uint8."""
        used, pixels = [], []
        for source in tqdm(self.sources, disable=None, unit="picture", leave=False):
            try:
                values = self._read(source)
            except DataError as error:
                self.bad.append((source.name, str(error)))
                continue
            if self._stretches(values):
                self.stretched.append(source.name)
            used.append(source)
            pixels.append(self._fitted(values))
            if len(used) == BATCH:
                yield used, torch.stack(pixels)
                used, pixels = [], []
        if used:
            yield used, torch.stack(pixels)
        for line in self.reading.notes():
            log.info("%s", line)

    def again(self, some: Iterable[Source]) -> Tensor:
        """The pixels of some that could be used, read once more."""
        return torch.stack([self._fitted(self._read(source)) for source in some])

    def _read(self, source: Source) -> np.ndarray:
        """The picture in its own size, with the run's channels."""
        return fitting.with_channels(source.read(), self.run.shape[0], self.run.config.dataset.own_fit[1])

    def _stretches(self, values: np.ndarray) -> bool:
        fit, _ = self.run.config.dataset.own_fit
        return fit == "resize" and fitting.stretches(values.shape[1:], self.run.shape[1:])

    def _fitted(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(fitting.fitted(values, self.run.shape[1:], *self.run.config.dataset.own_fit).copy())

    def say_stretched(self) -> None:
        """One line where proportions were changed."""
        if self.stretched:
            height, width = self.run.shape[1:]
            log.warning(
                "note: stretched to %d×%d, so that their proportions changed: %d of %s, such as %s",
                width, height, len(self.stretched), counted(len(self.sources), "picture"), self.stretched[0],
            )  # fmt: skip


def of_place(path: Path, run: Run, scale: object, picture_gb: float) -> Inputs:
    """The pictures at a place, with the labels that its sub-folders, or its array, have.

    Raises:
        DataError: there are none.
    """
    own = run.config.dataset.own_scale
    reading = Reading(scale if scale is not None else own, picture_gb)
    if path.suffix.lower() in listing.ARRAYS:
        return Inputs(run, _of_array(path), reading)
    found = listing.at(path, "input")
    if found.rest():
        log.info("passed over in %s: %s", path, found.rest())
    classes = arrange([entry.name for entry in found.entries]).classes or [None] * len(found.entries)

    def source(entry: listing.Entry, label: str | None) -> Source:
        return Source(entry.name, label, lambda: decoding.decode(entry.read(), reading, entry.name))

    return Inputs(run, [source(*one) for one in zip(found.entries, classes, strict=True)], reading)


def of_test_part(run: Run, data: Split, remedy: str) -> Inputs:
    """The run's own test images, with their labels.

    Raises:
        DataError: it has none; the message ends with `remedy`.
    """
    images = data.part("test", remedy)
    if data.manifest:
        names = [row[0] for row in data.manifest["test"]]  # of a pair, that of the clean picture
        labels = arrange(names).classes or _numbers(images)
    else:
        names, labels = [f"test{index:05d}" for index in range(len(images))], _numbers(images)

    def source(index: int) -> Source:  # which reads what is mapped from a file only when it is needed
        return Source(names[index], labels[index], lambda: _picture(images[index : index + 1].pixels[0].numpy()))

    return Inputs(run, [source(index) for index in range(len(images))], Reading())


def _of_array(path: Path) -> list[Source]:
    images = array.read(path, "input")
    pixels, labels = images.pixels.numpy(), _numbers(images)

    def source(index: int) -> Source:
        return Source(f"{index:05d}", labels[index], lambda: _picture(pixels[index]))

    return [source(index) for index in range(len(pixels))]


def _numbers(images: Images) -> list[str | None]:
    """The labels that images bring, as words."""
    if images.labels is None:
        return [None] * len(images)
    return [str(label) if label >= 0 else None for label in images.labels.tolist()]


def _picture(values: np.ndarray) -> Picture:
    return Picture(values, None, "L" if len(values) == 1 else "RGB", "PNG")
