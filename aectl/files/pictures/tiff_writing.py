"""TIFF: files of pages like those of another file, with their tags.

tifffile writes the pixels; tags are taken from the other file's own bytes, and EXIF and GPS put in afterwards.
"""

import io
import struct
from collections.abc import Sequence

import numpy as np
from tifffile import TiffPage, TiffWriter

from aectl.errors import DataError, UserError, brief
from aectl.files.pictures import exif, palettes
from aectl.files.pictures.exif import EXIF, GPS, Layout
from aectl.files.pictures.reading import Picture
from aectl.files.pictures.tiff import (
    CCITT,
    CMYK,
    COMPRESSIONS,
    GREY_INVERTED,
    JPEG,
    LAB,
    PALETTE,
    RGB,
    UNREADABLE,
    YCBCR,
    opened,
    orientation,
)

XMP = 700
# Tags that follow from the pixels, from how they are stored, or that `write` has an argument for.
OWN_TAGS = frozenset(
    (254, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 280, 281, 282, 283, 284, 292, 293, 296, 317, 320,
     322, 323, 324, 325, 330, 332, 338, 339, 340, 341, 347, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530,
     531, 532, 0xA005, 65534, 65535)
)  # fmt: skip
PLACEHOLDERS = {EXIF: 65534, GPS: 65535}  # for tags that tifffile does not write itself

Tag = tuple[int, int, int, object, bool]  # as tifffile takes them: tag, type, count, value, on the first page alone


def write(pictures: Sequence[Picture], original: bytes) -> bytes:
    """A TIFF with a page for each picture, stored as the pages of `original` are, with their tags.

    Raises:
        DataError: tifffile does not write such pages.
    """
    try:
        return _written(pictures, original)
    except UNREADABLE as error:
        if isinstance(error, UserError):
            raise
        raise DataError(f"cannot be written again as TIFF ({brief(error)})") from None


def _written(pictures: Sequence[Picture], original: bytes) -> bytes:
    buffer = io.BytesIO()
    directories = []
    with opened(original) as file:
        layout = Layout(file.byteorder, file.is_bigtiff)
        with TiffWriter(buffer, bigtiff=file.is_bigtiff, byteorder=file.byteorder) as writer:
            for picture, page in zip(pictures, file.pages, strict=True):
                _write_page(writer, picture, page, _kept_tags(page, original, layout))
                entries = exif.directory(original, page.offset, layout)
                directories.append({e.tag: exif.number(e, layout) for e in entries if e.tag in PLACEHOLDERS})
    return _with_directories(buffer.getvalue(), directories, original, layout)


def _write_page(writer: TiffWriter, picture: Picture, page: TiffPage, tags: Sequence[Tag]) -> None:
    photometric, bits = int(page.photometric), int(page.bitspersample)
    options: dict[str, object] = {}
    if photometric == PALETTE:
        planes, table = palettes.indexed(picture, 2**bits)
        colormap = np.zeros((3, 2**bits), np.uint16)
        # White is 65280 in the files of some programs, and 65535 in those of others.
        each = 257 if (np.asarray(page.colormap) & 255).any() else 256
        colormap[:, : len(table)] = table.T.astype(np.uint16) * each
        options["colormap"], planes = colormap, planes[None]
    else:
        values = picture.values
        if photometric in (GREY_INVERTED, CMYK):
            values = 255 - values if values.dtype == np.uint8 else 1 - values
        elif photometric == LAB:
            values = values ^ np.array([0, 128, 128], np.uint8)[:, None, None]
        planes = picture.levels.to_file(values)
    if picture.alpha is not None:
        planes = np.concatenate([planes, picture.alpha[None]])
        options["extrasamples"] = [int(page.extrasamples[0])]
    contiguous = page.samplesperpixel == 1 or page.planarconfig == 1
    array = planes[0] if len(planes) == 1 else planes.transpose(1, 2, 0) if contiguous else planes
    compression = "adobe_deflate" if page.compression in CCITT else COMPRESSIONS[page.compression]
    if page.compression == JPEG:
        options["compressionargs"] = {"level": 95}
        if photometric in (RGB, YCBCR):
            options["subsampling"] = tuple(page.subsampling or (1, 1))
    elif compression not in (None, "packbits") and page.predictor in (2, 3):
        options["predictor"] = int(page.predictor)
    if bits == 1:
        array = array.astype(bool)
    elif bits != array.dtype.itemsize * 8:
        options["bitspersample"] = bits
        if compression is not None:
            compression = None  # packed integers cannot be compressed
    if page.is_tiled and bits != 1:
        options["tile"] = (page.tilelength, page.tilewidth)
    elif page.rowsperstrip and page.rowsperstrip < len(picture.values[0]) and page.compression != JPEG and bits != 1:
        options["rowsperstrip"] = int(page.rowsperstrip)
    options |= _resolution(page)
    if page.subfiletype:
        options["subfiletype"] = int(page.subfiletype)
    writer.write(
        array, photometric=RGB if photometric == YCBCR else photometric,
        planarconfig=None if page.samplesperpixel == 1 else int(page.planarconfig), compression=compression,
        software=False, metadata=None, extratags=tags, **options,
    )  # fmt: skip


def _resolution(page: TiffPage) -> dict[str, object]:
    """Pixels per unit across and down, for the page turned upright; nothing where the page says nothing of use."""
    x, y, unit = (page.tags.valueof(tag) for tag in (282, 283, 296))
    pairs = [tuple(value) for value in (x, y) if isinstance(value, tuple) and len(value) == 2 and value[1]]
    if len(pairs) < 2 or unit not in (None, 1, 2, 3):
        return {}
    return {
        "resolution": tuple(pairs[:: -1 if orientation(page) >= 5 else 1]),
        "resolutionunit": 2 if unit is None else int(unit),
    }


def _kept_tags(page: TiffPage, original: bytes, layout: Layout) -> list[Tag]:
    """The tags that do not follow from the pixels, in their own bytes, and placeholders for EXIF and GPS."""
    found = []
    for entry in exif.directory(original, page.offset, layout):
        if entry.tag in PLACEHOLDERS:
            found.append((PLACEHOLDERS[entry.tag], 18 if layout.big else 4, 1, 0, False))
        elif entry.tag not in OWN_TAGS:
            data = exif.turned_xmp(entry.data) if entry.tag == XMP else entry.data
            found.append((entry.tag, entry.kind, entry.count, data, False))
    return found


def _with_directories(new: bytes, pages: Sequence[dict[int, int]], original: bytes, layout: Layout) -> bytes:
    """EXIF's and GPS's directories, which tifffile does not write, at the end, and pointers to them."""
    if not any(pages):
        return new
    result = bytearray(new)
    size = struct.calcsize(layout.entry)
    with opened(new) as file:
        places = [page.offset for page in file.pages]
    for place, directories in zip(places, pages, strict=True):
        (count,) = struct.unpack_from(layout.head, result, place)
        first = place + struct.calcsize(layout.head)
        entries = [bytes(result[first + i * size : first + (i + 1) * size]) for i in range(count)]
        for tag, start in directories.items():
            result += b"\0" * (len(result) % 2)
            pointer = struct.pack(layout.order + "H", tag), struct.pack(layout.offset, len(result))
            mark = struct.pack(layout.order + "H", PLACEHOLDERS[tag])
            entries = [
                pointer[0] + entry[2 : size - len(pointer[1])] + pointer[1] if entry[:2] == mark else entry
                for entry in entries
            ]
            result += exif.sub_directory(original, start, len(result), layout)
        entries.sort(key=lambda entry: struct.unpack_from(layout.order + "H", entry))
        result[first : first + count * size] = b"".join(entries)
    return bytes(result)
