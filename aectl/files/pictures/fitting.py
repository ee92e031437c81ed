"""From a decoded picture to training data: the channels and the size that a data set has."""

import numpy as np
from PIL import Image

from aectl.errors import DataError
from aectl.files.pictures.decoding import to_image
from aectl.files.pictures.reading import Picture

LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R 601, as Pillow has it


def to_8_bits(values: np.ndarray) -> np.ndarray:
    """Values in [0, 1] rounded to uint8; uint8 as it is."""
    return values if values.dtype == np.uint8 else np.rint(values * 255).astype(np.uint8)


def colours(picture: Picture) -> np.ndarray:
    """Grey or red, green and blue, (1 or 3, H, W), of the picture's own type, whatever its file is in."""
    values = picture.values
    if len(values) == 4:  # inks, as light
        product = picture.floats()[:3] * picture.floats()[3]
        return to_8_bits(product) if values.dtype == np.uint8 else product
    if picture.mode == "LAB":
        lab = Image.merge("LAB", [Image.fromarray(plane) for plane in values])
        return np.asarray(lab.convert("RGB")).transpose(2, 0, 1)
    return values


def with_channels(picture: Picture, channels: int, background: int) -> np.ndarray:
    """(channels, H, W), uint8: grey from colour by luma, colour from grey by repeating; alpha over `background`."""
    found = colours(picture)
    values = to_8_bits(found)
    if channels == 1 and len(values) == 3:
        floats = found.astype(np.float32) / 255 if found.dtype == np.uint8 else found
        values = to_8_bits(np.tensordot(LUMA, floats, 1)[None])
    elif channels == 3 and len(values) == 1:
        values = np.repeat(values, 3, axis=0)
    if picture.alpha is None or not picture.transparent:
        return values
    opacity = picture.opacity()
    return np.rint(values * opacity + background * (1 - opacity)).astype(np.uint8)


def fitted(values: np.ndarray, size: tuple[int, int], fit: str, background: int) -> np.ndarray:
    """(C, H, W), uint8, brought to `size` = (height, width).

    `resize` stretches to the size, whatever the proportions; `crop` scales until the size is covered and cuts off
    what is over at both sides; `pad` scales until the picture fits in and fills the rest with `background`. Lanczos'
    filter scales.

    Raises:
        DataError: a side would vanish, because the picture is too narrow.
    """
    height, width = values.shape[1:]
    if (height, width) == size:
        return values
    if fit == "resize":
        return _scaled(values, size)
    ratios = (size[0] / height, size[1] / width)
    ratio = max(ratios) if fit == "crop" else min(ratios)
    scaled = (max(1, round(height * ratio)), max(1, round(width * ratio)))
    if max(scaled) > 65500:
        raise DataError(f"is {width}×{height}, too narrow to be cropped to {size[1]}×{size[0]}")
    values = _scaled(values, scaled)
    top, left = (scaled[0] - size[0]) // 2, (scaled[1] - size[1]) // 2
    if fit == "crop":
        return values[:, top : top + size[0], left : left + size[1]]
    padded = np.full((len(values), *size), background, dtype=np.uint8)
    padded[:, -top : scaled[0] - top, -left : scaled[1] - left] = values
    return padded


def stretches(size: tuple[int, int], to: tuple[int, int]) -> bool:
    """Whether (height, width) loses its proportions on the way to another size, but for rounding."""
    (height, width), (new_height, new_width) = size, to
    return round(width * new_height / height) != new_width and round(height * new_width / width) != new_height


def _scaled(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    array = np.asarray(to_image(values).resize((size[1], size[0]), Image.Resampling.LANCZOS))
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
