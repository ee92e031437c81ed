"""Corruptions x → x̃: what the encoder sees; the target is always the clean x.

Each takes x, float, (N, C, H, W) in [0, 1], and a generator on x's device, the only source of randomness, and returns
a new tensor of the same shape, dtype and device. Adding one: a class here, its name in `NOISES` at the foot, and
`configs/noise/<name>.yaml`.
"""

import io
import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from aectl.files.pictures.decoding import to_image
from aectl.settings import ranges
from aectl.settings.choices import Choice, Range, Table


def _of_255(key: str, value: float) -> str | None:
    if 1 < value <= 255:
        return f"pixels are in [0, 1], so it is at most 1; {value:g} of 255 grey levels is {key}={value / 255:.4g}"
    return None


def _of_100(key: str, value: float) -> str | None:
    return f"is a probability, at most 1; {value:g} % is {key}={value / 100:g}" if 1 < value <= 100 else None


Sigma = Annotated[float, Range(0, 1, _of_255)]
Probability = Annotated[float, Range(0, 1, _of_100)]


def _uniform(shape: tuple[int, ...], x: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=x.device, dtype=x.dtype)


def _normal(x: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)


@dataclass(frozen=True, kw_only=True)
class Noise(Choice):
    """A corruption, as a function of (x, generator); with `clip` x̃ is clipped to [0, 1], as a camera would.

    Attributes:
        corrupts: whether x̃ is another picture than what it is made of.
        levels: settings for a weak, a middle and a strong one, their strength first: `aectl eval robustness=true`.
        mixed: settings as one of those that `noise=mixture` draws among; None for what it cannot.
    """

    group: ClassVar[str] = "noise"
    corrupts: ClassVar[bool] = True
    levels: ClassVar[tuple[dict[str, Any], ...]] = ()
    mixed: ClassVar[dict[str, Any] | None] = None
    clip: bool = True

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """x̃ of x: (N, C, H, W) → (N, C, H, W)."""
        noisy = self.corrupt(x, generator)
        return noisy.clamp(0, 1) if self.clip else noisy

    def corrupt(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """x̃ before it is clipped."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Clean(Noise):
    """x itself; nothing is drawn."""

    name: ClassVar[str] = "none"
    corrupts: ClassVar[bool] = False

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """x, the very same tensor."""
        return x


@dataclass(frozen=True, kw_only=True)
class _Blind(Noise):
    """With `sigma_max` each image has a σ of its own, uniform from `sigma` to that."""

    sigma: Sigma
    sigma_max: Sigma | None = None

    def check(self) -> None:
        """The two ends of σ in their order."""
        if self.sigma_max is not None:
            ranges.number("noise.sigma_max", self.sigma_max, self.sigma, 1)

    def _of_each(self, x: Tensor, generator: torch.Generator) -> float | Tensor:
        if self.sigma_max is None:
            return self.sigma
        return self.sigma + (self.sigma_max - self.sigma) * _uniform((len(x), 1, 1, 1), x, generator)


@dataclass(frozen=True, kw_only=True)
class Gaussian(_Blind):
    """x + σ·n with n ~ N(0, 1) for each value; σ is on the scale of [0, 1] pixels."""

    name: ClassVar[str] = "gaussian"
    levels: ClassVar = ({"sigma": 0.1}, {"sigma": 0.25}, {"sigma": 0.5})
    mixed: ClassVar = {"sigma": 0.1}

    def corrupt(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """x + σ·n."""
        return x + self._of_each(x, generator) * _normal(x, generator)


@dataclass(frozen=True, kw_only=True)
class Masking(Noise):
    """Each pixel, all its channels together, is 0 with probability `p` (Vincent et al., 2008)."""

    name: ClassVar[str] = "masking"
    levels: ClassVar = ({"p": 0.1}, {"p": 0.3}, {"p": 0.5})
    mixed: ClassVar = {"p": 0.2}
    p: Probability

    def corrupt(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """x where it is kept, else 0."""
        keep = _uniform((x.shape[0], 1, *x.shape[2:]), x, generator) >= self.p
        return x * keep


@dataclass(frozen=True, kw_only=True)
class SaltPepper(Noise):
    """Each pixel, all its channels together, is 0 or 1, equally likely, with probability `p`."""

    name: ClassVar[str] = "salt_pepper"
    levels: ClassVar = ({"p": 0.1}, {"p": 0.3}, {"p": 0.5})
    mixed: ClassVar = {"p": 0.1}
    p: Probability

    def corrupt(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """x, 0 or 1."""
        u = _uniform((x.shape[0], 1, *x.shape[2:]), x, generator)
        return torch.where(u < self.p, (u < self.p / 2).to(x.dtype), x)


@dataclass(frozen=True, kw_only=True)
class Speckle(_Blind):
    """x + σ·x·n with n ~ N(0, 1) for each value: noise in proportion to the signal."""

    name: ClassVar[str] = "speckle"
    levels: ClassVar = ({"sigma": 0.2}, {"sigma": 0.5}, {"sigma": 1.0})
    mixed: ClassVar = {"sigma": 0.3}

    def corrupt(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """x + σ·x·n."""
        return x + self._of_each(x, generator) * x * _normal(x, generator)


@dataclass(frozen=True, kw_only=True)
class Poisson(Noise):
    """Photon counts: Poisson(x·peak)/peak, with a variance of x/peak; `peak` is the count of a white value."""

    name: ClassVar[str] = "poisson"
    levels: ClassVar = ({"peak": 100}, {"peak": 30}, {"peak": 5})
    mixed: ClassVar = {"peak": 30}
    peak: Annotated[float, Range(0.01, 1e6)]  # beyond it the noise is less than a grey level

    def corrupt(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Counts over the peak."""
        return torch.poisson(x * self.peak, generator=generator) / self.peak


@dataclass(frozen=True, kw_only=True)
class Blocks(Noise):
    """Squares of `side` pixels, all channels together, are 0 with probability `p`; each image has its own grid."""

    name: ClassVar[str] = "blocks"
    levels: ClassVar = ({"p": 0.1, "side": 8}, {"p": 0.2, "side": 8}, {"p": 0.4, "side": 8})
    mixed: ClassVar = {"p": 0.1, "side": 8}
    p: Probability
    side: Annotated[int, Range(1, 4096)]

    def corrupt(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """x where its square is kept, else 0."""
        n, _, height, width = x.shape
        keep = _uniform((n, height // self.side + 2, width // self.side + 2), x, generator) >= self.p
        shift = (_uniform((n, 2), x, generator) * self.side).long()
        rows = (torch.arange(height, device=x.device) + shift[:, :1]) // self.side
        columns = (torch.arange(width, device=x.device) + shift[:, 1:]) // self.side
        image = torch.arange(n, device=x.device)[:, None, None]
        return x * keep[image, rows[:, :, None], columns[:, None, :]][:, None]


@dataclass(frozen=True, kw_only=True)
class Blur(Noise):
    """Convolution with a Gaussian of standard deviation `sigma` pixels, edges repeated; nothing is drawn."""

    name: ClassVar[str] = "blur"
    levels: ClassVar = ({"sigma": 0.5}, {"sigma": 1.0}, {"sigma": 2.0})
    mixed: ClassVar = {"sigma": 1.0}
    sigma: Annotated[float, Range(0, 100)]

    def corrupt(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """x, blurred along rows, then along columns."""
        if self.sigma == 0:
            return x.clone()
        radius = max(1, math.ceil(3 * self.sigma))
        offsets = torch.arange(-radius, radius + 1, device=x.device, dtype=x.dtype)
        weights = torch.exp(-offsets.square() / (2 * self.sigma**2))
        weights = weights / weights.sum()
        flat = x.flatten(0, 1)[:, None]
        flat = F.conv2d(F.pad(flat, (radius, radius, 0, 0), mode="replicate"), weights.view(1, 1, 1, -1))
        flat = F.conv2d(F.pad(flat, (0, 0, radius, radius), mode="replicate"), weights.view(1, 1, -1, 1))
        return flat.view(x.shape)


@dataclass(frozen=True, kw_only=True)
class Jpeg(Noise):
    """Each image as a JPEG file of that quality would keep it; one channel or three. Nothing is drawn."""

    name: ClassVar[str] = "jpeg"
    levels: ClassVar = ({"quality": 50}, {"quality": 20}, {"quality": 5})
    mixed: ClassVar = {"quality": 20}
    quality: Annotated[int, Range(1, 95)]

    def corrupt(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """What is read back from the files."""
        results = []
        for image in (x.clamp(0, 1) * 255).round().byte().cpu().numpy():
            buffer = io.BytesIO()
            to_image(image).save(buffer, "JPEG", quality=self.quality)
            with Image.open(buffer) as file:
                kept = torch.from_numpy(np.array(file))
            results.append(kept[None] if kept.ndim == 2 else kept.permute(2, 0, 1))
        return torch.stack(results).to(x.device, x.dtype) / 255


@dataclass(frozen=True, kw_only=True)
class Mixture(Noise):
    """Each image gets one of `kinds`, all equally likely, with the settings that are its `mixed`."""

    name: ClassVar[str] = "mixture"
    kinds: list[str]

    def check(self) -> None:
        """Kinds that can be mixed, at least one."""
        # Of installed ones those that are named here: no other is imported for it.
        names = dict.fromkeys((*NOISES.choices, *(kind for kind in self.kinds if kind in NOISES)))
        known = [name for name in names if NOISES[name].mixed is not None]
        if not self.kinds:
            ranges.fail("noise.kinds", self.kinds, f"give at least one of {', '.join(known)}")
        for kind in self.kinds:
            ranges.choice("noise.kinds", kind, known)

    def corrupt(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Each image with its own kind of noise."""
        choice = torch.randint(len(self.kinds), (len(x),), generator=generator, device=x.device)
        result = x.clone()
        for index, name in enumerate(self.kinds):
            chosen = (choice == index).nonzero()[:, 0]
            if len(chosen):
                kind = NOISES[name]
                result[chosen] = kind(**kind.mixed).corrupt(x[chosen], generator)
        return result


# What `noise=` takes.
NOISES = Table(Noise, Clean, Gaussian, Masking, SaltPepper, Speckle, Poisson, Blocks, Blur, Jpeg, Mixture)
