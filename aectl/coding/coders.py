"""How the pictures of a run become blocks of bits: one class for each way, and which of them a run has."""

import bisect
import itertools
from collections.abc import Sequence

import numpy as np
import torch

from aectl.coding import bits_back, rounded, tiles
from aectl.coding.bits_back import GarbledError, Progress
from aectl.coding.tiles import Size
from aectl.errors import DataError
from aectl.models.base import Model
from aectl.models.networks.layers import Shape
from aectl.models.rounded import Rounded

CPU = torch.device("cpu")
# Values of a block at most, but for one picture of more: they are in memory, and lost with a damaged bit.
BLOCK = 2**24


class BitsBack:
    """Without loss, in tiles of the size of the run's images; see `aectl.coding.bits_back`.

    Attributes:
        name: that a file has for it.
        exact: whether what comes back is what went in.
        room: values that a block may have.
    """

    name = "bits_back"
    exact = True
    room = BLOCK

    def __init__(self, model: Model, shape: Shape):
        self.model, self.tile = model, shape[1:]

    def check(self, picture: np.ndarray) -> None:
        """Raise ValueError where a picture, (C, h, w), uint8, has values that the likelihood does not know."""
        bits_back.values_of(self.model, torch.tensor(picture))

    def pack(self, pictures: Sequence[np.ndarray], progress: Progress) -> bytes:
        """Pictures, (C, h, w), uint8, as bits."""
        return bits_back.compress(self.model, torch.cat([tiles.cut(one, self.tile) for one in pictures]), progress)

    def unpack(self, block: bytes, sizes: Sequence[Size], progress: Progress) -> list[np.ndarray]:
        """Pictures of these sizes from their bits.

        Raises:
            DataError: these are no such bits.
            GarbledError: other pictures come out of them, here and with this model; it counts pictures.
        """
        counts = [tiles.count(size, self.tile) for size in sizes]
        try:
            found = bits_back.decompress(self.model, block, sum(counts), progress)
        except GarbledError as error:
            ends = list(itertools.accumulate(counts))
            first, last = (bisect.bisect_right(ends, tile) for tile in (error.first, error.last))
            raise GarbledError(first, last) from None
        return [tiles.joined(part, size) for part, size in zip(found.split(counts), sizes, strict=True)]

    def steps(self, sizes: Sequence[Size]) -> int:
        """How much progress these are."""
        return sum(tiles.count(size, self.tile) for size in sizes)


class RoundedCode:
    """With loss, each picture by itself; see `aectl.coding.rounded`. Its attributes and methods are `BitsBack`'s."""

    name = "rounded"
    exact = False
    room = 1

    def __init__(self, model: Rounded):
        self.model = model

    def check(self, picture: np.ndarray) -> None:
        """Every picture will do."""

    def pack(self, pictures: Sequence[np.ndarray], progress: Progress) -> bytes:
        """A picture, (C, h, w), uint8, as bits."""
        (picture,) = pictures
        data = rounded.compress(self.model, picture, CPU)
        progress(1)
        return data

    def unpack(self, block: bytes, sizes: Sequence[Size], progress: Progress) -> list[np.ndarray]:
        """The picture of that size from its bits.

        Raises:
            DataError: these are no such bits.
        """
        if len(sizes) != 1:
            raise DataError(f"a block has one picture, and this one {len(sizes)}")
        found = rounded.decompress(self.model, block, sizes[0], CPU)
        progress(1)
        return [found]

    def steps(self, sizes: Sequence[Size]) -> int:
        """How much progress these are."""
        return len(sizes)


Coder = BitsBack | RoundedCode


def coder_of(model: Model, shape: Shape, run: str) -> Coder:
    """The way of a run's model, whose images are of `shape` = (C, H, W).

    Raises:
        ConfigError: it has none; the message begins with `run`.
    """
    if model.rounds:
        return RoundedCode(model)
    bits_back.refuse(model, run)
    return BitsBack(model, shape)


def same(pictures: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> bool:
    """Whether they are equal to the last bit."""
    return all(np.array_equal(*pair) for pair in zip(pictures, others, strict=True))
