"""Encoders and decoders of convolutions that halve the picture, and of their transposes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor, nn

from aectl.models.networks.base import Mirrored, Norm, Widths
from aectl.models.networks.layers import Residual, Shape, activated, mlp
from aectl.settings.choices import Range
from aectl.settings.ranges import MAX_LAYERS


def halvings(shape: Shape, channels: Sequence[int]) -> list[Shape]:
    """The shapes before each convolution of stride 2 and behind the last; odd sides are rounded up."""
    shapes = [tuple(shape)]
    for width in channels:
        _, height, breadth = shapes[-1]
        shapes.append((width, (height + 1) // 2, (breadth + 1) // 2))
    return shapes


@dataclass(frozen=True)
class Convolutions:
    """What the convolutions of an encoder and its decoder share.

    Attributes:
        channels: the width behind each convolution of stride 2.
        blocks: residual blocks behind each.
        activation, norm: of `activated`.
        output: whether the decoder doubles the sides once more at the encoder's widths, mirrored, and ends with a
            convolution of stride 1.
    """

    channels: Sequence[int]
    blocks: int
    activation: str
    norm: str
    output: bool

    def stage(self, layer: type[nn.Module], before: int, after: int, **settings: Any) -> list[nn.Module]:
        """A convolution of stride 2, 3×3, and its residual blocks."""
        settings = {"kernel_size": 3, "stride": 2, "padding": 1, **settings}
        blocks = [Residual(after, self.activation, self.norm) for _ in range(self.blocks)]
        return [*activated(layer, before, after, self.activation, self.norm, **settings), *blocks]


class ConvEncoder(nn.Sequential):
    """3×3 convolutions of stride 2, one for each of the channels, then dense layers to out_features."""

    def __init__(self, shape: Shape, convolutions: Convolutions, hidden: Sequence[int], out_features: int):
        shapes = halvings(shape, convolutions.channels)
        layers: list[nn.Module] = []
        for before, after in pairwise(shapes):
            layers += convolutions.stage(nn.Conv2d, before[0], after[0])
        dense = mlp([math.prod(shapes[-1]), *hidden, out_features], convolutions.activation)
        super().__init__(*layers, nn.Flatten(), *dense)


class Unfold(nn.Unflatten):
    """Features to pictures, channels last in memory: transposed convolutions on a CPU are a sixth faster."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C·H·W) → (N, C, H, W)."""
        return super().forward(x).contiguous(memory_format=torch.channels_last)


class ConvDecoder(nn.Sequential):
    """The mirror of `ConvEncoder`: dense layers, then transposed convolutions back through the same shapes."""

    def __init__(self, shape: Shape, convolutions: Convolutions, hidden: Sequence[int], latent: int):
        shapes = halvings(shape, convolutions.channels)[::-1]
        wide, deep = shapes[0][0], math.prod(shapes[0][1:])
        layers: list[nn.Module] = []
        sizes = [latent, *hidden]
        for pair in pairwise(sizes):
            layers += activated(nn.Linear, *pair, convolutions.activation)
        # The activation acts on channels, hence behind the unfolding into pictures.
        unfolded, act = activated(nn.Linear, sizes[-1], wide * deep, convolutions.activation)
        layers += [unfolded, Unfold(1, (-1, *shapes[0][1:])), act]
        *stages, last = pairwise(shapes)
        if convolutions.output:
            wide, stages = shapes[0][0], [*stages, last]
            for (before, after), width in zip(stages, convolutions.channels[::-1], strict=True):
                layers += convolutions.stage(nn.ConvTranspose2d, wide, width, output_padding=_extra(before, after))
                wide = width
            layers.append(nn.Conv2d(wide, shape[0], 3, padding=1))
        else:
            for before, after in stages:
                extra = _extra(before, after)
                layers += convolutions.stage(nn.ConvTranspose2d, before[0], after[0], output_padding=extra)
            extra = _extra(*last)
            layers.append(nn.ConvTranspose2d(last[0][0], last[1][0], 3, stride=2, padding=1, output_padding=extra))
        super().__init__(*layers)


def _extra(before: Shape, after: Shape) -> tuple[int, int]:
    """A transposed convolution of stride 2 maps h to 2h - 1; one more row or column restores an even side."""
    return after[1] - (2 * before[1] - 1), after[2] - (2 * before[2] - 1)


@dataclass(frozen=True, kw_only=True)
class Conv(Mirrored):
    """3×3 convolutions of stride 2, `blocks` residual blocks after each, then dense layers; mirrored in the decoder.

    `output_conv`: the decoder is wider at each size, and ends with a convolution of stride 1, as Keras' example.
    """

    name: ClassVar[str] = "conv"
    channels: Annotated[list[int], Widths(1)]
    blocks: Annotated[int | None, Range(0, MAX_LAYERS)] = 0  # null in checkpoints of 0.1.0
    norm: Norm = "none"
    output_conv: bool = False

    def layers(self, shape: Shape, outputs: int, latent: int) -> tuple[nn.Module, nn.Module]:
        """Encoder and decoder of convolutions."""
        shared = Convolutions(self.channels, self.blocks or 0, self.activation, self.norm, self.output_conv)
        return ConvEncoder(shape, shared, self.hidden, outputs), ConvDecoder(shape, shared, self.mirrored, latent)
