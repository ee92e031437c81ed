import math

import numpy as np
import pytest
import scipy
import torch
from hypothesis import given
from hypothesis import strategies as st

from aectl.models.likelihoods.bernoulli import Bernoulli, ContinuousBernoulli
from aectl.models.likelihoods.gaussian import Normal
from aectl.models.likelihoods.logistic import Logistic256
from aectl.models.objectives import Elbo, Terms, importance_bound, per_pixel_weight
from aectl.models.posteriors import Code
from aectl.models.priors import StandardNormal
from aectl.runs.schedules import Cosine, Steps, kl_weight_at, lr_at
from configs import train_config


def test_kl_equals_torch_distributions():
    rng = torch.Generator().manual_seed(0)
    mu, logvar = torch.randn(2, 100, 7, generator=rng, dtype=torch.float64) * 2
    ours = StandardNormal(mu.shape[1]).kl(Code(mu, logvar))
    normal = torch.distributions.Normal
    theirs = torch.distributions.kl_divergence(
        normal(mu, (0.5 * logvar).exp()), normal(torch.zeros_like(mu), torch.ones_like(mu))
    )
    torch.testing.assert_close(ours, theirs)


@given(st.floats(-50, 50), st.floats(-20, 20))
def test_kl_is_never_negative_and_zero_only_at_the_prior(mu, logvar):
    kl = StandardNormal(1).kl(Code(torch.tensor(mu).double(), torch.tensor(logvar).double())).item()
    assert kl >= -1e-12
    if abs(mu) > 1e-3 or abs(logvar) > 1e-3:
        assert kl > 0


def test_bernoulli_is_the_cross_entropy_summed_over_pixels():
    rng = torch.Generator().manual_seed(1)
    x = torch.rand(5, 2, 3, 4, generator=rng, dtype=torch.float64)
    logits = torch.randn(5, 2, 3, 4, generator=rng, dtype=torch.float64)
    p = 1 / (1 + (-logits).exp())
    expected = -(x * p.log() + (1 - x) * (1 - p).log()).sum((1, 2, 3))
    torch.testing.assert_close(Bernoulli().neg_log_prob(x, logits), expected)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 5, 7), (1, 28, 28), (3, 32, 32)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_bernoulli_of_many_draws_is_torchs_cross_entropy(shape, dtype, tolerance):
    """Grey and binary pixels; logits near 0, of a trained model, and far beyond what exp can take."""
    rng = torch.Generator().manual_seed(1)
    x = torch.rand(6, *shape, generator=rng, dtype=torch.float64)
    x[3:] = x[3:].round()
    scale = torch.tensor([1e-6, 1.0, 10.0, 1e4], dtype=torch.float64)[:, None, None, None, None]
    logits = (torch.randn(4, 6, *shape, generator=rng, dtype=torch.float64) * scale).to(dtype)
    x = x.to(dtype)
    cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits
    expected = cross_entropy(logits.double(), x.double().expand_as(logits), reduction="none").flatten(2).sum(2)
    found = Bernoulli().neg_log_prob_of_draws(x, logits.clone())
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=math.prod(shape) * tolerance / 10)


def test_bernoulli_sums_to_one_over_all_binary_images():
    logits = torch.tensor([[[[0.3, -2.0, 5.0]]]], dtype=torch.float64)
    images = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3).double().view(-1, 1, 1, 3)
    total = (-Bernoulli().neg_log_prob(images, logits.expand_as(images))).exp().sum()
    assert total.item() == pytest.approx(1)


@pytest.mark.parametrize("sigma", [0.1, 1.0, 3.0])
def test_gaussian_integrates_to_one(sigma):
    grid = torch.linspace(-40, 40, 200_001, dtype=torch.float64)
    density = (-Normal(sigma).neg_log_prob(grid.view(-1, 1, 1, 1), torch.full((grid.numel(), 1, 1, 1), 0.4))).exp()
    assert torch.trapezoid(density, grid).item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("eta", [-300.0, -20.0, -0.3, -1e-3, 0.0, 1e-6, 0.19, 0.21, 2.0, 50.0, 700.0])
def test_continuous_bernoulli_integrates_to_one_over_its_support(eta):
    # Fine near both ends, where the density of a large |η| is concentrated.
    fine = torch.logspace(-9, math.log10(0.5), 100_000, dtype=torch.float64)
    grid = torch.cat([torch.zeros(1, dtype=torch.float64), fine, 1 - fine[:-1].flip(0), torch.ones(1)])
    decoded = torch.full((grid.numel(), 1, 1, 1), eta, dtype=torch.float64)
    density = (-ContinuousBernoulli().neg_log_prob(grid.view(-1, 1, 1, 1), decoded)).exp()
    assert torch.trapezoid(density, grid).item() == pytest.approx(1, abs=1e-6)
    mean = torch.trapezoid(density * grid, grid).item()
    assert ContinuousBernoulli().mean(decoded[0]).item() == pytest.approx(mean, abs=1e-6)


def test_continuous_bernoulli_equals_torch_distributions():
    x = torch.rand(4, 1, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    logits = torch.randn(4, 1, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 3
    theirs = torch.distributions.ContinuousBernoulli(logits=logits, lims=(0.4999, 0.5001)).log_prob(x).sum((1, 2, 3))
    torch.testing.assert_close(ContinuousBernoulli().neg_log_prob(x, logits), -theirs)


@given(st.floats(-1000, 1000))
def test_continuous_bernoulli_is_finite_in_single_precision_and_so_is_its_gradient(eta):
    decoded = torch.full((1, 1, 1, 1), eta, requires_grad=True)
    ContinuousBernoulli().neg_log_prob(torch.full((1, 1, 1, 1), 0.3), decoded).sum().backward()
    assert decoded.grad.isfinite().all()
    mean = ContinuousBernoulli().mean(decoded.detach())
    assert 0 <= mean.item() <= 1
    assert decoded.grad.item() == pytest.approx(mean.item() - 0.3, abs=1e-4)  # A'(η) − x


@pytest.mark.parametrize("likelihood", [Bernoulli(), ContinuousBernoulli(), Normal(0.3), Normal(0.3, bounded=True)])
def test_the_mean_has_an_inverse_and_every_likelihood_states_its_support(likelihood):
    mean = torch.linspace(0.002, 0.998, 50, dtype=torch.float64)
    torch.testing.assert_close(likelihood.mean(likelihood.inverse_mean(mean)), mean)
    assert likelihood.support in ("{0, 1}", "[0, 1]", "the real line")


def every_level() -> torch.Tensor:
    """The 256 values of a pixel, (256, 1, 1, 1), float32 as images are."""
    return (torch.arange(256).float() / 255).view(-1, 1, 1, 1)


@pytest.mark.parametrize("components", [1, 3])
def test_logistic256_is_a_mixture_of_logistics_by_scipy(components):
    likelihood = Logistic256(components=components)
    rng = torch.Generator().manual_seed(components)
    decoded = 2 * torch.randn(1, likelihood.per_value * 2, 1, 1, generator=rng, dtype=torch.float64)  # two channels
    mu, log_s, *logits = (
        decoded.view(-1, components, 2).unbind(0) if components == 1 else decoded.view(3, components, 2)
    )
    weights = np.exp(logits[0].numpy()) if logits else np.ones((1, 2))
    weights = weights / weights.sum(0)
    edges = np.array([-np.inf, *(np.arange(1, 256) - 0.5) / 255, np.inf])
    for channel in range(2):
        cdf = sum(
            weights[m, channel]
            * scipy.stats.logistic.cdf(edges, mu[m, channel], math.exp(max(log_s[m, channel] - 2, -8)))
            for m in range(components)
        )
        x = every_level().double().expand(-1, 2, 1, 1)
        ours = -likelihood.neg_log_prob(x[:, :1], decoded.view(1, -1, 2, 1, 1)[:, :, channel].expand(256, -1, 1, 1))
        np.testing.assert_allclose(ours.exp().numpy(), np.diff(cdf), rtol=1e-6, atol=1e-13)
        level = torch.arange(1, 256).view(-1, 1, 1, 1).expand(-1, 2, 1, 1)
        np.testing.assert_allclose(
            likelihood.cdf(decoded.expand(255, -1, 1, 1), level)[:, channel, 0, 0], cdf[1:-1], rtol=1e-9, atol=1e-15
        )
        mean = likelihood.mean(decoded)[0, channel].item()
        assert mean == pytest.approx(float(np.diff(cdf) @ np.arange(256)) / 255, abs=0.5 / 255)


@given(st.floats(-1e4, 1e4), st.floats(-1e3, 1e3), st.floats(0, 1))
def test_logistic256_sums_to_one_and_its_gradient_is_finite_in_single_precision(mu, log_s, level):
    decoded = torch.tensor([mu, log_s]).view(1, 2, 1, 1).requires_grad_()
    nats = Logistic256(components=1).neg_log_prob(every_level(), decoded.expand(256, -1, -1, -1))
    assert (-nats.double()).exp().sum().item() == pytest.approx(1, abs=1e-3)
    nats[round(255 * level)].backward()
    assert decoded.grad.isfinite().all()


def test_a_decoder_of_a_mixture_starts_at_the_mean_image():
    likelihood, image = Logistic256(components=3), torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(0))
    decoded = likelihood.inverse_mean(image)
    assert decoded.shape == (27, 4, 4)
    torch.testing.assert_close(likelihood.mean(decoded[None])[0], image, atol=0.15, rtol=0)


def test_a_learned_sigma_goes_to_the_root_of_the_mean_squared_error():
    likelihood = Normal(1.0, learn=True)
    x, decoded = torch.zeros(10, 1, 4, 4), torch.full((10, 1, 4, 4), 0.2)
    optimizer = torch.optim.Adam(likelihood.parameters(), lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        likelihood.neg_log_prob(x, decoded).mean().backward()
        optimizer.step()
    assert likelihood.sigma == pytest.approx(0.2, rel=1e-3)


def test_a_bounded_gaussian_scores_the_sigmoid():
    x, logits = torch.rand(3, 1, 2, 2), torch.linspace(-9, 9, 12).view(3, 1, 2, 2)
    expected = Normal(0.5).neg_log_prob(x, torch.sigmoid(logits))
    torch.testing.assert_close(Normal(0.5, bounded=True).neg_log_prob(x, logits), expected)


def test_gaussian_keeps_its_constant():
    x, mean = torch.zeros(3, 1, 2, 2), torch.ones(3, 1, 2, 2)
    expected = 0.5 * 4 + 4 * 0.5 * math.log(2 * math.pi)  # ½·SSE + D/2·log 2π at σ = 1
    torch.testing.assert_close(Normal(1.0).neg_log_prob(x, mean), torch.full((3,), expected))


def test_terms_average_over_images_and_sum_over_latents():
    terms = Terms(recon=torch.tensor([[1.0, 3.0]]), costs={"kl": torch.tensor([[1.0, 2.0], [3.0, 4.0]])})
    assert {name: mean.item() for name, mean in terms.means.items()} == {"recon": 2.0, "kl": 5.0}
    assert Elbo()(terms, 0.5).item() == 4.5


def test_free_bits_cost_nothing_below_and_hide_nothing():
    kl = torch.tensor([[0.0, 2.0], [0.2, 4.0]])  # 0.1 and 3 on average
    terms = Terms(recon=torch.zeros(1, 2), costs={"kl": kl})
    assert Elbo(free_bits=0.5)(terms, 2.0).item() == pytest.approx(2.0 * (0.5 + 3.0))
    assert {name: mean.item() for name, mean in terms.means.items()} == {"recon": 0.0, "kl": pytest.approx(3.1)}


def test_equal_weights_make_a_tight_bound_and_one_draw_none():
    log_w = torch.randn(1, 9, dtype=torch.float64)
    torch.testing.assert_close(importance_bound(log_w), log_w[0])
    torch.testing.assert_close(importance_bound(log_w.expand(30, 9)), log_w[0])


def test_the_learning_rate_follows_its_schedule():
    def rates(**settings):
        return [lr_at(step, 10, train_config(lr=1.0, epochs=4, **settings)) for step in range(40)]

    assert set(rates()) == {1.0}
    cosine = rates(schedule=Cosine())
    assert cosine[0] == 1
    assert cosine[20] == pytest.approx(0.5)
    assert cosine[-1] < 0.01
    assert cosine == sorted(cosine, reverse=True)
    assert rates(schedule=Steps(after=[1, 3], factor=0.5)) == [1.0] * 10 + [0.5] * 20 + [0.25] * 10


def test_warm_up_is_linear_then_constant():
    warming = train_config(kl_weight=4.0, kl_warmup=2.0)
    weights = [kl_weight_at(step, 10, warming) for step in range(25)]
    np.testing.assert_allclose(weights[:20], np.linspace(0, 4, 21)[:20])
    assert weights[20:] == [4.0] * 5
    assert kl_weight_at(0, 10, train_config(kl_weight=4.0)) == 4.0


def test_the_lectures_weight():
    assert per_pixel_weight(3.92, (1, 28, 28)) == pytest.approx(0.005)
