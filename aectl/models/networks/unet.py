"""A network that denoises pictures of any size: fully convolutional, skip connections, the residual predicted."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aectl.models.networks.base import Activation, Network, Norm, Widths
from aectl.models.networks.layers import Residual, activated
from aectl.settings.choices import Range
from aectl.settings.ranges import MAX_LAYERS


class UNet(nn.Module):
    """x̃ → x̃ + residual, (N, C, H, W) twice, for any H and W of at least 1.

    At each level `blocks` residual blocks on the way down and as many on the way up; a level is entered by a
    convolution of stride 2 and left by doubling, and what left it on the way down is added on the way up. Sides that
    are not divisible are padded by their own edge and cut again. The last layer starts at zero, so an untrained
    network returns its input.

    Sources: Ronneberger et al., "U-Net", MICCAI 2015; the residual: Zhang et al., "Beyond a Gaussian Denoiser", 2017.

    Args:
        colours: C.
        widths: channels at each level, the finest first.
        blocks: residual blocks at each level and direction.
        activation, norm: as in `aectl.models.networks.layers.activated`.
    """

    def __init__(self, colours: int, widths: Sequence[int], blocks: int, activation: str, norm: str = "none"):
        super().__init__()

        def residuals(width: int) -> nn.Sequential:
            return nn.Sequential(*(Residual(width, activation, norm) for _ in range(blocks)))

        self.width = widths[-1]
        self.multiple = 2 ** (len(widths) - 1)  # what both sides must be divisible by
        self.enter = nn.ModuleList(
            nn.Sequential(
                *activated(nn.Conv2d, *pair, activation, norm, kernel_size=3, stride=2 if level else 1, padding=1)
            )
            for level, pair in enumerate(pairwise([colours, *widths]))
        )
        self.down = nn.ModuleList(residuals(width) for width in widths)
        self.rise = nn.ModuleList(nn.Conv2d(below, above, 1) for above, below in pairwise(widths))
        self.up = nn.ModuleList(residuals(width) for width in widths[:-1])
        self.leave = nn.Conv2d(widths[0], colours, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    @property
    def reach(self) -> int:
        """How many pixels away what a pixel becomes may depend on, to either side, without normalisation."""
        blocks = len(self.down[0])
        levels = [2**level for level in range(len(self.down))]  # what one step of a kernel is at each level
        entering = 1 + sum(levels[:-1])
        residuals = 2 * blocks * (sum(levels) + sum(levels[:-1]))
        doubling = sum(levels[:-1])
        return entering + residuals + doubling + 1

    def _levels(self, x: Tensor) -> list[Tensor]:
        """What leaves each level on the way down, the finest first; the sides of `x` are divisible."""
        levels = []
        for enter, blocks in zip(self.enter, self.down, strict=True):
            # Channels last: convolutions on a CPU are a fifth faster.
            x = blocks(enter(x).contiguous(memory_format=torch.channels_last))
            levels.append(x)
        return levels

    def _padded(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        return F.pad(x, (0, -width % self.multiple, 0, -height % self.multiple), mode="replicate")

    def features(self, x: Tensor) -> Tensor:
        """The coarsest level averaged over the picture, (N, C, H, W) → (N, widths[-1]): its code, of a kind."""
        return self._levels(self._padded(x))[-1].mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """The denoised pictures, not clipped."""
        return self.divisible(self._padded(x))[..., : x.shape[-2], : x.shape[-1]]

    def divisible(self, x: Tensor) -> Tensor:
        """The same for sides that are divisible, hence nothing is padded."""
        *skips, h = self._levels(x)
        for skip, rise, blocks in zip(skips[::-1], list(self.rise)[::-1], list(self.up)[::-1], strict=True):
            h = blocks(F.interpolate(rise(h), scale_factor=2.0, mode="nearest") + skip)
        return x + self.leave(h)


@dataclass(frozen=True, kw_only=True)
class Unet(Network):
    """The settings of `UNet`: widths of its levels, and residual blocks at each, on either way."""

    name: ClassVar[str] = "unet"
    has_code: ClassVar[bool] = False
    channels: Annotated[list[int], Widths(1)]
    blocks: Annotated[int, Range(1, MAX_LAYERS)]
    activation: Activation = "relu"
    norm: Norm = "none"

    def denoiser(self, colours: int) -> UNet:
        """The network for pictures of so many channels."""
        return UNet(colours, self.channels, self.blocks, self.activation, self.norm)
