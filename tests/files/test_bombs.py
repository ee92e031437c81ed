"""Small files that would become very much are refused by what their headers say, before they do."""

import io
import struct
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import short_of_memory
from PIL import Image

from aectl.data.datasets import array
from aectl.errors import DataError, MemoryShortError
from aectl.files import arrays, codes, listing, numbered
from aectl.files.arrays import Stored
from aectl.files.pictures import decoding, tiff
from aectl.files.pictures.reading import Reading
from aectl.machine import memory

MIB = 2**20


def png(side: int = 8) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (side, side), 99).save(buffer, "PNG")
    return buffer.getvalue()


# --------------------------------------------------------------------------------------------- zips


def zipped(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.png", data)
    return path


def test_members_that_are_next_to_nothing_are_not_unpacked(tmp_path, monkeypatch):
    path = zipped(tmp_path / "a.zip", a=bytes(4 * MIB), b=bytes(4 * MIB), c=png(), d=bytes(1000))
    assert not any(entry.problem for entry in listing.below(path).entries)  # so many may be flat pictures
    monkeypatch.setattr(listing, "FLAT", 6 * MIB)
    entries = {entry.name: entry for entry in listing.below(path).entries}
    for name in ("a.png", "b.png"):
        with pytest.raises(
            DataError, match=r"would unpack to 4 MiB, 1,0\d\d times its size; unpack the zip yourself"
        ):
            entries[name].read()
    assert entries["c.png"].read() == png()
    assert entries["d.png"].read() == bytes(1000)


def test_members_that_lie_over_each_other_are_no_zip(tmp_path):
    path, data = tmp_path / "a.zip", np.random.default_rng(0).bytes(10_000)
    whole = zipped(path, a=data).read_bytes()
    end = whole.rindex(b"PK\x05\x06")
    size, start = struct.unpack_from("<II", whole, end + 12)
    records = whole[start:end] * 3
    path.write_bytes(whole[:start] + records + whole[end : end + 8] + struct.pack("<HHIIH", 3, 3, 3 * size, start, 0))
    with pytest.raises(DataError, match="its members lie over each other"):
        listing.below(path)


def test_reading_a_large_member_takes_no_more_than_twice_its_size(tmp_path):
    """zipfile, asked for all at once, would copy what it has after every few bytes."""
    path = tmp_path / "a.zip"
    zipped(path, a=bytes(60 * MIB))
    (entry,) = listing.below(path).entries
    began = time.process_time()
    tracemalloc.start()
    assert len(entry.read()) == 60 * MIB
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < entry.weight + 10 * MIB == 130 * MIB
    assert time.process_time() - began < 2


# ------------------------------------------------------------------------------------------- arrays


@pytest.mark.parametrize("dtype", ["|u1", "<f4", ">f8", "<f2"])
@pytest.mark.parametrize("shape", [(7, 5, 6), (7, 5, 6, 3), (7, 3, 5, 6), (7, 5, 6, 1), (1, 1, 1)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_comes_in_pieces_as_it_came_whole(tmp_path, monkeypatch, dtype, shape, order):
    monkeypatch.setattr(arrays, "PIECE", 100)
    values = np.random.default_rng(0).random(shape)
    values = np.asarray(255 * values if dtype == "|u1" else values, dtype=dtype, order=order)
    expected = values if dtype == "|u1" else np.rint(values * 255).astype(np.uint8)
    if len(shape) == 3:
        expected = expected[:, None]
    elif shape[-1] in (1, 3):
        expected = expected.transpose(0, 3, 1, 2)
    np.save(tmp_path / "a.npy", values)
    np.savez_compressed(tmp_path / "a.npz", images=values, labels=np.arange(len(values)), other=[1.0])
    for name in ("a.npy", "a.npz"):
        found = array.read(tmp_path / name, "input")
        np.testing.assert_array_equal(found.pixels.numpy(), expected)
        assert (found.labels is not None) == (name == "a.npz")


def test_doubles_take_an_eighth_of_their_memory(tmp_path):
    np.save(tmp_path / "a.npy", np.full((1000, 64, 64), 0.5))  # 31 MiB
    tracemalloc.start()
    array.read(tmp_path / "a.npy", "input")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # 4 MiB of images, and a piece as bytes, as doubles, and rounded.
    assert peak < 4 * MIB + 5 * arrays.PIECE


def altered(path: Path, header: dict, data: bytes) -> Path:
    """An .npy with that header, true or not."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, header)
    path.write_bytes(buffer.getvalue() + data)
    return path


@pytest.mark.parametrize(
    ("shape", "data", "says"),
    [((10**7, 28, 28), bytes(100), "ends .* bytes before its last value"), ((2, 2, 2), bytes(9), "goes on"),
     ((2, 2, 2), bytes(7), "ends 1 bytes before"), ((10**14, 2, 2), bytes(8), "would take 364 TiB of memory")],
)  # fmt: skip
def test_a_header_that_is_not_true_is_noticed_before_memory_is_taken(tmp_path, shape, data, says):
    path = altered(tmp_path / "a.npy", {"descr": "|u1", "fortran_order": False, "shape": shape}, data)
    with pytest.raises((DataError, MemoryShortError), match=says):
        array.read(path, "input")


def test_an_array_of_zeros_is_not_unpacked(tmp_path, monkeypatch):
    short_of_memory.arrays_of_zeros(tmp_path / "a.npz", images=((4000, 40, 40), "|u1"))
    assert len(array.read(tmp_path / "a.npz", "input")) == 4000
    monkeypatch.setattr(arrays, "FLAT", MIB)
    monkeypatch.setattr(Stored, "parts", None)
    with pytest.raises(DataError, match=r"would unpack to 6.1 MiB, 1,0\d\d times its size; if that is right, save"):
        array.read(tmp_path / "a.npz", "input")


def test_images_for_which_there_is_no_memory_are_refused_and_are_not_called_damaged(tmp_path, monkeypatch):
    np.save(tmp_path / "a.npy", np.zeros((100, 10, 10), np.uint8))
    monkeypatch.setattr(memory, "free", lambda: 9999)
    with pytest.raises(MemoryShortError, match=r"input=.*a.npy: 100 images of 10×10 would take 9.77 KiB of memory"):
        array.read(tmp_path / "a.npy", "input")


def test_python_objects_are_never_made(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.array([object()], dtype=object))
    with pytest.raises(DataError, match="holds Python objects"):
        array.read(tmp_path / "a.npz", "input")


# -------------------------------------------------------------------------------------------- codes


@pytest.mark.parametrize("make", [short_of_memory.codes_that_repeat, short_of_memory.names_that_count])
def test_a_parquet_of_millions_of_equal_codes_is_refused_by_its_metadata(tmp_path, monkeypatch, make):
    make(tmp_path / "a.parquet", rows=250_000)
    monkeypatch.setattr(pyarrow.parquet.ParquetFile, "read", None)
    assert (tmp_path / "a.parquet").stat().st_size < 200_000
    with pytest.raises(DataError, match=r"would unpack to .* more than 100 times its size"):
        codes.read(tmp_path / "a.parquet", 2)


def test_names_that_repeat_are_refused_before_all_become_text(tmp_path):
    """As many as metadata lets through: among one more than there are names, one stands twice."""
    short_of_memory.codes_that_repeat(tmp_path / "a.parquet", rows=160_000)
    tracemalloc.start()
    with pytest.raises(DataError, match=r"the name 'a.png' stands there twice, in rows 1 and 2"):
        codes.read(tmp_path / "a.parquet", 2)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * MIB


def test_an_npz_of_codes_is_refused_by_its_headers(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    short_of_memory.arrays_of_zeros(path, names=((200_000,), "<U64"), codes=((200_000, 2), "<f4"))
    monkeypatch.setattr(Stored, "parts", None)
    with pytest.raises(DataError, match=r"would unpack to 50\.4 MiB, more than 100 times"):
        codes.read(path, 2)
    np.savez(path, names=np.array(["a"]), codes=np.zeros((1, 3)))
    with pytest.raises(DataError, match=r"has 1 names and codes of shape .1, 3.; the run's codes are 2 numbers each"):
        codes.read(path, 2)


def test_a_row_of_names_cannot_make_a_long_one_a_million_times():
    with pytest.raises(ValueError, match="more than 4096 letters"):
        numbered.unfolded([["x" * 5000, 5, 0, 1_000_000, ""]], 10_000_000)
    assert numbered.unfolded([["x" * 5000, 5, 0, 1, ""]], 10) == ["x" * 5000 + "00000"]


# ----------------------------------------------------------------------------- whose fault it is


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_a_picture_is_not_called_damaged_where_the_machine_is_short_of_memory(monkeypatch, kind):
    buffer = io.BytesIO()
    Image.new("L", (8, 8)).save(buffer, kind)

    def refuse(*args: object, **more: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Image.Image, "load", refuse)
    monkeypatch.setattr(tiff, "_decoded", refuse)
    with pytest.raises(DataError):  # there is plenty: the file asks for what nobody has
        decoding.decode(buffer.getvalue())
    monkeypatch.setattr(memory, "free", lambda: memory.SHORT - 1)
    with pytest.raises(MemoryError):
        decoding.decode(buffer.getvalue(), Reading(), "a.png")


def test_a_picture_larger_than_what_is_free_is_named_and_what_would_leave_it_out(monkeypatch):
    monkeypatch.setattr(memory, "free", lambda: 10_000)
    monkeypatch.setattr(memory, "PICTURES", memory.Budget())
    says = "b.png: a picture that is 80×80 would take 112 KiB of memory, and 9.77 KiB are free; picture_gb=<less>"
    with pytest.raises(MemoryShortError, match=says):
        decoding.decode(png(80), Reading(), "b.png")
