"""Encoders and decoders, made from shapes and numbers.

An encoder maps x, (N, C, H, W), to `out_features` numbers for each image; a decoder maps z, (N, K), back to
(N, C, H, W), unbounded: logits for a Bernoulli, the mean for a Gaussian.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from aectl.settings.config import NetworkConfig

GROUPS = 8  # of channels that are normalised together
SLOPE = 0.01  # LeakyReLU's, as in the lecture and as PyTorch's default

Shape = tuple[int, int, int]

# Each is a function of a layer's output along dimension 1. `gated` halves it: h·sigmoid(g), so such a layer is made
# twice as wide (Dauphin et al., 2017).
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "leaky_relu": lambda: nn.LeakyReLU(SLOPE),
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "elu": nn.ELU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "gated": lambda: nn.GLU(dim=1),
}


def activated(
    layer: type[nn.Module], before: int, after: int, activation: str, norm: str = "none", **settings: Any
) -> list[nn.Module]:
    """`layer`, its normalisation over groups of channels if there is one, and its activation, `after` wide behind."""
    width = 2 * after if activation == "gated" else after
    normalised = [nn.GroupNorm(math.gcd(width, GROUPS), width)] if norm == "group" else []
    return [layer(before, width, **settings), *normalised, ACTIVATIONS[activation]()]


class Residual(nn.Module):
    """x + conv(act(norm(conv(x)))), 3×3, the width unchanged (He et al., 2016)."""

    def __init__(self, width: int, activation: str, norm: str):
        super().__init__()
        self.body = nn.Sequential(
            *activated(nn.Conv2d, width, width, activation, norm, kernel_size=3, padding=1),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) twice."""
        return x + self.body(x)


def mlp(sizes: Sequence[int], activation: str) -> list[nn.Module]:
    """Dense layers of the given sizes with `activation` between them and none behind the last."""
    *hidden, last = pairwise(sizes)
    layers = [module for pair in hidden for module in activated(nn.Linear, *pair, activation)]
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


@torch.no_grad()
def glorot(module: nn.Module, heads: int = 1) -> None:
    """Draw every weight anew from U(−a, a), a² = 6/(inputs + outputs), biases to 0 (Glorot & Bengio, 2010).

    The last layer's outputs are those of `heads` layers side by side, such as a mean's and a log-variance's, and each
    is drawn as a layer of its own.
    """
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)]
    for layer in layers:
        for weight in layer.weight.chunk(heads if layer is layers[-1] else 1):
            nn.init.xavier_uniform_(weight)
        nn.init.zeros_(layer.bias)


def build_network(config: NetworkConfig, shape: Shape, out_features: int, latent: int) -> tuple[nn.Module, nn.Module]:
    """Encoder (with `out_features` outputs) and decoder (with `latent` inputs) for images of `shape`."""
    mirrored = config.hidden[::-1] if config.decoder_hidden is None else config.decoder_hidden
    if config.name == "mlp":
        return (
            MLPEncoder(shape, config.hidden, out_features, config.activation),
            MLPDecoder(shape, mirrored, latent, config.activation),
        )
    assert config.name == "conv", config.name
    convolutions = Convolutions(
        config.channels, config.blocks or 0, config.activation, config.norm, config.output_conv
    )
    return (
        ConvEncoder(shape, convolutions, config.hidden, out_features),
        ConvDecoder(shape, convolutions, mirrored, latent),
    )


def count_parameters(module: nn.Module) -> int:
    """How many numbers training may change."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
