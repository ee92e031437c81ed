"""Random crops of large pictures, as images to train on."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from aectl.data.images import Images, Pair
from aectl.rng import generator

DRAWN = 5000  # patches at most, where they are drawn once


@dataclass(frozen=True)
class Pictures:
    """Pictures of several sizes.

    Attributes:
        flat: their values one picture after another, each (*planes, H, W), uint8; in memory or mapped from a file.
        table: (N, 3), int64: where each begins, its height and its width.
        planes: of each, (C,); of pairs (2, C), of which `flat` has the clean picture's values first.
        labels: as `aectl.data.images.Images` has them.
    """

    flat: Tensor
    table: Tensor
    planes: tuple[int, ...]
    labels: Tensor | None

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, rows: Tensor) -> "Pictures":
        return replace(self, table=self.table[rows], labels=None if self.labels is None else self.labels[rows])

    def crop(self, picture: int, top: int, left: int, size: tuple[int, int]) -> Tensor:
        """A part of one picture, (*planes, *size)."""
        start, height, width = self.table[picture].tolist()
        end = start + math.prod(self.planes) * height * width
        whole = self.flat[start:end].view(*self.planes, height, width)
        return whole[..., top : top + size[0], left : left + size[1]]


@dataclass(frozen=True)
class Patches:
    """`count` random crops of each picture, at other places each time they are asked for.

    A training part, as `aectl.data.images.TrainImages` has it; no picture is smaller than a patch.
    """

    pictures: Pictures
    size: tuple[int, int]
    count: int

    def __len__(self) -> int:
        return len(self.pictures) * self.count

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of a patch."""
        return (self.pictures.planes[-1], *self.size)

    def to(self, device: torch.device) -> "Patches":
        """The same: pictures stay in memory or in their file, patches are moved one batch at a time."""
        return self

    def at_hand(self, device: torch.device) -> bool:
        """Never: each patch is cut out."""
        return False

    def _draw(self, index: Tensor, rng: torch.Generator) -> Tensor:
        where = (index // self.count).cpu()
        room = self.pictures.table[where, 1:] - torch.tensor(self.size) + 1
        places = (
            torch.rand(len(where), 2, generator=rng, device=rng.device, dtype=torch.float64).cpu() * room
        ).long()
        rows = zip(where.tolist(), places.tolist(), strict=True)
        return torch.stack([self.pictures.crop(picture, top, left, self.size) for picture, (top, left) in rows])

    def batch(self, index: Tensor, rng: torch.Generator) -> Pair:
        """Crops for `index`, (B,), placed by `rng`: float, (B, C, H, W), in [0, 1]; of a pair the same place."""
        return Images(self._draw(index, rng), None).on(rng.device)

    def mean(self) -> Tensor:
        """The mean patch, (C, H, W), in [0, 1]."""
        return self.drawn_once("mean").mean()

    def drawn_once(self, *key: int | str) -> Images:
        """Crops at places that belong to `key`: `count` of each picture, fewer where they would be over 5,000."""
        if not len(self):
            return Images(torch.zeros(0, *self.pictures.planes, *self.size, dtype=torch.uint8), self.pictures.labels)
        each = max(1, min(self.count, DRAWN // len(self.pictures)))
        part = replace(self, count=each)
        pixels = part._draw(torch.arange(len(part)), generator("cpu", "patches", *key))
        labels = self.pictures.labels
        return Images(pixels, None if labels is None else labels.repeat_interleave(each))
