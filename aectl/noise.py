"""Corruptions x → x̃: pure functions of (x, strength, generator).

Each takes x, float, (N, C, H, W) in [0, 1], and returns a new tensor of the same shape, dtype and device. The
generator must live on x's device and is the only source of randomness.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from aectl.config import NOISE_STRENGTH, NoiseConfig

Corruption = Callable[[Tensor, torch.Generator], Tensor]


def _uniform(shape: tuple[int, ...], x: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=x.device, dtype=x.dtype)


def _normal(x: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)


def gaussian(x: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """X + σ·n with n ~ N(0, 1) for each value; `sigma` ≥ 0 on the scale of [0, 1] pixels. Not clipped."""
    return x + sigma * _normal(x, generator)


def masking(x: Tensor, p: float, generator: torch.Generator) -> Tensor:
    """Each pixel, all its channels together, is 0 with probability `p` (Vincent et al., 2008)."""
    keep = _uniform((x.shape[0], 1, *x.shape[2:]), x, generator) >= p
    return x * keep


def salt_pepper(x: Tensor, p: float, generator: torch.Generator) -> Tensor:
    """Each pixel, all its channels together, is 0 or 1, equally likely, with probability `p`."""
    u = _uniform((x.shape[0], 1, *x.shape[2:]), x, generator)
    return torch.where(u < p, (u < p / 2).to(x.dtype), x)


def speckle(x: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """X + σ·x·n with n ~ N(0, 1) for each value: noise in proportion to the signal. Not clipped."""
    return x + sigma * x * _normal(x, generator)


NOISES: dict[str, Callable[[Tensor, float, torch.Generator], Tensor]] = {
    "gaussian": gaussian,
    "masking": masking,
    "salt_pepper": salt_pepper,
    "speckle": speckle,
}


def build_noise(config: NoiseConfig) -> Corruption:
    """The corruption that `config` describes as a function of (x, generator); `none` returns x itself.

    With `config.clip` the result is clipped to [0, 1], as a camera or a file would.
    """
    if config.name == "none":
        return lambda x, generator: x
    corrupt = NOISES[config.name]
    strength = getattr(config, NOISE_STRENGTH[config.name])
    if config.clip:
        return lambda x, generator: corrupt(x, strength, generator).clamp(0, 1)
    return lambda x, generator: corrupt(x, strength, generator)
