"""How good an image is against its reference. Each maps two (N, C, H, W) in [0, 1] to (N,), one figure an image.

And how sure their mean over images is.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def standard_error(values: Tensor) -> float | None:
    """Of the mean of `values`, (N,): s/√N, s being the sample's standard deviation (n − 1); None for one value."""
    return None if len(values) < 2 else values.double().std().item() / math.sqrt(len(values))


def mse(x: Tensor, reference: Tensor) -> Tensor:
    """Mean squared error over channels and pixels, (N,)."""
    return (x - reference).square().flatten(1).mean(1)


def psnr(x: Tensor, reference: Tensor) -> Tensor:
    """Peak signal-to-noise ratio, 10·log₁₀(1 / MSE) for a peak of 1, (N,), in dB; `x` is clamped to [0, 1] first.

    Identical images have an infinite ratio; it is bounded at 100 dB, so that a mean over images stays finite.
    """
    return -10 * mse(x.clamp(0, 1), reference).clamp_min(1e-10).log10()


def _gaussian_window(size: int, sigma: float, like: Tensor) -> Tensor:
    offsets = torch.arange(size, dtype=like.dtype, device=like.device) - (size - 1) / 2
    weights = torch.exp(-offsets.square() / (2 * sigma**2))
    return weights / weights.sum()


def ssim(x: Tensor, reference: Tensor) -> Tensor:
    """Structural similarity for a peak of 1, (N,), at most 1; `x` is clamped to [0, 1] first.

    Gaussian window of 11×11 with σ = 1.5, K₁ = 0.01, K₂ = 0.03, averaged over the positions where the window lies
    inside the image, and over channels. Images with a side under 11 take the largest odd window that fits.
    Source: Wang, Bovik, Sheikh & Simoncelli, IEEE Transactions on Image Processing 13(4), 2004.
    """
    x, reference = x.clamp(0, 1).double(), reference.double()
    channels, height, width = x.shape[1:]
    size = min(11, height - (height + 1) % 2, width - (width + 1) % 2)
    window = _gaussian_window(size, 1.5, x)

    def local_mean(image: Tensor) -> Tensor:
        image = F.conv2d(image, window.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
        return F.conv2d(image, window.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)

    mean_x, mean_r = local_mean(x), local_mean(reference)
    var_x = local_mean(x * x) - mean_x.square()
    var_r = local_mean(reference * reference) - mean_r.square()
    covariance = local_mean(x * reference) - mean_x * mean_r
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * mean_x * mean_r + c1) * (2 * covariance + c2)
    similarity = similarity / ((mean_x.square() + mean_r.square() + c1) * (var_x + var_r + c2))
    return similarity.flatten(1).mean(1).to(torch.float32)
