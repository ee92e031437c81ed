"""What pictures cost in a file, and what is lost of them: points and curves of rate and distortion."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass

import numpy as np
import torch

from aectl.measuring import codecs, metrics
from aectl.measuring.codecs import Codec


@dataclass(frozen=True)
class Point:
    """Bits per pixel of the file, all channels together; PSNR in dB and SSIM of the picture in it, both in 8 bits."""

    bpp: float
    psnr: float
    ssim: float


def point(picture: np.ndarray, size: int, decoded: np.ndarray) -> Point:
    """Of one picture, (C, H, W), uint8, its file of `size` bytes, and what comes out of it."""
    x, shown = (torch.from_numpy(one.astype(np.float32))[None] / 255 for one in (picture, decoded))
    rate = 8 * size / math.prod(picture.shape[1:])
    return Point(rate, metrics.psnr(shown, x).item(), metrics.ssim(shown, x).item())


def mean(points: Sequence[Point]) -> Point:
    """The mean of each figure over pictures, whatever their sizes."""
    return Point(*(math.fsum(column) / len(points) for column in zip(*map(astuple, points), strict=True)))


def curve(codec: Codec, pictures: Iterable[np.ndarray]) -> dict[int, Point]:
    """The mean point of a codec at each of its qualities, over pictures (C, H, W), uint8, each read once."""
    found: dict[int, list[Point]] = {quality: [] for quality in codec.qualities}
    for picture in pictures:
        for quality, points in found.items():
            data = codec.compress(picture, quality)
            points.append(point(picture, len(data), codecs.decompress(data, len(picture))))
    return {quality: mean(points) for quality, points in found.items()}
