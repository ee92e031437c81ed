"""JPEG, WebP and AVIF as Pillow has them: what they make of a picture at each quality, to hold a codec against."""

import functools
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image, features

from aectl.files.pictures.decoding import to_image


@dataclass(frozen=True)
class Codec:
    """A lossy picture format.

    Attributes:
        name: what people call it.
        qualities: those that make its curve, from the least.
        range: the least and the greatest that it has.
        options: what its encoder is told beside the quality; those in `grey` for pictures without colour.
        feature: what Pillow calls it among what it may have been built without.
    """

    name: str
    qualities: tuple[int, ...]
    range: tuple[int, int]
    options: Mapping[str, Any] = field(default_factory=dict)
    grey: Mapping[str, Any] = field(default_factory=dict)
    feature: str | None = None

    @property
    def there(self) -> bool:
        """Whether this Pillow has it."""
        return self.feature is None or bool(features.check(self.feature))

    def compress(self, picture: np.ndarray, quality: int) -> bytes:
        """The file of (C, H, W), uint8, C being 1 or 3."""
        buffer = io.BytesIO()
        more = self.grey if len(picture) == 1 else {}
        to_image(picture).save(buffer, self.name.upper(), quality=quality, **self.options, **more)
        return buffer.getvalue()

    def nearest(self, picture: np.ndarray, size: int) -> tuple[int, bytes]:
        """The quality whose file of the picture is nearest to `size` bytes, and that file."""
        files = functools.cache(functools.partial(self.compress, picture))
        low, high = self.range
        while low < high:  # the least whose file is no smaller
            middle = (low + high) // 2
            if len(files(middle)) < size:
                low = middle + 1
            else:
                high = middle
        either = [low, max(low - 1, self.range[0])]
        quality = min(either, key=lambda one: abs(len(files(one)) - size))
        return quality, files(quality)


def decompress(data: bytes, channels: int) -> np.ndarray:
    """The picture in a file, (channels, H, W), uint8: grey for one channel, RGB for three."""
    with Image.open(io.BytesIO(data)) as image:
        values = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return values[None] if channels == 1 else values.transpose(2, 0, 1)


# Each as small as its encoder makes a quality, time aside but for AVIF; colours at half resolution (4:2:0), as usual.
CODECS = (
    Codec("JPEG", (1, 3, 5, 8, 12, 17, 25, 35, 50, 65, 80, 90, 95), (1, 95), {"optimize": True, "progressive": True}),
    Codec("WebP", (0, 2, 5, 10, 20, 30, 45, 60, 75, 85, 92, 97), (0, 100), {"method": 6}, feature="webp"),
    Codec("AVIF", (5, 15, 25, 35, 45, 55, 65, 75, 85, 93), (0, 100), grey={"subsampling": "4:0:0"}, feature="avif"),
)  # fmt: skip
