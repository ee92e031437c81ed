import pytest
import torch

from aectl.data import noise as noises
from aectl.data.noise import NOISES
from aectl.rng import generator

pass

X = torch.rand(64, 3, 9, 7, generator=torch.Generator().manual_seed(3)) * 0.8 + 0.1


STRENGTH = {"gaussian": "sigma", "masking": "p", "salt_pepper": "p", "speckle": "sigma", "poisson": "peak",
            "blocks": "p", "blur": "sigma", "jpeg": "quality"}  # fmt: skip
DRAWN = [name for name in STRENGTH if name not in ("blur", "jpeg")]


def config(name: str, strength: float, **more) -> noises.Noise:
    more |= {"side": 3} if name == "blocks" else {}
    return NOISES[name](**{STRENGTH[name]: strength}, **more)


@pytest.mark.parametrize("name", ["blur", "jpeg"])
def test_what_is_not_drawn_keeps_shape_range_and_its_input(name):
    before = X.clone()
    noisy = config(name, 2)(X, generator("cpu", 1))
    assert noisy.shape == X.shape
    assert 0 <= noisy.min() <= noisy.max() <= 1
    assert torch.equal(X, before)
    assert not torch.equal(noisy, X)
    assert torch.equal(noisy, config(name, 2)(X, generator("cpu", 2)))


@pytest.mark.parametrize("name", DRAWN)
def test_keeps_shape_range_and_its_input_and_follows_the_seed(name):
    corrupt = config(name, 0.4)
    before = X.clone()
    noisy = corrupt(X, generator("cpu", 1))
    assert noisy.shape == X.shape
    assert noisy.dtype == X.dtype
    assert 0 <= noisy.min() <= noisy.max() <= 1
    assert torch.equal(X, before)
    assert torch.equal(noisy, corrupt(X, generator("cpu", 1)))
    assert not torch.equal(noisy, corrupt(X, generator("cpu", 2)))


@pytest.mark.parametrize("name", ["gaussian", "masking", "salt_pepper", "speckle", "blocks", "blur"])
def test_no_strength_no_change(name):
    assert torch.equal(config(name, 0.0)(X, generator("cpu", 1)), X)


def test_none_is_the_image_itself():
    assert noises.Clean()(X, generator("cpu", 1)) is X


def test_gaussian_has_its_standard_deviation():
    x = torch.full((200, 1, 20, 20), 0.5)
    noise = config("gaussian", 0.3, clip=False)(x, generator("cpu", 1)) - x
    assert noise.std().item() == pytest.approx(0.3, rel=0.02)
    assert noise.mean().item() == pytest.approx(0, abs=0.005)


def test_speckle_grows_with_the_signal():
    x = torch.tensor([0.2, 0.8]).view(1, 1, 1, 2).expand(20_000, 1, 1, 2)
    noise = config("speckle", 0.5, clip=False)(x, generator("cpu", 1)) - x
    torch.testing.assert_close(noise.std(0).flatten(), torch.tensor([0.1, 0.4]), rtol=0.03, atol=0)


def test_masking_takes_whole_pixels_at_its_rate():
    noisy = config("masking", 0.25)(X, generator("cpu", 1))
    gone = noisy == 0
    assert torch.equal(gone.any(1), gone.all(1))
    assert gone.float().mean().item() == pytest.approx(0.25, abs=0.02)
    assert torch.equal(noisy[~gone], X[~gone])


def test_salt_and_pepper_are_equally_likely():
    noisy = config("salt_pepper", 0.4)(X, generator("cpu", 1))
    assert (noisy == 0).float().mean().item() == pytest.approx(0.2, abs=0.02)
    assert (noisy == 1).float().mean().item() == pytest.approx(0.2, abs=0.02)


def test_poisson_has_the_mean_and_the_variance_of_counts():
    x = torch.tensor([0.1, 0.6]).view(1, 1, 1, 2).expand(50_000, 1, 1, 2)
    noisy = config("poisson", 20.0, clip=False)(x, generator("cpu", 1))
    torch.testing.assert_close(noisy.mean(0).flatten(), torch.tensor([0.1, 0.6]), atol=0.003, rtol=0)
    torch.testing.assert_close(noisy.var(0).flatten(), torch.tensor([0.1, 0.6]) / 20, rtol=0.03, atol=0)
    assert torch.equal((noisy * 20).round() / 20, noisy)


def test_blocks_are_squares_at_places_of_their_own():
    x = torch.ones(300, 2, 24, 20)
    gone = noises.Blocks(p=0.3, side=4)(x, generator("cpu", 1)) == 0
    assert torch.equal(gone.any(1), gone.all(1))
    assert gone.float().mean().item() == pytest.approx(0.3, abs=0.02)
    edges = (gone[:, 0, 1:] != gone[:, 0, :-1]).any(2)  # rows behind which something begins or ends
    phases = {int(row) % 4 for image in edges for row in image.nonzero()}
    assert phases == {0, 1, 2, 3}
    for image in edges:
        assert len({int(row) % 4 for row in image.nonzero()}) <= 1


def test_blur_is_scipys():
    from scipy.ndimage import gaussian_filter

    expected = gaussian_filter(X.double().numpy(), sigma=(0, 0, 1.5, 1.5), mode="nearest", truncate=5 / 1.5)
    found = config("blur", 1.5)(X.double(), generator("cpu", 1))
    torch.testing.assert_close(found, torch.from_numpy(expected), atol=1e-6, rtol=0)


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_loses_more_at_a_lower_quality(channels):
    x = X[:, :channels]
    errors = [(config("jpeg", q)(x, generator("cpu", 1)) - x).square().mean().item() for q in (90, 50, 5)]
    assert 0 < errors[0] < errors[1] < errors[2]


def test_blind_noise_has_another_sigma_for_each_image():
    x = torch.full((400, 1, 30, 30), 0.5)
    noise = config("gaussian", 0.1, sigma_max=0.3, clip=False)(x, generator("cpu", 1)) - x
    sigmas = noise.flatten(1).std(1)
    assert sigmas.min().item() == pytest.approx(0.1, abs=0.02)
    assert sigmas.max().item() == pytest.approx(0.3, abs=0.03)
    assert sigmas.mean().item() == pytest.approx(0.2, abs=0.01)


def test_a_mixture_gives_each_image_one_kind():
    x = torch.full((300, 1, 12, 12), 0.5)
    noisy = noises.Mixture(kinds=["masking", "blur", "salt_pepper"])(x, generator("cpu", 1))
    values = [frozenset(image.mul(10).round().div(10).unique().tolist()) for image in noisy]
    assert {frozenset({0.0, 0.5}), frozenset({0.5}), frozenset({0.0, 0.5, 1.0})} <= set(values)
    assert 60 < values.count(frozenset({0.0, 0.5})) < 140
