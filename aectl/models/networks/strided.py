"""Networks between pictures of any size and a code at every `stride` pixels: the transforms of a codec."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Annotated, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aectl.models.networks.base import Activation, Network, Widths
from aectl.models.networks.layers import Residual
from aectl.settings.choices import Range
from aectl.settings.ranges import MAX_LAYERS

MIDDLE = 0.5  # of the pixels' range, which the network sees as 0
CHROMA = 4  # by how much a frequency of differences between colours counts as higher


def cosines(n: int) -> np.ndarray:
    """The orthonormal DCT-II of n values, (n, n), a frequency in each row."""
    rows = np.cos(np.pi * np.outer(np.arange(n), np.arange(n) + 0.5) / n)
    return rows / np.sqrt((rows**2).sum(1, keepdims=True))


def spectrum(channels: int, side: int, *, colours: bool) -> Tensor:
    """The orthonormal DCT of blocks, (n, n), n = channels·side², low frequencies first; of `colours` across them too.

    Columns go by channel, row and column, as `pixel_unshuffle` has them.
    """
    across = cosines(channels) if colours else np.eye(channels)
    matrix = np.kron(across, np.kron(cosines(side), cosines(side)))

    def height(place: tuple[int, int, int]) -> float:
        channel, row, column = place
        return (1 + row**2 + column**2) * (CHROMA if colours and channel else 1)

    places = list(product(range(channels), range(side), range(side)))
    order = sorted(range(len(places)), key=lambda index: height(places[index]))
    return torch.from_numpy(matrix[order]).float()


class Blocks(nn.Module):
    """Blocks of side×side places as channels, in the order of `spectrum`, and back; nothing in it is learnt."""

    def __init__(self, channels: int, side: int, *, colours: bool):
        super().__init__()
        self.side = side
        self.register_buffer("basis", spectrum(channels, side, colours=colours), persistent=False)


class Apart(Blocks):
    """(N, C, H, W) → (N, C·side², H/side, W/side)."""

    def forward(self, x: Tensor) -> Tensor:
        """The frequencies of each block."""
        blocks = F.pixel_unshuffle(x, self.side).contiguous(memory_format=torch.channels_last)
        return F.conv2d(blocks, self.basis[:, :, None, None])


class Together(Blocks):
    """The inverse of `Apart`."""

    def forward(self, h: Tensor) -> Tensor:
        """The blocks of these frequencies."""
        return F.pixel_shuffle(F.conv2d(h, self.basis.T[:, :, None, None]), self.side)


class Level(nn.Sequential):
    """What both transforms have at a level: residual blocks, which start at nothing."""

    def __init__(self, width: int, blocks: int, activation: str):
        residuals = [Residual(width, activation, "none") for _ in range(blocks)]
        for one in residuals:
            nn.init.zeros_(one.body[-1].weight)
            nn.init.zeros_(one.body[-1].bias)
        super().__init__(*residuals)


def passing(before: int, after: int) -> nn.Conv2d:
    """A 3×3 convolution that starts by passing on the first channels as they are."""
    layer = nn.Conv2d(before, after, 3, padding=1)
    nn.init.dirac_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


@dataclass(frozen=True)
class Transforms:
    """What an analysis and its synthesis share.

    Blocks of patch×patch pixels become channels, and at each level further on blocks of 2×2 places. Before the first
    step it is the DCT of the pictures' blocks, without the highest frequencies where a level is too narrow for them,
    so that training starts from a codec of the usual kind; activations are in the residual blocks alone.

    Attributes:
        colours: C.
        patch: side of the first level's blocks.
        widths: channels at each level, the finest first.
        blocks: residual blocks at each level.
        activation: as in `aectl.models.networks.layers.activated`.
        channels: K.
        gain: of the code, on the scale of [0, 1] pixels: rounding is in steps of 1/gain.
    """

    colours: int
    patch: int
    widths: Sequence[int]
    blocks: int
    activation: str
    channels: int
    gain: float

    @property
    def levels(self) -> list[tuple[int, int, int]]:
        """Channels that are taken apart, the side of the blocks, and the width, of each level."""
        before = [self.colours, *self.widths[:-1]]
        sides = [self.patch] + [2] * (len(self.widths) - 1)
        return list(zip(before, sides, self.widths, strict=True))

    def level(self, width: int) -> Level:
        """The residual blocks of one."""
        return Level(width, self.blocks, self.activation)


class Analysis(nn.Sequential):
    """Pictures to codes: (N, C, H, W) → (N, K, H/stride, W/stride), the sides divisible by the stride."""

    def __init__(self, shared: Transforms):
        layers: list[nn.Module] = []
        for index, (before, side, width) in enumerate(shared.levels):
            entered = passing(before * side**2, width)
            layers += [Apart(before, side, colours=index == 0), entered, shared.level(width)]
        super().__init__(*layers, passing(shared.widths[-1], shared.channels))
        self.gain = shared.gain

    def forward(self, x: Tensor) -> Tensor:
        """The codes, before they are rounded."""
        return self.gain * super().forward(x - MIDDLE)


class Synthesis(nn.Sequential):
    """The mirror of `Analysis`: (N, K, h, w) → (N, C, h·stride, w·stride), not clipped."""

    def __init__(self, shared: Transforms):
        layers: list[nn.Module] = [passing(shared.channels, shared.widths[-1])]
        for index, (before, side, width) in reversed(list(enumerate(shared.levels))):
            left = passing(width, before * side**2)
            layers += [shared.level(width), left, Together(before, side, colours=index == 0)]
        super().__init__(*layers)
        self.gain = shared.gain

    def forward(self, y: Tensor) -> Tensor:
        """The pictures."""
        return MIDDLE + super().forward((y / self.gain).contiguous(memory_format=torch.channels_last))


@dataclass(frozen=True, kw_only=True)
class Strided(Network):
    """The settings of `Transforms`; the code has a place for every patch·2^(levels − 1) pixels."""

    name: ClassVar[str] = "strided"
    spatial: ClassVar[bool] = True
    patch: Annotated[int, Range(1, 64)]
    channels: Annotated[list[int], Widths(1)]
    blocks: Annotated[int, Range(0, MAX_LAYERS)]
    activation: Activation = "leaky_relu"

    @property
    def stride(self) -> int:
        """Pixels from a place of the code to the next."""
        return self.patch * 2 ** (len(self.channels) - 1)

    @property
    def reach(self) -> int:
        """How many places away what the code, or a pixel, becomes may depend on, to either side.

        Each 3×3 convolution reaches one step of its level: one at the code, one and the blocks' own at each level.
        """
        steps = [self.patch * 2**level for level in range(len(self.channels))]
        return -(-(steps[-1] + (1 + 2 * self.blocks) * sum(steps)) // self.stride)

    def transforms(self, colours: int, channels: int, gain: float) -> tuple[nn.Module, nn.Module]:
        """From pictures of so many colours to codes of so many channels, and back; see `Transforms`."""
        shared = Transforms(colours, self.patch, self.channels, self.blocks, self.activation, channels, gain)
        return Analysis(shared), Synthesis(shared)
