"""Dense encoders and decoders."""

import math
from collections.abc import Sequence

from torch import nn

from aectl.models.networks.layers import Shape, mlp


class MLPEncoder(nn.Sequential):
    """C·H·W → hidden → out_features."""

    def __init__(self, shape: Shape, hidden: Sequence[int], out_features: int, activation: str):
        super().__init__(nn.Flatten(), *mlp([math.prod(shape), *hidden, out_features], activation))


class MLPDecoder(nn.Sequential):
    """latent → hidden → C·H·W."""

    def __init__(self, shape: Shape, hidden: Sequence[int], latent: int, activation: str):
        super().__init__(*mlp([latent, *hidden, math.prod(shape)], activation), nn.Unflatten(1, shape))
