"""Networks whose sums come out the same in any order, hence on any processor and with any number of threads.

How a product of matrices is rounded depends on the order in which its terms are added, hence on the machine. Where
every weight and every number that it is multiplied by is a whole number of a small unit, and no sum needs more than
the 53 bits of a double, nothing is rounded at all. Source of the idea: Ballé, Johnston & Minnen, "Integer Networks
for Data Compression with Latent-Variable Models", ICLR 2019.
"""

import math

import torch
from torch import Tensor, nn

LARGEST = 2.0**10  # what goes into a layer is clamped to, either side
UNIT = 2.0**-16  # of what goes into a layer
BITS = 52  # of a sum, without its sign
# The dimensions of a layer's weight over which it sums.
SUMMED = {nn.Linear: (1,), nn.Conv2d: (1, 2, 3), nn.ConvTranspose2d: (0, 2, 3)}


@torch.no_grad()
def make(model: nn.Module) -> None:
    """Round the weights of a model in double precision, and from now on what goes into its layers.

    What is between them, activations and normalisations, may still differ in the last bit; that shows where it falls
    next to half a unit, once in 10^10 numbers.
    """
    for layer in model.modules():
        if (summed := SUMMED.get(type(layer))) is not None:
            largest = layer.weight.abs().sum(summed).max().item()
            unit = 2.0 ** (math.ceil(math.log2(max(largest, 1) * LARGEST)) - math.log2(UNIT) - BITS)
            _round(layer.weight, unit)
            if layer.bias is not None:
                _round(layer.bias, unit * UNIT)
            layer.register_forward_pre_hook(_rounded)


def _round(weight: Tensor, unit: float) -> None:
    weight.copy_((weight / unit).round() * unit)


def _rounded(layer: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    (x,) = given
    return ((x.clamp(-LARGEST, LARGEST) / UNIT).round() * UNIT,)
