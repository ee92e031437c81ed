"""Images side by side, put together pixel by pixel, so that nothing is resampled but by whole factors.

Every function returns one RGB picture, (H, W, 3) uint8.
"""

import functools
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont
from torch import Tensor

from aectl.data.images import to_uint8
from aectl.drawing import plots
from aectl.errors import brief
from aectl.machine import memory

GAP = 2
PAPER, INK, FRAME = (255, 255, 255), (40, 40, 40), (200, 200, 200)
TITLE, LABEL, WORDS = 15, 14, 12  # pixels of text
LEAST = 420  # pixels that a title may take before it goes on in a second line
LETTERS, MOST = 200, 400  # of a label and of a title at most, whoever made the names in them
LARGEST = 2**26  # pixels of a sheet, 8,192 to a side
BAND = 6  # pixels of the stripe that says whose picture it is


def _scale(side: int, wanted: int = 84) -> int:
    """The whole factor that brings a picture's longer side to about as many pixels as are wanted."""
    return max(1, round(wanted / side))


def enlarged(height: int, width: int) -> int:
    """Pixels that an image of this size takes on a sheet."""
    factor = _scale(max(height, width))
    return (factor * height + GAP) * (factor * width + GAP)


def most(shape: Sequence[int]) -> int:
    """How many images (N, C, H, W) go on a sheet that people can look at."""
    return max(1, LARGEST // enlarged(*shape[-2:]))


def tiles(images: Tensor, columns: int, wide: int = 0) -> np.ndarray:
    """Images (N, C, H, W) in [0, 1] as a grid with `columns` columns, row by row, enlarged by a whole factor.

    Each has a thin frame, so that white ones end somewhere on white paper; columns are at least `wide` pixels.
    """
    pixels = _pixels(images)
    n, height, width, _ = pixels.shape
    cell = max(width, wide)
    lines = math.ceil(n / columns)
    sheet = np.full((lines * (height + GAP) + GAP, columns * (cell + GAP) + GAP, 3), PAPER, dtype=np.uint8)
    for index in range(n):
        y, x = GAP + index // columns * (height + GAP), GAP + index % columns * (cell + GAP)
        x += (cell - width) // 2
        sheet[y - 1 : y + height + 1, x - 1 : x + width + 1] = FRAME
        sheet[y : y + height, x : x + width] = pixels[index]
    return sheet


def _pixels(images: Tensor) -> np.ndarray:
    """(N, C, H, W) in [0, 1] as (N, H, W, 3) uint8, enlarged."""
    pixels = to_uint8(images.detach().float().cpu()).permute(0, 2, 3, 1).numpy()
    factor = _scale(max(pixels.shape[1:3]))
    pixels = pixels.repeat(factor, axis=1).repeat(factor, axis=2)
    return np.broadcast_to(pixels, (*pixels.shape[:3], 3))


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """That of the plots: Pillow's own has no σ, β or ×.

    Raises:
        OSError: it cannot be read.
        MemoryError: there is too little memory for it, which FreeType calls an unknown format.
    """
    whole = Path(plots.font_file()).read_bytes()  # FreeType tells nothing of a storage that refuses
    try:
        return ImageFont.truetype(io.BytesIO(whole), size)
    except OSError as error:
        if memory.free() < memory.SHORT:
            raise MemoryError from error
        raise


def _long(text: str, size: int) -> int:
    """Pixels that a line of text takes, with a margin."""
    return math.ceil(_font(size).getlength(brief(text, LETTERS))) + 12


def _text(width: int, height: int, text: str, size: int, *, centre: bool = False) -> np.ndarray:
    strip = Image.new("RGB", (width, height), PAPER)
    position = (width // 2, height // 2) if centre else (6, height // 2)
    ImageDraw.Draw(strip).text(
        position, brief(text, LETTERS), fill=INK, font=_font(size), anchor="mm" if centre else "lm"
    )
    return np.asarray(strip)


def grid(images: Tensor, title: str, columns: int | None = None) -> np.ndarray:
    """Images (N, C, H, W) in [0, 1] as a nearly square grid under a title."""
    columns = columns or math.ceil(math.sqrt(len(images) * images.shape[2] / images.shape[3]))
    return _titled(tiles(images, min(columns, len(images))), title)


def _titled(sheet: np.ndarray, title: str) -> np.ndarray:
    """The sheet below its title, in the middle of whichever of the two is wider."""
    said = _broken(title[:MOST], max(sheet.shape[1], LEAST))
    width = max(sheet.shape[1], *(_long(line, TITLE) for line in said))
    left = (width - sheet.shape[1]) // 2
    sheet = np.pad(sheet, ((0, 0), (left, width - sheet.shape[1] - left), (0, 0)), constant_values=255)
    return np.concatenate([*(_text(width, 24, line, TITLE, centre=True) for line in said), sheet])


def _broken(text: str, width: int) -> list[str]:
    """Lines of whole words that fit into `width` pixels as a title; a word that is longer has one to itself."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and _long(longer, TITLE) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def rows(named: Mapping[str, Tensor], title: str) -> np.ndarray:
    """One labelled row for each entry, every row of as many images (N, C, H, W)."""
    return labelled(list(named.items()), title)


def labelled(lines: Sequence[tuple[str, Tensor]], title: str, heads: Sequence[str] = ()) -> np.ndarray:
    """A row for each label and its images (N, C, H, W), as many in each; `heads` stand above the columns."""
    left = max(_long(label, LABEL) for label, _ in lines)
    wide = max((_long(head, WORDS) for head in heads), default=0)
    sheets = [tiles(images, len(images), wide) for _, images in lines]
    strips = [np.concatenate([_text(left, sheet.shape[0], label, LABEL), sheet], axis=1)
              for (label, _), sheet in zip(lines, sheets, strict=True)]  # fmt: skip
    if heads:
        strips.insert(0, _heads(heads, left, strips[0].shape[1] - left))
    return _titled(np.concatenate(strips), title)


def _heads(heads: Sequence[str], left: int, width: int) -> np.ndarray:
    """Words above columns that divide `width` pixels, which begin `left` pixels from the edge."""
    pitch = (width - GAP) // len(heads)
    strip = np.full((20, left + width, 3), PAPER, dtype=np.uint8)
    for index, head in enumerate(heads):
        start = left + GAP // 2 + index * pitch
        strip[:, start : start + pitch] = _text(pitch, 20, head, WORDS, centre=True)
    return strip


def banded(picture: np.ndarray, colour: str) -> np.ndarray:
    """A picture, (H, W, 3), under a stripe in the colour, such as #3b6ea8, of the model that it belongs to."""
    band = np.full((BAND, picture.shape[1], 3), ImageColor.getrgb(colour), dtype=np.uint8)
    return np.concatenate([band, picture])


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
    width = max(
        *(one.shape[1] + 2 * GAP for row in cells for one in row),
        *(_long(text, WORDS) for line in words for text in line), *(_long(head, LABEL) for head in heads),
        *(math.ceil(_long(label, LABEL) / len(heads)) for label in labels),
    )  # fmt: skip
    strips = [np.concatenate([_text(width, 22, head, LABEL, centre=True) for head in heads], axis=1)]
    for row, label, under in zip(cells, labels, words, strict=True):
        height = max(one.shape[0] for one in row) + 2 * GAP
        strips.append(_text(width * len(heads), 30, label, LABEL))
        strips.append(np.concatenate([_centred(one, height, width) for one in row], axis=1))
        strips.append(np.concatenate([_text(width, 20, text, WORDS, centre=True) for text in under], axis=1))
    return _titled(np.concatenate(strips), title)


def _coloured(pixels: np.ndarray) -> np.ndarray:
    """(1 or 3, H, W) as (H, W, 3), enlarged."""
    factor = _scale(max(pixels.shape[1:]), 160)
    pixels = pixels.repeat(factor, axis=1).repeat(factor, axis=2).transpose(1, 2, 0)
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3))


def _centred(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    sheet = np.full((height, width, 3), PAPER, dtype=np.uint8)
    top, left = (height - pixels.shape[0]) // 2, (width - pixels.shape[1]) // 2
    sheet[top - 1 : top + pixels.shape[0] + 1, left - 1 : left + pixels.shape[1] + 1] = FRAME
    sheet[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return sheet
