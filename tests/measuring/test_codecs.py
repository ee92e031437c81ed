import io

import pytest
from PIL import Image
from skimage import data, metrics

from aectl.measuring import codecs, rate_distortion
from aectl.measuring.codecs import CODECS
from aectl.measuring.rate_distortion import Point

JPEG, WEBP, AVIF = CODECS
COLOUR = data.astronaut()[100:197, 150:280].transpose(2, 0, 1).copy()  # sides that no block divides
GREY = COLOUR[1:2]


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
@pytest.mark.parametrize("picture", [COLOUR, GREY], ids=["colour", "grey"])
def test_a_better_quality_takes_more_bytes_and_is_nearer(codec, picture):
    few, many = (codec.compress(picture, codec.qualities[index]) for index in (2, -2))
    with Image.open(io.BytesIO(many)) as opened:
        assert opened.format == codec.name.upper()
        assert opened.size == (130, 97)
    shown = [codecs.decompress(found, len(picture)) for found in (few, many)]
    assert [one.shape for one in shown] == [picture.shape] * 2
    errors = [metrics.mean_squared_error(picture, one) for one in shown]
    assert len(few) < len(many) / 3
    assert errors[0] > 4 * errors[1]
    assert errors[1] < 60, "no channels mixed up"


def test_points_are_those_of_scikit_image():
    found = JPEG.compress(COLOUR, 50)
    shown = codecs.decompress(found, 3)
    point = rate_distortion.point(COLOUR, len(found), shown)
    assert point.bpp == 8 * len(found) / (97 * 130)
    assert point.psnr == pytest.approx(metrics.peak_signal_noise_ratio(COLOUR, shown), abs=1e-4)
    ssim = metrics.structural_similarity(
        COLOUR, shown, channel_axis=0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert point.ssim == pytest.approx(ssim, abs=3e-3), "which takes windows over the edge as well"


def test_means_are_over_pictures_whatever_their_size():
    points = [Point(1.0, 30.0, 0.9), Point(3.0, 40.0, 1.0)]
    assert rate_distortion.mean(points) == Point(2.0, 35.0, pytest.approx(0.95))


@pytest.mark.parametrize("quality", [20, 77])
def test_the_nearest_quality_is_found_by_size(quality):
    sizes = {one: len(JPEG.compress(GREY, one)) for one in range(1, 96)}
    wanted = sizes[quality]
    assert sizes[JPEG.nearest(GREY, wanted)[0]] == wanted
    between = (sizes[quality] * 3 + sizes[quality + 5]) // 4
    chosen, found = JPEG.nearest(GREY, between)
    assert abs(len(found) - between) == min(abs(size - between) for size in sizes.values())
    assert len(found) == sizes[chosen]


def test_where_no_quality_is_small_or_large_enough_it_is_the_last():
    assert JPEG.nearest(GREY, 1)[0] == 1
    assert JPEG.nearest(GREY, 10**6)[0] == 95


def test_a_pillow_may_lack_some(monkeypatch):
    monkeypatch.setattr(codecs.features, "check", lambda name: name == "webp")
    assert [codec.name for codec in CODECS if codec.there] == ["JPEG", "WebP"]


def test_a_curve_has_a_point_for_each_quality_averaged_over_pictures():
    few = codecs.Codec("JPEG", (10, 90), (1, 95))
    pictures = [COLOUR, COLOUR[:, :40, :60]]
    curve = rate_distortion.curve(few, pictures)
    assert list(curve) == [10, 90]
    files = [few.compress(picture, 90) for picture in pictures]
    rates = [8 * len(found) / one[0].size for found, one in zip(files, pictures, strict=True)]
    assert curve[90].bpp == pytest.approx(sum(rates) / 2)
    errors = [
        metrics.peak_signal_noise_ratio(one, codecs.decompress(found, 3))
        for one, found in zip(pictures, files, strict=True)
    ]
    assert curve[90].psnr == pytest.approx(sum(errors) / 2, abs=1e-4)
