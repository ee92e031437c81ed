"""Sums that no order of their terms changes."""

import pytest
import torch
from torch import nn

from aectl.coding import repeatable

LAYERS = {
    "dense": (nn.Linear(300, 7), (50, 300), (1,)),
    "convolution": (nn.Conv2d(40, 7, 3, padding=1), (9, 40, 6, 5), (1,)),
    "transposed": (nn.ConvTranspose2d(40, 7, 3, stride=2, padding=1), (9, 40, 6, 5), (0,)),
}


def in_both_orders(name, made, spread=1.0):
    """What a layer gives for numbers of all sizes, and what it gives with its inputs in another order."""
    torch.manual_seed(0)
    layer, shape, (axis,) = LAYERS[name]
    layer = type(layer)(*shape[1:2], 7, **({} if name == "dense" else {"kernel_size": 3})).double()
    with torch.no_grad():
        layer.weight.mul_(torch.randn_like(layer.weight).mul(3 * spread).exp())
    x = torch.randn(shape, dtype=torch.float64) * torch.randn(shape, dtype=torch.float64).mul(2 * spread).exp()
    if made:
        repeatable.make(layer)
    with torch.inference_mode():
        before = layer(x)
        order = torch.randperm(shape[1])
        layer.weight.copy_(layer.weight.index_select(axis, order))
        return before, layer(x[:, order])


@pytest.mark.parametrize("name", LAYERS)
def test_the_order_of_a_sum_changes_nothing(name):
    assert torch.equal(*in_both_orders(name, True))
    assert not torch.equal(*in_both_orders(name, False)), "it does where nothing is rounded"


@pytest.mark.parametrize("name", LAYERS)
def test_what_a_layer_gives_is_nearly_what_it_gave(name):
    (rounded, _), (plain, _) = in_both_orders(name, True, 0), in_both_orders(name, False, 0)
    terms = (
        300 if name == "dense" else 40 * 9
    )  # an input is changed by half a unit at most, and multiplied by ±1/√terms
    assert 0 < (rounded - plain).abs().max() < terms**0.5 * repeatable.UNIT
