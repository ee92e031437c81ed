"""How pictures are read: what is white in them, what is left out of them, and how much memory they may take."""

import io
import subprocess
import sys
import threading
import tracemalloc
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
import zoo
from albums import own
from PIL import Image, ImageSequence
from test_keeping import native, tiff

from aectl.cli.composing import composed
from aectl.commands import encode
from aectl.data.split import build_dataset
from aectl.errors import DataError, ScaleError
from aectl.files.pictures import decoding, encoding, fitting
from aectl.files.pictures.reading import Reading
from aectl.runs.opening import open_run


def floats(*values: float, dtype=np.float32) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.array([values], dtype=dtype), photometric="minisblack")
    return buffer.getvalue()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.int32, np.uint16, np.uint32])
@pytest.mark.parametrize(("scale", "black", "white"), [(4095, 0, 4095), ([-1024, 3071], -1024, 3071)])
def test_a_scale_that_is_given_holds_for_every_deep_picture(dtype, scale, black, white):
    values = np.array([max(black, 0), 100, 2000, white])
    found = decoding.decode(floats(*values, dtype=dtype), Reading(scale)).floats()[0, 0]
    np.testing.assert_allclose(found, (values - black) / (white - black), rtol=1e-6)


def test_without_a_scale_floats_are_zero_to_one_and_never_guessed():
    """Also a dark picture, and one that a picture of 8 bits could be: the same for all, whatever is in them."""
    np.testing.assert_array_equal(decoding.decode(floats(0, 0.003, 1)).values[0, 0], np.float32([0, 0.003, 1]))
    for values in ((0, 200), (0, 3000), (-0.5, 1), (0, 1e6)):
        with pytest.raises(ScaleError, match=r"say what is white .* scale=<white>"):
            decoding.decode(floats(*values))


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.uint32, np.int8])
def test_without_a_scale_integers_with_a_sign_or_of_32_bits_are_refused(dtype):
    with pytest.raises(DataError, match="say what is white"):
        decoding.decode(floats(0, 100, dtype=dtype))


def test_values_that_are_not_finite_or_outside_the_scale_are_refused():
    with pytest.raises(DataError, match="not finite"):
        decoding.decode(floats(0, np.nan))
    with pytest.raises(DataError, match=r"from 0 to 300, outside 0 .* to 255"):
        decoding.decode(floats(0, 300), Reading(255))


# ------------------------------------------------------------------------------- one scale for an input


def frames(folder: Path) -> dict[str, np.ndarray]:
    """A bright frame whose maximum is above 255, and a dark one, as a microscope's camera writes them."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    found = {"a bright.tif": 267 * rng.random((20, 30), dtype=np.float32),
             "b dark.tif": 0.9 * rng.random((20, 30), dtype=np.float32)}  # fmt: skip
    found["a bright.tif"][3, 3] = 267
    for name, array in found.items():
        (folder / name).write_bytes(tiff(array, photometric="minisblack"))
    return found


def test_one_scale_for_the_whole_input_is_asked_for_said_once_and_undone(aectl, identity, tmp_path):
    given = frames(tmp_path / "in")
    command = ("denoise", f"run={identity}", "input=in", "output=out", "device=cpu", "threads=1")
    for more in ((), ("on_bad=skip",)):
        refused = aectl(*command, *more)
        assert refused.status == 3
        assert "a bright.tif: has floats from" in refused.err
        assert "scale=<white>" in refused.err
        assert not (tmp_path / "out").exists()
    small = aectl(*command, "scale=255")
    assert small.status == 3
    assert "outside 0 (black) to 255 (white)" in small.out
    done = aectl(*command, "scale=300")
    assert done.status == 0, done.err
    assert done.out.count("scale: 32-bit floats from 0 (black) to 300 (white)") == 1
    for name, array in given.items():
        (found,) = native((tmp_path / "out" / name).read_bytes())
        np.testing.assert_allclose(found, array, rtol=0, atol=300 * 2e-7)


@pytest.mark.parametrize(("dtype", "scale", "low", "high"), [(np.int16, "[-1024,3071]", -1024, 3072),
                                                            (np.uint16, "4095", 0, 4096),
                                                            (np.int32, "[0,100000]", 0, 100_001)])  # fmt: skip
def test_signed_and_twelve_bit_data_come_out_in_their_units(aectl, identity, tmp_path, dtype, scale, low, high):
    array = np.random.default_rng(0).integers(low, high, (20, 30)).astype(dtype)
    (tmp_path / "a.tif").write_bytes(tiff(array, photometric="minisblack"))
    done = aectl("denoise", f"run={identity}", "input=a.tif", "output=out", f"scale={scale}", "device=cpu")
    assert done.status == 0, done.err
    (found,) = native((tmp_path / "out/a.tif").read_bytes())
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, array)


def test_training_asks_for_the_scale_too_and_says_it_from_the_cache_as_well(tmp_path, monkeypatch):
    monkeypatch.setenv("AECTL_CACHE", str(tmp_path / "cache"))
    frames(tmp_path / "in")
    for index in range(8):
        array = np.full((20, 30), index, np.float32)
        (tmp_path / f"in/{index}.tif").write_bytes(tiff(array, photometric="minisblack"))
    with pytest.raises(ScaleError, match=r"dataset\.scale=<white>"):
        build_dataset(own(tmp_path / "in", on_bad="skip"), None)
    word = "scale: 32-bit floats from 0 (black) to 300 (white); dataset.scale= sets another"
    for _ in range(2):  # decoded, and from the cache
        split = build_dataset(own(tmp_path / "in", scale=300), None)
        assert max(part.pixels.max() for part in (split.train, split.val, split.test)) == round(255 * 267 / 300)
        assert list(split.notes).count(word) == 1


def test_codes_are_made_on_the_scale_of_the_run_or_another(autoencoder, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    frames(tmp_path / "in")
    run = open_run(str(autoencoder), "best", torch.device("cpu"))
    monkeypatch.setattr(encode, "open_with_code", lambda *given: run)
    run.config.dataset = own(tmp_path / "in", scale=267)
    config = composed("encode", f"input={tmp_path}/in", f"output={tmp_path}/codes.csv", "overwrite=true", "threads=1")
    for scale, white in ((None, 267), (300, 300)):
        encode.run_encode(replace(config, scale=scale), tmp_path)
        assert f"to {white} (white)" in caplog.text
    run.config.dataset = own(tmp_path / "in")
    with pytest.raises(ScaleError):
        encode.run_encode(config, tmp_path)


@pytest.mark.parametrize("value", ["0", "-3", "[5,5]", "[1,2,3]", "true", "white", "[a,b]", ".nan", ".inf"])
def test_a_scale_that_is_none_is_refused(aectl, value):
    refused = aectl("denoise", "input=in", "output=out", f"scale={value}")
    assert refused.status == 2
    assert "scale=" in refused.err


# ------------------------------------------------------------------------------- frames and pages


def animation(kind: str) -> bytes:
    frames = [Image.fromarray(np.roll(zoo.GREY, shift)) for shift in range(3)]
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


ANIMATIONS = {"a.gif": "GIF", "a.png": "PNG", "a.webp": "WEBP"}


def test_no_frame_vanishes_from_training_and_codes_without_a_word(tmp_path, autoencoder, monkeypatch, caplog):
    monkeypatch.setenv("AECTL_CACHE", str(tmp_path / "cache"))
    caplog.set_level("INFO")
    (tmp_path / "in").mkdir()
    for name, kind in {**ANIMATIONS, "a.tif": "TIFF", "a.jpg": "MPO", "b.jpg": "JPEG"}.items():
        (tmp_path / "in" / name).write_bytes(animation(kind) if kind != "JPEG" else zoo.encoded(kind))
    word = (
        "note: 5 files hold several frames, pages or pictures, of which the first alone is used, such as a.gif (GIF)"
    )
    for _ in range(2):  # decoded, and from the cache
        assert list(build_dataset(own(tmp_path / "in", size=8), None).notes).count(word) == 1
    config = composed("encode", f"run={autoencoder}", f"input={tmp_path}/in", f"output={tmp_path}/codes.csv")
    encode.run_encode(config, tmp_path)
    assert caplog.messages.count(word) == 1


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_equal_frames_become_one_that_lasts_as_long(aectl, autoencoder, tmp_path, kind):
    """A network that makes the same of every frame."""
    name = f"a.{kind.lower()}"
    grey = [Image.fromarray(np.roll(zoo.GREY, shift)) for shift in range(3)]
    options = {"lossless": True} if kind == "WEBP" else {}
    grey[0].save(tmp_path / name, save_all=True, append_images=grey[1:], duration=[100, 200, 300], **options)
    original = (tmp_path / name).read_bytes()
    first, second, third = decoding.decode_pages(original, Reading(), name)
    data = encoding.encode([first, replace(second, values=first.values), third], original)
    with Image.open(io.BytesIO(data)) as image:
        lasting = 0
        for frame in ImageSequence.Iterator(image):
            frame.load()
            lasting += frame.info["duration"]
        assert lasting == 600
    done = aectl("denoise", f"run={autoencoder}", f"input={name}", "output=out", "noise=gaussian", "noise.sigma=0.1")
    assert done.status == 0, done.err
    assert (tmp_path / "out/psnr_ssim.csv").exists()


def test_of_a_phones_jpeg_the_further_pictures_are_named(aectl, identity, tmp_path):
    (tmp_path / "a.jpg").write_bytes(animation("MPO"))
    done = aectl("denoise", f"run={identity}", "input=a.jpg", "output=out", "device=cpu")
    assert done.status == 0, done.err
    assert "the first alone is used, such as a.jpg (MPO)" in done.out
    with Image.open(tmp_path / "out/a.jpg") as found:
        assert found.format == "JPEG"


@pytest.mark.parametrize("data", [
    tiff(np.zeros((3, 9, 9), np.uint8), photometric="minisblack", description="ImageJ=1.11a\nimages=7\n"),
    tiff(np.zeros((9, 9, 5), np.uint8), photometric="rgb"),
    tiff(np.zeros((9, 9, 4), np.uint8), photometric="rgb", extrasamples=["assocalpha"]),
    tiff(np.zeros((9, 9), np.complex64), photometric="minisblack"),
    tiff(np.zeros((9, 9), np.uint8), photometric="minisblack", subifds=1),
], ids=["images behind one page", "five samples", "associated alpha", "complex", "sub-images"])  # fmt: skip
def test_what_could_not_be_written_again_is_refused_by_name(aectl, identity, tmp_path, data):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.tif").write_bytes(data)
    (tmp_path / "in/b.png").write_bytes(zoo.encoded("PNG"))
    refused = aectl("denoise", f"run={identity}", "input=in", "output=out", "device=cpu")
    assert refused.status == 3
    assert "1 of 2 pictures cannot be used" in refused.err
    assert "a.tif: " in refused.out
    assert not (tmp_path / "out").exists()


# ------------------------------------------------------------------------------- memory


def test_a_picture_larger_than_the_memory_for_it_is_refused_before_the_memory_is_taken(tmp_path):
    """In a process that may not have more: 30,000 by 30,000 pixels would be 13 GiB and more."""
    code = """
import resource, sys
from pathlib import Path
from aectl.errors import DataError
from aectl.files.pictures import decoding
from aectl.files.pictures.reading import Reading
base = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (base + 2**28, base + 2**28))
for path in sys.argv[1:]:
    for read in (decoding.decode, lambda *a: decoding.decode_pages(*a, "x")):
        try:
            read(Path(path).read_bytes(), Reading())
        except DataError as error:
            print(error)
"""
    pixel = np.zeros((1, 1), np.uint8)
    files = (
        zoo.png_with(30_000, 30_000),
        zoo.png_with(30_000, 30_000, depth=16, colour=6),
        claiming(tiff(pixel, photometric="minisblack"), 30_000),
        claiming(tiff(pixel.astype(np.uint16), photometric="minisblack", compression="zlib"), 30_000),
    )
    for index, data in enumerate(files):
        (tmp_path / str(index)).write_bytes(data)
    paths = [str(tmp_path / str(index)) for index in range(len(files))]
    done = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, timeout=60)
    lines = done.stdout.splitlines()
    assert len(lines) == 2 * len(files), done.stderr
    for line in lines:
        assert "is 30000×30000 and would take" in line
        assert "more than picture_gb=4" in line


def claiming(data: bytes, side: int) -> bytes:
    """A TIFF whose tags claim to be larger than it is."""
    buffer = io.BytesIO(data)
    with tifffile.TiffFile(buffer, mode="r+") as file:
        for tag in (256, 257, 278):
            file.pages[0].tags[tag].overwrite(side)
    return buffer.getvalue()


def test_pictures_of_more_pixels_than_pillow_allows_are_read(aectl, identity, tmp_path):
    """Of 180 megapixels; Pillow by itself refuses what has more than 178,956,970."""
    Image.new("1", (15_000, 12_000)).save(tmp_path / "a.png")
    assert decoding.decode((tmp_path / "a.png").read_bytes()).size == (12_000, 15_000)
    refused = aectl("denoise", f"run={identity}", "input=a.png", "output=out", "picture_gb=0.5")
    assert refused.status == 3
    assert "more than picture_gb=0.5; raise that" in refused.out


def test_threads_share_the_memory():
    reading, most, now = Reading(picture_gb=1e-3), 0, 0
    lock = threading.Lock()

    def work() -> None:
        nonlocal most, now
        for _ in range(50):
            with reading.room((200, 100, 3, 1)):  # 0.34 thousandths of a GiB
                with lock:
                    now += 1
                    most = max(most, now)
                with lock:
                    now -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= most <= 2


def test_a_strip_that_unpacks_to_more_than_it_says_takes_no_memory():
    bomb = zlib.compress(bytes(2**24), 1)
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(iter([bomb]), shape=(9, 9), dtype=np.uint16, photometric="minisblack", compression="zlib")
    data = buffer.getvalue()
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="cannot be read"):
            decoding.decode(data)
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


def test_a_jpeg_in_a_tiff_that_is_larger_than_its_strip_is_refused():
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        jpeg = zoo.encoded("JPEG", size=(2000, 2000))
        writer.write(iter([jpeg]), shape=(16, 16), dtype=np.uint8, photometric="minisblack", compression="jpeg")
    with pytest.raises(DataError, match="has a part of 2000×2000"):
        decoding.decode(buffer.getvalue())


def test_pages_that_go_round_in_a_circle_end():
    data = bytearray(tiff(np.zeros((4, 4), np.uint8), photometric="minisblack"))
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
        place, count = file.pages[0].offset, len(file.pages[0].tags)
    data[place + 2 + 12 * count : place + 6 + 12 * count] = place.to_bytes(4, "little")
    with pytest.raises(DataError, match="no end"):
        decoding.decode(bytes(data))


def test_alpha_is_on_the_scale_of_the_colours():
    """Of 12 bits in a file of 16, 4095 is white, and opaque."""
    array = np.full((4, 5, 4), 2048, np.uint16)
    array[..., 3] = 4095
    array[0, 0, 3] = 0
    data = tiff(array, photometric="rgb", extrasamples=["unassalpha"])
    picture = decoding.decode(data, Reading(4095))
    opacity = np.ones((4, 5), np.float32)
    opacity[0, 0] = 0
    np.testing.assert_array_equal(picture.opacity(), opacity)
    assert fitting.with_channels(picture, 3, 0)[0].ravel().tolist() == [0] + [round(255 * 2048 / 4095)] * 19
