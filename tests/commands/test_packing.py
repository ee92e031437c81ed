"""`aectl encode` and `aectl decode` of files of bits, from pictures to equal pictures."""

import csv
import json
import re

import numpy as np
import pytest
import torch
from albums import png, put
from conftest import SMALL
from PIL import Image

from aectl.coding import bits_back, coders
from aectl.data.datasets.synthetic import Synthetic
from aectl.files import aec
from aectl.models.autoencoder import Vae
from aectl.models.likelihoods.logistic import Logistic256
from aectl.models.networks.mlp import Mlp
from aectl.training import loop
from configs import train_config

pytestmark = pytest.mark.usefixtures("without_pictures")


@pytest.fixture(scope="session")
def grey_run(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("packing") / "grey", [1, 12, 10])


@pytest.fixture(scope="session")
def colour_run(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("packing") / "colour", [3, 12, 10])


def trained(folder, shape):
    config = train_config(
        dataset=Synthetic(val_size=20, test_size=20, synthetic_size=100, synthetic_shape=shape),
        network=Mlp(hidden=[8]), model=Vae(posterior="logvar"), likelihood=Logistic256(components=1), epochs=1,
        device="cpu", figures_every=0,
    )  # fmt: skip
    loop.train(config, folder)
    return folder


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def read(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_pictures_of_any_size_come_back_under_their_names_with_their_labels(aectl, colour_run, tmp_path):
    sizes = {"cats/1.png": (12, 10), "cats/2.png": (30, 25), "dogs/a.png": (1, 1), "dogs/b\n.png": (13, 10)}
    pictures = {name: noise(*size, 3, seed=index) for index, (name, size) in enumerate(sizes.items())}
    put(tmp_path / "in", {name: png(picture) for name, picture in pictures.items()})
    done = aectl("encode", f"run={colour_run}", "input=in", "output=a.aec")
    assert done.status == 0, done.err
    size = (tmp_path / "a.aec").stat().st_size
    values = sum(picture.size for picture in pictures.values())
    assert f"4 pictures in {size:,} bytes: a.aec" in done.out
    assert f"{8 * size / values:.4f} bits per value, {values / size:.1f} to 1" in done.out
    assert aectl("encode", f"run={colour_run}", "input=in", "output=b.aec").status == 0
    assert (tmp_path / "a.aec").read_bytes() == (tmp_path / "b.aec").read_bytes()
    done = aectl("decode", f"run={colour_run}", "input=a.aec", "output=out")
    assert done.status == 0, done.err
    for name, picture in pictures.items():
        np.testing.assert_array_equal(read(tmp_path / "out" / name), picture)
    with (tmp_path / "out/labels.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["name", "label"], *([name, name[:4]] for name in pictures)]
    assert aectl("decode", f"run={colour_run}", "input=a.aec", "output=out").status == 6
    assert aectl("decode", f"run={colour_run}", "input=a.aec", "output=out", "overwrite=true").status == 0
    assert aectl("encode", f"run={colour_run}", "input=in", "output=a.aec").status == 6


def test_a_codec_gives_about_the_pictures_back_and_says_what_that_costs(aectl, tmp_path):
    words = ["network=strided", "network.channels=[8]", "latent=6", "dataset.synthetic_shape=[3,16,16]"]
    words += ["dataset=synthetic", "dataset.synthetic_size=100", "dataset.val_size=20", "dataset.test_size=20"]
    assert aectl("train", *words, "epochs=1", "figures_every=0", "device=cpu", "threads=1").status == 0
    pictures = {"a/1.png": noise(40, 33, 3), "a/2.jpg.png": noise(9, 70, 3), "b/grey.png": noise(20, 20)}
    put(tmp_path / "in", {name: png(picture) for name, picture in pictures.items()})
    done = aectl("encode", "input=in", "output=a.aec")
    assert done.status == 0, done.err
    size, pixels = (tmp_path / "a.aec").stat().st_size, 40 * 33 + 9 * 70 + 20 * 20
    assert f"{8 * size / pixels:.4f} bits per pixel, {3 * pixels / size:.1f} to 1" in done.out
    assert aectl("decode", "input=a.aec", "output=out").status == 0
    errors = []
    for name, picture in pictures.items():
        given = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
        found = read(tmp_path / "out" / name)
        assert found.shape == given.shape
        errors.append(((given / 255 - found / 255) ** 2).mean())
    assert f"PSNR {np.mean(-10 * np.log10(errors)):.2f} dB" in done.out
    evaluated = aectl("eval", f"hydra.run.dir={tmp_path / 'e'}")
    found = json.loads((tmp_path / "e/metrics.json").read_text())
    assert found["bits_per_pixel"] == pytest.approx(found["rate"] / np.log(2) / 256)
    assert "bits_per_pixel" in evaluated.out
    for command in (["sample"], ["explore"], ["encode", "output=codes.npz"]):
        refused = aectl(*command)
        assert refused.status == 2
        assert "is a codec, it has no codes but bits; try aectl encode output=pictures.aec" in refused.err


def test_the_runs_own_binary_images_come_back(aectl, tmp_path):
    aectl("train", *SMALL, "dataset.binarize=dynamic", "prior=mixture", "prior.components=3")
    done = aectl("encode", "output=test.aec")
    assert done.status == 0, done.err
    header, found, _ = aec.read(tmp_path / "test.aec")
    assert header.shape == [1, 28, 28]
    assert aectl("decode", "input=test.aec", "output=out").status == 0
    assert len(list((tmp_path / "out").glob("*.png"))) == len(found.names)
    assert set(np.unique(read(tmp_path / "out" / f"{found.names[0]}.png"))) <= {0, 255}


def test_another_run_is_refused_by_name(aectl, grey_run, colour_run, tmp_path):
    put(tmp_path / "in", {"a.png": png(noise(12, 10))})
    assert aectl("encode", f"run={grey_run}", "input=in", "output=a.aec").status == 0
    refused = aectl("decode", f"run={colour_run}", "input=a.aec", "output=out")
    assert refused.status == 4
    assert re.search(r"encoded with the run grey \(weights [0-9a-f]{12}\), and run=\S+colour at step", refused.err)
    assert len(refused.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


UNFIT = {
    "colour.png": lambda path: Image.fromarray(noise(12, 10, 3)).save(path),
    "alpha.png": lambda path: Image.fromarray(noise(12, 10)).convert("LA").save(path),
    "deep.png": lambda path: Image.fromarray(noise(12, 10).astype(np.uint16) * 257).save(path),
    "pages.tif": lambda path: Image.fromarray(noise(12, 10)).save(
        path, save_all=True, append_images=[Image.fromarray(noise(12, 10))]
    ),
    "cmyk.tif": lambda path: Image.fromarray(noise(12, 10, 4), "CMYK").save(path),
}


def test_pictures_that_would_lose_something_stop_it_or_are_left_out(aectl, grey_run, tmp_path):
    put(tmp_path / "in", {"good.png": png(noise(12, 10))})
    for name, save in UNFIT.items():
        save(tmp_path / "in" / name)
    refused = aectl("encode", f"run={grey_run}", "input=in", "output=a.aec")
    assert refused.status == 3
    for name in UNFIT:
        assert f"{name}: " in refused.out
    for says in ("is RGB", "transparency", "more than 8 bits", "several pages", "is CMYK"):
        assert says in refused.out
    assert not (tmp_path / "a.aec").exists()
    assert aectl("encode", f"run={grey_run}", "input=in", "output=a.aec", "on_bad=skip").status == 0
    assert aec.read(tmp_path / "a.aec")[1].names == ["good.png"]
    assert (tmp_path / "a_bad_pictures.csv").is_file()


@pytest.mark.parametrize(
    ("words", "says"),
    [(["encode", "output=a.aec", "sample=true"], "sample=true"),
     (["encode", "output=a.aec", "device=cuda"], "device=cuda"),
     (["decode", "input=a.aec", "output=o", "device=cuda"], "device=cuda"),
     (["decode", "input=none.aec", "output=o"], "is missing")],
)  # fmt: skip
def test_settings_that_mean_nothing_to_bits_are_refused(aectl, grey_run, words, says):
    refused = aectl(*words, f"run={grey_run}")
    assert refused.status in (2, 3)
    assert says in refused.err


def test_a_run_without_probabilities_is_refused(aectl, small_run, tmp_path):
    put(tmp_path / "in", {"a.png": png(noise(28, 28))})
    refused = aectl("encode", f"run={small_run}", "input=in", "output=a.aec")
    assert refused.status == 3
    assert "other values than the 2" in refused.err


def test_large_inputs_make_several_blocks(aectl, grey_run, tmp_path, monkeypatch):
    monkeypatch.setattr(coders.BitsBack, "room", 300)
    pictures = {f"{index}.png": noise(12, 10 + index, seed=index) for index in range(5)}
    put(tmp_path / "in", {name: png(picture) for name, picture in pictures.items()})
    assert aectl("encode", f"run={grey_run}", "input=in", "output=a.aec").status == 0
    assert aec.read(tmp_path / "a.aec")[0].blocks == [2, 2, 1]
    assert aectl("decode", f"run={grey_run}", "input=a.aec", "output=out").status == 0
    for name, picture in pictures.items():
        np.testing.assert_array_equal(read(tmp_path / "out" / name), picture)


def test_a_machine_that_computes_otherwise_says_so_and_writes_nothing(aectl, grey_run, tmp_path, monkeypatch):
    put(tmp_path / "in", {f"{index}.png": png(noise(12, 10, seed=index)) for index in range(3)})
    assert aectl("encode", f"run={grey_run}", "input=in", "output=a.aec").status == 0
    cdf = Logistic256.cdf
    monkeypatch.setattr(Logistic256, "cdf", lambda self, decoded, level: cdf(self, decoded + 1e-4, level))
    refused = aectl("decode", f"run={grey_run}", "input=a.aec", "output=out")
    assert refused.status == 3
    # The last group that was pushed is the first that is popped.
    assert "'1.png' to '2.png' (2 of 3): do not come back as they were: this machine" in refused.err
    assert not (tmp_path / "out").exists()


def test_what_does_not_come_back_is_never_written(aectl, grey_run, tmp_path, monkeypatch):
    put(tmp_path / "in", {"a.png": png(noise(12, 10))})
    monkeypatch.setattr(
        bits_back, "decompress", lambda model, data, count, progress: torch.zeros(count, 1, 12, 10, dtype=torch.uint8)
    )
    refused = aectl("encode", f"run={grey_run}", "input=in", "output=a.aec")
    assert refused.status == 4
    assert "'a.png' do not come back" in refused.err
    assert not (tmp_path / "a.aec").exists()
