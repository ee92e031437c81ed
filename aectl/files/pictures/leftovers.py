"""What a file holds beside its picture that a cleaned one will not: bytes after its end, parts of others' own.

JPEG: ITU T.81, annex B. PNG: W3C PNG, section 5. GIF: GIF89a, sections 11 to 27. WebP: RFC 9649.
"""

import re
import struct

from aectl.files.pictures import containers

# The next marker in a scan: what is not a stuffed zero, a restart or padding.
NEXT_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")
GIF_KNOWN = (b"NETSCAPE2.0", b"ANIMEXTS1.0")
WEBP_KNOWN = frozenset((b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP", b"EXIF", b"XMP "))
AFTER = "data after its end"


def of(data: bytes, kind: str) -> str:
    """In words, for a file of Pillow's format `kind`; empty where nothing is left."""
    finders = {"JPEG": _of_jpeg, "PNG": _of_png, "GIF": _of_gif, "WEBP": _of_webp}
    try:
        return finders[kind](data) if kind in finders else ""
    except (struct.error, IndexError):  # cut off, which decoding says or forgives
        return ""


def _beyond(data: bytes, end: int) -> str:
    return AFTER if data[end:].strip(b"\0\r\n \xff") else ""


def _of_jpeg(data: bytes) -> str:
    place = 2 + sum(4 + len(content) for _, content in containers.jpeg_segments(data))
    while (found := NEXT_MARKER.search(data, place)) is not None:
        if found[1] == b"\xd9":
            return _beyond(data, found.end())
        (length,) = struct.unpack_from(">H", data, found.end())
        place = found.end() + length
    return ""


def _of_png(data: bytes) -> str:
    end = len(containers.PNG_SIGNATURE)
    for name, content in containers.png_chunks(data):
        end += 12 + len(content)
        if name == b"IEND":
            return _beyond(data, end)
    return ""


def _of_webp(data: bytes) -> str:
    (size,) = struct.unpack_from("<I", data, 4)
    unknown = sorted(set(containers.webp_chunks(data[: 8 + size])) - WEBP_KNOWN)
    if unknown:
        return f"a part of its own, {unknown[0].decode('ascii', 'replace')}"
    return _beyond(data, 8 + size + size % 2)


def _of_gif(data: bytes) -> str:
    place = 13 + (3 * 2 ** ((data[10] & 7) + 1) if data[10] & 0x80 else 0)
    while data[place] != 0x3B:
        if data[place] == 0x21:
            if data[place + 1] == 0xFF and data[place + 3 : place + 14] not in GIF_KNOWN:
                return f"an extension, {data[place + 3 : place + 14].decode('ascii', 'replace')}"
            place += 2
        else:
            flags = data[place + 9]
            place += 11 + (3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0)
        while data[place]:
            place += 1 + data[place]
        place += 1
    return _beyond(data, place + 1)
