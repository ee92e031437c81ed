import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from aectl import baselines, metrics
from aectl.images import Images

RNG = torch.Generator().manual_seed(0)
X, Y = torch.rand(2, 6, 3, 20, 17, generator=RNG)


def test_psnr_is_the_mean_over_images_of_its_definition():
    noisy = torch.stack([Y[0] + 0.1, Y[1]]).clamp(0, 1)
    errors = (noisy - Y[:2]).square().flatten(1).mean(1)
    values = metrics.psnr(noisy, Y[:2])
    assert values[0].item() == pytest.approx(10 * np.log10(1 / errors[0].item()), abs=1e-4)
    assert values[1].item() == pytest.approx(100)  # identical: bounded, so that a mean stays finite


def test_mse_is_per_pixel():
    torch.testing.assert_close(metrics.mse(X, Y), (X - Y).square().sum((1, 2, 3)) / (3 * 20 * 17))


def reference_ssim(x: np.ndarray, y: np.ndarray) -> float:
    """Wang et al. with SciPy's Gaussian filter, cropped to where the 11×11 window lies inside."""

    def mean(image):
        return gaussian_filter(image, 1.5, truncate=3.5, mode="reflect")[5:-5, 5:-5]

    mx, my = mean(x), mean(y)
    vx, vy, cov = mean(x * x) - mx * mx, mean(y * y) - my * my, mean(x * y) - mx * my
    c1, c2 = 0.01**2, 0.03**2
    return float(np.mean((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))))


def test_ssim_agrees_with_an_independent_implementation():
    ours = metrics.ssim(X, Y)
    for index in range(len(X)):
        channels = [reference_ssim(X[index, c].double().numpy(), Y[index, c].double().numpy()) for c in range(3)]
        assert ours[index].item() == pytest.approx(np.mean(channels), abs=1e-6)


def test_ssim_of_an_image_with_itself_is_one_at_any_size():
    for height, width in ((8, 8), (28, 28), (3, 40), (1, 5)):
        image = torch.rand(2, 1, height, width, generator=RNG)
        torch.testing.assert_close(metrics.ssim(image, image), torch.ones(2))


def test_pca_equals_scikit_learns():
    from sklearn.decomposition import PCA

    pixels = (torch.rand(300, 1, 6, 6, generator=RNG) * torch.rand(36, generator=RNG).view(1, 1, 6, 6) * 255).byte()
    flat = pixels.flatten(1).double() / 255
    train, test = flat[:200], flat[200:]
    ours, rest = baselines.principal(Images(pixels[:200], None)), Images(pixels[200:], None)
    for k in (1, 5, 36):
        theirs = PCA(k, svd_solver="full").fit(train.numpy())
        back = theirs.inverse_transform(theirs.transform(test.numpy()))
        expected = np.square(test.numpy() - back).sum(1).mean()
        assert ours.sse(rest, k) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert ours.sse(rest, 0) == pytest.approx((test - train.mean(0)).square().sum(1).mean().item())


def test_the_median_filter_removes_single_pixels_and_mixes_no_images():
    x = torch.full((2, 1, 5, 5), 0.3)
    x[0, 0, 2, 2] = 1
    assert torch.equal(baselines.median_filter(x), torch.full((2, 1, 5, 5), 0.3))


def test_accuracies_find_what_is_separable():
    codes = torch.randn(400, 2, generator=RNG)
    labels = (codes[:, 0] > 0).long()
    parts = codes[:300], labels[:300], codes[300:], labels[300:]
    assert baselines.knn_accuracy(*parts) > 0.9
    assert baselines.linear_probe_accuracy(*parts) > 0.95
    shuffled = codes[:300], labels[torch.randperm(300, generator=RNG)], codes[300:], labels[300:]
    assert baselines.linear_probe_accuracy(*shuffled) < 0.7


def test_beyond_an_exact_covariance_pca_comes_from_a_sample(monkeypatch):
    pixels = (torch.rand(60, 1, 8, 8, generator=RNG) * 255).byte()
    images, rest = Images(pixels[:40], None), Images(pixels[40:], None)
    exact = baselines.principal(images)
    monkeypatch.setattr(baselines, "MAX_EXACT", 10)
    sampled = baselines.principal(images)  # all 40 are in the sample
    for k in (0, 1, 7, 30):
        assert sampled.sse(rest, k) == pytest.approx(exact.sse(rest, k))
    assert sampled.sse(rest, 1000) == pytest.approx(exact.sse(rest, 39))
