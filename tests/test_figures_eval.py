"""Every figure of `aectl eval` against NumPy, SciPy, scikit-image, scikit-learn and torch.distributions.

The runs are linear (`linear.py`), so that what they must give follows from their weights. A figure that appears in
metrics.json and is not compared here fails `check`.
"""

import json
import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from linear import BLUR, DATASET, SHAPE, D, Linear, exact_posterior, noise_blur, planted, spread_codes
from PIL import Image
from scipy.integrate import quad
from scipy.ndimage import gaussian_filter, median_filter
from scipy.special import entr, expit
from scipy.stats import multivariate_normal, norm
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from skimage.restoration import denoise_nl_means, estimate_sigma
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from aectl.measuring import baselines
from aectl.models.autoencoder import Ae
from aectl.models.likelihoods.bernoulli import Bernoulli
from aectl.models.likelihoods.gaussian import Gaussian
from aectl.models.objectives import Elbo

# What says what was measured, instead of how much.
WORDS = {"run", "checkpoint", "split", "dataset", "binarize", "epoch_chosen_by", "diagnosis"}
SIGMA = 0.3


@pytest.fixture(scope="module")
def denoising(tmp_path_factory) -> Linear:
    """A denoising VAE, β = 0.5: the encoder sees blurred images."""
    return planted(tmp_path_factory.mktemp("denoising"), spread_codes(), noise=noise_blur(), kl_weight=0.5)


def pictures(x: np.ndarray) -> np.ndarray:
    return x.reshape(-1, *SHAPE[1:])


def psnrs(x: np.ndarray, reference: np.ndarray) -> np.ndarray:
    pairs = zip(pictures(reference), pictures(x.clip(0, 1)), strict=True)
    return np.array([peak_signal_noise_ratio(one, other, data_range=1) for one, other in pairs])


def psnr(x: np.ndarray, reference: np.ndarray) -> float:
    return psnrs(x, reference).mean()


def ssims(x: np.ndarray, reference: np.ndarray) -> np.ndarray:
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1}
    pairs = zip(pictures(reference), pictures(x.clip(0, 1)), strict=True)
    return np.array([structural_similarity(one, other, **settings) for one, other in pairs])


def nearest_five(train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray) -> float:
    distances = np.square(test[:, None] - train[None]).sum(2)
    votes = train_labels[np.argsort(distances, axis=1)[:, :5]]
    return float(np.mean([np.bincount(of).argmax() for of in votes] == test_labels))


def kl(run: Linear, seen: np.ndarray) -> np.ndarray:
    """KL of q(z|x) from N(0, I), (N, K)."""
    q = torch.distributions.Normal(torch.from_numpy(run.mu(seen)), torch.from_numpy(np.exp(run.logvar(seen) / 2)))
    return torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).numpy()


def recon(run: Linear, seen: np.ndarray, x: np.ndarray, draws: int = 300) -> np.ndarray:
    """−log p(x|z) of draws of z, (draws, N)."""
    rng = np.random.default_rng(0)
    z = run.mu(seen) + np.exp(run.logvar(seen) / 2) * rng.standard_normal((draws, len(x), len(run.weights["W"])))
    decoded = torch.from_numpy(run.decoder(z))
    if run.config.likelihood.name == "gaussian":
        log_p = torch.distributions.Normal(decoded, SIGMA).log_prob(torch.from_numpy(x))
    else:  # grey pixels between 0 and 1
        log_p = torch.distributions.Bernoulli(logits=decoded, validate_args=False).log_prob(torch.from_numpy(x))
    return -log_p.sum(2).numpy()


def standard_error(values: np.ndarray) -> float:
    """Of the mean of one value for each image, (..., N)."""
    return np.sqrt(values.var(-1, ddof=1).mean() / values.shape[-1])


def check(found: dict, expected: dict) -> None:
    """Every figure of metrics.json is expected, and is what is expected."""
    figures = {name: value for name, value in found.items() if name not in WORDS}
    assert set(figures) == set(expected), "a figure without an independent value, or one that is gone"
    wrong = {name: (figures[name], value) for name, value in expected.items() if figures[name] != value}
    assert not wrong


def counts(run: Linear, part: str) -> dict:
    sizes = {name: len(images) for name, images in run.images.items()}
    return {"images": sizes[part], "sizes": sizes, "epoch": 1, "step": math.ceil(sizes["train"] / 32),
            "latent": len(run.weights["W"])}  # fmt: skip


def by_image(run: Linear, part: str) -> dict[str, np.ndarray]:
    """What is measured of each image's reconstruction, and what it must beat."""
    x, train = run.images[part], run.images["train"]
    x_hat = run.decode(run.mu(run.seen(part)))
    theirs = PCA(len(run.weights["W"]), svd_solver="full").fit(train)
    mse = np.square(x_hat - x).mean(1)
    found = {
        "mse": mse, "sse": mse * D, "psnr": psnrs(x_hat, x), "ssim": ssims(x_hat, x),
        "mean_image_mse": np.square(x - train.mean(0)).mean(1),
        "pca_mse": np.square(x - theirs.inverse_transform(theirs.transform(x))).mean(1),
    }  # fmt: skip
    if not run.config.noise.corrupts:
        return found
    seen = run.seen(part)
    median = median_filter(pictures(seen), size=(1, 3, 3), mode="nearest").reshape(len(x), D)
    for name, image in (("noisy", seen), ("median", median), ("denoised", x_hat)):
        found |= {f"psnr_{name}": psnrs(image, x), f"ssim_{name}": ssims(image, x)}
    return found


def close(value: float) -> Any:
    """To single precision; PSNR and SSIM are of images in single precision."""
    return pytest.approx(value, rel=2e-4, abs=1e-7)


def of_reconstructions(run: Linear, part: str) -> dict:
    """Means over images, and how many components PCA has."""
    each = by_image(run, part)
    return {**{name: close(values.mean()) for name, values in each.items()}, "pca_components": len(run.weights["W"])}


def of_standard_errors(run: Linear, part: str) -> dict:
    """Of what is a mean over images, and of the differences that sentences speak of; of draws within a third."""
    x, seen, each = run.images[part], run.seen(part), by_image(run, part)
    differences = [("mse", "mean_image_mse"), ("mse", "pca_mse")]
    if "psnr_noisy" in each:
        differences += [("psnr_denoised", "psnr_noisy"), ("psnr_denoised", "psnr_median")]
    each |= {f"{one} - {other}": each[one] - each[other] for one, other in differences}
    divergence, drawn = kl(run, seen).sum(1), recon(run, seen, x)
    return {
        **{name: close(standard_error(values)) for name, values in each.items()},
        "kl": close(standard_error(divergence)),
        "recon": pytest.approx(standard_error(drawn), rel=0.35),
        "elbo": pytest.approx(standard_error(drawn + divergence), rel=0.35),
    }


def of_codes(run: Linear, part: str) -> dict:
    """What is measured of the codes of clean images."""
    train, codes = run.mu(run.images["train"]), run.mu(run.images[part])
    labels = run.labels["train"], run.labels[part]
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(train, labels[0])
    return {
        "active_units": int((codes.var(0) > 0.01).sum()),
        "knn_accuracy": pytest.approx(nearest_five(train, labels[0], codes, labels[1])),
        "linear_probe_accuracy": pytest.approx(probe.score(codes, labels[1]), abs=1e-9),
    }


def of_objective(run: Linear, part: str, beta: float, found: dict) -> dict:
    """Terms of the objective; what is drawn is compared within five of its standard deviations."""
    drawn = recon(run, run.seen(part), run.images[part])
    sd = math.sqrt(drawn.var(0).sum()) / drawn.shape[1]  # of the mean for one draw an image
    divergence = kl(run, run.seen(part)).sum(1).mean()
    return {
        "recon": pytest.approx(drawn.mean(), abs=5 * sd), "kl": pytest.approx(divergence, rel=1e-5),
        "loss": pytest.approx(found["recon"] + beta * divergence, rel=1e-5),
        "elbo": pytest.approx(-(found["recon"] + divergence), rel=1e-5),
        "standard_errors": of_standard_errors(run, part),
    }  # fmt: skip


def evaluated(aectl, tmp_path, run: Linear, *arguments: str) -> tuple[dict, str]:
    done = aectl("eval", f"run={run.path}", f"hydra.run.dir={tmp_path / 'e'}", *arguments)
    assert done.status == 0, done.err
    return json.loads((tmp_path / "e/metrics.json").read_text()), done.out


@pytest.mark.parametrize("part", ["test", "val"])
def test_figures_of_a_denoising_vae(aectl, tmp_path, denoising, part):
    found, shown = evaluated(aectl, tmp_path, denoising, f"split={part}")
    seen = denoising.seen(part)
    expected = {
        **counts(denoising, part), **of_reconstructions(denoising, part), **of_codes(denoising, part),
        **of_objective(denoising, part, 0.5, found),
    }  # fmt: skip
    check(found, expected)
    assert found["active_units"] == 3
    assert denoising.mu(seen).var(0)[2] < 0.1 < denoising.mu(seen).var(0)[1], (
        "which tells bounds of 0.01 and 0.1 apart"
    )
    # The screen shows the same figures, rounded.
    lines = dict(line.split()[:2] for line in shown.splitlines() if line.startswith("  "))
    for name in ("recon", "kl", "mse", "psnr", "ssim", "pca_mse", "knn_accuracy", "psnr_noisy", "psnr_denoised"):
        assert float(lines[name]) == pytest.approx(found[name], abs=6e-5)
    # And so do the sentences.
    (said,) = [sentence for sentence in found["diagnosis"] if "dB" in sentence]
    differences = [found[f"psnr_{name}"] - found["psnr_denoised"] for name in ("noisy", "median")]
    assert re.findall(r"([\d.]+) dB (\w+)", said) == [(f"{worse:.2f}", "worse") for worse in differences]


def test_figures_of_grey_pixels_and_free_bits(aectl, tmp_path):
    weights = spread_codes()
    weights["W"], weights["b"] = 4 * weights["W"], np.full(D, -2.0)
    settings = {"likelihood": Bernoulli(), "objective": Elbo(free_bits=1.2), "kl_weight": 2.0}
    run = planted(tmp_path / "run", weights, **settings)
    found, _ = evaluated(aectl, tmp_path, run, "nll_samples=50")
    x = run.images["test"]
    expected = {**counts(run, "test"), **of_reconstructions(run, "test"), **of_codes(run, "test"),
                **of_objective(run, "test", 2.0, found)}  # fmt: skip
    # Free bits are charged to the loss alone, by latent, on average over images.
    each = kl(run, x).mean(0)
    assert (each < 1.2).any()
    assert (each > 1.2).any()
    expected["loss"] = pytest.approx(found["recon"] + 2 * np.maximum(1.2, each).sum(), rel=1e-3)
    expected["recon_floor"] = pytest.approx((entr(x) + entr(1 - x)).sum(1).mean(), rel=1e-6)
    expected |= of_bound(run, "grey_bce_bound", 50)
    check(found, expected)
    assert f"entropy of {found['recon_floor']:.2f} nats" in " ".join(found["diagnosis"])


def of_bound(run: Linear, name: str, samples: int) -> dict:
    """The importance-weighted bound with draws of the test's own, and its errors by repeating them."""
    rng = np.random.default_rng(5)
    x = run.images["test"]
    mu, sd = run.mu(x), np.exp(run.logvar(x) / 2)
    bounds, effective = [], []
    for _ in range(8):
        z = mu + sd * rng.standard_normal((samples, *mu.shape))
        p = expit(run.decoder(z))
        log_w = (x * np.log(p) + (1 - x) * np.log(1 - p)).sum(2)
        log_w += (norm.logpdf(z) - norm.logpdf(z, mu, sd)).sum(2)
        w = np.exp(log_w - log_w.max(0))
        bounds.append(np.log(w.mean(0)) + log_w.max(0))
        effective.append(np.square(w.sum(0)) / np.square(w).sum(0))
    bounds = np.stack(bounds)
    draws = bounds.mean(1).std(ddof=1)
    return {
        name: pytest.approx(-bounds.mean(), abs=5 * draws),
        f"{name}_se_images": pytest.approx(standard_error(bounds), rel=0.05),
        f"{name}_se_draws": pytest.approx(draws, rel=0.7),
        f"{name}_samples": samples,
        f"{name}_repeats": 1,
        f"{name}_effective_samples": pytest.approx(np.median(np.stack(effective)), rel=0.2),
        f"{name}_scarce": pytest.approx((np.stack(effective) < 10).mean(), abs=0.1),
    }


def test_nll_of_an_exact_posterior_is_that_of_the_gaussian(aectl, tmp_path):
    run = planted(tmp_path / "run", exact_posterior(SIGMA))
    found, _ = evaluated(aectl, tmp_path, run, "nll_samples=7", "nll_repeats=3")
    x, w = run.images["test"], run.weights["W"]
    exact = multivariate_normal(run.weights["b"], w.T @ w + SIGMA**2 * np.eye(D)).logpdf(x)
    expected = {
        **counts(run, "test"), **of_reconstructions(run, "test"), **of_codes(run, "test"),
        **of_objective(run, "test", 1.0, found),
        "nll": pytest.approx(-exact.mean(), abs=1e-3), "nll_samples": 7, "nll_repeats": 3,
        "nll_se_images": pytest.approx(exact.std(ddof=1) / math.sqrt(len(x)), rel=1e-4),
        "nll_se_draws": pytest.approx(0, abs=1e-4),  # every draw has the same weight
        "nll_effective_samples": pytest.approx(7, abs=1e-3), "nll_scarce": 1.0,
        "bits_per_dim": pytest.approx(-exact.mean() / (D * math.log(2)), abs=1e-5),
    }  # fmt: skip
    check(found, expected)


def test_figures_of_an_autoencoder_and_a_learned_sigma(aectl, tmp_path):
    run = planted(tmp_path / "run", spread_codes(posterior=False), model=Ae(),
                  likelihood=Gaussian(sigma=0.7, learn=True))  # fmt: skip
    found, _ = evaluated(aectl, tmp_path, run)
    x = run.images["test"]
    sigma = found["sigma"]
    assert sigma == pytest.approx(0.7, rel=0.1), "an epoch moves it a little"
    x_hat = run.decode(run.mu(x))
    exact = -norm.logpdf(x, x_hat, sigma).sum(1).mean()
    assert found["recon"] == pytest.approx(exact, rel=1e-5)
    assert found["loss"] == pytest.approx(exact, rel=1e-5), "no prior, nothing to add"
    for name, value in {**of_reconstructions(run, "test"), **of_codes(run, "test")}.items():
        assert found[name] == value, name
    ratio = found["mse"] / found["pca_mse"]
    assert re.search(
        rf"\b{abs(1 - ratio):.0%} {'below' if ratio < 1 else 'above'} that of PCA", found["diagnosis"][1]
    )


# ---------------------------------------------------------------------------------------- baselines


def test_nearest_neighbours_are_five():
    """One of five neighbours is mislabelled, the nearest: a vote of five names the others' label."""
    train = torch.tensor([[0.0], [1.0], [1.1], [1.2], [1.3], [9.0], [9.1], [9.2], [9.3], [9.4]])
    labels = torch.tensor([1, 0, 0, 0, 0, 1, 1, 1, 1, 1])
    test = torch.tensor([[0.1], [0.2], [9.2]])
    assert baselines.knn_accuracy(train, labels, test, torch.tensor([0, 0, 1])) == 1.0


def test_the_probe_sees_test_codes_on_the_scale_of_training():
    """All test codes lie on one side of the border, far from where the training codes' mean is."""
    train = torch.linspace(-1, 1, 200)[:, None]
    test = torch.linspace(2, 3, 50)[:, None]
    accuracy = baselines.linear_probe_accuracy(train, (train[:, 0] > 0).long(), test, torch.ones(50).long())
    assert accuracy == 1.0


def test_the_median_is_that_of_nine_pixels():
    x = np.random.default_rng(0).random((3, 2, 9, 8)).astype(np.float32)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    np.testing.assert_array_equal(baselines.median_filter(torch.from_numpy(x)), np.median(windows, axis=(4, 5)))


# --------------------------------------------------------------------------------------- robustness


def clipped_gaussian(x: np.ndarray, sigma: float) -> float:
    """PSNR in dB, averaged over images, of x + σn clipped to [0, 1]: the error of each grey value as an integral."""

    def error(value: float) -> float:
        inside = quad(lambda e: e * e * norm.pdf(e, scale=sigma), -value, 1 - value)[0]
        return inside + value**2 * norm.cdf(-value / sigma) + (1 - value) ** 2 * norm.sf((1 - value) / sigma)

    values = np.arange(256) / 255
    table = np.array([error(value) for value in values])
    return float(np.mean(-10 * np.log10(table[np.rint(x * 255).astype(int)].mean(1))))


def test_robustness_rows(aectl, tmp_path, denoising):
    found, shown = evaluated(aectl, tmp_path, denoising, "robustness=true", "split=val")
    x = denoising.images["val"]  # 70, fewer than the 200 that are taken at most
    rows = {(row["noise"], row["strength"]): row for row in found["robustness"]}
    for sigma in (0.5, 1.0, 2.0):
        row = rows["blur", sigma]
        noisy = gaussian_filter(pictures(x), (0, sigma, sigma), mode="nearest", radius=math.ceil(3 * sigma))
        median = median_filter(noisy, size=(1, 3, 3), mode="nearest")
        assert row["noisy"] == pytest.approx(psnr(noisy, x), abs=1e-3)
        assert row["median"] == pytest.approx(psnr(median, x), abs=1e-3)
        assert row["model"] == pytest.approx(psnr(denoising.decode(denoising.mu(noisy.reshape(-1, D))), x), abs=1e-3)
        means = []
        for image in noisy:
            estimate = estimate_sigma(image)
            means.append(denoise_nl_means(image, 5, 6, 0.8 * estimate, sigma=estimate, fast_mode=True))
        assert row["nl_means"] == pytest.approx(psnr(np.stack(means), x), abs=0.02)
    for sigma in (0.1, 0.25, 0.5):
        assert rows["gaussian", sigma]["noisy"] == pytest.approx(clipped_gaussian(x, sigma), abs=0.15)
    for quality in (50, 20, 5):
        assert rows["jpeg", quality]["noisy"] == pytest.approx(psnr(as_jpeg(tmp_path, x, quality), x), abs=1e-3)
    rng = np.random.default_rng(0)
    many = np.repeat(x, 10, axis=0)
    for p in (0.1, 0.3, 0.5):
        masked = np.where(rng.random(many.shape) < p, 0, many)
        specks = np.where(rng.random(many.shape) < p, rng.integers(2, size=many.shape), many)
        assert rows["masking", p]["noisy"] == pytest.approx(bounded(masked, many), abs=2)
        assert rows["salt_pepper", p]["noisy"] == pytest.approx(bounded(specks, many), abs=0.3)
    for sigma in (0.2, 0.5, 1.0):
        speckled = many + sigma * many * rng.standard_normal(many.shape)
        assert rows["speckle", sigma]["noisy"] == pytest.approx(bounded(speckled, many), abs=0.3)
    for peak in (100, 30, 5):
        counts = rng.poisson(many * peak) / peak
        assert rows["poisson", peak]["noisy"] == pytest.approx(bounded(counts, many), abs=0.3)
    # The line on the screen has the columns in the order of its head.
    head = next(line.split() for line in shown.splitlines() if "PSNR (dB)" in line)[2:]
    line = next(line.split() for line in shown.splitlines() if line.startswith("  blur 1 "))
    assert [float(value) for value in line[2:]] == [round(rows["blur", BLUR][name], 2) for name in head]


def bounded(x: np.ndarray, reference: np.ndarray) -> float:
    """PSNR of images (N, D) clipped to [0, 1], at most 100 dB each."""
    return float(np.mean(-10 * np.log10(np.square(x.clip(0, 1) - reference).mean(1).clip(1e-10))))


def as_jpeg(folder, x: np.ndarray, quality: int) -> np.ndarray:
    results = []
    for image in pictures(x):
        Image.fromarray(np.rint(image * 255).astype(np.uint8)).save(folder / "one.jpg", quality=quality)
        with Image.open(folder / "one.jpg") as file:
            results.append(np.asarray(file) / 255)
    return np.stack(results).reshape(len(x), D)


def test_the_table_of_denoise_is_that_of_its_test_images(aectl, tmp_path, denoising):
    done = aectl("denoise", f"run={denoising.path}", f"hydra.run.dir={tmp_path / 'd'}")
    assert done.status == 0, done.err
    found = json.loads((tmp_path / "d/metrics.json").read_text())
    x, seen = denoising.images["test"], denoising.seen("test")
    images = {
        "noisy": seen,
        "median": median_filter(pictures(seen), size=(1, 3, 3), mode="nearest"),
        "denoised": denoising.decode(denoising.mu(seen)),
    }
    assert set(found) == {f"{measure}_{name}" for measure in ("psnr", "ssim") for name in images}
    shown = {"doing nothing": "noisy", "3×3 median": "median", "this run": "denoised"}
    for label, name in shown.items():
        assert found[f"psnr_{name}"] == pytest.approx(psnr(images[name], x), abs=1e-3)
        assert found[f"ssim_{name}"] == pytest.approx(ssims(images[name], x).mean(), abs=1e-4)
        line = next(line for line in done.out.splitlines() if line.strip().startswith(label))
        assert line.split()[-2:] == [f"{found[f'psnr_{name}']:.2f}", f"{found[f'ssim_{name}']:.4f}"]


def test_the_data_set_of_these_tests_has_parts_that_differ():
    """Were they alike, a figure of the wrong part would pass."""
    assert len({DATASET.val_size, DATASET.test_size, DATASET.synthetic_size - DATASET.val_size}) == 3
