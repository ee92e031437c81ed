"""How much memory a model takes in training, found out without taking any.

The model is laid out on torch's device `meta`, where tensors have shapes and no values, and goes through a batch.
"""

import math
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from aectl.models.base import Choices, Model
from aectl.models.networks.layers import Shape, count_parameters
from aectl.models.objectives import Loss
from aectl.models.table import build_model

T = TypeVar("T")

PARAMETER = 16  # bytes: weight, gradient and Adam's two moments, 4 each


def laid_out(choices: Choices, shape: Shape) -> Model:
    """The model without memory."""
    with torch.device("meta"):
        return build_model(choices, shape)


def of_parameters(model: Model) -> int:
    """Bytes that training takes whatever the batch."""
    return PARAMETER * count_parameters(model)


def might_take(model: Model, images: int, shape: Shape) -> int:
    """Bytes that a step on so many images takes at most, roughly: each layer's output at full size, four times.

    It is quickly said; `of_step` takes a second of imports when it is first called.
    """
    rows = images * (model.drawn(images) or (1,))[0]
    outputs = sum(
        len(parameter) * (math.prod(shape[1:]) if parameter.dim() > 2 else 1)
        for parameter in model.parameters()
        if parameter.dim() > 1
    )
    return 16 * (rows * (outputs + math.prod(shape)) + images**2 * (model.latent or 0))


def of_step(model: Model, loss: Loss, images: int, shape: Shape) -> int | None:
    """Bytes that a step on so many images takes beside the parameters; None where it cannot be told.

    That is what the pass forward keeps for the pass back, and twice the largest of it for the gradients under way.
    `model` is as `laid_out` gives it.
    """
    own = {tensor.untyped_storage()._cdata for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = tensor
        return tensor

    def work() -> int:
        x, eps = _inputs(model.train(), images, shape)
        with saved_tensors_hooks(keep, lambda tensor: tensor):
            loss(model(x, x, eps), 1.0)
        sizes = [tensor.untyped_storage().nbytes() for tensor in kept.values()]
        return sum(sizes) + 2 * max(sizes, default=0)

    return _told(work)


def _inputs(model: Model, images: int, shape: Shape) -> tuple[Tensor, Tensor | None]:
    """A batch, and what is drawn for it, without values."""
    drawn = model.drawn(images)
    x = torch.empty(images, *shape, device="meta")
    return x, None if drawn is None else torch.empty(drawn, device="meta")


def _told(work: Callable[[], T]) -> T | None:
    """None where a layer wants to see values, or does what `meta` does not know.

    It may be somebody else's, and raise anything; what is really wrong with it the first step will say.
    """
    try:
        return work()
    except Exception:
        return None
