import bz2
import gzip
import io
import lzma

import numpy as np
import pytest
from PIL import Image

from aectl.measuring import archives

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (7, 1, 12, 10), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (5, 3, 6, 9), dtype=np.uint8)
BINARY = (RNG.random((10, 1, 12, 10)) < 0.2).astype(np.uint8) * 255


@pytest.mark.parametrize("pixels", [GREY, COLOUR, BINARY], ids=["grey", "colour", "binary"])
def test_every_size_is_of_something_from_which_the_pixels_come_back(pixels):
    raw = archives.stream(pixels)
    if pixels is BINARY:
        assert len(raw) == 150, "a bit a pixel"
        np.testing.assert_array_equal(np.unpackbits(np.frombuffer(raw, np.uint8)) * 255, pixels.ravel())
    else:
        again = np.frombuffer(raw, np.uint8).reshape(len(pixels), *pixels.shape[2:], -1).transpose(0, 3, 1, 2)
        np.testing.assert_array_equal(again, pixels)
    for name, unpack in (("gzip", gzip.decompress), ("bz2", bz2.decompress), ("lzma", lzma.decompress)):
        assert unpack(archives.STREAMS[name](raw)) == raw
    for image in pixels:
        for data in (archives.png(image), archives.webp(image)):
            with Image.open(io.BytesIO(data)) as opened:
                shown = np.asarray(opened.convert("RGB")).transpose(2, 0, 1)
            np.testing.assert_array_equal(shown, np.broadcast_to(image, shown.shape))


def test_the_sheet_of_a_fax_holds_all_images_and_is_nearly_square():
    with Image.open(io.BytesIO(archives.fax(BINARY))) as sheet:
        assert sheet.info["compression"] == "group4"
        values = np.asarray(sheet)
    assert values.shape == (3 * 12, 4 * 10), "ten images, four in a row"
    ink = values if values[24:, 20:].max() == 0 else ~values  # the last two places are empty
    for index, image in enumerate(BINARY):
        row, column = divmod(index, 4)
        np.testing.assert_array_equal(ink[row * 12 : row * 12 + 12, column * 10 : column * 10 + 10], image[0] > 0)


def test_sizes_are_of_all_images_and_fax_is_of_binary_ones():
    found = {name: (how, size) for name, how, size in archives.sizes(BINARY)}
    assert list(found) == ["gzip", "bz2", "lzma", "PNG", "WebP lossless", "CCITT group 4"]
    assert found["PNG"] == ("a file for each image", sum(len(archives.png(image)) for image in BINARY))
    assert found["lzma"] == ("all images in one stream", len(lzma.compress(np.packbits(BINARY > 0), preset=9)))
    assert "CCITT group 4" not in {name for name, *_ in archives.sizes(GREY)}


def test_noise_takes_eight_bits_a_value_and_a_byte_of_784_values_is_a_hundredth_of_a_bit():
    sizes = {name: size for name, _, size in archives.sizes(RNG.integers(0, 256, (20, 1, 28, 28), dtype=np.uint8))}
    assert archives.bits_per_dim(sizes["lzma"], 20 * 784) == pytest.approx(8, rel=0.02)
    assert archives.bits_per_dim(98, 784) == 1


def test_a_pillow_without_webp_or_tiff_leaves_them_out(monkeypatch):
    monkeypatch.setattr(archives.features, "check", lambda name: False)
    assert [name for name, *_ in archives.sizes(BINARY)] == ["gzip", "bz2", "lzma", "PNG"]
