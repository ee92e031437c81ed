"""Several models of one form as one module: each computes its own rows of a batch, all of them in one call a layer.

Only dense layers know which model a row belongs to; whatever else these models do, they do for each image by itself.
"""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from aectl.models.autoencoder import Autoencoder
from aectl.models.base import Model
from aectl.models.objectives import Elbo, Objective, Terms


class BatchedLinear(nn.Module):
    """M dense layers side by side, the m-th for the m-th part of the rows: (M·N, in) → (M·N, out).

    From then on the layers' own parameters are views of the stacks here, (M, out, in) and (M, out): who changes one
    changes both.
    """

    def __init__(self, layers: Sequence[nn.Linear]):
        super().__init__()
        self.weight = _stacked([layer.weight for layer in layers])
        self.bias = _stacked([layer.bias for layer in layers])

    def forward(self, x: Tensor) -> Tensor:
        """W·x + b of each row with the weights of its model."""
        rows = x.unflatten(0, (len(self.weight), -1))
        return _Dense.apply(rows, self.weight, self.bias).flatten(0, 1)


class _Dense(torch.autograd.Function):
    """x·Wᵀ + b of (M, N, in), (M, out, in) and (M, out): (M, N, out).

    PyTorch's own derivative of the same is that of Wᵀ, which it then copies into the order of W: as much memory as
    the weights have, moved once more in every step.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return torch.baddbmm(bias[:, None], x, weight.mT)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        of_x = torch.bmm(gradient, weight) if ctx.needs_input_grad[0] else None
        return of_x, torch.bmm(gradient.mT, x), gradient.sum(1)


def _stacked(parameters: Sequence[nn.Parameter]) -> nn.Parameter:
    stack = nn.Parameter(torch.stack([one.detach() for one in parameters]))
    for parameter, own in zip(parameters, stack.detach(), strict=True):
        parameter.data = own
    return stack


@dataclass(frozen=True)
class BatchedTerms(Terms):
    """The terms of M·N images, the first N of which are those of the first of M = `models`."""

    models: int = 1

    @cached_property
    def means(self) -> dict[str, Tensor]:
        """As of `Terms`, of each model: (M,) each."""
        recon = self.recon.unflatten(1, (self.models, -1)).mean((0, 2))
        costs = {name: cost.unflatten(0, (self.models, -1)).mean(1).sum(1) for name, cost in self.costs.items()}
        return {"recon": recon, **costs}


def can_be_batched(model: Model, objective: Objective) -> bool:
    """Whether every parameter is a dense layer's, and the loss a sum of means over images, at one draw of z."""
    if type(model) is not Autoencoder or type(objective) is not Elbo or objective.free_bits:
        return False
    dense = {id(parameter) for parameter in _parameters_of(_dense(model).values())}
    return all(id(parameter) in dense for parameter in model.parameters()) and not any(model.buffers())


def batched(models: Sequence[Model]) -> Model:
    """One model of M·N images, the first N of which are those of the first model; their parameters are views of its.

    Its own have the names of a single model's, and are stacks of theirs, (M, ...).
    """
    together = copy.deepcopy(models[0])
    for name in _dense(models[0]):
        layers = [model.get_submodule(name) for model in models]
        above, _, last = name.rpartition(".")
        setattr(together.get_submodule(above), last, BatchedLinear(layers))
    return together


def _dense(model: Model) -> dict[str, nn.Linear]:
    return {name: module for name, module in model.named_modules() if type(module) is nn.Linear}


def _parameters_of(modules: Iterable[nn.Module]) -> Iterable[nn.Parameter]:
    for module in modules:
        yield from module.parameters()
