"""Encoders and decoders, made from shapes and numbers.

An encoder maps x, (N, C, H, W), to `out_features` numbers for each image; a decoder maps z, (N, K), back to
(N, C, H, W), unbounded: logits for a Bernoulli, the mean for a Gaussian.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from aectl.config import NetworkConfig

SLOPE = 0.01  # LeakyReLU's, as in the lecture and as PyTorch's default

Shape = tuple[int, int, int]


def mlp(sizes: Sequence[int]) -> nn.Sequential:
    """Dense layers of the given sizes with LeakyReLU between them and none behind the last."""
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.LeakyReLU(SLOPE)]
    return nn.Sequential(*layers[:-1])


class MLPEncoder(nn.Sequential):
    """C·H·W → hidden → out_features."""

    def __init__(self, shape: Shape, hidden: Sequence[int], out_features: int):
        super().__init__(nn.Flatten(), *mlp([math.prod(shape), *hidden, out_features]))


class MLPDecoder(nn.Sequential):
    """latent → hidden, in reverse → C·H·W."""

    def __init__(self, shape: Shape, hidden: Sequence[int], latent: int):
        super().__init__(*mlp([latent, *reversed(hidden), math.prod(shape)]), nn.Unflatten(1, shape))


def halvings(shape: Shape, channels: Sequence[int]) -> list[Shape]:
    """The shapes before each convolution of stride 2 and behind the last; odd sides are rounded up."""
    shapes = [tuple(shape)]
    for width in channels:
        _, height, breadth = shapes[-1]
        shapes.append((width, (height + 1) // 2, (breadth + 1) // 2))
    return shapes


class ConvEncoder(nn.Sequential):
    """3×3 convolutions of stride 2, one for each of `channels`, then dense layers to out_features."""

    def __init__(self, shape: Shape, channels: Sequence[int], hidden: Sequence[int], out_features: int):
        shapes = halvings(shape, channels)
        layers: list[nn.Module] = []
        for before, after in pairwise(shapes):
            layers += [nn.Conv2d(before[0], after[0], 3, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
        super().__init__(*layers, nn.Flatten(), *mlp([math.prod(shapes[-1]), *hidden, out_features]))


class ConvDecoder(nn.Sequential):
    """The mirror of `ConvEncoder`: dense layers, then transposed convolutions back through the same shapes."""

    def __init__(self, shape: Shape, channels: Sequence[int], hidden: Sequence[int], latent: int):
        shapes = halvings(shape, channels)[::-1]
        layers: list[nn.Module] = [
            *mlp([latent, *reversed(hidden), math.prod(shapes[0])]),
            nn.Unflatten(1, shapes[0]),
        ]
        for before, after in pairwise(shapes):
            # A stride of 2 maps h to 2h - 1; one more row or column restores an even side.
            extra = tuple(after[i] - (2 * before[i] - 1) for i in (1, 2))
            layers += [
                nn.LeakyReLU(SLOPE),
                nn.ConvTranspose2d(before[0], after[0], 3, stride=2, padding=1, output_padding=extra),
            ]
        super().__init__(*layers)


def build_network(config: NetworkConfig, shape: Shape, out_features: int, latent: int) -> tuple[nn.Module, nn.Module]:
    """Encoder (with `out_features` outputs) and decoder (with `latent` inputs) for images of `shape`."""
    if config.name == "mlp":
        return MLPEncoder(shape, config.hidden, out_features), MLPDecoder(shape, config.hidden, latent)
    assert config.name == "conv", config.name
    return (
        ConvEncoder(shape, config.channels, config.hidden, out_features),
        ConvDecoder(shape, config.channels, config.hidden, latent),
    )


def count_parameters(module: nn.Module) -> int:
    """How many numbers training may change."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
