import zipfile
from pathlib import Path

import numpy as np
import pytest
import zoo
from conftest import SMALL
from PIL import Image

from aectl import codec
from aectl.errors import DataError


def pictures(folder: Path) -> Path:
    (folder / "sub").mkdir(parents=True)
    for index in range(3):
        Image.fromarray(np.roll(zoo.GREY, index)).save(folder / f"sub/{index}.png")
    Image.fromarray(zoo.GREY).resize((40, 20)).convert("RGBA").save(folder / "wide.png")
    return folder


@pytest.mark.parametrize("suffix", ["npz", "csv"])
@pytest.mark.parametrize("model", ["vae", "ae"])
def test_pictures_become_codes_and_pictures_again(aectl, tmp_path, suffix, model):
    aectl("train", *SMALL, f"model={model}", "latent=5")
    pictures(tmp_path / "in")
    for name in ("a", "b"):
        done = aectl("encode", "input=in", f"output={name}.{suffix}")
        assert done.status == 0, done.err
    assert "784 bytes a picture become 20: compression 39.2 to 1, PSNR " in done.out
    names, codes = codec.read_codes(tmp_path / f"a.{suffix}", 5)
    assert names == ["sub/0.png", "sub/1.png", "sub/2.png", "wide.png"]
    np.testing.assert_array_equal(codes, codec.read_codes(tmp_path / f"b.{suffix}", 5)[1])
    assert aectl("decode", f"input=a.{suffix}", "output=out").status == 0
    assert sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.png")) == names
    with Image.open(tmp_path / "out/sub/0.png") as image:
        assert (image.size, image.mode) == ((28, 28), "L")
    assert aectl("decode", f"input=a.{suffix}", "output=out").status == 6
    assert aectl("encode", "input=in", f"output=a.{suffix}").status == 6


def test_pictures_that_cannot_be_used_stop_it_or_are_left_out_and_written_down(aectl, tmp_path):
    aectl("train", *SMALL)
    pictures(tmp_path / "in")
    (tmp_path / "in/bad.png").write_bytes(b"no")
    refused = aectl("encode", "input=in", "output=a.csv")
    assert refused.status == 3
    assert "1 of 5 pictures cannot be used" in refused.err
    assert "bad.png: " in refused.out
    assert not (tmp_path / "a.csv").exists()
    assert aectl("encode", "input=in", "output=a.csv", "on_bad=skip").status == 0
    assert codec.read_codes(tmp_path / "a.csv", 2)[0] == ["sub/0.png", "sub/1.png", "sub/2.png", "wide.png"]
    assert "bad.png," in (tmp_path / "a_bad_pictures.csv").read_text()


def test_draws_differ_by_seed_and_csv_keeps_every_bit(aectl, tmp_path):
    aectl("train", *SMALL)
    for name, *more in (
        ("mean.npz",),
        ("mean.csv",),
        ("one.npz", "sample=true"),
        ("two.npz", "sample=true", "seed=1"),
    ):
        assert aectl("encode", f"output={name}", *more).status == 0
    codes = {name: codec.read_codes(tmp_path / name, 2)[1] for name in ("mean.npz", "mean.csv", "one.npz", "two.npz")}
    np.testing.assert_array_equal(codes["mean.npz"], codes["mean.csv"])
    assert not np.array_equal(codes["mean.npz"], codes["one.npz"])
    assert not np.array_equal(codes["one.npz"], codes["two.npz"])


@pytest.mark.parametrize(
    ("command", "arguments", "status", "says"),
    [("encode", [], 2, "output=codes.npz"), ("encode", ["output=codes.txt"], 2, "must end in .npz"),
     ("encode", ["input=nowhere", "output=a.npz"], 3, "nowhere"), ("decode", ["output=x"], 2, "input=codes.npz"),
     ("decode", ["input=none.npz", "output=x"], 3, "none.npz"),
     ("decode", ["input=wrong.csv", "output=x"], 3, "shape")],
)  # fmt: skip
def test_mistakes_get_one_line(aectl, tmp_path, command, arguments, status, says):
    aectl("train", *SMALL)
    (tmp_path / "wrong.csv").write_text("name,z1\na,1\n")
    refused = aectl(command, *arguments)
    assert refused.status == status
    assert says in refused.err
    assert len(refused.err.strip().splitlines()) == 1


@pytest.mark.parametrize("name", ["../a", "/etc/a", "a/../../b", "", "a\0b"])
def test_names_of_codes_cannot_lead_out_of_the_folder(tmp_path, name):
    with pytest.raises(DataError, match="cannot be the name"):
        codec._paths(tmp_path, [name])


def test_names_that_differ_in_their_suffix_alone_keep_it(tmp_path):
    found = codec._paths(tmp_path, ["a.png", "a.gif", "sub/a.gif"])
    assert [str(path.relative_to(tmp_path)) for path in found] == ["a.png.png", "a.gif.png", "sub/a.png"]


def test_strange_files_of_codes_are_refused(tmp_path):
    np.savez(tmp_path / "nan.npz", codes=np.full((1, 2), np.nan), names=np.array(["a"]))
    np.savez(tmp_path / "flat.npz", codes=np.zeros(2), names=np.array(["a"]))
    np.savez(tmp_path / "lacking.npz", names=np.array(["a"]))
    payload = np.empty(1, dtype=object)
    payload[:] = [zoo.Payload()]
    np.savez(tmp_path / "pickled.npz", codes=payload, names=np.array(["a"]))
    with zipfile.ZipFile(tmp_path / "other.npz", "w") as archive:
        archive.writestr("codes.npy", b"hello")
    (tmp_path / "text.npz").write_text("hello")
    (tmp_path / "words.csv").write_text("name,z1,z2\na,one,two\n")
    (tmp_path / "ragged.csv").write_text("name,z1,z2\na,1\nb,1,2\n")
    (tmp_path / "empty.csv").write_text("")
    for path in tmp_path.iterdir():
        with pytest.raises(DataError, match=path.name):
            codec.read_codes(path, 2)
    assert not Path("canary").exists()


def test_parquet_needs_its_package_and_says_so(aectl, tmp_path):
    pytest.importorskip("pyarrow", reason="an optional package")
    aectl("train", *SMALL)
    assert aectl("encode", "output=a.parquet").status == 0
    assert aectl("encode", "output=a.npz").status == 0
    one, other = (codec.read_codes(tmp_path / name, 2) for name in ("a.parquet", "a.npz"))
    assert one[0] == other[0]
    np.testing.assert_array_equal(one[1], other[1])
