"""Dense encoders and decoders."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from aectl.models.networks.base import Mirrored
from aectl.models.networks.layers import Shape, mlp


class MLPEncoder(nn.Sequential):
    """C·H·W → hidden → out_features."""

    def __init__(self, shape: Shape, hidden: Sequence[int], out_features: int, activation: str):
        super().__init__(nn.Flatten(), *mlp([math.prod(shape), *hidden, out_features], activation))


class MLPDecoder(nn.Sequential):
    """latent → hidden → C·H·W."""

    def __init__(self, shape: Shape, hidden: Sequence[int], latent: int, activation: str):
        super().__init__(*mlp([latent, *hidden, math.prod(shape)], activation), nn.Unflatten(1, shape))


@dataclass(frozen=True, kw_only=True)
class Mlp(Mirrored):
    """Dense layers; the lecture's are 784-300-300-k."""

    name: ClassVar[str] = "mlp"
    dense: ClassVar[bool] = True

    def layers(self, shape: Shape, outputs: int, latent: int) -> tuple[nn.Module, nn.Module]:
        """Encoder and decoder of dense layers."""
        return (
            MLPEncoder(shape, self.hidden, outputs, self.activation),
            MLPDecoder(shape, self.mirrored, latent, self.activation),
        )
