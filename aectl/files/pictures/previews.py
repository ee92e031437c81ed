"""Pictures as a browser shows them: 8 bits, grey or colour, of bounded size, in bytes that are counted."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from aectl.files.pictures import fitting
from aectl.files.pictures.decoding import to_image
from aectl.files.pictures.reading import Picture

SIDE = 1000  # pixels, of the longer one
# From the best to the smallest: the longer side, and JPEG's quality, or none for PNG, which loses nothing.
STEPS = (
    (1000, None),
    (1000, 92),
    (1000, 85),
    (800, 85),
    (640, 85),
    (500, 85),
    (400, 80),
    (300, 80),
    (200, 75),
    (100, 75),
)


@dataclass(frozen=True)
class Preview:
    """The bytes of a file, which kind it is, and how large its picture."""

    data: bytes
    kind: str
    width: int
    height: int


def shrunk(picture: Picture, side: int = SIDE) -> np.ndarray:
    """(1 or 3, H, W), uint8, over white where it is transparent, its longer side `side` pixels at most."""
    values = fitting.with_channels(picture, len(fitting.colours(picture)), 255)
    height, width = values.shape[1:]
    ratio = side / max(height, width)
    if ratio >= 1:
        return values
    return fitting.fitted(values, (max(1, round(height * ratio)), max(1, round(width * ratio))), "resize", 255)


def together(pictures: Sequence[np.ndarray], room: int) -> list[Preview]:
    """Pictures of one size, (1 or 3, H, W), uint8, as files of one kind that take `room` bytes at most, all in all.

    Where even the smallest take more, they are the smallest.
    """
    found: list[Preview] = []
    for side, quality in STEPS:
        found = [_preview(picture, side, quality) for picture in pictures]
        if sum(len(one.data) for one in found) <= room:
            break
    return found


def _preview(values: np.ndarray, side: int, quality: int | None) -> Preview:
    image, buffer = to_image(values), io.BytesIO()
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    if quality is None:
        image.save(buffer, "PNG")
    else:
        image.save(buffer, "JPEG", quality=quality, subsampling=0)
    return Preview(buffer.getvalue(), "png" if quality is None else "jpeg", *image.size)
