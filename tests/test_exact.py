"""Checks that a correct implementation cannot miss: against closed forms and against PCA.

They run on the 5,000 digits that come with the install, and on all of MNIST where AECTL_DATA has it.
"""

import math

import pytest
import torch

from aectl.data import noise as noises
from aectl.data.datasets.like_mnist import Mnist
from aectl.data.datasets.mnist5k import Mnist5k
from aectl.data.datasets.official import data_root
from aectl.data.images import to_float
from aectl.data.split import build_dataset
from aectl.machine.devices import choose
from aectl.measuring import baselines, importance
from aectl.measuring.metrics import psnr
from aectl.measuring.scoring import batches
from aectl.models.autoencoder import Ae, Vae
from aectl.models.likelihoods.gaussian import Gaussian
from aectl.models.networks.mlp import Mlp
from aectl.models.objectives import Elbo, Iwae
from aectl.models.table import build_model
from aectl.rng import generator
from aectl.runs.config import TrainConfig
from aectl.runs.opening import open_run
from aectl.runs.schedules import Cosine
from aectl.training import loop
from configs import train_config

pytestmark = pytest.mark.usefixtures("without_pictures")

WHOLE = (data_root(None) / "MNIST/raw/train-images-idx3-ubyte").is_file()
DATASET = Mnist(val_size=10000) if WHOLE else Mnist5k(val_size=500, test_size=500)


def linear(latent: int, **changes) -> TrainConfig:
    """A linear autoencoder on squared error."""
    settings = {
        "dataset": DATASET, "network": Mlp(hidden=[], output_bias="data_mean"),
        "model": Ae(), "likelihood": Gaussian(sigma=1.0), "latent": latent,
        "batch_size": 100, "schedule": Cosine(), "figures_every": 0, "threads": 1,
    }  # fmt: skip
    return train_config(**{**settings, **changes})


@pytest.mark.skipif(not WHOLE, reason="needs all of MNIST below AECTL_DATA")
@pytest.mark.parametrize(("k", "sse"), [(2, 43.645), (30, 13.866), (64, 7.093)])
def test_pca_of_all_of_mnist(k, sse):
    data = build_dataset(Mnist(val_size=0), None)
    assert baselines.principal(data.train).sse(data.test, k) == pytest.approx(sse, abs=2e-3)


def test_pca_equals_scikit_learns():
    from sklearn.decomposition import PCA

    data = build_dataset(Mnist5k(val_size=500, test_size=500), None)
    train, test = (to_float(part.pixels).flatten(1).double().numpy() for part in (data.train, data.test))
    theirs = PCA(30, svd_solver="full").fit(train)
    residual = test - theirs.inverse_transform(theirs.transform(test))
    ours = baselines.principal(data.train).sse(data.test, 30)
    assert ours == pytest.approx((residual**2).sum(1).mean(), rel=1e-6)  # pixels are in single precision there


def test_a_linear_autoencoder_reaches_pca(tmp_path):
    loop.train(linear(8, epochs=3 if WHOLE else 25, lr=5e-3), tmp_path)
    run = open_run(str(tmp_path), "last", choose("cpu"))
    data = build_dataset(DATASET, None)
    x = to_float(data.train.pixels)
    with torch.inference_mode():
        sse = (run.model.reconstruct(x) - x).square().flatten(1).sum(1).mean().item()
    pca = baselines.principal(data.train).sse(data.train, 8)
    assert pca * (1 - 1e-6) <= sse <= 1.01 * pca


def lmmse(config: TrainConfig, repeats: int) -> float:
    """Test PSNR, dB, of the best affine denoiser for the training images and the noise, fitted in closed form."""
    data, corrupt = build_dataset(config.dataset, None), config.noise
    d = math.prod(data.train.shape) + 1
    gram, cross = torch.zeros(d, d, dtype=torch.float64), torch.zeros(d, d - 1, dtype=torch.float64)

    def affine(x):
        return torch.cat([x.flatten(1).double(), torch.ones(len(x), 1, dtype=torch.float64)], dim=1)

    for repeat in range(repeats):
        for x, x_noisy, _ in batches(data.train, corrupt, torch.device("cpu"), seed=repeat + 1):
            gram += affine(x_noisy).T @ affine(x_noisy)
            cross += affine(x_noisy).T @ x.flatten(1).double()
    weights = torch.linalg.solve(gram, cross)
    found = []
    for x, x_noisy, _ in batches(data.test, corrupt, torch.device("cpu"), seed=0):
        found.append(psnr((affine(x_noisy) @ weights).float().view_as(x), x))
    return torch.cat(found).mean().item()


def test_a_linear_denoiser_reaches_the_best_linear_one(tmp_path):
    noise = noises.Gaussian(sigma=0.5)
    config = linear(200, epochs=6 if WHOLE else 20, lr=3e-3, noise=noise)
    loop.train(config, tmp_path)
    run = open_run(str(tmp_path), "last", choose("cpu"))
    test = batches(build_dataset(DATASET, None).test, noise, torch.device("cpu"), seed=0)
    with torch.inference_mode():
        found = torch.cat([psnr(run.model.reconstruct(x_noisy), x) for x, x_noisy, _ in test]).mean().item()
    best = lmmse(config, 1 if WHOLE else 4)
    if WHOLE:
        assert best == pytest.approx(17.72, abs=0.03)
    assert found == pytest.approx(best, abs=0.15)


# ------------------------------------------------------ a linear Gaussian VAE: probabilistic PCA

SIGMA, LATENT, SHAPE = 0.3, 3, (1, 3, 4)


def probabilistic_pca(off: float):
    """A linear VAE whose log p(x) is known, and 50 images of it; its encoder is exact where `off` is 0.

    x = Wz + b + σε, so x ~ N(b, WWᵀ + σ²I). With orthogonal columns of W the posterior is diagonal:
    N(M⁻¹Wᵀ(x − b), σ²M⁻¹), M = WᵀW + σ²I (Tipping & Bishop, 1999).
    """
    config = train_config(
        network=Mlp(hidden=[]), model=Vae(posterior="logvar"),
        likelihood=Gaussian(sigma=SIGMA), latent=LATENT,
    )  # fmt: skip
    model = build_model(config, SHAPE).double()
    rng = torch.Generator().manual_seed(0)
    d = math.prod(SHAPE)
    basis = torch.linalg.qr(torch.randn(d, LATENT, generator=rng, dtype=torch.float64)).Q
    w = basis * torch.tensor([2.0, 1.0, 0.5], dtype=torch.float64)
    b = torch.randn(d, generator=rng, dtype=torch.float64)
    m = w.square().sum(0) + SIGMA**2  # the diagonal of M
    decoder, encoder = model.decoder[0], model.encoder[1]
    with torch.no_grad():
        decoder.weight.copy_(w)
        decoder.bias.copy_(b)
        encoder.weight.zero_()
        encoder.weight[:LATENT] = w.T / m[:, None]
        encoder.bias[:LATENT] = -(w.T @ b) / m + off
        encoder.bias[LATENT:] = (SIGMA**2 / m).log() + off
    z = torch.randn(50, LATENT, generator=rng, dtype=torch.float64)
    noise = torch.randn(50, d, generator=rng, dtype=torch.float64)
    x = z @ w.T + b + SIGMA * noise
    covariance = w @ w.T + SIGMA**2 * torch.eye(d, dtype=torch.float64)
    exact = torch.distributions.MultivariateNormal(b, covariance).log_prob(x)
    return model, x.view(50, *SHAPE), exact


def test_with_the_exact_posterior_one_draw_gives_the_exact_likelihood():
    model, x, exact = probabilistic_pca(off=0.0)
    found, effective = importance.log_marginal(model, x, x, 7, generator("cpu", 0))
    torch.testing.assert_close(found, exact)
    torch.testing.assert_close(effective, torch.full((50,), 7.0, dtype=torch.float64))


def test_the_elbo_of_the_exact_posterior_is_the_likelihood_on_average():
    model, x, exact = probabilistic_pca(off=0.0)
    many = x.repeat(200, 1, 1, 1)
    terms = model.terms(many, many, model.draw(len(many), generator("cpu", 0)))
    assert -Elbo()(terms, 1.0).item() == pytest.approx(exact.mean().item(), abs=0.05)


def test_the_bound_rises_with_the_draws_to_the_exact_likelihood():
    model, x, exact = probabilistic_pca(off=0.2)

    def nll(samples):
        return importance.bound(model, lambda: [(x, x, None)], len(x), samples, repeats=5, seed=0).mean

    values = [nll(k) for k in (1, 10, 100, 3000)]
    assert values == sorted(values, reverse=True)
    assert values[0] > -exact.mean().item() + 0.1
    assert values[-1] == pytest.approx(-exact.mean().item(), abs=0.01)


def test_the_standard_error_over_draws_is_that_of_repeated_draws():
    model, x, _ = probabilistic_pca(off=0.2)
    once = importance.bound(model, lambda: [(x, x, None)], len(x), 400, repeats=1, seed=0)
    often = importance.bound(model, lambda: [(x, x, None)], len(x), 400, repeats=40, seed=1)
    assert once.se_draws == pytest.approx(often.se_draws * math.sqrt(40), rel=0.35)
    assert once.se_images == pytest.approx(often.se_images, rel=0.05)
    assert 1 < once.effective_samples < 400


def test_chunks_of_draws_make_no_difference(monkeypatch):
    model, x, exact = probabilistic_pca(off=0.2)
    for draws in (1, 7, 1000):
        monkeypatch.setattr(importance, "DRAWS", draws)
        found, _ = importance.log_marginal(model, x, x, 1000, generator("cpu", 0))
        torch.testing.assert_close(found.mean(), exact.mean(), atol=0.01, rtol=0)


def test_the_bound_is_the_same_to_the_last_bit_whatever_the_number_of_threads():
    model, x, _ = probabilistic_pca(off=0.2)
    model, parts = model.float(), x.float().split(10)

    def found(threads):
        torch.set_num_threads(threads)
        return importance.bound(model, lambda: [(part, part, None) for part in parts], 50, 300, repeats=2, seed=0)

    assert found(1) == found(2) == found(5)


def test_draws_are_decoded_in_parts_that_fit_a_cache(monkeypatch):
    model, x, exact = probabilistic_pca(off=0.0)
    rows = []
    model.decoder.register_forward_hook(lambda module, given, decoded: rows.append(decoded.nbytes))
    monkeypatch.setattr(importance, "CACHE", 7 * x.nbytes)
    found, _ = importance.log_marginal(model, x, x, 130, generator("cpu", 0))
    torch.testing.assert_close(found, exact)
    assert max(rows) <= 7 * x.nbytes
    assert sum(rows) == 130 * x.nbytes
    assert len(rows) == 15 + 5  # of 100 draws and of 30


def test_iwaes_objective_is_the_bound_and_one_draw_of_it_is_on_average_the_elbo():
    model, x, _ = probabilistic_pca(off=0.4)
    model.draws, model.of_draws = 50, True
    eps = torch.randn(50, len(x), LATENT, generator=generator("cpu", 3), dtype=torch.float64)
    terms = model.terms(x, x, eps)
    loss = Iwae(samples=50)(terms, 1.0)
    bound, _ = importance.log_marginal(model, x, x, 50, generator("cpu", 3))
    torch.testing.assert_close(loss, -bound.mean())
    assert loss < sum(terms.means.values())
    model.draws = 1
    many = x.repeat(400, 1, 1, 1)
    terms = model.terms(many, many, model.draw(len(many), generator("cpu", 4)))
    assert Iwae(samples=1)(terms, 1.0).item() == pytest.approx(sum(terms.means.values()).item(), rel=0.01)
