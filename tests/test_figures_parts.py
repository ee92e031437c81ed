"""What figures are made of: terms of the objective, single draws, strengths of noise, a CSV of PSNR and SSIM."""

import csv
import io
import math

import numpy as np
import pytest
import torch
from linear import noise_blur, planted, spread_codes
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.special import logsumexp
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from aectl.data import noise as noises
from aectl.data.datasets.array import Array
from aectl.data.split import build_dataset
from aectl.models.objectives import Elbo, Iwae, Terms
from aectl.rng import generator
from aectl.runs.schedules import kl_weight_at
from configs import train_config

RNG = np.random.default_rng(0)


def test_free_bits_go_by_the_mean_over_images():
    """A latent of 0.1 and 1.7 nats in two images has 0.9 on average: above 0.5, so nothing is added to it."""
    kl = torch.tensor([[0.1, 0.0], [1.7, 0.2]])
    terms = Terms(recon=torch.zeros(1, 2), costs={"kl": kl})
    assert Elbo(free_bits=0.5)(terms, 1.0).item() == pytest.approx(0.9 + 0.5)
    assert {name: mean.item() for name, mean in terms.means.items()} == {"recon": 0.0, "kl": pytest.approx(1.0)}


@pytest.mark.parametrize("beta", [1.0, 0.3])
def test_the_importance_weighted_loss_has_its_weight_on_the_kl(beta):
    recon, log_ratio, kl = RNG.random((6, 4)) * 3, RNG.random((6, 4)), RNG.random((4, 2))
    terms = Terms(torch.from_numpy(recon), {"kl": torch.from_numpy(kl)}, torch.from_numpy(log_ratio))
    expected = -(logsumexp(-recon - beta * log_ratio, axis=0) - math.log(6)).mean()
    assert Iwae(samples=6)(terms, beta).item() == pytest.approx(expected)


def test_a_warm_up_ends_at_its_epoch_and_not_a_step_later():
    weights = [kl_weight_at(step, 5, train_config(kl_weight=2.0, kl_warmup=2.0)) for step in range(12)]
    np.testing.assert_allclose(weights, np.minimum(2.0, 0.2 * np.arange(12)))


def test_validation_and_test_are_binarized_by_draws_of_their_own(tmp_path):
    """All images are nearly the same grey: one key for two parts would draw nearly the same pixels for both."""
    images = np.full((90, 8, 8), 128, np.uint8)
    images[:, 0, 0] = np.arange(90)
    np.savez(tmp_path / "grey.npz", images=images)
    config = Array(val_size=30, test_size=30, binarize="dynamic", root=str(tmp_path / "grey.npz"))
    split = build_dataset(config, None)
    parts = [part.pixels.flatten() > 0 for part in (split.train, split.val, split.test)]
    for one, other in ((0, 1), (1, 2), (0, 2)):
        agree = (parts[one] == parts[other]).float().mean().item()
        assert agree == pytest.approx(0.5, abs=0.05), "1920 pixels, equal by chance"


# --------------------------------------------------------------------------------- strengths of noise

FLAT = torch.full((1000, 1, 24, 24), 0.5)


@pytest.mark.parametrize(
    ("kind", "figure", "expected"),
    [("gaussian", "sd", 0.1), ("speckle", "sd", 0.3 * 0.5), ("poisson", "sd", math.sqrt(0.5 / 30)),
     ("masking", "gone", 0.2), ("salt_pepper", "gone", 0.1), ("blocks", "gone", 0.1)],
)  # fmt: skip
def test_what_is_mixed_has_its_documented_strength(kind, figure, expected):
    noisy = noises.Mixture(kinds=[kind])(FLAT, generator("cpu", 1))
    found = noisy.std().item() if figure == "sd" else (noisy != FLAT).float().mean().item()
    assert found == pytest.approx(expected, rel=0.1)


def test_what_is_mixed_is_blurred_and_compressed_as_documented():
    x = torch.from_numpy(gaussian_filter(RNG.random((3, 1, 20, 20)), (0, 0, 1, 1))).float()
    blurred = noises.Mixture(kinds=["blur"])(x, generator("cpu", 1))
    theirs = gaussian_filter(x.double().numpy(), (0, 0, 1.0, 1.0), mode="nearest", radius=3)
    np.testing.assert_allclose(blurred, theirs, atol=1e-5)
    kept = noises.Mixture(kinds=["jpeg"])(x, generator("cpu", 1))
    for image, compressed in zip(x, kept, strict=True):
        buffer = io.BytesIO()
        Image.fromarray(np.rint(image[0].numpy() * 255).astype(np.uint8)).save(buffer, "JPEG", quality=20)
        with Image.open(buffer) as file:
            np.testing.assert_allclose(compressed[0], np.asarray(file) / 255, atol=1e-6)


def test_blind_noise_is_uniform_between_its_bounds():
    x = torch.full((2000, 1, 16, 16), 0.5)
    noise = noises.Gaussian(sigma=0.05, sigma_max=0.15)(x, generator("cpu", 1)) - x
    sigmas = np.sort(noise.flatten(1).std(1).numpy())
    np.testing.assert_allclose(np.quantile(sigmas, [0.25, 0.5, 0.75]), [0.075, 0.1, 0.125], atol=0.005)


# --------------------------------------------------------------------------------- the CSV of denoise


def measured(before: np.ndarray, after: np.ndarray, clean: np.ndarray) -> list[float]:
    """PSNR and SSIM before and after by scikit-image, of pictures in 0..255."""
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    settings["channel_axis"] = -1 if clean.ndim == 3 else None
    psnr = [peak_signal_noise_ratio(clean, image, data_range=255) for image in (before, after)]
    return [*psnr, *(structural_similarity(clean, image, **settings) for image in (before, after))]


def read(path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return planted(tmp_path_factory.mktemp("run"), spread_codes(), noise=noise_blur())


@pytest.mark.parametrize("added", [False, True])
def test_psnr_and_ssim_in_the_csv_are_those_of_the_files(aectl, tmp_path, run, added):
    smooth = gaussian_filter(RNG.random((3, 40, 30, 3)), (0, 3, 3, 0)) * 3 - 1
    clean = np.rint(smooth.clip(0, 1) * 255).astype(np.uint8)
    pictures = {"a.png": clean[0, ..., 0], "b.png": clean[1], "c.png": clean[2, ..., 0]}
    for folder in ("clean", "noisy"):
        (tmp_path / folder).mkdir()
    for name, image in pictures.items():
        Image.fromarray(image).save(tmp_path / "clean" / name)
        noisy = (image + 20 * RNG.standard_normal(image.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(tmp_path / "noisy" / name)
    arguments = ["input=clean", "noise=gaussian", "noise.sigma=0.1"] if added else ["input=noisy", "reference=clean"]
    done = aectl("denoise", f"run={run.path}", *arguments, "output=out")
    assert done.status == 0, done.err
    with (tmp_path / "out/psnr_ssim.csv").open() as file:
        rows = list(csv.DictReader(file))
    before = tmp_path / ("out/noisy" if added else "noisy")
    expected = [measured(*(read(at / name) for at in (before, tmp_path / "out", tmp_path / "clean")))
                for name in pictures]  # fmt: skip
    columns = ["psnr_before", "psnr_after", "ssim_before", "ssim_after"]
    found = np.array([[float(row[column]) for column in columns] for row in rows])
    np.testing.assert_allclose(found[:3], expected, atol=2e-3)
    np.testing.assert_allclose(found[3], np.mean(expected, axis=0), atol=2e-3)
    psnr, ssim = (
        " → ".join(f"{value:.{digits}f}" for value in found[3, at : at + 2]) for at, digits in ((0, 2), (2, 4))
    )
    assert f"PSNR {psnr} dB, SSIM {ssim}" in done.out
    if added:  # σ = 0.1 on [0, 1]
        assert found[3, 0] == pytest.approx(20, abs=0.7)
