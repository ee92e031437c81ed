"""A network of a fixed or bounded size over a picture of any size: overlapping tiles, blended smoothly."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from aectl.machine import threads

BATCH_PIXELS = 2**18  # of the tiles that go through the network at once; bounds the memory

Through = Callable[[Tensor], Tensor]  # (N, C, h, w) → the same shape


def starts(length: int, tile: int, overlap: int) -> list[int]:
    """Where tiles begin on a side of `length`: `tile − overlap` apart, the last at the end; [0] for a single one."""
    if length <= tile:
        return [0]
    return [*range(0, length - tile, tile - overlap), length - tile]


def window(tile: int, overlap: int) -> np.ndarray:
    """Weights of a tile's positions, (tile,): 1 inside, falling by sin² over `overlap` at both ends, never 0."""
    ramp = np.sin((np.arange(tile) + 0.5) * (np.pi / 2) / max(overlap, 1)) ** 2
    ramp[overlap:] = 1
    return np.minimum(ramp, ramp[::-1]).astype(np.float32)


def apply(
    network: Through, picture: np.ndarray, tile: tuple[int, int], overlap: tuple[int, int], device: torch.device
) -> Iterator[tuple[int, np.ndarray]]:
    """`network` over a picture, given back in bands from top to bottom, so that memory does not grow with the height.

    Where tiles overlap, their results are averaged with weights that fall towards each tile's edge: there is no seam.
    A picture smaller than a tile is continued by its own edge.

    Args:
        network: what is applied to batches of tiles, values in [0, 1].
        picture: (C, H, W), uint8 or float32 in [0, 1].
        tile: height and width of a tile.
        overlap: how much neighbours share, less than the tile.
        device: where the network is.

    Yields:
        The first row of a band, and the band, (C, h, W), float32, not clipped.
    """
    channels, height, width = picture.shape
    (th, tw), (oh, ow) = tile, overlap
    tops, lefts = starts(height, th, oh), starts(width, tw, ow)
    weight = np.outer(window(th, oh), window(tw, ow))
    total = np.zeros((channels, th, max(width, tw)), dtype=np.float32)
    weights = np.zeros((th, max(width, tw)), dtype=np.float32)
    batch = max(1, BATCH_PIXELS // (th * tw))
    for row, top in enumerate(tops):
        for first in range(0, len(lefts), batch):
            threads.look()
            places = lefts[first : first + batch]
            tiles = torch.from_numpy(np.stack([_cut(picture, top, left, tile) for left in places]))
            with torch.inference_mode():
                found = network(tiles.to(device)).cpu().numpy()
            for left, result in zip(places, found, strict=True):
                total[:, :, left : left + tw] += result * weight
                weights[:, left : left + tw] += weight
        done = (tops[row + 1] if row + 1 < len(tops) else height) - top  # rows that no later tile reaches
        yield top, (total[:, :done] / weights[:done])[..., :width]
        total = np.concatenate([total[:, done:], np.zeros_like(total[:, :done])], axis=1)
        weights = np.concatenate([weights[done:], np.zeros_like(weights[:done])])


def _cut(picture: np.ndarray, top: int, left: int, tile: tuple[int, int]) -> np.ndarray:
    """A tile as float32 in [0, 1], continued by the picture's edge where it reaches beyond."""
    part = picture[:, top : top + tile[0], left : left + tile[1]]
    if part.dtype == np.uint8:
        part = part.astype(np.float32) / 255
    missing = (tile[0] - part.shape[1], tile[1] - part.shape[2])
    return np.pad(part, ((0, 0), (0, missing[0]), (0, missing[1])), mode="edge") if any(missing) else part
