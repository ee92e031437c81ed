"""Strange pictures: each entry makes one kind of file, or what looks like one, in a folder."""

import io
import os
import pickle
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (28, 28), dtype=np.uint8)


class Payload:
    """A pickle that would make a folder named `canary` in the working folder if anything opened it."""

    def __reduce__(self):
        return os.mkdir, ("canary",)


def encoded(kind: str, mode: str = "L", size: tuple[int, int] = (28, 28), **options) -> bytes:
    """A picture in a file format and a mode."""
    buffer = io.BytesIO()
    Image.fromarray(GREY).resize(size).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def png_with(width: int, height: int, depth: int = 8, colour: int = 0) -> bytes:
    """A PNG whose header claims a size that its data have not."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 99))
        + chunk(b"IEND", b"")
    )


def png_text_bomb() -> bytes:
    """A PNG with a compressed text of 80 MB."""
    data = b"Comment\0\0" + zlib.compress(b"a" * 80_000_000, 9)
    chunk = struct.pack(">I", len(data)) + b"zTXt" + data + struct.pack(">I", zlib.crc32(b"zTXt" + data))
    good = encoded("PNG")
    return good[:33] + chunk + good[33:]


def flipped(data: bytes, position: int) -> bytes:
    """One bit changed."""
    damaged = bytearray(data)
    damaged[position % len(damaged)] ^= 16
    return bytes(damaged)


def sixteen_bit(mode: str) -> bytes:
    """A TIFF with deep pixels; NaN among the floats."""
    array = GREY.astype({"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode])
    if mode == "F":
        array[3, 3] = np.nan
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "TIFF")
    return buffer.getvalue()


def with_orientation(value: int) -> bytes:
    """A JPEG with an EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = value
    return encoded("JPEG", exif=exif.tobytes())


def deep(suffix: str) -> bytes:
    """A picture of 16 bits in colour, which Pillow would bring down to 8."""
    array = np.repeat(GREY[..., None].astype(np.uint16) * 257, 3, axis=2)
    if suffix == "png":
        return imagecodecs.png_encode(array)
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, photometric="rgb", compression="lzw", predictor=True, metadata=None)
    return buffer.getvalue()


def naming_another_file() -> bytes:
    """An OME-TIFF whose second plane lies in another file, here in one that must not be opened."""
    words = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
        '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="28" SizeY="28" SizeZ="2" SizeC="1" '
        'SizeT="1"><TiffData FirstZ="0" IFD="0"><UUID FileName="a.tif">urn:uuid:0</UUID></TiffData><TiffData '
        'FirstZ="1" IFD="0"><UUID FileName="/etc/hostname">urn:uuid:1</UUID></TiffData></Pixels></Image></OME>'
    )
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, GREY, photometric="minisblack", description=words, metadata=None)
    return buffer.getvalue()


def animated(kind: str) -> bytes:
    """Three frames or pages."""
    frames = [Image.fromarray(np.roll(GREY, shift, 1)) for shift in range(3)]
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


FILES: dict[str, tuple[str, bytes]] = {
    "empty": ("a.png", b""),
    "one byte": ("a.png", b"x"),
    "text": ("a.png", b"hello\n"),
    "html": ("a.jpg", b"<!doctype html><title>404</title>"),
    "git-lfs pointer": ("a.png", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n"),
    "eps": ("a.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 28 28\nshowpage\n"),
    "svg": ("a.png", b"<svg xmlns='http://www.w3.org/2000/svg' width='28' height='28'/>"),
    "pickle": ("a.png", pickle.dumps(Payload())),
    "zip": ("a.png", b"PK\x03\x04" + b"\0" * 40),
    "png signature": ("a.png", b"\x89PNG\r\n\x1a\n"),
    "gif header": ("a.gif", b"GIF89a\x1c\x00\x1c\x00"),
    "png 2^31-1 wide": ("a.png", png_with(2**31 - 1, 1)),
    "png of 100 megapixels": ("a.png", png_with(10_000, 10_000)),
    "png of 200 megapixels": ("a.png", png_with(20_000, 10_000)),
    "png of no width": ("a.png", png_with(0, 28)),
    "png with too few rows": ("a.png", png_with(28, 28)),
    "png text bomb": ("a.png", png_text_bomb()),
    "png checksum": ("a.png", flipped(encoded("PNG"), 30)),
    "png data bit": ("a.png", flipped(encoded("PNG"), 60)),
    "one pixel": ("a.png", encoded("PNG", size=(1, 1))),
    "animated gif": ("a.gif", animated("GIF")),
    "animated webp": ("a.webp", animated("WEBP")),
    "pages of tiff": ("a.tiff", animated("TIFF")),
    "jpeg named png": ("a.png", encoded("JPEG")),
    "png named jpg": ("a.jpg", encoded("PNG")),
    "upper case": ("A.PNG", encoded("PNG")),
    "tiff with 16 bits": ("a.tif", sixteen_bit("I;16")),
    "tiff with 32 bits": ("a.tif", sixteen_bit("I")),
    "tiff of floats with NaN": ("a.tif", sixteen_bit("F")),
    "name with spaces": ("a  b .png", encoded("PNG")),
    "name with quotes": ("a'\"`$(x).png", encoded("PNG")),
    "name with a newline": ("a\nb.png", encoded("PNG")),
    "name with an escape": ("a\x1b[31mb.png", encoded("PNG", size=(3, 3))),
    "name with emoji": ("🦊.png", encoded("PNG")),
    "name that is not UTF-8": (os.fsdecode(b"a\xff.png"), encoded("PNG")),
    "long name": ("a" * 240 + ".png", encoded("PNG")),
    "hidden": (".DS_Store", b"\0\0\0\1Bud1"),
    "no extension": ("picture", encoded("PNG")),
}
for _kind, _suffix in (
    ("PNG", "png"),
    ("JPEG", "jpg"),
    ("WEBP", "webp"),
    ("BMP", "bmp"),
    ("TIFF", "tif"),
    ("GIF", "gif"),
):
    _data = encoded(_kind)
    FILES[f"whole {_kind}"] = (f"a.{_suffix}", _data)
    FILES[f"truncated {_kind}"] = (f"a.{_suffix}", _data[: len(_data) // 2])
    FILES[f"{_kind} header"] = (f"a.{_suffix}", _data[:20])
    FILES[f"flipped {_kind}"] = (f"a.{_suffix}", flipped(_data, len(_data) // 3))
for _suffix in ("png", "tif"):
    _data = deep(_suffix)
    FILES[f"{_suffix} of 16 bits in colour"] = (f"a.{_suffix}", _data)
    FILES[f"truncated {_suffix} of 16 bits"] = (f"a.{_suffix}", _data[: len(_data) // 2])
    FILES[f"flipped {_suffix} of 16 bits"] = (f"a.{_suffix}", flipped(_data, len(_data) // 3))
FILES["animated png"] = ("a.png", animated("PNG"))
FILES["pictures of a phone"] = ("a.jpg", animated("MPO"))
FILES["tiff that names another file"] = ("a.tif", naming_another_file())
for _mode in ("1", "LA", "P", "RGB", "RGBA"):
    FILES[f"png in mode {_mode}"] = ("a.png", encoded("PNG", _mode))
FILES["jpeg in CMYK"] = ("a.jpg", encoded("JPEG", "CMYK"))
FILES["tiff in LAB"] = ("a.tif", encoded("TIFF", "RGB"))
for _value in (1, 2, 3, 4, 5, 6, 7, 8, 99):
    FILES[f"exif orientation {_value}"] = ("a.jpg", with_orientation(_value))


def fifo(folder: Path) -> None:
    os.mkfifo(folder / "a.png")


def dangling_link(folder: Path) -> None:
    (folder / "a.png").symlink_to("nowhere")


def link_to_itself(folder: Path) -> None:
    (folder / "a.png").symlink_to("a.png")


def link_to_its_folder(folder: Path) -> None:
    (folder / "a.png").symlink_to(folder)


def link_to_a_device(folder: Path) -> None:
    (folder / "a.png").symlink_to("/dev/zero")


def folder_named_png(folder: Path) -> None:
    (folder / "a.png").mkdir()


def nothing(folder: Path) -> None:
    """An empty folder."""


def sparse_file(folder: Path) -> None:
    with (folder / "a.png").open("wb") as file:
        file.write(encoded("PNG")[:60])
        file.truncate(2**33)


OTHERS: dict[str, Callable[[Path], None]] = {
    function.__name__.replace("_", " "): function
    for function in (
        fifo, dangling_link, link_to_itself, link_to_its_folder, link_to_a_device, folder_named_png, nothing,
        sparse_file,
    )
}  # fmt: skip


def make(name: str, folder: Path) -> None:
    """Put the kind of that name into a folder."""
    if name in OTHERS:
        OTHERS[name](folder)
    else:
        filename, data = FILES[name]
        (folder / filename).write_bytes(data)


KINDS = [*FILES, *OTHERS]
