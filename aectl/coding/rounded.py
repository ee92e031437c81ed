"""A picture of any size as the bits of its rounded code, by the factorised prior of a codec, and back.

Only whole numbers are in the bits, and what they cost comes from a table of the prior alone: no network is needed to
read them, and whether a machine's networks round otherwise shows in the last bit of a pixel at most.
"""

import struct
import zlib
from collections.abc import Iterator

import numpy as np
import torch

from aectl.coding.stack import Cumulative, Stack, from_bytes, to_bytes
from aectl.coding.tiles import Size
from aectl.errors import DataError
from aectl.models.rounded import Rounded

DEPTH = 12  # binary digits of a number of the code, −2048 to 2047; what would be beyond is cut off there
LEAST = -(2 ** (DEPTH - 1))
PLACES = 32  # of the code along the side of a tile
AT_ONCE = 2**20  # numbers that are coded at once
CHECKSUM = struct.Struct("<I")

Span = tuple[slice, slice]  # of rows, and of columns


def compress(model: Rounded, picture: np.ndarray, device: torch.device) -> bytes:
    """The bits of a picture, (C, h, w), uint8: a CRC-32 of its code, and the stack; the size is not among them."""
    code = analysed(model, picture, device)
    stack = Stack(np.ones(1, np.uint32))
    table = _table(model)
    for channels in _parts(code.shape):
        values = code[channels].reshape(-1).astype(np.int64) - LEAST
        stack.push(values, _cumulative(table[channels], code[0].size), DEPTH)
    return CHECKSUM.pack(zlib.crc32(_plain(code))) + to_bytes(stack.words)


def decompress(model: Rounded, data: bytes, size: Size, device: torch.device) -> np.ndarray:
    """The picture of (height, width), (C, h, w), uint8, that these bits give back.

    Raises:
        DataError: they are no bits of such a picture.
    """
    if len(data) < CHECKSUM.size:
        raise DataError("it is too short for a checksum")
    (checksum,) = CHECKSUM.unpack_from(data)
    shape = (model.density.channels, *(-(-side // model.stride) for side in size))
    stack, table = Stack(from_bytes(data[CHECKSUM.size :])), _table(model)
    code = np.empty(shape, np.int16)
    for channels in reversed(list(_parts(shape))):
        part = code[channels]
        part[...] = (stack.pop(part.size, _cumulative(table[channels], part[0].size), DEPTH) + LEAST).reshape(
            part.shape
        )
    if zlib.crc32(_plain(code)) != checksum or not np.array_equal(stack.words, [1]):
        raise DataError("its checksum is another, or another run's")
    return synthesised(model, code, size, device)


def analysed(model: Rounded, picture: np.ndarray, device: torch.device) -> np.ndarray:
    """The rounded code, (K, ⌈h/stride⌉, ⌈w/stride⌉), int16, of a picture, (C, h, w), uint8, tile by tile."""
    step = model.stride
    height, width = picture.shape[1:]
    padded = np.pad(picture, ((0, 0), (0, -height % step), (0, -width % step)), mode="edge")
    size = (padded.shape[1] // step, padded.shape[2] // step)
    code = np.empty((model.density.channels, *size), np.int16)
    for inner, outer, kept in _tiles(size, model.reach):
        x = torch.from_numpy(padded[:, *_times(outer, step)].copy()).to(device)
        with torch.inference_mode():
            found = model.analysis(x.float().div(255)[None])[0]
        code[:, *inner] = found.round().clamp(LEAST, -LEAST - 1)[:, *kept].cpu().numpy()
    return code


def synthesised(model: Rounded, code: np.ndarray, size: Size, device: torch.device) -> np.ndarray:
    """The picture of (height, width) of a code, (C, h, w), uint8, tile by tile."""
    step, tiles = model.stride, _tiles(code.shape[1:], model.reach)
    picture = None
    for inner, outer, kept in tiles:
        y = torch.from_numpy(code[:, *outer].astype(np.float32)).to(device)
        with torch.inference_mode():
            found = model.likelihood.mean(model.synthesis(y[None]))[0]
        pixels = found.clamp(0, 1).mul(255).round().to(torch.uint8).cpu().numpy()
        if picture is None:
            picture = np.empty((len(pixels), code.shape[1] * step, code.shape[2] * step), np.uint8)
        picture[:, *_times(inner, step)] = pixels[:, *_times(kept, step)]
    return picture[:, : size[0], : size[1]]


def _tiles(size: Size, reach: int) -> Iterator[tuple[Span, Span, Span]]:
    """Places of the code that a tile gives, those that it sees for it, and the former among the latter.

    It sees as far as a place depends on, so that what it gives is what the whole picture would.
    """
    for top in range(0, size[0], PLACES):
        for left in range(0, size[1], PLACES):
            sides = [_side(start, side, reach) for start, side in zip((top, left), size, strict=True)]
            inner, outer, kept = zip(*sides, strict=True)
            yield inner, outer, kept


def _side(start: int, side: int, reach: int) -> tuple[slice, slice, slice]:
    """Along one side: what a tile gives, what it sees, and the former in the latter."""
    end = min(start + PLACES, side)
    first, last = max(start - reach, 0), min(end + reach, side)
    return slice(start, end), slice(first, last), slice(start - first, end - first)


def _times(span: Span, step: int) -> Span:
    """The pixels of some places."""
    rows, columns = (slice(one.start * step, one.stop * step) for one in span)
    return rows, columns


def _parts(shape: tuple[int, ...]) -> Iterator[slice]:
    """Channels that are coded at once."""
    count = max(1, AT_ONCE // (shape[1] * shape[2]))
    for first in range(0, shape[0], count):
        yield slice(first, first + count)


def _table(model: Rounded) -> np.ndarray:
    """P(y < k) of each channel for k of `LEAST` and what is above it, (K, 2^DEPTH), float64."""
    return model.density.cumulative(np.arange(LEAST, -LEAST) - 0.5)


def _cumulative(table: np.ndarray, places: int) -> Cumulative:
    """F of the numbers of some channels, (n·places), channel by channel."""
    channels = np.repeat(np.arange(len(table)), places)
    return lambda level: table[channels, level]


def _plain(code: np.ndarray) -> bytes:
    return code.astype("<i2").tobytes()
