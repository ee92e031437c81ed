"""How the pictures of a run become blocks of bits: one class for each way, and which of them a run has."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from aectl.coding import bits_back, tiles
from aectl.coding.tiles import Size
from aectl.models.base import Model
from aectl.models.networks.layers import Shape

Progress = Callable[[int], object]
BLOCK = (
    2**24
)  # values of a block at most, but for one picture of more: what is in memory, and lost with a damaged bit


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
            GarbledError: other pictures come out of them, here and with this model.
        """
        counts = [tiles.count(size, self.tile) for size in sizes]
        found = bits_back.decompress(self.model, block, sum(counts), progress)
        return [tiles.joined(part, size) for part, size in zip(found.split(counts), sizes, strict=True)]

    def steps(self, sizes: Sequence[Size]) -> int:
        """How much progress these are."""
        return sum(tiles.count(size, self.tile) for size in sizes)


Coder = BitsBack


def coder_of(model: Model, shape: Shape, run: str) -> Coder:
    """The way of a run's model, whose images are of `shape` = (C, H, W).

    Raises:
        ConfigError: it has none; the message begins with `run`.
    """
    bits_back.refuse(model, run)
    return BitsBack(model, shape)


def same(pictures: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> bool:
    """Whether they are equal to the last bit."""
    return all(np.array_equal(*pair) for pair in zip(pictures, others, strict=True))
