"""Pictures as indices into a palette: exact where there are few enough colours, else the best that so many give."""

import numpy as np
from PIL import Image

from aectl.files.pictures.reading import Picture

BLOCK = 2**20  # pixels looked up at a time


def indexed(picture: Picture, colours: int = 256, *, one_clear: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Indices (H, W), uint8, and a palette (n ≤ `colours`, 3 or, with alpha, 4), uint8.

    Alpha is exact. With `one_clear` alpha is 0 or 255, cut at one half, and one colour at most is clear.
    """
    packed = np.zeros((*picture.size, 4), np.uint8)
    packed[..., :3] = picture.values.transpose(1, 2, 0)
    packed = packed.reshape(-1, 4)
    width = 3 if picture.alpha is None else 4
    if picture.alpha is not None:
        packed[:, 3] = picture.alpha.reshape(-1)
        if one_clear:
            packed[:, 3] = np.where(packed[:, 3] < 128, 0, 255)
            clear = packed[:, 3] == 0
            if clear.any():  # nobody sees their colours, and each would take a place in the palette
                packed[clear] = packed[clear.argmax()]
    index, palette = _exact(packed, colours) or _few(packed, colours)
    return index.reshape(picture.size), palette[:, :width]


def _exact(packed: np.ndarray, colours: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Indices and palette of (N, 4) pixels that have so few colours; None where they have more."""
    keys = packed.view(">u4")[:, 0]
    found = np.unique(keys)
    if len(found) > colours:
        return None
    index = np.empty(len(keys), np.uint8)
    for start in range(0, len(keys), BLOCK):
        index[start : start + BLOCK] = np.searchsorted(found, keys[start : start + BLOCK])
    return index, found.view(np.uint8).reshape(-1, 4)


def _few(packed: np.ndarray, colours: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices and palette of (N, 4) pixels: each opacity gets one colour, and of the others its share."""
    index, palette = np.empty(len(packed), np.uint8), []
    levels, counts = np.unique(packed[:, 3], return_counts=True)
    for level, count in zip(levels, counts, strict=True):
        of_level = packed[:, 3] == level
        some = Image.fromarray(packed[of_level][None, :, :3].copy())
        share = 1 + (colours - len(levels)) * int(count) // len(packed)
        quantized = some.quantize(share, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        used = np.asarray(quantized)[0]
        table = np.array(quantized.getpalette("RGB"), np.uint8).reshape(-1, 3)[: int(used.max()) + 1]
        index[of_level] = used + len(palette)
        palette += [[*colour, level] for colour in table.tolist()]
    return index, np.array(palette, np.uint8)
