import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from aectl.data.images import Images
from aectl.drawing import plots, views
from aectl.measuring import baselines, metrics

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


def scikit_learns(train: torch.Tensor, test: torch.Tensor, k: int) -> float:
    """Squared error per image of scikit-learn's PCA with `k` components."""
    from sklearn.decomposition import PCA

    theirs = PCA(k, svd_solver="full").fit(train.flatten(1).double().numpy() / 255)
    flat = test.flatten(1).double().numpy() / 255
    return float(np.square(flat - theirs.inverse_transform(theirs.transform(flat))).sum(1).mean())


def anything(count: int) -> torch.Tensor:
    """Images (N, 1, 5, 6) of independent values."""
    return torch.randint(256, (count, 1, 5, 6), generator=RNG, dtype=torch.uint8)


def in_a_plane(count: int) -> torch.Tensor:
    """Images (N, 1, 5, 6), all of them a base plus whole multiples of two others."""
    first, second = torch.randint(0, 5, (2, 1, 1, 5, 6), generator=RNG)
    weights = torch.randint(0, 20, (2, count, 1, 1, 1), generator=RNG)
    return (30 + weights[0] * first + weights[1] * second).byte()


@pytest.mark.parametrize("most", [4096, 10])  # every covariance exactly, or all from a sample
@pytest.mark.parametrize(
    ("train", "rank"),
    [(anything(9), 8), (anything(90), 30), (in_a_plane(90), 2), (in_a_plane(12), 2)],
    ids=["fewer images than values", "more images than values", "a plane, many images", "a plane, few images"],
)  # fmt: skip
def test_pca_has_the_directions_in_which_the_images_vary_and_no_others(monkeypatch, train, rank, most):
    monkeypatch.setattr(baselines, "MAX_EXACT", most)
    test = anything(40)
    ours, rest = baselines.principal(Images(train, None)), Images(test, None)
    assert ours.components(64) == rank
    for k in (1, rank):
        assert ours.sse(rest, k) == pytest.approx(scikit_learns(train, test, k), rel=1e-9, abs=1e-12)
    assert ours.sse(rest, 64) == ours.sse(rest, rank)
    assert ours.sse(Images(train, None), 64) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("count", [1, 25])
def test_images_that_do_not_vary_have_a_mean_and_no_components(count):
    train = torch.full((count, 1, 2, 3), 77, dtype=torch.uint8)
    test = Images(torch.full((4, 1, 2, 3), 128, dtype=torch.uint8), None)
    ours = baselines.principal(Images(train, None))
    assert ours.components(3) == 0
    assert ours.sse(test, 3) == ours.sse(test, 0) == pytest.approx(6 * (51 / 255) ** 2)
    assert ours.sse(Images(train, None), 3) == 0


def test_with_equal_variances_each_component_takes_its_share():
    """One bright pixel in each image: five equal eigenvalues of 1/6·s², hence Σ of those left out."""
    images = Images((torch.eye(6) * 255).byte().view(6, 1, 2, 3), None)
    ours = baselines.principal(images)
    assert ours.components(9) == 5
    for k in range(6):
        assert ours.sse(images, k) == pytest.approx((5 - k) / 6, abs=1e-12)


def test_images_of_one_value_are_their_only_component():
    images = Images(torch.arange(60, dtype=torch.uint8).view(60, 1, 1, 1), None)
    assert baselines.principal(images).sse(images, 2) == pytest.approx(0, abs=1e-20)
    assert baselines.principal(images).sse(images, 0) == pytest.approx((60**2 - 1) / 12 / 255**2)


def test_errors_are_those_of_each_image_in_their_order(monkeypatch):
    monkeypatch.setattr(baselines, "CHUNK", 7)
    pixels = (torch.rand(20, 1, 4, 4, generator=RNG) * 255).byte()
    ours = baselines.principal(Images(pixels, None))
    found = ours.errors(Images(pixels, None), 3)
    assert found.shape == (20,)
    for index in (0, 8, 19):
        assert found[index].item() == pytest.approx(ours.sse(Images(pixels[index : index + 1], None), 3))


def test_the_standard_error_is_scipys_and_one_value_has_none():
    from scipy.stats import sem

    values = torch.randn(23, generator=RNG)
    assert metrics.standard_error(values) == pytest.approx(float(sem(values.numpy())), rel=1e-6)
    assert metrics.standard_error(values[:1]) is None


def test_many_large_images_give_their_components_by_a_sample(monkeypatch):
    monkeypatch.setattr(baselines, "MAX_EXACT", 10)
    monkeypatch.setattr(baselines, "SAMPLE", 25)
    pixels = (torch.rand(100, 1, 4, 4, generator=RNG) * torch.rand(16, generator=RNG).view(1, 1, 4, 4) * 255).byte()
    images = Images(pixels, None)
    sampled = baselines.principal(images)
    variance = np.var(pixels.flatten(1).double().numpy() / 255, axis=0).sum()
    assert sampled.sse(images, 0) == pytest.approx(variance), "the mean is that of all images"
    assert scikit_learns(pixels, pixels, 3) < sampled.sse(images, 3) < 1.2 * scikit_learns(pixels, pixels, 3)


@pytest.mark.parametrize("count", [1, 2, 3, 40])
@pytest.mark.parametrize("latent", [1, 2, 3, 7])
@pytest.mark.parametrize("labelled", [True, False])
def test_codes_of_any_number_of_images_can_be_shown(count, latent, labelled):
    codes = torch.randn(count, latent, generator=RNG)
    labels = torch.arange(count) % 3 if labelled else None
    picture = views.latent_scatter(codes, labels, "codes")
    assert picture.ndim == 3
    assert (picture < 250).any()


def test_more_than_two_latents_are_shown_by_their_principal_components():
    from sklearn.decomposition import PCA

    codes = torch.randn(50, 5, generator=RNG) * torch.tensor([3.0, 1, 0.3, 2, 0.1])
    points, names = plots.two_dimensional(codes)
    theirs = PCA(2, svd_solver="full").fit(codes.double().numpy())
    expected = theirs.transform(codes.double().numpy())
    np.testing.assert_allclose(np.abs(points.numpy()), np.abs(expected), rtol=1e-4, atol=1e-4)
    assert names[0] == f"principal component 1 of z ({theirs.explained_variance_ratio_[0]:.0%})"
    single, names = plots.two_dimensional(codes[:1])
    assert torch.equal(single, codes[:1, :2])
    assert names == ("z1", "z2")
