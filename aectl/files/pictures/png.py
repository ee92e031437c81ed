"""PNG files of what we make ourselves: plots, and images out of a model."""

import io

import numpy as np
from PIL import Image

from aectl.files.pictures.decoding import to_image


def of_plot(pixels: np.ndarray, *, smallest: bool = False) -> bytes:
    """The file of an RGB picture, (H, W, 3), uint8; `smallest` takes longer."""
    return _file(Image.fromarray(pixels), smallest)


def of_image(pixels: np.ndarray) -> bytes:
    """The file of an image as models have it, (C, H, W), uint8: grey for one channel, RGB for three."""
    return _file(to_image(pixels), False)


def _file(image: Image.Image, smallest: bool) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=smallest)
    return buffer.getvalue()
