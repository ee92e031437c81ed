"""What a file holds beside its picture and a cleaned one will not have is said, and a plain file has none of it."""

import io
import struct

import numpy as np
import pytest
import zoo
from PIL import Image

from aectl.errors import DataError
from aectl.files.pictures import decoding, encoding, leftovers
from aectl.files.pictures.reading import Reading

COLOUR = np.stack([zoo.GREY, np.roll(zoo.GREY, 3), zoo.GREY[::-1]], axis=-1)


def saved(kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(COLOUR).save(buffer, kind, **options)
    return buffer.getvalue()


def with_extension(gif: bytes, name: bytes) -> bytes:
    """An application extension of that name before the GIF's first image."""
    place = 13 + 3 * 2 ** ((gif[10] & 7) + 1)
    return gif[:place] + b"\x21\xff\x0b" + name + b"\x03abc\x00" + gif[place:]


def with_chunk(webp: bytes) -> bytes:
    data = webp[8:] + b"MINE" + struct.pack("<I", 4) + b"abcd"
    return b"RIFF" + struct.pack("<I", len(data)) + data


PLAIN = {
    "a.jpg": saved("JPEG"), "progressive.jpg": saved("JPEG", progressive=True), "a.png": saved("PNG"),
    "a.gif": saved("GIF"), "a.webp": saved("WEBP", lossless=True), "a.bmp": saved("BMP"), "a.tif": saved("TIFF"),
    "moving.gif": saved("GIF", save_all=True, append_images=[Image.fromarray(COLOUR[::-1])], loop=0, duration=50),
}  # fmt: skip
MORE = {
    "a.jpg": (saved("JPEG", progressive=True) + b"....ftypmp42", "data after its end"),
    "a.png": (saved("PNG") + b"trail", "data after its end"),
    "tail.gif": (saved("GIF") + b"trail", "data after its end"),
    "xmp.gif": (with_extension(saved("GIF"), b"XMP DataXMP"), "an extension, XMP DataXMP"),
    "a.webp": (with_chunk(saved("WEBP", lossless=True)), "a part of its own, MINE"),
    "tail.webp": (saved("WEBP") + b"trail", "data after its end"),
}


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_picture_leaves_nothing(name):
    reading = Reading()
    decoding.decode_pages(PLAIN[name], reading, name)
    assert reading.notes() == []


@pytest.mark.parametrize("name", MORE)
def test_what_is_left_out_is_said_in_one_line(name):
    data, what = MORE[name]
    reading = Reading()
    decoding.decode_pages(data, reading, name)
    word = f"note: 1 files hold more than pictures, which is left out, such as {name} ({what})"
    assert reading.notes() == [word]


def test_files_cut_off_anywhere_are_no_traceback():
    for data in (*PLAIN.values(), *(data for data, _ in MORE.values())):
        for end in range(0, len(data), 7):
            for kind in ("JPEG", "PNG", "GIF", "WEBP"):
                leftovers.of(data[:end], kind)


# --------------------------------------------------------------------------- pictures that are turned


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize(
    ("orientation", "expected"), [(1, (204, 98)), (3, (204, 98)), (6, (98, 204)), (8, (98, 204))]
)
def test_the_two_resolutions_change_places_where_a_picture_is_turned(kind, orientation, expected):
    exif = Image.Exif()
    exif[0x0112] = orientation
    if kind == "JPEG":
        exif[282], exif[283], exif[296] = 204.0, 98.0, 2
    data = saved(kind, dpi=(204, 98), exif=exif)
    pages = decoding.decode_pages(data, Reading(), "a")
    with Image.open(io.BytesIO(encoding.encode(pages, data))) as new:
        assert new.size == (COLOUR.shape[:2] if orientation > 4 else COLOUR.shape[1::-1])
        assert new.info["dpi"] == pytest.approx(expected, abs=0.1)
        if kind == "JPEG":
            assert (new.getexif()[282], new.getexif()[283]) == expected


def test_a_tiff_without_pixels_is_no_picture_and_one_without_a_resolution_is():
    data = bytearray(saved("TIFF", dpi=(72, 72)))
    start, where = struct.unpack_from("<I", data, 4)[0], {}
    for index in range(struct.unpack_from("<H", data, start)[0]):
        where[struct.unpack_from("<H", data, start + 2 + 12 * index)[0]] = start + 2 + 12 * index
    empty = bytearray(data)
    struct.pack_into("<I", empty, where[257] + 8, 0)
    for read in (decoding.decode, decoding.header, lambda data: decoding.decode_pages(data, Reading(), "a")):
        with pytest.raises(DataError, match="without pixels"):
            read(bytes(empty))
    struct.pack_into("<II", data, struct.unpack_from("<I", data, where[282] + 8)[0], 0, 0)
    pages = decoding.decode_pages(bytes(data), Reading(), "a")
    again = decoding.decode(encoding.encode(pages, bytes(data)))
    np.testing.assert_array_equal(again.values, pages[0].values)
