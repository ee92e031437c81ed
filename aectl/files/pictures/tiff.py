"""TIFF: every page, in the type of its own values.

Pillow brings colours of 16 bits down to 8 and knows no other deep ones; tifffile keeps them. It is given bytes, not
names, and asked for pages alone, never for the series that may lie in other files.
"""

import io
import logging
import re
import struct
import zlib
from collections.abc import Sequence

import numpy as np
from tifffile import TiffFile, TiffPage

from aectl.errors import DataError, UserError, brief
from aectl.files.pictures import exif
from aectl.files.pictures.containers import jpeg_segments
from aectl.files.pictures.exif import Layout
from aectl.files.pictures.reading import Picture, Reading
from aectl.machine import memory

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MAX_PAGES = 10_000
GREY_INVERTED, GREY, RGB, PALETTE, CMYK, YCBCR, LAB = 0, 1, 2, 3, 5, 6, 8
PLANES = {GREY_INVERTED: 1, GREY: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3, LAB: 3}
# By Compression's number. With CCITT's, for bilevel pages, Deflate takes their place in what is written: as exact.
COMPRESSIONS = {
    1: None, 5: "lzw", 7: "jpeg", 8: "adobe_deflate", 32946: "deflate", 32773: "packbits", 34925: "lzma",
    50000: "zstd",
}  # fmt: skip
CCITT = (2, 3, 4)
JPEG = 7
# What tifffile and its codecs raise for damaged files.
UNREADABLE = (
    OSError, ValueError, LookupError, TypeError, ArithmeticError, AttributeError, RuntimeError, AssertionError,
    EOFError, MemoryError, struct.error, zlib.error,
)  # fmt: skip

logging.getLogger("tifffile").disabled = True  # what it has to say of damaged files is in the reasons


def header(data: bytes) -> tuple[bool, tuple[int, int]] | None:
    """Whether the first page keeps colours, and its upright (height, width); None where `read` does not know it.

    Raises:
        DataError: it cannot be read.
    """
    with opened(data) as file:
        page = _page(file, 0)
        if _strange(page) is not None:
            return None
        height, width = page.imagelength, page.imagewidth
        colour = page.photometric not in (GREY, GREY_INVERTED)
        return colour, ((width, height) if orientation(page) >= 5 else (height, width))


def read(data: bytes, reading: Reading, *, whole: bool) -> list[Picture] | None:
    """The pages of a file, with `whole`, or its first; None where that has 8 bits or less and is not known here.

    Raises:
        DataError: it cannot be read; or, with `whole`, not be written again as it is.
    """
    count = _count(data)
    with opened(data) as file:
        pages = [_page(file, index) for index in range(count if whole else 1)]
        if whole:
            _refuse_hidden(pages)
        for page in pages:
            strange = _strange(page)
            if strange is not None and not whole and _bits(page) <= 8:
                return None
            if strange is not None:
                raise DataError(strange)
            if page.compression == JPEG:
                _check_jpegs(page, data)
        with reading.room(*map(_shape, pages)):
            return [_decoded(page, reading, count > 1) for page in pages]


def _count(data: bytes) -> int:
    """How many pages follow each other; that is found out without reading any.

    Raises:
        DataError: there are too many, or they go round in a circle.
    """
    layout = Layout("<" if data[:2] == b"II" else ">", data[2:4] in (b"+\0", b"\0+"))
    seen: set[int] = set()
    try:
        (place,) = struct.unpack_from(layout.offset, data, 8 if layout.big else 4)
        while place and place not in seen and len(seen) <= MAX_PAGES:
            seen.add(place)
            (entries,) = struct.unpack_from(layout.head, data, place)
            place += struct.calcsize(layout.head) + entries * struct.calcsize(layout.entry)
            (place,) = struct.unpack_from(layout.offset, data, place)
    except struct.error:
        raise DataError("cannot be read as a picture (a page lies outside the file)") from None
    if place or not seen:
        raise DataError("cannot be read as a picture (its pages have no end)" if seen else "has no pages")
    return len(seen)


def _shape(page: TiffPage) -> tuple[int, int, int, int]:
    """Width, height, planes and bytes of a value, once it is decoded."""
    planes = 3 if page.photometric == PALETTE else page.samplesperpixel
    return page.imagewidth, page.imagelength, planes, page.dtype.itemsize


def _check_jpegs(page: TiffPage, data: bytes) -> None:
    """The parts of a page that are JPEGs have sizes of their own, which must be those that the page gives them.

    Raises:
        DataError: one is larger.
    """
    most = page.tilelength * page.tilewidth if page.is_tiled else (page.rowsperstrip + 16) * (page.imagewidth + 16)
    for place, length in zip(page.dataoffsets, page.databytecounts, strict=True):
        for marker, content in jpeg_segments(data[place : place + length]):
            if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and len(content) >= 5:
                height, width = struct.unpack_from(">HH", content, 1)
                if height * width > most:
                    raise DataError(f"has a part of {width}×{height}, more than it says")


class opened:  # noqa: N801 (it is used as a function is)
    """A file for a block; whatever tifffile raises there becomes a `DataError`."""

    def __init__(self, data: bytes):
        self.data = data

    def __enter__(self) -> TiffFile:
        try:
            self.file = TiffFile(io.BytesIO(self.data))
        except UNREADABLE as error:
            if memory.of_machine(error):
                raise
            raise DataError(f"cannot be read as a picture ({brief(error)})") from None
        return self.file

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        self.file.close()
        if isinstance(error, UNREADABLE) and not isinstance(error, UserError) and not memory.of_machine(error):
            raise DataError(f"cannot be read as a picture ({brief(error)})") from None


def _page(file: TiffFile, index: int) -> TiffPage:
    page = file.pages[index]
    if not isinstance(page, TiffPage):
        raise ValueError("has a page that is none")
    if page.imagewidth < 1 or page.imagelength < 1:
        raise DataError("has a page without pixels")
    return page


def _bits(page: TiffPage) -> int:
    bits = page.bitspersample
    return max(bits) if isinstance(bits, tuple) else int(bits)


def _strange(page: TiffPage) -> str | None:
    """Why a page is not one of those that are read and written here; None where it is."""
    photometric, bits = int(page.photometric), page.bitspersample
    if photometric not in PLANES:
        return f"has the colours {brief(page.photometric)}, which are not supported"
    if page.compression not in COMPRESSIONS and page.compression not in CCITT:
        return f"is compressed by {brief(page.compression)}, which is not supported"
    if page.imagedepth != 1 or page.dtype is None or page.dtype.kind not in "buif":
        return "has values of a kind that is not supported"
    if isinstance(bits, tuple) or (bits < 8 and bits not in (1, 2, 4)) or (bits > 8 and bits not in (12, 16, 32, 64)):
        return f"has {bits} bits for a value, which is not supported"
    if bits < 8 and photometric not in (GREY, GREY_INVERTED, PALETTE):
        return f"has {bits} bits for a value of a colour, which is not supported"
    if bits > 8 and (photometric in (PALETTE, YCBCR, LAB) or page.compression == JPEG):
        return f"has {bits} bits for a value in {page.photometric.name}, which is not supported"
    if photometric == YCBCR and page.compression != JPEG:
        return "has the colours YCbCr without JPEG, which are not supported"
    extra = page.samplesperpixel - PLANES[photometric]
    if extra not in (0, 1) or (extra and bits < 8) or (extra and photometric == PALETTE):
        return f"has {page.samplesperpixel} values a pixel, which is not supported"
    if extra and page.extrasamples[:1] == (1,):
        return "has colours multiplied by alpha (associated alpha), which is not supported"
    if page.compression in CCITT and bits != 1:
        return "is compressed as a fax, but not bilevel"
    return None


def _refuse_hidden(pages: Sequence[TiffPage]) -> None:
    """What a file may hold beside its pages would be lost.

    Raises:
        DataError: it holds some.
    """
    description = str(pages[0].description)
    images = re.search(r"^images=(\d{1,9})$", description, re.MULTILINE)
    if description.startswith("ImageJ=") and images and int(images[1]) > len(pages):
        raise DataError(f"is an ImageJ stack of {images[1]} images behind one page; save it with a page for each")
    if description.startswith("{") and '"truncated": true' in description:
        raise DataError("is a stack of images behind one page; save it with a page for each")
    if any(page.subifds for page in pages):
        raise DataError("has sub-images beside its pages, as pyramids and raw files do; save it without them")


def orientation(page: TiffPage) -> int:
    """As `exif.orientation`."""
    value = page.tags.valueof(274, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _decoded(page: TiffPage, reading: Reading, several: bool) -> Picture:
    photometric, bits = int(page.photometric), int(page.bitspersample)
    native = page.asarray(maxworkers=1)
    planes = _planes_first(native, page)
    if page.dtype.kind == "b":
        planes = planes.view(np.uint8)
    if photometric == PALETTE:
        colours = np.asarray(page.colormap) >> 8
        planes, levels = colours.astype(np.uint8)[:, planes[0]], reading.levels(np.dtype(np.uint8), 8)
    else:
        levels = reading.levels(planes.dtype, bits if planes.dtype.kind == "u" else 8 * planes.dtype.itemsize)
    planes = exif.upright(planes, orientation(page))
    count = 3 if photometric == PALETTE else PLANES[photometric]
    values = levels.to_unit(planes[:count])
    if photometric in (GREY_INVERTED, CMYK):
        values = 255 - values if values.dtype == np.uint8 else 1 - values
    elif photometric == LAB:
        values = values ^ np.array([0, 128, 128], np.uint8)[:, None, None]
    alpha = planes[count].copy() if len(planes) > count else None
    transparent = alpha is None or page.extrasamples[:1] == (2,)
    mode = _mode(photometric, levels.dtype, bits, alpha is not None)
    return Picture(np.ascontiguousarray(values), alpha, mode, "TIFF", levels, several, transparent)


def _planes_first(native: np.ndarray, page: TiffPage) -> np.ndarray:
    """(C, H, W), from (H, W), (H, W, C) or (C, H, W)."""
    height, width = page.imagelength, page.imagewidth
    if page.samplesperpixel == 1:
        return native.reshape(1, height, width)
    if page.planarconfig == 1:
        return native.reshape(height, width, page.samplesperpixel).transpose(2, 0, 1)
    return native.reshape(page.samplesperpixel, height, width)


def _mode(photometric: int, dtype: np.dtype, bits: int, extra: bool) -> str:
    """Pillow's name, or for what Pillow does not know the nearest."""
    if photometric in (GREY, GREY_INVERTED):
        if bits == 1:
            return "1"
        deep = {"u": "I;16" if bits <= 16 else "I", "i": "I", "f": "F"}[dtype.kind]
        return ("L" if bits <= 8 and dtype.kind == "u" else deep) if not extra else "LA"
    names = {RGB: "RGB", PALETTE: "P", CMYK: "CMYK", YCBCR: "RGB", LAB: "LAB"}
    return names[photometric] + ("A" if extra and photometric == RGB else "")
