"""Images side by side, put together pixel by pixel, so that nothing is resampled but by whole factors.

Every function returns one RGB picture, (H, W, 3) uint8.
"""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from aectl.data.images import to_uint8

GAP = 2
PAPER, INK = (255, 255, 255), (40, 40, 40)


def _scale(side: int, wanted: int = 84) -> int:
    """The whole factor that brings a picture's longer side to about as many pixels as are wanted."""
    return max(1, round(wanted / side))


def tiles(images: Tensor, columns: int) -> np.ndarray:
    """Images (N, C, H, W) in [0, 1] as a grid with `columns` columns, row by row, enlarged by a whole factor."""
    pixels = to_uint8(images.detach().float().cpu()).permute(0, 2, 3, 1).numpy()
    factor = _scale(max(pixels.shape[1:3]))
    pixels = pixels.repeat(factor, axis=1).repeat(factor, axis=2)
    pixels = np.broadcast_to(pixels, (*pixels.shape[:3], 3)) if pixels.shape[3] == 1 else pixels
    n, height, width, _ = pixels.shape
    lines = math.ceil(n / columns)
    sheet = np.full((lines * (height + GAP) + GAP, columns * (width + GAP) + GAP, 3), PAPER, dtype=np.uint8)
    for index in range(n):
        y, x = GAP + index // columns * (height + GAP), GAP + index % columns * (width + GAP)
        sheet[y : y + height, x : x + width] = pixels[index]
    return sheet


def _text(width: int, height: int, text: str, size: int, *, centre: bool = False) -> np.ndarray:
    strip = Image.new("RGB", (width, height), PAPER)
    font = ImageFont.load_default(size)
    position = (width // 2, height // 2) if centre else (6, height // 2)
    ImageDraw.Draw(strip).text(position, text, fill=INK, font=font, anchor="mm" if centre else "lm")
    return np.asarray(strip)


def grid(images: Tensor, title: str, columns: int | None = None) -> np.ndarray:
    """Images (N, C, H, W) in [0, 1] as a nearly square grid under a title."""
    columns = columns or math.ceil(math.sqrt(len(images) * images.shape[2] / images.shape[3]))
    return _titled(tiles(images, min(columns, len(images))), title)


def _titled(sheet: np.ndarray, title: str) -> np.ndarray:
    font = ImageFont.load_default(15)
    wanted = int(font.getlength(title)) + 14
    if wanted > sheet.shape[1]:
        left = (wanted - sheet.shape[1]) // 2
        margin = ((0, 0), (left, wanted - sheet.shape[1] - left), (0, 0))
        sheet = np.pad(sheet, margin, constant_values=255)
    return np.concatenate([_text(sheet.shape[1], 28, title, 15, centre=True), sheet])


def rows(named: dict[str, Tensor], title: str) -> np.ndarray:
    """One labelled row for each entry, every row of as many images (N, C, H, W)."""
    font = ImageFont.load_default(14)
    width = int(max(font.getlength(name) for name in named)) + 14
    strips = []
    for name, images in named.items():
        sheet = tiles(images, len(images))
        strips.append(np.concatenate([_text(width, sheet.shape[0], name, 14), sheet], axis=1))
    return _titled(np.concatenate(strips), title)


def table(
    pictures: Sequence[Sequence[np.ndarray]],
    labels: Sequence[str],
    words: Sequence[Sequence[str]],
    heads: Sequence[str],
    title: str,
) -> np.ndarray:
    """Pictures of any size, (1 or 3, H, W) uint8, under the heads of their columns.

    Each row stands below its label, and each picture above its words; small ones are enlarged by a whole factor.
    """
    cells = [[_coloured(one) for one in row] for row in pictures]
    width = max(one.shape[1] for row in cells for one in row) + 2 * GAP
    strips = [np.concatenate([_text(width, 22, head, 14, centre=True) for head in heads], axis=1)]
    for row, label, under in zip(cells, labels, words, strict=True):
        height = max(one.shape[0] for one in row) + 2 * GAP
        strips.append(_text(width * len(heads), 30, label, 14))
        strips.append(np.concatenate([_centred(one, height, width) for one in row], axis=1))
        strips.append(np.concatenate([_text(width, 20, text, 12, centre=True) for text in under], axis=1))
    return _titled(np.concatenate(strips), title)


def _coloured(pixels: np.ndarray) -> np.ndarray:
    """(1 or 3, H, W) as (H, W, 3), enlarged."""
    factor = _scale(max(pixels.shape[1:]), 160)
    pixels = pixels.repeat(factor, axis=1).repeat(factor, axis=2).transpose(1, 2, 0)
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3))


def _centred(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    sheet = np.full((height, width, 3), PAPER, dtype=np.uint8)
    top, left = (height - pixels.shape[0]) // 2, (width - pixels.shape[1]) // 2
    sheet[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return sheet
