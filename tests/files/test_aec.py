"""Files of bits: what they say comes back, and no damage is read."""

import dataclasses
import json
import os
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aectl.errors import DataError
from aectl.files import aec, numbered

NAMES = ["a.png", "b/c.png", os.fsdecode(b"a\xff.png"), "x09", "x10", "x11", "7", "8"]
HEADER = aec.Header(
    "bits_back", "the-run", "0" * 64, "a machine", [1, 4, 4], numbered.folded(NAMES), [[4, 4]],
    *aec.labelled(["zwei", None, "eins", "eins", None, None, "zwei", "zwei"]), [3, 5],
)  # fmt: skip
BLOCKS = [b"some bits", b""]


def written(path, header=HEADER, blocks=BLOCKS):
    path.write_bytes(aec.to_bytes(header, blocks))
    return path


def test_all_of_it_comes_back(tmp_path):
    header, found, blocks = aec.read(written(tmp_path / "a.aec"))
    assert header == HEADER
    assert found.names == NAMES
    assert found.sizes == [(4, 4)] * 8
    assert found.labels == ["zwei", None, "eins", "eins", None, None, "zwei", "zwei"]
    assert blocks == BLOCKS


@given(st.lists(st.one_of(st.text(max_size=12), st.integers(0, 120).map(lambda n: f"a{n:03d}.png")), unique=True))
def test_names_are_folded_and_come_back(names):
    rows = json.loads(json.dumps(numbered.folded(names)))
    assert numbered.unfolded(rows, len(names)) == names


def test_ten_thousand_numbered_names_are_one_row():
    names = [f"test{index:05d}" for index in range(10_000)]
    assert numbered.folded(names) == [["test", 5, 0, 10_000, ""]]


def test_every_cut_and_every_damaged_byte_is_noticed(tmp_path):
    data = aec.to_bytes(HEADER, BLOCKS)
    path = tmp_path / "a.aec"
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(DataError, match="cannot be read"):
            aec.read(path)
    for place in range(len(data)):
        for bit in (1, 128):
            damaged = bytearray(data)
            damaged[place] ^= bit
            path.write_bytes(damaged)
            with pytest.raises(DataError, match="cannot be read"):
                aec.read(path)
    path.write_bytes(data + b"\0")
    with pytest.raises(DataError, match="1 byte too long"):
        aec.read(path)


def test_damage_is_named_by_the_pictures_that_it_bears_on(tmp_path):
    data = aec.to_bytes(HEADER, [b"some bits", b"others"])
    (tmp_path / "a.aec").write_bytes(data.replace(b"others", b"Others"))
    with pytest.raises(DataError, match=r"'x09' to '8' \(5 of 8\): the bits are damaged"):
        aec.read(tmp_path / "a.aec")


WRONG = {
    "another version": ({"format": 2}, "another version of aectl wrote it"),
    "no such coding": ({"coding": "pickle"}, "coding"),
    "a field more": ({"load": "os.system"}, "no such setting"),
    "no pictures": ({"blocks": []}, "0 pictures"),
    "pictures below zero": ({"blocks": [9, -1]}, "8 pictures"),
    "more pictures than any": ({"blocks": [10**9]}, "pictures"),
    "names twice": ({"names": [["a", 0, 0, 8, ""]]}, "1 name for 8 pictures"),
    "names without end": ({"names": [["a", 9, 0, 10**12, ""]]}, "counts 1000000000000"),
    "names that are none": ({"names": [["a", 9, 0, True, ""]]}, "row of names"),
    "a size of nothing": ({"sizes": [[0, 4]]}, "no size"),
    "sizes of some": ({"sizes": [[4, 4]] * 7}, "no size"),
    "a size of three": ({"sizes": [[4, 4, 4]]}, "no size"),
    "an immense size": ({"sizes": [[2**40, 4]]}, "no size"),
    "a label that is none": ({"labelled": "9" * 8}, "no label"),
    "a shape of two": ({"shape": [4, 4]}, "must be"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_header_that_nobody_wrote_is_refused_in_one_line(tmp_path, name):
    changes, says = WRONG[name]
    values = {**dataclasses.asdict(HEADER), **changes}
    packed = zlib.compress(json.dumps(values).encode())
    data = aec.MAGIC + b"".join(aec.FRAME.pack(len(part), zlib.crc32(part)) + part for part in (packed, *BLOCKS))
    (tmp_path / "a.aec").write_bytes(data)
    with pytest.raises(DataError) as refused:
        aec.read(tmp_path / "a.aec")
    assert says in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_a_header_that_would_fill_the_memory_is_not_inflated(tmp_path, monkeypatch):
    monkeypatch.setattr(aec, "MAX_HEADER", 2**16)
    packed = zlib.compress(b" " * 2**20)
    (tmp_path / "a.aec").write_bytes(aec.MAGIC + aec.FRAME.pack(len(packed), zlib.crc32(packed)) + packed)
    with pytest.raises(DataError, match="longer than any"):
        aec.read(tmp_path / "a.aec")


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("aec") / "a.aec"
    rng = np.random.default_rng(len(data))
    path.write_bytes(aec.MAGIC + data if rng.random() < 0.7 else data)
    with pytest.raises(DataError):
        aec.read(path)
