import json
import os
import shutil

import numpy as np
import pytest
import torch
import zoo
from albums import bmp, many, own, png, put
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aectl import sealed
from aectl.data.datasets import cache
from aectl.data.split import build_dataset
from aectl.errors import DataError

PICTURES = [np.arange(i, i + 12, dtype=np.uint8).reshape(1, 3, 4) for i in range(5)]
MIXED = [PICTURES[0], "is no picture", PICTURES[1][:, :2], PICTURES[2]]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AECTL_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Two caches: of one size, and of several with a bad file."""
    root = tmp_path_factory.mktemp("caches")
    cache.write(root / "one", "one", [1, 3, 4], False, PICTURES, list)
    cache.write(root / "several", "several", [1, 2, 4], True, MIXED, list)
    return root


def test_what_is_written_is_read_in_memory_and_mapped(whole):
    for memory_gb, kind in ((1, np.ndarray), (0, np.memmap)):
        index, pixels = cache.read(whole / "one", "one", 5, memory_gb)
        assert type(pixels) is kind
        np.testing.assert_array_equal(pixels, np.stack(PICTURES))
        index, pixels = cache.read(whole / "several", "several", 4, memory_gb)
        assert (index.bad, index.reasons, index.sizes) == ([1], ["is no picture"], [3, 4, 2, 4, 3, 4])
        np.testing.assert_array_equal(pixels, np.concatenate([x.ravel() for x in MIXED if isinstance(x, np.ndarray)]))


@pytest.mark.parametrize(
    ("name", "memory_gb", "step"), [(cache.PIXELS, 1, 1), (cache.PIXELS, 0, 1), (cache.INDEX, 1, 7)]
)
def test_a_flipped_bit_is_noticed(whole, tmp_path, name, memory_gb, step):
    shutil.copytree(whole / "one", tmp_path / "one")
    good = (tmp_path / "one" / name).read_bytes()
    for bit in range(0, 8 * len(good), step):
        data = bytearray(good)
        data[bit // 8] ^= 1 << bit % 8
        (tmp_path / "one" / name).write_bytes(data)
        with pytest.raises(ValueError, match="checksum"):
            cache.read(tmp_path / "one", "one", 5, memory_gb)


def test_a_cache_of_other_pictures_is_noticed(whole):
    for key, files in (("two", 5), ("one", 6), ("one", 4)):
        with pytest.raises(ValueError, match="is "):
            cache.read(whole / "one", key, files, 1)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from([*cache.Index.__dataclass_fields__, "other"]), JSON)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_value_in_an_index_is_read_or_refused(whole, tmp_path, key, value):
    """Also where its seal fits."""
    target = tmp_path / "one"
    shutil.copytree(whole / "one", target, dirs_exist_ok=True)
    document = sealed.unseal((whole / "one" / cache.INDEX).read_bytes()) | {key: value}
    (target / cache.INDEX).write_bytes(sealed.seal(document))
    try:
        cache.read(target, "one", 5, 1)
    except ValueError:
        return
    if key == "notes":  # which may say anything
        assert all(isinstance(note, str) for note in value)
    else:
        assert document == sealed.unseal((whole / "one" / cache.INDEX).read_bytes())


def fifo(path):
    path.unlink()
    os.mkfifo(path)


def as_folder(path):
    path.unlink()
    (path / "x").mkdir(parents=True)


DAMAGES = {
    "pixels flipped": lambda at: at("pixels.bin", lambda data: zoo.flipped(data, 777)),
    "pixels cut": lambda at: at("pixels.bin", lambda data: data[:-1]),
    "pixels empty": lambda at: at("pixels.bin", lambda data: b""),
    "two pictures swapped": lambda at: at("pixels.bin", lambda data: data[192:384] + data[:192] + data[384:]),
    "pixels gone": lambda at: (at / "pixels.bin").unlink(),
    "pixels a folder": lambda at: as_folder(at / "pixels.bin"),
    "pixels a pipe": lambda at: fifo(at / "pixels.bin"),
    "index flipped": lambda at: at("index.json", lambda data: zoo.flipped(data, 99)),
    "index cut": lambda at: at("index.json", lambda data: data[:50]),
    "index empty": lambda at: at("index.json", lambda data: b""),
    "index of another format": lambda at: at("index.json", lambda data: b'{"shape": [1, 1, 1], "names": []}'),
    "index nested": lambda at: at("index.json", lambda data: b"[" * 100_000),
    "index not UTF-8": lambda at: at("index.json", lambda data: b"\xff" + data),
    "index gone": lambda at: (at / "index.json").unlink(),
    "index a folder": lambda at: as_folder(at / "index.json"),
    "index a pipe": lambda at: fifo(at / "index.json"),
    "all gone": lambda at: [path.unlink() for path in at.path.iterdir()],
    "a file in its place": lambda at: [shutil.rmtree(at.path), at.path.write_bytes(b"x")],
    "a link that leads nowhere": lambda at: [shutil.rmtree(at.path), at.path.symlink_to("nowhere")],
}


class At:
    """A cache folder: `at(name, change)` rewrites a file of it."""

    def __init__(self, path):
        self.path = path

    def __truediv__(self, name):
        return self.path / name

    def __call__(self, name, change):
        data = change((self.path / name).read_bytes())
        (self.path / name).write_bytes(data)


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_cache_is_made_again_and_said_in_a_line(tmp_path, caplog, damage):
    many(tmp_path / "in", 6)
    first = build_dataset(own(tmp_path / "in"), None)
    (place,) = (path for path in (tmp_path / "cache").iterdir() if path.name != "hashes")
    damage(At(place))
    again = build_dataset(own(tmp_path / "in"), None)
    assert torch.equal(again.train.pixels, first.train.pixels)
    assert again.manifest == first.manifest
    assert ["is a damaged cache" in record.message for record in caplog.records] == [True]
    caplog.clear()
    build_dataset(own(tmp_path / "in"), None)
    assert not caplog.records, "it is whole now"


def test_a_cache_put_in_the_place_of_another_is_not_taken(tmp_path, caplog):
    """As when someone renames folders: sizes and numbers fit, the pictures are others."""
    one = build_dataset(own(many(tmp_path / "one", 6)), None)
    (place,) = (path for path in (tmp_path / "cache").iterdir() if path.name != "hashes")
    place.rename(tmp_path / "kept")
    other = put(tmp_path / "other", {f"cats/{i}.png": png(np.full((12, 16), i, np.uint8)) for i in range(6)})
    two = build_dataset(own(other), None)
    (place,) = (path for path in (tmp_path / "cache").iterdir() if path.name != "hashes")
    shutil.rmtree(place)
    (tmp_path / "kept").rename(place)
    again = build_dataset(own(other), None)
    assert torch.equal(again.train.pixels, two.train.pixels)
    assert not torch.equal(again.train.pixels, one.train.pixels)
    assert "is a damaged cache" in caplog.text


def remembered(tmp_path):
    (memory,) = (tmp_path / "cache/hashes").iterdir()
    return memory


@pytest.mark.parametrize("text", ["", "[[1]]", '{"files": 1}', '{"files": [[1, 2, 3, 4]]}', "[" * 99_999, "\0"])
@pytest.mark.parametrize("is_sealed", [True, False])
def test_damaged_hashes_are_read_anew(tmp_path, caplog, text, is_sealed):
    put(tmp_path / "in", {f"{i}.bmp": bmp(i) for i in range(10)})
    first = build_dataset(own(tmp_path / "in"), None)
    if is_sealed and text.startswith("{"):
        remembered(tmp_path).write_bytes(sealed.seal(json.loads(text)))
    else:
        remembered(tmp_path).write_text(text)
    assert build_dataset(own(tmp_path / "in"), None).manifest == first.manifest
    assert caplog.text.count("every picture is read again") == 1


def test_wrong_hashes_heal(tmp_path, caplog):
    """Two of them swapped, and the seal made to fit: as if the pictures had changed within their time stamps."""
    put(tmp_path / "in", {f"{i}.bmp": bmp(i) for i in range(10)})
    for path in (tmp_path / "in").iterdir():
        os.utime(path, (1e9, 1e9))
    first = build_dataset(own(tmp_path / "in"), None)
    rows = sealed.unseal(remembered(tmp_path).read_bytes())["files"]
    assert len(rows) == 10
    rows[0][3], rows[1][3] = rows[1][3], rows[0][3]
    remembered(tmp_path).write_bytes(sealed.seal({"files": rows}))
    again = build_dataset(own(tmp_path / "in"), None)
    assert again.manifest == first.manifest
    assert torch.equal(again.train.pixels, first.train.pixels)
    assert caplog.text.count("is out of date") == 1
    caplog.clear()
    build_dataset(own(tmp_path / "in"), None)
    assert not caplog.records


def test_two_processes_may_make_the_same_cache(tmp_path):
    for _ in range(2):
        cache.write(tmp_path / "one", "one", [1, 3, 4], False, PICTURES, list)
    assert [path.name for path in tmp_path.iterdir()] == ["one"]
    cache.read(tmp_path / "one", "one", 5, 1)


def test_a_storage_that_keeps_nothing_ends_in_one_line(tmp_path, monkeypatch):
    put(tmp_path / "in", {f"{i}.bmp": bmp(i) for i in range(10)})
    write = cache.write

    def damaging(target, *args):
        write(target, *args)
        (target / cache.PIXELS).write_bytes(b"")

    monkeypatch.setattr(cache, "write", damaging)
    with pytest.raises(DataError, match="AECTL_CACHE"):
        build_dataset(own(tmp_path / "in"), None)
