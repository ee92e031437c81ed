"""Previews: of bounded size and bytes, exact where that is possible."""

import io

import numpy as np
import pytest
from PIL import Image

from aectl.files.pictures import previews
from aectl.files.pictures.reading import Picture

RNG = np.random.default_rng(0)


def opened(one: previews.Preview) -> np.ndarray:
    with Image.open(io.BytesIO(one.data)) as image:
        assert (image.format.lower(), image.size) == (one.kind, (one.width, one.height))
        return np.asarray(image)


def test_small_pictures_are_kept_to_the_bit():
    grey, colour = (RNG.integers(0, 256, (channels, 30, 40), dtype=np.uint8) for channels in (1, 3))
    found = [opened(one) for one in previews.together([grey, colour], 100_000)]
    np.testing.assert_array_equal(found[0], grey[0])
    np.testing.assert_array_equal(found[1], colour.transpose(1, 2, 0))


@pytest.mark.parametrize("room", [1_000_000, 150_000, 20_000])
def test_together_they_take_the_room_that_there_is_and_have_one_size(room):
    smooth = np.broadcast_to(np.linspace(0, 200, 900), (3, 600, 900)).astype(np.uint8)
    noisy = (smooth + RNG.integers(0, 55, smooth.shape)).astype(np.uint8)
    found = previews.together([noisy, smooth, smooth], room)
    assert room / 8 < sum(len(one.data) for one in found) <= room
    assert len({(one.width, one.height) for one in found}) == 1
    # Enlarged again they are the pictures, but for what is finer than their pixels.
    sizes = (found[1].width, found[1].height)
    expected = np.asarray(Image.fromarray(smooth.transpose(1, 2, 0)).resize(sizes)).astype(int)
    assert np.abs(opened(found[1]) - expected).mean() < 3


def test_large_deep_and_transparent_pictures_become_what_a_browser_shows():
    values = RNG.random((1, 40, 2500), dtype=np.float32)
    values[:, :, :100] = 0.25
    alpha = np.full((40, 2500), 255, np.uint8)
    alpha[:, 2000:] = 0
    found = previews.shrunk(Picture(values, alpha, "LA", "PNG"))
    assert (found.shape, found.dtype) == ((1, 16, 1000), np.uint8)
    assert (found[:, :, 10:30] == 64).all()
    assert (found[:, :, 810:] == 255).all()
    assert previews.shrunk(Picture(values, None, "F", "TIFF"), 100).shape == (1, 2, 100)
