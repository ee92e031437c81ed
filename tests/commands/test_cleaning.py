import csv
import os
import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from albums import bmp, put, taken_away, zipped
from conftest import trained_denoiser
from PIL import Image

from aectl.cli.composing import composed
from aectl.commands import cleaning
from aectl.commands.denoise import run_denoise
from aectl.files.pictures import decoding
from aectl.models import tiling
from aectl.models.networks.mlp import Mlp
from aectl.models.networks.unet import Unet
from aectl.runs import sanity
from aectl.runs.opening import open_run

pytestmark = pytest.mark.usefixtures("without_pictures")

CPU = torch.device("cpu")
RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (30, 41, 4), dtype=np.uint8)


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    """A dense and a fully convolutional network, grey and colour."""
    folder = tmp_path_factory.mktemp("runs")
    unet = Unet(channels=[4, 6], blocks=1)
    return {
        "mlp": trained_denoiser(folder / "mlp", Mlp(hidden=[16])),
        "unet": trained_denoiser(folder / "unet", unet),
        "colour unet": trained_denoiser(folder / "colour", unet, 3),
    }


# ------------------------------------------------------------------------------------------- tiling


@pytest.mark.parametrize("size", [(1, 1), (5, 40), (16, 16), (17, 33), (100, 70)])
@pytest.mark.parametrize("overlap", [(0, 0), (4, 8)])
def test_tiles_of_the_identity_put_the_picture_together_again(size, overlap):
    picture = RNG.random((2, *size), dtype=np.float32)
    bands = list(tiling.apply(lambda x: x, picture, (16, 17), overlap, CPU))
    assert [top for top, _ in bands] == sorted({top for top, _ in bands})
    np.testing.assert_allclose(np.concatenate([band for _, band in bands], axis=1), picture, atol=1e-6)


def test_there_is_no_seam_where_tiles_differ():
    """Each tile gives another constant: across the border the result changes slowly."""
    counter = iter(range(1000))

    def steps(x):
        return torch.stack([torch.full_like(tile, next(counter) % 2) for tile in x])

    (_, band), *_ = tiling.apply(steps, np.zeros((1, 16, 100), np.float32), (16, 32), (8, 16), CPU)
    assert np.abs(np.diff(band[0], axis=1)).max() < 0.11
    assert band.max() > 0.9
    assert band.min() < 0.1


# ---------------------------------------------------------------------------------------- pictures


def in_mode(mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(RNG.integers(0, 65536, (30, 41), dtype=np.uint16))
    if mode == "F":
        return Image.fromarray(RNG.random((30, 41), dtype=np.float32))
    image = Image.fromarray(COLOUR)
    return image.convert("RGB").convert(mode) if mode in ("P", "CMYK") else image.convert(mode)


@pytest.mark.parametrize("network", ["mlp", "unet", "colour unet"])
@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("1", "png"), ("L", "png"), ("LA", "png"), ("P", "png"), ("P", "gif"), ("RGB", "png"), ("RGBA", "png"),
     ("RGBA", "webp"), ("RGB", "jpg"), ("CMYK", "jpg"), ("L", "bmp"), ("I;16", "png"), ("I;16", "tif"), ("F", "tif")],
)  # fmt: skip
def test_size_mode_name_and_alpha_stay(runs, tmp_path, network, mode, suffix):
    (tmp_path / "in/sub").mkdir(parents=True)
    given = tmp_path / f"in/sub/a.{suffix}"
    in_mode(mode).save(given)
    config = composed(
        "denoise", f"run={runs[network]}", f"input={tmp_path}/in", f"output={tmp_path}/out", "threads=1"
    )
    run_denoise(config, tmp_path / "log")
    before, after = (decoding.decode(p.read_bytes()) for p in (given, tmp_path / f"out/sub/a.{suffix}"))
    assert (before.size, before.mode, before.format) == (after.size, after.mode, after.format)
    assert (before.alpha is None) == (after.alpha is None)
    if before.alpha is not None and suffix == "png":
        np.testing.assert_array_equal(before.alpha, after.alpha)
    assert mode == "1" or not np.array_equal(before.values, after.values)


def test_sixteen_bits_are_cleaned_in_sixteen_bits(runs, tmp_path):
    in_mode("I;16").save(tmp_path / "a.png")
    config = composed("denoise", f"run={runs['unet']}", f"input={tmp_path}/a.png", f"output={tmp_path}/out")
    run_denoise(config, tmp_path / "log")
    with Image.open(tmp_path / "out/a.png") as written:
        assert len(np.unique(np.asarray(written))) > 256


def test_noise_is_added_first_kept_and_measured_against_the_original(aectl, runs, tmp_path):
    (tmp_path / "in").mkdir()
    smooth = np.add.outer(np.arange(60), np.arange(50)).astype(np.uint8)
    for name in ("a.png", "b.png"):
        Image.fromarray(smooth).save(tmp_path / "in" / name)
    arguments = [f"run={runs['unet']}", "input=in", "noise=gaussian", "noise.sigma=0.2"]
    done = aectl("denoise", *arguments, "output=out")
    assert done.status == 0, done.err
    lines = (tmp_path / "out/psnr_ssim.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["name", "a.png", "b.png", "mean"]
    assert 13 < float(lines[1].split(",")[1]) < 17
    first, second = ((tmp_path / "out/noisy" / name).read_bytes() for name in ("a.png", "b.png"))
    assert first != second
    assert aectl("denoise", *arguments, "output=again").status == 0
    assert (tmp_path / "again/noisy/a.png").read_bytes() == first
    for wrong in (["noise=gaussian"], [*arguments, "output=x", "reference=in"]):
        refused = aectl("denoise", f"run={runs['unet']}", *wrong)
        assert refused.status == 2


@pytest.mark.slow
def test_memory_does_not_grow_with_a_large_picture(runs, tmp_path):
    picture = np.zeros((3, 2500, 2000), np.uint8)
    opened = open_run(str(runs["unet"]), "best", CPU)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = cleaning.through(opened, decoding.Picture(picture, None, "RGB", "PNG"), CPU)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert found.values.shape == picture.shape
    assert grown < 400  # MiB; the floats of the whole picture and of its features would be thousands


def test_tiles_of_a_convolutional_network_give_what_the_whole_picture_gives(runs):
    opened = open_run(str(runs["unet"]), "best", CPU)
    torch.nn.init.normal_(opened.model.network.leave.weight, std=0.3)  # so that it does something
    smooth = np.add.outer(np.linspace(0, 0.5, 700), np.linspace(0, 0.5, 900)).astype(np.float32)[None]
    picture = (smooth + 0.1 * RNG.standard_normal(smooth.shape, dtype=np.float32)).clip(0, 1)
    tiled = cleaning.through(opened, decoding.Picture(picture, None, "F", "TIFF"), CPU).values
    with torch.inference_mode():
        whole = opened.model.reconstruct(torch.from_numpy(picture)[None])[0].clamp(0, 1).numpy()
    assert np.abs(whole - picture).mean() > 0.02
    assert np.abs(tiled - whole).max() < 0.02
    assert np.abs(tiled - whole).mean() < 1e-4


def test_all_bad_pictures_are_named_and_nothing_is_written(aectl, runs, tmp_path):
    (tmp_path / "in").mkdir()
    in_mode("L").save(tmp_path / "in/a.png")
    for name in ("b.png", "c.png"):
        (tmp_path / "in" / name).write_bytes(b"no")
    refused = aectl("denoise", f"run={runs['mlp']}", "input=in", "output=out")
    assert refused.status == 3
    assert "2 of 3 pictures cannot be used" in refused.err
    assert "on_bad=skip" in refused.err
    assert "b.png: " in refused.out
    assert "c.png: " in refused.out
    assert not (tmp_path / "out").exists()

    assert aectl("denoise", f"run={runs['mlp']}", "input=in", "output=out", "on_bad=skip").status == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "a.png", "bad_pictures.csv", "before_after.html",
    ]  # fmt: skip
    assert [row.split(",")[0] for row in (tmp_path / "out/bad_pictures.csv").read_text().splitlines()] == [
        "file", "b.png", "c.png",
    ]  # fmt: skip
    (tmp_path / "in/a.png").unlink()
    assert aectl("denoise", f"run={runs['mlp']}", "input=in", "output=two", "on_bad=skip").status == 3


def test_a_bad_reference_is_named_by_its_picture(aectl, runs, tmp_path):
    for folder in ("in", "clean"):
        (tmp_path / folder).mkdir()
        in_mode("L").save(tmp_path / folder / "a.png")
    (tmp_path / "clean/a.png").write_bytes(b"no")
    refused = aectl("denoise", f"run={runs['mlp']}", "input=in", "output=out", "reference=clean")
    assert refused.status == 3
    assert "a.png: its reference " in refused.out


def test_a_reference_may_have_another_suffix_and_one_that_is_missing_is_named(aectl, identity, tmp_path):
    for folder in ("in", "clean"):
        (tmp_path / folder).mkdir()
    for name, value in (("a", 100), ("b", 110)):
        Image.new("RGB", (20, 20), (100, 100, 100)).save(tmp_path / f"in/{name}.png")
        Image.new("RGB", (20, 20), (value, value, value)).save(tmp_path / f"clean/{name}.bmp")
    done = aectl("denoise", f"run={identity}", "input=in", "output=out", "reference=clean")
    assert done.status == 0, done.err
    with (tmp_path / "out/psnr_ssim.csv").open() as file:
        rows = {row["name"]: float(row["psnr_before"]) for row in csv.DictReader(file)}
    assert rows["b.png"] == pytest.approx(20 * np.log10(255 / 10), abs=1e-3)
    assert rows["a.png"] >= 100, "equal"
    (tmp_path / "clean/b.bmp").unlink()
    refused = aectl("denoise", f"run={identity}", "input=in", "output=two", "reference=clean")
    assert refused.status == 3
    assert "reference=clean: has no b.png (none has its name); references go by the pictures' names" in refused.err


def test_a_reference_of_another_size_is_refused(aectl, runs, tmp_path):
    for folder, size in (("in", (20, 20)), ("clean", (20, 21))):
        (tmp_path / folder).mkdir()
        Image.new("L", (20, 20)).save(tmp_path / folder / "0.png")
        Image.new("L", size).save(tmp_path / folder / "a.png")
    refused = aectl("denoise", f"run={runs['mlp']}", "input=in", "output=out", "reference=clean")
    assert refused.status == 3
    assert "its reference is 20×21, and the picture 20×20" in refused.err
    assert not (tmp_path / "out").exists(), "also the pictures before it"

    done = aectl("denoise", f"run={runs['mlp']}", "input=in", "output=out", "reference=clean", "on_bad=skip")
    assert done.status == 0, done.err
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "0.png", "bad_pictures.csv", "psnr_ssim.csv", "before_after.html", "best_and_worst.png",
    }  # fmt: skip


# ------------------------------------------------------------------------------------ names of outputs


def test_outputs_that_cannot_be_beside_each_other_are_named_before_anything_is_written(aectl, runs, tmp_path):
    picture = bmp(7)
    names = ["a.bmp", "a.bmp/b.bmp", "c/d.bmp", "c//d.bmp", "e.bmp", "psnr_ssim.csv/f.bmp", "before_after.html/h.bmp"]
    zipped(tmp_path / "in.zip", [(name, picture) for name in [*names, "g.heic"]])
    refused = aectl("denoise", f"run={runs['mlp']}", "input=in.zip", "output=out")
    assert refused.status == 3
    assert "4 of 7 pictures cannot be used" in refused.err
    assert "passed over in in.zip: .heic 1" in refused.out
    assert "a.bmp/b.bmp: its output cannot be there beside that of a.bmp" in refused.out
    assert "c/d.bmp: is in the zip once more" in refused.out
    assert not (tmp_path / "out").exists()

    done = aectl("denoise", f"run={runs['mlp']}", "input=in.zip", "output=out", "on_bad=skip")
    assert done.status == 0, done.err
    written = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.bmp")}
    assert written == {"a.bmp", "c/d.bmp", "e.bmp"}
    rows = (tmp_path / "out/bad_pictures.csv").read_text().splitlines()[1:]
    assert sorted(row.split(",")[0] for row in rows) == [
        "a.bmp/b.bmp", "before_after.html/h.bmp", "c/d.bmp", "psnr_ssim.csv/f.bmp",
    ]  # fmt: skip


def test_noisy_pictures_do_not_fall_on_others(aectl, runs, tmp_path):
    put(tmp_path / "in", {"a.bmp": bmp(1), "noisy/a.bmp": bmp(2)})
    arguments = ("denoise", f"run={runs['mlp']}", "input=in", "output=out", "noise=gaussian", "noise.sigma=0.1")
    refused = aectl(*arguments)
    assert refused.status == 3
    assert "noisy/a.bmp: its output cannot be there beside that of a.bmp" in refused.out
    put(tmp_path / "out", {"noisy/a.bmp": b"mine"})
    (tmp_path / "in/noisy/a.bmp").unlink()
    assert aectl(*arguments).status == 6
    assert (tmp_path / "out/noisy/a.bmp").read_bytes() == b"mine"


def test_names_as_long_and_folders_as_deep_as_the_file_system_has(aectl, runs, tmp_path):
    long, deep = "n" * 251 + ".bmp", "d/" * 1990 + "a.bmp"
    zipped(tmp_path / "in.zip", {long: bmp(1), "é" * 125 + "a.bmp": bmp(2), deep: bmp(3), "last.bmp": bmp(4)})
    with taken_away(tmp_path / "out"), taken_away(tmp_path / "codes"):
        done = aectl("denoise", f"run={runs['mlp']}", "input=in.zip", "output=out")
        assert done.status == 0, done.err
        assert len((tmp_path / "out" / long).read_bytes()) == len(bmp(1))
        assert len(os.stat("out/" + deep)) == 10  # noqa: PTH116
        done = aectl("encode", f"run={runs['mlp']}", "input=in.zip", "output=codes/new/" + "c" * 251 + ".npz")
        assert done.status == 0, done.err
        assert np.load(tmp_path / "codes/new" / ("c" * 251 + ".npz"))["codes"].shape == (4, 6)


def test_a_name_too_long_is_noticed_before_the_first_output(aectl, runs, tmp_path):
    zipped(tmp_path / "in.zip", {"a.bmp": bmp(1), "n" * 252 + ".bmp": bmp(2)})
    command = ("denoise", f"run={runs['mlp']}", "input=in.zip", "output=out")
    refused = aectl(*command)
    assert refused.status == 3
    assert "cannot be that of an output (File name too long); rename it" in refused.out
    assert not (tmp_path / "out").exists()
    assert aectl(*command, "on_bad=skip").status == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "a.bmp", "bad_pictures.csv", "before_after.html",
    }  # fmt: skip


def test_a_name_with_a_carriage_return_stays_one_name_in_the_figures(aectl, runs, tmp_path):
    put(tmp_path, {"in/a\rb.bmp": bmp(1)})
    done = aectl("denoise", f"run={runs['mlp']}", "input=in", "output=out", "noise=gaussian", "noise.sigma=0.1")
    assert done.status == 0, done.err
    with (tmp_path / "out/psnr_ssim.csv").open(newline="") as file:
        assert [row[0] for row in csv.reader(file)][1:] == ["a\rb.bmp", "mean"]


def test_what_ends_in_an_error_leaves_no_empty_folder(aectl, runs, tmp_path, monkeypatch):
    put(tmp_path, {"in/a.bmp": bmp(1), "in/sub/b.bmp": bmp(2)})
    monkeypatch.setattr(sanity, "NEAR", (2, 3))
    refused = aectl("denoise", f"run={runs['mlp']}", "input=in", "output=deep/out")
    assert refused.status == 4, refused.err
    assert not (tmp_path / "deep").exists()


def test_what_encode_cannot_write_is_noticed_before_the_work(aectl, runs, tmp_path, monkeypatch):
    put(tmp_path, {"in/a.bmp": bmp(1), "file": b""})
    monkeypatch.setattr(decoding, "decode", None)  # the work would fail
    refused = aectl("encode", f"run={runs['mlp']}", "input=in", "output=file/codes.npz")
    assert refused.status == 6
    assert "file: cannot be written" in refused.err
