"""From cleaned pictures to files like the ones that they came in: format, mode, depth and all that is not pixels.

`docs/pictures.md` says what is kept of what.
"""

import io
import struct
from collections.abc import Callable, Sequence

import imagecodecs
import numpy as np
from PIL import Image, JpegImagePlugin

from aectl.errors import DataError, brief
from aectl.files.pictures import containers, exif, fitting, palettes, tiff_writing
from aectl.files.pictures.reading import Picture

LOSSY_WEBP = 95  # a WebP does not hold the quality that it was made with


def encode(pictures: Sequence[Picture], original: bytes) -> bytes:
    """The bytes of a file like `original`, which the pictures, one for each page or frame, were decoded from.

    Raises:
        DataError: what stands beside the pixels there cannot be written.
    """
    picture = pictures[0]
    try:
        if picture.format == "TIFF":
            return tiff_writing.write(pictures, original)
        return ENCODERS[picture.format](pictures, original)
    except DataError:
        raise
    except (OSError, ValueError, LookupError, TypeError, RuntimeError, struct.error) as error:
        raise DataError(f"cannot be written again as {picture.format} ({brief(error)})") from None


def _motion(images: Sequence[Image.Image], original: bytes) -> dict[str, object]:
    """What Pillow wants to know to write the first of the images, and the others after it, each for its time."""
    if len(images) == 1:
        return {}
    times = []
    with Image.open(io.BytesIO(original), formats=("PNG", "WEBP", "GIF")) as file:
        for index in range(len(images)):
            file.seek(index)
            file.load()
            times.append(file.info.get("duration", 0))
        options = {key: file.info[key] for key in ("loop", "background") if key in file.info}
        kind = file.format
    if kind != "WEBP":  # each frame is whole: it takes the place of the one before, clear where it is clear
        options.pop("background", None)
        options["disposal"] = 2 if kind == "GIF" else 0
    return {"save_all": True, "append_images": list(images[1:]), "duration": times, **options}


def _png(pictures: Sequence[Picture], original: bytes) -> bytes:
    picture = pictures[0]
    if picture.levels.dtype == np.uint16:
        planes = list(picture.levels.to_file(picture.values))
        planes += [] if picture.alpha is None else [picture.alpha]
        new = imagecodecs.png_encode(planes[0] if len(planes) == 1 else np.stack(planes, axis=-1))
    elif picture.mode == "P":
        new = _saved(_with_palette(picture), "PNG")
    else:
        images = [_in_its_mode(frame) for frame in pictures]
        new = _saved(images[0], "PNG", **_motion(images, original))
    return containers.like_png(new, original)


def _jpeg(pictures: Sequence[Picture], original: bytes) -> bytes:
    """With the original's own tables of quantisation, which are what its quality is."""
    (picture,) = pictures
    with Image.open(io.BytesIO(original), formats=("JPEG",)) as file:
        options = {"qtables": file.quantization, "progressive": bool(file.info.get("progressive"))}
        sampling = JpegImagePlugin.get_sampling(file)
        if picture.mode == "RGB":
            options["subsampling"] = sampling if sampling >= 0 else 0
            options["keep_rgb"] = file.info.get("adobe_transform") == 0
    return containers.like_jpeg(_saved(_in_its_mode(picture), "JPEG", **options), original)


def _webp(pictures: Sequence[Picture], original: bytes) -> bytes:
    chunks = containers.webp_chunks(original)
    which = containers.orientation_of_webp(original)
    lossless = b"VP8L" in chunks or b"VP8L" in chunks.get(b"ANMF", b"")[16:20]  # of the first frame
    images = [_in_its_mode(picture) for picture in pictures]
    return _saved(
        images[0], "WEBP", exact=True, icc_profile=chunks.get(b"ICCP", b""),
        exif=exif.turned(containers.exif_of_webp(chunks), which), xmp=exif.turned_xmp(chunks.get(b"XMP ", b"")),
        **({"lossless": True} if lossless else {"quality": LOSSY_WEBP}), **_motion(images, original),
    )  # fmt: skip


def _gif(pictures: Sequence[Picture], original: bytes) -> bytes:
    with Image.open(io.BytesIO(original), formats=("GIF",)) as file:
        comment = file.info.get("comment")
    options = {"comment": comment} if comment else {}
    if all(picture.mode == "L" and picture.alpha is None and len(picture.values) == 1 for picture in pictures):
        images = [_in_its_mode(picture) for picture in pictures]
    else:
        images = [_with_palette(picture, one_clear=True) for picture in pictures]
    for image in images:
        clear = image.info.pop("transparency", None)
        if clear is not None:
            image.info["transparency"] = clear.index(0)
    return _saved(images[0], "GIF", optimize=False, **options, **_motion(images, original))


def _bmp(pictures: Sequence[Picture], original: bytes) -> bytes:
    """True colours into the original's own place for them, whatever its header; others by Pillow."""
    (picture,) = pictures
    start, _, width, height = struct.unpack_from("<IIii", original, 10)
    bits, packing = struct.unpack_from("<HI", original, 28)
    if bits in (24, 32) and width == picture.size[1] and abs(height) == picture.size[0] and packing in (0, 3):
        order = _bmp_order(original, bits, packing)
        if order is not None:
            step = bits // 8
            stride = (width * step + 3) // 4 * 4
            rows = np.frombuffer(original, np.uint8, stride * abs(height), start).reshape(abs(height), stride).copy()
            pixels = rows[:, : width * step].reshape(abs(height), width, step)
            for plane, place in zip(picture.values, order, strict=True):
                pixels[..., place] = plane[::-1] if height > 0 else plane
            rows[:, : width * step] = pixels.reshape(abs(height), -1)
            return original[:start] + rows.tobytes() + original[start + rows.size :]
    with Image.open(io.BytesIO(original), formats=("BMP",)) as file:
        options = {"dpi": file.info["dpi"]} if "dpi" in file.info else {}
    image = _with_palette(picture) if picture.mode == "P" else _in_its_mode(picture)
    return _saved(image, "BMP", **options)


def _bmp_order(data: bytes, bits: int, packing: int) -> tuple[int, int, int] | None:
    """Which bytes of a pixel are red, green and blue; None where they are no whole bytes."""
    if packing == 0:
        return (2, 1, 0)
    masks = {0xFF: 0, 0xFF00: 1, 0xFF0000: 2, 0xFF000000: 3}
    order = tuple(masks.get(mask) for mask in struct.unpack_from("<III", data, 54))
    return order if bits == 32 and None not in order else None


ENCODERS: dict[str, Callable[[Sequence[Picture], bytes], bytes]] = {
    "PNG": _png, "JPEG": _jpeg, "MPO": _jpeg, "WEBP": _webp, "GIF": _gif, "BMP": _bmp,
}  # fmt: skip


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _with_palette(picture: Picture, *, one_clear: bool = False) -> Image.Image:
    """A Pillow image in mode P, with the opacity of each colour as its `transparency`."""
    index, table = palettes.indexed(picture, one_clear=one_clear)
    image = Image.frombytes("P", index.shape[::-1], index.tobytes())
    image.putpalette(table[:, :3].tobytes())
    if table.shape[1] == 4 and table[:, 3].min() < 255:
        image.info["transparency"] = table[:, 3].tobytes()
    return image


def _in_its_mode(picture: Picture) -> Image.Image:
    """A Pillow image of 8 bits in the picture's own mode, or with alpha in the one that has it."""
    planes = list(fitting.to_8_bits(picture.values))
    if picture.mode == "CMYK":
        return Image.merge("CMYK", [Image.fromarray(255 - plane) for plane in planes])
    if picture.alpha is not None and picture.transparent:
        planes.append(picture.alpha)
    image = Image.merge({1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[len(planes)], [Image.fromarray(p) for p in planes])
    return image.convert("1", dither=Image.Dither.NONE) if picture.mode == "1" else image
