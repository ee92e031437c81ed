"""Images come back to the last bit, and the file is as long as the ELBO says."""

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from aectl.coding import bits_back, tiles
from aectl.coding.bits_back import GarbledError
from aectl.errors import ConfigError, DataError
from aectl.models.autoencoder import Ae, Vae
from aectl.models.likelihoods.bernoulli import Bernoulli, ContinuousBernoulli
from aectl.models.likelihoods.logistic import Logistic256
from aectl.models.networks.conv import Conv
from aectl.models.networks.mlp import Mlp
from aectl.models.priors import MixturePrior, NormalPrior, VampPrior
from aectl.models.table import build_model
from aectl.runs import checkpoint
from configs import train_config

LOGVAR, CLIPPED = Vae(posterior="logvar"), Vae(posterior="std", logvar_clip=[-6, 2])
KINDS = {
    "binary": ((1, 6, 5), LOGVAR, Mlp(hidden=[9]), Bernoulli(), NormalPrior()),
    "grey": ((1, 8, 7), CLIPPED, Mlp(hidden=[9]), Logistic256(components=1), NormalPrior()),
    "colour": (
        (3, 9, 6),
        LOGVAR,
        Conv(channels=[4], hidden=[6], norm="group"),
        Logistic256(components=3),
        NormalPrior(),
    ),
    "mixture": ((1, 6, 5), LOGVAR, Mlp(hidden=[9]), Bernoulli(), MixturePrior(components=5)),
    "vamp": ((1, 6, 5), LOGVAR, Mlp(hidden=[9]), Bernoulli(), VampPrior(components=3)),
}


def built(name):
    """A model of that kind with weights that say something, and its shape."""
    shape, *choices = KINDS[name]
    torch.manual_seed(0)
    model = build_model(train_config(latent=3, **{choice.group: choice for choice in choices}), shape)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(2 if weight.dim() > 1 and model.likelihood.levels == 2 else 1)
    return model.eval().requires_grad_(False), shape


def drawn(model, count, seed=0):
    """Images that the model draws, (count, C, H, W), uint8."""
    rng = torch.Generator().manual_seed(seed)
    decoded = model.decoder(model.prior.sample(count, rng))
    channels, levels = decoded.shape[1] // model.likelihood.per_value, model.likelihood.levels
    u = torch.rand(count, channels, *decoded.shape[2:], generator=rng)
    steps = [
        u >= model.likelihood.cdf(decoded, torch.full_like(u, level, dtype=torch.int64)) for level in range(1, levels)
    ]
    return (sum(step.int() for step in steps) * 255 // (levels - 1)).to(torch.uint8)


@pytest.mark.parametrize("name", KINDS)
def test_images_come_back_and_take_what_the_elbo_says(name):
    model, _ = built(name)
    count = 400 if name == "colour" else 4000 if model.likelihood.levels == 2 else 1200
    pixels = drawn(model, count)
    data = bits_back.compress(model, pixels)
    assert torch.equal(bits_back.decompress(model, data, count), pixels)
    assert bits_back.compress(model, pixels) == data
    x = pixels.float() / 255
    rng = torch.Generator().manual_seed(1)
    code = model.encode(x)
    z = code.sample(rng, 50)
    nats = model.neg_log_prob(x, z) + code.log_prob(z).sum(-1) - model.prior.log_prob(z)  # an ELBO by hand
    bits = nats.mean(0).sum().item() / math.log(2)
    groups = len(bits_back._parsed(data, count)[0])
    assert 8 * len(data) == pytest.approx(bits + 40 * groups, rel=0.01, abs=200)


@pytest.mark.parametrize("count", [0, 1, 2, 127, 300])
def test_any_number_of_images(count):
    model, _ = built("binary")
    pixels = drawn(model, count) if count else torch.zeros(0, 1, 6, 5, dtype=torch.uint8)
    if not count:
        return
    assert torch.equal(bits_back.decompress(model, bits_back.compress(model, pixels), count), pixels)


def test_images_that_the_model_never_saw_come_back_too():
    for name in ("binary", "colour"):
        model, shape = built(name)
        rng = np.random.default_rng(0)
        pixels = rng.integers(0, 2, (40, *shape)) * 255 if name == "binary" else rng.integers(0, 256, (40, *shape))
        pixels = torch.from_numpy(pixels.astype(np.uint8))
        pixels[:3] = torch.tensor([0, 255, 0]).view(3, 1, 1, 1)
        assert torch.equal(bits_back.decompress(model, bits_back.compress(model, pixels), 40), pixels)


OTHER = """
import sys, torch
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from coding.test_bits_back import bits_back, built, checkpoint
torch.set_num_threads(2)
model, _ = built(sys.argv[2])
model.load_state_dict(checkpoint.from_bytes(Path(sys.argv[5]).read_bytes()))
found = bits_back.decompress(model, Path(sys.argv[3]).read_bytes(), 200)
Path(sys.argv[4]).write_bytes(found.numpy().tobytes())
"""


@pytest.mark.parametrize("name", ["colour", "mixture"])
def test_another_process_with_other_instructions_and_threads_gives_the_same(name, tmp_path):
    model, _ = built(name)
    pixels = drawn(model, 200)
    (tmp_path / "bits").write_bytes(bits_back.compress(model, pixels))
    (tmp_path / "weights").write_bytes(checkpoint.to_bytes(model.state_dict()))
    tests = Path(__file__).parent.parent
    others = {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE", "OMP_NUM_THREADS": "2"}
    subprocess.run(
        [sys.executable, "-c", OTHER, tests, name, tmp_path / "bits", tmp_path / "found", tmp_path / "weights"],
        env={**os.environ, **others}, check=True,
    )  # fmt: skip
    assert (tmp_path / "found").read_bytes() == pixels.numpy().tobytes()


def test_another_arithmetic_is_noticed_and_named():
    model, _ = built("grey")
    pixels = drawn(model, 600)
    data = bits_back.compress(model, pixels)
    with torch.no_grad():
        next(model.decoder.parameters()).mul_(1 + 1e-3)
    with pytest.raises(GarbledError) as refused:
        bits_back.decompress(model, data, 600)
    assert refused.value.last == 599, "the last group comes first from the stack"
    assert refused.value.first == 600 - bits_back._parsed(data, 600)[0][-1][0]


def test_no_damage_gives_other_images():
    model, _ = built("binary")
    pixels = drawn(model, 60)
    data = bits_back.compress(model, pixels)
    rng = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(data)
        damaged[rng.integers(len(data))] ^= 1 << rng.integers(8)
        with pytest.raises((GarbledError, DataError)):
            bits_back.decompress(model, bytes(damaged), 60)
    for cut in (0, 3, 4, 17, len(data) - 4):
        with pytest.raises((GarbledError, DataError)):
            bits_back.decompress(model, data[:cut], 60)


def test_models_without_probabilities_are_refused():
    shape = (1, 6, 5)
    for choices, says in (
        ((LOGVAR, ContinuousBernoulli()), "a density over [0, 1]"),
        ((Ae(), Bernoulli()), "no prior"),
    ):
        model = build_model(train_config(latent=3, **{choice.group: choice for choice in choices}), shape)
        with pytest.raises(ConfigError, match=says.replace("[", r"\[")):
            bits_back.compress(model, torch.zeros(1, *shape, dtype=torch.uint8))


def test_grey_has_no_place_among_black_and_white():
    model, _ = built("binary")
    with pytest.raises(ValueError, match="other values than the 2"):
        bits_back.compress(model, torch.full((1, 1, 6, 5), 128, dtype=torch.uint8))


@pytest.mark.parametrize("size", [(1, 1), (4, 6), (5, 6), (8, 7), (9, 13)])
def test_pictures_are_cut_and_joined(size):
    picture = np.random.default_rng(0).integers(0, 256, (3, *size), dtype=np.uint8)
    cut = tiles.cut(picture, (4, 6))
    assert cut.shape == (tiles.count(size, (4, 6)), 3, 4, 6)
    np.testing.assert_array_equal(cut[0].numpy()[:, : size[0], : size[1]], picture[:, :4, :6])
    np.testing.assert_array_equal(tiles.joined(cut, size), picture)
    if size == (9, 13):
        assert (cut[-1].numpy() == picture[:, -1:, -1:]).all(), "one pixel, which goes on"
