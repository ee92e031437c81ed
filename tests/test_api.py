"""A trained run in Python."""

import base64
import errno
import io
import logging
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import aectl
from aectl import storage
from aectl.cli.composing import composed
from aectl.commands.denoise import run_denoise
from aectl.errors import CheckpointError, ConfigError, DataError, StorageError
from aectl.models import arrays


@pytest.fixture(scope="module")
def run(small_run):
    return aectl.load(small_run, device="cpu")


@pytest.fixture(scope="module")
def colour(identity):
    return aectl.load(identity, device="cpu")


@pytest.fixture
def x():
    return np.random.default_rng(0).integers(0, 256, (7, 28, 28), dtype=np.uint8)


def test_importing_aectl_imports_nothing_of_weight():
    code = (
        "import sys, aectl; print(sorted({'torch', 'numpy', 'hydra', 'yaml', 'PIL'} & set(sys.modules)), dir(aectl))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("[]"), done.stdout + done.stderr
    assert "'load'" in done.stdout
    assert "'train'" in done.stdout
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        _ = aectl.lode


def test_codes_and_images_are_those_of_the_networks(run, x):
    with torch.no_grad():
        mu = run.module.encoder(torch.from_numpy(x)[:, None].float() / 255)[:, :2]
        image = torch.sigmoid(run.module.decoder(mu))[:, 0]
    np.testing.assert_allclose(run.encode(x), mu.numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(run.decode(mu.numpy()), image.numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(run.reconstruct(x), image.numpy(), rtol=1e-5, atol=1e-6)


def test_every_way_to_hand_images_over_gives_the_same_codes(run, x, tmp_path):
    pictures = [Image.fromarray(one) for one in x]
    for number, picture in enumerate(pictures):
        picture.save(tmp_path / f"{number}.png")
    ways = [
        x / 255, x.astype(np.float32) / 255, x[:, None], x[..., None], torch.from_numpy(x), list(x), pictures,
        [torch.from_numpy(one) for one in x], sorted(tmp_path.iterdir()),
        [str(tmp_path / f"{number}.png") for number in range(7)],
    ]  # fmt: skip
    expected = run.encode(x)
    for way in ways:
        np.testing.assert_allclose(run.encode(way), expected, rtol=1e-5, atol=1e-6)


def test_reconstructions_come_back_in_the_layout_that_was_given(run, x, tmp_path):
    plain = run.reconstruct(x)
    np.testing.assert_array_equal(run.reconstruct(x[:, None]), plain[:, None])
    np.testing.assert_array_equal(run.reconstruct(x[..., None]), plain[..., None])
    np.testing.assert_array_equal(run.reconstruct([Image.fromarray(one) for one in x]), plain)


def test_a_picture_of_another_size_or_mode_is_brought_to_the_runs(run):
    wide = Image.new("RGB", (56, 28), (255, 0, 0))  # luma of red: 0.299
    expected = run.encode(np.full((1, 28, 28), round(0.299 * 255), dtype=np.uint8))
    np.testing.assert_allclose(run.encode([wide]), expected, atol=1e-6)


def test_memory_is_bounded_and_batches_change_nothing(run, x, monkeypatch):
    expected, sizes = run.encode(x), []
    hook = run.module.encoder.register_forward_hook(lambda module, given, out: sizes.append(len(given[0])))
    monkeypatch.setattr(arrays, "MOST", 3)
    np.testing.assert_allclose(run.encode(x), expected, rtol=1e-5, atol=1e-6)
    hook.remove()
    assert sizes == [3, 3, 1]
    assert run.encode(x[:0]).shape == (0, 2)


@pytest.mark.parametrize(
    ("make", "words"),
    [(lambda x: x[0], r"x is of shape \(28, 28\); .* a single image is x\[None\]"),
     (lambda x: x[:, :5], r"this run takes \(N, 28, 28\), \(N, 28, 28, 1\) or \(N, 1, 28, 28\)"),
     (lambda x: x.reshape(7, -1), r"give x.reshape\(-1, 28, 28\)"),
     (lambda x: x.astype(float), r"from 0 \(black\) to 1 \(white\); divide by 255"),
     (lambda x: x / 255 - 2, "has values from -2 to -1"), (lambda x: x / np.nan, "not finite"),
     (lambda x: x.astype(int), "of type int64; give uint8"), (lambda x: "a.png", "single picture; give a list"),
     (lambda x: [x[0], x[0, :3]], "several shapes"), (lambda x: [object()], "of type list"),
     (lambda x: [Image.new("L", (9, 9)), 3], "int among its pictures")],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_what_would(run, x, make, words):
    with np.errstate(all="ignore"), pytest.raises(ValueError, match=words):
        run.encode(make(x))


def test_files_that_are_no_pictures_are_named(run, tmp_path):
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(DataError, match=r"a\.png: "):
        run.encode([tmp_path / "a.png"])
    with pytest.raises(DataError, match=r"b\.png: No such file"):
        run.encode([tmp_path / "b.png"])


@pytest.mark.parametrize("z", [np.zeros(2), np.zeros((3, 5)), np.full((1, 2), np.nan), [["a", "b"]]])
def test_codes_that_do_not_fit_are_refused(run, z):
    with pytest.raises(ValueError, match=r"z is of shape|not finite|of type"):
        run.decode(z)


def test_samples_are_those_of_the_command(run, small_run, aectl, tmp_path):
    done = aectl("sample", f"run={small_run}", "n=3", "seed=5", "device=cpu", "hydra.run.dir=out")
    assert done.status == 0, done.err
    images = [np.asarray(Image.open(path)) for path in sorted((tmp_path / "out/images").iterdir())]
    np.testing.assert_array_equal(np.rint(run.sample(3, seed=5) * 255).astype(np.uint8), images)
    with pytest.raises(ValueError, match="trained without labels"):
        run.sample(3, label=7)


def test_a_picture_is_denoised_as_by_the_command(colour, identity, tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (31, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    run_denoise(composed("denoise", f"run={identity}", f"input={tmp_path}/a.png", f"output={tmp_path}/out"), tmp_path)
    expected = np.asarray(Image.open(tmp_path / "out/a.png"))
    np.testing.assert_array_equal(colour.denoise(pixels), expected)
    for picture in (tmp_path / "a.png", Image.open(tmp_path / "a.png")):
        cleaned = colour.denoise(picture)
        assert cleaned.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(cleaned), expected)
    np.testing.assert_allclose(colour.denoise(pixels / 255), expected / 255, atol=1 / 255)
    with pytest.raises(ValueError, match=r"\(H, W\), \(H, W, 1\) or \(H, W, 3\)"):
        colour.denoise(pixels[None])


def test_a_run_without_a_code_says_what_it_can(colour):
    for ask in (
        lambda: colour.encode(np.zeros((1, 12, 10, 3))),
        lambda: colour.sample(2),
        lambda: colour.decode([[0]]),
    ):
        with pytest.raises(ValueError, match=r"it has no .* try denoise\(picture\)"):
            ask()
    assert colour.reconstruct(np.zeros((2, 12, 10, 3))).shape == (2, 12, 10, 3)


def test_scores_and_log_probabilities(run, x):
    expected = np.square(x / 255 - run.reconstruct(x)).sum((1, 2))
    np.testing.assert_allclose(run.score(x), expected, rtol=1e-4)
    assert (run.log_prob(x, samples=40) > -run.score(x, "elbo", samples=40)).mean() > 0.9  # a tighter bound
    with pytest.raises(ValueError, match="measure=odd: no such measure; choose one of error"):
        run.score(x, "odd")


def test_what_a_run_says_of_itself(run, small_run):
    assert run.path == small_run
    assert run.config.latent == 2
    assert run.shape == (1, 28, 28)
    assert run.metrics == run.history[-1]
    assert run.metrics["epoch"] == 1
    page = run._repr_html_()
    assert f"{run.metrics['val/recon']:.4g}" in page
    picture = Image.open(io.BytesIO(base64.b64decode(page.partition("base64,")[2].partition('"')[0])))
    assert picture.size[0] > 8 * 28


def test_what_cannot_be_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="run=latest: no run below outputs"):
        aectl.load()
    with pytest.raises(ConfigError, match="checkpoint=newest: must be best or last"):
        aectl.load(checkpoint="newest")


def test_training_by_the_words_of_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AECTL_CACHE", str(tmp_path / "cache"))
    run = aectl.train("experiment=smoke", "model=ae", "latent=3", "epochs=1", "figures_every=0", "hydra.run.dir=mine")
    assert (str(run.path), run.config.latent, run.module.prior) == ("mine", 3, None)
    log = (tmp_path / "mine/train.log").read_text()
    assert "epoch 1/1" in log
    assert run.sample(4).shape == (4, 28, 28)  # from a mixture
    again = aectl.train("resume=mine", "epochs=2")
    assert [record["epoch"] for record in again.history] == [1, 2]
    with pytest.raises(ValueError, match="an AE has no prior"):
        again.log_prob(np.zeros((1, 28, 28)))


@pytest.mark.parametrize(
    ("word", "said"),
    [("latnet=2", "did you mean 'latent'"), ("latent=0", "latent=0"), ("-m", "flags and sweeps are the command's"),
     (None, "None: give settings alone"), ("", "'': give settings alone"),
     ("model=vea", "did you mean 'vae'"), ("epochs=[", "epochs=")],
)  # fmt: skip
def test_a_wrong_word_is_refused_as_on_the_command_line(tmp_path, monkeypatch, word, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=said.replace("[", r"\[")):
        aectl.train(word)
    assert not list(tmp_path.iterdir())


def test_what_fails_before_there_is_a_run_leaves_none_and_the_programs_own_log_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = logging.FileHandler(tmp_path / "own.log")
    monkeypatch.setattr(logging.getLogger(), "handlers", [own])
    with pytest.raises(DataError, match=r"^dataset.root=nowhere"):
        aectl.train("dataset=array", "dataset.root=nowhere.npy")
    assert not list(tmp_path.rglob("train.log"))
    assert not list(tmp_path.glob("outputs/train/*"))
    own.handle(logging.LogRecord("mine", logging.INFO, "", 0, "still here", None, None))
    own.close()
    assert (tmp_path / "own.log").read_text().splitlines()[-1] == "still here"


def test_a_disk_that_refuses_raises_what_the_command_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def full(*args, **more):
        raise OSError(errno.ENOSPC, "No space left on device", f"{tmp_path}/mine/config.yaml")

    monkeypatch.setattr(storage, "replace", full)
    said = r"mine/config.yaml: No space left .* name another place with hydra.run.dir="
    with pytest.raises(StorageError, match=said):
        aectl.train("experiment=smoke", "device=cpu", "hydra.run.dir=mine")
