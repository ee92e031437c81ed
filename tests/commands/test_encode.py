import csv
import io
import json
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import torch
import zoo
from albums import png, put
from conftest import SMALL
from PIL import Image

from aectl.files import codes
from aectl.models.autoencoder import Autoencoder

pytestmark = pytest.mark.usefixtures("without_pictures")


def pictures(folder: Path) -> Path:
    (folder / "sub").mkdir(parents=True)
    for index in range(3):
        Image.fromarray(np.roll(zoo.GREY, index)).save(folder / f"sub/{index}.png")
    Image.fromarray(zoo.GREY).resize((40, 20)).convert("RGBA").save(folder / "wide.png")
    return folder


@pytest.mark.parametrize(("suffix", "model"), [("npz", "vae"), ("csv", "ae")])
def test_pictures_become_codes_and_pictures_again(aectl, tmp_path, suffix, model):
    aectl("train", *SMALL, f"model={model}", "latent=5")
    pictures(tmp_path / "in")
    for name in ("a", "b"):
        done = aectl("encode", "input=in", f"output={name}.{suffix}")
        assert done.status == 0, done.err
    assert "784 bytes a picture become 20: compression 39.2 to 1, PSNR " in done.out
    names, found = codes.read(tmp_path / f"a.{suffix}", 5)
    assert names == ["sub/0.png", "sub/1.png", "sub/2.png", "wide.png"]
    np.testing.assert_array_equal(found, codes.read(tmp_path / f"b.{suffix}", 5)[1])
    assert aectl("decode", f"input=a.{suffix}", "output=out").status == 0
    assert sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.png")) == names
    with Image.open(tmp_path / "out/sub/0.png") as image:
        assert (image.size, image.mode) == ((28, 28), "L")
    assert aectl("decode", f"input=a.{suffix}", "output=out").status == 6
    assert aectl("encode", "input=in", f"output=a.{suffix}").status == 6


def test_pictures_that_cannot_be_used_stop_it_or_are_left_out_and_written_down(aectl, small_run, tmp_path):
    pictures(tmp_path / "in")
    (tmp_path / "in/bad.png").write_bytes(b"no")
    (tmp_path / "in/b\r.png").write_bytes(b"no")
    refused = aectl("encode", f"run={small_run}", "input=in", "output=a.csv")
    assert refused.status == 3
    assert "2 of 6 pictures cannot be used" in refused.err
    assert "bad.png: " in refused.out
    assert not (tmp_path / "a.csv").exists()
    assert aectl("encode", f"run={small_run}", "input=in", "output=a.csv", "on_bad=skip").status == 0
    assert codes.read(tmp_path / "a.csv", 2)[0] == ["sub/0.png", "sub/1.png", "sub/2.png", "wide.png"]
    with (tmp_path / "a_bad_pictures.csv").open(newline="") as file:
        assert [row[0] for row in csv.reader(file)] == ["file", "b\r.png", "bad.png"]


def labelled(folder: Path, *names: str) -> Path:
    """Pictures of the small run's size under these names, each another one."""
    rng = np.random.default_rng(0)
    return put(folder, {name: png(rng.integers(0, 256, (28, 28), dtype=np.uint8)) for name in names})


def columns(path: Path) -> dict[str, list]:
    """A table by its columns, read by the plain means of its format."""
    if path.suffix == ".parquet":
        return pyarrow.parquet.read_table(path).to_pydict()
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        header, *rows = csv.reader(file)
    return dict(zip(header, map(list, zip(*rows, strict=True)), strict=True))


@pytest.mark.parametrize(
    ("names", "labels"),
    [(["cats/a.png", "cats/b.png", "dogs, big/a.png", "stray.png"], ["cats", "cats", "dogs, big", ""]),
     (["train/x/1.png", "train/y/1.png", "val/x/2.png", "val/z/2.png"], ["x", "y", "x", "z"]),
     (["a.png", "b.png"], None), (["only/a.png", "only/b.png"], None)],
)  # fmt: skip
def test_folders_that_tell_the_pictures_apart_are_labels(aectl, small_run, tmp_path, names, labels):
    labelled(tmp_path / "in", *names)
    for suffix in ("csv", "parquet", "npz"):
        assert aectl("encode", f"run={small_run}", "input=in", f"output=a.{suffix}").status == 0
    for suffix in ("csv", "parquet"):
        found = columns(tmp_path / f"a.{suffix}")
        more = ["label"] if labels else []
        assert list(found) == ["name", *more, "psnr", "z1", "z2", "s1", "s2"]
        assert (found["name"], found.get("label")) == (names, labels)
        assert all(float(value) > 0 for key in ("psnr", "s1", "s2") for value in found[key])
    with np.load(tmp_path / "a.npz") as found:
        assert ("labels" in found) == (labels is not None)
        assert labels is None or found["labels"].tolist() == labels
        np.testing.assert_array_equal(found["psnr"], np.array(columns(tmp_path / "a.csv")["psnr"], np.float32))
        np.testing.assert_array_equal(found["sigma"][:, 1], np.array(columns(tmp_path / "a.csv")["s2"], np.float32))


def test_decode_takes_tables_with_and_without_what_stands_beside_the_codes(aectl, small_run, tmp_path):
    labelled(tmp_path / "in", "x/a.png", "y/b.png")
    assert aectl("encode", f"run={small_run}", "input=in", "output=all.csv").status == 0
    found = columns(tmp_path / "all.csv")
    for name, kept in (
        ("bare.csv", ["name", "z1", "z2"]), ("turned.csv", ["s2", "z2", "label", "name", "s1", "z1", "psnr"]),
    ):  # fmt: skip
        with (tmp_path / name).open("w", newline="") as file:
            csv.writer(file).writerows([kept, *zip(*(found[key] for key in kept), strict=True)])
    for name in ("all", "bare", "turned"):
        done = aectl("decode", f"run={small_run}", f"input={name}.csv", f"output={name}")
        assert done.status == 0, done.err
        assert "passed over" not in done.out
    for picture in ("x/a.png", "y/b.png"):
        whole = (tmp_path / "all" / picture).read_bytes()
        assert whole == (tmp_path / "bare" / picture).read_bytes() == (tmp_path / "turned" / picture).read_bytes()


def test_an_autoencoder_has_no_sigma(aectl, autoencoder, tmp_path):
    assert aectl("encode", f"run={autoencoder}", "output=a.csv").status == 0
    assert list(columns(tmp_path / "a.csv")) == ["name", "label", "psnr", *(f"z{k}" for k in range(1, 7))]


def test_arrays_give_the_codes_of_the_same_pictures(aectl, small_run, tmp_path):
    names = [f"{index:05d}" for index in range(3)]
    labelled(tmp_path / "in", *(f"{name}.png" for name in names))
    images = np.stack([np.asarray(Image.open(tmp_path / f"in/{name}.png")) for name in names])
    np.savez(tmp_path / "x.npz", images=images, labels=[3, -1, 0])
    np.save(tmp_path / "x.npy", np.repeat(images[..., None], 3, axis=3))  # in grey colours
    expected = []
    for given in ("in", "x.npz", "x.npy"):
        done = aectl("encode", f"run={small_run}", f"input={given}", "output=a.npz", "overwrite=true")
        assert done.status == 0, done.err
        with np.load(tmp_path / "a.npz") as found:
            assert [name.removesuffix(".png") for name in found["names"]] == names
            assert ("labels" in found) == (given == "x.npz")
            assert given != "x.npz" or found["labels"].tolist() == ["3", "", "0"]
            expected.append(found["codes"])
            np.testing.assert_array_equal(expected[-1], expected[0])
    np.savez(tmp_path / "y.npz", codes=images)
    refused = aectl("encode", f"run={small_run}", "input=y.npz", "output=b.npz")
    assert refused.status == 3
    assert "input=y.npz: cannot be used (has no array named images, only codes)" in refused.err


def test_a_run_on_pairs_has_the_codes_and_scores_of_its_clean_test_pictures(aectl, tmp_path):
    rng = np.random.default_rng(0)
    pictures = {f"{index:02d}.png": rng.integers(0, 256, (8, 8), dtype=np.uint8) for index in range(20)}
    put(tmp_path / "clean", {name: png(values) for name, values in pictures.items()})
    put(tmp_path / "noisy", {name: png(255 - values) for name, values in pictures.items()})
    words = ("dataset=folder", "dataset.root=clean", "dataset.noisy=noisy", "network.hidden=[4]", "epochs=1")
    assert aectl("train", *words, "figures_every=0", "device=cpu", "hydra.run.dir=run").status == 0
    for name, given in (("own", []), ("all", ["input=clean"])):
        for command in ("encode", "score"):
            done = aectl(command, "run=run", *given, f"output={name}_{command}.csv", "device=cpu")
            assert done.status == 0, done.err
    test = json.loads((tmp_path / "run/split.json").read_text())["parts"]["test"]
    for command, column in (("encode", "z1"), ("score", "score")):
        own, every = (columns(tmp_path / f"{name}_{command}.csv") for name in ("own", "all"))
        assert sorted(own["name"]) == sorted(row[0] for row in test)
        values = dict(zip(every["name"], map(float, every[column]), strict=True))
        assert [float(value) for value in own[column]] == pytest.approx(
            [values[name] for name in own["name"]], rel=1e-4
        )


def test_pictures_that_lose_their_proportions_are_counted(aectl, small_run, tmp_path):
    sizes = {"a.png": (56, 56), "b.png": (28, 28), "c.png": (100, 101), "d.png": (20, 40), "e.png": (40, 20)}
    put(tmp_path / "in", {name: png(np.zeros(size, np.uint8)) for name, size in sizes.items()})
    done = aectl("encode", f"run={small_run}", "input=in", "output=a.npz")
    assert "note: stretched to 28×28, so that their proportions changed: 2 of 5 pictures, such as d.png" in done.out
    (tmp_path / "in/d.png").unlink()
    (tmp_path / "in/e.png").unlink()
    assert "stretched" not in aectl("encode", f"run={small_run}", "input=in", "output=b.npz").out


def test_draws_differ_by_seed_and_csv_keeps_every_bit(aectl, small_run, tmp_path):
    for name, *more in (
        ("mean.npz",),
        ("mean.csv",),
        ("one.npz", "sample=true"),
        ("two.npz", "sample=true", "seed=1"),
    ):
        assert aectl("encode", f"run={small_run}", f"output={name}", *more).status == 0
    found = {name: codes.read(tmp_path / name, 2)[1] for name in ("mean.npz", "mean.csv", "one.npz", "two.npz")}
    np.testing.assert_array_equal(found["mean.npz"], found["mean.csv"])
    assert not np.array_equal(found["mean.npz"], found["one.npz"])
    assert not np.array_equal(found["one.npz"], found["two.npz"])


@pytest.mark.parametrize(
    ("command", "arguments", "status", "says"),
    [("encode", [], 2, "output=codes.npz"), ("encode", ["output=codes.txt"], 2, "must end in .npz"),
     ("encode", ["output=.npz"], 2, "must end in .npz"),
     ("encode", ["input=nowhere", "output=a.npz"], 3, "nowhere"), ("decode", ["output=x"], 2, "input=codes.npz"),
     ("decode", ["input=none.npz", "output=x"], 3, "none.npz"),
     ("decode", ["input=wrong.csv", "output=x"], 3, "no column z2")],
)  # fmt: skip
def test_mistakes_get_one_line(aectl, small_run, tmp_path, command, arguments, status, says):
    (tmp_path / "wrong.csv").write_text("name,z1\na,1\n")
    refused = aectl(command, f"run={small_run}", *arguments)
    assert refused.status == status
    assert says in refused.err
    assert len(refused.err.strip().splitlines()) == 1


def test_parquet_holds_the_same(aectl, small_run, tmp_path):
    assert aectl("encode", f"run={small_run}", "output=a.parquet").status == 0
    assert aectl("encode", f"run={small_run}", "output=a.npz").status == 0
    one, other = (codes.read(tmp_path / name, 2) for name in ("a.parquet", "a.npz"))
    assert one[0] == other[0]
    np.testing.assert_array_equal(one[1], other[1])


def test_what_is_in_the_way_is_said_before_the_work(aectl, small_run, tmp_path, monkeypatch):
    pictures(tmp_path / "in")
    (tmp_path / "file").write_text("")
    real = Autoencoder.encode
    monkeypatch.setattr(Autoencoder, "encode", None)  # the work would fail
    refused = aectl("encode", f"run={small_run}", "input=in", "output=file/codes.npz")
    assert refused.status == 6
    assert "file" in refused.err
    assert len(refused.err.splitlines()) == 1
    monkeypatch.setattr("os.access", lambda path, mode: Path(path).name != "in")
    refused = aectl("encode", f"run={small_run}", "input=in", "output=in/codes.npz")
    assert refused.status == 6
    assert "in/codes.npz" in refused.err
    assert len(refused.err.splitlines()) == 1
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for command in (["encode", "input=in", "output=a.parquet"], ["decode", "input=a.parquet", "output=out"]):
        refused = aectl(*command, f"run={small_run}")
        assert refused.status == 2
        assert "pip install 'aectl[parquet]'" in refused.err
    monkeypatch.setattr(Autoencoder, "encode", real)
    assert aectl("encode", f"run={small_run}", "input=in", "output=new/folder/codes.npz").status == 0
    assert (tmp_path / "new/folder/codes.npz").is_file()


def test_two_pictures_of_one_name_are_refused(aectl, small_run, tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(zoo.GREY).save(buffer, "PNG")
    with warnings.catch_warnings(), zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        warnings.simplefilter("ignore")  # it warns of what is tested here
        for name in ("x/a.png", "b.png", "x/a.png"):
            archive.writestr(name, buffer.getvalue())
    refused = aectl("encode", f"run={small_run}", "input=in.zip", "output=codes.csv")
    assert refused.status == 3
    assert "x/a.png" in refused.err
    assert len(refused.err.splitlines()) == 1
    assert not (tmp_path / "codes.csv").exists()


def test_codes_that_are_not_finite_are_not_written(aectl, small_run, tmp_path, monkeypatch):
    pictures(tmp_path / "in")
    monkeypatch.setattr(Autoencoder, "encode", with_infinite_codes(Autoencoder.encode))
    refused = aectl("encode", f"run={small_run}", "input=in", "output=codes.csv")
    assert refused.status == 4
    assert "its code of 'sub/1.png' is not finite" in refused.err
    assert not (tmp_path / "codes.csv").exists()


def with_infinite_codes(encode):
    """The encoder, and the second of its codes is infinite."""

    def encoded(model, x):
        code = encode(model, x)
        code.mu[1, 0] = torch.inf
        return code

    return encoded
