"""What `aectl denoise` keeps of a file, cell by cell of docs/pictures.md, with a network that returns its input."""

import io
import struct
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from conftest import clean_process
from PIL import Image, ImageCms, ImageOps, ImageSequence, JpegImagePlugin, PngImagePlugin

from aectl.cli import main
from aectl.files.pictures import decoding

ROOT = Path(__file__).resolve().parents[2]
RNG = np.random.default_rng(0)
H, W = 30, 41
RGBA8 = RNG.integers(0, 256, (H, W, 4), dtype=np.uint8)
RGBA16 = RNG.integers(0, 65536, (H, W, 4), dtype=np.uint16)
DARK16 = RNG.integers(0, 200, (H, W, 3), dtype=np.uint16)
FLOATS = RNG.random((H, W, 3), dtype=np.float32)
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6" dc:title="t"/></x:xmpmeta>'
SMOOTH = (np.add.outer(np.arange(H), np.arange(W))[..., None] * [1, 2, 3]).astype(np.uint8)


def exif(orientation: int) -> bytes:
    """EXIF with a directory of its own, GPS and a maker's note."""
    found = Image.Exif()
    found[0x010F], found[0x0112] = "Maker", orientation
    found.get_ifd(0x8769).update({0x829A: 0.25, 0xA002: W, 0xA003: H, 0x927C: b"\0\1note\xff"})
    found.get_ifd(0x8825).update({1: "N"})
    return found.tobytes()


def saved(array: np.ndarray | Image.Image, kind: str, mode: str | None = None, **options) -> bytes:
    buffer = io.BytesIO()
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    (image if mode is None else image.convert(mode)).save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(*pages: np.ndarray, **options) -> bytes:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, bigtiff=options.pop("bigtiff", False)) as writer:
        for page in pages:
            writer.write(page, metadata=None, **options)
    return buffer.getvalue()


def with_exif_directory(**options) -> bytes:
    """A TIFF with EXIF in a directory of its own, as Pillow writes it from a camera's JPEG."""
    with Image.open(io.BytesIO(saved(RGBA8[..., :3], "JPEG", exif=exif(1)))) as photo:
        found = photo.getexif()
        found.get_ifd(0x8769)
        return saved(RGBA8[..., :3], "TIFF", exif=found, **options)


def png_info() -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_text("Title", "a title")
    info.add_itxt("Comment", "ein Gruß", zip=True)
    info.add_itxt("XML:com.adobe.xmp", XMP.decode())
    info.add(b"gAMA", struct.pack(">I", 45455))
    info.add(b"sBIT", b"\5\5\5")
    return info


def bmp32(packing: int) -> bytes:
    """32 bits with a fourth byte that is alpha: in a plain header, or in a version 4 header with masks."""
    rows = np.ascontiguousarray(RGBA8[::-1, :, [2, 1, 0, 3]]).tobytes()
    size = 108 if packing else 40
    head = struct.pack("<IiiHHIIiiII", size, W, H, 1, 32, packing, len(rows), 11811, 11811, 0, 0)
    if packing:
        head += struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + b"BGRs" + bytes(48)
    return struct.pack("<2sIHHI", b"BM", 14 + len(head) + len(rows), 0, 0, 14 + len(head)) + head + rows


def palette_with_alpha() -> Image.Image:
    image = Image.fromarray(RGBA8[..., :3]).quantize(200)
    image.info["transparency"] = bytes(range(0, 200)) + b"\xff" * 56
    return image


def gif_with_a_hole(**options) -> bytes:
    return saved(Image.fromarray(RGBA8[..., :3]).quantize(100), "GIF", transparency=7, comment=b"hello", **options)


META = {"icc_profile": ICC, "dpi": (300, 300), "exif": exif(1)}
# Lossless: each is the same after as before, pixel for pixel, in the file's own values.
LOSSLESS: dict[str, bytes] = {
    "grey.png": saved(RGBA8[..., 0], "PNG", **META),
    "bilevel.png": saved(RGBA8[..., 0], "PNG", "1", dpi=(300, 300)),
    "grey alpha.png": saved(RGBA8, "PNG", "LA"),
    "colour.png": saved(RGBA8[..., :3], "PNG", pnginfo=png_info(), **META),
    "colour alpha.png": saved(RGBA8, "PNG", **META),
    "palette.png": saved(Image.fromarray(RGBA8[..., :3]).quantize(256), "PNG", **META),
    "palette of 5.png": saved(Image.fromarray(RGBA8[..., :3]).quantize(5), "PNG"),
    "palette alpha.png": saved(palette_with_alpha(), "PNG"),
    "one clear grey.png": saved(RGBA8[..., 0] >> 3, "PNG", transparency=3),
    "one clear colour.png": saved(RGBA8[..., :3] >> 6, "PNG", transparency=(1, 2, 3)),
    "grey 16.png": imagecodecs.png_encode(RGBA16[..., 0].copy()),
    "grey alpha 16.png": imagecodecs.png_encode(RGBA16[..., :2].copy()),
    "colour 16.png": imagecodecs.png_encode(RGBA16[..., :3].copy()),
    "dark 16.png": imagecodecs.png_encode(DARK16),
    "colour alpha 16.png": imagecodecs.png_encode(RGBA16),
    "colour.webp": saved(RGBA8[..., :3], "WEBP", lossless=True, icc_profile=ICC, exif=exif(1), xmp=XMP),
    "alpha.webp": saved(RGBA8, "WEBP", lossless=True, exact=True),
    "grey.bmp": saved(RGBA8[..., 0], "BMP", dpi=(300, 300)),
    "bilevel.bmp": saved(RGBA8[..., 0], "BMP", "1", dpi=(300, 300)),
    "palette.bmp": saved(Image.fromarray(RGBA8[..., :3]).quantize(256), "BMP", dpi=(300, 300)),
    "colour.bmp": saved(RGBA8[..., :3], "BMP", dpi=(300, 300)),
    "alpha.bmp": bmp32(3),
    "fourth byte.bmp": bmp32(0),
    "palette.gif": saved(Image.fromarray(RGBA8[..., :3]).quantize(256), "GIF", comment=b"hello"),
    "grey.gif": saved(RGBA8[..., 0], "GIF", optimize=False),
    "hole.gif": gif_with_a_hole(),
    "bilevel g4.tif": saved(RGBA8[..., 0], "TIFF", "1", compression="group4", dpi=(300, 300)),
    "bilevel.tif": saved(RGBA8[..., 0], "TIFF", "1", compression="packbits"),
    "grey.tif": saved(RGBA8[..., 0], "TIFF", **META),
    "grey alpha.tif": saved(RGBA8, "TIFF", "LA", compression="tiff_lzw"),
    "colour.tif": saved(RGBA8[..., :3], "TIFF", compression="tiff_lzw", icc_profile=ICC, dpi=(300, 300),
                        description="a scan", software="a scanner", artist="someone"),
    "exif.tif": with_exif_directory(dpi=(72, 72)),
    "colour alpha.tif": saved(RGBA8, "TIFF", compression="tiff_deflate"),
    "palette.tif": saved(Image.fromarray(RGBA8[..., :3]).quantize(256), "TIFF", compression="packbits"),
    "inks.tif": saved(RGBA8[..., :3], "TIFF", "CMYK", compression="zstd"),
    "lab.tif": saved(Image.frombytes("LAB", (W, H), RGBA8[..., :3].tobytes()), "TIFF"),
    "grey 4.tif": tiff(RGBA8[..., 0] >> 4, bitspersample=4, photometric="minisblack"),
    "grey 12.tif": tiff(RGBA16[..., 0] >> 4, bitspersample=12, photometric="minisblack"),
    "grey 16.tif": tiff(RGBA16[..., 0], photometric="minisblack", compression="lzw", predictor=True),
    "white is zero 16.tif": tiff(RGBA16[..., 0], photometric="miniswhite"),
    "colour 16.tif": tiff(RGBA16[..., :3], photometric="rgb", compression="deflate", resolution=(200, 100)),
    "dark 16.tif": tiff(DARK16, photometric="rgb", tile=(16, 16)),
    "planes 16.tif": tiff(RGBA16[..., :3].transpose(2, 0, 1), photometric="rgb", planarconfig="separate",
                          rowsperstrip=7),
    "colour alpha 16.tif": tiff(RGBA16, photometric="rgb", extrasamples=["unassalpha"], bigtiff=True),
    "another plane.tif": tiff(RGBA8, photometric="rgb", extrasamples=["unspecified"]),
    "pages.tif": tiff(RGBA8[..., :3], RGBA8[::-1, ::-1, :3], RGBA8[:9, :, :3], photometric="rgb", compression="lzw"),
    "pages 16.tif": tiff(RGBA16[..., 0], RGBA16[..., 1], photometric="minisblack", description="z=1", software="x"),
    "floats.tif": tiff(FLOATS[..., 0], photometric="minisblack", compression="zstd", predictor=True),
    "colour floats.tif": tiff(FLOATS, photometric="rgb"),
}  # fmt: skip
for _number in range(2, 9):
    LOSSLESS[f"turned {_number}.png"] = saved(RGBA8[..., :3], "PNG", exif=exif(_number))
    LOSSLESS[f"turned {_number}.webp"] = saved(RGBA8[..., :3], "WEBP", lossless=True, exif=exif(_number))
LOSSLESS["turned 6.tif"] = tiff(RGBA16[..., :3], photometric="rgb", extratags=[(274, 3, 1, 6, False)])


def animation(kind: str, *frames: np.ndarray, **options) -> bytes:
    images = [Image.fromarray(frame) for frame in frames]
    images = [image.quantize(256) for image in images] if kind == "GIF" and frames[0].shape[2:] == (3,) else images
    return saved(images[0], kind, save_all=True, append_images=images[1:], **options)


def clear_at(shift: int) -> np.ndarray:
    """A few colours around a clear square, which is elsewhere in each frame."""
    frame = (RGBA8 >> 6) * np.uint8(80)
    frame[..., 3] = 255
    frame[shift : shift + 9, 5:20, 3] = 0
    return np.roll(frame, shift, 1)


MOVING = (RGBA8[..., :3], RGBA8[::-1, :, :3], RGBA8[:, ::-1, :3])
TIMES = {"duration": [100, 250, 40], "loop": 3}
LOSSLESS |= {
    "moving.gif": animation("GIF", *MOVING, comment=b"hello", **TIMES),
    "moving grey.gif": animation("GIF", *(frame[..., 0] for frame in MOVING), **TIMES),
    "once.gif": animation("GIF", *MOVING, duration=70),
    "moving hole.gif": animation("GIF", *map(clear_at, (0, 4, 9)), disposal=2, **TIMES),
    "moving.png": animation("PNG", *MOVING, dpi=(300, 300), icc_profile=ICC, **TIMES),
    "moving hole.png": animation("PNG", *map(clear_at, (0, 4, 9)), **TIMES),
    "moving.webp": animation("WEBP", *MOVING, lossless=True, icc_profile=ICC, exif=exif(1), **TIMES),
    "moving hole.webp": animation("WEBP", *map(clear_at, (0, 4, 9)), lossless=True, exact=True, **TIMES),
}
LOSSY: dict[str, bytes] = {
    "q60.jpg": saved(SMOOTH, "JPEG", quality=60, subsampling=0, **META),
    "q90.jpg": saved(SMOOTH, "JPEG", quality=90, subsampling=2, progressive=True, comment=b"hello", xmp=XMP, **META),
    "grey.jpg": saved(SMOOTH[..., 0], "JPEG", quality=75),
    "rgb.jpg": saved(SMOOTH, "JPEG", quality=80, keep_rgb=True),
    "inks.jpg": saved(SMOOTH, "JPEG", "CMYK", quality=92),
    "turned.jpg": saved(SMOOTH, "JPEG", quality=90, exif=exif(6), dpi=(300, 300)),
    "lossy.webp": saved(SMOOTH, "WEBP", quality=80, **META),
    "jpeg.tif": saved(SMOOTH, "TIFF", compression="jpeg", quality=95),
}  # fmt: skip
PHONE = saved(SMOOTH, "MPO", quality=85, save_all=True, append_images=[Image.fromarray(SMOOTH[..., 0])], exif=exif(1))


@pytest.fixture(scope="module")
def cleaned(identity, tmp_path_factory) -> Path:
    """Every file of the zoo after one `aectl denoise` of their folder."""
    folder = tmp_path_factory.mktemp("zoo")
    (folder / "in").mkdir()
    for name, data in {**LOSSLESS, **LOSSY, "phone.jpg": PHONE}.items():
        (folder / "in" / name).write_bytes(data)
    with pytest.MonkeyPatch.context() as patch, clean_process():
        patch.chdir(folder)
        patch.setattr("sys.argv", ["aectl"])
        with pytest.raises(SystemExit) as ended:
            main.main(["denoise", f"run={identity}", "input=in", "output=out", "threads=1", "device=cpu"])
    assert not ended.value.code
    return folder / "out"


def native(data: bytes) -> list[np.ndarray]:
    """The values in a file, in its own type, by readers that are not ours; turned upright."""
    if data[:2] in (b"II", b"MM"):
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            found = []
            for page in file.pages:
                array = page.asarray()
                array = page.colormap[:, array] if page.colormap is not None else array
                found.append(np.rot90(array, -1) if page.tags.valueof(274) == 6 else array)
            return found
    if data.startswith(b"\x89PNG") and data[24] == 16:
        return [imagecodecs.png_decode(data)]
    with Image.open(io.BytesIO(data)) as image:
        if getattr(image, "is_animated", False):
            return [np.asarray(frame.convert("RGBA")) for frame in ImageSequence.Iterator(image)]
        upright = ImageOps.exif_transpose(image)
        with_alpha = {"P": "RGBA", "L": "LA", "RGB": "RGBA"}.get(upright.mode)
        convert = with_alpha is not None and (upright.mode == "P" or "transparency" in upright.info)
        return [np.asarray(upright.convert(with_alpha) if convert else upright)]


@pytest.mark.parametrize("name", LOSSLESS)
def test_pixels_depth_and_mode_are_kept(cleaned, name):
    before, after = LOSSLESS[name], (cleaned / name).read_bytes()
    if name != "colour floats.tif":  # which Pillow does not know
        with Image.open(io.BytesIO(before)) as one, Image.open(io.BytesIO(after)) as other:
            kept = {"one clear grey.png": "LA", "one clear colour.png": "RGBA"}.get(name, one.mode)
            assert (one.format, kept) == (other.format, other.mode)
    pages = list(zip(native(before), native(after), strict=True))
    for expected, found in pages:
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        if expected.dtype.kind == "f":
            np.testing.assert_allclose(found, expected, rtol=0, atol=2e-7)
        elif "hole" in name:  # what is clear has no colour that anybody sees
            np.testing.assert_array_equal(found[..., 3], expected[..., 3])
            np.testing.assert_array_equal(found[found[..., 3] > 0], expected[expected[..., 3] > 0])
            assert (found[..., 3] == 0).any()
        else:
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", sorted({*LOSSLESS, *LOSSY} - {"colour floats.tif"}))
def test_profile_resolution_and_words_are_kept(cleaned, name):
    before, after = {**LOSSLESS, **LOSSY}[name], (cleaned / name).read_bytes()
    with Image.open(io.BytesIO(before)) as one, Image.open(io.BytesIO(after)) as other:
        for image in (one, other):
            image.load()
        if one.info.get("dpi") == (1, 1):  # Pillow's word for a TIFF that says nothing
            del one.info["dpi"]
        for key in ("icc_profile", "dpi", "comment", "gamma", "Title", "Comment", "progressive"):
            assert other.info.get(key) == one.info.get(key), key
        assert ("xmp" in other.info) == ("xmp" in one.info)


@pytest.mark.parametrize("name", [name for name in LOSSLESS if "moving" in name or "once" in name])
def test_an_animation_keeps_its_frames_times_and_loops(cleaned, name):
    with Image.open(io.BytesIO(LOSSLESS[name])) as before, Image.open(cleaned / name) as after:
        assert after.n_frames == before.n_frames == 3
        for one, other in zip(ImageSequence.Iterator(before), ImageSequence.Iterator(after), strict=True):
            for frame in (one, other):
                frame.load()
            assert other.info["duration"] == one.info["duration"]
            assert other.info.get("loop") == one.info.get("loop")


@pytest.mark.parametrize("name", [name for name in (*LOSSLESS, *LOSSY) if "turned" in name or "exif" in name])
def test_exif_is_kept_and_says_upright(cleaned, name):
    before, after = {**LOSSLESS, **LOSSY}[name], (cleaned / name).read_bytes()
    with Image.open(io.BytesIO(before)) as one, Image.open(io.BytesIO(after)) as other:
        old, new = one.getexif(), other.getexif()
        turned = old.get(0x0112, 1) >= 5
        assert new.get(0x0112, 1) == 1
        assert new.get(0x010F) == old.get(0x010F)
        inner, kept = old.get_ifd(0x8769), new.get_ifd(0x8769)
        if turned and inner:
            inner[0xA002], inner[0xA003] = inner[0xA003], inner[0xA002]
        assert kept == inner
        assert new.get_ifd(0x8825) == old.get_ifd(0x8825)
        assert other.size == (one.size[::-1] if turned and one.format != "TIFF" else one.size)


def test_xmp_does_not_turn_the_picture_again(cleaned):
    with Image.open(cleaned / "colour.png") as image:
        image.load()
        assert b'tiff:Orientation="1"' in image.info["xmp"]
        assert b'dc:title="t"' in image.info["xmp"]


@pytest.mark.parametrize("name", [name for name in LOSSLESS if name.endswith(".tif")])
def test_how_a_tiff_is_stored_is_kept(cleaned, name):
    with (
        tifffile.TiffFile(io.BytesIO(LOSSLESS[name])) as before,
        tifffile.TiffFile(io.BytesIO((cleaned / name).read_bytes())) as after,
    ):
        assert (before.is_bigtiff, before.byteorder) == (after.is_bigtiff, after.byteorder)
        for one, other in zip(before.pages, after.pages, strict=True):
            fax = one.compression == 4  # written with Deflate, which loses nothing either
            assert other.compression == (8 if fax else one.compression)
            for key in ("predictor", "photometric", "planarconfig", "bitspersample", "sampleformat", "is_tiled",
                        "extrasamples", "samplesperpixel"):  # fmt: skip
                assert getattr(other, key) == getattr(one, key), key
            for tag in (270, 282, 283, 296, 305, 315, 34675):
                if tag in one.tags:
                    assert other.tags[tag].value == one.tags[tag].value, tag


@pytest.mark.parametrize("name", [name for name in LOSSY if name.endswith(".jpg")])
def test_a_jpeg_keeps_its_tables_and_its_sampling(cleaned, name):
    with Image.open(io.BytesIO(LOSSY[name])) as before, Image.open(cleaned / name) as after:
        assert after.quantization == before.quantization
        assert JpegImagePlugin.get_sampling(after) == JpegImagePlugin.get_sampling(before)
        assert after.mode == before.mode
        expected = np.asarray(ImageOps.exif_transpose(before)).astype(int)
        assert np.abs(np.asarray(after).astype(int) - expected).mean() < 1.5
        assert after.info.get("adobe_transform") == before.info.get("adobe_transform")


def test_a_lossy_webp_stays_lossy_and_a_lossless_one_lossless(cleaned):
    assert b"VP8L" in (cleaned / "colour.webp").read_bytes()
    assert b"VP8 " in (cleaned / "lossy.webp").read_bytes()


def test_every_mode_in_the_documents_table_is_in_the_zoo():
    """And the other way round: nothing is kept that the table does not promise."""
    first, *_ = (ROOT / "docs/pictures.md").read_text().partition("| format | modes")[2].partition("\n\n")
    rows = [line.split("|") for line in first.splitlines() if line.startswith("|")]
    promised = {(row[1].strip(), mode) for row in rows[1:] for mode in row[2].strip().split(", ")}
    found = set()
    for data in (*LOSSLESS.values(), *LOSSY.values()):
        picture = decoding.decode(data)
        found.add((picture.format, picture.mode))
    assert found | {("TIFF", "I")} == promised
