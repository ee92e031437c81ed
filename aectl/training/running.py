"""What training steps give, summed over an epoch."""

from collections.abc import Sequence

import torch
from torch import Tensor

from aectl.training.processes import World


class Running:
    """The figures of an epoch so far, summed over its images on the device that computes them.

    Args:
        names: of the figures.
        device: where they are added up, in double precision where it has that.
    """

    def __init__(self, names: Sequence[str], device: torch.device):
        self.names = tuple(names)
        exact = torch.float32 if device.type == "mps" else torch.float64
        self.sums = torch.zeros(len(names), dtype=exact, device=device)

    def add(self, values: Tensor, images: int) -> None:
        """Means over so many images, in the order of the names."""
        self.sums.add_(values, alpha=images)

    def means(self, world: World, images: int) -> dict[str, float]:
        """The figures averaged over so many images, of all processes together; it waits for the device."""
        return dict(zip(self.names, (world.total(self.sums) / images).tolist(), strict=True))

    def reset(self) -> None:
        """Begin an epoch."""
        self.sums.zero_()
