"""Corruptions x → x̃: pure functions of (x, strength, generator).

Each takes x, float, (N, C, H, W) in [0, 1], and returns a new tensor of the same shape, dtype and device. The
generator must live on x's device and is the only source of randomness.
"""

import io
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from aectl.files.pictures.decoding import to_image
from aectl.settings.config import MIXTURE, NOISE_STRENGTH, NoiseConfig

Corruption = Callable[[Tensor, torch.Generator], Tensor]


def _uniform(shape: tuple[int, ...], x: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=x.device, dtype=x.dtype)


def _normal(x: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)


def gaussian(x: Tensor, sigma: float | Tensor, generator: torch.Generator) -> Tensor:
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


def speckle(x: Tensor, sigma: float | Tensor, generator: torch.Generator) -> Tensor:
    """X + σ·x·n with n ~ N(0, 1) for each value: noise in proportion to the signal. Not clipped."""
    return x + sigma * x * _normal(x, generator)


def poisson(x: Tensor, peak: float, generator: torch.Generator) -> Tensor:
    """Photon counts: Poisson(x·peak)/peak, with a variance of x/peak; `peak` is the count of a white value."""
    return torch.poisson(x * peak, generator=generator) / peak


def blocks(x: Tensor, p: float, generator: torch.Generator, side: int = 8) -> Tensor:
    """Squares of `side` pixels, all channels together, are 0 with probability `p`; each image has its own grid."""
    n, _, height, width = x.shape
    keep = _uniform((n, height // side + 2, width // side + 2), x, generator) >= p
    shift = (_uniform((n, 2), x, generator) * side).long()
    rows = (torch.arange(height, device=x.device) + shift[:, :1]) // side
    columns = (torch.arange(width, device=x.device) + shift[:, 1:]) // side
    image = torch.arange(n, device=x.device)[:, None, None]
    return x * keep[image, rows[:, :, None], columns[:, None, :]][:, None]


def blur(x: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """Convolution with a Gaussian of standard deviation `sigma` pixels, edges repeated; nothing is drawn."""
    if sigma == 0:
        return x.clone()
    radius = max(1, math.ceil(3 * sigma))
    offsets = torch.arange(-radius, radius + 1, device=x.device, dtype=x.dtype)
    weights = torch.exp(-offsets.square() / (2 * sigma**2))
    weights = weights / weights.sum()
    flat = x.flatten(0, 1)[:, None]
    flat = F.conv2d(F.pad(flat, (radius, radius, 0, 0), mode="replicate"), weights.view(1, 1, 1, -1))
    flat = F.conv2d(F.pad(flat, (0, 0, radius, radius), mode="replicate"), weights.view(1, 1, -1, 1))
    return flat.view(x.shape)


def jpeg(x: Tensor, quality: int, generator: torch.Generator) -> Tensor:
    """Each image as a JPEG file of that quality, 1 to 95, would keep it; one channel or three. Nothing is drawn."""
    results = []
    for image in (x.clamp(0, 1) * 255).round().byte().cpu().numpy():
        buffer = io.BytesIO()
        to_image(image).save(buffer, "JPEG", quality=int(quality))
        with Image.open(buffer) as file:
            kept = torch.from_numpy(np.array(file))
        results.append(kept[None] if kept.ndim == 2 else kept.permute(2, 0, 1))
    return torch.stack(results).to(x.device, x.dtype) / 255


def mixture(x: Tensor, kinds: Sequence[str], generator: torch.Generator) -> Tensor:
    """Each image gets one of `kinds`, all equally likely, at its strength in `aectl.settings.config.MIXTURE`."""
    choice = torch.randint(len(kinds), (len(x),), generator=generator, device=x.device)
    result = x.clone()
    for index, kind in enumerate(kinds):
        chosen = (choice == index).nonzero()[:, 0]
        if len(chosen):
            result[chosen] = NOISES[kind](x[chosen], MIXTURE[kind], generator)
    return result


NOISES: dict[str, Callable[..., Tensor]] = {
    "gaussian": gaussian,
    "masking": masking,
    "salt_pepper": salt_pepper,
    "speckle": speckle,
    "poisson": poisson,
    "blocks": blocks,
    "blur": blur,
    "jpeg": jpeg,
}


def identity(x: Tensor, generator: torch.Generator) -> Tensor:
    """X itself, for runs without noise; nothing is drawn."""
    return x


def build_noise(config: NoiseConfig) -> Corruption:
    """The corruption that `config` describes as a function of (x, generator); `none` is `identity`.

    With `config.clip` the result is clipped to [0, 1], as a camera or a file would.
    """
    if config.name == "none":
        return identity
    corrupt = _corruption(config)
    if config.clip:
        return lambda x, generator: corrupt(x, generator).clamp(0, 1)
    return corrupt


def _corruption(config: NoiseConfig) -> Corruption:
    if config.name == "mixture":
        return lambda x, generator: mixture(x, config.kinds, generator)
    function = NOISES[config.name]
    strength = getattr(config, NOISE_STRENGTH[config.name])
    if config.name == "blocks":
        return lambda x, generator: blocks(x, strength, generator, config.side)
    if config.sigma_max is not None:
        span = config.sigma_max - strength

        def blind(x: Tensor, generator: torch.Generator) -> Tensor:
            return function(x, strength + span * _uniform((len(x), 1, 1, 1), x, generator), generator)

        return blind
    return lambda x, generator: function(x, strength, generator)
