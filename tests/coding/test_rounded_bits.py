"""The bits of a rounded code: as many as the prior says, in tiles that leave no seam, and no damage is decoded."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import logistic
from skimage import data

from aectl.coding import rounded
from aectl.errors import DataError
from aectl.models.likelihoods.gaussian import Gaussian
from aectl.models.networks.strided import Strided
from aectl.models.objectives import Rate
from aectl.models.rounded import RoundedChoice
from aectl.models.table import build_model
from configs import train_config

CPU = torch.device("cpu")


def built(colours, **network):
    """A codec whose layers do something, and whose channels have priors of their own."""
    network = Strided(**{"patch": 4, "channels": [12, 10], "blocks": 1, **network})
    torch.manual_seed(0)
    choices = {"model": RoundedChoice(), "network": network, "objective": Rate(weight=0.02)}
    model = build_model(train_config(latent=9, likelihood=Gaussian(sigma=1.0), **choices), (colours, 16, 16))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            scale = 0.02 if "density" in name else 0.1 / math.sqrt(max(1, weight[0].numel()))
            weight.add_(scale * torch.randn(weight.shape))
    return model.eval().requires_grad_(False)


def photograph(colours, *size):
    picture = data.astronaut().transpose(2, 0, 1)[:, 100 : 100 + size[0], 150 : 150 + size[1]]
    return picture.copy() if colours == 3 else picture[:1].copy()


def mass(model, code):
    """The information in a code, bits, by scipy's logistic."""
    means, log_scales, logits = (30.0 * one.double().numpy()[:, None] for one in model.density.parameters())
    weights = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    values = code.reshape(len(code), -1)[..., None].astype(float)
    upper, lower = (logistic.cdf(values + half, means, np.exp(log_scales)) for half in (0.5, -0.5))
    return -np.log2((weights * (upper - lower)).sum(-1)).sum()


@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("size", [(1, 1), (8, 8), (70, 45), (300, 350)])
def test_pictures_of_any_size_come_back_in_as_many_bits_as_the_prior_says(colours, size):
    model, picture = built(colours), photograph(colours, *size)
    bits = rounded.compress(model, picture, CPU)
    assert bits == rounded.compress(model, picture, CPU)
    code = rounded.analysed(model, picture, CPU)
    assert 8 * len(bits) == pytest.approx(mass(model, code), rel=0.002, abs=112)  # a checksum, and the stack's ends
    found = rounded.decompress(model, bits, size, CPU)
    assert found.shape == picture.shape
    x = torch.from_numpy(picture).float()[None] / 255
    whole = model.reconstruct(x)[0].clamp(0, 1).mul(255).round().numpy()
    assert np.abs(whole - found).max() <= 1
    assert (whole != found).mean() < 0.001


def test_tiles_leave_no_seam(monkeypatch):
    model, picture = built(3), photograph(3, 130, 200)
    once = rounded.analysed(model, picture, CPU)
    again = rounded.synthesised(model, once, (130, 200), CPU)
    monkeypatch.setattr(rounded, "PLACES", 5)
    np.testing.assert_array_equal(rounded.analysed(model, picture, CPU), once)
    assert np.abs(rounded.synthesised(model, once, (130, 200), CPU).astype(int) - again).max() <= 1
    monkeypatch.setattr(type(model), "reach", 0, raising=False)
    model.reach = 0
    assert (rounded.analysed(model, picture, CPU) != once).any(), "without what is around them they do"


def test_many_numbers_are_coded_part_by_part(monkeypatch):
    model, picture = built(3), photograph(3, 70, 45)
    code = rounded.analysed(model, picture, CPU)
    monkeypatch.setattr(rounded, "AT_ONCE", 100)
    bits = rounded.compress(model, picture, CPU)
    np.testing.assert_array_equal(
        rounded.decompress(model, bits, (70, 45), CPU), rounded.synthesised(model, code, (70, 45), CPU)
    )


def test_no_damage_gives_a_picture():
    model = built(1)
    bits = rounded.compress(model, photograph(1, 40, 40), CPU)
    rng = np.random.default_rng(0)
    for _ in range(40):
        damaged = bytearray(bits)
        damaged[rng.integers(len(bits))] ^= 1 << rng.integers(8)
        with pytest.raises(DataError):
            rounded.decompress(model, bytes(damaged), (40, 40), CPU)
    for length in (0, 3, 4, 9, len(bits) - 4):
        with pytest.raises(DataError):
            rounded.decompress(model, bits[:length], (40, 40), CPU)
    with pytest.raises(DataError):
        rounded.decompress(model, bits, (80, 40), CPU)


def test_numbers_beyond_the_table_are_cut_off_there():
    model = built(1)
    with torch.no_grad():
        list(model.analysis.parameters())[-1].fill_(1e6)  # the last bias
    bits = rounded.compress(model, photograph(1, 20, 20), CPU)
    assert rounded.analysed(model, photograph(1, 20, 20), CPU).max() == 2047
    assert rounded.decompress(model, bits, (20, 20), CPU).shape == (1, 20, 20)
