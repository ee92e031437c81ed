"""Drawn shapes with known factors: a data set that needs no files, and whose latent variables are known."""

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from aectl.data.datasets.base import Found, Undivided, from_numpy
from aectl.machine import memory
from aectl.settings import ranges
from aectl.settings.choices import Checked, Range

SHAPES = ("disc", "square", "triangle")
FACTORS = ("shape", "y", "x", "size", "brightness")
CHUNK = 1000  # images drawn at a time, each value in many bytes

_COLOURS = np.array([[1.0, 0.45, 0.35], [0.4, 0.9, 0.5], [0.45, 0.6, 1.0]])


def draw(n: int, shape: tuple[int, int, int], seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw `n` anti-aliased shapes, one to an image, on black.

    Args:
        n: number of images.
        shape: (channels, height, width); three channels give each kind of shape its own colour.
        seed: equal seeds draw equal images.

    Returns:
        Images (n, *shape), uint8; labels (n,), int64, an index into `SHAPES`; factors (n, 5), float64, in the
        order of `FACTORS`: position and size are in units of the shorter side, brightness is in [0, 1].
    """
    channels, height, width = shape
    rng = np.random.default_rng(seed)
    kind = rng.integers(len(SHAPES), size=n)
    side = min(height, width)
    size = rng.uniform(0.14, 0.28, size=n)  # half of the shape's extent
    y = rng.uniform(size, height / side - size)
    x = rng.uniform(size, width / side - size)
    brightness = rng.uniform(0.6, 1.0, size=n)

    images = np.empty((n, channels, height, width), np.uint8)
    for start in range(0, n, CHUNK):
        part = slice(start, start + CHUNK)
        images[part] = _drawn(shape, kind[part], y[part], x[part], size[part], brightness[part])
    return images, kind.astype(np.int64), np.stack([kind, y, x, size, brightness], axis=1)


def _drawn(shape: tuple[int, int, int], kind: np.ndarray, *factors: np.ndarray) -> np.ndarray:
    """Pictures of those factors, y, x, size and brightness, (n,) each: (n, *shape), uint8."""
    channels, height, width = shape
    y, x, radius, brightness = (factor[:, None, None] for factor in factors)
    side = min(height, width)
    rows = ((np.arange(height) + 0.5) / side)[None, :, None] - y
    columns = ((np.arange(width) + 0.5) / side)[None, None, :] - x
    rows, columns = np.broadcast_arrays(rows, columns)
    # Signed distances to each outline, negative inside, in units of the shorter side.
    distance = np.select(
        [kind[:, None, None] == 0, kind[:, None, None] == 1],
        [np.hypot(rows, columns) - radius, np.maximum(np.abs(rows), np.abs(columns)) - 0.85 * radius],
        np.maximum(rows - 0.7 * radius, (np.abs(columns) * 2 - rows - 0.9 * radius) / np.sqrt(5)),
    )
    ink = np.clip(0.5 - distance * side, 0, 1) * brightness  # one pixel of anti-aliasing
    colour = _COLOURS[kind] if channels == 3 else np.ones((len(kind), 1))
    return np.rint(255 * ink[:, None] * colour[:, :, None, None]).astype(np.uint8)


def _check_shape(key: str, shape: list[int]) -> None:
    if len(shape) != 3 or shape[0] not in (1, 3) or not all(8 <= side <= 256 for side in shape[1:]):
        ranges.fail(key, shape, "give [channels, height, width]: 1 or 3, then sides of 8 to 256")


@dataclass(frozen=True, kw_only=True)
class Synthetic(Undivided):
    """So many shapes on images of (C, H, W), drawn from `split_seed`."""

    name: ClassVar[str] = "synthetic"
    synthetic_size: Annotated[int, Range(10, 1_000_000)]
    synthetic_shape: Annotated[list[int], Checked(_check_shape)]

    def find(self, root: str | None, memory_gb: float) -> Found:
        """The shapes; the label says which each is."""
        size = 2 * self.synthetic_size * math.prod(self.synthetic_shape)  # once drawn, once more as its parts
        which = f"dataset.synthetic_size={self.synthetic_size}"
        memory.settle(which, size, "choose fewer, or a smaller synthetic_shape")
        pixels, labels, _ = draw(self.synthetic_size, tuple(self.synthetic_shape), self.split_seed)
        return Found(from_numpy(pixels, labels))
