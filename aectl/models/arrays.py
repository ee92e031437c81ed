"""A model on what a program hands over: images and codes, NumPy in and out, in batches of bounded size."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aectl.files.given import Given, as_array
from aectl.models.base import Model
from aectl.models.networks.layers import Shape

VALUES = 2_000_000  # values of images in a batch, at most; about 2,500 of MNIST's
MOST = 500  # images in a batch


def at_once(shape: Shape) -> int:
    """Images of (C, H, W) in a batch."""
    return max(1, min(MOST, VALUES // math.prod(shape)))


class OnArrays:
    """Encode, decode and reconstruct.

    Images are (N, H, W) where C is 1, (N, H, W, C) or (N, C, H, W), uint8 or floats in [0, 1]; or lists of PIL images
    or paths, which are brought to `shape` by `fit` over `background` (see `aectl.files.given.Given`). What comes back
    is float32 in [0, 1], in the layout of an array that was given, else (N, H, W), or (N, H, W, C) in colour.

    Args:
        model: in evaluation mode, on `device`.
        shape: (C, H, W) of its images.

    Raises:
        ValueError: (each method) what was given does not fit, or this model cannot do that; it says what would.
    """

    def __init__(self, model: Model, shape: Shape, device: torch.device, fit: str = "resize", background: int = 0):
        self.module = model
        self.shape = shape
        self.device = device
        self.fit = fit, background

    def encode(self, x: Any) -> np.ndarray:
        """Codes of images: (N, K), float32; of a VAE the means of q(z|x)."""
        self.need_code("codes")
        return self._over(self.given(x), self.module.codes)

    def decode(self, z: Any) -> np.ndarray:
        """Images of codes, (N, K)."""
        self.need_code("codes")
        codes = as_array(z)
        if codes.ndim != 2 or codes.shape[1] != self.module.latent:
            raise ValueError(f"z is of shape {codes.shape}; this run takes (N, {self.module.latent})")
        if codes.dtype.kind not in "fiu" or not np.isfinite(codes).all():
            raise ValueError("z has values that are not finite numbers")
        parts = torch.from_numpy(np.ascontiguousarray(codes, dtype=np.float32)).split(self.at_once)
        with torch.inference_mode():
            images = torch.cat([self.module.decode(part.to(self.device)).cpu() for part in parts])
        return self.plain(images.clamp(0, 1).numpy())

    def reconstruct(self, x: Any) -> np.ndarray:
        """x̂ of images, from the mean of the code."""
        given = self.given(x)
        return given.like(self._over(given, lambda part: self.module.reconstruct(part).clamp(0, 1)))

    @property
    def at_once(self) -> int:
        """Images in a batch."""
        return at_once(self.shape)

    def given(self, x: Any) -> Given:
        """What was handed over, read."""
        return Given(x, self.shape, *self.fit)

    def plain(self, images: np.ndarray) -> np.ndarray:
        """Images (N, C, H, W) as (N, H, W), or (N, H, W, C) in colour."""
        return images[:, 0] if self.shape[0] == 1 else images.transpose(0, 2, 3, 1)

    def need_code(self, what: str) -> None:
        """Refuse, for want of `what`, where the model has no code."""
        if self.module.latent is None:
            raise ValueError(f"it has no {what}: its network goes from pictures to pictures; try denoise(picture)")

    def _over(self, given: Given, work: Callable[[Tensor], Tensor]) -> np.ndarray:
        """What `work` makes of all, batch after batch, (N, ...)."""
        with torch.inference_mode():
            parts = [work(torch.from_numpy(part).to(self.device)).cpu() for part in given.batches(self.at_once)]
        return torch.cat(parts).numpy()
