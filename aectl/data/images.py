"""Images as training and measuring take them: stored as uint8, given out as floats."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from aectl.errors import DataError
from aectl.machine import devices, threads
from aectl.rng import generator

CHUNK = 5000  # images at a time where all are read

Pair = tuple[Tensor, Tensor]  # x, and what `noise=` makes x̃ from: x itself, or the noisy picture of the same scene


class TrainImages(Protocol):
    """What a run trains on: images in memory or mapped from a file (`Images`), or cut anew from pictures (`Patches`).

    What is not trained on, but measured, is `Images` always: `drawn_once` makes them of it.
    """

    def __len__(self) -> int:
        """The number of images in an epoch."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of each."""

    def mean(self) -> Tensor:
        """The mean image, (C, H, W), float, in [0, 1]."""

    def to(self, device: torch.device) -> "TrainImages":
        """The same, moved to `device` where that makes its batches faster."""

    def at_hand(self, device: torch.device) -> bool:
        """Whether a batch on `device` is made without waiting for a disk, a bus or a processor."""

    def batch(self, index: Tensor, rng: torch.Generator) -> Pair:
        """The images at `index`, (B,): (B, C, H, W) each, float, in [0, 1]; what of them is random comes from `rng`.

        They lie on the device of `rng`.
        """

    def drawn_once(self, *key: int | str) -> "Images":
        """The one draw that belongs to `key` of what is random in them."""


@dataclass(frozen=True)
class Images:
    """A part of a data set.

    Attributes:
        stored: (M, C, H, W), uint8, in memory or mapped from a file; of pairs (M, 2, C, H, W), the clean image first.
        labels: (N,), int64, -1 for an image that has none; or None where no image has one.
        dynamic: whether a batch of them is drawn, pixel by pixel, from Bernoulli distributions with the grey values
            as their means (Salakhutdinov & Murray, 2008).
        rows: (N,), which of `stored` they are, so that a mapped file is not copied to be split; None: all of them.
    """

    stored: Tensor
    labels: Tensor | None
    dynamic: bool = False
    rows: Tensor | None = None

    def __len__(self) -> int:
        return len(self.stored) if self.rows is None else len(self.rows)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return tuple(self.stored.shape[-3:])

    @property
    def paired(self) -> bool:
        """Whether each has the noisy picture of its scene."""
        return self.stored.ndim == 5

    @property
    def pixels(self) -> Tensor:
        """All of them in memory, (N, C, H, W), uint8, of pairs the clean ones; for a large set go by `chunks`."""
        clean = self.stored[:, 0] if self.paired else self.stored
        return clean if self.rows is None else clean[self.rows]

    def on(self, device: torch.device) -> Pair:
        """All of them on `device`, as a batch is, but drawn from nothing."""
        return _parted((self.stored if self.rows is None else self.stored[self.rows]).to(device))

    def __getitem__(self, index: Tensor | slice) -> "Images":
        labels = None if self.labels is None else self.labels[index]
        if self.rows is None:
            return replace(self, stored=self.stored[index], labels=labels)
        return replace(self, rows=self.rows[index], labels=labels)

    def chunks(self, size: int = CHUNK) -> Iterator[Tensor]:
        """The pixels, `size` images at a time."""
        for start in range(0, len(self), size):
            threads.look()
            yield self[start : start + size].pixels

    def spread(self, count: int) -> "Images":
        """At most `count` of them, evenly spread, since some sets are sorted by label."""
        count = min(count, len(self))
        return self[torch.linspace(0, len(self) - 1, count).round().long()]

    def mean(self) -> Tensor:
        """The mean image, (C, H, W), float, in [0, 1]."""
        total = sum(part.sum(0, dtype=torch.float64) for part in self.chunks())
        return (total / (255 * len(self))).float()

    def to(self, device: torch.device) -> "Images":
        """The same images on `device`; labels, and what is mapped or would not fit there, stay where they are."""
        if self.rows is not None or not devices.has_room(device, self.stored.nbytes):
            return self
        return replace(self, stored=self.stored.to(device))

    def at_hand(self, device: torch.device) -> bool:
        """Whether a batch on `device` is made without waiting for a disk or a bus."""
        return self.rows is None and self.stored.device.type == device.type

    def batch(self, index: Tensor, rng: torch.Generator) -> Pair:
        """The images at `index`, (B,), in [0, 1], float, (B, C, H, W); binary and freshly drawn if `dynamic`."""
        index = index.to(self.stored.device)
        rows = index if self.rows is None else self.rows[index]
        pixels = self.stored.index_select(0, rows)
        if pixels.device.type != rng.device.type:
            # From pinned memory a GPU fetches them by itself.
            pixels = pixels.pin_memory() if rng.device.type == "cuda" else pixels
            pixels = pixels.to(rng.device, non_blocking=True)
        if self.dynamic:
            x = draw_binary(pixels, rng).float()
            return x, x
        return _parted(pixels)

    def drawn_once(self, *key: int | str) -> "Images":
        """The same images if they are not `dynamic`; else their one draw that belongs to `key`."""
        if not self.dynamic:
            return self
        binary = draw_binary(self.pixels, generator(self.pixels.device, "binarize", *key))
        return Images(binary.to(torch.uint8) * 255, self.labels)


@dataclass(frozen=True)
class Split:
    """Training, validation and test parts; `val` and `test` may be empty. No image is in two of them.

    `train` is `Images` as well, but for a run that trains.

    Attributes:
        manifest: for people's own pictures, name and sha256 of each file by part; those of a pair in one row, the
            clean one first; else None.
        bad: name and reason of each file that could not be used.
        notes: what was found among people's own pictures, in lines.
    """

    train: TrainImages
    val: Images
    test: Images
    manifest: dict[str, list[list[str]]] | None = None
    bad: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()

    def part(self, name: str, remedy: str) -> Images:
        """The part of that name, for what cannot do without images.

        Raises:
            DataError: it is empty; the message ends with `remedy`.
        """
        images: Images = getattr(self, name)
        if not len(images):
            raise DataError(f"split={name}: is empty in this run (dataset.{name}_size=0); {remedy}")
        return images

    def sizes(self) -> dict[str, int]:
        """Number of images by part."""
        return {"train": len(self.train), "val": len(self.val), "test": len(self.test)}


def _parted(pixels: Tensor) -> Pair:
    """Floats of stored pixels: x twice, or both pictures of pairs."""
    if pixels.ndim == 5:
        return to_float(pixels[:, 0]), to_float(pixels[:, 1])
    x = to_float(pixels)
    return x, x


def to_float(pixels: Tensor) -> Tensor:
    """Pixels from uint8 in 0..255 to float32 in [0, 1]; any shape, same device."""
    return pixels.float().div_(255)


def to_uint8(x: Tensor) -> Tensor:
    """Pixels from floats in [0, 1] to uint8, clamped first and rounded to the nearest."""
    return x.clamp(0, 1).mul(255).round().to(torch.uint8)


def draw_binary(pixels: Tensor, rng: torch.Generator) -> Tensor:
    """True with probability `pixels`/255, exactly: a uniform integer of 0..254 is below the value; any shape."""
    return torch.randint(255, pixels.shape, generator=rng, dtype=torch.uint8, device=pixels.device) < pixels
