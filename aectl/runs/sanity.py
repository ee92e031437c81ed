"""A look at what comes out of a network, before it is written: weights can be finite and yet make no picture."""

import numpy as np
import torch
from torch import Tensor, nn

from aectl.errors import CheckpointError
from aectl.runs.opening import Run

LAYER = 1e8  # no layer of a network that was trained gives more; single precision has 8 digits
PICTURE = 10.0  # nor does a picture, whose values are 0 to 1, go further, even where a network overshoots
NEAR = (-0.5, 1.5)  # where at least half of a picture's values are; clipped to [0, 1], others leave black or white


def watch(run: Run) -> None:
    """Look at every layer's output from now on, as long as the run is open.

    Raises (later, from the model):
        CheckpointError: one is not finite, or beyond all measure.
    """

    def look(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(output, Tensor) and output.numel() and output.is_floating_point():
            _check(*(end.item() for end in torch.aminmax(output)), LAYER, run)

    for module in run.model.modules():
        if next(module.children(), None) is None:
            module.register_forward_hook(look)


def check_picture(values: np.ndarray | Tensor, run: Run) -> None:
    """Pictures of any shape, before they are clipped to [0, 1].

    Raises:
        CheckpointError: a value is not finite, or nowhere near [0, 1].
    """
    if not len(values):
        return
    _check(float(values.min()), float(values.max()), PICTURE, run)
    far = ((values < NEAR[0]) | (values > NEAR[1])).sum() / np.prod(values.shape)
    if far > 0.5:
        raise _refusal(run, f"values outside {NEAR[0]:g} to {NEAR[1]:g} in {far:.0%} of a picture")


def _check(low: float, high: float, limit: float, run: Run) -> None:
    if not (low >= -limit and high <= limit):  # NaN is neither
        found = (
            "values that are not finite" if not np.isfinite([low, high]).all() else f"values of {max(-low, high):.3g}"
        )
        raise _refusal(run, found)


def _refusal(run: Run, found: str) -> CheckpointError:
    return CheckpointError(
        f"run={run.path}: its network gives {found}, so its weights make no picture; nothing of it is written; take "
        "another checkpoint (checkpoint=last, or a folder of checkpoints/), or train it again"
    )
