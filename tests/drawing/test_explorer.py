"""What `aectl explore` puts into its page: numbers as text, the order of latents, its size, what it refuses."""

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SMALL

from aectl import storage
from aectl.data.images import Images, Split
from aectl.drawing.explorer import decoders, page
from aectl.drawing.explorer.numbers import packed
from aectl.drawing.explorer.subject import subject_of
from aectl.drawing.pages.filling import FOLDER, embedded
from aectl.files.pictures import sprites
from aectl.models.autoencoder import Ae, Vae
from aectl.models.likelihoods.bernoulli import Bernoulli, ContinuousBernoulli
from aectl.models.likelihoods.gaussian import Gaussian
from aectl.models.networks.conv import Conv
from aectl.models.networks.layers import ACTIVATIONS
from aectl.models.networks.mlp import Mlp
from aectl.models.table import build_model
from configs import train_config

CPU = torch.device("cpu")


def subject(shape=(1, 8, 8), latent=2, network=None, model=None, labels=True, count=50, **more):
    """An untrained model with images of noise."""
    network, model = network or Mlp(hidden=[16]), model or Vae(posterior="logvar")
    config = train_config(network=network, model=model, latent=latent, **more)
    torch.manual_seed(0)
    built = build_model(config, shape).eval()
    pixels = torch.randint(256, (count, *shape), dtype=torch.uint8)
    images = Images(pixels, torch.arange(count) % 3 - 1 if labels else None)
    return subject_of(config, built, {"epoch": 1, "val/loss": 12.345}, Split(images, images[:20], images[:0]), CPU)


def test_float16_is_rounded_as_ieee_has_it():
    values = torch.tensor([0.0, -0.0, 1.0, -2.5, 65504.0, 6e-8, 0.1, 1 / 3])
    half = np.frombuffer(base64.b64decode(packed(values, "float16")), "<f2")
    np.testing.assert_array_equal(half, values.numpy().astype(np.float16))
    assert len(base64.b64decode(packed(values))) == 4 * len(values)


def test_weights_that_rounding_would_show_stay_float32():
    found = subject()
    assert decoders.dense(found)["precision"] == "float16"
    with torch.no_grad():  # large numbers that cancel
        layer = decoders.linears(found.model.decoder)[-1]
        layer.bias.add_(3000)
        found.model.decoder[0].bias.fill_(1.0)
        layer.weight[:, 0] -= 3000 / found.model.decoder[0].bias[0]
    assert decoders.dense(found)["precision"] == "float32"


def test_latents_are_sorted_by_kl_or_by_variance():
    vae = subject(latent=6)
    with torch.inference_mode():
        code = vae.model.encode(vae.shown.pixels.float() / 255)
    mu, logvar = code.mu.double(), code.logvar.double()
    kl = (0.5 * (logvar.exp() + mu**2 - 1 - logvar)).mean(0)
    assert vae.order == kl.argsort(descending=True).tolist()
    ae = subject(latent=6, model=Ae())
    with torch.inference_mode():
        codes = ae.model.codes(ae.shown.pixels.float() / 255).double()
    assert ae.order == codes.var(0, correction=0).argsort(descending=True).tolist()
    assert ae.weights[1] == "variance"


def test_every_activation_and_mean_is_known_to_the_script():
    script = (FOLDER / "decoder.js").read_text()
    table = re.search(r"const ACTIVATIONS = \{(.*?)\n\};", script, re.DOTALL)[1]
    assert set(re.findall(r"^  (\w+)[:,]", table, re.MULTILINE)) | {"gated"} == set(ACTIVATIONS)
    links = re.search(r"const LINKS = \{(.*?)\n\};", script, re.DOTALL)[1]
    known = set(re.findall(r"^  (\w+)[:,]", links, re.MULTILINE))
    made = [
        Bernoulli(),
        ContinuousBernoulli(),
        Gaussian(sigma=1.0).build(),
        Gaussian(sigma=1.0, mean="sigmoid").build(),
    ]
    assert {one.link for one in made} == known


@pytest.mark.parametrize(("shape", "latent"), [((1, 28, 28), 2), ((1, 28, 28), 256), ((3, 96, 64), 2)])
def test_a_page_has_three_megabytes_at_most(shape, latent):
    found = subject(shape, latent, Mlp(hidden=[128]), count=300)
    text, document = page.explorer(found)
    assert len(text.encode()) <= page.LIMIT
    assert document["shown"]["count"] > 0
    assert (document["decoder"]["kind"] == "dense") == page.is_small(found)


def test_what_is_not_dense_or_too_large_gets_pictures_made_beforehand():
    conv, large = Conv(channels=[4], hidden=[]), Mlp(hidden=[64])
    for found in (subject((1, 8, 8), network=conv), subject((3, 80, 80), network=large)):
        text, document = page.explorer(found)
        assert not page.is_small(found)
        assert document["decoder"]["kind"] == "grid"
        assert "made beforehand" in text


def test_a_grid_is_the_decoder_on_the_plane():
    found = subject(latent=3)
    z, axes = decoders.cells(found, (2, 0), 4, 3)
    assert z.shape == (12, 3)
    np.testing.assert_allclose(z[:, 1], found.middle[1])
    low, high = found.ranges[2].tolist()
    np.testing.assert_allclose(axes[:4, 0], np.linspace(low, high, 4), rtol=1e-5)
    np.testing.assert_allclose(axes[::4, 1], np.linspace(*found.ranges[0].tolist(), 3), rtol=1e-5)


def test_images_of_a_sprite_lie_row_by_row():
    images = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 2, 3), np.uint8)
    sheet = sprites.sheet(images, 2)
    assert sheet.shape == (1, 6, 6)
    np.testing.assert_array_equal(sheet[0, ::2, ::3], [[0, 1], [2, 3], [4, 0]])


def test_no_word_can_end_the_document():
    assert "<" not in embedded({"name": "</script><b>"})
    assert json.loads(embedded({"name": "</script>"})) == {"name": "</script>"}


def test_facts_have_their_unit():
    text, _ = page.explorer(subject())
    assert "validation loss 12.35 nats per image" in text or "validation loss 12.34 nats per image" in text
    assert "20 of 20 validation images" in text
    assert "50 of 50 training images" in text


def test_without_labels_there_is_no_legend():
    text, document = page.explorer(subject(labels=False))
    assert document["classes"] == []
    assert 'id="legend"' not in text


def test_the_command_writes_the_page_and_says_where(aectl, tmp_path, small_run):
    done = aectl("explore", f"run={small_run}", "device=cpu")
    assert done.status == 0
    (written,) = (tmp_path / "outputs/explore").glob("*/explore.html")
    assert str(written.relative_to(tmp_path)) in done.out + done.err
    assert aectl("explore", f"run={small_run}", "output=page.html").status == 0
    again = aectl("explore", f"run={small_run}", "output=page.html")
    assert again.status == 6
    assert "overwrite=true" in again.err
    assert aectl("explore", f"run={small_run}", "output=page.html", "overwrite=true").status == 0
    assert aectl("explore", f"run={small_run}", "output=page.txt").status == 2


def test_what_has_no_code_is_refused_in_a_line(aectl, identity):
    done = aectl("explore", f"run={identity}", "output=page.html")
    assert done.status == 2
    assert "has no code" in done.err
    assert done.err.count("\n") == 1


def test_training_says_the_page_first_and_outlives_one_that_cannot_be_written(aectl, only_run, monkeypatch):
    done = aectl("train", *SMALL, "explore=true", "epochs=1")
    said = done.out + done.err
    assert said.index(f"look at: {only_run().relative_to(Path.cwd())}/explore.html") < said.index("curves, pictures")
    assert (only_run() / "explore.html").is_file()
    (only_run() / "explore.html").unlink()

    def refuse(path, data, replace=storage.replace):
        if path.name == "explore.html":
            raise OSError(28, "No space left on device")
        replace(path, data)

    monkeypatch.setattr(storage, "replace", refuse)
    done = aectl("train", "resume=latest", "explore=true")
    assert done.status == 0
    assert "No space left on device" in done.out + done.err
    assert not (only_run() / "explore.html").exists()


def test_a_run_leaves_no_page_where_it_is_told_so_or_has_too_large_a_decoder(aectl, only_run):
    conv = ("network=conv", "network.channels=[4]", "network.hidden=[]")
    assert aectl("train", *SMALL, *conv, "explore=true", "epochs=1").status == 0
    assert not (only_run() / "explore.html").exists()
