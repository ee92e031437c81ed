"""EXIF: which way up a picture is, and the same data for the picture turned upright.

EXIF is a TIFF without pixels: a header, and directories of entries (TIFF 6.0, section 2; Exif 2.32, 4.6).
"""

import re
import struct
from dataclasses import dataclass, replace

import numpy as np

ORIENTATION, EXIF, GPS, INTEROPERABILITY = 0x0112, 0x8769, 0x8825, 0xA005
X_RESOLUTION, Y_RESOLUTION = 282, 283
WIDTH, HEIGHT = 0xA002, 0xA003  # of the picture, as the EXIF directory has them
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
XMP_ORIENTATION = re.compile(rb"(tiff:Orientation(?:=[\"']|>)\s*)([1-8])")


@dataclass(frozen=True)
class Tag:
    """One entry of a directory: its tag, its type, how many values, their bytes, and where the entry itself is."""

    tag: int
    kind: int
    count: int
    data: bytes
    position: int


@dataclass(frozen=True)
class Layout:
    """How a file writes its numbers: `<` or `>`, and whether it is a BigTIFF."""

    order: str
    big: bool = False

    @property
    def head(self) -> str:
        """Of a directory: the number of its entries."""
        return self.order + ("Q" if self.big else "H")

    @property
    def entry(self) -> str:
        """Of an entry: tag, type, count, and the values or where they are."""
        return self.order + ("HHQ8s" if self.big else "HHI4s")

    @property
    def offset(self) -> str:
        """Of a place in the file."""
        return self.order + ("Q" if self.big else "I")


def directory(data: bytes, start: int, layout: Layout) -> list[Tag]:
    """The entries of the directory at `start`; those that lie outside the data are left out."""
    try:
        (count,) = struct.unpack_from(layout.head, data, start)
        first, each = start + struct.calcsize(layout.head), struct.calcsize(layout.entry)
        found = []
        for position in range(first, min(first + count * each, len(data) - each + 1), each):
            tag, kind, items, value = struct.unpack_from(layout.entry, data, position)
            length = SIZES.get(kind, 0) * items
            if length > len(value):
                (where,) = struct.unpack(layout.offset, value)
                value = data[where : where + length]
            if len(value) >= length > 0:
                found.append(Tag(tag, kind, items, value[:length], position))
        return found
    except struct.error:
        return []


def packed(entries: list[Tag], place: int, layout: Layout) -> bytes:
    """A directory of these entries for the byte `place` of a file, with the values that do not fit into it."""
    inline = struct.calcsize(layout.offset)
    table, values = struct.pack(layout.head, len(entries)), b""
    after = place + len(table) + len(entries) * struct.calcsize(layout.entry) + inline
    for entry in sorted(entries, key=lambda entry: entry.tag):
        value = entry.data
        if len(value) > inline:
            values += b"\0" * (len(values) % 2)
            value, values = struct.pack(layout.offset, after + len(values)), values + value
        table += struct.pack(layout.entry, entry.tag, entry.kind, entry.count, value.ljust(inline, b"\0"))
    return table + b"\0" * inline + values  # no directory follows


def number(entry: Tag, layout: Layout) -> int:
    """The entry's first value as an integer; 0 where it is none."""
    kind = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}.get(entry.kind)
    return struct.unpack_from(layout.order + kind, entry.data)[0] if kind else 0


def _layout(blob: bytes) -> Layout | None:
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(blob[:4])
    return Layout(order) if order and len(blob) >= 8 else None


def _first(blob: bytes, layout: Layout) -> tuple[int, list[Tag]]:
    (start,) = struct.unpack_from(layout.offset, blob, 4)
    return start, directory(blob, start, layout)


def orientation(blob: bytes, xmp: bytes = b"") -> int:
    """1 to 8, as EXIF's tag has it, or else XMP; 1, upright, where nothing or something else is said."""
    layout = _layout(blob)
    if layout is not None:
        for entry in _first(blob, layout)[1]:
            if entry.tag == ORIENTATION and 1 <= number(entry, layout) <= 8:
                return number(entry, layout)
    said = XMP_ORIENTATION.search(xmp)
    return int(said[2]) if said else 1


def turned(blob: bytes, which: int) -> bytes:
    """The data for a picture turned upright: nothing moves in them, so that a maker's own notes stay readable.

    The thumbnail, which shows the picture as it was, is no longer pointed to.
    """
    layout = _layout(blob)
    if layout is None:
        return blob
    result = bytearray(blob)
    start, entries = _first(blob, layout)
    where = struct.calcsize(layout.entry) - 4  # of a value in its entry
    for entry in entries:
        if entry.tag == ORIENTATION and entry.kind == 3:
            struct.pack_into(layout.order + "H", result, entry.position + where, 1)
        if entry.tag == EXIF and which >= 5:
            _exchange(result, blob, directory(blob, number(entry, layout), layout), (WIDTH, HEIGHT), layout)
    if which >= 5:
        _exchange(result, blob, entries, (X_RESOLUTION, Y_RESOLUTION), layout)
    if entries:
        (count,) = struct.unpack_from(layout.head, blob, start)
        after = start + 2 + 12 * count
        result[after : after + 4] = b"\0" * len(result[after : after + 4])
    return bytes(result)


def _exchange(result: bytearray, blob: bytes, entries: list[Tag], tags: tuple[int, int], layout: Layout) -> None:
    """Give each of two entries the value of the other, where there are both."""
    found = {entry.tag: entry.position for entry in entries if entry.tag in tags and entry.count == 1}
    if len(found) == 2:
        for one, other in (tags, tags[::-1]):
            result[found[one] : found[one] + 12] = replace_tag(blob[found[other] :][:12], one, layout)


def replace_tag(entry: bytes, tag: int, layout: Layout) -> bytes:
    """The bytes of an entry under another tag."""
    return struct.pack(layout.order + "H", tag) + entry[2:]


def turned_xmp(xmp: bytes) -> bytes:
    """XMP that says of the picture that it is upright, if it says anything."""
    return XMP_ORIENTATION.sub(rb"\g<1>1", xmp)


def upright(array: np.ndarray, which: int) -> np.ndarray:
    """An array (..., H, W) turned as `orientation` says."""
    if which >= 5:
        array = np.swapaxes(array, -1, -2)
    down = which in (3, 4, 7, 8)
    right = which in (2, 3, 6, 7)
    return array[..., :: -1 if down else 1, :: -1 if right else 1]


def sub_directory(data: bytes, start: int, place: int, layout: Layout) -> bytes:
    """The directory at `start`, written anew for the byte `place` of another file; its pointers are left out."""
    pointers = (INTEROPERABILITY,)
    kept = [replace(entry, position=0) for entry in directory(data, start, layout) if entry.tag not in pointers]
    return packed(kept, place, layout)
