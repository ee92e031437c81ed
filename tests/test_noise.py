import pytest
import torch

from aectl.config import NOISE_STRENGTH, NoiseConfig
from aectl.noise import NOISES, build_noise
from aectl.rng import generator

X = torch.rand(64, 3, 9, 7, generator=torch.Generator().manual_seed(3)) * 0.8 + 0.1


def config(name: str, strength: float, **more) -> NoiseConfig:
    return NoiseConfig(name=name, **{NOISE_STRENGTH[name]: strength}, **more)


@pytest.mark.parametrize("name", NOISES)
def test_keeps_shape_range_and_its_input_and_follows_the_seed(name):
    corrupt = build_noise(config(name, 0.4))
    before = X.clone()
    noisy = corrupt(X, generator("cpu", 1))
    assert noisy.shape == X.shape
    assert noisy.dtype == X.dtype
    assert 0 <= noisy.min() <= noisy.max() <= 1
    assert torch.equal(X, before)
    assert torch.equal(noisy, corrupt(X, generator("cpu", 1)))
    assert not torch.equal(noisy, corrupt(X, generator("cpu", 2)))


@pytest.mark.parametrize("name", NOISES)
def test_no_strength_no_change(name):
    assert torch.equal(build_noise(config(name, 0.0))(X, generator("cpu", 1)), X)


def test_none_is_the_image_itself():
    assert build_noise(NoiseConfig())(X, generator("cpu", 1)) is X


def test_gaussian_has_its_standard_deviation():
    x = torch.full((200, 1, 20, 20), 0.5)
    noise = build_noise(config("gaussian", 0.3, clip=False))(x, generator("cpu", 1)) - x
    assert noise.std().item() == pytest.approx(0.3, rel=0.02)
    assert noise.mean().item() == pytest.approx(0, abs=0.005)


def test_speckle_grows_with_the_signal():
    x = torch.tensor([0.2, 0.8]).view(1, 1, 1, 2).expand(20_000, 1, 1, 2)
    noise = build_noise(config("speckle", 0.5, clip=False))(x, generator("cpu", 1)) - x
    torch.testing.assert_close(noise.std(0).flatten(), torch.tensor([0.1, 0.4]), rtol=0.03, atol=0)


def test_masking_takes_whole_pixels_at_its_rate():
    noisy = build_noise(config("masking", 0.25))(X, generator("cpu", 1))
    gone = noisy == 0
    assert torch.equal(gone.any(1), gone.all(1))
    assert gone.float().mean().item() == pytest.approx(0.25, abs=0.02)
    assert torch.equal(noisy[~gone], X[~gone])


def test_salt_and_pepper_are_equally_likely():
    noisy = build_noise(config("salt_pepper", 0.4))(X, generator("cpu", 1))
    assert (noisy == 0).float().mean().item() == pytest.approx(0.2, abs=0.02)
    assert (noisy == 1).float().mean().item() == pytest.approx(0.2, abs=0.02)
