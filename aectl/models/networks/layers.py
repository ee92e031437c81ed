"""Encoders and decoders, made from shapes and numbers.

An encoder maps x, (N, C, H, W), to `out_features` numbers for each image; a decoder maps z, (N, K), back to
(N, C, H, W), unbounded: logits for a Bernoulli, the mean for a Gaussian.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

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


def count_parameters(module: nn.Module) -> int:
    """How many numbers training may change."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
