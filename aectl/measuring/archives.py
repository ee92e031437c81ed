"""What programs that everybody has make of images without loss: bytes, to hold a model's file against."""

import bz2
import gzip
import io
import lzma
import math
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image, features

from aectl.files.pictures.decoding import to_image

ONE_STREAM, EACH, SHEET = "all images in one stream", "a file for each image", "all images on one sheet"
STREAMS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, 9, mtime=0),
    "bz2": lambda data: bz2.compress(data, 9),
    "lzma": lambda data: lzma.compress(data, preset=9 | lzma.PRESET_EXTREME),
}


def sizes(pixels: np.ndarray) -> Iterator[tuple[str, str, int]]:
    """Name, how it is used, and the bytes that it makes of all images together, headers counted.

    Args:
        pixels: (N, C, H, W), uint8, C being 1 or 3. Images that are black and white alone count as such: a bit a
            pixel in the streams and in PNG, and CCITT's fax code takes them.
    """
    raw = stream(pixels)
    for name, compress in STREAMS.items():
        yield name, ONE_STREAM, len(compress(raw))
    yield "PNG", EACH, sum(len(png(image)) for image in pixels)
    if features.check("webp"):
        yield "WebP lossless", EACH, sum(len(webp(image)) for image in pixels)
    if is_binary(pixels) and features.check("libtiff"):
        yield "CCITT group 4", SHEET, len(fax(pixels))


def bits_per_dim(size: int, values: int) -> float:
    """8·bytes / values, a value being one channel of one pixel."""
    return 8 * size / values


def is_binary(pixels: np.ndarray) -> bool:
    """Whether every value is 0 or 255, in one channel."""
    return pixels.shape[-3] == 1 and bool(np.isin(pixels, (0, 255)).all())


def stream(pixels: np.ndarray) -> bytes:
    """The values of (N, C, H, W), uint8, one after another, channels together; of binary images 8 pixels a byte."""
    if is_binary(pixels):
        return np.packbits(pixels > 0).tobytes()
    return pixels.transpose(0, 2, 3, 1).tobytes()


def png(image: np.ndarray) -> bytes:
    """The smallest PNG file that Pillow makes of (C, H, W), uint8; in one bit where that is enough."""
    return _file(_bilevel(image[0]) if is_binary(image) else to_image(image), "PNG", optimize=True)


def webp(image: np.ndarray) -> bytes:
    """The lossless WebP file that Pillow makes of (C, H, W), uint8."""
    # method=6 as well would take a hundredth off, in 30 times as long.
    return _file(to_image(image).convert("RGB"), "WEBP", lossless=True, quality=100)


def fax(pixels: np.ndarray) -> bytes:
    """Binary images, (N, 1, H, W), on one square sheet, a TIFF in CCITT group 4 (ITU-T T.6).

    Its codes are made for black ink on white: of the two ways round, which a TIFF can say, the smaller file is taken.
    """
    sheet = _sheet(pixels[:, 0])
    return min((_file(_bilevel(ink), "TIFF", compression="group4") for ink in (sheet, 255 - sheet)), key=len)


def _sheet(images: np.ndarray) -> np.ndarray:
    """Images (N, H, W) row by row on a sheet of as many rows as columns, its end filled with zeros."""
    count, height, width = images.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    filled = np.concatenate([images, np.zeros((rows * columns - count, height, width), images.dtype)])
    return filled.reshape(rows, columns, height, width).swapaxes(1, 2).reshape(rows * height, columns * width)


def _bilevel(values: np.ndarray) -> Image.Image:
    return Image.fromarray(values > 0)


def _file(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
