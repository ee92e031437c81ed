"""From picture files to arrays: the formats and modes that are read, and what is wrong with others."""

import contextlib
import io
import struct
import warnings
import zlib
from collections.abc import Iterator

import imagecodecs
import numpy as np
from PIL import Image, UnidentifiedImageError

from aectl.errors import DataError, MemoryShortError, ScaleError, UserError, brief, one_line
from aectl.files.pictures import containers, exif, leftovers, tiff
from aectl.files.pictures.reading import Levels, Picture, Reading
from aectl.machine import memory

# Formats that Pillow decodes by itself; others, such as EPS, would start another program.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
ORIENTATION = exif.ORIENTATION
# Modes that a cleaned picture is written in again; Pillow has others, which these formats do not make.
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16")
# What Pillow and imagecodecs raise for damaged files, seen over their decoders.
UNREADABLE = (
    OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, OverflowError, RuntimeError,
    struct.error, zlib.error, MemoryError,
)  # fmt: skip

# A limit by memory stands in the place of Pillow's by pixels: `Reading.room`, before a pixel is decoded.
Image.MAX_IMAGE_PIXELS = None


def to_image(pixels: np.ndarray) -> Image.Image:
    """The other way: a Pillow image of (C, H, W), uint8, grey for one channel, RGB for three."""
    return Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0).copy())


def decode(data: bytes, reading: Reading | None = None, name: str = "") -> Picture:
    """The picture in the bytes of a file, of an animation or a stack the first frame.

    `reading` says what is white in values of more than 8 bits, and remembers under `name` what has to be said.

    Raises:
        DataError: why it cannot be used; without the file's name, which the caller knows.
        ScaleError: nothing says what is white.
    """
    reading = reading or Reading()
    with _named(name):
        picture = _first(data, reading)
    reading.saw(name, picture, alone=True)
    return picture


def decode_pages(data: bytes, reading: Reading, name: str) -> list[Picture]:
    """All that a file holds, to be cleaned and written again: a TIFF's pages, an animation's frames, or one picture.

    Of the further pictures in a phone's JPEG (MPO: depth, gain maps) none is taken, and `reading` remembers it.

    Raises:
        DataError, ScaleError: as `decode` does; or it could not be written again as it is.
    """
    with _named(name):
        if data.startswith(tiff.MAGIC):
            pages = tiff.read(data, reading, whole=True)
        else:
            pages = _frames(data, reading, whole=True)
    picture = pages[0]
    if picture.format != "TIFF" and picture.mode not in MODES:
        raise DataError(f"is a {picture.format} in mode {picture.mode}, which cannot be written again")
    for page in pages:
        reading.saw(name, page, alone=picture.format == "MPO")
    reading.leaves_out(name, leftovers.of(data, picture.format))
    return pages


@contextlib.contextmanager
def _named(name: str) -> Iterator[None]:
    try:
        yield
    except (ScaleError, MemoryShortError) as error:
        raise type(error)(f"{one_line(name)}: {error}" if name else str(error)) from None


@contextlib.contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    """The file as Pillow opens it, its pixels not yet decoded; what goes wrong in the block is a `DataError`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as of damaged EXIF, which is not needed
            with Image.open(io.BytesIO(data), formats=FORMATS) as file:
                yield file
    except UnidentifiedImageError:  # its text is the address of an object
        raise DataError(f"is no picture, or none of {', '.join(FORMATS)}") from None
    except UNREADABLE as error:
        if isinstance(error, UserError) or memory.of_machine(error):
            raise
        raise DataError(f"cannot be read as a picture ({brief(error)})") from None


def header(data: bytes) -> tuple[bool, tuple[int, int]]:
    """Whether the file keeps colours, and its upright (height, width), without decoding its pixels.

    Raises:
        DataError: as `decode` does.
    """
    if data.startswith(tiff.MAGIC):
        found = tiff.header(data)
        if found is not None:
            return found
    with _opened(data) as file:
        width, height = file.size
        colour = not (file.mode in ("1", "L", "LA", "I", "F") or file.mode.startswith("I;16"))
        return colour, ((width, height) if _orientation(data, file.format) >= 5 else (height, width))


def _orientation(data: bytes, kind: str) -> int:
    """As `exif.orientation`; of a TIFF that Pillow reads, it turns the pixels itself."""
    return containers.ORIENTATIONS[kind](data) if kind in containers.ORIENTATIONS else 1


def _first(data: bytes, reading: Reading) -> Picture:
    """The first frame or page."""
    if data.startswith(tiff.MAGIC):
        pages = tiff.read(data, reading, whole=False)
        if pages is not None:
            return pages[0]
    return _frames(data, reading, whole=False)[0]


def _frames(data: bytes, reading: Reading, *, whole: bool) -> list[Picture]:
    """The first frame of what Pillow opens, or with `whole` all that move; each as it is seen."""
    with _opened(data) as file:
        mode, kind = file.mode, file.format
        several = bool(getattr(file, "is_animated", False))
        deep = kind == "PNG" and data[24] == 16  # the depth that its header says
        count = 1
        if whole and several and kind != "MPO":
            count = file.n_frames
            if deep or (kind == "PNG" and (mode in ("1", "P") or file.info.get("default_image"))):
                raise DataError("is an animated PNG of 16 bits, with a palette, or with a picture beside its frames")
        planes = 4 if mode == "P" or count > 1 else len(file.getbands())
        which = _orientation(data, kind)
        with reading.room(*[(*file.size, planes, 2 if deep else 1)] * count):
            found = []
            for index in range(count):
                if count > 1:
                    file.seek(index)
                if deep:
                    array, levels = _deep_png(data), reading.levels(np.dtype(np.uint16), 16)
                    mode = {1: mode, 2: "LA", 3: "RGB", 4: "RGBA"}[len(array)]
                    values, alpha = _split(array)
                    values = levels.to_unit(values)
                else:
                    (values, alpha), levels = _converted(file, file.mode), Levels()
                values = np.ascontiguousarray(exif.upright(values, which))
                alpha = None if alpha is None else np.ascontiguousarray(exif.upright(alpha, which))
                found.append(Picture(values, alpha, mode, kind, levels, several))
            return found


def _deep_png(data: bytes) -> np.ndarray:
    """(C, H, W), uint16, which Pillow would bring down to 8 bits."""
    array = imagecodecs.png_decode(data)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def _split(planes: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Colours and alpha, which is the last of two or four planes."""
    return (planes, None) if len(planes) % 2 else (planes[:-1], planes[-1])


def _converted(image: Image.Image, mode: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Values and alpha, of 8 bits."""
    if mode == "CMYK":
        return 255 - np.asarray(image).transpose(2, 0, 1), None
    clear = "transparency" in image.info
    if mode in ("1", "L", "LA"):
        wanted = "LA" if clear or mode == "LA" else "L"
        grey = np.asarray(image if mode == wanted else image.convert(wanted))
        return _split(grey[None] if grey.ndim == 2 else grey.transpose(2, 0, 1))
    if mode not in ("P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "La", "YCbCr", "LAB", "HSV"):
        raise DataError(f"is in mode {mode}, which is not supported")
    alpha = clear or "A" in image.getbands() or "a" in image.getbands()
    wanted = "RGBA" if alpha else "RGB"
    return _split(np.asarray(image if mode == wanted else image.convert(wanted)).transpose(2, 0, 1))
