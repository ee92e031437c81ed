"""The parts that PNG, JPEG and WebP files are made of, so that all but the pixels can go into another file.

PNG: chunks (W3C PNG, section 5). JPEG: marker segments (ITU T.81, annex B). WebP: RIFF chunks (RFC 9649).
"""

import struct
import zlib
from collections.abc import Iterator

from aectl.files.pictures import exif

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Chunks that say what colours mean, how large a pixel is, or something in words. Others are kept where their name
# says that they do not depend on the pixels (its fourth letter is small).
PNG_KEPT = frozenset(
    (b"cHRM", b"gAMA", b"iCCP", b"sRGB", b"cICP", b"mDCV", b"cLLI", b"oFFs", b"pCAL", b"sCAL", b"sTER")
)
XMP_IN_PNG = b"XML:com.adobe.xmp\0"
EXIF_IN_JPEG, XMP_IN_JPEG = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"


# ---------------------------------------------------------------------------------------------- PNG


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and content of each chunk, up to the first that is cut off."""
    place = len(PNG_SIGNATURE)
    while place + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, place)
        content = data[place + 8 : place + 8 + length]
        if len(content) < length:
            return
        yield name, content
        place += 12 + length


def like_png(new: bytes, original: bytes) -> bytes:
    """A PNG with the pixels of `new` and everything else of `original`, for a picture that was turned upright."""
    which = orientation_of_png(original)
    kept = []
    for name, content in png_chunks(original):
        if name == b"eXIf":
            content = exif.turned(content, which)
        elif name == b"iTXt" and content.startswith(XMP_IN_PNG):
            content = exif.turned_xmp(content)
        elif name == b"pHYs" and which >= 5:
            content = content[4:8] + content[:4] + content[8:]
        if name in PNG_KEPT or (name[3:4].islower() and name[0:1].islower()):
            kept.append((name, content))
    mine = {name for name, _ in kept}
    first, *rest = ((name, content) for name, content in png_chunks(new) if name not in mine)
    return PNG_SIGNATURE + b"".join(_png_chunk(*chunk) for chunk in (first, *kept, *rest))


def _png_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def orientation_of_png(data: bytes) -> int:
    """As `exif.orientation`."""
    blob, xmp = b"", b""
    for name, content in png_chunks(data):
        if name == b"eXIf":
            blob = content
        elif name == b"iTXt" and content.startswith(XMP_IN_PNG):
            xmp = content
    return exif.orientation(blob, xmp)


# --------------------------------------------------------------------------------------------- JPEG


def jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and content of each segment before the first scan."""
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:  # padding
            place += 1
            continue
        (length,) = struct.unpack_from(">H", data, place + 2)
        if marker == 0xDA or length < 2:
            return
        yield marker, data[place + 4 : place + 2 + length]
        place += 2 + length


def like_jpeg(new: bytes, original: bytes) -> bytes:
    """A JPEG with the pixels of `new` and everything else of `original`, for a picture that was turned upright.

    Of a file with several pictures (MPF) the list of the others is left out.
    """
    which = orientation_of_jpeg(original)
    head, kept = b"", []
    for marker, content in jpeg_segments(original):
        if marker == 0xE0 and content.startswith(b"JFIF\0"):
            density = content[10:12] + content[8:10] if which >= 5 else content[8:12]
            head = _segment(0xE0, content[:8] + density + b"\0\0")  # without its thumbnail
        elif marker == 0xE1 and content.startswith(EXIF_IN_JPEG):
            kept.append(_segment(marker, EXIF_IN_JPEG + exif.turned(content[6:], which)))
        elif marker == 0xE1 and content.startswith(XMP_IN_JPEG):
            kept.append(_segment(marker, exif.turned_xmp(content)))
        elif marker == 0xFE or (0xE1 <= marker <= 0xEF and marker != 0xEE and not content.startswith(b"MPF\0")):
            kept.append(_segment(marker, content))
    place = 2
    for marker, content in jpeg_segments(new):
        if marker != 0xE0:
            break
        place += 4 + len(content)
    return new[:2] + (head or new[2:place]) + b"".join(kept) + new[place:]


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def orientation_of_jpeg(data: bytes) -> int:
    """As `exif.orientation`."""
    blob, xmp = b"", b""
    for marker, content in jpeg_segments(data):
        if marker == 0xE1 and content.startswith(EXIF_IN_JPEG):
            blob = blob or content[len(EXIF_IN_JPEG) :]
        elif marker == 0xE1 and content.startswith(XMP_IN_JPEG):
            xmp = content
    return exif.orientation(blob, xmp)


# --------------------------------------------------------------------------------------------- WebP


def webp_chunks(data: bytes) -> dict[bytes, bytes]:
    """The content of each chunk by its name; of several with one name the first."""
    found: dict[bytes, bytes] = {}
    place = 12
    while place + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, place)
        found.setdefault(name, data[place + 8 : place + 8 + length])
        place += 8 + length + length % 2
    return found


def exif_of_webp(chunks: dict[bytes, bytes]) -> bytes:
    """The EXIF data, which some programs begin as JPEG has them."""
    return chunks.get(b"EXIF", b"").removeprefix(EXIF_IN_JPEG)


def orientation_of_webp(data: bytes) -> int:
    """As `exif.orientation`."""
    chunks = webp_chunks(data)
    return exif.orientation(exif_of_webp(chunks), chunks.get(b"XMP ", b""))


ORIENTATIONS = {
    "PNG": orientation_of_png, "JPEG": orientation_of_jpeg, "MPO": orientation_of_jpeg, "WEBP": orientation_of_webp,
}  # fmt: skip
