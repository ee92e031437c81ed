"""Encoders and decoders, made from shapes and numbers.

An encoder maps x, (N, C, H, W), to `out_features` numbers for each image; a decoder maps z, (N, K), back to
(N, C, H, W), unbounded: logits for a Bernoulli, the mean for a Gaussian.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from torch import nn

from aectl.config import NetworkConfig

SLOPE = 0.01  # LeakyReLU's, as in the lecture and as PyTorch's default

Shape = tuple[int, int, int]

# Each is a function of a layer's output along dimension 1. `gated` halves it: h·sigmoid(g), so such a layer is made
# twice as wide (Dauphin et al., 2017).
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "leaky_relu": lambda: nn.LeakyReLU(SLOPE),
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gated": lambda: nn.GLU(dim=1),
}


def _activated(layer: type[nn.Module], before: int, after: int, activation: str, **settings: Any) -> list[nn.Module]:
    """`layer` and its activation, `after` features wide behind the two."""
    width = 2 * after if activation == "gated" else after
    return [layer(before, width, **settings), ACTIVATIONS[activation]()]


def mlp(sizes: Sequence[int], activation: str) -> list[nn.Module]:
    """Dense layers of the given sizes with `activation` between them and none behind the last."""
    *hidden, last = pairwise(sizes)
    layers = [module for pair in hidden for module in _activated(nn.Linear, *pair, activation)]
    return [*layers, nn.Linear(*last)]


class MLPEncoder(nn.Sequential):
    """C·H·W → hidden → out_features."""

    def __init__(self, shape: Shape, hidden: Sequence[int], out_features: int, activation: str):
        super().__init__(nn.Flatten(), *mlp([math.prod(shape), *hidden, out_features], activation))


class MLPDecoder(nn.Sequential):
    """latent → hidden → C·H·W."""

    def __init__(self, shape: Shape, hidden: Sequence[int], latent: int, activation: str):
        super().__init__(*mlp([latent, *hidden, math.prod(shape)], activation), nn.Unflatten(1, shape))


def halvings(shape: Shape, channels: Sequence[int]) -> list[Shape]:
    """The shapes before each convolution of stride 2 and behind the last; odd sides are rounded up."""
    shapes = [tuple(shape)]
    for width in channels:
        _, height, breadth = shapes[-1]
        shapes.append((width, (height + 1) // 2, (breadth + 1) // 2))
    return shapes


class ConvEncoder(nn.Sequential):
    """3×3 convolutions of stride 2, one for each of `channels`, then dense layers to out_features."""

    def __init__(
        self, shape: Shape, channels: Sequence[int], hidden: Sequence[int], out_features: int, activation: str
    ):
        shapes = halvings(shape, channels)
        layers: list[nn.Module] = []
        for before, after in pairwise(shapes):
            layers += _activated(nn.Conv2d, before[0], after[0], activation, kernel_size=3, stride=2, padding=1)
        super().__init__(*layers, nn.Flatten(), *mlp([math.prod(shapes[-1]), *hidden, out_features], activation))


class ConvDecoder(nn.Sequential):
    """The mirror of `ConvEncoder`: dense layers, then transposed convolutions back through the same shapes."""

    def __init__(self, shape: Shape, channels: Sequence[int], hidden: Sequence[int], latent: int, activation: str):
        shapes = halvings(shape, channels)[::-1]
        wide, deep = shapes[0][0], math.prod(shapes[0][1:])
        layers: list[nn.Module] = []
        sizes = [latent, *hidden]
        for pair in pairwise(sizes):
            layers += _activated(nn.Linear, *pair, activation)
        # The activation acts on channels, hence behind the unfolding into pictures.
        unfolded, act = _activated(nn.Linear, sizes[-1], wide * deep, activation)
        layers += [unfolded, nn.Unflatten(1, (-1, *shapes[0][1:])), act]
        for index, (before, after) in enumerate(pairwise(shapes)):
            # A stride of 2 maps h to 2h - 1; one more row or column restores an even side.
            extra = tuple(after[i] - (2 * before[i] - 1) for i in (1, 2))
            settings = {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": extra}
            if index == len(channels) - 1:
                layers += [nn.ConvTranspose2d(before[0], after[0], **settings)]
            else:
                layers += _activated(nn.ConvTranspose2d, before[0], after[0], activation, **settings)
        super().__init__(*layers)


def build_network(config: NetworkConfig, shape: Shape, out_features: int, latent: int) -> tuple[nn.Module, nn.Module]:
    """Encoder (with `out_features` outputs) and decoder (with `latent` inputs) for images of `shape`."""
    mirrored = config.hidden[::-1] if config.decoder_hidden is None else config.decoder_hidden
    if config.name == "mlp":
        return (
            MLPEncoder(shape, config.hidden, out_features, config.activation),
            MLPDecoder(shape, mirrored, latent, config.activation),
        )
    assert config.name == "conv", config.name
    return (
        ConvEncoder(shape, config.channels, config.hidden, out_features, config.activation),
        ConvDecoder(shape, config.channels, mirrored, latent, config.activation),
    )


def count_parameters(module: nn.Module) -> int:
    """How many numbers training may change."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
