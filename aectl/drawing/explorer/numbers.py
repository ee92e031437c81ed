"""Tensors as text of a page: base64 of little-endian numbers."""

import base64
from typing import Any

import numpy as np
from torch import Tensor

from aectl.files.pictures.sprites import Sprite


def text_of(data: bytes) -> str:
    """Base64, 4 letters for 3 bytes."""
    return base64.b64encode(data).decode()


def packed(values: Tensor, kind: str = "float32") -> str:
    """`values` in their order, as `float16` or `float32`."""
    return text_of(values.detach().cpu().numpy().astype(np.dtype(kind).newbyteorder("<")).tobytes())


def of_sprite(sprite: Sprite) -> dict[str, Any]:
    """A sprite as the page reads it."""
    return {
        "src": f"data:image/{sprite.kind};base64,{text_of(sprite.data)}", "count": sprite.count,
        "columns": sprite.columns, "width": sprite.width, "height": sprite.height,
    }  # fmt: skip
