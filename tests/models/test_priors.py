"""Priors against closed forms, SciPy and each other; what is made of them is tested where it is made."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from aectl.errors import ConfigError
from aectl.measuring import importance
from aectl.models.autoencoder import Autoencoder, Vae
from aectl.models.networks.mlp import Mlp
from aectl.models.objectives import Elbo, Iwae, Terms, TotalCorrelation, kl_parts
from aectl.models.posteriors import Code
from aectl.models.priors import FreeMixture, MixturePrior, PseudoInputs, StandardNormal, VampPrior
from aectl.models.table import build_model
from aectl.settings import common
from configs import train_config

SHAPE = (1, 4, 5)
RNG = np.random.default_rng(0)


def model_of(seed: int = 0, **changes) -> Autoencoder:
    torch.manual_seed(seed)
    return build_model(
        train_config(model=Vae(posterior="logvar"), latent=3, network=Mlp(hidden=[7]), **changes), SHAPE
    )


def standard(prior: FreeMixture | PseudoInputs) -> None:
    """Make it one standard normal."""
    if isinstance(prior, FreeMixture):
        with torch.no_grad():
            prior.mu.zero_()
    else:
        prior.encode = lambda u: Code(torch.zeros(len(u), 3), torch.zeros(len(u), 3))


@pytest.mark.parametrize("kind", [MixturePrior, VampPrior])
def test_a_mixture_of_one_standard_normal_is_the_standard_normal(kind):
    """Its NLL too, of a model whose posterior is another."""
    model, plain = model_of(prior=kind(components=1)), model_of()
    plain.load_state_dict({name: value for name, value in model.state_dict().items() if "prior" not in name})
    standard(model.prior)
    z = torch.randn(40, 3) * 3
    expected = torch.from_numpy(stats.norm.logpdf(z.numpy()).sum(1))
    torch.testing.assert_close(model.prior.log_prob(z).double(), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(StandardNormal(3).log_prob(z).double(), expected, atol=1e-5, rtol=1e-5)
    x = torch.rand(6, *SHAPE)
    found = [
        importance.log_marginal(one, x, x, 300, torch.Generator().manual_seed(0))[0].mean().item()
        for one in (model, plain)
    ]
    assert found[0] == pytest.approx(found[1], abs=1e-5)


def mixture() -> tuple[FreeMixture, np.ndarray, np.ndarray]:
    """A mixture of four Gaussians over two latents, its means and standard deviations, (4, 2)."""
    prior, mu, sd = FreeMixture(4, 2), RNG.normal(0, 3, (4, 2)), RNG.uniform(0.2, 2, (4, 2))
    with torch.no_grad():
        prior.mu.copy_(torch.from_numpy(mu))
        prior.logvar.copy_(torch.from_numpy(2 * np.log(sd)))
    return prior, mu, sd


def test_a_mixtures_density_is_the_mean_of_its_gaussians():
    prior, mu, sd = mixture()
    z = RNG.normal(0, 3, (2, 50, 2))
    expected = np.log(stats.norm.pdf(z[:, :, None], mu, sd).prod(-1).mean(-1))
    found = prior.log_prob(torch.from_numpy(z))
    assert found.shape == (2, 50)
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-5)


def test_a_density_far_from_narrow_gaussians_keeps_its_digits():
    """The square is multiplied out, which would lose them in single precision."""
    prior = FreeMixture(1, 8)
    with torch.no_grad():
        prior.mu.fill_(30.0)
        prior.logvar.fill_(-6.0)
    z = torch.full((1, 8), 30.01)
    expected = 8 * (-0.5 * 0.01**2 * math.exp(6) + 3 - 0.5 * math.log(2 * math.pi))
    assert prior.log_prob(z).item() == pytest.approx(expected, abs=1e-2)


def test_draws_of_a_mixture_are_spread_as_its_quantiles_say():
    prior, mu, sd = mixture()
    shares = torch.tensor([0.02, 0.3, 0.5, 0.9])
    quantiles = prior.quantiles(shares)
    for latent in (0, 1):
        at = stats.norm.cdf(quantiles[:, latent, None].numpy(), mu[:, latent], sd[:, latent]).mean(1)
        np.testing.assert_allclose(at, shares.numpy(), atol=1e-6)
    drawn = prior.sample(40_000, torch.Generator().manual_seed(0))
    below = (drawn[:, None] < quantiles).double().mean(0)
    np.testing.assert_allclose(below.numpy(), np.tile(shares[:, None], 2), atol=0.01)
    again = prior.sample(40_000, torch.Generator().manual_seed(0))
    assert torch.equal(drawn, again)


def test_quantiles_of_the_standard_normal():
    shares = torch.tensor([0.001, 0.5, 0.8])
    found = StandardNormal(4).quantiles(shares)
    assert found.shape == (3, 4)
    np.testing.assert_allclose(found.numpy(), np.tile(stats.norm.ppf(shares.double())[:, None], 4), atol=1e-9)


@pytest.mark.parametrize("prior", [MixturePrior(components=3), VampPrior(components=3)])
def test_a_kl_without_a_closed_form_is_the_mean_over_draws(prior):
    model = model_of(prior=prior, objective=Iwae(samples=2000))
    x = torch.rand(3, *SHAPE)
    terms = model.terms(x, x, model.draw(3, torch.Generator().manual_seed(0)))
    assert terms.costs["kl"].shape == (3, 1)
    code = terms.code
    z = code.sample(torch.Generator().manual_seed(1), 5000)
    normal = torch.distributions.Normal(code.mu, (0.5 * code.logvar).exp())
    expected = (normal.log_prob(z).sum(-1) - model.prior.log_prob(z)).mean(0)
    torch.testing.assert_close(terms.costs["kl"][:, 0], expected, atol=0.1, rtol=0.05)


def test_the_pseudo_inputs_learn_and_stay_pictures():
    model = model_of(prior=VampPrior(components=5))
    x = torch.rand(8, *SHAPE)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    before = model.prior.images()["pseudo-inputs"].clone()
    for step in range(20):
        optimizer.zero_grad()
        terms = model.terms(x, x, model.draw(8, torch.Generator().manual_seed(step)))
        Elbo()(terms, 1.0).backward()
        optimizer.step()
    after = model.prior.images()["pseudo-inputs"]
    assert after.shape == (5, *SHAPE)
    assert (after - before).abs().mean() > 0.05
    assert after.min() >= 0
    assert after.max() <= 1
    assert len(list(model.parameters())) == len({id(one) for one in model.parameters()})


def test_free_bits_need_a_kl_for_each_latent():
    config = train_config(model=Vae(posterior="std"), prior=MixturePrior(components=2), objective=Elbo(free_bits=0.1))
    with pytest.raises(
        ConfigError, match=r"objective\.free_bits=0.1: goes by the KL of each latent, and prior=mixture"
    ):
        common.check(config)


# ------------------------------------------------------------------------------------- total correlation


def batch(n: int, prior_of=lambda z: stats.norm.logpdf(z).sum(1)) -> tuple[Terms, np.ndarray]:
    """Terms of `n` images with two latents, and their (μ, σ, z), (3, n, 2)."""
    mu, sd = RNG.normal(0, 1, (n, 2)), RNG.uniform(0.3, 1, (n, 2))
    z = mu + sd * RNG.normal(0, 1, (n, 2))
    ratio = stats.norm.logpdf(z, mu, sd).sum(1) - prior_of(z)
    code = Code(torch.from_numpy(mu), torch.from_numpy(2 * np.log(sd)))
    recon = torch.from_numpy(RNG.uniform(50, 60, (1, n)))
    kl = {"kl": torch.from_numpy(ratio)[:, None]}
    return Terms(recon, kl, torch.from_numpy(ratio)[None], code, torch.from_numpy(z)[None]), np.stack([mu, sd, z])


def correlation(of: np.ndarray, images: int) -> np.ndarray:
    """log q(z) − Σ_k log q(z_k) with minibatch weights, (n,), one pair after another."""
    mu, sd, z = of
    n = len(z)
    found = np.zeros(n)
    for i in range(n):
        density = stats.norm.pdf(z[i], mu, sd)  # (n, 2): under each posterior
        found[i] = np.log(density.prod(1).sum() / (images * n)) - np.log(density.sum(0) / (images * n)).sum()
    return found


def test_the_three_parts_of_the_kl_sum_to_it():
    terms, of = batch(9)
    parts = kl_parts(terms, 1000)
    torch.testing.assert_close(sum(parts.values()), terms.log_ratio[0])
    np.testing.assert_allclose(parts["total correlation"].numpy(), correlation(of, 1000))
    mu, sd, z = of
    joint = np.log(np.array([stats.norm.pdf(one, mu, sd).prod(1).sum() for one in z]) / 9000)
    np.testing.assert_allclose(parts["mutual information"].numpy(), stats.norm.logpdf(z, mu, sd).sum(1) - joint)


@pytest.mark.parametrize("beta", [1.0, 6.0])
def test_beta_weighs_the_total_correlation_alone(beta):
    terms, of = batch(12)
    expected = terms.recon.mean() + terms.log_ratio.mean() + (beta - 1) * correlation(of, 500).mean()
    assert TotalCorrelation().on(500, 12)(terms, beta).item() == pytest.approx(expected.item())


def test_its_loss_over_many_images_is_that_of_batches_of_the_training_size():
    terms, of = batch(23)
    parts = [correlation(of[:, rows], 500) for rows in (slice(0, 10), slice(10, 20), slice(20, 23))]
    expected = terms.recon.mean() + terms.log_ratio.mean() + 3.0 * np.concatenate(parts).mean()
    assert TotalCorrelation().on(500, 10)(terms, 4.0).item() == pytest.approx(expected.item())


def test_a_model_has_the_ratio_that_an_objective_of_draws_goes_by():
    model = model_of(objective=TotalCorrelation())
    x = torch.rand(4, *SHAPE)
    terms = model.terms(x, x, model.draw(4, torch.Generator().manual_seed(0)))
    (z,) = terms.z.detach()
    posterior = torch.distributions.Normal(terms.code.mu, (0.5 * terms.code.logvar).exp())
    expected = posterior.log_prob(z).sum(1) - torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1)
    torch.testing.assert_close(terms.log_ratio[0], expected)
