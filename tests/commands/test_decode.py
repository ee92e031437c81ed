"""Where decoded pictures land: no two in one file, none outside the folder, no part of a name lost."""

import os
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import zoo
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from aectl.files import below, codes
from aectl.files.below import png_names
from aectl.models.autoencoder import Autoencoder
from aectl.runs import opening

pytestmark = pytest.mark.usefixtures("without_pictures")

HERE = Path()
CPU = torch.device("cpu")

usual = st.sampled_from(["a", "b", "a.png", "b.PNG", "a.jpg", "a.jpg.png", "a.png.png", "alpha_0.5", ".a", "a "])
others = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=5)
parts = usual | others.filter(lambda part: part not in (".", ".."))
names = st.lists(st.lists(parts, min_size=1, max_size=3).map("/".join), min_size=1, max_size=8, unique=True)


@given(names)
@example(["a.jpg", "a.png", "a.jpg.png", "a"])
@example(["a", "a.png/b", "a.png"])
@example(["a.png", "a.png/b.png", "a.png.png/c", "a"])
def test_no_two_pictures_meet_and_no_name_loses_a_part(names):
    found = png_names(names, HERE)
    assert len(set(found)) == len(found) == len(names)
    folders = {str(folder) for name in found for folder in Path(name).parents}
    assert not folders & set(found)
    for name, file in zip(names, found, strict=True):
        assert file.lower().endswith(".png")
        assert file.startswith(name)
        assert set(file[len(name) :].split(".png")) == {""}, "nothing but .png comes after it"
        assert file == name or not name.lower().endswith(".png") or name in folders


@pytest.mark.parametrize(
    ("names", "files"),
    [(["a.png", "sub/a.gif", "alpha_0.5", "test00000"], ["a.png", "sub/a.gif.png", "alpha_0.5.png", "test00000.png"]),
     (["a.jpg", "a.png", "a.jpg.png"], ["a.jpg.png.png", "a.png", "a.jpg.png"]),
     (["A.PNG", "a.png"], ["A.PNG", "a.png"]),
     (["a.png", "a.png/b.png"], ["a.png.png", "a.png/b.png"])],
)  # fmt: skip
def test_files_are_called_as_the_codes(names, files):
    assert png_names(names, HERE) == files


def test_names_that_differ_in_case_alone_keep_apart_where_the_system_would_not(monkeypatch):
    monkeypatch.setattr(below, "FOLDS", True)
    assert png_names(["A.png", "a.png", "é.png", "e\u0301.png"], HERE) == [
        "A.png", "a.png.png", "é.png", "e\u0301.png.png",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name",
    ["../a", "/etc/a", "a/../../b", "a/..", "", ".", "./a", "a/", "a//b", "a\0b", "\ud800", "x" * 256, "x" * 253,
     "y/" + "é" * 128, "d/" * 2047 + "aaaa"],
)  # fmt: skip
def test_names_that_no_file_below_the_folder_can_have_are_refused_by_name(tmp_path, name):
    with pytest.raises(ValueError, match="cannot name a picture below the output folder") as caught:
        png_names(["fine.png", name], tmp_path / "not/there/yet")
    assert str(caught.value).startswith(repr(name)[:20])
    assert not list(tmp_path.iterdir())


def test_the_longest_name_is_taken(tmp_path):
    assert png_names(["x" * 251], tmp_path) == ["x" * 251 + ".png"]


STRANGE = [
    "a.png", "a.jpg", "a.jpg.png", "alpha_0.5.webp", "a\nb.png", "a\rb.png", "a\u2028b.gif", "a\x85.bmp", 'a".png',
    "a,b/c.png", " a .png", "A.PNG", "é.png", "name.tif", os.fsdecode(b"a\xff.png"),
]  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have fewer names")
def test_every_picture_comes_back_under_its_own_name_in_all_formats(aectl, small_run, tmp_path):
    for index, name in enumerate(STRANGE):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.roll(zoo.GREY, index)).save(path)
    model = opening.open_run(str(small_run), "best", CPU).model
    for suffix in ("npz", "csv", "parquet"):
        assert aectl("encode", f"run={small_run}", "input=in", f"output=codes.{suffix}").status == 0
        done = aectl("decode", f"run={small_run}", f"input=codes.{suffix}", f"output={suffix}")
        assert done.status == 0, done.err
        names, z = codes.read(tmp_path / f"codes.{suffix}", 2)
        assert sorted(names) == sorted(STRANGE)
        expected = dict(zip(names, model.decode(z)[:, 0], strict=True))
        files = {name: name if name.lower().endswith(".png") else f"{name}.png" for name in STRANGE}
        files["a.jpg"] = "a.jpg.png.png"
        for name, file in files.items():
            with Image.open(tmp_path / suffix / file) as image:
                np.testing.assert_allclose(np.asarray(image) / 255, expected[name].detach(), atol=0.5 / 255 + 1e-6)
        assert sum(path.is_file() for path in (tmp_path / suffix).rglob("*")) == len(STRANGE)


def test_a_zip_with_a_file_and_a_folder_of_one_name_comes_back(aectl, small_run, tmp_path):
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for name in ("a.png", "a.png/b.png"):
            archive.writestr(name, zoo.encoded("PNG"))
    assert aectl("encode", f"run={small_run}", "input=in.zip", "output=codes.csv").status == 0
    assert aectl("decode", f"run={small_run}", "input=codes.csv", "output=out").status == 0
    files = [str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert sorted(files) == ["a.png.png", "a.png/b.png"]


def test_decode_writes_all_or_nothing(aectl, small_run, tmp_path, monkeypatch):
    codes.write(tmp_path / "out_of_it.npz", ["a", "../b"], np.zeros((2, 2), np.float32))
    codes.write(tmp_path / "long.csv", ["a", "c" * 300], np.zeros((2, 2), np.float32))
    codes.write(tmp_path / "huge.csv", ["a", "b", "c"], np.array([[0, 0], [3e38, 0], [0, 0]], np.float32))
    decode = Autoencoder.decode
    monkeypatch.setattr(Autoencoder, "decode", lambda self, z: decode(self, z) + (z[:, :1, None, None] * 10) * 0)
    for file, says in (("out_of_it.npz", "'../b'"), ("long.csv", "cccc"), ("huge.csv", "'b'")):
        refused = aectl("decode", f"run={small_run}", f"input={file}", "output=out")
        assert refused.status == 3
        assert file in refused.err
        assert says in refused.err
        assert len(refused.err.splitlines()) == 1
        assert not (tmp_path / "out").exists()


def test_the_longest_name_is_written(aectl, small_run, tmp_path):
    codes.write(tmp_path / "a.csv", ["x" * 251, f"y/{'z' * 255}/{'a' * 251}.png"], np.zeros((2, 2), np.float32))
    done = aectl("decode", f"run={small_run}", "input=a.csv", "output=out")
    assert done.status == 0, done.err
    assert (tmp_path / f"out/{'x' * 251}.png").is_file()
    assert (tmp_path / f"out/y/{'z' * 255}/{'a' * 251}.png").is_file()


def test_what_is_in_the_way_of_pictures_is_named_before_the_first(aectl, small_run, tmp_path):
    codes.write(tmp_path / "a.npz", ["first", "sub/b.png"], np.zeros((2, 2), np.float32))
    (tmp_path / "file").write_text("")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/sub").write_text("")
    (tmp_path / "other/sub/b.png").mkdir(parents=True)
    for output, says in (
        ("file", "file is a file"),
        ("out", "out/sub is a file"),
        ("other", "other/sub/b.png is a folder"),
    ):
        refused = aectl("decode", f"run={small_run}", "input=a.npz", f"output={output}", "overwrite=true")
        assert refused.status == 6
        assert says in refused.err
    assert not (tmp_path / "out/first.png").exists()
