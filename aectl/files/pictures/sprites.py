"""Many small pictures in one file, row by row, as a page takes them: PNG, or JPEG where that would be too large."""

import io
from dataclasses import dataclass

import numpy as np

from aectl.files.pictures import fitting, png
from aectl.files.pictures.decoding import to_image

QUALITIES = (92, 80, 60)
SIDE = 64  # pixels, of the longer one


@dataclass(frozen=True)
class Sprite:
    """A file of `count` pictures of `width`×`height` pixels in so many columns."""

    data: bytes
    kind: str
    count: int
    columns: int
    width: int
    height: int


def thumbnails(images: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Pictures (N, C, H, W), uint8, whose longer side has `side` pixels at most."""
    height, width = images.shape[2:]
    ratio = side / max(height, width)
    if ratio >= 1 or not len(images):
        return images
    size = (max(1, round(height * ratio)), max(1, round(width * ratio)))
    return np.stack([fitting.fitted(image, size, "resize", 255) for image in images])


def sheet(images: np.ndarray, columns: int) -> np.ndarray:
    """Pictures (N, C, H, W) as one (C, rows·H, columns·W); what is left of the last row is black."""
    count, channels, height, width = images.shape
    rows = -(-count // columns)
    cells = np.zeros((rows * columns, channels, height, width), np.uint8)
    cells[:count] = images
    grid = cells.reshape(rows, columns, channels, height, width).transpose(2, 0, 3, 1, 4)
    return grid.reshape(channels, rows * height, columns * width)


def sprite(images: np.ndarray, columns: int, quality: int | None = None) -> Sprite:
    """The file of (N, C, H, W), uint8: a PNG, which loses nothing, or a JPEG of that quality."""
    pixels = sheet(images, columns)
    if quality is None:
        data = png.of_image(pixels)
    else:
        buffer = io.BytesIO()
        to_image(pixels).save(buffer, "JPEG", quality=quality, subsampling=0)
        data = buffer.getvalue()
    height, width = images.shape[2:]
    return Sprite(data, "png" if quality is None else "jpeg", len(images), columns, width, height)
