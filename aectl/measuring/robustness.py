"""How a model stands up to noise of many kinds and strengths, beside doing nothing, a median and non-local means."""

import importlib.util
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from aectl.data.images import Images, to_float
from aectl.data.noise import NOISES
from aectl.measuring import baselines, metrics
from aectl.models.base import Model
from aectl.rng import generator

IMAGES = 200  # at most, evenly spread: non-local means take their time


@dataclass(frozen=True)
class Row:
    """PSNR in dB of one kind of noise at one strength, means over images.

    `nl_means` is None where scikit-image and PyWavelets are not installed.
    """

    noise: str
    strength: float
    noisy: float
    median: float
    nl_means: float | None
    model: float


@torch.inference_mode()
def measure(model: Model, images: Images, device: torch.device, seed: int) -> list[Row]:
    """A row for every kind and strength, on at most 200 of the images; noise is clipped to [0, 1]."""
    x = to_float(images.spread(IMAGES).pixels)
    rows, has_nl_means = [], all(map(importlib.util.find_spec, ("skimage", "pywt")))
    cases = [(kind, settings) for kind in NOISES.usable() for settings in kind.levels]
    for kind, settings in tqdm(cases, desc="robustness", disable=None, leave=False):
        strength = next(iter(settings.values()))
        rng = generator("cpu", "robustness", seed, kind.name, repr(strength))
        noisy = kind(**settings)(x, rng)
        cleaned = torch.cat([model.reconstruct(part.to(device)).cpu() for part in noisy.split(100)])
        rows.append(
            Row(
                kind.name,
                strength,
                _psnr(noisy, x),
                _psnr(baselines.median_filter(noisy), x),
                _psnr(_nl_means(noisy), x) if has_nl_means else None,
                _psnr(cleaned, x),
            )
        )
    return rows


def _psnr(images: Tensor, reference: Tensor) -> float:
    return metrics.psnr(images, reference).mean().item()


def _nl_means(images: Tensor) -> Tensor:
    """scikit-image's non-local means with the σ that it estimates for each image, h = 0.8 σ."""
    from skimage.restoration import denoise_nl_means, estimate_sigma

    results = []
    for image in images.permute(0, 2, 3, 1).numpy():
        with warnings.catch_warnings():  # of a flat image it takes the median of nothing, which is NaN
            warnings.simplefilter("ignore", RuntimeWarning)
            sigma = float(np.mean(estimate_sigma(image, channel_axis=-1)))
        settings = {"patch_size": 5, "patch_distance": 6, "fast_mode": True, "channel_axis": -1}
        found = denoise_nl_means(image, h=0.8 * sigma, sigma=sigma, **settings) if sigma > 0 else image
        results.append(found.reshape(image.shape))  # it drops the axis of a single channel
    return torch.from_numpy(np.stack(results)).float().permute(0, 3, 1, 2)


def lines(rows: Sequence[Row]) -> Iterator[str]:
    """PSNR by kind and strength of noise, under each other; none without rows."""
    columns = ("noisy", "median", "nl_means", "model")
    if rows:
        yield "  PSNR (dB)".ljust(28) + "".join(column.rjust(10) for column in columns)
    for row in rows:
        values = [getattr(row, name) for name in columns]
        figures = "".join(("-" if value is None else f"{value:.2f}").rjust(10) for value in values)
        yield f"  {row.noise} {row.strength:g}".ljust(28) + figures
