"""Pictures of any size as tiles of one, and whole again: a tile at the right or lower edge goes on with the edge."""

import numpy as np
import torch
from torch import Tensor

Size = tuple[int, int]


def count(size: Size, tile: Size) -> int:
    """How many tiles a picture of (height, width) has."""
    return -(-size[0] // tile[0]) * -(-size[1] // tile[1])


def cut(picture: np.ndarray, tile: Size) -> Tensor:
    """(C, h, w), uint8 → (n, C, H, W), row by row."""
    channels, height, width = picture.shape
    whole = np.pad(picture, ((0, 0), (0, -height % tile[0]), (0, -width % tile[1])), mode="edge")
    rows = whole.reshape(channels, whole.shape[1] // tile[0], tile[0], -1, tile[1])
    return torch.from_numpy(rows.transpose(1, 3, 0, 2, 4).reshape(-1, channels, *tile).copy())


def joined(tiles: Tensor, size: Size) -> np.ndarray:
    """The picture of (height, width) that was cut: (n, C, H, W) → (C, h, w)."""
    _, channels, *tile = tiles.shape
    down = -(-size[0] // tile[0])
    rows = tiles.numpy().reshape(down, -1, channels, *tile).transpose(2, 0, 3, 1, 4)
    return rows.reshape(channels, down * tile[0], -1)[:, : size[0], : size[1]]
