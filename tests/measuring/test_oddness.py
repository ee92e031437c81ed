"""Each measure against its definition, where the model is linear and NumPy knows every term."""

import dataclasses
import math

import linear
import numpy as np
import pytest
import torch
from sklearn.covariance import EmpiricalCovariance

from aectl.data import noise as noises
from aectl.data.split import build_dataset
from aectl.errors import ConfigError
from aectl.measuring.oddness import MEASURES, Oddness
from aectl.models.autoencoder import Ae
from aectl.models.likelihoods.gaussian import Gaussian
from aectl.models.networks.mlp import Mlp
from aectl.models.networks.unet import Unet
from aectl.models.table import build_model
from aectl.runs.opening import open_run
from configs import train_config

CPU = torch.device("cpu")
SIGMA, OFF = 0.3, 0.4


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    """Probabilistic PCA with an encoder that is off the posterior by a constant in mean and log-variance."""
    folder = tmp_path_factory.mktemp("exact")
    found = linear.planted(folder, linear.exact_posterior(SIGMA, OFF), likelihood=Gaussian(sigma=SIGMA))
    return found, open_run(str(folder), "best", CPU)


def scores(run, x: np.ndarray, name: str, noise: noises.Noise | None = None, **more) -> np.ndarray:
    train = build_dataset(run.config.dataset, None).train
    odd = Oddness(run.model, noise or run.config.noise, name, CPU, train, **more)
    return odd(torch.from_numpy(x).float().view(-1, *linear.SHAPE)).numpy()


def log_p(found: linear.Linear, x: np.ndarray) -> np.ndarray:
    """x ~ N(b, WᵀW + σ²I)."""
    w, b = found.weights["W"], found.weights["b"]
    cov = w.T @ w + SIGMA**2 * np.eye(linear.D)
    off = x - b
    mahalanobis = (off * np.linalg.solve(cov, off.T).T).sum(1)
    return -0.5 * (mahalanobis + np.linalg.slogdet(cov)[1] + linear.D * math.log(2 * math.pi))


def kl_to_posterior(found: linear.Linear, x: np.ndarray) -> np.ndarray:
    """KL(q(z|x) || p(z|x)): what the ELBO lacks of log p(x); p(z|x) = N(M⁻¹W(x − b), σ²M⁻¹) is diagonal here."""
    w, b = found.weights["W"], found.weights["b"]
    m = np.square(w).sum(1) + SIGMA**2
    mean, var = (x - b) @ w.T / m, SIGMA**2 / m
    q_mean, q_var = found.mu(x), np.exp(found.logvar(x))
    return 0.5 * (q_var / var + (q_mean - mean) ** 2 / var - 1 - np.log(q_var / var)).sum(1)


def test_the_error_is_the_sum_of_squares(exact):
    found, run = exact
    x = found.images["test"]
    expected = np.square(found.decode(found.mu(x)) - x).sum(1)
    np.testing.assert_allclose(scores(run, x, "error"), expected, rtol=1e-4)


def test_mahalanobis_is_scikit_learns(exact):
    found, run = exact
    usual = EmpiricalCovariance().fit(found.mu(found.images["train"]))
    n = len(found.images["train"])
    expected = np.sqrt(usual.mahalanobis(found.mu(found.images["test"])) * (n - 1) / n)  # ours divides by n - 1
    np.testing.assert_allclose(scores(run, found.images["test"], "mahalanobis"), expected, rtol=1e-4)


def test_nll_elbo_and_regret_are_what_probabilistic_pca_says(exact):
    found, run = exact
    x = found.images["test"][:40]
    gap = kl_to_posterior(found, x)
    assert gap.mean() > 1  # else the three would be one
    nll = scores(run, x, "nll", samples=20_000)
    np.testing.assert_allclose(nll, -log_p(found, x), atol=0.05)
    elbo = scores(run, x, "elbo", samples=4000)
    np.testing.assert_allclose(elbo, -log_p(found, x) + gap, atol=0.25)
    np.testing.assert_allclose(scores(run, x, "regret", samples=2000), gap, atol=0.1 + 0.02 * gap.max())


def test_an_image_has_its_number_wherever_it_stands(exact):
    found, run = exact
    x = found.images["test"][:130]
    for name in ("elbo", "nll", "denoising"):
        more = {"samples": 3, "noise": noises.Gaussian(sigma=0.2)}
        whole = scores(run, x, name, **more)
        np.testing.assert_allclose(scores(run, x[::-1].copy(), name, **more)[::-1], whole, rtol=1e-5)
        np.testing.assert_allclose(scores(run, x[7:8], name, **more), whole[7:8], rtol=1e-5)
        assert not np.allclose(scores(run, x, name, seed=1, **more), whole, rtol=1e-5)


def test_the_error_after_noise_is_averaged_over_draws():
    torch.manual_seed(0)
    config = train_config(network=Mlp(hidden=[]), latent=3, noise=noises.Gaussian(sigma=0.2, clip=False))
    model = build_model(config, (1, 5, 4)).eval()
    x = torch.rand(6, 1, 5, 4)
    odd = Oddness(model, config.noise, "denoising", CPU, samples=3000)
    # Of a linear network E‖r(x + n) − x‖² = ‖r(x) − x‖² + σ²·‖J‖², J being its Jacobian before the last sigmoid's.
    jacobian = torch.func.vmap(torch.func.jacrev(lambda one: model.reconstruct(one[None])[0].flatten()))(x)
    clean = (model.reconstruct(x) - x).square().flatten(1).sum(1)
    expected = clean + 0.2**2 * jacobian.flatten(1).square().sum(1)
    np.testing.assert_allclose(odd(x).numpy(), expected.detach().numpy(), rtol=0.02)
    assert (expected > clean * 1.0005).all()


def test_a_measure_by_no_draws_is_refused(exact):
    found, run = exact
    for samples in (0, -1):
        with pytest.raises(ConfigError, match=f"samples={samples}: must be a number of at least 1"):
            scores(run, found.images["test"][:2], "elbo", samples=samples)


def test_a_measure_without_what_it_needs_is_refused_with_those_that_fit():
    torch.manual_seed(0)
    ae = build_model(train_config(model=Ae(), network=Mlp(hidden=[4])), (1, 8, 8)).eval()
    with pytest.raises(ConfigError, match=r"measure=nll: this run has no prior; .* error, mahalanobis$"):
        Oddness(ae, noises.Clean(), "nll", CPU)
    unet = train_config(
        network=Unet(channels=[4], blocks=1), likelihood=Gaussian(sigma=1.0), noise=noises.Gaussian(sigma=0.1)
    )
    for name, one in MEASURES.items():
        made = lambda name=name: Oddness(build_model(unet, (1, 8, 8)).eval(), unet.noise, name, CPU)  # noqa: E731
        if one.needs in ("", "noise"):
            assert made()(torch.rand(2, 1, 8, 8)).shape == (2,)
        else:
            with pytest.raises(ConfigError, match=f"measure={name}: this run has no {one.needs}; "):
                made()


def test_a_prior_without_a_closed_form_is_measured_by_its_draws(exact):
    """The ratio log q − log p at the draws in the place of the KL: the same number in the mean."""
    found, run = exact
    by_ratio = dataclasses.replace(run)
    x = found.images["test"][:20]
    closed = scores(run, x, "elbo", samples=4000)
    by_ratio.model.by_latent = False
    try:
        np.testing.assert_allclose(scores(by_ratio, x, "elbo", samples=4000), closed, atol=0.2)
    finally:
        run.model.by_latent = True
