"""One optimizer step: terms, loss, gradients, and Adam's move."""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from aectl.machine import devices
from aectl.models.objectives import Loss, Terms
from aectl.runs.config import TrainConfig
from aectl.training.adam import Adam

Batch = tuple[Tensor, Tensor, Tensor | None, Tensor | None]  # x, x̃, ε, and the weight of their loss; see `Share`
Step = Callable[..., Tensor]  # of a batch's tensors, β and the learning rate


class NotFiniteError(Exception):
    """Training cannot go on: what is not finite, and when."""

    def __init__(self, culprit: str, when: str = ""):
        super().__init__(culprit, when)
        self.culprit = culprit
        self.when = when


def stepping(model: nn.Module, loss: Loss, adam: Adam, config: TrainConfig) -> Step:
    """`step` as a function of (x, x̃, ε, weight, β, lr) alone."""

    def at(x: Tensor, x_noisy: Tensor, eps: Tensor | None, weight: Tensor | None, beta: float, lr: float) -> Tensor:
        return step(model, loss, adam, (x, x_noisy, eps, weight), beta, lr, config.precision, config.grad_clip)

    return at


def step(
    model: nn.Module, loss: Loss, adam: Adam, batch: Batch, beta: float, lr: float,
    precision: str = "float32", grad_clip: float | None = None,
) -> Tensor:  # fmt: skip
    """Move `adam`'s parameters once; the loss and the means of the terms, averaged over the batch, nats per image.

    Raises:
        NotFiniteError: the loss or a gradient is not finite, and nothing has moved.
    """
    x, x_noisy, eps, weight = batch
    with devices.precision(x.device, precision):
        terms: Terms = model(x, x_noisy, eps)
    cost = loss(terms, beta)
    for parameter in adam.parameters.values():
        parameter.grad = None
    cost.backward(weight)
    if grad_clip is not None:
        torch.nn.utils.clip_grad_norm_(adam.parameters.values(), grad_clip)
    values = torch.stack([cost, *terms.means.values()]).detach()
    adam.step(lr, _not_finite(values, list(terms.means), adam))
    return values


def _not_finite(values: Tensor, names: list[str], adam: Adam) -> Tensor | None:
    """What keeps the optimizer from moving if one of `values` or a gradient is not finite; `names` has the terms.

    The sum of everything is not finite as soon as one number is not, or where they are too large to be added. With
    CUDA reading it here would make the host wait: there it returns 1 instead of 0 on the device, which is noticed at
    the next look. Elsewhere None, or the run ends at once.
    """
    gradients = [parameter.grad for parameter in adam.parameters.values()]
    total = torch.stack([values.sum(), *[gradient.sum() for gradient in gradients]]).sum()
    if adam.waits:
        return (~total.isfinite()).float()
    if not math.isfinite(total.item()):
        raise NotFiniteError(next(culprits(values, names, adam), "the sum of all gradients"))
    return None


def culprits(values: Tensor, names: list[str], adam: Adam) -> Iterator[str]:
    """What is not finite, the loss after the terms, since it has what they have."""
    found = {**dict(zip(names, values[1:], strict=True)), "loss": values[0]}
    found |= {f"the gradient of {name}": one.grad for name, one in adam.parameters.items()}
    yield from (name for name, value in found.items() if not value.isfinite().all())
