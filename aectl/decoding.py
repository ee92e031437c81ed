"""From picture files to arrays: the formats and modes that Pillow reads by itself, and what is wrong with others."""

import io
import os
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from aectl.errors import DataError, brief

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif")
# Formats that Pillow decodes by itself; others, such as EPS, would start another program.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
MAX_BYTES = 2**29  # of one file
ORIENTATION = 0x0112  # EXIF's tag
# What Pillow raises for damaged files, seen over its decoders.
UNREADABLE = (
    OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, OverflowError, struct.error,
    zlib.error, MemoryError, Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """A decoded picture, upright (its EXIF orientation applied), of an animation or a stack the first frame.

    Attributes:
        values: (C, H, W), C = 1 for grey and 3 for colour; uint8, or float32 in [0, 1] where the file holds more
            than 8 bits for a value.
        alpha: (H, W), uint8, or None.
        mode, format: Pillow's names of the file's mode and format.
    """

    values: np.ndarray
    alpha: np.ndarray | None
    mode: str
    format: str

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.values.shape[1:]

    def floats(self) -> np.ndarray:
        """The values as float32 in [0, 1], (C, H, W)."""
        if self.values.dtype == np.uint8:
            return self.values.astype(np.float32) / 255
        return self.values


@dataclass(frozen=True)
class Entry:
    """A picture's place: a file, or a member of a zip.

    Attributes:
        name: its path below the folder or in the zip, with `/`.
        path: the file, or the member's name in `archive`.
        size, changed: bytes, and when it was last written (ns, or the zip's own stamp), to notice another content.
    """

    name: str
    path: str
    archive: zipfile.ZipFile | None
    size: int
    changed: int

    def read(self) -> bytes:
        """The bytes of the file; nothing but a regular file is opened.

        Raises:
            DataError: it is none, too large, or cannot be read.
        """
        if self.size > MAX_BYTES:
            raise DataError(f"is larger than {MAX_BYTES // 2**20} MiB")
        try:
            if self.archive is not None:
                with self.archive.open(self.path) as file:
                    data = file.read(MAX_BYTES + 1)
            else:
                path = Path(self.path)
                if not path.is_file():  # a FIFO would block whoever opens it
                    raise DataError("is not a file, or a link that leads nowhere")
                with path.open("rb") as file:
                    data = file.read(MAX_BYTES + 1)
        except (OSError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
            raise DataError(f"cannot be read ({brief(error)})") from None
        if len(data) > MAX_BYTES:
            raise DataError(f"is larger than {MAX_BYTES // 2**20} MiB")
        return data


def listing(root: Path, key: str = "dataset.root") -> list[Entry]:
    """The pictures below a folder, or in a zip, by their suffix and in the order of their names.

    Hidden files and folders are passed over, and links to folders are not followed. `key` is the setting that named
    the folder.

    Raises:
        DataError: there is no such folder or zip, or no picture in it.
    """
    if root.is_dir():
        found = list(_files(root))
    elif root.is_file() and zipfile.is_zipfile(root):
        found = list(_members(root, key))
    else:
        what = "is neither a folder nor a zip" if root.exists() else "no such folder, and no zip either"
        hint = "; dataset=array takes NumPy files" if root.suffix in (".npy", ".npz") else ""
        raise DataError(f"{key}={root}: {what}{hint}")
    if not found:
        raise DataError(f"{key}={root}: has no pictures ({', '.join(SUFFIXES)})")
    return sorted(found, key=lambda entry: entry.name)


def entries(root: Path, key: str) -> list[Entry]:
    """The picture itself, whatever its suffix, or `listing` of a folder or zip."""
    if root.is_file() and not root.name.lower().endswith(".zip"):
        status = root.stat()
        return [Entry(root.name, str(root), None, status.st_size, status.st_mtime_ns)]
    return listing(root, key)


def _is_picture(parts: tuple[str, ...]) -> bool:
    return parts[-1].lower().endswith(SUFFIXES) and not any(map(_is_hidden, parts))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _files(root: Path) -> Iterator[Entry]:
    # With plain strings: Path objects would take four fifths of the time that 200,000 pictures take.
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not _is_hidden(name)]
        below = Path(folder).relative_to(root).parts
        for name in names:
            if _is_picture((name,)):
                path = os.path.join(folder, name)  # noqa: PTH118
                try:
                    status = os.stat(path)  # noqa: PTH116
                    size, changed = status.st_size, status.st_mtime_ns
                except OSError:  # such as a link that leads nowhere; reading it says so
                    size, changed = 0, 0
                yield Entry("/".join((*below, name)), path, None, size, changed)


def _members(root: Path, key: str) -> Iterator[Entry]:
    try:
        archive = zipfile.ZipFile(root)  # open as long as an entry of it is
        for member in archive.infolist():
            parts = tuple(part for part in member.filename.split("/") if part)
            if parts and not member.is_dir() and _is_picture(parts):
                yield Entry("/".join(parts), member.filename, archive, member.file_size, member.CRC)
    except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
        raise DataError(f"{key}={root}: cannot be read as a zip ({brief(error)})") from None


def to_image(pixels: np.ndarray) -> Image.Image:
    """The other way: a Pillow image of (C, H, W), uint8, grey for one channel, RGB for three."""
    return Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0).copy())


def decode(data: bytes) -> Picture:
    """The picture in the bytes of a file.

    16 bits keep their range, 0 to 65535 becoming 0 to 1. Floats are taken as they are where they lie in [0, 1], and
    divided by 255 or 65535 where they lie in that range.

    Raises:
        DataError: why it cannot be used; without the file's name, which the caller knows.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as of damaged EXIF, which is not needed
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=FORMATS) as file:
                mode, kind = file.mode, file.format
                return Picture(*_converted(ImageOps.exif_transpose(file), mode), mode, kind)
    except UNREADABLE as error:
        raise DataError(f"cannot be read as a picture ({brief(error)})") from None


def header(data: bytes) -> tuple[bool, tuple[int, int]]:
    """Whether the file keeps colours, and its upright (height, width), without decoding its pixels.

    Raises:
        DataError: as `decode` does.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=FORMATS) as file:
                width, height = file.size
                # Of a TIFF, Pillow's own size is upright already.
                turned = file.format != "TIFF" and file.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
                colour = not (file.mode in ("1", "L", "LA", "I", "F") or file.mode.startswith("I;16"))
                return colour, ((width, height) if turned else (height, width))
    except UNREADABLE as error:
        raise DataError(f"cannot be read as a picture ({brief(error)})") from None


def _converted(image: Image.Image, mode: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Values and alpha."""
    if mode.startswith("I;16") or mode in ("I", "F"):
        return _deep(np.asarray(image), mode)[None], None
    if mode in ("1", "L"):
        return np.asarray(image.convert("L"))[None].copy(), None
    alpha = "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info
    if mode == "LA":
        grey, opacity = np.asarray(image).transpose(2, 0, 1)
        return grey[None].copy(), opacity.copy()
    if mode not in ("P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "La", "CMYK", "YCbCr", "LAB", "HSV"):
        raise DataError(f"is in mode {mode}, which is not supported")
    channels = np.asarray(image.convert("RGBA" if alpha else "RGB")).transpose(2, 0, 1)
    return channels[:3].copy(), channels[3].copy() if alpha else None


def _deep(array: np.ndarray, mode: str) -> np.ndarray:
    """Grey values of more than 8 bits as float32 in [0, 1]."""
    values = array.astype(np.float32)
    if not np.isfinite(values).all():
        raise DataError("has values that are not finite")
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    scales = (1.0, 255.0, 65535.0) if mode == "F" else (65535.0,)
    scale = next((scale for scale in scales if high <= scale), None)
    if low < 0 or scale is None:
        raise DataError(f"has values from {low:g} to {high:g}, outside 0 to {scales[-1]:g}")
    return values / np.float32(scale)
