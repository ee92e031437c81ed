"""Images that a Python program hands over: arrays, tensors, PIL images, paths; what does not fit is refused."""

import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from aectl.errors import DataError
from aectl.files.pictures import decoding, fitting

PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")  # what PNG keeps as it is; TIFF keeps the others


class Given:
    """Images of one shape, given out in batches.

    Args:
        x: (N, H, W) where C is 1, (N, H, W, C) or (N, C, H, W), uint8, bool or floats in [0, 1], as an array or a
            tensor; or a sequence of PIL images, of paths, or of arrays of one image each.
        shape: (C, H, W) that is wanted; PIL images and pictures of paths are brought to it.
        fit: how, as `fitted` has it.
        background: the grey behind them, 0..255.

    Raises:
        ValueError: x does not fit; the message says what would.
    """

    def __init__(self, x: Any, shape: tuple[int, int, int], fit: str = "resize", background: int = 0):
        self.shape, self.fit, self.background = shape, fit, background
        self.pictures: Sequence[Any] | None = None
        if isinstance(x, str | os.PathLike | Image.Image):
            raise ValueError("x is a single picture; give a list of them")
        if isinstance(x, Sequence) and len(x) and isinstance(x[0], str | os.PathLike | Image.Image):
            self.pictures = x
            self.squeezed = shape[0] == 1
            self.channels_last = True
            return
        self.array = as_array(x)
        self.squeezed, self.channels_last = self._layout()
        check_values(self.array)

    def _layout(self) -> tuple[bool, bool]:
        """Whether the channel axis is left out, and whether it is the last."""
        channels, height, width = self.shape
        found = self.array.shape[1:]
        if found == (height, width) and channels == 1:
            return True, True
        if found == (channels, height, width):
            return False, False
        if found == (height, width, channels):
            return False, True
        raise ValueError(f"x is of shape {self.array.shape}; this run takes {self._wanted()}{self._hint()}")

    def _wanted(self) -> str:
        channels, height, width = self.shape
        grey = f"(N, {height}, {width}), " if channels == 1 else ""
        return f"{grey}(N, {height}, {width}, {channels}) or (N, {channels}, {height}, {width})"

    def _hint(self) -> str:
        shape, (channels, height, width) = self.array.shape, self.shape
        size = f"{height}, {width}" if channels == 1 else f"{channels}, {height}, {width}"
        if shape in ((height, width), (channels, height, width), (height, width, channels)):
            return "; a single image is x[None]"
        if len(shape) == 2 and shape[1] == channels * height * width:
            return f"; give x.reshape(-1, {size})"
        return "; PIL images and paths of pictures are brought to that size"

    def __len__(self) -> int:
        return len(self.array if self.pictures is None else self.pictures)

    def batches(self, size: int) -> Iterator[np.ndarray]:
        """(B, C, H, W), float32 in [0, 1], at most `size` at a time.

        Raises:
            DataError: a picture cannot be read; named by its path, or its place.
        """
        for first in range(0, max(1, len(self)), size):  # no images are a batch of none
            if self.pictures is not None:
                found = [self._picture(one, first + i) for i, one in enumerate(self.pictures[first : first + size])]
                yield to_unit(np.stack(found))
                continue
            part = self.array[first : first + size]
            part = part[:, None] if self.squeezed else part
            if self.channels_last and not self.squeezed:
                part = part.transpose(0, 3, 1, 2)
            yield np.ascontiguousarray(to_unit(part))

    def _picture(self, one: Any, place: int) -> np.ndarray:
        channels, *size = self.shape
        try:
            picture = decoding.decode(picture_bytes(one))
            values = fitting.with_channels(picture, channels, self.background)
            return fitting.fitted(values, tuple(size), self.fit, self.background)
        except (OSError, DataError) as error:
            name = str(one) if isinstance(one, str | os.PathLike) else f"x[{place}]"
            raise DataError(f"{name}: {getattr(error, 'strerror', None) or error}") from None

    def like(self, images: np.ndarray) -> np.ndarray:
        """Images (N, C, H, W) in the layout of what was given; of pictures (N, H, W), or (N, H, W, C) in colour."""
        if self.squeezed:
            return images[:, 0]
        return images.transpose(0, 2, 3, 1) if self.channels_last else images


def as_array(x: Any) -> np.ndarray:
    """An array of an array, of a tensor on any device, or of a list of arrays.

    Raises:
        ValueError: it is none of these.
    """
    if hasattr(x, "detach"):
        x = x.detach().cpu()
    if isinstance(x, Sequence) and len(x) and hasattr(x[0], "detach"):
        x = [one.detach().cpu() for one in x]
    try:
        found = np.asarray(x)
    except ValueError:
        raise ValueError("x is a list of images of several shapes; give one array") from None
    if found.dtype == object or found.dtype.kind in "USMmV":
        raise ValueError(f"x is of type {type(x).__name__}; give an array, a tensor, PIL images or a list of paths")
    return found


def check_values(values: np.ndarray) -> None:
    """Refuse what is neither uint8, bool nor floats in [0, 1].

    Raises:
        ValueError: says what would do.
    """
    if values.dtype in (np.uint8, np.bool_):
        return
    if values.dtype.kind != "f":
        raise ValueError(f"x is of type {values.dtype}; give uint8, or floats from 0 (black) to 1 (white)")
    if values.size and not np.isfinite(values).all():
        raise ValueError("x has values that are not finite; give floats from 0 (black) to 1 (white)")
    if values.size and (values.min() < 0 or values.max() > 1):
        low, high = values.min(), values.max()
        hint = "; divide by 255" if low >= 0 and 1 < high <= 255 else ""
        raise ValueError(f"x has values from {low:g} to {high:g}; give floats from 0 (black) to 1 (white){hint}")


def to_unit(values: np.ndarray) -> np.ndarray:
    """uint8 in 0..255 and bool as float32 in [0, 1]; floats as float32."""
    scaled = values.astype(np.float32)
    return scaled / 255 if values.dtype == np.uint8 else scaled


def picture_bytes(one: Any) -> bytes:
    """The bytes of a picture file: of a path its own, of a PIL image those of a lossless file."""
    if isinstance(one, str | os.PathLike):
        return Path(one).read_bytes()
    if not isinstance(one, Image.Image):
        raise ValueError(f"x has {type(one).__name__} among its pictures; give PIL images or paths alone")
    return lossless(one)


def lossless(picture: str | os.PathLike | Image.Image) -> bytes:
    """The bytes of a PNG, or a TIFF where PNG has not that mode, with what a picture shows, upright."""
    image = picture if isinstance(picture, Image.Image) else Image.open(picture)
    upright = ImageOps.exif_transpose(image)
    buffer = io.BytesIO()
    upright.save(buffer, "PNG" if upright.mode in PNG_MODES else "TIFF")
    return buffer.getvalue()
